#include "cli/bulk.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cli/fields.h"

enum {
    BULK_LANES = 4,
    BULK_BODY_LINES = 4000, /* one body: large enough that its way there and back is nothing beside it */
    BULK_BODY_SIZE = 1 << 20,
    BULK_HELD_LINES = 40000, /* put and without a result: then nothing is put before there are fewer */
    BULK_HELD_SIZE = 16 << 20,
    BULK_ATTEMPTS_MAX = 8, /* without a single result in between: half a minute */
    BULK_WAIT_MS = 60000,
    BULK_DELAY_MS = 100 /* before the second attempt; doubled for each further one */
};

struct bulk_line {
    struct bulk_line *later; /* the next one put */
    struct bulk_line *next;  /* in its lane */
    uint64_t number;
    bool is_done;
    struct slice result;
    struct slice text;
    char bytes[];
};

struct bulk_queue {
    struct bulk_line *first, *last;
    size_t count, size;
};

struct bulk_lane {
    struct bulk *bulk;
    struct bulk_queue waiting,
        sent; /* sent: in the body in flight, no result yet; refused: to be sent again */
    struct bulk_queue refused;
    CURL *curl;
    struct buf body, part; /* part: of a line of the answer; a whole answer that is a problem */
    bool is_busy;
    int attempts;
    int64_t not_before_ms;
};

struct bulk {
    struct bulk_options options;
    CURLM *multi;
    struct curl_slist *headers;
    struct buf url;
    struct bulk_lane lanes[BULK_LANES];
    size_t lane_count;
    struct bulk_line *first, *last; /* all without a result told, in order */
    size_t held_lines, held_size;
    size_t put;         /* ever */
    struct fault ended; /* what ended it */
};

static int64_t bulk_now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* --- queues --- */

static void bulk_queue_put(struct bulk_queue *queue, struct bulk_line *line)
{
    line->next = NULL;
    if (queue->last)
        queue->last->next = line;
    else
        queue->first = line;
    queue->last = line;
    queue->count++;
    queue->size += line->text.size + 1;
}

static struct bulk_line *bulk_queue_take(struct bulk_queue *queue)
{
    struct bulk_line *line = queue->first;
    if (!line) return NULL;
    queue->first = line->next;
    if (!queue->first) queue->last = NULL;
    queue->count--;
    queue->size -= line->text.size + 1;
    return line;
}

static void bulk_queue_move(struct bulk_queue *from, struct bulk_queue *to)
{
    struct bulk_line *line;
    while ((line = bulk_queue_take(from))) bulk_queue_put(to, line);
}

/* --- answers --- */

/* What the hub could not take now. */
static bool bulk_is_refused(struct slice result)
{
    static const char problem[] = "{\"type\":\"urn:lore:problem:";
    if (result.size < sizeof problem || memcmp(result.data, problem, sizeof problem - 1) != 0) return false;
    struct fields fields = {0};
    if (fields_read(&fields, result, NULL) < 0) return false;
    struct slice code = fields_text(&fields, "code");
    bool refused = slice_is(code, "busy") || slice_is(code, "unavailable") || slice_is(code, "rebuilding");
    fields_release(&fields);
    return refused;
}

static void bulk_take_result(struct bulk_lane *lane, struct slice result)
{
    struct bulk_line *line = bulk_queue_take(&lane->sent);
    if (!line) return;
    if (bulk_is_refused(result)) {
        bulk_queue_put(&lane->refused, line);
        return;
    }
    lane->attempts = 0;
    line->result = slice_make(mem_text(result.data, result.size), result.size);
    line->is_done = true;
}

static size_t bulk_receive(char *data, size_t size, size_t count, void *user)
{
    struct bulk_lane *lane = user;
    long status = 0;
    size *= count;
    curl_easy_getinfo(lane->curl, CURLINFO_RESPONSE_CODE, &status);
    for (size_t at = 0; at < size;) {
        char *newline = status == 200 ? memchr(data + at, '\n', size - at) : NULL;
        size_t part = newline ? (size_t)(newline - data) - at : size - at;
        buf_put(&lane->part, data + at, part);
        at += part + 1;
        if (!newline) break;
        bulk_take_result(lane, buf_slice(&lane->part));
        buf_clear(&lane->part);
    }
    return size;
}

/* Tells what is known without a gap. */
static void bulk_tell(struct bulk *bulk)
{
    while (bulk->first && bulk->first->is_done) {
        struct bulk_line *line = bulk->first;
        bulk->first = line->later;
        if (!bulk->first) bulk->last = NULL;
        bulk->held_lines--;
        bulk->held_size -= line->text.size;
        bulk->options.result(bulk->options.user, line->number, line->text, line->result);
        mem_free((char *)line->result.data);
        mem_free(line);
    }
}

/* --- bodies --- */

static void bulk_start(struct bulk_lane *lane)
{
    struct bulk *bulk = lane->bulk;
    struct bulk_line *line;
    buf_clear(&lane->body);
    buf_clear(&lane->part);
    while (lane->sent.count < BULK_BODY_LINES && lane->body.size < BULK_BODY_SIZE &&
           (line = bulk_queue_take(&lane->waiting))) {
        buf_put_slice(&lane->body, line->text);
        buf_put_byte(&lane->body, '\n');
        bulk_queue_put(&lane->sent, line);
    }
    if (!lane->curl) lane->curl = curl_easy_init();
    CURL *curl = lane->curl;
    client_set_up(bulk->options.client, curl);
    curl_easy_setopt(curl, CURLOPT_URL, bulk->url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, bulk->headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)lane->body.size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, lane->body.data);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, bulk_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, lane);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, lane);
    lane->is_busy = curl_multi_add_handle(bulk->multi, curl) == CURLM_OK;
}

/* A body is over. What has no result is put before what waits, and sent again after a while. */
static void bulk_end(struct bulk_lane *lane, CURLcode code)
{
    struct bulk *bulk = lane->bulk;
    long status = 0;
    curl_easy_getinfo(lane->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(bulk->multi, lane->curl);
    lane->is_busy = false;
    bulk_queue_move(&lane->sent, &lane->refused);
    if (!lane->refused.first) return;
    bulk_queue_move(&lane->waiting, &lane->refused);
    bulk_queue_move(&lane->refused, &lane->waiting);
    bool again = code != CURLE_OK || status == 200 || status == 429 || status == 503;
    if (again && ++lane->attempts < BULK_ATTEMPTS_MAX)
        lane->not_before_ms = bulk_now_ms() + ((int64_t)BULK_DELAY_MS << lane->attempts);
    else if (bulk->ended.code != FAULT_NONE)
        return;
    else if (code != CURLE_OK)
        fault_set(&bulk->ended, FAULT_UNAVAILABLE, "%s: %s", bulk->url.data, curl_easy_strerror(code));
    else if (status != 200)
        client_problem(status, buf_slice(&lane->part), &bulk->ended);
    else
        fault_set(&bulk->ended, FAULT_UNAVAILABLE, "the hub does not take commands");
}

static bool bulk_is_full(const struct bulk_lane *lane)
{
    return lane->waiting.count >= BULK_BODY_LINES || lane->waiting.size >= BULK_BODY_SIZE;
}

/* Moves what moves. True if a body ended: then another one may start before anybody waits. */
static bool bulk_move(struct bulk *bulk)
{
    int left, running;
    bool ended = false;
    curl_multi_perform(bulk->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(bulk->multi, &left)); ended = true) {
        struct bulk_lane *lane;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&lane);
        bulk_end(lane, code);
    }
    bulk_tell(bulk);
    return ended;
}

/* One round: starts what may start (all: bodies that are not full as well), moves what moves, tells what is
 * known; waits for something to happen, or for fd, if that is said. */
static int bulk_round(struct bulk *bulk, bool all, bool wait, int fd, bool *is_readable, struct fault *fault)
{
    int64_t now_ms = bulk_now_ms(), timeout_ms = BULK_WAIT_MS;
    struct curl_waitfd more = {.fd = fd, .events = CURL_WAIT_POLLIN};
    for (struct bulk_lane *lane = bulk->lanes; lane < bulk->lanes + bulk->lane_count; lane++) {
        if (lane->is_busy || !lane->waiting.first || (!all && !bulk_is_full(lane))) continue;
        if (lane->not_before_ms <= now_ms)
            bulk_start(lane);
        else if (lane->not_before_ms - now_ms < timeout_ms)
            timeout_ms = lane->not_before_ms - now_ms;
    }
    if (!bulk_move(bulk) && wait && bulk->ended.code == FAULT_NONE) {
        curl_multi_poll(bulk->multi, &more, fd >= 0, (int)timeout_ms, NULL);
        bulk_move(bulk);
    }
    if (is_readable) *is_readable = more.revents != 0;
    if (bulk->ended.code == FAULT_NONE) return 0;
    *fault = bulk->ended;
    return -1;
}

/* --- for callers --- */

struct bulk *bulk_open(const struct bulk_options *options)
{
    struct bulk *bulk = MEM_NEW(struct bulk);
    bulk->options = *options;
    bulk->multi = curl_multi_init();
    bulk->headers = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
    bulk->headers = curl_slist_append(bulk->headers, "Expect:");
    buf_format(&bulk->url, "%s/v1/%s/commands%s", client_base(options->client), options->tenant,
               options->ordered ? "?ordered=true" : "");
    buf_put_byte(&bulk->url, 0);
    bulk->lane_count = options->ordered ? 1 : BULK_LANES;
    for (size_t at = 0; at < bulk->lane_count; at++) bulk->lanes[at].bulk = bulk;
    return bulk;
}

int bulk_put(struct bulk *bulk, uint64_t number, struct slice stream, struct slice text, struct fault *fault)
{
    /* Few lines go by one lane, one after another; when there are many, lanes are worth it. */
    if (bulk->put++ == BULK_BODY_LINES && bulk_finish(bulk, fault) < 0) return -1;
    struct bulk_lane *lane =
        &bulk->lanes[bulk->put <= BULK_BODY_LINES ? 0 : hash_fast(stream, 0) % bulk->lane_count];
    while (bulk->held_lines >= BULK_HELD_LINES || bulk->held_size >= BULK_HELD_SIZE)
        if (bulk_round(bulk, true, true, -1, NULL, fault) < 0) return -1;
    struct bulk_line *line = mem_alloc(sizeof *line + text.size);
    memcpy(line->bytes, text.data, text.size);
    *line = (struct bulk_line){.number = number, .text = slice_make(line->bytes, text.size)};
    if (bulk->last)
        bulk->last->later = line;
    else
        bulk->first = line;
    bulk->last = line;
    bulk->held_lines++;
    bulk->held_size += text.size;
    bulk_queue_put(&lane->waiting, line);
    bool look = bulk_is_full(lane) || bulk->held_lines % 64 == 0;
    return look ? bulk_round(bulk, false, false, -1, NULL, fault) : 0;
}

int bulk_wait(struct bulk *bulk, int fd, struct fault *fault)
{
    for (bool is_readable = false; !is_readable;)
        if (bulk_round(bulk, true, true, fd, &is_readable, fault) < 0) return -1;
    return 0;
}

int bulk_finish(struct bulk *bulk, struct fault *fault)
{
    while (bulk->first)
        if (bulk_round(bulk, true, true, -1, NULL, fault) < 0) return -1;
    return 0;
}

void bulk_close(struct bulk *bulk)
{
    for (size_t at = 0; at < bulk->lane_count; at++) {
        struct bulk_lane *lane = &bulk->lanes[at];
        if (lane->is_busy) curl_multi_remove_handle(bulk->multi, lane->curl);
        if (lane->curl) curl_easy_cleanup(lane->curl);
        buf_release(&lane->body);
        buf_release(&lane->part);
    }
    while (bulk->first) {
        struct bulk_line *later = bulk->first->later;
        mem_free((char *)bulk->first->result.data);
        mem_free(bulk->first);
        bulk->first = later;
    }
    curl_multi_cleanup(bulk->multi);
    curl_slist_free_all(bulk->headers);
    buf_release(&bulk->url);
    mem_free(bulk);
}

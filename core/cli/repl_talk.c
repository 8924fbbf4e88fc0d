#include "cli/repl_talk.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/actor.h"
#include "cli/repl_wake.h"
#include "codec/json.h"

enum {
    TALK_ANSWER_MS = 10000, /* for a question that needs no work */
    TALK_BUSY_MS = 20,      /* until it is asked again whether an evaluation that was left has ended */
    TALK_CANCEL_MS = 1000,  /* for a cancelled evaluation to say so */
    TALK_LINE_SIZE_MAX = 256 << 20,
    TALK_POLL_MS = 60000
};

struct repl_talk {
    const struct client *client;
    const char *where;
    CURLM *multi;
    struct curl_slist *headers;
    struct buf url, session; /* session: empty where none is open */
    CURL *side;              /* for questions, also while an evaluation runs */
    /* the evaluation at hand */
    CURL *evaluation;
    const struct repl_listener *listener;
    struct buf part; /* of a line; a whole answer that is a problem */
    bool is_stopped, is_malformed;
    bool has_last;        /* a line of the last kinds came */
    int64_t cancelled_ns; /* since when the hub was asked to cancel; 0: it was not */
    int signal_number;
    int64_t left_ns; /* when an evaluation was left that the hub may still be ending; 0: none was */
};

struct repl_talk *repl_talk_new(const struct client *client, const char *where, const char *tenant)
{
    struct repl_talk *talk = MEM_NEW(struct repl_talk);
    char actor[ACTOR_SIZE_MAX], header[ACTOR_SIZE_MAX + 16];
    struct slice name = actor_name(actor);
    talk->client = client;
    talk->where = where;
    talk->multi = curl_multi_init();
    talk->side = curl_easy_init();
    talk->evaluation = curl_easy_init();
    talk->headers = curl_slist_append(NULL, "Content-Type: application/json");
    talk->headers = curl_slist_append(talk->headers, "Expect:");
    if (name.size) {
        snprintf(header, sizeof header, "Actor: %.*s", SLICE_ARGS(name));
        talk->headers = curl_slist_append(talk->headers, header);
    }
    buf_format(&talk->url, "%s/v1/%s/repl", client_base(client), tenant);
    buf_put_byte(&talk->url, 0);
    return talk;
}

void repl_talk_free(struct repl_talk *talk)
{
    curl_easy_cleanup(talk->side);
    curl_easy_cleanup(talk->evaluation);
    curl_multi_cleanup(talk->multi);
    curl_slist_free_all(talk->headers);
    buf_release(&talk->url);
    buf_release(&talk->session);
    buf_release(&talk->part);
    mem_free(talk);
}

bool repl_talk_is_open(const struct repl_talk *talk)
{
    return talk->session.size > 0;
}

bool repl_talk_was_cancelled(const struct repl_talk *talk)
{
    return talk->cancelled_ns != 0;
}

int repl_talk_signal(const struct repl_talk *talk)
{
    return talk->signal_number;
}

/* {"session":S — the object is to be ended by the caller. */
static void talk_put_session(const struct repl_talk *talk, struct buf *body)
{
    buf_put_byte(body, '{');
    json_put_text_member(body, "session", buf_slice(&talk->session));
}

static void talk_request(const struct repl_talk *talk, CURL *curl, const struct buf *body)
{
    curl_easy_reset(curl);
    client_set_up(talk->client, curl);
    curl_easy_setopt(curl, CURLOPT_URL, talk->url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, talk->headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
}

static int talk_gone(const struct repl_talk *talk, CURLcode code, struct fault *fault)
{
    if (code == CURLE_COULDNT_CONNECT)
        return fault_set(fault, FAULT_UNAVAILABLE, "no hub answers on %s: is lore serve running?",
                         talk->where);
    return fault_set(fault, FAULT_UNAVAILABLE, "the hub on %s does not answer: %s", talk->where,
                     curl_easy_strerror(code));
}

/* --- questions of one line --- */

static size_t talk_collect(char *data, size_t size, size_t count, void *user)
{
    struct buf *answer = user;
    size *= count;
    if (answer->size + size > TALK_LINE_SIZE_MAX) return 0;
    buf_put(answer, data, size);
    return size;
}

static int talk_read_answer(long status, struct buf *text, struct fields *answer, struct fault *fault)
{
    while (text->size && text->data[text->size - 1] == '\n') text->size--;
    if (status >= 300) return client_problem(status, buf_slice(text), fault);
    struct fault malformed;
    if (fields_read(answer, buf_slice(text), &malformed) < 0)
        return fault_set(fault, FAULT_MALFORMED, "the hub's answer cannot be read: %s", malformed.text);
    struct fields error;
    if (!fields_object(answer, "error", &error)) return 0;
    char code[64];
    snprintf(code, sizeof code, "%.*s", SLICE_ARGS(fields_text(&error, "code")));
    return fault_set(fault, fault_code_of(code), "%.*s", SLICE_ARGS(fields_text(&error, "message")));
}

/* Ctrl-C and what else is signalled meanwhile is looked at behind the answer, which does not take long. */
static int talk_ask(struct repl_talk *talk, const struct buf *body, int timeout_ms, struct fields *answer,
                    struct fault *fault)
{
    struct buf text = {0};
    CURL *curl = talk->side;
    talk_request(talk, curl, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, talk_collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    int done =
        code == CURLE_OK ? talk_read_answer(status, &text, answer, fault) : talk_gone(talk, code, fault);
    buf_release(&text);
    return done;
}

int repl_talk_ask_text(struct repl_talk *talk, const char *name, struct slice text, int timeout_ms,
                       struct fields *answer, struct fault *fault)
{
    struct buf body = {0};
    talk_put_session(talk, &body);
    json_put_text_member(&body, name, text);
    buf_put_byte(&body, '}');
    int done = talk_ask(talk, &body, timeout_ms, answer, fault);
    buf_release(&body);
    return done;
}

static int talk_ask_flag(struct repl_talk *talk, const char *name, int timeout_ms, bool flag,
                         struct fields *answer, struct fault *fault)
{
    struct buf body = {0};
    talk_put_session(talk, &body);
    json_put_name(&body, name);
    buf_put_text(&body, flag ? "true}" : "false}");
    int done = talk_ask(talk, &body, timeout_ms, answer, fault);
    buf_release(&body);
    return done;
}

int repl_talk_ask_flag(struct repl_talk *talk, const char *name, bool flag, struct fields *answer,
                       struct fault *fault)
{
    return talk_ask_flag(talk, name, TALK_ANSWER_MS, flag, answer, fault);
}

int repl_talk_open(struct repl_talk *talk, bool write, struct fields *answer, struct fault *fault)
{
    struct buf body = {0};
    buf_clear(&talk->session);
    buf_put_text(&body, write ? "{\"open\":true,\"write\":true}" : "{\"open\":true,\"write\":false}");
    int done = talk_ask(talk, &body, TALK_ANSWER_MS, answer, fault);
    buf_release(&body);
    if (done < 0) return -1;
    struct slice session = fields_text(answer, "session");
    if (!session.size) return fault_set(fault, FAULT_MALFORMED, "the hub's answer names no session");
    buf_put_slice(&talk->session, session);
    return 0;
}

bool repl_talk_has_session(struct repl_talk *talk)
{
    struct fields answer = {0};
    struct fault fault;
    bool unknown = talk_ask_flag(talk, "cancel", TALK_ANSWER_MS, true, &answer, &fault) < 0 &&
                   fault.code == FAULT_NOT_FOUND;
    fields_release(&answer);
    return !unknown;
}

void repl_talk_forget(struct repl_talk *talk)
{
    buf_clear(&talk->session);
}

void repl_talk_close(struct repl_talk *talk)
{
    if (!talk->session.size) return;
    const struct timespec pause = {.tv_nsec = TALK_BUSY_MS * 1000000};
    int64_t until_ns = clock_monotonic_ns() + TALK_CANCEL_MS * INT64_C(1000000);
    for (bool busy = true; busy;) {
        struct fields answer = {0};
        struct fault fault;
        busy = talk_ask_flag(talk, "close", TALK_CANCEL_MS, true, &answer, &fault) < 0 &&
               fault.code == FAULT_CONFLICT && clock_monotonic_ns() < until_ns;
        fields_release(&answer);
        if (busy) nanosleep(&pause, NULL);
    }
    buf_clear(&talk->session);
}

/* --- evaluations --- */

static bool talk_is_last(const struct fields *line)
{
    static const char *const last[] = {"none", "incomplete", "error", "saved"};
    struct slice value;
    for (size_t at = 0; at < sizeof last / sizeof *last; at++)
        if (fields_has(line, last[at])) return true;
    return fields_member(line, "value", &value); /* which may be null */
}

static bool talk_take_line(struct repl_talk *talk, struct slice json)
{
    struct fields line = {0};
    struct fault malformed;
    if (json.size == 0) return true;
    bool whole = fields_read(&line, json, &malformed) == 0;
    if (!whole) talk->is_malformed = true;
    if (whole && talk_is_last(&line)) talk->has_last = true;
    bool goes_on = whole && talk->listener->line(talk->listener->user, &line, json);
    if (whole && !goes_on) talk->is_stopped = true;
    fields_release(&line);
    return goes_on;
}

static size_t talk_receive(char *data, size_t size, size_t count, void *user)
{
    struct repl_talk *talk = user;
    long status = 0;
    size *= count;
    curl_easy_getinfo(talk->evaluation, CURLINFO_RESPONSE_CODE, &status);
    for (size_t at = 0; at < size;) {
        char *newline = status < 300 ? memchr(data + at, '\n', size - at) : NULL;
        size_t part = newline ? (size_t)(newline - data) - at : size - at;
        talk->is_malformed = talk->part.size + part > TALK_LINE_SIZE_MAX;
        if (talk->is_malformed) return 0;
        buf_put(&talk->part, data + at, part);
        at += part + 1;
        if (!newline) break;
        if (!talk_take_line(talk, buf_slice(&talk->part))) return 0;
        buf_clear(&talk->part);
    }
    return size;
}

/* Asks the hub to cancel, on a connection beside. */
static void talk_cancel(struct repl_talk *talk)
{
    struct fields answer = {0};
    struct fault unheard;
    talk->cancelled_ns = clock_monotonic_ns();
    talk_ask_flag(talk, "cancel", TALK_CANCEL_MS, true, &answer, &unheard);
    fields_release(&answer);
}

/* False: the evaluation is to be left at once. */
static bool talk_look_at_signals(struct repl_talk *talk)
{
    for (int number; (number = repl_wake_take());) {
        if (repl_wake_is_end(number)) {
            talk->signal_number = number;
            return false;
        }
        if (number == SIGTSTP) raise(SIGSTOP);
        if (number != SIGINT) continue;
        if (talk->cancelled_ns) return false;
        talk_cancel(talk);
    }
    return !talk->cancelled_ns || (clock_monotonic_ns() - talk->cancelled_ns) / 1000000 < TALK_CANCEL_MS;
}

static int talk_wait_ms(const struct repl_talk *talk)
{
    int wait_ms = talk->listener->wait_ms(talk->listener->user);
    if (wait_ms < 0) wait_ms = TALK_POLL_MS;
    return talk->cancelled_ns && wait_ms > TALK_CANCEL_MS / 10 ? TALK_CANCEL_MS / 10 : wait_ms;
}

/* Until the answer has ended (true; *code says how) or is left. */
static bool talk_run(struct repl_talk *talk, CURLcode *code)
{
    for (;;) {
        int running, left;
        curl_multi_perform(talk->multi, &running);
        CURLMsg *message = curl_multi_info_read(talk->multi, &left);
        if (message) {
            *code = message->data.result;
            return true;
        }
        talk->listener->tick(talk->listener->user);
        struct curl_waitfd wake = {.fd = repl_wake_fd(), .events = CURL_WAIT_POLLIN};
        curl_multi_poll(talk->multi, &wake, 1, talk_wait_ms(talk), NULL);
        if (!talk_look_at_signals(talk)) return false;
    }
}

static enum repl_talk_end talk_end(struct repl_talk *talk, CURLcode code, struct fault *fault)
{
    long status = 0;
    curl_easy_getinfo(talk->evaluation, CURLINFO_RESPONSE_CODE, &status);
    if (talk->is_malformed) {
        fault_set(fault, FAULT_MALFORMED, "the hub's answer cannot be read");
        return REPL_TALK_FAILED;
    }
    if (talk->is_stopped) return REPL_TALK_STOPPED;
    if (talk->has_last) return REPL_TALK_DONE;
    if (code == CURLE_OK && status >= 300) {
        client_problem(status, buf_slice(&talk->part), fault);
        bool is_over = fault->code == FAULT_NOT_FOUND && !repl_talk_has_session(talk);
        return is_over ? REPL_TALK_SESSION : REPL_TALK_FAILED;
    }
    if (talk->cancelled_ns) return REPL_TALK_CANCELLED;
    if (code == CURLE_OK)
        fault_set(fault, FAULT_UNAVAILABLE, "the hub went away in the middle of its answer (%s)",
                  talk->where);
    else
        talk_gone(talk, code, fault);
    return REPL_TALK_GONE;
}

static enum repl_talk_end talk_evaluate(struct repl_talk *talk, struct slice source, int64_t rows,
                                        const struct repl_listener *listener, struct fault *fault)
{
    struct buf body = {0};
    CURLcode code = CURLE_OK;
    talk_put_session(talk, &body);
    json_put_text_member(&body, "source", source);
    json_put_int_member(&body, "rows", rows);
    buf_put_byte(&body, '}');
    buf_clear(&talk->part);
    talk->listener = listener;
    talk->is_stopped = talk->is_malformed = talk->has_last = false;
    talk->cancelled_ns = 0;
    talk_request(talk, talk->evaluation, &body);
    curl_easy_setopt(talk->evaluation, CURLOPT_WRITEFUNCTION, talk_receive);
    curl_easy_setopt(talk->evaluation, CURLOPT_WRITEDATA, talk);
    curl_multi_add_handle(talk->multi, talk->evaluation);
    bool ended = talk_run(talk, &code);
    enum repl_talk_end end = ended                 ? talk_end(talk, code, fault)
                             : talk->signal_number ? REPL_TALK_KILLED
                                                   : REPL_TALK_CANCELLED;
    curl_multi_remove_handle(talk->multi, talk->evaluation);
    buf_release(&body);
    return end;
}

enum repl_talk_end repl_talk_evaluate(struct repl_talk *talk, struct slice source, int64_t rows,
                                      const struct repl_listener *listener, struct fault *fault)
{
    const struct timespec pause = {.tv_nsec = TALK_BUSY_MS * 1000000};
    enum repl_talk_end end;
    do {
        end = talk_evaluate(talk, source, rows, listener, fault);
        bool busy = end == REPL_TALK_FAILED && fault->code == FAULT_CONFLICT && talk->left_ns &&
                    clock_monotonic_ns() - talk->left_ns < TALK_CANCEL_MS * INT64_C(1000000);
        if (!busy) break;
        nanosleep(&pause, NULL);
    } while (true);
    talk->left_ns = 0;
    if (end == REPL_TALK_STOPPED || end == REPL_TALK_KILLED) talk_cancel(talk);
    if (end == REPL_TALK_STOPPED || end == REPL_TALK_CANCELLED || end == REPL_TALK_GONE)
        talk->left_ns = clock_monotonic_ns();
    return end;
}

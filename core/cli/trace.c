/* trace.c: lore trace: what followed from what, as a tree. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/time.h"

enum { DEPTH_DRAWN_MAX = 120 };

struct trace_row {
    struct fields node; /* borrowed from the answer */
    int64_t depth;
    bool is_last; /* of its parent's */
};

static void trace_put_after(const struct fields *node, int64_t *began_ms)
{
    struct slice time = fields_text(node, "time");
    int64_t ms = 0;
    time_parse(time, &ms);
    if (*began_ms < 0) {
        *began_ms = ms;
        printf("%.*s  ", SLICE_ARGS(time));
        return;
    }
    double after_s = (double)(ms - *began_ms) / 1000;
    char text[32];
    if (after_s < 100)
        snprintf(text, sizeof text, "+%.3f s", after_s);
    else
        snprintf(text, sizeof text, "+%.0f s", after_s);
    printf("%24s  ", text);
}

static void trace_print_row(const struct trace_row *row, const bool *goes_on, int64_t *began_ms)
{
    const struct fields *node = &row->node;
    struct slice stream = fields_text(node, "stream"), outcome = fields_text(node, "outcome"),
                 reason = fields_text(node, "reason"), message = fields_text(node, "message"),
                 cause = fields_text(node, "cause");
    trace_put_after(node, began_ms);
    for (int64_t at = 1; at < row->depth && at < DEPTH_DRAWN_MAX; at++)
        fputs(goes_on[at] ? "│  " : "   ", stdout);
    if (row->depth) fputs(row->is_last ? "└─ " : "├─ ", stdout);
    printf("%.*s  %.*s", SLICE_ARGS(fields_text(node, "type")), SLICE_ARGS(stream));
    if (outcome.size)
        printf("  %.*s", SLICE_ARGS(outcome));
    else
        printf("  version %lld, position %lld", (long long)fields_int(node, "version"),
               (long long)fields_int(node, "position"));
    if (reason.size) printf(" (%.*s): %.*s", SLICE_ARGS(reason), SLICE_ARGS(message));
    if (cause.size) printf("  because of %.*s", SLICE_ARGS(cause));
    putchar('\n');
}

/* From the last row to the first: whether another child of the same parent follows. */
static void trace_find_last(struct trace_row *rows, size_t count)
{
    bool open[DEPTH_DRAWN_MAX + 1] = {false};
    for (size_t at = count; at-- > 0;) {
        int64_t depth = rows[at].depth < DEPTH_DRAWN_MAX ? rows[at].depth : DEPTH_DRAWN_MAX;
        rows[at].is_last = !open[depth];
        open[depth] = true;
        for (int64_t below = depth + 1; below <= DEPTH_DRAWN_MAX; below++) open[below] = false;
    }
}

static void trace_draw(const struct fields *answer)
{
    struct trace_row *rows = NULL;
    size_t count = 0, count_max = 0;
    const uint8_t *at = NULL;
    struct fields node;
    while (fields_next(answer, "trace", &at, &node)) {
        if (count == count_max) {
            count_max = count_max ? 2 * count_max : 64;
            rows = mem_resize(rows, count_max * sizeof *rows);
        }
        rows[count++] = (struct trace_row){.node = node, .depth = fields_int(&node, "depth")};
    }
    trace_find_last(rows, count);
    bool goes_on[DEPTH_DRAWN_MAX] = {false};
    int64_t began_ms = -1;
    for (size_t row = 0; row < count; row++) {
        trace_print_row(&rows[row], goes_on, &began_ms);
        if (rows[row].depth < DEPTH_DRAWN_MAX) goes_on[rows[row].depth] = !rows[row].is_last;
    }
    if (fields_flag(answer, "truncated"))
        fprintf(stderr, "lore: there is more than the first %zu commands and events\n", count);
    mem_free(rows);
}

static void trace_print_lines(const struct fields *answer)
{
    const uint8_t *at = NULL;
    struct fields node;
    struct buf line = {0};
    while (fields_next(answer, "trace", &at, &node)) {
        buf_clear(&line);
        json_from_mp(buf_slice(&node.bytes), &line, NULL);
        printf("%.*s\n", SLICE_ARGS(buf_slice(&line)));
    }
    buf_release(&line);
}

static int trace_get(struct client *client, const char *tenant, struct slice id, struct reply *reply,
                     struct fault *fault)
{
    struct buf path = {0};
    buf_format(&path, "/v1/%s/trace/", tenant);
    client_put_encoded(&path, id);
    buf_put_byte(&path, 0);
    int done = client_get(client, path.data, NULL, reply, fault);
    buf_release(&path);
    return done;
}

/* The id of the event at a position, or of the last event of a stream: as lore blame finds them. */
static int trace_find_event(struct client *client, const struct cli *cli, const char *name, struct buf *id,
                            struct fault *fault)
{
    struct buf path = {0};
    struct reply reply = {0};
    struct fields answer = {0}, commit, event;
    const uint8_t *at = NULL, *at_event = NULL;
    buf_format(&path, "/v1/%s/blame?%s=", cli->tenant, name);
    client_put_encoded(&path, slice_of(cli->rest[0]));
    buf_put_text(&path, strcmp(name, "stream") == 0 ? "&last=1" : "");
    buf_put_byte(&path, 0);
    int done = client_get(client, path.data, NULL, &reply, fault);
    if (done == 0) done = fields_read(&answer, buf_slice(&reply.body), fault);
    while (done == 0 && fields_next(&answer, "blame", &at, &commit)) {
        while (fields_next(&commit, "events", &at_event, &event)) {
            buf_clear(id);
            buf_put_slice(id, fields_text(&event, "id"));
        }
    }
    if (done == 0 && id->size == 0)
        done = fault_set(fault, FAULT_NOT_FOUND, "there is no event of %s", cli->rest[0]);
    fields_release(&answer);
    buf_release(&reply.body);
    buf_release(&path);
    return done;
}

/* An id has no slash, but it may be a number: what is known under it goes before the position. */
static int trace_ask(struct client *client, const struct cli *cli, struct reply *reply, struct fault *fault)
{
    const char *what = cli->rest[0];
    bool is_position = what[strspn(what, "0123456789")] == 0, is_stream = strchr(what, '/') != NULL;
    int done = is_stream ? -1 : trace_get(client, cli->tenant, slice_of(what), reply, fault);
    if (!is_stream && (done == 0 || fault->code != FAULT_NOT_FOUND || !is_position)) return done;
    struct buf id = {0};
    buf_clear(&reply->body);
    done = trace_find_event(client, cli, is_position ? "position" : "stream", &id, fault);
    if (done == 0) done = trace_get(client, cli->tenant, buf_slice(&id), reply, fault);
    buf_release(&id);
    return done;
}

static int trace_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_STATE, &client, &fault) < 0) return cli_fail(&fault);
    struct reply reply = {0};
    struct fields answer = {0};
    int done = trace_ask(client, cli, &reply, &fault);
    if (done == 0) done = fields_read(&answer, buf_slice(&reply.body), &fault);
    if (done == 0 && cli->json)
        trace_print_lines(&answer);
    else if (done == 0)
        trace_draw(&answer);
    fields_release(&answer);
    buf_release(&reply.body);
    client_close(client);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

const struct cli_command cli_trace = {
    .name = "trace",
    .summary = "what followed from what",
    .arguments = "ID | POSITION | STREAM",
    .help =
        "Draws the tree of commands and events that belong together, over all contexts, with times and "
        "outcomes. ID is that of a\n"
        "correlation, a command or an event; a position stands for the event there, a stream for its last "
        "one.\n"
        "With --json one command or event a line, each behind its "
        "parent.\n\n"
        "  lore trace 0198c0de-0000-7000-8000-000000000000\n  lore trace shop/order/1",
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = trace_run,
};

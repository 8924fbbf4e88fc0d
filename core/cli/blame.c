/* blame.c: lore blame: which deploy, file and command made an event, a stream or a document. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "codec/json.h"

static void blame_print_deploy(const struct fields *commit)
{
    struct fields deploy;
    if (!fields_object(commit, "deploy", &deploy)) return;
    struct slice actor = fields_text(&deploy, "actor"), note = fields_text(&deploy, "note");
    printf("%lld", (long long)fields_int(&deploy, "number"));
    if (fields_has(&deploy, "state"))
        printf(", %.*s, %.*s", SLICE_ARGS(fields_text(&deploy, "state")),
               SLICE_ARGS(fields_text(&deploy, "time")));
    if (actor.size) printf(" by %.*s", SLICE_ARGS(actor));
    if (note.size) printf(": %.*s", SLICE_ARGS(note));
}

/* "billing/bill.lua:31", or nothing. */
static void blame_print_place(const struct fields *command, const char *before)
{
    struct fields handler;
    if (fields_object(command, "handler", &handler))
        printf("%s%.*s:%lld", before, SLICE_ARGS(fields_text(&handler, "path")),
               (long long)fields_int(&handler, "line"));
}

static void blame_print_member(const struct fields *fields, const char *name)
{
    struct buf json = {0};
    fields_json(fields, name, &json);
    if (json.size) printf("  %.*s", SLICE_ARGS(buf_slice(&json)));
    buf_release(&json);
}

/* --- the commits of a stream, a line each --- */

static void blame_print_line(const struct fields *commit)
{
    const uint8_t *at = NULL;
    struct fields event, command;
    long long position = 0;
    bool some = false;
    struct buf types = {0};
    while (fields_next(commit, "events", &at, &event)) {
        if (!some) position = fields_int(&event, "position");
        if (some) buf_put_byte(&types, ' ');
        some = true;
        buf_put_slice(&types, fields_text(&event, "type"));
    }
    printf("%8lld  %.*s  %.*s  deploy ", position, SLICE_ARGS(fields_text(commit, "time")),
           SLICE_ARGS(buf_slice(&types)));
    blame_print_deploy(commit);
    at = NULL;
    while (fields_next(commit, "commands", &at, &command)) {
        printf("  %.*s", SLICE_ARGS(fields_text(&command, "type")));
        blame_print_place(&command, " at ");
    }
    if (slice_is(fields_text(commit, "kind"), "import")) fputs("  imported", stdout);
    putchar('\n');
    buf_release(&types);
}

/* --- one event --- */

static void blame_print_events(const struct fields *commit)
{
    const uint8_t *at = NULL;
    struct fields event;
    while (fields_next(commit, "events", &at, &event)) {
        bool asked = fields_flag(&event, "asked");
        printf("%-8s %.*s at position %lld, version %lld, %.*s", asked ? "event" : "beside",
               SLICE_ARGS(fields_text(&event, "type")), (long long)fields_int(&event, "position"),
               (long long)fields_int(&event, "version"), SLICE_ARGS(fields_text(&event, "at")));
        blame_print_member(&event, "data");
        putchar('\n');
    }
}

static void blame_print_commands(const struct fields *commit)
{
    const uint8_t *at = NULL;
    struct fields command;
    struct slice actor = fields_text(commit, "actor"), error = fields_text(commit, "error");
    while (fields_next(commit, "commands", &at, &command)) {
        printf("command  %.*s %.*s", SLICE_ARGS(fields_text(&command, "type")),
               SLICE_ARGS(fields_text(&command, "id")));
        if (actor.size) printf(" by %.*s", SLICE_ARGS(actor));
        blame_print_member(&command, "data");
        blame_print_place(&command, "\nhandler  ");
        putchar('\n');
    }
    if (slice_is(fields_text(commit, "kind"), "import"))
        printf("import   a fact%s%.*s: no command decided it\n", actor.size ? " by " : "", SLICE_ARGS(actor));
    if (error.size) printf("handler  unknown: %.*s\n", SLICE_ARGS(error));
}

/* The event's own command is told already. */
static void blame_print_causes(const struct fields *commit)
{
    const uint8_t *at = NULL, *at_command = NULL;
    struct fields cause, command;
    struct slice own = SLICE_NONE;
    if (fields_next(commit, "commands", &at_command, &command)) own = fields_text(&command, "id");
    while (fields_next(commit, "causes", &at, &cause)) {
        struct slice unknown = fields_text(&cause, "cause"), actor = fields_text(&cause, "actor");
        if (!slice_equal(fields_text(&cause, "id"), own)) {
            printf("because  %.*s  %.*s  %.*s", SLICE_ARGS(fields_text(&cause, "time")),
                   SLICE_ARGS(fields_text(&cause, "type")), SLICE_ARGS(fields_text(&cause, "stream")));
            if (fields_has(&cause, "position"))
                printf("  position %lld", (long long)fields_int(&cause, "position"));
            printf("  deploy %lld%s%.*s\n", (long long)fields_int(&cause, "deploy"), actor.size ? " by " : "",
                   SLICE_ARGS(actor));
        }
        if (unknown.size) printf("because  of %.*s, which is not in this log\n", SLICE_ARGS(unknown));
    }
}

static void blame_print_one(const struct fields *commit)
{
    printf("stream   %.*s\n", SLICE_ARGS(fields_text(commit, "stream")));
    blame_print_events(commit);
    fputs("deploy   ", stdout);
    blame_print_deploy(commit);
    putchar('\n');
    blame_print_commands(commit);
    blame_print_causes(commit);
}

static void blame_print(const struct cli *cli, const struct fields *answer)
{
    const uint8_t *at = NULL;
    struct fields commit;
    struct buf line = {0};
    struct slice known = fields_text(answer, "known");
    if (known.size) fprintf(stderr, "lore: %.*s\n", SLICE_ARGS(known));
    while (fields_next(answer, "blame", &at, &commit)) {
        if (cli->json) {
            buf_clear(&line);
            json_from_mp(buf_slice(&commit.bytes), &line, NULL);
            printf("%.*s\n", SLICE_ARGS(buf_slice(&line)));
        } else if (fields_has(&commit, "causes")) {
            blame_print_one(&commit);
        } else {
            blame_print_line(&commit);
        }
    }
    buf_release(&line);
}

/* --- what is asked --- */

static void blame_put_value(struct buf *path, const char *name, const char *value)
{
    buf_put_text(path, name);
    client_put_encoded(path, slice_of(value));
}

static int blame_put_question(struct cli *cli, struct buf *path)
{
    const char *what = cli->rest[0];
    int64_t last = 0;
    if (cli_number(cli, "last", 1, &last) < 0) return -1;
    buf_format(path, "/v1/%s/blame?", cli->tenant);
    if (strcmp(what, "view") == 0) {
        if (cli->rest_count != 3) {
            cli_usage(cli, "blame view takes a view and the key of a document");
            return -1;
        }
        blame_put_value(path, "view=", cli->rest[1]);
        blame_put_value(path, "&key=", cli->rest[2]);
    } else if (cli->rest_count != 1) {
        cli_usage(cli, "blame takes a position, the id of an event, a stream, or view NAME KEY");
        return -1;
    } else if (what[strspn(what, "0123456789")] == 0) {
        blame_put_value(path, "position=", what);
    } else if (strchr(what, '/')) {
        blame_put_value(path, "stream=", what);
        if (last) buf_format(path, "&last=%lld", (long long)last);
    } else {
        blame_put_value(path, "event=", what);
    }
    buf_put_byte(path, 0);
    return 0;
}

static int blame_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    struct buf path = {0};
    struct reply reply = {0};
    struct fields answer = {0};
    if (blame_put_question(cli, &path) < 0) {
        buf_release(&path);
        return CLI_USAGE;
    }
    int done = client_open(cli, CLIENT_LOG, &client, &fault);
    if (done == 0) {
        done = client_get(client, path.data, NULL, &reply, &fault);
        if (done == 0) done = fields_read(&answer, buf_slice(&reply.body), &fault);
        if (done == 0) blame_print(cli, &answer);
        client_close(client);
    }
    fields_release(&answer);
    buf_release(&reply.body);
    buf_release(&path);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

static const struct cli_option blame_options[] = {
    {"last", "N", "of a stream: at most so many commits (default 10)"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_blame = {
    .name = "blame",
    .summary = "which deploy, file and command made it",
    .arguments = "POSITION | EVENT-ID | STREAM | view NAME KEY",
    .help =
        "Names the deploy an event was written under, the handler (file and line, as they were then) that "
        "decided it, the command\n"
        "with its data, and what caused that. Of a stream the last commits, one a line. Of a document the "
        "last "
        "event that touched\n"
        "it; where a projection's documents have no keys of their own, the last event it handled.\n\n"
        "  lore blame 812\n  lore blame billing/bill/7 --last 20\n  lore blame view billing/open_bills 7",
    .options = blame_options,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 3,
    .run = blame_run,
};

/* view.c: lore view: documents of a projection. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"

static bool view_print(void *user, struct slice line)
{
    const struct cli *cli = user;
    if (cli->json) return printf("%.*s\n", SLICE_ARGS(line)) >= 0;
    struct fields document = {0};
    struct buf text = {0};
    if (fields_read(&document, line, NULL) == 0) {
        fields_json(&document, "document", &text);
        printf("%.*s  %.*s\n", SLICE_ARGS(fields_text(&document, "key")), SLICE_ARGS(buf_slice(&text)));
        if (fields_has(&document, "parked")) {
            buf_clear(&text);
            fields_json(&document, "parked", &text);
            fprintf(stderr, "  parked: %.*s\n", SLICE_ARGS(buf_slice(&text)));
        }
    }
    buf_release(&text);
    fields_release(&document);
    return ferror(stdout) == 0;
}

static int view_print_one(struct cli *cli, struct slice json)
{
    if (cli->json) {
        view_print(cli, json);
        return CLI_OK;
    }
    struct fault fault;
    struct fields answer = {0};
    struct buf pretty = {0};
    if (fields_read(&answer, json, &fault) < 0) return cli_fail(&fault);
    fields_pretty(&answer, "document", &pretty);
    printf("%.*s\n", SLICE_ARGS(buf_slice(&pretty)));
    if (fields_has(&answer, "parked")) {
        buf_clear(&pretty);
        fields_json(&answer, "parked", &pretty);
        fprintf(stderr, "lore: this key is parked: %.*s\n", SLICE_ARGS(buf_slice(&pretty)));
    }
    buf_release(&pretty);
    fields_release(&answer);
    return CLI_OK;
}

/* A name alone, as in `lore view open_bills 7`, is looked up among the projections. */
struct view_search {
    struct slice name;
    struct buf *found; /* "context/name"; stays empty if it is none or not the only one */
    int matches;
};

static bool view_match(void *user, struct slice text)
{
    struct view_search *search = user;
    struct fields line = {0};
    if (fields_read(&line, text, NULL) == 0 && slice_is(fields_text(&line, "kind"), "projection")) {
        struct slice full = fields_text(&line, "name");
        const char *slash = memchr(full.data, '/', full.size);
        struct slice last = slash ? slice_make(slash + 1, full.size - (size_t)(slash + 1 - full.data)) : full;
        if (slice_equal(last, search->name) && search->matches++ == 0) buf_put_slice(search->found, full);
    }
    fields_release(&line);
    return true;
}

static int view_put_path(const struct cli *cli, struct client *client, struct buf *path, struct fault *fault)
{
    struct buf found = {0};
    struct view_search search = {.name = slice_of(cli->rest[0]), .found = &found};
    buf_format(path, "/v1/%s/views/", cli->tenant);
    if (!strchr(cli->rest[0], '/') &&
        client_lines(client, "/v1/status", "application/x-ndjson", view_match, &search, fault) < 0) {
        buf_release(&found);
        return -1;
    }
    const char *name = cli->rest[0];
    buf_put_byte(&found, 0);
    if (search.matches == 1) name = found.data;
    for (const char *at = name; *at; at++) {
        if (*at == '/')
            buf_put_byte(path, '/');
        else
            client_put_encoded(path, slice_make(at, 1));
    }
    buf_release(&found);
    if (search.matches > 1)
        return fault_set(fault, FAULT_USAGE, "%s is declared in several contexts: write CONTEXT/%s",
                         cli->rest[0], cli->rest[0]);
    return 0;
}

static int view_run_list(struct cli *cli, struct client *client, struct buf *path, struct fault *fault)
{
    int64_t limit = 0;
    if (cli_number(cli, "limit", 1, &limit) < 0) return CLI_USAGE;
    char separator = '?';
    if (limit) {
        buf_format(path, "?limit=%lld", (long long)limit);
        separator = '&';
    }
    static const char *const names[] = {"index", "min", "max", "at"};
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        if (!cli_flag(cli, names[at])) continue;
        buf_format(path, "%c%s=", separator, names[at]);
        client_put_encoded(path, slice_of(cli_value(cli, names[at])));
        separator = '&';
    }
    buf_put_byte(path, 0);
    return client_lines(client, path->data, "application/x-ndjson", view_print, cli, fault) < 0
               ? cli_fail(fault)
               : CLI_OK;
}

static int view_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    /* The past is folded from events: the views of now need not be brought up for it. */
    enum client_needs needs = cli_flag(cli, "at") ? CLIENT_STATUS : CLIENT_VIEWS;
    if (client_open(cli, needs, &client, &fault) < 0) return cli_fail(&fault);
    struct buf path = {0};
    struct reply reply = {0};
    int code;
    if (view_put_path(cli, client, &path, &fault) < 0) {
        code = cli_fail(&fault);
    } else if (cli->rest_count == 1) {
        code = view_run_list(cli, client, &path, &fault);
    } else {
        buf_put_byte(&path, '/');
        client_put_encoded(&path, slice_of(cli->rest[1]));
        if (cli_flag(cli, "at")) {
            buf_put_text(&path, "?at=");
            client_put_encoded(&path, slice_of(cli_value(cli, "at")));
        }
        buf_put_byte(&path, 0);
        code = client_get(client, path.data, NULL, &reply, &fault) < 0
                   ? cli_fail(&fault)
                   : view_print_one(cli, buf_slice(&reply.body));
    }
    buf_release(&reply.body);
    buf_release(&path);
    client_close(client);
    return code;
}

static const struct cli_option view_options[] = {
    {"at", "T", "as of a time (ISO-8601, by when events happened), a position or deploy:N"},
    {"index", "FIELD", "in the order of this index"},
    {"min", "VALUE", "only from this value on"},
    {"max", "VALUE", "only up to this value"},
    {"limit", "N", "at most so many"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_view = {
    .name = "view",
    .summary = "documents of a projection",
    .arguments = "NAME [KEY]",
    .help =
        "Prints one document, or all of them in order of their key or of an index.\n"
        "Without a running hub the projection is brought up to the head of the log first.\n\n"
        "With --at documents are folded anew from their events up to the moment, with the scripts of today.\n"
        "A document whose key is an id costs what its own events cost. With a key function every event that "
        "has\n"
        "a handler is asked for its key (0.4 to 1 million a second); a whole view, or a document of a "
        "free-style\n"
        "projection (key = false), is a rebuild up to there in a folder under TMPDIR. A running hub does "
        "this\n"
        "beside its work and gives it up after limits.past_seconds of hub.lua (60).\n\n"
        "  lore view outstanding_invoices i-1\n  lore view fines/cases --index status --min paid --max "
        "paid --limit 5\n  lore view fines/cases A1 --at 2010-06-30",
    .options = view_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 2,
    .run = view_run,
};

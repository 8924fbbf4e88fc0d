/* events.c: lore events and lore export: the log, filtered for people or whole for programs. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"

static bool events_print_raw(void *user, struct slice line)
{
    (void)user;
    return printf("%.*s\n", SLICE_ARGS(line)) >= 0;
}

static bool events_print(void *user, struct slice line)
{
    (void)user;
    struct fields event = {0};
    struct buf data = {0};
    if (fields_read(&event, line, NULL) == 0) {
        fields_json(&event, "data", &data);
        printf("%8lld  %.*s  %.*s %.*s %.*s\n", (long long)fields_int(&event, "position"),
               SLICE_ARGS(fields_text(&event, "time")), SLICE_ARGS(fields_text(&event, "subject")),
               SLICE_ARGS(fields_text(&event, "type")), SLICE_ARGS(buf_slice(&data)));
    }
    buf_release(&data);
    fields_release(&event);
    return ferror(stdout) == 0;
}

/* The tail is Server-Sent Events: only their data lines are events. */
static bool events_follow(void *user, struct slice line)
{
    if (!slice_starts(line, "data: ")) return true;
    struct slice json = slice_make(line.data + 6, line.size - 6);
    bool goes_on = *(bool *)user ? events_print_raw(NULL, json) : events_print(NULL, json);
    return goes_on && fflush(stdout) == 0;
}

static void events_put_filter(const struct cli *cli, const char *name, struct buf *path)
{
    const char *value = cli_value(cli, name);
    if (!value) return;
    buf_format(path, "&%s=", name);
    client_put_encoded(path, slice_of(value));
}

static int events_run(struct cli *cli)
{
    int64_t limit = 0;
    if (cli_number(cli, "limit", 1, &limit) < 0) return CLI_USAGE;
    struct fault fault;
    struct client *client;
    bool follow = cli_flag(cli, "follow");
    if (client_open(cli, CLIENT_LOG, &client, &fault) < 0) return cli_fail(&fault);
    if (follow && client_is_own(client)) {
        client_close(client);
        return cli_fail(&(struct fault){.code = FAULT_UNAVAILABLE,
                                        .text = "--follow needs a running hub: start one with lore serve"});
    }
    struct buf path = {0};
    buf_format(&path, "/v1/%s/events?from=", cli->tenant);
    client_put_encoded(&path, slice_of(cli_flag(cli, "from") ? cli_value(cli, "from") : "1"));
    if (limit) buf_format(&path, "&limit=%lld", (long long)limit);
    static const char *const filters[] = {"until", "type", "context", "subject", "correlation", "deploy"};
    for (size_t at = 0; at < sizeof filters / sizeof *filters; at++)
        events_put_filter(cli, filters[at], &path);
    buf_put_byte(&path, 0);
    int done = follow
                   ? client_lines(client, path.data, "text/event-stream", events_follow, &cli->json, &fault)
                   : client_lines(client, path.data, "application/x-ndjson",
                                  cli->json ? events_print_raw : events_print, NULL, &fault);
    buf_release(&path);
    client_close(client);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

static int events_run_export(struct cli *cli)
{
    int64_t from = 1;
    if (cli_number(cli, "from", 1, &from) < 0) return CLI_USAGE;
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_LOG, &client, &fault) < 0) return cli_fail(&fault);
    struct buf path = {0};
    buf_format(&path, "/v1/%s/events?from=%lld", cli->tenant, (long long)from);
    buf_put_byte(&path, 0);
    int done = client_lines(client, path.data, "application/x-ndjson", events_print_raw, NULL, &fault);
    buf_release(&path);
    client_close(client);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

static const struct cli_option events_options[] = {
    {"from", "T", "begin at this position, time (of recording) or deploy:N"},
    {"until", "T", "end with this position, time or the last event before deploy:N"},
    {"limit", "N", "at most so many"},
    {"type", "TYPE", "only events of this type"},
    {"context", "NAME", "only events of this context"},
    {"subject", "AGGREGATE/ID", "only events of this aggregate"},
    {"correlation", "ID", "only what belongs to this correlation"},
    {"deploy", "N", "only events written under this deploy"},
    {"follow", NULL, "stay and print events as they come"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_events = {
    .name = "events",
    .summary = "read or tail events",
    .arguments = "",
    .help =
        "Prints events of the log in order, one a line: position, time, subject, type, data.\n"
        "With --json each is a CloudEvents object.\n\n"
        "  lore events --type BillClosed --limit 10\n  lore events --from 2026-02-01 --until deploy:41\n  "
        "lore events "
        "--follow",
    .options = events_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .run = events_run,
};

static const struct cli_option events_export_options[] = {
    {"from", "N", "begin at this position"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_export = {
    .name = "export",
    .summary = "all events as NDJSON, as stored",
    .arguments = "",
    .help = "Writes every event of the tenant as a CloudEvents object, one a line, in log order.\n\n"
            "  lore export | gzip > events.ndjson.gz",
    .options = events_export_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .run = events_run_export,
};

/* events.c: lore events and lore export: the log, filtered for people or whole for programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "run/hub.h"
#include "store/archive.h"
#include "run/moment.h"

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

/* --- of a file --- */

static bool events_is_subject(const struct record *record, struct slice subject)
{
    struct slice name = names_get(record->names, record->aggregate);
    const char *slash = memchr(name.data, '/', name.size);
    size_t size = slash ? name.size - (size_t)(slash + 1 - name.data) : 0;
    return subject.size == size + 1 + record->id.size && slash &&
           memcmp(subject.data, slash + 1, size) == 0 && subject.data[size] == '/' &&
           memcmp(subject.data + size + 1, record->id.data, record->id.size) == 0;
}

static bool events_correlates(const struct record *record, const char *correlation)
{
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    bool same = slice_is(ids.correlation_id, correlation);
    arena_release(&arena);
    return same;
}

static bool events_passes(const struct cli *cli, const struct record *record)
{
    const char *context = cli_value(cli, "context"), *subject = cli_value(cli, "subject"),
               *deploy = cli_value(cli, "deploy");
    struct slice name = names_get(record->names, record->aggregate);
    size_t size = context ? strlen(context) : 0;
    if (record->kind == RECORD_ERASED) return false;
    if (!slice_is(names_get(record->names, record->tenant), cli->tenant)) return false;
    if (context && (!slice_starts(name, context) || name.size <= size || name.data[size] != '/'))
        return false;
    if (deploy && record->deploy != strtoull(deploy, NULL, 10)) return false;
    const char *correlation = cli_value(cli, "correlation");
    if (correlation && !events_correlates(record, correlation)) return false;
    return !subject || events_is_subject(record, slice_of(subject));
}

/* Prints what passes of one record; false when enough was printed. */
static bool events_print_record(const struct cli *cli, const char *log_id, const struct record *record,
                                uint64_t from, int64_t *left)
{
    const char *type = cli_value(cli, "type");
    struct record_event event = {0};
    struct buf line = {0};
    bool goes_on = true;
    while (goes_on && events_passes(cli, record) && record_next_event(record, &event)) {
        if (event.position < from || (type && !slice_is(names_get(record->names, event.type), type)))
            continue;
        buf_clear(&line);
        cloudevent_json(log_id, record, &event, &line);
        goes_on = cli->json ? events_print_raw(NULL, buf_slice(&line)) : events_print(NULL, buf_slice(&line));
        if (--*left == 0) goes_on = false;
    }
    buf_release(&line);
    return goes_on;
}

static int events_run_archive(const struct cli *cli, const char *file, int64_t limit)
{
    int64_t from = 1;
    if (cli_number(cli, "from", 1, &from) < 0) return CLI_USAGE;
    struct archive_reader *reader;
    struct archive_item item;
    struct fault fault;
    if (archive_open(file, &reader, &fault) < 0) return cli_fail(&fault);
    int got;
    while ((got = archive_next(reader, &item, &fault)) > 0)
        if (item.kind == ARCHIVE_COMMIT &&
            !events_print_record(cli, archive_head(reader)->log_id, &item.record, (uint64_t)from, &limit))
            break;
    archive_close(reader);
    return got < 0 ? cli_fail(&fault) : CLI_OK;
}

static bool events_is_moment(const char *text, struct fault *fault)
{
    struct moment moment;
    return moment_parse(slice_of(text), &moment, fault) == 0;
}

static int events_run(struct cli *cli)
{
    int64_t limit = 0;
    if (cli_number(cli, "limit", 1, &limit) < 0) return CLI_USAGE;
    if (cli_value(cli, "archive")) return events_run_archive(cli, cli_value(cli, "archive"), limit);
    struct fault fault;
    struct client *client;
    static const char *const moments[] = {"from", "until"};
    for (size_t at = 0; at < sizeof moments / sizeof *moments; at++)
        if (cli_flag(cli, moments[at]) && !events_is_moment(cli_value(cli, moments[at]), &fault))
            return cli_usage(cli, "--%s: %s", moments[at], fault.text);
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
    {"archive", "FILE", "of a file that a rollback or a backup made (-: stdin), not of the log"},
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

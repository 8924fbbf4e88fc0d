/* send.c: lore send: one command, or NDJSON lines of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

static void send_print(const struct cli *cli, struct slice json)
{
    if (cli->json) {
        printf("%.*s\n", SLICE_ARGS(json));
        return;
    }
    struct fields answer = {0}, event;
    if (fields_read(&answer, json, NULL) == 0) {
        const uint8_t *at = NULL;
        bool any = false;
        while (fields_next(&answer, "events", &at, &event)) {
            struct buf data = {0};
            fields_json(&event, "data", &data);
            printf("%.*s %.*s\n", SLICE_ARGS(fields_text(&event, "type")), SLICE_ARGS(buf_slice(&data)));
            buf_release(&data);
            any = true;
        }
        fprintf(stderr, "lore: %s version %lld, position %lld\n",
                any ? "accepted," : "accepted without an event,", (long long)fields_int(&answer, "version"),
                (long long)fields_int(&answer, "position"));
    }
    fields_release(&answer);
}

/* One command to one stream: POST and print. */
static int send_one(const struct cli *cli, struct client *client, struct slice stream, struct slice body,
                    const char *const *headers)
{
    struct fault fault;
    struct slice context, aggregate, id;
    if (text_split_stream(stream, &context, &aggregate, &id, &fault) < 0) return cli_fail(&fault);
    struct buf path = {0};
    struct reply reply = {0};
    buf_format(&path, "/v1/%s/%.*s/%.*s/", cli->tenant, SLICE_ARGS(context), SLICE_ARGS(aggregate));
    client_put_encoded(&path, id);
    buf_put_byte(&path, 0);
    int code = CLI_OK;
    if (client_post(client, path.data, body, headers, &reply, &fault) < 0) {
        code = cli_fail(&fault);
        if (cli->json && reply.body.size) printf("%.*s\n", SLICE_ARGS(buf_slice(&reply.body)));
    } else {
        send_print(cli, buf_slice(&reply.body));
    }
    buf_release(&reply.body);
    buf_release(&path);
    return code;
}

static void send_put_body(struct buf *body, struct slice type, struct slice data_json, struct slice id)
{
    buf_put_byte(body, '{');
    json_put_text_member(body, "type", type);
    if (id.size) json_put_text_member(body, "id", id);
    if (data_json.size) {
        json_put_name(body, "data");
        buf_put_slice(body, data_json);
    }
    buf_put_byte(body, '}');
}

/* {"stream","type","data","id"?,"version"?} a line. */
static int send_line(const struct cli *cli, struct client *client, struct slice line)
{
    struct fault fault;
    struct fields fields = {0};
    struct buf body = {0}, data = {0};
    int code;
    if (fields_read(&fields, line, &fault) < 0) {
        code = cli_fail(&fault);
    } else {
        char version[64] = "";
        if (fields_has(&fields, "version"))
            snprintf(version, sizeof version, "If-Match: \"%lld\"",
                     (long long)fields_int(&fields, "version"));
        fields_json(&fields, "data", &data);
        send_put_body(&body, fields_text(&fields, "type"), buf_slice(&data), fields_text(&fields, "id"));
        code = send_one(cli, client, fields_text(&fields, "stream"), buf_slice(&body),
                        (const char *const[]){*version ? version : NULL, NULL});
    }
    buf_release(&data);
    buf_release(&body);
    fields_release(&fields);
    return code;
}

static int send_lines(const struct cli *cli, struct client *client)
{
    char *line = NULL;
    size_t size_max = 0;
    ssize_t size;
    unsigned long long number = 0;
    int code = CLI_OK;
    while ((size = getline(&line, &size_max, stdin)) > 0) {
        number++;
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
        if (size == 0) continue;
        int one = send_line(cli, client, slice_make(line, (size_t)size));
        if (one == CLI_OK) continue;
        fprintf(stderr, "lore: line %llu was not accepted\n", number);
        code = one;
        if (one == CLI_ENVIRONMENT) break;
    }
    free(line);
    return code;
}

static int send_run_one(const struct cli *cli, struct client *client)
{
    struct slice data = cli->rest_count > 2 ? slice_of(cli->rest[2]) : SLICE_NONE;
    struct fault fault;
    struct buf checked = {0};
    if (data.size && json_to_mp(data, &checked, &fault) < 0) {
        buf_release(&checked);
        return cli_fail(&fault);
    }
    char headers[4][512];
    const char *list[5] = {NULL};
    int count = 0;
    static const char *const names[][2] = {{"version", "If-Match: \"%s\""},
                                           {"id", "Idempotency-Key: %s"},
                                           {"correlation", "Correlation-Id: %s"},
                                           {"causation", "Causation-Id: %s"}};
    for (int at = 0; at < 4; at++) {
        const char *value = cli_value(cli, names[at][0]);
        if (!value) continue;
        const char *mark = strchr(names[at][1], '%');
        snprintf(headers[count], sizeof headers[count], "%.*s%s%s", (int)(mark - names[at][1]), names[at][1],
                 value, mark + 2);
        list[count] = headers[count];
        count++;
    }
    struct buf body = {0};
    send_put_body(&body, slice_of(cli->rest[1]), data, SLICE_NONE);
    int code = send_one(cli, client, slice_of(cli->rest[0]), buf_slice(&body), list);
    buf_release(&body);
    buf_release(&checked);
    return code;
}

static int send_run(struct cli *cli)
{
    bool lines = strcmp(cli->rest[0], "-") == 0;
    if (!lines && cli->rest_count < 2) return cli_usage(cli, "a command's type is missing");
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_SEND, &client, &fault) < 0) return cli_fail(&fault);
    int code = lines ? send_lines(cli, client) : send_run_one(cli, client);
    client_close(client);
    return code;
}

static const struct cli_option send_options[] = {
    {"id", "ID", "the command's id: sent again it takes no second effect"},
    {"version", "N", "only if the stream is at this version (0: new)"},
    {"correlation", "ID", "what it belongs to"},
    {"causation", "ID", "what caused it"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_send = {
    .name = "send",
    .summary = "send a command, or NDJSON lines of commands",
    .arguments = "STREAM TYPE [JSON] | -",
    .help = "Prints the events that followed. With - it reads lines "
            "{\"stream\",\"type\",\"data\",\"id\"?,\"version\"?} from stdin.\n\n"
            "  lore send billing/bill/7 CreateBill "
            "'{\"customer\":\"acme\",\"start_date\":\"2026-01-01T00:00:00Z\"}'",
    .options = send_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 3,
    .run = send_run,
};

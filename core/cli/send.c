/* send.c: lore send: one command, or NDJSON lines of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cli/bulk.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { SEND_READ_SIZE = 256 * 1024 };

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

/* "billing/bill/7", or a service, "mailing/mail". */
static int send_path(const struct cli *cli, struct slice stream, struct buf *path, struct fault *fault)
{
    struct slice context, aggregate, id;
    const char *slash = memchr(stream.data, '/', stream.size);
    size_t before = slash ? (size_t)(slash - stream.data) : 0;
    struct slice service = slice_make(stream.data + before + 1, slash ? stream.size - before - 1 : 0);
    if (text_is_name(slice_make(stream.data, before)) && text_is_name(service)) {
        buf_format(path, "/v1/%s/%.*s%c", cli->tenant, SLICE_ARGS(stream), 0);
        return 0;
    }
    if (text_split_stream(stream, &context, &aggregate, &id, fault) < 0) return -1;
    buf_format(path, "/v1/%s/%.*s/%.*s/", cli->tenant, SLICE_ARGS(context), SLICE_ARGS(aggregate));
    client_put_encoded(path, id);
    buf_put_byte(path, 0);
    return 0;
}

/* One command to one stream or service: POST and print. */
static int send_one(const struct cli *cli, struct client *client, struct slice stream, struct slice body,
                    const char *const *headers)
{
    struct fault fault;
    struct buf path = {0};
    struct reply reply = {0};
    if (send_path(cli, stream, &path, &fault) < 0) return cli_fail(&fault);
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

/* --- lines --- */

struct send_lines {
    const struct cli *cli;
    struct bulk *bulk;
    uint64_t number;
    int code;
};

static void send_result(void *user, uint64_t number, struct slice line, struct slice result)
{
    struct send_lines *lines = user;
    struct fields fields = {0};
    struct fault fault;
    bool is_problem = fields_read(&fields, result, NULL) < 0 || fields_has(&fields, "code");
    if (!is_problem) {
        send_print(lines->cli, result);
    } else {
        client_problem((long)fields_int(&fields, "status"), result, &fault);
        lines->code = cli_fail(&fault);
        fprintf(stderr, "lore: line %llu was not accepted\n", (unsigned long long)number);
        if (lines->cli->json) printf("%.*s\n", SLICE_ARGS(result));
    }
    fflush(stdout); /* who sends one at a time waits for it */
    fields_release(&fields);
}

/* Gives it an id if it has none, so that it can be sent again. What is no object the hub will tell. */
static int send_line(struct send_lines *lines, struct slice line, struct fault *fault)
{
    struct fields fields = {0};
    struct buf text = {0};
    struct slice stream = SLICE_NONE;
    char id[RAND_UUID_SIZE + 1];
    const char *brace = memchr(line.data, '{', line.size);
    if (fields_read(&fields, line, NULL) == 0 && brace) {
        stream = fields_text(&fields, "stream");
        if (!fields_has(&fields, "id") && stream.size) {
            rand_uuid(clock_now_ms(NULL), id);
            buf_format(&text, "{\"id\":\"%s\",", id);
            buf_put(&text, brace + 1, line.size - (size_t)(brace + 1 - line.data));
            line = buf_slice(&text);
        }
    }
    int done = bulk_put(lines->bulk, lines->number, stream, line, fault);
    buf_release(&text);
    fields_release(&fields);
    return done;
}

/* The whole lines of input; at_end: all of it. What is left over begins input. */
static int send_input(struct send_lines *lines, struct buf *input, bool at_end, struct fault *fault)
{
    size_t at = 0;
    int done = 0;
    while (at < input->size && done == 0) {
        char *newline = memchr(input->data + at, '\n', input->size - at);
        if (!newline && !at_end) break;
        size_t size = newline ? (size_t)(newline - input->data) - at : input->size - at;
        struct slice line = slice_make(input->data + at, size);
        at += size + (newline != NULL);
        lines->number++;
        while (line.size && line.data[line.size - 1] == '\r') line.size--;
        if (line.size) done = send_line(lines, line, fault);
    }
    input->size -= at;
    memmove(input->data, input->data + at, input->size);
    return done;
}

static int send_lines(const struct cli *cli, struct client *client)
{
    struct send_lines lines = {.cli = cli};
    struct bulk_options options = {
        .client = client, .tenant = cli->tenant, .result = send_result, .user = &lines};
    struct buf input = {0};
    struct fault fault;
    int done = 0;
    lines.bulk = bulk_open(&options);
    /* An environment that failed will fail the rest too. */
    while (done == 0 && lines.code != CLI_ENVIRONMENT &&
           (done = bulk_wait(lines.bulk, STDIN_FILENO, &fault)) == 0) {
        ssize_t got = read(STDIN_FILENO, buf_room(&input, SEND_READ_SIZE), SEND_READ_SIZE);
        if (got < 0) done = fault_errno(&fault, errno, "the input cannot be read");
        if (got >= 0) {
            input.size += (size_t)got;
            done = send_input(&lines, &input, got == 0, &fault);
        }
        if (got <= 0) break;
    }
    if (done == 0) done = bulk_finish(lines.bulk, &fault);
    bulk_close(lines.bulk);
    buf_release(&input);
    return done < 0 ? cli_fail(&fault) : lines.code;
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
            "{\"stream\",\"type\",\"data\",\"id\"?,\"version\"?} from stdin\n"
            "and sends many at a time; those of one stream keep their order. What the hub cannot take now is "
            "sent again. A service has no id: mailing/mail.\n\n"
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

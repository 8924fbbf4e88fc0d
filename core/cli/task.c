/* task.c: lore task: which tasks there are, and one of them now. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"

static void task_print(const struct fields *line)
{
    struct fields last;
    struct slice error = SLICE_NONE;
    printf("%-32.*s %-12.*s %-8.*s %-24.*s", SLICE_ARGS(fields_text(line, "name")),
           SLICE_ARGS(fields_text(line, "tenant")), SLICE_ARGS(fields_text(line, "state")),
           SLICE_ARGS(fields_text(line, "next")));
    if (fields_object(line, "last", &last)) {
        printf(" %.*s %.*s in %lld ms", SLICE_ARGS(fields_text(&last, "due")),
               SLICE_ARGS(fields_text(&last, "outcome")), (long long)fields_int(&last, "duration_ms"));
        error = fields_text(&last, "error");
    }
    printf("\n");
    if (fields_has(line, "waits_for")) printf("    %.*s\n", SLICE_ARGS(fields_text(line, "waits_for")));
    if (error.size) printf("    %.*s\n", SLICE_ARGS(error));
}

static bool task_line(void *user, struct slice text)
{
    const struct cli *cli = user;
    struct fields line = {0};
    if (fields_read(&line, text, NULL) == 0 && slice_is(fields_text(&line, "kind"), "task")) {
        if (cli->json)
            printf("%.*s\n", SLICE_ARGS(text));
        else
            task_print(&line);
    }
    fields_release(&line);
    return ferror(stdout) == 0;
}

static int task_list(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_STATUS, &client, &fault) < 0) return cli_fail(&fault);
    int code = CLI_OK;
    if (!cli->json) printf("%-32s %-12s %-8s %-24s last\n", "task", "tenant", "state", "next");
    if (client_lines(client, "/v1/status", "application/x-ndjson", task_line, cli, &fault) < 0)
        code = cli_fail(&fault);
    client_close(client);
    return code;
}

/* The commit's last event, $TaskRan, says what came of it. */
static int task_outcome(const struct cli *cli, struct slice body)
{
    struct fields answer = {0}, event, ran;
    const uint8_t *at = NULL;
    long long events = 0;
    int code = CLI_OK;
    if (cli->json) printf("%.*s\n", SLICE_ARGS(body));
    if (fields_read(&answer, body, NULL) == 0)
        for (; fields_next(&answer, "events", &at, &event); events++) {
            if (!slice_is(fields_text(&event, "type"), "$TaskRan") || !fields_object(&event, "data", &ran))
                continue;
            struct slice error = fields_text(&ran, "error");
            if (error.size) code = CLI_FAILED;
            if (error.size)
                fprintf(stderr, "lore: %s failed: %.*s\n", cli->rest[1], SLICE_ARGS(error));
            else if (!cli->json)
                printf("%s: done in %lld ms, %lld event%s published\n", cli->rest[1],
                       (long long)fields_int(&ran, "duration_ms"), events, events == 1 ? "" : "s");
        }
    fields_release(&answer);
    return code;
}

static int task_run_now(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    struct buf path = {0};
    struct reply reply = {0};
    if (client_open(cli, CLIENT_VIEWS, &client, &fault) < 0) return cli_fail(&fault);
    buf_format(&path, "/v1/status/run/%s?tenant=", cli->rest[1]);
    client_put_encoded(&path, slice_of(cli->tenant));
    buf_put_byte(&path, 0);
    int code = CLI_OK;
    if (client_post(client, path.data, SLICE_NONE, NULL, &reply, &fault) < 0)
        code = cli_fail(&fault);
    else
        code = task_outcome(cli, buf_slice(&reply.body));
    buf_release(&reply.body);
    buf_release(&path);
    client_close(client);
    return code;
}

static int task_run(struct cli *cli)
{
    if (strcmp(cli->rest[0], "list") == 0 && cli->rest_count == 1) return task_list(cli);
    if (strcmp(cli->rest[0], "run") == 0 && cli->rest_count == 2) return task_run_now(cli);
    return cli_usage(cli, "expected list, or run and a task's name");
}

const struct cli_command cli_task = {
    .name = "task",
    .summary = "list tasks, or run one now",
    .arguments = "list | run TASK",
    .help = "list shows each task with its next moment and what came of its last run. run does it now, "
            "beside its moments, for one\n"
            "tenant, and records it like any other; it fails if the task does, or runs already.\n\n"
            "  lore task list\n"
            "  lore task run billing/invoice_expiration",
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 2,
    .run = task_run,
};

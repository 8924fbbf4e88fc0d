/* retry.c: lore retry: what a receptor or the courier could not send is tried now. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"

static int retry_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_LOG, &client, &fault) < 0) return cli_fail(&fault);
    struct buf path = {0};
    struct reply reply = {0};
    buf_format(&path, "/v1/status/retry/%s", cli->rest[0]);
    buf_put_byte(&path, 0);
    int code = CLI_OK;
    if (client_is_own(client)) {
        fault_set(&fault, FAULT_UNAVAILABLE, "no hub is running on %s: only a running one sends", cli->data);
        code = cli_fail(&fault);
    } else if (client_post(client, path.data, SLICE_NONE, NULL, &reply, &fault) < 0) {
        code = cli_fail(&fault);
    } else if (cli->json) {
        printf("%.*s\n", SLICE_ARGS(buf_slice(&reply.body)));
    } else {
        fprintf(stderr, "lore: %s tries again; lore status shows what is left\n", cli->rest[0]);
    }
    buf_release(&reply.body);
    buf_release(&path);
    client_close(client);
    return code;
}

const struct cli_command cli_retry = {
    .name = "retry",
    .summary = "try again what a receptor could not send",
    .arguments = "RECEPTOR",
    .help =
        "Tries the parked keys of a receptor now, each from the event that failed, in order. `courier` tries "
        "messages that were sent for later, or by a service or task, and that nobody could take.\n\n"
        "  lore retry billing/replication\n"
        "  lore retry courier",
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = retry_run,
};

/* rebuild.c: lore rebuild: a new generation of a view by hand. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"

static int rebuild_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_VIEWS, &client, &fault) < 0) return cli_fail(&fault);
    struct buf path = {0};
    struct reply reply = {0};
    buf_format(&path, "/v1/status/rebuild/%s", cli->rest[0]);
    buf_put_byte(&path, 0);
    int code = CLI_OK;
    if (client_post(client, path.data, SLICE_NONE, NULL, &reply, &fault) < 0)
        code = cli_fail(&fault);
    else if (cli->json)
        printf("%.*s\n", SLICE_ARGS(buf_slice(&reply.body)));
    else if (client_is_own(client))
        fprintf(stderr, "lore: rebuilding %s\n", cli->rest[0]);
    else
        fprintf(stderr, "lore: rebuilding %s; lore status --watch shows how far it is\n", cli->rest[0]);
    buf_release(&reply.body);
    buf_release(&path);
    client_close(client); /* our own hub finishes the rebuild first */
    return code;
}

const struct cli_command cli_rebuild = {
    .name = "rebuild",
    .summary = "build a view again from the log",
    .arguments = "PROJECTION",
    .help = "Builds a new generation beside the one that answers, then swaps them. Parked keys are tried "
            "again.\n\n"
            "  lore rebuild billing/outstanding_invoices",
    .takes_scripts = true,
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = rebuild_run,
};

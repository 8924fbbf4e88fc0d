/* map.c: lore map: the context map with the flows of events and commands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/book.h"
#include "cli/client.h"
#include "cli/flows.h"

static bool map_is_format(const char *name)
{
    static const char *const formats[] = {"svg", "dot", "mermaid", "json"};
    for (size_t at = 0; at < sizeof formats / sizeof *formats; at++)
        if (strcmp(name, formats[at]) == 0) return true;
    return false;
}

/* A hub tells how often, not what its scripts are: without the folder there is no need to ask it. */
static int map_find_scripts(const struct cli *cli, struct fault *fault)
{
    if (access(cli->scripts, F_OK) == 0 || errno != ENOENT) return 0; /* the rest is told by who reads it */
    return fault_set(fault, FAULT_NOT_FOUND,
                     "%s: no such folder: the map is drawn of scripts, a hub only tells how often: name the "
                     "folder of its scripts with --scripts DIR",
                     cli->scripts);
}

/* Counts are asked for by naming a hub. */
static int map_put_counts(const struct cli *cli, struct buf *options, struct fault *fault)
{
    struct client *client;
    if (map_find_scripts(cli, fault) < 0) return -1;
    if (!cli->to && cli_find_data(cli, fault) < 0) return -1;
    if (client_open(cli, CLIENT_LOG, &client, fault) < 0) return -1;
    buf_put_text(options, ",\"counts\":");
    int done = flows_count(client, cli->tenant, options, fault);
    client_close(client);
    return done;
}

static int map_run(struct cli *cli)
{
    const char *format = cli->json ? "json" : cli_value(cli, "format") ? cli_value(cli, "format") : "svg";
    struct buf options = {0};
    struct fault fault;
    if (!map_is_format(format))
        return cli_usage(cli, "--format is svg, dot, mermaid or json, not '%s'", format);
    buf_format(&options, "\"format\":\"%s\",\"overview\":%s", format,
               cli_flag(cli, "overview") ? "true" : "false");
    int code = CLI_OK;
    if ((cli->to || cli->data_given) && map_put_counts(cli, &options, &fault) < 0) code = cli_fail(&fault);
    struct book_order order = {.program = "map",
                               .with_specs = !cli_flag(cli, "no-specs"),
                               .options = buf_slice(&options),
                               .write = book_print,
                               .draw = book_draw};
    if (code == CLI_OK) code = book_run(cli, &order);
    buf_release(&options);
    return code;
}

static const struct cli_option map_options[] = {
    {"format", "FORMAT", "svg (default), dot, mermaid or json"},
    {"overview", NULL, "contexts only"},
    {"no-specs", NULL, "without the flows that only specs show; they are not run then"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_map = {
    .name = "map",
    .summary = "the context map: who publishes, who listens, who sends what to whom",
    .arguments = "[SCRIPTS]",
    .help =
        "Prints the contexts, what is in them and the flows between: events to those who listen, "
        "commands to those who "
        "decide.\n"
        "Who listens is declared. What a handler sends or publishes is read in its source: the messages "
        "it, and what it "
        "calls in\n"
        "its file and in modules, makes; and in what the specs of it show. The JSON says of each flow "
        "how it was "
        "found. With\n"
        "--to URL or --data DIR each flow has the number of events or commands in the log, and flows that "
        "only the log "
        "shows are\n"
        "added. SVG needs Graphviz (apt install graphviz).\n\n"
        "  lore map > map.svg\n  lore map --format mermaid --overview\n  lore map --to "
        "http://127.0.0.1:7070 > map.svg",
    .options = map_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = map_run,
};

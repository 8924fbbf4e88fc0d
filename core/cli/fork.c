/* fork.c: lore fork: a data directory to try something on. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/say.h"
#include "cli/cli.h"
#include "run/fork.h"

static int fork_run(struct cli *cli)
{
    struct fault fault;
    struct fork_made made;
    const char *at = cli_value(cli, "at");
    say_set_level(SAY_WARN);
    int64_t began_ns = clock_monotonic_ns();
    if (cli_find_data(cli, &fault) < 0 ||
        fork_make(cli->data, cli->rest[0], at ? slice_of(at) : SLICE_NONE, &made, &fault) < 0)
        return cli_fail(&fault);
    double seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    if (cli->json)
        printf("{\"position\":%" PRIu64 ",\"log\":\"%s\",\"from\":\"%s\",\"views\":%" PRIu64
               ",\"seconds\":%.3f}\n",
               made.position, made.log_id, made.from_log_id, made.views, seconds);
    else
        printf("%s holds the log up to position %" PRIu64 " and %" PRIu64
               " views; lore serve --data %s does not send by itself unless --live\n",
               cli->rest[0], made.position, made.views, cli->rest[0]);
    return CLI_OK;
}

static const struct cli_option fork_options[] = {
    {"at", "MOMENT", "a position, a time, or deploy:N (default now)"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_fork = {
    .name = "fork",
    .summary = "a scratch copy of the data to try something on",
    .arguments = "DIR",
    .help = "Makes a data directory of its own out of this one, as it is now or as it was at a moment, also "
            "beside a running hub, in\n"
            "seconds. The log gets a new id; views that are not beyond the moment are copied and need no "
            "rebuild. Served, a fork decides\n"
            "commands and builds views, but receptors, timers and tasks rest, so nobody gets a mail by "
            "surprise: lore serve --live lets\n"
            "them run.\n\n"
            "  lore fork scratch --at deploy:41\n  lore serve scripts --data scratch --listen 127.0.0.1:7071",
    .options = fork_options,
    .takes_data = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = fork_run,
};

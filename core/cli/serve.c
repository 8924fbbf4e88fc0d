/* serve.c: lore serve: a hub until it is told to stop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "cli/cli.h"
#include "cli/host.h"
#include "run/fork.h"

/* "127.0.0.1:7070", "[::1]:7070", "localhost:0". */
static int serve_split(const char *listen, char host[256], int *port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || colon == listen || (size_t)(colon - listen) >= 256) return -1;
    size_t size = (size_t)(colon - listen);
    if (listen[0] == '[' && colon[-1] == ']') {
        listen++;
        size -= 2;
    }
    memcpy(host, listen, size);
    host[size] = 0;
    char *end;
    long value = strtol(colon + 1, &end, 10);
    if (!colon[1] || *end || value < 0 || value > 65535) return -1;
    *port = (int)value;
    return 0;
}

static int serve_run(struct cli *cli)
{
    struct fault fault;
    char name[256];
    const char *listen = cli_value(cli, "listen");
    int64_t shards = 0, projectors = 0;
    struct buf errors = {0};
    struct host_options options = {.hub = {.scripts = cli->scripts,
                                           .data = cli->data,
                                           .schedule = true,
                                           .as_of = cli_value(cli, "as-of"),
                                           .secrets = cli_value(cli, "secrets"),
                                           .errors = &errors},
                                   .host = name,
                                   .access_log = cli_flag(cli, "access-log"),
                                   .signals = true,
                                   .watch = cli_flag(cli, "watch")};
    if (serve_split(listen ? listen : "127.0.0.1:7070", name, &options.port) < 0)
        return cli_usage(cli, "--listen expects HOST:PORT, not '%s'", listen);
    if (cli_number(cli, "shards", 1, &shards) < 0 || cli_number(cli, "projectors", 1, &projectors) < 0)
        return CLI_USAGE;
    if (options.watch && options.hub.as_of)
        return cli_usage(cli, "--as-of shows the past, where nothing is deployed: --watch excludes it");
    options.hub.shards = (int)shards;
    options.hub.projectors = (int)projectors;
    if (fork_is(cli->data) && !cli_flag(cli, "live")) {
        options.hub.schedule = false;
        say_info("%s is a fork: receptors, timers and tasks rest (--live lets them run)", cli->data);
    }
    struct host *host;
    if (host_open(&options, &host, &fault) < 0) {
        cli_tell_errors(&errors, options.hub.scripts, &fault);
        buf_release(&errors);
        if (options.hub.as_of && fault.code == FAULT_MALFORMED)
            return cli_usage(cli, "--as-of: %s", fault.text);
        return cli_fail(&fault);
    }
    if (options.hub.as_of) say_info("this hub shows the past, as of %s; it is only read", options.hub.as_of);
    say_info("listening on http://%s%s%s:%d, data in %s", strchr(name, ':') ? "[" : "", name,
             strchr(name, ':') ? "]" : "", host_port(host), cli->data);
    host_run(host);
    host_close(host);
    buf_release(&errors);
    say_info("stopped");
    return CLI_OK;
}

static const struct cli_option serve_options[] = {
    {"listen", "HOST:PORT", "loopback only (default 127.0.0.1:7070; port 0: any free one)"},
    {"shards", "N", "threads that decide commands (default: one a core)"},
    {"projectors", "N", "threads that build views (default: one a core)"},
    {"secrets", "FILE", "NAME=VALUE lines, readable by nobody else: env.NAME of services and tasks"},
    {"as-of", "T", "a read-only hub of the past: a time (of recording), a position or deploy:N"},
    {"live", NULL, "of a fork: receptors, timers and tasks run, too"},
    {"watch", NULL, "deploy the scripts folder whenever it was saved and its specs pass"},
    {"access-log", NULL, "say a line for each request"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_serve = {
    .name = "serve",
    .summary = "run a hub",
    .arguments = "[SCRIPTS]",
    .help =
        "Serves HTTP under /v1 until SIGINT or SIGTERM; then it answers what it took, flushes, and ends with "
        "0.\n"
        "Views whose code changed since the last start are built again beside the ones that answer; lore\n"
        "status shows how far they are. Tasks run at their moments.\n\n"
        "SIGHUP deploys the scripts folder again, --watch does so whenever it was saved: with the quick "
        "gate,\n"
        "without a replay. What does not load or is refused is told, and what runs goes on running.\n\n"
        "Secrets of services and tasks, env.NAME, come from --secrets FILE or from the environment as\n"
        "LORE_SECRET_NAME. A fork (lore fork) sends nothing by itself unless --live.\n\n"
        "  lore serve scripts --data data --listen 127.0.0.1:7070\n\n"
        "With --as-of nothing of the data directory is written, and another hub may have it. The log ends "
        "at\n"
        "the moment: events, states and traces are as they were then, and every view is built up to there, "
        "in\n"
        "a folder under TMPDIR that goes away at the end (503 until it is; about 0.2 to 1 million events a\n"
        "second). Commands get 503; nothing is sent, no task runs. Scripts are those of the folder. There is "
        "no\n"
        "socket in the data directory: other subcommands need --to URL.\n\n"
        "  lore serve scripts --data data --listen 127.0.0.1:7071 --as-of 2026-02-01T08:26:00Z",
    .options = serve_options,
    .takes_scripts = true,
    .takes_data = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = serve_run,
};

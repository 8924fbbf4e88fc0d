/* digest.c: lore digest: one number for all views and states. */
#include <inttypes.h>
#include <stdio.h>

#include "base/say.h"
#include "cli/cli.h"
#include "codec/json.h"
#include "run/digest.h"

enum { DIGEST_SETTLE_MS = 24 * 60 * 60 * 1000 }; /* a rebuild may take long; progress is said meanwhile */

struct digest_print {
    bool json;
    struct hash all;
};

static void digest_print_line(const struct digest_print *print, const struct digest *digest, const char *hex)
{
    const char *counted = digest->is_view ? "documents" : "streams",
               *failed = digest->is_view ? "stopped" : "failed";
    if (!print->json) {
        printf("%s  %s %.*s: %" PRIu64 " %s", hex, digest->is_view ? "view" : "aggregate",
               SLICE_ARGS(digest->name), digest->count, counted);
        if (digest->parked) printf(", %" PRIu64 " parked", digest->parked);
        if (digest->failed) printf(", %" PRIu64 " %s", digest->failed, failed);
        putchar('\n');
        return;
    }
    struct buf line = {0};
    buf_format(&line, "{\"kind\":\"%s\"", digest->is_view ? "view" : "aggregate");
    json_put_text_member(&line, "name", digest->name);
    json_put_int_member(&line, "position", (int64_t)digest->position);
    json_put_int_member(&line, counted, (int64_t)digest->count);
    if (digest->is_view) json_put_int_member(&line, "parked", (int64_t)digest->parked);
    json_put_int_member(&line, failed, (int64_t)digest->failed);
    json_put_text_member(&line, "digest", slice_of(hex));
    printf("%.*s}\n", SLICE_ARGS(buf_slice(&line)));
    buf_release(&line);
}

static void digest_each(void *user, const struct digest *digest)
{
    struct digest_print *print = user;
    char hex[2 * HASH_SIZE + 1];
    struct hash name = hash_of(digest->name);
    print->all = hash_chain(&print->all, &name, &digest->hash);
    hash_hex(&digest->hash, hex);
    digest_print_line(print, digest, hex);
}

static int digest_all(struct cli *cli, struct hub *hub)
{
    struct fault fault;
    struct digest_print print = {.json = cli->json};
    char hex[2 * HASH_SIZE + 1];
    hub_settle(hub, DIGEST_SETTLE_MS);
    uint64_t position = engine_head(hub_engine(hub)).position;
    if (digest_hub(hub, cli_flag(cli, "from-events"), digest_each, &print, &fault) < 0)
        return cli_fail(&fault);
    hash_hex(&print.all, hex);
    printf(cli->json ? "{\"kind\":\"all\",\"position\":%" PRIu64 ",\"digest\":\"%s\"}\n"
                     : "position %" PRIu64 "\n%s  all\n",
           position, hex);
    return CLI_OK;
}

static int digest_run(struct cli *cli)
{
    struct fault fault;
    struct hub *hub;
    struct buf errors = {0};
    int64_t projectors = 0;
    if (cli_number(cli, "projectors", 1, &projectors) < 0) return CLI_USAGE;
    if (cli_find_data(cli, &fault) < 0) return cli_fail(&fault);
    struct hub_options options = {.scripts = cli->scripts,
                                  .data = cli->data,
                                  .shards = 1,
                                  .projectors = (int)projectors,
                                  .errors = &errors};
    if (hub_open(&options, &hub, &fault) < 0) {
        cli_tell_errors(&errors, cli->scripts, &fault);
        buf_release(&errors);
        return cli_fail(&fault);
    }
    buf_release(&errors);
    int code = digest_all(cli, hub);
    hub_close(hub);
    return code;
}

static const struct cli_option digest_options[] = {
    {"from-events", NULL, "states from their first event, whatever snapshots say"},
    {"projectors", "N", "threads that bring the views up (default: one per core)"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_digest = {
    .name = "digest",
    .summary = "one number for all views and states, to compare two hubs",
    .arguments = "",
    .help =
        "Brings all views up to the head of the log, then prints a digest (BLAKE2b-256) of each view: its\n"
        "documents, parked keys and checkpoint in order of the key; one of each aggregate: the states of "
        "its\n"
        "streams; and one of all of them. The same log and scripts give the same digests, whatever machine,\n"
        "threads, caches, rebuilds and restarts there were. No hub may be running on the directory.\n\n"
        "  lore digest --data ./data\n"
        "  lore digest --data ./copy --json",
    .options = digest_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_json = true,
    .run = digest_run,
};

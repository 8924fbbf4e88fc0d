/* verify.c: lore verify: is the data directory what was written? */
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "codec/json.h"
#include "run/deploys.h"
#include "store/verify.h"

static void verify_progress(void *user, uint64_t events, uint64_t events_max)
{
    progress_show(user, events, events_max, -1);
}

static void verify_print(const struct cli *cli, const struct verify_report *report)
{
    if (cli->json) {
        struct buf line = {0};
        buf_format(&line,
                   "{\"ok\":%s,\"commits\":%" PRIu64 ",\"events\":%" PRIu64 ",\"head_position\":%" PRIu64
                   ",\"outcomes\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"views\":%" PRIu64
                   ",\"documents\":%" PRIu64 ",\"deploys\":%" PRIu64,
                   report->ok ? "true" : "false", report->commits, report->events, report->head_position,
                   report->outcomes, report->streams, report->views, report->documents, report->more);
        if (!report->ok) {
            json_put_int_member(&line, "bad_position", (int64_t)report->bad_position);
            json_put_text_member(&line, "damage", slice_of(report->damage));
        }
        printf("%.*s}\n", SLICE_ARGS(buf_slice(&line)));
        buf_release(&line);
        return;
    }
    printf("%" PRIu64 " commits, %" PRIu64 " events, %" PRIu64 " commands without events, %" PRIu64
           " streams\n"
           "%" PRIu64 " views, %" PRIu64 " documents\n%" PRIu64 " deploys\nhead at position %" PRIu64 "\n",
           report->commits, report->events, report->outcomes, report->streams, report->views,
           report->documents, report->more, report->head_position);
    if (report->ok)
        puts("all is as it was written");
    else if (report->bad_position)
        printf("DAMAGED at position %" PRIu64 ":\n%s\n", report->bad_position, report->damage);
    else
        printf("DAMAGED:\n%s\n", report->damage);
}

static uint64_t verify_deploys(const char *path, void (*find)(void *user, const char *sentence), void *user)
{
    struct fault fault;
    struct engine *engine;
    uint64_t checked = 0;
    struct engine_options options = {.path = path, .read_only = true};
    if (engine_open_lmdb(&options, &engine, &fault) < 0) {
        /* Never written to; what is wrong with it otherwise was found before. */
        if (fault.code != FAULT_NOT_FOUND) find(user, fault.text);
        return 0;
    }
    if (deploys_verify(engine, find, user, &checked, &fault) < 0) find(user, fault.text);
    engine_close(engine);
    return checked;
}

static int verify_run(struct cli *cli)
{
    struct fault fault;
    struct verify_report report;
    if (cli_find_data(cli, &fault) < 0) return cli_fail(&fault);
    struct progress progress = progress_start("verifying", "events");
    struct verify_more deploys = {"deploys", verify_deploys};
    int done = verify_directory(cli->data, verify_progress, &progress, &report, &fault);
    progress_end(&progress);
    if (done == 0) done = verify_also(cli->data, &deploys, &report, &fault);
    if (done < 0) return cli_fail(&fault);
    verify_print(cli, &report);
    return report.ok ? CLI_OK : CLI_FAILED;
}

const struct cli_command cli_verify = {
    .name = "verify",
    .summary = "walk the whole log: checksums, hash chain, positions, indexes, views, deploys",
    .arguments = "",
    .help = "Reads every page, record, index entry, document and deploy of a data directory, also beside a "
            "running hub, and names\n"
            "the first position that is wrong. Exit code 1 if anything is. Damage in index/, views/, "
            "snapshots/, timers/ or shapes is mended by\n"
            "deleting it while no hub runs: it is built again from the log.",
    .takes_data = true,
    .takes_json = true,
    .run = verify_run,
};

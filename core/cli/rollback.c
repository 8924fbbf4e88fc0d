/* rollback.c: lore rollback: the log back to a moment, offline or of the hub that runs; lore rollback
 * --replay: what was cut, sent again (replay.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "cli/replay.h"
#include "codec/json.h"
#include "run/rollback.h"

/* --- what would go, for people --- */

/* "  billing.BillClosed 3" for each member. */
static void print_tally(const struct fields *report, const char *name)
{
    struct buf json = {0};
    fields_json(report, name, &json);
    /* {"a.B":3,"c.D":4}: names of messages need no escapes. */
    for (char *at = json.size ? memchr(json.data, '"', json.size) : NULL; at;) {
        char *end = json.data + json.size, *stop = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (!stop) break;
        printf("  %.*s %lld\n", (int)(stop - at - 1), at + 1, strtoll(stop + 2, NULL, 10));
        at = memchr(stop + 1, '"', (size_t)(end - stop - 1));
    }
    buf_release(&json);
}

static bool is_nothing(const struct fields *report)
{
    return fields_int(report, "events") == 0 && fields_int(report, "outcomes") == 0;
}

static void print_report(const struct cli *cli, const struct fields *report, const char *words)
{
    if (cli->json) return;
    struct buf deploys = {0};
    if (is_nothing(report)) {
        printf("the log ends at position %lld: nothing lies behind that moment\n",
               (long long)fields_int(report, "head"));
        return;
    }
    printf("%s everything behind position %lld: %lld events, %lld commands, %lld of them refused\n", words,
           (long long)fields_int(report, "position"), (long long)fields_int(report, "events"),
           (long long)fields_int(report, "commands"), (long long)fields_int(report, "refused"));
    printf("from %.*s to %.*s\n", SLICE_ARGS(fields_text(report, "first")),
           SLICE_ARGS(fields_text(report, "last")));
    puts("events:");
    print_tally(report, "event_types");
    if (fields_int(report, "refused")) puts("refused commands:");
    print_tally(report, "refused_types");
    puts("written under deploy:");
    print_tally(report, "deploys");
    buf_release(&deploys);
}

/* 1: yes; 0: no; -1: nobody to ask. */
static int ask(const struct cli *cli)
{
    char answer[16];
    if (cli_flag(cli, "yes")) return 1;
    if (!isatty(STDIN_FILENO)) return -1;
    fprintf(stderr, "cut the log there? [y/N] ");
    if (!fgets(answer, sizeof answer, stdin)) return 0;
    return answer[0] == 'y' || answer[0] == 'Y';
}

static void print_done(const struct cli *cli, struct slice json, const char *data)
{
    struct fields report = {0};
    if (cli->json) {
        printf("%.*s\n", SLICE_ARGS(json));
    } else if (fields_read(&report, json, NULL) == 0 && !is_nothing(&report)) {
        struct slice archive = fields_text(&report, "archive");
        printf("the log ends at position %lld, epoch %lld\n", (long long)fields_int(&report, "position"),
               (long long)fields_int(&report, "epoch"));
        printf(
            "what was cut is in %s%s%.*s: lore events --archive FILE shows it, lore rollback --replay FILE "
            "sends its commands again\n",
            data ? data : "", data ? "/" : "", SLICE_ARGS(archive));
    }
    fields_release(&report);
}

/* Shows, asks; CLI_OK and *goes_on, or the exit code. */
static int confirm(const struct cli *cli, struct slice json, bool *goes_on, struct fault *fault)
{
    struct fields report = {0};
    *goes_on = false;
    if (fields_read(&report, json, fault) < 0) return cli_fail(fault);
    int code = CLI_OK;
    print_report(cli, &report, "this cuts");
    if (is_nothing(&report)) {
        if (cli->json) printf("%.*s\n", SLICE_ARGS(json));
    } else {
        fflush(stdout);
        int answer = cli_flag(cli, "plan") ? 0 : ask(cli);
        *goes_on = answer > 0;
        if (cli_flag(cli, "plan") && cli->json) printf("%.*s\n", SLICE_ARGS(json));
        if (answer < 0) code = cli_usage(cli, "nobody can be asked: --yes says that it shall be done");
        if (answer == 0 && !cli_flag(cli, "plan")) code = CLI_FAILED;
    }
    fields_release(&report);
    return code;
}

/* --- nobody has the directory --- */

static int run_directory(const struct cli *cli, const char *to)
{
    struct fault fault;
    struct engine *engine;
    struct cut cut;
    struct buf json = {0};
    struct engine_options options = {.path = cli->data};
    bool goes_on = false;
    if (cli_find_data(cli, &fault) < 0 || engine_open_lmdb(&options, &engine, &fault) < 0)
        return cli_fail(&fault);
    int done = rollback_find(engine, slice_of(to), &cut, &fault);
    if (done == 0) done = rollback_report(engine, &cut, &json, &fault);
    int code = done < 0 ? cli_fail(&fault) : confirm(cli, buf_slice(&json), &goes_on, &fault);
    if (goes_on) done = rollback_run(engine, &cut, &fault);
    engine_close(engine);
    /* The open completes it, so that what follows from it need not wait for the next hub. */
    say_set_level(SAY_WARN);
    if (goes_on && done == 0 && (done = engine_open_lmdb(&options, &engine, &fault)) == 0)
        engine_close(engine);
    if (goes_on && done < 0) code = cli_fail(&fault);
    if (goes_on && done == 0) print_done(cli, buf_slice(&json), cli->data);
    buf_release(&json);
    return code;
}

/* --- a hub that runs --- */

static int run_hub(const struct cli *cli, const char *to)
{
    struct fault fault;
    struct client *client;
    struct reply reply = {0};
    struct buf body = {0};
    bool goes_on = false;
    if (client_open(cli, CLIENT_LOG, &client, &fault) < 0) return cli_fail(&fault);
    buf_put_byte(&body, '{');
    json_put_text_member(&body, "to", slice_of(to));
    size_t size = body.size;
    buf_put_text(&body, ",\"plan\":true}");
    int done = client_post(client, "/v1/rollback", buf_slice(&body), NULL, &reply, &fault);
    int code = done < 0 ? cli_fail(&fault) : confirm(cli, buf_slice(&reply.body), &goes_on, &fault);
    if (goes_on) {
        body.size = size;
        buf_put_byte(&body, '}');
        done = client_post(client, "/v1/rollback", buf_slice(&body), NULL, &reply, &fault);
        if (done < 0)
            code = cli_fail(&fault);
        else
            print_done(cli, buf_slice(&reply.body), cli->to ? NULL : cli->data);
    }
    buf_release(&reply.body);
    buf_release(&body);
    client_close(client);
    return code;
}

static int rollback_run_command(struct cli *cli)
{
    const char *to = cli_value(cli, "to"), *replay = cli_value(cli, "replay");
    cli->to = cli_value(cli, "hub");
    if (!to == !replay) return cli_usage(cli, "expected --to MOMENT or --replay FILE");
    if (replay) return replay_run(cli, replay);
    return cli->to || client_finds_hub(cli) ? run_hub(cli, to) : run_directory(cli, to);
}

static const struct cli_option rollback_options[] = {
    {"to", "MOMENT", "a position, a time, or deploy:N: what was there then stays"},
    {"yes", NULL, "do not ask"},
    {"plan", NULL, "show what would go and stop"},
    {"replay", "FILE", "send the commands of an archive again"},
    {"hub", "URL", "a running hub, instead of the one that has the data directory"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_rollback = {
    .name = "rollback",
    .summary = "the log back to before the glitch, and what was cut sent again",
    .arguments = "--to MOMENT | --replay FILE",
    .help =
        "Cuts the log behind a position (the event there stays), behind what was recorded up to a time, or "
        "to "
        "where it was when\n"
        "deploy N was made. A commit is never divided: it goes if one of its events lies behind. What is cut "
        "is kept in data/archive/;\n"
        "ids of events that come have a new epoch, indexes, views and timers follow, receptors begin where "
        "they must.\n"
        "A running hub answers what it took, cuts, and goes on under the same sockets; meanwhile it answers "
        "503, and subscribers\n"
        "that had seen what was cut get 410 with the new epoch. Killed at any moment, the log is as before "
        "or "
        "as after.\n\n"
        "--replay sends the commands and facts of an archive through the scripts of now, with their ids, "
        "their times and in their\n"
        "order, and reports what differs from what became of them then. What receptors, timers and tasks had "
        "sent is not sent:\n"
        "they do it again by themselves. Sent twice it takes no second effect.\n\n"
        "  lore rollback --to deploy:41\n  lore rollback --to 2026-02-01T08:26:00Z --yes\n"
        "  lore rollback --replay data/archive/018f….lore",
    .options = rollback_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_json = true,
    .run = rollback_run_command,
};

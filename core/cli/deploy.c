/* deploy.c: lore deploy and lore undeploy: the folder goes to a hub, and what that would change comes back.
 *
 * The folder is read once, in the beginning: what is checked here, what the specs saw and what is sent are
 * the same bytes. The order may take minutes, so a thread waits for its answer while this one shows how far
 * the hub is. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/specs.h"
#include "codec/json.h"
#include "codec/text.h"
#include "codec/time.h"
#include "run/catalog.h"
#include "vm/domain.h"
#include "vm/excerpt.h"
#include "vm/sources.h"

enum { DEPLOY_LOOK_MS = 100 };

/* --- the order --- */

struct post { /* on its way in a thread of its own */
    struct client *client;
    const char *path;
    struct slice body;
    struct reply reply;
    struct fault fault;
    int result;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
};

static void *post_run(void *user)
{
    struct post *post = user;
    char name[ACTOR_SIZE_MAX], header[ACTOR_SIZE_MAX + 16];
    struct slice actor = actor_name(name);
    snprintf(header, sizeof header, "Actor: %.*s", SLICE_ARGS(actor));
    const char *const headers[] = {actor.size ? header : NULL, NULL};
    post->result = client_post(post->client, post->path, post->body, headers, &post->reply, &post->fault);
    pthread_mutex_lock(&post->lock);
    post->done = true;
    pthread_cond_signal(&post->answered);
    pthread_mutex_unlock(&post->lock);
    return NULL;
}

static bool show_line(void *user, struct slice line)
{
    static const char *const units[][2] = {{"building", "events"}, {"replaying", "streams"}};
    struct progress *progress = user;
    struct fields fields = {0};
    if (fields_read(&fields, line, NULL) == 0 && slice_is(fields_text(&fields, "kind"), "deploy")) {
        static char state[32];
        snprintf(state, sizeof state, "%.*s", SLICE_ARGS(fields_text(&fields, "state")));
        progress->what = state;
        progress->units = "steps";
        for (size_t at = 0; at < sizeof units / sizeof *units; at++)
            if (strcmp(state, units[at][0]) == 0) progress->units = units[at][1];
        progress_show(progress, (uint64_t)fields_int(&fields, "done"), (uint64_t)fields_int(&fields, "of"),
                      -1);
    }
    fields_release(&fields);
    return true;
}

/* Shows how far the hub is until the order is answered. What it cannot be told is not shown. */
static void watch_progress(struct post *post)
{
    struct client *beside = client_beside(post->client);
    struct progress progress = progress_start("deploying", "steps");
    struct fault ignored;
    pthread_mutex_lock(&post->lock);
    while (!post->done) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += DEPLOY_LOOK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&post->answered, &post->lock, &until) == 0 || post->done) continue;
        pthread_mutex_unlock(&post->lock);
        client_lines(beside, "/v1/status", "application/x-ndjson", show_line, &progress, &ignored);
        pthread_mutex_lock(&post->lock);
    }
    pthread_mutex_unlock(&post->lock);
    progress_end(&progress);
    client_close(beside);
}

/* post->result, post->reply and post->fault are the answer. */
static void post_send(struct post *post)
{
    pthread_mutex_init(&post->lock, NULL);
    pthread_cond_init(&post->answered, NULL);
    pthread_t thread = thread_start(post_run, post, "deploy");
    watch_progress(post);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&post->answered);
    pthread_mutex_destroy(&post->lock);
}

/* --- the answer --- */

static void print_page(const struct fields *report)
{
    struct buf out = {0};
    struct page page = page_of_stdout(&out);
    report_put(&page, report);
    fwrite(out.data, 1, out.size, stdout);
    buf_release(&out);
}

/* A refusal carries the report as a member. */
static int tell_report(const struct cli *cli, const struct post *post)
{
    struct fields answer = {0}, report;
    struct fault fault;
    struct buf json = {0};
    int code = CLI_OK;
    if (fields_read(&answer, buf_slice(&post->reply.body), &fault) < 0) {
        code = cli_fail(post->result < 0 ? &post->fault : &fault);
    } else if (post->result < 0 && !fields_object(&answer, "report", &report)) {
        code = cli_fail(&post->fault);
    } else {
        if (post->result == 0) report = answer;
        if (post->result == 0)
            buf_put_slice(&json, buf_slice(&post->reply.body));
        else
            fields_json(&answer, "report", &json);
        if (cli->json)
            printf("%.*s\n", SLICE_ARGS(buf_slice(&json)));
        else
            print_page(&report);
        code = post->result < 0 || report_is_refused(&report) ? CLI_FAILED : CLI_OK;
    }
    buf_release(&json);
    fields_release(&answer);
    return code;
}

static int deploy_send(const struct cli *cli, struct slice body)
{
    struct fault fault;
    struct post post = {.path = "/v1/deploys", .body = body};
    if (client_open(cli, CLIENT_DEPLOY, &post.client, &fault) < 0) return cli_fail(&fault);
    post_send(&post);
    bool told = post.result == 0 || post.fault.code == FAULT_REFUSED || post.fault.code == FAULT_SCRIPTS;
    int code = told ? tell_report(cli, &post) : cli_fail(&post.fault);
    fflush(stdout);
    buf_release(&post.reply.body);
    client_close(post.client);
    return code;
}

/* --- the folder --- */

struct folder {
    struct sources *sources;
    struct specs specs;
};

/* The errors as the gate would report them. */
static void print_errors(const struct cli *cli, struct slice errors, const struct sources *sources)
{
    struct buf json = {0};
    if (!cli->json) return;
    buf_format(&json,
               "{\"plan\":%s,\"loads\":{\"ok\":false,\"errors\":", cli_flag(cli, "plan") ? "true" : "false");
    excerpt_put_json(errors, sources, &json);
    printf("%.*s}}\n", SLICE_ARGS(buf_slice(&json)));
    buf_release(&json);
}

static int check_loads(const struct cli *cli, const struct sources *sources, struct fault *fault)
{
    struct domain *domain;
    struct buf errors = {0};
    struct domain_options options = {.sources = sources};
    int done = domain_open(&options, &domain, &errors, fault);
    if (done == 0) {
        struct catalog catalog = {0};
        done = catalog_init(&catalog, domain, fault);
        catalog_release(&catalog);
        if (done < 0) print_errors(cli, slice_of(fault->text), sources); /* an option of hub.lua */
        domain_close(domain);
    } else {
        print_errors(cli, buf_slice(&errors), sources);
        cli_tell_errors(&errors, sources_dir(sources), fault);
    }
    buf_release(&errors);
    return done;
}

static int check_texts(const struct sources *sources, struct fault *fault)
{
    if (sources_count(sources) == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%s holds no scripts", sources_dir(sources));
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        if (!text_is_utf8(source->text) || !text_is_utf8(source->path))
            return fault_set(fault, FAULT_MALFORMED,
                             "%s/%.*s: is not UTF-8, so JSON cannot carry it: write such bytes as \\xNN",
                             sources_dir(sources), SLICE_ARGS(source->path));
    }
    return 0;
}

/* The specs have read the folder by themselves: they count only if it is still what was read before. */
static int check_specs(struct folder *folder, struct fault *fault)
{
    struct sources *again;
    if (specs_run(sources_dir(folder->sources), SLICE_NONE, &folder->specs, fault) < 0) return -1;
    if (folder->specs.failed) fprintf(stderr, "%.*s", SLICE_ARGS(buf_slice(&folder->specs.output)));
    if (!folder->specs.ran) return 0;
    if (sources_read(sources_dir(folder->sources), &again, fault) < 0) return -1;
    struct hash before = sources_digest(folder->sources), after = sources_digest(again);
    sources_free(again);
    if (hash_equal(&before, &after)) return 0;
    return fault_set(fault, FAULT_CONFLICT, "%s changed while its specs ran: deploy it again",
                     sources_dir(folder->sources));
}

static int folder_read(const struct cli *cli, struct folder *folder, struct fault *fault)
{
    if (sources_read(cli->scripts, &folder->sources, fault) < 0) return -1;
    if (check_texts(folder->sources, fault) < 0 || check_loads(cli, folder->sources, fault) < 0) return -1;
    return cli_flag(cli, "no-specs") ? 0 : check_specs(folder, fault);
}

static void folder_release(struct folder *folder)
{
    sources_free(folder->sources);
    specs_release(&folder->specs);
}

/* --- the options --- */

struct replay {
    char since[TIME_TEXT_SIZE + 1]; /* empty: all */
    int64_t budget_ms, samples;     /* 0: none said */
};

/* "10s", "500ms", "2m", "1h" */
static bool read_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    long long value = strtoll(text, &end, 10);
    for (size_t at = 0; end != text && at < sizeof units / sizeof *units; at++) {
        if (strcmp(end, units[at].unit) != 0 || value < 1 || value > INT64_MAX / units[at].ms) continue;
        *ms = value * units[at].ms;
        return true;
    }
    return false;
}

static int read_since(const struct cli *cli, struct replay *replay)
{
    int64_t days = 0, ms;
    const char *since = cli_value(cli, "since");
    if (cli_number(cli, "days", 1, &days) < 0) return -1;
    if (days && since) return cli_usage(cli, "--days and --since exclude each other"), -1;
    if (since && !time_parse(slice_of(since), &ms))
        return cli_usage(cli, "--since expects a time like 2026-02-01 or 2026-02-01T08:26Z, not '%s'", since),
               -1;
    if (days) ms = days < 1000000 ? clock_now_ms(NULL) - days * 86400000 : INT64_MIN;
    if (days || since) time_format(time_valid(ms) ? ms : 0, replay->since);
    return 0;
}

/* -1 after a usage error. */
static int read_replay(const struct cli *cli, struct replay *replay)
{
    static const char *const of_replay[] = {"everything", "days", "since", "budget", "samples"};
    const char *budget = cli_value(cli, "budget");
    for (size_t at = 0; cli_flag(cli, "quick") && at < sizeof of_replay / sizeof *of_replay; at++)
        if (cli_flag(cli, of_replay[at]))
            return cli_usage(cli, "--quick leaves the replay out, so --%s says nothing", of_replay[at]), -1;
    if (cli_flag(cli, "plan") && cli_flag(cli, "force"))
        return cli_usage(cli, "--plan deploys nothing, so there is nothing to --force"), -1;
    if (budget && !read_duration(budget, &replay->budget_ms))
        return cli_usage(cli, "--budget expects a duration like 10s, 500ms, 2m or 1h, not '%s'", budget), -1;
    if (cli_number(cli, "samples", 1, &replay->samples) < 0) return -1;
    return read_since(cli, replay);
}

static void put_flag(struct buf *body, const struct cli *cli, const char *option, const char *member)
{
    if (!cli_flag(cli, option)) return;
    json_put_name(body, member);
    buf_put_text(body, "true");
}

static void put_scripts(struct buf *body, const struct sources *sources)
{
    json_put_name(body, "scripts");
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        buf_put_byte(body, at ? ',' : '{');
        json_put_text(body, source->path);
        buf_put_byte(body, ':');
        json_put_text(body, source->text);
    }
    buf_put_text(body, sources_count(sources) ? "}" : "{}");
}

static void put_note(struct buf *body, const struct cli *cli)
{
    const char *note = cli_value(cli, "note");
    if (note) json_put_text_member(body, "note", slice_of(note));
}

static void put_body(struct buf *body, const struct cli *cli, const struct folder *folder,
                     const struct replay *replay)
{
    char *path = realpath(cli->scripts, NULL);
    buf_put_byte(body, '{');
    put_scripts(body, folder->sources);
    put_note(body, cli);
    if (path) json_put_text_member(body, "folder", slice_of(path));
    if (folder->specs.ran) {
        json_put_name(body, "specs");
        specs_put_json(&folder->specs, body);
    }
    put_flag(body, cli, "plan", "plan");
    put_flag(body, cli, "force", "force");
    put_flag(body, cli, "everything", "everything");
    json_put_name(body, "replay");
    buf_put_text(body, cli_flag(cli, "quick") ? "false" : "true");
    if (*replay->since) json_put_text_member(body, "since", slice_of(replay->since));
    if (replay->budget_ms) json_put_int_member(body, "budget_ms", replay->budget_ms);
    if (replay->samples) json_put_int_member(body, "samples", replay->samples);
    buf_put_byte(body, '}');
    free(path);
}

static int deploy_run(struct cli *cli)
{
    struct fault fault;
    struct folder folder = {0};
    struct replay replay = {0};
    if (read_replay(cli, &replay) < 0) return CLI_USAGE;
    int code;
    if (folder_read(cli, &folder, &fault) < 0) {
        code = cli_fail(&fault);
    } else {
        struct buf body = {0};
        put_body(&body, cli, &folder, &replay);
        code = deploy_send(cli, buf_slice(&body));
        buf_release(&body);
    }
    folder_release(&folder);
    return code;
}

static const struct cli_option deploy_options[] = {
    {"plan", NULL, "only say what would change"},
    {"force", NULL, "deploy even if the gate refuses; that is recorded"},
    {"note", "TEXT", "what this deploy is for; recorded"},
    {"quick", NULL, "without the replay: only what is instant"},
    {"everything", NULL, "replay all aggregates, not only those that changed"},
    {"days", "N", "replay only streams with events of the last N days"},
    {"since", "TIME", "replay only streams with events since then"},
    {"budget", "DURATION", "end the replay after this, as 10s or 2m; the report says what it left out"},
    {"samples", "N", "examples of each kind of difference (default 5)"},
    {"no-specs", NULL, "do not run the specs beside the folder"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_deploy = {
    .name = "deploy",
    .summary = "bring scripts to a running hub, or say what they would change (--plan)",
    .arguments = "[SCRIPTS]",
    .help = "Loads the scripts, runs the specs beside them, and hands them to the hub, which holds them "
            "against what is\n"
            "stored: do the new contracts read the events of the log, which documents and states become "
            "others, which\n"
            "recorded commands would be decided otherwise, would the running version read what the new one "
            "writes. Then it\n"
            "switches between two commands. What refuses a deploy is set in scripts/hub.lua: deploy = { "
            "refuse = {…} }.\n"
            "Without a running hub the data directory is worked on. Exit code 1: refused, does not load, or "
            "specs fail;\n"
            "with --plan as well.\n\n"
            "  lore deploy --plan\n"
            "  lore deploy --note \"late fees\"\n"
            "  lore undeploy",
    .options = deploy_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = deploy_run,
};

/* --- back --- */

static int tell_undone(const struct cli *cli, const struct reply *reply)
{
    struct fields undone = {0};
    struct fault fault;
    if (cli->json) {
        printf("%.*s\n", SLICE_ARGS(buf_slice(&reply->body)));
        return CLI_OK;
    }
    int done = fields_read(&undone, buf_slice(&reply->body), &fault);
    if (done == 0)
        printf("deploy %lld runs again, deploy %lld is undone (%.1f s)\n",
               (long long)fields_int(&undone, "deploy"), (long long)fields_int(&undone, "undone"),
               fields_number(&undone, "seconds"));
    fields_release(&undone);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

static int undeploy_run(struct cli *cli)
{
    struct fault fault;
    struct buf body = {0};
    struct post post = {.path = "/v1/deploys/undo"};
    if (client_open(cli, CLIENT_DEPLOY, &post.client, &fault) < 0) return cli_fail(&fault);
    buf_put_byte(&body, '{');
    put_note(&body, cli);
    buf_put_byte(&body, '}');
    post.body = buf_slice(&body);
    post_send(&post);
    int code = post.result < 0 ? cli_fail(&post.fault) : tell_undone(cli, &post.reply);
    fflush(stdout);
    buf_release(&post.reply.body);
    buf_release(&body);
    client_close(post.client);
    return code;
}

static const struct cli_option undeploy_options[] = {
    {"note", "TEXT", "why; recorded"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_undeploy = {
    .name = "undeploy",
    .summary = "go back to the deploy before the running one",
    .arguments = "",
    .help = "Its views were kept and only catch up, so this takes seconds. What was written meanwhile stays: "
            "lore events\n"
            "--deploy N lists it. The scripts folder is not touched.\n\n"
            "  lore undeploy --note \"fees were doubled\"",
    .options = undeploy_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .run = undeploy_run,
};

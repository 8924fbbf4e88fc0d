/* bench.c: lore bench: what a hub makes on this machine, each figure beside what bounds it. Everything is
 * measured from outside: hubs are processes of their own, asked over HTTP. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cli/bench_domain.h"
#include "cli/bench_table.h"
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "cli/load.h"
#include "run/views.h"

enum { BENCH_BLOCK_SIZE = 4096, BENCH_POLL_NS = 2000000, BENCH_WORD_MAX = 16 };

struct bench {
    struct cli *cli;
    struct bench_table table;
    int64_t runs, seconds, connections, events;
    char folder[PATH_MAX / 2], scripts[PATH_MAX], data[PATH_MAX], rows_path[PATH_MAX], script[PATH_MAX];
    double appends; /* a second; 0: not measured yet */
    uint64_t rows, rare;
    bool imported;
    unsigned prefix;
    struct child hub;
    struct client *client;
    int port;
};

static void bench_interrupt(int signal_number)
{
    child_interrupt();
}

static double seconds_since(int64_t began_ns)
{
    return (double)(clock_monotonic_ns() - began_ns) / 1e9;
}

/* --- hubs --- */

static int hub_open_client(struct bench *bench, struct fault *fault)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", bench->port);
    struct cli to = *bench->cli;
    to.to = url;
    return client_open(&to, CLIENT_STATUS, &bench->client, fault);
}

static int bench_hub_start(struct bench *bench, const char *projectors, struct fault *fault)
{
    const char *const arguments[] = {
        "--scripts", bench->scripts, "--data", bench->data, projectors ? "--projectors" : NULL, projectors,
        NULL};
    if (child_serve(&bench->hub, arguments, &bench->port, fault) < 0) return -1;
    if (hub_open_client(bench, fault) == 0) return 0;
    child_stop(&bench->hub, SIGKILL, NULL);
    return -1;
}

/* SIGTERM, or SIGKILL to give up or to see how it starts again. */
static int bench_hub_stop(struct bench *bench, int signal_number, struct fault *fault)
{
    client_close(bench->client);
    bench->client = NULL;
    return child_stop(&bench->hub, signal_number, fault);
}

struct hub_state {
    const char *view; /* asked for */
    int64_t position, generation;
    bool behind; /* a view is not at the head or is being built */
};

static bool state_line(void *user, struct slice text)
{
    struct hub_state *state = user;
    struct fields line = {0};
    if (fields_read(&line, text, NULL) < 0) return true;
    struct slice kind = fields_text(&line, "kind");
    if (slice_is(kind, "hub")) state->position = fields_int(&line, "position");
    if (slice_is(kind, "projection")) {
        bool behind = fields_has(&line, "rebuilding") || fields_int(&line, "position") < state->position;
        state->behind = state->behind || behind;
        if (state->view && slice_is(fields_text(&line, "name"), state->view) && !behind)
            state->generation = fields_int(&line, "generation");
    }
    fields_release(&line);
    return true;
}

static int hub_state(struct bench *bench, struct hub_state *state, struct fault *fault)
{
    state->behind = false;
    state->generation = 0;
    return client_lines(bench->client, "/v1/status", "application/x-ndjson", state_line, state, fault);
}

static int hub_settled(struct bench *bench, struct hub_state *state, struct fault *fault)
{
    for (;;) {
        if (hub_state(bench, state, fault) < 0) return -1;
        if (!state->behind) return 0;
        nanosleep(&(struct timespec){.tv_nsec = BENCH_POLL_NS}, NULL);
    }
}

/* Memory that is the process's own: files in the page cache are not. */
static double resident_mb(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1) break;
    if (file) fclose(file);
    return (double)kib * 1024 / 1e6;
}

/* --- works --- */

static int append_once(const char *path, double *rate, struct fault *fault)
{
    char block[BENCH_BLOCK_SIZE];
    rand_bytes(block, sizeof block);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fault_errno(fault, errno, "%s", path);
    int64_t began_ns = clock_monotonic_ns();
    off_t count = 0;
    bool failed = false;
    do {
        failed = pwrite(fd, block, sizeof block, count * BENCH_BLOCK_SIZE) != BENCH_BLOCK_SIZE ||
                 fdatasync(fd) < 0;
        count++;
    } while (!failed && seconds_since(began_ns) < 1);
    *rate = (double)count / seconds_since(began_ns);
    int error = errno;
    close(fd);
    unlink(path);
    return failed ? fault_errno(fault, error, "%s", path) : 0;
}

static int bench_disk(struct bench *bench, struct fault *fault)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/block", bench->folder);
    struct bench_row row = {.work = "append 4 KiB and fdatasync", .unit = "/s"};
    for (; row.count < (size_t)bench->runs; row.count++)
        if (append_once(path, &row.values[row.count], fault) < 0) return -1;
    bench->appends = bench_table_add(&bench->table, &row);
    return 0;
}

static int load_once(struct bench *bench, int connections, double seconds, struct load_result *result,
                     struct fault *fault)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "r%u-", bench->prefix++);
    struct load load = {.port = bench->port,
                        .connections = connections,
                        .seconds = seconds,
                        .path = "/v1/main/" BENCH_CONTEXT "/" BENCH_AGGREGATE "/",
                        .prefix = prefix,
                        .body = BENCH_COMMAND};
    return load_run(&load, result, fault);
}

static int commands_row(struct bench *bench, int connections, struct fault *fault)
{
    struct bench_row row = {.unit = "/s"};
    snprintf(row.work, sizeof row.work, "durable commands, %d connection%s", connections,
             connections > 1 ? "s" : "");
    struct load_result result;
    double p99_ms[BENCH_RUNS_MAX];
    for (; row.count < (size_t)bench->runs; row.count++) {
        if (load_once(bench, connections, (double)bench->seconds, &result, fault) < 0) return -1;
        row.values[row.count] = (double)result.answered / result.seconds;
        p99_ms[row.count] = result.p99_ms;
    }
    row.p99_ms = bench_table_median(p99_ms, row.count);
    row.limit = bench->appends;
    row.limit_of = "bare appends";
    bench_table_add(&bench->table, &row);
    return 0;
}

static int bench_commands(struct bench *bench, struct fault *fault)
{
    if (bench->appends == 0 && bench_disk(bench, fault) < 0) return -1;
    if (bench_hub_start(bench, NULL, fault) < 0) return -1;
    struct load_result warm;
    int done = load_once(bench, (int)bench->connections, 1, &warm, fault);
    if (done == 0) done = commands_row(bench, 1, fault);
    if (done == 0 && bench->connections > 1) done = commands_row(bench, (int)bench->connections, fault);
    struct bench_row memory = {.work = "resident memory behind these, page cache aside",
                               .unit = "MB",
                               .values = {resident_mb(bench->hub.pid)},
                               .count = 1};
    if (done == 0) bench_table_add(&bench->table, &memory);
    if (bench_hub_stop(bench, done == 0 ? SIGTERM : SIGKILL, fault) < 0) done = -1;
    views_remove_folder(bench->data);
    return done;
}

static int import_once(struct bench *bench, double *rate, struct fault *fault)
{
    const char *const arguments[] = {"import",     bench->rows_path, "--with", bench->script,
                                     "--scripts",  bench->scripts,   "--data", bench->data,
                                     "--rejected", "/dev/null",      "--json", NULL};
    struct buf out = {0};
    views_remove_folder(bench->data);
    int64_t began_ns = clock_monotonic_ns();
    int done = child_run(arguments, 0, &out, fault);
    *rate = (double)bench->rows / seconds_since(began_ns);
    struct fields figures = {0};
    if (done == 0) done = fields_read(&figures, buf_slice(&out), fault);
    if (done == 0 && fields_int(&figures, "commands") != (int64_t)bench->rows)
        done = fault_set(fault, FAULT_INTERNAL, "the import took other than all %llu rows: %.*s",
                         (unsigned long long)bench->rows, SLICE_ARGS(buf_slice(&out)));
    fields_release(&figures);
    buf_release(&out);
    return done;
}

/* The directory that the works behind read; left with all views up. */
static int bench_import(struct bench *bench, struct fault *fault)
{
    struct bench_row row = {.work = "import through commands, start and stop included", .unit = "rows/s"};
    if (bench_domain_rows(bench->rows_path, (uint64_t)bench->events, &bench->rows, &bench->rare, fault) < 0)
        return -1;
    for (; row.count < (size_t)bench->runs; row.count++)
        if (import_once(bench, &row.values[row.count], fault) < 0) return -1;
    bench_table_add(&bench->table, &row);
    unlink(bench->rows_path);
    bench->imported = true;
    struct hub_state state = {0};
    if (bench_hub_start(bench, NULL, fault) < 0) return -1;
    int done = hub_settled(bench, &state, fault);
    return bench_hub_stop(bench, done == 0 ? SIGTERM : SIGKILL, fault) < 0 ? -1 : done;
}

static int need_import(struct bench *bench, struct fault *fault)
{
    return bench->imported ? 0 : bench_import(bench, fault);
}

static int rebuild_once(struct bench *bench, const char *view, double *rate, struct fault *fault)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/status/rebuild/%s", view);
    struct hub_state state = {.view = view};
    if (hub_settled(bench, &state, fault) < 0) return -1;
    int64_t before = state.generation, began_ns = clock_monotonic_ns();
    struct reply reply = {0};
    int done = client_post(bench->client, path, SLICE_NONE, NULL, &reply, fault);
    buf_release(&reply.body);
    while (done == 0 && (state.generation == 0 || state.generation == before)) {
        nanosleep(&(struct timespec){.tv_nsec = BENCH_POLL_NS}, NULL);
        done = hub_state(bench, &state, fault);
    }
    *rate = (double)state.position / seconds_since(began_ns);
    return done;
}

static int rebuild_rows(struct bench *bench, const char *cores, struct fault *fault)
{
    static const struct {
        const char *view, *what;
    } views[] = {{BENCH_FEW, "rebuild, few documents"},
                 {BENCH_MANY, "rebuild, a document every three events"}};
    for (size_t at = 0; at < sizeof views / sizeof *views; at++) {
        struct bench_row row = {.unit = "events/s"};
        snprintf(row.work, sizeof row.work, "%s, %s core%s", views[at].what, cores,
                 strcmp(cores, "1") == 0 ? "" : "s");
        for (; row.count < (size_t)bench->runs; row.count++)
            if (rebuild_once(bench, views[at].view, &row.values[row.count], fault) < 0) return -1;
        bench_table_add(&bench->table, &row);
    }
    return 0;
}

static int bench_rebuild(struct bench *bench, struct fault *fault)
{
    char all[16];
    snprintf(all, sizeof all, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    const char *const cores[] = {"1", all};
    if (need_import(bench, fault) < 0) return -1;
    for (int at = 0; at < (strcmp(all, "1") == 0 ? 1 : 2); at++) {
        if (bench_hub_start(bench, cores[at], fault) < 0) return -1;
        int done = rebuild_rows(bench, cores[at], fault);
        if (bench_hub_stop(bench, done == 0 ? SIGTERM : SIGKILL, fault) < 0 || done < 0) return -1;
    }
    return 0;
}

static bool scan_line(void *user, struct slice line)
{
    ++*(uint64_t *)user;
    return true;
}

static int bench_scan(struct bench *bench, struct fault *fault)
{
    struct bench_row row = {.work = "scan for one type of event, one in 3,000", .unit = "events/s"};
    struct hub_state state = {0};
    if (need_import(bench, fault) < 0 || bench_hub_start(bench, NULL, fault) < 0) return -1;
    int done = hub_settled(bench, &state, fault);
    for (; done == 0 && row.count < (size_t)bench->runs; row.count++) {
        uint64_t found = 0;
        int64_t began_ns = clock_monotonic_ns();
        done = client_lines(bench->client, "/v1/main/events?type=" BENCH_RARE, "application/x-ndjson",
                            scan_line, &found, fault);
        row.values[row.count] = (double)state.position / seconds_since(began_ns);
        if (done == 0 && found != bench->rare)
            done = fault_set(fault, FAULT_INTERNAL, "the scan found %llu events, not %llu",
                             (unsigned long long)found, (unsigned long long)bench->rare);
    }
    if (done == 0) bench_table_add(&bench->table, &row);
    return bench_hub_stop(bench, done == 0 ? SIGTERM : SIGKILL, fault) < 0 ? -1 : done;
}

static int start_once(struct bench *bench, int end, double *seconds, struct fault *fault)
{
    struct load_result load;
    int64_t began_ns = clock_monotonic_ns();
    struct reply reply = {0};
    if (bench_hub_start(bench, NULL, fault) < 0) return -1;
    int done;
    while ((done = client_get(bench->client, "/readyz", NULL, &reply, fault)) < 0 && child_runs(&bench->hub))
        nanosleep(&(struct timespec){.tv_nsec = BENCH_POLL_NS}, NULL);
    *seconds = seconds_since(began_ns);
    buf_release(&reply.body);
    if (done == 0 && end == SIGKILL) done = load_once(bench, (int)bench->connections, 1, &load, fault);
    return bench_hub_stop(bench, done == 0 ? end : SIGKILL, fault) < 0 ? -1 : done;
}

static int bench_start(struct bench *bench, struct fault *fault)
{
    struct bench_row clean = {.work = "start to ready after a clean stop",
                              .unit = "s",
                              .limit = 1,
                              .limit_of = "allowed",
                              .less = true};
    struct bench_row killed = clean;
    snprintf(killed.work, sizeof killed.work, "start to ready after kill -9 under load");
    double ignored;
    if (need_import(bench, fault) < 0) return -1;
    for (; clean.count < (size_t)bench->runs; clean.count++, killed.count++) {
        if (start_once(bench, SIGTERM, &clean.values[clean.count], fault) < 0 ||
            start_once(bench, SIGKILL, &ignored, fault) < 0 ||
            start_once(bench, SIGTERM, &killed.values[killed.count], fault) < 0)
            return -1;
    }
    bench_table_add(&bench->table, &clean);
    bench_table_add(&bench->table, &killed);
    return 0;
}

static double size_bytes; /* nftw passes nothing on */

static int size_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    if (kind == FTW_F) size_bytes += (double)status->st_blocks * 512;
    return 0;
}

static int bench_size(struct bench *bench, struct fault *fault)
{
    static const char *const folders[] = {"log", "index", "views"};
    struct hub_state state = {0};
    if (need_import(bench, fault) < 0 || bench_hub_start(bench, NULL, fault) < 0) return -1;
    int done = hub_state(bench, &state, fault);
    if (bench_hub_stop(bench, SIGTERM, fault) < 0 || done < 0) return -1;
    for (size_t at = 0; at < sizeof folders / sizeof *folders; at++) {
        char path[PATH_MAX + 8];
        struct bench_row row = {.unit = "bytes", .count = 1};
        snprintf(path, sizeof path, "%s/%s", bench->data, folders[at]);
        snprintf(row.work, sizeof row.work, "disk per event: %s", folders[at]);
        size_bytes = 0;
        nftw(path, size_one, 16, FTW_PHYS);
        row.values[0] = size_bytes / (double)state.position;
        bench_table_add(&bench->table, &row);
    }
    return 0;
}

/* --- the command --- */

static const struct bench_work {
    const char *name;
    int (*run)(struct bench *bench, struct fault *fault);
} bench_works[] = {{"disk", bench_disk},       {"commands", bench_commands}, {"import", bench_import},
                   {"rebuild", bench_rebuild}, {"scan", bench_scan},         {"size", bench_size},
                   {"start", bench_start}};

enum { BENCH_WORKS = sizeof bench_works / sizeof *bench_works };

static bool bench_wanted(const struct cli *cli, const char *name)
{
    for (int at = 0; at < cli->rest_count; at++)
        if (strcmp(cli->rest[at], name) == 0) return true;
    return cli->rest_count == 0;
}

static int bench_check_words(struct cli *cli)
{
    for (int word = 0; word < cli->rest_count; word++) {
        bool known = false;
        for (size_t at = 0; at < BENCH_WORKS; at++)
            known = known || strcmp(cli->rest[word], bench_works[at].name) == 0;
        if (!known)
            return cli_usage(cli, "there is no work '%s': disk, commands, import, rebuild, scan, size, start",
                             cli->rest[word]);
    }
    return CLI_OK;
}

static int bench_make_folder(struct bench *bench, const char *parent, struct fault *fault)
{
    snprintf(bench->folder, sizeof bench->folder, "%s/lore-bench-XXXXXX", parent);
    if (!mkdtemp(bench->folder)) return fault_errno(fault, errno, "a folder cannot be made in %s", parent);
    snprintf(bench->scripts, sizeof bench->scripts, "%s/scripts", bench->folder);
    snprintf(bench->data, sizeof bench->data, "%s/data", bench->folder);
    snprintf(bench->rows_path, sizeof bench->rows_path, "%s/rows.ndjson", bench->folder);
    snprintf(bench->script, sizeof bench->script, "%s/" BENCH_IMPORT, bench->folder);
    return bench_domain_write(bench->folder, fault);
}

static int bench_all(struct bench *bench, struct fault *fault)
{
    for (size_t at = 0; at < BENCH_WORKS; at++) {
        if (!bench_wanted(bench->cli, bench_works[at].name)) continue;
        int done = bench_works[at].run(bench, fault);
        if (child_is_interrupted()) return fault_set(fault, FAULT_UNAVAILABLE, "interrupted");
        if (done < 0) return -1;
    }
    return 0;
}

static int bench_run(struct cli *cli)
{
    struct bench *bench =
        &(struct bench){.cli = cli, .runs = 3, .seconds = 3, .connections = 64, .events = 500000};
    struct fault fault;
    const char *parent = cli_value(cli, "dir");
    if (cli_number(cli, "runs", 1, &bench->runs) < 0 || cli_number(cli, "seconds", 1, &bench->seconds) < 0 ||
        cli_number(cli, "connections", 1, &bench->connections) < 0 ||
        cli_number(cli, "events", 1, &bench->events) < 0 || bench_check_words(cli) != CLI_OK)
        return CLI_USAGE;
    if (bench->runs > BENCH_RUNS_MAX) return cli_usage(cli, "--runs: at most %d", BENCH_RUNS_MAX);
    signal(SIGINT, bench_interrupt);
    signal(SIGTERM, bench_interrupt);
    int done = bench_make_folder(bench, parent ? parent : ".", &fault);
    if (done == 0) done = bench_all(bench, &fault);
    views_remove_folder(bench->folder);
    bench_table_print(&bench->table, cli->json);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

static const struct cli_option bench_options[] = {
    {"dir", "DIR",
     "where to work: a folder on the disk to be measured (default: here); nothing is left there"},
    {"runs", "N", "how often each is measured; the median is shown (default 3)"},
    {"seconds", "N", "how long commands are sent (default 3)"},
    {"connections", "N", "that send commands at once (default 64)"},
    {"events", "N", "in the log that is imported, rebuilt, scanned (default 500000)"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_bench = {
    .name = "bench",
    .summary = "what a hub makes on this machine and disk",
    .arguments = "[WORK ...]",
    .help = "Measures disk, commands, import, rebuild, scan, size and start, or those named, with a domain "
            "of its own in a folder of\n"
            "its own: your data is not touched. Each figure is the median of several runs and stands beside "
            "what bounds it.\n"
            "Commands are answered when they are on disk; the client that sends them takes a share of the "
            "same processors.\n\n"
            "  lore bench commands --connections 256 --dir /srv/lore",
    .options = bench_options,
    .takes_json = true,
    .rest_max = BENCH_WORD_MAX,
    .run = bench_run,
};

/* The parent's side: one child for each part, so that a page that crashes or hangs its reader is a finding of
 * that part and the others are looked at all the same. */
#include "store/verify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/cut.h"
#include "store/verify_inside.h"

/* Parts that tell of every thousand records hang if they are silent that long; the others walk whole files in
 * one call. */
enum { RECORDS_TIMEOUT_MS = 30 * 1000, FILES_TIMEOUT_MS = 30 * 60 * 1000 };
_Static_assert(sizeof(struct verify_message) <= 4096, "a pipe writes up to 4096 bytes in one piece");

/* --- the child's words --- */

void verify_say(const struct verify_part *part, struct verify_message *message)
{
    /* A parent that is gone needs no answer. */
    if (write(part->pipe, message, sizeof *message) != sizeof *message) _exit(1);
}

void verify_progress(const struct verify_part *part, uint64_t position, uint64_t events_max)
{
    struct verify_message message = {.kind = VERIFY_PROGRESS, .position = position, .events_max = events_max};
    verify_say(part, &message);
}

void verify_find(const struct verify_part *part, uint64_t position, const char *format, ...)
{
    struct verify_message message = {.kind = VERIFY_FINDING, .position = position};
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, sizeof message.text, format, args);
    va_end(args);
    verify_say(part, &message);
}

bool verify_has_begun(const char *directory)
{
    char file[4200];
    struct stat status;
    snprintf(file, sizeof file, "%s/data.mdb", directory);
    return stat(file, &status) == 0 && status.st_size > 0;
}

/* --- the parent's ears --- */

struct listening {
    struct verify_report *report;
    void (*progress)(void *user, uint64_t events, uint64_t events_max);
    void *user;
    uint64_t progress_next; /* the position at which progress is called again */
    uint64_t position;      /* the last good one of this part */
    bool done;
};

static void add_finding(struct verify_report *report, uint64_t position, const char *text)
{
    size_t size = strlen(report->damage);
    snprintf(report->damage + size, sizeof report->damage - size, "%s%s", size ? "\n" : "", text);
    report->ok = false;
    if (position && (!report->bad_position || position < report->bad_position))
        report->bad_position = position;
}

static void add_counts(struct verify_report *report, const struct verify_report *counts)
{
    report->commits += counts->commits;
    report->events += counts->events;
    report->outcomes += counts->outcomes;
    report->streams += counts->streams;
    report->views += counts->views;
    report->documents += counts->documents;
    report->more += counts->more;
    if (counts->head_position) report->head_position = counts->head_position;
}

static void hear(struct listening *listening, const struct verify_message *message)
{
    switch (message->kind) {
    case VERIFY_PROGRESS:
        listening->position = message->position;
        if (listening->progress && message->position >= listening->progress_next) {
            listening->progress_next = message->position + 100000;
            listening->progress(listening->user, message->position, message->events_max);
        }
        break;
    case VERIFY_FINDING: add_finding(listening->report, message->position, message->text); break;
    case VERIFY_DONE:
        add_counts(listening->report, &message->counts);
        listening->done = true;
        break;
    }
}

/* Reads until the child closes its end or is silent for too long; true if it was. */
static bool listen_to(struct listening *listening, const struct verify_part *part, int from)
{
    for (;;) {
        struct pollfd ready = {.fd = from, .events = POLLIN};
        struct verify_message message;
        int count = poll(&ready, 1, part->timeout_ms);
        if (count < 0 && errno == EINTR) continue;
        if (count == 0) return true;
        ssize_t size = read(from, &message, sizeof message);
        if (size < 0 && errno == EINTR) continue;
        if (size != sizeof message) return false;
        hear(listening, &message);
    }
}

static void end_of_child(struct listening *listening, const struct verify_part *part, int status, bool hung)
{
    char text[256], where[64] = "";
    if (listening->done && !hung) return;
    if (listening->position)
        snprintf(where, sizeof where, " after position %llu", (unsigned long long)listening->position);
    if (hung)
        snprintf(text, sizeof text, "%s: reading it does not end%s", part->name, where);
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "%s: reading it crashes (signal %d)%s", part->name, WTERMSIG(status),
                 where);
    else
        snprintf(text, sizeof text, "%s: reading it stopped (exit code %d)%s", part->name,
                 WEXITSTATUS(status), where);
    add_finding(listening->report, listening->position ? listening->position + 1 : 0, text);
}

static int run_part(struct verify_part *part, struct listening *listening, struct fault *fault)
{
    int ends[2], status = 0;
    if (pipe(ends) < 0) return fault_errno(fault, errno, "verify");
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return fault_errno(fault, error, "verify");
    }
    if (child == 0) {
        /* Only the descriptor of the pipe is of use here; what the parent had in memory is not relied on. */
        static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGPIPE};
        for (size_t at = 0; at < sizeof deadly / sizeof *deadly; at++) signal(deadly[at], SIG_DFL);
        close(ends[0]);
        part->pipe = ends[1];
        part->run(part);
        _exit(0);
    }
    close(ends[1]);
    listening->done = false;
    listening->position = 0;
    bool hung = listen_to(listening, part, ends[0]);
    if (hung) kill(child, SIGKILL);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    end_of_child(listening, part, status, hung);
    return 0;
}

int verify_run_part(struct verify_part *part, struct verify_report *report, struct fault *fault)
{
    struct listening listening = {.report = report};
    return run_part(part, &listening, fault);
}

/* A cut that was killed is completed, or taken back, by an open for writing; before that head and index are
 * of another log than the one that is there. */
static int open_once(const char *path, struct fault *fault)
{
    struct engine *engine;
    struct engine_options options = {.path = path};
    if (!cut_is_pending(path)) return 0;
    if (engine_open_lmdb(&options, &engine, fault) < 0)
        return fault->code == FAULT_IN_USE ? 0 : -1; /* who has it does that */
    engine_close(engine);
    return 0;
}

int verify_directory(const char *path, void (*progress)(void *user, uint64_t events, uint64_t events_max),
                     void *user, struct verify_report *report, struct fault *fault)
{
    struct verify_part parts[] = {
        {.name = "log/data.mdb", .run = verify_log_pages, .timeout_ms = FILES_TIMEOUT_MS},
        {.name = "log", .run = verify_log, .timeout_ms = RECORDS_TIMEOUT_MS},
        {.name = "index/data.mdb", .run = verify_index_pages, .timeout_ms = FILES_TIMEOUT_MS},
        {.name = "index", .run = verify_index, .timeout_ms = RECORDS_TIMEOUT_MS},
        {.name = "views", .run = verify_views, .timeout_ms = FILES_TIMEOUT_MS},
        {.name = "snapshots", .run = verify_snapshots, .timeout_ms = FILES_TIMEOUT_MS},
        {.name = "timers", .run = verify_timers, .timeout_ms = FILES_TIMEOUT_MS},
        {.name = "shapes", .run = verify_shapes, .timeout_ms = RECORDS_TIMEOUT_MS},
    };
    char file[4096];
    *report = (struct verify_report){.ok = true};
    snprintf(file, sizeof file, "%s/log/data.mdb", path);
    if (access(file, R_OK) < 0) return fault_errno(fault, errno, "%s", file);
    /* A reader announces itself in LMDB's lock file, so that a running hub leaves its pages alone. */
    snprintf(file, sizeof file, "%s/log/lock.mdb", path);
    if (access(file, W_OK) < 0 && errno == EACCES)
        return fault_errno(fault, errno, "%s must be writable to read beside a hub: verify as the hub's user",
                           file);
    if (open_once(path, fault) < 0) return -1;
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) {
        struct listening listening = {.report = report, .progress = progress, .user = user};
        parts[at].path = path;
        if (run_part(&parts[at], &listening, fault) < 0) return -1;
    }
    return 0;
}

static void find_more(void *user, const char *sentence)
{
    verify_find(user, 0, "%s", sentence);
}

static void run_more(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    done.counts.more = part->more->run(part->path, find_more, (void *)(uintptr_t)part);
    verify_say(part, &done);
}

int verify_also(const char *path, const struct verify_more *more, struct verify_report *report,
                struct fault *fault)
{
    struct listening listening = {.report = report};
    struct verify_part part = {
        .name = more->name, .run = run_more, .timeout_ms = FILES_TIMEOUT_MS, .path = path, .more = more};
    return run_part(&part, &listening, fault);
}

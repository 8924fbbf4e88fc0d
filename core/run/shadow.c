#include "run/shadow.h"

#include <sched.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "run/shadow_inside.h"

enum { SHADOW_THREADS = 2, SHADOW_SAMPLES = 5, SHADOW_PART_STREAMS = 1 << 20, SHADOW_THREADS_MAX = 64 };

/* --- which aggregates --- */

static void shadow_add_reason(struct shadow *report, struct shadow_aggregate *aggregate,
                              struct slice *reasons, struct slice label, const char *what)
{
    if (slice_is(label, "lore")) label = slice_of("lore itself");
    reasons[aggregate->reason_count++] = arena_format(&report->arena, "%.*s %s", SLICE_ARGS(label), what);
}

/* Both lists are in order of the label. */
static void shadow_find_reasons(struct shadow *report, struct shadow_aggregate *aggregate,
                                const struct domain_aggregate *running, const struct domain_aggregate *next)
{
    size_t was = 0, is = 0, most = running->input_count + next->input_count + 1;
    struct slice *reasons = arena_zero(&report->arena, most * sizeof *reasons);
    while (was < running->input_count || is < next->input_count) {
        const struct domain_input *old = &running->inputs[was], *now = &next->inputs[is];
        int order = was == running->input_count ? 1
                    : is == next->input_count   ? -1
                                                : slice_compare(old->label, now->label);
        if (order < 0)
            shadow_add_reason(report, aggregate, reasons, old->label, "is gone");
        else if (order > 0)
            shadow_add_reason(report, aggregate, reasons, now->label, "is new");
        else if (!hash_equal(&old->hash, &now->hash))
            shadow_add_reason(report, aggregate, reasons, now->label, "changed");
        was += order <= 0;
        is += order >= 0;
    }
    aggregate->reasons = reasons;
}

/* One of the two is there. */
static void shadow_add_target(struct shadow_run *run, const struct domain_aggregate *running, int running_at,
                              const struct domain_aggregate *next, int next_at)
{
    enum shadow_change change = !running                                    ? SHADOW_ADDED
                                : !next                                     ? SHADOW_REMOVED
                                : hash_equal(&running->rules, &next->rules) ? SHADOW_SAME
                                                                            : SHADOW_CHANGED;
    if (change == SHADOW_SAME && !run->options.everything) return;
    const struct domain_aggregate *named = next ? next : running;
    struct shadow *report = run->report;
    struct shadow_aggregate *aggregate = &report->aggregates[report->count++];
    // cppcheck-suppress nullPointer
    aggregate->name = arena_copy(&report->arena, named->name);
    aggregate->change = change;
    if (change == SHADOW_CHANGED) shadow_find_reasons(report, aggregate, running, next);
    run->targets[run->target_count++] =
        (struct shadow_target){.name = aggregate->name,
                               .context = arena_copy(&report->arena, named->context),
                               .change = change,
                               .next = next_at,
                               .running = running_at};
}

/* Those of both codes, in order of name. */
static void shadow_find_targets(struct shadow_run *run, const struct domain *running,
                                const struct domain *next)
{
    int was = 0, was_count = running ? (int)domain_aggregate_count(running) : 0;
    int is = 0, is_count = (int)domain_aggregate_count(next);
    size_t most = (size_t)(was_count + is_count) + 1;
    run->targets = mem_zero(most * sizeof *run->targets);
    run->report->aggregates = arena_zero(&run->report->arena, most * sizeof *run->report->aggregates);
    while (was < was_count || is < is_count) {
        const struct domain_aggregate *old = was < was_count ? domain_aggregate(running, was) : NULL;
        const struct domain_aggregate *now = is < is_count ? domain_aggregate(next, is) : NULL;
        int order = !old ? 1 : !now ? -1 : slice_compare(old->name, now->name);
        if (order < 0)
            shadow_add_target(run, old, was, NULL, -1);
        else if (order > 0)
            shadow_add_target(run, NULL, -1, now, is);
        else
            shadow_add_target(run, old, was, now, is);
        was += order <= 0;
        is += order >= 0;
    }
}

/* --- threads --- */

bool shadow_is_over(struct shadow_run *run)
{
    const atomic_bool *stop = run->options.stop;
    if (atomic_load(&run->failed) || atomic_load(&run->cut)) return true;
    if (stop && atomic_load(stop)) return true;
    if (!run->deadline_ns || clock_monotonic_ns() < run->deadline_ns) return false;
    atomic_store(&run->cut, true);
    return true;
}

static int shadow_open(struct shadow_run *run, struct shadow_worker *worker, struct fault *fault)
{
    struct domain_options next = run->options.next, running = run->options.running;
    next.on_demand_later = running.on_demand_later = true;
    if (domain_open(&next, &worker->next.domain, NULL, fault) < 0) return -1;
    if (running.sources && domain_open(&running, &worker->running.domain, NULL, fault) < 0) return -1;
    worker->is_open = true;
    return 0;
}

static void shadow_work(struct shadow_worker *worker)
{
    struct shadow_run *run = worker->run;
    size_t at;
    if (!worker->is_open && shadow_open(run, worker, &worker->fault) < 0) {
        atomic_store(&run->failed, true);
        return;
    }
    while (!shadow_is_over(run) && (at = atomic_fetch_add(&run->part.taken, 1)) < run->part.count) {
        if (shadow_stream_look(worker, &run->part.items[at]) < 0) {
            atomic_store(&run->failed, true);
            return;
        }
        if (run->options.progress) atomic_fetch_add(&run->options.progress->streams, 1);
    }
}

static void *shadow_worker_run(void *user)
{
    struct shadow_worker *worker = user;
    if (worker->run->options.idle)
        pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    domain_thread_start();
    shadow_work(worker);
    domain_thread_stop();
    return NULL;
}

static void shadow_make_workers(struct shadow_run *run)
{
    size_t count = run->options.threads;
    run->worker_count = count < SHADOW_THREADS_MAX ? count : SHADOW_THREADS_MAX;
    run->workers = mem_zero(run->worker_count * sizeof *run->workers);
    for (size_t at = 0; at < run->worker_count; at++) {
        run->workers[at].run = run;
        run->workers[at].number = at;
    }
}

static void shadow_make_notes(struct shadow_run *run)
{
    for (size_t at = 0; at < run->worker_count; at++) {
        struct shadow_worker *worker = &run->workers[at];
        worker->notes = mem_zero((run->target_count + 1) * sizeof *worker->notes);
        for (size_t target = 0; target < run->target_count; target++)
            shadow_notes_init(&worker->notes[target], run->options.samples);
    }
}

static void shadow_free_worker(struct shadow_run *run, struct shadow_worker *worker)
{
    if (worker->next.domain) domain_close(worker->next.domain);
    if (worker->running.domain) domain_close(worker->running.domain);
    for (size_t target = 0; worker->notes && target < run->target_count; target++)
        shadow_notes_release(&worker->notes[target]);
    mem_free(worker->notes);
    buf_release(&worker->next.checkpoint);
    buf_release(&worker->running.checkpoint);
    buf_release(&worker->before);
    buf_release(&worker->after);
    buf_release(&worker->text);
    arena_release(&worker->arena);
}

/* --- passes --- */

/* The first position recorded at or after a time; times never go back. */
static int shadow_find_since(struct shadow_run *run, struct fault *fault)
{
    uint64_t low = 1, high = run->head.position + 1;
    while (run->options.since_ms && low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct engine_cursor *cursor;
        struct record record;
        if (engine_read(run->options.engine, middle, &cursor, fault) < 0) return -1;
        int found = engine_cursor_next(cursor, &record, fault);
        if (found == 1 && record.recorded_ms < run->options.since_ms)
            low = record.first_position + record.event_count;
        else
            high = middle;
        engine_cursor_close(cursor);
        if (found < 0) return -1;
    }
    run->position_since = low;
    return 0;
}

static int shadow_run_part(struct shadow_run *run, size_t number, struct fault *fault)
{
    if (shadow_part_fill(run, number, fault) < 0) return -1;
    for (size_t at = 0; at < run->worker_count; at++)
        run->workers[at].thread = thread_start(shadow_worker_run, &run->workers[at], "shadow/%zu", at);
    for (size_t at = 0; at < run->worker_count; at++) pthread_join(run->workers[at].thread, NULL);
    for (size_t at = atomic_load(&run->part.taken); at < run->part.count; at++)
        run->workers->notes[run->part.items[at].target].counts.left_out++;
    if (run->options.stop && atomic_load(run->options.stop))
        return fault_set(fault, FAULT_UNAVAILABLE, "stopped");
    if (!atomic_load(&run->failed)) return 0;
    const struct shadow_worker *worker = run->workers;
    while (!worker->fault.code) worker++;
    *fault = worker->fault;
    return -1;
}

static int shadow_run_parts(struct shadow_run *run, struct fault *fault)
{
    uint64_t streams = 0;
    for (size_t target = 0; target < run->target_count; target++)
        if (run->targets[target].next >= 0) streams += run->targets[target].streams;
    if (run->options.progress) atomic_store(&run->options.progress->streams_total, streams);
    /* A place takes a fifth of what a stream does. */
    run->parts = (size_t)((streams + run->head.outcomes / 4) / run->options.part_streams) + 1;
    for (size_t number = 0; number < run->parts && !atomic_load(&run->cut); number++)
        if (shadow_run_part(run, number, fault) < 0) return -1;
    return 0;
}

static void shadow_make_report(struct shadow_run *run)
{
    struct shadow *report = run->report;
    for (size_t target = 0; target < run->target_count; target++) {
        struct shadow_notes *notes = &run->workers->notes[target];
        for (size_t at = 1; at < run->worker_count; at++)
            shadow_notes_merge(notes, &run->workers[at].notes[target]);
        const struct shadow_target *looked = &run->targets[target];
        if (looked->next < 0) {
            notes->counts.streams = looked->streams;
            notes->counts.events = looked->events;
        } else if (looked->streams > looked->listed) {
            notes->counts.left_out += looked->streams - looked->listed;
        }
        shadow_notes_report(notes, &report->arena, &report->aggregates[target]);
        shadow_counts_add(&report->total, &notes->counts);
    }
    report->position = run->head.position;
    report->is_cut = atomic_load(&run->cut);
}

static int shadow_run_all(struct shadow_run *run, struct fault *fault)
{
    run->head = engine_head(run->options.engine);
    if (shadow_open(run, run->workers, fault) < 0) return -1;
    shadow_find_targets(run, run->workers->running.domain, run->workers->next.domain);
    shadow_make_notes(run);
    if (shadow_find_since(run, fault) < 0 || shadow_part_count(run, fault) < 0) return -1;
    if (run->target_count && shadow_run_parts(run, fault) < 0) return -1;
    shadow_make_report(run);
    return 0;
}

int shadow_run(const struct shadow_options *options, struct shadow **shadow, struct fault *fault)
{
    int64_t began_ns = clock_monotonic_ns();
    struct shadow_run run = {.options = *options, .report = MEM_NEW(struct shadow)};
    if (!run.options.threads) run.options.threads = SHADOW_THREADS;
    if (!run.options.samples) run.options.samples = SHADOW_SAMPLES;
    if (!run.options.part_streams) run.options.part_streams = SHADOW_PART_STREAMS;
    if (run.options.budget_ms) run.deadline_ns = began_ns + (int64_t)run.options.budget_ms * 1000000;
    shadow_make_workers(&run);
    int done = shadow_run_all(&run, fault);
    for (size_t at = 0; at < run.worker_count; at++) shadow_free_worker(&run, &run.workers[at]);
    mem_free(run.workers);
    mem_free(run.targets);
    mem_free(run.pairs);
    mem_free(run.numbers);
    shadow_part_release(&run.part);
    run.report->seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    if (done < 0)
        shadow_free(run.report);
    else
        *shadow = run.report;
    return done;
}

void shadow_free(struct shadow *shadow)
{
    arena_release(&shadow->arena);
    mem_free(shadow);
}

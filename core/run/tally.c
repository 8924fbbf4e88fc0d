#include "run/tally.h"

#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "base/thread.h"
#include "run/inside.h"
#include "store/shapes.h"

enum {
    TALLY_REST_MS = 500,      /* between two looks at the log */
    TALLY_SHARE = 20,         /* one part in so many of its time, while others write */
    TALLY_STEP = 2000,        /* events between two looks at whether it ends: a millisecond of work */
    TALLY_SAVE_EVENTS = 50000 /* the file may be so far behind what is counted: counted again in 50 ms */
};

struct tally {
    struct hub *hub;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_bool stopping;
    struct shapes *shapes;
    uint64_t saved; /* up to here the file has it */
    struct outage_part outage;
};

void tally_path(const struct hub *hub, char *path, unsigned long size)
{
    snprintf(path, size, "%s/shapes", hub->data);
}

static void tally_save(struct tally *tally)
{
    char path[4096];
    struct fault fault;
    tally_path(tally->hub, path, sizeof path);
    if (shapes_save(tally->shapes, path, &fault) < 0) {
        outage_met(&tally->hub->outage, &tally->outage, "the counts of shapes cannot be written", &fault);
        return;
    }
    outage_over(&tally->hub->outage, &tally->outage, "the counts of shapes");
    tally->saved = shapes_position(tally->shapes);
}

static void tally_rest(struct tally *tally, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += until.tv_nsec;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&tally->mutex);
    if (!atomic_load(&tally->stopping)) pthread_cond_timedwait(&tally->changed, &tally->mutex, &until);
    pthread_mutex_unlock(&tally->mutex);
}

/* Counts up to the head. A log that cannot be read is told by those who need it. */
static void tally_catch_up(struct tally *tally)
{
    uint64_t head = engine_head(tally->hub->engine).position;
    int more = 1;
    while (more == 1 && !atomic_load(&tally->stopping)) {
        int64_t began_ns = clock_monotonic_ns();
        more = shapes_follow(tally->shapes, tally->hub->engine, TALLY_STEP, NULL);
        uint64_t position = shapes_position(tally->shapes), now = engine_head(tally->hub->engine).position;
        if (position < tally->saved) tally->saved = 0; /* it began anew */
        if (position - tally->saved >= TALLY_SAVE_EVENTS) tally_save(tally);
        if (now != head) tally_rest(tally, (clock_monotonic_ns() - began_ns) * (TALLY_SHARE - 1));
        head = now;
    }
    if (more == 0 && shapes_position(tally->shapes) != tally->saved) tally_save(tally);
}

static void tally_load(struct tally *tally)
{
    char path[4096];
    tally_path(tally->hub, path, sizeof path);
    if (shapes_load(path, &tally->shapes, NULL) <= 0) tally->shapes = shapes_new();
    tally->saved = shapes_position(tally->shapes);
}

static void *tally_run(void *user)
{
    struct tally *tally = user;
    tally_load(tally);
    while (!atomic_load(&tally->stopping)) {
        tally_catch_up(tally);
        tally_rest(tally, TALLY_REST_MS * 1000000LL);
    }
    return NULL;
}

struct tally *tally_start(struct hub *hub)
{
    struct tally *tally = MEM_NEW(struct tally);
    pthread_condattr_t monotonic;
    tally->hub = hub;
    pthread_mutex_init(&tally->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&tally->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    tally->thread = thread_start(tally_run, tally, "tally");
    return tally;
}

void tally_stop(struct tally *tally)
{
    pthread_mutex_lock(&tally->mutex);
    atomic_store(&tally->stopping, true);
    pthread_cond_signal(&tally->changed);
    pthread_mutex_unlock(&tally->mutex);
    pthread_join(tally->thread, NULL);
}

void tally_free(struct tally *tally)
{
    if (!tally) return;
    shapes_free(tally->shapes);
    pthread_cond_destroy(&tally->changed);
    pthread_mutex_destroy(&tally->mutex);
    mem_free(tally);
}

/* How long the shadow of a changed set of scripts takes over a data directory.
 *
 *     shadow DATA RUNNING CHANGED [THREADS [SAMPLES [BUDGET_MS [PART_STREAMS]]]]     prints the report,
 * seconds to stderr */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "run/shadow.h"

static int fail(const struct fault *fault)
{
    fprintf(stderr, "%s\n", fault->text);
    return 1;
}

int main(int argc, char **argv)
{
    struct fault fault;
    struct engine *engine;
    struct sources *running = NULL, *next;
    struct shadow *shadow;
    struct shadow_progress progress = {0};
    if (argc < 4) return 2;
    const struct engine_options opening = {.path = argv[1]};
    if (engine_open_lmdb(&opening, &engine, &fault) < 0) return fail(&fault);
    if (argv[2][0] && sources_read(argv[2], &running, &fault) < 0) return fail(&fault);
    if (sources_read(argv[3], &next, &fault) < 0) return fail(&fault);
    const struct shadow_options options = {.engine = engine,
                                           .running = {.sources = running},
                                           .next = {.sources = next},
                                           .threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 0,
                                           .samples = argc > 5 ? strtoul(argv[5], NULL, 10) : 0,
                                           .budget_ms = argc > 6 ? strtoul(argv[6], NULL, 10) : 0,
                                           .part_streams = argc > 7 ? strtoul(argv[7], NULL, 10) : 0,
                                           .progress = &progress};
    if (shadow_run(&options, &shadow, &fault) < 0) return fail(&fault);
    struct buf json = {0};
    shadow_put_json(shadow, &json);
    printf("%.*s\n", SLICE_ARGS(buf_slice(&json)));
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double processor = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    fprintf(stderr, "%.2f s, %.2f s of processors: %llu streams, %llu events, %llu commands\n",
            shadow->seconds, processor, (unsigned long long)atomic_load(&progress.streams),
            (unsigned long long)atomic_load(&progress.events),
            (unsigned long long)atomic_load(&progress.commands));
    buf_release(&json);
    shadow_free(shadow);
    sources_free(next);
    if (running) sources_free(running);
    engine_close(engine);
    return 0;
}

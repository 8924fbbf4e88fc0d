/* A hub of the past: an ordinary hub over an engine that ends at a moment. Its views are built from nothing
 * in a folder of its own, as those of a hub in memory are, so nothing in it has to know of the moment. */
#include "run/inside.h"

int hub_refuse_past(const struct hub *hub, struct fault *fault)
{
    return fault_set(fault, FAULT_UNAVAILABLE, "this hub shows the past, as of %.64s, and is only read",
                     hub->as_of);
}

static int as_of_cut(struct engine *now, const struct moment *moment, struct engine **past,
                     struct fault *fault)
{
    uint64_t position;
    if (moment_position(now, moment, &position, fault) < 0) return -1;
    int64_t recorded_ms = moment->kind == MOMENT_TIME ? moment->ms : INT64_MIN;
    return engine_open_past(now, true, position, recorded_ms, past, fault);
}

int hub_open_as_of(const struct hub_options *options, struct hub **hub, struct fault *fault)
{
    struct engine_options engine = {.path = options->data, .read_only = true, .clock = options->clock};
    struct engine *now, *past;
    struct moment moment;
    if (moment_parse(slice_of(options->as_of), &moment, fault) < 0) return -1;
    if (engine_open_lmdb(&engine, &now, fault) < 0) return -1;
    if (as_of_cut(now, &moment, &past, fault) < 0) {
        engine_close(now);
        return -1;
    }
    struct hub_options opened = *options;
    opened.data = NULL;
    opened.engine = past;
    opened.schedule = opened.read_only = false;
    return hub_open(&opened, hub, fault);
}

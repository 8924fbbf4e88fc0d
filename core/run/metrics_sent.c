/* What the hub sends and runs itself: receptors, the courier, services, tasks. */
#include "run/metrics.h"
#include "run/reactor_inside.h"
#include "run/receptor.h"

/* --- receptors --- */

static void receptor_values(struct receptor *receptor, uint64_t head, uint64_t values[4])
{
    uint64_t position = atomic_load(&receptor->checkpoint), stuck = atomic_load(&receptor->stuck_count);
    uint64_t parked = 0;
    pthread_mutex_lock(&receptor->receptors->lock);
    for (const struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
        parked += key->due_ms == receptor_parked_ms;
    pthread_mutex_unlock(&receptor->receptors->lock);
    values[0] = position < head ? head - position : 0;
    values[1] = parked;
    values[2] = stuck > parked ? stuck - parked : 0;
    values[3] = stuck >= RECEPTORS_STUCK_MAX;
}

void metrics_receptors(struct receptors *receptors, struct buf *out)
{
    static const char *const gauges[][2] = {
        {"lore_receptor_lag", "Events behind the head."},
        {"lore_receptor_parked", "Keys that wait to be asked for."},
        {"lore_receptor_retried", "Keys that are tried again."},
        {"lore_receptor_stopped", "1: too many keys are stuck, so it stays where it is."}};
    uint64_t head = engine_head(receptors->hub->engine).position, values[4];
    for (size_t gauge = 0; gauge < 4; gauge++) {
        metrics_head(out, gauges[gauge][0], "gauge", gauges[gauge][1]);
        for (size_t at = 0; at < receptors->count; at++) {
            receptor_values(&receptors->receptors[at], head, values);
            metrics_named(out, gauges[gauge][0], "receptor", receptors->receptors[at].name, values[gauge]);
        }
    }
}

/* --- the courier --- */

void metrics_courier(struct courier *courier, struct buf *out)
{
    struct courier_info info;
    courier_info(courier, &info);
    metrics_one(out, "lore_courier_lag", "gauge", "Events behind the head.", info.lag);
    metrics_one(out, "lore_courier_in_flight", "gauge", "Messages under way.", info.in_flight);
    metrics_one(out, "lore_courier_waiting", "gauge", "Messages that wait for their time, or for a service.",
                info.waiting);
    metrics_one(out, "lore_courier_parked", "gauge", "Messages that nobody took.", info.parked);
    metrics_one(out, "lore_courier_delivered_total", "counter", "Messages that came to their outcome.",
                info.delivered);
    metrics_one(out, "lore_courier_failed_total", "counter", "Attempts that failed.", info.failed);
    metrics_one(out, "lore_courier_put_off_total", "counter", "Messages that a service put off.",
                info.put_off);
}

/* --- services and tasks --- */

void metrics_reactor(struct reactor *reactor, struct buf *out)
{
    metrics_one(out, "lore_runs", "gauge", "Runs of services and tasks at once.",
                atomic_load_explicit(&reactor->running, memory_order_relaxed));
    services_metrics(reactor->services, out);
    tasks_metrics(reactor->tasks, out);
}

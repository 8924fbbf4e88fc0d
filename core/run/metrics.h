/* metrics.h: Prometheus text, for the files of run/ only. One family, then its samples:
 *
 *     metrics_head(out, "lore_courier_lag", "gauge", "Events behind the head.");
 *     metrics_named(out, "lore_receptor_lag", "receptor", name, lag);
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_RUN_METRICS_H
#define LORE_RUN_METRICS_H

#include "base/buf.h"

struct courier;
struct receptors;
struct reactor;

void metrics_head(struct buf *out, const char *name, const char *type, const char *help);
/* A family of one. */
void metrics_one(struct buf *out, const char *name, const char *type, const char *help, uint64_t value);
/* name{label="of"} value; names of scripts need no quoting. */
void metrics_named(struct buf *out, const char *name, const char *label, struct slice of, uint64_t value);
/* name{label="of",outcome="outcome"} value */
void metrics_outcome(struct buf *out, const char *name, const char *label, struct slice of,
                     const char *outcome, uint64_t value);

/* metrics_sent.c: what the hub sends and runs itself. */
void metrics_receptors(struct receptors *receptors, struct buf *out);
void metrics_courier(struct courier *courier, struct buf *out);
void metrics_reactor(struct reactor *reactor, struct buf *out);

#endif

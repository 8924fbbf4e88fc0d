/* scan_filter.h: which records and events a query looks for, with every name as its number. For scan.c.
 *
 * Threads: made by one, then any. Owns: its tables; texts are borrowed from the filter it was made of. */
#ifndef LORE_RUN_SCAN_FILTER_H
#define LORE_RUN_SCAN_FILTER_H

#include "vm/seek_source.h"

struct scan_type {
    uint32_t number;
    struct slice context; /* empty: any */
};

struct scan_filter {
    const struct names *names;
    bool nothing; /* it names what never was written: no event fits */
    uint32_t tenant, actor;
    bool *types, *aggregates;   /* by number below the count, that fit; NULL: all */
    uint32_t name_count;        /* when it was made: no record up to the head has a higher one */
    struct scan_type *contexts; /* of types that are named with one */
    size_t context_count;
    uint64_t deploy;
    bool has_deploy;
    int64_t since_ms, until_ms;
    struct slice correlation;
    struct buf correlation_bytes; /* as it stands in an envelope */
};

/* Fault: MALFORMED. */
int scan_filter_open(struct scan_filter *filter, struct names *names, const struct seek_filter *asked,
                     struct slice tenant, struct fault *fault);
void scan_filter_close(struct scan_filter *filter);
bool scan_filter_fits(const struct scan_filter *filter, const struct record *record);
bool scan_filter_fits_event(const struct scan_filter *filter, const struct record *record,
                            const struct record_event *event);

#endif

/* dry_inside.h: what dry.c (the decision, what is sent) and dry_views.c (documents) share. Included by those
 * only. */
#ifndef LORE_RUN_DRY_INSIDE_H
#define LORE_RUN_DRY_INSIDE_H

#include "run/dry.h"
#include "run/inside.h"

struct dry {
    const struct dry_question *question;
    struct arena arena;
    struct stream_id stream;
    struct commit commit;                  /* as it would be */
    uint64_t head;                         /* of the log: the events would be behind it */
    struct buf documents, sends, failures; /* members of JSON lists, with commas between them */
};

/* The n-th event as handlers behind the log see it. */
struct envelope dry_envelope(const struct dry *dry, size_t event);
/* Whether "context.Type" is the type of the n-th event. */
bool dry_is_event(const struct dry *dry, size_t event, struct slice name);
/* Begins the next member of a list: '{' is put. */
void dry_put(struct buf *list);
/* in: a projection or receptor; key may be empty. */
void dry_put_failure(struct dry *dry, struct slice in, struct slice key, const struct fault *fault);
/* What each projection would make of the events. Faults: DISK, CORRUPT. */
int dry_views(struct dry *dry, struct fault *fault);

#endif

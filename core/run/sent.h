/* sent.h: the system event $Sent: what a service, a task or a receptor wants to be sent, kept in the log with
 * what it published, so that both happen or neither. The courier follows the log for it and delivers.
 *
 *   { sends = [ { stream | service, type, data, due?, key? } | { stream | service, key, cancel = true } … ] }
 *
 *     struct commit_event event = sent_event(&output, at_ms, arena);
 *     struct domain_send *sends;
 *     if (sent_read(event.data, arena, &sends, &count, &fault) < 0) ...
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_RUN_SENT_H
#define LORE_RUN_SENT_H

#include "vm/domain.h"

#define SENT_TYPE "$Sent"

/* The event of these sends, in the arena; count > 0. */
struct commit_event sent_event(const struct domain_send *sends, size_t count, int64_t at_ms,
                               struct arena *arena);
/* Borrowed from data, but for the array, which is in the arena. Fault: CORRUPT. */
int sent_read(struct slice data, struct arena *arena, struct domain_send **sends, size_t *count,
              struct fault *fault);

#endif

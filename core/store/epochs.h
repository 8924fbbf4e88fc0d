/* epochs.h: the log's named value "epochs": where each epoch behind the first began, a line "EPOCH POSITION"
 * for each. The epoch is raised by a rollback, so an id "<log>:<epoch>:<position>" of before says by itself
 * whether its event is still there.
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_STORE_EPOCHS_H
#define LORE_STORE_EPOCHS_H

#include "store/engine.h"

/* The last position of an epoch that all later ones have left as it was; UINT64_MAX for the current one. */
int epochs_kept(struct engine *engine, uint64_t epoch, uint64_t *position, struct fault *fault);
/* The same out of the value. */
uint64_t epochs_kept_of(struct slice value, uint64_t epoch);
/* Appends the line of an epoch that begins with this position. */
void epochs_add(struct buf *value, uint64_t epoch, uint64_t first_position);

#endif

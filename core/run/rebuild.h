/* rebuild.h: what rebuild.c (who builds and swaps), rebuild_change.c (deploys) and rebuild_why.c
 * share. */
#ifndef LORE_RUN_REBUILD_H
#define LORE_RUN_REBUILD_H

#include "run/inside.h"

/* Whether there is a generation and it is of this code. */
bool rebuild_is_of(const struct generation *generation, const struct view_code *code);
uint32_t rebuild_partitions(const struct view *view, const struct view_code *code);
/* Under the lock. The crew feeds it from now on; it takes over when its time has come. */
void rebuild_begin_feeding(struct generation *generation, struct crew *crew);
/* Under the lock. Nobody feeds it any more, and it is closed when nobody holds it. */
void rebuild_drop(struct generation *generation, bool destroy);
/* Under the lock. What a plan feeds begins again, as a planned one in one piece. */
int rebuild_restart_planned(struct view *view, struct generation *before, struct fault *fault);
/* What is different in the code since the answering generation was made; why: what else there is to say where
 * none answers. */
void rebuild_tell(const struct view *view, const struct view_code *code, const char *why,
                  char text[VIEWS_REASON_SIZE]);

#endif

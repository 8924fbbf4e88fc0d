/* actor.h: who gives an order from this machine: the name of the user that this process belongs to. Threads:
 * one. */
#ifndef LORE_CLI_ACTOR_H
#define LORE_CLI_ACTOR_H

#include "base/slice.h"

enum { ACTOR_SIZE_MAX = 200 };

/* Empty if there is none that a header could carry. */
struct slice actor_name(char text[ACTOR_SIZE_MAX]);

#endif

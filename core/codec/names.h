/* names.h: the few texts that every commit repeats (tenants, aggregates, message types, actors), numbered.
 *
 * A commit record refers to them by number; the first record that uses a number defines it, so the log
 * explains itself and the table below is only a cache of it. Numbers begin at 1; 0 is the empty text.
 *
 * Threads: any; names_get takes no lock. Owns: the texts, which never move and live as long as the table. */
#ifndef LORE_CODEC_NAMES_H
#define LORE_CODEC_NAMES_H

#include <stdint.h>

#include "base/slice.h"

struct names;

struct names *names_new(void);
void names_free(struct names *names);
/* The number of text, given out now if it is new. */
uint32_t names_intern(struct names *names, struct slice text);
/* The number of text, 0 if it has none. */
uint32_t names_find(struct names *names, struct slice text);
/* The text of a number; SLICE_NONE if it was never given out. */
struct slice names_get(const struct names *names, uint32_t id);
/* The highest number given out. */
uint32_t names_count(const struct names *names);

#endif

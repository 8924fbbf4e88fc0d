/* deploys_inside.h: keys and bytes of what deploys.h keeps. For deploys*.c only. */
#ifndef LORE_RUN_DEPLOYS_INSIDE_H
#define LORE_RUN_DEPLOYS_INSIDE_H

#include "run/deploys.h"

enum { DEPLOYS_KEY_SIZE = 96 }; /* "source/" and 64 digits */

void deploys_key(const char *kind, uint64_t number, char key[DEPLOYS_KEY_SIZE]);
void deploys_source_key(const struct hash *hash, char key[DEPLOYS_KEY_SIZE]);

void deploys_put_record(const struct deploy_record *record, struct buf *out);
void deploys_put_switch(const struct deploy_switch *change, struct buf *out);
void deploys_put_now(const struct deploys_now *now, struct buf *out);

/* -1: not what was written. What they give points into bytes; scripts lie in the arena. record->own is filled
 * in. */
int deploys_read_record(struct slice bytes, struct arena *arena, struct deploy_record *record);
int deploys_read_switch(struct slice bytes, struct deploy_switch *change);
int deploys_read_now(struct slice bytes, struct deploys_now *now);
/* The one value of a lore that kept no records: {"digest", "number"}. */
int deploys_read_old(struct slice bytes, uint64_t *number, struct hash *digest);

int deploys_load_switch(struct engine *engine, uint64_t number, struct buf *bytes,
                        struct deploy_switch *change, struct fault *fault);

#endif

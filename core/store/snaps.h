/* snaps.h: snapshots/: (tenant, stream, code hash) -> version, position, state. Derived; written without fsync; a value carries a CRC and
 * is ignored (and removed) when damaged. One snapshot a stream and hash: the newest. Threads: any; writes are serialized inside.
 * Same boot_id rule as docs.h: after a crash of the machine the whole environment is dropped at open. */
#ifndef LORE_STORE_SNAPS_H
#define LORE_STORE_SNAPS_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "store/engine.h"

struct snaps;

struct snapshot {
    struct stream_id stream;
    struct hash code;
    uint64_t version;
    struct slice state; /* MessagePack */
};

int snaps_open(const char *path, bool read_only, struct snaps **snaps, struct fault *fault);
void snaps_close(struct snaps *snaps);
/* Writes several in one transaction. */
int snaps_put(struct snaps *snaps, const struct snapshot *batch, size_t count, struct fault *fault);
/* 1 found (state copied), 0 none, -1 fault. */
int snaps_get(struct snaps *snaps, const struct stream_id *stream, const struct hash *code, uint64_t *version,
              struct buf *state, struct fault *fault);

#endif

/* snaps.h: snapshots/: (tenant, stream, code hash) -> version, state. Derived; written without fsync; a value
 * carries a CRC and is ignored (and removed) when damaged. One snapshot a stream and hash: the newest; of a
 * stream the newest SNAPS_CODES_MAX hashes are kept, so code that is gone leaves nothing behind for ever. Of
 * a stream that grows long the newest of each SNAPS_MILESTONE versions stays too, a milestone: so a past
 * version is never far from one. Same boot_id rule as docs.h: after a crash of the machine the whole
 * environment is dropped at open.
 *
 *     snaps_open("data/snapshots", false, &snaps, &fault);
 *     snaps_put(snaps, batch, count, &fault);
 *     if (snaps_get(snaps, &stream, &code, &version, &state, &fault) == 1) ...
 *
 * Threads: any; writes are serialized inside. Owns: the environment. */
#ifndef LORE_STORE_SNAPS_H
#define LORE_STORE_SNAPS_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "store/engine.h"

enum { SNAPS_CODES_MAX = 3, SNAPS_MILESTONE = 4096 };

struct snaps;

struct snapshot {
    struct stream_id stream;
    struct hash code;
    uint64_t version;
    struct slice state; /* MessagePack */
    uint64_t deploy;    /* whose code folded it */
};

/* read_only on a directory that is not there, or dirty: opens as empty. One that is too damaged to be opened
 * is dropped and made anew, unless read_only (fault CORRUPT). */
int snaps_open(const char *path, bool read_only, struct snaps **snaps, struct fault *fault);
void snaps_close(struct snaps *snaps);
/* Writes several in one transaction. One that is older than what is there is left out. Faults: DISK; nothing
 * of the batch is there then. */
int snaps_put(struct snaps *snaps, const struct snapshot *batch, size_t count, struct fault *fault);
/* 1 found (state appended), 0 none, -1 fault. */
int snaps_get(struct snaps *snaps, const struct stream_id *stream, const struct hash *code, uint64_t *version,
              struct buf *state, struct fault *fault);
/* The deploy that a snapshot was made under: 1 found, 0 none, -1 fault. 0 for one of a lore that did not keep
 * it. */
int snaps_deploy(struct snaps *snaps, const struct stream_id *stream, const struct hash *code,
                 uint64_t *deploy, struct fault *fault);
/* The last milestone up to version_max, which is none if the newest snapshot is not beyond it. As snaps_get.
 */
int snaps_get_before(struct snaps *snaps, const struct stream_id *stream, const struct hash *code,
                     uint64_t version_max, uint64_t *version, struct buf *state, struct fault *fault);
/* Reads everything. Fault: CORRUPT. */
int snaps_check(struct snaps *snaps, uint64_t *snapshots, struct fault *fault);

#endif

/* owners.h: for whom a Lua state allocated what it still has: runs of services and tasks share a state, and
 * one of them must not keep what all may have. Inside vm/ only.
 *
 *     unsigned owner = owners_take(&vm->owners);
 *     vm->owners.now = owner;  … what is allocated from here on is the owner's …  vm->owners.now =
 * OWNER_NONE; owners_bytes(&vm->owners, owner)           garbage included, until it is collected
 *     owners_give(&vm->owners, owner);
 *
 * Each block of such a state carries its owner's number behind its end, so freeing needs no search and who
 * happens to run while the collector does is charged for nothing.
 *
 * Threads: as the Lua state. Owns: the table of owners. */
#ifndef LORE_VM_OWNERS_H
#define LORE_VM_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OWNER_NONE = 0, OWNER_TAG_SIZE = sizeof(uint32_t) };

struct owner {
    size_t bytes;
    bool taken;
};

struct owners {
    struct owner *list; /* by number; the first is OWNER_NONE */
    uint32_t count;
    uint32_t now;
};

uint32_t owners_take(struct owners *owners);
/* Its number is used again when nothing that it allocated is left. */
void owners_give(struct owners *owners, uint32_t owner);
size_t owners_bytes(const struct owners *owners, uint32_t owner);
void owners_release(struct owners *owners);

/* Behind a block of size bytes, there is room for the tag. */
void owners_mark(struct owners *owners, void *block, size_t size, uint32_t owner);
/* The owner of a block that is freed or moved: no longer charged. */
uint32_t owners_unmark(struct owners *owners, const void *block, size_t size);

#endif

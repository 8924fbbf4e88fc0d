#include "vm/owners.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void owners_grow(struct owners *owners)
{
    uint32_t count = owners->count ? owners->count * 2 : 16;
    owners->list = mem_resize(owners->list, count * sizeof *owners->list);
    memset(owners->list + owners->count, 0, (count - owners->count) * sizeof *owners->list);
    owners->count = count;
}

uint32_t owners_take(struct owners *owners)
{
    uint32_t owner = OWNER_NONE + 1;
    while (owner < owners->count && (owners->list[owner].taken || owners->list[owner].bytes)) owner++;
    if (owner >= owners->count) owners_grow(owners);
    owners->list[owner].taken = true;
    return owner;
}

void owners_give(struct owners *owners, uint32_t owner)
{
    if (owner != OWNER_NONE) owners->list[owner].taken = false;
}

size_t owners_bytes(const struct owners *owners, uint32_t owner)
{
    return owners->list[owner].bytes;
}

void owners_release(struct owners *owners)
{
    mem_free(owners->list);
    *owners = (struct owners){0};
}

void owners_mark(struct owners *owners, void *block, size_t size, uint32_t owner)
{
    if (owner >= owners->count) owners_grow(owners);
    owners->list[owner].bytes += size;
    memcpy((char *)block + size, &owner, sizeof owner);
}

uint32_t owners_unmark(struct owners *owners, const void *block, size_t size)
{
    uint32_t owner;
    memcpy(&owner, (const char *)block + size, sizeof owner);
    CHECK(owner < owners->count && owners->list[owner].bytes >= size);
    owners->list[owner].bytes -= size;
    return owner;
}

#include "store/log_tail.h"

#include "base/check.h"
#include "base/mem.h"

/* LMDB puts a value that leaves no room for another in a page on pages of its own. */
enum { LARGE = 1900 };

struct log_tail *log_tail_new(void)
{
    struct log_tail *tail = MEM_NEW(struct log_tail);
    tail->references = 1;
    return tail;
}

struct log_tail *log_tail_hold(struct log_tail *tail)
{
    if (tail) atomic_fetch_add(&tail->references, 1);
    return tail;
}

void log_tail_drop(struct log_tail *tail)
{
    if (!tail || atomic_fetch_sub(&tail->references, 1) > 1) return;
    for (size_t list = 0; list < LOG_TAIL_LISTS; list++)
        for (size_t block = 0; block < LOG_TAIL_BLOCKS; block++) mem_free(tail->lists[list].blocks[block]);
    for (size_t at = 0; at < tail->entry_count; at++) buf_release(&tail->entries[at]);
    mem_free(tail->entries);
    map_release(&tail->values);
    arena_release(&tail->arena);
    mem_free(tail);
}

void log_tail_take(struct log_tail *tail, struct buf *entry)
{
    if (tail->entry_count == tail->entry_max) {
        tail->entry_max = tail->entry_max ? tail->entry_max * 2 : 64;
        tail->entries = mem_resize(tail->entries, tail->entry_max * sizeof *tail->entries);
    }
    tail->entries[tail->entry_count++] = *entry;
    *entry = (struct buf){0};
}

/* Blocks 0, 1, 2 hold 64, 128, 256 records: those before block b are 64 * (2^b - 1). */
static size_t block_of(size_t at, size_t *offset)
{
    size_t block = (size_t)(63 - __builtin_clzll(at / LOG_TAIL_BLOCK_FIRST + 1));
    *offset = at - LOG_TAIL_BLOCK_FIRST * (((size_t)1 << block) - 1);
    return block;
}

const struct log_tail_record *log_tail_record(const struct log_tail_list *list, size_t at)
{
    size_t offset, block = block_of(at, &offset);
    return &list->blocks[block][offset];
}

void log_tail_add(struct log_tail *tail, size_t at, const struct log_tail_record *record)
{
    struct log_tail_list *list = &tail->lists[at];
    CHECK(list->count == 0 || log_tail_record(list, list->count - 1)->last + 1 == record->number);
    size_t offset, block = block_of(list->count, &offset);
    CHECK(block < LOG_TAIL_BLOCKS);
    if (offset == 0)
        list->blocks[block] = mem_alloc(((size_t)LOG_TAIL_BLOCK_FIRST << block) * sizeof *record);
    list->blocks[block][offset] = *record;
    list->count++;
    tail->bytes += record->bytes.size;
    tail->large += record->bytes.size > LARGE;
}

void log_tail_put(struct log_tail *tail, struct slice key, struct slice value)
{
    struct log_tail_value *put = arena_take(&tail->arena, sizeof *put);
    *put = (struct log_tail_value){arena_copy(&tail->arena, key), arena_copy(&tail->arena, value)};
    map_put(&tail->values, put->key, put);
    tail->bytes += key.size + value.size;
}

size_t log_tail_seek(const struct log_tail_list *list, size_t count, uint64_t number)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log_tail_record(list, middle)->last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

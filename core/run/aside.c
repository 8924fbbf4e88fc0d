#include "run/aside.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    ASIDE_MEMORY_MAX = 16 << 20, /* of records that are sorted */
    ASIDE_AHEAD_MAX = 512,
    CACHE_LINE = 64
};

struct aside_entry {
    uint64_t head;             /* the first bytes in which keys of the partition differ, as a number */
    const struct aside *aside; /* for comparing */
    uint32_t tenant;           /* name number */
    uint32_t at, size;         /* of the record in bytes */
    uint32_t key_at, key_size; /* of its id, there too */
};

struct aside {
    struct names *names;
    struct spill_reader *reader; /* in the order of the log; else NULL */
    struct buf bytes;            /* all records */
    struct buf entries;          /* struct aside_entry, in order of tenant, key and log */
    size_t next;                 /* entry */
};

static const struct aside_entry *aside_entry(const struct aside *aside, size_t at)
{
    return (const struct aside_entry *)(const void *)aside->entries.data + at;
}

static size_t aside_count(const struct aside *aside)
{
    return aside->entries.size / sizeof(struct aside_entry);
}

static struct slice aside_key(const struct aside_entry *entry)
{
    return slice_make(entry->aside->bytes.data + entry->key_at, entry->key_size);
}

static int aside_compare(const void *a, const void *b)
{
    const struct aside_entry *left = a, *right = b;
    if (left->tenant != right->tenant) return left->tenant > right->tenant ? 1 : -1;
    if (left->head != right->head) return left->head > right->head ? 1 : -1;
    int order = slice_compare(aside_key(left), aside_key(right));
    if (order != 0) return order;
    return (left->at > right->at) - (left->at < right->at);
}

/* What all keys begin with tells nothing: a partition is a range of keys. */
static size_t aside_common(const struct aside *aside)
{
    struct slice first = aside_key(aside_entry(aside, 0));
    size_t common = first.size;
    for (size_t at = 1; at < aside_count(aside); at++) {
        struct slice key = aside_key(aside_entry(aside, at));
        if (key.size < common) common = key.size;
        while (memcmp(key.data, first.data, common) != 0) common--;
    }
    return common;
}

static void aside_sort(struct aside *aside)
{
    size_t count = aside_count(aside);
    if (count == 0) return;
    size_t common = aside_common(aside);
    struct aside_entry *entries = (struct aside_entry *)(void *)aside->entries.data;
    for (size_t at = 0; at < count; at++) {
        struct slice key = aside_key(&entries[at]);
        uint64_t head = 0;
        size_t size = key.size - common;
        memcpy(&head, key.data + common, size < sizeof head ? size : sizeof head);
        entries[at].head = be64toh(head);
    }
    qsort(entries, count, sizeof *entries, aside_compare);
}

/* Reads the partition. 0: it has more events than that, or the fault. */
static int aside_load(struct aside *aside, uint64_t events_max, struct fault *fault)
{
    struct slice bytes;
    uint64_t events = 0;
    int more;
    while ((more = spill_next(aside->reader, &bytes, fault)) == 1) {
        struct record record;
        if (record_open(bytes, aside->names, &record, fault) < 0) return -1;
        events += record.event_count;
        if (events > events_max || aside->bytes.size + bytes.size > ASIDE_MEMORY_MAX) return 0;
        struct aside_entry entry = {.aside = aside,
                                    .tenant = record.tenant,
                                    .at = (uint32_t)aside->bytes.size,
                                    .size = (uint32_t)bytes.size,
                                    .key_at =
                                        (uint32_t)(aside->bytes.size + (size_t)(record.id.data - bytes.data)),
                                    .key_size = (uint32_t)record.id.size};
        buf_put_slice(&aside->bytes, bytes);
        buf_put(&aside->entries, &entry, sizeof entry);
    }
    return more < 0 ? -1 : 1;
}

int aside_open(struct spill *spill, uint32_t partition, struct names *names, uint64_t events_max,
               struct aside **opened, struct fault *fault)
{
    struct aside *aside = MEM_NEW(struct aside);
    aside->names = names;
    aside->reader = spill_read(spill, partition);
    *opened = aside;
    if (events_max == 0) return 0;
    int loaded = aside_load(aside, events_max, fault);
    spill_read_close(aside->reader);
    aside->reader = NULL;
    if (loaded == 1) {
        aside_sort(aside);
        return 0;
    }
    buf_release(&aside->bytes);
    buf_release(&aside->entries);
    if (loaded == 0) {
        aside->reader = spill_read(spill, partition);
        return 0;
    }
    mem_free(aside);
    *opened = NULL;
    return -1;
}

bool aside_is_by_key(const struct aside *aside)
{
    return !aside->reader;
}

/* Sorted records lie anywhere: the next one comes into the cache while this one is folded. */
static void aside_fetch_ahead(const struct aside *aside, const struct aside_entry *entry)
{
    for (uint32_t at = 0; at < entry->size && at < ASIDE_AHEAD_MAX; at += CACHE_LINE)
        __builtin_prefetch(aside->bytes.data + entry->at + at);
}

int aside_next(struct aside *aside, struct record *record, struct fault *fault)
{
    struct slice bytes;
    if (aside->reader) {
        int more = spill_next(aside->reader, &bytes, fault);
        if (more != 1) return more;
    } else {
        if (aside->next == aside_count(aside)) return 0;
        const struct aside_entry *entry = aside_entry(aside, aside->next++);
        bytes = slice_make(aside->bytes.data + entry->at, entry->size);
        if (aside->next < aside_count(aside)) aside_fetch_ahead(aside, entry + 1);
    }
    return record_open(bytes, aside->names, record, fault) < 0 ? -1 : 1;
}

bool aside_begins_key(const struct aside *aside)
{
    if (aside->next < 2) return true;
    const struct aside_entry *last = aside_entry(aside, aside->next - 1), *before = last - 1;
    return last->tenant != before->tenant || last->head != before->head ||
           !slice_equal(aside_key(last), aside_key(before));
}

void aside_close(struct aside *aside)
{
    if (!aside) return;
    spill_read_close(aside->reader);
    buf_release(&aside->bytes);
    buf_release(&aside->entries);
    mem_free(aside);
}

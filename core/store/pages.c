/* DESIGN. The format of LMDB 0.9, 64 bit, little endian (Debian's amd64 and arm64):
 *
 *   page 0, 1    meta pages; a commit with transaction number n writes page n % 2, so the two numbers differ
 * by one page header  number 8, pad 2, flags 2, then lower 2, upper 2 - or on overflow pages: how many pages
 * 4 branch/leaf  node offsets (2 each) from 16 to lower; nodes fill upper .. end of page without a gap node
 * lo 2, hi 2, flags 2, key size 2, key; then on a leaf hi:lo bytes of data, or with NODE_BIG the number of
 *                the first overflow page that holds them; a branch node's lo, hi, flags are the number of its
 * child tree         pad 4, flags 2, depth 2, branch, leaf, overflow pages 8 each, entries 8, root 8 free
 * list    a tree of: transaction number -> count, page numbers descending
 *
 * Each page of a tree is read once into a buffer of its level; the keys that bound a subtree lie in the
 * buffers of the levels above. A bit per page says whether it was met. Nothing read from the file is used as
 * a size, an offset or a page number before it was compared with what is possible. */
#include "store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pages.c reads little endian files"
#endif

enum {
    HEADER_SIZE = 16,
    NODE_SIZE = 8,
    META_SIZE = 136,
    TREE_SIZE = 48,
    DEPTH_MAX = 32, /* LMDB's own */
    PAGE_SIZE_LEAST = 512,
    PAGE_SIZE_MOST = 32768,
    /* Pages that were taken and freed in one transaction are never written, so the file may end before the
       last page. */
    UNWRITTEN_MAX = 1 << 20,
    META_READS_MAX = 100
};
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
enum { NODE_BIG = 1, NODE_TREE = 2 };
enum { TREE_INTEGER_KEY = 8 };
static const uint64_t NO_PAGE = UINT64_MAX;

struct tree {
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint32_t page_size;
    uint64_t map_size, last_page, transaction;
    struct tree free, main;
};

enum tree_kind { TREE_FREE, TREE_MAIN, TREE_NAMED };

struct walk {
    int fd;
    uint64_t file_pages;
    struct meta meta;
    uint8_t *met; /* a bit per page up to meta.last_page */
    uint8_t *
        buffers[3][DEPTH_MAX]; /* by tree_kind: a named tree is walked while a page of the main one is held */
    uint8_t *data;             /* a free list's record on overflow pages */
    uint64_t last_freed;       /* transaction of the free list's last record */
    struct pages_report *report;
    int error; /* errno of a read that failed */
};

/* What is known of the tree being walked. */
struct tree_walk {
    enum tree_kind kind;
    const struct tree *tree;
    struct tree counted;
};

struct span { /* keys of a subtree: from low (inclusive) to below high; a key without data is no bound */
    struct slice low, high;
};

__attribute__((format(printf, 2, 3))) static bool damaged(struct walk *walk, const char *format, ...)
{
    if (walk->report->damage[0]) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(walk->report->damage, sizeof walk->report->damage, format, args);
    va_end(args);
    return false;
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}
static uint32_t get32(const uint8_t *at)
{
    return get16(at) | (uint32_t)get16(at + 2) << 16;
}
static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* Reads up to size bytes; returns how many there were. */
static size_t read_at(struct walk *walk, void *to, size_t size, uint64_t offset)
{
    size_t got = 0;
    while (got < size) {
        ssize_t part = pread(walk->fd, (char *)to + got, size - got, (off_t)(offset + got));
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) walk->error = errno;
        if (part <= 0) break;
        got += (size_t)part;
    }
    return got;
}

/* --- pages, each met once --- */

static bool meet(struct walk *walk, uint64_t page)
{
    uint8_t bit = (uint8_t)(1 << page % 8);
    bool before = walk->met[page / 8] & bit;
    walk->met[page / 8] |= bit;
    return !before;
}

/* Marks count pages from page as reached. */
static bool reach(struct walk *walk, uint64_t page, uint64_t count, const char *from, uint64_t from_page)
{
    if (page < 2 || page > walk->meta.last_page || count > walk->meta.last_page - page + 1)
        return damaged(walk, "page %" PRIu64 ": %s leads to page %" PRIu64 ", which is none", from_page, from,
                       page);
    if (page + count > walk->file_pages)
        return damaged(walk, "page %" PRIu64 ": lies behind the end of the file", page);
    for (uint64_t n = page; n < page + count; n++)
        if (!meet(walk, n)) return damaged(walk, "page %" PRIu64 ": reached twice", n);
    walk->report->reachable += count;
    return true;
}

static uint64_t overflow_count(const struct walk *walk, uint64_t size)
{
    return (HEADER_SIZE - 1 + size) / walk->meta.page_size + 1;
}

/* The overflow pages of a big value. */
static bool reach_overflow(struct walk *walk, struct tree_walk *tree, uint64_t page, uint64_t size,
                           uint64_t from)
{
    uint8_t header[HEADER_SIZE];
    if (!reach(walk, page, 1, "a big value", from)) return false;
    if (read_at(walk, header, sizeof header, page * walk->meta.page_size) < sizeof header)
        return damaged(walk, "page %" PRIu64 ": cannot be read", page);
    if (get64(header) != page || get16(header + 10) != PAGE_OVERFLOW)
        return damaged(walk, "page %" PRIu64 ": is no overflow page, but page %" PRIu64 " says so", page,
                       from);
    uint64_t count = get32(header + 12), needed = overflow_count(walk, size);
    /* More than needed is possible: a value that shrinks within a transaction keeps its pages. */
    if (count < needed)
        return damaged(walk, "page %" PRIu64 ": %" PRIu64 " overflow pages for a value of %" PRIu64 " bytes",
                       page, count, size);
    tree->counted.overflow_pages += count;
    return count == 1 || reach(walk, page + 1, count - 1, "a big value", page);
}

/* --- keys --- */

static int key_compare(const struct tree_walk *tree, struct slice a, struct slice b)
{
    if (!(tree->tree->flags & TREE_INTEGER_KEY)) return slice_compare(a, b);
    uint64_t left = a.size == 4 ? get32((const uint8_t *)a.data) : get64((const uint8_t *)a.data);
    uint64_t right = b.size == 4 ? get32((const uint8_t *)b.data) : get64((const uint8_t *)b.data);
    return (left > right) - (left < right);
}

static bool check_key(struct walk *walk, const struct tree_walk *tree, uint64_t page, unsigned int node,
                      struct slice key, const struct slice *before, const struct span *span)
{
    if (key.size == 0 || key.size > 511)
        return damaged(walk, "page %" PRIu64 ": node %u has a key of %zu bytes", page, node, key.size);
    if ((tree->tree->flags & TREE_INTEGER_KEY) && key.size != 4 && key.size != 8)
        return damaged(walk, "page %" PRIu64 ": node %u has a key of %zu bytes where a number is due", page,
                       node, key.size);
    if (before->data && key_compare(tree, *before, key) >= 0)
        return damaged(walk, "page %" PRIu64 ": the keys of nodes %u and %u are out of order", page, node - 1,
                       node);
    if ((span->low.data && key_compare(tree, span->low, key) > 0) ||
        (span->high.data && key_compare(tree, span->high, key) <= 0))
        return damaged(walk, "page %" PRIu64 ": the key of node %u lies outside of what the page above says",
                       page, node);
    return true;
}

/* --- the free list's records --- */

static bool check_free(struct walk *walk, struct tree_walk *tree, uint64_t page, struct slice key,
                       const uint8_t *data, uint64_t size)
{
    if (key.size != 8 || size < 8 || size % 8 != 0)
        return damaged(walk, "page %" PRIu64 ": a record of the free list has the wrong size", page);
    uint64_t transaction = get64((const uint8_t *)key.data), count = get64(data), before = NO_PAGE;
    if (transaction == 0 || transaction > walk->meta.transaction)
        return damaged(walk,
                       "page %" PRIu64 ": the free list tells of transaction %" PRIu64 ", which was not yet",
                       page, transaction);
    if (count > size / 8 - 1)
        return damaged(walk,
                       "page %" PRIu64 ": a record of the free list says it holds %" PRIu64
                       " pages, but has room "
                       "for %" PRIu64,
                       page, count, size / 8 - 1);
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = get64(data + 8 * i);
        if (number < 2 || number > walk->meta.last_page)
            return damaged(walk, "page %" PRIu64 ": the free list names page %" PRIu64 ", which is none",
                           page, number);
        if (number >= before) return damaged(walk, "page %" PRIu64 ": the free list is out of order", page);
        if (!meet(walk, number))
            return damaged(walk, "page %" PRIu64 ": is free twice, or free and reachable", number);
        before = number;
    }
    walk->report->free += count;
    walk->last_freed = transaction;
    return true;
}

/* A record too big for its page is read as a whole: its size was checked against its overflow pages, and
 * these against the file. */
static bool check_free_big(struct walk *walk, struct tree_walk *tree, uint64_t page, struct slice key,
                           uint64_t first, uint64_t size)
{
    walk->data = mem_resize(walk->data, size);
    if (read_at(walk, walk->data, size, first * walk->meta.page_size + HEADER_SIZE) < size)
        return damaged(walk, "page %" PRIu64 ": cannot be read", first);
    return check_free(walk, tree, page, key, walk->data, size);
}

/* --- trees --- */

static bool walk_tree(struct walk *walk, enum tree_kind kind, const struct tree *tree, const char *name);

static struct tree tree_parse(const uint8_t *at)
{
    return (struct tree){.flags = get16(at + 4),
                         .depth = get16(at + 6),
                         .branch_pages = get64(at + 8),
                         .leaf_pages = get64(at + 16),
                         .overflow_pages = get64(at + 24),
                         .entries = get64(at + 32),
                         .root = get64(at + 40)};
}

static bool check_named(struct walk *walk, uint64_t page, struct slice key, const uint8_t *data,
                        uint64_t size)
{
    if (size != TREE_SIZE)
        return damaged(walk, "page %" PRIu64 ": a database's description has %" PRIu64 " bytes", page, size);
    struct tree named = tree_parse(data);
    char name[64];
    snprintf(name, sizeof name, "database \"%.*s\"", key.size < 40 ? (int)key.size : 40, key.data);
    if (get32(data) != 0) return damaged(walk, "page %" PRIu64 ": %s has a wrong pad", page, name);
    return walk_tree(walk, TREE_NAMED, &named, name);
}

struct node {
    struct slice key;
    uint16_t flags;
    uint64_t child; /* on a branch */
    uint64_t size;  /* on a leaf: of its data */
    const uint8_t *data;
    size_t node_size; /* in the page, rounded up to even */
};

/* Takes a node apart; its offset must leave room for it. */
static bool node_parse(struct walk *walk, uint64_t page, const uint8_t *bytes, unsigned int number, bool leaf,
                       struct node *node)
{
    uint32_t page_size = walk->meta.page_size, upper = get16(bytes + 14);
    uint32_t offset = get16(bytes + HEADER_SIZE + 2 * number);
    if (offset < upper || offset % 2 != 0 || offset + NODE_SIZE > page_size)
        return damaged(walk, "page %" PRIu64 ": node %u lies outside of the page", page, number);
    const uint8_t *at = bytes + offset;
    uint64_t low = get16(at), high = get16(at + 2), key_size = get16(at + 6);
    node->flags = get16(at + 4);
    node->child = low | high << 16 | (uint64_t)node->flags << 32;
    node->size = low | high << 16;
    uint64_t inside = !leaf ? 0 : node->flags & NODE_BIG ? 8 : node->size;
    uint64_t whole = NODE_SIZE + key_size + inside;
    node->node_size = (size_t)(whole + (whole & 1));
    if (offset + node->node_size > page_size)
        return damaged(walk, "page %" PRIu64 ": node %u is larger than its page", page, number);
    node->key = slice_make(at + NODE_SIZE, key_size);
    node->data = at + NODE_SIZE + key_size;
    return true;
}

/* A page's nodes lie beside each other from upper to its end. */
static bool check_tiling(struct walk *walk, uint64_t page, const uint8_t *bytes, unsigned int count,
                         bool leaf)
{
    uint8_t starts[PAGE_SIZE_MOST / 16] = {0}; /* a bit for each even offset */
    uint32_t upper = get16(bytes + 14);
    size_t sum = 0;
    for (unsigned int i = 0; i < count; i++) {
        struct node node;
        if (!node_parse(walk, page, bytes, i, leaf, &node)) return false;
        uint32_t offset = get16(bytes + HEADER_SIZE + 2 * i);
        starts[offset / 16] |= (uint8_t)(1 << offset / 2 % 8);
        sum += node.node_size;
    }
    if (sum != walk->meta.page_size - upper)
        return damaged(walk, "page %" PRIu64 ": its nodes do not fill it", page);
    /* With the sum right it is enough that each node ends where another begins. */
    for (unsigned int i = 0; i < count; i++) {
        struct node node;
        if (!node_parse(walk, page, bytes, i, leaf, &node)) return false;
        size_t end = get16(bytes + HEADER_SIZE + 2 * i) + node.node_size;
        if (end < walk->meta.page_size && !(starts[end / 16] & 1 << end / 2 % 8))
            return damaged(walk, "page %" PRIu64 ": its nodes overlap", page);
    }
    return true;
}

static bool check_header(struct walk *walk, const struct tree_walk *tree, uint64_t page, const uint8_t *bytes,
                         unsigned int level, unsigned int *count)
{
    uint16_t flags = get16(bytes + 10), lower = get16(bytes + 12), upper = get16(bytes + 14);
    bool leaf = level == tree->tree->depth;
    if (get64(bytes) != page)
        return damaged(walk, "page %" PRIu64 ": says it is page %" PRIu64, page, get64(bytes));
    if (flags != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        return damaged(walk, "page %" PRIu64 ": its flags 0x%x are not those of a %s page", page, flags,
                       leaf ? "leaf" : "branch");
    if (lower < HEADER_SIZE || lower % 2 != 0 || lower > upper || upper > walk->meta.page_size)
        return damaged(walk, "page %" PRIu64 ": its bounds %u and %u are impossible", page, lower, upper);
    *count = (lower - HEADER_SIZE) / 2u;
    unsigned int least = leaf || tree->kind == TREE_FREE ? 1 : 2;
    if (*count < least) return damaged(walk, "page %" PRIu64 ": has only %u nodes", page, *count);
    return check_tiling(walk, page, bytes, *count, leaf);
}

static bool walk_leaf_node(struct walk *walk, struct tree_walk *tree, uint64_t page, const struct node *node)
{
    tree->counted.entries++;
    if ((node->flags & ~(NODE_BIG | NODE_TREE)) != 0 ||
        ((node->flags & NODE_TREE) && tree->kind != TREE_MAIN) || node->flags == (NODE_BIG | NODE_TREE))
        return damaged(walk, "page %" PRIu64 ": a node has flags 0x%x", page, node->flags);
    uint64_t first = 0;
    if (node->flags & NODE_BIG) {
        first = get64(node->data);
        if (!reach_overflow(walk, tree, first, node->size, page)) return false;
    }
    if (node->flags & NODE_TREE) return check_named(walk, page, node->key, node->data, node->size);
    if (tree->kind != TREE_FREE) return true;
    if (node->flags & NODE_BIG) return check_free_big(walk, tree, page, node->key, first, node->size);
    return check_free(walk, tree, page, node->key, node->data, node->size);
}

/* level counts from 1, the root. */
static bool walk_page(struct walk *walk, struct tree_walk *tree, uint64_t page, unsigned int level,
                      const struct span *span, uint64_t from)
{
    if (!reach(walk, page, 1, level == 1 ? "a root" : "a branch", from)) return false;
    uint8_t **buffer = &walk->buffers[tree->kind][level - 1];
    if (!*buffer) *buffer = mem_alloc(walk->meta.page_size);
    uint8_t *bytes = *buffer;
    if (read_at(walk, bytes, walk->meta.page_size, page * walk->meta.page_size) < walk->meta.page_size)
        return damaged(walk, "page %" PRIu64 ": cannot be read", page);
    unsigned int count = 0;
    if (!check_header(walk, tree, page, bytes, level, &count)) return false;
    bool leaf = level == tree->tree->depth;
    if (leaf)
        tree->counted.leaf_pages++;
    else
        tree->counted.branch_pages++;
    struct slice before = SLICE_NONE;
    for (unsigned int i = 0; i < count; i++) {
        struct node node, next;
        if (!node_parse(walk, page, bytes, i, leaf, &node)) return false;
        /* The first key of a branch page is never looked at. */
        if (leaf || i > 0) {
            if (!check_key(walk, tree, page, i, node.key, &before, span)) return false;
            before = node.key;
        }
        if (leaf) {
            if (!walk_leaf_node(walk, tree, page, &node)) return false;
            continue;
        }
        struct span below = {.low = i > 0 ? node.key : span->low, .high = span->high};
        if (i + 1 < count) {
            if (!node_parse(walk, page, bytes, i + 1, leaf, &next) ||
                !check_key(walk, tree, page, i + 1, next.key, &before, span))
                return false;
            below.high = next.key;
        }
        if (!walk_page(walk, tree, node.child, level + 1, &below, page)) return false;
    }
    return true;
}

static bool walk_tree(struct walk *walk, enum tree_kind kind, const struct tree *tree, const char *name)
{
    struct tree_walk inside = {.kind = kind, .tree = tree};
    uint16_t flags_allowed = TREE_INTEGER_KEY;
    if (kind != TREE_FREE && (tree->flags & ~flags_allowed) != 0)
        return damaged(walk, "%s: flags 0x%x are not known", name, tree->flags);
    if (tree->root == NO_PAGE || tree->depth == 0) {
        if (tree->root != NO_PAGE || tree->depth != 0 || tree->branch_pages || tree->leaf_pages ||
            tree->overflow_pages || tree->entries)
            return damaged(walk, "%s: has no root but is not empty", name);
        return true;
    }
    if (tree->depth > DEPTH_MAX) return damaged(walk, "%s: a depth of %u is impossible", name, tree->depth);
    const struct span all = {SLICE_NONE, SLICE_NONE};
    if (!walk_page(walk, &inside, tree->root, 1, &all, 0)) return false;
    if (inside.counted.branch_pages != tree->branch_pages || inside.counted.leaf_pages != tree->leaf_pages ||
        inside.counted.overflow_pages != tree->overflow_pages || inside.counted.entries != tree->entries)
        return damaged(walk,
                       "%s: counted %" PRIu64 " entries on %" PRIu64 " branch, %" PRIu64 " leaf and %" PRIu64
                       " overflow pages, but it says %" PRIu64 " on %" PRIu64 ", %" PRIu64 " and %" PRIu64,
                       name, inside.counted.entries, inside.counted.branch_pages, inside.counted.leaf_pages,
                       inside.counted.overflow_pages, tree->entries, tree->branch_pages, tree->leaf_pages,
                       tree->overflow_pages);
    return true;
}

/* --- meta pages --- */

static bool meta_parse(struct walk *walk, unsigned int number, const uint8_t *bytes, struct meta *meta)
{
    const uint8_t *at = bytes + HEADER_SIZE;
    if (get64(bytes) != number || get16(bytes + 10) != PAGE_META || get32(at) != 0xBEEFC0DE)
        return damaged(walk, "page %u: is no meta page", number);
    if (get32(at + 4) != 1)
        return damaged(walk, "page %u: format version %u, known is 1", number, get32(at + 4));
    if (get64(at + 8) != 0) return damaged(walk, "page %u: asks for a fixed address", number);
    meta->map_size = get64(at + 16);
    meta->page_size = get32(at + 24);
    meta->free = tree_parse(at + 24);
    meta->main = tree_parse(at + 24 + TREE_SIZE);
    meta->last_page = get64(at + 24 + 2 * TREE_SIZE);
    meta->transaction = get64(at + 24 + 2 * TREE_SIZE + 8);
    uint32_t size = meta->page_size;
    if (size < PAGE_SIZE_LEAST || size > PAGE_SIZE_MOST || (size & (size - 1)) != 0)
        return damaged(walk, "page %u: a page size of %u is impossible", number, size);
    if (!(meta->free.flags & TREE_INTEGER_KEY) || get32(at + 24 + TREE_SIZE) != 0)
        return damaged(walk, "page %u: the trees' descriptions are damaged", number);
    if (meta->last_page < 1 || meta->last_page >= meta->map_size / size || meta->map_size >> 47 != 0)
        return damaged(walk, "page %u: last page %" PRIu64 " in a map of %" PRIu64 " bytes is impossible",
                       number, meta->last_page, meta->map_size);
    return true;
}

/* Reads both meta pages until they stand still: somebody may be committing. */
static bool metas_read(struct walk *walk, uint8_t bytes[2][HEADER_SIZE + META_SIZE])
{
    uint8_t again[HEADER_SIZE + META_SIZE];
    for (int i = 0; i < META_READS_MAX; i++) {
        if (read_at(walk, bytes[0], sizeof again, 0) < sizeof again)
            return damaged(walk, "page 0: the file has no meta page");
        uint32_t size = get32(bytes[0] + HEADER_SIZE + 24);
        if (size < PAGE_SIZE_LEAST || size > PAGE_SIZE_MOST)
            return damaged(walk, "page 0: a page size of %u is impossible", size);
        if (read_at(walk, bytes[1], sizeof again, size) < sizeof again)
            return damaged(walk, "page 1: the file has no second meta page");
        if (read_at(walk, again, sizeof again, 0) == sizeof again &&
            memcmp(again, bytes[0], sizeof again) == 0 &&
            read_at(walk, again, sizeof again, size) == sizeof again &&
            memcmp(again, bytes[1], sizeof again) == 0)
            return true;
    }
    return damaged(walk, "page 0: does not stand still");
}

static bool check_metas(struct walk *walk)
{
    uint8_t bytes[2][HEADER_SIZE + META_SIZE];
    struct meta metas[2];
    if (!metas_read(walk, bytes) || !meta_parse(walk, 0, bytes[0], &metas[0]) ||
        !meta_parse(walk, 1, bytes[1], &metas[1]))
        return false;
    if (metas[0].page_size != metas[1].page_size)
        return damaged(walk, "page 1: its page size is not that of page 0");
    uint64_t even = metas[0].transaction, odd = metas[1].transaction;
    bool fresh = even == 0 && odd == 0;
    if (!fresh && (even % 2 != 0 || odd % 2 != 1 || (even + 1 != odd && odd + 1 != even)))
        return damaged(walk, "page 0: transactions %" PRIu64 " and %" PRIu64 " do not follow each other",
                       even, odd);
    walk->meta = metas[odd > even];
    return true;
}

static bool check_all(struct walk *walk)
{
    if (!check_metas(walk)) return false;
    struct stat status;
    if (fstat(walk->fd, &status) < 0) {
        walk->error = errno;
        return false;
    }
    walk->file_pages = (uint64_t)status.st_size / walk->meta.page_size;
    if (walk->file_pages < 2 || walk->meta.last_page >= walk->file_pages + UNWRITTEN_MAX)
        return damaged(walk, "the file ends at page %" PRIu64 ", but should at page %" PRIu64,
                       walk->file_pages, walk->meta.last_page + 1);
    walk->met = mem_zero(walk->meta.last_page / 8 + 1);
    walk->report->pages = walk->meta.last_page + 1;
    if (!walk_tree(walk, TREE_FREE, &walk->meta.free, "the free list") ||
        !walk_tree(walk, TREE_MAIN, &walk->meta.main, "the main tree"))
        return false;
    /* Each commit but the first replaces pages and lists them under its own number. A state without that
     * record is an older one whose meta page says more than is true. */
    if (walk->meta.transaction > 1 && walk->last_freed != walk->meta.transaction)
        return damaged(walk, "the last commit is number %" PRIu64 ", but the free list ends with %" PRIu64,
                       walk->meta.transaction, walk->last_freed);
    uint64_t known = 2 + walk->report->reachable + walk->report->free;
    if (known != walk->report->pages)
        return damaged(walk, "%" PRIu64 " pages are neither free nor reachable", walk->report->pages - known);
    return true;
}

int pages_check(const char *data_mdb_path, struct pages_report *report, struct fault *fault)
{
    struct walk walk = {.report = report};
    memset(report, 0, sizeof *report);
    walk.fd = open(data_mdb_path, O_RDONLY | O_CLOEXEC);
    if (walk.fd < 0) return fault_errno(fault, errno, "%s: cannot open", data_mdb_path);
    report->ok = check_all(&walk);
    close(walk.fd);
    mem_free(walk.met);
    mem_free(walk.data);
    for (int kind = 0; kind < 3; kind++)
        for (int level = 0; level < DEPTH_MAX; level++) mem_free(walk.buffers[kind][level]);
    if (walk.error) return fault_errno(fault, walk.error, "%s: cannot read", data_mdb_path);
    return 0;
}

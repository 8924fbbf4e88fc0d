/* peek.h: the entries of a table, read where Lua keeps them. Inside vm/ only.
 *
 *     struct peek_walk walk = peek_walk(lua_topointer(lua, index));
 *     while (peek_next(&walk))
 *         if (walk.key) ... peek_text(walk.key), walk.value ...
 *
 * Lua's interface has one way to walk a table: lua_next finds each key again by its hash before it goes on,
 * and key and value cross the stack. A document is looked at after every event, and that was half of a
 * rebuild. So the few structures that a walk meets are described here as Lua 5.4.3 and later have them in
 * memory. peek_check proves it for the Lua that runs, when a state is made.
 *
 * Nothing is written, nothing is marked: what is borrowed here is valid until Lua code, or anything that
 * allocates, runs in the state. Threads: those of the Lua state. Owns: nothing. */
#ifndef LORE_VM_PEEK_H
#define LORE_VM_PEEK_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#if LUA_VERSION_RELEASE_NUM < 50403 || LUA_VERSION_RELEASE_NUM >= 50500
#error "peek.h knows the tables of Lua 5.4.3 and later: see how this Lua keeps them"
#endif
_Static_assert(sizeof(lua_Integer) == 8 && sizeof(lua_Number) == 8 && sizeof(void *) == 8,
               "as peek.h describes values");

/* Lua's types with their variants, and a bit for those that are collected. */
enum peek_tag {
    PEEK_FALSE = 1,
    PEEK_TRUE = 17,
    PEEK_INTEGER = 3,
    PEEK_FLOAT = 19,
    PEEK_SHORT_TEXT = 68,
    PEEK_LONG_TEXT = 84,
    PEEK_TABLE = 69,
    PEEK_USERDATA = 71
};

union peek_content {
    const void *object; /* the same address as lua_topointer's */
    lua_Integer integer;
    lua_Number number;
};

struct peek_value {
    union peek_content content;
    uint8_t tag;
};

struct peek_node {
    union peek_content content; /* with tag: as struct peek_value */
    uint8_t tag, key_tag;
    int next;
    union peek_content key;
};

struct peek_table {
    const void *collector_next;
    uint8_t type, mark, flags, node_bits;
    unsigned item_limit;
    const struct peek_value *items;
    const struct peek_node *nodes;
    const void *last_free;
    const void *metatable;
};

struct peek_string {
    const void *collector_next;
    uint8_t type, mark, extra, short_size;
    unsigned hash;
    size_t long_size;
    char text[];
};

struct peek_userdata {
    const void *collector_next;
    uint8_t type, mark;
    unsigned short value_count;
    size_t size;
    const void *metatable;
    char data[]; /* if it has no values of Lua */
};

struct peek_walk {
    const struct peek_table *table;
    size_t item, item_count;
    const struct peek_node *node, *node_end;
    /* the entry */
    union peek_content key;
    uint8_t key_tag;
    struct peek_value value;
};

static inline bool peek_is_nil(uint8_t tag)
{
    return (tag & 0x0f) == LUA_TNIL; /* an empty slot is a variant of it */
}

/* The limit is a hint of the length if the flag says so; then the size is the power of two above it. */
static inline size_t peek_item_count(const struct peek_table *table)
{
    size_t limit = table->item_limit, size = 1;
    if (!(table->flags & 0x80) || (limit & (limit - 1)) == 0) return limit;
    while (size < limit) size *= 2;
    return size;
}

static inline struct peek_walk peek_walk(const struct peek_table *table)
{
    return (struct peek_walk){.table = table,
                              .item_count = peek_item_count(table),
                              .node = table->nodes,
                              .node_end = table->nodes + ((size_t)1 << table->node_bits)};
}

/* The next entry, in no order that means anything; false at the end. */
static inline bool peek_next(struct peek_walk *walk)
{
    while (walk->item < walk->item_count) {
        const struct peek_value *item = &walk->table->items[walk->item++];
        if (peek_is_nil(item->tag)) continue;
        walk->key.integer = (lua_Integer)walk->item;
        walk->key_tag = PEEK_INTEGER;
        walk->value = *item;
        return true;
    }
    for (; walk->node < walk->node_end; walk->node++) {
        const struct peek_node *node = walk->node;
        if (peek_is_nil(node->tag)) continue;
        walk->key = node->key;
        walk->key_tag = node->key_tag;
        walk->value = (struct peek_value){node->content, node->tag};
        walk->node++;
        return true;
    }
    return false;
}

static inline bool peek_is_text(uint8_t tag)
{
    return tag == PEEK_SHORT_TEXT || tag == PEEK_LONG_TEXT;
}

static inline struct slice peek_text(union peek_content content, uint8_t tag)
{
    const struct peek_string *string = content.object;
    return slice_make(string->text, tag == PEEK_SHORT_TEXT ? string->short_size : string->long_size);
}

static inline const struct peek_table *peek_table(union peek_content content)
{
    return content.object;
}

static inline const void *peek_userdata_metatable(union peek_content content)
{
    return ((const struct peek_userdata *)content.object)->metatable;
}

static inline const void *peek_userdata(union peek_content content)
{
    return ((const struct peek_userdata *)content.object)->data;
}

/* Whether tables, texts and userdata made in this state are what is described here. May raise (memory);
 * leaves the stack as it was. */
bool peek_check(lua_State *lua);

#endif

/* shapes_inside.h: what the files behind shapes.h share. For shapes*.c only. */
#ifndef LORE_STORE_SHAPES_INSIDE_H
#define LORE_STORE_SHAPES_INSIDE_H

#include "base/arena.h"
#include "base/map.h"
#include "store/shapes.h"

struct shapes_type {
    struct shape_type declared; /* its shapes are items */
    struct shape *items;
    size_t item_max;
    struct map by_text;   /* text -> index in items, and one */
    size_t last;          /* index of the shape found last */
    size_t whole, fields; /* items of each kind */
    size_t size;          /* bytes of the texts of whole shapes */
};

struct shapes_numbers { /* of names */
    uint32_t aggregate, type, version;
};

struct shapes_alias {
    struct shapes_numbers numbers;
    struct shapes_type *type; /* NULL: the host's own, not counted */
};

struct shapes {
    char log_id[37]; /* "": of no log yet */
    uint64_t epoch, position;
    struct hash chain; /* of the record that ends at position */
    struct arena arena;
    struct shapes_type **types;
    size_t type_count, type_max;
    bool sorted;
    struct map by_key;          /* "context" 0 "type" 0 version -> struct shapes_type */
    struct map by_numbers;      /* -> struct shapes_alias, of the names below */
    struct shapes_alias *alias; /* the last one */
    const struct names *names;
    struct buf scratch;
};

/* Found or made. */
struct shapes_type *shapes_make_type(struct shapes *shapes, struct slice context, struct slice type,
                                     uint32_t version);
/* One that is not there yet. */
struct shape *shapes_make_shape(struct shapes *shapes, struct shapes_type *type, struct slice text,
                                bool is_field);

#endif

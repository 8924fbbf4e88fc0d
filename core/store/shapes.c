/* Counting, and following the log. The file is shapes_file.c's. */
#include "store/shapes.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/shapes_inside.h"

enum { FOLLOW_EVENTS = 20000 }; /* of one cursor: cursors are short */

struct shapes *shapes_new(void)
{
    return MEM_NEW(struct shapes);
}

static void release_types(struct shapes *shapes)
{
    for (size_t at = 0; at < shapes->type_count; at++) {
        map_release(&shapes->types[at]->by_text);
        mem_free(shapes->types[at]->items);
    }
    mem_free(shapes->types);
    map_release(&shapes->by_key);
    map_release(&shapes->by_numbers);
    buf_release(&shapes->scratch);
    arena_release(&shapes->arena);
}

void shapes_free(struct shapes *shapes)
{
    if (!shapes) return;
    release_types(shapes);
    mem_free(shapes);
}

void shapes_begin(struct shapes *shapes, const struct engine_head *head)
{
    release_types(shapes);
    *shapes = (struct shapes){.epoch = head->epoch};
    memcpy(shapes->log_id, head->log_id, sizeof shapes->log_id);
}

/* --- the tables --- */

static struct shapes_type *find_type(struct shapes *shapes, struct slice context, struct slice type,
                                     uint32_t version)
{
    buf_clear(&shapes->scratch);
    buf_put_slice(&shapes->scratch, context);
    buf_put_byte(&shapes->scratch, 0);
    buf_put_slice(&shapes->scratch, type);
    buf_put_byte(&shapes->scratch, 0);
    buf_put(&shapes->scratch, &version, sizeof version);
    return map_find(&shapes->by_key, buf_slice(&shapes->scratch));
}

struct shapes_type *shapes_make_type(struct shapes *shapes, struct slice context, struct slice type,
                                     uint32_t version)
{
    struct shapes_type *found = find_type(shapes, context, type, version);
    if (found) return found;
    found = arena_zero(&shapes->arena, sizeof *found);
    found->declared.context = arena_copy(&shapes->arena, context);
    found->declared.type = arena_copy(&shapes->arena, type);
    found->declared.version = version;
    if (shapes->type_count == shapes->type_max) {
        shapes->type_max = shapes->type_max ? 2 * shapes->type_max : 32;
        shapes->types = mem_resize(shapes->types, shapes->type_max * sizeof *shapes->types);
    }
    shapes->types[shapes->type_count++] = found;
    shapes->sorted = false;
    map_put(&shapes->by_key, arena_copy(&shapes->arena, buf_slice(&shapes->scratch)), found);
    return found;
}

struct shape *shapes_make_shape(struct shapes *shapes, struct shapes_type *type, struct slice text,
                                bool is_field)
{
    struct shape_type *declared = &type->declared;
    if (declared->shape_count == type->item_max) {
        type->item_max = type->item_max ? 2 * type->item_max : 4;
        type->items = mem_resize(type->items, type->item_max * sizeof *type->items);
        declared->shapes = type->items;
    }
    struct shape *shape = &type->items[declared->shape_count++];
    *shape = (struct shape){.text = arena_copy(&shapes->arena, text), .is_field = is_field};
    if (is_field)
        type->fields++;
    else
        type->whole++, type->size += text.size;
    /* The index behind one: the items move. */
    map_put(&type->by_text, shape->text, (void *)(uintptr_t)declared->shape_count);
    return shape;
}

/* The texts of fields and of whole shapes are never the same: the latter begin with a brace. */
static struct shape *find_shape(struct shapes_type *type, struct slice text)
{
    size_t last = type->last;
    if (last < type->declared.shape_count && slice_equal(type->items[last].text, text))
        return &type->items[last];
    size_t index = (size_t)(uintptr_t)map_find(&type->by_text, text);
    if (!index) return NULL;
    type->last = index - 1;
    return &type->items[index - 1];
}

static void count_shape(struct shape *shape, uint64_t position)
{
    if (!shape->events++) shape->first = position;
    shape->last = position;
}

struct by_field {
    struct shapes *shapes;
    struct shapes_type *type;
    uint64_t position;
};

static void count_field(void *user, struct slice text)
{
    struct by_field *by = user;
    struct shape *shape = find_shape(by->type, text);
    if (!shape && by->type->fields < LIMIT_SHAPE_FIELDS_MAX)
        shape = shapes_make_shape(by->shapes, by->type, text, true);
    if (shape) count_shape(shape, by->position);
}

/* --- counting --- */

/* Where events of these names are counted; NULL: nowhere. */
static struct shapes_type *type_of(struct shapes *shapes, const struct record *record,
                                   const struct record_event *event)
{
    struct shapes_numbers numbers = {record->aggregate, event->type, event->type_version};
    struct shapes_alias *alias = shapes->alias;
    if (alias && memcmp(&alias->numbers, &numbers, sizeof numbers) == 0) return alias->type;
    alias = map_find(&shapes->by_numbers, slice_make(&numbers, sizeof numbers));
    if (!alias) {
        struct slice aggregate = names_get(record->names, record->aggregate);
        struct slice name = names_get(record->names, event->type);
        const char *slash = aggregate.size ? memchr(aggregate.data, '/', aggregate.size) : NULL;
        size_t size = slash ? (size_t)(slash - aggregate.data) : aggregate.size;
        alias = arena_zero(&shapes->arena, sizeof *alias);
        alias->numbers = numbers;
        if (name.size && name.data[0] != '$')
            alias->type =
                shapes_make_type(shapes, slice_make(aggregate.data, size), name, event->type_version);
        map_put(&shapes->by_numbers, slice_make(&alias->numbers, sizeof numbers), alias);
    }
    shapes->alias = alias;
    return alias->type;
}

static void add_event(struct shapes *shapes, struct shapes_type *type, const struct record_event *event)
{
    struct shape_type *declared = &type->declared;
    struct shape *shape = NULL;
    buf_clear(&shapes->scratch);
    if (shape_put(&shapes->scratch, event->data)) {
        struct slice text = buf_slice(&shapes->scratch);
        shape = find_shape(type, text);
        if (!shape && type->whole < LIMIT_SHAPES_MAX && type->size + text.size <= LIMIT_SHAPES_SIZE_MAX)
            shape = shapes_make_shape(shapes, type, text, false);
    }
    if (!declared->events++) declared->first = event->position;
    declared->last = event->position;
    if (shape) {
        count_shape(shape, event->position);
        return;
    }
    declared->beyond++;
    struct by_field by = {shapes, type, event->position};
    shape_put_fields(event->data, count_field, &by);
}

void shapes_add(struct shapes *shapes, const struct record *record)
{
    struct record_event event = {0};
    if (record->names != shapes->names) {
        map_release(&shapes->by_numbers);
        shapes->alias = NULL;
        shapes->names = record->names;
    }
    if (record->kind != RECORD_ERASED)
        while (record_next_event(record, &event)) {
            struct shapes_type *type = type_of(shapes, record, &event);
            if (type) add_event(shapes, type, &event);
        }
    if (!record->event_count) return;
    shapes->position = record->first_position + record->event_count - 1;
    shapes->chain = record->chain;
}

uint64_t shapes_position(const struct shapes *shapes)
{
    return shapes->position;
}

struct hash shapes_chain(const struct shapes *shapes)
{
    return shapes->chain;
}

size_t shapes_count(const struct shapes *shapes)
{
    return shapes->type_count;
}

static int compare_types(const void *a, const void *b)
{
    const struct shape_type *one = &(*(struct shapes_type *const *)a)->declared;
    const struct shape_type *other = &(*(struct shapes_type *const *)b)->declared;
    int order = slice_compare(one->context, other->context);
    if (order == 0) order = slice_compare(one->type, other->type);
    return order ? order : (one->version > other->version) - (one->version < other->version);
}

const struct shape_type *shapes_at(struct shapes *shapes, size_t index)
{
    if (!shapes->sorted && shapes->type_count > 1)
        qsort(shapes->types, shapes->type_count, sizeof *shapes->types, compare_types);
    shapes->sorted = true;
    return &shapes->types[index]->declared;
}

/* --- following the log --- */

bool shapes_fits(const struct shapes *shapes, const struct engine_head *head)
{
    return strcmp(shapes->log_id, head->log_id) == 0 && shapes->epoch == head->epoch &&
           shapes->position <= head->position;
}

/* Whether the record that ends at its position has its chain. 1, 0; -1 fault. */
static int is_counted(const struct shapes *shapes, struct engine_cursor *cursor, struct fault *fault)
{
    struct record record;
    if (shapes->position == 0) return 1;
    int more = engine_cursor_next(cursor, &record, fault);
    if (more <= 0) return more;
    return record.first_position + record.event_count - 1 == shapes->position &&
           hash_equal(&record.chain, &shapes->chain);
}

static int follow(struct shapes *shapes, struct engine_cursor *cursor, uint64_t events_max,
                  struct fault *fault)
{
    struct record record;
    uint64_t begin = shapes->position;
    int more;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1) {
        shapes_add(shapes, &record);
        if (shapes->position - begin >= events_max) break;
    }
    return more;
}

int shapes_follow(struct shapes *shapes, struct engine *engine, uint64_t events_max, struct fault *fault)
{
    struct engine_head head = engine_head(engine);
    struct engine_cursor *cursor;
    if (!shapes_fits(shapes, &head)) shapes_begin(shapes, &head);
    for (uint64_t left = events_max; left;) {
        uint64_t before = shapes->position;
        if (engine_read(engine, before ? before : 1, &cursor, fault) < 0) return -1;
        int more = is_counted(shapes, cursor, fault);
        bool cut = more == 0;
        if (more == 1) more = follow(shapes, cursor, left < FOLLOW_EVENTS ? left : FOLLOW_EVENTS, fault);
        engine_cursor_close(cursor);
        if (more < 0) return -1;
        if (cut) {
            shapes_begin(shapes, &head);
            continue;
        }
        if (more == 0) return 0;
        uint64_t done = shapes->position - before;
        left -= done < left ? done : left;
    }
    return 1;
}

int shapes_of_log(struct engine *engine, const char *path, const atomic_bool *stop, struct shapes **result,
                  struct fault *fault)
{
    struct shapes *shapes = NULL;
    struct fault unread;
    int more = path ? shapes_load(path, &shapes, &unread) : 0;
    if (more < 0) say_debug("%s: counted again from the log", unread.text);
    if (more <= 0) shapes = shapes_new();
    while ((more = shapes_follow(shapes, engine, FOLLOW_EVENTS, fault)) == 1)
        if (stop && atomic_load(stop)) {
            more = fault_set(fault, FAULT_UNAVAILABLE, "counting what is in the log was stopped");
            break;
        }
    if (more < 0) {
        shapes_free(shapes);
        return -1;
    }
    *result = shapes;
    return 0;
}

/* shapes.h: which events there are in the log: for each type, version of the type and shape how many, the
 * first and the last. So what new contracts would read of all that is stored is asked of a few examples.
 *
 * A shape is a value's form as text, in the order of its fields:
 *
 *     {amount:decimal,lines:[{n:integer,note?:text}],paid_at:time,rates:{*:float|integer},tags:[text]}
 *
 *   nil boolean integer float text time (a text as contracts make times) decimal
 *   {…}    a record: fields with names; name?: in some of a list's elements only
 *   {*:…}  a map: keys that are no names of fields; what its values are, taken together
 *   […]    a list: what its elements are, taken together; [] an empty one
 *   a|b    both occur
 *   …      deeper than LIMIT_SHAPE_DEPTH_MAX: not looked at
 *
 * What would be too many shapes of one type (limit.h) is counted by field: "amount:decimal" stands for all
 * further events that have this field at their top with this kind, and an event counts once for each of its
 * fields.
 *
 * The counts are derived: one small file beside the log, written whole and renamed, without fsync, with a
 * checksum. It says for which log, epoch, position and chain it counts; what does not fit the log, is
 * damaged or missing is counted again from the log, at some millions of events a second. Erased records are
 * not counted: whoever erases removes the file. The host's own events ("$Sent") are not counted.
 *
 *     shapes_of_log(engine, "data/shapes", &stop, &shapes, &fault);      the file, and the log behind it
 *     for (size_t at = 0; at < shapes_count(shapes); at++) ... shapes_at(shapes, at) ...
 *
 * Threads: one at a time; several may count the same log, each for itself. Owns: all texts, until
 * shapes_free or the next event that is counted. */
#ifndef LORE_STORE_SHAPES_H
#define LORE_STORE_SHAPES_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "codec/record.h"
#include "store/engine.h"

struct shapes;

struct shape {
    struct slice text;
    bool is_field;        /* "name:kind" of events beyond the bounds */
    uint64_t events;      /* so many */
    uint64_t first, last; /* their positions */
};

struct shape_type {
    struct slice context, type; /* "billing", "BillClosed" */
    uint32_t version;
    uint64_t events;
    uint64_t first, last;
    uint64_t beyond; /* of events: counted by field */
    const struct shape *shapes;
    size_t shape_count; /* shapes by their first event, then fields by theirs */
};

struct shapes *shapes_new(void);
void shapes_free(struct shapes *shapes);
/* Forgets all; from now on it counts this log. */
void shapes_begin(struct shapes *shapes, const struct engine_head *head);
/* Counts the events of a record, which follows the one before it. */
void shapes_add(struct shapes *shapes, const struct record *record);
/* Up to here it counts. */
uint64_t shapes_position(const struct shapes *shapes);
size_t shapes_count(const struct shapes *shapes);
/* In order of context, type, version. */
const struct shape_type *shapes_at(struct shapes *shapes, size_t index);

/* Counts on from where it stands, at most about events_max events; begins anew when the log is another one,
 * of another epoch, or does not have what was counted. 1: there is more, 0: the head of the log, -1: fault
 * (of engine_read). */
int shapes_follow(struct shapes *shapes, struct engine *engine, uint64_t events_max, struct fault *fault);

/* Faults: DISK, PERMISSION. */
int shapes_save(struct shapes *shapes, const char *path, struct fault *fault);
/* 1: *shapes is what was saved, 0: there is none; faults: CORRUPT (it is not what was written), DISK,
 * PERMISSION. Whether it fits a log is asked by shapes_follow. */
int shapes_load(const char *path, struct shapes **shapes, struct fault *fault);
/* Of the bytes of such a file; false: it is not what was written. */
bool shapes_read(struct slice bytes, struct shapes **shapes);
/* What the log has by now, with the help of the file at path (NULL: without). Faults: of engine_read;
 * UNAVAILABLE when *stop (may be NULL) became true. */
int shapes_of_log(struct engine *engine, const char *path, const atomic_bool *stop, struct shapes **shapes,
                  struct fault *fault);
/* The same counts, mark and all. */
bool shapes_equal(struct shapes *a, struct shapes *b);
/* Whether it counts this log, as its head says it to be now. */
bool shapes_fits(const struct shapes *shapes, const struct engine_head *head);
struct hash shapes_chain(const struct shapes *shapes); /* of the record that ends at its position */

/* --- one shape --- */

/* Appends the shape of a value; false (and nothing appended): it has too many fields, or is damaged. */
bool shape_put(struct buf *text, struct slice value);

/* Calls each with "name:kind" of every field at the top of a record. False: it is damaged. */
bool shape_put_fields(struct slice value, void (*each)(void *user, struct slice text), void *user);

enum shape_kind { /* bits */
                  SHAPE_NIL = 1,
                  SHAPE_BOOLEAN = 2,
                  SHAPE_INTEGER = 4,
                  SHAPE_FLOAT = 8,
                  SHAPE_TEXT = 16,
                  SHAPE_TIME = 32,
                  SHAPE_DECIMAL = 64,
                  SHAPE_LIST = 128,
                  SHAPE_MAP = 256,
                  SHAPE_RECORD = 512,
                  SHAPE_DEEP = 1024
};

/* Calls each with every place in a shape: path "lines[].note", "rates{}", kinds of what is there as bits and
 * as text ("float|integer"), whether it is missing in some. Containers before what is in them. Of a shape
 * that is_field: the one. False: the text is no shape; what was told of it
 * means nothing. */
bool shape_each(struct slice text,
                void (*each)(void *user, struct slice path, unsigned int kinds, struct slice kind,
                             bool optional),
                void *user);
/* Whether a path is inside of another: "lines[].note" of "lines[]" and "lines". */
bool shape_is_below(struct slice path, struct slice parent);

#endif

/* seek_event.h: events as the functions of a query see them: { type, at, … envelope …, data = { … } }, of
 * which only that is decoded which is read. Inside vm/ only.
 *
 *     struct seek_reader *reader = seek_reader_push(lua, source);     one for each Lua state, kept on its
 * stack or seek_reader_take(reader, &hit);                                 in the registry; then each event
 * in turn: seek_event_push(reader);                                        e seek_event_field(reader, &path,
 * &value);                        or a field, without Lua seek_reader_end(reader); when the hit goes
 *
 * An event that a function keeps stays valid: it is read from the log again when it is asked for something
 * later. It cannot be changed. To type() it is a table, and so it is to whatever encodes it.
 *
 * Threads: those of the Lua state. Owns: what it read again; lives as long as the Lua state. */
#ifndef LORE_VM_SEEK_EVENT_H
#define LORE_VM_SEEK_EVENT_H

#include "vm/seek_source.h"
#include "vm/seek_value.h"
#include "vm/vm.h"

struct seek_reader;

/* A field of an event or of another row, by name: "type", "data.amount", "amount" (of data), and of an event
 * "day", "month" and "year", which are the first 10, 7 and 4 characters of at. */
struct seek_path {
    int field;          /* of an event's envelope; or data */
    struct slice event; /* what follows "data." */
    struct slice whole; /* as given: for rows that are no events */
};

/* Borrows the text. False: it is empty, or has an empty part. */
bool seek_path_read(struct slice text, struct seek_path *path);

/* Pushes it. source (NULL: none, then an event of an earlier hit is an error) is borrowed. */
struct seek_reader *seek_reader_push(lua_State *lua, const struct seek_source *source);
void seek_reader_take(struct seek_reader *reader, const struct seek_hit *hit);
/* Whether it still is the one at hand. */
bool seek_reader_has(const struct seek_reader *reader, const struct seek_hit *hit);
void seek_reader_end(struct seek_reader *reader);

/* The event of the hit at hand, as a value of its own. */
void seek_event_push(lua_State *lua, struct seek_reader *reader);
/* One that a row of bytes stands for, see seek_event_pack. */
void seek_event_push_packed(lua_State *lua, struct seek_reader *reader, struct slice packed);
enum { SEEK_EVENT_PACKED_SIZE = 24 };
/* What finds the event again: its position and a part of the chain of its record. */
void seek_event_pack(const struct seek_reader *reader, char bytes[SEEK_EVENT_PACKED_SIZE]);
/* Whether the value is an event; then packs it. */
bool seek_event_pack_at(lua_State *lua, int index, char bytes[SEEK_EVENT_PACKED_SIZE]);
/* A field of the hit at hand; texts are borrowed until the next field or hit. */
void seek_event_field(struct seek_reader *reader, const struct seek_path *path, struct seek_value *value);
/* A number: events that have the same have the same field. False: there is none at hand. */
bool seek_event_tag(const struct seek_reader *reader, const struct seek_path *path, uint64_t *tag);
/* The same pushed, or nil. */
void seek_event_push_field(lua_State *lua, struct seek_reader *reader, const struct seek_path *path);

/* Of the event at index, by path. */
void seek_event_push_path(lua_State *lua, int index, const struct seek_path *path);
/* If the value at index is an event or the data of one, pushes the plain table that it stands for. */
bool seek_event_push_table(lua_State *lua, int index);
/* Whether the value is an event of a query, or its data. */
bool seek_event_is(lua_State *lua, int index);
/* type() of scripts: "table" for events. Into the table on top of the stack. */
void seek_event_add_type(lua_State *lua);

#endif

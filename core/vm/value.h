/* value.h: plain data between the Lua stack and MessagePack. Inside vm/ only.
 *
 * Plain data: strings (UTF-8), integers, finite floats, booleans, decimals, lists 1..n without holes, maps
 * with string keys. An empty table is a map; an empty list is an empty table with the list mark (a metatable
 * that goes away with the first element: so only empty tables ever carry it and a value read back from disk
 * behaves exactly like the one that stayed in memory). `list {}`, decoding [] and a table.remove that empties
 * a table set it. Keys are encoded in byte order. nil fields do not exist.
 *
 * These functions may raise Lua errors (memory, not plain): call them inside vm_call or vm_protected with
 * buffers that outlive the error (owned by the caller's caller, or a userdata). */
#ifndef LORE_VM_VALUE_H
#define LORE_VM_VALUE_H

#include <lua.h>

#include "base/buf.h"
#include "base/slice.h"
#include "codec/mp.h"

/* Pushes one decoded value. Raises CORRUPT on damaged bytes. MP_NIL pushes nil (and a map's nil fields are
 * left out). */
void value_push(lua_State *lua, struct slice bytes);
/* Reads one value from a reader. The caller has room for four more on the stack. */
void value_push_next(lua_State *lua, struct mp_reader *reader);
/* Appends the value at index to out. what: the path's first part for errors ("state", "totals.a.b[3]: a
 * function is no plain data"). Raises SCRIPT for what is not plain data, TOO_LARGE above size_max. */
void value_encode(lua_State *lua, int index, struct buf *out, const char *what, size_t size_max);
/* Pushes a deep copy of plain data (the list mark included). */
void value_copy(lua_State *lua, int index);

/* Decimals (decimal.c): 16 bytes, IEEE decimal128. */
bool value_is_decimal(lua_State *lua, int index);
void value_push_decimal(lua_State *lua, struct slice plain); /* raises if it is no decimal */
/* Plain notation ("1.20") into text (64 bytes); returns its size. */
int value_decimal_text(lua_State *lua, int index, char *text);
/* A float or integer at index becomes a decimal (a float by its shortest digits), pushed. */
void value_number_to_decimal(lua_State *lua, int index);

/* Sets, finds or takes away the list mark of an empty table. C code that writes with lua_rawset* into a table
 * that may be marked drops the mark first (lua_settable does it by itself). */
void value_mark_list(lua_State *lua, int index);
bool value_is_list_mark(lua_State *lua, int index);
void value_drop_mark(lua_State *lua, int index);
/* From vm_new: the metatable of the mark. */
void value_open(lua_State *lua);

/* A view of a table that cannot be changed (state in execute); nested tables too. pairs, ipairs, #, next,
 * table.concat and table.unpack work on it. value_encode and value_copy see through it. Pushes it. */
void value_push_readonly(lua_State *lua, int index);

#endif

/* seek_row.h: rows of a query on the Lua stack, as values, and packed. For seek_program.c and what gives rows
 * to somebody; the functions that both need are in seek_program.h.
 *
 * Packed, a row is its values one after another: 'e' and 24 bytes (seek_event_pack), or 'v', four bytes of
 * size and MessagePack.
 *
 * Threads: those of the Lua state. Owns: nothing. */
#ifndef LORE_VM_SEEK_ROW_H
#define LORE_VM_SEEK_ROW_H

#include "vm/seek_program.h"

/* Pushes the values of a packed row; row->at and count are set. */
void seek_row_unpack(struct seek_program *program, struct slice packed, struct seek_row *row);
/* Appends one value as a row of its own. Not for OTHER. */
void seek_row_pack_value(struct buf *out, const struct seek_value *value);
/* The value at index, borrowed from the stack or the program until the next one. */
void seek_row_value(struct seek_program *program, int index, struct seek_value *value);
/* Pushes what is at the path in the row, or nil. */
void seek_row_push_path(struct seek_program *program, const struct seek_path *path, struct seek_row *row);

#endif

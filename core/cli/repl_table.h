/* repl_table.h: maps with the same fields as an aligned table; rows may go on coming after the first were
 * put.
 *
 *     struct repl_table *table = repl_table_new();
 *     repl_table_add(table, SLICE_NONE, bytes);           bytes: MessagePack of a map
 *     repl_table_put(table, &page, &lines);               as often as there is something to show
 *     repl_table_end(table, &page);                       says which columns had no room
 *     repl_table_free(table);
 *
 * Columns are those of the rows that were there at the first put; numbers stand to the right, cells too wide
 * are cut with "…". Of an event the position, time, stream, type and data are shown, not the whole envelope.
 *
 * Threads: one. Owns: copies of its cells. */
#ifndef LORE_CLI_REPL_TABLE_H
#define LORE_CLI_REPL_TABLE_H

#include <stdbool.h>

#include "cli/page.h"

struct repl_table;

struct repl_table *repl_table_new(void);
void repl_table_free(struct repl_table *table);

/* Whether rows with these fields read well below each other: all of them are maps, and half of the cells or
 * more would be filled. bytes: a list, or a map whose values are the rows. */
bool repl_table_suits(struct slice bytes);
/* key: of a grouped result, as the first column; SLICE_NONE: without. A value that is no map is the only cell
 * of its row, behind the key. */
void repl_table_add(struct repl_table *table, struct slice key, struct slice bytes);
/* Puts the rows that were added since, the head before the first of them. */
void repl_table_put(struct repl_table *table, struct page *page, size_t *lines_left);
void repl_table_end(struct repl_table *table, struct page *page);

#endif

/* repl_save.h: results into a file of the user: CSV or NDJSON, by the file's ending.
 *
 *     struct repl_save *save;
 *     if (repl_save_open("bills.csv", false, &save, &fault) < 0) ...
 *     repl_save_row(save, json);                           as often as there are rows
 *     if (repl_save_finish(save, &done, &fault) < 0) ...   or repl_save_abandon(save)
 *
 * The file is there when it is whole: until then it grows beside its name and is removed if it does not come
 * to an end. CSV is that of RFC 4180: columns in the order they are first seen, fields of fields as
 * "data.amount", lists as JSON, no value as nothing and an empty text as "".
 *
 * Threads: one. Owns: the file until it is finished. */
#ifndef LORE_CLI_REPL_SAVE_H
#define LORE_CLI_REPL_SAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct repl_save;

struct repl_saved {
    uint64_t rows;
    uint64_t formulas; /* texts that a spreadsheet would take for a formula: they begin with = + - or @ */
};

/* "a.csv", "a.ndjson". */
bool repl_save_is_name(struct slice path);
/* overwrites: a file of the name is replaced, else it is a fault. */
int repl_save_open(const char *path, bool overwrites, struct repl_save **save, struct fault *fault);
/* A row as JSON. What fails, as a full disk does, is told by repl_save_finish; false: no more can be written.
 */
bool repl_save_row(struct repl_save *save, struct slice json);
/* A value (MessagePack) as rows: the items of a list, the groups of a grouped result, else itself;
 * nil: none. */
bool repl_save_value(struct repl_save *save, struct slice bytes);
/* No row came: there is nothing to write. */
bool repl_save_is_empty(const struct repl_save *save);
bool repl_save_has_failed(const struct repl_save *save);
int repl_save_finish(struct repl_save *save, struct repl_saved *saved, struct fault *fault);
void repl_save_abandon(struct repl_save *save);

/* A text as a file at once. */
int repl_save_text(const char *path, bool overwrites, struct slice text, struct fault *fault);

#endif

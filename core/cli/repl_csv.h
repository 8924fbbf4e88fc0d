/* repl_csv.h: rows of NDJSON as CSV (RFC 4180): read twice, since only all of them tell the columns.
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_REPL_CSV_H
#define LORE_CLI_REPL_CSV_H

#include <stdint.h>
#include <stdio.h>

/* rows: read from its beginning; *formulas: how many texts begin like a formula of a spreadsheet. Returns 0
 * or an errno. */
int repl_csv_write(FILE *rows, FILE *file, uint64_t *formulas);

#endif

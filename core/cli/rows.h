/* rows.h: rows of NDJSON or CSV, plain or gzip, from a file or stdin, as MessagePack maps.
 *
 * CSV is RFC 4180 with a header line: every value is text; an empty field without quotes is absent. NDJSON:
 * one object a line; empty lines are skipped but counted, so that a row's number is its line (CSV: its record
 * behind the header). A byte order mark is skipped. Where a CSV quote is never closed, that line alone is
 * refused and reading goes on with the next.
 *
 *     struct rows *rows;
 *     if (rows_open(&options, &rows, &fault) < 0) ...
 *     while ((got = rows_next(rows, &row, &fault)) != 0) ...
 *
 * Threads: one. Owns: the open file. */
#ifndef LORE_CLI_ROWS_H
#define LORE_CLI_ROWS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

struct rows;

struct rows_options {
    const char *path;   /* "-": stdin */
    const char *format; /* "ndjson", "csv"; NULL: by the file's name, else by its first byte */
    char separator;     /* of CSV; 0: comma */
};

struct row {
    uint64_t number;     /* from 1 */
    struct slice data;   /* MessagePack map; borrowed until the next call */
    struct slice source; /* the line as it was read; if it is too large, its beginning */
};

/* Faults: NOT_FOUND, PERMISSION, MALFORMED (format unknown, no CSV header). */
int rows_open(const struct rows_options *options, struct rows **rows, struct fault *fault);
/* 1: a row; 0: the end; -1: this row cannot be read (MALFORMED, TOO_LARGE; row->number and source are set,
 * the next call goes on) or the file cannot (any other code: the end). */
int rows_next(struct rows *rows, struct row *row, struct fault *fault);
/* How much of the file was read, 0..1; negative if unknown. */
double rows_fraction(const struct rows *rows);
void rows_close(struct rows *rows);

#endif

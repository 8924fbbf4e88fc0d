/* bench_table.h: rows of measurements: the median of several runs beside its limit. Threads: one. */
#ifndef LORE_CLI_BENCH_TABLE_H
#define LORE_CLI_BENCH_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_RUNS_MAX = 32, BENCH_ROWS_MAX = 32 };

struct bench_row {
    char work[80];
    const char *unit;
    double values[BENCH_RUNS_MAX]; /* sorted when it is in the table */
    size_t count;
    double limit; /* 0: none */
    const char *limit_of;
    bool less;     /* less is better */
    double p99_ms; /* 0: none */
};

struct bench_table {
    struct bench_row rows[BENCH_ROWS_MAX];
    size_t count;
};

/* Sorts the values. */
double bench_table_median(double *values, size_t count);
/* Adds a copy and says its figure on stderr; returns the median. */
double bench_table_add(struct bench_table *table, const struct bench_row *row);
/* Columns for people, or one JSON object a line, on stdout. */
void bench_table_print(const struct bench_table *table, bool json);

#endif

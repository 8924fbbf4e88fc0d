#include "cli/bench_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "codec/json.h"

static int value_order(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

double bench_table_median(double *values, size_t count)
{
    size_t half = count / 2;
    qsort(values, count, sizeof *values, value_order);
    return count % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

static double row_median(const struct bench_row *row)
{
    struct bench_row copy = *row;
    return bench_table_median(copy.values, copy.count);
}

/* How near the figure comes to its limit; 1 is as good as it. */
static double row_ratio(const struct bench_row *row)
{
    double median = row_median(row);
    if (row->limit == 0 || median == 0) return 0;
    return row->less ? row->limit / median : median / row->limit;
}

/* Three digits, or a whole number with commas. */
static void number_text(double value, char text[32])
{
    if (value < 100) {
        snprintf(text, 32, "%.3g", value);
        return;
    }
    char digits[32];
    int count = snprintf(digits, sizeof digits, "%.0f", value), size = 0;
    for (int at = 0; at < count; at++) {
        if (at && (count - at) % 3 == 0) text[size++] = ',';
        text[size++] = digits[at];
    }
    text[size] = 0;
}

double bench_table_add(struct bench_table *table, const struct bench_row *row)
{
    CHECK(table->count < BENCH_ROWS_MAX && row->count > 0);
    struct bench_row *added = &table->rows[table->count++];
    *added = *row;
    double middle = bench_table_median(added->values, added->count);
    char median[32], low[32], high[32];
    number_text(middle, median);
    number_text(added->values[0], low);
    number_text(added->values[added->count - 1], high);
    fprintf(stderr, "  %s: %s %s (%s to %s)\n", added->work, median, added->unit, low, high);
    return middle;
}

static void row_print_json(const struct bench_row *row)
{
    struct buf line = {0};
    buf_put_text(&line, "{\"work\":");
    json_put_text(&line, slice_of(row->work));
    buf_put_text(&line, ",\"unit\":");
    json_put_text(&line, slice_of(row->unit));
    buf_format(&line, ",\"figure\":%.6g,\"low\":%.6g,\"high\":%.6g,\"runs\":%zu", row_median(row),
               row->values[0], row->values[row->count - 1], row->count);
    if (row->limit != 0) {
        buf_format(&line, ",\"limit\":%.6g,\"ratio\":%.4g,\"limit_of\":", row->limit, row_ratio(row));
        json_put_text(&line, slice_of(row->limit_of));
    }
    if (row->p99_ms != 0) buf_format(&line, ",\"p99_ms\":%.3f", row->p99_ms);
    printf("%.*s}\n", SLICE_ARGS(buf_slice(&line)));
    buf_release(&line);
}

static void row_print(const struct bench_row *row)
{
    char median[32], limit[32], figure[96], beside[96] = "";
    number_text(row_median(row), median);
    number_text(row->limit, limit);
    int size = snprintf(figure, sizeof figure, "%s %s", median, row->unit);
    if (row->p99_ms != 0) snprintf(figure + size, sizeof figure - (size_t)size, ", p99 %.1f ms", row->p99_ms);
    if (row->limit != 0)
        snprintf(beside, sizeof beside, "%.2f of %s %s", row_ratio(row), limit, row->limit_of);
    printf("%-52s %-28s %s\n", row->work, figure, beside);
}

void bench_table_print(const struct bench_table *table, bool json)
{
    for (size_t at = 0; at < table->count; at++)
        if (json)
            row_print_json(&table->rows[at]);
        else
            row_print(&table->rows[at]);
}

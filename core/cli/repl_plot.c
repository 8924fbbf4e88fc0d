#include "cli/repl_plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/repl_value.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { PLOT_ROWS = 10, PLOT_LINE_POINTS_MIN = 8, PLOT_ROOM_MIN = 4, PLOT_NUMBER_SIZE = 32 };

struct plot_point {
    struct slice label; /* in the plot's text */
    size_t label_at;
    double value; /* NAN: none */
    char number[PLOT_NUMBER_SIZE];
};

struct plot {
    struct plot_point *points;
    size_t count;
    struct buf text;
    double low, high; /* of the scale: zero is in it */
};

/* --- reading --- */

static void plot_read_number(struct plot_point *point, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    point->value = NAN;
    memcpy(point->number, "nan", 4);
    if (mp_read(&reader, &value) < 0) return;
    if (value.kind == MP_INT) {
        point->value = (double)value.integer;
        snprintf(point->number, sizeof point->number, "%lld", (long long)value.integer);
    } else if (value.kind == MP_FLOAT) {
        point->value = value.number;
        snprintf(point->number, sizeof point->number, "%.6g", value.number);
    } else if (value.kind == MP_TEXT && text_is_decimal(value.text)) {
        char digits[128];
        snprintf(digits, sizeof digits, "%.*s", SLICE_ARGS(value.text));
        point->value = strtod(digits, NULL);
        snprintf(point->number, sizeof point->number, "%.31s", digits);
    }
}

static void plot_read_point(struct plot *plot, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value pair;
    struct slice label, number;
    if (mp_read(&reader, &pair) < 0 || pair.kind != MP_LIST || pair.count != 2 ||
        mp_take(&reader, &label) < 0 || mp_take(&reader, &number) < 0)
        return;
    struct plot_point *point = &plot->points[plot->count++];
    point->label_at = plot->text.size;
    repl_value_cell(&plot->text, label, false);
    point->label.size = plot->text.size - point->label_at;
    plot_read_number(point, number);
    if (isnan(point->value)) return;
    plot->low = fmin(plot->low, point->value);
    plot->high = fmax(plot->high, point->value);
}

static void plot_read(struct plot *plot, struct slice bytes)
{
    struct slice points, point;
    struct mp_value list;
    if (!mp_find(bytes, slice_of("points"), &points)) return;
    struct mp_reader reader = mp_reader_of(points);
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST) return;
    plot->points = mem_zero((list.count ? list.count : 1) * sizeof *plot->points);
    for (uint32_t at = 0; at < list.count && mp_take(&reader, &point) == 0; at++)
        plot_read_point(plot, point);
    for (size_t at = 0; at < plot->count; at++)
        plot->points[at].label.data = plot->text.data + plot->points[at].label_at;
}

static struct slice plot_text(struct slice bytes, const char *name)
{
    struct slice found;
    struct mp_value value;
    if (!mp_find(bytes, slice_of(name), &found)) return SLICE_NONE;
    struct mp_reader reader = mp_reader_of(found);
    return mp_read(&reader, &value) == 0 && value.kind == MP_TEXT ? value.text : SLICE_NONE;
}

/* --- bars --- */

struct plot_bars {
    size_t label, number, room; /* columns */
    size_t zero;                /* columns of the room on the left of zero */
};

static struct plot_bars plot_bars_of(const struct plot *plot, size_t width)
{
    struct plot_bars bars = {0};
    for (size_t at = 0; at < plot->count; at++) {
        size_t label = page_columns(plot->points[at].label), number = strlen(plot->points[at].number);
        if (label > bars.label) bars.label = label;
        if (number > bars.number) bars.number = number;
    }
    if (bars.label > width / 3) bars.label = width / 3;
    size_t taken = bars.label + bars.number + 2;
    bars.room = width > taken + PLOT_ROOM_MIN ? width - taken : PLOT_ROOM_MIN;
    if (plot->low < 0) bars.zero = (size_t)ceil((double)bars.room * -plot->low / (plot->high - plot->low));
    if (bars.zero == bars.room && plot->high > 0) bars.zero--;
    return bars;
}

static void plot_put_eighths(struct page *page, enum page_colour colour, size_t eighths)
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    struct buf bar = {0};
    for (size_t at = 0; at < eighths / 8; at++) buf_put_text(&bar, page->ascii ? "#" : "█");
    buf_put_text(&bar, page->ascii ? (eighths % 8 >= 4 ? "#" : "") : parts[eighths % 8]);
    page_put(page, colour, buf_slice(&bar));
    buf_release(&bar);
}

/* Only a half of a block can stand on the right of its column. */
static void plot_put_negative(struct page *page, size_t zero, size_t halves)
{
    struct buf bar = {0};
    if (halves > zero * 2) halves = zero * 2;
    page_indent(page, page->column + zero - (halves + 1) / 2);
    if (halves % 2) buf_put_text(&bar, page->ascii ? "#" : "▐");
    for (size_t at = 0; at < halves / 2; at++) buf_put_text(&bar, page->ascii ? "#" : "█");
    page_put(page, PAGE_RED, buf_slice(&bar));
    buf_release(&bar);
}

static void plot_put_bar(struct page *page, const struct plot *plot, const struct plot_bars *bars,
                         const struct plot_point *point)
{
    double share = plot->high > plot->low ? point->value / (plot->high - plot->low) : 0;
    size_t begin = bars->label + 1;
    page_cut(page, PAGE_PLAIN, point->label, 0, bars->label);
    page_indent(page, begin);
    if (point->value < 0) {
        plot_put_negative(page, bars->zero, (size_t)lround(-share * (double)bars->room * 2));
    } else if (point->value > 0) {
        page_indent(page, begin + bars->zero);
        size_t eighths = (size_t)lround(share * (double)bars->room * 8), most = (bars->room - bars->zero) * 8;
        plot_put_eighths(page, PAGE_CYAN, eighths < 1 ? 1 : eighths > most ? most : eighths);
    }
    page_indent(page, begin + bars->room + 1 + bars->number - strlen(point->number));
    page_put(page, PAGE_PLAIN, slice_of(point->number));
}

static void plot_put_bars(struct page *page, const struct plot *plot, size_t *lines_left)
{
    struct plot_bars bars = plot_bars_of(plot, page->width);
    for (size_t at = 0; at < plot->count && *lines_left; at++, --*lines_left) {
        plot_put_bar(page, plot, &bars, &plot->points[at]);
        page_end(page);
    }
}

/* --- an area over columns of the terminal --- */

/* The value of a column: on the line between two points, or the mean of those that share it. */
static double plot_line_at(const struct plot *plot, size_t column, size_t columns)
{
    double per = columns > 1 ? (double)(plot->count - 1) / (double)(columns - 1) : 0;
    double at = (double)column * per;
    size_t left = (size_t)at, right = left + 1 < plot->count ? left + 1 : left;
    if (per <= 1) {
        double share = at - (double)left;
        if (share < 1e-9) return plot->points[left].value;
        return plot->points[left].value * (1 - share) + plot->points[right].value * share;
    }
    double sum = 0;
    size_t count = 0;
    for (size_t next = left; next < plot->count && (double)next < at + per; next++) {
        if (isnan(plot->points[next].value)) continue;
        sum += plot->points[next].value;
        count++;
    }
    return count ? sum / (double)count : NAN;
}

/* The value of a column where each point is as wide as any other; the largest of those that share it. */
static double plot_step_at(const struct plot *plot, size_t column, size_t columns)
{
    size_t first = column * plot->count / columns, end = (column + 1) * plot->count / columns;
    double value = plot->points[first].value;
    for (size_t next = first + 1; next < end; next++) value = fmax(value, plot->points[next].value);
    return value;
}

static void plot_put_cell(struct page *page, double eighths)
{
    static const char *const parts[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {" ", ".", ".", ".", "#", "#", "#", "#", "#"};
    long whole = isnan(eighths) || eighths <= 0 ? 0 : eighths >= 8 ? 8 : lround(eighths);
    page_put(page, PAGE_CYAN, slice_of(page->ascii ? ascii[whole] : parts[whole]));
}

static void plot_put_row(struct page *page, const char *number, size_t margin, const double *heights,
                         size_t columns, size_t below)
{
    page_indent(page, margin - strlen(number));
    page_put(page, PAGE_DIM, slice_of(number));
    page_put(page, PAGE_DIM, slice_of(page->ascii ? "|" : "│"));
    size_t last = columns;
    while (last && !(heights[last - 1] - (double)below * 8 >= 0.5)) last--;
    for (size_t at = 0; at < last; at++) plot_put_cell(page, heights[at] - (double)below * 8);
    page_end(page);
}

/* Labels of the first, the last and, where there is room, of a point in the middle. */
static void plot_put_labels(struct page *page, const struct plot *plot, size_t margin, size_t columns)
{
    struct slice first = plot->points[0].label, last = plot->points[plot->count - 1].label,
                 middle = plot->points[plot->count / 2].label;
    size_t begin = margin + 1, end = begin + columns, wide = page_columns(last), mid = page_columns(middle);
    page_indent(page, begin);
    page_cut(page, PAGE_DIM, first, 0, columns);
    size_t at = plot->count > 2 ? begin + plot->count / 2 * (columns - 1) / (plot->count - 1) : 0;
    if (at > page->column + mid / 2 + 2 && at + mid < end - (wide < columns ? wide : columns)) {
        page_indent(page, at - mid / 2);
        page_put(page, PAGE_DIM, middle);
    }
    if (plot->count > 1 && end >= wide && end - wide > page->column) {
        page_indent(page, end - wide);
        page_put(page, PAGE_DIM, last);
    }
    page_end(page);
}

static void plot_number(double value, char text[PLOT_NUMBER_SIZE])
{
    snprintf(text, PLOT_NUMBER_SIZE, "%.6g", value);
}

static void plot_put_area(struct page *page, const struct plot *plot, bool steps)
{
    char high[PLOT_NUMBER_SIZE], low[PLOT_NUMBER_SIZE], number[PLOT_NUMBER_SIZE];
    double span = plot->high > plot->low ? plot->high - plot->low : 1;
    plot_number(plot->high, high);
    plot_number(plot->low, low);
    size_t margin = strlen(high) > strlen(low) ? strlen(high) : strlen(low);
    size_t columns = page->width > margin + 1 + PLOT_ROOM_MIN ? page->width - margin - 1 : PLOT_ROOM_MIN;
    if (steps && plot->count < columns) columns -= columns % plot->count;
    double *heights = mem_alloc(columns * sizeof *heights);
    for (size_t at = 0; at < columns; at++) {
        double value = steps ? plot_step_at(plot, at, columns) : plot_line_at(plot, at, columns);
        heights[at] = (value - plot->low) / span * PLOT_ROWS * 8;
        if (value > plot->low && heights[at] < 1) heights[at] = 1;
    }
    size_t zero = (size_t)lround(-plot->low / span * PLOT_ROWS);
    for (size_t row = PLOT_ROWS; row-- > 0;) {
        number[0] = 0;
        if (row == PLOT_ROWS - 1)
            memcpy(number, high, sizeof number);
        else if (row == 0)
            memcpy(number, low, sizeof number);
        else if (row == zero && plot->low < 0)
            memcpy(number, "0", 2);
        plot_put_row(page, number, margin, heights, columns, row);
    }
    page_indent(page, margin);
    struct buf axis = {0};
    for (size_t at = 0; at <= columns; at++)
        buf_put_text(&axis, page->ascii ? (at ? "-" : "+") : at ? "─" : "└");
    page_put(page, PAGE_DIM, buf_slice(&axis));
    page_end(page);
    buf_release(&axis);
    plot_put_labels(page, plot, margin, columns);
    mem_free(heights);
}

void repl_plot_put(struct page *page, struct slice bytes, size_t *lines_left)
{
    struct plot plot = {0};
    struct slice kind = plot_text(bytes, "kind"), title = plot_text(bytes, "title");
    plot_read(&plot, bytes);
    if (title.size) {
        page_cut(page, PAGE_BOLD, title, 0, page->width);
        page_end(page);
    }
    if (plot.count == 0) {
        page_put(page, PAGE_DIM, slice_of("no points to draw"));
        page_end(page);
    } else if (slice_is(kind, "histogram") ||
               (slice_is(kind, "line") && plot.count >= PLOT_LINE_POINTS_MIN)) {
        plot_put_area(page, &plot, slice_is(kind, "histogram"));
    } else {
        plot_put_bars(page, &plot, lines_left);
    }
    mem_free(plot.points);
    buf_release(&plot.text);
}

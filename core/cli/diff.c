/* DESIGN. The greedy algorithm of Myers (1986). On diagonal k = x - y, furthest[k] is the greatest x that d
 * changes reach; d rises until the end of both texts is reached. Each d's row is kept, and the way is walked
 * back through the rows. That takes d * d numbers, so beyond CHANGES_MAX all that is left between the common
 * beginning and end counts as changed. */
#include "cli/diff.h"

#include <stdint.h>

#include "base/mem.h"

enum { CONTEXT = 3, CHANGES_MAX = 2000 };

struct text {
    struct slice *lines; /* with their newlines */
    size_t count;
    bool *changed; /* deleted of the old text, added of the new one */
};

static struct text read_text(struct slice bytes)
{
    struct text text = {0};
    size_t count_max = 0;
    for (const char *at = bytes.data, *end = at + bytes.size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop + 1 : end;
        if (text.count == count_max) {
            count_max = count_max ? 2 * count_max : 256;
            text.lines = mem_resize(text.lines, count_max * sizeof *text.lines);
        }
        text.lines[text.count++] = slice_make(at, (size_t)(stop - at));
        at = stop;
    }
    text.changed = mem_zero(text.count + 1);
    return text;
}

static void release_text(struct text *text)
{
    mem_free(text->lines);
    mem_free(text->changed);
}

/* --- which lines --- */

struct middle { /* between what both begin and end with */
    const struct slice *old, *new;
    int old_count, new_count;
    int *rows[CHANGES_MAX + 1]; /* rows[d][k + d], k from -d to d */
};

/* The diagonal that k is best reached from with one change more: true from k + 1, by a line that was added.
 */
static bool comes_from_above(const int *row, int d, int k)
{
    return k == -d || (k != d && row[k - 1 + d - 1] < row[k + 1 + d - 1]);
}

/* Fills row d; whether it reaches the end of both. */
static bool fill_row(struct middle *middle, int d)
{
    const int *last = d ? middle->rows[d - 1] : NULL;
    int *row = middle->rows[d] = mem_alloc((size_t)(2 * d + 1) * sizeof *row);
    bool reached = false;
    for (int k = -d; k <= d; k += 2) {
        int x = 0;
        if (last) x = comes_from_above(last, d, k) ? last[k + 1 + d - 1] : last[k - 1 + d - 1] + 1;
        int y = x - k;
        while (x < middle->old_count && y >= 0 && y < middle->new_count &&
               slice_equal(middle->old[x], middle->new[y])) {
            x++;
            y++;
        }
        row[k + d] = x;
        reached = reached || (x >= middle->old_count && y >= middle->new_count);
    }
    return reached;
}

static void walk_back(const struct middle *middle, int d, bool *deleted, bool *added)
{
    int k = middle->old_count - middle->new_count;
    for (; d > 0; d--) {
        const int *last = middle->rows[d - 1];
        if (comes_from_above(last, d, k)) {
            k++;
            added[last[k + d - 1] - k] = true;
        } else {
            k--;
            deleted[last[k + d - 1]] = true;
        }
    }
}

static void mark_middle(struct middle *middle, bool *deleted, bool *added)
{
    int d = 0;
    while (d <= CHANGES_MAX && !fill_row(middle, d)) d++;
    if (d <= CHANGES_MAX) {
        walk_back(middle, d, deleted, added);
    } else {
        memset(deleted, true, (size_t)middle->old_count);
        memset(added, true, (size_t)middle->new_count);
    }
    for (int at = 0; at <= d && at <= CHANGES_MAX; at++) mem_free(middle->rows[at]);
}

static void mark(struct text *old, struct text *new)
{
    size_t first = 0, last = 0, shorter = old->count < new->count ? old->count : new->count;
    while (first < shorter && slice_equal(old->lines[first], new->lines[first])) first++;
    while (last < shorter - first &&
           slice_equal(old->lines[old->count - 1 - last], new->lines[new->count - 1 - last]))
        last++;
    struct middle *middle = MEM_NEW(struct middle);
    middle->old = old->lines + first;
    middle->new = new->lines + first;
    middle->old_count = (int)(old->count - first - last);
    middle->new_count = (int)(new->count - first - last);
    if (middle->old_count || middle->new_count)
        mark_middle(middle, old->changed + first, new->changed + first);
    mem_free(middle);
}

/* --- as text --- */

static const char *const red = "\033[31m", *const green = "\033[32m", *const cyan = "\033[36m",
                         *const bold = "\033[1m", *const plain = "\033[0m";

struct printing {
    const struct text *old, *new;
    bool coloured;
    struct buf *out;
};

/* line may end with a newline or not. */
static void put_line(const struct printing *printing, const char *colour, char mark, struct slice line)
{
    bool ended = line.size && line.data[line.size - 1] == '\n';
    bool coloured = printing->coloured && colour;
    if (coloured) buf_put_text(printing->out, colour);
    buf_put_byte(printing->out, (uint8_t)mark);
    buf_put(printing->out, line.data, line.size - ended);
    if (coloured) buf_put_text(printing->out, plain);
    buf_put_byte(printing->out, '\n');
    if (!ended) buf_put_text(printing->out, "\\ No newline at end of file\n");
}

struct place {
    size_t old, new; /* next lines */
};

static bool at_end(const struct printing *printing, struct place place)
{
    return place.old == printing->old->count && place.new == printing->new->count;
}

static bool at_change(const struct printing *printing, struct place place)
{
    return (place.old < printing->old->count && printing->old->changed[place.old]) ||
           (place.new < printing->new->count && printing->new->changed[place.new]);
}

static struct place behind_change(const struct printing *printing, struct place place)
{
    while (place.old < printing->old->count && printing->old->changed[place.old]) place.old++;
    while (place.new < printing->new->count && printing->new->changed[place.new]) place.new ++;
    return place;
}

/* From a change on: behind the last change that is near, and the lines around it. */
static struct place end_of_hunk(const struct printing *printing, struct place place)
{
    for (;;) {
        place = behind_change(printing, place);
        struct place next = place;
        size_t same = 0;
        while (!at_end(printing, next) && !at_change(printing, next) && same <= 2 * CONTEXT) {
            next.old++;
            next.new ++;
            same++;
        }
        if (same > 2 * CONTEXT || at_end(printing, next)) {
            if (same > CONTEXT) same = CONTEXT;
            return (struct place){place.old + same, place.new + same};
        }
        place = next;
    }
}

/* "12,3": of no lines the line before them. */
static void put_range(struct buf *out, char mark, size_t from, size_t to)
{
    size_t count = to - from;
    buf_format(out, "%c%zu", mark, count ? from + 1 : from);
    if (count != 1) buf_format(out, ",%zu", count);
}

static void put_hunk(const struct printing *printing, struct place from, struct place to)
{
    struct buf *out = printing->out;
    if (printing->coloured) buf_put_text(out, cyan);
    buf_put_text(out, "@@ ");
    put_range(out, '-', from.old, to.old);
    buf_put_byte(out, ' ');
    put_range(out, '+', from.new, to.new);
    buf_put_text(out, " @@");
    if (printing->coloured) buf_put_text(out, plain);
    buf_put_byte(out, '\n');
    while (from.old < to.old || from.new < to.new) {
        if (!at_change(printing, from)) {
            put_line(printing, NULL, ' ', printing->old->lines[from.old++]);
            from.new ++;
            continue;
        }
        struct place behind = behind_change(printing, from);
        for (; from.old < behind.old; from.old++)
            put_line(printing, red, '-', printing->old->lines[from.old]);
        for (; from.new < behind.new; from.new ++)
            put_line(printing, green, '+', printing->new->lines[from.new]);
    }
}

static void put_name(const struct printing *printing, const char *mark, const char *name)
{
    if (printing->coloured) buf_put_text(printing->out, bold);
    buf_format(printing->out, "%s %s", mark, name ? name : "/dev/null");
    if (printing->coloured) buf_put_text(printing->out, plain);
    buf_put_byte(printing->out, '\n');
}

static void put_hunks(const struct printing *printing)
{
    for (struct place place = {0}; !at_end(printing, place);) {
        if (!at_change(printing, place)) {
            place.old++;
            place.new ++;
            continue;
        }
        /* Lines before a change are the same in both. What stands before it was not given out yet: changes
         * that are nearer are one hunk. */
        size_t before = place.old < CONTEXT ? place.old : CONTEXT;
        if (before > place.new) before = place.new;
        for (size_t at = 1; at <= before; at++)
            if (printing->old->changed[place.old - at] || printing->new->changed[place.new - at])
                before = at - 1;
        struct place from = {place.old - before, place.new - before};
        struct place to = end_of_hunk(printing, place);
        put_hunk(printing, from, to);
        place = to;
    }
}

void diff_put(const struct diff_side *before, const struct diff_side *after, bool coloured, struct buf *out)
{
    if (before->name && after->name && slice_equal(before->text, after->text)) return;
    struct text old = read_text(before->text), new = read_text(after->text);
    struct printing printing = {&old, &new, coloured, out};
    mark(&old, &new);
    put_name(&printing, "---", before->name);
    put_name(&printing, "+++", after->name);
    put_hunks(&printing);
    release_text(&old);
    release_text(&new);
}

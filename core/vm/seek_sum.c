#include "vm/seek_sum.h"

#include <math.h>

#include "base/mem.h"

enum { DECIMAL_DIGITS = 34 };

static int refuse(const struct seek_value *value, struct fault *fault)
{
    return fault_set(fault, FAULT_SCRIPT, "a number is expected, got %s", seek_value_name(value));
}

static int refuse_mixed(struct fault *fault)
{
    return fault_set(fault, FAULT_SCRIPT, "decimals and floats cannot be added: make both decimals");
}

static int refuse_large(struct fault *fault)
{
    return fault_set(fault, FAULT_SCRIPT, "the sum of decimals needs more than %d digits", DECIMAL_DIGITS);
}

/* --- floats --- */

static double *partials_of(struct seek_sum *sum)
{
    return sum->partials ? sum->partials : &sum->first;
}

static void keep_partial(struct seek_sum *sum, unsigned at, double value)
{
    unsigned max = sum->partials ? sum->partial_max : 1;
    if (at == max) {
        double *more = mem_alloc((size_t)max * 4 * sizeof *more);
        memcpy(more, partials_of(sum), max * sizeof *more);
        mem_free(sum->partials);
        sum->partials = more;
        sum->partial_max = (uint16_t)(max * 4);
    }
    partials_of(sum)[at] = value;
}

/* Each step leaves the rounded sum of two in one float and what rounding lost in another. */
static int add_float(struct seek_sum *sum, double value, struct fault *fault)
{
    unsigned kept = 0;
    if (!isfinite(value))
        return fault_set(fault, FAULT_SCRIPT, "a number is expected, got %s", isnan(value) ? "nan" : "inf");
    for (unsigned at = 0; at < sum->partial_count; at++) {
        double other = partials_of(sum)[at];
        if (fabs(value) < fabs(other)) {
            double swap = value;
            value = other;
            other = swap;
        }
        volatile double high = value + other, rounded = high - value, low = other - rounded;
        if (!isfinite(high)) return fault_set(fault, FAULT_SCRIPT, "the sum of floats is too large");
        if (low != 0.0) keep_partial(sum, kept++, low);
        value = high;
    }
    keep_partial(sum, kept++, value);
    sum->partial_count = (uint16_t)kept;
    return 0;
}

/* The sum of all partials, rounded once: to even where it lies between two floats. */
static double read_floats(const struct seek_sum *sum)
{
    const double *partials = sum->partials ? sum->partials : &sum->first;
    int at = sum->partial_count - 1;
    if (at < 0) return 0.0;
    double high = partials[at--], low = 0.0;
    while (at >= 0) {
        double before = high, next = partials[at--];
        volatile double total = before + next, rounded = total - before;
        high = total;
        low = next - rounded;
        if (low != 0.0) break;
    }
    if (at >= 0 && ((low < 0.0 && partials[at] < 0.0) || (low > 0.0 && partials[at] > 0.0))) {
        double twice = low * 2.0;
        volatile double moved = high + twice, back = moved - high;
        if (twice == back) high = moved;
    }
    return high;
}

/* --- decimals --- */

static bool shift(__int128 *number, int digits)
{
    for (; digits > 0; digits--)
        if (__builtin_mul_overflow(*number, (__int128)10, number)) return false;
    return true;
}

static int add_scaled(struct seek_sum *sum, __int128 number, int scale, struct fault *fault)
{
    if (scale > sum->scale) {
        if (!shift(&sum->decimals, scale - sum->scale)) return refuse_large(fault);
        sum->scale = (uint8_t)scale;
    }
    if (!shift(&number, sum->scale - scale) || __builtin_add_overflow(sum->decimals, number, &sum->decimals))
        return refuse_large(fault);
    return 0;
}

/* At most 34 digits: they fit. */
static int add_decimal(struct seek_sum *sum, struct slice text, struct fault *fault)
{
    bool negative = text.size > 0 && text.data[0] == '-', point = false;
    __int128 number = 0;
    uint64_t low = 0; /* the last digits: most decimals have no more */
    int scale = 0, digits = 0;
    for (size_t at = negative; at < text.size; at++) {
        if (text.data[at] == '.') {
            point = true;
            continue;
        }
        low = low * 10 + (uint64_t)(text.data[at] - '0');
        scale += point;
        if (++digits == 18) {
            number = low;
        } else if (digits > 18) {
            number = number * 10 + (text.data[at] - '0');
        }
    }
    if (digits < 18) number = low;
    return add_scaled(sum, negative ? -number : number, scale, fault);
}

/* --- all kinds --- */

static int set_float(struct seek_sum *sum, struct fault *fault)
{
    if (sum->has_decimal) return refuse_mixed(fault);
    sum->has_float = true;
    return 0;
}

static int set_decimal(struct seek_sum *sum, struct fault *fault)
{
    if (sum->has_float) return refuse_mixed(fault);
    sum->has_decimal = true;
    return 0;
}

int seek_sum_add(struct seek_sum *sum, const struct seek_value *value, struct fault *fault)
{
    switch (value->kind) {
    case SEEK_INTEGER: sum->integers += value->integer; return 0;
    case SEEK_FLOAT: return set_float(sum, fault) < 0 ? -1 : add_float(sum, value->number, fault);
    case SEEK_DECIMAL: return set_decimal(sum, fault) < 0 ? -1 : add_decimal(sum, value->text, fault);
    default: return refuse(value, fault);
    }
}

int seek_sum_merge(struct seek_sum *into, const struct seek_sum *from, struct fault *fault)
{
    const double *partials = from->partials ? from->partials : &from->first;
    into->integers += from->integers;
    if (from->has_float && set_float(into, fault) < 0) return -1;
    if (from->has_decimal &&
        (set_decimal(into, fault) < 0 || add_scaled(into, from->decimals, from->scale, fault) < 0))
        return -1;
    for (unsigned at = 0; at < from->partial_count; at++)
        if (add_float(into, partials[at], fault) < 0) return -1;
    return 0;
}

static int read_decimal(const struct seek_sum *sum, char text[SEEK_SUM_TEXT_SIZE], struct seek_value *value,
                        struct fault *fault)
{
    struct seek_sum all = *sum;
    char digits[48];
    int count = 0, size = 0;
    if (add_scaled(&all, sum->integers, 0, fault) < 0) return -1;
    unsigned __int128 rest =
        all.decimals < 0 ? -(unsigned __int128)all.decimals : (unsigned __int128)all.decimals;
    for (; rest > 0 || count <= all.scale; rest /= 10) digits[count++] = (char)('0' + (int)(rest % 10));
    int significant = count;
    while (significant > 1 && digits[significant - 1] == '0') significant--;
    if (significant > DECIMAL_DIGITS) return refuse_large(fault);
    if (all.decimals < 0) text[size++] = '-';
    while (count > 0) {
        text[size++] = digits[--count];
        if (count == all.scale && count > 0) text[size++] = '.';
    }
    value->kind = SEEK_DECIMAL;
    value->text = slice_make(text, (size_t)size);
    return 0;
}

/* An integer of more than 53 bits is two floats. */
static int read_float(const struct seek_sum *sum, struct seek_value *value, struct fault *fault)
{
    struct seek_sum all = {0};
    int done = seek_sum_merge(&all, sum, fault);
    __int128 rest = sum->integers;
    while (done == 0 && rest != 0) {
        double part = (double)rest;
        done = add_float(&all, part, fault);
        rest -= (__int128)part;
    }
    value->kind = SEEK_FLOAT;
    value->number = read_floats(&all);
    seek_sum_release(&all);
    return done;
}

int seek_sum_read(const struct seek_sum *sum, char text[SEEK_SUM_TEXT_SIZE], struct seek_value *value,
                  struct fault *fault)
{
    if (sum->has_decimal) return read_decimal(sum, text, value, fault);
    if (sum->has_float) return read_float(sum, value, fault);
    if (sum->integers > INT64_MAX || sum->integers < INT64_MIN)
        return fault_set(fault, FAULT_SCRIPT, "the sum of integers needs more than 64 bits");
    value->kind = SEEK_INTEGER;
    value->integer = (int64_t)sum->integers;
    return 0;
}

void seek_sum_release(struct seek_sum *sum)
{
    mem_free(sum->partials);
    *sum = (struct seek_sum){0};
}

/* Index values: two values, written as in a query, one behind the other with a NUL between. Their ordered
 * forms compare as the values do (compared here in another way), and no form is the beginning of another. */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limit.h"
#include "codec/mp.h"
#include "codec/order.h"
#include "codec/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_number(const struct mp_value *value)
{
    return value->kind == MP_INT || value->kind == MP_FLOAT || value->kind == MP_DECIMAL;
}

static int sign(long double number)
{
    return (number > 0) - (number < 0);
}

/* The digits of a decimal on a place each, 64 before the point and 64 behind it; 1 if it is negative. */
static bool place_digits(struct slice text, char places[128])
{
    memset(places, 0, 128);
    bool negative = text.data[0] == '-';
    const char *point = memchr(text.data, '.', text.size);
    const char *end = text.data + text.size;
    if (!point) point = end;
    size_t at = 64;
    for (const char *digit = point; digit > text.data + negative;) places[--at] = (char)(*--digit - '0');
    at = 64;
    for (const char *digit = point + 1; digit < end; digit++) places[at++] = (char)(*digit - '0');
    return negative;
}

static int compare_decimals(struct slice a, struct slice b)
{
    char left[128], right[128], zero[128] = {0};
    bool below_left = place_digits(a, left), below_right = place_digits(b, right);
    if (memcmp(left, zero, 128) == 0) below_left = false;
    if (memcmp(right, zero, 128) == 0) below_right = false;
    if (below_left != below_right) return below_left ? -1 : 1;
    int order = memcmp(left, right, 128);
    return below_left ? -sign(order) : sign(order);
}

/* 2: this comparison knows no answer (a decimal beside a float, a float beyond 2^53 beside an integer). */
static int compare_numbers(const struct mp_value *a, const struct mp_value *b)
{
    if (a->kind == MP_DECIMAL && b->kind == MP_DECIMAL) return compare_decimals(a->text, b->text);
    if (a->kind == MP_DECIMAL || b->kind == MP_DECIMAL) return 2;
    if (a->kind != b->kind && fabs(a->kind == MP_FLOAT ? a->number : b->number) > 0x1p53) return 2;
    long double left = a->kind == MP_INT ? a->integer : (long double)a->number;
    long double right = b->kind == MP_INT ? b->integer : (long double)b->number;
    return (left > right) - (left < right);
}

static int rank(const struct mp_value *value)
{
    return value->kind == MP_BOOL ? value->boolean : is_number(value) ? 2 : 3;
}

static int compare_values(const struct mp_value *a, const struct mp_value *b)
{
    if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
    if (is_number(a)) return compare_numbers(a, b);
    if (a->kind == MP_BOOL) return 0;
    size_t common =
        LIMIT_INDEX_VALUE_SIZE_MAX / 2; /* each byte may take two; what is behind may be cut off */
    if (a->text.size > common || b->text.size > common) return 2;
    return sign(slice_compare(a->text, b->text));
}

static void put_form(struct slice text, struct buf *value, struct buf *form, struct mp_value *read)
{
    order_query(value, text);
    CHECK(mp_check(buf_slice(value), NULL) == 0 || !text_is_utf8(text));
    struct mp_reader reader = mp_reader_of(buf_slice(value));
    CHECK(mp_read(&reader, read) == 0 && order_put(form, buf_slice(value)));
    CHECK(form->size <= LIMIT_INDEX_VALUE_SIZE_MAX + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *middle = size ? memchr(data, 0, size) : NULL;
    size_t first = middle ? (size_t)(middle - data) : size;
    size_t behind = middle ? size - first - 1 : 0;
    struct buf values[2] = {{0}, {0}}, forms[2] = {{0}, {0}};
    struct mp_value read[2];
    put_form(slice_make(data, first), &values[0], &forms[0], &read[0]);
    put_form(slice_make(middle ? middle + 1 : data, behind), &values[1], &forms[1], &read[1]);
    int wanted = compare_values(&read[0], &read[1]);
    if (wanted != 2) CHECK(sign(slice_compare(buf_slice(&forms[0]), buf_slice(&forms[1]))) == wanted);
    size_t common = forms[0].size < forms[1].size ? forms[0].size : forms[1].size;
    CHECK(forms[0].size == forms[1].size || memcmp(forms[0].data, forms[1].data, common) != 0);
    for (int i = 0; i < 2; i++) {
        buf_release(&values[i]);
        buf_release(&forms[i]);
    }
    return 0;
}

/* The ordered form. One byte of kind, then:
 *   number   sign 0 negative, 1 zero, 2 positive; for a value of 0.d1d2d3... * 10^e, d1 > 0, its digits
 * without trailing zeros: e + 0x8000 in two bytes, the digits in pairs as bytes 1 + 10 * d1 + d2, a 0 at the
 * end. Everything behind the sign is complemented for negative values. text     its bytes, 0 written as 1 1
 * and 1 as 1 2, cut where LIMIT_INDEX_VALUE_SIZE_MAX bytes would be exceeded, a 0 at the end. No form is the
 * beginning of another, so something may follow it in a key: at most 2 + LIMIT_INDEX_VALUE_SIZE_MAX bytes. */
#include "codec/order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { ORDER_FALSE = 1, ORDER_TRUE = 2, ORDER_NUMBER = 3, ORDER_TEXT = 4 };
enum { SIGN_NEGATIVE, SIGN_ZERO, SIGN_POSITIVE };
enum { DIGITS_MAX = 80 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number as written: [-]digits[.digits][e[+-]digits]. */
static void put_number(struct buf *out, struct slice text)
{
    char digits[DIGITS_MAX];
    size_t count = 0, at = 0;
    int exponent = 0;
    bool negative = text.data[0] == '-', point = false;
    for (at = negative; at < text.size && (is_digit(text.data[at]) || text.data[at] == '.'); at++) {
        char c = text.data[at];
        if (c == '.') {
            point = true;
        } else {
            if (!point && (count || c != '0')) exponent++;
            if (point && count == 0 && c == '0') exponent--;
            if (count || c != '0') digits[count++] = (char)(c - '0');
        }
    }
    /* Only a float has one; it ends with a NUL. */
    if (at < text.size) exponent += (int)strtol(text.data + at + 1, NULL, 10);
    while (count && digits[count - 1] == 0) count--;

    uint8_t form[4 + DIGITS_MAX / 2 + 1];
    size_t size = 0;
    form[size++] = ORDER_NUMBER;
    form[size++] = count == 0 ? SIGN_ZERO : negative ? SIGN_NEGATIVE : SIGN_POSITIVE;
    if (count) {
        unsigned biased = (unsigned)(exponent + 0x8000);
        form[size++] = (uint8_t)(biased >> 8);
        form[size++] = (uint8_t)biased;
        for (size_t n = 0; n < count; n += 2)
            form[size++] = (uint8_t)(1 + 10 * digits[n] + (n + 1 < count ? digits[n + 1] : 0));
        form[size++] = 0;
    }
    if (negative)
        for (size_t n = 2; n < size; n++) form[n] = (uint8_t)~form[n];
    buf_put(out, form, size);
}

static void put_text(struct buf *out, struct slice text)
{
    char *to = buf_room(out, 2 + LIMIT_INDEX_VALUE_SIZE_MAX);
    size_t size = 0;
    *to++ = ORDER_TEXT;
    for (size_t at = 0; at < text.size; at++) {
        uint8_t c = (uint8_t)text.data[at];
        size_t wanted = c <= 1 ? 2 : 1;
        if (size + wanted > LIMIT_INDEX_VALUE_SIZE_MAX) break;
        if (c <= 1) *to++ = 1;
        *to++ = (char)(c <= 1 ? c + 1 : c);
        size += wanted;
    }
    *to = 0;
    out->size += size + 2;
}

bool order_put(struct buf *out, struct slice value)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value scalar;
    if (value.size == 0 || mp_read(&reader, &scalar) < 0) return false;
    char text[40];
    switch (scalar.kind) {
    case MP_BOOL: buf_put_byte(out, scalar.boolean ? ORDER_TRUE : ORDER_FALSE); return true;
    case MP_INT:
        snprintf(text, sizeof text, "%lld", (long long)scalar.integer);
        put_number(out, slice_of(text));
        return true;
    case MP_FLOAT:
        text_put_float(scalar.number, text);
        put_number(out, slice_of(text));
        return true;
    case MP_DECIMAL:
        if (!text_is_decimal(scalar.text)) return false;
        put_number(out, scalar.text);
        return true;
    case MP_TEXT: put_text(out, scalar.text); return true;
    case MP_NIL:
    case MP_LIST:
    case MP_MAP: break;
    }
    return false;
}

/* A number by JSON's grammar, so "007" and "+1" are texts. Where a decimal holds what was written it is
 * taken, being exact; a float would be the nearest. */
static bool query_number(struct buf *out, struct slice text)
{
    if (text.size == 0 || !(is_digit(text.data[0]) || text.data[0] == '-')) return false;
    bool plain = true, point = false;
    for (size_t at = 0; at < text.size; at++) {
        char c = text.data[at];
        if (!is_digit(c) && (c == 0 || !strchr("-+.eE", c))) return false;
        if (c == 'e' || c == 'E') plain = false;
        if (c == '.') point = true;
    }
    size_t start = out->size;
    bool reads = json_to_mp(text, out, NULL) == 0;
    if (!reads && plain && !point) {
        /* Perhaps an integer beyond 64 bits; with an exponent it would be read as a float. */
        struct buf with_exponent = {0};
        buf_put_slice(&with_exponent, text);
        buf_put_text(&with_exponent, "e0");
        reads = json_to_mp(buf_slice(&with_exponent), out, NULL) == 0;
        buf_release(&with_exponent);
        point = true;
    }
    if (reads && plain && point && text_is_decimal(text)) {
        out->size = start;
        mp_put_decimal(out, text);
    }
    return reads;
}

void order_query(struct buf *out, struct slice text)
{
    if (slice_is(text, "true") || slice_is(text, "false")) {
        mp_put_bool(out, slice_is(text, "true"));
        return;
    }
    if (query_number(out, text)) return;
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        if (json_to_mp(text, out, NULL) == 0) return;
        text = slice_make(text.data + 1, text.size - 2);
    }
    mp_put_text(out, text);
}

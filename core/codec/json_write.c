/* The writing half of json.h. */
#include "codec/json.h"

#include <stdio.h>

#include "base/limit.h"
#include "codec/mp.h"
#include "codec/text.h"

/* Characters that end a run copied as it is: controls, quote, backslash and all beyond ASCII. */
static bool is_special(uint8_t c)
{
    return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

static void put_escape(struct buf *out, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", into[] = "\"\\bfnrt";
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        char escape[2] = {'\\', into[found - from]};
        buf_put(out, escape, sizeof escape);
    } else {
        buf_format(out, "\\u%04x", c);
    }
}

/* How many bytes from at on can be copied as they are: eight at a time while none of them is special. */
static size_t plain_run(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    const uint8_t *begin = at;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        /* A high bit where a byte is below 0x20, zero after the xor, or beyond ASCII. Borrows may mark a byte
         * too many, never one too few. */
        if ((((word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs) | (word & highs)) break;
        at += 8;
    }
    while (at < end && !is_special(*at)) at++;
    return (size_t)(at - begin);
}

/* Returns false if something was not UTF-8 and was replaced. */
static bool put_inside(struct buf *out, struct slice text)
{
    const uint8_t *at = (const uint8_t *)text.data, *end = at + text.size;
    bool clean = true;
    while (at < end) {
        size_t run = plain_run(at, end);
        buf_put(out, at, run);
        at += run;
        if (at >= end) break;
        if (*at < 0x80) {
            put_escape(out, *at++);
            continue;
        }
        size_t size = text_utf8_step(at, end);
        if (size == 0) {
            clean = false;
            buf_put_text(out, "\xef\xbf\xbd");
            at++;
            continue;
        }
        buf_put(out, at, size);
        at += size;
    }
    return clean;
}

static bool put_text(struct buf *out, struct slice text)
{
    buf_room(out, text.size + 2);
    buf_put_byte(out, '"');
    bool clean = put_inside(out, text);
    buf_put_byte(out, '"');
    return clean;
}

void json_put_text(struct buf *out, struct slice text)
{
    put_text(out, text);
}

void json_put_inside(struct buf *out, struct slice text)
{
    put_inside(out, text);
}

/* Returns NULL or what is wrong. */
static const char *put_value(struct mp_reader *reader, struct buf *out, int depth)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return "no canonical value";
    switch (value.kind) {
    case MP_NIL: buf_put_text(out, "null"); return NULL;
    case MP_BOOL: buf_put_text(out, value.boolean ? "true" : "false"); return NULL;
    case MP_INT: buf_put_int(out, value.integer); return NULL;
    case MP_FLOAT: out->size += (size_t)text_put_float(value.number, buf_room(out, 32)); return NULL;
    case MP_TEXT:
    case MP_DECIMAL: return put_text(out, value.text) ? NULL : "a text that is not UTF-8";
    case MP_LIST:
    case MP_MAP: break;
    }
    if (depth == LIMIT_DEPTH_MAX) return "nested too deeply";
    bool map = value.kind == MP_MAP;
    struct slice previous = SLICE_NONE;
    buf_put_byte(out, map ? '{' : '[');
    for (uint32_t at = 0; at < value.count; at++) {
        if (at > 0) buf_put_byte(out, ',');
        if (map) {
            struct mp_value key;
            if (mp_read(reader, &key) < 0 || key.kind != MP_TEXT || !put_text(out, key.text))
                return "a key that is no text";
            if (at > 0 && slice_compare(previous, key.text) >= 0) return "keys out of order";
            previous = key.text;
            buf_put_byte(out, ':');
        }
        const char *wrong = put_value(reader, out, depth + 1);
        if (wrong) return wrong;
    }
    buf_put_byte(out, map ? '}' : ']');
    return NULL;
}

int json_from_mp(struct slice bytes, struct buf *out, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(bytes);
    size_t start = out->size;
    const char *wrong = put_value(&reader, out, 0);
    if (!wrong && reader.at != reader.end) wrong = "bytes behind the value";
    if (!wrong) return 0;
    out->size = start;
    return fault_set(fault, FAULT_CORRUPT, "damaged MessagePack: %s at byte %zu of %zu", wrong,
                     (size_t)(reader.at - (const uint8_t *)bytes.data), bytes.size);
}

void json_put_name(struct buf *out, const char *name)
{
    char last = out->size ? out->data[out->size - 1] : '{';
    size_t size = strlen(name);
    char *to = buf_room(out, size + 4), *begin = to;
    if (last != '{' && last != '[') *to++ = ',';
    *to++ = '"';
    memcpy(to, name, size);
    to += size;
    *to++ = '"';
    *to++ = ':';
    out->size += (size_t)(to - begin);
}

void json_put_text_member(struct buf *out, const char *name, struct slice text)
{
    json_put_name(out, name);
    json_put_text(out, text);
}

void json_put_int_member(struct buf *out, const char *name, int64_t value)
{
    json_put_name(out, name);
    buf_put_int(out, value);
}

void json_put_mp_member(struct buf *out, const char *name, struct slice value)
{
    json_put_name(out, name);
    if (json_from_mp(value, out, NULL) < 0) buf_put_text(out, "null");
}

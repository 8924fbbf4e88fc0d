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

/* Returns false if something was not UTF-8 and was replaced. */
static bool put_text(struct buf *out, struct slice text)
{
    const uint8_t *at = (const uint8_t *)text.data, *end = at + text.size;
    bool clean = true;
    buf_room(out, text.size + 2);
    buf_put_byte(out, '"');
    while (at < end) {
        const uint8_t *run = at;
        while (at < end && !is_special(*at)) at++;
        buf_put(out, run, (size_t)(at - run));
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
    buf_put_byte(out, '"');
    return clean;
}

void json_put_text(struct buf *out, struct slice text)
{
    put_text(out, text);
}

static void put_int(struct buf *out, int64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0) digits[--at] = '-';
    buf_put(out, digits + at, sizeof digits - at);
}

/* Returns NULL or what is wrong. */
static const char *put_value(struct mp_reader *reader, struct buf *out, int depth)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return "no canonical value";
    switch (value.kind) {
    case MP_NIL: buf_put_text(out, "null"); return NULL;
    case MP_BOOL: buf_put_text(out, value.boolean ? "true" : "false"); return NULL;
    case MP_INT: put_int(out, value.integer); return NULL;
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
    if (last != '{' && last != '[') buf_put_byte(out, ',');
    buf_put_byte(out, '"');
    buf_put_text(out, name);
    buf_put(out, "\":", 2);
}

void json_put_text_member(struct buf *out, const char *name, struct slice text)
{
    json_put_name(out, name);
    json_put_text(out, text);
}

void json_put_int_member(struct buf *out, const char *name, int64_t value)
{
    json_put_name(out, name);
    put_int(out, value);
}

void json_put_mp_member(struct buf *out, const char *name, struct slice value)
{
    json_put_name(out, name);
    if (json_from_mp(value, out, NULL) < 0) buf_put_text(out, "null");
}

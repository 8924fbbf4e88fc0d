#include "codec/mp.h"

#include <math.h>

#include "base/check.h"
#include "base/limit.h"
#include "codec/text.h"

static uint64_t read_big(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t n = 0; n < size; n++) value = value << 8 | at[n];
    return value;
}

/* A size or count of `size` bytes that is too great for the shorter form, whose largest is shorter_max. */
static int read_size(struct mp_reader *reader, size_t size, uint64_t shorter_max, uint64_t *value)
{
    if ((size_t)(reader->end - reader->at) < size) return -1;
    *value = read_big(reader->at, size);
    if (*value <= shorter_max) return -1;
    reader->at += size;
    return 0;
}

static int read_text(struct mp_reader *reader, struct mp_value *value, enum mp_kind kind, uint64_t size)
{
    if ((uint64_t)(reader->end - reader->at) < size) return -1;
    value->kind = kind;
    value->text = slice_make(reader->at, (size_t)size);
    reader->at += size;
    return 0;
}

/* Each item takes a byte at least, so a count beyond the bytes left is a lie. */
static int read_count(struct mp_reader *reader, struct mp_value *value, enum mp_kind kind, uint64_t count)
{
    uint64_t items = kind == MP_MAP ? 2 * count : count;
    if ((uint64_t)(reader->end - reader->at) < items) return -1;
    value->kind = kind;
    value->count = (uint32_t)count;
    return 0;
}

static int read_integer(struct mp_reader *reader, struct mp_value *value, uint8_t head)
{
    size_t size = (size_t)1 << (head & 3);
    if ((size_t)(reader->end - reader->at) < size) return -1;
    uint64_t bits = read_big(reader->at, size);
    reader->at += size;
    value->kind = MP_INT;
    if (head < 0xd0) {
        /* Unsigned: more than the next shorter form holds, and within int64. */
        uint64_t shorter_max = size == 1 ? 0x7f : (1ULL << (4 * size)) - 1;
        if (bits <= shorter_max || bits > INT64_MAX) return -1;
        value->integer = (int64_t)bits;
        return 0;
    }
    unsigned shift = (unsigned)(64 - 8 * size);
    value->integer = (int64_t)(bits << shift) >> shift;
    int64_t shorter_min = size == 1 ? -32 : -(1LL << (4 * size - 1));
    return value->integer < shorter_min ? 0 : -1;
}

static int read_float(struct mp_reader *reader, struct mp_value *value)
{
    if (reader->end - reader->at < 8) return -1;
    uint64_t bits = read_big(reader->at, 8);
    reader->at += 8;
    value->kind = MP_FLOAT;
    memcpy(&value->number, &bits, 8);
    return isfinite(value->number) ? 0 : -1;
}

static int read_extension(struct mp_reader *reader, struct mp_value *value, uint8_t head)
{
    uint64_t size;
    if (head == 0xc7) {
        if (read_size(reader, 1, 0, &size) < 0 || size == 1 || size == 2 || size == 4 || size == 8 ||
            size == 16)
            return -1;
    } else {
        size = 1ULL << (head - 0xd4);
    }
    if (reader->at >= reader->end || *reader->at++ != MP_EXT_DECIMAL) return -1;
    return read_text(reader, value, MP_DECIMAL, size);
}

static int read_rest(struct mp_reader *reader, struct mp_value *value, uint8_t head)
{
    uint64_t size;
    switch (head) {
    case 0xc0: value->kind = MP_NIL; return 0;
    case 0xc2:
    case 0xc3:
        value->kind = MP_BOOL;
        value->boolean = head == 0xc3;
        return 0;
    case 0xcb: return read_float(reader, value);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return read_integer(reader, value, head);
    case 0xc7:
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: return read_extension(reader, value, head);
    case 0xd9: return read_size(reader, 1, 31, &size) < 0 ? -1 : read_text(reader, value, MP_TEXT, size);
    case 0xda: return read_size(reader, 2, 0xff, &size) < 0 ? -1 : read_text(reader, value, MP_TEXT, size);
    case 0xdb: return read_size(reader, 4, 0xffff, &size) < 0 ? -1 : read_text(reader, value, MP_TEXT, size);
    case 0xdc: return read_size(reader, 2, 15, &size) < 0 ? -1 : read_count(reader, value, MP_LIST, size);
    case 0xdd: return read_size(reader, 4, 0xffff, &size) < 0 ? -1 : read_count(reader, value, MP_LIST, size);
    case 0xde: return read_size(reader, 2, 15, &size) < 0 ? -1 : read_count(reader, value, MP_MAP, size);
    case 0xdf: return read_size(reader, 4, 0xffff, &size) < 0 ? -1 : read_count(reader, value, MP_MAP, size);
    default: return -1; /* bin, float32, other ext, 0xc1 */
    }
}

int mp_read(struct mp_reader *reader, struct mp_value *value)
{
    if (reader->at >= reader->end) return -1;
    uint8_t head = *reader->at++;
    if (head < 0x80) {
        value->kind = MP_INT;
        value->integer = head;
        return 0;
    }
    if (head >= 0xa0 && head < 0xc0) return read_text(reader, value, MP_TEXT, head & 0x1f);
    if (head < 0x90) return read_count(reader, value, MP_MAP, head & 0x0f);
    if (head < 0xa0) return read_count(reader, value, MP_LIST, head & 0x0f);
    if (head >= 0xe0) {
        value->kind = MP_INT;
        value->integer = (int8_t)head;
        return 0;
    }
    return read_rest(reader, value, head);
}

int mp_skip(struct mp_reader *reader)
{
    uint64_t left[LIMIT_DEPTH_MAX + 1]; /* values still to come at each depth */
    int depth = 0;
    left[0] = 1;
    for (;;) {
        struct mp_value value;
        if (mp_read(reader, &value) < 0) return -1;
        left[depth]--;
        if (value.kind >= MP_LIST) {
            if (++depth > LIMIT_DEPTH_MAX) return -1;
            left[depth] = value.kind == MP_MAP ? 2 * (uint64_t)value.count : value.count;
        }
        while (left[depth] == 0)
            if (depth-- == 0) return 0;
    }
}

int mp_take(struct mp_reader *reader, struct slice *bytes)
{
    const uint8_t *from = reader->at;
    if (mp_skip(reader) < 0) return -1;
    *bytes = slice_make(from, (size_t)(reader->at - from));
    return 0;
}

/* What mp_read leaves open: UTF-8, decimals, keys that are texts in order, depth. Returns NULL or what is
 * wrong. */
static const char *check_value(struct mp_reader *reader, int depth)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return "no canonical value";
    switch (value.kind) {
    case MP_TEXT: return text_is_utf8(value.text) ? NULL : "a text that is not UTF-8";
    case MP_DECIMAL: return text_is_decimal(value.text) ? NULL : "a decimal that is none";
    case MP_LIST:
    case MP_MAP: break;
    default: return NULL;
    }
    if (depth == LIMIT_DEPTH_MAX) return "nested too deeply";
    struct slice previous = SLICE_NONE;
    for (uint32_t at = 0; at < value.count; at++) {
        if (value.kind == MP_MAP) {
            struct mp_value key;
            if (mp_read(reader, &key) < 0 || key.kind != MP_TEXT || !text_is_utf8(key.text))
                return "a key that is no text";
            if (at > 0 && slice_compare(previous, key.text) >= 0) return "keys out of order";
            previous = key.text;
        }
        const char *wrong = check_value(reader, depth + 1);
        if (wrong) return wrong;
    }
    return NULL;
}

int mp_check(struct slice bytes, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(bytes);
    const char *wrong = check_value(&reader, 0);
    if (!wrong && reader.at != reader.end) wrong = "bytes behind the value";
    if (!wrong) return 0;
    return fault_set(fault, FAULT_CORRUPT, "damaged MessagePack: %s at byte %zu of %zu", wrong,
                     (size_t)(reader.at - (const uint8_t *)bytes.data), bytes.size);
}

bool mp_find(struct slice bytes, struct slice key, struct slice *value)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return false;
    for (uint32_t at = 0; at < map.count; at++) {
        struct mp_value found;
        if (mp_read(&reader, &found) < 0 || found.kind != MP_TEXT) return false;
        int order = slice_compare(found.text, key);
        if (order == 0) return mp_take(&reader, value) == 0;
        if (order > 0 || mp_skip(&reader) < 0) return false;
    }
    return false;
}

/* A head byte and a big-endian number behind it. */
static void put_head(struct buf *out, uint8_t head, uint64_t value, size_t size)
{
    char *to = buf_room(out, 1 + size);
    to[0] = (char)head;
    for (size_t at = size; at > 0; at--, value >>= 8) to[at] = (char)value;
    out->size += 1 + size;
}

void mp_put_nil(struct buf *out)
{
    buf_put_byte(out, 0xc0);
}

void mp_put_bool(struct buf *out, bool value)
{
    buf_put_byte(out, value ? 0xc3 : 0xc2);
}

void mp_put_int(struct buf *out, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    if (value >= 0) {
        if (bits < 0x80)
            put_head(out, (uint8_t)bits, 0, 0);
        else if (bits <= 0xff)
            put_head(out, 0xcc, bits, 1);
        else if (bits <= 0xffff)
            put_head(out, 0xcd, bits, 2);
        else if (bits <= 0xffffffff)
            put_head(out, 0xce, bits, 4);
        else
            put_head(out, 0xcf, bits, 8);
        return;
    }
    if (value >= -32)
        put_head(out, (uint8_t)bits, 0, 0);
    else if (value >= INT8_MIN)
        put_head(out, 0xd0, bits, 1);
    else if (value >= INT16_MIN)
        put_head(out, 0xd1, bits, 2);
    else if (value >= INT32_MIN)
        put_head(out, 0xd2, bits, 4);
    else
        put_head(out, 0xd3, bits, 8);
}

void mp_put_float(struct buf *out, double value)
{
    CHECK(isfinite(value));
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put_head(out, 0xcb, bits, 8);
}

void mp_put_text(struct buf *out, struct slice text)
{
    CHECK(text.size <= UINT32_MAX);
    if (text.size < 32)
        put_head(out, (uint8_t)(0xa0 | text.size), 0, 0);
    else if (text.size <= 0xff)
        put_head(out, 0xd9, text.size, 1);
    else if (text.size <= 0xffff)
        put_head(out, 0xda, text.size, 2);
    else
        put_head(out, 0xdb, text.size, 4);
    buf_put_slice(out, text);
}

void mp_put_decimal(struct buf *out, struct slice plain)
{
    CHECK(plain.size > 0 && plain.size <= 0xff);
    switch (plain.size) {
    case 1: put_head(out, 0xd4, MP_EXT_DECIMAL, 1); break;
    case 2: put_head(out, 0xd5, MP_EXT_DECIMAL, 1); break;
    case 4: put_head(out, 0xd6, MP_EXT_DECIMAL, 1); break;
    case 8: put_head(out, 0xd7, MP_EXT_DECIMAL, 1); break;
    case 16: put_head(out, 0xd8, MP_EXT_DECIMAL, 1); break;
    default: put_head(out, 0xc7, plain.size << 8 | MP_EXT_DECIMAL, 2); break;
    }
    buf_put_slice(out, plain);
}

void mp_put_list(struct buf *out, uint32_t count)
{
    if (count < 16)
        put_head(out, (uint8_t)(0x90 | count), 0, 0);
    else if (count <= 0xffff)
        put_head(out, 0xdc, count, 2);
    else
        put_head(out, 0xdd, count, 4);
}

void mp_put_map(struct buf *out, uint32_t count)
{
    if (count < 16)
        put_head(out, (uint8_t)(0x80 | count), 0, 0);
    else if (count <= 0xffff)
        put_head(out, 0xde, count, 2);
    else
        put_head(out, 0xdf, count, 4);
}

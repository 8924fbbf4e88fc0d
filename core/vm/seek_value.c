#include "vm/seek_value.h"

#include <math.h>

#include "codec/mp.h"
#include "codec/order.h"
#include "codec/text.h"

/* Kinds of codec/order.h's forms end below; these follow them. */
enum { KEY_TEXT = 0x40, KEY_PACKED = 0x50 };

bool seek_value_read(struct slice bytes, struct seek_value *value)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value token;
    if (mp_read(&reader, &token) < 0) return false;
    switch (token.kind) {
    case MP_NIL: value->kind = SEEK_NIL; break;
    case MP_BOOL:
        value->kind = SEEK_BOOLEAN;
        value->boolean = token.boolean;
        break;
    case MP_INT:
        value->kind = SEEK_INTEGER;
        value->integer = token.integer;
        break;
    case MP_FLOAT:
        value->kind = SEEK_FLOAT;
        value->number = token.number;
        break;
    case MP_TEXT:
    case MP_DECIMAL:
        value->kind = token.kind == MP_TEXT ? SEEK_TEXT : SEEK_DECIMAL;
        value->text = token.text;
        break;
    case MP_LIST:
    case MP_MAP:
        value->kind = SEEK_PACKED;
        value->text = bytes;
        break;
    }
    return true;
}

void seek_value_put(struct buf *out, const struct seek_value *value)
{
    switch (value->kind) {
    case SEEK_NIL:
    case SEEK_OTHER: mp_put_nil(out); break;
    case SEEK_BOOLEAN: mp_put_bool(out, value->boolean); break;
    case SEEK_INTEGER: mp_put_int(out, value->integer); break;
    case SEEK_FLOAT: mp_put_float(out, value->number); break;
    case SEEK_TEXT: mp_put_text(out, value->text); break;
    case SEEK_DECIMAL: mp_put_decimal(out, value->text); break;
    case SEEK_PACKED: buf_put_slice(out, value->text); break;
    }
}

static bool is_comparable(const struct seek_value *value)
{
    if (value->kind == SEEK_FLOAT) return isfinite(value->number);
    return value->kind != SEEK_NIL && value->kind != SEEK_OTHER;
}

bool seek_value_key(struct buf *out, const struct seek_value *value)
{
    if (!is_comparable(value) || value->kind == SEEK_PACKED) return false;
    if (value->kind == SEEK_TEXT) { /* whole: nothing follows it in a key */
        buf_put_byte(out, KEY_TEXT);
        buf_put_slice(out, value->text);
        return true;
    }
    char bytes[128];
    struct buf packed = {.data = bytes, .size_max = sizeof bytes}; /* of a number: fits */
    seek_value_put(&packed, value);
    return order_put(out, buf_slice(&packed));
}

bool seek_value_identity(struct buf *out, const struct seek_value *value)
{
    if (value->kind != SEEK_PACKED) return seek_value_key(out, value);
    buf_put_byte(out, KEY_PACKED);
    buf_put_slice(out, value->text);
    return true;
}

bool seek_value_label(struct buf *out, const struct seek_value *value)
{
    char text[40];
    switch (value->kind) {
    case SEEK_TEXT:
    case SEEK_DECIMAL: buf_put_slice(out, value->text); return true;
    case SEEK_BOOLEAN: buf_put_text(out, value->boolean ? "true" : "false"); return true;
    case SEEK_INTEGER: buf_put_int(out, value->integer); return true;
    case SEEK_FLOAT:
        if (!isfinite(value->number)) return false;
        buf_put(out, text, (size_t)text_put_float(value->number, text));
        return true;
    default: return false;
    }
}

const char *seek_value_name(const struct seek_value *value)
{
    static const char *const names[] = {"nil",    "a boolean", "a number", "a number",
                                        "a text", "a decimal", "a table",  "a value that is no data"};
    if (value->kind == SEEK_FLOAT && !isfinite(value->number)) return isnan(value->number) ? "nan" : "inf";
    return names[value->kind];
}

#include "cli/fields.h"

#include "codec/json.h"
#include "codec/mp.h"

int fields_read(struct fields *fields, struct slice json, struct fault *fault)
{
    buf_clear(&fields->bytes);
    return json_to_mp(json, &fields->bytes, fault);
}

void fields_release(struct fields *fields)
{
    buf_release(&fields->bytes);
}

static bool fields_find(const struct fields *fields, const char *name, struct slice *value,
                        struct mp_value *token)
{
    if (!mp_find(buf_slice(&fields->bytes), slice_of(name), value)) return false;
    struct mp_reader reader = mp_reader_of(*value);
    return mp_read(&reader, token) == 0 && token->kind != MP_NIL;
}

struct slice fields_text(const struct fields *fields, const char *name)
{
    struct slice value;
    struct mp_value token;
    if (!fields_find(fields, name, &value, &token) || token.kind != MP_TEXT) return SLICE_NONE;
    return token.text;
}

struct slice fields_as_text(const struct fields *item)
{
    struct mp_reader reader = mp_reader_of(buf_slice(&item->bytes));
    struct mp_value token;
    return mp_read(&reader, &token) == 0 && token.kind == MP_TEXT ? token.text : SLICE_NONE;
}

int64_t fields_int(const struct fields *fields, const char *name)
{
    struct slice value;
    struct mp_value token;
    if (!fields_find(fields, name, &value, &token)) return 0;
    if (token.kind == MP_INT) return token.integer;
    return token.kind == MP_FLOAT && token.number > -9e18 && token.number < 9e18 ? (int64_t)token.number : 0;
}

double fields_number(const struct fields *fields, const char *name)
{
    struct slice value;
    struct mp_value token;
    if (!fields_find(fields, name, &value, &token)) return 0;
    if (token.kind == MP_INT) return (double)token.integer;
    return token.kind == MP_FLOAT ? token.number : 0;
}

bool fields_has(const struct fields *fields, const char *name)
{
    struct slice value;
    struct mp_value token;
    return fields_find(fields, name, &value, &token);
}

bool fields_member(const struct fields *fields, const char *name, struct slice *bytes)
{
    return mp_find(buf_slice(&fields->bytes), slice_of(name), bytes);
}

bool fields_flag(const struct fields *fields, const char *name)
{
    struct slice value;
    struct mp_value token;
    return fields_find(fields, name, &value, &token) && token.kind == MP_BOOL && token.boolean;
}

void fields_json(const struct fields *fields, const char *name, struct buf *out)
{
    struct slice value;
    if (mp_find(buf_slice(&fields->bytes), slice_of(name), &value)) json_from_mp(value, out, NULL);
}

static void fields_indent(struct buf *out, int depth)
{
    buf_put_byte(out, '\n');
    for (int at = 0; at < depth; at++) buf_put(out, "  ", 2);
}

/* The bytes come from json_to_mp, so their depth is bounded. */
static void fields_put_pretty(struct mp_reader *reader, int depth, struct buf *out)
{
    struct slice bytes;
    struct mp_reader inside = *reader;
    struct mp_value token;
    if (mp_take(reader, &bytes) < 0 || mp_read(&inside, &token) < 0) return;
    bool is_map = token.kind == MP_MAP;
    if ((!is_map && token.kind != MP_LIST) || token.count == 0) {
        json_from_mp(bytes, out, NULL);
        return;
    }
    buf_put_byte(out, is_map ? '{' : '[');
    for (uint32_t at = 0; at < token.count; at++) {
        if (at) buf_put_byte(out, ',');
        fields_indent(out, depth + 1);
        if (is_map) {
            fields_put_pretty(&inside, depth + 1, out);
            buf_put(out, ": ", 2);
        }
        fields_put_pretty(&inside, depth + 1, out);
    }
    fields_indent(out, depth);
    buf_put_byte(out, is_map ? '}' : ']');
}

void fields_pretty(const struct fields *fields, const char *name, struct buf *out)
{
    struct slice value;
    if (!mp_find(buf_slice(&fields->bytes), slice_of(name), &value)) return;
    struct mp_reader reader = mp_reader_of(value);
    fields_put_pretty(&reader, 0, out);
}

static struct fields fields_borrowed(struct slice value)
{
    return (struct fields){.bytes = {.data = (char *)(uintptr_t)value.data, .size = value.size}};
}

bool fields_object(const struct fields *fields, const char *name, struct fields *object)
{
    struct slice value;
    struct mp_value token;
    if (!fields_find(fields, name, &value, &token) || token.kind != MP_MAP) return false;
    *object = fields_borrowed(value);
    return true;
}

bool fields_next(const struct fields *fields, const char *name, const uint8_t **at, struct fields *item)
{
    struct slice value, bytes;
    struct mp_value token;
    if (!fields_find(fields, name, &value, &token) || token.kind != MP_LIST) return false;
    struct mp_reader reader = mp_reader_of(value);
    if (*at)
        reader.at = *at;
    else if (mp_read(&reader, &token) < 0)
        return false;
    if (reader.at == reader.end || mp_take(&reader, &bytes) < 0) return false;
    *at = reader.at;
    *item = fields_borrowed(bytes);
    return true;
}

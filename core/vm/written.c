#include "vm/written.h"

#include "base/mem.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "vm/domain_core.h"

struct replacement {
    struct slice text; /* that it stands for */
    unsigned number;   /* from 1 */
};

/* --- texts and names --- */

void written_text(struct slice text, struct buf *out)
{
    buf_put_byte(out, '"');
    for (size_t at = 0; at < text.size; at++) {
        unsigned char c = (unsigned char)text.data[at];
        if (c == '\n')
            buf_put_text(out, "\\n");
        else if (c < 0x20 || c == 0x7f)
            buf_format(out, "\\%03u", c); /* three digits: a digit may follow */
        else if (c == '"' || c == '\\')
            buf_format(out, "\\%c", c);
        else
            buf_put_byte(out, c);
    }
    buf_put_byte(out, '"');
}

static bool written_is_reserved(struct slice name)
{
    static const char *const words[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    for (size_t at = 0; at < sizeof words / sizeof *words; at++)
        if (slice_is(name, words[at])) return true;
    return false;
}

static bool written_is_name(struct slice name)
{
    for (size_t at = 0; at < name.size; at++) {
        char c = name.data[at];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (at == 0 || c < '0' || c > '9')) return false;
    }
    return name.size > 0 && !written_is_reserved(name);
}

static void written_key(struct slice name, struct buf *out)
{
    if (written_is_name(name)) {
        buf_put_slice(out, name);
    } else {
        buf_put_byte(out, '[');
        written_text(name, out);
        buf_put_byte(out, ']');
    }
    buf_put_text(out, " = ");
}

/* --- values --- */

static void written_float(double number, struct buf *out)
{
    out->size += (size_t)text_put_float(number, buf_room(out, 32));
}

static void written_scalar(const struct mp_value *value, struct buf *out)
{
    switch (value->kind) {
    case MP_BOOL: buf_put_text(out, value->boolean ? "true" : "false"); break;
    case MP_INT:
        if (value->integer == INT64_MIN)
            buf_put_text(out, "math.mininteger"); /* its digits would be a float */
        else
            buf_put_int(out, value->integer);
        break;
    case MP_FLOAT: written_float(value->number, out); break;
    case MP_TEXT: written_text(value->text, out); break;
    case MP_DECIMAL: buf_format(out, "decimal \"%.*s\"", SLICE_ARGS(value->text)); break;
    case MP_NIL:
    case MP_LIST:
    case MP_MAP: buf_put_text(out, "nil"); break;
    }
}

static unsigned written_number(struct written *written, struct slice text)
{
    struct replacement *found = map_find(&written->replaced, text);
    if (found) return found->number;
    found = arena_zero(&written->arena, sizeof *found);
    *found = (struct replacement){arena_copy(&written->arena, text), (unsigned)written->replaced.size + 1};
    map_put(&written->replaced, found->text, found);
    return found->number;
}

static void written_value(struct written *written, struct slice bytes, const struct contract_type *type,
                          bool pii, struct buf *out);

/* In order of declaration. */
static void written_record(struct written *written, struct slice bytes, const struct contract_type *type,
                           bool pii, struct buf *out)
{
    bool first = true;
    buf_put_byte(out, '{');
    for (size_t at = 0; at < type->field_count; at++) {
        const struct contract_field *field = &type->fields[at];
        struct slice value;
        if (!mp_find(bytes, field->name, &value)) continue;
        buf_put_text(out, first ? " " : ", ");
        first = false;
        written_key(field->name, out);
        written_value(written, value, &field->type, pii || field->pii, out);
    }
    buf_put_text(out, first ? "}" : " }");
}

static void written_items(struct written *written, struct mp_reader *reader, const struct mp_value *value,
                          const struct contract_type *type, bool pii, struct buf *out)
{
    bool map = value->kind == MP_MAP;
    const struct contract_type *item =
        type && (type->kind == CONTRACT_LIST || type->kind == CONTRACT_MAP) ? type->item : NULL;
    if (!map && value->count == 0) {
        buf_put_text(out, "list {}");
        return;
    }
    buf_put_byte(out, '{');
    for (uint32_t at = 0; at < value->count; at++) {
        struct mp_value key;
        struct slice bytes;
        buf_put_text(out, at ? ", " : " ");
        if (map && mp_read(reader, &key) < 0) return;
        if (map && pii)
            buf_format(out, "[\"personal %u\"] = ", written_number(written, key.text));
        else if (map)
            written_key(key.text, out);
        if (mp_take(reader, &bytes) < 0) return;
        written_value(written, bytes, item, pii, out);
    }
    buf_put_text(out, value->count ? " }" : "}");
}

/* type NULL: any. */
static void written_value(struct written *written, struct slice bytes, const struct contract_type *type,
                          bool pii, struct buf *out)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (type && type->kind == CONTRACT_RECORD)
        written_record(written, bytes, type, pii, out);
    else if (mp_read(&reader, &value) < 0)
        buf_put_text(out, "nil");
    else if (value.kind == MP_LIST || value.kind == MP_MAP)
        written_items(written, &reader, &value, type, pii, out);
    else if (pii && value.kind == MP_TEXT)
        buf_format(out, "\"personal %u\"", written_number(written, value.text));
    else
        written_scalar(&value, out);
}

int written_message(struct written *written, const struct domain *domain, struct slice context,
                    struct slice name, bool is_event, struct slice data, struct buf *out, struct fault *fault)
{
    const struct contract_message *message = contracts_find(loader_contracts(domain->loader), context, name);
    if (!message || message->is_event != is_event)
        return fault_set(fault, FAULT_NOT_FOUND, "context %.*s has no %s %.*s", SLICE_ARGS(context),
                         is_event ? "event" : "command", SLICE_ARGS(name));
    buf_put_slice(out, name);
    buf_put_byte(out, ' ');
    written_record(written, data, &message->type, false, out);
    return 0;
}

void written_release(struct written *written)
{
    map_release(&written->replaced);
    arena_release(&written->arena);
}

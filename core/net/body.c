#include "net/body.h"

#include <stdio.h>

#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "net/gate.h"

/* Where in the body: "" for a single command, "[2]." in an array. */
struct place {
    char text[24];
};

static struct place place_of(bool is_array, size_t index)
{
    struct place place = {""};
    if (is_array) snprintf(place.text, sizeof place.text, "[%zu].", index);
    return place;
}

static const char *kind_name(enum mp_kind kind)
{
    static const char *const names[] = {"null", "boolean", "integer", "number",
                                        "text", "decimal", "array",   "object"};
    return names[kind];
}

static int read_text(struct slice value, struct place place, const char *member, struct slice *text,
                     struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value token;
    if (mp_read(&reader, &token) < 0 || token.kind != MP_TEXT)
        return fault_set(fault, FAULT_MALFORMED, "%s%s: expected text, got %s", place.text, member,
                         kind_name(token.kind));
    *text = token.text;
    return 0;
}

static int read_member(struct slice name, struct slice value, struct place place, struct arena *arena,
                       struct command_item *item, struct fault *fault)
{
    struct slice text;
    if (slice_is(name, "type")) {
        if (read_text(value, place, "type", &text, fault) < 0) return -1;
        item->type = arena_copy(arena, text);
        return 0;
    }
    if (slice_is(name, "id")) {
        if (read_text(value, place, "id", &text, fault) < 0) return -1;
        if (!text_is_id(text))
            return fault_set(fault, FAULT_MALFORMED,
                             "%sid: must have 1 to 200 bytes without control characters and without '/'",
                             place.text);
        item->id = arena_copy(arena, text);
        return 0;
    }
    if (slice_is(name, "data")) {
        struct mp_reader reader = mp_reader_of(value);
        struct mp_value token;
        if (mp_read(&reader, &token) < 0 || (token.kind != MP_MAP && token.kind != MP_NIL))
            return fault_set(fault, FAULT_MALFORMED, "%sdata: expected an object, got %s", place.text,
                             kind_name(token.kind));
        if (token.kind == MP_MAP) item->data = arena_copy(arena, value);
        return 0;
    }
    return fault_set(fault, FAULT_MALFORMED, "%s%.*s: unknown member; a command has type, data and id",
                     place.text, SLICE_ARGS(name));
}

static int read_command(struct mp_reader *reader, struct place place, struct arena *arena,
                        struct command_item *item, struct fault *fault)
{
    struct mp_value map;
    if (mp_read(reader, &map) < 0 || map.kind != MP_MAP)
        return fault_set(fault, FAULT_MALFORMED, "%s expected a command {\"type\",\"data\"}, got %s",
                         place.text, kind_name(map.kind));
    *item = (struct command_item){.data = slice_make("\x80", 1)}; /* an empty map */
    for (uint32_t i = 0; i < map.count; i++) {
        struct mp_value name;
        struct slice value;
        if (mp_read(reader, &name) < 0 || mp_take(reader, &value) < 0)
            return fault_set(fault, FAULT_MALFORMED, "the body cannot be read");
        if (read_member(name.text, value, place, arena, item, fault) < 0) return -1;
    }
    if (item->type.size == 0) return fault_set(fault, FAULT_MALFORMED, "%stype: is missing", place.text);
    return 0;
}

int body_read_commands(struct slice json, size_t count_max, struct buf *scratch, struct command *command,
                       struct fault *fault)
{
    buf_clear(scratch);
    if (json_to_mp(json, scratch, fault) < 0) return -1;
    struct mp_reader reader = mp_reader_of(buf_slice(scratch));
    struct mp_reader ahead = reader;
    struct mp_value token;
    if (mp_read(&ahead, &token) < 0) return fault_set(fault, FAULT_MALFORMED, "the body cannot be read");
    bool is_array = token.kind == MP_LIST;
    size_t count = is_array ? token.count : 1;
    if (is_array) reader = ahead;
    if (count == 0) return fault_set(fault, FAULT_MALFORMED, "the array holds no command");
    if (count > count_max)
        return fault_set(fault, FAULT_TOO_LARGE, "%zu commands in one transaction, more than %zu", count,
                         count_max);
    command->items = arena_take(&command->arena, count * sizeof *command->items);
    command->item_count = count;
    for (size_t i = 0; i < count; i++)
        if (read_command(&reader, place_of(is_array, i), &command->arena, &command->items[i], fault) < 0)
            return -1;
    return 0;
}

int body_read_version(struct slice if_match, int64_t *version, struct fault *fault)
{
    *version = COMMAND_ANY_VERSION;
    if (if_match.size == 0) return 0;
    int64_t number = 0;
    bool is_good = if_match.size >= 3 && if_match.size <= 20 && if_match.data[0] == '"' &&
                   if_match.data[if_match.size - 1] == '"';
    for (size_t i = 1; is_good && i + 1 < if_match.size; i++) {
        is_good = if_match.data[i] >= '0' && if_match.data[i] <= '9';
        number = number * 10 + (if_match.data[i] - '0');
    }
    if (!is_good)
        return fault_set(fault, FAULT_MALFORMED,
                         "If-Match: expected a version in quotes, like \"5\", got %.*s",
                         (int)(if_match.size < 100 ? if_match.size : 100), if_match.data);
    *version = number;
    return 0;
}

int body_read_id(struct slice text, const char *header, struct arena *arena, struct slice *id,
                 struct fault *fault)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        text.data++;
        text.size -= 2;
    }
    if (!text_is_id(text))
        return fault_set(fault, FAULT_MALFORMED,
                         "%s: must have 1 to 200 bytes of UTF-8 without control characters and without '/'",
                         header);
    *id = arena_copy(arena, text);
    return 0;
}

bool body_is_json(struct slice content_type)
{
    if (!content_type.data) return true;
    const char *end = memchr(content_type.data, ';', content_type.size);
    if (end) content_type.size = (size_t)(end - content_type.data);
    while (content_type.size && content_type.data[content_type.size - 1] == ' ') content_type.size--;
    /* What `curl -d` and HTTP libraries say when their user says nothing. Pages of other sites, which may
     * send these without asking first, are turned away by their Origin (gate.h). */
    static const char *const taken[] = {"application/json", "application/x-www-form-urlencoded",
                                        "application/octet-stream", "text/plain"};
    for (size_t at = 0; at < sizeof taken / sizeof *taken; at++)
        if (gate_same_name(content_type, taken[at])) return true;
    struct slice rest = content_type;
    if (rest.size < sizeof "application/+json") return false;
    rest.data += rest.size - 5;
    rest.size = 5;
    return gate_same_name(rest, "+json") && gate_same_name(slice_make(content_type.data, 12), "application/");
}

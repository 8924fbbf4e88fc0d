#include "net/body.h"

#include <stdio.h>

#include "base/limit.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "codec/time.h"
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

/* members: those that may be there, for the message about one that may not. */
static int read_member(struct slice name, struct slice value, struct place place, const char *members,
                       struct arena *arena, struct command_item *item, struct fault *fault)
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
    return fault_set(fault, FAULT_MALFORMED, "%s%.*s: unknown member; a command has %s", place.text,
                     SLICE_ARGS(name), members);
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
        if (read_member(name.text, value, place, "type, data and id", arena, item, fault) < 0) return -1;
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

/* "commands": one transaction. The members come in byte order, so id is read behind it. */
static int read_line_commands(struct slice value, struct command *command, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value list;
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST || list.count == 0)
        return fault_set(fault, FAULT_MALFORMED, "commands: expected an array of commands, got %s",
                         kind_name(list.kind));
    if (list.count > LIMIT_BATCH_COMMANDS_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "%u commands in one transaction, more than %d", list.count,
                         LIMIT_BATCH_COMMANDS_MAX);
    command->items = arena_take(&command->arena, list.count * sizeof *command->items);
    command->item_count = list.count;
    for (uint32_t at = 0; at < list.count; at++)
        if (read_command(&reader, place_of(true, at), &command->arena, &command->items[at], fault) < 0)
            return -1;
    return 0;
}

static int read_line_id(struct slice value, const char *member, struct command *command, struct slice *id,
                        struct fault *fault)
{
    struct slice text;
    if (read_text(value, (struct place){""}, member, &text, fault) < 0) return -1;
    if (!text_is_id(text))
        return fault_set(fault, FAULT_MALFORMED,
                         "%s: must have 1 to 200 bytes without control characters and without '/'", member);
    *id = arena_copy(&command->arena, text);
    return 0;
}

static int read_line_member(struct slice name, struct slice value, struct command *command, bool is_batch,
                            struct fault *fault)
{
    static const char members[] = "stream, type, data, id, version, and for imports event and at";
    struct place none = {""};
    struct slice text;
    if (is_batch && (slice_is(name, "type") || slice_is(name, "data") || slice_is(name, "event")))
        return fault_set(fault, FAULT_MALFORMED, "%.*s and commands exclude each other", SLICE_ARGS(name));
    if (is_batch && slice_is(name, "id"))
        return read_line_id(value, "id", command, &command->batch_id, fault);
    if (slice_is(name, "correlation"))
        return read_line_id(value, "correlation", command, &command->correlation_id, fault);
    if (slice_is(name, "causation"))
        return read_line_id(value, "causation", command, &command->causation_id, fault);
    if (slice_is(name, "stream")) {
        if (read_text(value, none, "stream", &text, fault) < 0) return -1;
        text = arena_copy(&command->arena, text);
        return text_split_stream(text, &command->context, &command->aggregate, &command->id, fault);
    }
    if (slice_is(name, "version")) {
        struct mp_reader reader = mp_reader_of(value);
        struct mp_value token;
        if (mp_read(&reader, &token) < 0 || token.kind != MP_INT || token.integer < 0)
            return fault_set(fault, FAULT_MALFORMED, "version: expected a whole number from 0");
        command->expected_version = token.integer;
        return 0;
    }
    if (slice_is(name, "at")) {
        if (read_text(value, none, "at", &text, fault) < 0) return -1;
        if (time_parse(text, &command->at_ms)) return 0;
        return fault_set(fault, FAULT_MALFORMED, "at: expected a time like 2026-02-01T08:26:00Z");
    }
    if (slice_is(name, "event")) {
        if (command->items->type.size)
            return fault_set(fault, FAULT_MALFORMED, "event and type exclude each other");
        command->is_fact = true;
        return read_member(slice_of("type"), value, none, members, &command->arena, command->items, fault);
    }
    if (slice_is(name, "type") && command->is_fact)
        return fault_set(fault, FAULT_MALFORMED, "event and type exclude each other");
    return read_member(name, value, none, members, &command->arena, command->items, fault);
}

int body_read_line(struct slice json, struct buf *scratch, struct command *command, struct fault *fault)
{
    buf_clear(scratch);
    if (json_to_mp(json, scratch, fault) < 0) return -1;
    struct mp_reader reader = mp_reader_of(buf_slice(scratch));
    struct mp_value map;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP)
        return fault_set(fault, FAULT_MALFORMED, "expected a command {\"stream\",\"type\",\"data\"}, got %s",
                         kind_name(map.kind));
    command->item_count = 1;
    command->items = arena_zero(&command->arena, sizeof *command->items);
    command->items->data = slice_make("\x80", 1); /* an empty map */
    bool is_batch = false;
    for (uint32_t at = 0; at < map.count; at++) {
        struct mp_value name;
        struct slice value;
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &value) < 0)
            return fault_set(fault, FAULT_MALFORMED, "the line cannot be read");
        if (slice_is(name.text, "commands")) {
            is_batch = true;
            if (read_line_commands(value, command, fault) < 0) return -1;
        } else if (read_line_member(name.text, value, command, is_batch, fault) < 0) {
            return -1;
        }
    }
    if (!command->id.size) return fault_set(fault, FAULT_MALFORMED, "stream: is missing");
    if (!command->items->type.size) return fault_set(fault, FAULT_MALFORMED, "type: is missing");
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

static struct slice media_type(struct slice content_type)
{
    const char *end = content_type.size ? memchr(content_type.data, ';', content_type.size) : NULL;
    if (end) content_type.size = (size_t)(end - content_type.data);
    while (content_type.size && content_type.data[content_type.size - 1] == ' ') content_type.size--;
    return content_type;
}

bool body_is_json(struct slice content_type)
{
    if (!content_type.data) return true;
    content_type = media_type(content_type);
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

bool body_is_lines(struct slice content_type)
{
    return body_is_json(content_type) || gate_same_name(media_type(content_type), "application/x-ndjson");
}

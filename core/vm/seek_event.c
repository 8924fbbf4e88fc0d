/* Two events can be at hand: the one of the hit, and one that was read again for a function that kept it.
 * Each is a struct seen: the record, the event in it, and what was made of them so far. */
#include "vm/seek_event.h"

#include <lauxlib.h>

#include "codec/mp.h"
#include "codec/time.h"
#include "vm/value.h"

enum { DAY_MS = 86400000, CHAIN_SIZE = SEEK_EVENT_PACKED_SIZE - 8 };

static const char event_type[] = "lore.event", data_type[] = "lore.event_data";

/* In byte order. What is behind VERSION is for paths only. */
enum field {
    FIELD_ACTOR,
    FIELD_AGGREGATE,
    FIELD_AT,
    FIELD_CAUSATION_ID,
    FIELD_COMMAND_ID,
    FIELD_CONTEXT,
    FIELD_CORRELATION_ID,
    FIELD_DATA,
    FIELD_DEPLOY,
    FIELD_ID,
    FIELD_POSITION,
    FIELD_RECORDED,
    FIELD_STREAM,
    FIELD_TENANT,
    FIELD_TYPE,
    FIELD_TYPE_VERSION,
    FIELD_VERSION,
    FIELD_DAY,
    FIELD_MONTH,
    FIELD_YEAR
};
enum { FIELD_COUNT = FIELD_DAY, FIELD_PATH_COUNT = FIELD_YEAR + 1 };

static const char *const field_names[FIELD_PATH_COUNT] = {
    "actor", "aggregate",    "at",      "causation_id", "command_id", "context", "correlation_id",
    "data",  "deploy",       "id",      "position",     "recorded",   "stream",  "tenant",
    "type",  "type_version", "version", "day",          "month",      "year"};

struct seen {
    const struct record *record;
    struct record_event event;
    bool ids_read;
    struct record_ids ids;
    struct arena arena; /* of the ids */
};

struct seek_reader {
    const struct seek_source *source;
    int event_meta, data_meta; /* registry references */
    uint64_t serial;           /* of the hit at hand; 0: none */
    uint64_t serial_last;
    struct seen hit, again;
    struct record record; /* of again, over bytes */
    struct buf bytes;
    struct buf text; /* of the last field that had to be put together */
    int64_t day;     /* the last one formatted, since 1970, + 1; 0: none */
    char time[TIME_TEXT_SIZE + 1];
};

struct event { /* in Lua */
    struct seek_reader *reader;
    uint64_t serial, position;
    uint8_t chain[CHAIN_SIZE];
};

/* --- paths --- */

static int find_field(struct slice name, int count)
{
    for (int field = 0; field < count; field++)
        if (slice_is(name, field_names[field])) return field;
    return -1;
}

static bool has_empty_part(struct slice text)
{
    bool empty = true;
    for (size_t at = 0; at < text.size; at++) {
        if (text.data[at] == '.' && empty) return true;
        empty = text.data[at] == '.';
    }
    return empty;
}

bool seek_path_read(struct slice text, struct seek_path *path)
{
    if (has_empty_part(text)) return false;
    *path = (struct seek_path){.field = find_field(text, FIELD_PATH_COUNT), .whole = text};
    if (path->field >= 0) return true;
    path->field = FIELD_DATA;
    path->event = text;
    if (slice_starts(text, "data.")) path->event = slice_make(text.data + 5, text.size - 5);
    return true;
}

/* --- events at hand --- */

static void see(struct seen *seen, const struct record *record, const struct record_event *event)
{
    if (seen->ids_read) {
        arena_reset(&seen->arena);
        seen->ids_read = false;
    }
    seen->record = record;
    seen->event = *event;
}

void seek_reader_take(struct seek_reader *reader, const struct seek_hit *hit)
{
    see(&reader->hit, hit->record, &hit->event);
    reader->serial = ++reader->serial_last;
}

bool seek_reader_has(const struct seek_reader *reader, const struct seek_hit *hit)
{
    return reader->serial && reader->hit.record == hit->record &&
           reader->hit.event.position == hit->event.position;
}

void seek_reader_end(struct seek_reader *reader)
{
    reader->serial = 0;
    reader->hit.record = NULL;
}

static int is_gone(lua_State *lua, uint64_t position)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "the event at position %llu is not in the log any more",
                    (unsigned long long)position);
}

/* Brings the event of a kept value to hand, once more. */
static struct seen *read_again(lua_State *lua, struct seek_reader *reader, const struct event *event)
{
    struct fault fault;
    struct record_event found = {0};
    struct seen *again = &reader->again;
    if (again->record && again->event.position == event->position) return again;
    again->record = NULL;
    if (!reader->source) vm_raise(lua, FAULT_SCRIPT, 1, "an event is only valid during its call");
    int got =
        reader->source->get(reader->source->user, event->position, &reader->bytes, &reader->record, &fault);
    if (got < 0) vm_raise(lua, fault.code, 1, "%s", fault.text);
    if (got == 0 || memcmp(reader->record.chain.bytes, event->chain, CHAIN_SIZE) != 0)
        is_gone(lua, event->position);
    while (record_next_event(&reader->record, &found))
        if (found.position == event->position) {
            see(again, &reader->record, &found);
            return again;
        }
    is_gone(lua, event->position);
    return NULL;
}

static struct seen *seen_of(lua_State *lua, const struct event *event)
{
    struct seek_reader *reader = event->reader;
    if (event->serial == reader->serial && event->serial) return &reader->hit;
    return read_again(lua, reader, event);
}

/* --- fields --- */

static void put_digits(char *to, int64_t value, int digits)
{
    for (int at = digits - 1; at >= 0; at--, value /= 10) to[at] = (char)('0' + value % 10);
}

/* Events come in order of time, mostly: the date is formatted once a day. */
static void time_value(struct seek_reader *reader, int64_t ms, size_t size, struct seek_value *value)
{
    int64_t day = ms / DAY_MS, rest = ms % DAY_MS;
    value->kind = SEEK_NIL;
    if (!time_valid(ms)) return;
    if (ms < 0 || reader->day != day + 1) {
        time_format(ms, reader->time);
        reader->day = ms < 0 ? 0 : day + 1;
    } else if (size == TIME_TEXT_SIZE) {
        put_digits(reader->time + 11, rest / 3600000, 2);
        put_digits(reader->time + 14, rest / 60000 % 60, 2);
        put_digits(reader->time + 17, rest / 1000 % 60, 2);
        put_digits(reader->time + 20, rest % 1000, 3);
    }
    value->kind = SEEK_TEXT;
    value->text = slice_make(reader->time, size);
}

static struct seek_value text_value(struct slice text)
{
    if (text.size == 0) return (struct seek_value){.kind = SEEK_NIL};
    return (struct seek_value){.kind = SEEK_TEXT, .text = text};
}

static struct seek_value count_value(uint64_t count)
{
    if (count == 0) return (struct seek_value){.kind = SEEK_NIL};
    return (struct seek_value){.kind = SEEK_INTEGER, .integer = (int64_t)count};
}

static const struct record_ids *ids_of(struct seen *seen)
{
    if (!seen->ids_read) record_read_ids(seen->record, &seen->arena, &seen->ids);
    seen->ids_read = true;
    return &seen->ids;
}

static struct slice name_of(const struct seen *seen, uint32_t number)
{
    return names_get(seen->record->names, number);
}

/* "billing/bill": the part before the slash, or behind it. */
static struct slice aggregate_part(const struct seen *seen, bool is_context)
{
    struct slice name = name_of(seen, seen->record->aggregate);
    const char *slash = name.size ? memchr(name.data, '/', name.size) : NULL;
    if (!slash) return is_context ? SLICE_NONE : name;
    size_t size = (size_t)(slash - name.data);
    return is_context ? slice_make(name.data, size) : slice_make(slash + 1, name.size - size - 1);
}

static struct slice stream_of(struct seek_reader *reader, const struct seen *seen)
{
    buf_clear(&reader->text);
    buf_put_slice(&reader->text, name_of(seen, seen->record->aggregate));
    buf_put_byte(&reader->text, '/');
    buf_put_slice(&reader->text, seen->record->id);
    return buf_slice(&reader->text);
}

static void envelope_value(struct seek_reader *reader, struct seen *seen, int field, struct seek_value *value)
{
    const struct record *record = seen->record;
    switch ((enum field)field) {
    case FIELD_ACTOR: *value = text_value(name_of(seen, record->actor)); break;
    case FIELD_AGGREGATE: *value = text_value(aggregate_part(seen, false)); break;
    case FIELD_AT: time_value(reader, seen->event.at_ms, TIME_TEXT_SIZE, value); break;
    case FIELD_DAY: time_value(reader, seen->event.at_ms, 10, value); break;
    case FIELD_MONTH: time_value(reader, seen->event.at_ms, 7, value); break;
    case FIELD_YEAR: time_value(reader, seen->event.at_ms, 4, value); break;
    case FIELD_CAUSATION_ID: *value = text_value(ids_of(seen)->causation_id); break;
    case FIELD_COMMAND_ID: *value = text_value(ids_of(seen)->command_id); break;
    case FIELD_CORRELATION_ID: *value = text_value(ids_of(seen)->correlation_id); break;
    case FIELD_CONTEXT: *value = text_value(aggregate_part(seen, true)); break;
    case FIELD_DEPLOY: *value = count_value(record->deploy); break;
    case FIELD_ID: *value = text_value(record->id); break;
    case FIELD_POSITION: *value = count_value(seen->event.position); break;
    case FIELD_RECORDED: time_value(reader, record->recorded_ms, TIME_TEXT_SIZE, value); break;
    case FIELD_STREAM: *value = text_value(stream_of(reader, seen)); break;
    case FIELD_TENANT: *value = text_value(name_of(seen, record->tenant)); break;
    case FIELD_TYPE: *value = text_value(name_of(seen, seen->event.type)); break;
    case FIELD_TYPE_VERSION: *value = count_value(seen->event.type_version); break;
    case FIELD_VERSION: *value = count_value(seen->event.version); break;
    case FIELD_DATA:
        value->kind = SEEK_PACKED;
        value->text = seen->event.data;
        break;
    }
}

/* Of the data: down the parts of the path; absent: nothing. */
static bool data_bytes(struct slice data, struct slice path, struct slice *bytes)
{
    *bytes = data;
    while (path.size) {
        const char *dot = memchr(path.data, '.', path.size);
        struct slice part = slice_make(path.data, dot ? (size_t)(dot - path.data) : path.size);
        if (!mp_find(*bytes, part, bytes)) return false;
        size_t used = part.size + (dot != NULL);
        path = slice_make(path.data + used, path.size - used);
    }
    return true;
}

void seek_event_field(struct seek_reader *reader, const struct seek_path *path, struct seek_value *value)
{
    struct slice bytes;
    if (path->event.size == 0) {
        envelope_value(reader, &reader->hit, path->field, value);
    } else if (!data_bytes(reader->hit.event.data, path->event, &bytes) || !seek_value_read(bytes, value)) {
        value->kind = SEEK_NIL;
    }
}

bool seek_event_tag(const struct seek_reader *reader, const struct seek_path *path, uint64_t *tag)
{
    const struct seen *seen = &reader->hit;
    if (path->event.size) return false;
    switch ((enum field)path->field) {
    case FIELD_TYPE: *tag = seen->event.type; return true;
    case FIELD_AGGREGATE:
    case FIELD_CONTEXT: *tag = seen->record->aggregate; return true;
    case FIELD_TENANT: *tag = seen->record->tenant; return true;
    case FIELD_ACTOR: *tag = seen->record->actor; return true;
    case FIELD_DEPLOY: *tag = seen->record->deploy; return true;
    case FIELD_DAY:
    case FIELD_MONTH:
    case FIELD_YEAR: *tag = (uint64_t)(seen->event.at_ms / DAY_MS); return seen->event.at_ms >= 0;
    default: return false;
    }
}

static void push_envelope(lua_State *lua, struct seek_reader *reader, struct seen *seen, int field)
{
    struct seek_value value;
    envelope_value(reader, seen, field, &value);
    switch (value.kind) {
    case SEEK_TEXT: lua_pushlstring(lua, value.text.data, value.text.size); break;
    case SEEK_INTEGER: lua_pushinteger(lua, value.integer); break;
    case SEEK_PACKED: value_push(lua, value.text); break;
    default: lua_pushnil(lua);
    }
}

static void push_path(lua_State *lua, struct seek_reader *reader, struct seen *seen,
                      const struct seek_path *path)
{
    struct slice bytes;
    if (path->event.size == 0)
        push_envelope(lua, reader, seen, path->field);
    else if (data_bytes(seen->event.data, path->event, &bytes))
        value_push(lua, bytes);
    else
        lua_pushnil(lua);
}

void seek_event_push_field(lua_State *lua, struct seek_reader *reader, const struct seek_path *path)
{
    push_path(lua, reader, &reader->hit, path);
}

/* --- events in Lua --- */

static void push_event(lua_State *lua, struct seek_reader *reader, uint64_t serial, uint64_t position,
                       const uint8_t *chain)
{
    struct event *event = lua_newuserdatauv(lua, sizeof *event, 0);
    *event = (struct event){.reader = reader, .serial = serial, .position = position};
    memcpy(event->chain, chain, CHAIN_SIZE);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, reader->event_meta);
    lua_setmetatable(lua, -2);
}

void seek_event_push(lua_State *lua, struct seek_reader *reader)
{
    push_event(lua, reader, reader->serial, reader->hit.event.position, reader->hit.record->chain.bytes);
}

void seek_event_push_packed(lua_State *lua, struct seek_reader *reader, struct slice packed)
{
    uint64_t position;
    memcpy(&position, packed.data, sizeof position);
    push_event(lua, reader, 0, position, (const uint8_t *)packed.data + sizeof position);
}

void seek_event_pack(const struct seek_reader *reader, char bytes[SEEK_EVENT_PACKED_SIZE])
{
    memcpy(bytes, &reader->hit.event.position, 8);
    memcpy(bytes + 8, reader->hit.record->chain.bytes, CHAIN_SIZE);
}

bool seek_event_pack_at(lua_State *lua, int index, char bytes[SEEK_EVENT_PACKED_SIZE])
{
    const struct event *event = luaL_testudata(lua, index, event_type);
    if (!event) return false;
    memcpy(bytes, &event->position, 8);
    memcpy(bytes + 8, event->chain, CHAIN_SIZE);
    return true;
}

/* Upvalue 1: names -> field + 1. Only metamethods come here: they get nothing but events. */
static int event_index(lua_State *lua)
{
    struct event *event = lua_touserdata(lua, 1);
    lua_settop(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) == LUA_TNIL) return 1;
    int field = (int)lua_tointeger(lua, -1);
    struct seen *seen = seen_of(lua, event);
    if (field != FIELD_DATA) {
        push_envelope(lua, event->reader, seen, field);
        return 1;
    }
    lua_newuserdatauv(lua, 1, 1);
    lua_pushvalue(lua, 1);
    lua_setiuservalue(lua, -2, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, event->reader->data_meta);
    lua_setmetatable(lua, -2);
    return 1;
}

static int data_index(lua_State *lua)
{
    struct slice key, bytes;
    if (lua_type(lua, 2) != LUA_TSTRING) return 0;
    lua_getiuservalue(lua, 1, 1);
    struct seen *seen = seen_of(lua, lua_touserdata(lua, -1));
    key.data = lua_tolstring(lua, 2, &key.size);
    if (!mp_find(seen->event.data, key, &bytes)) return 0;
    value_push(lua, bytes);
    return 1;
}

static void push_event_table(lua_State *lua, const struct event *event)
{
    struct seen *seen = seen_of(lua, event);
    lua_createtable(lua, 0, FIELD_COUNT);
    for (int field = 0; field < FIELD_COUNT; field++) {
        push_envelope(lua, event->reader, seen, field);
        lua_setfield(lua, -2, field_names[field]);
    }
}

bool seek_event_push_table(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TUSERDATA) return false;
    luaL_checkstack(lua, 8, NULL);
    const struct event *event = luaL_testudata(lua, index, event_type);
    if (event) {
        push_event_table(lua, event);
        return true;
    }
    if (!luaL_testudata(lua, index, data_type)) return false;
    lua_getiuservalue(lua, index, 1);
    struct seen *seen = seen_of(lua, lua_touserdata(lua, -1));
    lua_pop(lua, 1);
    value_push(lua, seen->event.data);
    return true;
}

void seek_event_push_path(lua_State *lua, int index, const struct seek_path *path)
{
    const struct event *event = lua_touserdata(lua, index);
    push_path(lua, event->reader, seen_of(lua, event), path);
}

static int event_pairs(lua_State *lua)
{
    lua_settop(lua, 1);
    seek_event_push_table(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_getfield(lua, -1, "pairs");
    lua_pushvalue(lua, 2);
    lua_call(lua, 1, 3);
    return 3;
}

static int event_refuse(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "an event cannot be changed: make a table of your own");
}

static int event_equal(lua_State *lua)
{
    const struct event *a = luaL_testudata(lua, 1, event_type), *b = luaL_testudata(lua, 2, event_type);
    lua_pushboolean(lua, a && b && a->position == b->position);
    return 1;
}

static int event_text(lua_State *lua)
{
    const struct event *event = lua_touserdata(lua, 1);
    lua_pushfstring(lua, "event %I", (lua_Integer)event->position);
    return 1;
}

static int reader_gc(lua_State *lua)
{
    struct seek_reader *reader = lua_touserdata(lua, 1);
    arena_release(&reader->hit.arena);
    arena_release(&reader->again.arena);
    buf_release(&reader->bytes);
    buf_release(&reader->text);
    return 0;
}

static void make_types(lua_State *lua)
{
    static const luaL_Reg event_functions[] = {{"__pairs", event_pairs},
                                               {"__newindex", event_refuse},
                                               {"__eq", event_equal},
                                               {"__tostring", event_text},
                                               {NULL, NULL}};
    static const luaL_Reg data_functions[] = {
        {"__index", data_index}, {"__pairs", event_pairs}, {"__newindex", event_refuse}, {NULL, NULL}};
    if (luaL_newmetatable(lua, event_type)) {
        luaL_setfuncs(lua, event_functions, 0);
        lua_createtable(lua, 0, FIELD_COUNT);
        for (int field = 0; field < FIELD_COUNT; field++) {
            lua_pushinteger(lua, field);
            lua_setfield(lua, -2, field_names[field]);
        }
        lua_pushcclosure(lua, event_index, 1);
        lua_setfield(lua, -2, "__index");
        lua_pushboolean(lua, 0);
        lua_setfield(lua, -2, "__metatable");
    }
    if (luaL_newmetatable(lua, data_type)) {
        luaL_setfuncs(lua, data_functions, 0);
        lua_pushboolean(lua, 0);
        lua_setfield(lua, -2, "__metatable");
    }
    lua_pop(lua, 2);
}

bool seek_event_is(lua_State *lua, int index)
{
    return luaL_testudata(lua, index, event_type) || luaL_testudata(lua, index, data_type);
}

struct seek_reader *seek_reader_push(lua_State *lua, const struct seek_source *source)
{
    make_types(lua);
    vm_of(lua)->push_plain = seek_event_push_table;
    struct seek_reader *reader = lua_newuserdatauv(lua, sizeof *reader, 0);
    *reader = (struct seek_reader){.source = source};
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, reader_gc);
    lua_setfield(lua, -2, "__gc");
    lua_setmetatable(lua, -2);
    luaL_getmetatable(lua, event_type);
    reader->event_meta = luaL_ref(lua, LUA_REGISTRYINDEX);
    luaL_getmetatable(lua, data_type);
    reader->data_meta = luaL_ref(lua, LUA_REGISTRYINDEX);
    return reader;
}

static int word_type(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (lua_type(lua, 1) == LUA_TUSERDATA &&
        (luaL_testudata(lua, 1, event_type) || luaL_testudata(lua, 1, data_type)))
        lua_pushliteral(lua, "table");
    else
        lua_pushstring(lua, luaL_typename(lua, 1));
    return 1;
}

void seek_event_add_type(lua_State *lua)
{
    lua_pushcfunction(lua, word_type);
    lua_setfield(lua, -2, "type");
}

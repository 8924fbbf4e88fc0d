#include "vm/seek_program.h"

#include <lauxlib.h>

#include "base/mem.h"
#include "codec/text.h"
#include "vm/seek_row.h"
#include "vm/value.h"
#include "vm/watchdog.h"

enum {
    MEMORY_LOOK_EVERY = 256, /* rows */
    MEMORY_LOOK_BYTES = 1 << 20,
    GROUPS_NAMED_MAX = 1 << 14 /* beyond, names are not kept as texts of Lua */
};

/* --- parts --- */

void seek_program_open(struct seek_program *program, lua_State *lua, struct seek_reader *reader)
{
    *program = (struct seek_program){.lua = lua, .reader = reader, .groups_ref = LUA_NOREF};
    program->group.ref = program->value.ref = LUA_NOREF;
}

struct seek_stage *seek_program_add(struct seek_program *program, enum seek_stage_kind kind)
{
    size_t size = (program->stage_count + 1) * sizeof *program->stages;
    program->stages = mem_resize(program->stages, size);
    struct seek_stage *stage = &program->stages[program->stage_count++];
    *stage = (struct seek_stage){.kind = kind};
    stage->function.ref = LUA_NOREF;
    return stage;
}

struct seek_function seek_function_path(const struct seek_function *function)
{
    struct seek_function copy = {.kind = function->kind, .ref = LUA_NOREF};
    if (function->kind != SEEK_PATH) return copy;
    copy.text = mem_text(function->path.whole.data, function->path.whole.size);
    seek_path_read(slice_make(copy.text, function->path.whole.size), &copy.path);
    return copy;
}

static void function_close(struct seek_program *program, struct seek_function *function)
{
    luaL_unref(program->lua, LUA_REGISTRYINDEX, function->ref);
    mem_free(function->text);
}

void seek_program_close(struct seek_program *program)
{
    if (!program->lua) return;
    for (size_t at = 0; at < program->stage_count; at++) {
        struct seek_stage *stage = &program->stages[at];
        function_close(program, &stage->function);
        mem_free(stage->view);
        if (stage->kind == SEEK_SORT) seek_fold_release(&stage->rows);
    }
    function_close(program, &program->group);
    function_close(program, &program->value);
    luaL_unref(program->lua, LUA_REGISTRYINDEX, program->groups_ref);
    seek_fold_release(&program->fold);
    buf_release(&program->key);
    buf_release(&program->row);
    buf_release(&program->label);
    buf_release(&program->packed);
    mem_free(program->stages);
    *program = (struct seek_program){0};
}

size_t seek_program_free_stages(const struct seek_program *program)
{
    size_t count = 0;
    while (count < program->stage_count && program->stages[count].kind <= SEEK_MAP) count++;
    return count;
}

bool seek_program_is_bare(const struct seek_program *program)
{
    for (size_t at = 0; at < program->stage_count; at++)
        if (program->stages[at].function.kind == SEEK_LUA) return false;
    return program->group.kind != SEEK_LUA && program->value.kind != SEEK_LUA;
}

static bool is_stopped(void *user)
{
    const struct vm_leash *leash = vm_of(user)->leash;
    return leash && watchdog_leash_ended(leash);
}

static void begin_fold(struct seek_program *program, struct seek_fold *fold, const struct seek_plan *plan)
{
    seek_fold_begin(fold, plan);
    fold->stops = is_stopped;
    fold->user = program->lua;
}

void seek_program_begin(struct seek_program *program)
{
    for (size_t at = 0; at < program->stage_count; at++) {
        struct seek_stage *stage = &program->stages[at];
        stage->seen = 0;
        if (stage->kind == SEEK_LIMIT && stage->count == 0) program->enough = true;
        if (stage->kind != SEEK_SORT) continue;
        struct seek_plan sorted = {.end = stage->descending ? SEEK_SORTED_DOWN : SEEK_SORTED_UP};
        begin_fold(program, &stage->rows, &sorted);
    }
    if (program->has_end) begin_fold(program, &program->fold, &program->plan);
}

static int refuse(struct seek_program *program, const char *what, const struct seek_value *value)
{
    return vm_raise(program->lua, FAULT_SCRIPT, 1, "%s: got %s", what, seek_value_name(value));
}

static size_t kept_bytes(const struct seek_program *program)
{
    size_t kept = program->fold.bytes + program->label.size_max + program->row.size_max;
    for (size_t at = 0; at < program->stage_count; at++)
        if (program->stages[at].kind == SEEK_SORT) kept += program->stages[at].rows.bytes;
    return kept;
}

/* Now and then, and whenever much was kept since: one row may be as large as a value can be. */
static void check_memory(struct seek_program *program)
{
    size_t kept = kept_bytes(program);
    if (++program->rows % MEMORY_LOOK_EVERY && kept < program->kept_looked + MEMORY_LOOK_BYTES) return;
    program->kept_looked = kept;
    size_t used = vm_of(program->lua)->memory_used;
    if (used > program->memory_max || kept > program->memory_max - used)
        vm_raise(program->lua, FAULT_BUDGET, 1, "the query needs more than its %zu MiB of memory",
                 program->memory_max >> 20);
}

/* --- functions of a row --- */

/* The row's values on the stack. */
static void push_row_values(struct seek_program *program, struct seek_row *row)
{
    lua_State *lua = program->lua;
    if (row->count > 0) return;
    seek_event_push(lua, program->reader);
    row->at = lua_gettop(lua);
    row->count = 1;
}

static void push_called(struct seek_program *program, const struct seek_function *function,
                        struct seek_row *row)
{
    lua_State *lua = program->lua;
    push_row_values(program, row);
    luaL_checkstack(lua, row->count + 8, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, function->ref);
    for (int at = 0; at < row->count; at++) lua_pushvalue(lua, row->at + at);
    lua_call(lua, row->count, 1);
    /* A query inside of the function has had the reader for itself. */
    if (row->is_hit && !seek_reader_has(program->reader, program->hit))
        seek_reader_take(program->reader, program->hit);
}

/* Pushes what the function gives for the row. */
static void push_result(struct seek_program *program, const struct seek_function *function,
                        struct seek_row *row)
{
    if (function->kind == SEEK_LUA)
        push_called(program, function, row);
    else if (function->kind == SEEK_NONE)
        seek_row_push(program, row);
    else
        seek_row_push_path(program, &function->path, row);
}

/* The same as a value; it may be borrowed from the stack, from the hit, or from the program. */
static void value_of(struct seek_program *program, const struct seek_function *function, struct seek_row *row,
                     struct seek_value *value)
{
    bool is_plain_hit = row->is_hit && row->count <= 1;
    if (function->kind == SEEK_PATH && is_plain_hit) {
        seek_event_field(program->reader, &function->path, value);
        return;
    }
    push_result(program, function, row);
    seek_row_value(program, -1, value);
}

static bool is_true(struct seek_program *program, const struct seek_function *function, struct seek_row *row)
{
    struct seek_value value;
    if (function->kind == SEEK_LUA) {
        push_called(program, function, row);
        bool is = lua_toboolean(program->lua, -1);
        lua_pop(program->lua, 1);
        return is;
    }
    value_of(program, function, row, &value);
    return value.kind != SEEK_NIL && !(value.kind == SEEK_BOOLEAN && !value.boolean);
}

/* --- groups --- */

static struct seek_group *group_by_value(struct seek_program *program, const struct seek_value *value)
{
    if (value->kind == SEEK_NIL) return NULL;
    buf_clear(&program->label);
    bool is_text = value->kind != SEEK_TEXT || text_is_utf8(value->text);
    if (!is_text || !seek_value_label(&program->label, value))
        vm_raise(program->lua, FAULT_SCRIPT, 1,
                 "group: a key is a text, number, boolean, decimal, or nil to leave a row out; got %s",
                 is_text ? seek_value_name(value) : "a text that is not UTF-8");
    return seek_fold_group(&program->fold, buf_slice(&program->label));
}

/* Functions give the same few texts again and again: those are found by Lua's own table. */
static struct seek_group *group_by_text(struct seek_program *program)
{
    lua_State *lua = program->lua;
    struct seek_value value;
    if (program->groups_ref == LUA_NOREF) {
        lua_newtable(lua);
        program->groups_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, program->groups_ref);
    lua_pushvalue(lua, -2);
    if (lua_rawget(lua, -2) == LUA_TLIGHTUSERDATA) return lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    seek_row_value(program, -2, &value);
    struct seek_group *group = group_by_value(program, &value);
    if (program->fold.groups.size < GROUPS_NAMED_MAX) {
        lua_pushvalue(lua, -2);
        lua_pushlightuserdata(lua, group);
        lua_rawset(lua, -3);
    }
    return group;
}

/* Fields of the envelope are few values as well, and have a number at hand. */
static struct seek_group *group_by_path(struct seek_program *program, struct seek_row *row)
{
    struct seek_value value;
    uint64_t tag;
    if (!row->is_hit || row->count > 1 || !seek_event_tag(program->reader, &program->group.path, &tag)) {
        value_of(program, &program->group, row, &value);
        return group_by_value(program, &value);
    }
    struct seek_kept_group *kept = &program->kept[tag % SEEK_GROUPS_KEPT];
    if (kept->group && kept->tag == tag) return kept->group;
    seek_event_field(program->reader, &program->group.path, &value);
    kept->tag = tag;
    kept->group = group_by_value(program, &value);
    return kept->group;
}

/* NULL: the row is in none. */
static struct seek_group *group_of(struct seek_program *program, struct seek_row *row)
{
    struct seek_value value;
    if (program->group.kind == SEEK_NONE) return &program->fold.all;
    if (program->group.kind == SEEK_PATH) return group_by_path(program, row);
    push_called(program, &program->group, row);
    if (lua_type(program->lua, -1) == LUA_TSTRING) return group_by_text(program);
    seek_row_value(program, -1, &value);
    return group_by_value(program, &value);
}

/* --- ends --- */

static const char *const end_names[] = {"count", "sum",  "avg",    "min",      "max",  "quantile", "top",
                                        "first", "last", "sample", "distinct", "rows", "sort",     "sort"};

static void keep_row(struct seek_program *program, struct seek_fold *fold, struct seek_group *group,
                     struct slice key, struct seek_row *row)
{
    if (!seek_fold_wants(fold, group, key, row->order)) return;
    buf_clear(&program->row);
    seek_row_pack(program, row, &program->row);
    seek_fold_keep(fold, group, key, row->order, buf_slice(&program->row));
}

/* MIN, MAX, QUANTILE and DISTINCT keep the value, TOP the row. */
static void keep_by_value(struct seek_program *program, struct seek_group *group, struct seek_row *row)
{
    struct seek_value value;
    enum seek_end end = program->plan.end;
    value_of(program, &program->value, row, &value);
    if (value.kind == SEEK_NIL) return;
    buf_clear(&program->key);
    bool has_key = end == SEEK_DISTINCT ? seek_value_identity(&program->key, &value)
                                        : seek_value_key(&program->key, &value);
    if (end == SEEK_QUANTILE && value.kind != SEEK_INTEGER && value.kind != SEEK_FLOAT &&
        value.kind != SEEK_DECIMAL)
        has_key = false;
    if (!has_key)
        vm_raise(program->lua, FAULT_SCRIPT, 1, "%s: %s is expected, got %s", end_names[end],
                 end == SEEK_QUANTILE ? "a number" : "a number, text, boolean or decimal",
                 seek_value_name(&value));
    struct slice key = buf_slice(&program->key);
    if (end == SEEK_TOP) {
        keep_row(program, &program->fold, group, key, row);
        return;
    }
    if (!seek_fold_wants(&program->fold, group, key, row->order)) return;
    buf_clear(&program->row);
    seek_row_pack_value(&program->row, &value);
    seek_fold_keep(&program->fold, group, key, row->order, buf_slice(&program->row));
}

static void add_value(struct seek_program *program, struct seek_group *group, struct seek_row *row)
{
    struct seek_value value;
    struct fault fault;
    value_of(program, &program->value, row, &value);
    if (value.kind == SEEK_NIL) return;
    if (seek_fold_add(&program->fold, group, &value, &fault) < 0)
        vm_raise(program->lua, FAULT_SCRIPT, 1, "%s: %s", end_names[program->plan.end], fault.text);
}

static void take_end(struct seek_program *program, struct seek_row *row)
{
    if (!program->has_end) {
        program->give(program, row);
        return;
    }
    struct seek_group *group = group_of(program, row);
    if (!group) return;
    switch (program->plan.end) {
    case SEEK_COUNT: group->count++; break;
    case SEEK_SUM:
    case SEEK_AVERAGE: add_value(program, group, row); break;
    case SEEK_FIRST:
    case SEEK_LAST:
    case SEEK_SAMPLE:
    case SEEK_ROWS: keep_row(program, &program->fold, group, SLICE_NONE, row); break;
    default: keep_by_value(program, group, row);
    }
    if (program->plan.end == SEEK_FIRST && program->group.kind == SEEK_NONE) program->enough = true;
}

/* --- stages --- */

/* Rows that wait are in the fold of the stage, like those of an end. */
static void sort_later(struct seek_program *program, struct seek_stage *stage, struct seek_row *row)
{
    struct seek_value value;
    value_of(program, &stage->function, row, &value);
    buf_clear(&program->key);
    if (value.kind != SEEK_NIL && !seek_value_key(&program->key, &value))
        refuse(program, "sort: a number, text, boolean or decimal is expected", &value);
    keep_row(program, &stage->rows, &stage->rows.all, buf_slice(&program->key), row);
}

static void join_document(struct seek_program *program, struct seek_stage *stage, struct seek_row *row)
{
    lua_State *lua = program->lua;
    struct seek_value value;
    struct fault fault;
    push_row_values(program, row);
    value_of(program, &stage->function, row, &value);
    buf_clear(&program->label);
    if (value.kind != SEEK_NIL && !seek_value_label(&program->label, &value))
        refuse(program, "join: a key is a text or a number", &value);
    lua_settop(lua, row->at + row->count - 1);
    buf_clear(&program->packed);
    int found = program->label.size == 0
                    ? 0
                    : program->views->get(program->views->user, slice_of(stage->view),
                                          buf_slice(&program->label), &program->packed, &fault);
    if (found < 0) vm_raise(lua, fault.code, 1, "join: %s", fault.text);
    luaL_checkstack(lua, 8, NULL);
    if (found)
        value_push(lua, buf_slice(&program->packed));
    else
        lua_pushnil(lua);
    row->count++;
}

/* False: it goes no further. */
static bool map_row(struct seek_program *program, struct seek_stage *stage, struct seek_row *row)
{
    push_result(program, &stage->function, row);
    if (lua_isnil(program->lua, -1)) return false;
    *row = (struct seek_row){.at = lua_gettop(program->lua), .count = 1, .order = row->order};
    return true;
}

static bool pass_stage(struct seek_program *program, struct seek_stage *stage, struct seek_row *row)
{
    switch (stage->kind) {
    case SEEK_WHERE: return is_true(program, &stage->function, row);
    case SEEK_MAP: return map_row(program, stage, row);
    case SEEK_SKIP: return stage->seen++ >= stage->count;
    case SEEK_LIMIT:
        if (stage->seen >= stage->count) return false;
        if (++stage->seen == stage->count) program->enough = true;
        return true;
    case SEEK_SORT: sort_later(program, stage, row); return false;
    case SEEK_JOIN: join_document(program, stage, row); return true;
    }
    return false;
}

static void take_row(struct seek_program *program, size_t from, struct seek_row *row)
{
    check_memory(program);
    for (size_t at = from; at < program->stage_count; at++)
        if (!pass_stage(program, &program->stages[at], row)) return;
    take_end(program, row);
}

void seek_program_take(struct seek_program *program, size_t stage, const struct seek_hit *hit)
{
    struct seek_row row = {.is_hit = true, .order = hit->event.position};
    int top = lua_gettop(program->lua);
    program->hit = hit;
    seek_reader_take(program->reader, hit);
    take_row(program, stage, &row);
    lua_settop(program->lua, top);
}

void seek_program_take_packed(struct seek_program *program, size_t stage, uint64_t order, struct slice packed)
{
    struct seek_row row = {.order = order};
    int top = lua_gettop(program->lua);
    seek_row_unpack(program, packed, &row);
    take_row(program, stage, &row);
    lua_settop(program->lua, top);
}

void seek_program_raise(struct seek_program *program, const struct fault *fault)
{
    if (fault->code == FAULT_CANCELLED) vm_of(program->lua)->overtime = 1; /* and vm_spend says why */
    vm_spend(program->lua, 1);
    vm_raise(program->lua, fault->code, 1, "%s", fault->text);
}

static void finish_fold(struct seek_program *program, struct seek_fold *fold)
{
    struct fault fault;
    if (seek_fold_finish(fold, &fault) < 0) seek_program_raise(program, &fault);
}

/* What a limit before a sort called enough is not enough for what comes behind it. */
void seek_program_end(struct seek_program *program)
{
    seek_reader_end(program->reader);
    for (size_t at = 0; at < program->stage_count; at++) {
        struct seek_stage *stage = &program->stages[at];
        if (stage->kind != SEEK_SORT) continue;
        finish_fold(program, &stage->rows);
        program->enough = false;
        const struct seek_items *items = &stage->rows.all.state->items;
        for (size_t item = 0; item < items->count && !program->enough; item++) {
            vm_spend(program->lua, 1);
            seek_program_take_packed(program, at + 1, item + 1, items->items[item]->row);
        }
    }
    if (program->has_end) finish_fold(program, &program->fold);
}

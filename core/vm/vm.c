/* DESIGN
 *
 * A call ends in one of four ways: results, an error of the script, a fault that keeps its code (vm_raise),
 * or a stop. A stop is a budget that is used up. Three rules make it final:
 *   1. vm->stop is set before the error is raised and stays until the outermost vm_call returns.
 *   2. While it is set the hook fires at every instruction and raises again, so neither __close nor C code
 * that swallows an error gets further; our pcall and xpcall raise again by themselves.
 *   3. The error value of a stop is the light userdata &stop_token: raising it needs no memory.
 *
 * Gross allocation is counted in both modes. The exact mode's limit is the verdict; the fast mode stops at
 * half of it and asks for an exact repetition, so that what is near the limit is always decided by the exact
 * count. */
#include "vm/vm.h"

#include <inttypes.h>
#include <lualib.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/text.h"
#include "vm/decimal.h"
#include "vm/keys.h"
#include "vm/moments.h"
#include "vm/peek.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"
#include "vm/value.h"
#include "vm/watchdog.h"

enum {
    HOOK_EVERY = 1000,
    STACK_SLACK = 40,
    GIVE_BACK_LEAST = 4 << 20,
    /* The collector's work for each byte allocated. Lua's own value of 100 has it go through a hundred
     * thousand states within some twenty commands, and whoever waits there waits for all of it; with this one
     * the same work is done while memory grows by a tenth. */
    COLLECTOR_WORK = 8,
    /* Where memory is plenty: a round begins when there is so much, in percent of what the last one left. */
    COLLECTOR_LATER = 400,
    COLLECTOR_USUAL = 200
};

static const char stop_token = 's';

/* --- memory --- */

static void note_where(struct vm *vm)
{
    if (vm->lua && vm->stop == VM_STOP_NONE) vm_where(vm->lua, vm->where, sizeof vm->where);
}

/* Both say why there is nothing more; apart from the rest, so that its fast way needs no frame. */
__attribute__((noinline, cold)) static void *refuse_call_memory(struct vm *vm)
{
    note_where(vm);
    if (vm->stop == VM_STOP_NONE) vm->stop = VM_STOP_CALL_MEMORY;
    return NULL;
}

__attribute__((noinline, cold)) static void *refuse_memory(struct vm *vm, enum vm_stop stop)
{
    note_where(vm);
    vm->memory_stop = stop;
    return NULL;
}

static inline bool call_may_have(struct vm *vm, size_t more)
{
    if (more > vm->call_allocated_max - vm->call_allocated) return false;
    vm->call_allocated += more;
    return true;
}

static inline bool state_may_have(const struct vm *vm, size_t more)
{
    return more <= vm->memory_max - vm->memory_used;
}

__attribute__((noinline)) static void *resize(struct vm *vm, void *block, size_t old_size, size_t size)
{
    bool grows = size > old_size;
    if (grows && !call_may_have(vm, size - old_size)) return refuse_call_memory(vm);
    if (grows && !state_may_have(vm, size - old_size)) return refuse_memory(vm, VM_STOP_STATE_MEMORY);
    void *moved =
        grows && fault_point(POINT_LUA_MEMORY) ? NULL : blocks_resize(&vm->blocks, block, old_size, size);
    /* Lua relies on shrinking never failing. */
    if (!moved) return grows ? refuse_memory(vm, VM_STOP_MACHINE_MEMORY) : block;
    vm->memory_used += size;
    vm->memory_used -= old_size;
    return moved;
}

/* NULL makes Lua collect everything and try once more, then raise. */
static void *allocate(void *user, void *block, size_t old_size, size_t size)
{
    struct vm *vm = user;
    if (block && size > 0) return resize(vm, block, old_size, size);
    if (block) {
        vm->memory_used -= old_size;
        blocks_give(&vm->blocks, block, old_size);
        return NULL;
    }
    if (size == 0) return NULL;
    if (!call_may_have(vm, size)) return refuse_call_memory(vm);
    if (!state_may_have(vm, size)) return refuse_memory(vm, VM_STOP_STATE_MEMORY);
    void *made = fault_point(POINT_LUA_MEMORY) ? NULL : blocks_take(&vm->blocks, size);
    if (!made) return refuse_memory(vm, VM_STOP_MACHINE_MEMORY);
    vm->memory_used += size;
    return made;
}

/* The same where each block is somebody's. */
static void *allocate_owned(void *user, void *block, size_t old_size, size_t size)
{
    struct vm *vm = user;
    if (!block && size == 0) return NULL;
    uint32_t owner = block ? owners_unmark(&vm->owners, block, old_size) : vm->owners.now;
    void *made = allocate(vm, block, block ? old_size + OWNER_TAG_SIZE : 0, size ? size + OWNER_TAG_SIZE : 0);
    if (made)
        owners_mark(&vm->owners, made, size, owner);
    else if (block && size > 0)
        owners_mark(&vm->owners, block, old_size, owner); /* it is as it was */
    return made;
}

/* --- where --- */

void vm_where(lua_State *lua, char *text, size_t size)
{
    lua_Debug frame;
    text[0] = 0;
    for (int level = 0; lua_getstack(lua, level, &frame); level++) {
        if (level == 200) return; /* deep recursion of the hub's own code: not worth the walk */
        lua_getinfo(lua, "Sl", &frame);
        if (frame.source[0] != '@' || frame.currentline < 0) continue;
        snprintf(text, size, "%s:%d: ", frame.source + 1, frame.currentline);
        return;
    }
}

/* --- stops --- */

static int raise_stop(lua_State *lua)
{
    lua_pushlightuserdata(lua, (void *)(uintptr_t)&stop_token);
    return lua_error(lua);
}

static int stop_call(lua_State *lua, enum vm_stop stop)
{
    struct vm *vm = vm_of(lua);
    if (vm->stop == VM_STOP_NONE) {
        note_where(vm);
        vm->stop = stop;
    }
    lua_sethook(lua, watchdog_hook, LUA_MASKCOUNT, 1);
    return raise_stop(lua);
}

bool vm_is_stopped(lua_State *lua, int status)
{
    struct vm *vm = vm_of(lua);
    if (status == LUA_ERRMEM && vm->depth > 0 && vm->stop == VM_STOP_NONE) vm->stop = vm->memory_stop;
    return vm->stop != VM_STOP_NONE;
}

int vm_stop_again(lua_State *lua)
{
    return stop_call(lua, vm_of(lua)->stop);
}

static enum vm_stop overtime_stop(const struct vm *vm)
{
    return vm->leash && atomic_load(vm->leash->cancelled) ? VM_STOP_CANCELLED : VM_STOP_TIME;
}

/* The hook of both modes: every HOOK_EVERY instructions in exact mode, every one when the call must end. */
void watchdog_hook(lua_State *lua, lua_Debug *frame)
{
    struct vm *vm = vm_of(lua);
    if (vm->stop != VM_STOP_NONE) {
        vm_stop_again(lua);
    } else if (vm->overtime) {
        stop_call(lua, overtime_stop(vm));
    } else if (vm->exact) {
        if (vm->instructions_left < HOOK_EVERY) {
            vm->instructions_left = 0;
            stop_call(lua, VM_STOP_INSTRUCTIONS);
        }
        vm->instructions_left -= HOOK_EVERY;
    }
    watchdog_poll();
}

void vm_spend(lua_State *lua, uint64_t steps)
{
    struct vm *vm = vm_of(lua);
    if (vm->depth == 0) return;
    watchdog_poll();
    if (vm->stop != VM_STOP_NONE) vm_stop_again(lua);
    if (vm->overtime) stop_call(lua, overtime_stop(vm));
    if (vm->instructions_left < steps) {
        vm->instructions_left = 0;
        stop_call(lua, vm->exact ? VM_STOP_INSTRUCTIONS : VM_STOP_TIME);
    }
    vm->instructions_left -= steps;
}

void vm_hold(lua_State *lua, size_t bytes)
{
    struct vm *vm = vm_of(lua);
    if (vm->depth == 0) return;
    if (bytes > vm->call_allocated_max - vm->call_allocated) stop_call(lua, VM_STOP_CALL_MEMORY);
    vm->call_allocated += bytes;
}

static void stop_fault(struct vm *vm, struct fault *fault)
{
    if (!vm->exact && !vm->leash) vm->must_repeat = true;
    switch (vm->stop) {
    case VM_STOP_INSTRUCTIONS:
        fault_set(fault, FAULT_BUDGET, "%sused more than %" PRIu64 " instructions in one call", vm->where,
                  vm->instructions_max);
        break;
    case VM_STOP_CALL_MEMORY:
        fault_set(fault, FAULT_BUDGET, "%smore than %zu MiB allocated in one call", vm->where,
                  (vm->call_memory_max + (1 << 20) - 1) >> 20);
        break;
    case VM_STOP_STATE_MEMORY:
        fault_set(fault, FAULT_BUDGET, "%sthe Lua state needs more than its %zu MiB of memory", vm->where,
                  (vm->memory_max + (1 << 20) - 1) >> 20);
        break;
    case VM_STOP_MACHINE_MEMORY:
        /* Nobody's verdict: elsewhere or later the same call ends well. */
        fault_set(fault, FAULT_UNAVAILABLE, "%sthe machine has no memory left for scripts", vm->where);
        break;
    case VM_STOP_CANCELLED: fault_set(fault, FAULT_CANCELLED, "cancelled"); break;
    default:
        if (vm->leash) {
            fault_set(fault, FAULT_BUDGET, "%sstopped after %" PRId64 " s", vm->where, vm->leash->seconds);
            break;
        }
        fault_set(fault, FAULT_BUDGET, "%sstopped after %d ms in one call", vm->where,
                  vm->exact ? WATCHDOG_EXACT_TICKS * LIMIT_WATCHDOG_TICK_MS
                            : LIMIT_WATCHDOG_TICKS * LIMIT_WATCHDOG_TICK_MS);
    }
}

/* --- faults as Lua errors --- */

static int raise_fault(lua_State *lua, const struct fault *fault)
{
    struct fault *kept = lua_newuserdatauv(lua, sizeof *kept, 0);
    *kept = *fault;
    vm_push_meta(lua, VM_META_FAULT);
    lua_setmetatable(lua, -2);
    return lua_error(lua);
}

const struct fault *vm_find_fault(lua_State *lua, int index)
{
    return vm_has_meta(lua, index, VM_META_FAULT) ? lua_touserdata(lua, index) : NULL;
}

int vm_raise(lua_State *lua, enum fault_code code, int level, const char *format, ...)
{
    struct fault fault = {.code = code};
    char where[320] = "";
    if (level > 0) vm_where(lua, where, sizeof where);
    int size = snprintf(fault.text, sizeof fault.text, "%s", where);
    va_list args;
    va_start(args, format);
    vsnprintf(fault.text + size, sizeof fault.text - (size_t)size, format, args);
    va_end(args);
    raise_fault(lua, &fault);
    __builtin_unreachable(); /* lua_error does not come back */
}

int vm_raise_reject(lua_State *lua, struct slice reason, struct slice text)
{
    struct vm *vm = vm_of(lua);
    if (!vm->rejected) {
        vm->rejection = (struct fault){.code = FAULT_REJECTED};
        snprintf(vm->rejection.reason, sizeof vm->rejection.reason, "%.*s", SLICE_ARGS(reason));
        snprintf(vm->rejection.text, sizeof vm->rejection.text, "%.*s", SLICE_ARGS(text));
        vm->rejected = vm->depth > 0;
    }
    raise_fault(lua, &vm->rejection);
    __builtin_unreachable(); /* lua_error does not come back */
}

void vm_reject_again(lua_State *lua)
{
    if (vm_of(lua)->rejected) raise_fault(lua, &vm_of(lua)->rejection);
}

static int fault_tostring(lua_State *lua)
{
    const struct fault *fault = vm_find_fault(lua, 1);
    lua_pushstring(lua, fault ? fault->text : "fault");
    return 1;
}

/* --- calls --- */

/* Runs where the error was raised, so that an error value without a position still gets one. No script code
 * runs here: in a message handler hooks may be off. */
static int note_error(lua_State *lua)
{
    struct vm *vm = vm_of(lua);
    if (!lua_islightuserdata(lua, 1) && !vm_find_fault(lua, 1)) note_where(vm);
    return 1;
}

static int error_text(lua_State *lua)
{
    sandbox_push_text(lua, 1);
    return 1;
}

/* "file:line: " at the beginning, as Lua and error() put it there. */
static bool begins_with_where(struct slice text)
{
    const char *end = text.data + text.size;
    const char *at = memchr(text.data, ':', text.size);
    for (; at; at = memchr(at + 1, ':', (size_t)(end - at - 1))) {
        const char *digit = at + 1;
        while (digit < end && *digit >= '0' && *digit <= '9') digit++;
        if (digit > at + 1 && digit < end && *digit == ':') return true;
        if (at - text.data > 300) return false;
    }
    return false;
}

/* Error texts come from scripts: cut to size, control bytes and broken UTF-8 replaced, so that they can go
 * into JSON and logs. */
static void fill_script_fault(struct vm *vm, struct slice text, struct fault *fault)
{
    const char *where = vm->where;
    const char *tail = text.data;
    size_t size = text.size;
    size_t where_size = strlen(where);
    if (size >= 3 && memcmp(tail, "...", 3) == 0 && where_size > 2) {
        /* Lua shortens long file names: put the whole one back if it is that one. */
        const char *colon = memchr(tail, ':', size);
        size_t name_size = colon ? (size_t)(colon - tail) - 3 : 0;
        const char *name_end = strchr(where, ':');
        if (colon && name_end && (size_t)(name_end - where) >= name_size &&
            memcmp(name_end - name_size, tail + 3, name_size) == 0) {
            tail = colon;
            size -= (size_t)(colon - text.data);
            where_size = (size_t)(name_end - where);
        } else {
            where_size = 0;
        }
    } else if (begins_with_where(text)) {
        where_size = 0;
    }
    char clean[sizeof fault->text];
    size_t used = 0;
    memcpy(clean, where, where_size);
    used = where_size;
    for (size_t i = 0; i < size && used < sizeof clean - 5;) {
        unsigned char byte = (unsigned char)tail[i];
        size_t width = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        bool good = width <= size - i && text_is_utf8(slice_make(tail + i, width)) &&
                    (byte >= 0x20 || byte == '\n') && byte != 0x7f;
        if (good) {
            memcpy(clean + used, tail + i, width);
            used += width;
            i += width;
        } else {
            clean[used++] = '?';
            i++;
        }
    }
    clean[used] = 0;
    fault_set(fault, FAULT_SCRIPT, "%s", clean);
}

/* The same for a text that may show a secret: replaced before anything is cut or cleaned, of as much as can
 * be seen. */
static void fill_scrubbed(struct vm *vm, struct slice text, struct fault *fault)
{
    if (vm->secrets.count == 0) {
        fill_script_fault(vm, text, fault);
        return;
    }
    struct buf clean = {0};
    if (text.size > 2 * sizeof fault->text) text.size = 2 * sizeof fault->text;
    secrets_scrub(&vm->secrets, text, &clean);
    fill_script_fault(vm, buf_slice(&clean), fault);
    buf_release(&clean);
}

void vm_take_error(struct vm *vm, int status, struct fault *fault)
{
    lua_State *lua = vm->lua;
    struct fault ignored;
    if (!fault) fault = &ignored;
    if (vm->depth == 0 && status == LUA_ERRMEM) vm->stop = vm->memory_stop;
    if (!vm_is_stopped(lua, status) && lua_type(lua, -1) != LUA_TSTRING && !vm_find_fault(lua, -1)) {
        lua_pushcfunction(lua, error_text);
        lua_insert(lua, -2);
        status = lua_pcall(lua, 1, 1, 0); /* a script's __tostring: may fail or be stopped itself */
        if (vm->depth == 0 && status == LUA_ERRMEM) vm->stop = vm->memory_stop;
    }
    const struct fault *raised = vm_find_fault(lua, -1);
    if (vm_is_stopped(lua, status)) {
        stop_fault(vm, fault);
        if (vm->depth == 0) vm->stop = VM_STOP_NONE;
    } else if (raised) {
        *fault = *raised;
        secrets_scrub_fault(&vm->secrets, fault);
    } else if (lua_type(lua, -1) == LUA_TSTRING) {
        size_t size;
        const char *text = lua_tolstring(lua, -1, &size);
        fill_scrubbed(vm, slice_make(text, size), fault);
    } else {
        fill_script_fault(vm, slice_of("an error value that cannot be turned into text"), fault);
    }
    lua_pop(lua, 1);
}

static void begin_call(struct vm *vm)
{
    vm->must_repeat = vm->rejected = false;
    vm->stop = VM_STOP_NONE;
    vm->memory_stop = VM_STOP_STATE_MEMORY;
    vm->overtime = 0;
    vm->where[0] = 0;
    if (vm->exact) {
        /* Start from the live data alone. Not before each call: that would make a long exact replay quadratic
         * in its documents. */
        if (!vm->was_exact || vm->memory_used / 2 > vm->memory_collected ||
            vm->memory_used > vm->memory_max / 2) {
            lua_gc(vm->lua, LUA_GCCOLLECT);
            vm->memory_collected = vm->memory_used;
        }
        vm->instructions_left = vm->instructions_max;
    }
    /* In fast mode only vm_spend counts; half of it, as of the memory, so that what is near the limit is
     * repeated. */
    if (!vm->exact) vm->instructions_left = vm->instructions_max / 2;
    if (vm->exact || WATCHDOG_POLLS) lua_sethook(vm->lua, watchdog_hook, LUA_MASKCOUNT, HOOK_EVERY);
    vm->was_exact = vm->exact;
    vm->call_allocated = 0;
    vm->call_allocated_max = vm->exact ? vm->call_memory_max : vm->call_memory_max / 2;
    if (vm->leash) {
        vm->instructions_left = UINT64_MAX;
        vm->call_allocated_max = SIZE_MAX;
    }
    vm->call_serial++;
}

/* What a call took and was stopped for goes back to the system before the next one: holes of that size would
 * stay in every state that such a script ever ran in. */
static void give_back(struct vm *vm)
{
    if (vm->call_allocated < GIVE_BACK_LEAST) return;
    if (vm->memory_used > vm->memory_collected + GIVE_BACK_LEAST) {
        lua_gc(vm->lua, LUA_GCCOLLECT);
        vm->memory_collected = vm->memory_used;
    }
    blocks_trim(&vm->blocks);
    malloc_trim(0);
}

static void end_call(struct vm *vm)
{
    if (vm->exact && vm->stop != VM_STOP_NONE) give_back(vm);
    vm->overtime = 0;
    if (lua_gethookmask(vm->lua)) lua_sethook(vm->lua, NULL, 0, 0);
    vm->stop = VM_STOP_NONE;
    vm->call_allocated = 0;
    vm->call_allocated_max = SIZE_MAX;
    keys_forget(vm->lua);
}

/* Nothing counts the instructions of a fast call, but so many take some time on any machine: a call that took
 * that long may have used half of its budget, and only the exact count knows. The watchdog is for the default
 * budget; a smaller one needs a clock. */
enum { INSTRUCTIONS_A_NS = 1 };

static bool was_slow(const struct vm *vm, int64_t began_ns)
{
    return began_ns &&
           (uint64_t)(clock_monotonic_ns() - began_ns) > vm->instructions_max / 2 / INSTRUCTIONS_A_NS;
}

int vm_call(struct vm *vm, int arguments, int results, struct fault *fault)
{
    lua_State *lua = vm->lua;
    bool outermost = vm->depth == 0;
    struct vm *watched = NULL;
    int64_t began_ns = outermost && !vm->exact && !vm->leash && vm->instructions_max < LIMIT_INSTRUCTIONS_MAX
                           ? clock_monotonic_ns()
                           : 0;
    if (outermost) {
        begin_call(vm);
        watched = watchdog_enter(vm);
    }
    vm->depth++;
    int function = lua_gettop(lua) - arguments;
    lua_pushcfunction(lua, note_error); /* light: no memory; the slot is one of LUA_MINSTACK */
    lua_insert(lua, function);
    int status = lua_pcall(lua, arguments, results, function);
    int result = 0;
    if (vm->stop == VM_STOP_NONE && was_slow(vm, began_ns)) vm->stop = VM_STOP_TIME;
    if (status != LUA_OK) {
        vm_take_error(vm, status, fault);
        result = -1;
    } else if (vm->stop != VM_STOP_NONE) {
        /* Too long, or trusted C code swallowed the stop; it is final all the same. */
        struct fault ignored;
        stop_fault(vm, fault ? fault : &ignored);
        lua_settop(lua, function);
        result = -1;
    }
    if (outermost && vm->rejected && vm->stop == VM_STOP_NONE) {
        if (result == 0) lua_settop(lua, function);
        if (fault) {
            *fault = vm->rejection;
            secrets_scrub_fault(&vm->secrets, fault);
        }
        result = -1;
    }
    lua_remove(lua, function);
    vm->depth--;
    if (outermost) {
        watchdog_leave(vm, watched);
        end_call(vm);
    }
    return result;
}

int vm_resume(struct vm *vm, lua_State *thread, int arguments)
{
    lua_State *from = vm->lua;
    int results;
    lua_sethook(thread, lua_gethook(from), lua_gethookmask(from), lua_gethookcount(from));
    vm->lua = thread; /* what the watchdog stops, and where errors are noted */
    int status = lua_resume(thread, from, arguments, &results);
    if (status != LUA_OK && status != LUA_YIELD && !lua_islightuserdata(thread, -1) &&
        !vm_find_fault(thread, -1))
        note_where(vm); /* the stack of a failed coroutine is still there */
    vm->lua = from;
    lua_sethook(thread, NULL, 0, 0);
    return status;
}

int vm_call_trusted(struct vm *vm, int arguments, int results, struct fault *fault)
{
    lua_State *lua = vm->lua;
    int function = lua_gettop(lua) - arguments;
    vm->where[0] = 0;
    lua_pushcfunction(lua, note_error);
    lua_insert(lua, function);
    int status = lua_pcall(lua, arguments, results, function);
    if (status != LUA_OK) vm_take_error(vm, status, fault);
    lua_remove(lua, function);
    return status == LUA_OK ? 0 : -1;
}

int vm_protected(struct vm *vm, lua_CFunction function, void *user, struct fault *fault)
{
    vm->memory_stop = VM_STOP_STATE_MEMORY;
    if (!lua_checkstack(vm->lua, STACK_SLACK)) {
        struct fault ignored;
        vm->stop = vm->memory_stop;
        stop_fault(vm, fault ? fault : &ignored);
        if (vm->depth == 0) vm->stop = VM_STOP_NONE;
        return -1;
    }
    lua_pushcfunction(vm->lua, function);
    lua_pushlightuserdata(vm->lua, user);
    return vm_call_trusted(vm, 1, LUA_MULTRET, fault);
}

int vm_load(struct vm *vm, struct slice text, const char *chunk, int env_index, struct fault *fault)
{
    lua_State *lua = vm->lua;
    char name[1024];
    snprintf(name, sizeof name, "%s%s", chunk[0] == '=' ? "" : "@", chunk);
    env_index = lua_absindex(lua, env_index);
    vm->where[0] = 0;
    /* For messages with a shortened name, and for the few without a line. */
    if (chunk[0] != '=') snprintf(vm->where, sizeof vm->where, "%s:1: ", chunk);
    int status = luaL_loadbufferx(lua, text.data ? text.data : "", text.size, name, "t");
    if (status != LUA_OK) {
        vm_take_error(vm, status, fault);
        return -1;
    }
    lua_pushvalue(lua, env_index);
    lua_setupvalue(lua, -2, 1);
    return 0;
}

enum { LINE_SIZE_MAX = 1024 };

void vm_put_line(const struct vm *vm, struct slice text, struct buf *out)
{
    size_t begin = out->size;
    if (text.size > 4 * LINE_SIZE_MAX) text.size = 4 * LINE_SIZE_MAX;
    secrets_scrub(&vm->secrets, text, out);
    if (out->size - begin > LINE_SIZE_MAX) out->size = begin + LINE_SIZE_MAX;
    const uint8_t *end = (const uint8_t *)out->data + out->size;
    for (uint8_t *at = (uint8_t *)out->data + begin; at < end;) {
        size_t size = text_utf8_step(at, end);
        if (size == 0) *at = '?';
        if (*at < 0x20 || *at == 0x7f) *at = ' ';
        at += size ? size : 1;
    }
}

/* --- state --- */

bool vm_has_meta(lua_State *lua, int index, enum vm_meta meta)
{
    if (!lua_getmetatable(lua, index)) return false;
    bool same = lua_topointer(lua, -1) == vm_of(lua)->meta_at[meta];
    lua_pop(lua, 1);
    return same;
}

void vm_push_meta(lua_State *lua, enum vm_meta meta)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->meta_reference[meta]);
}

void vm_new_meta(lua_State *lua, enum vm_meta meta, const char *name, const luaL_Reg *functions)
{
    struct vm *vm = vm_of(lua);
    lua_newtable(lua);
    if (functions) luaL_setfuncs(lua, functions, 0);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pushstring(lua, name);
    lua_setfield(lua, -2, "__name");
    vm->meta_at[meta] = lua_topointer(lua, -1);
    lua_pushvalue(lua, -1);
    vm->meta_reference[meta] = luaL_ref(lua, LUA_REGISTRYINDEX);
}

static int panic(lua_State *lua)
{
    const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "no text";
    fprintf(stderr, "lore: a Lua error outside of a protected call: %s\n", text);
    return 0; /* Lua aborts */
}

/* Lua makes the metatable of its large buffers when one is first needed, in two steps, and a state in which
 * memory ran out between them could never make one again. */
static void make_large_buffer(lua_State *lua)
{
    luaL_Buffer buffer;
    luaL_buffinitsize(lua, &buffer, LUAL_BUFFERSIZE + 1);
    luaL_pushresultsize(&buffer, 0);
    lua_pop(lua, 1);
}

static int build(lua_State *lua)
{
    static const luaL_Reg fault_functions[] = {{"__tostring", fault_tostring}, {NULL, NULL}};
    CHECK(peek_check(lua));
    luaL_openlibs(lua);
    vm_new_meta(lua, VM_META_FAULT, "fault", fault_functions);
    lua_pop(lua, 1);
    readonly_open(lua);
    value_open(lua);
    decimal_open(lua);
    moments_open(lua);
    sandbox_open(lua);
    make_large_buffer(lua);
    return 0;
}

struct vm *vm_new(const struct vm_options *options)
{
    struct vm *vm = MEM_NEW(struct vm);
    vm->memory_stop = VM_STOP_STATE_MEMORY;
    vm->call_allocated_max = SIZE_MAX;
    vm->memory_max = options->memory_max ? options->memory_max : LIMIT_STATE_MEMORY_MAX;
    vm->call_memory_max = options->call_memory_max ? options->call_memory_max : LIMIT_CALL_MEMORY_MAX;
    vm->instructions_max = options->instructions_max ? options->instructions_max : LIMIT_INSTRUCTIONS_MAX;
    lua_State *lua = lua_newstate(options->has_owners ? allocate_owned : allocate, vm);
    if (!lua) say_stop("no memory for a Lua state");
    *(struct vm **)lua_getextraspace(lua) = vm;
    vm->lua = lua;
    lua_atpanic(lua, panic);
    lua_gc(lua, LUA_GCINC, 0, COLLECTOR_WORK, 0);
    struct fault fault;
    if (vm_protected(vm, build, NULL, &fault) < 0) say_stop("a Lua state cannot be built: %s", fault.text);
    return vm;
}

void vm_collect_later(struct vm *vm, bool later)
{
    lua_gc(vm->lua, LUA_GCINC, later ? COLLECTOR_LATER : COLLECTOR_USUAL, COLLECTOR_WORK, 0);
    if (!later) lua_gc(vm->lua, LUA_GCSTEP, 0);
}

void vm_forget_libraries(struct vm *vm)
{
    lua_State *lua = vm->lua;
    lua_pushglobaltable(lua);
    for (lua_pushnil(lua); lua_next(lua, -2);) {
        lua_pop(lua, 1);
        lua_pushvalue(lua, -1);
        lua_pushnil(lua);
        lua_rawset(lua, -4);
    }
    lua_pop(lua, 1);
    lua_pushnil(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
}

void vm_free(struct vm *vm)
{
    if (!vm) return;
    CHECK(vm->depth == 0);
    lua_State *lua = vm->lua;
    vm->lua = NULL;
    lua_close(lua);
    CHECK(vm->memory_used == 0);
    blocks_release(&vm->blocks);
    owners_release(&vm->owners);
    secrets_release(&vm->secrets);
    mem_free(vm);
}

/* fuzz_pattern: our pattern matcher against Lua's own library. The input is "subject NUL pattern NUL
 * replacement"; the first byte says where the search begins. A difference in results, or in whether there is
 * an error, aborts. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "vm/vm.h"

enum { PART_SIZE_MAX = 12 }; /* the original has no budget: longer ones may take for ever */

/* Both states live on between inputs, so each input leaves more or fewer blocks: the leak check after each
 * would take nearly all the time. That nothing leaks is checked by vm_free in the unit tests. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static const char driver[] = "local s, p, r, n = ... local out = {} "
                             "local function note(...) local c = select('#', ...) for i = 1, c do local v = "
                             "select(i, ...) out[#out + 1] = type(v) "
                             "  out[#out + 1] = tostring(v) end out[#out + 1] = ';' end "
                             "local function try(f, ...) local t = table.pack(pcall(f, ...)) if t[1] then "
                             "note(table.unpack(t, 2, t.n)) else note('error') end end "
                             "try(string.find, s, p, n) try(string.match, s, p, n) try(string.find, s, p, n, "
                             "true) try(string.gsub, s, p, r) "
                             "try(string.gsub, s, p, function(a, b) return b end) "
                             "try(function() for a, b in string.gmatch(s, p, n) do note(a, b) end end) "
                             "return table.concat(out, ' ')";

static struct vm *vm;
static lua_State *plain;

static void start(void)
{
    struct vm_options options = {0};
    vm = vm_new(&options);
    plain = luaL_newstate();
    luaL_openlibs(plain);
    CHECK(luaL_loadstring(plain, driver) == LUA_OK);
    lua_rawgeti(vm->lua, LUA_REGISTRYINDEX, vm->script_env);
    CHECK(vm_load(vm, slice_of(driver), "=driver", 1, NULL) == 0);
    lua_remove(vm->lua, 1);
}

static size_t part(const char **at, const char *end)
{
    const char *stop = memchr(*at, 0, (size_t)(end - *at));
    size_t size = (size_t)((stop ? stop : end) - *at);
    *at += size + (stop ? 1 : 0);
    return size < PART_SIZE_MAX ? size : PART_SIZE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!vm) start();
    if (size == 0) return 0;
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    lua_State *both[] = {plain, vm->lua};
    for (int i = 0; i < 2; i++) lua_pushvalue(both[i], 1);
    for (int argument = 0; argument < 3; argument++) {
        const char *text = at;
        size_t text_size = part(&at, end);
        for (int i = 0; i < 2; i++) lua_pushlstring(both[i], text, text_size);
    }
    for (int i = 0; i < 2; i++) lua_pushinteger(both[i], (int8_t)data[0] / 8);
    CHECK(lua_pcall(plain, 4, 1, 0) == LUA_OK);
    struct fault fault;
    if (vm_call(vm, 4, 1, &fault) < 0) {
        fprintf(stderr, "%s\n", fault.text);
        abort();
    }
    size_t wanted_size, got_size;
    const char *wanted = lua_tolstring(plain, -1, &wanted_size), *got = lua_tolstring(vm->lua, -1, &got_size);
    if (wanted_size != got_size || memcmp(wanted, got, wanted_size) != 0) {
        fprintf(stderr, "Lua:  %s\nours: %s\n", wanted, got);
        abort();
    }
    lua_settop(plain, 1);
    lua_settop(vm->lua, 1);
    return 0;
}

/* loader_support.h: loads scripts given as pairs of path and text. For tests of the loader and of contracts.
 */
#ifndef LORE_TESTS_LOADER_SUPPORT_H
#define LORE_TESTS_LOADER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>

#include "base/buf.h"
#include "vm/loader.h"
#include "vm/value.h"

struct loaded {
    struct vm *vm;
    struct sources *sources;
    struct loader *loader; /* NULL: it did not load */
    struct buf errors;
    struct fault fault;
};

static inline int word(lua_State *lua)
{
    return 0;
}

static inline int make_globals(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushcfunction(lua, word);
    lua_setfield(lua, -2, "emit");
    lua_pushcfunction(lua, word);
    lua_setfield(lua, -2, "reject");
    *(int *)lua_touserdata(lua, 1) = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static inline void load_scripts(struct loaded *loaded, const char *const *paths_and_texts)
{
    *loaded = (struct loaded){.sources = sources_of(paths_and_texts)};
    struct vm_options options = {0};
    loaded->vm = vm_new(&options);
    int globals = LUA_NOREF;
    assert_int_equal(vm_protected(loaded->vm, make_globals, &globals, &loaded->fault), 0);
    struct loader_options loader_options = {.vm = loaded->vm, .sources = loaded->sources, .globals = globals};
    int top = lua_gettop(loaded->vm->lua);
    int result = loader_load(&loader_options, &loaded->loader, &loaded->errors, &loaded->fault);
    assert_int_equal(lua_gettop(loaded->vm->lua), top);
    assert_true((result == 0) == (loaded->loader != NULL));
    if (result < 0) assert_int_equal(loaded->fault.code, FAULT_SCRIPTS);
    buf_put_byte(&loaded->errors, 0);
}

static inline void unload_scripts(struct loaded *loaded)
{
    vm_free(loaded->vm);
    loader_free(loaded->loader);
    sources_free(loaded->sources);
    buf_release(&loaded->errors);
}

/* Loads and shows why it should have. */
static inline void load_good(struct loaded *loaded, const char *const *paths_and_texts)
{
    load_scripts(loaded, paths_and_texts);
    if (loaded->loader == NULL) print_error("%s", loaded->errors.data);
    assert_non_null(loaded->loader);
}

#endif

#include "vm/handles.h"

#include <lauxlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { SEGMENT_SIZE = 256, SEGMENTS_LEAST = 16 };

static void add_segment(struct handles *handles, lua_State *lua)
{
    luaL_checkstack(lua, 2, NULL);
    lua_createtable(lua, SEGMENT_SIZE, 0);
    int segment = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (handles->segment_count == handles->segment_max) {
        handles->segment_max = handles->segment_max ? 2 * handles->segment_max : SEGMENTS_LEAST;
        handles->segments = mem_resize(handles->segments, handles->segment_max * sizeof *handles->segments);
    }
    handles->segments[handles->segment_count++] = segment;
}

static void push_segment(const struct handles *handles, lua_State *lua, int handle)
{
    CHECK(handle >= 0 && handle < handles->used);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handles->segments[handle / SEGMENT_SIZE]);
}

int handles_take(struct handles *handles, lua_State *lua)
{
    int handle;
    if (handles->free_count > 0) {
        handle = handles->free[--handles->free_count];
    } else {
        if ((size_t)handles->used == handles->segment_count * SEGMENT_SIZE) add_segment(handles, lua);
        handle = handles->used++;
    }
    push_segment(handles, lua, handle);
    lua_insert(lua, -2);
    lua_rawseti(lua, -2, handle % SEGMENT_SIZE + 1); /* within the table's size: needs no memory */
    lua_pop(lua, 1);
    return handle;
}

void handles_push(const struct handles *handles, lua_State *lua, int handle)
{
    push_segment(handles, lua, handle);
    lua_rawgeti(lua, -1, handle % SEGMENT_SIZE + 1);
    lua_remove(lua, -2);
}

void handles_give(struct handles *handles, lua_State *lua, int handle)
{
    if (handle == HANDLE_NONE) return;
    push_segment(handles, lua, handle);
    lua_pushnil(lua);
    lua_rawseti(lua, -2, handle % SEGMENT_SIZE + 1);
    lua_pop(lua, 1);
    if (handles->free_count == handles->free_max) {
        handles->free_max = handles->free_max ? 2 * handles->free_max : SEGMENT_SIZE;
        handles->free = mem_resize(handles->free, handles->free_max * sizeof *handles->free);
    }
    handles->free[handles->free_count++] = handle;
}

void handles_release(struct handles *handles)
{
    mem_free(handles->segments);
    mem_free(handles->free);
    *handles = (struct handles){0};
}

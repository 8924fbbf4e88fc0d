/* views.NAME and views.CONTEXT.NAME of a session: documents by key, by index, all of them, or their number.
 */
#include <stdio.h>

#include "codec/text.h"
#include "vm/ask_core.h"
#include "vm/value.h"

static const struct loader_projection *view_at(lua_State *lua, const char *method)
{
    const struct loader_projection *const *held = luaL_testudata(lua, 1, "view");
    if (!held) vm_raise(lua, FAULT_SCRIPT, 1, "write views.NAME:%s(…), with a colon", method);
    return *held;
}

static int push_document(lua_State *lua, const struct loader_projection *view)
{
    struct ask *ask = ask_of(lua);
    struct slice key = ask_text(lua, 2, "the key of a document");
    struct fault fault;
    if (!text_is_key(key))
        return vm_raise(lua, FAULT_SCRIPT, 1, "a key has 1 to %d bytes of UTF-8",
                        LIMIT_DOCUMENT_KEY_SIZE_MAX);
    buf_clear(&ask->bytes);
    int found = ask->host->view_get(ask->host->user, view->declared.name, key, &ask->bytes, &fault);
    if (found < 0) return ask_raise(lua, &fault);
    vm_spend(lua, ask->bytes.size / 8);
    if (found)
        value_push(lua, buf_slice(&ask->bytes));
    else
        lua_pushnil(lua);
    return 1;
}

static int view_get(lua_State *lua)
{
    return push_document(lua, view_at(lua, "get"));
}

static int view_range(lua_State *lua)
{
    return ask_documents_range(lua, ask_of(lua), view_at(lua, "range"));
}

static int view_all(lua_State *lua)
{
    return ask_documents_all(lua, ask_of(lua), view_at(lua, "all"));
}

static int view_count(lua_State *lua)
{
    const struct ask *ask = ask_of(lua);
    struct slice view = view_at(lua, "count")->declared.name;
    uint64_t count;
    struct fault fault;
    if (ask->host->view_count(ask->host->user, view, SLICE_NONE, SLICE_NONE, SLICE_NONE, &count, &fault) < 0)
        return ask_raise(lua, &fault);
    lua_pushinteger(lua, (lua_Integer)count);
    return 1;
}

static int view_call(lua_State *lua)
{
    return push_document(lua, view_at(lua, "get"));
}

static int view_name(lua_State *lua)
{
    lua_pushfstring(lua, "view %s", view_at(lua, "get")->declared.name.data);
    return 1;
}

static void push_view(struct ask *ask, const struct loader_projection *view)
{
    static const luaL_Reg metamethods[] = {{"__call", view_call}, {"__tostring", view_name}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"get", view_get}, {"range", view_range}, {"all", view_all}, {"count", view_count}, {NULL, NULL}};
    lua_State *lua = ask->domain->vm->lua;
    *(const struct loader_projection **)lua_newuserdatauv(lua, sizeof view, 0) = view;
    ask_push_meta(ask, "view", metamethods, methods);
    lua_setmetatable(lua, -2);
}

static bool is_unique(const struct loader *loader, struct slice name)
{
    size_t count = 0;
    for (size_t at = 0; at < loader_projection_count(loader); at++)
        count += slice_equal(loader_projection(loader, at)->short_name, name);
    return count == 1 && !loader_has_context(loader, name);
}

void ask_add_views(struct ask *ask)
{
    lua_State *lua = ask->domain->vm->lua;
    const struct loader *loader = ask->domain->loader;
    char what[LIMIT_NAME_SIZE_MAX + 32];
    lua_newtable(lua);
    for (size_t at = 0; at < loader_context_count(loader); at++) {
        struct slice context = loader_context(loader, at);
        lua_newtable(lua);
        for (size_t index = 0; index < loader_projection_count(loader); index++) {
            const struct loader_projection *view = loader_projection(loader, index);
            if (!slice_equal(view->declared.context, context)) continue;
            vm_push_slice(lua, view->short_name);
            push_view(ask, view);
            if (is_unique(loader, view->short_name)) {
                lua_pushvalue(lua, -2);
                lua_pushvalue(lua, -2);
                lua_rawset(lua, -6);
            }
            lua_rawset(lua, -3);
        }
        snprintf(what, sizeof what, "views.%.*s", SLICE_ARGS(context));
        ask_seal(ask, what);
        vm_push_slice(lua, context);
        lua_insert(lua, -2);
        lua_rawset(lua, -3);
    }
    ask_seal(ask, "views");
    lua_setfield(lua, -2, "views");
}

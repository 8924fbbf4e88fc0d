/* docs: the documents of a free-style projection, by key.
 *
 * get gives a copy, put keeps a copy, so no table of a handler is ever part of two documents. update shows
 * the document itself: fn changes it in place; if fn returns false the document is removed, anything else it
 * returns is an error. A put or remove of the same key inside fn wins over what fn does to its table
 * afterwards. */
#include <lauxlib.h>
#include <stdio.h>

#include "codec/text.h"
#include "vm/drafts.h"
#include "vm/value.h"

struct slice drafts_key_at(lua_State *lua, int index, const char *what)
{
    index = lua_absindex(lua, index);
    int type = lua_type(lua, index);
    if (type != LUA_TSTRING && !lua_isinteger(lua, index)) {
        char given[128];
        domain_describe_value(lua, index, given);
        vm_raise(lua, FAULT_SCRIPT, 1, "%s must be a text or an integer, got %s", what, given);
    }
    size_t size;
    if (type != LUA_TSTRING) {
        lua_pushfstring(lua, "%I", (LUAI_UACINT)lua_tointeger(lua, index));
        index = lua_gettop(lua);
    }
    const char *text = lua_tolstring(lua, index, &size);
    struct slice key = slice_make(text, size);
    if (!text_is_key(key))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s must be 1 to %d bytes of UTF-8 without NUL, got %zu bytes", what,
                 LIMIT_DOCUMENT_KEY_SIZE_MAX, size);
    return key;
}

static struct drafts *open_docs(lua_State *lua)
{
    struct drafts_docs *docs = lua_touserdata(lua, lua_upvalueindex(1));
    if (lua_touserdata(lua, 1) != docs) vm_raise(lua, FAULT_SCRIPT, 1, "write docs:get(key), with a colon");
    if (!docs->drafts) vm_raise(lua, FAULT_SCRIPT, 1, "docs is only valid during its call");
    return docs->drafts;
}

/* What asking for a document may cost, whether it is in memory or not, since the verdict must not depend on
 * that: in instructions, a look-up on disk. */
enum { DOCS_COST = 50 };

/* The document of the key at 2. Scripts often ask for the same one again: then its key was checked and it was
 * found. */
static struct drafts_document *take_document(lua_State *lua, struct drafts *drafts, const char *what)
{
    vm_spend(lua, DOCS_COST);
    vm_hold(lua, sizeof(struct drafts_document) + (size_t)lua_rawlen(lua, 2));
    if (drafts->last && lua_type(lua, 2) == LUA_TSTRING) {
        struct slice key;
        key.data = lua_tolstring(lua, 2, &key.size);
        if (slice_equal(drafts->last->key, key)) {
            drafts->last->recent = true;
            return drafts->last;
        }
    }
    return drafts->last = drafts_take(drafts, drafts_key_at(lua, 2, what));
}

/* The table at index as something to copy: a lazily decoded event in full. */
static void check_document(lua_State *lua, int index, const char *what)
{
    if (lua_type(lua, index) != LUA_TTABLE) {
        char given[128];
        domain_describe_value(lua, index, given);
        vm_raise(lua, FAULT_SCRIPT, 1, "%s must be a table, got %s", what, given);
    }
    lazy_settle(lua, index, 0);
}

static int docs_get(lua_State *lua)
{
    struct drafts *drafts = open_docs(lua);
    struct drafts_document *document = take_document(lua, drafts, "the key of docs:get");
    drafts_push(drafts, document);
    if (!lua_isnil(lua, -1)) value_copy(lua, -1);
    return 1;
}

static int docs_put(lua_State *lua)
{
    struct drafts *drafts = open_docs(lua);
    struct drafts_document *document = take_document(lua, drafts, "the key of docs:put");
    check_document(lua, 3, "the document of docs:put");
    drafts_touch(drafts, document);
    value_copy(lua, 3);
    drafts_store(drafts, document);
    return 0;
}

static int docs_remove(lua_State *lua)
{
    struct drafts *drafts = open_docs(lua);
    struct drafts_document *document = take_document(lua, drafts, "the key of docs:remove");
    drafts_touch(drafts, document);
    drafts_remove(drafts, document);
    return 0;
}

static int docs_update(lua_State *lua)
{
    struct drafts *drafts = open_docs(lua);
    lua_settop(lua, 4);
    if (lua_type(lua, 4) != LUA_TFUNCTION)
        vm_raise(lua, FAULT_SCRIPT, 1, "write docs:update(key, initial, function(doc) … end)");
    struct drafts_document *document = take_document(lua, drafts, "the key of docs:update");
    drafts_touch(drafts, document);
    lua_settop(lua, 4);
    if (document->slot == 0) {
        if (lua_isnil(lua, 3)) {
            lua_newtable(lua);
        } else {
            check_document(lua, 3, "the initial document of docs:update");
            value_copy(lua, 3);
        }
        drafts_store(drafts, document);
    } else {
        drafts_change(drafts, document);
    }
    drafts_push(drafts, document);
    lua_call(lua, 1, 1);
    if (lua_isnil(lua, -1)) return 0;
    if (lua_type(lua, -1) != LUA_TBOOLEAN || lua_toboolean(lua, -1)) {
        char given[128];
        domain_describe_value(lua, -1, given);
        vm_raise(lua, FAULT_SCRIPT, 1,
                 "the function of docs:update must return nothing or false, it returned %s", given);
    }
    drafts_remove(drafts, document);
    return 0;
}

static int docs_no_field(lua_State *lua)
{
    if (lua_type(lua, 2) == LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "docs has get, put, remove and update, no %s", lua_tostring(lua, 2));
    return vm_raise(lua, FAULT_SCRIPT, 1, "docs cannot be indexed: write docs:get(key)");
}

static int docs_no_change(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "docs cannot be assigned to: write docs:put(key, document)");
}

void drafts_push_docs(struct drafts *drafts)
{
    lua_State *lua = drafts->domain->vm->lua;
    if (drafts->docs_ref != LUA_NOREF) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, drafts->docs_ref);
        return;
    }
    drafts->docs = lua_newuserdatauv(lua, sizeof *drafts->docs, 0);
    drafts->docs->drafts = drafts;
    static const luaL_Reg methods[] = {
        {"get", docs_get}, {"put", docs_put}, {"remove", docs_remove}, {"update", docs_update}, {NULL, NULL}};
    lua_createtable(lua, 0, 3);
    luaL_newlibtable(lua, methods);
    lua_pushlightuserdata(lua, drafts->docs);
    luaL_setfuncs(lua, methods, 1);
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, docs_no_field);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, docs_no_change);
    lua_setfield(lua, -2, "__newindex");
    lua_pushliteral(lua, "docs");
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_pushvalue(lua, -1);
    drafts->docs_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
}

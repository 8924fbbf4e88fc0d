/* views.NAME:get(key), :range(index, min, max), :all(): the documents of a context's own views. */
#include <lauxlib.h>

#include "base/mem.h"
#include "codec/text.h"
#include "vm/dotted.h"
#include "vm/nearest.h"
#include "vm/run.h"
#include "vm/value.h"

enum { PAGE_DOCUMENTS = 64 };

static const char view_metatable[] = "lore.view", page_metatable[] = "lore.page";

/* --- views.NAME --- */

static int view_index(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "views");
    const struct loader *loader = run->domain->loader;
    struct slice name = dotted_name(lua, "views");
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < loader_projection_count(loader); at++) {
        const struct loader_projection *projection = loader_projection(loader, at);
        if (!slice_equal(projection->declared.context, run->context)) continue;
        if (slice_equal(projection->short_name, name)) {
            *(const struct loader_projection **)lua_newuserdatauv(lua, sizeof projection, 0) = projection;
            luaL_setmetatable(lua, view_metatable);
            return 1;
        }
        nearest_offer(&near, projection->short_name);
    }
    struct slice found = nearest_found(&near);
    return vm_raise(lua, FAULT_SCRIPT, 1, "context %.*s has no projection %.*s%s%.*s%s",
                    SLICE_ARGS(run->context), SLICE_ARGS(name), found.size ? ": did you mean " : "",
                    SLICE_ARGS(found), found.size ? "?" : "");
}

static const struct loader_projection *view_at(lua_State *lua, const char *method)
{
    const struct loader_projection *const *held = luaL_testudata(lua, 1, view_metatable);
    if (!held) vm_raise(lua, FAULT_SCRIPT, 1, "write views.NAME:%s(…), with a colon", method);
    return *held;
}

/* --- get --- */

static int view_get(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "views");
    const struct loader_projection *view = view_at(lua, "get");
    struct slice key;
    if (lua_isinteger(lua, 2)) lua_tolstring(lua, 2, NULL); /* a key is text; in place */
    bool is_text = lua_type(lua, 2) == LUA_TSTRING;
    if (is_text) key.data = lua_tolstring(lua, 2, &key.size);
    if (!is_text || !text_is_key(key)) {
        char given[128];
        return vm_raise(lua, FAULT_SCRIPT, 1, "a key is a text of 1 to %d bytes or an integer, got %s",
                        LIMIT_DOCUMENT_KEY_SIZE_MAX, domain_describe_value(lua, 2, given));
    }
    struct buf *document = &run->domain->scratch;
    struct fault fault;
    buf_clear(document);
    int found = run->host->view_get(run->host->user, view->declared.name, key, document, &fault);
    if (found < 0) return vm_raise(lua, fault.code, 1, "%s", fault.text);
    vm_spend(lua, document->size / 8);
    if (found)
        value_push(lua, buf_slice(document));
    else
        lua_pushnil(lua);
    return 1;
}

/* --- range, all --- */

enum { /* upvalues of the iterator; what is text is bytes of MessagePack or of the host */
       OF_DOMAIN = 1,
       OF_VIEW,
       OF_INDEX,
       OF_MIN,
       OF_MAX,
       OF_CURSOR, /* false: not begun; nil: at its end */
       OF_PAGE,
       OF_OFFSET, /* of the next pair in the page */
       OF_COUNT
};

static struct slice upvalue_text(lua_State *lua, int upvalue)
{
    struct slice text = SLICE_NONE;
    if (lua_type(lua, lua_upvalueindex(upvalue)) == LUA_TSTRING)
        text.data = lua_tolstring(lua, lua_upvalueindex(upvalue), &text.size);
    return text;
}

static void push_bytes(lua_State *lua, struct slice bytes)
{
    lua_pushlstring(lua, bytes.data ? bytes.data : "", bytes.size);
}

/* What the host's function fills: gone with the stack, whatever is raised meanwhile. */
struct page {
    struct buf cursor, pairs;
};

static int release_page(lua_State *lua)
{
    struct page *page = lua_touserdata(lua, 1);
    buf_release(&page->cursor);
    buf_release(&page->pairs);
    return 0;
}

static struct page *push_page(lua_State *lua)
{
    struct page *page = lua_newuserdatauv(lua, sizeof *page, 0);
    *page = (struct page){0};
    luaL_setmetatable(lua, page_metatable);
    return page;
}

static void fetch_page(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "views");
    const struct loader_projection *view = lua_touserdata(lua, lua_upvalueindex(OF_VIEW));
    struct page *page = push_page(lua);
    struct fault fault;
    buf_put_slice(&page->cursor, upvalue_text(lua, OF_CURSOR));
    int more = run->host->view_range(run->host->user, view->declared.name, upvalue_text(lua, OF_INDEX),
                                     upvalue_text(lua, OF_MIN), upvalue_text(lua, OF_MAX), &page->cursor,
                                     PAGE_DOCUMENTS, &page->pairs, &fault);
    if (more < 0) vm_raise(lua, fault.code, 1, "%s", fault.text);
    push_bytes(lua, buf_slice(&page->pairs));
    lua_replace(lua, lua_upvalueindex(OF_PAGE));
    if (more)
        push_bytes(lua, buf_slice(&page->cursor));
    else
        lua_pushnil(lua);
    lua_replace(lua, lua_upvalueindex(OF_CURSOR));
    lua_pushinteger(lua, 0);
    lua_replace(lua, lua_upvalueindex(OF_OFFSET));
    buf_release(&page->cursor); /* at once: the collector comes when it comes */
    buf_release(&page->pairs);
    lua_pop(lua, 1);
}

/* Pushes the next key and document of the page; false at its end. */
static bool push_pair(lua_State *lua)
{
    struct slice page = upvalue_text(lua, OF_PAGE);
    size_t offset = (size_t)lua_tointeger(lua, lua_upvalueindex(OF_OFFSET));
    if (offset == page.size) return false;
    struct mp_reader reader = mp_reader_of(page);
    reader.at += offset;
    luaL_checkstack(lua, 8, NULL);
    value_push_next(lua, &reader);
    value_push_next(lua, &reader);
    size_t end = page.size - (size_t)(reader.end - reader.at);
    vm_spend(lua, (end - offset) / 8);
    lua_pushinteger(lua, (lua_Integer)end);
    lua_replace(lua, lua_upvalueindex(OF_OFFSET));
    return true;
}

/* The iterator. Between two pages others have their turn, and the budget of a call begins anew; where C code
 * stands between it and the run (a comparison of table.sort) it goes on at once. */
static int next_pair(lua_State *lua, int status, lua_KContext paused)
{
    lua_settop(lua, 0);
    while (!push_pair(lua)) {
        int cursor = lua_type(lua, lua_upvalueindex(OF_CURSOR));
        if (cursor == LUA_TNIL) return 0;
        if (cursor == LUA_TSTRING && !paused && lua_isyieldable(lua)) {
            run_open(lua, "views")->wants = DOMAIN_RUN_PAUSES;
            return lua_yieldk(lua, 0, 1, next_pair);
        }
        fetch_page(lua);
        paused = 0;
    }
    return 2;
}

static int step_range(lua_State *lua)
{
    return next_pair(lua, LUA_OK, 0);
}

/* A bound as MessagePack, "" for nil; pushed. */
static void push_bound(lua_State *lua, int index, struct domain *domain, const char *name)
{
    buf_clear(&domain->scratch);
    if (lua_type(lua, index) == LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1,
                 "%s of a range is a text, a number, a boolean or a decimal, got a table", name);
    if (!lua_isnoneornil(lua, index))
        value_encode(lua, index, &domain->scratch, name, LIMIT_MESSAGE_SIZE_MAX);
    push_bytes(lua, buf_slice(&domain->scratch));
}

static void check_index(lua_State *lua, const struct loader_projection *view)
{
    size_t size = 0;
    const char *text = lua_type(lua, 2) == LUA_TSTRING ? lua_tolstring(lua, 2, &size) : "";
    struct slice name = slice_make(text, size);
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < view->declared.index_count; at++) {
        if (slice_is(name, view->declared.indexes[at])) return;
        nearest_offer(&near, slice_of(view->declared.indexes[at]));
    }
    struct slice found = nearest_found(&near);
    if (size == 0) vm_raise(lua, FAULT_SCRIPT, 1, "write :range(index, min, max)");
    vm_raise(lua, FAULT_SCRIPT, 1, "%.*s has no index %.*s%s%.*s%s", SLICE_ARGS(view->declared.name),
             SLICE_ARGS(name), found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
}

/* With index, min and max on top of the stack. */
static int push_iterator(lua_State *lua, struct domain_run *run, const struct loader_projection *view)
{
    lua_pushlightuserdata(lua, run->domain);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)view);
    lua_rotate(lua, -5, 2);
    lua_pushboolean(lua, 0);
    lua_pushliteral(lua, "");
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, step_range, OF_COUNT - 1);
    return 1;
}

static int view_range(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "views");
    const struct loader_projection *view = view_at(lua, "range");
    lua_settop(lua, 4);
    check_index(lua, view);
    lua_pushvalue(lua, 2);
    push_bound(lua, 3, run->domain, "min");
    push_bound(lua, 4, run->domain, "max");
    return push_iterator(lua, run, view);
}

static int view_all(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "views");
    const struct loader_projection *view = view_at(lua, "all");
    for (int i = 0; i < 3; i++) lua_pushliteral(lua, "");
    return push_iterator(lua, run, view);
}

/* --- words --- */

void run_add_views(struct domain *domain)
{
    static const luaL_Reg methods[] = {
        {"get", view_get}, {"range", view_range}, {"all", view_all}, {NULL, NULL}};
    lua_State *lua = domain->vm->lua;
    luaL_newmetatable(lua, page_metatable);
    lua_pushcfunction(lua, release_page);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
    luaL_newmetatable(lua, view_metatable);
    lua_newtable(lua);
    lua_pushlightuserdata(lua, domain);
    luaL_setfuncs(lua, methods, 1);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 1);
    lua_pushlightuserdata(lua, domain);
    lua_pushcclosure(lua, view_index, 1);
    dotted_push(lua, "views");
    lua_setfield(lua, -2, "views");
}

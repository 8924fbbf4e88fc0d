/* The documents of a view, all or a range of an index, page by page: for key, document in DOCUMENTS do; shown
 * they are rows {key, document}. Nothing is read before it is asked for. */
#include "codec/json.h"
#include "vm/ask_events.h"
#include "vm/nearest.h"
#include "vm/value.h"

enum { PAGE_DOCUMENTS = 64 };

/* User values of a documents value: bytes of MessagePack or of the host. */
enum { OF_INDEX = 1, OF_MIN, OF_MAX, OF_CURSOR, OF_PAGE, OF_COUNT };

struct documents {
    const struct loader_projection *view;
    size_t offset; /* of the next pair in the page */
    bool begun, more;
};

static void push_bytes(lua_State *lua, struct slice bytes)
{
    lua_pushlstring(lua, bytes.data ? bytes.data : "", bytes.size);
}

static struct documents *documents_at(lua_State *lua)
{
    struct documents *documents = luaL_testudata(lua, 1, "documents");
    if (!documents) vm_raise(lua, FAULT_SCRIPT, 1, "expected documents, such as views.NAME:all()");
    return documents;
}

/* Stays on the stack: the user value keeps it. */
static struct slice part(lua_State *lua, int which)
{
    struct slice bytes = SLICE_NONE;
    if (lua_getiuservalue(lua, 1, which) == LUA_TSTRING) bytes.data = lua_tolstring(lua, -1, &bytes.size);
    lua_pop(lua, 1);
    return bytes;
}

static void set_part(lua_State *lua, int which, struct slice bytes)
{
    push_bytes(lua, bytes);
    lua_setiuservalue(lua, 1, which);
}

static void rewind_documents(lua_State *lua, struct documents *documents)
{
    documents->begun = true;
    documents->more = true;
    documents->offset = 0;
    set_part(lua, OF_CURSOR, SLICE_NONE);
    set_part(lua, OF_PAGE, SLICE_NONE);
}

static void fetch_page(lua_State *lua, struct ask *ask, struct documents *documents)
{
    struct fault fault;
    buf_clear(&ask->bytes);
    buf_clear(&ask->cursor);
    buf_put_slice(&ask->cursor, part(lua, OF_CURSOR));
    int more = ask->host->view_range(ask->host->user, documents->view->declared.name, part(lua, OF_INDEX),
                                     part(lua, OF_MIN), part(lua, OF_MAX), &ask->cursor, PAGE_DOCUMENTS,
                                     &ask->bytes, &fault);
    if (more < 0) ask_raise(lua, &fault);
    set_part(lua, OF_PAGE, buf_slice(&ask->bytes));
    set_part(lua, OF_CURSOR, buf_slice(&ask->cursor));
    documents->more = more == 1;
    documents->offset = 0;
}

/* Pushes the next key and document; false at the end. */
static bool push_next(lua_State *lua, struct ask *ask, struct documents *documents)
{
    struct slice page;
    while ((page = part(lua, OF_PAGE)).size == documents->offset) {
        if (!documents->more) return false;
        fetch_page(lua, ask, documents);
    }
    struct mp_reader reader = mp_reader_of(page);
    reader.at += documents->offset;
    luaL_checkstack(lua, 8, NULL);
    value_push_next(lua, &reader);
    value_push_next(lua, &reader);
    size_t end = page.size - (size_t)(reader.end - reader.at);
    vm_spend(lua, (end - documents->offset) / 8);
    documents->offset = end;
    return true;
}

/* As the iterator of a loop: (documents, nil, key before). It begins anew where that is nil. */
static int documents_call(lua_State *lua)
{
    struct documents *documents = documents_at(lua);
    if (lua_isnoneornil(lua, 3) || !documents->begun) rewind_documents(lua, documents);
    return push_next(lua, ask_of(lua), documents) ? 2 : 0;
}

static int documents_count(lua_State *lua)
{
    const struct documents *documents = documents_at(lua);
    const struct ask *ask = ask_of(lua);
    uint64_t count;
    struct fault fault;
    if (ask->host->view_count(ask->host->user, documents->view->declared.name, part(lua, OF_INDEX),
                              part(lua, OF_MIN), part(lua, OF_MAX), &count, &fault) < 0)
        return ask_raise(lua, &fault);
    lua_pushinteger(lua, (lua_Integer)count);
    return 1;
}

/* documents:list(): a list of { key, document }. */
static int documents_list(lua_State *lua)
{
    struct documents *documents = documents_at(lua);
    rewind_documents(lua, documents);
    lua_newtable(lua);
    int list = lua_gettop(lua);
    for (lua_Integer at = 1; push_next(lua, ask_of(lua), documents); at++) {
        lua_createtable(lua, 0, 2);
        lua_insert(lua, -3);
        lua_setfield(lua, -3, "document");
        lua_setfield(lua, -2, "key");
        lua_rawseti(lua, list, at);
    }
    if (lua_rawlen(lua, list) == 0)
        value_mark_list(lua, list);
    else
        ask_result_mark(ask_of(lua));
    return 1;
}

/* documents:plot(title), documents:save(file) */
static int documents_plot(lua_State *lua)
{
    documents_at(lua);
    return ask_result_call(lua, ask_of(lua), "plot");
}

static int documents_save(lua_State *lua)
{
    documents_at(lua);
    return ask_result_call(lua, ask_of(lua), "save");
}

int ask_documents_push_list(lua_State *lua)
{
    if (!luaL_testudata(lua, 1, "documents")) return 0;
    lua_settop(lua, 1);
    return documents_list(lua);
}

static int documents_name(lua_State *lua)
{
    lua_pushfstring(lua, "documents of %s", documents_at(lua)->view->declared.name.data);
    return 1;
}

/* Tells the first rows, and whether there are more. */
static int documents_show(lua_State *lua)
{
    struct documents *documents = documents_at(lua);
    struct ask *ask = ask_of(lua);
    rewind_documents(lua, documents);
    for (size_t told = 0; push_next(lua, ask, documents); told++) {
        if (ask->rows && told == ask->rows) {
            ask_tell(lua, ask, slice_of("{\"more\":true}"));
            break;
        }
        buf_clear(&ask->line);
        buf_put_text(&ask->line, "{\"row\":{\"key\":");
        ask_put_json(lua, -2, &ask->line, ask->value_size_max);
        buf_put_text(&ask->line, ",\"document\":");
        ask_put_json(lua, -1, &ask->line, ask->value_size_max);
        buf_put_text(&ask->line, "}}");
        ask_tell(lua, ask, buf_slice(&ask->line));
        lua_pop(lua, 2);
    }
    documents->begun = false;
    return 0;
}

static void push_documents(lua_State *lua, struct ask *ask, const struct loader_projection *view)
{
    static const luaL_Reg metamethods[] = {
        {"__call", documents_call}, {"__tostring", documents_name}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"count", documents_count},
                                       {"list", documents_list},
                                       {"plot", documents_plot},
                                       {"save", documents_save},
                                       {NULL, NULL}};
    struct documents *documents = lua_newuserdatauv(lua, sizeof *documents, OF_COUNT - 1);
    *documents = (struct documents){.view = view};
    ask_push_meta(ask, "documents", metamethods, methods);
    lua_pushlightuserdata(lua, ask);
    lua_pushcclosure(lua, documents_show, 1);
    lua_rawsetp(lua, -2, &ask_show_key);
    lua_setmetatable(lua, -2);
}

/* --- views.NAME:all(), :range(index, min, max) --- */

static void set_bound(lua_State *lua, struct ask *ask, int from, int which, const char *name)
{
    if (lua_isnoneornil(lua, from)) return;
    if (lua_type(lua, from) == LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1,
                 "%s of a range is a text, a number, a boolean or a decimal, got a table", name);
    buf_clear(&ask->bytes);
    value_encode(lua, from, &ask->bytes, name, LIMIT_MESSAGE_SIZE_MAX);
    push_bytes(lua, buf_slice(&ask->bytes));
    lua_setiuservalue(lua, -2, which);
}

static void check_index(lua_State *lua, const struct loader_projection *view, struct slice name)
{
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < view->declared.index_count; at++) {
        if (slice_is(name, view->declared.indexes[at])) return;
        nearest_offer(&near, slice_of(view->declared.indexes[at]));
    }
    struct slice found = nearest_found(&near);
    vm_raise(lua, FAULT_SCRIPT, 1, "%.*s has no index %.*s%s%.*s%s", SLICE_ARGS(view->declared.name),
             SLICE_ARGS(name), found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
}

int ask_documents_range(lua_State *lua, struct ask *ask, const struct loader_projection *view)
{
    lua_settop(lua, 4);
    struct slice index = ask_text(lua, 2, "the index of a range");
    check_index(lua, view, index);
    push_documents(lua, ask, view);
    push_bytes(lua, index);
    lua_setiuservalue(lua, -2, OF_INDEX);
    set_bound(lua, ask, 3, OF_MIN, "min");
    set_bound(lua, ask, 4, OF_MAX, "max");
    return 1;
}

int ask_documents_all(lua_State *lua, struct ask *ask, const struct loader_projection *view)
{
    push_documents(lua, ask, view);
    return 1;
}

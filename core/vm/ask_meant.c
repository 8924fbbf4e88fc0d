/* What somebody meant who called or indexed a global that is not there. */
#include <stdio.h>

#include "vm/ask_core.h"
#include "vm/nearest.h"

/* "… a nil value (global 'NAME')": the name, in the fault's text; empty: it is no such fault. */
static struct slice missing_global(const struct fault *fault)
{
    static const char begin[] = " a nil value (global '";
    const char *found = strstr(fault->text, begin);
    if (!found) return SLICE_NONE;
    const char *name = found + strlen(begin), *end = strchr(name, '\'');
    return end && strcmp(end, "')") == 0 ? slice_make(name, (size_t)(end - name)) : SLICE_NONE;
}

/* What has exactly this name inside of one context or another: "fines.fine". */
static bool put_inside(const struct ask *ask, struct slice name, char *meant, size_t size)
{
    const struct loader *loader = ask->domain->loader;
    const struct contracts *contracts = loader_contracts(loader);
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        if (!slice_equal(aggregate->short_name, name)) continue;
        snprintf(meant, size, "%.*s.%.*s", SLICE_ARGS(aggregate->declared.context), SLICE_ARGS(name));
        return true;
    }
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        if (!slice_equal(message->name, name)) continue;
        snprintf(meant, size, "%.*s.%.*s", SLICE_ARGS(message->context), SLICE_ARGS(name));
        return true;
    }
    for (size_t at = 0; at < loader_projection_count(loader); at++) {
        if (!slice_equal(loader_projection(loader, at)->short_name, name)) continue;
        snprintf(meant, size, "views.%.*s", SLICE_ARGS(name));
        return true;
    }
    return false;
}

static void offer_keys(lua_State *lua, int reference, struct nearest *near)
{
    struct slice key = SLICE_NONE;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, reference);
    if (lua_type(lua, -1) != LUA_TTABLE) {
        lua_pop(lua, 1);
        return;
    }
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING) continue;
        key.data = lua_tolstring(lua, -2, &key.size);
        nearest_offer(near, key);
    }
    lua_pop(lua, 1);
}

void ask_add_meant(struct ask *ask, struct fault *fault)
{
    lua_State *lua = ask->domain->vm->lua;
    struct slice name = missing_global(fault);
    char meant[2 * LIMIT_NAME_SIZE_MAX + 16] = "";
    if (name.size == 0) return;
    if (!put_inside(ask, name, meant, sizeof meant)) {
        struct nearest near = nearest_to(name);
        offer_keys(lua, ask->env_ref, &near);
        offer_keys(lua, ask->words_ref, &near);
        offer_keys(lua, ask->domain->vm->script_env, &near);
        snprintf(meant, sizeof meant, "%.*s", SLICE_ARGS(nearest_found(&near)));
    }
    size_t size = strlen(fault->text);
    if (meant[0]) snprintf(fault->text + size, sizeof fault->text - size, ": did you mean %s?", meant);
}

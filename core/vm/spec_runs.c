/* Scenarios of receptors, services and tasks. What a service or task reaches is given by the spec as a table
 *
 *     { views = { { view = "billing/open", key = "7", data = … }, … }, env = { KEY = "x" }, now_ms = …,
 *       http = function(request) return { status = 202, headers = {…}, body = "…" } end }
 *
 * where http is a function of lua/spec.lua and runs in the specs' state, between two steps of the run. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/mp.h"
#include "codec/order.h"
#include "vm/spec_core.h"

static void add_output(struct spec *spec, struct spec_result *result, const struct domain_output *output,
                       int64_t sent_ms)
{
    for (size_t at = 0; at < output->event_count; at++) {
        const struct commit_event *event = &output->events[at];
        spec_add_item(spec, result, event->type, event->type_version, event->data);
    }
    for (size_t at = 0; at < output->send_count; at++) {
        struct domain_send *send = arena_zero(&spec->arena, sizeof *send);
        *send = output->sends[at];
        send->target = arena_copy(&spec->arena, send->target);
        send->id = arena_copy(&spec->arena, send->id);
        send->key = arena_copy(&spec->arena, send->key);
        struct spec_item *item = spec_add_item(spec, result, send->type, 0, send->data);
        item->send = send;
        item->sent_ms = sent_ms;
    }
}

/* --- receptors --- */

int spec_run_receptor(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    struct spec_result result = {0};
    arena_release(&spec->arena);
    int receptor = domain_find_receptor(spec->used, slice_of(luaL_checkstring(lua, 2)));
    size_t count;
    const struct spec_message *given = spec_read_messages(spec, lua, 3, &count);
    bool fresh = lua_toboolean(lua, 1);
    struct domain *domain = spec_take_domain(spec, fresh, &result);
    if (domain) domain_set_exact(domain, true);
    for (size_t at = 0; at < count && !result.failed; at++) {
        struct envelope envelope = spec_envelope_of(&given[at]);
        struct domain_output output;
        envelope.version = envelope.position = at + 1;
        result.failed = domain_receive(domain, receptor, &envelope, given[at].data, &spec->arena, &output,
                                       &result.fault) < 0;
        if (!result.failed) add_output(spec, &result, &output, envelope.recorded_ms);
    }
    if (fresh) domain_close(domain);
    return spec_push_result(lua, &result);
}

/* --- the world of a service or task --- */

struct document {
    struct slice view, key, data;
};

struct world {
    struct spec *spec;
    lua_State *lua;
    int table; /* of the spec, on the stack */
    int64_t now_ms;
    struct document *documents;
    size_t count;
};

static void read_world(struct world *world)
{
    lua_State *lua = world->lua;
    lua_getfield(lua, world->table, "views");
    world->count = (size_t)luaL_len(lua, -1);
    world->documents = arena_zero(&world->spec->arena, (world->count + 1) * sizeof *world->documents);
    for (size_t at = 0; at < world->count; at++) {
        lua_rawgeti(lua, -1, (lua_Integer)at + 1);
        int table = lua_gettop(lua);
        world->documents[at] = (struct document){.view = spec_field_text(world->spec, lua, table, "view"),
                                                 .key = spec_field_text(world->spec, lua, table, "key"),
                                                 .data = spec_field_text(world->spec, lua, table, "data")};
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    world->now_ms = spec_field_int(lua, world->table, "now_ms");
}

static int view_get(void *user, struct slice view, struct slice key, struct buf *document,
                    struct fault *fault)
{
    const struct world *world = user;
    for (size_t at = 0; at < world->count; at++) {
        const struct document *found = &world->documents[at];
        if (!slice_equal(found->view, view) || !slice_equal(found->key, key)) continue;
        buf_put_slice(document, found->data);
        return 1;
    }
    return 0;
}

struct entry { /* of an index */
    const struct document *document;
    struct slice order;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    int order = slice_compare(one->order, other->order);
    return order ? order : slice_compare(one->document->key, other->document->key);
}

static struct slice order_of(struct spec *spec, struct slice value)
{
    struct buf order = {0};
    order_put(&order, value);
    struct slice kept = arena_copy(&spec->arena, buf_slice(&order));
    buf_release(&order);
    return kept;
}

/* The documents of a range, in order. */
static struct entry *find_range(const struct world *world, struct slice view, struct slice index,
                                struct slice min, struct slice max, size_t *count)
{
    struct spec *spec = world->spec;
    struct entry *entries = arena_zero(&spec->arena, (world->count + 1) * sizeof *entries);
    struct slice low = order_of(spec, min), high = order_of(spec, max);
    *count = 0;
    for (size_t at = 0; at < world->count; at++) {
        const struct document *document = &world->documents[at];
        struct slice value = SLICE_NONE;
        if (!slice_equal(document->view, view)) continue;
        if (index.size > 0 && !mp_find(document->data, index, &value)) continue;
        struct entry entry = {.document = document, .order = order_of(spec, value)};
        if (index.size > 0 && entry.order.size == 0) continue; /* no scalar: not indexed */
        if (low.size > 0 && slice_compare(entry.order, low) < 0) continue;
        if (high.size > 0 && slice_compare(entry.order, high) > 0) continue;
        entries[(*count)++] = entry;
    }
    if (*count > 1) qsort(entries, *count, sizeof *entries, compare_entries);
    return entries;
}

static int view_range(void *user, struct slice view, struct slice index, struct slice min, struct slice max,
                      struct buf *cursor, size_t limit, struct buf *pairs, struct fault *fault)
{
    const struct world *world = user;
    size_t at = 0, count;
    if (cursor->size == sizeof at) memcpy(&at, cursor->data, sizeof at);
    const struct entry *entries = find_range(world, view, index, min, max, &count);
    for (size_t end = at + limit; at < count && at < end; at++) {
        mp_put_text(pairs, entries[at].document->key);
        buf_put_slice(pairs, entries[at].document->data);
    }
    buf_clear(cursor);
    buf_put(cursor, &at, sizeof at);
    return at < count;
}

static int64_t world_now_ms(void *user)
{
    return ((const struct world *)user)->now_ms;
}

static bool world_secret(void *user, struct slice name, struct buf *value)
{
    const struct world *world = user;
    lua_State *lua = world->lua;
    lua_getfield(lua, world->table, "env");
    lua_pushlstring(lua, name.data, name.size);
    bool found = lua_rawget(lua, -2) == LUA_TSTRING;
    size_t size;
    const char *text = found ? lua_tolstring(lua, -1, &size) : NULL;
    if (found) buf_put(value, text, size);
    lua_pop(lua, 2);
    return found;
}

static void world_log(void *user, int level, struct slice text)
{
    (void)user, (void)level, (void)text; /* a spec shows what is expected */
}

/* --- requests --- */

static void push_request(lua_State *lua, const struct domain_request *request)
{
    const struct {
        const char *field;
        struct slice text;
    } fields[] = {{"method", request->method}, {"url", request->url}, {"body", request->body}};
    lua_newtable(lua);
    for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
        lua_pushlstring(lua, fields[at].text.data ? fields[at].text.data : "", fields[at].text.size);
        lua_setfield(lua, -2, fields[at].field);
    }
    lua_pushinteger(lua, request->timeout_ms);
    lua_setfield(lua, -2, "timeout_ms");
    lua_newtable(lua);
    for (size_t at = 0; at < request->header_count; at++) {
        lua_pushlstring(lua, request->headers[at][0].data, request->headers[at][0].size);
        lua_pushlstring(lua, request->headers[at][1].data, request->headers[at][1].size);
        lua_rawset(lua, -3);
    }
    lua_setfield(lua, -2, "headers");
}

/* Of the table that the spec's http returned, on top of the stack. */
static struct domain_response read_response(struct spec *spec, lua_State *lua)
{
    int table = lua_gettop(lua);
    struct domain_response response = {.status = (int)spec_field_int(lua, table, "status"),
                                       .body = spec_field_text(spec, lua, table, "body"),
                                       .error = spec_field_text(spec, lua, table, "error")};
    lua_getfield(lua, table, "headers");
    struct slice(*headers)[2] = NULL;
    for (int pass = 0; pass < 2; pass++) {
        response.header_count = 0;
        for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
            struct slice *header = headers ? headers[response.header_count] : NULL;
            response.header_count++;
            if (!header) continue;
            header[0] = arena_copy(&spec->arena, slice_of(luaL_checkstring(lua, -2)));
            header[1] = arena_copy(&spec->arena, slice_of(luaL_checkstring(lua, -1)));
        }
        if (!headers) headers = arena_zero(&spec->arena, (response.header_count + 1) * sizeof *headers);
    }
    lua_pop(lua, 1);
    response.headers = (const struct slice(*)[2])headers;
    return response;
}

/* --- services and tasks --- */

/* false: the spec's own http raised; its error is on the stack. */
static bool run_to_end(struct world *world, struct domain_run *run, struct spec_result *result)
{
    lua_State *lua = world->lua;
    struct domain_response response;
    enum domain_run_state state = domain_run_step(run, NULL, &result->fault);
    while (state == DOMAIN_RUN_FETCHES || state == DOMAIN_RUN_PAUSES) {
        if (state == DOMAIN_RUN_FETCHES) {
            lua_getfield(lua, world->table, "http");
            push_request(lua, domain_run_request(run));
            if (lua_pcall(lua, 1, 1, 0) != LUA_OK) return false;
            response = read_response(world->spec, lua);
            lua_pop(lua, 1);
        }
        state = domain_run_step(run, state == DOMAIN_RUN_FETCHES ? &response : NULL, &result->fault);
    }
    if (state == DOMAIN_RUN_RETRIES) result->retry_ms = domain_run_retry_ms(run);
    result->failed = state == DOMAIN_RUN_FAILED;
    if (state == DOMAIN_RUN_DONE) add_output(world->spec, result, domain_run_output(run), world->now_ms);
    return true;
}

/* Starts a service for a command, or a task. */
static int start_run(struct domain *domain, int index, const struct envelope *envelope, struct slice data,
                     const struct domain_host *host, int64_t now_ms, struct domain_run **run,
                     struct fault *fault)
{
    if (envelope) return domain_service_start(domain, index, envelope, data, host, run, fault);
    return domain_task_start(domain, index, slice_of("main"), now_ms, host, run, fault);
}

static int run_in_world(lua_State *lua, int index, const struct spec_message *command)
{
    struct spec *spec = spec_of(lua);
    struct spec_result result = {0};
    struct world world = {.spec = spec, .lua = lua, .table = 4};
    read_world(&world);
    const struct domain_host host = {.user = &world,
                                     .view_get = view_get,
                                     .view_range = view_range,
                                     .now_ms = world_now_ms,
                                     .secret = world_secret,
                                     .log = world_log};
    struct envelope envelope = command ? spec_envelope_of(command) : (struct envelope){0};
    bool fresh = lua_toboolean(lua, 1), well = true;
    struct domain *domain = spec_take_domain(spec, fresh, &result);
    struct domain_run *run = NULL;
    if (domain) {
        result.failed =
            start_run(domain, index, command ? &envelope : NULL, command ? command->data : SLICE_NONE, &host,
                      world.now_ms, &run, &result.fault) < 0;
        if (!result.failed) well = run_to_end(&world, run, &result);
        domain_run_free(run);
    }
    if (fresh) domain_close(domain);
    if (!well) return lua_error(lua);
    return spec_push_result(lua, &result);
}

int spec_run_service(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    arena_release(&spec->arena);
    size_t count;
    const struct spec_message *command = spec_read_messages(spec, lua, 3, &count);
    return run_in_world(lua, domain_find_service(spec->used, slice_of(luaL_checkstring(lua, 2))), command);
}

int spec_run_task(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    arena_release(&spec->arena);
    return run_in_world(lua, domain_find_task(spec->used, slice_of(luaL_checkstring(lua, 2))), NULL);
}

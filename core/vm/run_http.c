/* http.get/post/put/delete(url, { json | body, headers, timeout }): the run yields and is resumed with the
 * answer. What is checked here is form only; where a request may go is the caller's matter. */
#include <lauxlib.h>
#include <stdio.h>

#include "base/rand.h"
#include "codec/json.h"
#include "codec/text.h"
#include "vm/moments.h"
#include "vm/readonly.h"
#include "vm/run.h"
#include "vm/value.h"

enum { HEADERS_MAX = 64 };

/* --- the request --- */

struct building {
    struct domain_run *run;
    struct arena *arena;
    struct slice (*headers)[2];
    bool has_json, has_type, has_key;
};

static struct slice keep(lua_State *lua, struct building *building, struct slice text)
{
    vm_hold(lua, text.size);
    return arena_copy(building->arena, text);
}

static struct slice read_url(lua_State *lua, struct building *building, const char *word)
{
    char given[128];
    struct slice url = lua_type(lua, 1) == LUA_TSTRING ? vm_text_at(lua, 1) : SLICE_NONE;
    if (!slice_starts(url, "http://") && !slice_starts(url, "https://"))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes a URL that begins with https:// or http://, got %s", word,
                 domain_describe_value(lua, 1, given));
    for (size_t at = 0; at < url.size; at++)
        if ((unsigned char)url.data[at] <= 0x20 || url.data[at] == 0x7f)
            vm_raise(lua, FAULT_SCRIPT, 1, "%s: a space or control character in the URL", word);
    return keep(lua, building, url);
}

static bool is_token(struct slice name)
{
    for (size_t at = 0; at < name.size; at++) {
        unsigned char byte = (unsigned char)name.data[at];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!letter && !(byte >= '0' && byte <= '9') && !(byte && strchr("!#$%&'*+-.^_`|~", byte)))
            return false;
    }
    return name.size > 0;
}

/* No line may be smuggled into the head of the request. */
static bool is_header_value(struct slice value)
{
    for (size_t at = 0; at < value.size; at++)
        if (((unsigned char)value.data[at] < 0x20 && value.data[at] != '\t') || value.data[at] == 0x7f)
            return false;
    return true;
}

static bool same_header(struct slice name, const char *other)
{
    if (name.size != strlen(other)) return false;
    for (size_t at = 0; at < name.size; at++) {
        char letter = name.data[at];
        if (letter >= 'A' && letter <= 'Z') letter = (char)(letter - 'A' + 'a');
        if (letter != other[at]) return false;
    }
    return true;
}

static void add_header(lua_State *lua, struct building *building, struct slice name, struct slice value)
{
    struct domain_request *request = &building->run->request;
    if (request->header_count == HEADERS_MAX)
        vm_raise(lua, FAULT_SCRIPT, 1, "more than %d headers in a request", HEADERS_MAX);
    struct slice *header = building->headers[request->header_count++];
    header[0] = keep(lua, building, name);
    header[1] = keep(lua, building, value);
}

/* The table on top of the stack, which stays. */
static void read_headers(lua_State *lua, struct building *building, const char *word)
{
    if (readonly_push_target(lua, -1)) lua_replace(lua, -2);
    if (lua_type(lua, -1) != LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: headers must be a table of texts by name", word);
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        struct slice name = lua_type(lua, -2) == LUA_TSTRING ? vm_text_at(lua, -2) : SLICE_NONE;
        if (!is_token(name)) vm_raise(lua, FAULT_SCRIPT, 1, "%s: a header needs a name such as Accept", word);
        bool is_text = lua_type(lua, -1) == LUA_TSTRING || lua_type(lua, -1) == LUA_TNUMBER;
        if (!is_text || !is_header_value(vm_text_at(lua, -1)))
            vm_raise(lua, FAULT_SCRIPT, 1, "%s: header %.*s must be a text of one line", word,
                     SLICE_ARGS(name));
        if (same_header(name, "content-type")) building->has_type = true;
        if (same_header(name, "idempotency-key")) building->has_key = true;
        add_header(lua, building, name, vm_text_at(lua, -1));
    }
}

/* The value on top of the stack, which stays. */
static struct slice read_json(lua_State *lua, struct building *building)
{
    struct domain *domain = building->run->domain;
    struct fault fault;
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, "json", domain->message_size_max);
    struct slice value = keep(lua, building, buf_slice(&domain->scratch));
    buf_clear(&domain->scratch);
    if (json_from_mp(value, &domain->scratch, &fault) < 0) vm_raise(lua, fault.code, 1, "%s", fault.text);
    building->has_json = true;
    return keep(lua, building, buf_slice(&domain->scratch));
}

static struct slice read_body(lua_State *lua, struct building *building, const char *word)
{
    char given[128];
    if (lua_type(lua, -1) != LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: body must be a text (or give json), got %s", word,
                 domain_describe_value(lua, -1, given));
    if (lua_rawlen(lua, -1) > building->run->domain->message_size_max)
        vm_raise(lua, FAULT_TOO_LARGE, 1, "%s: body is larger than %zu bytes", word,
                 building->run->domain->message_size_max);
    return keep(lua, building, vm_text_at(lua, -1));
}

static void read_options(lua_State *lua, struct building *building, const char *word)
{
    struct domain_request *request = &building->run->request;
    if (lua_isnoneornil(lua, 2)) return;
    if (readonly_push_target(lua, 2)) lua_replace(lua, 2);
    if (lua_type(lua, 2) != LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1, "the options of %s must be a table such as { json = … }", word);
    bool has_body = false;
    for (lua_pushnil(lua); lua_next(lua, 2); lua_pop(lua, 1)) {
        struct slice name = lua_type(lua, -2) == LUA_TSTRING ? vm_text_at(lua, -2) : slice_of("?");
        if (slice_is(name, "json")) {
            request->body = read_json(lua, building);
        } else if (slice_is(name, "body")) {
            request->body = read_body(lua, building, word);
            has_body = true;
        } else if (slice_is(name, "headers")) {
            read_headers(lua, building, word);
        } else if (slice_is(name, "timeout")) {
            if (!moments_take_duration(lua, -1, &request->timeout_ms) || request->timeout_ms <= 0)
                vm_raise(lua, FAULT_SCRIPT, 1, "%s: timeout must be a duration such as \"5s\"", word);
        } else {
            vm_raise(lua, FAULT_SCRIPT, 1, "%s has no option %.*s, only json, body, headers and timeout",
                     word, SLICE_ARGS(name));
        }
    }
    if (has_body && building->has_json)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: either json or body, not both", word);
    if ((has_body || building->has_json) && slice_is(request->method, "GET"))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: a GET request has no body", word);
}

/* The same for the same request of the same run, however often that is repeated. */
static void add_idempotency_key(lua_State *lua, struct building *building)
{
    struct domain_run *run = building->run;
    char hex[2 * HASH_SIZE + 1], text[2 * HASH_SIZE + 16], uuid[RAND_UUID_SIZE + 1];
    hash_hex(&run->identity, hex);
    snprintf(text, sizeof text, "%s/%u", hex, run->request_count);
    struct hash hash = hash_of(slice_of(text));
    rand_uuid_of(hash.bytes, uuid);
    add_header(lua, building, slice_of("Idempotency-Key"), slice_of(uuid));
}

/* --- the answer --- */

/* answer.json(). Upvalues: the domain, the body. */
static int answer_json(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    struct slice body = vm_text_at(lua, lua_upvalueindex(2));
    struct fault fault;
    vm_spend(lua, body.size / 8);
    buf_clear(&domain->scratch);
    if (json_to_mp(body, &domain->scratch, &fault) < 0)
        return vm_raise(lua, FAULT_SCRIPT, 1, "the answer is no JSON: %s", fault.text);
    value_push(lua, buf_slice(&domain->scratch));
    return 1;
}

/* By names of small letters; what came more than once is joined by commas. */
static void push_headers(lua_State *lua, const struct domain_response *answer)
{
    lua_createtable(lua, 0, (int)answer->header_count);
    for (size_t at = 0; at < answer->header_count; at++) {
        struct slice name = answer->headers[at][0], value = answer->headers[at][1];
        luaL_Buffer small;
        luaL_buffinit(lua, &small);
        for (size_t i = 0; i < name.size; i++) {
            char letter = name.data[i];
            luaL_addchar(&small, letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter);
        }
        luaL_pushresult(&small);
        lua_pushvalue(lua, -1);
        bool again = lua_rawget(lua, -3) == LUA_TSTRING;
        if (again) lua_pushliteral(lua, ", ");
        lua_pushlstring(lua, value.data ? value.data : "", value.size);
        if (again)
            lua_concat(lua, 3);
        else
            lua_remove(lua, -2); /* the nil */
        lua_rawset(lua, -3);
    }
}

static int push_answer(lua_State *lua, int status, lua_KContext context)
{
    struct domain_run *run = run_open(lua, "http");
    const struct domain_response *answer = run->answer;
    if (!answer) return vm_raise(lua, FAULT_INTERNAL, 1, "a request without an answer");
    struct slice method = run->request.method, url = run->request.url;
    if (answer->error.size > 0)
        return vm_raise(lua, FAULT_SCRIPT, 1, "%.*s %.*s: %.*s", SLICE_ARGS(method),
                        (int)(url.size < 500 ? url.size : 500), url.data, SLICE_ARGS(answer->error));
    lua_createtable(lua, 0, 4);
    lua_pushinteger(lua, answer->status);
    lua_setfield(lua, -2, "status");
    push_headers(lua, answer);
    lua_setfield(lua, -2, "headers");
    lua_pushlightuserdata(lua, run->domain);
    lua_pushlstring(lua, answer->body.data ? answer->body.data : "", answer->body.size);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -4, "body");
    lua_pushcclosure(lua, answer_json, 2);
    lua_setfield(lua, -2, "json");
    return 1;
}

static int ask(lua_State *lua, const char *method, const char *word)
{
    struct domain_run *run = run_open(lua, word);
    if (!lua_isyieldable(lua))
        return vm_raise(lua, FAULT_SCRIPT, 1,
                        "%s is not possible inside a function that table.sort, gsub or "
                        "a metamethod calls",
                        word);
    if (run->request_count == LIMIT_RUN_REQUESTS_MAX)
        return vm_raise(lua, FAULT_BUDGET, 1, "more than %d requests in one run", LIMIT_RUN_REQUESTS_MAX);
    run->request_count++;
    struct building building = {.run = run, .arena = &run->requests[run->request_count % 2]};
    arena_reset(building.arena);
    building.headers = arena_zero(building.arena, HEADERS_MAX * sizeof *building.headers);
    run->request = (struct domain_request){.method = slice_of(method),
                                           .headers = (const struct slice(*)[2])building.headers};
    lua_settop(lua, 2);
    run->request.url = read_url(lua, &building, word);
    read_options(lua, &building, word);
    if (building.has_json && !building.has_type)
        add_header(lua, &building, slice_of("Content-Type"), slice_of("application/json"));
    if (!building.has_key) add_idempotency_key(lua, &building);
    run->wants = DOMAIN_RUN_FETCHES;
    return lua_yieldk(lua, 0, 0, push_answer);
}

static int http_get(lua_State *lua)
{
    return ask(lua, "GET", "http.get");
}

static int http_post(lua_State *lua)
{
    return ask(lua, "POST", "http.post");
}

static int http_put(lua_State *lua)
{
    return ask(lua, "PUT", "http.put");
}

static int http_delete(lua_State *lua)
{
    return ask(lua, "DELETE", "http.delete");
}

void run_add_http(struct domain *domain)
{
    static const luaL_Reg functions[] = {
        {"get", http_get}, {"post", http_post}, {"put", http_put}, {"delete", http_delete}, {NULL, NULL}};
    run_add_library(domain, "http", functions);
}

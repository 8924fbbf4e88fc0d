/* What was deployed. Records, gates and texts never change, so an answer in pieces needs to remember only
 * where it goes on. */
#include <inttypes.h>

#include "codec/json.h"
#include "codec/text.h"
#include "net/api.h"
#include "run/deploys.h"

static void put_separator(struct call *call, struct buf *out)
{
    if (call->format == API_JSON && !call->deploys.page.is_first) buf_put_byte(out, ',');
    call->deploys.page.is_first = false;
}

/* --- the list, newest first --- */

struct listing {
    struct call *call;
    struct buf *out;
    struct arena arena;
};

/* Scripts that differ from the deploy with the number before; all of the first that is known. */
static size_t count_changed(struct listing *listing, const struct deploy_record *record)
{
    struct deploy_record before = {0};
    struct fault ignored;
    arena_reset(&listing->arena);
    struct engine *engine = hub_engine(listing->call->net->hub);
    if (deploys_load(engine, record->number - 1, &listing->arena, &before, &ignored) < 0)
        before = (struct deploy_record){0};
    return deploys_changed(&before, record);
}

static bool put_row(void *user, const struct deploy_record *record, enum deploy_state state)
{
    struct listing *listing = user;
    struct deploys_call *deploys = &listing->call->deploys;
    struct buf *out = listing->out;
    put_separator(listing->call, out);
    buf_put_byte(out, '{');
    deploys_put_members(record, state, out);
    json_put_int_member(out, "scripts", (int64_t)record->script_count);
    json_put_int_member(out, "changed", (int64_t)count_changed(listing, record));
    buf_put_text(out, listing->call->format == API_NDJSON ? "}\n" : "}");
    deploys->below = record->number;
    return --deploys->page.limit > 0 && out->size < API_PIECE_SIZE;
}

static enum server_pull pull_list(void *user, struct buf *out)
{
    struct call *call = user;
    struct deploys_call *deploys = &call->deploys;
    struct listing listing = {.call = call, .out = out};
    if (call->format == API_JSON && !deploys->page.has_begun) buf_put_text(out, "{\"deploys\":[");
    deploys->page.has_begun = true;
    int done = deploys_each(hub_engine(call->net->hub), deploys->below, put_row, &listing, &call->net->fault);
    arena_release(&listing.arena);
    if (done < 0) return SERVER_CUT;
    /* Cut off by its size, with more to come. */
    if (deploys->page.limit > 0 && out->size >= API_PIECE_SIZE && deploys->below > 1) return SERVER_MORE;
    if (call->format == API_JSON) buf_put_text(out, "]}\n");
    return SERVER_END;
}

void api_deploys_take(struct call *call)
{
    struct deploys_call *deploys = &call->deploys;
    static const char *const names[] = {"limit", "below", NULL};
    if (call->format == API_EVENT_STREAM) call->format = API_JSON;
    deploys->page.is_first = true;
    if (query_only(&call->query, names, &call->net->fault) < 0 ||
        query_number(&call->query, "below", 1, &deploys->below, &call->net->fault) < 0 ||
        api_limit(call, call->format == API_JSON ? API_LIMIT_DEFAULT : UINT64_MAX, &deploys->page.limit) <
            0) {
        api_fault(call, &call->net->fault);
        return;
    }
    api_pull(call, pull_list);
}

/* --- one --- */

struct switches {
    struct buf *out;
    uint64_t number;
    bool some;
};

static bool put_switch(void *user, const struct deploy_switch *change)
{
    struct switches *switches = user;
    if (change->from != switches->number && change->to != switches->number) return true;
    if (switches->some) buf_put_byte(switches->out, ',');
    switches->some = true;
    deploys_put_switch_json(change, switches->out);
    return true;
}

static int put_deploy(struct call *call, struct buf *out)
{
    struct engine *engine = hub_engine(call->net->hub);
    struct fault *fault = &call->net->fault;
    struct deploy_record record;
    enum deploy_state state;
    struct switches switches = {.out = out, .number = call->match.number};
    if (deploys_load(engine, call->match.number, api_arena(call), &record, fault) < 0 ||
        deploys_state(engine, record.number, &state, fault) < 0)
        return -1;
    buf_put_byte(out, '{');
    deploys_put_members(&record, state, out);
    deploys_put_scripts(&record, out);
    json_put_name(out, "switches");
    buf_put_byte(out, '[');
    if (deploys_each_switch(engine, put_switch, &switches, fault) < 0) return -1;
    buf_put_byte(out, ']');
    if (record.gate_size) {
        json_put_name(out, "gate");
        if (deploys_gate(engine, &record, out, fault) < 0) return -1;
    }
    buf_put_text(out, "}\n");
    return 0;
}

void api_deploy_take(struct call *call)
{
    if (query_only(&call->query, (const char *const[]){NULL}, &call->net->fault) < 0 ||
        put_deploy(call, api_out(call)) < 0) {
        api_fault(call, &call->net->fault);
        return;
    }
    api_reply(call, 200);
}

/* --- its scripts --- */

/* What is not UTF-8 has no form in JSON: its bytes are told as hex digits. */
static void put_text(struct buf *out, struct slice text)
{
    if (text_is_utf8(text)) {
        json_put_text_member(out, "text", text);
        return;
    }
    json_put_name(out, "hex");
    buf_put_byte(out, '"');
    for (size_t at = 0; at < text.size; at++) buf_format(out, "%02x", (uint8_t)text.data[at]);
    buf_put_byte(out, '"');
}

static int put_script(struct call *call, const struct deploy_script *script, struct buf *out)
{
    char hex[2 * HASH_SIZE + 1];
    struct buf text = {0};
    int done = deploys_text(hub_engine(call->net->hub), &script->hash, &text, &call->net->fault);
    if (done == 0) {
        put_separator(call, out);
        hash_hex(&script->hash, hex);
        buf_put_byte(out, '{');
        json_put_text_member(out, "path", script->path);
        json_put_text_member(out, "hash", slice_of(hex));
        put_text(out, buf_slice(&text));
        buf_put_text(out, call->format == API_NDJSON ? "}\n" : "}");
    }
    buf_release(&text);
    return done;
}

static enum server_pull pull_scripts(void *user, struct buf *out)
{
    struct call *call = user;
    struct deploys_call *deploys = &call->deploys;
    if (call->format == API_JSON && !deploys->page.has_begun) buf_put_text(out, "{\"scripts\":[");
    deploys->page.has_begun = true;
    while (deploys->next < deploys->script_count) {
        if (out->size >= API_PIECE_SIZE) return SERVER_MORE;
        if (put_script(call, &deploys->scripts[deploys->next++], out) < 0) return SERVER_CUT;
    }
    if (call->format == API_JSON) buf_put_text(out, "]}\n");
    return SERVER_END;
}

void api_deploy_scripts_take(struct call *call)
{
    struct deploys_call *deploys = &call->deploys;
    struct deploy_record record;
    if (call->format == API_EVENT_STREAM) call->format = API_JSON;
    deploys->page.is_first = true;
    if (query_only(&call->query, (const char *const[]){NULL}, &call->net->fault) < 0 ||
        deploys_load(hub_engine(call->net->hub), call->match.number, api_arena(call), &record,
                     &call->net->fault) < 0) {
        api_fault(call, &call->net->fault);
        return;
    }
    deploys->scripts = record.scripts;
    deploys->script_count = record.script_count;
    api_pull(call, pull_scripts);
}

/* POST /v1/deploys and /v1/deploys/undo: the hub goes to other scripts, or says what would change. */
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "codec/time.h"
#include "net/api.h"
#include "net/body.h"
#include "net/problem.h"

enum {
    DEPLOY_BUDGET_MS_MAX = 24 * 3600 * 1000,
    DEPLOY_SAMPLES_MAX = 1000 /* of each kind, kept in memory while the past is folded */
};

struct deploy_call {
    struct deploy_order order;
    struct buf specs;
};

static void deploy_done(struct deploy_order *order)
{
    api_finish(order->user);
}

/* What refuses a deploy comes with the whole report. */
static void answer(struct call *call)
{
    struct deploy_order *order = &call->deploy->order;
    struct buf *out = api_out(call);
    const struct fault *fault = &order->fault;
    if (fault->code == FAULT_NONE) {
        buf_put_slice(out, buf_slice(&order->report));
        buf_put_byte(out, '\n');
        api_reply(call, 200);
    } else if (fault->code == FAULT_REFUSED || fault->code == FAULT_SCRIPTS) {
        int status = fault_http_status(fault->code);
        problem_begin(out, status, fault_name(fault->code), slice_of(fault->text));
        if (order->report.size) {
            json_put_name(out, "report");
            buf_put_slice(out, buf_slice(&order->report));
        }
        problem_end(out);
        api_reply(call, status);
    } else {
        api_fault(call, fault);
    }
}

void api_deploy_end(struct call *call)
{
    buf_release(&call->deploy->order.report);
    buf_release(&call->deploy->specs);
}

/* --- the body --- */

static const char deploy_members[] =
    "scripts, note, folder, specs, plan, force, replay, everything, since, budget_ms "
    "and samples";

static int read_error(const char *member, const char *expected, struct fault *fault)
{
    return fault_set(fault, FAULT_MALFORMED, "%s: expected %s", member, expected);
}

static int read_text(const struct mp_value *value, const char *member, struct arena *arena,
                     struct slice *text, struct fault *fault)
{
    if (value->kind != MP_TEXT) return read_error(member, "text", fault);
    *text = arena_copy(arena, value->text);
    return 0;
}

static int read_scripts(struct deploy_order *order, struct slice bytes, struct arena *arena,
                        struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map, path, text;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP)
        return read_error("scripts", "an object of paths and texts", fault);
    struct deploy_text *texts = arena_zero(arena, (map.count + 1) * sizeof *texts);
    for (uint32_t at = 0; at < map.count; at++) {
        if (mp_read(&reader, &path) < 0 || mp_read(&reader, &text) < 0 || text.kind != MP_TEXT)
            return read_error("scripts", "each script as text", fault);
        texts[at] = (struct deploy_text){arena_copy(arena, path.text), arena_copy(arena, text.text)};
    }
    order->texts = texts;
    order->text_count = map.count;
    return 0;
}

static int read_specs(struct deploy_call *deploy, struct slice bytes, struct fault *fault)
{
    struct slice failed;
    struct mp_value value;
    if (!mp_find(bytes, slice_of("failed"), &failed))
        return read_error("specs", "{\"passed\",\"failed\"}", fault);
    struct mp_reader reader = mp_reader_of(failed);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_INT || value.integer < 0)
        return read_error("specs.failed", "a number", fault);
    deploy->order.specs_failed = (uint64_t)value.integer;
    if (json_from_mp(bytes, &deploy->specs, fault) < 0) return -1;
    deploy->order.specs = buf_slice(&deploy->specs);
    return 0;
}

static int read_flag(const struct mp_value *value, const char *member, bool *flag, struct fault *fault)
{
    if (value->kind != MP_BOOL) return read_error(member, "true or false", fault);
    *flag = value->boolean;
    return 0;
}

static int read_number(const struct mp_value *value, const char *member, int64_t most, int64_t *number,
                       struct fault *fault)
{
    if (value->kind != MP_INT || value->integer < 0 || value->integer > most)
        return fault_set(fault, FAULT_MALFORMED, "%s: expected a whole number from 0 to %lld", member,
                         (long long)most);
    *number = value->integer;
    return 0;
}

static int read_since(const struct mp_value *value, int64_t *ms, struct fault *fault)
{
    if (value->kind == MP_TEXT && time_parse(value->text, ms)) return 0;
    return read_error("since", "a time like 2026-02-01T08:26:00Z", fault);
}

static int read_member(struct call *call, struct slice name, struct slice bytes, struct fault *fault)
{
    struct deploy_order *order = &call->deploy->order;
    struct arena *arena = api_arena(call);
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    bool plan = false;
    if (mp_read(&reader, &value) < 0) return fault_set(fault, FAULT_MALFORMED, "the body cannot be read");
    if (value.kind == MP_NIL) return 0;
    if (slice_is(name, "scripts")) return read_scripts(order, bytes, arena, fault);
    if (slice_is(name, "specs")) return read_specs(call->deploy, bytes, fault);
    if (slice_is(name, "note")) return read_text(&value, "note", arena, &order->note, fault);
    if (slice_is(name, "folder")) return read_text(&value, "folder", arena, &order->folder, fault);
    if (slice_is(name, "force")) return read_flag(&value, "force", &order->force, fault);
    if (slice_is(name, "replay")) return read_flag(&value, "replay", &order->replay, fault);
    if (slice_is(name, "everything")) return read_flag(&value, "everything", &order->everything, fault);
    if (slice_is(name, "since")) return read_since(&value, &order->since_ms, fault);
    if (slice_is(name, "budget_ms"))
        return read_number(&value, "budget_ms", DEPLOY_BUDGET_MS_MAX, &order->budget_ms, fault);
    if (slice_is(name, "samples"))
        return read_number(&value, "samples", DEPLOY_SAMPLES_MAX, &order->samples, fault);
    if (!slice_is(name, "plan"))
        return fault_set(fault, FAULT_MALFORMED, "%.*s: unknown member; a deploy has %s",
                         name.size < 80 ? (int)name.size : 80, name.data, deploy_members);
    if (read_flag(&value, "plan", &plan, fault) < 0) return -1;
    if (plan) order->kind = DEPLOY_ORDER_PLAN;
    return 0;
}

/* An empty body has no members. */
static int read_body(struct call *call, struct fault *fault)
{
    struct buf bytes = {0};
    struct mp_value map = {0}, name;
    struct slice json = exchange_body(call->exchange), value;
    int done = 0;
    if (json.size) done = json_to_mp(json, &bytes, fault);
    struct mp_reader reader = mp_reader_of(buf_slice(&bytes));
    if (done == 0 && bytes.size && (mp_read(&reader, &map) < 0 || map.kind != MP_MAP))
        done = fault_set(fault, FAULT_MALFORMED, "the body is an object with %s", deploy_members);
    for (uint32_t left = map.count; left && done == 0; left--) {
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &value) < 0)
            done = fault_set(fault, FAULT_MALFORMED, "the body cannot be read");
        else
            done = read_member(call, name.text, value, fault);
    }
    buf_release(&bytes);
    return done;
}

static void take(struct call *call, bool undo)
{
    struct deploy_call *deploy = arena_zero(api_arena(call), sizeof *deploy);
    struct deploy_order *order = &deploy->order;
    struct fault *fault = &call->net->fault;
    call->deploy = deploy;
    order->done = deploy_done;
    order->user = call;
    if (undo) order->kind = DEPLOY_ORDER_UNDEPLOY;
    call->resume = answer;
    int done = query_only(&call->query, (const char *const[]){NULL}, fault);
    if (done == 0) done = api_header_actor(call, &order->actor, fault);
    if (done == 0) done = read_body(call, fault);
    if (done == 0 && !undo && !order->texts)
        done = read_error("scripts", "an object of paths and texts", fault);
    if (done == 0 && undo && order->texts) done = read_error("scripts", "none: the log has them", fault);
    if (done == 0) done = hub_deploy(call->net->hub, order, fault);
    if (done < 0) api_fault(call, fault);
}

void api_deploy_post(struct call *call)
{
    take(call, false);
}

void api_deploy_undo_post(struct call *call)
{
    take(call, true);
}

/* POST /v1/rollback {"to": "812", "plan": true?}: what would go, or let it go. The log is read for the plan
 * on a thread of libuv's pool, since what is to go may be much; one at a time. */
#include "net/api.h"

#include "base/check.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "run/rollback.h"

struct rollback_call {
    struct call *call;
    uv_work_t work;
    struct engine *engine;
    struct slice to;
    bool plan;
    struct cut cut;
    struct buf json;
    struct fault fault;
};

static int read_body(struct call *call, struct rollback_call *rollback, struct fault *fault)
{
    struct buf body = {0};
    struct slice bytes;
    struct mp_value to = {0}, plan = {0};
    int done = query_only(&call->query, (const char *const[]){NULL}, fault);
    if (done == 0) done = json_to_mp(exchange_body(call->exchange), &body, fault);
    if (done == 0 && mp_find(buf_slice(&body), slice_of("to"), &bytes)) {
        struct mp_reader reader = mp_reader_of(bytes);
        mp_read(&reader, &to);
    }
    if (done == 0 && mp_find(buf_slice(&body), slice_of("plan"), &bytes)) {
        struct mp_reader reader = mp_reader_of(bytes);
        mp_read(&reader, &plan);
    }
    if (to.kind == MP_TEXT && to.text.size) rollback->to = arena_copy(api_arena(call), to.text);
    if (to.kind == MP_INT && to.integer >= 0)
        rollback->to = arena_format(api_arena(call), "%lld", (long long)to.integer);
    rollback->plan = plan.kind == MP_BOOL && plan.boolean;
    buf_release(&body);
    if (done == 0 && !rollback->to.size)
        return fault_set(fault, FAULT_MALFORMED, "to: expected a time, a position or deploy:N");
    return done;
}

static void look(uv_work_t *work)
{
    struct rollback_call *rollback = work->data;
    if (rollback_find(rollback->engine, rollback->to, &rollback->cut, &rollback->fault) == 0)
        rollback_report(rollback->engine, &rollback->cut, &rollback->json, &rollback->fault);
}

static void answer(struct call *call, const struct fault *fault, struct slice json)
{
    if (fault && fault->code != FAULT_NONE) {
        api_fault(call, fault);
        return;
    }
    buf_put_slice(api_out(call), json);
    buf_put_byte(api_out(call), '\n');
    api_reply(call, 200);
}

static void resume(struct call *call)
{
    struct rollback_call *rollback = call->rollback;
    struct net *net = call->net;
    if (net->is_stopping) fault_set(&rollback->fault, FAULT_UNAVAILABLE, "the hub is stopping");
    bool failed = rollback->fault.code != FAULT_NONE;
    if (failed || rollback->plan || rollback_is_nothing(&rollback->cut)) {
        net->rolling = false;
        net->rollback = NULL;
        answer(call, &rollback->fault, buf_slice(&rollback->json));
    } else {
        net->options.rollback(net->options.rollback_user, rollback->to);
    }
    buf_release(&rollback->json);
}

static void looked(uv_work_t *work, int status)
{
    struct call *call = ((struct rollback_call *)work->data)->call;
    call->net->looking = false;
    resume(call);
}

void api_rollback_take(struct call *call)
{
    struct rollback_call *rollback = arena_zero(api_arena(call), sizeof *rollback);
    struct net *net = call->net;
    struct fault *fault = &rollback->fault;
    call->resume = resume;
    call->rollback = rollback;
    rollback->call = call;
    rollback->work.data = rollback;
    int done = read_body(call, rollback, fault);
    if (done == 0 && !net->options.rollback)
        done = fault_set(fault, FAULT_UNAVAILABLE, "this hub only looks: it cannot roll back");
    if (done == 0 && net->rolling)
        done = fault_set(fault, FAULT_BUSY, "a rollback, or the plan of one, is under way");
    if (done < 0) {
        api_fault(call, fault);
        return;
    }
    rollback->engine = hub_engine(net->hub);
    net->rolling = net->looking = true;
    net->rollback = call;
    CHECK(uv_queue_work(net->options.loop, &rollback->work, look, looked) == 0);
}

void net_rolled_back(struct net *net, const struct fault *fault, struct slice json)
{
    struct call *call = net->rollback;
    net->rolling = false;
    net->rollback = NULL;
    if (call) answer(call, fault, json);
}

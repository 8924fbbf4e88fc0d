#include "net/api.h"

#include <stdio.h>

#include "base/limit.h"
#include "codec/json.h"
#include "net/body.h"
#include "net/problem.h"

/* {"version","position","events":[…]}, the same for a first answer and for its repetition. */
static void put_done(struct net *net, const struct command *command, struct buf *out)
{
    buf_put_byte(out, '{');
    json_put_int_member(out, "version", (int64_t)command->version);
    json_put_int_member(out, "position", (int64_t)command->position);
    json_put_name(out, "events");
    buf_put_byte(out, '[');
    if (command->record_bytes.size) {
        struct record_event event = {0};
        while (record_next_event(&command->record, &event)) {
            if (event.ordinal) buf_put_byte(out, ',');
            hub_event_json(net->hub, &command->record, &event, out);
        }
    }
    buf_put_text(out, "]}\n");
}

static void put_conflict(struct call *call, const struct command *command, struct buf *out)
{
    problem_begin(out, 409, "conflict", slice_of(command->fault.text));
    json_put_int_member(out, "version", (int64_t)command->conflict_version);
    json_put_name(out, "events");
    if (command->expected_version == COMMAND_ANY_VERSION)
        buf_put_text(out, "[]");
    else
        api_events_put_unseen(call, command, out);
    problem_end(out);
}

void api_command_put_result(struct call *call, const struct command *command, struct buf *out)
{
    if (command->fault.code == FAULT_NONE) {
        put_done(call->net, command, out);
        return;
    }
    if (command->fault.code == FAULT_CONFLICT)
        put_conflict(call, command, out);
    else
        problem_put_fault(out, &command->fault);
    buf_put_byte(out, '\n');
}

static void answer_done(struct call *call)
{
    struct command *command = call->command;
    put_done(call->net, command, api_out(call));
    char tag[24];
    int size = snprintf(tag, sizeof tag, "\"%llu\"", (unsigned long long)command->version);
    exchange_put_header(call->exchange, "ETag", slice_make(tag, (size_t)size));
    api_reply(call, 200);
}

static void answer_conflict(struct call *call)
{
    put_conflict(call, call->command, api_out(call));
    api_reply(call, 409);
}

static void answer(struct call *call)
{
    struct command *command = call->command;
    if (command->fault.code == FAULT_NONE)
        answer_done(call);
    else if (command->fault.code == FAULT_CONFLICT)
        answer_conflict(call);
    else
        api_fault_retry(call, &command->fault, command->retry_ms);
}

/* On the writer's or a shard's thread. */
static void on_done(struct command *command)
{
    api_finish(command->user);
}

int api_header_id(struct call *call, const char *header, struct arena *arena, struct slice *id,
                  struct fault *fault)
{
    struct slice text = exchange_header(call->exchange, header);
    return text.data ? body_read_id(text, header, arena, id, fault) : 0;
}

static int read_headers(struct call *call, struct fault *fault)
{
    struct command *command = call->command;
    if (body_read_version(exchange_header(call->exchange, "If-Match"), &command->expected_version, fault) <
            0 ||
        api_header_id(call, "Idempotency-Key", &command->arena, &command->batch_id, fault) < 0 ||
        api_header_id(call, "Correlation-Id", &command->arena, &command->correlation_id, fault) < 0 ||
        api_header_id(call, "Causation-Id", &command->arena, &command->causation_id, fault) < 0)
        return -1;
    for (size_t i = 0; command->batch_id.size && i < command->item_count; i++)
        if (command->items[i].id.size)
            return fault_set(fault, FAULT_MALFORMED,
                             "Idempotency-Key and id exclude each other: it is the id");
    return 0;
}

static int read_command(struct call *call, struct fault *fault)
{
    struct command *command = call->command;
    if (query_only(&call->query, (const char *const[]){NULL}, fault) < 0) return -1;
    size_t count_max = (size_t)hub_limit(call->net->hub, "batch_commands", LIMIT_BATCH_COMMANDS_MAX);
    /* The answer's buf is empty as yet and serves as scratch. */
    int read = body_read_commands(exchange_body(call->exchange), count_max, api_out(call), command, fault);
    buf_clear(api_out(call));
    if (read < 0 || read_headers(call, fault) < 0) return -1;
    command->tenant = arena_copy(&command->arena, call->match.tenant);
    command->context = arena_copy(&command->arena, call->match.context);
    command->aggregate = arena_copy(&command->arena, call->match.aggregate);
    command->id = arena_copy(&command->arena, call->match.id);
    command->at_ms = INT64_MIN;
    command->done = on_done;
    command->user = call;
    return 0;
}

void api_command_take(struct call *call)
{
    if (!body_is_json(exchange_header(call->exchange, "Content-Type"))) {
        problem_put(api_out(call), 415, "unsupported_media_type",
                    slice_of("Content-Type must be application/json"));
        api_reply(call, 415);
        return;
    }
    call->command = command_pool_take(&call->net->commands);
    call->resume = answer;
    struct fault fault;
    if (read_command(call, &fault) < 0 ||
        hub_submit_quietly(call->net->hub, call->command, false, &fault) < 0)
        api_fault(call, &fault);
}

/* POST /v1/status/run/{context}/{task}?tenant=: answered as a command is, with what the run came to. */
static int read_task_run(struct call *call, struct fault *fault)
{
    struct command *command = call->command;
    struct slice tenant = slice_of("main");
    if (query_only(&call->query, (const char *const[]){"tenant", NULL}, fault) < 0) return -1;
    query_find(&call->query, "tenant", &tenant);
    if (!hub_has_tenant(call->net->hub, tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", tenant.size < 80 ? (int)tenant.size : 80,
                         tenant.data ? tenant.data : "");
    if (api_header_id(call, "Idempotency-Key", &command->arena, &command->batch_id, fault) < 0 ||
        api_header_id(call, "Correlation-Id", &command->arena, &command->correlation_id, fault) < 0)
        return -1;
    command->tenant = arena_copy(&command->arena, tenant);
    command->expected_version = COMMAND_ANY_VERSION;
    command->done = on_done;
    command->user = call;
    return 0;
}

void api_task_run_take(struct call *call)
{
    call->command = command_pool_take(&call->net->commands);
    call->resume = answer;
    struct fault fault;
    if (read_task_run(call, &fault) < 0 ||
        hub_run_task(call->net->hub, call->match.name, call->command, &fault) < 0)
        api_fault(call, &fault);
}

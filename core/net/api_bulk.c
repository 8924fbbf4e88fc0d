/* DESIGN. A bulk body: many commands in, one result a line out, in the same order.
 *
 *   body ──line by line──► window of commands in flight ──in order──► pieces of the answer
 *                                   ▲                │
 *                                   └── answered ◄───┘ (any order, from the writer's and the shards' threads)
 *
 *  1. The whole body is there before the first line is looked at, and the answer begins with the first
 * result.
 *  2. Everything happens when the server pulls a piece: lines are read and submitted while the window has
 * room, then results are put as far as they are known without a gap. So a client that does not read stops the
 * submitting, and at most a window of commands and a piece of text are held for it.
 *  3. Lines are submitted in their order by one thread; a shard takes them in that order. So do the commands
 * of a stream.
 *  4. A command answered is pushed on one stack for all bodies and nothing of it is touched after that, so
 * the loop may free it at once. A client that left leaves a bulk without a call: it goes with its last
 * command.
 *  5. ?ordered=true (imports): the log gets the lines in their order, across streams too. One such body is at
 * work at a time, the next ones wait for it. */
#include "net/api.h"

#include <stdio.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "net/body.h"
#include "net/problem.h"

enum {
    BULK_WINDOW = 2048,           /* enough to keep shards and writer busy between two flushes of the log */
    BULK_WINDOW_SIZE = 8 << 20,   /* bytes of its lines and answers */
    BULK_AT_WORK_MAX = 16,        /* bodies: bounds the memory of all windows */
    BULK_ROUSE_EVERY = 256,       /* lines */
    BULK_PIECE_SIZE = 256 * 1024, /* of the answer: large, since a turn of the loop makes one */
};

struct bulk_slot {
    struct bulk *bulk;
    struct command *command;
    size_t size; /* what it counts in the window */
    bool is_done;
};

struct bulk {
    struct net *net;
    struct bulk *next_bulk, *previous_bulk; /* in net->bulks */
    struct buf put;                         /* of the answer, made before the hub went */
    struct call *call;                      /* NULL: the client has left */
    struct slice rest;                      /* of the body */
    struct slice correlation_id, causation_id;
    struct command_pool commands;
    struct command *refused; /* the door was closed: tried again */
    uint64_t first, next;    /* slots in use: [first, next), each at its number modulo the window */
    size_t held_size, in_flight;
    uint64_t ordered; /* the last number given */
    bool is_ordered;
    struct bulk_slot slots[BULK_WINDOW];
};

static struct bulk_slot *slot_of(struct bulk *bulk, uint64_t number)
{
    return &bulk->slots[number % BULK_WINDOW];
}

static void bulk_free(struct bulk *bulk)
{
    for (uint64_t at = bulk->first; at < bulk->next; at++) command_free(slot_of(bulk, at)->command);
    command_free(bulk->refused);
    command_pool_release(&bulk->commands);
    buf_release(&bulk->put);
    if (bulk->next_bulk) bulk->next_bulk->previous_bulk = bulk->previous_bulk;
    if (bulk->previous_bulk)
        bulk->previous_bulk->next_bulk = bulk->next_bulk;
    else if (bulk->net->bulks == bulk)
        bulk->net->bulks = bulk->next_bulk;
    mem_free(bulk);
}

static void begin_next(struct net *net);

/* Nobody needs it any more. Only now may the next ordered one begin: its numbers would overtake those in
 * flight. */
static void bulk_leave(struct bulk *bulk)
{
    struct net *net = bulk->net;
    bool was_ordered = bulk->is_ordered;
    bulk_free(bulk);
    if (!was_ordered) return;
    net->ordered_at_work = false;
    begin_next(net);
}

/* --- commands --- */

/* On the writer's or a shard's thread. */
static void on_done(struct command *command)
{
    struct net *net = ((struct bulk_slot *)command->user)->bulk->net;
    struct command *first = atomic_load_explicit(&net->bulk_answered, memory_order_relaxed);
    do command->next = first;
    while (!atomic_compare_exchange_weak_explicit(&net->bulk_answered, &first, command, memory_order_release,
                                                  memory_order_relaxed));
    if (!first) uv_async_send(&net->finished_async);
}

void api_bulk_finished(struct net *net)
{
    struct command *command = atomic_exchange_explicit(&net->bulk_answered, NULL, memory_order_acquire);
    while (command) {
        struct command *next = command->next;
        struct bulk_slot *slot = command->user;
        struct bulk *bulk = slot->bulk;
        slot->is_done = true;
        slot->size += command->record_bytes.size;
        bulk->held_size += command->record_bytes.size;
        bulk->in_flight--;
        if (bulk->call)
            exchange_wake(bulk->call->exchange);
        else if (bulk->in_flight == 0)
            bulk_leave(bulk);
        command = next;
    }
}

/* The next line that is not empty; false at the end. */
static bool next_line(struct bulk *bulk, struct slice *line)
{
    while (bulk->rest.size) {
        const char *newline = memchr(bulk->rest.data, '\n', bulk->rest.size);
        *line = slice_make(bulk->rest.data, newline ? (size_t)(newline - bulk->rest.data) : bulk->rest.size);
        size_t used = line->size + (newline != NULL);
        bulk->rest = slice_make(bulk->rest.data + used, bulk->rest.size - used);
        if (line->size && line->data[line->size - 1] == '\r') line->size--;
        if (line->size) return true;
    }
    return false;
}

/* One command from its line; a line that is none is one that failed. */
static struct command *read_line(struct bulk *bulk, struct slice line, struct buf *scratch)
{
    struct command *command = command_pool_take(&bulk->commands);
    if (body_read_line(line, scratch, command, &command->fault) < 0) return command;
    command->tenant = bulk->call->match.tenant;
    if (command->tenant.size) command->tenant = arena_copy(&command->arena, command->tenant);
    if (bulk->correlation_id.size && !command->correlation_id.size)
        command->correlation_id = arena_copy(&command->arena, bulk->correlation_id);
    if (bulk->causation_id.size && !command->causation_id.size)
        command->causation_id = arena_copy(&command->arena, bulk->causation_id);
    command->done = on_done;
    return command;
}

/* Into the next slot and to its shard. False if the door is closed while others of this body are on their
 * way: it is tried again when they are answered. */
static bool submit(struct bulk *bulk, struct command *command, size_t size)
{
    struct bulk_slot *slot = slot_of(bulk, bulk->next);
    *slot = (struct bulk_slot){.bulk = bulk, .command = command, .size = size};
    command->user = slot;
    if (command->fault.code == FAULT_NONE) {
        struct fault fault;
        if (!api_is_of_hub(bulk->call)) {
            fault_set(&fault, FAULT_REBUILDING, "the log was rolled back: send it again");
            command->fault = fault;
            slot->is_done = true;
            bulk->held_size += size;
            bulk->next++;
            return true;
        }
        if (bulk->is_ordered) command->ordered = bulk->ordered + 1;
        bulk->in_flight++;
        if (hub_submit_quietly(bulk->net->hub, command, false, &fault) == 0) {
            bulk->ordered += bulk->is_ordered;
        } else {
            bulk->in_flight--;
            if (fault.code == FAULT_BUSY && bulk->in_flight) return false;
            if (fault.code != FAULT_BUSY) bulk->ordered += bulk->is_ordered; /* its number is used up */
            command->fault = fault;
            slot->is_done = true;
        }
    } else {
        slot->is_done = true;
    }
    bulk->held_size += size;
    bulk->next++;
    return true;
}

/* Fills the window. True if it stopped only to let others have their turn. */
static bool submit_lines(struct bulk *bulk, struct buf *scratch)
{
    int64_t deadline_ns = clock_monotonic_ns() + API_SLICE_NS;
    struct slice line = SLICE_NONE;
    while (bulk->next - bulk->first < BULK_WINDOW && bulk->held_size < BULK_WINDOW_SIZE) {
        struct command *command = bulk->refused;
        bulk->refused = NULL;
        if (!command && !next_line(bulk, &line)) return false;
        if (!command) command = read_line(bulk, line, scratch);
        if (!submit(bulk, command, line.size)) {
            bulk->refused = command;
            return false;
        }
        if (bulk->next % BULK_ROUSE_EVERY) continue;
        if (api_is_of_hub(bulk->call)) hub_rouse(bulk->net->hub);
        if (clock_monotonic_ns() > deadline_ns) return true;
    }
    return false;
}

/* --- the answer --- */

static void put_results(struct bulk *bulk, size_t size_max, struct buf *out)
{
    while (bulk->first < bulk->next && out->size < size_max) {
        struct bulk_slot *slot = slot_of(bulk, bulk->first);
        if (!slot->is_done) return;
        api_command_put_result(bulk->call, slot->command, out);
        bulk->held_size -= slot->size;
        command_pool_give(&bulk->commands, slot->command);
        bulk->first++;
    }
}

void api_bulk_detach(struct net *net)
{
    for (struct bulk *bulk = net->bulks; bulk; bulk = bulk->next_bulk)
        if (bulk->call) put_results(bulk, SIZE_MAX, &bulk->put);
}

static enum server_pull pull(void *user, struct buf *out)
{
    struct bulk *bulk = ((struct call *)user)->bulk;
    struct buf scratch = {0};
    buf_put_slice(out, buf_slice(&bulk->put));
    buf_release(&bulk->put);
    bool yielded = submit_lines(bulk, &scratch);
    buf_release(&scratch);
    if (api_is_of_hub(bulk->call)) hub_rouse(bulk->net->hub);
    put_results(bulk, BULK_PIECE_SIZE, out);
    if (bulk->first == bulk->next && !bulk->refused && !bulk->rest.size) return SERVER_END;
    bool goes_on = bulk->first == bulk->next || slot_of(bulk, bulk->first)->is_done;
    return yielded || goes_on || out->size ? SERVER_MORE : SERVER_WAIT;
}

/* --- beginning and ending --- */

static void begin(struct call *call)
{
    if (call->bulk->is_ordered) call->net->ordered_at_work = true;
    exchange_stream(call->exchange, 200, "application/x-ndjson", pull, call);
}

/* The ordered body that has waited longest. */
static void begin_next(struct net *net)
{
    struct call *call = net->ordered.first;
    while (call && call->next) call = call->next;
    if (!call) return;
    api_list_remove(call);
    begin(call);
}

void api_bulk_end(struct call *call)
{
    struct bulk *bulk = call->bulk;
    if (call->list == &call->net->ordered) bulk->is_ordered = false; /* it has not begun */
    call->bulk = NULL;
    bulk->call = NULL;
    call->net->bulk_count--;
    if (bulk->in_flight == 0) bulk_leave(bulk);
}

static int check_lines(struct slice body, struct fault *fault)
{
    size_t count = 0;
    for (const char *at = body.data, *end = at + body.size; at < end; count++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    if (count > LIMIT_BULK_LINES_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "%zu lines in one body, at most %d are allowed", count,
                         LIMIT_BULK_LINES_MAX);
    if (count == 0) return fault_set(fault, FAULT_MALFORMED, "the body holds no command");
    return 0;
}

static int read_request(struct call *call, struct bulk *bulk, struct fault *fault)
{
    struct slice ordered = SLICE_NONE;
    if (query_only(&call->query, (const char *const[]){"ordered", NULL}, fault) < 0 ||
        api_header_id(call, "Correlation-Id", api_arena(call), &bulk->correlation_id, fault) < 0 ||
        api_header_id(call, "Causation-Id", api_arena(call), &bulk->causation_id, fault) < 0)
        return -1;
    if (exchange_header(call->exchange, "Idempotency-Key").data ||
        exchange_header(call->exchange, "If-Match").data)
        return fault_set(fault, FAULT_MALFORMED, "id and version stand in the lines of a bulk body");
    query_find(&call->query, "ordered", &ordered);
    bulk->is_ordered = slice_is(ordered, "true");
    if (ordered.size && !bulk->is_ordered) return fault_set(fault, FAULT_MALFORMED, "ordered: expected true");
    bulk->rest = exchange_body(call->exchange);
    if (check_lines(bulk->rest, fault) < 0) return -1;
    if (call->net->bulk_count == BULK_AT_WORK_MAX)
        return fault_set(fault, FAULT_UNAVAILABLE, "%d bulk bodies are at work: try again", BULK_AT_WORK_MAX);
    return 0;
}

void api_bulk_take(struct call *call)
{
    struct slice type = exchange_header(call->exchange, "Content-Type");
    if (!body_is_lines(type)) {
        problem_put(api_out(call), 415, "unsupported_media_type",
                    slice_of("Content-Type must be application/x-ndjson"));
        api_reply(call, 415);
        return;
    }
    struct bulk *bulk = MEM_NEW(struct bulk);
    struct fault fault;
    bulk->net = call->net;
    bulk->commands.count_max = BULK_WINDOW;
    if (read_request(call, bulk, &fault) < 0) {
        bulk_free(bulk);
        api_fault(call, &fault);
        return;
    }
    bulk->call = call;
    call->bulk = bulk;
    bulk->next_bulk = call->net->bulks;
    if (bulk->next_bulk) bulk->next_bulk->previous_bulk = bulk;
    call->net->bulks = bulk;
    call->net->bulk_count++;
    if (bulk->is_ordered && call->net->ordered_at_work)
        api_list_put(&call->net->ordered, call);
    else
        begin(call);
}

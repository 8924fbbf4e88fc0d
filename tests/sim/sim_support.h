/* sim_support.h: what model test and simulation share: the scripts that model.h knows, random numbers by a
 * seed, orders as commands, hubs over an engine that outlives them. */
#ifndef LORE_TESTS_SIM_SUPPORT_H
#define LORE_TESTS_SIM_SUPPORT_H

#include "unit/run/run_support.h"

#include "sim/model.h"

static const char sim_purse[] =
    "contracts [[\n"
    "  Fill?   (amount: integer)\n"
    "  Filled! (amount: integer)\n"
    "]]\n"
    "local purse = aggregate 'purse' { initial = { total = 0 } }\n"
    "function purse.apply.Filled(state, e) state.total = state.total + e.amount end\n"
    "function purse.execute.Fill(state, c)\n"
    "  if state.total + c.amount > 50 then reject('full', 'at %d', state.total) end\n"
    "  return Filled { amount = c.amount }\n"
    "end\n"
    "function purse.execute.Touch() end\n";
static const char sim_seen[] = "local seen = projection 'seen' {\n"
                               "  key = function(e, m)\n"
                               "    if e.amount % 5 == 0 then return nil end\n"
                               "    return m.id, 'k' .. e.amount % 3\n"
                               "  end,\n"
                               "  initial = { n = 0 },\n"
                               "}\n"
                               "local function see(view, e, m)\n"
                               "  view.n, view.position, view.version, view.at, view.recorded = view.n + 1, "
                               "m.position, m.version, m.at, m.recorded\n"
                               "  if e.amount == 13 then error('thirteen') end\n"
                               "end\n"
                               "seen.when.Added, seen.when.Filled = see, see\n";

static const char *const sim_views[MODEL_VIEWS] = {"bank/totals", "bank/seen", "bank/by_amount"};
static const char *const sim_tenants[] = {"main", "acme", "beta"};
enum { SIM_TENANTS = 3 };

static inline int sim_setup(void **state)
{
    /* In memory where that is a file system: what is asked here does not depend on a disk, and its syncs take
     * most of the time. */
    bool in_memory = access("/dev/shm", W_OK) == 0;
    snprintf(test_folder, sizeof test_folder, "%s/lore-sim-XXXXXX", in_memory ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(test_folder));
    write_script("hub.lua",
                 "return { tenants = { 'acme', 'beta' }, limits = { cache_memory = 1, flush_events = 60, "
                 "rebuild_partition_events = 40 } }\n");
    write_script("bank/contracts.lua", test_contracts);
    write_script("bank/account.lua", test_account);
    write_script("bank/purse.lua", sim_purse);
    write_script("bank/totals.lua", test_totals);
    write_script("bank/seen.lua", sim_seen);
    write_script("bank/by_amount.lua", test_by_amount);
    say_set_level(SAY_ERROR);
    return 0;
}

/* --- chance --- */

struct chance {
    uint64_t state;
};

static inline unsigned chance_below(struct chance *chance, unsigned limit)
{
    chance->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = chance->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ (z >> 31)) % limit);
}

static inline bool chance_of(struct chance *chance, unsigned percent)
{
    return chance_below(chance, 100) < percent;
}

/* The environment's number, or otherwise. */
static inline uint64_t sim_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* --- a clock that goes as it is told --- */

struct sim_clock {
    struct clock clock;
    atomic_llong ms;
};

static inline int64_t sim_now(struct clock *clock)
{
    return atomic_load(&((struct sim_clock *)clock)->ms);
}

/* --- orders --- */

/* Batches are of commands that go through the same decision: now and then an id again, with the same content
 * or another one. */
static inline struct order sim_order(struct chance *chance, const struct model *model, int first_stream,
                                     int streams)
{
    struct order order = {.stream = first_stream + (int)chance_below(chance, (unsigned)streams),
                          .expected = MODEL_ANY};
    if (model->stored_count && chance_of(chance, 12)) {
        const struct stored *stored =
            &model->stored[(unsigned)model->stored_count - 1 -
                           chance_below(chance, (unsigned)model->stored_count) % 30];
        if (stored->order.stream >= first_stream) {
            order = stored->order;
            if (chance_of(chance, 30)) order.items[chance_below(chance, (unsigned)order.count)].amount++;
            if (chance_of(chance, 15)) order.expected = (int)chance_below(chance, 6);
            return order;
        }
    }
    bool is_purse = model->streams[order.stream].is_purse;
    order.fact = chance_of(chance, 15);
    order.count = chance_of(chance, 75) ? 1 : 1 + (int)chance_below(chance, MODEL_ITEMS_MAX);
    bool batch = chance_of(chance, 30);
    if (batch && (!order.fact || order.count > 1))
        snprintf(order.batch, sizeof order.batch, "b%u", chance_below(chance, 40));
    for (int at = 0; at < order.count; at++) {
        static const enum kind kinds[] = {OPEN,  ADD,   ADD,  ADD,   ADD,   SPLIT,
                                          CLOSE, TOUCH, DENY, BREAK, WRONG, FLY};
        static const enum kind purse[] = {ADD, ADD, ADD, TOUCH, WRONG, FLY};
        struct item *item = &order.items[at];
        item->kind = is_purse ? purse[chance_below(chance, 6)] : kinds[chance_below(chance, 12)];
        if (order.fact) item->kind = chance_of(chance, 90) ? RECORD : MISRECORD;
        item->amount = (int)chance_below(chance, 24) - (is_purse ? 0 : 6);
        item->parts = (int)chance_below(chance, 4);
        if (!batch && chance_of(chance, 40) && (!order.fact || order.count == 1))
            snprintf(item->id, sizeof item->id, "c%u", chance_below(chance, 40));
    }
    if (chance_of(chance, 25)) {
        unsigned version, position;
        model_fold(model, order.stream, ~0u, &version, &position);
        order.expected = (int)version + (chance_of(chance, 60) ? 0 : (int)chance_below(chance, 3) - 1);
        if (order.expected < 0) order.expected = 0;
    }
    return order;
}

static inline struct command *sim_command(const struct model *model, const struct order *order)
{
    const struct stream *stream = &model->streams[order->stream];
    struct command *command = command_to(stream->id, (size_t)order->count);
    command->tenant = slice_of(stream->tenant);
    command->aggregate = slice_of(stream->is_purse ? "purse" : "account");
    command->is_fact = order->fact;
    command->expected_version = order->expected == MODEL_ANY ? COMMAND_ANY_VERSION : order->expected;
    command->at_ms = INT64_MIN;
    if (*order->batch) command->batch_id = arena_copy(&command->arena, slice_of(order->batch));
    for (int at = 0; at < order->count; at++) {
        const struct item *item = &order->items[at];
        char data[MODEL_TEXT_SIZE];
        item_data(item, data);
        set_item(command, (size_t)at, item_type(item, stream->is_purse), data, *item->id ? item->id : NULL);
    }
    return command;
}

static inline struct reply sim_reply(const struct command *command)
{
    struct reply reply = {.code = command->fault.code, .repeated = command->repeated};
    if (reply.code == FAULT_REJECTED)
        snprintf(reply.reason, sizeof reply.reason, "%s", command->fault.reason);
    if (reply.code == FAULT_CONFLICT) reply.conflict_version = (unsigned)command->conflict_version;
    if (reply.code != FAULT_NONE && reply.code != FAULT_REJECTED) return reply;
    reply.version = (unsigned)command->version;
    reply.position = (unsigned)command->position;
    if (command->record_bytes.size) reply.events = command->record.event_count;
    return reply;
}

static inline void reply_text(const struct reply *reply, struct buf *out)
{
    buf_format(out, "%s", fault_name(reply->code));
    if (reply->code == FAULT_CONFLICT) buf_format(out, " at %u", reply->conflict_version);
    if (reply->code != FAULT_NONE && reply->code != FAULT_REJECTED) return;
    buf_format(out, " %s version %u position %u events %u%s", reply->reason, reply->version, reply->position,
               reply->events, reply->repeated ? " again" : "");
}

/* --- what a hub holds --- */

static inline void sim_state(struct hub *hub, const struct stream *stream, int64_t version, struct buf *out)
{
    struct answer answer = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct state_query query = {.tenant = slice_of(stream->tenant),
                                .context = slice_of("bank"),
                                .aggregate = slice_of(stream->is_purse ? "purse" : "account"),
                                .id = slice_of(stream->id),
                                .version = version,
                                .done = query_done,
                                .user = &answer};
    assert_int_equal(hub_query_state(hub, &query, &test_fault), 0);
    await(&(struct command){.user = &answer});
    if (query.fault.code) {
        buf_format(out, "%s", query.fault.code == FAULT_NOT_FOUND ? "none" : query.fault.text);
    } else {
        buf_format(out, "%llu@%llu ", (unsigned long long)query.found_version,
                   (unsigned long long)query.position);
        assert_int_equal(json_from_mp(buf_slice(&query.state), out, &test_fault), 0);
    }
    buf_release(&query.state);
}

/* One line for each event from position on: "position tenant aggregate/id version type data at recorded
 * fact". */
static inline void sim_log(struct hub *hub, uint64_t from, struct buf *out)
{
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read(hub_engine(hub), from, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            if (event.position < from) continue;
            buf_format(out, "%llu %.*s %.*s/%.*s %llu %.*s ", (unsigned long long)event.position,
                       SLICE_ARGS(names_get(record.names, record.tenant)),
                       SLICE_ARGS(names_get(record.names, record.aggregate)), SLICE_ARGS(record.id),
                       (unsigned long long)event.version, SLICE_ARGS(names_get(record.names, event.type)));
            assert_int_equal(json_from_mp(event.data, out, &test_fault), 0);
            buf_format(out, " %lld %lld%s\n", (long long)event.at_ms, (long long)record.recorded_ms,
                       record.kind == RECORD_FACT ? " fact" : "");
        }
    }
    engine_cursor_close(cursor);
}

static inline void model_log(const struct model *model, unsigned from, struct buf *out)
{
    for (int at = (int)from - 1; at < model->entry_count; at++) {
        const struct entry *entry = &model->entries[at];
        const struct stream *stream = &model->streams[entry->stream];
        char data[MODEL_TEXT_SIZE];
        entry_data(entry, data);
        buf_format(out, "%d %s bank/%s/%s %u %s %s %lld %lld%s\n", at + 1, stream->tenant,
                   stream->is_purse ? "purse" : "account", stream->id, entry->version, entry->type, data,
                   (long long)entry->at_ms, (long long)entry->recorded_ms, entry->is_fact ? " fact" : "");
    }
}

/* One line for each: "tenant aggregate/id version position reason". */
static inline void sim_outcomes(struct hub *hub, struct buf *out)
{
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read_outcomes(hub_engine(hub), 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct slice reason, message;
        record_read_outcome(&record, &reason, &message);
        buf_format(out, "%.*s %.*s/%.*s %llu %llu %.*s\n", SLICE_ARGS(names_get(record.names, record.tenant)),
                   SLICE_ARGS(names_get(record.names, record.aggregate)), SLICE_ARGS(record.id),
                   (unsigned long long)record.first_version, (unsigned long long)record.first_position,
                   SLICE_ARGS(reason));
    }
    engine_cursor_close(cursor);
}

static inline void model_outcomes(const struct model *model, struct buf *out)
{
    for (int at = 0; at < model->stored_count; at++) {
        const struct stored *stored = &model->stored[at];
        const struct stream *stream = &model->streams[stored->order.stream];
        if (stored->reply.events) continue;
        buf_format(out, "%s bank/%s/%s %u %u %s\n", stream->tenant, stream->is_purse ? "purse" : "account",
                   stream->id, stored->reply.version, stored->reply.position, stored->reply.reason);
    }
}

#endif

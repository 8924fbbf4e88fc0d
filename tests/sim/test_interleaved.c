/* Interleaved writers, driven by a seed: any version, the right one, an old one, one that is not there yet;
 * in flight together, while somebody else appends behind the shards' back and appends fail. What each was
 * told must be what a sequential model says at the version where it took effect, or was refused.
 *
 *     SEED=7 build/tests/sim/test_interleaved
 */
#include "sim/sim_support.h"

#include "base/rand.h"

enum { STEPS = 60, STEP_COMMANDS = 10, STREAMS = 3, EVENTS_MAX = 4096, TAGS = 3 };

static const char ledger_contracts[] = "contracts [[\n"
                                       "  Add?    (amount: integer)\n"
                                       "  Added!  (amount: integer, total: integer)\n"
                                       "  Mark?   (tag: integer)\n"
                                       "  Marked! (tag: integer)\n"
                                       "  Both?   (amount: integer, tag: integer)\n"
                                       "  Clear?\n"
                                       "  Cleared!\n"
                                       "]]\n";
static const char ledger[] =
    "local account = aggregate 'account' { initial = { total = 0 } }\n"
    "function account.apply.Added(state, e) state.total = state.total + e.amount end\n"
    "function account.apply.Marked(state, e) state.tag = e.tag end\n"
    "function account.apply.Cleared(state) state.total, state.tag = 0, nil end\n"
    "local function add(state, amount)\n"
    "  if state.total + amount < 0 then reject('poor', 'only %d left', state.total) end\n"
    "  emit(Added { amount = amount, total = state.total + amount })\n"
    "end\n"
    "function account.execute.Add(state, c) add(state, c.amount) end\n"
    "function account.execute.Mark(state, c)\n"
    "  if state.tag ~= c.tag then return Marked { tag = c.tag } end\n"
    "end\n"
    "function account.execute.Both(state, c)\n"
    "  add(state, c.amount)\n"
    "  return Marked { tag = c.tag }\n"
    "end\n"
    "function account.execute.Clear() return Cleared {} end\n"
    "function account.conflicts(mine, theirs)\n"
    "  if mine.type == 'Cleared' or theirs.type == 'Cleared' then return true end\n"
    "  return mine.type == 'Marked' and theirs.type == 'Marked' and mine.data.tag ~= theirs.data.tag\n"
    "end\n";

/* --- the model --- */

struct fact {  /* an event */
    char kind; /* 'A'dded, 'M'arked, 'C'leared */
    int amount, total, tag;
};

struct balance {
    int total, tag; /* tag -1: none */
};

struct wish {  /* a command */
    char kind; /* 'A'dd, 'M'ark, 'B'oth, 'C'lear */
    int amount, tag, stream;
    int64_t expected;
    uint64_t head; /* what was durable when it was sent */
    struct command *command;
};

static void fold(struct balance *state, const struct fact *fact)
{
    if (fact->kind == 'A') state->total += fact->amount;
    if (fact->kind == 'M') state->tag = fact->tag;
    if (fact->kind == 'C') *state = (struct balance){.tag = -1};
}

/* How many events follow; -1: refused. */
static int decide(const struct balance *state, const struct wish *wish, struct fact facts[2])
{
    int count = 0;
    if (wish->kind == 'C') facts[count++] = (struct fact){.kind = 'C'};
    if (wish->kind == 'A' || wish->kind == 'B') {
        if (state->total + wish->amount < 0) return -1;
        facts[count++] =
            (struct fact){.kind = 'A', .amount = wish->amount, .total = state->total + wish->amount};
    }
    if (wish->kind == 'B' || (wish->kind == 'M' && state->tag != wish->tag))
        facts[count++] = (struct fact){.kind = 'M', .tag = wish->tag};
    return count;
}

static bool excludes(const struct fact *mine, const struct fact *theirs)
{
    if (mine->kind == 'C' || theirs->kind == 'C') return true;
    return mine->kind == 'M' && theirs->kind == 'M' && mine->tag != theirs->tag;
}

/* --- what is there --- */

struct history {
    struct fact facts[EVENTS_MAX]; /* by version - 1 */
    uint64_t size;
};

struct tally { /* what was met, over all runs */
    unsigned any, right, merged, excluded, refused, ahead, rejected, quiet, others, failed;
};

struct checker {
    struct chance chance;
    struct held_engine *held;
    struct engine *memory;
    struct hub *hub;
    struct history *histories;
    unsigned number;
    struct tally *tally;
    char seed[32];
};

static int member(struct slice data, const char *name)
{
    struct buf json = {0};
    int value = 0;
    char pattern[32];
    assert_int_equal(json_from_mp(data, &json, &test_fault), 0);
    buf_put_byte(&json, 0);
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *at = strstr(json.data, pattern);
    if (at) value = atoi(at + strlen(pattern));
    buf_release(&json);
    return value;
}

static struct stream_id stream_id(int stream)
{
    static const char *const names[STREAMS] = {"s0", "s1", "s2"};
    return (struct stream_id){slice_of("main"), slice_of("bank/account"), slice_of(names[stream])};
}

static void read_on(struct checker *checker, int stream)
{
    struct history *history = &checker->histories[stream];
    struct stream_id id = stream_id(stream);
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read_stream(checker->memory, &id, history->size + 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            if (event.version <= history->size) continue;
            assert_int_equal(event.version, history->size + 1);
            assert_true(history->size < EVENTS_MAX);
            history->facts[history->size++] =
                (struct fact){.kind = names_get(record.names, event.type).data[0],
                              .amount = member(event.data, "amount"),
                              .total = member(event.data, "total"),
                              .tag = member(event.data, "tag")};
        }
    }
    engine_cursor_close(cursor);
}

static struct balance state_when(const struct history *history, uint64_t version)
{
    struct balance state = {.tag = -1};
    for (uint64_t at = 0; at < version; at++) fold(&state, &history->facts[at]);
    return state;
}

/* --- what must hold --- */

static void fail_wish(const struct checker *checker, const struct wish *wish, const char *what)
{
    fail_msg("%s: %c %d/%d to s%d at %lld: %s (%s: %s; version %llu, conflict %llu)", checker->seed,
             wish->kind, wish->amount, wish->tag, wish->stream, (long long)wish->expected, what,
             fault_name(wish->command->fault.code), wish->command->fault.text,
             (unsigned long long)wish->command->version, (unsigned long long)wish->command->conflict_version);
}

static bool is_excluded(const struct history *history, const struct fact *mine, int count, uint64_t from,
                        uint64_t to)
{
    for (uint64_t version = from + 1; version <= to; version++)
        for (int at = 0; at < count; at++)
            if (excludes(&mine[at], &history->facts[version - 1])) return true;
    return false;
}

static void check_done(struct checker *checker, const struct wish *wish, const struct record *record)
{
    const struct history *history = &checker->histories[wish->stream];
    struct fact mine[2];
    uint64_t before = record->event_count ? record->first_version - 1 : record->first_version;
    struct balance state = state_when(history, before);
    int count = decide(&state, wish, mine);
    if (wish->expected != COMMAND_ANY_VERSION && (uint64_t)wish->expected > before)
        fail_wish(checker, wish, "took effect ahead of the stream");
    if (record->event_count == 0) {
        if (before < wish->head) fail_wish(checker, wish, "was decided on what was long over");
        if (count != 0) fail_wish(checker, wish, "should have had events");
        checker->tally->quiet++;
        return;
    }
    if (count != (int)record->event_count) fail_wish(checker, wish, "has other events than the model");
    if (memcmp(mine, &history->facts[before], (size_t)count * sizeof *mine) != 0)
        fail_wish(checker, wish, "was decided on another state than the one before it");
    if (wish->expected == COMMAND_ANY_VERSION)
        checker->tally->any++;
    else if ((uint64_t)wish->expected == before)
        checker->tally->right++;
    else if (is_excluded(history, mine, count, (uint64_t)wish->expected, before))
        fail_wish(checker, wish, "was merged with what excludes it");
    else
        checker->tally->merged++;
}

static void check_rejected(struct checker *checker, const struct wish *wish, const struct record *record)
{
    const struct history *history = &checker->histories[wish->stream];
    struct fact mine[2];
    uint64_t at = record->first_version;
    struct balance state = state_when(history, at);
    if (at < wish->head || at > history->size) fail_wish(checker, wish, "was refused on what is not there");
    if (wish->expected != COMMAND_ANY_VERSION && (uint64_t)wish->expected != at)
        fail_wish(checker, wish, "was refused for good although there is more to see");
    if (decide(&state, wish, mine) >= 0) fail_wish(checker, wish, "the model does not refuse it there");
    checker->tally->rejected++;
}

static void check_conflict(struct checker *checker, const struct wish *wish)
{
    const struct history *history = &checker->histories[wish->stream];
    uint64_t at = wish->command->conflict_version, expected = (uint64_t)wish->expected;
    if (wish->expected == COMMAND_ANY_VERSION || expected == at) fail_wish(checker, wish, "no conflict");

    if (at < wish->head) fail_wish(checker, wish, "was told an old version");
    if (expected > at) {
        checker->tally->ahead++;
        return;
    }
    if (at > history->size) fail_wish(checker, wish, "was told of what is not there");
    struct fact mine[2];
    struct balance state = state_when(history, at);
    int count = decide(&state, wish, mine);
    if (count < 0)
        checker->tally->refused++;
    else if (is_excluded(history, mine, count, expected, at))
        checker->tally->excluded++;
    else
        fail_wish(checker, wish, "could have been merged");
}

static void check(struct checker *checker, const struct wish *wish)
{
    const struct command *command = wish->command;
    struct stream_id id = stream_id(wish->stream);
    struct buf bytes = {0};
    struct record record;
    read_on(checker, wish->stream);
    int found = engine_find_command(checker->memory, &id, command->items[0].id, &bytes, &record, &test_fault);
    enum fault_code code = command->fault.code;
    if (found != (code == FAULT_NONE || code == FAULT_REJECTED))
        fail_wish(checker, wish, found ? "is there" : "is not there");
    if (code == FAULT_NONE)
        check_done(checker, wish, &record);
    else if (code == FAULT_REJECTED)
        check_rejected(checker, wish, &record);
    else if (code == FAULT_CONFLICT)
        check_conflict(checker, wish);
    else if (code == FAULT_DISK || code == FAULT_UNAVAILABLE)
        checker->tally->failed++;
    else
        fail_wish(checker, wish, "failed");
    buf_release(&bytes);
}

/* --- steps --- */

static void somebody_appends(struct engine *engine, void *user)
{
    struct checker *checker = user;
    struct stream_id stream = stream_id((int)chance_below(&checker->chance, STREAMS));
    bool marks = chance_of(&checker->chance, 40);
    char data[64];
    snprintf(data, sizeof data, marks ? "{'tag':%d}" : "{'amount':%d,'total':0}",
             (int)chance_below(&checker->chance, TAGS));
    append_event(engine, &stream, marks ? "Marked" : "Added", data);
    checker->tally->others++;
}

static void wish_some(struct checker *checker, struct wish *wish)
{
    static const char kinds[] = "AAAAMMBBC";
    struct chance *chance = &checker->chance;
    char id[16], data[64];
    uint64_t position;
    *wish = (struct wish){.kind = kinds[chance_below(chance, sizeof kinds - 1)],
                          .amount = (int)chance_below(chance, 30) - 12,
                          .tag = (int)chance_below(chance, TAGS),
                          .stream = (int)chance_below(chance, STREAMS),
                          .expected = COMMAND_ANY_VERSION};
    struct stream_id stream = stream_id(wish->stream);
    assert_int_equal(engine_stream_head(checker->memory, &stream, &wish->head, &position, NULL), 0);
    if (!chance_of(chance, 25)) /* what it saw: from a few events ago to some that may be in flight */
        wish->expected = (int64_t)wish->head + 3 - (int64_t)chance_below(chance, 8);
    if (wish->expected < 0 && wish->expected != COMMAND_ANY_VERSION) wish->expected = 0;
    snprintf(id, sizeof id, "n%u", checker->number++);
    const char *type = wish->kind == 'A'   ? "Add"
                       : wish->kind == 'B' ? "Both"
                       : wish->kind == 'M' ? "Mark"
                                           : "Clear";
    if (wish->kind == 'B')
        snprintf(data, sizeof data, "{'amount':%d,'tag':%d}", wish->amount, wish->tag);
    else if (wish->kind == 'C')
        snprintf(data, sizeof data, "{}");
    else
        snprintf(data, sizeof data, "{'%s':%d}", wish->kind == 'A' ? "amount" : "tag",
                 wish->kind == 'A' ? wish->amount : wish->tag);
    wish->command = command_of(stream.id.data, type, data, id);
    wish->command->expected_version = wish->expected;
}

static void step(struct checker *checker)
{
    struct wish wishes[STEP_COMMANDS];
    int count = 1 + (int)chance_below(&checker->chance, STEP_COMMANDS);
    unsigned what = chance_below(&checker->chance, 5);
    pthread_mutex_lock(&checker->held->mutex);
    checker->held->holding = true;
    checker->held->pass = 0;
    checker->held->fail = what == 1;
    checker->held->before = what >= 3 ? somebody_appends : NULL;
    checker->held->user = checker;
    pthread_mutex_unlock(&checker->held->mutex);
    for (int at = 0; at < count; at++) {
        wish_some(checker, &wishes[at]);
        submit(checker->hub, wishes[at].command);
    }
    held_set(checker->held, false);
    for (int at = 0; at < count; at++) await(wishes[at].command);
    for (int at = 0; at < count; at++) {
        check(checker, &wishes[at]);
        forget(wishes[at].command);
    }
}

static void interleave(uint64_t seed, struct tally *tally)
{
    struct checker checker = {.chance = {seed}, .tally = tally};
    print_message("SEED=%llu\n", (unsigned long long)seed);
    snprintf(checker.seed, sizeof checker.seed, "SEED=%llu", (unsigned long long)seed);
    mkdir(folder("memory"), 0777);
    checker.held = hold_engine_with((struct engine_options){0}, NULL);
    checker.held->keep = true;
    checker.memory = checker.held->inner;
    checker.histories = calloc(STREAMS, sizeof *checker.histories);
    checker.hub = open_hub_with((struct hub_options){.data = folder("memory"),
                                                     .engine = &checker.held->engine,
                                                     .shards = 1 + (int)chance_below(&checker.chance, 2),
                                                     .projectors = -1});
    for (int at = 0; at < STEPS; at++) step(&checker);
    hub_close(checker.hub);
    engine_close(checker.memory);
    free(checker.histories);
    remove_folder(folder("memory"));
}

static void histories_agree_with_a_sequential_model(void **state)
{
    uint64_t seed = sim_number("SEED", 0);
    int runs = seed ? 1 : getenv("LORE_TEST_SMALL") ? 3 : 60;
    if (!seed) rand_bytes(&seed, sizeof seed / 2);
    struct tally met = {0};
    for (int run = 0; run < runs; run++) interleave(seed + (uint64_t)run, &met);
    print_message("%u any, %u right, %u merged; conflicts: %u excluded, %u refused, %u ahead; %u rejected, "
                  "%u without events, "
                  "%u failed, %u of others\n",
                  met.any, met.right, met.merged, met.excluded, met.refused, met.ahead, met.rejected,
                  met.quiet, met.failed, met.others);
    if (runs > 1)
        assert_true(met.any && met.right && met.merged && met.excluded && met.refused && met.ahead &&
                    met.rejected && met.quiet && met.failed && met.others);
}

static int ledger_setup(void **state)
{
    int done = setup(state);
    write_script("bank/contracts.lua", ledger_contracts);
    write_script("bank/account.lua", ledger);
    return done;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(histories_agree_with_a_sequential_model, ledger_setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

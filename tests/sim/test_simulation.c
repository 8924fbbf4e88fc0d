/* A hub on a disk that fails, beside somebody else who appends, under a clock that jumps, driven by a seed:
 * what was answered is there once, what was refused is not, decisions rest on what is there, positions and
 * versions have no gaps, recorded never goes back, queues are bounded.
 *
 *     SEED=7 build/tests/sim/test_simulation
 *
 * What the seed replays: the commands, faults, jumps and restarts, and in which order they come. What it does
 * not: how many commands the writer finds waiting when it begins an append, which is up to the threads. So
 * promises are checked, not a trace. */
#include "sim/sim_support.h"

#include "base/rand.h"

enum { STEPS = 60, STEP_COMMANDS = 12, STREAMS = 5 };

struct simulation {
    struct chance chance;
    struct sim_clock clock;
    struct held_engine *held;
    struct engine *memory;
    struct hub *hub;
    unsigned number, done, refused, others, busy;
    struct somebody_else other; /* the next one */
    char seed[32];
};

static void sim_open(struct simulation *sim)
{
    sim->held = hold_engine_with((struct engine_options){.clock = &sim->clock.clock}, sim->memory);
    sim->held->keep = true;
    sim->memory = sim->held->inner;
    sim->hub = open_hub_with((struct hub_options){.data = folder("memory"),
                                                  .engine = &sim->held->engine,
                                                  .clock = &sim->clock.clock,
                                                  .shards = 1 + (int)chance_below(&sim->chance, 2),
                                                  .projectors = 1});
}

/* --- what must hold --- */

/* Of one command with an id of its own. */
static void check_answer(struct simulation *sim, const struct command *command)
{
    struct stream_id stream = {command->tenant, slice_of("bank/account"), command->id};
    struct buf bytes = {0};
    struct record record;
    enum fault_code code = command->fault.code;
    int found = engine_find_command(sim->memory, &stream, command->items[0].id, &bytes, &record, &test_fault);
    bool kept = code == FAULT_NONE || code == FAULT_REJECTED;
    if (found != kept)
        fail_msg("%s: %.*s was answered %s: %s, and is %sthere", sim->seed, SLICE_ARGS(command->items[0].id),
                 fault_name(code), command->fault.text, found ? "" : "not ");
    if (code == FAULT_NONE) {
        sim->done++;
        assert_int_equal(record.kind, RECORD_COMMIT);
        assert_int_equal(command->version, record.first_version + record.event_count - 1);
        assert_int_equal(command->position, record.first_position + record.event_count - 1);
    } else if (code == FAULT_REJECTED) {
        assert_int_equal(record.kind, RECORD_REJECTED);
        assert_int_equal(command->version, record.first_version);
    } else {
        sim->refused++;
        if (code != FAULT_DISK && code != FAULT_UNAVAILABLE && code != FAULT_CONFLICT)
            fail_msg("%s: %s", sim->seed, command->fault.text);
    }
    buf_release(&bytes);
}

/* No total was ever below zero, since no command takes more than it was shown. */
static void check_log(struct simulation *sim)
{
    struct engine_cursor *cursor;
    struct record record;
    uint64_t position = 0, versions[STREAMS] = {0};
    int64_t totals[STREAMS] = {0}, recorded_ms = 0;
    assert_int_equal(engine_read(sim->memory, 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        if (record.recorded_ms < recorded_ms)
            fail_msg("%s: recorded goes back at position %llu", sim->seed, (unsigned long long)position);
        recorded_ms = record.recorded_ms;
        while (record_next_event(&record, &event)) {
            int stream = record.id.data[1] - '0', amount;
            struct buf json = {0};
            assert_int_equal(json_from_mp(event.data, &json, &test_fault), 0);
            buf_put_byte(&json, 0);
            assert_int_equal(sscanf(json.data, "{\"amount\":%d}", &amount), 1);
            buf_release(&json);
            totals[stream] += amount;
            assert_int_equal(event.position, ++position);
            assert_int_equal(event.version, ++versions[stream]);
            if (totals[stream] < 0) fail_msg("%s: s%d was decided on what is not there", sim->seed, stream);
        }
    }
    engine_cursor_close(cursor);
    settle(sim->hub);
    struct buf expected = {0}, documents = view_text(sim->hub, "bank/totals", "main");
    for (int stream = 0; stream < STREAMS; stream++) {
        struct stream named = {.tenant = "main"};
        struct buf state = {0}, folded = {0};
        snprintf(named.id, sizeof named.id, "s%d", stream);
        sim_state(sim->hub, &named, -1, &state);
        buf_put_byte(&state, 0);
        if (versions[stream]) {
            buf_format(&folded, "{\"total\":%lld}", (long long)totals[stream]);
            buf_put_byte(&folded, 0);
            if (!strstr(state.data, folded.data))
                fail_msg("%s: s%d is %s, not %s", sim->seed, stream, state.data, folded.data);
            buf_format(&expected, "s%d={\"count\":%llu,\"total\":%lld}\n", stream,
                       (unsigned long long)versions[stream], (long long)totals[stream]);
        }
        buf_release(&state);
        buf_release(&folded);
    }
    buf_put_byte(&expected, 0);
    assert_string_equal(documents.data, expected.data);
    buf_release(&expected);
    buf_release(&documents);
}

/* --- steps --- */

static struct command *some_command(struct simulation *sim)
{
    char id[8], data[32], number[16];
    snprintf(id, sizeof id, "s%u", chance_below(&sim->chance, STREAMS));
    snprintf(data, sizeof data, "{'amount':%d}", (int)chance_below(&sim->chance, 40) - 18);
    snprintf(number, sizeof number, "n%u", sim->number++);
    return command_of(id, "Add", data, number);
}

static void set_faults(struct simulation *sim)
{
    static char ids[STREAMS][8];
    unsigned what = chance_below(&sim->chance, 4), stream = chance_below(&sim->chance, STREAMS);
    snprintf(ids[stream], sizeof ids[stream], "s%u", stream);
    pthread_mutex_lock(&sim->held->mutex);
    sim->held->holding = true;
    sim->held->pass = 0;
    sim->held->fail = what == 1 ? 1 + (int)chance_below(&sim->chance, 2) : 0;
    sim->held->before = what == 2 ? somebody_else_adds : NULL;
    sim->other = (struct somebody_else){ids[stream], "{'amount':1000}"};
    sim->held->user = &sim->other;
    pthread_mutex_unlock(&sim->held->mutex);
    sim->others += what == 2;
}

static void step_commands(struct simulation *sim)
{
    struct command *commands[STEP_COMMANDS];
    int count = 1 + (int)chance_below(&sim->chance, STEP_COMMANDS);
    set_faults(sim);
    for (int at = 0; at < count; at++) submit(sim->hub, commands[at] = some_command(sim));
    held_await(sim->held);
    atomic_fetch_add(&sim->clock.ms, (long long)chance_below(&sim->chance, 20000) - 8000);
    held_set(sim->held, false);
    for (int at = 0; at < count; at++) {
        check_answer(sim, await(commands[at]));
        forget(commands[at]);
    }
    pthread_mutex_lock(&sim->held->mutex);
    sim->held->fail = 0;
    sim->held->before = NULL;
    pthread_mutex_unlock(&sim->held->mutex);
}

/* While nothing reaches the disk, the door closes; what it let in is answered. */
static void step_flood(struct simulation *sim)
{
    enum { FLOOD = 40000 };
    static struct command *commands[FLOOD];
    int count = 0;
    held_set(sim->held, true);
    for (; count < FLOOD; count++) {
        commands[count] = command_of("s0", "Add", "{'amount':1}", NULL);
        if (hub_submit(sim->hub, commands[count], &test_fault) == 0) continue;
        assert_int_equal(test_fault.code, FAULT_BUSY);
        answered(commands[count]);
        forget(commands[count]);
        sim->busy++;
        break;
    }
    if (count == FLOOD) fail_msg("%s: %d commands wait, and the door is open", sim->seed, count);
    held_set(sim->held, false);
    for (int at = 0; at < count; at++) {
        assert_int_equal(await(commands[at])->fault.code, FAULT_NONE);
        forget(commands[at]);
    }
}

static void simulate(uint64_t seed)
{
    struct simulation sim = {.chance = {seed}, .clock = {.clock = {.now_ms = sim_now}}};
    snprintf(sim.seed, sizeof sim.seed, "SEED=%llu", (unsigned long long)seed);
    print_message("%s\n", sim.seed);
    atomic_store(&sim.clock.ms, 1767225600000);
    mkdir(folder("memory"), 0777);
    mkdir(folder("memory/log"), 0777);
    sim_open(&sim);
    for (int step = 0; step < STEPS; step++) {
        if (chance_of(&sim.chance, 8)) {
            hub_close(sim.hub);
            sim_open(&sim);
        }
        step_commands(&sim);
        if (step % 20 == 19) check_log(&sim);
    }
    assert_true(sim.done > 0 && sim.refused > 0 && sim.others > 0);
    hub_close(sim.hub);
    engine_close(sim.memory);
    remove_folder(folder("memory"));
}

static void promises_hold_on_a_bad_disk(void **state)
{
    uint64_t seed = sim_number("SEED", 0);
    int runs = seed ? 1 : getenv("LORE_TEST_SMALL") ? 3 : 40;
    if (!seed) rand_bytes(&seed, sizeof seed / 2);
    for (int run = 0; run < runs; run++) simulate(seed + (uint64_t)run);
}

static void a_held_disk_closes_the_door(void **state)
{
    struct simulation sim = {.chance = {1}, .clock = {.clock = {.now_ms = sim_now}}, .seed = "flood"};
    atomic_store(&sim.clock.ms, 1767225600000);
    mkdir(folder("memory"), 0777);
    mkdir(folder("memory/log"), 0777);
    sim_open(&sim);
    step_commands(&sim);
    step_flood(&sim);
    step_commands(&sim);
    assert_int_equal(sim.busy, 1);
    hub_close(sim.hub);
    engine_close(sim.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(promises_hold_on_a_bad_disk, sim_setup, teardown),
        cmocka_unit_test_setup_teardown(a_held_disk_closes_the_door, sim_setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

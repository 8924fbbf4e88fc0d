/* Random sequences of commands against three: a hub on the LMDB engine, a hub on the engine in memory, and
 * the model. Every answer, every event, the states, and now and then all documents agree.
 *
 *     SEED=7 SEQUENCES=20000 build/tests/sim/test_model
 *
 * A world is two hubs and a model over which sequences run one after another, each on streams of its own:
 * several commands are under way at once, hubs are closed and opened in between, indexes flushed beside them,
 * states dropped from caches, the clock jumps. When a world differs it is run again with a look at everything
 * after each step, so what is printed ends with the step that went wrong. */
#include "sim/sim_support.h"

#include "base/rand.h"
#include "store/verify.h"

enum {
    WORLD_SEQUENCES = 50,
    SEQUENCE_STEPS = 5,
    STEP_ORDERS_MAX = 8,
    SEQUENCE_STREAMS = 6,
    HUBS = 2,
    SHOWN_MAX = 200 /* steps of a world that went wrong */
};

static const char *const hub_names[HUBS] = {"lmdb", "memory"};

struct world {
    uint64_t seed;
    struct chance chance, looking; /* apart, so that a world with more looks has the same steps */
    struct model model;
    struct sim_clock clock;
    struct held_engine *held[HUBS];
    struct engine *memory; /* outlives its hubs */
    struct hub *hubs[HUBS];
    int shards[HUBS], projectors[HUBS];
    bool look_at_all; /* after each step */
    unsigned log_seen;
    int first_stream;
    int steps, steps_max; /* done, and when to end */
    struct buf said;      /* the steps */
    struct buf wrong;     /* what differs; empty: nothing */
    unsigned orders, flushes, restarts;
};

/* --- hubs --- */

static void world_open(struct world *world)
{
    for (int at = 0; at < HUBS; at++) {
        bool is_memory = at == 1;
        struct engine_options options = {.path = is_memory ? NULL : folder("lmdb"),
                                         .clock = &world->clock.clock};
        world->held[at] = hold_engine_with(options, is_memory ? world->memory : NULL);
        world->held[at]->keep = is_memory;
        if (is_memory) world->memory = world->held[at]->inner;
        world->hubs[at] = open_hub_with((struct hub_options){.data = folder(hub_names[at]),
                                                             .engine = &world->held[at]->engine,
                                                             .clock = &world->clock.clock,
                                                             .shards = world->shards[at],
                                                             .projectors = world->projectors[at]});
    }
}

/* --- comparing --- */

/* Beginning with the first line that is not the same. */
static void differs(struct world *world, int hub, const char *what, struct buf *got, struct buf *expected)
{
    if (slice_equal(buf_slice(got), buf_slice(expected)) || world->wrong.size) return;
    size_t line = 0;
    for (size_t at = 0; at < got->size && at < expected->size && got->data[at] == expected->data[at]; at++)
        if (got->data[at] == '\n') line = at + 1;
    buf_format(&world->wrong, "%s: %s\n  got      %.*s\n  expected %.*s\n", hub_names[hub], what,
               (int)(got->size - line), got->data + line, (int)(expected->size - line),
               expected->data + line);
}

static void compare_log(struct world *world)
{
    for (int at = 0; at < HUBS; at++) {
        struct buf got = {0}, expected = {0};
        sim_log(world->hubs[at], world->log_seen + 1, &got);
        model_log(&world->model, world->log_seen + 1, &expected);
        differs(world, at, "the log", &got, &expected);
        buf_release(&got);
        buf_release(&expected);
    }
    if (!world->look_at_all) world->log_seen = (unsigned)world->model.entry_count;
}

/* A refusal is kept after it was told, so only a hub that has stopped has them all. */
static void compare_outcomes(struct world *world, int hub)
{
    struct buf got = {0}, expected = {0};
    sim_outcomes(world->hubs[hub], &got);
    model_outcomes(&world->model, &expected);
    differs(world, hub, "the commands without events", &got, &expected);
    buf_release(&got);
    buf_release(&expected);
}

static void world_close(struct world *world)
{
    for (int at = 0; at < HUBS; at++) {
        hub_stop(world->hubs[at]);
        compare_outcomes(world, at);
        hub_close(world->hubs[at]);
    }
}

static void compare_states(struct world *world)
{
    for (int stream = world->first_stream; stream < world->model.stream_count; stream++) {
        unsigned version, position, past;
        model_fold(&world->model, stream, ~0u, &version, &position);
        past = version ? 1 + chance_below(&world->looking, version) : 0;
        for (int at = 0; at < HUBS; at++) {
            struct buf got = {0}, expected = {0};
            sim_state(world->hubs[at], &world->model.streams[stream], -1, &got);
            model_state(&world->model, stream, ~0u, &expected);
            if (past) {
                sim_state(world->hubs[at], &world->model.streams[stream], past, &got);
                model_state(&world->model, stream, past, &expected);
            }
            differs(world, at, world->model.streams[stream].id, &got, &expected);
            buf_release(&got);
            buf_release(&expected);
        }
    }
}

static void compare_views(struct world *world)
{
    for (int at = 0; at < HUBS; at++) settle(world->hubs[at]);
    for (int view = 0; view < MODEL_VIEWS; view++)
        for (int tenant = 0; tenant < SIM_TENANTS; tenant++) {
            struct buf expected = {0};
            model_view(&world->model, (enum model_view)view, sim_tenants[tenant], &expected);
            buf_put_byte(&expected, 0);
            for (int at = 0; at < HUBS; at++) {
                struct buf got = view_text(world->hubs[at], sim_views[view], sim_tenants[tenant]);
                differs(world, at, sim_views[view], &got, &expected);
                buf_release(&got);
            }
            buf_release(&expected);
        }
}

/* --- steps --- */

/* Several at once; the numbers keep their order over all shards. */
static void step_orders(struct world *world)
{
    struct reply replies[STEP_ORDERS_MAX];
    struct command *commands[HUBS][STEP_ORDERS_MAX];
    int count = 1 + (int)chance_below(&world->chance, STEP_ORDERS_MAX);
    for (int at = 0; at < count; at++) {
        struct order order = sim_order(&world->chance, &world->model, world->first_stream, SEQUENCE_STREAMS);
        for (int hub = 0; hub < HUBS; hub++) {
            commands[hub][at] = sim_command(&world->model, &order);
            commands[hub][at]->ordered = world->shards[hub] > 1 ? (uint64_t)at + 1 : 0;
            submit(world->hubs[hub], commands[hub][at]);
        }
        buf_format(&world->said, "  ");
        replies[at] = model_run(&world->model, &order);
        order_text(&world->model, &order, &world->said);
        buf_format(&world->said, " -> ");
        reply_text(&replies[at], &world->said);
        buf_format(&world->said, "\n");
    }
    world->orders += (unsigned)count;
    for (int hub = 0; hub < HUBS; hub++)
        for (int at = 0; at < count; at++) {
            char what[32];
            struct buf got = {0}, expected = {0};
            struct reply reply = sim_reply(await(commands[hub][at]));
            reply_text(&reply, &got);
            reply_text(&replies[at], &expected);
            snprintf(what, sizeof what, "answer %d of the step", at + 1);
            differs(world, hub, what, &got, &expected);
            forget(commands[hub][at]);
            buf_release(&got);
            buf_release(&expected);
        }
    /* Else the next step's clock and order would be those of the refusals. */
    for (int hub = 0; hub < HUBS && !world->wrong.size; hub++)
        held_await_outcomes(world->held[hub], (uint64_t)model_outcome_count(&world->model));
}

static void step(struct world *world)
{
    unsigned what = chance_below(&world->chance, 100);
    if (what < 2) {
        buf_format(&world->said, "  both hubs are closed and opened again\n");
        world->restarts++;
        world_close(world);
        world_open(world);
    } else if (what < 9) {
        uint64_t events;
        buf_format(&world->said, "  the index is flushed\n");
        world->flushes++;
        for (int at = 0; at < HUBS; at++)
            assert_int_equal(engine_flush_index(hub_engine(world->hubs[at]), &events, &test_fault), 0);
    } else if (what < 18) {
        int64_t by_ms = (int64_t)chance_below(&world->chance, 200000) - 60000;
        buf_format(&world->said, "  the clock moves by %lld ms\n", (long long)by_ms);
        world->model.now_ms += by_ms;
        atomic_store(&world->clock.ms, world->model.now_ms);
    } else {
        step_orders(world);
        compare_log(world);
    }
    bool last = world->steps % SEQUENCE_STEPS == SEQUENCE_STEPS - 1;
    bool look = chance_of(&world->looking, 3) || world->look_at_all;
    if (last || world->look_at_all) compare_states(world);
    if (look || world->steps + 1 == WORLD_SEQUENCES * SEQUENCE_STEPS) compare_views(world);
}

static void begin_sequence(struct world *world)
{
    int number = world->steps / SEQUENCE_STEPS;
    world->first_stream = world->model.stream_count;
    buf_format(&world->said, "sequence %d\n", number);
    for (int at = 0; at < SEQUENCE_STREAMS; at++) {
        char id[16];
        snprintf(id, sizeof id, "s%d-%d", number,
                 at / SIM_TENANTS / 2); /* the same id in several tenants and aggregates */
        model_add_stream(&world->model, sim_tenants[at % SIM_TENANTS], id, at >= SEQUENCE_STREAMS / 2);
    }
}

/* --- worlds --- */

/* Runs at most steps_max steps; stops at the first that differs. */
static void world_run(struct world *world)
{
    struct chance once = {world->seed};
    for (int at = 0; at < HUBS; at++) {
        world->shards[at] = 1 + (int)chance_below(&once, 3);
        world->projectors[at] = 1 + (int)chance_below(&once, 2);
    }
    world->chance.state = world->seed ^ 0x5ea1;
    world->looking.state = world->seed ^ 0x100c;
    world->model.now_ms = 1767225600000; /* 2026-01-01 */
    world->clock.clock.now_ms = sim_now;
    atomic_store(&world->clock.ms, world->model.now_ms);
    mkdir(folder("memory"), 0777);
    mkdir(folder("memory/log"),
          0777); /* what it has is in memory, but a hub wants to see one beside its views */
    world_open(world);
    while (!world->wrong.size && world->steps < world->steps_max) {
        if (world->steps % SEQUENCE_STEPS == 0) begin_sequence(world);
        step(world);
        world->steps++;
    }
    world_close(world);
    engine_close(world->memory);
}

static void verify_lmdb(struct world *world)
{
    struct verify_report report;
    assert_int_equal(verify_directory(folder("lmdb"), NULL, NULL, &report, &test_fault), 0);
    if (!report.ok && !world->wrong.size) buf_format(&world->wrong, "lore verify: %s\n", report.damage);
}

static void world_release(struct world *world)
{
    model_free(&world->model);
    buf_release(&world->said);
    buf_release(&world->wrong);
    remove_folder(folder("lmdb"));
    remove_folder(folder("memory"));
}

/* The last lines of what was done. */
static void print_steps(const struct world *world)
{
    size_t from = world->said.size;
    for (int lines = 0; from && lines < SHOWN_MAX; from--)
        if (world->said.data[from - 1] == '\n') lines++;
    fprintf(stderr, "%.*s", (int)(world->said.size - from), world->said.data + from);
}

static void fail_world(uint64_t seed, int steps, const struct buf *wrong)
{
    struct world world = {.seed = seed, .look_at_all = true, .steps_max = steps};
    world_run(&world);
    print_steps(&world);
    const struct buf *shown = world.wrong.size ? &world.wrong : wrong;
    fprintf(stderr, "\nSEED=%llu differs after %d steps%s:\n%.*s", (unsigned long long)seed, world.steps,
            world.wrong.size ? "" : " when it does not look at everything after each",
            SLICE_ARGS(buf_slice(shown)));
    world_release(&world);
    fail();
}

static void hubs_and_model_agree(void **state)
{
    uint64_t seed = sim_number("SEED", 0), given = seed;
    uint64_t sequences = sim_number("SEQUENCES", getenv("LORE_TEST_SMALL") ? 100
                                                 : given                   ? WORLD_SEQUENCES
                                                                           : 2000);
    if (!given) rand_bytes(&seed, sizeof seed / 2);
    unsigned orders = 0, restarts = 0, flushes = 0;
    for (uint64_t done = 0; done < sequences; done += WORLD_SEQUENCES, seed++) {
        struct world world = {.seed = seed, .steps_max = WORLD_SEQUENCES * SEQUENCE_STEPS};
        print_message("SEED=%llu\n", (unsigned long long)seed); /* also when it does not come back */
        world_run(&world);
        verify_lmdb(&world);
        orders += world.orders;
        restarts += world.restarts;
        flushes += world.flushes;
        struct buf wrong = world.wrong;
        world.wrong = (struct buf){0};
        int steps = world.steps;
        world_release(&world);
        if (wrong.size) fail_world(seed, steps, &wrong);
    }
    print_message("%llu sequences: %u commands, %u restarts, %u flushes\n", (unsigned long long)sequences,
                  orders, restarts, flushes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hubs_and_model_agree, sim_setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

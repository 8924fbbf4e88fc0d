/* Many streams: a model that folds everything anew for each command says the same, however the streams are
 * shared out; budgets, times, stops; calls that take long; streams in which every command differs. */
#include "shadow_support.h"

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static struct sources *limits(const char *limits)
{
    char to[64];
    snprintf(to, sizeof to, "LEAST, MOST = %s", limits);
    return shop_with("LEAST, MOST = 0, 1000", to);
}

static struct stream_id any_stream(char id[16])
{
    snprintf(id, 16, "%c%u", 'a' + any(3), any(12));
    struct stream_id stream = account_of(id);
    if (any(3) == 0) stream.tenant = slice_of(any(2) ? "north" : "south");
    return stream;
}

static void any_command(struct world *world)
{
    char id[16], amounts[3][32];
    struct sent sent[3];
    size_t count = any(4) ? 1 : 1 + any(3);
    struct stream_id stream = any_stream(id);
    for (size_t at = 0; at < count; at++) {
        unsigned what = any(10);
        snprintf(amounts[at], sizeof amounts[at], "{'amount':%d}", (int)any(60) - 25);
        sent[at] = what == 0   ? (struct sent){"Open", "{'owner':'x'}"}
                   : what == 1 ? (struct sent){"Touch", "{}"}
                   : what == 2 ? (struct sent){"Close", "{}"}
                               : (struct sent){"Add", amounts[at]};
    }
    if (count == 1 && any(12) == 0 && slice_is(stream.tenant, "main"))
        world_fact(world, id, "Added", 1, "{'amount':3}");
    else
        world_send_to(world, stream, sent, count);
}

/* Written by one code, then by another. */
static struct world *any_world(unsigned number, unsigned commands)
{
    struct world *world = world_new();
    seed = number;
    for (unsigned at = 0; at < commands; at++) {
        if (at == commands / 3) world_use(world, limits("-5, 1000"));
        any_command(world);
    }
    return world;
}

/* --- the model --- */

struct model {
    struct world *world;
    struct domain *domains[2]; /* running, next */
    struct shadow_commands commands;
    uint64_t states_changed;
    struct arena arena;
};

/* What a code makes of a record at a version, as text. */
static char *model_decide(struct model *model, int side, const struct record *record, uint64_t version)
{
    struct fault fault = {0};
    struct domain *domain = model->domains[side];
    struct stream_id stream = {names_get(record->names, record->tenant),
                               names_get(record->names, record->aggregate), record->id};
    struct buf text = {0};
    struct commit commit;
    uint64_t found = 0;
    record_read_commit(record, &model->arena, &commit);
    struct domain_state *state = world_fold(model->world, domain, &stream, version, &found, &fault);
    assert_int_equal(found, version);
    struct envelope envelope;
    fold_commit_envelope(&stream, slice_of("shop"), &commit, &envelope);
    envelope.at_ms = commit.event_count ? commit.events[0].at_ms : commit.recorded_ms;
    int done = 0;
    for (size_t at = 0; at < commit.command_count && done == 0; at++) {
        struct decision decision;
        bool touched;
        envelope.type = commit.commands[at].type;
        done = domain_execute(domain, state, &envelope, commit.commands[at].data, false, &model->arena,
                              &decision, &touched, &fault);
        for (size_t event = 0; done == 0 && event < decision.event_count; event++) {
            buf_format(&text, "%.*s ", SLICE_ARGS(decision.events[event].type));
            json_from_mp(decision.events[event].data, &text, NULL);
        }
    }
    domain_state_free(domain, state);
    if (done < 0) {
        buf_clear(&text);
        buf_format(&text, "!%s", fault.reason);
    }
    buf_put_byte(&text, 0);
    return text.data;
}

static char *model_recorded(struct model *model, const struct record *record)
{
    struct buf text = {0};
    struct commit commit;
    record_read_commit(record, &model->arena, &commit);
    if (record->kind == RECORD_REJECTED) buf_format(&text, "!%.*s", SLICE_ARGS(commit.reason));
    for (size_t event = 0; event < commit.event_count; event++) {
        buf_format(&text, "%.*s ", SLICE_ARGS(commit.events[event].type));
        json_from_mp(commit.events[event].data, &text, NULL);
    }
    buf_put_byte(&text, 0);
    return text.data;
}

static void model_record(struct model *model, const struct record *record)
{
    if (record->kind == RECORD_FACT) return;
    uint64_t version = record->event_count ? record->first_version - 1 : record->first_version;
    char *was = model_recorded(model, record), *now = model_decide(model, 1, record, version);
    model->commands.decided++;
    if (strcmp(was, now) == 0) {
        model->commands.same++;
    } else {
        char *running = model_decide(model, 0, record, version);
        if (strcmp(running, now) == 0)
            model->commands.already++;
        else
            model->commands.differs[was[0] == '!'   ? now[0] == '!' ? SHADOW_OTHER_REASON : SHADOW_ACCEPTED
                                    : now[0] == '!' ? SHADOW_REFUSED
                                                    : SHADOW_OTHER_EVENTS]++;
        mem_free(running);
    }
    mem_free(was);
    mem_free(now);
}

static void model_walk(struct model *model, bool outcomes)
{
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault;
    assert_int_equal(
        (outcomes ? engine_read_outcomes : engine_read)(model->world->engine, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) == 1) model_record(model, &record);
    engine_cursor_close(cursor);
}

struct model_streams {
    struct model *model;
    struct slice tenant;
};

static bool model_state(void *user, struct slice id, uint64_t version)
{
    struct model_streams *streams = user;
    struct model *model = streams->model;
    struct stream_id stream = {streams->tenant, slice_of("shop/account"), id};
    struct buf states[2] = {{0}, {0}};
    struct fault fault;
    for (int side = 0; side < 2; side++) {
        struct domain_state *state =
            world_fold(model->world, model->domains[side], &stream, UINT64_MAX, &version, &fault);
        assert_int_equal(domain_state_encode(model->domains[side], state, &states[side], &fault), 0);
        domain_state_free(model->domains[side], state);
    }
    model->states_changed += !slice_equal(buf_slice(&states[0]), buf_slice(&states[1]));
    buf_release(&states[0]);
    buf_release(&states[1]);
    return true;
}

/* Both sources stay the caller's. */
static struct model model_of(struct world *world, struct sources *running, struct sources *next)
{
    struct model model = {.world = world};
    struct fault fault;
    const struct domain_options options[2] = {{.sources = running}, {.sources = next}};
    for (int side = 0; side < 2; side++)
        assert_int_equal(domain_open(&options[side], &model.domains[side], NULL, &fault), 0);
    model_walk(&model, false);
    model_walk(&model, true);
    static const char *const tenants[] = {"main", "north", "south"};
    for (size_t at = 0; at < 3; at++) {
        struct model_streams streams = {&model, slice_of(tenants[at])};
        engine_each_stream(world->engine, streams.tenant, slice_of("shop/account"), model_state, &streams,
                           &fault);
    }
    for (int side = 0; side < 2; side++) domain_close(model.domains[side]);
    arena_release(&model.arena);
    return model;
}

static struct sources *any_next(unsigned number)
{
    switch (number % 6) {
    case 0: return limits("10, 1000");
    case 1: return limits("-40, 60");
    case 2:
        return shop_with("state.total = state.total + e.amount", "state.total = state.total + e.amount // 2");
    case 3:
        return shop_with("return Added { amount = c.amount }",
                         "emit(Added { amount = 1 }) if c.amount == 7 then reject('seven') end "
                         "emit(Added { amount = c.amount - 1 })");
    case 4: return shop_with("if state.total + c.amount < LEAST", "if c.amount % 3 == 0");
    default:
        return shop_with("function account.execute.Add(state, c)\n",
                         "function account.execute.Add(state, c, m)\n"
                         "  if state.count % 5 == 4 then return Noted { text = m.command_id } end\n");
    }
}

static void a_model_says_the_same(void **state)
{
    for (unsigned number = 0; number < 12; number++) {
        struct world *world = any_world(number, 400);
        struct sources *next = any_next(number);
        struct model model = model_of(world, world->running, next);
        struct shadow *shadow = world_shadow(world, next, (struct shadow_options){0});
        if (memcmp(&model.commands, &shadow->total.commands, sizeof model.commands) != 0 ||
            model.states_changed != shadow->total.states_changed) {
            char *text = shadow_text(shadow);
            fail_msg("%u: the model has %llu already, %llu refused, %llu accepted, %llu states, not\n%s",
                     number, (unsigned long long)model.commands.already,
                     (unsigned long long)model.commands.differs[SHADOW_REFUSED],
                     (unsigned long long)model.commands.differs[SHADOW_ACCEPTED],
                     (unsigned long long)model.states_changed, text);
        }
        assert_true(shadow->total.commands.same < shadow->total.commands.decided);
        shadow_free(shadow);
        world_free(world);
    }
}

static void threads_and_passes_change_nothing(void **state)
{
    struct world *world = any_world(77, 1500);
    char *first = NULL;
    static const struct shadow_options ways[] = {{.threads = 1},
                                                 {.threads = 2},
                                                 {.threads = 1, .part_streams = 1},
                                                 {.threads = 3, .part_streams = 7},
                                                 {.threads = 2, .part_streams = 40, .idle = true}};
    for (size_t at = 0; at < sizeof ways / sizeof *ways; at++) {
        struct shadow *shadow = world_shadow(world, any_next(4), ways[at]);
        char *text = shadow_text(shadow);
        if (!first) first = text;
        assert_string_equal(text, first);
        if (text != first) mem_free(text);
        shadow_free(shadow);
    }
    mem_free(first);
    world_free(world);
}

/* --- long streams --- */

static void every_command_of_a_long_stream_may_differ(void **state)
{
    struct world *world = world_new();
    for (int at = 0; at < 600; at++)
        assert_int_equal(world_send(world, "long", "Add", at % 2 ? "{'amount':-3}" : "{'amount':4}"),
                         RECORD_COMMIT);
    /* Each gives one event too many, and the next is decided as if it had not. */
    struct sources *next = shop_with("return Added { amount = c.amount }",
                                     "return Added { amount = c.amount }, Added { amount = 100 }");
    struct model model = model_of(world, world->running, next);
    struct shadow *shadow = world_shadow(world, next, (struct shadow_options){0});
    assert_memory_equal(&model.commands, &shadow->total.commands, sizeof model.commands);
    assert_int_equal(shadow->total.commands.differs[SHADOW_OTHER_EVENTS], 600);
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

static void a_refusal_behind_its_events_leaves_none_of_them(void **state)
{
    struct world *world = world_new();
    world_use(world, shop_with("reject('rich', '%d already', state.total)",
                               "emit(Added { amount = 500 }) reject('rich', '%d already', state.total)"));
    for (int at = 0; at < 60; at++) {
        assert_int_equal(world_send(world, "a", "Add", "{'amount':2000}"), RECORD_REJECTED);
        assert_int_equal(world_send(world, "a", "Add", "{'amount':1}"), RECORD_COMMIT);
    }
    struct shadow *shadow =
        world_shadow(world,
                     shop_with("reject('rich', '%d already', state.total)",
                               "emit(Added { amount = 600 }) reject('rich', '%d', state.total)"),
                     (struct shadow_options){0});
    expect_commands(shadow, "120 120 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

/* --- calls that take long --- */

static void a_call_that_takes_long_is_repeated_exactly(void **state)
{
    struct world *world = world_new();
    for (int at = 0; at < 3; at++) {
        world_send(world, "a", "Add", "{'amount':5}");
        world_send(world, "a", "Touch", "{}");
    }
    world_fact(world, "a", "Added", 1, "{'amount':7}"); /* applied, and not by a decision */
    /* Within the budget, but longer than the watchdog waits; the events of before must not stay. */
    struct shadow *shadow =
        world_shadow(world,
                     shop_with("return Added { amount = c.amount }",
                               "emit(Added { amount = c.amount }) for _ = 1, 6000000 do end"),
                     (struct shadow_options){0});
    expect_commands(shadow, "6 6 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    shadow = world_shadow(
        world, shop_with("apply.Added(state, e)", "apply.Added(state, e) for _ = 1, 6000000 do end"),
        (struct shadow_options){0});
    expect_commands(shadow, "6 6 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    shadow = world_shadow(world,
                          shop_with("return Added { amount = c.amount }",
                                    "emit(Added { amount = c.amount }) for _ = 1, 60000000 do end"),
                          (struct shadow_options){0});
    expect_commands(shadow, "6 3 0 0, 0 0 0 0 3, 0");
    expect_text(shadow, "used more than 10000000 instructions in one call");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

/* --- not all of it --- */

static void only_what_has_events_since(void **state)
{
    struct world *world = world_new();
    world_send(world, "old", "Add", "{'amount':5}");
    world_send(world, "touched", "Add", "{'amount':5}");
    world_send(world, "refused", "Add", "{'amount':5}");
    world->clock.ms += 1000;
    int64_t since_ms = world->clock.ms;
    world_send(world, "refused", "Add", "{'amount':-50}");
    world_send(world, "touched", "Add", "{'amount':5}");
    world_send(world, "new", "Add", "{'amount':5}");
    world_send(world, "never", "Add", "{'amount':-5}");
    struct shadow *shadow =
        world_shadow(world, limits("0, 4"), (struct shadow_options){.since_ms = since_ms});
    assert_int_equal(shadow->total.streams, 4);
    assert_int_equal(shadow->total.older, 1);
    assert_int_equal(shadow->total.events, 4);
    expect_commands(shadow, "6 2 0 0, 4 0 0 0 0, 0");
    shadow_free(shadow);
    shadow = world_shadow(world, limits("0, 4"), (struct shadow_options){.since_ms = since_ms + 1});
    assert_int_equal(shadow->total.streams, 0);
    assert_int_equal(shadow->total.older, 5);
    shadow_free(shadow);
    world_free(world);
}

static void a_budget_leaves_streams_out(void **state)
{
    struct world *world = world_new();
    char id[16];
    for (int at = 0; at < 100; at++) {
        snprintf(id, sizeof id, "s%d", at);
        for (int time = 0; time < 20; time++) world_send(world, id, "Add", "{'amount':5}");
    }
    /* All of it would take minutes. */
    struct shadow_progress progress = {0};
    struct shadow *shadow = world_shadow(
        world, shop_with("apply.Added(state, e)", "apply.Added(state, e) for _ = 1, 9000000 do end"),
        (struct shadow_options){.budget_ms = 100, .part_streams = 10, .progress = &progress});
    assert_true(shadow->is_cut);
    assert_true(shadow->total.left_out > 0);
    assert_int_equal(shadow->total.streams + shadow->total.left_out, 100);
    assert_int_equal(atomic_load(&progress.streams_total), 100);
    shadow_free(shadow);
    world_free(world);
}

static void a_stop_ends_it(void **state)
{
    struct world *world = any_world(5, 200);
    atomic_bool stop = true;
    struct sources *next = limits("1, 2");
    struct shadow_options options = {.engine = world->engine,
                                     .running = {.sources = world->running},
                                     .next = {.sources = next},
                                     .stop = &stop};
    struct shadow *shadow;
    struct fault fault;
    assert_int_equal(shadow_run(&options, &shadow, &fault), -1);
    assert_int_equal(fault.code, FAULT_UNAVAILABLE);
    atomic_store(&stop, false);
    static const char *const broken[] = {"shop/account.lua", "x = = 1", NULL};
    options.running.sources = sources_of(broken);
    assert_int_equal(shadow_run(&options, &shadow, &fault), -1);
    assert_int_equal(fault.code, FAULT_SCRIPTS);
    sources_free((struct sources *)options.running.sources);
    sources_free(next);
    world_free(world);
}

static void what_comes_later_is_not_seen(void **state)
{
    /* Everything up to the head when it begins: the position is told. */
    struct world *world = any_world(6, 100);
    struct shadow *shadow = world_shadow(world, limits("1, 2"), (struct shadow_options){0});
    assert_int_equal(shadow->position, engine_head(world->engine).position);
    assert_int_equal(shadow->total.events, shadow->position);
    shadow_free(shadow);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_says_the_same),
        cmocka_unit_test(threads_and_passes_change_nothing),
        cmocka_unit_test(every_command_of_a_long_stream_may_differ),
        cmocka_unit_test(a_refusal_behind_its_events_leaves_none_of_them),
        cmocka_unit_test(a_call_that_takes_long_is_repeated_exactly),
        cmocka_unit_test(only_what_has_events_since),
        cmocka_unit_test(a_budget_leaves_streams_out),
        cmocka_unit_test(a_stop_ends_it),
        cmocka_unit_test(what_comes_later_is_not_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

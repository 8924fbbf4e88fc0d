/* scan.h: which events a filter finds, in parts as in one piece; and a crew that runs functions over them. */
#include "contract/engine_cases.h"

#include "run/scan.h"
#include "vm/seek_crew.h"
#include "vm/seek_run.h"
#include "vm/vm.h"

enum { COMMITS = 40, LONG_COMMITS = 60000 };

static struct fault fault;
static struct engine *engine;
static struct case_clock clock_now;
static struct arena arena;
static struct scan_host host;
static struct seek_source source;

/* Commits of one to three events of six streams of two tenants, under three deploys, a second apart. Event n
 * of a commit happened at 1000 + n ms (case_commit), the commit's number times a minute later. */
static void put_commit(int at)
{
    static const char *const tenants[] = {"acme", "beta"}, *const ids[] = {"1", "2", "3"};
    struct stream_id stream = case_stream(tenants[at % 2], ids[at / 2 % 3]);
    clock_now.now_ms = 1000 * (at + 1);
    if (at % 5 == 0) stream.aggregate = slice_of("mailing/mail");
    struct commit *commit =
        case_commit(&arena, stream, case_version(engine, stream, NULL), 1 + (size_t)at % 3, NULL);
    commit->deploy = 1 + (uint64_t)at / 15;
    if (at % 3 == 0) commit->actor = slice_of("bob");
    if (at % 7 == 0) commit->correlation_id = slice_of("order-17");
    for (size_t event = 0; event < commit->event_count; event++)
        ((struct commit_event *)commit->events)[event].at_ms += (int64_t)60000 * at;
    assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
}

static int make(void **state)
{
    clock_now = case_clock_of(0);
    struct engine_options options = {.clock = &clock_now.clock};
    if (engine_open_memory(&options, &engine, &fault) < 0) return -1;
    for (int at = 0; at < COMMITS; at++) put_commit(at);
    host = (struct scan_host){.engine = engine, .tenant = slice_of("acme"), .head = UINT64_MAX};
    source = scan_source(&host);
    return 0;
}

static int drop(void **state)
{
    engine_close(engine);
    arena_release(&arena);
    return 0;
}

/* Positions of what is found, as bits: there are fewer than 128. */
struct found {
    uint64_t bits[2];
    int count;
};

static void read_part(struct seek_scan *scan, uint64_t from, uint64_t to, struct found *found)
{
    struct seek_cursor *cursor;
    struct seek_hit hit;
    uint64_t position = from, before = 0;
    int more;
    assert_int_equal(source.open(scan, from, to, &cursor, &fault), 0);
    while ((more = source.next(cursor, &hit, &position, &fault)) > 0) {
        assert_true(hit.event.position > before && hit.event.position < 128 &&
                    position == hit.event.position + 1);
        before = hit.event.position;
        found->bits[before / 64] |= (uint64_t)1 << before % 64;
        found->count++;
    }
    assert_int_equal(more, 0);
    assert_true(position > to || position > scan->last);
    source.close(cursor);
}

static struct found find(const struct seek_filter *filter)
{
    struct seek_scan *scan;
    struct found whole = {0}, parts = {0};
    if (source.prepare(source.user, filter, &scan, &fault) < 0) fail_msg("%s", fault.text);
    if (scan->first <= scan->last) read_part(scan, scan->first, scan->last, &whole);
    for (uint64_t at = scan->first; at <= scan->last; at += 5) read_part(scan, at, at + 4, &parts);
    assert_memory_equal(&whole, &parts, sizeof whole);
    source.release(scan);
    return whole;
}

/* The same, looked at one by one. */
static struct found expect(bool (*fits)(const struct record *record, const struct record_event *event))
{
    struct engine_cursor *cursor;
    struct record record;
    struct found found = {0};
    assert_int_equal(engine_read(engine, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) > 0) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            if (!fits(&record, &event)) continue;
            found.bits[event.position / 64] |= (uint64_t)1 << event.position % 64;
            found.count++;
        }
    }
    engine_cursor_close(cursor);
    return found;
}

static bool is_of(const struct record *record, uint32_t number, const char *name)
{
    return slice_is(names_get(record->names, number), name);
}

static bool is_acme(const struct record *record, const struct record_event *event)
{
    return is_of(record, record->tenant, "acme");
}
static bool is_any(const struct record *record, const struct record_event *event)
{
    return true;
}
static bool is_line(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && is_of(record, event->type, "LineAdded");
}
static bool is_billing_touch(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && is_of(record, event->type, "BillTouched") &&
           is_of(record, record->aggregate, "billing/bill");
}
static bool is_mail(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && is_of(record, record->aggregate, "mailing/mail");
}
static bool is_bob(const struct record *record, const struct record_event *event)
{
    return is_of(record, record->tenant, "beta") && is_of(record, record->actor, "bob");
}
static bool is_second_deploy(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && record->deploy == 2;
}
static bool is_order(const struct record *record, const struct record_event *event)
{
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    return is_acme(record, event) && slice_is(ids.correlation_id, "order-17");
}
static bool is_between(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && event->at_ms >= 361001 && event->at_ms <= 600000;
}
static bool is_stream(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && is_of(record, record->aggregate, "billing/bill") &&
           slice_is(record->id, "2");
}
static bool is_inside(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && event->position >= 9 && event->position <= 41;
}
static bool is_recorded(const struct record *record, const struct record_event *event)
{
    return is_acme(record, event) && record->recorded_ms >= 10000 && record->recorded_ms <= 20000;
}
static bool is_nothing(const struct record *record, const struct record_event *event)
{
    return false;
}

#define TEXT(text)                                                                                           \
    {                                                                                                        \
        text, sizeof text - 1                                                                                \
    }

static void test_filters(void **state)
{
    static const struct slice line[] = {TEXT("LineAdded")};
    static const struct slice some[] = {TEXT("billing.BillTouched"), TEXT("mailing.Nothing")};
    static const struct slice other[] = {TEXT("mailing.LineRemoved")};
    static const struct {
        struct seek_filter filter;
        bool (*fits)(const struct record *record, const struct record_event *event);
    } cases[] = {
        {{0}, is_acme},
        {{.tenant = TEXT("*")}, is_any},
        {{.types = line, .type_count = 1}, is_line},
        {{.types = some, .type_count = 2}, is_billing_touch},
        {{.types = other, .type_count = 1}, is_nothing},
        {{.context = TEXT("mailing")}, is_mail},
        {{.aggregate = TEXT("mailing/mail")}, is_mail},
        {{.aggregate = TEXT("mail")}, is_mail},
        {{.aggregate = TEXT("ail")}, is_nothing},
        {{.context = TEXT("mail")}, is_nothing},
        {{.tenant = TEXT("beta"), .actor = TEXT("bob")}, is_bob},
        {{.actor = TEXT("nobody")}, is_nothing},
        {{.tenant = TEXT("gone")}, is_nothing},
        {{.deploy = 2, .has_deploy = true}, is_second_deploy},
        {{.correlation = TEXT("order-17")}, is_order},
        {{.correlation = TEXT("order")}, is_nothing},
        {{.since = TEXT("1970-01-01T00:06:01.001Z"), .until = TEXT("1970-01-01T00:10:00Z")}, is_between},
        {{.stream = TEXT("billing/bill/2")}, is_stream},
        {{.stream = TEXT("billing/bill/9")}, is_nothing},
        {{.from = TEXT("9"), .upto = TEXT("41")}, is_inside},
        {{.from = TEXT("1970-01-01T00:00:10Z"), .upto = TEXT("1970-01-01T00:00:20Z")}, is_recorded},
        {{.from = TEXT("1000")}, is_nothing}};
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        struct found found = find(&cases[at].filter), expected = expect(cases[at].fits);
        if (memcmp(&found, &expected, sizeof found) != 0)
            fail_msg("case %zu: %d found, %d expected", at, found.count, expected.count);
        assert_true(expected.count > 0 || cases[at].fits == is_nothing);
    }
}

static void test_last_and_one(void **state)
{
    struct found all = expect(is_line);
    for (uint64_t wanted = 1; wanted < 12; wanted++) {
        static const struct slice line[] = {TEXT("LineAdded")};
        struct found found = find(&(struct seek_filter){.types = line, .type_count = 1, .last = wanted});
        assert_int_equal(found.count, wanted < (uint64_t)all.count ? (int)wanted : all.count);
        for (int at = 127; found.count > 0; at--) {
            bool in = found.bits[at / 64] >> at % 64 & 1, fits = all.bits[at / 64] >> at % 64 & 1;
            assert_int_equal(in, fits);
            found.count -= in;
        }
    }
    struct found found = find(&(struct seek_filter){.stream = TEXT("billing/bill/2"), .last = 1});
    assert_int_equal(found.count, 1);
    found = find(&(struct seek_filter){.tenant = TEXT("*"), .position = 33});
    assert_true(found.count == 1 && found.bits[0] == (uint64_t)1 << 33);
    assert_int_equal(find(&(struct seek_filter){.tenant = TEXT("*"), .position = 1000}).count, 0);
    assert_int_equal(find(&(struct seek_filter){.position = 33, .from = TEXT("34")}).count, 0);
}

static void expect_malformed(const struct seek_filter *filter, const char *what)
{
    struct seek_scan *scan;
    fault.code = FAULT_NONE;
    if (source.prepare(source.user, filter, &scan, &fault) == 0) fail_msg("no error: %s", what);
    assert_int_equal(fault.code, FAULT_MALFORMED);
    if (!strstr(fault.text, what)) fail_msg("%s", fault.text);
}

static void test_what_is_no_filter(void **state)
{
    expect_malformed(&(struct seek_filter){.since = TEXT("soon")}, "since: soon is no time");
    expect_malformed(&(struct seek_filter){.from = TEXT("soon")}, "no moment");
    expect_malformed(&(struct seek_filter){.stream = TEXT("billing")}, "billing");
    expect_malformed(&(struct seek_filter){.stream = TEXT("a/b/c"), .tenant = TEXT("*")}, "of which tenant");
}

/* A query ends where the log ended when it began, or where the session's moment is. */
static void test_heads(void **state)
{
    struct seek_scan *scan;
    struct found found = {0};
    uint64_t head = engine_head(engine).position;
    assert_int_equal(source.prepare(source.user, &(struct seek_filter){.tenant = TEXT("*")}, &scan, &fault),
                     0);
    put_commit(COMMITS);
    assert_int_equal(scan->last, head);
    read_part(scan, 1, UINT64_MAX, &found);
    assert_int_equal(found.count, (int)head);
    source.release(scan);
    host.head = 10;
    assert_int_equal(find(&(struct seek_filter){.tenant = TEXT("*")}).count, 10);
    atomic_bool cancelled = true;
    host.cancelled = &cancelled;
    assert_int_equal(source.prepare(source.user, &(struct seek_filter){.last = 3}, &scan, &fault), -1);
    assert_int_equal(fault.code, FAULT_CANCELLED);
}

static void test_one_event(void **state)
{
    struct buf bytes = {0};
    struct record record;
    assert_int_equal(source.get(source.user, 12, &bytes, &record, &fault), 1);
    assert_true(record.first_position <= 12 && 12 < record.first_position + record.event_count);
    assert_int_equal(source.get(source.user, 100000, &bytes, &record, &fault), 0);
    buf_release(&bytes);
}

/* --- crews --- */

struct crew_case {
    const char *where, *group;
    enum seek_end end;
    bool in_order; /* a stage behind where takes rows in order */
    struct seek_crew *crew;
    struct seek_program program;
    struct seek_scan *scan;
    enum seek_crew_state state;
    bool started;
};

static struct seek_function function_of(lua_State *lua, const char *text)
{
    struct seek_function function = {.kind = SEEK_LUA};
    luaL_loadstring(lua, text);
    lua_rawgeti(lua, 1, 1);
    lua_setupvalue(lua, -2, 1);
    lua_call(lua, 0, 1);
    function.ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return function;
}

/* Argument 1: a light pointer to the case. */
static int run_case(lua_State *lua)
{
    struct crew_case *one = lua_touserdata(lua, 1);
    struct seek_program *program = &one->program;
    struct seek_filter filter = {.tenant = TEXT("*")};
    lua_settop(lua, 0);
    lua_createtable(lua, 1, 0);
    lua_newtable(lua); /* the globals: those of the sandbox */
    lua_newtable(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
    lua_rawseti(lua, 1, 1);
    seek_program_open(program, lua, seek_reader_push(lua, &source));
    program->memory_max = vm_of(lua)->memory_max;
    struct seek_function where = function_of(lua, one->where), group = function_of(lua, one->group);
    seek_program_add(program, SEEK_WHERE)->function = where;
    if (one->in_order) seek_program_add(program, SEEK_SKIP)->count = 3;
    program->group = group;
    program->has_end = true;
    program->plan = (struct seek_plan){.end = one->end, .limit = 5};
    assert_int_equal(source.prepare(source.user, &filter, &one->scan, &fault), 0);
    seek_program_begin(program);
    lua_rawgeti(lua, 1, 1);
    one->started = seek_crew_start(program, lua_gettop(lua), &source, one->scan, 1, &one->crew);
    if (!one->started) return 0;
    while ((one->state = seek_crew_wait(one->crew, 10)) == SEEK_CREW_WORKS || one->state == SEEK_CREW_ROWS)
        if (one->state == SEEK_CREW_ROWS) seek_crew_take(one->crew);
    if (one->state == SEEK_CREW_DONE) assert_int_equal(seek_crew_merge(one->crew, &fault), 0);
    seek_program_end(program);
    return 0;
}

/* Every position's last digit is a group. */
static void expect_case(struct crew_case *one, enum seek_crew_state state)
{
    struct vm_options options = {0};
    struct vm *vm = vm_new(&options);
    uint64_t head = engine_head(engine).position, total = 0;
    if (vm_protected(vm, run_case, one, &fault) < 0) fail_msg("%s", fault.text);
    if (!one->started) skip(); /* one processor: nobody calls a crew */
    assert_int_equal(one->state, state);
    for (const struct seek_group *group = one->program.fold.first; group; group = group->next)
        total += group->count;
    if (state == SEEK_CREW_DONE && one->end == SEEK_COUNT)
        assert_int_equal(total, one->in_order ? head - 3 : head);
    if (state == SEEK_CREW_DONE && one->end == SEEK_LAST) {
        const struct seek_group *group = seek_fold_group(&one->program.fold, slice_of("0"));
        assert_int_equal(group->state->items.count, 1);
        assert_int_equal(group->state->items.items[0]->order, head / 10 * 10);
    }
    if (state == SEEK_CREW_DONE) assert_int_equal(one->program.fold.groups.size, 10);
    if (state == SEEK_CREW_GAVE_UP && !one->in_order) assert_int_equal(seek_crew_position(one->crew), 1);
    if (state == SEEK_CREW_GAVE_UP && one->in_order)
        assert_int_equal(total, seek_crew_position(one->crew) - 1 - 3);
    seek_crew_free(one->crew);
    seek_program_close(&one->program);
    source.release(one->scan);
    vm_free(vm);
}

static void test_crews(void **state)
{
    static const char all[] = "return function(e) return e.position > 0 end";
    static const char digit[] = "return function(e) return e.position % 10 end";
    for (int at = 0; at < LONG_COMMITS; at++) put_commit(COMMITS + 1 + at);
    expect_case(&(struct crew_case){.where = all, .group = digit}, SEEK_CREW_DONE);
    expect_case(&(struct crew_case){.where = all, .group = digit, .end = SEEK_LAST}, SEEK_CREW_DONE);
    expect_case(&(struct crew_case){.where = all, .group = digit, .in_order = true}, SEEK_CREW_DONE);
    expect_case(&(struct crew_case){.where = all, .group = digit, .end = SEEK_LAST, .in_order = true},
                SEEK_CREW_DONE);
    expect_case(&(struct crew_case){.where = "local n = 0 return function(e) n = n + 1 return true end",
                                    .group = digit},
                SEEK_CREW_GAVE_UP);
    expect_case(&(struct crew_case){.where = "return function(e) return e.data.none.at end", .group = digit},
                SEEK_CREW_GAVE_UP);
    expect_case(&(struct crew_case){.where = "return function(e) return e.position < 70000 or error 'no' end",
                                    .group = digit,
                                    .in_order = true},
                SEEK_CREW_GAVE_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_filters, make, drop),
                                       cmocka_unit_test_setup_teardown(test_last_and_one, make, drop),
                                       cmocka_unit_test_setup_teardown(test_what_is_no_filter, make, drop),
                                       cmocka_unit_test_setup_teardown(test_heads, make, drop),
                                       cmocka_unit_test_setup_teardown(test_one_event, make, drop),
                                       cmocka_unit_test_setup_teardown(test_crews, make, drop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

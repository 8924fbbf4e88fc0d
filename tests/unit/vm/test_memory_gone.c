/* The machine has no memory left from the nth allocation on, for every n of a complete command and of
 * complete projections: the fault is the machine's, never the script's, and once there is memory again the
 * same call gives what it always gives. */
#include "domain_support.h"

#include "base/buf.h"
#include "base/faultpoint.h"
#include "base/say.h"

static const char *const scripts[] = {
    "shop/contracts.lua",
    "contracts [[\n let row = (text: string)\n Fill? (n: integer, at: time, price: decimal)\n"
    " Filled! (n: integer, at: time, rows: row[], price: decimal)\n]]",
    "shop/box.lua",
    "local box = aggregate 'box' { initial = { sum = 0, list = list {} } }\n"
    "function box.apply.Filled(s, e) s.sum = s.sum + e.n s.list[#s.list + 1] = { at = e.at, price = e.price "
    "} end\n"
    "function box.execute.Fill(s, c, m)\n"
    "  local ok = pcall(function() return ('x'):rep(2000) .. m.id end)\n"
    "  local rows = {} for n = 1, c.n do rows[n] = { text = string.format('%d of %s', n, m.id) } end\n"
    "  emit(Filled { n = c.n, at = c.at, rows = rows, price = c.price * 2 })\n"
    "  return Filled { n = s.sum, at = c.at, rows = rows, price = c.price }\n"
    "end\n",
    "shop/boxes.lua",
    "local boxes = projection 'boxes' { initial = { n = 0, rows = list {} }, index = { 'n' } }\n"
    "function boxes.when.Filled(v, e) v.n = v.n + e.n v.rows[#v.rows + 1] = e.rows[1].text .. e.at end\n",
    "shop/sums.lua",
    "local sums = projection 'sums' { key = false }\n"
    "function sums.when.Filled(docs, e)\n"
    "  for n = 1, 3 do docs:update('k' .. n, { sum = 0 }, function(d) d.sum, d[e.rows[1].text] = d.sum + "
    "e.n, {} end) "
    "end\nend\n",
    NULL};

static const char command_json[] = "{'n':3,'at':'2026-01-01T00:00:00Z','price':'1.50'}";
static const char event_json[] =
    "{'n':3,'at':'2026-01-01T00:00:00.000Z','price':'1.50','rows':[{'text':'1 of a'},{'text':'2 of a'}]}";

/* No memory from the nth allocation on; until memory_is_back. */
static void memory_ends(unsigned long n)
{
    char text[64];
    struct fault fault;
    fault_points_disarm();
    snprintf(text, sizeof text, "lua.memory@%lu+=ENOMEM", n);
    assert_int_equal(fault_points_arm(text, &fault), 0);
}

/* Whether it was missed. */
static bool memory_is_back(unsigned long n)
{
    bool missed = fault_point_passed(POINT_LUA_MEMORY) >= n;
    fault_points_disarm();
    return missed;
}

static int execute(struct domain *domain, struct domain_state *state, struct buf *told, struct fault *fault)
{
    struct arena arena = {0};
    struct decision decision = {0};
    bool touched = false;
    struct envelope envelope = envelope_of("shop", "box", "a", "Fill");
    int done = domain_execute(domain, state, &envelope, mp_of(command_json), false, &arena, &decision,
                              &touched, fault);
    buf_clear(told);
    for (size_t at = 0; done == 0 && at < decision.event_count; at++) {
        buf_put_slice(told, decision.events[at].type);
        buf_put_slice(told, decision.events[at].data);
    }
    if (done == 0) done = domain_state_encode(domain, state, told, fault);
    arena_release(&arena);
    return done;
}

static void commands(void **state)
{
    for (int exact = 0; exact < 2; exact++) {
        struct domain *domain = open_domain(scripts);
        struct buf expected = {0}, told = {0};
        struct domain_state *box = domain_state_new(domain, 0);
        domain_set_exact(domain, exact);
        if (execute(domain, box, &expected, &test_fault) < 0) fail_msg("%s", test_fault.text);
        domain_state_free(domain, box);
        bool missed = true;
        for (unsigned long n = 1; missed; n++) {
            struct fault fault = {0};
            box = domain_state_new(domain, 0);
            memory_ends(n);
            int done = execute(domain, box, &told, &fault);
            missed = memory_is_back(n);
            if (done < 0 && (!missed || fault.code != FAULT_UNAVAILABLE))
                fail_msg("%lu: %s: %s", n, fault_name(fault.code), fault.text);
            domain_state_free(domain, box);
            box = domain_state_new(domain, 0);
            if (execute(domain, box, &told, &fault) < 0) fail_msg("after %lu: %s", n, fault.text);
            assert_true(slice_equal(buf_slice(&told), buf_slice(&expected)));
            domain_state_free(domain, box);
            if (!missed) assert_true(n > 50);
        }
        buf_release(&expected);
        buf_release(&told);
        close_domain(domain);
    }
}

static int load(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    return 0;
}

static int put(void *user, struct slice key, struct slice value, struct fault *fault)
{
    buf_put_slice(user, key);
    buf_put_slice(user, value);
    return 0;
}

/* Two events and a flush, with drafts of its own. */
static int project(struct domain *domain, const char *name, struct buf *told, struct fault *fault)
{
    struct drafts_options options = {.projection = domain_find_projection(domain, slice_of(name)),
                                     .tenant = slice_of("main"),
                                     .load = load};
    struct drafts *drafts = drafts_new(domain, &options);
    enum drafts_failure failure = DRAFTS_NONE;
    struct buf key = {0};
    int done = 0;
    buf_clear(told);
    for (uint64_t position = 1; position <= 2 && done == 0; position++) {
        struct envelope envelope = envelope_of("shop", "box", "a", "Filled");
        envelope.position = envelope.version = position;
        envelope.recorded_ms = envelope.at_ms;
        done = drafts_fold(drafts, drafts_handler(drafts, envelope.context, envelope.type), &envelope,
                           mp_of(event_json), &failure, &key, fault);
    }
    if (done == 0) done = drafts_flush(drafts, put, told, &failure, &key, fault);
    if (done < 0 && (failure == DRAFTS_KEY || failure == DRAFTS_STOPPED))
        fail_msg("the script is blamed: %s", fault->text);
    buf_release(&key);
    drafts_free(drafts);
    return done;
}

static void projections(void **state)
{
    static const char *const names[] = {"shop/boxes", "shop/sums"};
    for (int way = 0; way < 4; way++) {
        struct domain *domain = open_domain(scripts);
        struct buf expected = {0}, told = {0};
        domain_set_exact(domain, way / 2);
        if (project(domain, names[way % 2], &expected, &test_fault) < 0) fail_msg("%s", test_fault.text);
        bool missed = true;
        for (unsigned long n = 1; missed; n++) {
            struct fault fault = {0};
            memory_ends(n);
            int done = project(domain, names[way % 2], &told, &fault);
            missed = memory_is_back(n);
            if (done < 0 && (!missed || fault.code != FAULT_UNAVAILABLE))
                fail_msg("%s, %lu: %s: %s", names[way % 2], n, fault_name(fault.code), fault.text);
            if (project(domain, names[way % 2], &told, &fault) < 0) fail_msg("after %lu: %s", n, fault.text);
            assert_true(slice_equal(buf_slice(&told), buf_slice(&expected)));
            if (!missed) assert_true(n > 20);
        }
        buf_release(&expected);
        buf_release(&told);
        close_domain(domain);
    }
}

int main(void)
{
    say_set_level(SAY_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(commands), cmocka_unit_test(projections)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

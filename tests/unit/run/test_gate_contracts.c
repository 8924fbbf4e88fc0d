/* New contracts over events that are stored, and the way back: verdicts by example, counts against a naive
 * recount of random events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/say.h"
#include "codec/json.h"
#include "run/gate_contracts.h"

static struct engine *engine;
static struct arena arena;
static struct fault fault;
static struct gate_contracts_counts counts;
static uint64_t versions;

static int make(void **state)
{
    say_set_level(SAY_ERROR);
    domain_thread_start();
    versions = 0;
    return engine_open_memory(&(struct engine_options){0}, &engine, &fault);
}

static int unmake(void **state)
{
    engine_close(engine);
    arena_release(&arena);
    domain_thread_stop();
    return 0;
}

static struct slice quoted(const char *json)
{
    struct slice kept = arena_copy(&arena, slice_of(json));
    for (char *at = (char *)(uintptr_t)kept.data; *at; at++)
        if (*at == '\'') *at = '"';
    return kept;
}

static struct slice mp_of(const char *json)
{
    struct buf out = {0};
    if (json_to_mp(quoted(json), &out, &fault) < 0) fail_msg("%s: %s", json, fault.text);
    struct slice kept = arena_copy(&arena, buf_slice(&out));
    buf_release(&out);
    return kept;
}

static void store_data(const char *type, uint32_t version, struct slice data)
{
    struct commit_event event = {slice_of(type), version, 1767225600000, data};
    struct commit commit = {.kind = RECORD_FACT,
                            .tenant = slice_of("main"),
                            .aggregate = slice_of("shop/order"),
                            .id = slice_of("7"),
                            .first_version = ++versions,
                            .events = &event,
                            .event_count = 1};
    struct append append = {.commit = &commit};
    if (engine_append(engine, &append, 1, &fault) < 0) fail_msg("%s", fault.text);
    assert_int_equal(append.outcome, APPEND_APPENDED);
}

static void store(const char *type, uint32_t version, const char *json)
{
    store_data(type, version, mp_of(json));
}

/* --- domains --- */

struct loaded {
    struct sources *sources;
    struct domain *domain;
};

static struct loaded load(const char *contracts, const char *order)
{
    const char *const files[] = {"shop/contracts.lua", contracts, "shop/order.lua", order, NULL};
    struct loaded loaded = {.sources = sources_of(files)};
    struct domain_options options = {.sources = loaded.sources};
    struct buf errors = {0};
    if (domain_open(&options, &loaded.domain, &errors, &fault) < 0)
        fail_msg("%.*s", SLICE_ARGS(buf_slice(&errors)));
    buf_release(&errors);
    return loaded;
}

static void unload(struct loaded *loaded)
{
    domain_close(loaded->domain);
    if (loaded->sources) sources_free(loaded->sources);
}

static const char plain[] = "local order = aggregate 'order' {}\n"
                            "function order.apply.Placed(state, e) state.sum = e.sum end\n";
static const char nothing[] = "aggregate 'order' {}\n";

static struct shapes *shapes_now(void)
{
    struct shapes *shapes;
    if (shapes_of_log(engine, NULL, NULL, &shapes, &fault) < 0) fail_msg("%s", fault.text);
    return shapes;
}

/* running NULL: the first deploy. The report with ' for ". */
static const char *gate(const char *fresh, const char *order, const char *running, const char *running_order)
{
    struct loaded now = load(fresh, order), before = {0};
    if (running) before = load(running, running_order);
    struct gate_contracts options = {
        .engine = engine, .shapes = shapes_now(), .fresh = now.domain, .running = before.domain};
    struct buf json = {0}, mp = {0};
    buf_put_byte(&json, '{');
    if (gate_contracts(&options, &json, &counts, &fault) < 0) fail_msg("%s", fault.text);
    buf_put_byte(&json, '}');
    if (json_to_mp(buf_slice(&json), &mp, &fault) < 0) fail_msg("%.*s", SLICE_ARGS(buf_slice(&json)));
    struct slice kept = arena_copy(&arena, buf_slice(&json));
    for (char *at = (char *)(uintptr_t)kept.data; *at; at++)
        if (*at == '"') *at = '\'';
    buf_release(&json);
    buf_release(&mp);
    shapes_free(options.shapes);
    unload(&now);
    unload(&before);
    return kept.data;
}

static const char *first(const char *fresh)
{
    return gate(fresh, plain, NULL, NULL);
}

#define assert_has(text, part)                                                                               \
    do {                                                                                                     \
        if (!strstr((text), (part))) fail_msg("'%s' not in %s", (part), (text));                             \
    } while (0)

static void assert_counts(uint64_t breaks, uint64_t loses, uint64_t fine, uint64_t back)
{
    assert_int_equal(counts.breaks, breaks);
    assert_int_equal(counts.loses, loses);
    assert_int_equal(counts.fine, fine);
    assert_int_equal(counts.back, back);
}

/* --- what is stored --- */

static void test_fine(void **state)
{
    store("Placed", 1, "{'sum':1,'who':'ann'}");
    store("Placed", 1, "{'sum':2}");
    store("Shipped", 1, "{}");
    const char *report = first("contracts [[ Placed! (sum: integer, who: string?)\nShipped! ]]");
    assert_string_equal(report,
                        "{'contracts':[{'event':'shop.Placed','version':1,'events':2,'verdict':'fine'},"
                        "{'event':'shop.Shipped','version':1,'events':1,'verdict':'fine'}],'back':[]}");
    assert_counts(0, 0, 2, 0);
}

static void test_empty_log(void **state)
{
    assert_string_equal(first("contracts [[ Placed! (sum: integer) ]]"), "{'contracts':[],'back':[]}");
}

static void test_needed_field(void **state)
{
    store("Placed", 1, "{'sum':1,'who':'ann'}");
    store("Placed", 1, "{'sum':2}");
    store("Placed", 1, "{'sum':3}");
    const char *report = first("contracts [[ Placed! (sum: integer, who: string) ]]");
    assert_string_equal(
        report, "{'contracts':[{'event':'shop.Placed','version':1,'events':2,'verdict':'breaks','error':"
                "'Placed.who: expected string, got nothing','position':2,'stream':'main/shop/order/7',"
                "'example':{'sum':2}}],'back':[]}");
    assert_counts(1, 0, 0, 0);
    assert_int_equal(counts.breaks_events, 2);
}

static void test_dropped_field(void **state)
{
    store("Placed", 1, "{'sum':1}");
    store("Placed", 1, "{'sum':1,'who':'ann'}");
    store("Placed", 1, "{'sum':2,'who':{'first':'bob'}}");
    const char *report = first("contracts [[ Placed! (sum: integer) ]]");
    assert_has(report, "'events':2,'verdict':'loses','error':'the contract does not have it',"
                       "'field':'who','position':2,");
    assert_counts(0, 1, 0, 0);
    assert_int_equal(counts.loses_events, 2);
}

static void test_inside(void **state)
{
    store("Placed", 1, "{'lines':[{'sku':'a','n':1},{'sku':'b'}],'rates':{'EUR':{'x':1,'y':2}}}");
    const char *report = first("contracts [[ let line = (n: integer?) let rate = (x: integer)\n"
                               "Placed! (lines: line[], rates: {string: rate}) ]]");
    assert_has(report, "'field':'lines[].sku'");
    assert_has(report, "'field':'rates{}.y'");
    assert_counts(0, 2, 0, 0);
    first("contracts [[ Placed! (lines: any, rates: any) ]]");
    assert_counts(0, 0, 1, 0);
    report =
        first("contracts [[ let line = (n: integer, sku: string) Placed! (lines: line[], rates: any) ]]");
    assert_has(report, "'error':'Placed.lines[2].n: expected integer, got nothing'");
    assert_counts(1, 0, 0, 0);
}

/* Handlers get an event of the current version as it is stored, so a type that only normalises is a break. */
static void test_changed_type(void **state)
{
    store("Placed", 1, "{'sum':'1.20'}");
    const char *report = first("contracts [[ Placed! (sum: decimal) ]]");
    assert_has(report, "'verdict':'breaks','error':'stored as text, the contract says decimal, and handlers "
                       "get what is stored','field':'sum'");
    assert_counts(1, 0, 0, 0);
    report = first("contracts [[ Placed! (sum: integer) ]]");
    assert_has(report, "'error':'Placed.sum: expected integer, got string'");
    assert_counts(1, 0, 0, 0);
    /* Where nothing handles it, nothing breaks. */
    gate("contracts [[ Placed! (sum: integer) ]]", nothing, NULL, NULL);
    assert_counts(0, 1, 0, 0);
    first("contracts [[ Placed! (sum: any) ]]");
    assert_counts(0, 0, 1, 0);
}

static void test_value(void **state)
{
    store("Placed", 1, "{'at':'2026-02-01T08:26:00.000Z'}");
    store("Placed", 1, "{'at':'2026-99-01T08:26:00.000Z'}");
    const char *report = first("contracts [[ Placed! (at: time) ]]");
    assert_has(report, "'events':2,'verdict':'breaks','error':'Placed.at: expected time, got \\'2026-99-01T08"
                       ":26:00.000Z\\' (not all of this form: it is the value)','position':2,");
    assert_counts(1, 0, 0, 0);
}

static const char version_2[] = "contracts [[ Placed!2 (total: decimal, who: string?) ]]\n"
                                "function upcast.Placed.v1(e)\n"
                                "  return Placed { total = e.sum + decimal '0', who = e.who }\n"
                                "end\n";

static void test_upcast(void **state)
{
    store("Placed", 1, "{'sum':5,'who':'ann'}");
    store("Placed", 1, "{'sum':5}");
    const char *report = first(version_2);
    assert_has(report, "'version':1,'events':2,'verdict':'fine','error':'an upcaster makes something else of "
                       "it','field':'sum'}]");
    assert_counts(0, 0, 1, 0);
    /* One form of events that the upcaster does not bear. */
    store("Placed", 1, "{'who':'bob'}");
    report = first(version_2);
    assert_has(report, "'events':1,'verdict':'breaks','error':'shop/contracts.lua:3: ");
    assert_has(report, "'position':3,");
    assert_counts(1, 0, 1, 0);
    /* One that leaves what the contract does not have. */
    report = first("contracts [[ Placed!2 (sum: integer?) ]]\n"
                   "function upcast.Placed.v1(e) return e end\n");
    assert_has(report, "'error':'Placed.who: unknown field'");
    assert_int_equal(counts.breaks, 1);
    assert_int_equal(counts.breaks_events, 2);
}

static void test_endless_upcaster(void **state)
{
    store("Placed", 1, "{'sum':5}");
    const char *report = first("contracts [[ Placed!2 (sum: integer) ]]\n"
                               "function upcast.Placed.v1(e) while true do end end\n");
    assert_has(report, "'verdict':'breaks','error':'shop/contracts.lua:2: ");
    assert_counts(1, 0, 0, 0);
}

static void test_lower_version(void **state)
{
    store("Placed", 2, "{'sum':5}");
    const char *report = first("contracts [[ Placed! (sum: integer) ]]");
    assert_has(report, "'version':2,'events':1,'verdict':'breaks'");
    assert_has(report, "has version 2, the contract only knows versions up to 1");
}

static void test_removed_type(void **state)
{
    static const char old[] = "contracts [[ Placed! (sum: integer)\nGone! ]]";
    store("Gone", 1, "{}");
    store("Gone", 1, "{}");
    store("Placed", 1, "{'sum':1}");
    const char *report = gate("contracts [[ Placed! (sum: integer) ]]", plain, old, plain);
    assert_has(report, "{'event':'shop.Gone','version':1,'events':2,'verdict':'loses','error':'context shop "
                       "has no event Gone','position':1,");
    assert_counts(0, 1, 1, 0);
    /* It is gone already. */
    report = gate("contracts [[ Placed! (sum: integer) ]]", plain, "contracts [[ Placed! (sum: integer) ]]",
                  plain);
    assert_has(report, "'error':'context shop has no event Gone','before':true,'position':1");
    assert_counts(0, 0, 1, 0);
}

static void test_no_handler_any_more(void **state)
{
    static const char contracts[] = "contracts [[ Placed! (sum: integer) ]]";
    store("Placed", 1, "{'sum':1}");
    const char *report = gate(contracts, nothing, contracts, plain);
    assert_has(report, "'verdict':'loses','error':'nothing handles it any more'");
    assert_counts(0, 1, 0, 0);
    gate(contracts, nothing, contracts, nothing);
    assert_counts(0, 0, 1, 0);
}

static void test_as_before(void **state)
{
    static const char contracts[] = "contracts [[ Placed! (sum: integer, who: string) ]]";
    store("Placed", 1, "{'sum':1}");
    const char *report = gate(contracts, plain, contracts, plain);
    assert_has(report, "'verdict':'breaks'");
    assert_has(report, "'before':true");
    assert_counts(0, 0, 0, 0);
}

/* An error that only moves is the same; another one of the same event is not. */
static void test_not_as_before(void **state)
{
    store("Placed", 1, "{'sum':1}");
    const char *report = gate("contracts [[ Placed! (sum: integer, what: string) ]]", plain,
                              "contracts [[ Placed! (sum: integer, who: string) ]]", plain);
    assert_null(strstr(report, "'before'"));
    assert_counts(1, 0, 0, 1 + 1);
    report = gate("\n\ncontracts [[ Placed!2 (sum: integer) ]]\n"
                  "function upcast.Placed.v1(e) error('no') end\n",
                  plain,
                  "contracts [[ Placed!2 (sum: integer) ]]\n"
                  "function upcast.Placed.v1(e) error('no') end\n",
                  plain);
    assert_has(report, "'error':'shop/contracts.lua:4: no','before':true");
    assert_counts(0, 0, 0, 0);
}

static void test_stop(void **state)
{
    atomic_bool stop = true;
    store("Placed", 1, "{'sum':1}");
    struct loaded now = load("contracts [[ Placed! (sum: integer) ]]", plain);
    struct gate_contracts options = {
        .engine = engine, .shapes = shapes_now(), .fresh = now.domain, .stop = &stop};
    struct buf json = {0};
    assert_int_equal(gate_contracts(&options, &json, &counts, &fault), -1);
    assert_int_equal(fault.code, FAULT_UNAVAILABLE);
    buf_release(&json);
    shapes_free(options.shapes);
    unload(&now);
}

/* --- random events with more shapes than are kept, one field removed --- */

static uint64_t seed = 3;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

static void test_random(void **state)
{
    enum { FIELDS = 9, EVENTS = 3000 };
    for (int round = 0; round < 3; round++) {
        uint64_t with[FIELDS] = {0};
        engine_close(engine);
        assert_int_equal(make(NULL), 0);
        for (int at = 0; at < EVENTS; at++) {
            struct buf json = {0};
            buf_put_byte(&json, '{');
            bool comma = false;
            for (unsigned field = 0; field < FIELDS; field++) {
                if (draw(2)) continue;
                buf_format(&json, "%s'f%u':%s", comma ? "," : "", field, draw(2) ? "1" : "'x'");
                comma = true;
                with[field]++;
            }
            buf_put(&json, "}", 2);
            store("Placed", 1, json.data);
            buf_release(&json);
        }
        unsigned gone = draw(FIELDS);
        struct buf contracts = {0};
        buf_put_text(&contracts, "contracts [[ Placed! (sum: integer?");
        for (unsigned field = 0; field < FIELDS; field++)
            if (field != gone) buf_format(&contracts, ", f%u: any?", field);
        buf_put(&contracts, ") ]]", 5);
        char expected[200];
        snprintf(expected, sizeof expected,
                 "'events':%llu,'verdict':'loses','error':'the contract does not have it','field':'f%u'",
                 (unsigned long long)with[gone], gone);
        const char *report = first(contracts.data);
        if (!strstr(report, expected)) fail_msg("%s not in %s", expected, report);
        struct shapes *shapes = shapes_now();
        assert_in_range(shapes_at(shapes, 0)->beyond, 1, EVENTS);
        shapes_free(shapes);
        assert_counts(0, 1, 0, 0);
        buf_release(&contracts);
    }
}

/* --- the way back --- */

static void assert_back(const char *fresh, const char *running, const char *expected)
{
    const char *report = gate(fresh, nothing, running, nothing);
    char text[1000];
    snprintf(text, sizeof text, "{'contracts':[],'back':[%s]}", expected);
    if (strcmp(report, text) != 0) fail_msg("%s\n%s", report, text);
}

static void test_back(void **state)
{
    assert_back("contracts [[ A! (x: integer, y: string?) ]]", "contracts [[ A! (x: integer, y: string?) ]]",
                "");
    assert_back("contracts [[ A!\nB! ]]", "contracts [[ A! ]]",
                "{'event':'shop.B','version':1,'reason':'the running version has no such event and passes "
                "over it'}");
    assert_back("contracts [[ A!2 (x: integer) ]] function upcast.A.v1(e) e.x = 1 return e end",
                "contracts [[ A! ]]",
                "{'event':'shop.A','version':2,'reason':'the running version reads it up to version 1'}");
    /* The other way round it reads all: it has the upcasters. */
    assert_back("contracts [[ A! ]]",
                "contracts [[ A!2 (x: integer) ]] function upcast.A.v1(e) e.x = 1 return e end", "");
}

static void test_back_fields(void **state)
{
    assert_back("contracts [[ let l = (n: integer, m: string)\nA! (x: integer, l: l[]) ]]",
                "contracts [[ let l = (n: integer)\nA! (x: string, l: l[]) ]]",
                "{'event':'shop.A','version':1,'reason':'x is integer, for the running version it is "
                "string'},{'event':'shop.A','version':1,'reason':'the running version does not know "
                "l[].m'}");
    assert_back("contracts [[ A! (y: string?) ]]",
                "contracts [[ let r = (a: string)\nA! (x: r, y: string) ]]",
                "{'event':'shop.A','version':1,'reason':'the running version needs x, which may be "
                "missing'},{'event':'shop.A','version':1,'reason':'the running version needs y, which may be "
                "missing'}");
    assert_back("contracts [[ let q = (q: integer)\nA! (i: integer, t: time, a: q[], o: string) ]]",
                "contracts [[ A! (i: number, t: string, a: any, o: string?) ]]", "");
    assert_back("contracts [[ A! (a: any) ]]", "contracts [[ let q = (q: integer)\nA! (a: q) ]]",
                "{'event':'shop.A','version':1,'reason':'a is any, for the running version it is record'}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fine, make, unmake),
        cmocka_unit_test_setup_teardown(test_empty_log, make, unmake),
        cmocka_unit_test_setup_teardown(test_needed_field, make, unmake),
        cmocka_unit_test_setup_teardown(test_dropped_field, make, unmake),
        cmocka_unit_test_setup_teardown(test_inside, make, unmake),
        cmocka_unit_test_setup_teardown(test_changed_type, make, unmake),
        cmocka_unit_test_setup_teardown(test_value, make, unmake),
        cmocka_unit_test_setup_teardown(test_upcast, make, unmake),
        cmocka_unit_test_setup_teardown(test_endless_upcaster, make, unmake),
        cmocka_unit_test_setup_teardown(test_lower_version, make, unmake),
        cmocka_unit_test_setup_teardown(test_removed_type, make, unmake),
        cmocka_unit_test_setup_teardown(test_no_handler_any_more, make, unmake),
        cmocka_unit_test_setup_teardown(test_as_before, make, unmake),
        cmocka_unit_test_setup_teardown(test_not_as_before, make, unmake),
        cmocka_unit_test_setup_teardown(test_stop, make, unmake),
        cmocka_unit_test_setup_teardown(test_random, make, unmake),
        cmocka_unit_test_setup_teardown(test_back, make, unmake),
        cmocka_unit_test_setup_teardown(test_back_fields, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Values side by side; documents of two generations against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "run/compare.h"

/* --- values --- */

static struct buf value_of(const char *json)
{
    struct buf out = {0};
    struct fault fault;
    char *text = strdup(json);
    for (char *at = text; *at; at++)
        if (*at == '\'') *at = '"';
    if (json_to_mp(slice_of(text), &out, &fault) < 0) fail_msg("%s: %s", text, fault.text);
    free(text);
    return out;
}

/* The list of fields as JSON with ' for ". */
static void expect_fields(const char *before, const char *after, unsigned depth, const char *expected)
{
    struct compare_fields fields = {0};
    struct arena arena = {0};
    struct buf json = {0}, was = value_of(before), is = value_of(after);
    size_t count;
    compare_values(&fields, buf_slice(&was), buf_slice(&is), depth);
    struct compare_field *list = compare_fields_list(&fields, 100, &arena, &count);
    compare_fields_json(list, count, &json);
    buf_put_byte(&json, 0);
    for (char *at = json.data; *at; at++)
        if (*at == '"') *at = '\'';
    assert_string_equal(json.data, expected);
    buf_release(&json);
    buf_release(&was);
    buf_release(&is);
    compare_fields_release(&fields);
    arena_release(&arena);
}

static void fields_that_differ(void **state)
{
    expect_fields("{'a':1,'b':2}", "{'a':1,'b':2}", 3, "{}");
    expect_fields("{'a':1,'b':2}", "{'a':1,'b':3}", 3, "{'b':1}");
    expect_fields("{'a':1}", "{'b':1}", 3, "{'a':1,'b':1}");
    expect_fields("{'a':{'x':1,'y':[1]}}", "{'a':{'x':1,'y':[1,2]}}", 1, "{'a':1}");
    expect_fields("{'a':{'x':1,'y':[1]}}", "{'a':{'x':1,'y':[1,2]}}", 3, "{'a.y':1}");
    expect_fields("{'a':{'b':{'c':{'d':1}}}}", "{'a':{'b':{'c':{'d':2}}}}", 3, "{'a.b.c':1}");
    expect_fields("{'a':{'b':1}}", "{'a':1}", 3, "{'a':1}");
    expect_fields("{'a':{}}", "{'a':{'b':1,'c':2},'d':1}", 3, "{'a.b':1,'a.c':1,'d':1}");
    expect_fields("[1]", "{'a':1}", 3, "{}");
}

static void fields_are_counted_and_sorted(void **state)
{
    struct compare_fields fields = {0}, other = {0};
    struct arena arena = {0};
    size_t count;
    compare_fields_add(&fields, slice_of("b"), 2);
    compare_fields_add(&other, slice_of("b"), 1);
    compare_fields_add(&other, slice_of("a"), 3);
    compare_fields_add(&other, slice_of("c"), 9);
    compare_fields_merge(&fields, &other);
    struct compare_field *list = compare_fields_list(&fields, 2, &arena, &count);
    assert_int_equal(count, 2);
    assert_true(slice_is(list[0].path, "c"));
    assert_int_equal(list[0].count, 9);
    assert_true(slice_is(list[1].path, "a"));
    assert_int_equal(list[1].count, 3);
    /* Keys of data are no fields: what is too much is counted together. */
    char name[16];
    for (int at = 0; at < 20000; at++) {
        snprintf(name, sizeof name, "k%d", at);
        compare_fields_add(&other, slice_of(name), 1);
    }
    list = compare_fields_list(&other, 100000, &arena, &count);
    assert_int_equal(count, 10001);
    assert_true(slice_is(list[0].path, "…"));
    compare_fields_release(&fields);
    compare_fields_release(&other);
    arena_release(&arena);
}

static void a_large_value_shows_what_differs(void **state)
{
    struct buf before = {0}, after = {0}, json = {0};
    char *large = mem_zero(20001);
    memset(large, 'x', 20000);
    for (int side = 0; side < 2; side++) {
        struct buf *value = side ? &after : &before;
        mp_put_map(value, 4);
        mp_put_text(value, slice_of("a"));
        mp_put_int(value, side);
        mp_put_text(value, slice_of("b"));
        mp_put_text(value, slice_of(large));
        mp_put_text(value, slice_of("c"));
        mp_put_int(value, 5);
        mp_put_text(value, slice_of("d"));
        large[0] = (char)('p' + side);
        mp_put_text(value, slice_of(large));
        large[0] = 'x';
    }
    compare_sample_json(buf_slice(&after), buf_slice(&before), &json);
    buf_put_byte(&json, 0);
    assert_string_equal(json.data, "{\"a\":1,\"d\":\"… 20003 bytes\"}");
    buf_clear(&json);
    compare_sample_json(SLICE_NONE, SLICE_NONE, &json);
    assert_true(slice_is(buf_slice(&json), "null"));
    mem_free(large);
    buf_release(&before);
    buf_release(&after);
    buf_release(&json);
}

/* --- documents --- */

static char paths[2][64];

static struct docs *open_docs(int side)
{
    struct docs *docs;
    struct fault fault;
    bool dirty;
    snprintf(paths[side], sizeof paths[side], "/tmp/lore-compare-XXXXXX");
    assert_non_null(mkdtemp(paths[side]));
    const struct docs_options options = {.path = paths[side]};
    if (docs_open(&options, &docs, &dirty, &fault) < 0) fail_msg("%s", fault.text);
    return docs;
}

static void close_docs(struct docs **docs)
{
    for (int side = 0; side < 2; side++) {
        if (docs[side]) docs_close(docs[side]);
        if (docs[side]) docs_destroy(paths[side], NULL);
    }
}

static void put(struct docs_write *write, const char *tenant, const char *key, const char *json)
{
    struct buf value = value_of(json);
    struct fault fault;
    if (docs_put(write, slice_of(tenant), slice_of(key), buf_slice(&value), &fault) < 0)
        fail_msg("%s", fault.text);
    buf_release(&value);
}

static void put_meta(struct docs_write *write, const char *key, size_t size, const char *json)
{
    struct buf value = value_of(json);
    assert_int_equal(docs_meta_put(write, slice_make(key, size), buf_slice(&value), NULL), 0);
    buf_release(&value);
}

static struct docs_write *begin(struct docs *docs)
{
    struct docs_write *write;
    assert_int_equal(docs_begin(docs, &write, NULL), 0);
    return write;
}

static struct compare *compared(struct docs **docs, size_t samples)
{
    struct compare *compare;
    struct fault fault;
    const struct compare_options options = {.before = docs[0], .after = docs[1], .samples = samples};
    if (compare_run(&options, &compare, &fault) < 0) fail_msg("%s", fault.text);
    return compare;
}

static void expect_json(const struct compare *compare, const char *expected)
{
    struct buf json = {0};
    compare_put_json(compare, slice_of("shop/sums"), &json);
    buf_put_byte(&json, 0);
    for (char *at = json.data; *at; at++)
        if (*at == '"') *at = '\'';
    assert_string_equal(json.data, expected);
    buf_release(&json);
}

static void documents_of_all_tenants(void **state)
{
    struct docs *docs[2] = {open_docs(0), open_docs(1)};
    struct docs_write *write = begin(docs[0]);
    put(write, "a", "k1", "{'n':1}");
    put(write, "a", "k2", "{'n':1}");
    put(write, "a-b", "k1", "{'n':1,'m':{'x':1}}");
    put(write, "z", "k1", "{'n':1}");
    put_meta(write, "position", 8, "70");
    put_meta(write, "parked/a\0k9", 11, "{'error':'f.lua:3: no','position':4,'skipped':2}");
    assert_int_equal(docs_commit(write, NULL), 0);
    write = begin(docs[1]);
    put(write, "a", "k2", "{'n':1}");
    put(write, "a", "k3", "{'n':1}");
    put(write, "a-b", "k1", "{'n':1,'m':{'x':2}}");
    put(write, "b", "k1", "{'n':1}");
    put_meta(write, "position", 8, "71");
    put_meta(write, "parked/a\0k9", 11, "{'error':'f.lua:4: no','position':4,'skipped':2}");
    put_meta(write, "parked/b\0k8", 11, "{'error':'f.lua:4: no','position':5,'skipped':0}");
    put_meta(write, "stopped/z", 9, "{'error':'f.lua:9: key','position':6}");
    assert_int_equal(docs_commit(write, NULL), 0);
    struct compare *compare = compared(docs, 0);
    expect_json(compare,
                "{'name':'shop/sums','positions':{'before':70,'after':71},"
                "'documents':{'before':4,'after':4,'added':2,'removed':2,'changed':1,'same':1},"
                "'fields':{'m.x':1},"
                "'samples':[{'change':'added','tenant':'a','key':'k3','after':{'n':1}},"
                "{'change':'added','tenant':'b','key':'k1','after':{'n':1}},"
                "{'change':'removed','tenant':'a','key':'k1','before':{'n':1}},"
                "{'change':'removed','tenant':'z','key':'k1','before':{'n':1}},"
                "{'change':'changed','tenant':'a-b','key':'k1','before':{'m':{'x':1},'n':1},"
                "'after':{'m':{'x':2},'n':1}}],"
                "'parked':{'before':1,'after':2,'samples':["
                "{'tenant':'a','key':'k9','error':'f.lua:4: no','position':4,'skipped':2,'before':true},"
                "{'tenant':'b','key':'k8','error':'f.lua:4: no','position':5,'skipped':0,'before':false}]},"
                "'stopped':{'before':0,'after':1,'samples':["
                "{'tenant':'z','error':'f.lua:9: key','position':6,'before':false}]}}");
    compare_free(compare);
    close_docs(docs);
}

static void a_generation_may_not_be_there(void **state)
{
    struct docs *docs[2] = {NULL, open_docs(1)};
    struct docs_write *write = begin(docs[1]);
    put(write, "a", "k1", "{'n':1}");
    assert_int_equal(docs_commit(write, NULL), 0);
    struct compare *compare = compared(docs, 1);
    assert_int_equal(compare->counts.added, 1);
    assert_int_equal(compare->counts.before, 0);
    compare_free(compare);
    struct docs *turned[2] = {docs[1], NULL};
    compare = compared(turned, 1);
    assert_int_equal(compare->counts.removed, 1);
    assert_int_equal(compare->counts.after, 0);
    compare_free(compare);
    atomic_bool stop = true;
    struct compare_options options = {.before = docs[1], .after = docs[1], .stop = &stop};
    struct fault fault;
    assert_int_equal(compare_run(&options, &compare, &fault), -1);
    assert_int_equal(fault.code, FAULT_UNAVAILABLE);
    close_docs(docs);
}

/* More than a page, in several tenants, against flags. */
static void many_documents(void **state)
{
    enum { TENANTS = 3, KEYS = 6000 };
    static const char *const tenants[TENANTS] = {"main", "main-2", "north"};
    struct docs *docs[2] = {open_docs(0), open_docs(1)};
    struct docs_write *writes[2] = {begin(docs[0]), begin(docs[1])};
    struct compare_counts expected = {0};
    uint64_t seed = 7;
    char key[32], value[64];
    for (int tenant = 0; tenant < TENANTS; tenant++)
        for (int at = 0; at < KEYS; at++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            unsigned what = (unsigned)(seed >> 60);
            snprintf(key, sizeof key, "k%d", at);
            snprintf(value, sizeof value, "{'n':%d}", at);
            bool was = what != 0, is = what != 1, other = what == 2;
            if (was) put(writes[0], tenants[tenant], key, value);
            if (other) snprintf(value, sizeof value, "{'n':%d}", at + 1);
            if (is) put(writes[1], tenants[tenant], key, value);
            expected.before += was;
            expected.after += is;
            expected.added += is && !was;
            expected.removed += was && !is;
            expected.changed += other;
            expected.same += was && is && !other;
        }
    assert_int_equal(docs_commit(writes[0], NULL), 0);
    assert_int_equal(docs_commit(writes[1], NULL), 0);
    struct compare *compare = compared(docs, 3);
    assert_memory_equal(&compare->counts, &expected, sizeof expected);
    assert_int_equal(compare->field_count, 1);
    assert_int_equal(compare->fields[0].count, expected.changed);
    for (int kind = 0; kind < COMPARE_KINDS; kind++) assert_int_equal(compare->sample_count[kind], 3);
    compare_free(compare);
    close_docs(docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_that_differ),
        cmocka_unit_test(fields_are_counted_and_sorted),
        cmocka_unit_test(a_large_value_shows_what_differs),
        cmocka_unit_test(documents_of_all_tenants),
        cmocka_unit_test(a_generation_may_not_be_there),
        cmocka_unit_test(many_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

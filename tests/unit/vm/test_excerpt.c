/* Errors with the line they are about, for people and as JSON. */
#include "unit/vm/domain_support.h"
#include "vm/excerpt.h"

static const char *const files[] = {"billing/bill.lua",
                                    "local bill = aggregate 'bill' {}\n"
                                    "\n"
                                    "  function bill.apply.Made(state) sum = 1 end  \r\n"
                                    "-- the last",
                                    "hub.lua", "return {}\n", NULL};

static void assert_text(const char *errors, const char *expected)
{
    struct sources *sources = sources_of(files);
    struct buf out = {0};
    excerpt_put_text(slice_of(errors), sources, &out);
    if (!slice_is(buf_slice(&out), expected)) fail_msg("%.*s", SLICE_ARGS(buf_slice(&out)));
    buf_release(&out);
    sources_free(sources);
}

static void assert_json(const char *errors, size_t count, const char *expected)
{
    struct sources *sources = sources_of(files);
    struct buf out = {0};
    assert_int_equal(excerpt_put_json(slice_of(errors), sources, &out), count);
    if (!slice_is(buf_slice(&out), expected)) fail_msg("%.*s", SLICE_ARGS(buf_slice(&out)));
    buf_release(&out);
    sources_free(sources);
}

static void test_text(void **state)
{
    assert_text("scripts/billing/bill.lua:3: unknown sum\nscripts/hub.lua:1: wrong: yes\n",
                "scripts/billing/bill.lua:3: unknown sum\n"
                "    function bill.apply.Made(state) sum = 1 end\n"
                "scripts/hub.lua:1: wrong: yes\n"
                "    return {}\n");
    assert_text("billing/bill.lua:4: end", "billing/bill.lua:4: end\n    -- the last\n");
}

/* An empty line, one behind the end, files that are not there, no place at all: the error alone. */
static void test_without(void **state)
{
    static const char *const errors[] = {"scripts/billing/bill.lua:2: x\n",
                                         "scripts/billing/bill.lua:5: x\n",
                                         "scripts/billing/bill.lua:0: x\n",
                                         "scripts/billing/bill.lua:99999999999999999999: x\n",
                                         "scripts/billing/other.lua:1: x\n",
                                         "scripts/billing/bill.lua: x\n",
                                         "scripts/billing/bill.lua:1:x\n",
                                         "scripts/billing/bill.lua:1:\n",
                                         "no memory\n",
                                         "\n"};
    for (size_t at = 0; at < sizeof errors / sizeof *errors; at++) assert_text(errors[at], errors[at]);
    assert_text("", "");
}

static void test_json(void **state)
{
    assert_json("", 0, "[]");
    assert_json("scripts/billing/bill.lua:3: \"sum\"?\nno memory\nhub.lua:1: x: y", 3,
                "[{\"file\":\"billing/bill.lua\",\"line\":3,\"message\":\"\\\"sum\\\"?\","
                "\"text\":\"function bill.apply.Made(state) sum = 1 end\"},{\"message\":\"no memory\"},"
                "{\"file\":\"hub.lua\",\"line\":1,\"message\":\"x: y\",\"text\":\"return {}\"}]");
    assert_json("billing/bill.lua:2: x", 1, "[{\"file\":\"billing/bill.lua\",\"line\":2,\"message\":\"x\"}]");
}

/* What the loader says is understood. */
static void test_loader(void **state)
{
    struct sources *sources = sources_of(files);
    struct domain_options options = {.sources = sources};
    struct domain *domain;
    struct buf errors = {0}, out = {0};
    assert_int_equal(domain_open(&options, &domain, &errors, &test_fault), -1);
    excerpt_put_text(buf_slice(&errors), sources, &out);
    buf_put_byte(&out, 0);
    assert_text_has(out.data, "\n    function bill.apply.Made(state) sum = 1 end\n");
    buf_release(&errors);
    buf_release(&out);
    sources_free(sources);
}

/* A long line is cut between characters; bytes that are no text are not shown. */
static void test_odd_lines(void **state)
{
    char text[400] = "", expected[400];
    for (int at = 0; at < 100; at++) strcat(text, "\xc3\xa4");
    strcat(text, "\n\xff\xfe\n");
    const char *const odd[] = {"a/a.lua", text, NULL};
    struct sources *sources = sources_of(odd);
    struct buf out = {0};
    excerpt_put_text(slice_of("a/a.lua:1: x\na/a.lua:2: x\n"), sources, &out);
    snprintf(expected, sizeof expected, "a/a.lua:1: x\n    %.160s\na/a.lua:2: x\n", text);
    assert_true(slice_is(buf_slice(&out), expected));
    buf_release(&out);
    sources_free(sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_without),
                                       cmocka_unit_test(test_json), cmocka_unit_test(test_loader),
                                       cmocka_unit_test(test_odd_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The page of a deploy: reports as a hub gives them, and what people read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/report.h"

static struct buf page_text(const char *json, size_t width, bool coloured, bool *refused)
{
    struct fields report = {0};
    struct fault fault;
    struct buf out = {0};
    struct page page = {.out = &out, .width = width, .coloured = coloured};
    if (fields_read(&report, slice_of(json), &fault) < 0) fail_msg("%s", fault.text);
    report_put(&page, &report);
    if (refused) *refused = report_is_refused(&report);
    fields_release(&report);
    buf_put_byte(&out, 0);
    return out;
}

static void expect(const char *json, size_t width, bool is_refused, const char *expected)
{
    bool refused;
    struct buf out = page_text(json, width, false, &refused);
    assert_string_equal(out.data, expected);
    assert_int_equal(refused, is_refused);
    buf_release(&out);
}

static const char whole[] =
    "{\"deploy\":42,\"before\":41,\"plan\":true,\"forced\":false,\"same\":false,"
    "\"scripts\":[{\"path\":\"billing/bill.lua\",\"change\":\"changed\"},{\"path\":\"billing/late.lua\","
    "\"change\":\"added\"},{\"path\":\"billing/old.lua\",\"change\":\"removed\"},{\"path\":\"billing/"
    "open.lua\","
    "\"change\":\"changed\"}],"
    "\"loads\":{\"ok\":true,\"errors\":[],\"warnings\":[\"billing/bill.lua:3: unused\"]},"
    "\"specs\":{\"passed\":12,\"failed\":0},"
    "\"contracts\":[{\"event\":\"billing.BillClosed\",\"version\":1,\"events\":12345,\"verdict\":\"breaks\","
    "\"error\":\"BillClosed.sum: expected decimal, got "
    "nothing\",\"field\":\"lines[].price\",\"position\":1700,"
    "\"stream\":\"main/billing/bill/7\",\"example\":{\"total\":\"3.00\"}},"
    "{\"event\":\"billing.BillOpened\",\"version\":1,\"events\":3,\"verdict\":\"fine\"},"
    "{\"event\":\"billing.BillPaid\",\"version\":2,\"events\":1,\"verdict\":\"loses\",\"error\":\"nothing "
    "reads it\"}],"
    "\"back\":[{\"event\":\"billing.BillPaid\",\"version\":3,\"reason\":\"it has version 2 only\"}],"
    "\"projections\":[{\"name\":\"billing/open_bills\",\"reason\":\"open_bills.lua "
    "changed\",\"rebuild_seconds\":0.42,"
    "\"documents\":{\"before\":1241,\"after\":1242,\"added\":2,\"removed\":1,\"changed\":40,\"same\":1200},"
    "\"fields\":{\"address.city\":2,\"total\":38},"
    "\"samples\":[{\"change\":\"added\",\"tenant\":\"main\",\"key\":\"b3\",\"after\":{\"total\":\"1.00\"}},"
    "{\"change\":\"removed\",\"tenant\":\"north\",\"key\":\"b4\",\"before\":{\"total\":\"2.00\"}},"
    "{\"change\":\"changed\",\"tenant\":\"main\",\"key\":\"b1\","
    "\"before\":{\"address\":{\"city\":\"Bonn\",\"zip\":1},\"customer\":\"ada\",\"total\":\"12.50\"},"
    "\"after\":{\"address\":{\"city\":\"Berlin\",\"zip\":1},\"customer\":\"ada\",\"total\":\"3\",\"vat\":"
    "true}}],"
    "\"parked\":{\"before\":0,\"after\":1,\"samples\":[{\"tenant\":\"main\",\"key\":\"b7\",\"error\":"
    "\"open.lua:3: attempt to index a nil value\",\"position\":9,\"skipped\":2,\"before\":false}]},"
    "\"stopped\":{\"before\":0,\"after\":0,\"samples\":[]}}],"
    "\"aggregates\":[{\"name\":\"billing/bill\",\"change\":\"changed\",\"reason\":[\"billing/bill.lua "
    "changed\"],"
    "\"streams\":10,\"events\":50,\"states_changed\":2,\"states_failed\":1,\"fields\":{\"total\":2},"
    "\"samples\":[{\"tenant\":\"main\",\"stream\":\"b1\",\"version\":3,\"before\":{\"total\":1},\"after\":{"
    "\"total\":2}}],"
    "\"commands\":{\"decided\":40,\"same\":37,\"upcast\":0,\"already\":1,\"refused\":1,\"accepted\":0,"
    "\"other_reason\":0,\"other_events\":1,\"errors\":0,\"undecided\":0},"
    "\"command_samples\":[{\"kind\":\"refused\",\"tenant\":\"main\",\"stream\":\"b1\",\"version\":3,"
    "\"position\":7,"
    "\"type\":\"PayBill\",\"before\":{\"events\":[{\"type\":\"BillPaid\",\"data\":{\"sum\":1}}]},"
    "\"after\":{\"refused\":\"closed\",\"message\":\"it is closed\"}},"
    "{\"kind\":\"other_events\",\"tenant\":\"main\",\"stream\":\"b2\",\"version\":1,\"position\":8,\"type\":"
    "\"PayBill\","
    "\"before\":{\"events\":[{\"type\":\"BillPaid\",\"data\":{\"by\":\"ada\",\"sum\":1}}]},"
    "\"after\":{\"events\":[{\"type\":\"BillPaid\",\"data\":{\"by\":\"ada\",\"sum\":100}}]}}],"
    "\"errors\":[{\"error\":\"billing/bill.lua:12: no field\",\"count\":3,\"example\":{\"tenant\":\"main\","
    "\"stream\":\"b9\",\"version\":2,\"position\":11,\"type\":\"BillPaid\"}}],\"older\":4,\"left_out\":1}],"
    "\"replay\":{\"done\":false,\"position\":561470,\"seconds\":4.1},"
    "\"refused\":[\"1 form of stored events cannot be read (deploy.refuse: "
    "contracts_break)\"],\"seconds\":5.0}";

static const char whole_page[] =
    "plan of deploy 42 against running deploy 41: 2 scripts changed, 1 added, 1 removed\n"
    "\n"
    "scripts\n"
    "  changed  billing/bill.lua\n"
    "  added    billing/late.lua\n"
    "  removed  billing/old.lua\n"
    "  changed  billing/open.lua\n"
    "\n"
    "warnings\n"
    "  billing/bill.lua:3: unused\n"
    "\n"
    "specs\n"
    "  12 passed, 0 failed\n"
    "\n"
    "stored events\n"
    "  breaks  billing.BillClosed version 1, 12,345 events: BillClosed.sum: expected decimal, got nothing\n"
    "    lines[].price  at position 1,700 in main/billing/bill/7\n"
    "        {\"total\":\"3.00\"}\n"
    "  loses   billing.BillPaid version 2, 1 event: nothing reads it\n"
    "\n"
    "views\n"
    "  billing/open_bills: open_bills.lua changed; takes about 0.4 s to build\n"
    "    documents  2 added, 1 removed, 40 changed, 1,200 same\n"
    "    fields     total 38, address.city 2\n"
    "    added      b3\n"
    "        + {\"total\":\"1.00\"}\n"
    "    removed    b4 (tenant north)\n"
    "        - {\"total\":\"2.00\"}\n"
    "    changed    b1\n"
    "          {\"address.city\":\"Bonn\",   \"total\":\"12.50\",             \"customer\":\"ada\"}\n"
    "        → {\"address.city\":\"Berlin\", \"total\":\"3\",     \"vat\":true, \"customer\":\"ada\"}\n"
    "    parked     1 key, 0 before\n"
    "        b7 at position 9: open.lua:3: attempt to index a nil value\n"
    "\n"
    "aggregates\n"
    "  billing/bill: billing/bill.lua changed\n"
    "    states     10 looked at: 2 changed, 1 cannot be folded any more\n"
    "    fields     total 2\n"
    "    state      billing/bill/b1 at version 3\n"
    "          {\"total\":1}\n"
    "        → {\"total\":2}\n"
    "    commands   40 decided again: 37 as they were, 1 otherwise, but so the running version does\n"
    "               1 now refused\n"
    "               PayBill to billing/bill/b1 at version 3\n"
    "                 BillPaid {\"sum\":1}\n"
    "               → refused: closed (it is closed)\n"
    "               1 with other events\n"
    "               PayBill to billing/bill/b2 at version 1\n"
    "               BillPaid\n"
    "                 {\"sum\":1,   \"by\":\"ada\"}\n"
    "               → {\"sum\":100, \"by\":\"ada\"}\n"
    "    error      billing/bill.lua:12: no field (3 times)\n"
    "               BillPaid of billing/bill/b9 at version 2\n"
    "    not seen   4 older streams, 1 stream for which there was no time\n"
    "\n"
    "going back\n"
    "  deploy 41 would not read what this one may write\n"
    "    billing.BillPaid version 3: it has version 2 only\n"
    "\n"
    "replay\n"
    "  up to position 561,470 in 4.1 s: the budget ended it, not all was looked at\n"
    "\n"
    "would be refused: 1 form of stored events cannot be read (deploy.refuse: contracts_break)\n";

static void test_whole(void **state)
{
    expect(whole, 100, true, whole_page);
}

/* No line is longer than the page is wide, but for one that begins with what cannot be cut. */
static void test_narrow(void **state)
{
    struct buf out = page_text(whole, 60, false, NULL);
    for (const char *line = out.data; *line;) {
        size_t size = strcspn(line, "\n");
        if (page_columns(slice_make(line, size)) > 60) fail_msg("too long: %.*s", (int)size, line);
        line += size + (line[size] == '\n');
    }
    assert_non_null(strstr(out.data, "{\"address.city\":\"Bonn\",   \"total\":\"12.50\", …}\n"));
    buf_release(&out);
}

static void test_colours_change_no_letter(void **state)
{
    struct buf coloured = page_text(whole, 100, true, NULL), plain = {0};
    assert_non_null(strstr(coloured.data, "\033[31m\"total\":\033[m\033[31m\"12.50\"\033[m"));
    for (const char *at = coloured.data; *at; at++) {
        if (*at == '\033')
            at += strcspn(at, "m");
        else
            buf_put_byte(&plain, (uint8_t)*at);
    }
    buf_put_byte(&plain, 0);
    assert_string_equal(plain.data, whole_page);
    buf_release(&coloured);
    buf_release(&plain);
}

static void test_what_does_not_load(void **state)
{
    expect(
        "{\"deploy\":2,\"before\":1,\"plan\":false,\"scripts\":[],\"loads\":{\"ok\":false,\"errors\":["
        "{\"file\":\"shop/bill.lua\",\"line\":3,\"message\":\"unknown global 'x'\",\"text\":\"  return x\"},"
        "{\"message\":\"no contract\"}]}}",
        80, true,
        "deploy 2 against deploy 1: no script changed\n\ndoes not load\n  shop/bill.lua:3: unknown global "
        "'x'\n"
        "        return x\n  no contract\n\nnot deployed: it does not load\n");
}

static void test_nothing_new(void **state)
{
    expect("{\"deploy\":7,\"before\":7,\"plan\":false,\"same\":true,\"refused\":[]}", 80, false,
           "\ndeploy 7 runs and is the same: there is nothing to deploy\n");
}

static void test_quick_and_first(void **state)
{
    expect(
        "{\"deploy\":1,\"before\":0,\"plan\":true,\"scripts\":[{\"path\":\"a/b.lua\",\"change\":\"added\"}],"
        "\"loads\":{\"ok\":true},\"specs\":null,\"contracts\":[],\"back\":[],\"replay\":null,\"refused\":[]}",
        80, false,
        "plan of deploy 1: 1 script added\n\nscripts\n  added    a/b.lua\n\nreplay\n  left out: what becomes "
        "of "
        "documents, states and recorded commands was not\n  looked at\n\nwould be deployed\n");
}

static void test_verdicts_by_several_reasons(void **state)
{
    static const char refused[] =
        "{\"deploy\":2,\"before\":1,\"plan\":false,\"loads\":{\"ok\":true},\"replay\":{\"done\":"
        "true,\"position\":4,\"seconds\":0.1},\"refused\":[\"one\",\"two\"]%s}";
    char json[512];
    snprintf(json, sizeof json, refused, "");
    expect(json, 80, true,
           "deploy 2 against deploy 1\n\nreplay\n  up to position 4 in 0.1 s\n\nrefused\n  one\n  two\n\n"
           "refused: 2 reasons, see above\n");
    snprintf(json, sizeof json, refused, ",\"forced\":true");
    expect(
        json, 80, false,
        "deploy 2 against deploy 1\n\nreplay\n  up to position 4 in 0.1 s\n\nforced against\n  one\n  two\n\n"
        "deploy 2 runs, forced against its gate\n");
}

/* The lines of the one sample of a view. */
static void expect_values(const char *before, const char *after, size_t width, const char *expected)
{
    struct buf json = {0};
    buf_format(
        &json,
        "{\"deploy\":2,\"projections\":[{\"name\":\"v\",\"samples\":[{\"change\":\"changed\",\"key\":\"k\","
        "\"before\":%s,\"after\":%s}]}]}",
        before, after);
    buf_put_byte(&json, 0);
    struct buf out = page_text(json.data, width, false, NULL);
    const char *begin = strstr(out.data, "    changed    k\n"), *end = strstr(out.data, "\n\nreplay");
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen("    changed    k\n");
    out.data[end + 1 - out.data] = 0;
    assert_string_equal(begin, expected);
    buf_release(&out);
    buf_release(&json);
}

#define TEN "0123456789"
static void test_values(void **state)
{
    /* What is on one side only leaves its column empty on the other. */
    expect_values("{\"a\":1,\"z\":[]}", "{\"b\":2,\"z\":[]}", 80,
                  "          {\"a\":1,        \"z\":[]}\n        → {       \"b\":2, \"z\":[]}\n");
    /* A long value is shown from where it begins to differ. */
    expect_values("{\"text\":\"" TEN TEN TEN TEN TEN TEN "x\"}",
                  "{\"text\":\"" TEN TEN TEN TEN TEN TEN "yz\"}", 80,
                  "          {\"text\":…" TEN "x\"}\n        → {\"text\":…" TEN "yz\"}\n");
    /* And cut where it is too long nevertheless. */
    expect_values("{\"text\":\"a" TEN TEN TEN TEN TEN TEN "\"}", "{\"text\":\"b\"}", 80,
                  "          {\"text\":\"a" TEN TEN TEN TEN "01234…}\n        → {\"text\":\"b\"}\n");
    /* Values that are no maps. */
    expect_values("7", "{\"a\":{}}", 80, "          7\n        → {\"a\":{}}\n");
    expect_values("{}", "{\"a\":\"b\"}", 80, "          {}\n        → {\"a\":\"b\"}\n");
    /* Deep down only as far as it helps. */
    expect_values("{\"a\":{\"b\":{\"c\":{\"d\":1}}}}", "{\"a\":{\"b\":{\"c\":{\"d\":2}}}}", 80,
                  "          {\"a.b.c\":{\"d\":1}}\n        → {\"a.b.c\":{\"d\":2}}\n");
    /* Letters of several bytes are one column. */
    expect_values("{\"a\":\"äöü\",\"b\":1}", "{\"a\":\"x\",\"b\":2}", 80,
                  "          {\"a\":\"äöü\", \"b\":1}\n        → {\"a\":\"x\",   \"b\":2}\n");
}

static void test_control_characters_do_not_reach_the_terminal(void **state)
{
    struct buf out =
        page_text("{\"deploy\":2,\"projections\":[{\"name\":\"v\",\"samples\":[{\"change\":\"added\",\"key\":"
                  "\"\\u001b[2J\\u009b\",\"after\":{\"\\u001b\":\"\\u007f\"}}]}]}",
                  80, false, NULL);
    assert_non_null(strstr(out.data, "    added      ?[2J?\n        + {\"\\u001b\":\"?\"}\n"));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_colours_change_no_letter),
        cmocka_unit_test(test_what_does_not_load),
        cmocka_unit_test(test_nothing_new),
        cmocka_unit_test(test_quick_and_first),
        cmocka_unit_test(test_verdicts_by_several_reasons),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_control_characters_do_not_reach_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Bars, lines and histograms: exact drawings of small ones, bounds of all. */
#include "support/shown.h"

#include <stdio.h>

#include "cli/repl_plot.h"

static const char *plot(size_t width, bool ascii, const char *json)
{
    static struct page page;
    size_t lines = 100;
    page = shown_page(width);
    page.ascii = ascii;
    repl_plot_put(&page, shown_mp(json), &lines);
    return shown_text(&page);
}

static void bars(void **state)
{
    /* 20 columns: label 1, blank, 16 of bar, blank, number 1 */
    assert_string_equal(
        plot(20, false,
             "{\"kind\":\"bars\",\"title\":\"t\",\"points\":[[\"a\",8],[\"b\",4],[\"c\",1],[\"d\",0]]}"),
        "t\n"
        "a ████████████████ 8\n"
        "b ████████         4\n"
        "c ██               1\n"
        "d                  0\n");
    assert_string_equal(plot(12, false, "{\"kind\":\"bars\",\"points\":[[\"a\",64],[\"b\",5]]}"),
                        "a ███████ 64\nb ▌        5\n");
    assert_string_equal(plot(20, true, "{\"kind\":\"bars\",\"points\":[[\"a\",8],[\"b\",4]]}"),
                        "a ################ 8\nb ########         4\n");
}

static void negative_bars(void **state)
{
    assert_string_equal(plot(21, false, "{\"kind\":\"bars\",\"points\":[[\"a\",8],[\"b\",-8],[\"c\",-1]]}"),
                        "a         ████████  8\n"
                        "b ████████         -8\n"
                        "c        █         -1\n");
    assert_string_equal(plot(13, false, "{\"kind\":\"bars\",\"points\":[[\"b\",-8],[\"c\",-5]]}"),
                        "b ████████ -8\nc    █████ -5\n");
}

static void few_points(void **state)
{
    assert_string_equal(plot(40, false, "{\"kind\":\"bars\",\"title\":\"t\",\"points\":[]}"),
                        "t\nno points to draw\n");
    assert_string_equal(plot(40, false, "{\"kind\":\"line\"}"), "no points to draw\n");
    assert_string_equal(plot(10, false, "{\"kind\":\"bars\",\"points\":[[\"a\",3]]}"), "a ██████ 3\n");
    assert_string_equal(plot(20, false, "{\"kind\":\"bars\",\"points\":[[\"a\",0]]}"),
                        "a                  0\n");
    assert_string_equal(plot(20, false, "{\"kind\":\"bars\",\"points\":[[\"a\",null],[\"b\",\"x\"]]}"),
                        "a                nan\nb                nan\n");
}

static void numbers(void **state)
{
    assert_string_equal(
        plot(24, false, "{\"kind\":\"bars\",\"points\":[[\"a\",\"12.50\"],[2026,0.1],[true,1e30]]}"),
        "a    ▏             12.50\n"
        "2026 ▏               0.1\n"
        "true █████████████ 1e+30\n");
    assert_string_equal(
        plot(14, false,
             "{\"kind\":\"bars\",\"points\":[[\"\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\",1]]}"),
        "\xe6\xbc\xa2\xe2\x80\xa6  ███████ 1\n");
}

/* Lines of the drawing, none wider than the width, each a piece of UTF-8 as a whole. */
static size_t expect_bounds(const char *text, size_t width)
{
    size_t lines = 0;
    while (*text) {
        size_t size = strcspn(text, "\n");
        assert_true(page_columns(slice_make(text, size)) <= width);
        text += size + (text[size] == '\n');
        lines++;
    }
    return lines;
}

static void areas(void **state)
{
    assert_string_equal(plot(14, false,
                             "{\"kind\":\"line\",\"points\":[[\"a\",0],[1,10],[2,20],[3,30],[4,40],[5,50],[6,"
                             "60],[\"b\",70]]}"),
                        "70│          █\n"
                        "  │         ██\n"
                        "  │        ███\n"
                        "  │       ████\n"
                        "  │      █████\n"
                        "  │     ██████\n"
                        "  │    ███████\n"
                        "  │   ████████\n"
                        "  │  █████████\n"
                        " 0│ ██████████\n"
                        "  └───────────\n"
                        "   a    4    b\n");
    /* a few points are bars */
    assert_string_equal(plot(8, false, "{\"kind\":\"line\",\"points\":[[\"a\",4],[\"b\",2]]}"),
                        "a ████ 4\nb ██   2\n");
}

static void steps(void **state)
{
    assert_string_equal(
        plot(10, false, "{\"kind\":\"histogram\",\"points\":[[\"a\",5],[\"b\",10],[\"c\",2]]}"),
        "10│  ██\n"
        "  │  ██\n"
        "  │  ██\n"
        "  │  ██\n"
        "  │  ██\n"
        "  │████\n"
        "  │████\n"
        "  │████\n"
        "  │██████\n"
        " 0│██████\n"
        "  └──────\n"
        "   a    c\n");
}

static void areas_within_bounds(void **state)
{
    static const char *const points[] = {
        "[[\"a\",1]]",
        "[[\"a\",null]]",
        "[[\"a\",null],[\"b\",2],[\"c\",null]]",
        "[[\"a\",-5],[\"b\",5],[\"c\",-5]]",
        "[[\"a\",0],[\"b\",0]]",
        "[[\"long label \xe6\xbc\xa2\xe5\xad\x97\",1e300],[\"another long label\",-1e300]]",
        "[[\"a\",-1],[\"b\",-2]]",
        "[[\"a\",9223372036854775807],[\"b\",1]]"};
    static const char *const kinds[] = {"line", "histogram", "bars", "unknown"};
    for (size_t kind = 0; kind < 4; kind++)
        for (size_t at = 0; at < sizeof points / sizeof *points; at++)
            for (size_t width = 16; width < 100; width += 21) {
                char json[512];
                snprintf(json, sizeof json, "{\"kind\":\"%s\",\"points\":%s}", kinds[kind], points[at]);
                size_t lines = expect_bounds(plot(width, width == 37, json), width + (width < 30 ? 12 : 0));
                if (kind == 1) assert_int_equal(lines, 12);
            }
}

static void many_points(void **state)
{
    struct buf json = {0};
    buf_put_text(&json, "{\"kind\":\"histogram\",\"points\":[");
    for (int at = 0; at < 5000; at++)
        buf_format(&json, "%s[%d,%d]", at ? "," : "", at, at == 2500 ? 1000 : 1);
    buf_put_text(&json, "]}");
    buf_put_byte(&json, 0);
    const char *text = plot(60, false, json.data);
    assert_int_equal(expect_bounds(text, 60), 12);
    assert_non_null(strstr(text, "1000│")); /* one among many is seen */
    assert_non_null(strstr(text, "█"));
    size_t lines = 10;
    struct page page = shown_page(60);
    buf_clear(&json);
    buf_put_text(&json, "{\"kind\":\"bars\",\"points\":[");
    for (int at = 0; at < 50; at++) buf_format(&json, "%s[%d,1]", at ? "," : "", at);
    buf_put_text(&json, "]}");
    buf_put_byte(&json, 0);
    repl_plot_put(&page, shown_mp(json.data), &lines);
    assert_int_equal(lines, 0);
    assert_int_equal(expect_bounds(shown_text(&page), 60), 10);
    buf_release(&json);
}

static void hostile(void **state)
{
    const char *text = plot(
        60, false, "{\"kind\":\"bars\",\"title\":\"\\u001b[2J\",\"points\":[[\"\\u001b]0;x\\u0007\",1]]}");
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\a'));
    static const char *const odd[] = {"{}",
                                      "[]",
                                      "7",
                                      "{\"points\":7}",
                                      "{\"points\":[1,[1],[1,2,3],[[],{}]]}",
                                      "{\"kind\":7,\"title\":[],\"points\":[[\"a\",1]]}"};
    for (size_t at = 0; at < sizeof odd / sizeof *odd; at++) assert_non_null(plot(60, false, odd[at]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars),
        cmocka_unit_test(negative_bars),
        cmocka_unit_test(few_points),
        cmocka_unit_test(numbers),
        cmocka_unit_test(areas),
        cmocka_unit_test(steps),
        cmocka_unit_test(areas_within_bounds),
        cmocka_unit_test(many_points),
        cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, shown_set_up, shown_tear_down);
}

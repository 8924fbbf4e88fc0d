/* Programs of the prelude that write about scripts: what they are given, what they give, and how they fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "vm/scribe.h"

/* Nothing is declared. */
#define EMPTY                                                                                                \
    "{\"title\":\"t\",\"scripts\":\"s\",\"scenarios\":[],\"options\":{\"format\":\"%s\"},"                   \
    "\"description\":{\"contexts\":[\"a\"],\"contracts\":[],\"aggregates\":[],\"projections\":[],"           \
    "\"receptors\":[],\"services\":[],\"tasks\":[]}}"

struct written {
    struct buf text;
    int count, fail_at; /* fail_at: the write that fails; 0: none */
};

static int take(void *user, struct slice path, struct slice text, struct fault *fault)
{
    struct written *written = user;
    if (++written->count == written->fail_at)
        return fault_set(fault, FAULT_DISK, "no room for %.*s", SLICE_ARGS(path));
    buf_put_slice(&written->text, text);
    return 0;
}

static int draw(void *user, struct slice dot, struct buf *svg, struct fault *fault)
{
    if (strstr(dot.data, "digraph") != dot.data) return fault_set(fault, FAULT_INTERNAL, "no graph");
    buf_put_text(svg, "<?xml?>\n<svg width=\"10pt\" height=\"20pt\"\n viewBox=\"0 0 1 2\"></svg>\n");
    return 0;
}

static int refuse(void *user, struct slice dot, struct buf *svg, struct fault *fault)
{
    return fault_set(fault, FAULT_UNAVAILABLE, "nobody draws");
}

static int run(struct scribe_job job, const char *format, struct written *written, struct fault *fault)
{
    static const char *const texts[] = {"a/x.lua", "local x = 'y' -- z", "hub.lua", "return {}", NULL};
    struct sources *sources = sources_of(texts);
    struct buf input = {0};
    buf_format(&input, EMPTY, format);
    if (!job.input.data) job.input = buf_slice(&input);
    job.sources = sources;
    job.write = take;
    job.user = written;
    int done = scribe_run(&job, fault);
    buf_release(&input);
    sources_free(sources);
    return done;
}

static void a_program_writes(void **state)
{
    struct written written = {0};
    struct fault fault;
    assert_int_equal(run((struct scribe_job){.program = "map"}, "json", &written, &fault), 0);
    assert_true(slice_is(buf_slice(&written.text),
                         "{\"blocks\":{},\"contexts\":[\"a\"],\"events\":{},\"flows\":{}}\n"));
    buf_clear(&written.text);
    assert_int_equal(run((struct scribe_job){.program = "map", .draw = draw}, "svg", &written, &fault), 0);
    buf_put_byte(&written.text, 0);
    assert_true(strncmp(written.text.data, "<svg class=\"map\" role=\"img\"", 27) == 0);
    buf_release(&written.text);
}

/* All that fails is one fault, the writer's own where it is his. */
static void failures_come_out(void **state)
{
    struct written written = {.fail_at = 3};
    struct fault fault;
    assert_int_equal(run((struct scribe_job){.program = "docs", .draw = draw}, "", &written, &fault), -1);
    assert_int_equal(fault.code, FAULT_DISK);
    assert_string_equal(fault.text, "no room for messages.html");
    assert_int_equal(run((struct scribe_job){.program = "docs", .draw = refuse}, "", &written, &fault), -1);
    assert_int_equal(fault.code, FAULT_UNAVAILABLE);
    assert_string_equal(fault.text, "nobody draws");
    assert_int_equal(run((struct scribe_job){.program = "map", .input = slice_of("{")}, "", &written, &fault),
                     -1);
    assert_int_equal(fault.code, FAULT_MALFORMED);
    assert_int_equal(run((struct scribe_job){.program = "nosuch"}, "", &written, &fault), -1);
    assert_non_null(strstr(fault.text, "there is no program nosuch"));
    assert_int_equal(
        run((struct scribe_job){.program = "map", .input = slice_of("{}")}, "", &written, &fault), -1);
    assert_non_null(strstr(fault.text, "lua/book.lua:"));
    buf_release(&written.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_writes),
        cmocka_unit_test(failures_come_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

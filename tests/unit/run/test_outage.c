/* What keeps failing is told once, whoever meets it, and once when it is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run/outage.h"

static FILE *caught; /* stands in for stderr */
static int before;

static void catch_begin(void)
{
    caught = tmpfile();
    assert_non_null(caught);
    before = dup(STDERR_FILENO);
    dup2(fileno(caught), STDERR_FILENO);
}

static void catch_end(const char *expected)
{
    char text[4096];
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(caught);
    size_t size = fread(text, 1, sizeof text - 1, caught);
    text[size] = 0;
    fclose(caught);
    assert_string_equal(text, expected);
}

static void a_full_disk_is_one_line(void **state)
{
    struct outage outage;
    struct outage_part log = {0}, view = {0};
    struct fault full;
    fault_errno(&full, ENOSPC, "data/log");
    outage_init(&outage, false);
    catch_begin();
    for (int at = 0; at < 3; at++) {
        outage_met(&outage, &log, "the log", &full);
        outage_met(&outage, &view, "shop/boxes", &full);
    }
    outage_over(&outage, &view, "shop/boxes");
    outage_over(&outage, &view, "shop/boxes");
    outage_over(&outage, &log, "the log");
    outage_over(&outage, &log, "the log");
    /* At once again: not worth two lines more. */
    outage_met(&outage, &log, "the log", &full);
    outage_over(&outage, &log, "the log");
    catch_end("lore: error: data/log: No space left on device: what needs room there is refused or waits\n"
              "lore: there is room on the disk again\n");
    outage_release(&outage);
}

static void each_part_tells_what_else_it_meets(void **state)
{
    struct outage outage;
    struct outage_part log = {0}, view = {0};
    struct fault full, broken;
    fault_errno(&full, EDQUOT, "data/log");
    fault_errno(&broken, EIO, "data/views/b");
    outage_init(&outage, false);
    catch_begin();
    outage_met(&outage, &log, "the log", &full);
    outage_met(&outage, &view, "shop/boxes", &broken);
    outage_met(&outage, &view, "shop/boxes", &broken);
    outage_over(&outage, &view, "shop/boxes");
    outage_forget(&outage, &log);
    catch_end("lore: error: data/log: Disk quota exceeded: what needs room there is refused or waits\n"
              "lore: error: shop/boxes: data/views/b: Input/output error\n"
              "lore: shop/boxes: works again\n");
    assert_int_equal(outage.without_room, 0);
    outage_release(&outage);
}

static void a_quiet_one_says_nothing(void **state)
{
    struct outage outage;
    struct outage_part log = {0};
    struct fault full;
    fault_errno(&full, EFBIG, "data/log");
    outage_init(&outage, true);
    catch_begin();
    outage_met(&outage, &log, "the log", &full);
    assert_int_equal(outage.without_room, 1);
    outage_over(&outage, &log, "the log");
    catch_end("");
    outage_release(&outage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_disk_is_one_line),
                                       cmocka_unit_test(each_part_tells_what_else_it_meets),
                                       cmocka_unit_test(a_quiet_one_says_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

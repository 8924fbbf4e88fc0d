/* The counts of shapes beside a running hub: the file comes up to the log by itself, also when it is damaged
 * or the disk was full. */
#include "base/faultpoint.h"
#include "run_support.h"
#include "store/shapes.h"
#include "store/verify.h"

static void add_events(struct hub *hub, const char *id, int count)
{
    for (int at = 0; at < count; at++) expect(hub, id, "Add", "{'amount':1}", FAULT_NONE);
}

/* Looks until the file has all of the log; the bound only ends a test that hangs. */
static struct shapes *file_at_head(struct hub *hub)
{
    const char *path = folder("data/shapes");
    uint64_t head = engine_head(hub_engine(hub)).position;
    for (int looks = 0; looks < 60000; looks++) {
        struct shapes *shapes;
        if (shapes_load(path, &shapes, NULL) == 1) {
            if (shapes_position(shapes) == head) return shapes;
            shapes_free(shapes);
        }
        usleep(1000);
    }
    fail_msg("%s does not come up to position %llu", path, (unsigned long long)head);
    return NULL;
}

static void assert_right(struct hub *hub, struct shapes *shapes)
{
    struct shapes *counted;
    assert_int_equal(shapes_of_log(hub_engine(hub), NULL, NULL, &counted, &test_fault), 0);
    assert_true(shapes_equal(shapes, counted));
    shapes_free(counted);
    shapes_free(shapes);
}

static void assert_verified(void)
{
    struct verify_report report;
    assert_int_equal(verify_directory(folder("data"), NULL, NULL, &report, &test_fault), 0);
    if (!report.ok) fail_msg("%s", report.damage);
}

static void test_follows(void **state)
{
    struct hub *hub = open_hub(folder("data"), 1, -1);
    add_events(hub, "one", 20);
    struct shapes *shapes = file_at_head(hub);
    assert_int_equal(shapes_count(shapes), 1);
    assert_int_equal(shapes_at(shapes, 0)->events, 20);
    assert_true(slice_is(shapes_at(shapes, 0)->shapes[0].text, "{amount:integer}"));
    assert_right(hub, shapes);
    add_events(hub, "two", 5);
    assert_right(hub, file_at_head(hub));
    hub_close(hub);
    assert_verified();
}

static void test_damaged(void **state)
{
    struct hub *hub = open_hub(folder("data"), 1, -1);
    add_events(hub, "one", 10);
    shapes_free(file_at_head(hub));
    hub_close(hub);
    FILE *file = fopen(folder("data/shapes"), "w");
    assert_non_null(file);
    fputs("shapes01 and something else", file);
    fclose(file);
    hub = open_hub(folder("data"), 1, -1);
    assert_right(hub, file_at_head(hub));
    hub_close(hub);
    assert_verified();
}

/* It goes on when there is room again. */
static void test_full_disk(void **state)
{
    assert_int_equal(fault_points_arm("shapes.write@1=ENOSPC,shapes.write@2=EIO", &test_fault), 0);
    struct hub *hub = open_hub_with(
        (struct hub_options){.data = folder("data"), .shards = 1, .projectors = -1, .quiet = true});
    add_events(hub, "one", 10);
    struct shapes *shapes = file_at_head(hub);
    assert_in_range(fault_point_passed(POINT_SHAPES_WRITE), 3, 1000);
    fault_points_disarm();
    assert_right(hub, shapes);
    hub_close(hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_follows, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The map against a plain list of what must be in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/map.h"
#include "base/rand.h"

enum { KEYS = 400 };

static uint32_t draw(uint32_t below)
{
    uint32_t value;
    rand_bytes(&value, sizeof value);
    return value % below;
}

static void agrees(const struct map *map, void *const *model, bool *seen)
{
    size_t at = 0, count = 0;
    memset(seen, 0, KEYS * sizeof *seen);
    for (void *value; (value = map_next(map, &at)) != NULL; count++) {
        size_t key;
        for (key = 0; key < KEYS && model[key] != value; key++) continue;
        assert_true(key < KEYS && !seen[key]);
        seen[key] = true;
    }
    assert_int_equal(count, map->size);
    for (size_t key = 0; key < KEYS; key++) assert_int_equal(seen[key], model[key] != NULL);
}

static void random_operations(void **state)
{
    static char keys[KEYS][16], values[200000];
    static bool seen[KEYS];
    void *model[KEYS] = {0};
    struct map map = {0};
    for (size_t n = 0; n < KEYS; n++) snprintf(keys[n], sizeof keys[n], "%zu%s", n, n % 3 ? "" : "-longer");
    for (size_t n = 0; n < sizeof values; n++) {
        if (n % 2500 == 0) { /* a new one, which grows with everything else going on */
            map_release(&map);
            memset(model, 0, sizeof model);
        }
        size_t key = draw(n % 20000 < 10000 ? KEYS : 20); /* full and nearly empty by turns */
        struct slice name = slice_of(keys[key]);
        switch (draw(n % 20000 < 10000 ? 4 : 3)) {
        case 0:
            assert_ptr_equal(map_remove(&map, name), model[key]);
            model[key] = NULL;
            break;
        case 1: assert_ptr_equal(map_find(&map, name), model[key]); break;
        default: assert_ptr_equal(map_put(&map, name, &values[n]), model[key]); model[key] = &values[n];
        }
        if (n % 97 == 0) agrees(&map, model, seen);
    }
    for (size_t key = 0; key < KEYS; key++)
        assert_ptr_equal(map_remove(&map, slice_of(keys[key])), model[key]);
    assert_int_equal(map.size, 0);
    map_release(&map);
}

/* Entries of the old table are found, replaced and removed while others move; a key is never in both. */
static void grows_while_used(void **state)
{
    enum { MANY = 50000 };
    static char keys[MANY][8], values[2 * MANY];
    struct map map = {0};
    for (size_t n = 0; n < MANY; n++) {
        snprintf(keys[n], sizeof keys[n], "%zu", n);
        assert_null(map_put(&map, slice_of(keys[n]), &values[n]));
        size_t other = draw((uint32_t)n + 1);
        assert_ptr_equal(map_find(&map, slice_of(keys[other])), &values[other]);
        assert_ptr_equal(map_put(&map, slice_of(keys[other]), &values[MANY + other]), &values[other]);
        assert_ptr_equal(map_remove(&map, slice_of(keys[other])), &values[MANY + other]);
        assert_null(map_find(&map, slice_of(keys[other])));
        assert_null(map_put(&map, slice_of(keys[other]), &values[other]));
        assert_int_equal(map.size, n + 1);
    }
    map_release(&map);
}

static void empty_map(void **state)
{
    struct map map = {0};
    size_t at = 0;
    int value;
    assert_null(map_find(&map, slice_of("a")));
    assert_null(map_remove(&map, slice_of("a")));
    assert_null(map_next(&map, &at));
    assert_null(map_put(&map, SLICE_NONE, &value)); /* the empty text is a key as any other */
    assert_ptr_equal(map_find(&map, slice_of("")), &value);
    map_release(&map);
    assert_null(map_find(&map, slice_of("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations),
                                       cmocka_unit_test(grows_while_used), cmocka_unit_test(empty_map)};
    return cmocka_run_group_tests_name("base/map", tests, NULL, NULL);
}

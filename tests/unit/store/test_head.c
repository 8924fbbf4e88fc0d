#include <fcntl.h>

#include "contract/engine_cases.h"
#include "store/head.h"

static void test_slots_alternate(void **state)
{
    const char *path = case_directory();
    char name[128];
    struct head_file file;
    struct head_slot slots[HEAD_SLOTS];
    struct hash digest = hash_of(slice_of("x"));
    bool found;
    snprintf(name, sizeof name, "%s/head", path);
    assert_int_equal(head_read(name, slots, &found, NULL), 0);
    assert_false(found);
    assert_int_equal(head_open(name, &file, NULL), 0);
    for (uint64_t at = 1; at <= 5; at++) assert_int_equal(head_write(&file, at * 10, at, &digest), 0);
    head_close(&file);
    assert_int_equal(head_read(name, slots, &found, NULL), 0);
    assert_true(found && slots[0].valid && slots[1].valid);
    /* The two newest, in turn. */
    uint64_t newest = slots[0].position > slots[1].position ? 0 : 1;
    assert_int_equal(slots[newest].position, 50);
    assert_int_equal(slots[newest].outcomes, 5);
    assert_int_equal(slots[!newest].position, 40);
    assert_true(hash_equal(&slots[0].digest, &digest));
    /* A later opener goes on behind the newest. */
    assert_int_equal(head_open(name, &file, NULL), 0);
    assert_int_equal(head_write(&file, 60, 6, &digest), 0);
    head_close(&file);
    assert_int_equal(head_read(name, slots, &found, NULL), 0);
    assert_int_equal(slots[!newest].position, 60);
    assert_int_equal(slots[newest].position, 50);
    case_remove(path);
}

/* Any bit of a slot changed makes that slot invalid, and only that one. */
static void test_every_flip(void **state)
{
    const char *path = case_directory();
    char name[128];
    struct head_file file;
    struct hash digest = hash_of(slice_of("x"));
    snprintf(name, sizeof name, "%s/head", path);
    assert_int_equal(head_open(name, &file, NULL), 0);
    head_write(&file, 1, 1, &digest);
    head_write(&file, 2, 2, &digest);
    for (int bit = 0; bit < HEAD_SLOTS * HEAD_SLOT_SIZE * 8; bit++) {
        struct head_slot slots[HEAD_SLOTS];
        uint8_t byte;
        bool found;
        assert_int_equal(pread(file.fd, &byte, 1, bit / 8), 1);
        byte ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(file.fd, &byte, 1, bit / 8), 1);
        assert_int_equal(head_read(name, slots, &found, NULL), 0);
        assert_false(slots[bit / 8 / HEAD_SLOT_SIZE].valid);
        assert_true(slots[1 - bit / 8 / HEAD_SLOT_SIZE].valid);
        byte ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(file.fd, &byte, 1, bit / 8), 1);
    }
    head_close(&file);
    case_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slots_alternate),
                                       cmocka_unit_test(test_every_flip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Documents under attack: killed, full, damaged, of another boot, grown under readers, read by another
 * process. */
#include "test_docs_support.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "codec/mp.h"
#include "store/docs.h"
#include "store/pages.h"

static const char *const index_names[] = {"round"};
static const struct slice tenant = {"t", 1};

static struct docs *docs_start(const char *path, uint64_t map_size)
{
    struct fault fault;
    struct docs *docs;
    bool dirty;
    struct docs_options options = {
        .path = path, .indexes = index_names, .index_count = 1, .map_size = map_size};
    assert_done(docs_open(&options, &docs, &dirty, &fault));
    assert_false(dirty);
    return docs;
}

static void value_of(struct buf *value, int64_t round, size_t filler)
{
    buf_clear(value);
    mp_put_map(value, 2);
    mp_put_text(value, slice_of("filler"));
    char *text = malloc(filler + 1);
    memset(text, 'f', filler);
    mp_put_text(value, slice_make(text, filler));
    free(text);
    mp_put_text(value, slice_of("round"));
    mp_put_int(value, round);
}

/* Every document and the meta value "round" become those of a round, in one commit. */
static int round_write(struct docs *docs, int64_t round, size_t documents, size_t filler, struct fault *fault)
{
    struct docs_write *write;
    struct buf value = {0};
    docs_begin(docs, &write, fault);
    value_of(&value, round, filler);
    for (size_t i = 0; i < documents; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%05zu", i);
        docs_put(write, tenant, slice_of(key), buf_slice(&value), fault);
    }
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)round);
    docs_meta_put(write, slice_of("round"), slice_of(text), fault);
    buf_release(&value);
    return docs_commit(write, fault);
}

/* The round that is there; all of it must be. */
static int64_t round_read(struct docs *docs, size_t documents)
{
    struct fault fault;
    struct docs_range range = {.tenant = tenant, .index = slice_of("round")};
    struct docs_read *read;
    assert_done(docs_read_open(docs, &range, &read, &fault));
    struct slice text, key, value, field;
    if (docs_read_meta(read, slice_of("round"), &text, &fault) == 0) {
        assert_int_equal(docs_read_next(read, &key, &value, &fault), 0);
        docs_read_close(read);
        return 0;
    }
    char copy[24] = {0};
    memcpy(copy, text.data, text.size);
    int64_t round = atoll(copy);
    size_t count = 0;
    int result;
    while ((result = docs_read_next(read, &key, &value, &fault)) == 1) {
        assert_true(mp_find(value, slice_of("round"), &field));
        struct mp_reader reader = mp_reader_of(field);
        struct mp_value number;
        assert_int_equal(mp_read(&reader, &number), 0);
        assert_int_equal(number.integer, round);
        count++;
    }
    if (result < 0) fail_msg("%s", fault.text);
    assert_int_equal(count, documents);
    docs_read_close(read);
    return round;
}

static void whole_file(const char *directory)
{
    struct fault fault;
    struct pages_report report;
    char path[500];
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    assert_done(pages_check(path, &report, &fault));
    if (!report.ok) fail_msg("%s", report.damage);
}

enum { KILL_DOCUMENTS = 60 };

static void write_for_ever(const char *path, int64_t round, int answers)
{
    struct docs *docs = docs_start(path, 0);
    struct fault fault;
    for (;; round++) {
        if (round_write(docs, round, KILL_DOCUMENTS, 10 + (size_t)round % 300, &fault) < 0) _exit(1);
        if (write(answers, &round, sizeof round) != sizeof round) _exit(2);
    }
}

static void a_kill_leaves_the_last_commit(void **state)
{
    const char *path = test_path("killed");
    int64_t answered = 0;
    struct fault fault;
    for (int kill_number = 0; kill_number < 20; kill_number++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) write_for_ever(path, answered + 1, ends[1]);
        close(ends[1]);
        int64_t round;
        for (size_t answers = 1 + test_below(60); answers > 0; answers--) {
            assert_int_equal(read(ends[0], &round, sizeof round), sizeof round);
            answered = round;
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &round, sizeof round) == sizeof round) answered = round;
        close(ends[0]);
        whole_file(path);
        struct docs *docs = docs_start(path, 0);
        round = round_read(docs, KILL_DOCUMENTS);
        assert_true(round == answered || round == answered + 1);
        answered = round;
        assert_done(docs_check(docs, NULL, &fault));
        docs_close(docs);
    }
}

static void another_boot_is_dirty(void **state)
{
    struct fault fault;
    const char *path = test_path("boot");
    char mark[500];
    snprintf(mark, sizeof mark, "%s/boot", path);
    struct docs *docs = docs_start(path, 0);
    assert_done(round_write(docs, 1, 5, 5, &fault));
    struct buf boot = test_file_read(mark);
    assert_true(boot.size > 30);
    docs_close(docs);
    struct buf clean = test_file_read(mark);
    assert_true(slice_is(buf_slice(&clean), "clean"));
    /* As a killed process of this boot, of another boot, and with a torn mark. */
    const char *const marks[] = {boot.data, "11111111-2222-3333-4444-555555555555", ""};
    const size_t sizes[] = {boot.size, 36, 0};
    struct docs_options options = {.path = path, .indexes = index_names, .index_count = 1};
    for (int i = 0; i < 3; i++) {
        for (int read_only = 1; read_only >= 0; read_only--) {
            test_file_write(mark, marks[i], sizes[i]);
            bool dirty;
            options.read_only = read_only;
            assert_done(docs_open(&options, &docs, &dirty, &fault));
            assert_int_equal(dirty, i > 0);
            if (!dirty) assert_int_equal(round_read(docs, 5), 1);
            docs_close(docs);
        }
        if (i == 0) continue;
        struct buf after = test_file_read(mark);
        assert_true(slice_equal(buf_slice(&after),
                                slice_make(marks[i], sizes[i]))); /* closing did not make it clean */
        buf_release(&after);
        assert_done(docs_destroy(path, &fault));
        assert_int_equal(access(path, F_OK), -1);
        docs = docs_start(path, 0);
        assert_int_equal(docs_count(docs), 0);
        docs_close(docs);
    }
    assert_done(docs_destroy(path, &fault));
    assert_done(docs_destroy(path, &fault)); /* gone already */
    options.read_only = true;
    bool dirty;
    assert_int_equal(docs_open(&options, &docs, &dirty, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    buf_release(&boot);
    buf_release(&clean);
}

static void other_indexes_are_dirty(void **state)
{
    struct fault fault;
    const char *path = test_path("indexes");
    const char *const others[] = {"other"};
    struct docs *docs = docs_start(path, 0);
    assert_done(round_write(docs, 7, 3, 5, &fault));
    docs_close(docs);
    bool dirty;
    struct docs_options options = {.path = path, .indexes = others, .index_count = 1};
    assert_done(docs_open(&options, &docs, &dirty, &fault));
    assert_true(dirty);
    docs_close(docs);
    options = (struct docs_options){.path = path, .read_only = true};
    assert_done(docs_open(&options, &docs, &dirty, &fault));
    assert_false(dirty);
    assert_int_equal(round_read(docs, 3), 7);
    docs_close(docs);
}

/* --- the map grows while others read --- */

struct reader {
    struct docs *docs;
    int stop;
    uint64_t reads;
};

static void *read_for_ever(void *user)
{
    struct reader *reader = user;
    struct fault fault;
    struct buf value = {0};
    while (!__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE)) {
        struct docs_read *read;
        struct docs_range range = {.tenant = tenant};
        if (docs_read_open(reader->docs, &range, &read, &fault) < 0) abort();
        struct slice key, found;
        while (docs_read_next(read, &key, &found, &fault) == 1)
            if (found.size == 0) abort();
        /* A second read in the same thread must not wait for a growth that waits for the first. */
        buf_clear(&value);
        if (docs_get(reader->docs, tenant, slice_of("k00000"), &value, &fault) < 0) abort();
        docs_read_close(read);
        __atomic_fetch_add(&reader->reads, 1, __ATOMIC_RELEASE);
    }
    buf_release(&value);
    return NULL;
}

static void the_map_grows_under_readers(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("growing"), 1 << 20);
    struct reader reader = {.docs = docs};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_for_ever, &reader), 0);
    for (int round = 1; round <= 5; round++) {
        assert_done(round_write(docs, round, 2000, (size_t)round * 500, &fault));
        uint64_t reads = __atomic_load_n(&reader.reads, __ATOMIC_ACQUIRE);
        while (__atomic_load_n(&reader.reads, __ATOMIC_ACQUIRE) < reads + 2) sched_yield();
    }
    __atomic_store_n(&reader.stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(round_read(docs, 2000), 5);
    assert_true(docs_size(docs) > 4 << 20);
    assert_done(docs_check(docs, NULL, &fault));
    docs_close(docs);
}

/* --- the disk is full --- */

static void a_full_disk_is_a_fault_and_passes(void **state)
{
    const char *place = test_path("small");
    mkdir(place, 0755);
    if (mount("tmpfs", place, "tmpfs", 0, "size=4m") < 0) {
        print_message("skipped: cannot mount a small tmpfs here: %s\n", strerror(errno));
        skip();
    }
    struct fault fault;
    struct docs *docs = docs_start(test_path("small/docs"), 0);
    assert_done(round_write(docs, 1, 100, 1000, &fault));
    char balloon[500];
    snprintf(balloon, sizeof balloon, "%s/balloon", place);
    for (int n = 0; n < 3; n++) {
        fault.code = FAULT_NONE;
        assert_int_equal(round_write(docs, 100 + n, 4000, 3000, &fault), -1);
        assert_int_equal(fault.code, FAULT_DISK);
        assert_int_equal(round_read(docs, 100), n + 1);
        assert_done(docs_check(docs, NULL, &fault));
        assert_done(round_write(docs, n + 2, 100, 900, &fault)); /* smaller: later works again */
    }
    docs_close(docs);
    whole_file(test_path("small/docs"));
    docs = docs_start(test_path("small/docs"), 0);
    assert_int_equal(round_read(docs, 100), 4);
    docs_close(docs);
    assert_int_equal(umount(place), 0);
}

/* Where no room could be had, here at the growth of the map: as it was, and well again afterwards. */
static void a_failed_growth_is_a_fault_and_passes(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("no growth"), 1 << 20);
    assert_done(round_write(docs, 1, 100, 100, &fault));
    assert_done(fault_points_arm("views.grow=ENOSPC", &fault));
    assert_int_equal(round_write(docs, 2, 2000, 1000, &fault), -1);
    assert_int_equal(fault.code, FAULT_DISK);
    assert_int_equal(round_read(docs, 100), 1);
    assert_done(round_write(docs, 3, 2000, 1000, &fault));
    fault_points_disarm();
    assert_int_equal(round_read(docs, 2000), 3);
    docs_close(docs);
}

/* What an orderly end could not make durable is there as long as the machine runs, and is not marked clean:
 * another boot makes it anew. */
static void what_was_not_synced_is_not_clean(void **state)
{
    struct fault fault;
    char mark[500];
    snprintf(mark, sizeof mark, "%s", test_path("unsynced/boot"));
    struct docs *docs = docs_start(test_path("unsynced"), 0);
    assert_done(round_write(docs, 1, 100, 100, &fault));
    docs_close(docs);
    struct buf clean = test_file_read(mark);
    docs = docs_start(test_path("unsynced"), 0);
    assert_done(round_write(docs, 2, 100, 100, &fault));
    unsigned long passed = fault_point_passed(POINT_VIEWS_SYNC);
    assert_done(fault_points_arm("views.sync=EIO", &fault));
    docs_close(docs);
    assert_int_equal(fault_point_passed(POINT_VIEWS_SYNC), passed + 1);
    fault_points_disarm();
    struct buf left = test_file_read(mark);
    assert_false(slice_equal(buf_slice(&left), buf_slice(&clean)));
    buf_release(&left);
    buf_release(&clean);
    docs = docs_start(test_path("unsynced"), 0);
    assert_int_equal(round_read(docs, 100), 2);
    docs_close(docs);
}

/* --- damage --- */

/* A flipped bit anywhere in the file is found by pages_check or docs_check, or changes nothing that is read.
 */
static void flipped_bits_are_found(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("damaged"), 0);
    for (int round = 1; round <= 3; round++) assert_done(round_write(docs, round, 150, 40, &fault));
    assert_done(round_write(docs, 4, 150, 6000, &fault));
    assert_done(round_write(docs, 5, 150, 45, &fault));
    docs_close(docs);
    char path[500];
    snprintf(path, sizeof path, "%s", test_path("damaged/data.mdb"));
    struct buf whole = test_file_read(path);
    int by_pages = 0, by_docs = 0;
    for (int n = 0; n < 600; n++) {
        size_t at = n % 3 ? test_below(whole.size) : test_below(2) * 4096 + test_below(160);
        char bit = (char)(1 << test_below(8));
        whole.data[at] ^= bit;
        test_file_write(path, whole.data, whole.size);
        whole.data[at] ^= bit;
        struct pages_report report;
        assert_done(pages_check(path, &report, &fault));
        bool dirty;
        struct docs_options options = {.path = test_path("damaged"), .read_only = true};
        if (!report.ok) {
            by_pages++;
        } else if (docs_open(&options, &docs, &dirty, &fault) < 0) {
            by_docs++;
        } else {
            if (docs_check(docs, NULL, &fault) < 0) {
                assert_int_equal(fault.code, FAULT_CORRUPT);
                assert_non_null(strstr(fault.text, "damaged"));
                by_docs++;
            } else {
                assert_int_equal(round_read(docs, 150), 5);
            }
            docs_close(docs);
        }
    }
    print_message("600 flips: %d found by pages, %d by documents\n", by_pages, by_docs);
    assert_true(by_pages > 30 && by_docs > 0);
    buf_release(&whole);
}

static void a_damaged_value_is_named(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("value"), 0);
    struct docs_write *write;
    assert_done(docs_begin(docs, &write, &fault));
    struct slice value = slice_of("\xb0"
                                  "needle in a stack");
    assert_done(docs_put(write, tenant, slice_of("the-key"), value, &fault));
    assert_done(docs_commit(write, &fault));
    docs_close(docs);
    struct buf bytes = test_file_read(test_path("value/data.mdb"));
    char *found = memmem(bytes.data, bytes.size, "needle", 6);
    assert_non_null(found);
    *found ^= 1;
    test_file_write(test_path("value/data.mdb"), bytes.data, bytes.size);
    docs = docs_start(test_path("value"), 0);
    struct buf copy = {0};
    assert_int_equal(docs_get(docs, tenant, slice_of("the-key"), &copy, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "the-key"));
    assert_non_null(strstr(fault.text, test_path("value")));
    assert_int_equal(copy.size, 0);
    assert_done(docs_begin(docs, &write, &fault));
    assert_done(docs_put(write, tenant, slice_of("the-key"), slice_of("\x80"), &fault));
    assert_int_equal(docs_commit(write, &fault), -1); /* whose index entries are these? nobody knows */
    assert_int_equal(fault.code, FAULT_CORRUPT);
    docs_close(docs);
    buf_release(&bytes);
    buf_release(&copy);
}

/* --- beside another process --- */

static void another_process_reads_along(void **state)
{
    struct fault fault;
    const char *path = test_path("beside");
    struct docs *docs = docs_start(path, 1 << 20);
    assert_done(round_write(docs, 1, 50, 10, &fault));
    int to[2], from[2];
    assert_int_equal(pipe(to) | pipe(from), 0);
    pid_t child = fork();
    if (child == 0) {
        struct docs *own;
        bool dirty;
        struct docs_options options = {.path = path, .read_only = true, .map_size = 1 << 20};
        if (docs_open(&options, &own, &dirty, &fault) < 0 || dirty) _exit(1);
        char byte;
        while (read(to[0], &byte, 1) == 1) {
            int64_t round = round_read(own, byte == 'a' ? 50 : 3000);
            if (write(from[1], &round, sizeof round) != sizeof round) _exit(2);
            if (byte == 'b') break;
        }
        docs_close(own);
        _exit(0);
    }
    int64_t round;
    assert_int_equal(write(to[1], "a", 1), 1);
    assert_int_equal(read(from[0], &round, sizeof round), sizeof round);
    assert_int_equal(round, 1);
    assert_done(round_write(docs, 2, 3000, 2000, &fault)); /* beyond the child's map */
    assert_int_equal(write(to[1], "b", 1), 1);
    assert_int_equal(read(from[0], &round, sizeof round), sizeof round);
    assert_int_equal(round, 2);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    docs_close(docs);
}

static int group_begin(void **state)
{
    test_directory_make();
    return 0;
}
static int group_end(void **state)
{
    umount2(test_path("small"), MNT_DETACH); /* if a test failed before it did */
    test_directory_drop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_leaves_the_last_commit),
        cmocka_unit_test(another_boot_is_dirty),
        cmocka_unit_test(what_was_not_synced_is_not_clean),
        cmocka_unit_test(other_indexes_are_dirty),
        cmocka_unit_test(the_map_grows_under_readers),
        cmocka_unit_test(a_full_disk_is_a_fault_and_passes),
        cmocka_unit_test(a_failed_growth_is_a_fault_and_passes),
        cmocka_unit_test(flipped_bits_are_found),
        cmocka_unit_test(a_damaged_value_is_named),
        cmocka_unit_test(another_process_reads_along),
    };
    return cmocka_run_group_tests_name("docs on disk", tests, group_begin, group_end);
}

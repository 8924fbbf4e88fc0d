/* verify finds what was changed: any byte of the log or its index flipped is found, or nothing that can be
 * read differs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/engine_lmdb.h"
#include "store/environment.h"
#include "store/index_inside.h"
#include "store/verify_inside.h"
#include "unit/store/disk_support.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

/* Some hundred commits and outcomes of several tenants and streams, flushed in several runs. */
static void fill(const char *path)
{
    struct arena arena = {0};
    uint64_t events, seed = 7, versions[30] = {0};
    struct engine *engine = disk_open(path);
    for (int round = 0; round < 300; round++) {
        size_t number = next_random(&seed) % 30;
        char *id = arena_zero(&arena, 32), *command = arena_zero(&arena, 32);
        snprintf(id, 32, "bill-%zu", number);
        snprintf(command, 32, "command-%d", round);
        struct stream_id stream = case_stream(number % 3 ? "acme" : "other", id);
        size_t count = next_random(&seed) % 6 == 0 ? 0 : 1 + next_random(&seed) % 3;
        struct commit *commit = count ? case_commit(&arena, stream, versions[number], count, command)
                                      : case_rejection(&arena, stream, versions[number], command);
        if (round == 200) commit->actor = slice_of("a name that comes late");
        assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
        versions[number] += count;
        if (round % 90 == 89) assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    }
    /* One record on pages of its own. */
    struct commit *large = case_commit(&arena, case_stream("acme", "large"), 0, 1, "large");
    struct commit_event event = {slice_of("LineAdded"), 1, 5, case_data(&arena, 1, 9000)};
    large->events = &event;
    case_append(engine, large);
    assert_int_equal(engine_meta_put(engine, slice_of("deploy"), slice_of("one"), NULL), 0);
    engine_close(engine);
    arena_release(&arena);
}

/* What a reader sees, looked at by a process of its own, since a damaged page may end it. 0: the digest is
 * the same. */
static int dump_differs(const char *path, const struct hash *expected)
{
    pid_t child = fork();
    if (child == 0) {
        struct engine *engine;
        struct case_dump dump;
        struct buf value = {0};
        struct engine_options options = {.path = path, .read_only = true};
        alarm(20);
        if (engine_open_lmdb(&options, &engine, NULL) < 0) _exit(2);
        if (case_dump(engine, &dump, NULL) < 0) _exit(3);
        if (!hash_equal(&dump.digest, expected)) _exit(4);
        if (engine_meta_get(engine, slice_of("deploy"), &value, NULL) != 1 ||
            !slice_is(buf_slice(&value), "one"))
            _exit(5);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct hash dump_of(const char *path)
{
    struct case_dump dump;
    struct fault fault = {0};
    struct engine *engine = disk_open(path);
    if (case_dump(engine, &dump, &fault) < 0) fail_msg("dump: %s", fault.text);
    engine_close(engine);
    return dump.digest;
}

static void test_whole(void **state)
{
    const char *path = case_directory();
    fill(path);
    struct verify_report report = disk_verify(path);
    if (!report.ok) fail_msg("%s", report.damage);
    struct engine *engine = disk_open(path);
    struct engine_head head = engine_head(engine);
    engine_close(engine);
    assert_int_equal(report.commits, head.commits);
    assert_int_equal(report.events, head.position);
    assert_int_equal(report.outcomes, head.outcomes);
    assert_int_equal(report.head_position, head.position);
    assert_in_range(report.streams, 20, 31);
    assert_int_equal(report.bad_position, 0);
    case_remove(path);
}

/* Puts a filter beside the index, as for what is on disk now, of what add gives it. */
static void keep_filter(const char *path, void (*add)(struct index_filter *filter, struct index *index))
{
    struct engine *engine = disk_open(path);
    struct index *index = ((struct engine_lmdb *)engine)->index;
    index_filter_free(index->filter);
    index->filter = index_filter_new(0);
    add(index->filter, index);
    struct index_state state;
    assert_int_equal(index_read_state(index, &state, NULL), 0);
    index_kept_put(index, &state);
    engine_close(engine);
}

static bool add_stream(void *filter, struct slice key, const struct index_commit *commit)
{
    index_filter_add(filter, index_filter_of_stream(key));
    return true;
}

static bool add_id(void *filter, uint64_t hash, uint64_t place)
{
    index_filter_add(filter, index_filter_of_id(hash));
    return true;
}

static void add_streams(struct index_filter *filter, struct index *index)
{
    assert_int_equal(index_disk_streams(index, add_stream, filter, NULL), 0);
}

static void add_ids(struct index_filter *filter, struct index *index)
{
    assert_int_equal(index_disk_ids(index, add_id, filter, NULL), 0);
}

static void add_all(struct index_filter *filter, struct index *index)
{
    add_streams(filter, index);
    add_ids(filter, index);
}

static void test_kept_filter(void **state)
{
    const char *path = case_directory();
    fill(path);
    keep_filter(path, add_all);
    assert_true(disk_verify(path).ok);
    keep_filter(path, add_streams);
    struct verify_report report = disk_verify(path);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "has a filter that denies an id"));
    keep_filter(path, add_ids);
    report = disk_verify(path);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "has a filter that denies the stream"));
    case_remove(path);
}

/* As a kill leaves it between the making of the file and the first commit. */
static void test_view_not_begun(void **state)
{
    const char *data = case_directory();
    char path[256];
    struct environment *environment;
    struct environment_options options = {.path = path, .databases_max = 3};
    struct fault fault;
    bool dirty;
    engine_close(disk_open(data));
    snprintf(path, sizeof path, "%s/views", data);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/views/billing.bills@1", data);
    assert_int_equal(environment_open(&options, &environment, &dirty, &fault), 0);
    environment_close(environment);
    disk_assert_verified(data);
    case_remove(data);
}

static void test_nothing_there(void **state)
{
    struct verify_report report;
    struct fault fault = {0};
    const char *path = case_directory();
    assert_int_equal(verify_directory(path, NULL, NULL, &report, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    case_remove(path);
}

static void test_flips(void **state)
{
    static const char *const files[] = {"log/data.mdb",   "log/data.mdb", "log/data.mdb",
                                        "index/data.mdb", "log/head",     "index/mark"};
    const char *given = getenv("SEED"), *given_count = getenv("FLIPS");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_monotonic_ns();
    int count = given_count ? atoi(given_count) : 500, missed = 0, found = 0;
    printf("SEED=%llu\n", (unsigned long long)seed);
    const char *path = case_directory();
    fill(path);
    struct hash digest = dump_of(path);
    for (int round = 0; round < count; round++) {
        const char *file = files[next_random(&seed) % 6];
        off_t at = (off_t)(next_random(&seed) % (uint64_t)disk_size(path, file));
        uint8_t bits = (uint8_t)(1 + next_random(&seed) % 255);
        disk_flip(path, file, at, bits);
        struct verify_report report = disk_verify(path);
        found += !report.ok;
        int differs = report.ok ? dump_differs(path, &digest) : 0;
        if (differs) {
            printf("missed: %s byte %lld xor %d: dump says %d\n", file, (long long)at, bits, differs);
            missed++;
        }
        disk_flip(path, file, at, bits);
    }
    assert_int_equal(missed, 0);
    assert_in_range(found, count / 4, count);
    struct verify_report report = disk_verify(path);
    assert_true(report.ok);
    case_remove(path);
}

static uint64_t newest_transaction(int fd, int *page)
{
    uint64_t transactions[2];
    /* Page header 16 bytes, then the meta page: the transaction's number is its last field, 128 bytes on. */
    for (int at = 0; at < 2; at++) assert_int_equal(pread(fd, &transactions[at], 8, at * 4096 + 16 + 128), 8);
    *page = transactions[1] > transactions[0];
    return transactions[*page];
}

static void remove_file(const char *path, const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", path, name);
    assert_int_equal(unlink(file), 0);
}

/* A lost tail: the newer head page of LMDB made invalid, so that the log falls back to the one before. What
 * the journal still holds brings it back; without the journal it is missed. */
static void test_lost_end(void **state)
{
    const char *path = case_directory();
    struct engine *engine;
    struct fault fault = {0};
    struct engine_options options = {.path = path};
    struct arena arena = {0};
    char file[256];
    fill(path);
    for (int with_journal = 1; with_journal >= 0; with_journal--) {
        engine = disk_open(path);
        uint64_t version = case_version(engine, case_stream("acme", "last"), NULL);
        case_append(engine, case_commit(&arena, case_stream("acme", "last"), version, 1, NULL));
        engine_close(engine);
        snprintf(file, sizeof file, "%s/log/data.mdb", path);
        int page, fd = open(file, O_RDWR);
        uint64_t before = newest_transaction(fd, &page), older = 1;
        assert_int_equal(pwrite(fd, &older, 8, page * 4096 + 16 + 128), 8);
        assert_int_equal(newest_transaction(fd, &page), before - 1);
        close(fd);
        if (with_journal) {
            assert_false(disk_verify(path).ok); /* the page */
            engine = disk_open(path);
            assert_int_equal(case_version(engine, case_stream("acme", "last"), NULL), version + 1);
            engine_close(engine);
            assert_true(disk_verify(path).ok);
        }
    }
    remove_file(path, "log/journal-0");
    remove_file(path, "log/journal-1");
    struct verify_report report = disk_verify(path);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "its end is lost"));
    assert_int_equal(engine_open_lmdb(&options, &engine, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    arena_release(&arena);
    case_remove(path);
}

/* The first wrong position is named. */
static void test_first_position(void **state)
{
    const char *path = case_directory();
    struct arena arena = {0};
    struct engine *engine = disk_open(path);
    struct commit *commit = case_commit(&arena, case_stream("acme", "1"), 0, 3, NULL);
    case_append(engine, commit);
    struct commit_event events[3];
    memcpy(events, commit->events, sizeof events);
    struct buf data = {0};
    mp_put_map(&data, 1);
    mp_put_text(&data, slice_of("mark"));
    mp_put_text(&data, slice_of("find me here"));
    events[1].data = buf_slice(&data);
    commit = case_commit(&arena, case_stream("acme", "1"), 3, 3, NULL);
    commit->events = events;
    case_append(engine, commit);
    case_append(engine, case_commit(&arena, case_stream("acme", "1"), 6, 1, NULL));
    engine_close(engine);
    off_t size = disk_size(path, "log/data.mdb");
    char file[256], *bytes = malloc((size_t)size);
    snprintf(file, sizeof file, "%s/log/data.mdb", path);
    int fd = open(file, O_RDONLY);
    assert_int_equal(read(fd, bytes, (size_t)size), size);
    close(fd);
    for (off_t at = 0; at + 12 < size; at++)
        if (memcmp(bytes + at, "find me here", 12) == 0) disk_flip(path, "log/data.mdb", at + 3, 1);
    struct verify_report report = disk_verify(path);
    assert_false(report.ok);
    assert_int_equal(report.bad_position, 4);
    assert_non_null(strstr(report.damage, "position 4"));
    free(bytes);
    buf_release(&data);
    arena_release(&arena);
    case_remove(path);
}

/* --- readers that do not come back --- */

static void tells_and_hangs(const struct verify_part *part)
{
    verify_progress(part, 7, 9);
    for (;;) pause();
}

static void finds_and_hangs(const struct verify_part *part)
{
    struct verify_message message = {.kind = VERIFY_DONE};
    verify_find(part, 3, "a finding");
    verify_say(part, &message); /* done, it says */
    for (;;) pause();
}

static void crashes(const struct verify_part *part)
{
    verify_progress(part, 4, 9);
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void stops(const struct verify_part *part)
{
    (void)part;
    _exit(3);
}

/* Each is a finding with the place behind the last good position, and the child is gone. */
static void test_readers_that_do_not_end(void **state)
{
    (void)state;
    static const struct {
        void (*run)(const struct verify_part *part);
        uint64_t bad_position;
        const char *text;
    } cases[] = {{tells_and_hangs, 8, "log: reading it does not end after position 7"},
                 {finds_and_hangs, 3, "a finding\nlog: reading it does not end"},
                 {crashes, 5, "log: reading it crashes (signal 11) after position 4"},
                 {stops, 0, "log: reading it stopped (exit code 3)"}};
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        struct verify_report report = {.ok = true};
        struct verify_part part = {.name = "log", .run = cases[at].run, .timeout_ms = 100};
        if (cases[at].run == crashes || cases[at].run == stops) part.timeout_ms = -1;
        struct fault fault;
        assert_int_equal(verify_run_part(&part, &report, &fault), 0);
        assert_false(report.ok);
        assert_string_equal(report.damage, cases[at].text);
        assert_int_equal(report.bad_position, cases[at].bad_position);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it has no children any more */
        assert_int_equal(errno, ECHILD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),          cmocka_unit_test(test_kept_filter),
        cmocka_unit_test(test_nothing_there),  cmocka_unit_test(test_view_not_begun),
        cmocka_unit_test(test_first_position), cmocka_unit_test(test_lost_end),
        cmocka_unit_test(test_flips),          cmocka_unit_test(test_readers_that_do_not_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

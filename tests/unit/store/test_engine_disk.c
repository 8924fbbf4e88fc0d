/* What the disk may do to the LMDB engine: kill -9, a full disk, a failed fsync, a map too small, two at
 * once. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "unit/store/disk_support.h"

/* LMDB's calls come here first, since the program's own symbols win over the library's. */
static atomic_int fsync_error, allocate_error;

int fdatasync(int fd)
{
    if (fsync_error) {
        errno = fsync_error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* The directories that were synced, by inode. */
static ino_t synced[64];
static size_t synced_count;

int fsync(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) && synced_count < 64)
        synced[synced_count++] = status.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (allocate_error) return allocate_error;
    return fallocate(fd, 0, offset, size) < 0 ? errno : 0;
}

/* --- a new log: its names are as durable as its bytes --- */

static bool was_synced(const char *path, const char *name)
{
    struct stat status;
    char directory[128];
    snprintf(directory, sizeof directory, "%s/%s", path, name);
    assert_int_equal(stat(directory, &status), 0);
    for (size_t at = 0; at < synced_count; at++)
        if (synced[at] == status.st_ino) return true;
    return false;
}

static void test_new_directories(void **state)
{
    const char *path = case_directory();
    char data[128];
    struct fault fault;
    struct engine *engine;
    struct engine_options options = {.path = data};
    snprintf(data, sizeof data, "%s/data", path);
    synced_count = 0;
    if (disk_open_with(&options, &engine, &fault) < 0) fail_msg("%s", fault.text);
    assert_true(was_synced(path, "data/log"));
    assert_true(was_synced(path, "data"));
    assert_true(was_synced(path, ""));
    engine_close(engine);
    case_remove(path);
}

/* --- kill -9 --- */

/* Appends to 50 streams without end; a line "stream version id" for each commit answered. */
static void append_for_ever(const char *path, int answers, uint64_t first_id)
{
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path};
    if (disk_open_with(&options, &engine, &fault) < 0) _exit(1);
    uint64_t versions[50];
    for (int at = 0; at < 50; at++) {
        char id[16];
        snprintf(id, sizeof id, "%d", at);
        struct stream_id stream = case_stream("acme", id);
        uint64_t position;
        if (engine_stream_head(engine, &stream, &versions[at], &position, &fault) < 0) _exit(1);
    }
    for (uint64_t command = first_id;;) {
        struct arena arena = {0};
        struct append batch[7] = {0};
        char text[7 * 64];
        size_t size = 0;
        for (int at = 0; at < 7; at++, command++) {
            char *id = arena_zero(&arena, 16), *name = arena_zero(&arena, 32);
            size_t stream = command * 13 % 50;
            snprintf(id, 16, "%zu", stream);
            snprintf(name, 32, "c%llu", (unsigned long long)command);
            batch[at].commit =
                case_commit(&arena, case_stream("acme", id), versions[stream], 1 + command % 2, name);
            versions[stream] += 1 + command % 2;
            size += (size_t)snprintf(text + size, sizeof text - size, "%zu %llu %llu\n", stream,
                                     (unsigned long long)versions[stream], (unsigned long long)command);
        }
        if (engine_append(engine, batch, 7, &fault) < 0) _exit(1);
        for (int at = 0; at < 7; at++)
            if (batch[at].outcome != APPEND_APPENDED) _exit(2);
        if (write(answers, text, size) != (ssize_t)size) _exit(3);
        uint64_t events;
        if (command % 700 == 0 && engine_flush_index(engine, &events, &fault) < 0) _exit(4);
        arena_release(&arena);
    }
}

/* Reads answers for a while, kills, reads the rest; the highest command answered. */
static uint64_t run_and_kill(const char *path, uint64_t first_id, int lines_before_kill)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        append_for_ever(path, ends[1], first_id);
    }
    close(ends[1]);
    FILE *answers = fdopen(ends[0], "r");
    unsigned long long stream, version, command, last = first_id - 1;
    for (int lines = 0; fscanf(answers, "%llu %llu %llu", &stream, &version, &command) == 3; lines++) {
        assert_int_equal(command, last + 1);
        last = command;
        if (lines == lines_before_kill) kill(child, SIGKILL);
    }
    fclose(answers);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void test_kill(void **state)
{
    const char *path = case_directory();
    const char *given = getenv("KILLS");
    int kills = given ? atoi(given) : 12;
    uint64_t answered = 0;
    for (int round = 0; round < kills; round++) {
        uint64_t next = answered + 1;
        answered = run_and_kill(path, next, 50 + round * 331 % 4000);
        struct engine *engine = disk_open(path);
        struct case_dump dump;
        struct fault fault = {0};
        struct buf bytes = {0};
        struct record record;
        if (case_dump(engine, &dump, &fault) < 0) fail_msg("%s", fault.text);
        for (uint64_t command = next; command <= answered; command++) {
            char id[16], name[32];
            snprintf(id, sizeof id, "%llu", (unsigned long long)(command * 13 % 50));
            snprintf(name, sizeof name, "c%llu", (unsigned long long)command);
            if (case_find(engine, case_stream("acme", id), name, &record, &bytes) != 1)
                fail_msg("command %s was answered and is lost", name);
        }
        /* What was on disk but not answered counts as taken; a batch is there as a whole. */
        struct engine_head head = engine_head(engine);
        assert_true(head.commits >= answered && head.commits <= answered + 7 && head.commits % 7 == 0);
        answered = head.commits;
        buf_release(&bytes);
        engine_close(engine);
        disk_assert_verified(path);
    }
    case_remove(path);
}

/* --- the disk refuses --- */

static int append_numbered(struct engine *engine, uint64_t number, size_t padding, struct fault *fault)
{
    struct arena arena = {0};
    struct commit *commit = case_commit(&arena, case_stream("acme", "1"), number, 1, NULL);
    struct commit_event event = {slice_of("LineAdded"), 1, 5, case_data(&arena, 1, padding)};
    commit->events = &event;
    struct append append = {.commit = commit};
    int result = engine_append(engine, &append, 1, fault);
    if (result == 0) assert_int_equal(append.outcome, APPEND_APPENDED);
    arena_release(&arena);
    return result;
}

static void test_full_injected(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    struct fault fault = {0};
    uint64_t version = 0;
    while (version < 10) assert_int_equal(append_numbered(engine, version++, 100, &fault), 0);
    allocate_error = ENOSPC;
    /* Until the room that is there already is used up. */
    while (append_numbered(engine, version, 50000, &fault) == 0) version++;
    assert_in_range(version, 10, 200);
    assert_int_equal(fault.code, FAULT_DISK);
    struct engine_head head = engine_head(engine);
    assert_int_equal(head.position, version);
    assert_int_equal(append_numbered(engine, version, 50000, &fault), -1);
    assert_int_equal(case_version(engine, case_stream("acme", "1"), NULL), version);
    allocate_error = 0;
    assert_int_equal(append_numbered(engine, version++, 50000, &fault), 0);
    engine_close(engine);
    disk_assert_verified(path);
    engine = disk_open(path);
    assert_int_equal(case_version(engine, case_stream("acme", "1"), NULL), version);
    engine_close(engine);
    case_remove(path);
}

static void test_full_for_real(void **state)
{
    char *path = case_directory(), file[128];
    if (mount("none", path, "tmpfs", 0, "size=6m") < 0) {
        printf("skipped: mounting a small file system is not allowed here (%s)\n", strerror(errno));
        rmdir(path);
        skip();
    }
    struct engine *engine = disk_open(path);
    struct fault fault = {0};
    uint64_t version = 0, events;
    while (append_numbered(engine, version, 3000, &fault) == 0) version++;
    assert_int_equal(fault.code, FAULT_DISK);
    assert_in_range(version, 100, 3000);
    /* The index may not find room either: no harm. */
    if (engine_flush_index(engine, &events, &fault) < 0) assert_int_equal(fault.code, FAULT_DISK);
    struct case_dump dump;
    if (case_dump(engine, &dump, &fault) < 0) fail_msg("%s", fault.text);
    assert_int_equal(dump.events, version);
    assert_int_equal(mount("none", path, "tmpfs", MS_REMOUNT, "size=20m"), 0);
    for (int more = 0; more < 50; more++)
        assert_int_equal(append_numbered(engine, version++, 3000, &fault), 0);
    engine_close(engine);
    disk_assert_verified(path);
    /* Full again, and started on a full disk: it opens or says why. */
    snprintf(file, sizeof file, "%s/ballast", path);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    char block[4096] = {0};
    while (write(fd, block, sizeof block) > 0) continue;
    close(fd);
    struct engine_options options = {.path = path};
    if (disk_open_with(&options, &engine, &fault) == 0) {
        assert_int_equal(engine_head(engine).position, version);
        engine_close(engine);
    } else {
        assert_int_equal(fault.code, FAULT_DISK);
    }
    assert_int_equal(unlink(file), 0);
    engine = disk_open(path);
    assert_int_equal(engine_head(engine).position, version);
    engine_close(engine);
    assert_int_equal(umount(path), 0);
    case_remove(path);
}

static void test_failed_fsync(void **state)
{
    const char *path = case_directory();
    pid_t child = fork();
    if (child == 0) {
        struct engine *engine = disk_open(path);
        struct fault fault;
        if (append_numbered(engine, 0, 10, &fault) < 0) _exit(90);
        fsync_error = EIO;
        append_numbered(engine, 1, 10, &fault);
        _exit(91); /* it answered */
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    struct engine *engine = disk_open(path);
    assert_in_range(engine_head(engine).position, 1, 2);
    engine_close(engine);
    disk_assert_verified(path);
    case_remove(path);
}

/* --- growth, beside readers --- */

struct reading {
    struct engine *engine;
    atomic_bool stop;
    atomic_ullong rounds;
};

static void *read_along(void *user)
{
    struct reading *reading = user;
    struct stream_id stream = case_stream("acme", "1");
    while (!reading->stop) {
        struct engine_cursor *cursor, *walk;
        struct record record, inner;
        struct fault fault = {0};
        uint64_t head = engine_head(reading->engine).position, count = 0, next = 1;
        if (engine_read(reading->engine, 1, &cursor, &fault) < 0) abort();
        while (engine_cursor_next(cursor, &record, &fault) > 0) {
            if (record.first_position != ++count) abort();
            if (count % 50) continue;
            /* Nested, as a handler might. */
            if (engine_read_stream(reading->engine, &stream, count, &walk, &fault) < 0) abort();
            if (engine_cursor_next(walk, &inner, &fault) != 1 || inner.first_version != count) abort();
            engine_cursor_close(walk);
        }
        engine_cursor_close(cursor);
        if (count < head) abort();
        if (engine_read_stream(reading->engine, &stream, 1, &walk, &fault) < 0) abort();
        while (engine_cursor_next(walk, &record, &fault) > 0)
            if (record.first_version != next++) abort();
        engine_cursor_close(walk);
        if (next <= head) abort();
        reading->rounds++;
    }
    return NULL;
}

static void *flush_along(void *user)
{
    struct reading *reading = user;
    uint64_t events;
    while (!reading->stop)
        if (engine_flush_index(reading->engine, &events, NULL) < 0) abort();
    return NULL;
}

static void test_growth(void **state)
{
    const char *path = case_directory();
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path, .map_size = 1 << 20};
    assert_int_equal(disk_open_with(&options, &engine, &fault), 0);
    struct reading reading = {.engine = engine};
    pthread_t readers[2], flusher;
    for (int at = 0; at < 2; at++) pthread_create(&readers[at], NULL, read_along, &reading);
    pthread_create(&flusher, NULL, flush_along, &reading);
    uint64_t version = 0;
    for (; version < 600 || reading.rounds < 4; version++)
        assert_int_equal(append_numbered(engine, version, version % 5 ? 500 : 60000, &fault), 0);
    reading.stop = true;
    for (int at = 0; at < 2; at++) pthread_join(readers[at], NULL);
    pthread_join(flusher, NULL);
    engine_close(engine);
    struct stat status;
    char file[128];
    snprintf(file, sizeof file, "%s/log/data.mdb", path);
    assert_int_equal(stat(file, &status), 0);
    assert_true(status.st_size > 5 << 20);
    disk_assert_verified(path);
    case_remove(path);
}

/* --- two at once --- */

static void test_in_use(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path), *second;
    struct fault fault;
    struct engine_options options = {.path = path};
    assert_int_equal(disk_open_with(&options, &second, &fault), -1);
    assert_int_equal(fault.code, FAULT_IN_USE);
    char pid[32];
    snprintf(pid, sizeof pid, "by process %ld", (long)getpid());
    assert_non_null(strstr(fault.text, pid));
    assert_non_null(strstr(fault.text, "--data"));
    pid_t child = fork();
    if (child == 0)
        _exit(disk_open_with(&options, &second, &fault) < 0 && fault.code == FAULT_IN_USE ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    engine_close(engine);
    engine_close(disk_open(path));
    case_remove(path);
}

static void expect(bool right)
{
    if (!right) _exit(1);
}

/* A reader in another process, told over pipes what to expect next. */
static void follow(const char *path, int from, int to)
{
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path, .read_only = true};
    struct stream_id stream = case_stream("acme", "1");
    uint64_t expected;
    if (disk_open_with(&options, &engine, &fault) < 0) _exit(1);
    while (read(from, &expected, sizeof expected) == sizeof expected) {
        uint64_t version, position, count = 0;
        struct engine_cursor *cursor;
        struct record record;
        expect(engine_stream_head(engine, &stream, &version, &position, &fault) == 0 && version == expected);
        expect(engine_head(engine).position == expected);
        expect(engine_read_stream(engine, &stream, 1, &cursor, &fault) == 0);
        while (engine_cursor_next(cursor, &record, &fault) > 0) expect(record.first_version == ++count);
        expect(count == expected);
        engine_cursor_close(cursor);
        expect(write(to, "y", 1) == 1);
    }
    engine_close(engine);
    _exit(0);
}

static void test_read_only_beside_writer(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path), *none;
    struct fault fault;
    int there[2], back[2];
    uint64_t version = 0, events;
    char answer;
    while (version < 10) assert_int_equal(append_numbered(engine, version++, 10, &fault), 0);
    assert_true(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        follow(path, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(write(there[1], &version, sizeof version), sizeof version);
        if (read(back[0], &answer, 1) != 1)
            fail_msg("the reader saw something else at version %llu", (unsigned long long)version);
        for (int more = 0; more < 7; more++)
            assert_int_equal(append_numbered(engine, version++, 10, &fault), 0);
        if (round % 3 == 0) assert_int_equal(engine_flush_index(engine, &events, &fault), 0);
    }
    disk_assert_verified(path);
    close(there[1]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    engine_close(engine);
    case_remove(path);
    /* read_only makes nothing. */
    struct engine_options options = {.path = "/tmp/lore-test-that-is-not-there", .read_only = true};
    assert_int_equal(disk_open_with(&options, &none, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    assert_int_equal(access(options.path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_directories), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_full_injected),   cmocka_unit_test(test_full_for_real),
        cmocka_unit_test(test_failed_fsync),    cmocka_unit_test(test_growth),
        cmocka_unit_test(test_in_use),          cmocka_unit_test(test_read_only_beside_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

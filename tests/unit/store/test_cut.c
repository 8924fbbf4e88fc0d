/* A log that is cut is the log as it was at that position: records, streams, ids, names, chains; what was cut
 * is in the archive. Killed at any step it is as before or as after. */
#include <dirent.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "store/cut.h"
#include "store/epochs.h"
#include "unit/store/disk_support.h"

enum { ROUNDS = 240, STREAMS = 12 };

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

/* What was written, in order. */
struct written {
    bool outcome;
    uint64_t first, last; /* positions; of an outcome its number, twice */
    int64_t recorded_ms;
    char command[24];
    struct stream_id stream;
};

struct scene {
    const char *path;
    struct arena arena;
    struct written list[ROUNDS];
    size_t count;
    uint64_t head, outcomes;
};

/* The clock moves now and then, so that many records share a millisecond; names come in one by one. */
static void fill(struct scene *scene, uint64_t seed)
{
    uint64_t versions[STREAMS] = {0}, events;
    struct case_clock clock = case_clock_of(1000);
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = scene->path, .clock = &clock.clock};
    if (disk_open_with(&options, &engine, &fault) < 0) fail_msg("%s", fault.text);
    for (int round = 0; round < ROUNDS; round++) {
        struct written *written = &scene->list[scene->count++];
        size_t number = next_random(&seed) % STREAMS;
        char *id = arena_zero(&scene->arena, 32), *actor = arena_zero(&scene->arena, 32);
        snprintf(id, 32, "bill-%zu", number);
        snprintf(actor, 32, "actor-%llu", (unsigned long long)next_random(&seed) % 40);
        snprintf(written->command, sizeof written->command, "command-%d", round);
        written->stream = case_stream(number % 3 ? "acme" : "other", id);
        size_t count = next_random(&seed) % 3 == 0 ? 0 : 1 + next_random(&seed) % 3;
        struct commit *commit =
            count ? case_commit(&scene->arena, written->stream, versions[number], count, written->command)
                  : case_rejection(&scene->arena, written->stream, versions[number], written->command);
        commit->actor = slice_of(actor);
        assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
        versions[number] += count;
        written->outcome = count == 0;
        written->recorded_ms = commit->recorded_ms;
        written->first = count ? scene->head + 1 : scene->outcomes + 1;
        if (count)
            scene->head += count;
        else
            scene->outcomes++;
        written->last = count ? scene->head : scene->outcomes;
        clock.now_ms += next_random(&seed) % 4 == 0;
        if (round % 100 == 50) assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    }
    engine_close(engine);
}

static void begin(struct scene *scene, uint64_t seed)
{
    *scene = (struct scene){.path = case_directory()};
    fill(scene, seed);
}

static void end(struct scene *scene)
{
    arena_release(&scene->arena);
    case_remove(scene->path);
}

static struct hash digest_of(struct engine *engine)
{
    struct case_dump dump;
    struct fault fault = {0};
    if (case_dump(engine, &dump, &fault) < 0) fail_msg("dump: %s", fault.text);
    return dump.digest;
}

/* Cuts and opens again. */
static struct engine *cut_at(const char *path, uint64_t position, int64_t recorded_ms, struct cut *cut)
{
    struct engine *engine = disk_open(path);
    struct cut_options options = {0};
    struct fault fault = {0};
    if (cut_find(engine, position, recorded_ms, cut, &fault) < 0 ||
        cut_run(engine, cut, &options, &fault) < 0)
        fail_msg("cut: %s", fault.text);
    engine_close(engine);
    return disk_open(path);
}

static bool stays(const struct cut *cut, const struct written *written)
{
    return written->last <= (written->outcome ? cut->before.outcomes : cut->before.position);
}

/* Rules of cut.h, by what was written. */
static void assert_place(const struct scene *scene, const struct cut *cut, uint64_t position)
{
    int64_t gone_ms = INT64_MAX;
    uint64_t expected = 0;
    for (size_t at = 0; at < scene->count; at++) {
        const struct written *written = &scene->list[at];
        if (written->outcome) continue;
        if (written->last <= position) expected = written->last;
        if (written->last > position && gone_ms == INT64_MAX) gone_ms = written->recorded_ms;
    }
    assert_int_equal(cut->before.position, expected);
    for (size_t at = 0; at < scene->count; at++) {
        const struct written *written = &scene->list[at];
        if (!written->outcome) continue;
        if (expected == 0) assert_false(stays(cut, written));
        if (written->recorded_ms < gone_ms && expected) assert_true(stays(cut, written));
        if (written->recorded_ms > gone_ms) assert_false(stays(cut, written));
    }
}

static void assert_ids(const struct scene *scene, struct engine *engine, const struct cut *cut)
{
    struct record record;
    struct buf bytes = {0};
    for (size_t at = 0; at < scene->count; at++) {
        const struct written *written = &scene->list[at];
        assert_int_equal(case_find(engine, written->stream, written->command, &record, &bytes),
                         stays(cut, written));
    }
    buf_release(&bytes);
}

/* All that went, once, in the order in which it was written but for outcomes within a millisecond. */
static void assert_archive(const struct scene *scene, const struct cut *cut)
{
    char file[300], name[128];
    struct archive_reader *reader;
    struct archive_item item;
    struct fault fault = {0};
    uint64_t position = cut->before.position, outcomes = cut->before.outcomes;
    int64_t recorded_ms = 0;
    cut_archive_name(cut, name);
    snprintf(file, sizeof file, "%s/%s", scene->path, name);
    if (archive_open(file, &reader, &fault) < 0) fail_msg("archive: %s", fault.text);
    int got;
    while ((got = archive_next(reader, &item, &fault)) > 0) {
        assert_true(item.record.recorded_ms >= recorded_ms);
        recorded_ms = item.record.recorded_ms;
        if (item.kind == ARCHIVE_COMMIT)
            position += item.record.event_count;
        else
            outcomes++;
        struct record_command command = {0};
        assert_true(record_next_command(&item.record, &command));
        bool known = false;
        for (size_t at = 0; at < scene->count; at++)
            known =
                known || (strcmp(scene->list[at].command, command.id) == 0 && !stays(cut, &scene->list[at]));
        assert_true(known);
    }
    if (got < 0) fail_msg("archive: %s", fault.text);
    assert_int_equal(position, scene->head);
    assert_int_equal(outcomes, scene->outcomes);
    archive_close(reader);
}

/* Every record but the chosen ones in the same order gives the same digest: the log as it was then. */
static void test_each_position(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct scene scene;
        struct cut cut;
        begin(&scene, seed);
        uint64_t random = seed * 77, position = next_random(&random) % (scene.head + 1);
        if (seed == 1) position = 0;
        struct engine *engine = cut_at(scene.path, position, INT64_MAX, &cut);
        assert_place(&scene, &cut, position);
        struct engine_head head = engine_head(engine);
        assert_int_equal(head.position, cut.before.position);
        assert_int_equal(head.outcomes, cut.before.outcomes);
        assert_int_equal(head.commits, cut.before.commits);
        assert_int_equal(head.epoch, 2);
        assert_true(hash_equal(&head.chain, &cut.before.chain));
        assert_true(hash_equal(&head.outcome_chain, &cut.before.outcome_chain));
        assert_int_equal(names_count(engine_names(engine)), cut.names);
        digest_of(engine);
        assert_ids(&scene, engine, &cut);
        assert_archive(&scene, &cut);
        /* The log goes on, with ids that were cut. */
        for (size_t at = 0; at < scene.count; at++) {
            const struct written *written = &scene.list[at];
            if (stays(&cut, written)) continue;
            uint64_t version = case_version(engine, written->stream, NULL);
            struct commit *commit = case_commit(&scene.arena, written->stream, version, 1, written->command);
            assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
            assert_int_equal(commit->epoch, 2);
        }
        digest_of(engine);
        engine_close(engine);
        disk_assert_verified(scene.path);
        end(&scene);
    }
}

/* Once more, twice at the same place, to the head, beyond it. */
static void test_again(void **state)
{
    struct scene scene;
    struct cut cut;
    struct fault fault = {0};
    uint64_t kept;
    begin(&scene, 5);
    engine_close(cut_at(scene.path, scene.head - 20, INT64_MAX, &cut));
    struct engine *engine = cut_at(scene.path, 30, INT64_MAX, &cut);
    assert_int_equal(engine_head(engine).epoch, 3);
    uint64_t end_at = engine_head(engine).position;
    assert_int_equal(epochs_kept(engine, 1, &kept, &fault), 0);
    assert_int_equal(kept, end_at);
    assert_int_equal(epochs_kept(engine, 3, &kept, &fault), 0);
    assert_int_equal(kept, UINT64_MAX);
    assert_int_equal(cut_find(engine, end_at, INT64_MAX, &cut, &fault), 0);
    assert_int_equal(cut.before.position, cut.after.position);
    assert_int_equal(cut.before.outcomes, cut.after.outcomes);
    assert_int_equal(cut_find(engine, end_at + 1, INT64_MAX, &cut, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    engine_close(engine);
    disk_assert_verified(scene.path);
    end(&scene);
}

/* What is behind the beginning of an epoch is of that epoch, or verify names it. */
static void test_epochs(void **state)
{
    struct scene scene;
    struct cut cut;
    begin(&scene, 8);
    struct engine *engine = cut_at(scene.path, 20, INT64_MAX, &cut);
    assert_int_equal(engine_meta_put(engine, slice_of("epochs"), slice_of("2 7\n"), NULL), 0);
    engine_close(engine);
    struct verify_report report = disk_verify(scene.path);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "epoch 1, which ends at position 6"));
    end(&scene);
}

/* A moment between two records: outcomes recorded after it go too. */
static void test_moment(void **state)
{
    struct scene scene;
    struct cut cut;
    uint64_t next;
    struct fault fault = {0};
    begin(&scene, 9);
    int64_t ms = scene.list[ROUNDS / 2].recorded_ms;
    struct engine *engine = disk_open(scene.path);
    assert_int_equal(cut_position_at(engine, ms + 1, &next, &fault), 0);
    engine_close(engine);
    engine = cut_at(scene.path, next - 1, ms, &cut);
    for (size_t at = 0; at < scene.count; at++)
        assert_int_equal(stays(&cut, &scene.list[at]), scene.list[at].recorded_ms <= ms);
    engine_close(engine);
    disk_assert_verified(scene.path);
    end(&scene);
}

/* --- kills --- */

static bool has_archive(const char *path)
{
    char folder[300];
    bool found = false;
    snprintf(folder, sizeof folder, "%s/archive", path);
    DIR *list = opendir(folder);
    struct dirent *entry;
    while (list && (entry = readdir(list))) found = found || strstr(entry->d_name, ".lore");
    if (list) closedir(list);
    return found;
}

/* A process that cuts and opens, killed at the n-th passing of the point; false if it came to its end. */
static bool killed_at(const char *path, uint64_t position, enum fault_point_id point, int passing)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        char clause[64];
        struct cut cut;
        snprintf(clause, sizeof clause, "%s@%d=kill", fault_point_name(point), passing);
        if (freopen("/dev/null", "w", stderr) == NULL || fault_points_arm(clause, NULL) < 0) _exit(9);
        engine_close(cut_at(path, position, INT64_MAX, &cut));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void test_kills(void **state)
{
    static const enum fault_point_id points[] = {
        POINT_ROLLBACK_PLAN,     POINT_ROLLBACK_PLANNED, POINT_ARCHIVE_WRITE, POINT_ARCHIVE_SYNC,
        POINT_ROLLBACK_ARCHIVED, POINT_ROLLBACK_CUT,     POINT_ROLLBACK_DONE, POINT_ROLLBACK_HEAD,
        POINT_ROLLBACK_DERIVED,  POINT_ROLLBACK_END};
    for (size_t at = 0; at < sizeof points / sizeof *points; at++) {
        bool killed = true;
        for (int passing = 1; killed; passing++) {
            struct scene scene;
            begin(&scene, 3);
            uint64_t position = scene.head / 2;
            struct engine *engine = disk_open(scene.path);
            struct hash before = digest_of(engine);
            engine_close(engine);
            killed = killed_at(scene.path, position, points[at], passing);
            if (passing == 1) assert_true(killed);
            /* Beside nobody, before any open: verify sees one or the other. */
            if (passing % 2) disk_assert_verified(scene.path);
            engine = disk_open(scene.path);
            bool cut = engine_head(engine).epoch == 2;
            struct hash after = digest_of(engine);
            if (!cut) assert_true(hash_equal(&before, &after));
            assert_int_equal(cut, !killed || at >= 6);
            assert_int_equal(has_archive(scene.path), cut);
            assert_true(cut ? engine_head(engine).position <= position
                            : engine_head(engine).position == scene.head);
            assert_false(cut_is_pending(scene.path));
            engine_close(engine);
            disk_assert_verified(scene.path);
            end(&scene);
        }
    }
}

/* What fails without a kill leaves the log as it was, and the next try works. */
static void test_full(void **state)
{
    static const char *const clauses[] = {"rollback.plan=ENOSPC", "archive.write=ENOSPC", "archive.sync=EIO",
                                          "rollback.cut=ENOSPC"};
    struct scene scene;
    begin(&scene, 4);
    for (size_t at = 0; at < sizeof clauses / sizeof *clauses; at++) {
        struct cut cut;
        struct cut_options options = {0};
        struct fault fault = {0};
        struct engine *engine = disk_open(scene.path);
        struct hash before = digest_of(engine);
        assert_int_equal(fault_points_arm(clauses[at], &fault), 0);
        assert_int_equal(cut_find(engine, 40, INT64_MAX, &cut, &fault), 0);
        assert_int_equal(cut_run(engine, &cut, &options, &fault), -1);
        assert_int_equal(fault.code, FAULT_DISK);
        fault_points_disarm();
        engine_close(engine);
        assert_false(has_archive(scene.path));
        assert_false(cut_is_pending(scene.path));
        engine = disk_open(scene.path);
        struct hash after = digest_of(engine);
        assert_true(hash_equal(&before, &after));
        engine_close(engine);
        disk_assert_verified(scene.path);
    }
    struct cut cut;
    engine_close(cut_at(scene.path, 40, INT64_MAX, &cut));
    disk_assert_verified(scene.path);
    end(&scene);
}

/* Each flipped or missing byte of an archive is met. */
static void test_archive_damage(void **state)
{
    struct scene scene;
    struct cut cut;
    char name[128], file[300];
    size_t size;
    begin(&scene, 6);
    engine_close(cut_at(scene.path, scene.head - 10, INT64_MAX, &cut));
    cut_archive_name(&cut, name);
    snprintf(file, sizeof file, "%s/%s", scene.path, name);
    char *bytes = disk_read(scene.path, name, &size);
    for (size_t at = 0; at <= size; at++) {
        struct archive_reader *reader;
        struct archive_item item;
        int got = 1;
        FILE *out = fopen(file, "wb");
        char *copy = malloc(size);
        memcpy(copy, bytes, size);
        if (at % 2 == 0 && at < size) copy[at] ^= 4;
        fwrite(copy, 1, at % 2 ? at : size, out);
        fclose(out);
        free(copy);
        if (archive_open(file, &reader, NULL) == 0) {
            while (got > 0) got = archive_next(reader, &item, NULL);
            archive_close(reader);
        } else {
            got = -1;
        }
        assert_int_equal(got, at == size && at % 2 == 0 ? 0 : -1);
    }
    free(bytes);
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_position), cmocka_unit_test(test_again),
        cmocka_unit_test(test_moment),        cmocka_unit_test(test_full),
        cmocka_unit_test(test_kills),         cmocka_unit_test(test_archive_damage),
        cmocka_unit_test(test_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

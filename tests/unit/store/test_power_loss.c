/* What a loss of power may leave on the disk. Every write and flush of the log's files goes through a model
 * of the disk here: a write may reach it any time, sector by sector and in any order, and has for certain
 * only when a flush of its file returned. At random calls, of the appending thread or of the flusher, an
 * image of what the disk may hold is written beside. Each image is opened: every answered batch is there,
 * whole and in order, verify finds nothing, and the run goes on from one of them, so crashes follow crashes.
 *
 * SEED= repeats a run as far as threads allow; ROUNDS= makes it longer. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "unit/store/disk_support.h"

enum { SECTOR = 512, IMAGES_MAX = 3, BATCH_MAX = 20 };

struct disk_write {
    off_t at;
    size_t size;
    char *bytes;
};

struct disk_file {
    const char *name;
    char *bytes; /* what is on the disk for certain */
    size_t size, room;
    struct disk_write *pending; /* in order */
    size_t count, max;
};

struct image {
    char path[80];
    uint64_t events, values; /* answered when the power went */
};

static struct {
    pthread_mutex_t lock;
    const char *path; /* NULL: calls go through */
    const char *root; /* where images are put */
    unsigned image_last;
    struct disk_file files[4];
    uint64_t random;
    unsigned one_in; /* an image is made at one of so many calls; 0: none */
    struct image images[IMAGES_MAX];
    size_t image_count;
    unsigned long calls;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .files = {{.name = "log/data.mdb"},
                    {.name = "log/journal-0"},
                    {.name = "log/journal-1"},
                    {.name = "log/head"}}};
static atomic_ullong answered_events, answered_values;

static uint64_t draw_from(uint64_t *random, uint64_t below)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % below;
}

/* For what the disk does, under its lock. */
static uint64_t draw(uint64_t below)
{
    return draw_from(&disk.random, below);
}

/* For what the test does. */
static uint64_t test_random;
static uint64_t choose(uint64_t below)
{
    return draw_from(&test_random, below);
}

/* --- the model --- */

static void put(struct disk_file *file, off_t at, const char *bytes, size_t size)
{
    size_t end = (size_t)at + size;
    if (end > file->room) {
        file->room = end * 2;
        file->bytes = realloc(file->bytes, file->room);
    }
    if (end > file->size) {
        memset(file->bytes + file->size, 0, end - file->size);
        file->size = end;
    }
    memcpy(file->bytes + at, bytes, size);
}

static void forget(struct disk_file *file)
{
    for (size_t at = 0; at < file->count; at++) free(file->pending[at].bytes);
    file->count = 0;
}

static void flush(struct disk_file *file)
{
    for (size_t at = 0; at < file->count; at++)
        put(file, file->pending[at].at, file->pending[at].bytes, file->pending[at].size);
    forget(file);
}

static void add_write(struct disk_file *file, off_t at, const char *bytes, size_t size)
{
    if (file->count == file->max) {
        file->max = file->max * 2 + 64;
        file->pending = realloc(file->pending, file->max * sizeof *file->pending);
    }
    struct disk_write *write = &file->pending[file->count++];
    *write = (struct disk_write){at, size, malloc(size)};
    memcpy(write->bytes, bytes, size);
}

static void write_image_file(const char *path, const struct disk_file *file)
{
    char name[160];
    snprintf(name, sizeof name, "%s/%s", path, file->name);
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    for (size_t done = 0; fd >= 0 && done < file->size;) {
        long size = syscall(SYS_pwrite64, fd, file->bytes + done, file->size - done, done);
        if (size <= 0) abort();
        done += (size_t)size;
    }
    close(fd);
}

/* What the disk may hold of a file now: each sector written since the flush is there or not. */
static void image_file(const char *path, const struct disk_file *file)
{
    struct disk_file now = {
        .name = file->name, .bytes = malloc(file->size + 1), .size = file->size, .room = file->size};
    if (file->size) memcpy(now.bytes, file->bytes, file->size);
    uint64_t mode = draw(4), prefix = draw(file->count + 1);
    for (size_t at = 0; at < file->count; at++) {
        const struct disk_write *write = &file->pending[at];
        if (mode == 0 || (mode == 1 && at >= prefix)) continue; /* nothing; the first ones */
        for (size_t from = 0; from < write->size;) {
            size_t size = SECTOR - ((size_t)write->at + from) % SECTOR;
            if (size > write->size - from) size = write->size - from;
            if (mode == 1 || draw(mode == 2 ? 2 : 8) > 0)
                put(&now, write->at + (off_t)from, write->bytes + from, size);
            from += size;
        }
    }
    if (now.size) write_image_file(path, &now);
    free(now.bytes);
}

/* Under the lock, before a call has its effect. */
static void maybe_lose_power(void)
{
    disk.calls++;
    if (!disk.one_in || disk.image_count == IMAGES_MAX || draw(disk.one_in)) return;
    struct image *image = &disk.images[disk.image_count++];
    char log[128];
    snprintf(image->path, sizeof image->path, "%s/%u", disk.root, ++disk.image_last);
    snprintf(log, sizeof log, "%s/log", image->path);
    if (mkdir(image->path, 0700) < 0 || mkdir(log, 0700) < 0) abort();
    image->events = answered_events;
    image->values = answered_values;
    for (int at = 0; at < 4; at++) image_file(image->path, &disk.files[at]);
}

/* The file of the model that fd is, or NULL. Takes the lock if it is one. */
static struct disk_file *enter(int fd)
{
    char link[64], path[256];
    if (!disk.path) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    size_t root = strlen(disk.path);
    if (size < 0) return NULL;
    path[size] = 0;
    if ((size_t)size <= root || strncmp(path, disk.path, root) != 0 || path[root] != '/') return NULL;
    for (int at = 0; at < 4; at++)
        if (strcmp(path + root + 1, disk.files[at].name) == 0) {
            pthread_mutex_lock(&disk.lock);
            maybe_lose_power();
            return &disk.files[at];
        }
    return NULL;
}

static void leave(void)
{
    pthread_mutex_unlock(&disk.lock);
}

/* About every so manieth call of the disk, 0: never. */
static void lose_power_in(unsigned calls)
{
    pthread_mutex_lock(&disk.lock);
    disk.one_in = calls;
    pthread_mutex_unlock(&disk.lock);
}

static int images(void)
{
    pthread_mutex_lock(&disk.lock);
    int count = disk.image_count;
    pthread_mutex_unlock(&disk.lock);
    return count;
}

/* --- the calls: the program's own symbols win over the library's --- */

static void written(struct disk_file *file, int fd, off_t at, const char *bytes, size_t size)
{
    if (fcntl(fd, F_GETFL) & O_DSYNC)
        put(file, at, bytes, size);
    else
        add_write(file, at, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    struct disk_file *file = enter(fd);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, size, at);
    if (!file) return done;
    if (done > 0) written(file, fd, at, bytes, (size_t)done);
    leave();
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct disk_file *file = enter(fd);
    off_t at = file ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = syscall(SYS_writev, fd, parts, count), left = done;
    if (!file) return done;
    for (int part = 0; part < count && left > 0; part++) {
        size_t size = parts[part].iov_len < (size_t)left ? parts[part].iov_len : (size_t)left;
        written(file, fd, at, parts[part].iov_base, size);
        at += (off_t)size;
        left -= (ssize_t)size;
    }
    leave();
    return done;
}

int fdatasync(int fd)
{
    struct disk_file *file = enter(fd);
    if (!file) return (int)syscall(SYS_fdatasync, fd);
    flush(file);
    leave();
    return 0;
}

int fsync(int fd)
{
    return fdatasync(fd);
}

int ftruncate(int fd, off_t size)
{
    struct disk_file *file = enter(fd);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (!file) return result;
    if ((size_t)size < file->size) file->size = (size_t)size;
    leave();
    return result;
}

/* --- a run --- */

/* The model holds what the directory does. */
static void power_on(const char *path)
{
    for (int at = 0; at < 4; at++) {
        struct disk_file *file = &disk.files[at];
        char name[160], block[65536];
        snprintf(name, sizeof name, "%s/%s", path, file->name);
        forget(file);
        file->size = 0;
        int fd = open(name, O_RDONLY);
        for (ssize_t size; fd >= 0 && (size = read(fd, block, sizeof block)) > 0;)
            put(file, (off_t)file->size, block, (size_t)size);
        if (fd >= 0) close(fd);
    }
    disk.image_count = 0;
    disk.path = path;
}

static uint64_t value_of(struct engine *engine)
{
    struct buf value = {0};
    struct fault fault = {0};
    uint64_t number = 0;
    int found = engine_meta_get(engine, slice_of("deploy"), &value, &fault);
    if (found < 0) fail_msg("%s", fault.text);
    if (found > 0) memcpy(&number, value.data, sizeof number);
    buf_release(&value);
    return number;
}

static void append_batch(struct engine *engine, uint64_t *version)
{
    struct arena arena = {0};
    struct append batch[BATCH_MAX] = {0};
    struct fault fault = {0};
    size_t count = 1 + (size_t)choose(BATCH_MAX), padding = choose(4) ? 100 : (size_t)choose(20000);
    for (size_t at = 0; at < count; at++) {
        struct commit *commit = case_commit(&arena, case_stream("acme", "1"), (*version)++, 1, NULL);
        struct commit_event *event = arena_zero(&arena, sizeof *event);
        *event =
            (struct commit_event){slice_of("LineAdded"), 1, 5, case_data(&arena, (int64_t)*version, padding)};
        commit->events = event;
        batch[at].commit = commit;
    }
    if (engine_append(engine, batch, count, &fault) < 0) fail_msg("append: %s", fault.text);
    answered_events = *version;
    arena_release(&arena);
}

static void put_value(struct engine *engine)
{
    uint64_t number = answered_values + 1;
    assert_int_equal(engine_meta_put(engine, slice_of("deploy"), slice_make(&number, sizeof number), NULL),
                     0);
    answered_values = number;
}

/* Then events and values are what it really has. */
static void check_image(struct image *image)
{
    struct verify_report report;
    struct case_dump dump;
    struct fault fault = {0};
    for (int round = 0; round < 2; round++) { /* as the power left it; after an orderly end */
        if (verify_directory(image->path, NULL, NULL, &report, &fault) < 0) fail_msg("%s", fault.text);
        if (!report.ok) fail_msg("verify %s: %s", image->path, report.damage);
        struct engine *engine = disk_open(image->path);
        if (case_dump(engine, &dump, &fault) < 0) fail_msg("%s: %s", image->path, fault.text);
        if (dump.events < image->events || dump.events > image->events + BATCH_MAX)
            fail_msg("%s has %llu events, %llu were answered", image->path, (unsigned long long)dump.events,
                     (unsigned long long)image->events);
        assert_int_equal(report.events, dump.events);
        assert_in_range(value_of(engine), image->values, image->values + 1);
        image->events = dump.events;
        image->values = value_of(engine);
        engine_close(engine);
    }
}

/* Opens the log that has these events and values (a new one if there are none), appends until the images are
 * made, and closes; the power may go at any call, those of open and close included. */
static void run(const char *path, uint64_t version, uint64_t values)
{
    power_on(path);
    answered_events = version;
    answered_values = values;
    lose_power_in(version ? 40 : 0);
    struct engine *engine = disk_open(path);
    assert_int_equal(case_version(engine, case_stream("acme", "1"), NULL), version);
    assert_int_equal(value_of(engine), values);
    lose_power_in(30 + (unsigned)choose(400));
    for (int step = 0; step < 200 && images() < IMAGES_MAX; step++) {
        append_batch(engine, &version);
        if (choose(5) == 0) put_value(engine);
    }
    engine_close(engine);
    lose_power_in(0);
    disk.path = NULL;
}

static void test_power_loss(void **state)
{
    const char *given = getenv("SEED"), *given_rounds = getenv("ROUNDS");
    int rounds = given_rounds ? atoi(given_rounds) : getenv("LORE_TEST_SMALL") ? 3 : 12, images = 0;
    disk.random = given ? strtoull(given, NULL, 10) : (uint64_t)clock_monotonic_ns();
    printf("SEED=%llu\n", (unsigned long long)disk.random);
    test_random = ~disk.random;
    fflush(stdout);
    const char *root = case_directory();
    disk.root = root;
    struct image from = {0};
    for (int round = 0; round < rounds; round++) {
        if (!from.events) {
            snprintf(from.path, sizeof from.path, "%s/%u", root, ++disk.image_last);
            assert_int_equal(mkdir(from.path, 0700), 0);
        }
        run(from.path, from.events, from.values);
        case_remove(from.path);
        size_t next = (size_t)choose(IMAGES_MAX + 2);
        from = (struct image){0};
        for (size_t at = 0; at < disk.image_count; at++, images++) {
            check_image(&disk.images[at]);
            if (at == next && disk.images[at].events > 0 && disk.images[at].events < 20000)
                from = disk.images[at];
            else
                case_remove(disk.images[at].path);
        }
    }
    assert_in_range(images, rounds, rounds * IMAGES_MAX);
    case_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_power_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

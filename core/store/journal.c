#include "store/journal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/hash.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"

static const uint32_t MAGIC = 0x6c6e726a; /* "jrnl" */

/* What is on disk, little endian; no padding: every member is at a multiple of its size. */
struct header {
    uint32_t magic, crc;
    uint64_t key, sequence;
    uint32_t size, kind;
};
_Static_assert(sizeof(struct header) == 32, "a header is 32 bytes");

static const char *half_file(const char *path, int half, char file[4096])
{
    snprintf(file, 4096, "%s/journal-%d", path, half);
    return file;
}

static uint64_t sectors(uint64_t size)
{
    return (size + JOURNAL_SECTOR - 1) / JOURNAL_SECTOR * JOURNAL_SECTOR;
}

static uint32_t header_crc(const char *entry, size_t body_size)
{
    size_t from = offsetof(struct header, key);
    return hash_crc32(slice_make(entry + from, sizeof(struct header) - from + body_size));
}

/* --- reading --- */

struct half {
    char *bytes;
    size_t size;
    size_t end;           /* of the entries that follow each other from its beginning */
    uint64_t first, last; /* their sequence numbers; 0: none */
    size_t last_at;
};

/* The header of a whole entry at the offset; key: of that log alone (NULL: of any). It is compared before the
 * sum is made: a client's bytes that look like a header in each sector would have all behind them summed up.
 */
static bool entry_at(const struct half *half, size_t offset, const uint64_t *key, struct header *header)
{
    if (half->size - offset < sizeof *header) return false;
    memcpy(header, half->bytes + offset, sizeof *header);
    if (le32toh(header->magic) != MAGIC || (key && le64toh(header->key) != *key)) return false;
    header->size = le32toh(header->size);
    if (header->size > half->size - offset - sizeof *header) return false;
    if (le32toh(header->crc) != header_crc(half->bytes + offset, header->size)) return false;
    header->key = le64toh(header->key);
    header->sequence = le64toh(header->sequence);
    header->kind = le32toh(header->kind);
    return true;
}

static int read_fully(int fd, struct half *half)
{
    for (size_t got = 0; got < half->size;) {
        int error = fault_point(POINT_LOG_READ);
        if (error > 0) return -1;
        size_t left = half->size - got, wanted = error == FAULT_POINT_SHORT ? (left + 1) / 2 : left;
        ssize_t size = pread(fd, half->bytes + got, wanted, (off_t)got);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return -1;
        if (size == 0) half->size = got;
        got += (size_t)size;
    }
    return 0;
}

/* Reads the file and finds the entries that follow each other from its beginning. */
static int half_read(const char *file, uint64_t key, struct half *half, struct fault *fault)
{
    struct stat status;
    struct header header;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : fault_errno(fault, errno, "%s", file);
    int result = fstat(fd, &status);
    if (result == 0) {
        half->size = (size_t)status.st_size;
        half->bytes = mem_alloc(half->size + 1);
        result = read_fully(fd, half);
        /* Beside a process that writes, an entry may be read that is written and not flushed yet. */
        if (result == 0 && fdatasync(fd) < 0 && errno != EINVAL && errno != EROFS) result = -1;
    }
    int error = errno;
    close(fd);
    if (result < 0) return fault_errno(fault, error, "%s", file);
    for (uint64_t next = 0; entry_at(half, half->end, half->end ? &key : NULL, &header);
         next = header.sequence + 1) {
        if (half->end == 0 && header.key != key)
            return fault_set(fault, FAULT_CORRUPT,
                             "%s is the journal of another log; remove it to go on without what it holds",
                             file);
        if (next && header.sequence != next) break;
        if (!half->first) half->first = header.sequence;
        half->last = header.sequence;
        half->last_at = half->end;
        half->end += sectors(sizeof header + header.size);
        if (half->end > half->size) half->end = half->size;
    }
    return 0;
}

static int give_entries(const char *file, const struct half *half,
                        int (*each)(void *user, const struct journal_entry *entry, struct fault *fault),
                        void *user, struct journal_end *end, struct fault *fault)
{
    struct header header;
    for (size_t at = 0; at < half->end; at += sectors(sizeof header + header.size)) {
        CHECK(entry_at(half, at, NULL, &header));
        if (header.sequence <= end->sequence) continue;
        if (header.sequence != end->sequence + 1)
            return fault_set(fault, FAULT_CORRUPT,
                             "%s: entry %llu does not follow the log, which ends at entry %llu; restore the "
                             "whole folder from a backup",
                             file, (unsigned long long)header.sequence, (unsigned long long)end->sequence);
        struct journal_entry entry = {header.sequence, end->half, (enum journal_kind)header.kind,
                                      slice_make(half->bytes + at + sizeof header, header.size)};
        struct fault inner = {0};
        if (each(user, &entry, &inner) < 0)
            return fault_set(fault, inner.code, "%s, byte %zu: %s", file, at, inner.text);
        end->sequence++;
    }
    return 0;
}

/* Behind the end nothing whole may follow: what was answered would be missing. */
static int check_behind(const char *file, const struct half *half, uint64_t key,
                        const struct journal_end *end, struct fault *fault)
{
    struct header header;
    for (size_t at = half->end; at < half->size; at += JOURNAL_SECTOR)
        if (entry_at(half, at, &key, &header) && header.sequence > end->sequence)
            return fault_set(fault, FAULT_CORRUPT,
                             "%s, byte %zu: entry %llu is damaged, and entry %llu behind it is whole", file,
                             half->end, (unsigned long long)end->sequence + 1,
                             (unsigned long long)header.sequence);
    return 0;
}

int journal_read(const char *path, const struct journal_mark *mark,
                 int (*each)(void *user, const struct journal_entry *entry, struct fault *fault), void *user,
                 struct journal_end *end, struct fault *fault)
{
    char files[JOURNAL_HALVES][4096];
    struct half halves[JOURNAL_HALVES] = {0};
    int result = 0;
    *end = (struct journal_end){.sequence = mark->sequence};
    for (int half = 0; half < JOURNAL_HALVES && result == 0; half++)
        result = half_read(half_file(path, half, files[half]), mark->key, &halves[half], fault);
    /* The half with the older entries first. */
    int older = halves[1].first < halves[0].first && halves[1].first;
    for (int turn = 0; turn < JOURNAL_HALVES && result == 0; turn++) {
        int half = older ^ turn;
        if (!halves[half].first) continue;
        end->half = half;
        result = give_entries(files[half], &halves[half], each, user, end, fault);
        end->last = end->sequence == halves[half].last ? halves[half].last_at : 0;
        /* Entries that all are older than the log may be written over from the first on. */
        end->offset = halves[half].last == end->sequence ? sectors(halves[half].end) : 0;
    }
    for (int half = 0; half < JOURNAL_HALVES && result == 0; half++)
        result = check_behind(files[half], &halves[half], mark->key, end, fault);
    for (int half = 0; half < JOURNAL_HALVES; half++) mem_free(halves[half].bytes);
    return result;
}

/* Whether the file has an entry at the offset that follows the end. */
static bool follows_at(const char *file, uint64_t offset, uint64_t key, const struct journal_end *end)
{
    struct header header = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t size = pread(fd, &header, sizeof header, (off_t)offset);
    close(fd);
    return size == sizeof header && le32toh(header.magic) == MAGIC && le64toh(header.key) == key &&
           le64toh(header.sequence) > end->sequence;
}

bool journal_moved(const char *path, uint64_t key, const struct journal_end *end)
{
    char file[4096];
    for (int half = 0; half < JOURNAL_HALVES; half++)
        if (follows_at(half_file(path, half, file), 0, key, end)) return true;
    return follows_at(half_file(path, end->half, file), end->offset, key, end);
}

/* --- writing --- */

struct journal {
    char *path;
    int fds[JOURNAL_HALVES];
    uint64_t sizes[JOURNAL_HALVES]; /* written once already */
    int half;                       /* in use */
    uint64_t offset;                /* in it: of the next entry */
    uint64_t key, sequence;
};

/* 0 or an errno. */
static int write_fully(int fd, const char *bytes, size_t size, uint64_t offset, enum fault_point_id point)
{
    for (size_t done = 0; done < size;) {
        int error = fault_point(point);
        if (error > 0) return error;
        size_t wanted = error == FAULT_POINT_SHORT ? (size - done + 1) / 2 : size - done;
        ssize_t written = pwrite(fd, bytes + done, wanted, (off_t)(offset + done));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written < 0 ? errno : ENOSPC;
        done += (size_t)written;
    }
    return 0;
}

/* Writes zeros up to size. 0 or an errno. */
static int fill(int fd, uint64_t from, uint64_t size)
{
    enum { STEP = 1 << 18 };
    char *zeros = mem_zero(STEP);
    int error = 0;
    for (; from < size && !error; from += STEP)
        error =
            write_fully(fd, zeros, size - from < STEP ? (size_t)(size - from) : STEP, from, POINT_LOG_GROW);
    mem_free(zeros);
    return error;
}

/* The whole file is durable then. 0 or an errno. */
static int sync_file(int fd)
{
    return fsync(fd) < 0 ? errno : 0;
}

static int half_open(struct journal *journal, int half, struct fault *fault)
{
    char file[4096];
    struct stat status;
    int fd = open(half_file(journal->path, half, file), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", file);
    journal->fds[half] = fd;
    if (fstat(fd, &status) < 0) return fault_errno(fault, errno, "%s", file);
    uint64_t size = (uint64_t)status.st_size;
    int error = fill(fd, size, LIMIT_JOURNAL_SIZE_MIN);
    if (error) return fault_errno(fault, error, "%s", file);
    if (size < LIMIT_JOURNAL_SIZE_MIN) size = LIMIT_JOURNAL_SIZE_MIN;
    journal->sizes[half] = size < LIMIT_JOURNAL_SIZE_MAX ? size : LIMIT_JOURNAL_SIZE_MAX;
    return 0;
}

/* Writes the last entry once more, as it is. After a flush that failed the kernel takes its pages for clean
 * and a later fsync says that all is well: what was read of them would not be on the disk. All before it was
 * flushed before it was written. */
static int write_again(struct journal *journal, const struct journal_end *end, struct fault *fault)
{
    char file[4096];
    int fd = journal->fds[end->half], error = 0;
    size_t size = end->offset > end->last ? (size_t)(end->offset - end->last) : 0;
    char *bytes = mem_zero(size);
    ssize_t got = pread(fd, bytes, size, (off_t)end->last);
    if (got < 0)
        error = errno;
    else if (got > 0)
        error = write_fully(fd, bytes, (size_t)got, end->last, POINT_LOG_GROW);
    mem_free(bytes);
    return error ? fault_errno(fault, error, "%s", half_file(journal->path, end->half, file)) : 0;
}

/* What was written by a process that was killed before its flush was read: it must stay. */
static int halves_sync(struct journal *journal, struct fault *fault)
{
    char file[4096];
    for (int half = 0; half < JOURNAL_HALVES; half++) {
        int error = sync_file(journal->fds[half]);
        if (error) return fault_errno(fault, error, "%s", half_file(journal->path, half, file));
    }
    return 0;
}

int journal_open(const char *path, uint64_t key, const struct journal_end *end, struct journal **out,
                 struct fault *fault)
{
    struct journal *journal = MEM_NEW(struct journal);
    journal->path = mem_text(path, strlen(path));
    journal->key = key;
    journal->sequence = end->sequence;
    journal->half = end->half;
    journal->offset = end->offset;
    journal->fds[0] = journal->fds[1] = -1;
    int result = 0;
    for (int half = 0; half < JOURNAL_HALVES && result == 0; half++) result = half_open(journal, half, fault);
    if (result == 0) result = write_again(journal, end, fault);
    if (result == 0) result = halves_sync(journal, fault);
    if (result < 0) {
        journal_close(journal);
        return -1;
    }
    *out = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal) return;
    for (int half = 0; half < JOURNAL_HALVES; half++)
        if (journal->fds[half] >= 0) close(journal->fds[half]);
    mem_free(journal->path);
    mem_free(journal);
}

void journal_begin(struct buf *entry)
{
    buf_room(entry, sizeof(struct header));
    entry->size = sizeof(struct header);
}

/* What is left of an entry that was refused must not be taken for one. */
static void take_back(struct journal *journal)
{
    static const char nothing[sizeof(struct header)];
    ssize_t size = pwrite(journal->fds[journal->half], nothing, sizeof nothing, (off_t)journal->offset);
    /* Nothing of it there at all is as good. */
    struct stat status;
    if (size == sizeof nothing ||
        (fstat(journal->fds[journal->half], &status) == 0 && (uint64_t)status.st_size <= journal->offset))
        return;
    say_stop("%s/journal-%d: an entry could be neither written nor taken back: %s", journal->path,
             journal->half, strerror(errno));
}

int journal_put(struct journal *journal, enum journal_kind kind, struct buf *entry, struct fault *fault)
{
    size_t size = entry->size, padded = sectors(size);
    int fd = journal->fds[journal->half];
    buf_room(entry, padded - size);
    memset(entry->data + size, 0, padded - size);
    entry->size = padded;
    struct header header = {.magic = htole32(MAGIC),
                            .key = htole64(journal->key),
                            .sequence = htole64(journal->sequence + 1),
                            .size = htole32((uint32_t)(size - sizeof header)),
                            .kind = htole32(kind)};
    memcpy(entry->data, &header, sizeof header);
    header.crc = htole32(header_crc(entry->data, size - sizeof header));
    memcpy(entry->data, &header, sizeof header);
    int error = write_fully(fd, entry->data, padded, journal->offset, POINT_LOG_WRITE);
    if (error) {
        take_back(journal);
        return fault_errno(fault, error, "%s/journal-%d", journal->path, journal->half);
    }
    error = fault_point(POINT_LOG_FSYNC);
    if (error || fdatasync(fd) < 0)
        say_stop("%s/journal-%d: fsync failed: %s", journal->path, journal->half, strerror(errno));
    journal->sequence++;
    journal->offset += padded;
    return 0;
}

uint64_t journal_sequence(const struct journal *journal)
{
    return journal->sequence;
}

bool journal_full(const struct journal *journal)
{
    return journal->offset >= journal->sizes[journal->half];
}

void journal_turn(struct journal *journal)
{
    journal->half ^= 1;
    journal->offset = 0;
}

void journal_grow(struct journal *journal)
{
    int half = journal->half ^ 1;
    uint64_t size = journal->sizes[half];
    struct stat status;
    /* The last entry may have gone beyond the end. */
    if (fstat(journal->fds[half], &status) == 0 && (uint64_t)status.st_size > size)
        size = (uint64_t)status.st_size;
    /* One long entry went far beyond: the disk has its room back, and starts do not read it again. */
    if (size > LIMIT_JOURNAL_SIZE_MAX && ftruncate(journal->fds[half], LIMIT_JOURNAL_SIZE_MAX) == 0)
        size = LIMIT_JOURNAL_SIZE_MAX;
    uint64_t wanted = journal->sizes[half] * 2;
    if (wanted > LIMIT_JOURNAL_SIZE_MAX) wanted = LIMIT_JOURNAL_SIZE_MAX;
    if (size < wanted && fill(journal->fds[half], size, wanted) == 0 && sync_file(journal->fds[half]) == 0)
        size = wanted;
    journal->sizes[half] = size < LIMIT_JOURNAL_SIZE_MAX ? size : LIMIT_JOURNAL_SIZE_MAX;
}

/* A large filter on disk while nobody has the index open, in data/index/filter: filling it anew takes
 * seconds, in which commands are slower.
 *
 *     struct kept_head | BLAKE2b-256 of it | the filter's bits
 *
 * Written by a clean close, without fsync. It serves the very state of the index that its head tells, and a
 * program that makes bits of keys in the same way; who finds anything else fills a filter from the runs. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "store/index_inside.h"

struct kept_head {
    char format[8];
    char log_id[40];
    struct index_checkpoint checkpoint;
    uint64_t run_last;
    struct hash kind; /* index_filter_kind */
    /* so far it is compared with what is expected */
    uint64_t keys;
    struct hash bits;
};

struct kept_top {
    struct kept_head head;
    struct hash sum;
};

static struct kept_head kept_head_of(const struct index *index, const struct index_state *state)
{
    struct kept_head head;
    memset(&head, 0, sizeof head);
    memcpy(head.format, "filter 1", sizeof head.format);
    snprintf(head.log_id, sizeof head.log_id, "%s", index->log_id);
    head.checkpoint = state->checkpoint;
    head.run_last = state->run_last;
    head.kind = index_filter_kind();
    return head;
}

static struct hash kept_sum(const struct kept_head *head)
{
    return hash_of(slice_make((const char *)head, sizeof *head));
}

/* A file moves all at once, or the disk is full: then there is no filter. */
static bool kept_write(int fd, const void *bytes, size_t size)
{
    return !fault_point(POINT_INDEX_WRITE) && write(fd, bytes, size) == (ssize_t)size;
}

static bool kept_read(int fd, void *bytes, size_t size)
{
    return read(fd, bytes, size) == (ssize_t)size;
}

void index_kept_put(const struct index *index, const struct index_state *state)
{
    char file[4096];
    struct kept_top top = {.head = kept_head_of(index, state)};
    struct slice bits = index_filter_bits(index->filter, &top.head.keys);
    top.head.bits = hash_of(bits);
    top.sum = kept_sum(&top.head);
    /* In place of what is there, whatever that is. */
    unlink(index_file(index, INDEX_KEPT_NAME, file));
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) return;
    bool written = kept_write(fd, &top, sizeof top) && kept_write(fd, bits.data, bits.size);
    if (close(fd) < 0 || !written) unlink(file);
}

static struct index_filter *kept_filter(int fd, const struct kept_head *expected)
{
    struct kept_top top;
    struct stat stat;
    if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || !kept_read(fd, &top, sizeof top)) return NULL;
    struct hash sum = kept_sum(&top.head);
    if (!hash_equal(&sum, &top.sum) || memcmp(&top.head, expected, offsetof(struct kept_head, keys)) != 0)
        return NULL;
    char *room;
    struct index_filter *filter =
        index_filter_of_size((uint64_t)stat.st_size - sizeof top, top.head.keys, &room);
    if (!filter) return NULL;
    struct slice bits = slice_make(room, (size_t)stat.st_size - sizeof top);
    if (kept_read(fd, room, bits.size)) {
        struct hash found = hash_of(bits);
        if (hash_equal(&found, &top.head.bits)) return filter;
    }
    index_filter_free(filter);
    return NULL;
}

struct index_filter *index_kept_get(const struct index *index, const struct index_state *state)
{
    char file[4096];
    int fd = open(index_file(index, INDEX_KEPT_NAME, file), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return NULL;
    struct kept_head expected = kept_head_of(index, state);
    struct index_filter *filter = kept_filter(fd, &expected);
    close(fd);
    return filter;
}

struct index_filter *index_disk_filter(struct index *index)
{
    struct index_state state;
    return index_read_state(index, &state, NULL) < 0 ? NULL : index_kept_get(index, &state);
}

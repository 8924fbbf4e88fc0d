/* A large filter on disk while nobody has the index open, in data/index/filter: filling it anew takes
 * seconds, in which commands are slower.
 *
 *     struct kept_head | the filter's bits | BLAKE2b-256 of both
 *
 * Written by a clean close, without fsync. It serves the very state of the index that its head tells; who
 * finds another one, or a wrong sum, fills a filter from the runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "store/index_inside.h"

struct kept_head {
    char format[8];
    char log_id[40];
    struct index_checkpoint checkpoint;
    uint64_t run_last;
    uint64_t keys;
};

static struct kept_head kept_head_of(const struct index *index, const struct index_state *state)
{
    struct kept_head head;
    memset(&head, 0, sizeof head);
    memcpy(head.format, "filter 1", sizeof head.format);
    snprintf(head.log_id, sizeof head.log_id, "%s", index->log_id);
    head.checkpoint = state->checkpoint;
    head.run_last = state->run_last;
    return head;
}

static int kept_open(const struct index *index, int flags)
{
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", index->path, INDEX_KEPT_NAME);
    return open(file, flags | O_CLOEXEC, 0644);
}

void index_kept_put(struct index *index)
{
    struct index_state state;
    if (index_read_state(index, &state, NULL) < 0) return;
    struct kept_head head = kept_head_of(index, &state);
    struct buf text = {0};
    struct slice bits = index_filter_bits(index->filter, &head.keys);
    buf_put(&text, &head, sizeof head);
    buf_put_slice(&text, bits);
    struct hash sum = hash_of(buf_slice(&text));
    buf_put(&text, &sum, sizeof sum);
    int fd = kept_open(index, O_WRONLY | O_CREAT | O_TRUNC);
    size_t done = 0;
    while (fd >= 0 && done < text.size && !fault_point(POINT_INDEX_WRITE)) {
        ssize_t size = write(fd, text.data + done, text.size - done);
        if (size < 0 && errno != EINTR) break; /* what is there has no right sum */
        done += size > 0 ? (size_t)size : 0;
    }
    if (fd >= 0) close(fd);
    buf_release(&text);
}

/* Everything up to the end. */
static bool kept_read(int fd, struct buf *text)
{
    enum { PIECE = 1 << 20 };
    ssize_t size;
    do {
        size = read(fd, buf_room(text, PIECE), PIECE);
        if (size > 0) text->size += (size_t)size;
    } while (size > 0 || (size < 0 && errno == EINTR));
    return size == 0;
}

static struct index_filter *kept_filter(const struct buf *text, const struct kept_head *expected)
{
    struct kept_head head;
    struct hash sum;
    if (text->size < sizeof head + sizeof sum) return NULL;
    size_t size = text->size - sizeof sum;
    memcpy(&head, text->data, sizeof head);
    memcpy(&sum, text->data + size, sizeof sum);
    uint64_t keys = head.keys;
    head.keys = expected->keys;
    struct hash found = hash_of(slice_make(text->data, size));
    if (memcmp(&head, expected, sizeof head) != 0 || !hash_equal(&found, &sum)) return NULL;
    return index_filter_of_bits(slice_make(text->data + sizeof head, size - sizeof head), keys);
}

struct index_filter *index_kept_get(const struct index *index, const struct index_state *state)
{
    struct index_filter *filter = NULL;
    struct buf text = {0};
    int fd = kept_open(index, O_RDONLY);
    if (fd < 0) return NULL;
    struct kept_head expected = kept_head_of(index, state);
    if (kept_read(fd, &text)) filter = kept_filter(&text, &expected);
    close(fd);
    buf_release(&text);
    return filter;
}

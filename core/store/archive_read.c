/* Reading an archive: what is given out was checked. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/mp.h"
#include "store/archive_inside.h"
#include "store/engine_inside.h"

enum { READ_SIZE = 256 * 1024 };

struct archive_reader {
    struct archive_head head;
    struct archive_point at; /* read up to here */
    struct names *names;
    char *path;
    int fd;
    uint32_t frames;
    bool ended;
    struct buf in; /* from `from` on: read and not used */
    size_t from;
};

static int damaged(struct archive_reader *reader, const char *what, struct fault *fault)
{
    return fault_set(fault, FAULT_CORRUPT, "%s, part %u: %s", reader->path, reader->frames, what);
}

/* --- frames --- */

/* At least size bytes behind `from`. 1; 0: the file ends before; -1 fault. */
static int fill(struct archive_reader *reader, size_t size, struct fault *fault)
{
    struct buf *in = &reader->in;
    if (in->size - reader->from >= size) return 1;
    if (reader->from) memmove(in->data, in->data + reader->from, in->size - reader->from);
    in->size -= reader->from;
    reader->from = 0;
    while (in->size < size) {
        size_t room = size - in->size > READ_SIZE ? size - in->size : READ_SIZE;
        ssize_t got = read(reader->fd, buf_room(in, room), room);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fault_errno(fault, errno, "%s", reader->path);
        if (got == 0) return 0;
        in->size += (size_t)got;
    }
    return 1;
}

static int next_frame(struct archive_reader *reader, uint32_t *kind, struct slice *body, struct fault *fault)
{
    struct archive_frame frame;
    int filled = fill(reader, sizeof frame, fault);
    if (filled < 0) return -1;
    if (!filled) return damaged(reader, "the file is cut off here", fault);
    memcpy(&frame, reader->in.data + reader->from, sizeof frame);
    uint32_t size = le32toh(frame.size);
    if (size > FRAME_BODY_SIZE_MAX) return damaged(reader, "its size is damaged", fault);
    filled = fill(reader, sizeof frame + size, fault);
    if (filled < 0) return -1;
    if (!filled) return damaged(reader, "the file is cut off here", fault);
    *body = slice_make(reader->in.data + reader->from + sizeof frame, size);
    if (le32toh(frame.crc) != archive_frame_crc(&frame, *body) || le32toh(frame.number) != reader->frames)
        return damaged(reader, "it is damaged, or not in its place", fault);
    *kind = le32toh(frame.kind);
    reader->from += sizeof frame + size;
    reader->frames++;
    return 0;
}

/* --- the head --- */

static bool read_int(struct slice map, const char *name, uint64_t *number)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return false;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_INT) return false;
    *number = (uint64_t)value.integer;
    return true;
}

static bool read_text(struct slice map, const char *name, struct slice *text)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return false;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_TEXT) return false;
    *text = value.text;
    return true;
}

static bool read_hash(struct slice map, const char *name, struct hash *hash)
{
    struct slice text;
    if (!read_text(map, name, &text) || text.size != 2 * HASH_SIZE) return false;
    for (size_t at = 0; at < HASH_SIZE; at++) {
        char digits[3] = {text.data[2 * at], text.data[2 * at + 1], 0};
        unsigned byte;
        if (sscanf(digits, "%2x", &byte) != 1) return false;
        hash->bytes[at] = (uint8_t)byte;
    }
    return true;
}

static bool read_point(struct slice map, const char *name, struct archive_point *point)
{
    struct slice bytes;
    uint64_t recorded;
    if (!mp_find(map, slice_of(name), &bytes)) return false;
    bool read =
        read_int(bytes, "position", &point->position) && read_int(bytes, "commits", &point->commits) &&
        read_int(bytes, "outcomes", &point->outcomes) && read_int(bytes, "recorded", &recorded) &&
        read_hash(bytes, "chain", &point->chain) && read_hash(bytes, "outcome_chain", &point->outcome_chain);
    if (read) point->recorded_ms = (int64_t)recorded;
    return read;
}

static bool read_map(struct slice map, struct archive_head *head)
{
    uint64_t what, made;
    struct slice log;
    if (mp_check(map, NULL) < 0 || !read_int(map, "what", &what) || !read_int(map, "made", &made) ||
        !read_int(map, "epoch", &head->epoch) || !read_text(map, "log", &log) ||
        log.size != sizeof head->log_id - 1 || !read_point(map, "before", &head->before) ||
        !read_point(map, "after", &head->after))
        return false;
    memcpy(head->log_id, log.data, log.size);
    head->what = what == ARCHIVE_CUT ? ARCHIVE_CUT : ARCHIVE_BACKUP;
    head->made_ms = (int64_t)made;
    return head->before.position <= head->after.position && head->before.outcomes <= head->after.outcomes;
}

static int read_head(struct archive_reader *reader, struct fault *fault)
{
    uint32_t kind;
    struct slice body;
    int filled = fill(reader, ARCHIVE_MAGIC_SIZE, fault);
    if (filled < 0) return -1;
    if (!filled || memcmp(reader->in.data, ARCHIVE_MAGIC, ARCHIVE_MAGIC_SIZE) != 0)
        return fault_set(fault, FAULT_CORRUPT, "%s is no archive or backup of a log", reader->path);
    reader->from = ARCHIVE_MAGIC_SIZE;
    if (next_frame(reader, &kind, &body, fault) < 0) return -1;
    if (kind != FRAME_HEAD || !read_map(body, &reader->head))
        return damaged(reader, "its beginning cannot be read", fault);
    reader->at = reader->head.before;
    return 0;
}

int archive_open(const char *path, struct archive_reader **out, struct fault *fault)
{
    struct archive_reader *reader = MEM_NEW(struct archive_reader);
    reader->path = mem_text(path, strlen(path));
    reader->names = names_new();
    reader->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int result = reader->fd < 0 ? fault_errno(fault, errno, "%s", path) : read_head(reader, fault);
    if (result < 0) {
        archive_close(reader);
        return -1;
    }
    *out = reader;
    return 0;
}

const struct archive_head *archive_head(const struct archive_reader *reader)
{
    return &reader->head;
}

struct names *archive_names(struct archive_reader *reader)
{
    return reader->names;
}

/* --- what is in it --- */

static int take_name(struct archive_reader *reader, struct slice body, struct fault *fault)
{
    uint32_t number = 0;
    if (body.size > sizeof number) memcpy(&number, body.data, sizeof number);
    struct slice text = slice_make(body.data + sizeof number, body.size > 4 ? body.size - 4 : 0);
    if (!text.size || names_find(reader->names, text) || names_intern(reader->names, text) != le32toh(number))
        return damaged(reader, "a name is out of order", fault);
    return 0;
}

static int take_record(struct archive_reader *reader, struct slice bytes, struct archive_item *item,
                       struct fault *fault)
{
    bool outcome = item->kind == ARCHIVE_OUTCOME;
    struct archive_point *at = &reader->at;
    struct hash *chain = outcome ? &at->outcome_chain : &at->chain;
    struct record *record = &item->record;
    struct fault inner = {0};
    if (record_open(bytes, reader->names, record, &inner) < 0 || record_check(record, chain, &inner) < 0)
        return damaged(reader, inner.text, fault);
    bool follows = outcome ? item->number == at->outcomes + 1 && record->event_count == 0
                           : record->first_position == at->position + 1 && record->event_count > 0;
    if (!follows) return damaged(reader, "a record is missing before it", fault);
    *chain = record->chain;
    if (record->recorded_ms > at->recorded_ms) at->recorded_ms = record->recorded_ms;
    if (outcome) {
        at->outcomes++;
    } else {
        at->position += record->event_count;
        at->commits++;
    }
    return 1;
}

static int take_meta(struct archive_reader *reader, struct slice body, struct archive_item *item,
                     struct fault *fault)
{
    uint32_t size = 0;
    if (body.size >= sizeof size) memcpy(&size, body.data, sizeof size);
    size = le32toh(size);
    if (size == 0 || size > body.size - sizeof size) return damaged(reader, "a value has no name", fault);
    item->key = slice_make(body.data + sizeof size, size);
    item->value = slice_make(item->key.data + size, body.size - sizeof size - size);
    return 1;
}

static int take_end(struct archive_reader *reader, struct slice body, struct fault *fault)
{
    uint64_t frames = 0;
    const struct archive_point *at = &reader->at, *after = &reader->head.after;
    if (body.size == sizeof frames) memcpy(&frames, body.data, sizeof frames);
    if (le64toh(frames) != reader->frames - 1 || at->position != after->position ||
        at->commits != after->commits || at->outcomes != after->outcomes ||
        !hash_equal(&at->chain, &after->chain) || !hash_equal(&at->outcome_chain, &after->outcome_chain))
        return damaged(reader, "it does not end as its beginning says", fault);
    reader->ended = true;
    return 0;
}

int archive_next(struct archive_reader *reader, struct archive_item *item, struct fault *fault)
{
    uint32_t kind;
    struct slice body;
    while (!reader->ended) {
        if (next_frame(reader, &kind, &body, fault) < 0) return -1;
        item->kind = (enum archive_kind)kind;
        switch (kind) {
        case FRAME_NAME:
            if (take_name(reader, body, fault) < 0) return -1;
            break;
        case ARCHIVE_COMMIT: return take_record(reader, body, item, fault);
        case ARCHIVE_OUTCOME:
            if (body.size < sizeof item->number) return damaged(reader, "an outcome is cut off", fault);
            memcpy(&item->number, body.data, sizeof item->number);
            item->number = le64toh(item->number);
            return take_record(reader, slice_make(body.data + 8, body.size - 8), item, fault);
        case ARCHIVE_META: return take_meta(reader, body, item, fault);
        case FRAME_END: return take_end(reader, body, fault);
        default: return damaged(reader, "it is of a kind that this version does not know", fault);
        }
    }
    return 0;
}

void archive_close(struct archive_reader *reader)
{
    if (!reader) return;
    if (reader->fd > STDIN_FILENO) close(reader->fd);
    names_free(reader->names);
    buf_release(&reader->in);
    mem_free(reader->path);
    mem_free(reader);
}

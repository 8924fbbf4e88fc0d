/* Writing an archive. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "codec/mp.h"
#include "store/archive_inside.h"

enum {
    WRITE_SIZE = 256 * 1024,
    READ_RECORDS = 4096 /* with one cursor: a longer one would pin pages of a hub that writes */
};

struct archive_writer {
    struct archive_head head;
    char *path; /* "-": stdout */
    int fd;
    uint32_t frames;
    struct buf out;
};

uint32_t archive_frame_crc(const struct archive_frame *frame, struct slice body)
{
    uint32_t parts[2] = {hash_crc32(slice_make(frame, offsetof(struct archive_frame, crc))),
                         hash_crc32(body)};
    return hash_crc32(slice_make(parts, sizeof parts));
}

struct archive_point archive_point_of(const struct engine_head *head)
{
    return (struct archive_point){head->position,    head->commits, head->outcomes,
                                  head->recorded_ms, head->chain,   head->outcome_chain};
}

static int write_out(struct archive_writer *writer, struct fault *fault)
{
    for (size_t done = 0; done < writer->out.size;) {
        int error = fault_point(POINT_ARCHIVE_WRITE);
        size_t left = writer->out.size - done;
        if (error == FAULT_POINT_SHORT) left = (left + 1) / 2;
        ssize_t size = error > 0 ? -1 : write(writer->fd, writer->out.data + done, left);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fault_errno(fault, errno, "%s", writer->path);
        done += (size_t)size;
    }
    buf_clear(&writer->out);
    return 0;
}

/* The body in two parts. */
static int put_frame(struct archive_writer *writer, uint32_t kind, struct slice first, struct slice second,
                     struct fault *fault)
{
    struct buf *out = &writer->out;
    size_t at = out->size, size = first.size + second.size;
    CHECK(size <= FRAME_BODY_SIZE_MAX);
    struct archive_frame frame = {htole32((uint32_t)size), htole32(kind), htole32(writer->frames++), 0};
    buf_put(out, &frame, sizeof frame);
    buf_put_slice(out, first);
    buf_put_slice(out, second);
    frame.crc = htole32(archive_frame_crc(&frame, slice_make(out->data + at + sizeof frame, size)));
    memcpy(out->data + at, &frame, sizeof frame);
    return out->size >= WRITE_SIZE ? write_out(writer, fault) : 0;
}

static void put_point(struct buf *out, const char *name, const struct archive_point *point)
{
    char hex[2 * HASH_SIZE + 1];
    mp_put_text(out, slice_of(name));
    mp_put_map(out, 6);
    hash_hex(&point->chain, hex);
    mp_put_text(out, slice_of("chain"));
    mp_put_text(out, slice_of(hex));
    mp_put_text(out, slice_of("commits"));
    mp_put_int(out, (int64_t)point->commits);
    hash_hex(&point->outcome_chain, hex);
    mp_put_text(out, slice_of("outcome_chain"));
    mp_put_text(out, slice_of(hex));
    mp_put_text(out, slice_of("outcomes"));
    mp_put_int(out, (int64_t)point->outcomes);
    mp_put_text(out, slice_of("position"));
    mp_put_int(out, (int64_t)point->position);
    mp_put_text(out, slice_of("recorded"));
    mp_put_int(out, point->recorded_ms);
}

static int put_head(struct archive_writer *writer, struct fault *fault)
{
    const struct archive_head *head = &writer->head;
    struct buf map = {0};
    mp_put_map(&map, 6);
    put_point(&map, "after", &head->after);
    put_point(&map, "before", &head->before);
    mp_put_text(&map, slice_of("epoch"));
    mp_put_int(&map, (int64_t)head->epoch);
    mp_put_text(&map, slice_of("log"));
    mp_put_text(&map, slice_of(head->log_id));
    mp_put_text(&map, slice_of("made"));
    mp_put_int(&map, head->made_ms);
    mp_put_text(&map, slice_of("what"));
    mp_put_int(&map, head->what);
    int result = put_frame(writer, FRAME_HEAD, buf_slice(&map), SLICE_NONE, fault);
    buf_release(&map);
    return result;
}

int archive_create(const char *path, const struct archive_head *head, struct archive_writer **out,
                   struct fault *fault)
{
    struct archive_writer *writer = MEM_NEW(struct archive_writer);
    writer->head = *head;
    writer->path = mem_text(path, strlen(path));
    writer->fd =
        strcmp(path, "-") == 0 ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        fault_errno(fault, errno, "%s", path);
        mem_free(writer->path);
        mem_free(writer);
        return -1;
    }
    buf_put(&writer->out, ARCHIVE_MAGIC, ARCHIVE_MAGIC_SIZE);
    if (put_head(writer, fault) < 0) {
        archive_abandon(writer);
        return -1;
    }
    *out = writer;
    return 0;
}

/* --- the log --- */

/* One of the two lists of records, read a few at a time. */
struct side {
    struct engine *engine;
    bool outcomes;
    struct engine_cursor *cursor;
    size_t left;         /* for this cursor */
    uint64_t next, last; /* position or number to go on with; the last to give */
    struct record record;
    bool has;
};

static void side_close(struct side *side)
{
    if (side->cursor) engine_cursor_close(side->cursor);
    side->cursor = NULL;
}

static int side_next(struct side *side, struct fault *fault)
{
    side->has = false;
    if (side->next > side->last) return 0;
    if (side->left == 0) side_close(side);
    if (!side->cursor) {
        int opened = side->outcomes ? engine_read_outcomes(side->engine, side->next, &side->cursor, fault)
                                    : engine_read(side->engine, side->next, &side->cursor, fault);
        if (opened < 0) return -1;
        side->left = READ_RECORDS;
    }
    int found = engine_cursor_next(side->cursor, &side->record, fault);
    if (found < 0 || (found && record_check_crc(&side->record, fault) < 0)) return -1;
    uint64_t first = side->outcomes ? side->next : side->record.first_position;
    if (!found || first != side->next)
        return fault_set(fault, FAULT_CORRUPT, "the log does not have %s %llu",
                         side->outcomes ? "outcome" : "position", (unsigned long long)side->next);
    side->left--;
    side->next += side->outcomes ? 1 : side->record.event_count;
    side->has = true;
    return 0;
}

static uint32_t first_define(const struct record *record)
{
    struct record_define define = {0};
    return record_next_define(record, &define) ? define.id : UINT32_MAX;
}

/* Whether the commit was written before the outcome, as far as that can be told: within one millisecond only
 * by the stream's last event that the outcome names, and by who defined a name first. */
static bool is_before(const struct record *commit, const struct record *outcome)
{
    if (commit->recorded_ms != outcome->recorded_ms) return commit->recorded_ms < outcome->recorded_ms;
    if (outcome->first_position >= commit->first_position) return true;
    return first_define(commit) < first_define(outcome);
}

static int put_records(struct archive_writer *writer, struct side *commits, struct side *outcomes,
                       struct fault *fault)
{
    int result = side_next(commits, fault);
    if (result == 0) result = side_next(outcomes, fault);
    while (result == 0 && (commits->has || outcomes->has)) {
        bool commit = commits->has && (!outcomes->has || is_before(&commits->record, &outcomes->record));
        struct side *side = commit ? commits : outcomes;
        uint64_t number = htole64(side->next - 1);
        result =
            put_frame(writer, commit ? ARCHIVE_COMMIT : ARCHIVE_OUTCOME,
                      commit ? SLICE_NONE : slice_make(&number, sizeof number), side->record.bytes, fault);
        if (result == 0) result = side_next(side, fault);
    }
    return result;
}

int archive_put_log(struct archive_writer *writer, struct engine *engine, struct fault *fault)
{
    const struct archive_head *head = &writer->head;
    struct names *names = engine_names(engine);
    for (uint32_t name = 1; name <= head->names; name++) {
        uint32_t number = htole32(name);
        if (put_frame(writer, FRAME_NAME, slice_make(&number, sizeof number), names_get(names, name), fault) <
            0)
            return -1;
    }
    struct side commits = {.engine = engine, .next = head->before.position + 1, .last = head->after.position};
    struct side outcomes = {
        .engine = engine, .outcomes = true, .next = head->before.outcomes + 1, .last = head->after.outcomes};
    int result = put_records(writer, &commits, &outcomes, fault);
    side_close(&commits);
    side_close(&outcomes);
    return result;
}

int archive_put_meta(struct archive_writer *writer, struct slice key, struct slice value, struct fault *fault)
{
    struct buf first = {0};
    uint32_t size = htole32((uint32_t)key.size);
    buf_put(&first, &size, sizeof size);
    buf_put_slice(&first, key);
    int result = put_frame(writer, ARCHIVE_META, buf_slice(&first), value, fault);
    buf_release(&first);
    return result;
}

/* --- the end --- */

static int writer_free(struct archive_writer *writer)
{
    int result = writer->fd == STDOUT_FILENO ? 0 : close(writer->fd);
    buf_release(&writer->out);
    mem_free(writer->path);
    mem_free(writer);
    return result;
}

int archive_finish(struct archive_writer *writer, struct fault *fault)
{
    uint64_t frames = htole64(writer->frames);
    int result = put_frame(writer, FRAME_END, slice_make(&frames, sizeof frames), SLICE_NONE, fault);
    if (result == 0) result = write_out(writer, fault);
    int error = result == 0 ? fault_point(POINT_ARCHIVE_SYNC) : 0;
    if (result == 0 && writer->fd != STDOUT_FILENO && (error || fsync(writer->fd) < 0) && errno != EINVAL)
        result = fault_errno(fault, errno, "%s", writer->path);
    if (result < 0) {
        archive_abandon(writer);
        return -1;
    }
    writer_free(writer);
    return 0;
}

void archive_abandon(struct archive_writer *writer)
{
    if (writer->fd != STDOUT_FILENO) unlink(writer->path);
    writer_free(writer);
}

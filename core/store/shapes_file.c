/* The file:
 *
 *   8 bytes       "shapes" and format (2 digits)
 *   4 bytes       CRC-32 (little endian) of everything behind it
 *   log id (36), epoch, position (varints), chain (32)
 *   types: varint how many; each: context, type (varint size, bytes), version, events, first, last, beyond,
 *     shapes: varint how many; each: text (varint size, bytes), is a field (1), events, first, last
 *
 * It is in order of types and of first events, so equal counts are equal bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/limit.h"
#include "base/mem.h"
#include "store/shapes_inside.h"

static const char SHAPES_MAGIC[] = "shapes01";
enum {
    MAGIC_SIZE = 8,
    HEAD_SIZE = MAGIC_SIZE + 4,
    LOG_ID_SIZE = 36,
    FILE_SIZE_MAX = 256 << 20 /* thousands of types at their bounds */
};

/* --- writing --- */

static void put_text(struct buf *out, struct slice text)
{
    buf_put_varint(out, text.size);
    buf_put_slice(out, text);
}

static void put_counts(struct buf *out, uint64_t events, uint64_t first, uint64_t last)
{
    buf_put_varint(out, events);
    buf_put_varint(out, first);
    buf_put_varint(out, last);
}

static void put_type(struct buf *out, const struct shape_type *type)
{
    put_text(out, type->context);
    put_text(out, type->type);
    buf_put_varint(out, type->version);
    put_counts(out, type->events, type->first, type->last);
    buf_put_varint(out, type->beyond);
    buf_put_varint(out, type->shape_count);
    for (size_t at = 0; at < type->shape_count; at++) {
        const struct shape *shape = &type->shapes[at];
        put_text(out, shape->text);
        buf_put_byte(out, shape->is_field);
        put_counts(out, shape->events, shape->first, shape->last);
    }
}

static void put_all(struct shapes *shapes, struct buf *out)
{
    char log_id[LOG_ID_SIZE + 1] = {0};
    buf_put_text(out, SHAPES_MAGIC);
    buf_put(out, "\0\0\0", 4);
    memcpy(log_id, shapes->log_id, LOG_ID_SIZE);
    buf_put(out, log_id, LOG_ID_SIZE);
    buf_put_varint(out, shapes->epoch);
    buf_put_varint(out, shapes->position);
    buf_put(out, shapes->chain.bytes, HASH_SIZE);
    buf_put_varint(out, shapes->type_count);
    for (size_t at = 0; at < shapes->type_count; at++) put_type(out, shapes_at(shapes, at));
    uint32_t crc = hash_crc32(slice_make(out->data + HEAD_SIZE, out->size - HEAD_SIZE));
    for (int at = 0; at < 4; at++) out->data[MAGIC_SIZE + at] = (char)(crc >> (8 * at));
}

static int write_file(int fd, const char *path, const struct buf *bytes, struct fault *fault)
{
    size_t size = 0;
    while (size < bytes->size) {
        int error = fault_point(POINT_SHAPES_WRITE);
        size_t left = bytes->size - size;
        ssize_t written = error > 0 ? -1 : write(fd, bytes->data + size, error < 0 ? 1 : left);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fault_errno(fault, errno, "%s", path);
        size += (size_t)written;
    }
    return 0;
}

int shapes_save(struct shapes *shapes, const char *path, struct fault *fault)
{
    char made[4200];
    struct buf bytes = {0};
    snprintf(made, sizeof made, "%s.new", path);
    int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", made);
    put_all(shapes, &bytes);
    int done = write_file(fd, made, &bytes, fault);
    buf_release(&bytes);
    if (close(fd) < 0 && done == 0) done = fault_errno(fault, errno, "%s", made);
    if (done == 0 && rename(made, path) < 0) done = fault_errno(fault, errno, "%s", path);
    if (done < 0) unlink(made);
    return done;
}

bool shapes_equal(struct shapes *a, struct shapes *b)
{
    struct buf one = {0}, other = {0};
    put_all(a, &one);
    put_all(b, &other);
    bool equal = slice_equal(buf_slice(&one), buf_slice(&other));
    buf_release(&one);
    buf_release(&other);
    return equal;
}

/* --- reading --- */

struct reading {
    struct shapes *shapes;
    const uint8_t *at, *end;
};

static bool take_number(struct reading *reading, uint64_t *number)
{
    return buf_read_varint(&reading->at, reading->end, number);
}

static bool take_text(struct reading *reading, size_t size_max, struct slice *text)
{
    uint64_t size;
    if (!take_number(reading, &size) || size > size_max || size > (uint64_t)(reading->end - reading->at))
        return false;
    *text = slice_make(reading->at, (size_t)size);
    reading->at += size;
    return true;
}

static bool take_counts(struct reading *reading, uint64_t *events, uint64_t *first, uint64_t *last)
{
    return take_number(reading, events) && take_number(reading, first) && take_number(reading, last) &&
           *events && *first && *first <= *last && *last <= reading->shapes->position;
}

static bool take_shape(struct reading *reading, struct shapes_type *type)
{
    struct slice text;
    uint64_t events, first, last;
    if (!take_text(reading, LIMIT_SHAPES_SIZE_MAX, &text) || !text.size || reading->at == reading->end)
        return false;
    uint8_t is_field = *reading->at++;
    if (is_field > 1 || map_find(&type->by_text, text) || !take_counts(reading, &events, &first, &last))
        return false;
    struct shape *shape = shapes_make_shape(reading->shapes, type, text, is_field);
    shape->events = events;
    shape->first = first;
    shape->last = last;
    return type->whole <= LIMIT_SHAPES_MAX && type->fields <= LIMIT_SHAPE_FIELDS_MAX &&
           type->size <= LIMIT_SHAPES_SIZE_MAX;
}

static bool take_type(struct reading *reading)
{
    struct slice context, name;
    uint64_t version, events, first, last, beyond, count;
    if (!take_text(reading, LIMIT_NAME_SIZE_MAX, &context) ||
        !take_text(reading, LIMIT_NAME_SIZE_MAX, &name) || !take_number(reading, &version) ||
        version > UINT32_MAX || !take_counts(reading, &events, &first, &last) ||
        !take_number(reading, &beyond) || beyond > events || !take_number(reading, &count))
        return false;
    size_t before = reading->shapes->type_count;
    struct shapes_type *type = shapes_make_type(reading->shapes, context, name, (uint32_t)version);
    if (reading->shapes->type_count == before) return false;
    type->declared.events = events;
    type->declared.first = first;
    type->declared.last = last;
    type->declared.beyond = beyond;
    for (; count; count--)
        if (!take_shape(reading, type)) return false;
    return true;
}

static bool take_all(struct shapes *shapes, struct slice bytes)
{
    struct reading reading = {.shapes = shapes};
    uint64_t types;
    uint32_t crc = 0;
    if (bytes.size < HEAD_SIZE + LOG_ID_SIZE || memcmp(bytes.data, SHAPES_MAGIC, MAGIC_SIZE) != 0)
        return false;
    reading.at = (const uint8_t *)bytes.data + HEAD_SIZE;
    reading.end = (const uint8_t *)bytes.data + bytes.size;
    for (int at = 0; at < 4; at++) crc |= (uint32_t)(uint8_t)bytes.data[MAGIC_SIZE + at] << (8 * at);
    if (crc != hash_crc32(slice_make(reading.at, bytes.size - HEAD_SIZE))) return false;
    memcpy(shapes->log_id, reading.at, LOG_ID_SIZE);
    reading.at += LOG_ID_SIZE;
    if (!take_number(&reading, &shapes->epoch) || !take_number(&reading, &shapes->position) ||
        reading.end - reading.at < HASH_SIZE)
        return false;
    memcpy(shapes->chain.bytes, reading.at, HASH_SIZE);
    reading.at += HASH_SIZE;
    if (!take_number(&reading, &types)) return false;
    for (; types; types--)
        if (!take_type(&reading)) return false;
    return reading.at == reading.end;
}

bool shapes_read(struct slice bytes, struct shapes **shapes)
{
    struct shapes *made = shapes_new();
    if (take_all(made, bytes)) {
        *shapes = made;
        return true;
    }
    shapes_free(made);
    return false;
}

static int read_file(int fd, const char *path, struct buf *bytes, struct fault *fault)
{
    struct stat status;
    if (fstat(fd, &status) < 0) return fault_errno(fault, errno, "%s", path);
    if (status.st_size > FILE_SIZE_MAX) return fault_set(fault, FAULT_CORRUPT, "%s: it is too large", path);
    buf_room(bytes, (size_t)status.st_size);
    while (bytes->size < (size_t)status.st_size) {
        ssize_t size = read(fd, bytes->data + bytes->size, (size_t)status.st_size - bytes->size);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fault_errno(fault, errno, "%s", path);
        if (size == 0) break;
        bytes->size += (size_t)size;
    }
    return 0;
}

int shapes_load(const char *path, struct shapes **shapes, struct fault *fault)
{
    struct buf bytes = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : fault_errno(fault, errno, "%s", path);
    int done = read_file(fd, path, &bytes, fault);
    close(fd);
    if (done == 0 && !shapes_read(buf_slice(&bytes), shapes))
        done = fault_set(fault, FAULT_CORRUPT, "%s: it is not what was written", path);
    buf_release(&bytes);
    return done < 0 ? -1 : 1;
}

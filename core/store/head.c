#include "store/head.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const uint32_t HEAD_MAGIC = 0x6b6e696c; /* "link" */

/* What is on disk, little endian; no padding: every member is at a multiple of its size. */
struct head_image {
    uint64_t sequence, position, outcomes;
    uint8_t digest[HASH_SIZE];
    uint32_t magic, crc;
};
_Static_assert(sizeof(struct head_image) == HEAD_SLOT_SIZE, "a slot is 64 bytes");

static uint32_t image_crc(const struct head_image *image)
{
    return hash_crc32(slice_make(image, offsetof(struct head_image, crc)));
}

struct hash head_digest(const struct hash *chain, const struct hash *outcome_chain)
{
    char both[2 * HASH_SIZE];
    memcpy(both, chain->bytes, HASH_SIZE);
    memcpy(both + HASH_SIZE, outcome_chain->bytes, HASH_SIZE);
    return hash_of(slice_make(both, sizeof both));
}

static int read_slots(int fd, struct head_slot slots[HEAD_SLOTS])
{
    for (int at = 0; at < HEAD_SLOTS; at++) {
        struct head_image image;
        slots[at] = (struct head_slot){0};
        ssize_t size = pread(fd, &image, sizeof image, (off_t)at * HEAD_SLOT_SIZE);
        if (size < 0) return -1;
        if (size != sizeof image || le32toh(image.magic) != HEAD_MAGIC ||
            le32toh(image.crc) != image_crc(&image))
            continue;
        slots[at].valid = true;
        slots[at].sequence = le64toh(image.sequence);
        slots[at].position = le64toh(image.position);
        slots[at].outcomes = le64toh(image.outcomes);
        memcpy(slots[at].digest.bytes, image.digest, HASH_SIZE);
    }
    return 0;
}

int head_read(const char *path, struct head_slot slots[HEAD_SLOTS], bool *found, struct fault *fault)
{
    memset(slots, 0, HEAD_SLOTS * sizeof *slots);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *found = fd >= 0;
    if (fd < 0) return errno == ENOENT ? 0 : fault_errno(fault, errno, "%s", path);
    int result = read_slots(fd, slots);
    int error = errno;
    close(fd);
    return result < 0 ? fault_errno(fault, error, "%s", path) : 0;
}

int head_open(const char *path, struct head_file *file, struct fault *fault)
{
    file->sequence = 0;
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file->fd < 0) return fault_errno(fault, errno, "%s", path);
    struct head_slot slots[HEAD_SLOTS];
    if (read_slots(file->fd, slots) < 0) {
        int error = errno;
        head_close(file);
        return fault_errno(fault, error, "%s", path);
    }
    for (int at = 0; at < HEAD_SLOTS; at++)
        if (slots[at].valid && slots[at].sequence > file->sequence) file->sequence = slots[at].sequence;
    return 0;
}

int head_write(struct head_file *file, uint64_t position, uint64_t outcomes, const struct hash *digest)
{
    uint64_t sequence = file->sequence + 1;
    struct head_image image = {.sequence = htole64(sequence),
                               .position = htole64(position),
                               .outcomes = htole64(outcomes),
                               .magic = htole32(HEAD_MAGIC)};
    memcpy(image.digest, digest->bytes, HASH_SIZE);
    image.crc = htole32(image_crc(&image));
    off_t at = (off_t)(sequence % HEAD_SLOTS) * HEAD_SLOT_SIZE;
    ssize_t size = pwrite(file->fd, &image, sizeof image, at);
    if (size != sizeof image) {
        if (size >= 0) errno = ENOSPC;
        return -1;
    }
    file->sequence = sequence;
    return 0;
}

void head_close(struct head_file *file)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

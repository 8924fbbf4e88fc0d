#include "run/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"

struct spill_block {
    uint64_t at;
    size_t size;
};

struct spill_partition {
    struct buf waiting; /* records, each behind its size; not yet on disk */
    struct buf blocks;  /* struct spill_block */
};

struct spill {
    int fd;
    uint64_t size;
    uint32_t partition_count;
    bool sealed;
    struct spill_partition partitions[];
};

struct spill_reader {
    const struct spill *spill;
    const struct spill_partition *partition;
    size_t next;      /* block */
    struct buf block; /* the one that is read */
    size_t at;        /* in it */
};

int spill_open(const char *directory, uint32_t partitions, struct spill **spill, struct fault *fault)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/spill", directory);
    int error = fault_point(POINT_VIEWS_SPILL);
    int fd = error > 0 ? -1 : open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fault_errno(fault, errno, "%s: cannot make it", path);
    unlink(path);
    struct spill *made = mem_zero(sizeof *made + partitions * sizeof *made->partitions);
    made->fd = fd;
    made->partition_count = partitions;
    *spill = made;
    return 0;
}

static int spill_write(struct spill *spill, struct spill_partition *partition, struct fault *fault)
{
    struct slice left = buf_slice(&partition->waiting);
    struct spill_block block = {spill->size, left.size};
    while (left.size > 0) {
        int error = fault_point(POINT_VIEWS_SPILL);
        if (error > 0) return fault_errno(fault, error, "writing events aside for a rebuild");
        size_t size = error == FAULT_POINT_SHORT ? (left.size + 1) / 2 : left.size;
        ssize_t written = pwrite(spill->fd, left.data, size, (off_t)spill->size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fault_errno(fault, errno, "writing events aside for a rebuild");
        if (written == 0) return fault_errno(fault, ENOSPC, "writing events aside for a rebuild");
        spill->size += (uint64_t)written;
        left = slice_make(left.data + written, left.size - (size_t)written);
    }
    buf_put(&partition->blocks, &block, sizeof block);
    buf_clear(&partition->waiting);
    return 0;
}

int spill_put(struct spill *spill, uint32_t partition, struct slice record, struct fault *fault)
{
    CHECK(!spill->sealed && partition < spill->partition_count && record.size <= UINT32_MAX);
    struct spill_partition *of = &spill->partitions[partition];
    uint32_t size = (uint32_t)record.size;
    if (of->waiting.size && of->waiting.size + sizeof size + record.size > SPILL_BLOCK &&
        spill_write(spill, of, fault) < 0)
        return -1;
    buf_put(&of->waiting, &size, sizeof size);
    buf_put_slice(&of->waiting, record);
    return 0;
}

int spill_seal(struct spill *spill, struct fault *fault)
{
    for (uint32_t at = 0; at < spill->partition_count; at++) {
        struct spill_partition *partition = &spill->partitions[at];
        if (partition->waiting.size && spill_write(spill, partition, fault) < 0) return -1;
        buf_release(&partition->waiting);
    }
    spill->sealed = true;
    return 0;
}

uint64_t spill_size(const struct spill *spill)
{
    return spill->size;
}

void spill_close(struct spill *spill)
{
    if (!spill) return;
    for (uint32_t at = 0; at < spill->partition_count; at++) {
        buf_release(&spill->partitions[at].waiting);
        buf_release(&spill->partitions[at].blocks);
    }
    close(spill->fd);
    mem_free(spill);
}

struct spill_reader *spill_read(struct spill *spill, uint32_t partition)
{
    CHECK(spill->sealed && partition < spill->partition_count);
    struct spill_reader *reader = MEM_NEW(struct spill_reader);
    reader->spill = spill;
    reader->partition = &spill->partitions[partition];
    return reader;
}

static int spill_load(struct spill_reader *reader, const struct spill_block *block, struct fault *fault)
{
    buf_clear(&reader->block);
    reader->at = 0;
    char *to = buf_room(&reader->block, block->size);
    while (reader->block.size < block->size) {
        int error = fault_point(POINT_VIEWS_SPILL_READ);
        if (error > 0) return fault_errno(fault, error, "reading events aside for a rebuild");
        size_t size = block->size - reader->block.size;
        if (error == FAULT_POINT_SHORT) size = (size + 1) / 2;
        ssize_t got =
            pread(reader->spill->fd, to + reader->block.size, size, (off_t)(block->at + reader->block.size));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fault_errno(fault, got < 0 ? errno : EIO, "reading events aside for a rebuild");
        reader->block.size += (size_t)got;
    }
    return 0;
}

int spill_next(struct spill_reader *reader, struct slice *record, struct fault *fault)
{
    if (reader->at == reader->block.size) {
        const struct buf *blocks = &reader->partition->blocks;
        if (reader->next == blocks->size / sizeof(struct spill_block)) return 0;
        const struct spill_block *block =
            (const struct spill_block *)(const void *)blocks->data + reader->next;
        if (spill_load(reader, block, fault) < 0) return -1;
        reader->next++;
    }
    uint32_t size;
    memcpy(&size, reader->block.data + reader->at, sizeof size);
    CHECK(size <= reader->block.size - reader->at - sizeof size);
    *record = slice_make(reader->block.data + reader->at + sizeof size, size);
    reader->at += sizeof size + size;
    return 1;
}

void spill_read_close(struct spill_reader *reader)
{
    if (!reader) return;
    buf_release(&reader->block);
    mem_free(reader);
}

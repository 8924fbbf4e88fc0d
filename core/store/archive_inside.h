/* archive_inside.h: the form of an archive on disk. For archive*.c only. */
#ifndef LORE_STORE_ARCHIVE_INSIDE_H
#define LORE_STORE_ARCHIVE_INSIDE_H

#include "store/archive.h"

#define ARCHIVE_MAGIC "LORELOG1"

enum {
    ARCHIVE_MAGIC_SIZE = 8,
    FRAME_HEAD = 1,
    FRAME_NAME = 2,
    FRAME_END = 6,
    FRAME_BODY_SIZE_MAX = 256 << 20 /* a record is a transaction: far above LIMIT_TRANSACTION_SIZE_MAX */
};

/* Little endian; no padding. */
struct archive_frame {
    uint32_t size, kind, number, crc;
};
_Static_assert(sizeof(struct archive_frame) == 16, "a frame's header is 16 bytes");

/* Of header (as stored) and body. */
uint32_t archive_frame_crc(const struct archive_frame *frame, struct slice body);

#endif

/* archive.h: a piece of the log as one file: what a rollback cut off, or a backup. Written and read from
 * front to back, so it may be a pipe.
 *
 *   8 "LORELOG1", then frames:  4 size of the body   4 kind   4 number of the frame, from 0   4 CRC-32 of the
 * 12 bytes before it and of the body   then the body          (little endian)
 *
 *   HEAD     a MessagePack map: where the piece begins and ends, see struct archive_head
 *   NAME     4 number, text: all names up to its end, from 1 on, so the file explains itself
 *   COMMIT   a record            OUTCOME   8 number, a record: both in the order in which they were written
 *   META     4 size of the key, key, value: named values of the log (backups)
 *   END      8 frames before it: without it the file is cut off
 *
 * Who reads gets records whose checksum, place and chain hold, from the link that HEAD names to the one it
 * ends with; anything else is CORRUPT.
 *
 *     archive_open("data/archive/x.lore", &reader, &fault);        "-": stdin
 *     while ((got = archive_next(reader, &item, &fault)) > 0) ...
 *     archive_close(reader);
 *
 * Threads: one. Owns: the file; the reader its names. */
#ifndef LORE_STORE_ARCHIVE_H
#define LORE_STORE_ARCHIVE_H

#include "base/fault.h"
#include "store/engine.h"

/* A place in the log: everything up to it. */
struct archive_point {
    uint64_t position, commits, outcomes;
    int64_t recorded_ms;
    struct hash chain, outcome_chain;
};

enum archive_what { ARCHIVE_CUT = 1, ARCHIVE_BACKUP = 2 };

struct archive_head {
    enum archive_what what;
    char log_id[37];
    uint64_t epoch;              /* of the log when it was written */
    struct archive_point before; /* the piece is what lies behind it ... */
    struct archive_point after;  /* ... up to here */
    int64_t made_ms;
    uint32_t names; /* defined up to its end; for who writes */
};

struct archive_point archive_point_of(const struct engine_head *head);

/* --- writing --- */

struct archive_writer;

/* Makes the file; "-": stdout. Fault: DISK, PERMISSION. */
int archive_create(const char *path, const struct archive_head *head, struct archive_writer **writer,
                   struct fault *fault);
/* The names, then the records between the two points of the head. Reads a few at a time, so it
 * may run long beside a process that writes. */
int archive_put_log(struct archive_writer *writer, struct engine *engine, struct fault *fault);
int archive_put_meta(struct archive_writer *writer, struct slice key, struct slice value,
                     struct fault *fault);
/* The end; a file is durable then, its name is when its folder was synced. Frees the writer in any case. */
int archive_finish(struct archive_writer *writer, struct fault *fault);
/* Frees the writer and removes the file. */
void archive_abandon(struct archive_writer *writer);

/* --- reading --- */

struct archive_reader;

enum archive_kind { ARCHIVE_COMMIT = 3, ARCHIVE_OUTCOME = 4, ARCHIVE_META = 5 };

struct archive_item { /* borrowed until the next call */
    enum archive_kind kind;
    uint64_t number;         /* of an outcome */
    struct record record;    /* COMMIT, OUTCOME */
    struct slice key, value; /* META */
};

/* Reads the head. Faults: NOT_FOUND, CORRUPT (no such file, another format). */
int archive_open(const char *path, struct archive_reader **reader, struct fault *fault);
const struct archive_head *archive_head(const struct archive_reader *reader);
struct names *archive_names(struct archive_reader *reader);
/* 1; 0: the end, all of it was there; -1: CORRUPT, DISK. */
int archive_next(struct archive_reader *reader, struct archive_item *item, struct fault *fault);
void archive_close(struct archive_reader *reader);

#endif

/* record.h: the commit record, the one value that is the log.
 *
 *   byte 0        format (2)
 *   byte 1        kind (enum record_kind)
 *   4 bytes       CRC-32 (little endian) of everything behind it
 *   varint        envelope size, then the envelope
 *   varint        payload size, then the payload
 *   16 bytes      chain: the first half of H(previous chain, H(envelope), H(payload)), see hash_chain
 *
 * envelope: names defined here, kind again with flags, tenant, aggregate ("billing/bill"), id, first
 * position, first version, recorded, epoch, deploy, actor, batch id, correlation, causation, depth,
 * commands, events, outcome. record.c has the field list. Tenant, aggregate, actor and types are numbers of
 * names.h. A lower-case UUID among the ids of commands, batches and causes takes 17 bytes; one that equals
 * the first command's id takes none. payload: MessagePack maps, commands first, then events. A command whose
 * data equals that of an event of the same commit is not stored twice (found when both come in the same
 * order).
 *
 * A record is read by a cursor without allocation: everything is borrowed from the bytes.
 *
 *     struct record record;
 *     if (record_open(bytes, names, &record, &fault) < 0) ...
 *     struct record_event event = {0};
 *     while (record_next_event(&record, &event)) ...
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_CODEC_RECORD_H
#define LORE_CODEC_RECORD_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/slice.h"
#include "codec/names.h"

enum record_kind {
    RECORD_COMMIT = 1,   /* events decided by commands; has positions */
    RECORD_FACT = 2,     /* events recorded without a command (imports); has positions */
    RECORD_REJECTED = 3, /* the domain refused; no events, no position */
    RECORD_ACCEPTED = 4, /* accepted without an event; no position */
    RECORD_ERASED = 5 /* a commit whose tenant was erased: positions, versions and the two digests are left */
};

struct commit_command {
    struct slice type; /* "CloseBill" */
    struct slice id;   /* the command's own id; never empty */
    struct slice data; /* MessagePack map, canonical */
};

struct commit_event {
    struct slice type; /* "BillClosed" */
    uint32_t type_version;
    int64_t at_ms; /* when it happened */
    struct slice data;
};

/* What is written, in memory. All slices are borrowed from the owner's arena. */
struct commit {
    enum record_kind kind;
    struct slice tenant;
    struct slice aggregate; /* "billing/bill" */
    struct slice id;
    uint64_t
        first_version; /* COMMIT, FACT: of its first event; else: version of the stream when it was decided */
    uint64_t first_position; /* set by the engine at append; REJECTED, ACCEPTED: position of the stream's last
                                event, 0 if none */
    int64_t recorded_ms;     /* set by the engine at append; never goes back */
    uint64_t epoch;          /* set by the engine */
    uint64_t deploy;
    struct slice actor;          /* may be empty */
    struct slice batch_id;       /* Idempotency-Key of an array of commands; else empty */
    struct slice correlation_id; /* empty: the id of the first command */
    struct slice causation_id;   /* empty: the id of the first command */
    uint32_t depth; /* messages between it and what came from outside: 0 is from outside itself */
    bool id_given;  /* ids came from the caller, so a retry is possible and the ids are indexed */
    const struct commit_command *commands;
    size_t command_count; /* 0 only for FACT; a FACT has exactly one "command" with empty type and data that
                             carries the row's id, if id_given */
    const struct commit_event *events;
    size_t event_count;
    struct slice reason, message; /* REJECTED: the script's code and words */
};

/* Appends the record to out. names_saved: numbers above it that the record uses, or that lie between, are
 * defined in it. *chain is the previous link and becomes this record's. */
void record_write(const struct commit *commit, struct names *names, uint32_t names_saved, struct hash *chain,
                  struct buf *out);

struct record {
    enum record_kind kind;
    uint32_t tenant, aggregate, actor; /* name numbers */
    struct slice id;
    uint64_t first_position, first_version, epoch, deploy;
    int64_t recorded_ms;
    uint32_t command_count, event_count;
    uint32_t depth;
    bool id_given;
    struct slice bytes, envelope, payload; /* whole record and its two parts */
    struct hash chain;
    const struct names *names;
    const uint8_t *ids, *commands, *events, *outcome; /* where in the envelope these begin */
    const char *event_data;                           /* where in the payload the events' data begins */
    uint8_t flags;                                    /* as stored, without the kind */
};

struct record_event {
    uint32_t ordinal; /* from 0; set by record_next_event */
    uint32_t type;    /* name number */
    uint32_t type_version;
    uint64_t position, version;
    int64_t at_ms;
    struct slice data;
    const uint8_t *next;   /* the cursor's own */
    const char *next_data; /* the cursor's own */
};

struct record_command {
    uint32_t ordinal;
    uint32_t type;
    struct slice data;
    char id[256]; /* text and a NUL */
    size_t id_size;
    const uint8_t *next, *next_event;        /* the cursor's own */
    const char *next_data, *next_event_data; /* the cursor's own */
};

struct record_ids { /* texts, expanded into the arena where they were packed or defaulted */
    struct slice batch_id, correlation_id, causation_id,
        command_id; /* command_id: of the first command; may be empty for a FACT */
};

struct record_define { /* a name defined by this record */
    uint32_t id;
    struct slice text;
    const uint8_t *next; /* the cursor's own */
    uint32_t left;       /* the cursor's own */
};

/* Parses the envelope, for any bytes: what it accepts, the cursors below read without going outside. Names
 * that it defines are interned on the way: each must be known under its number already or get that number
 * now, else CORRUPT (so records that define names are opened in the order in which they were written,
 * whichever table holds them). A record that defines a name not known yet has its CRC checked first, so
 * damage never enters the table; for all others the CRC is left to record_check. Names that it uses must be
 * known. names NULL: numbers are not looked at, and record_read_commit must not be called. Fault: CORRUPT
 * with what is wrong; *record is then of no use. */
int record_open(struct slice bytes, struct names *names, struct record *record, struct fault *fault);
/* Whether the CRC holds: what was opened is what was written. For whoever decides by it and does not read
 * everything through; a tenth of a microsecond. Fault: CORRUPT. */
int record_check_crc(const struct record *record, struct fault *fault);
/* Checks the CRC, that payloads are canonical MessagePack maps, and that the chain follows from previous
 * (NULL: not checked). Fault: CORRUPT. */
int record_check(const struct record *record, const struct hash *previous, struct fault *fault);
/* Zero the struct before the first call. False at the end. */
bool record_next_event(const struct record *record, struct record_event *event);
bool record_next_command(const struct record *record, struct record_command *command);
bool record_next_define(const struct record *record, struct record_define *define);
/* Whether it has a batch id: without reading the ids. */
bool record_has_batch(const struct record *record);
/* Appends an id as it stands in an envelope, so that the few records that may mention it are found by
 * searching their bytes. At most 254 bytes. */
void record_put_id(struct buf *out, struct slice id);
void record_read_ids(const struct record *record, struct arena *arena, struct record_ids *ids);
/* REJECTED: the reason's code and message; else empty. */
void record_read_outcome(const struct record *record, struct slice *reason, struct slice *message);
/* Appends what is left of a record when its tenant is erased: kind ERASED, the defined names, position and
 * version range, recorded, epoch and deploy, the digests of envelope and payload, and the same chain. An
 * erased record stays as it is. It has no ids, commands, events or outcome to read; event_count still tells
 * how many positions it holds. */
void record_erase(const struct record *record, struct buf *out);
/* A copy in memory of everything, out of arena (tests, answers to a retry). */
void record_read_commit(const struct record *record, struct arena *arena, struct commit *commit);

#endif

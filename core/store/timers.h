/* timers.h: timers/: what waits to be sent at a later moment. Derived from the log: each entry says which
 * send of which event is due when, and the position up to which the log is in it commits with the entries. A
 * million of them cost pages on disk and no memory.
 *
 *     timers_open("data/timers", log_id, &timers, &fault);       empty at position 0 if it was of no use
 *     timers_write(timers, changes, count, position, &fault);
 *     count = timers_due(timers, &after, now_ms, due, max, &fault);
 *
 * Written without fsync, with the boot rule of environment.h: what is dirty, damaged or of another log is
 * dropped at open, and filled again from the log. Every value carries a CRC.
 *
 * Threads: writes by one at a time, reads by any. Owns: the environment. */
#ifndef LORE_STORE_TIMERS_H
#define LORE_STORE_TIMERS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

enum { TIMER_NAME_SIZE = 16 };

struct timers;

struct timer_key {
    int64_t due_ms; /* INT64_MAX: parked */
    uint64_t position;
    uint32_t ordinal; /* of the send in its event */
};

struct timer {
    struct timer_key key;
    bool has_name; /* one of a name at a time: the next replaces it */
    uint8_t name[TIMER_NAME_SIZE];
    uint32_t attempts;
    struct slice error; /* of the last; at most 300 bytes are kept. Not filled by timers_due */
};

/* What is not there any more is no fault: it was replaced or cancelled meanwhile. */
enum timer_change_kind {
    TIMER_SET,
    TIMER_MOVE,   /* the entry `from`, if it is there, becomes this one */
    TIMER_REMOVE, /* by key */
    TIMER_CANCEL  /* by name */
};

struct timer_change {
    enum timer_change_kind kind;
    struct timer timer;
    struct timer_key from;
};

/* Faults: DISK, PERMISSION. */
int timers_open(const char *path, const char *log_id, struct timers **timers, struct fault *fault);
/* fsyncs and marks clean. */
void timers_close(struct timers *timers);
/* Closes it and removes what is on disk. */
void timers_drop(struct timers *timers);

/* Up to here the log is in it. */
uint64_t timers_position(struct timers *timers);
/* A number of the user's, kept with the position (0 at first). */
uint64_t timers_mark(struct timers *timers);
/* All changes, in order, position and mark, or nothing. Faults: DISK, CORRUPT. */
int timers_write(struct timers *timers, const struct timer_change *changes, size_t count, uint64_t position,
                 uint64_t mark, struct fault *fault);
/* Up to max entries with due_ms <= now_ms behind *after in order of the key (zeroed with due_ms INT64_MIN:
 * from the first). Returns their number, -1: fault CORRUPT, DISK. */
int timers_due(struct timers *timers, const struct timer_key *after, int64_t now_ms, struct timer *due,
               int max, struct fault *fault);
uint64_t timers_count(struct timers *timers, uint64_t *parked);
/* Each parked entry, in order of position, until it returns false. */
int timers_each_parked(struct timers *timers, bool (*each)(void *user, const struct timer *timer), void *user,
                       struct fault *fault);

/* Reads everything there is at path, also beside a hub: each checksum, each name with its entry. Fault:
 * CORRUPT. */
int timers_check(const char *path, struct fault *fault);

#endif

/* verify_inside.h: the parts of verify, each run in a child process. For verify*.c only. */
#ifndef LORE_STORE_VERIFY_INSIDE_H
#define LORE_STORE_VERIFY_INSIDE_H

#include "store/engine_lmdb.h"
#include "store/verify.h"

enum verify_message_kind { VERIFY_PROGRESS, VERIFY_FINDING, VERIFY_DONE };

/* What a child tells its parent; small enough for a pipe to keep it whole. */
struct verify_message {
    enum verify_message_kind kind;
    uint64_t position; /* PROGRESS: the last good one; FINDING: the first bad one, 0: none */
    uint64_t events_max;
    struct verify_report counts; /* DONE: what the part counted; damage is not used */
    char text[512];              /* FINDING */
};

struct verify_part {
    const char *name; /* "log": for the finding of a crash */
    void (*run)(const struct verify_part *part);
    int timeout_ms;   /* without a word from the child */
    const char *path; /* the data directory */
    int pipe;
    const struct verify_more *more;
};

void verify_say(const struct verify_part *part, struct verify_message *message);
void verify_progress(const struct verify_part *part, uint64_t position, uint64_t events_max);
void verify_find(const struct verify_part *part, uint64_t position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One part in a child of its own, its findings added to the report. -1: there is no child. */
int verify_run_part(struct verify_part *part, struct verify_report *report, struct fault *fault);

/* The log as verify opens it, LMDB and journal, without index. -1: fault. */
int verify_open_log(const struct verify_part *part, struct engine_lmdb *lmdb, struct log_view *view,
                    struct fault *fault);
void verify_close_log(struct engine_lmdb *lmdb, struct log_view *view);

/* Whether anything was written into an LMDB directory: a hub may be killed when it has made the file and
 * before. What is derived is begun anew by the next start then. */
bool verify_has_begun(const char *directory);

void verify_log_pages(const struct verify_part *part);
void verify_log(const struct verify_part *part);
void verify_index_pages(const struct verify_part *part);
void verify_index(const struct verify_part *part);
void verify_views(const struct verify_part *part);
void verify_snapshots(const struct verify_part *part);
void verify_timers(const struct verify_part *part);
void verify_shapes(const struct verify_part *part);

#endif

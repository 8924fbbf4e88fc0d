/* fault.h: an expected error: what went wrong, for whom, in words.
 *
 * A function that can fail returns -1 and fills its last argument, a struct fault, which is left untouched
 * on success. One table maps each code to its name, HTTP status and exit code.
 *
 *     if (!found) return fault_set(fault, FAULT_NOT_FOUND, "no stream %.*s", SLICE_ARGS(stream));
 *
 * Threads: a fault belongs to its caller. Owns: its text, inside the struct. */
#ifndef LORE_BASE_FAULT_H
#define LORE_BASE_FAULT_H

#include <stdbool.h>

enum fault_code {
    FAULT_NONE = 0,
    FAULT_MALFORMED,       /* input that cannot be read: JSON, a name, a number */
    FAULT_CONTRACT,        /* a message that does not fit its contract; text names the field's path */
    FAULT_UNKNOWN_COMMAND, /* no aggregate handles it */
    FAULT_NOT_FOUND,       /* tenant, context, aggregate, stream, view, document */
    FAULT_CONFLICT,        /* the stream is at another version than expected */
    FAULT_TOO_LARGE,       /* above a limit of limit.h */
    FAULT_REJECTED,        /* the domain refused; reason holds the script's code */
    FAULT_ID_REUSED,       /* the same command id with other content */
    FAULT_BUSY,            /* a queue is full: try again (429) */
    FAULT_UNAVAILABLE,     /* stopping, disk full, starting: try again (503) */
    FAULT_REBUILDING,      /* what would answer is being built anew: try again (503) */
    FAULT_GONE,            /* an event of an earlier epoch that a rollback cut (410) */
    FAULT_LAGGING,         /* a view did not reach the awaited position in time (503) */
    FAULT_SCRIPT,          /* a script failed; text begins with file:line */
    FAULT_BUDGET,          /* a script used up its instructions or memory; text begins with file:line */
    FAULT_DISK,            /* the disk is full or failed */
    FAULT_CORRUPT,         /* stored bytes are not what was written */
    FAULT_IN_USE,          /* data directory or port taken by another process */
    FAULT_PERMISSION,      /* the operating system refused */
    FAULT_USAGE,           /* wrong command line */
    FAULT_REFUSED,         /* the gate refuses a deploy: its report says why */
    FAULT_SCRIPTS,         /* the scripts folder does not load; several lines, one per error */
    FAULT_CANCELLED,       /* who asked does not want the answer any more */
    FAULT_METHOD,          /* HTTP method not allowed here */
    FAULT_INTERNAL,        /* a bug that was survived */
    FAULT_CODE_COUNT
};

struct fault {
    enum fault_code code;
    int error;        /* the errno behind it; 0: none */
    char reason[128]; /* FAULT_REJECTED: the script's own code; else empty */
    char text[2048];  /* one factual sentence (several lines for FAULT_SCRIPTS), no newline at the end */
};

/* Fills *fault (which may be NULL: then nothing is kept) and returns -1. */
int fault_set(struct fault *fault, enum fault_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with ": <strerror(error)>" behind it; the code is derived from errno: ENOSPC -> DISK, EACCES ->
 * PERMISSION, ... */
int fault_errno(struct fault *fault, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether it says that there is no room on the disk. */
bool fault_is_full(const struct fault *fault);

const char *fault_name(enum fault_code code); /* "not_found" */
int fault_http_status(enum fault_code code);  /* 404 */
int fault_exit_code(enum fault_code code);    /* 1, 2 or 3 */
/* The code of a name, FAULT_INTERNAL if there is none (the client reads problem+json with it). */
enum fault_code fault_code_of(const char *name);

#endif

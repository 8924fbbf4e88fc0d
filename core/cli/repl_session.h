/* repl_session.h: what the parts of `lore repl` share: the session with the hub, and one evaluation in it
 * with everything that is seen of it.
 *
 * Threads: one. Owns: what the comments say. */
#ifndef LORE_CLI_REPL_SESSION_H
#define LORE_CLI_REPL_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "cli/cli.h"
#include "cli/page.h"
#include "cli/repl_save.h"
#include "cli/repl_talk.h"

enum {
    REPL_ROWS = 20,           /* of a query at a prompt */
    REPL_LINES = 1000,        /* of one result at a prompt */
    REPL_SOURCE_MAX = 1 << 20 /* bytes: what a hub takes */
};

struct repl {
    const struct cli *cli;
    struct repl_talk *talk;
    bool is_interactive; /* somebody types */
    bool is_connected;   /* the last thing heard of the hub was no silence */
    bool tells_time, writes;
    struct buf tenant, at;      /* where the session stands, for the prompt; empty: as it began, now */
    struct buf file_name, file; /* the last file that an expression gave */
    bool leaves;                /* :quit */
    int signal_number;          /* ended by it; 0: not */
    int code;                   /* exit code of what failed last */
};

enum repl_end {
    REPL_OK,
    REPL_INCOMPLETE, /* more lines are needed; nothing was said */
    REPL_FAILED,     /* was said; code of struct repl */
    REPL_ENDED       /* by a signal */
};

struct repl_evaluation {
    int64_t rows;           /* how many of a query; 0: all */
    size_t lines_max;       /* SIZE_MAX: all */
    struct repl_save *save; /* everything goes there, not to the terminal; stays the caller's */
    bool keeps_file;        /* a file is kept in struct repl without being shown */
};

/* As a prompt shows results: the first rows; elsewhere all. */
struct repl_evaluation repl_evaluation_of(const struct repl *repl);

bool repl_is_blank(struct slice text);

/* Opens a session, if none is open; says so when it is another one than before. */
int repl_connect(struct repl *repl);
enum repl_end repl_evaluate(struct repl *repl, struct slice source, const struct repl_evaluation *how);
/* Files and rows, as they are counted: "wrote 12,345 rows to a.csv". */
int repl_tell_saved(struct repl *repl, struct repl_save *save, const char *path);

/* A line on stderr, "error: …" in red at a prompt, "lore: …" elsewhere. Sets the exit code. */
void repl_tell_error(struct repl *repl, int code, struct slice text);
void repl_tell_fault(struct repl *repl, const struct fault *fault);
/* A line for who types; nothing elsewhere. */
void repl_tell_note(const struct repl *repl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a script prints beside results for programs: cleaned, to stderr. */
void repl_tell_print(struct slice text);
/* A reference, to standard output: headings, and lines of a name and what it is, wrapped behind the name. */
void repl_tell_help(struct slice text);

#endif

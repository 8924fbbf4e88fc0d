/* ask.h: questions in Lua to a loaded set of scripts: what a session of the REPL evaluates.
 *
 *     struct ask_options options = {.domain = domain, .host = &host, .cancelled = &cancelled, .seconds =
 * 300}; if (ask_open(&options, &ask, &fault) < 0) ... end = ask_evaluate(ask, slice_of("billing.bill '7'"),
 * 20, &value, &fault);
 *
 * A question sees the sandbox of scripts, every context as a read-only table, the constructors of messages,
 * and the words of lua/ask.lua; what it assigns to globals stays for the next one. It reads through the host
 * and writes nothing. Its calls are on a leash (vm.h): they end when the time is over, when the state's
 * memory is used up, or as soon as *cancelled is set.
 *
 * Threads: the domain's. Owns: its tables in the Lua state; the domain and the host are the caller's and stay
 * until ask_close. */
#ifndef LORE_VM_ASK_H
#define LORE_VM_ASK_H

#include <stdatomic.h>

#include "vm/domain.h"
#include "vm/seek_source.h"

struct ask;

enum { ASK_COMMANDS_MAX = 100 }; /* of one transaction */

struct ask_command { /* checked, canonical MessagePack */
    struct slice type, data;
};

struct ask_blame {              /* one of: */
    uint64_t position;          /* of an event */
    struct slice event;         /* its id */
    struct slice aggregate, id; /* a stream: "billing/bill" */
    struct slice view, key;
};

/* What a question may reach. All of it is synchronous and called inside ask_evaluate, in its thread; it must
 * look at *cancelled when it takes long. -1: the fault, which becomes the question's. */
struct ask_host {
    void *user;
    /* The state of a stream (aggregate: an index of the domain) as MessagePack, appended. moment: a text as
     * of moment.h, empty: the session's. *version 0: it was never written then, and nothing is appended. */
    int (*state)(void *user, int aggregate, struct slice id, struct slice moment, uint64_t *version,
                 uint64_t *position, struct buf *state, struct fault *fault);
    /* As in struct domain_host. */
    int (*view_get)(void *user, struct slice view, struct slice key, struct buf *document,
                    struct fault *fault);
    int (*view_range)(void *user, struct slice view, struct slice index, struct slice min, struct slice max,
                      struct buf *cursor, size_t limit, struct buf *pairs, struct fault *fault);
    int (*view_count)(void *user, struct slice view, struct slice index, struct slice min, struct slice max,
                      uint64_t *count, struct fault *fault);
    int64_t (*now_ms)(void *user);
    /* From here on the session reads this tenant. */
    int (*set_tenant)(void *user, struct slice tenant, struct fault *fault);
    struct slice (*tenant)(void *user);
    /* The first ids of streams, or keys of documents, that begin with the prefix: each appended as text of
     * MessagePack. For completion. */
    int (*ids)(void *user, int aggregate, struct slice prefix, size_t limit, struct buf *ids,
               struct fault *fault);
    int (*keys)(void *user, struct slice view, struct slice prefix, size_t limit, struct buf *keys,
                struct fault *fault);
    const struct seek_source *events; /* of queries (ask_events.h); NULL: there are none */
    /* The names that the log uses (of types, "billing/bill" of aggregates, and others), from 1 on; empty:
     * that was the last. NULL: none are known. */
    struct slice (*log_name)(void *user, uint32_t at);
    /* What commands would do (run/dry.h), as JSON. A target without id is a service's name. */
    int (*dry)(void *user, struct slice context, struct slice name, struct slice id,
               const struct ask_command *commands, size_t count, struct buf *json, struct fault *fault);
    /* Sends them, if that is allowed, and waits for the answer, as JSON: {"version","position","events"}. */
    int (*send)(void *user, struct slice context, struct slice name, struct slice id,
                const struct ask_command *commands, size_t count, struct buf *json, struct fault *fault);
    /* What followed from what (run/trace.h), of the event at a position or, if that is 0, of an id. */
    int (*trace)(void *user, uint64_t position, struct slice id, struct buf *json, struct fault *fault);
    /* Who made it (run/blame.h). */
    int (*blame)(void *user, const struct ask_blame *asked, struct buf *json, struct fault *fault);
    /* A spec of what happened (run/spec_text.h). */
    int (*spec)(void *user, int aggregate, struct slice id, uint64_t from, uint64_t to, struct buf *text,
                struct fault *fault);
    /* From here on the session reads what was there at this moment; empty: what is there now. Appends where
     * it is, in words. */
    int (*set_moment)(void *user, struct slice moment, struct buf *told, struct fault *fault);
    /* Takes one line of the answer: a JSON object without a newline. May wait for its reader. */
    int (*tell)(void *user, struct slice line, struct fault *fault);
};

struct ask_options {
    struct domain *domain;
    const struct ask_host *host;
    const atomic_bool *cancelled;
    int64_t seconds;       /* of one evaluation */
    size_t value_size_max; /* of what is shown of one value, in JSON; 0: 16 MiB */
};

int ask_open(const struct ask_options *options, struct ask **ask, struct fault *fault);
void ask_close(struct ask *ask); /* before domain_close; NULL: nothing */

enum ask_end {
    ASK_FAILED, /* the fault */
    ASK_NONE,   /* a statement, or what it gave was told in lines of its own */
    ASK_VALUE,
    ASK_INCOMPLETE /* the source ends where more must follow */
};

/* Runs the source, an expression or statements; rows: how many of a query's are told, 0: all. What it prints
 * and the like is told as it comes; its value is appended to value as JSON. */
enum ask_end ask_evaluate(struct ask *ask, struct slice source, size_t rows, struct buf *value,
                          struct fault *fault);

/* Between two questions, while nobody waits: collects garbage by small steps and gives memory back. True:
 * there is more to do. */
bool ask_tidy(struct ask *ask);

/* The words that may stand at the end of text, as ,"from":N,"candidates":[…],"more":BOOL (members of an
 * object; the first without its comma). Runs nothing of the session's. */
int ask_complete(struct ask *ask, struct slice text, struct buf *members, struct fault *fault);
/* What is known of a name ("" for an overview), as text. Fault: MALFORMED, with the nearest name. */
int ask_help(struct ask *ask, struct slice name, struct buf *text, struct fault *fault);

#endif

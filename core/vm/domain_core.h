/* domain_core.h: what the files behind domain.h share. Included by domain*.c, drafts*.c, sends.c,
 * rows_import.c and their headers only.
 *
 * One struct domain is one Lua state with the scripts loaded in it. Each kind of call (execute, apply, a
 * projection's handler, a row) is one C function run by vm_call with a light userdata: everything that may
 * raise happens inside it, and what it fills (buffers, arenas, counters) belongs to the domain or to the
 * caller, so nothing is lost when it raises. */
#ifndef LORE_VM_DOMAIN_CORE_H
#define LORE_VM_DOMAIN_CORE_H

#include <lua.h>

#include "vm/domain.h"
#include "vm/envelope.h"
#include "vm/handles.h"
#include "vm/loader.h"
#include "vm/plain.h"
#include "vm/vm.h"

struct execution;
struct rows_import;
struct sends;

struct domain {
    struct vm *vm;
    struct loader *loader;
    const struct sources *sources;
    bool on_demand_later;
    size_t message_size_max, document_size_max;
    bool counts_runs;
    struct envelope_view *m;          /* of the call that runs */
    struct envelope_view *m_applying; /* of the apply inside an execute */
    int m_ref, m_applying_ref, format_ref, globals_ref;
    struct execution *executing;           /* NULL outside execute: emit and reject are refused */
    struct sends *sends;                   /* NULL outside of receptors, services and tasks */
    struct domain_run *run;                /* NULL outside a step of a service or task */
    struct rows_import *import;            /* NULL until an import was opened */
    const struct loader_handler *checking; /* whose state is being checked: the error gets its place */
    struct buf scratch;                    /* where a value is encoded before it is copied to its owner */
    struct plain_seen seen;
    struct handles states;  /* of struct domain_state */
    bool collects_later;    /* domain_collect_later */
    bool collector_stopped; /* projections: by a fold, until the flush */
    size_t collect_at;      /* projections: memory in use at which the collector runs */
    size_t collect_soon;    /* the same at a flush */
};

struct domain_state {
    struct domain *domain;
    int aggregate;
    int handle;                     /* of its table; HANDLE_NONE until it is first used: making it may fail */
    bool heavy;                     /* it may be more than a state is allowed: it is weighed */
    size_t events_left, bytes_left; /* heavy: what events may bring until it is weighed again */
};

/* Finds the handler of a message in a list in order of message name; NULL: none. */
const struct loader_handler *domain_handler_of(const struct loader_handler *handlers, size_t count,
                                               struct slice type);
/* Whether there is one for the command; if not and nearest is given, the closest name (or empty). */
bool domain_has_handler(const struct loader_handler *handlers, size_t count, struct slice command,
                        struct slice *nearest);
/* domain_check_message for one of the commands that name handles, or UNKNOWN_COMMAND. */
int domain_check_handled(struct domain *domain, struct slice name, const struct loader_handler *handlers,
                         size_t count, struct slice type, struct slice data, struct arena *arena,
                         struct slice *canonical, struct fault *fault);
/* Checks a message's data against its contract, whatever handles it: canonical data, in arena. */
int domain_check_message(struct domain *domain, const struct contract_message *message, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault);
/* Pushes a stored event of any version as a plain table of its own, upcast to the current version and
 * checked. m: its view, open. Raises; a failing upcaster, or one whose result does not fit, raises SCRIPT. */
void domain_push_event(struct domain *domain, const struct contract_message *message, uint32_t type_version,
                       struct slice data, int m_ref);
/* Raises SCRIPT "dir/path:line: message" for what a handler did wrong by returning. */
int domain_raise_at(struct domain *domain, struct slice path, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "a table", "the command CloseBill", "nothing": what the value at index is, in words. text: 128 bytes. */
const char *domain_describe_value(lua_State *lua, int index, char *text);
struct domain_returned { /* what a handler returned, and who takes it */
    struct domain *domain;
    struct slice path; /* of the handler */
    int line;
    const char *verb;                                                 /* "execute" */
    struct slice name;                                                /* "CloseBill"; empty: the verb alone */
    void (*take)(void *user, const struct contract_message *message); /* pops the message's data */
    void *user;
};
/* With the value at index: nil, an event, or a list of events. Raises for anything else. */
void domain_take_returned(const struct domain_returned *returned, int index);
/* Errors raised as CONTRACT by a constructor inside a handler are the script's, not the caller's. What was
 * found by checking what a handler left behind gets the handler's place, and so does what names none (handler
 * may be NULL). verb: "apply", "execute", "when". */
void domain_blame_script(struct domain *domain, const struct loader_handler *handler, const char *verb,
                         struct fault *fault);

/* The same for what is not the handler of a message: "run". */
void domain_blame_at(const struct domain *domain, struct slice path, int line, const char *what,
                     struct fault *fault);

/* domain_aggregate.c: the globals emit and reject, into the table on top of the stack. */
void domain_add_words(struct domain *domain);
/* domain_run.c: whether a service's handler runs, which may reject. */
bool domain_runs_service(const struct domain *domain);
/* rows_import.c */
void rows_import_free(struct rows_import *import);

#endif

/* loader.h: scripts -> declarations. Loads one struct sources into one vm, checks everything, and hands out
 * what was declared.
 *
 *     lua_newtable(vm->lua); ... lua_setfield(vm->lua, -2, "emit"); int globals = luaL_ref(vm->lua,
 * LUA_REGISTRYINDEX); struct loader_options options = {.vm = vm, .sources = sources, .globals = globals}; if
 * (loader_load(&options, &loader, &errors, &fault) < 0) ... const struct loader_aggregate *bill =
 * loader_aggregate(loader, 0); lua_rawgeti(vm->lua, LUA_REGISTRYINDEX, bill->apply[i].function);
 *
 * How a load goes (the order of files does not matter, and one error hides no other):
 *   1. every file is lexed and compiled; `contracts [[ … ]]` is found in the tokens, not by running, so all
 * messages of all contexts are known before the first line of a script runs
 *   2. inspect.c looks at every name in every function: globals that do not exist, handlers that assign
 * file-level locals
 *   3. each file of each context runs once (require runs one earlier), under the budget, in exact mode;
 * declarations and handlers register themselves
 *   4. handlers are held against the contracts, options against what they may be, events against their
 * upcasters
 *   5. what handlers reach is looked at: nothing may outlive a call. Functions that live on and assign locals
 * around them are errors; tables made while loading are frozen (readonly.h)
 *   6. code hashes are taken
 * Whatever is wrong is one line "dir/path:line: message"; the lines are sorted by path and line.
 *
 * A context's globals: the sandbox's (vm->script_env), options.globals, the constructors of its own messages,
 * and at load `aggregate projection receptor service task contracts upcast require`. The environment cannot
 * be changed by scripts.
 *
 * Threads: those of the vm. Owns: everything it hands out, valid until loader_free; the registry references
 * live as long as the Lua state. Call loader_free after vm_free (constructors point into it). */
#ifndef LORE_VM_LOADER_H
#define LORE_VM_LOADER_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "vm/contract.h"
#include "vm/domain.h"
#include "vm/sources.h"
#include "vm/vm.h"

/* Bumped when the host itself folds differently (codec of states, order of pairs, meaning of a library
 * function): it is part of every code hash, so that all views rebuild and old snapshots are not used. */
enum { LOADER_FOLD_FORMAT = 1 };

struct loader;

struct loader_options {
    struct vm *vm;
    const struct sources *sources; /* must outlive the loader */
    int globals; /* registry reference of a table: what every script sees beside the sandbox (emit, reject,
                    …); LUA_NOREF: nothing */
    size_t document_size_max; /* of `initial`; 0: limit.h */
    bool on_demand_later;     /* an error in a file that is loaded on demand only is a warning now, and the
                                 fault of loader_load_on_demand */
};

struct loader_handler { /* function bill.apply.BillCreated(state, e, m) */
    const struct contract_message *message;
    int function;   /* registry reference */
    int parameters; /* declared; 255 for a function with ... : pass what there is. Build m only when it can be
                       seen. */
    struct slice path; /* "billing/bill.lua" */
    int line;          /* where it is defined */
};

struct loader_aggregate {
    struct domain_aggregate declared; /* name "billing/bill", context, code, rules, inputs */
    struct slice short_name;          /* "bill" */
    struct slice initial;             /* canonical MessagePack; an empty map if there is none */
    const struct loader_handler *apply;
    size_t apply_count; /* in order of message name */
    const struct loader_handler *execute;
    size_t execute_count;
    int conflicts;     /* registry reference or LUA_NOREF */
    struct slice path; /* its file */
    int line;
};

struct loader_projection {
    struct domain_projection declared; /* name, context, code, inputs, keyed, default_key, indexes, events */
    struct slice short_name;
    struct slice initial; /* canonical MessagePack; an empty map if there is none */
    int key;              /* registry reference of the key function; LUA_NOREF if default_key or free style */
    int key_parameters;
    const struct loader_handler *when; /* when[i] handles declared.events[i]: in order of "context.Type" */
    size_t when_count;
    struct slice path;
    int line;
};

struct loader_receptor {
    struct domain_receptor declared;
    struct slice short_name;
    const struct loader_handler *when; /* when[i] handles declared.events[i] */
    size_t when_count;
    struct slice path;
    int line;
};

struct loader_service {
    struct domain_service declared;
    struct slice short_name;
    const struct loader_handler *when; /* in order of message name */
    size_t when_count;
    struct slice path;
    int line;
};

struct loader_task {
    struct domain_task declared;
    struct slice short_name;
    int run; /* registry reference */
    struct slice path;
    int line; /* of the declaration */
};

/* Runs in vm (no call may be open). On failure errors (may be NULL) gets one line per error and *fault is
 * FAULT_SCRIPTS: the errors as they fit ("… and 3 more" behind them); the vm is then good for vm_free only,
 * and *loader is untouched. */
int loader_load(const struct loader_options *options, struct loader **loader, struct buf *errors,
                struct fault *fault);
void loader_free(struct loader *loader);

const struct contracts *loader_contracts(const struct loader *loader);
size_t loader_aggregate_count(const struct loader *loader);
const struct loader_aggregate *loader_aggregate(const struct loader *loader, size_t index); /* by name */
size_t loader_projection_count(const struct loader *loader);
const struct loader_projection *loader_projection(const struct loader *loader, size_t index); /* by name */
size_t loader_receptor_count(const struct loader *loader);
const struct loader_receptor *loader_receptor(const struct loader *loader, size_t index); /* by name */
size_t loader_service_count(const struct loader *loader);
const struct loader_service *loader_service(const struct loader *loader, size_t index); /* by name */
size_t loader_task_count(const struct loader *loader);
const struct loader_task *loader_task(const struct loader *loader, size_t index); /* by name */
bool loader_has_context(const struct loader *loader, struct slice context);
size_t loader_context_count(const struct loader *loader);
struct slice loader_context(const struct loader *loader, size_t index); /* by name */
/* Warnings, one per line "dir/path:line: message"; mostly empty. */
struct slice loader_warnings(const struct loader *loader);
/* What hub.lua returned as MessagePack; an empty map without the file. */
struct slice loader_hub_options(const struct loader *loader);
/* Contracts and all that is declared as one JSON object (loader_describe.c). */
void loader_describe(const struct loader *loader, struct buf *json);

/* Loads a file of a context's subfolder (path relative to the scripts folder or to the working directory:
 * "fines/import/road_fines.lua", "scripts/fines/import/road_fines.lua") and runs it. *function becomes a
 * registry reference of the function it returned, *context the context it belongs to (borrowed). globals:
 * registry reference of a table that this file sees beside the environment of its context (send, record);
 * LUA_NOREF: nothing. The same static checks run. Faults: NOT_FOUND (with the nearest path), SCRIPTS (as
 * loader_load), SCRIPT (no function came back). */
int loader_load_on_demand(struct loader *loader, struct slice path, int globals, int *function,
                          struct slice *context, struct fault *fault);
/* The same for a text that is not in sources (spec files, the REPL): compiled with the environment of context
 * ("" : no context: constructors are absent) plus globals, checked, and pushed as a function, not run. chunk
 * is the name in error texts. */
int loader_compile(struct loader *loader, struct slice context, struct slice text, const char *chunk,
                   int globals, struct fault *fault);

#endif

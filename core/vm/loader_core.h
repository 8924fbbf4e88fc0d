/* loader_core.h: what the files behind loader.h share: loader.c drives, loader_host.c is what lua/loader.lua
 * sees of C, loader_build.c makes the structs and hashes, loader_describe.c tells of
 * them. */
#ifndef LORE_VM_LOADER_CORE_H
#define LORE_VM_LOADER_CORE_H

#include <lua.h>

#include "base/arena.h"
#include "vm/inspect.h"
#include "vm/loader.h"
#include "vm/tokens.h"

struct loader_problem {
    struct slice path; /* inside the folder; of loader_compile: the chunk's name */
    struct slice text;
    int line;
    bool foreign;  /* path is complete, no file of the folder */
    bool from_run; /* the error that ended a file's run: left out if a check found something on the same line
                    */
};

struct loader_problems {
    struct loader_problem *items;
    size_t count, size_max;
};

struct loader_file { /* beside sources_at(sources, i) */
    struct tokens tokens;
    int chunk; /* registry reference of the compiled file until it is used; LUA_NOREF */
    bool compiled;
};

struct loader {
    struct vm *vm;
    const struct sources *sources;
    int globals;
    size_t document_size_max;
    struct contracts *contracts;
    struct arena arena;
    struct loader_file *files;
    int module;           /* registry reference of what lua/loader.lua returned */
    bool foreign;         /* problems reported now are of a text that is no source */
    bool on_demand_later; /* errors of on-demand files wait until somebody asks for the file */
    struct loader_problems errors, warnings, later;
    struct buf warnings_text, scratch;
    struct slice *contexts;
    size_t context_count;
    struct loader_aggregate *aggregates;
    size_t aggregate_count;
    struct loader_projection *projections;
    size_t projection_count;
    struct loader_receptor *receptors;
    size_t receptor_count;
    struct loader_service *services;
    size_t service_count;
    struct loader_task *tasks;
    size_t task_count;
    struct slice hub_options;
};

/* Pushes a function of lua/loader.lua. May raise. */
void loader_push(struct loader *loader, const char *function);

/* loader_host.c */
/* Runs the prelude with the table of C functions and keeps its module. A lua_CFunction of the loader. */
int loader_open_prelude(lua_State *lua);
void loader_note(struct loader *loader, struct loader_problems *problems, struct slice path, int line,
                 struct slice text, bool from_run);
/* The fault's text is "dir/path:line: message"; without a place it is the file's at line 1. */
void loader_note_fault(struct loader *loader, struct slice path, const struct fault *fault);
/* Sorted, one per line, without doubles. Returns how many. */
size_t loader_put_problems(const struct loader *loader, struct loader_problems *problems, struct buf *out);

/* loader_build.c: a lua_CFunction of the loader and the table that validate() returned, beneath it on the
 * stack: (loader, result). */
int loader_build(lua_State *lua);

#endif

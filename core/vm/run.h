/* run.h: what the files behind the runs of services and tasks share: domain_run.c (their life),
 * run_http.c, run_views.c, run_words.c (what scripts reach in them). Included by those only.
 *
 * DESIGN: a run is a coroutine. What it waits for it says in run->wants and yields; nothing is passed through
 * the yield itself. The thread is never closed, only let go: closing would run __close of the script without
 * anybody who waits for it. */
#ifndef LORE_VM_RUN_H
#define LORE_VM_RUN_H

#include <lauxlib.h>

#include "vm/sends.h"

struct domain_run {
    struct domain *domain;
    const struct domain_host *host;
    const struct loader_handler *handler; /* of a service; NULL: a task */
    int function;                         /* registry reference of what runs */
    struct slice path;                    /* of its declaration, for what it does wrong by returning */
    int line;
    struct slice context;
    lua_State *thread;
    int thread_ref;
    struct envelope_view *m; /* of a service */
    int m_ref;
    struct slice data;  /* the command, canonical */
    int64_t now_ms;     /* of a task */
    struct arena arena; /* data, output */
    struct domain_output output;
    struct sends sends;
    struct hash identity; /* of the command or the task's moment: what idempotency keys are made of */
    bool begun;
    enum domain_run_state wants; /* why it yielded */
    struct arena requests[2];    /* the last request, and the one before, which its sender may still hold */
    unsigned request_count;
    struct domain_request request;
    const struct domain_response *answer; /* while a step with one runs */
    bool retries;                         /* retry() was called: whatever comes, that is the outcome */
    int64_t retry_ms;
    uint64_t instructions; /* of all its steps */
    uint32_t owner;        /* of what it allocates */
    bool failed;
    struct fault fault;
};

/* The run that a word is used in; raises outside of one. */
struct domain_run *run_open(lua_State *lua, const char *word);
/* Sets a library of functions, which get the domain as upvalue, in the table on top of the stack. */
void run_add_library(struct domain *domain, const char *name, const luaL_Reg *functions);
/* Each sets its words in the table on top of the stack. */
void run_add_http(struct domain *domain);
void run_add_views(struct domain *domain);
void run_add_words(struct domain *domain);

#endif

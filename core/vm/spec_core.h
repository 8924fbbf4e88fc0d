/* spec_core.h: what the files behind spec.h share: spec.c (the run, aggregates, projections, what is
 * declared) and spec_runs.c (receptors, services, tasks). */
#ifndef LORE_VM_SPEC_CORE_H
#define LORE_VM_SPEC_CORE_H

#include "vm/domain_core.h"
#include "vm/spec.h"

struct spec {
    const struct spec_options *options;
    struct sources *sources;
    struct domain *used;
    struct arena arena; /* of the scenario that runs */
    const char *const *paths;
    size_t path_count;
    const char *scripts;
    size_t passed, failed, files;
    struct fault fault; /* why it could not run at all */
};

struct spec_message { /* a command, or an event with where it comes from */
    struct slice context, aggregate, id, type, data;
    uint32_t version;
    int64_t at_ms;
};

struct spec_item { /* an event decided or published, a document, or a send */
    struct slice name, data;
    uint32_t version;
    const struct domain_send *send; /* NULL: none */
    int64_t sent_ms;
};

struct spec_result {
    struct spec_item *items;
    size_t count, size_max;
    bool failed;
    struct fault fault;
    int64_t retry_ms; /* > 0: retry() ended it */
};

/* The spec of a core function. */
struct spec *spec_of(lua_State *lua);
/* Fields of the table at index; a text lies in the spec's arena. */
struct slice spec_field_text(struct spec *spec, lua_State *lua, int index, const char *name);
int64_t spec_field_int(lua_State *lua, int index, const char *name);
struct spec_message *spec_read_messages(struct spec *spec, lua_State *lua, int index, size_t *count);
struct envelope spec_envelope_of(const struct spec_message *message);
/* Copies name and data. */
struct spec_item *spec_add_item(struct spec *spec, struct spec_result *result, struct slice name,
                                uint32_t version, struct slice data);
int spec_push_result(lua_State *lua, const struct spec_result *result);
/* The domain to run in: a fresh one, or the used one. NULL: it does not load, which it did before. */
struct domain *spec_take_domain(struct spec *spec, bool fresh, struct spec_result *result);

/* spec_runs.c: run_receptor(fresh, name, events), run_service(fresh, name, command, world), run_task(fresh,
 * name, now_ms, world) */
int spec_run_receptor(lua_State *lua);
int spec_run_service(lua_State *lua);
int spec_run_task(lua_State *lua);

#endif

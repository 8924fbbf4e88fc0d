/* sends.h: the words send, cancel and publish of receptors, services and tasks, and what they gather. Inside
 * vm/ only.
 *
 *     struct sends sends = {.context = …, .arena = arena, .output = &output, .now_ms = …};
 *     domain->sends = &sends;       while the handler runs
 *     …
 *     domain->sends = NULL;         outside, the words are refused
 *
 * Nothing leaves before the handler has ended well: who runs it throws the output away if it fails.
 *
 * Threads: as the Lua state. Owns: nothing; what is gathered lies in the arena. */
#ifndef LORE_VM_SENDS_H
#define LORE_VM_SENDS_H

#include "vm/domain_core.h"

struct sends {
    struct slice context; /* whose aggregates and services can be reached */
    struct arena *arena;
    struct domain_output *output;
    size_t send_max, event_max; /* that there is room for */
    size_t before;              /* bytes that the arena had handed out when it began */
    int64_t now_ms;             /* what { after = … } counts from; when published events happened */
    bool may_publish;
};

/* From domain_open: sets send, cancel and publish in the table on top of the stack. */
void sends_add_words(struct domain *domain);

/* Adds the event whose data is on top of the stack, which is popped, to what the service or task that runs
 * publishes. Raises if it is none of its context. */
void sends_publish(struct domain *domain, const struct contract_message *message);

/* What send.NAME means in a context: an aggregate or a service. */
struct sends_target {
    struct slice context, name; /* "billing", "bill" */
    bool is_service;
    const struct loader_handler *handlers; /* of commands */
    size_t handler_count;
};

/* Takes the name behind the dot at index 2 of the stack; raises with the nearest if there is none. The
 * pointer is to the loader's struct of it. */
const void *sends_find_target(lua_State *lua, const struct loader *loader, struct slice context,
                              bool with_services, const char *word, bool *is_service);
struct sends_target sends_target_of(const void *declared, bool is_service);
/* The id at index, text or integer, as text; raises if it is none. what: "the id of send.bill". */
struct slice sends_read_id(lua_State *lua, int index, const char *what);
/* The command made by its constructor at index, which the target handles: its data is pushed. Raises. word:
 * "send.bill". */
const struct contract_message *sends_read_command(lua_State *lua, int index,
                                                  const struct sends_target *target, const char *word);
/* Encodes the data on top of the stack, which is popped, and keeps it; raises when it is too much. */
struct slice sends_keep_data(struct domain *domain, lua_State *lua, const struct contract_message *message,
                             struct arena *arena);

#endif

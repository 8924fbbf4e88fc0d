/* contract.h: messages with a declared form: the compiled contracts of one Lua state, the check, and the
 * constructors.
 *
 *     const struct contract_message *type = contracts_find(contracts, slice_of("billing"),
 * slice_of("CreateBill")); value_push(lua, data);                   what a client sent contract_check(lua,
 * -1, type, 0);        raises CONTRACT "CreateBill.start_date: expected time, got integer" value_encode(lua,
 * -1, out, "CreateBill", size_max);
 *
 *     const struct contract_message *type = contract_message_of(lua, index);   what a script made with
 * BillCreated { … } if (type != NULL) { the checked data is pushed: value_encode(lua, -1, …); }
 *
 * The check normalises: times become their 24 characters, texts and integers of decimal fields become
 * decimals, integral floats of integer fields become integers, empty lists get the list mark. What has passed
 * once passes again unchanged.
 *
 * Threads: those of the Lua state. Owns: contracts own all descriptions; they must outlive the Lua state's
 * use of constructors (free them after vm_free or right before it). */
#ifndef LORE_VM_CONTRACT_H
#define LORE_VM_CONTRACT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/slice.h"

enum contract_kind {
    CONTRACT_STRING,
    CONTRACT_INTEGER,
    CONTRACT_NUMBER,
    CONTRACT_BOOLEAN,
    CONTRACT_TIME,
    CONTRACT_DECIMAL,
    CONTRACT_ANY,
    CONTRACT_LIST,
    CONTRACT_MAP,
    CONTRACT_RECORD
};

struct contract_field;

struct contract_type {
    enum contract_kind kind;
    const struct contract_type *item;    /* LIST, MAP */
    const struct contract_field *fields; /* RECORD, in order of declaration */
    size_t field_count;
    int keys; /* RECORD: registry reference of the list of its field names, in the same order */
};

struct contract_field {
    struct slice name;
    const char *key; /* where this Lua state keeps the name, anchored: equal addresses are equal names (for
                        short strings) */
    bool optional;
    bool pii;
    struct contract_type type;
};

struct contract_message {
    struct slice context, name; /* "billing", "BillCreated"; both NUL-terminated */
    bool is_event;
    uint32_t version;          /* current one, from 1; 1 for commands */
    struct contract_type type; /* a RECORD */
    struct hash hash;          /* over the contract with all lets expanded, its kind and version */
    const int *upcasters; /* registry references of functions (e, m): upcasters[v - 1] makes version v + 1 of
                             version v; NULL at version 1 */
    const int *upcaster_parameters;     /* how many parameters each declares */
    const struct hash *upcaster_hashes; /* version - 1 of them */
    int constructor;                    /* registry reference of the function `BillCreated` */
    struct slice path;                  /* where it was declared: "billing/contracts.lua" */
    int line;
};

struct contracts;

struct contracts *contracts_new(void);
void contracts_free(struct contracts *contracts);
/* Adds the message described by the table at index (as lua/contracts.lua makes it) and its constructor. May
 * raise (memory). */
struct contract_message *contracts_add(struct contracts *contracts, lua_State *lua, int index);
/* Gives an event its upcasters: versions - 1 registry references and hashes, copied. */
void contracts_set_upcasters(struct contracts *contracts, const struct contract_message *message,
                             const int *functions, const int *parameters, const struct hash *hashes);
size_t contracts_count(const struct contracts *contracts);
const struct contract_message *contracts_at(const struct contracts *contracts,
                                            size_t index); /* by context, then name */
/* The command or event, NULL if there is none. */
const struct contract_message *contracts_find(const struct contracts *contracts, struct slice context,
                                              struct slice name);

/* Checks and normalises the table at index in place (for tables that nobody else has, fresh from value_push).
 * Raises FAULT_CONTRACT; level as in vm_raise: 0 plain, 1 with "file:line: " of the script function that
 * called. Leaves the stack as it was. What is at index must be a plain table; views and shared tables go
 * through contract_copy. */
void contract_check(lua_State *lua, int index, const struct contract_message *message, int level);
/* Pushes a checked, normalised deep copy of the table (or read-only view) at index. */
void contract_copy(lua_State *lua, int index, const struct contract_message *message, int level);
/* Pushes a message value, as its constructor makes it, from the table at index, which it takes as it is:
 * already checked. */
void contract_push_message(lua_State *lua, int index, const struct contract_message *message);
/* If the value at index is a message made by a constructor: its contract, and its data (a table, checked; not
 * to be changed) is pushed. Else NULL and nothing is pushed. Messages are userdata; scripts can read their
 * fields (e.customer), not change them. */
const struct contract_message *contract_message_of(lua_State *lua, int index);

/* "time", "string[]", "{string: decimal}?": as the grammar writes it. */
void contract_put_type(struct buf *out, const struct contract_type *type);

#endif

/* inspect.h: what a Lua text does with names, found without running it: a parser that knows scopes and
 * nothing else.
 *
 *     struct inspection inspection = {0};
 *     inspect(&tokens, &inspection);             only texts that compile
 *     for (size_t i = 0; i < inspection.count; i++) ... inspection.items[i]
 *
 * Threads: any. Owns: the list; names are borrowed from the tokens. */
#ifndef LORE_VM_INSPECT_H
#define LORE_VM_INSPECT_H

#include "vm/tokens.h"

enum finding_kind {
    FINDING_READ_GLOBAL,  /* name is read and no local */
    FINDING_WRITE_GLOBAL, /* name is assigned and no local */
    /* Harmless unless the function lives on. Reported for each function between the local and the change:
       function_line. */
    FINDING_ASSIGNS_FILE_LOCAL, /* a function assigns a local of the main chunk */
    FINDING_CHANGES_FILE_TABLE, /* a function changes a table in a local of the main chunk: cache[k] = v,
                                   table.insert(cache, v) */
    FINDING_ASSIGNS_UPVALUE,    /* a function assigns a local of a function around it */
    FINDING_ENV,                /* _ENV is named */
    FINDING_REQUIRE,            /* require "name" with a literal */
    FINDING_COMPARES_NUMBER,  /* parameter.name == 0 inside a function defined as a.b.c (…): parameter tells
                                 which, from 1 */
    FINDING_COMPARES_DECIMAL, /* name == 0 where name is a local that begins as decimal(…) */
    FINDING_READ_FIELD        /* of.name where of is no local: send.bill */
};

struct finding {
    enum finding_kind kind;
    struct slice name;
    struct slice near; /* READ_GLOBAL: the nearest local in scope; empty: none is near */
    struct slice of;   /* READ_FIELD */
    int line;
    int parameter;     /* COMPARES_NUMBER */
    int function_line; /* where the function begins, as Lua counts */
};

struct inspection {
    struct finding *items;
    size_t count, size_max;
};

/* tokens must be those of a text that the compiler took. */
void inspect(const struct tokens *tokens, struct inspection *inspection);
void inspection_release(struct inspection *inspection);

#endif

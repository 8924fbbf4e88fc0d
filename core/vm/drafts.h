/* drafts.h: the documents of one projection that are live in one Lua state. What the files drafts*.c share;
 * the interface is in domain.h.
 *
 * A document is a Lua table in the table of documents, at a slot; the C side knows by key which slot that is,
 * whether it changed since the last flush, and whether there is a document at all (slot 0: none).
 *
 * Two ways to fold:
 *   fast    one protected call for the event; what it touched is looked at: what is no plain data ends, like
 * all that goes wrong, in DRAFTS_REPEAT, and if a table is in two places the touched documents are taken
 * apart. exact   before a handler touches a document its bytes are kept; after it the document is encoded and
 * decoded again, so it is plain data and shares no table with anything. If anything goes wrong the bytes are
 * put back.
 *
 * Threads: those of the domain. Owns: see domain.h. */
#ifndef LORE_VM_DRAFTS_H
#define LORE_VM_DRAFTS_H

#include "base/map.h"
#include "vm/domain_core.h"
#include "vm/lazy.h"

struct drafts_document {
    struct slice key; /* the bytes lie behind the struct */
    int slot;         /* 0: there is no such document */
    bool dirty;       /* in drafts->dirty */
    bool recent;      /* used since the eviction last looked */
    bool touched;     /* in drafts->touched */
};

struct drafts_touched { /* a document before the call that runs */
    struct drafts_document *document;
    struct slice image; /* exact mode only */
    bool existed, was_dirty;
};

struct drafts_handler {
    const struct loader_handler *declared;
    struct lazy_plan *plan; /* made by the first call */
    int type_ref;           /* m.type as a Lua text; LUA_NOREF before the first call that sees m */
};

struct drafts_parked {
    struct slice key; /* the bytes lie behind the struct */
    uint64_t skipped;
};

struct drafts_failed { /* a second key that failed at one event, not told yet */
    struct drafts_failed *next;
    struct slice key;
    struct fault fault;
};

struct drafts_docs {       /* the userdata docs */
    struct drafts *drafts; /* NULL outside a call */
};

struct drafts {
    struct domain *domain;
    const struct loader_projection *projection;
    struct drafts_options options;
    struct drafts_handler *handlers; /* as projection->when */

    struct map documents;         /* key -> struct drafts_document */
    struct drafts_document *last; /* asked for last by docs, NULL: none */
    struct drafts_document **all;
    size_t all_count, all_max, hand; /* hand: where the eviction goes on */
    struct drafts_document **dirty;
    size_t dirty_count, dirty_max;
    int table_ref; /* the Lua table of documents, LUA_NOREF until one is there */
    int slot_last;
    uint32_t
        field_hint; /* the most fields a document had at a flush: new ones get room for as many at once */
    int *free_slots;
    size_t free_count, free_max;

    struct drafts_touched *touched;
    size_t touched_count, touched_max;
    struct arena images; /* of touched */

    struct map parked; /* key -> struct drafts_parked */
    struct drafts_failed *failed;
    uint64_t done_position; /* exact mode: the last event folded */

    struct drafts_docs *docs;
    int docs_ref;
    int initial_ref; /* what `initial` is made of: drafts.c; LUA_NOREF until it is first used, LUA_REFNIL: has
                        tables */
    struct buf loaded; /* what options.load gave */
    struct buf encoded;
    struct buf key_bytes; /* what the key function gave */
    struct slice *keys;
    size_t key_count, key_max;
    bool stale;                  /* an event was kept beyond its call: lazy.h */
    bool load_failed, upcasting; /* what the call that runs was doing when it failed */
    struct fault load_fault;
};

/* One event on its way. */
struct drafts_step {
    struct drafts *drafts;
    struct drafts_handler *handler;
    const struct envelope *envelope;
    struct slice data;
    struct slice key; /* of a handler's call in exact mode */
    struct drafts_document *document;
};

/* drafts.c. These raise: memory, CORRUPT, a load that failed. */

/* Finds or loads. */
struct drafts_document *drafts_take(struct drafts *drafts, struct slice key);
/* Pushes the document, nil if there is none. */
void drafts_push(struct drafts *drafts, const struct drafts_document *document);
/* Pops a table: it is the document now. */
void drafts_store(struct drafts *drafts, struct drafts_document *document);
void drafts_remove(struct drafts *drafts, struct drafts_document *document);
/* Its table is being changed in place. */
void drafts_change(struct drafts *drafts, struct drafts_document *document);
/* Pushes a copy of `initial`. */
void drafts_push_initial(struct drafts *drafts);
/* Before a script may change it. */
void drafts_touch(struct drafts *drafts, struct drafts_document *document);
/* After the call: every touched document is encoded (raises if it is no plain data) and decoded into tables
 * of its own. *at tells which. */
void drafts_settle(struct drafts *drafts, const struct drafts_touched **at);
/* After a failed call in exact mode: every touched document as it was. */
void drafts_restore(struct drafts *drafts);

/* These do not raise. */

/* With many live documents one step of Lua's collector takes as long as ten thousand handlers, and its last
 * one longer than the watchdog waits. So from the first fold to the flush it is stopped and runs between
 * calls, in one piece, when the memory in use has about doubled: less work in all, and a projector has nobody
 * waiting. (Within a call the allocation limit bounds what is not collected.) */
void drafts_stop_collector(struct drafts *drafts);
void drafts_restart_collector(struct drafts *drafts);
void drafts_collect(struct domain *domain);
void drafts_untouch(struct drafts *drafts);
void drafts_forget(struct drafts *drafts, struct drafts_document *document); /* one that is not dirty */
struct drafts_parked *drafts_find_parked(const struct drafts *drafts, struct slice key);

/* drafts_docs.c: pushes the userdata docs. */
void drafts_push_docs(struct drafts *drafts);
/* A key given by a script at index: text or an integer, which becomes text; pushed as text if it had to be
 * converted. Raises. */
struct slice drafts_key_at(lua_State *lua, int index, const char *what);

#endif

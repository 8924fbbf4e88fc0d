/* domain.h: one loaded set of scripts in one Lua state: what run/ knows of Lua.
 *
 *     struct domain *domain;
 *     if (domain_open(&options, &domain, &errors, &fault) < 0) ...
 *     int bill = domain_find_aggregate(domain, slice_of("billing/bill"));
 *     struct domain_state *state = domain_state_new(domain, bill);
 *     domain_apply(domain, state, &event, &fault);            history
 *     domain_execute(domain, state, &command, &decision, &fault);
 *
 * Budgets: a call runs at full speed under a watchdog; one that takes too long is stopped with FAULT_BUDGET
 * after it was repeated (or is being run) under an exact count of instructions and allocated bytes, so that
 * the verdict is the same on every machine. A call stopped by the watchdog in fast mode returns -1 with fault
 * BUDGET and domain_must_repeat() true: the caller restores what the call may have changed (drops the state
 * or the drafts, folds again) and repeats it after domain_set_exact(domain, true).
 *
 * Errors of scripts are FAULT_SCRIPT with text "billing/bill.lua:12: message"; reject() is FAULT_REJECTED
 * with reason and text.
 *
 * Threads: a domain belongs to one thread at a time. Owns: the Lua state, its states and drafts. */
#ifndef LORE_VM_DOMAIN_H
#define LORE_VM_DOMAIN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/hash.h"
#include "codec/record.h"
#include "vm/sources.h"

struct domain;

struct domain_options {
    const struct sources *sources;              /* must outlive the domain */
    size_t memory_max;                          /* 0: LIMIT_STATE_MEMORY_MAX */
    uint64_t instructions_max;                  /* of one call; 0: LIMIT_INSTRUCTIONS_MAX */
    size_t call_memory_max;                     /* of one call; 0: LIMIT_CALL_MEMORY_MAX */
    size_t message_size_max, document_size_max; /* 0: limit.h */
    bool counts_runs;     /* what each run of a service or task keeps is counted, and bounded */
    bool on_demand_later; /* a broken import script is a warning now and a fault when it is asked for: a hub
                             that never imports starts all the same */
};

/* Loads all declarations. On failure errors (may be NULL) gets every error, one per line as "file:line:
 * message", each with the nearest name where one is near; fault is FAULT_SCRIPTS with the first of them and
 * their number. */
int domain_open(const struct domain_options *options, struct domain **domain, struct buf *errors,
                struct fault *fault);
void domain_close(struct domain *domain);
/* Every thread that runs calls of a domain brackets them: starts and ends the thread's watchdog. */
void domain_thread_start(void);
void domain_thread_stop(void);
void domain_set_exact(struct domain *domain, bool exact);
bool domain_must_repeat(const struct domain *domain);
/* As vm_collect_later, which is not said again. */
void domain_collect_later(struct domain *domain, bool later);
/* Bytes in use by the Lua state. */
size_t domain_memory(const struct domain *domain);
/* Warnings found at load ("d == 0 compares a decimal with a number"), one per line; empty mostly. */
struct slice domain_warnings(const struct domain *domain);

/* --- what is declared; valid while the domain is open --- */

struct domain_input {   /* one thing a code hash is made of */
    struct slice label; /* "billing/pricing.lua", "contract billing.BillClosed", "options" */
    struct hash hash;
};

struct domain_aggregate {
    struct slice name;    /* "billing/bill" */
    struct slice context; /* "billing" */
    struct hash code;     /* of its file, required modules, and the contracts and upcasters of the events it
                             applies: keys its snapshots */
    struct hash rules; /* of all it decides by: that, and the contracts of its commands and of all events of
                          its context */
    const struct domain_input *inputs; /* what `rules` is made of, by label */
    size_t input_count;
};

struct domain_projection {
    struct slice name; /* "billing/outstanding_invoices" */
    struct slice context;
    struct hash code;
    const struct domain_input *inputs;
    size_t input_count;
    bool keyed;       /* else free style */
    bool default_key; /* keyed by the aggregate's id: the key needs no script */
    const char *const *indexes;
    size_t index_count;
    const struct slice *events; /* "billing.BillClosed": the types it has handlers for */
    size_t event_count;
};

size_t domain_aggregate_count(const struct domain *domain);
const struct domain_aggregate *domain_aggregate(const struct domain *domain, int index);
int domain_find_aggregate(const struct domain *domain, struct slice name); /* -1 if there is none */
size_t domain_context_count(const struct domain *domain);
struct slice domain_context(const struct domain *domain, size_t index); /* by name */
bool domain_has_context(const struct domain *domain, struct slice context);
/* Whether the aggregate has a handler for the command. If not and nearest is given, the closest name it has
 * (or empty). */
bool domain_handles(const struct domain *domain, int aggregate, struct slice command, struct slice *nearest);
size_t domain_projection_count(const struct domain *domain);
const struct domain_projection *domain_projection(const struct domain *domain, int index);
int domain_find_projection(const struct domain *domain, struct slice name);
/* Current version of an event type's contract, 0 if there is none. */
uint32_t domain_event_version(const struct domain *domain, struct slice context, struct slice type);
/* Contracts, aggregates, projections as one JSON object, for --json, docs and specs. */
void domain_describe(const struct domain *domain, struct buf *json);
struct domain_place {  /* in the scripts */
    struct slice path; /* "billing/bill.lua" */
    int line;
};
/* Where what name ("billing/bill": an aggregate, a service, a task or a receptor) does with a message of this
 * type is defined; false if it is not. */
bool domain_handler_place(const struct domain *domain, struct slice name, struct slice type,
                          struct domain_place *place);
/* The options of hub.lua as MessagePack (an empty map without the file). */
struct slice domain_hub_options(const struct domain *domain);

/* --- envelope: what handlers see as m --- */

struct envelope {
    struct slice tenant;
    struct slice context, aggregate; /* "billing", "bill" */
    struct slice id;
    struct slice type;
    uint32_t type_version;
    uint64_t version;  /* of the stream; 0: absent */
    uint64_t position; /* 0: absent, and with it recorded and deploy */
    uint64_t deploy;
    int64_t at_ms, recorded_ms;
    struct slice actor, command_id, correlation_id, causation_id;
    const struct record
        *record; /* if set, actor and the three ids are read from it when they are asked for */
};

/* --- aggregates --- */

struct domain_state; /* the state of one stream, a Lua table */

struct domain_state *domain_state_new(struct domain *domain, int aggregate); /* a copy of `initial` */
void domain_state_free(struct domain *domain, struct domain_state *state);
/* The state as canonical MessagePack appended to out. Fault: SCRIPT with the path of what is not plain data;
 * TOO_LARGE. */
int domain_state_encode(struct domain *domain, struct domain_state *state, struct buf *out,
                        struct fault *fault);
/* Whether the state may be as large as it is after new events, so many and of so many bytes: asked of each
 * decision. A state of more than a hundred entries is weighed when what came since could have made it too
 * large, if events are kept as they are, and now and then. Faults: of domain_state_encode. */
int domain_state_weigh(struct domain *domain, struct domain_state *state, size_t events, size_t bytes,
                       struct fault *fault);
int domain_state_decode(struct domain *domain, int aggregate, struct slice bytes, struct domain_state **state,
                        struct fault *fault);
/* Folds one stored event (of any version: upcasters run). A type without a handler changes nothing. After a
 * fault the state is unusable. */
int domain_apply(struct domain *domain, struct domain_state *state, const struct envelope *envelope,
                 struct slice data, struct fault *fault);

struct decision {
    struct slice command_data;   /* the command as its contract made it: canonical MessagePack */
    struct commit_event *events; /* type, version 1.., at_ms from the envelope, data; in order */
    size_t event_count;
};

/* Checks the command's contract (unless it is checked: as domain_check_command or an import gave it), then
 * decides; events are applied to the state at once. Everything of *decision is in arena, or in data. The
 * state is unchanged after CONTRACT and UNKNOWN_COMMAND; after any other fault it is unusable if *touched is
 * true. */
int domain_execute(struct domain *domain, struct domain_state *state, const struct envelope *envelope,
                   struct slice data, bool checked, struct arena *arena, struct decision *decision,
                   bool *touched, struct fault *fault);

struct domain_event { /* one event as a value, with its envelope */
    const struct envelope *envelope;
    struct slice data;
};
/* Whether a new event and one of the log that it did not see exclude each other: what the aggregate's
 * conflicts function says; true without one. Fault: SCRIPT, BUDGET (see domain_must_repeat). */
int domain_conflicts(struct domain *domain, int aggregate, const struct domain_event *mine,
                     const struct domain_event *theirs, bool *conflicts, struct fault *fault);

/* Whether the aggregate has such a function. */
bool domain_has_conflicts(const struct domain *domain, int aggregate);

/* Only the contract check: the command's canonical data. For looking up a retry before anything is decided.
 */
int domain_check_command(struct domain *domain, int aggregate, struct slice type, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault);
/* Checks an event against its contract (record.x in imports): canonical data and current type version. */
int domain_check_event(struct domain *domain, struct slice context, struct slice type, struct slice data,
                       struct arena *arena, struct slice *canonical, uint32_t *type_version,
                       struct fault *fault);

/* A stored event of any version as the current contract has it: upcast, checked, canonical, in arena. What
 * the upcasters see of it is the envelope. Faults: SCRIPT, BUDGET. */
int domain_upcast_event(struct domain *domain, const struct envelope *envelope, struct slice data,
                        struct arena *arena, struct slice *canonical, struct fault *fault);

/* --- contracts of events, for who compares those of two domains --- */

struct domain_event_type {
    struct slice context, name;
    uint32_t version;
    bool handled; /* by an aggregate's apply, a projection or a receptor */
};
/* In order of context and name; *at is 0 at first. False at the end. */
bool domain_next_event_type(const struct domain *domain, size_t *at, struct domain_event_type *type);
bool domain_find_event_type(const struct domain *domain, struct slice context, struct slice name,
                            struct domain_event_type *type);

struct domain_field {
    struct slice
        path; /* "lines[].price", "rates{}", as in store/shapes.h; containers before what is inside */
    struct slice type; /* "decimal"; of containers "record", "list", "map" */
    bool optional;
};
/* Every place of an event of the current version; the list and its texts are in arena. */
size_t domain_event_fields(const struct domain *domain, struct slice context, struct slice name,
                           struct arena *arena, const struct domain_field **fields);
/* A stored event (of any version) held against its contract: upcast as for a handler, what the contract does
 * not declare taken away, checked and normalised. Handlers get an event of the current version as it is
 * stored: where that differs from *canonical (in arena), they do not get what the contract says. Faults:
 * NOT_FOUND (no such event), CONTRACT with the path, SCRIPT and BUDGET of upcasters (see
 * domain_must_repeat). */
int domain_read_event(struct domain *domain, const struct envelope *envelope, struct slice data,
                      struct arena *arena, struct slice *canonical, struct fault *fault);

/* --- projections --- */

struct drafts; /* the documents of one projection, tenant and partition that are live in this state, not all
                  written yet */

struct drafts_options {
    int projection;
    struct slice tenant;
    struct slice from, to; /* keyed: only keys from `from` on and below `to`, in byte order; empty: open */
    /* Fetches a stored document. 1 found (MessagePack appended to out), 0 none, -1 fault. */
    int (*load)(void *user, struct slice key, struct buf *out, struct fault *fault);
    void *user;
    size_t size_max; /* documents kept live; cleaned after a flush, oldest first */
};

struct drafts *drafts_new(struct domain *domain, const struct drafts_options *options);
void drafts_free(struct drafts *drafts);
/* Index of the handler for an event type, -1: none. */
int drafts_handler(const struct drafts *drafts, struct slice context, struct slice type);

enum drafts_failure {
    DRAFTS_NONE,
    DRAFTS_KEY,     /* a handler of a keyed projection failed for one key: park it */
    DRAFTS_STOPPED, /* a key function, a free-style handler or an upcaster failed: the projection stops for
                       this tenant */
    DRAFTS_REPEAT /* nothing is wrong with the script, but the fast way did not do (budget watchdog, an event
                     kept by a document): drafts_drop, go back to the last flush and repeat with
                     domain_set_exact(true) */
};

/* Folds one event. In fast mode any fault leaves the drafts unusable: drafts_drop, back to the last flush,
 * repeat in exact mode. In exact mode (slower: every document is checked and encoded after its handler) a
 * failing handler leaves its document as before; failing_key tells which key: record it, drafts_park it, go
 * on with the next event. Other keys of the same event were folded; if a second one of them failed as well,
 * the next drafts_fold tells (once more DRAFTS_KEY; its own event is folded). Folding the same position again
 * does no harm. Events of parked keys are skipped and counted. A load that failed gives DRAFTS_NONE and its
 * fault. */
int drafts_fold(struct drafts *drafts, int handler, const struct envelope *envelope, struct slice data,
                enum drafts_failure *failure, struct buf *failing_key, struct fault *fault);
/* The keys of an event of a keyed projection, in order, without folding it; borrowed until the next call for
 * these drafts. Fast mode only. A fault says that drafts_fold would have something to say about it. */
int drafts_keys(struct drafts *drafts, int handler, const struct envelope *envelope, struct slice data,
                const struct slice **keys, size_t *count, struct fault *fault);
/* From now on events of this key are skipped. Keys parked earlier are told again after drafts_new. */
void drafts_park(struct drafts *drafts, struct slice key);
/* Events skipped for a parked key since it was last asked. */
uint64_t drafts_skipped(struct drafts *drafts, struct slice key);
/* Hands out every changed document (value empty: removed) in key order, then regards them as written. If put
 * fails or a document is no plain data, everything stays changed: abort and drafts_drop. */
int drafts_flush(struct drafts *drafts,
                 int (*put)(void *user, struct slice key, struct slice value, struct fault *fault),
                 void *user, enum drafts_failure *failure, struct buf *failing_key, struct fault *fault);
size_t drafts_dirty(const struct drafts *drafts);
/* Forgets every live document. */
void drafts_drop(struct drafts *drafts);

/* --- imports --- */

struct import_call {
    bool is_fact; /* record.x: an event; else send.x: a command */
    struct slice context, aggregate, id;
    struct slice type, data; /* checked against its contract, canonical */
    uint32_t type_version;
    bool has_at;
    int64_t at_ms;
    struct slice command_id; /* { id = … }, else empty */
};

/* Loads scripts/CONTEXT/import/NAME.lua (path relative to the folder). */
int domain_import_open(struct domain *domain, struct slice path, struct fault *fault);
/* Runs the function for one row (MessagePack); calls sink for every send and record in order. Fault: SCRIPT
 * or CONTRACT with file:line. */
int domain_import_row(struct domain *domain, struct slice row,
                      int (*sink)(void *user, const struct import_call *call, struct fault *fault),
                      void *user, struct fault *fault);

/* --- receptors, services, tasks: what sends --- */

struct domain_send {              /* one send or cancel of a receptor, service or task */
    struct slice context, target; /* "billing", "bill": an aggregate or a service of the sender's context */
    struct slice id;              /* of the aggregate; a service has none */
    bool to_service;
    bool is_cancel;          /* of what was sent to the same target and id with the same key */
    struct slice type, data; /* checked, canonical MessagePack; a cancel has none */
    int64_t due_ms;          /* INT64_MIN: at once */
    struct slice key;        /* { key = … }: may be empty */
};

struct domain_output { /* what a handler that ended well leaves, in order; all of it in one arena */
    struct domain_send *sends;
    size_t send_count;
    struct commit_event *events; /* published: of a service or task, never of a receptor */
    size_t event_count;
};

struct domain_receptor {
    struct slice name; /* "billing/replication" */
    struct slice context;
    struct hash code;           /* of its file, required modules, contracts and upcasters, options */
    const struct slice *events; /* "security.PasswordAdded": the types it has handlers for, in order */
    size_t event_count;
    bool since_start; /* a new one begins at position 1, else behind the last */
};

size_t domain_receptor_count(const struct domain *domain);
const struct domain_receptor *domain_receptor(const struct domain *domain, int index);
int domain_find_receptor(const struct domain *domain, struct slice name); /* -1 if there is none */
/* Calls the handler for one event of the log (of any version: upcasters run). No handler: nothing is sent.
 * What { after = … } means is counted from envelope->recorded_ms, so the same event gives the same output
 * for ever. Fast and exact as domain_execute; there is nothing to restore before a repetition. Faults:
 * SCRIPT, BUDGET. */
int domain_receive(struct domain *domain, int receptor, const struct envelope *envelope, struct slice data,
                   struct arena *arena, struct domain_output *output, struct fault *fault);

struct domain_service {
    struct slice name; /* "mailing/mail" */
    struct slice context;
    struct hash code;
};

struct domain_task {
    struct slice name; /* "billing/invoice_expiration" */
    struct slice context;
    struct hash code;
    int64_t every_ms;        /* 0: not by an interval */
    struct slice cron, zone; /* five fields, empty: not by cron; the zone's name, "UTC" if none is given */
    int64_t at_ms;           /* INT64_MIN: not at one moment */
    bool skip_missed;        /* missed = "skip"; else runs missed while the hub was down are made up by one */
};

size_t domain_service_count(const struct domain *domain);
const struct domain_service *domain_service(const struct domain *domain, int index);
int domain_find_service(const struct domain *domain, struct slice name);
/* As domain_handles and domain_check_command, for a service. */
bool domain_service_handles(const struct domain *domain, int service, struct slice command,
                            struct slice *nearest);
int domain_service_check(struct domain *domain, int service, struct slice type, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault);
size_t domain_task_count(const struct domain *domain);
const struct domain_task *domain_task(const struct domain *domain, int index);
int domain_find_task(const struct domain *domain, struct slice name);

/* What a run of a service or task may reach. All of it is synchronous and called inside domain_run_step, in
 * the caller's thread, between what the script does: it must not call back into the domain. */
struct domain_host {
    void *user;
    /* One document of a view ("billing/outstanding_invoices"), MessagePack appended. 1 found, 0 none, -1
     * fault. */
    int (*view_get)(void *user, struct slice view, struct slice key, struct buf *document,
                    struct fault *fault);
    /* A page of a view in order of an index (empty: of the key), both bounds included (MessagePack; empty:
     * open). cursor is the host's own: empty at first, then what it left there. At most limit pairs, and no
     * more behind about a MiB, are appended to pairs as MessagePack: key, document, key, document… 1 there
     * are more, 0 the end, -1 fault. */
    int (*view_range)(void *user, struct slice view, struct slice index, struct slice min, struct slice max,
                      struct buf *cursor, size_t limit, struct buf *pairs, struct fault *fault);
    int64_t (*now_ms)(void *user);
    /* The value of a named secret; false: there is none. It never reaches an error text or log. */
    bool (*secret)(void *user, struct slice name, struct buf *value);
    void (*log)(void *user, int level, struct slice text); /* enum say_level; text is one line */
};

struct domain_run; /* one run of a service for a command, or of a task: a coroutine */

enum domain_run_state {
    DOMAIN_RUN_DONE,    /* domain_run_output */
    DOMAIN_RUN_FETCHES, /* domain_run_request; step again with its answer */
    DOMAIN_RUN_PAUSES,  /* between two pages of a view: step again without an answer, after others had their
                           turn */
    DOMAIN_RUN_RETRIES, /* retry("10s") ended it: start it anew after domain_run_retry_ms */
    DOMAIN_RUN_FAILED   /* the fault: SCRIPT, BUDGET, REJECTED by reject() of a service, or what a function of
                           the host answered */
};

struct domain_request { /* checked for form only: where it may go is the caller's matter */
    struct slice method, url, body;
    const struct slice (*headers)[2]; /* with an Idempotency-Key: the run's identity and the number of the
                                         request in it, the same when the run is repeated */
    size_t header_count;
    int64_t timeout_ms; /* 0: none was asked for */
};

struct domain_response {
    int status;
    struct slice body;
    const struct slice (*headers)[2];
    size_t header_count;
    struct slice error; /* not empty: no answer came, and this is why: an error that the script may catch */
};

/* Both make a run that has done nothing yet. host, envelope and all it borrows must stay until
 * domain_run_free; data need not. Faults: CONTRACT and UNKNOWN_COMMAND of the command, BUDGET (memory).
 * envelope->command_id must be set: idempotency keys are made of it. now_ms of a task is the moment it is run
 * for: what run(now) gets, and part of its idempotency keys, so a repeated run must get the same. The caller
 * bounds how many there are at once: what they hold counts against the memory of the Lua state. */
int domain_service_start(struct domain *domain, int service, const struct envelope *envelope,
                         struct slice data, const struct domain_host *host, struct domain_run **run,
                         struct fault *fault);
int domain_task_start(struct domain *domain, int task, struct slice tenant, int64_t now_ms,
                      const struct domain_host *host, struct domain_run **run, struct fault *fault);
/* Runs until it ends or wants something; answer is NULL but after FETCHES, and borrowed for the call. After
 * anything but FETCHES and PAUSES it is over. Each step has the whole budget of a call and is counted exactly
 * at once: it cannot be repeated. */
enum domain_run_state domain_run_step(struct domain_run *run, const struct domain_response *answer,
                                      struct fault *fault);
/* Borrowed from the run: until the next request but one, or domain_run_free. */
const struct domain_request *domain_run_request(const struct domain_run *run);
int64_t domain_run_retry_ms(const struct domain_run *run);
const struct domain_output *domain_run_output(const struct domain_run *run);
/* Also of one that has not ended; may be called after FETCHES at any time. Before domain_close. */
void domain_run_free(struct domain_run *run);

#endif

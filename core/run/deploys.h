/* deploys.h: what the log keeps of deploys, in its named values (store/engine.h):
 *
 *   source/<hash>     the text of a script, compressed, by the hash of its content; written once, kept for
 * ever gate/<number>     what the gate said of a deploy, compressed JSON deploy/<number>   the record of a
 * deploy: immutable, and names the digest of the record before it switch/<number>   a change of what runs:
 * immutable deploys           which deploy runs, how many records and switches there are, the digest of the
 * last record
 *
 * DESIGN. "deploys" is written last, in one piece, and is all that says what exists: a kill between the
 * values leaves the old deploy running and values that the next deploy writes over (its record and switch
 * have the same numbers; the sources are there already). So everything read after "deploys" was read is whole
 * and never changes.
 *
 *     struct deploy_new what = {.sources = sources, .actor = who, .folder = folder, .at_ms = now};
 *     struct deploys_writer writer = {.put = deploys_put_directly, .user = engine};
 *     if (deploys_add(engine, &writer, &what, &number, fault) < 0) ...
 *
 * Threads: reading by any. Adding and switching by one at a time. Owns: nothing. */
#ifndef LORE_RUN_DEPLOYS_H
#define LORE_RUN_DEPLOYS_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/engine.h"
#include "vm/sources.h"

enum {
    DEPLOYS_GATE_SIZE_MAX = 16 << 20, /* of the JSON: samples, not all that differs */
    DEPLOYS_TEXT_SIZE_MAX = 4096      /* actor, note, folder: each */
};

enum deploy_why { DEPLOY_WHY_DEPLOY, DEPLOY_WHY_UNDEPLOY, DEPLOY_WHY_START, DEPLOY_WHY_ROLLBACK };
/* UNDONE: it ran, and was left by an undeploy or a rollback. */
enum deploy_state { DEPLOY_RUNNING, DEPLOY_SUPERSEDED, DEPLOY_UNDONE };

const char *deploys_why_name(enum deploy_why why);       /* "undeploy" */
const char *deploys_state_name(enum deploy_state state); /* "superseded" */

struct deploy_script {
    struct slice path; /* relative to the folder; its kind follows from it */
    struct hash hash;  /* of the text */
};

/* Every slice lies in the arena that it was loaded with. */
struct deploy_record {
    uint64_t number;
    int64_t at_ms;
    struct slice actor, note;
    struct slice folder;                 /* absolute path it was read from, may be empty */
    struct hash digest;                  /* sources_digest */
    uint64_t before;                     /* the deploy that ran, 0: none */
    uint64_t position;                   /* head of the log then: behind it are its events */
    bool forced;                         /* against its gate */
    size_t gate_size;                    /* of the gate's JSON, 0: there was no gate */
    struct hash gate;                    /* of the JSON */
    struct hash previous;                /* of record number - 1 as stored; zeros for the first */
    struct hash own;                     /* of this record as stored */
    const struct deploy_script *scripts; /* in order of path */
    size_t script_count;
};

struct deploy_switch {
    uint64_t number; /* 1.. */
    int64_t at_ms;
    struct slice actor, note;
    uint64_t from, to; /* deploys; from 0: nothing ran */
    uint64_t position; /* head of the log then */
    enum deploy_why why;
};

struct deploys_now {
    uint64_t running; /* 0: nothing was deployed yet */
    uint64_t last;    /* the newest deploy, whatever runs */
    uint64_t first; /* the oldest with a record: earlier ones are of a lore that kept none. last + 1: none has
                       a record */
    uint64_t switches; /* the number of the last one */
    struct hash chain; /* of the last record */
};

/* --- looking --- */

/* 1; 0: nothing was deployed yet (*now is zeros); -1: fault. A log of a lore without records that was not
 * taken over yet has running and last, no record. */
int deploys_now(struct engine *engine, struct deploys_now *now, struct fault *fault);
/* Faults: NOT_FOUND (no such deploy, or made before there were records), CORRUPT. */
int deploys_load(struct engine *engine, uint64_t number, struct arena *arena, struct deploy_record *record,
                 struct fault *fault);
/* The gate's JSON, appended; nothing if there was none. Fault: CORRUPT. */
int deploys_gate(struct engine *engine, const struct deploy_record *record, struct buf *json,
                 struct fault *fault);
/* One script's text, appended and compared with its hash. Fault: CORRUPT (missing, or not what was written).
 */
int deploys_text(struct engine *engine, const struct hash *hash, struct buf *text, struct fault *fault);
/* All scripts of a deploy, to be freed; sources_dir is "deploy 41". Faults: as deploys_load, deploys_text. */
int deploys_sources(struct engine *engine, uint64_t number, struct sources **sources, struct fault *fault);

int deploys_state(struct engine *engine, uint64_t number, enum deploy_state *state, struct fault *fault);
/* The deploy that ran when the event at position was written, 0: none is known. A commit's own number
 * (record.deploy) says it for one event; this serves for moments. */
int deploys_at_position(struct engine *engine, uint64_t position, uint64_t *number, struct fault *fault);
/* The last deploy that was made from this folder, undone or not: 1, 0: none, -1: fault. */
int deploys_of_folder(struct engine *engine, struct slice folder, struct arena *arena,
                      struct deploy_record *record, struct fault *fault);

/* Newest first, those with a number below `below` (0: all); ends when each returns false. What each gets is
 * valid until it returns. */
int deploys_each(struct engine *engine, uint64_t below,
                 bool (*each)(void *user, const struct deploy_record *record, enum deploy_state state),
                 void *user, struct fault *fault);
int deploys_each_switch(struct engine *engine, bool (*each)(void *user, const struct deploy_switch *change),
                        void *user, struct fault *fault);

/* --- telling --- */

/* How many scripts differ: added, removed or changed. */
size_t deploys_changed(const struct deploy_record *before, const struct deploy_record *after);
/* Members of a JSON object that is open, without scripts and gate: number, time, actor, note, folder, state,
 * forced, before, position, digest. */
void deploys_put_members(const struct deploy_record *record, enum deploy_state state, struct buf *out);
/* "scripts": { path: hash } */
void deploys_put_scripts(const struct deploy_record *record, struct buf *out);
void deploys_put_switch_json(const struct deploy_switch *change, struct buf *out);

/* --- changing --- */

/* How a named value gets into the log: returns when it is durable. While a hub runs: {writer_keep, writer},
 * from any thread but the writer's; else {deploys_put_directly, engine}. */
struct deploys_writer {
    int (*put)(void *user, struct slice key, struct slice value, struct fault *fault);
    void *user;
};
/* user: the struct engine. */
int deploys_put_directly(void *user, struct slice key, struct slice value, struct fault *fault);

struct deploy_new {
    const struct sources *sources;
    struct slice actor, note, folder;
    struct slice gate; /* JSON, empty: none */
    bool forced;
    int64_t at_ms;
    enum deploy_why why; /* of its switch: DEPLOY or START */
};

/* The number that the next deploys_add will give: for who loads a deploy before it is recorded. */
int deploys_next(struct engine *engine, uint64_t *number, struct fault *fault);
/* Records a deploy and makes it the one that runs. To be done before its first commit: when it returns 0 all
 * of it is durable; on a fault the deploy before it runs. Faults: TOO_LARGE (gate, note), DISK, CORRUPT, what
 * put says. */
int deploys_add(struct engine *engine, const struct deploys_writer *writer, const struct deploy_new *what,
                uint64_t *number, struct fault *fault);
/* Makes a recorded deploy the one that runs; number, from and position of change are filled in. Nothing is
 * written if it runs already. Faults: NOT_FOUND, DISK. */
int deploys_switch(struct engine *engine, const struct deploys_writer *writer, struct deploy_switch *change,
                   struct fault *fault);
/* To be called once at a start that may write. A log of a lore that kept no records gets one for the deploy
 * that ran last, if what->sources is that deploy; else only its number is kept. Otherwise does nothing. */
int deploys_adopt(struct engine *engine, const struct deploys_writer *writer, const struct deploy_new *what,
                  struct fault *fault);

/* --- verify --- */

/* Records, their chain, switches, and that every source and gate they name is there and is what was written.
 * tell is called for each damage, with a sentence; *checked counts the records. Fault: only what ends the
 * looking. */
int deploys_verify(struct engine *engine, void (*tell)(void *user, const char *sentence), void *user,
                   uint64_t *checked, struct fault *fault);

#endif

/* shadow_inside.h: what the files of shadow share; nobody else includes it.
 *
 *     shadow.c         which aggregates, passes, threads, the report
 *     shadow_part.c    the streams of one pass, and the refused and empty commands that belong to them
 *     shadow_side.c    one code at one stream: fold, go back
 *     shadow_decide.c  one command decided again, and whether two outcomes are the same
 *     shadow_stream.c  one stream from its first event to its last with both codes
 *     shadow_notes.c   counts, samples and errors of one thread, put together at the end
 *     shadow_report.c  JSON */
#ifndef LORE_RUN_SHADOW_INSIDE_H
#define LORE_RUN_SHADOW_INSIDE_H

#include <pthread.h>

#include "run/fold.h"
#include "run/shadow.h"

enum { SHADOW_ERRORS_MAX = 200, SHADOW_FIELDS_MAX = 100 };

struct shadow_target { /* an aggregate that is looked at */
    struct slice name, context;
    enum shadow_change change;
    int next, running;        /* index in the domains of each code; -1: it has none */
    uint64_t streams, events; /* in the log, when it was counted */
    uint64_t listed;          /* of these streams: in the parts so far */
};

/* --- notes --- */

struct shadow_list {             /* the first samples in order */
    struct shadow_sample *items; /* each with texts of its own */
    size_t count, most;
};

struct shadow_note { /* errors of one place in the scripts */
    char *key;
    char *text;
    uint64_t count;
    struct shadow_list example;
};

struct shadow_notes { /* of one thread about one target */
    struct shadow_counts counts;
    struct compare_fields fields;
    struct shadow_list states, commands[SHADOW_KINDS];
    struct map errors; /* by place */
};

void shadow_notes_init(struct shadow_notes *notes, size_t samples);
void shadow_notes_release(struct shadow_notes *notes);
/* Whether this sample would be kept: asked before its texts are made. */
bool shadow_list_wants(const struct shadow_list *list, const struct shadow_sample *sample);
/* Copies. */
void shadow_list_put(struct shadow_list *list, const struct shadow_sample *sample);
void shadow_notes_error(struct shadow_notes *notes, struct slice text, const struct shadow_sample *example);
void shadow_notes_merge(struct shadow_notes *notes, const struct shadow_notes *other);
void shadow_counts_add(struct shadow_counts *counts, const struct shadow_counts *other);
/* Into the report, texts in arena. */
void shadow_notes_report(const struct shadow_notes *notes, struct arena *arena,
                         struct shadow_aggregate *aggregate);

/* --- parts --- */

struct shadow_item { /* a stream */
    uint64_t hash;
    size_t id; /* where in ids */
    uint32_t tenant, target;
    uint8_t id_size;
    bool recent; /* an outcome without events tells so */
};

struct shadow_place { /* a command without events */
    uint64_t hash;    /* of its stream */
    uint64_t version; /* the stream's when it was decided */
    uint64_t number;
};

struct shadow_part {
    struct shadow_item *items; /* in order of hash */
    size_t count, count_max;
    struct buf ids;
    struct shadow_place *places; /* in order of hash, version, number */
    size_t place_count, place_max;
    atomic_size_t taken;
};

struct shadow_pair { /* a tenant and an aggregate of which it has streams */
    uint32_t tenant, target;
};

struct shadow_run {
    struct shadow_options options;
    struct shadow_target *targets;
    size_t target_count;
    struct shadow_pair *pairs;
    size_t pair_count, pair_max;
    uint64_t *numbers; /* target + 1 by the number of its name; 0: it is none */
    size_t number_count;
    size_t parts;
    struct shadow_part part;
    struct engine_head head;
    uint64_t position_since;
    int64_t deadline_ns;
    atomic_bool failed, cut;
    struct shadow_worker *workers;
    size_t worker_count;
    struct shadow *report;
};

/* Finds the pairs and counts streams. */
int shadow_part_count(struct shadow_run *run, struct fault *fault);
/* Lists the streams of the part of this number. */
int shadow_part_fill(struct shadow_run *run, size_t number, struct fault *fault);
void shadow_part_release(struct shadow_part *part);
/* The places of a stream: from *count of them on. */
const struct shadow_place *shadow_part_places(const struct shadow_part *part, uint64_t hash, size_t *count);

/* --- one stream --- */

struct shadow_side { /* one of the two codes */
    struct domain *domain;
    int aggregate; /* -1: this code does not have it */
    struct domain_state *state;
    bool failed; /* the stream cannot be folded */
    struct shadow_sample failure;
    char failure_text[sizeof((struct fault *)NULL)->text];
    enum fault_code failure_code;
    struct buf checkpoint; /* the state at checkpoint_version; 0: there is none */
    uint64_t checkpoint_version;
};

enum shadow_result { SHADOW_GIVES_EVENTS, SHADOW_GIVES_NOTHING, SHADOW_REFUSES, SHADOW_FAILS };

struct shadow_outcome {
    enum shadow_result result;
    struct commit_event *events; /* in the worker's arena */
    size_t event_count;
    bool touched;       /* the state has its events, or some of them */
    struct fault fault; /* of REFUSES and FAILS */
};

struct shadow_worker {
    struct shadow_run *run;
    pthread_t thread;
    size_t number;
    bool is_open;
    struct shadow_side next, running;
    struct shadow_notes *notes; /* by target */
    struct shadow_outcome now, was;
    struct arena arena; /* of one command */
    struct buf before, after, text;
    struct fault fault;
    /* the stream */
    const struct shadow_target *target;
    struct shadow_notes *note;
    struct stream_id stream;
    uint64_t version, position; /* looked at so far */
};

/* Whether a fault is the machine's and ends everything, not the script's. */
bool shadow_side_is_broken(const struct fault *fault);
void shadow_side_begin(struct shadow_side *side);
void shadow_side_end(struct shadow_side *side);
/* Applies what is recorded. -1: broken, in worker->fault; that the script fails is noted in the side. */
int shadow_side_apply(struct shadow_worker *worker, struct shadow_side *side, const struct record *record);
/* Makes the state that it was at worker->version again. */
int shadow_side_restore(struct shadow_worker *worker, struct shadow_side *side);
/* The envelope of what is in the record, but its type. */
void shadow_side_envelope(const struct shadow_worker *worker, const struct record *record,
                          struct envelope *envelope);

/* -1: broken. The side is at worker->version. */
int shadow_decide(struct shadow_worker *worker, struct shadow_side *side, const struct record *record,
                  struct shadow_outcome *outcome);
/* Whether the outcome is what was recorded; *upcast: only in a newer version. */
bool shadow_decide_fits(struct shadow_worker *worker, struct shadow_side *side, const struct record *record,
                        const struct shadow_outcome *outcome, bool *upcast);
/* Whether the next code does what the running one does. */
bool shadow_decide_agrees(struct shadow_worker *worker, const struct record *record,
                          const struct shadow_outcome *next, const struct shadow_outcome *running);
/* An outcome, or what was recorded, as JSON. */
void shadow_decide_json(const struct shadow_outcome *outcome, struct buf *json);
void shadow_decide_record_json(const struct record *record, struct buf *json);

/* Looks at one stream. -1: broken. */
int shadow_stream_look(struct shadow_worker *worker, const struct shadow_item *item);
/* Whether nothing more is to be begun: stopped, failed, or out of time. */
bool shadow_is_over(struct shadow_run *run);

#endif

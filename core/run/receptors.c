#include "run/receptors.h"

#include "base/mem.h"
#include "base/thread.h"
#include "codec/json.h"
#include "run/inside.h"
#include "run/receptor.h"
#include "vm/nearest.h"

enum { RECEPTORS_REST_MS = 20 };

static void receptors_declare(struct receptors *receptors, struct receptor *receptor,
                              const struct domain_receptor *declared, int index)
{
    struct arena *arena = &receptors->arena;
    receptor->receptors = receptors;
    receptor->index = index;
    receptor->name = arena_copy(arena, declared->name);
    receptor->since_start = declared->since_start;
    hash_hex(&declared->code, receptor->code);
    struct slice *events = arena_zero(arena, (declared->event_count + 1) * sizeof *events);
    for (size_t at = 0; at < declared->event_count; at++)
        events[at] = arena_copy(arena, declared->events[at]);
    receptor->events = events;
    receptor->event_count = declared->event_count;
}

int receptors_open(struct release *release, const struct domain *domain, struct receptors **receptors,
                   struct fault *fault)
{
    struct receptors *made = MEM_NEW(struct receptors);
    *receptors = made;
    made->hub = release->hub;
    made->release = release;
    made->retries_max = (unsigned)catalog_limit(&release->catalog, "retries", LIMIT_RETRIES);
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->meta_lock, NULL);
    sender_init(&made->sender, release->hub, RECEPTOR_WINDOW);
    made->count = domain_receptor_count(domain);
    made->receptors = arena_zero(&made->arena, (made->count + 1) * sizeof *made->receptors);
    for (size_t at = 0; at < made->count; at++)
        receptors_declare(made, &made->receptors[at], domain_receptor(domain, (int)at), (int)at);
    return made->count && !made->hub->read_only ? release_domain(release, &made->domain, fault) : 0;
}

/* What the outside sees of how far they are; who waits for the end of all work is told. */
static void receptors_show(struct receptors *receptors)
{
    uint64_t least = UINT64_MAX;
    for (size_t at = 0; at < receptors->count; at++) {
        struct receptor *receptor = &receptors->receptors[at];
        uint64_t done_to = receptor_done_to(receptor);
        if (atomic_exchange(&receptor->checkpoint, done_to) != done_to) receptors->moved = true;
        for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
            if (key->due_ms != receptor_parked_ms && key->position <= done_to) done_to = key->position - 1;
        if (done_to < least) least = done_to;
    }
    if (atomic_exchange(&receptors->settled, least) != least) receptors->moved = true;
    if (!receptors->moved || receptors->sender.in_flight) return;
    receptors->moved = false;
    watch_wake(&receptors->hub->watch);
}

/* While the log grows it is looked at every RECEPTORS_REST_MS, and at once for what somebody wants: a thread
 * that is woken for each commit to pass over it costs the others more than what it does. */
static int receptors_rest(struct receptors *receptors, int timeout_ms)
{
    uint64_t head = engine_head(receptors->hub->engine).position;
    bool grows = head != receptors->head_seen;
    receptors->head_seen = head;
    atomic_store(&receptors->resting, grows);
    if (!grows) return engine_head(receptors->hub->engine).position == head ? timeout_ms : 0;
    return timeout_ms < 0 || timeout_ms > RECEPTORS_REST_MS ? RECEPTORS_REST_MS : timeout_ms;
}

static void *receptors_run(void *user)
{
    struct receptors *receptors = user;
    domain_thread_start();
    while (!atomic_load(&receptors->stopping)) {
        bool more = false;
        int timeout_ms = -1;
        for (size_t at = 0; at < receptors->count; at++) {
            more = receptor_read(&receptors->receptors[at]) || more;
            timeout_ms = receptor_keys_retry(&receptors->receptors[at], timeout_ms);
        }
        sender_rouse(&receptors->sender);
        receptors_show(receptors);
        timeout_ms = receptors_rest(receptors, receptor_meta_keep(receptors, timeout_ms));
        sender_run(&receptors->sender, more ? 0 : timeout_ms, receptor_told);
    }
    receptors->sender.closing = true;
    while (receptors->sender.in_flight) sender_run(&receptors->sender, -1, receptor_told);
    receptors_show(receptors);
    receptor_meta_finish(receptors);
    domain_thread_stop();
    return NULL;
}

int receptors_start(struct receptors *receptors, struct fault *fault)
{
    if (receptor_meta_load(receptors, fault) < 0) return -1;
    if (receptors->count == 0 || receptors->hub->read_only) return 0;
    receptors->sender.deploy = receptors->release->deploy;
    receptors->started = true;
    receptors->thread = thread_start(receptors_run, receptors, "receptors");
    return 0;
}

void receptors_stop(struct receptors *receptors)
{
    if (!receptors->started) return;
    atomic_store(&receptors->stopping, true);
    inbox_wake(&receptors->sender.answered);
    pthread_join(receptors->thread, NULL);
    receptors->started = false;
}

void receptors_free(struct receptors *receptors)
{
    if (!receptors) return;
    for (size_t at = 0; at < receptors->count; at++) {
        receptor_keys_free(&receptors->receptors[at]);
        map_release(&receptors->receptors[at].routes);
        arena_release(&receptors->receptors[at].arena);
    }
    if (receptors->domain) domain_close(receptors->domain);
    buf_release(&receptors->meta.value);
    buf_release(&receptors->strangers);
    sender_release(&receptors->sender);
    arena_release(&receptors->scratch);
    pthread_mutex_destroy(&receptors->lock);
    pthread_mutex_destroy(&receptors->meta_lock);
    arena_release(&receptors->arena);
    mem_free(receptors);
}

void receptors_look(struct receptors *receptors)
{
    if (receptors->started) inbox_wake(&receptors->sender.answered);
}

void receptors_pass(struct receptors *receptors)
{
    if (!atomic_load(&receptors->resting)) receptors_look(receptors);
}

bool receptors_want(const struct receptors *receptors, const struct commit *commit)
{
    const char *slash = memchr(commit->aggregate.data, '/', commit->aggregate.size);
    struct slice context =
        slice_make(commit->aggregate.data, slash ? (size_t)(slash - commit->aggregate.data) : 0);
    for (size_t at = 0; at < receptors->count; at++) {
        const struct receptor *receptor = &receptors->receptors[at];
        for (size_t of = 0; of < receptor->event_count; of++) {
            struct slice name = receptor->events[of];
            if (name.size <= context.size || memcmp(name.data, context.data, context.size) != 0) continue;
            for (size_t event = 0; event < commit->event_count; event++) {
                struct slice type = commit->events[event].type;
                if (name.size == context.size + 1 + type.size &&
                    memcmp(name.data + context.size + 1, type.data, type.size) == 0)
                    return true;
            }
        }
    }
    return false;
}

bool receptors_settled(struct receptors *receptors, uint64_t position)
{
    return receptors->count == 0 || atomic_load(&receptors->settled) >= position;
}

int receptors_retry(struct receptors *receptors, struct slice name, struct fault *fault)
{
    struct nearest nearest = nearest_to(name);
    for (size_t at = 0; at < receptors->count; at++) {
        struct receptor *receptor = &receptors->receptors[at];
        nearest_offer(&nearest, receptor->name);
        if (!slice_equal(receptor->name, name)) continue;
        atomic_store(&receptor->retry_wanted, true);
        receptors_look(receptors);
        return 0;
    }
    struct slice near = nearest_found(&nearest);
    return fault_set(fault, FAULT_NOT_FOUND,
                     near.size ? "no receptor %.*s: did you mean %.*s?" : "no receptor %.*s",
                     SLICE_ARGS(name), SLICE_ARGS(near));
}

/* --- status --- */

static void receptors_status_stuck(const struct receptor_key *key, struct buf *out)
{
    struct receptors *receptors = key->receptor->receptors;
    uint64_t version = 0, position;
    struct fault ignored;
    engine_stream_head(receptors->hub->engine, &key->stream, &version, &position, &ignored);
    buf_put_byte(out, '{');
    json_put_text_member(out, "kind", slice_of(key->due_ms == receptor_parked_ms ? "parked" : "retried"));
    json_put_text_member(out, "name", key->receptor->name);
    json_put_text_member(out, "tenant", key->stream.tenant);
    json_put_name(out, "key");
    buf_put_byte(out, '"');
    json_put_inside(out, key->stream.aggregate);
    buf_put_byte(out, '/');
    json_put_inside(out, key->stream.id);
    buf_put_byte(out, '"');
    json_put_int_member(out, "position", (int64_t)key->position);
    json_put_int_member(out, "deploy", (int64_t)key->deploy);
    json_put_text_member(out, "error", slice_of(key->error));
    json_put_int_member(out, "attempts", key->attempts);
    json_put_int_member(out, "skipped", version < key->version ? 0 : (int64_t)(version - key->version));
    buf_put_text(out, "}\n");
}

static void receptors_status_one(struct receptor *receptor, uint64_t head, struct buf *out)
{
    uint64_t position = atomic_load(&receptor->checkpoint);
    size_t parked = 0;
    pthread_mutex_lock(&receptor->receptors->lock);
    for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
        parked += key->due_ms == receptor_parked_ms;
    buf_put_byte(out, '{');
    json_put_text_member(out, "kind", slice_of("receptor"));
    json_put_text_member(out, "name", receptor->name);
    json_put_int_member(out, "position", (int64_t)position);
    json_put_int_member(out, "lag", position < head ? (int64_t)(head - position) : 0);
    json_put_int_member(out, "parked", (int64_t)parked);
    json_put_int_member(out, "retried", (int64_t)(atomic_load(&receptor->stuck_count) - parked));
    json_put_name(out, "stopped");
    buf_put_text(out, atomic_load(&receptor->stuck_count) >= RECEPTORS_STUCK_MAX ? "true}\n" : "false}\n");
    for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
        receptors_status_stuck(key, out);
    pthread_mutex_unlock(&receptor->receptors->lock);
}

void receptors_status(struct receptors *receptors, struct buf *ndjson)
{
    uint64_t head = engine_head(receptors->hub->engine).position;
    for (size_t at = 0; at < receptors->count; at++)
        receptors_status_one(&receptors->receptors[at], head, ndjson);
}

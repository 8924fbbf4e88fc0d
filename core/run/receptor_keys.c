/* The streams whose events are under way in a receptor, and those that are stuck. */
#include "run/receptor.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "run/inside.h"

enum {
    RETRY_FIRST_MS = 1000,
    RETRY_LAST_MS = 60000,
    RETRY_LOOK_MS = 1000, /* the hub's clock may be set: who waits for a moment looks at it so often */
    REPLAY_MAX = 64,      /* events of a key read from its stream at a time */
    ERROR_SIZE_MAX = 300
};

static size_t receptor_key_bytes(const struct stream_id *stream, char *bytes)
{
    const struct slice parts[] = {stream->tenant, stream->aggregate, stream->id};
    char *to = bytes;
    for (size_t at = 0; at < 3; at++) {
        memcpy(to, parts[at].data, parts[at].size);
        to += parts[at].size;
        if (at < 2) *to++ = 0;
    }
    return (size_t)(to - bytes);
}

enum { KEY_BYTES_MAX = LIMIT_TENANT_SIZE_MAX + 2 * LIMIT_NAME_SIZE_MAX + 1 + LIMIT_ID_SIZE_MAX + 2 };

struct receptor_key *receptor_key_find(struct receptor *receptor, const struct stream_id *stream)
{
    char bytes[KEY_BYTES_MAX];
    return map_find(&receptor->keys, slice_make(bytes, receptor_key_bytes(stream, bytes)));
}

struct receptor_key *receptor_key_get(struct receptor *receptor, const struct stream_id *stream)
{
    char bytes[KEY_BYTES_MAX];
    size_t size = receptor_key_bytes(stream, bytes);
    struct receptor_key *key = map_find(&receptor->keys, slice_make(bytes, size));
    if (key) return key;
    key = mem_zero(sizeof *key + size);
    key->receptor = receptor;
    key->size = size;
    memcpy(key->bytes, bytes, size);
    key->stream.tenant = slice_make(key->bytes, stream->tenant.size);
    key->stream.aggregate = slice_make(key->bytes + stream->tenant.size + 1, stream->aggregate.size);
    key->stream.id = slice_make(key->bytes + size - stream->id.size, stream->id.size);
    map_put(&receptor->keys, slice_make(key->bytes, size), key);
    return key;
}

void receptor_key_let_go(struct receptor_key *key)
{
    if (key->first || key->stuck) return;
    map_remove(&key->receptor->keys, slice_make(key->bytes, key->size));
    mem_free(key->error);
    mem_free(key);
}

static void receptor_key_stick(struct receptor_key *key)
{
    struct receptor *receptor = key->receptor;
    if (key->stuck) return;
    key->stuck = true;
    key->attempts = 0;
    key->stuck_newer = NULL;
    key->stuck_older = receptor->stuck_newest;
    if (receptor->stuck_newest)
        receptor->stuck_newest->stuck_newer = key;
    else
        receptor->stuck_oldest = key;
    receptor->stuck_newest = key;
    atomic_fetch_add(&receptor->stuck_count, 1);
}

static void receptor_key_unstick(struct receptor_key *key)
{
    struct receptor *receptor = key->receptor;
    pthread_mutex_lock(&receptor->receptors->lock);
    if (key->stuck_older)
        key->stuck_older->stuck_newer = key->stuck_newer;
    else
        receptor->stuck_oldest = key->stuck_newer;
    if (key->stuck_newer)
        key->stuck_newer->stuck_older = key->stuck_older;
    else
        receptor->stuck_newest = key->stuck_older;
    key->stuck = false;
    atomic_fetch_sub(&receptor->stuck_count, 1);
    pthread_mutex_unlock(&receptor->receptors->lock);
    receptor->receptors->moved = true;
    receptor_meta_changed(receptor->receptors);
    receptor_key_let_go(key);
}

static void receptor_key_set_error(struct receptor_key *key, struct slice error)
{
    mem_free(key->error);
    key->error =
        error.size ? mem_text(error.data, error.size < ERROR_SIZE_MAX ? error.size : ERROR_SIZE_MAX) : NULL;
}

static int64_t receptor_delay_ms(unsigned attempts)
{
    int64_t delay_ms = RETRY_FIRST_MS;
    while (--attempts > 0 && delay_ms < RETRY_LAST_MS) delay_ms *= 2;
    return delay_ms < RETRY_LAST_MS ? delay_ms : RETRY_LAST_MS;
}

static void receptor_key_drop_items(struct receptor_key *key)
{
    while (key->first) {
        struct receptor_item *item = key->first;
        key->first = item->next_of_key;
        CHECK(item->in_flight == 0);
        receptor_item_free(item);
    }
    key->last = NULL;
}

void receptor_key_fail(struct receptor_key *key, uint64_t position, uint64_t version,
                       const struct fault *fault)
{
    struct receptors *receptors = key->receptor->receptors;
    /* The machine's want of memory, room or time says nothing about the message. */
    bool counts = fault->code != FAULT_UNAVAILABLE && fault->code != FAULT_BUSY && fault->code != FAULT_DISK;
    pthread_mutex_lock(&receptors->lock);
    receptor_key_stick(key);
    key->position = position;
    key->version = version;
    key->deploy = receptors->release->deploy;
    key->attempts += counts;
    key->due_ms =
        key->attempts > receptors->retries_max
            ? receptor_parked_ms
            : clock_now_ms(receptors->hub->clock) + receptor_delay_ms(key->attempts ? key->attempts : 1);
    receptor_key_set_error(key, slice_of(fault->text));
    pthread_mutex_unlock(&receptors->lock);
    if (key->due_ms == receptor_parked_ms)
        say_warn("%.*s: parked at position %llu, with all that follows of %.*s/%.*s: %s",
                 SLICE_ARGS(key->receptor->name), (unsigned long long)position,
                 SLICE_ARGS(key->stream.aggregate), SLICE_ARGS(key->stream.id), fault->text);
    receptors->moved = true;
    receptor_key_drop_items(key); /* the fault may be the first one's */
    receptor_meta_changed(receptors);
}

void receptor_key_load(struct receptor_key *key, unsigned attempts, struct slice error)
{
    receptor_key_stick(key);
    key->attempts = attempts;
    key->due_ms = attempts > key->receptor->receptors->retries_max ? receptor_parked_ms : INT64_MIN;
    receptor_key_set_error(key, error);
}

void receptor_key_pass(struct receptor_key *key, uint64_t version)
{
    pthread_mutex_lock(&key->receptor->receptors->lock);
    key->version = version + 1;
    key->attempts = 0;
    key->due_ms = INT64_MIN;
    receptor_key_set_error(key, SLICE_NONE);
    pthread_mutex_unlock(&key->receptor->receptors->lock);
}

/* The events of one record that the scan has passed; false: that is enough. */
static bool receptor_replay_record(struct receptor_key *key, const struct record *record, size_t *count)
{
    struct receptor *receptor = key->receptor;
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        if (event.version < key->version) continue;
        if (event.position > receptor->position || *count == REPLAY_MAX) return false;
        if (key->last && key->last->fault) return false;
        ++*count;
        bool under_way =
            receptor_takes(receptor, record, &event) && receptor_handle(receptor, record, &event, true);
        /* A handler that fails as the key's first is at its end already. */
        if (under_way && !key->first) return false;
        if (!key->first) receptor_key_pass(key, event.version);
    }
    return true;
}

/* Goes on with a stuck key: what is read of its stream is queued as if it came from the log. */
static void receptor_replay(struct receptor_key *key)
{
    struct receptor *receptor = key->receptor;
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault;
    size_t count = 0;
    pthread_mutex_lock(&receptor->receptors->lock);
    key->due_ms = INT64_MIN;
    pthread_mutex_unlock(&receptor->receptors->lock);
    int more =
        engine_read_stream(receptor->receptors->hub->engine, &key->stream, key->version, &cursor, &fault);
    if (more == 0) {
        while ((more = engine_cursor_next(cursor, &record, &fault)) == 1)
            if (!receptor_replay_record(key, &record, &count)) break;
        engine_cursor_close(cursor);
    }
    if (key->first) return;
    if (more < 0)
        receptor_key_fail(key, key->position, key->version, &fault);
    else if (key->due_ms == INT64_MIN && count < REPLAY_MAX) /* nothing failed, the stream is at its end */
        receptor_key_unstick(key);
}

/* All of them, now, as if nothing had been tried. */
static void receptor_keys_forgive(struct receptor *receptor)
{
    pthread_mutex_lock(&receptor->receptors->lock);
    for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer) {
        key->attempts = 0;
        key->due_ms = INT64_MIN;
    }
    pthread_mutex_unlock(&receptor->receptors->lock);
}

int receptor_keys_retry(struct receptor *receptor, int timeout_ms)
{
    if (atomic_exchange(&receptor->retry_wanted, false)) receptor_keys_forgive(receptor);
    if (!receptor->stuck_oldest) return timeout_ms;
    int64_t now_ms = clock_now_ms(receptor->receptors->hub->clock), least_ms = INT64_MAX;
    for (struct receptor_key *key = receptor->stuck_oldest, *next; key; key = next) {
        next = key->stuck_newer;
        if (key->first || key->due_ms == receptor_parked_ms) continue;
        if (key->due_ms <= now_ms)
            receptor_replay(key); /* it may be gone now */
        else if (key->due_ms - now_ms < least_ms)
            least_ms = key->due_ms - now_ms;
    }
    for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
        if (!key->first && key->due_ms <= now_ms) least_ms = 0;
    if (least_ms > RETRY_LOOK_MS && least_ms != INT64_MAX) least_ms = RETRY_LOOK_MS;
    return timeout_ms < 0 || timeout_ms > least_ms ? (least_ms == INT64_MAX ? timeout_ms : (int)least_ms)
                                                   : timeout_ms;
}

void receptor_keys_free(struct receptor *receptor)
{
    size_t at = 0;
    struct receptor_key *key;
    while ((key = map_next(&receptor->keys, &at))) {
        for (struct receptor_item *item = key->first; item; item = item->next_of_key) item->in_flight = 0;
        receptor_key_drop_items(key);
        mem_free(key->error);
        mem_free(key);
    }
    map_release(&receptor->keys);
}

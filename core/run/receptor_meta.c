/* The checkpoints of receptors: the log's named value "receptors", a MessagePack list of
 *
 *   { code, name, position, stuck = [ { aggregate, attempts, deploy, error, id, position, tenant, version } …
 * ] }
 *
 * Receptors that are no longer declared keep theirs: a rename undone goes on where it was. */
#include "run/receptor.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/faultpoint.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/inside.h"
#include "run/rollback_inside.h"

enum { META_EVERY_MS = 1000 };

/* --- writing --- */

static void put_text_member(struct buf *out, const char *name, struct slice text)
{
    mp_put_text(out, slice_of(name));
    mp_put_text(out, text);
}

static void put_int_member(struct buf *out, const char *name, uint64_t value)
{
    mp_put_text(out, slice_of(name));
    mp_put_int(out, (int64_t)value);
}

static void put_stuck(const struct receptor_key *key, struct buf *out)
{
    mp_put_map(out, 8);
    put_text_member(out, "aggregate", key->stream.aggregate);
    put_int_member(out, "attempts", key->attempts);
    put_int_member(out, "deploy", key->deploy);
    put_text_member(out, "error", slice_of(key->error));
    put_text_member(out, "id", key->stream.id);
    put_int_member(out, "position", key->position);
    put_text_member(out, "tenant", key->stream.tenant);
    put_int_member(out, "version", key->version);
}

void receptor_meta_write(struct receptors *receptors, struct buf *out)
{
    mp_put_list(out, (uint32_t)receptors->count + receptors->stranger_count);
    buf_put_slice(out, buf_slice(&receptors->strangers));
    for (size_t at = 0; at < receptors->count; at++) {
        struct receptor *receptor = &receptors->receptors[at];
        uint64_t position = receptor_done_to(receptor);
        mp_put_map(out, 4);
        put_text_member(out, "code", slice_of(receptor->code));
        put_text_member(out, "name", receptor->name);
        put_int_member(out, "position", position);
        mp_put_text(out, slice_of("stuck"));
        mp_put_list(out, (uint32_t)atomic_load(&receptor->stuck_count));
        for (struct receptor_key *key = receptor->stuck_oldest; key; key = key->stuck_newer)
            put_stuck(key, out);
    }
}

void receptor_meta_changed(struct receptors *receptors)
{
    atomic_store_explicit(&receptors->meta_wanted, true, memory_order_relaxed);
}

/* The writer's thread. */
static void meta_done(struct writer_meta *meta)
{
    struct receptors *receptors = meta->user;
    pthread_mutex_lock(&receptors->meta_lock);
    if (!meta->written) receptor_meta_changed(receptors);
    atomic_store(&receptors->meta_under_way, false);
    inbox_wake(&receptors->sender.answered);
    pthread_mutex_unlock(&receptors->meta_lock);
}

static void meta_put(struct receptors *receptors)
{
    struct writer_meta *meta = &receptors->meta;
    atomic_store(&receptors->meta_wanted, false);
    receptors->meta_put_ns = clock_monotonic_ns();
    if (fault_point(POINT_RECEPTOR_CHECKPOINT)) {
        receptor_meta_changed(receptors);
        return;
    }
    buf_clear(&meta->value);
    receptor_meta_write(receptors, &meta->value);
    meta->key = slice_of("receptors");
    meta->done = meta_done;
    meta->user = receptors;
    atomic_store(&receptors->meta_under_way, true);
    writer_put_meta(receptors->hub->writer, meta);
}

int receptor_meta_keep(struct receptors *receptors, int timeout_ms)
{
    if (!atomic_load(&receptors->meta_wanted) || atomic_load(&receptors->meta_under_way)) return timeout_ms;
    int64_t left_ms = META_EVERY_MS - (clock_monotonic_ns() - receptors->meta_put_ns) / 1000000;
    if (left_ms > 0) return timeout_ms < 0 || timeout_ms > left_ms ? (int)left_ms : timeout_ms;
    meta_put(receptors);
    return timeout_ms;
}

static void meta_wait(struct receptors *receptors)
{
    while (atomic_load(&receptors->meta_under_way)) inbox_take(&receptors->sender.answered, -1);
    pthread_mutex_lock(&receptors->meta_lock); /* until the writer has left what may be freed now */
    pthread_mutex_unlock(&receptors->meta_lock);
}

void receptor_meta_finish(struct receptors *receptors)
{
    meta_wait(receptors);
    if (atomic_load(&receptors->meta_wanted)) meta_put(receptors);
    meta_wait(receptors);
    buf_release(&receptors->meta.value);
}

/* --- reading --- */

static struct slice text_member(struct slice map, const char *name)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return SLICE_NONE;
    struct mp_reader reader = mp_reader_of(bytes);
    return mp_read(&reader, &value) == 0 && value.kind == MP_TEXT ? value.text : SLICE_NONE;
}

static uint64_t int_member(struct slice map, const char *name)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return 0;
    struct mp_reader reader = mp_reader_of(bytes);
    return mp_read(&reader, &value) == 0 && value.kind == MP_INT ? (uint64_t)value.integer : 0;
}

static struct receptor *meta_receptor(struct receptors *receptors, struct slice name)
{
    for (size_t at = 0; at < receptors->count; at++)
        if (slice_equal(receptors->receptors[at].name, name)) return &receptors->receptors[at];
    return NULL;
}

static int meta_load_stuck(struct receptor *receptor, struct slice stuck, bool forgive)
{
    struct stream_id stream = {text_member(stuck, "tenant"), text_member(stuck, "aggregate"),
                               text_member(stuck, "id")};
    uint64_t version = int_member(stuck, "version");
    if (!stream.tenant.size || !stream.aggregate.size || !stream.id.size || version == 0) return -1;
    struct receptor_key *key = receptor_key_get(receptor, &stream);
    key->position = int_member(stuck, "position");
    key->version = version;
    key->deploy = int_member(stuck, "deploy");
    receptor_key_load(key, forgive ? 0 : (unsigned)int_member(stuck, "attempts"),
                      text_member(stuck, "error"));
    return 0;
}

/* Other code is another chance for what is stuck. */
static int meta_load_one(struct receptors *receptors, struct slice item)
{
    struct receptor *receptor = meta_receptor(receptors, text_member(item, "name"));
    struct slice bytes, stuck;
    struct mp_value list;
    if (!mp_find(item, slice_of("stuck"), &bytes)) return -1;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST) return -1;
    if (!receptor) {
        buf_put_slice(&receptors->strangers, item);
        receptors->stranger_count++;
        return 0;
    }
    bool forgive = !slice_is(text_member(item, "code"), receptor->code);
    receptor->position = int_member(item, "position");
    receptor->is_known = true;
    for (uint32_t left = list.count; left; left--)
        if (mp_take(&reader, &stuck) < 0 || meta_load_stuck(receptor, stuck, forgive) < 0) return -1;
    return 0;
}

static int meta_load_all(struct receptors *receptors, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value list;
    struct slice item;
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST) return -1;
    for (uint32_t left = list.count; left; left--)
        if (mp_take(&reader, &item) < 0 || meta_load_one(receptors, item) < 0) return -1;
    return 0;
}

int receptor_meta_load(struct receptors *receptors, struct fault *fault)
{
    struct engine *engine = receptors->hub->engine;
    uint64_t head = engine_head(engine).position;
    struct buf value = {0};
    int found = engine_meta_get(engine, slice_of("receptors"), &value, fault);
    int done = found == 1 ? meta_load_all(receptors, buf_slice(&value)) : 0;
    buf_release(&value);
    if (found < 0) return -1;
    if (done < 0) return fault_set(fault, FAULT_CORRUPT, "the checkpoints of the receptors cannot be read");
    bool is_new = false;
    for (size_t at = 0; at < receptors->count; at++) {
        struct receptor *receptor = &receptors->receptors[at];
        if (!receptor->is_known) receptor->position = receptor->since_start ? 0 : head;
        if (receptor->position > head) receptor->position = head; /* the log was cut back */
        atomic_store(&receptor->checkpoint, receptor->position);  /* shown where nothing runs, too */
        is_new = is_new || !receptor->is_known;
    }
    if (!is_new || receptors->hub->read_only) return 0;
    buf_clear(&receptors->meta.value);
    receptor_meta_write(receptors, &receptors->meta.value);
    return writer_keep(receptors->hub->writer, slice_of("receptors"), buf_slice(&receptors->meta.value),
                       fault);
}

/* --- a log that is cut back --- */

/* Those up to the position, written as they were. */
static int meta_cut_stuck(struct slice list, uint64_t position, struct buf *out)
{
    struct mp_reader reader = mp_reader_of(list);
    struct mp_value head;
    struct slice stuck;
    struct buf kept = {0};
    uint32_t count = 0;
    int done = mp_read(&reader, &head) < 0 || head.kind != MP_LIST ? -1 : 0;
    for (uint32_t left = done < 0 ? 0 : head.count; left && done == 0; left--) {
        done = mp_take(&reader, &stuck);
        if (done < 0 || int_member(stuck, "position") > position) continue;
        buf_put_slice(&kept, stuck);
        count++;
    }
    mp_put_list(out, count);
    buf_put_slice(out, buf_slice(&kept));
    buf_release(&kept);
    return done;
}

static int meta_cut_one(const struct causes *causes, struct slice item, struct buf *out)
{
    struct slice name = text_member(item, "name"), stuck;
    uint64_t position = int_member(item, "position"), end = causes->cut->before.position;
    struct cause *cause = name.size ? map_find(&causes->senders, name) : NULL;
    if (cause && cause->position - 1 < end) end = cause->position - 1;
    if (position > end) position = end;
    if (!name.size || !mp_find(item, slice_of("stuck"), &stuck)) return -1;
    mp_put_map(out, 4);
    put_text_member(out, "code", text_member(item, "code"));
    put_text_member(out, "name", name);
    put_int_member(out, "position", position);
    mp_put_text(out, slice_of("stuck"));
    return meta_cut_stuck(stuck, end, out);
}

int receptor_meta_cut(const struct causes *causes, struct slice value, struct buf *out, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value list;
    struct slice item;
    int done = mp_read(&reader, &list) < 0 || list.kind != MP_LIST ? -1 : 0;
    if (done == 0) mp_put_list(out, list.count);
    for (uint32_t left = done < 0 ? 0 : list.count; left && done == 0; left--)
        if (mp_take(&reader, &item) < 0 || meta_cut_one(causes, item, out) < 0) done = -1;
    return done < 0 ? fault_set(fault, FAULT_CORRUPT, "the checkpoints of the receptors cannot be read") : 0;
}

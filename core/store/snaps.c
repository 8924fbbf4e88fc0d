/* Two databases. "snapshots": tenant 00 aggregate 00 id 00 code -> version and deploy (8 bytes each, little
 * endian), state, CRC-32 over key and the rest. The version's highest bit says that a deploy follows: without
 * it the snapshot is of a lore that kept none. "milestones": the same with the version behind the code (8
 * bytes, big endian, so they lie in order): a snapshot that was the newest before its stream went on into the
 * next SNAPS_MILESTONE versions. */
#include "store/snaps.h"

#include <pthread.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/environment.h"

static const uint64_t WITH_DEPLOY = 1ULL << 63;

enum { VERSION_SIZE = 8, DEPLOY_SIZE = 8, CRC_SIZE = 4, STREAM_CODES_MAX = 64 };

struct snaps {
    struct environment *environment; /* NULL: empty for ever (read only) */
    bool read_only;
    bool has_milestones; /* read only, of an earlier lore: there may be none */
    MDB_dbi snapshots, milestones;
    pthread_mutex_t writing; /* one writer of this process; LMDB's lock is bound to threads */
};

/* The part of the key that names the stream; false if no snapshot can have it. */
static bool stream_key(struct buf *key, const struct stream_id *stream)
{
    if (stream->tenant.size > LIMIT_TENANT_SIZE_MAX || stream->aggregate.size > 2 * LIMIT_NAME_SIZE_MAX + 1 ||
        stream->id.size > LIMIT_ID_SIZE_MAX)
        return false;
    const struct slice parts[] = {stream->tenant, stream->aggregate, stream->id};
    for (int i = 0; i < 3; i++) {
        if (parts[i].size > 0 && memchr(parts[i].data, 0, parts[i].size)) return false;
        buf_put_slice(key, parts[i]);
        buf_put_byte(key, 0);
    }
    return true;
}

static uint32_t value_crc(struct slice key, struct slice inside)
{
    return hash_crc32(inside) ^ (hash_crc32(key) * 0x9e3779b1u);
}

static void little_put(struct buf *out, uint64_t value, int size)
{
    for (int i = 0; i < size; i++) buf_put_byte(out, (uint8_t)(value >> 8 * i));
}

static uint64_t little_get(const char *bytes, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint64_t)(uint8_t)bytes[i] << 8 * i;
    return value;
}

static bool value_open(MDB_val key, MDB_val value, uint64_t *version, struct slice *state)
{
    if (value.mv_size < VERSION_SIZE + CRC_SIZE) return false;
    struct slice inside = slice_make(value.mv_data, value.mv_size - CRC_SIZE);
    uint64_t crc = little_get(inside.data + inside.size, CRC_SIZE);
    if (crc != value_crc(slice_make(key.mv_data, key.mv_size), inside)) return false;
    uint64_t first = little_get(inside.data, VERSION_SIZE);
    size_t before = VERSION_SIZE + (first & WITH_DEPLOY ? DEPLOY_SIZE : 0);
    if (inside.size < before) return false;
    *version = first & ~WITH_DEPLOY;
    *state = slice_make(inside.data + before, inside.size - before);
    return true;
}

/* Of a value that is whole. */
static uint64_t value_deploy(MDB_val value)
{
    const char *bytes = value.mv_data;
    return little_get(bytes, VERSION_SIZE) & WITH_DEPLOY ? little_get(bytes + VERSION_SIZE, DEPLOY_SIZE) : 0;
}

/* --- open and close --- */

static int open_database(struct snaps *snaps, struct fault *fault)
{
    MDB_txn *txn;
    int code =
        mdb_txn_begin(environment_mdb(snaps->environment), NULL, snaps->read_only ? MDB_RDONLY : 0, &txn);
    if (!code) {
        unsigned int flags = snaps->read_only ? 0 : MDB_CREATE;
        code = mdb_dbi_open(txn, "snapshots", flags, &snaps->snapshots);
        int second = code ? code : mdb_dbi_open(txn, "milestones", flags, &snaps->milestones);
        snaps->has_milestones = second == 0;
        if (second != MDB_NOTFOUND) code = second;
        if (code)
            mdb_txn_abort(txn);
        else
            code = mdb_txn_commit(txn);
    }
    return code ? environment_fault(snaps->environment, code, "cannot open", fault) : 0;
}

static int open_inside(struct snaps *snaps, const char *path, struct fault *fault)
{
    struct environment_options options = {.path = path, .read_only = snaps->read_only, .databases_max = 2};
    bool dirty = false;
    struct fault inside;
    if (environment_open(&options, &snaps->environment, &dirty, &inside) < 0) {
        snaps->environment = NULL;
        if (snaps->read_only && inside.code == FAULT_NOT_FOUND) return 0;
        *fault = inside;
        return -1;
    }
    if (dirty) {
        environment_close(snaps->environment);
        snaps->environment = NULL;
        if (snaps->read_only) return 0;
        say_info("%s: dropped, the machine stopped while it was written", path);
        if (environment_destroy(path, fault) < 0) return -1;
        if (environment_open(&options, &snaps->environment, &dirty, fault) < 0) {
            snaps->environment = NULL;
            return -1;
        }
        CHECK(!dirty);
    }
    return open_database(snaps, fault);
}

int snaps_open(const char *path, bool read_only, struct snaps **snaps, struct fault *fault)
{
    struct snaps *made = MEM_NEW(struct snaps);
    made->read_only = read_only;
    struct fault inside;
    int result = open_inside(made, path, &inside);
    if (result < 0 && inside.code == FAULT_CORRUPT && !read_only) {
        /* Derived: rather none than none for ever. */
        say_warn("%s: dropped: %s", path, inside.text);
        if (made->environment) environment_close(made->environment);
        made->environment = NULL;
        result = environment_destroy(path, &inside);
        if (result == 0) result = open_inside(made, path, &inside);
    }
    if (result < 0) {
        if (made->environment) environment_close(made->environment);
        mem_free(made);
        if (fault) *fault = inside;
        return -1;
    }
    pthread_mutex_init(&made->writing, NULL);
    *snaps = made;
    return 0;
}

void snaps_close(struct snaps *snaps)
{
    if (!snaps) return;
    if (snaps->environment) environment_close(snaps->environment);
    pthread_mutex_destroy(&snaps->writing);
    mem_free(snaps);
}

/* --- writing; these return an MDB code --- */

static void milestone_key(struct buf *key, struct slice snapshot_key, uint64_t version)
{
    buf_clear(key);
    buf_put_slice(key, snapshot_key);
    for (int i = 7; i >= 0; i--) buf_put_byte(key, (uint8_t)(version >> 8 * i));
}

static void value_put(struct buf *out, struct slice key, uint64_t version, uint64_t deploy,
                      struct slice state)
{
    buf_clear(out);
    little_put(out, version | WITH_DEPLOY, VERSION_SIZE);
    little_put(out, deploy, DEPLOY_SIZE);
    buf_put_slice(out, state);
    little_put(out, value_crc(key, buf_slice(out)), CRC_SIZE);
}

/* The snapshot that is about to be replaced stays, as what a past version is folded from. */
static int keep_milestone(struct snaps *snaps, MDB_txn *txn, struct slice snapshot_key, uint64_t version,
                          uint64_t deploy, struct slice state)
{
    struct buf key = {0}, value = {0};
    milestone_key(&key, snapshot_key, version);
    value_put(&value, buf_slice(&key), version, deploy, state);
    MDB_val at = {key.size, key.data}, what = {value.size, value.data};
    int code = mdb_put(txn, snaps->milestones, &at, &what, 0);
    buf_release(&key);
    buf_release(&value);
    return code;
}

static int remove_milestones(struct snaps *snaps, MDB_txn *txn, struct slice snapshot_key)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, snaps->milestones, &cursor);
    if (code) return code;
    for (;;) {
        MDB_val key = {snapshot_key.size, (void *)(uintptr_t)snapshot_key.data}, value;
        code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (code || key.mv_size != snapshot_key.size + VERSION_SIZE ||
            memcmp(key.mv_data, snapshot_key.data, snapshot_key.size) != 0)
            break;
        if ((code = mdb_cursor_del(cursor, 0)) != 0) break;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Removes the oldest of a stream's snapshots until no more than SNAPS_CODES_MAX are left. `kept` stays. */
static int prune(struct snaps *snaps, MDB_txn *txn, struct slice prefix, struct slice kept)
{
    struct {
        uint64_t version;
        char code[HASH_SIZE];
    } others[STREAM_CODES_MAX];
    size_t count = 0;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, snaps->snapshots, &cursor);
    if (code) return code;
    MDB_val key = {prefix.size, (void *)(uintptr_t)prefix.data}, value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0 && count < STREAM_CODES_MAX; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (key.mv_size != kept.size || memcmp(key.mv_data, prefix.data, prefix.size) != 0) break;
        if (memcmp(key.mv_data, kept.data, kept.size) == 0) continue;
        struct slice state;
        if (!value_open(key, value, &others[count].version, &state)) others[count].version = 0;
        memcpy(others[count++].code, (const char *)key.mv_data + prefix.size, HASH_SIZE);
    }
    mdb_cursor_close(cursor);
    if (code && code != MDB_NOTFOUND) return code;
    struct buf gone = {0};
    for (code = 0; code == 0 && count >= SNAPS_CODES_MAX; count--) {
        size_t oldest = 0;
        for (size_t i = 1; i < count; i++)
            if (others[i].version < others[oldest].version) oldest = i;
        buf_clear(&gone);
        buf_put_slice(&gone, prefix);
        buf_put(&gone, others[oldest].code, HASH_SIZE);
        MDB_val gone_key = {gone.size, gone.data};
        code = mdb_del(txn, snaps->snapshots, &gone_key, NULL);
        if (code == 0) code = remove_milestones(snaps, txn, buf_slice(&gone));
        others[oldest] = others[count - 1];
    }
    buf_release(&gone);
    return code;
}

static int put_one(struct snaps *snaps, MDB_txn *txn, const struct snapshot *snapshot, struct buf *key_bytes,
                   struct buf *value_bytes)
{
    buf_clear(key_bytes);
    if (!stream_key(key_bytes, &snapshot->stream)) return 0;
    size_t prefix_size = key_bytes->size;
    buf_put(key_bytes, snapshot->code.bytes, HASH_SIZE);
    MDB_val key = {key_bytes->size, key_bytes->data}, value;
    int code = mdb_get(txn, snaps->snapshots, &key, &value);
    if (code && code != MDB_NOTFOUND) return code;
    bool found = code == 0;
    uint64_t version;
    struct slice state;
    if (found && value_open(key, value, &version, &state)) {
        if (version > snapshot->version) return 0;
        if (version / SNAPS_MILESTONE != snapshot->version / SNAPS_MILESTONE &&
            (code = keep_milestone(snaps, txn, buf_slice(key_bytes), version, value_deploy(value), state)) !=
                0)
            return code;
    }
    value_put(value_bytes, buf_slice(key_bytes), snapshot->version, snapshot->deploy, snapshot->state);
    value = (MDB_val){value_bytes->size, value_bytes->data};
    code = mdb_put(txn, snaps->snapshots, &key, &value, 0);
    if (code || found) return code;
    return prune(snaps, txn, slice_make(key_bytes->data, prefix_size), buf_slice(key_bytes));
}

static int put_inside(struct snaps *snaps, const struct snapshot *batch, size_t count, struct fault *fault)
{
    MDB_txn *txn;
    if (environment_write(snaps->environment, &txn, fault) < 0) return -1;
    struct buf key = {0}, value = {0};
    int code = 0;
    for (size_t i = 0; i < count && code == 0; i++) code = put_one(snaps, txn, &batch[i], &key, &value);
    buf_release(&key);
    buf_release(&value);
    if (code == 0) code = fault_point(POINT_SNAPSHOTS_WRITE);
    if (code == 0) return environment_commit(snaps->environment, txn);
    environment_abort(snaps->environment, txn);
    return code;
}

int snaps_put(struct snaps *snaps, const struct snapshot *batch, size_t count, struct fault *fault)
{
    CHECK(!snaps->read_only);
    if (count == 0) return 0;
    pthread_mutex_lock(&snaps->writing);
    int code;
    while ((code = put_inside(snaps, batch, count, fault)) == MDB_MAP_FULL)
        if ((code = environment_grow(snaps->environment, fault)) < 0) break;
    pthread_mutex_unlock(&snaps->writing);
    /* -1: the fault is filled. No MDB code and no errno is -1. */
    if (code != 0 && code != -1) return environment_fault(snaps->environment, code, "cannot write", fault);
    return code;
}

/* Removes a damaged snapshot, if it still is. What goes wrong here changes nothing: it stays ignored. */
static void drop_damaged(struct snaps *snaps, MDB_dbi database, MDB_val key)
{
    MDB_txn *txn;
    struct fault fault;
    pthread_mutex_lock(&snaps->writing);
    if (environment_write(snaps->environment, &txn, &fault) == 0) {
        MDB_val value;
        uint64_t version;
        struct slice state;
        if (mdb_get(txn, database, &key, &value) == 0 && !value_open(key, value, &version, &state) &&
            mdb_del(txn, database, &key, NULL) == 0)
            environment_commit(snaps->environment, txn);
        else
            environment_abort(snaps->environment, txn);
    }
    pthread_mutex_unlock(&snaps->writing);
    say_warn("%s: a damaged snapshot is ignored", environment_path(snaps->environment));
}

/* --- reading --- */

static int get_inside(struct snaps *snaps, MDB_val key, uint64_t *version, struct buf *state,
                      struct fault *fault)
{
    MDB_txn *txn;
    if (environment_read(snaps->environment, &txn, fault) < 0) return -1;
    MDB_val value;
    struct slice found;
    int code = mdb_get(txn, snaps->snapshots, &key, &value);
    bool good = code == 0 && value_open(key, value, version, &found);
    if (good) buf_put_slice(state, found);
    environment_read_end(snaps->environment, txn);
    if (good) return 1;
    if (code == 0 && !snaps->read_only) drop_damaged(snaps, snaps->snapshots, key);
    if (code == 0 || code == MDB_NOTFOUND) return 0;
    return environment_fault(snaps->environment, code, "cannot read", fault);
}

int snaps_get(struct snaps *snaps, const struct stream_id *stream, const struct hash *code, uint64_t *version,
              struct buf *state, struct fault *fault)
{
    if (!snaps->environment) return 0;
    struct buf key = {0};
    int result = 0;
    if (stream_key(&key, stream)) {
        buf_put(&key, code->bytes, HASH_SIZE);
        result = get_inside(snaps, (MDB_val){key.size, key.data}, version, state, fault);
    }
    buf_release(&key);
    return result;
}

int snaps_deploy(struct snaps *snaps, const struct stream_id *stream, const struct hash *code,
                 uint64_t *deploy, struct fault *fault)
{
    struct buf bytes = {0};
    MDB_txn *txn;
    int result = 0;
    if (!snaps->environment || !stream_key(&bytes, stream)) goto end;
    buf_put(&bytes, code->bytes, HASH_SIZE);
    if ((result = environment_read(snaps->environment, &txn, fault)) < 0) goto end;
    MDB_val key = {bytes.size, bytes.data}, value;
    uint64_t version;
    struct slice state;
    int found = mdb_get(txn, snaps->snapshots, &key, &value);
    if (found == 0 && value_open(key, value, &version, &state)) {
        *deploy = value_deploy(value);
        result = 1;
    }
    environment_read_end(snaps->environment, txn);
    if (found && found != MDB_NOTFOUND)
        result = environment_fault(snaps->environment, found, "cannot read", fault);
end:
    buf_release(&bytes);
    return result;
}

/* The last milestone up to the version; *damaged is its key if it is no good. */
static int find_milestone(struct snaps *snaps, MDB_txn *txn, struct slice snapshot_key, uint64_t version_max,
                          uint64_t *version, struct buf *state, struct buf *damaged, struct fault *fault)
{
    MDB_cursor *cursor;
    struct buf bound = {0};
    struct slice found;
    int code = mdb_cursor_open(txn, snaps->milestones, &cursor);
    if (code) return environment_fault(snaps->environment, code, "cannot read", fault);
    milestone_key(&bound, snapshot_key, version_max + 1);
    MDB_val key = {bound.size, bound.data}, value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (code == 0 || code == MDB_NOTFOUND)
        code = mdb_cursor_get(cursor, &key, &value, code ? MDB_LAST : MDB_PREV);
    bool is_there = code == 0 && key.mv_size == bound.size &&
                    memcmp(key.mv_data, snapshot_key.data, snapshot_key.size) == 0;
    bool good = is_there && value_open(key, value, version, &found);
    if (good)
        buf_put_slice(state, found);
    else if (is_there)
        buf_put(damaged, key.mv_data, key.mv_size);
    mdb_cursor_close(cursor);
    buf_release(&bound);
    if (good) return 1;
    if (code == 0 || code == MDB_NOTFOUND) return 0;
    return environment_fault(snaps->environment, code, "cannot read", fault);
}

int snaps_get_before(struct snaps *snaps, const struct stream_id *stream, const struct hash *code,
                     uint64_t version_max, uint64_t *version, struct buf *state, struct fault *fault)
{
    MDB_txn *txn;
    if (!snaps->environment || !snaps->has_milestones || version_max == UINT64_MAX) return 0;
    struct buf key = {0}, damaged = {0};
    int result = 0;
    if (stream_key(&key, stream)) {
        buf_put(&key, code->bytes, HASH_SIZE);
        result = environment_read(snaps->environment, &txn, fault);
        if (result == 0) {
            result =
                find_milestone(snaps, txn, buf_slice(&key), version_max, version, state, &damaged, fault);
            environment_read_end(snaps->environment, txn);
        }
    }
    if (damaged.size && !snaps->read_only)
        drop_damaged(snaps, snaps->milestones, (MDB_val){damaged.size, damaged.data});
    buf_release(&key);
    buf_release(&damaged);
    return result;
}

static int check_database(struct snaps *snaps, MDB_txn *txn, MDB_dbi database, uint64_t *snapshots,
                          struct fault *fault)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int result = 0, code = mdb_cursor_open(txn, database, &cursor);
    if (code) return environment_fault(snaps->environment, code, "cannot read", fault);
    while (result == 0 && (code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint64_t version;
        struct slice state;
        if (!value_open(key, value, &version, &state))
            result = fault_set(fault, FAULT_CORRUPT, "%s: snapshot %llu is not what was written (checksum)",
                               environment_path(snaps->environment), (unsigned long long)*snapshots + 1);
        ++*snapshots;
    }
    mdb_cursor_close(cursor);
    if (result == 0 && code && code != MDB_NOTFOUND)
        return environment_fault(snaps->environment, code, "cannot read", fault);
    return result;
}

int snaps_check(struct snaps *snaps, uint64_t *snapshots, struct fault *fault)
{
    *snapshots = 0;
    if (!snaps->environment) return 0;
    MDB_txn *txn;
    if (environment_read(snaps->environment, &txn, fault) < 0) return -1;
    int result = check_database(snaps, txn, snaps->snapshots, snapshots, fault);
    if (result == 0 && snaps->has_milestones)
        result = check_database(snaps, txn, snaps->milestones, snapshots, fault);
    environment_read_end(snaps->environment, txn);
    return result;
}

/* The log, LMDB and journal: each record by itself, their order and chains, names, meta values, both head
 * slots. */
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/epochs.h"
#include "store/pages.h"
#include "store/verify_inside.h"

/* --- which version each stream is at; streams are told apart by 128 bits of hash, so memory stays small ---
 */

struct version_entry {
    uint64_t hash[2], version; /* version 0: empty */
};

struct versions {
    struct version_entry *entries;
    size_t count, max;
};

static struct version_entry *versions_slot(struct version_entry *entries, size_t max, const uint64_t hash[2])
{
    size_t at = (size_t)hash[0] & (max - 1);
    while (entries[at].version && (entries[at].hash[0] != hash[0] || entries[at].hash[1] != hash[1]))
        at = (at + 1) & (max - 1);
    return &entries[at];
}

static struct version_entry *versions_find(struct versions *versions, struct slice key)
{
    uint64_t hash[2] = {hash_fast(key, 1), hash_fast(key, 2)};
    if (versions->count * 4 >= versions->max * 3) {
        size_t max = versions->max ? versions->max * 2 : 4096;
        struct version_entry *entries = mem_zero(max * sizeof *entries);
        for (size_t at = 0; at < versions->max; at++)
            if (versions->entries[at].version)
                *versions_slot(entries, max, versions->entries[at].hash) = versions->entries[at];
        mem_free(versions->entries);
        versions->entries = entries;
        versions->max = max;
    }
    struct version_entry *entry = versions_slot(versions->entries, versions->max, hash);
    memcpy(entry->hash, hash, sizeof hash);
    return entry;
}

/* --- the walk --- */

struct walk {
    const struct verify_part *part;
    struct engine_lmdb *lmdb;
    struct log_view view;
    struct verify_report counts;
    uint64_t stored[LOG_TAIL_LISTS]; /* records that are in LMDB */
    uint32_t names_stored;           /* names that those define */
    struct versions versions;
    uint64_t position_max; /* of the log, as its last key says: for the progress */
    struct hash chain;
    int64_t recorded_ms;
    uint64_t epoch;
    uint64_t epoch_end;     /* behind it a later one has begun */
    struct buf epochs;      /* where each began */
    uint8_t *names_defined; /* one byte a name */
    uint32_t names_count;   /* in the database of names and in the journal */
    struct head_slot slots[HEAD_SLOTS];
    struct hash slot_chains[HEAD_SLOTS][2];
    bool slot_met[HEAD_SLOTS][2]; /* its commit, its outcome */
};

static int check_stream(struct walk *walk, const struct record *record, struct fault *fault)
{
    char key[INDEX_KEY_SIZE_MAX];
    if (record->kind == RECORD_ERASED) return 0;
    if (record->id.size == 0 || record->id.size > LIMIT_ID_SIZE_MAX || !record->tenant || !record->aggregate)
        return fault_set(fault, FAULT_CORRUPT, "its stream has no name");
    struct version_entry *entry = versions_find(
        &walk->versions, slice_make(key, index_key(record->tenant, record->aggregate, record->id, key)));
    if (record->first_version != entry->version + 1)
        return fault_set(fault, FAULT_CORRUPT, "version %llu of stream %.*s follows version %llu",
                         (unsigned long long)record->first_version, SLICE_ARGS(record->id),
                         (unsigned long long)entry->version);
    if (entry->version == 0) walk->versions.count++, walk->counts.streams++;
    entry->version += record->event_count;
    return 0;
}

static int check_names(struct walk *walk, const struct record *record, struct fault *fault)
{
    struct record_define define = {0};
    while (record_next_define(record, &define)) {
        if (define.id > walk->names_count || walk->names_defined[define.id])
            return fault_set(fault, FAULT_CORRUPT,
                             "it defines name %u, which is not in the table of names or defined twice",
                             define.id);
        walk->names_defined[define.id] = 1;
    }
    return 0;
}

static void meet_slots(struct walk *walk, bool outcomes, uint64_t end)
{
    for (int at = 0; at < HEAD_SLOTS; at++) {
        if ((outcomes ? walk->slots[at].outcomes : walk->slots[at].position) != end) continue;
        walk->slot_chains[at][outcomes] = walk->chain;
        walk->slot_met[at][outcomes] = true;
    }
}

static int check_record(struct walk *walk, struct slice bytes, uint64_t number, bool outcomes,
                        struct record *record, struct fault *fault)
{
    if (record_open(bytes, walk->lmdb->engine.names, record, fault) < 0) return -1;
    if (record_check(record, &walk->chain, fault) < 0 || check_names(walk, record, fault) < 0) return -1;
    bool positioned =
        engine_has_position(record->kind) || (record->kind == RECORD_ERASED && record->event_count);
    if (positioned == outcomes)
        return fault_set(fault, FAULT_CORRUPT, "a record of kind %d", (int)record->kind);
    if (record->recorded_ms < walk->recorded_ms) return fault_set(fault, FAULT_CORRUPT, "its time goes back");
    if (record->epoch < walk->epoch) return fault_set(fault, FAULT_CORRUPT, "its epoch goes back");
    if (!outcomes && record->first_position != number)
        return fault_set(fault, FAULT_CORRUPT, "it says position %llu",
                         (unsigned long long)record->first_position);
    if (!outcomes && check_stream(walk, record, fault) < 0) return -1;
    if (record->epoch != walk->epoch)
        walk->epoch_end = epochs_kept_of(buf_slice(&walk->epochs), record->epoch);
    if (!outcomes && number > walk->epoch_end)
        return fault_set(fault, FAULT_CORRUPT, "it is of epoch %llu, which ends at position %llu",
                         (unsigned long long)record->epoch, (unsigned long long)walk->epoch_end);
    walk->chain = record->chain;
    walk->recorded_ms = record->recorded_ms;
    walk->epoch = record->epoch;
    return 0;
}

static void count_stored(struct walk *walk, size_t db, const struct record *record)
{
    struct record_define define = {0};
    walk->stored[db]++;
    while (record_next_define(record, &define)) walk->names_stored++;
}

/* Walks the records of a database and those that the journal has behind it; false: something was found. */
static bool walk_records(struct walk *walk, bool outcomes)
{
    const char *what = outcomes ? "outcome" : "position";
    struct fault fault = {0};
    struct record record;
    struct log_scan scan;
    struct slice bytes;
    size_t db = outcomes ? LOG_DB_OUTCOMES : LOG_DB_COMMITS;
    uint64_t next = 1, records = 0, number;
    walk->chain = (struct hash){0};
    walk->recorded_ms = INT64_MIN;
    walk->epoch = 0;
    walk->epoch_end = UINT64_MAX;
    meet_slots(walk, outcomes, 0);
    int more = log_scan_open(&scan, &walk->view, db, 0, &fault);
    while (more >= 0 && (more = log_scan_next(&scan, &number, &bytes, &fault)) > 0) {
        if (number != next) {
            more = fault_set(&fault, FAULT_CORRUPT, "%s %llu is missing: %llu follows", what,
                             (unsigned long long)next, (unsigned long long)number);
            break;
        }
        struct fault inner = {0};
        if (check_record(walk, bytes, number, outcomes, &record, &inner) < 0) {
            more =
                fault_set(&fault, FAULT_CORRUPT, "%s %llu: %s", what, (unsigned long long)next, inner.text);
            break;
        }
        next += outcomes ? 1 : record.event_count;
        meet_slots(walk, outcomes, next - 1);
        if (++records % 1000 == 0)
            verify_progress(walk->part, outcomes ? walk->counts.events : next - 1, walk->position_max);
        if (!scan.in_tail) count_stored(walk, db, &record);
        if (outcomes)
            walk->counts.outcomes++;
        else
            walk->counts.commits++, walk->counts.events += record.event_count;
    }
    log_scan_close(&scan);
    if (more < 0) verify_find(walk->part, outcomes ? 0 : next, "log: %s", fault.text);
    return more == 0;
}

static void check_count(struct walk *walk, size_t db, const char *name, uint64_t count)
{
    MDB_stat stat;
    int code = mdb_stat(walk->view.read->txn, lmdb_env_db(walk->lmdb->log, db), &stat);
    if (code)
        verify_find(walk->part, 0, "log: %s: %s", name, mdb_strerror(code));
    else if (stat.ms_entries != count)
        verify_find(walk->part, 0, "log: database %s says %zu entries and has %llu", name, stat.ms_entries,
                    (unsigned long long)count);
}

static void check_name_table(struct walk *walk)
{
    check_count(walk, LOG_DB_NAMES, "names", walk->names_stored);
    for (uint32_t name = 1; name <= walk->names_count; name++)
        if (!walk->names_defined[name]) {
            verify_find(walk->part, 0, "log: name %u was defined by no record", name);
            return;
        }
}

/* A log is made before its first answer, log/head last: what was killed before has nothing to lose. */
static bool was_made(const struct walk *walk, bool head_found)
{
    return head_found || walk->counts.commits || walk->counts.outcomes;
}

static void check_meta(struct walk *walk, bool head_found)
{
    MDB_val key, value;
    MDB_cursor *cursor = lmdb_env_cursor(walk->view.read, LOG_DB_META);
    uint64_t count = 0;
    bool log_id = false;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint32_t crc = 0;
        struct slice name = lmdb_slice(key), stored = lmdb_slice(value);
        count++;
        if (stored.size >= 4) memcpy(&crc, stored.data, 4);
        if (stored.size < 4 ||
            crc != engine_lmdb_meta_crc(name, slice_make(stored.data + 4, stored.size - 4))) {
            verify_find(walk->part, 0, "log: the value %.*s is damaged", SLICE_ARGS(name));
            return;
        }
        if (slice_is(name, "log_id")) log_id = stored.size == 4 + 36;
    }
    if (code != MDB_NOTFOUND) verify_find(walk->part, 0, "log: meta: %s", mdb_strerror(code));
    if (!log_id && was_made(walk, head_found)) verify_find(walk->part, 0, "log: it has no log_id");
    check_count(walk, LOG_DB_META, "meta", count);
}

static void check_slots(struct walk *walk, bool found)
{
    if (!found) {
        if (was_made(walk, found))
            verify_find(walk->part, 0, "log/head is missing: whether the log lost its end cannot be told");
        return;
    }
    for (int at = 0; at < HEAD_SLOTS; at++) {
        const struct head_slot *slot = &walk->slots[at];
        struct hash digest = head_digest(&walk->slot_chains[at][0], &walk->slot_chains[at][1]);
        if (!slot->valid)
            verify_find(walk->part, 0, "log/head: slot %d is damaged", at);
        else if (slot->position > walk->counts.events || slot->outcomes > walk->counts.outcomes)
            verify_find(walk->part, walk->counts.events + 1,
                        "log: its end is lost: position %llu and %llu outcomes were recorded, it ends at "
                        "%llu and %llu",
                        (unsigned long long)slot->position, (unsigned long long)slot->outcomes,
                        (unsigned long long)walk->counts.events, (unsigned long long)walk->counts.outcomes);
        else if (!walk->slot_met[at][0] || !walk->slot_met[at][1] || !hash_equal(&digest, &slot->digest))
            verify_find(walk->part, slot->position, "log: position %llu is not what log/head recorded",
                        (unsigned long long)slot->position);
    }
}

/* --- opening --- */

int verify_open_log(const struct verify_part *part, struct engine_lmdb *lmdb, struct log_view *view,
                    struct fault *fault)
{
    char path[4096];
    struct lmdb_env_options options = {.path = path,
                                       .read_only = true,
                                       .db_count = 4,
                                       .db_names = {"commits", "outcomes", "names", "meta"},
                                       .db_flags = {MDB_INTEGERKEY, MDB_INTEGERKEY, MDB_INTEGERKEY, 0}};
    snprintf(path, sizeof path, "%s/log", part->path);
    *lmdb = (struct engine_lmdb){.path = mem_text(part->path, strlen(part->path)), .read_only = true};
    *view = (struct log_view){0};
    engine_lmdb_locks_init(lmdb);
    lmdb->engine.names = names_new();
    if (lmdb_env_open(&options, &lmdb->log, fault) < 0 || engine_lmdb_view(lmdb, view, fault) < 0) {
        verify_close_log(lmdb, view);
        return -1;
    }
    return 0;
}

void verify_close_log(struct engine_lmdb *lmdb, struct log_view *view)
{
    log_view_close(view);
    log_tail_drop(lmdb->frozen);
    log_tail_drop(lmdb->active);
    lmdb_env_close(lmdb->log);
    names_free(lmdb->engine.names);
    engine_lmdb_locks_destroy(lmdb);
    mem_free(lmdb->path);
}

static void run_walk(struct walk *walk, bool head_found)
{
    walk->names_count = names_count(walk->lmdb->engine.names);
    walk->names_defined = mem_zero((size_t)walk->names_count + 1);
    walk->position_max = walk->lmdb->head.position;
    struct fault fault = {0};
    if (engine_lmdb_meta_read(walk->lmdb, walk->view.read, slice_of("epochs"), &walk->epochs, &fault) < 0)
        verify_find(walk->part, 0, "%s", fault.text);
    /* What builds on a part that is damaged would only repeat its finding. */
    bool commits = walk_records(walk, false);
    if (commits) check_count(walk, LOG_DB_COMMITS, "commits", walk->stored[LOG_DB_COMMITS]);
    walk->counts.head_position = walk->counts.events;
    bool outcomes = walk_records(walk, true);
    if (outcomes) check_count(walk, LOG_DB_OUTCOMES, "outcomes", walk->stored[LOG_DB_OUTCOMES]);
    if (commits && outcomes) {
        check_name_table(walk);
        check_slots(walk, head_found);
    }
    check_meta(walk, head_found);
    buf_release(&walk->epochs);
    mem_free(walk->names_defined);
    mem_free(walk->versions.entries);
}

/* Whether LMDB has made its databases; a log is begun anew by the next start before that. */
static bool has_databases(const struct verify_part *part)
{
    char path[4096], file[4200];
    struct pages_report report;
    snprintf(path, sizeof path, "%s/log", part->path);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    return verify_has_begun(path) && (pages_check(file, &report, NULL) < 0 || !report.ok || report.reachable);
}

void verify_log(const struct verify_part *part)
{
    struct walk *walk = MEM_NEW(struct walk);
    struct engine_lmdb lmdb;
    struct fault fault = {0};
    struct verify_message done = {.kind = VERIFY_DONE};
    char file[4096];
    bool head_found = false;
    snprintf(file, sizeof file, "%s/log/head", part->path);
    walk->part = part;
    walk->lmdb = &lmdb;
    /* The slots before the log: beside a running hub it can only be ahead of them. */
    if (head_read(file, walk->slots, &head_found, &fault) < 0) verify_find(part, 0, "%s", fault.text);
    if (verify_open_log(part, &lmdb, &walk->view, &fault) < 0) {
        if (head_found || has_databases(part)) verify_find(part, 1, "log: %s", fault.text);
    } else {
        run_walk(walk, head_found);
        verify_close_log(&lmdb, &walk->view);
    }
    done.counts = walk->counts;
    mem_free(walk);
    verify_say(part, &done);
}

/* --- pages --- */

/* Tells what is wrong with the pages of a file, if it still is while `again` holds a snapshot. */
static void check_pages(const struct verify_part *part, const char *name,
                        bool (*pin)(const struct verify_part *part, struct pages_report *report))
{
    char file[4096];
    struct pages_report report;
    struct fault fault = {0};
    snprintf(file, sizeof file, "%s/%s", part->path, name);
    if (pages_check(file, &report, &fault) < 0) {
        if (fault.code != FAULT_NOT_FOUND) verify_find(part, 0, "%s: %s", name, fault.text);
        return;
    }
    /* A process that writes may have changed pages under the walk: once more, held still. */
    if (!report.ok && pin(part, &report)) verify_find(part, 0, "%s: %s", name, report.damage);
}

static bool pin_log(const struct verify_part *part, struct pages_report *report)
{
    struct engine_lmdb lmdb;
    struct log_view view;
    char file[4096];
    snprintf(file, sizeof file, "%s/log/data.mdb", part->path);
    if (verify_open_log(part, &lmdb, &view, NULL) < 0) return true;
    pages_check(file, report, NULL);
    verify_close_log(&lmdb, &view);
    return !report->ok;
}

static bool pin_index(const struct verify_part *part, struct pages_report *report)
{
    char path[4096], file[4200];
    struct lmdb_env *env;
    struct lmdb_env_read *read;
    struct lmdb_env_options options = {
        .path = path, .read_only = true, .derived = true, .db_count = 1, .db_names = {"meta"}};
    snprintf(path, sizeof path, "%s/index", part->path);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    if (lmdb_env_open(&options, &env, NULL) < 0) return true;
    if (lmdb_env_begin(env, &read, NULL) == 0) {
        pages_check(file, report, NULL);
        lmdb_env_end(read);
    }
    lmdb_env_close(env);
    return !report->ok;
}

void verify_log_pages(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    char path[4096], head[4200];
    snprintf(path, sizeof path, "%s/log", part->path);
    snprintf(head, sizeof head, "%s/head", path);
    if (verify_has_begun(path) || access(head, F_OK) == 0) check_pages(part, "log/data.mdb", pin_log);
    verify_say(part, &done);
}

void verify_index_pages(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    char path[4096];
    snprintf(path, sizeof path, "%s/index", part->path);
    if (verify_has_begun(path)) check_pages(part, "index/data.mdb", pin_index);
    verify_say(part, &done);
}

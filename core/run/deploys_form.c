/* The values as bytes: MessagePack maps, keys in byte order, hashes as hex digits. */
#include <inttypes.h>
#include <stdio.h>

#include "codec/mp.h"
#include "run/deploys_inside.h"

static const char *const why_names[] = {"deploy", "undeploy", "start", "rollback"};
static const char *const state_names[] = {"running", "superseded", "undone"};
enum { WHY_COUNT = sizeof why_names / sizeof *why_names };

const char *deploys_why_name(enum deploy_why why)
{
    return why_names[why];
}

const char *deploys_state_name(enum deploy_state state)
{
    return state_names[state];
}

void deploys_key(const char *kind, uint64_t number, char key[DEPLOYS_KEY_SIZE])
{
    snprintf(key, DEPLOYS_KEY_SIZE, "%s/%" PRIu64, kind, number);
}

void deploys_source_key(const struct hash *hash, char key[DEPLOYS_KEY_SIZE])
{
    char hex[2 * HASH_SIZE + 1];
    hash_hex(hash, hex);
    snprintf(key, DEPLOYS_KEY_SIZE, "source/%s", hex);
}

/* --- writing --- */

static void put_text(struct buf *out, const char *name, struct slice text)
{
    mp_put_text(out, slice_of(name));
    mp_put_text(out, text);
}

static void put_int(struct buf *out, const char *name, int64_t value)
{
    mp_put_text(out, slice_of(name));
    mp_put_int(out, value);
}

static void put_hash(struct buf *out, const char *name, const struct hash *hash)
{
    char hex[2 * HASH_SIZE + 1];
    hash_hex(hash, hex);
    put_text(out, name, slice_of(hex));
}

void deploys_put_record(const struct deploy_record *record, struct buf *out)
{
    char hex[2 * HASH_SIZE + 1];
    mp_put_map(out, 13);
    put_text(out, "actor", record->actor);
    put_int(out, "at_ms", record->at_ms);
    put_int(out, "before", (int64_t)record->before);
    put_hash(out, "digest", &record->digest);
    put_text(out, "folder", record->folder);
    mp_put_text(out, slice_of("forced"));
    mp_put_bool(out, record->forced);
    put_hash(out, "gate", &record->gate);
    put_int(out, "gate_size", (int64_t)record->gate_size);
    put_text(out, "note", record->note);
    put_int(out, "number", (int64_t)record->number);
    put_int(out, "position", (int64_t)record->position);
    put_hash(out, "previous", &record->previous);
    mp_put_text(out, slice_of("scripts"));
    mp_put_map(out, (uint32_t)record->script_count);
    for (size_t at = 0; at < record->script_count; at++) {
        mp_put_text(out, record->scripts[at].path);
        hash_hex(&record->scripts[at].hash, hex);
        mp_put_text(out, slice_of(hex));
    }
}

void deploys_put_switch(const struct deploy_switch *change, struct buf *out)
{
    mp_put_map(out, 8);
    put_text(out, "actor", change->actor);
    put_int(out, "at_ms", change->at_ms);
    put_int(out, "from", (int64_t)change->from);
    put_text(out, "note", change->note);
    put_int(out, "number", (int64_t)change->number);
    put_int(out, "position", (int64_t)change->position);
    put_int(out, "to", (int64_t)change->to);
    put_text(out, "why", slice_of(deploys_why_name(change->why)));
}

void deploys_put_now(const struct deploys_now *now, struct buf *out)
{
    mp_put_map(out, 5);
    put_hash(out, "chain", &now->chain);
    put_int(out, "first", (int64_t)now->first);
    put_int(out, "last", (int64_t)now->last);
    put_int(out, "running", (int64_t)now->running);
    put_int(out, "switches", (int64_t)now->switches);
}

/* --- reading: a member that is missing or of another kind is damage --- */

struct reading {
    struct slice map;
    bool bad;
};

static struct mp_value member(struct reading *reading, const char *name, enum mp_kind kind)
{
    struct slice bytes;
    struct mp_value value;
    if (mp_find(reading->map, slice_of(name), &bytes)) {
        struct mp_reader reader = mp_reader_of(bytes);
        if (mp_read(&reader, &value) == 0 && value.kind == kind) return value;
    }
    reading->bad = true;
    return (struct mp_value){.kind = MP_NIL, .text = SLICE_NONE};
}

static struct slice text_member(struct reading *reading, const char *name)
{
    return member(reading, name, MP_TEXT).text;
}

static int64_t int_member(struct reading *reading, const char *name)
{
    struct mp_value value = member(reading, name, MP_INT);
    return value.kind == MP_INT ? value.integer : 0;
}

static uint64_t count_member(struct reading *reading, const char *name)
{
    int64_t value = int_member(reading, name);
    if (value < 0) reading->bad = true;
    return (uint64_t)value;
}

static struct hash hash_member(struct reading *reading, const char *name)
{
    struct hash hash = {{0}};
    if (!hash_of_hex(text_member(reading, name), &hash)) reading->bad = true;
    return hash;
}

static int read_scripts(struct slice map, struct arena *arena, struct deploy_record *record)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of("scripts"), &bytes)) return -1;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_MAP) return -1;
    struct deploy_script *scripts = arena_take(arena, (value.count + 1) * sizeof *scripts);
    record->script_count = value.count;
    record->scripts = scripts;
    for (uint32_t at = 0; at < record->script_count; at++) {
        struct mp_value path, hex;
        if (mp_read(&reader, &path) < 0 || path.kind != MP_TEXT || mp_read(&reader, &hex) < 0 ||
            hex.kind != MP_TEXT || !hash_of_hex(hex.text, &scripts[at].hash))
            return -1;
        scripts[at].path = path.text;
    }
    return 0;
}

int deploys_read_record(struct slice bytes, struct arena *arena, struct deploy_record *record)
{
    struct reading reading = {.map = bytes};
    *record = (struct deploy_record){.number = count_member(&reading, "number"),
                                     .at_ms = int_member(&reading, "at_ms"),
                                     .actor = text_member(&reading, "actor"),
                                     .note = text_member(&reading, "note"),
                                     .folder = text_member(&reading, "folder"),
                                     .digest = hash_member(&reading, "digest"),
                                     .before = count_member(&reading, "before"),
                                     .position = count_member(&reading, "position"),
                                     .gate_size = count_member(&reading, "gate_size"),
                                     .gate = hash_member(&reading, "gate"),
                                     .previous = hash_member(&reading, "previous"),
                                     .own = hash_of(bytes)};
    struct mp_value forced = member(&reading, "forced", MP_BOOL);
    record->forced = forced.kind == MP_BOOL && forced.boolean;
    return reading.bad ? -1 : read_scripts(bytes, arena, record);
}

int deploys_read_switch(struct slice bytes, struct deploy_switch *change)
{
    struct reading reading = {.map = bytes};
    *change = (struct deploy_switch){.number = count_member(&reading, "number"),
                                     .at_ms = int_member(&reading, "at_ms"),
                                     .actor = text_member(&reading, "actor"),
                                     .note = text_member(&reading, "note"),
                                     .from = count_member(&reading, "from"),
                                     .to = count_member(&reading, "to"),
                                     .position = count_member(&reading, "position")};
    struct slice why = text_member(&reading, "why");
    int at = 0;
    while (at < WHY_COUNT && !slice_is(why, why_names[at])) at++;
    if (at == WHY_COUNT) return -1;
    change->why = (enum deploy_why)at;
    return reading.bad ? -1 : 0;
}

int deploys_read_now(struct slice bytes, struct deploys_now *now)
{
    struct reading reading = {.map = bytes};
    *now = (struct deploys_now){.running = count_member(&reading, "running"),
                                .last = count_member(&reading, "last"),
                                .first = count_member(&reading, "first"),
                                .switches = count_member(&reading, "switches"),
                                .chain = hash_member(&reading, "chain")};
    return reading.bad ? -1 : 0;
}

int deploys_read_old(struct slice bytes, uint64_t *number, struct hash *digest)
{
    struct reading reading = {.map = bytes};
    *number = count_member(&reading, "number");
    *digest = hash_member(&reading, "digest");
    return reading.bad ? -1 : 0;
}

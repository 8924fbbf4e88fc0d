/* Changing what is deployed. See the DESIGN in deploys.h for the order of the values. */
#include <inttypes.h>

#include "base/faultpoint.h"
#include "base/pack.h"
#include "run/deploys_inside.h"

int deploys_put_directly(void *user, struct slice key, struct slice value, struct fault *fault)
{
    return engine_meta_put(user, key, value, fault);
}

static int put(const struct deploys_writer *writer, const char *key, const struct buf *value,
               struct fault *fault)
{
    int error = fault_point(POINT_DEPLOY_PUT);
    if (error > 0) return fault_errno(fault, error, "the value %s of the log cannot be written", key);
    return writer->put(writer->user, slice_of(key), buf_slice(value), fault);
}

static int put_packed(const struct deploys_writer *writer, const char *key, struct slice text,
                      struct fault *fault)
{
    struct buf packed = {0};
    pack_put(text, &packed);
    int done = put(writer, key, &packed, fault);
    buf_release(&packed);
    return done;
}

/* Damage to a text that is there is mended by writing it again. */
static bool is_kept(struct engine *engine, const struct hash *hash)
{
    struct buf text = {0};
    struct fault ignored;
    bool kept = deploys_text(engine, hash, &text, &ignored) == 0;
    buf_release(&text);
    return kept;
}

static int put_sources(struct engine *engine, const struct deploys_writer *writer,
                       const struct sources *sources, struct deploy_script *scripts, struct fault *fault)
{
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        char key[DEPLOYS_KEY_SIZE];
        scripts[at] = (struct deploy_script){source->path, hash_of(source->text)};
        deploys_source_key(&scripts[at].hash, key);
        if (!is_kept(engine, &scripts[at].hash) && put_packed(writer, key, source->text, fault) < 0)
            return -1;
    }
    return 0;
}

static int put_record(const struct deploys_writer *writer, struct deploy_record *record, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    struct buf bytes = {0};
    deploys_key("deploy", record->number, key);
    deploys_put_record(record, &bytes);
    record->own = hash_of(buf_slice(&bytes));
    int done = put(writer, key, &bytes, fault);
    buf_release(&bytes);
    return done;
}

/* The switch, then "deploys": behind it the change is made. */
static int put_switch(const struct deploys_writer *writer, const struct deploy_switch *change,
                      struct deploys_now *now, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    struct buf bytes = {0};
    deploys_key("switch", change->number, key);
    deploys_put_switch(change, &bytes);
    int done = put(writer, key, &bytes, fault);
    buf_clear(&bytes);
    now->running = change->to;
    now->switches = change->number;
    deploys_put_now(now, &bytes);
    if (done == 0) done = put(writer, "deploys", &bytes, fault);
    buf_release(&bytes);
    return done;
}

static int check_size(const char *what, size_t size, size_t size_max, struct fault *fault)
{
    if (size <= size_max) return 0;
    return fault_set(fault, FAULT_TOO_LARGE, "the %s of a deploy has %zu bytes: at most %zu are kept", what,
                     size, size_max);
}

static int check_new(const struct deploy_new *what, struct fault *fault)
{
    if (check_size("actor", what->actor.size, DEPLOYS_TEXT_SIZE_MAX, fault) < 0 ||
        check_size("note", what->note.size, DEPLOYS_TEXT_SIZE_MAX, fault) < 0 ||
        check_size("folder", what->folder.size, DEPLOYS_TEXT_SIZE_MAX, fault) < 0)
        return -1;
    return check_size("gate", what->gate.size, DEPLOYS_GATE_SIZE_MAX, fault);
}

/* Everything of record but what `what` says is filled in. */
static int add(struct engine *engine, const struct deploys_writer *writer, const struct deploy_new *what,
               struct deploy_record *record, struct deploys_now *now, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    struct arena arena = {0};
    size_t count = sources_count(what->sources);
    struct deploy_script *scripts = arena_take(&arena, (count + 1) * sizeof *scripts);
    record->at_ms = what->at_ms;
    record->actor = what->actor;
    record->note = what->note;
    record->folder = what->folder;
    record->forced = what->forced;
    record->digest = sources_digest(what->sources);
    record->gate_size = what->gate.size;
    record->gate = hash_of(what->gate);
    record->scripts = scripts;
    record->script_count = count;
    struct deploy_switch change = {.number = now->switches + 1,
                                   .at_ms = what->at_ms,
                                   .actor = what->actor,
                                   .note = what->note,
                                   .from = now->running,
                                   .to = record->number,
                                   .position = record->position,
                                   .why = what->why};
    deploys_key("gate", record->number, key);
    int done = put_sources(engine, writer, what->sources, scripts, fault);
    if (done == 0 && what->gate.size) done = put_packed(writer, key, what->gate, fault);
    if (done == 0) done = put_record(writer, record, fault);
    now->last = record->number;
    if (now->first > now->last || now->first == 0) now->first = record->number;
    now->chain = record->own;
    if (done == 0) done = put_switch(writer, &change, now, fault);
    arena_release(&arena);
    return done;
}

int deploys_next(struct engine *engine, uint64_t *number, struct fault *fault)
{
    struct deploys_now now;
    if (deploys_now(engine, &now, fault) < 0) return -1;
    *number = now.last + 1;
    return 0;
}

int deploys_add(struct engine *engine, const struct deploys_writer *writer, const struct deploy_new *what,
                uint64_t *number, struct fault *fault)
{
    struct deploys_now now;
    if (check_new(what, fault) < 0 || deploys_now(engine, &now, fault) < 0) return -1;
    struct deploy_record record = {.number = now.last + 1,
                                   .before = now.running,
                                   .position = engine_head(engine).position,
                                   .previous = now.chain};
    if (add(engine, writer, what, &record, &now, fault) < 0) return -1;
    *number = record.number;
    return 0;
}

int deploys_switch(struct engine *engine, const struct deploys_writer *writer, struct deploy_switch *change,
                   struct fault *fault)
{
    struct deploys_now now;
    struct deploy_record record;
    struct arena arena = {0};
    if (check_size("actor", change->actor.size, DEPLOYS_TEXT_SIZE_MAX, fault) < 0 ||
        check_size("note", change->note.size, DEPLOYS_TEXT_SIZE_MAX, fault) < 0)
        return -1;
    int done = deploys_load(engine, change->to, &arena, &record, fault);
    arena_release(&arena);
    if (done < 0 || deploys_now(engine, &now, fault) < 0) return -1;
    if (now.running == change->to) return 0;
    change->number = now.switches + 1;
    change->from = now.running;
    change->position = engine_head(engine).position;
    return put_switch(writer, change, &now, fault);
}

/* --- a log of a lore that kept no records --- */

/* Where the deploy's events began: the numbers of its commits only rise. */
static int began_behind(struct engine *engine, uint64_t deploy, uint64_t *position, struct fault *fault)
{
    uint64_t low = 0, high = engine_head(engine).position; /* the first of its events is in (low, high + 1] */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2 + 1;
        struct engine_cursor *cursor;
        struct record record;
        if (engine_read(engine, middle, &cursor, fault) < 0) return -1;
        int found = engine_cursor_next(cursor, &record, fault);
        bool earlier = found == 1 && record.deploy < deploy;
        uint64_t ends = found == 1 ? record.first_position + record.event_count - 1 : middle;
        engine_cursor_close(cursor);
        if (found < 0) return -1;
        if (earlier)
            low = ends > middle ? ends : middle;
        else
            high = middle - 1;
    }
    *position = low;
    return 0;
}

int deploys_adopt(struct engine *engine, const struct deploys_writer *writer, const struct deploy_new *what,
                  struct fault *fault)
{
    struct buf bytes = {0};
    struct deploys_now now = {0};
    struct hash kept, digest = sources_digest(what->sources);
    int found = engine_meta_get(engine, slice_of("deploys"), &bytes, fault);
    if (found != 0) goto end;
    found = engine_meta_get(engine, slice_of("deploy"), &bytes, fault);
    if (found != 1) goto end;
    struct deploy_record record = {0};
    if (deploys_read_old(buf_slice(&bytes), &record.number, &kept) < 0)
        found = fault_set(fault, FAULT_CORRUPT, "the value deploy of the log is not what was written");
    if (found != 1 || !hash_equal(&kept, &digest)) goto end;
    record.before = record.number > 1 ? record.number - 1 : 0;
    found = check_new(what, fault) < 0 || began_behind(engine, record.number, &record.position, fault) < 0 ||
                    add(engine, writer, what, &record, &now, fault) < 0
                ? -1
                : 0;
end:
    buf_release(&bytes);
    return found < 0 ? -1 : 0;
}

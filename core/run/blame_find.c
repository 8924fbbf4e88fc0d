/* Logs and streams are read forward only, so they are looked at block by block from the end: within a block
 * the last match counts. */
#include "run/blame_find.h"

#include "codec/text.h"
#include "run/fold.h"

enum { BLOCK_MIN = 64, BLOCK_MAX = 1 << 16, LOOK_EVERY = 1024 /* records, at whether the hub stops */ };

struct finding {
    const struct blame_document *document;
    const struct domain_projection *projection;
    struct drafts *drafts;
    uint32_t tenant;                /* its name number */
    const struct stream_id *stream; /* NULL: the log */
    uint64_t position;              /* of the last match, 0: none yet */
    uint64_t seen;
};

static bool has_key(const struct finding *finding, int handler, const struct envelope *envelope,
                    struct slice data)
{
    struct fault ignored; /* what the key function cannot tell touched nothing */
    const struct slice *keys;
    size_t count;
    const struct slice key = finding->document->key;
    if (!finding->projection->keyed) return true;
    if (finding->projection->default_key) return slice_equal(envelope->id, key);
    if (drafts_keys(finding->drafts, handler, envelope, data, &keys, &count, &ignored) < 0) return false;
    for (size_t at = 0; at < count; at++)
        if (slice_equal(keys[at], key)) return true;
    return false;
}

static void look_at(struct finding *finding, const struct record *record)
{
    if (record->tenant != finding->tenant || (record->kind != RECORD_COMMIT && record->kind != RECORD_FACT))
        return;
    struct slice name = names_get(record->names, record->aggregate), aggregate = fold_aggregate_name(name);
    struct envelope envelope = {
        .record = record,
        .tenant = finding->document->tenant,
        .id = record->id,
        .deploy = record->deploy,
        .recorded_ms = record->recorded_ms,
        .aggregate = aggregate,
        .context = slice_make(name.data, name.size > aggregate.size ? name.size - aggregate.size - 1 : 0)};
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        envelope.type = names_get(record->names, event.type);
        int handler = drafts_handler(finding->drafts, envelope.context, envelope.type);
        if (handler < 0) continue;
        envelope.type_version = event.type_version;
        envelope.version = event.version;
        envelope.position = event.position;
        envelope.at_ms = event.at_ms;
        if (event.position > finding->position && has_key(finding, handler, &envelope, event.data))
            finding->position = event.position;
    }
}

static int look_at_block(struct finding *finding, uint64_t from, uint64_t to, struct fault *fault)
{
    struct engine *engine = finding->document->engine;
    struct engine_cursor *cursor;
    struct record record;
    int more = finding->stream ? engine_read_stream(engine, finding->stream, from, &cursor, fault)
                               : engine_read(engine, from, &cursor, fault);
    if (more < 0) return -1;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1) {
        if ((finding->stream ? record.first_version : record.first_position) > to) break;
        look_at(finding, &record);
        if (++finding->seen % LOOK_EVERY || !atomic_load(finding->document->stopping)) continue;
        more = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
        break;
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

static int look_back(struct finding *finding, uint64_t last, struct fault *fault)
{
    uint64_t before = finding->position;
    for (uint64_t to = last, block = BLOCK_MIN; to > 0 && finding->position == before;) {
        uint64_t from = to > block ? to - block + 1 : 1;
        if (look_at_block(finding, from, to, fault) < 0) return -1;
        to = from - 1;
        if (block < BLOCK_MAX) block *= 2;
    }
    return 0;
}

/* The streams with the key as their id: of every aggregate that ever wrote, declared or not any more. */
static int look_at_streams(struct finding *finding, struct fault *fault)
{
    const struct blame_document *document = finding->document;
    const struct names *names = engine_names(document->engine);
    if (!text_is_id(document->key)) return 0;
    for (uint32_t number = 1; number <= names_count(names); number++) {
        struct slice name = names_get(names, number), short_name = fold_aggregate_name(name);
        if (short_name.size == name.size || !text_is_name(short_name)) continue; /* no aggregate's */
        struct stream_id stream = {document->tenant, name, document->key};
        uint64_t version, position;
        if (engine_stream_head(document->engine, &stream, &version, &position, fault) < 0) return -1;
        if (position <= finding->position) continue;
        finding->stream = &stream;
        int done = look_back(finding, version, fault);
        finding->stream = NULL;
        if (done < 0) return -1;
    }
    return 0;
}

int blame_find_document(const struct blame_document *document, uint64_t *position, struct fault *fault)
{
    struct finding finding = {.document = document,
                              .projection = domain_projection(document->domain, document->projection),
                              .tenant = names_find(engine_names(document->engine), document->tenant)};
    struct drafts_options options = {
        .projection = document->projection, .tenant = document->tenant, .size_max = 1};
    if (finding.tenant == 0) return 0;
    finding.drafts = drafts_new(document->domain, &options);
    int done = finding.projection->default_key
                   ? look_at_streams(&finding, fault)
                   : look_back(&finding, engine_head(document->engine).position, fault);
    drafts_free(finding.drafts);
    *position = finding.position;
    return done < 0 ? -1 : finding.position > 0;
}

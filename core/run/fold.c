#include "run/fold.h"

struct slice fold_aggregate_name(struct slice name)
{
    const char *slash = name.size ? memchr(name.data, '/', name.size) : NULL;
    if (!slash) return name;
    return slice_make(slash + 1, name.size - (size_t)(slash + 1 - name.data));
}

void fold_envelope(const struct stream_id *stream, struct slice context, struct envelope *envelope)
{
    *envelope = (struct envelope){
        .tenant = stream->tenant,
        .context = context,
        .aggregate = fold_aggregate_name(stream->aggregate),
        .id = stream->id,
    };
}

/* A record names only its first command's id beside its events, so all items of a batch show that one. */
void fold_commit_envelope(const struct stream_id *stream, struct slice context, const struct commit *commit,
                          struct envelope *envelope)
{
    fold_envelope(stream, context, envelope);
    struct slice first = commit->command_count ? commit->commands[0].id : SLICE_NONE;
    envelope->actor = commit->actor;
    envelope->command_id = first;
    envelope->correlation_id = commit->correlation_id.size ? commit->correlation_id : first;
    envelope->causation_id = commit->causation_id.size ? commit->causation_id : first;
}

/* Folds the events of one record that are wanted. 1: go on, 0: enough, -1: fault. */
static int fold_record(const struct fold_request *request, const struct record *record,
                       struct fold_result *result, struct fault *fault)
{
    if (record->kind != RECORD_COMMIT && record->kind != RECORD_FACT) {
        /* An erased commit has no events left, but its versions are used. */
        result->version = record->first_version + record->event_count - 1;
        result->position = record->first_position + record->event_count - 1;
        return 1;
    }
    struct envelope envelope;
    fold_envelope(&request->stream, request->aggregate->context, &envelope);
    envelope.record = record;
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        if (event.version <= result->version) continue;
        if (event.version > request->version_max || event.at_ms > request->at_ms_max) return 0;
        envelope.type = names_get(record->names, event.type);
        envelope.type_version = event.type_version;
        envelope.at_ms = event.at_ms;
        if (domain_apply(request->domain, result->state, &envelope, event.data, fault) < 0) return -1;
        result->version = event.version;
        result->position = event.position;
    }
    return 1;
}

/* A snapshot is used if it lies within what is asked for; a time cannot be compared with it. */
static int fold_snapshot(const struct fold_request *request, struct fold_result *result, struct fault *fault)
{
    if (!request->snaps || request->at_ms_max != INT64_MAX) return 0;
    uint64_t wanted =
        request->version_max < result->head_version ? request->version_max : result->head_version;
    if (wanted < SNAPSHOT_EVERY) return 0;
    struct buf bytes = {0};
    uint64_t version;
    struct fault ignored;
    int found =
        snaps_get(request->snaps, &request->stream, &request->aggregate->code, &version, &bytes, &ignored);
    /* One exactly at a past version would leave the position unknown. */
    bool fits = found == 1 && (version < wanted || (version == wanted && wanted == result->head_version));
    if (found == 1 && !fits) {
        buf_clear(&bytes);
        fits = snaps_get_before(request->snaps, &request->stream, &request->aggregate->code, wanted - 1,
                                &version, &bytes, &ignored) == 1;
    }
    if (fits && domain_state_decode(request->domain, request->aggregate->index, buf_slice(&bytes),
                                    &result->state, &ignored) == 0)
        result->version = result->snapshot_version = version;
    buf_release(&bytes);
    return 0;
}

int fold_until(struct fold_request *request, const struct moment *moment, struct fault *fault)
{
    struct moment_bound bound;
    uint64_t position;
    if (moment_bound(request->engine, moment, &bound, fault) < 0) return -1;
    request->at_ms_max = bound.at_ms;
    if (bound.position == UINT64_MAX) return 0;
    return engine_stream_at(request->engine, &request->stream, bound.position, &request->version_max,
                            &position, fault);
}

static int fold_once(const struct fold_request *request, struct fold_result *result, struct fault *fault)
{
    *result = (struct fold_result){0};
    uint64_t head_position;
    if (engine_stream_head(request->engine, &request->stream, &result->head_version, &head_position, fault) <
        0)
        return -1;
    if (result->head_version && fold_snapshot(request, result, fault) < 0) return -1;
    if (!result->state) result->state = domain_state_new(request->domain, request->aggregate->index);
    if (result->version == result->head_version) {
        result->position = head_position;
        return 0;
    }
    struct engine_cursor *cursor;
    int more = engine_read_stream(request->engine, &request->stream, result->version + 1, &cursor, fault);
    if (more < 0) goto failed;
    struct record record;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1)
        if ((more = fold_record(request, &record, result, fault)) != 1) break;
    engine_cursor_close(cursor);
    if (more < 0) goto failed;
    return 0;
failed:
    domain_state_free(request->domain, result->state);
    result->state = NULL;
    return -1;
}

int fold_stream(const struct fold_request *request, struct fold_result *result, struct fault *fault)
{
    struct fault first; /* no fault of the caller's if the second attempt ends well */
    if (fold_once(request, result, &first) == 0) return 0;
    if (!domain_must_repeat(request->domain)) {
        if (fault) *fault = first;
        return -1;
    }
    domain_set_exact(request->domain, true);
    int done = fold_once(request, result, fault);
    domain_set_exact(request->domain, false);
    return done;
}

/* Events as CloudEvents 1.0 objects: the form of export, HTTP answers and tails. */
#include "codec/json.h"
#include "codec/time.h"
#include "run/fold.h"
#include "run/inside.h"

static void cloudevent_put_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(out, name, slice_make(text, TIME_TEXT_SIZE));
}

/* "/a/b" or "a/b". */
static void cloudevent_put_path(struct buf *out, const char *name, bool is_rooted, struct slice a,
                                struct slice b)
{
    json_put_name(out, name);
    buf_put_text(out, is_rooted ? "\"/" : "\"");
    json_put_inside(out, a);
    buf_put_byte(out, '/');
    json_put_inside(out, b);
    buf_put_byte(out, '"');
}

static void cloudevent_put_ids(struct buf *out, const struct record *record)
{
    struct arena arena = {0};
    struct record_ids ids = {0};
    record_read_ids(record, &arena, &ids);
    if (ids.correlation_id.size) json_put_text_member(out, "correlationid", ids.correlation_id);
    if (ids.causation_id.size) json_put_text_member(out, "causationid", ids.causation_id);
    if (ids.command_id.size) json_put_text_member(out, "commandid", ids.command_id);
    arena_release(&arena);
}

void hub_event_json(struct hub *hub, const struct record *record, const struct record_event *event,
                    struct buf *out)
{
    cloudevent_json(hub->log_id, record, event, out);
}

void cloudevent_json(const char *log_id, const struct record *record, const struct record_event *event,
                     struct buf *out)
{
    struct slice tenant = names_get(record->names, record->tenant);
    struct slice name = names_get(record->names, record->aggregate);
    struct slice aggregate = fold_aggregate_name(name);
    struct slice context =
        slice_make(name.data, name.size > aggregate.size ? name.size - aggregate.size - 1 : 0);
    buf_put_byte(out, '{');
    json_put_text_member(out, "specversion", slice_of("1.0"));
    json_put_name(out, "id");
    buf_put_byte(out, '"');
    buf_put_text(out, log_id);
    buf_put_byte(out, ':');
    buf_put_int(out, (int64_t)record->epoch);
    buf_put_byte(out, ':');
    buf_put_int(out, (int64_t)event->position);
    buf_put_byte(out, '"');
    cloudevent_put_path(out, "source", true, tenant, context);
    json_put_text_member(out, "type", names_get(record->names, event->type));
    cloudevent_put_path(out, "subject", false, aggregate, record->id);
    cloudevent_put_time(out, "time", event->at_ms);
    json_put_text_member(out, "datacontenttype", slice_of("application/json"));
    json_put_mp_member(out, "data", event->data);
    json_put_int_member(out, "position", (int64_t)event->position);
    json_put_int_member(out, "version", (int64_t)event->version);
    json_put_int_member(out, "typeversion", event->type_version);
    cloudevent_put_time(out, "recordedtime", record->recorded_ms);
    cloudevent_put_ids(out, record);
    if (record->actor) json_put_text_member(out, "actor", names_get(record->names, record->actor));
    json_put_int_member(out, "deploy", (int64_t)record->deploy);
    buf_put_byte(out, '}');
}

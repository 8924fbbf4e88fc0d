#include "run/sent.h"

#include "codec/mp.h"
#include "codec/time.h"

static void sent_put_member(struct buf *out, const char *name, struct slice text)
{
    mp_put_text(out, slice_of(name));
    mp_put_text(out, text);
}

/* Keys in byte order: cancel data due key service stream type. */
static void sent_put(struct buf *out, const struct domain_send *send, struct arena *arena)
{
    bool has_due = !send->is_cancel && send->due_ms != INT64_MIN;
    uint32_t members = (send->is_cancel ? 2u : 3u) + has_due + (send->key.size > 0);
    mp_put_map(out, members);
    if (send->is_cancel) {
        mp_put_text(out, slice_of("cancel"));
        mp_put_bool(out, true);
    } else {
        mp_put_text(out, slice_of("data"));
        buf_put_slice(out, send->data);
    }
    if (has_due) {
        char text[TIME_TEXT_SIZE + 1];
        time_format(send->due_ms, text);
        sent_put_member(out, "due", slice_of(text));
    }
    if (send->key.size) sent_put_member(out, "key", send->key);
    if (send->to_service)
        sent_put_member(
            out, "service",
            arena_format(arena, "%.*s/%.*s", SLICE_ARGS(send->context), SLICE_ARGS(send->target)));
    else
        sent_put_member(out, "stream",
                        arena_format(arena, "%.*s/%.*s/%.*s", SLICE_ARGS(send->context),
                                     SLICE_ARGS(send->target), SLICE_ARGS(send->id)));
    if (!send->is_cancel) sent_put_member(out, "type", send->type);
}

struct commit_event sent_event(const struct domain_send *sends, size_t count, int64_t at_ms,
                               struct arena *arena)
{
    struct buf out = {0};
    mp_put_map(&out, 1);
    mp_put_text(&out, slice_of("sends"));
    mp_put_list(&out, (uint32_t)count);
    for (size_t at = 0; at < count; at++) sent_put(&out, &sends[at], arena);
    struct commit_event event = {.type = slice_of(SENT_TYPE),
                                 .type_version = 1,
                                 .at_ms = at_ms,
                                 .data = arena_copy(arena, buf_slice(&out))};
    buf_release(&out);
    return event;
}

/* "billing/bill/7" or "mailing/mail". */
static int sent_read_target(struct slice text, struct domain_send *send)
{
    const char *end = text.data + text.size;
    const char *first = memchr(text.data, '/', text.size);
    if (!first) return -1;
    send->context = slice_make(text.data, (size_t)(first - text.data));
    const char *rest = first + 1, *second = memchr(rest, '/', (size_t)(end - rest));
    if (send->to_service == (second != NULL)) return -1;
    send->target = slice_make(rest, (size_t)((second ? second : end) - rest));
    send->id = second ? slice_make(second + 1, (size_t)(end - second - 1)) : SLICE_NONE;
    return 0;
}

static int sent_read_member(struct mp_reader *reader, struct slice name, struct domain_send *send)
{
    struct mp_value value;
    if (slice_is(name, "data")) return mp_take(reader, &send->data);
    if (mp_read(reader, &value) < 0) return -1;
    if (slice_is(name, "cancel")) {
        send->is_cancel = true;
        return value.kind == MP_BOOL ? 0 : -1;
    }
    if (value.kind != MP_TEXT) return -1;
    if (slice_is(name, "due")) return time_parse(value.text, &send->due_ms) ? 0 : -1;
    if (slice_is(name, "key")) send->key = value.text;
    if (slice_is(name, "type")) send->type = value.text;
    send->to_service = send->to_service || slice_is(name, "service");
    return slice_is(name, "service") || slice_is(name, "stream") ? sent_read_target(value.text, send) : 0;
}

static int sent_read_one(struct mp_reader *reader, struct domain_send *send)
{
    struct mp_value map, name;
    *send = (struct domain_send){.due_ms = INT64_MIN};
    if (mp_read(reader, &map) < 0 || map.kind != MP_MAP) return -1;
    for (uint32_t left = map.count; left; left--)
        if (mp_read(reader, &name) < 0 || name.kind != MP_TEXT ||
            sent_read_member(reader, name.text, send) < 0)
            return -1;
    return send->target.size && (send->is_cancel || (send->type.size && send->data.size)) ? 0 : -1;
}

int sent_read(struct slice data, struct arena *arena, struct domain_send **sends, size_t *count,
              struct fault *fault)
{
    struct slice bytes;
    struct mp_value list;
    if (mp_find(data, slice_of("sends"), &bytes)) {
        struct mp_reader reader = mp_reader_of(bytes);
        if (mp_read(&reader, &list) == 0 && list.kind == MP_LIST) {
            *count = list.count;
            *sends = arena_take(arena, (list.count + 1) * sizeof **sends);
            size_t at = 0;
            while (at < list.count && sent_read_one(&reader, &(*sends)[at]) == 0) at++;
            if (at == list.count) return 0;
        }
    }
    return fault_set(fault, FAULT_CORRUPT, "an event %s cannot be read", SENT_TYPE);
}

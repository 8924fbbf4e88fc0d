/* DESIGN. Every answer made of events is pulled: a piece is read with a cursor of its own, which is closed
 * before the function returns, so that no read transaction is open while a client takes its time. What is
 * remembered between two pieces is `from`, the position (or version) to go on with: that is why a tail
 * resumes exactly, also in another process.
 *
 * A tail that reached the head waits in net->tails. It misses nothing: `last` is read from the engine at each
 * pull, and who appends makes the event visible first and wakes the tails then. */
#include "net/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/json.h"
#include "net/problem.h"
#include "store/epochs.h"

struct scan {
    struct call *call;
    struct names *names;
    struct arena arena; /* of the piece */
    uint32_t tenant;    /* name number of the call's tenant */
    uint32_t type;      /* and of the filter's type */
    char log_id[40];
    int64_t deadline_ns;
    uint32_t seen;
    bool yielded;
};

static bool starts_with_part(struct slice text, struct slice part)
{
    return text.size > part.size && text.data[part.size] == '/' &&
           slice_equal(slice_make(text.data, part.size), part);
}

/* subject is "<aggregate>/<id>" while the record knows "<context>/<aggregate>" and the id. */
static bool is_subject(struct slice aggregate, struct slice id, struct slice subject)
{
    const char *slash = memchr(aggregate.data, '/', aggregate.size);
    if (!slash) return false;
    struct slice name = slice_make(slash + 1, (size_t)(aggregate.data + aggregate.size - slash - 1));
    return starts_with_part(subject, name) &&
           slice_equal(slice_make(subject.data + name.size + 1, subject.size - name.size - 1), id);
}

static bool record_matches(struct scan *scan, const struct record *record)
{
    const struct event_filter *filter = &scan->call->events.filter;
    if (record->kind == RECORD_ERASED) return false;
    if (record->tenant != scan->tenant) return false;
    if (filter->has_deploy && record->deploy != filter->deploy) return false;
    if (filter->context.size && !starts_with_part(names_get(scan->names, record->aggregate), filter->context))
        return false;
    if (filter->subject.size &&
        !is_subject(names_get(scan->names, record->aggregate), record->id, filter->subject))
        return false;
    if (filter->correlation.size) {
        struct record_ids ids;
        record_read_ids(record, &scan->arena, &ids);
        return slice_equal(ids.correlation_id, filter->correlation);
    }
    return true;
}

static void put_event(struct scan *scan, const struct record *record, const struct record_event *event,
                      struct buf *out)
{
    struct call *call = scan->call;
    if (call->format == API_JSON && !call->events.page.is_first) buf_put_byte(out, ',');
    call->events.page.is_first = false;
    /* Without an "event:" line, so that EventSource.onmessage gets all types; the type is in the data. */
    if (call->format == API_EVENT_STREAM)
        buf_format(out, "id: %s:%" PRIu64 ":%" PRIu64 "\ndata: ", scan->log_id, record->epoch,
                   event->position);
    hub_event_json(call->net->hub, record, event, out);
    if (call->format == API_NDJSON) buf_put_byte(out, '\n');
    if (call->format == API_EVENT_STREAM) buf_put_text(out, "\n\n");
}

/* The events of one record from `from` on; moves `from` behind what was looked at. */
static void put_record(struct scan *scan, const struct record *record, struct buf *out)
{
    struct events_call *events = &scan->call->events;
    uint64_t first = events->is_stream ? record->first_version : record->first_position;
    if (record_matches(scan, record)) {
        struct record_event event = {0};
        while (record_next_event(record, &event)) {
            uint64_t number = events->is_stream ? event.version : event.position;
            if (number < events->from) continue;
            if (number > events->last || events->page.limit == 0) return;
            events->from = number + 1;
            if (events->filter.type.size && event.type != scan->type) continue;
            put_event(scan, record, &event, out);
            events->page.limit--;
        }
    }
    if (events->from < first + record->event_count) events->from = first + record->event_count;
}

static bool is_enough(struct scan *scan, const struct buf *out)
{
    if (out->size >= API_PIECE_SIZE) return true;
    return (++scan->seen & 63) == 0 && clock_monotonic_ns() > scan->deadline_ns;
}

static int open_cursor(struct call *call, struct engine_cursor **cursor)
{
    struct events_call *events = &call->events;
    struct engine *engine = hub_engine(call->net->hub);
    if (!events->is_stream) return engine_read(engine, events->from, cursor, &call->net->fault);
    struct stream_id stream = {call->match.tenant, events->aggregate, call->match.id};
    return engine_read_stream(engine, &stream, events->from, cursor, &call->net->fault);
}

static int scan_piece(struct scan *scan, struct buf *out)
{
    struct call *call = scan->call;
    struct events_call *events = &call->events;
    if (events->from > events->last || events->page.limit == 0) return 0;
    struct engine_cursor *cursor;
    if (open_cursor(call, &cursor) < 0) return -1;
    int found = 1;
    while (!scan->yielded && events->from <= events->last && events->page.limit > 0) {
        struct record record;
        found = engine_cursor_next(cursor, &record, &call->net->fault);
        if (found <= 0) break;
        uint64_t first = events->is_stream ? record.first_version : record.first_position;
        if (first > events->last) break;
        put_record(scan, &record, out);
        scan->yielded = is_enough(scan, out);
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

static int read_piece(struct call *call, struct buf *out, bool *yielded)
{
    struct engine *engine = hub_engine(call->net->hub);
    struct scan scan = {.call = call, .names = engine_names(engine)};
    struct engine_head head = engine_head(engine);
    memcpy(scan.log_id, head.log_id, sizeof head.log_id);
    /* Whoever has no number after the head was read is in no record up to it. */
    scan.tenant = names_find(scan.names, call->match.tenant);
    scan.type = names_find(scan.names, call->events.filter.type);
    scan.deadline_ns = clock_monotonic_ns() + API_SLICE_NS;
    if (call->format == API_EVENT_STREAM) call->events.last = head.position;
    int read = scan_piece(&scan, out);
    arena_release(&scan.arena);
    *yielded = scan.yielded;
    return read;
}

/* --- the three forms of an answer --- */

static enum server_pull pull_json(void *user, struct buf *out)
{
    struct call *call = user;
    struct events_call *events = &call->events;
    bool yielded = false;
    if (!events->page.has_begun) buf_put_text(out, "{\"events\":[");
    events->page.has_begun = true;
    if (read_piece(call, out, &yielded) < 0) return SERVER_CUT;
    if (yielded) return SERVER_MORE;
    /* At the end of what there was, the next question goes on behind it; so a filter's misses are not looked
     * at again. */
    uint64_t next = events->from;
    if (events->page.limit > 0 && next <= events->last) next = events->last + 1;
    buf_format(out, "],\"next\":%" PRIu64 "}\n", next);
    return SERVER_END;
}

static enum server_pull pull_lines(void *user, struct buf *out)
{
    bool yielded = false;
    if (read_piece(user, out, &yielded) < 0) return SERVER_CUT;
    return yielded ? SERVER_MORE : SERVER_END;
}

static enum server_pull pull_tail(void *user, struct buf *out)
{
    struct call *call = user;
    struct events_call *events = &call->events;
    bool yielded = false;
    if (call->net->is_stopping || call->net->paused || events->page.limit == 0) return SERVER_END;
    if (!events->page.has_begun) buf_format(out, ": from %" PRIu64 "\n\n", events->from);
    events->page.has_begun = true;
    if (read_piece(call, out, &yielded) < 0) return SERVER_CUT;
    if (out->size == 0 && events->is_beat_due) buf_put_text(out, ":\n\n");
    events->is_beat_due = false;
    if (out->size) events->written_ms = api_now_ms(call);
    return yielded || out->size ? SERVER_MORE : SERVER_WAIT;
}

/* --- the questions --- */

static int read_filter(struct call *call)
{
    struct event_filter *filter = &call->events.filter;
    static const char *const names[] = {"from",    "until",       "limit",  "type", "context",
                                        "subject", "correlation", "deploy", NULL};
    if (query_only(&call->query, names, &call->net->fault) < 0) return -1;
    query_find(&call->query, "type", &filter->type);
    query_find(&call->query, "context", &filter->context);
    query_find(&call->query, "subject", &filter->subject);
    query_find(&call->query, "correlation", &filter->correlation);
    struct slice deploy;
    filter->has_deploy = query_find(&call->query, "deploy", &deploy);
    return query_number(&call->query, "deploy", 0, &filter->deploy, &call->net->fault);
}

static int bad_event_id(struct call *call, const char *where, struct slice id, const char *why)
{
    return fault_set(&call->net->fault, FAULT_MALFORMED, "%s %.*s: %s", where,
                     (int)(id.size < 100 ? id.size : 100), id.data, why);
}

/* "<log>:<epoch>:<position>", as it was in the tail. An event of an earlier epoch may be gone. */
static int read_event_id(struct call *call, const char *where, struct slice id,
                         const struct engine_head *head, uint64_t *found)
{
    size_t log_size = strlen(head->log_id);
    if (id.size <= log_size || id.data[log_size] != ':' || memcmp(id.data, head->log_id, log_size) != 0)
        return bad_event_id(call, where, id, "is not of this hub's log");
    char text[48];
    size_t size = id.size - log_size - 1;
    if (size >= sizeof text) return bad_event_id(call, where, id, "is malformed");
    memcpy(text, id.data + log_size + 1, size);
    text[size] = 0;
    unsigned long long epoch, position;
    uint64_t kept;
    int used = 0;
    if (sscanf(text, "%20llu:%20llu%n", &epoch, &position, &used) != 2 || (size_t)used != size)
        return bad_event_id(call, where, id, "is malformed");
    if (epochs_kept(hub_engine(call->net->hub), epoch, &kept, &call->net->fault) < 0) return -1;
    *found = position > kept ? kept : position;
    if (position > kept)
        return fault_set(&call->net->fault, FAULT_GONE,
                         "the log was rolled back to position %" PRIu64 ": what came behind it is gone",
                         kept);
    if (epoch > head->epoch || position > head->position)
        return bad_event_id(call, where, id, "is ahead of the log");
    return 0;
}

/* A position may be one that is not there yet, for who waits for it; the id of an event: it is the first. A
 * time is when events were recorded: from the first that was not before it. A deploy's events are those
 * behind its moment. */
static int read_first(struct call *call, const struct engine_head *head, uint64_t *known)
{
    struct events_call *events = &call->events;
    struct moment moment;
    struct slice id;
    events->from = 1;
    if (query_find(&call->query, "from", &id) && slice_starts(id, head->log_id)) {
        if (read_event_id(call, "from", id, head, known) < 0) return -1;
        events->from = *known;
        return 0;
    }
    int given = api_moment(call, "from", &moment, &call->net->fault);
    if (given <= 0) return given;
    events->from = moment.number;
    if (moment.kind == MOMENT_POSITION) return 0;
    moment.ms--;
    if (moment_position(hub_engine(call->net->hub), &moment, &events->from, &call->net->fault) < 0) return -1;
    events->from++;
    return 0;
}

static int read_last(struct call *call, const struct engine_head *head)
{
    struct events_call *events = &call->events;
    struct moment moment;
    int given = api_moment(call, "until", &moment, &call->net->fault);
    if (given <= 0) return given;
    if (call->format == API_EVENT_STREAM)
        return fault_set(&call->net->fault, FAULT_MALFORMED, "until is not for a tail, which has no end");
    if (moment.kind == MOMENT_POSITION && moment.number > head->position) return 0;
    return moment_position(hub_engine(call->net->hub), &moment, &events->last, &call->net->fault);
}

/* known: how far a client that named an event which is gone may trust what it has. */
static int read_from(struct call *call, const struct engine_head *head, uint64_t *known)
{
    struct events_call *events = &call->events;
    if (read_last(call, head) < 0) return -1;
    struct slice id = exchange_header(call->exchange, "Last-Event-ID");
    bool resumes = call->format == API_EVENT_STREAM && id.size;
    if (!resumes && read_first(call, head, known) < 0) return -1;
    /* It counts more than ?from=: a browser that reconnects repeats the old URL. */
    if (resumes && read_event_id(call, "Last-Event-ID", id, head, known) < 0) return -1;
    if (resumes) events->from = *known + 1;
    if (events->from == 0) events->from = 1;
    return 0;
}

static void answer_gone(struct call *call, const struct engine_head *head, uint64_t position)
{
    problem_begin(api_out(call), 410, "gone", slice_of(call->net->fault.text));
    json_put_int_member(api_out(call), "epoch", (int64_t)head->epoch);
    json_put_int_member(api_out(call), "position", (int64_t)position);
    problem_end(api_out(call));
    api_reply(call, 410);
}

void api_events_take(struct call *call)
{
    struct events_call *events = &call->events;
    struct engine_head head = engine_head(hub_engine(call->net->hub));
    events->last = head.position;
    events->page.is_first = true;
    uint64_t known = 0;
    if (read_filter(call) < 0 || read_from(call, &head, &known) < 0 ||
        api_limit(call, call->format == API_JSON ? API_LIMIT_DEFAULT : UINT64_MAX, &events->page.limit) < 0) {
        if (call->net->fault.code == FAULT_GONE)
            answer_gone(call, &head, known);
        else
            api_fault(call, &call->net->fault);
        return;
    }
    if (call->format == API_EVENT_STREAM) {
        exchange_put_header(call->exchange, "Cache-Control", slice_of("no-store"));
        api_list_put(&call->net->tails, call);
        call->net->tail_count++;
        api_pull(call, pull_tail);
    } else {
        api_pull(call, call->format == API_JSON ? pull_json : pull_lines);
    }
}

static int find_stream(struct call *call)
{
    struct events_call *events = &call->events;
    events->aggregate = arena_format(api_arena(call), "%.*s/%.*s", SLICE_ARGS(call->match.context),
                                     SLICE_ARGS(call->match.aggregate));
    struct stream_id stream = {call->match.tenant, events->aggregate, call->match.id};
    uint64_t position;
    if (engine_stream_head(hub_engine(call->net->hub), &stream, &events->last, &position, &call->net->fault) <
        0)
        return -1;
    if (events->last == 0) return fault_set(&call->net->fault, FAULT_NOT_FOUND, "the stream has no events");
    return 0;
}

void api_stream_events_take(struct call *call)
{
    struct events_call *events = &call->events;
    if (call->format == API_EVENT_STREAM)
        call->format = API_JSON; /* tails are of the log: filter by subject there */
    events->is_stream = true;
    events->page.is_first = true;
    events->from = 1;
    if (query_only(&call->query, (const char *const[]){"from", "limit", NULL}, &call->net->fault) < 0 ||
        query_number(&call->query, "from", 0, &events->from, &call->net->fault) < 0 ||
        api_limit(call, call->format == API_JSON ? API_LIMIT_DEFAULT : UINT64_MAX, &events->page.limit) < 0 ||
        find_stream(call) < 0) {
        api_fault(call, &call->net->fault);
        return;
    }
    if (events->from == 0) events->from = 1;
    api_pull(call, call->format == API_JSON ? pull_json : pull_lines);
}

void api_events_put_unseen(struct call *call, const struct command *command, struct buf *out)
{
    struct events_call *events = &call->events;
    *events = (struct events_call){.is_stream = true, .from = (uint64_t)command->expected_version + 1};
    call->match.context = command->context;
    call->match.aggregate = command->aggregate;
    call->match.id = command->id;
    events->page = (struct api_page){.limit = API_UNSEEN_MAX, .is_first = true};
    call->format = API_JSON;
    buf_put_byte(out, '[');
    if (find_stream(call) == 0) {
        if (events->last > command->conflict_version) events->last = command->conflict_version;
        struct scan scan = {
            .call = call, .names = engine_names(hub_engine(call->net->hub)), .deadline_ns = INT64_MAX};
        scan.tenant = names_find(scan.names, call->match.tenant);
        scan_piece(&scan, out);
        arena_release(&scan.arena);
    }
    buf_put_byte(out, ']');
}

/* --- tails --- */

void api_events_moved(struct net *net)
{
    if (!net->tails.first || net->paused) return;
    uint64_t position = engine_head(hub_engine(net->hub)).position;
    if (position == net->head_told) return;
    net->head_told = position;
    for (struct call *call = net->tails.first; call; call = call->next) exchange_wake(call->exchange);
}

void api_events_beat(struct net *net, int64_t now_ms)
{
    for (struct call *call = net->tails.first; call; call = call->next)
        if (now_ms - call->events.written_ms >= net->options.heartbeat_ms) {
            call->events.is_beat_due = true;
            exchange_wake(call->exchange);
        }
}

void api_events_stop(struct net *net)
{
    for (struct call *call = net->tails.first; call; call = call->next) exchange_wake(call->exchange);
}

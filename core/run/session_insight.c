/* What a session looks at ahead (dry), behind (trace, blame, specs) and, if it may, sends. */
#include <inttypes.h>

#include "codec/json.h"
#include "run/blame.h"
#include "run/dry.h"
#include "run/release.h"
#include "run/session_wait.h"
#include "run/sessions.h"
#include "run/spec_text.h"
#include "run/trace.h"

enum { BLAMED_COMMITS = 10 /* of a stream */, DRY_SECONDS_MAX = 30 };

/* The handlers of a command are not part of the question, and have the budgets they always have: so a Lua
 * state of their own, made when it is first needed. */
static struct domain *session_aside(struct session *session, struct fault *fault)
{
    if (!session->aside && release_domain(session->release, &session->aside, fault) < 0)
        session->aside = NULL;
    return session->aside;
}

static int check_now(const struct session *session, const char *word, struct fault *fault)
{
    if (!session->past.is_set) return 0;
    return fault_set(fault, FAULT_UNAVAILABLE, "the session is in the past: %s goes from now; at() goes back",
                     word);
}

static int host_dry(void *user, struct slice context, struct slice name, struct slice id,
                    const struct ask_command *commands, size_t count, struct buf *json, struct fault *fault)
{
    struct session *session = user;
    struct dry_item items[ASK_COMMANDS_MAX];
    if (check_now(session, "dry", fault) < 0 || !session_aside(session, fault)) return -1;
    for (size_t at = 0; at < count; at++) items[at] = (struct dry_item){commands[at].type, commands[at].data};
    struct dry_question question = {.hub = session->hub,
                                    .release = session->release,
                                    .domain = session->aside,
                                    .tenant = slice_of(session->tenant),
                                    .context = context,
                                    .aggregate = name,
                                    .id = id,
                                    .items = items,
                                    .count = count,
                                    .actor = buf_slice(&session->actor),
                                    .cancelled = &session->cancelled,
                                    .until_ns = clock_monotonic_ns() + DRY_SECONDS_MAX * 1000000000LL};
    return dry_run(&question, json, fault);
}

static int host_spec(void *user, int aggregate, struct slice id, uint64_t from, uint64_t to, struct buf *text,
                     struct fault *fault)
{
    struct session *session = user;
    uint64_t version = UINT64_MAX, position;
    const struct domain_aggregate *declared = domain_aggregate(session->domain, aggregate);
    struct catalog_aggregate of = {
        .name = declared->name, .context = declared->context, .code = declared->code, .index = aggregate};
    struct spec_question question = {.engine = session->hub->engine,
                                     .domain = session_aside(session, fault),
                                     .aggregate = &of,
                                     .stream = {slice_of(session->tenant), declared->name, id},
                                     .from = from,
                                     .to = to};
    if (!question.domain) return -1;
    if (session->past.is_set && engine_stream_at(session->hub->engine, &question.stream,
                                                 session->past.position, &version, &position, fault) < 0)
        return -1;
    if (version < question.to) question.to = version;
    return spec_text(&question, text, fault);
}

/* "<log>:<epoch>:<position>" of the event there. */
static int put_event_id(struct session *session, uint64_t position, struct buf *id, struct fault *fault)
{
    struct engine *engine = session->hub->engine;
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(engine, position, &cursor, fault) < 0) return -1;
    int more = engine_cursor_next(cursor, &record, fault);
    if (more == 1) buf_format(id, "%s:%" PRIu64 ":%" PRIu64, session->hub->log_id, record.epoch, position);
    engine_cursor_close(cursor);
    if (more == 0) return fault_set(fault, FAULT_NOT_FOUND, "the log has no position %" PRIu64, position);
    return more < 0 ? -1 : 0;
}

/* In this thread: it may take as long as a scan, and ends when it is cancelled. */
static int host_trace(void *user, uint64_t position, struct slice id, struct buf *json, struct fault *fault)
{
    struct session *session = user;
    struct buf event = {0};
    int done = position ? put_event_id(session, position, &event, fault) : 0;
    if (done == 0)
        done = trace_collect(session->hub->engine, &session->cancelled, slice_of(session->tenant),
                             position ? buf_slice(&event) : id, json, fault);
    buf_release(&event);
    if (done < 0 && atomic_load(&session->cancelled)) fault_set(fault, FAULT_CANCELLED, "cancelled");
    return done;
}

static int host_blame(void *user, const struct ask_blame *asked, struct buf *json, struct fault *fault)
{
    struct session *session = user;
    struct blame_query query = {.tenant = slice_of(session->tenant),
                                .position = asked->position,
                                .event = asked->event,
                                .aggregate = asked->aggregate,
                                .id = asked->id,
                                .commits = BLAMED_COMMITS,
                                .view = asked->view,
                                .key = asked->key};
    int done = blame_collect(session->hub->engine, &session->cancelled, &query, json, fault);
    if (done < 0 && atomic_load(&session->cancelled)) fault_set(fault, FAULT_CANCELLED, "cancelled");
    return done;
}

/* --- sending --- */

static void on_answered(struct command *command)
{
    session_wait_done(command->user);
}

static void put_answer(struct session *session, struct command *command, struct buf *json)
{
    struct record_event event = {0};
    buf_put_byte(json, '{');
    json_put_int_member(json, "version", (int64_t)command->version);
    json_put_int_member(json, "position", (int64_t)command->position);
    json_put_name(json, "events");
    buf_put_byte(json, '[');
    while (command->record_bytes.size && record_next_event(&command->record, &event)) {
        if (event.ordinal) buf_put_byte(json, ',');
        hub_event_json(session->hub, &command->record, &event, json);
    }
    buf_put_text(json, "]}");
}

/* What was submitted is waited for, cancelled or not: its outcome must be told. */
static int host_send(void *user, struct slice context, struct slice name, struct slice id,
                     const struct ask_command *commands, size_t count, struct buf *json, struct fault *fault)
{
    struct session *session = user;
    if (!session->writes)
        return fault_set(fault, FAULT_UNAVAILABLE,
                         "this session only reads: it writes after :write (or \"write\":true in a request)");
    if (check_now(session, "send", fault) < 0) return -1;
    struct session_wait *wait = &session->wait;
    struct command *command = command_new();
    struct arena *arena = &command->arena;
    command->tenant = arena_copy(arena, slice_of(session->tenant));
    command->context = arena_copy(arena, context);
    command->aggregate = arena_copy(arena, name);
    command->id = arena_copy(arena, id);
    command->actor = arena_copy(arena, buf_slice(&session->actor));
    command->expected_version = COMMAND_ANY_VERSION;
    command->at_ms = INT64_MIN;
    command->item_count = count;
    command->items = arena_zero(arena, count * sizeof *command->items);
    for (size_t at = 0; at < count; at++) {
        command->items[at].type = arena_copy(arena, commands[at].type);
        command->items[at].data = arena_copy(arena, commands[at].data);
    }
    session_wait_init(wait);
    command->done = on_answered;
    command->user = wait;
    int done = hub_submit(session->hub, command, fault);
    if (done == 0) {
        session_wait_for(wait, &session->cancelled, NULL);
        if (command->fault.code == FAULT_NONE)
            put_answer(session, command, json);
        else
            done = -1;
        if (done < 0) *fault = command->fault;
    }
    session_wait_release(wait);
    command_free(command);
    return done;
}

void session_insight_init(struct session *session)
{
    session->host.dry = host_dry;
    session->host.spec = host_spec;
    session->host.trace = host_trace;
    session->host.blame = host_blame;
    session->host.send = host_send;
}

void session_insight_forget(struct session *session)
{
    if (session->aside) domain_close(session->aside);
    session->aside = NULL;
}

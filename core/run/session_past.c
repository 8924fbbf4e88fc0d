/* A session in the past: the position it stands at, and views of then, which are built when they are asked
 * for and kept until it goes on. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "codec/time.h"
#include "run/session_wait.h"
#include "run/sessions.h"

enum { PAST_VIEWS_MAX = 2 }; /* kept; the hub has a few for all */

struct session_past_view {
    struct session_past_view *next;
    char *name;
    struct past_query query;
};

static void on_past(struct past_query *query)
{
    session_wait_done(query->user);
}

static int past_ask(struct session *session, struct past_query *query, struct fault *fault)
{
    struct session_wait *wait = &session->wait;
    query->tenant = slice_of(session->tenant);
    query->moment = (struct moment){.kind = MOMENT_POSITION, .number = session->past.position};
    query->done = on_past;
    query->user = wait;
    session_wait_init(wait);
    int done = hub_query_past(session->hub, query, fault);
    if (done == 0) session_wait_for(wait, &session->cancelled, &query->stop);
    session_wait_release(wait);
    if (done < 0) return -1;
    if (query->fault.code == FAULT_NONE) return 0;
    *fault = query->fault;
    if (atomic_load(&session->cancelled)) fault_set(fault, FAULT_CANCELLED, "cancelled");
    hub_past_release(session->hub, query);
    return -1;
}

static void view_free(struct session *session, struct session_past_view *view)
{
    hub_past_release(session->hub, &view->query);
    mem_free(view->name);
    mem_free(view);
}

static void forget_behind(struct session *session, size_t kept)
{
    struct session_past_view **at = &session->past.views;
    while (*at && kept--) at = &(*at)->next;
    while (*at) {
        struct session_past_view *view = *at;
        *at = view->next;
        view_free(session, view);
    }
}

void session_past_forget(struct session *session)
{
    forget_behind(session, 0);
}

static struct session_past_view *find_view(struct session *session, struct slice name)
{
    for (struct session_past_view *view = session->past.views; view; view = view->next)
        if (slice_is(name, view->name)) return view;
    return NULL;
}

int session_past_docs(struct session *session, struct slice name, struct docs **docs, struct fault *fault)
{
    struct session_past_view *view = find_view(session, name);
    if (!view) {
        view = MEM_NEW(struct session_past_view);
        view->name = mem_text(name.data, name.size);
        view->query.view = slice_make(view->name, name.size);
        forget_behind(session, PAST_VIEWS_MAX - 1);
        if (past_ask(session, &view->query, fault) < 0) {
            mem_free(view->name);
            mem_free(view);
            return -1;
        }
        view->next = session->past.views;
        session->past.views = view;
    }
    *docs = hub_past_docs(view->query.documents);
    return 0;
}

int session_past_get(struct session *session, struct slice name, struct slice key, struct buf *document,
                     struct fault *fault)
{
    struct session_past_view *view = find_view(session, name);
    if (view)
        return docs_get(hub_past_docs(view->query.documents), slice_of(session->tenant), key, document,
                        fault);
    struct past_query query = {.view = name, .key = key};
    if (past_ask(session, &query, fault) < 0) return -1;
    bool found = query.found;
    buf_put_slice(document, buf_slice(&query.document));
    hub_past_release(session->hub, &query);
    return found;
}

/* --- where it is --- */

static int put_position(struct session *session, uint64_t position, struct buf *told, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    char text[TIME_TEXT_SIZE + 1];
    if (engine_read(session->hub->engine, position, &cursor, fault) < 0) return -1;
    int more = engine_cursor_next(cursor, &record, fault);
    if (more == 1) {
        session->past.recorded_ms = record.recorded_ms;
        time_format(record.recorded_ms, text);
        buf_format(told, "position %" PRIu64 ", recorded %s", position, text);
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

int session_past_set(struct session *session, struct slice text, struct buf *told, struct fault *fault)
{
    struct moment moment;
    uint64_t position;
    if (text.size == 0) {
        session_past_forget(session);
        session->past.is_set = false;
        session->scan.head = UINT64_MAX;
        buf_format(told, "now, position %" PRIu64, engine_head(session->hub->engine).position);
        return 0;
    }
    if (moment_parse(text, &moment, fault) < 0 ||
        moment_position(session->hub->engine, &moment, &position, fault) < 0)
        return -1;
    if (position == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "there was no event at %.*s", SLICE_ARGS(text));
    if (put_position(session, position, told, fault) < 0) return -1;
    session_past_forget(session);
    session->past.is_set = true;
    session->past.position = position;
    snprintf(session->past.moment, sizeof session->past.moment, "%.*s", SLICE_ARGS(text));
    session->scan.head = position; /* queries of events end there */
    return 0;
}

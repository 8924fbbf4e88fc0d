/* Sessions of a hub: one call at a time, readers that are slow or gone, cancelling, idling, stopping. */
#include "run_support.h"

#include "run/session.h"

struct asked {
    struct session_call *call;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    unsigned moves;
};

static void on_moved(struct session_call *call)
{
    struct asked *asked = call->user;
    pthread_mutex_lock(&asked->mutex);
    asked->moves++;
    pthread_cond_broadcast(&asked->moved);
    pthread_mutex_unlock(&asked->mutex);
}

static struct asked *asked_new(enum session_kind kind, const char *session, const char *text)
{
    struct asked *asked = calloc(1, sizeof *asked);
    pthread_mutex_init(&asked->mutex, NULL);
    pthread_cond_init(&asked->moved, NULL);
    asked->call = session_call_new(kind, on_moved, asked);
    snprintf(asked->call->tenant, sizeof asked->call->tenant, "main");
    snprintf(asked->call->session, sizeof asked->call->session, "%s", session);
    buf_put_text(&asked->call->text, text);
    return asked;
}

static void asked_free(struct asked *asked)
{
    session_call_leave(asked->call);
    free(asked);
}

/* Takes what comes until out has the text, or all of it if that is NULL. */
static void take_until(struct asked *asked, struct buf *out, const char *text)
{
    for (bool over = false; !over;) {
        pthread_mutex_lock(&asked->mutex);
        while (asked->moves == 0) pthread_cond_wait(&asked->moved, &asked->mutex);
        asked->moves = 0;
        pthread_mutex_unlock(&asked->mutex);
        over = session_call_take(asked->call, out);
        buf_put_byte(out, 0);
        out->size--;
        if (text && strstr(out->data, text)) return;
    }
    if (text) fail_msg("'%s' is not in '%s'", text, out->data);
}

static struct asked *begin(struct hub *hub, enum session_kind kind, const char *session, const char *text)
{
    struct asked *asked = asked_new(kind, session, text);
    if (hub_session_ask(hub, asked->call, &test_fault) < 0) fail_msg("%s", test_fault.text);
    return asked;
}

static void expect_lines(struct hub *hub, const char *session, const char *source, const char *lines)
{
    struct asked *asked = begin(hub, SESSION_EVALUATE, session, source);
    struct buf out = {0};
    take_until(asked, &out, NULL);
    assert_string_equal(out.data, lines);
    buf_release(&out);
    asked_free(asked);
}

static void expect_refused(struct hub *hub, enum session_kind kind, const char *session, enum fault_code code)
{
    struct asked *asked = asked_new(kind, session, "1");
    struct fault fault = {0};
    assert_int_equal(hub_session_ask(hub, asked->call, &fault), -1);
    assert_int_equal(fault.code, code);
    asked_free(asked);
}

struct opened {
    char id[40];
};

static struct opened open_session(struct hub *hub)
{
    struct opened opened;
    struct asked *asked = begin(hub, SESSION_OPEN, "", "");
    struct buf out = {0};
    take_until(asked, &out, NULL);
    assert_int_equal(sscanf(out.data, "{\"session\":\"%36[0-9a-f-]\"", opened.id), 1);
    buf_release(&out);
    asked_free(asked);
    return opened;
}

static void close_session(struct hub *hub, struct opened session)
{
    struct asked *asked = begin(hub, SESSION_CLOSE, session.id, "");
    struct buf out = {0};
    take_until(asked, &out, NULL);
    assert_string_equal(out.data, "{\"closed\":true}\n");
    buf_release(&out);
    asked_free(asked);
}

static void a_session(void **state)
{
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened one = open_session(hub), other = open_session(hub);
    expect_lines(hub, one.id, "x = 1", "{\"none\":true}\n");
    expect_lines(hub, one.id, "print(x) return x", "{\"print\":\"1\"}\n{\"value\":1}\n");
    expect_lines(hub, other.id, "x", "{\"value\":null}\n");
    expect_lines(hub, "", "bank.account '1'",
                 "{\"value\":{\"position\":0,\"stream\":\"bank/account/1\",\"version\":0}}\n");
    assert_int_equal(hub_session_count(hub), 2);
    close_session(hub, one);
    expect_refused(hub, SESSION_EVALUATE, one.id, FAULT_NOT_FOUND);
    expect_refused(hub, SESSION_CLOSE, one.id, FAULT_NOT_FOUND);
    assert_int_equal(hub_session_count(hub), 1);
    hub_close(hub);
}

static const char forever[] = "print 'begun' while true do pcall(print) end";
static const char ended[] = "{\"error\":{\"code\":\"cancelled\",\"message\":\"cancelled\"}}\n";

static void so_many_and_no_more(void **state)
{
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened all[SESSIONS_MAX];
    struct asked *asked[SESSIONS_MAX];
    struct buf out = {0};
    for (size_t at = 0; at < SESSIONS_MAX; at++) all[at] = open_session(hub);
    /* Who is idle longest gives way. */
    expect_lines(hub, all[0].id, "1", "{\"value\":1}\n");
    struct opened other = open_session(hub);
    expect_refused(hub, SESSION_EVALUATE, all[1].id, FAULT_NOT_FOUND);
    assert_int_equal(hub_session_count(hub), SESSIONS_MAX);
    all[1] = other;
    /* Who is at work does not. */
    for (size_t at = 0; at < SESSIONS_MAX; at++) {
        asked[at] = begin(hub, SESSION_EVALUATE, all[at].id, forever);
        buf_clear(&out);
        take_until(asked[at], &out, "begun");
    }
    expect_refused(hub, SESSION_OPEN, "", FAULT_BUSY);
    expect_refused(hub, SESSION_EVALUATE, "", FAULT_BUSY);
    for (size_t at = 0; at < SESSIONS_MAX; at++) {
        assert_int_equal(hub_session_cancel(hub, slice_of("main"), slice_of(all[at].id), &test_fault), 0);
        buf_clear(&out);
        take_until(asked[at], &out, NULL);
        asked_free(asked[at]);
    }
    expect_lines(hub, "", "1", "{\"value\":1}\n");
    buf_release(&out);
    hub_close(hub);
}

static void one_call_at_a_time(void **state)
{
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened session = open_session(hub);
    struct asked *asked = begin(hub, SESSION_EVALUATE, session.id, "print 'begun' while true do end");
    struct buf out = {0};
    take_until(asked, &out, "begun");
    for (enum session_kind kind = SESSION_EVALUATE; kind <= SESSION_CLOSE; kind++)
        expect_refused(hub, kind, session.id, FAULT_CONFLICT);
    assert_int_equal(hub_session_cancel(hub, slice_of("other"), slice_of(session.id), &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    assert_int_equal(hub_session_cancel(hub, slice_of("main"), slice_of(session.id), &test_fault), 0);
    buf_clear(&out);
    take_until(asked, &out, NULL);
    assert_string_equal(out.data, ended);
    assert_int_equal(asked->call->fault.code, FAULT_CANCELLED);
    asked_free(asked);
    /* A cancellation never hits the next one. */
    for (int round = 0; round < 100; round++) {
        assert_int_equal(hub_session_cancel(hub, slice_of("main"), slice_of(session.id), &test_fault), 0);
        expect_lines(hub, session.id, "print(1) return 1", "{\"print\":\"1\"}\n{\"value\":1}\n");
    }
    buf_release(&out);
    hub_close(hub);
}

/* Nobody takes what it prints: it waits, with a bound on what is held; and ends as soon as nobody ever will.
 */
static void slow_readers(void **state)
{
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened session = open_session(hub);
    struct buf out = {0};
    struct asked *asked = begin(hub, SESSION_EVALUATE, session.id,
                                "for i = 1, 2000 do print(('x'):rep(1000)) end return 'all'");
    for (bool over = false; !over;) {
        size_t before = out.size;
        over = session_call_take(asked->call, &out);
        assert_true(out.size - before < 300 * 1024);
    }
    buf_put_byte(&out, 0);
    assert_string_equal(out.data + out.size - 1 - strlen("{\"value\":\"all\"}\n"), "{\"value\":\"all\"}\n");
    assert_true(out.size > 2000 * 1000);
    asked_free(asked);
    buf_clear(&out);
    asked = begin(hub, SESSION_EVALUATE, session.id, "while true do print(('x'):rep(1000)) end");
    take_until(asked, &out, "x");
    asked_free(asked); /* it leaves while the thread waits for room, or soon will */
    struct fault fault = {0};
    struct asked *next = asked_new(SESSION_EVALUATE, session.id, "1");
    while (hub_session_ask(hub, next->call, &fault) < 0) assert_int_equal(fault.code, FAULT_CONFLICT);
    buf_clear(&out);
    take_until(next, &out, NULL);
    assert_string_equal(out.data, "{\"value\":1}\n");
    asked_free(next);
    buf_release(&out);
    hub_close(hub);
}

static void the_hub_stops(void **state)
{
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened idle = open_session(hub), busy = open_session(hub), flooding = open_session(hub),
                  left = open_session(hub);
    struct buf out = {0};
    struct asked *one = begin(hub, SESSION_EVALUATE, busy.id, forever);
    struct asked *two = begin(hub, SESSION_EVALUATE, flooding.id, "while true do print(('x'):rep(1000)) end");
    struct asked *three = begin(hub, SESSION_EVALUATE, left.id, forever);
    take_until(one, &out, "begun");
    take_until(three, &out, "begun");
    asked_free(three);
    hub_stop(hub);
    buf_clear(&out);
    take_until(one, &out, NULL);
    assert_non_null(
        strstr(out.data, "{\"error\":{\"code\":\"unavailable\",\"message\":\"the hub is stopping\"}}\n"));
    expect_refused(hub, SESSION_OPEN, "", FAULT_UNAVAILABLE);
    expect_refused(hub, SESSION_EVALUATE, idle.id, FAULT_UNAVAILABLE);
    hub_close(hub);
    buf_clear(&out);
    take_until(two, &out, NULL); /* what it told is there although the hub is gone */
    assert_non_null(strstr(out.data, "the hub is stopping"));
    asked_free(one);
    asked_free(two);
    buf_release(&out);
}

static void nobody_asks(void **state)
{
    write_script("hub.lua", "return { limits = { repl_idle_seconds = 1 } }");
    struct hub *hub = open_hub(NULL, 1, -1);
    struct opened session = open_session(hub);
    while (hub_session_count(hub) > 0) usleep(1000);
    expect_refused(hub, SESSION_EVALUATE, session.id, FAULT_NOT_FOUND);
    expect_lines(hub, "", "1", "{\"value\":1}\n");
    hub_close(hub);
}

static void it_is_off(void **state)
{
    write_script("hub.lua", "return { repl = false }");
    struct hub *hub = open_hub(NULL, 1, -1);
    expect_refused(hub, SESSION_OPEN, "", FAULT_NOT_FOUND);
    hub_close(hub);
    write_script("hub.lua", "return { repl = 1 }");
    struct hub_options options = {.scripts = folder("scripts"), .projectors = -1};
    assert_int_equal(hub_open(&options, &hub, &test_fault), -1);
    assert_non_null(strstr(test_fault.text, "repl is true or false"));
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_session),     CASE(so_many_and_no_more), CASE(one_call_at_a_time), CASE(slow_readers),
        CASE(the_hub_stops), CASE(nobody_asks),         CASE(it_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

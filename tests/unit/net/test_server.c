/* The server by itself, over real sockets, with handlers that are made for the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "client.h"
#include "base/mem.h"
#include "net/server.h"
#include "net/socket.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

/* --- a server on a thread of its own --- */

enum { LATER_MAX = 64 };

struct fixture {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t later, stop;
    uv_sem_t ready, taken; /* taken: a handler has kept an exchange back */
    uv_sem_t ended;
    struct server *server;
    struct server_limits limits;
    int port;
    uv_mutex_t mutex;
    struct exchange *kept[LATER_MAX]; /* answered when the test says so */
    int kept_count;
    int last_status;
    bool is_stopping;
};

struct flow { /* of /stream: so many pieces, some of them silent */
    int left;
    size_t piece_size;
    bool waits;
};

static enum server_pull pull_flow(void *user, struct buf *out)
{
    struct flow *flow = user;
    if (flow->left == 0) return SERVER_END;
    flow->left--;
    if (flow->left % 3 == 1) return SERVER_MORE; /* nothing yet */
    memset(buf_room(out, flow->piece_size), 'x', flow->piece_size);
    out->size += flow->piece_size;
    return SERVER_MORE;
}

static enum server_pull pull_cut(void *user, struct buf *out)
{
    struct flow *flow = user;
    if (flow->left-- == 0) return SERVER_CUT;
    buf_put_text(out, "half");
    return SERVER_MORE;
}

static void keep(struct fixture *fixture, struct exchange *exchange)
{
    uv_mutex_lock(&fixture->mutex);
    fixture->kept[fixture->kept_count++] = exchange;
    uv_mutex_unlock(&fixture->mutex);
    uv_sem_post(&fixture->taken);
}

static void handle(void *user, struct exchange *exchange)
{
    struct fixture *fixture = user;
    struct slice target = exchange_target(exchange);
    struct buf *out = exchange_out(exchange);
    struct flow *flow = arena_zero(exchange_arena(exchange), sizeof *flow);
    if (slice_is(target, "/kept")) {
        keep(fixture, exchange);
    } else if (slice_is(target, "/echo")) {
        struct slice body = exchange_body(exchange);
        unsigned sum = 0;
        for (size_t i = 0; i < body.size; i++) sum = sum * 31 + (unsigned char)body.data[i];
        buf_format(out, "%.*s %zu %u", SLICE_ARGS(exchange_method(exchange)), body.size, sum);
        exchange_put_header(exchange, "X-Seen", exchange_header(exchange, "X-Word"));
        exchange_reply(exchange, 200, "text/plain");
    } else if (slice_is(target, "/stream") || slice_is(target, "/endless")) {
        *flow = (struct flow){.left = slice_is(target, "/stream") ? 10 : 1 << 30, .piece_size = 50000};
        buf_put_text(out, "begin ");
        exchange_stream(exchange, 200, "text/plain", pull_flow, flow);
    } else if (slice_is(target, "/cut")) {
        flow->left = 1;
        exchange_stream(exchange, 200, "text/plain", pull_cut, flow);
    } else {
        buf_format(out, "hello %.*s", SLICE_ARGS(target));
        exchange_reply(exchange, 200, "text/plain");
    }
}

static void on_ended(void *user, struct exchange *exchange, int status)
{
    struct fixture *fixture = user;
    fixture->last_status = status;
    uv_sem_post(&fixture->ended);
}

static void on_later(uv_async_t *async)
{
    struct fixture *fixture = async->data;
    uv_mutex_lock(&fixture->mutex);
    for (int i = 0; i < fixture->kept_count; i++) {
        buf_put_text(exchange_out(fixture->kept[i]), "later");
        exchange_reply(fixture->kept[i], 200, "text/plain");
    }
    fixture->kept_count = 0;
    uv_mutex_unlock(&fixture->mutex);
}

static void on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void serve(void *user)
{
    struct fixture *fixture = user;
    uv_loop_init(&fixture->loop);
    uv_async_init(&fixture->loop, &fixture->later, on_later);
    uv_async_init(&fixture->loop, &fixture->stop, on_stop);
    fixture->later.data = fixture;
    struct server_options options = {.loop = &fixture->loop,
                                     .limits = fixture->limits,
                                     .handle = handle,
                                     .ended = on_ended,
                                     .user = fixture};
    struct fault fault;
    int fd;
    if (server_open(&options, &fixture->server, &fault) < 0 ||
        socket_listen("127.0.0.1", &fixture->port, &fd, &fault) < 0) {
        fprintf(stderr, "%s\n", fault.text);
        abort();
    }
    server_listen(fixture->server, fd, false);
    uv_sem_post(&fixture->ready);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    server_close(fixture->server);
    uv_close((uv_handle_t *)&fixture->later, NULL);
    uv_close((uv_handle_t *)&fixture->stop, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&fixture->loop) != 0) abort(); /* a handle was left behind */
}

static struct fixture *start(struct server_limits limits)
{
    struct fixture *fixture = MEM_NEW(struct fixture);
    fixture->limits = limits;
    uv_sem_init(&fixture->ready, 0);
    uv_sem_init(&fixture->taken, 0);
    uv_sem_init(&fixture->ended, 0);
    uv_mutex_init(&fixture->mutex);
    uv_thread_create(&fixture->thread, serve, fixture);
    uv_sem_wait(&fixture->ready);
    return fixture;
}

static void begin_stop(struct fixture *fixture)
{
    if (!fixture->is_stopping) uv_async_send(&fixture->stop);
    fixture->is_stopping = true;
}

static void stop(struct fixture *fixture)
{
    begin_stop(fixture);
    uv_thread_join(&fixture->thread);
    uv_sem_destroy(&fixture->ready);
    uv_sem_destroy(&fixture->taken);
    uv_sem_destroy(&fixture->ended);
    uv_mutex_destroy(&fixture->mutex);
    mem_free(fixture);
}

static void expect(struct client *client, int status, const char *body)
{
    struct answer answer = client_answer(client);
    if (answer.status != status)
        fail_msg("got %d, expected %d: %s%s", answer.status, status, answer.head, answer.body.data);
    if (body && !strstr(answer.body.data, body)) fail_msg("got %s, expected %s", answer.body.data, body);
    assert_true(answer.is_whole);
    answer_release(&answer);
}

/* --- the tests --- */

static void test_keep_alive_and_pipelining(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    for (int i = 0; i < 3; i++) {
        client_say(&client, GET("/one"));
        expect(&client, 200, "hello /one");
    }
    client_say(&client, GET("/1") GET("/kept") GET("/2") GET("/3"));
    expect(&client, 200, "hello /1");
    uv_sem_wait(&fixture->taken);
    uv_async_send(&fixture->later);
    expect(&client, 200, "later");
    expect(&client, 200, "hello /2");
    expect(&client, 200, "hello /3");
    client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" GET("/4"));
    expect(&client, 200, "POST 3 96354");
    expect(&client, 200, "hello /4");
    client_close(&client);
    stop(fixture);
}

static void test_bytes_one_by_one(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    const char *request =
        "POST /echo?x HTTP/1.1\r\n" HOST "X-Word: word\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2;ext=1\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n";
    for (const char *at = request; *at; at++) client_say_bytes(&client, at, 1);
    struct answer answer = client_answer(&client);
    assert_string_equal(answer.body.data, "hello /echo?x");
    answer_release(&answer);
    client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "X-Word: word\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "2;ext=1\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n");
    answer = client_answer(&client);
    assert_string_equal(answer.body.data, "POST 3 96354");
    assert_string_equal(answer_header(&answer, "X-Seen"), "word");
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

static void test_half_requests_hurt_nobody(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    static const char *const halves[] = {"",
                                         "G",
                                         "GET / HT",
                                         "GET / HTTP/1.1\r\n",
                                         "GET / HTTP/1.1\r\n" HOST,
                                         "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc",
                                         "POST /echo HTTP/1.1\r\n" HOST
                                         "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
                                         "\r\n\r\n\r\n",
                                         "\0\0\0",
                                         "\x16\x03\x01\x02"};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        struct client client = client_connect(fixture->port);
        client_say(&client, halves[i]);
        client_close(&client);
        client = client_connect(fixture->port);
        client_say(&client, GET("/x"));
        expect(&client, 200, "hello");
        client_close(&client);
    }
    stop(fixture);
}

/* What must never pass for two requests: the first is refused and the connection ends. */
static void test_smuggling(void **state)
{
    struct fixture *fixture = start((struct server_limits){.head_ms = 500, .sweep_ms = 20});
    static const char *const rows[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 30\r\n\r\nx" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 30\r\nContent-Length: 1\r\n\r\nx" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nabcde" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nabcde" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nabcde" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "X: y\rContent-Length: 5\r\n\r\nabcde" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\n\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\n" HOST HOST "\r\n" GET("/smuggled"),
        "GET /a b HTTP/1.1\r\n" HOST "\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\n" HOST "\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\n" HOST "\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" GET("/smuggled"),
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n" GET("/smuggled"),
        "GET / HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n" GET("/smuggled"),
        "GET http://localhost/ HTTP/1.1\r\n" HOST "\r\n" GET("/smuggled"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client client = client_connect(fixture->port);
        client_say(&client, rows[i]);
        struct answer answer = client_answer(&client);
        if (answer.status != 400 && answer.status != 403)
            fail_msg("row %zu: %d %s", i, answer.status, answer.head);
        /* And never a second answer. */
        while (client_hear(&client)) {
        }
        buf_put_byte(&client.heard, 0);
        if (strstr(client.heard.data, "hello"))
            fail_msg("row %zu: the connection went on: %s", i, client.heard.data);
        answer_release(&answer);
        client_close(&client);
    }
    stop(fixture);
}

static bool say_body(struct client *client, size_t size, bool is_chunked)
{
    static char block[10000];
    memset(block, 'x', sizeof block);
    while (size > 0) {
        size_t piece = size < sizeof block ? size : sizeof block;
        char line[32];
        snprintf(line, sizeof line, "%zx\r\n", piece);
        if (is_chunked && !client_say(client, line)) return false;
        if (!client_say_bytes(client, block, piece)) return false;
        if (is_chunked && !client_say(client, "\r\n")) return false;
        size -= piece;
    }
    return !is_chunked || client_say(client, "0\r\n\r\n");
}

static void test_bodies_too_large(void **state)
{
    struct fixture *fixture =
        start((struct server_limits){.body_size_max = 100000, .dropped_size_max = 1000000});
    struct client client = client_connect(fixture->port);
    char head[200];
    static const size_t sizes[] = {100000, 100001, 500000};
    for (int is_chunked = 0; is_chunked < 2; is_chunked++)
        for (size_t i = 0; i < 3; i++) {
            if (is_chunked)
                snprintf(head, sizeof head,
                         "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
            else
                snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                         sizes[i]);
            client_say(&client, head);
            assert_true(say_body(&client, sizes[i], is_chunked));
            expect(&client, sizes[i] > 100000 ? 413 : 200,
                   sizes[i] > 100000 ? "\"too_large\"" : "POST 100000");
        }
    client_say(&client, GET("/after"));
    expect(&client, 200, "hello /after"); /* what was read to its end does not cost the connection */
    client_close(&client);

    /* Above what is read and dropped: the answer is there all the same, then the end. */
    client = client_connect(fixture->port);
    client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    assert_false(say_body(&client, (size_t)1 << 30, true));
    client_close(&client);
    stop(fixture);
}

static void test_expect_continue(void **state)
{
    struct fixture *fixture = start((struct server_limits){.body_size_max = 1000});
    struct client client = client_connect(fixture->port);
    client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect(&client, 100, NULL);
    client_say(&client, "abc");
    expect(&client, 200, "POST 3 96354");
    client_say(&client,
               "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3000\r\nExpect: 100-continue\r\n\r\n");
    expect(&client, 413, "too_large");
    assert_true(client_is_over(&client));
    client_close(&client);
    stop(fixture);
}

static void test_large_heads(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    static char head[40000];
    static const struct {
        size_t value_size;
        int status;
    } rows[] = {{15000, 200}, {16500, 431}, {30000, 431}};
    for (size_t i = 0; i < 3; i++) {
        struct client client = client_connect(fixture->port);
        int size = snprintf(head, sizeof head, "GET /x HTTP/1.1\r\n" HOST "X: ");
        memset(head + size, 'y', rows[i].value_size);
        strcpy(head + size + rows[i].value_size, "\r\n\r\n");
        client_say(&client, head);
        struct answer answer = client_answer(&client);
        assert_int_equal(answer.status, rows[i].status);
        answer_release(&answer);
        client_close(&client);
    }
    struct client client = client_connect(fixture->port);
    int size = snprintf(head, sizeof head, "GET /");
    memset(head + size, 'y', 9000);
    strcpy(head + size + 9000, " HTTP/1.1\r\n" HOST "\r\n");
    client_say(&client, head);
    struct answer answer = client_answer(&client);
    assert_int_equal(answer.status, 414);
    answer_release(&answer);
    client_close(&client);

    client = client_connect(fixture->port);
    client_say(&client, "GET /x HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 150; i++) client_say(&client, "A: b\r\n");
    client_say(&client, "\r\n");
    answer = client_answer(&client);
    assert_int_equal(answer.status, 431);
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

/* Says a byte now and then, without end, until it is told to stop. */
static struct answer drip(struct client *client, const char *first, char byte)
{
    client_say(client, first);
    struct pollfd watched = {.fd = client->fd, .events = POLLIN};
    while (poll(&watched, 1, 5) == 0) client_say_bytes(client, &byte, 1);
    return client_answer(client);
}

static void test_slow_senders_are_cut(void **state)
{
    struct fixture *fixture = start((struct server_limits){.head_ms = 150,
                                                           .body_grace_ms = 150,
                                                           .body_rate_min = 100000,
                                                           .sweep_ms = 20,
                                                           .dropped_ms = 150,
                                                           .body_size_max = 500});
    static const struct {
        const char *first;
        int status;
    } rows[] = {
        {"GET /x HTTP/1.1\r\n" HOST "X: ", 408},
        {"GET /", 408},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 400\r\n\r\n", 408},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n", 413},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct client client = client_connect(fixture->port);
        struct answer answer = drip(&client, rows[i].first, 'a');
        if (answer.status != rows[i].status) fail_msg("row %zu: %d %s", i, answer.status, answer.head);
        answer_release(&answer);
        client_close(&client);
    }
    /* The second request of a connection has the same deadline. */
    struct client client = client_connect(fixture->port);
    client_say(&client, GET("/x"));
    expect(&client, 200, "hello");
    struct answer answer = drip(&client, "GET /", 'a');
    assert_int_equal(answer.status, 408);
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

/* Most of a body at once, then nothing: what came early does not buy hours. */
static void test_stalled_bodies_are_cut(void **state)
{
    struct fixture *fixture = start((struct server_limits){
        .body_grace_ms = 150, .body_rate_min = 1000, .sweep_ms = 20, .body_size_max = 100000});
    struct client client = client_connect(fixture->port);
    client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\n");
    say_body(&client, 80000, false);
    struct answer answer = client_answer(&client);
    assert_int_equal(answer.status, 408);
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

static void test_silent_connections_end(void **state)
{
    struct fixture *fixture = start((struct server_limits){.idle_ms = 1000, .sweep_ms = 50});
    struct client fresh = client_connect(fixture->port), used = client_connect(fixture->port);
    client_say(&used, GET("/x"));
    expect(&used, 200, "hello");
    assert_true(client_is_over(&fresh));
    assert_true(client_is_over(&used));
    client_close(&fresh);
    client_close(&used);
    stop(fixture);
}

static void test_slow_reader_is_cut(void **state)
{
    struct fixture *fixture = start((struct server_limits){.idle_ms = 1000, .sweep_ms = 50});
    struct client client = client_connect(fixture->port);
    client_say(&client, GET("/endless"));
    uv_sem_wait(&fixture->ended); /* nothing is read: it must end by itself */
    struct client other = client_connect(fixture->port);
    client_say(&other, GET("/x"));
    expect(&other, 200, "hello");
    client_close(&other);
    client_close(&client);
    stop(fixture);
}

static void test_streams(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    for (int i = 0; i < 2; i++) {
        client_say(&client, GET("/stream"));
        struct answer answer = client_answer(&client);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer_header(&answer, "Transfer-Encoding"), "chunked");
        assert_int_equal(answer.body.size, strlen("begin ") + 7 * 50000);
        assert_true(answer.is_whole);
        answer_release(&answer);
    }
    client_say(&client, "HEAD /x HTTP/1.1\r\n" HOST "\r\n" GET("/after"));
    struct answer answer = client_answer_to(&client, true);
    assert_string_equal(answer_header(&answer, "Content-Length"), "8");
    answer_release(&answer);
    expect(&client, 200, "hello /after");
    client_say(&client, GET("/cut"));
    answer = client_answer(&client);
    assert_false(answer.is_whole); /* no last chunk: the client knows */
    answer_release(&answer);
    client_close(&client);
    client = client_connect(fixture->port);
    client_say(&client, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    answer = client_answer_to(&client, true);
    assert_int_equal(answer.status, 200);
    assert_true(client_is_over(&client)); /* and not a byte of a body */
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

static void test_http_1_0(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    client_say(&client, "GET /x HTTP/1.0\r\n\r\n");
    expect(&client, 200, "hello /x");
    assert_true(client_is_over(&client));
    client_close(&client);
    client = client_connect(fixture->port);
    client_say(&client, "GET /stream HTTP/1.0\r\n\r\n");
    struct answer answer = client_answer(&client);
    assert_null(answer_header(&answer, "Transfer-Encoding"));
    assert_int_equal(answer.body.size, strlen("begin ") + 7 * 50000);
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

static void test_clients_that_leave(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    for (int i = 0; i < 20; i++) {
        struct client client = client_connect(fixture->port);
        client_say(&client, GET("/kept"));
        uv_sem_wait(&fixture->taken);
        if (i % 2) { /* a reset rather than an end */
            struct linger linger = {1, 0};
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
        client_close(&client);
        uv_async_send(&fixture->later);
        uv_sem_wait(&fixture->ended);
    }
    struct client client = client_connect(fixture->port);
    client_say(&client, GET("/endless"));
    struct answer answer = {0};
    while (client.heard.size < 100000) client_hear(&client);
    client_close(&client);
    uv_sem_wait(&fixture->ended);
    answer_release(&answer);
    stop(fixture);
}

static void test_thousand_idle_connections(void **state)
{
    enum { COUNT = 1000 };
    struct fixture *fixture = start((struct server_limits){.connections_max = COUNT + 2});
    static struct client clients[COUNT];
    for (int i = 0; i < COUNT; i++) {
        clients[i] = client_connect(fixture->port);
        if (i % 2) {
            client_say(&clients[i], GET("/x"));
            expect(&clients[i], 200, "hello");
        }
    }
    struct client client = client_connect(fixture->port);
    for (int i = 0; i < 100; i++) {
        client_say(&client, GET("/x"));
        expect(&client, 200, "hello");
    }
    struct client last = client_connect(fixture->port), excess;
    client_say(&last, GET("/x"));
    expect(&last, 200, "hello");
    excess = client_connect(fixture->port);
    struct answer answer = client_answer(&excess);
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer_header(&answer, "Retry-After"), "1");
    assert_true(client_is_over(&excess));
    answer_release(&answer);
    client_close(&excess);
    client_close(&client);
    client_close(&last);
    for (int i = 0; i < COUNT; i++) client_close(&clients[i]);
    stop(fixture);
}

static void test_stop_answers_what_was_taken(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port), idle = client_connect(fixture->port);
    client_say(&idle, GET("/x"));
    expect(&idle, 200, "hello");
    client_say(&client, GET("/kept"));
    uv_sem_wait(&fixture->taken);
    begin_stop(fixture);
    assert_true(client_is_over(&idle));
    uv_async_send(&fixture->later);
    struct answer answer = client_answer(&client);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_release(&answer);
    assert_true(client_is_over(&client));
    client_close(&client);
    client_close(&idle);
    stop(fixture);
}

static void test_many_bodies_are_bounded(void **state)
{
    struct fixture *fixture = start(
        (struct server_limits){.body_size_max = 100000, .bodies_size_max = 150000, .body_grace_ms = 600000});
    struct client a = client_connect(fixture->port), b = client_connect(fixture->port),
                  c = client_connect(fixture->port);
    const char *head = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\n";
    client_say(&a, head);
    say_body(&a, 80000, false);
    client_say(&b, head);
    say_body(&b, 80000, false);
    /* c is refused for sure once both are in memory; until then it may be served, so it asks until it is. */
    int status = 200;
    while (status == 200) {
        client_say(&c, head);
        say_body(&c, 90000, false);
        struct answer answer = client_answer(&c);
        status = answer.status;
        answer_release(&answer);
    }
    assert_int_equal(status, 503);
    say_body(&a, 10000, false);
    struct answer answer = client_answer(&a);
    assert_true(answer.status == 200 || answer.status == 503);
    answer_release(&answer);
    client_close(&a);
    client_close(&b);
    client_close(&c);
    stop(fixture);
}

/* Who has said everything may close that direction and still hears the answer, also a late one. */
static void test_half_closed_clients_are_answered(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    client_say(&client, GET("/x") GET("/kept"));
    shutdown(client.fd, SHUT_WR);
    expect(&client, 200, "hello /x");
    uv_sem_wait(&fixture->taken);
    uv_async_send(&fixture->later);
    expect(&client, 200, "later");
    assert_true(client_is_over(&client));
    client_close(&client);
    stop(fixture);
}

/* A refusal reaches also those who are in the midst of sending: the connection is not reset under them. */
static void test_refusals_are_heard(void **state)
{
    struct fixture *fixture = start((struct server_limits){0});
    struct client client = client_connect(fixture->port);
    client_say(&client, "POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 3000000\r\n\r\n");
    assert_true(say_body(&client, 3000000, false));
    expect(&client, 403, "forbidden");
    assert_true(client_is_over(&client));
    client_close(&client);
    client = client_connect(fixture->port);
    client_say(&client, "GET /x HTTP/1.1\r\n" HOST "Connection: TE, Close\r\n\r\n" GET("/more"));
    struct answer answer = client_answer(&client);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_true(client_is_over(&client));
    answer_release(&answer);
    client_close(&client);
    stop(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive_and_pipelining),
        cmocka_unit_test(test_bytes_one_by_one),
        cmocka_unit_test(test_half_requests_hurt_nobody),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_bodies_too_large),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_large_heads),
        cmocka_unit_test(test_slow_senders_are_cut),
        cmocka_unit_test(test_stalled_bodies_are_cut),
        cmocka_unit_test(test_silent_connections_end),
        cmocka_unit_test(test_slow_reader_is_cut),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_clients_that_leave),
        cmocka_unit_test(test_thousand_idle_connections),
        cmocka_unit_test(test_stop_answers_what_was_taken),
        cmocka_unit_test(test_many_bodies_are_bounded),
        cmocka_unit_test(test_half_closed_clients_are_answered),
        cmocka_unit_test(test_refusals_are_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* All routes over real sockets on a hub in memory, with scripts that the test writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/mem.h"
#include "client.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "net/net.h"
#include "net/socket.h"

static const char contracts[] = "contracts [[\n"
                                "  Add?   (n: integer, tag: string?)\n"
                                "  Added! (n: integer, tag: string?)\n"
                                "  Look?\n"
                                "]]\n";
static const char item[] = "local item = aggregate \"item\" { initial = { total = 0 } }\n"
                           "function item.apply.Added(state, e) state.total = state.total + e.n end\n"
                           "function item.execute.Add(state, c)\n"
                           "  if c.n == 0 then reject(\"zero\", \"nothing to add\") end\n"
                           "  if c.n == 99 then local nothing = nil; return nothing.field end\n"
                           "  return Added { n = c.n, tag = c.tag }\n"
                           "end\n"
                           "function item.execute.Look(state, c) end\n";
static const char items[] =
    "local items = projection \"items\" { initial = { total = 0 }, index = { \"total\" } }\n"
    "function items.when.Added(view, e)\n"
    "  if e.n == 13 then error(\"unlucky\") end\n"
    "  view.total = view.total + e.n\n"
    "end\n";

struct fixture {
    char dir[64];
    struct hub *hub;
    struct net *net;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    uv_sem_t ready;
    struct net_options options;
    int port;
    bool is_stopping;
};

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void serve(void *user)
{
    struct fixture *fixture = user;
    struct fault fault;
    uv_loop_init(&fixture->loop);
    uv_async_init(&fixture->loop, &fixture->stop, on_stop);
    fixture->options.hub = fixture->hub;
    fixture->options.loop = &fixture->loop;
    fixture->options.host = "127.0.0.1";
    if (net_open(&fixture->options, &fixture->net, &fault) < 0) {
        fprintf(stderr, "%s\n", fault.text);
        abort();
    }
    fixture->port = net_port(fixture->net);
    uv_sem_post(&fixture->ready);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    net_stop(fixture->net);
    hub_stop(fixture->hub);
    net_close(fixture->net);
    uv_close((uv_handle_t *)&fixture->stop, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&fixture->loop) != 0) abort(); /* a handle was left behind */
}

static struct fixture *start(struct net_options options)
{
    struct fixture *fixture = MEM_NEW(struct fixture);
    fixture->options = options;
    strcpy(fixture->dir, "/tmp/lore-net-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    char shop[100];
    snprintf(shop, sizeof shop, "%s/shop", fixture->dir);
    mkdir(shop, 0777);
    write_file(shop, "contracts.lua", contracts);
    write_file(shop, "item.lua", item);
    write_file(shop, "items.lua", items);
    struct hub_options hub = {.scripts = fixture->dir, .shards = 2, .projectors = 1};
    struct fault fault;
    if (hub_open(&hub, &fixture->hub, &fault) < 0) fail_msg("%s", fault.text);
    uv_sem_init(&fixture->ready, 0);
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
    hub_close(fixture->hub);
    char command[200];
    snprintf(command, sizeof command, "rm -r %s", fixture->dir);
    assert_int_equal(system(command), 0);
    uv_sem_destroy(&fixture->ready);
    mem_free(fixture);
}

static void ask_with(struct client *client, const char *method, const char *path, const char *headers,
                     const char *body)
{
    struct buf request = {0};
    buf_format(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path, headers);
    if (body)
        buf_format(&request, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        buf_put_text(&request, "\r\n");
    client_say_bytes(client, request.data, request.size);
    buf_release(&request);
}

static struct answer request(struct client *client, const char *method, const char *path, const char *headers,
                             const char *body)
{
    ask_with(client, method, path, headers, body);
    return client_answer_to(client, strcmp(method, "HEAD") == 0);
}

/* Asks, and expects a status and words in the body (each of them, NULL ends). */
#define expect(client, method, path, headers, body, status, ...)                                             \
    expect_at(__LINE__, client, method, path, headers, body, status, (const char *const[]){__VA_ARGS__, NULL})

static void expect_at(int line, struct client *client, const char *method, const char *path,
                      const char *headers, const char *body, int status, const char *const *words)
{
    struct answer answer = request(client, method, path, headers, body);
    if (answer.status != status)
        fail_msg("line %d: %s %s: %s%s", line, method, path, answer.head, answer.body.data);
    for (; *words; words++)
        if (!strstr(answer.body.data, *words))
            fail_msg("line %d: %s %s: no %s in %s", line, method, path, *words, answer.body.data);
    if (status >= 400)
        assert_string_equal(answer_header(&answer, "Content-Type"), "application/problem+json");
    answer_release(&answer);
}

/* The number behind "name": in a JSON text; -1: not there. */
static int64_t number_in(const char *json, const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(json, quoted);
    return at ? strtoll(at + strlen(quoted), NULL, 10) : -1;
}

static int count_in(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) count++;
    return count;
}

static uint64_t add(struct client *client, const char *id, int n)
{
    char path[300], body[100];
    snprintf(path, sizeof path, "/v1/main/shop/item/%s", id);
    snprintf(body, sizeof body, "{\"type\":\"Add\",\"data\":{\"n\":%d}}", n);
    struct answer answer = request(client, "POST", path, "", body);
    if (answer.status != 200) fail_msg("%s%s", answer.head, answer.body.data);
    uint64_t position = (uint64_t)number_in(answer.body.data, "position");
    answer_release(&answer);
    return position;
}

#define ITEM "/v1/main/shop/item/a"
#define ADD "{\"type\":\"Add\",\"data\":{\"n\":1}}"

static void test_commands(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    struct answer answer = request(c, "POST", ITEM, "Correlation-Id: corr\r\nCausation-Id: cause\r\n", ADD);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "ETag"), "\"1\"");
    assert_non_null(strstr(answer.body.data, "{\"version\":1,\"position\":1,\"events\":[{"));
    assert_non_null(strstr(answer.body.data, "\"correlationid\":\"corr\""));
    assert_non_null(strstr(answer.body.data, "\"causationid\":\"cause\""));
    struct buf bytes = {0};
    assert_int_equal(json_to_mp(buf_slice(&answer.body), &bytes, NULL), 0);
    buf_release(&bytes);
    answer_release(&answer);

    expect(c, "POST", ITEM, "", "[" ADD "," ADD "]", 200, "\"version\":3", "\"position\":3");
    expect(c, "POST", ITEM, "", "{\"type\":\"Look\"}", 200, "\"version\":3,\"position\":3,\"events\":[]");
    expect(c, "POST", ITEM, "If-Match: \"3\"\r\n", ADD, 200, "\"version\":4");
    expect(c, "POST", ITEM, "If-Match: \"1\"\r\n", ADD, 409, "\"conflict\"", "\"version\":4", "\"version\":2",
           "\"version\":3");
    expect(c, "POST", ITEM, "If-Match: \"9\"\r\n", ADD, 409, "\"version\":4", "\"events\":[]");
    expect(c, "POST", ITEM, "If-Match: 4\r\n", ADD, 400, "If-Match");
    expect(c, "POST", ITEM, "", "{\"type\":\"Add\",\"data\":{\"n\":0}}", 422, "\"rejected\"",
           "\"reason\":\"zero\"", "nothing to add");
    expect(c, "POST", ITEM, "", "{\"type\":\"Add\",\"data\":{\"n\":99}}", 500, "\"script\"", "item.lua:5");
    expect(c, "POST", ITEM, "", "{\"type\":\"Add\",\"data\":{\"n\":\"x\"}}", 400, "\"contract\"");
    expect(c, "POST", ITEM, "", "{\"type\":\"Nothing\"}", 400, "\"unknown_command\"");
    expect(c, "POST", ITEM, "", "{\"type\":\"Add\",\"dat\":1}", 400, "\"malformed\"", "dat");
    expect(c, "POST", ITEM, "", "{\"type\":", 400, "\"malformed\"");
    expect(c, "POST", ITEM, "", NULL, 400, "\"malformed\"");
    expect(c, "POST", ITEM "?x=1", "", ADD, 400, "unknown parameter x");
    expect(c, "POST", ITEM, "Content-Type: application/xml\r\n", ADD, 415, "unsupported_media_type");
    expect(c, "POST", ITEM, "Content-Type: application/cloudevents+json\r\n", ADD, 200, "\"version\":5");
    expect(c, "POST", "/v1/main/shop/none/a", "", ADD, 404, "not_found");
    expect(c, "POST", "/v1/main/none/item/a", "", ADD, 404, "not_found");
    expect(c, "POST", "/v1/Main/shop/item/a", "", ADD, 404, "not_found");
    expect(c, "POST", "/v1/main/shop/none", "", ADD, 404, "not_found");
    expect(c, "DELETE", ITEM, "", NULL, 405, "method_not_allowed");
    expect(c, "POST", "/v1/main/events", "", ADD, 405, "GET, HEAD, OPTIONS");
    answer = request(c, "OPTIONS", ITEM, "", NULL);
    assert_int_equal(answer.status, 204);
    assert_string_equal(answer_header(&answer, "Allow"), "GET, HEAD, POST, OPTIONS");
    answer_release(&answer);
    client_close(c);
    stop(fixture);
}

static void test_retries(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    struct answer first = request(c, "POST", ITEM, "Idempotency-Key: k1\r\n", ADD);
    struct answer again = request(c, "POST", ITEM, "Idempotency-Key: \"k1\"\r\nIf-Match: \"0\"\r\n", ADD);
    assert_int_equal(again.status, 200);
    assert_string_equal(first.body.data, again.body.data);
    answer_release(&first);
    answer_release(&again);
    expect(c, "POST", ITEM, "Idempotency-Key: k1\r\n", "{\"type\":\"Look\"}", 422, "\"id_reused\"");
    expect(c, "POST", ITEM, "", "{\"type\":\"Add\",\"data\":{\"n\":1},\"id\":\"k1\"}", 200, "\"version\":1");
    expect(c, "POST", ITEM, "Idempotency-Key: k2\r\n", "{\"type\":\"Add\",\"data\":{\"n\":1},\"id\":\"k3\"}",
           400, "exclude");
    expect(c, "POST", ITEM, "Idempotency-Key: a/b\r\n", ADD, 400, "Idempotency-Key");
    client_close(c);
    stop(fixture);
}

static void test_pipelined_commands(void **state)
{
    enum { COUNT = 300 };
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct buf requests = {0};
    for (int i = 0; i < COUNT; i++)
        buf_format(&requests, "POST " ITEM " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n" ADD,
                   strlen(ADD));
    client_say_bytes(&client, requests.data, requests.size);
    for (int i = 1; i <= COUNT; i++) {
        struct answer answer = client_answer(&client);
        assert_int_equal(answer.status, 200);
        assert_int_equal(number_in(answer.body.data, "version"), i);
        answer_release(&answer);
    }
    buf_release(&requests);
    client_close(&client);
    stop(fixture);
}

static void test_states(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    for (int i = 1; i <= 10; i++) {
        add(c, "a", i);
        add(c, "b", 1);
    }
    struct answer answer = request(c, "GET", ITEM, "", NULL);
    assert_string_equal(
        answer.body.data,
        "{\"stream\":\"shop/item/a\",\"version\":10,\"position\":19,\"state\":{\"total\":55}}\n");
    assert_string_equal(answer_header(&answer, "ETag"), "\"10\"");
    answer_release(&answer);
    expect(c, "GET", ITEM "?version=4", "", NULL, 200, "\"version\":4", "\"total\":10");
    expect(c, "GET", ITEM "?at=8", "", NULL, 200, "\"version\":4", "\"position\":7", "\"total\":10");
    expect(c, "GET", ITEM "?at=1", "", NULL, 200, "\"version\":1");
    expect(c, "GET", "/v1/main/shop/item/b?at=1", "", NULL, 404, "not_found");
    expect(c, "GET", ITEM "?at=20", "", NULL, 200, "\"version\":10", "\"position\":19");
    expect(c, "GET", ITEM "?at=21", "", NULL, 404, "beyond the head of the log, which is 20");
    expect(c, "GET", ITEM "?at=0", "", NULL, 404, "had no events then");
    expect(c, "GET", ITEM "?at=deploy:1", "", NULL, 404, "had no events then");
    expect(c, "GET", ITEM "?at=deploy:2", "", NULL, 404, "no deploy 2, the newest is 1");
    expect(c, "GET", ITEM "?at=deploy:0", "", NULL, 404, "no deploy 0");
    expect(c, "GET", ITEM "?at=2999-01-01", "", NULL, 200, "\"version\":10");
    expect(c, "GET", ITEM "?at=2001-01-01", "", NULL, 404, "not_found");
    expect(c, "GET", ITEM "?version=11", "", NULL, 404, "not_found");
    expect(c, "GET", ITEM "?version=0", "", NULL, 400, "version");
    expect(c, "GET", ITEM "?at=yesterday", "", NULL, 400, "at=yesterday");
    expect(c, "GET", ITEM "?at=1&version=1", "", NULL, 400, "exclude");
    expect(c, "GET", ITEM "?when=1", "", NULL, 400, "when");
    expect(c, "GET", "/v1/main/shop/item/never", "", NULL, 404, "not_found");
    expect(c, "GET", "/v1/main/shop/item/never/events", "", NULL, 404, "not_found");
    expect(c, "GET", "/v1/main/shop/none/a", "", NULL, 404, "not_found");
    expect(c, "GET", ITEM "/events?from=9", "", NULL, 200, "\"version\":9", "\"version\":10", "\"next\":11");
    expect(c, "GET", ITEM "/events?limit=2", "", NULL, 200, "\"next\":3");
    answer = request(c, "GET", ITEM "/events", "Accept: application/x-ndjson\r\n", NULL);
    assert_int_equal(count_in(answer.body.data, "\n"), 10);
    answer_release(&answer);
    answer = request(c, "HEAD", ITEM, "", NULL);
    assert_int_equal(answer.status, 200);
    answer_release(&answer);
    client_close(c);
    stop(fixture);
}

static void test_events(void **state)
{
    enum { COUNT = 3000 };
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    struct buf batch = {0};
    for (int i = 0; i < COUNT / 100; i++) {
        buf_clear(&batch);
        for (int j = 0; j < 100; j++)
            buf_format(&batch, "%s{\"type\":\"Add\",\"data\":{\"n\":%d,\"tag\":\"%0200d\"}}", j ? "," : "[",
                       i + 1, i);
        buf_put_text(&batch, "]");
        buf_put_byte(&batch, 0);
        char path[100];
        snprintf(path, sizeof path, "/v1/main/shop/item/%d", i % 10);
        struct answer answer =
            request(c, "POST", path, i == 7 ? "Correlation-Id: seven\r\n" : "", batch.data);
        assert_int_equal(answer.status, 200);
        answer_release(&answer);
    }
    buf_release(&batch);
    static const struct {
        const char *path, *accept;
        int count;
        int64_t next; /* -1: no such member */
    } rows[] = {
        {"/v1/main/events", "", 100, 101},
        {"/v1/main/events?from=0", "", 100, 101},
        {"/v1/main/events?from=2991", "", 10, 3001},
        {"/v1/main/events?from=5000", "", 0, 5000},
        {"/v1/main/events?limit=10&from=5", "", 10, 15},
        {"/v1/main/events?limit=100000", "", 3000, 3001},
        {"/v1/main/events", "Accept: application/x-ndjson\r\n", 3000, -1},
        {"/v1/main/events?limit=7", "Accept: text/html, application/x-ndjson;q=0.9\r\n", 7, -1},
        {"/v1/main/events?type=Added&from=2999", "", 2, 3001},
        {"/v1/main/events?type=Other", "", 0, 3001},
        {"/v1/main/events?context=shop&limit=5", "", 5, 6},
        {"/v1/main/events?context=sho", "", 0, 3001},
        {"/v1/main/events?subject=item/3&limit=1000", "", 300, 3001},
        {"/v1/main/events?subject=item/33", "", 0, 3001},
        {"/v1/main/events?subject=item", "", 0, 3001},
        {"/v1/main/events?correlation=seven&limit=1000", "", 100, 3001},
        {"/v1/main/events?deploy=1&limit=3", "", 3, 4},
        {"/v1/main/events?deploy=2", "", 0, 3001},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct answer answer = request(c, "GET", rows[i].path, rows[i].accept, NULL);
        int count = count_in(answer.body.data, "\"specversion\"");
        int64_t next = number_in(answer.body.data, "next");
        if (answer.status != 200 || !answer.is_whole || count != rows[i].count || next != rows[i].next)
            fail_msg("%s: %d, %d events, next %" PRId64, rows[i].path, answer.status, count, next);
        struct buf bytes = {0};
        struct fault fault;
        if (!rows[i].accept[0] && json_to_mp(buf_slice(&answer.body), &bytes, &fault) < 0)
            fail_msg("%s", fault.text);
        buf_release(&bytes);
        answer_release(&answer);
    }
    /* Streamed in pieces, and nothing is missing or doubled where pieces meet. */
    struct answer answer = request(c, "GET", "/v1/main/events", "Accept: application/x-ndjson\r\n", NULL);
    assert_string_equal(answer_header(&answer, "Transfer-Encoding"), "chunked");
    const char *at = answer.body.data;
    for (int i = 1; i <= COUNT; i++, at = strchr(at, '\n') + 1)
        assert_int_equal(number_in(at, "position"), i);
    answer_release(&answer);
    expect(c, "GET", "/v1/main/events?from=x", "", NULL, 400, "from");
    expect(c, "GET", "/v1/main/events?limit=0", "", NULL, 400, "limit");
    expect(c, "GET", "/v1/main/events?form=1", "", NULL, 400, "form");
    expect(c, "GET", "/v1/main/events?type=%zz", "", NULL, 400, "malformed");
    client_close(c);
    stop(fixture);
}

/* --- live tails --- */

/* Reads a tail up to count events; appends the number of each position to seen, and keeps the last id. */
static void read_tail(struct client *client, size_t count, struct buf *seen, char last_id[100])
{
    struct answer head = {0};
    char *end;
    while (!(end = client->heard.size ? memmem(client->heard.data, client->heard.size, "\r\n\r\n", 4) : NULL))
        assert_true(client_hear(client));
    snprintf(head.head, sizeof head.head, "%.*s", (int)(end - client->heard.data), client->heard.data);
    assert_non_null(strstr(head.head, "200"));
    client_use(client, (size_t)(end - client->heard.data) + 4);
    struct buf text = {0};
    while (count > 0) {
        /* chunk by chunk, so that the text is whole lines whatever the chunks are */
        while (!(end = client->heard.size ? memmem(client->heard.data, client->heard.size, "\r\n", 2) : NULL))
            assert_true(client_hear(client));
        size_t line = (size_t)(end - client->heard.data) + 2, size = strtoul(client->heard.data, NULL, 16);
        assert_true(size > 0);
        assert_true(client_need(client, line + size + 2));
        buf_put(&text, client->heard.data + line, size);
        client_use(client, line + size + 2);
        while (count > 0 && (end = memmem(text.data, text.size, "\n\n", 2))) {
            *end = 0;
            if (strncmp(text.data, "id: ", 4) == 0) {
                char *data = strstr(text.data, "\ndata: ");
                assert_non_null(data);
                snprintf(last_id, 100, "%.*s", (int)(data - text.data - 4), text.data + 4);
                uint64_t position = (uint64_t)number_in(data, "position");
                assert_int_equal(strtoull(strrchr(last_id, ':') + 1, NULL, 10), position);
                buf_put(seen, &position, sizeof position);
                count--;
            }
            size_t used = (size_t)(end - text.data) + 2;
            memmove(text.data, text.data + used, text.size - used);
            text.size -= used;
        }
    }
    buf_release(&text);
}

struct writer {
    int port;
    atomic_bool is_over;
};

static void write_on(void *user)
{
    struct writer *writer = user;
    struct client client = client_connect(writer->port);
    while (!atomic_load(&writer->is_over)) add(&client, "a", 1);
    client_close(&client);
}

static void test_tail_resumes_exactly(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct writer writer = {.port = fixture->port};
    uv_thread_t threads[2];
    for (int i = 0; i < 2; i++) uv_thread_create(&threads[i], write_on, &writer);
    struct buf seen = {0};
    char id[100] = "", headers[200];
    for (int i = 0; i < 20; i++) {
        struct client client = client_connect(fixture->port);
        snprintf(headers, sizeof headers, "Accept: text/event-stream\r\n%s%s%s",
                 id[0] ? "Last-Event-ID: " : "", id, id[0] ? "\r\n" : "");
        ask_with(&client, "GET", "/v1/main/events?from=1", headers, NULL);
        read_tail(&client, 37, &seen, id);
        client_close(&client);
    }
    atomic_store(&writer.is_over, true);
    for (int i = 0; i < 2; i++) uv_thread_join(&threads[i]);
    const uint64_t *positions = (const uint64_t *)seen.data;
    for (uint64_t i = 0; i < 20 * 37; i++) assert_int_equal(positions[i], i + 1);
    buf_release(&seen);
    stop(fixture);
}

static void test_tail_of_some(void **state)
{
    struct fixture *fixture = start((struct net_options){.heartbeat_ms = 20});
    struct client tail = client_connect(fixture->port), client = client_connect(fixture->port);
    ask_with(&tail, "GET", "/v1/main/events?subject=item/b", "Accept: text/event-stream\r\n", NULL);
    while (!memmem(tail.heard.data ? tail.heard.data : "", tail.heard.size, "\r\n:\n\n", 5))
        client_hear(&tail); /* a beat */
    for (int i = 0; i < 5; i++) {
        add(&client, "a", 1);
        add(&client, "b", 1);
    }
    struct buf seen = {0};
    char id[100];
    read_tail(&tail, 5, &seen, id);
    for (uint64_t i = 0; i < 5; i++) assert_int_equal(((uint64_t *)seen.data)[i], 2 * i + 2);
    buf_release(&seen);

    const char *sse = "Accept: text/event-stream\r\n";
    char headers[300];
    snprintf(headers, sizeof headers, "%sLast-Event-ID: x:1:1\r\n", sse);
    expect(&client, "GET", "/v1/main/events", headers, NULL, 400, "Last-Event-ID");
    snprintf(headers, sizeof headers, "%sLast-Event-ID: %.*s:1:999\r\n", sse, 36, id);
    expect(&client, "GET", "/v1/main/events", headers, NULL, 400, "ahead of the log");
    snprintf(headers, sizeof headers, "%sLast-Event-ID: %.*s:1:9z\r\n", sse, 36, id);
    expect(&client, "GET", "/v1/main/events", headers, NULL, 400, "malformed");
    client_close(&client);
    client_close(&tail);
    stop(fixture);
}

static void test_stop_ends_tails_and_waits(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client tail = client_connect(fixture->port), wait = client_connect(fixture->port);
    ask_with(&tail, "GET", "/v1/main/events", "Accept: text/event-stream\r\n", NULL);
    while (!tail.heard.size) client_hear(&tail);
    add(&wait, "a", 1);
    ask_with(&wait, "GET", "/v1/main/views/shop/items?wait=1000&timeout=60", "", NULL);
    /* The second connection proves that the question of the first has been read: both run on one thread, in
     * order. */
    struct client probe = client_connect(fixture->port);
    expect(&probe, "GET", "/healthz", "", NULL, 200, "ok");
    begin_stop(fixture);
    while (client_hear(&tail)) {
    }
    buf_put_byte(&tail.heard, 0);
    assert_non_null(strstr(tail.heard.data, "\r\n0\r\n\r\n"));
    struct answer answer = client_answer(&wait);
    assert_true(answer.status == 503 || answer.status == 0);
    answer_release(&answer);
    client_close(&tail);
    client_close(&wait);
    client_close(&probe);
    stop(fixture);
}

/* --- views --- */

static void test_views(void **state)
{
    enum { COUNT = 250 };
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    uint64_t position = 0;
    char text[200];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "k%03d", i);
        position = add(c, text, i % 50 == 12 ? 14 : i % 50 + 1);
    }
    snprintf(text, sizeof text, "/v1/main/views/shop/items?wait=%" PRIu64 "&limit=1000", position);
    struct answer answer = request(c, "GET", text, "", NULL);
    assert_int_equal(answer.status, 200);
    assert_int_equal(count_in(answer.body.data, "\"key\""), COUNT);
    assert_int_equal(number_in(answer.body.data, "position"), position);
    assert_null(strstr(answer.body.data, "\"cursor\""));
    answer_release(&answer);
    /* pages, joined, are the whole */
    char cursor[100] = "", path[300];
    int pages = 0, at = 0;
    do {
        snprintf(path, sizeof path, "/v1/main/views/items?limit=60%s%s", cursor[0] ? "&cursor=" : "", cursor);
        answer = request(c, "GET", path, "", NULL);
        for (const char *key = answer.body.data; (key = strstr(key, "{\"key\":\"")); at++) {
            snprintf(text, sizeof text, "{\"key\":\"k%03d\"", at);
            if (strncmp(key, text, strlen(text)) != 0) fail_msg("expected %s at %.40s", text, key);
            key += 8;
        }
        const char *next = strstr(answer.body.data, "\"cursor\":\"");
        cursor[0] = 0;
        if (next) sscanf(next + 10, "%99[^\"]", cursor);
        answer_release(&answer);
        pages++;
    } while (cursor[0]);
    assert_int_equal(at, COUNT);
    assert_int_equal(pages, 5);
    answer = request(c, "GET", "/v1/main/views/shop/items", "Accept: application/x-ndjson\r\n", NULL);
    assert_int_equal(count_in(answer.body.data, "\n"), COUNT);
    answer_release(&answer);
    answer = request(c, "GET", "/v1/main/views/shop/items?index=total&min=49&max=50", "", NULL);
    assert_int_equal(count_in(answer.body.data, "\"key\""), 10);
    answer_release(&answer);
    answer = request(c, "GET", "/v1/main/views/shop/items?index=total&min=3&limit=1", "", NULL);
    assert_non_null(strstr(answer.body.data, "\"total\":3}"));
    assert_non_null(strstr(answer.body.data, "\"cursor\""));
    answer_release(&answer);
    expect(c, "GET", "/v1/main/views/shop/items/k007", "", NULL, 200,
           "{\"key\":\"k007\",\"document\":{\"total\":8},\"position\":");
    expect(c, "GET", "/v1/main/views/items/k007", "", NULL, 200, "\"total\":8");
    expect(c, "GET", "/v1/main/views/shop/items/none", "", NULL, 404, "not_found", "position");
    expect(c, "GET", "/v1/main/views/shop/nothing", "", NULL, 404, "not_found");
    expect(c, "GET", "/v1/main/views/nothing", "", NULL, 404, "not_found");
    expect(c, "GET", "/v1/main/views/shop/items?index=nothing", "", NULL, 404, "not_found");
    expect(c, "GET", "/v1/main/views/shop/items?min=1", "", NULL, 400, "index");
    expect(c, "GET", "/v1/main/views/shop/items?index=total&cursor=nonsense", "", NULL, 400, "malformed");
    expect(c, "GET", "/v1/main/views/shop/items/k007?limit=1", "", NULL, 400, "limit");
    expect(c, "GET", "/v1/main/views/shop/items?wait=x", "", NULL, 400, "wait");
    expect(c, "GET", "/v1/main/views/shop/items?wait=1&timeout=soon", "", NULL, 400, "timeout");
    client_close(c);
    stop(fixture);
}

static void test_waiting(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port), waiting = client_connect(fixture->port);
    ask_with(&waiting, "GET", "/v1/main/views/shop/items/a?wait=3", "", NULL);
    expect(&client, "GET", "/v1/main/views/shop/items?wait=5&timeout=0", "", NULL, 503, "\"lagging\"",
           "\"position\":0");
    expect(&client, "GET", "/v1/main/views/shop/items?wait=5&timeout=30ms", "", NULL, 503, "\"lagging\"");
    for (int i = 0; i < 3; i++) add(&client, "a", 1);
    struct answer answer = client_answer(&waiting);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body.data, "\"total\":3"));
    answer_release(&answer);
    /* read your own writes, a hundred times */
    for (int i = 0; i < 100; i++) {
        char path[200], total[50];
        snprintf(path, sizeof path, "/v1/main/views/shop/items/w?wait=%" PRIu64, add(&client, "w", 1));
        snprintf(total, sizeof total, "\"total\":%d}", i + 1);
        expect(&client, "GET", path, "", NULL, 200, total);
    }
    client_close(&waiting);
    client_close(&client);
    stop(fixture);
}

static void test_parked(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    add(&client, "a", 1);
    add(&client, "a", 13);
    uint64_t position = add(&client, "b", 13);
    char path[200];
    snprintf(path, sizeof path, "/v1/main/views/shop/items/a?wait=%" PRIu64, position);
    expect(&client, "GET", path, "", NULL, 200, "\"total\":1}", "\"parked\":{", "unlucky");
    expect(&client, "GET", "/v1/main/views/shop/items/b", "", NULL, 404, "\"parked\":{");
    client_close(&client);
    stop(fixture);
}

/* --- operations --- */

static void test_operations(void **state)
{
    struct fixture *fixture = start((struct net_options){0});
    struct client client = client_connect(fixture->port);
    struct client *c = &client;
    add(c, "a", 1);
    expect(c, "GET", "/healthz", "", NULL, 200, "ok");
    expect(c, "GET", "/readyz", "", NULL, 200, "ready");
    expect(c, "GET", "/v1/status", "", NULL, 200, "{\"status\":[{", "\"kind\":\"projection\"", "shop/items");
    struct answer answer = request(c, "GET", "/v1/status", "Accept: application/x-ndjson\r\n", NULL);
    assert_int_equal(answer.body.data[0], '{');
    answer_release(&answer);
    expect(c, "POST", "/v1/status/rebuild/shop/items", "", "", 200, "shop/items");
    expect(c, "POST", "/v1/status/rebuild/shop/none", "", "", 404, "not_found");
    expect(c, "GET", "/nothing", "", NULL, 404, "not_found");
    expect(c, "GET", "/metrics", "", NULL, 200, "lore_http_requests_total{route=\"stream\",status=\"2xx\"} 1",
           "lore_http_requests_total{route=\"none\",status=\"4xx\"} 1", "lore_http_connections 1");
    client_close(c);
    stop(fixture);
}

static void test_local_socket(void **state)
{
    char path[] = "/tmp/lore-net-test.XXXXXX";
    close(mkstemp(path));
    unlink(path);
    /* what a killed hub leaves */
    struct fault fault;
    int fd;
    assert_int_equal(socket_listen_local(path, &fd, &fault), 0);
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    int other;
    assert_int_equal(socket_listen_local(path, &other, &fault), -1);
    assert_int_equal(fault.code, FAULT_IN_USE);
    close(fd);
    struct fixture *fixture = start((struct net_options){.socket_path = path});
    struct client client = {.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
    expect(&client, "POST", ITEM, "", ADD, 200, "\"version\":1");
    expect(&client, "GET", ITEM, "", NULL, 200, "\"total\":1");
    client_close(&client);
    stop(fixture);
    assert_int_equal(stat(path, &found), -1);
    write_file("/tmp", path + 5, "precious");
    assert_int_equal(socket_listen_local(path, &fd, &fault), -1);
    assert_non_null(strstr(fault.text, "in the way"));
    unlink(path);
}

static void test_addresses(void **state)
{
    struct fault fault;
    int port = 0, fd, other;
    static const char *const refused[] = {"0.0.0.0", "::",    "192.168.1.1", "example.com",
                                          "",        "127.1", "10.0.0.1"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(socket_listen(refused[i], &port, &fd, &fault), -1);
        assert_int_equal(fault.code, FAULT_USAGE);
        assert_non_null(strstr(
            fault.text, "needs access control, which this version has not: use 127.0.0.1 and a proxy"));
    }
    assert_int_equal(socket_listen("localhost", &port, &fd, &fault), 0);
    assert_true(port > 0);
    assert_int_equal(socket_listen("127.0.0.1", &port, &other, &fault), -1);
    assert_int_equal(fault.code, FAULT_IN_USE);
    assert_non_null(strstr(fault.text, "choose another with --listen"));
    close(fd);
    port = 65536;
    assert_int_equal(socket_listen("127.0.0.1", &port, &fd, &fault), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_pipelined_commands),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_tail_resumes_exactly),
        cmocka_unit_test(test_tail_of_some),
        cmocka_unit_test(test_stop_ends_tails_and_waits),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_parked),
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_local_socket),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* HTTP out, against a server of this process that does whatever its path says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "codec/mp.h"
#include "run/fetch.h"

static int listener;
static unsigned port;
static char seen[1 << 16];   /* the last request, whole */
static atomic_size_t served; /* counted behind it */

static void say(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Until the peer goes away. */
static void pour(int fd, const char *text)
{
    while (send(fd, text, strlen(text), MSG_NOSIGNAL) > 0) {
    }
}

static bool is_path(const char *path)
{
    const char *at = strchr(seen, ' ');
    return at && strncmp(at + 1, path, strlen(path)) == 0 && at[1 + strlen(path)] == ' ';
}

static void redirect(int fd, const char *where)
{
    char text[512];
    snprintf(text, sizeof text, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", where);
    say(fd, text);
}

static void serve(int fd)
{
    char text[256];
    if (is_path("/ok"))
        say(fd, "HTTP/1.1 202 Accepted\r\nX-One:  a b \r\nContent-Length: 5\r\n\r\nhello");
    else if (is_path("/endless"))
        say(fd, "HTTP/1.1 200 OK\r\n\r\n"), pour(fd, "for ever and ever ");
    else if (is_path("/large"))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    else if (is_path("/headers"))
        say(fd, "HTTP/1.1 200 OK\r\n"), pour(fd, "X-More: and more\r\n");
    else if (is_path("/reset"))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    else if (is_path("/cut"))
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal");
    else if (is_path("/garbage"))
        say(fd, "\x16\x03\x01 this is no HTTP\r\n\r\n");
    else if (is_path("/file"))
        redirect(fd, "file:///etc/passwd");
    else if (is_path("/loop"))
        redirect(fd, "/loop");
    else if (is_path("/twice"))
        redirect(fd, "/ok");
    else if (is_path("/private"))
        snprintf(text, sizeof text, "http://127.0.0.2:%u/ok", port), redirect(fd, text);
    else if (is_path("/hang"))
        (void)!read(fd, text, 1); /* until it gives up */
}

static void *server(void *user)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        size_t size = 0;
        ssize_t got;
        memset(seen, 0, sizeof seen);
        while (*seen != 0x16 && !strstr(seen, "\r\n\r\n") &&
               /* 0x16: TLS */ (got = recv(fd, seen + size, sizeof seen - 1 - size, 0)) > 0)
            size += (size_t)got;
        const char *length = strstr(seen, "Content-Length: ");
        const char *body = strstr(seen, "\r\n\r\n");
        if (length && body)
            while (strlen(body + 4) < strtoul(length + 16, NULL, 10) &&
                   (got = recv(fd, seen + size, sizeof seen - 1 - size, 0)) > 0)
                size += (size_t)got;
        atomic_fetch_add(&served, 1);
        if (size) serve(fd);
        close(fd);
    }
    return NULL;
}

static int start_server(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 16) < 0) return -1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    port = ntohs(address.sin_port);
    pthread_t *thread = MEM_NEW(pthread_t);
    *thread = thread_start(server, NULL, "peer");
    *state = thread;
    return 0;
}

static int stop_server(void **state)
{
    shutdown(listener, SHUT_RDWR);
    pthread_join(*(pthread_t *)*state, NULL);
    close(listener);
    mem_free(*state);
    return 0;
}

struct asked {
    struct fetch *fetch;
    struct reach reach;
    struct fetch_call *call;
    const struct domain_response *response;
};

static struct reach reach_of(const char *const *allowed)
{
    struct buf options = {0};
    struct reach reach;
    struct fault fault;
    size_t count = 0;
    while (allowed[count]) count++;
    mp_put_map(&options, 1);
    mp_put_text(&options, slice_of("http"));
    mp_put_map(&options, 1);
    mp_put_text(&options, slice_of("allow"));
    mp_put_list(&options, (uint32_t)count);
    for (size_t at = 0; at < count; at++) mp_put_text(&options, slice_of(allowed[at]));
    if (reach_init(&reach, buf_slice(&options), &fault) < 0) fail_msg("%s", fault.text);
    buf_release(&options);
    return reach;
}
#define REACH(...) reach_of((const char *const[]){__VA_ARGS__, NULL})

static void open_fetch(struct asked *asked, const char *allowed)
{
    struct fault fault;
    asked->reach = REACH(allowed);
    struct fetch_options options = {.reach = &asked->reach,
                                    .timeout_ms = 10000,
                                    .timeout_max_ms = 60000,
                                    .response_size_max = 1 << 16,
                                    .headers_size_max = 1 << 14};
    assert_int_equal(fetch_open(&options, &asked->fetch, &fault), 0);
}

static void end(struct asked *asked)
{
    fetch_free(asked->call);
    fetch_close(asked->fetch);
    reach_release(&asked->reach);
}

static const char *here(void)
{
    static char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    return text;
}

/* Asks and waits for the answer. */
static void ask(struct asked *asked, struct domain_request request, const char *allowed)
{
    open_fetch(asked, allowed);
    asked->call = fetch_start(asked->fetch, &request, asked);
    struct fetch_call *answered;
    while (!(answered = fetch_next(asked->fetch))) fetch_wait(asked->fetch, -1);
    assert_ptr_equal(answered, asked->call);
    assert_ptr_equal(fetch_user(answered), asked);
    assert_null(fetch_next(asked->fetch));
    asked->response = fetch_response(answered);
}

static void get(struct asked *asked, const char *format, ...)
{
    static char url[512];
    va_list args;
    va_start(args, format);
    vsnprintf(url, sizeof url, format, args);
    va_end(args);
    ask(asked, (struct domain_request){.method = slice_of("GET"), .url = slice_of(url)}, here());
}

/* The URL is answered with an error that has this in it. */
static void fails(const char *expected, const char *format, ...)
{
    static char url[512];
    struct asked asked;
    va_list args;
    va_start(args, format);
    vsnprintf(url, sizeof url, format, args);
    va_end(args);
    get(&asked, "%s", url);
    assert_int_equal(asked.response->status, 0);
    assert_int_equal(asked.response->body.size, 0);
    if (!asked.response->error.size || !strstr(asked.response->error.data, expected))
        fail_msg("%s: '%.*s', expected '%s'", url, SLICE_ARGS(asked.response->error), expected);
    end(&asked);
}

static void asks_and_is_answered(void **state)
{
    struct asked asked;
    get(&asked, "http://127.0.0.1:%u/ok", port);
    const struct domain_response *response = asked.response;
    assert_int_equal(response->error.size, 0);
    assert_int_equal(response->status, 202);
    assert_true(slice_is(response->body, "hello"));
    assert_int_equal(response->header_count, 2);
    assert_true(slice_is(response->headers[0][0], "x-one") && slice_is(response->headers[0][1], "a b"));
    assert_true(slice_is(response->headers[1][0], "content-length"));
    end(&asked);
    get(&asked, "http://127.0.0.1:%u/twice", port); /* of the redirect nothing is left */
    assert_int_equal(asked.response->status, 202);
    assert_int_equal(asked.response->header_count, 2);
    end(&asked);
}

static void sends_what_it_was_given(void **state)
{
    struct asked asked;
    char url[64];
    static const char *const methods[] = {"POST", "PUT", "DELETE"};
    struct slice headers[][2] = {{slice_of("Idempotency-Key"), slice_of("7.1")},
                                 {slice_of("Content-Type"), slice_of("application/json")},
                                 {slice_of("X-Empty"), slice_of("")}};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port);
    for (size_t at = 0; at < 3; at++) {
        ask(&asked,
            (struct domain_request){.method = slice_of(methods[at]),
                                    .url = slice_of(url),
                                    .body = slice_of("{\"to\":7}"),
                                    .headers = (const struct slice(*)[2])headers,
                                    .header_count = 3},
            here());
        assert_int_equal(asked.response->status, 202);
        assert_true(atomic_load(&served) > 0);
        assert_true(strncmp(seen, methods[at], strlen(methods[at])) == 0);
        assert_non_null(strstr(seen, "\r\nIdempotency-Key: 7.1\r\n"));
        assert_non_null(strstr(seen, "\r\nContent-Type: application/json\r\n"));
        assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
        assert_non_null(strstr(seen, "\r\nContent-Length: 8\r\n"));
        assert_non_null(strstr(seen, "\r\n\r\n{\"to\":7}"));
        assert_null(strstr(seen, "Cookie"));
        end(&asked);
    }
}

/* Only a GET goes where it is sent on to. */
static void a_post_is_not_redirected(void **state)
{
    struct asked asked;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/twice", port);
    ask(&asked,
        (struct domain_request){.method = slice_of("POST"), .url = slice_of(url), .body = slice_of("x")},
        here());
    assert_int_equal(asked.response->status, 302);
    end(&asked);
}

static void headers_cannot_make_a_second_request(void **state)
{
    static const char *const wrong[][2] = {{"X", "a\r\nX-Evil: b"},
                                           {"X\r\nX-Evil", "b"},
                                           {"", "a"},
                                           {"X Y", "a"},
                                           {"Host", "other"},
                                           {"content-length", "0"},
                                           {"Transfer-Encoding", "chunked"}};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port);
    size_t before = atomic_load(&served);
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        struct asked asked;
        struct slice headers[1][2] = {{slice_of(wrong[at][0]), slice_of(wrong[at][1])}};
        ask(&asked,
            (struct domain_request){.method = slice_of("GET"),
                                    .url = slice_of(url),
                                    .headers = (const struct slice(*)[2])headers,
                                    .header_count = 1},
            here());
        assert_non_null(strstr(asked.response->error.data, "cannot be sent"));
        end(&asked);
    }
    assert_int_equal(atomic_load(&served), before);
}

static void a_peer_that_misbehaves_is_bounded(void **state)
{
    fails("larger than 65536 bytes", "http://127.0.0.1:%u/endless", port);
    fails("larger than 65536 bytes", "http://127.0.0.1:%u/large", port);
    fails("headers of the answer are larger than 16384 bytes", "http://127.0.0.1:%u/headers", port);
    fails("", "http://127.0.0.1:%u/reset", port);
    fails("", "http://127.0.0.1:%u/cut", port);
    fails("", "http://127.0.0.1:%u/garbage", port);
    fails("more than 5 redirects", "http://127.0.0.1:%u/loop", port);
    fails("", "https://127.0.0.1:%u/ok", port); /* no TLS there */
}

static void a_peer_that_hangs_costs_its_time(void **state)
{
    struct asked asked;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/hang", port);
    ask(&asked, (struct domain_request){.method = slice_of("GET"), .url = slice_of(url), .timeout_ms = 50},
        here());
    assert_string_equal(asked.response->error.data, "no answer within 50 ms");
    end(&asked);
}

static void only_http_is_spoken(void **state)
{
    size_t before = atomic_load(&served);
    fails("file", "file:///etc/passwd");
    fails("gopher", "gopher://127.0.0.1:%u/ok", port);
    fails("", "nonsense://x");
    fails("", "http://");
    fails("", "%s", "");
    assert_int_equal(atomic_load(&served), before);
    fails("file", "http://127.0.0.1:%u/file", port);
    assert_int_equal(atomic_load(&served), before + 1);
}

static void private_addresses_are_refused(void **state)
{
    size_t before = atomic_load(&served);
    fails("127.0.0.2:", "http://127.0.0.2:%u/ok", port);
    fails("is not on the public Internet", "http://localhost:%u/ok", port + 1);
    fails("[::ffff:127.0.0.2]", "http://[::ffff:127.0.0.2]:%u/ok", port);
    fails("0.0.0.0", "http://0:%u/ok", port);
    fails("127.0.0.2", "http://0x7f000002:%u/ok", port);
    assert_int_equal(atomic_load(&served), before);
    fails("127.0.0.2:", "http://127.0.0.1:%u/private", port); /* nor by a redirect */
    assert_int_equal(atomic_load(&served), before + 1);
}

static void the_environment_has_no_say(void **state)
{
    struct asked asked;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "socks5://127.0.0.1:1", 1);
    get(&asked, "http://127.0.0.1:%u/ok", port);
    assert_int_equal(asked.response->status, 202);
    end(&asked);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

static void calls_are_cancelled(void **state)
{
    struct asked asked;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/hang", port);
    open_fetch(&asked, here());
    size_t before = atomic_load(&served);
    struct domain_request request = {.method = slice_of("GET"), .url = slice_of(url)};
    asked.call = fetch_start(asked.fetch, &request, NULL);
    while (atomic_load(&served) == before) fetch_wait(asked.fetch, 1);
    struct domain_request wrong = {.method = slice_of("GET"), .url = slice_of("nonsense://x")};
    fetch_free(fetch_start(asked.fetch, &wrong, NULL)); /* before it was told */
    assert_null(fetch_next(asked.fetch));
    fetch_wake(asked.fetch);
    fetch_wait(asked.fetch, -1); /* returns, since it was woken */
    end(&asked);
}

/* --- addresses --- */

static bool allows(const struct reach *reach, const char *address, uint16_t to)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(to)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(to)};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) return reach_allows(reach, (void *)&v4);
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) fail_msg("no address: %s", address);
    return reach_allows(reach, (void *)&v6);
}

static void knows_what_is_private(void **state)
{
    static const char *const private[] = {"0.0.0.0",
                                          "10.255.255.255",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.168.1.1",
                                          "100.64.0.1",
                                          "224.0.0.1",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::ffff:127.0.0.1",
                                          "::127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::7f00:1",
                                          "2002:7f00:1::",
                                          "2002:a00:1::5",
                                          "fc00::1",
                                          "fdff::1",
                                          "fe80::1",
                                          "ff02::1",
                                          "fec0::1"};
    static const char *const public[] = {"1.1.1.1",        "9.255.255.255",    "11.0.0.0",
                                         "172.15.255.255", "172.32.0.0",       "192.167.255.255",
                                         "192.169.0.0",    "223.255.255.255",  "2606:4700::1",
                                         "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"};
    struct reach reach = {0};
    for (size_t at = 0; at < sizeof private / sizeof *private; at++)
        if (allows(&reach, private[at], 80)) fail_msg("reached: %s", private[at]);
    for (size_t at = 0; at < sizeof public / sizeof *public; at++)
        if (!allows(&reach, public[at], 80)) fail_msg("refused: %s", public[at]);
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(reach_allows(&reach, &local));
}

static void what_is_allowed_is_allowed(void **state)
{
    struct reach reach =
        REACH("127.0.0.1:8025", "10.1.0.0/16", "172.16.0.0/12:443", "[::1]:80", "fd00::/9", "192.168.7.7");
    assert_true(allows(&reach, "127.0.0.1", 8025));
    assert_false(allows(&reach, "127.0.0.1", 8026));
    assert_true(allows(&reach, "::ffff:127.0.0.1", 8025));
    assert_true(allows(&reach, "10.1.255.3", 1));
    assert_false(allows(&reach, "10.2.0.0", 1));
    assert_true(allows(&reach, "172.31.0.1", 443) && !allows(&reach, "172.31.0.1", 80));
    assert_true(allows(&reach, "::1", 80) && !allows(&reach, "::1", 81));
    assert_true(allows(&reach, "fd7f::1", 80) && !allows(&reach, "fd80::1", 80));
    assert_true(allows(&reach, "192.168.7.7", 9) && !allows(&reach, "192.168.7.8", 9));
    reach_release(&reach);
}

static void options_that_say_nothing_are_told(void **state)
{
    static const char *const wrong[] = {
        "localhost", "localhost:80", "",       "10.0.0.0/33",     "10.0.0/8",  "127.0.0.1:0",   "127.0.0.1:x",
        "[::1",      "::1/129",      "[::1]x", "127.0.0.1:99999", "10.0.0.0/", "[127.0.0.1]:80"};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        struct buf options = {0};
        struct reach reach;
        struct fault fault;
        mp_put_map(&options, 1);
        mp_put_text(&options, slice_of("http"));
        mp_put_map(&options, 1);
        mp_put_text(&options, slice_of("allow"));
        mp_put_list(&options, 1);
        mp_put_text(&options, slice_of(wrong[at]));
        if (reach_init(&reach, buf_slice(&options), &fault) == 0) fail_msg("taken: '%s'", wrong[at]);
        assert_int_equal(fault.code, FAULT_SCRIPTS);
        assert_non_null(strstr(fault.text, "http.allow[1]: expected an address"));
        buf_release(&options);
    }
}

/* A public address of this machine leads behind its firewall: to the hub, or to what listens beside it. */
static void the_machine_itself_is_no_peer(void **state)
{
    (void)state;
    struct ifaddrs *all;
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(80)};
    size_t found = 0;
    assert_int_equal(getifaddrs(&all), 0);
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        struct sockaddr_storage address = {0};
        if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
        memcpy(&address, one->ifa_addr, sizeof(struct sockaddr_in));
        ((struct sockaddr_in *)&address)->sin_port = htons(80);
        assert_true(reach_is_own((struct sockaddr *)&address));
        found++;
    }
    freeifaddrs(all);
    assert_true(found > 0);
    assert_int_equal(inet_pton(AF_INET, "93.184.216.34", &far.sin_addr), 1);
    assert_false(reach_is_own((struct sockaddr *)&far));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_is_answered),
        cmocka_unit_test(sends_what_it_was_given),
        cmocka_unit_test(a_post_is_not_redirected),
        cmocka_unit_test(headers_cannot_make_a_second_request),
        cmocka_unit_test(a_peer_that_misbehaves_is_bounded),
        cmocka_unit_test(a_peer_that_hangs_costs_its_time),
        cmocka_unit_test(only_http_is_spoken),
        cmocka_unit_test(private_addresses_are_refused),
        cmocka_unit_test(the_environment_has_no_say),
        cmocka_unit_test(calls_are_cancelled),
        cmocka_unit_test(knows_what_is_private),
        cmocka_unit_test(what_is_allowed_is_allowed),
        cmocka_unit_test(options_that_say_nothing_are_told),
        cmocka_unit_test(the_machine_itself_is_no_peer),
    };
    return cmocka_run_group_tests_name("fetch", tests, start_server, stop_server);
}

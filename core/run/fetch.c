#include "run/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { FETCH_REDIRECTS_MAX = 5, FETCH_CONNECTIONS_KEPT = 32, FETCH_CONNECT_MS = 10000 };

struct fetch {
    struct fetch_options options;
    CURLM *multi;
    struct fetch_call *failed; /* before they began */
    size_t calls;
};

struct fetch_call {
    struct fetch *fetch;
    CURL *curl; /* NULL: it could not begin */
    void *user;
    struct fetch_call *next; /* among the failed */
    struct curl_slist *request_headers;
    int64_t timeout_ms;
    struct buf body;
    struct buf headers; /* name NUL value NUL … of the last answer of a chain of redirects */
    size_t headers_size, header_count;
    bool body_too_large, headers_too_large;
    char refused[64]; /* an address that may not be reached */
    char error[CURL_ERROR_SIZE];
    struct arena arena;
    struct domain_response response;
};

/* --- what curl asks --- */

static curl_socket_t fetch_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_call *call = user;
    if (reach_allows(call->fetch->options.reach, &address->addr))
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    reach_text(&address->addr, call->refused);
    return CURL_SOCKET_BAD;
}

static size_t fetch_body(char *data, size_t one, size_t size, void *user)
{
    struct fetch_call *call = user;
    if (call->body.size + size > call->fetch->options.response_size_max) {
        call->body_too_large = true;
        return 0;
    }
    buf_put(&call->body, data, size);
    return size;
}

/* A whole line, of redirects and interim answers too: each begins with a status line. */
static size_t fetch_header(char *data, size_t one, size_t size, void *user)
{
    struct fetch_call *call = user;
    call->headers_size += size;
    if (call->headers_size > call->fetch->options.headers_size_max) {
        call->headers_too_large = true;
        return 0;
    }
    struct slice line = slice_make(data, size);
    if (slice_starts(line, "HTTP/")) {
        buf_clear(&call->headers);
        call->header_count = 0;
        return size;
    }
    const char *colon = size ? memchr(data, ':', size) : NULL;
    if (!colon || memchr(data, 0, size)) return size;
    const char *begin = colon + 1, *end = data + size;
    while (begin < end && (*begin == ' ' || *begin == '\t')) begin++;
    while (end > begin && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t')) end--;
    for (const char *at = data; at < colon; at++)
        buf_put_byte(&call->headers, (uint8_t)(*at >= 'A' && *at <= 'Z' ? *at | 32 : *at));
    buf_put_byte(&call->headers, 0);
    buf_put(&call->headers, begin, (size_t)(end - begin));
    buf_put_byte(&call->headers, 0);
    call->header_count++;
    return size;
}

/* --- a request --- */

static bool fetch_is_token(struct slice name)
{
    for (size_t at = 0; at < name.size; at++) {
        char c = name.data[at];
        bool letter = ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return name.size > 0;
}

static bool fetch_is_line(struct slice text)
{
    for (size_t at = 0; at < text.size; at++)
        if ((unsigned char)text.data[at] < ' ' && text.data[at] != '\t') return false;
    return true;
}

/* Those that frame a message are ours, or one request could be made to look like two. */
static bool fetch_is_ours(struct slice name)
{
    static const char *const ours[] = {"Host",       "Content-Length", "Transfer-Encoding",
                                       "Connection", "Expect",         "Upgrade"};
    for (size_t at = 0; at < sizeof ours / sizeof *ours; at++)
        if (name.size == strlen(ours[at]) && strncasecmp(name.data, ours[at], name.size) == 0) return true;
    return false;
}

static int fetch_headers(struct fetch_call *call, const struct domain_request *request, struct fault *fault)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); /* no waiting for 100 Continue */
    for (size_t at = 0; list && at < request->header_count; at++) {
        struct slice name = request->headers[at][0], value = request->headers[at][1];
        call->request_headers = list;
        if (!fetch_is_token(name) || !fetch_is_line(value) || fetch_is_ours(name))
            return fault_set(fault, FAULT_MALFORMED, "the header '%.*s' cannot be sent",
                             name.size < 80 ? (int)name.size : 80, name.data ? name.data : "");
        struct slice line = arena_format(&call->arena, value.size ? "%.*s: %.*s" : "%.*s;%.*s",
                                         SLICE_ARGS(name), SLICE_ARGS(value));
        list = curl_slist_append(list, line.data);
    }
    if (!list) return fault_set(fault, FAULT_UNAVAILABLE, "no memory for the request");
    call->request_headers = list;
    return 0;
}

/* curl's own types of arguments; each of these options is known to any curl that this compiles with. */
#define FETCH_SET(option, value) CHECK(curl_easy_setopt(call->curl, option, value) == CURLE_OK)

static void fetch_set_bounds(struct fetch_call *call)
{
    const struct fetch_options *options = &call->fetch->options;
    int64_t connect = call->timeout_ms < FETCH_CONNECT_MS ? call->timeout_ms : FETCH_CONNECT_MS;
    FETCH_SET(CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    FETCH_SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    FETCH_SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)options->response_size_max);
    FETCH_SET(CURLOPT_OPENSOCKETFUNCTION, fetch_socket);
    FETCH_SET(CURLOPT_OPENSOCKETDATA, call);
    FETCH_SET(CURLOPT_PROTOCOLS_STR, "http,https");
    FETCH_SET(CURLOPT_PROXY, ""); /* whatever the environment says */
    FETCH_SET(CURLOPT_NOSIGNAL, 1L);
    FETCH_SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name server that hangs */
    FETCH_SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    FETCH_SET(CURLOPT_SSL_VERIFYPEER, 1L);
    FETCH_SET(CURLOPT_SSL_VERIFYHOST, 2L);
    FETCH_SET(CURLOPT_USERAGENT, "lore");
    FETCH_SET(CURLOPT_ERRORBUFFER, call->error);
    FETCH_SET(CURLOPT_WRITEFUNCTION, fetch_body);
    FETCH_SET(CURLOPT_WRITEDATA, call);
    FETCH_SET(CURLOPT_HEADERFUNCTION, fetch_header);
    FETCH_SET(CURLOPT_HEADERDATA, call);
    FETCH_SET(CURLOPT_PRIVATE, call);
}

/* Headers of a script may hold a secret, and the library would send them wherever a redirect leads. */
static bool fetch_may_follow(const struct domain_request *request)
{
    static const char key[] = "Idempotency-Key";
    for (size_t at = 0; at < request->header_count; at++) {
        struct slice name = request->headers[at][0];
        if (name.size != sizeof key - 1 || strncasecmp(name.data, key, name.size) != 0) return false;
    }
    return true;
}

static int fetch_begin(struct fetch_call *call, const struct domain_request *request, struct fault *fault)
{
    struct slice url = arena_copy(&call->arena, request->url);
    struct slice method = arena_copy(&call->arena, request->method);
    if (memchr(url.data, 0, url.size) || !fetch_is_token(method))
        return fault_set(fault, FAULT_MALFORMED, "not a URL of HTTP");
    if (fetch_headers(call, request, fault) < 0) return -1;
    call->curl = curl_easy_init();
    if (!call->curl) return fault_set(fault, FAULT_UNAVAILABLE, "no memory for the request");
    fetch_set_bounds(call);
    FETCH_SET(CURLOPT_HTTPHEADER, call->request_headers);
    if (curl_easy_setopt(call->curl, CURLOPT_URL, url.data) != CURLE_OK)
        return fault_set(fault, FAULT_MALFORMED, "the URL cannot be read");
    if (slice_is(method, "GET")) {
        bool is_tls = url.size > 6 && strncasecmp(url.data, "https:", 6) == 0;
        FETCH_SET(CURLOPT_HTTPGET, 1L);
        FETCH_SET(CURLOPT_FOLLOWLOCATION, (long)fetch_may_follow(request));
        FETCH_SET(CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS_MAX);
        FETCH_SET(CURLOPT_REDIR_PROTOCOLS_STR, is_tls ? "https" : "http,https");
    } else {
        if (request->body.size || slice_is(method, "POST")) {
            FETCH_SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
            FETCH_SET(CURLOPT_POSTFIELDS, request->body.size ? request->body.data : "");
        }
        FETCH_SET(CURLOPT_CUSTOMREQUEST, method.data);
    }
    if (curl_multi_add_handle(call->fetch->multi, call->curl) != CURLM_OK)
        return fault_set(fault, FAULT_UNAVAILABLE, "no memory for the request");
    return 0;
}

static struct slice fetch_text(struct fetch_call *call, const char *text)
{
    return arena_copy(&call->arena, slice_of(text));
}

struct fetch_call *fetch_start(struct fetch *fetch, const struct domain_request *request, void *user)
{
    struct fetch_call *call = MEM_NEW(struct fetch_call);
    const struct fetch_options *options = &fetch->options;
    call->fetch = fetch;
    call->user = user;
    call->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : options->timeout_ms;
    if (call->timeout_ms > options->timeout_max_ms) call->timeout_ms = options->timeout_max_ms;
    fetch->calls++;
    struct fault fault;
    if (fetch_begin(call, request, &fault) < 0) {
        if (call->curl) curl_easy_cleanup(call->curl);
        call->curl = NULL;
        call->response.error = fetch_text(call, fault.text);
        call->next = fetch->failed;
        fetch->failed = call;
    }
    return call;
}

/* --- an answer --- */

static struct slice fetch_error(struct fetch_call *call, CURLcode code)
{
    const struct fetch_options *options = &call->fetch->options;
    if (call->body_too_large || code == CURLE_FILESIZE_EXCEEDED)
        return arena_format(&call->arena, "the answer is larger than %zu bytes (limits.http_response_size)",
                            options->response_size_max);
    if (call->headers_too_large)
        return arena_format(&call->arena, "the headers of the answer are larger than %zu bytes",
                            options->headers_size_max);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return arena_format(&call->arena, "no answer within %lld ms", (long long)call->timeout_ms);
    if (*call->refused)
        return arena_format(&call->arena,
                            "%s is not on the public Internet: hub.lua may allow it (http.allow)",
                            call->refused);
    if (code == CURLE_TOO_MANY_REDIRECTS)
        return arena_format(&call->arena, "more than %d redirects", FETCH_REDIRECTS_MAX);
    return fetch_text(call, *call->error ? call->error : curl_easy_strerror(code));
}

static void fetch_answered(struct fetch_call *call, CURLcode code)
{
    struct domain_response *response = &call->response;
    if (code != CURLE_OK) {
        response->error = fetch_error(call, code);
        return;
    }
    long status = 0;
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    response->status = (int)status;
    response->body = buf_slice(&call->body);
    struct slice(*headers)[2] = arena_take(&call->arena, call->header_count * sizeof *headers);
    const char *at = call->headers.data;
    for (size_t header = 0; header < call->header_count; header++)
        for (size_t part = 0; part < 2; part++) {
            headers[header][part] = slice_of(at);
            at += headers[header][part].size + 1;
        }
    response->headers = (const struct slice(*)[2])headers;
    response->header_count = call->header_count;
}

struct fetch_call *fetch_next(struct fetch *fetch)
{
    struct fetch_call *call = fetch->failed;
    if (call) {
        fetch->failed = call->next;
        return call;
    }
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(fetch->multi, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        char *kept = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &kept);
        call = (struct fetch_call *)(void *)kept;
        fetch_answered(call, code);
        return call;
    }
    return NULL;
}

const struct domain_response *fetch_response(const struct fetch_call *call)
{
    return &call->response;
}

void *fetch_user(const struct fetch_call *call)
{
    return call->user;
}

void fetch_free(struct fetch_call *call)
{
    for (struct fetch_call **at = &call->fetch->failed; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            break;
        }
    if (call->curl) {
        curl_multi_remove_handle(call->fetch->multi, call->curl);
        curl_easy_cleanup(call->curl);
    }
    call->fetch->calls--;
    curl_slist_free_all(call->request_headers);
    buf_release(&call->body);
    buf_release(&call->headers);
    arena_release(&call->arena);
    mem_free(call);
}

/* --- all of them --- */

void fetch_wait(struct fetch *fetch, int timeout_ms)
{
    int running;
    curl_multi_perform(fetch->multi, &running);
    if (fetch->failed || (size_t)running < fetch->calls) timeout_ms = 0; /* an answer waits to be taken */
    curl_multi_poll(fetch->multi, NULL, 0, timeout_ms < 0 ? INT32_MAX : timeout_ms, NULL);
    curl_multi_perform(fetch->multi, &running);
}

void fetch_wake(struct fetch *fetch)
{
    curl_multi_wakeup(fetch->multi);
}

int fetch_open(const struct fetch_options *options, struct fetch **fetch, struct fault *fault)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct fetch *made = MEM_NEW(struct fetch);
    made->options = *options;
    made->multi = curl_multi_init();
    if (!made->multi) {
        mem_free(made);
        return fault_set(fault, FAULT_UNAVAILABLE, "no HTTP can be spoken: no memory or no file descriptors");
    }
    curl_multi_setopt(made->multi, CURLMOPT_MAXCONNECTS, (long)FETCH_CONNECTIONS_KEPT);
    *fetch = made;
    return 0;
}

void fetch_close(struct fetch *fetch)
{
    if (!fetch) return;
    CHECK(fetch->calls == 0);
    curl_multi_cleanup(fetch->multi);
    mem_free(fetch);
}

/* The gate, the router and the query parser on any bytes: a request head, lines as they would be cut
 * them. What passes must keep its promises: no ambiguous framing, a target that is safe to route, names that
 * are well-formed. */
#include <stdlib.h>

#include "base/check.h"
#include "codec/text.h"
#include "net/body.h"
#include "net/gate.h"
#include "net/query.h"
#include "net/router.h"
#include "net/target.h"

enum { HEADERS_MAX = 32 };

/* Cuts at mark; what is before it is returned, what is behind it stays. */
static struct slice cut(struct slice *text, char mark)
{
    const char *at = text->size ? memchr(text->data, mark, text->size) : NULL;
    struct slice before = slice_make(text->data, at ? (size_t)(at - text->data) : text->size);
    size_t used = before.size + (at ? 1 : 0);
    *text = slice_make(text->data + used, text->size - used);
    return before;
}

static size_t read_headers(struct slice rest, struct gate_header headers[HEADERS_MAX])
{
    size_t count = 0;
    while (rest.size && count < HEADERS_MAX) {
        struct slice line = cut(&rest, '\n');
        headers[count].name = cut(&line, ':');
        headers[count++].value = line;
    }
    return count;
}

static void check_passed(const struct gate_request *request, const struct gate_verdict *verdict)
{
    unsigned lengths = 0, codings = 0, hosts = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice name = request->headers[i].name;
        lengths += gate_same_name(name, "content-length");
        codings += gate_same_name(name, "transfer-encoding");
        hosts += gate_same_name(name, "host");
        CHECK(!memchr(request->headers[i].value.data, '\r', request->headers[i].value.size));
    }
    CHECK(lengths + codings <= 1 && hosts <= 1);
    CHECK((verdict->content_length >= 0) == (lengths == 1) && verdict->chunked == (codings == 1));
    CHECK(request->target.size && (request->target.data[0] == '/' || request->target.data[0] == '*'));
}

static void route(struct slice target)
{
    struct arena arena = {0};
    struct route_match match;
    struct query query;
    struct slice path, text;
    struct fault fault;
    target_split(target, &path, &text);
    if (router_match(path, &arena, &match, &fault) == 0) {
        CHECK(match.route < ROUTE_COUNT && (match.tenant.size == 0 || text_is_tenant(match.tenant)));
        CHECK(match.id.size == 0 || text_is_id(match.id));
        CHECK(match.key.size == 0 || text_is_key(match.key));
    }
    if (query_parse(text, &arena, &query, &fault) == 0)
        for (size_t i = 0; i < query.count; i++) CHECK(text_is_utf8(query.pairs[i].value));
    arena_release(&arena);
}

static void read_values(const struct gate_request *request)
{
    struct arena arena = {0};
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice id;
        int64_t version, ms;
        if (body_read_version(request->headers[i].value, &version, NULL) == 0)
            CHECK(version >= COMMAND_ANY_VERSION);
        if (body_read_id(request->headers[i].value, "X", &arena, &id, NULL) == 0) CHECK(text_is_id(id));
        body_is_json(request->headers[i].value);
        if (target_duration(request->headers[i].value, &ms)) CHECK(ms >= 0);
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make(data, size);
    struct slice line = cut(&rest, '\n');
    struct gate_header headers[HEADERS_MAX];
    struct gate_request request = {.headers = headers};
    request.method = cut(&line, ' ');
    request.target = cut(&line, ' ');
    request.version = line;
    request.header_count = read_headers(rest, headers);
    struct gate_limits limits = {.head_size_max = 2048, .target_size_max = 512};
    struct gate_verdict verdict;
    if (gate_check(&request, &limits, &verdict))
        check_passed(&request, &verdict);
    else
        CHECK(verdict.status >= 400 && verdict.code && verdict.text[0]);
    route(request.target);
    read_values(&request);
    return 0;
}

#include "net/gate.h"

#include <stdarg.h>
#include <stdio.h>

static bool refuse(struct gate_verdict *verdict, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static bool refuse(struct gate_verdict *verdict, int status, const char *code, const char *format, ...)
{
    verdict->status = status;
    verdict->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, args);
    va_end(args);
    return false;
}

static bool malformed(struct gate_verdict *verdict, const char *text)
{
    return refuse(verdict, 400, "malformed", "%s", text);
}

/* For "%.*s": strangers' text is quoted, but not at any length. */
#define shown(text) (int)((text).size < 80 ? (text).size : 80), (text).size ? (text).data : ""

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110 5.6.2: what names of methods and headers are made of. */
static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!is_letter(text.data[i]) && !is_digit(text.data[i]) &&
            (text.data[i] == 0 || !strchr("!#$%&'*+-.^_`|~", text.data[i])))
            return false;
    return text.size > 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool gate_same_name(struct slice a, const char *lower_name)
{
    for (size_t i = 0; i < a.size; i++)
        if (lower_name[i] == 0 || lower(a.data[i]) != lower_name[i]) return false;
    return lower_name[a.size] == 0;
}

static bool ends_with(struct slice a, const char *lower_end)
{
    size_t size = strlen(lower_end);
    return a.size >= size && gate_same_name(slice_make(a.data + a.size - size, size), lower_end);
}

/* Four decimal numbers that begin with 127; nothing cleverer (octal, hexadecimal, missing parts) passes. */
static bool is_loopback_v4(struct slice host)
{
    if (!slice_starts(host, "127.")) return false;
    size_t parts = 1, digits = 0;
    unsigned value = 0;
    for (size_t i = 0; i <= host.size; i++) {
        if (i == host.size || host.data[i] == '.') {
            if (digits == 0 || value > 255) return false;
            if (i < host.size) parts++;
            digits = value = 0;
        } else {
            if (!is_digit(host.data[i]) || ++digits > 3) return false;
            value = value * 10 + (unsigned)(host.data[i] - '0');
        }
    }
    return parts == 4;
}

static bool is_host_name(struct slice host)
{
    for (size_t i = 0; i < host.size; i++)
        if (!is_letter(host.data[i]) && !is_digit(host.data[i]) && host.data[i] != '-' && host.data[i] != '.')
            return false;
    return host.size > 0;
}

bool gate_is_loopback(struct slice host)
{
    size_t colon = host.size;
    while (colon > 0 && is_digit(host.data[colon - 1])) colon--;
    if (colon > 0 && host.data[colon - 1] == ':' && (colon == 1 || host.data[colon - 2] != ':')) {
        if (host.size - colon > 5) return false;
        host.size = colon - 1;
    }
    if (slice_is(host, "[::1]") || is_loopback_v4(host)) return true;
    if (ends_with(host, ".")) host.size--;
    return gate_same_name(host, "localhost") || (is_host_name(host) && ends_with(host, ".localhost"));
}

static bool is_loopback_origin(struct slice origin)
{
    const char *schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(schemes[i]);
        if (origin.size > size && gate_same_name(slice_make(origin.data, size), schemes[i]))
            return gate_is_loopback(slice_make(origin.data + size, origin.size - size));
    }
    return false; /* "null" too: a sandboxed page of anybody */
}

static bool check_target(const struct gate_request *request, const struct gate_limits *limits,
                         struct gate_verdict *verdict)
{
    struct slice target = request->target;
    if (target.size > limits->target_size_max)
        return refuse(verdict, 414, "uri_too_long", "the URL has %zu bytes, more than %zu", target.size,
                      limits->target_size_max);
    if (slice_is(target, "*") && slice_is(request->method, "OPTIONS")) return true;
    if (target.size == 0 || target.data[0] != '/')
        return malformed(verdict, "the request target must begin with '/'");
    for (size_t i = 0; i < target.size; i++) {
        unsigned char c = (unsigned char)target.data[i];
        if (c <= ' ' || c == 0x7f || c == '#' || c == '\\')
            return malformed(verdict, "the URL holds a character that must be percent-encoded");
    }
    return true;
}

static bool check_value(struct slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static bool read_length(struct slice value, int64_t *length)
{
    if (value.size == 0 || value.size > 18) return false;
    *length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (!is_digit(value.data[i])) return false;
        *length = *length * 10 + (value.data[i] - '0');
    }
    return true;
}

struct seen {
    unsigned hosts, lengths, codings, origins, types, ifs;
    struct slice host, origin;
};

static bool check_header(const struct gate_header *header, struct seen *seen, struct gate_verdict *verdict)
{
    if (!is_token(header->name)) return malformed(verdict, "the name of a header is malformed");
    if (!check_value(header->value))
        return refuse(verdict, 400, "malformed", "header %.*s holds a control character",
                      shown(header->name));
    struct slice value = header->value;
    while (value.size && (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
        value.size--;
    if (gate_same_name(header->name, "content-length")) {
        if (seen->lengths++) return malformed(verdict, "Content-Length is given twice");
        if (!read_length(value, &verdict->content_length))
            return malformed(verdict, "Content-Length must be decimal digits");
    } else if (gate_same_name(header->name, "transfer-encoding")) {
        if (seen->codings++) return malformed(verdict, "Transfer-Encoding is given twice");
        if (!gate_same_name(value, "chunked"))
            return malformed(verdict, "Transfer-Encoding: only chunked is understood");
        verdict->chunked = true;
    } else if (gate_same_name(header->name, "host")) {
        if (seen->hosts++) return malformed(verdict, "Host is given twice");
        seen->host = value;
    } else if (gate_same_name(header->name, "origin")) {
        if (seen->origins++) return malformed(verdict, "Origin is given twice");
        seen->origin = value;
    } else if (gate_same_name(header->name, "content-type")) {
        if (seen->types++) return malformed(verdict, "Content-Type is given twice");
    } else if (gate_same_name(header->name, "if-match")) {
        if (seen->ifs++) return malformed(verdict, "If-Match is given twice");
    } else if (gate_same_name(header->name, "expect")) {
        if (!gate_same_name(value, "100-continue"))
            return refuse(verdict, 417, "expectation_failed", "Expect: only 100-continue is understood");
        verdict->expects_continue = true;
    }
    return true;
}

/* Who speaks, and to whom he believes to speak. */
static bool check_parties(const struct gate_request *request, const struct seen *seen,
                          struct gate_verdict *verdict)
{
    bool is_old = slice_is(request->version, "HTTP/1.0");
    if (!seen->hosts && !is_old) return malformed(verdict, "Host is missing");
    if (seen->hosts && !gate_is_loopback(seen->host))
        return refuse(
            verdict, 403, "forbidden",
            "Host '%.*s' is not this machine: use 127.0.0.1 or localhost (a proxy must set Host to it)",
            shown(seen->host));
    if (seen->origins && !is_loopback_origin(seen->origin))
        return refuse(verdict, 403, "forbidden", "pages of '%.*s' may not talk to this hub",
                      shown(seen->origin));
    return true;
}

bool gate_check(const struct gate_request *request, const struct gate_limits *limits,
                struct gate_verdict *verdict)
{
    *verdict = (struct gate_verdict){.content_length = -1};
    if (!slice_is(request->version, "HTTP/1.1") && !slice_is(request->version, "HTTP/1.0"))
        return refuse(verdict, 505, "malformed", "only HTTP/1.0 and HTTP/1.1 are spoken here");
    if (!is_token(request->method) || request->method.size > 20)
        return malformed(verdict, "the method is malformed");

    size_t head_size = request->method.size + request->target.size + request->version.size + 6;
    for (size_t i = 0; i < request->header_count; i++)
        head_size += request->headers[i].name.size + request->headers[i].value.size + 4;
    if (request->head_size > head_size) head_size = request->head_size;
    if (!check_target(request, limits, verdict)) return false;
    if (head_size > limits->head_size_max)
        return refuse(verdict, 431, "headers_too_large",
                      "the head of the request has %zu bytes, more than %zu", head_size,
                      limits->head_size_max);

    struct seen seen = {0};
    for (size_t i = 0; i < request->header_count; i++)
        if (!check_header(&request->headers[i], &seen, verdict)) return false;
    if (seen.lengths && seen.codings)
        return malformed(verdict, "Content-Length and Transfer-Encoding exclude each other");
    if (seen.codings && slice_is(request->version, "HTTP/1.0"))
        return malformed(verdict, "HTTP/1.0 has no Transfer-Encoding");
    return check_parties(request, &seen, verdict);
}

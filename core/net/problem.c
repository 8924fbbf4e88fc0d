#include "net/problem.h"

#include <string.h>

#include "codec/json.h"

/* Titles are per code and never change with the case at hand: that is what detail is for. */
static const struct {
    const char *code, *title;
} titles[] = {
    {"malformed", "The request cannot be read"},
    {"contract", "The message does not fit its contract"},
    {"unknown_command", "No aggregate handles this command"},
    {"not_found", "There is no such thing"},
    {"conflict", "The stream is at another version"},
    {"too_large", "The request is too large"},
    {"rejected", "The domain refused the command"},
    {"id_reused", "The command id was used for another command"},
    {"busy", "Too many commands are waiting"},
    {"unavailable", "The hub cannot take requests now"},
    {"rebuilding", "What would answer is being built anew"},
    {"gone", "The log was rolled back and no longer has that event"},
    {"lagging", "The view has not seen that position yet"},
    {"script", "A script failed"},
    {"disk", "The disk is full or failed"},
    {"corrupt", "Stored data is damaged"},
    {"method_not_allowed", "The method is not allowed here"},
    {"forbidden", "The request was refused"},
    {"unsupported_media_type", "The content type is not understood"},
    {"headers_too_large", "The headers are too large"},
    {"uri_too_long", "The URL is too long"},
    {"expectation_failed", "The expectation cannot be met"},
    {"timeout", "The request came too slowly"},
};

static const char *title_of(const char *code, int status)
{
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (strcmp(titles[i].code, code) == 0) return titles[i].title;
    return problem_phrase(status);
}

const char *problem_phrase(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return status < 500 ? "Bad Request" : "Internal Server Error";
    }
}

void problem_begin(struct buf *out, int status, const char *code, struct slice detail)
{
    buf_format(out, "{\"type\":\"urn:lore:problem:%s\",\"title\":\"%s\",\"status\":%d", code,
               title_of(code, status), status);
    json_put_text_member(out, "detail", detail);
    json_put_text_member(out, "code", slice_of(code));
}

void problem_end(struct buf *out)
{
    buf_put_byte(out, '}');
}

void problem_put(struct buf *out, int status, const char *code, struct slice detail)
{
    problem_begin(out, status, code, detail);
    problem_end(out);
}

void problem_put_fault(struct buf *out, const struct fault *fault)
{
    problem_begin(out, fault_http_status(fault->code), fault_name(fault->code), slice_of(fault->text));
    if (fault->reason[0]) json_put_text_member(out, "reason", slice_of(fault->reason));
    problem_end(out);
}

int problem_retry_s(int status, const char *code)
{
    if (status != 429 && status != 503) return 0;
    return strcmp(code, "disk") == 0 ? 5 : 1; /* somebody must make room first */
}

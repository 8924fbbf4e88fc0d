#include "net/http1.h"

enum {
    CHUNK_DIGITS_MAX = 15,   /* of a chunk's size: far above every limit of a body, far below 64 bits */
    OVERHEAD_MAX = 16 * 1024 /* extensions and trailers of one body: nobody needs them */
};

/* --- heads --- */

long http1_head_size(struct slice bytes, size_t *line)
{
    const char *feed;
    while (*line < bytes.size && (feed = memchr(bytes.data + *line, '\n', bytes.size - *line))) {
        size_t end = (size_t)(feed - bytes.data);
        if (end == *line || bytes.data[end - 1] != '\r') return -1;
        if (end == *line + 1) return (long)end + 1;
        *line = end + 1;
    }
    return 0;
}

/* The next line without its CR LF. */
static struct slice take_line(struct slice *rest)
{
    const char *feed = memchr(rest->data, '\n', rest->size);
    size_t size = (size_t)(feed - rest->data);
    struct slice line = slice_make(rest->data, size - 1);
    *rest = slice_make(feed + 1, rest->size - size - 1);
    return line;
}

static struct slice trim(struct slice text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) text.size--;
    return text;
}

/* "method target version": what is between the first and the last space is the target, other spaces included.
 */
static void read_request_line(struct slice line, struct http1_head *read)
{
    read->method = read->target = read->version = SLICE_NONE;
    const char *first = memchr(line.data, ' ', line.size), *last = memrchr(line.data, ' ', line.size);
    if (!first || first == last) {
        read->method = line;
        return;
    }
    const char *end = line.data + line.size;
    read->method = slice_make(line.data, (size_t)(first - line.data));
    read->target = slice_make(first + 1, (size_t)(last - first - 1));
    read->version = slice_make(last + 1, (size_t)(end - last - 1));
}

int http1_head_read(struct slice head, struct http1_head *read)
{
    read_request_line(take_line(&head), read);
    read->header_count = 0;
    for (struct slice line = take_line(&head); line.size; line = take_line(&head)) {
        const char *colon = memchr(line.data, ':', line.size);
        if (!colon) return -1;
        if (read->header_count == HTTP1_HEADERS_MAX) return -2;
        struct gate_header *header = &read->headers[read->header_count++];
        header->name = slice_make(line.data, (size_t)(colon - line.data));
        header->value = trim(slice_make(colon + 1, line.size - header->name.size - 1));
    }
    return 0;
}

/* --- chunked bodies --- */

enum {
    SIZE,
    EXTENSION,
    SIZE_END,
    DATA,
    DATA_CR,
    DATA_END,
    TRAILER,
    TRAILER_LINE,
    TRAILER_END,
    LAST_END,
    DONE
};

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* A byte of a chunk's size or of what is behind it in its line; -1: not allowed there. */
static int take_size(struct http1_chunks *chunks, char c)
{
    int digit = digit_of(c);
    if (digit >= 0) {
        chunks->left = chunks->left * 16 + (uint64_t)digit;
        return ++chunks->digits <= CHUNK_DIGITS_MAX ? SIZE : -1;
    }
    if (chunks->digits == 0) return -1;
    if (c == '\r') return SIZE_END;
    return c == ';' || c == ' ' || c == '\t' ? EXTENSION : -1;
}

/* The state after a byte that is no data, or -1. */
static int take_frame(struct http1_chunks *chunks, char c)
{
    bool is_text = c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
    switch (chunks->state) {
    case SIZE: return take_size(chunks, c);
    case EXTENSION:
        return c == '\r' ? SIZE_END : is_text && ++chunks->overhead <= OVERHEAD_MAX ? EXTENSION : -1;
    case SIZE_END: return c != '\n' ? -1 : chunks->left ? DATA : TRAILER;
    case DATA_CR: return c == '\r' ? DATA_END : -1;
    case DATA_END: chunks->digits = 0; return c == '\n' ? SIZE : -1;
    case TRAILER:
        if (c == '\r') return LAST_END;
        /* fall through */
    case TRAILER_LINE:
        if (c == '\r') return TRAILER_END;
        return is_text && ++chunks->overhead <= OVERHEAD_MAX ? TRAILER_LINE : -1;
    case TRAILER_END: return c == '\n' ? TRAILER : -1;
    case LAST_END: return c == '\n' ? DONE : -1;
    default: return -1;
    }
}

enum http1_step http1_chunks_next(struct http1_chunks *chunks, struct slice *rest, struct slice *data)
{
    while (rest->size) {
        if (chunks->state == DATA) {
            size_t size = chunks->left < rest->size ? (size_t)chunks->left : rest->size;
            *data = slice_make(rest->data, size);
            *rest = slice_make(rest->data + size, rest->size - size);
            chunks->left -= size;
            if (chunks->left == 0) chunks->state = DATA_CR;
            return HTTP1_DATA;
        }
        chunks->state = take_frame(chunks, *rest->data);
        *rest = slice_make(rest->data + 1, rest->size - 1);
        if (chunks->state < 0) return HTTP1_BAD;
        if (chunks->state == DONE) return HTTP1_END;
    }
    return HTTP1_MORE;
}

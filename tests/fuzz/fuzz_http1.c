/* Heads and chunked bodies: any bytes, cut in two anywhere (the first byte says where), are read as if they
 * had come at once; what is found lies in what was given. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "net/http1.h"

static void check_inside(struct slice whole, struct slice part)
{
    if (!part.size) return;
    CHECK(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static void read_head(struct slice bytes, size_t cut)
{
    size_t line = 0;
    long whole = http1_head_size(bytes, &line);
    line = 0;
    long found = http1_head_size(slice_make(bytes.data, cut), &line);
    if (found == 0) found = http1_head_size(bytes, &line);
    CHECK(found == whole && whole <= (long)bytes.size);
    if (whole <= 2) return;
    struct slice head = slice_make(bytes.data, (size_t)whole);
    static struct http1_head read;
    if (http1_head_read(head, &read) < 0) return;
    check_inside(head, read.method);
    check_inside(head, read.target);
    check_inside(head, read.version);
    for (size_t at = 0; at < read.header_count; at++) {
        check_inside(head, read.headers[at].name);
        check_inside(head, read.headers[at].value);
        CHECK(!memchr(read.headers[at].name.data, ':', read.headers[at].name.size));
    }
}

static enum http1_step read_body(struct slice first, struct slice second, struct buf *body, size_t *used)
{
    struct http1_chunks chunks = {0};
    struct slice parts[2] = {first, second}, data;
    enum http1_step found = HTTP1_MORE;
    for (int at = 0; at < 2 && found == HTTP1_MORE; at++) {
        struct slice rest = parts[at];
        while ((found = http1_chunks_next(&chunks, &rest, &data)) == HTTP1_DATA) {
            check_inside(parts[at], data);
            buf_put_slice(body, data);
        }
        CHECK(found != HTTP1_MORE || rest.size == 0);
        *used += parts[at].size - rest.size;
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = slice_make(data + 1, size - 1);
    size_t cut = bytes.size * data[0] / 255;
    read_head(bytes, cut);
    struct buf whole = {0}, parts = {0};
    size_t used_whole = 0, used_parts = 0;
    struct slice first = slice_make(bytes.data, cut), second = slice_make(bytes.data + cut, bytes.size - cut);
    CHECK(read_body(bytes, SLICE_NONE, &whole, &used_whole) == read_body(first, second, &parts, &used_parts));
    CHECK(used_whole == used_parts && slice_equal(buf_slice(&whole), buf_slice(&parts)));
    buf_release(&whole);
    buf_release(&parts);
    return 0;
}

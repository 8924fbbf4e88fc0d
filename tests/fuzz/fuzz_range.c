/* Questions to a view as they come from a URL: index, min, max, after (NUL between them) over documents that
 * are there. What comes is of the tenant asked for, within the bounds, in order, and going on from the cursor
 * of each gives the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/order.h"
#include "store/docs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static struct docs *docs;

static void clean_up(void)
{
    docs_close(docs);
    docs_destroy(folder, NULL);
}

static void put(struct docs_write *write, const char *tenant, const char *key, const char *json)
{
    struct buf value = {0};
    CHECK(json_to_mp(slice_of(json), &value, NULL) == 0);
    CHECK(docs_put(write, slice_of(tenant), slice_of(key), buf_slice(&value), NULL) == 0);
    buf_release(&value);
}

static void start(void)
{
    static const char *const names[] = {"a", "b.c"};
    static const char *const values[] = {"1",     "-7.5", "1e300", "0",    "true", "false",
                                         "\"x\"", "\"\"", "\"1\"", "null", "[]"};
    snprintf(folder, sizeof folder, "/dev/shm/lore-fuzz-XXXXXX");
    CHECK(mkdtemp(folder));
    atexit(clean_up);
    struct docs_options options = {.path = folder, .indexes = names, .index_count = 2, .map_size = 1 << 20};
    struct docs_write *write;
    struct fault fault;
    bool dirty;
    CHECK(docs_open(&options, &docs, &dirty, &fault) == 0 && !dirty && docs_begin(docs, &write, &fault) == 0);
    for (int tenant = 0; tenant < 3; tenant++)
        for (size_t n = 0; n < 33; n++) {
            char key[32], json[400];
            snprintf(key, sizeof key, n % 2 ? "%zu" : "k%zu", n);
            snprintf(json, sizeof json, "{\"a\":%s,\"b\":{\"c\":\"%0*zu\"}}", values[n % 11], (int)(n * 8),
                     n / 4);
            put(write, tenant == 0 ? "a" : tenant == 1 ? "main" : "main2", key, json);
        }
    CHECK(docs_commit(write, &fault) == 0);
}

static struct slice cut(struct slice *text)
{
    const char *at = text->size ? memchr(text->data, 0, text->size) : NULL;
    struct slice before = slice_make(text->data, at ? (size_t)(at - text->data) : text->size);
    size_t used = before.size + (at ? 1 : 0);
    *text = slice_make(text->data + used, text->size - used);
    return before;
}

static bool is_scalar_in(struct slice document, const struct docs_range *range)
{
    struct slice field;
    bool there = slice_is(range->index, "a")
                     ? mp_find(document, slice_of("a"), &field)
                     : mp_find(document, slice_of("b"), &field) && mp_find(field, slice_of("c"), &field);
    struct buf low = {0}, form = {0}, high = {0};
    bool in = there && order_put(&form, field);
    /* The forms of long texts are cut; then the whole texts decide, which this does not repeat. */
    if (range->min.size && order_put(&low, range->min))
        in = in && slice_compare(buf_slice(&low), buf_slice(&form)) <= 0;
    if (range->max.size && order_put(&high, range->max))
        in = in && slice_compare(buf_slice(&form), buf_slice(&high)) <= 0;
    buf_release(&low);
    buf_release(&form);
    buf_release(&high);
    return in;
}

/* Everything there is, with a cursor kept after `stop` documents; the number of documents. */
static size_t read_all(const struct docs_range *range, size_t stop, struct buf *cursor)
{
    struct docs_read *read;
    struct slice key, value;
    struct fault fault;
    size_t count = 0;
    if (docs_read_open(docs, range, &read, &fault) < 0) {
        CHECK(fault.code == FAULT_MALFORMED || fault.code == FAULT_NOT_FOUND);
        return SIZE_MAX;
    }
    while (docs_read_next(read, &key, &value, &fault) == 1) {
        CHECK(key.size > 0 && mp_check(value, NULL) == 0);
        if (range->index.size) CHECK(is_scalar_in(value, range));
        if (++count == stop) docs_cursor(read, cursor);
    }
    CHECK(count <= 33);
    docs_read_close(read);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!docs) start();
    if (size == 0) return 0;
    struct slice text = slice_make(data + 1, size - 1);
    struct docs_range range = {.tenant = slice_of("main"), .index = cut(&text)};
    struct buf min = {0}, max = {0}, cursor = {0};
    struct slice low = cut(&text), high = cut(&text);
    if (low.size) order_query(&min, low);
    if (high.size) order_query(&max, high);
    range.min = buf_slice(&min);
    range.max = buf_slice(&max);
    range.after = text;
    size_t stop = 1 + data[0] % 33, count = read_all(&range, stop, &cursor);
    if (count != SIZE_MAX && count >= stop) {
        range.after = buf_slice(&cursor);
        CHECK(read_all(&range, 0, NULL) == count - stop);
    }
    buf_release(&min);
    buf_release(&max);
    buf_release(&cursor);
    return 0;
}

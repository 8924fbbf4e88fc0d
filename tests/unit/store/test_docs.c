#include "test_docs_support.h"

#include <math.h>

#include "codec/mp.h"
#include "store/docs.h"

/* --- the model: documents in an array, compared by code that knows nothing of order.h --- */

enum { TENANTS = 3, KEYS = 60, MODEL_MAX = TENANTS * KEYS };
static const char *const tenants[TENANTS] = {"acme", "acm", "zeta"};
static const char *const index_names[] = {"status", "inner.amount", "note"};

struct scalar { /* kind 0: none, 1 boolean, 2 number, 3 text: in this order */
    int kind;
    int64_t hundredths; /* a boolean: 0 or 1 */
    char text[260];
    size_t text_size;
};

struct document {
    bool there;
    int tenant;
    char key[32];
    struct scalar fields[3];
    struct buf value;
};

static struct document model[MODEL_MAX], saved[MODEL_MAX];

static int scalar_compare(const struct scalar *a, const struct scalar *b, size_t text_size_max)
{
    if (a->kind != b->kind) return a->kind - b->kind;
    if (a->kind < 3) return (a->hundredths > b->hundredths) - (a->hundredths < b->hundredths);
    size_t a_size = a->text_size < text_size_max ? a->text_size : text_size_max;
    size_t b_size = b->text_size < text_size_max ? b->text_size : text_size_max;
    int order = memcmp(a->text, b->text, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static struct scalar scalar_random(void)
{
    struct scalar scalar = {0};
    switch (test_below(8)) {
    case 0: scalar.kind = 0; break;
    case 1:
        scalar.kind = 1;
        scalar.hundredths = (int64_t)test_below(2);
        break;
    case 2:
    case 3:
    case 4:
        scalar.kind = 2;
        scalar.hundredths = ((int64_t)test_below(40) - 20) * (test_below(2) ? 100 : 25);
        if (test_below(10) == 0) scalar.hundredths *= 1000003;
        break;
    case 5: /* longer than what is indexed, equal in all but the end */
        scalar.kind = 3;
        scalar.text_size = 158 + test_below(8);
        memset(scalar.text, 'l', scalar.text_size);
        if (scalar.text_size > 161) scalar.text[scalar.text_size - 1] = (char)('a' + test_below(4));
        break;
    default:
        scalar.kind = 3;
        scalar.text_size = test_below(4);
        for (size_t i = 0; i < scalar.text_size; i++) scalar.text[i] = "\0\1a~z"[test_below(5)];
    }
    return scalar;
}

/* The same value in different clothes: 2, 2.0, decimal "2.00". */
static void scalar_encode(struct buf *out, const struct scalar *scalar)
{
    if (scalar->kind == 0) {
        if (test_below(2))
            mp_put_nil(out);
        else
            mp_put_list(out, 0);
    } else if (scalar->kind == 1) {
        mp_put_bool(out, scalar->hundredths);
    } else if (scalar->kind == 3) {
        mp_put_text(out, slice_make(scalar->text, scalar->text_size));
    } else if (test_below(3) == 0) {
        mp_put_float(out, (double)scalar->hundredths / 100);
    } else if (scalar->hundredths % 100 == 0 && test_below(2)) {
        mp_put_int(out, scalar->hundredths / 100);
    } else {
        char text[40];
        long long hundredths = scalar->hundredths, positive = hundredths < 0 ? -hundredths : hundredths;
        snprintf(text, sizeof text, "%s%lld.%02lld", hundredths < 0 ? "-" : "", positive / 100,
                 positive % 100);
        mp_put_decimal(out, slice_of(text));
    }
}

static void document_random(struct document *document)
{
    buf_clear(&document->value);
    for (int i = 0; i < 3; i++) document->fields[i] = scalar_random();
    bool has_note = document->fields[2].kind != 0 || test_below(2);
    bool has_inner = document->fields[1].kind != 0 || test_below(2);
    struct buf *out = &document->value;
    mp_put_map(out, 1u + 1 + has_note + has_inner);
    mp_put_text(out, slice_of("filler"));
    mp_put_int(out, (int64_t)test_below(3));
    if (has_inner) {
        mp_put_text(out, slice_of("inner"));
        mp_put_map(out, 1);
        mp_put_text(out, slice_of("amount"));
        scalar_encode(out, &document->fields[1]);
    }
    if (has_note) {
        mp_put_text(out, slice_of("note"));
        scalar_encode(out, &document->fields[2]);
    }
    mp_put_text(out, slice_of("status"));
    scalar_encode(out, &document->fields[0]);
    document->there = true;
}

static void model_copy(struct document *to, const struct document *from)
{
    for (size_t i = 0; i < MODEL_MAX; i++) {
        struct buf value = to[i].value;
        to[i] = from[i];
        to[i].value = value;
        buf_clear(&to[i].value);
        buf_put_slice(&to[i].value, buf_slice(&from[i].value));
    }
}

static void model_begin(void)
{
    for (int tenant = 0; tenant < TENANTS; tenant++)
        for (int n = 0; n < KEYS; n++) {
            struct document *document = &model[tenant * KEYS + n];
            document->there = false;
            document->tenant = tenant;
            snprintf(document->key, sizeof document->key, n % 7 ? "%d" : "key \xc3\xa4 %d", n * 37 % KEYS);
        }
}

static int sort_field; /* -1: by key */
static int by_field(const void *a, const void *b)
{
    const struct document *left = *(struct document *const *)a, *right = *(struct document *const *)b;
    if (sort_field >= 0) {
        int order = scalar_compare(&left->fields[sort_field], &right->fields[sort_field], 160);
        if (order) return order;
    }
    return strcmp(left->key, right->key);
}

static size_t model_range(int tenant, int field, const struct scalar *min, const struct scalar *max,
                          struct document *found[KEYS])
{
    size_t count = 0;
    for (size_t i = 0; i < MODEL_MAX; i++) {
        struct document *document = &model[i];
        if (!document->there || document->tenant != tenant) continue;
        if (field >= 0) {
            const struct scalar *scalar = &document->fields[field];
            if (scalar->kind == 0 || (min->kind && scalar_compare(scalar, min, 1000) < 0) ||
                (max->kind && scalar_compare(scalar, max, 1000) > 0))
                continue;
        }
        found[count++] = document;
    }
    sort_field = field;
    qsort(found, count, sizeof *found, by_field);
    return count;
}

/* --- against the model --- */

static struct docs *docs_start(const char *path, uint64_t map_size)
{
    struct fault fault;
    struct docs *docs;
    bool dirty;
    struct docs_options options = {
        .path = path, .indexes = index_names, .index_count = 3, .map_size = map_size};
    assert_done(docs_open(&options, &docs, &dirty, &fault));
    assert_false(dirty);
    return docs;
}

/* Reads a range in pages of random size, each continuing at the cursor of the one before. */
static void compare_range(struct docs *docs, int tenant, int field)
{
    struct scalar min = {0}, max = {0};
    struct buf min_bytes = {0}, max_bytes = {0}, cursor = {0};
    if (field >= 0 && test_below(3)) min = scalar_random();
    if (field >= 0 && test_below(3)) max = scalar_random();
    if (min.kind) scalar_encode(&min_bytes, &min);
    if (max.kind) scalar_encode(&max_bytes, &max);
    struct document *expected[KEYS];
    size_t count = model_range(tenant, field, &min, &max, expected), at = 0;
    struct fault fault;
    int result = 1;
    while (result == 1) {
        struct docs_range range = {.tenant = slice_of(tenants[tenant]),
                                   .index = slice_of(field < 0 ? NULL : index_names[field]),
                                   .min = buf_slice(&min_bytes),
                                   .max = buf_slice(&max_bytes),
                                   .after = buf_slice(&cursor)};
        struct docs_read *read;
        assert_done(docs_read_open(docs, &range, &read, &fault));
        size_t limit = 1 + test_below(30);
        struct slice key, value;
        while (limit-- > 0 && (result = docs_read_next(read, &key, &value, &fault)) == 1) {
            assert_true(at < count);
            assert_true(slice_is(key, expected[at]->key));
            assert_true(slice_equal(value, buf_slice(&expected[at]->value)));
            at++;
        }
        buf_clear(&cursor);
        docs_cursor(read, &cursor);
        docs_read_close(read);
    }
    if (result < 0) fail_msg("%s", fault.text);
    assert_int_equal(at, count);
    buf_release(&min_bytes);
    buf_release(&max_bytes);
    buf_release(&cursor);
}

static void compare_all(struct docs *docs)
{
    struct fault fault;
    uint64_t there = 0, checked;
    struct buf value = {0};
    for (size_t i = 0; i < MODEL_MAX; i++) {
        there += model[i].there;
        buf_clear(&value);
        int found =
            docs_get(docs, slice_of(tenants[model[i].tenant]), slice_of(model[i].key), &value, &fault);
        assert_int_equal(found, model[i].there);
        if (found) assert_true(slice_equal(buf_slice(&value), buf_slice(&model[i].value)));
    }
    assert_int_equal(docs_count(docs), there);
    for (int tenant = 0; tenant < TENANTS; tenant++)
        for (int field = -1; field < 3; field++)
            for (int n = 0; n < 4; n++) compare_range(docs, tenant, field);
    assert_done(docs_check(docs, &checked, &fault));
    assert_int_equal(checked, there);
    buf_release(&value);
}

static void change_random(struct docs *docs, bool commit)
{
    struct fault fault;
    struct docs_write *write;
    assert_done(docs_begin(docs, &write, &fault));
    for (size_t n = test_below(80); n > 0; n--) {
        struct document *document = &model[test_below(MODEL_MAX)];
        struct slice tenant = slice_of(tenants[document->tenant]), key = slice_of(document->key);
        if (test_below(3) == 0) {
            assert_done(docs_remove(write, tenant, key, &fault));
            document->there = false;
        } else {
            document_random(document);
            assert_done(docs_put(write, tenant, key, buf_slice(&document->value), &fault));
        }
    }
    if (commit)
        assert_done(docs_commit(write, &fault));
    else
        docs_abort(write);
}

static void agrees_with_a_model(void **state)
{
    struct docs *docs = docs_start(test_path("model"), 0);
    model_begin();
    for (int round = 0; round < 60; round++) {
        bool commit = test_below(4) != 0;
        if (!commit) model_copy(saved, model);
        change_random(docs, commit);
        if (!commit) model_copy(model, saved);
        if (test_below(5) == 0) {
            docs_close(docs);
            docs = docs_start(test_path("model"), 0);
        }
        compare_all(docs);
    }
    docs_close(docs);
    for (size_t i = 0; i < MODEL_MAX; i++) {
        buf_release(&model[i].value);
        buf_release(&saved[i].value);
        model[i] = saved[i] = (struct document){0};
    }
}

/* --- meta --- */

static bool collect(void *user, struct slice key, struct slice value)
{
    struct buf *out = user;
    buf_format(out, "%.*s=%.*s;", SLICE_ARGS(key), SLICE_ARGS(value));
    return !slice_is(key, "b/2");
}

static void meta_commits_with_the_documents(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("meta"), 0);
    struct docs_write *write;
    assert_done(docs_begin(docs, &write, &fault));
    const char *const keys[] = {"b/2", "b/1", "a", "b/3", "c"};
    for (int i = 0; i < 5; i++)
        assert_done(docs_meta_put(write, slice_of(keys[i]), slice_of(keys[i]), &fault));
    assert_done(docs_meta_put(write, slice_of("c"), SLICE_NONE, &fault));
    assert_done(docs_put(write, slice_of("t"), slice_of("k"), slice_of("\x80"), &fault));
    assert_int_equal(docs_meta_put(write, SLICE_NONE, slice_of("x"), &fault), -1);
    assert_int_equal(docs_meta_put(write, slice_make("\0indexes", 8), slice_of("x"), &fault), -1);
    assert_int_equal(docs_put(write, slice_of("t"), SLICE_NONE, slice_of("\x80"), &fault), -1);
    char long_key[257] = {0};
    memset(long_key, 'k', 256);
    assert_int_equal(docs_put(write, slice_of("t"), slice_of(long_key), slice_of("\x80"), &fault), -1);
    assert_int_equal(fault.code, FAULT_TOO_LARGE);
    struct buf value = {0}, all = {0};
    assert_int_equal(docs_meta_get(docs, slice_of("a"), &value, &fault), 0); /* not yet */
    struct docs_read *read;
    struct docs_range range = {.tenant = slice_of("t")};
    assert_done(docs_read_open(docs, &range, &read, &fault));
    struct slice found;
    assert_int_equal(docs_read_meta(read, slice_of("a"), &found, &fault), 0);
    docs_read_close(read);
    assert_done(docs_commit(write, &fault));
    assert_int_equal(docs_meta_get(docs, slice_of("a"), &value, &fault), 1);
    assert_true(slice_is(buf_slice(&value), "a"));
    assert_int_equal(docs_meta_get(docs, slice_of("c"), &value, &fault), 0);
    assert_done(docs_read_open(docs, &range, &read, &fault));
    assert_int_equal(docs_read_meta(read, slice_of("b/1"), &found, &fault), 1);
    assert_int_equal(docs_read_get(read, slice_of("k"), &found, &fault), 1);
    assert_int_equal(docs_read_get(read, slice_of("no"), &found, &fault), 0);
    docs_read_close(read);
    assert_done(docs_meta_each(docs, slice_of("b/"), collect, &all, &fault));
    assert_true(slice_is(buf_slice(&all), "b/1=b/1;b/2=b/2;"));
    buf_clear(&all);
    assert_done(docs_meta_each(docs, SLICE_NONE, collect, &all, &fault));
    assert_true(slice_is(buf_slice(&all), "a=a;b/1=b/1;b/2=b/2;"));
    docs_close(docs);
    buf_release(&value);
    buf_release(&all);
}

/* --- cursors --- */

static void put_status(struct docs_write *write, const char *key, const char *status)
{
    struct fault fault;
    struct buf value = {0};
    mp_put_map(&value, 1);
    mp_put_text(&value, slice_of("status"));
    mp_put_text(&value, slice_of(status));
    assert_done(docs_put(write, slice_of("t"), slice_of(key), buf_slice(&value), &fault));
    buf_release(&value);
}

/* One document after the other, and after each the one just given is removed and others come and go: those
 * that stay are met once each. */
static void a_cursor_survives_changes(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("cursors"), 0);
    for (int by_index = 0; by_index < 2; by_index++) {
        struct docs_write *write;
        assert_done(docs_begin(docs, &write, &fault));
        assert_done(docs_remove(write, slice_of("t"), slice_of("a-before"), &fault));
        for (int i = 0; i < 40; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%02d", i);
            put_status(write, key, i % 2 ? "odd" : "even");
        }
        assert_done(docs_commit(write, &fault));
        struct buf cursor = {0};
        int seen = 0;
        for (;;) {
            struct docs_range range = {.tenant = slice_of("t"),
                                       .index = slice_of(by_index ? "status" : ""),
                                       .after = buf_slice(&cursor)};
            struct docs_read *read;
            assert_done(docs_read_open(docs, &range, &read, &fault));
            struct slice key, value;
            int result = docs_read_next(read, &key, &value, &fault);
            assert_true(result >= 0);
            char kept[8] = {0};
            if (result == 1) memcpy(kept, key.data, key.size);
            buf_clear(&cursor);
            docs_cursor(read, &cursor);
            docs_read_close(read);
            if (result == 0) break;
            int number = by_index ? seen < 20 ? 2 * seen : 2 * (seen - 20) + 1 : seen;
            assert_int_equal(atoi(kept + 1), number);
            seen++;
            assert_done(docs_begin(docs, &write, &fault));
            assert_done(docs_remove(write, slice_of("t"), slice_of(kept), &fault));
            put_status(write, "a-before", "aaa");
            assert_done(docs_commit(write, &fault));
        }
        assert_int_equal(seen, 40);
        buf_release(&cursor);
    }
    docs_close(docs);
}

static void expect_refused(struct docs *docs, struct docs_range range, enum fault_code code)
{
    struct fault fault = {0};
    struct docs_read *read;
    assert_int_equal(docs_read_open(docs, &range, &read, &fault), -1);
    assert_int_equal(fault.code, code);
}

static void bad_ranges_are_refused(void **state)
{
    struct fault fault;
    struct docs *docs = docs_start(test_path("ranges"), 0);
    struct docs_write *write;
    assert_done(docs_begin(docs, &write, &fault));
    put_status(write, "k", "open");
    put_status(write, "l", "open");
    assert_done(docs_commit(write, &fault));
    struct docs_range range = {.tenant = slice_of("t"), .index = slice_of("status")};
    struct docs_read *read;
    assert_done(docs_read_open(docs, &range, &read, &fault));
    struct slice key, value;
    assert_int_equal(docs_read_next(read, &key, &value, &fault), 1);
    struct buf cursor = {0};
    docs_cursor(read, &cursor);
    docs_read_close(read);
    /* Each changed digit, each shorter cursor, and the cursor of another index. */
    for (size_t i = 0; i < cursor.size; i++) {
        range.after = slice_make(cursor.data, i);
        if (i > 0) expect_refused(docs, range, FAULT_MALFORMED);
        range.after = buf_slice(&cursor);
        char digit = cursor.data[i];
        cursor.data[i] = digit == '0' ? '1' : '0';
        expect_refused(docs, range, FAULT_MALFORMED);
        cursor.data[i] = 'G';
        expect_refused(docs, range, FAULT_MALFORMED);
        cursor.data[i] = digit;
    }
    range.index = slice_of("note");
    expect_refused(docs, range, FAULT_MALFORMED);
    range.index = slice_of("other");
    expect_refused(docs, range, FAULT_NOT_FOUND);
    range =
        (struct docs_range){.tenant = slice_of("t"), .index = slice_of("status"), .min = slice_of("\xc0")};
    expect_refused(docs, range, FAULT_MALFORMED);
    range =
        (struct docs_range){.tenant = slice_of("t"), .index = slice_of("status"), .max = slice_of("\x90")};
    expect_refused(docs, range, FAULT_MALFORMED);
    range = (struct docs_range){.tenant = slice_of("t"), .min = slice_of("\x01")};
    expect_refused(docs, range, FAULT_MALFORMED);
    docs_close(docs);
    buf_release(&cursor);
}

static int group_begin(void **state)
{
    test_directory_make();
    return 0;
}
static int group_end(void **state)
{
    test_directory_drop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(meta_commits_with_the_documents),
        cmocka_unit_test(a_cursor_survives_changes),
        cmocka_unit_test(bad_ranges_are_refused),
    };
    return cmocka_run_group_tests_name("docs", tests, group_begin, group_end);
}

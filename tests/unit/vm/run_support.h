/* run_support.h: runs of services and tasks against a host made for tests: 150 documents, one secret, a
 * clock, a log that is kept, answers given by hand. */
#ifndef LORE_TESTS_RUN_SUPPORT_H
#define LORE_TESTS_RUN_SUPPORT_H

#include "codec/mp.h"
#include "unit/vm/domain_support.h"

struct test_host {
    struct domain_host host;
    int64_t now_ms;
    struct buf log;   /* lines "level text\n" */
    struct buf asked; /* of views */
    size_t documents; /* of every view */
    enum fault_code fails;
};

static inline int test_view_get(void *user, struct slice view, struct slice key, struct buf *document,
                                struct fault *fault)
{
    struct test_host *test = user;
    buf_format(&test->asked, "get %.*s %.*s\n", SLICE_ARGS(view), SLICE_ARGS(key));
    if (test->fails) return fault_set(fault, test->fails, "the view is not there");
    if (!slice_is(key, "k7")) return 0;
    buf_put_slice(document, mp_of("{'n':7,'list':[1,2]}"));
    return 1;
}

static inline int test_view_range(void *user, struct slice view, struct slice index, struct slice min,
                                  struct slice max, struct buf *cursor, size_t limit, struct buf *pairs,
                                  struct fault *fault)
{
    struct test_host *test = user;
    size_t at = 0;
    if (cursor->size == sizeof at) memcpy(&at, cursor->data, sizeof at);
    if (at == 0)
        buf_format(&test->asked, "range %.*s %.*s %s %s\n", SLICE_ARGS(view), SLICE_ARGS(index),
                   min.size ? json_of(min) : "-", max.size ? json_of(max) : "-");
    if (test->fails) return fault_set(fault, test->fails, "the view is not there");
    size_t end = at + limit < test->documents ? at + limit : test->documents;
    for (; at < end; at++) {
        char key[32], document[64];
        snprintf(key, sizeof key, "k%zu", at);
        snprintf(document, sizeof document, "{'n':%zu}", at);
        mp_put_text(pairs, slice_of(key));
        buf_put_slice(pairs, mp_of(document));
    }
    buf_clear(cursor);
    buf_put(cursor, &at, sizeof at);
    return at < test->documents;
}

static inline int64_t test_now_ms(void *user)
{
    return ((struct test_host *)user)->now_ms;
}

static inline bool test_secret(void *user, struct slice name, struct buf *value)
{
    (void)user;
    if (slice_is(name, "MAIL_KEY")) buf_put_text(value, "s3cr3t-and-long-enough");
    if (slice_is(name, "PIN")) buf_put_text(value, "4711");
    return value->size > 0;
}

static inline void test_log(void *user, int level, struct slice text)
{
    buf_format(&((struct test_host *)user)->log, "%d %.*s\n", level, SLICE_ARGS(text));
}

static inline void open_test_host(struct test_host *test)
{
    *test = (struct test_host){.now_ms = ms_of("2026-03-01T10:00:00Z"), .documents = 150};
    test->host = (struct domain_host){.user = test,
                                      .view_get = test_view_get,
                                      .view_range = test_view_range,
                                      .now_ms = test_now_ms,
                                      .secret = test_secret,
                                      .log = test_log};
}

static inline void close_test_host(struct test_host *test)
{
    buf_release(&test->log);
    buf_release(&test->asked);
}

/* A buf as a text that ends. */
static inline const char *text_of(struct buf *buf)
{
    buf_put_byte(buf, 0);
    buf->size--;
    return buf->data;
}

#endif

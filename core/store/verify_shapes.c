/* The counts of shapes against the log. */
#include <stdio.h>
#include <stdlib.h>

#include "store/shapes.h"
#include "store/verify_inside.h"

/* The log again, up to where the file counts. 1: counted; 0: the log does not have that record (any more),
 * the next start counts anew; -1: fault. */
static int recount(const struct verify_part *part, struct log_view *view, struct names *names,
                   const struct shapes *shapes, struct shapes *again, struct fault *fault)
{
    struct log_scan scan;
    struct record record;
    struct slice bytes;
    struct hash chain = shapes_chain(shapes);
    uint64_t number, records = 0, last = shapes_position(shapes);
    int more = log_scan_open(&scan, view, LOG_DB_COMMITS, 0, fault);
    while (more >= 0 && shapes_position(again) < last &&
           (more = log_scan_next(&scan, &number, &bytes, fault)) > 0) {
        if ((more = record_open(bytes, names, &record, fault)) < 0) break;
        shapes_add(again, &record);
        if (++records % 1000 == 0) verify_progress(part, shapes_position(again), last);
    }
    log_scan_close(&scan);
    if (more < 0) return -1;
    struct hash found = shapes_chain(again);
    return shapes_position(again) == last && hash_equal(&found, &chain);
}

/* Which log it is, as engine_open finds out. */
static void name_log(struct engine_lmdb *lmdb, struct engine_head *head)
{
    struct buf value = {0};
    *head = lmdb->head;
    if (engine_lmdb_meta_get(&lmdb->engine, slice_of("log_id"), &value, NULL) > 0)
        snprintf(head->log_id, sizeof head->log_id, "%.*s", SLICE_ARGS(buf_slice(&value)));
    buf_clear(&value);
    head->epoch = 1;
    if (engine_lmdb_meta_get(&lmdb->engine, slice_of("epoch"), &value, NULL) > 0) {
        buf_put_byte(&value, 0);
        head->epoch = strtoull(value.data, NULL, 10);
    }
    buf_release(&value);
}

static void verify_counts(const struct verify_part *part, struct shapes *shapes)
{
    struct engine_lmdb lmdb;
    struct log_view view;
    struct fault fault = {0};
    /* That the log cannot be read is a finding of another part. */
    if (verify_open_log(part, &lmdb, &view, &fault) < 0) return;
    struct engine_head head;
    name_log(&lmdb, &head);
    struct shapes *again = shapes_new();
    if (shapes_fits(shapes, &head) && shapes_position(shapes) > 0) {
        shapes_begin(again, &head);
        if (recount(part, &view, lmdb.engine.names, shapes, again, &fault) == 1 &&
            !shapes_equal(shapes, again))
            verify_find(part, 0, "shapes: they are not those of the log up to position %llu",
                        (unsigned long long)shapes_position(shapes));
    }
    shapes_free(again);
    verify_close_log(&lmdb, &view);
}

void verify_shapes(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    struct shapes *shapes;
    struct fault fault;
    char path[4096];
    snprintf(path, sizeof path, "%s/shapes", part->path);
    int found = shapes_load(path, &shapes, &fault);
    if (found < 0) verify_find(part, 0, "shapes: %s", fault.text);
    if (found == 1) {
        verify_counts(part, shapes);
        shapes_free(shapes);
    }
    verify_say(part, &done);
}

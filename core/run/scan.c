#include "run/scan.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/text.h"
#include "run/moment.h"
#include "run/scan_filter.h"

enum {
    SCAN_LOOK_EVERY = 256,       /* records between two looks at the clock */
    SCAN_PATIENCE = 4096,        /* records without a hit, then whoever waits is asked */
    SCAN_PIN_NS = 200 * 1000000, /* how long a read of the log may be open */
    SCAN_BACK = 8192             /* positions that are looked at at once, from the end back */
};

struct scan {
    struct seek_scan scan;
    struct scan_host *host;
    struct engine *engine;
    struct scan_filter filter;
    char *stream; /* "billing/bill/7"; NULL: the log */
    char *of;     /* the tenant, as it was when the query began */
    struct slice tenant, aggregate, id;
};

struct seek_cursor {
    struct scan *scan;
    struct engine_cursor *cursor; /* NULL: to be opened at `from` */
    uint64_t from, to;            /* next to look at, last to look at */
    uint64_t version;             /* of a stream: where to open it */
    int64_t opened_ns;
    uint32_t seen;
    bool in_record;
    struct record record;
    struct record_event event;
};

/* --- cursors --- */

static void cursor_rest(struct seek_cursor *cursor)
{
    if (cursor->cursor) engine_cursor_close(cursor->cursor);
    cursor->cursor = NULL;
    cursor->in_record = false;
}

static int cursor_wake(struct seek_cursor *cursor, struct fault *fault)
{
    struct scan *scan = cursor->scan;
    struct stream_id stream = {scan->tenant, scan->aggregate, scan->id};
    cursor->opened_ns = clock_monotonic_ns();
    if (!scan->stream) return engine_read(scan->engine, cursor->from, &cursor->cursor, fault);
    return engine_read_stream(scan->engine, &stream, cursor->version, &cursor->cursor, fault);
}

static int scan_open(struct seek_scan *scan, uint64_t from, uint64_t to, struct seek_cursor **cursor,
                     struct fault *fault)
{
    *cursor = MEM_NEW(struct seek_cursor);
    (*cursor)->scan = (struct scan *)scan;
    (*cursor)->from = from;
    (*cursor)->version = 1;
    (*cursor)->to = to < scan->last ? to : scan->last;
    return 0;
}

static void scan_close(struct seek_cursor *cursor)
{
    if (!cursor) return;
    cursor_rest(cursor);
    mem_free(cursor);
}

/* A stream is read from its beginning, so its record may lie before `from`. */
static void pass_record(struct seek_cursor *cursor)
{
    uint64_t behind = cursor->record.first_position + cursor->record.event_count;
    if (behind > cursor->to) behind = cursor->to + 1;
    if (behind > cursor->from) cursor->from = behind;
}

/* 1: it stands in a record that fits; 0: none so far, or the end; -1 fault. */
static int next_record(struct seek_cursor *cursor, struct fault *fault)
{
    const struct scan_filter *filter = &cursor->scan->filter;
    if (cursor->cursor && (++cursor->seen % SCAN_LOOK_EVERY) == 0 &&
        clock_monotonic_ns() - cursor->opened_ns > SCAN_PIN_NS)
        cursor_rest(cursor);
    if (!cursor->cursor && cursor_wake(cursor, fault) < 0) return -1;
    for (int patience = SCAN_PATIENCE; patience > 0; patience--) {
        int found = engine_cursor_next(cursor->cursor, &cursor->record, fault);
        if (found < 0) return -1;
        if (found == 0 || cursor->record.first_position > cursor->to) {
            cursor->from = cursor->to + 1;
            return 0;
        }
        cursor->version = cursor->record.first_version + cursor->record.event_count;
        if (scan_filter_fits(filter, &cursor->record)) {
            cursor->in_record = true;
            cursor->event = (struct record_event){0};
            return 1;
        }
        pass_record(cursor);
        cursor->seen++;
    }
    return 0;
}

static int scan_next(struct seek_cursor *cursor, struct seek_hit *hit, uint64_t *position,
                     struct fault *fault)
{
    const struct scan_filter *filter = &cursor->scan->filter;
    hit->is_new_record = false;
    while (cursor->from <= cursor->to) {
        if (!cursor->in_record) {
            int found = next_record(cursor, fault);
            *position = cursor->from;
            if (found <= 0) return found;
            hit->is_new_record = true;
        }
        while (record_next_event(&cursor->record, &cursor->event)) {
            if (cursor->event.position < cursor->from) continue;
            if (cursor->event.position > cursor->to) break;
            if (!scan_filter_fits_event(filter, &cursor->record, &cursor->event)) continue;
            cursor->from = cursor->event.position + 1;
            hit->record = &cursor->record;
            hit->event = cursor->event;
            *position = cursor->from;
            return 1;
        }
        cursor->in_record = false;
        pass_record(cursor);
    }
    *position = cursor->from;
    return 0;
}

static int scan_get(void *user, uint64_t position, struct buf *bytes, struct record *record,
                    struct fault *fault)
{
    struct scan_host *host = user;
    struct engine_cursor *cursor;
    if (engine_read(host->engine, position, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, record, fault);
    if (found > 0 && (record->first_position > position || record->kind == RECORD_ERASED)) found = 0;
    if (found > 0) {
        buf_clear(bytes);
        buf_put_slice(bytes, record->bytes);
        if (record_open(buf_slice(bytes), engine_names(host->engine), record, fault) < 0) found = -1;
    }
    engine_cursor_close(cursor);
    return found;
}

/* --- what is asked for --- */

/* A position may be one that is not there yet; a time: from the first that was not recorded before it; a
 * deploy: what came behind its moment. */
static int read_from(struct scan *scan, struct slice text, struct fault *fault)
{
    struct moment moment;
    uint64_t position;
    if (text.size == 0) return 0;
    if (moment_parse(text, &moment, fault) < 0) return -1;
    position = moment.number;
    if (moment.kind != MOMENT_POSITION) {
        moment.ms--;
        if (moment_position(scan->engine, &moment, &position, fault) < 0) return -1;
        position++;
    }
    if (position > scan->scan.first) scan->scan.first = position;
    return 0;
}

static int read_upto(struct scan *scan, struct slice text, struct fault *fault)
{
    struct moment moment;
    uint64_t position;
    if (text.size == 0) return 0;
    if (moment_parse(text, &moment, fault) < 0) return -1;
    position = moment.number;
    if (moment.kind != MOMENT_POSITION && moment_position(scan->engine, &moment, &position, fault) < 0)
        return -1;
    if (position < scan->scan.last) scan->scan.last = position;
    return 0;
}

static int read_stream(struct scan *scan, const struct seek_filter *asked, struct fault *fault)
{
    struct slice context, name, id;
    if (asked->stream.size == 0) return 0;
    if (text_split_stream(asked->stream, &context, &name, &id, fault) < 0) return -1;
    if (slice_is(scan->tenant, "*"))
        return fault_set(fault, FAULT_MALFORMED, "stream: of which tenant? \"*\" is none");
    scan->stream = mem_text(asked->stream.data, asked->stream.size);
    scan->aggregate = slice_make(scan->stream, context.size + 1 + name.size);
    scan->id = slice_make(scan->stream + scan->aggregate.size + 1, id.size);
    scan->scan.is_single = true;
    return 0;
}

/* --- the last so many --- */

struct scan_last { /* positions of what fits, the latest so many, in a ring */
    uint64_t *positions;
    uint64_t count, max;
};

static int collect_last(struct scan *scan, uint64_t from, uint64_t to, struct scan_last *last,
                        struct fault *fault)
{
    struct seek_cursor *cursor;
    struct seek_hit hit;
    uint64_t position = from;
    int found;
    if (scan_open(&scan->scan, from, to, &cursor, fault) < 0) return -1;
    while ((found = scan_next(cursor, &hit, &position, fault)) > 0 || (found == 0 && position <= to))
        if (found > 0) last->positions[last->count++ % last->max] = hit.event.position;
    scan_close(cursor);
    return found;
}

/* From the end back, so what comes first is found last: only as much of the log as is needed is looked at. */
static int find_last(struct scan *scan, uint64_t wanted, struct fault *fault)
{
    uint64_t first = scan->scan.first, end = scan->scan.last + 1;
    if (first >= end || wanted >= end - first) return 0;
    while (wanted > 0 && end > first) {
        if (scan->host->cancelled && atomic_load(scan->host->cancelled))
            return fault_set(fault, FAULT_CANCELLED, "cancelled");
        uint64_t from = scan->stream || end - first < SCAN_BACK ? first : end - SCAN_BACK;
        struct scan_last last = {.max = scan->stream ? wanted : SCAN_BACK};
        last.positions = mem_alloc(last.max * sizeof *last.positions);
        int done = collect_last(scan, from, end - 1, &last, fault);
        if (done == 0 && last.count >= wanted)
            scan->scan.first = last.positions[(last.count - wanted) % last.max];
        wanted = last.count >= wanted ? 0 : wanted - last.count;
        mem_free(last.positions);
        if (done < 0) return -1;
        end = from;
    }
    return 0;
}

/* --- the source --- */

static void scan_release(struct seek_scan *asked)
{
    struct scan *scan = (struct scan *)asked;
    if (!scan) return;
    scan_filter_close(&scan->filter);
    mem_free(scan->stream);
    mem_free(scan->of);
    mem_free(scan);
}

static int scan_read(struct scan *scan, const struct seek_filter *filter, struct fault *fault)
{
    struct scan_host *host = scan->host;
    uint64_t head = engine_head(scan->engine).position;
    scan->scan.first = 1;
    scan->scan.last = host->head < head ? host->head : head;
    struct slice tenant = filter->tenant.size ? filter->tenant : host->tenant;
    scan->of = mem_text(tenant.data, tenant.size);
    scan->tenant = slice_make(scan->of, tenant.size);
    if (scan_filter_open(&scan->filter, engine_names(scan->engine), filter, host->tenant, fault) < 0 ||
        read_from(scan, filter->from, fault) < 0 || read_upto(scan, filter->upto, fault) < 0 ||
        read_stream(scan, filter, fault) < 0)
        return -1;
    if (filter->position) {
        if (filter->position > scan->scan.first) scan->scan.first = filter->position;
        if (filter->position < scan->scan.last) scan->scan.last = filter->position;
    }
    if (scan->filter.nothing) scan->scan.first = scan->scan.last + 1;
    return filter->last ? find_last(scan, filter->last, fault) : 0;
}

static int scan_prepare(void *user, const struct seek_filter *filter, struct seek_scan **result,
                        struct fault *fault)
{
    struct scan *scan = MEM_NEW(struct scan);
    scan->host = user;
    scan->engine = scan->host->engine;
    if (scan_read(scan, filter, fault) < 0) {
        scan_release(&scan->scan);
        return -1;
    }
    *result = &scan->scan;
    return 0;
}

struct seek_source scan_source(struct scan_host *host)
{
    return (struct seek_source){.user = host,
                                .prepare = scan_prepare,
                                .release = scan_release,
                                .open = scan_open,
                                .next = scan_next,
                                .close = scan_close,
                                .get = scan_get};
}

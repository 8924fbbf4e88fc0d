/* One event of one receptor: read, handled, sent, done. */
#include "run/receptor.h"

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"
#include "run/fold.h"
#include "run/inside.h"

enum {
    RECEPTOR_READ_MAX = 1024,                     /* records before the others get their turn */
    RECEPTOR_WINDOW_LOW = RECEPTOR_WINDOW / 4 * 3 /* a full window is filled again from here on */
};

struct stream_id receptor_stream(const struct record *record)
{
    return (struct stream_id){.tenant = names_get(record->names, record->tenant),
                              .aggregate = names_get(record->names, record->aggregate),
                              .id = record->id};
}

uint64_t receptor_done_to(const struct receptor *receptor)
{
    return receptor->oldest ? receptor->oldest->position - 1 : receptor->position;
}

/* --- which events --- */

static char receptor_takes_it, receptor_passes_it; /* only their addresses mean something */

static void *receptor_route(const struct receptor *receptor, struct slice aggregate, struct slice type)
{
    size_t context_size = aggregate.size - fold_aggregate_name(aggregate).size - 1;
    for (size_t at = 0; at < receptor->event_count; at++) {
        struct slice event = receptor->events[at];
        if (event.size == context_size + 1 + type.size && event.data[context_size] == '.' &&
            memcmp(event.data, aggregate.data, context_size) == 0 &&
            memcmp(event.data + context_size + 1, type.data, type.size) == 0)
            return &receptor_takes_it;
    }
    return &receptor_passes_it;
}

bool receptor_takes(struct receptor *receptor, const struct record *record, const struct record_event *event)
{
    uint64_t numbers = (uint64_t)record->aggregate << 32 | event->type;
    void *found = map_find(&receptor->routes, slice_make(&numbers, sizeof numbers));
    if (!found) {
        found = receptor_route(receptor, names_get(record->names, record->aggregate),
                               names_get(record->names, event->type));
        struct slice kept = arena_copy(&receptor->arena, slice_make(&numbers, sizeof numbers));
        map_put(&receptor->routes, kept, found);
    }
    return found == &receptor_takes_it;
}

/* --- items --- */

static struct receptor_item *receptor_item_new(const struct record_event *event, size_t sends, bool is_replay)
{
    struct receptor_item *item = mem_zero(sizeof *item + sends * sizeof item->sends[0]);
    item->position = event->position;
    item->version = event->version;
    item->is_replay = is_replay;
    item->count = sends;
    return item;
}

static void receptor_item_add(struct receptor_key *key, struct receptor_item *item)
{
    struct receptor *receptor = key->receptor;
    item->key = key;
    if (key->last)
        key->last->next_of_key = item;
    else
        key->first = item;
    key->last = item;
    if (item->is_replay) return;
    item->older = receptor->newest;
    if (receptor->newest)
        receptor->newest->newer = item;
    else
        receptor->oldest = item;
    receptor->newest = item;
    receptor->window++;
}

void receptor_item_free(struct receptor_item *item)
{
    struct receptor *receptor = item->key->receptor;
    if (!item->is_replay) {
        if (item->older)
            item->older->newer = item->newer;
        else
            receptor->oldest = item->newer;
        if (item->newer)
            item->newer->older = item->older;
        else
            receptor->newest = item->older;
        receptor->window--;
    }
    for (size_t at = 0; at < item->count; at++)
        if (item->sends[at]) sending_free(item->sends[at]);
    mem_free(item->fault);
    mem_free(item);
}

static void receptor_item_fail(struct receptor_item *item, const struct fault *fault)
{
    if (item->fault) return;
    item->fault = MEM_NEW(struct fault);
    *item->fault = *fault;
}

/* --- the handler --- */

static int receptor_call(struct receptor *receptor, const struct envelope *envelope, struct slice data,
                         struct domain_output *output, struct fault *fault)
{
    struct receptors *receptors = receptor->receptors;
    struct domain *domain = receptors->domain;
    if (domain_receive(domain, receptor->index, envelope, data, &receptors->scratch, output, fault) == 0)
        return 0;
    if (!domain_must_repeat(domain)) return -1;
    domain_set_exact(domain, true);
    int done = domain_receive(domain, receptor->index, envelope, data, &receptors->scratch, output, fault);
    domain_set_exact(domain, false);
    return done;
}

static struct envelope receptor_envelope(const struct record *record, const struct record_event *event,
                                         const struct stream_id *stream)
{
    struct slice name = fold_aggregate_name(stream->aggregate);
    return (struct envelope){
        .tenant = stream->tenant,
        .context = slice_make(stream->aggregate.data, stream->aggregate.size - name.size - 1),
        .aggregate = name,
        .id = stream->id,
        .type = names_get(record->names, event->type),
        .type_version = event->type_version,
        .version = event->version,
        .position = event->position,
        .deploy = record->deploy,
        .at_ms = event->at_ms,
        .recorded_ms = record->recorded_ms,
        .record = record,
    };
}

/* What is for now goes one by one, what is for later as one commit behind it. */
static struct receptor_item *receptor_item_of(struct receptor *receptor, const struct record *record,
                                              const struct record_event *event,
                                              const struct domain_output *output, bool is_replay)
{
    struct receptors *receptors = receptor->receptors;
    struct record_ids ids;
    record_read_ids(record, &receptors->scratch, &ids);
    struct sending_cause cause = {.log_id = receptors->hub->log_id,
                                  .sender = receptor->name,
                                  .position = event->position,
                                  .epoch = record->epoch,
                                  .tenant = names_get(record->names, record->tenant),
                                  .correlation = ids.correlation_id,
                                  .depth = record->depth + 1};
    struct receptor_item *item = receptor_item_new(event, output->send_count, is_replay);
    struct domain_send *later = arena_take(&receptors->scratch, (output->send_count + 1) * sizeof *later);
    size_t later_count = 0;
    item->count = 0;
    for (size_t at = 0; at < output->send_count; at++) {
        const struct domain_send *send = &output->sends[at];
        if (send->is_cancel || send->due_ms != INT64_MIN || send->key.size)
            later[later_count++] = *send;
        else
            item->sends[item->count++] = sending_new(&receptors->sender, &cause, send, (uint32_t)at);
    }
    if (later_count)
        item->sends[item->count++] =
            sending_new_later(&receptors->sender, &cause, later, later_count, event->at_ms);
    for (size_t at = 0; at < item->count; at++) {
        item->sends[at]->owner = item;
        item->sends[at]->place = at;
    }
    return item;
}

bool receptor_handle(struct receptor *receptor, const struct record *record, const struct record_event *event,
                     bool is_replay)
{
    struct domain_output output = {0};
    struct fault fault;
    struct stream_id stream = receptor_stream(record);
    struct envelope envelope = receptor_envelope(record, event, &stream);
    struct receptor_item *item = NULL;
    if (receptor_call(receptor, &envelope, event->data, &output, &fault) < 0) {
        item = receptor_item_new(event, 0, is_replay);
        receptor_item_fail(item, &fault);
    } else if (output.send_count) {
        item = receptor_item_of(receptor, record, event, &output, is_replay);
    }
    arena_reset(&receptor->receptors->scratch);
    if (!item) return false;
    struct receptor_key *key = receptor_key_get(receptor, &stream);
    receptor_item_add(key, item);
    if (key->first == item) receptor_go(key);
    return true;
}

/* --- reading --- */

/* True: no more of the log for now. */
static bool receptor_is_full(const struct receptor *receptor, size_t window)
{
    return receptor->window >= window || atomic_load(&receptor->stuck_count) >= RECEPTORS_STUCK_MAX;
}

static void receptor_record(struct receptor *receptor, const struct record *record)
{
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        if (event.position <= receptor->position || !receptor_takes(receptor, record, &event)) continue;
        struct stream_id stream = receptor_stream(record);
        struct receptor_key *key = receptor->keys.size ? receptor_key_find(receptor, &stream) : NULL;
        if (!key || !key->stuck) receptor_handle(receptor, record, &event, false);
    }
    receptor->position = record->first_position + record->event_count - 1;
}

bool receptor_read(struct receptor *receptor)
{
    struct engine *engine = receptor->receptors->hub->engine;
    uint64_t head = engine_head(engine).position;
    if (receptor->position >= head || receptor_is_full(receptor, RECEPTOR_WINDOW_LOW)) return false;
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault;
    int more = engine_read(engine, receptor->position + 1, &cursor, &fault);
    if (more == 0) {
        for (size_t count = 0; count < RECEPTOR_READ_MAX && !receptor_is_full(receptor, RECEPTOR_WINDOW);
             count++) {
            if ((more = engine_cursor_next(cursor, &record, &fault)) != 1) break;
            receptor_record(receptor, &record);
        }
        engine_cursor_close(cursor);
    }
    if (more < 0)
        say_stop("the log cannot be read behind position %llu: %s", (unsigned long long)receptor->position,
                 fault.text);
    receptor_meta_changed(receptor->receptors);
    return receptor->position < head && !receptor_is_full(receptor, RECEPTOR_WINDOW);
}

/* --- sending --- */

/* Two messages of one event to the same place go one after another. */
static bool receptor_must_follow(const struct receptor_item *item)
{
    for (size_t at = 0; at < item->next; at++)
        if (item->sends[at] && item->sends[at]->target == item->sends[item->next]->target) return true;
    return false;
}

static void receptor_item_go(struct receptor_item *item)
{
    if (item->fault || item->key->receptor->receptors->sender.closing) return;
    while (item->next < item->count && !receptor_must_follow(item)) {
        item->in_flight++;
        sending_go(item->sends[item->next++]);
        fault_point(POINT_RECEPTOR_SENT);
    }
}

void receptor_go(struct receptor_key *key)
{
    struct receptor_item *item;
    while ((item = key->first)) {
        receptor_item_go(item);
        if (item->in_flight) return;
        if (item->fault) {
            receptor_key_fail(key, item->position, item->version, item->fault);
            return;
        }
        if (item->next < item->count) return; /* closing */
        key->first = item->next_of_key;
        if (!key->first) key->last = NULL;
        if (key->stuck) receptor_key_pass(key, item->version);
        fault_point(POINT_RECEPTOR_DONE);
        receptor_item_free(item);
    }
    receptor_meta_changed(key->receptor->receptors);
    receptor_key_let_go(key);
}

void receptor_told(struct sending *sending, struct fault *fault)
{
    struct receptor_item *item = sending->owner;
    item->in_flight--;
    /* At the end what did not come to an outcome stays where it is: it is handled again by the next start. */
    if (fault && sending->sender->closing) return;
    item->sends[sending->place] = NULL;
    if (fault) receptor_item_fail(item, fault);
    sending_free(sending);
    receptor_go(item->key);
}

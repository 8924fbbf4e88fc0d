#include "run/courier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/faultpoint.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "codec/json.h"
#include "run/inside.h"
#include "run/parcels.h"
#include "run/sending.h"
#include "run/sent.h"
#include "store/timers.h"

enum {
    COURIER_WINDOW = 4096,     /* messages under way */
    COURIER_WINDOW_LOW = 3072, /* a full window is filled again from here on */
    COURIER_CHANGES_MAX = 8192,
    COURIER_READ_MAX = 4096,    /* records in one go */
    COURIER_LOOK_MS = 1000,     /* the hub's clock may be set, and others may append: so often it looks */
    COURIER_RETRY_MS = 200,     /* a disk that refused timers */
    COURIER_BEHIND_MAX = 50000, /* positions that timers/ may lag behind when nothing else is to be written */
    COURIER_FIRST_MS = 1000,
    COURIER_LAST_MS = 60000,
    COURIER_CHAIN_MS = 1000,    /* who waits so long begins a new chain of causes */
    COURIER_LANE_MAX = 512,     /* messages under way to one service */
    COURIER_SERVICES_MAX = 2048 /* and to all of them: the rest of the window is the aggregates' */
};

struct courier {
    struct hub *hub;
    pthread_t thread;
    atomic_bool started, stopping, retry_wanted;
    char *path;
    struct timers *timers;
    struct sender sender;
    unsigned retries_max;
    uint32_t sent_type; /* the number of $Sent, 0: nobody ever sent */
    uint64_t position;  /* read up to here */
    struct parcels parcels;
    struct timer_key fired; /* timers/ up to here were taken */
    struct timer_change *changes;
    size_t change_count, change_max;
    struct arena texts;   /* errors of the changes */
    struct arena scratch; /* the event at hand */
    int64_t retry_ns;     /* 0: the disk takes what is written */
    struct outage_part outage;
    pthread_mutex_t lock; /* timers: changed by the thread, read by courier_status */
    atomic_ullong settled, delivered, failed, put_off;
    atomic_size_t in_flight; /* the sender's, for who asks */
    bool moved;
};

/* --- what is to be written --- */

static void courier_change(struct courier *courier, enum timer_change_kind kind, const struct timer *timer,
                           const struct timer_key *from)
{
    if (courier->change_count == courier->change_max) {
        courier->change_max = courier->change_max ? courier->change_max * 2 : 256;
        courier->changes = mem_resize(courier->changes, courier->change_max * sizeof *courier->changes);
    }
    struct timer_change *change = &courier->changes[courier->change_count++];
    change->kind = kind;
    change->timer = *timer;
    if (from) change->from = *from;
    if (kind != TIMER_SET && kind != TIMER_MOVE) return;
    /* It may have to be taken before those that were. */
    if (timer->key.due_ms >= LANE_FIRST_MS && timer->key.due_ms != INT64_MAX)
        lane_put(parcels_lane_of(&courier->parcels, timer->key.due_ms), &timer->key);
    else if (timer->key.due_ms <= courier->fired.due_ms)
        courier->fired = (struct timer_key){.due_ms = INT64_MIN};
}

/* The environment is of no use any more: everything is read from the log again. */
static void courier_begin_anew(struct courier *courier)
{
    struct fault fault;
    pthread_mutex_lock(&courier->lock);
    timers_drop(courier->timers);
    if (timers_open(courier->path, courier->hub->log_id, &courier->timers, &fault) < 0)
        say_stop("%s: %s", courier->path, fault.text);
    pthread_mutex_unlock(&courier->lock);
    courier->position = 0;
    courier->change_count = 0;
    courier->fired = (struct timer_key){.due_ms = INT64_MIN};
    parcels_let_go(&courier->parcels);
}

static void courier_failed(struct courier *courier, const struct fault *fault)
{
    if (fault->code == FAULT_CORRUPT) {
        say_warn("%s: made anew from the log: %s", courier->path, fault->text);
        courier_begin_anew(courier);
        return;
    }
    outage_met(&courier->hub->outage, &courier->outage, "timers cannot be written", fault);
    courier->retry_ns = clock_monotonic_ns() + COURIER_RETRY_MS * 1000000LL;
}

static bool courier_rests(const struct courier *courier)
{
    return courier->retry_ns && clock_monotonic_ns() < courier->retry_ns;
}

/* Which services had no room when the hub ended. */
static void courier_find_lanes(struct courier *courier)
{
    struct timer_key after = {LANE_FIRST_MS - 1, UINT64_MAX, UINT32_MAX};
    struct timer first;
    struct fault fault;
    int found;
    while ((found = timers_due(courier->timers, &after, INT64_MAX - 1, &first, 1, &fault)) == 1) {
        parcels_lane_of(&courier->parcels, first.key.due_ms)->waits = true;
        after.due_ms = first.key.due_ms;
    }
    if (found < 0) courier_failed(courier, &fault);
}

/* Whether timers/ is open. It is made when the first message is sent, so who never sends has none. */
static bool courier_is_ready(struct courier *courier)
{
    struct fault fault;
    if (courier->timers) return true;
    if (courier->sent_type == 0 || courier_rests(courier)) return false;
    pthread_mutex_lock(&courier->lock);
    int done = timers_open(courier->path, courier->hub->log_id, &courier->timers, &fault);
    pthread_mutex_unlock(&courier->lock);
    if (done < 0) {
        courier_failed(courier, &fault);
        return false;
    }
    uint64_t position = timers_position(courier->timers);
    if (position > engine_head(courier->hub->engine).position)
        courier_begin_anew(courier); /* the log was cut back */
    else if (position > courier->position)
        courier->position = position;
    courier_find_lanes(courier);
    /* Other scripts are another chance for what is parked. */
    if (timers_mark(courier->timers) != hub_deploy_number(courier->hub))
        atomic_store(&courier->retry_wanted, true);
    return true;
}

static void courier_write(struct courier *courier, bool all)
{
    struct fault fault;
    if (!courier->timers || courier_rests(courier)) return;
    uint64_t position = parcels_done_to(&courier->parcels, courier->position),
             written = timers_position(courier->timers);
    if (courier->change_count == 0 && (all ? position == written : position < written + COURIER_BEHIND_MAX))
        return;
    if (timers_write(courier->timers, courier->changes, courier->change_count, position,
                     hub_deploy_number(courier->hub), &fault) < 0) {
        courier_failed(courier, &fault);
        return;
    }
    courier->retry_ns = 0;
    outage_over(&courier->hub->outage, &courier->outage, "timers");
    courier->change_count = 0;
    courier->moved = true;
    arena_reset(&courier->texts);
}

/* --- sending --- */

/* NULL: to an aggregate. */
static struct lane *courier_lane(struct courier *courier, const struct domain_send *send)
{
    return send->to_service ? parcels_lane(&courier->parcels, send->context, send->target) : NULL;
}

static bool courier_has_room(const struct courier *courier, const struct lane *lane)
{
    return !lane ||
           (lane->under_way < COURIER_LANE_MAX && courier->parcels.to_services < COURIER_SERVICES_MAX);
}

static void courier_send(struct courier *courier, const struct record *record, const struct domain_send *send,
                         const struct timer *timer)
{
    struct record_ids ids;
    record_read_ids(record, &courier->scratch, &ids);
    bool waited = send->due_ms != INT64_MIN && send->due_ms - record->recorded_ms >= COURIER_CHAIN_MS;
    struct sending_cause cause = {.log_id = courier->hub->log_id,
                                  .sender = names_get(record->names, record->aggregate),
                                  .position = timer->key.position,
                                  .epoch = record->epoch,
                                  .tenant = names_get(record->names, record->tenant),
                                  .correlation = ids.correlation_id,
                                  .depth = waited ? 0 : record->depth + 1};
    struct sending *sending = sending_new(&courier->sender, &cause, send, timer->key.ordinal);
    sending->owner = parcels_enter(&courier->parcels, timer, courier_lane(courier, send), sending);
    sending_go(sending);
    fault_point(POINT_COURIER_SENT);
}

static int64_t courier_delay_ms(unsigned attempts)
{
    int64_t delay_ms = COURIER_FIRST_MS;
    while (--attempts > 0 && delay_ms < COURIER_LAST_MS) delay_ms *= 2;
    return delay_ms < COURIER_LAST_MS ? delay_ms : COURIER_LAST_MS;
}

/* It waits in timers/ for timer.key.due_ms; one from the log has no entry there yet. */
static void courier_put_off(struct courier *courier, const struct timer *timer, const struct timer_key *from)
{
    courier_change(courier, from->due_ms == INT64_MIN ? TIMER_SET : TIMER_MOVE, timer, from);
}

/* Nobody takes it: it waits for its next time, or for ever. */
static void courier_again(struct courier *courier, const struct command *command, struct timer timer)
{
    struct timer_key from = timer.key;
    atomic_fetch_add(&courier->failed, 1);
    timer.attempts++;
    timer.key.due_ms = timer.attempts > courier->retries_max
                           ? INT64_MAX
                           : clock_now_ms(courier->hub->clock) + courier_delay_ms(timer.attempts);
    timer.error =
        arena_format(&courier->texts, "%.*s to %.*s/%.*s%s%.*s: %s", SLICE_ARGS(command->items->type),
                     SLICE_ARGS(command->context), SLICE_ARGS(command->aggregate),
                     command->id.size ? "/" : "", SLICE_ARGS(command->id), command->fault.text);
    courier_put_off(courier, &timer, &from);
    if (timer.key.due_ms == INT64_MAX)
        say_warn("%s: parked, sent at position %llu: %.*s", COURIER_NAME,
                 (unsigned long long)timer.key.position, SLICE_ARGS(timer.error));
}

/* A service said when it is to be asked again: that is no attempt that failed. */
static void courier_later(struct courier *courier, const struct command *command, struct timer timer)
{
    struct timer_key from = timer.key;
    atomic_fetch_add(&courier->put_off, 1);
    timer.key.due_ms = clock_now_ms(courier->hub->clock) + command->retry_ms;
    courier_put_off(courier, &timer, &from);
}

static void courier_told(struct sending *sending, struct fault *fault)
{
    struct parcel *parcel = sending->owner;
    const struct command *command = sending->command;
    struct courier *courier = (struct courier *)((char *)sending->sender - offsetof(struct courier, sender));
    if (!fault) atomic_fetch_add(&courier->delivered, 1);
    if (parcel->stray) {
        parcels_leave(&courier->parcels, parcel);
    } else if (!fault || !sending->sender->closing) { /* at the end the rest stays where it is */
        fault_point(POINT_COURIER_DONE);
        if (!fault && parcel->timer.key.due_ms != INT64_MIN)
            courier_change(courier, TIMER_REMOVE, &parcel->timer, NULL);
        else if (fault && fault->code == FAULT_UNAVAILABLE && command->retry_ms > 0)
            courier_later(courier, command, parcel->timer);
        else if (fault)
            courier_again(courier, command, parcel->timer);
        parcels_leave(&courier->parcels, parcel);
    }
    sending_free(sending);
}

/* --- from the log --- */

/* What the key of a send means: one place and one key. */
static void courier_name(const struct record *record, const struct domain_send *send, struct timer *timer)
{
    struct buf all = {0};
    const struct slice parts[] = {names_get(record->names, record->tenant), send->context, send->target,
                                  send->id, send->key};
    timer->has_name = send->key.size > 0;
    if (!timer->has_name) return;
    buf_put_byte(&all, send->to_service);
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) {
        buf_put_varint(&all, parts[at].size);
        buf_put_slice(&all, parts[at]);
    }
    struct hash hash = hash_of(buf_slice(&all));
    memcpy(timer->name, hash.bytes, TIMER_NAME_SIZE);
    buf_release(&all);
}

static void courier_sent_event(struct courier *courier, const struct record *record,
                               const struct record_event *event)
{
    struct domain_send *sends;
    size_t count;
    struct fault fault;
    if (sent_read(event->data, &courier->scratch, &sends, &count, &fault) < 0) {
        say_warn("position %llu: %s", (unsigned long long)event->position, fault.text);
        return;
    }
    for (size_t at = 0; at < count; at++) {
        struct timer timer = {.key = {.position = event->position, .ordinal = (uint32_t)at}};
        courier_name(record, &sends[at], &timer);
        bool at_once = sends[at].due_ms <= record->recorded_ms;
        struct parcel *before = parcels_before(&courier->parcels, &timer);
        if (before) before->sending->unwanted = true;
        if (timer.has_name && (sends[at].is_cancel || at_once))
            courier_change(courier, TIMER_CANCEL, &timer, NULL);
        if (sends[at].is_cancel) continue;
        fault_point(POINT_COURIER_DUE);
        struct lane *lane = courier_lane(courier, &sends[at]);
        bool waits = at_once && lane && (lane->waits || !courier_has_room(courier, lane));
        timer.key.due_ms = waits ? lane->due_ms : at_once ? INT64_MIN : sends[at].due_ms;
        if (at_once && !waits)
            courier_send(courier, record, &sends[at], &timer);
        else
            courier_change(courier, TIMER_SET, &timer, NULL);
    }
}

static void courier_record(struct courier *courier, const struct record *record)
{
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        if (event.type != courier->sent_type || event.position <= courier->position) continue;
        courier_sent_event(courier, record, &event);
        arena_reset(&courier->scratch);
    }
    courier->position = record->first_position + record->event_count - 1;
}

/* True: there is more to be read at once. */
static bool courier_read(struct courier *courier, uint64_t head)
{
    struct engine *engine = courier->hub->engine;
    if (courier->sent_type == 0) courier->sent_type = names_find(engine_names(engine), slice_of(SENT_TYPE));
    if (courier->sent_type == 0) courier->position = head; /* nobody has ever sent anything up to there */
    if (!courier_is_ready(courier) || courier->position >= head ||
        courier->sender.in_flight > COURIER_WINDOW_LOW)
        return false;
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault;
    int more = engine_read(engine, courier->position + 1, &cursor, &fault);
    if (more == 0) {
        for (size_t count = 0; count < COURIER_READ_MAX && courier->position < head; count++) {
            if (courier->sender.in_flight >= COURIER_WINDOW || courier->change_count >= COURIER_CHANGES_MAX)
                break;
            if ((more = engine_cursor_next(cursor, &record, &fault)) != 1) break;
            courier_record(courier, &record);
        }
        engine_cursor_close(cursor);
    }
    if (more < 0)
        say_stop("the log cannot be read behind position %llu: %s", (unsigned long long)courier->position,
                 fault.text);
    return courier->position < head && courier->sender.in_flight < COURIER_WINDOW;
}

/* --- what is due --- */

struct courier_page { /* the event that was read last: timers of one event are due together more often than
                         not */
    struct engine_cursor *cursor;
    struct record record;
    uint64_t position;
    struct domain_send *sends;
    size_t count;
};

static void courier_page_close(struct courier *courier, struct courier_page *page)
{
    if (page->cursor) engine_cursor_close(page->cursor);
    *page = (struct courier_page){0};
    arena_reset(&courier->scratch);
}

/* The send that an entry is about; NULL: its tenant was erased. */
static const struct domain_send *courier_page_find(struct courier *courier, struct courier_page *page,
                                                   const struct timer_key *key)
{
    struct fault fault;
    if (page->position != key->position) {
        courier_page_close(courier, page);
        if (engine_read(courier->hub->engine, key->position, &page->cursor, &fault) < 0 ||
            engine_cursor_next(page->cursor, &page->record, &fault) < 0)
            say_stop("the log cannot be read at position %llu: %s", (unsigned long long)key->position,
                     fault.text);
        page->position = key->position;
        struct record_event event = {0};
        while (record_next_event(&page->record, &event))
            if (event.position == key->position && event.type == courier->sent_type &&
                sent_read(event.data, &courier->scratch, &page->sends, &page->count, &fault) < 0)
                page->count = 0;
    }
    return key->ordinal < page->count ? &page->sends[key->ordinal] : NULL;
}

static void courier_fire_one(struct courier *courier, struct courier_page *page, const struct timer *due)
{
    if (parcels_has(&courier->parcels, &due->key)) return;
    const struct domain_send *send = courier_page_find(courier, page, &due->key);
    struct lane *lane = send ? courier_lane(courier, send) : NULL;
    if (!send) {
        courier_change(courier, TIMER_REMOVE, due, NULL);
    } else if (courier_has_room(courier, lane)) {
        courier_send(courier, &page->record, send, due);
    } else {
        struct timer waits = *due;
        waits.key.due_ms = lane->due_ms;
        courier_put_off(courier, &waits, &due->key);
    }
}

/* Takes entries due up to a moment, *fired on. Returns how many the last page had: 0 when there are no more.
 */
static int courier_fire_due(struct courier *courier, struct courier_page *page, struct timer_key *fired,
                            int64_t due_ms, const struct lane *lane, struct fault *fault)
{
    enum { PAGE = 256 };
    struct timer due[PAGE];
    int count = 1;
    while (count > 0 && courier->sender.in_flight < COURIER_WINDOW_LOW && courier_has_room(courier, lane)) {
        count = timers_due(courier->timers, fired, due_ms, due, PAGE, fault);
        for (int at = 0; at < count && courier_has_room(courier, lane); at++) {
            *fired = due[at].key;
            courier_fire_one(courier, page, &due[at]);
        }
    }
    return count;
}

/* True: more is due than there is room for. */
static bool courier_fire(struct courier *courier, int64_t now_ms)
{
    struct courier_page page = {0};
    struct fault fault;
    int count = 0;
    bool more = false;
    /* Lanes first: what is moved into one from here on is not to be found before it is written. */
    struct lane *lane = courier->change_count == 0 ? courier->parcels.lanes : NULL;
    for (; lane && count >= 0; lane = lane->next) {
        if (!lane->waits) continue;
        count = courier_fire_due(courier, &page, &lane->fired, lane->due_ms, lane, &fault);
        lane->waits = count != 0;
        more = more || lane->waits;
    }
    if (count >= 0) count = courier_fire_due(courier, &page, &courier->fired, now_ms, NULL, &fault);
    courier_page_close(courier, &page);
    if (count < 0) courier_failed(courier, &fault);
    return more || count != 0;
}

/* Until when nothing is due, at most COURIER_LOOK_MS; -1: nothing waits. */
static int courier_timeout(struct courier *courier, int64_t now_ms)
{
    struct timer_key now = {now_ms, UINT64_MAX, UINT32_MAX};
    struct timer next;
    struct fault fault;
    if (courier->sent_type == 0) return -1;
    if (!courier->timers) return COURIER_RETRY_MS;
    if (timers_due(courier->timers, &now, LANE_FIRST_MS - 1, &next, 1, &fault) != 1 ||
        next.key.due_ms - now_ms > COURIER_LOOK_MS)
        return COURIER_LOOK_MS;
    return (int)(next.key.due_ms - now_ms);
}

static bool courier_forgive_one(void *user, const struct timer *timer)
{
    struct courier *courier = user;
    struct timer again = *timer;
    again.key.due_ms = clock_now_ms(courier->hub->clock);
    again.attempts = 0;
    again.error = SLICE_NONE;
    courier_change(courier, TIMER_MOVE, &again, &timer->key);
    return true;
}

static void courier_forgive(struct courier *courier)
{
    struct fault fault;
    if (timers_each_parked(courier->timers, courier_forgive_one, courier, &fault) < 0)
        courier_failed(courier, &fault);
}

/* --- the thread --- */

static void courier_show(struct courier *courier, bool idle)
{
    uint64_t settled = idle ? courier->position : 0;
    if (atomic_exchange(&courier->settled, settled) != settled) courier->moved = true;
    if (!idle || !courier->moved) return;
    courier->moved = false;
    watch_wake(&courier->hub->watch);
}

static void *courier_run(void *user)
{
    struct courier *courier = user;
    while (!atomic_load(&courier->stopping)) {
        int64_t now_ms = clock_now_ms(courier->hub->clock);
        uint64_t head = engine_head(courier->hub->engine).position;
        bool more = courier_read(courier, head);
        if (courier->timers && atomic_exchange(&courier->retry_wanted, false)) courier_forgive(courier);
        courier_write(courier, false);
        if (courier->change_count >= COURIER_CHANGES_MAX) more = false; /* no room on disk to go on */
        bool fires = courier->timers && courier->position >= head && !courier_rests(courier) &&
                     courier_fire(courier, now_ms);
        sender_rouse(&courier->sender);
        atomic_store_explicit(&courier->in_flight, courier->sender.in_flight, memory_order_relaxed);
        bool idle = !more && !fires && courier->sender.in_flight == 0 && courier->change_count == 0;
        courier_show(courier, idle);
        int timeout_ms = more ? 0 : courier_timeout(courier, now_ms);
        if (courier->retry_ns && timeout_ms != 0) timeout_ms = COURIER_RETRY_MS;
        sender_run(&courier->sender, timeout_ms, courier_told);
    }
    courier->sender.closing = true;
    while (courier->sender.in_flight) sender_run(&courier->sender, -1, courier_told);
    courier->retry_ns = 0;
    courier_write(courier, true);
    return NULL;
}

struct courier *courier_new(struct hub *hub)
{
    struct courier *made = MEM_NEW(struct courier);
    made->hub = hub;
    made->retries_max = (unsigned)hub_limit(hub, "retries", LIMIT_RETRIES);
    made->fired.due_ms = INT64_MIN;
    pthread_mutex_init(&made->lock, NULL);
    sender_init(&made->sender, hub, COURIER_WINDOW);
    made->sender.hands_back = true;
    struct buf path = {0};
    buf_format(&path, "%s/timers", hub->data);
    made->path = mem_text(path.data, path.size);
    buf_release(&path);
    return made;
}

void courier_start(struct courier *courier)
{
    atomic_store(&courier->started, true);
    courier->thread = thread_start(courier_run, courier, "courier");
}

void courier_stop(struct courier *courier)
{
    if (!atomic_exchange(&courier->started, false)) return;
    atomic_store(&courier->stopping, true);
    inbox_wake(&courier->sender.answered);
    pthread_join(courier->thread, NULL);
}

void courier_free(struct courier *courier)
{
    if (!courier) return;
    parcels_release(&courier->parcels);
    timers_close(courier->timers);
    sender_release(&courier->sender);
    pthread_mutex_destroy(&courier->lock);
    arena_release(&courier->texts);
    arena_release(&courier->scratch);
    mem_free(courier->changes);
    mem_free(courier->path);
    mem_free(courier);
}

void courier_look(struct courier *courier)
{
    if (atomic_load(&courier->started)) inbox_wake(&courier->sender.answered);
}

void courier_retry(struct courier *courier)
{
    atomic_store(&courier->retry_wanted, true);
    courier_look(courier);
}

bool courier_settled(struct courier *courier, uint64_t position)
{
    if (atomic_load(&courier->settled) >= position) return true;
    courier_look(courier); /* it is not woken by what has nothing for it */
    return false;
}

/* --- status --- */

static bool courier_status_parked(void *user, const struct timer *timer)
{
    struct buf *out = user;
    buf_put_byte(out, '{');
    json_put_text_member(out, "kind", slice_of("parked"));
    json_put_text_member(out, "name", slice_of(COURIER_NAME));
    json_put_int_member(out, "position", (int64_t)timer->key.position);
    json_put_int_member(out, "ordinal", timer->key.ordinal);
    json_put_text_member(out, "error", timer->error);
    json_put_int_member(out, "attempts", timer->attempts);
    buf_put_text(out, "}\n");
    return true;
}

static void courier_read_info(struct courier *courier, struct courier_info *info)
{
    uint64_t head = engine_head(courier->hub->engine).position, count = 0;
    *info = (struct courier_info){.position = atomic_load(&courier->settled),
                                  .in_flight = atomic_load(&courier->in_flight),
                                  .delivered = atomic_load(&courier->delivered),
                                  .failed = atomic_load(&courier->failed),
                                  .put_off = atomic_load(&courier->put_off)};
    /* Where nobody ever sent anything it does not even look. */
    if (names_find(engine_names(courier->hub->engine), slice_of(SENT_TYPE)) == 0) info->position = head;
    if (courier->timers) count = timers_count(courier->timers, &info->parked);
    info->waiting = count - info->parked;
    info->lag = info->position < head ? head - info->position : 0;
}

void courier_info(struct courier *courier, struct courier_info *info)
{
    pthread_mutex_lock(&courier->lock);
    courier_read_info(courier, info);
    pthread_mutex_unlock(&courier->lock);
}

void courier_status(struct courier *courier, struct buf *ndjson)
{
    struct courier_info info;
    struct fault ignored;
    pthread_mutex_lock(&courier->lock);
    courier_read_info(courier, &info);
    buf_put_byte(ndjson, '{');
    json_put_text_member(ndjson, "kind", slice_of("courier"));
    json_put_text_member(ndjson, "name", slice_of(COURIER_NAME));
    json_put_int_member(ndjson, "position", (int64_t)info.position);
    json_put_int_member(ndjson, "lag", (int64_t)info.lag);
    json_put_int_member(ndjson, "waiting", (int64_t)info.waiting);
    json_put_int_member(ndjson, "parked", (int64_t)info.parked);
    buf_put_text(ndjson, "}\n");
    if (courier->timers) timers_each_parked(courier->timers, courier_status_parked, ndjson, &ignored);
    pthread_mutex_unlock(&courier->lock);
}

/* sending_support.h: what the tests of receptors and of the courier share: a context ledger whose entries
 * note what happens in bank, a clock moved by hand, hubs over a log that outlives them, waiting without
 * looking at a clock. */
#ifndef LORE_TESTS_SENDING_SUPPORT_H
#define LORE_TESTS_SENDING_SUPPORT_H

#include "base/clock.h"
#include "run_support.h"

static const char contracts[] = "contracts [[\n"
                                "  Note?   (amount: integer)\n"
                                "  Noted!  (amount: integer)\n"
                                "  Break?\n"
                                "  Broken!\n"
                                "  Mend?\n"
                                "  Mended!\n"
                                "  Mail?   (amount: integer)\n"
                                "  Mailed! (amount: integer)\n"
                                "]]\n";
static const char entry[] = "local entry = aggregate 'entry' { initial = { sum = 0 } }\n"
                            "function entry.apply.Noted(state, e) state.sum = state.sum + e.amount end\n"
                            "function entry.apply.Broken(state) state.broken = true end\n"
                            "function entry.apply.Mended(state) state.broken = nil end\n"
                            "function entry.execute.Note(state, c)\n"
                            "  if state.broken then error('the book is broken') end\n"
                            "  if c.amount < 0 then reject('negative', 'no') end\n"
                            "  return Noted { amount = c.amount }\n"
                            "end\n"
                            "function entry.execute.Break() return Broken {} end\n"
                            "function entry.execute.Mend() return Mended {} end\n";
static const char notes[] = "local notes = receptor 'notes'\n"
                            "notes.when['bank.Added'] = function(e, m)\n"
                            "  send.entry(m.id, Note { amount = e.amount })\n"
                            "end\n";

/* --- a clock that stands still until it is moved --- */

struct hand_clock {
    struct clock clock;
    atomic_llong now_ms;
};

static inline int64_t hand_now(struct clock *clock)
{
    return atomic_load(&((struct hand_clock *)clock)->now_ms);
}

static struct hand_clock hand = {.clock = {hand_now}};

static inline void move_clock(struct hub *hub, int64_t ms)
{
    atomic_fetch_add(&hand.now_ms, ms);
    hub_look(hub);
}

/* --- hubs over a log that outlives them --- */

static struct engine *kept;

static bool is_open; /* a test that failed leaves its hub behind, and that hub needs its log */

static inline struct hub *open_kept(void)
{
    struct held_engine *held = hold_engine_with((struct engine_options){.clock = &hand.clock}, kept);
    kept = held->inner;
    held->keep = true;
    is_open = true;
    return open_hub_with((struct hub_options){
        .engine = &held->engine, .shards = 2, .projectors = 1, .schedule = true, .clock = &hand.clock});
}

static inline void leave(struct hub *hub)
{
    hub_close(hub);
    is_open = false;
}

static inline int begin(void **state)
{
    setup(state);
    write_script("ledger/contracts.lua", contracts);
    write_script("ledger/entry.lua", entry);
    write_script("ledger/notes.lua", notes);
    atomic_store(&hand.now_ms, 1770000000000);
    kept = NULL;
    return 0;
}

static inline int end(void **state)
{
    if (!is_open) engine_close(kept);
    is_open = false;
    return teardown(state);
}

static inline void set_checkpoints(struct slice value)
{
    assert_int_equal(engine_meta_put(kept, slice_of("receptors"), value, &test_fault), 0);
}

static inline struct buf checkpoints(void)
{
    struct buf value = {0};
    assert_int_equal(engine_meta_get(kept, slice_of("receptors"), &value, &test_fault), 1);
    return value;
}

/* --- waiting --- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned count;
};

static inline void woken(void *user)
{
    struct waiting *waiting = user;
    pthread_mutex_lock(&waiting->mutex);
    waiting->count++;
    pthread_cond_broadcast(&waiting->changed);
    pthread_mutex_unlock(&waiting->mutex);
}

/* Until the condition holds of the hub, looked at whenever something moved, and now and then for what moves
 * without a word. */
static inline void wait_until(struct hub *hub, bool (*holds)(struct hub *hub, const char *text),
                              const char *text)
{
    struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    void *token = hub_watch(hub, woken, &waiting);
    unsigned seen = 0;
    for (int looks = 0; !holds(hub, text); looks++) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&waiting.mutex);
        while (waiting.count == seen &&
               pthread_cond_timedwait(&waiting.changed, &waiting.mutex, &until) != ETIMEDOUT)
            continue;
        seen = waiting.count;
        pthread_mutex_unlock(&waiting.mutex);
        if (looks < 12000) continue; /* only ends a test that hangs */
        struct buf status = {0};
        hub_status(hub, &status);
        fail_msg("it never came to '%s':\n%.*s", text, SLICE_ARGS(buf_slice(&status)));
    }
    hub_unwatch(hub, token);
}

static inline bool is_quiet(struct hub *hub, const char *text)
{
    return hub_is_quiet(hub);
}

static inline void quiet(struct hub *hub)
{
    wait_until(hub, is_quiet, "quiet");
}

static inline bool status_has(struct hub *hub, const char *text)
{
    struct buf status = {0};
    hub_status(hub, &status);
    buf_put_byte(&status, 0);
    for (char *at = status.data; *at; at++)
        if (*at == '"') *at = '\'';
    bool has = strstr(status.data, text) != NULL;
    buf_release(&status);
    return has;
}

/* Lines of /metrics. */
static inline void expect_metric(struct hub *hub, const char *line)
{
    struct buf text = {0};
    hub_metrics(hub, &text);
    buf_put_byte(&text, 0);
    for (char *at = text.data; *at; at++)
        if (*at == '"') *at = '\'';
    if (!strstr(text.data, line)) fail_msg("not in the metrics: %s\n%s", line, text.data);
    buf_release(&text);
}

/* "id:type:version " in the log. */
static inline bool log_has(struct hub *hub, const char *text)
{
    struct buf log = log_text(hub);
    bool has = strstr(log.data, text) != NULL;
    buf_release(&log);
    return has;
}

static inline void add(struct hub *hub, const char *id, int amount)
{
    char json[64];
    snprintf(json, sizeof json, "{'amount':%d}", amount);
    expect(hub, id, "Add", json, FAULT_NONE);
}

static inline struct command *entry_command(const char *id, const char *type)
{
    struct command *command = command_of(id, type, "{}", NULL);
    command->context = slice_of("ledger");
    command->aggregate = slice_of("entry");
    return command;
}

static inline void tell_entry(struct hub *hub, const char *id, const char *type)
{
    struct command *command = run(hub, entry_command(id, type));
    assert_int_equal(command->fault.code, FAULT_NONE);
    forget(command);
}

/* The amounts noted for an entry, in order. */
static inline void expect_noted(struct hub *hub, const char *id, const char *amounts)
{
    struct engine_cursor *cursor;
    struct record record;
    struct buf out = {0};
    struct stream_id stream = {slice_of("main"), slice_of("ledger/entry"), slice_of(id)};
    assert_int_equal(engine_read_stream(hub_engine(hub), &stream, 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            if (!slice_is(names_get(record.names, event.type), "Noted")) continue;
            assert_int_equal(json_from_mp(event.data, &out, &test_fault), 0);
        }
    }
    engine_cursor_close(cursor);
    struct buf numbers = {0};
    for (size_t at = 0; at < out.size; at++)
        if (strchr("-0123456789}", out.data[at]))
            buf_put_byte(&numbers, out.data[at] == '}' ? ' ' : (uint8_t)out.data[at]);
    buf_put_byte(&numbers, 0);
    assert_string_equal(numbers.data, amounts);
    buf_release(&numbers);
    buf_release(&out);
}

#endif

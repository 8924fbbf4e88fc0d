/* run_support.h: what the tests of run/ share: scripts in a temporary folder, hubs over them, commands as
 * JSON, an engine whose appends can be held back, fail, or find that somebody else was faster. */
#ifndef LORE_TESTS_RUN_SUPPORT_H
#define LORE_TESTS_RUN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/say.h"
#include "codec/json.h"
#include "run/hub.h"
#include "store/engine_inside.h"

/* --- folders --- */

static char test_folder[64];

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    return remove(path);
}

static inline void remove_folder(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path inside the test's folder. The same name gives the same text, which stays until the test ends. */
static inline const char *folder(const char *name)
{
    static char *paths[64];
    char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    for (size_t at = 0; at < sizeof paths / sizeof *paths; at++) {
        if (paths[at] && strncmp(paths[at], test_folder, strlen(test_folder)) != 0) {
            free(paths[at]); /* of a test before */
            paths[at] = NULL;
        }
        if (!paths[at]) return paths[at] = strdup(path);
        if (strcmp(paths[at], path) == 0) return paths[at];
    }
    fail_msg("a test has more than %zu paths", sizeof paths / sizeof *paths);
    return NULL;
}

static inline void write_script(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/scripts/%s", test_folder, name);
    for (char *at = path + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char test_contracts[] = "contracts [[\n"
                                     "  Open?   (owner: string)\n"
                                     "  Opened! (owner: string)\n"
                                     "  Add?    (amount: integer)\n"
                                     "  Added!  (amount: integer)\n"
                                     "  Split?  (amount: integer, parts: integer)\n"
                                     "  Close?\n"
                                     "  Closed! (total: integer)\n"
                                     "  Touch?\n"
                                     "  Deny?   (code: string)\n"
                                     "  Break?\n"
                                     "]]\n";
static const char test_account[] =
    "local account = aggregate 'account' { initial = { total = 0 } }\n"
    "function account.apply.Opened(state, e) state.owner = e.owner end\n"
    "function account.apply.Added(state, e) state.total = state.total + e.amount end\n"
    "function account.apply.Closed(state) state.closed = true end\n"
    "function account.execute.Open(state, c, m)\n"
    "  if state.owner then reject('exists', 'account %s exists', m.id) end\n"
    "  return Opened { owner = c.owner }\n"
    "end\n"
    "function account.execute.Add(state, c)\n"
    "  if state.closed then reject('closed', 'it is closed') end\n"
    "  if state.total + c.amount < 0 then reject('poor', 'only %d left', state.total) end\n"
    "  return Added { amount = c.amount }\n"
    "end\n"
    "function account.execute.Split(state, c)\n"
    "  for _ = 1, c.parts do emit(Added { amount = c.amount + state.total % 2 }) end\n"
    "end\n"
    "function account.execute.Close(state)\n"
    "  if state.closed then reject('closed', 'it is closed') end\n"
    "  return Closed { total = state.total }\n"
    "end\n"
    "function account.execute.Touch() end\n"
    "function account.execute.Deny(state, c) reject(c.code, 'denied') end\n"
    "function account.execute.Break(state) emit(Added { amount = 1 }) error('broken') end\n";
static const char test_totals[] =
    "local totals = projection 'totals' { initial = { total = 0, count = 0 }, index = { 'total' } }\n"
    "function totals.when.Added(view, e)\n"
    "  view.total, view.count = view.total + e.amount, view.count + 1\n"
    "end\n"
    "function totals.when.Closed() return false end\n";
static const char test_by_amount[] =
    "local by = projection 'by_amount' { key = false }\n"
    "function by.when.Added(docs, e)\n"
    "  docs:update(tostring(e.amount), { n = 0 }, function(d) d.n = d.n + 1 end)\n"
    "end\n";

static inline int setup(void **state)
{
    snprintf(test_folder, sizeof test_folder, "/tmp/lore-run-XXXXXX");
    assert_non_null(mkdtemp(test_folder));
    write_script("bank/contracts.lua", test_contracts);
    write_script("bank/account.lua", test_account);
    say_set_level(SAY_ERROR);
    return 0;
}

static inline int teardown(void **state)
{
    remove_folder(test_folder);
    return 0;
}

/* --- an engine that a test holds in its hand --- */

struct held_engine {
    struct engine engine;
    struct engine *inner;
    struct engine_ops ops;
    bool keep; /* closing it leaves the one below open: a restart without losing what is in memory */
    pthread_mutex_t flushing; /* so that a test may flush beside the indexer */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool holding; /* appends wait */
    bool waiting; /* one does */
    int pass;     /* so many go through although it holds */
    int fail;     /* so many appends fail from now on */
    void (*before)(struct engine *inner,
                   void *user); /* once, before the next append: as if somebody else were faster */
    bool before_always;
    bool holding_metas, waiting_meta; /* named values wait; one does */
    void *user;
    unsigned appends;
    size_t largest;
};

static struct held_engine *held_of(struct engine *engine)
{
    return (struct held_engine *)engine;
}

static int held_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault)
{
    struct held_engine *held = held_of(engine);
    pthread_mutex_lock(&held->mutex);
    held->waiting = true;
    pthread_cond_broadcast(&held->changed);
    while (held->holding && held->pass == 0) pthread_cond_wait(&held->changed, &held->mutex);
    if (held->holding) held->pass--;
    held->waiting = false;
    held->appends++;
    if (count > held->largest) held->largest = count;
    bool fails = held->fail > 0 && held->fail-- > 0;
    void (*before)(struct engine *, void *) = held->before;
    if (!held->before_always) held->before = NULL;
    pthread_mutex_unlock(&held->mutex);
    if (fails) return fault_set(fault, FAULT_DISK, "no space left (a test)");
    if (before) before(held->inner, held->user);
    int done = engine_append(held->inner, batch, count, fault);
    pthread_mutex_lock(&held->mutex);
    pthread_cond_broadcast(&held->changed);
    pthread_mutex_unlock(&held->mutex);
    return done;
}

static void held_close(struct engine *engine)
{
    if (!held_of(engine)->keep) engine_close(held_of(engine)->inner);
    pthread_mutex_destroy(&held_of(engine)->flushing);
    pthread_mutex_destroy(&held_of(engine)->mutex);
    pthread_cond_destroy(&held_of(engine)->changed);
    free(engine);
}
static struct engine_head held_head(struct engine *engine)
{
    return engine_head(held_of(engine)->inner);
}
static int held_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor,
                     struct fault *fault)
{
    return engine_read(held_of(engine)->inner, position, cursor, fault);
}
static int held_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                            struct engine_cursor **cursor, struct fault *fault)
{
    return engine_read_stream(held_of(engine)->inner, stream, version, cursor, fault);
}
static int held_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                              struct fault *fault)
{
    return engine_read_outcomes(held_of(engine)->inner, number, cursor, fault);
}
static int held_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                            uint64_t *position, struct fault *fault)
{
    return engine_stream_head(held_of(engine)->inner, stream, version, position, fault);
}
static int held_find_command(struct engine *engine, const struct stream_id *stream, struct slice id,
                             struct buf *bytes, struct record *record, struct fault *fault)
{
    return engine_find_command(held_of(engine)->inner, stream, id, bytes, record, fault);
}
static int held_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                            struct slice beginning, bool (*each)(void *, struct slice, uint64_t), void *user,
                            struct fault *fault)
{
    return engine_each_stream_beginning(held_of(engine)->inner, tenant, aggregate, beginning, each, user,
                                        fault);
}
static int held_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault)
{
    struct held_engine *held = held_of(engine);
    pthread_mutex_lock(&held->mutex);
    held->waiting_meta = true;
    pthread_cond_broadcast(&held->changed);
    while (held->holding_metas) pthread_cond_wait(&held->changed, &held->mutex);
    held->waiting_meta = false;
    pthread_mutex_unlock(&held->mutex);
    return engine_meta_put(held->inner, key, value, fault);
}
static int held_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault)
{
    return engine_meta_get(held_of(engine)->inner, key, value, fault);
}
static int held_flush_index(struct engine *engine, uint64_t *events, struct fault *fault)
{
    pthread_mutex_lock(&held_of(engine)->flushing);
    int done = engine_flush_index(held_of(engine)->inner, events, fault);
    pthread_mutex_unlock(&held_of(engine)->flushing);
    return done;
}
static uint64_t held_index_behind(struct engine *engine)
{
    return engine_index_behind(held_of(engine)->inner);
}

static const struct engine_ops held_ops = {.close = held_close,
                                           .head = held_head,
                                           .append = held_append,
                                           .read = held_read,
                                           .read_stream = held_read_stream,
                                           .read_outcomes = held_read_outcomes,
                                           .stream_head = held_stream_head,
                                           .find_command = held_find_command,
                                           .each_stream = held_each_stream,
                                           .meta_put = held_meta_put,
                                           .meta_get = held_meta_get,
                                           .flush_index = held_flush_index,
                                           .index_behind = held_index_behind};

/* inner: one that is open already, or NULL. */
static inline struct held_engine *hold_engine_with(struct engine_options options, struct engine *inner)
{
    struct held_engine *held = calloc(1, sizeof *held);
    struct fault fault;
    if (options.path) mkdir(options.path, 0777);
    held->inner = inner;
    if (!inner && (options.path ? engine_open_lmdb : engine_open_memory)(&options, &held->inner, &fault) < 0)
        fail_msg("%s", fault.text);
    held->engine.ops = &held_ops;
    held->engine.names = engine_names(held->inner);
    pthread_mutex_init(&held->flushing, NULL);
    pthread_mutex_init(&held->mutex, NULL);
    pthread_cond_init(&held->changed, NULL);
    return held;
}

static inline struct held_engine *hold_engine(const char *data)
{
    return hold_engine_with((struct engine_options){.path = data}, NULL);
}

static inline void held_set(struct held_engine *held, bool holding)
{
    pthread_mutex_lock(&held->mutex);
    held->holding = holding;
    pthread_cond_broadcast(&held->changed);
    pthread_mutex_unlock(&held->mutex);
}

/* Lets one append through, with or without success, and waits for the next one. */
static inline void held_pass(struct held_engine *held, bool fails)
{
    pthread_mutex_lock(&held->mutex);
    held->fail = fails;
    held->pass = 1;
    held->waiting = false;
    pthread_cond_broadcast(&held->changed);
    pthread_mutex_unlock(&held->mutex);
}

/* Returns when the writer is in an append that waits. */
static inline void held_await(struct held_engine *held)
{
    pthread_mutex_lock(&held->mutex);
    while (!held->waiting) pthread_cond_wait(&held->changed, &held->mutex);
    pthread_mutex_unlock(&held->mutex);
}

static inline void held_metas(struct held_engine *held, bool holding)
{
    pthread_mutex_lock(&held->mutex);
    held->holding_metas = holding;
    pthread_cond_broadcast(&held->changed);
    pthread_mutex_unlock(&held->mutex);
}

/* Returns when a named value waits to be written, and with it the writer. */
static inline void held_await_meta(struct held_engine *held)
{
    pthread_mutex_lock(&held->mutex);
    while (!held->waiting_meta) pthread_cond_wait(&held->changed, &held->mutex);
    pthread_mutex_unlock(&held->mutex);
}

/* Returns when so many commands without events are kept: a refusal is answered before it is. */
static inline void held_await_outcomes(struct held_engine *held, uint64_t count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60; /* only ends a test that hangs */
    pthread_mutex_lock(&held->mutex);
    while (engine_head(held->inner).outcomes < count)
        if (pthread_cond_timedwait(&held->changed, &held->mutex, &until) == ETIMEDOUT)
            fail_msg("%llu commands without events are kept, not %llu",
                     (unsigned long long)engine_head(held->inner).outcomes, (unsigned long long)count);
    pthread_mutex_unlock(&held->mutex);
}

/* --- hubs --- */

static struct fault test_fault;

static inline struct hub *open_hub_with(struct hub_options options)
{
    struct hub *hub = NULL;
    struct buf errors = {0};
    options.scripts = folder("scripts");
    options.errors = &errors;
    if (hub_open(&options, &hub, &test_fault) < 0)
        fail_msg("%s\n%.*s", test_fault.text, SLICE_ARGS(buf_slice(&errors)));
    buf_release(&errors);
    return hub;
}

static inline struct hub *open_hub(const char *data, int shards, int projectors)
{
    return open_hub_with((struct hub_options){.data = data, .shards = shards, .projectors = projectors});
}

/* --- commands --- */

struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done;
};

static inline void answered(struct command *command)
{
    struct answer *answer = command->user;
    pthread_mutex_lock(&answer->mutex);
    answer->done = true;
    pthread_cond_broadcast(&answer->changed);
    pthread_mutex_unlock(&answer->mutex);
}

static inline struct slice arena_json(struct arena *arena, const char *json)
{
    char *text = strdup(json);
    for (char *at = text; *at; at++)
        if (*at == '\'') *at = '"';
    struct buf out = {0};
    struct fault fault;
    if (json_to_mp(slice_of(text), &out, &fault) < 0) fail_msg("%s: %s", text, fault.text);
    struct slice kept = arena_copy(arena, buf_slice(&out));
    buf_release(&out);
    free(text);
    return kept;
}

static inline struct command *command_to(const char *id, size_t items)
{
    struct command *command = command_new();
    command->tenant = slice_of("main");
    command->context = slice_of("bank");
    command->aggregate = slice_of("account");
    command->id = arena_copy(&command->arena, slice_of(id));
    command->item_count = items;
    command->items = arena_zero(&command->arena, items * sizeof *command->items);
    struct answer *answer = calloc(1, sizeof *answer);
    pthread_mutex_init(&answer->mutex, NULL);
    pthread_cond_init(&answer->changed, NULL);
    command->user = answer;
    command->done = answered;
    return command;
}

static inline void set_item(struct command *command, size_t at, const char *type, const char *json,
                            const char *id)
{
    command->items[at].type = arena_copy(&command->arena, slice_of(type));
    command->items[at].data = arena_json(&command->arena, json);
    if (id) command->items[at].id = arena_copy(&command->arena, slice_of(id));
}

static inline struct command *command_of(const char *id, const char *type, const char *json,
                                         const char *command_id)
{
    struct command *command = command_to(id, 1);
    set_item(command, 0, type, json, command_id);
    return command;
}

static inline void submit(struct hub *hub, struct command *command)
{
    if (hub_submit_wait(hub, command, &test_fault) < 0) fail_msg("%s", test_fault.text);
}

static inline bool is_answered(struct command *command)
{
    struct answer *answer = command->user;
    pthread_mutex_lock(&answer->mutex);
    bool done = answer->done;
    pthread_mutex_unlock(&answer->mutex);
    return done;
}

static inline struct command *await(struct command *command)
{
    struct answer *answer = command->user;
    pthread_mutex_lock(&answer->mutex);
    while (!answer->done) pthread_cond_wait(&answer->changed, &answer->mutex);
    pthread_mutex_unlock(&answer->mutex);
    return command;
}

static inline void forget(struct command *command)
{
    await(command);
    free(command->user);
    command_free(command);
}

static inline struct command *run(struct hub *hub, struct command *command)
{
    submit(hub, command);
    return await(command);
}

/* An event that no shard decided: somebody else is at the log, too. */
static inline void append_event(struct engine *engine, const struct stream_id *stream, const char *type,
                                const char *data)
{
    uint64_t version, position;
    struct arena arena = {0};
    assert_int_equal(engine_stream_head(engine, stream, &version, &position, NULL), 0);
    struct commit_event event = {
        .type = slice_of(type), .type_version = 1, .at_ms = 0, .data = arena_json(&arena, data)};
    struct commit commit = {.kind = RECORD_FACT,
                            .tenant = stream->tenant,
                            .aggregate = stream->aggregate,
                            .id = stream->id,
                            .first_version = version + 1,
                            .events = &event,
                            .event_count = 1};
    struct append append = {.commit = &commit};
    assert_int_equal(engine_append(engine, &append, 1, NULL), 0);
    assert_int_equal(append.outcome, APPEND_APPENDED);
    arena_release(&arena);
}

/* The same, as the `user` of a held engine. */
struct somebody_else {
    const char *id, *data;
};

static inline void somebody_else_adds(struct engine *engine, void *user)
{
    const struct somebody_else *other = user;
    struct stream_id stream = {slice_of("main"), slice_of("bank/account"), slice_of(other->id)};
    append_event(engine, &stream, "Added", other->data);
}

/* Runs one and asks for its outcome. */
static inline void expect(struct hub *hub, const char *id, const char *type, const char *json,
                          enum fault_code code)
{
    struct command *command = run(hub, command_of(id, type, json, NULL));
    if (command->fault.code != code)
        fail_msg("%s %s: %s: %s", type, json, fault_name(command->fault.code), command->fault.text);
    forget(command);
}

/* --- states --- */

static inline void query_done(struct state_query *query)
{
    answered(&(struct command){.user = query->user});
}

/* The state as JSON with ' for ", or the fault's name. */
static inline const char *state_at(struct hub *hub, const char *id, int64_t version, int64_t at_ms)
{
    static char text[2048];
    struct answer answer = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct state_query query = {.tenant = slice_of("main"),
                                .context = slice_of("bank"),
                                .aggregate = slice_of("account"),
                                .id = slice_of(id),
                                .version = version,
                                .has_moment = at_ms != INT64_MAX,
                                .moment = {.kind = MOMENT_TIME, .ms = at_ms},
                                .done = query_done,
                                .user = &answer};
    if (hub_query_state(hub, &query, &test_fault) < 0) return fault_name(test_fault.code);
    await(&(struct command){.user = &answer});
    if (query.fault.code) return fault_name(query.fault.code);
    struct buf json = {0};
    assert_int_equal(json_from_mp(buf_slice(&query.state), &json, &test_fault), 0);
    snprintf(text, sizeof text, "%llu %.*s", (unsigned long long)query.found_version,
             SLICE_ARGS(buf_slice(&json)));
    for (char *at = text; *at; at++)
        if (*at == '"') *at = '\'';
    buf_release(&json);
    buf_release(&query.state);
    return text;
}

static inline const char *state_of(struct hub *hub, const char *id)
{
    return state_at(hub, id, -1, INT64_MAX);
}

/* --- the log --- */

/* "id:type:version" of each event in log order, and checks that positions are gapless. */
static inline struct buf log_text(struct hub *hub)
{
    struct buf out = {0};
    struct engine_cursor *cursor;
    struct record record;
    uint64_t position = 0;
    assert_int_equal(engine_read(hub_engine(hub), 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            struct slice type = names_get(record.names, event.type);
            assert_int_equal(event.position, ++position);
            buf_format(&out, "%.*s:%.*s:%llu ", SLICE_ARGS(record.id), SLICE_ARGS(type),
                       (unsigned long long)event.version);
        }
    }
    engine_cursor_close(cursor);
    buf_put_byte(&out, 0);
    return out;
}

static inline void expect_log(struct hub *hub, const char *text)
{
    struct buf log = log_text(hub);
    assert_string_equal(log.data, text);
    buf_release(&log);
}

/* --- views --- */

/* Every document of a view as "key=json\n". */
static inline struct buf view_text(struct hub *hub, const char *name, const char *tenant)
{
    struct view_lease lease;
    if (hub_view_lease(hub, slice_of(name), &lease, &test_fault) < 0) fail_msg("%s", test_fault.text);
    struct docs_range range = {.tenant = slice_of(tenant)};
    struct docs_read *read;
    struct slice key, value;
    struct buf out = {0};
    assert_int_equal(docs_read_open(lease.docs, &range, &read, &test_fault), 0);
    while (docs_read_next(read, &key, &value, &test_fault) == 1) {
        buf_format(&out, "%.*s=", SLICE_ARGS(key));
        assert_int_equal(json_from_mp(value, &out, &test_fault), 0);
        buf_put_byte(&out, '\n');
    }
    docs_read_close(read);
    hub_view_release(hub, &lease);
    buf_put_byte(&out, 0);
    return out;
}

static inline void settle(struct hub *hub)
{
    if (!hub_settle(hub, 30000)) {
        struct buf status = {0};
        hub_status(hub, &status);
        fprintf(stderr, "the views do not settle:\n%.*s",
                SLICE_ARGS(buf_slice(&status))); /* longer than cmocka prints */
        fail();
    }
}

#endif

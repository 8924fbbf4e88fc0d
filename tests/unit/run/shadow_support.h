/* shadow_support.h: a log in memory, written by some code, for the tests that ask what other code makes of
 * it. */
#ifndef LORE_TESTS_SHADOW_SUPPORT_H
#define LORE_TESTS_SHADOW_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "run/fold.h"
#include "run/shadow.h"

static const char shop_contracts[] = "contracts [[\n"
                                     "  Open?   (owner: string)\n"
                                     "  Opened! (owner: string)\n"
                                     "  Add?    (amount: integer)\n"
                                     "  Added!  (amount: integer)\n"
                                     "  Close?\n"
                                     "  Closed! (total: integer)\n"
                                     "  Touch?\n"
                                     "  Noted!  (text: string)\n"
                                     "]]\n";
static const char shop_account[] =
    "local account = aggregate 'account' { initial = { total = 0, count = 0 } }\n"
    "local LEAST, MOST = 0, 1000\n"
    "function account.apply.Opened(state, e, m) state.owner = e.owner state.since = m.at end\n"
    "function account.apply.Added(state, e) state.total = state.total + e.amount state.count = state.count + "
    "1 end\n"
    "function account.apply.Closed(state) state.closed = true end\n"
    "function account.execute.Open(state, c, m)\n"
    "  if state.owner then reject('exists', 'account %s exists', m.id) end\n"
    "  return Opened { owner = c.owner }\n"
    "end\n"
    "function account.execute.Add(state, c)\n"
    "  if state.closed then reject('closed', 'it is closed') end\n"
    "  if state.total + c.amount < LEAST then reject('poor', 'only %d left', state.total) end\n"
    "  if state.total + c.amount > MOST then reject('rich', '%d already', state.total) end\n"
    "  return Added { amount = c.amount }\n"
    "end\n"
    "function account.execute.Close(state)\n"
    "  if state.closed then reject('closed', 'it is closed') end\n"
    "  return Closed { total = state.total }\n"
    "end\n"
    "function account.execute.Touch() end\n";

/* A copy of a text in which the first `from` is `to`; the caller frees it. */
static inline char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("no \"%s\" in it", from);
    char *made = malloc(strlen(text) + strlen(to) + 1);
    sprintf(made, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return made;
}

/* Sources of the shop with some contracts and account. */
static inline struct sources *shop_of(const char *contracts, const char *account)
{
    const char *texts[] = {"shop/contracts.lua", contracts, "shop/account.lua", account, NULL};
    return sources_of(texts);
}

/* The shop with one change of account.lua. */
static inline struct sources *shop_with(const char *from, const char *to)
{
    char *text = changed(shop_account, from, to);
    struct sources *sources = shop_of(shop_contracts, text);
    free(text);
    return sources;
}

/* --- a log --- */

struct test_clock {
    struct clock clock;
    int64_t ms;
};

static int64_t test_now(struct clock *clock)
{
    return ((struct test_clock *)clock)->ms;
}

struct world {
    struct test_clock clock;
    struct engine *engine;
    struct sources *running; /* the code that the log was written with */
    struct domain *domain;
    uint64_t ids;
};

static inline void world_use(struct world *world, struct sources *sources)
{
    struct fault fault;
    if (world->domain) domain_close(world->domain);
    if (world->running) sources_free(world->running);
    const struct domain_options options = {.sources = sources};
    world->running = sources;
    if (domain_open(&options, &world->domain, NULL, &fault) < 0) fail_msg("%s", fault.text);
}

static inline struct world *world_new(void)
{
    struct fault fault;
    struct world *world = MEM_NEW(struct world);
    world->clock = (struct test_clock){.clock = {test_now}, .ms = 1000000000000};
    const struct engine_options options = {.clock = &world->clock.clock};
    if (engine_open_memory(&options, &world->engine, &fault) < 0) fail_msg("%s", fault.text);
    domain_thread_start();
    world_use(world, shop_of(shop_contracts, shop_account));
    return world;
}

static inline void world_free(struct world *world)
{
    domain_close(world->domain);
    sources_free(world->running);
    engine_close(world->engine);
    mem_free(world);
}

static inline struct slice world_json(struct arena *arena, const char *json)
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

struct sent { /* one command or fact of a transaction */
    const char *type, *data;
};

/* The state of a stream under a code, from its events up to a version. */
static inline struct domain_state *world_fold(struct world *world, struct domain *domain,
                                              const struct stream_id *stream, uint64_t version_max,
                                              uint64_t *version, struct fault *fault)
{
    int index = domain_find_aggregate(domain, stream->aggregate);
    const struct catalog_aggregate aggregate = {
        .name = stream->aggregate, .context = slice_of("shop"), .index = index};
    const struct fold_request request = {.engine = world->engine,
                                         .domain = domain,
                                         .aggregate = &aggregate,
                                         .stream = *stream,
                                         .version_max = version_max,
                                         .at_ms_max = INT64_MAX};
    struct fold_result result;
    if (fold_stream(&request, &result, fault) < 0) return NULL;
    *version = result.version;
    return result.state;
}

static inline void world_append(struct world *world, struct commit *commit)
{
    struct fault fault;
    struct append append = {.commit = commit};
    if (engine_append(world->engine, &append, 1, &fault) < 0) fail_msg("%s", fault.text);
    assert_int_equal(append.outcome, APPEND_APPENDED);
}

/* Decides as a shard does and writes what comes out of it. Returns its kind; 0: it fits no contract or
 * failed. */
static inline int world_send_to(struct world *world, struct stream_id stream, const struct sent *sent,
                                size_t count)
{
    struct arena arena = {0};
    struct fault fault = {0};
    uint64_t version = 0, head, position;
    struct commit_command *commands = arena_zero(&arena, count * sizeof *commands);
    struct commit_event *events = arena_zero(&arena, 64 * sizeof *events);
    struct domain_state *state = world_fold(world, world->domain, &stream, UINT64_MAX, &version, &fault);
    if (!state) fail_msg("%s", fault.text);
    for (size_t at = 0; at < count; at++)
        commands[at] = (struct commit_command){
            .type = slice_of(sent[at].type),
            .id = arena_format(&arena, "command-%llu", (unsigned long long)++world->ids),
            .data = world_json(&arena, sent[at].data)};
    struct commit commit = {.kind = RECORD_COMMIT,
                            .tenant = stream.tenant,
                            .aggregate = stream.aggregate,
                            .id = stream.id,
                            .first_version = version + 1,
                            .actor = slice_of("ann"),
                            .commands = commands,
                            .command_count = count,
                            .events = events};
    struct envelope envelope;
    fold_commit_envelope(&stream, slice_of("shop"), &commit, &envelope);
    envelope.at_ms = world->clock.ms;
    int done = 0;
    for (size_t at = 0; at < count && done == 0; at++) {
        struct decision decision;
        bool touched;
        envelope.type = commands[at].type;
        done = domain_execute(world->domain, state, &envelope, commands[at].data, false, &arena, &decision,
                              &touched, &fault);
        for (size_t event = 0; done == 0 && event < decision.event_count; event++)
            events[commit.event_count++] = decision.events[event];
    }
    domain_state_free(world->domain, state);
    if (done < 0 || commit.event_count == 0) {
        commit.kind = done < 0 ? RECORD_REJECTED : RECORD_ACCEPTED;
        commit.event_count = 0;
        commit.reason = slice_of(done < 0 ? fault.reason : "");
        commit.message = slice_of(done < 0 ? fault.text : "");
        engine_stream_head(world->engine, &stream, &head, &position, NULL);
        commit.first_version = head;
        commit.first_position = position;
    }
    int kind = done < 0 && fault.code != FAULT_REJECTED ? 0 : (int)commit.kind;
    if (kind) world_append(world, &commit);
    arena_release(&arena);
    return kind;
}

static inline struct stream_id account_of(const char *id)
{
    return (struct stream_id){slice_of("main"), slice_of("shop/account"), slice_of(id)};
}

static inline int world_send(struct world *world, const char *id, const char *type, const char *data)
{
    return world_send_to(world, account_of(id), &(struct sent){type, data}, 1);
}

static inline void world_fact(struct world *world, const char *id, const char *type, uint32_t type_version,
                              const char *data)
{
    struct arena arena = {0};
    struct stream_id stream = account_of(id);
    uint64_t version, position;
    engine_stream_head(world->engine, &stream, &version, &position, NULL);
    struct commit_event event = {slice_of(type), type_version, world->clock.ms, world_json(&arena, data)};
    struct commit commit = {.kind = RECORD_FACT,
                            .tenant = stream.tenant,
                            .aggregate = stream.aggregate,
                            .id = stream.id,
                            .first_version = version + 1,
                            .events = &event,
                            .event_count = 1};
    world_append(world, &commit);
    arena_release(&arena);
}

/* --- looking --- */

/* With the code that wrote the log as the running one; takes the next one. */
static inline struct shadow *world_shadow(struct world *world, struct sources *next,
                                          struct shadow_options options)
{
    struct fault fault;
    struct shadow *shadow;
    options.engine = world->engine;
    if (!options.running.sources) options.running.sources = world->running;
    options.next.sources = next;
    if (shadow_run(&options, &shadow, &fault) < 0) fail_msg("%s", fault.text);
    sources_free(next);
    return shadow;
}

/* As JSON with ' for ". */
static inline char *shadow_text(const struct shadow *shadow)
{
    struct buf json = {0}, check = {0};
    struct fault fault;
    shadow_put_json(shadow, &json);
    if (json_to_mp(buf_slice(&json), &check, &fault) < 0) fail_msg("%s", fault.text);
    char *text = mem_text(json.data, json.size);
    for (char *at = text; *at; at++)
        if (*at == '"') *at = '\'';
    buf_release(&json);
    buf_release(&check);
    return text;
}

static inline void expect_text(const struct shadow *shadow, const char *part)
{
    char *text = shadow_text(shadow);
    if (!strstr(text, part)) fail_msg("no %s in\n%s", part, text);
    mem_free(text);
}

/* The counts of commands in the order of the report: decided same upcast already, refused accepted
 * other_reason other_events errors, undecided. */
static inline void expect_commands(const struct shadow *shadow, const char *counts)
{
    const struct shadow_commands *commands = &shadow->total.commands;
    struct buf text = {0};
    buf_format(&text, "%d %d %d %d", (int)commands->decided, (int)commands->same, (int)commands->upcast,
               (int)commands->already);
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        buf_format(&text, "%s%d", kind ? " " : ", ", (int)commands->differs[kind]);
    buf_format(&text, ", %d", (int)commands->undecided);
    buf_put_byte(&text, 0);
    assert_string_equal(text.data, counts);
    buf_release(&text);
}

#endif

/* Projections: live, rebuilt, in partitions, parked, stopped, interrupted; what is rebuilt equals what was
 * built live. */
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "codec/mp.h"
#include "run_support.h"

static const char tenants_open[] =
    "return { tenants = 'open', limits = { rebuild_partition_events = 50, flush_events = 100 } }\n";
static const char one_partition[] = "return { tenants = 'open', limits = { flush_events = 700 } }\n";

static unsigned history_streams; /* of feed_history */

static int setup_views(void **state)
{
    setup(state);
    history_streams = 60;
    write_script("bank/totals.lua", test_totals);
    write_script("bank/by_amount.lua", test_by_amount);
    write_script("hub.lua", tenants_open);
    return 0;
}

static bool dump_meta(void *user, struct slice key, struct slice value)
{
    buf_put_slice(user, key);
    buf_put_byte(user, '=');
    struct fault fault;
    assert_int_equal(json_from_mp(value, user, &fault), 0);
    buf_put_byte(user, '\n');
    return true;
}

/* Documents of two tenants, parked keys and stops of every view. */
static struct buf dump(struct hub *hub)
{
    struct buf out = {0};
    for (size_t at = 0; at < hub_view_count(hub); at++) {
        struct view_info info;
        struct view_lease lease;
        hub_view_info(hub, at, &info);
        buf_format(&out, "-- %s\n", info.name);
        for (int tenant = 0; tenant < 2; tenant++) {
            struct buf text = view_text(hub, info.name, tenant ? "acme" : "main");
            buf_put_text(&out, text.data);
            buf_release(&text);
        }
        assert_int_equal(hub_view_lease(hub, slice_of(info.name), &lease, &test_fault), 0);
        docs_meta_each(lease.docs, slice_of("parked/"), dump_meta, &out, &test_fault);
        docs_meta_each(lease.docs, slice_of("stopped/"), dump_meta, &out, &test_fault);
        hub_view_release(hub, &lease);
    }
    buf_put_byte(&out, 0);
    return out;
}

static void expect_dump(struct hub *hub, const struct buf *expected)
{
    struct buf now = dump(hub);
    for (size_t at = 0; at < now.size; at++) /* NULs of parked keys would end the comparison */
        if (now.data[at] == 0 && at + 1 < now.size) now.data[at] = '|';
    char *wanted = mem_text(expected->data, expected->size);
    for (size_t at = 0; at + 1 < expected->size; at++)
        if (wanted[at] == 0) wanted[at] = '|';
    assert_string_equal(now.data, wanted);
    mem_free(wanted);
    buf_release(&now);
}

/* The same history every time: adds of changing amounts to some streams of two tenants. */
static void feed_history(struct hub *hub, int from, int to)
{
    struct command **commands = calloc((size_t)(to - from), sizeof *commands);
    uint64_t seed = 11;
    for (int at = 0; at < to; at++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        char id[16], json[64];
        if (at < from) continue;
        snprintf(id, sizeof id, "s%u", (unsigned)(seed >> 33) % history_streams);
        bool close = seed >> 56 == 3;
        snprintf(json, sizeof json, "{'%s':%d}", close ? "total" : "amount", (int)(seed >> 60));
        struct command *command = command_of(id, close ? "Closed" : "Added", json, NULL);
        command->is_fact = true;
        if (at % 5 == 0) command->tenant = slice_of("acme");
        command->ordered = (uint64_t)(at - from) + 1;
        commands[at - from] = command;
        submit(hub, command);
    }
    for (int at = 0; at < to - from; at++) {
        if (await(commands[at])->fault.code) fail_msg("%s", commands[at]->fault.text);
        forget(commands[at]);
    }
    free(commands);
}

static struct view_info info_of(struct hub *hub, const char *name)
{
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++) {
        hub_view_info(hub, at, &info);
        if (strcmp(info.name, name) == 0) return info;
    }
    fail_msg("no view %s", name);
    return info;
}

static uint64_t position_for(struct hub *hub, const char *name, const char *tenant)
{
    struct view_lease lease;
    struct docs_range range = {.tenant = slice_of(tenant)};
    struct docs_read *read;
    assert_int_equal(hub_view_lease(hub, slice_of(name), &lease, &test_fault), 0);
    assert_int_equal(docs_read_open(lease.docs, &range, &read, &test_fault), 0);
    uint64_t position = hub_view_position(read, slice_of(tenant));
    docs_read_close(read);
    hub_view_release(hub, &lease);
    return position;
}

static void follows_live(void **state)
{
    struct hub *hub = open_hub(*state ? folder("data") : NULL, 2, 2);
    assert_true(hub_settle(hub, 10000));
    expect(hub, "a", "Add", "{'amount':3}", FAULT_NONE);
    expect(hub, "b", "Add", "{'amount':4}", FAULT_NONE);
    expect(hub, "a", "Add", "{'amount':4}", FAULT_NONE);
    settle(hub);
    struct buf text = view_text(hub, "totals", "main");
    assert_string_equal(text.data, "a={\"count\":2,\"total\":7}\nb={\"count\":1,\"total\":4}\n");
    buf_release(&text);
    text = view_text(hub, "bank/by_amount", "main");
    assert_string_equal(text.data, "3={\"n\":1}\n4={\"n\":2}\n");
    buf_release(&text);
    expect(hub, "a", "Close", "{}", FAULT_NONE);
    settle(hub);
    text = view_text(hub, "totals", "main");
    assert_string_equal(text.data, "b={\"count\":1,\"total\":4}\n");
    buf_release(&text);
    assert_int_equal(position_for(hub, "totals", "main"), 4);
    struct view_lease lease;
    assert_int_equal(hub_view_lease(hub, slice_of("total"), &lease, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    assert_non_null(strstr(test_fault.text, "did you mean totals?"));
    hub_close(hub);
}

/* With a rest longer than any test: whoever waits does not wait for its end, and without anybody waiting it
 * is kept. */
static void rests_unless_somebody_waits(void **state)
{
    write_script("hub.lua", "return { limits = { view_lag_ms = 3600000 } }\n");
    struct hub *hub = open_hub(NULL, 1, 1);
    expect(hub, "a", "Add", "{'amount':3}", FAULT_NONE);
    settle(hub);
    for (int round = 0; round < 4; round++) {
        uint64_t position = info_of(hub, "bank/totals").position;
        expect(hub, "a", "Add", "{'amount':1}", FAULT_NONE);
        expect(hub, "b", "Add", "{'amount':1}", FAULT_NONE);
        assert_int_equal(info_of(hub, "bank/totals").position, position);
        hub_view_hurry(hub, position); /* it is there already: no reason to hurry */
        assert_int_equal(info_of(hub, "bank/totals").position, position);
        settle(hub);
        assert_int_equal(info_of(hub, "bank/totals").position, position + 2);
    }
    hub_close(hub); /* does not wait either */
}

/* Live with many small flushes; from nothing in four partitions; from nothing in one; index and views
 * deleted. */
static void rebuilt_equals_live(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 2, 2);
    feed_history(hub, 0, 3000);
    settle(hub);
    struct buf live = dump(hub);
    assert_true(live.size > 1000);
    hub_close(hub);
    for (int way = 0; way < 4; way++) {
        char path[300];
        snprintf(path, sizeof path, "%s/views", data);
        remove_folder(path);
        if (way >= 2) {
            snprintf(path, sizeof path, "%s/index", data);
            remove_folder(path);
        }
        write_script("hub.lua", way % 2 ? one_partition : tenants_open);
        hub = open_hub(data, 1, way % 2 ? 1 : 4);
        settle(hub);
        expect_dump(hub, &live);
        assert_int_equal(info_of(hub, "bank/totals").generation, 1);
        hub_close(hub);
    }
    buf_release(&live);
}

static const char changed_totals[] =
    "local totals = projection 'totals' { initial = { total = 0, count = 0 }, index = { 'total' } }\n"
    "function totals.when.Added(view, e) view.total, view.count = view.total + 1000 * e.amount, 1 end\n";

static void an_edit_rebuilds_and_says_why(void **state)
{
    const char *data = folder("data");
    write_script("bank/rates.lua", "return { factor = 1 }\n");
    write_script(
        "bank/rated.lua",
        "local rates = require 'rates'\n"
        "local rated = projection 'rated'\n"
        "function rated.when.Added(view, e) view.sum = (view.sum or 0) + rates.factor * e.amount end\n");
    struct hub *hub = open_hub(data, 1, 2);
    feed_history(hub, 0, 500);
    settle(hub);
    struct buf first = dump(hub);
    struct buf old = view_text(hub, "totals", "main");
    hub_close(hub);

    /* Neither a comment nor layout is a change. */
    char text[2000];
    snprintf(text, sizeof text, "-- why\n\n%s", test_totals);
    write_script("bank/totals.lua", text);
    hub = open_hub(data, 1, 2);
    assert_int_equal(info_of(hub, "bank/totals").generation, 1);
    assert_false(info_of(hub, "bank/totals").rebuilding);
    hub_close(hub);

    /* Without projectors' time the old generation answers: opened to look only it is what a reader sees. */
    write_script("bank/totals.lua", changed_totals);
    write_script("bank/rates.lua", "return { factor = 2 }\n");
    hub = open_hub_with((struct hub_options){.data = data, .read_only = true});
    struct buf meanwhile = view_text(hub, "totals", "main");
    assert_string_equal(meanwhile.data, old.data);
    buf_release(&meanwhile);
    hub_close(hub);

    hub = open_hub(data, 1, 2);
    settle(hub);
    assert_int_equal(info_of(hub, "bank/totals").generation, 2);
    assert_int_equal(info_of(hub, "bank/rated").generation, 2);
    assert_int_equal(info_of(hub, "bank/by_amount").generation, 1);
    struct view_lease lease;
    struct buf described = {0};
    assert_int_equal(hub_view_lease(hub, slice_of("totals"), &lease, &test_fault), 0);
    docs_meta_get(lease.docs, slice_of("generation"), &described, &test_fault);
    assert_non_null(memmem(described.data, described.size, "totals.lua changed", 18));
    hub_view_release(hub, &lease);
    buf_clear(&described);
    assert_int_equal(hub_view_lease(hub, slice_of("rated"), &lease, &test_fault), 0);
    docs_meta_get(lease.docs, slice_of("generation"), &described, &test_fault);
    assert_non_null(memmem(described.data, described.size, "rates.lua changed", 17));
    assert_null(memmem(described.data, described.size, "rated.lua", 9));
    hub_view_release(hub, &lease);
    buf_release(&described);
    struct buf now = view_text(hub, "totals", "main");
    assert_string_not_equal(now.data, old.data);
    feed_history(hub, 500, 520);
    hub_close(hub);

    /* The edit undone: the first generation is there and only catches up. */
    write_script("bank/totals.lua", test_totals);
    write_script("bank/rates.lua", "return { factor = 1 }\n");
    hub = open_hub(data, 1, 2);
    settle(hub);
    assert_int_equal(info_of(hub, "bank/totals").generation, 3);
    struct buf back = dump(hub);
    hub_close(hub);
    snprintf(text, sizeof text, "%s/views", data);
    remove_folder(text);
    hub = open_hub(data, 1, 2);
    settle(hub);
    expect_dump(hub, &back);
    hub_close(hub);
    buf_release(&back);
    buf_release(&now);
    buf_release(&old);
    buf_release(&first);
}

static size_t count_directories(const char *data, const char *prefix)
{
    char path[300];
    snprintf(path, sizeof path, "%s/views", data);
    DIR *directory = opendir(path);
    size_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(directory);
    return count;
}

static void rebuilds_by_hand(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 1, 2);
    feed_history(hub, 0, 400);
    settle(hub);
    struct buf live = dump(hub);
    struct view_lease lease;
    assert_int_equal(hub_view_lease(hub, slice_of("totals"), &lease, &test_fault), 0);
    for (uint64_t generation = 2; generation < 6; generation++) {
        assert_int_equal(hub_rebuild(hub, slice_of("totals"), &test_fault), 0);
        settle(hub);
        assert_int_equal(info_of(hub, "bank/totals").generation, generation);
        expect_dump(hub, &live);
    }
    /* A lease from before four swaps still reads. */
    struct buf value = {0};
    assert_int_equal(docs_meta_get(lease.docs, slice_of("position"), &value, &test_fault), 1);
    buf_release(&value);
    hub_view_release(hub, &lease);
    assert_int_equal(count_directories(data, "bank.totals@"), 2); /* the answering one and the one before */
    assert_int_equal(hub_rebuild(hub, slice_of("nothing"), &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    hub_close(hub);
    buf_release(&live);
}

static const char fragile[] =
    "local fragile = projection 'fragile'\n"
    "function fragile.when.Added(view, e, m)\n"
    "  view.sum = (view.sum or 0) + e.amount\n"
    "  if e.amount == 9 and m.id:sub(-1) == '7' then error('nine') end\n"
    "  if e.amount == 8 and m.id:sub(-1) == '3' then view.bad = print end\n"
    "end\n"
    "local free = projection 'free' { key = false }\n"
    "function free.when.Added(docs, e, m)\n"
    "  docs:put(m.id, { last = e.amount })\n"
    "  if m.tenant == 'acme' and m.position > 300 and e.amount == 5 then error('stop here') end\n"
    "end\n"
    "local keyless = projection 'keyless' { key = function(e, m)\n"
    "  if m.tenant == 'acme' and m.position > 200 and e.amount == 6 then error('no key') end\n"
    "  return { m.id, 'amount' .. e.amount }\n"
    "end }\n"
    "function keyless.when.Added(view, e, m)\n"
    "  view.n = (view.n or 0) + 1\n"
    "  if view.n == 40 and e.amount == 2 then error('forty') end\n"
    "end\n";

/* Keys park and tenants stop at the same event, whatever the flushes and partitions were. */
static void parks_and_stops_alike(void **state)
{
    const char *data = folder("data");
    write_script("bank/fragile.lua", fragile);
    struct hub *hub = open_hub(data, 2, 2);
    for (int at = 0; at < 2000; at += 100) {
        feed_history(hub, at, at + 100);
        if (at == 1000) { /* parked keys are told to the next start */
            hub_close(hub);
            hub = open_hub(data, 2, 2);
        }
    }
    settle(hub);
    struct buf live = dump(hub);
    assert_true(info_of(hub, "bank/fragile").parked > 1);
    assert_true(info_of(hub, "bank/keyless").stopped);
    assert_true(info_of(hub, "bank/free").stopped);
    assert_false(info_of(hub, "bank/fragile").stopped);
    assert_non_null(memmem(live.data, live.size, "bank/fragile.lua:4: nine", 24));
    assert_non_null(memmem(live.data, live.size, "\"skipped\":", 10));
    assert_true(position_for(hub, "free", "acme") >= 300 && position_for(hub, "free", "acme") < 2000);
    assert_int_equal(position_for(hub, "free", "main"), 2000);
    struct buf status = {0};
    hub_status(hub, &status);
    buf_put_byte(&status, 0);
    assert_non_null(strstr(status.data,
                           "{\"kind\":\"parked\",\"name\":\"bank/fragile\",\"tenant\":\"main\",\"key\":\"s"));
    assert_non_null(strstr(status.data,
                           "{\"kind\":\"stopped\",\"name\":\"bank/free\",\"tenant\":\"acme\",\"position\":"));
    const char *parked = strstr(status.data, "{\"kind\":\"parked\",\"name\":\"bank/fragile\"");
    const char *deploy = strstr(parked, "\"deploy\":1,");
    assert_true(deploy && deploy < strchr(parked, '\n'));
    assert_int_equal(info_of(hub, "bank/fragile").deploy, 1);
    buf_release(&status);
    hub_close(hub);
    for (int way = 0; way < 3; way++) {
        char path[300];
        snprintf(path, sizeof path, "%s/views", data);
        remove_folder(path);
        write_script("hub.lua", way == 1 ? one_partition : tenants_open);
        hub = open_hub(data, 1, way == 2 ? 1 : 4);
        settle(hub);
        expect_dump(hub, &live);
        /* Built by what ran last; the other hub.lua comes behind it and changes no view. */
        assert_int_equal(info_of(hub, "bank/fragile").deploy, way < 2 ? 1 : 2);
        hub_close(hub);
    }
    buf_release(&live);
}

/* Many documents: by stream, by two keys of an event, with failing handlers, and with a key function that
 * stops one tenant. */
static const char many[] =
    "local parking = projection 'parking' { index = { 'sum' } }\n"
    "function parking.when.Added(view, e, m)\n"
    "  view.sum = (view.sum or 0) + e.amount\n"
    "  if view.sum == 13 then error('thirteen') end\n"
    "end\n"
    "function parking.when.Closed(view, e) return false end\n"
    "local pairs_of = projection 'pairs_of' { key = function(e, m) return { m.id, 'x' .. m.id .. m.tenant } "
    "end }\n"
    "function pairs_of.when.Added(view, e, m)\n"
    "  view.n, view.last = (view.n or 0) + 1, m.position\n"
    "  if view.n == 4 and e.amount == 2 then view.bad = print end\n"
    "end\n"
    "local stopping = projection 'stopping' { key = function(e, m)\n"
    "  if m.tenant == 'acme' and m.position > 2500 and e.amount == 6 then error('no key') end\n"
    "  return m.id\n"
    "end }\n"
    "function stopping.when.Added(view, e) view.sum = (view.sum or 0) + e.amount end\n";

/* A log of many streams, and what its views are when they were built live. */
static struct buf build_many_live(const char *data)
{
    history_streams = 900;
    write_script("bank/many.lua", many);
    struct hub *hub = open_hub(data, 2, 2);
    for (int at = 0; at < 4000; at += 400) feed_history(hub, at, at + 400);
    settle(hub);
    struct buf live = dump(hub);
    assert_true(info_of(hub, "bank/parking").parked > 3 && info_of(hub, "bank/pairs_of").parked > 3);
    assert_true(info_of(hub, "bank/stopping").stopped);
    hub_close(hub);
    return live;
}

static void remove_views(const char *data)
{
    char path[300];
    snprintf(path, sizeof path, "%s/views", data);
    remove_folder(path);
}

static void write_limits(unsigned partition_events, unsigned flush_events)
{
    char text[200];
    snprintf(text, sizeof text,
             "return { tenants = 'open', limits = { rebuild_partition_events = %u, flush_events = %u } }\n",
             partition_events, flush_events);
    write_script("hub.lua", text);
}

/* Split by key, in many and in few partitions, with flushes in the middle of them, by one thread and by four:
 * always what was built live. */
static void split_equals_live(void **state)
{
    const char *data = folder("data");
    struct buf live = build_many_live(data);
    static const struct {
        unsigned partition_events, flush_events;
        int projectors;
    } ways[] = {{50, 100000, 1}, {50, 100000, 4}, {250, 20, 1}, {200, 512, 2}, {7, 30, 3}};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        remove_views(data);
        write_limits(ways[way].partition_events, ways[way].flush_events);
        fault_points_arm("none", &test_fault);
        struct hub *hub = open_hub(data, 1, ways[way].projectors);
        settle(hub);
        assert_true(fault_point_passed(POINT_VIEWS_SPILL_READ) >= 16); /* it was split */
        fault_points_disarm();
        expect_dump(hub, &live);
        assert_int_equal(info_of(hub, "bank/totals").generation, 1);
        hub_close(hub);
    }
    buf_release(&live);
}

/* All views are built while the disk fails as armed says. */
static void build_with_fault(const char *data, const char *armed, int projectors, const struct buf *live)
{
    remove_views(data);
    assert_int_equal(fault_points_arm(armed, &test_fault), 0);
    struct hub *hub = open_hub(data, 1, projectors);
    settle(hub);
    fault_points_disarm();
    expect_dump(hub, live);
    hub_close(hub);
}

/* The disk is full, cuts a write short or cannot be read, at any step of a build: it is tried again, other
 * views go on, and the end is the same. */
static void a_build_outlives_a_failing_disk(void **state)
{
    const char *data = folder("data");
    struct buf live = build_many_live(data);
    write_limits(100, 100000);
    static const char *const faults[] = {"views.spill=ENOSPC",        "views.spill@20=ENOSPC",
                                         "views.spill@7+=short",      "views.spill_read@3=EIO",
                                         "views.spill_read@1+=short", "views.write@12=ENOSPC",
                                         "views.write@30=EIO",        "views.write@90=ENOSPC"};
    for (size_t at = 0; at < sizeof faults / sizeof *faults; at++)
        build_with_fault(data, faults[at], 2, &live);
    buf_release(&live);
}

/* Each of the first writes fails once, also those by which a split build becomes one in one piece: none of
 * them leaves a view that nobody builds any more. */
static void a_build_outlives_any_failed_write(void **state)
{
    const char *data = folder("data");
    struct buf live = build_many_live(data);
    write_limits(100, 100000);
    for (int write = 6; write < 20; write++) {
        char armed[40];
        snprintf(armed, sizeof armed, "views.write@%d=ENOSPC", write);
        build_with_fault(data, armed, 1, &live);
    }
    buf_release(&live);
}

/* Builds what is missing; how many writes that took. */
static unsigned long writes_of_build(const char *data, const struct buf *live)
{
    fault_points_arm("none", &test_fault);
    struct hub *hub = open_hub(data, 1, 2);
    settle(hub);
    unsigned long writes = fault_point_passed(POINT_VIEWS_WRITE);
    fault_points_disarm();
    expect_dump(hub, live);
    hub_close(hub);
    return writes;
}

/* Killed at some write of a build, it goes on with what is not on disk yet, and leaves nothing behind. */
static void a_split_build_goes_on_after_a_kill(void **state)
{
    const char *data = folder("data");
    struct buf live = build_many_live(data);
    static const char *const kills[] = {"views.spill@30=kill", "views.write@40=kill", "views.write@75=kill",
                                        "views.write@110=kill", "views.spill_read@50=kill"};
    int going_on = 0;
    write_limits(100, 100000);
    remove_views(data);
    unsigned long whole = writes_of_build(data, &live);
    for (size_t at = 0; at < sizeof kills / sizeof *kills; at++) {
        remove_views(data);
        pid_t child = fork();
        if (child == 0) {
            if (fault_points_arm(kills[at], &test_fault) < 0) _exit(1);
            settle(open_hub(data, 1, 2));
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct hub *hub = open_hub_with((struct hub_options){.data = data, .read_only = true});
        hub_close(hub);
        going_on += writes_of_build(data, &live) + 10 < whole;
    }
    assert_true(going_on >= 3); /* those killed at a write of documents */
    buf_release(&live);
}

/* Slow enough to be met in the middle. */
static const char slow_totals[] = "local totals = projection 'totals' { initial = { total = 0 } }\n"
                                  "function totals.when.Added(view, e)\n"
                                  "  for i = 1, 5000 do view.total = view.total + 1 end\n"
                                  "  view.total = view.total + e.amount\n"
                                  "end\n";

/* Stopped (not killed) again and again in the middle of a split build: what was folded out of turn is on disk
 * then, and must not count as somebody else's partition when the build goes on. */
static void a_split_build_goes_on_after_a_stop(void **state)
{
    const char *data = folder("data");
    struct buf live = build_many_live(data);
    for (int round = 0; round < 8; round++) {
        remove_views(data);
        write_limits(50, 100000);
        for (int stop = 0; stop < 3; stop++) {
            struct hub *hub = open_hub(data, 1, 4);
            struct view_info info;
            uint64_t wanted = info_of(hub, "bank/totals").new_position + 150 + 70 * (unsigned)round;
            int64_t until_ns = clock_monotonic_ns() + 2000000000LL; /* settle tells of one that hangs */
            do info = info_of(hub, "bank/totals");
            while (info.rebuilding && info.new_position < wanted && clock_monotonic_ns() < until_ns);
            hub_close(hub);
        }
        struct hub *hub = open_hub(data, 1, 4);
        settle(hub);
        expect_dump(hub, &live);
        hub_close(hub);
    }
    buf_release(&live);
}

/* Killed in the middle of a rebuild in partitions, it goes on where it was, and ends at the same. */
static void goes_on_after_a_kill(void **state)
{
    const char *data = folder("data");
    write_script("bank/totals.lua", slow_totals);
    struct hub *hub = open_hub(data, 1, 2);
    feed_history(hub, 0, 6000);
    settle(hub);
    struct buf live = dump(hub);
    hub_close(hub);
    int going_on = 0;
    /* Where a kill falls is chance: six are made in any case, and more until two fell into the middle. */
    for (int kill = 0; kill < 6 || (going_on < 2 && kill < 60); kill++) {
        int kill_at = kill % 6;
        char path[300];
        snprintf(path, sizeof path, "%s/views", data);
        if (kill_at % 2 == 0) remove_folder(path);
        pid_t child = fork();
        if (child == 0) {
            struct view_info info;
            hub = open_hub(data, 1, 2);
            do info = info_of(hub, "bank/totals");
            while (info.rebuilding && info.new_position < 500u + 500u * (unsigned)kill_at);
            _exit(9); /* nothing is closed or flushed; the kernel keeps what was written, as with kill -9 */
        }
        assert_int_equal(waitpid(child, NULL, 0), child);
        hub = open_hub(data, 1, 2);
        for (size_t at = 0; at < hub_view_count(hub); at++) {
            struct view_info info;
            hub_view_info(hub, at, &info);
            going_on += info.rebuilding && info.new_position > 0;
        }
        settle(hub);
        expect_dump(hub, &live);
        hub_close(hub);
    }
    assert_true(going_on >= 2); /* else nothing was interrupted */
    buf_release(&live);
}

/* Commands arrive while a view is rebuilt: at the end it is what it would be without. */
static void rebuilds_while_the_log_grows(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 2, 2);
    feed_history(hub, 0, 1000);
    for (int at = 1000; at < 3000; at += 200) {
        if (at % 400 == 0) assert_int_equal(hub_rebuild(hub, slice_of("totals"), &test_fault), 0);
        if (at % 600 == 0) assert_int_equal(hub_rebuild(hub, slice_of("by_amount"), &test_fault), 0);
        feed_history(hub, at, at + 200);
    }
    settle(hub);
    struct buf grown = dump(hub);
    hub_close(hub);
    char path[300];
    snprintf(path, sizeof path, "%s/views", data);
    remove_folder(path);
    hub = open_hub(data, 1, 1);
    settle(hub);
    expect_dump(hub, &grown);
    hub_close(hub);
    buf_release(&grown);
}

static void a_view_of_another_log_is_rebuilt(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 1, 1);
    feed_history(hub, 0, 200);
    settle(hub);
    hub_close(hub);
    char path[300];
    snprintf(path, sizeof path, "%s/log", data);
    remove_folder(path);
    /* Without any log a hub does not open: its events are gone, and that must not go unseen. */
    struct hub_options refused = {.scripts = folder("scripts"), .data = data, .shards = 1, .projectors = 1};
    assert_int_equal(hub_open(&refused, &hub, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(test_fault.text, "log is gone"));
    /* The log of another hub. */
    const char *other = folder("other");
    hub_close(open_hub(other, 1, 1));
    char from[300];
    snprintf(from, sizeof from, "%s/log", other);
    assert_int_equal(rename(from, path), 0);
    remove_folder(other);
    snprintf(path, sizeof path, "%s/index", data);
    remove_folder(path);
    hub = open_hub(data, 1, 1);
    feed_history(hub, 0, 300);
    settle(hub);
    struct buf text = view_text(hub, "totals", "main");
    hub_close(hub);
    remove_folder(data);
    hub = open_hub(data, 1, 1);
    feed_history(hub, 0, 300);
    settle(hub);
    struct buf clean = view_text(hub, "totals", "main");
    assert_string_equal(text.data, clean.data);
    buf_release(&text);
    buf_release(&clean);
    hub_close(hub);
}

/* A log restored from a backup grew past what the views had seen, with other events. */
static void a_view_of_the_log_before_a_restore_is_rebuilt(void **state)
{
    char data[100], text[400];
    snprintf(data, sizeof data, "%s", folder("data"));
    for (int way = 0; way < 2; way++) { /* whole views; one interrupted in the middle of its partitions */
        struct hub *hub = open_hub(data, 1, 1);
        feed_history(hub, 0, 300);
        settle(hub);
        hub_close(hub);
        snprintf(text, sizeof text, "cp -r %s/log %s/backup", data, data);
        assert_int_equal(system(text), 0);
        hub = open_hub(data, 1, 1);
        history_streams = 900;
        feed_history(hub, 300, 2400);
        settle(hub);
        hub_close(hub);
        if (way == 1) {
            remove_views(data);
            pid_t child = fork();
            if (child == 0) {
                if (fault_points_arm("views.write@20=kill", &test_fault) < 0) _exit(1);
                settle(open_hub(data, 1, 1));
                _exit(0);
            }
            assert_int_equal(waitpid(child, NULL, 0), child);
        }
        snprintf(text, sizeof text, "cd %s && rm -r log index snapshots && mv backup log", data);
        assert_int_equal(system(text), 0);
        hub = open_hub(data, 1, -1);
        history_streams = 700;
        feed_history(hub, 300, 2600);
        hub_close(hub);
        hub = open_hub(data, 1, 1);
        settle(hub);
        struct buf found = dump(hub);
        hub_close(hub);
        remove_views(data);
        hub = open_hub(data, 1, 1);
        settle(hub);
        expect_dump(hub, &found);
        hub_close(hub);
        buf_release(&found);
        remove_folder(data);
    }
}

/* Changes bytes of a file wherever they are. */
static size_t damage(const char *path, const char *from, const char *to)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file), count = 0;
    char *bytes = malloc(size);
    rewind(file);
    assert_int_equal(fread(bytes, 1, size, file), size);
    for (char *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), from, strlen(from))); at++, count++)
        memcpy(at, to, strlen(to));
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    free(bytes);
    return count;
}

/* A document whose checksum is wrong is not folded on: the view is built anew. */
static void damaged_documents_are_rebuilt(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 1, 1);
    feed_history(hub, 0, 600);
    settle(hub);
    hub_close(hub);
    char path[400];
    struct dirent *entry;
    snprintf(path, sizeof path, "%s/views", data);
    DIR *directory = opendir(path);
    while ((entry = readdir(directory)))
        if (strncmp(entry->d_name, "bank.totals@", 12) == 0) {
            snprintf(path, sizeof path, "%s/views/%s/data.mdb", data, entry->d_name);
            assert_true(damage(path,
                               "\xa5"
                               "count",
                               "\xa5"
                               "cOunt") > 10);
        }
    closedir(directory);
    hub = open_hub(data, 1, 1);
    feed_history(hub, 600, 700);
    settle(hub);
    for (int wait = 0; info_of(hub, "bank/totals").generation != 2 && wait < 100; wait++) settle(hub);
    assert_int_equal(info_of(hub, "bank/totals").generation, 2);
    struct buf mended = dump(hub);
    hub_close(hub);
    snprintf(path, sizeof path, "%s/views", data);
    remove_folder(path);
    hub = open_hub(data, 1, 1);
    settle(hub);
    expect_dump(hub, &mended);
    hub_close(hub);
    buf_release(&mended);
}

/* A child runs the hub; here it is opened to look only, meanwhile and afterwards. */
static void reads_beside_a_running_hub(void **state)
{
    const char *data = folder("data");
    int ready[2], go[2];
    char byte = 0;
    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        struct hub *running = open_hub(data, 1, 1);
        feed_history(running, 0, 100);
        settle(running);
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
        hub_close(running);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct hub *reader = open_hub_with((struct hub_options){.data = data, .read_only = true});
    struct buf live = dump(reader);
    assert_true(live.size > 500);
    assert_int_equal(position_for(reader, "totals", "main"), 100);
    struct command *command = command_of("a", "Add", "{'amount':1}", NULL);
    assert_int_equal(hub_submit(reader, command, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_UNAVAILABLE);
    answered(command);
    forget(command);
    assert_string_equal(state_of(reader, "nobody"), "not_found");
    assert_string_not_equal(state_of(reader, "s1"), "not_found");
    hub_close(reader);
    assert_int_equal(write(go[1], &byte, 1), 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int at = 0; at < 2; at++) {
        close(ready[at]);
        close(go[at]);
    }
    reader = open_hub_with((struct hub_options){.data = data, .read_only = true});
    expect_dump(reader, &live);
    hub_close(reader);
    buf_release(&live);
}

/* A hub is killed, or busy, between making the directory of a generation and its file: who only looks passes
 * over it, and the next start begins anew. */
static void a_reader_passes_over_what_was_just_begun(void **state)
{
    char path[300];
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 1, 1);
    feed_history(hub, 0, 100);
    settle(hub);
    struct buf live = dump(hub);
    hub_close(hub);
    snprintf(path, sizeof path, "%s/views/bank.totals@0123456789abcdef.2", data);
    assert_int_equal(mkdir(path, 0777), 0);
    hub = open_hub_with((struct hub_options){.data = data, .read_only = true});
    expect_dump(hub, &live);
    hub_close(hub);
    hub = open_hub(data, 1, 1);
    settle(hub);
    expect_dump(hub, &live);
    hub_close(hub);
    buf_release(&live);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, setup_views, teardown)
    const struct CMUnitTest tests[] = {
        {"follows_live (memory)", follows_live, setup_views, teardown, NULL},
        {"follows_live (lmdb)", follows_live, setup_views, teardown, (void *)1},
        ONE(rests_unless_somebody_waits),
        ONE(rebuilt_equals_live),
        ONE(an_edit_rebuilds_and_says_why),
        ONE(rebuilds_by_hand),
        ONE(parks_and_stops_alike),
        ONE(split_equals_live),
        ONE(a_build_outlives_a_failing_disk),
        ONE(a_split_build_goes_on_after_a_kill),
        ONE(a_split_build_goes_on_after_a_stop),
        ONE(goes_on_after_a_kill),
        ONE(rebuilds_while_the_log_grows),
        ONE(a_view_of_another_log_is_rebuilt),
        ONE(a_view_of_the_log_before_a_restore_is_rebuilt),
        ONE(damaged_documents_are_rebuilt),
        ONE(reads_beside_a_running_hub),
        ONE(a_reader_passes_over_what_was_just_begun),
        ONE(a_build_outlives_any_failed_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

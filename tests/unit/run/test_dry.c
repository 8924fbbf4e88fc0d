/* What a command would do, told before it is sent: it is what then happens, and telling it does nothing. */
#include "run_support.h"

#include "codec/mp.h"
#include "run/dry.h"
#include "run/inside.h"
#include "run/release.h"

static const char receptors[] =
    "local relay = receptor 'relay'\n"
    "function relay.when.Added(e, m)\n"
    "  if e.amount == 13 then error('unlucky') end\n"
    "  if m.id == 'log' or m.id == 'close' then return end\n"
    "  if e.amount >= 10 then send.account('log', Add { amount = 1 }) end\n"
    "  if e.amount >= 20 then send.account('close', Touch {}, { after = '1h', key = m.id }) end\n"
    "  if e.amount < 0 then cancel.account('close', m.id) end\n"
    "end\n";
static const char by_key[] = "local seen = projection 'seen' { key = function(e, m)\n"
                             "    if e.amount % 5 == 0 then return nil end\n"
                             "    return { m.id, 'k' .. e.amount % 3 }\n"
                             "  end, initial = { n = 0 } }\n"
                             "function seen.when.Added(view, e, m)\n"
                             "  if e.amount == 7 then error('seven') end\n"
                             "  view.n, view.position, view.version = view.n + 1, m.position, m.version\n"
                             "end\n";

/* --- asking --- */

struct asked {
    struct hub *hub;
    struct visit visit;
    struct domain *domain;
    struct release *release;
};

static struct asked ask_begin(struct hub *hub)
{
    struct asked asked = {.hub = hub};
    asked.release = release_enter(hub, &asked.visit);
    assert_int_equal(release_domain(asked.release, &asked.domain, &test_fault), 0);
    domain_thread_start();
    return asked;
}

static void ask_end(struct asked *asked)
{
    domain_thread_stop();
    domain_close(asked->domain);
    release_leave(&asked->visit);
}

/* The answer as MessagePack, in arena; empty: test_fault says why not. */
static struct slice dry_of(const struct asked *asked, const char *id, const char *type, const char *json,
                           struct arena *arena)
{
    struct dry_item item = {slice_of(type), arena_json(arena, json)};
    struct dry_question question = {.hub = asked->hub,
                                    .release = asked->release,
                                    .domain = asked->domain,
                                    .tenant = slice_of("main"),
                                    .context = slice_of("bank"),
                                    .aggregate = slice_of("account"),
                                    .id = slice_of(id),
                                    .items = &item,
                                    .count = 1};
    struct buf text = {0}, mp = {0};
    if (dry_run(&question, &text, &test_fault) < 0) return SLICE_NONE;
    if (json_to_mp(buf_slice(&text), &mp, &test_fault) < 0)
        fail_msg("%s: %.*s", test_fault.text, SLICE_ARGS(buf_slice(&text)));
    struct slice kept = arena_copy(arena, buf_slice(&mp));
    buf_release(&text);
    buf_release(&mp);
    return kept;
}

static struct slice member(struct slice of, const char *name)
{
    struct slice value;
    return mp_find(of, slice_of(name), &value) ? value : SLICE_NONE;
}

static struct slice text_of(struct slice of, const char *name)
{
    struct slice bytes = member(of, name);
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    return bytes.size && mp_read(&reader, &value) == 0 && value.kind == MP_TEXT ? value.text : SLICE_NONE;
}

static uint32_t list_of(struct slice of, const char *name, struct mp_reader *reader)
{
    struct mp_value value;
    *reader = mp_reader_of(member(of, name));
    assert_int_equal(mp_read(reader, &value), 0);
    assert_int_equal(value.kind, MP_LIST);
    return value.count;
}

static struct slice next_of(struct mp_reader *reader)
{
    const uint8_t *at = reader->at;
    assert_int_equal(mp_skip(reader), 0);
    return slice_make((const char *)at, (size_t)(reader->at - at));
}

/* A member as JSON with ' for ". */
static const char *shown(struct slice of, const char *name)
{
    static char text[4096];
    struct buf json = {0};
    assert_int_equal(json_from_mp(member(of, name), &json, &test_fault), 0);
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(buf_slice(&json)));
    for (char *at = text; *at; at++)
        if (*at == '"') *at = '\'';
    buf_release(&json);
    return text;
}

/* --- what it tells --- */

static struct hub *open_bank(const char *data)
{
    write_script("bank/totals.lua", test_totals);
    write_script("bank/by_amount.lua", test_by_amount);
    write_script("bank/seen.lua", by_key);
    write_script("bank/receptors.lua", receptors);
    return open_hub_with((struct hub_options){.data = data, .shards = 2, .projectors = 1, .schedule = true});
}

static void tells_what_follows(void **state)
{
    struct hub *hub = open_bank(folder("data"));
    struct arena arena = {0};
    expect(hub, "a", "Add", "{'amount':4}", FAULT_NONE);
    struct asked asked = ask_begin(hub);
    struct slice told = dry_of(&asked, "a", "Add", "{'amount':22}", &arena);
    assert_string_equal(shown(told, "stream"), "'bank/account/a'");
    assert_string_equal(shown(told, "version"), "1");
    assert_non_null(strstr(shown(told, "events"), "'data':{'amount':22}"));
    assert_string_equal(
        shown(told, "documents"),
        "[{'after':{'n':1},'key':'22','view':'bank/by_amount'},"
        "{'after':{'n':2,'position':2,'version':2},'before':{'n':1,'position':1,'version':1},'key':'a','view'"
        ":'bank/seen'},"
        "{'after':{'n':2,'position':2,'version':2},'before':{'n':1,'position':1,'version':1},'key':'k1','"
        "view':'bank/seen'},"
        "{'after':{'count':2,'total':26},'before':{'count':1,'total':4},'key':'a','view':'bank/totals'}]");
    const char *sends = shown(told, "sends");
    assert_non_null(strstr(sends, "'to':'bank/account/log','type':'Add'"));
    assert_non_null(strstr(sends, "'key':'a','to':'bank/account/close','type':'Touch'"));
    assert_string_equal(shown(told, "failures"), "[]");
    told = dry_of(&asked, "a", "Add", "{'amount':-2}", &arena);
    assert_non_null(
        strstr(shown(told, "sends"), "'cancel':true,'event':1,'key':'a','to':'bank/account/close'"));
    told = dry_of(&asked, "a", "Close", "{}", &arena);
    assert_string_equal(shown(told, "documents"),
                        "[{'before':{'count':1,'total':4},'key':'a','view':'bank/totals'}]");
    ask_end(&asked);
    expect_log(hub, "a:Added:1 ");
    hub_close(hub);
    arena_release(&arena);
}

static void tells_refusals(void **state)
{
    struct hub *hub = open_bank(NULL);
    struct arena arena = {0};
    struct asked asked = ask_begin(hub);
    struct slice told = dry_of(&asked, "a", "Add", "{'amount':-1}", &arena);
    assert_string_equal(shown(told, "rejected"), "{'code':'poor','message':'only 0 left'}");
    assert_string_equal(shown(told, "events"), "[]");
    assert_int_equal(dry_of(&asked, "a", "Add", "{'amount':'x'}", &arena).size, 0);
    assert_int_equal(test_fault.code, FAULT_CONTRACT);
    assert_int_equal(dry_of(&asked, "a", "Fly", "{}", &arena).size, 0);
    assert_int_equal(test_fault.code, FAULT_UNKNOWN_COMMAND);
    assert_int_equal(dry_of(&asked, "a", "Break", "{}", &arena).size, 0);
    assert_int_equal(test_fault.code, FAULT_SCRIPT);
    told = dry_of(&asked, "a", "Add", "{'amount':1}", &arena); /* what failed before left nothing behind */
    assert_non_null(strstr(shown(told, "events"), "'version':1"));
    ask_end(&asked);
    assert_int_equal(engine_head(hub_engine(hub)).outcomes, 0);
    hub_close(hub);
    arena_release(&arena);
}

static void tells_what_would_fail(void **state)
{
    struct hub *hub = open_bank(folder("data"));
    struct arena arena = {0};
    struct asked asked = ask_begin(hub);
    struct slice told = dry_of(&asked, "a", "Add", "{'amount':7}", &arena);
    assert_non_null(strstr(shown(told, "failures"), "'in':'bank/seen','key':'a'"));
    assert_non_null(strstr(shown(told, "failures"), "seven"));
    assert_null(strstr(shown(told, "documents"), "bank/seen"));
    assert_non_null(strstr(shown(told, "documents"), "bank/totals"));
    told = dry_of(&asked, "a", "Add", "{'amount':13}", &arena);
    assert_non_null(strstr(shown(told, "failures"), "'in':'bank/relay'"));
    expect(hub, "a", "Add", "{'amount':7}", FAULT_NONE); /* parks a and k1 */
    settle(hub);
    told = dry_of(&asked, "a", "Add", "{'amount':2}", &arena);
    assert_null(strstr(shown(told, "documents"), "'key':'a','view':'bank/seen'"));
    assert_non_null(strstr(shown(told, "documents"), "'key':'k2','view':'bank/seen'"));
    assert_string_equal(shown(told, "failures"), "[]");
    ask_end(&asked);
    hub_close(hub);
    arena_release(&arena);
}

/* --- what then happens --- */

static uint64_t seed;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static unsigned lines_that_differ(const char *before, const char *after)
{
    unsigned count = 0;
    for (const char *at = after; *at; at = strchr(at, '\n') + 1) {
        char line[256] = "\n";
        size_t size = (size_t)(strchr(at, '\n') - at) + 1;
        assert_true(size < sizeof line - 2);
        memcpy(line + 1, at, size);
        line[size + 1] = 0;
        const char *found = strstr(before, line + 1);
        while (found && found != before && found[-1] != '\n') found = strstr(found + 1, line + 1);
        count += found == NULL;
    }
    return count;
}

static const char *const views[] = {"bank/totals", "bank/by_amount", "bank/seen"};

/* Each document that was told is there now as told, and no others changed. */
static void check_documents(struct hub *hub, struct slice told, struct buf before[3], struct buf after[3])
{
    struct mp_reader reader;
    unsigned changed[3] = {0}, removed = 0;
    for (uint32_t left = list_of(told, "documents", &reader); left; left--) {
        struct slice document = next_of(&reader);
        size_t view = 0;
        while (!slice_is(text_of(document, "view"), views[view])) view++;
        struct view_lease lease;
        struct buf now = {0};
        assert_int_equal(hub_view_lease(hub, slice_of(views[view]), &lease, &test_fault), 0);
        docs_get(lease.docs, slice_of("main"), text_of(document, "key"), &now, &test_fault);
        hub_view_release(hub, &lease);
        struct slice expected = member(document, "after");
        assert_true(slice_equal(buf_slice(&now), expected));
        buf_release(&now);
        if (expected.size)
            changed[view]++;
        else
            removed++;
    }
    for (int view = 0; view < 3; view++)
        assert_int_equal(lines_that_differ(before[view].data, after[view].data), changed[view]);
    assert_in_range(removed, 0, 1); /* only totals removes */
    assert_int_equal(lines_that_differ(after[0].data, before[0].data) >= removed, true);
}

static void check_events(struct hub *hub, struct slice told, uint64_t head)
{
    struct engine_cursor *cursor;
    struct record record;
    struct mp_reader reader;
    uint32_t left = list_of(told, "events", &reader);
    assert_int_equal(engine_read(hub_engine(hub), head + 1, &cursor, &test_fault), 0);
    while (left && engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (left && record_next_event(&record, &event)) {
            struct slice expected = next_of(&reader);
            assert_true(slice_equal(text_of(expected, "type"), names_get(record.names, event.type)));
            assert_true(slice_equal(member(expected, "data"), event.data));
            left--;
        }
    }
    engine_cursor_close(cursor);
    assert_int_equal(left, 0);
}

/* Without the receptor, so that nothing else happens meanwhile. */
static void tells_what_then_happens(void **state)
{
    write_script("bank/totals.lua", test_totals);
    write_script("bank/by_amount.lua", test_by_amount);
    write_script("bank/seen.lua", by_key);
    struct hub *hub = open_hub(folder("data"), 2, 1);
    struct asked asked = ask_begin(hub);
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    unsigned accepted = 0, rejected = 0, failed = 0;
    /* What is drawn is chance: more, until each kind was met. */
    for (int round = 0; round < 400 || (round < 8000 && !(accepted > 100 && rejected > 20 && failed > 0));
         round++) {
        static const char *const types[] = {"Open", "Add", "Add", "Add", "Split", "Close", "Touch", "Deny"};
        struct arena arena = {0};
        char id[8], data[64];
        snprintf(id, sizeof id, "s%u", any(12));
        const char *type = types[any(8)];
        unsigned amount = any(30);
        if (strcmp(type, "Open") == 0) snprintf(data, sizeof data, "{'owner':'n%u'}", amount);
        if (strcmp(type, "Add") == 0) snprintf(data, sizeof data, "{'amount':%d}", (int)amount - 6);
        if (strcmp(type, "Split") == 0)
            snprintf(data, sizeof data, "{'amount':%u,'parts':%u}", amount, any(4));
        if (strcmp(type, "Deny") == 0) snprintf(data, sizeof data, "{'code':'no%u'}", amount);
        if (strcmp(type, "Close") == 0 || strcmp(type, "Touch") == 0) snprintf(data, sizeof data, "{}");
        uint64_t head = engine_head(hub_engine(hub)).position;
        bool looks = any(4) == 0; /* else views lag behind when the next one is asked */
        struct buf before[3], after[3];
        if (looks) settle(hub);
        for (int view = 0; looks && view < 3; view++) before[view] = view_text(hub, views[view], "main");
        struct slice told = dry_of(&asked, id, type, data, &arena);
        assert_true(told.size > 0);
        assert_int_equal(engine_head(hub_engine(hub)).position, head);
        struct command *command = run(hub, command_of(id, type, data, NULL));
        struct mp_reader reader;
        failed += list_of(told, "failures", &reader) > 0;
        if (command->fault.code == FAULT_REJECTED) {
            assert_true(slice_is(text_of(member(told, "rejected"), "code"), command->fault.reason));
            rejected++;
        } else {
            assert_int_equal(command->fault.code, FAULT_NONE);
            assert_int_equal(member(told, "rejected").size, 0);
            check_events(hub, told, head);
            accepted++;
        }
        forget(command);
        if (looks) {
            settle(hub);
            for (int view = 0; view < 3; view++) after[view] = view_text(hub, views[view], "main");
            check_documents(hub, told, before, after);
            for (int view = 0; view < 3; view++) {
                buf_release(&before[view]);
                buf_release(&after[view]);
            }
        }
        arena_release(&arena);
    }
    assert_true(accepted > 100 && rejected > 20 && failed > 0);
    ask_end(&asked);
    hub_close(hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_what_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_what_would_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_what_then_happens, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Projections: documents folded from events, compared with what they must be; fast and exact mode, one and
 * several partitions. */
#include "base/map.h"
#include "unit/vm/domain_support.h"

static const char contracts[] = "contracts [[\n"
                                "  Created!  (amount: decimal, place: any?, note: string?, who: string?)\n"
                                "  Paid!2    (amount: integer, by: string)\n"
                                "  Dropped!\n"
                                "  Told!     (what: string, n: integer?, data: any?)\n"
                                "]]\n"
                                "function upcast.Paid.v1(e, m)\n"
                                "  if e.amount == 13 then error('unlucky') end\n"
                                "  e.by = 'old ' .. m.type_version return e\n"
                                "end\n";

static const char cases[] =
    "local cases = projection 'cases' { initial = { n = 0, list = list {} }, index = { 'n' } }\n"
    "function cases.when.Created(view, e, m)\n"
    "  view.amount, view.at, view.note, view.seen = e.amount, m.at, e.note, m.position\n"
    "end\n"
    "function cases.when.Paid(view, e) view.n = view.n + e.amount view.by = e.by end\n"
    "function cases.when.Dropped() return false end\n"
    "function cases.when.Told(view, e, m)\n"
    "  local what = e.what\n"
    "  if what == 'loop' then while true do end end\n"
    "  if what == 'error' then view.n = -1 error('told to') end\n"
    "  if what == 'return' then return 7 end\n"
    "  if what == 'true' then return true end\n"
    "  if what == 'function' then view.f = print end\n"
    "  if what == 'keep e' then view.e = e end\n"
    "  if what == 'read kept' and view.e then view.got = view.e.n view.e = nil end\n"
    "  if what == 'read kept other' and view.e then view.got = view.e.data view.e = nil end\n"
    "  if what == 'pairs' then local all = {} for k, v in pairs(e) do all[#all + 1] = k end view.keys = "
    "table.concat(all, ',') end\n"
    "  if what == 'next' then local k = next(e) local count = 0 while k do count = count + 1 k = next(e, k) "
    "end view.count = count end\n"
    "  if what == 'rawget' then view.raw = rawget(e, 'n') end\n"
    "  if what == 'change e' then e.n = nil view.n = e.n == nil and 1 or 2 e.n = 5 view.m = e.n e.extra = 1 "
    "view.x = e.extra end\n"
    "  if what == 'alias' then view.a, view.b = e.data, e.data end\n"
    "  if what == 'touch alias' and view.a then view.a[1] = 'x' end\n"
    "  if what == 'hole' then view.list[3] = 1 end\n"
    "  if what == 'm' then view.m = m end\n"
    "  if what == 'absent' then view.absent = tostring(e.n) end\n"
    "  if what == 'append' then table.insert(view.list, e.n) end\n"
    "end\n";

static const char shared_cases[] = "local people = projection 'people' {\n"
                                   "  key = function(e, m)\n"
                                   "    if e.by == 'nobody' then return nil end\n"
                                   "    if e.by == 'both' then return { 'a', 'b', 'a' } end\n"
                                   "    if e.by == 'two' then return 'b', 7 end\n"
                                   "    if e.by == 'error' then error('no key') end\n"
                                   "    if e.by == 'float' then return 1.5 end\n"
                                   "    if e.by == 'empty' then return '' end\n"
                                   "    e.amount = 1000\n"
                                   "    return e.by\n"
                                   "  end,\n"
                                   "}\n"
                                   "function people.when.Paid(view, e, m)\n"
                                   "  if e.amount == 66 and view.bad then error('bad ' .. m.id) end\n"
                                   "  if e.amount == 5 then view.bad = true end\n"
                                   "  view.sum = (view.sum or 0) + e.amount\n"
                                   "  e.amount = 7\n"
                                   "end\n";

static const char totals[] =
    "local totals = projection 'totals' { key = false }\n"
    "function totals.when.Paid(docs, e, m)\n"
    "  docs:update(m.at:sub(1, 7), { count = 0, sum = 0 }, function(t)\n"
    "    t.count = t.count + 1 t.sum = t.sum + e.amount\n"
    "  end)\n"
    "  if e.by == 'type' then docs:update('types', {}, function(t) t[#t + 1] = m.type end) end\n"
    "end\n"
    "function totals.when.Told(docs, e, m)\n"
    "  local what = e.what\n"
    "  if what == 'type' then docs:update('types', {}, function(t) t[#t + 1] = m.type end) end\n"
    "  if what == 'put' then local d = { n = e.n, deep = { 1 } } docs:put('p', d) d.deep[1] = 2 end\n"
    "  if what == 'put e' then docs:put('e', e) end\n"
    "  if what == 'put in e' then docs:put('e', { inner = e }) end\n"
    "  if what == 'get' then local d = docs:get('p') d.deep[1] = 3 docs:put('q', { nothing = "
    "docs:get('none') == nil, was = d.deep[1], is = docs:get('p').deep[1] }) end\n"
    "  if what == 'remove' then docs:remove('p') end\n"
    "  if what == 'update false' then docs:update('p', {}, function() return false end) end\n"
    "  if what == 'update true' then docs:update('p', {}, function() return true end) end\n"
    "  if what == 'integer' then docs:put(-42, { k = 1 }) end\n"
    "  if what == 'error' then docs:put('z', { a = 1 }) docs:remove('p') docs:update('y', {}, function(t) "
    "t.a = 1 end) error('told to') end\n"
    "  if what == 'share' then docs:update('s1', {}, function(t) t.d = e.data end) docs:update('s2', {}, "
    "function(t) t.d = e.data end) end\n"
    "  if what == 'touch share' then docs:update('s1', {}, function(t) t.d[1] = 'x' end) end\n"
    "  if what == 'get many' then for n = 1, e.n do docs:get(n) end end\n"
    "  if what == 'bad key' then docs:get({}) end\n"
    "  if what == 'dot' then docs.get('p') end\n"
    "  if what == 'not plain' then docs:update('p', {}, function(t) t.f = function() end end) end\n"
    "  if what == 'nested' then docs:update('p', {}, function(t) docs:put('p', { put = true }) t.lost = 1 "
    "end) end\n"
    "  if what == 'return' then return {} end\n"
    "end\n";

static const char *const scripts[] = {
    "shop/contracts.lua", contracts,         "shop/cases.lua", cases, "shop/people.lua",
    shared_cases,         "shop/totals.lua", totals,           NULL};

/* The stored documents: an array of key and value, sorted when looked at. */
struct row {
    char key[300];
    struct buf value;
};

struct shop {
    struct domain *domain;
    struct drafts *drafts;
    struct row rows[400];
    size_t row_count;
    bool load_fails, put_fails;
    enum drafts_failure failure;
    struct buf failing_key;
    uint64_t position;
    char last_key[300];
    int loads;
};

static struct row *row_of(struct shop *shop, struct slice key)
{
    for (size_t at = 0; at < shop->row_count; at++)
        if (slice_is(key, shop->rows[at].key)) return &shop->rows[at];
    return NULL;
}

static int load(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    struct shop *shop = user;
    shop->loads++;
    if (shop->load_fails) return fault_set(fault, FAULT_DISK, "no disk");
    struct row *row = row_of(shop, key);
    if (!row || row->value.size == 0) return 0;
    buf_put_slice(out, buf_slice(&row->value));
    return 1;
}

static int put(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct shop *shop = user;
    if (shop->put_fails) return fault_set(fault, FAULT_DISK, "disk full");
    if (slice_compare(slice_of(shop->last_key), key) >= 0 && shop->last_key[0]) fail_msg("not in key order");
    snprintf(shop->last_key, sizeof shop->last_key, "%.*s", SLICE_ARGS(key));
    struct row *row = row_of(shop, key);
    if (!row) {
        row = &shop->rows[shop->row_count++];
        snprintf(row->key, sizeof row->key, "%.*s", SLICE_ARGS(key));
    }
    buf_clear(&row->value);
    buf_put_slice(&row->value, value);
    return 0;
}

static void shop_drafts(struct shop *shop, const char *projection, const char *from, const char *to,
                        size_t size_max)
{
    struct drafts_options options = {.projection = domain_find_projection(shop->domain, slice_of(projection)),
                                     .tenant = slice_of("main"),
                                     .from = slice_of(from),
                                     .to = slice_of(to),
                                     .load = load,
                                     .user = shop,
                                     .size_max = size_max};
    assert_int_not_equal(options.projection, -1);
    shop->drafts = drafts_new(shop->domain, &options);
}

static struct shop *open_shop(const char *projection)
{
    struct shop *shop = MEM_NEW(struct shop);
    shop->domain = open_domain(scripts);
    shop_drafts(shop, projection, "", "", 0);
    return shop;
}

static void close_shop(struct shop *shop)
{
    drafts_free(shop->drafts);
    for (size_t at = 0; at < shop->row_count; at++) buf_release(&shop->rows[at].value);
    buf_release(&shop->failing_key);
    close_domain(shop->domain);
    mem_free(shop);
}

static int fold_at(struct shop *shop, uint64_t position, const char *id, const char *type, uint32_t version,
                   const char *json)
{
    struct envelope envelope = envelope_of("shop", "thing", id, type);
    envelope.type_version = version;
    envelope.position = position;
    envelope.version = 1;
    envelope.recorded_ms = envelope.at_ms;
    int handler = drafts_handler(shop->drafts, envelope.context, envelope.type);
    assert_int_not_equal(handler, -1);
    return drafts_fold(shop->drafts, handler, &envelope, mp_of(json), &shop->failure, &shop->failing_key,
                       &test_fault);
}

static int fold(struct shop *shop, const char *id, const char *type, uint32_t version, const char *json)
{
    return fold_at(shop, ++shop->position, id, type, version, json);
}

static void folded(struct shop *shop, const char *id, const char *type, uint32_t version, const char *json)
{
    if (fold(shop, id, type, version, json) < 0) fail_msg("%s %s: %s", type, json, test_fault.text);
}

static int flush(struct shop *shop)
{
    shop->last_key[0] = 0;
    return drafts_flush(shop->drafts, put, shop, &shop->failure, &shop->failing_key, &test_fault);
}

static void flushed(struct shop *shop)
{
    if (flush(shop) < 0) fail_msg("%s", test_fault.text);
    assert_int_equal(drafts_dirty(shop->drafts), 0);
}

static const char *document(struct shop *shop, const char *key)
{
    struct row *row = row_of(shop, slice_of(key));
    if (!row) return "never";
    return row->value.size ? json_of(buf_slice(&row->value)) : "removed";
}

static void keyed_documents(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/cases");
        domain_set_exact(shop->domain, exact);
        folded(shop, "a", "Created", 1, "{'amount':'1.20','note':'n','who':'w'}");
        folded(shop, "b", "Created", 1, "{'amount':'2'}");
        folded(shop, "a", "Paid", 2, "{'amount':5,'by':'x'}");
        assert_int_equal(drafts_dirty(shop->drafts), 2);
        flushed(shop);
        assert_string_equal(document(shop, "a"), "{'amount':'1.20','at':'2026-01-01T00:00:00.000Z','by':'x',"
                                                 "'list':[],'n':5,'note':'n','seen':1}");
        assert_string_equal(document(shop, "b"),
                            "{'amount':'2','at':'2026-01-01T00:00:00.000Z','list':[],'n':0,'seen':2}");
        folded(shop, "a", "Paid", 1, "{'amount':2}");
        folded(shop, "b", "Dropped", 1, "{}");
        folded(shop, "c", "Dropped", 1, "{}");
        flushed(shop);
        assert_text_has(document(shop, "a"), "'by':'old 1'");
        assert_text_has(document(shop, "a"), "'n':7");
        assert_string_equal(document(shop, "b"), "removed");
        /* Removed, then there again: from initial. Read back from the store: as it was left. */
        folded(shop, "b", "Told", 1, "{'what':'append','n':1}");
        flushed(shop);
        drafts_drop(shop->drafts);
        folded(shop, "b", "Told", 1, "{'what':'append','n':2}");
        flushed(shop);
        assert_string_equal(document(shop, "b"), "{'list':[1,2],'n':0}");
        close_shop(shop);
    }
}

static void fast_mode_asks_for_repetition(void **unused)
{
    static const char *const whats[] = {"error", "return", "true",   "loop", "function",
                                        "hole",  "m",      "keep e", NULL};
    for (const char *const *what = whats; *what; what++) {
        struct shop *shop = open_shop("shop/cases");
        char json[100];
        snprintf(json, sizeof json, "{'what':'%s'}", *what);
        assert_int_equal(fold(shop, "a", "Told", 1, json), -1);
        assert_int_equal(shop->failure, DRAFTS_REPEAT);
        close_shop(shop);
    }
}

static void a_failing_handler_parks_its_key(void **unused)
{
    static const char *const wrongs[][2] = {{"error", "shop/cases.lua:10: told to"},
                                            {"return", "it returned a number"},
                                            {"true", "it returned true"},
                                            {"loop", "instructions"},
                                            {"function", "document.f: a function is no plain data"},
                                            {"hole", "document.list: a list with holes"},
                                            {"m", "document.m"}};
    for (size_t at = 0; at < sizeof wrongs / sizeof *wrongs; at++) {
        struct shop *shop = open_shop("shop/cases");
        domain_set_exact(shop->domain, true);
        folded(shop, "a", "Told", 1, "{'what':'append','n':1}");
        folded(shop, "b", "Told", 1, "{'what':'append','n':1}");
        flushed(shop);
        char json[100];
        snprintf(json, sizeof json, "{'what':'%s'}", wrongs[at][0]);
        for (int fresh = 0; fresh < 2; fresh++) {
            const char *key = fresh ? "new" : "a";
            assert_int_equal(fold(shop, key, "Told", 1, json), -1);
            assert_int_equal(shop->failure, DRAFTS_KEY);
            assert_true(slice_is(buf_slice(&shop->failing_key), key));
            assert_text_has(test_fault.text, wrongs[at][1]);
            assert_text_has(test_fault.text, "shop/cases.lua:");
            drafts_park(shop->drafts, slice_of(key));
            /* The same event again does no harm, and later ones are counted. */
            assert_int_equal(fold_at(shop, shop->position, key, "Told", 1, json), 0);
            folded(shop, key, "Told", 1, "{'what':'append','n':2}");
            folded(shop, key, "Told", 1, "{'what':'append','n':2}");
            assert_int_equal(drafts_skipped(shop->drafts, slice_of(key)), 2);
            assert_int_equal(drafts_skipped(shop->drafts, slice_of(key)), 0);
        }
        folded(shop, "b", "Told", 1, "{'what':'append','n':2}");
        flushed(shop);
        assert_string_equal(document(shop, "a"), "{'list':[1],'n':0}");
        assert_string_equal(document(shop, "b"), "{'list':[1,2],'n':0}");
        assert_string_equal(document(shop, "new"), "never");
        close_shop(shop);
    }
}

/* Whatever a handler does with e, fast and exact mode agree (fast repeated exactly where it asks for it). */
static void lazy_events_are_like_tables(void **unused)
{
    static const char *const events[] = {
        "{'what':'absent'}",
        "{'what':'absent','n':3}",
        "{'what':'absent'}",
        "{'what':'pairs','n':1,'data':[1]}",
        "{'what':'absent','n':4}",
        "{'what':'change e','n':9}",
        "{'what':'absent','n':5}",
        "{'what':'keep e','n':1,'data':{'d':[]}}",
        "{'what':'read kept','n':100}",
        "{'what':'keep e','n':1,'data':[8]}",
        "{'what':'read kept other','data':[9]}",
        "{'what':'next','n':1,'data':2}",
        "{'what':'rawget','n':77}",
        "{'what':'alias','data':[1,[2]]}",
        "{'what':'touch alias'}",
        "{'what':'keep e','n':2}",
    };
    size_t count = sizeof events / sizeof *events;
    for (size_t first = 0; first < count; first++) {
        const char *results[2];
        struct shop *shops[2];
        for (int exact = 0; exact < 2; exact++) {
            struct shop *shop = shops[exact] = MEM_NEW(struct shop);
            shop->domain = exact ? shops[0]->domain : open_domain(scripts);
            shop_drafts(shop, "shop/cases", "", "", 0);
            domain_set_exact(shop->domain, exact);
            for (int round = 0; round < 2; round++) {
                bool good = true;
                /* e.n read first by one handler call so that the mask is not empty in the second round */
                for (size_t at = first; at < count && good; at++)
                    good = fold(shop, "a", "Told", 1, events[at]) == 0;
                if (good) good = flush(shop) == 0;
                if (!good) {
                    assert_false(exact);
                    assert_int_equal(shop->failure, DRAFTS_REPEAT);
                    drafts_drop(shop->drafts);
                    domain_set_exact(shop->domain, true);
                    for (size_t at = first; at < count; at++) folded(shop, "a", "Told", 1, events[at]);
                    flushed(shop);
                    domain_set_exact(shop->domain, exact);
                }
            }
            results[exact] = document(shop, "a");
        }
        domain_set_exact(shops[0]->domain, false);
        assert_string_equal(results[0], results[1]);
        if (first == 0) {
            assert_text_has(results[1], "'keys':'data,n,what'");
            assert_text_has(results[1], "'count':3");
            assert_text_has(results[1], "'raw':77");
            assert_text_has(results[1], "'got':[8]");
            assert_text_has(results[1], "'a':['x',[2]]");
            assert_text_has(results[1], "'b':[1,[2]]");
            assert_text_has(results[1], "'e':{'n':2,'what':'keep e'}");
        }
        drafts_free(shops[1]->drafts);
        for (size_t at = 0; at < shops[1]->row_count; at++) buf_release(&shops[1]->rows[at].value);
        buf_release(&shops[1]->failing_key);
        mem_free(shops[1]);
        close_shop(shops[0]);
    }
}

/* The words that look behind a metatable see all fields from the first event on. */
static void no_word_sees_the_laziness(void **unused)
{
    static const char *const whats[][2] = {
        {"next", "'count':3"}, {"rawget", "'raw':7"}, {"pairs", "'keys':'data,n,what'"}};
    for (size_t at = 0; at < 3; at++) {
        struct shop *shop = open_shop("shop/cases");
        char json[100];
        snprintf(json, sizeof json, "{'what':'%s','n':7,'data':1}", whats[at][0]);
        folded(shop, "a", "Told", 1, json);
        flushed(shop);
        assert_text_has(document(shop, "a"), whats[at][1]);
        close_shop(shop);
    }
}

static void keys_of_a_function(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/people");
        domain_set_exact(shop->domain, exact);
        folded(shop, "x", "Paid", 2, "{'amount':1,'by':'both'}");
        folded(shop, "x", "Paid", 2, "{'amount':2,'by':'nobody'}");
        folded(shop, "x", "Paid", 2, "{'amount':3,'by':'two'}");
        folded(shop, "x", "Paid", 2, "{'amount':4,'by':'c'}");
        flushed(shop);
        assert_int_equal(shop->row_count, 4);
        assert_string_equal(document(shop, "a"), "{'sum':1}");
        assert_string_equal(document(shop, "b"), "{'sum':4}");
        assert_string_equal(document(shop, "7"), "{'sum':3}");
        assert_string_equal(document(shop, "c"), "{'sum':4}");
        static const char *const wrongs[][2] = {{"error", "no key"},
                                                {"float", "a key of shop/people must be"},
                                                {"empty", "a key of shop/people must be"}};
        for (size_t at = 0; at < 3; at++) {
            char json[100];
            snprintf(json, sizeof json, "{'amount':1,'by':'%s'}", wrongs[at][0]);
            assert_int_equal(fold(shop, "x", "Paid", 2, json), -1);
            assert_int_equal(shop->failure, exact ? DRAFTS_STOPPED : DRAFTS_REPEAT);
            assert_text_has(test_fault.text, wrongs[at][1]);
            assert_text_has(test_fault.text, "shop/people.lua:");
        }
        assert_int_equal(fold(shop, "x", "Paid", 1, "{'amount':13}"), -1);
        assert_int_equal(shop->failure, exact ? DRAFTS_STOPPED : DRAFTS_REPEAT);
        assert_text_has(test_fault.text, "unlucky");
        close_shop(shop);
    }
}

static void an_upcaster_stops_also_with_the_default_key(void **unused)
{
    struct shop *shop = open_shop("shop/cases");
    domain_set_exact(shop->domain, true);
    assert_int_equal(fold(shop, "x", "Paid", 1, "{'amount':13}"), -1);
    assert_int_equal(shop->failure, DRAFTS_STOPPED);
    flushed(shop);
    assert_int_equal(shop->row_count, 0);
    close_shop(shop);
}

/* Of one event's keys two fail: both are told, the third is folded, whether the caller folds the event again
 * or goes on. */
static void several_keys_of_one_event_fail(void **unused)
{
    for (int again = 0; again < 2; again++) {
        struct shop *shop = open_shop("shop/people");
        domain_set_exact(shop->domain, true);
        folded(shop, "x", "Paid", 2, "{'amount':5,'by':'both'}"); /* a and b turn bad */
        assert_int_equal(fold(shop, "x", "Paid", 2, "{'amount':66,'by':'both'}"), -1);
        assert_int_equal(shop->failure, DRAFTS_KEY);
        assert_true(slice_is(buf_slice(&shop->failing_key), "a"));
        drafts_park(shop->drafts, slice_of("a"));
        if (again)
            assert_int_equal(fold_at(shop, shop->position, "x", "Paid", 2, "{'amount':66,'by':'both'}"), -1);
        else
            assert_int_equal(fold(shop, "x", "Paid", 2, "{'amount':1,'by':'c'}"), -1);
        assert_int_equal(shop->failure, DRAFTS_KEY);
        assert_true(slice_is(buf_slice(&shop->failing_key), "b"));
        if (again) folded(shop, "x", "Paid", 2, "{'amount':1,'by':'c'}");
        folded(shop, "x", "Paid", 2, "{'amount':1,'by':'both'}");
        assert_int_equal(drafts_skipped(shop->drafts, slice_of("a")), 1);
        assert_int_equal(drafts_skipped(shop->drafts, slice_of("b")), 1);
        flushed(shop);
        assert_string_equal(document(shop, "a"), "{'bad':true,'sum':5}");
        assert_string_equal(document(shop, "b"), "{'bad':true,'sum':5}");
        assert_string_equal(document(shop, "c"), "{'sum':1}");
        close_shop(shop);
    }
}

static void free_style(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/totals");
        domain_set_exact(shop->domain, exact);
        for (int at = 0; at < 5; at++) folded(shop, "x", "Paid", 2, "{'amount':3,'by':'y'}");
        folded(shop, "x", "Told", 1, "{'what':'put','n':1}");
        folded(shop, "x", "Told", 1, "{'what':'get'}");
        folded(shop, "x", "Told", 1, "{'what':'integer'}");
        folded(shop, "x", "Told", 1, "{'what':'put e','n':1,'data':{'x':[]}}");
        flushed(shop);
        assert_string_equal(document(shop, "2026-01"), "{'count':5,'sum':15}");
        assert_string_equal(document(shop, "p"), "{'deep':[1],'n':1}");
        assert_string_equal(document(shop, "q"), "{'is':1,'nothing':true,'was':3}");
        assert_string_equal(document(shop, "-42"), "{'k':1}");
        assert_string_equal(document(shop, "e"), "{'data':{'x':[]},'n':1,'what':'put e'}");
        folded(shop, "x", "Told", 1, "{'what':'put in e','n':2}");
        folded(shop, "x", "Told", 1, "{'what':'remove'}");
        flushed(shop);
        assert_string_equal(document(shop, "e"), "{'inner':{'n':2,'what':'put in e'}}");
        assert_string_equal(document(shop, "p"), "removed");
        folded(shop, "x", "Told", 1, "{'what':'put','n':1}");
        folded(shop, "x", "Told", 1, "{'what':'update false'}");
        folded(shop, "x", "Told", 1, "{'what':'nested'}");
        flushed(shop);
        assert_string_equal(document(shop, "p"), "{'put':true}");
        drafts_drop(shop->drafts);
        folded(shop, "x", "Paid", 2, "{'amount':3,'by':'y'}");
        flushed(shop);
        assert_string_equal(document(shop, "2026-01"), "{'count':6,'sum':18}");
        close_shop(shop);
    }
}

static void m_has_the_type_of_each_event(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/totals");
        domain_set_exact(shop->domain, exact);
        for (int at = 0; at < 2; at++) {
            folded(shop, "x", "Told", 1, "{'what':'type'}");
            folded(shop, "x", "Paid", 2, "{'amount':3,'by':'type'}");
        }
        flushed(shop);
        assert_string_equal(document(shop, "types"), "['Told','Paid','Told','Paid']");
        close_shop(shop);
    }
}

/* The document asked for last is known without looking: not any more once it was forgotten. */
static void the_last_document_may_be_forgotten(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/totals");
        drafts_free(shop->drafts);
        shop_drafts(shop, "shop/totals", "", "", 1);
        domain_set_exact(shop->domain, exact);
        for (int round = 1; round <= 4; round++) {
            folded(shop, "x", "Told", 1, "{'what':'put','n':1}");
            folded(shop, "x", "Paid", 2, "{'amount':3,'by':'y'}");
            folded(shop, "x", "Told", 1, "{'what':'type'}");
            flushed(shop);
            if (round == 2) drafts_drop(shop->drafts);
            folded(shop, "x", "Told", 1, "{'what':'type'}");
        }
        flushed(shop);
        assert_string_equal(document(shop, "2026-01"), "{'count':4,'sum':12}");
        assert_string_equal(document(shop, "types"),
                            "['Told','Told','Told','Told','Told','Told','Told','Told']");
        assert_true(shop->loads > 6); /* it was really forgotten */
        close_shop(shop);
    }
}

static void a_failing_free_handler_changes_nothing(void **unused)
{
    static const char *const wrongs[][2] = {{"error", "told to"},
                                            {"update true", "must return nothing or false"},
                                            {"bad key", "the key of docs:get must be"},
                                            {"dot", "with a colon"},
                                            {"not plain", "'p': document.f: a function is no plain data"},
                                            {"return", "it returned a table"}};
    struct shop *shop = open_shop("shop/totals");
    domain_set_exact(shop->domain, true);
    folded(shop, "x", "Told", 1, "{'what':'put','n':1}");
    flushed(shop);
    for (size_t at = 0; at < sizeof wrongs / sizeof *wrongs; at++) {
        char json[100];
        snprintf(json, sizeof json, "{'what':'%s'}", wrongs[at][0]);
        assert_int_equal(fold(shop, "x", "Told", 1, json), -1);
        assert_int_equal(shop->failure, DRAFTS_STOPPED);
        assert_text_has(test_fault.text, wrongs[at][1]);
        assert_text_has(test_fault.text, "shop/totals.lua:");
        flushed(shop);
        assert_string_equal(document(shop, "p"), "{'deep':[1],'n':1}");
        assert_true(row_of(shop, slice_of("z")) == NULL || strcmp(document(shop, "z"), "removed") == 0);
        assert_true(row_of(shop, slice_of("y")) == NULL || strcmp(document(shop, "y"), "removed") == 0);
    }
    close_shop(shop);
}

/* Each document that is asked for is remembered, and maybe read from disk, also where there is none. */
static void asking_for_documents_is_no_free_work(void **unused)
{
    struct shop *shop = open_shop("shop/totals");
    domain_set_exact(shop->domain, true);
    folded(shop, "x", "Told", 1, "{'what':'get many','n':10000}");
    assert_int_equal(fold(shop, "x", "Told", 1, "{'what':'get many','n':600000}"), -1);
    assert_int_equal(shop->failure, DRAFTS_STOPPED);
    assert_int_equal(test_fault.code, FAULT_BUDGET);
    assert_true(shop->loads > 100000 && shop->loads < 300000);
    close_shop(shop);
}

static void shared_tables_are_taken_apart(void **unused)
{
    struct shop *shop = open_shop("shop/totals");
    for (int round = 0; round < 2; round++) { /* fast and exactly */
        domain_set_exact(shop->domain, round == 1);
        folded(shop, "x", "Told", 1, "{'what':'share','data':['d']}");
        folded(shop, "x", "Told", 1, "{'what':'touch share'}");
        flushed(shop);
        assert_string_equal(document(shop, "s1"), "{'d':['x']}");
        assert_string_equal(document(shop, "s2"), "{'d':['d']}");
    }
    close_shop(shop);
}

/* A pseudo-random log folded in 1 and in 4 parts, with small caches and flushes in between, gives the same
 * documents. */
static void partitions_and_caches_change_nothing(void **unused)
{
    static const char *const cuts[6][2] = {{"", "k1"}, {"k1", "k12"}, {"k12", "k3"},
                                           {"k3", ""}, {"", ""},      {"", ""}};
    struct shop *shops[6];
    struct domain *domain = open_domain(scripts);
    for (uint32_t at = 0; at < 6; at++) {
        shops[at] = MEM_NEW(struct shop);
        shops[at]->domain = domain;
        shop_drafts(shops[at], "shop/people", cuts[at][0], cuts[at][1], at == 4 ? 3 : 0);
    }
    unsigned seed = 42;
    for (int event = 0; event < 2000; event++) {
        seed = seed * 1103515245 + 12345;
        char json[100];
        snprintf(json, sizeof json, "{'amount':%u,'by':'%s%u'}", 70 + (seed >> 8) % 100,
                 (seed >> 16) % 7 == 0 ? "both" : "k", (seed >> 20) % 40);
        if ((seed >> 16) % 7 == 0) snprintf(json, sizeof json, "{'amount':70,'by':'both'}");
        struct slice data = mp_of(json);
        for (int at = 0; at < 6; at++) {
            struct shop *shop = shops[at];
            struct envelope envelope = envelope_of("shop", "thing", "x", "Paid");
            envelope.type_version = 2;
            envelope.position = (uint64_t)event + 1;
            domain_set_exact(domain, at == 5);
            if (drafts_fold(shop->drafts, 0, &envelope, data, &shop->failure, NULL, &test_fault) < 0)
                fail_msg("%s", test_fault.text);
            if (at != 5 && event % 37 == at) flushed(shop);
        }
    }
    size_t rows = 0;
    for (int at = 0; at < 6; at++) {
        domain_set_exact(domain, at == 5);
        flushed(shops[at]);
        if (at < 4) rows += shops[at]->row_count;
    }
    assert_int_equal(rows, shops[4]->row_count);
    assert_int_equal(rows, 42);
    assert_true(shops[4]->loads > 500); /* its cache was really too small */
    for (size_t row = 0; row < shops[5]->row_count; row++) {
        const char *key = shops[5]->rows[row].key;
        const char *expected = document(shops[5], key);
        assert_string_equal(document(shops[4], key), expected);
        int found = 0;
        for (int at = 0; at < 4; at++) {
            if (!row_of(shops[at], slice_of(key))) continue;
            found++;
            assert_string_equal(document(shops[at], key), expected);
        }
        assert_int_equal(found, 1);
    }
    for (int at = 0; at < 6; at++) {
        drafts_free(shops[at]->drafts);
        for (size_t row = 0; row < shops[at]->row_count; row++) buf_release(&shops[at]->rows[row].value);
        buf_release(&shops[at]->failing_key);
        mem_free(shops[at]);
    }
    close_domain(domain);
}

static void the_store_may_fail(void **unused)
{
    for (int exact = 0; exact < 2; exact++) {
        struct shop *shop = open_shop("shop/cases");
        domain_set_exact(shop->domain, exact);
        shop->load_fails = true;
        assert_int_equal(fold(shop, "a", "Told", 1, "{'what':'append','n':1}"), -1);
        assert_int_equal(shop->failure, DRAFTS_NONE);
        assert_int_equal(test_fault.code, FAULT_DISK);
        shop->load_fails = false;
        folded(shop, "a", "Told", 1, "{'what':'append','n':1}");
        shop->put_fails = true;
        assert_int_equal(flush(shop), -1);
        assert_int_equal(shop->failure, DRAFTS_NONE);
        assert_int_equal(test_fault.code, FAULT_DISK);
        assert_int_equal(drafts_dirty(shop->drafts), 1);
        shop->put_fails = false;
        flushed(shop);
        assert_string_equal(document(shop, "a"), "{'list':[1],'n':0}");
        close_shop(shop);
    }
}

static int start(void **unused)
{
    domain_thread_start();
    return 0;
}

static int stop(void **unused)
{
    domain_thread_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keyed_documents),
        cmocka_unit_test(fast_mode_asks_for_repetition),
        cmocka_unit_test(a_failing_handler_parks_its_key),
        cmocka_unit_test(lazy_events_are_like_tables),
        cmocka_unit_test(no_word_sees_the_laziness),
        cmocka_unit_test(keys_of_a_function),
        cmocka_unit_test(an_upcaster_stops_also_with_the_default_key),
        cmocka_unit_test(several_keys_of_one_event_fail),
        cmocka_unit_test(free_style),
        cmocka_unit_test(m_has_the_type_of_each_event),
        cmocka_unit_test(the_last_document_may_be_forgotten),
        cmocka_unit_test(a_failing_free_handler_changes_nothing),
        cmocka_unit_test(asking_for_documents_is_no_free_work),
        cmocka_unit_test(shared_tables_are_taken_apart),
        cmocka_unit_test(partitions_and_caches_change_nothing),
        cmocka_unit_test(the_store_may_fail),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

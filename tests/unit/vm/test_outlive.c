/* Nothing outlives a call: each trick tries to count calls or to hand what one tenant sent to the next. It
 * runs in a fresh Lua state and in one that another tenant's calls have used; what it makes is the same, or
 * it is refused in the same words. */
#include "domain_support.h"

static const char contracts[] = "contracts [[\n  Keep? (text: string)\n  Kept! (text: string)\n]]\n";
static const char module[] = "local m = { n = 0, box = {} } function m.count() return m.n end return m\n";

/* What the trick says of a text is the state, and what a command decides. */
static void make_script(const char *before, const char *body, struct buf *script)
{
    buf_format(
        script,
        "%s\n"
        "local thing = aggregate 'thing'\n"
        "local function trick(state, e, m, text) %s end\n"
        "function thing.apply.Kept(state, e, m) state.made = tostring(trick(state, e, m, e.text)) end\n"
        "function thing.execute.Keep(state, c, m) return Kept { text = tostring(trick(state, c, m, c.text)) "
        "} end\n"
        "local view = projection 'view'\n"
        "function view.when.Kept(state, e, m) state.made = tostring(trick(state, e, m, e.text)) end\n",
        before, body);
    buf_put_byte(script, 0);
}

/* What one text makes of a new stream: its state after an apply, the events that a command decides; or the
 * fault. */
static void run_once(struct domain *domain, const char *tenant, const char *text, struct buf *out)
{
    char json[128];
    struct fault fault = {0};
    struct arena arena = {0};
    struct decision decision = {0};
    bool touched = false;
    snprintf(json, sizeof json, "{'text':'%s'}", text);
    struct domain_state *state = domain_state_new(domain, 0);
    struct envelope envelope = envelope_of("shop", "thing", "1", "Kept");
    envelope.tenant = slice_of(tenant);
    if (domain_apply(domain, state, &envelope, mp_of(json), &fault) < 0 ||
        domain_state_encode(domain, state, out, &fault) < 0)
        buf_format(out, "%s", fault.text);
    domain_state_free(domain, state);
    state = domain_state_new(domain, 0);
    envelope.type = slice_of("Keep");
    if (domain_execute(domain, state, &envelope, mp_of(json), false, &arena, &decision, &touched, &fault) < 0)
        buf_format(out, " %s", fault.text);
    for (size_t at = 0; at < decision.event_count; at++) buf_put_slice(out, decision.events[at].data);
    domain_state_free(domain, state);
    arena_release(&arena);
}

struct kept {
    struct buf *out;
};

static int put_document(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct kept *kept = user;
    buf_put_slice(kept->out, key);
    buf_put_slice(kept->out, value);
    return 0;
}

static int load_nothing(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    return 0;
}

static void run_view(struct domain *domain, const char *tenant, const char *text, struct buf *out)
{
    struct drafts_options options = {.tenant = slice_of(tenant), .load = load_nothing, .size_max = 100};
    struct drafts *drafts = drafts_new(domain, &options);
    struct envelope envelope = envelope_of("shop", "thing", "1", "Kept");
    enum drafts_failure failure = DRAFTS_NONE;
    struct fault fault = {0};
    struct buf key = {0};
    struct kept kept = {out};
    char json[128];
    snprintf(json, sizeof json, "{'text':'%s'}", text);
    envelope.tenant = slice_of(tenant);
    envelope.position = 1;
    domain_set_exact(domain, true);
    int handler = drafts_handler(drafts, slice_of("shop"), slice_of("Kept"));
    if (drafts_fold(drafts, handler, &envelope, mp_of(json), &failure, &key, &fault) < 0 ||
        drafts_flush(drafts, put_document, &kept, &failure, &key, &fault) < 0)
        buf_format(out, " %s", fault.text);
    domain_set_exact(domain, false);
    drafts_free(drafts);
    buf_release(&key);
}

/* NULL: the scripts are refused. */
static struct domain *open_trick(const char *script)
{
    const char *const scripts[] = {
        "shop/contracts.lua", contracts, "shop/box.lua", module, "shop/thing.lua", script, NULL};
    struct domain_options options = {0};
    struct domain *domain = NULL;
    struct buf errors = {0};
    options.sources = test_sources = sources_of(scripts);
    if (domain_open(&options, &domain, &errors, &test_fault) < 0) assert_true(errors.size > 0);
    buf_release(&errors);
    return domain;
}

static void close_trick(struct domain *domain)
{
    if (domain) domain_close(domain);
    sources_free(test_sources);
    test_sources = NULL;
}

/* Whether the scripts were loaded. */
static bool same_in_both(const char *before, const char *body)
{
    struct buf script = {0}, fresh = {0}, used = {0};
    make_script(before, body, &script);
    bool loaded = false;
    for (int times = 0; times <= 3; times += 3) {
        struct domain *domain = open_trick(script.data);
        loaded = domain != NULL;
        if (domain) {
            struct buf ignored = {0};
            for (int at = 0; at < times; at++) {
                run_once(domain, "acme", "secret", &ignored);
                run_view(domain, "acme", "secret", &ignored);
            }
            run_once(domain, "main", "mine", times ? &used : &fresh);
            run_view(domain, "main", "mine", times ? &used : &fresh);
            buf_release(&ignored);
        }
        close_trick(domain);
    }
    if (!slice_equal(buf_slice(&fresh), buf_slice(&used)))
        fail_msg("%s\nfresh: %.*s\nused:  %.*s", script.data, SLICE_ARGS(buf_slice(&fresh)),
                 SLICE_ARGS(buf_slice(&used)));
    if (loaded) assert_true(fresh.size > 0);
    buf_release(&script);
    buf_release(&fresh);
    buf_release(&used);
    return loaded;
}

/* Everything that two calls could reach, times every way to leave something there. */
static void nothing_is_left_behind(void **state)
{
    static const char *const places[] = {"box",
                                         "box.inner",
                                         "string",
                                         "table",
                                         "math",
                                         "utf8",
                                         "time",
                                         "thing",
                                         "thing.apply",
                                         "thing.execute",
                                         "view",
                                         "view.when",
                                         "Kept",
                                         "trick",
                                         "getmetatable('')",
                                         "getmetatable('').__index",
                                         "getmetatable(decimal '1')",
                                         "getmetatable(m)",
                                         "getmetatable(e)",
                                         "getmetatable(state)",
                                         "getmetatable(box)",
                                         "getmetatable(list {})",
                                         "getmetatable(string)",
                                         "getmetatable(thing)",
                                         "m",
                                         "e",
                                         "require 'box'",
                                         "(require 'box').box",
                                         "_ENV",
                                         "_G",
                                         "decimal",
                                         "list",
                                         "days",
                                         "emit",
                                         "contracts",
                                         "upcast",
                                         "pairs",
                                         "select(2, pcall(error))"};
    static const char *const ways[] = {"c.k = text",
                                       "rawset(c, 'k', text)",
                                       "c.k = (c.k or '') .. text",
                                       "table.insert(c, text)",
                                       "c[1] = text",
                                       "c[#c + 1] = text",
                                       "setmetatable(c, { __index = { k = text } })",
                                       "setmetatable(c, { __index = function() return text end })",
                                       "getmetatable(c).k = text",
                                       "getmetatable(c).__index = function() return text end",
                                       "getmetatable(c).__metatable = text",
                                       "table.move({ text }, 1, 1, 1, c)",
                                       "table.sort(c, function() c.k = text end)",
                                       "for k in pairs(c) do c[k] = text end",
                                       "select(2, next(c)).k = text",
                                       "c.k, c[1] = list { text }, text"};
    int loaded = 0;
    for (size_t place = 0; place < sizeof places / sizeof *places; place++)
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            if (getenv("LORE_TEST_SMALL") && (place + way) % 7) continue;
            char body[512];
            snprintf(body, sizeof body,
                     "local ok, was = pcall(function() local c = %s local k, first, all = c.k, c[1], #c "
                     "pcall(function() %s end) return tostring(k) .. tostring(first) .. tostring(all) end) "
                     "return tostring(ok) .. was",
                     places[place], ways[way]);
            loaded += same_in_both("local box = setmetatable({ inner = {} }, { __index = {} })", body);
        }
    assert_true(loaded > 50); /* the others are refused by name, when they are loaded */
}

static void tricks_of_all_kinds(void **state)
{
    static const struct {
        const char *before, *body;
    } tricks[] = {
        {"local n = 0", "n = n + 1 return n"},
        {"local function counter() local n = 0 return function() n = n + 1 return n end end local c = "
         "counter()",
         "return c()"},
        {"local function pair() local v return function() return v end, function(x) v = x end end local get, "
         "set = pair()",
         "local was = get() set(text) return was"},
        {"local memo = {} local function of(t) memo[t] = (memo[t] or 0) + 1 return memo[t] end",
         "return select(2, pcall(of, text))"},
        {"local memo = setmetatable({}, { __index = function(t, k) rawset(t, k, k) return k end })",
         "local _ = pcall(function() return memo[text] end) local all = '' for k in pairs(memo) do all = all "
         ".. k end return all"},
        {"local each = ('abc'):gmatch('.')", "return each()"},
        {"local step, t = pairs { 1, 2, 3 }", "return step(t)"},
        {"local step, t, at = ipairs { 1, 2, 3 }", "return step(t, at)"},
        {"local step, t = utf8.codes 'abc'", "return step(t, 0)"},
        {"", "local r = '' for i = 1, 3 do local k = i i = i + 1 r = r .. k .. i end return r"},
        {"",
         "local last for w in ('a b c'):gmatch '%a' do last = w if w == 'b' then break end end return last"},
        {"", "for w in ('x' .. text):gmatch '.' do error(w) end"},
        {"", "local t <close> = setmetatable({}, { __close = function() state.closed = text end }) return 1"},
        {"",
         "local r = {} for i = 1, 200 do r[i] = {} end return tostring(r) .. tostring(print) .. tostring(m)"},
        {"", "return string.format('%s %s', {}, function() end)"},
        {"", "return select(2, pcall(error, setmetatable({}, { __tostring = function() return text end })))"},
        {"", "return select(2, xpcall(function() error(text) end, function(x) return x end))"},
        {"local saved", "local was = saved saved = saved or e return was and was.text"},
        {"local saved", "local was = saved saved = saved or m return was and was.tenant"},
        {"local saved", "local was = saved saved = saved or state return was and was.made"},
        {"local saved = {}", "pcall(function() saved[1] = m end) return saved[1] and saved[1].tenant"},
        {"local saved = {}",
         "pcall(function() saved[m] = e end) for k in pairs(saved) do return k.tenant end return 'none'"},
        {"local meta = {} local object = setmetatable({}, meta)",
         "pcall(function() meta.__index = { k = text } end) return object.k"},
        {"local meta = {} meta.__index = meta local class = setmetatable({}, meta)",
         "pcall(function() class.k = text end) return class.k"},
        {"local meta = { __newindex = function(t, k, v) rawset(t, k, v) end } local object = "
         "setmetatable({}, meta)",
         "pcall(function() object.k = text end) return object.k"},
        {"local deep = { { { {} } } }",
         "pcall(function() deep[1][1][1].k = text end) return deep[1][1][1].k"},
        {"local t = {} t.t = t", "pcall(function() t.t.t.k = text end) return t.k"},
        {"local fs = { function() end }",
         "pcall(function() fs[2] = function() return text end end) return #fs"},
        {"local function f(...) return select('#', ...), ... end",
         "local n, x = f(text, nil, nil) return tostring(n) .. x"},
        {"local box = require 'box'", "pcall(function() box.n = box.n + 1 end) return box.count()"},
        {"local box = require 'box'",
         "pcall(function() box.count = function() return text end end) return box.count()"},
        {"thing = 1", "return thing"},
        {"", "new_global = text return new_global"},
        {"", "string.upper = function() return text end return ('a'):upper()"},
        {"",
         "local s = string pcall(function() s.upper = function() return text end end) return ('a'):upper()"},
        {"", "return coroutine and 1"},
        {"", "return collectgarbage 'count'"},
        {"", "return os.time()"},
        {"", "return load 'return 1'"},
        {"local c = coroutine", "return c"},
        {"local t = table.pack(1, 2)", "pcall(table.insert, t, text) return #t"},
        {"local d = decimal '1.5'", "pcall(function() d.k = text end) local ok, k = pcall(function() return "
                                    "d.k end) return tostring(ok)"},
        {"local l = list {}", "pcall(table.insert, l, text) return #l"},
        {"local a, b = {}, {} a.b, b.a = b, a", "pcall(rawset, a.b.a, 'k', text) return a.k"},
        {"local t = setmetatable({}, { __call = function(self, x) pcall(rawset, self, 'k', x) return "
         "rawget(self, 'k') end })",
         "return t(text)"},
        {"local t = setmetatable({}, { __len = function(self) pcall(rawset, self, 1, 1) return rawlen(self) "
         "end })",
         "return #t"},
        {"local t = setmetatable({}, { __eq = function(x, y) pcall(rawset, x, 'n', 1) return rawget(x, 'n') "
         "== 1 end })",
         "return tostring(t == setmetatable({}, getmetatable(t)))"},
        {"local t = setmetatable({}, { __concat = function(x, y) pcall(rawset, x, 1, y) return "
         "tostring(x[1]) end })",
         "return t .. text"},
    };
    for (size_t at = 0; at < sizeof tricks / sizeof *tricks; at++)
        same_in_both(tricks[at].before, tricks[at].body);
}

static int release(void **state)
{
    arena_release(&test_arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(nothing_is_left_behind, release),
                                       cmocka_unit_test_teardown(tricks_of_all_kinds, release)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

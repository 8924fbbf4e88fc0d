/* Services and tasks that do not mean well, or do not know what they do: every one ends, says why, leaves
 * nothing behind and shows no secret. */
#include "unit/vm/run_support.h"

#include "unit/vm/failing_memory.h"
#include "vm/domain_core.h"

static const char *const scripts[] = {
    "mailing/contracts.lua",
    "contracts [[\n Do? (what: string)\n Done! (text: string)\n Note? (text: string) ]]",
    "other/contracts.lua",
    "contracts [[ Foreign! ]]",
    "other/views.lua",
    "local p = projection 'theirs'\nfunction p.when.Foreign() end",
    "mailing/letter.lua",
    "local letter = aggregate 'letter'\n"
    "function letter.execute.Note(s, c)\n"
    "  local tries = { http = function() http.get('http://x') end, env = function() return env.MAIL_KEY "
    "end,\n"
    "    views = function() return views.letters end, clock = function() return clock.now() end,\n"
    "    log = function() log.info('x') end, retry = function() retry('1s') end,\n"
    "    publish = function() publish(Done { text = 'x' }) end }\n"
    "  tries[c.text]()\n"
    "end\n",
    "mailing/letters.lua",
    "local p = projection 'letters' { index = { 'due_on' } }\nfunction p.when.Done() end\n",
    "mailing/mail.lua",
    "local mail = service 'mail'\n"
    "local does = {}\n"
    "does['loop'] = function() while true do end end\n"
    "does['loop later'] = function() http.get('http://x') pcall(function() while true do end end) end\n"
    "does['loop in close'] = function()\n"
    "  local x <close> = setmetatable({}, { __close = function() while true do end end })\n"
    "  http.get('http://x') while true do end end\n"
    "does['requests'] = function() while true do pcall(http.get, 'http://x') end end\n"
    "does['pages'] = function() while true do for _ in views.letters:all() do end end end\n"
    "does['publishes'] = function() while true do for _ in views.letters:all() do\n"
    "  publish(Done { text = ('x'):rep(200000) }) end end end\n"
    "does['pages in sort'] = function()\n"
    "  local n = 0\n"
    "  table.sort({ 3, 2, 1 }, function(a, b) for _ in views.letters:all() do n = n + 1 end return a < b "
    "end)\n"
    "  publish(Done { text = n > 150 and 'all' or 'few' })\n"
    "end\n"
    "does['http in sort'] = function() table.sort({ 2, 1 }, function() http.get('http://x') end) end\n"
    "does['http in meta'] = function() return tostring(setmetatable({}, { __tostring = function()\n"
    "  return http.get('http://x').body end })) end\n"
    "does['http in index'] = function() local t = setmetatable({}, { __index = function()\n"
    "  return http.get('http://x').body end }) publish(Done { text = t.x }) end\n"
    "does['memory'] = function() local t = {} while true do t[#t + 1] = ('x'):rep(100000 + #t) end end\n"
    "does['memory held'] = function()\n"
    "  local t = {} while true do t[#t + 1] = ('x'):rep(1000000 + #t) http.get('http://x') end end\n"
    "does['deep'] = function() local function f() return 1 + f() end f() end\n"
    "does['hold'] = function() local t = ('x'):rep(10000) http.get('http://x') publish(Done { text = t }) "
    "end\n"
    "does['keep some'] = function()\n"
    "  local t = ('x'):rep(600000) http.get('http://x') http.get('http://x')\n"
    "  publish(Done { text = t })\n"
    "end\n"
    "does['drops'] = function()\n"
    "  for n = 1, 100 do local t = ('x'):rep(1000000 + n) http.get('http://x') end\n"
    "end\n"
    "does['sends fail'] = function()\n"
    "  local id = ('x'):rep(200)\n"
    "  while true do\n"
    "    for n = 1, 10000 do pcall(send.letter, id, 5) end\n"
    "    http.get('http://x')\n"
    "  end\n"
    "end\n"
    "does['sends'] = function() while true do send.letter('1', Note { text = 'x' }) end end\n"
    /* secrets */
    "does['secret error'] = function() error('key ' .. env.MAIL_KEY) end\n"
    "does['secret object'] = function() local k = env.MAIL_KEY error(setmetatable({}, { __tostring = "
    "function()\n"
    "  return k end })) end\n"
    "does['secret cut'] = function() error(('x'):rep(2000) .. env.MAIL_KEY .. ('y'):rep(4000)) end\n"
    "does['secret quoted'] = function() send.letter(('long '):rep(9) .. env.MAIL_KEY .. '/', Note { text = "
    "'' })\n"
    "end\n"
    "does['secret url'] = function() http.get('http://x/' .. env.MAIL_KEY) end\n"
    "does['secret reason'] = function() reject(env.PIN, 'pin %s', env.PIN) end\n"
    "does['secret fault'] = function() pcall(error, env.MAIL_KEY) views.letters:get(env.MAIL_KEY .. '\\0') "
    "end\n"
    "does['secret missing'] = function() return env.MAIL_KYE end\n"
    "does['secret dot'] = function() return env[1] end\n"
    "does['secret kept'] = function() env.MAIL_KEY = 1 end\n"
    /* mistakes */
    "does['no url'] = function() http.get('ftp://x') end\n"
    "does['space in url'] = function() http.get('http://x/ y') end\n"
    "does['header line'] = function() http.get('http://x', { headers = { A = 'b\\r\\nC: d' } }) end\n"
    "does['header name'] = function() http.get('http://x', { headers = { ['A: b'] = 'c' } }) end\n"
    "does['header kind'] = function() http.get('http://x', { headers = { A = true } }) end\n"
    "does['headers'] = function() http.get('http://x', { headers = 'A' }) end\n"
    "does['body of get'] = function() http.get('http://x', { json = {} }) end\n"
    "does['two bodies'] = function() http.post('http://x', { json = {}, body = '' }) end\n"
    "does['json'] = function() http.post('http://x', { json = { f = print } }) end\n"
    "does['body'] = function() http.post('http://x', { body = {} }) end\n"
    "does['timeout'] = function() http.post('http://x', { timeout = 5 }) end\n"
    "does['option'] = function() http.post('http://x', { jsn = {} }) end\n"
    "does['options'] = function() http.post('http://x', 7) end\n"
    "does['patch'] = function() http['patch']('http://x') end\n"
    "does['view'] = function() return views['leters'] end\n"
    "does['their view'] = function() return views['theirs'] end\n"
    "does['index'] = function() return views.letters:range('due_no') end\n"
    "does['no index'] = function() return views.letters:range() end\n"
    "does['bound'] = function() return views.letters:range('due_on', {}) end\n"
    "does['key'] = function() return views.letters:get({}) end\n"
    "does['no colon'] = function() return views.letters.get('k7') end\n"
    "does['retry'] = function() retry(10) end\n"
    "does['publish a command'] = function() publish(Note { text = 'x' }) end\n"
    "does['publish'] = function() publish('x') end\n"
    "does['emit'] = function() emit(Done { text = 'x' }) end\n"
    "does['format'] = function() log.info('%d', 'x') end\n"
    "function mail.when.Do(c, m) return does[c.what](c, m) end\n",
    NULL};

struct running {
    struct domain *domain;
    struct test_host test;
    struct envelope envelope;
    struct fault fault;
    size_t requests, pauses;
};

static void open_running(struct running *r, struct domain_options options)
{
    domain_thread_start();
    *r = (struct running){.domain = open_domain_with(options, scripts)};
    open_test_host(&r->test);
    r->envelope = envelope_of("mailing", "mail", "mail", "Do");
    r->envelope.command_id = slice_of("c-1");
}

static void close_running(struct running *r)
{
    close_test_host(&r->test);
    close_domain(r->domain);
    domain_thread_stop();
}

static struct domain_run *start(struct running *r, const char *what)
{
    char json[100];
    struct domain_run *run = NULL;
    snprintf(json, sizeof json, "{'what':'%s'}", what);
    if (domain_service_start(r->domain, 0, &r->envelope, mp_of(json), &r->test.host, &run, &r->fault) < 0)
        fail_msg("%s", r->fault.text);
    return run;
}

/* To the end; requests are answered. text, if given, gets what its first event says. */
static enum domain_run_state run_to_end(struct running *r, const char *what, char text[static 64])
{
    static const struct domain_response answer = {.status = 200};
    struct domain_run *run = start(r, what);
    r->requests = r->pauses = 0;
    enum domain_run_state state = domain_run_step(run, NULL, &r->fault);
    while (state == DOMAIN_RUN_FETCHES || state == DOMAIN_RUN_PAUSES) {
        r->requests += state == DOMAIN_RUN_FETCHES;
        r->pauses += state == DOMAIN_RUN_PAUSES;
        state = domain_run_step(run, state == DOMAIN_RUN_FETCHES ? &answer : NULL, &r->fault);
    }
    const struct domain_output *output = domain_run_output(run);
    if (state == DOMAIN_RUN_DONE && output->event_count > 0)
        snprintf(text, 64, "%s", json_of(output->events[0].data));
    domain_run_free(run);
    return state;
}

static void who_never_ends_is_stopped(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } cases[] = {
        {"loop", "mail.lua:3: used more than 1000000 instructions in one call"},
        {"loop later", "mail.lua:4: used more than 1000000 instructions in one call"},
        {"loop in close", "used more than 1000000 instructions in one call"},
        {"requests", "more than 1000 requests in one run"},
        {"memory", "more than 4 MiB allocated in one call"},
        {"deep", "more than 4 MiB allocated in one call"},
        {"sends", "more than 4 MiB allocated in one call"},
    };
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){.instructions_max = 1000000, .call_memory_max = 4 << 20});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run_to_end(&r, cases[i].what, text), DOMAIN_RUN_FAILED);
        if (r.fault.code != FAULT_BUDGET) fail_msg("%s: %s", cases[i].what, r.fault.text);
        assert_text_has(r.fault.text, cases[i].text);
        assert_text_has(r.fault.text, "mailing/mail.lua:");
        assert_int_equal(run_to_end(&r, "hold", text), DOMAIN_RUN_DONE); /* the state is good */
    }
    close_running(&r);
}

/* Each page is a call of its own; the sum is bounded as well. */
static void who_reads_for_ever_is_stopped(void **state)
{
    (void)state;
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){.instructions_max = 100000});
    assert_int_equal(run_to_end(&r, "pages", text), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_BUDGET);
    assert_text_has(r.fault.text, "mail.lua:");
    assert_text_has(r.fault.text, "used more than 10000000 instructions in one run");
    assert_true(r.pauses > 100);
    close_running(&r);
}

static void what_is_held_counts_against_the_state(void **state)
{
    (void)state;
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){.memory_max = 40 << 20});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_to_end(&r, "memory held", text), DOMAIN_RUN_FAILED);
        assert_int_equal(r.fault.code, FAULT_BUDGET);
        assert_text_has(r.fault.text, "the Lua state needs more than its 40 MiB of memory");
        assert_true(r.requests > 10 && r.requests < 41);
    }
    assert_int_equal(run_to_end(&r, "hold", text), DOMAIN_RUN_DONE);
    close_running(&r);
}

/* Each run has its share: the one that keeps more ends, not whoever comes next. */
static void what_a_run_keeps_is_bounded(void **state)
{
    (void)state;
    static const struct domain_response answer = {.status = 200};
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){.memory_max = 64 << 20, .counts_runs = true});
    struct domain_run *other = start(&r, "keep some");
    assert_int_equal(domain_run_step(other, NULL, &r.fault), DOMAIN_RUN_FETCHES);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_to_end(&r, "memory held", text), DOMAIN_RUN_FAILED);
        assert_int_equal(r.fault.code, FAULT_BUDGET);
        assert_text_has(r.fault.text, "mailing/mail.lua:24: keeps more than 2 MiB while it waits");
        assert_true(r.requests >= 1 && r.requests < 4);
    }
    assert_int_equal(run_to_end(&r, "drops", text), DOMAIN_RUN_DONE); /* garbage is nobody's */
    assert_int_equal(domain_run_step(other, &answer, &r.fault), DOMAIN_RUN_FETCHES);
    assert_int_equal(domain_run_step(other, &answer, &r.fault), DOMAIN_RUN_DONE);
    domain_run_free(other);
    close_running(&r);
}

/* What was copied of a send before it failed stays with the run. */
static void sends_that_fail_are_bounded(void **state)
{
    (void)state;
    struct running r;
    char text[64];
#ifdef __SANITIZE_THREAD__
    skip(); /* 300,000 errors, and it keeps the frames of every longjmp */
#endif
    open_running(&r, (struct domain_options){0});
    assert_int_equal(run_to_end(&r, "sends fail", text), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_BUDGET);
    assert_text_has(r.fault.text, "more than 64 MiB sent and published at once");
    close_running(&r);
}

/* Nor may what waits outside of the state to leave it. */
static void what_is_published_is_bounded(void **state)
{
    (void)state;
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){0});
    assert_int_equal(run_to_end(&r, "publishes", text), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_BUDGET);
    assert_text_has(r.fault.text, "more than 64 MiB sent and published at once");
    close_running(&r);
}

/* Runs that are let go while they wait are collected like anything else. */
static void nothing_leaks(void **state)
{
    (void)state;
    struct running r;
    open_running(&r, (struct domain_options){.memory_max = 16 << 20});
    enum { AT_ONCE = 64 };
    int count = getenv("LORE_TEST_SMALL") ? 2000 : 5000;
    struct domain_run *runs[AT_ONCE] = {NULL};
    for (int i = 0; i < count; i++) {
        domain_run_free(runs[i % AT_ONCE]);
        runs[i % AT_ONCE] = start(&r, "hold");
        if (domain_run_step(runs[i % AT_ONCE], NULL, &r.fault) != DOMAIN_RUN_FETCHES)
            fail_msg("%d: %s", i, r.fault.text);
    }
    for (int i = 0; i < AT_ONCE; i++) domain_run_free(runs[i]);
    close_running(&r);
}

/* Many runs at once do not see each other: each goes on where it waited, in any order. */
static void runs_are_apart(void **state)
{
    (void)state;
    struct running r;
    struct domain_run *runs[8];
    struct domain_response answer = {.status = 200, .body = slice_of("b")};
    open_running(&r, (struct domain_options){0});
    for (size_t i = 0; i < 8; i++) {
        runs[i] = start(&r, i % 2 ? "http in index" : "hold");
        assert_int_equal(domain_run_step(runs[i], NULL, &r.fault), DOMAIN_RUN_FETCHES);
    }
    for (size_t i = 8; i-- > 0;) {
        assert_int_equal(domain_run_step(runs[i], &answer, &r.fault), DOMAIN_RUN_DONE);
        struct slice data = domain_run_output(runs[i])->events[0].data;
        assert_int_equal(data.size < 100, i % 2);
    }
    for (size_t i = 0; i < 8; i++) domain_run_free(runs[i]);
    close_running(&r);
}

static void mistakes_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } cases[] = {
        {"http in sort", "http.get is not possible inside a function that table.sort, gsub or a metamethod"},
        {"http in meta", "http.get is not possible inside a function that table.sort, gsub or a metamethod"},
        {"secret missing", "env.MAIL_KYE: there is no secret of this name"},
        {"secret dot", "write env.NAME"},
        {"secret kept", "env cannot be changed"},
        {"no url", "http.get takes a URL that begins with https:// or http://, got the text 'ftp://x'"},
        {"space in url", "http.get: a space or control character in the URL"},
        {"header line", "http.get: header A must be a text of one line"},
        {"header name", "http.get: a header needs a name such as Accept"},
        {"header kind", "http.get: header A must be a text of one line"},
        {"headers", "http.get: headers must be a table of texts by name"},
        {"body of get", "http.get: a GET request has no body"},
        {"two bodies", "http.post: either json or body, not both"},
        {"json", "json.f: a function is no plain data"},
        {"body", "http.post: body must be a text (or give json), got a table"},
        {"timeout", "http.post: timeout must be a duration such as \"5s\""},
        {"option", "http.post has no option jsn, only json, body, headers and timeout"},
        {"options", "the options of http.post must be a table such as { json = … }"},
        {"patch", "attempt to call a nil value (field 'patch')"},
        {"view", "context mailing has no projection leters: did you mean letters?"},
        {"their view", "context mailing has no projection theirs"},
        {"index", "mailing/letters has no index due_no: did you mean due_on?"},
        {"no index", "write :range(index, min, max)"},
        {"bound", "min of a range is a text, a number, a boolean or a decimal, got a table"},
        {"key", "a key is a text of 1 to 255 bytes or an integer, got a table"},
        {"no colon", "write views.NAME:get(…), with a colon"},
        {"retry", "retry takes a duration such as \"10s\", got a number"},
        {"publish a command", "publish takes an event of its context mailing, not the command mailing.Note"},
        {"publish", "publish takes an event such as Name { … }, got the text 'x'"},
        {"emit", "emit is only possible while a command is executed"},
        {"format", "bad argument #2"},
    };
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (run_to_end(&r, cases[i].what, text) != DOMAIN_RUN_FAILED)
            fail_msg("%s: went well", cases[i].what);
        assert_text_has(r.fault.text, cases[i].text);
        assert_text_has(r.fault.text, "mailing/mail.lua:");
        assert_int_equal(r.fault.code, FAULT_SCRIPT);
    }
    assert_int_equal(run_to_end(&r, "pages in sort", text), DOMAIN_RUN_DONE); /* without pauses */
    assert_string_equal(text, "{'text':'all'}");
    assert_int_equal(r.pauses, 0);
    close_running(&r);
}

static void no_text_shows_a_secret(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } cases[] = {
        {"secret error", "key [env.MAIL_KEY]"},
        {"secret object", "[env.MAIL_KEY]"},
        {"secret cut", "xxx[env.MAIL_KEY]"},
        {"secret quoted", "long [env.MAIL_KEY]"},
        {"secret fault", "got the text '[env.MAIL_KEY]'"},
        {"secret reason", "pin [env.PIN]"},
    };
    struct running r;
    char text[64];
    open_running(&r, (struct domain_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run_to_end(&r, cases[i].what, text), DOMAIN_RUN_FAILED);
        assert_null(strstr(r.fault.text, "s3cr3t"));
        assert_null(strstr(r.fault.text, "4711"));
        assert_text_has(r.fault.text, cases[i].text);
    }
    assert_string_equal(r.fault.reason, "[env.PIN]");
    struct domain_run *run = start(&r, "secret url");
    struct domain_response none = {.error = slice_of("no route to http://x/s3cr3t-and-long-enough")};
    assert_int_equal(domain_run_step(run, NULL, &r.fault), DOMAIN_RUN_FETCHES);
    assert_int_equal(domain_run_step(run, &none, &r.fault), DOMAIN_RUN_FAILED);
    assert_text_has(r.fault.text, "GET http://x/[env.MAIL_KEY]: no route to http://x/[env.MAIL_KEY]");
    domain_run_free(run);
    close_running(&r);
}

/* In an aggregate all of it is refused; so it is at file level, as errors of the load. */
static void the_words_are_for_runs_only(void **state)
{
    (void)state;
    static const char *const words[] = {"http", "env", "views", "clock", "log", "retry"};
    struct running r;
    open_running(&r, (struct domain_options){0});
    for (size_t i = 0; i < 6; i++) {
        struct envelope envelope = envelope_of("mailing", "letter", "7", "Note");
        struct domain_state *letter = domain_state_new(r.domain, 0);
        struct decision decision;
        bool touched;
        char json[64];
        snprintf(json, sizeof json, "{'text':'%s'}", words[i]);
        assert_int_equal(domain_execute(r.domain, letter, &envelope, mp_of(json), false, &test_arena,
                                        &decision, &touched, &r.fault),
                         -1);
        assert_text_has(r.fault.text, "is only possible while a service or task runs");
        assert_text_has(r.fault.text, words[i]);
        domain_state_free(r.domain, letter);
    }
    close_running(&r);
    static const char *const at_load[] = {"local key = env.MAIL_KEY",    "local a = http.get('http://x')",
                                          "local s = send.letter",       "log.info('x')",
                                          "local v = views.letters",     "local now = clock.now()",
                                          "publish(Done { text = 'x' })"};
    for (size_t i = 0; i < 7; i++) {
        const char *const files[] = {"mailing/a.lua", at_load[i], "mailing/contracts.lua", scripts[1], NULL};
        struct sources *sources = sources_of(files);
        struct domain_options options = {.sources = sources};
        struct domain *domain;
        struct buf errors = {0};
        assert_int_equal(domain_open(&options, &domain, &errors, &r.fault), -1);
        assert_text_has(r.fault.text, "mailing/a.lua:1: ");
        assert_text_has(r.fault.text, " is only possible while a ");
        buf_release(&errors);
        sources_free(sources);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const cases[] = {"hold", "http in index", "pages in sort"};
    struct running r;
    open_running(&r, (struct domain_options){0});
    struct domain_response answer = {.status = 200, .body = slice_of("b")};
    r.test.documents = 3;
    for (size_t i = 0; i < 3; i++) {
        bool done = false;
        long count = 0;
        for (; !done; count++) {
            char json[100];
            snprintf(json, sizeof json, "{'what':'%s'}", cases[i]);
            struct slice data = mp_of(json);
            struct domain_run *run = NULL;
            enum domain_run_state end = DOMAIN_RUN_FAILED;
            r.fault = (struct fault){0};
            fail_after(r.domain->vm, count);
            if (domain_service_start(r.domain, 0, &r.envelope, data, &r.test.host, &run, &r.fault) == 0)
                end = domain_run_step(run, NULL, &r.fault);
            if (end == DOMAIN_RUN_FETCHES) end = domain_run_step(run, &answer, &r.fault);
            fail_no_more(r.domain->vm);
            done = !failing.failed;
            if (done != (end == DOMAIN_RUN_DONE)) fail_msg("%s, %ld: %s", cases[i], count, r.fault.text);
            if (!done && r.fault.code != FAULT_BUDGET) fail_msg("%ld: %s", count, r.fault.text);
            domain_run_free(run);
        }
        assert_true(count > 10);
    }
    close_running(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(who_never_ends_is_stopped),
                                              cmocka_unit_test(who_reads_for_ever_is_stopped),
                                              cmocka_unit_test(what_is_held_counts_against_the_state),
                                              cmocka_unit_test(what_a_run_keeps_is_bounded),
                                              cmocka_unit_test(sends_that_fail_are_bounded),
                                              cmocka_unit_test(what_is_published_is_bounded),
                                              cmocka_unit_test(nothing_leaks),
                                              cmocka_unit_test(runs_are_apart),
                                              cmocka_unit_test(mistakes_say_what_is_wrong),
                                              cmocka_unit_test(no_text_shows_a_secret),
                                              cmocka_unit_test(the_words_are_for_runs_only),
                                              cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

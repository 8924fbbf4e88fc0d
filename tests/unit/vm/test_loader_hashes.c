/* Code hashes: what changes them, and above all what does not. */
#include "loader_support.h"

#include "base/arena.h"
#include "base/mem.h"

static const char *const base[] = {
    "billing/bill.lua",
    "local text = require 'text'\n"
    "local bill = aggregate 'bill' { initial = { n = 0 } }\n"
    "function bill.apply.BillCreated(state, e) state.c = text.upper(e.customer) end\n"
    "function bill.execute.CloseBill(state, c) return BillClosed { close_date = c.close_date } end\n",
    "billing/contracts.lua",
    "contracts [[\n"
    "  let who = (customer: string)\n"
    "  BillCreated! (who, start: time)\n"
    "  BillClosed!2 (close_date: time)\n"
    "  CloseBill?   (close_date: time)\n"
    "  Other!       (x: integer)\n"
    "]]\n"
    "local word = 'x'\n"
    "function upcast.BillClosed.v1(e) e.a = 1 return e end\n",
    "billing/open.lua",
    "local open = projection 'open' { index = { 'a', 'b' } } -- a comment\n"
    "function open.when.BillCreated(view, e) view.a = e.customer end\n",
    "billing/closed.lua",
    "local m = require 'pricing'\n"
    "local closed = projection 'closed'\n"
    "function closed.when.BillClosed(view, e) view.price = m.price('it') end\n",
    "billing/pricing.lua",
    "local deep = require 'deep'\nreturn { price = function(n) return deep.x + 1 end }",
    "deep.lua",
    "return { x = 7 }",
    "text.lua",
    "return { upper = function(s) return s end }",
    "security/c.lua",
    "contracts [[ UserRemoved! (id: string) ]]",
    "billing/leaving.lua",
    "local leaving = receptor 'leaving'\n"
    "leaving.when['security.UserRemoved'] = function(e) print(e.id) end",
    "billing/closing.lua",
    "local closing = service 'closing'\nfunction closing.when.CloseBill(c) return nil end",
    "billing/nightly.lua",
    "local nightly = task 'nightly' { cron = '0 3 * * *' }\nfunction nightly.run(now) return nil end",
    NULL};

enum { BILL, CLOSED, OPEN, LEAVING, CLOSING, NIGHTLY, COUNT };

struct codes {
    struct hash of[COUNT];
};

/* The base with text in place of one file, or one file more. */
static struct codes codes_with(const char *path, const char *from, const char *to)
{
    const char *scripts[40];
    size_t count = 0;
    char *edited = NULL;
    bool found = path == NULL;
    for (size_t i = 0; base[i]; i += 2) {
        scripts[count++] = base[i];
        scripts[count] = base[i + 1];
        if (path != NULL && strcmp(path, base[i]) == 0) {
            const char *at = strstr(base[i + 1], from);
            assert_non_null(at);
            size_t size = strlen(base[i + 1]) + strlen(to) + 1;
            edited = mem_alloc(size);
            snprintf(edited, size, "%.*s%s%s", (int)(at - base[i + 1]), base[i + 1], to, at + strlen(from));
            scripts[count] = edited;
            found = true;
        }
        count++;
    }
    if (!found) {
        scripts[count++] = path;
        scripts[count++] = to;
    }
    scripts[count] = NULL;
    struct loaded loaded;
    load_good(&loaded, scripts);
    struct codes codes;
    codes.of[BILL] = loader_aggregate(loaded.loader, 0)->declared.code;
    codes.of[CLOSED] = loader_projection(loaded.loader, 0)->declared.code;
    codes.of[OPEN] = loader_projection(loaded.loader, 1)->declared.code;
    codes.of[LEAVING] = loader_receptor(loaded.loader, 0)->declared.code;
    codes.of[CLOSING] = loader_service(loaded.loader, 0)->declared.code;
    codes.of[NIGHTLY] = loader_task(loaded.loader, 0)->declared.code;
    unload_scripts(&loaded);
    mem_free(edited);
    return codes;
}

enum { B = 1 << BILL, C = 1 << CLOSED, O = 1 << OPEN, R = 1 << LEAVING, S = 1 << CLOSING, T = 1 << NIGHTLY };

struct edit {
    const char *what, *path, *from, *to;
    unsigned changed;
};

static const struct edit edits[] = {
    {"a comment", "billing/open.lua", "-- a comment", "--[[ another\n\n comment ]]", 0},
    {"layout", "billing/open.lua", "view.a = e.customer", "\n  view . a\t=\n e.customer", 0},
    {"quotes", "billing/open.lua", "'open'", "\"\\111pen\"", 0},
    {"a statement", "billing/open.lua", "view.a", "view.b", O},
    {"a string", "billing/closed.lua", "'it'", "'it '", C},
    {"a number", "billing/pricing.lua", "+ 1", "+ 2", C},
    {"an operator", "billing/pricing.lua", "+ 1", "- 1", C},
    {"a module of a module", "deep.lua", "7", "8", C},
    {"a comment in a module", "deep.lua", "7", "7 -- seven\n", 0},
    {"a module of the aggregate", "text.lua", "return s", "return s .. s", B},
    {"an option", "billing/open.lua", "'b' }", "'c' }", O},
    {"the order of indexes is text of the file", "billing/open.lua", "'a', 'b'", "'b', 'a'", O},
    {"initial", "billing/bill.lua", "n = 0", "n = 1", B},
    {"a command's handler: the unit is the file", "billing/bill.lua", "c.close_date", "c.close_date or nil",
     B},
    {"a contract that is handled", "billing/contracts.lua", "start: time", "start: time?", B | O},
    {"a let that is used", "billing/contracts.lua", "customer: string", "customer: any", B | O},
    {"the order of fields", "billing/contracts.lua", "(who, start: time)", "(start: time, who)", 0},
    {"a let by hand", "billing/contracts.lua", "(who, start: time)", "(customer: string, start: time)", 0},
    {"layout of contracts", "billing/contracts.lua", "Other!       (x: integer)",
     "\n Other! (\n x:integer) -- more", 0},
    {"another event's contract", "billing/contracts.lua", "x: integer", "x: integer, y: string", 0},
    {"a command's contract", "billing/contracts.lua", "CloseBill?   (close_date: time)",
     "CloseBill? (close_date: time, y: any?)", S},
    {"one more message", "billing/contracts.lua", "  Other!", "  More?\n  Other!", 0},
    {"an upcaster", "billing/contracts.lua", "e.a = 1", "e.a = 2", C},
    {"beside an upcaster", "billing/contracts.lua", "local word = 'x'", "local word = 'y'", 0},
    {"contracts of another context", "security/c.lua", "id: string", "id: string, more: any", R},
    {"a receptor", "billing/leaving.lua", "e.id", "e.id .. 'x'", R},
    {"a comment of a receptor", "billing/leaving.lua", "print", "--[[ x ]] print", 0},
    {"a service", "billing/closing.lua", "return nil", "return", S},
    {"a task", "billing/nightly.lua", "return nil", "return", T},
    {"when a task runs", "billing/nightly.lua", "0 3", "0 4", T},
    {"one more file", "billing/more.lua", "",
     "local more = projection 'zmore'\nfunction more.when.BillCreated() end", 0},
    {"hub.lua", "hub.lua", "", "return { limits = {} }", 0},
};

static void each_edit_changes_what_depends_on_it(void **state)
{
    struct codes before = codes_with(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct edit edit = edits[i];
        struct codes after = codes_with(edit.path, edit.from, edit.to);
        unsigned changed = 0;
        for (unsigned j = 0; j < COUNT; j++)
            if (!hash_equal(&before.of[j], &after.of[j])) changed |= 1u << j;
        if (changed != edit.changed)
            print_error("%s: changed %u, expected %u\n", edit.what, changed, edit.changed);
        assert_int_equal(changed, edit.changed);
    }
}

static void the_hash_is_the_same_in_every_state(void **state)
{
    struct codes one = codes_with(NULL, NULL, NULL), two = codes_with(NULL, NULL, NULL);
    for (unsigned j = 0; j < COUNT; j++) assert_true(hash_equal(&one.of[j], &two.of[j]));
}

static void the_inputs_have_names(void **state)
{
    struct loaded loaded;
    load_good(&loaded, base);
    const struct loader_projection *closed = loader_projection(loaded.loader, 0);
    static const char *const labels[] = {"billing/closed.lua",
                                         "billing/pricing.lua",
                                         "contract billing.BillClosed",
                                         "deep.lua",
                                         "lore",
                                         "options",
                                         "upcast billing.BillClosed.v1"};
    assert_int_equal(closed->declared.input_count, 7);
    for (size_t i = 0; i < 7; i++) assert_true(slice_is(closed->declared.inputs[i].label, labels[i]));
    unload_scripts(&loaded);
}

/* An upcaster that uses locals of its file depends on the file, and on what the file requires. */
static void an_upcaster_takes_its_helpers_with_it(void **state)
{
    static const char *const helpers[] = {"'unknown'", "'nobody'"}, *const modules[] = {"return 1",
                                                                                        "return 2"};
    struct hash codes[3];
    for (size_t i = 0; i < 3; i++) {
        char text[500];
        snprintf(
            text, sizeof text,
            "contracts [[ A!2 (x: string) ]]\nlocal m = require 'm'\nlocal function helper() return %s end\n"
            "function upcast.A.v1(e) e.x = helper() return e end",
            helpers[i == 1]);
        const char *scripts[] = {"x/c.lua", text,
                                 "x/m.lua", modules[i == 2],
                                 "x/p.lua", "local p = projection 'p' function p.when.A() end",
                                 NULL};
        struct loaded loaded;
        load_good(&loaded, scripts);
        codes[i] = loader_projection(loaded.loader, 0)->declared.code;
        unload_scripts(&loaded);
    }
    assert_false(hash_equal(&codes[0], &codes[1]));
    assert_false(hash_equal(&codes[0], &codes[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_edit_changes_what_depends_on_it),
        cmocka_unit_test(the_hash_is_the_same_in_every_state),
        cmocka_unit_test(the_inputs_have_names),
        cmocka_unit_test(an_upcaster_takes_its_helpers_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

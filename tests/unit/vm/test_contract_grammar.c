/* The grammar of contracts: what it takes, as contract_put_type writes it back, and what it refuses, with
 * line and words. */
#include "loader_support.h"

struct good {
    const char *contracts; /* the first message by name is looked at */
    const char *form;
};

static const struct good good[] = {
    {"A!", "()"},
    {"A! ()", "()"},
    {"A?", "()"},
    {"A! (x: string, y: integer, z: number, u: boolean, v: time, w: decimal, a: any)",
     "(x: string, y: integer, z: number, u: boolean, v: time, w: decimal, a: any)"},
    {"A! (x: string?)", "(x: string?)"},
    {"A! (x: string[])", "(x: string[])"},
    {"A! (x: string[][]?)", "(x: string[][]?)"},
    {"A! (x: {string: integer})", "(x: {string: integer})"},
    {"A! (x: {string: {string: time}}[]?)", "(x: {string: {string: time}}[]?)"},
    {"A! (x: pii string, y: pii string?)", "(x: pii string, y: pii string?)"},
    {"A! (pii: string, let: integer)", "(pii: string, let: integer)"},
    {"let b = (c: string)\nA! (b, x: time)", "(c: string, x: time)"},
    {"let b = (c: string)\nA! (x: b)", "(x: (c: string))"},
    {"let b = (c: string)\nA! (x: b[], y: {string: b}?)", "(x: (c: string)[], y: {string: (c: string)}?)"},
    {"let money = decimal\nA! (x: money)", "(x: decimal)"},
    {"let money = decimal\nlet all = money[]\nA! (x: all[])", "(x: decimal[][])"},
    {"let name = string\nA! (x: pii name)", "(x: pii string)"},
    {"A! (b)\nlet b = (c, d: string)\nlet c = (e: integer?)", "(e: integer?, d: string)"},
    {"let b = (c: string)\nlet d = (b: b)\nA! (b: b, d: d)", "(b: (c: string), d: (b: (c: string)))"},
    {"-- a comment ( ]\nA! ( -- another\n x: string, -- and \xc3\xa9\n\n y: time, )", "(x: string, y: time)"},
    {"A!1 (x: string)", "(x: string)"},
    {"A!\n(x: string)", "(x: string)"},
    {"  \t A ! ( x:string\t,y : time ? )  \r\n", "(x: string, y: time?)"},
    {"let e = ()\nA! (e)", "()"},
};

static void every_form_is_taken(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct buf text = {0}, form = {0};
        buf_format(&text, "contracts [==[%s]==]", good[i].contracts);
        buf_put_byte(&text, 0);
        const char *scripts[] = {"x/c.lua", text.data, NULL};
        struct loaded loaded;
        load_good(&loaded, scripts);
        const struct contract_message *message = contracts_at(loader_contracts(loaded.loader), 0);
        contract_put_type(&form, &message->type);
        buf_put_byte(&form, 0);
        assert_string_equal(form.data, good[i].form);
        buf_release(&text);
        buf_release(&form);
        unload_scripts(&loaded);
    }
}

struct bad {
    const char *contracts;
    const char *errors; /* lines without "scripts/x/c.lua:"; the text begins on line 2 */
};

static const struct bad bad[] = {
    {"A! (x: )", "2: expected a type after \":\", got \")\"\n"},
    {"A! (x string)", "2: expected \":\" and a type after \"x\", got \"string\"\n"},
    {"A! (x: string", "2: expected \",\" or \")\" after a field, got the end of the contracts\n"},
    {"A! (x: string\nB!", "3: expected \",\" or \")\" after a field, got \"B\"\n"},
    {"A! (x: string y: time)", "2: expected \",\" or \")\" after a field, got \"y\"\n"},
    {"A! x: string", "2: expected a new line after A, got \"x\"\n"},
    {"A (x: string)", "2: expected \"?\" (a command) or \"!\" (an event) after \"A\", got \"(\"\n"},
    {"a! (x: string)", "2: expected a message name, a capital then letters and digits, got \"a\"\n"},
    {"Made_it!", "2: expected a message name, a capital then letters and digits, got \"Made_it\"\n"},
    {"A! (X: string)", "2: expected a field name in small letters, digits and _, got \"X\"\n"},
    {"A! (_x: string)", "2: expected a field name in small letters, digits and _, got \"_x\"\n"},
    {"A! (7: string)", "2: expected a field name, got \"7\"\n"},
    {"A! (x: String)", "2: expected a type after \":\", got \"String\"\n"},
    {"A! (x: strng)", "2: unknown type \"strng\": did you mean string?\n"},
    {"A! (x: widget)", "2: unknown type \"widget\"\n"},
    {"let mony = decimal\nA! (x: money)", "3: unknown type \"money\": did you mean mony?\n"},
    {"A! (bill)", "2: no let \"bill\", whose fields could come here\n"},
    {"let bil = (x: time)\nA! (bill)",
     "3: no let \"bill\", whose fields could come here: did you mean bil?\n"},
    {"let money = decimal\nA! (money)", "3: money is a type, no group of fields: write money: money\n"},
    {"A! (x: string, x: time)", "2: field x: declared twice\n"},
    {"let b = (x: string)\nA! (x: time,\n  b)", "4: field x: declared twice\n"},
    {"A!\nB?\nA!", "4: A: declared twice, first at x/c.lua:2\n"},
    {"A!\nA?", "3: A: declared twice, first at x/c.lua:2\n"},
    {"let b = (x: time)\nlet b = decimal", "3: let b: declared twice, first at x/c.lua:2\n"},
    {"let string = integer", "2: let string: the name is taken by the grammar\n"},
    {"let B = integer", "2: expected a name in small letters after \"let\", got \"B\"\n"},
    {"let b integer", "2: expected \"=\" after \"let b\", got \"integer\"\n"},
    {"let b = ", "2: expected a type or \"(\" after \"=\", got the end of the contracts\n"},
    {"let b = string?", "2: \"?\" belongs to a field, not to a let\n"},
    {"let b = (x: b)\nA! (x: b)", "2: let b contains itself\n"},
    {"let b = (x: c)\nlet c = b[]\nA! (x: b)", "3: let b contains itself\n"},
    {"let b = (b)", "2: let b contains itself\n"},
    {"A!0", "2: A!0: a version is a whole number from 1 to 999\n"},
    {"A!1.5", "2: A!1.5: a version is a whole number from 1 to 999\n"},
    {"A!99999999999999999999", "2: A!99999999999999999999: a version is a whole number from 1 to 999\n"},
    {"A!2x", "2: A!2x: a version is a whole number from 1 to 999\n"},
    {"A?2 (x: time)", "2: A?2: a command has no versions\n"},
    {"A!2", "2: A!2: version 1 has no upcaster: write function upcast.A.v1(e, m)\n"},
    {"A! (x: string?[])", "2: \"?\" belongs to a field: what is in a list is there\n"},
    {"A! (x: string[]?[])", "2: \"?\" belongs to a field: what is in a list is there\n"},
    {"A! (x: {string: time?})", "2: \"?\" belongs to a field: what is in a map is there\n"},
    {"A! (x: {integer: time})",
     "2: expected \"string\" after \"{\", got \"integer\": the keys of a map are strings\n"},
    {"A! (x: {string time})", "2: expected \":\" after \"{string\", got \"time\"\n"},
    {"A! (x: {string: time)", "2: expected \"}\" at the end of a map, got \")\"\n"},
    {"A! (x: string[)", "2: expected \"]\" after \"[\", got \")\"\n"},
    {"A! (x: pii integer)", "2: field x: pii marks strings, got integer\n"},
    {"A! (x: pii)", "2: unknown type \"pii\"\n"},
    {"A! (x: string) B!", "2: expected a new line after A, got \"B\"\n"},
    {"A! (x: string) # no",
     "2: contracts: unexpected character \"#\"\n2: expected a new line after A, got \"no\"\n"},
    {"A! (x = string)", "2: expected \":\" and a type after \"x\", got \"=\"\n"},
    {"A! (,)", "2: expected a field name, got \",\"\n"},
    {"= B", "2: expected a declaration (let …, Name? or Name!), got \"=\"\n"},
    {"A! (x: )\n\nB! (y: strin)\nC! (z time)\nD! (u: time)",
     "2: expected a type after \":\", got \")\"\n4: unknown type \"strin\": did you mean string?\n"
     "5: expected \":\" and a type after \"z\", got \"time\"\n"},
};

static void every_mistake_has_its_line(void **state)
{
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf text = {0}, expected = {0};
        buf_format(&text, "contracts [==[\n%s]==]", bad[i].contracts);
        buf_put_byte(&text, 0);
        const char *scripts[] = {"x/c.lua", text.data, NULL};
        for (const char *line = bad[i].errors; *line;) {
            const char *end = strchr(line, '\n');
            buf_format(&expected, "scripts/x/c.lua:%.*s\n", (int)(end - line), line);
            line = end + 1;
        }
        buf_put_byte(&expected, 0);
        struct loaded loaded;
        load_scripts(&loaded, scripts);
        if (strcmp(expected.data, loaded.errors.data) != 0) {
            print_error("--- contracts\n%s\n--- expected\n%s--- got\n%s", bad[i].contracts, expected.data,
                        loaded.errors.data);
            wrong++;
        }
        buf_release(&text);
        buf_release(&expected);
        unload_scripts(&loaded);
    }
    assert_int_equal(wrong, 0);
}

static void a_broken_contract_hides_no_other_error_and_makes_none(void **state)
{
    /* Handlers of what did not parse are no second mistake; other mistakes in the same files still are. */
    static const char *const scripts[] = {
        "x/c.lua", "contracts [[\n  A! (x: )\n  let ( = \n]]", "x/v.lua",
        "local v = projection 'v'\nfunction v.when.A() end\nfunction v.when.B() return C end\nlocal z = q",
        NULL};
    struct loaded loaded;
    load_scripts(&loaded, scripts);
    assert_string_equal(loaded.errors.data,
                        "scripts/x/c.lua:2: expected a type after \":\", got \")\"\n"
                        "scripts/x/c.lua:3: expected a name in small letters after \"let\", got \"(\"\n"
                        "scripts/x/v.lua:4: the global 'q' does not exist\n");
    unload_scripts(&loaded);
}

static void doubling_lets_are_refused(void **state)
{
    struct buf text = {0};
    buf_put_text(&text, "contracts [[\nlet a0 = (x: string)\n");
    for (int i = 1; i <= 60; i++) buf_format(&text, "let a%d = (x: a%d, y: a%d)\n", i, i - 1, i - 1);
    buf_put_text(&text, "A! (x: a60)\n]]");
    buf_put_byte(&text, 0);
    const char *scripts[] = {"x/c.lua", text.data, NULL};
    struct loaded loaded;
    load_scripts(&loaded, scripts);
    assert_string_equal(loaded.errors.data,
                        "scripts/x/c.lua:63: A: more than 2000 fields with all that nests in it\n");
    buf_release(&text);
    unload_scripts(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_taken),
        cmocka_unit_test(every_mistake_has_its_line),
        cmocka_unit_test(a_broken_contract_hides_no_other_error_and_makes_none),
        cmocka_unit_test(doubling_lets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

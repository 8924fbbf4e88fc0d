/* Names and scopes. Each text is given with its findings: a letter for the kind, the name, the line.
 * r reads a global, w writes one, l assigns a file-level local, t changes a file-level table, u assigns a
 * local of a function around (each told of all functions in between), e names _ENV, q requires, n compares
 * parameter.field with a number, d compares a decimal local, f reads a field of a global. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>

#include "base/buf.h"
#include "vm/inspect.h"

struct row {
    const char *text, *findings;
};

static const struct row rows[] = {
    {"", ""},
    {"return", ""},
    {"local a = a", "r:a:1 "},
    {"local a local function f() return a end", ""},
    {"local function f() return f end", ""},
    {"local f = function() return f end", "r:f:1 "},
    {"a.b.c = 1", "r:a:1 f:a:b:1 "},
    {"local a return a.b, c.d(), c\n.e", "r:c:1 f:c:d:1 r:c:1 f:c:e:2 "},
    {"a = 1", "w:a:1 "},
    {"a, b.c, d[e] = 1, f", "r:b:1 f:b:c:1 r:d:1 r:e:1 r:f:1 w:a:1 "},
    {"a()\nb 'x'\nc {}\nd:e(f)\ng.h:i 'x'", "r:a:1 r:b:2 r:c:3 r:d:4 r:f:4 r:g:5 f:g:h:5 "},
    {"function a.b:c(d) return self, d, e end", "r:a:1 f:a:b:1 r:e:1 "},
    {"function a(b) return b end", "w:a:1 "},
    {"local t = { a = 1, [b] = 2, c, d = e; f() }", "r:b:1 r:c:1 r:e:1 r:f:1 "},
    {"for i = a, b, c do d(i) end", "r:a:1 r:b:1 r:c:1 r:d:1 "},
    {"for k, v in k(v) do k = v end", "r:k:1 r:v:1 "},
    {"while a do local a = 1 end return a", "r:a:1 r:a:1 "},
    {"repeat local x = 1 until x and y", "r:y:1 "},
    {"if a then local b elseif b then local c else c() end", "r:a:1 r:b:1 r:c:1 "},
    {"do local x <close> = nil; local y <const> = x end return y", "r:y:1 "},
    {"goto a ::a:: do goto b ::b:: end", ""},
    {"return -a + not b .. #c == ~d // (e) ^ f", "r:a:1 r:b:1 r:c:1 r:d:1 r:e:1 r:f:1 "},
    {"return function(...) local a, b = ... return a, b, ... end", ""},
    {"local a\nlocal function f()\n a = 1 end", "l:a:3 "},
    {"local a\nlocal function f(a) a = 1 end", ""},
    {"local a; do local function f() local function g() a = 1 end end end", "l:a:1 l:a:1 "},
    {"local function f() local a local function g() a = 1 end end", "u:a:1 "},
    {"local function f() local a a = 1 local function g(b) b = 1 return function() a, b = 1, 2 end end end",
     "u:a:1 u:a:1 u:b:1 "},
    {"local a = {} a.b = 1 a[1] = 2 function a.c() end", ""},
    {"local a = {} function a.c() a.d = 1 a.e.f[2], a = 3, 4 end", "t:a:1 t:a:1 l:a:1 "},
    {"local a = {} local f = function() a().b = 1; (a).c = 2; a:m().d = 3 end", ""},
    {"local a = {} local f = function() function a.b() end end", "t:a:1 "},
    {"local f = function() function a() end end", "w:a:1 "},
    {"local f local function g() function f() end end", "l:f:1 "},
    {"_ENV.x = 1", "e:_ENV:1 "},
    {"local _ENV = nil", "e:_ENV:1 "},
    {"require 'a' require('b')\nlocal r = require [[c]]",
     "q:a:1 r:require:1 q:b:1 r:require:1 q:c:2 r:require:2 "},
    {"local require = 1 require 'a'", ""},
    {"local x function x.apply.A(s, e) return e.n == 0, 0 ~= e.m, s.k == -1, e.n == e.m, e.a.b == 0, #e.n == "
     "0 end",
     "n2:n:1 n2:m:1 n1:k:1 "},
    {"local x function x.y(s, e) return e.n == 0 end", ""},
    {"local x function x.apply.A(s, e)\n local f = function(e) return e.n == 0 end return f, e.n == 0 end",
     "n2:n:2 "},
    {"local d = decimal '1' local f = decimal(2 + (3)) local g = decimal(1) == x return d == 0, 1 == f, g == "
     "1, d.x == 0",
     "r:decimal:1 r:decimal:1 r:decimal:1 r:x:1 d:d:1 d:f:1 "},
    {"f'a'.b'c'.d = 1", "r:f:1 "},
    {"local s = ('x'):rep(n) .. [[y]]", "r:n:1 "},
    {";;; local a; return a;", ""},
    {"local a = aggregate 'x' local f = function(n, g) a.apply[n] = g a = 1 end", "r:aggregate:1 l:a:1 "},
    {"local c = {} table.insert(c, 1) local f = function() table.insert(c, 1) rawset(c.d, 1, 2) "
     "table.concat(c) end",
     "r:table:1 f:table:insert:1 t:c:1 r:table:1 f:table:insert:1 t:c:1 r:rawset:1 r:table:1 "
     "f:table:concat:1 "},
    {"local c = {} local f = function() local c = {} table.insert(c, 1) table.sort({}) table.remove(c()) end",
     "r:table:1 f:table:insert:1 r:table:1 f:table:sort:1 r:table:1 f:table:remove:1 "},
    {"local a = function() end, b", "r:b:1 "},
};

static void put_findings(const struct inspection *inspection, struct buf *out)
{
    static const char letters[] = "rwltueqndf";
    for (size_t i = 0; i < inspection->count; i++) {
        const struct finding *finding = &inspection->items[i];
        buf_put_byte(out, (uint8_t)letters[finding->kind]);
        if (finding->kind == FINDING_COMPARES_NUMBER) buf_format(out, "%d", finding->parameter);
        if (finding->kind == FINDING_READ_FIELD) buf_format(out, ":%.*s", SLICE_ARGS(finding->of));
        buf_format(out, ":%.*s:%d ", SLICE_ARGS(finding->name), finding->line);
    }
    buf_put_byte(out, 0);
}

static void names_are_resolved(void **state)
{
    lua_State *lua = luaL_newstate();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(luaL_loadstring(lua, rows[i].text), LUA_OK); /* the test itself is Lua */
        lua_pop(lua, 1);
        struct tokens tokens;
        struct inspection inspection = {0};
        struct buf found = {0};
        assert_true(tokens_read(slice_of(rows[i].text), &tokens));
        inspect(&tokens, &inspection);
        put_findings(&inspection, &found);
        if (strcmp(found.data, rows[i].findings) != 0) print_error("%s\n", rows[i].text);
        assert_string_equal(found.data, rows[i].findings);
        buf_release(&found);
        inspection_release(&inspection);
        tokens_release(&tokens);
    }
    lua_close(lua);
}

/* Random words; those that compile must not make the parser loop or run past the end. */
static void any_text_that_compiles_is_survived(void **state)
{
    static const char *const words[] = {"local ", "function ", "end ",   "a ", "b.c ", "= ",      "( ",
                                        ") ",     "{ ",        "} ",     "1 ", "'s' ", "return ", "if ",
                                        "then ",  "do ",       "while ", "x ", ", ",   "and ",    "not ",
                                        ": ",     "[ ",        "] ",     "; ", "for ", "in "};
    lua_State *lua = luaL_newstate();
    uint64_t seed = 7;
    size_t compiled = 0;
    for (int round = 0; round < 200000; round++) {
        char text[256] = "";
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int count = 1 + (int)((seed >> 33) % 9);
        for (int i = 0; i < count; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            strcat(text, words[(seed >> 33) % (sizeof words / sizeof *words)]);
        }
        if (luaL_loadstring(lua, text) == LUA_OK) {
            struct tokens tokens;
            struct inspection inspection = {0};
            assert_true(tokens_read(slice_of(text), &tokens));
            inspect(&tokens, &inspection);
            inspection_release(&inspection);
            tokens_release(&tokens);
            compiled++;
        }
        lua_settop(lua, 0);
    }
    assert_true(compiled > 500);
    lua_close(lua);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(any_text_that_compiles_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

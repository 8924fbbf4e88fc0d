/* Tables read where Lua keeps them: always what lua_next gives; and the glance, which is made of it: a tree
 * is what the thorough look calls a tree, nothing else. */
#include "test_vm_run.h"

#include <math.h>
#include <stdlib.h>

#include "vm/peek.h"
#include "vm/plain.h"
#include "vm/value.h"

static int make(void **state)
{
    *state = run_new(0);
    return 0;
}

static int drop(void **state)
{
    vm_free(*state);
    return 0;
}

static uint64_t drawn = 88172645463325252u;

static unsigned draw(unsigned below)
{
    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    return (unsigned)(drawn >> 33) % below;
}

static int rounds(void)
{
    return getenv("LORE_TEST_SMALL") ? 2000 : 20000;
}

/* --- walks --- */

/* Keys that come and go: what is left of removed ones, lists that shrink, and the length that was asked for.
 */
static void change(lua_State *lua, unsigned span)
{
    char name[80];
    for (unsigned left = draw(span) + 1; left > 0; left--) {
        if (draw(2)) {
            lua_pushinteger(lua, (lua_Integer)draw(span) - (draw(8) == 0 ? (int)span / 2 : 0));
        } else {
            memset(name, 'n', sizeof name);
            snprintf(name, sizeof name, "%u", draw(span));
            lua_pushlstring(lua, name, draw(3) ? strlen(name) : sizeof name);
        }
        if (draw(3) == 0)
            lua_pushnil(lua);
        else
            lua_pushinteger(lua, draw(1000));
        lua_rawset(lua, -3);
        if (draw(4) == 0) lua_rawlen(lua, -1);
    }
}

static void assert_walked(lua_State *lua)
{
    size_t count = 0, found = 0;
    lua_Integer sum = 0;
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) count++;
    struct peek_walk walk = peek_walk(lua_topointer(lua, -1));
    while (peek_next(&walk)) {
        if (peek_is_text(walk.key_tag)) {
            struct slice text = peek_text(walk.key, walk.key_tag);
            lua_pushlstring(lua, text.data, text.size);
        } else {
            assert_int_equal(walk.key_tag, PEEK_INTEGER);
            lua_pushinteger(lua, walk.key.integer);
        }
        assert_int_equal(lua_rawget(lua, -2), LUA_TNUMBER);
        assert_int_equal(walk.value.tag, PEEK_INTEGER);
        assert_int_equal(lua_tointeger(lua, -1), walk.value.content.integer);
        /* no entry twice: each is taken out of the sum of the marks that it got */
        sum += lua_tointeger(lua, -1);
        lua_pop(lua, 1);
        found++;
    }
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) sum -= lua_tointeger(lua, -1);
    assert_int_equal(found, count);
    assert_int_equal(sum, 0);
}

static void a_walk_finds_what_next_finds(void **state)
{
    lua_State *lua = ((struct vm *)*state)->lua;
    for (int round = rounds() / 20; round > 0; round--) {
        lua_createtable(lua, (int)draw(4), (int)draw(4));
        unsigned span = draw(90) + 2;
        for (int step = 0; step < 6; step++) {
            change(lua, span);
            assert_walked(lua);
        }
        lua_pop(lua, 1);
    }
}

static void this_lua_is_the_one_described(void **state)
{
    lua_State *lua = ((struct vm *)*state)->lua;
    assert_true(peek_check(lua));
    assert_int_equal(lua_gettop(lua), 0);
}

/* --- the glance --- */

static void push_something(lua_State *lua, int depth);

static void push_table(lua_State *lua, int depth)
{
    char key[24];
    lua_newtable(lua);
    bool is_list = draw(3) == 0;
    int count = (int)draw(6);
    for (int at = 1; at <= count; at++) {
        if (is_list)
            lua_pushinteger(lua, draw(60) ? at : at + 1);
        else
            lua_pushlstring(lua, key, (size_t)snprintf(key, sizeof key, draw(60) ? "key %d" : "\xff%d", at));
        if (draw(80) == 0) {
            lua_pop(lua, 1);
            lua_pushboolean(lua, 1);
        }
        push_something(lua, depth + 1);
        lua_rawset(lua, -3);
    }
    if (count == 0 && draw(2)) value_mark_list(lua, -1);
    if (draw(60) == 0) {
        lua_newtable(lua);
        lua_setmetatable(lua, -2);
    }
}

/* Plain mostly; at 1 lies a table of the round that may come twice. */
static void push_something(lua_State *lua, int depth)
{
    static const char text[] = "a text with an \xc3\xa4 that is longer than what is kept once, \xe2\x82\xac";
    switch (draw(depth < 5 ? 11 : 7)) {
    case 0: lua_pushboolean(lua, (int)draw(2)); return;
    case 1: lua_pushinteger(lua, draw(1000)); return;
    case 2: lua_pushnumber(lua, draw(40) ? 0.5 : draw(2) ? (lua_Number)INFINITY : (lua_Number)NAN); return;
    case 3: lua_pushliteral(lua, "short"); return;
    case 4: lua_pushlstring(lua, text, draw(30) ? sizeof text - 1 : sizeof text - 2); return;
    case 5: value_push_decimal(lua, slice_of("12.50")); return;
    case 6:
        switch (draw(40)) {
        case 0: lua_pushcfunction(lua, lua_error); return;
        case 1: lua_newuserdatauv(lua, 8, 0); return;
        case 2: lua_pushlightuserdata(lua, lua); return;
        default:
            if (draw(4))
                lua_pushliteral(lua, "");
            else
                lua_pushvalue(lua, 1);
            return;
        }
    default: push_table(lua, depth);
    }
}

static int compare_looks(lua_State *lua)
{
    static struct plain_seen seen;
    size_t *counts = lua_touserdata(lua, 1);
    for (int round = 0; round < rounds(); round++) {
        lua_settop(lua, 0);
        lua_newtable(lua);
        push_table(lua, 0);
        size_t entries = draw(3) ? SIZE_MAX : draw(20), bytes = draw(3) ? SIZE_MAX : draw(2000);
        plain_seen_clear(&seen);
        enum plain_verdict verdict = plain_look(lua, 2, &seen, entries, bytes);
        plain_seen_clear(&seen);
        bool tree = plain_glance(lua, 2, &seen, entries, bytes);
        assert_int_equal(lua_gettop(lua), 2);
        if (tree != (verdict == PLAIN_TREE))
            fail_msg("round %d: glance %d, verdict %d", round, tree, verdict);
        counts[verdict]++;
        /* Beside another document that has a table in common it is no tree. */
        lua_settop(lua, 1);
        lua_newtable(lua);
        lua_pushvalue(lua, 1);
        lua_setfield(lua, 2, "shared");
        plain_seen_clear(&seen);
        assert_true(plain_glance(lua, 2, &seen, SIZE_MAX, SIZE_MAX));
        assert_false(plain_glance(lua, 2, &seen, SIZE_MAX, SIZE_MAX));
    }
    plain_seen_release(&seen);
    return 0;
}

static void a_glance_knows_a_tree(void **state)
{
    struct fault fault;
    size_t counts[PLAIN_NOT + 1] = {0};
    if (vm_protected(*state, compare_looks, counts, &fault) < 0) fail_msg("%s", fault.text);
    for (int verdict = PLAIN_TREE; verdict <= PLAIN_NOT; verdict++) assert_true(counts[verdict] > 0);
}

static int compare_deep(lua_State *lua)
{
    struct plain_seen seen = {0};
    for (int depth = LIMIT_DEPTH_MAX - 2; depth <= LIMIT_DEPTH_MAX + 3; depth++) {
        lua_settop(lua, 0);
        lua_newtable(lua);
        for (int at = 0; at < depth; at++) {
            lua_newtable(lua);
            lua_insert(lua, -2);
            lua_setfield(lua, -2, "in");
        }
        plain_seen_clear(&seen);
        bool tree = plain_look(lua, 1, &seen, SIZE_MAX, SIZE_MAX) == PLAIN_TREE;
        plain_seen_clear(&seen);
        assert_int_equal(plain_glance(lua, 1, &seen, SIZE_MAX, SIZE_MAX), tree);
    }
    plain_seen_release(&seen);
    return 0;
}

static void both_go_as_deep(void **state)
{
    struct fault fault;
    if (vm_protected(*state, compare_deep, NULL, &fault) < 0) fail_msg("%s", fault.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_walk_finds_what_next_finds, make, drop),
        cmocka_unit_test_setup_teardown(this_lua_is_the_one_described, make, drop),
        cmocka_unit_test_setup_teardown(a_glance_knows_a_tree, make, drop),
        cmocka_unit_test_setup_teardown(both_go_as_deep, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

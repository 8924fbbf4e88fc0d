#include "vm/decimal.h"

#include <bid_conf.h>
#include <bid_functions.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/text.h"
#include "vm/sandbox.h"
#include "vm/value.h"

typedef unsigned __int128 wide;

/* A decimal128 taken apart: (-1)^negative * coefficient * 10^-scale. */
struct parts {
    wide coefficient;
    int scale;
    bool negative;
};

enum { EXPONENT_BIAS = 6176, EXPONENT_SHIFT = 49 };
enum { DIVISION_STEPS = 20 }; /* instructions that take as long */
static const uint64_t sign_bit = (uint64_t)1 << 63;
static const uint64_t coefficient_high = ((uint64_t)1 << EXPONENT_SHIFT) - 1;

static wide power_of_ten(int exponent) /* up to 10^38 */
{
    wide power = 1;
    while (exponent-- > 0) power *= 10;
    return power;
}

static const uint64_t powers[] = {1ull,
                                  10ull,
                                  100ull,
                                  1000ull,
                                  10000ull,
                                  100000ull,
                                  1000000ull,
                                  10000000ull,
                                  100000000ull,
                                  1000000000ull,
                                  10000000000ull,
                                  100000000000ull,
                                  1000000000000ull,
                                  10000000000000ull,
                                  100000000000000ull,
                                  1000000000000000ull,
                                  10000000000000000ull,
                                  100000000000000000ull,
                                  1000000000000000000ull,
                                  10000000000000000000ull};
enum { POWERS = sizeof powers / sizeof powers[0] };

static wide coefficient_limit(void)
{
    _Static_assert(DECIMAL_DIGITS_MAX == 34, "10^17 * 10^17");
    return (wide)100000000000000000ull *
           100000000000000000ull; /* a constant: it is asked for at every digit */
}

static struct parts take_apart(BID_UINT128 value)
{
    uint64_t high = value.w[1];
    struct parts parts = {.coefficient = (wide)(high & coefficient_high) << 64 | value.w[0],
                          .scale = EXPONENT_BIAS - (int)(high >> EXPONENT_SHIFT & 0x3fff),
                          .negative = (high & sign_bit) != 0};
    return parts;
}

/* The coefficient must be below 10^34: then it fits the 113 bits of the plain form. */
static BID_UINT128 put_together(struct parts parts)
{
    BID_UINT128 value;
    value.w[0] = (uint64_t)parts.coefficient;
    value.w[1] = (uint64_t)(parts.coefficient >> 64) |
                 (uint64_t)(EXPONENT_BIAS - parts.scale) << EXPONENT_SHIFT |
                 (parts.negative && parts.coefficient ? sign_bit : 0);
    return value;
}

static void push(lua_State *lua, BID_UINT128 value)
{
    BID_UINT128 *to = lua_newuserdatauv(lua, sizeof *to, 0);
    *to = value;
    vm_push_meta(lua, VM_META_DECIMAL);
    lua_setmetatable(lua, -2);
}

/* Brings the scale into its range without changing the value; false if that needs more digits than there are.
 */
static bool normalise(struct parts *parts)
{
    if (parts->coefficient == 0) {
        if (parts->scale < 0) parts->scale = 0;
        if (parts->scale > DECIMAL_SCALE_MAX) parts->scale = DECIMAL_SCALE_MAX;
        parts->negative = false;
    }
    while (parts->scale < 0 && parts->coefficient < coefficient_limit() / 10) {
        parts->coefficient *= 10;
        parts->scale++;
    }
    while (parts->scale > DECIMAL_SCALE_MAX && parts->coefficient % 10 == 0) {
        parts->coefficient /= 10;
        parts->scale--;
    }
    return parts->scale >= 0 && parts->scale <= DECIMAL_SCALE_MAX && parts->coefficient < coefficient_limit();
}

static int too_many_digits(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "decimal result needs more than %d digits", DECIMAL_DIGITS_MAX);
}

static int push_normalised(lua_State *lua, struct parts parts)
{
    if (!normalise(&parts)) return too_many_digits(lua);
    push(lua, put_together(parts));
    return 1;
}

/* --- text --- */

/* [-]digits[.digits][e[+-]digits]; the exponent only where floats are read. */
static bool parse(struct slice text, bool exponent_allowed, struct parts *parts)
{
    size_t at = text.size > 0 && text.data[0] == '-', digits = 0;
    bool point = false;
    *parts = (struct parts){.negative = at == 1};
    for (; at < text.size; at++) {
        char c = text.data[at];
        if (c == '.' && !point && digits > 0) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            if (parts->coefficient >= coefficient_limit() / 10) return false;
            parts->coefficient = parts->coefficient * 10 + (unsigned)(c - '0');
            parts->scale += point;
            digits++;
            if (parts->scale > 400) return false;
        } else {
            break;
        }
    }
    if (digits == 0 || text.data[at - 1] == '.') return false;
    if (at < text.size) {
        if (!exponent_allowed || text.data[at] != 'e') return false;
        parts->scale -= (int)strtol(text.data + at + 1, NULL, 10); /* of text_put_float: NUL-terminated */
    }
    return true;
}

bool decimal_push_plain(lua_State *lua, struct slice plain)
{
    struct parts parts;
    if (!parse(plain, false, &parts)) return false;
    /* The scales of stored texts can be larger: trailing zeros may go, other digits not. */
    if (!normalise(&parts)) return false;
    push(lua, put_together(parts));
    return true;
}

static int plain_text(BID_UINT128 value, char *text)
{
    struct parts parts = take_apart(value);
    char digits[48];
    int count = 0;
    wide rest = parts.coefficient;
    while (rest > UINT64_MAX) {
        digits[count++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    for (uint64_t small = (uint64_t)rest; small > 0; small /= 10)
        digits[count++] = (char)('0' + (int)(small % 10));
    int size = 0, width = count > parts.scale ? count : parts.scale + 1;
    if (parts.negative) text[size++] = '-';
    for (int i = width - 1; i >= 0; i--) {
        // cppcheck-suppress uninitvar ; the loops above filled count digits
        text[size++] = i < count ? digits[i] : '0';
        if (i == parts.scale && i > 0) text[size++] = '.';
    }
    text[size] = 0;
    return size;
}

/* --- the bridge --- */

bool value_is_decimal(lua_State *lua, int index)
{
    return lua_type(lua, index) == LUA_TUSERDATA && vm_has_meta(lua, index, VM_META_DECIMAL);
}

int decimal_text(const void *userdata, char *text)
{
    return plain_text(*(const BID_UINT128 *)userdata, text);
}

int value_decimal_text(lua_State *lua, int index, char *text)
{
    return decimal_text(lua_touserdata(lua, index), text);
}

void value_push_decimal(lua_State *lua, struct slice plain)
{
    if (decimal_push_plain(lua, plain)) return;
    vm_raise(lua, FAULT_SCRIPT, 1, "\"%.*s\" is no decimal: digits, a point, at most %d digits",
             (int)(plain.size > 60 ? 60 : plain.size), plain.data ? plain.data : "", DECIMAL_DIGITS_MAX);
}

static struct parts of_integer(lua_Integer integer)
{
    return (struct parts){.coefficient = integer < 0 ? -(uint64_t)integer : (uint64_t)integer,
                          .negative = integer < 0};
}

void value_number_to_decimal(lua_State *lua, int index)
{
    if (lua_isinteger(lua, index)) {
        push(lua, put_together(of_integer(lua_tointeger(lua, index))));
        return;
    }
    double number = lua_tonumber(lua, index);
    char text[40];
    struct parts parts;
    if (!isfinite(number)) vm_raise(lua, FAULT_SCRIPT, 1, "a number that is not finite is no decimal");
    int size = text_put_float(number, text);
    text[size] = 0;
    if (!parse(slice_make(text, (size_t)size), true, &parts)) {
        too_many_digits(lua);
        return;
    }
    /* The shortest digits of 3.0 are "3". */
    while (parts.scale > 0 && parts.coefficient % 10 == 0) {
        parts.coefficient /= 10;
        parts.scale--;
    }
    push_normalised(lua, parts);
}

int decimal_make(lua_State *lua)
{
    struct slice text;
    switch (lua_type(lua, 1)) {
    case LUA_TNUMBER: value_number_to_decimal(lua, 1); return 1;
    case LUA_TSTRING:
        text.data = lua_tolstring(lua, 1, &text.size);
        value_push_decimal(lua, text);
        return 1;
    default:
        if (!value_is_decimal(lua, 1))
            return vm_raise(lua, FAULT_SCRIPT, 1, "decimal: expected text or a number, got %s",
                            luaL_typename(lua, 1));
        lua_settop(lua, 1);
        return 1;
    }
}

/* --- arithmetic --- */

static BID_UINT128 operand(lua_State *lua, int index, const char *verb)
{
    if (value_is_decimal(lua, index)) return *(BID_UINT128 *)lua_touserdata(lua, index);
    if (lua_type(lua, index) == LUA_TNUMBER) {
        if (lua_isinteger(lua, index)) return put_together(of_integer(lua_tointeger(lua, index)));
        vm_raise(lua, FAULT_SCRIPT, 1, "cannot %s a decimal and a float: write decimal(x)", verb);
    }
    const char *kind = vm_has_meta(lua, index, VM_META_DURATION) ? "duration" : luaL_typename(lua, index);
    vm_raise(lua, FAULT_SCRIPT, 1, "cannot %s a decimal and a %s", verb, kind);
    return (BID_UINT128){{0, 0}};
}

static int push_exact(lua_State *lua, BID_UINT128 result, unsigned flags)
{
    if (flags & (BID_INEXACT_EXCEPTION | BID_INVALID_EXCEPTION | BID_OVERFLOW_EXCEPTION))
        return too_many_digits(lua);
    /* The library may answer with the exponent above zero. */
    return push_normalised(lua, take_apart(result));
}

/* Both coefficients below 2^64 and scales not far apart: no library call. False: not that easy. */
static bool add_small(struct parts a, struct parts b, struct parts *sum)
{
    if (a.coefficient >> 64 || b.coefficient >> 64) return false;
    int apart = a.scale - b.scale;
    if (apart >= POWERS || apart <= -POWERS) return false;
    if (apart > 0) b.coefficient *= powers[apart];
    if (apart < 0) a.coefficient *= powers[-apart];
    sum->scale = apart > 0 ? a.scale : b.scale;
    if (a.negative == b.negative) {
        if (a.coefficient >> 127 || b.coefficient >> 127) return false;
        sum->coefficient = a.coefficient + b.coefficient;
        sum->negative = a.negative;
    } else {
        bool swapped = a.coefficient < b.coefficient;
        sum->coefficient = swapped ? b.coefficient - a.coefficient : a.coefficient - b.coefficient;
        sum->negative = swapped ? b.negative : a.negative;
    }
    return sum->coefficient >> 64 == 0;
}

static int add(lua_State *lua, BID_UINT128 a, BID_UINT128 b)
{
    struct parts sum;
    if (add_small(take_apart(a), take_apart(b), &sum)) {
        push(lua, put_together(sum));
        return 1;
    }
    unsigned flags = 0;
    BID_UINT128 result = bid128_add(a, b, BID_ROUNDING_TIES_AWAY, &flags);
    return push_exact(lua, result, flags);
}

static int decimal_add(lua_State *lua)
{
    BID_UINT128 a = operand(lua, 1, "add");
    return add(lua, a, operand(lua, 2, "add"));
}

static BID_UINT128 negate(BID_UINT128 value)
{
    struct parts parts = take_apart(value);
    parts.negative = !parts.negative;
    return put_together(parts);
}

static int decimal_sub(lua_State *lua)
{
    BID_UINT128 a = operand(lua, 1, "subtract");
    return add(lua, a, negate(operand(lua, 2, "subtract")));
}

static int decimal_mul(lua_State *lua)
{
    BID_UINT128 a = operand(lua, 1, "multiply"), b = operand(lua, 2, "multiply");
    struct parts x = take_apart(a), y = take_apart(b);
    if (x.coefficient >> 56 == 0 && y.coefficient >> 56 == 0) { /* below 2^112 < 10^34 */
        struct parts product = {.coefficient = x.coefficient * y.coefficient,
                                .scale = x.scale + y.scale,
                                .negative = x.negative != y.negative};
        return push_normalised(lua, product);
    }
    unsigned flags = 0;
    BID_UINT128 result = bid128_mul(a, b, BID_ROUNDING_TIES_AWAY, &flags);
    return push_exact(lua, result, flags);
}

/* Drops the last `drop` digits, ties away from zero. Digits cut off before do not matter: they never turn
 * less than a half into a half. */
static void round_digits(struct parts *parts, int drop)
{
    if (drop > 38) {
        parts->coefficient = 0;
    } else if (drop > 0) {
        wide unit = power_of_ten(drop);
        wide rest = parts->coefficient % unit;
        parts->coefficient /= unit;
        if (rest >= unit - rest) parts->coefficient++;
    }
    parts->scale -= drop;
}

static int digit_count(wide coefficient)
{
    int count = 0;
    for (; coefficient > 0; coefficient /= 10) count++;
    return count;
}

static int decimal_div(lua_State *lua)
{
    vm_spend(lua, DIVISION_STEPS);
    BID_UINT128 a = operand(lua, 1, "divide"), b = operand(lua, 2, "divide");
    if (take_apart(b).coefficient == 0) return vm_raise(lua, FAULT_SCRIPT, 1, "decimal division by zero");
    unsigned flags = 0;
    /* 34 digits cut off, then 28 rounded: cut off, so that nothing is rounded twice. */
    struct parts quotient = take_apart(bid128_div(a, b, BID_ROUNDING_TO_ZERO, &flags));
    int drop = digit_count(quotient.coefficient) - DECIMAL_QUOTIENT_DIGITS;
    if (drop > 0) {
        round_digits(&quotient, drop);
        if (digit_count(quotient.coefficient) > DECIMAL_QUOTIENT_DIGITS) round_digits(&quotient, 1);
    }
    if (quotient.scale > DECIMAL_SCALE_MAX) round_digits(&quotient, quotient.scale - DECIMAL_SCALE_MAX);
    return push_normalised(lua, quotient);
}

static int decimal_unm(lua_State *lua)
{
    push(lua, negate(operand(lua, 1, "negate")));
    return 1;
}

static int compare(BID_UINT128 a, BID_UINT128 b)
{
    struct parts x = take_apart(a), y = take_apart(b);
    if (x.scale == y.scale && x.negative == y.negative) {
        int order = (x.coefficient > y.coefficient) - (x.coefficient < y.coefficient);
        return x.negative ? -order : order;
    }
    unsigned flags = 0;
    if (bid128_quiet_equal(a, b, &flags)) return 0;
    return bid128_quiet_less(a, b, &flags) ? -1 : 1;
}

static int decimal_eq(lua_State *lua)
{
    bool both = value_is_decimal(lua, 1) && value_is_decimal(lua, 2);
    lua_pushboolean(lua, both && compare(*(BID_UINT128 *)lua_touserdata(lua, 1),
                                         *(BID_UINT128 *)lua_touserdata(lua, 2)) == 0);
    return 1;
}

static int decimal_lt(lua_State *lua)
{
    BID_UINT128 a = operand(lua, 1, "compare");
    lua_pushboolean(lua, compare(a, operand(lua, 2, "compare")) < 0);
    return 1;
}

static int decimal_le(lua_State *lua)
{
    BID_UINT128 a = operand(lua, 1, "compare");
    lua_pushboolean(lua, compare(a, operand(lua, 2, "compare")) <= 0);
    return 1;
}

static int decimal_tostring(lua_State *lua)
{
    char text[DECIMAL_TEXT_SIZE];
    if (!value_is_decimal(lua, 1)) return luaL_typeerror(lua, 1, "decimal");
    int size = value_decimal_text(lua, 1, text);
    lua_pushlstring(lua, text, (size_t)size);
    return 1;
}

static int decimal_concat(lua_State *lua)
{
    luaL_Buffer buffer;
    for (int i = 1; i <= 2; i++) {
        if (lua_type(lua, i) != LUA_TSTRING && lua_type(lua, i) != LUA_TNUMBER && !value_is_decimal(lua, i))
            return vm_raise(lua, FAULT_SCRIPT, 1, "cannot concatenate a decimal and a %s",
                            luaL_typename(lua, i));
        sandbox_push_text(lua, i);
    }
    luaL_buffinit(lua, &buffer);
    lua_pushvalue(lua, 3);
    luaL_addvalue(&buffer);
    lua_pushvalue(lua, 4);
    luaL_addvalue(&buffer);
    luaL_pushresult(&buffer);
    return 1;
}

/* --- methods --- */

static BID_UINT128 self(lua_State *lua)
{
    if (!value_is_decimal(lua, 1)) luaL_typeerror(lua, 1, "decimal");
    return *(BID_UINT128 *)lua_touserdata(lua, 1);
}

static int method_round(lua_State *lua)
{
    struct parts parts = take_apart(self(lua));
    lua_Integer scale = luaL_optinteger(lua, 2, 0);
    if (scale < -DECIMAL_DIGITS_MAX || scale > DECIMAL_SCALE_MAX)
        return vm_raise(lua, FAULT_SCRIPT, 1, "round: between %d and %d digits behind the point",
                        -DECIMAL_DIGITS_MAX, DECIMAL_SCALE_MAX);
    if (scale < parts.scale) round_digits(&parts, parts.scale - (int)scale);
    while (parts.scale < scale) {
        if (parts.coefficient >= coefficient_limit() / 10) return too_many_digits(lua);
        parts.coefficient *= 10;
        parts.scale++;
    }
    return push_normalised(lua, parts);
}

static int method_is_zero(lua_State *lua)
{
    lua_pushboolean(lua, take_apart(self(lua)).coefficient == 0);
    return 1;
}

static int method_abs(lua_State *lua)
{
    struct parts parts = take_apart(self(lua));
    parts.negative = false;
    push(lua, put_together(parts));
    return 1;
}

static int method_sign(lua_State *lua)
{
    struct parts parts = take_apart(self(lua));
    lua_pushinteger(lua, parts.coefficient == 0 ? 0 : parts.negative ? -1 : 1);
    return 1;
}

static int method_float(lua_State *lua)
{
    char text[DECIMAL_TEXT_SIZE];
    plain_text(self(lua), text);
    lua_pushnumber(lua, strtod(text, NULL));
    return 1;
}

static int method_integer(lua_State *lua)
{
    struct parts parts = take_apart(self(lua));
    while (parts.scale > 0 && parts.coefficient % 10 == 0) {
        parts.coefficient /= 10;
        parts.scale--;
    }
    wide limit = (wide)INT64_MAX + (parts.negative ? 1 : 0);
    if (parts.scale > 0 || parts.coefficient > limit) {
        char text[DECIMAL_TEXT_SIZE];
        plain_text(self(lua), text);
        return vm_raise(lua, FAULT_SCRIPT, 1, "%s is no integer", text);
    }
    uint64_t magnitude = (uint64_t)parts.coefficient;
    lua_pushinteger(lua, (lua_Integer)(parts.negative ? -magnitude : magnitude));
    return 1;
}

void decimal_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"__add", decimal_add},
                                         {"__sub", decimal_sub},
                                         {"__mul", decimal_mul},
                                         {"__div", decimal_div},
                                         {"__unm", decimal_unm},
                                         {"__eq", decimal_eq},
                                         {"__lt", decimal_lt},
                                         {"__le", decimal_le},
                                         {"__concat", decimal_concat},
                                         {"__tostring", decimal_tostring},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"round", method_round}, {"is_zero", method_is_zero}, {"abs", method_abs}, {"sign", method_sign},
        {"float", method_float}, {"integer", method_integer}, {NULL, NULL}};
    vm_new_meta(lua, VM_META_DECIMAL, "decimal", functions);
    lua_newtable(lua);
    luaL_setfuncs(lua, methods, 0);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

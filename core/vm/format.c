#include "vm/format.h"

#include <math.h>
#include <stdio.h>

#include "base/slice.h"
#include "vm/sandbox.h"

enum { SPEC_SIZE_MAX = 24, NUMBER_SIZE_MAX = 512 }; /* %.99f of 1e308 has 410 characters */

struct spec {
    char text[SPEC_SIZE_MAX + 8]; /* "%-5.2f" and a NUL; "ll" is put in for integers */
    int size;
    bool has_precision, has_modifier;
    char conversion;
};

static const struct {
    char conversion;
    const char *flags;
    bool precision;
} conversions[] = {{'c', "-", false},    {'d', "-+0 ", true},  {'i', "-+0 ", true},  {'u', "-0", true},
                   {'o', "-#0", true},   {'x', "-#0", true},   {'X', "-#0", true},   {'a', "-+ #0", true},
                   {'A', "-+ #0", true}, {'e', "-+ #0", true}, {'E', "-+ #0", true}, {'f', "-+ #0", true},
                   {'F', "-+ #0", true}, {'g', "-+ #0", true}, {'G', "-+ #0", true}, {'s', "-", true},
                   {'q', "", false}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the specification behind a '%' at `at`; returns how many bytes it takes. */
static size_t read_spec(lua_State *lua, struct slice format, size_t at, struct spec *spec)
{
    size_t end = at;
    while (end < format.size && (strchr("-+ #0.", format.data[end]) || is_digit(format.data[end])) &&
           format.data[end])
        end++;
    size_t size = end - at;
    char conversion = end < format.size ? format.data[end] : 0;
    size_t row = 0, rows = sizeof conversions / sizeof conversions[0];
    while (row < rows && conversions[row].conversion != conversion) row++;
    if (conversion == 'p')
        vm_raise(lua, FAULT_SCRIPT, 1, "format: %%p would show an address, which differs in every process");
    int shown = (int)(size < 16 ? size : 16);
    if (row == rows || size >= SPEC_SIZE_MAX)
        luaL_error(lua, "invalid conversion '%%%s' to 'format'",
                   lua_pushlstring(lua, format.data + at, (size_t)shown + (conversion != 0)));
    size_t i = at;
    while (i < end && strchr(conversions[row].flags, format.data[i])) i++;
    size_t width = i;
    while (i < end && i - width < 2 && is_digit(format.data[i])) i++;
    bool good = true;
    spec->has_precision = i < end && format.data[i] == '.';
    if (spec->has_precision) {
        good = conversions[row].precision;
        size_t precision = ++i;
        while (i < end && i - precision < 2 && is_digit(format.data[i])) i++;
    }
    if (!good || i != end || (width < end && format.data[width] == '0'))
        luaL_error(lua, "invalid conversion '%%%s' to 'format'",
                   lua_pushlstring(lua, format.data + at, size + 1));
    spec->text[0] = '%';
    memcpy(spec->text + 1, format.data + at, size);
    spec->size = (int)size + 1;
    spec->text[spec->size] = 0;
    spec->has_modifier = size > 0;
    spec->conversion = conversion;
    return size + 1;
}

static void complete_spec(struct spec *spec, const char *length)
{
    snprintf(spec->text + spec->size, sizeof spec->text - (size_t)spec->size, "%s%c", length,
             spec->conversion);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

static void add_number(lua_State *lua, luaL_Buffer *buffer, int index, struct spec *spec)
{
    char text[NUMBER_SIZE_MAX];
    int size;
    switch (spec->conversion) {
    case 'c':
        complete_spec(spec, "");
        size = snprintf(text, sizeof text, spec->text, (int)luaL_checkinteger(lua, index));
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
        lua_Integer number = luaL_checkinteger(lua, index);
        complete_spec(spec, "ll");
        size = snprintf(text, sizeof text, spec->text, (long long)number);
        break;
    }
    default: {
        lua_Number number = luaL_checknumber(lua, index);
        complete_spec(spec, "");
        size = snprintf(text, sizeof text, spec->text, number);
    }
    }
    luaL_addlstring(buffer, text, (size_t)size);
}

static void add_text(lua_State *lua, luaL_Buffer *buffer, int index, struct spec *spec)
{
    luaL_checkany(lua, index);
    sandbox_push_text(lua, index);
    size_t size;
    const char *text = lua_tolstring(lua, -1, &size);
    vm_spend(lua, size / 64);
    if (!spec->has_modifier || (!spec->has_precision && size >= 100)) {
        if (spec->has_modifier) luaL_argcheck(lua, size == strlen(text), index, "string contains zeros");
        luaL_addvalue(buffer);
        return;
    }
    luaL_argcheck(lua, size == strlen(text), index, "string contains zeros");
    complete_spec(spec, "");
    /* Width and precision have two digits, and texts of 100 bytes without a precision went the other way. */
    char formatted[128];
    int written = snprintf(formatted, sizeof formatted, spec->text, text);
    lua_pop(lua, 1);
    luaL_addlstring(buffer, formatted, (size_t)written);
}

#pragma GCC diagnostic pop

static void add_quoted_text(luaL_Buffer *buffer, struct slice text)
{
    luaL_addchar(buffer, '"');
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\' || c == '\n') {
            luaL_addchar(buffer, '\\');
            luaL_addchar(buffer, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            char code[8];
            bool digit_follows = i + 1 < text.size && is_digit(text.data[i + 1]);
            snprintf(code, sizeof code, digit_follows ? "\\%03d" : "\\%d", c);
            luaL_addstring(buffer, code);
        } else {
            luaL_addchar(buffer, (char)c);
        }
    }
    luaL_addchar(buffer, '"');
}

/* A literal that Lua reads back as the same value. */
static void add_quoted(lua_State *lua, luaL_Buffer *buffer, int index)
{
    char text[64];
    struct slice string;
    switch (lua_type(lua, index)) {
    case LUA_TSTRING:
        string.data = lua_tolstring(lua, index, &string.size);
        vm_spend(lua, string.size / 8);
        add_quoted_text(buffer, string);
        return;
    case LUA_TNUMBER:
        if (lua_isinteger(lua, index)) {
            lua_Integer number = lua_tointeger(lua, index);
            snprintf(text, sizeof text, number == LUA_MININTEGER ? "0x%llx" : "%lld", (long long)number);
        } else {
            lua_Number number = lua_tonumber(lua, index);
            if (isinf(number))
                snprintf(text, sizeof text, "%s", number > 0 ? "1e9999" : "-1e9999");
            else if (isnan(number))
                snprintf(text, sizeof text, "(0/0)");
            else
                snprintf(text, sizeof text, "%a", number);
        }
        luaL_addstring(buffer, text);
        return;
    case LUA_TNIL:
    case LUA_TBOOLEAN:
        sandbox_push_text(lua, index);
        luaL_addvalue(buffer);
        return;
    default: luaL_argerror(lua, index, "value has no literal form");
    }
}

int format_format(lua_State *lua)
{
    int top = lua_gettop(lua), index = 1;
    struct slice format;
    format.data = luaL_checklstring(lua, 1, &format.size);
    vm_spend(lua, format.size / 16);
    luaL_Buffer buffer;
    luaL_buffinit(lua, &buffer);
    for (size_t at = 0; at < format.size;) {
        char c = format.data[at++];
        if (c != '%' || (at < format.size && format.data[at] == '%')) {
            luaL_addchar(&buffer, c);
            if (c == '%') at++;
            continue;
        }
        struct spec spec;
        if (++index > top) return luaL_argerror(lua, index, "no value");
        at += read_spec(lua, format, at, &spec);
        if (spec.conversion == 's') {
            add_text(lua, &buffer, index, &spec);
        } else if (spec.conversion == 'q') {
            if (spec.has_modifier) return luaL_error(lua, "specifier '%%q' cannot have modifiers");
            add_quoted(lua, &buffer, index);
        } else {
            add_number(lua, &buffer, index, &spec);
        }
    }
    luaL_pushresult(&buffer);
    return 1;
}

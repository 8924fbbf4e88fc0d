/* DESIGN
 *
 * One loop walks subject and pattern forward. Where there is an alternative it is noted as a choice; on
 * failure the newest choice is taken up. Kinds of choices:
 *
 *     x?        WITHOUT       go on behind the item without it
 *     x* x+     LESS          count repetitions were taken: try one less
 *     x-        MORE          try one repetition more
 *     ( )       FORGET_…      nothing else to try: undo the capture
 *
 * A pattern has no loops but those of single items, so there are never more choices than pattern items;
 * beyond PATTERN_OPEN_MAX it is "too complex", the same limit as Lua's. */
#include "vm/pattern.h"

enum { SIZE_UNFINISHED = -1, SIZE_POSITION = -2, SPEND_STEPS = 1024, ESCAPE = '%' };

static void step(struct pattern *pattern)
{
    if (++pattern->steps < SPEND_STEPS) return;
    pattern->steps = 0;
    vm_spend(pattern->lua, SPEND_STEPS);
}

void pattern_finish(struct pattern *pattern)
{
    vm_spend(pattern->lua, pattern->steps);
}

/* --- classes --- */

static bool is_lower(int c)
{
    return c >= 'a' && c <= 'z';
}
static bool is_upper(int c)
{
    return c >= 'A' && c <= 'Z';
}
static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}
static bool is_visible(int c)
{
    return c > 0x20 && c < 0x7f;
}

static bool in_class(int c, int name)
{
    bool result;
    switch (is_upper(name) ? name + 0x20 : name) {
    case 'a': result = is_lower(c) || is_upper(c); break;
    case 'c': result = c < 0x20 || c == 0x7f; break;
    case 'd': result = is_digit(c); break;
    case 'g': result = is_visible(c); break;
    case 'l': result = is_lower(c); break;
    case 'p': result = is_visible(c) && !is_lower(c) && !is_upper(c) && !is_digit(c); break;
    case 's': result = c == ' ' || (c >= '\t' && c <= '\r'); break;
    case 'u': result = is_upper(c); break;
    case 'w': result = is_lower(c) || is_upper(c) || is_digit(c); break;
    case 'x': result = is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); break;
    case 'z': result = c == 0; break; /* of older Luas, still there */
    default: return name == c;
    }
    return is_upper(name) ? !result : result;
}

/* set points to '[', last to its ']'. */
static bool in_set(int c, const char *set, const char *last)
{
    const char *at = set + 1;
    bool wanted = true;
    if (*at == '^') {
        wanted = false;
        at++;
    }
    while (at < last) {
        if (*at == ESCAPE) {
            if (in_class(c, (unsigned char)at[1])) return wanted;
            at += 2;
        } else if (at[1] == '-' && at + 2 < last) {
            if ((unsigned char)at[0] <= c && c <= (unsigned char)at[2]) return wanted;
            at += 3;
        } else {
            if ((unsigned char)*at == c) return wanted;
            at++;
        }
    }
    return !wanted;
}

/* Behind the single item that begins at `at`. Texts of Lua end with a NUL, so looking at *end is allowed. */
static const char *item_end(struct pattern *pattern, const char *at)
{
    char first = *at++;
    if (first == ESCAPE) {
        if (at == pattern->end) luaL_error(pattern->lua, "malformed pattern (ends with '%%')");
        return at + 1;
    }
    if (first != '[') return at;
    if (*at == '^') at++;
    do { /* the first one is no end: []] */
        if (at == pattern->end) luaL_error(pattern->lua, "malformed pattern (missing ']')");
        if (*at++ == ESCAPE && at < pattern->end) at++;
    } while (*at != ']');
    return at + 1;
}

static bool item_matches(struct pattern *pattern, const char *at, const char *item, const char *after)
{
    step(pattern);
    if (at >= pattern->subject_end) return false;
    int c = (unsigned char)*at;
    switch (*item) {
    case '.': return true;
    case ESCAPE: return in_class(c, (unsigned char)item[1]);
    case '[': return in_set(c, item, after - 1);
    default: return (unsigned char)*item == c;
    }
}

/* --- choices and captures --- */

static struct pattern_choice *add_choice(struct pattern *pattern)
{
    if (pattern->choice_count == PATTERN_OPEN_MAX) luaL_error(pattern->lua, "pattern too complex");
    return &pattern->choices[pattern->choice_count++];
}

static void open_capture(struct pattern *pattern, const char *at, ptrdiff_t size)
{
    if (pattern->capture_count >= PATTERN_CAPTURES_MAX) luaL_error(pattern->lua, "too many captures");
    add_choice(pattern)->kind = CHOICE_FORGET_OPEN;
    pattern->captures[pattern->capture_count++] = (struct pattern_capture){at, size};
}

static void close_capture(struct pattern *pattern, const char *at)
{
    int open = pattern->capture_count - 1;
    while (open >= 0 && pattern->captures[open].size != SIZE_UNFINISHED) open--;
    if (open < 0) luaL_error(pattern->lua, "invalid pattern capture");
    struct pattern_choice *choice = add_choice(pattern);
    choice->kind = CHOICE_FORGET_CLOSE;
    choice->capture = open;
    pattern->captures[open].size = at - pattern->captures[open].at;
}

/* --- parts that are no single items --- */

/* %bxy: pair points to x. NULL: not there. */
static const char *match_balance(struct pattern *pattern, const char *at, const char *pair)
{
    if (pattern->end - pair < 2) luaL_error(pattern->lua, "malformed pattern (missing arguments to '%%b')");
    if (at >= pattern->subject_end || *at != pair[0]) return NULL;
    for (ptrdiff_t depth = 1; ++at < pattern->subject_end;) {
        step(pattern);
        if (*at == pair[1]) {
            if (--depth == 0) return at + 1;
        } else if (*at == pair[0]) {
            depth++;
        }
    }
    return NULL;
}

/* %f[set]: set points to '['. */
static bool at_frontier(struct pattern *pattern, const char *at, const char *set, const char *after)
{
    step(pattern);
    int before = at == pattern->subject ? 0 : (unsigned char)at[-1];
    int here = at == pattern->subject_end ? 0 : (unsigned char)*at;
    return !in_set(before, set, after - 1) && in_set(here, set, after - 1);
}

/* %1 … %9 */
static const char *match_again(struct pattern *pattern, const char *at, char digit)
{
    int number = digit - '1';
    if (number < 0 || number >= pattern->capture_count || pattern->captures[number].size == SIZE_UNFINISHED)
        luaL_error(pattern->lua, "invalid capture index %%%d", number + 1);
    const struct pattern_capture *capture = &pattern->captures[number];
    if (capture->size == SIZE_POSITION || pattern->subject_end - at < capture->size) return NULL;
    vm_spend(pattern->lua, (uint64_t)capture->size / 8);
    step(pattern);
    return memcmp(capture->at, at, (size_t)capture->size) == 0 ? at + capture->size : NULL;
}

/* --- the loop --- */

/* A single item with what follows it. Moves *at and *item on; false: failed. */
static bool match_item(struct pattern *pattern, const char **at, const char **item)
{
    const char *after = item_end(pattern, *item);
    char suffix = after < pattern->end ? *after : 0;
    struct pattern_choice *choice;
    bool once = item_matches(pattern, *at, *item, after);
    if (!once) {
        if (suffix != '*' && suffix != '?' && suffix != '-') return false;
        *item = after + 1;
        return true;
    }
    switch (suffix) {
    case '?':
        choice = add_choice(pattern);
        *choice = (struct pattern_choice){.kind = CHOICE_WITHOUT, .subject = *at, .after = after + 1};
        ++*at;
        break;
    case '*':
    case '+': {
        const char *first = suffix == '+' ? *at + 1 : *at, *last = *at + 1;
        while (item_matches(pattern, last, *item, after)) last++;
        choice = add_choice(pattern);
        *choice = (struct pattern_choice){
            .kind = CHOICE_LESS, .subject = first, .count = last - first, .after = after + 1};
        *at = last;
        break;
    }
    case '-':
        choice = add_choice(pattern);
        *choice = (struct pattern_choice){
            .kind = CHOICE_MORE, .subject = *at, .pattern = *item, .after = after + 1};
        break;
    default:
        ++*at;
        *item = after;
        return true;
    }
    *item = after + 1;
    return true;
}

/* One part of the pattern. Moves *at and *item on; false: failed. */
static bool match_part(struct pattern *pattern, const char **at, const char **item)
{
    const char *here = *item;
    switch (*here) {
    case '(': {
        bool position = here[1] == ')';
        open_capture(pattern, *at, position ? SIZE_POSITION : SIZE_UNFINISHED);
        *item = here + (position ? 2 : 1);
        return true;
    }
    case ')':
        close_capture(pattern, *at);
        *item = here + 1;
        return true;
    case '$':
        if (here + 1 != pattern->end) break;
        *item = here + 1;
        return *at == pattern->subject_end;
    case ESCAPE:
        if (here[1] == 'b') {
            *item = here + 4;
            return (*at = match_balance(pattern, *at, here + 2)) != NULL;
        }
        if (here[1] == 'f') {
            if (here[2] != '[') luaL_error(pattern->lua, "missing '[' after '%%f' in pattern");
            *item = item_end(pattern, here + 2);
            return at_frontier(pattern, *at, here + 2, *item);
        }
        if (is_digit(here[1])) {
            *item = here + 2;
            return (*at = match_again(pattern, *at, here[1])) != NULL;
        }
        break;
    default: break;
    }
    return match_item(pattern, at, item);
}

/* Takes up the newest choice that has something left to try; false: none. */
static bool try_other(struct pattern *pattern, const char **at, const char **item)
{
    while (pattern->choice_count > 0) {
        struct pattern_choice *choice = &pattern->choices[pattern->choice_count - 1];
        step(pattern);
        switch (choice->kind) {
        case CHOICE_FORGET_OPEN: pattern->capture_count--; break;
        case CHOICE_FORGET_CLOSE: pattern->captures[choice->capture].size = SIZE_UNFINISHED; break;
        case CHOICE_WITHOUT:
            pattern->choice_count--;
            *at = choice->subject;
            *item = choice->after;
            return true;
        case CHOICE_LESS:
            if (choice->count == 0) break;
            choice->count--;
            *at = choice->subject + choice->count;
            *item = choice->after;
            return true;
        case CHOICE_MORE:
            if (!item_matches(pattern, choice->subject, choice->pattern, choice->after - 1)) break;
            choice->subject++;
            *at = choice->subject;
            *item = choice->after;
            return true;
        }
        pattern->choice_count--;
    }
    return false;
}

const char *pattern_match(struct pattern *pattern, const char *at)
{
    const char *item = pattern->begin;
    pattern->capture_count = 0;
    pattern->choice_count = 0;
    for (;;) {
        if (item == pattern->end) return at;
        if (match_part(pattern, &at, &item)) continue;
        if (!try_other(pattern, &at, &item)) return NULL;
    }
}

void pattern_init(struct pattern *pattern, lua_State *lua, struct slice subject, struct slice text,
                  bool anchors)
{
    pattern->lua = lua;
    pattern->subject = subject.data;
    pattern->subject_end = subject.data + subject.size;
    pattern->anchored = anchors && text.size > 0 && text.data[0] == '^';
    pattern->begin = text.data + pattern->anchored;
    pattern->end = text.data + text.size;
    pattern->capture_count = 0;
    pattern->choice_count = 0;
    pattern->steps = 0;
}

void pattern_push_capture(struct pattern *pattern, int number, const char *begin, const char *end)
{
    lua_State *lua = pattern->lua;
    if (number >= pattern->capture_count) {
        if (number != 0) luaL_error(lua, "invalid capture index %%%d", number + 1);
        lua_pushlstring(lua, begin, (size_t)(end - begin));
        return;
    }
    const struct pattern_capture *capture = &pattern->captures[number];
    if (capture->size == SIZE_UNFINISHED) luaL_error(lua, "unfinished capture");
    if (capture->size == SIZE_POSITION)
        lua_pushinteger(lua, capture->at - pattern->subject + 1);
    else
        lua_pushlstring(lua, capture->at, (size_t)capture->size);
}

int pattern_push_captures(struct pattern *pattern, const char *begin, const char *end)
{
    int count = pattern->capture_count == 0 && begin ? 1 : pattern->capture_count;
    luaL_checkstack(pattern->lua, count, "too many captures");
    for (int i = 0; i < count; i++) pattern_push_capture(pattern, i, begin, end);
    return count;
}

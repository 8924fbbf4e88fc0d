#include "net/target.h"

#include "codec/text.h"

void target_split(struct slice target, struct slice *path, struct slice *query)
{
    const char *mark = target.size ? memchr(target.data, '?', target.size) : NULL;
    if (!mark) {
        *path = target;
        *query = SLICE_NONE;
        return;
    }
    size_t size = (size_t)(mark - target.data);
    *path = slice_make(target.data, size);
    *query = slice_make(mark + 1, target.size - size - 1);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int target_decode(struct slice from, bool with_plus, struct arena *arena, struct slice *to,
                  struct fault *fault)
{
    char *out = arena_take(arena, from.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < from.size; i++) {
        char c = from.data[i];
        if (c == '%') {
            bool whole = from.size - i > 2;
            int high = whole ? digit_of(from.data[i + 1]) : -1;
            int low = whole ? digit_of(from.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return fault_set(fault, FAULT_MALFORMED,
                                 "'%%' in the URL must be followed by two hexadecimal digits");
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && with_plus) {
            c = ' ';
        }
        if (c == 0) return fault_set(fault, FAULT_MALFORMED, "the URL holds a NUL byte");
        out[size++] = c;
    }
    out[size] = 0;
    *to = slice_make(out, size);
    if (!text_is_utf8(*to)) return fault_set(fault, FAULT_MALFORMED, "the URL is not UTF-8");
    return 0;
}

int query_parse(struct slice text, struct arena *arena, struct query *query, struct fault *fault)
{
    query->count = 0;
    const char *at = text.data, *end = text.data + text.size;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (!stop) stop = end;
        struct slice pair = slice_make(at, (size_t)(stop - at));
        at = stop + 1;
        if (pair.size == 0) continue;
        const char *equals = memchr(pair.data, '=', pair.size);
        size_t name_size = equals ? (size_t)(equals - pair.data) : pair.size;
        struct slice raw_value = equals ? slice_make(equals + 1, pair.size - name_size - 1) : SLICE_NONE;
        struct query_pair decoded;
        if (target_decode(slice_make(pair.data, name_size), true, arena, &decoded.name, fault) < 0) return -1;
        if (target_decode(raw_value, true, arena, &decoded.value, fault) < 0) return -1;
        for (size_t i = 0; i < query->count; i++)
            if (slice_equal(query->pairs[i].name, decoded.name))
                return fault_set(fault, FAULT_MALFORMED, "parameter %.*s is given twice",
                                 SLICE_ARGS(decoded.name));
        if (query->count == QUERY_SIZE_MAX)
            return fault_set(fault, FAULT_MALFORMED, "more than %d parameters", QUERY_SIZE_MAX);
        query->pairs[query->count++] = decoded;
    }
    return 0;
}

bool query_find(const struct query *query, const char *name, struct slice *value)
{
    for (size_t i = 0; i < query->count; i++)
        if (slice_is(query->pairs[i].name, name)) {
            *value = query->pairs[i].value;
            return true;
        }
    return false;
}

int query_only(const struct query *query, const char *const *names, struct fault *fault)
{
    for (size_t i = 0; i < query->count; i++) {
        size_t known = 0;
        while (names[known] && !slice_is(query->pairs[i].name, names[known])) known++;
        if (!names[known])
            return fault_set(fault, FAULT_MALFORMED, "unknown parameter %.*s",
                             SLICE_ARGS(query->pairs[i].name));
    }
    return 0;
}

static bool read_number(struct slice text, uint64_t *number)
{
    if (text.size == 0 || text.size > 18) return false;
    *number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        *number = *number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return true;
}

int query_number(const struct query *query, const char *name, uint64_t least, uint64_t *value,
                 struct fault *fault)
{
    struct slice text;
    if (!query_find(query, name, &text)) return 0;
    uint64_t number;
    if (!read_number(text, &number) || number < least)
        return fault_set(fault, FAULT_MALFORMED, "%s=%.*s: expected a whole number from %llu", name,
                         SLICE_ARGS(text), (unsigned long long)least);
    *value = number;
    return 0;
}

bool target_duration(struct slice text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"", 1000}};
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
    uint64_t number;
    if (digits > 9 || !read_number(slice_make(text.data, digits), &number)) return false;
    struct slice unit = slice_make(text.data + digits, text.size - digits);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (slice_is(unit, units[i].unit)) {
            *ms = (int64_t)number * units[i].ms;
            return true;
        }
    return false;
}

#include "net/query.h"

#include "net/target.h"

int query_parse(struct slice text, struct arena *arena, struct query *query, struct fault *fault)
{
    query->count = 0;
    const char *at = text.data, *end = text.size ? text.data + text.size : at;
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

int query_number(const struct query *query, const char *name, uint64_t least, uint64_t *value,
                 struct fault *fault)
{
    struct slice text;
    if (!query_find(query, name, &text)) return 0;
    uint64_t number;
    if (!target_number(text, &number) || number < least)
        return fault_set(fault, FAULT_MALFORMED, "%s=%.*s: expected a whole number from %llu", name,
                         SLICE_ARGS(text), (unsigned long long)least);
    *value = number;
    return 0;
}

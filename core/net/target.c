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

bool target_number(struct slice text, uint64_t *number)
{
    if (text.size == 0 || text.size > 18) return false;
    *number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        *number = *number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return true;
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
    if (digits > 9 || !target_number(slice_make(text.data, digits), &number)) return false;
    struct slice unit = slice_make(text.data + digits, text.size - digits);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (slice_is(unit, units[i].unit)) {
            *ms = (int64_t)number * units[i].ms;
            return true;
        }
    return false;
}

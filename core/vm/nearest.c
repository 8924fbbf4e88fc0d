/* Restricted Damerau-Levenshtein distance over bytes, three rows. */
#include "vm/nearest.h"

#include "vm/vm.h"

enum { NEAREST_SIZE_MAX = 96 };

struct nearest nearest_to(struct slice name)
{
    unsigned most = (unsigned)(name.size / 3);
    if (most > 3) most = 3;
    return (struct nearest){.name = name, .found = SLICE_NONE, .distance = most + 1};
}

static char folded(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

static unsigned distance(struct slice a, struct slice b)
{
    unsigned rows[3][NEAREST_SIZE_MAX + 1];
    unsigned *before = rows[0], *previous = rows[1], *current = rows[2];
    for (size_t j = 0; j <= b.size; j++) previous[j] = (unsigned)j;
    for (size_t i = 1; i <= a.size; i++) {
        current[0] = (unsigned)i;
        for (size_t j = 1; j <= b.size; j++) {
            char x = folded(a.data[i - 1]), y = folded(b.data[j - 1]);
            current[j] = smallest(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == folded(b.data[j - 2]) && folded(a.data[i - 2]) == y;
            if (swapped && before[j - 2] + 1 < current[j]) current[j] = before[j - 2] + 1;
        }
        unsigned *free_row = before;
        before = previous;
        previous = current;
        current = free_row;
    }
    return previous[b.size];
}

void nearest_offer(struct nearest *nearest, struct slice candidate)
{
    struct slice name = nearest->name;
    if (name.size == 0 || candidate.size == 0) return;
    if (name.size > NEAREST_SIZE_MAX || candidate.size > NEAREST_SIZE_MAX) return;
    size_t difference = name.size > candidate.size ? name.size - candidate.size : candidate.size - name.size;
    if (difference > nearest->distance) return;
    unsigned found = distance(name, candidate);
    bool nearer = found < nearest->distance;
    bool as_near = found == nearest->distance && nearest->found.data != NULL;
    if (nearer || (as_near && slice_compare(candidate, nearest->found) < 0)) {
        nearest->distance = found;
        nearest->found = candidate;
    }
}

int nearest_of_list(lua_State *lua)
{
    struct nearest nearest = nearest_to(vm_text_at(lua, 1));
    lua_Integer count = (lua_Integer)lua_rawlen(lua, 2);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, 2, i);
        nearest_offer(&nearest, vm_text_at(lua, -1)); /* the list keeps the text */
        lua_pop(lua, 1);
    }
    struct slice found = nearest_found(&nearest);
    if (found.size == 0)
        lua_pushnil(lua);
    else
        vm_push_slice(lua, found);
    return 1;
}

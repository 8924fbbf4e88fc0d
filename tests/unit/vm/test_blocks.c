/* Small blocks: what is taken is one's own until it is given back, and chunks of which nothing is in use go
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vm/blocks.h"

enum { COUNT = 20000 };

static uint64_t seed = 88172645463325252ull;
static struct {
    unsigned char *data;
    size_t size;
    unsigned char mark;
} taken[COUNT];

static size_t draw(size_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % limit);
}

static void take(struct blocks *blocks, size_t at)
{
    size_t size = 1 + draw(draw(10) ? BLOCKS_SMALL_MAX : 1000);
    taken[at].data = blocks_take(blocks, size);
    taken[at].size = size;
    taken[at].mark = (unsigned char)draw(256);
    memset(taken[at].data, taken[at].mark, size);
}

static void give(struct blocks *blocks, size_t at)
{
    for (size_t i = 0; i < taken[at].size; i++) assert_int_equal(taken[at].data[i], taken[at].mark);
    blocks_give(blocks, taken[at].data, taken[at].size);
    taken[at].data = NULL;
}

/* Blocks come and go, more and more of them go, and the chunks are trimmed in between: no block is touched.
 */
static void what_is_in_use_stays(void **state)
{
    struct blocks blocks = {0};
    for (size_t keep = 10; keep > 0; keep--) {
        for (size_t at = 0; at < COUNT; at++) {
            bool wanted = draw(10) < keep;
            if (!taken[at].data && wanted) take(&blocks, at);
            if (taken[at].data && !wanted) give(&blocks, at);
        }
        blocks_trim(&blocks);
    }
    for (size_t at = 0; at < COUNT; at++)
        if (taken[at].data) give(&blocks, at);
    blocks_trim(&blocks);
    assert_null(blocks.chunks);
    blocks_release(&blocks);
}

static void what_is_left_can_be_cut_from(void **state)
{
    struct blocks blocks = {0};
    unsigned char *kept = blocks_take(&blocks, 16);
    blocks_trim(&blocks);
    for (int i = 0; i < 3; i++) {
        unsigned char *other = blocks_take(&blocks, 256);
        memset(other, 7, 256);
        blocks_give(&blocks, other, 256);
        blocks_trim(&blocks);
    }
    blocks_give(&blocks, kept, 16);
    blocks_trim(&blocks);
    kept = blocks_take(&blocks, 16);
    memset(kept, 1, 16);
    blocks_give(&blocks, kept, 16);
    blocks_release(&blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_use_stays),
        cmocka_unit_test(what_is_left_can_be_cut_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

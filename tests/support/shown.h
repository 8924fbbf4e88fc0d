/* shown.h: for tests of what the terminal sees: JSON as MessagePack, a page as text. */
#ifndef TESTS_SUPPORT_SHOWN_H
#define TESTS_SUPPORT_SHOWN_H

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/page.h"
#include "codec/json.h"

static struct buf shown_bytes, shown_out;

/* Valid until the next one. */
static inline struct slice shown_mp(const char *json)
{
    struct fault fault;
    buf_clear(&shown_bytes);
    if (json_to_mp(slice_of(json), &shown_bytes, &fault) < 0) fail_msg("%s: %s", json, fault.text);
    return buf_slice(&shown_bytes);
}

static inline struct page shown_page(size_t width)
{
    buf_clear(&shown_out);
    return (struct page){.out = &shown_out, .width = width};
}

static inline const char *shown_text(struct page *page)
{
    page_end(page);
    buf_put_byte(&shown_out, 0);
    shown_out.size--;
    return shown_out.data;
}

static inline int shown_set_up(void **state)
{
    (void)state;
    return setlocale(LC_CTYPE, "C.UTF-8") ? 0 : -1;
}

static inline int shown_tear_down(void **state)
{
    (void)state;
    buf_release(&shown_bytes);
    buf_release(&shown_out);
    return 0;
}

#endif

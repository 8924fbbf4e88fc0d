#include "cli/repl_tree.h"

#include "cli/fields.h"
#include "cli/repl_value.h"
#include "codec/mp.h"

enum { TREE_DEPTH_MAX = 40, TREE_STEP = 3 };

static struct fields tree_fields(struct slice bytes)
{
    return (struct fields){.bytes = {.data = (char *)(uintptr_t)bytes.data, .size = bytes.size}};
}

static void tree_put_member(const struct fields *node, const char *before, const char *name, struct buf *out)
{
    struct slice value;
    if (!fields_member(node, name, &value) || !fields_has(node, name)) return;
    buf_put_text(out, before);
    repl_value_cell(out, value, false);
}

/* "FineCreated  fines/fine/A100  version 1, position 303580" */
static void tree_put_node(struct page *page, const struct fields *node)
{
    struct buf line = {0};
    int64_t depth = fields_int(node, "depth");
    if (depth < 0 || depth > TREE_DEPTH_MAX) depth = TREE_DEPTH_MAX;
    tree_put_member(node, "", "time", &line);
    buf_put_text(&line, "  ");
    for (int64_t at = TREE_STEP; at < depth * TREE_STEP; at++) buf_put_byte(&line, ' ');
    if (depth) buf_put_text(&line, page->ascii ? "`- " : "└─ ");
    tree_put_member(node, "", "type", &line);
    tree_put_member(node, "  ", "stream", &line);
    if (fields_has(node, "outcome")) {
        tree_put_member(node, "  ", "outcome", &line);
        tree_put_member(node, ": ", "reason", &line);
        tree_put_member(node, ", ", "message", &line);
    } else {
        tree_put_member(node, "  version ", "version", &line);
        tree_put_member(node, ", position ", "position", &line);
    }
    page_cut(page, PAGE_PLAIN, buf_slice(&line), 0, page->width);
    page_end(page);
    buf_release(&line);
}

bool repl_tree_put(struct page *page, struct slice bytes, size_t *lines_left)
{
    struct fields trace = tree_fields(bytes), node;
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP || map.count != 2) return false;
    const uint8_t *at = NULL;
    if (!fields_has(&trace, "correlation") || !fields_next(&trace, "trace", &at, &node)) return false;
    do {
        if (!*lines_left) break;
        tree_put_node(page, &node);
        --*lines_left;
    } while (fields_next(&trace, "trace", &at, &node));
    return true;
}

#include "vm/excerpt.h"

#include "codec/json.h"
#include "codec/text.h"

enum { TEXT_SIZE_MAX = 160 }; /* a longer line is cut: it is shown to be recognised */

struct excerpt {
    struct slice whole;          /* the error's line */
    struct slice message;        /* without the place */
    const struct source *source; /* NULL: it names none */
    int line;
    struct slice text; /* of that line, without the blanks around it; may be empty */
};

static bool take_line(struct slice *rest, struct slice *line)
{
    if (!rest->size) return false;
    const char *end = memchr(rest->data, '\n', rest->size);
    size_t size = end ? (size_t)(end - rest->data) : rest->size;
    *line = slice_make(rest->data, size);
    *rest = slice_make(rest->data + size + (end != NULL), rest->size - size - (end != NULL));
    return true;
}

static struct slice without_blanks(struct slice text)
{
    while (text.size && strchr(" \t", text.data[0])) text.data++, text.size--;
    while (text.size && strchr(" \t\r", text.data[text.size - 1])) text.size--;
    if (text.size <= TEXT_SIZE_MAX) return text;
    size_t size = TEXT_SIZE_MAX;
    while (size && ((uint8_t)text.data[size] & 0xc0) == 0x80) size--;
    return slice_make(text.data, size);
}

static struct slice line_of(const struct source *source, int line)
{
    struct slice rest = source->text, text = SLICE_NONE;
    for (int at = 0; at < line; at++)
        if (!take_line(&rest, &text)) return SLICE_NONE;
    text = without_blanks(text);
    return text_is_utf8(text) ? text : SLICE_NONE;
}

/* "path:12: message" of a path that sources have. */
static bool take_place(struct excerpt *excerpt, struct slice text, const struct sources *sources)
{
    const char *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    if (!colon) return false;
    const char *at = colon + 1, *end = text.data + text.size;
    int line = 0;
    for (; at < end && *at >= '0' && *at <= '9' && line < 100000000; at++) line = 10 * line + (*at - '0');
    if (at == colon + 1 || end - at < 2 || at[0] != ':' || at[1] != ' ') return false;
    excerpt->source = sources_find(sources, slice_make(text.data, (size_t)(colon - text.data)));
    if (!excerpt->source) return false;
    excerpt->line = line;
    excerpt->message = slice_make(at + 2, (size_t)(end - at) - 2);
    excerpt->text = line_of(excerpt->source, line);
    return true;
}

static bool next_excerpt(struct slice *errors, const struct sources *sources, struct excerpt *excerpt)
{
    struct slice line;
    if (!take_line(errors, &line)) return false;
    *excerpt = (struct excerpt){.whole = line, .message = line};
    struct slice dir = slice_of(sources_dir(sources));
    bool inside =
        line.size > dir.size && memcmp(line.data, dir.data, dir.size) == 0 && line.data[dir.size] == '/';
    struct slice below = inside ? slice_make(line.data + dir.size + 1, line.size - dir.size - 1) : line;
    if (!take_place(excerpt, below, sources) && inside) take_place(excerpt, line, sources);
    return true;
}

void excerpt_put_text(struct slice errors, const struct sources *sources, struct buf *out)
{
    struct excerpt excerpt;
    while (next_excerpt(&errors, sources, &excerpt)) {
        buf_format(out, "%.*s\n", SLICE_ARGS(excerpt.whole));
        if (excerpt.text.size) buf_format(out, "    %.*s\n", SLICE_ARGS(excerpt.text));
    }
}

size_t excerpt_put_json(struct slice errors, const struct sources *sources, struct buf *json)
{
    struct excerpt excerpt;
    size_t count = 0;
    buf_put_byte(json, '[');
    while (next_excerpt(&errors, sources, &excerpt)) {
        if (count++) buf_put_byte(json, ',');
        buf_put_byte(json, '{');
        if (excerpt.source) {
            json_put_text_member(json, "file", excerpt.source->path);
            json_put_int_member(json, "line", excerpt.line);
        }
        json_put_text_member(json, "message", excerpt.message);
        if (excerpt.text.size) json_put_text_member(json, "text", excerpt.text);
        buf_put_byte(json, '}');
    }
    buf_put_byte(json, ']');
    return count;
}

/* Candidates of a completion, as repl_line.h declares them. */
#include "cli/page.h"
#include "cli/repl_line.h"
#include "cli/repl_value.h"

enum { COMPLETION_SHOWN_MAX = 200, COMPLETION_GAP = 2 };

void repl_completion_add(struct repl_completion *completion, struct slice word)
{
    for (struct slice rest = word; rest.size;)
        if (!page_is_clean(page_next(&rest))) return; /* it would stand in the line and be sent */
    if (word.size == 0) return;
    buf_put_slice(&completion->words, word);
    buf_put_byte(&completion->words, 0);
    completion->count++;
}

struct slice repl_completion_common(const struct repl_completion *completion)
{
    struct slice common = SLICE_NONE;
    const char *word = completion->words.data;
    for (size_t at = 0; at < completion->count; at++, word += strlen(word) + 1) {
        if (at == 0) common = slice_of(word);
        size_t same = 0;
        while (same < common.size && common.data[same] == word[same]) same++;
        common.size = same;
    }
    /* not in the middle of a character */
    while (common.size && completion->count > 1 && ((uint8_t)common.data[common.size] & 0xc0) == 0x80)
        common.size--;
    return common;
}

/* Down the columns first, as lists of files are read. */
void repl_completion_put(const struct repl_completion *completion, size_t width, struct buf *out)
{
    const char *words[COMPLETION_SHOWN_MAX];
    size_t count = 0, widest = 1;
    for (const char *word = completion->words.data; count < completion->count && count < COMPLETION_SHOWN_MAX;
         word += strlen(word) + 1) {
        size_t columns = page_columns(slice_of(word));
        if (columns > widest) widest = columns;
        words[count++] = word;
    }
    struct page page = {.out = out, .width = width};
    size_t columns = width / (widest + COMPLETION_GAP), rows;
    if (columns == 0) columns = 1;
    rows = (count + columns - 1) / columns;
    for (size_t row = 0; row < rows; row++) {
        for (size_t at = row; at < count; at += rows) {
            page_indent(&page, at / rows * (widest + COMPLETION_GAP));
            page_cut(&page, PAGE_PLAIN, slice_of(words[at]), 0, width - 1);
        }
        page_end(&page);
    }
    if (count < completion->count || completion->more) page_put(&page, PAGE_DIM, slice_of("and more"));
    page_end(&page);
}

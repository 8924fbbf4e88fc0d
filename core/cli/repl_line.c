#include "cli/repl_line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

#include <histedit.h>

#include "base/mem.h"
#include "cli/page.h"
#include "cli/repl_history.h"
#include "cli/repl_wake.h"

enum { LINE_PASTE_MAX = 256 << 10 /* characters */ };

#define LINE_INVISIBLE '\1' /* around what takes no column of a prompt */
#define LINE_CANCEL L'\x03'

struct repl_line {
    struct repl_line_options options;
    EditLine *editor;
    History *history;
    struct buf prompt;
    bool is_cancelled, cancel_again; /* cancel_again: the cursor is at the end, the line can be left */
    bool pastes;                     /* the terminal says what is pasted */
    bool is_strange;                 /* bytes came that are no characters */
    int signal_number;
};

static struct repl_line *line_of(EditLine *editor)
{
    struct repl_line *line = NULL;
    el_get(editor, EL_CLIENTDATA, &line);
    return line;
}

static char *line_prompt(EditLine *editor)
{
    return line_of(editor)->prompt.data;
}

/* --- characters --- */

static void line_suspend(struct repl_line *line)
{
    el_set(line->editor, EL_PREP_TERM, 0);
    raise(SIGSTOP);
    el_set(line->editor, EL_PREP_TERM, 1);
    el_set(line->editor, EL_REFRESH);
}

static void line_resize(struct repl_line *line)
{
    if (line->pastes) fputs("\r\033[J", stdout);
    el_resize(line->editor);
    el_set(line->editor, EL_REFRESH);
}

/* 1: *character is what to read; 0: end; -1: nothing of the kind. */
static int line_take_signal(struct repl_line *line, wchar_t *character)
{
    int number = repl_wake_take();
    if (repl_wake_is_end(number)) {
        line->signal_number = number;
        return 0;
    }
    if (number == SIGTSTP) line_suspend(line);
    if (number == SIGWINCH) line_resize(line);
    if (number != SIGINT) return -1;
    *character = LINE_CANCEL;
    return 1;
}

/* Reads on until the bytes are a character; of those that can be none the line remembers that they came. */
static int line_take_bytes(struct repl_line *line, wchar_t *character, bool *is_whole)
{
    static mbstate_t state; /* of the one terminal */
    char byte;
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    *is_whole = false;
    if (got < 0) return errno == EINTR || errno == EAGAIN ? 1 : 0;
    if (got == 0) return 0;
    size_t size = mbrtowc(character, &byte, 1, &state);
    if (size == (size_t)-1) {
        memset(&state, 0, sizeof state);
        line->is_strange = true;
    }
    *is_whole = size == 1 || size == 0;
    if (size == 0) *character = 0;
    return 1;
}

static int line_take_character(EditLine *editor, wchar_t *character)
{
    struct repl_line *line = line_of(editor);
    if (line->cancel_again) {
        *character = LINE_CANCEL;
        return 1;
    }
    for (;;) {
        struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                 {.fd = repl_wake_fd(), .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR) return -1;
        if (ready[1].revents) {
            int taken = line_take_signal(line, character);
            if (taken >= 0) return taken;
            continue;
        }
        bool is_whole;
        if (!ready[0].revents) continue;
        if (line_take_bytes(line, character, &is_whole) == 0) return 0;
        if (is_whole) return 1;
    }
}

/* --- keys --- */

/* Comes twice: the first moves behind the line, so that the prompt that follows does not cover it. */
static unsigned char line_cancel(EditLine *editor, int key)
{
    struct repl_line *line = line_of(editor);
    (void)key;
    if (!line->cancel_again) {
        const LineInfo *info = el_line(editor);
        line->cancel_again = true;
        el_cursor(editor, (int)(info->lastchar - info->cursor));
        return CC_CURSOR;
    }
    line->cancel_again = false;
    line->is_cancelled = true;
    return CC_NEWLINE;
}

static bool line_is_blank(struct slice text)
{
    while (text.size && text.data[text.size - 1] != '\n') {
        if (text.data[text.size - 1] != ' ' && text.data[text.size - 1] != '\t') return false;
        text.size--;
    }
    return true;
}

static int line_characters(struct slice text)
{
    int count = 0;
    for (; text.size; count++) page_next(&text);
    return count;
}

static void line_list(struct repl_line *line, const struct repl_completion *completion)
{
    struct buf list = {0};
    int columns = 0;
    const LineInfo *info = el_line(line->editor);
    el_cursor(line->editor, (int)(info->lastchar - info->cursor));
    el_get(line->editor, EL_GETTC, "co", &columns);
    repl_completion_put(completion, columns > 0 ? (size_t)columns : 80, &list);
    fprintf(stdout, "\n%.*s", SLICE_ARGS(buf_slice(&list)));
    fflush(stdout);
    el_set(line->editor, EL_REFRESH);
    buf_release(&list);
}

static unsigned char line_complete(EditLine *editor, int key)
{
    struct repl_line *line = line_of(editor);
    const LineInfo *info = el_line(editor);
    struct slice text = slice_make(info->buffer, (size_t)(info->cursor - info->buffer));
    (void)key;
    if (line_is_blank(text)) return el_insertstr(editor, "  ") < 0 ? CC_ERROR : CC_REFRESH;
    struct repl_completion completion = {0};
    struct buf copy = {0};
    unsigned char shown = CC_REFRESH;
    buf_put_slice(&copy, text);
    line->options.complete(line->options.user, buf_slice(&copy), &completion);
    if (completion.count && completion.from <= copy.size) {
        struct slice word = slice_make(copy.data + completion.from, copy.size - completion.from);
        struct slice common = repl_completion_common(&completion);
        if (common.size && !slice_equal(common, word)) {
            char *insert = mem_text(common.data, common.size);
            el_deletestr(editor, line_characters(word));
            el_insertstr(editor, insert);
            mem_free(insert);
        } else if (completion.count > 1) {
            line_list(line, &completion);
            shown = CC_NORM;
        }
    } else {
        shown = CC_REFRESH_BEEP;
    }
    buf_release(&completion.words);
    buf_release(&copy);
    return shown;
}

/* Pasted text goes into the line as it is, line ends included, up to the sequence that ends it. */
static unsigned char line_paste(EditLine *editor, int key)
{
    static const wchar_t end[] = L"\033[201~";
    wchar_t *text = mem_alloc((LINE_PASTE_MAX + 1) * sizeof *text), character;
    size_t size = 0, size_end = wcslen(end);
    (void)key;
    while (size < LINE_PASTE_MAX && el_wgetc(editor, &character) == 1) {
        text[size++] = character == L'\r' ? L'\n' : character;
        if (size >= size_end && wmemcmp(text + size - size_end, end, size_end) == 0) {
            size -= size_end;
            break;
        }
    }
    while (size && text[size - 1] == L'\n') size--;
    text[size] = 0;
    bool whole = size == 0 || el_winsertstr(editor, text) == 0;
    mem_free(text);
    return whole ? CC_REFRESH : CC_REFRESH_BEEP;
}

static void line_bind(struct repl_line *line)
{
    static const char *const keys[][2] = {
        {"^I", "lore-complete"},      {"^C", "lore-cancel"},         {"\\e[200~", "lore-paste"},
        {"^R", "em-inc-search-prev"}, {"\\e[H", "ed-move-to-beg"},   {"\\e[F", "ed-move-to-end"},
        {"\\e[1~", "ed-move-to-beg"}, {"\\e[4~", "ed-move-to-end"},  {"\\e[3~", "ed-delete-next-char"},
        {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},  {"\\e[1;3C", "em-next-word"},
        {"\\e[1;3D", "ed-prev-word"}, {"^W", "ed-delete-prev-word"},
    };
    /* wide, since el_set copies the names and never frees them */
    el_wset(line->editor, EL_ADDFN, L"lore-complete", L"complete the word", line_complete);
    el_wset(line->editor, EL_ADDFN, L"lore-cancel", L"give the line up", line_cancel);
    el_wset(line->editor, EL_ADDFN, L"lore-paste", L"take pasted text", line_paste);
    for (size_t at = 0; at < sizeof keys / sizeof *keys; at++)
        el_set(line->editor, EL_BIND, keys[at][0], keys[at][1], NULL);
}

/* --- for callers --- */

struct repl_line *repl_line_open(const struct repl_line_options *options)
{
    struct repl_line *line = MEM_NEW(struct repl_line);
    const char *terminal = getenv("TERM");
    HistEvent event;
    line->options = *options;
    line->pastes = terminal && *terminal && strcmp(terminal, "dumb") != 0;
    line->editor = el_init("lore", stdin, stdout, stderr);
    line->history = history_init();
    history(line->history, &event, H_SETSIZE, REPL_HISTORY_MAX);
    history(line->history, &event, H_SETUNIQUE, 1);
    el_set(line->editor, EL_CLIENTDATA, line);
    el_set(line->editor, EL_EDITOR, "emacs");
    el_set(line->editor, EL_SIGNAL, 0);
    el_set(line->editor, EL_PROMPT_ESC, line_prompt, LINE_INVISIBLE);
    el_set(line->editor, EL_HIST, history, line->history);
    el_source(line->editor, NULL);
    line_bind(line);
    el_set(line->editor, EL_GETCFN, line_take_character);
    return line;
}

void repl_line_close(struct repl_line *line)
{
    el_end(line->editor);
    history_end(line->history);
    buf_release(&line->prompt);
    mem_free(line);
}

static void line_set_prompt(struct repl_line *line, const char *prompt, bool is_loud)
{
    buf_clear(&line->prompt);
    size_t size = strlen(prompt), last = size && prompt[size - 1] == ' ' ? size - 1 : size;
    if (line->options.coloured)
        buf_format(&line->prompt, "\1\033[1%sm\1%.*s\1\033[m\1 ", is_loud ? ";31" : "", (int)last, prompt);
    else
        buf_format(&line->prompt, "%s", prompt);
    buf_put_byte(&line->prompt, 0);
}

enum repl_line_end repl_line_read(struct repl_line *line, const char *prompt, bool is_loud, struct buf *text)
{
    int count = 0;
    line_set_prompt(line, prompt, is_loud);
    line->is_cancelled = line->cancel_again = line->is_strange = false;
    if (line->pastes) fputs("\033[?2004h", stdout);
    fflush(stdout);
    el_resize(line->editor);
    el_set(line->editor, EL_PREP_TERM,
           1); /* before the prompt: what is typed behind it is not echoed twice */
    const char *got = el_gets(line->editor, &count);
    if (line->pastes) fputs("\033[?2004l", stdout);
    if (line->is_cancelled) fputs("^C\n", stdout);
    fflush(stdout);
    if (line->signal_number) return REPL_LINE_KILLED;
    if (line->is_cancelled) return REPL_LINE_CANCELLED;
    if (!got || count <= 0) return REPL_LINE_END;
    size_t size = (size_t)count;
    while (size && got[size - 1] == '\n') size--;
    buf_clear(text);
    buf_put(text, got, size);
    return line->is_strange ? REPL_LINE_STRANGE : REPL_LINE_TEXT;
}

int repl_line_signal(const struct repl_line *line)
{
    return line->signal_number;
}

void repl_line_remember(struct repl_line *line, const char *text)
{
    HistEvent event;
    history(line->history, &event, H_ENTER, text);
}

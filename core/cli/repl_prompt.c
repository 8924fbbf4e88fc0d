#include "cli/repl_prompt.h"

#include <stdio.h>
#include <string.h>

#include "cli/repl_command.h"
#include "cli/repl_history.h"
#include "cli/repl_line.h"
#include "cli/repl_show.h"

enum { PROMPT_COMPLETE_MS = 300, PROMPT_EMPTY_LINES = 2 /* give an input up */ };

struct prompt {
    struct repl *repl;
    struct repl_line *line;
    struct repl_history history;
    struct buf input; /* the lines so far */
    size_t empty;     /* lines at its end */
};

static void prompt_complete(void *user, struct slice text, struct repl_completion *completion)
{
    static const char help[] = ":help ";
    struct prompt *prompt = user;
    struct fields answer = {0}, name;
    struct fault unheard;
    struct buf source = {0};
    size_t before = prompt->input.size;
    bool is_help = before == 0 && slice_starts(text, help);
    if (before == 0 && !is_help && repl_command_complete(text, completion)) return;
    if (!repl_talk_is_open(prompt->repl->talk)) return;
    if (is_help) text = slice_make(text.data + strlen(help), text.size - strlen(help));
    buf_put_slice(&source, buf_slice(&prompt->input));
    buf_put_slice(&source, text);
    if (repl_talk_ask_text(prompt->repl->talk, "complete", buf_slice(&source), PROMPT_COMPLETE_MS, &answer,
                           &unheard) == 0) {
        int64_t from = fields_int(&answer, "from");
        struct slice list;
        if (from >= (int64_t)before && fields_member(&answer, "candidates", &list)) {
            completion->from = (size_t)from - before + (is_help ? strlen(help) : 0);
            completion->more = fields_flag(&answer, "more");
            for (const uint8_t *at = NULL; fields_next(&answer, "candidates", &at, &name);)
                repl_completion_add(completion, fields_as_text(&name));
        }
    }
    fields_release(&answer);
    buf_release(&source);
}

/* "lore> ", with what is not as usual. */
static void prompt_text(const struct prompt *prompt, struct buf *text)
{
    const struct repl *repl = prompt->repl;
    buf_clear(text);
    buf_put_text(text, "lore");
    if (repl->tenant.size && !slice_is(buf_slice(&repl->tenant), repl->cli->tenant))
        buf_format(text, " %.*s", SLICE_ARGS(buf_slice(&repl->tenant)));
    else if (strcmp(repl->cli->tenant, "main") != 0)
        buf_format(text, " %s", repl->cli->tenant);
    if (repl->at.size) buf_format(text, " at %.*s", SLICE_ARGS(buf_slice(&repl->at)));
    if (repl->writes) buf_put_text(text, " WRITE");
    if (!prompt->input.size) {
        buf_put_text(text, "> ");
    } else {
        size_t size = page_columns(buf_slice(text));
        buf_clear(text);
        for (size_t at = 1; at < size; at++) buf_put_byte(text, ' ');
        buf_put_text(text, ".. ");
    }
    buf_put_byte(text, 0);
}

static void prompt_remember(struct prompt *prompt)
{
    struct slice input = buf_slice(&prompt->input);
    while (input.size && input.data[input.size - 1] == '\n') input.size--;
    if (input.size) {
        repl_history_add(&prompt->history, input);
        prompt->input.size = input.size;
        buf_put_byte(&prompt->input, 0);
        repl_line_remember(prompt->line, prompt->input.data);
    }
    buf_clear(&prompt->input);
    prompt->empty = 0;
}

/* One more line of the input; evaluates it if it is whole. */
static void prompt_take(struct prompt *prompt, struct slice text)
{
    struct repl *repl = prompt->repl;
    bool first = prompt->input.size == 0, blank = repl_is_blank(text);
    if (first && blank) return;
    prompt->empty = blank ? prompt->empty + 1 : 0;
    if (!first) buf_put_byte(&prompt->input, '\n');
    buf_put_slice(&prompt->input, text);
    enum repl_end end = REPL_OK;
    if (first && repl_command_is(text)) {
        end = repl_command_run(repl, text);
    } else if (prompt->empty >= PROMPT_EMPTY_LINES || prompt->input.size > REPL_SOURCE_MAX) {
        repl_tell_note(repl, "given up: a whole statement was not found");
    } else {
        const struct repl_evaluation how = repl_evaluation_of(repl);
        struct buf source = {0}; /* the input may not change under the evaluation */
        buf_put_slice(&source, buf_slice(&prompt->input));
        end = repl_evaluate(repl, buf_slice(&source), &how);
        if (end == REPL_OK && slice_starts(buf_slice(&source), "local "))
            repl_tell_note(repl, "a local ends with its input: without local the variable stays");
        buf_release(&source);
    }
    if (end != REPL_INCOMPLETE) prompt_remember(prompt);
}

static void prompt_put(void *user, const char *text)
{
    repl_line_remember(((struct prompt *)user)->line, text);
}

static void prompt_run(struct prompt *prompt)
{
    struct buf text = {0}, sign = {0};
    struct repl *repl = prompt->repl;
    while (!repl->leaves && !repl->signal_number) {
        prompt_text(prompt, &sign);
        switch (repl_line_read(prompt->line, sign.data, repl->writes, &text)) {
        case REPL_LINE_TEXT: prompt_take(prompt, buf_slice(&text)); break;
        case REPL_LINE_STRANGE:
            repl_tell_error(repl, CLI_FAILED,
                            slice_of("what was typed is not UTF-8: the line was not taken"));
            break;
        case REPL_LINE_CANCELLED: buf_clear(&prompt->input); break;
        case REPL_LINE_KILLED: repl->signal_number = repl_line_signal(prompt->line); break;
        case REPL_LINE_END:
            putchar('\n');
            if (prompt->input.size == 0) repl->leaves = true;
            buf_clear(&prompt->input);
            break;
        }
    }
    buf_release(&text);
    buf_release(&sign);
}

void repl_prompt_run(struct repl *repl)
{
    struct prompt prompt = {.repl = repl};
    struct buf unused = {0};
    const struct repl_line_options options = {
        .complete = prompt_complete, .user = &prompt, .coloured = repl_show_page(&unused).coloured};
    if (repl_connect(repl) < 0) return;
    prompt.line = repl_line_open(&options);
    repl_history_open(&prompt.history);
    repl_history_each(&prompt.history, prompt_put, &prompt);
    prompt_run(&prompt);
    repl_line_close(prompt.line);
    repl_history_close(&prompt.history);
    buf_release(&prompt.input);
    repl->code = CLI_OK; /* what failed on the way was said to who sits there */
}

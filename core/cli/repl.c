/* repl.c: lore repl: questions to the hub in Lua, typed or given.
 *
 *   repl_line        a line edited: libedit        repl_history   what was typed in earlier runs
 *   repl_command     what begins with a colon      repl_session   the session, and what is said of it
 *   repl_evaluate    one evaluation, its lines     repl_talk      the protocol; repl_wake: signals meanwhile
 *   repl_show        values, rows, texts, by repl_value, repl_table, repl_plot; repl_save, repl_csv: files */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/repl_command.h"
#include "cli/repl_history.h"
#include "cli/repl_line.h"
#include "cli/repl_session.h"
#include "cli/repl_show.h"
#include "cli/repl_wake.h"

enum { REPL_COMPLETE_MS = 300, REPL_INPUT_MAX = 4 << 20, REPL_EMPTY_LINES = 2 /* give an input up */ };

/* The characters of the terminal, for this thread alone: a hub of our own runs scripts in the C locale.
 * Where nothing is said, terminals of today are UTF-8. */
static void repl_set_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    bool said = false;
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        const char *value = getenv(names[at]);
        if (value && *value) said = true;
    }
    locale_t locale = newlocale(LC_CTYPE_MASK, said ? "" : "C.UTF-8", NULL);
    if (locale) uselocale(locale);
}

/* --- typed --- */

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
    if (repl_talk_ask_text(prompt->repl->talk, "complete", buf_slice(&source), REPL_COMPLETE_MS, &answer,
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

static bool prompt_is_blank(struct slice text)
{
    for (size_t at = 0; at < text.size; at++)
        if (!strchr(" \t\n", text.data[at])) return false;
    return true;
}

/* One more line of the input; evaluates it if it is whole. */
static void prompt_take(struct prompt *prompt, struct slice text)
{
    struct repl *repl = prompt->repl;
    bool first = prompt->input.size == 0, blank = prompt_is_blank(text);
    if (first && blank) return;
    prompt->empty = blank ? prompt->empty + 1 : 0;
    if (!first) buf_put_byte(&prompt->input, '\n');
    buf_put_slice(&prompt->input, text);
    enum repl_end end = REPL_OK;
    if (first && repl_command_is(text)) {
        end = repl_command_run(repl, text);
    } else if (prompt->empty >= REPL_EMPTY_LINES || prompt->input.size > REPL_INPUT_MAX) {
        repl_tell_note(repl, "given up: a whole statement was not found");
    } else {
        const struct repl_evaluation how = repl_evaluation_of(repl);
        struct buf source = {0}; /* the input may not change under the evaluation */
        buf_put_slice(&source, buf_slice(&prompt->input));
        end = repl_evaluate(repl, buf_slice(&source), &how);
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

static void repl_run_typed(struct repl *repl)
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

/* --- given --- */

static enum repl_end repl_run_source(struct repl *repl, struct slice source)
{
    const struct repl_evaluation how = repl_evaluation_of(repl);
    if (prompt_is_blank(source)) return REPL_OK;
    if (repl_command_is(source)) return repl_command_run(repl, source);
    enum repl_end end = repl_evaluate(repl, source, &how);
    if (end == REPL_INCOMPLETE) {
        repl_tell_error(repl, CLI_FAILED, slice_of("the input ends in the middle of a statement"));
        return REPL_FAILED;
    }
    return end;
}

static void repl_run_expressions(struct repl *repl)
{
    for (int at = 0; at < repl->cli->many_count; at++)
        if (repl_run_source(repl, slice_of(repl->cli->many[at])) != REPL_OK || repl->leaves) return;
}

/* A script is one piece of Lua, from one line with a colon to the next. */
static void repl_run_script(struct repl *repl, struct slice script)
{
    while (script.size && !repl->leaves) {
        size_t size = 0;
        bool command = script.data[0] == ':';
        do {
            const char *newline = memchr(script.data + size, '\n', script.size - size);
            size = newline ? (size_t)(newline + 1 - script.data) : script.size;
        } while (!command && size < script.size && script.data[size] != ':');
        if (repl_run_source(repl, slice_make(script.data, size)) != REPL_OK) return;
        script = slice_make(script.data + size, script.size - size);
    }
}

static int repl_read_script(struct buf *script, struct fault *fault)
{
    for (;;) {
        char *room = buf_room(script, 64 << 10);
        ssize_t got = read(STDIN_FILENO, room, 64 << 10);
        if (got == 0) return 0;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fault_errno(fault, errno, "stdin");
        script->size += (size_t)got;
        if (script->size > REPL_INPUT_MAX)
            return fault_set(fault, FAULT_TOO_LARGE, "stdin: a script of more than %d MiB", REPL_INPUT_MAX >> 20);
    }
}

static void repl_run_given(struct repl *repl)
{
    struct buf script = {0};
    struct fault fault;
    if (repl->cli->many_count)
        repl_run_expressions(repl);
    else if (repl_read_script(&script, &fault) < 0)
        repl_tell_fault(repl, &fault);
    else
        repl_run_script(repl, buf_slice(&script));
    buf_release(&script);
}

static int repl_run(struct cli *cli)
{
    struct client *client;
    struct fault fault;
    struct repl repl = {.cli = cli};
    repl_set_locale();
    if (client_open(cli, CLIENT_VIEWS, &client, &fault) < 0) return cli_fail(&fault);
    repl.is_interactive =
        cli->many_count == 0 && !cli->json && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    repl.talk = repl_talk_new(client, cli->tenant);
    repl_wake_start();
    if (repl.is_interactive)
        repl_run_typed(&repl);
    else
        repl_run_given(&repl);
    if (!repl.signal_number) repl_talk_close(repl.talk);
    repl_talk_free(repl.talk);
    client_close(client);
    buf_release(&repl.tenant);
    buf_release(&repl.at);
    buf_release(&repl.file_name);
    buf_release(&repl.file);
    if (repl.signal_number) repl_wake_die(repl.signal_number);
    return repl.code;
}

static const struct cli_option repl_options[] = {
    {"e", "EXPR", "evaluate it and end; may be given several times"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_repl = {
    .name = "repl",
    .summary = "ask questions in Lua: streams, views, events, past and future",
    .arguments = "",
    .help =
        "Lua 5.4 with the domain at hand. Everything runs in the hub, in a session of its own with limits of time\n"
        "and memory, and nothing can be written before :write says so. Works on the hub that has the data\n"
        "directory, on any hub by --to URL, or without a hub on the data directory alone.\n\n"
        "  billing.bill \"7\"                      a stream: version, position, state\n"
        "  billing.bill(\"7\"):at \"2026-05-01\"     as it was\n"
        "  views.billing.outstanding_invoices:range(\"due_on\", nil, now())\n"
        "  events { type = \"BillClosed\" }:group(function(e) return e.at:sub(1, 7) end):count()\n"
        "  it:plot()                             the last result as a drawing\n"
        "  dry(billing.bill \"7\", CloseBill {})    what would follow; nothing is written\n\n"
        "At the prompt :help lists all that can be called and the commands of the terminal, TAB completes, ^R\n"
        "searches what was typed before. An input goes on over several lines until it is whole; two empty lines\n"
        "or Ctrl-C give it up. Ctrl-C during an evaluation stops it, and variables stay. Ctrl-D leaves.\n"
        "What is typed is kept in $XDG_STATE_HOME/lore/history (~/.local/state/lore/history), but for what\n"
        "begins with a blank. Keys can be bound in ~/.editrc. Colours: not with NO_COLOR.\n\n"
        "Without a terminal a script is read from stdin: one piece of Lua between lines that begin with a colon.\n"
        "With -e or a script all rows and lines are shown, and the exit code is 1 where something failed. --json\n"
        "prints each value as one line, rows of a query one a line, and what print() says on stderr.\n\n"
        "Files are written here, never by the hub, and only those that are named in what was typed: :save FILE,\n"
        "it:save \"FILE\". CSV is RFC 4180 and holds texts as they are; how many of them a spreadsheet would take\n"
        "for a formula is said. A file that exists is overwritten with :save! FILE only.\n\n"
        "  lore repl\n"
        "  lore repl --to https://hub.example\n"
        "  lore repl --json -e 'events { type = \"BillClosed\" }:count()'\n"
        "  lore repl < report.lua > report.txt",
    .options = repl_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .run = repl_run,
};

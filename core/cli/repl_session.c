/* The session and what is said about it; evaluations are in repl_evaluate.c. */
#include "cli/repl_session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/repl_show.h"
#include "cli/repl_value.h"

/* --- telling --- */

static void session_put_lines(struct page *page, struct slice text)
{
    for (bool more = true; more;) {
        const char *newline = text.size ? memchr(text.data, '\n', text.size) : NULL;
        size_t size = newline ? (size_t)(newline - text.data) : text.size;
        struct buf line = {0};
        repl_value_escape(&line, slice_make(text.data, size), page->ascii);
        page_put(page, PAGE_PLAIN, buf_slice(&line));
        page_end(page);
        buf_release(&line);
        more = newline && size + 1 < text.size;
        if (more) text = slice_make(newline + 1, text.size - size - 1);
    }
}

static void session_write_error(struct buf *out)
{
    fflush(stdout);
    fwrite(out->data, 1, out->size, stderr);
    buf_release(out);
}

void repl_tell_error(struct repl *repl, int code, struct slice text)
{
    struct buf out = {0};
    struct page page = repl_show_page(&out);
    if (isatty(STDERR_FILENO) != 1) page.coloured = false;
    page_put(&page, PAGE_RED, slice_of(repl->is_interactive ? "error" : "lore"));
    page_put(&page, PAGE_PLAIN, slice_of(": "));
    session_put_lines(&page, text);
    session_write_error(&out);
    repl->code = code;
}

void repl_tell_print(struct slice text)
{
    struct buf out = {0};
    struct page page = repl_show_page(&out);
    session_put_lines(&page, text);
    session_write_error(&out);
}

void repl_tell_fault(struct repl *repl, const struct fault *fault)
{
    repl_tell_error(repl, fault_exit_code(fault->code), slice_of(fault->text));
}

void repl_tell_note(const struct repl *repl, const char *format, ...)
{
    char text[1024];
    struct buf out = {0};
    va_list args;
    if (!repl->is_interactive) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct page page = repl_show_page(&out);
    page_wrap(&page, PAGE_DIM, 0, slice_of(text));
    fwrite(out.data, 1, out.size, stdout);
    fflush(stdout);
    buf_release(&out);
}

/* "  name   what it is", or a text of its own, wrapped below where it begins. */
static void session_put_help_line(struct page *page, struct slice line)
{
    size_t name = 0, text;
    while (line.size && line.data[line.size - 1] == ' ') line.size--;
    while (name < line.size && line.data[name] == ' ') name++;
    const char *gap = name ? memmem(line.data + name, line.size - name, "  ", 2) : NULL;
    if (!line.size) {
        buf_put_byte(page->out, '\n');
        return;
    }
    if (!gap) {
        page_indent(page, name);
        page_wrap(page, name ? PAGE_PLAIN : PAGE_BOLD, name, slice_make(line.data + name, line.size - name));
        return;
    }
    size_t end = (size_t)(gap - line.data);
    for (text = end; line.data[text] == ' ';) text++;
    size_t indent = page_columns(slice_make(line.data, text));
    page_put(page, PAGE_PLAIN, slice_make(line.data, name));
    page_put(page, PAGE_CYAN, slice_make(line.data + name, end - name));
    if (indent > page->width / 2) {
        page_end(page);
        indent = name * 2;
    }
    page_indent(page, indent);
    page_wrap(page, PAGE_PLAIN, indent, slice_make(line.data + text, line.size - text));
}

void repl_tell_help(struct slice text)
{
    struct buf out = {0};
    struct page page = repl_show_page(&out);
    for (bool more = true; more;) {
        const char *newline = text.size ? memchr(text.data, '\n', text.size) : NULL;
        size_t size = newline ? (size_t)(newline - text.data) : text.size;
        session_put_help_line(&page, slice_make(text.data, size));
        more = newline && size + 1 < text.size;
        if (more) text = slice_make(newline + 1, text.size - size - 1);
    }
    fwrite(out.data, 1, out.size, stdout);
    fflush(stdout);
    buf_release(&out);
}

int repl_tell_saved(struct repl *repl, struct repl_save *save, const char *path)
{
    struct repl_saved saved;
    struct fault fault;
    char rows[32], formulas[32];
    if (repl_save_finish(save, &saved, &fault) < 0) {
        repl_tell_fault(repl, &fault);
        return -1;
    }
    fflush(stdout);
    fprintf(stderr, "wrote %s row%s to %s\n", page_count(saved.rows, rows), saved.rows == 1 ? "" : "s", path);
    if (saved.formulas)
        fprintf(
            stderr,
            "%s text%s in it begin%s with = + - or @, which a spreadsheet takes for a formula: import these "
            "columns as text\n",
            page_count(saved.formulas, formulas), saved.formulas == 1 ? "" : "s",
            saved.formulas == 1 ? "s" : "");
    return 0;
}

/* --- the session --- */

bool repl_is_blank(struct slice text)
{
    for (size_t at = 0; at < text.size; at++)
        if (!strchr(" \t\r\n", text.data[at]) || !text.data[at]) return false;
    return true;
}

static void session_greet(const struct repl *repl, const struct fields *answer)
{
    struct buf contexts = {0};
    struct slice names;
    char position[32];
    if (fields_member(answer, "contexts", &names)) repl_value_cell(&contexts, names, false);
    struct slice list = buf_slice(&contexts);
    if (list.size > 4 && list.data[0] == '{') list = slice_make(list.data + 2, list.size - 4);
    struct buf plain = {0}; /* names in a list stand in quotes */
    for (size_t at = 0; at < list.size; at++)
        if (list.data[at] != '"') buf_put_byte(&plain, (uint8_t)list.data[at]);
    repl_tell_note(repl, "tenant %s, deploy %lld, position %s; contexts: %.*s", repl->cli->tenant,
                   (long long)fields_int(answer, "deploy"),
                   page_count((uint64_t)fields_int(answer, "position"), position),
                   SLICE_ARGS(buf_slice(&plain)));
    repl_tell_note(repl, "Lua 5.4; :help says what can be asked, TAB completes, Ctrl-D leaves");
    buf_release(&contexts);
    buf_release(&plain);
}

/* What no longer is as it was set in the session before. */
static void session_tell_again(const struct repl *repl)
{
    bool moved = repl->tenant.size && !slice_is(buf_slice(&repl->tenant), repl->cli->tenant);
    repl_tell_note(repl, "a new session: variables of the old one are gone%s%s%s%s",
                   moved ? "; it looks at tenant " : "", moved ? repl->cli->tenant : "",
                   repl->at.size ? "; it looks at now again" : "",
                   repl->writes ? "; it is read-only again" : "");
}

int repl_connect(struct repl *repl)
{
    struct fields answer = {0};
    struct fault fault;
    if (repl_talk_is_open(repl->talk)) return 0;
    bool again = repl->is_connected;
    if (repl_talk_open(repl->talk, false, &answer, &fault) < 0) {
        fields_release(&answer);
        repl_tell_fault(repl, &fault);
        return -1;
    }
    if (!again) {
        session_greet(repl, &answer);
    } else {
        session_tell_again(repl);
        buf_clear(&repl->tenant);
        buf_clear(&repl->at);
        repl->writes = false;
    }
    repl->is_connected = true;
    fields_release(&answer);
    return 0;
}

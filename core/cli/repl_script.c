#include "cli/repl_script.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/repl_command.h"
#include "cli/repl_wake.h"

enum { SCRIPT_READ_SIZE = 64 << 10 };

static enum repl_end script_evaluate_source(struct repl *repl, struct slice source)
{
    const struct repl_evaluation how = repl_evaluation_of(repl);
    return repl_command_is(source) ? repl_command_run(repl, source) : repl_evaluate(repl, source, &how);
}

void repl_script_expressions(struct repl *repl, const char *const *expressions, int count)
{
    for (int at = 0; at < count && !repl->leaves; at++) {
        if (repl_is_blank(slice_of(expressions[at]))) continue;
        enum repl_end end = script_evaluate_source(repl, slice_of(expressions[at]));
        if (end == REPL_INCOMPLETE)
            repl_tell_error(repl, CLI_FAILED, slice_of("the expression ends in the middle of a statement"));
        if (end != REPL_OK) return;
    }
}

struct script {
    struct repl *repl;
    struct buf text; /* read and not yet taken */
    bool has_ended;
    struct buf piece; /* lines of a statement that is not whole yet */
    bool is_rest;     /* the piece goes to the end of the script */
};

/* Waits for more of stdin. False: a signal came that ends this. */
static bool script_read(struct script *script, struct fault *fault)
{
    struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = repl_wake_fd(), .events = POLLIN}};
    if (poll(ready, 2, -1) < 0) return true;
    for (int number; ready[1].revents && (number = repl_wake_take());) {
        if (number == SIGTSTP) raise(SIGSTOP);
        if (number != SIGINT && !repl_wake_is_end(number)) continue;
        script->repl->signal_number = number;
        return false;
    }
    if (!ready[0].revents) return true;
    char *room = buf_room(&script->text, SCRIPT_READ_SIZE);
    ssize_t got = read(STDIN_FILENO, room, SCRIPT_READ_SIZE);
    if (got < 0 && errno != EINTR && errno != EAGAIN) {
        fault_errno(fault, errno, "stdin");
        repl_tell_fault(script->repl, fault);
        return false;
    }
    if (got > 0) script->text.size += (size_t)got;
    if (got == 0) script->has_ended = true;
    return true;
}

/* The next line with its end; false: there is none, or no more is to be read. */
static bool script_line(struct script *script, struct buf *line)
{
    struct fault fault;
    const char *newline;
    buf_clear(line);
    while (!(newline = script->text.size ? memchr(script->text.data, '\n', script->text.size) : NULL) &&
           !script->has_ended)
        if (!script_read(script, &fault)) return false;
    size_t size = newline ? (size_t)(newline + 1 - script->text.data) : script->text.size;
    if (size == 0) return false;
    buf_put(line, script->text.data, size);
    script->text.size -= size;
    memmove(script->text.data, script->text.data + size, script->text.size);
    return true;
}

/* Evaluates the piece if it is whole; false: the script ends here. */
static bool script_evaluate(struct script *script)
{
    struct repl *repl = script->repl;
    struct slice piece = buf_slice(&script->piece);
    while (piece.size && piece.data[piece.size - 1] == '\n') piece.size--;
    enum repl_end end = script_evaluate_source(repl, piece);
    if (end != REPL_INCOMPLETE) buf_clear(&script->piece);
    return end == REPL_INCOMPLETE || (end == REPL_OK && !repl->leaves);
}

/* One more line; false: the script ends here. */
static bool script_take(struct script *script, struct slice line)
{
    bool begins = repl_is_blank(buf_slice(&script->piece));
    if (begins) buf_clear(&script->piece);
    buf_put_slice(&script->piece, line);
    if (script->piece.size > REPL_SOURCE_MAX) {
        repl_tell_error(script->repl, CLI_FAILED,
                        slice_of("stdin: a piece of the script is longer than 1 MiB"));
        return false;
    }
    if (begins && (slice_starts(line, "local ") || slice_starts(line, "local\t"))) script->is_rest = true;
    return script->is_rest || repl_is_blank(buf_slice(&script->piece)) || script_evaluate(script);
}

void repl_script_run(struct repl *repl)
{
    struct script script = {.repl = repl};
    struct buf line = {0};
    bool first = true, goes_on = true;
    while (goes_on && script_line(&script, &line)) {
        bool skipped = first && slice_starts(buf_slice(&line), "#!");
        if (!skipped) goes_on = script_take(&script, buf_slice(&line));
        first = false;
    }
    goes_on = goes_on && script.has_ended;
    if (goes_on && script.is_rest) goes_on = script_evaluate(&script);
    if (goes_on && !repl_is_blank(buf_slice(&script.piece)))
        repl_tell_error(repl, CLI_FAILED, slice_of("stdin ends in the middle of a statement"));
    buf_release(&script.text);
    buf_release(&script.piece);
    buf_release(&line);
}

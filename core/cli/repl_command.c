#include "cli/repl_command.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/repl_show.h"
#include "cli/repl_value.h"

enum { COMMAND_ANSWER_MS = 10000, COMMAND_NAME_MAX = 16, COMMAND_DISTANCE_MAX = 2 };

struct command {
    const char *name, *arguments, *help;
    enum repl_end (*run)(struct repl *repl, const char *argument, bool forced);
};

static const struct command *command_find(struct slice name);

/* --- what they do --- */

static enum repl_end command_fail(struct repl *repl, const char *text)
{
    repl_tell_error(repl, CLI_USAGE, slice_of(text));
    return REPL_FAILED;
}

static enum repl_end command_failed(struct repl *repl, const struct fault *fault)
{
    if (fault->code == FAULT_NOT_FOUND && !repl_talk_has_session(repl->talk)) repl_talk_forget(repl->talk);
    repl_tell_fault(repl, fault);
    return REPL_FAILED;
}

/* Evaluates word"argument", or word() without one. */
static enum repl_end command_evaluate(struct repl *repl, const char *word, const char *argument,
                                      const struct repl_evaluation *how)
{
    struct buf source = {0};
    buf_format(&source, "%s(", word);
    if (*argument) repl_value_quote(&source, slice_of(argument), false);
    buf_put_byte(&source, ')');
    enum repl_end end = repl_evaluate(repl, buf_slice(&source), how);
    buf_release(&source);
    return end == REPL_INCOMPLETE ? REPL_FAILED : end;
}

static enum repl_end command_help(struct repl *repl, const char *argument, bool forced)
{
    const struct command *own = *argument == ':' ? command_find(slice_of(argument + 1)) : NULL;
    struct fields answer = {0};
    struct fault fault;
    struct buf text = {0};
    (void)forced;
    if (own) {
        buf_format(&text, ":%s %s\n%s", own->name, own->arguments, own->help);
    } else {
        if (repl_connect(repl) < 0) return REPL_FAILED;
        if (repl_talk_ask_text(repl->talk, "help", slice_of(argument), COMMAND_ANSWER_MS, &answer, &fault) <
            0) {
            fields_release(&answer);
            return command_failed(repl, &fault);
        }
        buf_put_slice(&text, fields_text(&answer, "help"));
        while (text.size && text.data[text.size - 1] == '\n') text.size--;
        if (!*argument) {
            buf_put_text(&text, "\n\nCommands of the terminal\n");
            repl_command_list(&text);
        }
    }
    repl_tell_help(buf_slice(&text));
    fields_release(&answer);
    buf_release(&text);
    return REPL_OK;
}

static enum repl_end command_all(struct repl *repl, const char *argument, bool forced)
{
    (void)argument;
    (void)forced;
    return repl_evaluate(repl, slice_of("it"), &(struct repl_evaluation){.rows = 0, .lines_max = SIZE_MAX});
}

static enum repl_end command_plot(struct repl *repl, const char *argument, bool forced)
{
    struct repl_evaluation how = repl_evaluation_of(repl);
    (void)forced;
    return command_evaluate(repl, "it:plot", argument, &how);
}

static bool command_is_script(const char *path)
{
    size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, ".lua") == 0;
}

static enum repl_end command_write_file(struct repl *repl, const char *path, bool forced)
{
    struct fault fault;
    if (!repl->file.size)
        return command_fail(repl, "no file was given yet: spec_from(…) and :projection give one");
    if (repl_save_text(path, forced, buf_slice(&repl->file), &fault) < 0) {
        repl_tell_fault(repl, &fault);
        return REPL_FAILED;
    }
    fprintf(stderr, "wrote %s\n", path);
    return REPL_OK;
}

static enum repl_end command_save(struct repl *repl, const char *argument, bool forced)
{
    struct repl_save *save;
    struct fault fault;
    if (!*argument) return command_fail(repl, "usage: :save FILE, where FILE ends in .csv, .ndjson or .lua");
    if (command_is_script(argument)) return command_write_file(repl, argument, forced);
    if (repl_save_open(argument, forced, &save, &fault) < 0) {
        repl_tell_fault(repl, &fault);
        return REPL_FAILED;
    }
    const struct repl_evaluation how = {.rows = 0, .lines_max = SIZE_MAX, .save = save};
    enum repl_end end = repl_evaluate(repl, slice_of("it"), &how);
    bool is_empty = end == REPL_OK && repl_save_is_empty(save);
    if ((end == REPL_OK && !is_empty) || repl_save_has_failed(save))
        return repl_tell_saved(repl, save, argument) < 0 ? REPL_FAILED : REPL_OK;
    repl_save_abandon(save);
    if (!is_empty) return end;
    repl_tell_error(repl, CLI_FAILED,
                    slice_of("nothing to save: there is no last result, or it has no rows"));
    return REPL_FAILED;
}

static enum repl_end command_projection(struct repl *repl, const char *argument, bool forced)
{
    const char *blank = strchr(argument, ' ');
    const char *path = blank ? blank + strspn(blank, " ") : "";
    if (!*argument) return command_fail(repl, "usage: :projection NAME [FILE.lua]");
    struct repl_evaluation how = repl_evaluation_of(repl);
    how.keeps_file = *path != 0;
    buf_clear(&repl->file);
    struct slice name = slice_make(argument, blank ? (size_t)(blank - argument) : strlen(argument));
    struct buf source = {0};
    buf_put_text(&source, "projection_from(");
    repl_value_quote(&source, name, false);
    buf_put_text(&source, ", it)");
    enum repl_end end = repl_evaluate(repl, buf_slice(&source), &how);
    buf_release(&source);
    return end == REPL_OK && *path ? command_write_file(repl, path, forced) : end;
}

static enum repl_end command_time(struct repl *repl, const char *argument, bool forced)
{
    (void)forced;
    bool on = strcmp(argument, "on") == 0;
    if (*argument && !on && strcmp(argument, "off") != 0) return command_fail(repl, "usage: :time [on|off]");
    repl->tells_time = *argument ? on : !repl->tells_time;
    repl_tell_note(repl, "the time of each evaluation is %s", repl->tells_time ? "shown" : "not shown");
    return REPL_OK;
}

static enum repl_end command_write(struct repl *repl, const char *argument, bool forced)
{
    struct fields answer = {0};
    struct fault fault;
    (void)forced;
    bool on = strcmp(argument, "on") == 0;
    if (*argument && !on && strcmp(argument, "off") != 0) return command_fail(repl, "usage: :write [on|off]");
    if (!*argument) on = !repl->writes;
    if (repl_connect(repl) < 0) return REPL_FAILED;
    int done = repl_talk_ask_flag(repl->talk, "write", on, &answer, &fault);
    repl->writes = done == 0 && fields_flag(&answer, "write");
    fields_release(&answer);
    if (done < 0) return command_failed(repl, &fault);
    if (on && !repl->writes) return command_fail(repl, "the hub does not let this session write");
    repl_tell_note(repl, repl->writes ? "send(stream, Command{…}) now writes, and is recorded with your name"
                                      : "nothing can be written");
    return REPL_OK;
}

static enum repl_end command_tenant(struct repl *repl, const char *argument, bool forced)
{
    (void)forced;
    if (!*argument) return command_fail(repl, "usage: :tenant NAME");
    const struct repl_evaluation how = repl_evaluation_of(repl);
    return command_evaluate(repl, "tenant", argument, &how);
}

static enum repl_end command_at(struct repl *repl, const char *argument, bool forced)
{
    const struct repl_evaluation how = repl_evaluation_of(repl);
    (void)forced;
    return command_evaluate(repl, "at", argument, &how);
}

static enum repl_end command_quit(struct repl *repl, const char *argument, bool forced)
{
    (void)argument;
    (void)forced;
    repl->leaves = true;
    return REPL_OK;
}

/* --- the table --- */

static const struct command commands[] = {
    {"help", "[NAME]", "what can be called, or one of it", command_help},
    {"all", "", "the last result whole, every row and line", command_all},
    {"save", "FILE",
     "the last result to FILE.csv or FILE.ndjson, the last script to FILE.lua; :save! overwrites",
     command_save},
    {"plot", "[TITLE]", "the last result as bars, a line over time or a histogram", command_plot},
    {"projection", "NAME [FILE]", "the last query as a projection: shown, or written to FILE",
     command_projection},
    {"at", "[T]", "look as of a time, position or deploy:N; without it, now again", command_at},
    {"tenant", "NAME", "look at another tenant", command_tenant},
    {"write", "[on|off]", "allow send(…); what is sent is recorded with your name", command_write},
    {"time", "[on|off]", "show how long each evaluation took", command_time},
    {"quit", "", "leave, as Ctrl-D does", command_quit},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

/* By its name, or a beginning of it that only one has. */
static const struct command *command_find(struct slice name)
{
    const struct command *found = NULL;
    for (size_t at = 0; name.size && at < COMMAND_COUNT; at++) {
        const char *other = commands[at].name;
        if (name.size > strlen(other) || memcmp(other, name.data, name.size) != 0) continue;
        if (other[name.size] == 0) return &commands[at];
        if (found) return NULL;
        found = &commands[at];
    }
    return found;
}

/* How many letters must be put in, left out or changed. */
static size_t command_distance(struct slice a, struct slice b)
{
    size_t row[COMMAND_NAME_MAX + 1];
    if (a.size > COMMAND_NAME_MAX || b.size > COMMAND_NAME_MAX) return COMMAND_NAME_MAX;
    for (size_t at = 0; at <= b.size; at++) row[at] = at;
    for (size_t left = 1; left <= a.size; left++) {
        size_t diagonal = row[0];
        row[0] = left;
        for (size_t at = 1; at <= b.size; at++) {
            size_t change = diagonal + (a.data[left - 1] != b.data[at - 1]);
            diagonal = row[at];
            size_t step = (row[at] < row[at - 1] ? row[at] : row[at - 1]) + 1;
            row[at] = change < step ? change : step;
        }
    }
    return row[b.size];
}

const char *repl_command_nearest(struct slice name)
{
    const char *nearest = NULL;
    size_t distance_min = COMMAND_DISTANCE_MAX + 1;
    for (size_t at = 0; at < COMMAND_COUNT; at++) {
        size_t distance = command_distance(name, slice_of(commands[at].name));
        if (distance >= distance_min || distance >= name.size) continue;
        distance_min = distance;
        nearest = commands[at].name;
    }
    return nearest;
}

void repl_command_list(struct buf *out)
{
    for (size_t at = 0; at < COMMAND_COUNT; at++) {
        char left[40];
        snprintf(left, sizeof left, ":%s %s", commands[at].name, commands[at].arguments);
        buf_format(out, "  %-24s %s\n", left, commands[at].help);
    }
}

/* --- for callers --- */

static struct slice command_trim(struct slice text)
{
    while (text.size && strchr(" \t\n", text.data[0])) text = slice_make(text.data + 1, text.size - 1);
    while (text.size && strchr(" \t\n;", text.data[text.size - 1])) text.size--;
    return text;
}

bool repl_command_is(struct slice line)
{
    line = command_trim(line);
    return (slice_starts(line, ":") && !slice_starts(line, "::")) || slice_is(line, "help") ||
           slice_is(line, "quit") || slice_is(line, "exit");
}

static enum repl_end command_unknown(struct repl *repl, struct slice name)
{
    const char *nearest = repl_command_nearest(name);
    struct buf text = {0};
    buf_format(&text, "there is no command :%.*s", SLICE_ARGS(name));
    if (nearest)
        buf_format(&text, ": did you mean :%s?", nearest);
    else
        buf_put_text(&text, "; :help lists them");
    repl_tell_error(repl, CLI_USAGE, buf_slice(&text));
    buf_release(&text);
    return REPL_FAILED;
}

enum repl_end repl_command_run(struct repl *repl, struct slice line)
{
    line = command_trim(line);
    if (slice_is(line, "exit")) line = slice_of("quit");
    if (line.data[0] == ':') line = slice_make(line.data + 1, line.size - 1);
    size_t size = 0;
    while (size < line.size && !strchr(" \t!", line.data[size])) size++;
    bool forced = size < line.size && line.data[size] == '!';
    struct slice name = slice_make(line.data, size);
    struct slice rest = slice_make(line.data + size + forced, line.size - size - forced);
    const struct command *command = command_find(name);
    if (!command) return command_unknown(repl, name);
    rest = command_trim(rest);
    if (rest.size && !*command->arguments) {
        repl_tell_error(repl, CLI_USAGE, slice_of("this command takes no argument"));
        return REPL_FAILED;
    }
    char *argument = mem_text(rest.data ? rest.data : "", rest.size);
    enum repl_end end = command->run(repl, argument, forced);
    mem_free(argument);
    return end;
}

bool repl_command_complete(struct slice text, struct repl_completion *completion)
{
    if (!slice_starts(text, ":")) return false;
    if (memchr(text.data, ' ', text.size)) return true;
    completion->from = 1;
    for (size_t at = 0; at < COMMAND_COUNT; at++)
        if (strncmp(commands[at].name, text.data + 1, text.size - 1) == 0)
            repl_completion_add(completion, slice_of(commands[at].name));
    return true;
}

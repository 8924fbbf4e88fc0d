/* One evaluation: its lines as they come, on the terminal, as NDJSON or into a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/progress.h"
#include "cli/repl_session.h"
#include "cli/repl_show.h"

struct evaluation {
    struct repl *repl;
    struct slice source;
    struct repl_evaluation how;
    struct repl_show show;
    struct repl_save *save; /* by the expression itself */
    char *save_path;
    struct progress progress;
    bool is_incomplete, has_failed;
    bool shows_rows; /* which tell by themselves that something happens */
};

struct repl_evaluation repl_evaluation_of(const struct repl *repl)
{
    return repl->is_interactive ? (struct repl_evaluation){.rows = REPL_ROWS, .lines_max = REPL_LINES}
                                : (struct repl_evaluation){.rows = 0, .lines_max = SIZE_MAX};
}

/* --- lines --- */

/* What is shown from here on begins where the bar was. */
static void evaluation_clear_bar(struct evaluation *evaluation)
{
    if (evaluation->progress.shown) progress_end(&evaluation->progress);
}

static void evaluation_print_json(const struct fields *line, const char *name)
{
    struct buf json = {0};
    fields_json(line, name, &json);
    buf_put_byte(&json, '\n');
    fwrite(json.data, 1, json.size, stdout);
    fflush(stdout);
    buf_release(&json);
}

static bool evaluation_save_row(struct repl_save *save, const struct fields *line)
{
    struct buf json = {0};
    fields_json(line, "row", &json);
    bool done = repl_save_row(save, buf_slice(&json));
    buf_release(&json);
    return done;
}

static bool evaluation_take_row(struct evaluation *evaluation, const struct fields *line, struct slice row)
{
    struct repl_save *save = evaluation->save ? evaluation->save : evaluation->how.save;
    if (save) return evaluation_save_row(save, line);
    evaluation->shows_rows = true;
    evaluation_clear_bar(evaluation);
    if (evaluation->repl->cli->json)
        evaluation_print_json(line, "row");
    else
        repl_show_row(&evaluation->show, row);
    return ferror(stdout) == 0;
}

static bool evaluation_take_value(struct evaluation *evaluation, const struct fields *line,
                                  struct slice value)
{
    if (evaluation->how.save) return repl_save_value(evaluation->how.save, value);
    if (evaluation->repl->cli->json)
        evaluation_print_json(line, "value");
    else
        repl_show_value(&evaluation->show, value);
    return ferror(stdout) == 0;
}

static void evaluation_take_print(struct evaluation *evaluation, struct slice text)
{
    evaluation_clear_bar(evaluation);
    if (evaluation->repl->cli->json)
        repl_tell_print(text);
    else
        repl_show_text(&evaluation->show, text);
}

static void evaluation_fail(struct evaluation *evaluation, const struct fault *fault)
{
    evaluation_clear_bar(evaluation);
    repl_show_flush(&evaluation->show, true);
    repl_tell_fault(evaluation->repl, fault);
    evaluation->has_failed = true;
}

/* A file is written only where whoever typed the expression named it: no hub may choose one. */
static bool evaluation_begin_save(struct evaluation *evaluation, const struct fields *save)
{
    struct slice file = fields_text(save, "file");
    struct fault fault;
    if (file.size == 0 || memchr(file.data, 0, file.size) || evaluation->save || evaluation->how.save ||
        !memmem(evaluation->source.data, evaluation->source.size, file.data, file.size)) {
        fault_set(
            &fault, FAULT_REFUSED,
            "the file that a result goes to must stand in the expression as it is: :save FILE takes any");
        evaluation_fail(evaluation, &fault);
        return false;
    }
    evaluation->save_path = mem_text(file.data, file.size);
    if (repl_save_open(evaluation->save_path, false, &evaluation->save, &fault) == 0) return true;
    evaluation_fail(evaluation, &fault);
    return false;
}

static bool evaluation_end_save(struct evaluation *evaluation)
{
    evaluation_clear_bar(evaluation);
    if (!evaluation->save) return true;
    int done = repl_tell_saved(evaluation->repl, evaluation->save, evaluation->save_path);
    evaluation->save = NULL;
    evaluation->has_failed = done < 0;
    return true;
}

static void evaluation_take_file(struct evaluation *evaluation, const struct fields *line,
                                 const struct fields *file)
{
    struct repl *repl = evaluation->repl;
    buf_clear(&repl->file_name);
    buf_clear(&repl->file);
    buf_put_slice(&repl->file_name, fields_text(file, "name"));
    buf_put_slice(&repl->file, fields_text(file, "text"));
    if (evaluation->how.keeps_file) return;
    evaluation_clear_bar(evaluation);
    if (repl->cli->json)
        evaluation_print_json(line, "file");
    else
        repl_show_text(&evaluation->show, buf_slice(&repl->file));
    if (repl->is_interactive && repl->file.size)
        repl_show_note(&evaluation->show, ":save FILE.lua writes it");
}

static void evaluation_take_error(struct evaluation *evaluation, const struct fields *error)
{
    struct slice message = fields_text(error, "message"), code = fields_text(error, "code");
    bool cancelled = slice_is(code, "cancelled");
    evaluation_clear_bar(evaluation);
    repl_show_flush(&evaluation->show, true);
    if (cancelled && evaluation->repl->is_interactive)
        repl_tell_note(evaluation->repl, "cancelled");
    else
        repl_tell_error(evaluation->repl, CLI_FAILED, message.size ? message : code);
    evaluation->has_failed = true;
}

static void evaluation_take_progress(struct evaluation *evaluation, const struct fields *progress)
{
    if (evaluation->shows_rows && evaluation->repl->is_interactive) return;
    int64_t done = fields_int(progress, "events"), of = fields_int(progress, "of");
    progress_show(&evaluation->progress, done > 0 ? (uint64_t)done : 0, of > 0 ? (uint64_t)of : 0, -1);
}

/* A drawing is no rows: a file takes nothing of it. */
static void evaluation_take_plot(struct evaluation *evaluation, const struct fields *line,
                                 const struct fields *plot)
{
    evaluation_clear_bar(evaluation);
    if (evaluation->how.save) return;
    if (evaluation->repl->cli->json)
        evaluation_print_json(line, "plot");
    else
        repl_show_plot(&evaluation->show, buf_slice(&plot->bytes));
}

/* Where the session stands, as the last line says: nothing of it, where it began. */
static void evaluation_take_place(struct repl *repl, const struct fields *line)
{
    buf_clear(&repl->tenant);
    buf_clear(&repl->at);
    buf_put_slice(&repl->tenant, fields_text(line, "tenant"));
    buf_put_slice(&repl->at, fields_text(line, "at"));
}

static bool evaluation_take_line(void *user, const struct fields *line, struct slice json)
{
    struct evaluation *evaluation = user;
    struct fields object;
    struct slice value;
    (void)json;
    if (fields_member(line, "row", &value)) return evaluation_take_row(evaluation, line, value);
    if (fields_object(line, "progress", &object)) {
        evaluation_take_progress(evaluation, &object);
    } else if (fields_member(line, "print", &value)) {
        evaluation_take_print(evaluation, fields_text(line, "print"));
    } else if (fields_object(line, "plot", &object)) {
        evaluation_take_plot(evaluation, line, &object);
    } else if (fields_object(line, "save", &object)) {
        return evaluation_begin_save(evaluation, &object);
    } else if (fields_object(line, "file", &object)) {
        evaluation_take_file(evaluation, line, &object);
    } else if (fields_flag(line, "more")) {
        if (evaluation->repl->is_interactive) evaluation->show.is_cut = true;
    }
    if (fields_object(line, "error", &object)) evaluation_take_error(evaluation, &object);
    if (fields_flag(line, "incomplete")) evaluation->is_incomplete = true;
    if (fields_flag(line, "saved")) return evaluation_end_save(evaluation);
    if (fields_member(line, "value", &value)) {
        evaluation_clear_bar(evaluation);
        evaluation_take_place(evaluation->repl, line);
        if (!evaluation_take_value(evaluation, line, value)) return false;
    }
    if (fields_flag(line, "none")) evaluation_take_place(evaluation->repl, line);
    return ferror(stdout) == 0;
}

static int evaluation_wait_ms(void *user)
{
    return repl_show_wait_ms(&((struct evaluation *)user)->show);
}

static void evaluation_tick(void *user)
{
    repl_show_flush(&((struct evaluation *)user)->show, false);
}

/* --- the whole --- */

static enum repl_talk_end evaluation_run(struct evaluation *evaluation, struct fault *fault)
{
    const struct repl_listener listener = {.line = evaluation_take_line,
                                           .wait_ms = evaluation_wait_ms,
                                           .tick = evaluation_tick,
                                           .user = evaluation};
    return repl_talk_evaluate(evaluation->repl->talk, evaluation->source, evaluation->how.rows, &listener,
                              fault);
}

static enum repl_end evaluation_end(struct evaluation *evaluation, enum repl_talk_end end,
                                    const struct fault *fault)
{
    struct repl *repl = evaluation->repl;
    evaluation_clear_bar(evaluation);
    if (evaluation->is_incomplete) return REPL_INCOMPLETE;
    switch (end) {
    case REPL_TALK_DONE:
        if (evaluation->has_failed || repl->is_interactive || !repl_talk_was_cancelled(repl->talk)) break;
        repl_tell_error(repl, CLI_FAILED, slice_of("cancelled"));
        evaluation->has_failed = true;
        break;
    case REPL_TALK_STOPPED: evaluation->has_failed = true; break;
    case REPL_TALK_CANCELLED:
        repl_show_flush(&evaluation->show, true);
        if (repl->is_interactive)
            repl_tell_note(repl, "cancelled");
        else
            repl_tell_error(repl, CLI_FAILED, slice_of("cancelled"));
        evaluation->has_failed = true;
        break;
    case REPL_TALK_KILLED: repl->signal_number = repl_talk_signal(repl->talk); return REPL_ENDED;
    default: evaluation_fail(evaluation, fault); break;
    }
    return evaluation->has_failed ? REPL_FAILED : REPL_OK;
}

static void evaluation_tell_time(struct evaluation *evaluation, int64_t began_ns)
{
    if (!evaluation->repl->tells_time || evaluation->is_incomplete) return;
    double seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    repl_tell_note(evaluation->repl, seconds < 10 ? "%.3f s" : "%.1f s", seconds);
}

enum repl_end repl_evaluate(struct repl *repl, struct slice source, const struct repl_evaluation *how)
{
    struct evaluation evaluation = {.repl = repl,
                                    .source = source,
                                    .how = *how,
                                    .show = repl_show_start(how->lines_max),
                                    .progress = progress_start("scanning", "events")};
    struct fault fault;
    int64_t began_ns = clock_monotonic_ns();
    if (repl_connect(repl) < 0) return REPL_FAILED;
    enum repl_talk_end talked = evaluation_run(&evaluation, &fault);
    if (talked == REPL_TALK_SESSION) {
        repl_talk_forget(repl->talk);
        if (repl_connect(repl) < 0) return REPL_FAILED;
        talked = evaluation_run(&evaluation, &fault);
    }
    enum repl_end end = evaluation_end(&evaluation, talked, &fault);
    if (evaluation.save && repl_save_has_failed(evaluation.save)) evaluation_end_save(&evaluation);
    if (evaluation.save) repl_save_abandon(evaluation.save);
    repl_show_end(&evaluation.show);
    evaluation_tell_time(&evaluation, began_ns);
    mem_free(evaluation.save_path);
    return end;
}

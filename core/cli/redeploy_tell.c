#include "cli/redeploy_tell.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/say.h"
#include "cli/fields.h"
#include "codec/mp.h"

enum { TELL_SCRIPTS_MAX = 3 };

/* The texts of a list member, one after another; begins with *at = NULL. */
static bool next_text(const struct fields *fields, const char *name, const uint8_t **at, struct slice *text)
{
    struct slice list;
    struct mp_value token;
    if (!mp_find(buf_slice(&fields->bytes), slice_of(name), &list)) return false;
    struct mp_reader reader = mp_reader_of(list);
    if (*at)
        reader.at = *at;
    else if (mp_read(&reader, &token) < 0 || token.kind != MP_LIST)
        return false;
    if (reader.at == reader.end || mp_read(&reader, &token) < 0 || token.kind != MP_TEXT) return false;
    *at = reader.at;
    *text = token.text;
    return true;
}

static uint64_t running(const struct redeploy_told *told, const struct fields *report)
{
    uint64_t before = (uint64_t)fields_int(report, "before");
    return before ? before : told->order->deploy;
}

static void tell_errors(const struct redeploy_told *told, const struct fields *report)
{
    struct fields loads = {0}, error;
    const uint8_t *at = NULL;
    size_t count = 0;
    fields_object(report, "loads", &loads);
    for (; fields_next(&loads, "errors", &at, &error); count++) {
        struct slice file = fields_text(&error, "file"), text = fields_text(&error, "text"),
                     message = fields_text(&error, "message");
        if (file.size)
            say_error("%.*s:%" PRId64 ": %.*s%s%.*s", SLICE_ARGS(file), fields_int(&error, "line"),
                      SLICE_ARGS(message), text.size ? "\n    " : "", SLICE_ARGS(text));
        else
            say_error("%.*s", SLICE_ARGS(message));
    }
    if (count == 0) say_error("%s", told->order->fault.text);
    say_error("the folder cannot be loaded: deploy %" PRIu64 " runs on", running(told, report));
}

static void tell_refused(const struct redeploy_told *told, const struct fields *report)
{
    const uint8_t *at = NULL;
    struct slice reason;
    if (told->specs->failed) fprintf(stderr, "%.*s", SLICE_ARGS(buf_slice(&told->specs->output)));
    while (next_text(report, "refused", &at, &reason)) say_error("refused: %.*s", SLICE_ARGS(reason));
    if (!at) say_error("%s", told->order->fault.text);
    say_error("deploy %" PRIu64 " runs on; lore deploy --plan shows the report, --force deploys all the same",
              running(told, report));
}

/* "billing/bill.lua changed, billing/late.lua added and 2 more" */
static void put_scripts(const struct fields *report, struct buf *out)
{
    const uint8_t *at = NULL;
    struct fields script;
    size_t count = 0;
    for (; fields_next(report, "scripts", &at, &script); count++)
        if (count < TELL_SCRIPTS_MAX)
            buf_format(out, "%s%.*s %.*s", count ? ", " : "", SLICE_ARGS(fields_text(&script, "path")),
                       SLICE_ARGS(fields_text(&script, "change")));
    if (count > TELL_SCRIPTS_MAX) buf_format(out, " and %zu more", count - TELL_SCRIPTS_MAX);
    if (count) buf_put_text(out, ": ");
}

static size_t count_rebuilding(struct hub *hub)
{
    size_t count = 0;
    struct view_info info;
    for (size_t at = 0; hub && at < hub_view_count(hub); at++)
        count += hub_view_info(hub, at, &info) && info.rebuilding;
    return count;
}

static void tell_done(const struct redeploy_told *told, const struct fields *report)
{
    struct fields loads = {0};
    const uint8_t *at = NULL;
    struct slice warning;
    struct buf line = {0};
    if (fields_flag(report, "same")) {
        if (told->even_same) say_info("the folder holds deploy %" PRIu64 ", which runs", told->order->deploy);
        return;
    }
    fields_object(report, "loads", &loads);
    while (next_text(&loads, "warnings", &at, &warning)) say_warn("%.*s", SLICE_ARGS(warning));
    put_scripts(report, &line);
    buf_format(&line, "deploy %" PRIu64 " runs (%" PRId64 " ms)", told->order->deploy, told->ms);
    size_t rebuilding = count_rebuilding(told->hub);
    if (rebuilding)
        buf_format(&line, ", %zu view%s", rebuilding, rebuilding == 1 ? " rebuilds" : "s rebuild");
    say_info("%.*s", SLICE_ARGS(buf_slice(&line)));
    buf_release(&line);
}

void redeploy_tell(const struct redeploy_told *told)
{
    struct fields report = {0};
    struct fault ignored;
    if (!told->order->report.size || fields_read(&report, buf_slice(&told->order->report), &ignored) < 0)
        buf_clear(&report.bytes);
    switch (told->order->fault.code) {
    case FAULT_NONE: tell_done(told, &report); break;
    case FAULT_SCRIPTS: tell_errors(told, &report); break;
    case FAULT_REFUSED: tell_refused(told, &report); break;
    default: say_error("the folder was not deployed: %s", told->order->fault.text);
    }
    fields_release(&report);
}

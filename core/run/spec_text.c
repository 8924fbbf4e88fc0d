#include "run/spec_text.h"

#include <inttypes.h>

#include "base/limit.h"
#include "codec/time.h"
#include "run/fold.h"
#include "vm/written.h"

enum { SPEC_SIZE_MAX = 4 << 20, SPEC_NAMES_MAX = 3 };

struct spec_made {
    const struct spec_question *question;
    struct written written;
    struct arena arena;   /* of the record at hand */
    struct buf history;   /* the events, a line each */
    struct buf scenarios; /* what happened from..to */
    uint64_t events;      /* in history */
    unsigned told;
};

static void spec_put_at(struct buf *out, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    time_format(ms, text);
    buf_format(out, "at(\"%s\", ", text);
}

/* An event as it is today, as a line of a list. */
static int spec_put_event(struct spec_made *made, const struct envelope *envelope, struct slice data,
                          const char *indent, struct buf *out, struct fault *fault)
{
    struct slice canonical;
    if (domain_upcast_event(made->question->domain, envelope, data, &made->arena, &canonical, fault) < 0)
        return -1;
    buf_put_text(out, indent);
    spec_put_at(out, envelope->at_ms);
    if (written_message(&made->written, made->question->domain, envelope->context, envelope->type, true,
                        canonical, out, fault) < 0)
        return -1;
    buf_put_text(out, "),\n");
    return 0;
}

static int spec_put_events(struct spec_made *made, const struct record *record, const char *indent,
                           struct buf *out, struct fault *fault)
{
    const struct spec_question *question = made->question;
    struct record_event event = {0};
    struct envelope envelope;
    fold_envelope(&question->stream, question->aggregate->context, &envelope);
    envelope.record = record;
    while (record_next_event(record, &event)) {
        envelope.type = names_get(record->names, event.type);
        envelope.type_version = event.type_version;
        envelope.at_ms = event.at_ms;
        if (spec_put_event(made, &envelope, event.data, indent, out, fault) < 0) return -1;
    }
    return 0;
}

/* In order, each with a comma behind it; -1: it does not fit its contract any more. */
static int spec_put_commands(struct spec_made *made, const struct record *record, int64_t at_ms,
                             struct buf *out, struct fault *fault)
{
    const struct spec_question *question = made->question;
    struct record_command command = {0};
    while (record_next_command(record, &command)) {
        struct slice type = names_get(record->names, command.type), canonical;
        if (domain_check_command(question->domain, question->aggregate->index, type, command.data,
                                 &made->arena, &canonical, fault) < 0)
            return -1;
        buf_put_text(out, "        ");
        spec_put_at(out, at_ms);
        if (written_message(&made->written, question->domain, question->aggregate->context, type, false,
                            canonical, out, fault) < 0)
            return -1;
        buf_put_text(out, "),\n");
    }
    return 0;
}

/* "CloseBill, ReopenBill" */
static void spec_put_title(const struct record *record, struct buf *out)
{
    struct record_command command = {0};
    for (int count = 0; record_next_command(record, &command); count++) {
        if (count == SPEC_NAMES_MAX) {
            buf_put_text(out, ", …");
            return;
        }
        buf_format(out, "%s%.*s", count ? ", " : "", SLICE_ARGS(names_get(record->names, command.type)));
    }
}

static int64_t spec_first_at(const struct record *record)
{
    struct record_event event = {0};
    return record_next_event(record, &event) ? event.at_ms : record->recorded_ms;
}

/* Why a command does not fit its contract, without the value that does not: it may be personal, and it is
 * somebody's text in a file of Lua. */
static void spec_put_why(const struct fault *why, struct buf *out)
{
    const char *end = strstr(why->text, ", got ");
    size_t size = end ? (size_t)(end - why->text) : strlen(why->text);
    for (size_t at = 0; at < size && why->text[at] != '"'; at++)
        buf_put_byte(out, (uint8_t)((unsigned char)why->text[at] < 0x20 ? ' ' : why->text[at]));
    buf_put_byte(out, '\n');
}

static int spec_put_scenario(struct spec_made *made, const struct record *record, struct fault *fault)
{
    const struct spec_question *question = made->question;
    struct buf commands = {0}, *out = &made->scenarios;
    struct fault why;
    if (spec_put_commands(made, record, spec_first_at(record), &commands, &why) < 0) {
        buf_format(out, "\n  -- version %" PRIu64 ": ", record->first_version);
        spec_put_title(record, out);
        buf_put_text(out, ": left out: ");
        spec_put_why(&why, out);
        buf_release(&commands);
        return 0;
    }
    buf_put_text(out, "\n  it(\"");
    spec_put_title(record, out);
    buf_format(out, " at version %" PRIu64 "\", function()\n    aggregate(", record->first_version);
    written_text(fold_aggregate_name(question->stream.aggregate), out);
    buf_put_text(out, ", ");
    written_text(question->stream.id, out);
    buf_put_text(out, ")\n");
    if (made->events) buf_format(out, "      :given(first(%" PRIu64 "))\n", made->events);
    buf_put_text(out, "      :when {\n");
    buf_put_slice(out, buf_slice(&commands));
    buf_put_text(out, "      }\n      :expect {\n");
    buf_release(&commands);
    if (spec_put_events(made, record, "        ", out, fault) < 0) return -1;
    buf_put_text(out, "      }\n  end)\n");
    made->told++;
    return 0;
}

static int spec_put_record(struct spec_made *made, const struct record *record, struct fault *fault)
{
    const struct spec_question *question = made->question;
    if (record->kind != RECORD_COMMIT && record->kind != RECORD_FACT)
        return fault_set(fault, FAULT_NOT_FOUND,
                         "version %" PRIu64 " was erased: what came before is not known",
                         record->first_version);
    if (record->kind == RECORD_COMMIT && record->first_version >= question->from &&
        spec_put_scenario(made, record, fault) < 0)
        return -1;
    if (spec_put_events(made, record, "    ", &made->history, fault) < 0) return -1;
    made->events += record->event_count;
    if (made->history.size + made->scenarios.size > SPEC_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "up to version %" PRIu64 " the spec is longer than %d bytes",
                         record->first_version, SPEC_SIZE_MAX);
    return 0;
}

static int spec_read(struct spec_made *made, struct fault *fault)
{
    const struct spec_question *question = made->question;
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read_stream(question->engine, &question->stream, 1, &cursor, fault) < 0) return -1;
    int more;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1 && record.first_version <= question->to) {
        more = spec_put_record(made, &record, fault);
        arena_reset(&made->arena);
        if (more < 0) break;
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

static int spec_check(const struct spec_made *made, struct fault *fault)
{
    const struct spec_question *question = made->question;
    if (made->events == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s was never written",
                         SLICE_ARGS(question->stream.aggregate), SLICE_ARGS(question->stream.id));
    if (made->events < question->from)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s has no version %" PRIu64 ", it is at %" PRIu64,
                         SLICE_ARGS(question->stream.aggregate), SLICE_ARGS(question->stream.id),
                         question->from, made->events);
    if (made->told == 0)
        return fault_set(fault, FAULT_NOT_FOUND,
                         "no command that can be told gave these events of %.*s/%.*s%s",
                         SLICE_ARGS(question->stream.aggregate), SLICE_ARGS(question->stream.id),
                         made->scenarios.size ? ": they do not fit their contracts any more" : "");
    return 0;
}

static void spec_put_file(const struct spec_made *made, struct buf *out)
{
    const struct spec_question *question = made->question;
    buf_put_text(out, "-- Made from the history of ");
    buf_put_slice(out, question->stream.aggregate);
    buf_put_byte(out, '/');
    buf_put_slice(out, question->stream.id);
    buf_format(out, ", tenant %.*s. %s\n", SLICE_ARGS(question->stream.tenant),
               made->written.replaced.size
                   ? "Personal data (pii) is replaced, the same value by the same one; the id is as it is."
                   : "None of its fields is marked as personal (pii).");
    buf_put_text(out, "describe(");
    struct buf name = {0};
    buf_put_slice(&name, question->stream.aggregate);
    buf_put_byte(&name, '/');
    buf_put_slice(&name, question->stream.id);
    written_text(buf_slice(&name), out);
    buf_release(&name);
    buf_put_text(out, ", function()\n  local history = {\n");
    buf_put_slice(out, buf_slice(&made->history));
    buf_put_text(out, "  }\n  local function first(n) return { table.unpack(history, 1, n) } end\n");
    buf_put_slice(out, buf_slice(&made->scenarios));
    buf_put_text(out, "end)\n");
}

int spec_text(const struct spec_question *question, struct buf *out, struct fault *fault)
{
    struct spec_made made = {.question = question};
    domain_set_exact(question->domain, true);
    int done = spec_read(&made, fault);
    domain_set_exact(question->domain, false);
    if (done == 0) done = spec_check(&made, fault);
    if (done == 0) spec_put_file(&made, out);
    written_release(&made.written);
    arena_release(&made.arena);
    buf_release(&made.history);
    buf_release(&made.scenarios);
    return done;
}

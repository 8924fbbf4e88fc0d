#include "run/dry_inside.h"

#include "base/rand.h"
#include "codec/json.h"
#include "codec/time.h"
#include "run/fold.h"
#include "run/release.h"

void dry_put(struct buf *list)
{
    if (list->size) buf_put_byte(list, ',');
    buf_put_byte(list, '{');
}

void dry_put_failure(struct dry *dry, struct slice in, struct slice key, const struct fault *fault)
{
    dry_put(&dry->failures);
    json_put_text_member(&dry->failures, "in", in);
    if (key.size) json_put_text_member(&dry->failures, "key", key);
    json_put_text_member(&dry->failures, "error", slice_of(fault->text));
    buf_put_byte(&dry->failures, '}');
}

static void dry_put_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(out, name, slice_make(text, TIME_TEXT_SIZE));
}

/* --- the decision --- */

struct envelope dry_envelope(const struct dry *dry, size_t at)
{
    const struct commit_event *event = &dry->commit.events[at];
    struct envelope envelope;
    fold_commit_envelope(&dry->stream, dry->question->context, &dry->commit, &envelope);
    envelope.type = event->type;
    envelope.type_version = event->type_version;
    envelope.at_ms = event->at_ms;
    envelope.recorded_ms = dry->commit.recorded_ms;
    envelope.version = dry->commit.first_version + at;
    envelope.position = dry->head + 1 + at;
    envelope.deploy = dry->commit.deploy;
    return envelope;
}

bool dry_is_event(const struct dry *dry, size_t at, struct slice name)
{
    struct slice context = dry->question->context, type = dry->commit.events[at].type;
    return name.size == context.size + 1 + type.size && memcmp(name.data, context.data, context.size) == 0 &&
           name.data[context.size] == '.' && memcmp(name.data + context.size + 1, type.data, type.size) == 0;
}

/* All fit their contracts, or nothing is decided. */
static int dry_check(struct dry *dry, int aggregate, struct slice *checked, struct fault *fault)
{
    const struct dry_question *question = dry->question;
    for (size_t at = 0; at < question->count; at++)
        if (domain_check_command(question->domain, aggregate, question->items[at].type,
                                 question->items[at].data, &dry->arena, &checked[at], fault) < 0)
            return -1;
    return 0;
}

static int dry_decide(struct dry *dry, struct domain_state *state, const struct slice *checked,
                      struct fault *fault)
{
    const struct dry_question *question = dry->question;
    size_t count = 0;
    struct commit_event *events = NULL;
    struct envelope envelope;
    fold_commit_envelope(&dry->stream, question->context, &dry->commit, &envelope);
    envelope.at_ms = dry->commit.recorded_ms;
    for (size_t at = 0; at < question->count; at++) {
        struct decision decision = {0};
        bool touched = false;
        envelope.type = question->items[at].type;
        if (domain_execute(question->domain, state, &envelope, checked[at], true, &dry->arena, &decision,
                           &touched, fault) < 0)
            return -1;
        if (!decision.event_count) continue;
        struct commit_event *more = arena_take(&dry->arena, (count + decision.event_count) * sizeof *more);
        if (count) memcpy(more, events, count * sizeof *more);
        memcpy(more + count, decision.events, decision.event_count * sizeof *more);
        events = more;
        count += decision.event_count;
    }
    dry->commit.events = events;
    dry->commit.event_count = count;
    size_t bytes = 0;
    for (size_t at = 0; at < count; at++) bytes += events[at].data.size;
    return count ? domain_state_weigh(question->domain, state, count, bytes, fault) : 0;
}

/* Fills in the commit but for its events. */
static void dry_prepare(struct dry *dry, uint64_t version)
{
    const struct dry_question *question = dry->question;
    struct engine_head head = engine_head(question->hub->engine);
    int64_t now_ms = clock_now_ms(question->hub->clock);
    char *id = arena_take(&dry->arena, RAND_UUID_SIZE + 1);
    rand_uuid(now_ms, id);
    struct commit_command *command = arena_zero(&dry->arena, sizeof *command);
    command->id = slice_make(id, RAND_UUID_SIZE);
    dry->head = head.position;
    dry->commit = (struct commit){
        .commands = command,
        .command_count = 1,
        .actor = question->actor,
        .first_version = version + 1,
        .recorded_ms = now_ms > head.recorded_ms ? now_ms : head.recorded_ms,
        .deploy = question->release->deploy,
    };
}

/* --- what receptors would send --- */

static void dry_put_send(struct dry *dry, const struct domain_receptor *receptor, size_t event,
                         const struct domain_send *send)
{
    struct buf *out = &dry->sends;
    dry_put(out);
    json_put_text_member(out, "by", receptor->name);
    json_put_int_member(out, "event", (int64_t)event + 1);
    json_put_name(out, "to");
    buf_put_byte(out, '"');
    json_put_inside(out, send->context);
    buf_put_byte(out, '/');
    json_put_inside(out, send->target);
    if (!send->to_service) {
        buf_put_byte(out, '/');
        json_put_inside(out, send->id);
    }
    buf_put_byte(out, '"');
    if (send->is_cancel) {
        json_put_name(out, "cancel");
        buf_put_text(out, "true");
    } else {
        json_put_text_member(out, "type", send->type);
        json_put_mp_member(out, "data", send->data);
    }
    if (send->due_ms != INT64_MIN) dry_put_time(out, "due", send->due_ms);
    if (send->key.size) json_put_text_member(out, "key", send->key);
    buf_put_byte(out, '}');
}

static void dry_receive(struct dry *dry, int receptor, size_t event)
{
    struct domain *domain = dry->question->domain;
    const struct domain_receptor *declared = domain_receptor(domain, receptor);
    struct envelope envelope = dry_envelope(dry, event);
    struct domain_output output = {0};
    struct fault failed;
    if (domain_receive(domain, receptor, &envelope, dry->commit.events[event].data, &dry->arena, &output,
                       &failed) < 0) {
        dry_put_failure(dry, declared->name, SLICE_NONE, &failed);
        return;
    }
    for (size_t at = 0; at < output.send_count; at++) dry_put_send(dry, declared, event, &output.sends[at]);
}

static void dry_receptors(struct dry *dry)
{
    struct domain *domain = dry->question->domain;
    for (size_t event = 0; event < dry->commit.event_count; event++)
        for (size_t at = 0; at < domain_receptor_count(domain); at++) {
            const struct domain_receptor *receptor = domain_receptor(domain, (int)at);
            for (size_t type = 0; type < receptor->event_count; type++)
                if (dry_is_event(dry, event, receptor->events[type])) dry_receive(dry, (int)at, event);
        }
}

/* --- the answer --- */

static void dry_put_events(const struct dry *dry, struct buf *out)
{
    json_put_name(out, "events");
    buf_put_byte(out, '[');
    for (size_t at = 0; at < dry->commit.event_count; at++) {
        const struct commit_event *event = &dry->commit.events[at];
        if (at) buf_put_byte(out, ',');
        buf_put_byte(out, '{');
        json_put_text_member(out, "type", event->type);
        json_put_int_member(out, "typeversion", event->type_version);
        json_put_int_member(out, "version", (int64_t)(dry->commit.first_version + at));
        dry_put_time(out, "at", event->at_ms);
        json_put_mp_member(out, "data", event->data);
        buf_put_byte(out, '}');
    }
    buf_put_byte(out, ']');
}

static void dry_put_list(struct buf *out, const char *name, struct buf *list)
{
    json_put_name(out, name);
    buf_put_byte(out, '[');
    buf_put_slice(out, buf_slice(list));
    buf_put_byte(out, ']');
}

static void dry_answer(struct dry *dry, uint64_t version, const struct fault *rejected, struct buf *out)
{
    const struct dry_question *question = dry->question;
    buf_put_byte(out, '{');
    json_put_name(out, "stream");
    buf_put_byte(out, '"');
    json_put_inside(out, dry->stream.aggregate);
    buf_put_byte(out, '/');
    json_put_inside(out, question->id);
    buf_put_byte(out, '"');
    json_put_int_member(out, "version", (int64_t)version);
    json_put_int_member(out, "position", (int64_t)dry->head);
    dry_put_events(dry, out);
    if (rejected) {
        json_put_name(out, "rejected");
        buf_put_byte(out, '{');
        json_put_text_member(out, "code", slice_of(rejected->reason));
        json_put_text_member(out, "message", slice_of(rejected->text));
        buf_put_byte(out, '}');
    }
    dry_put_list(out, "documents", &dry->documents);
    dry_put_list(out, "sends", &dry->sends);
    dry_put_list(out, "failures", &dry->failures);
    buf_put_byte(out, '}');
}

static int dry_target(const struct dry_question *question, const struct catalog_aggregate **aggregate,
                      struct fault *fault)
{
    if (question->count == 0) return fault_set(fault, FAULT_MALFORMED, "no command is given");
    *aggregate = catalog_find(&question->release->catalog, question->context, question->aggregate, fault);
    if (!*aggregate) return -1;
    if ((*aggregate)->index >= 0) return 0;
    return fault_set(
        fault, FAULT_NOT_FOUND,
        "%.*s is a service: what it does depends on what it is answered outside, so nobody can say it before",
        SLICE_ARGS((*aggregate)->name));
}

static int dry_work(struct dry *dry, const struct catalog_aggregate *aggregate, struct buf *json,
                    struct fault *fault)
{
    const struct dry_question *question = dry->question;
    struct slice *checked = arena_take(&dry->arena, question->count * sizeof *checked);
    struct fold_request request = {.engine = question->hub->engine,
                                   .snaps = question->hub->snaps,
                                   .domain = question->domain,
                                   .aggregate = aggregate,
                                   .stream = dry->stream,
                                   .version_max = UINT64_MAX,
                                   .at_ms_max = INT64_MAX};
    struct fold_result folded;
    if (dry_check(dry, aggregate->index, checked, fault) < 0 || fold_stream(&request, &folded, fault) < 0)
        return -1;
    dry_prepare(dry, folded.version);
    domain_set_exact(question->domain,
                     true); /* what is asked once need not be fast, and nothing is repeated */
    int done = dry_decide(dry, folded.state, checked, fault);
    domain_state_free(question->domain, folded.state);
    if (done < 0 && fault->code != FAULT_REJECTED) return -1;
    if (done == 0) {
        if (dry_views(dry, fault) < 0) return -1;
        dry_receptors(dry);
    }
    dry_answer(dry, folded.version, done < 0 ? fault : NULL, json);
    return 0;
}

int dry_run(const struct dry_question *question, struct buf *json, struct fault *fault)
{
    const struct catalog_aggregate *aggregate = NULL;
    if (dry_target(question, &aggregate, fault) < 0) return -1;
    struct dry dry = {.question = question, .stream = {question->tenant, aggregate->name, question->id}};
    int done = dry_work(&dry, aggregate, json, fault);
    domain_set_exact(question->domain, false);
    arena_release(&dry.arena);
    buf_release(&dry.documents);
    buf_release(&dry.sends);
    buf_release(&dry.failures);
    return done;
}

/* DESIGN. The archive is read once to check all of it and to see which tenants it has, then once for each
 * tenant. Each record from outside becomes a line of a bulk body, in log order (an ordered bulk); a command
 * to a service goes by itself, since services answer when they like. What became of it then is kept beside
 * the line, as text, and compared with the answer:
 *
 *   +billing.BillClosed {…}     for each event        !closed     refused, with its reason
 *
 * Ids are the record's own, so the hub knows what it has already. */
#include "cli/replay.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limit.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/say.h"
#include "cli/bulk.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/time.h"
#include "run/rollback.h"

enum { SAMPLES_MAX = 5 };

enum verdict { SAME, OTHER_EVENTS, NOW_REFUSED, NOW_ACCEPTED, VERDICTS };
static const char *const verdict_names[] = {"same", "other_events", "now_refused", "now_accepted"};
static const char *const verdict_words[] = {"as it was", "with other events", "refused now",
                                            "accepted now, refused then"};

/* One on its way. */
struct replayed {
    struct replayed *next;
    uint64_t position; /* then; of a command without events that of the stream */
    char *stream, *type, *id, *then;
};

struct replay {
    const struct cli *cli;
    const char *file, *log_id;
    struct client *client;
    struct bulk *bulk;
    struct map services;
    struct arena arena; /* of all; scratch: of the record at hand */
    struct arena scratch;
    struct replayed *first, *last;
    uint64_t number, commands, facts, inside, counts[VERDICTS];
    struct fault ended;
};

/* --- what became of it --- */

static void put_event(struct buf *out, struct slice type, struct slice json)
{
    buf_put_byte(out, '+');
    buf_put_slice(out, type);
    buf_put_byte(out, ' ');
    buf_put_slice(out, json);
    buf_put_byte(out, '\n');
}

/* As the hub would tell it. */
static void put_then(const struct record *record, struct buf *out)
{
    struct slice reason, message;
    struct record_event event = {0};
    struct buf json = {0};
    while (record_next_event(record, &event)) {
        buf_clear(&json);
        json_from_mp(event.data, &json, NULL);
        put_event(out, names_get(record->names, event.type), buf_slice(&json));
    }
    buf_release(&json);
    if (record->kind != RECORD_REJECTED) return;
    record_read_outcome(record, &reason, &message);
    buf_format(out, "!%.*s\n", SLICE_ARGS(reason));
}

static void put_now(const struct fields *answer, struct buf *out)
{
    const uint8_t *at = NULL;
    struct fields event;
    struct buf json = {0};
    if (fields_has(answer, "code")) {
        struct slice reason = fields_text(answer, "reason");
        if (!reason.size) reason = fields_text(answer, "code");
        buf_format(out, "!%.*s\n", SLICE_ARGS(reason));
        return;
    }
    while (fields_next(answer, "events", &at, &event)) {
        buf_clear(&json);
        fields_json(&event, "data", &json);
        put_event(out, fields_text(&event, "type"), buf_slice(&json));
    }
    buf_release(&json);
}

static enum verdict judge(struct slice then, struct slice now)
{
    bool refused_then = then.size && then.data[0] == '!', refused_now = now.size && now.data[0] == '!';
    if (slice_equal(then, now)) return SAME;
    if (refused_now) return refused_then ? OTHER_EVENTS : NOW_REFUSED;
    return refused_then ? NOW_ACCEPTED : OTHER_EVENTS;
}

static void put_lines(struct buf *out, const char *name, struct slice text)
{
    json_put_name(out, name);
    buf_put_byte(out, '[');
    for (bool first = true; text.size; first = false) {
        size_t size = (size_t)((const char *)memchr(text.data, '\n', text.size) - text.data);
        if (!first) buf_put_byte(out, ',');
        json_put_text(out, slice_make(text.data, size));
        text = slice_make(text.data + size + 1, text.size - size - 1);
    }
    buf_put_byte(out, ']');
}

static void show(struct replay *replay, const struct replayed *item, enum verdict verdict, struct slice now)
{
    if (replay->cli->json) {
        struct buf line = {0};
        buf_put_byte(&line, '{');
        json_put_text_member(&line, "kind", slice_of(verdict_names[verdict]));
        json_put_text_member(&line, "stream", slice_of(item->stream));
        json_put_text_member(&line, "type", slice_of(item->type));
        json_put_text_member(&line, "id", slice_of(item->id));
        json_put_int_member(&line, "position", (int64_t)item->position);
        put_lines(&line, "then", slice_of(item->then));
        put_lines(&line, "now", now);
        printf("%.*s}\n", SLICE_ARGS(buf_slice(&line)));
        buf_release(&line);
    } else if (replay->counts[verdict] <= SAMPLES_MAX) {
        printf("%s %s (%s): %s\nthen:\n%snow:\n%.*s", item->stream, item->type, item->id,
               verdict_words[verdict], *item->then ? item->then : "  no event\n",
               (int)(now.size ? now.size : 11), now.size ? now.data : "  no event\n");
    }
}

static void free_item(struct replayed *item)
{
    mem_free(item->stream);
    mem_free(item->type);
    mem_free(item->id);
    mem_free(item->then);
    mem_free(item);
}

/* What says nothing of the command, but of the hub. */
static bool is_of_hub(struct slice code)
{
    static const char *const codes[] = {"disk", "corrupt", "unavailable", "internal", "rebuilding", "busy"};
    for (size_t at = 0; at < sizeof codes / sizeof *codes; at++)
        if (slice_is(code, codes[at])) return true;
    return false;
}

static void take_result(struct replay *replay, struct slice result)
{
    struct replayed *item = replay->first;
    struct fields answer = {0};
    struct buf now = {0};
    replay->first = item->next;
    if (!replay->first) replay->last = NULL;
    if (fields_read(&answer, result, NULL) < 0 || is_of_hub(fields_text(&answer, "code"))) {
        if (replay->ended.code == FAULT_NONE)
            client_problem((long)fields_int(&answer, "status"), result, &replay->ended);
    } else {
        put_now(&answer, &now);
        enum verdict verdict = judge(slice_of(item->then), buf_slice(&now));
        replay->counts[verdict]++;
        if (verdict != SAME) show(replay, item, verdict, buf_slice(&now));
    }
    buf_release(&now);
    fields_release(&answer);
    free_item(item);
}

static void on_result(void *user, uint64_t number, struct slice line, struct slice result)
{
    take_result(user, result);
}

/* --- a record as a line --- */

static void put_at(struct buf *line, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(line, "at", slice_of(text));
}

static void put_command(struct buf *line, const struct record *record, const struct record_command *command,
                        bool with_id)
{
    json_put_text_member(line, "type", names_get(record->names, command->type));
    if (with_id) json_put_text_member(line, "id", slice_make(command->id, command->id_size));
    json_put_mp_member(line, "data", command->data);
}

/* When it happened: that of its first event; of one without, when it was recorded. */
static int64_t moment_of(const struct record *record)
{
    struct record_event event = {0};
    return record_next_event(record, &event) ? event.at_ms : record->recorded_ms;
}

static void put_commands(struct buf *line, const struct record *record, const struct record_ids *ids)
{
    struct record_command command = {0};
    bool is_batch = record->command_count > 1, first = true;
    if (is_batch) {
        json_put_name(line, "commands");
        buf_put_byte(line, '[');
    }
    while (record_next_command(record, &command)) {
        if (is_batch) buf_put_text(line, first ? "{" : ",{");
        put_command(line, record, &command, true);
        if (is_batch) buf_put_byte(line, '}');
        first = false;
    }
    if (is_batch) buf_put_byte(line, ']');
    if (is_batch && ids->batch_id.size) json_put_text_member(line, "id", ids->batch_id);
}

static struct replayed *new_item(struct replay *replay, const struct record *record, struct slice stream,
                                 struct slice type, struct slice id)
{
    struct replayed *item = MEM_NEW(struct replayed);
    struct buf then = {0};
    put_then(record, &then);
    item->position = record->first_position;
    item->stream = mem_text(stream.data, stream.size);
    item->type = mem_text(type.data, type.size);
    item->id = mem_text(id.data, id.size);
    item->then = mem_text(then.data ? then.data : "", then.size);
    buf_release(&then);
    if (replay->last)
        replay->last->next = item;
    else
        replay->first = item;
    replay->last = item;
    return item;
}

/* --- sending --- */

static int put_line(struct replay *replay, struct slice stream, struct slice line, struct fault *fault)
{
    int done = bulk_put(replay->bulk, ++replay->number, stream, line, fault);
    if (done < 0 || replay->ended.code == FAULT_NONE) return done;
    *fault = replay->ended;
    return -1;
}

/* What was recorded without a command: each event is one fact. */
static int send_fact(struct replay *replay, const struct record *record, struct slice stream,
                     const struct record_ids *ids, struct fault *fault)
{
    struct record_event event = {0};
    struct buf line = {0};
    int done = 0;
    while (done == 0 && record_next_event(record, &event)) {
        struct slice type = names_get(record->names, event.type), id = ids->command_id;
        if (!id.size)
            id = arena_format(&replay->scratch, "%s:%" PRIu64 ":%" PRIu64, replay->log_id, record->epoch,
                              event.position);
        else if (event.ordinal)
            id = arena_format(&replay->scratch, "%.*s.%u", SLICE_ARGS(id), event.ordinal);
        buf_clear(&line);
        buf_put_byte(&line, '{');
        json_put_text_member(&line, "stream", stream);
        json_put_text_member(&line, "event", type);
        json_put_text_member(&line, "id", id);
        put_at(&line, event.at_ms);
        json_put_mp_member(&line, "data", event.data);
        buf_put_byte(&line, '}');
        struct replayed *item = new_item(replay, record, stream, type, id);
        if (record->event_count > 1) { /* its part of what became of the record */
            struct buf then = {0}, json = {0};
            json_from_mp(event.data, &json, NULL);
            put_event(&then, type, buf_slice(&json));
            mem_free(item->then);
            item->then = mem_text(then.data, then.size);
            buf_release(&then);
            buf_release(&json);
        }
        replay->facts++;
        done = put_line(replay, stream, buf_slice(&line), fault);
    }
    buf_release(&line);
    return done;
}

/* To a service, by itself, when all before it was answered. */
static int send_service(struct replay *replay, const struct record *record, struct slice name,
                        const struct record_ids *ids, struct fault *fault)
{
    struct record_command command = {0};
    struct buf path = {0}, body = {0};
    struct reply reply = {0};
    char header[LIMIT_ID_SIZE_MAX + 32];
    const char *headers[] = {NULL, NULL};
    bool is_batch = record->command_count > 1;
    if (bulk_finish(replay->bulk, fault) < 0) return -1;
    buf_format(&path, "/v1/%.*s/%.*s%c", SLICE_ARGS(names_get(record->names, record->tenant)),
               SLICE_ARGS(name), 0);
    if (is_batch) buf_put_byte(&body, '[');
    while (record_next_command(record, &command)) {
        buf_put_text(&body, body.size > 1 ? ",{" : "{");
        put_command(&body, record, &command, !is_batch || !ids->batch_id.size);
        buf_put_byte(&body, '}');
    }
    if (is_batch) buf_put_byte(&body, ']');
    if (is_batch && ids->batch_id.size) {
        snprintf(header, sizeof header, "Idempotency-Key: %.*s", SLICE_ARGS(ids->batch_id));
        headers[0] = header;
    }
    struct fault refused;
    if (client_post(replay->client, path.data, buf_slice(&body), headers, &reply, &refused) < 0 &&
        reply.status == 0)
        replay->ended = refused;
    else
        take_result(replay, buf_slice(&reply.body));
    buf_release(&path);
    buf_release(&body);
    buf_release(&reply.body);
    if (replay->ended.code == FAULT_NONE) return 0;
    *fault = replay->ended;
    return -1;
}

static int send_commands(struct replay *replay, const struct record *record, struct slice name,
                         struct slice stream, const struct record_ids *ids, struct fault *fault)
{
    struct record_command first = {0};
    struct buf line = {0};
    if (!record_next_command(record, &first)) return 0;
    replay->commands += record->command_count;
    new_item(replay, record, stream, names_get(record->names, first.type),
             slice_make(first.id, first.id_size));
    const char *slash = memchr(name.data, '/', name.size);
    bool is_service =
        slash && map_find(&replay->services, name) &&
        slice_equal(record->id, slice_make(slash + 1, name.size - (size_t)(slash + 1 - name.data)));
    if (is_service) return send_service(replay, record, name, ids, fault);
    struct slice id = slice_make(first.id, first.id_size);
    buf_put_byte(&line, '{');
    json_put_text_member(&line, "stream", stream);
    put_at(&line, moment_of(record));
    put_commands(&line, record, ids);
    if (ids->correlation_id.size && !slice_equal(ids->correlation_id, id))
        json_put_text_member(&line, "correlation", ids->correlation_id);
    if (ids->causation_id.size && !slice_equal(ids->causation_id, id))
        json_put_text_member(&line, "causation", ids->causation_id);
    buf_put_byte(&line, '}');
    int done = put_line(replay, stream, buf_slice(&line), fault);
    buf_release(&line);
    return done;
}

static int send_record(struct replay *replay, const struct record *record, struct fault *fault)
{
    struct record_ids ids;
    arena_reset(&replay->scratch);
    if (!rollback_from_outside(record, replay->log_id, &replay->scratch)) {
        replay->inside++;
        return 0;
    }
    record_read_ids(record, &replay->scratch, &ids);
    struct slice name = names_get(record->names, record->aggregate);
    struct slice stream =
        arena_format(&replay->scratch, "%.*s/%.*s", SLICE_ARGS(name), SLICE_ARGS(record->id));
    return record->kind == RECORD_FACT ? send_fact(replay, record, stream, &ids, fault)
                                       : send_commands(replay, record, name, stream, &ids, fault);
}

/* --- the file --- */

static int send_tenant(struct replay *replay, const char *tenant, struct fault *fault)
{
    struct archive_reader *reader;
    struct archive_item item;
    struct bulk_options options = {
        .client = replay->client, .tenant = tenant, .ordered = true, .result = on_result, .user = replay};
    if (archive_open(replay->file, &reader, fault) < 0) return -1;
    replay->log_id = archive_head(reader)->log_id;
    replay->bulk = bulk_open(&options);
    int got;
    while ((got = archive_next(reader, &item, fault)) > 0)
        if (item.kind != ARCHIVE_META && slice_is(names_get(item.record.names, item.record.tenant), tenant) &&
            send_record(replay, &item.record, fault) < 0) {
            got = -1;
            break;
        }
    if (got == 0) got = bulk_finish(replay->bulk, fault);
    bulk_close(replay->bulk);
    archive_close(reader);
    if (got == 0 && replay->ended.code == FAULT_NONE) return 0;
    if (got == 0) *fault = replay->ended;
    return -1;
}

/* Reads all of it, so that nothing is sent of a file that is damaged; the tenants in it. */
static int find_tenants(struct replay *replay, struct map *tenants, struct fault *fault)
{
    struct archive_reader *reader;
    struct archive_item item;
    if (archive_open(replay->file, &reader, fault) < 0) return -1;
    int got;
    while ((got = archive_next(reader, &item, fault)) > 0) {
        if (item.kind == ARCHIVE_META) continue;
        struct slice tenant = names_get(item.record.names, item.record.tenant);
        if (!tenant.size || map_find(tenants, tenant)) continue;
        tenant = arena_copy(&replay->arena, tenant);
        map_put(tenants, tenant, (void *)tenant.data);
    }
    archive_close(reader);
    return got;
}

static bool take_service(void *user, struct slice line)
{
    struct replay *replay = user;
    struct fields fields = {0};
    if (fields_read(&fields, line, NULL) == 0 && slice_is(fields_text(&fields, "kind"), "service")) {
        struct slice name = arena_copy(&replay->arena, fields_text(&fields, "name"));
        map_put(&replay->services, name, replay);
    }
    fields_release(&fields);
    return true;
}

static void print_summary(const struct replay *replay)
{
    if (replay->cli->json) {
        printf("{\"kind\":\"summary\",\"commands\":%" PRIu64 ",\"facts\":%" PRIu64 ",\"not_sent\":%" PRIu64,
               replay->commands, replay->facts, replay->inside);
        for (int at = 0; at < VERDICTS; at++)
            printf(",\"%s\":%" PRIu64, verdict_names[at], replay->counts[at]);
        puts("}");
        return;
    }
    printf("%" PRIu64 " commands and %" PRIu64 " facts were sent again, %" PRIu64
           " records are left to receptors, timers and tasks\n",
           replay->commands, replay->facts, replay->inside);
    for (int at = 0; at < VERDICTS; at++) printf("%10" PRIu64 " %s\n", replay->counts[at], verdict_words[at]);
}

int replay_run(const struct cli *cli, const char *file)
{
    struct replay replay = {.cli = cli, .file = file};
    struct map tenants = {0};
    struct fault fault;
    int done = find_tenants(&replay, &tenants, &fault);
    if (done == 0) done = client_open(cli, CLIENT_SEND, &replay.client, &fault);
    if (done == 0)
        done =
            client_lines(replay.client, "/v1/status", "application/x-ndjson", take_service, &replay, &fault);
    size_t at = 0;
    for (const char *tenant; done == 0 && (tenant = map_next(&tenants, &at));)
        done = send_tenant(&replay, tenant, &fault);
    if (done == 0) print_summary(&replay);
    if (replay.client) client_close(replay.client);
    while (replay.first) {
        struct replayed *next = replay.first->next;
        free_item(replay.first);
        replay.first = next;
    }
    map_release(&tenants);
    map_release(&replay.services);
    arena_release(&replay.arena);
    arena_release(&replay.scratch);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

#include "cli/import_to.h"

#include "base/mem.h"
#include "cli/bulk.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/time.h"

struct import_message { /* one on its way */
    struct import_message *next;
    uint64_t row;
    bool is_fact;
    struct slice source_line;
    char bytes[];
};

struct import_to {
    struct client *client;
    struct bulk *bulk;
    void (*refused)(void *user, uint64_t row, struct slice source_line, const struct fault *fault);
    void *user;
    struct import_message *first, *last; /* in order, as their results come */
    int64_t head; /* of the log before: what is answered with no later position was there already */
    struct importer_counts counts;
    struct buf line;
    struct fault ended;
};

static bool import_to_take_head(void *user, struct slice line)
{
    struct import_to *to = user;
    struct fields fields = {0};
    if (fields_read(&fields, line, NULL) == 0 && slice_is(fields_text(&fields, "kind"), "hub"))
        to->head = fields_int(&fields, "position");
    fields_release(&fields);
    return true;
}

static void import_to_problem(struct import_to *to, const struct import_message *message, long status,
                              struct slice result)
{
    struct fault fault;
    client_problem(status, result, &fault);
    switch (fault.code) {
    case FAULT_DISK:
    case FAULT_CORRUPT:
    case FAULT_UNAVAILABLE:
    case FAULT_INTERNAL:
        if (to->ended.code == FAULT_NONE) to->ended = fault;
        return;
    default: to->counts.rejected++; to->refused(to->user, message->row, message->source_line, &fault);
    }
}

static void import_to_result(void *user, uint64_t number, struct slice line, struct slice result)
{
    struct import_to *to = user;
    struct import_message *message = to->first;
    to->first = message->next;
    if (!to->first) to->last = NULL;
    struct fields fields = {0};
    if (fields_read(&fields, result, NULL) < 0 || fields_has(&fields, "code"))
        import_to_problem(to, message, (long)fields_int(&fields, "status"), result);
    else if (fields_int(&fields, "position") <= to->head)
        to->counts.skipped++;
    else if (message->is_fact)
        to->counts.facts++;
    else
        to->counts.commands++;
    fields_release(&fields);
    mem_free(message);
}

int import_to_open(const struct cli *cli,
                   void (*refused)(void *user, uint64_t row, struct slice source_line,
                                   const struct fault *fault),
                   void *user, struct import_to **opened, struct fault *fault)
{
    struct import_to *to = MEM_NEW(struct import_to);
    to->refused = refused;
    to->user = user;
    if (client_open(cli, CLIENT_SEND, &to->client, fault) < 0) {
        mem_free(to);
        return -1;
    }
    if (client_lines(to->client, "/v1/status", "application/x-ndjson", import_to_take_head, to, fault) < 0) {
        import_to_close(to);
        return -1;
    }
    struct bulk_options options = {
        .client = to->client, .tenant = cli->tenant, .ordered = true, .result = import_to_result, .user = to};
    to->bulk = bulk_open(&options);
    *opened = to;
    return 0;
}

static void import_to_put_line(struct buf *line, const struct command *command, struct slice stream)
{
    const struct command_item *item = command->items;
    char at[TIME_TEXT_SIZE + 1];
    buf_clear(line);
    buf_put_byte(line, '{');
    json_put_text_member(line, "stream", stream);
    json_put_text_member(line, command->is_fact ? "event" : "type", item->type);
    json_put_text_member(line, "id", item->id);
    if (command->at_ms != INT64_MIN && time_valid(command->at_ms)) {
        time_format(command->at_ms, at);
        json_put_text_member(line, "at", slice_make(at, TIME_TEXT_SIZE));
    }
    json_put_mp_member(line, "data", item->data);
    buf_put_byte(line, '}');
}

int import_to_post(void *user, const struct command *command, uint64_t row, struct slice source_line,
                   struct fault *fault)
{
    struct import_to *to = user;
    struct import_message *message = mem_alloc(sizeof *message + source_line.size);
    struct buf stream = {0};
    memcpy(message->bytes, source_line.data, source_line.size);
    *message = (struct import_message){
        .row = row, .is_fact = command->is_fact, .source_line = slice_make(message->bytes, source_line.size)};
    if (to->last)
        to->last->next = message;
    else
        to->first = message;
    to->last = message;
    buf_format(&stream, "%.*s/%.*s/%.*s", SLICE_ARGS(command->context), SLICE_ARGS(command->aggregate),
               SLICE_ARGS(command->id));
    import_to_put_line(&to->line, command, buf_slice(&stream));
    int done = bulk_put(to->bulk, row, buf_slice(&stream), buf_slice(&to->line), fault);
    buf_release(&stream);
    if (done < 0 || to->ended.code == FAULT_NONE) return done;
    *fault = to->ended;
    return -1;
}

int import_to_finish(struct import_to *to, struct importer_counts *counts, struct fault *fault)
{
    int done = bulk_finish(to->bulk, fault);
    *counts = to->counts;
    if (done < 0 || to->ended.code == FAULT_NONE) return done;
    *fault = to->ended;
    return -1;
}

void import_to_close(struct import_to *to)
{
    if (!to) return;
    if (to->bulk) bulk_close(to->bulk);
    while (to->first) {
        struct import_message *next = to->first->next;
        mem_free(to->first);
        to->first = next;
    }
    client_close(to->client);
    buf_release(&to->line);
    mem_free(to);
}

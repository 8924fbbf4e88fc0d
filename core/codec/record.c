/* The envelope, field by field. v: LEB128; z: zigzag LEB128; text: v size and bytes; id: see put_id; [x]:
 * only if its flag is set.
 *
 *   v defined     names defined here; if not 0:  v number of the first, then each as text, numbers ascending
 * by one byte          has depth << 7 | kind << 4 | flags v tenant, v aggregate, text id, v first_position, v
 * first_version, z recorded_ms, v epoch, v deploy, v actor [id batch] [id correlation] [id causation] [v
 * depth] v commands, v events commands:     v type, id, v payload size; size 0 is followed by v shared: 0 the
 * data is empty, n it is that of the n-th event behind the one shared last (a cursor over the events that
 * only moves forward) events:       v type, v type_version, z at_ms - recorded_ms, v payload size REJECTED:
 * text reason, text message ERASED:       no commands, no event entries; 32 bytes H(envelope), 32 bytes
 * H(payload) of the original
 *
 * The stream's id is never packed, since readers borrow it from here. The kind stands here again so that the
 * chain covers it. */
#include "codec/record.h"

#include "base/check.h"
#include "base/limit.h"
#include "codec/mp.h"

enum { RECORD_FORMAT = 2, HEAD_SIZE = 6, CHAIN_SIZE = 16, ID_UUID = 255, UUID_TEXT_SIZE = 36 };
enum { FLAG_ID_GIVEN = 1, FLAG_BATCH = 2, FLAG_CORRELATION = 4, FLAG_CAUSATION = 8, FLAG_DEPTH = 128 };
enum { KIND_MASK = 112, KIND_SHIFT = 4 };

/* Ids */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bool uuid_pack(struct slice text, uint8_t bytes[16])
{
    if (text.size != UUID_TEXT_SIZE) return false;
    size_t at = 0;
    for (size_t n = 0; n < 16; n++) {
        if (n == 4 || n == 6 || n == 8 || n == 10)
            if (text.data[at++] != '-') return false;
        int high = hex_digit(text.data[at]), low = hex_digit(text.data[at + 1]);
        if (high < 0 || low < 0) return false;
        bytes[n] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

static void uuid_unpack(const uint8_t bytes[16], char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t n = 0; n < 16; n++) {
        if (n == 4 || n == 6 || n == 8 || n == 10) *text++ = '-';
        *text++ = digits[bytes[n] >> 4];
        *text++ = digits[bytes[n] & 15];
    }
    *text = 0;
}

/* One byte of size and the bytes; a lower-case UUID as the byte 255 and its 16 bytes. */
void record_put_id(struct buf *out, struct slice id)
{
    uint8_t packed[16];
    CHECK(id.size < ID_UUID);
    if (uuid_pack(id, packed)) {
        buf_put_byte(out, ID_UUID);
        buf_put(out, packed, sizeof packed);
    } else {
        buf_put_byte(out, (uint8_t)id.size);
        buf_put_slice(out, id);
    }
}

static void put_text(struct buf *out, struct slice text)
{
    buf_put_varint(out, text.size);
    buf_put_slice(out, text);
}

/* Reading. A field reader that fails leaves the cursor at NULL, and every later one fails too; so a run of
 * fields is read first and judged once. */

struct cursor {
    const uint8_t *at; /* NULL: it failed */
    const uint8_t *end;
};

static inline uint64_t take_varint(struct cursor *cursor)
{
    const uint8_t *at = cursor->at;
    uint64_t value = 0;
    if (!at || at >= cursor->end) {
        cursor->at = NULL;
        return 0;
    }
    if (*at < 0x80) {
        cursor->at = at + 1;
        return *at;
    }
    /* Positions and times: up to eight bytes, without a call. */
    const uint8_t *stop = cursor->end - at > 8 ? at + 8 : cursor->end;
    for (unsigned shift = 0; at < stop; shift += 7) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            cursor->at = at;
            return value;
        }
    }
    if (!buf_read_varint(&cursor->at, cursor->end, &value)) cursor->at = NULL;
    return value;
}

static inline int64_t take_signed(struct cursor *cursor)
{
    return unzigzag(take_varint(cursor));
}

static inline uint32_t take_number(struct cursor *cursor)
{
    uint64_t value = take_varint(cursor);
    if (value > UINT32_MAX) cursor->at = NULL;
    return (uint32_t)value;
}

static inline const uint8_t *take_bytes(struct cursor *cursor, uint64_t size)
{
    const uint8_t *from = cursor->at;
    if (!from || (uint64_t)(cursor->end - from) < size) {
        cursor->at = NULL;
        return NULL;
    }
    cursor->at += size;
    return from;
}

static inline struct slice take_text(struct cursor *cursor)
{
    uint64_t size = take_varint(cursor);
    const uint8_t *from = take_bytes(cursor, size);
    return from ? slice_make(from, (size_t)size) : SLICE_NONE;
}

static inline uint8_t take_byte(struct cursor *cursor)
{
    const uint8_t *from = take_bytes(cursor, 1);
    return from ? *from : 0;
}

static inline void skip_id(struct cursor *cursor)
{
    uint8_t size = take_byte(cursor);
    take_bytes(cursor, size == ID_UUID ? 16 : size);
}

/* The id at the cursor into text, which has room for 256 bytes; returns its size. */
static size_t take_id(struct cursor *cursor, char *text)
{
    text[0] = 0;
    uint8_t size = take_byte(cursor);
    const uint8_t *from = take_bytes(cursor, size == ID_UUID ? 16 : size);
    if (!from) return 0;
    if (size == ID_UUID) {
        uuid_unpack(from, text);
        return UUID_TEXT_SIZE;
    }
    memcpy(text, from, size);
    text[size] = 0;
    return size;
}

/* Writing */

struct writer {
    const struct commit *commit;
    struct names *names;
    struct buf *out;
    uint32_t tenant, aggregate, actor;
    uint32_t name_max;
};

static uint32_t writer_name(struct writer *writer, struct slice text)
{
    uint32_t number = names_intern(writer->names, text);
    if (number > writer->name_max) writer->name_max = number;
    return number;
}

static void put_defines(struct buf *out, const struct names *names, uint32_t saved, uint32_t last)
{
    buf_put_varint(out, last > saved ? last - saved : 0);
    if (last <= saved) return;
    buf_put_varint(out, saved + 1);
    for (uint32_t number = saved + 1; number <= last; number++) put_text(out, names_get(names, number));
}

static struct slice first_command_id(const struct commit *commit)
{
    return commit->command_count ? commit->commands[0].id : SLICE_NONE;
}

/* Empty and equal to the first command's id mean the same. */
static bool id_is_own(struct slice id, struct slice first)
{
    return id.size == 0 || slice_equal(id, first);
}

static void put_fixed(struct writer *writer)
{
    const struct commit *commit = writer->commit;
    struct buf *out = writer->out;
    struct slice first = first_command_id(commit);
    unsigned flags = 0;
    if (commit->id_given) flags |= FLAG_ID_GIVEN;
    if (commit->batch_id.size) flags |= FLAG_BATCH;
    if (!id_is_own(commit->correlation_id, first)) flags |= FLAG_CORRELATION;
    if (!id_is_own(commit->causation_id, first)) flags |= FLAG_CAUSATION;
    if (commit->depth) flags |= FLAG_DEPTH;
    buf_put_byte(out, (uint8_t)((unsigned)commit->kind << KIND_SHIFT | flags));
    buf_put_varint(out, writer->tenant);
    buf_put_varint(out, writer->aggregate);
    put_text(out, commit->id);
    buf_put_varint(out, commit->first_position);
    buf_put_varint(out, commit->first_version);
    buf_put_varint(out, zigzag(commit->recorded_ms));
    buf_put_varint(out, commit->epoch);
    buf_put_varint(out, commit->deploy);
    buf_put_varint(out, writer->actor);
    if (flags & FLAG_BATCH) record_put_id(out, commit->batch_id);
    if (flags & FLAG_CORRELATION) record_put_id(out, commit->correlation_id);
    if (flags & FLAG_CAUSATION) record_put_id(out, commit->causation_id);
    if (flags & FLAG_DEPTH) buf_put_varint(out, commit->depth);
    buf_put_varint(out, commit->command_count);
    buf_put_varint(out, commit->event_count);
}

/* How far behind `from` an event has the same data, 0: none near. Commands and their events come in the same
 * order nearly always, so the search stays short and a batch of thousand does not cost a million comparisons.
 */
static uint64_t shared_event(const struct commit *commit, size_t from, struct slice data)
{
    enum { LOOK_AHEAD = 8 };
    for (size_t ahead = 0; ahead < LOOK_AHEAD && from + ahead < commit->event_count; ahead++)
        if (slice_equal(commit->events[from + ahead].data, data)) return ahead + 1;
    return 0;
}

/* The entries of the commands; the data of those not shared goes to *payload, in order. */
static void put_commands(struct writer *writer, struct buf *payload)
{
    const struct commit *commit = writer->commit;
    size_t event = 0;
    for (size_t at = 0; at < commit->command_count; at++) {
        const struct commit_command *command = &commit->commands[at];
        uint64_t shared = command->data.size ? shared_event(commit, event, command->data) : 0;
        buf_put_varint(writer->out, names_find(writer->names, command->type));
        record_put_id(writer->out, command->id);
        if (shared || command->data.size == 0) {
            buf_put_varint(writer->out, 0);
            buf_put_varint(writer->out, shared);
            event += shared;
        } else {
            buf_put_varint(writer->out, command->data.size);
            buf_put_slice(payload, command->data);
        }
    }
}

static void put_events(struct writer *writer, struct buf *payload)
{
    const struct commit *commit = writer->commit;
    for (size_t at = 0; at < commit->event_count; at++) {
        const struct commit_event *event = &commit->events[at];
        CHECK(event->data.size > 0);
        buf_put_varint(writer->out, names_find(writer->names, event->type));
        buf_put_varint(writer->out, event->type_version);
        buf_put_varint(writer->out,
                       zigzag((int64_t)((uint64_t)event->at_ms - (uint64_t)commit->recorded_ms)));
        buf_put_varint(writer->out, event->data.size);
        buf_put_slice(payload, event->data);
    }
}

/* The next link: half a digest, since each record carries one; the rest of struct hash is zero. */
static struct hash chain_next(const struct hash *previous, const struct hash *envelope,
                              const struct hash *payload)
{
    struct hash chain = hash_chain(previous, envelope, payload);
    memset(chain.bytes + CHAIN_SIZE, 0, HASH_SIZE - CHAIN_SIZE);
    return chain;
}

/* Frames envelope and payload; the chain is already known. */
static void put_record(struct buf *out, enum record_kind kind, struct slice envelope, struct slice payload,
                       const struct hash *chain)
{
    size_t start = out->size;
    buf_room(out, HEAD_SIZE + 20 + envelope.size + payload.size + CHAIN_SIZE);
    buf_put_byte(out, RECORD_FORMAT);
    buf_put_byte(out, (uint8_t)kind);
    buf_put(out, "\0\0\0\0", 4);
    put_text(out, envelope);
    put_text(out, payload);
    buf_put(out, chain->bytes, CHAIN_SIZE);
    uint32_t crc = hash_crc32(slice_make(out->data + start + HEAD_SIZE, out->size - start - HEAD_SIZE));
    for (size_t at = 0; at < 4; at++) out->data[start + 2 + at] = (char)(crc >> (8 * at));
}

void record_write(const struct commit *commit, struct names *names, uint32_t names_saved, struct hash *chain,
                  struct buf *out)
{
    bool has_events = commit->kind == RECORD_COMMIT || commit->kind == RECORD_FACT;
    CHECK(commit->kind >= RECORD_COMMIT && commit->kind <= RECORD_ACCEPTED);
    CHECK(has_events == (commit->event_count > 0));
    CHECK(commit->command_count > 0 || commit->kind == RECORD_FACT);
    struct buf envelope = {0}, payload = {0};
    struct writer writer = {.commit = commit, .names = names, .out = &envelope};
    writer.tenant = writer_name(&writer, commit->tenant);
    writer.aggregate = writer_name(&writer, commit->aggregate);
    writer.actor = writer_name(&writer, commit->actor);
    for (size_t at = 0; at < commit->command_count; at++) writer_name(&writer, commit->commands[at].type);
    for (size_t at = 0; at < commit->event_count; at++) writer_name(&writer, commit->events[at].type);

    put_defines(&envelope, names, names_saved, writer.name_max);
    put_fixed(&writer);
    put_commands(&writer, &payload);
    put_events(&writer, &payload);
    if (commit->kind == RECORD_REJECTED) {
        put_text(&envelope, commit->reason);
        put_text(&envelope, commit->message);
    }
    struct hash envelope_hash = hash_of(buf_slice(&envelope)), payload_hash = hash_of(buf_slice(&payload));
    *chain = chain_next(chain, &envelope_hash, &payload_hash);
    put_record(out, commit->kind, buf_slice(&envelope), buf_slice(&payload), chain);
    buf_release(&envelope);
    buf_release(&payload);
}

/* Opening */

static int damaged(struct fault *fault, const char *what)
{
    return fault_set(fault, FAULT_CORRUPT, "damaged record: %s", what);
}

static bool crc_fits(struct slice bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    uint32_t stored = (uint32_t)at[2] | (uint32_t)at[3] << 8 | (uint32_t)at[4] << 16 | (uint32_t)at[5] << 24;
    return stored == hash_crc32(slice_make(at + HEAD_SIZE, bytes.size - HEAD_SIZE));
}

static int open_frame(struct slice bytes, struct record *record, struct fault *fault)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    if (bytes.size < HEAD_SIZE + 2 + CHAIN_SIZE) return damaged(fault, "cut off");
    if (at[0] != RECORD_FORMAT) return fault_set(fault, FAULT_CORRUPT, "damaged record: format %d", at[0]);
    if (at[1] < RECORD_COMMIT || at[1] > RECORD_ERASED)
        return fault_set(fault, FAULT_CORRUPT, "damaged record: kind %d", at[1]);
    struct cursor cursor = {at + HEAD_SIZE, at + bytes.size - CHAIN_SIZE};
    record->kind = (enum record_kind)at[1];
    record->bytes = bytes;
    record->envelope = take_text(&cursor);
    record->payload = take_text(&cursor);
    if (!cursor.at || cursor.at != cursor.end) return damaged(fault, "sizes do not add up");
    record->chain = (struct hash){0};
    memcpy(record->chain.bytes, cursor.at, CHAIN_SIZE);
    return 0;
}

/* One defined name meets the table. */
static int open_define(struct record *record, struct names *names, uint64_t number, struct slice text,
                       bool *checked, struct fault *fault)
{
    if (text.size == 0) return damaged(fault, "defines an empty name");
    if (!names) return 0;
    if (number <= names_count(names)) {
        if (slice_equal(names_get(names, (uint32_t)number), text)) return 0;
        return fault_set(fault, FAULT_CORRUPT, "damaged record: name %u is defined differently",
                         (uint32_t)number);
    }
    if (!*checked && !crc_fits(record->bytes)) return damaged(fault, "the checksum differs");
    *checked = true;
    if (names_find(names, text) == 0 && number == (uint64_t)names_count(names) + 1) names_intern(names, text);
    /* Another thread may have opened the same record meanwhile: what counts is the number it has now. */
    if (names_find(names, text) == number) return 0;
    return fault_set(fault, FAULT_CORRUPT, "damaged record: it defines name %u while %u are known",
                     (uint32_t)number, names_count(names));
}

static int open_defines(struct record *record, struct names *names, struct cursor *cursor,
                        struct fault *fault)
{
    uint64_t left = take_varint(cursor);
    if (left == 0) return cursor->at ? 0 : damaged(fault, "cut off");
    uint64_t number = take_number(cursor);
    bool checked = false;
    if (number == 0 || left > UINT32_MAX - number) return damaged(fault, "names out of range");
    for (; left > 0; left--, number++) {
        struct slice text = take_text(cursor);
        if (!cursor->at) return damaged(fault, "a name is cut off");
        if (open_define(record, names, number, text, &checked, fault) < 0) return -1;
    }
    return 0;
}

static int open_fixed(struct record *record, struct cursor *cursor, struct fault *fault)
{
    uint8_t kind_and_flags = take_byte(cursor);
    record->flags = kind_and_flags & (uint8_t)~KIND_MASK;
    record->id_given = record->flags & FLAG_ID_GIVEN;
    record->tenant = take_number(cursor);
    record->aggregate = take_number(cursor);
    record->id = take_text(cursor);
    record->first_position = take_varint(cursor);
    record->first_version = take_varint(cursor);
    record->recorded_ms = take_signed(cursor);
    record->epoch = take_varint(cursor);
    record->deploy = take_varint(cursor);
    record->actor = take_number(cursor);
    record->ids = cursor->at;
    if (record->flags & FLAG_BATCH) skip_id(cursor);
    if (record->flags & FLAG_CORRELATION) skip_id(cursor);
    if (record->flags & FLAG_CAUSATION) skip_id(cursor);
    record->depth = record->flags & FLAG_DEPTH ? take_number(cursor) : 0;
    record->command_count = take_number(cursor);
    record->event_count = take_number(cursor);
    record->commands = cursor->at;
    if (!cursor->at) return damaged(fault, "the envelope is cut off");
    if (record->id.size > LIMIT_ID_SIZE_MAX) return damaged(fault, "an id longer than any");
    if ((kind_and_flags & KIND_MASK) >> KIND_SHIFT != (int)record->kind)
        return damaged(fault, "its kind differs from its envelope's");
    bool has_events = record->kind == RECORD_COMMIT || record->kind == RECORD_FACT;
    if (record->kind != RECORD_ERASED && has_events != (record->event_count > 0))
        return damaged(fault, "a number of events that its kind cannot have");
    return 0;
}

/* Walks the commands and events: each entry is whole, sizes add up to the payload, names are below name_max.
 */
static int open_entries(struct record *record, struct cursor *cursor, uint32_t name_max, struct fault *fault)
{
    uint64_t data_size = 0, shared_events = 0;
    for (uint32_t at = 0; at < record->command_count; at++) {
        uint32_t type = take_number(cursor);
        skip_id(cursor);
        uint64_t size = take_varint(cursor);
        uint64_t shared = size ? 0 : take_varint(cursor);
        data_size += size;
        shared_events += shared;
        if (!cursor->at || type > name_max || size > record->payload.size || shared > record->event_count ||
            data_size > record->payload.size || shared_events > record->event_count)
            return damaged(fault, "a command's entry");
    }
    record->events = cursor->at;
    record->event_data = record->payload.data + data_size;
    for (uint32_t at = 0; at < record->event_count; at++) {
        uint32_t type = take_number(cursor);
        take_number(cursor);
        take_signed(cursor);
        uint64_t size = take_varint(cursor);
        data_size += size;
        if (!cursor->at || type > name_max || size == 0 || size > record->payload.size ||
            data_size > record->payload.size)
            return damaged(fault, "an event's entry");
    }
    if (data_size != record->payload.size) return damaged(fault, "the sizes of its data do not add up");
    return 0;
}

int record_open(struct slice bytes, struct names *names, struct record *record, struct fault *fault)
{
    if (open_frame(bytes, record, fault) < 0) return -1;
    record->names = names;
    const uint8_t *envelope = (const uint8_t *)record->envelope.data;
    struct cursor cursor = {envelope, envelope + record->envelope.size};
    if (open_defines(record, names, &cursor, fault) < 0 || open_fixed(record, &cursor, fault) < 0) return -1;
    uint32_t name_max = names ? names_count(names) : UINT32_MAX;
    if (record->tenant > name_max || record->aggregate > name_max || record->actor > name_max)
        return damaged(fault, "it uses a name that was never defined");
    if (record->kind == RECORD_ERASED) {
        if (record->command_count || record->payload.size) return damaged(fault, "erased, yet it has data");
        record->events = cursor.at;
        record->event_data = record->payload.data;
    } else if (open_entries(record, &cursor, name_max, fault) < 0) {
        return -1;
    }
    record->outcome = cursor.at;
    if (record->kind == RECORD_REJECTED) {
        take_text(&cursor);
        take_text(&cursor);
    } else if (record->kind == RECORD_ERASED) {
        take_bytes(&cursor, 2 * HASH_SIZE);
    }
    if (!cursor.at || cursor.at != cursor.end) return damaged(fault, "its envelope ends elsewhere");
    return 0;
}

/* Checking */

/* The digests of envelope and payload: as stored if it was erased. */
static void record_digests(const struct record *record, struct hash *envelope, struct hash *payload)
{
    if (record->kind == RECORD_ERASED) {
        memcpy(envelope->bytes, record->outcome, HASH_SIZE);
        memcpy(payload->bytes, record->outcome + HASH_SIZE, HASH_SIZE);
    } else {
        *envelope = hash_of(record->envelope);
        *payload = hash_of(record->payload);
    }
}

static int check_data(struct slice data, const char *what, uint32_t ordinal, struct fault *fault)
{
    struct fault inner = {0};
    struct mp_reader reader = mp_reader_of(data);
    struct mp_value value;
    if (mp_check(data, &inner) < 0)
        return fault_set(fault, FAULT_CORRUPT, "damaged record: %s %u: %s", what, ordinal + 1, inner.text);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_MAP)
        return fault_set(fault, FAULT_CORRUPT, "damaged record: %s %u is no map", what, ordinal + 1);
    return 0;
}

int record_check_crc(const struct record *record, struct fault *fault)
{
    return crc_fits(record->bytes) ? 0 : damaged(fault, "the checksum differs");
}

int record_check(const struct record *record, const struct hash *previous, struct fault *fault)
{
    if (record_check_crc(record, fault) < 0) return -1;
    struct record_event event = {0};
    while (record_next_event(record, &event))
        if (check_data(event.data, "event", event.ordinal, fault) < 0) return -1;
    struct record_command command = {0};
    while (record_next_command(record, &command))
        if (command.data.size && check_data(command.data, "command", command.ordinal, fault) < 0) return -1;
    if (!previous) return 0;
    struct hash envelope, payload;
    record_digests(record, &envelope, &payload);
    struct hash chain = chain_next(previous, &envelope, &payload);
    if (!hash_equal(&chain, &record->chain))
        return damaged(fault, "it does not follow from the one before it");
    return 0;
}

/* Cursors. record_open has walked these bytes, so nothing can fail here. */

static struct cursor envelope_at(const struct record *record, const uint8_t *at)
{
    return (struct cursor){at, (const uint8_t *)record->envelope.data + record->envelope.size};
}

bool record_next_event(const struct record *record, struct record_event *event)
{
    if (record->kind == RECORD_ERASED) return false;
    uint32_t ordinal = event->next ? event->ordinal + 1 : 0;
    if (ordinal >= record->event_count) return false;
    struct cursor cursor = envelope_at(record, event->next ? event->next : record->events);
    const char *data = event->next ? event->next_data : record->event_data;
    event->ordinal = ordinal;
    event->type = take_number(&cursor);
    event->type_version = take_number(&cursor);
    event->at_ms = (int64_t)((uint64_t)record->recorded_ms + (uint64_t)take_signed(&cursor));
    uint64_t size = take_varint(&cursor);
    event->position = record->first_position + ordinal;
    event->version = record->first_version + ordinal;
    event->data = slice_make(data, (size_t)size);
    event->next = cursor.at;
    event->next_data = data + size;
    return true;
}

/* Moves the command's cursor over the events n entries on and returns the last one's data. */
static struct slice shared_data(const struct record *record, struct record_command *command, uint64_t n)
{
    struct cursor cursor = envelope_at(record, command->next_event);
    struct slice data = SLICE_NONE;
    for (; n > 0; n--) {
        take_varint(&cursor);
        take_varint(&cursor);
        take_varint(&cursor);
        data = slice_make(command->next_event_data, (size_t)take_varint(&cursor));
        command->next_event_data += data.size;
    }
    command->next_event = cursor.at;
    return data;
}

bool record_next_command(const struct record *record, struct record_command *command)
{
    bool first = !command->next;
    uint32_t ordinal = first ? 0 : command->ordinal + 1;
    if (ordinal >= record->command_count) return false;
    if (first) {
        command->next_data = record->payload.data;
        command->next_event = record->events;
        command->next_event_data = record->event_data;
    }
    struct cursor cursor = envelope_at(record, first ? record->commands : command->next);
    command->ordinal = ordinal;
    command->type = take_number(&cursor);
    command->id_size = take_id(&cursor, command->id);
    uint64_t size = take_varint(&cursor);
    if (size) {
        command->data = slice_make(command->next_data, (size_t)size);
        command->next_data += size;
    } else {
        command->data = shared_data(record, command, take_varint(&cursor));
    }
    command->next = cursor.at;
    return true;
}

bool record_next_define(const struct record *record, struct record_define *define)
{
    struct cursor cursor = envelope_at(record, define->next);
    if (!define->next) {
        cursor.at = (const uint8_t *)record->envelope.data;
        define->left = take_number(&cursor);
        if (define->left) define->id = take_number(&cursor) - 1;
    }
    define->next = cursor.at;
    if (define->left == 0) return false;
    define->left--;
    define->id++;
    define->text = take_text(&cursor);
    define->next = cursor.at;
    return true;
}

bool record_has_batch(const struct record *record)
{
    return record->flags & FLAG_BATCH;
}

void record_read_ids(const struct record *record, struct arena *arena, struct record_ids *ids)
{
    char text[256];
    struct cursor cursor = envelope_at(record, record->commands);
    struct slice first = SLICE_NONE;
    if (record->command_count) {
        take_varint(&cursor);
        first = slice_make(text, take_id(&cursor, text));
        first = first.size ? arena_copy(arena, first) : SLICE_NONE;
    }
    cursor.at = record->ids;
    struct record_ids found = {.command_id = first, .correlation_id = first, .causation_id = first};
    if (record->flags & FLAG_BATCH)
        found.batch_id = arena_copy(arena, slice_make(text, take_id(&cursor, text)));
    if (record->flags & FLAG_CORRELATION)
        found.correlation_id = arena_copy(arena, slice_make(text, take_id(&cursor, text)));
    if (record->flags & FLAG_CAUSATION)
        found.causation_id = arena_copy(arena, slice_make(text, take_id(&cursor, text)));
    *ids = found;
}

void record_read_outcome(const struct record *record, struct slice *reason, struct slice *message)
{
    *reason = *message = SLICE_NONE;
    if (record->kind != RECORD_REJECTED) return;
    struct cursor cursor = envelope_at(record, record->outcome);
    *reason = take_text(&cursor);
    *message = take_text(&cursor);
}

void record_erase(const struct record *record, struct buf *out)
{
    if (record->kind == RECORD_ERASED) {
        buf_put_slice(out, record->bytes);
        return;
    }
    struct buf envelope = {0};
    struct record_define define = {0};
    while (record_next_define(record, &define)) continue;
    const uint8_t *start = (const uint8_t *)record->envelope.data;
    buf_put(&envelope, start, (size_t)(define.next - start));
    buf_put_byte(&envelope, RECORD_ERASED << KIND_SHIFT);
    buf_put(&envelope, "\0\0\0", 3); /* tenant, aggregate, id */
    buf_put_varint(&envelope, record->first_position);
    buf_put_varint(&envelope, record->first_version);
    buf_put_varint(&envelope, zigzag(record->recorded_ms));
    buf_put_varint(&envelope, record->epoch);
    buf_put_varint(&envelope, record->deploy);
    buf_put(&envelope, "\0\0", 2); /* actor, commands */
    buf_put_varint(&envelope, record->event_count);
    struct hash envelope_hash, payload_hash;
    record_digests(record, &envelope_hash, &payload_hash);
    buf_put(&envelope, envelope_hash.bytes, HASH_SIZE);
    buf_put(&envelope, payload_hash.bytes, HASH_SIZE);
    put_record(out, RECORD_ERASED, buf_slice(&envelope), SLICE_NONE, &record->chain);
    buf_release(&envelope);
}

void record_read_commit(const struct record *record, struct arena *arena, struct commit *commit)
{
    const struct names *names = record->names;
    struct record_ids ids;
    struct slice reason, message;
    record_read_ids(record, arena, &ids);
    record_read_outcome(record, &reason, &message);
    size_t event_count = record->kind == RECORD_ERASED ? 0 : record->event_count;
    struct commit_command *commands = arena_zero(arena, record->command_count * sizeof *commands);
    struct commit_event *events = arena_zero(arena, event_count * sizeof *events);
    struct record_command command = {0};
    while (record_next_command(record, &command))
        commands[command.ordinal] = (struct commit_command){
            .type = names_get(names, command.type),
            .id = arena_copy(arena, slice_make(command.id, command.id_size)),
            .data = arena_copy(arena, command.data),
        };
    struct record_event event = {0};
    while (record_next_event(record, &event))
        events[event.ordinal] = (struct commit_event){
            .type = names_get(names, event.type),
            .type_version = event.type_version,
            .at_ms = event.at_ms,
            .data = arena_copy(arena, event.data),
        };
    *commit = (struct commit){
        .kind = record->kind,
        .tenant = names_get(names, record->tenant),
        .aggregate = names_get(names, record->aggregate),
        .id = arena_copy(arena, record->id),
        .first_version = record->first_version,
        .first_position = record->first_position,
        .recorded_ms = record->recorded_ms,
        .epoch = record->epoch,
        .deploy = record->deploy,
        .actor = names_get(names, record->actor),
        .batch_id = ids.batch_id,
        .correlation_id = ids.correlation_id,
        .causation_id = ids.causation_id,
        .depth = record->depth,
        .id_given = record->id_given,
        .commands = commands,
        .command_count = record->command_count,
        .events = events,
        .event_count = event_count,
        .reason = arena_copy(arena, reason),
        .message = arena_copy(arena, message),
    };
}

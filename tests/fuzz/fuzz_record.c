/* The commit record: any bytes are safe to open, and what opens is safe to read. The first byte chooses how
 * names are treated; with a table, the CRC is made to fit, so that the fuzzer gets behind it. */
#include <stdlib.h>

#include "codec/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keeps the reads from being optimised away. */
volatile unsigned fuzz_sum;

static unsigned touch(struct slice bytes)
{
    unsigned sum = 0;
    for (size_t n = 0; n < bytes.size; n++) sum += (uint8_t)bytes.data[n];
    return sum;
}

static unsigned read_record(const struct record *record)
{
    struct arena arena = {0};
    struct record_event event = {0};
    struct record_command command = {0};
    struct record_define define = {0};
    struct record_ids ids;
    struct slice reason, message;
    unsigned sum = 0;
    while (record_next_event(record, &event)) sum += touch(event.data);
    while (record_next_command(record, &command))
        sum += touch(command.data) + (unsigned)command.id[command.id_size];
    while (record_next_define(record, &define)) sum += touch(define.text);
    record_read_ids(record, &arena, &ids);
    record_read_outcome(record, &reason, &message);
    sum += touch(ids.batch_id) + touch(ids.correlation_id) + touch(ids.causation_id) + touch(ids.command_id);
    sum += touch(reason) + touch(message) + touch(record->id);
    arena_release(&arena);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    bool with_names = data[0] & 1;
    struct buf bytes = {0}, erased = {0};
    buf_put(&bytes, data + 1, size - 1);
    if (bytes.size > 6) {
        uint32_t crc = hash_crc32(slice_make(bytes.data + 6, bytes.size - 6));
        memcpy(bytes.data + 2, &crc, 4);
    }
    struct names *names = with_names ? names_new() : NULL;
    struct record record, rest;
    struct fault fault = {0};
    if (record_open(buf_slice(&bytes), names, &record, &fault) == 0) {
        fuzz_sum = read_record(&record);
        record_check(&record, &record.chain, NULL);
        record_erase(&record, &erased);
        if (record_open(buf_slice(&erased), names, &rest, NULL) < 0) abort();
        if (record_check(&rest, NULL, NULL) < 0) abort();
        if (with_names) {
            struct arena arena = {0};
            struct commit commit;
            record_read_commit(&record, &arena, &commit);
            arena_release(&arena);
        }
    } else if (fault.code != FAULT_CORRUPT) {
        abort();
    }
    names_free(names);
    buf_release(&bytes);
    buf_release(&erased);
    return 0;
}

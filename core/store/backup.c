#include "store/backup.h"

#include <inttypes.h>
#include <stdlib.h>

#include "store/engine_lmdb.h"

/* Named values of one moment, one behind the other: 4 bytes size of the key, 4 of the value, both. */
static int keep_value(void *user, struct slice key, struct slice value, struct fault *fault)
{
    uint32_t sizes[2] = {(uint32_t)key.size, (uint32_t)value.size};
    buf_put(user, sizes, sizeof sizes);
    buf_put_slice(user, key);
    buf_put_slice(user, value);
    return 0;
}

static int put_values(struct archive_writer *writer, struct slice values, struct fault *fault)
{
    while (values.size) {
        uint32_t sizes[2];
        memcpy(sizes, values.data, sizeof sizes);
        const char *key = values.data + sizeof sizes;
        if (archive_put_meta(writer, slice_make(key, sizes[0]), slice_make(key + sizes[0], sizes[1]), fault) <
            0)
            return -1;
        size_t size = sizeof sizes + sizes[0] + sizes[1];
        values = slice_make(values.data + size, values.size - size);
    }
    return 0;
}

/* Whether the record that ends at the number has this chain. 1, 0, -1. */
static int has_link(struct engine *engine, bool outcomes, uint64_t number, const struct hash *chain,
                    struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (number == 0) return 1;
    int found = outcomes ? engine_read_outcomes(engine, number, &cursor, fault)
                         : engine_read(engine, number, &cursor, fault);
    if (found < 0) return -1;
    found = engine_cursor_next(cursor, &record, fault);
    if (found > 0)
        found = hash_equal(&record.chain, chain) &&
                (outcomes || record.first_position + record.event_count - 1 == number);
    engine_cursor_close(cursor);
    return found;
}

static int check_since(struct engine *engine, const struct archive_point *since, struct fault *fault)
{
    int there = has_link(engine, false, since->position, &since->chain, fault);
    if (there > 0) there = has_link(engine, true, since->outcomes, &since->outcome_chain, fault);
    if (there < 0) return -1;
    if (there) return 0;
    return fault_set(fault, FAULT_CONFLICT,
                     "the log was rolled back behind position %" PRIu64
                     ", where the earlier backup ends, or is another one: take a whole backup",
                     since->position);
}

/* A rollback while it was read: what was written is of two logs. */
static int check_epoch(struct engine *engine, const struct archive_head *head, struct fault *fault)
{
    struct buf value = {0};
    int found = engine_meta_get(engine, slice_of("epoch"), &value, fault);
    buf_put_byte(&value, 0);
    bool same = found >= 0 && (found ? strtoull(value.data, NULL, 10) : 1) == head->epoch;
    buf_release(&value);
    if (found < 0) return -1;
    return same ? 0 : fault_set(fault, FAULT_CONFLICT, "the log was rolled back meanwhile: try again");
}

int backup_write(struct engine *engine, const char *file, const struct archive_point *since,
                 struct archive_head *head, struct fault *fault)
{
    struct buf values = {0};
    struct engine_head now;
    struct archive_writer *writer;
    if (engine_lmdb_meta_each(engine, &now, keep_value, &values, fault) < 0) {
        buf_release(&values);
        return -1;
    }
    *head = (struct archive_head){.what = ARCHIVE_BACKUP,
                                  .epoch = now.epoch,
                                  .after = archive_point_of(&now),
                                  .made_ms = clock_now_ms(NULL),
                                  .names = names_count(engine_names(engine))}; /* before more is read */
    memcpy(head->log_id, now.log_id, sizeof head->log_id);
    if (since) head->before = *since;
    int done = since ? check_since(engine, since, fault) : 0;
    if (done == 0 && (done = archive_create(file, head, &writer, fault)) == 0) {
        done = archive_put_log(writer, engine, fault);
        if (done == 0) done = put_values(writer, buf_slice(&values), fault);
        struct fault rolled;
        if (check_epoch(engine, head, &rolled) < 0) {
            if (fault) *fault = rolled;
            done = -1;
        }
        if (done < 0)
            archive_abandon(writer);
        else
            done = archive_finish(writer, fault);
    }
    buf_release(&values);
    return done;
}

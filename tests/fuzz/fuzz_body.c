/* The body of a POST and the rows of an import file. Any bytes give commands whose parts keep their promises,
 * or one error that names its place; a file gives rows, good or refused, each with a number above the last.
 * The first byte chooses: body (which is a line of a bulk body too), NDJSON, or CSV and its separator. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limit.h"
#include "cli/rows.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "net/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COMMANDS_MAX = 5 };

static void read_body(struct slice text)
{
    struct command *command = command_new();
    struct buf scratch = {0};
    struct fault fault = {0};
    if (body_read_commands(text, COMMANDS_MAX, &scratch, command, &fault) == 0) {
        CHECK(command->item_count > 0 && command->item_count <= COMMANDS_MAX);
        for (size_t i = 0; i < command->item_count; i++) {
            const struct command_item *item = &command->items[i];
            CHECK(item->type.size > 0 && text_is_utf8(item->type));
            CHECK(item->id.size == 0 || text_is_id(item->id));
            CHECK(mp_check(item->data, NULL) == 0);
        }
    } else {
        CHECK(fault.code == FAULT_MALFORMED || fault.code == FAULT_TOO_LARGE);
        CHECK(fault.text[0] && text_is_utf8(slice_of(fault.text)));
    }
    buf_release(&scratch);
    command_free(command);
}

static void read_line(struct slice text)
{
    struct command *command = command_new();
    struct buf scratch = {0};
    struct fault fault = {0};
    if (body_read_line(text, &scratch, command, &fault) == 0) {
        CHECK(command->item_count == 1 && text_is_id(command->id) && command->context.size > 0);
        CHECK(command->items->type.size > 0 && mp_check(command->items->data, NULL) == 0);
        CHECK(command->expected_version >= COMMAND_ANY_VERSION);
    } else {
        CHECK(fault.code == FAULT_MALFORMED);
        CHECK(fault.text[0] && text_is_utf8(slice_of(fault.text)));
    }
    buf_release(&scratch);
    command_free(command);
}

static void read_rows(struct slice text, const char *format, char separator)
{
    char path[64];
    int fd = memfd_create("rows", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text.data, text.size) == (ssize_t)text.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct rows_options options = {.path = path, .format = format, .separator = separator};
    struct rows *rows;
    struct row row;
    struct fault fault;
    uint64_t last = 0;
    int got = rows_open(&options, &rows, &fault);
    if (got == 0) {
        while ((got = rows_next(rows, &row, &fault)) != 0) {
            if (got < 0 && fault.code != FAULT_MALFORMED && fault.code != FAULT_TOO_LARGE) break;
            CHECK(row.number > last);
            last = row.number;
            if (got > 0) CHECK(mp_check(row.data, NULL) == 0);
        }
        rows_close(rows);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separators[] = ",;\t|";
    if (size == 0) return 0;
    struct slice text = slice_make(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        read_body(text);
        read_line(text);
        break;
    case 1: read_rows(text, data[0] & 128 ? NULL : "ndjson", 0); break;
    default: read_rows(text, "csv", separators[data[0] / 3 % 4]); break;
    }
    return 0;
}

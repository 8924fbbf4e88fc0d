#include "cli/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/faultpoint.h"
#include "base/limit.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { ROWS_CHUNK_SIZE = 256 * 1024, ROWS_COLUMNS_MAX = 1024, ROWS_SHOWN_SIZE = 1024 };

struct rows {
    gzFile file;
    char *name; /* as it was given, for messages */
    int fd;
    off_t size; /* of the file, 0 if unknown */
    bool is_csv, ended, failed;
    int error; /* of the read that failed, where zlib has no words for it */
    char separator;
    uint64_t number;
    struct buf input; /* read; used up to at */
    size_t at;
    struct slice line; /* the line or record at hand, inside input (inside cut if it is too large) */
    struct buf cut;    /* the beginning of a line that is too large */
    struct buf data;
    /* CSV: column names in order of the file, and in byte order, since maps are written that way */
    char **columns;
    size_t column_count;
    size_t *sorted;
    struct slice *fields;
    bool *quoted;
    struct buf text; /* unquoted fields of the current record */
};

/* Reads more behind what is not used up, which moves to the front. */
static bool rows_fill(struct rows *rows)
{
    if (rows->ended) return false;
    if (rows->at) {
        memmove(rows->input.data, rows->input.data + rows->at, rows->input.size - rows->at);
        rows->input.size -= rows->at;
        rows->at = 0;
    }
    int error = fault_point(POINT_IMPORT_READ);
    char *room = buf_room(&rows->input, ROWS_CHUNK_SIZE);
    int got = error > 0 ? -1 : gzread(rows->file, room, error < 0 ? 1 : ROWS_CHUNK_SIZE);
    int status;
    if (got < 0) rows->error = errno;
    gzerror(rows->file, &status);
    if (got < 0 || (got == 0 && status == Z_BUF_ERROR)) rows->failed = true;
    if (got <= 0)
        rows->ended = true;
    else
        rows->input.size += (size_t)got;
    return got > 0;
}

/* Looks ahead; -1 behind the end. */
static inline int rows_byte(struct rows *rows, size_t ahead)
{
    while (rows->at + ahead >= rows->input.size)
        if (!rows_fill(rows)) return -1;
    return (unsigned char)rows->input.data[rows->at + ahead];
}

static void rows_skip_mark(struct rows *rows)
{
    if (rows_byte(rows, 0) == 0xEF && rows_byte(rows, 1) == 0xBB && rows_byte(rows, 2) == 0xBF) rows->at += 3;
}

/* The next size bytes and the newline behind them, if there is one, become the line at hand. */
static void rows_take(struct rows *rows, size_t size)
{
    rows->line = slice_make(rows->input.data + rows->at, size);
    rows->at += size;
    if (rows->at < rows->input.size) rows->at++;
    if (size && rows->line.data[size - 1] == '\r') rows->line.size--;
}

/* Drops all up to the next newline and keeps the beginning, to be shown. */
static void rows_drop_line(struct rows *rows)
{
    buf_clear(&rows->cut);
    buf_put(&rows->cut, rows->input.data + rows->at, ROWS_SHOWN_SIZE);
    rows->line = buf_slice(&rows->cut);
    for (bool found = false; !found && rows_byte(rows, 0) >= 0;) {
        char *begin = rows->input.data + rows->at;
        char *newline = memchr(begin, '\n', rows->input.size - rows->at);
        found = newline != NULL;
        rows->at = found ? (size_t)(newline - rows->input.data) + 1 : rows->input.size;
    }
}

/* Up to the next newline. 1, 0 at the end, -1 too large (the line was dropped). */
static int rows_read_line(struct rows *rows)
{
    if (rows_byte(rows, 0) < 0) return 0;
    for (size_t seen = 0;;) {
        size_t left = rows->input.size - rows->at;
        const char *begin = rows->input.data + rows->at;
        const char *newline = left > seen ? memchr(begin + seen, '\n', left - seen) : NULL;
        size_t size = newline ? (size_t)(newline - begin) : left;
        if (size > LIMIT_MESSAGE_SIZE_MAX) {
            rows_drop_line(rows);
            return -1;
        }
        seen = left;
        if (!newline && rows_fill(rows)) continue;
        rows_take(rows, size);
        return 1;
    }
}

/* One CSV record, which may hold newlines inside quotes; results as of rows_read_line. Where the quotes make
 * no sense (never closed, or text behind the closing one, which mostly means that an earlier one is missing),
 * only the first line is taken: rows_split will refuse it, and no row behind it is lost. */
static int rows_read_record(struct rows *rows)
{
    enum { AT_BEGIN, PLAIN, QUOTED, CLOSED } state = AT_BEGIN;
    for (size_t ahead = 0; ahead <= LIMIT_MESSAGE_SIZE_MAX; ahead++) {
        int c = rows_byte(rows, ahead);
        bool ends = c < 0 || c == '\n';
        if (state == QUOTED) {
            if (c < 0) break;
            if (c == '"') state = CLOSED;
        } else if (ends) {
            if (c < 0 && ahead == 0) return 0;
            rows_take(rows, ahead);
            return 1;
        } else if (c == (unsigned char)rows->separator) {
            state = AT_BEGIN;
        } else if (c == '"' && state != PLAIN) {
            state = QUOTED; /* at the begin of a field, or doubled */
        } else if (state == CLOSED) {
            int next = c == '\r' ? rows_byte(rows, ahead + 1) : 0;
            if (next != '\n' && next != -1) break;
        } else {
            state = PLAIN;
        }
    }
    return rows_read_line(rows);
}

/* Splits rows->line into fields; returns their number or -1 with a fault. Texts without quotes are borrowed
 * from the line, others are unescaped into rows->text, whose room is reserved first so that it never moves.
 */
static long rows_split(struct rows *rows, struct slice *fields, bool *quoted, size_t fields_max,
                       struct fault *fault)
{
    const char *at = rows->line.data, *end = at + rows->line.size;
    buf_clear(&rows->text);
    buf_room(&rows->text, rows->line.size + 1);
    size_t count = 0;
    for (;;) {
        if (count == fields_max) return fault_set(fault, FAULT_MALFORMED, "more than %zu fields", fields_max);
        quoted[count] = at < end && *at == '"';
        if (quoted[count]) {
            size_t begin = rows->text.size;
            for (at++;; at++) {
                if (at == end)
                    return fault_set(fault, FAULT_MALFORMED, "field %zu: a quote is never closed", count + 1);
                if (*at == '"' && (at + 1 == end || at[1] != '"')) break;
                if (*at == '"') at++;
                buf_put_byte(&rows->text, (uint8_t)*at);
            }
            at++;
            if (at < end && *at != rows->separator)
                return fault_set(fault, FAULT_MALFORMED, "field %zu: text behind the closing quote",
                                 count + 1);
            fields[count] = slice_make(rows->text.data + begin, rows->text.size - begin);
        } else {
            const char *stop = memchr(at, rows->separator, (size_t)(end - at));
            if (!stop) stop = end;
            fields[count] = slice_make(at, (size_t)(stop - at));
            at = stop;
        }
        count++;
        if (at == end) return (long)count;
        at++;
    }
}

static int rows_fail(struct rows *rows, struct fault *fault)
{
    int status;
    const char *why = gzerror(rows->file, &status), *colon = strstr(why, ": ");
    if (!*why) why = strerror(rows->error);
    /* zlib names the file "<fd:3>" */
    return fault_set(fault, FAULT_DISK, "%s cannot be read to its end: %s", rows->name,
                     *why == '<' && colon ? colon + 2 : why);
}

static int rows_read_header(struct rows *rows, struct fault *fault)
{
    struct slice fields[ROWS_COLUMNS_MAX];
    bool quoted[ROWS_COLUMNS_MAX];
    int got = rows_read_record(rows);
    if (rows->failed) return rows_fail(rows, fault);
    if (got <= 0 || rows->line.size == 0)
        return fault_set(fault, FAULT_MALFORMED, "a CSV file begins with a header line");
    long count = rows_split(rows, fields, quoted, ROWS_COLUMNS_MAX, fault);
    if (count < 0) return -1;
    rows->column_count = (size_t)count;
    rows->columns = mem_zero((size_t)count * sizeof *rows->columns);
    rows->sorted = mem_zero((size_t)count * sizeof *rows->sorted);
    rows->fields = mem_zero((size_t)count * sizeof *rows->fields);
    rows->quoted = mem_zero((size_t)count * sizeof *rows->quoted);
    for (size_t at = 0; at < (size_t)count; at++) {
        if (!fields[at].size)
            return fault_set(fault, FAULT_MALFORMED, "column %zu of the header has no name", at + 1);
        if (!text_is_utf8(fields[at]) || memchr(fields[at].data, 0, fields[at].size))
            return fault_set(fault, FAULT_MALFORMED, "the name of column %zu is not UTF-8 text", at + 1);
        rows->columns[at] = mem_text(fields[at].data, fields[at].size);
        size_t place = at;
        for (; place > 0; place--) {
            int order = strcmp(rows->columns[rows->sorted[place - 1]], rows->columns[at]);
            if (order == 0)
                return fault_set(fault, FAULT_MALFORMED, "two columns are named '%s'", rows->columns[at]);
            if (order < 0) break;
            rows->sorted[place] = rows->sorted[place - 1];
        }
        rows->sorted[place] = at;
    }
    return 0;
}

static int rows_from_csv(struct rows *rows, struct fault *fault)
{
    long count = rows_split(rows, rows->fields, rows->quoted, rows->column_count, fault);
    if (count < 0) return -1;
    if ((size_t)count != rows->column_count)
        return fault_set(fault, FAULT_MALFORMED, "%ld fields, but the header has %zu", count,
                         rows->column_count);
    uint32_t present = 0;
    for (size_t at = 0; at < rows->column_count; at++) {
        if (!text_is_utf8(rows->fields[at]))
            return fault_set(fault, FAULT_MALFORMED, "column %s is not UTF-8", rows->columns[at]);
        present += rows->fields[at].size || rows->quoted[at];
    }
    buf_clear(&rows->data);
    mp_put_map(&rows->data, present);
    for (size_t at = 0; at < rows->column_count; at++) {
        size_t column = rows->sorted[at];
        if (!rows->fields[column].size && !rows->quoted[column]) continue;
        mp_put_text(&rows->data, slice_of(rows->columns[column]));
        mp_put_text(&rows->data, rows->fields[column]);
    }
    return 0;
}

static int rows_from_json(struct rows *rows, struct fault *fault)
{
    buf_clear(&rows->data);
    if (json_to_mp(rows->line, &rows->data, fault) < 0) return -1;
    struct mp_reader reader = mp_reader_of(buf_slice(&rows->data));
    struct mp_value value;
    if (mp_read(&reader, &value) < 0 || value.kind != MP_MAP)
        return fault_set(fault, FAULT_MALFORMED, "expected an object, {…}");
    return 0;
}

int rows_next(struct rows *rows, struct row *row, struct fault *fault)
{
    int got;
    do {
        got = rows->is_csv ? rows_read_record(rows) : rows_read_line(rows);
        if (rows->failed) return rows_fail(rows, fault);
        if (got == 0) return 0;
        rows->number++;
    } while (got > 0 && rows->line.size == 0);
    row->number = rows->number;
    row->source = rows->line;
    row->data = SLICE_NONE;
    if (got < 0)
        return fault_set(fault, FAULT_TOO_LARGE, "a row of more than %d bytes", LIMIT_MESSAGE_SIZE_MAX);
    if ((rows->is_csv ? rows_from_csv(rows, fault) : rows_from_json(rows, fault)) < 0) return -1;
    row->data = buf_slice(&rows->data);
    return 1;
}

static bool rows_ends(const char *path, size_t size, const char *suffix)
{
    size_t suffix_size = strlen(suffix);
    return size > suffix_size && strncasecmp(path + size - suffix_size, suffix, suffix_size) == 0;
}

static int rows_choose_format(struct rows *rows, const struct rows_options *options, struct fault *fault)
{
    size_t size = strlen(options->path);
    if (rows_ends(options->path, size, ".gz")) size -= 3;
    rows->separator = options->separator                       ? options->separator
                      : rows_ends(options->path, size, ".tsv") ? '\t'
                                                               : ',';
    if (options->format) {
        rows->is_csv = strcmp(options->format, "csv") == 0;
        if (!rows->is_csv && strcmp(options->format, "ndjson") != 0)
            return fault_set(fault, FAULT_USAGE, "--format expects ndjson or csv, not '%s'", options->format);
        return 0;
    }
    if (rows_ends(options->path, size, ".csv") || rows_ends(options->path, size, ".tsv"))
        rows->is_csv = true;
    else if (!rows_ends(options->path, size, ".ndjson") && !rows_ends(options->path, size, ".jsonl"))
        rows->is_csv = rows_byte(rows, 0) != '{';
    return 0;
}

int rows_open(const struct rows_options *options, struct rows **opened, struct fault *fault)
{
    bool standard = strcmp(options->path, "-") == 0;
    int fd = standard ? dup(STDIN_FILENO) : open(options->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return fault_errno(fault, errno, "%s cannot be read", options->path);
    gzFile file = NULL;
    int done = fstat(fd, &info);
    if (done < 0)
        fault_errno(fault, errno, "%s cannot be read", options->path);
    else if (S_ISDIR(info.st_mode))
        done = fault_set(fault, FAULT_USAGE, "%s is a folder, not a file of rows", options->path);
    else if (!(file = gzdopen(fd, "rb")))
        done = fault_set(fault, FAULT_INTERNAL, "%s cannot be read: zlib has no memory", options->path);
    if (done < 0) {
        close(fd);
        return -1;
    }
    struct rows *rows = MEM_NEW(struct rows);
    rows->file = file;
    rows->name = standard ? mem_text("stdin", 5) : mem_text(options->path, strlen(options->path));
    rows->fd = fd;
    if (S_ISREG(info.st_mode)) rows->size = info.st_size;
    gzbuffer(rows->file, ROWS_CHUNK_SIZE);
    rows_skip_mark(rows);
    if (rows_choose_format(rows, options, fault) < 0 || (rows->is_csv && rows_read_header(rows, fault) < 0)) {
        rows_close(rows);
        return -1;
    }
    *opened = rows;
    return 0;
}

double rows_fraction(const struct rows *rows)
{
    return rows->size > 0 ? (double)gzoffset(rows->file) / (double)rows->size : -1;
}

void rows_close(struct rows *rows)
{
    if (!rows) return;
    gzclose(rows->file);
    for (size_t at = 0; at < rows->column_count; at++) mem_free(rows->columns[at]);
    mem_free(rows->columns);
    mem_free(rows->name);
    mem_free(rows->sorted);
    mem_free(rows->fields);
    mem_free(rows->quoted);
    buf_release(&rows->input);
    buf_release(&rows->cut);
    buf_release(&rows->data);
    buf_release(&rows->text);
    mem_free(rows);
}

#include "cli/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/limit.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { ROWS_CHUNK_SIZE = 256 * 1024, ROWS_COLUMNS_MAX = 1024 };

struct rows {
    gzFile file;
    int fd;
    off_t size; /* of the file, 0 if unknown */
    bool is_csv, ended, failed;
    char separator;
    uint64_t number;
    struct buf input; /* read, not used up */
    size_t at;
    struct buf line, data;
    /* CSV: column names in order of the file, and in byte order, since maps are written that way */
    char **columns;
    size_t column_count;
    size_t *sorted;
    struct slice *fields;
    bool *quoted;
    struct buf text; /* unquoted fields of the current record */
};

static bool rows_fill(struct rows *rows)
{
    if (rows->ended) return false;
    if (rows->at) {
        memmove(rows->input.data, rows->input.data + rows->at, rows->input.size - rows->at);
        rows->input.size -= rows->at;
        rows->at = 0;
    }
    int got = gzread(rows->file, buf_room(&rows->input, ROWS_CHUNK_SIZE), ROWS_CHUNK_SIZE);
    int status;
    gzerror(rows->file, &status);
    if (got < 0 || (got == 0 && status == Z_BUF_ERROR)) rows->failed = true;
    if (got <= 0)
        rows->ended = true;
    else
        rows->input.size += (size_t)got;
    return got > 0;
}

/* One byte of look-ahead; -1 at the end. */
static int rows_peek(struct rows *rows)
{
    if (rows->at == rows->input.size && !rows_fill(rows)) return -1;
    return (unsigned char)rows->input.data[rows->at];
}

/* Up to the next newline, kept in rows->line without it. 1, 0 at the end, -1 too large (the rest of the line
 * is dropped). */
static int rows_read_line(struct rows *rows)
{
    buf_clear(&rows->line);
    bool any = false, too_large = false;
    while (rows_peek(rows) >= 0) {
        any = true;
        char *begin = rows->input.data + rows->at;
        char *newline = memchr(begin, '\n', rows->input.size - rows->at);
        size_t size = newline ? (size_t)(newline - begin) : rows->input.size - rows->at;
        if (rows->line.size + size > LIMIT_MESSAGE_SIZE_MAX)
            too_large = true;
        else
            buf_put(&rows->line, begin, size);
        rows->at += size + (newline != NULL);
        if (newline) break;
    }
    if (rows->line.size && rows->line.data[rows->line.size - 1] == '\r') rows->line.size--;
    return too_large ? -1 : any;
}

/* One CSV record, which may hold newlines inside quotes: its source text goes to rows->line. Same results as
 * rows_read_line. */
static int rows_read_record(struct rows *rows)
{
    buf_clear(&rows->line);
    bool quoted = false, any = false, too_large = false;
    for (int c; (c = rows_peek(rows)) >= 0;) {
        rows->at++;
        any = true;
        if (c == '"') quoted = !quoted;
        if (c == '\n' && !quoted) break;
        if (rows->line.size >= LIMIT_MESSAGE_SIZE_MAX) {
            too_large = true;
            if (c == '\n') break; /* most likely an open quote: go on with the next line */
            continue;
        }
        buf_put_byte(&rows->line, (uint8_t)c);
    }
    if (rows->line.size && rows->line.data[rows->line.size - 1] == '\r') rows->line.size--;
    return too_large ? -1 : any;
}

/* Splits rows->line into fields; returns their number or -1 with a fault. Texts without quotes are borrowed
 * from the line, others are unescaped into rows->text, whose room is reserved first so that it never moves.
 */
static long rows_split(struct rows *rows, struct slice *fields, bool *quoted, size_t fields_max,
                       struct fault *fault)
{
    const char *at = rows->line.data ? rows->line.data : "", *end = at + rows->line.size;
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

static int rows_read_header(struct rows *rows, struct fault *fault)
{
    struct slice fields[ROWS_COLUMNS_MAX];
    bool quoted[ROWS_COLUMNS_MAX];
    if (rows_read_record(rows) <= 0)
        return fault_set(fault, FAULT_MALFORMED, "a CSV file begins with a header line");
    if (slice_starts(buf_slice(&rows->line), "\xef\xbb\xbf")) {
        rows->line.size -= 3;
        memmove(rows->line.data, rows->line.data + 3, rows->line.size);
    }
    long count = rows_split(rows, fields, quoted, ROWS_COLUMNS_MAX, fault);
    if (count < 0) return -1;
    rows->column_count = (size_t)count;
    rows->columns = mem_zero((size_t)count * sizeof *rows->columns);
    rows->sorted = mem_zero((size_t)count * sizeof *rows->sorted);
    rows->fields = mem_zero((size_t)count * sizeof *rows->fields);
    rows->quoted = mem_zero((size_t)count * sizeof *rows->quoted);
    for (size_t at = 0; at < (size_t)count; at++) {
        if (!fields[at].size || !text_is_utf8(fields[at]))
            return fault_set(fault, FAULT_MALFORMED, "column %zu of the header has no name", at + 1);
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
    if (json_to_mp(buf_slice(&rows->line), &rows->data, fault) < 0) return -1;
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
        if (rows->failed) {
            int status;
            return fault_set(fault, FAULT_DISK, "the file cannot be read to its end: %s",
                             gzerror(rows->file, &status));
        }
        if (got == 0) return 0;
        rows->number++;
    } while (got > 0 && rows->line.size == 0);
    row->number = rows->number;
    row->source = buf_slice(&rows->line);
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
    if (options->format) {
        rows->is_csv = strcmp(options->format, "csv") == 0;
        if (!rows->is_csv && strcmp(options->format, "ndjson") != 0)
            return fault_set(fault, FAULT_USAGE, "--format expects ndjson or csv, not '%s'", options->format);
        return 0;
    }
    size_t size = strlen(options->path);
    if (rows_ends(options->path, size, ".gz")) size -= 3;
    if (rows_ends(options->path, size, ".csv") || rows_ends(options->path, size, ".tsv"))
        rows->is_csv = true;
    else if (!rows_ends(options->path, size, ".ndjson") && !rows_ends(options->path, size, ".jsonl"))
        rows->is_csv = rows_peek(rows) != '{';
    if (rows_ends(options->path, size, ".tsv") && !options->separator) rows->separator = '\t';
    return 0;
}

int rows_open(const struct rows_options *options, struct rows **opened, struct fault *fault)
{
    bool standard = strcmp(options->path, "-") == 0;
    int fd = standard ? dup(STDIN_FILENO) : open(options->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return fault_errno(fault, errno, "%s cannot be read", options->path);
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        close(fd);
        return fault_set(fault, FAULT_USAGE, "%s is a folder, not a file of rows", options->path);
    }
    struct rows *rows = MEM_NEW(struct rows);
    rows->file = gzdopen(fd, "rb");
    rows->fd = fd;
    rows->separator = options->separator ? options->separator : ',';
    if (S_ISREG(info.st_mode)) rows->size = info.st_size;
    gzbuffer(rows->file, ROWS_CHUNK_SIZE);
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
    mem_free(rows->sorted);
    mem_free(rows->fields);
    mem_free(rows->quoted);
    buf_release(&rows->input);
    buf_release(&rows->line);
    buf_release(&rows->data);
    buf_release(&rows->text);
    mem_free(rows);
}

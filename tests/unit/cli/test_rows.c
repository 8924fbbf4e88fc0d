/* Rows of NDJSON and CSV: what RFC 4180 says, what it leaves open, and everything that can be wrong with a
 * file. Rows are compared as JSON; random tables are written by a writer of the test's own and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>

#include "base/limit.h"
#include "base/mem.h"
#include "cli/rows.h"
#include "codec/json.h"

enum { CHUNK_SIZE = 256 * 1024 }; /* what rows.c reads at once: rows are cut there */

static char folder[64];

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_plain(const char *name, struct slice text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.size, file), text.size);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *name, struct slice text, const char *mode)
{
    gzFile file = gzopen(path_of(name), mode);
    assert_non_null(file);
    if (text.size) assert_int_equal(gzwrite(file, text.data, (unsigned)text.size), text.size);
    assert_int_equal(gzclose(file), Z_OK);
}

static struct rows *open_rows(const char *name, const char *format, char separator)
{
    struct rows *rows = NULL;
    struct fault fault = {0};
    struct rows_options options = {.path = path_of(name), .format = format, .separator = separator};
    if (rows_open(&options, &rows, &fault) < 0) fail_msg("%s", fault.text);
    return rows;
}

/* Everything that comes, as "number json\n" or "number !code\n"; a fault that ends the file as "end code\n".
 */
static void read_all(struct rows *rows, struct buf *out)
{
    struct row row;
    struct fault fault;
    for (int got; (got = rows_next(rows, &row, &fault)) != 0;) {
        if (got < 0 && fault.code != FAULT_MALFORMED && fault.code != FAULT_TOO_LARGE) {
            buf_format(out, "end %s\n", fault_name(fault.code));
            break;
        }
        buf_format(out, "%llu ", (unsigned long long)row.number);
        if (got > 0)
            assert_int_equal(json_from_mp(row.data, out, &fault), 0);
        else
            buf_format(out, "!%s", fault_name(fault.code));
        buf_put_byte(out, '\n');
    }
    rows_close(rows);
}

static void expect_rows(struct rows *rows, const char *expected)
{
    struct buf out = {0};
    read_all(rows, &out);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static void expect(const char *name, const char *text, const char *expected)
{
    write_plain(name, slice_of(text));
    expect_rows(open_rows(name, NULL, 0), expected);
}

/* The fault of a file that cannot be opened as rows; its text must hold `word`. */
static void expect_refused(const char *name, const char *format, enum fault_code code, const char *word)
{
    struct rows *rows = NULL;
    struct fault fault = {0};
    struct rows_options options = {.path = path_of(name), .format = format};
    assert_int_equal(rows_open(&options, &rows, &fault), -1);
    assert_int_equal(fault.code, code);
    if (!strstr(fault.text, word)) fail_msg("'%s' is not in: %s", word, fault.text);
    assert_null(rows);
}

static void csv_as_rfc_4180_says(void **state)
{
    expect("a.csv", "a,b\n1,2\n3,4\n", "1 {\"a\":\"1\",\"b\":\"2\"}\n2 {\"a\":\"3\",\"b\":\"4\"}\n");
    expect("a.csv", "a,b\r\n1,2\r\n3,4", "1 {\"a\":\"1\",\"b\":\"2\"}\n2 {\"a\":\"3\",\"b\":\"4\"}\n");
    expect("a.csv", "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n", "1 {\"a\":\"x,y\",\"b\":\"say \\\"hi\\\"\"}\n");
    expect("a.csv", "a,b\n\"one\ntwo\r\nthree\",2\n", "1 {\"a\":\"one\\ntwo\\r\\nthree\",\"b\":\"2\"}\n");
    expect("a.csv", "a,b\r\n\"1\",\"2\"\r\n\"3\",\"4\"\r\n",
           "1 {\"a\":\"1\",\"b\":\"2\"}\n2 {\"a\":\"3\",\"b\":\"4\"}\n");
    expect("a.csv", "\"a\",\"b,c\"\n1,2\n", "1 {\"a\":\"1\",\"b,c\":\"2\"}\n");
    expect("a.csv", "a\n\"\"\"\"\n", "1 {\"a\":\"\\\"\"}\n");
    expect("a.csv", "a,b\n\"\"\"a\"\"\",\"\"\"\"\"\"\n", "1 {\"a\":\"\\\"a\\\"\",\"b\":\"\\\"\\\"\"}\n");
    expect("a.csv", "a,b\n 1 ,\t2\n", "1 {\"a\":\" 1 \",\"b\":\"\\t2\"}\n"); /* blanks belong to the field */
    expect("a.csv", "a,b\n", "");
    expect("a.csv", "a,b", "");
    expect("a.csv", "z,a,m\n1,2,3\n",
           "1 {\"a\":\"2\",\"m\":\"3\",\"z\":\"1\"}\n"); /* maps are in byte order */
}

static void csv_absent_and_empty(void **state)
{
    expect("a.csv", "a,b,c\n,\"\",x\n,,\n\"\",\"\",\"\"\n",
           "1 {\"b\":\"\",\"c\":\"x\"}\n2 {}\n3 {\"a\":\"\",\"b\":\"\",\"c\":\"\"}\n");
    expect("a.csv", "a\n\"\"\n1\n", "1 {\"a\":\"\"}\n2 {\"a\":\"1\"}\n");
}

static void csv_blank_lines_count(void **state)
{
    expect("a.csv", "a,b\n\n1,2\n\r\n\n3,4\n\n",
           "2 {\"a\":\"1\",\"b\":\"2\"}\n5 {\"a\":\"3\",\"b\":\"4\"}\n");
}

static void csv_quotes_inside_plain_fields_are_text(void **state)
{
    expect("a.csv", "a,b\n5\" pipe,1\n6\" pipe,2\n7,3\"\n",
           "1 {\"a\":\"5\\\" pipe\",\"b\":\"1\"}\n2 {\"a\":\"6\\\" pipe\",\"b\":\"2\"}\n3 "
           "{\"a\":\"7\",\"b\":\"3\\\"\"}\n");
    expect("a.csv", "a,b\n x\"1\ny\",2\n", "1 !malformed\n2 {\"a\":\"y\\\"\",\"b\":\"2\"}\n");
}

static void csv_wrong_field_counts(void **state)
{
    expect("a.csv", "a,b\n1\n1,2\n1,2,3\n,\n1,2,\n4,5\n",
           "1 !malformed\n2 {\"a\":\"1\",\"b\":\"2\"}\n3 !malformed\n4 {}\n5 !malformed\n6 "
           "{\"a\":\"4\",\"b\":\"5\"}\n");
}

/* One missing quote costs one line, wherever the next quote stands. */
static void csv_recovers_from_unclosed_quotes(void **state)
{
    expect("a.csv", "a,b\n1,2\n\"3,4\n5,6\n7,8\n",
           "1 {\"a\":\"1\",\"b\":\"2\"}\n2 !malformed\n3 {\"a\":\"5\",\"b\":\"6\"}\n4 "
           "{\"a\":\"7\",\"b\":\"8\"}\n");
    expect("a.csv", "a,b\n1,\"2\n\"3\",4\n5,\"6\"\n",
           "1 !malformed\n2 {\"a\":\"3\",\"b\":\"4\"}\n3 {\"a\":\"5\",\"b\":\"6\"}\n");
    expect("a.csv", "a,b\n\"1\" ,2\n3,4\n", "1 !malformed\n2 {\"a\":\"3\",\"b\":\"4\"}\n");
    expect("a.csv", "a,b\n\"1\"\r,2\n3,4\n", "1 !malformed\n2 {\"a\":\"3\",\"b\":\"4\"}\n");
    expect("a.csv", "a,b\n3,4\n1,\"", "1 {\"a\":\"3\",\"b\":\"4\"}\n2 !malformed\n");
    expect("a.csv", "a,b\n3,4\n1,\"x\r\n", "1 {\"a\":\"3\",\"b\":\"4\"}\n2 !malformed\n");
}

/* An open quote in front of more rows than are looked ahead. */
static void csv_open_quote_before_many_rows(void **state)
{
    struct buf text = {0};
    const unsigned count = 300000;
    buf_put_text(&text, "a,b\n\"open,1\n");
    for (unsigned n = 2; n <= count; n++) buf_format(&text, "%u,x\n", n);
    write_plain("a.csv", buf_slice(&text));
    buf_release(&text);
    assert_true(count * 7 > LIMIT_MESSAGE_SIZE_MAX);
    struct rows *rows = open_rows("a.csv", NULL, 0);
    struct row row;
    struct fault fault;
    assert_int_equal(rows_next(rows, &row, &fault), -1);
    assert_int_equal(fault.code, FAULT_MALFORMED);
    assert_true(slice_is(row.source, "\"open,1"));
    for (unsigned n = 2; n <= count; n++) {
        char source[32];
        assert_int_equal(rows_next(rows, &row, &fault), 1);
        snprintf(source, sizeof source, "%u,x", n);
        assert_int_equal(row.number, n);
        assert_true(slice_is(row.source, source));
    }
    assert_int_equal(rows_next(rows, &row, &fault), 0);
    assert_int_equal(rows_next(rows, &row, &fault), 0); /* and stays at the end */
    rows_close(rows);
}

static void csv_headers_that_are_none(void **state)
{
    const struct {
        const char *text, *word;
    } cases[] = {
        {"", "header"},
        {"\n1,2\n", "header"},
        {"a,,b\n", "column 2"},
        {"a,b,\n", "column 3"},
        {"a,\"\"\n", "column 2"},
        {"a,b,a\n", "named 'a'"},
        {"a,\"a\"\n", "named 'a'"},
        {"\"a,b\n", "never closed"},
        {"a,\xff\n", "column 2"},
        {"\"a\"b\n", "behind"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        write_plain("a.csv", slice_of(cases[n].text));
        expect_refused("a.csv", NULL, FAULT_MALFORMED, cases[n].word);
    }
    write_plain("a.csv", slice_make("a\0b,c\n", 6));
    expect_refused("a.csv", NULL, FAULT_MALFORMED, "column 1");
    struct buf wide = {0};
    for (int n = 0; n <= 1024; n++) buf_format(&wide, "%sc%d", n ? "," : "", n);
    write_plain("a.csv", buf_slice(&wide));
    expect_refused("a.csv", NULL, FAULT_MALFORMED, "1024");
    buf_release(&wide);
}

static void separators_and_formats(void **state)
{
    expect("a.tsv", "a\tb\n1,5\t\"x\ty\"\n", "1 {\"a\":\"1,5\",\"b\":\"x\\ty\"}\n");
    write_plain("a.csv", slice_of("a;b\n1,5;2\n"));
    expect_rows(open_rows("a.csv", NULL, ';'), "1 {\"a\":\"1,5\",\"b\":\"2\"}\n");
    write_plain("a.tsv", slice_of("a;b\n1;2\n"));
    expect_rows(open_rows("a.tsv", NULL, ';'), "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    write_plain("a.tsv", slice_of("a\tb\n1\t2\n"));
    expect_rows(open_rows("a.tsv", "csv", 0), "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    write_plain("a.dat", slice_of("{\"a\":1}\n"));
    expect_rows(open_rows("a.dat", NULL, 0), "1 {\"a\":1}\n"); /* by its first byte */
    write_plain("a.dat", slice_of("a,b\n1,2\n"));
    expect_rows(open_rows("a.dat", NULL, 0), "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    write_plain("a.csv", slice_of("{\"a\":1}\n"));
    expect_rows(open_rows("a.csv", "ndjson", 0), "1 {\"a\":1}\n");
    write_plain("A.NDJSON", slice_of("[1]\n{\"a\":1}\n"));
    expect_rows(open_rows("A.NDJSON", NULL, 0), "1 !malformed\n2 {\"a\":1}\n");
    expect_refused("a.csv", "xml", FAULT_USAGE, "xml");
}

static void byte_order_marks(void **state)
{
    expect("a.csv",
           "\xef\xbb\xbf"
           "a,b\n1,2\n",
           "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    expect("a.csv", "\xef\xbb\xbf\"a\",b\n1,2\n", "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    expect("a.ndjson", "\xef\xbb\xbf{\"a\":1}\n", "1 {\"a\":1}\n");
    expect("a.dat", "\xef\xbb\xbf{\"a\":1}\n", "1 {\"a\":1}\n");
    expect("a.ndjson", "{\"a\":1}\n\xef\xbb\xbf{\"a\":1}\n", "1 {\"a\":1}\n2 !malformed\n");
}

static void ndjson_lines(void **state)
{
    expect("a.ndjson", "{\"b\":1,\"a\":[true,null,\"x\"]}\n\n{}\r\n\r\n{\"a\":1.50}",
           "1 {\"a\":[true,null,\"x\"],\"b\":1}\n3 {}\n5 {\"a\":1.5}\n");
    expect(
        "a.ndjson", "7\n{\"a\":1\n[]\n{\"a\":1,\"a\":2}\n\"x\"\n{\"a\":1} x\n{\"a\":2}\n",
        "1 !malformed\n2 !malformed\n3 !malformed\n4 !malformed\n5 !malformed\n6 !malformed\n7 {\"a\":2}\n");
    expect("a.ndjson", "", "");
    expect("a.ndjson", "\n\n", "");
    write_plain("a.ndjson", slice_make("{\"a\":\"\0\"}\n{\"a\":1}\n", 18));
    expect_rows(open_rows("a.ndjson", NULL, 0), "1 !malformed\n2 {\"a\":1}\n");
}

static void text_that_is_not_utf8(void **state)
{
    expect("a.csv", "a,b\nx,\xff\n\xc0\x80,y\n\"\xed\xa0\x80\",y\n\xc3\xa9,\xf0\x9f\x98\x80\n",
           "1 !malformed\n2 !malformed\n3 !malformed\n4 {\"a\":\"\xc3\xa9\",\"b\":\"\xf0\x9f\x98\x80\"}\n");
    expect("a.ndjson", "{\"a\":\"\xff\"}\n{\"a\":\"\xc3\xa9\"}\n", "1 !malformed\n2 {\"a\":\"\xc3\xa9\"}\n");
}

static void put_many(struct buf *out, char c, size_t count)
{
    memset(buf_room(out, count), c, count);
    out->size += count;
}

/* At the limit a row is read, one byte above it is refused and the next is read, of whatever size. */
static void rows_that_are_too_large(void **state)
{
    static const int above[] = {-1, 0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, 4 * CHUNK_SIZE, 7 * CHUNK_SIZE + 3};
    for (size_t n = 0; n < sizeof above / sizeof *above; n++) {
        size_t size = (size_t)(LIMIT_MESSAGE_SIZE_MAX + above[n]);
        for (int is_csv = 0; is_csv < 2; is_csv++) {
            struct buf text = {0};
            if (is_csv) buf_put_text(&text, "a\n");
            buf_put_text(&text, is_csv ? "" : "{\"a\":\"");
            put_many(&text, 'x', is_csv ? size : size - 8);
            buf_put_text(&text, is_csv ? "\nlast\n" : "\"}\n{\"a\":\"last\"}\n");
            const char *name = is_csv ? "a.csv" : "a.ndjson";
            write_plain(name, buf_slice(&text));
            struct rows *rows = open_rows(name, NULL, 0);
            struct row row;
            struct fault fault = {0};
            int got = rows_next(rows, &row, &fault);
            assert_int_equal(row.number, 1);
            if (above[n] <= 0) {
                assert_int_equal(got, 1);
                assert_int_equal(row.source.size, size);
            } else {
                assert_int_equal(got, -1);
                assert_int_equal(fault.code, FAULT_TOO_LARGE);
                assert_in_range(row.source.size, 1, 4096); /* its beginning */
                assert_memory_equal(row.source.data, text.data + (is_csv ? 2 : 0), row.source.size);
            }
            assert_int_equal(rows_next(rows, &row, &fault), 1);
            assert_int_equal(row.number, 2);
            assert_true(slice_is(row.source, is_csv ? "last" : "{\"a\":\"last\"}"));
            assert_int_equal(rows_next(rows, &row, &fault), 0);
            rows_close(rows);
            buf_release(&text);
        }
    }
}

/* Without a newline at its end, and nothing behind it. */
static void too_large_and_then_the_end(void **state)
{
    struct buf text = {0};
    put_many(&text, 'x', LIMIT_MESSAGE_SIZE_MAX + 1);
    write_plain("a.ndjson", buf_slice(&text));
    expect_rows(open_rows("a.ndjson", NULL, 0), "1 !too_large\n");
    buf_release(&text);
}

static void gzip_and_its_members(void **state)
{
    write_gzip("a.csv.gz", slice_of("a,b\n1,2\n3,"), "wb");
    write_gzip("a.csv.gz", slice_of("4\n5,6\n"), "ab"); /* a row may go across members */
    write_gzip("a.csv.gz", slice_of(""), "ab");
    write_gzip("a.csv.gz", slice_of("7,8\n"), "ab");
    expect_rows(open_rows("a.csv.gz", NULL, 0),
                "1 {\"a\":\"1\",\"b\":\"2\"}\n2 {\"a\":\"3\",\"b\":\"4\"}\n3 {\"a\":\"5\",\"b\":\"6\"}\n4 "
                "{\"a\":\"7\",\"b\":\"8\"}\n");
    write_gzip("a.ndjson.gz", slice_of("{\"a\":1}\n"), "wb");
    expect_rows(open_rows("a.ndjson.gz", NULL, 0), "1 {\"a\":1}\n");
    write_gzip("a.ndjson.gz", slice_of(""), "wb");
    expect_rows(open_rows("a.ndjson.gz", NULL, 0), "");
    write_plain("a.ndjson.gz", slice_of("{\"a\":1}\n")); /* not compressed after all */
    expect_rows(open_rows("a.ndjson.gz", NULL, 0), "1 {\"a\":1}\n");
}

static struct slice read_file(const char *name, struct buf *bytes)
{
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    bytes->size = fread(buf_room(bytes, 1 << 20), 1, 1 << 20, file);
    fclose(file);
    return buf_slice(bytes);
}

/* Cut at every byte: never the silent end of a shorter file, and the rows before the cut are right. */
static void gzip_that_is_cut_off(void **state)
{
    struct buf text = {0}, bytes = {0};
    for (int n = 1; n <= 50; n++) buf_format(&text, "{\"a\":%d}\n", n * 7919 % 1000);
    write_gzip("a.ndjson.gz", buf_slice(&text), "wb");
    struct slice whole = read_file("a.ndjson.gz", &bytes);
    struct buf good = {0};
    read_all(open_rows("a.ndjson.gz", NULL, 0), &good);
    for (size_t size = 2; size < whole.size; size++) {
        write_plain("a.ndjson.gz", slice_make(whole.data, size));
        struct buf out = {0};
        read_all(open_rows("a.ndjson.gz", NULL, 0), &out);
        static const char end[] = "end disk\n";
        size_t end_size = sizeof end - 1;
        if (out.size < end_size || memcmp(out.data + out.size - end_size, end, end_size) != 0)
            fail_msg("cut at %zu of %zu: %.*s", size, whole.size, SLICE_ARGS(buf_slice(&out)));
        assert_true(out.size - end_size <= good.size);
        assert_memory_equal(out.data, good.data, out.size - end_size);
        buf_release(&out);
    }
    for (size_t at = 12; at < whole.size; at++) { /* damaged: the fault, or a flag that does not matter */
        bytes.data[at] = (char)(bytes.data[at] ^ 0x41);
        write_plain("a.ndjson.gz", whole);
        struct buf out = {0};
        read_all(open_rows("a.ndjson.gz", NULL, 0), &out);
        if (!strstr((buf_put_byte(&out, 0), out.data), "end disk")) fail_msg("byte %zu", at);
        buf_release(&out);
        bytes.data[at] = (char)(bytes.data[at] ^ 0x41);
    }
    write_gzip("a.csv.gz", buf_slice(&text), "wb");
    bytes.size = 0;
    whole = read_file("a.csv.gz", &bytes);
    write_plain("a.csv.gz", slice_make(whole.data, 20));
    expect_refused("a.csv.gz", NULL, FAULT_DISK, "to its end");
    buf_release(&good);
    buf_release(&text);
    buf_release(&bytes);
}

static void files_that_cannot_be_opened(void **state)
{
    expect_refused("nothing.csv", NULL, FAULT_NOT_FOUND, "nothing.csv");
    expect_refused(".", NULL, FAULT_USAGE, "folder");
}

static void standard_input(void **state)
{
    write_gzip("in", slice_of("a,b\n1,2\n"), "wb");
    int kept = dup(STDIN_FILENO);
    assert_non_null(freopen(path_of("in"), "rb", stdin));
    struct rows *rows = NULL;
    struct fault fault;
    struct rows_options options = {.path = "-"};
    assert_int_equal(rows_open(&options, &rows, &fault), 0);
    expect_rows(rows, "1 {\"a\":\"1\",\"b\":\"2\"}\n");
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "{\"a\":1}\n{\"a\":2}", 15), 15);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    assert_int_equal(rows_open(&options, &rows, &fault), 0);
    assert_true(rows_fraction(rows) < 0);
    expect_rows(rows, "1 {\"a\":1}\n2 {\"a\":2}\n");
    dup2(kept, STDIN_FILENO);
    close(kept);
}

/* The second of three rows begins at every offset that lets its bytes lie across the end of a chunk. */
static void rows_across_chunks(void **state)
{
    static const struct {
        const char *name, *header, *row, *expected;
    } cases[] = {
        {"a.csv", "a,b\n", "\"o\"\"n\r\ne\",two\r\n", "{\"a\":\"o\\\"n\\r\\ne\",\"b\":\"two\"}"},
        {"a.ndjson", "", "{\"a\":\"\xc3\xa9\",\"b\":2}\r\n", "{\"a\":\"\xc3\xa9\",\"b\":2}"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        for (size_t early = 0; early <= strlen(cases[n].row) + 1; early++) {
            struct buf text = {0}, expected = {0};
            buf_put_text(&text, cases[n].header);
            /* blank lines up to the place */
            while (text.size < CHUNK_SIZE - early) buf_put_byte(&text, '\n');
            uint64_t number = text.size - strlen(cases[n].header);
            buf_put_text(&text, cases[n].row);
            buf_put_text(&text, cases[n].row);
            buf_format(&expected, "%llu %s\n", (unsigned long long)number + 1, cases[n].expected);
            buf_format(&expected, "%llu %s\n", (unsigned long long)number + 2, cases[n].expected);
            buf_put_byte(&expected, 0);
            write_plain(cases[n].name, buf_slice(&text));
            expect_rows(open_rows(cases[n].name, NULL, 0), expected.data);
            buf_release(&text);
            buf_release(&expected);
        }
    }
}

static void the_fraction_grows_to_one(void **state)
{
    struct buf text = {0};
    for (int n = 0; n < 200000; n++) buf_format(&text, "{\"a\":%d}\n", n);
    write_plain("a.ndjson", buf_slice(&text));
    buf_release(&text);
    struct rows *rows = open_rows("a.ndjson", NULL, 0);
    struct row row;
    struct fault fault;
    double last = 0;
    for (int n = 0; n < 200000; n++) {
        assert_int_equal(rows_next(rows, &row, &fault), 1);
        double fraction = rows_fraction(rows);
        assert_true(fraction >= last && fraction <= 1);
        last = fraction;
    }
    assert_true(last == 1);
    rows_close(rows);
}

static unsigned drawn; /* a small generator of our own: the same tables in every run */

static unsigned draw(unsigned below)
{
    drawn = drawn * 1664525u + 1013904223u;
    return (drawn >> 8) % below;
}

/* Random tables: a writer that quotes where it must, and sometimes where it need not; the rows expected are
 * built beside it. */
static void random_tables(void **state)
{
    static const char *const pieces[] = {"a", "bc",  "\"", ",",  ";",  "\n",       "\r\n",
                                         " ", "\r",  "'",  "\\", "\t", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                         "0", "\x01"};
    for (drawn = 1; drawn < 60; drawn++) {
        unsigned seed = drawn, columns = 1 + draw(6), count = draw(200), wide = draw(4) == 0;
        char separator = draw(2) ? ',' : ';';
        const char *newline = draw(2) ? "\n" : "\r\n";
        struct buf text = {0}, expected = {0};
        for (unsigned n = 0; n < columns; n++) buf_format(&text, "%sc%u", n ? (char[]){separator, 0} : "", n);
        buf_put_text(&text, newline);
        for (unsigned number = 1; number <= count; number++) {
            buf_format(&expected, "%u {", number);
            size_t row_begin = text.size, expected_begin = expected.size;
            for (unsigned n = 0; n < columns; n++) {
                struct buf field = {0};
                for (unsigned left = draw(wide ? 40 : 4); left; left--)
                    buf_put_text(&field, pieces[draw(16)]);
                if (wide && draw(20) == 0) put_many(&field, 'w', draw(100000));
                bool must = false;
                for (size_t at = 0; at < field.size; at++)
                    must |= field.data[at] == separator || strchr("\"\r\n", field.data[at]) != NULL;
                bool quotes = must || draw(3) == 0 || (columns == 1 && field.size == 0);
                if (n) buf_put_byte(&text, (uint8_t)separator);
                if (quotes) buf_put_byte(&text, '"');
                for (size_t at = 0; at < field.size; at++) {
                    if (field.data[at] == '"') buf_put_byte(&text, '"');
                    buf_put_byte(&text, (uint8_t)field.data[at]);
                }
                if (quotes) buf_put_byte(&text, '"');
                if (quotes || field.size) {
                    buf_format(&expected, "%s\"c%u\":", expected.size > expected_begin ? "," : "", n);
                    json_put_text(&expected, buf_slice(&field));
                }
                buf_release(&field);
            }
            assert_true(text.size - row_begin < LIMIT_MESSAGE_SIZE_MAX);
            buf_put_text(&expected, "}\n");
            if (number < count || draw(2)) buf_put_text(&text, newline);
        }
        if (draw(2))
            write_plain("t.csv", buf_slice(&text));
        else
            write_gzip("t.csv", buf_slice(&text), "wb");
        struct buf out = {0};
        read_all(open_rows("t.csv", NULL, separator), &out);
        if (!slice_equal(buf_slice(&out), buf_slice(&expected)))
            fail_msg("seed %u:\n%.*s\nexpected:\n%.*s", seed, SLICE_ARGS(buf_slice(&out)),
                     SLICE_ARGS(buf_slice(&expected)));
        buf_release(&out);
        buf_release(&text);
        buf_release(&expected);
        drawn = seed;
    }
}

/* Whatever bytes come: each row is read or refused, numbers only grow, and it ends. */
static void random_bytes(void **state)
{
    static const char alphabet[] = "\"\"\",,\n\n\r;{}:a1 \xff\xc3\xa9";
    for (drawn = 1; drawn < 2000; drawn++) {
        unsigned seed = drawn;
        struct buf text = {0};
        buf_put_text(&text, "a,b\n");
        size_t lines = 0;
        for (unsigned left = draw(120); left; left--) {
            char c = alphabet[draw(sizeof alphabet - 1)];
            buf_put_byte(&text, (uint8_t)c);
            lines += c == '\n';
        }
        write_plain("r", buf_slice(&text));
        struct rows *rows = open_rows("r", draw(2) ? "csv" : "ndjson", 0);
        struct row row;
        struct fault fault;
        uint64_t last = 0;
        for (int got; (got = rows_next(rows, &row, &fault)) != 0;) {
            assert_true(row.number > last && row.number <= lines + 2);
            if (got < 0) assert_int_equal(fault.code, FAULT_MALFORMED);
            last = row.number;
        }
        rows_close(rows);
        buf_release(&text);
        drawn = seed;
    }
}

static int make_folder(void **state)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/lore-rows-XXXXXX", temporary ? temporary : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"a.csv",    "a.tsv",       "a.dat", "a.ndjson", "A.NDJSON",
                                        "a.csv.gz", "a.ndjson.gz", "in",    "t.csv",    "r"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) unlink(path_of(names[n]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_as_rfc_4180_says),
        cmocka_unit_test(csv_absent_and_empty),
        cmocka_unit_test(csv_blank_lines_count),
        cmocka_unit_test(csv_quotes_inside_plain_fields_are_text),
        cmocka_unit_test(csv_wrong_field_counts),
        cmocka_unit_test(csv_recovers_from_unclosed_quotes),
        cmocka_unit_test(csv_open_quote_before_many_rows),
        cmocka_unit_test(csv_headers_that_are_none),
        cmocka_unit_test(separators_and_formats),
        cmocka_unit_test(byte_order_marks),
        cmocka_unit_test(ndjson_lines),
        cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(rows_that_are_too_large),
        cmocka_unit_test(too_large_and_then_the_end),
        cmocka_unit_test(gzip_and_its_members),
        cmocka_unit_test(gzip_that_is_cut_off),
        cmocka_unit_test(files_that_cannot_be_opened),
        cmocka_unit_test(standard_input),
        cmocka_unit_test(rows_across_chunks),
        cmocka_unit_test(the_fraction_grows_to_one),
        cmocka_unit_test(random_tables),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests_name("cli/rows", tests, make_folder, remove_folder);
}

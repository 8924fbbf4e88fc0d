/* Reading is one pass: each value is appended as MessagePack where it stands. A list or map reserves one byte
 * for its head and moves its items if the head turns out longer. Maps must come out in key order: the places
 * of a map's pairs are noted on the way and, only if a key was smaller than the one before it, sorted and
 * rewritten at the map's end. Nothing is allocated but the output, except for maps of hundreds of keys. */
#include "codec/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "codec/mp.h"
#include "codec/text.h"

/* A pair of a map under way: where it lies in the output, from the parser's start, and its key in the input.
 */
struct pair {
    uint32_t at, end;         /* the pair's bytes */
    uint32_t key_at, key_end; /* its key's text */
    uint32_t source;          /* where the key stands in the input, for faults */
};

enum { PAIRS_INSIDE = 128, INPUT_SIZE_MAX = 1 << 30 };

struct parser {
    const uint8_t *at, *end, *start;
    struct buf *out;
    size_t out_start;
    struct fault *fault;
    struct pair *pairs; /* a stack: those of a map lie above those of the maps around it */
    size_t pair_count, pair_max;
    struct pair inside[PAIRS_INSIDE];
    int depth;
};

static int parse_value(struct parser *parser);

/* Faults */

static int fail_at(struct parser *parser, const uint8_t *at, const char *what)
{
    size_t line = 1, column = 1;
    for (const uint8_t *before = parser->start; before < at; before++) {
        if (*before == '\n') {
            line++;
            column = 1;
        } else if ((*before & 0xc0) != 0x80) {
            column++; /* counted in characters */
        }
    }
    return fault_set(parser->fault, FAULT_MALFORMED, "line %zu, column %zu: %s", line, column, what);
}

static int fail(struct parser *parser, const char *what)
{
    return fail_at(parser, parser->at, what);
}

/* Texts */

/* 1: an ordinary ASCII character of a string. */
static const uint8_t plain[256] = {[0x20 ... 0x21] = 1, [0x23 ... 0x5b] = 1, [0x5d ... 0x7f] = 1};

static int hex4(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4) return -1;
    int value = 0;
    for (int n = 0; n < 4; n++) {
        int c = at[n], digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* The escape at parser->at ('\'); moves behind it. */
static int parse_escape(struct parser *parser, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const uint8_t *escape = parser->at;
    int c = parser->end - escape > 1 ? escape[1] : 0;
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        *(*to)++ = into[found - from];
        parser->at += 2;
        return 0;
    }
    if (c != 'u') return fail(parser, "expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    int code = hex4(escape + 2, parser->end);
    if (code < 0) return fail(parser, "expected four hex digits behind \\u");
    parser->at += 6;
    if (code >= 0xd800 && code < 0xe000) {
        int low = parser->end - parser->at > 1 && parser->at[0] == '\\' && parser->at[1] == 'u'
                      ? hex4(parser->at + 2, parser->end)
                      : -1;
        if (code >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
            return fail_at(parser, escape, "expected a pair of surrogates, not half of one");
        parser->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, (uint32_t)code);
    return 0;
}

/* One character that is not plain; copies it. 1: the closing quote, not consumed. */
static int parse_special(struct parser *parser, char **to)
{
    uint8_t c = parser->at < parser->end ? *parser->at : 0;
    if (c == '"') return 1;
    if (c == '\\') return parse_escape(parser, to);
    if (c >= 0x80) {
        size_t size = text_utf8_step(parser->at, parser->end);
        if (size == 0) return fail(parser, "expected UTF-8");
        memcpy(*to, parser->at, size);
        *to += size;
        parser->at += size;
        return 0;
    }
    if (parser->at >= parser->end) return fail(parser, "expected a closing '\"'");
    return fail(parser, "expected no control character inside a text; write it as \\u00XX");
}

/* The rest of a text that is not all plain; `from` is behind the opening quote. Decoded behind the longest
 * head. */
static int parse_text_slow(struct parser *parser, const uint8_t *from)
{
    /* Decoding never grows: an upper bound is what lies before the closing quote, found without judging. */
    const uint8_t *close = parser->at;
    while (close < parser->end && *close != '"') close += *close == '\\' ? 2 : 1;
    size_t bound = (size_t)((close < parser->end ? close : parser->end) - from);
    char *head = buf_room(parser->out, bound + 8);
    char *to = head + 5;
    memcpy(to, from, (size_t)(parser->at - from));
    to += parser->at - from;
    for (;;) {
        int ended = parse_special(parser, &to);
        if (ended < 0) return -1;
        if (ended) break;
        while (parser->at < parser->end && plain[*parser->at]) *to++ = (char)*parser->at++;
    }
    parser->at++;
    size_t size = (size_t)(to - (head + 5));
    /* The head as mp_put_text writes it, then the text moved up to it. */
    struct buf *out = parser->out;
    size_t at = out->size;
    size_t head_size = size < 32 ? 1 : size <= 0xff ? 2 : size <= 0xffff ? 3 : 5;
    memmove(head + head_size, head + 5, size);
    uint64_t big = size;
    for (size_t n = head_size; n > 1; n--, big >>= 8) head[n - 1] = (char)big;
    head[0] = (char)(head_size == 1 ? 0xa0 | size : head_size == 2 ? 0xd9 : head_size == 3 ? 0xda : 0xdb);
    out->size = at + head_size + size;
    return 0;
}

/* At the opening quote. */
static int parse_text(struct parser *parser)
{
    const uint8_t *from = ++parser->at;
    const uint8_t *at = from, *end = parser->end;
    while (at < end && plain[*at]) at++;
    parser->at = at;
    if (at >= end || *at != '"') return parse_text_slow(parser, from);
    size_t size = (size_t)(at - from);
    if (size < 32) {
        char *to = buf_room(parser->out, size + 1);
        to[0] = (char)(0xa0 | size);
        memcpy(to + 1, from, size);
        parser->out->size += size + 1;
    } else {
        mp_put_text(parser->out, slice_make(from, size));
    }
    parser->at++;
    return 0;
}

/* Numbers */

static bool is_digit(const uint8_t *at, const uint8_t *end)
{
    return at < end && (unsigned)(*at - '0') < 10;
}

/* A number with fraction or exponent, from..parser->at, whose digits without the point are `digits` (exact if
 * digit_count <= 15) times ten to the `scale`. */
static int put_number(struct parser *parser, const uint8_t *from, uint64_t digits, size_t digit_count,
                      long scale)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double value;
    if (digit_count <= 15 && scale >= -22 && scale <= 22) {
        /* Both operands are exact doubles, so one operation rounds as strtod does. */
        value = scale < 0 ? (double)digits / powers[-scale] : (double)digits * powers[scale];
        if (*from == '-') value = -value;
    } else {
        char inside[128];
        size_t size = (size_t)(parser->at - from);
        char *copy = size < sizeof inside ? inside : mem_alloc(size + 1);
        memcpy(copy, from, size);
        copy[size] = 0;
        value = strtod(copy, NULL);
        if (copy != inside) mem_free(copy);
    }
    if (!isfinite(value))
        return fail_at(parser, from, "expected a number within the range of a 64 bit float");
    mp_put_float(parser->out, value);
    return 0;
}

static int parse_fraction(struct parser *parser, const uint8_t *from, uint64_t digits, size_t digit_count)
{
    const uint8_t *at = parser->at, *end = parser->end;
    long scale = 0, exponent = 0;
    if (*at == '.') {
        at++;
        const uint8_t *fraction = at;
        for (; is_digit(at, end); at++) {
            digits = digits * 10 + (uint64_t)(*at - '0'); /* may wrap, then it is not looked at */
            digit_count += digits != 0;
        }
        if (at == fraction) return fail_at(parser, at, "expected a digit behind the point");
        scale = -(long)(at - fraction);
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        bool negative = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        if (!is_digit(at, end)) return fail_at(parser, at, "expected a digit in the exponent");
        for (; is_digit(at, end); at++)
            if (exponent < 1000000) exponent = exponent * 10 + (*at - '0');
        scale += negative ? -exponent : exponent;
    }
    parser->at = at;
    return put_number(parser, from, digits, digit_count, scale);
}

static int parse_number(struct parser *parser)
{
    const uint8_t *from = parser->at, *at = from, *end = parser->end;
    bool negative = *at == '-';
    if (negative) at++;
    const uint8_t *first = at;
    uint64_t value = 0;
    for (; is_digit(at, end); at++) value = value * 10 + (uint64_t)(*at - '0');
    size_t count = (size_t)(at - first);
    if (count == 0) return fail_at(parser, at, "expected a digit");
    if (*first == '0' && count > 1) return fail_at(parser, first, "expected no leading zero");
    parser->at = at;
    if (at < end && (*at == '.' || (*at | 0x20) == 'e'))
        return parse_fraction(parser, from, value, *first == '0' ? 0 : count);
    /* 19 digits fit 64 bits unsigned. */
    uint64_t value_max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    if (count > 19 || value > value_max)
        return fail_at(parser, from, "expected an integer of 64 bits; write greater ones as text");
    if (negative && value == 0)
        mp_put_float(parser->out, -0.0);
    else
        mp_put_int(parser->out, negative ? (int64_t)(0 - value) : (int64_t)value);
    return 0;
}

/* Lists and maps */

static void skip_space(struct parser *parser)
{
    const uint8_t *at = parser->at, *end = parser->end;
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    parser->at = at;
}

/* The next character after white space, 0 at the end. */
static uint8_t peek(struct parser *parser)
{
    skip_space(parser);
    return parser->at < parser->end ? *parser->at : 0;
}

/* Writes the head of a list or map into the byte reserved at `head`, moving what is behind it when one byte
 * is too little. */
static void put_count(struct parser *parser, size_t head, uint8_t small, uint8_t large, size_t count)
{
    struct buf *out = parser->out;
    if (count < 16) {
        out->data[head] = (char)(small | count);
        return;
    }
    size_t more = count <= 0xffff ? 2 : 4;
    buf_room(out, more);
    memmove(out->data + head + 1 + more, out->data + head + 1, out->size - head - 1);
    out->data[head] = (char)(more == 2 ? large : large + 1);
    for (size_t at = more; at > 0; at--, count >>= 8) out->data[head + at] = (char)count;
    out->size += more;
}

static int parse_list(struct parser *parser)
{
    size_t head = parser->out->size, count = 0;
    buf_put_byte(parser->out, 0);
    parser->at++;
    if (peek(parser) == ']') {
        parser->at++;
    } else {
        for (;;) {
            if (parse_value(parser) < 0) return -1;
            count++;
            uint8_t c = peek(parser);
            if (c != ',' && c != ']') return fail(parser, "expected ',' or ']'");
            parser->at++;
            if (c == ']') break;
        }
    }
    put_count(parser, head, 0x90, 0xdc, count);
    return 0;
}

static struct slice pair_key(const char *base, const struct pair *pair)
{
    return slice_make(base + pair->key_at, pair->key_end - pair->key_at);
}

/* By key, equal keys by where they stand. */
static int pair_compare(const void *a, const void *b, void *base)
{
    const struct pair *left = a, *right = b;
    int order = slice_compare(pair_key(base, left), pair_key(base, right));
    return order ? order : (left->source > right->source) - (left->source < right->source);
}

static void pairs_sort(struct pair *pairs, size_t count, char *base)
{
    if (count > 24) {
        qsort_r(pairs, count, sizeof *pairs, pair_compare, base);
        return;
    }
    for (size_t at = 1; at < count; at++) {
        struct pair pair = pairs[at];
        size_t to = at;
        for (; to > 0 && pair_compare(&pairs[to - 1], &pair, base) > 0; to--) pairs[to] = pairs[to - 1];
        pairs[to] = pair;
    }
}

static int fail_twice(struct parser *parser, const struct pair *pair)
{
    struct slice key = pair_key(parser->out->data + parser->out_start, pair);
    char what[160];
    int size = key.size < 100 ? (int)key.size : 100;
    snprintf(what, sizeof what, "expected each key once, but \"%.*s\" is there twice", size, key.data);
    return fail_at(parser, parser->start + pair->source, what);
}

/* Brings the pairs of the map that ends here into key order. */
static int sort_map(struct parser *parser, struct pair *pairs, size_t count)
{
    struct buf *out = parser->out;
    size_t from = pairs[0].at, size = out->size - parser->out_start - from;
    char *copy = buf_room(out, size);
    char *base = out->data + parser->out_start;
    pairs_sort(pairs, count, base);
    for (size_t at = 1; at < count; at++)
        if (slice_equal(pair_key(base, &pairs[at - 1]), pair_key(base, &pairs[at])))
            return fail_twice(parser, &pairs[at]);
    memcpy(copy, base + from, size);
    char *to = base + from;
    for (size_t at = 0; at < count; at++) {
        size_t pair_size = pairs[at].end - pairs[at].at;
        memcpy(to, copy + (pairs[at].at - from), pair_size);
        to += pair_size;
    }
    return 0;
}

static struct pair *pair_push(struct parser *parser)
{
    if (parser->pair_count == parser->pair_max) {
        parser->pair_max *= 2;
        if (parser->pairs == parser->inside) {
            parser->pairs = mem_alloc(parser->pair_max * sizeof *parser->pairs);
            memcpy(parser->pairs, parser->inside, sizeof parser->inside);
        } else {
            parser->pairs = mem_resize(parser->pairs, parser->pair_max * sizeof *parser->pairs);
        }
    }
    return &parser->pairs[parser->pair_count++];
}

static uint32_t out_at(const struct parser *parser)
{
    return (uint32_t)(parser->out->size - parser->out_start);
}

/* One pair onto the stack of pairs; the value may move that stack. */
static int parse_pair(struct parser *parser, size_t first, bool *in_order)
{
    if (peek(parser) != '"') return fail(parser, "expected a key in quotes");
    size_t index = parser->pair_count;
    struct pair pair = {.at = out_at(parser), .source = (uint32_t)(parser->at - parser->start)};
    if (parse_text(parser) < 0) return -1;
    uint8_t head = (uint8_t)parser->out->data[parser->out_start + pair.at];
    pair.key_at = pair.at + (head < 0xc0 ? 1 : head == 0xd9 ? 2 : head == 0xda ? 3 : 5);
    pair.key_end = out_at(parser);
    *pair_push(parser) = pair;
    if (index > first && *in_order) {
        const char *base = parser->out->data + parser->out_start;
        int order = slice_compare(pair_key(base, &parser->pairs[index - 1]), pair_key(base, &pair));
        if (order == 0) return fail_twice(parser, &pair);
        if (order > 0) *in_order = false;
    }
    if (peek(parser) != ':') return fail(parser, "expected ':'");
    parser->at++;
    if (parse_value(parser) < 0) return -1;
    parser->pairs[index].end = out_at(parser);
    return 0;
}

static int parse_map(struct parser *parser)
{
    size_t head = parser->out->size, first = parser->pair_count;
    bool in_order = true;
    buf_put_byte(parser->out, 0);
    parser->at++;
    if (peek(parser) == '}') {
        parser->at++;
    } else {
        for (;;) {
            if (parse_pair(parser, first, &in_order) < 0) return -1;
            uint8_t c = peek(parser);
            if (c != ',' && c != '}') return fail(parser, "expected ',' or '}'");
            parser->at++;
            if (c == '}') break;
        }
    }
    size_t count = parser->pair_count - first;
    if (!in_order && sort_map(parser, parser->pairs + first, count) < 0) return -1;
    parser->pair_count = first;
    put_count(parser, head, 0x80, 0xde, count);
    return 0;
}

static int fail_deep(struct parser *parser)
{
    char what[64];
    snprintf(what, sizeof what, "expected at most %d levels of nesting", LIMIT_DEPTH_MAX);
    return fail(parser, what);
}

static int parse_nested(struct parser *parser, int (*parse)(struct parser *))
{
    if (parser->depth == LIMIT_DEPTH_MAX) return fail_deep(parser);
    parser->depth++;
    if (parse(parser) < 0) return -1;
    parser->depth--;
    return 0;
}

static int parse_word(struct parser *parser, const char *word, uint8_t byte)
{
    size_t size = strlen(word);
    if ((size_t)(parser->end - parser->at) < size || memcmp(parser->at, word, size) != 0)
        return fail(parser, "expected a value");
    parser->at += size;
    buf_put_byte(parser->out, byte);
    return 0;
}

static int parse_value(struct parser *parser)
{
    switch (peek(parser)) {
    case '"': return parse_text(parser);
    case '{': return parse_nested(parser, parse_map);
    case '[': return parse_nested(parser, parse_list);
    case 't': return parse_word(parser, "true", 0xc3);
    case 'f': return parse_word(parser, "false", 0xc2);
    case 'n': return parse_word(parser, "null", 0xc0);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return parse_number(parser);
    default: return fail(parser, "expected a value");
    }
}

int json_to_mp(struct slice json, struct buf *out, struct fault *fault)
{
    if (json.size > INPUT_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "JSON of %zu bytes; at most %d are read", json.size,
                         INPUT_SIZE_MAX);
    struct parser parser; /* not cleared as a whole: `inside` is large */
    parser.start = parser.at = (const uint8_t *)(json.data ? json.data : "");
    parser.end = parser.at + json.size;
    parser.out = out;
    parser.out_start = out->size;
    parser.fault = fault;
    parser.pairs = parser.inside;
    parser.pair_count = 0;
    parser.pair_max = PAIRS_INSIDE;
    parser.depth = 0;
    int result = parse_value(&parser);
    if (result == 0) {
        skip_space(&parser);
        if (parser.at != parser.end) result = fail(&parser, "expected nothing behind the value");
    }
    if (result < 0) out->size = parser.out_start;
    if (parser.pairs != parser.inside) mem_free(parser.pairs);
    return result;
}

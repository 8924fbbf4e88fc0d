/* A Lua 5.4 lexer that keeps what the compiler keeps. It only has to be right for texts that compile; for
 * others it may say false or give any tokens. */
#include "vm/tokens.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

struct lexer {
    const char *at, *end;
    int line;
    struct tokens *tokens;
    struct buf text; /* the string being decoded */
};

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}
static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
static bool is_name_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_name(int c)
{
    return is_name_start(c) || is_digit(c);
}

/* The byte offset bytes ahead, -1 behind the end. */
static int peek(const struct lexer *lexer, size_t offset)
{
    return offset < (size_t)(lexer->end - lexer->at) ? (unsigned char)lexer->at[offset] : -1;
}

static struct token *push(struct lexer *lexer, enum token_kind kind, struct slice text, int line)
{
    struct tokens *tokens = lexer->tokens;
    if (tokens->count + 1 >= tokens->size_max) {
        tokens->size_max = tokens->size_max ? tokens->size_max * 2 : 256;
        tokens->items = mem_resize(tokens->items, tokens->size_max * sizeof *tokens->items);
    }
    struct token *token = &tokens->items[tokens->count++];
    *token = (struct token){.kind = kind, .text = text, .line = line, .text_line = line};
    return token;
}

/* At '\n' or '\r': moves behind the line end; "\r\n" and "\n\r" are one. */
static void skip_newline(struct lexer *lexer)
{
    int first = peek(lexer, 0), second = peek(lexer, 1);
    lexer->at += (second == '\n' || second == '\r') && second != first ? 2 : 1;
    lexer->line++;
}

/* At '[': the level of a long bracket, -1 if it is none. */
static int long_level(const struct lexer *lexer)
{
    size_t level = 0;
    while (peek(lexer, 1 + level) == '=') level++;
    return peek(lexer, 1 + level) == '[' ? (int)level : -1;
}

/* At the opening bracket. The content, with line ends as '\n', goes to lexer->text. */
static bool read_long(struct lexer *lexer, size_t level, int *text_line)
{
    lexer->at += level + 2;
    if (peek(lexer, 0) == '\n' || peek(lexer, 0) == '\r') skip_newline(lexer);
    if (text_line != NULL) *text_line = lexer->line;
    buf_clear(&lexer->text);
    for (;;) {
        int c = peek(lexer, 0);
        if (c < 0) return false;
        if (c == ']') {
            size_t equals = 0;
            while (peek(lexer, 1 + equals) == '=') equals++;
            if (equals == level && peek(lexer, 1 + equals) == ']') {
                lexer->at += level + 2;
                return true;
            }
        }
        if (c == '\n' || c == '\r') {
            skip_newline(lexer);
            buf_put_byte(&lexer->text, '\n');
        } else {
            buf_put_byte(&lexer->text, (uint8_t)c);
            lexer->at++;
        }
    }
}

/* At "--". */
static bool skip_comment(struct lexer *lexer)
{
    lexer->at += 2;
    if (peek(lexer, 0) == '[') {
        int level = long_level(lexer);
        if (level >= 0) return read_long(lexer, (size_t)level, NULL);
    }
    while (peek(lexer, 0) >= 0 && peek(lexer, 0) != '\n' && peek(lexer, 0) != '\r') lexer->at++;
    return true;
}

static unsigned hex_value(int c)
{
    if (is_digit(c)) return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a' + 10);
}

/* UTF-8 as Lua writes it: up to 31 bits. */
static void put_codepoint(struct buf *out, uint32_t code)
{
    if (code < 0x80) {
        buf_put_byte(out, (uint8_t)code);
        return;
    }
    uint8_t bytes[6];
    int count = 0;
    uint32_t first_max = 0x3f;
    do {
        bytes[count++] = (uint8_t)(0x80 | (code & 0x3f));
        code >>= 6;
        first_max >>= 1;
    } while (code > first_max);
    bytes[count++] = (uint8_t)((~first_max << 1) | code);
    while (count > 0) buf_put_byte(out, bytes[--count]);
}

/* Behind "\u". */
static bool read_codepoint(struct lexer *lexer)
{
    if (peek(lexer, 0) != '{') return false;
    lexer->at++;
    uint32_t code = 0;
    bool any = false;
    while (is_hex(peek(lexer, 0))) {
        if (code > 0x7ffffffu) return false;
        code = code * 16 + hex_value(peek(lexer, 0));
        lexer->at++;
        any = true;
    }
    if (!any || peek(lexer, 0) != '}') return false;
    lexer->at++;
    put_codepoint(&lexer->text, code);
    return true;
}

static void skip_space(struct lexer *lexer)
{
    for (;;) {
        int c = peek(lexer, 0);
        if (c == '\n' || c == '\r')
            skip_newline(lexer);
        else if (c == ' ' || c == '\t' || c == '\v' || c == '\f')
            lexer->at++;
        else
            return;
    }
}

static bool read_escape(struct lexer *lexer)
{
    static const char names[] = "abfnrtv\\\"'", values[] = "\a\b\f\n\r\t\v\\\"'";
    int c = peek(lexer, 0);
    if (c < 0) return false;
    const char *simple = c != 0 ? strchr(names, c) : NULL;
    if (simple != NULL) {
        buf_put_byte(&lexer->text, (uint8_t)values[simple - names]);
        lexer->at++;
        return true;
    }
    if (c == '\n' || c == '\r') {
        skip_newline(lexer);
        buf_put_byte(&lexer->text, '\n');
        return true;
    }
    if (is_digit(c)) {
        unsigned value = 0;
        for (int i = 0; i < 3 && is_digit(peek(lexer, 0)); i++, lexer->at++)
            value = value * 10 + (unsigned)(peek(lexer, 0) - '0');
        buf_put_byte(&lexer->text, (uint8_t)value);
        return value <= 255;
    }
    lexer->at++;
    if (c == 'z') {
        skip_space(lexer);
        return true;
    }
    if (c == 'u') return read_codepoint(lexer);
    if (c != 'x' || !is_hex(peek(lexer, 0)) || !is_hex(peek(lexer, 1))) return false;
    buf_put_byte(&lexer->text, (uint8_t)(hex_value(peek(lexer, 0)) * 16 + hex_value(peek(lexer, 1))));
    lexer->at += 2;
    return true;
}

static bool read_quoted(struct lexer *lexer)
{
    int quote = *lexer->at++;
    buf_clear(&lexer->text);
    for (;;) {
        int c = peek(lexer, 0);
        if (c < 0 || c == '\n' || c == '\r') return false;
        lexer->at++;
        if (c == quote) return true;
        if (c != '\\')
            buf_put_byte(&lexer->text, (uint8_t)c);
        else if (!read_escape(lexer))
            return false;
    }
}

static bool push_string(struct lexer *lexer, int line, int text_line)
{
    struct slice text = arena_copy(&lexer->tokens->arena, buf_slice(&lexer->text));
    push(lexer, TOKEN_STRING, text, line)->text_line = text_line;
    return true;
}

/* As Lua does: anything that looks like part of a number belongs to it. */
static void read_number(struct lexer *lexer)
{
    const char *first = lexer->at;
    bool hex = peek(lexer, 0) == '0' && (peek(lexer, 1) | 0x20) == 'x';
    lexer->at += hex ? 2 : 1;
    for (;;) {
        int c = peek(lexer, 0);
        bool exponent = c > 0 && (c | 0x20) == (hex ? 'p' : 'e');
        if (exponent) {
            lexer->at++;
            if (peek(lexer, 0) == '+' || peek(lexer, 0) == '-') lexer->at++;
        } else if (is_hex(c) || c == '.') {
            lexer->at++;
        } else {
            break;
        }
    }
    while (is_name(peek(lexer, 0))) lexer->at++;
    push(lexer, TOKEN_NUMBER, slice_make(first, (size_t)(lexer->at - first)), lexer->line);
}

static bool is_keyword(struct slice text)
{
    static const char *const keywords[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (slice_is(text, keywords[i])) return true;
    return false;
}

static bool read_operator(struct lexer *lexer)
{
    static const char *const operators[] = {"...", "<<", ">>", "//", "==", "~=", "<=", ">=", "::", "..", "+",
                                            "-",   "*",  "/",  "%",  "^",  "#",  "&",  "~",  "|",  "<",  ">",
                                            "=",   "(",  ")",  "{",  "}",  "[",  "]",  ";",  ":",  ",",  "."};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        size_t size = strlen(operators[i]);
        if ((size_t)(lexer->end - lexer->at) < size || memcmp(lexer->at, operators[i], size) != 0) continue;
        push(lexer, TOKEN_OPERATOR, slice_make(lexer->at, size), lexer->line);
        lexer->at += size;
        return true;
    }
    return false;
}

static bool read_token(struct lexer *lexer)
{
    int c = peek(lexer, 0), line = lexer->line;
    if (is_name_start(c)) {
        const char *first = lexer->at;
        while (is_name(peek(lexer, 0))) lexer->at++;
        struct slice text = slice_make(first, (size_t)(lexer->at - first));
        push(lexer, is_keyword(text) ? TOKEN_KEYWORD : TOKEN_NAME, text, line);
        return true;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        read_number(lexer);
        return true;
    }
    if (c == '"' || c == '\'') return read_quoted(lexer) && push_string(lexer, line, line);
    if (c == '[') {
        int level = long_level(lexer), text_line = line;
        if (level >= 0)
            return read_long(lexer, (size_t)level, &text_line) && push_string(lexer, line, text_line);
    }
    return read_operator(lexer);
}

bool tokens_read(struct slice text, struct tokens *tokens)
{
    *tokens = (struct tokens){0};
    struct lexer lexer = {.at = text.data, .end = text.data + text.size, .line = 1, .tokens = tokens};
    bool good = true;
    while (good) {
        skip_space(&lexer);
        if (peek(&lexer, 0) < 0) break;
        bool comment = peek(&lexer, 0) == '-' && peek(&lexer, 1) == '-';
        good = comment ? skip_comment(&lexer) : read_token(&lexer);
    }
    push(&lexer, TOKEN_END, SLICE_NONE, lexer.line);
    tokens->count--;
    buf_release(&lexer.text);
    return good;
}

void tokens_release(struct tokens *tokens)
{
    mem_free(tokens->items);
    arena_release(&tokens->arena);
    *tokens = (struct tokens){0};
}

bool token_is(const struct token *token, const char *text)
{
    return token->kind != TOKEN_STRING && token->kind != TOKEN_END && slice_is(token->text, text);
}

bool tokens_is_contracts(const struct tokens *tokens, size_t index)
{
    const struct token *items = tokens->items;
    if (items[index].kind != TOKEN_STRING || index == 0) return false;
    size_t name = index - 1;
    if (token_is(&items[name], "(") && name > 0 && token_is(&items[index + 1], ")")) name--;
    if (items[name].kind != TOKEN_NAME || !token_is(&items[name], "contracts")) return false;
    return name == 0 || !(token_is(&items[name - 1], ".") || token_is(&items[name - 1], ":") ||
                          token_is(&items[name - 1], "function"));
}

struct hash tokens_hash(const struct tokens *tokens, size_t first, size_t last)
{
    struct buf out = {0};
    for (size_t i = first; i < last; i++) {
        const struct token *token = &tokens->items[i];
        struct slice text = tokens_is_contracts(tokens, i) ? SLICE_NONE : token->text;
        buf_put_byte(&out, (uint8_t)token->kind);
        buf_put_varint(&out, text.size);
        buf_put_slice(&out, text);
    }
    struct hash hash = hash_of(buf_slice(&out));
    buf_release(&out);
    return hash;
}

/* tokens.h: a Lua 5.4 text as its tokens, without comments and layout.
 *
 *     struct tokens tokens;
 *     if (tokens_read(text, &tokens)) ...        false: it does not lex (the compiler says why, with the
 * line) tokens_release(&tokens);
 *
 * Strings are decoded, so 'a', "a", [[a]] and "\97" are the same token. Numbers are kept as written.
 * tokens_hash leaves out the text of `contracts [[ … ]]`: what it means is hashed contract by contract.
 *
 * Threads: any. Owns: decoded strings; all else is borrowed from the text. */
#ifndef LORE_VM_TOKENS_H
#define LORE_VM_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/slice.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_KEYWORD, TOKEN_NUMBER, TOKEN_STRING, TOKEN_OPERATOR };

struct token {
    enum token_kind kind;
    struct slice text; /* STRING: its value */
    int line;          /* where it begins, from 1 */
    int text_line; /* STRING: the line its first character is on (behind the newline that opens a long string)
                    */
};

struct tokens {
    struct token *items; /* the last one is TOKEN_END */
    size_t count;        /* without TOKEN_END */
    size_t size_max;
    struct arena arena;
};

bool tokens_read(struct slice text, struct tokens *tokens);
void tokens_release(struct tokens *tokens);
bool token_is(const struct token *token, const char *text); /* a keyword, operator or name */
/* Over the tokens first..last - 1. */
struct hash tokens_hash(const struct tokens *tokens, size_t first, size_t last);
/* Whether token index is the literal text of a `contracts` call. */
bool tokens_is_contracts(const struct tokens *tokens, size_t index);

#endif

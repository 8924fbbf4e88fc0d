/* A Lua text as the loader looks at it before it runs: whatever the compiler takes has tokens, the inspection
 * of those ends, and what it finds lies in the text; the hash of the tokens does not see a comment. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "vm/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool compiles(struct slice text)
{
    lua_State *lua = luaL_newstate();
    bool taken = luaL_loadbufferx(lua, text.data, text.size, "=text", "t") == LUA_OK;
    lua_close(lua);
    return taken;
}

static int lines_of(struct slice text)
{
    int lines = 1;
    for (size_t at = 0; at < text.size; at++) lines += text.data[at] == '\n' || text.data[at] == '\r';
    return lines;
}

static void check_findings(const struct tokens *tokens, int lines)
{
    struct inspection inspection = {0};
    inspect(tokens, &inspection);
    for (size_t i = 0; i < inspection.count; i++) {
        const struct finding *finding = &inspection.items[i];
        CHECK(finding->line >= 1 && finding->line <= lines && finding->function_line <= lines);
        CHECK(finding->kind == FINDING_REQUIRE || finding->name.size > 0);
    }
    inspection_release(&inspection);
}

static void check_comment(const struct tokens *tokens, struct slice text)
{
    struct buf with = {0};
    struct tokens again = {0};
    buf_put_text(&with, "--[==[ a ]] comment ]==] ");
    buf_put_slice(&with, text);
    buf_put_text(&with, "\n-- and another");
    CHECK(tokens_read(buf_slice(&with), &again));
    struct hash before = tokens_hash(tokens, 0, tokens->count), after = tokens_hash(&again, 0, again.count);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    tokens_release(&again);
    buf_release(&with);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    if (size > 4096) return 0;
    struct tokens tokens = {0};
    bool lexes = tokens_read(text, &tokens);
    if (lexes) {
        CHECK(tokens.items[tokens.count].kind == TOKEN_END);
        for (size_t i = 0; i < tokens.count; i++) tokens_is_contracts(&tokens, i);
    }
    if (compiles(text)) {
        CHECK(lexes);
        check_findings(&tokens, lines_of(text));
        if (size && data[0] != '#') check_comment(&tokens, text);
    }
    tokens_release(&tokens);
    return 0;
}

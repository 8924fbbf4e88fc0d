/* A recursive descent over Lua 5.4's grammar that resolves names and forgets all else. Precedence does not
 * matter to names, so an expression is operands with operators between them. The text has compiled: nesting
 * is bounded by the compiler's own limit (200), every name that could be missing is there, and errors need no
 * handling beyond never running past TOKEN_END. */
#include "vm/inspect.h"

#include <stdlib.h>

#include "base/mem.h"
#include "vm/nearest.h"

enum { DEPTH_MAX = 200 }; /* the compiler's own limit of nesting */

struct variable {
    struct slice name;
    int depth;         /* of the function that declares it; 0: the main chunk */
    int parameter;     /* of a function defined as a.b.c(…), from 1; else 0 */
    int function_line; /* of that function */
    bool decimal;      /* a local that begins as decimal(…) */
    bool guarded; /* a local that begins as aggregate … or projection …: those refuse changes by themselves
                     once loaded */
};

struct parser {
    const struct token *at, *first;
    struct variable *variables; /* those in scope, innermost last */
    size_t count, size_max;
    int depth;
    int lines[DEPTH_MAX + 1]; /* where the open functions begin, by depth */
    struct inspection *out;
};

/* What a suffixed expression was, for assignments. */
struct target {
    const struct token *base; /* the name it begins with; NULL for ( … ) */
    bool plain;               /* nothing behind the name */
    bool called;              /* some suffix is a call, so what is assigned belongs to a result */
};

static void expression(struct parser *parser);
static void block(struct parser *parser);

static bool ahead(const struct parser *parser, const char *text)
{
    return token_is(parser->at, text);
}

static void next(struct parser *parser)
{
    if (parser->at->kind != TOKEN_END) parser->at++;
}

static bool accept(struct parser *parser, const char *text)
{
    if (!ahead(parser, text)) return false;
    next(parser);
    return true;
}

static struct finding *report(struct parser *parser, enum finding_kind kind, struct slice name, int line)
{
    struct inspection *out = parser->out;
    if (out->count == out->size_max) {
        out->size_max = out->size_max ? out->size_max * 2 : 32;
        out->items = mem_resize(out->items, out->size_max * sizeof *out->items);
    }
    out->items[out->count] = (struct finding){.kind = kind, .name = name, .line = line};
    return &out->items[out->count++];
}

static struct variable *find(const struct parser *parser, struct slice name)
{
    for (size_t i = parser->count; i > 0; i--)
        if (slice_equal(parser->variables[i - 1].name, name)) return &parser->variables[i - 1];
    return NULL;
}

static void declare(struct parser *parser, const struct token *name)
{
    if (slice_is(name->text, "_ENV")) report(parser, FINDING_ENV, name->text, name->line);
    if (parser->count == parser->size_max) {
        parser->size_max = parser->size_max ? parser->size_max * 2 : 32;
        parser->variables = mem_resize(parser->variables, parser->size_max * sizeof *parser->variables);
    }
    parser->variables[parser->count++] = (struct variable){.name = name->text, .depth = parser->depth};
}

static void read_name(struct parser *parser, const struct token *name)
{
    if (slice_is(name->text, "_ENV")) {
        report(parser, FINDING_ENV, name->text, name->line);
    } else if (find(parser, name->text) == NULL) {
        struct nearest nearest = nearest_to(name->text);
        for (size_t i = 0; i < parser->count; i++) nearest_offer(&nearest, parser->variables[i].name);
        report(parser, FINDING_READ_GLOBAL, name->text, name->line)->near = nearest_found(&nearest);
        if (token_is(name + 1, ".") && name[2].kind == TOKEN_NAME)
            report(parser, FINDING_READ_FIELD, name[2].text, name[2].line)->of = name->text;
    }
}

/* What a function does to a local around it. Whether that matters depends on which functions live on, so it
 * is told of each that has the local as its own upvalue: those between the local and here. */
static void report_outer(struct parser *parser, enum finding_kind kind, const struct variable *variable,
                         const struct token *name)
{
    for (int depth = variable->depth + 1; depth <= parser->depth && depth <= DEPTH_MAX; depth++)
        report(parser, kind, name->text, name->line)->function_line = parser->lines[depth];
}

static void write_name(struct parser *parser, const struct token *name)
{
    const struct variable *variable = find(parser, name->text);
    if (slice_is(name->text, "_ENV"))
        report(parser, FINDING_ENV, name->text, name->line);
    else if (variable == NULL)
        report(parser, FINDING_WRITE_GLOBAL, name->text, name->line);
    else if (variable->depth == 0)
        report_outer(parser, FINDING_ASSIGNS_FILE_LOCAL, variable, name);
    else
        report_outer(parser, FINDING_ASSIGNS_UPVALUE, variable, name);
}

static void write_field(struct parser *parser, const struct target *target)
{
    if (target->base == NULL || target->called) return;
    const struct variable *variable = find(parser, target->base->text);
    if (variable != NULL && variable->depth == 0 && !variable->guarded)
        report_outer(parser, FINDING_CHANGES_FILE_TABLE, variable, target->base);
}

static void expressions(struct parser *parser)
{
    do expression(parser);
    while (accept(parser, ","));
}

/* Behind `function` and its name: parameters, block, end. line: where Lua says that it begins. handler_line:
 * the same of a function a.b.c(…), else 0. */
static void function_body(struct parser *parser, bool method, int line, int handler_line)
{
    static const struct token self = {.kind = TOKEN_NAME, .text = {"self", 4}};
    size_t outer = parser->count;
    parser->depth++;
    if (parser->depth <= DEPTH_MAX) parser->lines[parser->depth] = line;
    if (method) declare(parser, &self);
    int parameter = 0;
    accept(parser, "(");
    while (parser->at->kind != TOKEN_END && !ahead(parser, ")")) {
        if (parser->at->kind == TOKEN_NAME) {
            declare(parser, parser->at);
            if (handler_line > 0) {
                parser->variables[parser->count - 1].parameter = ++parameter;
                parser->variables[parser->count - 1].function_line = handler_line;
            }
        }
        next(parser);
    }
    accept(parser, ")");
    block(parser);
    accept(parser, "end");
    parser->depth--;
    parser->count = outer;
}

static void table(struct parser *parser)
{
    accept(parser, "{");
    while (parser->at->kind != TOKEN_END && !ahead(parser, "}")) {
        if (accept(parser, "[")) {
            expression(parser);
            accept(parser, "]");
            accept(parser, "=");
        } else if (parser->at->kind == TOKEN_NAME && token_is(parser->at + 1, "=")) {
            next(parser);
            next(parser);
        }
        expression(parser);
        if (!accept(parser, ",")) accept(parser, ";");
    }
    accept(parser, "}");
}

/* f "text", f { … }, f( … ); false if none of them is ahead. */
static bool arguments(struct parser *parser)
{
    if (parser->at->kind == TOKEN_STRING) {
        next(parser);
    } else if (ahead(parser, "{")) {
        table(parser);
    } else if (accept(parser, "(")) {
        if (!ahead(parser, ")")) expressions(parser);
        accept(parser, ")");
    } else {
        return false;
    }
    return true;
}

static void note_require(struct parser *parser, const struct token *name)
{
    if (!slice_is(name->text, "require") || find(parser, name->text) != NULL) return;
    const struct token *text = token_is(name + 1, "(") ? name + 2 : name + 1;
    if (text->kind == TOKEN_STRING) report(parser, FINDING_REQUIRE, text->text, name->line);
}

/* table.insert(cache, …), rawset(cache, …): what changes its first argument. */
static void note_changing_call(struct parser *parser, const struct token *name)
{
    static const char *const changing[] = {"insert", "remove", "sort"};
    const struct token *open = name + 1;
    bool changes = slice_is(name->text, "rawset") || slice_is(name->text, "setmetatable");
    if (slice_is(name->text, "table") && token_is(name + 1, ".") && name[2].kind == TOKEN_NAME) {
        open = name + 3;
        for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
            changes |= slice_is(name[2].text, changing[i]);
    }
    if (!changes || !token_is(open, "(") || open[1].kind != TOKEN_NAME || find(parser, name->text) != NULL)
        return;
    const struct token *behind = open + 2;
    while (token_is(behind, ".") && behind[1].kind == TOKEN_NAME) behind += 2;
    if (!token_is(behind, ",") && !token_is(behind, ")") && !token_is(behind, "[")) return;
    struct target target = {.base = open + 1};
    write_field(parser, &target);
}

/* statement: the name may turn out to be assigned, then it is not reported as read. */
static struct target suffixed(struct parser *parser, bool statement)
{
    struct target target = {.base = NULL};
    if (parser->at->kind == TOKEN_NAME) {
        target.base = parser->at;
        note_require(parser, parser->at);
        note_changing_call(parser, parser->at);
        next(parser);
        target.plain = !(ahead(parser, ".") || ahead(parser, "[") || ahead(parser, ":") ||
                         ahead(parser, "(") || ahead(parser, "{") || parser->at->kind == TOKEN_STRING);
        if (!(statement && target.plain)) read_name(parser, target.base);
    } else {
        accept(parser, "(");
        expression(parser);
        accept(parser, ")");
    }
    for (;;) {
        if (accept(parser, ".")) {
            next(parser);
        } else if (accept(parser, "[")) {
            expression(parser);
            accept(parser, "]");
        } else if (accept(parser, ":")) {
            next(parser);
            target.called = true;
            arguments(parser);
        } else if (arguments(parser)) {
            target.called = true;
        } else {
            return target;
        }
    }
}

static bool is_operator(const struct token *token)
{
    static const char *const operators[] = {"+",  "-",  "*", "/",  "//", "^",  "%",  "&",  "~",   "|", ">>",
                                            "<<", "..", "<", "<=", ">",  ">=", "==", "~=", "and", "or"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (token_is(token, operators[i])) return true;
    return false;
}

static bool is_unary(const struct token *token)
{
    return token_is(token, "not") || token_is(token, "-") || token_is(token, "#") || token_is(token, "~");
}

static void report_compared(struct parser *parser, const struct token *name, const struct token *field)
{
    const struct variable *variable = find(parser, name->text);
    if (variable == NULL) return;
    if (field == NULL) {
        if (variable->decimal) report(parser, FINDING_COMPARES_DECIMAL, name->text, name->line);
    } else if (variable->parameter > 0) {
        struct finding *finding = report(parser, FINDING_COMPARES_NUMBER, field->text, field->line);
        finding->parameter = variable->parameter;
        finding->function_line = variable->function_line;
    }
}

/* At == or ~=: is one side a number literal and the other `name` or `name.field`, and nothing more? */
static void note_comparison(struct parser *parser)
{
    const struct token *right = parser->at + 1, *left = parser->at - 1;
    if (token_is(right, "-")) right++;
    if (right->kind == TOKEN_NUMBER && left->kind == TOKEN_NAME) {
        bool dotted = left - parser->first >= 2 && token_is(left - 1, ".") && left[-2].kind == TOKEN_NAME;
        const struct token *name = dotted ? left - 2 : left;
        if (name > parser->first) {
            const struct token *before = name - 1;
            if (token_is(before, ".") || token_is(before, ":") || token_is(before, "#") ||
                token_is(before, "not"))
                return;
        }
        report_compared(parser, name, dotted ? left : NULL);
    } else if (left->kind == TOKEN_NUMBER && parser->at[1].kind == TOKEN_NAME) {
        const struct token *name = parser->at + 1;
        bool dotted = token_is(name + 1, ".") && name[2].kind == TOKEN_NAME;
        const struct token *behind = dotted ? name + 3 : name + 1;
        if (behind->kind == TOKEN_STRING || token_is(behind, ".") || token_is(behind, "[") ||
            token_is(behind, "(") || token_is(behind, ":") || token_is(behind, "{"))
            return;
        report_compared(parser, name, dotted ? name + 2 : NULL);
    }
}

static void expression(struct parser *parser)
{
    for (;;) {
        while (is_unary(parser->at)) next(parser);
        const struct token *token = parser->at;
        if (token->kind == TOKEN_NAME || token_is(token, "(")) {
            suffixed(parser, false);
        } else if (token_is(token, "{")) {
            table(parser);
        } else if (token_is(token, "function")) {
            next(parser);
            function_body(parser, false, parser->at->line, 0);
        } else {
            next(parser); /* a literal, nil, true, false, ... */
        }
        if (!is_operator(parser->at)) return;
        if (ahead(parser, "==") || ahead(parser, "~=")) note_comparison(parser);
        next(parser);
    }
}

/* Whether first..last - 1 is one call: decimal "…" or decimal( … ). */
static bool is_decimal_call(const struct token *first, const struct token *last)
{
    if (last - first < 2 || !token_is(first, "decimal")) return false;
    if (first[1].kind == TOKEN_STRING) return last - first == 2;
    if (!token_is(first + 1, "(")) return false;
    int open = 0;
    for (const struct token *token = first + 1; token < last; token++) {
        if (token_is(token, "(")) open++;
        if (token_is(token, ")") && --open == 0) return token + 1 == last;
    }
    return false;
}

/* Behind `local`, no function. */
static void local_names(struct parser *parser)
{
    const struct token *names[256];
    bool decimals[256] = {false}, guarded[256] = {false};
    size_t count = 0;
    do {
        if (parser->at->kind == TOKEN_NAME && count < 256) names[count++] = parser->at;
        next(parser);
        if (accept(parser, "<")) {
            next(parser);
            accept(parser, ">");
        }
    } while (accept(parser, ","));
    if (accept(parser, "=")) {
        size_t index = 0;
        do {
            const struct token *first = parser->at;
            expression(parser);
            if (index < count) {
                decimals[index] = is_decimal_call(first, parser->at);
                guarded[index] = token_is(first, "aggregate") || token_is(first, "projection");
            }
            index++;
        } while (accept(parser, ","));
    }
    for (size_t i = 0; i < count; i++) {
        declare(parser, names[i]);
        parser->variables[parser->count - 1].decimal = decimals[i];
        parser->variables[parser->count - 1].guarded = guarded[i];
    }
}

static void local_statement(struct parser *parser)
{
    if (!accept(parser, "function")) {
        local_names(parser);
        return;
    }
    declare(parser, parser->at);
    next(parser);
    function_body(parser, false, parser->at->line, 0);
}

static void function_statement(struct parser *parser)
{
    int line = parser->at[-1].line, dots = 0;
    struct target target = {.base = parser->at};
    bool method = false;
    next(parser);
    while (ahead(parser, ".") || ahead(parser, ":")) {
        method = ahead(parser, ":");
        dots++;
        next(parser);
        next(parser);
    }
    if (dots == 0) {
        write_name(parser, target.base);
    } else {
        read_name(parser, target.base);
        write_field(parser, &target);
    }
    function_body(parser, method, line, dots == 2 && !method ? line : 0);
}

static void for_statement(struct parser *parser)
{
    size_t outer = parser->count;
    const struct token *names = parser->at;
    while (parser->at->kind == TOKEN_NAME || ahead(parser, ",")) next(parser);
    const struct token *names_end = parser->at;
    next(parser); /* = or in */
    expressions(parser);
    for (const struct token *name = names; name < names_end; name++)
        if (name->kind == TOKEN_NAME) declare(parser, name);
    accept(parser, "do");
    block(parser);
    accept(parser, "end");
    parser->count = outer;
}

static void if_statement(struct parser *parser)
{
    do {
        expression(parser);
        accept(parser, "then");
        block(parser);
    } while (accept(parser, "elseif"));
    if (accept(parser, "else")) block(parser);
    accept(parser, "end");
}

/* The condition sees the locals of the block. */
static void repeat_statement(struct parser *parser);

/* a, b.c = … or a call. A target's own index expressions are read before anything is assigned. */
static void assignment_or_call(struct parser *parser)
{
    struct target targets[256];
    size_t count = 0;
    do {
        struct target target = suffixed(parser, true);
        if (count < 256) targets[count++] = target;
    } while (accept(parser, ","));
    if (!accept(parser, "=")) return;
    expressions(parser);
    for (size_t i = 0; i < count; i++) {
        if (targets[i].plain)
            write_name(parser, targets[i].base);
        else
            write_field(parser, &targets[i]);
    }
}

static void statement(struct parser *parser)
{
    if (accept(parser, ";") || accept(parser, "break")) return;
    if (accept(parser, "::")) {
        next(parser);
        accept(parser, "::");
    } else if (accept(parser, "goto")) {
        next(parser);
    } else if (accept(parser, "local")) {
        local_statement(parser);
    } else if (accept(parser, "function")) {
        function_statement(parser);
    } else if (accept(parser, "for")) {
        for_statement(parser);
    } else if (accept(parser, "if")) {
        if_statement(parser);
    } else if (accept(parser, "repeat")) {
        repeat_statement(parser);
    } else if (accept(parser, "while")) {
        expression(parser);
        accept(parser, "do");
        block(parser);
        accept(parser, "end");
    } else if (accept(parser, "do")) {
        block(parser);
        accept(parser, "end");
    } else {
        assignment_or_call(parser);
    }
}

static bool block_ends(const struct parser *parser)
{
    return parser->at->kind == TOKEN_END || ahead(parser, "end") || ahead(parser, "else") ||
           ahead(parser, "elseif") || ahead(parser, "until");
}

static void statements(struct parser *parser)
{
    while (!block_ends(parser)) {
        if (!accept(parser, "return")) {
            const struct token *before = parser->at;
            statement(parser);
            if (parser->at == before) next(parser); /* not reached for texts that compile; never loop */
            continue;
        }
        if (!block_ends(parser) && !ahead(parser, ";")) expressions(parser);
        accept(parser, ";");
    }
}

static void block(struct parser *parser)
{
    size_t outer = parser->count;
    statements(parser);
    parser->count = outer;
}

static void repeat_statement(struct parser *parser)
{
    size_t outer = parser->count;
    statements(parser);
    accept(parser, "until");
    expression(parser);
    parser->count = outer;
}

void inspect(const struct tokens *tokens, struct inspection *inspection)
{
    struct parser parser = {.at = tokens->items, .first = tokens->items, .out = inspection};
    while (parser.at->kind != TOKEN_END) {
        block(&parser);
        next(&parser); /* a stray `end` cannot be in a text that compiles */
    }
    mem_free(parser.variables);
}

void inspection_release(struct inspection *inspection)
{
    mem_free(inspection->items);
    *inspection = (struct inspection){0};
}

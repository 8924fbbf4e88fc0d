/* repl.c: lore repl: expressions of a command line or of stdin, evaluated in a hub. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "codec/json.h"

struct repl {
    const struct cli *cli;
    struct client *client;
    struct buf path;
    char session[64];
    /* of the evaluation at hand */
    bool incomplete, failed;
    struct buf rows; /* of a query: one list in JSON */
};

/* --- one evaluation --- */

static void repl_print_value(const struct repl *repl, const struct fields *line, const char *name)
{
    struct buf text = {0};
    struct slice plain = fields_text(line, name);
    if (repl->cli->json)
        fields_json(line, name, &text);
    else if (plain.size)
        buf_put_slice(&text, plain);
    else
        fields_pretty(line, name, &text);
    printf("%.*s\n", SLICE_ARGS(buf_slice(&text)));
    buf_release(&text);
}

static void repl_print_error(struct repl *repl, const struct fields *line)
{
    struct fields error;
    repl->failed = true;
    if (fields_object(line, "error", &error))
        fprintf(stderr, "lore: %.*s\n", SLICE_ARGS(fields_text(&error, "message")));
}

static bool repl_line(void *user, struct slice text)
{
    struct repl *repl = user;
    struct fields line = {0};
    if (fields_read(&line, text, NULL) == 0) {
        struct slice printed = fields_text(&line, "print");
        if (fields_has(&line, "print")) fprintf(stderr, "%.*s\n", SLICE_ARGS(printed));
        if (fields_has(&line, "value")) repl_print_value(repl, &line, "value");
        if (fields_has(&line, "row")) {
            buf_put_byte(&repl->rows, repl->rows.size ? ',' : '[');
            fields_json(&line, "row", &repl->rows);
        }
        if (fields_has(&line, "incomplete")) repl->incomplete = true;
        if (fields_has(&line, "error")) repl_print_error(repl, &line);
    }
    fields_release(&line);
    return true;
}

/* CLI_OK, or the exit code; *incomplete: more must follow. */
static int repl_evaluate(struct repl *repl, struct slice source, bool *incomplete)
{
    struct fault fault;
    struct buf body = {0};
    buf_put_byte(&body, '{');
    if (repl->session[0]) json_put_text_member(&body, "session", slice_of(repl->session));
    json_put_text_member(&body, "source", source);
    buf_put_text(&body, ",\"rows\":0}");
    repl->incomplete = repl->failed = false;
    buf_clear(&repl->rows);
    int code = CLI_OK;
    if (client_post_lines(repl->client, repl->path.data, buf_slice(&body), NULL, repl_line, repl, &fault) < 0)
        code = cli_fail(&fault);
    else if (repl->failed)
        code = CLI_FAILED;
    if (repl->rows.size) printf("%.*s]\n", SLICE_ARGS(buf_slice(&repl->rows)));
    *incomplete = repl->incomplete;
    buf_release(&body);
    return code;
}

/* --- where expressions come from --- */

static int repl_expression(struct repl *repl, const char *expression)
{
    bool incomplete;
    int code = repl_evaluate(repl, slice_of(expression), &incomplete);
    if (!incomplete) return code;
    fprintf(stderr, "lore: the expression is not complete\n");
    return CLI_FAILED;
}

static int repl_open(struct repl *repl, struct fault *fault)
{
    struct reply reply = {0};
    struct fields opened = {0};
    int done = client_post(repl->client, repl->path.data, slice_of("{\"open\":true}"), NULL, &reply, fault);
    if (done == 0) done = fields_read(&opened, buf_slice(&reply.body), fault);
    if (done == 0)
        snprintf(repl->session, sizeof repl->session, "%.*s", SLICE_ARGS(fields_text(&opened, "session")));
    fields_release(&opened);
    buf_release(&reply.body);
    return done;
}

static void repl_close(struct repl *repl)
{
    struct reply reply = {0};
    struct fault ignored;
    struct buf body = {0};
    buf_put_byte(&body, '{');
    json_put_text_member(&body, "session", slice_of(repl->session));
    buf_put_text(&body, ",\"close\":true}");
    client_post(repl->client, repl->path.data, buf_slice(&body), NULL, &reply, &ignored);
    buf_release(&body);
    buf_release(&reply.body);
}

/* Lines of stdin, as many as make something complete, one chunk after another in one session. */
static int repl_stdin(struct repl *repl)
{
    struct fault fault;
    struct buf chunk = {0};
    char *line = NULL;
    size_t size_max = 0;
    ssize_t size;
    int code = CLI_OK;
    bool incomplete = false;
    if (repl_open(repl, &fault) < 0) return cli_fail(&fault);
    while (code == CLI_OK && (size = getline(&line, &size_max, stdin)) > 0) {
        buf_put(&chunk, line, (size_t)size);
        if (!incomplete && strspn(line, " \t\r\n") == (size_t)size) {
            buf_clear(&chunk);
            continue;
        }
        code = repl_evaluate(repl, buf_slice(&chunk), &incomplete);
        if (!incomplete) buf_clear(&chunk);
    }
    if (code == CLI_OK && incomplete) {
        fprintf(stderr, "lore: stdin ends in the middle of a statement\n");
        code = CLI_FAILED;
    }
    repl_close(repl);
    free(line);
    buf_release(&chunk);
    return code;
}

static int repl_run(struct cli *cli)
{
    struct fault fault;
    struct repl repl = {.cli = cli};
    if (client_open(cli, CLIENT_VIEWS, &repl.client, &fault) < 0) return cli_fail(&fault);
    buf_format(&repl.path, "/v1/%s/repl%c", cli->tenant, 0);
    const char *expression = cli_value(cli, "e");
    int code = expression ? repl_expression(&repl, expression) : repl_stdin(&repl);
    buf_release(&repl.rows);
    buf_release(&repl.path);
    client_close(repl.client);
    return code;
}

static const struct cli_option repl_options[] = {
    {"e", "EXPR", "evaluate this and end"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_repl = {
    .name = "repl",
    .summary = "ask a hub in Lua",
    .arguments = "",
    .help = "Evaluates Lua with the domain at hand: contexts, views, events. Without -e it reads stdin, one\n"
            "statement after another, and ends at the first error. Values go to stdout, what is printed to "
            "stderr.\n\n"
            "  lore repl -e 'billing.bill \"7\"' --json\n"
            "  echo 'views.outstanding_invoices:count()' | lore repl",
    .options = repl_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .run = repl_run,
};

/* main.c: the table of subcommands, and the one place that parses arguments. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"
#include "cli/book.h"
#include "cli/cli.h"
#include "vm/excerpt.h"

#define LORE_VERSION "0.1.0"

static const struct cli_command *const main_commands[] = {
    &cli_new,    &cli_serve,    &cli_check,    &cli_test,    &cli_send,    &cli_import,   &cli_export,
    &cli_events, &cli_state,    &cli_view,     &cli_status,  &cli_rebuild, &cli_retry,    &cli_verify,
    &cli_bench,  &cli_digest,   &cli_task,     &cli_trace,   &cli_deploy,  &cli_undeploy, &cli_deploys,
    &cli_blame,  &cli_rollback, &cli_backup,   &cli_restore, &cli_fork,    &cli_repl,     &cli_docs,
    &cli_map,    &cli_openapi,  &cli_asyncapi, &cli_types,
};

static const struct cli_option main_shared[] = {
    {"scripts", "DIR", "the scripts folder (default ./scripts)"},
    {"data", "DIR", "the data directory (default ./data)"},
    {"tenant", "NAME", "the tenant (default main)"},
    {"to", "URL", "a running hub, instead of the one that has the data directory"},
    {"json", NULL, "machine output: NDJSON, one object a line"},
};

/* All commands take the first of them, so that one set of options serves a whole script; help shows those
 * that make a difference. */
enum { MAIN_EVERYWHERE = 3 };

static bool main_takes(const struct cli_command *command, const char *name)
{
    if (strcmp(name, "scripts") == 0) return command->takes_scripts;
    if (strcmp(name, "data") == 0) return command->takes_data;
    if (strcmp(name, "tenant") == 0) return command->takes_tenant;
    if (strcmp(name, "to") == 0) return command->takes_to;
    return command->takes_json;
}

static void main_print_option(const struct cli_option *option)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s%s", option->name[1] ? "--" : "-", option->name,
             option->value ? " " : "", option->value ? option->value : "");
    printf("  %-24s %s\n", left, option->help);
}

static int main_help_command(const struct cli_command *command)
{
    printf("usage: lore %s%s%s [OPTIONS]\n\n%s\n\noptions:\n", command->name, *command->arguments ? " " : "",
           command->arguments, command->help);
    for (const struct cli_option *option = command->options; option && option->name; option++)
        main_print_option(option);
    for (size_t at = 0; at < sizeof main_shared / sizeof *main_shared; at++)
        if (main_takes(command, main_shared[at].name)) main_print_option(&main_shared[at]);
    main_print_option(&(struct cli_option){"help", NULL, "this text"});
    return CLI_OK;
}

static int main_help(FILE *out)
{
    fprintf(
        out,
        "lore " LORE_VERSION
        ": an event-sourcing host that runs Lua scripts\n\nusage: lore COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (size_t at = 0; at < sizeof main_commands / sizeof *main_commands; at++)
        fprintf(out, "  %-9s %s\n", main_commands[at]->name, main_commands[at]->summary);
    fprintf(out,
            "\nlore COMMAND --help explains each. All take --scripts DIR (default ./scripts), --data DIR "
            "(default ./data) and\n--tenant NAME (default main). Exit codes: 0 done, 1 the thing asked for "
            "failed, 2 wrong usage,\n3 the environment failed (disk, port, permission).\n");
    return out == stdout ? CLI_OK : CLI_USAGE;
}

const char *cli_value(const struct cli *cli, const char *name)
{
    for (int at = 0; cli->command->options && cli->command->options[at].name; at++)
        if (strcmp(cli->command->options[at].name, name) == 0) return cli->values[at];
    CHECK(!"an option of this command");
    return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli_value(cli, name) != NULL;
}

int cli_number(const struct cli *cli, const char *name, int64_t min, int64_t *number)
{
    const char *text = cli_value(cli, name);
    if (!text) return 0;
    char *end;
    long long value = strtoll(text, &end, 10);
    if (!*text || *end || value < min) {
        cli_usage(cli, "--%s expects a whole number of at least %lld, not '%s'", name, (long long)min, text);
        return -1;
    }
    *number = value;
    return 0;
}

int cli_find_data(const struct cli *cli, struct fault *fault)
{
    static const char *const marks[] = {"log", "lock"};
    for (size_t at = 0; at < sizeof marks / sizeof *marks; at++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", cli->data, marks[at]);
        if (access(path, F_OK) == 0 || errno != ENOENT)
            return 0; /* whatever else is wrong is told by who reads it */
    }
    return fault_set(
        fault, FAULT_NOT_FOUND,
        "%s: no data directory of a hub: name yours with --data DIR; lore serve, send and import make one",
        cli->data);
}

int cli_fail(const struct fault *fault)
{
    fprintf(stderr, "lore: %s\n", fault->text);
    return fault_exit_code(fault->code);
}

void cli_tell_errors(const struct buf *errors, const char *scripts, struct fault *fault)
{
    if (fault->code != FAULT_SCRIPTS || errors->size == 0) return;
    struct sources *sources;
    struct buf told = {0};
    bool is_context = false;
    if (sources_read(scripts, &sources, NULL) == 0) {
        is_context = book_is_context(sources);
        if (!is_context) excerpt_put_text(buf_slice(errors), sources, &told);
        sources_free(sources);
    } else {
        buf_put_slice(&told, buf_slice(errors));
    }
    fprintf(stderr, "%.*s", SLICE_ARGS(buf_slice(&told)));
    buf_release(&told);
    size_t count = 0;
    for (size_t at = 0; at < errors->size; at++) count += errors->data[at] == '\n';
    if (is_context)
        fault_set(fault, FAULT_SCRIPTS, "%s looks like a context: give the folder above it", scripts);
    else
        fault_set(fault, FAULT_SCRIPTS, "%zu error%s in %s", count, count == 1 ? "" : "s", scripts);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "lore %s: ", cli->command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nusage: lore %s%s%s (lore %s --help explains)\n", cli->command->name,
            *cli->command->arguments ? " " : "", cli->command->arguments, cli->command->name);
    va_end(args);
    return CLI_USAGE;
}

static const char **main_slot(struct cli *cli, const char *name, size_t size,
                              const struct cli_option **option)
{
    for (int at = 0; cli->command->options && cli->command->options[at].name; at++) {
        *option = &cli->command->options[at];
        CHECK(at < CLI_OPTIONS_MAX);
        if (strlen((*option)->name) == size && memcmp((*option)->name, name, size) == 0)
            return &cli->values[at];
    }
    static const char *json;
    const char **const slots[] = {&cli->scripts, &cli->data, &cli->tenant, &cli->to, &json};
    for (size_t at = 0; at < sizeof main_shared / sizeof *main_shared; at++) {
        *option = &main_shared[at];
        if (strlen((*option)->name) == size && memcmp((*option)->name, name, size) == 0 &&
            (at < MAIN_EVERYWHERE || main_takes(cli->command, (*option)->name)))
            return slots[at];
    }
    return NULL;
}

static const char main_scripts[] = "./scripts";

/* The folder may be said in two ways, but not as two. Returns -1 to go on, else an exit code. */
static int main_take_scripts(struct cli *cli)
{
    if (!cli->command->rest_is_scripts || cli->rest_count == 0) return -1;
    if (cli->scripts != main_scripts && strcmp(cli->scripts, cli->rest[0]) != 0)
        return cli_usage(cli, "two scripts folders are given: '%s' and --scripts '%s'", cli->rest[0],
                         cli->scripts);
    cli->scripts = cli->rest[0];
    return -1;
}

static void main_take_many(struct cli *cli, const char *value, int most)
{
    if (!cli->many) cli->many = mem_zero((size_t)most * sizeof *cli->many);
    cli->many[cli->many_count++] = value;
}

/* Options may stand anywhere; "--" ends them; "-" is a positional argument. Returns -1 to go on, else an exit
 * code. */
static int main_parse(struct cli *cli, int argc, char **argv)
{
    cli->rest = argv;
    bool ended = false;
    for (int at = 0; at < argc; at++) {
        char *word = argv[at];
        if (ended || word[0] != '-' || strcmp(word, "-") == 0) {
            cli->rest[cli->rest_count++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            ended = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return main_help_command(cli->command);
        const char *equals = strchr(word, '=');
        const struct cli_option *option;
        size_t size = equals ? (size_t)(equals - word) : strlen(word);
        size_t dashes = word[1] == '-' ? 2 : 1; /* one before a letter, two before a word */
        const char **slot = size > dashes && (size == 2) == (dashes == 1)
                                ? main_slot(cli, word + dashes, size - dashes, &option)
                                : NULL;
        if (!slot) return cli_usage(cli, "unknown option %s", word);
        if (!option->value) {
            if (equals) return cli_usage(cli, "--%s takes no value", option->name);
            *slot = "";
            if (strcmp(option->name, "json") == 0) cli->json = true;
            continue;
        }
        if (!equals && (at + 1 >= argc || (dashes == 2 && strncmp(argv[at + 1], "--", 2) == 0)))
            return cli_usage(cli, "%.*s expects %s", (int)size, word, option->value);
        *slot = equals ? equals + 1 : argv[++at];
        if (slot == &cli->data) cli->data_given = true;
        if (dashes == 1) main_take_many(cli, *slot, argc);
    }
    if (cli->rest_count < cli->command->rest_min) return cli_usage(cli, "an argument is missing");
    if (cli->rest_count > cli->command->rest_max)
        return cli_usage(cli, "unexpected argument '%s'", cli->rest[cli->command->rest_max]);
    return main_take_scripts(cli);
}

/* Results that were not all written are no success. A reader that went away, as head does, is told nothing.
 */
static int main_end(int code)
{
    bool failed = fflush(stdout) != 0;
    if (!failed && !ferror(stdout)) return code;
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool gone = poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
    if (!gone) fprintf(stderr, "lore: the results could not be written to stdout\n");
    return code == CLI_OK ? CLI_ENVIRONMENT : code;
}

static const struct cli_command *main_find(const char *name)
{
    for (size_t at = 0; at < sizeof main_commands / sizeof *main_commands; at++)
        if (strcmp(main_commands[at]->name, name) == 0) return main_commands[at];
    return NULL;
}

/* The nearest name is the one that shares the longest beginning, of two letters at least. */
static int main_unknown(const char *name)
{
    const char *nearest = NULL;
    size_t same_max = 1;
    for (size_t at = 0; at < sizeof main_commands / sizeof *main_commands; at++) {
        size_t same = 0;
        while (name[same] && name[same] == main_commands[at]->name[same]) same++;
        if (same <= same_max) continue;
        same_max = same;
        nearest = main_commands[at]->name;
    }
    fprintf(stderr, "lore: there is no command '%s'", name);
    if (nearest) fprintf(stderr, ": did you mean %s?", nearest);
    fprintf(stderr, "\nusage: lore COMMAND [ARGUMENTS] [OPTIONS] (lore --help lists the commands)\n");
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is met as EFBIG, like a full disk */
    if (sodium_init() < 0) say_stop("libsodium cannot be started");
    if (argc < 2) return main_help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        if (argc == 2) return main_help(stdout);
        const struct cli_command *command = main_find(argv[2]);
        return command ? main_help_command(command) : main_unknown(argv[2]);
    }
    if (strcmp(argv[1], "--version") == 0) return puts("lore " LORE_VERSION) < 0;
    const struct cli_command *command = main_find(argv[1]);
    if (!command) return main_unknown(argv[1]);
    struct fault fault;
    if (fault_points_arm(getenv("LORE_FAULTS"), &fault) < 0) {
        fprintf(stderr, "lore: LORE_FAULTS: %s\n", fault.text);
        return CLI_USAGE;
    }
    if (fault_points_armed) say_warn("fault points are armed: %s", getenv("LORE_FAULTS"));
    struct cli cli = {.command = command, .scripts = main_scripts, .data = "./data", .tenant = "main"};
    int code = main_parse(&cli, argc - 2, argv + 2);
    if (code < 0) code = cli.command->run(&cli);
    mem_free((void *)cli.many);
    fault_points_tell();
    return main_end(code);
}

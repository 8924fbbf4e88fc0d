/* cli.h: what the subcommands share: parsed arguments, errors, progress.
 *
 * Each subcommand is one file with one `const struct cli_command cli_NAME`; main.c lists them in one table.
 * Results go to stdout, messages to stderr. Exit codes: 0 done, 1 the thing asked for failed, 2 wrong usage,
 * 3 the environment failed. */
#ifndef LORE_CLI_CLI_H
#define LORE_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_ENVIRONMENT = 3, CLI_OPTIONS_MAX = 32 };

struct cli_option {
    const char *name;  /* "from" for --from, a letter for -e: one a command, which may be given again */
    const char *value; /* what stands behind it in the help, "N"; NULL: a flag */
    const char *help;
};

struct cli;

struct cli_command {
    const char *name;
    const char *summary;   /* one line for lore --help */
    const char *arguments; /* "STREAM TYPE [JSON]" */
    const char *help;      /* paragraphs for lore NAME --help, with an example */
    const struct cli_option *
        options; /* its own, name NULL at the end; --scripts --data --tenant --to --json as flags below say */
    bool takes_scripts, takes_data, takes_tenant, takes_to, takes_json;
    bool rest_is_scripts; /* the positional argument, if there is one, is --scripts */
    int rest_min, rest_max;
    int (*run)(struct cli *cli);
};

struct cli {
    const struct cli_command *command;
    const char *scripts, *data, *tenant, *to; /* with their defaults; to is NULL if it was not given */
    bool json, data_given;                    /* --data was said, not left at its default */
    char **rest;                              /* positional arguments */
    int rest_count;
    const char **many; /* values of the option that is a letter, in their order */
    int many_count;
    const char *values[CLI_OPTIONS_MAX]; /* by index in command->options; "" for a flag that was given */
};

/* The value of an option, NULL if it was not given; a flag gives "". */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);
/* The value as a whole number of at least min. -1 and a usage error if it is none. Leaves *number alone if
 * the option was not given. */
int cli_number(const struct cli *cli, const char *name, int64_t min, int64_t *number);

/* Whether --data is a data directory. Fault: NOT_FOUND, saying what to do. */
int cli_find_data(const struct cli *cli, struct fault *fault);

/* Prints the fault as one message on stderr and returns its exit code. */
int cli_fail(const struct fault *fault);
/* Prints every error of the scripts with the line it is about, and makes the fault, if it is about them,
 * their number; of a context that is taken for a scripts folder, that alone: there is nothing to mend in it.
 */
void cli_tell_errors(const struct buf *errors, const char *scripts, struct fault *fault);
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

extern const struct cli_command cli_new, cli_serve, cli_check, cli_test, cli_send, cli_import, cli_export,
    cli_events, cli_state, cli_view, cli_status, cli_rebuild, cli_retry, cli_verify, cli_bench, cli_digest,
    cli_task, cli_trace, cli_deploy, cli_undeploy, cli_deploys, cli_blame, cli_rollback, cli_backup,
    cli_restore, cli_fork, cli_repl, cli_docs, cli_map, cli_openapi, cli_asyncapi, cli_types;

#endif

/* test.c: lore test: the specs of a scripts folder. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "vm/spec.h"

static int test_run(struct cli *cli)
{
    struct fault fault;
    size_t passed = 0, failed = 0;
    struct buf errors = {0};
    struct spec_options options = {.output = cli_value(cli, "output"),
                                   .filter = cli_value(cli, "filter"),
                                   .record = cli_value(cli, "record"),
                                   .passed = &passed,
                                   .failed = &failed,
                                   .errors = &errors};
    if (cli->json) options.output = "json";
    int done =
        spec_run(cli->scripts, (const char *const *)cli->rest, (size_t)cli->rest_count, &options, &fault);
    if (done < 0) cli_tell_errors(&errors, cli->scripts, &fault);
    buf_release(&errors);
    if (done < 0) return cli_fail(&fault);
    return failed ? CLI_FAILED : CLI_OK;
}

static const struct cli_option test_options[] = {
    {"filter", "PATTERN", "only specs whose full name matches this Lua pattern"},
    {"output", "HANDLER", "plainTerminal (default), utfTerminal, TAP, json or junit"},
    {"record", "FILE", "write what each spec says, and how it went, as NDJSON into FILE"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_test = {
    .name = "test",
    .summary = "run the specs",
    .arguments = "[SPECS...]",
    .help = "Runs specs/CONTEXT/*_spec.lua (given, when, then) without a server. Every handler runs in a "
            "fresh and in a used state;\n"
            "a difference means that something outlived a call, and is an error. The last line is \"N "
            "passed, N failed\".\n\n"
            "  lore test\n  lore test specs/billing/bill_spec.lua --filter closing",
    .options = test_options,
    .takes_scripts = true,
    .takes_json = true,
    .rest_max = 1000,
    .run = test_run,
};

/* openapi.c: lore openapi and lore asyncapi: interface files for the scripts. */
#include "cli/book.h"

static int openapi_print(struct cli *cli, const char *program)
{
    struct book_order order = {
        .program = program, .with_specs = !cli_flag(cli, "no-specs"), .write = book_print};
    return book_run(cli, &order);
}

static int openapi_run(struct cli *cli)
{
    return openapi_print(cli, "openapi");
}

static int openapi_run_asyncapi(struct cli *cli)
{
    return openapi_print(cli, "asyncapi");
}

static const struct cli_option openapi_options[] = {
    {"no-specs", NULL, "without examples out of the specs, which are not run then"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_openapi = {
    .name = "openapi",
    .summary = "the HTTP interface of a hub with these scripts, as OpenAPI 3.1",
    .arguments = "[SCRIPTS]",
    .help = "Prints JSON: every route, with the schemas of each command, event and problem, and examples out "
            "of the "
            "specs.\n\n  lore openapi > openapi.json",
    .options = openapi_options,
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = openapi_run,
};

const struct cli_command cli_asyncapi = {
    .name = "asyncapi",
    .summary = "the events of a hub with these scripts, as AsyncAPI 3.0",
    .arguments = "[SCRIPTS]",
    .help = "Prints JSON: the live tail of events (Server-Sent Events) with one message for each type of "
            "event, a "
            "CloudEvents object,\n"
            "and examples out of the specs.\n\n  lore asyncapi > asyncapi.json",
    .options = openapi_options,
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = openapi_run_asyncapi,
};

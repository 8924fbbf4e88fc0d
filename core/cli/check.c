/* check.c: lore check: do the scripts load? */
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "run/catalog.h"
#include "vm/domain.h"
#include "vm/sources.h"

static int check_domain(const struct cli *cli, const struct sources *sources)
{
    struct fault fault;
    struct domain *domain;
    struct buf errors = {0};
    struct domain_options options = {.sources = sources};
    if (domain_open(&options, &domain, &errors, &fault) < 0) {
        cli_tell_errors(&errors, sources_dir(sources), &fault);
        buf_release(&errors);
        return cli_fail(&fault);
    }
    struct catalog catalog = {0};
    int known = catalog_init(&catalog, domain, &fault); /* hub.lua's options, as a hub reads them */
    catalog_release(&catalog);
    struct slice warnings = domain_warnings(domain);
    if (warnings.size) fprintf(stderr, "%.*s", SLICE_ARGS(warnings));
    if (known < 0) {
        cli_fail(&fault);
    } else if (cli->json) {
        struct buf json = {0};
        domain_describe(domain, &json);
        printf("%.*s\n", SLICE_ARGS(buf_slice(&json)));
        buf_release(&json);
    } else {
        printf("%s: %zu files, %zu aggregates, %zu projections: all load\n", sources_dir(sources),
               sources_count(sources), domain_aggregate_count(domain), domain_projection_count(domain));
    }
    buf_release(&errors);
    domain_close(domain);
    return known < 0 ? fault_exit_code(fault.code) : CLI_OK;
}

static int check_run(struct cli *cli)
{
    struct fault fault;
    struct sources *sources;
    if (sources_read(cli->scripts, &sources, &fault) < 0) return cli_fail(&fault);
    int code = check_domain(cli, sources);
    sources_free(sources);
    return code;
}

const struct cli_command cli_check = {
    .name = "check",
    .summary = "load all scripts and report every error with file:line",
    .arguments = "[SCRIPTS]",
    .help = "Needs no data and no server. With --json it prints what is declared: contracts, aggregates, "
            "projections.",
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = check_run,
};

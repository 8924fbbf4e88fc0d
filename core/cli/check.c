/* check.c: lore check: do the scripts load? */
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "run/catalog.h"
#include "vm/domain.h"
#include "vm/sources.h"

/* "scripts: 7 files, 2 aggregates, 1 projections, 1 receptors: all load" */
static void tell_counts(const struct domain *domain, const struct sources *sources)
{
    const struct {
        const char *name;
        size_t count;
    } others[] = {{"receptors", domain_receptor_count(domain)},
                  {"services", domain_service_count(domain)},
                  {"tasks", domain_task_count(domain)}};
    printf("%s: %zu files, %zu aggregates, %zu projections", sources_dir(sources), sources_count(sources),
           domain_aggregate_count(domain), domain_projection_count(domain));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].count > 0) printf(", %zu %s", others[i].count, others[i].name);
    printf(": all load\n");
}

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
        tell_counts(domain, sources);
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
            "projections, receptors, services, tasks.",
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = check_run,
};

/* docs.c: lore docs: a static site about a scripts folder, out of contracts, scripts, their comments and
 * specs. */
#include "cli/book.h"
#include "cli/site.h"

static int docs_put(void *user, struct slice path, struct slice text, struct fault *fault)
{
    return site_put(user, path, text, fault);
}

static int docs_run(struct cli *cli)
{
    const char *out = cli_value(cli, "out") ? cli_value(cli, "out") : "./site";
    struct fault fault;
    struct site site;
    if (!*out) return cli_usage(cli, "--out expects DIR");
    if (site_begin(&site, out, cli_flag(cli, "force"), &fault) < 0) return cli_fail(&fault);
    struct book_order order = {.program = "docs",
                               .with_specs = !cli_flag(cli, "no-specs"),
                               .shows_failed = true,
                               .write = docs_put,
                               .draw = book_draw,
                               .user = &site};
    int code = book_run(cli, &order);
    if (code != CLI_OK) {
        site_abort(&site);
        return code;
    }
    size_t files = site.files;
    if (site_end(&site, &fault) < 0) return cli_fail(&fault);
    book_tell_files(cli, out, files, ", begin with index.html");
    return CLI_OK;
}

static const struct cli_option docs_options[] = {
    {"out", "DIR", "the folder (default ./site); one that lore docs made is replaced"},
    {"force", NULL, "replace any other folder too; it is kept as DIR.before"},
    {"no-specs", NULL, "without the specs, which are not run then"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_docs = {
    .name = "docs",
    .summary = "a site about the scripts: contexts, messages, behaviours, who publishes and who listens",
    .arguments = "[SCRIPTS]",
    .help = "Writes static HTML from contracts, scripts, the comments in them and the specs beside them, "
            "which are "
            "run: a spec that fails\n"
            "is shown as failing. The same scripts give the same bytes. Needs Graphviz (apt install "
            "graphviz), no "
            "server and no data.\n\n"
            "  lore docs\n  lore docs ../shop/scripts --out /var/www/shop",
    .options = docs_options,
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = docs_run,
};

/* import.c: lore import: rows of a file through an import script, into a data directory or a hub that runs.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/import_to.h"
#include "cli/progress.h"
#include "cli/rows.h"
#include "codec/json.h"
#include "run/importer.h"

struct import {
    struct cli *cli;
    struct rows *rows;
    struct importer *importer;
    struct import_to *to; /* NULL: straight into the data directory */
    struct importer_counts counts;
    FILE *rejected;     /* opened with the first line that goes there */
    int rejected_error; /* of the first write there that failed: no later one is tried */
    char *rejected_path;
    uint64_t row_count, malformed;
    uint64_t failed, failed_row; /* rows at which a script failed; the first of them */
    struct fault failure;        /* its */
    struct progress progress;
};

static atomic_bool import_interrupted; /* the signal may come on any thread */

/* Reading must end too. A signal that comes just before read() would not end it: so it comes again. */
static void import_interrupt(int signal_number)
{
    (void)signal_number;
    import_interrupted = true;
    alarm(1);
}

static void import_catch(int signal_number)
{
    struct sigaction action = {.sa_handler = import_interrupt}; /* without SA_RESTART */
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

static void import_write_refusal(struct import *import, uint64_t row, struct slice source_line,
                                 const struct fault *fault)
{
    if ((fault->code == FAULT_SCRIPT || fault->code == FAULT_BUDGET) && import->failed++ == 0) {
        import->failed_row = row;
        import->failure = *fault;
    }
    if (import->rejected_error) return; /* told once, at the end */
    if (!import->rejected && !(import->rejected = fopen(import->rejected_path, "w"))) {
        import->rejected_error = errno;
        return;
    }
    struct buf line = {0};
    buf_format(&line, "{\"row\":%" PRIu64, row);
    json_put_text_member(&line, "code", slice_of(fault_name(fault->code)));
    json_put_text_member(&line, "reason",
                         slice_of(fault->code == FAULT_REJECTED ? fault->reason : fault_name(fault->code)));
    json_put_text_member(&line, "detail", slice_of(fault->text));
    json_put_text_member(&line, "source", source_line);
    buf_put_text(&line, "}\n");
    if (fault_point(POINT_IMPORT_REJECTED) || fwrite(line.data, 1, line.size, import->rejected) != line.size)
        import->rejected_error = errno;
    buf_release(&line);
}

static void import_refused(void *user, uint64_t row, struct slice source_line, const struct fault *fault)
{
    import_write_refusal(user, row, source_line, fault);
}

/* Whether a fault concerns one row only, so that the import goes on. */
static bool import_is_of_row(const struct fault *fault)
{
    switch (fault->code) {
    case FAULT_MALFORMED:
    case FAULT_TOO_LARGE:
    case FAULT_CONTRACT:
    case FAULT_SCRIPT:
    case FAULT_BUDGET:
    case FAULT_NOT_FOUND:
    case FAULT_UNKNOWN_COMMAND: return true;
    default: return false;
    }
}

/* Returns -1 when the import cannot go on. */
static int import_rows(struct import *import, struct fault *fault)
{
    struct row row;
    for (int got; !import_interrupted && (got = rows_next(import->rows, &row, fault)) != 0;) {
        if (got < 0 && import_interrupted) break;
        if (got < 0 && !import_is_of_row(fault)) return -1;
        import->row_count++;
        if (got > 0) got = importer_row(import->importer, row.number, row.data, row.source, fault);
        if (got < 0) {
            if (!import_is_of_row(fault)) return -1;
            import->malformed++;
            import_write_refusal(import, row.number, row.source, fault);
        }
        if (import->row_count % 256 == 0)
            progress_show(&import->progress, import->row_count, 0, rows_fraction(import->rows));
    }
    return 0;
}

static void import_print(const struct import *import)
{
    struct importer_counts counts = import->counts;
    double seconds = progress_seconds(&import->progress);
    if (import->cli->json) {
        printf("{\"rows\":%" PRIu64 ",\"commands\":%" PRIu64 ",\"facts\":%" PRIu64 ",\"skipped\":%" PRIu64
               ",\"rejected\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"seconds\":%.3f}\n",
               import->row_count, counts.commands, counts.facts, counts.skipped, counts.rejected,
               import->malformed, seconds);
        return;
    }
    printf("%" PRIu64 " rows in %.1f s (%.0f/s): %" PRIu64 " commands, %" PRIu64 " facts, %" PRIu64
           " there already, %" PRIu64 " rejected, %" PRIu64 " malformed\n",
           import->row_count, seconds, (double)import->row_count / (seconds > 0 ? seconds : 1),
           counts.commands, counts.facts, counts.skipped, counts.rejected, import->malformed);
}

/* A script that fails at a row is hardly the row's fault: that is not to be overlooked in an import that ends
 * well. */
static void import_tell_refused(const struct import *import)
{
    uint64_t refused = importer_counts(import->importer).rejected + import->malformed;
    if (refused && !import->cli->json)
        fprintf(stderr, "lore: rows that were refused, with their reasons: %s\n", import->rejected_path);
    if (import->failed)
        fprintf(stderr,
                "lore: A SCRIPT FAILED AT %" PRIu64 " ROW%s, which were left out; the first is row %" PRIu64
                ": %s\n",
                import->failed, import->failed == 1 ? "" : "S", import->failed_row, import->failure.text);
}

/* What an import before told of its rows; never a device such as /dev/null. */
static void import_remove_old(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode)) remove(path);
}

static int import_finish(struct import *import, struct fault *fault)
{
    if (import->to) return import_to_finish(import->to, &import->counts, fault);
    int done = importer_finish(import->importer, fault);
    import->counts = importer_counts(import->importer);
    return done;
}

static int import_run_open(struct import *import)
{
    struct fault fault;
    import_catch(SIGINT);
    import_catch(SIGTERM);
    import_catch(SIGALRM);
    import_remove_old(import->rejected_path);
    import->progress = progress_start("importing", "rows");
    int done = import_rows(import, &fault);
    alarm(0);
    struct fault ended;
    if (import_finish(import, &ended) < 0 && done == 0) {
        fault = ended;
        done = -1;
    }
    progress_end(&import->progress);
    import_print(import);
    import_tell_refused(import);
    if (done < 0) return cli_fail(&fault);
    bool refused = import->counts.rejected + import->malformed > 0;
    if (import->rejected && !import->rejected_error && fflush(import->rejected) != 0)
        import->rejected_error = errno;
    if (import->rejected_error) {
        fprintf(stderr, "lore: %s cannot be written: %s\n", import->rejected_path,
                strerror(import->rejected_error));
        return CLI_ENVIRONMENT;
    }
    if (import_interrupted) {
        fprintf(stderr, "lore: interrupted at row %" PRIu64 "; run it again to go on\n", import->row_count);
        return CLI_FAILED;
    }
    return refused && cli_flag(import->cli, "strict") ? CLI_FAILED : CLI_OK;
}

/* The file's name without folders and .gz: what row ids are derived from. */
static struct slice import_source(const struct cli *cli)
{
    const char *given = cli_value(cli, "source");
    if (given) return slice_of(given);
    const char *slash = strrchr(cli->rest[0], '/');
    struct slice name = slice_of(slash ? slash + 1 : cli->rest[0]);
    if (name.size > 3 && memcmp(name.data + name.size - 3, ".gz", 3) == 0) name.size -= 3;
    return name;
}

/* Into a hub that runs, or else straight into the data directory by a hub of our own. */
static int import_into(struct import *import, const char *script, const char *source, int shards)
{
    const struct cli *cli = import->cli;
    struct fault fault;
    struct hub *hub = NULL;
    struct buf errors = {0};
    int code = CLI_OK;
    bool is_elsewhere = cli->to || client_finds_hub(cli);
    struct hub_options hub_options = {.scripts = cli->scripts,
                                      .data = is_elsewhere ? NULL : cli->data,
                                      .shards = is_elsewhere ? 1 : shards,
                                      .projectors = -1,
                                      .quiet = true,
                                      .errors = &errors};
    if (is_elsewhere && import_to_open(cli, import_refused, import, &import->to, &fault) < 0)
        return cli_fail(&fault);
    if (hub_open(&hub_options, &hub, &fault) < 0) {
        cli_tell_errors(&errors, cli->scripts, &fault);
        code = cli_fail(&fault);
    } else {
        struct importer_options options = {.hub = hub,
                                           .tenant = cli->tenant,
                                           .script = script,
                                           .source = source,
                                           .refused = import_refused,
                                           .user = import,
                                           .post = is_elsewhere ? import_to_post : NULL,
                                           .post_user = import->to};
        code = importer_open(&options, &import->importer, &fault) < 0 ? cli_fail(&fault)
                                                                      : import_run_open(import);
        hub_stop(hub); /* its writer may still be waking the importer for the last answer */
        importer_close(import->importer);
        hub_close_to_exit(hub);
    }
    import_to_close(import->to);
    buf_release(&errors);
    return code;
}

static int import_run(struct cli *cli)
{
    struct fault fault;
    int64_t shards = 0;
    const char *separator = cli_value(cli, "separator"), *script = cli_value(cli, "with");
    if (!script)
        return cli_usage(
            cli, "--with expects the import script, as in --with scripts/fines/import/road_fines.lua");
    if (separator && strcmp(separator, "\\t") == 0) separator = "\t";
    if (separator && (strlen(separator) != 1 || strchr("\"\r\n", *separator)))
        return cli_usage(cli, "--separator expects one character, such as ';' or '\\t'");
    if (cli_number(cli, "shards", 1, &shards) < 0) return CLI_USAGE;
    struct import import = {.cli = cli};
    struct rows_options rows_options = {
        .path = cli->rest[0], .format = cli_value(cli, "format"), .separator = separator ? *separator : 0};
    if (rows_open(&rows_options, &import.rows, &fault) < 0) return cli_fail(&fault);

    struct buf source = {0}, path = {0};
    buf_put_slice(&source, import_source(cli));
    buf_put_byte(&source, 0);
    const char *rejected = cli_value(cli, "rejected");
    if (rejected)
        buf_put_text(&path, rejected);
    else
        buf_format(&path, "%s.rejected.ndjson", strcmp(cli->rest[0], "-") == 0 ? "stdin" : cli->rest[0]);
    buf_put_byte(&path, 0);
    import.rejected_path = path.data;

    int code = import_into(&import, script, source.data, (int)shards);
    if (import.rejected) fclose(import.rejected);
    rows_close(import.rows);
    buf_release(&source);
    buf_release(&path);
    return code;
}

static const struct cli_option import_options[] = {
    {"with", "SCRIPT", "the import script, scripts/CONTEXT/import/NAME.lua"},
    {"source", "NAME", "names the rows (default: the file's name without .gz)"},
    {"format", "FORMAT", "ndjson or csv (default: by the file's name)"},
    {"separator", "CHARACTER", "of CSV fields (default: comma)"},
    {"rejected", "FILE", "where refused rows go (default FILE.rejected.ndjson)"},
    {"strict", NULL, "exit 1 if any row was rejected or malformed"},
    {"shards", "N", "how many shards decide (default: one a core)"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_import = {
    .name = "import",
    .summary = "rows of NDJSON or CSV to commands and facts",
    .arguments = "FILE --with SCRIPT",
    .help = "Calls the function of the import script for each row of FILE (NDJSON or CSV, plain or .gz, - "
            "for stdin); what it sends is\n"
            "decided by the aggregates, what it records is a fact. Interrupted, also by kill -9, and run "
            "again it continues: nothing\n"
            "is doubled, nothing lost. Refused rows are counted and written, with row number and reason, and "
            "the import goes on.\n"
            "If a hub is running on the data directory, or with --to, the rows go through that hub. Else "
            "views are brought up by "
            "the next lore serve or lore view.\n\n"
            "  lore import events.ndjson.gz --with scripts/fines/import/road_fines.lua",
    .options = import_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = import_run,
};

/* status.c: lore status: what runs, how far it is, what is stuck. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/fields.h"
#include "store/engine.h"

static atomic_bool status_interrupted;

static void status_interrupt(int signal_number)
{
    (void)signal_number;
    status_interrupted = true;
}

static void status_print_projection(const struct fields *line)
{
    struct fields rebuilding;
    printf("%-28.*s %10lld %10lld %8lld %7lld  %s\n", SLICE_ARGS(fields_text(line, "name")),
           (long long)fields_int(line, "generation"), (long long)fields_int(line, "position"),
           (long long)fields_int(line, "lag"), (long long)fields_int(line, "parked"),
           fields_flag(line, "stopped")     ? "stopped"
           : fields_has(line, "rebuilding") ? "rebuilding"
           : fields_int(line, "lag")        ? "behind"
                                            : "live");
    if (!fields_object(line, "rebuilding", &rebuilding)) return;
    printf("    generation %lld at position %lld, %.0f events/s, %.0f s left: %.*s\n",
           (long long)fields_int(&rebuilding, "generation"), (long long)fields_int(&rebuilding, "position"),
           fields_number(&rebuilding, "rate"), fields_number(&rebuilding, "seconds_left"),
           SLICE_ARGS(fields_text(&rebuilding, "reason")));
}

static void status_print_service(const struct fields *line)
{
    printf("%-28.*s %10s %10s %8s %7s  %lld running, %lld waiting, %lld done, %lld rejected, %lld failed, "
           "%lld put off\n",
           SLICE_ARGS(fields_text(line, "name")), "-", "-", "-", "-", (long long)fields_int(line, "running"),
           (long long)fields_int(line, "waiting"), (long long)fields_int(line, "done"),
           (long long)fields_int(line, "rejected"), (long long)fields_int(line, "failed"),
           (long long)fields_int(line, "retried"));
}

static void status_print_task(const struct fields *line)
{
    struct fields last;
    struct slice next = fields_text(line, "next");
    printf("%-28.*s %10s %10s %8s %7s  %.*s (tenant %.*s)%s%.*s\n", SLICE_ARGS(fields_text(line, "name")),
           "-", "-", "-", "-", SLICE_ARGS(fields_text(line, "state")),
           SLICE_ARGS(fields_text(line, "tenant")), next.size ? ", next " : "", SLICE_ARGS(next));
    if (!fields_object(line, "last", &last) || !fields_has(&last, "error")) return;
    printf("    failed: %.*s\n", SLICE_ARGS(fields_text(&last, "error")));
}

static void status_print_hub(const struct fields *line)
{
    struct slice as_of = fields_text(line, "as_of");
    if (as_of.size) printf("a hub of the past, as of %.*s\n", SLICE_ARGS(as_of));
    printf("hub at position %lld, deploy %lld runs, index behind by %lld\n\n%-28s %10s %10s %8s %7s\n",
           (long long)fields_int(line, "position"), (long long)fields_int(line, "deploy"),
           (long long)fields_int(line, "index_behind"), "name", "generation", "position", "lag", "parked");
}

/* "deploy under way: replaying, 120 of 400, for 3.4 s" */
static void status_print_deploy(const struct fields *line)
{
    printf("deploy under way: %.*s", SLICE_ARGS(fields_text(line, "state")));
    if (fields_int(line, "of"))
        printf(", %lld of %lld", (long long)fields_int(line, "done"), (long long)fields_int(line, "of"));
    printf(", for %.1f s\n", fields_number(line, "seconds"));
}

static void status_print_other(const struct fields *line, struct slice kind)
{
    if (slice_is(kind, "parked") || slice_is(kind, "retried"))
        printf("    %.*s: %.*s key %.*s (tenant %.*s) at position %lld: %.*s\n", SLICE_ARGS(kind),
               SLICE_ARGS(fields_text(line, "name")), SLICE_ARGS(fields_text(line, "key")),
               SLICE_ARGS(fields_text(line, "tenant")), (long long)fields_int(line, "position"),
               SLICE_ARGS(fields_text(line, "error")));
    else if (slice_is(kind, "stopped"))
        printf("    stopped: %.*s (tenant %.*s) at position %lld: %.*s\n",
               SLICE_ARGS(fields_text(line, "name")), SLICE_ARGS(fields_text(line, "tenant")),
               (long long)fields_int(line, "position"), SLICE_ARGS(fields_text(line, "error")));
    else if (slice_is(kind, "receptor"))
        printf("%-28.*s %10s %10lld %8lld %7lld  %s\n", SLICE_ARGS(fields_text(line, "name")), "-",
               (long long)fields_int(line, "position"), (long long)fields_int(line, "lag"),
               (long long)fields_int(line, "parked"),
               fields_flag(line, "stopped")      ? "stopped: too much is parked"
               : fields_int(line, "retried") > 0 ? "tries again"
               : fields_int(line, "lag")         ? "behind"
                                                 : "live");
    else if (slice_is(kind, "courier"))
        printf("%-28.*s %10s %10lld %8lld %7lld  %lld waiting\n", SLICE_ARGS(fields_text(line, "name")), "-",
               (long long)fields_int(line, "position"), (long long)fields_int(line, "lag"),
               (long long)fields_int(line, "parked"), (long long)fields_int(line, "waiting"));
    else if (slice_is(kind, "service"))
        status_print_service(line);
    else if (slice_is(kind, "task"))
        status_print_task(line);
    else if (slice_is(kind, "deploy"))
        status_print_deploy(line);
    else if (slice_is(kind, "hub"))
        status_print_hub(line);
}

static bool status_print(void *user, struct slice text)
{
    const struct cli *cli = user;
    if (cli->json) return printf("%.*s\n", SLICE_ARGS(text)) >= 0;
    struct fields line = {0};
    if (fields_read(&line, text, NULL) == 0) {
        struct slice kind = fields_text(&line, "kind");
        if (slice_is(kind, "projection"))
            status_print_projection(&line);
        else
            status_print_other(&line, kind);
    }
    fields_release(&line);
    return ferror(stdout) == 0;
}

/* Nobody answers at the directory's socket; but it may be in use, as by an import. */
static void status_tell_who(const char *data)
{
    char file[64], words[256] = {0};
    long holder = engine_lmdb_holder(data);
    if (!holder) {
        fprintf(stderr, "lore: no hub is running; this is how %s stands\n", data);
        return;
    }
    snprintf(file, sizeof file, "/proc/%ld/cmdline", holder); /* "lore", "import", ... each with a NUL */
    FILE *command = fopen(file, "re");
    size_t size = command ? fread(words, 1, sizeof words - 2, command) : 0;
    if (command) fclose(command);
    const char *name = size ? words + strlen(words) + 1 : "";
    fprintf(
        stderr,
        "lore: %s is in use by lore%s%s, process %ld, which answers no questions; this is how it stands\n",
        data, *name ? " " : "", name, holder);
}

static int status_run(struct cli *cli)
{
    struct fault fault;
    struct client *client;
    bool watch = cli_flag(cli, "watch");
    if (client_open(cli, CLIENT_STATUS, &client, &fault) < 0) return cli_fail(&fault);
    if (client_is_own(client) && !cli->json) status_tell_who(cli->data);
    signal(SIGINT, status_interrupt);
    int code = CLI_OK;
    do {
        if (watch && !cli->json && isatty(STDOUT_FILENO)) printf("\033[H\033[2J");
        if (client_lines(client, "/v1/status", "application/x-ndjson", status_print, cli, &fault) < 0)
            code = cli_fail(&fault);
        fflush(stdout);
        if (watch && code == CLI_OK && !status_interrupted)
            sleep(1); /* the refresh rate; SIGINT ends it early */
    } while (watch && code == CLI_OK && !status_interrupted && ferror(stdout) == 0);
    client_close(client);
    return code;
}

static const struct cli_option status_options[] = {
    {"watch", NULL, "again every second"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_status = {
    .name = "status",
    .summary = "projections, receptors, services, tasks: position, lag, what is stuck",
    .arguments = "",
    .help = "Shows each projection, why and how fast it rebuilds, each receptor, how much waits for its "
            "time, each parked key with\n"
            "position, error and script line; what services did since the start; each task with its next "
            "moment and what failed.",
    .options = status_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .run = status_run,
};

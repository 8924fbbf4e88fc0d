/* backup.c: lore backup and lore restore: the log as a file, and a directory out of such files. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "cli/cli.h"
#include "codec/json.h"
#include "store/backup.h"
#include "store/cut.h"

/* --- backup --- */

static bool backup_is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19;
}

/* The end of an earlier backup, or a position. */
static int backup_since(struct engine *engine, const char *text, struct archive_point *point,
                        struct fault *fault)
{
    struct archive_reader *reader;
    struct cut cut;
    if (backup_is_number(text)) {
        if (cut_find(engine, strtoull(text, NULL, 10), INT64_MAX, &cut, fault) < 0) return -1;
        *point = cut.before;
        return 0;
    }
    if (archive_open(text, &reader, fault) < 0) return -1;
    struct engine_head head = engine_head(engine);
    int done = strcmp(archive_head(reader)->log_id, head.log_id) == 0
                   ? 0
                   : fault_set(fault, FAULT_CONFLICT, "%s is a backup of another log", text);
    *point = archive_head(reader)->after;
    archive_close(reader);
    return done;
}

static void backup_tell(const struct cli *cli, const char *file, const struct archive_head *head)
{
    FILE *out = strcmp(file, "-") == 0 ? stderr : stdout;
    if (cli->json)
        fprintf(out,
                "{\"from\":%" PRIu64 ",\"position\":%" PRIu64 ",\"commits\":%" PRIu64 ",\"outcomes\":%" PRIu64
                ",\"epoch\":%" PRIu64 "}\n",
                head->before.position + 1, head->after.position, head->after.commits - head->before.commits,
                head->after.outcomes - head->before.outcomes, head->epoch);
    else
        fprintf(out,
                "%" PRIu64 " events behind position %" PRIu64 " and %" PRIu64
                " commands without events; the log ends at position %" PRIu64 "\n",
                head->after.position - head->before.position, head->before.position,
                head->after.outcomes - head->before.outcomes, head->after.position);
}

/* Under another name until it is whole. */
static int backup_to_file(struct engine *engine, const char *file, const struct archive_point *since,
                          struct archive_head *head, struct fault *fault)
{
    struct buf part = {0};
    struct stat status;
    /* It would be put in the place of a device or a pipe. */
    if (stat(file, &status) == 0 && !S_ISREG(status.st_mode))
        return fault_set(fault, FAULT_USAGE, "%s is no regular file: write to a pipe or a device with -",
                         file);
    buf_format(&part, "%s.part%c", file, 0);
    int done = backup_write(engine, part.data, since, head, fault);
    if (done == 0 && rename(part.data, file) < 0) {
        done = fault_errno(fault, errno, "%s", file);
        unlink(part.data);
    }
    buf_release(&part);
    return done;
}

static int backup_run(struct cli *cli)
{
    const char *file = cli->rest[0], *since = cli_value(cli, "since");
    struct fault fault;
    struct engine *engine;
    struct archive_point point;
    struct archive_head head;
    struct engine_options options = {.path = cli->data, .read_only = true};
    bool pipe = strcmp(file, "-") == 0;
    if (pipe && isatty(STDOUT_FILENO)) return cli_usage(cli, "a backup is no text for a terminal");
    if (cli_find_data(cli, &fault) < 0 || engine_open_lmdb(&options, &engine, &fault) < 0)
        return cli_fail(&fault);
    int done = since ? backup_since(engine, since, &point, &fault) : 0;
    if (done == 0)
        done = pipe ? backup_write(engine, file, since ? &point : NULL, &head, &fault)
                    : backup_to_file(engine, file, since ? &point : NULL, &head, &fault);
    engine_close(engine);
    if (done < 0) return cli_fail(&fault);
    backup_tell(cli, file, &head);
    return CLI_OK;
}

static const struct cli_option backup_options[] = {
    {"since", "FILE|POSITION", "only what came behind the end of an earlier backup, or behind a position"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_backup = {
    .name = "backup",
    .summary = "the log into a file, also while a hub writes",
    .arguments = "FILE|-",
    .help =
        "Writes the log as of this moment, with deploys and checkpoints: consistent, also beside a hub that "
        "goes on writing. FILE is\n"
        "there when it is whole; - writes to a pipe. What is derived (views, indexes, snapshots, timers) is "
        "not in it.\n\n"
        "  lore backup monday.lore\n  lore backup tuesday.lore --since monday.lore\n"
        "  lore backup - | ssh elsewhere 'lore restore - --data data'",
    .options = backup_options,
    .takes_data = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = 1,
    .run = backup_run,
};

/* --- restore --- */

enum { RESTORE_FILES_MAX = 1000 };

static int restore_run(struct cli *cli)
{
    struct fault fault;
    struct restore *restore;
    int done = 0;
    say_set_level(SAY_WARN);
    if (restore_open(cli->data, &restore, &fault) < 0) return cli_fail(&fault);
    for (int at = 0; at < cli->rest_count && done == 0; at++)
        done = restore_add(restore, cli->rest[at], &fault);
    struct archive_point point = restore_point(restore);
    if (done < 0)
        restore_close(restore, NULL);
    else
        done = restore_close(restore, &fault);
    if (done < 0) return cli_fail(&fault);
    if (cli->json)
        printf("{\"position\":%" PRIu64 ",\"commits\":%" PRIu64 ",\"outcomes\":%" PRIu64 "}\n",
               point.position, point.commits, point.outcomes);
    else
        printf("%s holds the log up to position %" PRIu64 "\n", cli->data, point.position);
    return CLI_OK;
}

const struct cli_command cli_restore = {
    .name = "restore",
    .summary = "a data directory out of backups",
    .arguments = "FILE|-...",
    .help =
        "Writes the log of a whole backup and of those that follow it, in their order, into a directory "
        "that is empty or holds its\n"
        "beginning. Each record's checksum, place and link of the chain is checked on the way. The log goes "
        "on with an epoch of its own.\n"
        "Cut off, the directory is not opened by others; the same restore again goes on. Views are built by "
        "the next hub.\n\n"
        "  lore restore monday.lore tuesday.lore --data data",
    .takes_data = true,
    .takes_json = true,
    .rest_min = 1,
    .rest_max = RESTORE_FILES_MAX,
    .run = restore_run,
};

/* types.c: lore types: what editors and linters want to know of the scripts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/book.h"
#include "cli/specs.h"
#include "codec/json.h"

enum { TYPES_MARK_WITHIN = 512 };

struct types {
    const char *out;
    bool force;
    size_t files;
};

/* A file that is there is replaced only if its beginning says that it was made so. */
static bool types_is_ours(const char *path)
{
    char text[TYPES_MARK_WITHIN];
    FILE *file = fopen(path, "re");
    if (!file) return errno == ENOENT || errno == ENOTDIR;
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    return memmem(text, size, "lore types", strlen("lore types")) != NULL;
}

static int types_write(const char *path, struct slice text, struct fault *fault)
{
    struct buf made = {0};
    buf_format(&made, "%s.new-XXXXXX%c", path, 0);
    int fd = mkostemp(made.data, O_CLOEXEC); /* a name that was free: what lies there may be a link */
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    int done = file && fchmod(fd, 0644) == 0 ? 0 : -1;
    if (file && fwrite(text.data, 1, text.size, file) != text.size) done = -1;
    if (file && fclose(file) != 0) done = -1;
    if (done == 0) done = rename(made.data, path);
    if (done < 0) {
        fault_errno(fault, errno, "%s", path);
        if (fd >= 0 && !file) close(fd);
        if (fd >= 0) unlink(made.data);
    }
    buf_release(&made);
    return done;
}

/* The program gives each path twice: first all without a text, so that nothing is written if one may not be.
 */
static int types_put(void *user, struct slice path, struct slice text, struct fault *fault)
{
    struct types *types = user;
    struct buf full = {0};
    buf_format(&full, "%s/%.*s%c", types->out, SLICE_ARGS(path), 0);
    int done = 0;
    if (text.size == 0) {
        if (!types->force && !types_is_ours(full.data))
            done = fault_set(
                fault, FAULT_CONFLICT,
                "%s is there and was not made by lore types: nothing was written; name another folder "
                "with --out, or replace it with --force",
                full.data);
    } else {
        char *slash = strrchr(full.data, '/');
        *slash = 0;
        if (mkdir(full.data, 0777) < 0 && errno != EEXIST) done = fault_errno(fault, errno, "%s", full.data);
        *slash = '/';
        if (done == 0) done = types_write(full.data, text, fault);
        types->files++;
    }
    buf_release(&full);
    return done;
}

/* Paths in the files are as seen from the folder they lie in, if the scripts are below it. */
static void types_put_option(struct buf *options, const char *name, const char *out, const char *path)
{
    char *root = realpath(out, NULL), *full = realpath(path, NULL);
    size_t size = root ? strlen(root) : 0;
    const char *text = full ? full : path;
    if (root && full && strncmp(full, root, size) == 0 && full[size] == '/') text = full + size + 1;
    json_put_text_member(options, name, slice_of(text));
    free(root);
    free(full);
}

static int types_run(struct cli *cli)
{
    struct types types = {.out = cli_value(cli, "out") ? cli_value(cli, "out") : ".",
                          .force = cli_flag(cli, "force")};
    struct fault fault;
    if (mkdir(types.out, 0777) < 0 && errno != EEXIST) {
        fault_errno(&fault, errno, "%s", types.out);
        return cli_fail(&fault);
    }
    struct buf options = {0}, specs = {0};
    specs_folder(cli->scripts, &specs);
    types_put_option(&options, "scripts", types.out, cli->scripts);
    types_put_option(&options, "specs", types.out, specs.data);
    struct book_order order = {
        .program = "types", .options = buf_slice(&options), .write = types_put, .user = &types};
    int code = book_run(cli, &order);
    buf_release(&options);
    buf_release(&specs);
    if (code != CLI_OK) return code;
    book_tell_files(
        cli, types.out, types.files,
        ": .luarc.json for the Lua language server, .luacheckrc for luacheck, annotations in .lore/");
    return CLI_OK;
}

static const struct cli_option types_options[] = {
    {"out", "DIR", "the folder that is opened in the editor (default .)"},
    {"force", NULL, "replace a .luarc.json or .luacheckrc that was written by hand"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_types = {
    .name = "types",
    .summary = "annotations for the Lua language server and a .luacheckrc",
    .arguments = "[SCRIPTS]",
    .help = "Writes .luarc.json, .lore/*.lua (messages with the types of their fields, the words of scripts "
            "and specs, "
            "send and views)\n"
            "and .luacheckrc, so that an editor completes and checks scripts. Run it again when contracts "
            "changed. "
            "Files that it did\n"
            "not write stay as they are.\n\n"
            "  lore types\n  lore types ../shop/scripts --out ../shop",
    .options = types_options,
    .takes_scripts = true,
    .takes_json = true,
    .rest_is_scripts = true,
    .rest_max = 1,
    .run = types_run,
};

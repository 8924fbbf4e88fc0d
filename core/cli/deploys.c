/* deploys.c: lore deploys: what was deployed, by whom, what it changed, and its files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "cli/checkout.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/diff.h"
#include "cli/fields.h"
#include "codec/json.h"
#include "codec/mp.h"

/* --- the scripts of a deploy, over HTTP --- */

struct scripts {
    struct arena arena;
    struct source_text *texts;
    size_t count, count_max;
    bool bad;
};

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static struct slice take_hex(struct scripts *scripts, struct slice hex)
{
    char *bytes = arena_take(&scripts->arena, hex.size / 2 + 1);
    for (size_t at = 0; at + 1 < hex.size; at += 2) {
        int high = hex_value(hex.data[at]), low = hex_value(hex.data[at + 1]);
        if (high < 0 || low < 0) {
            scripts->bad = true;
            high = low = 0;
        }
        bytes[at / 2] = (char)(high << 4 | low);
    }
    return slice_make(bytes, hex.size / 2);
}

/* What arrives is compared with its hash. */
static bool take_script(void *user, struct slice line)
{
    struct scripts *scripts = user;
    struct fields script = {0};
    struct hash hash, told;
    if (scripts->count == scripts->count_max) {
        scripts->count_max = scripts->count_max ? 2 * scripts->count_max : 64;
        scripts->texts = mem_resize(scripts->texts, scripts->count_max * sizeof *scripts->texts);
    }
    if (fields_read(&script, line, NULL) == 0) {
        struct source_text *text = &scripts->texts[scripts->count++];
        text->path = arena_copy(&scripts->arena, fields_text(&script, "path"));
        text->text = fields_has(&script, "hex") ? take_hex(scripts, fields_text(&script, "hex"))
                                                : arena_copy(&scripts->arena, fields_text(&script, "text"));
        hash = hash_of(text->text);
        if (!hash_of_hex(fields_text(&script, "hash"), &told) || !hash_equal(&hash, &told))
            scripts->bad = true;
    } else {
        scripts->bad = true;
    }
    fields_release(&script);
    return !scripts->bad;
}

/* number 0: the empty deploy before the first. */
static int load_scripts(struct client *client, uint64_t number, struct sources **sources, struct fault *fault)
{
    char path[64], name[48];
    struct scripts scripts = {0};
    snprintf(path, sizeof path, "/v1/deploys/%" PRIu64 "/scripts", number);
    snprintf(name, sizeof name, "deploy %" PRIu64, number);
    int done = number ? client_lines(client, path, "application/x-ndjson", take_script, &scripts, fault) : 0;
    if (done == 0 && scripts.bad)
        done =
            fault_set(fault, FAULT_CORRUPT, "a script of deploy %" PRIu64 " is not what was written", number);
    if (done == 0) *sources = sources_of_texts(name, scripts.texts, scripts.count);
    mem_free(scripts.texts);
    arena_release(&scripts.arena);
    return done;
}

/* --- the list --- */

static bool print_row(void *user, struct slice text)
{
    const struct cli *cli = user;
    if (cli->json) return printf("%.*s\n", SLICE_ARGS(text)) >= 0;
    struct fields row = {0};
    if (fields_read(&row, text, NULL) == 0) {
        struct slice time = fields_text(&row, "time"), actor = fields_text(&row, "actor");
        printf("%6lld  %-24.*s  %-12.*s  %-10.*s %4lld of %-5lld  %.*s%s\n",
               (long long)fields_int(&row, "number"), SLICE_ARGS(time),
               SLICE_ARGS(actor.size ? actor : slice_of("-")), SLICE_ARGS(fields_text(&row, "state")),
               (long long)fields_int(&row, "changed"), (long long)fields_int(&row, "scripts"),
               SLICE_ARGS(fields_text(&row, "note")), fields_flag(&row, "forced") ? " (forced)" : "");
    }
    fields_release(&row);
    return ferror(stdout) == 0;
}

static int deploys_list(struct cli *cli, struct client *client, struct fault *fault)
{
    int64_t limit = 0;
    char path[64] = "/v1/deploys";
    if (cli_number(cli, "limit", 1, &limit) < 0) return CLI_USAGE;
    if (limit) snprintf(path, sizeof path, "/v1/deploys?limit=%lld", (long long)limit);
    if (!cli->json)
        printf("%6s  %-24s  %-12s  %-10s %13s  %s\n", "deploy", "time", "who", "state", "changed", "note");
    return client_lines(client, path, "application/x-ndjson", print_row, cli, fault) < 0 ? cli_fail(fault)
                                                                                         : CLI_OK;
}

/* --- one --- */

/* The gate's report in a line: each part by its value, or by how much it has to say. */
static void print_gate(const struct fields *deploy)
{
    struct fields gate;
    if (!fields_object(deploy, "gate", &gate)) return;
    struct mp_reader reader = mp_reader_of(buf_slice(&gate.bytes));
    struct mp_value map, name;
    struct slice bytes;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return;
    fputs("gate     ", stdout);
    for (uint32_t left = map.count; left; left--) {
        struct buf text = {0};
        struct mp_value value;
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &bytes) < 0) break;
        struct mp_reader inside = mp_reader_of(bytes);
        if (mp_read(&inside, &value) == 0 && (value.kind == MP_LIST || value.kind == MP_MAP))
            buf_format(&text, "%u", (unsigned)value.count);
        else
            json_from_mp(bytes, &text, NULL);
        printf("%s%.*s %.*s", left == map.count ? "" : ", ", SLICE_ARGS(name.text),
               SLICE_ARGS(buf_slice(&text)));
        buf_release(&text);
    }
    putchar('\n');
}

static void print_switches(const struct fields *deploy)
{
    const uint8_t *at = NULL;
    struct fields change;
    while (fields_next(deploy, "switches", &at, &change)) {
        struct slice actor = fields_text(&change, "actor"), note = fields_text(&change, "note");
        printf("%-8.*s %.*s  %lld to %lld at position %lld%s%.*s%s%.*s\n",
               SLICE_ARGS(fields_text(&change, "why")), SLICE_ARGS(fields_text(&change, "time")),
               (long long)fields_int(&change, "from"), (long long)fields_int(&change, "to"),
               (long long)fields_int(&change, "position"), actor.size ? " by " : "", SLICE_ARGS(actor),
               note.size ? ": " : "", SLICE_ARGS(note));
    }
}

static void print_head(const struct fields *deploy)
{
    struct slice actor = fields_text(deploy, "actor"), note = fields_text(deploy, "note"),
                 folder = fields_text(deploy, "folder");
    printf("deploy %lld, %.*s, %.*s%s%.*s%s\n", (long long)fields_int(deploy, "number"),
           SLICE_ARGS(fields_text(deploy, "state")), SLICE_ARGS(fields_text(deploy, "time")),
           actor.size ? " by " : "", SLICE_ARGS(actor),
           fields_flag(deploy, "forced") ? ", forced against its gate" : "");
    if (note.size) printf("note     %.*s\n", SLICE_ARGS(note));
    if (folder.size) printf("folder   %.*s\n", SLICE_ARGS(folder));
    print_gate(deploy);
    print_switches(deploy);
}

static void print_diff(const struct sources *old, uint64_t old_number, const struct sources *new,
                       uint64_t new_number)
{
    struct buf out = {0};
    bool coloured = isatty(STDOUT_FILENO) == 1;
    for (size_t a = 0, b = 0; a < sources_count(old) || b < sources_count(new);) {
        const struct source *before = a < sources_count(old) ? sources_at(old, a) : NULL;
        const struct source *after = b < sources_count(new) ? sources_at(new, b) : NULL;
        int order = !before ? 1 : !after ? -1 : slice_compare(before->path, after->path);
        char before_name[4200], after_name[4200];
        struct slice path = order <= 0 ? before->path : after->path;
        snprintf(before_name, sizeof before_name, "%" PRIu64 "/%.*s", old_number, SLICE_ARGS(path));
        snprintf(after_name, sizeof after_name, "%" PRIu64 "/%.*s", new_number, SLICE_ARGS(path));
        struct diff_side left = {order <= 0 ? before_name : NULL, order <= 0 ? before->text : SLICE_NONE};
        struct diff_side right = {order >= 0 ? after_name : NULL, order >= 0 ? after->text : SLICE_NONE};
        diff_put(&left, &right, coloured, &out);
        a += order <= 0;
        b += order >= 0;
    }
    if (out.size) printf("\n%.*s", SLICE_ARGS(buf_slice(&out)));
    buf_release(&out);
}

static int show(struct cli *cli, struct client *client, uint64_t number, struct fault *fault)
{
    char path[64];
    struct reply reply = {0};
    struct fields deploy = {0};
    struct sources *old = NULL, *new = NULL;
    int64_t against = (int64_t)number - 1;
    if (cli_number(cli, "against", 1, &against) < 0) return CLI_USAGE;
    snprintf(path, sizeof path, "/v1/deploys/%" PRIu64, number);
    int done = client_get(client, path, NULL, &reply, fault);
    if (done == 0) done = fields_read(&deploy, buf_slice(&reply.body), fault);
    if (done == 0 && cli->json) printf("%.*s", SLICE_ARGS(buf_slice(&reply.body)));
    if (done == 0 && !cli->json) {
        print_head(&deploy);
        done = load_scripts(client, number, &new, fault);
        if (done == 0) done = load_scripts(client, (uint64_t)against, &old, fault);
        if (done == 0) print_diff(old, (uint64_t)against, new, number);
        if (done < 0 && new && fault->code == FAULT_NOT_FOUND && !cli_flag(cli, "against")) {
            printf("\n%s\n", fault->text);
            done = 0;
        }
    }
    if (old) sources_free(old);
    if (new) sources_free(new);
    fields_release(&deploy);
    buf_release(&reply.body);
    return done < 0 ? cli_fail(fault) : CLI_OK;
}

/* --- its files --- */

/* What else the folder holds would be deployed with them. */
static void tell_others(const struct sources *scripts, const char *dir)
{
    struct fault ignored;
    struct sources *there;
    if (sources_read(dir, &there, &ignored) < 0) return;
    for (size_t at = 0; at < sources_count(there); at++)
        if (!sources_find(scripts, sources_at(there, at)->path))
            fprintf(stderr, "lore: %s/%.*s is not of this deploy\n", dir,
                    SLICE_ARGS(sources_at(there, at)->path));
    sources_free(there);
}

static int check_out(struct cli *cli, struct client *client, uint64_t number, struct fault *fault)
{
    struct sources *scripts;
    const char *dir = cli->rest[2];
    if (load_scripts(client, number, &scripts, fault) < 0) return cli_fail(fault);
    int done = checkout_write(scripts, dir, cli_flag(cli, "force"), fault);
    if (done == 0) tell_others(scripts, dir);
    if (done == 0 && cli->json)
        printf("{\"deploy\":%" PRIu64 ",\"scripts\":%zu}\n", number, sources_count(scripts));
    else if (done == 0)
        printf("%zu scripts of deploy %" PRIu64 " are in %s\n", sources_count(scripts), number, dir);
    sources_free(scripts);
    return done < 0 ? cli_fail(fault) : CLI_OK;
}

static int deploys_run(struct cli *cli)
{
    const char *what = cli->rest_count ? cli->rest[0] : "list";
    bool is_show = strcmp(what, "show") == 0, is_checkout = strcmp(what, "checkout") == 0;
    if (!is_show && !is_checkout && cli->rest_count)
        return cli_usage(cli, "deploys has show and checkout, not '%s'", what);
    if ((is_show && cli->rest_count != 2) || (is_checkout && cli->rest_count != 3))
        return cli_usage(cli, is_show ? "deploys show takes the number of a deploy"
                                      : "deploys checkout takes the number of a deploy and a folder");
    uint64_t number = 0;
    if (cli->rest_count) {
        char *end;
        number = strtoull(cli->rest[1], &end, 10);
        if (*end || number == 0 || number > INT64_MAX || cli->rest[1][0] == '-')
            return cli_usage(cli, "'%s' is not the number of a deploy", cli->rest[1]);
    }
    struct fault fault;
    struct client *client;
    if (client_open(cli, CLIENT_LOG, &client, &fault) < 0) return cli_fail(&fault);
    int code = is_show       ? show(cli, client, number, &fault)
               : is_checkout ? check_out(cli, client, number, &fault)
                             : deploys_list(cli, client, &fault);
    client_close(client);
    return code;
}

static const struct cli_option deploys_options[] = {
    {"limit", "N", "at most so many, the newest"},
    {"against", "M", "show: the difference to this deploy (default N-1)"},
    {"force", NULL, "checkout: into a folder that is not empty, over its scripts"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_deploys = {
    .name = "deploys",
    .summary = "what was deployed: the list, what one changed, its files",
    .arguments = "[show N | checkout N DIR]",
    .help =
        "Lists all deploys, the newest first: number, time, who, whether it runs, is superseded or undone, "
        "how "
        "many of its scripts\n"
        "changed against the one before, note. `show N` says when, by whom and why, what the gate said, and "
        "prints the difference\n"
        "to N-1 as a patch. `checkout N DIR` writes the scripts of deploy N into DIR.\n\n"
        "  lore deploys\n  lore deploys show 42\n  lore deploys checkout 41 ./scripts-41",
    .options = deploys_options,
    .takes_data = true,
    .takes_to = true,
    .takes_json = true,
    .rest_max = 3,
    .run = deploys_run,
};

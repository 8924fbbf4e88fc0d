#include "cli/book.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/graphviz.h"
#include "cli/specs.h"
#include "codec/json.h"
#include "vm/domain.h"
#include "vm/scribe.h"
#include "vm/tokens.h"

int book_print(void *user, struct slice path, struct slice text, struct fault *fault)
{
    (void)user, (void)path, (void)fault; /* main.c tells when stdout cannot be written */
    fwrite(text.data, 1, text.size, stdout);
    return 0;
}

void book_tell_files(const struct cli *cli, const char *out, size_t files, const char *text)
{
    struct buf line = {0};
    if (cli->json) {
        buf_put_byte(&line, '{');
        json_put_text_member(&line, "out", slice_of(out));
        json_put_int_member(&line, "files", (int64_t)files);
        buf_put_byte(&line, '}');
    } else {
        buf_format(&line, "%s: %zu files%s", out, files, text);
    }
    printf("%.*s\n", SLICE_ARGS(buf_slice(&line)));
    buf_release(&line);
}

int book_draw(void *user, struct slice dot, struct buf *svg, struct fault *fault)
{
    (void)user;
    return graphviz_draw(dot, svg, fault);
}

/* The lines of a file as the items of a JSON array. */
static int book_put_lines(FILE *file, struct buf *json, struct fault *fault)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    bool first = true;
    while ((size = getline(&line, &room, file)) > 0) {
        if (!first) buf_put_byte(json, ',');
        buf_put(json, line, (size_t)size);
        first = false;
    }
    free(line);
    return ferror(file) ? fault_errno(fault, errno, "what the specs say cannot be read") : 0;
}

static void book_tell_failed(uint64_t failed, bool shows_failed)
{
    const char *what = failed == 1 ? "it is shown as failing" : "they are shown as failing";
    if (!shows_failed) what = failed == 1 ? "what it says is left out" : "what they say is left out";
    fprintf(stderr, "lore: %llu %s: %s (lore test says why)\n", (unsigned long long)failed,
            failed == 1 ? "spec fails" : "specs fail", what);
}

static int book_run_specs(const struct cli *cli, const char *record, bool shows_failed, struct buf *json,
                          struct fault *fault)
{
    struct specs specs = {.record = record};
    int done = specs_run(cli->scripts, SLICE_NONE, &specs, fault);
    if (done == 0 && specs.failed) book_tell_failed(specs.failed, shows_failed);
    FILE *file = done == 0 && specs.ran ? fopen(record, "r") : NULL;
    if (done == 0 && specs.ran && !file) done = fault_errno(fault, errno, "%s", record);
    if (file) {
        done = book_put_lines(file, json, fault);
        fclose(file);
    }
    specs_release(&specs);
    return done;
}

/* The specs write into a file of ours, which has a name as long as they run. */
static int book_put_scenarios(const struct cli *cli, bool shows_failed, struct buf *json, struct fault *fault)
{
    const char *folder = getenv("TMPDIR");
    struct buf path = {0};
    buf_format(&path, "%s/lore-specs-XXXXXX%c", folder && *folder ? folder : "/tmp", 0);
    int fd = mkstemp(path.data), done;
    if (fd < 0) {
        done = fault_errno(fault, errno, "%s", path.data);
    } else {
        close(fd);
        done = book_run_specs(cli, path.data, shows_failed, json, fault);
        unlink(path.data);
    }
    buf_release(&path);
    return done;
}

/* A folder named after what it is about, or the one it lies in: "shop" of "shop/scripts". */
static void book_put_title(const char *scripts, struct buf *json)
{
    char *path = realpath(scripts, NULL);
    char *name = path ? strrchr(path, '/') : NULL;
    if (name && name > path && strcmp(name, "/scripts") == 0) {
        *name = 0;
        name = strrchr(path, '/');
    }
    json_put_text_member(json, "title", slice_of(name && name[1] ? name + 1 : "lore"));
    free(path);
}

static bool book_declares(const struct source *source)
{
    static const char *const words[] = {"aggregate", "projection", "receptor", "service", "task"};
    struct tokens tokens;
    bool declares = false;
    if (!tokens_read(source->text, &tokens)) return false;
    for (size_t at = 1; at < tokens.count && !declares; at++) {
        if (tokens.items[at].kind != TOKEN_STRING || tokens.items[at - 1].kind != TOKEN_NAME) continue;
        declares = tokens_is_contracts(&tokens, at);
        for (size_t word = 0; word < sizeof words / sizeof *words; word++)
            declares = declares || token_is(&tokens.items[at - 1], words[word]);
    }
    tokens_release(&tokens);
    return declares;
}

bool book_is_context(const struct sources *sources)
{
    bool is_context = false;
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        bool declares = book_declares(source);
        if (declares && source->kind == SOURCE_DECLARATION) return false;
        is_context = is_context || (declares && source->kind == SOURCE_SHARED);
    }
    return is_context;
}

static int book_write(const struct cli *cli, const struct book_order *order, const struct sources *sources,
                      const struct domain *domain, struct fault *fault)
{
    struct buf json = {0};
    buf_put_byte(&json, '{');
    book_put_title(cli->scripts, &json);
    json_put_text_member(&json, "scripts", slice_of(cli->scripts));
    json_put_name(&json, "description");
    domain_describe(domain, &json);
    buf_format(&json, ",\"options\":{%.*s},\"scenarios\":[", SLICE_ARGS(order->options));
    int done = order->with_specs ? book_put_scenarios(cli, order->shows_failed, &json, fault) : 0;
    buf_put_text(&json, "]}");
    struct scribe_job job = {.program = order->program,
                             .sources = sources,
                             .input = buf_slice(&json),
                             .write = order->write,
                             .draw = order->draw,
                             .user = order->user};
    if (done == 0) done = scribe_run(&job, fault);
    buf_release(&json);
    return done;
}

int book_run(const struct cli *cli, const struct book_order *order)
{
    struct fault fault;
    struct sources *sources = NULL;
    struct domain *domain = NULL;
    struct buf errors = {0};
    int done = sources_read(cli->scripts, &sources, &fault);
    if (done == 0) {
        struct domain_options options = {.sources = sources};
        done = domain_open(&options, &domain, &errors, &fault);
        if (done < 0) cli_tell_errors(&errors, cli->scripts, &fault);
    }
    if (done == 0) done = book_write(cli, order, sources, domain, &fault);
    domain_close(domain);
    if (sources) sources_free(sources);
    buf_release(&errors);
    return done < 0 ? cli_fail(&fault) : CLI_OK;
}

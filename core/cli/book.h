/* book.h: what is known of a scripts folder, given to a program of the prelude that writes about it
 * (vm/scribe.h).
 *
 *     struct book_order order = {.program = "openapi", .with_specs = true, .write = book_print};
 *     return book_run(cli, &order);
 *
 * The program's input is {"title","scripts","description":{…},"scenarios":[…],"options":{…}}: the description
 * as lore check --json prints it, scenarios as lore test --record writes them, options as the order gives
 * them.
 *
 * Threads: one. Owns: nothing afterwards. */
#ifndef LORE_CLI_BOOK_H
#define LORE_CLI_BOOK_H

#include "cli/cli.h"
#include "vm/sources.h"

struct book_order {
    const char *program;
    bool with_specs;      /* run the specs beside the folder, if there are any, and tell how they went */
    bool shows_failed;    /* what is written shows the specs that fail, too */
    struct slice options; /* JSON members without braces: "format":"dot" */
    int (*write)(void *user, struct slice path, struct slice text, struct fault *fault);
    int (*draw)(void *user, struct slice dot, struct buf *svg, struct fault *fault);
    void *user;
};

/* Loads cli->scripts, runs the specs and the program. Returns an exit code; what is wrong was told. */
int book_run(const struct cli *cli, const struct book_order *order);

/* Whether the folder looks like one context: files in it declare, files of its own folders do not. */
bool book_is_context(const struct sources *sources);

/* Prints {"out":…,"files":…}, or text (with a newline behind it) where no JSON is asked for. */
void book_tell_files(const struct cli *cli, const char *out, size_t files, const char *text);

/* For order.write: to stdout. */
int book_print(void *user, struct slice path, struct slice text, struct fault *fault);
/* For order.draw: by Graphviz. */
int book_draw(void *user, struct slice dot, struct buf *svg, struct fault *fault);

#endif

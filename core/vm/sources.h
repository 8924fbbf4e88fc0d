/* sources.h: the scripts folder, read once; many Lua states load from one struct sources.
 *
 *     scripts/<context>/<name>.lua          loaded in every state (kind SOURCE_DECLARATION)
 *     scripts/<context>/<sub>/<name>.lua    on demand only (SOURCE_ON_DEMAND): imports
 *     scripts/<name>.lua                    modules for require by every context, and hub.lua (SOURCE_SHARED)
 *
 * Threads: immutable after sources_read. Owns: every text. */
#ifndef LORE_VM_SOURCES_H
#define LORE_VM_SOURCES_H

#include "base/fault.h"
#include "base/hash.h"
#include "base/slice.h"

enum {
    SOURCES_TEXT_SIZE_MAX = 4 << 20
}; /* a script of megabytes is data in the wrong place; and every state
      compiles it anew */

enum source_kind { SOURCE_DECLARATION, SOURCE_ON_DEMAND, SOURCE_SHARED };

struct source {
    enum source_kind kind;
    struct slice path;    /* relative to the folder: "billing/bill.lua"; NUL-terminated */
    struct slice context; /* "billing"; empty for SOURCE_SHARED */
    struct slice text;
    struct hash tokens; /* of its tokens: neither comments nor layout change it; of the text if it does not
                           even lex */
};

struct sources;

/* Reads every .lua file below dir (hidden ones and links that leave dir are skipped). Faults: NOT_FOUND,
 * PERMISSION, TOO_LARGE, MALFORMED (a context's name that is not allowed), each naming the path and what to
 * do. */
int sources_read(const char *dir, struct sources **sources, struct fault *fault);
/* The same from memory, for tests: pairs of path and text, NULL at the end. */
struct sources *sources_of(const char *const *paths_and_texts);
/* From texts that sources_read once gave, in any order, each path once. dir is only what sources_dir tells.
 * path and text are copied. */
struct source_text {
    struct slice path, text;
};
struct sources *sources_of_texts(const char *dir, const struct source_text *texts, size_t count);
/* The same of texts from outside: they must be what a scripts folder could have held. Faults: MALFORMED (a
 * path that leaves the folder, is hidden or no .lua file; a context's name), TOO_LARGE, each naming the path.
 */
int sources_make(const char *dir, const struct source_text *texts, size_t count, struct sources **sources,
                 struct fault *fault);
void sources_free(struct sources *sources);
size_t sources_count(const struct sources *sources);
const struct source *sources_at(const struct sources *sources, size_t index); /* in order of path */
const struct source *sources_find(const struct sources *sources, struct slice path);
const char *sources_dir(const struct sources *sources); /* as given; errors at load name files as dir/path,
                                                           those of calls as path */
struct hash
sources_digest(const struct sources *sources); /* over all paths and texts: has anything changed? */

#endif

/* site.h: a folder of files that a program writes anew as a whole.
 *
 *     struct site site;
 *     if (site_begin(&site, "./site", false, &fault) < 0) ...
 *     site_put(&site, path, text, &fault);           for each file
 *     site_end(&site, &fault);                       or site_abort(&site)
 *
 * Files go into a new folder beside it, which then takes its place in one step. A folder of that name is
 * replaced only if site_end made it (SITE_MARK lies in it) or if it is empty; with force, any, and what was
 * there is kept as DIR.before.
 *
 * Threads: one. Owns: its paths. */
#ifndef LORE_CLI_SITE_H
#define LORE_CLI_SITE_H

#include "base/buf.h"
#include "base/fault.h"

#define SITE_MARK ".lore-docs"

struct site {
    struct buf path, made; /* the folder, and the new one beside it; each ends with a NUL */
    bool foreign;          /* what is there was made by somebody else: it is kept */
    size_t files;
};

/* Faults: CONFLICT (the folder is somebody else's), and those of the disk. */
int site_begin(struct site *site, const char *dir, bool force, struct fault *fault);
int site_put(struct site *site, struct slice path, struct slice text, struct fault *fault);
/* Both release it. After a fault what was there is there still. */
int site_end(struct site *site, struct fault *fault);
void site_abort(struct site *site);

#endif

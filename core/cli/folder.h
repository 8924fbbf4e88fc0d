/* folder.h: tells when something in a folder or below it may have changed.
 *
 *     struct folder *folder = folder_open("./scripts", loop, on_change, user);
 *     folder_close(folder);
 *
 * DESIGN. The kernel tells of one directory, not of those below it, so each has a watcher of its own, and so
 * has the one above the folder, for a folder that is deleted and made again. What an event says is not
 * believed: editors save by truncating, by renaming, in several steps. Any event means that something may
 * have changed; when it has been quiet for a moment the directories are looked for anew (before `changed` is
 * called, so that nothing that is then read is missed later) and whoever asked looks for himself. Since
 * events can be lost (a full queue, network file systems, no watchers left), it is called from time to time
 * without one.
 *
 * Hidden directories and links that leave the folder are not watched, as sources_read skips them.
 *
 * Threads: the loop's. Owns: its watchers; freed when the loop has closed them. */
#ifndef LORE_CLI_FOLDER_H
#define LORE_CLI_FOLDER_H

#include <stdbool.h>

#include <uv.h>

struct folder;

enum {
    FOLDER_QUIET_MS = 60,     /* between the last event and the look */
    FOLDER_PATIENCE_MS = 500, /* who never stops writing is looked at all the same */
    FOLDER_LOOK_AGAIN_MS = 10000
};

/* The folder need not be there. changed: event is false if only time passed. */
struct folder *folder_open(const char *path, uv_loop_t *loop, void (*changed)(void *user, bool event),
                           void *user);
void folder_close(struct folder *folder); /* NULL: nothing */

#endif

/* redeploy.h: a hub that is served deploys its scripts folder again: at SIGHUP, and with --watch when it was
 * saved.
 *
 *     struct redeploy_options options = {.loop = &loop, .hub = &hub, .scripts = "./scripts", .watch = true};
 *     struct redeploy *redeploy = redeploy_open(&options);        before the hub, which reads the folder as
 * well hub_open(..., &hub, ...); uv_run(&loop); redeploy_stop(redeploy); begins nothing any more
 *     hub_close(hub);                                             answers what was begun
 *     redeploy_close(redeploy);
 *
 *   event or SIGHUP ─► read the folder, run its specs (a worker thread) ─► hub_deploy ─► say what it came to
 *
 * One look at a time; what comes meanwhile is looked at behind it. What was tried once is not tried again
 * until the folder holds something else (or the specs do, if it failed by them); at first that is what the
 * folder held when this was opened, which the hub's start deals with. The gate is the quick one, without a
 * replay. What runs goes on running where the folder is broken, half saved or refused. A script that is
 * suddenly empty or gone may be on its way to the disk: the folder is looked at a second time before it is
 * believed.
 *
 * Threads: the loop's. Owns: its handles, the order under way. */
#ifndef LORE_CLI_REDEPLOY_H
#define LORE_CLI_REDEPLOY_H

#include <uv.h>

#include "run/hub.h"

struct redeploy;

struct redeploy_options {
    uv_loop_t *loop;
    struct hub *const *hub; /* may come to be another one; while it is NULL nothing is deployed */
    const char *scripts;    /* copied */
    bool watch;             /* when it was saved; else at SIGHUP only */
};

struct redeploy *redeploy_open(const struct redeploy_options *options);
void redeploy_stop(struct redeploy *redeploy);
/* After the hub was closed. Freed when the loop has closed its handles. NULL: nothing, also to stop. */
void redeploy_close(struct redeploy *redeploy);

#endif

/* launch.h: what a hub starts with. It runs what is recorded: a restart deploys the scripts folder only if
 * the folder differs from what was last deployed from it, undone or not.
 *
 *   1. launch_read     the folder, before the data directory is touched: a folder that cannot be loaded makes
 * no directory; where there is one, the recorded deploy runs and the errors are told
 *   2. launch_choose   with the log open: the release that runs at first
 *   3. launch_deploy   with everything running: the folder, as every other deploy
 *
 * For hub.c only. Threads: the caller's. Owns: the folder's release until it runs. */
#ifndef LORE_RUN_LAUNCH_H
#define LORE_RUN_LAUNCH_H

#include "run/hub.h"
#include "run/release.h"

struct launch {
    struct hub *hub;
    char *folder;           /* absolute */
    struct release *loaded; /* of the folder; NULL: it could not be */
    struct fault fault;     /* then */
    bool is_due;            /* it is to be deployed */
    bool is_recorded;       /* the folder is not looked at where a deploy is recorded */
};

int launch_read(struct launch *launch, struct hub *hub, const struct hub_options *options,
                struct fault *fault);
int launch_choose(struct launch *launch, struct fault *fault);
int launch_deploy(struct launch *launch, struct fault *fault);
void launch_release(struct launch *launch);

#endif

/* flows.h: what really flowed, counted in the log of a hub.
 *
 *     struct buf json = {0};
 *     if (flows_count(client, "main", &json, &fault) < 0) ...
 *
 * Threads: one. Owns: nothing afterwards. */
#ifndef LORE_CLI_FLOWS_H
#define LORE_CLI_FLOWS_H

#include "cli/client.h"

/* Appends [{"cause"?,"actor","target","event","derived"?,"events","commands"}]: events of one type
 * (context.Type) that one aggregate or service (target, context/name) recorded for one actor, caused by
 * events of one type; and how many commands that were; derived: of commands and facts whose ids were derived,
 * as those of imports' rows. One pass over the tenant's log. */
int flows_count(struct client *client, const char *tenant, struct buf *json, struct fault *fault);

#endif

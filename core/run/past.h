/* past.h: the threads that answer for documents in the past, each with a domain of its own.
 *
 *   hub_query_past ─► quick ── one key that is an id: its streams ──────────────────────────► done
 *                       └────► slow ── a scan; or all of a view, in a temporary folder ─────► done
 *
 * So a document of a few events never waits for a scan. The slow one takes one question after another and is
 * nice: commands go first.
 *
 * Threads: any. Owns: the folders until they are released. */
#ifndef LORE_RUN_PAST_H
#define LORE_RUN_PAST_H

#include "run/hub.h"

struct past;

struct past *past_start(struct hub *hub);
/* Ends what runs (UNAVAILABLE); answers what it took. */
void past_stop(struct past *past);
void past_free(struct past *past);
/* A line of lore status for what the slow thread does. */
void past_status(struct past *past, struct buf *ndjson);

#endif

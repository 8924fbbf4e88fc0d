/* blame.h: who made it: of an event, the last commits of a stream, or a document: which deploy, file and
 * line, which command, and what caused that.
 *
 *     blame_collect(engine, &hub->stopping, &query, &query.json, &query.fault);
 *
 * Appends {"view"?,"key"?,"known"?,"blame":[ … ]}, newest first, each
 *
 *   {"stream","kind":"command|import","time","actor"?,"correlation"?,
 *    "deploy":{number, time, actor, note, folder, state, ...; of one without a record only the number},
 *    "commands":[{"type","id","data"?,"handler"?:{"path","line"}}],
 *    "events":[{"id","type","version","position","at","data"?,"asked"?:true}],
 *    "causes"?:[ nodes of a trace, the nearest first ],"error"?}
 *
 * Data and causes come with one event or document, not with the commits of a stream. Line and path are those
 * of the handler in the scripts that were deployed then, which are loaded for it; "error" says why they
 * cannot be.
 *
 * Which event last touched a document is certain where its projection is keyed. One by the ids of its streams
 * is looked up in the index, one by a function by asking the function about the events of the log, from the
 * last one back. For a free-style projection the last event that it handled is told, and "known" says so.
 *
 * Threads: any that called domain_thread_start. Owns: nothing. */
#ifndef LORE_RUN_BLAME_H
#define LORE_RUN_BLAME_H

#include <stdatomic.h>

#include "run/hub.h"

/* Faults: NOT_FOUND, UNAVAILABLE (stopping becomes true), CORRUPT, SCRIPTS. */
int blame_collect(struct engine *engine, const atomic_bool *stopping, const struct blame_query *query,
                  struct buf *json, struct fault *fault);

#endif

/* body.h: the body of POST: one command {"type","data","id"?} or an array of them.
 *
 * Threads: any. Owns: nothing; what it fills lives in the command's arena. */
#ifndef LORE_NET_BODY_H
#define LORE_NET_BODY_H

#include "base/buf.h"
#include "base/fault.h"
#include "run/command.h"

/* Fills items. scratch: any buf, its content is lost. Faults: MALFORMED (naming the member), TOO_LARGE (more
 * than count_max commands). */
int body_read_commands(struct slice json, size_t count_max, struct buf *scratch, struct command *command,
                       struct fault *fault);

/* One line of a bulk body: {"stream","type","data","id"?,"version"?}; for imports also "at" (when it
 * happened), and "event" in place of "type": a fact to record, nothing to decide. For what is sent again:
 * "commands", an array in place of type and data, which is one transaction (id is then that of the whole),
 * "correlation" and "causation". Fills all of the request but the tenant. Faults: MALFORMED, naming the
 * member. */
int body_read_line(struct slice json, struct buf *scratch, struct command *command, struct fault *fault);

/* If-Match: "5". Empty text: any version. Fault: MALFORMED. */
int body_read_version(struct slice if_match, int64_t *version, struct fault *fault);
/* An id out of a header, with or without quotes around it. Fault: MALFORMED naming the header. */
int body_read_id(struct slice text, const char *header, struct arena *arena, struct slice *id,
                 struct fault *fault);
/* Content-Type: application/json, of the form application/x+json, none at all, or what clients send when
 * nobody said: then the body decides. False for what is plainly something else. */
bool body_is_json(struct slice content_type);
/* The same for bulk bodies, which may say application/x-ndjson as well. */
bool body_is_lines(struct slice content_type);

#endif

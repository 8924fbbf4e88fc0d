/* excerpt.h: errors at load together with the line of source that they are about.
 *
 *     billing/bill.lua:12: unknown global 'amuont': did you mean amount?
 *         state.sum = state.sum + amuont
 *
 * Takes the texts that domain_open gives: "dir/path:line: message" each in a line of its own. The lines are
 * those of sources, not of the disk, where somebody may be typing. Threads: any. Owns: nothing. */
#ifndef LORE_VM_EXCERPT_H
#define LORE_VM_EXCERPT_H

#include "base/buf.h"
#include "vm/sources.h"

/* As above, for people. */
void excerpt_put_text(struct slice errors, const struct sources *sources, struct buf *out);
/* An array of {"file":"billing/bill.lua","line":12,"message":"…","text":"state.sum = …"}: file is the path in
 * the folder; without a place in sources only the message is there. Returns their number. */
size_t excerpt_put_json(struct slice errors, const struct sources *sources, struct buf *json);

#endif

/* index_mark.h: data/index/mark, one line: log id, boot id, clean or dirty, CRC-32. Says whether the files
 * beside it may be trusted: they are written without fsync, so a crash of the machine may tear them, a killed
 * process cannot. Threads: one at a time. */
#ifndef LORE_STORE_INDEX_MARK_H
#define LORE_STORE_INDEX_MARK_H

#include <stdbool.h>

#include "base/fault.h"

enum index_mark { MARK_NONE, MARK_DAMAGED, MARK_OTHER_LOG, MARK_TORN, MARK_DIRTY, MARK_CLEAN };

/* MARK_TORN: dirty, and written in another boot. DIRTY: by a process of this boot that did not close it, or
 * runs still. */
enum index_mark index_mark_read(const char *path, const char *log_id);
/* Durable when it returns. */
int index_mark_write(const char *path, const char *log_id, bool clean, struct fault *fault);

#endif

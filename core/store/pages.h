/* pages.h: walks the pages of an LMDB 0.9 data file (64 bit) by itself, without LMDB, and says whether they
 * make sense.
 *
 *     struct pages_report report;
 *     if (pages_check("data/log/data.mdb", &report, &fault) == 0 && !report.ok) say_error("%s",
 * report.damage);
 *
 * LMDB trusts its pages: a damaged one can crash the reader. This reader trusts nothing, so it can be asked
 * before LMDB opens the file. It sees all structure of the last commit (meta pages, trees, free list, each
 * page exactly once); what it cannot see is damage inside keys that leaves their order, and inside values:
 * those need checksums of their own.
 *
 * Beside a process that writes, hold a read transaction of the environment open meanwhile: it keeps the pages
 * of later commits from being reused under the walk.
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_STORE_PAGES_H
#define LORE_STORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

struct pages_report {
    bool ok;
    uint64_t pages;     /* of the file as of the last commit, the two meta pages included */
    uint64_t reachable; /* in trees, overflow pages included */
    uint64_t free;      /* in the free list */
    char damage[512];   /* page and what; empty if ok */
};

/* -1: the file could not be read at all (NOT_FOUND, PERMISSION, DISK); damage is no fault but a report that
 * is not ok. */
int pages_check(const char *data_mdb_path, struct pages_report *report, struct fault *fault);

#endif

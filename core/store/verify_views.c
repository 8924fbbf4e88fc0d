/* Views, snapshots and timers: derived, so what is found there is mended by a rebuild. */
#include <dirent.h>
#include <stdio.h>

#include "store/docs.h"
#include "store/pages.h"
#include "store/snaps.h"
#include "store/timers.h"
#include "store/verify_inside.h"

/* Whether the pages of the file make sense, or there is none; else *report says what is wrong. */
static bool pages_fine(const char *directory, struct pages_report *report)
{
    char file[4200];
    snprintf(file, sizeof file, "%s/data.mdb", directory);
    *report = (struct pages_report){.ok = true};
    return pages_check(file, report, NULL) < 0 || report->ok;
}

static void verify_view(const struct verify_part *part, const char *name, struct verify_report *counts)
{
    char path[4096];
    struct docs *docs;
    struct docs_read *pin = NULL;
    struct docs_options options = {.path = path, .read_only = true};
    struct docs_range all = {.tenant = slice_of("pin")};
    struct pages_report report;
    struct fault fault = {0};
    bool dirty = false;
    uint64_t documents = 0;
    snprintf(path, sizeof path, "%s/views/%s", part->path, name);
    bool fine = pages_fine(path, &report);
    if (docs_open(&options, &docs, &dirty, &fault) < 0) {
        if (fine && fault.code == FAULT_NOT_FOUND) return; /* the hub was killed while it made it */
        verify_find(part, 0, "views/%s: %s", name, fine ? fault.text : report.damage);
        return;
    }
    /* Torn by the machine's end: the next start drops it unread. */
    if (!dirty) {
        /* A process that writes may have changed pages under the walk: once more, held still. */
        if (!fine && docs_read_open(docs, &all, &pin, NULL) == 0) fine = pages_fine(path, &report);
        if (pin) docs_read_close(pin);
        if (!fine)
            verify_find(part, 0, "views/%s: %s", name, report.damage);
        else if (docs_check(docs, &documents, &fault) < 0)
            verify_find(part, 0, "views/%s: %s", name, fault.text);
        counts->views++;
        counts->documents += documents;
    }
    docs_close(docs);
}

void verify_views(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    char path[4096];
    snprintf(path, sizeof path, "%s/views", part->path);
    DIR *views = opendir(path);
    struct dirent *entry;
    while (views && (entry = readdir(views)))
        if (entry->d_name[0] != '.') {
            char file[4600];
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            if (verify_has_begun(file)) verify_view(part, entry->d_name, &done.counts);
        }
    if (views) closedir(views);
    verify_say(part, &done);
}

void verify_snapshots(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    char path[4096];
    struct snaps *snaps;
    struct pages_report report;
    struct fault fault = {0};
    uint64_t count;
    snprintf(path, sizeof path, "%s/snapshots", part->path);
    if (verify_has_begun(path)) {
        bool fine = pages_fine(path, &report);
        if (snaps_open(path, true, &snaps, &fault) < 0) {
            verify_find(part, 0, "snapshots: %s", fine ? fault.text : report.damage);
        } else {
            if (snaps_check(snaps, &count, &fault) < 0)
                verify_find(part, 0, "snapshots: %s", fault.text);
            else if (!fine && !pages_fine(path, &report))
                verify_find(part, 0, "snapshots: %s", report.damage);
            snaps_close(snaps);
        }
    }
    verify_say(part, &done);
}

void verify_timers(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    struct pages_report report;
    struct fault fault;
    char path[4096];
    snprintf(path, sizeof path, "%s/timers", part->path);
    if (verify_has_begun(path)) {
        bool fine = pages_fine(path, &report);
        if (timers_check(path, &fault) < 0)
            verify_find(part, 0, "timers: %s", fine ? fault.text : report.damage);
        else if (!fine && !pages_fine(path, &report))
            verify_find(part, 0, "timers: %s", report.damage);
    }
    verify_say(part, &done);
}

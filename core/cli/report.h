/* report.h: what the gate said of a deploy, as a page: what the change does to the data that is there.
 *
 *     struct page page = page_of_stdout(&out);
 *     report_put(&page, &fields);                 fields: the report's JSON, read
 *     if (report_is_refused(&fields)) ...
 *
 * A head line, sections where there is something to say, the verdict in the last line. Members that are not
 * there are not spoken of, so that reports of other versions can be read.
 *
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_REPORT_H
#define LORE_CLI_REPORT_H

#include "cli/fields.h"
#include "cli/page.h"

void report_put(struct page *page, const struct fields *report);
/* Whether the scripts do not load, or the gate refuses them and nobody forced it. */
bool report_is_refused(const struct fields *report);

#endif

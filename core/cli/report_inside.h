/* report_inside.h: between the files that make the page of a deploy. Not for others. */
#ifndef LORE_CLI_REPORT_INSIDE_H
#define LORE_CLI_REPORT_INSIDE_H

#include "cli/report.h"

enum { REPORT_INDENT = 2, REPORT_DETAIL = 4, REPORT_VALUE = 8 /* columns */ };

/* Sections; each is silent where it has nothing to say. */
void report_contracts_put(struct page *page, const struct fields *report);
void report_back_put(struct page *page, const struct fields *report);
void report_views_put(struct page *page, const struct fields *report);
void report_aggregates_put(struct page *page, const struct fields *report);

/* Two values (MessagePack) one below the other, aligned, what differs first and in colour; an empty one is
 * not there:
 *
 *         {"paid":false, "sum":"12.00", "customer":"ada"}
 *       → {"paid":true,  "sum":"3.50",  "customer":"ada"} */
void report_values_put(struct page *page, size_t indent, struct slice before, struct slice after);
/* The same for what was decided (OUTCOME of run/shadow.h). */
void report_outcomes_put(struct page *page, size_t indent, struct slice before, struct slice after);

/* The bytes of a member; empty if it is absent or null. */
struct slice report_member(const struct fields *fields, const char *name);
/* The text at this place of a list of texts; empty behind its end. */
struct slice report_text_at(const struct fields *fields, const char *name, size_t at);
/* "total 38, address.city 2": the member `name`, a map of counts, the greatest first, in a line of its own
 * behind label. */
void report_counts_put(struct page *page, const char *label, const struct fields *fields, const char *name);
/* " (tenant x)", but nothing for the tenant main. */
void report_tenant_put(struct page *page, const struct fields *of);

#endif

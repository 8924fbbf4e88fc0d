#include "codec/cron.h"

#include <stdio.h>
#include <strings.h>

#include "codec/time.h"

static const int64_t DAY_MINUTES = 24 * 60;
static const uint32_t EVERY_HOUR = (1u << 24) - 1;
static const int64_t CRON_LAST = 253086768000LL; /* seconds: 9990-01-01; the calendar ends at 9999 */

struct cron_field {
    const char *name;
    int min, max;
    const char *names; /* three letters each, the first for min */
};

static const struct cron_field cron_fields[] = {
    {"minute", 0, 59, ""},
    {"hour", 0, 23, ""},
    {"day of month", 1, 31, ""},
    {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"day of week", 0, 7, "sunmontuewedthufrisat"},
};
enum { CRON_FIELDS = sizeof cron_fields / sizeof *cron_fields };

/* --- reading --- */

static int cron_wrong(const struct cron_field *field, struct slice part, const char *what,
                      struct fault *fault)
{
    return fault_set(fault, FAULT_MALFORMED, "%s: '%.*s' %s %d-%d%s", field->name,
                     part.size < 40 ? (int)part.size : 40, part.data, what, field->min, field->max,
                     *field->names ? " or a name of three letters" : "");
}

/* A number or a name; -1: neither, or out of range. */
static int cron_value(const struct cron_field *field, struct slice text)
{
    int value = 0;
    if (text.size == 3)
        for (int at = 0; field->names[3 * at]; at++)
            if (strncasecmp(text.data, field->names + (size_t)3 * (size_t)at, 3) == 0) return field->min + at;
    if (text.size < 1 || text.size > 2) return -1;
    for (size_t at = 0; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return -1;
        value = value * 10 + (text.data[at] - '0');
    }
    return value >= field->min && value <= field->max ? value : -1;
}

/* What stands before and behind the first c; false if there is none. */
static bool cron_split(struct slice text, char c, struct slice *before, struct slice *behind)
{
    const char *found = text.size ? memchr(text.data, c, text.size) : NULL;
    *before = text;
    *behind = SLICE_NONE;
    if (!found) return false;
    before->size = (size_t)(found - text.data);
    *behind = slice_make(found + 1, text.size - before->size - 1);
    return true;
}

/* `*`, `7`, `1-5`, `*` `/2`, `1-5/2` */
static int cron_part(const struct cron_field *field, struct slice part, uint64_t *bits, struct fault *fault)
{
    struct slice range, step_text, low_text, high_text;
    int low = field->min, high = field->max, step = 1;
    bool stepped = cron_split(part, '/', &range, &step_text);
    bool ranged = true;
    if (!slice_is(range, "*")) {
        ranged = cron_split(range, '-', &low_text, &high_text);
        low = high = cron_value(field, low_text);
        if (ranged) high = cron_value(field, high_text);
        if (high == 0 && low > 0 && field->max == 7) high = 7; /* fri-sun */
        if (low < 0 || high < 0) return cron_wrong(field, part, "is not in", fault);
        if (low > high) return cron_wrong(field, part, "begins behind its end; the order is", fault);
    } else if (field->max == 7) {
        high = 6;
    }
    if (stepped) {
        struct cron_field steps = {field->name, 1, field->max, ""};
        step = cron_value(&steps, step_text);
        if (!ranged) return cron_wrong(&steps, part, "has a step without a range like", fault);
        if (step < 0) return cron_wrong(&steps, part, "has a step that is not in", fault);
    }
    for (int at = low; at <= high; at += step) *bits |= UINT64_C(1) << at;
    return 0;
}

static int cron_field_read(const struct cron_field *field, struct slice text, uint64_t *bits,
                           struct fault *fault)
{
    struct slice part;
    bool more;
    *bits = 0;
    do {
        more = cron_split(text, ',', &part, &text);
        if (cron_part(field, part, bits, fault) < 0) return -1;
    } while (more);
    return 0;
}

/* Whether one of the months has one of the days. */
static bool cron_can_be(const struct cron *cron)
{
    for (int month = 1; month <= 12; month++)
        for (int day = 1; day <= (int)time_month_days(2000, month); day++)
            if ((cron->months >> month & 1) && (cron->days >> day & 1)) return true;
    return cron->either;
}

int cron_parse(struct slice text, struct cron *cron, struct fault *fault)
{
    struct slice fields[CRON_FIELDS];
    size_t count = 0;
    for (size_t at = 0; at < text.size;) {
        size_t begin = at;
        while (at < text.size && text.data[at] != ' ' && text.data[at] != '\t') at++;
        if (at > begin && count < CRON_FIELDS) fields[count] = slice_make(text.data + begin, at - begin);
        if (at > begin) count++;
        if (at < text.size) at++;
    }
    if (count != CRON_FIELDS)
        return fault_set(fault, FAULT_MALFORMED,
                         "expected five fields (minute, hour, day of month, month, day of week), got %zu",
                         count);
    uint64_t bits[CRON_FIELDS];
    for (size_t at = 0; at < CRON_FIELDS; at++)
        if (cron_field_read(&cron_fields[at], fields[at], &bits[at], fault) < 0) return -1;
    struct cron made = {bits[0],           (uint32_t)bits[1],
                        (uint32_t)bits[2], (uint32_t)bits[3],
                        (uint32_t)bits[4], fields[2].data[0] != '*' && fields[4].data[0] != '*'};
    made.weekdays = (made.weekdays | made.weekdays >> 7) & 0x7f; /* 7 is Sunday */
    if (!cron_can_be(&made))
        return fault_set(fault, FAULT_MALFORMED, "day of month: '%.*s' never comes in month '%.*s'",
                         fields[2].size < 40 ? (int)fields[2].size : 40, fields[2].data,
                         fields[3].size < 40 ? (int)fields[3].size : 40, fields[3].data);
    *cron = made;
    return 0;
}

/* --- the next moment --- */

static int64_t cron_floor(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

static bool cron_day(const struct cron *cron, int64_t days)
{
    int64_t year, month, day;
    time_date(days, &year, &month, &day);
    bool by_date = cron->days >> day & 1;
    bool by_weekday = cron->weekdays >> ((days % 7 + 11) % 7) & 1; /* day 0 was a Thursday */
    return (cron->months >> month & 1) && (cron->either ? by_date || by_weekday : by_date && by_weekday);
}

/* The first minute of local time from `from` on and below `to` that fits, or `to`. */
static int64_t cron_minute(const struct cron *cron, int64_t from, int64_t to)
{
    int64_t days = cron_floor(from, DAY_MINUTES), minute = from - days * DAY_MINUTES;
    for (; days * DAY_MINUTES + minute < to; days++, minute = 0) {
        if (!cron_day(cron, days)) continue;
        for (; minute < DAY_MINUTES; minute++) {
            if (!(cron->hours >> (minute / 60) & 1))
                minute += 59 - minute % 60;
            else if (cron->minutes >> (minute % 60) & 1)
                return days * DAY_MINUTES + minute < to ? days * DAY_MINUTES + minute : to;
        }
    }
    return to;
}

/* Seconds to minutes, upwards. */
static int64_t cron_minutes(int64_t seconds)
{
    return -cron_floor(-seconds, 60);
}

/* The first moment in the span that is not before `from`, or the span's end. Seconds. */
static int64_t cron_in_span(const struct cron *cron, const struct zone_span *span, int64_t from)
{
    if (cron->hours != EVERY_HOUR && span->from != INT64_MIN) {
        int64_t jump = span->offset - span->before; /* > 0: local times left out; < 0: that come twice */
        int64_t left_out_to = cron_minutes(span->from + span->offset);
        if (from <= span->from && jump > 0 &&
            cron_minute(cron, cron_minutes(span->from + span->before), left_out_to) < left_out_to)
            return span->from;
        if (from < span->from - jump) from = span->from - jump;
    }
    if (from < span->from) from = span->from;
    if (from >= span->to) return span->to;
    int64_t end = span->to < CRON_LAST ? span->to : CRON_LAST;
    int64_t last = cron_minutes(end + span->offset);
    int64_t minute = cron_minute(cron, cron_minutes(from + span->offset), last);
    return minute < last ? minute * 60 - span->offset : span->to;
}

int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after_ms)
{
    int64_t from = cron_floor(after_ms, 1000) + 1;
    if (from < 0) from = 0;
    for (int64_t at = from; at < CRON_LAST;) {
        struct zone_span span;
        zone_at(zone, at, &span);
        int64_t found = cron_in_span(cron, &span, from);
        if (found < span.to) return found * 1000;
        at = span.to;
    }
    return INT64_MAX;
}

/* A file of the database is, after a block for readers of 1990: counts, the moments of change, for each the
 * kind that begins with it, the kinds (offset, summer time?, name), names, leap seconds and marks that nobody
 * needs here, and a line of text with the rule that holds behind the last moment
 * ("CET-1CEST,M3.5.0,M10.5.0/3" as in POSIX's TZ). */
#include "codec/zone.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "codec/time.h"

static const int64_t DAY_S = 86400;

enum {
    ZONE_HEADER_SIZE = 44,
    ZONE_FILE_SIZE_MAX = 1 << 20,
    ZONE_CHANGES_MAX = 10000,
    ZONE_NAME_SIZE_MAX = 63
};

struct zone_day { /* of a year, when clocks change */
    char form;    /* 'M': month, week, weekday; 'J': 1-365 without leap days; 'N': 0-365 */
    int month, week, day;
    int64_t time; /* of that day, in seconds of local time until then */
};

struct zone {
    size_t count; /* changes in the table */
    int64_t *at;
    int32_t *offset; /* from each change on */
    int32_t first;   /* before any */
    bool has_rule;   /* summer time goes on behind the table */
    int32_t winter, summer;
    struct zone_day begin, end;
};

/* --- the rule behind the table --- */

struct zone_text {
    const char *at, *end;
};

static bool zone_char(struct zone_text *text, char c)
{
    if (text->at >= text->end || *text->at != c) return false;
    text->at++;
    return true;
}

static bool zone_number(struct zone_text *text, int max, int *value)
{
    const char *begin = text->at;
    *value = 0;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        *value = *value * 10 + (*text->at - '0');
        if (*value > max) return false;
    }
    return text->at > begin;
}

/* [+-]hh[:mm[:ss]] */
static bool zone_clock(struct zone_text *text, int64_t *seconds)
{
    bool negative = zone_char(text, '-');
    if (!negative) zone_char(text, '+');
    int hours, minutes = 0, rest = 0;
    if (!zone_number(text, 167, &hours)) return false;
    if (zone_char(text, ':') &&
        (!zone_number(text, 59, &minutes) || (zone_char(text, ':') && !zone_number(text, 59, &rest))))
        return false;
    *seconds = ((int64_t)hours * 60 + minutes) * 60 + rest;
    if (negative) *seconds = -*seconds;
    return true;
}

/* "CET" or "<+03>". */
static bool zone_name(struct zone_text *text)
{
    const char *begin = text->at;
    if (zone_char(text, '<')) {
        while (text->at < text->end && *text->at != '>') text->at++;
        return zone_char(text, '>');
    }
    while (text->at < text->end && ((*text->at | 32) >= 'a' && (*text->at | 32) <= 'z')) text->at++;
    return text->at > begin;
}

static bool zone_day_of(struct zone_text *text, struct zone_day *day)
{
    if (!zone_char(text, ',')) return false;
    if (zone_char(text, 'M')) {
        day->form = 'M';
        if (!zone_number(text, 12, &day->month) || day->month < 1 || !zone_char(text, '.') ||
            !zone_number(text, 5, &day->week) || day->week < 1 || !zone_char(text, '.') ||
            !zone_number(text, 6, &day->day))
            return false;
    } else {
        day->form = zone_char(text, 'J') ? 'J' : 'N';
        if (!zone_number(text, 365, &day->day) || (day->form == 'J' && day->day < 1)) return false;
    }
    day->time = 7200;
    return !zone_char(text, '/') || zone_clock(text, &day->time);
}

/* An offset in TZ counts westwards. */
static bool zone_rule(struct zone *zone, struct slice line)
{
    struct zone_text text = {line.data, line.data + line.size};
    int64_t offset;
    if (line.size == 0) return true;
    if (!zone_name(&text) || !zone_clock(&text, &offset)) return false;
    zone->winter = (int32_t)-offset;
    if (text.at == text.end) return true;
    zone->summer = zone->winter + 3600;
    if (!zone_name(&text)) return false;
    if (text.at < text.end && *text.at != ',') {
        if (!zone_clock(&text, &offset)) return false;
        zone->summer = (int32_t)-offset;
    }
    zone->has_rule = zone_day_of(&text, &zone->begin) && zone_day_of(&text, &zone->end);
    return zone->has_rule && text.at == text.end;
}

/* When the clocks change by this rule in this year, offset being theirs until then. */
static int64_t zone_change(const struct zone_day *rule, int64_t year, int32_t offset)
{
    int64_t day = time_days(year, 1, 1) + rule->day;
    if (rule->form == 'J') {
        day--;
        if (rule->day >= 60 && time_month_days(year, 2) == 29) day++;
    } else if (rule->form == 'M') {
        int64_t first = time_days(year, rule->month, 1);
        int64_t weekday = (first + 4) % 7; /* 1970-01-01 was a Thursday */
        int64_t of_month = (rule->day - weekday + 7) % 7 + (rule->week - 1) * 7;
        if (of_month >= time_month_days(year, rule->month)) of_month -= 7;
        day = first + of_month;
    }
    return day * DAY_S + rule->time - offset;
}

/* Behind the table: the changes of three years around, in order. */
static void zone_by_rule(const struct zone *zone, int64_t seconds, struct zone_span *span)
{
    int64_t year, month, day;
    time_date(seconds / DAY_S, &year, &month, &day);
    span->from = INT64_MIN;
    for (int64_t at = year - 1; at <= year + 1; at++) {
        int64_t begin = zone_change(&zone->begin, at, zone->winter);
        int64_t end = zone_change(&zone->end, at, zone->summer);
        bool north = begin < end;
        for (int half = 0; half < 2; half++) {
            bool begins = (half == 0) == north;
            int64_t change = begins ? begin : end;
            if (change > seconds) {
                span->to = change;
                return;
            }
            span->from = change;
            span->offset = begins ? zone->summer : zone->winter;
            span->before = begins ? zone->winter : zone->summer;
        }
    }
}

void zone_at(const struct zone *zone, int64_t seconds, struct zone_span *span)
{
    *span = (struct zone_span){INT64_MIN, INT64_MAX, 0, 0};
    if (!zone) return;
    size_t low = 0, high = zone->count; /* changes up to `seconds` */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zone->at[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    int64_t last = INT64_MIN;
    span->offset = span->before = zone->first;
    if (low > 0) {
        last = span->from = zone->at[low - 1];
        span->offset = zone->offset[low - 1];
        span->before = low > 1 ? zone->offset[low - 2] : zone->first;
    }
    if (low < zone->count) {
        span->to = zone->at[low];
    } else if (zone->has_rule && seconds >= 0) {
        struct zone_span known = *span;
        zone_by_rule(zone, seconds, span);
        if (span->from <= last) {
            span->from = known.from;
            span->before = known.before;
        }
    }
}

/* --- the file --- */

static int64_t zone_big_endian(const uint8_t *at, int size)
{
    uint64_t value = at[0] & 0x80 ? UINT64_MAX : 0;
    for (int n = 0; n < size; n++) value = value << 8 | at[n];
    return (int64_t)value;
}

struct zone_counts {
    size_t utc_marks, wall_marks, leaps, changes, kinds, names;
};

/* Reads a header; the size of the block behind it with moments of so many bytes. */
static bool zone_header(const uint8_t *at, size_t left, size_t moment, struct zone_counts *counts,
                        size_t *size)
{
    if (left < ZONE_HEADER_SIZE || memcmp(at, "TZif", 4) != 0 || at[4] < '2') return false;
    size_t *each[] = {&counts->utc_marks, &counts->wall_marks, &counts->leaps,
                      &counts->changes,   &counts->kinds,      &counts->names};
    for (size_t n = 0; n < 6; n++) {
        int64_t count = zone_big_endian(at + 20 + 4 * n, 4);
        if (count < 0 || count > ZONE_CHANGES_MAX) return false;
        *each[n] = (size_t)count;
    }
    *size = counts->changes * (moment + 1) + counts->kinds * 6 + counts->names +
            counts->leaps * (moment + 4) + counts->wall_marks + counts->utc_marks;
    return counts->kinds > 0 && left - ZONE_HEADER_SIZE >= *size;
}

static bool zone_table(struct zone *zone, const uint8_t *at, const struct zone_counts *counts)
{
    const uint8_t *kind_of = at + counts->changes * 8;
    const uint8_t *kinds = kind_of + counts->changes;
    zone->count = counts->changes;
    zone->at = mem_alloc(zone->count * sizeof *zone->at + 1);
    zone->offset = mem_alloc(zone->count * sizeof *zone->offset + 1);
    for (size_t n = 0; n < counts->kinds; n++) {
        int64_t offset = zone_big_endian(kinds + 6 * n, 4);
        if (offset < -26 * 3600 || offset > 26 * 3600) return false;
    }
    zone->first = (int32_t)zone_big_endian(kinds, 4);
    for (size_t n = 0; n < zone->count; n++) {
        zone->at[n] = zone_big_endian(at + 8 * n, 8);
        if (kind_of[n] >= counts->kinds || (n > 0 && zone->at[n] <= zone->at[n - 1])) return false;
        zone->offset[n] = (int32_t)zone_big_endian(kinds + 6 * (size_t)kind_of[n], 4);
    }
    return true;
}

static bool zone_read(struct zone *zone, struct slice bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.data, *end = at + bytes.size;
    struct zone_counts counts;
    size_t size;
    if (!zone_header(at, bytes.size, 4, &counts, &size)) return false;
    at += ZONE_HEADER_SIZE + size;
    if (!zone_header(at, (size_t)(end - at), 8, &counts, &size)) return false;
    at += ZONE_HEADER_SIZE;
    if (!zone_table(zone, at, &counts)) return false;
    at += size;
    if (end - at < 2 || *at != '\n' || end[-1] != '\n') return false;
    return zone_rule(zone, slice_make(at + 1, (size_t)(end - at) - 2));
}

int zone_parse(struct slice bytes, struct zone **zone, struct fault *fault)
{
    struct zone *made = MEM_NEW(struct zone);
    if (!zone_read(made, bytes)) {
        zone_free(made);
        return fault_set(fault, FAULT_CORRUPT, "not a file of the time zone database (TZif of version 2 on)");
    }
    *zone = made;
    return 0;
}

/* Area/Place: nothing that leaves the database's folder. */
static bool zone_is_name(struct slice name)
{
    if (name.size == 0 || name.size > ZONE_NAME_SIZE_MAX) return false;
    bool begins = true; /* of a part: it begins with a letter */
    for (size_t at = 0; at < name.size; at++) {
        char c = name.data[at], low = (char)(c | 32);
        bool letter = low >= 'a' && low <= 'z';
        bool other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
        if (!letter && (begins || !other)) return false;
        begins = c == '/';
    }
    return !begins;
}

int zone_open(struct slice name, struct zone **zone, struct fault *fault)
{
    if (slice_is(name, "UTC")) {
        *zone = MEM_NEW(struct zone);
        return 0;
    }
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s",
             name.size <= ZONE_NAME_SIZE_MAX ? (int)name.size : 0, name.data ? name.data : "");
    FILE *file = zone_is_name(name) ? fopen(path, "rbe") : NULL;
    if (!file)
        return fault_set(fault, FAULT_NOT_FOUND, "no time zone %.*s: they are named like Europe/Berlin",
                         name.size < 80 ? (int)name.size : 80, name.data ? name.data : "");
    struct buf bytes = {0};
    char *room = buf_room(&bytes, ZONE_FILE_SIZE_MAX);
    bytes.size = fread(room, 1, ZONE_FILE_SIZE_MAX, file);
    fclose(file);
    int done = zone_parse(buf_slice(&bytes), zone, fault);
    buf_release(&bytes);
    if (done < 0) fault_set(fault, FAULT_CORRUPT, "%s: not a file of the time zone database", path);
    return done;
}

void zone_free(struct zone *zone)
{
    if (!zone) return;
    mem_free(zone->at);
    mem_free(zone->offset);
    mem_free(zone);
}

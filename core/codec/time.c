#include "codec/time.h"

#include "base/check.h"

static const int64_t DAY_MS = 86400000;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Days are counted from 1970-01-01 in the proleptic Gregorian calendar; a year is taken to begin in
 * March, so that the leap day is its last. */

int64_t time_days(int64_t year, int64_t month, int64_t day)
{
    if (month <= 2) year--;
    int64_t era = year / 400; /* year >= 0 here, since years begin at 1 */
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void time_date(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 719468; /* days since 0000-03-01: never negative from year 1 on */
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
    *day = day_of_year - (153 * march_month + 2) / 5 + 1;
}

int64_t time_month_days(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* Exactly count digits; moves *at. */
static bool take_digits(const char **at, const char *end, int count, int64_t *value)
{
    if (end - *at < count) return false;
    *value = 0;
    for (int n = 0; n < count; n++, (*at)++) {
        if (!is_digit(**at)) return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool take_char(const char **at, const char *end, char c)
{
    if (*at >= end || **at != c) return false;
    (*at)++;
    return true;
}

static bool take_date(const char **at, const char *end, int64_t *ms)
{
    int64_t year, month, day;
    if (!take_digits(at, end, 4, &year) || !take_char(at, end, '-') || !take_digits(at, end, 2, &month) ||
        !take_char(at, end, '-') || !take_digits(at, end, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > time_month_days(year, month)) return false;
    *ms = time_days(year, month, day) * DAY_MS;
    return true;
}

/* hh:mm[:ss[.fraction]] */
static bool take_clock(const char **at, const char *end, int64_t *ms)
{
    int64_t hour, minute, second = 0, fraction = 0;
    if (!take_digits(at, end, 2, &hour) || !take_char(at, end, ':') || !take_digits(at, end, 2, &minute))
        return false;
    if (take_char(at, end, ':')) {
        if (!take_digits(at, end, 2, &second)) return false;
        if (take_char(at, end, '.')) {
            int digits = 0;
            for (; *at < end && is_digit(**at); (*at)++, digits++)
                if (digits < 3) fraction = fraction * 10 + (**at - '0');
            if (digits == 0) return false;
            for (; digits < 3; digits++) fraction *= 10;
        }
    }
    if (hour > 23 || minute > 59 || second > 59) return false;
    *ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
    return true;
}

static bool take_offset(const char **at, const char *end, int64_t *ms)
{
    *ms = 0;
    if (take_char(at, end, 'Z')) return true;
    bool west = *at < end && **at == '-';
    if (!west && (*at >= end || **at != '+')) return false;
    (*at)++;
    int64_t hour, minute;
    if (!take_digits(at, end, 2, &hour) || !take_char(at, end, ':') || !take_digits(at, end, 2, &minute) ||
        hour > 23 || minute > 59)
        return false;
    *ms = (hour * 60 + minute) * (west ? -60000 : 60000);
    return true;
}

bool time_parse(struct slice text, int64_t *ms)
{
    if (text.size < 10) return false;
    const char *at = text.data, *end = text.data + text.size;
    int64_t date, clock = 0, offset = 0;
    if (!take_date(&at, end, &date)) return false;
    if (at < end &&
        (!take_char(&at, end, 'T') || !take_clock(&at, end, &clock) || !take_offset(&at, end, &offset)))
        return false;
    int64_t result = date + clock - offset;
    if (at != end || !time_valid(result)) return false;
    *ms = result;
    return true;
}

bool time_valid(int64_t ms)
{
    return ms >= -62135596800000LL && ms <= 253402300799999LL; /* 0001-01-01 to 9999-12-31 */
}

static char *put_digits(char *to, int64_t value, int count)
{
    for (int at = count - 1; at >= 0; at--, value /= 10) to[at] = (char)('0' + value % 10);
    return to + count;
}

void time_format(int64_t ms, char text[TIME_TEXT_SIZE + 1])
{
    CHECK(time_valid(ms));
    int64_t days = ms / DAY_MS, clock = ms % DAY_MS;
    if (clock < 0) clock += DAY_MS, days--;
    int64_t year, month, day;
    time_date(days, &year, &month, &day);
    char *to = put_digits(text, year, 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    to = put_digits(to, day, 2);
    *to++ = 'T';
    to = put_digits(to, clock / 3600000, 2);
    *to++ = ':';
    to = put_digits(to, clock / 60000 % 60, 2);
    *to++ = ':';
    to = put_digits(to, clock / 1000 % 60, 2);
    *to++ = '.';
    to = put_digits(to, clock % 1000, 3);
    *to++ = 'Z';
    *to = 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Days are counted as in Hinnant 2013, "chrono-compatible low-level date algorithms": years that
 * begin in March, so that the day that comes and goes is the last one. */
#include "base/time.h"
#include "base/limits.h"

#include <stdio.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)

static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

struct cursor {
    const char *at, *end;
};

/* Exactly so many digits; -1 where there are fewer. */
static int digits(struct cursor *c, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        if (c->at == c->end || *c->at < '0' || *c->at > '9')
            return -1;
        value = value * 10 + (*c->at++ - '0');
    }
    return value;
}

static bool take(struct cursor *c, const char *any)
{
    if (c->at == c->end)
        return false;
    for (; *any; any++) {
        if (*c->at == *any) {
            c->at++;
            return true;
        }
    }
    return false;
}

static heed_status parse_date(struct cursor *c, int64_t *days)
{
    int year = digits(c, 4), month = 0, day = 0;

    if (year < 0 || !take(c, "-") || (month = digits(c, 2)) < 0 || !take(c, "-") ||
        (day = digits(c, 2)) < 0)
        return hd_fail(HEED_E_FORMAT, "not a date like 2026-11-20T10:40:54Z");
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return hd_fail(HEED_E_FORMAT, "there is no day %04d-%02d-%02d", year, month, day);
    *days = days_from_civil(year, month, day);
    return HEED_OK;
}

static heed_status parse_clock(struct cursor *c, int64_t *ms)
{
    int hour = digits(c, 2), minute = 0, second = 0;
    int64_t fraction = 0;

    if (hour < 0 || !take(c, ":") || (minute = digits(c, 2)) < 0 || !take(c, ":") ||
        (second = digits(c, 2)) < 0)
        return hd_fail(HEED_E_FORMAT, "not a time of day like 10:40:54");
    if (hour > 23 || minute > 59 || second > 60)
        return hd_fail(HEED_E_FORMAT, "there is no time %02d:%02d:%02d", hour, minute, second);
    if (take(c, ".")) {
        int64_t unit = 100;
        if (c->at == c->end || *c->at < '0' || *c->at > '9')
            return hd_fail(HEED_E_FORMAT, "no digits after the seconds' point");
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, unit /= 10)
            fraction += unit * (*c->at - '0');
    }
    *ms = ((hour * INT64_C(60) + minute) * 60 + second) * 1000 + fraction;
    return HEED_OK;
}

static heed_status parse_offset(struct cursor *c, int64_t *ms)
{
    *ms = 0;
    if (take(c, "Zz"))
        return HEED_OK;
    int sign = take(c, "+") ? 1 : take(c, "-") ? -1 : 0, hour = 0, minute = 0;
    if (sign == 0)
        return hd_fail(HEED_E_FORMAT, "no zone: it ends in Z or in an offset like +08:00");
    if ((hour = digits(c, 2)) < 0 || !take(c, ":") || (minute = digits(c, 2)) < 0 || hour > 23 ||
        minute > 59)
        return hd_fail(HEED_E_FORMAT, "not an offset like +08:00");
    *ms = sign * (hour * INT64_C(60) + minute) * 60000;
    return HEED_OK;
}

heed_status hd_time_parse(const char *text, size_t bytes, heed_time *time)
{
    struct cursor c = {text, text + bytes};
    int64_t days = 0, ms = 0, offset = 0;

    HD_TRY(parse_date(&c, &days));
    if (c.at < c.end) {
        if (!take(&c, "Tt "))
            return hd_fail(HEED_E_FORMAT, "no T between the date and the time of day");
        HD_TRY(parse_clock(&c, &ms));
        HD_TRY(parse_offset(&c, &offset));
    }
    if (c.at < c.end)
        return hd_fail(HEED_E_FORMAT, "more text after the time");
    int64_t instant = days * DAY_MS + ms - offset;
    if (instant < HD_TIME_MS_MIN || instant > HD_TIME_MS_MAX)
        return hd_fail(HEED_E_FORMAT, "out of the years 1 to 9999");
    *time = instant;
    return HEED_OK;
}

void hd_time_format(heed_time time, char out[HD_TIME_TEXT_BYTES])
{
    if (time < HD_TIME_MS_MIN)
        time = HD_TIME_MS_MIN;
    if (time > HD_TIME_MS_MAX)
        time = HD_TIME_MS_MAX;
    int64_t days = time / DAY_MS, ms = time % DAY_MS;
    if (ms < 0) {
        days--;
        ms += DAY_MS;
    }
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t mp = (5 * of_year + 2) / 153;
    int day = (int)(of_year - (153 * mp + 2) / 5 + 1), month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int year = (int)(year_of_era + era * 400 + (month <= 2));
    int s = (int)(ms / 1000);
    int written = snprintf(out, HD_TIME_TEXT_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", year % 10000,
                           month % 100, day % 100, s / 3600 % 100, s / 60 % 60, s % 60);
    snprintf(out + written, HD_TIME_TEXT_BYTES - (size_t)written, ms % 1000 ? ".%03dZ" : "Z",
             (int)(ms % 1000));
}

heed_time hd_clock_now(const heed_clock *clock)
{
    struct timespec ts;

    if (clock && clock->now)
        return clock->now(clock->context);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (heed_time)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t hd_monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

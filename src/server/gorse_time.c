/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates as people and other programs write them: Gorse takes many forms, heed takes one. Each is
 * rewritten as RFC 3339, whose parser then says whether there is such a moment. */
#include "acquire/fields.h"
#include "base/limits.h"
#include "base/time.h"
#include "server/gorse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct clock_parts {
    int year, month, day, hour, minute, second;
    char fraction[8], zone[16];
};

/* 2022-02-24, 2022/2/24, 20220224 or 2/24/2022; how many characters it took, 0 for none of them. */
static int read_date(const char *text, struct clock_parts *t)
{
    size_t digits = strspn(text, "0123456789");
    int used = 0;

    if (digits == 4 && (sscanf(text, "%4d-%2d-%2d%n", &t->year, &t->month, &t->day, &used) == 3 ||
                        sscanf(text, "%4d/%2d/%2d%n", &t->year, &t->month, &t->day, &used) == 3))
        return used;
    if (digits == 8 && sscanf(text, "%4d%2d%2d%n", &t->year, &t->month, &t->day, &used) == 3)
        return used;
    if (digits < 3 && sscanf(text, "%2d/%2d/%4d%n", &t->month, &t->day, &t->year, &used) == 3)
        return used;
    return 0;
}

/* 10:40, 10:40:54, 10:40:54.123; nothing is midnight. */
static const char *read_clock(const char *text, struct clock_parts *t)
{
    int used = 0;

    text += strspn(text, "Tt ");
    if (sscanf(text, "%2d:%2d%n", &t->hour, &t->minute, &used) < 2)
        return text;
    text += used;
    if (sscanf(text, ":%2d%n", &t->second, &used) == 1)
        text += used;
    if (*text == '.' && strspn(text + 1, "0123456789") > 0) {
        snprintf(t->fraction, sizeof t->fraction, "%.*s",
                 (int)(strspn(text + 1, "0123456789") < 3 ? strspn(text + 1, "0123456789") + 1 : 4),
                 text);
        text += 1 + strspn(text + 1, "0123456789");
    }
    return text;
}

/* Nothing, Z, UTC, +08:00, +0800, and what Go writes: "+0000 UTC". False for anything else. */
static bool read_zone(const char *text, struct clock_parts *t)
{
    char sign[2];
    int hour, minute, used = 0;

    strcpy(t->zone, "Z");
    text += strspn(text, " ");
    if (sscanf(text, "%1[+-]%2d:%2d%n", sign, &hour, &minute, &used) == 3 ||
        sscanf(text, "%1[+-]%2d%2d%n", sign, &hour, &minute, &used) == 3) {
        snprintf(t->zone, sizeof t->zone, "%s%02d:%02d", sign, hour % 100, minute % 100);
        text += used;
        text += strspn(text, " ");
    }
    return strcmp(text, "") == 0 || strcasecmp(text, "Z") == 0 || strcasecmp(text, "UTC") == 0 ||
           strcasecmp(text, "GMT") == 0;
}

static heed_status parse_time(const char *field, const char *text, heed_time *time)
{
    struct clock_parts t = {0};
    char plain[64];
    int date = read_date(text, &t);

    if (date == 0 || !read_zone(read_clock(text + date, &t), &t))
        return hd_fail(HEED_E_FORMAT, "%s: \"%.40s\" is not a time", field, text);
    snprintf(plain, sizeof plain, "%04d-%02d-%02dT%02d:%02d:%02d%s%s", t.year, t.month, t.day,
             t.hour, t.minute, t.second, t.fraction, t.zone);
    heed_status status = hd_time_parse(plain, strlen(plain), time);
    return status == HEED_OK ? HEED_OK : hd_fail_prefix(status, "%s: \"%.40s\": ", field, text);
}

/* Seconds since 1970; a number past the year 5138 as seconds is milliseconds. */
static heed_status count_time(const char *field, int64_t count, heed_time *time)
{
    if (count < 0 || count > HD_TIME_MS_MAX)
        return hd_fail(HEED_E_RANGE, "%s: %" PRId64 " is not a time", field, count);
    *time = count < INT64_C(100000000000) ? count * 1000 : count;
    return HEED_OK;
}

heed_status hd_gorse_time(const char *field, const hd_json *value, heed_time *time)
{
    heed_time found = 0;
    const char *text;

    *time = 0;
    if (hd_json_kind(value) == HD_JSON_NULL)
        return HEED_OK;
    if (hd_json_kind(value) == HD_JSON_INT)
        return count_time(field, hd_json_int(value), time);
    HD_TRY(hd_field_text(field, value, 64, &text, NULL));
    size_t digits = strspn(text, "0123456789");
    if (!text[digits] && digits > 8 && digits < 16)
        return count_time(field, strtoll(text, NULL, 10), time);
    if (*text)
        HD_TRY(parse_time(field, text, &found));
    *time = found > 0 ? found : 0; /* Go's time of nothing is in year 1 */
    return HEED_OK;
}

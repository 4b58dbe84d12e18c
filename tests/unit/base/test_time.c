/* SPDX-License-Identifier: Apache-2.0
 *
 * RFC 3339 both ways. */
#include "base/limits.h"
#include "base/random.h"
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static const struct row {
    const char *name, *text;
    heed_time time;
    const char *refusal; /* NULL: it is read */
} rows[] = {
    {"the beginning", "1970-01-01T00:00:00Z", 0, NULL},
    {"the RFC's own first example", "1985-04-12T23:20:50.52Z", INT64_C(482196050520), NULL},
    {"with an offset", "1996-12-19T16:39:57-08:00", INT64_C(851042397000), NULL},
    {"east of Greenwich", "2026-11-20T18:40:54.123+08:00", INT64_C(1795171254123), NULL},
    {"small letters", "2026-11-20t10:40:54z", INT64_C(1795171254000), NULL},
    {"a blank for T", "2026-11-20 10:40:54Z", INT64_C(1795171254000), NULL},
    {"a date alone", "2026-11-20", INT64_C(1795132800000), NULL},
    {"a leap second", "1990-12-31T23:59:60Z", INT64_C(662688000000), NULL},
    {"a leap day", "2000-02-29T00:00:00Z", INT64_C(951782400000), NULL},
    {"before 1970", "1969-12-31T23:59:59.999Z", -1, NULL},
    {"more digits than we keep", "1970-01-01T00:00:00.1239999Z", 123, NULL},
    {"the first instant", "0001-01-01T00:00:00Z", HD_TIME_MS_MIN, NULL},
    {"the last instant", "9999-12-31T23:59:59.999Z", HD_TIME_MS_MAX, NULL},
    {"one past the last, by its offset", "9999-12-31T23:59:59-00:01", 0, "years 1 to 9999"},
    {"one before the first", "0001-01-01T00:00:00+00:01", 0, "years 1 to 9999"},
    {"no leap day", "1900-02-29", 0, "no day 1900-02-29"},
    {"month 13", "2026-13-01", 0, "no day"},
    {"day 0", "2026-01-00", 0, "no day"},
    {"year 0", "0000-01-01", 0, "no day"},
    {"hour 24", "2026-01-01T24:00:00Z", 0, "no time 24"},
    {"no zone", "2026-01-01T00:00:00", 0, "no zone"},
    {"half an offset", "2026-01-01T00:00:00+08", 0, "offset"},
    {"a point and nothing", "2026-01-01T00:00:00.Z", 0, "point"},
    {"more after it", "2026-01-01T00:00:00ZZ", 0, "more text"},
    {"another order", "20.11.2026", 0, "not a date"},
    {"nothing", "", 0, "not a date"},
    {"a number", "1795171254", 0, "not a date"},
};

static void test_parse(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        heed_time time = 4711;
        print_message("# %s\n", r->name);
        heed_status status = hd_time_parse(r->text, strlen(r->text), &time);
        assert_int_equal(status, r->refusal ? HEED_E_FORMAT : HEED_OK);
        assert_true(time == (r->refusal ? 4711 : r->time));
        if (r->refusal && !strstr(heed_error_message(), r->refusal))
            fail_msg("said: %s", heed_error_message());
    }
}

/* Against the C library, and back. */
static void test_format(void **state)
{
    heed_rng rng = hd_rng(3, 0);

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint64_t span = (uint64_t)(HD_TIME_MS_MAX - HD_TIME_MS_MIN) + 1;
        heed_time time = HD_TIME_MS_MIN + (heed_time)hd_random_below(&rng, span), back;
        char text[HD_TIME_TEXT_BYTES], want[HD_TIME_TEXT_BYTES];
        if (round & 1)
            time -= time % 1000;
        time_t seconds = (time_t)((time - (time % 1000 + 1000) % 1000) / 1000);
        struct tm tm;
        hd_time_format(time, text);
        gmtime_r(&seconds, &tm);
        strftime(want, sizeof want, "-%m-%dT%H:%M:%S", &tm);
        assert_memory_equal(text + 4, want, strlen(want));
        assert_int_equal(hd_time_parse(text, strlen(text), &back), HEED_OK);
        assert_true(back == time);
    }
    char text[HD_TIME_TEXT_BYTES];
    hd_time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    hd_time_format(INT64_MIN, text);
    assert_string_equal(text, "0001-01-01T00:00:00Z");
}

static heed_time noon(void *context)
{
    return *(heed_time *)context;
}

static void test_clocks(void **state)
{
    heed_time fixed = 12;
    int64_t before = hd_monotonic_ns();

    (void)state;
    assert_int_equal(hd_clock_now(&(heed_clock){noon, &fixed}), 12);
    assert_true(hd_clock_now(NULL) > INT64_C(1700000000000));
    assert_true(hd_clock_now(&(heed_clock){0}) > INT64_C(1700000000000));
    assert_true(hd_monotonic_ns() >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Where forms of attention cross, and the chart of it, from times that are made up: the square of the
 * length for the first form, and lines that meet it at a known length, always lie below, or never do. */
#include "cli/bench_lengths.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

/* What bench_forms.c and bench.c would do. */
static const struct hd_form made_up[] = {
    {.name = "dense"}, {.name = "window"}, {.name = "lsh"}, {.name = "linear"}, {.name = "cached"}};

const struct hd_form *hd_form_find(const char *name)
{
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++)
        if (strcmp(made_up[i].name, name) == 0)
            return &made_up[i];
    return NULL;
}

heed_status hd_form_prepare(struct hd_form_job *job)
{
    job->bytes = (uint64_t)job->shape.L << 10;
    return HEED_OK;
}

heed_status hd_form_run(void *job)
{
    (void)job;
    return HEED_OK;
}

double hd_form_operations(const struct hd_form_job *job)
{
    return (double)job->shape.L;
}

void hd_form_clear(struct hd_form_job *job)
{
    (void)job;
}

heed_status hd_bench_few_runs(hd_bench_fn run, void *arg, double seconds, int least,
                              struct hd_timing *out)
{
    const struct hd_form_job *job = arg;
    double L = (double)job->shape.L;
    double ms[] = {L * L, 300 * L, 10 * L * L, 0.5 * L * L, 1};

    (void)seconds, (void)least;
    *out = (struct hd_timing){.ms = ms[job->form - made_up] * 1e-6, .runs = 1};
    return run(arg);
}

static void test_crossing(void **state)
{
    (void)state;
    static struct hd_lengths l;
    char text[200];

    assert_int_equal(hd_lengths_measure(0, &l), HEED_OK);
    assert_int_equal(l.L[0], 64);
    assert_int_equal(l.L[HD_LENGTHS - 1], 65536);
    assert_true(fabs(l.mib[0][0] - 1.0 / 16) < 1e-12);
    assert_true(fabs(hd_lengths_crossing(&l, 1) - 300) < 1e-6);
    assert_true(hd_lengths_crossing(&l, 2) == -1);
    assert_true(hd_lengths_crossing(&l, 3) == 0);
    hd_lengths_sentence(&l, 1, text, sizeof text);
    assert_string_equal(
        text, "window is faster than dense from about 300 positions on, 218 times at 65,536.");
    hd_lengths_sentence(&l, 2, text, sizeof text);
    assert_string_equal(text, "lsh is not faster than dense up to 65,536 positions.");
    hd_lengths_sentence(&l, 3, text, sizeof text);
    assert_string_equal(text,
                        "linear is faster than dense from 64 positions on, 2 times at 65,536.");
}

static void test_chart(void **state)
{
    (void)state;
    static struct hd_lengths l;
    char path[] = "/tmp/heed-chart-XXXXXX", text[65536];
    int file = mkstemp(path);

    assert_true(file >= 0);
    close(file);
    assert_int_equal(hd_lengths_measure(0, &l), HEED_OK);
    assert_int_equal(hd_lengths_chart(&l, path), HEED_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    remove(path);
    assert_non_null(strstr(text, "<svg"));
    assert_non_null(strstr(text, "</svg>"));
    assert_non_null(strstr(text, "window is faster than dense from about 300 positions on"));
    assert_non_null(strstr(text, ">65,536<"));
    assert_null(strstr(text, "nan"));
    for (int i = 0; i < HD_LENGTH_FORMS; i++) /* a name at the end of its line */
        assert_non_null(strstr(text, made_up[i].name));
    assert_int_equal(hd_lengths_chart(&l, "/nowhere/chart.svg"), HEED_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crossing),
                                       cmocka_unit_test(test_chart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

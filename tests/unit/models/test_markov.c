/* SPDX-License-Identifier: Apache-2.0
 *
 * The two baselines against counts made by hand. */
#include "models/markov.h"
#include "models/popularity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* user 0: 0 1 2 1 | 3 3 held out      user 1: 1 2, all learned from      user 2: nothing
 * Learned counts: 0: 1, 1: 3, 2: 2, 3: 0. First-order: 0 > 1, 1 > 2 twice, 2 > 1. */
static const int32_t item[] = {0, 1, 2, 1, 3, 3, 1, 2};
static const int64_t offset[] = {0, 6, 8, 8};
static const heed_time when[] = {0, 10, 20, 30, 40, 50, 20, 30};
static const struct hd_histories world = {3, 4, offset, item, when};

static const struct popularity_row {
    const char *name;
    struct hd_popularity_opts opts;
    float want[4];
} popularity_rows[] = {
    {"what is held out is not counted", {0}, {1, 3, 2, 0}},
    {"to serve, all counts", {.all = true}, {1, 3, 2, 2}},
    {"ten older is half", {.half_life = 10, .now = 30}, {0.125f, 0.25f + 1 + 0.5f, 0.5f + 1, 0}},
    {"what is still to come counts whole", {.half_life = 10, .now = 10}, {0.5f, 3, 2, 0}},
};

static void test_popularity(void **state)
{
    (void)state;
    for (const struct popularity_row *r = popularity_rows;
         r < popularity_rows + COUNT(popularity_rows); r++) {
        float weight[4];

        print_message("# %s\n", r->name);
        hd_popularity(&world, &r->opts, weight);
        for (int i = 0; i < 4; i++)
            assert_true(weight[i] == r->want[i]);
    }
}

static const struct markov_row {
    const char *name;
    struct hd_markov_opts opts;
    int32_t history[3];
    int64_t count;
    double want[4];
} markov_rows[] = {
    {"what followed, smoothed by popularity",
     {0},
     {3, 1}, /* 1 > 2 twice, N 2, smoothing 1: (C + p) / 3 */
     2,
     {1 / 6.0 / 3, 3 / 6.0 / 3, (2 + 2 / 6.0) / 3, 0}},
    {"an item that nothing followed leaves popularity", {0}, {3}, 1, {1 / 6.0, 0.5, 1 / 3.0, 0}},
    {"no history leaves popularity", {0}, {0}, 0, {1 / 6.0, 0.5, 1 / 3.0, 0}},
    {"a window of two counts the step over one at half", /* 0: 1 + 2/2; N 1.5 */
     {.window = 2, .window_decay = 0.5},
     {0},
     1,
     {1 / 6.0 / 2.5, (1 + 0.5) / 2.5, (0.5 + 1 / 3.0) / 2.5, 0}},
    {"the item before the last counts at half",
     {.last = 2, .last_decay = 0.5},
     {0, 2}, /* 2 > 1, N 1; and half of 0 > 1, N 1 */
     2,
     {1 / 6.0 / 2 * 1.5, (1 + 0.5) / 2 * 1.5, 1 / 3.0 / 2 * 1.5, 0}},
};

static void test_markov(void **state)
{
    (void)state;
    for (const struct markov_row *r = markov_rows; r < markov_rows + COUNT(markov_rows); r++) {
        struct hd_question question = {.items = r->history, .count = r->count};
        struct hd_markov markov;
        float scores[4];

        print_message("# %s\n", r->name);
        assert_int_equal(hd_markov_init(&markov, &world, &r->opts), HEED_OK);
        assert_int_equal(hd_markov_score(&markov, 0, &question, scores), HEED_OK);
        for (int i = 0; i < 4; i++)
            if (fabs((double)scores[i] - r->want[i]) > 1e-6)
                fail_msg("item %d: %g, not %g", i, (double)scores[i], r->want[i]);
        hd_markov_clear(&markov);
    }
}

static void test_markov_refuses(void **state)
{
    struct hd_markov markov;

    (void)state;
    assert_int_equal(
        hd_markov_init(&markov, &world, &(struct hd_markov_opts){.window = HD_MARKOV_WINDOW_MAX}),
        HEED_OK);
    hd_markov_clear(&markov);
    assert_int_equal(hd_markov_init(&markov, &world,
                                    &(struct hd_markov_opts){.window = HD_MARKOV_WINDOW_MAX + 1}),
                     HEED_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_popularity),
        cmocka_unit_test(test_markov),
        cmocka_unit_test(test_markov_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

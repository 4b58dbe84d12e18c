/* SPDX-License-Identifier: Apache-2.0
 *
 * Selecting and sorting of keys: the order is that of scores, then of numbers, and nothing is lost. */
#include "base/random.h"
#include "models/best.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_keys_order_as_scores_do(void **state)
{
    (void)state;
    static const float scores[] = {-INFINITY, -3e38F, -2, -1.5F, -1e-45F, 0, 1e-45F, 1, 1e30F, INFINITY};
    static const int32_t items[] = {INT32_MAX, 7, 1, 0}; /* the lower, the better */

    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        for (size_t j = 0; j < sizeof items / sizeof *items; j++) {
            uint64_t key = hd_best_key(scores[i], items[j]);
            assert_true(hd_best_score(key) == scores[i]);
            assert_int_equal(hd_best_item(key), items[j]);
            if (j > 0)
                assert_true(key > hd_best_key(scores[i], items[j - 1]));
            if (i > 0)
                assert_true(key > hd_best_key(scores[i - 1], 0));
        }
    assert_true(hd_best_key(-0.0F, 3) == hd_best_key(0.0F, 3));
}

static int larger_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x < y) - (x > y);
}

static void test_equal_to_sorting(void **state)
{
    (void)state;
    static uint64_t key[3000], sorted[3000], scratch[3000];
    heed_rng rng = hd_rng(11, 0);

    for (int round = 0; round < 400; round++) {
        int64_t n = 1 + (int64_t)hd_random_below(&rng, round % 2 ? 12 : 3000);
        int64_t k = 1 + (int64_t)hd_random_below(&rng, (uint64_t)n), kept = 0;
        for (int64_t i = 0; i < n; i++) {
            double x = hd_random_normal(&rng);
            /* near each other, from a few values, with one far away, any bits */
            key[i] = round % 4 == 0   ? hd_best_key((float)x * 1e-6F + 5, (int32_t)i)
                     : round % 4 == 1 ? hd_best_key(floorf((float)x), (int32_t)(i / 3))
                     : round % 4 == 2 ? hd_best_key(i == n / 2 ? 1e30F : (float)x, (int32_t)i)
                                      : hd_random_u64(&rng);
            sorted[i] = key[i];
        }
        qsort(sorted, (size_t)n, sizeof *sorted, larger_first);
        assert_true(hd_best_nth(key, scratch, n, k) == sorted[k - 1]);
        assert_true(hd_best_nth(key, scratch, n, 1) == sorted[0]);
        assert_true(hd_best_nth(key, scratch, n, n) == sorted[n - 1]);
        hd_best_sort(key, scratch, n);
        assert_memory_equal(key, sorted, (size_t)n * sizeof *key);
        while (kept < n && sorted[kept] >= sorted[k - 1])
            kept++;
        assert_int_equal(hd_best_keep(key, n, sorted[k - 1]), kept);
        assert_memory_equal(key, sorted, (size_t)kept * sizeof *key);
    }
    hd_best_sort(key, scratch, 0);
    assert_int_equal(hd_best_keep(key, 0, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_order_as_scores_do),
        cmocka_unit_test(test_equal_to_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What followed what, against the definition: counts in a full matrix, in double. */
#include "base/random.h"
#include "models/evaluate.h"
#include "models/transitions.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { USERS = 60, ITEMS = 300, EVENTS_MAX = 90 };

static int64_t offset[USERS + 1];
static int32_t item[USERS * EVENTS_MAX];
static double count[ITEMS][ITEMS], total[ITEMS];

static struct hd_histories world(uint64_t seed)
{
    heed_rng rng = hd_rng(seed, 0);
    struct hd_histories h = {USERS, ITEMS, offset, item, NULL};

    for (int u = 0; u < USERS; u++) {
        int64_t n = u < 4 ? u : (int64_t)hd_random_below(&rng, EVENTS_MAX);
        for (int64_t e = 0; e < n; e++) /* few items often, most of them rarely */
            item[offset[u] + e] = (int32_t)(ITEMS * pow(hd_random_unit(&rng), 3));
        offset[u + 1] = offset[u] + n;
    }
    memset(count, 0, sizeof count);
    memset(total, 0, sizeof total);
    for (int u = 0; u < USERS; u++) {
        int64_t n = hd_split_train_count(&h, u);
        for (int64_t e = 0; e < n; e++)
            for (int64_t k = 1; k <= HD_TRANSITION_LAGS && e + k < n; k++) {
                count[item[offset[u] + e]][item[offset[u] + e + k]] += 1.0 / (double)k;
                total[item[offset[u] + e]] += 1.0 / (double)k;
            }
    }
    return h;
}

static void test_rows_are_the_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct hd_histories h = world(seed);
        struct hd_transitions t;

        assert_int_equal(hd_transitions_build(&h, &t), HEED_OK);
        for (int32_t a = 0; a < ITEMS; a++) {
            int64_t kept = t.offset[a + 1] - t.offset[a];
            int followers = 0;
            double weakest = INFINITY;
            for (int64_t i = t.offset[a]; i < t.offset[a + 1]; i++) {
                double want = count[a][t.item[i]] / (total[a] + HD_TRANSITION_PRIOR);
                assert_true(fabs((double)t.share[i] - want) <= 1e-5 * want);
                assert_true(i == t.offset[a] || t.item[i] > t.item[i - 1]);
                weakest = fmin(weakest, want);
            }
            for (int32_t b = 0; b < ITEMS; b++)
                followers += count[a][b] > 0;
            assert_int_equal(kept, followers < HD_TRANSITION_KEEP ? followers : HD_TRANSITION_KEEP);
            /* What was left out is no stronger than what was kept. */
            for (int32_t b = 0; b < ITEMS && kept == HD_TRANSITION_KEEP; b++) {
                bool in = false;
                for (int64_t i = t.offset[a]; i < t.offset[a + 1]; i++)
                    in |= t.item[i] == b;
                assert_true(in ||
                            count[a][b] / (total[a] + HD_TRANSITION_PRIOR) <= weakest * (1 + 1e-5));
            }
        }
        hd_transitions_clear(&t);
    }
}

static void test_a_history_is_the_sum_of_its_parts(void **state)
{
    (void)state;
    struct hd_histories h = world(9);
    struct hd_transitions t;
    static float out[ITEMS];

    assert_int_equal(hd_transitions_build(&h, &t), HEED_OK);
    for (int64_t n = 1; n <= 40; n++) {
        double sum = 0;
        const int32_t *past = item + offset[USERS] - n;
        memset(out, 0, sizeof out);
        hd_transitions_add(&t, past, n, 0.5, out);
        for (int32_t v = 0; v < ITEMS; v++) {
            double parts = 0;
            for (int64_t back = 1; back <= n; back++)
                parts += hd_transitions_part(&t, past[n - back], back, v);
            assert_true(fabs((double)out[v] - 0.5 * parts) < 1e-6);
            sum += parts;
        }
        assert_true(sum < 1); /* it leaves mass for what was never seen to follow */
        /* The same numbers, and those that are not zero by name. */
        static float listed[ITEMS];
        static int32_t followers[ITEMS * HD_TRANSITION_LAGS];
        memset(listed, 0, sizeof listed);
        memset(out, 0, sizeof out);
        hd_transitions_add(&t, past, n, 1, out);
        int64_t most = hd_transitions_list(&t, past, n, NULL, NULL);
        int64_t found = hd_transitions_list(&t, past, n, listed, followers), positive = 0;
        assert_memory_equal(listed, out, sizeof out);
        for (int32_t v = 0; v < ITEMS; v++)
            positive += out[v] > 0;
        assert_true(found == positive && found <= most);
        for (int64_t i = 0; i < found; i++) {
            assert_true(listed[followers[i]] > 0);
            listed[followers[i]] = 0; /* once each */
        }
    }
    hd_transitions_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_the_counts),
        cmocka_unit_test(test_a_history_is_the_sum_of_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

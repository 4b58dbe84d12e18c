/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of a feed: what is filtered, what is selected (against a full sort), and what diversity
 * changes. */
#include "allocate/feed.h"
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Five items: two westerns, a western by the same author, a comedy, and one that says nothing. */
static const heed_time created[] = {100, 300, 0, 300, 200};
static const heed_time expires[] = {0, 500, 0, 0, 400};
static const bool hidden[] = {false, false, true, false, false};
static const int32_t west[] = {1, 9}, other_west[] = {1, 8}, comic[] = {2};
static const int32_t *const topic[] = {west, west, other_west, comic, NULL};
static const int32_t topic_count[] = {2, 2, 2, 1, 0};
static const struct hd_catalogue five = {.items = 5,
                                         .created = created,
                                         .expires = expires,
                                         .hidden = hidden,
                                         .created_last = 300,
                                         .expires_first = 400,
                                         .topic = topic,
                                         .topic_count = topic_count};

static const struct filter_row {
    const char *name;
    heed_time at;
    uint8_t out[5];
} filter_rows[] = {
    {"the hidden one, whenever", 350, {0, 0, 1, 0, 0}},
    {"what expires at this moment is out", 400, {0, 0, 1, 0, 1}},
    {"what is not there yet is out", 299, {0, 1, 1, 1, 0}},
    {"between the last created and the first expired", 399, {0, 0, 1, 0, 0}},
    {"later more has expired", 500, {0, 1, 1, 0, 1}},
};

static void test_filter_catalogue(void **state)
{
    (void)state;
    for (const struct filter_row *r = filter_rows; r < filter_rows + COUNT(filter_rows); r++) {
        uint8_t out[5] = {0};

        print_message("# %s\n", r->name);
        hd_filter_catalogue(&five, r->at, out);
        assert_memory_equal(out, r->out, sizeof out);
    }
}

static void test_filter_items(void **state)
{
    const int32_t items[] = {3, -1, 0, 3, 5, INT32_MAX};
    uint8_t out[6] = {0, 1, 0, 0, 0, 7}; /* what was out stays out; 7 guards the end */
    const uint8_t want[6] = {1, 1, 0, 1, 0, 7};

    (void)state;
    hd_filter_items(items, COUNT(items), 5, out);
    assert_memory_equal(out, want, sizeof out);
}

/* ---- selection against a full sort */

static int by_score(const void *a, const void *b)
{
    const struct hd_pick *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

static void test_select_top(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        float scores[70];
        uint8_t out[70];
        struct hd_pick all[70], picks[70];
        heed_rng rng = hd_rng(seed, 0);
        int64_t items = (int64_t)hd_random_below(&rng, COUNT(scores) + 1), left = 0;
        int64_t count = (int64_t)hd_random_below(&rng, COUNT(scores) + 1);

        for (int32_t i = 0; i < items; i++) {
            uint64_t x = hd_random_below(&rng, 25); /* few values: many ties */
            scores[i] = x == 0 ? NAN : x == 1 ? -INFINITY : x == 2 ? INFINITY : (float)x;
            out[i] = hd_random_below(&rng, 4) == 0;
            if (!out[i])
                all[left++] = (struct hd_pick){i, x == 0 ? -INFINITY : scores[i]};
        }
        qsort(all, (size_t)left, sizeof *all, by_score);
        int64_t got = hd_select_top(scores, out, items, count, picks);
        assert_int_equal(got, left < count ? left : count);
        for (int64_t i = 0; i < got; i++)
            if (picks[i].item != all[i].item || picks[i].score != all[i].score)
                fail_msg("seed %d: place %d is item %d, not %d", (int)seed, (int)i, picks[i].item,
                         all[i].item);
    }
}

static void test_select_fresh(void **state)
{
    const uint8_t none[5] = {0}, some[5] = {0, 0, 0, 1, 0};
    struct hd_pick picks[5];

    (void)state;
    assert_int_equal(hd_select_fresh(&five, none, 5, picks), 5);
    const int32_t all[] = {3, 1, 4, 0, 2}; /* 3 before 1: as new, and it came later */
    for (int i = 0; i < 5; i++)
        assert_int_equal(picks[i].item, all[i]);
    assert_int_equal(hd_select_fresh(&five, some, 2, picks), 2);
    assert_int_equal(picks[0].item, 1);
    assert_int_equal(picks[1].item, 4);
    assert_int_equal(hd_select_fresh(&five, none, 0, picks), 0);
}

/* ---- diversity */

static void test_similarity(void **state)
{
    (void)state;
    assert_true(hd_topic_similarity(&five, 0, 1) == 1);
    assert_true(hd_topic_similarity(&five, 0, 2) == 1.0 / 3);
    assert_true(hd_topic_similarity(&five, 0, 3) == 0);
    assert_true(hd_topic_similarity(&five, 4, 4) == 0); /* nothing is known of it */
}

static const struct diversity_row {
    const char *name;
    double strength;
    struct hd_pick picks[4];
    int64_t n;
    int32_t want[4];
} diversity_rows[] = {
    {"no strength, no change", 0, {{0, 4}, {1, 3}, {3, 2}, {4, 1}}, 4, {0, 1, 3, 4}},
    {"a little moves a near tie: 0.9 * 2/3 - 0 beats 0.9 * 0.7 - 0.1",
     0.1,
     {{0, 10}, {1, 7}, {3, 6.7f}, {4, 0}},
     4,
     {0, 3, 1, 4}},
    {"a little leaves a clear lead", 0.1, {{0, 10}, {1, 9}, {3, 5}, {4, 0}}, 4, {0, 1, 3, 4}},
    {"all strength looks at topics alone", 1, {{0, 4}, {1, 3}, {2, 2}, {3, 1}}, 4, {0, 3, 2, 1}},
    {"a page shorter than the picks", 0.6, {{0, 4}, {1, 3}, {2, 2}, {3, 1}}, 2, {0, 3}},
    {"equal scores are no division by nothing",
     0.3,
     {{0, 1}, {1, 1}, {3, 1}, {4, 1}},
     4,
     {0, 3, 4, 1}},
    {"what nobody scored stays at the end",
     0.1,
     {{0, 2}, {1, 1}, {3, -INFINITY}, {4, -INFINITY}},
     4,
     {0, 1, 3, 4}},
};

static void test_diversify(void **state)
{
    (void)state;
    for (const struct diversity_row *r = diversity_rows; r < diversity_rows + COUNT(diversity_rows);
         r++) {
        struct hd_pick picks[4];

        print_message("# %s\n", r->name);
        memcpy(picks, r->picks, sizeof picks);
        assert_int_equal(hd_diversify(&five, r->strength, picks, 4, r->n), r->n);
        for (int i = 0; i < r->n; i++)
            assert_int_equal(picks[i].item, r->want[i]);
    }
    struct hd_pick one = {2, 1};
    assert_int_equal(hd_diversify(&five, 0.5, &one, 1, 10), 1);
    assert_int_equal(hd_diversify(&five, 0.5, &one, 0, 10), 0);
}

/* ---- topics and exploration */

static void test_topics(void **state)
{
    const int32_t some[] = {2, 8}, none[] = {3, 7};
    uint8_t out[5] = {0, 1, 0, 0, 0};
    const uint8_t want[5] = {0, 1, 1, 1, 0};

    (void)state;
    for (int32_t i = 0; i < 5; i++) {
        assert_int_equal(hd_topics_meet(&five, i, some, 2), i == 2 || i == 3);
        assert_false(hd_topics_meet(&five, i, none, 2));
        assert_false(hd_topics_meet(&five, i, some, 0));
    }
    hd_filter_topics(&five, some, 2, out);
    assert_memory_equal(out, want, sizeof out);
}

/* Over a grid of the two numbers: how often each item stands in each place is what the propensities
 * say, and each place's sum to one. */
static void test_explore(void **state)
{
    enum { N = 4, COUNT_ALL = 7, GRID = 400 };
    const double rate = 0.3;
    double seen[COUNT_ALL][N] = {{0}}, said[COUNT_ALL][N] = {{0}};

    (void)state;
    for (int a = 0; a < GRID; a++)
        for (int b = 0; b < GRID; b++) {
            struct hd_pick picks[COUNT_ALL];
            double propensity[N], u[2] = {(a + 0.5) / GRID, (b + 0.5) / GRID};
            for (int i = 0; i < COUNT_ALL; i++)
                picks[i] = (struct hd_pick){.item = i, .score = (float)-i};
            int64_t place = hd_explore(picks, COUNT_ALL, N, rate, u, propensity);
            assert_int_equal(place >= 0, u[0] < rate);
            if (place >= 0) {
                assert_true(place >= N / 2 && picks[place].item >= N);
                assert_int_equal(picks[place].source, HD_SOURCE_EXPLORE);
            }
            for (int i = 0; i < N; i++) {
                seen[picks[i].item][i] += 1.0 / GRID / GRID;
                said[picks[i].item][i] = propensity[i];
            }
        }
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int v = 0; v < COUNT_ALL; v++) {
            sum += said[v][i];
            assert_true(fabs(said[v][i] - seen[v][i]) < 0.01);
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
}

static const struct explore_row {
    const char *name;
    int count, n;
    double rate;
} explore_rows[] = {
    {"nothing behind the page", 4, 4, 1},
    {"a page of one has no lower half", 4, 1, 1},
    {"a rate of 0", 8, 4, 0},
};

static void test_explores_nothing(void **state)
{
    (void)state;
    for (const struct explore_row *r = explore_rows; r < explore_rows + COUNT(explore_rows); r++) {
        struct hd_pick picks[8] = {{0}};
        double propensity[8] = {0}, u[2] = {0, 0.5};
        print_message("# %s\n", r->name);
        assert_int_equal(hd_explore(picks, r->count, r->n, r->rate, u, propensity), -1);
        for (int i = 0; i < r->n; i++)
            assert_true(propensity[i] == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_catalogue), cmocka_unit_test(test_filter_items),
        cmocka_unit_test(test_select_top),       cmocka_unit_test(test_select_fresh),
        cmocka_unit_test(test_similarity),       cmocka_unit_test(test_diversify),
        cmocka_unit_test(test_topics),           cmocka_unit_test(test_explore),
        cmocka_unit_test(test_explores_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

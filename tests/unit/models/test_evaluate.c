/* SPDX-License-Identifier: Apache-2.0
 *
 * Leave one out against a small world worked out by hand, and against a brute-force twin in double
 * over random worlds full of ties, repeats and scores that are no numbers. */
#include "models/evaluate.h"
#include "base/memory.h"
#include "base/random.h"
#include "models/popularity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- quality from ranks */

static const struct quality_row {
    const char *name;
    int64_t ranks[4], count;
    heed_ranking_quality want;
} quality_rows[] = {
    {"nobody", {0}, 0, {0}},
    {"first place is perfect",
     {1},
     1,
     {.ndcg5 = 1, .hr5 = 1, .ndcg10 = 1, .hr10 = 1, .ndcg20 = 1, .hr20 = 1, .mrr = 1}},
    {"each side of five, ten and twenty", /* 1/log2(6), /log2(7), /log2(11), /log2(12) */
     {5, 6, 10, 11},
     4,
     {.ndcg5 = 0.386852807234541 / 4,
      .hr5 = 0.25,
      .ndcg10 = (0.386852807234541 + 0.356207187108022 + 0.289064826317888) / 4,
      .hr10 = 0.75,
      .ndcg20 = (0.386852807234541 + 0.356207187108022 + 0.289064826317888 + 0.278942945651130) / 4,
      .hr20 = 1,
      .mrr = (1 / 5.0 + 1 / 6.0 + 1 / 10.0 + 1 / 11.0) / 4}},
    {"far away counts for MRR alone", {21, 1000}, 2, {.mrr = (1 / 21.0 + 1 / 1000.0) / 2}},
};

static void test_quality(void **state)
{
    (void)state;
    for (const struct quality_row *r = quality_rows; r < quality_rows + COUNT(quality_rows); r++) {
        heed_ranking_quality q;

        print_message("# %s\n", r->name);
        hd_ranks_to_quality(r->ranks, r->count, &q);
        assert_true(fabs(q.ndcg5 - r->want.ndcg5) < 1e-12);
        assert_true(fabs(q.ndcg10 - r->want.ndcg10) < 1e-12);
        assert_true(fabs(q.ndcg20 - r->want.ndcg20) < 1e-12);
        assert_true(fabs(q.mrr - r->want.mrr) < 1e-12);
        assert_true(q.hr5 == r->want.hr5 && q.hr10 == r->want.hr10 && q.hr20 == r->want.hr20);
    }
}

/* ---- a world by hand: six items, scores fixed for everybody */

static heed_status score_from_table(void *context, int worker, const struct hd_question *question,
                                    float *scores)
{
    (void)worker;
    (void)question;
    memcpy(scores, context, 6 * sizeof *scores);
    return HEED_OK;
}

/* user 0: 0 1 2 | 3 (validation) | 4 (test)      user 1: two events, learned from only
 * user 2: 5 0 5 (its test is a repeat)           user 3: 1 | 2 | 0 */
static const int32_t hand_item[] = {0, 1, 2, 3, 4, 0, 1, 5, 0, 5, 1, 2, 0};
static const int64_t hand_offset[] = {0, 5, 7, 10, 13};
static const heed_time hand_time[] = {1, 2, 2, 3, 4, 0, 1, 1, 1, 1, 7, 8, 9};
static const struct hd_histories hand = {4, 6, hand_offset, hand_item, hand_time};

static const struct rank_row {
    const char *name;
    enum hd_split split;
    float scores[6];
    int64_t user[3], rank[3], count, repeats, tied;
    int32_t top0[3]; /* of the first ranked user */
} rank_rows[] = {
    {"seen items do not stand in the way",
     HD_SPLIT_TEST,
     {9, 8, 7, 6, 1, 5},
     {0, 3},
     {2, 1}, /* user 0: 5 before 4; user 3: 0 before all that is left */
     2,
     1,
     0,
     {5, 4, -1}},
    {"ties count against the model",
     HD_SPLIT_TEST,
     {3, 3, 3, 3, 3, 3},
     {0, 3},
     {2, 4},
     2,
     1,
     2,
     {4, 5, -1}},
    {"a tie with a seen item is none",
     HD_SPLIT_TEST,
     {4, 4, 4, 4, 4, 0},
     {0, 3},
     {1, 3},
     2,
     1,
     1,
     {4, 5, -1}},
    {"a target without a number is last, one beside it no better",
     HD_SPLIT_TEST,
     {NAN, 1, 1, 1, NAN, 2},
     {0, 3},
     {2, 4},
     2,
     1,
     0,
     {5, 4, -1}},
    {"the validation looks at less",
     HD_SPLIT_VALID,
     {9, 8, 7, 1, 2, 3},
     {0, 2, 3},
     {3, 1, 2},
     3,
     0,
     0,
     {5, 4, 3}},
};

static void test_ranks_by_hand(void **state)
{
    (void)state;
    for (const struct rank_row *r = rank_rows; r < rank_rows + COUNT(rank_rows); r++) {
        struct hd_scorer scorer = {(void *)r->scores, score_from_table};
        struct hd_ranks ranks;

        print_message("# %s\n", r->name);
        assert_int_equal(hd_rank_targets(&hand, r->split, &scorer, NULL, NULL, &ranks), HEED_OK);
        assert_int_equal(ranks.count, r->count);
        assert_int_equal(ranks.repeats, r->repeats);
        assert_int_equal(ranks.tied, r->tied);
        for (int i = 0; i < r->count; i++) {
            assert_int_equal(ranks.user[i], r->user[i]);
            assert_int_equal(ranks.rank[i], r->rank[i]);
        }
        for (int i = 0; i < 3; i++)
            assert_int_equal(ranks.top[i], r->top0[i]);
        hd_ranks_clear(&ranks);
    }
}

/* Top lists of two users over four items: 0 1 | 0 2. Occurrences 2 1 1 0: coverage 3/4, and sorted
 * 0 1 1 2 the Gini index is (-3 0 - 1 + 1 + 3 2) / (4 * 4) = 6/16. */
static void test_coverage_and_gini(void **state)
{
    int64_t user[] = {0, 1}, rank[] = {1, 3};
    int32_t top[2 * HD_TOP_COUNT];
    struct hd_ranks ranks = {.count = 2, .items = 4, .user = user, .rank = rank, .top = top};
    heed_ranking_quality q;

    (void)state;
    for (size_t i = 0; i < COUNT(top); i++)
        top[i] = -1;
    top[0] = 0, top[1] = 1, top[HD_TOP_COUNT] = 0, top[HD_TOP_COUNT + 1] = 2;
    assert_int_equal(hd_ranks_quality(&ranks, &q), HEED_OK);
    assert_true(q.coverage == 0.75);
    assert_true(q.gini == 6.0 / 16);
    assert_true(q.ndcg10 == (1 + 0.5) / 2);
}

static void test_time_ties(void **state)
{
    struct hd_histories order_only = hand;

    (void)state;
    /* user 0: two of five; user 1: none; user 2: all three; user 3: none */
    assert_true(hd_time_tie_rate(&hand) == 5.0 / 13);
    order_only.time = NULL;
    assert_true(hd_time_tie_rate(&order_only) == 0);
}

/* The text of the split, written out here, hashed by another program. */
static void test_split_fingerprint(void **state)
{
    const char *user_id[] = {"u10", "x", "u2", "b"};
    const char *item_id[] = {"i0", "i1", "i2", "i3", "i4", "i5"};
    const char *text = "b i2\nb i0\nu10 i3\nu10 i4\nu2 i0\nu2 i5\n";
    char hex[HD_SHA256_HEX_BYTES], want[HD_SHA256_HEX_BYTES];
    struct hd_sha256 sha;

    (void)state;
    assert_int_equal(hd_split_sha256(&hand, user_id, item_id, hex), HEED_OK);
    hd_sha256_init(&sha);
    hd_sha256_update(&sha, text, strlen(text));
    hd_sha256_final_hex(&sha, want);
    assert_string_equal(hex, want);
}

/* ---- random worlds, a twin that sorts nothing and shares nothing */

struct world {
    struct hd_histories h;
    int64_t *offset;
    int32_t *item;
    uint64_t seed;
};

static void world_init(struct world *w, uint64_t seed)
{
    heed_rng rng = hd_rng(seed, 0);
    int64_t users = 1 + (int64_t)hd_random_below(&rng, 70);
    int64_t items = 1 + (int64_t)hd_random_below(&rng, 40), events = 0;

    w->seed = seed;
    w->offset = hd_alloc((size_t)users + 1, sizeof *w->offset);
    w->item = hd_alloc((size_t)users * 12, sizeof *w->item);
    assert_non_null(w->offset);
    assert_non_null(w->item);
    for (int64_t u = 0; u < users; u++) {
        w->offset[u] = events;
        for (uint64_t n = hd_random_below(&rng, 12); n > 0; n--)
            w->item[events++] = (int32_t)hd_random_below(&rng, (uint64_t)items);
    }
    w->offset[users] = events;
    w->h = (struct hd_histories){users, items, w->offset, w->item, NULL};
}

static void world_clear(struct world *w)
{
    hd_free(w->item);
    hd_free(w->offset);
}

/* Few different values, so that ties are common; one in thirty is no number. */
static float random_score(uint64_t seed, int64_t user, int64_t item)
{
    uint64_t x = hd_mix64(seed ^ hd_mix64((uint64_t)(user * 1000 + item)));
    return x % 30 == 0 ? NAN : (float)(x % 7);
}

static heed_status score_at_random(void *context, int worker, const struct hd_question *question,
                                   float *scores)
{
    const struct world *w = context;

    (void)worker;
    for (int64_t i = 0; i < w->h.items; i++)
        scores[i] = random_score(w->seed, question->user, i);
    return HEED_OK;
}

/* The rank by definition; 0: a repeat. */
static int64_t rank_twin(const struct world *w, int64_t user, enum hd_split split, bool *tied)
{
    int64_t first = w->offset[user], at = w->offset[user + 1] - (int64_t)split, rank = 1;
    int32_t target = w->item[at];
    double own = (double)random_score(w->seed, user, target);

    *tied = false;
    for (int64_t e = first; e < at; e++)
        if (w->item[e] == target)
            return 0;
    for (int64_t i = 0; i < w->h.items; i++) {
        bool seen = i == target;
        for (int64_t e = first; e < at; e++)
            seen = seen || w->item[e] == i;
        double other = (double)random_score(w->seed, user, i);
        if (!seen && (isnan(other) || isnan(own) || other >= own))
            rank++;
        if (!seen && other == own)
            *tied = true;
    }
    return rank;
}

static void test_ranks_against_twin(void **state)
{
    heed_pool *pool = NULL;

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w;
        struct hd_ranks one, three;
        enum hd_split split = seed % 2 ? HD_SPLIT_TEST : HD_SPLIT_VALID;
        int64_t at = 0, repeats = 0, ties = 0;

        world_init(&w, seed);
        struct hd_scorer scorer = {&w, score_at_random};
        assert_int_equal(hd_rank_targets(&w.h, split, &scorer, NULL, NULL, &one), HEED_OK);
        assert_int_equal(hd_rank_targets(&w.h, split, &scorer, pool, NULL, &three), HEED_OK);
        for (int64_t u = 0; u < w.h.users; u++) {
            bool tied;
            if (w.offset[u + 1] - w.offset[u] < 3)
                continue;
            int64_t want = rank_twin(&w, u, split, &tied);
            if (want == 0) {
                repeats++;
                continue;
            }
            ties += tied;
            assert_true(at < one.count);
            if (one.rank[at] != want || one.user[at] != u)
                fail_msg("seed %d user %d: rank %d, not %d", (int)seed, (int)u, (int)one.rank[at],
                         (int)want);
            at++;
        }
        assert_int_equal(one.count, at);
        assert_int_equal(one.repeats, repeats);
        assert_int_equal(one.tied, ties);
        assert_int_equal(three.count, one.count);
        assert_memory_equal(three.rank, one.rank, (size_t)one.count * sizeof *one.rank);
        assert_memory_equal(three.top, one.top, (size_t)one.count * HD_TOP_COUNT * sizeof *one.top);
        hd_ranks_clear(&one);
        hd_ranks_clear(&three);
        world_clear(&w);
    }
    heed_pool_free(pool);
}

/* The interval holds the mean, is about as wide as the normal approximation says, and is the same
 * for any number of threads. */
static void test_bootstrap(void **state)
{
    enum { N = 2000 };
    int64_t ranks[N];
    double ndcg[2], hr[2], again_ndcg[2], again_hr[2];
    heed_ranking_quality q;
    heed_rng rng = hd_rng(5, 0);
    heed_pool *pool = NULL;

    (void)state;
    for (int i = 0; i < N; i++)
        ranks[i] = 1 + (int64_t)hd_random_below(&rng, 40);
    hd_ranks_to_quality(ranks, N, &q);
    assert_int_equal(hd_ranks_bootstrap(ranks, N, 1, NULL, ndcg, hr), HEED_OK);
    assert_true(hr[0] < q.hr10 && q.hr10 < hr[1]);
    assert_true(ndcg[0] < q.ndcg10 && q.ndcg10 < ndcg[1]);
    double width = 2 * 1.96 * sqrt(q.hr10 * (1 - q.hr10) / N);
    assert_true(fabs((hr[1] - hr[0]) / width - 1) < 0.15);
    assert_int_equal(heed_pool_new(2, &pool), HEED_OK);
    assert_int_equal(hd_ranks_bootstrap(ranks, N, 1, pool, again_ndcg, again_hr), HEED_OK);
    assert_memory_equal(ndcg, again_ndcg, sizeof ndcg);
    assert_memory_equal(hr, again_hr, sizeof hr);
    heed_pool_free(pool);
}

static bool never(void *context, const char *what, int64_t done, int64_t total)
{
    (void)context;
    (void)what;
    (void)done;
    (void)total;
    return false;
}

static void test_cancel(void **state)
{
    float scores[6] = {0};
    struct hd_scorer scorer = {scores, score_from_table};
    struct hd_ranks ranks = {0};

    (void)state;
    assert_int_equal(
        hd_rank_targets(&hand, HD_SPLIT_TEST, &scorer, NULL, &(heed_progress){never, NULL}, &ranks),
        HEED_E_CANCELLED);
    assert_null(ranks.rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quality),           cmocka_unit_test(test_ranks_by_hand),
        cmocka_unit_test(test_coverage_and_gini), cmocka_unit_test(test_time_ties),
        cmocka_unit_test(test_split_fingerprint), cmocka_unit_test(test_ranks_against_twin),
        cmocka_unit_test(test_bootstrap),         cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of the forms that look at a history from outside, target attention and routing: what order,
 * padding, company and threads may change, and how routing settles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/attention/routing_call.h"
#include "../unit/attention/target_call.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- target attention */

static void serve(const struct tc_call *c)
{
    assert_int_equal(heed_target_forward(NULL, &c->weights, &c->opts, &c->a), HEED_OK);
}

static void swap(void *x, int64_t i, int64_t j, size_t bytes)
{
    char hold[512], *a = (char *)x + (size_t)i * bytes, *b = (char *)x + (size_t)j * bytes;
    memcpy(hold, a, bytes), memcpy(a, b, bytes), memcpy(b, hold, bytes);
}

/* Two events change places: their weights do, bit for bit (the softmax's sum apart), and the sum stays. */
static void test_order_does_not_matter(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 80);
    for (int round = 0; round < 200; round++) {
        struct tc_call c = tc_random(&rng, HEED_F64);
        tc_settle(&c);
        int64_t C = c.a.C, units = c.a.B * c.a.K, all = c.a.K * c.rows;
        if (c.a.e_row > C) { /* whole rows are swapped: the last has no end */
            tc_free(&c);
            continue;
        }
        serve(&c);
        double *out = malloc((size_t)(units * C) * 8 + 1), *w = malloc((size_t)all * 8 + 1);
        memcpy(out, c.a.out, (size_t)(units * C) * 8), memcpy(w, c.a.weights, (size_t)all * 8);
        for (int64_t b = 0; b < c.a.B; b++) {
            int64_t n = tc_length(&c, b);
            if (n < 2)
                continue;
            int64_t i = (int64_t)hd_random_below(&rng, (uint64_t)n), j = n - 1 - i;
            swap((double *)c.a.e + tc_row(&c, b) * C, i, j, (size_t)C * 8);
            for (int64_t k = 0; k < c.a.K; k++)
                swap(w + tc_weight(&c, b, k, 0), i, j, 8);
        }
        serve(&c);
        if (!c.opts.softmax)
            assert_memory_equal(w, c.a.weights, (size_t)all * 8);
        for (int64_t i = 0; i < units * C; i++)
            assert_true(fabs(out[i] - ((double *)c.a.out)[i]) <= 1e-12 * (1 + 24 * fabs(out[i])));
        free(out), free(w);
        tc_free(&c);
    }
}

/* Many candidates at once are each alone; and a history is the same wherever it stands. */
static void test_company_does_not_matter(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 81);
    for (int round = 0; round < 200; round++) {
        struct tc_call c = tc_random(&rng, HEED_F32);
        tc_settle(&c);
        serve(&c);
        for (int64_t b = 0; b < c.a.B; b++)
            for (int64_t k = 0; k < c.a.K; k++) {
                struct tc_call one = c;
                float out[64], w[TC_EVENTS_MAX + 1] = {0};
                int64_t n = tc_length(&c, b), a_row = c.a.a_row ? c.a.a_row : c.a.C;
                one.opts.offsets = one.opts.lengths = NULL;
                one.a.B = one.a.K = 1, one.a.S = n, one.a.out = out, one.a.weights = w;
                one.a.a = (const float *)c.a.a + (b * c.a.K + k) * a_row;
                one.a.e = (const float *)c.a.e + tc_row(&c, b) * (c.a.e_row ? c.a.e_row : c.a.C);
                serve(&one);
                assert_memory_equal(out, (float *)c.a.out + (b * c.a.K + k) * c.a.C,
                                    (size_t)c.a.C * 4);
                assert_memory_equal(w, (float *)c.a.weights + tc_weight(&c, b, k, 0), (size_t)n * 4);
            }
        tc_free(&c);
    }
}

/* What stands in padding changes nothing, and takes no weight. */
static void test_padding_weighs_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 82);
    for (int round = 0; round < 200; round++) {
        struct tc_call c = tc_random(&rng, HEED_F32);
        tc_settle(&c);
        size_t bytes = (size_t)(c.a.B * c.a.K * c.a.C) * 4;
        serve(&c);
        float *out = malloc(bytes + 1);
        memcpy(out, c.a.out, bytes);
        for (int64_t b = 0; b < c.a.B && c.opts.lengths; b++)
            for (int64_t s = tc_length(&c, b); s < c.a.S; s++) {
                for (int64_t i = 0; i < c.a.C; i++)
                    ((float *)c.a.e)[(b * c.a.S + s) * (c.a.e_row ? c.a.e_row : c.a.C) + i] =
                        s % 2 ? NAN : INFINITY;
                for (int64_t k = 0; k < c.a.K; k++)
                    assert_true(((float *)c.a.weights)[tc_weight(&c, b, k, s)] == 0);
            }
        serve(&c);
        assert_memory_equal(out, c.a.out, bytes);
        free(out);
        tc_free(&c);
    }
}

/* The sum of all results through a row of ones, back to whatever wants it. */
static void back(heed_tape *tape, heed_tensor *out)
{
    heed_tensor *flat, *ones, *loss;
    const int64_t line[] = {1, hd_count(out)};
    assert_int_equal(heed_reshape(tape, out, line, 2, &flat), HEED_OK);
    assert_int_equal(heed_tensor_new_in(tape, out->dtype, line, 2, &ones), HEED_OK);
    hd_kernels_of(out)->fill(ones->data, 1, (size_t)line[1]);
    assert_int_equal(heed_linear(tape, flat, ones, NULL, &loss), HEED_OK);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
}

/* The same bits, gradients of weights included, on any number of threads; Dice learns from the batch. */
static void test_threads_change_nothing(void **state)
{
    (void)state;
    enum { B = 90, S = 60, C = 9 };
    static float e[B * S * C], a[B * 2 * C];
    static int64_t lengths[B];
    heed_rng rng = hd_rng(na_seed(), 83);
    for (int i = 0; i < COUNT(e); i++)
        e[i] = (float)hd_random_normal(&rng);
    for (int i = 0; i < COUNT(a); i++)
        a[i] = (float)hd_random_normal(&rng);
    for (int b = 0; b < B; b++)
        lengths[b] = (int64_t)hd_random_below(&rng, S + 1);
    for (int activation = 0; activation < 3; activation++) {
        float first[4][4 * C * 20], *gradient;
        for (int threads = 1; threads <= 3; threads++) {
            heed_params *params;
            heed_target_weights w;
            heed_pool *pool;
            heed_tape *tape;
            heed_tensor *ta, *te, *out;
            heed_target_opts o = {.activation = (heed_target_activation)activation, .lengths = lengths};
            assert_int_equal(heed_pool_new(threads, &pool), HEED_OK);
            assert_int_equal(heed_tape_new(pool, 1, &tape), HEED_OK);
            assert_int_equal(heed_params_new(HEED_F32, 5, &params), HEED_OK);
            assert_int_equal(heed_target_init(params, "t", C, (int64_t[]){20, 7}, 2, o.activation, &w), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, a, (int64_t[]){B, 2, C}, 3, true, &ta), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, e, (int64_t[]){B, S, C}, 3, true, &te), HEED_OK);
            assert_int_equal(heed_target(tape, ta, te, &w, &o, &out, NULL), HEED_OK);
            back(tape, out);
            heed_tensor *looked_at[] = {w.layer[0].w, w.layer[1].w, w.w, ta};
            for (int i = 0; i < 4; i++) {
                size_t bytes = (size_t)(i < 3 ? hd_count(looked_at[i]) : 4 * C * 20) * 4;
                gradient = looked_at[i]->grad;
                if (threads == 1)
                    memcpy(first[i], gradient, bytes);
                assert_memory_equal(first[i], gradient, bytes);
            }
            heed_tape_free(tape);
            heed_params_free(params);
            heed_pool_free(pool);
        }
    }
}

/* ---- routing */

static heed_tape *new_tape(heed_pool *pool)
{
    heed_tape *tape;
    assert_int_equal(heed_tape_new(pool, 1, &tape), HEED_OK);
    return tape;
}

/* Events and what belongs to their positions change places: interests stay, weights follow. */
static void test_routing_order(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 84);
    heed_tape *tape = new_tape(NULL);
    for (int round = 0; round < 200; round++) {
        struct rc_call c = rc_random(&rng, HEED_F64, 2 + round % 2);
        heed_tensor *out, *w, *out2, *w2;
        rc_settle(&c);
        if (c.B != 1 || c.e_row > c.C) /* logits belong to positions of all histories */
            c.B = 1, c.opts.lengths = NULL, c.opts.offsets = NULL, c.rows = c.S, c.e_row = c.C,
            c.e = na_numbers(&c.memory, &rng, c.S * c.C, 1);
        int64_t n = rc_length(&c, 0);
        heed_tape_reset(tape);
        assert_int_equal(rc_tape(&c, tape, false, NULL, &out, &w), HEED_OK);
        for (int64_t i = 0; i < n / 2; i++) {
            swap(c.e, i, n - 1 - i, (size_t)c.C * 8);
            for (int64_t k = 0; k < c.K; k++)
                swap((double *)c.opts.logits + k * c.opts.positions, i, n - 1 - i, 8);
        }
        assert_int_equal(rc_tape(&c, tape, false, NULL, &out2, &w2), HEED_OK);
        for (int64_t i = 0; i < c.K * c.O; i++)
            assert_true(fabs(((double *)out->data)[i] - ((double *)out2->data)[i]) < 1e-10);
        for (int64_t k = 0; k < c.K; k++)
            for (int64_t s = 0; s < n; s++)
                assert_true(fabs(((double *)w->data)[rc_weight(&c, 0, k, s)] -
                                 ((double *)w2->data)[rc_weight(&c, 0, k, n - 1 - s)]) < 1e-10);
        rc_free(&c);
    }
    heed_tape_free(tape);
}

/* Logits that change places between interests take the interests with them, where one map serves all. */
static void test_interests_follow_their_logits(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 85);
    heed_tape *tape = new_tape(NULL);
    for (int round = 0; round < 200; round++) {
        struct rc_call c = rc_random(&rng, HEED_F64, 2);
        heed_tensor *out, *out2;
        rc_settle(&c);
        c.opts.adaptive = false;
        heed_tape_reset(tape);
        assert_int_equal(rc_tape(&c, tape, false, NULL, &out, NULL), HEED_OK);
        for (int64_t k = 0; k < c.K / 2; k++)
            swap((void *)c.opts.logits, k, c.K - 1 - k, (size_t)c.opts.positions * 8);
        assert_int_equal(rc_tape(&c, tape, false, NULL, &out2, NULL), HEED_OK);
        for (int64_t i = 0; i < c.B * c.K * c.O; i++) {
            int64_t b = i / (c.K * c.O), k = i / c.O % c.K;
            double twin = ((double *)out2->data)[(b * c.K + c.K - 1 - k) * c.O + i % c.O];
            assert_true(fabs(((double *)out->data)[i] - twin) < 1e-10);
        }
        rc_free(&c);
    }
    heed_tape_free(tape);
}

/* Each event gives itself away once; padding, and interests a history is too short for, take nothing;
 * capsules are shorter than 1; a history alone is the same bits. */
static void test_shares_and_company(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 86);
    heed_tape *tape = new_tape(NULL);
    for (int round = 0; round < 200; round++) {
        struct rc_call c = rc_random(&rng, HEED_F32, 0);
        heed_tensor *out, *w, *alone, *share;
        rc_settle(&c);
        for (int64_t b = 0; b < c.B && c.opts.lengths; b++)
            for (int64_t s = rc_length(&c, b); s < c.S; s++)
                for (int64_t i = 0; i < c.C; i++)
                    ((float *)c.e)[(b * c.S + s) * c.e_row + i] = NAN;
        heed_tape_reset(tape);
        assert_int_equal(rc_tape(&c, tape, false, NULL, &out, &w), HEED_OK);
        for (int64_t b = 0; b < c.B; b++) {
            int64_t n = rc_length(&c, b), span = c.opts.offsets ? n : c.S;
            int64_t interests = c.opts.adaptive ? heed_routing_interests(n, c.K) : c.K;
            const float *v = (float *)out->data + b * c.K * c.O;
            for (int64_t s = 0; s < span; s++) {
                double sum = 0;
                for (int64_t k = 0; k < c.K; k++) {
                    double x = (double)((float *)w->data)[rc_weight(&c, b, k, s)];
                    assert_true(k < interests || x == 0);
                    sum += x;
                }
                assert_true(s < n ? fabs(sum - 1) < 1e-6 : sum == 0);
            }
            for (int64_t k = 0; k < c.K; k++) {
                double q = 0;
                for (int64_t o = 0; o < c.O; o++)
                    q += (double)v[k * c.O + o] * (double)v[k * c.O + o];
                assert_true(k < interests ? q < 1.000001 : q == 0);
            }
            struct rc_call one = c;
            one.opts.offsets = one.opts.lengths = NULL, one.B = 1, one.S = one.rows = n;
            one.e = (float *)c.e + rc_row(&c, b) * c.e_row;
            assert_int_equal(rc_tape(&one, tape, false, NULL, &alone, &share), HEED_OK);
            assert_memory_equal(alone->data, v, (size_t)(c.K * c.O) * 4);
        }
        rc_free(&c);
    }
    heed_tape_free(tape);
}

/* Three bundles of events, and a start that leans a little to one interest for each: from pass to pass
 * the lean grows to agreement, and what passes change dies out. (From a random start two interests may
 * share a bundle for good: nothing parts capsules that point the same way.) */
static void test_routing_settles(void **state)
{
    (void)state;
    enum { S = 45, C = 6, K = 3, PASSES = 12 };
    heed_rng rng = hd_rng(na_seed(), 87);
    heed_tape *tape = new_tape(NULL);
    for (int round = 0; round < 40; round++) {
        double e[S * C], map[C * C] = {0}, start[K * S], before[K * C] = {0}, change[PASSES] = {0};
        heed_tensor *te, *tm, *out, *w;
        for (int s = 0; s < S; s++) {
            for (int i = 0; i < C; i++)
                e[s * C + i] = (i == s % 3 ? 2 : 0) + 0.1 * hd_random_normal(&rng);
            for (int k = 0; k < K; k++)
                start[k * S + s] = (k == s % 3 ? 0.5 : 0) + 0.1 * hd_random_normal(&rng);
        }
        for (int i = 0; i < C; i++)
            map[i * C + i] = 1;
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, e, (int64_t[]){1, S, C}, 3, false, &te), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, map, (int64_t[]){C, C}, 2, false, &tm), HEED_OK);
        for (int pass = 0; pass < PASSES; pass++) {
            heed_routing_opts o = {.interests = K, .iterations = pass + 1, .logits = start, .positions = S};
            assert_int_equal(heed_routing(tape, te, tm, &o, &out, &w), HEED_OK);
            for (int i = 0; i < K * C; i++) {
                change[pass] += fabs(((double *)out->data)[i] - before[i]);
                before[i] = ((double *)out->data)[i];
            }
            assert_true(pass < 6 || change[pass] < change[pass - 1]);
        }
        assert_true(change[PASSES - 1] < 1e-3 * change[1]);
        for (int i = 0; i < K * S; i++)
            assert_true(fabs(((double *)w->data)[i] - (i / S == i % S % 3)) < 1e-3);
    }
    heed_tape_free(tape);
}

static void test_routing_threads(void **state)
{
    (void)state;
    enum { B = 90, S = 12, C = 5, K = 3 };
    static float e[B * S * C], map[S * K * C * C], first[2][S * K * C * C];
    heed_rng rng = hd_rng(na_seed(), 88);
    for (int i = 0; i < COUNT(e); i++)
        e[i] = (float)hd_random_normal(&rng);
    for (int i = 0; i < COUNT(map); i++)
        map[i] = (float)hd_random_normal(&rng);
    for (int rank = 2; rank <= 4; rank++)
        for (int threads = 1; threads <= 3; threads++) {
            const int64_t maps[3][4] = {{C, C}, {K, C, C}, {S, K, C, C}};
            heed_pool *pool;
            heed_tensor *te, *tm, *out;
            assert_int_equal(heed_pool_new(threads, &pool), HEED_OK);
            heed_tape *tape = new_tape(pool);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, e, (int64_t[]){B, S, C}, 3, true, &te), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, map, maps[rank - 2], rank, true, &tm), HEED_OK);
            heed_routing_opts o = {.interests = K, .adaptive = true};
            assert_int_equal(heed_routing(tape, te, tm, &o, &out, NULL), HEED_OK);
            back(tape, out);
            size_t bytes[] = {(size_t)hd_count(tm) * 4, sizeof first[1] < sizeof e ? sizeof first[1] : sizeof e};
            const void *got[] = {tm->grad, te->grad};
            for (int i = 0; i < 2; i++) {
                if (threads == 1)
                    memcpy(first[i], got[i], bytes[i]);
                assert_memory_equal(first[i], got[i], bytes[i]);
            }
            heed_tape_free(tape);
            heed_pool_free(pool);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_company_does_not_matter),
        cmocka_unit_test(test_padding_weighs_nothing),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_routing_order),
        cmocka_unit_test(test_interests_follow_their_logits),
        cmocka_unit_test(test_shares_and_company),
        cmocka_unit_test(test_routing_settles),
        cmocka_unit_test(test_routing_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

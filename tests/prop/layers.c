/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of the layers over sequences, over random worlds: what must hold whatever the numbers are,
 * most of it bit for bit. */
#include "../unit/nn/tensors.h"
#include "heed/attention.h"

#define UNIT tt_unit(HEED_F32)
#define GRADS_MAX \
    (40 * 12 * 12 + 9 * 12 * 12) /* of a batch of the widest rows, and three weights */

/* ---- additive pooling: weights are shares, padding has none */

static void test_shares(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 30);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 200; round++) {
        struct tt_batch s;
        heed_tensor *out, *w;
        heed_tape_reset(tape);
        tt_batch_new(&s, &rng, round % 2, 200);
        int64_t C = 1 + tt_below(&rng, 20), A = 1 + tt_below(&rng, 20);
        heed_tensor *x = tt_batch_rows(tape, HEED_F32, &rng, 2, &s, C);
        heed_additive_weights weights = {TT_NEW(tape, HEED_F32, &rng, 1, A, C), NULL,
                                         TT_NEW(tape, HEED_F32, &rng, 3, A)};
        assert_int_equal(heed_additive_pool(tape, x, &weights, &s.by, &out, &w), HEED_OK);
        for (int64_t b = 0; b < s.B; b++) {
            double sum = 0;
            for (int64_t i = 0; i < s.lengths[b]; i++) {
                assert_true(tt_get(w, s.first[b] + i) >= 0);
                sum += tt_get(w, s.first[b] + i);
            }
            for (int64_t i = s.lengths[b]; !s.by.offsets && i < s.T; i++)
                assert_true(tt_get(w, s.first[b] + i) == 0);
            /* each share is off by a few units of itself: that of exp at a score of up to 60 */
            assert_true(fabs(sum - (s.lengths[b] > 0)) <= 300 * UNIT);
            /* a sum by shares lies between the smallest and the largest */
            for (int64_t c = 0; c < C && s.lengths[b] > 0; c++) {
                double low = HUGE_VAL, high = -HUGE_VAL, y = tt_get(out, b * C + c);
                for (int64_t i = 0; i < s.lengths[b]; i++) {
                    low = fmin(low, tt_get(x, (s.first[b] + i) * C + c));
                    high = fmax(high, tt_get(x, (s.first[b] + i) * C + c));
                }
                double slack = 600 * UNIT * fmax(fabs(low), fabs(high));
                assert_true(y >= low - slack && y <= high + slack);
            }
        }
    }
    heed_tape_free(tape);
}

/* ---- self attention without positions: who stands where does not matter */

static void test_permutation(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 31);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 100; round++) {
        int64_t T = 1 + tt_below(&rng, 90), H = 1 + tt_below(&rng, 3),
                C = H * (1 + tt_below(&rng, 8)), place[90];
        heed_tensor *a, *b;
        heed_tape_reset(tape);
        heed_tensor *x = TT_NEW(tape, HEED_F64, &rng, 1, 1, T, C),
                    *y = TT_NEW(tape, HEED_F64, &rng, 1, 1, T, C);
        heed_multihead_weights w = {
            H, TT_NEW(tape, HEED_F64, &rng, 0.5, C, C), TT_NEW(tape, HEED_F64, &rng, 0.5, C, C),
            TT_NEW(tape, HEED_F64, &rng, 0.5, C, C), TT_NEW(tape, HEED_F64, &rng, 0.5, C, C)};
        for (int64_t i = 0; i < T; i++)
            place[i] = i;
        for (int64_t i = T - 1; i > 0; i--) {
            int64_t j = tt_below(&rng, i + 1), hold = place[i];
            place[i] = place[j], place[j] = hold;
        }
        for (int64_t i = 0; i < T * C; i++)
            tt_put(y, i, tt_get(x, place[i / C] * C + i % C));
        assert_int_equal(heed_multihead(tape, x, NULL, &w, NULL, &a, NULL), HEED_OK);
        assert_int_equal(heed_multihead(tape, y, NULL, &w, NULL, &b, NULL), HEED_OK);
        for (int64_t i = 0; i < T * C; i++) { /* sums over T and C in another order */
            double want = tt_get(a, place[i / C] * C + i % C);
            assert_true(fabs(tt_get(b, i) - want) <= 1e-10);
        }
    }
    heed_tape_free(tape);
}

/* ---- padding: whatever stands there, and however much of it, changes nothing */

/* Every layer over sequences, one after the other: (B, T, C) or (N, C) in, rows per sequence out.
 */
static heed_tensor *reader(heed_tape *tape, heed_tensor *x, const struct tt_batch *s, heed_rng *rng,
                           heed_tensor *w[3])
{
    int64_t C = x->dim[x->rank - 1];
    heed_attention_opts opts = {
        .lengths = s->by.lengths, .offsets = s->by.offsets, .sequences = s->by.count};
    heed_tensor *y[2], *out[2];

    w[0] = TT_NEW(tape, HEED_F32, rng, 0.5, 4 * C, C);
    w[1] = TT_NEW(tape, HEED_F32, rng, 0.5, 4 * C, C);
    w[2] = TT_NEW(tape, HEED_F32, rng, 0.5, C, C);
    heed_lstm_weights lstm = {w[0], w[1], NULL};
    heed_multihead_weights attention = {1, w[2], w[2], w[2], w[2]};
    heed_additive_weights pool = {w[2], NULL, TT_NEW(tape, HEED_F32, rng, 1, C)};
    assert_int_equal(heed_multihead(tape, x, NULL, &attention, &opts, &x, NULL), HEED_OK);
    assert_int_equal(heed_lstm(tape, x, &lstm, &s->by, false, &y[0]), HEED_OK);
    assert_int_equal(heed_lstm(tape, x, &lstm, &s->by, true, &y[1]), HEED_OK);
    assert_int_equal(heed_add(tape, y[0], y[1], &x), HEED_OK);
    assert_int_equal(heed_mean_pool(tape, x, &s->by, &out[0]), HEED_OK);
    assert_int_equal(heed_additive_pool(tape, x, &pool, &s->by, &out[1], NULL), HEED_OK);
    assert_int_equal(heed_concat(tape, out, 2, &x), HEED_OK);
    return x;
}

/* x with other numbers where padding is. */
static heed_tensor *spoil(heed_tape *tape, const heed_tensor *x, const struct tt_batch *s,
                          const double ugly[4])
{
    int64_t C = x->dim[2];
    heed_tensor *y;

    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, x->dim, 3, &y), HEED_OK);
    y->wants_grad = true;
    for (int64_t i = 0; i < tt_count(x); i++)
        tt_put(y, i, i / C % s->T < s->lengths[i / C / s->T] ? tt_get(x, i) : ugly[i % 4]);
    return y;
}

/* Gradients of x and of w, copied out of the tape; of numbers at padding there is none. */
static void keep_grads(float *to, const heed_tensor *x, heed_tensor *w[3], const struct tt_batch *s)
{
    int64_t C = x->dim[2];

    for (int64_t i = 0; i < tt_count(x); i++)
        if (i / C % s->T >= s->lengths[i / C / s->T])
            assert_true(!x->grad || tt_grad(x, i) == 0);
    memset(to, 0, sizeof(float) * GRADS_MAX);
    if (x->grad)
        memcpy(to, x->grad, (size_t)tt_count(x) * sizeof(float));
    to += tt_count(x);
    for (int i = 0; i < 3; to += tt_count(w[i++]))
        if (w[i]->grad)
            memcpy(to, w[i]->grad, (size_t)tt_count(w[i]) * sizeof(float));
}

static void test_padding(void **state)
{
    static const double ugly[] = {(double)NAN, HUGE_VAL, -HUGE_VAL, 1e30},
                        plain[] = {3, -7, 0.5, 1};
    static float want_grads[GRADS_MAX], got_grads[GRADS_MAX];
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 32);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        struct tt_batch s;
        heed_tensor *w[3], *want, *got, *x[3];
        tt_batch_new(&s, &rng, false, 12);
        int64_t C = 1 + tt_below(&rng, 12);
        heed_rng start = rng;
        for (int i = 0; i < 2;
             i++) { /* the second time other finite numbers stand at the padding */
            heed_tape_reset(tape);
            rng = start;
            x[0] = tt_batch_rows(tape, HEED_F32, &rng, 1, &s, C);
            x[1] = spoil(tape, x[0], &s, plain), x[2] = spoil(tape, x[0], &s, ugly);
            heed_rng random = rng;
            got = reader(tape, x[2], &s, &random, w);
            random = rng;
            want = reader(tape, x[i], &s, &random, w);
            assert_memory_equal(want->data, got->data, (size_t)tt_count(want) * sizeof(float));
            if (tt_count(want) > 0)
                tt_backward(tape, want, &random);
            keep_grads(i ? got_grads : want_grads, x[i], w, &s);
        }
        assert_memory_equal(want_grads, got_grads, sizeof want_grads);
    }
    heed_tape_free(tape);
}

/* Ragged rows and padded ones are the same sequences: the same bits come out, unless there are so
 * few rows that products are made as dots. */
static void test_ragged_is_padded(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 33);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        struct tt_batch s, r;
        heed_tensor *w[3], *x[2], *out[2];
        heed_tape_reset(tape);
        tt_batch_new(&s, &rng, false, 12);
        r = s;
        r.by = (heed_sequences){.offsets = r.offsets, .count = r.B};
        r.rows = r.offsets[r.B];
        memcpy(r.first, r.offsets, sizeof r.first);
        int64_t C = 1 + tt_below(&rng, 12);
        x[0] = tt_batch_rows(tape, HEED_F32, &rng, 1, &s, C);
        x[1] = tt_batch_rows(tape, HEED_F32, &rng, 1, &r, C);
        for (int64_t b = 0; b < s.B; b++)
            for (int64_t i = 0; i < s.lengths[b] * C; i++)
                tt_put(x[1], r.first[b] * C + i, tt_get(x[0], s.first[b] * C + i));
        heed_rng random = rng;
        out[0] = reader(tape, x[0], &s, &random, w);
        random = rng;
        out[1] = reader(tape, x[1], &r, &random, w);
        if (r.rows > 2)
            assert_memory_equal(out[0]->data, out[1]->data,
                                (size_t)tt_count(out[0]) * sizeof(float));
    }
    heed_tape_free(tape);
}

/* ---- a reverse LSTM is a forward one over rows in the other order */

static void test_reverse(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 34);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        struct tt_batch s;
        heed_tensor *ahead, *back;
        heed_tape_reset(tape);
        tt_batch_new(&s, &rng, true, 20);
        int64_t C = 1 + tt_below(&rng, 9), H = 1 + tt_below(&rng, 30);
        heed_tensor *x = tt_batch_rows(tape, HEED_F32, &rng, 1, &s, C),
                    *y = tt_batch_rows(tape, HEED_F32, &rng, 1, &s, C);
        heed_lstm_weights w = {TT_NEW(tape, HEED_F32, &rng, 1, 4 * H, C),
                               TT_NEW(tape, HEED_F32, &rng, 1, 4 * H, H),
                               TT_NEW(tape, HEED_F32, &rng, 1, 4 * H)};
        for (int64_t b = 0; b < s.B; b++)
            for (int64_t i = 0; i < s.lengths[b] * C; i++)
                tt_put(y, s.first[b] * C + i,
                       tt_get(x, (s.first[b] + s.lengths[b] - 1 - i / C) * C + i % C));
        assert_int_equal(heed_lstm(tape, x, &w, &s.by, false, &ahead), HEED_OK);
        assert_int_equal(heed_lstm(tape, y, &w, &s.by, true, &back), HEED_OK);
        for (int64_t b = 0; b < s.B; b++)
            for (int64_t i = 0; i < s.lengths[b] * H; i++)
                assert_true(tt_get(ahead, s.first[b] * H + i) ==
                            tt_get(back, (s.first[b] + s.lengths[b] - 1 - i / H) * H + i % H));
    }
    heed_tape_free(tape);
}

/* ---- threads: results and gradients are the same bits for any number of them */

static void run_with(heed_pool *pool, uint64_t round, bool ragged, heed_tape **tape,
                     heed_tensor **out, heed_tensor **x, heed_tensor *w[3])
{
    heed_rng rng = hd_rng(tt_seed(), 1000 + round);
    struct tt_batch *s = malloc(sizeof *s);

    tt_batch_new(s, &rng, ragged, 90);
    assert_int_equal(heed_tape_new(pool, 1, tape), HEED_OK);
    *x = tt_batch_rows(*tape, HEED_F32, &rng, 1, s, 40);
    *out = reader(*tape, *x, s, &rng, w);
    if (tt_count(*out) > 0)
        tt_backward(*tape, *out, &rng);
    free(s);
}

static void assert_same(const heed_tensor *a, const heed_tensor *b)
{
    size_t bytes = (size_t)tt_count(a) * sizeof(float);

    assert_memory_equal(a->data, b->data, bytes);
    assert_true(!a->grad == !b->grad);
    if (a->grad && bytes > 0)
        assert_memory_equal(a->grad, b->grad, bytes);
}

static void test_threads(void **state)
{
    heed_pool *pool;

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (uint64_t round = 0; round < 12; round++) {
        heed_tape *tape[2];
        heed_tensor *out[2], *x[2], *w[2][3];
        for (int i = 0; i < 2; i++)
            run_with(i ? pool : NULL, round, round % 2, &tape[i], &out[i], &x[i], w[i]);
        assert_memory_equal(out[0]->data, out[1]->data, (size_t)tt_count(out[0]) * sizeof(float));
        assert_same(x[0], x[1]);
        for (int i = 0; i < 3; i++)
            assert_same(w[0][i], w[1][i]);
        for (int i = 0; i < 2; i++)
            heed_tape_free(tape[i]);
    }
    heed_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),  cmocka_unit_test(test_permutation),
        cmocka_unit_test(test_padding), cmocka_unit_test(test_ragged_is_padded),
        cmocka_unit_test(test_reverse), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers over sequences and rows against their definitions in double: pools, the LSTM, softmax,
 * rows times a number, tensors side by side. Bounds are those of running error analysis: beside
 * each number of the definition stands by how much rounding may have moved it (Higham 2002,
 * section 3.3). */
#include "tensors.h"

#include <math.h>

static const heed_dtype dtypes[] = {HEED_F32, HEED_F64};

/* ---- rows */

static void test_concat(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 1);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        heed_tape_reset(tape);
        heed_dtype dtype = dtypes[round % 2];
        int64_t B = tt_below(&rng, 4), T = tt_below(&rng, 5), at = 0;
        heed_tensor *x[3], *out;
        for (int i = 0; i < 3; i++) {
            int64_t C = tt_below(&rng, 9);
            x[i] = TT_NEW(tape, dtype, &rng, 1, B, T, C + 2);
            assert_int_equal(heed_slice(tape, x[i], 2, 1, C, &x[i]), HEED_OK); /* has gaps */
        }
        assert_int_equal(heed_concat(tape, x, 3, &out), HEED_OK);
        assert_int_equal(out->rank, 3);
        for (int i = 0; i < 3; at += x[i++]->dim[2])
            for (int64_t row = 0; row < B * T; row++)
                for (int64_t c = 0; c < x[i]->dim[2]; c++)
                    assert_true(tt_get(out, row * out->dim[2] + at + c) ==
                                tt_get(x[i], row * x[i]->stride[1] + c));
        assert_int_equal(out->dim[2], at);
    }
    heed_tape_free(tape);
}

static void test_softmax(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 2);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        heed_tape_reset(tape);
        heed_dtype dtype = dtypes[round % 2];
        int64_t N = tt_below(&rng, 20), C = tt_below(&rng, 40);
        heed_tensor *x = TT_NEW(tape, dtype, &rng, 5, N, C), *p;
        for (int64_t i = 0; i < N * C; i += 1 + tt_below(&rng, 30))
            tt_put(x, i, -(double)INFINITY);
        for (int64_t i = 0; N > 0 && i < C; i++) /* the first row has nothing */
            tt_put(x, i, -(double)INFINITY);
        assert_int_equal(heed_softmax(tape, x, &p), HEED_OK);
        for (int64_t i = 0; i < N; i++) {
            struct tt_near score[40], share[40];
            int64_t n = 0, at = 0;
            for (int64_t c = 0; c < C; c++) /* those of -infinity aside */
                if (isfinite(tt_get(x, i * C + c)))
                    score[n++] = tt_exact(x, i * C + c);
            tt_softmax(share, score, n, dtype);
            for (int64_t c = 0; c < C; c++) {
                bool is_seen = isfinite(tt_get(x, i * C + c));
                tt_assert_near(tt_get(p, i * C + c),
                               is_seen ? share[at++] : (struct tt_near){0, 0});
            }
        }
    }
    heed_tape_free(tape);
}

static void test_scale_rows(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 3);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 40; round++) {
        heed_tape_reset(tape);
        heed_dtype dtype = dtypes[round % 2];
        int64_t N = tt_below(&rng, 20), C = tt_below(&rng, 40);
        heed_tensor *x = TT_NEW(tape, dtype, &rng, 1, N, C),
                    *a = TT_NEW(tape, dtype, &rng, 1, N, 1);
        heed_tensor *y;
        assert_int_equal(heed_scale_rows(tape, x, a, &y), HEED_OK);
        for (int64_t i = 0; i < N * C; i++) {
            double want = tt_get(a, i / C) * tt_get(x, i);
            tt_assert_near(tt_get(y, i), (struct tt_near){want, fabs(want) * tt_unit(dtype)});
        }
    }
    heed_tape_free(tape);
}

/* ---- pools */

/* scores NULL: the mean. */
static void check_pool(const struct tt_batch *s, const heed_tensor *x, const heed_tensor *scores,
                       const heed_tensor *out, const heed_tensor *w)
{
    int64_t C = x->dim[x->rank - 1];
    double unit = tt_unit(x->dtype);

    for (int64_t b = 0; b < s->B; b++) {
        struct tt_near share[30], score[30];
        int64_t n = s->lengths[b];
        for (int64_t i = 0; i < n; i++) {
            share[i] = (struct tt_near){1 / (double)n, 0};
            score[i] = scores ? tt_exact(scores, s->first[b] + i) : share[i];
        }
        if (scores)
            tt_softmax(share, score, n, x->dtype);
        for (int64_t i = 0; w && i < (s->by.offsets ? n : s->T); i++)
            tt_assert_near(tt_get(w, s->first[b] + i), i < n ? share[i] : (struct tt_near){0, 0});
        for (int64_t c = 0; c < C; c++) {
            struct tt_near want = {0, 0};
            double mass = 0;
            for (int64_t i = 0; i < n; i++) {
                struct tt_near a =
                    tt_product(share[i], tt_exact(x, (s->first[b] + i) * C + c), unit);
                want.value += a.value, want.error += a.error, mass += fabs(a.value);
            }
            want.error += tt_gamma(n, x->dtype) * mass;
            tt_assert_near(tt_get(out, b * C + c), want);
        }
    }
}

static void test_pools(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 4);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 120; round++) {
        heed_tape_reset(tape);
        heed_dtype dtype = dtypes[round % 2];
        struct tt_batch s;
        heed_tensor *out, *w;
        tt_batch_new(&s, &rng, round / 2 % 2, 30);
        heed_tensor *x = tt_batch_rows(tape, dtype, &rng, 1, &s, tt_below(&rng, 20));
        heed_tensor *scores = TT_NEW(tape, dtype, &rng, 3, s.rows, 1);
        assert_int_equal(heed_mean_pool(tape, x, &s.by, &out), HEED_OK);
        check_pool(&s, x, NULL, out, NULL);
        assert_int_equal(heed_softmax_pool(tape, x, scores, &s.by, &out, &w), HEED_OK);
        assert_int_equal(w->rank, x->rank - 1);
        check_pool(&s, x, scores, out, w);
    }
    heed_tape_free(tape);
}

/* ---- LSTM */

struct lstm_case {
    const heed_tensor *x;
    heed_lstm_weights w;
    int64_t C, H;
    struct tt_near h[20], c[20];
};

/* One step by the definition; the state and the cell go from one to the next. */
static void lstm_step(struct lstm_case *m, int64_t row)
{
    double unit = tt_unit(m->x->dtype);
    struct tt_near x[9], from_x[80], from_h[80];

    for (int64_t c = 0; c < m->C; c++)
        x[c] = tt_exact(m->x, row * m->C + c);
    tt_linear(from_x, x, m->w.input, m->w.bias);
    tt_linear(from_h, m->h, m->w.hidden, NULL);
    for (int64_t j = 0; j < m->H; j++) {
        struct tt_near gate[4];
        for (int g = 0; g < 4; g++) {
            struct tt_near a = from_x[g * m->H + j], b = from_h[g * m->H + j];
            double sum = a.value + b.value;
            gate[g] = (struct tt_near){sum, a.error + b.error + unit * fabs(sum)};
            gate[g] = tt_squash(gate[g], g == 2, unit);
        }
        struct tt_near kept = tt_product(gate[1], m->c[j], unit),
                       added = tt_product(gate[0], gate[2], unit);
        double sum = kept.value + added.value;
        m->c[j] = (struct tt_near){sum, kept.error + added.error + unit * fabs(sum)};
        m->h[j] = tt_product(gate[3], tt_squash(m->c[j], true, unit), unit);
    }
}

static void check_lstm(heed_tape *tape, heed_rng *rng, heed_dtype dtype, bool ragged, bool reverse)
{
    struct tt_batch s;
    heed_tensor *out;
    int64_t C = 1 + tt_below(rng, 9), H = 1 + tt_below(rng, 20);

    tt_batch_new(&s, rng, ragged, 9);
    heed_tensor *x = tt_batch_rows(tape, dtype, rng, 1, &s, C);
    heed_lstm_weights w = {TT_NEW(tape, dtype, rng, 0.4, 4 * H, C),
                           TT_NEW(tape, dtype, rng, 0.4, 4 * H, H),
                           tt_below(rng, 3) ? TT_NEW(tape, dtype, rng, 0.4, 4 * H) : NULL};
    struct lstm_case m = {.x = x, .w = w, .C = C, .H = H};
    assert_int_equal(heed_lstm(tape, x, &w, &s.by, reverse, &out), HEED_OK);
    for (int64_t b = 0; b < s.B; b++) {
        memset(m.h, 0, sizeof m.h), memset(m.c, 0, sizeof m.c);
        for (int64_t t = 0; t < s.lengths[b]; t++) {
            int64_t row = s.first[b] + (reverse ? s.lengths[b] - 1 - t : t);
            lstm_step(&m, row);
            for (int64_t j = 0; j < H; j++)
                tt_assert_near(tt_get(out, row * H + j), m.h[j]);
        }
        for (int64_t t = s.lengths[b]; !ragged && t < s.T; t++)
            for (int64_t j = 0; j < H; j++)
                assert_true(tt_get(out, (b * s.T + t) * H + j) == 0);
    }
}

static void test_lstm(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 5);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 80; round++) {
        heed_tape_reset(tape);
        check_lstm(tape, &rng, dtypes[round % 2], round / 2 % 2, round / 4 % 2);
    }
    heed_tape_free(tape);
}

/* Nothing is recorded, nothing differs: inference gives what training saw. */
static void test_lstm_without_record(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 6);
    heed_tensor *a, *b;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 3, 7, 5);
    heed_lstm_weights w = {TT_NEW(tape, HEED_F32, &rng, 1, 16, 5),
                           TT_NEW(tape, HEED_F32, &rng, 1, 16, 4), NULL};
    assert_int_equal(heed_lstm(tape, x, &w, NULL, false, &a), HEED_OK);
    heed_tape_record(tape, false);
    assert_int_equal(heed_lstm(tape, x, &w, NULL, false, &b), HEED_OK);
    assert_memory_equal(a->data, b->data, 3 * 7 * 4 * sizeof(float));
    assert_true(a->wants_grad && !b->wants_grad);
    heed_tape_free(tape);
}

static void test_lstm_init(void **state)
{
    heed_params *params;
    heed_lstm_weights w;

    (void)state;
    assert_int_equal(heed_params_new(HEED_F64, 1, &params), HEED_OK);
    assert_int_equal(heed_lstm_init(params, "reader", 3, 4, &w), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "reader.hidden"), w.hidden);
    for (int64_t i = 0; i < 16; i++)
        assert_true(tt_get(w.bias, i) == (i / 4 == 1 ? 1 : 0));
    for (int64_t i = 0; i < 48; i++)
        assert_true(fabs(tt_get(w.input, i)) <= 0.5);
    TT_REFUSED(heed_lstm_init(params, "reader", 3, 4, &w), HEED_E_EXISTS, "reader.input");
    TT_REFUSED(heed_lstm_init(params, "none", 3, 0, &w), HEED_E_ARG, "from 3 to 0");
    TT_REFUSED(heed_lstm_init(params, "wide", 3, INT64_MAX, &w), HEED_E_ARG, "9223372036854775807");
    heed_params_free(params);
}

/* ---- what is refused, and the heap */

static void test_bad_sequences(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 7);
    heed_tensor *out;
    const int64_t late[] = {1, 4}, back[] = {0, 3, 2, 4}, short_of[] = {0, 3}, lengths[] = {2, 4},
                  below[] = {-1, 0};

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 4, 2),
                *y = TT_NEW(tape, HEED_F32, &rng, 1, 2, 3, 2);
    const struct {
        heed_tensor *x;
        heed_sequences by;
        heed_status status;
        const char *words;
    } rows[] = {
        {x, {.offsets = late, .count = 1}, HEED_E_SHAPE, "offsets go from 1 to 4"},
        {x, {.offsets = short_of, .count = 1}, HEED_E_SHAPE, "to 3, but x is (4, 2)"},
        {x, {.offsets = back, .count = 3}, HEED_E_ARG, "offset 2 after 3 (sequence 1)"},
        {x, {.offsets = late, .count = -1}, HEED_E_ARG, "-1 sequences"},
        {x, {.offsets = late, .count = 1, .lengths = lengths}, HEED_E_ARG, "both given"},
        {x, {0}, HEED_E_SHAPE, "x is (4, 2), not (B, T, C)"},
        {y, {.offsets = short_of, .count = 1}, HEED_E_SHAPE, "x is (2, 3, 2), not (N, C)"},
        {y, {.lengths = lengths}, HEED_E_ARG, "length 4 of sequence 1 is not in 0 .. 3"},
        {y, {.lengths = below}, HEED_E_ARG, "length -1 of sequence 0"},
        {y, {.reserved = {0, 1}}, HEED_E_ARG, "reserved"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        TT_REFUSED(heed_mean_pool(tape, rows[i].x, &rows[i].by, &out), rows[i].status,
                   rows[i].words);
    heed_tape_free(tape);
}

static void test_bad_layers(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 8);
    heed_tensor *out;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 2, 3, 5),
                *w = TT_NEW(tape, HEED_F32, &rng, 1, 16, 5),
                *u = TT_NEW(tape, HEED_F32, &rng, 1, 16, 4),
                *b = TT_NEW(tape, HEED_F32, &rng, 1, 16),
                *d = TT_NEW(tape, HEED_F64, &rng, 1, 16, 4),
                *six = TT_NEW(tape, HEED_F32, &rng, 1, 6), *d6 = TT_NEW(tape, HEED_F64, &rng, 1, 6),
                *x2 = TT_NEW(tape, HEED_F32, &rng, 1, 2, 4, 5);
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){w, NULL, b}, NULL, false, &out), HEED_E_ARG,
               "hidden weights are missing");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){NULL, u, b}, NULL, false, &out), HEED_E_ARG,
               "input weights are missing");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){w, w, b}, NULL, false, &out), HEED_E_SHAPE,
               "hidden weights are (16, 5), not (4 H, H)");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){u, u, b}, NULL, false, &out), HEED_E_SHAPE,
               "lstm: input: linear: x is (2, 3, 5), not (N, 4)");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){six, u, b}, NULL, false, &out), HEED_E_SHAPE,
               "input weights are (6)");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){w, u, six}, NULL, false, &out), HEED_E_SHAPE,
               "b is (6), not (16)");
    TT_REFUSED(heed_lstm(tape, x, &(heed_lstm_weights){w, d, b}, NULL, false, &out), HEED_E_ARG,
               "different element types");
    TT_REFUSED(heed_softmax_pool(tape, x, b, NULL, &out, NULL), HEED_E_SHAPE,
               "the scores are (16), not a number for each of the 6 rows");
    TT_REFUSED(heed_softmax_pool(tape, x, d6, NULL, &out, NULL), HEED_E_ARG, "element types");
    TT_REFUSED(heed_scale_rows(tape, x, b, &out), HEED_E_SHAPE, "a is (16), not a number for each");
    TT_REFUSED(heed_scale_rows(tape, x, d6, &out), HEED_E_ARG, "element types");
    TT_REFUSED(heed_concat(tape, (heed_tensor *[]){x, x2}, 2, &out), HEED_E_SHAPE,
               "(2, 4, 5) does not fit beside (2, 3, 5)");
    TT_REFUSED(heed_concat(tape, (heed_tensor *[]){u, d}, 2, &out), HEED_E_ARG, "element types");
    TT_REFUSED(heed_concat(tape, NULL, 0, &out), HEED_E_ARG, "0 tensors");
    heed_tape_free(tape);
}

static void step_of_layers(heed_tape *tape)
{
    static const int64_t offsets[] = {0, 40, 40, 61, 100};
    const heed_sequences by = {.offsets = offsets, .count = 4};
    heed_rng rng = hd_rng(1, 1);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 100, 24), *y[2], *scores;
    heed_lstm_weights w = {TT_NEW(tape, HEED_F32, &rng, 0.2, 64, 24),
                           TT_NEW(tape, HEED_F32, &rng, 0.2, 64, 16),
                           TT_NEW(tape, HEED_F32, &rng, 0.2, 64)};

    assert_int_equal(heed_lstm(tape, x, &w, &by, false, &y[0]), HEED_OK);
    assert_int_equal(heed_lstm(tape, x, &w, &by, true, &y[1]), HEED_OK);
    assert_int_equal(heed_concat(tape, y, 2, &x), HEED_OK);
    assert_int_equal(heed_linear(tape, x, TT_NEW(tape, HEED_F32, &rng, 1, 1, 32), NULL, &scores),
                     HEED_OK);
    assert_int_equal(heed_softmax_pool(tape, x, scores, &by, &y[0], NULL), HEED_OK);
    assert_int_equal(heed_mean_pool(tape, x, &by, &y[1]), HEED_OK);
    assert_int_equal(heed_concat(tape, y, 2, &x), HEED_OK);
    assert_int_equal(heed_softmax(tape, x, &x), HEED_OK);
    tt_backward(tape, x, &rng);
}

static void test_heap(void **state)
{
    (void)state;
    tt_check_heap(step_of_layers);
}

/* ---- what trains */

static void test_logits_right(void **state)
{
    heed_tape *tape;
    float logits[] = {1, 2, 3, /**/ 5, 1, 1, /**/ 0, 0, 1, /**/ 9, 9, 9};
    const int32_t labels[] = {2, 1, -1, 0};
    heed_tensor *x;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, logits, (int64_t[]){4, 3}, 2, false, &x),
                     HEED_OK);
    assert_int_equal(heed_logits_right(x, labels), 2);
    logits[2] = NAN; /* a row that is no number is not right */
    assert_int_equal(heed_logits_right(x, labels), 1);
    heed_tape_free(tape);
}

/* One call is the three it stands for, bit for bit, and gradients are gone also where it fails. */
static void test_adam_learn(void **state)
{
    static const int32_t labels[] = {1, 0, 2};
    float after[2][15];

    (void)state;
    for (int one = 0; one < 2; one++) {
        heed_params *params;
        heed_tape *tape;
        heed_adam *adam;
        heed_tensor *w, *x, *loss;
        heed_rng rng = hd_rng(3, 3);
        assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
        assert_int_equal(heed_linear_init(params, "out", 3, 5, &w, NULL), HEED_OK);
        assert_int_equal(heed_adam_new(params, NULL, &adam), HEED_OK);
        assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
        for (int step = 0; step < 3; step++, heed_tape_reset(tape)) {
            assert_int_equal(heed_linear(tape, TT_NEW(tape, HEED_F32, &rng, 1, 3, 5), w, NULL, &x),
                             HEED_OK);
            assert_int_equal(heed_softmax_loss(tape, x, labels, NULL, &loss), HEED_OK);
            if (one) {
                assert_int_equal(heed_adam_learn(adam, tape, loss, 0.1), HEED_OK);
                continue;
            }
            assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
            assert_int_equal(heed_adam_step(adam, 0.1, NULL, NULL), HEED_OK);
            heed_params_zero_grad(params);
        }
        memcpy(after[one], w->data, sizeof after[one]);
        assert_int_equal(heed_linear(tape, TT_NEW(tape, HEED_F32, &rng, 1, 3, 5), w, NULL, &x),
                         HEED_OK);
        assert_int_equal(heed_softmax_loss(tape, x, labels, NULL, &loss), HEED_OK);
        TT_REFUSED(heed_adam_learn(adam, tape, loss, -1), HEED_E_ARG, "rate");
        for (int i = 0; i < 15; i++)
            assert_true(((const float *)w->grad)[i] == 0);
        assert_memory_equal(w->data, after[one], sizeof after[one]);
        heed_tape_free(tape);
        heed_adam_free(adam);
        heed_params_free(params);
    }
    assert_memory_equal(after[0], after[1], sizeof after[0]);
}

/* Names: found under their prefix, at the limit of length and not one past it. */
static void test_inits(void **state)
{
    heed_params *params;
    heed_tensor *w, *b = NULL;
    char prefix[260];

    (void)state;
    assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
    assert_int_equal(heed_linear_init(params, "out", 3, 5, &w, &b), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "out.weight"), w);
    assert_ptr_equal(heed_params_find(params, "out.bias"), b);
    assert_int_equal(heed_norm_init(params, "norm", 3, &w, NULL), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "norm.gain"), w);
    assert_null(heed_params_find(params, "norm.bias"));
    assert_int_equal(heed_embedding_init(params, "words", 7, 2, &w), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "words.table"), w);
    memset(prefix, 'x', sizeof prefix);
    prefix[255 - 6] = 0; /* ".table" */
    assert_int_equal(heed_embedding_init(params, prefix, 7, 2, &w), HEED_OK);
    prefix[255 - 6] = 'x', prefix[255 - 5] = 0;
    TT_REFUSED(heed_embedding_init(params, prefix, 7, 2, &w), HEED_E_RANGE, "more than 255 bytes");
    heed_params_free(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat),       cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_scale_rows),   cmocka_unit_test(test_pools),
        cmocka_unit_test(test_lstm),         cmocka_unit_test(test_lstm_without_record),
        cmocka_unit_test(test_lstm_init),    cmocka_unit_test(test_bad_sequences),
        cmocka_unit_test(test_bad_layers),   cmocka_unit_test(test_heap),
        cmocka_unit_test(test_logits_right), cmocka_unit_test(test_adam_learn),
        cmocka_unit_test(test_inits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

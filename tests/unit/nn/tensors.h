/* SPDX-License-Identifier: Apache-2.0
 *
 * Random tensors and random sequences for tests of layers, and a heap that counts. Sequences lean
 * to the edges: empty, of one row, longer than a block. */
#ifndef HEED_TEST_TENSORS_H
#define HEED_TEST_TENSORS_H

#include "base/random.h"
#include "heed/nn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TT_SEQUENCES_MAX 40

static inline uint64_t tt_seed(void)
{
    const char *text = getenv("HEED_SEED");

    return text ? strtoull(text, NULL, 0) : 20261126;
}

static inline int64_t tt_below(heed_rng *rng, int64_t n)
{
    return (int64_t)hd_random_below(rng, (uint64_t)n);
}

static inline double tt_get(const heed_tensor *x, int64_t i)
{
    return x->dtype == HEED_F32 ? (double)((const float *)x->data)[i]
                                : ((const double *)x->data)[i];
}

static inline double tt_grad(const heed_tensor *x, int64_t i)
{
    return x->dtype == HEED_F32 ? (double)((const float *)x->grad)[i]
                                : ((const double *)x->grad)[i];
}

static inline void tt_put(heed_tensor *x, int64_t i, double value)
{
    if (x->dtype == HEED_F32)
        ((float *)x->data)[i] = (float)value;
    else
        ((double *)x->data)[i] = value;
}

static inline int64_t tt_count(const heed_tensor *x)
{
    int64_t n = 1;

    for (int i = 0; i < x->rank; i++)
        n *= x->dim[i];
    return n;
}

/* Half the distance from 1 to the next number: the error of one rounding. */
static inline double tt_unit(heed_dtype dtype)
{
    return dtype == HEED_F32 ? 0x1p-24 : 0x1p-53;
}

/* Normal numbers times scale, in the tape's arena; a gradient is wanted. */
static inline heed_tensor *tt_random(heed_tape *tape, heed_dtype dtype, heed_rng *rng, double scale,
                                     int rank, const int64_t *dim)
{
    heed_tensor *x;

    assert_int_equal(heed_tensor_new_in(tape, dtype, dim, rank, &x), HEED_OK);
    for (int64_t i = 0; i < tt_count(x); i++)
        tt_put(x, i, scale * hd_random_normal(rng));
    x->wants_grad = true;
    return x;
}

#define TT_NEW(tape, dtype, rng, scale, ...)                                                      \
    tt_random(tape, dtype, rng, scale, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
              (int64_t[]){__VA_ARGS__})

/* Ragged or padded, whose rows start at first[b]. */
struct tt_batch {
    heed_sequences by;
    int64_t offsets[TT_SEQUENCES_MAX + 1], lengths[TT_SEQUENCES_MAX], first[TT_SEQUENCES_MAX];
    int64_t B, T, rows;
};

static inline void tt_batch_new(struct tt_batch *s, heed_rng *rng, bool ragged, int64_t longest)
{
    *s = (struct tt_batch){.B = tt_below(rng, TT_SEQUENCES_MAX + 1),
                           .T = tt_below(rng, longest + 1)};
    for (int64_t b = 0; b < s->B; b++) {
        s->lengths[b] = tt_below(rng, 4) ? tt_below(rng, s->T + 1) : s->T;
        s->offsets[b + 1] = s->offsets[b] + s->lengths[b];
        s->first[b] = ragged ? s->offsets[b] : b * s->T;
    }
    s->rows = ragged ? s->offsets[s->B] : s->B * s->T;
    if (ragged)
        s->by = (heed_sequences){.offsets = s->offsets, .count = s->B};
    else
        s->by = (heed_sequences){.lengths = s->lengths};
}

/* x (N, C) or (B, T, C). */
static inline heed_tensor *tt_batch_rows(heed_tape *tape, heed_dtype dtype, heed_rng *rng,
                                         double scale, const struct tt_batch *s, int64_t C)
{
    if (s->by.offsets)
        return TT_NEW(tape, dtype, rng, scale, s->rows, C);
    return TT_NEW(tape, dtype, rng, scale, s->B, s->T, C);
}

/* sum(r . x) with r of the tape's own numbers, backwards: every element of x matters. */
static inline void tt_backward(heed_tape *tape, heed_tensor *x, heed_rng *rng)
{
    int64_t n = tt_count(x);
    heed_tensor *row, *r, *dot;

    assert_int_equal(heed_reshape(tape, x, (int64_t[]){1, n}, 2, &row), HEED_OK);
    r = TT_NEW(tape, x->dtype, rng, 1, 1, n);
    r->wants_grad = false;
    assert_int_equal(heed_linear(tape, row, r, NULL, &dot), HEED_OK);
    assert_int_equal(heed_tape_backward(tape, dot), HEED_OK);
}

/* ---- running error analysis (Higham 2002, section 3.3): a number by its definition in double, and
 * by how much rounding may have moved what the library has for it */

struct tt_near {
    double value, error;
};

/* Roundings of a sum of n products, with room for the second order. */
static inline double tt_gamma(int64_t n, heed_dtype dtype)
{
    return 1.01 * (double)n * tt_unit(dtype);
}

static inline struct tt_near tt_exact(const heed_tensor *x, int64_t i)
{
    return (struct tt_near){tt_get(x, i), 0};
}

static inline struct tt_near tt_product(struct tt_near a, struct tt_near b, double unit)
{
    double y = a.value * b.value;

    return (struct tt_near){y, a.error * fabs(b.value) + fabs(a.value) * b.error +
                                   a.error * b.error + 2 * unit * fabs(y)};
}

/* tanh, or the sigmoid: both slopes are at most 1. */
static inline struct tt_near tt_squash(struct tt_near z, bool is_tanh, double unit)
{
    double y = is_tanh ? tanh(z.value) : 1 / (1 + exp(-z.value));

    return (struct tt_near){y, z.error + 8 * unit * fabs(y)};
}

/* y (O) = W x + b of one row; b may be NULL. */
static inline void tt_linear(struct tt_near *y, const struct tt_near *x, const heed_tensor *w,
                             const heed_tensor *b)
{
    int64_t O = w->dim[0], C = w->dim[1];

    for (int64_t o = 0; o < O; o++) {
        double sum = b ? tt_get(b, o) : 0, mass = fabs(sum), error = 0;
        for (int64_t c = 0; c < C; c++) {
            double a = tt_get(w, o * C + c);
            sum += a * x[c].value;
            mass += fabs(a) * (fabs(x[c].value) + x[c].error);
            error += fabs(a) * x[c].error;
        }
        y[o] = (struct tt_near){sum, error + tt_gamma(C + 2, w->dtype) * mass};
    }
}

/* w (n) = softmax of n scores: their errors and the rounding of score - log sum, which is as large
 * as twice the largest score, become relative ones. */
static inline void tt_softmax(struct tt_near *w, const struct tt_near *score, int64_t n,
                              heed_dtype dtype)
{
    double sum = 0, most = 0, error = 0;

    for (int64_t i = 0; i < n; i++) {
        sum += exp(score[i].value);
        most = fmax(most, fabs(score[i].value)), error = fmax(error, score[i].error);
    }
    for (int64_t i = 0; i < n; i++) {
        double share = exp(score[i].value) / sum;
        w[i] =
            (struct tt_near){share, share * (tt_gamma(n + 8, dtype) +
                                             4 * (most + 4) * tt_unit(dtype) + expm1(2 * error))};
    }
}

static inline void tt_assert_near(double got, struct tt_near want)
{
    if (!(fabs(got - want.value) <= want.error))
        fail_msg("%.12g is not %.12g within %.3g (HEED_SEED=%llu)", got, want.value, want.error,
                 (unsigned long long)tt_seed());
}

/* ---- a heap that counts what is taken from it */

static int64_t tt_taken;

static void *tt_resize(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    tt_taken++;
    return realloc(pointer, bytes);
}

/* Runs a step four times on a tape of its own; the last two may take nothing from the heap. */
static inline void tt_check_heap(void (*step)(heed_tape *tape))
{
    heed_tape *tape;

    heed_set_allocator(&(heed_allocator){tt_resize, NULL});
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int i = 0; i < 4; i++) {
        int64_t before = tt_taken;
        heed_tape_reset(tape);
        step(tape);
        if (i >= 2)
            assert_int_equal(tt_taken, before);
    }
    heed_tape_free(tape);
    heed_set_allocator(NULL);
}

/* The call is refused with this status, and the message holds these words. */
#define TT_REFUSED(call, expected, words)                                    \
    do {                                                                     \
        assert_int_equal(call, expected);                                    \
        if (!strstr(heed_error_message(), words))                            \
            fail_msg("`%s` does not say `%s`", heed_error_message(), words); \
    } while (0)

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of exact attention that look at one score at a time: masks, which hide pairs, and the
 * weights that are not normalised across keys, SiLU and sigmoid. Part of struct hd_attention_kernels;
 * one source for every element type and instruction set. */
#include "kernel/attention_tile.h"

#include <math.h>

#define FILL_POINTWISE CAT(hd_fill_attention_pointwise_, HD_VARIANT)

void FILL_POINTWISE(struct hd_attention_kernels *k);

/* ---- masks */

typedef uint8_t bytes __attribute__((vector_size(VL)));

/* Where the bytes of the next n pairs, `col` apart, are 0. */
VEC_FN ivec unkept(const uint8_t *keep, int64_t col, size_t n)
{
    bytes b = {0};
    if (col == 1 && n >= VL)
        memcpy(&b, keep, sizeof b);
    else
        for (size_t l = 0; l < n && l < VL; l++)
            b[l] = keep[(int64_t)l * col];
    return (ivec)(__builtin_convertvector(b, ivec) == 0);
}

static void keep(const struct hd_tile *t, const uint8_t *keep, int64_t keep_row, int64_t keep_col)
{
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        const uint8_t *row = keep + i * keep_row;
        size_t n = seen_by(t, i);
        for (size_t j = 0; j < n; j += VL) {
            ivec hidden = unkept(row + (int64_t)j * keep_col, keep_col, n - j);
            put(s + j, pick(hidden, all(-(REAL)INFINITY), load(s + j)), n - j);
        }
    }
}

/* The next n elements, `col` apart. */
VEC_FN vec spaced(const REAL *x, int64_t col, size_t n)
{
    vec y = {0};
    if (col == 1)
        return get(x, n);
    for (size_t l = 0; l < n && l < VL; l++)
        y[l] = x[(int64_t)l * col];
    return y;
}

static void mask(const struct hd_tile *t, const void *mask_, int64_t mask_row, int64_t mask_col)
{
    const REAL *mask = mask_;
    const vec never = all(-(REAL)INFINITY);
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        const REAL *row = mask + i * mask_row;
        size_t n = seen_by(t, i);
        for (size_t j = 0; j < n; j += VL) {
            vec m = spaced(row + (int64_t)j * mask_col, mask_col, n - j);
            put(s + j, pick((ivec)(m == never), never, load(s + j) + m), n - j);
        }
    }
}

/* ---- weights that know nothing of other keys */

/* Below here exp(-s) overflows in float32 and SiLU is under 1e-36: taken as 0. */
#define SILU_LOWEST R(-88.0)

/* Where the weight is taken as 0, so that a score of -infinity weighs nothing, as a mask means it;
 * sigmoid_v() stops short of that. */
VEC_FN ivec weightless(vec x, const bool silu)
{
    return silu ? (ivec)(x < all(SILU_LOWEST)) : (ivec)(x == all(-(REAL)INFINITY));
}

/* silu is a constant wherever this is inlined; inverse is read for it alone. */
VEC_FN void pointwise(const struct hd_tile *t, const REAL *inverse, const bool silu)
{
    size_t room = (size_t)((t->columns + W - 1) / W * W);
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        size_t n = seen_by(t, i), j = 0;
        vec scale = all(silu ? inverse[i] : 1);
        uint64_t row_key =
            t->threshold ? hd_attention_row_key(t->key, t->row + (uint64_t)i) : 0;
        for (; j < n; j += VL) {
            vec x = load(s + j), f = sigmoid_v(x), a = silu ? x * scale * f : f;
            a = pick(weightless(x, silu), (vec){0}, a);
            if (t->threshold)
                a *= kept(t, row_key, t->column + j);
            store(s + j, only(a, n - j));
        }
        for (; j < room; j += VL)
            store(s + j, (vec){0});
    }
}

/* With f = 1 / (1 + exp(-s)): d silu(s) / d s = f + silu (1 - f), d f / d s = f (1 - f). */
VEC_FN void pointwise_back(const struct hd_tile *t, REAL *dp, int64_t dp_row, const REAL *inverse,
                           const bool silu)
{
    size_t room = (size_t)((t->columns + W - 1) / W * W);
    for (int64_t i = 0; i < t->rows; i++, dp += dp_row) {
        REAL *s = row_of(t, i);
        size_t n = seen_by(t, i), j = 0;
        vec scale = all(silu ? inverse[i] : 1);
        uint64_t row_key =
            t->threshold ? hd_attention_row_key(t->key, t->row + (uint64_t)i) : 0;
        for (; j < n; j += VL) {
            vec x = load(s + j), f = sigmoid_v(x), g = load(dp + j) * scale;
            ivec none = weightless(x, silu);
            vec a = pick(none, (vec){0}, silu ? x * f : f);
            vec slope = pick(none, (vec){0}, silu ? fma_v(a, 1 - f, f) : f * (1 - f));
            a *= scale;
            if (t->threshold) {
                vec keep = kept(t, row_key, t->column + j);
                a *= keep, g *= keep;
            }
            store(s + j, only(a, n - j));
            store(dp + j, only(g * slope, n - j));
        }
        for (; j < room; j += VL) {
            store(s + j, (vec){0});
            store(dp + j, (vec){0});
        }
    }
}

static void silu(const struct hd_tile *t, const void *inverse)
{
    pointwise(t, inverse, true);
}

static void silu_back(const struct hd_tile *t, void *dp, int64_t dp_row, const void *inverse)
{
    pointwise_back(t, dp, dp_row, inverse, true);
}

static void sigmoid(const struct hd_tile *t)
{
    pointwise(t, NULL, false);
}

static void sigmoid_back(const struct hd_tile *t, void *dp, int64_t dp_row)
{
    pointwise_back(t, dp, dp_row, NULL, false);
}

void FILL_POINTWISE(struct hd_attention_kernels *k)
{
    k->keep = keep, k->mask = mask;
    k->silu = silu, k->silu_back = silu_back;
    k->sigmoid = sigmoid, k->sigmoid_back = sigmoid_back;
}

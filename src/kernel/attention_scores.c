/* SPDX-License-Identifier: Apache-2.0
 *
 * What scores need beside products: rows turned by the angles of their positions, and the additive
 * score, which is no product at all. Like attention.c one source for every element type and instruction
 * set (see meson.build and vec.h). */
#include "kernel/attention_tile.h"

#define FILL_SCORES CAT(hd_fill_attention_scores_, HD_VARIANT)

void FILL_SCORES(struct hd_attention_kernels *k);

/* ---- rotary */

/* Elements 2 i and 2 i + 1 change places. */
VEC_FN vec swap_neighbours(vec x)
{
#if VEC_AVX512
    return (vec)_mm512_permute_ps((__m512)x, 0xB1);
#elif VEC_AVX2
    return (vec)_mm256_permute_ps((__m256)x, 0xB1);
#elif HD_REAL_BITS == 32
    return __builtin_shufflevector(x, x, 1, 0, 3, 2);
#else
    return __builtin_shufflevector(x, x, 1, 0);
#endif
}

/* One vector of the result: x own + partner other, the second backwards taken off. */
VEC_FN void turn_one(REAL *out, vec x, vec partner, const REAL *own, const REAL *other, size_t left,
                     const bool back, const bool add)
{
    vec o = get(other, left), y = fma_v(partner, back ? -o : o, x * get(own, left));
    put(out, add ? y + get(out, left) : y, left);
}

VEC_FN void turn_rows(const struct hd_rotation *r, const bool back, const bool add)
{
    size_t n = (size_t)r->turned, half = n / 2;
    for (int64_t row = 0; row < r->rows; row++) {
        const REAL *x = (const REAL *)r->x + row * r->x_row;
        const REAL *own = (const REAL *)r->turn + row * 2 * r->turned, *other = own + n;
        REAL *out = (REAL *)r->out + row * r->out_row;
        for (size_t i = 0; r->pairs && i < n; i += VL) {
            vec v = get(x + i, n - i);
            turn_one(out + i, v, swap_neighbours(v), own + i, other + i, n - i, back, add);
        }
        for (size_t i = 0; !r->pairs && i < half; i += VL) {
            size_t left = half - i;
            vec a = get(x + i, left), b = get(x + half + i, left);
            turn_one(out + i, a, b, own + i, other + i, left, back, add);
            turn_one(out + half + i, b, a, own + half + i, other + half + i, left, back, add);
        }
        for (size_t i = n; i < (size_t)r->n; i += VL) {
            size_t left = (size_t)r->n - i;
            put(out + i, add ? get(out + i, left) + get(x + i, left) : get(x + i, left), left);
        }
    }
}

static void rotate(const struct hd_rotation *r)
{
    if (r->back && r->add)
        turn_rows(r, true, true);
    else if (r->back)
        turn_rows(r, true, false);
    else
        turn_rows(r, false, r->add);
}

/* ---- additive */

static void additive(const struct hd_additive *a)
{
    const struct hd_tile *t = a->tile;
    const REAL *theta = a->theta;
    for (int64_t i = 0; i < t->rows; i++) {
        const REAL *q = (const REAL *)a->q + i * a->q_row;
        size_t n = seen_by(t, i);
        for (size_t j = 0; j < n; j += VL) {
            const REAL *k = (const REAL *)a->kt + j;
            vec sum = {0};
            for (int64_t d = 0; d < a->D; d++, k += a->kt_row)
                sum = fma_v(all(theta[d]), hyptan_v(all(q[d]) + get(k, n - j)), sum);
            put(row_of(t, i) + j, all((REAL)a->scale) * sum, n - j);
        }
    }
}

/* Dimension by dimension, so that what it adds to a query is one sum along its row, and to the keys one
 * row of sums. */
static void additive_back(const struct hd_additive *a)
{
    const struct hd_tile *t = a->tile;
    const REAL scale = (REAL)a->scale;
    for (int64_t d = 0; d < a->D; d++) {
        const REAL *k = (const REAL *)a->kt + d * a->kt_row;
        const REAL theta = scale * ((const REAL *)a->theta)[d];
        REAL of_keys[HD_ADDITIVE_COLUMNS] = {0};
        vec whole = {0};
        for (int64_t i = 0; i < t->rows; i++) {
            vec q = all(((const REAL *)a->q)[i * a->q_row + d]), sum = {0};
            size_t n = seen_by(t, i);
            for (size_t j = 0; j < n; j += VL) {
                vec y = hyptan_v(q + get(k + j, n - j)), ds = get(row_of(t, i) + j, n - j);
                vec slope = ds * (R(1.0) - y * y);
                whole = fma_v(ds, y, whole);
                sum += slope;
                put(of_keys + j, get(of_keys + j, n - j) + slope, n - j);
            }
            REAL *dq = (REAL *)a->dq + i * a->dq_row + d;
            *dq = (a->fresh_q ? 0 : *dq) + theta * hsum(sum);
        }
        for (int64_t j = 0; j < t->columns; j++) {
            REAL *dk = (REAL *)a->dk + j * a->dk_row + d;
            *dk = (a->fresh_k ? 0 : *dk) + theta * of_keys[j];
        }
        if (a->dtheta)
            ((REAL *)a->dtheta)[d] += scale * hsum(whole);
    }
}

void FILL_SCORES(struct hd_attention_kernels *k)
{
    k->rotate = rotate;
    k->additive = additive, k->additive_back = additive_back;
}

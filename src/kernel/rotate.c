/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows turned by the angles of their positions: rotate of struct hd_attention_kernels, one source for
 * every element type and instruction set (see meson.build and vec.h). */
#include "kernel/attention.h"
#include "kernel/vec.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FILL_ROTATE CAT(hd_fill_rotate_, HD_VARIANT)

void FILL_ROTATE(struct hd_attention_kernels *k);

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

void FILL_ROTATE(struct hd_attention_kernels *k)
{
    k->rotate = rotate;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels of a score tile share: its rows, what they see, and dropout by vectors. Static, as
 * all of vec.h: each variant is compiled with flags of its own. */
#ifndef HD_KERNEL_ATTENTION_TILE_H
#define HD_KERNEL_ATTENTION_TILE_H

#include "kernel/attention.h"
#include "kernel/vec.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define W ((int64_t)VL)

VEC_FN int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

VEC_FN size_t seen_by(const struct hd_tile *t, int64_t i)
{
    return (size_t)clamp(t->seen + i * t->step, 0, t->columns);
}

/* All ones in the first n lanes. */
VEC_FN ivec first(size_t n)
{
    ivec lane;
    for (size_t l = 0; l < VL; l++)
        lane[l] = (INT)l;
    return (ivec)(lane < (ivec)bits((vec){0}) + (INT)n);
}

VEC_FN vec only(vec x, size_t n)
{
    return n >= VL ? x : pick(first(n), x, (vec){0});
}

/* What dropout multiplies weights `column` and on with: 0 or keep_scale; hd_attention_keep() by
 * vectors. */
VEC_FN vec kept(const struct hd_tile *t, uint64_t row_key, uint64_t column)
{
#if HD_REAL_BITS == 32
    typedef uint32_t uvec __attribute__((vector_size(VEC_BYTES)));
    uvec x;
    for (size_t l = 0; l < VL; l++)
        x[l] = (uint32_t)l;
    x = (x + (uint32_t)column) * UINT32_C(0x9E3779B1) + (uint32_t)row_key;
    x = (x ^ (x >> 16)) * UINT32_C(0x7FEB352D);
    x = (x ^ (x >> 15) ^ (uint32_t)(row_key >> 32)) * UINT32_C(0x846CA68B);
    x ^= x >> 16;
    return (vec)((ivec)(x >= t->threshold) & bits(all((REAL)t->keep_scale)));
#else
    vec x = {0};
    for (size_t l = 0; l < VL; l++)
        x[l] = hd_attention_keep(row_key, column + l, t->threshold) ? (REAL)t->keep_scale : 0;
    return x;
#endif
}

VEC_FN REAL *row_of(const struct hd_tile *t, int64_t i)
{
    return (REAL *)t->s + i * t->s_row;
}

#endif

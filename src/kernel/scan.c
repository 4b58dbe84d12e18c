/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan kernels (scan.h): one source, compiled once for each instruction set, as rows.c is.
 * float32 only. */
#include "kernel/scan.h"
#include "kernel/vec.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FILL_SCAN CAT(hd_fill_scan_, HD_VARIANT)

void FILL_SCAN(struct hd_scan_kernels *k);

#define UNITS 4 /* a part of a panel, at most a whole one */

typedef uint32_t words __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t words_any __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

/* UNITS vectors of rows at once, so that no sum waits for the one before; the first `left` rows are
 * written. */
VEC_FN void dots(float *out, const float *q, const uint32_t *rows, int64_t pairs, int64_t left)
{
    const words upper = (words){0} + 0xFFFF0000u;
    vec even[UNITS], odd[UNITS];
    VEC_UNROLL
    for (size_t u = 0; u < UNITS; u++)
        even[u] = odd[u] = (vec){0};
    for (int64_t p = 0; p < pairs; p++, rows += HD_SCAN_PANEL) {
        vec q0 = all(q[2 * p]), q1 = all(q[2 * p + 1]);
        VEC_UNROLL
        for (size_t u = 0; u < UNITS; u++) {
            words w = *(const words_any *)(rows + u * VL);
            even[u] = fma_v((vec)(w << 16), q0, even[u]);
            odd[u] = fma_v((vec)(w & upper), q1, odd[u]);
        }
    }
    VEC_UNROLL
    for (size_t u = 0; u < UNITS; u++)
        if ((int64_t)(u * VL) < left)
            put(out + u * VL, even[u] + odd[u], (size_t)left - u * VL);
}

static void dot_rows(float *out, const float *q, const uint32_t *panels, int64_t n, int64_t pairs)
{
    const int64_t rows = UNITS * (int64_t)VL;
    for (int64_t i = 0; i < n; i += rows)
        dots(out + i, q, panels + hd_scan_word(i, 0, pairs), pairs, n - i);
}

/* The lanes with x >= bound, as bits. */
VEC_FN uint32_t hits(vec x, vec bound)
{
#if VEC_AVX512
    return _mm512_cmp_ps_mask((__m512)x, (__m512)bound, _CMP_GE_OQ);
#elif VEC_AVX2
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)x, (__m256)bound, _CMP_GE_OQ));
#else
    ivec hit = (ivec)(x >= bound);
    uint32_t found = 0;
    for (size_t i = 0; any_lane(hit) && i < VL; i++)
        found |= (hit[i] & 1u) << i;
    return found;
#endif
}

/* Hits are few: most vectors are passed over with one comparison. */
static int64_t at_least(int32_t *index, const float *x, const uint8_t *hidden, int64_t n, float least)
{
    const vec bound = all(least);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += (int64_t)VL) {
        size_t left = (size_t)(n - i);
        uint32_t found = hits(get(x + i, left), bound);
        found &= left < VL ? (1u << left) - 1 : UINT32_MAX;
        for (; found; found &= found - 1) {
            int64_t at = i + __builtin_ctz(found);
            index[count] = (int32_t)at;
            count += !hidden[at];
        }
    }
    return count;
}

void FILL_SCAN(struct hd_scan_kernels *k)
{
    k->dot_rows = dot_rows, k->at_least = at_least;
}

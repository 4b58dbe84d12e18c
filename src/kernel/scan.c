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

/* Hits are few: a whole vector is passed over with one comparison. */
static int64_t at_least(int32_t *index, const float *x, const uint8_t *hidden, int64_t n, float least)
{
    const vec bound = all(least);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += (int64_t)VL) {
        int64_t end = i + (int64_t)VL < n ? i + (int64_t)VL : n;
#if VEC_AVX512
        if (end - i == (int64_t)VL && !_mm512_cmp_ps_mask((__m512)load(x + i), (__m512)bound, _CMP_GE_OQ))
            continue;
#else
        if (end - i == (int64_t)VL && !any_lane((ivec)(load(x + i) >= bound)))
            continue;
#endif
        for (int64_t j = i; j < end; j++) {
            index[count] = (int32_t)j;
            count += x[j] >= least && !hidden[j];
        }
    }
    return count;
}

void FILL_SCAN(struct hd_scan_kernels *k)
{
    k->dot_rows = dot_rows, k->at_least = at_least;
}

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

#define GROUP (HD_SCAN_COLUMNS / 2) /* words of a group */

typedef uint32_t words __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t words_any __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

/* The sums of two vectors' neighbours, a's in the lower half of the result, b's in the upper one. */
VEC_FN vec fold(vec a, vec b)
{
#if VEC_AVX512
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return (vec)_mm512_add_ps(_mm512_permutex2var_ps((__m512)a, even, (__m512)b),
                              _mm512_permutex2var_ps((__m512)a, odd, (__m512)b));
#elif VEC_AVX2
    /* Quarter by quarter (a a b b | a a b b), then the quarters into order. */
    __m256 t = _mm256_hadd_ps((__m256)a, (__m256)b);
    return (vec)_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(t), 0xD8));
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

/* VL rows at once: each has a sum of its own, so that no addition waits for the one before, and the
 * sums are folded together at the end. Rows past `last` are that row again. */
VEC_FN vec dots(const float *q, const uint32_t *rows, int64_t row, int64_t last, int64_t dim)
{
    const words upper = (words){0} + 0xFFFF0000u;
    vec s[VL];
    VEC_UNROLL
    for (size_t i = 0; i < VL; i++)
        s[i] = (vec){0};
    for (int64_t c = 0; c < dim; c += HD_SCAN_COLUMNS, rows += GROUP)
        for (size_t j = 0; j < GROUP; j += VL) {
            vec q0 = load(q + c + j), q1 = load(q + c + GROUP + j);
            VEC_UNROLL
            for (size_t i = 0; i < VL; i++) {
                int64_t at = (int64_t)i < last ? (int64_t)i : last;
                words w = *(const words_any *)(rows + at * row + j);
                s[i] = fma_v((vec)(w << 16), q0, s[i]);
                s[i] = fma_v((vec)(w & upper), q1, s[i]);
            }
        }
    VEC_UNROLL
    for (size_t n = VL; n > 1; n /= 2)
        VEC_UNROLL
        for (size_t i = 0; i < n / 2; i++)
            s[i] = fold(s[2 * i], s[2 * i + 1]);
    return s[0];
}

static void dot_rows(float *out, const float *q, const uint32_t *rows, int64_t row, int64_t n,
                     int64_t dim)
{
    const int64_t all_rows = VL;
    int64_t i = 0;
    for (; i + all_rows <= n; i += all_rows)
        store(out + i, dots(q, rows + i * row, row, all_rows - 1, dim));
    if (i < n)
        store_part(out + i, dots(q, rows + i * row, row, n - i - 1, dim), (size_t)(n - i));
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

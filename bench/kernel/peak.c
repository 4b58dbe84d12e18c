/* SPDX-License-Identifier: Apache-2.0
 *
 * What the arithmetic units can do at best: a loop of independent sums in registers, no memory. The
 * share of this that a product reaches is the figure worth having, since clocks differ and move.
 * Compiled once for each instruction set, as the kernels are. */
#include "kernel/vec.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define PEAK CAT(hd_peak_, HD_VARIANT)
double PEAK(int64_t loops);
double CAT(hd_peak_bf16_, HD_VARIANT)(int64_t loops);

/* Floating-point operations of `loops` rounds. */
double PEAK(int64_t loops)
{
    vec s[12], x = all(0.999f), y = all(1e-3f);
    VEC_UNROLL
    for (int i = 0; i < 12; i++)
        s[i] = all((REAL)i);
    for (int64_t n = 0; n < loops; n++) {
        VEC_UNROLL
        for (int i = 0; i < 12; i++) {
            s[i] = fma_v(s[i], x, y);
            __asm__ volatile("" : "+x"(s[i]));
        }
    }
    return (double)loops * 12 * 2 * (double)VL;
}

/* The same of bfloat16 pairs: 0 where there is no such instruction. */
double CAT(hd_peak_bf16_, HD_VARIANT)(int64_t loops)
{
#if VEC_AVX512 && defined(__AVX512BF16__)
    __m512 s[12];
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3F803F80), y = x;
    VEC_UNROLL
    for (int i = 0; i < 12; i++)
        s[i] = _mm512_setzero_ps();
    for (int64_t n = 0; n < loops; n++) {
        VEC_UNROLL
        for (int i = 0; i < 12; i++) {
            s[i] = _mm512_dpbf16_ps(s[i], x, y);
            __asm__ volatile("" : "+x"(s[i]));
        }
    }
    return (double)loops * 12 * 4 * 16;
#else
    (void)loops;
    return 0;
#endif
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * One vector of REAL, as wide as the variant that is being compiled: the few operations from which
 * rows.c and gemm.c are written, so that each kernel is one source for every instruction set. GCC's
 * vector extensions carry the ordinary arithmetic; intrinsics stand only where those say nothing
 * (fused multiply-add, masked tails, square roots, scaling by powers of two).
 *
 * Everything here is static: each variant is compiled with its own flags, and nothing inline may
 * leave it. The includer sets HD_REAL_BITS to 32 or 64. */
#ifndef HD_VEC_H
#define HD_VEC_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if HD_REAL_BITS == 32
typedef float REAL;
typedef int32_t INT;
#define R(number) number##f
#else
typedef double REAL;
typedef int64_t INT;
#define R(number) number
#endif

#if HD_REAL_BITS == 32 && defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define VEC_BYTES 64
#define VEC_AVX512 1
#elif HD_REAL_BITS == 32 && defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define VEC_BYTES 32
#define VEC_AVX2 1
#else
#define VEC_BYTES 16
#endif
#ifndef VEC_AVX512
#define VEC_AVX512 0
#endif
#ifndef VEC_AVX2
#define VEC_AVX2 0
#endif
#define VL ((size_t)VEC_BYTES / sizeof(REAL))

/* Under a sanitizer the loops stay loops and functions stay functions: the same source, unrolled and
 * inlined with a check at every access, takes a compiler minutes (see meson.build). */
#ifndef HD_KERNEL_ROLLED
#define HD_KERNEL_ROLLED 0
#endif
#if HD_KERNEL_ROLLED
#define VEC_UNROLL
#define VEC_FN static inline __attribute__((unused))
#else
#if defined(__clang__)
#define VEC_UNROLL _Pragma("unroll")
#else
#define VEC_UNROLL _Pragma("GCC unroll 32")
#endif
#define VEC_FN static inline __attribute__((always_inline, unused))
#endif

typedef REAL vec __attribute__((vector_size(VEC_BYTES)));
typedef INT ivec __attribute__((vector_size(VEC_BYTES)));
/* The same at any address: what unaligned rows are read through. */
typedef REAL vec_any __attribute__((vector_size(VEC_BYTES), aligned(sizeof(REAL)), may_alias));

VEC_FN vec all(REAL a)
{
    return a - (vec){0};
}

VEC_FN ivec bits(vec x)
{
    return (ivec)x;
}

VEC_FN vec load(const REAL *p)
{
    return *(const vec_any *)p;
}

VEC_FN void store(REAL *p, vec x)
{
    *(vec_any *)p = x;
}

#if VEC_AVX512
VEC_FN vec load_part(const REAL *p, size_t n)
{
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

VEC_FN void store_part(REAL *p, vec x, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
}

/* a b + c */
VEC_FN vec fma_v(vec a, vec b, vec c)
{
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

VEC_FN vec sqrt_v(vec x)
{
    return (vec)_mm512_sqrt_ps((__m512)x);
}

VEC_FN vec pick(ivec mask, vec yes, vec no)
{
    return (vec)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)no, (__m512)yes);
}

VEC_FN REAL hsum(vec x)
{
    return _mm512_reduce_add_ps((__m512)x);
}

VEC_FN REAL hmax(vec x)
{
    return _mm512_reduce_max_ps((__m512)x);
}

/* A set of lanes, collected over a row. */
typedef __mmask16 lanes;
VEC_FN lanes nan_lanes(vec x)
{
    return _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
}

VEC_FN bool any_lane(lanes m)
{
    return m != 0;
}
#elif VEC_AVX2
VEC_FN __m256i part_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

VEC_FN vec load_part(const REAL *p, size_t n)
{
    return (vec)_mm256_maskload_ps(p, part_mask(n));
}

VEC_FN void store_part(REAL *p, vec x, size_t n)
{
    _mm256_maskstore_ps(p, part_mask(n), (__m256)x);
}

VEC_FN vec fma_v(vec a, vec b, vec c)
{
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

VEC_FN vec sqrt_v(vec x)
{
    return (vec)_mm256_sqrt_ps((__m256)x);
}

VEC_FN vec pick(ivec mask, vec yes, vec no)
{
    return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
}

VEC_FN REAL hsum(vec x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

VEC_FN REAL hmax(vec x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

typedef ivec lanes;
VEC_FN lanes nan_lanes(vec x)
{
    return x != x;
}

VEC_FN bool any_lane(lanes m)
{
    return _mm256_movemask_ps((__m256)m) != 0;
}
#else
VEC_FN vec load_part(const REAL *p, size_t n)
{
    vec x = {0};
    memcpy(&x, p, n * sizeof(REAL));
    return x;
}

VEC_FN void store_part(REAL *p, vec x, size_t n)
{
    memcpy(p, &x, n * sizeof(REAL));
}

/* Not fused here: a processor that has no such instruction would call a function for each lane. */
VEC_FN vec fma_v(vec a, vec b, vec c)
{
    return a * b + c;
}

VEC_FN vec sqrt_v(vec x)
{
    for (size_t i = 0; i < VL; i++)
        x[i] = sizeof(REAL) == 4 ? (REAL)__builtin_sqrtf((float)x[i]) : (REAL)__builtin_sqrt((double)x[i]);
    return x;
}

VEC_FN vec pick(ivec mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

VEC_FN REAL hsum(vec x)
{
#if HD_REAL_BITS == 32
    return (x[0] + x[2]) + (x[1] + x[3]);
#else
    return x[0] + x[1];
#endif
}

VEC_FN REAL hmax(vec x)
{
    REAL m = x[0];
    for (size_t i = 1; i < VL; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

typedef ivec lanes;
VEC_FN lanes nan_lanes(vec x)
{
    return x != x;
}

VEC_FN bool any_lane(lanes m)
{
    INT any = 0;
    for (size_t i = 0; i < VL; i++)
        any |= m[i];
    return any != 0;
}
#endif

/* The larger, the smaller; b where either is NaN. */
VEC_FN vec max_v(vec a, vec b)
{
#if VEC_AVX512
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif VEC_AVX2
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return pick(a > b, a, b);
#endif
}

VEC_FN vec min_v(vec a, vec b)
{
#if VEC_AVX512
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif VEC_AVX2
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return pick(a < b, a, b);
#endif
}

/* Whole vectors with plain access, the last one with a masked one. */
VEC_FN vec get(const REAL *p, size_t left)
{
    return left >= VL ? load(p) : load_part(p, left);
}

VEC_FN void put(REAL *p, vec x, size_t left)
{
    if (left >= VL)
        store(p, x);
    else
        store_part(p, x, left);
}

#if HD_REAL_BITS == 32
/* VL rows by four columns, turned: lane l of t[c] is row[l][c]. Loads put rows 4 q + i into quarter q of
 * vector i, so that the turn of four by four inside the quarters leaves each column in order: half
 * the shuffles of turning VL whole vectors. */
VEC_FN void turn_4(const REAL *const row[], vec t[4])
{
#if VEC_AVX512
    __m512 q[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        q[i] = _mm512_castps128_ps512(_mm_loadu_ps(row[i]));
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(row[4 + i]), 1);
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(row[8 + i]), 2);
        q[i] = _mm512_insertf32x4(q[i], _mm_loadu_ps(row[12 + i]), 3);
    }
    __m512d a = (__m512d)_mm512_unpacklo_ps(q[0], q[1]), b = (__m512d)_mm512_unpackhi_ps(q[0], q[1]);
    __m512d c = (__m512d)_mm512_unpacklo_ps(q[2], q[3]), d = (__m512d)_mm512_unpackhi_ps(q[2], q[3]);
    t[0] = (vec)_mm512_unpacklo_pd(a, c), t[1] = (vec)_mm512_unpackhi_pd(a, c);
    t[2] = (vec)_mm512_unpacklo_pd(b, d), t[3] = (vec)_mm512_unpackhi_pd(b, d);
#elif VEC_AVX2
    __m256 q[4];
    VEC_UNROLL
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[i])),
                                    _mm_loadu_ps(row[4 + i]), 1);
    __m256d a = (__m256d)_mm256_unpacklo_ps(q[0], q[1]), b = (__m256d)_mm256_unpackhi_ps(q[0], q[1]);
    __m256d c = (__m256d)_mm256_unpacklo_ps(q[2], q[3]), d = (__m256d)_mm256_unpackhi_ps(q[2], q[3]);
    t[0] = (vec)_mm256_unpacklo_pd(a, c), t[1] = (vec)_mm256_unpackhi_pd(a, c);
    t[2] = (vec)_mm256_unpacklo_pd(b, d), t[3] = (vec)_mm256_unpackhi_pd(b, d);
#else
    vec q0 = load(row[0]), q1 = load(row[1]), q2 = load(row[2]), q3 = load(row[3]);
    vec a = __builtin_shufflevector(q0, q1, 0, 4, 1, 5), b = __builtin_shufflevector(q0, q1, 2, 6, 3, 7);
    vec c = __builtin_shufflevector(q2, q3, 0, 4, 1, 5), d = __builtin_shufflevector(q2, q3, 2, 6, 3, 7);
    t[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5), t[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    t[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5), t[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#endif
}
#endif

/* exp(x): n = round(x / ln 2), r = x - n ln 2 in two steps, a polynomial for exp(r) on
 * [-ln 2 / 2, ln 2 / 2], and 2^n. float: Cody and Waite's reduction with the polynomial of Cephes'
 * expf, under 2 ulp (1.1 measured with fused multiply-add); double: Taylor's to r^13, under 2 ulp.
 * Underflows gradually, overflows to infinity; NaN stays NaN. */
VEC_FN vec exp_v(vec x)
{
#if HD_REAL_BITS == 32
    const vec shift = all(12582912.0f), lo = all(-104.0f), hi = all(89.0f);
    x = max_v(lo, x); /* these keep NaN, which max_v and min_v take from the second */
    x = min_v(hi, x);
    vec t = fma_v(x, all(1.44269504f), shift), n = t - shift;
    vec r = fma_v(n, all(-0.693359375f), x);
    r = fma_v(n, all(2.12194440e-4f), r);
    vec p = all(1.9875691500e-4f);
    p = fma_v(p, r, all(1.3981999507e-3f));
    p = fma_v(p, r, all(8.3334519073e-3f));
    p = fma_v(p, r, all(4.1665795894e-2f));
    p = fma_v(p, r, all(1.6666665459e-1f));
    p = fma_v(p, r, all(5.0000001201e-1f));
    p = fma_v(p, r * r, r) + 1.0f;
#if VEC_AVX512
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    /* 2^n in two factors, since n may be -150 or 128 */
    ivec e = bits(t) - bits(shift), half = e >> 1;
    return p * (vec)((half + 127) << 23) * (vec)((e - half + 127) << 23);
#endif
#else
    const vec shift = all(6755399441055744.0), lo = all(-746.0), hi = all(710.0);
    x = max_v(lo, x);
    x = min_v(hi, x);
    vec t = fma_v(x, all(1.4426950408889634), shift), n = t - shift;
    vec r = fma_v(n, all(-6.93147180369123816490e-01), x);
    r = fma_v(n, all(-1.90821492927058770002e-10), r);
    vec p = all(1.0 / 6227020800.0);
    p = fma_v(p, r, all(1.0 / 479001600.0));
    p = fma_v(p, r, all(1.0 / 39916800.0));
    p = fma_v(p, r, all(1.0 / 3628800.0));
    p = fma_v(p, r, all(1.0 / 362880.0));
    p = fma_v(p, r, all(1.0 / 40320.0));
    p = fma_v(p, r, all(1.0 / 5040.0));
    p = fma_v(p, r, all(1.0 / 720.0));
    p = fma_v(p, r, all(1.0 / 120.0));
    p = fma_v(p, r, all(1.0 / 24.0));
    p = fma_v(p, r, all(1.0 / 6.0));
    p = fma_v(p, r, all(0.5));
    p = fma_v(p, r * r, r) + 1.0;
    ivec e = bits(t) - bits(shift), half = e >> 1;
    return p * (vec)((half + 1023) << 52) * (vec)((e - half + 1023) << 52);
#endif
}

/* 1 / d of numbers above 0 whose reciprocal is normal: within 1.5 ulps. A division takes as long as
 * half an exponential; an estimate of 14 bits and a step of Newton's takes a third of that. */
VEC_FN vec recip_v(vec d)
{
#if VEC_AVX512
    __m512 r = _mm512_rcp14_ps((__m512)d);
    return fma_v((vec)r, (vec)_mm512_fnmadd_ps((__m512)d, r, _mm512_set1_ps(1)), (vec)r);
#else
    return R(1.0) / d;
#endif
}

/* 1 / (1 + exp(-x)). In float32 what is under FLT_MIN is 0; so is what lies so far below. */
VEC_FN vec sigmoid_v(vec x)
{
#if HD_REAL_BITS == 32
    const vec least = all(1.19e-38f); /* the cut makes 1.183e-38 of all that is smaller */
    vec y = recip_v(1.0f + exp_v(min_v(all(87.33f), -x))); /* NaN stays, see exp_v */
#if VEC_AVX512
    return (vec)_mm512_maskz_mov_ps(
        _mm512_cmp_ps_mask((__m512)y, (__m512)least, _CMP_NLT_UQ), (__m512)y);
#else
    return pick((ivec)(y < least), all(0), y);
#endif
#else
    return 1.0 / (1.0 + exp_v(-x));
#endif
}

/* tanh(x). */
#if HD_REAL_BITS == 32
/* Cephes' tanhf: a polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel. Under 2 ulp. */
VEC_FN vec hyptan_v(vec x)
{
    vec a = max_v(x, -x), z = x * x;
    vec p = all(-5.70498872745e-3f);
    p = fma_v(p, z, all(2.06390887954e-2f));
    p = fma_v(p, z, all(-5.37397155531e-2f));
    p = fma_v(p, z, all(1.33314422036e-1f));
    p = fma_v(p, z, all(-3.33332819422e-1f));
    vec near = fma_v(p * z, x, x);
    vec far = 1.0f - 2.0f / (exp_v(a + a) + 1.0f);
    far = pick(x < all(0), -far, far);
    return pick(a < all(0.625f), near, far);
}
#else
VEC_FN vec hyptan_v(vec x)
{
    for (size_t i = 0; i < VL; i++)
        x[i] = tanh(x[i]);
    return x;
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bfloat16 pairs with VDPBF16PS: the tile of gemm.c with pairs in the place of numbers.
 * The instruction rounds subnormal numbers to zero and sums a pair before it adds the pair to the
 * accumulator; both are within the contract's order of additions, since what is lost is under
 * FLT_MIN for each product. */
#include "kernel/kernel.h"

#define HD_REAL_BITS 32
#include "kernel/vec.h"

#include <immintrin.h>
#include <string.h>

void hd_fill_bf16_avx512(struct hd_kernels_bf16 *k);

#define W INT64_C(16)
#define WIDE 32
#define TALL 12
#define K_BLOCK 256        /* pairs */
#define N_BLOCK (8 * WIDE) /* columns */

static inline __mmask16 first(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1u << n) - 1);
}

/* To nearest even by integers: VCVTNEPS2BF16 would flush subnormals, the contract does not. */
static inline __m256i round16(__m512 x)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}

static void from_f32(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = first((int64_t)(n - i));
        _mm256_mask_storeu_epi16(out + i, m, round16(_mm512_maskz_loadu_ps(m, x + i)));
    }
}

static void to_f32(float *out, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = first((int64_t)(n - i));
        __m512i u = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x + i));
        _mm512_mask_storeu_ps(out + i, m, _mm512_castsi512_ps(_mm512_slli_epi32(u, 16)));
    }
}

static size_t pack_bytes(int64_t K, int64_t N)
{
    return (size_t)((K + 1) / 2) * (size_t)((N + W - 1) / W * W) * 4;
}

/* Pairs of two rows of 16 columns: a in the lower halves, b in the upper ones. Subnormals become 0,
 * as they would when they are multiplied. */
static inline void store_pairs(uint32_t *out, vec a, vec b)
{
    const __m512i lo = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i woven = _mm512_or_si512(lo, _mm512_slli_epi32(_mm512_add_epi32(lo,
                                              _mm512_set1_epi32(16)), 16));
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(woven, both));
}

static void weave(uint32_t *out, const float *lower, const float *upper, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        store_pairs(out + i, load(lower + i), upper ? load(upper + i) : (vec){0});
    if (i < n) {
        uint32_t last[16];
        store_pairs(last, load_part(lower + i, n - i),
                    upper ? load_part(upper + i, n - i) : (vec){0});
        memcpy(out + i, last, (n - i) * sizeof *out);
    }
}

/* 16 contiguous columns of B as rows of pairs, `width` pairs apart; returns how many rows of B it took:
 * those that come in fours. */
static int64_t turn_columns(uint32_t *out, int64_t width, const float *b, int64_t b_col, int64_t K)
{
    const float *column[W];
    int64_t k = 0;
    vec t[4];
    for (int64_t j = 0; j < W; j++)
        column[j] = b + j * b_col;
    for (; k + 4 <= K; k += 4, out += 2 * width) {
        turn_4(column, t);
        store_pairs(out, t[0], t[1]);
        store_pairs(out + width, t[2], t[3]);
        VEC_UNROLL
        for (int64_t j = 0; j < W; j++)
            column[j] += 4;
    }
    return k;
}

static inline vec gather(const float *row, int64_t step, int64_t left)
{
    vec x = {0};
    for (int64_t j = 0; j < W && j < left; j++)
        x[j] = row[j * step];
    return x;
}

static void pack(void *packed, const float *b, int64_t b_row, int64_t b_col, int64_t K, int64_t N)
{
    const vec zero = {0};
    uint32_t *out = packed;
    for (int64_t n = 0; n < N; n += WIDE) {
        int64_t left = N - n < WIDE ? N - n : WIDE, width = left > W ? WIDE : W;
        for (int64_t v = 0; v < width; v += W, left -= W) {
            const float *from = b + (n + v) * b_col;
            int64_t k = b_row == 1 && left >= W ? turn_columns(out + v, width, from, b_col, K) : 0;
            for (; k < K; k += 2) {
                const float *row = from + k * b_row, *next = k + 1 < K ? row + b_row : NULL;
                uint32_t *to = out + k / 2 * width + v;
                if (b_col == 1)
                    store_pairs(to, get(row, (size_t)left), next ? get(next, (size_t)left) : zero);
                else
                    store_pairs(to, gather(row, b_col, left), next ? gather(next, b_col, left) : zero);
            }
        }
        out += (K + 1) / 2 * width;
    }
}

VEC_FN void tile(int tall, int wide, int64_t pairs_count, const uint32_t *a, int64_t a_row,
                    int64_t a_col, const uint32_t *b, float *c, int64_t c_row, int64_t left,
                    bool accumulate)
{
    __m512 s[TALL][2];
    VEC_UNROLL
    for (int i = 0; i < tall; i++)
        s[i][0] = s[i][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs_count; k++, a += a_col, b += wide * W) {
        __m512i b0 = _mm512_loadu_si512(b), b1 = wide > 1 ? _mm512_loadu_si512(b + W) : b0;
        VEC_UNROLL
        for (int i = 0; i < tall; i++) {
            __m512i x = _mm512_set1_epi32((int)a[i * a_row]);
            s[i][0] = _mm512_dpbf16_ps(s[i][0], (__m512bh)x, (__m512bh)b0);
            if (wide > 1)
                s[i][1] = _mm512_dpbf16_ps(s[i][1], (__m512bh)x, (__m512bh)b1);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < tall; i++, c += c_row) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++) {
            __mmask16 m = first(left - j * W);
            if (accumulate)
                s[i][j] = _mm512_add_ps(s[i][j], _mm512_maskz_loadu_ps(m, c + j * W));
            if (m == 0xFFFF)
                _mm512_storeu_ps(c + j * W, s[i][j]);
            else
                _mm512_mask_storeu_ps(c + j * W, m, s[i][j]);
        }
    }
}

typedef void tile_fn(int64_t pairs_count, const uint32_t *a, int64_t a_row, int64_t a_col,
                     const uint32_t *b, float *c, int64_t c_row, int64_t left, bool accumulate);
#define TILE(tall, wide)                                                                           \
    static void tile_##tall##_##wide(int64_t pairs_count, const uint32_t *a, int64_t a_row,        \
                                     int64_t a_col, const uint32_t *b, float *c, int64_t c_row,    \
                                     int64_t left, bool accumulate)                                \
    {                                                                                              \
        tile(tall, wide, pairs_count, a, a_row, a_col, b, c, c_row, left, accumulate);             \
    }
#define TILES(tall) TILE(tall, 1) TILE(tall, 2)
#define PAIR(tall) {tile_##tall##_1, tile_##tall##_2}
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6)
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12)

static tile_fn *const tiles[TALL + 1][2] = {
    {0},     PAIR(1), PAIR(2), PAIR(3), PAIR(4),  PAIR(5),  PAIR(6),
    PAIR(7), PAIR(8), PAIR(9), PAIR(10), PAIR(11), PAIR(12),
};

static void gemm(const struct hd_gemm_bf16 *g)
{
    const int64_t count = (g->K + 1) / 2;
    const uint32_t *b = g->b;
    if (g->K <= 0 && !g->accumulate)
        for (int64_t i = 0; i < g->M; i++)
            for (int64_t j = 0; j < g->N; j++)
                g->c[i * g->c_row + j] = 0;
    for (int64_t k = 0; k < count; k += K_BLOCK) {
        int64_t depth = count - k < K_BLOCK ? count - k : K_BLOCK;
        bool accumulate = g->accumulate || k > 0;
        for (int64_t n = 0; n < g->N; n += N_BLOCK) {
            int64_t n_end = g->N - n < N_BLOCK ? g->N : n + N_BLOCK;
            /* strips as equal as can be, as in gemm.c */
            int64_t strips = (g->M + TALL - 1) / TALL, i = 0;
            for (int64_t s = 1; s <= strips; s++) {
                int64_t tall = g->M * s / strips - i;
                for (int64_t j = n; j < n_end; j += WIDE) {
                    int64_t left = g->N - j, wide = left > W ? 2 : 1;
                    tiles[tall][wide - 1](depth, g->a + i * g->a_row + k * g->a_col, g->a_row,
                                          g->a_col, b + j * count + k * wide * W,
                                          g->c + i * g->c_row + j, g->c_row, left, accumulate);
                }
                i += tall;
            }
        }
    }
}

/* 2^(l / ln 2 - ref): relative error 1.1e-7 from the polynomial (degree 5, fitted to 2^f on
 * [-1/2, 1/2]) and 2^-24 |l / ln 2 - ref| from the argument's rounding. */
static inline __m512 power(__m512 l, __m512 ref)
{
    __m512 t = _mm512_fmsub_ps(l, _mm512_set1_ps(1.44269504f), ref);
    t = _mm512_max_ps(_mm512_set1_ps(-150.0f), t); /* -infinity too gives 0; NaN stays */
    __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(t, n), p = _mm512_set1_ps(1.32647e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.67151e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550734e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022242e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314698e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* The row's maximum; NaN where there is one. */
static inline float row_max(const float *l, int64_t n)
{
    const __m512 low = _mm512_set1_ps(-__builtin_inff());
    __m512 m0 = low, m1 = low;
    __mmask16 nan = 0;
    for (int64_t j = 0; j < n; j += 32) {
        __m512 a = _mm512_mask_loadu_ps(low, first(n - j), l + j);
        __m512 b = _mm512_mask_loadu_ps(low, first(n - j - 16), l + j + 16);
        nan |= _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
        m0 = _mm512_max_ps(m0, a);
        m1 = _mm512_max_ps(m1, b);
    }
    return nan ? __builtin_nanf("") : _mm512_reduce_max_ps(_mm512_max_ps(m0, m1));
}

/* Where the exponentials of this step are measured from; moves ref and gives the factor. */
static inline __m512 move_ref(const struct hd_softmax_block *s, int64_t i)
{
    float m = row_max(s->l + i * s->l_row, s->n) * 1.44269504f, old = s->ref[i];
    if (m <= old + 23) { /* 16 / ln 2 */
        s->factor[i] = 1;
        if (old == -__builtin_inff())
            s->factor[i] = 0;
    } else {
        /* power(x, r) = 2^(x / ln 2 - r): here of x = 0 */
        s->factor[i] = _mm512_cvtss_f32(power(_mm512_setzero_ps(), _mm512_set1_ps(m - old)));
        s->ref[i] = m;
    }
    return _mm512_set1_ps(s->ref[i] == -__builtin_inff() ? 0 : s->ref[i]);
}

static void softmax_block(const struct hd_softmax_block *s)
{
    /* pairs of two rows from 32 columns of each: 16-bit lanes 0, 32, 1, 33, ... and 16, 48, ... */
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i lo = _mm512_or_si512(lane, _mm512_slli_epi32(_mm512_add_epi32(lane,
                                              _mm512_set1_epi32(32)), 16));
    const __m512i hi = _mm512_add_epi16(lo, _mm512_set1_epi16(16));
    for (int64_t i = 0; i < s->M; i += 2) {
        bool two = i + 1 < s->M;
        const float *l0 = s->l + i * s->l_row, *l1 = two ? l0 + s->l_row : l0;
        __m512 r0 = move_ref(s, i), r1 = two ? move_ref(s, i + 1) : r0;
        __m512 s0 = _mm512_setzero_ps(), s1 = s0;
        uint32_t *along0 = s->along ? s->along + i * s->along_row : NULL;
        uint32_t *along1 = along0 && two ? along0 + s->along_row : NULL;
        uint32_t *across = s->across ? s->across + i / 2 * s->across_row : NULL;
        for (int64_t j = 0; j < s->n; j += 32) {
            __mmask16 ma = first(s->n - j), mb = first(s->n - j - 16);
            __m512 a0 = _mm512_maskz_loadu_ps(ma, l0 + j), b0 = _mm512_maskz_loadu_ps(mb, l0 + j + 16);
            __m512 a1 = _mm512_maskz_loadu_ps(ma, l1 + j), b1 = _mm512_maskz_loadu_ps(mb, l1 + j + 16);
            a0 = _mm512_maskz_mov_ps(ma, power(a0, r0));
            b0 = _mm512_maskz_mov_ps(mb, power(b0, r0));
            a1 = _mm512_maskz_mov_ps(ma, power(a1, r1));
            b1 = _mm512_maskz_mov_ps(mb, power(b1, r1));
            s0 = _mm512_add_ps(s0, _mm512_add_ps(a0, b0));
            s1 = _mm512_add_ps(s1, _mm512_add_ps(a1, b1));
            __m512i p0 = (__m512i)_mm512_cvtne2ps_pbh(b0, a0);
            __m512i p1 = two ? (__m512i)_mm512_cvtne2ps_pbh(b1, a1) : _mm512_setzero_si512();
            __mmask16 words = first((s->n - j + 1) / 2);
            if (along0)
                _mm512_mask_storeu_epi32(along0 + j / 2, words, p0);
            if (along1)
                _mm512_mask_storeu_epi32(along1 + j / 2, words, p1);
            if (across) {
                _mm512_mask_storeu_epi32(across + j, ma, _mm512_permutex2var_epi16(p0, lo, p1));
                _mm512_mask_storeu_epi32(across + j + 16, mb, _mm512_permutex2var_epi16(p0, hi, p1));
            }
        }
        s->sum[i] = s->sum[i] * s->factor[i] + _mm512_reduce_add_ps(s0);
        if (two)
            s->sum[i + 1] = s->sum[i + 1] * s->factor[i + 1] + _mm512_reduce_add_ps(s1);
    }
}

void hd_fill_bf16_avx512(struct hd_kernels_bf16 *k)
{
    *k = (struct hd_kernels_bf16){
        .name = "avx512+bf16", .fast = true, .from_f32 = from_f32, .to_f32 = to_f32,
        .pack_bytes = pack_bytes, .pack = pack, .weave = weave, .gemm = gemm,
        .softmax_block = softmax_block};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention on pairs of bfloat16 with VDPBF16PS. Factors: queries (rows, D / 2), keys (D / 2, rows) and
 * values (rows / 2, E), in pairs; the weights of a tile become pairs in the first half of each of its
 * rows. The instruction takes subnormal numbers for zero and sums a pair before it adds it: for each
 * product what is lost is under FLT_MIN. */
#include "kernel/attention_bf16.h"

#define HD_REAL_BITS 32
#include "kernel/vec.h"

void hd_fill_attention_bf16_avx512(struct hd_attention_bf16 *k);

#define W INT64_C(16) /* numbers or pairs in a vector */
/* Vectors and rows of a register tile. Sixteen sums hide the instruction's latency; with more than eight
 * rows their addresses would not lie in registers, which costs more than it saves. */
#define WIDE 2
#define TALL 8

static int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* The first n of sixteen, of 32 lanes. */
static inline __mmask16 first16(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1u << n) - 1);
}

static inline __mmask32 first32(int64_t n)
{
    return n >= 32 ? 0xFFFFFFFF : n <= 0 ? 0 : (UINT32_C(1) << n) - 1;
}

/* ---- factors */

static void queries(void *out_, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                    int64_t D)
{
    uint32_t *out = out_;
    for (int64_t r = 0; r < rows; r++, x += x_row, out += out_row)
        for (int64_t d = 0; d < D; d += 2 * W)
            _mm512_mask_storeu_epi32(out + d / 2, first16((D - d + 1) / 2),
                                     _mm512_maskz_loadu_epi16(first32(D - d), x + d));
}

/* Sixteen rows by sixteen pairs, turned: the usual four steps of exchanging halves. */
VEC_FN void turn_16(__m512i r[16])
{
    __m512i t[16];
    VEC_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    VEC_UNROLL
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* r[4 g + c] holds columns c, c + 4, c + 8, c + 12 of rows 4 g .. 4 g + 3, one in each quarter. */
    VEC_UNROLL
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD);
        t[8 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
    }
    VEC_UNROLL
    for (int c = 0; c < 4; c++) {
        r[c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x88);
        r[8 + c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xDD);
        r[4 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0x88);
        r[12 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0xDD);
    }
}

static void keys(void *out_, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows, int64_t D)
{
    uint32_t *out = out_;
    int64_t pairs = (D + 1) / 2;
    for (int64_t r = 0; r < rows; r += W)
        for (int64_t d = 0; d < pairs; d += W) {
            __mmask32 there = first32(D - 2 * d);
            __m512i t[16];
            for (int64_t i = 0; i < W; i++)
                t[i] = r + i < rows ? _mm512_maskz_loadu_epi16(there, x + (r + i) * x_row + 2 * d)
                                    : _mm512_setzero_si512();
            turn_16(t);
            for (int64_t i = 0; i < W && d + i < pairs; i++)
                _mm512_storeu_si512(out + (d + i) * out_row + r, t[i]);
        }
}

static void values(void *out_, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                   int64_t E)
{
    uint32_t *out = out_;
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i lo = _mm512_or_si512(lane, _mm512_slli_epi32(_mm512_add_epi32(lane,
                                              _mm512_set1_epi32(32)), 16));
    const __m512i hi = _mm512_add_epi16(lo, _mm512_set1_epi16(16));
    for (int64_t r = 0; r < rows; r += 2, x += 2 * x_row, out += out_row)
        for (int64_t e = 0; e < E; e += 2 * W) {
            __mmask32 there = first32(E - e);
            __m512i a = _mm512_maskz_loadu_epi16(there, x + e);
            __m512i b = r + 1 < rows ? _mm512_maskz_loadu_epi16(there, x + x_row + e)
                                     : _mm512_setzero_si512();
            _mm512_storeu_si512(out + e, _mm512_permutex2var_epi16(a, lo, b));
            if (E - e > W)
                _mm512_storeu_si512(out + e + W, _mm512_permutex2var_epi16(a, hi, b));
        }
}

/* ---- products */

/* One register tile's part of a product. All rows take `pairs` steps; then row i goes on to the end
 * of its own, number seen + i * step, cut to 0 .. K. */
struct strip {
    const uint32_t *a, *b;
    float *c;
    int64_t a_row, b_row, c_row;
    int64_t pairs, K, seen, step;
    float alpha;
    bool accumulate;
};

VEC_FN __m512 times(__m512 sum, uint32_t a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

/* The last steps, which only some rows take. Where a row ends inside a pair, the number that it does
 * not see is cut out of B, for 0 times NaN is not 0. */
VEC_FN void finish_rows(const struct strip *s, __m512 sum[TALL][WIDE], const int tall, const int wide)
{
    const __m512i lower = _mm512_set1_epi32(0xFFFF);
    int64_t last = clamp(s->seen + (tall - 1) * s->step, 0, s->K);
    for (int64_t k = s->pairs; 2 * k < last; k++) {
        const uint32_t *a = s->a + k, *b = s->b + k * s->b_row;
        VEC_UNROLL
        for (int i = 0; i < tall; i++) {
            int64_t left = clamp(s->seen + i * s->step, 0, s->K) - 2 * k;
            if (left <= 0)
                continue;
            VEC_UNROLL
            for (int j = 0; j < wide; j++) {
                __m512i y = _mm512_loadu_si512(b + j * W);
                y = left == 1 ? _mm512_and_si512(y, lower) : y;
                sum[i][j] = times(sum[i][j], a[i * s->a_row], y);
            }
        }
    }
}

VEC_FN void strip(const struct strip *s, const int tall, const int wide)
{
    const uint32_t *a = s->a, *b = s->b;
    const int64_t a_row = s->a_row, b_row = s->b_row;
    __m512 sum[TALL][WIDE];
    VEC_UNROLL
    for (int i = 0; i < tall; i++) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++)
            sum[i][j] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < s->pairs; k++, a++, b += b_row) {
        __m512i y[WIDE];
        VEC_UNROLL
        for (int j = 0; j < wide; j++)
            y[j] = _mm512_loadu_si512(b + j * W);
        VEC_UNROLL
        for (int i = 0; i < tall; i++) {
            VEC_UNROLL
            for (int j = 0; j < wide; j++)
                sum[i][j] = times(sum[i][j], a[i * a_row], y[j]);
        }
    }
    finish_rows(s, sum, tall, wide);
    /* Copies: a store to C could change what s points to, for all that a compiler knows. */
    const __m512 alpha = _mm512_set1_ps(s->alpha);
    const int64_t c_row = s->c_row;
    const bool accumulate = s->accumulate, scaled = s->alpha != 1;
    float *c = s->c;
    VEC_UNROLL
    for (int i = 0; i < tall; i++, c += c_row) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++) {
            __m512 x = scaled ? _mm512_mul_ps(alpha, sum[i][j]) : sum[i][j];
            x = accumulate ? _mm512_add_ps(x, _mm512_loadu_ps(c + j * W)) : x;
            _mm512_storeu_ps(c + j * W, x);
        }
    }
}

typedef void strip_fn(const struct strip *s);
#define STRIPS(tall)                                                                               \
    static void strip_##tall##_1(const struct strip *s)                                            \
    {                                                                                              \
        strip(s, tall, 1);                                                                         \
    }                                                                                              \
    static void strip_##tall##_2(const struct strip *s)                                            \
    {                                                                                              \
        strip(s, tall, 2);                                                                         \
    }
STRIPS(1) STRIPS(2) STRIPS(3) STRIPS(4) STRIPS(5) STRIPS(6) STRIPS(7) STRIPS(8)
static strip_fn *const strips[WIDE + 1][TALL + 1] = {
    {0},
    {0, strip_1_1, strip_2_1, strip_3_1, strip_4_1, strip_5_1, strip_6_1, strip_7_1, strip_8_1},
    {0, strip_1_2, strip_2_2, strip_3_2, strip_4_2, strip_5_2, strip_6_2, strip_7_2, strip_8_2}};

/* Panels of columns, and strips of rows as equal as can be. */
static void product(const struct hd_product *p)
{
    int64_t count = (p->M + TALL - 1) / TALL;
    bool lower = p->shape == HD_PRODUCT_LOWER;
    for (int64_t j = 0; j < p->N; j += WIDE * W) {
        int64_t wide = p->N - j > W ? 2 : 1, i = 0;
        struct strip s = {.b = (const uint32_t *)p->b + j, .a_row = p->a_row, .b_row = p->b_row,
                          .c_row = p->c_row, .K = p->K, .step = lower, .alpha = (float)p->alpha,
                          .accumulate = p->accumulate};
        for (int64_t n = 0; n < count; n++) {
            int64_t i_end = p->M * (n + 1) / count, here = wide;
            if (p->shape == HD_PRODUCT_COLUMNS)
                here = clamp((p->seen + i_end - 1 - j + W - 1) / W, 0, wide);
            s.seen = lower ? p->seen + i : p->K;
            s.pairs = clamp(s.seen, 0, p->K) / 2;
            s.a = (const uint32_t *)p->a + i * p->a_row;
            s.c = (float *)p->c + i * p->c_row + j;
            if (here > 0)
                strips[here][i_end - i](&s);
            i = i_end;
        }
    }
}

/* ---- weights */

/* d = n ln 2 + r, n whole: returns 2^n, and f = r / ln 2 in [-1/2, 1/2]. Less than exp(-88), and
 * -infinity, have 2^n 0; NaN has f NaN. */
static inline __m512 split(__m512 d, __m512 *f)
{
    const __m512 log2e = _mm512_set1_ps(1.44269504f);
    /* 1.5 2^23, so that n + 127 comes to stand in the lowest bits; shifted up they are 2^n. */
    const __m512 shift = _mm512_set1_ps(12582912.0f + 127.0f);
    d = _mm512_max_ps(_mm512_set1_ps(-88.0f), d); /* keeps NaN, which max takes from the second */
    __m512 t = _mm512_fmadd_ps(d, log2e, shift);
    *f = _mm512_fmsub_ps(d, log2e, _mm512_sub_ps(t, shift));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23));
}

/* exp(d) for d not above 0, of weights: a polynomial of degree 3 for 2^f, minimax among those that are
 * 1 at 0. Its relative error of 1.01e-4 is a fortieth of what a weight may lose as bfloat16. */
static inline __m512 power(__m512 d)
{
    __m512 f, two_n = split(d, &f), p = _mm512_set1_ps(0.0550089329f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.242210969f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693282902f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_mul_ps(p, two_n);
}

/* The same to 1.1e-7, by which sums fade: they do so once a block, and errors would add up. */
static inline __m512 power_exact(__m512 d)
{
    __m512 f, two_n = split(d, &f), p = _mm512_set1_ps(1.32647e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.67151e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550734e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022242e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314698e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_mul_ps(p, two_n);
}

static inline void store_weights(uint32_t *out, __m512 a, __m512 b)
{
    _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

/* Sixteen vectors, each made one number: lane i of the result is that of x[i]. Halves of two vectors
 * meet in one, four times over, which takes half the steps that sixteen rows one by one do. */
#define REDUCE_16(name, op)                                                                        \
    static inline __m512 name(const __m512 x[16])                                                  \
    {                                                                                              \
        __m512 t[8], u[4];                                                                         \
        VEC_UNROLL                                                                                 \
        for (int i = 0; i < 8; i++)                                                                \
            t[i] = op(_mm512_shuffle_f32x4(x[i], x[i + 8], 0x88),                                  \
                      _mm512_shuffle_f32x4(x[i], x[i + 8], 0xDD));                                 \
        VEC_UNROLL                                                                                 \
        for (int i = 0; i < 4; i++)                                                                \
            u[i] = op(_mm512_shuffle_f32x4(t[i], t[i + 4], 0x88),                                  \
                      _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD));                                 \
        /* quarters are now of rows 0 + i, 8 + i, 4 + i and 12 + i */                              \
        t[0] = op(_mm512_unpacklo_ps(u[0], u[2]), _mm512_unpackhi_ps(u[0], u[2]));                 \
        t[1] = op(_mm512_unpacklo_ps(u[1], u[3]), _mm512_unpackhi_ps(u[1], u[3]));                 \
        t[2] = op(_mm512_unpacklo_ps(t[0], t[1]), _mm512_unpackhi_ps(t[0], t[1]));                 \
        return _mm512_shuffle_f32x4(t[2], t[2], 0xD8);                                             \
    }
REDUCE_16(max_16, _mm512_max_ps)
REDUCE_16(sum_16, _mm512_add_ps)

/* In each lane the larger of what was and of some of n scores; NaN is passed over, it comes back in the
 * sum. */
static inline __m512 row_max(const float *s, int64_t n, float was)
{
    __m512 m0 = _mm512_set1_ps(was), m1 = m0;
    int64_t j = 0;
    for (; j + 2 * W <= n; j += 2 * W) {
        m0 = _mm512_max_ps(_mm512_loadu_ps(s + j), m0);
        m1 = _mm512_max_ps(_mm512_loadu_ps(s + j + W), m1);
    }
    if (j < n) {
        __mmask16 in_a = first16(n - j), in_b = first16(n - j - W);
        m0 = _mm512_mask_max_ps(m0, in_a, _mm512_maskz_loadu_ps(in_a, s + j), m0);
        m1 = _mm512_mask_max_ps(m1, in_b, _mm512_maskz_loadu_ps(in_b, s + j + W), m1);
    }
    return _mm512_max_ps(m1, m0);
}

/* n scores of a row become weights, in pairs where they lie; lanes of the result add up to their sum. */
static inline __m512 weigh_row(float *s, int64_t n, float max)
{
    __m512 m = _mm512_set1_ps(max), s0 = _mm512_setzero_ps(), s1 = s0;
    uint32_t *out = (uint32_t *)(void *)s;
    int64_t j = 0;
    for (; j + 2 * W <= n; j += 2 * W) {
        __m512 a = power(_mm512_sub_ps(_mm512_loadu_ps(s + j), m));
        __m512 b = power(_mm512_sub_ps(_mm512_loadu_ps(s + j + W), m));
        s0 = _mm512_add_ps(s0, a);
        s1 = _mm512_add_ps(s1, b);
        store_weights(out + j / 2, a, b);
    }
    if (j < n) {
        __mmask16 in_a = first16(n - j), in_b = first16(n - j - W);
        __m512 a = power(_mm512_sub_ps(_mm512_maskz_loadu_ps(in_a, s + j), m));
        __m512 b = power(_mm512_sub_ps(_mm512_maskz_loadu_ps(in_b, s + j + W), m));
        a = _mm512_maskz_mov_ps(in_a, a);
        b = _mm512_maskz_mov_ps(in_b, b);
        s0 = _mm512_add_ps(s0, a);
        s1 = _mm512_add_ps(s1, b);
        store_weights(out + j / 2, a, b);
    }
    return _mm512_add_ps(s0, s1);
}

/* Nothing seen so far, all of it -infinity, or NaN: which then is the sum. */
static __m512 weigh_nothing(const float *s, int64_t n)
{
    float sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += s[j] == s[j] ? 0 : s[j];
    return _mm512_maskz_mov_ps(1, _mm512_set1_ps(sum));
}

static void clear_pairs(float *s, int64_t from, int64_t columns)
{
    uint32_t *out = (uint32_t *)(void *)s;
    for (int64_t k = (from + 1) / 2; k < (columns + 1) / 2; k++)
        out[k] = 0;
}

static void scale_row(float *x, float by, int64_t n)
{
    for (int64_t i = 0; i < n; i += W) {
        __mmask16 m = first16(n - i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i),
                                                      _mm512_set1_ps(by)));
    }
}

static float *row_of(const struct hd_tile *t, int64_t i)
{
    return (float *)t->s + i * t->s_row;
}

static int64_t seen_by(const struct hd_tile *t, int64_t i)
{
    return clamp(t->seen + i * t->step, 0, t->columns);
}

/* Rows [from, to) of a tile, at most sixteen, so that what there is one of per row is a vector. */
static void softmax_rows(const struct hd_tile *t, int64_t from, int64_t to, float *max, float *sum,
                         float *out, int64_t out_row, int64_t E, bool first_block)
{
    const __mmask16 rows = first16(to - from);
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    __m512 part[16], old = first_block ? none : _mm512_mask_loadu_ps(none, rows, max + from);
    for (int64_t i = 0; i < 16; i++)
        part[i] = from + i < to ? row_max(row_of(t, from + i), seen_by(t, from + i),
                                          first_block ? -__builtin_inff() : max[from + i])
                                : none;
    __m512 m = max_16(part);
    _mm512_mask_storeu_ps(max + from, rows, m);
    for (int64_t i = from; i < to; i++) {
        float *s = row_of(t, i);
        int64_t n = seen_by(t, i);
        bool any = max[i] > -__builtin_inff();
        part[i - from] = any ? weigh_row(s, n, max[i]) : weigh_nothing(s, n);
        if (!any || n < t->columns)
            clear_pairs(s, any ? n : 0, t->columns);
    }
    __m512 total = sum_16(part);
    if (!first_block) {
        __mmask16 moved = _mm512_cmp_ps_mask(m, old, _CMP_NEQ_OQ) &
                          _mm512_cmp_ps_mask(old, none, _CMP_NEQ_OQ);
        __m512 fade = _mm512_mask_mov_ps(_mm512_set1_ps(1), moved, power_exact(_mm512_sub_ps(old, m)));
        float fades[16];
        _mm512_storeu_ps(fades, fade);
        total = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(rows, sum + from), fade, total);
        for (unsigned left = moved & rows; left; left &= left - 1) {
            int i = __builtin_ctz(left);
            scale_row(out + (from + i) * out_row, fades[i], E);
        }
    }
    _mm512_mask_storeu_ps(sum + from, rows, total);
}

static void softmax(const struct hd_tile *t, void *max, void *sum, void *out, int64_t out_row,
                    int64_t E, bool first_block)
{
    for (int64_t i = 0; i < t->rows; i += 16)
        softmax_rows(t, i, i + 16 < t->rows ? i + 16 : t->rows, max, sum, out, out_row, E,
                     first_block);
}

static void settle(const struct hd_tile *t)
{
    for (int64_t i = 0; i < t->rows; i++) {
        float *s = row_of(t, i);
        for (int64_t j = 0; j < t->columns; j += 2 * W)
            store_weights((uint32_t *)(void *)s + j / 2,
                          _mm512_maskz_loadu_ps(first16(t->columns - j), s + j),
                          _mm512_maskz_loadu_ps(first16(t->columns - j - W), s + j + W));
    }
}

/* ---- results */

static void results(uint16_t *out, int64_t out_row, const float *x, int64_t x_row, const float *sum,
                    int64_t rows, int64_t E)
{
    for (int64_t i = 0; i < rows; i++, out += out_row, x += x_row) {
        bool blind = sum && sum[i] == 0; /* then x may hold anything */
        float by = sum && !blind ? 1 / sum[i] : 1;
        __mmask16 any = blind ? 0 : 0xFFFF;
        for (int64_t e = 0; e < E; e += 2 * W) {
            __m512 a = _mm512_maskz_loadu_ps(any & first16(E - e), x + e);
            __m512 b = _mm512_maskz_loadu_ps(any & first16(E - e - W), x + e + W);
            a = _mm512_mul_ps(a, _mm512_set1_ps(by));
            b = _mm512_mul_ps(b, _mm512_set1_ps(by));
            _mm512_mask_storeu_epi16(out + e, first32(E - e), (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
    }
}

void hd_fill_attention_bf16_avx512(struct hd_attention_bf16 *k)
{
    *k = (struct hd_attention_bf16){.pairs = true, .queries = queries, .keys = keys, .values = values,
                                    .product = product, .softmax = softmax, .settle = settle,
                                    .results = results};
}

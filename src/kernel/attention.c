/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of exact attention: struct hd_attention_kernels. One source for every element type and
 * instruction set, compiled with each variant's flags (see meson.build and vec.h).
 *
 * Products here are of tiles that were just computed and lie in cache, so nothing is packed: B is read
 * in place by whole vectors, A one element at a time. Where the diagonal of a causal mask crosses a
 * register tile, the steps that only some of its rows take are unrolled as a triangle. */
#include "kernel/attention_tile.h"

#include <math.h>

#define FILL_ATTENTION CAT(hd_fill_attention_, HD_VARIANT)
#define FILL_POINTWISE CAT(hd_fill_attention_pointwise_, HD_VARIANT)
#define FILL_SCORES CAT(hd_fill_attention_scores_, HD_VARIANT)

void FILL_ATTENTION(struct hd_attention_kernels *k);
void FILL_POINTWISE(struct hd_attention_kernels *k);
void FILL_SCORES(struct hd_attention_kernels *k);

/* ---- products */

/* One register tile's part of a product: rows and columns are cut, k runs over [begin, end) for all
 * rows; before it (shape UPPER) or after it (LOWER) comes the triangle that starts at `corner`. */
struct strip {
    const REAL *a, *b;
    REAL *c;
    int64_t a_row, a_col, b_row, c_row;
    int64_t begin, end, corner, K;
    size_t left; /* columns of the last vector */
    REAL alpha;
    bool accumulate;
    enum hd_product_shape shape;
};

#if VEC_AVX512
#define WIDE_MAX 4
#define TALL_1 8
#define TALL_2 8
#define TALL_3 8 /* 24 of 32 registers hold sums */
#define TALL_4 6
#else
#define WIDE_MAX 2
#define TALL_1 6
#define TALL_2 6 /* 12 of 16 */
#endif

/* One step of k: rows [from, to) of the tile. */
#define STEP(from, to)                                                                             \
    do {                                                                                           \
        vec y[WIDE_MAX];                                                                           \
        VEC_UNROLL                                                                                 \
        for (int j = 0; j < wide - 1; j++)                                                         \
            y[j] = load(b + j * W);                                                                \
        y[wide - 1] = full ? load(b + (wide - 1) * W) : load_part(b + (wide - 1) * W, s->left);    \
        VEC_UNROLL                                                                                 \
        for (int i = (from); i < (to); i++) {                                                      \
            vec x = all(a[i * a_row]);                                                             \
            VEC_UNROLL                                                                             \
            for (int j = 0; j < wide; j++)                                                         \
                sum[i][j] = fma_v(x, y[j], sum[i][j]);                                             \
        }                                                                                          \
    } while (0)

/* tall, wide and full are constants wherever this is inlined, so that the loops over them unroll and
 * sum lies in registers. */
VEC_FN void strip(const struct strip *s, const int tall, const int wide, const bool full,
                  const bool triangle)
{
    vec sum[8][WIDE_MAX];
    const int64_t a_row = s->a_row, a_col = s->a_col, b_row = s->b_row;
    VEC_UNROLL
    for (int i = 0; i < tall; i++) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++)
            sum[i][j] = (vec){0};
    }
    if (triangle && s->shape == HD_PRODUCT_UPPER) {
        /* Step corner + t is for rows 0 .. t. */
        VEC_UNROLL
        for (int t = 0; t < tall - 1; t++) {
            int64_t k = s->corner + t;
            if (k >= 0 && k < s->K) {
                const REAL *a = s->a + k * a_col, *b = s->b + k * b_row;
                STEP(0, t + 1);
            }
        }
    }
    const REAL *a = s->a + s->begin * a_col, *b = s->b + s->begin * b_row;
    for (int64_t k = s->begin; k < s->end; k++, a += a_col, b += b_row)
        STEP(0, tall);
    if (triangle && s->shape == HD_PRODUCT_LOWER) {
        /* Step corner + t is for rows t + 1 .. tall - 1. */
        VEC_UNROLL
        for (int t = 0; t < tall - 1; t++) {
            int64_t k = s->corner + t;
            if (k >= 0 && k < s->K) {
                a = s->a + k * a_col, b = s->b + k * b_row;
                STEP(t + 1, tall);
            }
        }
    }
    vec alpha = all(s->alpha);
    REAL *c = s->c;
    VEC_UNROLL
    for (int i = 0; i < tall; i++, c += s->c_row) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++) {
            if (j < wide - 1 || full)
                store(c + j * W, s->accumulate ? fma_v(alpha, sum[i][j], load(c + j * W))
                                               : alpha * sum[i][j]);
            else
                store_part(c + j * W,
                           s->accumulate
                               ? fma_v(alpha, sum[i][j], load_part(c + j * W, s->left))
                               : alpha * sum[i][j],
                           s->left);
        }
    }
}

typedef void strip_fn(const struct strip *s);
#define STRIP(tall, wide)                                                                          \
    static void strip_##tall##_##wide(const struct strip *s)                                       \
    {                                                                                              \
        strip(s, tall, wide, true, false);                                                         \
    }                                                                                              \
    static void ragged_##tall##_##wide(const struct strip *s)                                      \
    {                                                                                              \
        strip(s, tall, wide, false, true);                                                         \
    }
#define EACH_6(X, wide) X(1, wide) X(2, wide) X(3, wide) X(4, wide) X(5, wide) X(6, wide)
#define EACH_8(X, wide) EACH_6(X, wide) X(7, wide) X(8, wide)
#define NAME(tall, wide) {strip_##tall##_##wide, ragged_##tall##_##wide},
#define NONE {NULL, NULL},

#if VEC_AVX512
EACH_8(STRIP, 1)
EACH_8(STRIP, 2)
EACH_8(STRIP, 3)
EACH_6(STRIP, 4)
static strip_fn *const strips[WIDE_MAX + 1][9][2] = {
    {{0}}, {NONE EACH_8(NAME, 1)}, {NONE EACH_8(NAME, 2)}, {NONE EACH_8(NAME, 3)},
    {NONE EACH_6(NAME, 4)}};
static const int64_t tall_max[WIDE_MAX + 1] = {1, TALL_1, TALL_2, TALL_3, TALL_4};
#else
EACH_6(STRIP, 1)
EACH_6(STRIP, 2)
static strip_fn *const strips[WIDE_MAX + 1][9][2] = {
    {{0}}, {NONE EACH_6(NAME, 1)}, {NONE EACH_6(NAME, 2)}};
static const int64_t tall_max[WIDE_MAX + 1] = {1, TALL_1, TALL_2};
#endif

/* Columns are cut into panels of up to WIDE_MAX vectors and rows into strips, each as equal as can be:
 * 50 rows are nine strips of five or six, not eight of six and one of two. */
static void product(const struct hd_product *p)
{
    int64_t vectors = (p->N + W - 1) / W, panels = (vectors + WIDE_MAX - 1) / WIDE_MAX, from = 0;
    for (int64_t panel = 0; panel < panels; panel++) {
        int64_t to = vectors * (panel + 1) / panels, wide = to - from, j = from * W;
        int64_t width = p->N - j < wide * W ? p->N - j : wide * W;
        int64_t count = (p->M + tall_max[wide] - 1) / tall_max[wide], i = 0;
        struct strip s = {.a_row = p->a_row, .a_col = p->a_col, .b_row = p->b_row,
                          .c_row = p->c_row, .K = p->K, .alpha = (REAL)p->alpha,
                          .accumulate = p->accumulate, .shape = p->shape};
        s.b = (const REAL *)p->b + j;
        for (int64_t n = 0; n < count; n++) {
            int64_t i_end = p->M * (n + 1) / count, tall = i_end - i, here = wide;
            int64_t columns = width;
            s.begin = 0, s.end = p->K;
            bool triangle = false;
            if (p->shape == HD_PRODUCT_COLUMNS) {
                columns = clamp(p->seen + i_end - 1 - j, 0, width);
                here = (columns + W - 1) / W;
            } else if (p->shape == HD_PRODUCT_LOWER) {
                s.corner = p->seen + i;
                s.end = clamp(s.corner, 0, p->K);
                triangle = s.corner < p->K && s.corner + tall - 1 > 0;
            } else if (p->shape == HD_PRODUCT_UPPER) {
                s.corner = i - p->seen + 1;
                s.begin = clamp(s.corner + tall - 1, 0, p->K);
                triangle = s.corner < p->K && s.corner + tall - 1 > 0;
            }
            if (here > 0) {
                s.left = (size_t)(columns - (here - 1) * W);
                s.a = (const REAL *)p->a + i * p->a_row;
                s.c = (REAL *)p->c + i * p->c_row + j;
                strips[here][tall][triangle || s.left < VL](&s);
            }
            i = i_end;
        }
        from = to;
    }
}

static void transpose(void *out_, int64_t out_row, const void *x_, int64_t x_row, int64_t rows,
                      int64_t columns)
{
    REAL *out = out_;
    const REAL *x = x_;
    int64_t r = 0;
#if VEC_AVX512
    /* Sixteen rows by four columns at a time. Loads put rows 4 l + i into lane l of t[i], so that the
     * four-by-four turn inside lanes leaves each column's sixteen rows in order: half the shuffles of
     * turning sixteen whole vectors. Rows that do not exist repeat the last one and are not stored. */
    for (; r < rows; r += 16) {
        size_t high = rows - r < 16 ? (size_t)(rows - r) : 16;
        const REAL *row[16];
        int64_t c = 0;
        for (int64_t i = 0; i < 16; i++)
            row[i] = x + (r + i < rows ? r + i : rows - 1) * x_row;
        for (; c + 4 <= columns; c += 4) {
            __m512 t[4];
            VEC_UNROLL
            for (int i = 0; i < 4; i++) {
                t[i] = _mm512_castps128_ps512(_mm_loadu_ps(row[i] + c));
                t[i] = _mm512_insertf32x4(t[i], _mm_loadu_ps(row[4 + i] + c), 1);
                t[i] = _mm512_insertf32x4(t[i], _mm_loadu_ps(row[8 + i] + c), 2);
                t[i] = _mm512_insertf32x4(t[i], _mm_loadu_ps(row[12 + i] + c), 3);
            }
            __m512d a = (__m512d)_mm512_unpacklo_ps(t[0], t[1]);
            __m512d b = (__m512d)_mm512_unpackhi_ps(t[0], t[1]);
            __m512d d = (__m512d)_mm512_unpacklo_ps(t[2], t[3]);
            __m512d e = (__m512d)_mm512_unpackhi_ps(t[2], t[3]);
            REAL *o = out + c * out_row + r;
            put(o, (vec)_mm512_unpacklo_pd(a, d), high);
            put(o + out_row, (vec)_mm512_unpackhi_pd(a, d), high);
            put(o + 2 * out_row, (vec)_mm512_unpacklo_pd(b, e), high);
            put(o + 3 * out_row, (vec)_mm512_unpackhi_pd(b, e), high);
        }
        for (; c < columns; c++)
            for (int64_t i = 0; i < (int64_t)high; i++)
                out[c * out_row + r + i] = row[i][c];
    }
#elif VEC_AVX2
    /* The same with eight rows. */
    for (; r < rows; r += 8) {
        size_t high = rows - r < 8 ? (size_t)(rows - r) : 8;
        const REAL *row[8];
        int64_t c = 0;
        for (int64_t i = 0; i < 8; i++)
            row[i] = x + (r + i < rows ? r + i : rows - 1) * x_row;
        for (; c + 4 <= columns; c += 4) {
            __m256 t[4];
            VEC_UNROLL
            for (int i = 0; i < 4; i++)
                t[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[i] + c)),
                                            _mm_loadu_ps(row[4 + i] + c), 1);
            __m256d a = (__m256d)_mm256_unpacklo_ps(t[0], t[1]);
            __m256d b = (__m256d)_mm256_unpackhi_ps(t[0], t[1]);
            __m256d d = (__m256d)_mm256_unpacklo_ps(t[2], t[3]);
            __m256d e = (__m256d)_mm256_unpackhi_ps(t[2], t[3]);
            REAL *o = out + c * out_row + r;
            put(o, (vec)_mm256_unpacklo_pd(a, d), high);
            put(o + out_row, (vec)_mm256_unpackhi_pd(a, d), high);
            put(o + 2 * out_row, (vec)_mm256_unpacklo_pd(b, e), high);
            put(o + 3 * out_row, (vec)_mm256_unpackhi_pd(b, e), high);
        }
        for (; c < columns; c++)
            for (int64_t i = 0; i < (int64_t)high; i++)
                out[c * out_row + r + i] = row[i][c];
    }
#endif
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            out[c * out_row + r] = x[r * x_row + c];
}

/* ---- tiles of scores */

/* exp(x) for x that is not far above 0, as a score less its row's maximum, or less its logarithm of a
 * sum: no clamp above, and one step of reduction, since n (ln 2 - float(ln 2)) is under 2e-9 |n|. The
 * polynomial is minimax of degree 6 on [-ln 2 / 2, ln 2 / 2] with relative error 2.6e-9, 0.7 ulp when
 * evaluated in float; with the reduction under 2 ulp down to exp(-30), under 4 below. exp(-infinity)
 * is 0; NaN stays. Five operations of sixteen fewer than exp_v(). */
VEC_FN vec exp_low(vec x)
{
#if HD_REAL_BITS == 32
    const vec shift = all(12582912.0f);
    x = max_v(all(-104.0f), x); /* keeps NaN, which max_v takes from the second */
    vec t = fma_v(x, all(1.44269504f), shift), n = t - shift;
    vec r = fma_v(n, all(-0.693147181f), x), p = all(0.00140614226f);
    p = fma_v(p, r, all(0.00837905891f));
    p = fma_v(p, r, all(0.0416647717f));
    p = fma_v(p, r, all(0.166663647f));
    p = fma_v(p, r, all(0.50000006f));
    p = fma_v(p, r, all(1.0f));
    p = fma_v(p, r, all(1.0f));
#if VEC_AVX512
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    ivec e = bits(t) - bits(shift), half = e >> 1; /* 2^n in two factors: n may be -150 */
    return p * (vec)((half + 127) << 23) * (vec)((e - half + 127) << 23);
#endif
#else
    return exp_v(x);
#endif
}

/* log(x) for x of at least 1, or 0, which gives anything: the polynomial of Cephes' logf, under 2 ulp
 * of the larger of 1 and the result. */
VEC_FN vec log_high(vec x)
{
#if HD_REAL_BITS == 32
    /* m in [sqrt(1/2), sqrt(2)), x = m 2^e: 0x3F3504F3 is sqrt(1/2). */
    ivec e = (bits(x) - 0x3F3504F3) >> 23;
    vec f = __builtin_convertvector(e, vec), m = (vec)(bits(x) - (e << 23)) - 1, z = m * m;
    vec y = all(7.0376836292e-2f);
    y = fma_v(y, m, all(-1.1514610310e-1f));
    y = fma_v(y, m, all(1.1676998740e-1f));
    y = fma_v(y, m, all(-1.2420140846e-1f));
    y = fma_v(y, m, all(1.4249322787e-1f));
    y = fma_v(y, m, all(-1.6668057665e-1f));
    y = fma_v(y, m, all(2.0000714765e-1f));
    y = fma_v(y, m, all(-2.4999993993e-1f));
    y = fma_v(y, m, all(3.3333331174e-1f));
    y = fma_v(y * m, z, f * all(-2.12194440e-4f));
    y = fma_v(z, all(-0.5f), y);
    return fma_v(f, all(0.693359375f), m + y);
#else
    for (size_t l = 0; l < VL; l++)
        x[l] = log(x[l]);
    return x;
#endif
}

static void add_position(const struct hd_tile *t, const void *table_)
{
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        const REAL *table = (const REAL *)table_ - i;
        size_t n = seen_by(t, i);
        for (size_t j = 0; j < n; j += VL)
            store(s + j, load(s + j) + get(table + j, n - j));
    }
}

/* Along diagonals: one vector of them at a time takes what every row has on it, so that no entry is
 * written twice. Entry d is the diagonal j - i = d. Lanes before a row's start or past what it sees
 * are cut; the tile's memory goes on far enough to be read there. */
static void sum_position(const struct hd_tile *t, void *table_)
{
    REAL *table = table_;
    for (int64_t d = 1 - t->rows; d < t->columns; d += W) {
        size_t width = t->columns - d < W ? (size_t)(t->columns - d) : VL;
        vec sum = {0};
        for (int64_t i = d + W > 1 ? 0 : 1 - d - W; i < t->rows; i++) {
            int64_t j = d + i, n = (int64_t)seen_by(t, i);
            if (j >= n)
                break; /* nor does a later row reach this diagonal */
            vec x = load(row_of(t, i) + j);
            if (j + W > n)
                x = pick(first((size_t)(n - j)), x, (vec){0});
            if (j < 0)
                x = pick(first((size_t)-j), (vec){0}, x);
            sum += x;
        }
        put(table + d, get(table + d, width) + sum, width);
    }
}

/* Times rise along a row, so that most vectors of keys lie in one bucket: that is looked at first. */
static void add_bucket(const struct hd_tile *t, const int32_t *bucket, int64_t bucket_row,
                       const void *table_)
{
    const REAL *table = table_;
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        const int32_t *b = bucket + i * bucket_row;
        size_t n = seen_by(t, i), j = 0;
#if VEC_AVX512
        for (; j + VL <= n; j += VL) {
            __m512i at = _mm512_loadu_si512(b + j), same = _mm512_set1_epi32(b[j]);
            vec bias = _mm512_cmpneq_epi32_mask(at, same)
                           ? (vec)_mm512_i32gather_ps(at, table, sizeof(float))
                           : all(table[b[j]]);
            store(s + j, load(s + j) + bias);
        }
#endif
        for (; j < n; j++)
            s[j] += table[b[j]];
    }
}

static void sum_bucket(const struct hd_tile *t, const int32_t *bucket, int64_t bucket_row,
                       void *table_)
{
    REAL *table = table_;
    for (int64_t i = 0; i < t->rows; i++) {
        const REAL *s = row_of(t, i);
        const int32_t *b = bucket + i * bucket_row;
        size_t n = seen_by(t, i), j = 0;
#if VEC_AVX512
        for (; j + VL <= n; j += VL) {
            __m512i at = _mm512_loadu_si512(b + j);
            __mmask16 left = 0xFFFF;
            for (unsigned lane = 0; left; lane = (unsigned)__builtin_ctz(left | 0x10000u)) {
                float *part = table + (int64_t)VL * b[j + lane];
                __mmask16 same = _mm512_cmpeq_epi32_mask(at, _mm512_set1_epi32(b[j + lane]));
                __m512 old = _mm512_loadu_ps(part);
                _mm512_storeu_ps(part, _mm512_mask_add_ps(old, same, old, (__m512)load(s + j)));
                left &= (__mmask16)~same;
            }
        }
#endif
        for (; j < n; j++)
            table[(int64_t)HD_TILE_PAD * b[j] + (int64_t)(j % HD_TILE_PAD)] += s[j];
    }
}

#if VEC_AVX512
/* Exponent and mantissa make the logarithm to base 2, with a polynomial of degree 6 (error 4.5e-6);
 * times ln 2 / 0.301 = 2.3 and rounded at up to 2^7 that is off by less than 5e-5. What lies within
 * 1e-4 of a border is left to the caller: one pair in five thousand. */
static int64_t log_buckets(int32_t *out, int64_t query, const int64_t *key, int64_t n, int32_t most)
{
    int64_t doubts = 0;
    const __m512i q = _mm512_set1_epi64(query);
    for (int64_t j = 0; j < n; j += 16) {
        int64_t left = n - j;
        __mmask16 m = (__mmask16)(left >= 16 ? 0xFFFF : (1u << left) - 1);
        __m512i lo = _mm512_sub_epi64(q, _mm512_maskz_loadu_epi64((__mmask8)m, key + j));
        __m512i hi = _mm512_sub_epi64(
            q, m >> 8 ? _mm512_maskz_loadu_epi64((__mmask8)(m >> 8), key + j + 8)
                      : _mm512_setzero_si512());
        __m512 x = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtepi64_ps(lo)),
                                      _mm512_cvtepi64_ps(hi), 1);
        x = _mm512_abs_ps(x);
        vec f = (vec)_mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
        vec y = all(-0.02456853538751602f);
        y = fma_v(y, f, all(0.2650243043899536f));
        y = fma_v(y, f, all(-1.2292909622192383f));
        y = fma_v(y, f, all(3.2128002643585205f));
        y = fma_v(y, f, all(-5.261682510375977f));
        y = fma_v(y, f, all(6.066871643066406f));
        y = fma_v(y, f, all(-3.029151439666748f - 9.965784284662087f)); /* less log2(1000) */
        y = (y + (vec)_mm512_getexp_ps(x)) * 2.3028145533553f;
        __m512 b = _mm512_roundscale_ps((__m512)y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        __m512 past = _mm512_sub_ps((__m512)y, b);
        __mmask16 doubt = _mm512_cmp_ps_mask(past, _mm512_set1_ps(1e-4f), _CMP_LT_OQ) |
                          _mm512_cmp_ps_mask(past, _mm512_set1_ps(1 - 1e-4f), _CMP_GT_OQ);
        /* On both sides of the border at one second lies bucket 0. */
        doubt &= m & _mm512_cmp_ps_mask((__m512)y, _mm512_set1_ps(0.5f), _CMP_GT_OQ);
        b = _mm512_max_ps(b, _mm512_setzero_ps());
        __m512i bucket = _mm512_min_epi32(_mm512_cvttps_epi32(b), _mm512_set1_epi32(most));
        bucket = _mm512_mask_set1_epi32(bucket, doubt, -1);
        _mm512_mask_storeu_epi32(out + j, m, bucket);
        doubts += __builtin_popcount(doubt);
    }
    return doubts;
}
#endif

static void scale_row(REAL *x, REAL a, int64_t n)
{
    for (int64_t i = 0; i < n; i += W)
        put(x + i, get(x + i, (size_t)(n - i)) * a, (size_t)(n - i));
}

static void softmax(const struct hd_tile *t, void *max_, void *sum_, void *out, int64_t out_row,
                    int64_t E, bool first_block)
{
    REAL *max = max_, *sum = sum_;
    size_t room = (size_t)((t->columns + W - 1) / W * W);
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        size_t n = seen_by(t, i), whole = n / VL * VL;
        REAL old = first_block ? -(REAL)INFINITY : max[i];
        vec top = all(old);
        for (size_t j = 0; j < whole; j += VL)
            top = max_v(load(s + j), top);
        if (whole < n)
            top = max_v(pick(first(n - whole), load(s + whole), top), top);
        REAL m = hmax(top);
        vec total = {0};
        size_t j = 0;
        if (m > -(REAL)INFINITY) {
            vec shift = all(m);
            for (; j < whole; j += VL) {
                vec p = exp_low(load(s + j) - shift);
                total += p;
                store(s + j, p);
            }
            if (j < n) {
                vec p = only(exp_low(load(s + j) - shift), n - j);
                total += p;
                store(s + j, p);
                j += VL;
            }
            if (t->threshold) {
                uint64_t row_key = hd_attention_row_key(t->key, t->row + (uint64_t)i);
                for (j = 0; j < n; j += VL)
                    store(s + j, load(s + j) * kept(t, row_key, t->column + j));
            }
        } else {
            /* Nothing seen so far, all of it -infinity, or NaN: which then is in the sum. */
            for (; j < n; j += VL) {
                vec x = load(s + j);
                x = only(pick((ivec)(x == x), (vec){0}, x), n - j);
                total += x;
                store(s + j, x);
            }
        }
        for (; j < room; j += VL)
            store(s + j, (vec){0});
        REAL part = hsum(total);
        if (!first_block && m != old) {
            REAL fade = old > -(REAL)INFINITY ? exp_low(all(old - m))[0] : (REAL)1;
            scale_row((REAL *)out + i * out_row, fade, E);
            part += sum[i] * fade;
        } else if (!first_block) {
            part += sum[i];
        }
        max[i] = m, sum[i] = part;
    }
}

static void finish(int64_t rows, const void *max_, const void *sum_, void *lse_, void *out_,
                   int64_t out_row, int64_t E)
{
    const REAL *max = max_, *sum = sum_;
    REAL *lse = lse_, *out = out_;
    for (int64_t i = 0; i < rows; i += W) {
        size_t left = (size_t)(rows - i);
        vec l = get(sum + i, left), x = get(max + i, left) + log_high(l);
        x = pick((ivec)(l == 0), all((REAL)INFINITY), x);
        put(lse + i, pick((ivec)(l == l), x, l), left);
    }
    for (int64_t i = 0; i < rows; i++) {
        if (sum[i] == 0)
            for (int64_t e = 0; e < E; e++)
                out[i * out_row + e] = 0;
        else
            scale_row(out + i * out_row, 1 / sum[i], E);
    }
}

static void weights(const struct hd_tile *t, const void *lse_)
{
    const REAL *lse = lse_;
    size_t room = (size_t)((t->columns + W - 1) / W * W);
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        size_t n = seen_by(t, i), j = 0;
        vec shift = all(lse[i]);
        for (; j < n; j += VL)
            store(s + j, only(exp_low(load(s + j) - shift), n - j));
        for (; j < room; j += VL)
            store(s + j, (vec){0});
    }
}

static void softmax_back(const struct hd_tile *t, void *dp_, int64_t dp_row, const void *lse_,
                         const void *delta_)
{
    const REAL *lse = lse_, *delta = delta_;
    size_t room = (size_t)((t->columns + W - 1) / W * W);
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i), *dp = (REAL *)dp_ + i * dp_row;
        size_t n = seen_by(t, i), j = 0;
        vec shift = all(lse[i]), less = all(delta[i]);
        if (!t->threshold) {
            for (; j + VL <= n; j += VL) {
                vec p = exp_low(load(s + j) - shift);
                store(s + j, p);
                store(dp + j, p * (load(dp + j) - less));
            }
            if (j < n) {
                vec p = only(exp_low(load(s + j) - shift), n - j);
                store(s + j, p);
                store(dp + j, only(p * (load(dp + j) - less), n - j));
                j += VL;
            }
        } else {
            uint64_t row_key = hd_attention_row_key(t->key, t->row + (uint64_t)i);
            for (; j < n; j += VL) {
                vec p = only(exp_low(load(s + j) - shift), n - j);
                vec keep = kept(t, row_key, t->column + j);
                store(s + j, p * keep);
                store(dp + j, only(p * (load(dp + j) * keep - less), n - j));
            }
        }
        for (; j < room; j += VL) {
            store(s + j, (vec){0});
            store(dp + j, (vec){0});
        }
    }
}

static void row_dots(int64_t rows, int64_t n, const void *x_, int64_t x_row, const void *y_,
                     int64_t y_row, void *out_)
{
    const REAL *x = x_, *y = y_;
    REAL *out = out_;
    for (int64_t i = 0; i < rows; i++, x += x_row, y += y_row) {
        vec sum = {0};
        for (int64_t j = 0; j < n; j += W)
            sum = fma_v(get(x + j, (size_t)(n - j)), get(y + j, (size_t)(n - j)), sum);
        out[i] = hsum(sum);
    }
}

/* ---- what other methods need */

static void elu_one(void *y_, int64_t y_row, const void *x_, int64_t x_row, int64_t rows, int64_t n)
{
    REAL *y = y_;
    const REAL *x = x_;
    for (int64_t i = 0; i < rows; i++, x += x_row, y += y_row)
        for (int64_t j = 0; j < n; j += W) {
            vec a = get(x + j, (size_t)(n - j));
            put(y + j, pick((ivec)(a > 0), a + 1, exp_v(a)), (size_t)(n - j));
        }
}

static void elu_one_back(void *dx_, int64_t dx_row, const void *dy_, int64_t dy_row, const void *y_,
                         int64_t y_row, int64_t rows, int64_t n, bool accumulate)
{
    REAL *dx = dx_;
    const REAL *dy = dy_, *y = y_;
    for (int64_t i = 0; i < rows; i++, dx += dx_row, dy += dy_row, y += y_row)
        for (int64_t j = 0; j < n; j += W) {
            size_t left = (size_t)(n - j);
            vec d = get(dy + j, left) * min_v(all(1), get(y + j, left));
            put(dx + j, accumulate ? get(dx + j, left) + d : d, left);
        }
}

static void hide_range(const struct hd_tile *t, const int32_t *code, const int32_t *from,
                       const int32_t *to)
{
    for (int64_t i = 0; i < t->rows; i++) {
        REAL *s = row_of(t, i);
        size_t n = seen_by(t, i), j = 0;
        if (from[i] >= to[i])
            continue;
#if HD_REAL_BITS == 32
        for (; j + VL <= n; j += VL) {
            ivec c;
            memcpy(&c, code + j, sizeof c);
            ivec hidden = (ivec)(c >= from[i]) & (ivec)(c < to[i]);
            store(s + j, pick(hidden, all(-(REAL)INFINITY), load(s + j)));
        }
#endif
        for (; j < n; j++)
            if (code[j] >= from[i] && code[j] < to[i])
                s[j] = -(REAL)INFINITY;
    }
}

void FILL_ATTENTION(struct hd_attention_kernels *k)
{
    *k = (struct hd_attention_kernels){
        .item_bytes = sizeof(REAL), .product = product, .transpose = transpose,
        .add_position = add_position, .sum_position = sum_position, .add_bucket = add_bucket,
        .sum_bucket = sum_bucket,
#if VEC_AVX512
        .log_buckets = log_buckets,
#endif
        .softmax = softmax, .finish = finish, .weights = weights,
        .softmax_back = softmax_back, .row_dots = row_dots, .elu_one = elu_one,
        .elu_one_back = elu_one_back, .hide_range = hide_range};
    FILL_POINTWISE(k);
    FILL_SCORES(k);
}

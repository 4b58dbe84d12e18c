/* SPDX-License-Identifier: Apache-2.0
 *
 * The row kernels: everything in struct hd_kernels that is not a matrix product. One source, compiled
 * once for each element type and instruction set with that variant's flags (see meson.build); vec.h
 * makes `vec` as wide as the variant's registers. HD_VARIANT names the one symbol that leaves, the
 * function that fills in a table. */
#include "kernel/kernel.h"
#include "kernel/vec.h"

#include <math.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FILL_ROWS CAT(hd_fill_rows_, HD_VARIANT)

void FILL_ROWS(struct hd_kernels *k);

/* ---- elementwise */

static void fill(void *out_, double a, size_t n)
{
    REAL *out = out_;
    vec va = all((REAL)a);
    for (size_t i = 0; i < n; i += VL)
        put(out + i, va, n - i);
}

/* One pass over rows, out[i ...] = value, in which AT(row) is the row's vector at i. */
#define EACH(n, value)                                                                             \
    do {                                                                                           \
        for (size_t i = 0; i < (n); i += VL) {                                                     \
            size_t left = (n) - i;                                                                 \
            put(out + i, value, left);                                                             \
        }                                                                                          \
    } while (0)
#define AT(row) get((row) + i, left)

static void add(void *out_, const void *x_, const void *y_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_, *y = y_;
    EACH(n, AT(x) + AT(y));
}

static void mul(void *out_, const void *x_, const void *y_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_, *y = y_;
    EACH(n, AT(x) * AT(y));
}

static void muladd(void *out_, const void *x_, const void *y_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_, *y = y_;
    EACH(n, fma_v(AT(x), AT(y), AT(out)));
}

static void scale(void *out_, double a, const void *x_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_;
    vec va = all((REAL)a);
    EACH(n, va * AT(x));
}

static void axpy(void *out_, double a, const void *x_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_;
    vec va = all((REAL)a);
    EACH(n, fma_v(va, AT(x), AT(out)));
}

/* ---- activations. Each is a function of one vector, and its derivative. */

static inline vec relu_v(vec x)
{
    return max_v(all(0), x); /* this way round NaN stays NaN */
}

static inline vec relu_d(vec x)
{
    return pick(x > all(0), all(1), all(0));
}

static inline vec sigmoid_d(vec x)
{
    vec s = sigmoid_v(x);
    return s * (R(1.0) - s);
}

static inline vec silu_v(vec x)
{
    return x * sigmoid_v(x);
}

static inline vec silu_d(vec x)
{
    vec s = sigmoid_v(x);
    return s * (R(1.0) + x * (R(1.0) - s));
}

#if HD_REAL_BITS == 32
/* Phi(x), the normal distribution, = erfc(-x / sqrt 2) / 2 with erfc(z) = t exp(-z^2 + P(t)),
 * t = 1 / (1 + z / 2), z >= 0: relative error 1.2e-7 (Press et al. 1992, section 6.2, erfcc). */
static inline vec phi_v(vec x)
{
    vec z = max_v(x, -x) * 0.70710678f, t = 1.0f / (1.0f + 0.5f * z);
    vec p = all(0.17087277f);
    p = fma_v(p, t, all(-0.82215223f));
    p = fma_v(p, t, all(1.48851587f));
    p = fma_v(p, t, all(-1.13520398f));
    p = fma_v(p, t, all(0.27886807f));
    p = fma_v(p, t, all(-0.18628806f));
    p = fma_v(p, t, all(0.09678418f));
    p = fma_v(p, t, all(0.37409196f));
    p = fma_v(p, t, all(1.00002368f));
    p = fma_v(p, t, all(-1.26551223f));
    vec half = 0.5f * t * exp_v(fma_v(x, x * -0.5f, p));
    return pick(x < all(0), half, 1.0f - half);
}
#else
static inline vec phi_v(vec x)
{
    for (size_t i = 0; i < VL; i++)
        x[i] = 0.5 * erfc(-0.70710678118654752440 * x[i]);
    return x;
}
#endif

static inline vec hyptan_d(vec x)
{
    vec y = hyptan_v(x);
    return R(1.0) - y * y;
}

static inline vec gelu_v(vec x)
{
    return x * phi_v(x);
}

/* Phi(x) + x phi(x) */
static inline vec gelu_d(vec x)
{
    return fma_v(x * R(0.39894228040143267794), exp_v(x * x * R(-0.5)), phi_v(x));
}

#define ACTIVATION(name)                                                                           \
    static void name(void *out_, const void *x_, size_t n)                                         \
    {                                                                                              \
        REAL *out = out_;                                                                          \
        const REAL *x = x_;                                                                        \
        EACH(n, name##_v(AT(x)));                                                                  \
    }                                                                                              \
    static void name##_back(void *out_, const void *dy_, const void *x_, size_t n)                 \
    {                                                                                              \
        REAL *out = out_;                                                                          \
        const REAL *dy = dy_, *x = x_;                                                             \
        EACH(n, AT(dy) * name##_d(AT(x)));                                          \
    }
ACTIVATION(relu)
ACTIVATION(gelu)
ACTIVATION(silu)
ACTIVATION(sigmoid)
ACTIVATION(hyptan)

/* ---- activations with a slope of each column's own */

static inline vec prelu_slope(vec x, vec alpha)
{
    return pick(x > all(0), all(1), alpha);
}

static void prelu(void *y_, const void *x_, const void *alpha_, size_t n)
{
    REAL *out = y_;
    const REAL *x = x_, *alpha = alpha_;
    EACH(n, AT(x) * prelu_slope(AT(x), AT(alpha)));
}

static void prelu_back(void *dx_, void *dalpha_, const void *dy_, const void *x_,
                       const void *alpha_, size_t n)
{
    REAL *out = dx_, *dalpha = dalpha_;
    const REAL *dy = dy_, *x = x_, *alpha = alpha_;
    for (size_t i = 0; dalpha && i < n; i += VL) {
        size_t left = n - i;
        put(dalpha + i, fma_v(AT(dy), pick(AT(x) > all(0), all(0), AT(x)), AT(dalpha)), left);
    }
    EACH(n, AT(dy) * prelu_slope(AT(x), AT(alpha)));
}

static void dice(void *y_, const void *x_, const void *alpha_, const void *mean_, const void *rstd_,
                 size_t n)
{
    REAL *out = y_;
    const REAL *x = x_, *alpha = alpha_, *mean = mean_, *rstd = rstd_;
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec v = AT(x), a = AT(alpha), p = sigmoid_v((v - AT(mean)) * AT(rstd));
        put(out + i, v * fma_v(p, R(1.0) - a, a), left);
    }
}

static void dice_sums(void *y_, void *dalpha_, void *sum_, void *product_, const void *dy_,
                      const void *x_, const void *alpha_, const void *mean_, const void *rstd_,
                      size_t n)
{
    REAL *y = y_, *dalpha = dalpha_, *total = sum_, *product = product_;
    const REAL *dy = dy_, *x = x_, *alpha = alpha_, *mean = mean_, *rstd = rstd_;
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec v = AT(x), a = AT(alpha), b = R(1.0) - a, xhat = (v - AT(mean)) * AT(rstd);
        vec p = sigmoid_v(xhat), q = R(1.0) - p, g = AT(dy) * v * q;
        if (dalpha)
            put(dalpha + i, AT(dalpha) + g, left);
        g *= b * p;
        put(total + i, AT(total) + g, left);
        put(product + i, fma_v(g, xhat, AT(product)), left);
        if (y)
            put(y + i, v * fma_v(p, b, a), left);
    }
}

static void dice_back(void *dx_, const void *dy_, const void *x_, const void *alpha_,
                      const void *mean_, const void *rstd_, const void *sum_, const void *product_,
                      size_t n)
{
    REAL *out = dx_;
    const REAL *dy = dy_, *x = x_, *alpha = alpha_, *mean = mean_, *rstd = rstd_;
    const REAL *total = sum_, *product = product_;
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec v = AT(x), a = AT(alpha), b = R(1.0) - a, r = AT(rstd), xhat = (v - AT(mean)) * r;
        vec p = sigmoid_v(xhat), d = AT(dy), g = d * v * b * p * (R(1.0) - p);
        if (total)
            g -= fma_v(xhat, AT(product), AT(total));
        put(out + i, fma_v(d, fma_v(p, b, a), r * g), left);
    }
}

static void column_sums(void *sum_, const void *x_, int64_t x_row, int64_t rows, size_t n)
{
    REAL *out = sum_;
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        const REAL *x = (const REAL *)x_ + i;
        vec s = {0};
        for (int64_t r = 0; r < rows; r++)
            s += get(x + r * x_row, left);
        put(out + i, AT(out) + s, left);
    }
}

static void column_moments(void *mean_, void *squares_, const void *x_, int64_t x_row, int64_t rows,
                           size_t n)
{
    REAL *mean = mean_, *squares = squares_;
    const vec share = all((REAL)(1.0 / (double)rows));
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        const REAL *x = (const REAL *)x_ + i;
        vec s = {0}, t = {0};
        for (int64_t r = 0; r < rows; r++)
            s += get(x + r * x_row, left);
        s *= share;
        for (int64_t r = 0; r < rows; r++) {
            vec d = get(x + r * x_row, left) - s;
            t = fma_v(d, d, t);
        }
        put(mean + i, s, left);
        put(squares + i, t, left);
    }
}

/* ---- dropout
 *
 * Element c of the stream of `key` is kept where its 16 bits, half c & 1 of mix(c >> 1), are at or
 * above p 2^16. The same in every variant and for both element types. The mixer is a 32-bit one of
 * two multiplications (Wellons 2018, "Prospecting for hash functions", lowbias32), since that is what
 * vectors multiply; the counter's upper half and the key come in as two words of a 64-bit mix. */
struct mask {
    uint32_t before, after; /* from the key and the counter's upper half */
    uint32_t threshold;     /* 0 .. 65536 */
};

static struct mask mask_of(double p, uint64_t key, uint64_t pair)
{
    uint64_t x = key + (pair >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    x ^= x >> 31;
    return (struct mask){(uint32_t)x, (uint32_t)(x >> 32), (uint32_t)(p * 65536.0 + 0.5)};
}

static inline uint32_t mix32(struct mask m, uint32_t pair)
{
    uint32_t x = pair * 0x9E3779B9u + m.before;
    x = (x ^ (x >> 16)) * 0x7FEB352Du + m.after;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

static inline bool kept(struct mask m, uint64_t c)
{
    return (mix32(m, (uint32_t)(c >> 1)) >> (c & 1) * 16 & 0xFFFF) >= m.threshold;
}

#if VEC_AVX512 || VEC_AVX2
/* a and b where the 2 VL elements from pair's are kept, else 0. m.threshold fits in 16 bits. */
static inline void keep_two(struct mask m, uint32_t pair, vec *a, vec *b)
{
    typedef uint32_t uvec __attribute__((vector_size(VEC_BYTES)));
    static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uvec x;
    memcpy(&x, lane, sizeof x);
    x = (x + pair) * 0x9E3779B9u + m.before;
    x = (x ^ (x >> 16)) * 0x7FEB352Du + m.after;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    x ^= x >> 16;
#if VEC_AVX512
    __mmask32 keep = _mm512_cmpge_epu16_mask((__m512i)x, _mm512_set1_epi16((short)m.threshold));
    *a = (vec)_mm512_maskz_mov_ps((__mmask16)keep, (__m512)*a);
    *b = (vec)_mm512_maskz_mov_ps((__mmask16)(keep >> 16), (__m512)*b);
#else
    __m256i h = (__m256i)x, keep = _mm256_cmpeq_epi16(
                                h, _mm256_max_epu16(h, _mm256_set1_epi16((short)m.threshold)));
    __m256i ka = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(keep));
    __m256i kb = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(keep, 1));
    *a = (vec)_mm256_and_ps((__m256)*a, (__m256)ka);
    *b = (vec)_mm256_and_ps((__m256)*b, (__m256)kb);
#endif
}
#endif

static inline void dropout_any(REAL *out, const REAL *x, size_t n, double p, uint64_t key,
                               uint64_t first, bool sum)
{
    const REAL a = (REAL)(1.0 / (1.0 - p));
    for (size_t i = 0; i < n;) {
        struct mask m = mask_of(p, key, (first + i) >> 1);
        /* up to where the upper half of the pair's number changes */
        uint64_t same = (UINT64_C(1) << 33) - ((first + i) & ((UINT64_C(1) << 33) - 1));
        size_t end = n - i > same ? i + (size_t)same : n;
#if VEC_AVX512 || VEC_AVX2
        for (; m.threshold < 0x10000 && i < end; i += end - i < 2 * VL ? end - i : 2 * VL) {
            if ((first + i) % 2 != 0) { /* the second of a pair stands alone */
                REAL y = kept(m, first + i) ? a * x[i] : 0;
                out[i] = sum ? out[i] + y : y;
                if (++i == end)
                    break;
            }
            size_t left = end - i;
            vec y = a * get(x + i, left), z = left > VL ? a * get(x + i + VL, left - VL) : (vec){0};
            keep_two(m, (uint32_t)((first + i) >> 1), &y, &z);
            put(out + i, sum ? get(out + i, left) + y : y, left);
            if (left > VL)
                put(out + i + VL, sum ? get(out + i + VL, left - VL) + z : z, left - VL);
        }
#endif
        for (; i < end; i++) {
            REAL y = kept(m, first + i) ? a * x[i] : 0;
            out[i] = sum ? out[i] + y : y;
        }
    }
}

static void dropout(void *out, const void *x, size_t n, double p, uint64_t key, uint64_t first)
{
    dropout_any(out, x, n, p, key, first, false);
}

static void dropout_add(void *out, const void *x, size_t n, double p, uint64_t key, uint64_t first)
{
    dropout_any(out, x, n, p, key, first, true);
}

/* ---- rows to numbers. Four sums at a time, so that additions do not wait for each other. */

static double dot(const void *x_, const void *y_, size_t n)
{
    const REAL *x = x_, *y = y_;
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        s0 = fma_v(load(x + i), load(y + i), s0);
        s1 = fma_v(load(x + i + VL), load(y + i + VL), s1);
        s2 = fma_v(load(x + i + 2 * VL), load(y + i + 2 * VL), s2);
        s3 = fma_v(load(x + i + 3 * VL), load(y + i + 3 * VL), s3);
    }
    for (; i < n; i += VL)
        s0 = fma_v(get(x + i, n - i), get(y + i, n - i), s0);
    return (double)hsum((s0 + s1) + (s2 + s3));
}

static double sum(const void *x_, size_t n)
{
    const REAL *x = x_;
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        s0 += load(x + i);
        s1 += load(x + i + VL);
        s2 += load(x + i + 2 * VL);
        s3 += load(x + i + 3 * VL);
    }
    for (; i < n; i += VL)
        s0 += get(x + i, n - i);
    return (double)hsum((s0 + s1) + (s2 + s3));
}

/* NaN wins: it is what a caller must not lose. */
static REAL max_of(const REAL *x, size_t n)
{
    vec m0 = all((REAL)-INFINITY), m1 = m0;
    lanes bad = nan_lanes(m0); /* none */
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vec a = load(x + i), b = load(x + i + VL);
        m0 = max_v(m0, a);
        m1 = max_v(m1, b);
        bad |= nan_lanes(a) | nan_lanes(b);
    }
    REAL best = hmax(max_v(m0, m1));
    bool lost = any_lane(bad);
    for (; i < n; i++) {
        best = x[i] > best ? x[i] : best;
        lost |= x[i] != x[i];
    }
    return lost ? (REAL)NAN : best;
}

static double max(const void *x, size_t n)
{
    return (double)max_of(x, n);
}

/* ---- rows */

/* x = exp(x - m); returns the sum. */
static REAL exp_row(REAL *out, const REAL *x, size_t n, REAL m)
{
    vec vm = all(m), s0 = {0}, s1 = {0};
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vec a = exp_v(load(x + i) - vm), b = exp_v(load(x + i + VL) - vm);
        store(out + i, a);
        store(out + i + VL, b);
        s0 += a;
        s1 += b;
    }
    if (i + VL <= n) {
        vec a = exp_v(load(x + i) - vm);
        store(out + i, a);
        s0 += a;
        i += VL;
    }
    if (i < n) { /* lanes past the row must not count */
        REAL tail[VL];
        store(tail, exp_v(load_part(x + i, n - i) - vm));
        vec a = load_part(tail, n - i);
        store_part(out + i, a, n - i);
        s1 += a;
    }
    return hsum(s0 + s1);
}

static double softmax(void *out_, const void *x_, size_t n)
{
    REAL *out = out_;
    const REAL *x = x_;
    REAL m = max_of(x, n);
    if (m == (REAL)-INFINITY) {
        fill(out, 0, n);
        return -(double)INFINITY;
    }
    REAL total = exp_row(out, x, n, m);
    scale(out, 1.0 / (double)total, out, n);
    return (double)m + log((double)total);
}

static void softmax_columns(void *out_, const void *x_, int64_t row, int64_t rows, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        const REAL *x = (const REAL *)x_ + i;
        REAL *out = (REAL *)out_ + i;
        vec m = all((REAL)-INFINITY), s = {0};
        for (int64_t r = 0; r < rows; r++)
            m = max_v(m, get(x + r * row, left));
        m = pick(m == all((REAL)-INFINITY), all(0), m);
        for (int64_t r = 0; r < rows; r++) {
            vec e = exp_v(get(x + r * row, left) - m);
            put(out + r * row, e, left);
            s += e;
        }
        s = pick(s == all(0), all(0), R(1.0) / s);
        for (int64_t r = 0; r < rows; r++)
            put(out + r * row, get(out + r * row, left) * s, left);
    }
}

static double softmax_step(void *row_, size_t n, double *ref, double *sum)
{
    REAL *row = row_, m = max_of(row, n);
    double factor = 1;
    if (!((double)m <= *ref + 16)) { /* NaN comes in here too */
        factor = exp(*ref - (double)m);
        *ref = (double)m;
    }
    if (*ref == -(double)INFINITY) {
        fill(row, 0, n);
        return 0;
    }
    *sum = *sum * factor + (double)exp_row(row, row, n, (REAL)*ref);
    return factor;
}

static void layer_norm(void *out_, const void *x_, const void *gain_, const void *bias_, size_t n,
                       double eps, double *mean, double *rstd)
{
    REAL *out = out_;
    const REAL *x = x_, *gain = gain_, *bias = bias_;
    double mu = n ? sum(x, n) / (double)n : 0;
    vec vmu = all((REAL)mu), s0 = {0}, s1 = {0};
    size_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        vec a = load(x + j) - vmu, b = load(x + j + VL) - vmu;
        s0 = fma_v(a, a, s0);
        s1 = fma_v(b, b, s1);
    }
    double squares = (double)hsum(s0 + s1);
    for (; j < n; j++) {
        REAL a = x[j] - (REAL)mu;
        squares += (double)(a * a);
    }
    double r = 1.0 / sqrt((n ? squares / (double)n : 0) + eps);
    vec vr = all((REAL)r);
    *mean = mu;
    *rstd = r;
    if (gain && bias)
        EACH(n, fma_v(AT(gain), (AT(x) - vmu) * vr, AT(bias)));
    else if (gain)
        EACH(n, AT(gain) * ((AT(x) - vmu) * vr));
    else if (bias)
        EACH(n, (AT(x) - vmu) * vr + AT(bias));
    else
        EACH(n, (AT(x) - vmu) * vr);
}

/* With g = gain dy and xhat = (x - mean) rstd:  dx += rstd (g - mean(g) - xhat mean(g xhat)). */
static void layer_norm_back(void *dx_, void *dgain_, void *dbias_, const void *dy_, const void *x_,
                            const void *gain_, size_t n, double mean, double rstd)
{
    REAL *dx = dx_, *dgain = dgain_, *dbias = dbias_;
    const REAL *dy = dy_, *x = x_, *gain = gain_;
    vec vmu = all((REAL)mean), vr = all((REAL)rstd), one = all(1), s = {0}, t = {0};
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i; /* lanes past the row: dy is 0, so they add nothing */
        vec d = AT(dy), xhat = (AT(x) - vmu) * vr, g = gain ? d * AT(gain) : d;
        s += g;
        t = fma_v(g, xhat, t);
        if (dgain)
            put(dgain + i, fma_v(d, xhat, AT(dgain)), left);
        if (dbias)
            put(dbias + i, d + AT(dbias), left);
    }
    if (!dx || !n)
        return;
    vec vs = all((REAL)((double)hsum(s) / (double)n)), vt = all((REAL)((double)hsum(t) / (double)n));
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec xhat = (AT(x) - vmu) * vr, g = gain ? AT(dy) * AT(gain) : AT(dy) * one;
        put(dx + i, fma_v(vr, g - vs - xhat * vt, AT(dx)), left);
    }
}

static void rms_norm(void *out_, const void *x_, const void *gain_, size_t n, double eps,
                     double *rrms)
{
    REAL *out = out_;
    const REAL *x = x_, *gain = gain_;
    double r = 1.0 / sqrt((n ? dot(x, x, n) / (double)n : 0) + eps);
    vec vr = all((REAL)r);
    *rrms = r;
    if (gain)
        EACH(n, AT(gain) * (AT(x) * vr));
    else
        EACH(n, AT(x) * vr);
}

/* With g = gain dy and xhat = x rrms:  dx += rrms (g - xhat mean(g xhat)). */
static void rms_norm_back(void *dx_, void *dgain_, const void *dy_, const void *x_,
                          const void *gain_, size_t n, double rrms)
{
    REAL *dx = dx_, *dgain = dgain_;
    const REAL *dy = dy_, *x = x_, *gain = gain_;
    vec vr = all((REAL)rrms), t = {0};
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec d = AT(dy), xhat = AT(x) * vr, g = gain ? d * AT(gain) : d;
        t = fma_v(g, xhat, t);
        if (dgain)
            put(dgain + i, fma_v(d, xhat, AT(dgain)), left);
    }
    if (!dx || !n)
        return;
    vec vt = all((REAL)((double)hsum(t) / (double)n));
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec xhat = AT(x) * vr, g = gain ? AT(dy) * AT(gain) : AT(dy);
        put(dx + i, fma_v(vr, g - xhat * vt, AT(dx)), left);
    }
}

/* ---- optimiser */

static void adam(void *w_, void *m_, void *v_, const void *g_, size_t n, double rate, double b1,
                 double b2, double eps, double decay)
{
    REAL *w = w_, *m = m_, *v = v_;
    const REAL *g = g_;
    vec vb1 = all((REAL)b1), vb2 = all((REAL)b2), c1 = all((REAL)(1 - b1)), c2 = all((REAL)(1 - b2));
    vec vrate = all((REAL)-rate), veps = all((REAL)eps), keep = all((REAL)(1 - decay));
    for (size_t i = 0; i < n; i += VL) {
        size_t left = n - i;
        vec d = AT(g), m1 = fma_v(vb1, AT(m), c1 * d), v1 = fma_v(vb2, AT(v), c2 * d * d);
        put(m + i, m1, left);
        put(v + i, v1, left);
        put(w + i, fma_v(vrate, m1 / (sqrt_v(v1) + veps), keep * AT(w)), left);
    }
}

void FILL_ROWS(struct hd_kernels *k)
{
    k->item_bytes = sizeof(REAL);
    k->fill = fill, k->add = add, k->mul = mul, k->muladd = muladd, k->scale = scale, k->axpy = axpy;
    k->act[HD_RELU] = relu, k->act_back[HD_RELU] = relu_back;
    k->act[HD_GELU] = gelu, k->act_back[HD_GELU] = gelu_back;
    k->act[HD_SILU] = silu, k->act_back[HD_SILU] = silu_back;
    k->act[HD_SIGMOID] = sigmoid, k->act_back[HD_SIGMOID] = sigmoid_back;
    k->act[HD_TANH] = hyptan, k->act_back[HD_TANH] = hyptan_back;
    k->prelu = prelu, k->prelu_back = prelu_back;
    k->dice = dice, k->dice_sums = dice_sums, k->dice_back = dice_back;
    k->column_sums = column_sums, k->column_moments = column_moments;
    k->dropout = dropout, k->dropout_add = dropout_add;
    k->dot = dot, k->sum = sum, k->max = max, k->softmax = softmax;
    k->softmax_columns = softmax_columns;
    k->softmax_step = softmax_step;
    k->layer_norm = layer_norm, k->layer_norm_back = layer_norm_back;
    k->rms_norm = rms_norm, k->rms_norm_back = rms_norm_back;
    k->adam = adam;
}

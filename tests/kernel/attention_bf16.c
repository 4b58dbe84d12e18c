/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of bfloat16 attention against their definitions in double: each factor only through the
 * product that reads it. Keys that a row does not see hold NaN, beside it in the same pair too. */
#include "check.h"
#include "kernel/attention_bf16.h"

#include <inttypes.h>
#include <string.h>

#define ROUNDS 1500
#define ROUNDOFF 0x1p-8 /* of bfloat16 */

static int64_t below(int64_t n)
{
    return (int64_t)(kc_rand() % (uint64_t)n);
}

static int64_t padded(int64_t n)
{
    return (n + HD_TILE_PAD - 1) / HD_TILE_PAD * HD_TILE_PAD;
}

static double widened(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

/* Rows of bfloat16, `row` apart, the last of them ending at an unreadable page. */
static uint16_t *rows_new(int64_t rows, int64_t row, int64_t width)
{
    int64_t n = rows && width ? (rows - 1) * row + width : 0;
    uint16_t *x = kc_row((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        float value = (float)(4 * kc_unit());
        hd_kernels_bf16()->from_f32(x + i, &value, 1);
    }
    return x;
}

static int64_t seen_by(const struct hd_tile *t, int64_t i)
{
    int64_t n = t->seen + i * t->step;
    return n < 0 ? 0 : n < t->columns ? n : t->columns;
}

static bool intact(const struct hd_attention_bf16 *k, const char *what)
{
    bool good = kc_rows_intact() || kc_fail("%s %s wrote before its rows", what, k->name);
    kc_rows_release();
    return good;
}

static bool check_narrow_scores(const struct hd_attention_bf16 *k)
{
    for (int round = 0; round < ROUNDS; round++) {
        int64_t M = (int64_t)kc_length(50), N = (int64_t)kc_length(140), D = (int64_t)kc_length(70);
        int64_t q_row = D + below(5), k_row = D + below(5), a_row = D + below(3);
        int64_t b_row = padded(N) + HD_TILE_PAD * below(2), c_row = padded(N) + below(3);
        uint16_t *q = rows_new(M, q_row, D), *key = rows_new(N, k_row, D);
        void *a = kc_row((size_t)(M * a_row), 4), *b = kc_row((size_t)(D * b_row), 4);
        float *c = kc_row((size_t)(M * c_row), 4);
        struct hd_product p = {.M = M, .N = N, .K = D, .a = a, .a_row = a_row, .a_col = 1, .b = b,
                               .b_row = b_row, .c = c, .c_row = c_row, .alpha = kc_unit(),
                               .shape = below(2) ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL,
                               .seen = below(180) - 40};
        k->queries(a, a_row, q, q_row, M, D);
        k->keys(b, b_row, key, k_row, N, D);
        k->product(&p);
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < N; j++) {
                double sum = 0, mass = 0, got = (double)c[i * c_row + j];
                if (p.shape == HD_PRODUCT_COLUMNS && j >= p.seen + i)
                    continue;
                for (int64_t d = 0; d < D; d++) {
                    double x = p.alpha * widened(q[i * q_row + d]) * widened(key[j * k_row + d]);
                    sum += x, mass += fabs(x);
                }
                if (!kc_near(got, sum, kc_gamma((size_t)D + 4, 4) * mass + (double)(D + 1) * kc_tiny(4)))
                    return kc_fail("bf16 scores %s M=%" PRId64 " N=%" PRId64 " D=%" PRId64
                                   " [%" PRId64 "][%" PRId64 "]: got %.9g, want %.9g", k->name, M, N,
                                   D, i, j, got, sum);
            }
        if (!intact(k, "bf16 scores"))
            return false;
    }
    return true;
}

/* A random tile in [-4, 4), NaN in what is not seen. */
static struct hd_tile tile_new(int64_t rows, int64_t columns)
{
    struct hd_tile t = {.rows = rows, .columns = columns, .step = below(2)};
    t.seen = t.step ? below(180) - 30 : below(columns + 1);
    t.s_row = padded(columns) + HD_TILE_PAD * below(2);
    t.s_row = t.s_row ? t.s_row : HD_TILE_PAD;
    float *memory = kc_row((size_t)(rows * t.s_row + 2 * HD_TILE_PAD), 4);
    t.s = memory + HD_TILE_PAD;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = seen_by(&t, i); j < t.s_row; j++)
            memory[HD_TILE_PAD + i * t.s_row + j] = NAN;
    return t;
}

/* Weights times values, from a key on that is NaN: rows that see it are NaN, no others. */
static bool check_values(const struct hd_attention_bf16 *k)
{
    for (int round = 0; round < ROUNDS; round++) {
        int64_t E = (int64_t)kc_length(70), v_row = E + below(5), b_row = padded(E);
        struct hd_tile t = tile_new(1 + below(30), (int64_t)kc_length(140));
        int64_t bad = below(t.columns + 2), c_row = padded(E) + below(3), out_row = E + below(4);
        uint16_t *v = rows_new(t.columns, v_row, E), *out = rows_new(t.rows, out_row, E);
        void *b = kc_row((size_t)(t.columns * b_row), 4);
        float *c = kc_row((size_t)(t.rows * c_row), 4), *sum = kc_row((size_t)t.rows, 4), *s = t.s;
        for (int64_t i = 0; i < t.rows; i++)
            for (int64_t j = seen_by(&t, i); j < t.columns; j++)
                s[i * t.s_row + j] = 0; /* as weights are */
        for (int64_t j = bad; j < t.columns; j++)
            for (int64_t e = 0; e < E; e++)
                v[j * v_row + e] = 0x7FC0;
        float *w = kc_copy(s, (size_t)(t.rows * t.s_row), 4);
        float *old = kc_copy(c, (size_t)(t.rows * c_row), 4);
        sum[below(t.rows)] = 0;
        struct hd_product p = {.M = t.rows, .N = E, .K = t.columns, .a = s, .a_row = t.s_row,
                               .a_col = 1, .b = b, .b_row = b_row, .c = c, .c_row = c_row,
                               .alpha = 1, .accumulate = below(2), .seen = t.seen,
                               .shape = t.step ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
        p.K = t.step ? t.columns : t.seen;
        k->values(b, b_row, v, v_row, t.columns, E);
        k->settle(&t);
        k->product(&p);
        k->results(out, out_row, c, c_row, below(4) ? sum : (sum = NULL), t.rows, E);
        for (int64_t i = 0; i < t.rows; i++)
            for (int64_t e = 0; e < E; e++) {
                double got = (double)c[i * c_row + e], want = 0, mass = 0;
                if (p.accumulate)
                    want = (double)old[i * c_row + e], mass = fabs(want);
                for (int64_t j = 0; j < seen_by(&t, i); j++) {
                    double x = (double)w[i * t.s_row + j] * widened(v[j * v_row + e]);
                    want += x, mass += fabs(x);
                }
                double rounding = (k->pairs ? ROUNDOFF : 0) + kc_gamma((size_t)t.columns + 4, 4);
                double tiny = (double)(t.columns + 1) * kc_tiny(4);
                if (seen_by(&t, i) > bad ? !isnan(got) : !kc_near(got, want, rounding * mass + tiny))
                    return kc_fail("bf16 values %s M=%" PRId64 " E=%" PRId64 " K=%" PRId64
                                   " seen=%" PRId64 "+%" PRId64 "i [%" PRId64 "][%" PRId64
                                   "]: got %.9g, want %.9g", k->name, t.rows, E, t.columns, t.seen,
                                   t.step, i, e, got, want);
                double end = widened(out[i * out_row + e]);
                double by = sum ? sum[i] == 0 ? 0 : 1 / (double)sum[i] : 1;
                if (by == 0 ? end != 0
                            : !kc_same_kind(end, got) || (!isnan(got) &&
                              !kc_near(end, got * by, 1.001 * ROUNDOFF * fabs(got * by) + kc_tiny(4))))
                    return kc_fail("bf16 results %s: %.9g became %.9g by %.9g", k->name, got, end, by);
            }
        if (!intact(k, "bf16 values"))
            return false;
    }
    return true;
}

static double weight(const struct hd_attention_bf16 *k, const struct hd_tile *t, int64_t i, int64_t j)
{
    const float *row = (const float *)t->s + i * t->s_row;
    return k->pairs ? widened(((const uint16_t *)row)[j]) : (double)row[j];
}

/* Two blocks of keys, one after the other, are one row of both. */
static bool check_blocks(const struct hd_attention_bf16 *k)
{
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rows = 1 + below(40), E = (int64_t)kc_length(40), bad = below(3) ? -1 : below(rows);
        struct hd_tile t = tile_new(rows, (int64_t)kc_length(140));
        struct hd_tile u = tile_new(rows, (int64_t)kc_length(140));
        float *s = t.s, *max = kc_row((size_t)rows, 4), *sum = kc_row((size_t)rows, 4);
        for (int n = 0; n < 3; n++)
            s[below(rows * t.s_row)] = -INFINITY;
        if (bad >= 0 && seen_by(&t, bad) > 0)
            s[bad * t.s_row + below(seen_by(&t, bad))] = below(2) ? NAN : INFINITY;
        else
            bad = -1;
        float *s0 = kc_copy(t.s, (size_t)(rows * t.s_row), 4);
        float *u0 = kc_copy(u.s, (size_t)(rows * u.s_row), 4);
        float *out = kc_row((size_t)(rows * E), 4), *was = kc_copy(out, (size_t)(rows * E), 4);
        k->softmax(&t, max, sum, out, E, E, true);
        if (memcmp(out, was, (size_t)(rows * E) * 4))
            return kc_fail("bf16 softmax %s touched out before there was any", k->name);
        k->softmax(&u, max, sum, out, E, E, false);
        for (int64_t i = 0; i < rows; i++) {
            int64_t n = seen_by(&t, i), n2 = seen_by(&u, i);
            double first = -(double)INFINITY, top, total = 0;
            if (isnan((double)sum[i]) != (i == bad))
                return kc_fail("bf16 softmax %s: row %" PRId64 " has sum %g, NaN was in %" PRId64,
                               k->name, i, (double)sum[i], bad);
            if (i == bad)
                continue;
            for (int64_t j = 0; j < n; j++)
                first = fmax(first, (double)s0[i * t.s_row + j]);
            top = first;
            for (int64_t j = 0; j < n2; j++)
                top = fmax(top, (double)u0[i * u.s_row + j]);
            for (int64_t j = 0; j < n; j++)
                total += exp((double)s0[i * t.s_row + j] - top);
            for (int64_t j = 0; j < n2; j++)
                total += exp((double)u0[i * u.s_row + j] - top);
            total = isinf(top) ? 0 : total;
            if (!kc_near((double)sum[i], total, HD_BF16_EXP_ERROR * total) || (double)max[i] != top)
                return kc_fail("bf16 softmax %s: sum %.9g of %.9g, not %.9g of %.9g", k->name,
                               (double)sum[i], (double)max[i], total, top);
            for (int64_t j = 0; j < t.columns; j++) {
                double p = j < n && !isinf(first) ? exp((double)s0[i * t.s_row + j] - first) : 0;
                if (!kc_near(weight(k, &t, i, j), p, (ROUNDOFF + HD_BF16_EXP_ERROR) * p))
                    return kc_fail("bf16 softmax %s: weight %.9g, not %.9g", k->name,
                                   weight(k, &t, i, j), p);
            }
            double fade = isinf(first) || first == top ? 1 : exp(first - top);
            for (int64_t e = 0; e < E; e++) {
                double x = fade * (double)was[i * E + e], got = (double)out[i * E + e];
                if (!kc_near(got, x, 0x1p-20 * fabs(x) + kc_tiny(4)))
                    return kc_fail("bf16 softmax %s: out faded to %.9g, not %.9g", k->name, got, x);
            }
        }
        if (!intact(k, "bf16 softmax"))
            return false;
    }
    return true;
}

bool check_attention_bf16(const struct hd_attention_bf16 *k)
{
    return check_narrow_scores(k) && check_values(k) && check_blocks(k);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products against sums in double, in every layout of A and B, packed and as it lies, with
 * a bias and without, into rows wider than they need, with what lies between C's rows looked at afterwards. */
#include "check.h"

#include <string.h>

/* A shape; small ones often, since edges are there; K past the blocks of the sum now and then. */
static void shape(int64_t *M, int64_t *N, int64_t *K)
{
    *M = (int64_t)kc_length(kc_rand() % 8 ? 30 : 150);
    *N = (int64_t)kc_length(kc_rand() % 8 ? 80 : 400);
    *K = (int64_t)kc_length(kc_rand() % 8 ? 40 : 700);
    while (*M * *K > 60000 || *N * *K > 60000 || *M * *N > 30000)
        *K /= 2, *N = *N * 3 / 4;
}

static bool check_one(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes;
    int64_t M, N, K;
    shape(&M, &N, &K);
    bool ta = kc_rand() % 2, tb = kc_rand() % 2, accumulate = kc_rand() % 2, wild = kc_rand() % 8 == 0;
    bool direct = kc_rand() % 3 == 0, biased = kc_rand() % 3 == 0;
    if (direct)
        tb = false, N -= N % k->gemm_columns;
    int64_t gap = (int64_t)(kc_rand() % 3), c_row = N + gap;
    size_t c_count = M > 0 ? (size_t)((M - 1) * c_row + N) : 0;
    kc_rows_release();
    void *a = kc_row((size_t)(M * K), item), *b = kc_row((size_t)(K * N), item);
    void *bias = biased ? kc_row((size_t)N, item) : NULL;
    if (wild)
        kc_poison(a, (size_t)(M * K), item), kc_poison(b, (size_t)(K * N), item);
    void *c0 = kc_row(c_count, item), *c = kc_copy(c0, c_count, item), *like = kc_copy(c0, c_count, item);
    /* ends at the unreadable page too; starts on 64 bytes because its size is a multiple */
    size_t bytes = (k->gemm_pack_bytes(K, N) + 63) / 64 * 64;
    size_t bytes_p = (portable->gemm_pack_bytes(K, N) + 63) / 64 * 64;
    void *packed = kc_row(bytes / item, item), *packed_p = kc_row(bytes_p / item, item);
    struct hd_gemm g = {M, N, K, a, ta ? 1 : K, ta ? M : 1, packed, c, c_row, accumulate};
    g.bias = bias;
    if (direct)
        g.b = b, g.b_row = N;
    else
        k->gemm_pack(packed, b, tb ? 1 : N, tb ? K : 1, K, N);
    k->gemm(&g);
    if (wild) {
        g.b = packed_p, g.b_row = 0, g.c = like;
        portable->gemm_pack(packed_p, b, tb ? 1 : N, tb ? K : 1, K, N);
        portable->gemm(&g);
    }
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < c_row && (i + 1 < M || j < N); j++) {
            size_t at = (size_t)(i * c_row + j);
            double was = kc_get(c0, item, at), got = kc_get(c, item, at);
            double want = j >= N || accumulate ? was : 0;
            want += biased && j < N ? kc_get(bias, item, (size_t)j) : 0;
            double mass = fabs(want) + fabs(was);
            for (int64_t p = 0; j < N && p < K; p++) {
                double t = kc_get(a, item, (size_t)(ta ? p * M + i : i * K + p)) *
                           kc_get(b, item, (size_t)(tb ? j * K + p : p * N + j));
                want += t, mass += fabs(t);
            }
            double bound = j >= N ? 0 : kc_gamma((size_t)K + 3, item) * mass + kc_tiny(item);
            if (wild && j < N ? !kc_same_kind(got, kc_get(like, item, at)) : !kc_near(got, want, bound))
                return kc_fail("gemm %s %s%s%s M=%d N=%d K=%d (%d, %d)%s: got %.9g, want %.9g", k->name,
                               ta ? "T" : "N", tb ? "T" : "N", direct ? " as it lies" : "", (int)M, (int)N, (int)K, (int)i, (int)j,
                               accumulate ? " +=" : "", got,
                               wild ? kc_get(like, item, at) : want);
        }
    return true;
}

bool check_gemm(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    for (int round = 0; round < 1500; round++)
        if (!check_one(k, portable))
            return false;
    return true;
}

/* ---- bfloat16 */

static uint16_t round_ref(float x)
{
    uint32_t u, low;
    memcpy(&u, &x, sizeof u);
    if (isnan(x))
        return (uint16_t)(u >> 16 | 0x40);
    low = u & 0xFFFF;
    u >>= 16;
    if (low > 0x8000 || (low == 0x8000 && (u & 1)))
        u++;
    return (uint16_t)u;
}

static float widen(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

bool check_bf16_rows(const struct hd_kernels_bf16 *k)
{
    for (int round = 0; round < 1500; round++) {
        size_t n = kc_length(300);
        kc_rows_release();
        float *x = kc_row(n, 4), *back = kc_row(n, 4);
        uint16_t *out = kc_row(n, 2);
        for (size_t i = 0; i < n && round % 2; i++) { /* any bits at all, halves among them */
            uint32_t u = (uint32_t)kc_rand() & (kc_rand() % 2 ? 0xFFFFFFFF : 0xFFFF8000);
            memcpy(x + i, &u, sizeof u);
        }
        kc_poison(x, n, 4);
        k->from_f32(out, x, n);
        k->to_f32(back, out, n);
        for (size_t i = 0; i < n; i++) {
            float want = widen(round_ref(x[i]));
            if (out[i] != round_ref(x[i]) || memcmp(&want, back + i, 4) != 0)
                return kc_fail("bf16 %s n=%zu x=%.9g: got %#x, want %#x", k->name, n, (double)x[i],
                               out[i], round_ref(x[i]));
        }
    }
    return true;
}

/* Where weave may flush subnormals to zero, as the products do, either is right. */
bool check_bf16_weave(const struct hd_kernels_bf16 *k)
{
    for (int round = 0; round < 1500; round++) {
        size_t n = kc_length(300);
        kc_rows_release();
        float *row[2] = {kc_row(n, 4), round % 3 ? kc_row(n, 4) : NULL};
        uint32_t *out = kc_row(n, 4);
        k->weave(out, row[0], row[1], n);
        for (size_t i = 0; i < n; i++)
            for (int half = 0; half < 2; half++) {
                uint16_t got = (uint16_t)(out[i] >> 16 * half);
                uint16_t want = row[half] ? round_ref(row[half][i]) : 0;
                bool tiny = row[half] && fabsf(row[half][i]) < FLT_MIN;
                if (got != want && !(tiny && (got & 0x7FFF) == 0))
                    return kc_fail("weave %s n=%zu i=%zu: got %#x, want %#x", k->name, n, i, got,
                                   want);
            }
    }
    return true;
}

static bool check_bf16_one(const struct hd_kernels_bf16 *k)
{
    int64_t M, N, K;
    shape(&M, &N, &K);
    bool ta = kc_rand() % 2, tb = kc_rand() % 2, accumulate = kc_rand() % 2;
    int64_t pairs = (K + 1) / 2, c_row = N + (int64_t)(kc_rand() % 3);
    size_t c_count = M > 0 ? (size_t)((M - 1) * c_row + N) : 0;
    kc_rows_release();
    float *b = kc_row((size_t)(K * N), 4), *c0 = kc_row(c_count, 4), *c = kc_copy(c0, c_count, 4);
    uint16_t *a = kc_row((size_t)(2 * M * pairs), 2);
    int64_t row = ta ? 1 : pairs, col = ta ? M : 1;
    for (int64_t i = 0; i < M; i++)
        for (int64_t p = 0; p < 2 * pairs; p++)
            a[2 * (i * row + p / 2 * col) + p % 2] = p < K ? round_ref((float)(4 * kc_unit())) : 0;
    size_t bytes = (k->pack_bytes(K, N) + 63) / 64 * 64;
    void *packed = kc_row(bytes, 1);
    k->pack(packed, b, tb ? 1 : N, tb ? K : 1, K, N);
    k->gemm(&(struct hd_gemm_bf16){M, N, K, (const uint32_t *)(const void *)a, row, col, packed, c,
                                   c_row, accumulate});
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < c_row && (i + 1 < M || j < N); j++) {
            size_t at = (size_t)(i * c_row + j);
            double got = (double)c[at], want = j >= N || accumulate ? (double)c0[at] : 0, mass = fabs(want);
            for (int64_t p = 0; j < N && p < K; p++) {
                double t = (double)widen(a[2 * (i * row + p / 2 * col) + p % 2]) *
                           (double)widen(round_ref(b[tb ? j * K + p : p * N + j]));
                want += t, mass += fabs(t);
            }
            double bound = j >= N ? 0 : kc_gamma((size_t)K + 3, 4) * mass + (double)(K + 1) * kc_tiny(4);
            if (!kc_near(got, want, bound))
                return kc_fail("bf16 gemm %s %s%s M=%d N=%d K=%d (%d, %d)%s: got %.9g, want %.9g",
                               k->name, ta ? "T" : "N", tb ? "T" : "N", (int)M, (int)N, (int)K, (int)i,
                               (int)j, accumulate ? " +=" : "", got, want);
        }
    return true;
}

bool check_bf16_gemm(const struct hd_kernels_bf16 *k)
{
    for (int round = 0; round < 1500; round++)
        if (!check_bf16_one(k))
            return false;
    return true;
}

/* Two steps of a softmax over blocks; the second one's results and the factors. */
static bool check_bf16_block(const struct hd_kernels_bf16 *k)
{
    int64_t M = 1 + (int64_t)(kc_rand() % 7), n = (int64_t)kc_length(150), row = n + (int64_t)(kc_rand() % 4);
    int64_t halves = (n + 1) / 2;
    bool with_along = kc_rand() % 4, with_across = kc_rand() % 4;
    kc_rows_release();
    float *l0 = kc_row((size_t)(M * row), 4), *l1 = kc_row((size_t)(M * row), 4);
    float *ref = kc_row((size_t)M, 4), *sum = kc_row((size_t)M, 4), *factor = kc_row((size_t)M, 4);
    uint32_t *along = kc_row((size_t)(M * halves), 4), *across = kc_row((size_t)((M + 1) / 2 * n), 4);
    struct hd_softmax_block s = {M, n, l0, row, ref, sum, factor, NULL, NULL, halves, n};
    for (int64_t i = 0; i < M; i++) {
        ref[i] = -INFINITY, sum[i] = 0;
        for (int64_t j = 0; j < n; j++) {
            if (kc_rand() % 8 == 0)
                l0[i * row + j] = -INFINITY;
            l1[i * row + j] *= kc_rand() % 2 ? 1 : 9;
            if (kc_rand() % 8 == 0)
                l1[i * row + j] = -INFINITY;
        }
    }
    k->softmax_block(&s);
    for (int64_t i = 0; i < M; i++)
        if (factor[i] != 0)
            return kc_fail("softmax_block %s: the first factor is %g", k->name, (double)factor[i]);
    s.l = l1, s.along = with_along ? along : NULL, s.across = with_across ? across : NULL;
    k->softmax_block(&s);
    for (int64_t i = 0; i < M; i++) {
        double want = 0, r = (double)ref[i] * log(2), max = -(double)INFINITY;
        for (int64_t j = 0; j < n; j++) {
            double x = (double)l0[i * row + j], y = (double)l1[i * row + j];
            max = fmax(max, fmax(x, y));
            want += r == -(double)INFINITY ? 0 : exp(x - r) + exp(y - r);
            double p = r == -(double)INFINITY ? 0 : exp(y - r);
            /* 2^-8 from the rounding, 2^-19 from the argument */
            double bound = p * (0x1.01p-8 + 0x1p-19 * (1 + fabs(y - r))) + kc_tiny(4);
            uint32_t pair = along[i * halves + j / 2], wide = across[i / 2 * n + j];
            double got = (double)widen((uint16_t)(j % 2 ? pair >> 16 : pair));
            double got2 = (double)widen((uint16_t)(i % 2 ? wide >> 16 : wide));
            if ((with_along && !kc_near(got, p, bound)) || (with_across && !kc_near(got2, p, bound)))
                return kc_fail("softmax_block %s M=%d n=%d (%d, %d): got %.9g and %.9g, want %.9g",
                               k->name, (int)M, (int)n, (int)i, (int)j, got, got2, p);
            if (with_across && i % 2 == 0 && i + 1 == M && wide >> 16 != 0)
                return kc_fail("softmax_block %s: no zeros beside the last row", k->name);
        }
        if (with_along && n % 2 && along[i * halves + n / 2] >> 16 != 0)
            return kc_fail("softmax_block %s: no zero after the last column", k->name);
        if (!kc_near((double)sum[i], want, 1e-5 * want) || (n > 0 && !(max <= r + 16.1)))
            return kc_fail("softmax_block %s: sum %.9g, want %.9g; ref %.9g, max %.9g", k->name,
                           (double)sum[i], want, r, max);
    }
    return true;
}

bool check_bf16_softmax(const struct hd_kernels_bf16 *k)
{
    for (int round = 0; round < 1500; round++)
        if (!check_bf16_block(k))
            return false;
    return true;
}

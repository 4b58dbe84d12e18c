/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bfloat16 pairs with float32 sums, portable: for machines without the instruction, and
 * the definition that the variants are held to. */
#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

#define WIDE 32 /* columns of a packed panel, as in the variants */

void hd_fill_bf16_portable(struct hd_kernels_bf16 *k);

static uint16_t bf16_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) /* NaN: keep it quiet, rounding could make it infinite */
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static float f32_of(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void from_f32(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of(x[i]);
}

static void to_f32(float *out, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_of(x[i]);
}

static size_t pack_bytes(int64_t K, int64_t N)
{
    return (size_t)((K + 1) / 2) * (size_t)((N + WIDE - 1) / WIDE * WIDE) * 4;
}

static void pack(void *packed, const float *b, int64_t b_row, int64_t b_col, int64_t K, int64_t N)
{
    uint16_t *out = packed;
    for (int64_t n = 0; n < N; n += WIDE)
        for (int64_t k = 0; k < K; k += 2)
            for (int64_t j = n; j < n + WIDE; j++, out += 2) {
                out[0] = j < N ? bf16_of(b[k * b_row + j * b_col]) : 0;
                out[1] = j < N && k + 1 < K ? bf16_of(b[(k + 1) * b_row + j * b_col]) : 0;
            }
}

static void weave(uint32_t *out, const float *lower, const float *upper, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)bf16_of(lower[i]) | (upper ? (uint32_t)bf16_of(upper[i]) << 16 : 0);
}

static void gemm(const struct hd_gemm_bf16 *g)
{
    int64_t pairs = (g->K + 1) / 2;
    const uint16_t *a = (const uint16_t *)(const void *)g->a;
    for (int64_t i = 0; i < g->M; i++)
        for (int64_t j = 0; j < g->N; j++) {
            const uint16_t *b = (const uint16_t *)g->b + (j / WIDE * pairs * WIDE + j % WIDE) * 2;
            float *c = g->c + i * g->c_row + j, s = g->accumulate ? *c : 0;
            for (int64_t k = 0; k < pairs; k++) {
                const uint16_t *x = a + (i * g->a_row + k * g->a_col) * 2, *y = b + k * WIDE * 2;
                s += f32_of(x[0]) * f32_of(y[0]);
                s += f32_of(x[1]) * f32_of(y[1]);
            }
            *c = s;
        }
}

static void softmax_block(const struct hd_softmax_block *s)
{
    for (int64_t i = 0; i < s->M; i++) {
        const float *l = s->l + i * s->l_row;
        float m = -INFINITY, ref = s->ref[i], sum = 0;
        for (int64_t j = 0; j < s->n; j++)
            m = l[j] > m || l[j] != l[j] ? l[j] : m;
        m *= 1.44269504f;
        if (!(m <= ref + 23)) /* 16 / ln 2 */
            ref = m;
        s->factor[i] = ref == -INFINITY ? 0 : exp2f(s->ref[i] - ref);
        s->ref[i] = ref;
        for (int64_t j = 0; j < s->n + (s->n & 1); j++) {
            float p = j < s->n && ref != -INFINITY ? exp2f(l[j] * 1.44269504f - ref) : 0;
            uint16_t *pair;
            sum += p;
            if (s->along) {
                pair = (uint16_t *)(void *)(s->along + i * s->along_row + j / 2);
                pair[j & 1] = bf16_of(p);
            }
            if (s->across && j < s->n) {
                pair = (uint16_t *)(void *)(s->across + i / 2 * s->across_row + j);
                pair[i & 1] = bf16_of(p);
                if (i + 1 == s->M && !(i & 1))
                    pair[1] = 0;
            }
        }
        s->sum[i] = s->sum[i] * s->factor[i] + sum;
    }
}

void hd_fill_bf16_portable(struct hd_kernels_bf16 *k)
{
    *k = (struct hd_kernels_bf16){
        .name = "portable", .from_f32 = from_f32, .to_f32 = to_f32, .pack_bytes = pack_bytes,
        .pack = pack, .weave = weave, .gemm = gemm,
        .softmax_block = softmax_block};
}

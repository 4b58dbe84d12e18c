/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of bfloat16 attention, and its portable entries: factors are float32, so that the tiles
 * are those that float32 inputs have. */
#include "kernel/attention_bf16.h"
#include "kernel/kernel.h"

#include <pthread.h>
#include <string.h>

#if HD_HAVE_BF16
void hd_fill_attention_bf16_avx512(struct hd_attention_bf16 *k);
#endif

static float widened(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void rows_as_they_are(void *out_, int64_t out_row, const uint16_t *x, int64_t x_row,
                             int64_t rows, int64_t columns)
{
    float *out = out_;
    for (int64_t r = 0; r < rows; r++, out += out_row, x += x_row)
        for (int64_t c = 0; c < columns; c++)
            out[c] = widened(x[c]);
}

static void rows_turned(void *out_, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                        int64_t columns)
{
    float *out = out_;
    for (int64_t r = 0; r < rows; r++, x += x_row)
        for (int64_t c = 0; c < columns; c++)
            out[c * out_row + r] = widened(x[c]);
}

static void settle(const struct hd_tile *t)
{
    (void)t; /* a tile of float32 is a factor */
}

static void results(uint16_t *out, int64_t out_row, const float *x, int64_t x_row, const float *sum,
                    int64_t rows, int64_t E)
{
    enum { PART = 64 };
    for (int64_t i = 0; i < rows; i++, out += out_row, x += x_row) {
        bool blind = sum && sum[i] == 0; /* then x may hold anything */
        float by = sum && !blind ? 1 / sum[i] : 1, part[PART];
        for (int64_t e = 0; e < E; e += PART) {
            int64_t n = E - e < PART ? E - e : PART;
            for (int64_t d = 0; d < n; d++)
                part[d] = blind ? 0 : x[e + d] * by;
            hd_kernels_bf16()->from_f32(out + e, part, (size_t)n);
        }
    }
}

void hd_attention_bf16_init(struct hd_attention_bf16 *k, unsigned cpu)
{
    struct hd_attention_kernels tiles;
    hd_attention_kernels_init(&tiles, cpu);
    *k = (struct hd_attention_bf16){
        .name = tiles.name, .queries = rows_as_they_are, .keys = rows_turned,
        .values = rows_as_they_are, .product = tiles.product, .softmax = tiles.softmax,
        .settle = settle, .results = results};
#if HD_HAVE_BF16
    if ((cpu & HD_CPU_AVX512) && (cpu & HD_CPU_BF16)) {
        hd_fill_attention_bf16_avx512(k);
        k->name = "avx512+bf16";
    }
#endif
}

static struct hd_attention_bf16 best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    hd_attention_bf16_init(&best, hd_cpu());
}

const struct hd_attention_bf16 *hd_attention_bf16(void)
{
    pthread_once(&once, choose);
    return &best;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The forward of exact attention on bfloat16 rows: the two products of kernel/attention.h and the
 * softmax between them. Scores, sums and results are float32; what the products multiply lies in
 * scratch in a form of the variant's own, which only its product reads:
 *
 *     queries, keys, values     rows of bfloat16 become factors
 *     S = scale Q K^T           product
 *     S += biases               as in kernel/attention.h, on float32
 *     P = weights of S          softmax; or a weight of kernel/attention.h and then settle
 *     O += P V                  product, lower
 *     out = O / sum             results
 *
 * Where the processor multiplies pairs of bfloat16 (VDPBF16PS) a factor is pairs, neighbours along the
 * sum, in 32 bits, the first in the lower half; P is rounded to it. Elsewhere a factor is float32 and
 * the tiles are those of kernel/attention.h. Strides of factors count units of four bytes, which hold
 * a number or a pair. */
#ifndef HD_KERNEL_ATTENTION_BF16_H
#define HD_KERNEL_ATTENTION_BF16_H

#include "kernel/attention.h"

struct hd_attention_bf16 {
    const char *name;
    bool pairs; /* factors are pairs, P is rounded */

    /* (rows, D) as the left factor of scores; out_row of at least D. */
    void (*queries)(void *out, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                    int64_t D);
    /* (rows, D) as the right factor of scores, turned: up to D lines of out_row, which is at least
     * rows rounded up to HD_TILE_PAD. */
    void (*keys)(void *out, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                 int64_t D);
    /* (rows, E) as the right factor of values: up to `rows` lines of out_row, which is at least E
     * rounded up to HD_TILE_PAD. */
    void (*values)(void *out, int64_t out_row, const uint16_t *x, int64_t x_row, int64_t rows,
                   int64_t E);
    /* As in kernel/attention.h, a_col 1, shape full, columns or lower; N may be less than what the
     * factor has, K less than its rows. C's rows have room for N rounded up to HD_TILE_PAD. */
    void (*product)(const struct hd_product *p);
    /* As in kernel/attention.h, for a tile without dropout; then settled. Up to there the weights
     * have a relative error of up to HD_BF16_EXP_ERROR, so that has their sum. */
    void (*softmax)(const struct hd_tile *t, void *max, void *sum, void *out, int64_t out_row,
                    int64_t E, bool first);
    /* A tile of weights becomes, where it lies, the left factor of values. */
    void (*settle)(const struct hd_tile *t);
    /* (rows, E) of x over its row's sum, or as it is where sum is NULL, rounded to bfloat16; a row whose
     * sum is 0 becomes zeros. */
    void (*results)(uint16_t *out, int64_t out_row, const float *x, int64_t x_row, const float *sum,
                    int64_t rows, int64_t E);
};

/* Of the polynomial for 2^f, before weights are rounded to bfloat16, whose unit roundoff is 2^-8:
 * 1.01e-4, and rounding in float32. */
#define HD_BF16_EXP_ERROR 0x1p-13

/* Fills a table for any feature set (HD_CPU_ of kernel.h), falling back to portable code. */
void hd_attention_bf16_init(struct hd_attention_bf16 *k, unsigned cpu);
const struct hd_attention_bf16 *hd_attention_bf16(void); /* this machine's best; immutable */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Full-softmax cross-entropy without the tape: loss and gradients of one block of rows in one pass.
 * heed_cross_entropy() is this and the bookkeeping; tests and benchmarks call it directly. */
#ifndef HD_CROSS_ENTROPY_H
#define HD_CROSS_ENTROPY_H

#include "base/memory.h"
#include "base/pool.h"
#include "kernel/kernel.h"

/* The loss is  weight * sum over n of  log sum_v exp(l[n][v]) - sum_v q[n][v] l[n][v],  l = scale x E^T,
 * v over the items that are not excluded, q = (1 - smoothing) [v = label] + smoothing / items. */
struct hd_cross_entropy {
    const struct hd_kernels *k;        /* of the element type */
    const struct hd_kernels_bf16 *bf16; /* products in bfloat16; NULL: in the element type */
    int64_t N, V, C;
    const void *x; /* (N, C), x_row apart */
    int64_t x_row;
    const void *table; /* (V, C), table_row apart */
    int64_t table_row;
    const int64_t *rows;   /* row n is x's row rows[n]; NULL: n */
    const int32_t *labels; /* N, each 0 .. V - 1 and not excluded */
    const int32_t *excluded; /* ascending, each once */
    int64_t excluded_count;
    double scale, smoothing, weight;
    void *dx;     /* (N, C), overwritten, or NULL */
    void *dtable; /* (V, C), overwritten, or NULL */
};

/* Scratch comes from `scratch` and is given back. The cut into parts depends on N alone, so that the
 * bits are the same with any pool. */
HEED_CHECKED heed_status hd_cross_entropy(const struct hd_cross_entropy *ce, hd_arena *scratch,
                                          heed_pool *pool, double *loss);

#endif

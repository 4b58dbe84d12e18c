/* SPDX-License-Identifier: Apache-2.0
 *
 * What row-wise layers share: their check of shapes, and blocks of rows of a fixed size, which are
 * the tasks on the tape's pool. */
#ifndef HD_ROWS_H
#define HD_ROWS_H

#include "tensor/tape.h"

#define HD_ROWS_MAX INT64_C(1 << 16) /* rows of a block, however short they are */
#define HD_BLOCK_ITEMS                                                         \
    INT64_C(1 << 15) /* numbers a block covers: 128 KiB, in and out of a cache \
                      */

/* Rows [from, to) of block number `block`. */
typedef heed_status (*hd_rows_fn)(void *arg, int64_t from, int64_t to, int64_t block);

/* How many blocks hd_rows_run() will make: what sizes partial sums, one per block. */
int64_t hd_rows_blocks(int64_t rows, int64_t cols);
HEED_CHECKED heed_status hd_rows_run(heed_tape *tape, int64_t rows, int64_t cols, hd_rows_fn fn,
                                     void *arg);

/* `layer: x is (3, 4, 5) with gaps, not rows`, `layer: gain is (3), not (4)`: statuses of the
 * checks that all layers make. vector may be NULL. */
HEED_CHECKED heed_status hd_check_rows(const char *layer, const char *name, const heed_tensor *x);
HEED_CHECKED heed_status hd_check_vector(const char *layer, const char *name,
                                         const heed_tensor *vector, const heed_tensor *x,
                                         int64_t length);
HEED_CHECKED heed_status hd_check_same(const char *layer, const heed_tensor *x,
                                       const heed_tensor *y);

static inline void *hd_row(const heed_tensor *x, size_t item_bytes, int64_t row)
{
    return hd_at(x->data, item_bytes, row * hd_row_stride(x));
}

#endif

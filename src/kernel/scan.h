/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking through a table of many rows for those that match one vector best: contracts, and the table
 * that holds the best variant of each for a machine. The rows are bfloat16, since such a scan waits
 * for memory: half the bytes are half the time. float32 vectors and sums.
 *
 * A row of `dim` numbers, a multiple of HD_SCAN_COLUMNS (who has fewer pads with zeros), is woven:
 * each group of 32 columns is 16 words, and word j of it holds column j in its lower half and column
 * 16 + j in its upper one, so that a shift and a mask make two vectors of neighbours, whatever the
 * width of a register. hd_kernels_bf16()->weave(words, columns, columns + 16, 16) makes a group.
 *
 * NaN and infinity, alignment and the ends of rows: as in kernel.h. */
#ifndef HD_KERNEL_SCAN_H
#define HD_KERNEL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_SCAN_COLUMNS 32

struct hd_scan_kernels {
    const char *name;
    /* out[i] = sum of q[c] rows[i][c], 0 <= i < n; a row begins `row` words after the one before.
     * The bfloat16 numbers are widened as they are; the order of the additions is the variant's own,
     * the same for every i and n; the error stays under gamma(dim) * sum |q[c] rows[i][c]|. */
    void (*dot_rows)(float *out, const float *q, const uint32_t *rows, int64_t row, int64_t n,
                     int64_t dim);
    /* Those i below n, rising, with x[i] >= least and hidden[i] 0; index has room for n. Returns how
     * many there are. NaN is never at least anything. */
    int64_t (*at_least)(int32_t *index, const float *x, const uint8_t *hidden, int64_t n,
                        float least);
};

void hd_scan_kernels_init(struct hd_scan_kernels *k, unsigned cpu);
/* The table for this machine, chosen once. immutable. */
const struct hd_scan_kernels *hd_scan_kernels(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking through a table of many rows for those that match one vector best: contracts, and the table
 * that holds the best variant of each for a machine. The rows are bfloat16, since such a scan waits
 * for memory: half the bytes are half the time. float32 vectors and sums.
 *
 * Rows lie in panels of HD_SCAN_PANEL, turned, and their numbers in pairs: word (p, j) of a panel holds
 * columns 2 p (lower half) and 2 p + 1 (upper half) of its row j, so that each lane of a vector sums
 * a row of its own and a shift and a mask make numbers of the words, whatever the width of a register.
 * A panel is as many rows as the widest registers sum at once: then the table is read from its
 * beginning to its end (panels of 16, four at a time, took three times as long).
 * Rows are padded with zeros to whole pairs, the last panel with rows of zeros.
 *
 *     panel 0   (0, 0) ... (0, 63)  (1, 0) ... (1, 63)  ...  (pairs - 1, 63)     rows  0 to 63
 *     panel 1   ...                                                             rows 64 to 127
 *
 * NaN and infinity, alignment and the ends of rows: as in kernel.h. */
#ifndef HD_KERNEL_SCAN_H
#define HD_KERNEL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HD_SCAN_PANEL 64

struct hd_scan_kernels {
    const char *name;
    /* out[i] = sum of q[c] rows[i][c], 0 <= i < n; q has 2 pairs numbers. The bfloat16 numbers are
     * widened as they are; the order of the additions is the variant's own, the same for every row;
     * the error stays under gamma(2 pairs) * sum |q[c] rows[i][c]|. */
    void (*dot_rows)(float *out, const float *q, const uint32_t *panels, int64_t n, int64_t pairs);
    /* Those i below n, rising, with x[i] >= least and hidden[i] 0; index has room for n. Returns how
     * many there are. NaN is never at least anything. */
    int64_t (*at_least)(int32_t *index, const float *x, const uint8_t *hidden, int64_t n,
                        float least);
};

/* Words of n rows. */
static inline int64_t hd_scan_words(int64_t n, int64_t pairs)
{
    return (n + HD_SCAN_PANEL - 1) / HD_SCAN_PANEL * HD_SCAN_PANEL * pairs;
}

/* Where the word of a row's pair lies. */
static inline int64_t hd_scan_word(int64_t row, int64_t pair, int64_t pairs)
{
    return (row / HD_SCAN_PANEL * pairs + pair) * HD_SCAN_PANEL + row % HD_SCAN_PANEL;
}

void hd_scan_kernels_init(struct hd_scan_kernels *k, unsigned cpu);
/* The table for this machine, chosen once. immutable. */
const struct hd_scan_kernels *hd_scan_kernels(void);

#endif

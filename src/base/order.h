/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparisons for qsort() and bsearch(). */
#ifndef HD_ORDER_H
#define HD_ORDER_H

#include <stdint.h>

/* Rising int32_t. */
static inline int hd_order_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

#endif

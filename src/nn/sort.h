/* SPDX-License-Identifier: Apache-2.0
 *
 * Heapsort (Williams 1964). The C library's qsort may allocate, past the caller's allocator, and
 * may take quadratic time on what a hostile file holds; this does neither. */
#ifndef HD_SORT_H
#define HD_SORT_H

#include <stddef.h>
#include <string.h>

typedef int (*hd_order_fn)(const void *a, const void *b);

static inline void hd_sort_swap(char *a, char *b, size_t size)
{
    char hold[64];

    for (size_t n; size > 0; a += n, b += n, size -= n) {
        n = size < sizeof hold ? size : sizeof hold;
        memcpy(hold, a, n);
        memmove(a, b, n); /* a and b may be one element */
        memcpy(b, hold, n);
    }
}

/* Lets the element at `at` sink in the heap of the first `count`. */
static inline void hd_sort_sink(char *list, size_t at, size_t count, size_t size, hd_order_fn order)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && order(list + child * size, list + (child + 1) * size) < 0)
            child++;
        if (order(list + at * size, list + child * size) >= 0)
            return;
        hd_sort_swap(list + at * size, list + child * size, size);
    }
}

static inline void hd_sort(void *list, size_t count, size_t size, hd_order_fn order)
{
    for (size_t i = count / 2; i-- > 0;)
        hd_sort_sink(list, i, count, size, order);
    for (size_t end = count; end > 1; end--) {
        hd_sort_swap(list, (char *)list + (end - 1) * size, size);
        hd_sort_sink(list, 0, end - 1, size, order);
    }
}

#endif

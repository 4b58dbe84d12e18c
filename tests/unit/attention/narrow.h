/* SPDX-License-Identifier: Apache-2.0
 *
 * A random float32 call (naive.h) as the same call in bfloat16: arrays that end at pages which cannot
 * be read, on the same strides. The float32 arrays are left with what theirs were rounded to, so the
 * definition on them is the definition on the same numbers. */
#ifndef HEED_NARROW_ATTENTION_H
#define HEED_NARROW_ATTENTION_H

#include "kernel/kernel.h"
#include "naive.h"

/* How many numbers of that size there are from the start of an array to its page. */
static inline int64_t na_room(const struct na_call *c, const void *array, size_t item)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < c->maps; i++) {
        const char *map = c->map[i], *end = map + c->map_bytes[i] - page;
        if ((const char *)array >= map && (const char *)array <= end)
            return (end - (const char *)array) / (int64_t)item;
    }
    return 0;
}

static inline void *na_narrowed(struct na_call *c, const void *array)
{
    int64_t n = na_room(c, array, sizeof(float));
    uint16_t *narrow = na_memory(c, (size_t)n * sizeof *narrow);
    hd_kernels_bf16()->from_f32(narrow, array, (size_t)n);
    hd_kernels_bf16()->to_f32((void *)array, narrow, (size_t)n);
    return narrow;
}

static inline void na_widen(const struct na_call *c, void *array, const void *narrow)
{
    hd_kernels_bf16()->to_f32(array, narrow, (size_t)na_room(c, narrow, sizeof(uint16_t)));
}

/* The arrays of the call in bfloat16; they live as long as those of c. */
static inline heed_attention_arrays na_narrow(struct na_call *c)
{
    heed_attention_arrays n = c->a;
    n.dtype = HEED_BF16;
    n.q = na_narrowed(c, n.q), n.k = na_narrowed(c, n.k), n.v = na_narrowed(c, n.v);
    n.out = na_narrowed(c, n.out), n.dout = na_narrowed(c, n.dout);
    n.dq = na_narrowed(c, n.dq), n.dk = na_narrowed(c, n.dk), n.dv = na_narrowed(c, n.dv);
    return n;
}

#endif

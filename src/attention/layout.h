/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the rows of a call lie: strides, the sequences of a batch, and scratch cut into parts. What
 * every method needs and none has of its own. */
#ifndef HD_LAYOUT_H
#define HD_LAYOUT_H

#include "base/memory.h"
#include "base/status.h"
#include "heed/attention.h"
#include "kernel/kernel.h"

#include <inttypes.h>
#include <string.h>

struct hd_strides {
    int64_t batch, row, head; /* in elements */
};

static inline struct hd_strides hd_strides_of(const int64_t stride[3], int64_t rows, int64_t heads,
                                              int64_t width)
{
    if (stride[0] || stride[1] || stride[2])
        return (struct hd_strides){stride[0], stride[1], stride[2]};
    return (struct hd_strides){rows * heads * width, heads * width, width};
}

/* One sequence of a batch. Query t stands at key position t + shift. */
struct hd_sequence {
    int64_t b, T, S, shift;
    int64_t visible; /* keys that are not padding */
    int64_t row;     /* of its first query among all rows */
};

static inline struct hd_sequence hd_sequence_of(const heed_attention_opts *o,
                                                const heed_attention_arrays *a, int64_t b)
{
    struct hd_sequence s = {.b = b, .T = a->T, .S = a->S, .row = b * a->T};
    s.visible = o->lengths ? o->lengths[b] : a->S;
    if (o->offsets) {
        s.row = o->offsets[b];
        s.T = s.S = s.visible = o->offsets[b + 1] - s.row;
    }
    s.shift = s.S - s.T;
    return s;
}

/* Where a number lies. An array without any may be NULL, and there is nothing to step from. */
static inline void *hd_place(const void *array, size_t item, int64_t index)
{
    return array ? (char *)array + (int64_t)item * index : NULL;
}

/* A head's first row of a sequence, in an array of those strides. */
static inline void *hd_head_rows(const heed_attention_opts *o, const struct hd_sequence *s,
                                 const void *array, size_t item, struct hd_strides stride,
                                 int64_t head)
{
    int64_t start = o->offsets ? s->row * stride.row : s->b * stride.batch;
    return hd_place(array, item, start + head * stride.head);
}

/* Rows of q, in all sequences; the longest sequence of keys. */
static inline int64_t hd_rows_in_all(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    return o->offsets ? o->offsets[a->B] : a->B * a->T;
}

static inline int64_t hd_keys_most(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    int64_t most = o->offsets ? 0 : a->S;
    for (int64_t b = 0; o->offsets && b < a->B; b++)
        if (o->offsets[b + 1] - o->offsets[b] > most)
            most = o->offsets[b + 1] - o->offsets[b];
    return most;
}

/* Zeros in `count` rows of `width`, `row` elements apart. */
static inline void hd_clear_rows(void *rows, size_t item, int64_t row, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++)
        memset((char *)rows + (int64_t)item * i * row, 0, (size_t)width * item);
}

/* ---- scratch */

/* `need` bytes on a line of their own, from the caller or the heap; *heap is what has to be freed. The
 * line takes HD_ARENA_ALIGN bytes more, which the caller is told of with `need`. */
HEED_CHECKED static inline heed_status hd_scratch_take(const heed_attention_arrays *a, size_t need,
                                                       char **memory, void **heap)
{
    char *start = a->scratch;
    need += HD_ARENA_ALIGN;
    *heap = NULL, *memory = NULL;
    if (start && a->scratch_bytes < need)
        return hd_fail(HEED_E_ARG, "attention: %" PRIu64 " bytes of scratch, %zu are needed",
                       a->scratch_bytes, need);
    if (!start) {
        start = *heap = hd_resize(NULL, need, 1);
        if (!start)
            return hd_fail(HEED_E_NOMEM, "attention: no memory for %zu bytes of scratch", need);
    }
    uintptr_t past = (uintptr_t)start % HD_ARENA_ALIGN;
    *memory = start + (past ? HD_ARENA_ALIGN - past : 0);
    return HEED_OK;
}

#endif

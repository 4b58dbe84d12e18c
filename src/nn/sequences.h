/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows of a tensor make which sequence, whether ragged or padded: checked once, then read by
 * number. */
#ifndef HD_SEQUENCES_H
#define HD_SEQUENCES_H

#include "heed/nn.h"
#include "nn/rows.h"

struct hd_sequences {
    const int64_t *offsets, *lengths; /* the caller's, borrowed; NULL: not given */
    int64_t count, T;                 /* T: rows of each, without offsets */
};

/* Rows [first, first + length) of all. */
struct hd_span {
    int64_t first, length;
};

/* by NULL: x is (B, T, C) and nothing of it is padding. */
HEED_CHECKED heed_status hd_sequences_of(const char *layer, const heed_tensor *x,
                                         const heed_sequences *by, struct hd_sequences *out);

static inline struct hd_span hd_span_of(const struct hd_sequences *s, int64_t b)
{
    if (s->offsets)
        return (struct hd_span){s->offsets[b], s->offsets[b + 1] - s->offsets[b]};
    return (struct hd_span){b * s->T, s->lengths ? s->lengths[b] : s->T};
}

#endif

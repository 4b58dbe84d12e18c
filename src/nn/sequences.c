/* SPDX-License-Identifier: Apache-2.0
 *
 * The check of what a caller says about sequences. */
#include "nn/sequences.h"

#include <inttypes.h>

static heed_status check_offsets(const char *layer, const heed_tensor *x, const heed_sequences *by)
{
    if (by->lengths)
        return hd_fail(HEED_E_ARG, "%s: lengths and offsets are both given", layer);
    if (x->rank != 2)
        return hd_fail(HEED_E_SHAPE, "%s: x is %s, not (N, C), which offsets need", layer,
                       hd_shape_text(x));
    if (by->count < 0)
        return hd_fail(HEED_E_ARG, "%s: %" PRId64 " sequences", layer, by->count);
    if (by->offsets[0] != 0 || by->offsets[by->count] != x->dim[0])
        return hd_fail(HEED_E_SHAPE, "%s: offsets go from %" PRId64 " to %" PRId64 ", but x is %s",
                       layer, by->offsets[0], by->offsets[by->count], hd_shape_text(x));
    for (int64_t b = 0; b < by->count; b++)
        if (by->offsets[b + 1] < by->offsets[b])
            return hd_fail(HEED_E_ARG,
                           "%s: offset %" PRId64 " after %" PRId64 " (sequence %" PRId64 ")", layer,
                           by->offsets[b + 1], by->offsets[b], b);
    return HEED_OK;
}

static heed_status check_lengths(const char *layer, const heed_tensor *x, const int64_t *lengths)
{
    if (x->rank != 3)
        return hd_fail(HEED_E_SHAPE, "%s: x is %s, not (B, T, C); rows (N, C) need offsets", layer,
                       hd_shape_text(x));
    for (int64_t b = 0; lengths && b < x->dim[0]; b++)
        if (lengths[b] < 0 || lengths[b] > x->dim[1])
            return hd_fail(HEED_E_ARG,
                           "%s: length %" PRId64 " of sequence %" PRId64 " is not in 0 .. %" PRId64,
                           layer, lengths[b], b, x->dim[1]);
    return HEED_OK;
}

heed_status hd_sequences_of(const char *layer, const heed_tensor *x, const heed_sequences *by,
                            struct hd_sequences *out)
{
    const heed_sequences plain = {0};

    if (!by)
        by = &plain;
    HD_TRY(hd_check_rows(layer, "x", x));
    for (size_t i = 0; i < sizeof by->reserved / sizeof *by->reserved; i++)
        if (by->reserved[i])
            return hd_fail(HEED_E_ARG, "%s: a reserved field of the sequences is set", layer);
    if (by->offsets) {
        HD_TRY(check_offsets(layer, x, by));
        *out = (struct hd_sequences){.offsets = by->offsets, .count = by->count};
    } else {
        HD_TRY(check_lengths(layer, x, by->lengths));
        *out = (struct hd_sequences){.lengths = by->lengths, .count = x->dim[0], .T = x->dim[1]};
    }
    return HEED_OK;
}

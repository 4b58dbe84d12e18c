/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be wrong with a batch of histories, and its count. */
#include "attention/history.h"
#include "base/limits.h"
#include "base/status.h"

#include <inttypes.h>

heed_status hd_histories_check(const char *form, const struct hd_histories *h)
{
    if (h->B < 0 || h->B > INT32_MAX || h->S < 0 || h->S > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "%s: %" PRId64 " histories of %" PRId64 " events", form, h->B,
                       h->S);
    if (h->offsets && h->lengths)
        return hd_fail(HEED_E_ARG, "%s: lengths and offsets are both given", form);
    for (int64_t b = 0; h->lengths && b < h->B; b++)
        if (h->lengths[b] < 0 || h->lengths[b] > h->S)
            return hd_fail(HEED_E_ARG, "%s: length %" PRId64 " of history %" PRId64
                           " is not in 0 .. %" PRId64, form, h->lengths[b], b, h->S);
    if (!h->offsets)
        return HEED_OK;
    if (h->offsets[0] != 0)
        return hd_fail(HEED_E_ARG, "%s: the first offset is %" PRId64 ", not 0", form,
                       h->offsets[0]);
    for (int64_t b = 0; b < h->B; b++)
        if (h->offsets[b + 1] < h->offsets[b] || h->offsets[b + 1] > HD_DIM_MAX)
            return hd_fail(HEED_E_ARG, "%s: offset %" PRId64 " after %" PRId64 " (history %" PRId64
                           ")", form, h->offsets[b + 1], h->offsets[b], b);
    return HEED_OK;
}

void hd_histories_places(const struct hd_histories *h, int64_t *place)
{
    place[0] = 0;
    for (int64_t b = 0; b < h->B; b++)
        place[b + 1] = place[b] + hd_history_length(h, b);
}

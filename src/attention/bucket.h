/* SPDX-License-Identifier: Apache-2.0
 *
 * Which bucket of the time bias a pair of a query and a key belongs to, a tile at a time. */
#ifndef HD_BUCKET_H
#define HD_BUCKET_H

#include "kernel/attention.h"

#include <stdint.h>

/* out[i * out_row + j] = bucket(query[i] - key[j]), cut to 0 .. W - 1, for the pairs a tile sees; the
 * rest of out is not written. bucket NULL: the logarithmic. */
void hd_time_buckets(const struct hd_attention_kernels *kernel, int32_t *out, int64_t out_row,
                     const struct hd_tile *tile, const int64_t *query, const int64_t *key,
                     int (*bucket)(int64_t span_ms), int64_t W);

#endif

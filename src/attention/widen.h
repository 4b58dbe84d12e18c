/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls on bfloat16 arrays by way of float32 copies of them: whatever has no tiles of its own for
 * bfloat16. Memory is O(rows (D + E)); gradients are summed in float32 and rounded once. */
#ifndef HD_WIDEN_H
#define HD_WIDEN_H

#include "base/status.h"
#include "heed/attention.h"

/* Does this call, whose options and arrays are right, go this way? */
bool hd_is_widened(const heed_attention_opts *opts, const heed_attention_arrays *arrays,
                   bool backward);
uint64_t hd_widened_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                  const heed_attention_arrays *arrays, bool backward);
/* The public call on the copies, so that options mean there what they mean everywhere. */
HEED_CHECKED heed_status hd_widened_run(heed_pool *pool, const heed_attention_opts *opts,
                                        const heed_attention_arrays *arrays, bool backward);

#endif

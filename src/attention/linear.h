/* SPDX-License-Identifier: Apache-2.0
 *
 * HEED_METHOD_LINEAR; trusts the check of check.c. */
#ifndef HD_LINEAR_H
#define HD_LINEAR_H

#include "base/status.h"
#include "heed/attention.h"

uint64_t hd_linear_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                 const heed_attention_arrays *arrays, bool backward);
HEED_CHECKED heed_status hd_linear_forward(heed_pool *pool, const heed_attention_opts *opts,
                                           const heed_attention_arrays *arrays);
HEED_CHECKED heed_status hd_linear_backward(heed_pool *pool, const heed_attention_opts *opts,
                                            const heed_attention_arrays *arrays);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of attention: the check that every call passes, and the exact method, which trusts it. */
#ifndef HD_DENSE_H
#define HD_DENSE_H

#include "base/status.h"
#include "heed/attention.h"

/* Raises what is wrong with options or arrays; pointers are looked at for the pass that is meant. */
HEED_CHECKED heed_status hd_attention_check(const heed_attention_opts *opts,
                                            const heed_attention_arrays *arrays, bool backward);

uint64_t hd_dense_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                const heed_attention_arrays *arrays, bool backward);
HEED_CHECKED heed_status hd_dense_forward(heed_pool *pool, const heed_attention_opts *opts,
                                          const heed_attention_arrays *arrays);
HEED_CHECKED heed_status hd_dense_backward(heed_pool *pool, const heed_attention_opts *opts,
                                           const heed_attention_arrays *arrays);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tape's attention takes from the plain one. */
#ifndef HD_DENSE_H
#define HD_DENSE_H

#include "base/status.h"
#include "heed/attention.h"

/* Raises what is wrong with options or arrays; pointers are looked at for the pass that is meant. */
HEED_CHECKED heed_status hd_attention_check(const heed_attention_opts *opts,
                                            const heed_attention_arrays *arrays, bool backward);

#endif

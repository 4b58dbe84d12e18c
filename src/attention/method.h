/* SPDX-License-Identifier: Apache-2.0
 *
 * What the methods that are not the exact walk cannot take, beside the check that all share. */
#ifndef HD_METHOD_H
#define HD_METHOD_H

#include "base/status.h"
#include "heed/attention.h"

HEED_CHECKED heed_status hd_method_check(const heed_attention_opts *opts,
                                         const heed_attention_arrays *arrays);

#endif

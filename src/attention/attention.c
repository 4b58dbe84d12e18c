/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain calls: options are checked here, once, and the method is chosen. */
#include "attention/dense.h"

static heed_status check(const heed_attention_opts *opts, const heed_attention_arrays *arrays,
                         bool backward)
{
    if (!opts || !arrays)
        return hd_fail(HEED_E_ARG, "attention: options or arrays are missing");
    return hd_attention_check(opts, arrays, backward);
}

uint64_t heed_attention_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                      const heed_attention_arrays *arrays, bool backward)
{
    if (check(opts, arrays, backward) != HEED_OK)
        return 0;
    return hd_dense_scratch_bytes(pool, opts, arrays, backward);
}

heed_status heed_attention_forward(heed_pool *pool, const heed_attention_opts *opts,
                                   const heed_attention_arrays *arrays)
{
    HD_TRY(check(opts, arrays, false));
    return hd_dense_forward(pool, opts, arrays);
}

heed_status heed_attention_backward(heed_pool *pool, const heed_attention_opts *opts,
                                    const heed_attention_arrays *arrays)
{
    HD_TRY(check(opts, arrays, true));
    return hd_dense_backward(pool, opts, arrays);
}

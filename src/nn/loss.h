/* SPDX-License-Identifier: Apache-2.0
 *
 * What losses share: the check of their options and their defaults. */
#ifndef HD_LOSS_H
#define HD_LOSS_H

#include "base/status.h"
#include "heed/nn.h"

#include <math.h>

static inline heed_status hd_check_loss(const char *loss, const heed_loss_opts *opts)
{
    if (!isfinite(opts->weight) || !isfinite(opts->logit_scale))
        return hd_fail(HEED_E_ARG, "%s: weight %g, logit_scale %g are not finite", loss,
                       opts->weight, opts->logit_scale);
    if (!(opts->label_smoothing >= 0 && opts->label_smoothing < 1))
        return hd_fail(HEED_E_ARG, "%s: label_smoothing is %g, not in [0, 1)", loss,
                       opts->label_smoothing);
    if (opts->excluded_count < 0)
        return hd_fail(HEED_E_ARG, "%s: a negative count of excluded rows", loss);
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i] != 0)
            return hd_fail(HEED_E_ARG, "%s: a reserved field is set", loss);
    return HEED_OK;
}

static inline double hd_loss_weight(const heed_loss_opts *opts, int64_t rows)
{
    return opts->weight != 0 ? opts->weight : 1.0 / (double)(rows > 0 ? rows : 1);
}

#endif

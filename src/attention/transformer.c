/* SPDX-License-Identifier: Apache-2.0
 *
 * A block of the transformer with its norms before attention and before the two wide layers: layers
 * of the tape, no arithmetic. */
#include "heed/attention.h"
#include "nn/params.h"
#include "tensor/tape.h"

#include <inttypes.h>

#define NORM_EPS 1e-5 /* PyTorch's, so that weights can come from there */

static heed_status block(heed_tape *tape, heed_tensor *x, const heed_transformer_weights *w,
                         const heed_attention_opts *opts, double dropout, heed_tensor **out,
                         heed_tensor **attention_weights)
{
    heed_tensor *y;

    HD_TRY(heed_layer_norm(tape, x, w->norm_gain, w->norm_bias, NORM_EPS, &y));
    HD_TRY(heed_multihead(tape, y, NULL, &w->attention, opts, &y, attention_weights));
    HD_TRY(heed_dropout_add(tape, x, y, dropout, &x));
    HD_TRY(heed_layer_norm(tape, x, w->wide_norm_gain, w->wide_norm_bias, NORM_EPS, &y));
    HD_TRY(heed_linear(tape, y, w->up, w->up_bias, &y));
    HD_TRY(heed_gelu(tape, y, &y));
    HD_TRY(heed_linear(tape, y, w->down, w->down_bias, &y));
    return heed_dropout_add(tape, x, y, dropout, out);
}

heed_status heed_transformer_block(heed_tape *tape, heed_tensor *x,
                                   const heed_transformer_weights *w,
                                   const heed_attention_opts *opts, double dropout,
                                   heed_tensor **out, heed_tensor **attention_weights)
{
    if (!w->up || !w->down)
        return hd_fail(HEED_E_ARG, "transformer: %s is missing", w->up ? "down" : "up");
    heed_status status = block(tape, x, w, opts, dropout, out, attention_weights);
    return status == HEED_OK ? status : hd_fail_prefix(status, "transformer: ");
}

heed_status heed_transformer_init(heed_params *params, const char *prefix,
                                  const heed_multihead_shape *shape, int64_t wide,
                                  heed_transformer_weights *weights)
{
    char name[HD_NAME_BYTES_MAX + 1];
    heed_transformer_weights w;
    int64_t C = shape->width;

    if (wide < 1)
        return hd_fail(HEED_E_ARG, "transformer: %s: wide layers of %" PRId64 " numbers", prefix,
                       wide);
    HD_TRY(hd_params_prefix(name, prefix, "norm"));
    HD_TRY(heed_norm_init(params, name, C, &w.norm_gain, &w.norm_bias));
    HD_TRY(hd_params_prefix(name, prefix, "attention"));
    HD_TRY(heed_multihead_init(params, name, shape, &w.attention));
    HD_TRY(hd_params_prefix(name, prefix, "wide_norm"));
    HD_TRY(heed_norm_init(params, name, C, &w.wide_norm_gain, &w.wide_norm_bias));
    HD_TRY(hd_params_prefix(name, prefix, "up"));
    HD_TRY(heed_linear_init(params, name, wide, C, &w.up, &w.up_bias));
    HD_TRY(hd_params_prefix(name, prefix, "down"));
    HD_TRY(heed_linear_init(params, name, C, wide, &w.down, &w.down_bias));
    *weights = w;
    return HEED_OK;
}

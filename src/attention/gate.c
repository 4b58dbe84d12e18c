/* SPDX-License-Identifier: Apache-2.0
 *
 * Sigmoid gates: of one number per item, and of one per feature where a modality takes from
 * another. Layers of the tape, no arithmetic. */
#include "heed/attention.h"
#include "nn/params.h"
#include "tensor/tape.h"

static heed_status gate(heed_tape *tape, heed_tensor *x, heed_tensor *phi, heed_tensor *theta,
                        heed_tensor *bias, heed_tensor **out)
{
    heed_tensor *row, *open;

    HD_TRY(heed_reshape(tape, theta, (int64_t[]){1, theta->dim[0]}, 2, &row));
    HD_TRY(heed_linear(tape, phi, row, bias, &open));
    HD_TRY(heed_sigmoid(tape, open, &open));
    return heed_scale_rows(tape, x, open, out);
}

heed_status heed_gate(heed_tape *tape, heed_tensor *x, heed_tensor *phi, heed_tensor *theta,
                      heed_tensor *bias, heed_tensor **out)
{
    if (theta->rank != 1)
        return hd_fail(HEED_E_SHAPE, "gate: theta is %s, not (F)", hd_shape_text(theta));
    heed_status status = gate(tape, x, phi, theta, bias, out);
    return status == HEED_OK ? status : hd_fail_prefix(status, "gate: ");
}

static heed_status cross_modal(heed_tape *tape, heed_tensor *x, heed_tensor *other,
                               const heed_cross_modal_weights *w, const heed_attention_opts *opts,
                               heed_tensor **out, heed_tensor **attention_weights)
{
    heed_tensor *taken, *both, *open;

    HD_TRY(heed_multihead(tape, x, other, &w->attention, opts, &taken, attention_weights));
    HD_TRY(heed_concat(tape, (heed_tensor *[]){x, taken}, 2, &both));
    HD_TRY(heed_linear(tape, both, w->gate, w->gate_bias, &open));
    HD_TRY(heed_sigmoid(tape, open, &open));
    HD_TRY(heed_mul(tape, open, taken, &taken));
    return heed_add(tape, x, taken, out);
}

heed_status heed_cross_modal(heed_tape *tape, heed_tensor *x, heed_tensor *other,
                             const heed_cross_modal_weights *w, const heed_attention_opts *opts,
                             heed_tensor **out, heed_tensor **attention_weights)
{
    if (!other)
        return hd_fail(HEED_E_ARG, "cross_modal: the other modality is missing");
    if (!w->gate)
        return hd_fail(HEED_E_ARG, "cross_modal: the gate's weights are missing");
    heed_status status = cross_modal(tape, x, other, w, opts, out, attention_weights);
    return status == HEED_OK ? status : hd_fail_prefix(status, "cross_modal: ");
}

heed_status heed_cross_modal_init(heed_params *params, const char *prefix,
                                  const heed_multihead_shape *shape,
                                  heed_cross_modal_weights *weights)
{
    char attention[HD_NAME_BYTES_MAX + 1];
    heed_cross_modal_weights w;
    int64_t C = shape->width;

    HD_TRY(hd_params_prefix(attention, prefix, "attention"));
    HD_TRY(heed_multihead_init(params, attention, shape, &w.attention));
    HD_TRY(hd_params_add_under(params, prefix, "gate", (int64_t[]){C, 2 * C}, 2,
                               HEED_INIT_XAVIER_UNIFORM, 1, &w.gate));
    HD_TRY(
        hd_params_add_under(params, prefix, "gate_bias", &C, 1, HEED_INIT_ZEROS, 0, &w.gate_bias));
    *weights = w;
    return HEED_OK;
}

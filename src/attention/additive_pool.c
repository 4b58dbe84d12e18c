/* SPDX-License-Identifier: Apache-2.0
 *
 * Additive attention as pooling: layers of the tape that make the scores, and the pool that sums by
 * their softmax. */
#include "heed/attention.h"
#include "nn/params.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <math.h>

static heed_status pool(heed_tape *tape, heed_tensor *x, const heed_additive_weights *w,
                        const heed_sequences *sequences, heed_tensor **out,
                        heed_tensor **attention_weights)
{
    heed_tensor *hidden, *v, *scores;

    HD_TRY(heed_linear(tape, x, w->w, w->b, &hidden));
    HD_TRY(heed_tanh(tape, hidden, &hidden));
    HD_TRY(heed_reshape(tape, w->v, (int64_t[]){1, w->v->dim[0]}, 2, &v));
    HD_TRY(heed_linear(tape, hidden, v, NULL, &scores));
    return heed_softmax_pool(tape, x, scores, sequences, out, attention_weights);
}

heed_status heed_additive_pool(heed_tape *tape, heed_tensor *x, const heed_additive_weights *w,
                               const heed_sequences *sequences, heed_tensor **out,
                               heed_tensor **attention_weights)
{
    if (!w->w || !w->v)
        return hd_fail(HEED_E_ARG, "additive_pool: %s is missing", w->w ? "v" : "w");
    if (w->v->rank != 1)
        return hd_fail(HEED_E_SHAPE, "additive_pool: v is %s, not (A)", hd_shape_text(w->v));
    heed_status status = pool(tape, x, w, sequences, out, attention_weights);
    return status == HEED_OK ? status : hd_fail_prefix(status, "additive_pool: ");
}

heed_status heed_additive_init(heed_params *params, const char *prefix, int64_t C, int64_t A,
                               heed_additive_weights *weights)
{
    heed_additive_weights w;

    if (C < 1 || A < 1)
        return hd_fail(HEED_E_ARG, "additive_pool: %s: %" PRId64 " numbers of %" PRId64, prefix, A,
                       C);
    HD_TRY(hd_params_add_under(params, prefix, "w", (int64_t[]){A, C}, 2, HEED_INIT_XAVIER_UNIFORM,
                               1, &w.w));
    HD_TRY(hd_params_add_under(params, prefix, "b", &A, 1, HEED_INIT_ZEROS, 0, &w.b));
    /* Xavier's rule for (1, A), written out since v is a vector. */
    HD_TRY(hd_params_add_under(params, prefix, "v", &A, 1, HEED_INIT_UNIFORM,
                               sqrt(6.0 / (double)(A + 1)), &w.v));
    *weights = w;
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Multi-head attention with its projections: linear layers of the tape around heed_attention(). No
 * arithmetic is here, only shapes. */
#include "heed/attention.h"
#include "nn/params.h"
#include "tensor/tape.h"

#include <inttypes.h>

static heed_status check_weights(const heed_multihead_weights *w)
{
    const heed_tensor *x[] = {w->q, w->k, w->v};
    const char *name[] = {"q", "k", "v"};

    for (int i = 0; i < 3; i++) {
        if (!x[i])
            return hd_fail(HEED_E_ARG, "multihead: %s is missing", name[i]);
        if (x[i]->rank != 2)
            return hd_fail(HEED_E_SHAPE, "multihead: %s is %s, not of rank 2", name[i],
                           hd_shape_text(x[i]));
    }
    if (w->heads < 1 || w->q->dim[0] < w->heads || w->q->dim[0] % w->heads != 0)
        return hd_fail(HEED_E_ARG, "multihead: %" PRId64 " heads of a q of %s", w->heads,
                       hd_shape_text(w->q));
    int64_t D = w->q->dim[0] / w->heads, G = w->k->dim[0] / D;
    if (G < 1 || w->k->dim[0] % D != 0 || w->heads % G != 0)
        return hd_fail(HEED_E_SHAPE,
                       "multihead: k is %s, which is no %" PRId64
                       " rows for each of a divisor of %" PRId64 " heads",
                       hd_shape_text(w->k), D, w->heads);
    if (w->v->dim[0] < G || w->v->dim[0] % G != 0)
        return hd_fail(HEED_E_SHAPE, "multihead: v is %s, but k has %" PRId64 " heads",
                       hd_shape_text(w->v), G);
    return HEED_OK;
}

/* x W^T + b, its columns cut into heads. */
static heed_status project(heed_tape *tape, const char *name, heed_tensor *x, heed_tensor *w,
                           heed_tensor *b, int64_t heads, heed_tensor **out)
{
    heed_tensor *y;
    heed_status status = heed_linear(tape, x, w, b, &y);

    if (status != HEED_OK)
        return hd_fail_prefix(status, "multihead: %s: ", name);
    int64_t dim[HEED_RANK_MAX] = {y->dim[0], y->dim[1], y->dim[2]}, width = hd_cols(y) / heads;
    dim[y->rank - 1] = heads;
    dim[y->rank] = width;
    return heed_reshape(tape, y, dim, y->rank + 1, out);
}

/* The heads side by side, then W_o. */
static heed_status merge(heed_tape *tape, heed_tensor *heads, const heed_multihead_weights *w,
                         heed_tensor **out)
{
    int64_t dim[HEED_RANK_MAX] = {heads->dim[0], heads->dim[1], heads->dim[2], heads->dim[3]};
    int rank = heads->rank - 1;

    dim[rank - 1] = heads->dim[rank - 1] * heads->dim[rank];
    HD_TRY(heed_reshape(tape, heads, dim, rank, &heads));
    *out = heads;
    if (!w->o)
        return HEED_OK;
    heed_status status = heed_linear(tape, heads, w->o, w->o_bias, out);
    return status == HEED_OK ? status : hd_fail_prefix(status, "multihead: o: ");
}

heed_status heed_multihead(heed_tape *tape, heed_tensor *x, heed_tensor *context,
                           const heed_multihead_weights *w, const heed_attention_opts *opts,
                           heed_tensor **out, heed_tensor **attention_weights)
{
    int rank = opts && opts->offsets ? 2 : 3;
    heed_tensor *q, *k, *v, *heads;

    if (!context)
        context = x;
    if (x->rank != rank || context->rank != rank)
        return hd_fail(HEED_E_SHAPE, "multihead: x is %s and the context %s, not of rank %d, as %s",
                       hd_shape_text(x), hd_shape_text(context), rank,
                       rank == 2 ? "with offsets" : "without offsets");
    HD_TRY(check_weights(w));
    int64_t G = w->k->dim[0] / (w->q->dim[0] / w->heads);
    HD_TRY(project(tape, "q", x, w->q, w->q_bias, w->heads, &q));
    HD_TRY(project(tape, "k", context, w->k, w->k_bias, G, &k));
    HD_TRY(project(tape, "v", context, w->v, w->v_bias, G, &v));
    HD_TRY(heed_attention(tape, q, k, v, &w->learned, opts, &heads, attention_weights));
    return merge(tape, heads, w, out);
}

/* `prefix.name` (rows, cols) and, where wanted, `prefix.name_bias`. */
static heed_status matrix_init(heed_params *params, const char *prefix, const char *const name[2],
                               int64_t rows, int64_t cols, bool biased, heed_tensor **w,
                               heed_tensor **b)
{
    HD_TRY(hd_params_add_under(params, prefix, name[0], (int64_t[]){rows, cols}, 2,
                               HEED_INIT_XAVIER_UNIFORM, 1, w));
    if (!biased)
        return HEED_OK;
    return hd_params_add_under(params, prefix, name[1], &rows, 1, HEED_INIT_ZEROS, 0, b);
}

static heed_status check_shape(const char *prefix, const heed_multihead_shape *s)
{
    for (size_t i = 0; i < sizeof s->reserved / sizeof *s->reserved; i++)
        if (s->reserved[i])
            return hd_fail(HEED_E_ARG, "multihead: %s: a reserved field of the shape is set",
                           prefix);
    /* no wider than attention takes, so that products of two do not overflow */
    if (s->width < 1 || s->width > INT32_MAX || s->context_width < 0 || s->head_width < 0 ||
        s->head_width > INT32_MAX)
        return hd_fail(HEED_E_ARG,
                       "multihead: %s: width %" PRId64 ", context's %" PRId64 ", head's %" PRId64,
                       prefix, s->width, s->context_width, s->head_width);
    if (s->heads < 1 || s->heads > INT32_MAX || (s->head_width == 0 && s->width % s->heads != 0))
        return hd_fail(HEED_E_ARG, "multihead: %s: %" PRId64 " heads of a width of %" PRId64,
                       prefix, s->heads, s->width);
    if (s->kv_heads < 0 || (s->kv_heads > 0 && s->heads % s->kv_heads != 0))
        return hd_fail(HEED_E_ARG,
                       "multihead: %s: %" PRId64 " heads of keys for %" PRId64 " of queries",
                       prefix, s->kv_heads, s->heads);
    return HEED_OK;
}

heed_status heed_multihead_init(heed_params *params, const char *prefix,
                                const heed_multihead_shape *s, heed_multihead_weights *weights)
{
    static const char *const q[] = {"q", "q_bias"}, *const k[] = {"k", "k_bias"},
                             *const v[] = {"v", "v_bias"}, *const o[] = {"o", "o_bias"};

    HD_TRY(check_shape(prefix, s));
    heed_multihead_weights w = {.heads = s->heads};
    int64_t C = s->width, X = s->context_width ? s->context_width : C;
    int64_t D = s->head_width ? s->head_width : C / s->heads;
    int64_t kv = D * (s->kv_heads ? s->kv_heads : s->heads);
    HD_TRY(matrix_init(params, prefix, q, s->heads * D, C, !s->no_bias, &w.q, &w.q_bias));
    HD_TRY(matrix_init(params, prefix, k, kv, X, !s->no_bias, &w.k, &w.k_bias));
    HD_TRY(matrix_init(params, prefix, v, kv, X, !s->no_bias, &w.v, &w.v_bias));
    HD_TRY(matrix_init(params, prefix, o, C, s->heads * D, !s->no_bias, &w.o, &w.o_bias));
    *weights = w;
    return HEED_OK;
}

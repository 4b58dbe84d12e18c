/* SPDX-License-Identifier: Apache-2.0
 *
 * One row for each sequence: the mean of its rows, or their sum weighted by a softmax over scores.
 *
 *     out_b = sum_s w_s x_s       w_s = 1 / n,  or  exp(a_s) / sum_r exp(a_r)
 *     dx_s += w_s dout_b          da_s += w_s (<x_s, dout_b> - sum_r w_r <x_r, dout_b>)
 *
 * A sequence is summed by one thread in the order of its rows, so the bits do not depend on the
 * pool. */
#include "nn/sequences.h"

#include <inttypes.h>

struct pool_record {
    heed_tensor *x, *scores, *out; /* scores NULL: the mean */
    struct hd_sequences by;
    void *w; /* a number per row of x; of the mean not kept */
};

struct pool_pass {
    const struct pool_record *rec;
    const struct hd_kernels *k;
    const void *dout;
    void *dx, *dscores; /* each may be NULL */
};

static double weight_of(const struct pool_pass *pass, struct hd_span span, int64_t s)
{
    return pass->rec->scores ? hd_get(pass->k, pass->rec->w, span.first + s)
                             : 1 / (double)span.length;
}

static heed_status pool_sequences(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct pool_pass *pass = arg;
    const struct pool_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    size_t item = k->item_bytes, C = (size_t)hd_cols(rec->x);

    (void)block;
    for (int64_t b = from; b < to; b++) {
        struct hd_span span = hd_span_of(&rec->by, b);
        void *out = hd_at(rec->out->data, item, b * (int64_t)C);
        if (rec->scores)
            (void)k->softmax(hd_at(rec->w, item, span.first),
                             hd_at(rec->scores->data, item, span.first), (size_t)span.length);
        k->fill(out, 0, C);
        for (int64_t s = 0; s < span.length; s++)
            k->axpy(out, weight_of(pass, span, s), hd_row(rec->x, item, span.first + s), C);
    }
    return HEED_OK;
}

/* <w, dw> first, then each score's slope: dots are made twice rather than kept. */
static void scores_back(const struct pool_pass *pass, struct hd_span span, const void *dout)
{
    const struct pool_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    size_t item = k->item_bytes, C = (size_t)hd_cols(rec->x);
    double mean = 0;

    for (int64_t s = 0; s < span.length; s++)
        mean += weight_of(pass, span, s) * k->dot(hd_row(rec->x, item, span.first + s), dout, C);
    for (int64_t s = 0; s < span.length; s++) {
        void *da = hd_at(pass->dscores, item, span.first + s);
        double dw = k->dot(hd_row(rec->x, item, span.first + s), dout, C);
        k->fill(da, hd_get(k, da, 0) + weight_of(pass, span, s) * (dw - mean), 1);
    }
}

static heed_status back_sequences(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct pool_pass *pass = arg;
    const struct pool_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    int64_t C = hd_cols(rec->x), stride = hd_row_stride(rec->x);

    (void)block;
    for (int64_t b = from; b < to; b++) {
        struct hd_span span = hd_span_of(&rec->by, b);
        const void *dout = hd_at(pass->dout, k->item_bytes, b * C);
        for (int64_t s = 0; pass->dx && s < span.length; s++)
            k->axpy(hd_at(pass->dx, k->item_bytes, (span.first + s) * stride),
                    weight_of(pass, span, s), dout, (size_t)C);
        if (pass->dscores)
            scores_back(pass, span, dout);
    }
    return HEED_OK;
}

/* Blocks are cut as if each sequence had the mean length. */
static heed_status run(heed_tape *tape, const struct pool_record *rec, hd_rows_fn fn,
                       struct pool_pass *pass)
{
    int64_t B = rec->by.count, cells = hd_count(rec->x);

    return hd_rows_run(tape, B, B > 0 ? (cells + B - 1) / B : 0, fn, pass);
}

static heed_status pool_backward(heed_tape *tape, void *record)
{
    const struct pool_record *rec = record;
    struct pool_pass pass = {rec, hd_kernels_of(rec->x), .dout = hd_grad_got(rec->out)};

    if (!pass.dout)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->x, &pass.dx));
    if (rec->scores)
        HD_TRY(hd_grad(tape, rec->scores, &pass.dscores));
    HD_TRY(run(tape, rec, back_sequences, &pass));
    hd_grad_spent(tape, rec->out);
    return HEED_OK;
}

static heed_status pool(heed_tape *tape, struct pool_record *rec)
{
    struct pool_pass pass = {rec, hd_kernels_of(rec->x)};

    HD_TRY(hd_tensor_new(tape, rec->x->dtype, (int64_t[]){rec->by.count, hd_cols(rec->x)}, 2,
                         &rec->out));
    HD_TRY(run(tape, rec, pool_sequences, &pass));
    if (!hd_wants_grad(tape, rec->x) && !hd_wants_grad(tape, rec->scores))
        return HEED_OK;
    rec->out->wants_grad = true;
    return hd_tape_push(tape, pool_backward, rec, sizeof *rec);
}

heed_status heed_mean_pool(heed_tape *tape, heed_tensor *x, const heed_sequences *sequences,
                           heed_tensor **out)
{
    struct pool_record rec = {.x = x};

    HD_TRY(hd_sequences_of("mean_pool", x, sequences, &rec.by));
    HD_TRY(pool(tape, &rec));
    *out = rec.out;
    return HEED_OK;
}

heed_status heed_softmax_pool(heed_tape *tape, heed_tensor *x, heed_tensor *scores,
                              const heed_sequences *sequences, heed_tensor **out,
                              heed_tensor **weights)
{
    struct pool_record rec = {.x = x, .scores = scores};
    heed_tensor *w;

    HD_TRY(hd_sequences_of("softmax_pool", x, sequences, &rec.by));
    if (hd_count(scores) != hd_rows(x) || !hd_is_contiguous(scores))
        return hd_fail(HEED_E_SHAPE,
                       "softmax_pool: the scores are %s, not a number for each of "
                       "the %" PRId64 " rows of x",
                       hd_shape_text(scores), hd_rows(x));
    if (scores->dtype != x->dtype)
        return hd_fail(HEED_E_ARG, "softmax_pool: scores and x have different element types");
    HD_TRY(heed_tensor_new_in(tape, x->dtype, x->dim, x->rank - 1, &w)); /* zeros: padding's */
    rec.w = w->data;
    HD_TRY(pool(tape, &rec));
    *out = rec.out;
    if (weights)
        *weights = w;
    return HEED_OK;
}

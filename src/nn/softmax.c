/* SPDX-License-Identifier: Apache-2.0
 *
 * Probabilities of a row of logits, and rows times a number of their own: what stands between
 * layers where no loss or attention has it fused.
 *
 *     p = exp(x - log sum exp x)        dx = p (dp - <p, dp>) */
#include "heed/nn.h"
#include "nn/rows.h"

#include <inttypes.h>

struct row_record {
    heed_tensor *x, *a, *y; /* a: of scale_rows */
};

struct row_pass {
    const struct row_record *rec;
    const struct hd_kernels *k;
    const void *dy;
    void *dx, *da; /* each may be NULL */
};

/* ---- softmax */

static heed_status softmax_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct row_pass *pass = arg;
    const struct hd_kernels *k = pass->k;
    int64_t C = hd_cols(pass->rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++)
        (void)k->softmax(hd_at(pass->rec->y->data, k->item_bytes, i * C),
                         hd_row(pass->rec->x, k->item_bytes, i), (size_t)C);
    return HEED_OK;
}

static heed_status softmax_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct row_pass *pass = arg;
    const struct hd_kernels *k = pass->k;
    int64_t C = hd_cols(pass->rec->x), stride = hd_row_stride(pass->rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++) {
        const void *p = hd_at(pass->rec->y->data, k->item_bytes, i * C);
        const void *dp = hd_at(pass->dy, k->item_bytes, i * C);
        void *dx = hd_at(pass->dx, k->item_bytes, i * stride);
        k->muladd(dx, p, dp, (size_t)C);
        k->axpy(dx, -k->dot(p, dp, (size_t)C), p, (size_t)C);
    }
    return HEED_OK;
}

static heed_status softmax_backward(heed_tape *tape, void *record)
{
    const struct row_record *rec = record;
    struct row_pass pass = {rec, hd_kernels_of(rec->x), .dy = hd_grad_got(rec->y)};

    if (!pass.dy)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->x, &pass.dx));
    if (pass.dx)
        HD_TRY(hd_rows_run(tape, hd_rows(rec->x), hd_cols(rec->x), softmax_back_rows, &pass));
    hd_grad_spent(tape, rec->y);
    return HEED_OK;
}

heed_status heed_softmax(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    struct row_record rec = {.x = x};
    struct row_pass pass = {&rec, hd_kernels_of(x)};

    HD_TRY(hd_check_rows("softmax", "x", x));
    HD_TRY(hd_tensor_like(tape, x, &rec.y));
    HD_TRY(hd_rows_run(tape, hd_rows(x), hd_cols(x), softmax_rows, &pass));
    if (hd_wants_grad(tape, x)) {
        rec.y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, softmax_backward, &rec, sizeof rec));
    }
    *out = rec.y;
    return HEED_OK;
}

/* ---- rows times a number: y_i = a_i x_i, dx_i += a_i dy_i, da_i += <x_i, dy_i> */

static heed_status scale_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct row_pass *pass = arg;
    const struct hd_kernels *k = pass->k;
    int64_t C = hd_cols(pass->rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++)
        k->scale(hd_at(pass->rec->y->data, k->item_bytes, i * C),
                 hd_get(k, pass->rec->a->data, i), hd_row(pass->rec->x, k->item_bytes, i),
                 (size_t)C);
    return HEED_OK;
}

static heed_status scale_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct row_pass *pass = arg;
    const struct hd_kernels *k = pass->k;
    int64_t C = hd_cols(pass->rec->x), stride = hd_row_stride(pass->rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++) {
        const void *dy = hd_at(pass->dy, k->item_bytes, i * C);
        if (pass->dx)
            k->axpy(hd_at(pass->dx, k->item_bytes, i * stride), hd_get(k, pass->rec->a->data, i),
                    dy, (size_t)C);
        if (pass->da) {
            void *da = hd_at(pass->da, k->item_bytes, i);
            k->fill(da,
                    hd_get(k, da, 0) +
                        k->dot(hd_row(pass->rec->x, k->item_bytes, i), dy, (size_t)C),
                    1);
        }
    }
    return HEED_OK;
}

static heed_status scale_rows_backward(heed_tape *tape, void *record)
{
    const struct row_record *rec = record;
    struct row_pass pass = {rec, hd_kernels_of(rec->x), .dy = hd_grad_got(rec->y)};

    if (!pass.dy)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->x, &pass.dx));
    HD_TRY(hd_grad(tape, rec->a, &pass.da));
    HD_TRY(hd_rows_run(tape, hd_rows(rec->x), hd_cols(rec->x), scale_back_rows, &pass));
    hd_grad_spent(tape, rec->y);
    return HEED_OK;
}

heed_status heed_scale_rows(heed_tape *tape, heed_tensor *x, heed_tensor *a, heed_tensor **out)
{
    struct row_record rec = {.x = x, .a = a};
    struct row_pass pass = {&rec, hd_kernels_of(x)};

    HD_TRY(hd_check_rows("scale_rows", "x", x));
    if (hd_count(a) != hd_rows(x) || !hd_is_contiguous(a))
        return hd_fail(HEED_E_SHAPE,
                       "scale_rows: a is %s, not a number for each of the %" PRId64 " rows of x",
                       hd_shape_text(a), hd_rows(x));
    if (a->dtype != x->dtype)
        return hd_fail(HEED_E_ARG, "scale_rows: the element types differ");
    HD_TRY(hd_tensor_like(tape, x, &rec.y));
    HD_TRY(hd_rows_run(tape, hd_rows(x), hd_cols(x), scale_rows, &pass));
    if (hd_wants_grad(tape, x) || hd_wants_grad(tape, a)) {
        rec.y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, scale_rows_backward, &rec, sizeof rec));
    }
    *out = rec.y;
    return HEED_OK;
}

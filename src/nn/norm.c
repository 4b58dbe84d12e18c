/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers that bring each row to a common size: layer norm (Ba, Kiros, Hinton 2016), RMS norm
 * (Zhang, Sennrich 2019), and division by the Euclidean length. Each keeps what it measured of
 * every row for the backward. Gradients of gain and bias are summed for each block of rows, and the
 * blocks in order. */
#include "heed/nn.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <math.h>

struct norm_record {
    heed_tensor *x, *gain, *bias, *y;
    double *mean, *factor; /* of each row; factor: what the row was multiplied by */
    double eps;
};

struct norm_pass {
    const struct norm_record *rec;
    const struct hd_kernels *k;
    const void *dy;
    void *dx;
    bool fresh;
    void *dgain, *dbias; /* a row for each block, or NULL */
    int64_t C, x_row;
};

typedef struct norm_place { /* of one row in a backward */
    void *dx, *dgain, *dbias;
    const void *dy, *x;
} norm_place;

static norm_place norm_at(const struct norm_pass *pass, int64_t row, int64_t block)
{
    const struct norm_record *rec = pass->rec;
    size_t item = pass->k->item_bytes;
    int64_t C = pass->C;
    norm_place at = {.dy = hd_at(pass->dy, item, row * C),
                     .x = hd_at(rec->x->data, item, row * pass->x_row)};

    if (pass->dx) {
        at.dx = hd_at(pass->dx, item, row * pass->x_row);
        if (pass->fresh)
            pass->k->fill(at.dx, 0, (size_t)C);
    }
    if (pass->dgain)
        at.dgain = hd_at(pass->dgain, item, block * C);
    if (pass->dbias)
        at.dbias = hd_at(pass->dbias, item, block * C);
    return at;
}

/* Memory for a row per block, zeroed, where the gradient of `vector` is wanted. */
static heed_status partials_new(heed_tape *tape, const heed_tensor *vector, int64_t blocks,
                                void **out)
{
    *out = NULL;
    if (!hd_wants_grad(tape, vector))
        return HEED_OK;
    *out = hd_arena_zalloc(hd_tape_scratch(tape), (size_t)(blocks * vector->dim[0]),
                           hd_kernels_of(vector)->item_bytes);
    if (!*out)
        return hd_fail(HEED_E_NOMEM, "norm: no memory for %" PRId64 " partial sums", blocks);
    return HEED_OK;
}

static heed_status partials_add(heed_tape *tape, heed_tensor *vector, int64_t blocks,
                                const void *partial)
{
    void *grad;

    if (!partial)
        return HEED_OK;
    const struct hd_kernels *k = hd_kernels_of(vector);
    HD_TRY(hd_grad(tape, vector, &grad));
    for (int64_t i = 0; i < blocks; i++)
        k->add(grad, grad, hd_at(partial, k->item_bytes, i * vector->dim[0]),
               (size_t)vector->dim[0]);
    return HEED_OK;
}

static heed_status norm_backward(heed_tape *tape, const struct norm_record *rec, hd_rows_fn rows_fn)
{
    struct norm_pass pass = {.rec = rec,
                             .k = hd_kernels_of(rec->x),
                             .dy = hd_grad_got(rec->y),
                             .C = hd_cols(rec->x),
                             .x_row = hd_row_stride(rec->x)};
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    int64_t N = hd_rows(rec->x), C = hd_cols(rec->x), blocks = hd_rows_blocks(N, C);

    if (!pass.dy)
        return HEED_OK;
    heed_status status = partials_new(tape, rec->gain, blocks, &pass.dgain);
    if (status == HEED_OK)
        status = partials_new(tape, rec->bias, blocks, &pass.dbias);
    if (status == HEED_OK)
        status = hd_grad_first(tape, rec->x, &pass.dx, &pass.fresh);
    if (status == HEED_OK)
        status = hd_rows_run(tape, N, C, rows_fn, &pass);
    if (status == HEED_OK)
        status = partials_add(tape, rec->gain, blocks, pass.dgain);
    if (status == HEED_OK)
        status = partials_add(tape, rec->bias, blocks, pass.dbias);
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->y);
    return status;
}

/* Checks, the result, and memory for what is kept of each row. */
static heed_status norm_forward(heed_tape *tape, const char *layer, struct norm_record *rec,
                                hd_rows_fn rows_fn, hd_backward_fn backward, heed_tensor **out)
{
    heed_tensor *x = rec->x;
    int64_t N = hd_rows(x), C = hd_cols(x);

    HD_TRY(hd_check_rows(layer, "x", x));
    HD_TRY(hd_check_vector(layer, "gain", rec->gain, x, C));
    HD_TRY(hd_check_vector(layer, "bias", rec->bias, x, C));
    if (!(rec->eps >= 0))
        return hd_fail(HEED_E_ARG, "%s: eps is %g", layer, rec->eps);
    HD_TRY(hd_tensor_like(tape, x, &rec->y));
    rec->mean = hd_arena_alloc(hd_tape_arena(tape), (size_t)(2 * N), sizeof *rec->mean);
    if (!rec->mean)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for %" PRId64 " rows", layer, N);
    rec->factor = rec->mean + N;
    HD_TRY(hd_rows_run(tape, N, C, rows_fn, rec));
    if (hd_wants_grad(tape, x) || hd_wants_grad(tape, rec->gain) ||
        hd_wants_grad(tape, rec->bias)) {
        rec->y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, backward, rec, sizeof *rec));
    }
    *out = rec->y;
    return HEED_OK;
}

/* ---- layer norm */

static heed_status layer_norm_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_record *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    int64_t C = hd_cols(rec->x), x_row = hd_row_stride(rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++)
        k->layer_norm(hd_at(rec->y->data, k->item_bytes, i * C),
                      hd_at(rec->x->data, k->item_bytes, i * x_row),
                      rec->gain ? rec->gain->data : NULL, rec->bias ? rec->bias->data : NULL,
                      (size_t)C, rec->eps, &rec->mean[i], &rec->factor[i]);
    return HEED_OK;
}

static heed_status layer_norm_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_pass *pass = arg;
    const struct norm_record *rec = pass->rec;

    for (int64_t i = from; i < to; i++) {
        norm_place at = norm_at(pass, i, block);
        pass->k->layer_norm_back(at.dx, at.dgain, at.dbias, at.dy, at.x,
                                 rec->gain ? rec->gain->data : NULL, (size_t)pass->C, rec->mean[i],
                                 rec->factor[i]);
    }
    return HEED_OK;
}

static heed_status layer_norm_backward(heed_tape *tape, void *record)
{
    return norm_backward(tape, record, layer_norm_back_rows);
}

heed_status heed_layer_norm(heed_tape *tape, heed_tensor *x, heed_tensor *gain, heed_tensor *bias,
                            double eps, heed_tensor **out)
{
    struct norm_record rec = {.x = x, .gain = gain, .bias = bias, .eps = eps};

    return norm_forward(tape, "layer_norm", &rec, layer_norm_rows, layer_norm_backward, out);
}

/* ---- RMS norm */

static heed_status rms_norm_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_record *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    int64_t C = hd_cols(rec->x), x_row = hd_row_stride(rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++)
        k->rms_norm(hd_at(rec->y->data, k->item_bytes, i * C),
                    hd_at(rec->x->data, k->item_bytes, i * x_row),
                    rec->gain ? rec->gain->data : NULL, (size_t)C, rec->eps, &rec->factor[i]);
    return HEED_OK;
}

static heed_status rms_norm_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_pass *pass = arg;
    const struct norm_record *rec = pass->rec;

    for (int64_t i = from; i < to; i++) {
        norm_place at = norm_at(pass, i, block);
        pass->k->rms_norm_back(at.dx, at.dgain, at.dy, at.x, rec->gain ? rec->gain->data : NULL,
                               (size_t)pass->C, rec->factor[i]);
    }
    return HEED_OK;
}

static heed_status rms_norm_backward(heed_tape *tape, void *record)
{
    return norm_backward(tape, record, rms_norm_back_rows);
}

heed_status heed_rms_norm(heed_tape *tape, heed_tensor *x, heed_tensor *gain, double eps,
                          heed_tensor **out)
{
    struct norm_record rec = {.x = x, .gain = gain, .eps = eps};

    return norm_forward(tape, "rms_norm", &rec, rms_norm_rows, rms_norm_backward, out);
}

/* ---- Euclidean length */

static heed_status l2_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_record *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    int64_t C = hd_cols(rec->x), x_row = hd_row_stride(rec->x);

    (void)block;
    for (int64_t i = from; i < to; i++) {
        const void *x = hd_at(rec->x->data, k->item_bytes, i * x_row);
        double length = sqrt(k->dot(x, x, (size_t)C));
        /* A negative factor says that the row was shorter than eps: then it was but scaled. */
        rec->factor[i] = length > rec->eps ? 1 / length : rec->eps > 0 ? -1 / rec->eps : 0;
        k->scale(hd_at(rec->y->data, k->item_bytes, i * C), fabs(rec->factor[i]), x, (size_t)C);
    }
    return HEED_OK;
}

/* y = x / |x|:  dx += (dy - y (y . dy)) / |x| */
static heed_status l2_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct norm_pass *pass = arg;
    const struct norm_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    size_t C = (size_t)pass->C;

    for (int64_t i = from; i < to; i++) {
        norm_place at = norm_at(pass, i, block);
        const void *y = hd_at(rec->y->data, k->item_bytes, i * (int64_t)C);
        double factor = rec->factor[i];
        k->axpy(at.dx, fabs(factor), at.dy, C);
        if (factor > 0)
            k->axpy(at.dx, -factor * k->dot(y, at.dy, C), y, C);
    }
    return HEED_OK;
}

static heed_status l2_backward(heed_tape *tape, void *record)
{
    return norm_backward(tape, record, l2_back_rows);
}

heed_status heed_l2_normalize(heed_tape *tape, heed_tensor *x, double eps, heed_tensor **out)
{
    struct norm_record rec = {.x = x, .eps = eps};

    return norm_forward(tape, "l2_normalize", &rec, l2_rows, l2_backward, out);
}

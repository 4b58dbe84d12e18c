/* SPDX-License-Identifier: Apache-2.0
 *
 * y = x W^T + b, or with a residual added: three matrix products, one forward and two backward. */
#include "heed/nn.h"
#include "nn/rows.h"

#include <inttypes.h>

struct linear_record {
    heed_tensor *x, *w, *b, *add, *y;
};

/* db += column sums of dy: a partial sum for each block of rows, added in order. */
struct bias_pass {
    const struct hd_kernels *k;
    const void *dy;
    void *partial; /* a row of cols per block */
    int64_t cols;
};

static heed_status bias_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct bias_pass *pass = arg;
    const struct hd_kernels *k = pass->k;
    void *sum = hd_at(pass->partial, k->item_bytes, block * pass->cols);

    k->fill(sum, 0, (size_t)pass->cols);
    for (int64_t i = from; i < to; i++)
        k->add(sum, sum, hd_at(pass->dy, k->item_bytes, i * pass->cols), (size_t)pass->cols);
    return HEED_OK;
}

static heed_status bias_backward(heed_tape *tape, const struct linear_record *rec, const void *dy)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    int64_t rows = hd_rows(rec->y), cols = hd_cols(rec->y), blocks = hd_rows_blocks(rows, cols);
    struct bias_pass pass = {.k = hd_kernels_of(rec->y), .dy = dy, .cols = cols};
    void *db;

    HD_TRY(hd_grad(tape, rec->b, &db));
    if (!db)
        return HEED_OK;
    pass.partial = hd_arena_alloc(scratch, (size_t)(blocks * cols), pass.k->item_bytes);
    if (!pass.partial)
        return hd_fail(HEED_E_NOMEM, "linear: no memory for %" PRId64 " partial sums", blocks);
    heed_status status = hd_rows_run(tape, rows, cols, bias_rows, &pass);
    for (int64_t i = 0; status == HEED_OK && i < blocks; i++)
        pass.k->add(db, db, hd_at(pass.partial, pass.k->item_bytes, i * cols), (size_t)cols);
    hd_arena_release(scratch, mark);
    return status;
}

/* dx += dy W,  dW += dy^T x,  db += column sums of dy */
static heed_status linear_backward(heed_tape *tape, void *record)
{
    const struct linear_record *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->y);
    const heed_tensor *x = rec->x, *w = rec->w;
    int64_t N = hd_rows(x), C = hd_cols(x), O = w->dim[0];
    void *dy = hd_grad_got(rec->y), *dx, *dw;
    bool fresh;

    if (!dy)
        return HEED_OK;
    if (rec->b)
        HD_TRY(bias_backward(tape, rec, dy));
    HD_TRY(hd_grad_first(tape, rec->w, &dw, &fresh));
    if (dw) {
        struct hd_matmul m = {.M = O,
                              .N = C,
                              .K = N,
                              .a = dy,
                              .a_row = 1,
                              .a_col = O,
                              .b = x->data,
                              .b_row = hd_row_stride(x),
                              .b_col = 1,
                              .c = dw,
                              .c_row = hd_row_stride(w),
                              .accumulate = !fresh};
        HD_TRY(hd_matmul(tape, k, &m));
    }
    HD_TRY(hd_grad_first(tape, rec->x, &dx, &fresh));
    if (dx) {
        struct hd_matmul m = {.M = N,
                              .N = C,
                              .K = O,
                              .a = dy,
                              .a_row = O,
                              .a_col = 1,
                              .b = w->data,
                              .b_row = hd_row_stride(w),
                              .b_col = 1,
                              .c = dx,
                              .c_row = hd_row_stride(x),
                              .accumulate = !fresh};
        HD_TRY(hd_matmul(tape, k, &m));
    }
    if (rec->add)
        HD_TRY(hd_grad_hand(tape, rec->y, rec->add));
    hd_grad_spent(tape, rec->y);
    return HEED_OK;
}

/* y = x W^T + b + add      x (N, C)   W (O, C)   b (O)   add, y (N, O) */
static heed_status linear(heed_tape *tape, heed_tensor *x, heed_tensor *w, heed_tensor *b,
                          heed_tensor *add, heed_tensor **out)
{
    const struct hd_kernels *k = hd_kernels_of(x);
    int64_t N = hd_rows(x), C = hd_cols(x), dim[HEED_RANK_MAX] = {0};
    heed_tensor *y;

    HD_TRY(hd_check_rows("linear", "x", x));
    if (w->rank != 2)
        return hd_fail(HEED_E_SHAPE, "linear: W is %s, not (O, C)", hd_shape_text(w));
    if (x->rank < 1 || C != w->dim[1])
        return hd_fail(HEED_E_SHAPE, "linear: x is %s, not (N, %" PRId64 ")", hd_shape_text(x),
                       w->dim[1]);
    if (w->dtype != x->dtype)
        return hd_fail(HEED_E_ARG, "linear: W and x have different element types");
    HD_TRY(hd_check_vector("linear", "b", b, x, w->dim[0]));
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[i];
    dim[x->rank - 1] = w->dim[0];
    HD_TRY(hd_tensor_new(tape, x->dtype, dim, x->rank, &y));
    if (add) {
        HD_TRY(hd_check_rows("linear", "residual", add));
        HD_TRY(hd_check_same("linear", add, y));
    }

    struct hd_matmul m = {.M = N,
                          .N = w->dim[0],
                          .K = C,
                          .a = x->data,
                          .a_row = hd_row_stride(x),
                          .a_col = 1,
                          .b = w->data,
                          .b_row = 1,
                          .b_col = hd_row_stride(w),
                          .c = y->data,
                          .c_row = w->dim[0],
                          .bias = b ? b->data : NULL,
                          .add = add ? add->data : NULL,
                          .add_row = add ? hd_row_stride(add) : 0};
    HD_TRY(hd_matmul(tape, k, &m));
    if (hd_wants_grad(tape, x) || hd_wants_grad(tape, w) || hd_wants_grad(tape, b) ||
        hd_wants_grad(tape, add)) {
        struct linear_record rec = {x, w, b, add, y};
        y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, linear_backward, &rec, sizeof rec));
    }
    *out = y;
    return HEED_OK;
}

heed_status heed_linear(heed_tape *tape, heed_tensor *x, heed_tensor *w, heed_tensor *b,
                        heed_tensor **out)
{
    return linear(tape, x, w, b, NULL, out);
}

heed_status heed_linear_add(heed_tape *tape, heed_tensor *x, heed_tensor *w, heed_tensor *b,
                            heed_tensor *residual, heed_tensor **out)
{
    return linear(tape, x, w, b, residual, out);
}

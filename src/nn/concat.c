/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors side by side along the last axis. */
#include "heed/nn.h"
#include "nn/rows.h"

#include <string.h>

struct concat_record {
    heed_tensor **x; /* a copy in the tape's arena */
    int count;
    heed_tensor *y;
};

/* Columns of y from `at` on, to or from one of its parts. */
struct concat_pass {
    const struct hd_kernels *k;
    void *y, *part;
    int64_t y_cols, part_row, at, cols;
    bool fresh;
};

static heed_status copy_in(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct concat_pass *pass = arg;
    size_t item = pass->k->item_bytes;

    (void)block;
    for (int64_t i = from; i < to; i++)
        memcpy(hd_at(pass->y, item, i * pass->y_cols + pass->at),
               hd_at(pass->part, item, i * pass->part_row), (size_t)pass->cols * item);
    return HEED_OK;
}

static heed_status add_out(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct concat_pass *pass = arg;
    size_t item = pass->k->item_bytes;

    (void)block;
    for (int64_t i = from; i < to; i++) {
        void *dx = hd_at(pass->part, item, i * pass->part_row);
        const void *dy = hd_at(pass->y, item, i * pass->y_cols + pass->at);
        if (pass->fresh)
            memcpy(dx, dy, (size_t)pass->cols * item);
        else
            pass->k->add(dx, dx, dy, (size_t)pass->cols);
    }
    return HEED_OK;
}

static heed_status concat_backward(heed_tape *tape, void *record)
{
    const struct concat_record *rec = record;
    struct concat_pass pass = {
        .k = hd_kernels_of(rec->y), .y = hd_grad_got(rec->y), .y_cols = hd_cols(rec->y)};

    for (int i = 0; pass.y && i < rec->count; i++, pass.at += pass.cols) {
        pass.cols = hd_cols(rec->x[i]);
        pass.part_row = hd_row_stride(rec->x[i]);
        HD_TRY(hd_grad_first(tape, rec->x[i], &pass.part, &pass.fresh));
        if (pass.part)
            HD_TRY(hd_rows_run(tape, hd_rows(rec->x[i]), pass.cols, add_out, &pass));
    }
    hd_grad_spent(tape, rec->y);
    return HEED_OK;
}

static heed_status concat_check(heed_tensor *const *x, int count, int64_t *cols)
{
    if (count < 1)
        return hd_fail(HEED_E_ARG, "concat: %d tensors", count);
    *cols = 0;
    for (int i = 0; i < count; i++) {
        HD_TRY(hd_check_rows("concat", "x", x[i]));
        bool agree = x[i]->rank == x[0]->rank && x[i]->rank > 0;
        for (int d = 0; d + 1 < x[0]->rank; d++)
            agree = agree && x[i]->dim[d] == x[0]->dim[d];
        if (!agree)
            return hd_fail(HEED_E_SHAPE, "concat: %s does not fit beside %s", hd_shape_text(x[i]),
                           hd_shape_text(x[0]));
        if (x[i]->dtype != x[0]->dtype)
            return hd_fail(HEED_E_ARG, "concat: the element types differ");
        *cols += hd_cols(x[i]);
    }
    return HEED_OK;
}

static heed_status concat_record(heed_tape *tape, heed_tensor *const *x, struct concat_record *rec)
{
    bool wanted = false;

    for (int i = 0; i < rec->count; i++)
        wanted = wanted || hd_wants_grad(tape, x[i]);
    if (!wanted)
        return HEED_OK;
    rec->x = hd_arena_alloc(hd_tape_arena(tape), (size_t)rec->count, sizeof *rec->x);
    if (!rec->x)
        return hd_fail(HEED_E_NOMEM, "concat: no memory for a record");
    memcpy(rec->x, x, (size_t)rec->count * sizeof *rec->x);
    rec->y->wants_grad = true;
    return hd_tape_push(tape, concat_backward, rec, sizeof *rec);
}

heed_status heed_concat(heed_tape *tape, heed_tensor *const *x, int count, heed_tensor **out)
{
    struct concat_record rec = {.count = count};
    int64_t dim[HEED_RANK_MAX], cols = 0;

    HD_TRY(concat_check(x, count, &cols));
    memcpy(dim, x[0]->dim, sizeof dim);
    dim[x[0]->rank - 1] = cols;
    HD_TRY(hd_tensor_new(tape, x[0]->dtype, dim, x[0]->rank, &rec.y));
    struct concat_pass pass = {.k = hd_kernels_of(rec.y), .y = rec.y->data, .y_cols = cols};
    for (int i = 0; i < count; i++, pass.at += pass.cols) {
        pass.part = x[i]->data;
        pass.cols = hd_cols(x[i]);
        pass.part_row = hd_row_stride(x[i]);
        HD_TRY(hd_rows_run(tape, hd_rows(x[i]), pass.cols, copy_in, &pass));
    }
    HD_TRY(concat_record(tape, x, &rec));
    *out = rec.y;
    return HEED_OK;
}

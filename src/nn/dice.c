/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations whose slope below is learned for each column: PReLU bends at zero, Dice softly at the
 * column's mean. In the backward Dice needs two sums over all rows before any row's gradient (see
 * kernel.h), so it goes over the rows twice. */
#include "nn/dice.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <math.h>

/* ---- moments */

/* The moments of two sets of rows (Chan, Golub, LeVeque 1979): no sum of squares that cancels. */
static void merge_column(struct hd_moments *to, int64_t c, int64_t rows, double mean, double squares)
{
    double all = (double)(to->rows + rows), apart = mean - to->mean[c];

    to->mean[c] += apart * (double)rows / all;
    to->squares[c] += squares + apart * apart * (double)to->rows * (double)rows / all;
}

/* The kernel sums in the rows' own precision, so that few rows are handed to it at a time. */
#define MOMENT_ROWS INT64_C(256)

void hd_moments_add(const struct hd_kernels *k, struct hd_moments *m, const void *x, int64_t x_row,
                    int64_t rows, int64_t cols, double *scratch)
{
    for (int64_t i = 0; i < rows; i += MOMENT_ROWS) {
        int64_t some = rows - i < MOMENT_ROWS ? rows - i : MOMENT_ROWS;
        k->column_moments(scratch, scratch + cols, hd_at(x, k->item_bytes, i * x_row), x_row, some,
                          (size_t)cols);
        for (int64_t c = 0; c < cols; c++)
            merge_column(m, c, some, hd_get(k, scratch, c), hd_get(k, scratch + cols, c));
        m->rows += some;
    }
}

void hd_moments_merge(struct hd_moments *to, const struct hd_moments *from, int64_t cols)
{
    if (from->rows == 0)
        return;
    for (int64_t c = 0; c < cols; c++)
        merge_column(to, c, from->rows, from->mean[c], from->squares[c]);
    to->rows += from->rows;
}

/* ---- the running averages */

double hd_dice_eps(const heed_dice_opts *opts)
{
    return opts->eps != 0 ? opts->eps : 1e-8;
}

bool hd_dice_is_batch(const heed_tape *tape, const heed_tensor *mean)
{
    return hd_tape_recording(tape) && (!mean || mean->wants_grad);
}

static heed_status check_column(const char *layer, const char *name, const heed_tensor *vector,
                                heed_dtype dtype, int64_t cols)
{
    if (vector->rank != 1 || vector->dim[0] != cols || vector->dtype != dtype ||
        !hd_is_contiguous(vector))
        return hd_fail(HEED_E_SHAPE,
                       "%s: %s is %s, not (%" PRId64 ") and of the input's element type", layer,
                       name, hd_shape_text(vector), cols);
    return HEED_OK;
}

heed_status hd_dice_check(const char *layer, const heed_dice_opts *opts, const heed_tensor *alpha,
                          const heed_tensor *mean, const heed_tensor *var, heed_dtype dtype,
                          int64_t cols)
{
    if (!alpha)
        return hd_fail(HEED_E_ARG, "%s: alpha is missing", layer);
    HD_TRY(check_column(layer, "alpha", alpha, dtype, cols));
    if (!mean != !var)
        return hd_fail(HEED_E_ARG, "%s: of the running mean and variance one is missing", layer);
    if (mean) {
        HD_TRY(check_column(layer, "the running mean", mean, dtype, cols));
        HD_TRY(check_column(layer, "the running variance", var, dtype, cols));
    }
    if (!(hd_dice_eps(opts) > 0) || !isfinite(opts->eps) || !(opts->momentum >= 0) ||
        !(opts->momentum <= 1))
        return hd_fail(HEED_E_ARG, "%s: eps is %g, momentum %g", layer, opts->eps, opts->momentum);
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i])
            return hd_fail(HEED_E_ARG, "%s: a reserved field is set", layer);
    return HEED_OK;
}

void hd_dice_from_batch(const struct hd_kernels *k, const struct hd_moments *m,
                        const heed_dice_opts *opts, heed_tensor *mean, heed_tensor *var,
                        void *center, void *rstd, int64_t cols)
{
    double move = opts->momentum != 0 ? opts->momentum : 0.1;

    for (int64_t c = 0; c < cols; c++) {
        double variance = m->rows ? m->squares[c] / (double)m->rows : 0;
        hd_put(k, center, c, m->mean[c]);
        hd_put(k, rstd, c, 1 / sqrt(variance + hd_dice_eps(opts)));
        if (!mean || m->rows == 0)
            continue;
        double old_mean = hd_get(k, mean->data, c), old_var = hd_get(k, var->data, c);
        hd_put(k, mean->data, c, old_mean + move * (m->mean[c] - old_mean));
        hd_put(k, var->data, c, old_var + move * (variance - old_var));
    }
}

void hd_dice_from_running(const struct hd_kernels *k, const heed_dice_opts *opts,
                          const heed_tensor *mean, const heed_tensor *var, void *center, void *rstd,
                          int64_t cols)
{
    for (int64_t c = 0; c < cols; c++) {
        hd_put(k, center, c, hd_get(k, mean->data, c));
        hd_put(k, rstd, c, 1 / sqrt(hd_get(k, var->data, c) + hd_dice_eps(opts)));
    }
}

/* ---- the layers */

/* PReLU: center is NULL. */
struct gate_record {
    heed_tensor *x, *y, *alpha;
    void *center, *rstd;
    bool batch;
};

struct gate_pass {
    const struct gate_record *rec;
    const struct hd_kernels *k;
    struct hd_moments *block; /* forward: one for each block of rows */
    double *scratch;          /* of a block, two rows */
    const void *dy;
    void *dx, *partial; /* partial: three rows for each block: of dalpha and of dice's sums */
    const void *sum, *product;
    int64_t cols, dx_row;
    bool fresh;
};

static heed_status moment_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct gate_pass *pass = arg;
    const heed_tensor *x = pass->rec->x;

    hd_moments_add(pass->k, &pass->block[block], hd_row(x, pass->k->item_bytes, from),
                   hd_row_stride(x), to - from, pass->cols,
                   pass->scratch + block * HD_MOMENTS_SCRATCH(pass->cols));
    return HEED_OK;
}

static heed_status forward_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct gate_pass *pass = arg;
    const struct gate_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;

    (void)block;
    for (int64_t i = from; i < to; i++) {
        void *y = hd_at(rec->y->data, k->item_bytes, i * pass->cols);
        const void *x = hd_row(rec->x, k->item_bytes, i);
        if (rec->center)
            k->dice(y, x, rec->alpha->data, rec->center, rec->rstd, (size_t)pass->cols);
        else
            k->prelu(y, x, rec->alpha->data, (size_t)pass->cols);
    }
    return HEED_OK;
}

/* Sums over the rows: of alpha's gradient, and Dice's two. */
static heed_status sum_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct gate_pass *pass = arg;
    const struct gate_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    size_t cols = (size_t)pass->cols;
    void *sum[3];

    for (int i = 0; i < 3; i++)
        sum[i] = hd_at(pass->partial, k->item_bytes, (3 * block + i) * pass->cols);
    for (int64_t i = from; i < to; i++)
        k->dice_sums(NULL, sum[0], sum[1], sum[2], hd_at(pass->dy, k->item_bytes, i * pass->cols),
                     hd_row(rec->x, k->item_bytes, i), rec->alpha->data, rec->center, rec->rstd,
                     cols);
    return HEED_OK;
}

/* A row's gradient is written; where one has arrived before, piece by piece beside it, and added. */
#define PIECE 512

static heed_status back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct gate_pass *pass = arg;
    const struct gate_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    double beside[PIECE];

    for (int64_t i = from; i < to; i++)
        for (int64_t c = 0; c < pass->cols; c += PIECE) {
            size_t n = (size_t)(pass->cols - c < PIECE ? pass->cols - c : PIECE);
            const void *x = hd_at(hd_row(rec->x, k->item_bytes, i), k->item_bytes, c);
            const void *dy = hd_at(pass->dy, k->item_bytes, i * pass->cols + c);
            const void *alpha = hd_at(rec->alpha->data, k->item_bytes, c);
            void *dx = pass->dx ? hd_at(pass->dx, k->item_bytes, i * pass->dx_row + c) : NULL;
            void *out = dx && pass->fresh ? dx : beside;
            if (rec->center)
                k->dice_back(out, dy, x, alpha, hd_at(rec->center, k->item_bytes, c),
                             hd_at(rec->rstd, k->item_bytes, c),
                             pass->sum ? hd_at(pass->sum, k->item_bytes, c) : NULL,
                             pass->sum ? hd_at(pass->product, k->item_bytes, c) : NULL, n);
            else
                k->prelu_back(out, hd_at(pass->partial, k->item_bytes, 3 * block * pass->cols + c),
                              dy, x, alpha, n);
            if (dx && !pass->fresh)
                k->add(dx, dx, beside, n);
        }
    return HEED_OK;
}

/* All blocks' partial sums into the first block's. */
static void partials_join(const struct gate_pass *pass, int64_t blocks)
{
    const struct hd_kernels *k = pass->k;
    int64_t three = 3 * pass->cols;

    for (int64_t i = 1; i < blocks; i++)
        k->add(pass->partial, pass->partial, hd_at(pass->partial, k->item_bytes, i * three),
               (size_t)three);
}

static heed_status run_backward(heed_tape *tape, struct gate_pass *pass)
{
    const struct gate_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    int64_t rows = hd_rows(rec->x), cols = pass->cols, blocks = hd_rows_blocks(rows, cols);
    size_t three = (size_t)(3 * cols);
    void *dalpha;

    pass->partial = hd_arena_zalloc(hd_tape_scratch(tape), three * (size_t)(blocks + 1),
                                    k->item_bytes); /* one more: where there are no blocks */
    if (!pass->partial)
        return hd_fail(HEED_E_NOMEM, "dice: no memory for %" PRId64 " partial sums", blocks);
    if (rec->center) {
        HD_TRY(hd_rows_run(tape, rows, cols, sum_rows, pass));
        partials_join(pass, blocks);
        if (rec->batch && rows > 0) {
            void *sums = hd_at(pass->partial, k->item_bytes, cols);
            k->scale(sums, 1.0 / (double)rows, sums, (size_t)(2 * cols));
            pass->sum = sums;
            pass->product = hd_at(sums, k->item_bytes, cols);
        }
    }
    HD_TRY(hd_grad_first(tape, rec->x, &pass->dx, &pass->fresh));
    pass->dx_row = hd_row_stride(rec->x);
    if (pass->dx || !rec->center)
        HD_TRY(hd_rows_run(tape, rows, cols, back_rows, pass));
    if (!rec->center)
        partials_join(pass, blocks);
    HD_TRY(hd_grad(tape, rec->alpha, &dalpha));
    if (dalpha)
        k->add(dalpha, dalpha, pass->partial, (size_t)cols);
    return HEED_OK;
}

static heed_status gate_backward(heed_tape *tape, void *record)
{
    const struct gate_record *rec = record;
    struct gate_pass pass = {.rec = rec,
                             .k = hd_kernels_of(rec->x),
                             .dy = hd_grad_got(rec->y),
                             .cols = hd_cols(rec->x)};

    if (!pass.dy)
        return HEED_OK;
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = run_backward(tape, &pass);
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->y);
    return status;
}

/* The moments of all rows of x, in scratch of the tape. */
static heed_status batch_moments(heed_tape *tape, struct gate_pass *pass, struct hd_moments *all)
{
    int64_t rows = hd_rows(pass->rec->x), cols = pass->cols, blocks = hd_rows_blocks(rows, cols);
    int64_t each = 2 + HD_MOMENTS_SCRATCH(1); /* rows of double */
    hd_arena *scratch = hd_tape_scratch(tape);
    double *numbers = hd_arena_zalloc(scratch, (size_t)((blocks + 1) * each * cols), sizeof *numbers);

    pass->block = hd_arena_alloc(scratch, (size_t)blocks, sizeof *pass->block);
    if (!numbers || !pass->block)
        return hd_fail(HEED_E_NOMEM, "dice: no memory for the moments of %" PRId64 " blocks", blocks);
    *all = (struct hd_moments){0, numbers, numbers + cols};
    for (int64_t i = 0; i < blocks; i++) {
        double *mean = numbers + 2 * (i + 1) * cols;
        pass->block[i] = (struct hd_moments){0, mean, mean + cols};
    }
    pass->scratch = numbers + 2 * (blocks + 1) * cols;
    HD_TRY(hd_rows_run(tape, rows, cols, moment_rows, pass));
    for (int64_t i = 0; i < blocks; i++)
        hd_moments_merge(all, &pass->block[i], cols);
    return HEED_OK;
}

static heed_status find_center(heed_tape *tape, struct gate_record *rec, const heed_dice_opts *opts,
                               heed_tensor *mean, heed_tensor *var)
{
    struct gate_pass pass = {.rec = rec, .k = hd_kernels_of(rec->x), .cols = hd_cols(rec->x)};
    struct hd_moments all;

    rec->center =
        hd_arena_alloc(hd_tape_arena(tape), (size_t)(2 * pass.cols), pass.k->item_bytes);
    if (!rec->center)
        return hd_fail(HEED_E_NOMEM, "dice: no memory for %" PRId64 " columns", pass.cols);
    rec->rstd = hd_at(rec->center, pass.k->item_bytes, pass.cols);
    if (!rec->batch) {
        hd_dice_from_running(pass.k, opts, mean, var, rec->center, rec->rstd, pass.cols);
        return HEED_OK;
    }
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = batch_moments(tape, &pass, &all);
    if (status == HEED_OK)
        hd_dice_from_batch(pass.k, &all, opts, mean, var, rec->center, rec->rstd, pass.cols);
    hd_arena_release(hd_tape_scratch(tape), mark);
    return status;
}

static heed_status gate_forward(heed_tape *tape, struct gate_record *rec, heed_tensor **out)
{
    struct gate_pass pass = {.rec = rec, .k = hd_kernels_of(rec->x), .cols = hd_cols(rec->x)};

    HD_TRY(hd_tensor_like(tape, rec->x, &rec->y));
    HD_TRY(hd_rows_run(tape, hd_rows(rec->x), pass.cols, forward_rows, &pass));
    if (hd_wants_grad(tape, rec->x) || hd_wants_grad(tape, rec->alpha)) {
        rec->y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, gate_backward, rec, sizeof *rec));
    }
    *out = rec->y;
    return HEED_OK;
}

heed_status heed_prelu(heed_tape *tape, heed_tensor *x, heed_tensor *alpha, heed_tensor **out)
{
    struct gate_record rec = {.x = x, .alpha = alpha};

    HD_TRY(hd_check_rows("prelu", "x", x));
    HD_TRY(hd_dice_check("prelu", &(heed_dice_opts){0}, alpha, NULL, NULL, x->dtype, hd_cols(x)));
    return gate_forward(tape, &rec, out);
}

heed_status heed_dice(heed_tape *tape, heed_tensor *x, heed_tensor *alpha, heed_tensor *mean,
                      heed_tensor *var, const heed_dice_opts *opts, heed_tensor **out)
{
    const heed_dice_opts ordinary = {0};
    struct gate_record rec = {.x = x, .alpha = alpha, .batch = hd_dice_is_batch(tape, mean)};

    opts = opts ? opts : &ordinary;
    HD_TRY(hd_check_rows("dice", "x", x));
    HD_TRY(hd_dice_check("dice", opts, alpha, mean, var, x->dtype, hd_cols(x)));
    if (!mean && !rec.batch)
        return hd_fail(HEED_E_ARG, "dice: running averages are missing where the tape records nothing");
    HD_TRY(find_center(tape, &rec, opts, mean, var));
    return gate_forward(tape, &rec, out);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy on the tape: checks, the rows that count, and what backward does with the gradients
 * that cross_entropy_core.c made at forward time. They are the gradients of the loss itself;
 * backward multiplies them by what has arrived at the loss, as a rule 1. */
#include "heed/nn.h"
#include "nn/cross_entropy.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct cross_entropy_record {
    heed_tensor *x, *table, *loss;
    const int64_t *rows; /* N: which rows of x count */
    int64_t N;
    void *dx, *dtable; /* (N, C), (V, C), or NULL */
};

static heed_status cross_entropy_backward(heed_tape *tape, void *record)
{
    const struct cross_entropy_record *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    size_t item = k->item_bytes, C = (size_t)hd_cols(rec->x);
    void *arrived = hd_grad_got(rec->loss), *dx, *dtable;
    bool fresh;

    if (!arrived)
        return HEED_OK;
    double a = k->sum(arrived, 1);
    if (rec->dx) {
        HD_TRY(hd_grad_first(tape, rec->x, &dx, &fresh));
        if (fresh && rec->N < hd_rows(rec->x))
            k->fill(dx, 0, (size_t)hd_count(rec->x));
        for (int64_t n = 0; n < rec->N; n++) {
            void *to = hd_at(dx, item, rec->rows[n] * hd_row_stride(rec->x));
            const void *from = hd_at(rec->dx, item, n * (int64_t)C);
            if (fresh)
                k->scale(to, a, from, C);
            else
                k->axpy(to, a, from, C);
        }
    }
    if (rec->dtable) {
        HD_TRY(hd_grad_first(tape, rec->table, &dtable, &fresh));
        for (int64_t v = 0; v < rec->table->dim[0]; v++) {
            void *to = hd_at(dtable, item, v * hd_row_stride(rec->table));
            const void *from = hd_at(rec->dtable, item, v * (int64_t)C);
            if (fresh)
                k->scale(to, a, from, C);
            else
                k->axpy(to, a, from, C);
        }
    }
    return HEED_OK;
}

static int by_id(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The excluded items, ascending and each once. */
static heed_status sort_excluded(const heed_loss_opts *opts, hd_arena *arena,
                                 struct hd_cross_entropy *ce)
{
    int32_t *ids = hd_arena_alloc(arena, (size_t)opts->excluded_count, sizeof *ids);
    int64_t count = 0;

    if (!ids)
        return hd_fail(HEED_E_NOMEM, "cross entropy: no room for %" PRId64 " excluded items",
                       opts->excluded_count);
    for (int64_t i = 0; i < opts->excluded_count; i++) {
        ids[i] = opts->excluded[i];
        if (ids[i] < 0 || ids[i] >= ce->V)
            return hd_fail(HEED_E_ARG, "cross entropy: excluded item %d is not one of %" PRId64,
                           (int)ids[i], ce->V);
    }
    qsort(ids, (size_t)opts->excluded_count, sizeof *ids, by_id);
    for (int64_t i = 0; i < opts->excluded_count; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            ids[count++] = ids[i];
    if (count >= ce->V)
        return hd_fail(HEED_E_ARG, "cross entropy: all %" PRId64 " items are excluded", ce->V);
    ce->excluded = ids;
    ce->excluded_count = count;
    return HEED_OK;
}

/* The rows that have a label; the labels, close together. */
static heed_status pick_rows(const int32_t *labels, int64_t rows, hd_arena *arena,
                             struct hd_cross_entropy *ce)
{
    int64_t *row = hd_arena_alloc(arena, (size_t)rows, sizeof *row), count = 0;
    int32_t *label = hd_arena_alloc(arena, (size_t)rows, sizeof *label);

    if (!row || !label)
        return hd_fail(HEED_E_NOMEM, "cross entropy: no room for %" PRId64 " labels", rows);
    for (int64_t n = 0; n < rows; n++) {
        if (labels[n] == -1)
            continue;
        if (labels[n] < 0 || labels[n] >= ce->V)
            return hd_fail(HEED_E_ARG, "cross entropy: label %" PRId64 " is %d, not -1 .. %" PRId64,
                           n, (int)labels[n], ce->V - 1);
        if (ce->excluded_count > 0 &&
            bsearch(&labels[n], ce->excluded, (size_t)ce->excluded_count, sizeof labels[n], by_id))
            return hd_fail(HEED_E_ARG,
                           "cross entropy: label %" PRId64 " is item %d, an excluded one", n,
                           (int)labels[n]);
        row[count] = n;
        label[count++] = labels[n];
    }
    ce->N = count;
    ce->rows = row;
    ce->labels = label;
    return HEED_OK;
}

static heed_status check(const heed_tensor *x, const heed_tensor *table, const heed_loss_opts *opts)
{
    HD_TRY(hd_check_rows("cross entropy", "x", x));
    HD_TRY(hd_check_rows("cross entropy", "table", table));
    if (table->rank != 2 || x->rank < 1 || hd_cols(x) != table->dim[1])
        return hd_fail(HEED_E_SHAPE,
                       "cross entropy: x is %s and the table %s, not (N, C) and (V, C)",
                       hd_shape_text(x), hd_shape_text(table));
    if (x->dtype != table->dtype)
        return hd_fail(HEED_E_ARG, "cross entropy: x and the table have different element types");
    if (table->dim[0] < 1 || table->dim[0] > INT32_MAX)
        return hd_fail(HEED_E_RANGE, "cross entropy: a table of %" PRId64 " rows", table->dim[0]);
    if (!isfinite(opts->weight) || !isfinite(opts->logit_scale))
        return hd_fail(HEED_E_ARG, "cross entropy: weight %g, logit_scale %g are not finite",
                       opts->weight, opts->logit_scale);
    if (!(opts->label_smoothing >= 0 && opts->label_smoothing < 1))
        return hd_fail(HEED_E_ARG, "cross entropy: label_smoothing is %g, not in [0, 1)",
                       opts->label_smoothing);
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i] != 0)
            return hd_fail(HEED_E_ARG, "cross entropy: a reserved field is set");
    return HEED_OK;
}

heed_status heed_cross_entropy(heed_tape *tape, heed_tensor *x, heed_tensor *table,
                               const int32_t *labels, const heed_loss_opts *options,
                               heed_tensor **out)
{
    const struct hd_kernels *k = hd_kernels_of(x);
    const heed_loss_opts opts = options ? *options : (heed_loss_opts){0};
    hd_arena *arena = hd_tape_arena(tape);
    struct hd_cross_entropy ce = {.k = k, .V = table->dim[0], .C = hd_cols(x)};
    heed_tensor *loss;
    double value;

    HD_TRY(check(x, table, &opts));
    if (x->dtype == HEED_F32 && !opts.exact && hd_kernels_bf16()->fast)
        ce.bf16 = hd_kernels_bf16();
    ce.x = x->data, ce.x_row = hd_row_stride(x);
    ce.table = table->data, ce.table_row = hd_row_stride(table);
    ce.scale = opts.logit_scale != 0 ? opts.logit_scale : 1;
    ce.smoothing = opts.label_smoothing;
    ce.weight = opts.weight != 0 ? opts.weight : 1.0 / (double)(hd_rows(x) > 0 ? hd_rows(x) : 1);
    if (opts.excluded_count > 0)
        HD_TRY(sort_excluded(&opts, arena, &ce));
    HD_TRY(pick_rows(labels, hd_rows(x), arena, &ce));

    HD_TRY(hd_tensor_new(tape, x->dtype, NULL, 0, &loss));
    if (hd_wants_grad(tape, x) &&
        !(ce.dx = hd_arena_alloc(arena, (size_t)(ce.N * ce.C), k->item_bytes)))
        return hd_fail(HEED_E_NOMEM, "cross entropy: no room for %" PRId64 " rows", ce.N);
    if (hd_wants_grad(tape, table) &&
        !(ce.dtable = hd_arena_alloc(arena, (size_t)(ce.V * ce.C), k->item_bytes)))
        return hd_fail(HEED_E_NOMEM, "cross entropy: no room for %" PRId64 " items", ce.V);
    HD_TRY(hd_cross_entropy(&ce, hd_tape_scratch(tape), hd_tape_pool(tape), &value));
    k->fill(loss->data, value, 1);
    if (ce.dx || ce.dtable) {
        struct cross_entropy_record rec = {x, table, loss, ce.rows, ce.N, ce.dx, ce.dtable};
        loss->wants_grad = true;
        HD_TRY(hd_tape_push(tape, cross_entropy_backward, &rec, sizeof rec));
    }
    *out = loss;
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses over a label and a few shared negatives, for catalogues too large to be scored whole:
 * sampled softmax (Jean et al. 2015, without the correction for popularity) and gBCE (Petrov,
 * Macdonald 2023, "gSASRec", equations 5 to 9).
 *
 * With s+ the label's logit and s_j those of the negatives that are not the label, per row
 *
 *     softmax   log(exp s+ + sum_j exp s_j) - s+
 *     gBCE      (beta softplus(-s+) + sum_j softplus(s_j)) / (k + 1),
 *               beta = 1 - t (1 - alpha),  alpha = k / (items - 1),  k negatives
 *
 * Negatives are gathered into one matrix, so that all their logits are one product. Forward turns
 * logits into the loss's derivatives by them, in place; backward is two products and a scatter that
 * touches the rows of the table that were named and no others. */
#include "heed/nn.h"
#include "nn/loss.h"
#include "nn/rows.h"
#include "nn/sort.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct place {
    int32_t id, j; /* negative number j */
};

struct sampled {
    heed_tensor *x, *table, *loss;
    int64_t N, C, K;
    const int32_t *labels, *negatives; /* copies in the tape's arena */
    struct place *order;               /* the negatives by id */
    int64_t *left_out, left_out_count; /* numbers of the negatives that are excluded items */
    void *gathered;                    /* (K, C): rows of the table */
    void *slope;                       /* (N, K): logits, then d loss / d (x . e) */
    double *label_slope;               /* N */
    double *partial;                   /* loss of each block */
    double weight, scale, beta;        /* beta: gBCE's; negative: sampled softmax */
};

/* Makes a row of logits a row of slopes; *label is the label's logit, then its slope. Slopes are by
 * the logit; returns the row's loss. */
static double softmax_row(const struct hd_kernels *k, void *row, size_t n, double *label)
{
    double others = k->softmax(row, row, n), top = fmax(*label, others);
    double all = top + log(exp(*label - top) + exp(others - top)), loss = all - *label;

    k->scale(row, exp(others - all), row, n);
    *label = expm1(-loss);
    return loss;
}

static double softplus(double s)
{
    return fmax(s, 0) + log1p(exp(-fabs(s)));
}

static double logistic(double s)
{
    return s < 0 ? exp(s) / (1 + exp(s)) : 1 / (1 + exp(-s));
}

#define STEP 512 /* each factor below is at least 1/2, so a lane's product stays above 2^-512 */
#define LANES 8  /* sums side by side, in an order of their own: the processor adds them at once */

/* sum_j softplus(s_j) with q_j = logistic(s_j) given: max(s, 0) + log(1 + exp(-|s|)), of which the
 * logarithm is -log max(q, 1 - q). One logarithm for all: it is taken of the product. */
#define SOFTPLUS_SUM(name, real)                                                          \
    static double name(const real *s, const real *q, size_t n)                            \
    {                                                                                     \
        double sum[LANES] = {0}, product[LANES] = {1, 1, 1, 1, 1, 1, 1, 1}, total = 0;    \
        size_t i = 0;                                                                     \
        for (; i + LANES <= n; i += LANES)                                                \
            for (size_t l = 0; l < LANES; l++) {                                          \
                double share = (double)q[i + l], rest = 1 - share, up = (double)s[i + l]; \
                sum[l] += up > 0 ? up : 0;                                                \
                product[l] *= share > rest ? share : rest;                                \
            }                                                                             \
        for (; i < n; i++) {                                                              \
            double share = (double)q[i], rest = 1 - share, up = (double)s[i];             \
            sum[0] += up > 0 ? up : 0;                                                    \
            product[0] *= share > rest ? share : rest;                                    \
        }                                                                                 \
        for (size_t l = 0; l < LANES; l++)                                                \
            total += sum[l] - log(product[l]);                                            \
        return total;                                                                     \
    }
SOFTPLUS_SUM(softplus_sum_f32, float)
SOFTPLUS_SUM(softplus_sum_f64, double)

static double gbce_row(const struct hd_kernels *k, void *row, size_t n, double beta, double *label)
{
    double sum = beta * softplus(-*label), q[STEP];

    for (size_t from = 0; from < n; from += STEP) {
        size_t m = n - from < STEP ? n - from : STEP;
        void *s = hd_at(row, k->item_bytes, (int64_t)from);
        k->act[HD_SIGMOID](q, s, m);
        sum += k->item_bytes == sizeof(float) ? softplus_sum_f32(s, (void *)q, m)
                                              : softplus_sum_f64(s, q, m);
        memcpy(s, q, m * k->item_bytes);
    }
    *label = -beta * logistic(-*label);
    return sum;
}

static void put_lowest(void *row, int64_t j, size_t item_bytes)
{
    if (item_bytes == sizeof(float))
        ((float *)row)[j] = -INFINITY;
    else
        ((double *)row)[j] = -(double)INFINITY;
}

/* -INFINITY for the negatives that are this label, or no items. */
static void leave_out(const struct sampled *rec, void *row, int32_t label, size_t item_bytes)
{
    int64_t low = 0, high = rec->K;

    while (low < high) { /* the first in order that is not below the label */
        int64_t middle = (low + high) / 2;
        if (rec->order[middle].id < label)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < rec->K && rec->order[low].id == label; low++)
        put_lowest(row, rec->order[low].j, item_bytes);
    for (int64_t i = 0; i < rec->left_out_count; i++)
        put_lowest(row, rec->left_out[i], item_bytes);
}

static heed_status sampled_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct sampled *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    double sum = 0, share = rec->beta < 0 ? 1 : 1 / (double)(rec->K + 1);

    for (int64_t i = from; i < to; i++) {
        void *row = hd_at(rec->slope, k->item_bytes, i * rec->K);
        int32_t label = rec->labels[i];
        if (label < 0) {
            k->fill(row, 0, (size_t)rec->K);
            rec->label_slope[i] = 0;
            continue;
        }
        double slope =
            rec->scale * k->dot(hd_row(rec->x, k->item_bytes, i),
                                hd_row(rec->table, k->item_bytes, label), (size_t)rec->C);
        k->scale(row, rec->scale, row, (size_t)rec->K);
        leave_out(rec, row, label, k->item_bytes);
        sum += rec->beta < 0 ? softmax_row(k, row, (size_t)rec->K, &slope)
                             : gbce_row(k, row, (size_t)rec->K, rec->beta, &slope);
        k->scale(row, rec->weight * share * rec->scale, row, (size_t)rec->K);
        rec->label_slope[i] = rec->weight * share * rec->scale * slope;
    }
    rec->partial[block] = rec->weight * share * sum;
    return HEED_OK;
}

/* ---- backward */

/* dx += slope E_negatives + label_slope e_label */
static heed_status sampled_dx(heed_tape *tape, const struct sampled *rec)
{
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    int64_t x_row = hd_row_stride(rec->x);
    bool fresh;
    void *dx;

    HD_TRY(hd_grad_first(tape, rec->x, &dx, &fresh));
    if (!dx)
        return HEED_OK;
    struct hd_matmul m = {.M = rec->N,
                          .N = rec->C,
                          .K = rec->K,
                          .a = rec->slope,
                          .a_row = rec->K,
                          .a_col = 1,
                          .b = rec->gathered,
                          .b_row = rec->C,
                          .b_col = 1,
                          .c = dx,
                          .c_row = x_row,
                          .accumulate = !fresh};
    HD_TRY(hd_matmul(tape, k, &m));
    for (int64_t i = 0; i < rec->N; i++)
        if (rec->labels[i] >= 0)
            k->axpy(hd_at(dx, k->item_bytes, i * x_row), rec->label_slope[i],
                    hd_row(rec->table, k->item_bytes, rec->labels[i]), (size_t)rec->C);
    return HEED_OK;
}

/* dE[negative j] += (slope^T x)[j],  dE[label i] += label_slope[i] x[i] */
static heed_status sampled_dtable(heed_tape *tape, const struct sampled *rec)
{
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    hd_arena *scratch = hd_tape_scratch(tape);
    int64_t row = hd_row_stride(rec->table);
    uint8_t *touched;
    void *grad, *part;

    HD_TRY(hd_grad_rows(tape, rec->table, &grad, &touched));
    if (!grad)
        return HEED_OK;
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    part = hd_arena_alloc(scratch, (size_t)(rec->K * rec->C), k->item_bytes);
    if (!part)
        return hd_fail(HEED_E_NOMEM, "sampled loss: no memory for %" PRId64 " negatives", rec->K);
    struct hd_matmul m = {.M = rec->K,
                          .N = rec->C,
                          .K = rec->N,
                          .a = rec->slope,
                          .a_row = 1,
                          .a_col = rec->K,
                          .b = rec->x->data,
                          .b_row = hd_row_stride(rec->x),
                          .b_col = 1,
                          .c = part,
                          .c_row = rec->C};
    heed_status status = hd_matmul(tape, k, &m);
    for (int64_t j = 0; j < rec->K && status == HEED_OK; j++) {
        void *to = hd_at(grad, k->item_bytes, rec->negatives[j] * row);
        k->add(to, to, hd_at(part, k->item_bytes, j * rec->C), (size_t)rec->C);
        if (touched)
            touched[rec->negatives[j]] = 1;
    }
    for (int64_t i = 0; i < rec->N && status == HEED_OK; i++) {
        int32_t label = rec->labels[i];
        if (label < 0)
            continue;
        k->axpy(hd_at(grad, k->item_bytes, label * row), rec->label_slope[i],
                hd_row(rec->x, k->item_bytes, i), (size_t)rec->C);
        if (touched)
            touched[label] = 1;
    }
    hd_arena_release(scratch, mark);
    return status;
}

static heed_status sampled_backward(heed_tape *tape, void *record)
{
    const struct sampled *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    const void *arrived = hd_grad_got(rec->loss);

    if (!arrived)
        return HEED_OK;
    double a = k->sum(arrived, 1);
    if (a != 1) {
        k->scale(rec->slope, a, rec->slope, (size_t)(rec->N * rec->K));
        for (int64_t i = 0; i < rec->N; i++)
            rec->label_slope[i] *= a;
    }
    HD_TRY(sampled_dx(tape, rec));
    return sampled_dtable(tape, rec);
}

/* ---- forward */

static heed_status check_ids(const char *loss, const char *what, const int32_t *ids, int64_t count,
                             int32_t least, int64_t rows)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < least || ids[i] >= rows)
            return hd_fail(HEED_E_RANGE,
                           "%s: %s %" PRIu64 " is %" PRId32 ", not %" PRId32 " to %" PRId64, loss,
                           what, (uint64_t)i, ids[i], least, rows - 1);
    return HEED_OK;
}

static heed_status check(const char *loss, const struct sampled *rec, const int32_t *labels,
                         const int32_t *negatives, const heed_loss_opts *opts)
{
    HD_TRY(hd_check_rows(loss, "x", rec->x));
    if (rec->table->rank != 2 || rec->x->rank < 1 || rec->C != rec->table->dim[1])
        return hd_fail(HEED_E_SHAPE, "%s: x is %s and the table %s, not (N, C) and (V, C)", loss,
                       hd_shape_text(rec->x), hd_shape_text(rec->table));
    if (rec->x->dtype != rec->table->dtype)
        return hd_fail(HEED_E_ARG, "%s: x and the table have different element types", loss);
    if (rec->K < 0 || rec->K > INT32_MAX)
        return hd_fail(HEED_E_ARG, "%s: %" PRId64 " negatives", loss, rec->K);
    HD_TRY(hd_check_loss(loss, opts));
    if (opts->label_smoothing != 0)
        return hd_fail(HEED_E_ARG, "%s: label smoothing needs the whole catalogue", loss);
    HD_TRY(check_ids(loss, "label", labels, rec->N, -1, rec->table->dim[0]));
    return check_ids(loss, "negative", negatives, rec->K, 0, rec->table->dim[0]);
}

static int by_id(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Copies of the ids, the negatives' rows, and memory for what backward needs. */
static heed_status gather(heed_tape *tape, struct sampled *rec, const int32_t *labels,
                          const int32_t *negatives, const heed_loss_opts *opts)
{
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    hd_arena *arena = hd_tape_arena(tape);
    int32_t *ids = hd_arena_alloc(arena, (size_t)(rec->N + rec->K), sizeof *ids);

    rec->order = hd_arena_alloc(arena, (size_t)rec->K, sizeof *rec->order);
    rec->left_out = hd_arena_alloc(arena, (size_t)rec->K, sizeof *rec->left_out);
    rec->gathered = hd_arena_alloc(arena, (size_t)(rec->K * rec->C), k->item_bytes);
    rec->slope = hd_arena_alloc(arena, (size_t)(rec->N * rec->K), k->item_bytes);
    rec->label_slope = hd_arena_alloc(arena, (size_t)rec->N, sizeof *rec->label_slope);
    rec->partial = hd_arena_alloc(arena, (size_t)hd_rows_blocks(rec->N, rec->K + rec->C),
                                  sizeof *rec->partial);
    if (!ids || !rec->order || !rec->left_out || !rec->gathered || !rec->slope ||
        !rec->label_slope || !rec->partial)
        return hd_fail(HEED_E_NOMEM, "sampled loss: no memory for %" PRId64 " rows", rec->N);
    for (int64_t i = 0; i < rec->N; i++)
        ids[i] = labels[i];
    for (int64_t j = 0; j < rec->K; j++) {
        ids[rec->N + j] = negatives[j];
        rec->order[j] = (struct place){negatives[j], (int32_t)j};
        bool out = false;
        for (int64_t e = 0; e < opts->excluded_count; e++)
            out |= negatives[j] == opts->excluded[e];
        if (out)
            rec->left_out[rec->left_out_count++] = j;
        memcpy(hd_at(rec->gathered, k->item_bytes, j * rec->C),
               hd_row(rec->table, k->item_bytes, negatives[j]), (size_t)rec->C * k->item_bytes);
    }
    rec->labels = ids;
    rec->negatives = ids + rec->N;
    hd_sort(rec->order, (size_t)rec->K, sizeof *rec->order, by_id);
    return HEED_OK;
}

static heed_status sampled(heed_tape *tape, const char *name, struct sampled *rec,
                           const int32_t *labels, const int32_t *negatives,
                           const heed_loss_opts *options, heed_tensor **loss)
{
    const heed_loss_opts opts = options ? *options : (heed_loss_opts){0};
    const struct hd_kernels *k = hd_kernels_of(rec->x);
    double value = 0;

    rec->N = hd_rows(rec->x);
    rec->C = hd_cols(rec->x);
    HD_TRY(check(name, rec, labels, negatives, &opts));
    rec->weight = hd_loss_weight(&opts, rec->N);
    rec->scale = opts.logit_scale != 0 ? opts.logit_scale : 1;
    HD_TRY(hd_tensor_new(tape, rec->x->dtype, NULL, 0, &rec->loss));
    HD_TRY(gather(tape, rec, labels, negatives, &opts));
    struct hd_matmul m = {.M = rec->N,
                          .N = rec->K,
                          .K = rec->C,
                          .a = rec->x->data,
                          .a_row = hd_row_stride(rec->x),
                          .a_col = 1,
                          .b = rec->gathered,
                          .b_row = 1,
                          .b_col = rec->C,
                          .c = rec->slope,
                          .c_row = rec->K};
    HD_TRY(hd_matmul(tape, k, &m));
    HD_TRY(hd_rows_run(tape, rec->N, rec->K + rec->C, sampled_rows, rec));
    for (int64_t i = 0; i < hd_rows_blocks(rec->N, rec->K + rec->C); i++)
        value += rec->partial[i];
    k->fill(rec->loss->data, value, 1);
    if (hd_wants_grad(tape, rec->x) || hd_wants_grad(tape, rec->table)) {
        rec->loss->wants_grad = true;
        HD_TRY(hd_tape_push(tape, sampled_backward, rec, sizeof *rec));
    }
    *loss = rec->loss;
    return HEED_OK;
}

heed_status heed_sampled_softmax(heed_tape *tape, heed_tensor *x, heed_tensor *table,
                                 const int32_t *labels, const int32_t *negatives, int64_t count,
                                 const heed_loss_opts *opts, heed_tensor **loss)
{
    struct sampled rec = {.x = x, .table = table, .K = count, .beta = -1};

    return sampled(tape, "sampled_softmax", &rec, labels, negatives, opts, loss);
}

heed_status heed_gbce(heed_tape *tape, heed_tensor *x, heed_tensor *table, const int32_t *labels,
                      const int32_t *negatives, int64_t count, double t, int64_t items,
                      const heed_loss_opts *opts, heed_tensor **loss)
{
    struct sampled rec = {.x = x, .table = table, .K = count};

    if (!(t >= 0 && t <= 1))
        return hd_fail(HEED_E_ARG, "gbce: t is %g, not in [0, 1]", t);
    if (items < 2 || count < 1 || count > items - 1)
        return hd_fail(HEED_E_ARG, "gbce: %" PRId64 " negatives of %" PRId64 " items", count,
                       items);
    rec.beta = 1 - t * (1 - (double)count / (double)(items - 1));
    return sampled(tape, "gbce", &rec, labels, negatives, opts, loss);
}

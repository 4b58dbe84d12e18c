/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain classifier's loss: cross-entropy of softmax(logits) against labels,
 *
 *     log sum_v exp l_v - sum_v q_v l_v,    q = (1 - e) [v = label] + e / classes,
 *
 * e the label smoothing (Szegedy et al. 2016, section 7), v over the classes that are not excluded.
 * The slopes, softmax - q, are made forward; backward only multiplies. */
#include "heed/nn.h"
#include "nn/loss.h"
#include "nn/rows.h"

#include <inttypes.h>

struct softmax_record {
    heed_tensor *logits, *loss;
    const int32_t *labels; /* the caller's: read forward only */
    const int32_t *excluded;
    int64_t excluded_count, N, V;
    void *slope; /* (N, V) */
    double *partial;
    double weight, scale, smoothing, classes;
};

static void put(void *row, size_t item_bytes, int64_t i, double value, bool add)
{
    if (item_bytes == sizeof(float))
        ((float *)row)[i] = (float)value + (add ? ((float *)row)[i] : 0);
    else
        ((double *)row)[i] = value + (add ? ((double *)row)[i] : 0);
}

static heed_status softmax_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct softmax_record *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->logits);
    size_t item = k->item_bytes, V = (size_t)rec->V;
    double sum = 0, hit = 1 - rec->smoothing, miss = rec->smoothing / rec->classes;

    for (int64_t i = from; i < to; i++) {
        void *row = hd_at(rec->slope, item, i * rec->V);
        int32_t label = rec->labels[i];
        if (label < 0) {
            k->fill(row, 0, V);
            continue;
        }
        k->scale(row, rec->scale, hd_row(rec->logits, item, i), V);
        double target = hit * k->sum(hd_at(row, item, label), 1);
        if (miss > 0) { /* the excluded count neither here nor below */
            for (int64_t e = 0; e < rec->excluded_count; e++)
                put(row, item, rec->excluded[e], 0, false);
            target += miss * k->sum(row, V);
        }
        for (int64_t e = 0; e < rec->excluded_count; e++)
            put(row, item, rec->excluded[e], -(double)INFINITY, false);
        sum += k->softmax(row, row, V) - target;
        if (miss > 0) {
            for (size_t v = 0; v < V; v++)
                put(row, item, (int64_t)v, -miss, true);
            for (int64_t e = 0; e < rec->excluded_count; e++)
                put(row, item, rec->excluded[e], 0, false);
        }
        put(row, item, label, -hit, true);
        k->scale(row, rec->weight * rec->scale, row, V);
    }
    rec->partial[block] = rec->weight * sum;
    return HEED_OK;
}

static heed_status softmax_backward(heed_tape *tape, void *record)
{
    const struct softmax_record *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->logits);
    const void *arrived = hd_grad_got(rec->loss);
    bool fresh;
    void *dx;

    if (!arrived)
        return HEED_OK;
    HD_TRY(hd_grad_first(tape, rec->logits, &dx, &fresh));
    double a = k->sum(arrived, 1);
    for (int64_t i = 0; dx && i < rec->N; i++)
        (fresh ? k->scale : k->axpy)(hd_at(dx, k->item_bytes, i * hd_row_stride(rec->logits)), a,
                                     hd_at(rec->slope, k->item_bytes, i * rec->V), (size_t)rec->V);
    return HEED_OK;
}

static heed_status check(const struct softmax_record *rec, const heed_loss_opts *opts)
{
    HD_TRY(hd_check_rows("softmax_loss", "logits", rec->logits));
    HD_TRY(hd_check_loss("softmax_loss", opts));
    if (rec->logits->rank < 1 || rec->V < 1)
        return hd_fail(HEED_E_SHAPE, "softmax_loss: logits are %s, not (N, V)",
                       hd_shape_text(rec->logits));
    for (int64_t e = 0; e < rec->excluded_count; e++)
        if (rec->excluded[e] < 0 || rec->excluded[e] >= rec->V)
            return hd_fail(HEED_E_RANGE, "softmax_loss: excluded class %" PRId32 " of %" PRId64,
                           rec->excluded[e], rec->V);
    for (int64_t i = 0; i < rec->N; i++) {
        int32_t label = rec->labels[i];
        if (label < -1 || label >= rec->V)
            return hd_fail(HEED_E_RANGE,
                           "softmax_loss: label %" PRId64 " is %" PRId32 ", not -1 to %" PRId64, i,
                           label, rec->V - 1);
        for (int64_t e = 0; e < rec->excluded_count; e++)
            if (label == rec->excluded[e])
                return hd_fail(HEED_E_ARG,
                               "softmax_loss: label %" PRId64 " is %" PRId32 ", an excluded class",
                               i, label);
    }
    return HEED_OK;
}

/* Excluded classes that are named twice are one. */
static int64_t classes_left(const struct softmax_record *rec)
{
    int64_t classes = rec->V;

    for (int64_t e = 0; e < rec->excluded_count; e++) {
        bool again = false;
        for (int64_t f = 0; f < e; f++)
            again |= rec->excluded[f] == rec->excluded[e];
        classes -= !again;
    }
    return classes;
}

heed_status heed_softmax_loss(heed_tape *tape, heed_tensor *logits, const int32_t *labels,
                              const heed_loss_opts *options, heed_tensor **loss)
{
    const heed_loss_opts opts = options ? *options : (heed_loss_opts){0};
    const struct hd_kernels *k = hd_kernels_of(logits);
    struct softmax_record rec = {.logits = logits,
                                 .labels = labels,
                                 .excluded = opts.excluded,
                                 .excluded_count = opts.excluded_count,
                                 .N = hd_rows(logits),
                                 .V = hd_cols(logits),
                                 .scale = opts.logit_scale != 0 ? opts.logit_scale : 1,
                                 .smoothing = opts.label_smoothing};
    double value = 0;

    HD_TRY(check(&rec, &opts));
    rec.weight = hd_loss_weight(&opts, rec.N);
    rec.classes = (double)classes_left(&rec);
    HD_TRY(hd_tensor_new(tape, logits->dtype, NULL, 0, &rec.loss));
    int64_t blocks = hd_rows_blocks(rec.N, rec.V);
    rec.slope = hd_arena_alloc(hd_tape_arena(tape), (size_t)(rec.N * rec.V), k->item_bytes);
    rec.partial = hd_arena_alloc(hd_tape_arena(tape), (size_t)blocks, sizeof *rec.partial);
    if (!rec.slope || !rec.partial)
        return hd_fail(HEED_E_NOMEM, "softmax_loss: no memory for %s", hd_shape_text(logits));
    HD_TRY(hd_rows_run(tape, rec.N, rec.V, softmax_rows, &rec));
    for (int64_t i = 0; i < blocks; i++)
        value += rec.partial[i];
    k->fill(rec.loss->data, value, 1);
    if (hd_wants_grad(tape, logits)) {
        rec.loss->wants_grad = true;
        HD_TRY(hd_tape_push(tape, softmax_backward, &rec, sizeof rec));
    }
    *loss = rec.loss;
    return HEED_OK;
}

int64_t heed_logits_right(const heed_tensor *logits, const int32_t *labels)
{
    const struct hd_kernels *k = hd_kernels_of(logits);
    int64_t right = 0, N = hd_rows(logits), V = hd_cols(logits);

    for (int64_t i = 0; i < N; i++) {
        const void *row = hd_row(logits, k->item_bytes, i);
        if (labels[i] >= 0 && labels[i] < V)
            right += hd_get(k, row, labels[i]) >= k->max(row, (size_t)V);
    }
    return right;
}

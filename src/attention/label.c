/* SPDX-License-Identifier: Apache-2.0
 *
 * Label-aware attention: a target chooses among a reader's interests. Few numbers per history, so one
 * thread goes over them in order. */
#include "heed/attention.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <math.h>

struct label_record {
    heed_tensor *v, *e, *out, *weights, *scores; /* scores (B, K): <v, e> */
    double power;
    const int64_t *counts;
};

static int64_t count_of(const struct label_record *rec, int64_t b)
{
    return rec->counts ? rec->counts[b] : rec->v->dim[1];
}

static void *interest(const struct label_record *rec, void *data, int64_t b, int64_t i)
{
    const heed_tensor *v = rec->v;
    return hd_at(data, hd_kernels_of(v)->item_bytes, (b * v->dim[1] + i) * hd_row_stride(v));
}

static void *target(const struct label_record *rec, void *data, int64_t b)
{
    return hd_at(data, hd_kernels_of(rec->e)->item_bytes, b * hd_row_stride(rec->e));
}

static double raised(const struct label_record *rec, double s)
{
    return copysign(pow(fabs(s), rec->power), s);
}

/* Is it the largest score alone that counts? Also where its power is beyond a double, which then
 * dwarfs every other. */
static bool is_hard(const struct label_record *rec, double largest)
{
    return isinf(rec->power) || isinf(raised(rec, largest));
}

/* Weights (n) from scores, relative to the largest. */
static void weigh(const struct label_record *rec, void *w, const void *scores, int64_t n)
{
    const struct hd_kernels *k = hd_kernels_of(rec->v);
    int64_t best = 0;
    double sum = 0;
    for (int64_t i = 1; i < n; i++)
        if (hd_get(k, scores, i) > hd_get(k, scores, best))
            best = i;
    double largest = n > 0 ? hd_get(k, scores, best) : 0, top = raised(rec, largest);
    bool hard = is_hard(rec, largest);
    for (int64_t i = 0; i < n; i++) {
        double x = hard ? i == best : exp(raised(rec, hd_get(k, scores, i)) - top);
        hd_put(k, w, i, x);
        sum += x;
    }
    for (int64_t i = 0; i < n; i++)
        hd_put(k, w, i, hd_get(k, w, i) / sum);
}

static void forward(const struct label_record *rec)
{
    const heed_tensor *v = rec->v;
    const struct hd_kernels *k = hd_kernels_of(v);
    int64_t K = v->dim[1];
    size_t C = (size_t)v->dim[2];
    for (int64_t b = 0; b < v->dim[0]; b++) {
        void *scores = hd_at(rec->scores->data, k->item_bytes, b * K);
        void *w = hd_at(rec->weights->data, k->item_bytes, b * K);
        void *out = hd_at(rec->out->data, k->item_bytes, b * v->dim[2]);
        int64_t n = count_of(rec, b);
        for (int64_t i = 0; i < n; i++)
            hd_put(k, scores, i, k->dot(interest(rec, v->data, b, i), target(rec, rec->e->data, b), C));
        weigh(rec, w, scores, n);
        for (int64_t i = 0; i < n; i++)
            k->axpy(out, hd_get(k, w, i), interest(rec, v->data, b, i), C);
    }
}

/* ds_k = w_k (dw_k - sum w dw) power |s_k|^(power - 1), 0 where the choice is hard. */
static double score_gradient(const struct label_record *rec, double w, double dw, double mean, double s)
{
    return w == 0 || is_hard(rec, s) ? 0 : w * (dw - mean) * rec->power * pow(fabs(s), rec->power - 1);
}

static heed_status label_backward(heed_tape *tape, void *record)
{
    const struct label_record *rec = record;
    const heed_tensor *v = rec->v;
    const struct hd_kernels *k = hd_kernels_of(v);
    const void *dout = hd_grad_got(rec->out);
    int64_t K = v->dim[1];
    size_t C = (size_t)v->dim[2];
    void *dv, *de;
    if (!dout)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->v, &dv));
    HD_TRY(hd_grad(tape, rec->e, &de));
    for (int64_t b = 0; b < v->dim[0]; b++) {
        const void *d = hd_at(dout, k->item_bytes, b * v->dim[2]), *e = target(rec, rec->e->data, b);
        double mean = 0;
        for (int64_t i = 0; i < count_of(rec, b); i++)
            mean += hd_get(k, rec->weights->data, b * K + i) *
                    k->dot(d, interest(rec, v->data, b, i), C);
        for (int64_t i = 0; i < count_of(rec, b); i++) {
            const void *row = interest(rec, v->data, b, i);
            double w = hd_get(k, rec->weights->data, b * K + i);
            double ds = score_gradient(rec, w, k->dot(d, row, C), mean,
                                       hd_get(k, rec->scores->data, b * K + i));
            if (dv) {
                k->axpy(interest(rec, dv, b, i), w, d, C);
                k->axpy(interest(rec, dv, b, i), ds, e, C);
            }
            if (de)
                k->axpy(target(rec, de, b), ds, row, C);
        }
    }
    return HEED_OK;
}

static heed_status check(const struct label_record *rec)
{
    const heed_tensor *v = rec->v, *e = rec->e;
    if (v->rank != 3 || e->rank != 2 || v->dim[0] != e->dim[0] || v->dim[2] != e->dim[1] ||
        v->dtype != e->dtype || !hd_is_rows(v) || !hd_is_rows(e))
        return hd_fail(HEED_E_SHAPE, "label_attention: interests are %s and targets %s; both rows of "
                       "one element type", hd_shape_text(v), hd_shape_text(e));
    if (!(rec->power >= 1))
        return hd_fail(HEED_E_ARG, "label_attention: the power is %g, not 1 or more", rec->power);
    for (int64_t b = 0; rec->counts && b < v->dim[0]; b++)
        if (rec->counts[b] < 0 || rec->counts[b] > v->dim[1])
            return hd_fail(HEED_E_ARG, "label_attention: count %" PRId64 " of history %" PRId64
                           " is not in 0 .. %" PRId64, rec->counts[b], b, v->dim[1]);
    return HEED_OK;
}

heed_status heed_label_attention(heed_tape *tape, heed_tensor *v, heed_tensor *e, double power,
                                 const int64_t *counts, heed_tensor **out, heed_tensor **weights)
{
    struct label_record rec = {.v = v, .e = e, .power = power, .counts = counts};
    HD_TRY(check(&rec));
    HD_TRY(heed_tensor_new_in(tape, v->dtype, e->dim, 2, &rec.out));
    HD_TRY(heed_tensor_new_in(tape, v->dtype, v->dim, 2, &rec.weights));
    HD_TRY(heed_tensor_new_in(tape, v->dtype, v->dim, 2, &rec.scores));
    forward(&rec);
    if (hd_wants_grad(tape, v) || hd_wants_grad(tape, e)) {
        rec.out->wants_grad = true;
        HD_TRY(hd_tape_push(tape, label_backward, &rec, sizeof rec));
    }
    *out = rec.out;
    if (weights)
        *weights = rec.weights;
    return HEED_OK;
}

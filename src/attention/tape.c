/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention as an operation of the tape: shapes, the record, and nothing of the arithmetic, which is
 * that of the plain calls. */
#include "attention/dense.h"
#include "attention/scores.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <string.h>

struct attention_record {
    heed_tensor *q, *k, *v, *out, *position, *time, *theta;
    heed_attention_opts opts;
    heed_attention_arrays arrays;
};

/* Strides of batch, row and head: a tensor of rank 3 has no batch. */
static void strides_from(int64_t stride[3], const heed_tensor *x)
{
    int row = x->rank == 4 ? 1 : 0;
    stride[0] = x->rank == 4 ? x->stride[0] : 0;
    stride[1] = x->stride[row];
    stride[2] = x->stride[row + 1];
}

static heed_status check_shapes(const heed_tensor *q, const heed_tensor *k, const heed_tensor *v,
                                const heed_attention_opts *opts)
{
    int rank = opts->offsets ? 3 : 4;
    const heed_tensor *x[] = {q, k, v};
    const char *name[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        if (x[i]->rank != rank)
            return hd_fail(HEED_E_SHAPE, "attention: %s is %s, not of rank %d", name[i],
                           hd_shape_text(x[i]), rank);
        if (x[i]->dtype != q->dtype)
            return hd_fail(HEED_E_SHAPE, "attention: q, k and v differ in element type");
    }
    int64_t H = q->dim[rank - 2], heads = k->dim[rank - 2];
    bool agree = k->dim[rank - 1] == q->dim[rank - 1] && /* D; then H; S and B follow */
                 heads <= H && (heads > 0 ? H % heads == 0 : H == 0);
    for (int d = 0; d < rank - 1; d++)
        agree &= k->dim[d] == v->dim[d] &&
                 (k->dim[d] == q->dim[d] || d == rank - 2 || (rank == 4 && d == 1));
    if (!agree)
        return hd_fail(HEED_E_SHAPE, "attention: q is %s, k %s and v %s", hd_shape_text(q),
                       hd_shape_text(k), hd_shape_text(v));
    if (opts->offsets && opts->sequences >= 0 &&
        opts->offsets[opts->sequences] != q->dim[0])
        return hd_fail(HEED_E_SHAPE, "attention: offsets end at %" PRId64 ", but q is %s",
                       opts->offsets[opts->sequences], hd_shape_text(q));
    return HEED_OK;
}

static heed_status check_table(const heed_tensor *table, const char *name, int64_t H,
                               heed_dtype dtype)
{
    if (table && (table->rank != 2 || table->dim[0] != H || table->dtype != dtype ||
                  !hd_is_contiguous(table)))
        return hd_fail(HEED_E_SHAPE, "attention: the %s bias is %s, not (%" PRId64
                       ", ...), contiguous and of q's element type", name, hd_shape_text(table), H);
    return HEED_OK;
}

/* theta is (H, D, D), or (H, n D); where the score takes none the plain call says so. */
static heed_status check_theta(const heed_tensor *theta, const heed_tensor *q,
                               heed_attention_score score)
{
    if (!theta || (int)score < 0 || score > HEED_SCORE_FEATURES || !hd_score_theta(score, 1))
        return HEED_OK;
    int64_t H = q->dim[q->rank - 2], D = q->dim[q->rank - 1], n = hd_score_theta(score, D);
    bool square = score == HEED_SCORE_BILINEAR;
    const char *name = hd_score_rule(score)->name;
    if (theta->dtype != q->dtype || !hd_is_contiguous(theta))
        return hd_fail(HEED_E_SHAPE, "attention: theta is not contiguous or not of q's element type");
    if (square && (theta->rank != 3 || theta->dim[0] != H || theta->dim[1] != D ||
                   theta->dim[2] != D))
        return hd_fail(HEED_E_SHAPE, "attention: theta is %s; the %s score needs (%" PRId64
                       ", %" PRId64 ", %" PRId64 ")", hd_shape_text(theta), name, H, D, D);
    if (!square && (theta->rank != 2 || theta->dim[0] != H || theta->dim[1] != n))
        return hd_fail(HEED_E_SHAPE, "attention: theta is %s; the %s score needs (%" PRId64
                       ", %" PRId64 ")", hd_shape_text(theta), name, H, n);
    return HEED_OK;
}

/* Scratch of the tape for one call. */
static heed_status take_scratch(heed_tape *tape, const heed_attention_opts *opts,
                                heed_attention_arrays *a, bool backward)
{
    a->scratch_bytes = heed_attention_scratch_bytes(hd_tape_pool(tape), opts, a, backward);
    a->scratch = hd_arena_alloc(hd_tape_scratch(tape), (size_t)a->scratch_bytes, 1);
    if (!a->scratch)
        return hd_fail(HEED_E_NOMEM, "attention: no memory for %" PRIu64 " bytes of scratch",
                       a->scratch_bytes);
    return HEED_OK;
}

/* Where the gradient goes; where nobody asked for it, scratch with the same strides, not zeroed, as
 * what is *fresh. */
static heed_status gradient_of(heed_tape *tape, heed_tensor *x, void **grad, bool *fresh)
{
    HD_TRY(hd_grad_first(tape, x, grad, fresh));
    if (*grad || hd_count(x) == 0)
        return HEED_OK;
    int64_t span = 1;
    for (int i = 0; i < x->rank; i++)
        span += (x->dim[i] - 1) * x->stride[i];
    *grad = hd_arena_alloc(hd_tape_scratch(tape), (size_t)span, x->dtype == HEED_F32 ? 4 : 8);
    if (!*grad)
        return hd_fail(HEED_E_NOMEM, "attention: no memory for a gradient");
    return HEED_OK;
}

/* Gradients of q, k and v are written where all three are new, else added to. */
static heed_status input_gradients(heed_tape *tape, const struct attention_record *rec,
                                   heed_attention_arrays *a)
{
    heed_tensor *x[] = {rec->q, rec->k, rec->v};
    void **grad[] = {&a->dq, &a->dk, &a->dv};
    bool fresh[3], all = true;

    for (int i = 0; i < 3; i++) {
        HD_TRY(gradient_of(tape, x[i], grad[i], &fresh[i]));
        all &= fresh[i] || !hd_wants_grad(tape, x[i]);
    }
    a->accumulate = !all;
    for (int i = 0; i < 3; i++)
        if (fresh[i] && !all)
            hd_grad_clear(x[i]->base ? x[i]->base : x[i]);
    return HEED_OK;
}

static heed_status run_backward(heed_tape *tape, struct attention_record *rec)
{
    heed_attention_arrays a = rec->arrays;
    void *dout;
    HD_TRY(hd_grad(tape, rec->out, &dout));
    if (!dout)
        return HEED_OK;
    a.dout = dout;
    HD_TRY(input_gradients(tape, rec, &a));
    if (rec->position)
        HD_TRY(hd_grad(tape, rec->position, &a.dposition));
    if (rec->time)
        HD_TRY(hd_grad(tape, rec->time, &a.dtime));
    if (rec->theta)
        HD_TRY(hd_grad(tape, rec->theta, &a.dtheta));
    HD_TRY(take_scratch(tape, &rec->opts, &a, true));
    return heed_attention_backward(hd_tape_pool(tape), &rec->opts, &a);
}

static heed_status attention_backward(heed_tape *tape, void *record)
{
    struct attention_record *rec = record;
    if (hd_count(rec->out) == 0)
        return HEED_OK;
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = run_backward(tape, rec);
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->out);
    return status;
}

static heed_status run_forward(heed_tape *tape, const heed_attention_opts *opts,
                               heed_attention_arrays *a)
{
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = take_scratch(tape, opts, a, false);
    if (status == HEED_OK)
        status = heed_attention_forward(hd_tape_pool(tape), opts, a);
    hd_arena_release(hd_tape_scratch(tape), mark);
    a->scratch = NULL, a->scratch_bytes = 0, a->weights = NULL;
    return status;
}

heed_status heed_attention(heed_tape *tape, heed_tensor *q, heed_tensor *k, heed_tensor *v,
                           const heed_attention_learned *learned, const heed_attention_opts *opts,
                           heed_tensor **out, heed_tensor **weights)
{
    const heed_attention_opts ordinary = {0};
    struct attention_record rec = {.q = q, .k = k, .v = v, .opts = opts ? *opts : ordinary};
    heed_attention_arrays *a = &rec.arrays;
    bool ragged = rec.opts.offsets, recording = hd_tape_recording(tape);
    int rank = ragged ? 3 : 4;
    heed_tensor *y, *w = NULL, *lse = NULL;

    HD_TRY(check_shapes(q, k, v, &rec.opts));
    if (rec.opts.method == HEED_METHOD_LSH && k != q)
        return hd_fail(HEED_E_ARG, "attention: the LSH method takes its keys from q: k must be the "
                       "same tensor");
    rec.position = learned ? learned->position : NULL;
    rec.time = learned ? learned->time : NULL;
    rec.theta = learned ? learned->theta : NULL;
    a->dtype = q->dtype;
    a->B = ragged ? rec.opts.sequences : q->dim[0];
    a->T = q->dim[rank - 3], a->S = k->dim[rank - 3], a->H = q->dim[rank - 2];
    a->kv_heads = k->dim[rank - 2];
    a->D = q->dim[rank - 1], a->E = v->dim[rank - 1];
    HD_TRY(check_table(rec.position, "position", a->H, q->dtype));
    HD_TRY(check_table(rec.time, "time", a->H, q->dtype));
    HD_TRY(check_theta(rec.theta, q, rec.opts.score));
    if (weights && ragged && a->B > 1)
        return hd_fail(HEED_E_SHAPE, "attention: weights of %" PRId64
                       " ragged sequences; 1 is the most", a->B);
    if (!recording)
        rec.opts.dropout = 0;

    int64_t dim[HEED_RANK_MAX] = {q->dim[0], q->dim[1], q->dim[2], q->dim[3]};
    dim[rank - 1] = a->E;
    HD_TRY(hd_tensor_new(tape, q->dtype, dim, rank, &y));
    if (weights)
        HD_TRY(heed_tensor_new_in(tape, q->dtype, (int64_t[]){a->B, a->H, a->T, a->S}, 4, &w));
    bool wanted = hd_wants_grad(tape, q) || hd_wants_grad(tape, k) || hd_wants_grad(tape, v) ||
                  (rec.position && hd_wants_grad(tape, rec.position)) ||
                  (rec.time && hd_wants_grad(tape, rec.time)) ||
                  (rec.theta && hd_wants_grad(tape, rec.theta));
    int64_t rows = ragged ? a->T : a->B * a->T;
    if (wanted && rec.opts.weight == HEED_WEIGHT_SOFTMAX)
        HD_TRY(hd_tensor_new(tape, q->dtype, (int64_t[]){a->H, rows}, 2, &lse));

    a->q = q->data, a->k = k->data, a->v = v->data, a->out = y->data;
    strides_from(a->q_stride, q);
    strides_from(a->k_stride, k);
    strides_from(a->v_stride, v);
    strides_from(a->out_stride, y);
    a->lse = lse ? lse->data : NULL;
    a->weights = w ? w->data : NULL;
    if (rec.position)
        a->position = rec.position->data, a->P = rec.position->dim[1];
    if (rec.time)
        a->time = rec.time->data, a->W = rec.time->dim[1];
    if (rec.theta)
        a->theta = rec.theta->data;
    if (rec.opts.dropout > 0)
        a->dropout_key = hd_tape_random_key(tape);
    HD_TRY(hd_attention_check(&rec.opts, a, false)); /* where nothing is computed, too */
    if (hd_count(y) > 0)
        HD_TRY(run_forward(tape, &rec.opts, a));
    if (wanted) {
        y->wants_grad = true;
        rec.out = y;
        HD_TRY(hd_tape_push(tape, attention_backward, &rec, sizeof rec));
    }
    *out = y;
    if (weights)
        *weights = w;
    return HEED_OK;
}

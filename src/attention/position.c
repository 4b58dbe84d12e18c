/* SPDX-License-Identifier: Apache-2.0
 *
 * What any form of attention can take: sinusoidal positions, a soft span as a position bias, and a
 * temperature that a query learns for itself. */
#include "heed/attention.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <math.h>

/* ---- sinusoidal positions */

heed_status heed_sinusoidal(heed_dtype dtype, int64_t first, int64_t T, int64_t C, void *table)
{
    if (dtype != HEED_F32 && dtype != HEED_F64)
        return hd_fail(HEED_E_ARG, "sinusoidal: there is no element type %d", (int)dtype);
    if (T < 0 || T > INT32_MAX || C < 0 || C > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "sinusoidal: a table of (%" PRId64 ", %" PRId64 ")", T, C);
    if (!table && T * C > 0)
        return hd_fail(HEED_E_ARG, "sinusoidal: the table is missing");
    size_t item = dtype == HEED_F32 ? sizeof(float) : sizeof(double);
    for (int64_t c = 0; c < C; c++) {
        double rate = pow(10000, -(double)(c - c % 2) / (double)C);
        for (int64_t t = 0; t < T; t++) {
            double angle = (double)(first + t) * rate;
            hd_set_number(table, item, t * C + c, c % 2 ? cos(angle) : sin(angle));
        }
    }
    return HEED_OK;
}

/* ---- soft span */

struct span_record {
    heed_tensor *span, *table;
    double ramp;
};

/* m(x) before it is cut to 0 .. 1. */
static double share(const struct span_record *rec, int64_t h, int64_t x)
{
    double span = hd_get(hd_kernels_of(rec->span), rec->span->data, h);
    return (rec->ramp + span - (double)x) / rec->ramp;
}

/* d log m / d span = 1 / (ramp m) on the ramp. */
static heed_status span_backward(heed_tape *tape, void *record)
{
    const struct span_record *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->span);
    const void *dtable = hd_grad_got(rec->table);
    int64_t P = rec->table->dim[1];
    void *dspan;
    if (!dtable)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->span, &dspan));
    for (int64_t h = 0; dspan && h < rec->span->dim[0]; h++) {
        double sum = hd_get(k, dspan, h);
        for (int64_t x = P - 1; x >= 0; x--) {
            double m = share(rec, h, x);
            if (m > 0 && m < 1)
                sum += hd_get(k, dtable, h * P + P - 1 - x) / (rec->ramp * m);
        }
        hd_put(k, dspan, h, sum);
    }
    return HEED_OK;
}

heed_status heed_soft_span(heed_tape *tape, heed_tensor *span, double ramp, int64_t P,
                           heed_tensor **table)
{
    struct span_record rec = {.span = span, .ramp = ramp};
    if (span->rank != 1)
        return hd_fail(HEED_E_SHAPE, "soft_span: span is %s, not (H)", hd_shape_text(span));
    if (P < 1 || P > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "soft_span: a table of %" PRId64 " positions", P);
    if (!(ramp > 0 && isfinite(ramp)))
        return hd_fail(HEED_E_ARG, "soft_span: ramp is %g, not a positive number", ramp);
    HD_TRY(hd_tensor_new(tape, span->dtype, (int64_t[]){span->dim[0], P}, 2, &rec.table));
    for (int64_t h = 0; h < span->dim[0]; h++)
        for (int64_t x = 0; x < P; x++) {
            double m = share(&rec, h, x), kept = m <= 0 ? -(double)INFINITY : m >= 1 ? 0 : log(m);
            hd_put(hd_kernels_of(span), rec.table->data, h * P + P - 1 - x, kept);
        }
    if (hd_wants_grad(tape, span)) {
        rec.table->wants_grad = true;
        HD_TRY(hd_tape_push(tape, span_backward, &rec, sizeof rec));
    }
    *table = rec.table;
    return HEED_OK;
}

/* ---- temperature */

struct temper_record {
    heed_tensor *q, *w, *b, *y;
};

/* One pass over rows (position, head); partial: H (D + 1) numbers per block, dw then db. */
struct temper_pass {
    const struct temper_record *rec;
    const struct hd_kernels *k;
    const void *dy;
    void *dq, *partial;
};

/* Where row (n, h) stands in q and in its gradient, in elements. */
static int64_t place(const heed_tensor *q, int64_t n, int64_t h)
{
    int row = q->rank - 3;
    int64_t T = q->dim[row], b = q->rank == 4 ? n / T : 0;
    return (q->rank == 4 ? b * q->stride[0] : 0) + (n - b * T) * q->stride[row] +
           h * q->stride[row + 1];
}

static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* w[h] . q + b[h] */
static double warmth(const struct temper_pass *pass, const void *q, int64_t h)
{
    const heed_tensor *w = pass->rec->w;
    size_t D = (size_t)w->dim[1];
    return pass->k->dot(hd_at(w->data, pass->k->item_bytes, h * w->stride[0]), q, D) +
           hd_get(pass->k, pass->rec->b->data, h);
}

static heed_status temper_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct temper_pass *pass = arg;
    const heed_tensor *q = pass->rec->q;
    size_t item = pass->k->item_bytes;
    int64_t H = pass->rec->w->dim[0], D = pass->rec->w->dim[1];
    (void)block;
    for (int64_t n = from; n < to; n++)
        for (int64_t h = 0; h < H; h++) {
            const void *x = hd_at(q->data, item, place(q, n, h));
            pass->k->scale(hd_at(pass->rec->y->data, item, (n * H + h) * D),
                           softplus(warmth(pass, x, h)), x, (size_t)D);
        }
    return HEED_OK;
}

/* With a = w . q + b, f = softplus(a), g = (dy . q) sigmoid(a):
 * dq += f dy + g w,  dw += g q,  db += g. */
static heed_status temper_back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct temper_pass *pass = arg;
    const struct temper_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    int64_t H = rec->w->dim[0], D = rec->w->dim[1];
    void *dw = hd_at(pass->partial, k->item_bytes, block * H * (D + 1));
    void *db = hd_at(dw, k->item_bytes, H * D);
    k->fill(dw, 0, (size_t)(H * (D + 1)));
    for (int64_t n = from; n < to; n++)
        for (int64_t h = 0; h < H; h++) {
            int64_t at = place(rec->q, n, h);
            const void *x = hd_at(rec->q->data, k->item_bytes, at);
            const void *dy = hd_at(pass->dy, k->item_bytes, (n * H + h) * D);
            double a = warmth(pass, x, h), g = k->dot(dy, x, (size_t)D) * sigmoid(a);
            if (pass->dq) {
                void *dq = hd_at(pass->dq, k->item_bytes, at);
                k->axpy(dq, softplus(a), dy, (size_t)D);
                k->axpy(dq, g, hd_at(rec->w->data, k->item_bytes, h * rec->w->stride[0]),
                        (size_t)D);
            }
            k->axpy(hd_at(dw, k->item_bytes, h * D), g, x, (size_t)D);
            hd_put(k, db, h, hd_get(k, db, h) + g);
        }
    return HEED_OK;
}

/* The blocks' sums, in order. */
static heed_status temper_reduce(heed_tape *tape, const struct temper_pass *pass, int64_t blocks)
{
    const struct temper_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    int64_t H = rec->w->dim[0], D = rec->w->dim[1];
    void *dw, *db;
    HD_TRY(hd_grad(tape, rec->w, &dw));
    HD_TRY(hd_grad(tape, rec->b, &db));
    for (int64_t i = 0; i < blocks; i++) {
        const void *part = hd_at(pass->partial, k->item_bytes, i * H * (D + 1));
        for (int64_t h = 0; dw && h < H; h++) {
            void *row = hd_at(dw, k->item_bytes, h * rec->w->stride[0]);
            k->add(row, row, hd_at(part, k->item_bytes, h * D), (size_t)D);
        }
        if (db)
            k->add(db, db, hd_at(part, k->item_bytes, H * D), (size_t)H);
    }
    return HEED_OK;
}

static int64_t temper_count(const heed_tensor *q)
{
    return q->rank == 4 ? q->dim[0] * q->dim[1] : q->dim[0];
}

static heed_status temper_backward(heed_tape *tape, void *record)
{
    const struct temper_record *rec = record;
    struct temper_pass pass = {.rec = rec, .k = hd_kernels_of(rec->q), .dy = hd_grad_got(rec->y)};
    int64_t N = temper_count(rec->q), H = rec->w->dim[0], D = rec->w->dim[1];
    int64_t blocks = hd_rows_blocks(N, H * D);
    if (!pass.dy)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->q, &pass.dq));
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    pass.partial = hd_arena_alloc(hd_tape_scratch(tape), (size_t)(blocks * H * (D + 1)),
                                  pass.k->item_bytes);
    heed_status status = pass.partial ? HEED_OK
                                      : hd_fail(HEED_E_NOMEM, "temper: no memory for %" PRId64
                                                " partial sums", blocks);
    if (status == HEED_OK)
        status = hd_rows_run(tape, N, H * D, temper_back_rows, &pass);
    if (status == HEED_OK)
        status = temper_reduce(tape, &pass, blocks);
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->y);
    return status;
}

heed_status heed_temper(heed_tape *tape, heed_tensor *q, heed_tensor *w, heed_tensor *b,
                        heed_tensor **out)
{
    struct temper_record rec = {.q = q, .w = w, .b = b};
    if (q->rank != 3 && q->rank != 4)
        return hd_fail(HEED_E_SHAPE, "temper: q is %s, not (N, H, D) or (B, T, H, D)",
                       hd_shape_text(q));
    int64_t H = q->dim[q->rank - 2], D = q->dim[q->rank - 1];
    if (w->rank != 2 || w->dim[0] != H || w->dim[1] != D || b->rank != 1 || b->dim[0] != H)
        return hd_fail(HEED_E_SHAPE, "temper: q is %s, w %s and b %s, not (H, D) and (H)",
                       hd_shape_text(q), hd_shape_text(w), hd_shape_text(b));
    if (w->dtype != q->dtype || b->dtype != q->dtype)
        return hd_fail(HEED_E_ARG, "temper: q, w and b differ in element type");
    HD_TRY(hd_tensor_like(tape, q, &rec.y));
    struct temper_pass pass = {.rec = &rec, .k = hd_kernels_of(q)};
    HD_TRY(hd_rows_run(tape, temper_count(q), H * D, temper_rows, &pass));
    if (hd_wants_grad(tape, q) || hd_wants_grad(tape, w) || hd_wants_grad(tape, b)) {
        rec.y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, temper_backward, &rec, sizeof rec));
    }
    *out = rec.y;
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers that treat every number for itself: sums, products, activations, dropout. One record
 * serves all; what differs is a row function forward and one backward.
 *
 * Rows of all operands that follow each other without gaps are run as one long row. */
#include "heed/nn.h"
#include "nn/rows.h"

struct record {
    heed_tensor *x, *y, *out; /* y NULL: one operand */
    int activation;
    double a;     /* scale: the factor; dropout: p */
    uint64_t key; /* dropout */
};

/* n numbers, the first of them number `first` of its tensor. */
typedef void (*forward_fn)(const struct record *rec, const struct hd_kernels *k, void *out,
                           const void *x, const void *y, size_t n, uint64_t first);
/* dx = (fresh) or += its part; dx may be dy where it is fresh. */
typedef void (*back_fn)(const struct record *rec, const struct hd_kernels *k, void *dx,
                        const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                        bool fresh);

struct pass {
    const struct record *rec;
    const struct hd_kernels *k;
    forward_fn forward;
    back_fn back;
    const void *dy; /* of the result, contiguous */
    void *dx;
    int64_t dx_row, cols;
    bool fresh;
};

/* All operands without gaps: rows of this many numbers will do, whatever the shape. */
#define RUN_COLS INT64_C(4096)

static int64_t run_cols(const struct record *rec)
{
    if (hd_is_contiguous(rec->x) && (!rec->y || hd_is_contiguous(rec->y)))
        return RUN_COLS;
    return hd_cols(rec->x);
}

static const void *operand(const heed_tensor *x, const struct pass *pass, int64_t row)
{
    if (!x)
        return NULL;
    return hd_at(x->data, pass->k->item_bytes,
                 row * (hd_is_contiguous(x) ? pass->cols : hd_row_stride(x)));
}

static size_t row_length(const struct pass *pass, int64_t row)
{
    int64_t left = hd_count(pass->rec->x) - row * pass->cols;

    return (size_t)(left < pass->cols ? left : pass->cols);
}

static heed_status forward_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct pass *pass = arg;
    const struct record *rec = pass->rec;

    (void)block;
    for (int64_t i = from; i < to; i++)
        pass->forward(rec, pass->k, hd_at(rec->out->data, pass->k->item_bytes, i * pass->cols),
                      operand(rec->x, pass, i), operand(rec->y, pass, i), row_length(pass, i),
                      (uint64_t)(i * pass->cols));
    return HEED_OK;
}

static heed_status back_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct pass *pass = arg;
    const struct record *rec = pass->rec;
    size_t item = pass->k->item_bytes;

    (void)block;
    for (int64_t i = from; i < to; i++)
        pass->back(rec, pass->k, hd_at(pass->dx, item, i * pass->dx_row),
                   hd_at(pass->dy, item, i * pass->cols), operand(rec->x, pass, i),
                   operand(rec->y, pass, i), row_length(pass, i), (uint64_t)(i * pass->cols),
                   pass->fresh);
    return HEED_OK;
}

static int64_t run_rows(int64_t count, int64_t cols)
{
    return cols > 0 ? (count + cols - 1) / cols : 0;
}

static heed_status forward_run(heed_tape *tape, const struct record *rec, forward_fn forward)
{
    struct pass pass = {
        .rec = rec, .k = hd_kernels_of(rec->x), .forward = forward, .cols = run_cols(rec)};

    return hd_rows_run(tape, run_rows(hd_count(rec->x), pass.cols), pass.cols, forward_rows, &pass);
}

/* The gradient of one operand, `to`, which is rec->x or rec->y. last: dy is not needed any more. */
static heed_status back_run(heed_tape *tape, const struct record *rec, heed_tensor *to,
                            back_fn back, bool last)
{
    struct pass pass = {.rec = rec,
                        .k = hd_kernels_of(rec->x),
                        .back = back,
                        .dy = hd_grad_got(rec->out),
                        .cols = run_cols(rec)};

    if (!pass.dy)
        return HEED_OK;
    if (last)
        HD_TRY(hd_grad_take(tape, rec->out, to, &pass.dx, &pass.fresh));
    else
        HD_TRY(hd_grad_first(tape, to, &pass.dx, &pass.fresh));
    if (!pass.dx)
        return HEED_OK;
    pass.dx_row = hd_is_contiguous(to) ? pass.cols : hd_row_stride(to);
    return hd_rows_run(tape, run_rows(hd_count(rec->x), pass.cols), pass.cols, back_rows, &pass);
}

/* Makes the result, computes it, and records where a gradient is wanted. */
static heed_status apply(heed_tape *tape, const char *layer, struct record *rec, forward_fn forward,
                         hd_backward_fn backward, heed_tensor **out)
{
    HD_TRY(hd_check_rows(layer, "x", rec->x));
    if (rec->y) {
        HD_TRY(hd_check_rows(layer, "y", rec->y));
        HD_TRY(hd_check_same(layer, rec->x, rec->y));
    }
    HD_TRY(hd_tensor_like(tape, rec->x, &rec->out));
    HD_TRY(forward_run(tape, rec, forward));
    if (hd_wants_grad(tape, rec->x) || hd_wants_grad(tape, rec->y)) {
        rec->out->wants_grad = true;
        HD_TRY(hd_tape_push(tape, backward, rec, sizeof *rec));
    }
    *out = rec->out;
    return HEED_OK;
}

/* ---- sum */

static void add_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                        const void *x, const void *y, size_t n, uint64_t first)
{
    (void)rec, (void)first;
    k->add(out, x, y, n);
}

static void add_back(const struct record *rec, const struct hd_kernels *k, void *dx, const void *dy,
                     const void *x, const void *y, size_t n, uint64_t first, bool fresh)
{
    (void)rec, (void)x, (void)y, (void)first;
    if (fresh)
        k->scale(dx, 1, dy, n);
    else
        k->add(dx, dx, dy, n);
}

static heed_status add_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    HD_TRY(back_run(tape, rec, rec->y, add_back, false));
    return hd_grad_hand(tape, rec->out, rec->x);
}

heed_status heed_add(heed_tape *tape, heed_tensor *x, heed_tensor *y, heed_tensor **out)
{
    struct record rec = {.x = x, .y = y};

    return apply(tape, "add", &rec, add_forward, add_backward, out);
}

/* ---- product */

static void mul_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                        const void *x, const void *y, size_t n, uint64_t first)
{
    (void)rec, (void)first;
    k->mul(out, x, y, n);
}

static void mul_back_x(const struct record *rec, const struct hd_kernels *k, void *dx,
                       const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                       bool fresh)
{
    (void)rec, (void)x, (void)first;
    (fresh ? k->mul : k->muladd)(dx, dy, y, n);
}

static void mul_back_y(const struct record *rec, const struct hd_kernels *k, void *dx,
                       const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                       bool fresh)
{
    (void)rec, (void)y, (void)first;
    (fresh ? k->mul : k->muladd)(dx, dy, x, n);
}

static heed_status mul_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    HD_TRY(back_run(tape, rec, rec->x, mul_back_x, false));
    return back_run(tape, rec, rec->y, mul_back_y, true);
}

heed_status heed_mul(heed_tape *tape, heed_tensor *x, heed_tensor *y, heed_tensor **out)
{
    struct record rec = {.x = x, .y = y};

    return apply(tape, "mul", &rec, mul_forward, mul_backward, out);
}

/* ---- multiple */

static void scale_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                          const void *x, const void *y, size_t n, uint64_t first)
{
    (void)y, (void)first;
    k->scale(out, rec->a, x, n);
}

static void scale_back(const struct record *rec, const struct hd_kernels *k, void *dx,
                       const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                       bool fresh)
{
    (void)x, (void)y, (void)first;
    (fresh ? k->scale : k->axpy)(dx, rec->a, dy, n);
}

static heed_status scale_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    return back_run(tape, rec, rec->x, scale_back, true);
}

heed_status heed_scale(heed_tape *tape, heed_tensor *x, double a, heed_tensor **out)
{
    struct record rec = {.x = x, .a = a};

    return apply(tape, "scale", &rec, scale_forward, scale_backward, out);
}

/* ---- activations */

static void act_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                        const void *x, const void *y, size_t n, uint64_t first)
{
    (void)y, (void)first;
    k->act[rec->activation](out, x, n);
}

#define STEP 512 /* numbers at a time: scratch on the stack, in the first cache */

static void act_back(const struct record *rec, const struct hd_kernels *k, void *dx, const void *dy,
                     const void *x, const void *y, size_t n, uint64_t first, bool fresh)
{
    double scratch[STEP];

    (void)y, (void)first;
    if (fresh)
        k->act_back[rec->activation](dx, dy, x, n);
    for (size_t i = 0; !fresh && i < n; i += STEP) {
        size_t bytes = i * k->item_bytes, m = n - i < STEP ? n - i : STEP;
        k->act_back[rec->activation](scratch, (const char *)dy + bytes, (const char *)x + bytes, m);
        k->add((char *)dx + bytes, (char *)dx + bytes, scratch, m);
    }
}

static heed_status act_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    return back_run(tape, rec, rec->x, act_back, true);
}

static heed_status activation(heed_tape *tape, const char *layer, enum hd_activation act,
                              heed_tensor *x, heed_tensor **out)
{
    struct record rec = {.x = x, .activation = act};

    return apply(tape, layer, &rec, act_forward, act_backward, out);
}

heed_status heed_relu(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return activation(tape, "relu", HD_RELU, x, out);
}

heed_status heed_gelu(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return activation(tape, "gelu", HD_GELU, x, out);
}

heed_status heed_silu(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return activation(tape, "silu", HD_SILU, x, out);
}

heed_status heed_sigmoid(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return activation(tape, "sigmoid", HD_SIGMOID, x, out);
}

heed_status heed_tanh(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return activation(tape, "tanh", HD_TANH, x, out);
}

/* ---- SwiGLU: out = SiLU(x) y, x the gate. SiLU(x) is made again in the backward: it is cheaper
 * than keeping it. */

static void swiglu_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                           const void *x, const void *y, size_t n, uint64_t first)
{
    (void)rec, (void)first;
    k->act[HD_SILU](out, x, n);
    k->mul(out, out, y, n);
}

static void swiglu_back_gate(const struct record *rec, const struct hd_kernels *k, void *dx,
                             const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                             bool fresh)
{
    double scratch[STEP];

    (void)rec, (void)first;
    for (size_t i = 0; i < n; i += STEP) {
        size_t bytes = i * k->item_bytes, m = n - i < STEP ? n - i : STEP;
        void *to = fresh ? (char *)dx + bytes : (void *)scratch;
        k->mul(to, (const char *)dy + bytes, (const char *)y + bytes, m);
        k->act_back[HD_SILU](to, to, (const char *)x + bytes, m);
        if (!fresh)
            k->add((char *)dx + bytes, (char *)dx + bytes, scratch, m);
    }
}

static void swiglu_back_up(const struct record *rec, const struct hd_kernels *k, void *dx,
                           const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                           bool fresh)
{
    double scratch[STEP];

    (void)rec, (void)first, (void)y;
    for (size_t i = 0; i < n; i += STEP) {
        size_t bytes = i * k->item_bytes, m = n - i < STEP ? n - i : STEP;
        k->act[HD_SILU](scratch, (const char *)x + bytes, m);
        (fresh ? k->mul : k->muladd)((char *)dx + bytes, (const char *)dy + bytes, scratch, m);
    }
}

static heed_status swiglu_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    HD_TRY(back_run(tape, rec, rec->x, swiglu_back_gate, false));
    return back_run(tape, rec, rec->y, swiglu_back_up, true);
}

heed_status heed_swiglu(heed_tape *tape, heed_tensor *gate, heed_tensor *up, heed_tensor **out)
{
    struct record rec = {.x = gate, .y = up};

    return apply(tape, "swiglu", &rec, swiglu_forward, swiglu_backward, out);
}

/* ---- dropout: the mask is a hash of (key, element), made again in the backward, never stored. */

static heed_status check_share(const char *layer, double p)
{
    if (!(p >= 0 && p < 1))
        return hd_fail(HEED_E_ARG, "%s: the share %g to drop is not in [0, 1)", layer, p);
    return HEED_OK;
}

static void dropout_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                            const void *x, const void *y, size_t n, uint64_t first)
{
    (void)y;
    k->dropout(out, x, n, rec->a, rec->key, first);
}

static void dropout_back(const struct record *rec, const struct hd_kernels *k, void *dx,
                         const void *dy, const void *x, const void *y, size_t n, uint64_t first,
                         bool fresh)
{
    (void)x, (void)y;
    (fresh ? k->dropout : k->dropout_add)(dx, dy, n, rec->a, rec->key, first);
}

static heed_status dropout_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    return back_run(tape, rec, rec->x, dropout_back, true);
}

heed_status heed_dropout(heed_tape *tape, heed_tensor *x, double p, heed_tensor **out)
{
    struct record rec = {.x = x, .a = p};

    HD_TRY(check_share("dropout", p));
    if (p == 0 || !hd_tape_recording(tape)) {
        *out = x;
        return HEED_OK;
    }
    rec.key = hd_tape_random_key(tape);
    return apply(tape, "dropout", &rec, dropout_forward, dropout_backward, out);
}

/* x + dropout(y). In the backward x takes over the result's gradient, so it comes last. */

static void dropout_add_forward(const struct record *rec, const struct hd_kernels *k, void *out,
                                const void *x, const void *y, size_t n, uint64_t first)
{
    k->scale(out, 1, x, n);
    k->dropout_add(out, y, n, rec->a, rec->key, first);
}

static heed_status dropout_add_backward(heed_tape *tape, void *record)
{
    const struct record *rec = record;

    HD_TRY(back_run(tape, rec, rec->y, dropout_back, false));
    return hd_grad_hand(tape, rec->out, rec->x);
}

heed_status heed_dropout_add(heed_tape *tape, heed_tensor *x, heed_tensor *y, double p,
                             heed_tensor **out)
{
    struct record rec = {.x = x, .y = y, .a = p};

    HD_TRY(check_share("dropout_add", p));
    if (p == 0 || !hd_tape_recording(tape))
        return apply(tape, "dropout_add", &rec, add_forward, add_backward, out);
    rec.key = hd_tape_random_key(tape);
    return apply(tape, "dropout_add", &rec, dropout_add_forward, dropout_add_backward, out);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Long short-term memory, one direction (Hochreiter, Schmidhuber 1997, with the forget gate of Gers
 * et al. 2000), gates in PyTorch's order i, f, g, o:
 *
 *     z_t = W_x x_t + W_h h_(t-1) + b       c_t = sigm(z_f) c_(t-1) + sigm(z_i) tanh(z_g)
 *                                           h_t = sigm(z_o) tanh(c_t)
 *
 * W_x x + b is one product over all rows, a linear layer of the tape. What is left, the recurrence,
 * is one operation: sequences do not touch each other, so a block of SEQUENCES_GRAIN of them is a
 * task that walks through all of its steps alone, with W_h packed once for all tasks. Sequences are
 * taken from the longest to the shortest: at any step those that still run are the first of their
 * block.
 *
 *     block   sequence 0  ████████████
 *             sequence 1  █████████        step t: the product of the rows that are left
 *             sequence 2  ████             with W_h^T, at most SEQUENCES_GRAIN of them
 *
 * The backward walks the same blocks from the last step to the first and leaves the slope of z in
 * the gradient of W_x x + b; from it the linear layer makes dx, dW_x and db, and one product over
 * all rows dW_h. */
#include "nn/params.h"
#include "nn/sequences.h"
#include "nn/sort.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SEQUENCES_GRAIN INT64_C(16) /* rows that one pass over the packed W_h serves */

struct lstm_record {
    heed_tensor *z;   /* (rows, 4 H): W_x x + b, after the forward the gates themselves */
    heed_tensor *w;   /* (4 H, H): W_h */
    heed_tensor *out; /* (rows, H) */
    void *c;          /* (rows, H) */
    struct hd_sequences by;
    const int64_t *order; /* sequences, the longest first */
    bool reverse;
    int64_t H;
};

/* Scratch of one worker: rows of a block. */
struct seat {
    char *z;    /* (grain, 4 H): products forward, slopes backward */
    char *h;    /* (grain, H): the state forward, what flows back into it backward */
    char *dc;   /* (grain, H) */
    char *hold; /* 4 H numbers */
};

struct lstm_pass {
    const struct lstm_record *rec;
    const struct hd_kernels *k;
    const void *packed; /* W_h^T forward, W_h backward */
    char *seats;
    size_t seat_items;
    const void *dout;
    void *dz;
};

static struct seat seat_of(const struct lstm_pass *pass, int worker)
{
    size_t H = (size_t)pass->rec->H * pass->k->item_bytes, rows = (size_t)SEQUENCES_GRAIN * H;
    char *at = pass->seats + (size_t)worker * pass->seat_items * pass->k->item_bytes;

    return (struct seat){at, at + 4 * rows, at + 5 * rows, at + 6 * rows};
}

/* The row of step t of a sequence. */
static int64_t row_at(const struct lstm_record *rec, struct hd_span span, int64_t t)
{
    return span.first + (rec->reverse ? span.length - 1 - t : t);
}

/* C (M, N) = A B, A's rows of K without gaps. */
static void product(const struct lstm_pass *pass, int64_t M, int64_t N, int64_t K, const void *a,
                    void *c)
{
    struct hd_gemm g = {.M = M,
                        .N = N,
                        .K = K,
                        .a = a,
                        .a_row = K,
                        .a_col = 1,
                        .b = pass->packed,
                        .c = c,
                        .c_row = N};

    pass->k->gemm(&g);
}

/* Gates, cell and state of one row; h holds the state before and then the one after. before: the
 * cell of the step before, NULL at the first. */
static void step(const struct lstm_pass *pass, int64_t row, const void *before,
                 const struct seat *s, void *h)
{
    const struct hd_kernels *k = pass->k;
    const struct lstm_record *rec = pass->rec;
    size_t H = (size_t)rec->H, bytes = H * k->item_bytes;
    char *gate = hd_at(rec->z->data, k->item_bytes, row * 4 * rec->H);
    void *c = hd_at(rec->c, k->item_bytes, row * rec->H);

    k->act[HD_SIGMOID](gate, gate, 2 * H);
    k->act[HD_TANH](gate + 2 * bytes, gate + 2 * bytes, H);
    k->act[HD_SIGMOID](gate + 3 * bytes, gate + 3 * bytes, H);
    k->mul(c, gate, gate + 2 * bytes, H);
    if (before)
        k->muladd(c, gate + bytes, before, H);
    k->act[HD_TANH](s->hold, c, H);
    k->mul(h, gate + 3 * bytes, s->hold, H);
    memcpy(hd_at(rec->out->data, k->item_bytes, row * rec->H), h, bytes);
}

static heed_status forward_block(void *arg, int64_t block, int worker)
{
    const struct lstm_pass *pass = arg;
    const struct lstm_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    const int64_t *member = rec->order + block * SEQUENCES_GRAIN;
    int64_t H = rec->H, left = rec->by.count - block * SEQUENCES_GRAIN;
    int64_t running = left < SEQUENCES_GRAIN ? left : SEQUENCES_GRAIN;
    struct seat s = seat_of(pass, worker);

    for (int64_t t = 0;; t++) {
        while (running > 0 && hd_span_of(&rec->by, member[running - 1]).length <= t)
            running--;
        if (running == 0)
            return HEED_OK;
        if (t > 0)
            product(pass, running, 4 * H, H, s.h, s.z);
        for (int64_t j = 0; j < running; j++) {
            struct hd_span span = hd_span_of(&rec->by, member[j]);
            int64_t row = row_at(rec, span, t);
            void *z = hd_at(rec->z->data, k->item_bytes, row * 4 * H), *before = NULL;
            if (t > 0) {
                k->add(z, z, hd_at(s.z, k->item_bytes, j * 4 * H), (size_t)(4 * H));
                before = hd_at(rec->c, k->item_bytes, row_at(rec, span, t - 1) * H);
            }
            step(pass, row, before, &s, hd_at(s.h, k->item_bytes, j * H));
        }
    }
}

/* slope *= y (1 - y), y a sigmoid's result. */
static void sigmoid_slope(const struct hd_kernels *k, void *slope, const void *y, void *hold,
                          size_t n)
{
    k->mul(slope, slope, y, n);
    k->mul(hold, slope, y, n);
    k->axpy(slope, -1, hold, n);
}

/* slope *= 1 - y^2, y a tanh's result. */
static void tanh_slope(const struct hd_kernels *k, void *slope, const void *y, void *hold, size_t n)
{
    k->mul(hold, slope, y, n);
    k->mul(hold, hold, y, n);
    k->axpy(slope, -1, hold, n);
}

/* From dh and dc, what arrives at this row's state and cell, the slopes of its four sums; dc is
 * left with what goes to the cell before. */
static void step_back(const struct lstm_pass *pass, int64_t row, const void *before,
                      const struct seat *s, void *dh, void *dc, char *dz)
{
    const struct hd_kernels *k = pass->k;
    const struct lstm_record *rec = pass->rec;
    size_t H = (size_t)rec->H, bytes = H * k->item_bytes;
    const char *gate = hd_at(rec->z->data, k->item_bytes, row * 4 * rec->H);
    char *tanh_c = s->hold, *hold = s->hold + bytes;

    if (pass->dout)
        k->add(dh, dh, hd_at(pass->dout, k->item_bytes, row * rec->H), H);
    k->act[HD_TANH](tanh_c, hd_at(rec->c, k->item_bytes, row * rec->H), H);
    k->mul(dz + 3 * bytes, dh, tanh_c, H);
    k->mul(dh, dh, gate + 3 * bytes, H);
    tanh_slope(k, dh, tanh_c, hold, H);
    k->add(dc, dc, dh, H);

    k->mul(dz, dc, gate + 2 * bytes, H);
    k->mul(dz + 2 * bytes, dc, gate, H);
    if (before)
        k->mul(dz + bytes, dc, before, H);
    else
        k->fill(dz + bytes, 0, H);
    k->mul(dc, dc, gate + bytes, H);
    sigmoid_slope(k, dz, gate, hold, 2 * H);
    tanh_slope(k, dz + 2 * bytes, gate + 2 * bytes, hold, H);
    sigmoid_slope(k, dz + 3 * bytes, gate + 3 * bytes, hold, H);
    memcpy(hd_at(pass->dz, k->item_bytes, row * 4 * rec->H), dz, 4 * bytes);
}

static heed_status backward_block(void *arg, int64_t block, int worker)
{
    const struct lstm_pass *pass = arg;
    const struct lstm_record *rec = pass->rec;
    const struct hd_kernels *k = pass->k;
    const int64_t *member = rec->order + block * SEQUENCES_GRAIN;
    int64_t H = rec->H, left = rec->by.count - block * SEQUENCES_GRAIN, running = 0;
    int64_t members = left < SEQUENCES_GRAIN ? left : SEQUENCES_GRAIN;
    struct seat s = seat_of(pass, worker);

    k->fill(s.h, 0, (size_t)(members * H));
    k->fill(s.dc, 0, (size_t)(members * H));
    for (int64_t t = hd_span_of(&rec->by, member[0]).length - 1; t >= 0; t--) {
        while (running < members && hd_span_of(&rec->by, member[running]).length > t)
            running++;
        for (int64_t j = 0; j < running; j++) {
            struct hd_span span = hd_span_of(&rec->by, member[j]);
            void *before = NULL;
            if (t > 0)
                before = hd_at(rec->c, k->item_bytes, row_at(rec, span, t - 1) * H);
            step_back(pass, row_at(rec, span, t), before, &s, hd_at(s.h, k->item_bytes, j * H),
                      hd_at(s.dc, k->item_bytes, j * H), hd_at(s.z, k->item_bytes, j * 4 * H));
        }
        if (t > 0)
            product(pass, running, H, 4 * H, s.z, s.h);
    }
    return HEED_OK;
}

/* Packs W_h, or its transpose, lays out the seats, and runs all blocks. */
static heed_status run(heed_tape *tape, const struct lstm_record *rec, bool backward,
                       struct lstm_pass *pass)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    const struct hd_kernels *k = pass->k = hd_kernels_of(rec->w);
    int64_t H = rec->H, row = hd_row_stride(rec->w), N = backward ? H : 4 * H, K = 5 * H - N;
    void *packed = hd_arena_alloc(scratch, 1, k->gemm_pack_bytes(K, N));
    heed_status status = HEED_OK;

    /* whole cache lines for each worker */
    pass->seat_items = ((size_t)(6 * SEQUENCES_GRAIN + 4) * (size_t)H + 15) & ~(size_t)15;
    pass->seats = hd_arena_alloc(scratch, (size_t)heed_pool_threads(hd_tape_pool(tape)),
                                 pass->seat_items * k->item_bytes);
    if (!packed || !pass->seats) {
        status = hd_fail(HEED_E_NOMEM, "lstm: no memory for packing %s", hd_shape_text(rec->w));
    } else {
        k->gemm_pack(packed, rec->w->data, backward ? row : 1, backward ? 1 : row, K, N);
        pass->packed = packed, pass->rec = rec;
        status =
            hd_pool_run(hd_tape_pool(tape), (rec->by.count + SEQUENCES_GRAIN - 1) / SEQUENCES_GRAIN,
                        backward ? backward_block : forward_block, pass);
    }
    hd_arena_release(scratch, mark);
    return status;
}

/* dW_h += sum over rows of dz^T h, h the state before each row, which is laid out for one product.
 */
static heed_status hidden_backward(heed_tape *tape, const struct lstm_record *rec, const void *dz)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    const struct hd_kernels *k = hd_kernels_of(rec->w);
    int64_t H = rec->H, rows = hd_rows(rec->out);
    size_t bytes = (size_t)H * k->item_bytes;
    bool fresh;
    void *dw, *before;

    HD_TRY(hd_grad_first(tape, rec->w, &dw, &fresh));
    if (!dw)
        return HEED_OK;
    before = hd_arena_zalloc(scratch, (size_t)rows, bytes);
    if (!before)
        return hd_fail(HEED_E_NOMEM, "lstm: no memory for %" PRId64 " states", rows);
    for (int64_t b = 0; b < rec->by.count; b++) {
        struct hd_span span = hd_span_of(&rec->by, b);
        int64_t later = span.first + !rec->reverse, earlier = span.first + rec->reverse;
        if (span.length > 1)
            memcpy(hd_at(before, k->item_bytes, later * H),
                   hd_at(rec->out->data, k->item_bytes, earlier * H),
                   (size_t)(span.length - 1) * bytes);
    }
    struct hd_matmul m = {.M = 4 * H,
                          .N = H,
                          .K = rows,
                          .a = dz,
                          .a_row = 1,
                          .a_col = 4 * H,
                          .b = before,
                          .b_row = H,
                          .b_col = 1,
                          .c = dw,
                          .c_row = hd_row_stride(rec->w),
                          .accumulate = !fresh};
    heed_status status = hd_matmul(tape, k, &m);
    hd_arena_release(scratch, mark);
    return status;
}

static heed_status lstm_backward(heed_tape *tape, void *record)
{
    const struct lstm_record *rec = record;
    struct lstm_pass pass = {.dout = hd_grad_got(rec->out)};

    if (!pass.dout)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->z, &pass.dz)); /* zeros where there is padding */
    HD_TRY(run(tape, rec, true, &pass));
    hd_grad_spent(tape, rec->out);
    return hidden_backward(tape, rec, pass.dz);
}

struct ranked {
    int64_t length, number;
};

static int longer_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static heed_status order_new_in(heed_tape *tape, const struct hd_sequences *by, const int64_t **out)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    int64_t *order = hd_arena_alloc(hd_tape_arena(tape), (size_t)by->count, sizeof *order);
    struct ranked *list = hd_arena_alloc(scratch, (size_t)by->count, sizeof *list);

    if (!order || !list) {
        hd_arena_release(scratch, mark);
        return hd_fail(HEED_E_NOMEM, "lstm: no memory for %" PRId64 " sequences", by->count);
    }
    for (int64_t b = 0; b < by->count; b++)
        list[b] = (struct ranked){hd_span_of(by, b).length, b};
    hd_sort(list, (size_t)by->count, sizeof *list, longer_first);
    for (int64_t b = 0; b < by->count; b++)
        order[b] = list[b].number;
    hd_arena_release(scratch, mark);
    *out = order;
    return HEED_OK;
}

static heed_status check_weights(const heed_tensor *x, const heed_lstm_weights *w)
{
    if (!w->input || !w->hidden)
        return hd_fail(HEED_E_ARG, "lstm: the %s weights are missing",
                       w->input ? "hidden" : "input");
    if (w->hidden->rank != 2 || w->hidden->dim[1] < 1 || w->hidden->dim[0] != 4 * w->hidden->dim[1])
        return hd_fail(HEED_E_SHAPE, "lstm: the hidden weights are %s, not (4 H, H)",
                       hd_shape_text(w->hidden));
    if (w->input->rank != 2 || w->input->dim[0] != w->hidden->dim[0])
        return hd_fail(HEED_E_SHAPE, "lstm: the input weights are %s beside hidden ones of %s",
                       hd_shape_text(w->input), hd_shape_text(w->hidden));
    if (w->hidden->dtype != x->dtype)
        return hd_fail(HEED_E_ARG, "lstm: weights and x have different element types");
    return HEED_OK;
}

heed_status heed_lstm(heed_tape *tape, heed_tensor *x, const heed_lstm_weights *weights,
                      const heed_sequences *sequences, bool reverse, heed_tensor **out)
{
    struct lstm_record rec = {.w = weights->hidden, .reverse = reverse};
    struct lstm_pass pass = {0};
    int64_t dim[HEED_RANK_MAX];
    heed_tensor *c;

    HD_TRY(hd_sequences_of("lstm", x, sequences, &rec.by));
    HD_TRY(check_weights(x, weights));
    rec.H = rec.w->dim[1];
    heed_status status = heed_linear(tape, x, weights->input, weights->bias, &rec.z);
    if (status != HEED_OK)
        return hd_fail_prefix(status, "lstm: input: ");
    memcpy(dim, x->dim, sizeof dim);
    dim[x->rank - 1] = rec.H;
    HD_TRY(heed_tensor_new_in(tape, x->dtype, dim, x->rank, &rec.out));
    HD_TRY(hd_tensor_like(tape, rec.out, &c));
    rec.c = c->data;
    HD_TRY(order_new_in(tape, &rec.by, &rec.order));
    HD_TRY(run(tape, &rec, false, &pass));
    /* Also where W_h alone is learned the slopes are left in z's gradient. */
    rec.z->wants_grad |= hd_wants_grad(tape, rec.w);
    if (hd_wants_grad(tape, rec.z)) {
        rec.out->wants_grad = true;
        HD_TRY(hd_tape_push(tape, lstm_backward, &rec, sizeof rec));
    }
    *out = rec.out;
    return HEED_OK;
}

heed_status heed_lstm_init(heed_params *params, const char *prefix, int64_t C, int64_t H,
                           heed_lstm_weights *weights)
{
    double scale = H > 0 ? 1 / sqrt((double)H) : 0;
    heed_lstm_weights w;

    if (C < 1 || H < 1 || H > HD_DIM_MAX / 4)
        return hd_fail(HEED_E_ARG, "lstm: %s: from %" PRId64 " to %" PRId64 " numbers", prefix, C,
                       H);
    HD_TRY(hd_params_add_under(params, prefix, "input", (int64_t[]){4 * H, C}, 2, HEED_INIT_UNIFORM,
                               scale, &w.input));
    HD_TRY(hd_params_add_under(params, prefix, "hidden", (int64_t[]){4 * H, H}, 2,
                               HEED_INIT_UNIFORM, scale, &w.hidden));
    HD_TRY(hd_params_add_under(params, prefix, "bias", (int64_t[]){4 * H}, 1, HEED_INIT_ZEROS, 0,
                               &w.bias));
    const struct hd_kernels *k = hd_kernels_of(w.bias);
    k->fill(hd_at(w.bias->data, k->item_bytes, H), 1, (size_t)H);
    *weights = w;
    return HEED_OK;
}

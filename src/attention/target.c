/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention's calls: what can be wrong with them, the tape's record, and the memory of a plain
 * call. */
#include "attention/target_back.h"
#include "nn/params.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- checks */

static heed_status check_tensor(const heed_tensor *x, const char *name, int64_t layer,
                                heed_dtype dtype, int64_t rows, int64_t cols)
{
    int rank = rows < 0 ? 1 : 2;
    if (!x)
        return hd_fail(HEED_E_ARG, "target: %s of layer %" PRId64 " is missing", name, layer);
    if (x->rank != rank || x->dim[rank - 1] != cols || (rank == 2 && x->dim[0] != rows) ||
        x->dtype != dtype || !hd_is_contiguous(x)) {
        char want[64];
        if (rank == 2)
            snprintf(want, sizeof want, "(%" PRId64 ", %" PRId64 ")", rows, cols);
        else
            snprintf(want, sizeof want, "(%" PRId64 ")", cols);
        return hd_fail(HEED_E_SHAPE,
                       "target: %s of layer %" PRId64 " is %s, not %s, contiguous and of the "
                       "history's element type", name, layer, hd_shape_text(x), want);
    }
    return HEED_OK;
}

static heed_status check_layer(const heed_target_layer *layer, const heed_target_opts *opts,
                               int64_t l, heed_dtype dtype, int64_t in)
{
    if (!layer->w || layer->w->rank != 2)
        return hd_fail(HEED_E_ARG, "target: w of layer %" PRId64 " is missing or no matrix", l);
    int64_t out = layer->w->dim[0];
    if (out < 1 || out > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "target: layer %" PRId64 " has %" PRId64 " units", l, out);
    HD_TRY(check_tensor(layer->w, "w", l, dtype, out, in));
    HD_TRY(check_tensor(layer->b, "b", l, dtype, -1, out));
    if (opts->activation == HEED_TARGET_DICE)
        return hd_dice_check("target", &opts->dice, layer->alpha, layer->mean, layer->var, dtype,
                             out);
    if (opts->activation == HEED_TARGET_PRELU)
        HD_TRY(check_tensor(layer->alpha, "alpha", l, dtype, -1, out));
    else if (layer->alpha)
        return hd_fail(HEED_E_ARG, "target: layer %" PRId64 " has an alpha, but a sigmoid none", l);
    if (layer->mean || layer->var)
        return hd_fail(HEED_E_ARG, "target: layer %" PRId64 " has running averages without Dice", l);
    return HEED_OK;
}

static heed_status check_weights(const heed_target_weights *w, const heed_target_opts *opts,
                                 heed_dtype dtype, int64_t C)
{
    int64_t in = 4 * C;
    if (!w)
        return hd_fail(HEED_E_ARG, "target: weights are missing");
    if ((int)opts->activation < 0 || opts->activation > HEED_TARGET_SIGMOID)
        return hd_fail(HEED_E_ARG, "target: there is no activation %d", (int)opts->activation);
    if (!isfinite(opts->scale))
        return hd_fail(HEED_E_ARG, "target: scale is not finite");
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i])
            return hd_fail(HEED_E_ARG, "target: a reserved option is set");
    if (w->hidden < 1 || w->hidden > HEED_TARGET_HIDDEN_MAX)
        return hd_fail(HEED_E_ARG, "target: %" PRId64 " hidden layers, not 1 to %d", w->hidden,
                       HEED_TARGET_HIDDEN_MAX);
    for (int64_t l = 0; l < w->hidden; l++) {
        HD_TRY(check_layer(&w->layer[l], opts, l, dtype, in));
        in = w->layer[l].w->dim[0];
    }
    HD_TRY(check_tensor(w->w, "w", w->hidden, dtype, 1, in));
    return check_tensor(w->b, "b", w->hidden, dtype, -1, 1);
}

/* Everything but the tensors' shapes on a tape. Sizes are products, so their product is looked at
 * before any is made. */
static heed_status check_call(const struct hd_target *t, const heed_target_weights *weights,
                              const heed_target_opts *opts, heed_dtype dtype)
{
    HD_TRY(hd_histories_check("target", &t->h));
    if (t->K < 0 || t->K > INT32_MAX || t->C < 1 || t->C > INT32_MAX / 4)
        return hd_fail(HEED_E_SHAPE, "target: %" PRId64 " candidates of %" PRId64 " numbers", t->K,
                       t->C);
    HD_TRY(check_weights(weights, opts, dtype, t->C));
    double widths = (double)t->C;
    for (int64_t l = 0; l < weights->hidden; l++)
        widths += (double)weights->layer[l].w->dim[0];
    double rows = t->h.offsets ? (double)t->h.offsets[t->h.B] : (double)t->h.B * (double)t->h.S;
    if ((rows + (double)t->h.B + 1) * ((double)t->K + 1) * widths * 64 > (double)PTRDIFF_MAX)
        return hd_fail(HEED_E_RANGE, "target: more numbers than memory can hold");
    return HEED_OK;
}

/* ---- on a tape */

struct target_record {
    struct hd_target t;
    heed_tensor *a, *e, *out;
    heed_target_weights weights;
};

static heed_status check_shapes(const heed_tensor *a, const heed_tensor *e,
                                const struct hd_histories *h)
{
    if (e->rank != (h->offsets ? 2 : 3) || (a->rank != 2 && a->rank != 3) ||
        a->dim[a->rank - 1] != e->dim[e->rank - 1] || a->dim[0] != h->B)
        return hd_fail(HEED_E_SHAPE, "target: a is %s and e %s, for %" PRId64 " histories",
                       hd_shape_text(a), hd_shape_text(e), h->B);
    if (a->dtype != e->dtype)
        return hd_fail(HEED_E_SHAPE, "target: a and e differ in element type");
    if (!hd_is_rows(a) || !hd_is_rows(e))
        return hd_fail(HEED_E_SHAPE, "target: rows of a %s or e %s are not one stride apart",
                       hd_shape_text(a), hd_shape_text(e));
    if (h->offsets && h->B >= 0 && h->offsets[h->B] != e->dim[0])
        return hd_fail(HEED_E_SHAPE, "target: offsets end at %" PRId64 ", but e is %s",
                       h->offsets[h->B], hd_shape_text(e));
    return HEED_OK;
}

static bool is_wanted(const heed_tape *tape, const struct target_record *rec)
{
    const heed_target_weights *w = &rec->weights;
    bool wanted = hd_wants_grad(tape, rec->a) || hd_wants_grad(tape, rec->e) ||
                  hd_wants_grad(tape, w->w) || hd_wants_grad(tape, w->b);
    for (int64_t l = 0; l < w->hidden; l++)
        wanted |= hd_wants_grad(tape, w->layer[l].w) || hd_wants_grad(tape, w->layer[l].b) ||
                  hd_wants_grad(tape, w->layer[l].alpha);
    return wanted;
}

/* Where each gradient goes. */
static heed_status find_grads(heed_tape *tape, const struct target_record *rec,
                              struct hd_target_back *back)
{
    const heed_target_weights *w = &rec->weights;
    HD_TRY(hd_grad(tape, rec->a, &back->da));
    HD_TRY(hd_grad(tape, rec->e, &back->de));
    for (int64_t l = 0; l < w->hidden; l++) {
        HD_TRY(hd_grad(tape, w->layer[l].w, &back->layer[l].dw));
        HD_TRY(hd_grad(tape, w->layer[l].b, &back->layer[l].db));
        if (w->layer[l].alpha)
            HD_TRY(hd_grad(tape, w->layer[l].alpha, &back->layer[l].dalpha));
    }
    HD_TRY(hd_grad(tape, w->w, &back->layer[w->hidden].dw));
    return hd_grad(tape, w->b, &back->layer[w->hidden].db);
}

static heed_status room_in(hd_arena *arena, struct hd_room *room, size_t bytes)
{
    *room = (struct hd_room){hd_arena_alloc(arena, bytes, 1), 0};
    if (!room->base)
        return hd_fail(HEED_E_NOMEM, "target: no memory for %zu bytes", bytes);
    return HEED_OK;
}

static heed_status target_backward(heed_tape *tape, void *record)
{
    struct target_record *rec = record;
    struct hd_target_back back = {.t = &rec->t, .dout = hd_grad_got(rec->out)};
    struct hd_room room = {0};
    if (!back.dout)
        return HEED_OK;
    HD_TRY(find_grads(tape, rec, &back));
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    hd_target_back_layout(&back, &room);
    heed_status status = room_in(hd_tape_scratch(tape), &room, room.used);
    if (status == HEED_OK) {
        hd_target_back_layout(&back, &room);
        status = hd_target_backward(&back);
    }
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->out);
    return status;
}

/* Lays the call out and runs it. */
static heed_status run_forward(heed_tape *tape, struct target_record *rec,
                               const heed_target_opts *opts, bool keep)
{
    struct hd_target *t = &rec->t;
    struct hd_room kept = {0}, scratch = {0};
    void *weights = t->weights;
    bool batch = false;
    for (int64_t l = 0; l < rec->weights.hidden; l++) {
        t->layer[l].batch = opts->activation == HEED_TARGET_DICE &&
                            hd_dice_is_batch(tape, rec->weights.layer[l].mean);
        batch |= t->layer[l].batch;
        if (opts->activation == HEED_TARGET_DICE && !rec->weights.layer[l].mean &&
            !t->layer[l].batch)
            return hd_fail(HEED_E_ARG, "target: Dice's running averages are missing where the tape "
                           "records nothing");
    }
    keep |= batch;
    hd_target_init(t, &rec->weights, opts, keep);
    hd_target_layout(t, &kept, &scratch, keep, weights);
    size_t moments = scratch.used;
    scratch.used += (size_t)hd_target_moments(t) * sizeof(double);
    HD_TRY(room_in(keep ? hd_tape_arena(tape) : hd_tape_scratch(tape), &kept, kept.used));
    HD_TRY(room_in(hd_tape_scratch(tape), &scratch, scratch.used));
    hd_target_layout(t, &kept, &scratch, keep, weights);
    hd_target_count(t);
    heed_status status =
        hd_target_forward(t, &opts->dice, (double *)(void *)(scratch.base + moments));
    t->from = NULL; /* the caller's; what the backward needs of it is in the layers */
    return status;
}

heed_status heed_target(heed_tape *tape, heed_tensor *a, heed_tensor *e,
                        const heed_target_weights *weights, const heed_target_opts *opts,
                        heed_tensor **out, heed_tensor **weights_out)
{
    const heed_target_opts ordinary = {0};
    struct target_record rec = {.a = a, .e = e};
    struct hd_target *t = &rec.t;
    heed_tensor *w = NULL;
    opts = opts ? opts : &ordinary;
    t->h = (struct hd_histories){opts->offsets ? opts->sequences : e->dim[0],
                                 e->rank == 3 ? e->dim[1] : 0, opts->offsets, opts->lengths};
    HD_TRY(check_shapes(a, e, &t->h));
    t->k = hd_kernels_of(e), t->pool = hd_tape_pool(tape);
    t->K = a->rank == 3 ? a->dim[1] : 1, t->C = e->dim[e->rank - 1];
    HD_TRY(check_call(t, weights, opts, e->dtype));
    rec.weights = *weights;
    t->a = a->data, t->a_row = hd_row_stride(a), t->e = e->data, t->e_row = hd_row_stride(e);
    HD_TRY(hd_tensor_like(tape, a, &rec.out));
    t->out = rec.out->data;
    if (weights_out) {
        const int64_t flat[] = {t->K * hd_histories_rows(&t->h)};
        const int64_t square[] = {t->h.B, a->rank == 3 ? t->K : t->h.S, t->h.S};
        HD_TRY(hd_tensor_new(tape, e->dtype, opts->offsets ? flat : square,
                             opts->offsets ? 1 : a->rank, &w));
        t->weights = w->data;
    }
    bool wanted = is_wanted(tape, &rec);
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = run_forward(tape, &rec, opts, wanted);
    hd_arena_release(hd_tape_scratch(tape), mark);
    HD_TRY(status);
    if (wanted) {
        rec.out->wants_grad = true;
        HD_TRY(hd_tape_push(tape, target_backward, &rec, sizeof rec));
    }
    *out = rec.out;
    if (weights_out)
        *weights_out = w;
    return HEED_OK;
}

/* ---- on arrays */

static heed_status check_arrays(const heed_pool *pool, const heed_target_weights *weights,
                                const heed_target_opts *opts, const heed_target_arrays *arrays,
                                struct hd_target *t)
{
    if (!opts || !arrays)
        return hd_fail(HEED_E_ARG, "target: options or arrays are missing");
    if (arrays->dtype != HEED_F32 && arrays->dtype != HEED_F64)
        return hd_fail(HEED_E_ARG, "target: there is no element type %" PRId64, arrays->dtype);
    for (size_t i = 0; i < sizeof arrays->reserved / sizeof *arrays->reserved; i++)
        if (arrays->reserved[i])
            return hd_fail(HEED_E_ARG, "target: a reserved field is set");
    t->h = (struct hd_histories){arrays->B, opts->offsets ? 0 : arrays->S, opts->offsets,
                                 opts->lengths};
    if (opts->offsets && arrays->B != opts->sequences)
        return hd_fail(HEED_E_SHAPE, "target: B is %" PRId64 ", but there are %" PRId64
                       " sequences", arrays->B, opts->sequences);
    t->k = arrays->dtype == HEED_F32 ? hd_kernels() : hd_kernels_f64();
    t->pool = (heed_pool *)pool;
    t->K = arrays->K, t->C = arrays->C;
    HD_TRY(check_call(t, weights, opts, (heed_dtype)arrays->dtype));
    for (int64_t l = 0; opts->activation == HEED_TARGET_DICE && l < weights->hidden; l++)
        if (!weights->layer[l].mean)
            return hd_fail(HEED_E_ARG, "target: Dice's running averages are missing");
    t->a_row = arrays->a_row ? arrays->a_row : t->C;
    t->e_row = arrays->e_row ? arrays->e_row : t->C;
    if (t->a_row < t->C || t->e_row < t->C)
        return hd_fail(HEED_E_ARG, "target: rows of %" PRId64 " numbers are %" PRId64 " and %" PRId64
                       " apart", t->C, t->a_row, t->e_row);
    int64_t units = t->h.B * t->K, rows = hd_histories_rows(&t->h);
    if ((units > 0 && (!arrays->a || !arrays->out)) || (units > 0 && rows > 0 && !arrays->e))
        return hd_fail(HEED_E_ARG, "target: a, e or out is missing");
    t->a = arrays->a, t->e = arrays->e, t->out = arrays->out, t->weights = arrays->weights;
    return HEED_OK;
}

/* A plain call's memory: what a tape keeps stands before the scratch. The start is aligned here. */
static uint64_t lay_out(struct hd_target *t, const heed_target_arrays *arrays, char *memory)
{
    struct hd_room room = {0};
    if (memory) {
        size_t past = (uintptr_t)memory % HD_ARENA_ALIGN;
        room.base = memory + (past ? HD_ARENA_ALIGN - past : 0);
    }
    hd_target_layout(t, &room, &room, false, arrays->weights);
    return room.used + HD_ARENA_ALIGN;
}

uint64_t heed_target_scratch_bytes(const heed_pool *pool, const heed_target_weights *weights,
                                   const heed_target_opts *opts, const heed_target_arrays *arrays)
{
    struct hd_target t = {0};
    if (check_arrays(pool, weights, opts, arrays, &t) != HEED_OK)
        return 0;
    hd_target_init(&t, weights, opts, false);
    return lay_out(&t, arrays, NULL);
}

heed_status heed_target_forward(heed_pool *pool, const heed_target_weights *weights,
                                const heed_target_opts *opts, const heed_target_arrays *arrays)
{
    struct hd_target t = {0};
    HD_TRY(check_arrays(pool, weights, opts, arrays, &t));
    hd_target_init(&t, weights, opts, false);
    uint64_t bytes = lay_out(&t, arrays, NULL);
    void *own = NULL;
    if (arrays->scratch && arrays->scratch_bytes < bytes)
        return hd_fail(HEED_E_ARG, "target: %" PRIu64 " bytes of scratch, not %" PRIu64,
                       arrays->scratch_bytes, bytes);
    if (!arrays->scratch && !(own = hd_alloc((size_t)bytes, 1)))
        return hd_fail(HEED_E_NOMEM, "target: no memory for %" PRIu64 " bytes of scratch", bytes);
    lay_out(&t, arrays, own ? own : arrays->scratch);
    hd_target_count(&t);
    heed_status status = hd_target_forward(&t, &opts->dice, NULL);
    hd_free(own);
    return status;
}

/* ---- the weights of a network */

static heed_status init_linear(heed_params *params, const char *prefix, int64_t out, int64_t in,
                               heed_tensor **w, heed_tensor **b)
{
    HD_TRY(hd_params_add_under(params, prefix, "w", (int64_t[]){out, in}, 2,
                               HEED_INIT_XAVIER_UNIFORM, 1, w));
    return hd_params_add_under(params, prefix, "b", &out, 1, HEED_INIT_ZEROS, 0, b);
}

/* Dice starts as the paper's, from zeros, PReLU from He's slope. */
static heed_status init_activation(heed_params *params, const char *prefix, int64_t out,
                                   heed_target_activation activation, heed_target_layer *layer)
{
    if (activation == HEED_TARGET_SIGMOID)
        return HEED_OK;
    HD_TRY(hd_params_add_under(params, prefix, "alpha", &out, 1, HEED_INIT_ZEROS, 0, &layer->alpha));
    if (activation == HEED_TARGET_PRELU) {
        hd_kernels_of(layer->alpha)->fill(layer->alpha->data, 0.25, (size_t)out);
        return HEED_OK;
    }
    HD_TRY(hd_params_add_under(params, prefix, "mean", &out, 1, HEED_INIT_ZEROS, 0, &layer->mean));
    return hd_params_add_under(params, prefix, "var", &out, 1, HEED_INIT_ONES, 0, &layer->var);
}

heed_status heed_target_init(heed_params *params, const char *prefix, int64_t C,
                             const int64_t *units, int64_t hidden,
                             heed_target_activation activation, heed_target_weights *weights)
{
    heed_target_weights w = {.hidden = hidden};
    if (hidden < 1 || hidden > HEED_TARGET_HIDDEN_MAX)
        return hd_fail(HEED_E_ARG, "target: %s: %" PRId64 " hidden layers, not 1 to %d", prefix,
                       hidden, HEED_TARGET_HIDDEN_MAX);
    if (!units)
        return hd_fail(HEED_E_ARG, "target: %s: the layers' units are missing", prefix);
    if (C < 1 || C > INT32_MAX / 4)
        return hd_fail(HEED_E_SHAPE, "target: %s: candidates of %" PRId64 " numbers", prefix, C);
    if ((int)activation < 0 || activation > HEED_TARGET_SIGMOID)
        return hd_fail(HEED_E_ARG, "target: %s: there is no activation %d", prefix, (int)activation);
    int64_t in = 4 * C;
    for (int64_t l = 0; l < hidden; in = units[l++]) {
        char name[HD_NAME_BYTES_MAX + 1], number[2] = {(char)('0' + l), 0};
        HD_TRY(hd_params_prefix(name, prefix, number));
        HD_TRY(init_linear(params, name, units[l], in, &w.layer[l].w, &w.layer[l].b));
        HD_TRY(init_activation(params, name, units[l], activation, &w.layer[l]));
    }
    HD_TRY(init_linear(params, prefix, 1, in, &w.w, &w.b));
    *weights = w;
    return HEED_OK;
}

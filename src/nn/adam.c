/* SPDX-License-Identifier: Apache-2.0
 *
 * Adam (Kingma, Ba 2015, algorithm 1), with decoupled weight decay (AdamW; Loshchilov, Hutter 2019,
 * algorithm 2), a cut of the gradient's length (Pascanu, Mikolov, Bengio 2013) and an average of
 * the weights (Polyak, Juditsky 1992, with exponential weights).
 *
 * With c1 = 1 - beta1^t and c2 = 1 - beta2^t, a step
 *
 *     w -= rate (m / c1) / (sqrt(v / c2) + eps)
 *
 * is the kernel's  w -= r m / (sqrt(v) + e)  with  r = rate sqrt(c2) / c1,  e = eps sqrt(c2).
 *
 * Rows of a table that no gradient touched keep weights and moments as they are, so a step costs
 * what it touched; the average alone goes over everything. */
#include "nn/adam.h"
#include "base/pool.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool is_share(double x)
{
    return x >= 0 && x < 1;
}

/* Zeroed numbers as many as the parameter has. */
static void *state_new(hd_arena *arena, const heed_tensor *x)
{
    return hd_arena_zalloc(arena, (size_t)hd_count(x), hd_kernels_of(x)->item_bytes);
}

static heed_status adam_fill(heed_adam *adam, bool averaged)
{
    heed_params *params = adam->params;
    size_t count = (size_t)params->count;

    adam->arena = hd_arena_new(0);
    if (!adam->arena)
        return hd_fail(HEED_E_NOMEM, "adam: no memory");
    adam->m = hd_arena_zalloc(adam->arena, count, sizeof *adam->m);
    adam->v = hd_arena_zalloc(adam->arena, count, sizeof *adam->v);
    adam->average = averaged ? hd_arena_zalloc(adam->arena, count, sizeof *adam->average) : NULL;
    adam->partial = hd_arena_zalloc(adam->arena, (size_t)params->pieces, sizeof *adam->partial);
    if (!adam->m || !adam->v || (averaged && !adam->average) || !adam->partial)
        return hd_fail(HEED_E_NOMEM, "adam: no memory");
    for (size_t i = 0; i < count; i++) {
        const heed_tensor *w = &params->param[i]->tensor;
        adam->m[i] = state_new(adam->arena, w);
        adam->v[i] = state_new(adam->arena, w);
        if (averaged && (adam->average[i] = state_new(adam->arena, w)))
            memcpy(adam->average[i], w->data, (size_t)hd_count(w) * hd_kernels_of(w)->item_bytes);
        if (!adam->m[i] || !adam->v[i] || (averaged && !adam->average[i]))
            return hd_fail(HEED_E_NOMEM, "adam: no memory for the moments of %s",
                           params->param[i]->name);
    }
    return HEED_OK;
}

heed_status heed_adam_new(heed_params *params, const heed_adam_opts *opts, heed_adam **out)
{
    heed_adam_opts o = opts ? *opts : (heed_adam_opts){0};
    heed_adam *adam;

    o.beta1 = o.beta1 != 0 ? o.beta1 : 0.9;
    o.beta2 = o.beta2 != 0 ? o.beta2 : 0.999;
    o.eps = o.eps != 0 ? o.eps : 1e-8;
    if (!is_share(o.beta1) || !is_share(o.beta2) || !is_share(o.ema_decay))
        return hd_fail(HEED_E_ARG, "adam: betas %g and %g, ema_decay %g are not all in [0, 1)",
                       o.beta1, o.beta2, o.ema_decay);
    if (!(o.eps > 0) || !(o.weight_decay >= 0) || !(o.clip_norm >= 0))
        return hd_fail(HEED_E_ARG, "adam: eps %g, weight_decay %g, clip_norm %g", o.eps,
                       o.weight_decay, o.clip_norm);
    for (size_t i = 0; i < sizeof o.reserved / sizeof *o.reserved; i++)
        if (o.reserved[i])
            return hd_fail(HEED_E_ARG, "adam: a reserved field is set");
    if (params->origin)
        return hd_fail(HEED_E_ARG, "adam: a replica's weights are its origin's");
    adam = hd_alloc(1, sizeof *adam);
    if (!adam)
        return hd_fail(HEED_E_NOMEM, "adam: no memory");
    adam->params = params;
    adam->opts = o;
    adam->count = params->count;
    heed_status status = adam_fill(adam, o.ema_decay > 0);
    if (status != HEED_OK) {
        heed_adam_free(adam);
        return status;
    }
    *out = adam;
    return HEED_OK;
}

void heed_adam_free(heed_adam *adam)
{
    if (!adam)
        return;
    hd_arena_free(adam->arena);
    hd_free(adam);
}

int64_t heed_adam_steps(const heed_adam *adam)
{
    return adam->steps;
}

/* Rows [*from, *to) of the piece that follow each other and have a gradient; false at the end. */
static bool next_run(const struct hd_param *p, const struct hd_piece *piece, int64_t *from,
                     int64_t *to)
{
    const uint8_t *touched = p->tensor.touched;
    int64_t i = *to;

    if (!touched) {
        *from = i, *to = piece->to;
        return i < piece->to;
    }
    while (i < piece->to && !touched[i])
        i++;
    *from = i;
    while (i < piece->to && touched[i])
        i++;
    *to = i;
    return *from < *to;
}

struct step {
    heed_adam *adam;
    double rate, eps, decay, cut, keep; /* cut: of the gradient; keep: share the average keeps */
};

static heed_status square_piece(void *arg, int64_t task, int worker)
{
    const struct step *step = arg;
    struct hd_piece piece = hd_params_piece(step->adam->params, task);
    const struct hd_param *p = step->adam->params->param[piece.param];
    const struct hd_kernels *k = hd_kernels_of(&p->tensor);
    double sum = 0;

    (void)worker;
    for (int64_t from, to = piece.from; p->tensor.grad && next_run(p, &piece, &from, &to);) {
        const void *g = hd_at(p->tensor.grad, k->item_bytes, from * p->cols);
        sum += k->dot(g, g, (size_t)((to - from) * p->cols));
    }
    step->adam->partial[task] = sum;
    return HEED_OK;
}

#define CHUNK \
    INT64_C(2048) /* numbers of w, m, v, g and the average together stay in a first cache */

static void step_chunk(const struct step *step, const struct hd_param *p, int64_t param, int64_t at,
                       size_t n)
{
    const struct hd_kernels *k = hd_kernels_of(&p->tensor);
    const heed_adam_opts *o = &step->adam->opts;
    void *g = hd_at(p->tensor.grad, k->item_bytes, at);

    if (step->cut < 1)
        k->scale(g, step->cut, g, n);
    k->adam(hd_at(p->tensor.data, k->item_bytes, at),
            hd_at(step->adam->m[param], k->item_bytes, at),
            hd_at(step->adam->v[param], k->item_bytes, at), g, n, step->rate, o->beta1, o->beta2,
            step->eps, p->tensor.rank == 1 ? 0 : step->decay);
}

static heed_status step_piece(void *arg, int64_t task, int worker)
{
    const struct step *step = arg;
    struct hd_piece piece = hd_params_piece(step->adam->params, task);
    const struct hd_param *p = step->adam->params->param[piece.param];
    const struct hd_kernels *k = hd_kernels_of(&p->tensor);

    (void)worker;
    for (int64_t from, to = piece.from; p->tensor.grad && next_run(p, &piece, &from, &to);)
        for (int64_t at = from * p->cols, end = to * p->cols; at < end; at += CHUNK)
            step_chunk(step, p, piece.param, at, (size_t)(end - at < CHUNK ? end - at : CHUNK));
    if (!step->adam->average)
        return HEED_OK;
    for (int64_t at = piece.from * p->cols, end = piece.to * p->cols; at < end; at += CHUNK) {
        size_t n = (size_t)(end - at < CHUNK ? end - at : CHUNK);
        void *average = hd_at(step->adam->average[piece.param], k->item_bytes, at);
        k->scale(average, step->keep, average, n);
        k->axpy(average, 1 - step->keep, hd_at(p->tensor.data, k->item_bytes, at), n);
    }
    return HEED_OK;
}

heed_status heed_adam_step(heed_adam *adam, double rate, heed_pool *pool, double *grad_norm)
{
    const heed_adam_opts *o = &adam->opts;
    heed_params *params = adam->params;
    struct step step = {.adam = adam, .cut = 1};
    double norm = 0;

    if (!(rate >= 0) || !isfinite(rate))
        return hd_fail(HEED_E_ARG, "adam: the rate is %g", rate);
    if (params->count != adam->count)
        return hd_fail(HEED_E_STATE, "adam: the parameters were added to after it was made");
    if (adam->swapped)
        return hd_fail(HEED_E_STATE, "adam: the weights are swapped with their average");
    if (grad_norm || o->clip_norm > 0) {
        HD_TRY(hd_pool_run(pool, params->pieces, square_piece, &step));
        for (int64_t i = 0; i < params->pieces; i++)
            norm += adam->partial[i];
        norm = sqrt(norm);
        if (!isfinite(norm)) /* one such step would spoil every weight for good */
            return hd_fail(HEED_E_RANGE, "adam: the gradient of step %" PRId64 " is not finite",
                           adam->steps + 1);
        if (o->clip_norm > 0 && norm > o->clip_norm)
            step.cut = o->clip_norm / norm;
    }
    double t = (double)(adam->steps + 1);
    double c1 = 1 - pow(o->beta1, t), c2 = 1 - pow(o->beta2, t);
    step.rate = rate * sqrt(c2) / c1;
    step.eps = o->eps * sqrt(c2);
    step.decay = rate * o->weight_decay;
    /* Early on the average spans fewer steps, so that the first draw does not linger in it. */
    step.keep = fmin(o->ema_decay, (1 + t) / (10 + t));
    HD_TRY(hd_pool_run(pool, params->pieces, step_piece, &step));
    adam->steps++;
    if (grad_norm)
        *grad_norm = norm;
    return HEED_OK;
}

heed_status heed_adam_learn(heed_adam *adam, heed_tape *tape, heed_tensor *loss, double rate)
{
    heed_status status = heed_tape_backward(tape, loss);

    if (status == HEED_OK)
        status = heed_adam_step(adam, rate, hd_tape_pool(tape), NULL);
    heed_params_zero_grad(adam->params);
    return status;
}

/* The numbers change places, not the pointers: replicas share the weights' memory. */
void heed_adam_swap_average(heed_adam *adam)
{
    char hold[4096];

    if (!adam->average)
        return;
    for (int64_t i = 0; i < adam->count; i++) {
        const heed_tensor *w = &adam->params->param[i]->tensor;
        size_t bytes = (size_t)hd_count(w) * hd_kernels_of(w)->item_bytes;
        for (size_t at = 0; at < bytes; at += sizeof hold) {
            size_t n = bytes - at < sizeof hold ? bytes - at : sizeof hold;
            char *a = (char *)w->data + at, *b = (char *)adam->average[i] + at;
            memcpy(hold, a, n);
            memcpy(a, b, n);
            memcpy(b, hold, n);
        }
    }
    adam->swapped = !adam->swapped;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention by its definition, in double, and random calls. Every number carries a bound of the
 * error that any evaluation in the type at hand may make, in unit roundoffs: a running error analysis
 * (Higham 2002, section 3.3), in which each step adds its own roundings and passes on those before. */
#ifndef HEED_TARGET_CALL_H
#define HEED_TARGET_CALL_H

#include "naive.h"
#include "tensor/tape.h"

struct tc_number {
    double value, error;
};

#define TC_EVENTS_MAX 24

struct tc_call {
    struct na_call memory; /* arrays that end at a page that cannot be read */
    heed_target_opts opts;
    heed_target_arrays a;
    heed_params *params;
    heed_target_weights weights;
    int64_t offsets[8], lengths[8], rows;
};

static inline void tc_fill(heed_tensor *x, heed_rng *rng, double scale, double middle)
{
    for (int64_t i = 0; x && i < hd_count(x); i++) {
        double value = middle + scale * (2 * hd_random_unit(rng) - 1);
        if (x->dtype == HEED_F32)
            ((float *)x->data)[i] = (float)value;
        else
            ((double *)x->data)[i] = value;
    }
}

static inline void tc_weights(struct tc_call *c, heed_rng *rng)
{
    int64_t units[HEED_TARGET_HIDDEN_MAX], hidden = 1 + (int64_t)hd_random_below(rng, 3);
    for (int64_t l = 0; l < hidden; l++)
        units[l] = 1 + (int64_t)hd_random_below(rng, 40);
    if (heed_params_new((heed_dtype)c->a.dtype, hd_random_u64(rng), &c->params) != HEED_OK ||
        heed_target_init(c->params, "din", c->a.C, units, hidden, c->opts.activation, &c->weights) !=
            HEED_OK) {
        fprintf(stderr, "%s\n", heed_error_message());
        exit(1);
    }
    for (int64_t l = 0; l < hidden; l++) {
        tc_fill(c->weights.layer[l].b, rng, 0.5, 0);
        tc_fill(c->weights.layer[l].alpha, rng, 0.5, 0);
        tc_fill(c->weights.layer[l].mean, rng, 0.5, 0);
        tc_fill(c->weights.layer[l].var, rng, 0.5, 1);
    }
    tc_fill(c->weights.b, rng, 0.5, 0);
}

static inline struct tc_call tc_random(heed_rng *rng, heed_dtype dtype)
{
    struct tc_call c = {0};
    heed_target_arrays *a = &c.a;
    static const int64_t widths[] = {1, 2, 3, 8, 15, 16, 17, 32, 33};
    int64_t layout = (int64_t)hd_random_below(rng, 3);
    c.memory.a.dtype = a->dtype = dtype;
    a->B = (int64_t)hd_random_below(rng, 6);
    a->K = (int64_t)hd_random_below(rng, 5);
    a->S = (int64_t)hd_random_below(rng, TC_EVENTS_MAX + 1);
    a->C = widths[hd_random_below(rng, sizeof widths / sizeof *widths)];
    c.opts.activation = (heed_target_activation)hd_random_below(rng, 3);
    c.opts.softmax = hd_random_below(rng, 2);
    c.opts.scale = hd_random_below(rng, 2) ? 0 : 0.1 + hd_random_unit(rng);
    c.rows = a->B * a->S;
    for (int64_t b = 0; b < a->B; b++) {
        c.lengths[b] = (int64_t)hd_random_below(rng, (uint64_t)a->S + 1);
        c.offsets[b + 1] = c.offsets[b] + (int64_t)hd_random_below(rng, TC_EVENTS_MAX + 1);
    }
    if (layout == 1)
        c.opts.lengths = c.lengths;
    if (layout == 2)
        c.opts.offsets = c.offsets, c.opts.sequences = a->B, c.rows = c.offsets[a->B];
    tc_weights(&c, rng);
    a->a_row = hd_random_below(rng, 2) ? 0 : a->C + (int64_t)hd_random_below(rng, 5);
    a->e_row = hd_random_below(rng, 2) ? 0 : a->C + (int64_t)hd_random_below(rng, 5);
    int64_t a_row = a->a_row ? a->a_row : a->C, e_row = a->e_row ? a->e_row : a->C;
    int64_t units = a->B * a->K;
    a->a = na_numbers(&c.memory, rng, units ? (units - 1) * a_row + a->C : 0, 1);
    a->e = na_numbers(&c.memory, rng, c.rows ? (c.rows - 1) * e_row + a->C : 0, 1);
    a->out = na_numbers(&c.memory, rng, units * a->C, 1);
    a->weights = na_numbers(&c.memory, rng, a->K * c.rows, 1);
    return c;
}

/* What points into the call itself, once it lies where it stays. */
static inline void tc_settle(struct tc_call *c)
{
    c->opts.lengths = c->opts.lengths ? c->lengths : NULL;
    c->opts.offsets = c->opts.offsets ? c->offsets : NULL;
}

static inline void tc_free(struct tc_call *c)
{
    heed_params_free(c->params);
    na_free(&c->memory);
}

static inline int64_t tc_length(const struct tc_call *c, int64_t b)
{
    return c->opts.offsets ? c->offsets[b + 1] - c->offsets[b]
                           : c->opts.lengths ? c->lengths[b] : c->a.S;
}

static inline int64_t tc_row(const struct tc_call *c, int64_t b)
{
    return c->opts.offsets ? c->offsets[b] : b * c->a.S;
}

/* Place of the weight of candidate k of history b for its event s. */
static inline int64_t tc_weight(const struct tc_call *c, int64_t b, int64_t k, int64_t s)
{
    return c->a.K * tc_row(c, b) + k * (c->opts.offsets ? tc_length(c, b) : c->a.S) + s;
}

static inline double tc_at(const struct tc_call *c, const heed_tensor *x, int64_t i)
{
    return na_get(&c->memory, x->data, i);
}

/* One hidden layer's values before the activation, for all pairs of the batch. */
static inline void tc_linear(const struct tc_call *c, const heed_tensor *w, const heed_tensor *b,
                             int64_t pairs, const struct tc_number *x, struct tc_number *y)
{
    int64_t O = w->dim[0], I = w->dim[1];
    for (int64_t p = 0; p < pairs; p++)
        for (int64_t o = 0; o < O; o++) {
            double sum = tc_at(c, b, o), mass = fabs(sum), passed = 0;
            for (int64_t i = 0; i < I; i++) {
                double wi = tc_at(c, w, o * I + i);
                sum += wi * x[p * I + i].value;
                mass += fabs(wi * x[p * I + i].value);
                passed += fabs(wi) * x[p * I + i].error;
            }
            y[p * O + o] = (struct tc_number){sum, passed + (double)(I + 8) * mass};
        }
}

struct tc_center {
    struct tc_number mean, rstd; /* of rstd the error is relative */
};

static inline struct tc_center tc_center(const struct tc_call *c, const heed_target_layer *layer,
                                         int64_t o, int64_t pairs, const struct tc_number *x,
                                         bool batch)
{
    int64_t O = layer->w->dim[0];
    double eps = c->opts.dice.eps != 0 ? c->opts.dice.eps : 1e-8, n = (double)pairs;
    struct tc_number mean = {0, 0}, var = {0, 0};
    if (!batch) {
        mean.value = tc_at(c, layer->mean, o), mean.error = fabs(mean.value);
        return (struct tc_center){mean, {1 / sqrt(tc_at(c, layer->var, o) + eps), 4}};
    }
    for (int64_t p = 0; p < pairs; p++) {
        mean.value += x[p * O + o].value / n;
        mean.error += (x[p * O + o].error + 260 * fabs(x[p * O + o].value)) / n;
    }
    for (int64_t p = 0; p < pairs; p++) {
        double d = x[p * O + o].value - mean.value;
        var.value += d * d / n;
        var.error += (2 * fabs(d) * (x[p * O + o].error + mean.error + fabs(mean.value)) +
                      260 * d * d) / n;
    }
    return (struct tc_center){mean, {1 / sqrt(var.value + eps), 4 + var.error / (var.value + eps)}};
}

static inline struct tc_number tc_activate(const struct tc_call *c, const heed_target_layer *layer,
                                           int64_t o, struct tc_number x, struct tc_center center)
{
    if (c->opts.activation == HEED_TARGET_SIGMOID) {
        double y = 1 / (1 + exp(-x.value));
        return (struct tc_number){y, 0.25 * x.error + (10 + fabs(x.value)) * y};
    }
    double alpha = tc_at(c, layer->alpha, o), most = fmax(1, fabs(alpha));
    if (c->opts.activation == HEED_TARGET_PRELU) /* where the sign is in doubt both slopes may be */
        return (struct tc_number){x.value > 0 ? x.value : alpha * x.value,
                                  most * x.error + most * fabs(x.value)};
    double d = x.value - center.mean.value, xhat = d * center.rstd.value;
    double off = center.rstd.value * (x.error + center.mean.error + 2 * fabs(d)) +
                 (2 + center.rstd.error) * fabs(xhat);
    double p = 1 / (1 + exp(-xhat)), p_error = fmin(0.25 * off + (10 + fabs(xhat)) * p, 0x1p60);
    double slope = alpha + (1 - alpha) * p;
    return (struct tc_number){x.value * slope,
                              fabs(slope) * x.error + fabs(x.value) * fabs(1 - alpha) * p_error +
                                  6 * fabs(x.value) * (fabs(alpha) + fabs(1 - alpha) * p)};
}

/* Features of all pairs, by history, candidate, event. */
static inline int64_t tc_features(const struct tc_call *c, struct tc_number **out)
{
    const heed_target_arrays *a = &c->a;
    int64_t pairs = 0, C = a->C;
    for (int64_t b = 0; b < a->B; b++)
        pairs += a->K * tc_length(c, b);
    struct tc_number *x = *out = calloc((size_t)(pairs * 4 * C) + 1, sizeof *x);
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t k = 0; k < a->K; k++)
            for (int64_t s = 0; s < tc_length(c, b); s++, x += 4 * C)
                for (int64_t i = 0; i < C; i++) {
                    double u = na_get(&c->memory, a->a,
                                      (b * a->K + k) * (a->a_row ? a->a_row : C) + i);
                    double v = na_get(&c->memory, a->e,
                                      (tc_row(c, b) + s) * (a->e_row ? a->e_row : C) + i);
                    x[i].value = u, x[C + i].value = v;
                    /* split, a - e is (w_a + w_d) a + (w_e - w_d) e: masses of both count */
                    x[2 * C + i] = (struct tc_number){u - v, (double)(4 * C + 8) * (fabs(u) + fabs(v))};
                    x[3 * C + i].value = u * v;
                }
    return pairs;
}

/* Scores of all pairs. batch: Dice with the batch's moments. */
static inline struct tc_number *tc_scores(const struct tc_call *c, bool batch)
{
    struct tc_number *x, *y;
    int64_t pairs = tc_features(c, &x);
    for (int64_t l = 0; l < c->weights.hidden; l++) {
        const heed_target_layer *layer = &c->weights.layer[l];
        int64_t O = layer->w->dim[0];
        y = calloc((size_t)(pairs * O) + 1, sizeof *y);
        tc_linear(c, layer->w, layer->b, pairs, x, y);
        for (int64_t o = 0; o < O && pairs > 0; o++) {
            struct tc_center center = {0};
            if (c->opts.activation == HEED_TARGET_DICE)
                center = tc_center(c, layer, o, pairs, y, batch);
            for (int64_t p = 0; p < pairs; p++)
                y[p * O + o] = tc_activate(c, layer, o, y[p * O + o], center);
        }
        free(x);
        x = y;
    }
    y = calloc((size_t)pairs + 1, sizeof *y);
    tc_linear(c, c->weights.w, c->weights.b, pairs, x, y);
    free(x);
    return y;
}

/* Scores of one unit into weights. */
static inline void tc_weigh(const struct tc_call *c, int64_t n, struct tc_number *w)
{
    double scale = c->opts.scale != 0 ? c->opts.scale
                                      : c->opts.softmax ? 1 / sqrt((double)c->a.C) : 1;
    double top = -(double)INFINITY, sum = 0, worst = 0;
    for (int64_t s = 0; s < n; s++) {
        w[s] = (struct tc_number){scale * w[s].value,
                                  scale * w[s].error + 3 * scale * fabs(w[s].value)};
        top = fmax(top, w[s].value), worst = fmax(worst, w[s].error + fabs(w[s].value));
    }
    for (int64_t s = 0; s < n && c->opts.softmax; s++)
        sum += exp(w[s].value - top);
    for (int64_t s = 0; s < n && c->opts.softmax; s++) {
        w[s].value = exp(w[s].value - top) / sum;
        w[s].error = w[s].value * (2 * worst + 4 * fabs(top) + (double)n + 10);
    }
}

/* Is what the call left the definition's? Says what is not. */
static inline bool tc_check(const struct tc_call *c, const void *out, const void *weights, bool batch)
{
    const heed_target_arrays *a = &c->a;
    double u = a->dtype == HEED_F32 ? (double)FLT_EPSILON / 2 : DBL_EPSILON / 2;
    double tiny = a->dtype == HEED_F32 ? (double)FLT_MIN : DBL_MIN;
    struct tc_number *all = tc_scores(c, batch), *w = all;
    bool good = true;
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t k = 0; k < a->K; k++) {
            int64_t n = tc_length(c, b);
            tc_weigh(c, n, w);
            for (int64_t s = 0; s < n && good; s++) {
                double got = na_get(&c->memory, weights, tc_weight(c, b, k, s));
                good = fabs(got - w[s].value) <= u * w[s].error + tiny;
                if (!good)
                    fprintf(stderr, "weight (%" PRId64 ",%" PRId64 ",%" PRId64
                            "): got %.9g, want %.9g within %.3g\n", b, k, s, got, w[s].value,
                            u * w[s].error);
            }
            for (int64_t i = 0; i < a->C && good; i++) {
                double sum = 0, error = 0;
                for (int64_t s = 0; s < n; s++) {
                    double e = na_get(&c->memory, a->e,
                                      (tc_row(c, b) + s) * (a->e_row ? a->e_row : a->C) + i);
                    sum += w[s].value * e;
                    error += (w[s].error + (double)(n + 2) * fabs(w[s].value)) * fabs(e);
                }
                double got = na_get(&c->memory, out, (b * a->K + k) * a->C + i);
                good = fabs(got - sum) <= u * error + tiny;
                if (!good)
                    fprintf(stderr, "out (%" PRId64 ",%" PRId64 ",%" PRId64
                            "): got %.9g, want %.9g within %.3g\n", b, k, i, got, sum, u * error);
            }
            w += n;
        }
    free(all);
    if (!good)
        fprintf(stderr, "%s B=%" PRId64 " K=%" PRId64 " S=%" PRId64 " C=%" PRId64
                " activation %d%s%s%s, seed %" PRIu64 "\n",
                a->dtype == HEED_F32 ? "float32" : "float64", a->B, a->K, a->S, a->C,
                (int)c->opts.activation, c->opts.softmax ? " softmax" : "",
                c->opts.lengths ? " padded" : "", c->opts.offsets ? " ragged" : "", na_seed());
    return good;
}

/* The same call on a tape. K 1 may come as rank 2. */
static inline heed_status tc_tape(const struct tc_call *c, heed_tape *tape, bool rank_2,
                                  heed_tensor **out, heed_tensor **weights)
{
    const heed_target_arrays *a = &c->a;
    heed_dtype dtype = (heed_dtype)a->dtype;
    int64_t a_row = a->a_row ? a->a_row : a->C, e_row = a->e_row ? a->e_row : a->C;
    heed_tensor *ta, *te;
    /* Views of wider rows, of which only the columns that are there are touched. */
    HD_TRY(heed_tensor_wrap(tape, dtype, (void *)a->a, (int64_t[]){a->B * a->K, a_row}, 2, false, &ta));
    HD_TRY(heed_slice(tape, ta, 1, 0, a->C, &ta));
    HD_TRY(heed_reshape(tape, ta, (int64_t[]){a->B, rank_2 ? a->C : a->K, a->C}, rank_2 ? 2 : 3, &ta));
    HD_TRY(heed_tensor_wrap(tape, dtype, (void *)a->e, (int64_t[]){c->rows, e_row}, 2, false, &te));
    HD_TRY(heed_slice(tape, te, 1, 0, a->C, &te));
    if (!c->opts.offsets)
        HD_TRY(heed_reshape(tape, te, (int64_t[]){a->B, a->S, a->C}, 3, &te));
    return heed_target(tape, ta, te, &c->weights, &c->opts, out, weights);
}

#endif

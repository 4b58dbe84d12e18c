/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing by agreement by its definition, in double, capsules and all, over random calls. A pass feeds
 * the next through a softmax, so errors grow from pass to pass; the definition carries a bound of them
 * beside each number, in unit roundoffs (Higham 2002, section 3.3), as target_call.h does. */
#ifndef HEED_ROUTING_CALL_H
#define HEED_ROUTING_CALL_H

#include "naive.h"
#include "tensor/tape.h"

struct rc_number {
    double value, error;
};

struct rc_call {
    struct na_call memory; /* arrays that end at a page that cannot be read */
    heed_routing_opts opts;
    int64_t B, S, C, O, K, rows, e_row, positions; /* positions: of the maps; 0: none by position */
    int map_rank;
    void *e, *map;
    int64_t offsets[20], lengths[20];
};

static inline void rc_settle(struct rc_call *c)
{
    c->opts.lengths = c->opts.lengths ? c->lengths : NULL;
    c->opts.offsets = c->opts.offsets ? c->offsets : NULL;
}

static inline int64_t rc_length(const struct rc_call *c, int64_t b)
{
    return c->opts.offsets ? c->offsets[b + 1] - c->offsets[b] : c->opts.lengths ? c->lengths[b] : c->S;
}

static inline int64_t rc_row(const struct rc_call *c, int64_t b)
{
    return c->opts.offsets ? c->offsets[b] : b * c->S;
}

/* Place of the weight of interest k of history b for its event s. */
static inline int64_t rc_weight(const struct rc_call *c, int64_t b, int64_t k, int64_t s)
{
    return c->K * rc_row(c, b) + k * (c->opts.offsets ? rc_length(c, b) : c->S) + s;
}

/* Everything but the map and the logits' start is drawn; map_rank 0: any. */
static inline struct rc_call rc_random(heed_rng *rng, heed_dtype dtype, int map_rank)
{
    struct rc_call c = {.memory.a.dtype = dtype};
    static const int64_t widths[] = {1, 2, 3, 8, 15, 16, 17, 32, 33};
    const int64_t most = 20, layout = (int64_t)hd_random_below(rng, 3);
    c.B = (int64_t)hd_random_below(rng, 19);
    c.S = (int64_t)hd_random_below(rng, (uint64_t)most + 1);
    c.C = widths[hd_random_below(rng, 9)];
    c.O = hd_random_below(rng, 2) ? c.C : widths[hd_random_below(rng, 9)];
    c.K = 1 + (int64_t)hd_random_below(rng, 5);
    c.map_rank = map_rank ? map_rank : 2 + (int)hd_random_below(rng, 3);
    c.opts.interests = c.map_rank == 2 || hd_random_below(rng, 2) ? c.K : 0;
    c.opts.iterations = (int64_t)hd_random_below(rng, 5);
    c.opts.adaptive = hd_random_below(rng, 2);
    c.rows = c.B * c.S;
    for (int64_t b = 0; b < c.B; b++) {
        c.lengths[b] = (int64_t)hd_random_below(rng, (uint64_t)c.S + 1);
        c.offsets[b + 1] = c.offsets[b] + (int64_t)hd_random_below(rng, (uint64_t)most + 1);
    }
    if (layout == 1)
        c.opts.lengths = c.lengths;
    if (layout == 2)
        c.opts.offsets = c.offsets, c.opts.sequences = c.B, c.rows = c.offsets[c.B];
    c.e_row = c.C + (int64_t)hd_random_below(rng, 2) * 3;
    c.e = na_numbers(&c.memory, rng, c.rows ? (c.rows - 1) * c.e_row + c.C : 0, 1);
    c.positions = c.map_rank == 4 ? most + (int64_t)hd_random_below(rng, 3) : 0;
    int64_t maps = c.map_rank == 2 ? 1 : c.map_rank == 3 ? c.K : c.positions * c.K;
    c.map = na_numbers(&c.memory, rng, maps * c.O * c.C, 1 / sqrt((double)c.C));
    c.opts.positions = most;
    c.opts.logits = na_numbers(&c.memory, rng, c.K * most, 1);
    return c;
}

static inline void rc_free(struct rc_call *c)
{
    na_free(&c->memory);
}

static inline heed_status rc_tape(const struct rc_call *c, heed_tape *tape, bool wants,
                                  heed_tensor *given[2], heed_tensor **out, heed_tensor **weights)
{
    heed_dtype dtype = (heed_dtype)c->memory.a.dtype;
    const int64_t dims[3][4] = {{c->O, c->C}, {c->K, c->O, c->C}, {c->positions, c->K, c->O, c->C}};
    heed_tensor *e, *map;
    HD_TRY(heed_tensor_wrap(tape, dtype, c->e, (int64_t[]){c->rows, c->e_row}, 2, wants, &e));
    HD_TRY(heed_tensor_wrap(tape, dtype, c->map, dims[c->map_rank - 2], c->map_rank, wants, &map));
    if (given)
        given[0] = e, given[1] = map;
    HD_TRY(heed_slice(tape, e, 1, 0, c->C, &e));
    if (!c->opts.offsets)
        HD_TRY(heed_reshape(tape, e, (int64_t[]){c->B, c->S, c->C}, 3, &e));
    return heed_routing(tape, e, map, &c->opts, out, weights);
}

/* ---- the definition, of one history */

/* u (n, K, O) */
static inline struct rc_number *rc_capsules(const struct rc_call *c, int64_t b)
{
    int64_t n = rc_length(c, b);
    struct rc_number *u = calloc((size_t)(n * c->K * c->O) + 1, sizeof *u);
    for (int64_t s = 0; s < n; s++)
        for (int64_t k = 0; k < c->K; k++)
            for (int64_t o = 0; o < c->O; o++) {
                int64_t map = c->map_rank == 2 ? 0 : c->map_rank == 3 ? k : s * c->K + k;
                struct rc_number *x = &u[(s * c->K + k) * c->O + o];
                for (int64_t i = 0; i < c->C; i++) {
                    double y = na_get(&c->memory, c->map, (map * c->O + o) * c->C + i) *
                               na_get(&c->memory, c->e, (rc_row(c, b) + s) * c->e_row + i);
                    x->value += y;
                    x->error += (double)(c->C + 2) * fabs(y);
                }
            }
    return u;
}

/* c from the logits of one event, in place, over the first `interests`. */
static inline void rc_softmax(const struct rc_call *c, int64_t interests, const struct rc_number *b,
                              struct rc_number *w)
{
    double top = -(double)INFINITY, sum = 0, worst = 0;
    for (int64_t k = 0; k < interests; k++)
        top = fmax(top, b[k].value), worst = fmax(worst, b[k].error + fabs(b[k].value));
    for (int64_t k = 0; k < c->K; k++)
        w[k] = (struct rc_number){k < interests ? exp(b[k].value - top) : 0, 0};
    for (int64_t k = 0; k < interests; k++)
        sum += w[k].value;
    for (int64_t k = 0; k < interests; k++) {
        w[k].value /= sum;
        w[k].error = w[k].value * (2 * worst + 2 * fabs(top) + (double)c->K + 10);
    }
}

/* v from weights w (n, K): z, then squash. Interchanged, map and sum round n + C + 4 times a term. */
static inline void rc_interest(const struct rc_call *c, int64_t n, int64_t k,
                               const struct rc_number *u, const struct rc_number *w,
                               struct rc_number *v)
{
    double q = 0, off = 0;
    for (int64_t o = 0; o < c->O; o++) {
        v[o] = (struct rc_number){0, 0};
        for (int64_t s = 0; s < n; s++) {
            const struct rc_number *x = &u[(s * c->K + k) * c->O + o];
            double weight = w[s * c->K + k].value;
            v[o].value += weight * x->value;
            /* x->error holds (C + 2) times the mass of the product behind x */
            v[o].error += w[s * c->K + k].error * fabs(x->value) +
                          weight * x->error * (1 + (double)(n + 4) / (double)(c->C + 2));
        }
        q += v[o].value * v[o].value;
        off += v[o].error * v[o].error;
    }
    /* Squash's derivative, along z and across, is at most 1.3; the factor rounds O + 8 times. */
    double f = q / ((1 + q) * sqrt(q + 1e-9));
    for (int64_t o = 0; o < c->O; o++) {
        v[o].error = 1.3 * sqrt(off) + (double)(c->O + 8) * fabs(f * v[o].value);
        v[o].value *= f;
    }
}

/* out (K, O) and weights (n, K) of history b. */
static inline void rc_route(const struct rc_call *c, int64_t b, struct rc_number *out,
                            struct rc_number *w)
{
    int64_t n = rc_length(c, b), passes = c->opts.iterations ? c->opts.iterations : 3;
    int64_t interests = c->opts.adaptive ? heed_routing_interests(n, c->K) : c->K;
    struct rc_number *u = rc_capsules(c, b);
    struct rc_number *logits = calloc((size_t)(n * c->K) + 1, sizeof *logits);
    for (int64_t s = 0; s < n; s++)
        for (int64_t k = 0; k < c->K; k++)
            logits[s * c->K + k].value =
                na_get(&c->memory, c->opts.logits, k * c->opts.positions + s);
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t s = 0; s < n; s++)
            rc_softmax(c, interests, &logits[s * c->K], &w[s * c->K]);
        for (int64_t k = 0; k < c->K; k++)
            rc_interest(c, n, k, u, w, &out[k * c->O]);
        for (int64_t s = 0; s < n && pass + 1 < passes; s++)
            for (int64_t k = 0; k < c->K; k++) {
                struct rc_number *to = &logits[s * c->K + k];
                for (int64_t o = 0; o < c->O; o++) {
                    const struct rc_number *x = &u[(s * c->K + k) * c->O + o], *v = &out[k * c->O + o];
                    to->value += v->value * x->value;
                    to->error += v->error * fabs(x->value) +
                                 fabs(v->value) * x->error * (1 + (double)(c->O + 4) / (double)(c->C + 2));
                }
                to->error += fabs(to->value);
            }
    }
    free(u), free(logits);
}

static inline bool rc_near(const struct rc_call *c, double got, struct rc_number want)
{
    double u = c->memory.a.dtype == HEED_F32 ? (double)FLT_EPSILON / 2 : DBL_EPSILON / 2;
    double tiny = c->memory.a.dtype == HEED_F32 ? 1e-35 : DBL_MIN;
    return fabs(got - want.value) <= u * want.error + tiny;
}

static inline bool rc_check(const struct rc_call *c, const heed_tensor *out, const heed_tensor *weights)
{
    struct rc_number *v = calloc((size_t)(c->K * c->O) + 1, sizeof *v);
    bool good = true;
    for (int64_t b = 0; b < c->B && good; b++) {
        int64_t n = rc_length(c, b);
        struct rc_number *w = calloc((size_t)(n * c->K) + 1, sizeof *w);
        rc_route(c, b, v, w);
        for (int64_t k = 0; k < c->K && good; k++) {
            for (int64_t s = 0; s < n && good; s++) {
                double got = na_get(&c->memory, weights->data, rc_weight(c, b, k, s));
                good = rc_near(c, got, w[s * c->K + k]);
                if (!good)
                    fprintf(stderr, "weight (%" PRId64 ",%" PRId64 ",%" PRId64 "): got %.9g, want %.9g\n",
                            b, k, s, got, w[s * c->K + k].value);
            }
            for (int64_t o = 0; o < c->O && good; o++) {
                double got = na_get(&c->memory, out->data, (b * c->K + k) * c->O + o);
                good = rc_near(c, got, v[k * c->O + o]) && (n > 0 || got == 0);
                if (!good)
                    fprintf(stderr, "out (%" PRId64 ",%" PRId64 ",%" PRId64 "): got %.9g, want %.9g\n", b,
                            k, o, got, v[k * c->O + o].value);
            }
        }
        free(w);
    }
    free(v);
    if (!good)
        fprintf(stderr, "%s B=%" PRId64 " S=%" PRId64 " C=%" PRId64 " O=%" PRId64 " K=%" PRId64
                " map of rank %d, %" PRId64 " passes%s%s%s, seed %" PRIu64 "\n",
                c->memory.a.dtype == HEED_F32 ? "float32" : "float64", c->B, c->S, c->C, c->O, c->K,
                c->map_rank, c->opts.iterations, c->opts.adaptive ? " adaptive" : "",
                c->opts.lengths ? " padded" : "", c->opts.offsets ? " ragged" : "", na_seed());
    return good;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The linear and the hashed method by their definitions, in double, all pairs at once; and random calls
 * of them. As in naive.h, each value stands beside the mass from which its bound is made.
 *
 * The hash is drawn and made anew here. Where two of its candidates are so near each other that
 * rounding may choose, me_lsh_pairs() says so and the call is left out: one in some hundreds. */
#ifndef HEED_METHODS_BY_DEFINITION_H
#define HEED_METHODS_BY_DEFINITION_H

#include "naive.h"

/* One head of one sequence. pair (T, S): is it seen. */
struct me_head {
    const struct na_call *c;
    struct na_sequence s;
    int64_t h, kv;     /* heads of queries and of keys */
    bool *pair;
    struct na_value *w; /* (T, S) weights */
    struct na_value *score; /* LSH */
};

static inline int64_t me_kv_heads(const struct na_call *c)
{
    return c->a.kv_heads ? c->a.kv_heads : c->a.H;
}

static inline double me_q(const struct me_head *m, int64_t t, int64_t d)
{
    return na_get(m->c, m->c->a.q, na_at(m->c, m->c->a.q_stride, m->s.b, m->s.q_row, t, m->h) + d);
}

static inline double me_k(const struct me_head *m, int64_t j, int64_t d)
{
    return na_get(m->c, m->c->a.k, na_at(m->c, m->c->a.k_stride, m->s.b, m->s.k_row, j, m->kv) + d);
}

static inline double me_v(const struct me_head *m, int64_t j, int64_t e)
{
    return na_get(m->c, m->c->a.v, na_at(m->c, m->c->a.v_stride, m->s.b, m->s.k_row, j, m->kv) + e);
}

static inline double me_dout(const struct me_head *m, int64_t t, int64_t e)
{
    return na_get(m->c, m->c->a.dout, na_at(m->c, m->c->a.out_stride, m->s.b, m->s.q_row, t, m->h) + e);
}

static inline struct me_head me_head(const struct na_call *c, int64_t b, int64_t h)
{
    struct me_head m = {.c = c, .s = na_sequence(c, b), .h = h,
                        .kv = h / (c->a.H / me_kv_heads(c))};
    size_t pairs = (size_t)(m.s.T * m.s.S) + 1;
    m.pair = calloc(pairs, sizeof *m.pair);
    m.w = calloc(pairs, sizeof *m.w);
    m.score = calloc(pairs, sizeof *m.score);
    return m;
}

static inline void me_head_free(struct me_head *m)
{
    free(m->pair), free(m->w), free(m->score);
}

/* ---- linear */

static inline double me_phi(double x)
{
    return x > 0 ? x + 1 : exp(x);
}

static inline double me_slope(double x)
{
    return x > 0 ? 1 : exp(x);
}

/* Sums of positive terms: a weight's relative error is that of two sums. */
static inline void me_linear(struct me_head *m)
{
    for (int64_t t = 0; t < m->s.T; t++) {
        double sum = 0;
        for (int64_t j = 0; j < m->s.S; j++) {
            int64_t at = t * m->s.S + j;
            m->pair[at] = j < m->s.visible && (!m->c->opts.causal || j <= t + m->s.S - m->s.T);
            for (int64_t d = 0; d < m->c->a.D && m->pair[at]; d++)
                m->w[at].value += me_phi(me_q(m, t, d)) * me_phi(me_k(m, j, d));
            sum += m->w[at].value;
        }
        for (int64_t j = 0; j < m->s.S; j++) {
            struct na_value *w = &m->w[t * m->s.S + j];
            w->value = sum > 0 ? w->value / sum : 0;
            w->mass = w->value;
        }
    }
}

/* ---- LSH */

static inline double me_rotation(const struct na_call *c, int64_t round, int64_t factor, int64_t column,
                                 int64_t d)
{
    heed_rng rng = hd_rng(c->opts.lsh_seed,
                          (uint64_t)round << 32 | (uint64_t)factor << 31 | (uint64_t)column);
    double x = 0;
    for (int64_t i = 0; i <= d; i++)
        x = hd_random_normal(&rng);
    return c->a.dtype == HEED_F32 ? (double)(float)x : x;
}

static inline void me_factors(const struct na_call *c, int64_t n, int64_t factor[2])
{
    int64_t chunk = c->opts.lsh_chunk ? c->opts.lsh_chunk : 64;
    factor[0] = c->opts.lsh_buckets ? c->opts.lsh_buckets : n <= chunk ? 1 : 2 * (n / chunk);
    factor[1] = 1;
    if (factor[0] > 64) {
        int64_t buckets = factor[0];
        factor[0] = 2 * (int64_t)ceil(sqrt((double)buckets) / 2);
        for (factor[1] = 2; factor[0] * factor[1] < buckets;)
            factor[1] += 2;
    }
}

/* argmax [x R, -x R]; false where it is not clear. */
static inline bool me_hash(const struct me_head *m, const double *R, int64_t t, int64_t columns,
                           int64_t *out)
{
    double top = -(double)INFINITY, second = -(double)INFINITY, most = 0;
    for (int64_t i = 0; i < 2 * columns; i++) {
        double y = 0, mass = 0;
        for (int64_t d = 0; d < m->c->a.D; d++) {
            double x = me_q(m, t, d) * R[d * columns + i % columns];
            y += i < columns ? x : -x, mass += fabs(x);
        }
        most = fmax(most, mass);
        if (y > top)
            second = top, top = y, *out = i;
        else if (y > second)
            second = y;
    }
    double u = m->c->a.dtype == HEED_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    return most == 0 || top - second > 2 * (double)(m->c->a.D + 2) * u * most;
}

/* Buckets of the n rows in one round. */
static inline bool me_buckets(const struct me_head *m, int64_t round, int64_t n, int64_t *bucket)
{
    int64_t factor[2], of = 1, D = m->c->a.D;
    bool clear = true;
    me_factors(m->c, n, factor);
    memset(bucket, 0, (size_t)n * sizeof *bucket);
    for (int f = 0; f < 2; of *= factor[f++]) {
        int64_t columns = factor[f] / 2;
        if (factor[f] == 1)
            continue;
        double *R = calloc((size_t)(D * columns) + 1, sizeof *R);
        for (int64_t i = 0; i < D * columns; i++)
            R[i] = me_rotation(m->c, round, f, i % columns, i / columns);
        for (int64_t t = 0; t < n; t++) {
            int64_t hash = 0;
            clear &= me_hash(m, R, t, columns, &hash);
            bucket[t] += of * hash;
        }
        free(R);
    }
    return clear;
}

/* Who sees whom over all rounds; rows at or after `visible` take no part. */
static inline bool me_lsh_pairs(struct me_head *m)
{
    int64_t n = m->s.visible, chunk = m->c->opts.lsh_chunk ? m->c->opts.lsh_chunk : 64;
    int64_t rounds = m->c->opts.lsh_rounds ? m->c->opts.lsh_rounds : 4;
    int64_t *bucket = calloc((size_t)n + 1, sizeof *bucket), *rank = calloc((size_t)n + 1, sizeof *rank);
    bool clear = true;
    for (int64_t r = 0; r < rounds; r++) {
        clear &= me_buckets(m, r, n, bucket);
        for (int64_t i = 0; i < n; i++) {
            rank[i] = 0;
            for (int64_t j = 0; j < n; j++)
                rank[i] += bucket[j] < bucket[i] || (bucket[j] == bucket[i] && j < i);
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t back = rank[i] / chunk - rank[j] / chunk;
                m->pair[i * m->s.S + j] |= bucket[i] == bucket[j] && (back == 0 || back == 1) &&
                                           i != j && (!m->c->opts.causal || j < i);
            }
    }
    for (int64_t i = 0; i < n; i++) {
        bool any = false;
        for (int64_t j = 0; j < n; j++)
            any |= m->pair[i * m->s.S + j];
        m->pair[i * m->s.S + i] = !any;
    }
    free(bucket), free(rank);
    return clear;
}

static inline double me_norm(const struct me_head *m, int64_t j)
{
    double sum = 0;
    for (int64_t d = 0; d < m->c->a.D; d++)
        sum += me_q(m, j, d) * me_q(m, j, d);
    return sqrt(sum);
}

/* The unit row that is a key. */
static inline double me_unit(const struct me_head *m, int64_t j, double norm, int64_t d)
{
    return norm > 0 ? me_q(m, j, d) / norm : 0;
}

/* Softmax over the pairs. */
static inline void me_lsh_weights(struct me_head *m)
{
    for (int64_t t = 0; t < m->s.T; t++) {
        double top = -(double)INFINITY, sum = 0;
        for (int64_t j = 0; j < m->s.S; j++) {
            struct na_value *x = &m->score[t * m->s.S + j];
            double norm = me_norm(m, j);
            for (int64_t d = 0; d < m->c->a.D && m->pair[t * m->s.S + j]; d++) {
                double y = na_scale(m->c) * me_q(m, t, d) * me_unit(m, j, norm, d);
                x->value += y, x->mass += fabs(y);
            }
            if (m->pair[t * m->s.S + j])
                top = fmax(top, x->value);
        }
        for (int64_t j = 0; j < m->s.S; j++)
            sum += m->pair[t * m->s.S + j] ? exp(m->score[t * m->s.S + j].value - top) : 0;
        for (int64_t j = 0; j < m->s.S; j++)
            if (m->pair[t * m->s.S + j]) {
                struct na_value *w = &m->w[t * m->s.S + j];
                w->value = exp(m->score[t * m->s.S + j].value - top) / sum;
                w->mass = w->value * (1 + m->score[t * m->s.S + j].mass);
            }
    }
}

/* ---- results of either */

static inline void me_out(const struct me_head *m, int64_t t, struct na_value *out)
{
    memset(out, 0, (size_t)m->c->a.E * sizeof *out);
    for (int64_t j = 0; j < m->s.S; j++)
        for (int64_t e = 0; e < m->c->a.E && m->pair[t * m->s.S + j]; e++) {
            const struct na_value *w = &m->w[t * m->s.S + j];
            na_add(&out[e], w->value * me_v(m, j, e), w->mass * fabs(me_v(m, j, e)));
        }
}

/* dv (S, E) of one head's queries, added; and per pair what the gradient of N - o d is for linear, of
 * the weight less the row's mean for LSH: (dout . v_j - dout . out). */
static inline void me_send(const struct me_head *m, struct na_value *dv, struct na_value *dp)
{
    int64_t E = m->c->a.E, S = m->s.S;
    for (int64_t t = 0; t < m->s.T; t++) {
        struct na_value mean = {0, 0};
        for (int64_t j = 0; j < S; j++) {
            struct na_value *x = &dp[t * S + j];
            const struct na_value *w = &m->w[t * S + j];
            for (int64_t e = 0; e < E && m->pair[t * S + j]; e++) {
                double y = me_dout(m, t, e) * me_v(m, j, e), z = me_dout(m, t, e);
                na_add(x, y, fabs(y));
                na_add(&dv[j * E + e], w->value * z, w->mass * fabs(z));
            }
            na_add(&mean, w->value * x->value, w->mass * x->mass);
        }
        for (int64_t j = 0; j < S; j++)
            na_add(&dp[t * S + j], -mean.value, mean.mass);
    }
}

/* df_t = sum_j g_j dp_tj / d_t, and the same for keys; then through phi. Added to dq (T, D), dk (S, D). */
static inline void me_linear_back(const struct me_head *m, const struct na_value *dp,
                                  struct na_value *dq, struct na_value *dk)
{
    int64_t D = m->c->a.D, S = m->s.S;
    for (int64_t t = 0; t < m->s.T; t++) {
        double sum = 0;
        for (int64_t j = 0; j < S; j++)
            for (int64_t d = 0; d < D && m->pair[t * S + j]; d++)
                sum += me_phi(me_q(m, t, d)) * me_phi(me_k(m, j, d));
        for (int64_t j = 0; j < S; j++)
            for (int64_t d = 0; d < D && m->pair[t * S + j] && sum > 0; d++) {
                double x = me_q(m, t, d), y = me_k(m, j, d);
                double to_q = me_slope(x) * me_phi(y) / sum, to_k = me_slope(y) * me_phi(x) / sum;
                const struct na_value *g = &dp[t * S + j];
                na_add(&dq[t * D + d], to_q * g->value, to_q * g->mass);
                na_add(&dk[j * D + d], to_k * g->value, to_k * g->mass);
            }
    }
}

/* Softmax's gradient, and the keys' through their norm into dq, which takes both. */
static inline void me_lsh_back(const struct me_head *m, const struct na_value *dp, struct na_value *dq)
{
    int64_t D = m->c->a.D, S = m->s.S;
    struct na_value *dk = calloc((size_t)(S * D) + 1, sizeof *dk);
    double scale = na_scale(m->c);
    for (int64_t t = 0; t < m->s.T; t++)
        for (int64_t j = 0; j < S; j++) {
            const struct na_value *w = &m->w[t * S + j], *g = &dp[t * S + j];
            double norm = me_norm(m, j), ds = w->value * g->value, mass = w->mass * g->mass;
            for (int64_t d = 0; d < D && m->pair[t * S + j] && t != j; d++) {
                double k = scale * me_unit(m, j, norm, d), q = scale * me_q(m, t, d);
                na_add(&dq[t * D + d], ds * k, mass * fabs(k));
                na_add(&dk[j * D + d], ds * q, mass * fabs(q));
            }
        }
    for (int64_t j = 0; j < S; j++) {
        double norm = me_norm(m, j);
        struct na_value along = {0, 0};
        for (int64_t d = 0; d < D; d++) {
            double k = me_unit(m, j, norm, d);
            na_add(&along, k * dk[j * D + d].value, fabs(k) * dk[j * D + d].mass);
        }
        for (int64_t d = 0; d < D && norm > 0; d++) {
            double k = me_unit(m, j, norm, d);
            na_add(&dq[j * D + d], (dk[j * D + d].value - k * along.value) / norm,
                   (dk[j * D + d].mass + fabs(k) * along.mass) / norm);
        }
    }
    free(dk);
}

/* ---- random calls */

static inline struct na_call me_random(heed_rng *rng, struct na_kind kind, heed_attention_method method)
{
    struct na_call c = {0};
    heed_attention_arrays *a = &c.a;
    heed_attention_opts *o = &c.opts;
    bool lsh = method == HEED_METHOD_LSH, ragged = kind.ragged;
    int64_t span, group = lsh ? 1 : 1 + (int64_t)hd_random_below(rng, 3);

    o->method = method, a->dtype = kind.dtype;
    a->B = (int64_t)hd_random_below(rng, 4);
    a->kv_heads = 1 + (int64_t)hd_random_below(rng, 2), a->H = a->kv_heads * group;
    if (group == 1 && hd_random_below(rng, 2))
        a->kv_heads = 0;
    a->T = na_length(rng, kind.length_max);
    a->S = hd_random_below(rng, 2) || ragged || lsh ? a->T : na_length(rng, kind.length_max);
    a->D = na_length(rng, kind.width_max);
    a->E = hd_random_below(rng, 2) ? a->D : na_length(rng, kind.width_max);
    o->causal = hd_random_below(rng, 2);
    if (lsh) {
        static const int64_t chunks[] = {0, 1, 2, 5, 8, 16, 64, 100, 1000};
        static const int64_t buckets[] = {0, 0, 1, 2, 4, 6, 16, 128, 130, 500};
        o->scale = hd_random_below(rng, 2) ? 0 : 0.1 + hd_random_unit(rng);
        o->lsh_rounds = (int64_t)hd_random_below(rng, 5);
        o->lsh_chunk = chunks[hd_random_below(rng, 9)];
        o->lsh_buckets = buckets[hd_random_below(rng, 10)];
        o->lsh_seed = hd_random_u64(rng);
    }
    c.q_rows = a->B * a->T, c.k_rows = a->B * a->S;
    if (ragged) {
        int64_t *offsets = na_memory(&c, (size_t)(a->B + 1) * sizeof *offsets);
        for (int64_t b = 0; b < a->B; b++)
            offsets[b + 1] = offsets[b] + na_length(rng, kind.length_max);
        o->offsets = offsets, o->sequences = a->B;
        c.q_rows = c.k_rows = a->T = a->S = offsets[a->B];
    } else if (hd_random_below(rng, 2)) {
        int64_t *lengths = na_memory(&c, (size_t)a->B * sizeof *lengths);
        for (int64_t b = 0; b < a->B; b++)
            lengths[b] = (int64_t)hd_random_below(rng, (uint64_t)a->S + 1);
        o->lengths = lengths, c.padded = true;
    }
    int64_t B = ragged ? 1 : a->B, kv = me_kv_heads(&c);
    span = na_layout(rng, ragged, B, a->T, a->H, a->D, a->q_stride);
    a->q = na_numbers(&c, rng, span, 1), a->dq = na_numbers(&c, rng, span, 1);
    if (lsh) {
        a->k = a->q, a->dk = NULL;
        memcpy(a->k_stride, a->q_stride, sizeof a->q_stride);
    } else {
        span = na_layout(rng, ragged, B, a->S, kv, a->D, a->k_stride);
        a->k = na_numbers(&c, rng, span, 1), a->dk = na_numbers(&c, rng, span, 1);
    }
    span = na_layout(rng, ragged, B, a->S, kv, a->E, a->v_stride);
    a->v = na_numbers(&c, rng, span, 1), a->dv = na_numbers(&c, rng, span, 1);
    span = na_layout(rng, ragged, B, a->T, a->H, a->E, a->out_stride);
    a->out = na_numbers(&c, rng, span, 1), a->dout = na_numbers(&c, rng, span, 1);
    a->lse = na_numbers(&c, rng, a->H * c.q_rows, 1);
    if (!ragged || a->B <= 1)
        a->weights = na_numbers(&c, rng, a->B * a->H * a->T * a->S, 1);
    return c;
}

static inline void me_print(const struct na_call *c)
{
    const heed_attention_opts *o = &c->opts;
    na_print(c);
    fprintf(stderr, "  method %d, %" PRId64 " heads of keys, %" PRId64 " rounds of %" PRId64
            " buckets, chunks of %" PRId64 "\n", (int)o->method, c->a.kv_heads, o->lsh_rounds,
            o->lsh_buckets, o->lsh_chunk);
}

#endif

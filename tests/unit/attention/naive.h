/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention by its definition, in double, and random calls to hold the library against it: shapes that
 * lean to the edges, any layout, biases, padding, ragged batches. Each array ends at a page that
 * cannot be read, so that a step too far is a crash and not a number.
 *
 * Beside each value stands the mass from which its error bound is made: the same formula with absolute
 * values, times 1 + the mass of the score, since exp() turns an absolute error of a score into a
 * relative one of its weight (and SiLU's slope and curvature are at most 1.1). */
#ifndef HEED_NAIVE_ATTENTION_H
#define HEED_NAIVE_ATTENTION_H

#include "base/random.h"
#include "heed/attention.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NA_ARRAYS_MAX 48
#define NA_WIDTH_MAX 128 /* of a query or key */
#define NA_FAR 800       /* positions on either side of 0 */

struct na_value {
    double value, mass;
};

struct na_call {
    heed_attention_opts opts;
    heed_attention_arrays a;
    int64_t q_rows, k_rows; /* in all sequences */
    int64_t key_heads, group;
    bool biased, timed, padded;
    int64_t theta; /* numbers of it for one head */
    double slack; /* 0, or of results made of bfloat16 what they may be off by, relative to a mass */
    void *map[NA_ARRAYS_MAX];
    size_t map_bytes[NA_ARRAYS_MAX];
    int maps;
};

static inline uint64_t na_seed(void)
{
    const char *text = getenv("HEED_SEED");
    return text ? strtoull(text, NULL, 0) : 20261120;
}

/* bytes of zeros that end where reading faults. */
static inline void *na_memory(struct na_call *c, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || c->maps == NA_ARRAYS_MAX || mprotect(map + room, page, PROT_NONE)) {
        perror("mmap");
        exit(1);
    }
    c->map[c->maps] = map, c->map_bytes[c->maps++] = room + page;
    return map + room - bytes;
}

static inline void na_free(struct na_call *c)
{
    for (int i = 0; i < c->maps; i++)
        munmap(c->map[i], c->map_bytes[i]);
    c->maps = 0;
}

static inline size_t na_item(const struct na_call *c)
{
    return c->a.dtype == HEED_F32 ? 4 : 8;
}

static inline double na_get(const struct na_call *c, const void *x, int64_t i)
{
    return c->a.dtype == HEED_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static inline void na_put(const struct na_call *c, void *x, int64_t i, double value)
{
    if (c->a.dtype == HEED_F32)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

/* A random array of n elements. */
static inline void *na_numbers(struct na_call *c, heed_rng *rng, int64_t n, double scale)
{
    void *x = na_memory(c, (size_t)n * na_item(c));
    for (int64_t i = 0; i < n; i++)
        na_put(c, x, i, scale * hd_random_normal(rng));
    return x;
}

/* 0, 1, each side of a vector or a tile, or anything below most. */
static inline int64_t na_length(heed_rng *rng, int64_t most)
{
    static const int64_t edges[] = {0, 1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 257, 300};
    int64_t n = hd_random_below(rng, 2) ? edges[hd_random_below(rng, sizeof edges / sizeof *edges)]
                                        : (int64_t)hd_random_below(rng, (uint64_t)most + 1);
    return n <= most ? n : most;
}

/* Batch, row and head strides of one of three layouts, or of columns in something wider; returns the
 * elements from the first to the end of the last. */
static inline int64_t na_layout(heed_rng *rng, bool ragged, int64_t B, int64_t L, int64_t H,
                                int64_t D, int64_t stride[3])
{
    switch (hd_random_below(rng, ragged ? 2 : 3)) {
    case 0: /* (B, L, H, D) */
        stride[0] = L * H * D, stride[1] = H * D, stride[2] = D;
        break;
    case 1: /* the same, among other columns */
        stride[1] = H * D + 1 + (int64_t)hd_random_below(rng, 40);
        stride[0] = L * stride[1], stride[2] = D;
        break;
    default: /* (B, H, L, D) */
        stride[0] = H * L * D, stride[1] = D, stride[2] = L * D;
    }
    if (B * L * H * D == 0)
        return 0;
    return (B - 1) * stride[0] + (L - 1) * stride[1] + (H - 1) * stride[2] + D;
}

/* What a random call may have; scores stay small where `mild`. */
struct na_kind {
    heed_dtype dtype;
    int64_t length_max, width_max;
    bool ragged;
};

static inline void na_times(struct na_call *c, heed_rng *rng, int64_t rows, const int64_t **out,
                            int64_t ahead)
{
    int64_t *times = na_memory(c, (size_t)rows * sizeof *times), now = 0;
    for (int64_t i = 0; i < rows; i++) {
        now += (int64_t)hd_random_below(rng, UINT64_C(1) << hd_random_below(rng, 40));
        times[i] = now + ahead;
    }
    *out = times;
}

/* Strides of a mask over the dimensions it does not serve alike, and the elements it spans. */
static inline int64_t na_mask_layout(const struct na_call *c, heed_rng *rng, int64_t stride[4])
{
    const int64_t dim[4] = {c->a.B, c->a.H, c->a.T, c->a.S};
    int64_t step = 1 + (int64_t)hd_random_below(rng, 4) / 3, span = 1;
    for (int d = 3; d >= 0; d--) {
        if (dim[d] == 0)
            return memset(stride, 0, 4 * sizeof *stride), 0;
        stride[d] = hd_random_below(rng, d > 1 ? 8 : 2) ? step : 0;
        span += stride[d] * (dim[d] - 1);
        step = stride[d] ? stride[d] * dim[d] : step;
    }
    return span;
}

/* What hides pairs, and what depends on their distance. */
static inline void na_sight(struct na_call *c, heed_rng *rng, int64_t length_max)
{
    heed_attention_opts *o = &c->opts;
    bool masks = !o->offsets || c->a.B <= 1;
    int64_t H = c->a.H;
    if (masks && hd_random_below(rng, 4) == 0) {
        int64_t span = na_mask_layout(c, rng, o->keep_stride);
        uint8_t *keep = na_memory(c, (size_t)span);
        for (int64_t i = 0; i < span; i++)
            keep[i] = hd_random_below(rng, 3) ? (uint8_t)(1 + hd_random_below(rng, 255)) : 0;
        o->keep = keep;
    }
    if (masks && hd_random_below(rng, 4) == 0) {
        int64_t span = na_mask_layout(c, rng, o->mask_stride);
        void *mask = na_numbers(c, rng, span, 1);
        for (int64_t i = 0; i < span; i++)
            if (hd_random_below(rng, 4) == 0)
                na_put(c, mask, i, -(double)INFINITY);
        o->mask = mask;
    }
    if (hd_random_below(rng, 3) == 0) {
        o->window = 1 + (int64_t)hd_random_below(rng, hd_random_below(rng, 2) ? 8 : (uint64_t)length_max);
        o->globals = hd_random_below(rng, 2) ? (int64_t)hd_random_below(rng, 20) : 0;
        if (hd_random_below(rng, 2)) {
            int64_t *dilation = na_memory(c, (size_t)H * sizeof *dilation);
            for (int64_t h = 0; h < H; h++)
                dilation[h] = 1 + (int64_t)hd_random_below(rng, 5);
            o->dilation = dilation;
        }
    }
    if (hd_random_below(rng, 4) == 0) {
        double *slopes = na_memory(c, (size_t)H * sizeof *slopes);
        for (int64_t h = 0; h < H; h++)
            slopes[h] = (hd_random_unit(rng) * 4 - 1) / (double)length_max;
        o->alibi = slopes;
    }
    o->shift = hd_random_below(rng, 3) ? 0 : hd_random_normal(rng);
}

/* Any score, with rotary or without. */
static inline void na_random_score(struct na_call *c, heed_rng *rng)
{
    heed_attention_arrays *a = &c->a;
    heed_attention_opts *o = &c->opts;
    static const heed_attention_score scores[] = {
        HEED_SCORE_DOT, HEED_SCORE_DOT, HEED_SCORE_COSINE, HEED_SCORE_EUCLID, HEED_SCORE_BILINEAR,
        HEED_SCORE_FEATURES, HEED_SCORE_ADDITIVE};
    o->score = scores[hd_random_below(rng, sizeof scores / sizeof *scores)];
    if (o->score == HEED_SCORE_BILINEAR && a->T * a->S * a->D * a->D > 1 << 20)
        o->score = HEED_SCORE_DOT; /* the definition would take long */
    c->theta = o->score == HEED_SCORE_BILINEAR   ? a->D * a->D
               : o->score == HEED_SCORE_FEATURES ? 4 * a->D
               : o->score == HEED_SCORE_ADDITIVE ? a->D
                                                 : 0;
    if (o->score >= HEED_SCORE_BILINEAR) {
        double size = o->score == HEED_SCORE_BILINEAR ? 1 / sqrt((double)a->D + 1) : 0.5;
        a->theta = na_numbers(c, rng, a->H * c->theta, size);
        a->dtheta = na_numbers(c, rng, a->H * c->theta, 0);
    }
    if (a->D < 2 || hd_random_below(rng, 3))
        return;
    o->rotary = hd_random_below(rng, 2) ? HEED_ROTARY_PAIRS : HEED_ROTARY_HALVES;
    if (a->D % 2 || hd_random_below(rng, 2))
        o->rotary_dims = 2 + 2 * (int64_t)hd_random_below(rng, (uint64_t)(a->D / 2));
    o->rotary_base = hd_random_below(rng, 2) ? 0 : 500;
}

static inline struct na_call na_random(heed_rng *rng, struct na_kind kind)
{
    struct na_call c = {0};
    heed_attention_arrays *a = &c.a;
    heed_attention_opts *o = &c.opts;
    bool ragged = kind.ragged;
    int64_t span;

    a->dtype = kind.dtype;
    a->B = (int64_t)hd_random_below(rng, 4);
    c.key_heads = 1 + (int64_t)hd_random_below(rng, 3);
    c.group = hd_random_below(rng, 3) ? 1 : 1 + (int64_t)hd_random_below(rng, 3);
    a->H = c.key_heads * c.group;
    a->kv_heads = c.group > 1 || hd_random_below(rng, 2) ? c.key_heads : 0;
    a->T = na_length(rng, kind.length_max);
    a->S = hd_random_below(rng, 2) || ragged ? a->T : na_length(rng, kind.length_max);
    a->D = na_length(rng, kind.width_max);
    a->E = hd_random_below(rng, 2) ? a->D : na_length(rng, kind.width_max);
    o->weight = (heed_attention_weight)hd_random_below(rng, 3);
    o->causal = hd_random_below(rng, 2);
    o->scale = hd_random_below(rng, 2) ? 0 : 0.1 + hd_random_unit(rng);
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
    int64_t B = ragged ? 1 : a->B; /* one run of rows, or one for each sequence */
    span = na_layout(rng, ragged, B, a->T, a->H, a->D, a->q_stride);
    a->q = na_numbers(&c, rng, span, 1), a->dq = na_numbers(&c, rng, span, 1);
    span = na_layout(rng, ragged, B, a->S, c.key_heads, a->D, a->k_stride);
    a->k = na_numbers(&c, rng, span, 1), a->dk = na_numbers(&c, rng, span, 1);
    span = na_layout(rng, ragged, B, a->S, c.key_heads, a->E, a->v_stride);
    a->v = na_numbers(&c, rng, span, 1), a->dv = na_numbers(&c, rng, span, 1);
    span = na_layout(rng, ragged, B, a->T, a->H, a->E, a->out_stride);
    a->out = na_numbers(&c, rng, span, 1), a->dout = na_numbers(&c, rng, span, 1);
    a->lse = na_numbers(&c, rng, a->H * c.q_rows, 1);
    if (!ragged || a->B <= 1)
        a->weights = na_numbers(&c, rng, a->B * a->H * a->T * a->S, 1);
    if (hd_random_below(rng, 2)) {
        a->P = 1 + (int64_t)hd_random_below(rng, (uint64_t)(2 * kind.length_max));
        a->position = na_numbers(&c, rng, a->H * a->P, 1);
        a->dposition = na_numbers(&c, rng, a->H * a->P, 0);
        c.biased = true;
    }
    if (hd_random_below(rng, 3) == 0) {
        a->W = 1 + (int64_t)hd_random_below(rng, 140);
        a->time = na_numbers(&c, rng, a->H * a->W, 1);
        a->dtime = na_numbers(&c, rng, a->H * a->W, 0);
        na_times(&c, rng, c.k_rows, &o->key_times, 0);
        na_times(&c, rng, c.q_rows, &o->query_times, 7777);
        c.timed = true;
    }
    na_sight(&c, rng, kind.length_max);
    na_random_score(&c, rng);
    return c;
}

/* ---- the definition */

struct na_sequence {
    int64_t b, T, S, visible, q_row, k_row; /* rows: of the first, among all */
};

static inline struct na_sequence na_sequence(const struct na_call *c, int64_t b)
{
    const heed_attention_arrays *a = &c->a;
    if (c->opts.offsets) {
        int64_t row = c->opts.offsets[b], n = c->opts.offsets[b + 1] - row;
        return (struct na_sequence){b, n, n, n, row, row};
    }
    int64_t visible = c->opts.lengths ? c->opts.lengths[b] : a->S;
    return (struct na_sequence){b, a->T, a->S, visible, b * a->T, b * a->S};
}

/* Where row i of head h of a sequence starts in an array of that stride. */
static inline int64_t na_at(const struct na_call *c, const int64_t stride[3], int64_t b, int64_t row,
                            int64_t i, int64_t h)
{
    return c->opts.offsets ? (row + i) * stride[1] + h * stride[2]
                           : b * stride[0] + i * stride[1] + h * stride[2];
}

static inline double na_mask(const struct na_call *c, const struct na_sequence *s, int64_t h,
                             int64_t t, int64_t j)
{
    const int64_t *stride = c->opts.mask_stride;
    return c->opts.mask ? na_get(c, c->opts.mask, s->b * stride[0] + h * stride[1] + t * stride[2] +
                                                      j * stride[3])
                        : 0;
}

static inline bool na_sees(const struct na_call *c, const struct na_sequence *s, int64_t h, int64_t t,
                           int64_t j)
{
    const heed_attention_opts *o = &c->opts;
    const int64_t *keep = o->keep_stride;
    int64_t at = t + s->S - s->T, far = at > j ? at - j : j - at;
    int64_t dilation = o->dilation ? o->dilation[h] : 1;
    if (j >= s->visible || (o->causal && j > at))
        return false;
    if (o->keep && !o->keep[s->b * keep[0] + h * keep[1] + t * keep[2] + j * keep[3]])
        return false;
    if (isinf(na_mask(c, s, h, t, j)))
        return false;
    return o->window == 0 || j < o->globals || (at >= 0 && at < o->globals) ||
           (far <= o->window * dilation && far % dilation == 0);
}

static inline int64_t na_position_entry(const struct na_call *c, const struct na_sequence *s,
                                        int64_t t, int64_t j)
{
    int64_t back = t + s->S - s->T - j;
    return back < 0 ? -1 : c->a.P - 1 - (back < c->a.P - 1 ? back : c->a.P - 1);
}

static inline int64_t na_time_entry(const struct na_call *c, const struct na_sequence *s, int64_t t,
                                    int64_t j)
{
    int64_t span = c->opts.query_times[s->q_row + t] - c->opts.key_times[s->k_row + j];
    double seconds = fabs((double)(float)span) / 1000;
    int64_t bucket = seconds > 1 ? (int64_t)floor(log(seconds) / 0.301) : 0;
    bucket = bucket > 128 ? 128 : bucket;
    return bucket < c->a.W ? bucket : c->a.W - 1;
}

static inline double na_scale(const struct na_call *c)
{
    if (c->opts.scale != 0)
        return c->opts.scale;
    if (c->opts.score != HEED_SCORE_DOT && c->opts.score != HEED_SCORE_BILINEAR)
        return 1;
    return c->opts.weight == HEED_WEIGHT_SOFTMAX && c->a.D ? 1 / sqrt((double)c->a.D) : 1;
}

/* ---- how alike a query and a key are, and the derivatives of that */

/* Cosine and sine of position base^(-2 i / dims), kept from call to call. */
static inline const double *na_angle(double base, int64_t dims, int64_t position, int64_t i)
{
    static double known[2 * NA_FAR][NA_WIDTH_MAX / 2][2], known_base;
    static int64_t known_dims;
    if (base != known_base || dims != known_dims) {
        known_base = base, known_dims = dims;
        for (int64_t p = 0; p < 2 * NA_FAR; p++)
            for (int64_t l = 0; l < dims / 2; l++) {
                double angle = (double)(p - NA_FAR) *
                               pow(base, -2 * (double)l / (double)dims);
                known[p][l][0] = cos(angle), known[p][l][1] = sin(angle);
            }
    }
    return known[position + NA_FAR][i];
}

/* A row turned to where it stands, or (way -1) a gradient back. */
static inline void na_turn(const struct na_call *c, struct na_value *x, int64_t position, int way)
{
    int64_t dims = c->opts.rotary_dims ? c->opts.rotary_dims : c->a.D;
    double base = c->opts.rotary_base > 0 ? c->opts.rotary_base : 10000;
    for (int64_t i = 0; c->opts.rotary && i < dims / 2; i++) {
        bool pairs = c->opts.rotary == HEED_ROTARY_PAIRS;
        struct na_value *a = &x[pairs ? 2 * i : i], *b = pairs ? a + 1 : a + dims / 2;
        const double *angle = na_angle(base, dims, position, i);
        double p = a->value, q = b->value, both = a->mass + b->mass;
        a->value = p * angle[0] - way * q * angle[1], a->mass = both;
        b->value = q * angle[0] + way * p * angle[1], b->mass = both;
    }
}

/* Row i of head h as the score sees it, turned, D values. */
static inline void na_row_of(const struct na_call *c, const struct na_sequence *s, bool key,
                             int64_t h, int64_t i, struct na_value *x)
{
    const heed_attention_arrays *a = &c->a;
    int64_t at = key ? na_at(c, a->k_stride, s->b, s->k_row, i, h / c->group)
                     : na_at(c, a->q_stride, s->b, s->q_row, i, h);
    for (int64_t d = 0; d < a->D; d++) {
        double value = na_get(c, key ? a->k : a->q, at + d);
        x[d] = (struct na_value){value, fabs(value)};
    }
    na_turn(c, x, key ? i : i + s->S - s->T, 1);
}

static inline double na_length_of(const struct na_call *c, const struct na_value *x)
{
    double sum = 0;
    for (int64_t d = 0; d < c->a.D; d++)
        sum += x[d].value * x[d].value;
    return sqrt(sum);
}

static inline void na_add(struct na_value *x, double value, double mass)
{
    x->value += value, x->mass += mass;
}

static inline double na_theta(const struct na_call *c, int64_t h, int64_t i)
{
    return na_get(c, c->a.theta, h * c->theta + i);
}

/* Unit rows; zeros stay. */
static inline double na_unit_row(const struct na_call *c, struct na_value *x)
{
    double length = na_length_of(c, x);
    for (int64_t d = 0; d < c->a.D && length != 0; d++)
        x[d].value /= length, x[d].mass /= length;
    return length;
}

/* The score before scale, by its definition. */
static inline struct na_value na_similarity(const struct na_call *c, const struct na_sequence *s,
                                            int64_t h, int64_t t, int64_t j)
{
    int64_t D = c->a.D;
    struct na_value q[NA_WIDTH_MAX], k[NA_WIDTH_MAX], sum = {0, 0};
    na_row_of(c, s, false, h, t, q), na_row_of(c, s, true, h, j, k);
    if (c->opts.score == HEED_SCORE_COSINE)
        na_unit_row(c, q), na_unit_row(c, k);
    for (int64_t d = 0; d < D; d++) {
        double x = q[d].value, y = k[d].value, mx = q[d].mass, my = k[d].mass;
        switch (c->opts.score) {
        case HEED_SCORE_EUCLID:
            na_add(&sum, -(x - y) * (x - y), 2 * (mx * mx + my * my));
            break;
        case HEED_SCORE_BILINEAR:
            for (int64_t e = 0; e < D; e++)
                na_add(&sum, x * na_theta(c, h, d * D + e) * k[e].value,
                       mx * fabs(na_theta(c, h, d * D + e)) * k[e].mass);
            break;
        case HEED_SCORE_FEATURES: {
            double p[] = {na_theta(c, h, d), na_theta(c, h, D + d), na_theta(c, h, 2 * D + d),
                          na_theta(c, h, 3 * D + d)};
            na_add(&sum, p[0] * x + p[1] * y + p[2] * (x - y) + p[3] * x * y,
                   fabs(p[0]) * mx + fabs(p[1]) * my + fabs(p[2]) * (mx + my) + fabs(p[3]) * mx * my);
            break;
        }
        case HEED_SCORE_ADDITIVE:
            na_add(&sum, na_theta(c, h, d) * tanh(x + y), fabs(na_theta(c, h, d)) * (mx + my));
            break;
        default:
            na_add(&sum, x * y, mx * my);
        }
    }
    return sum;
}

/* ds times the derivatives of the score before scale: by the query's row, the key's, and theta. */
static inline void na_similarity_back(const struct na_call *c, const struct na_sequence *s, int64_t h,
                                      int64_t t, int64_t j, struct na_value ds, struct na_value *dq,
                                      struct na_value *dk, struct na_value *dtheta)
{
    int64_t D = c->a.D;
    struct na_value q[NA_WIDTH_MAX], k[NA_WIDTH_MAX], cosine = {0, 0};
    struct na_value gq[NA_WIDTH_MAX] = {{0, 0}}, gk[NA_WIDTH_MAX] = {{0, 0}};
    double q_length = 1, k_length = 1, v = ds.value, m = ds.mass;
    na_row_of(c, s, false, h, t, q), na_row_of(c, s, true, h, j, k);
    if (c->opts.score == HEED_SCORE_COSINE) {
        q_length = na_unit_row(c, q), k_length = na_unit_row(c, k);
        for (int64_t d = 0; d < D; d++)
            na_add(&cosine, q[d].value * k[d].value, q[d].mass * k[d].mass);
    }
    for (int64_t d = 0; d < D; d++) {
        double x = q[d].value, y = k[d].value, mx = q[d].mass, my = k[d].mass;
        switch (c->opts.score) {
        case HEED_SCORE_COSINE:
            if (q_length != 0)
                na_add(&gq[d], v * (y - cosine.value * x) / q_length,
                       m * (my + cosine.mass * mx) / q_length);
            if (k_length != 0)
                na_add(&gk[d], v * (x - cosine.value * y) / k_length,
                       m * (mx + cosine.mass * my) / k_length);
            break;
        case HEED_SCORE_EUCLID:
            na_add(&gq[d], 2 * v * (y - x), 2 * m * (mx + my));
            na_add(&gk[d], 2 * v * (x - y), 2 * m * (mx + my));
            break;
        case HEED_SCORE_BILINEAR:
            for (int64_t e = 0; e < D; e++) {
                double p = na_theta(c, h, d * D + e);
                na_add(&gq[d], v * p * k[e].value, m * fabs(p) * k[e].mass);
                na_add(&gk[e], v * p * x, m * fabs(p) * mx);
                na_add(&dtheta[h * c->theta + d * D + e], v * x * k[e].value, m * mx * k[e].mass);
            }
            break;
        case HEED_SCORE_FEATURES: {
            struct na_value *dp = dtheta + h * c->theta + d;
            double p[] = {na_theta(c, h, d), na_theta(c, h, D + d), na_theta(c, h, 2 * D + d),
                          na_theta(c, h, 3 * D + d)};
            na_add(&gq[d], v * (p[0] + p[2] + p[3] * y),
                   m * (fabs(p[0]) + fabs(p[2]) + fabs(p[3]) * my));
            na_add(&gk[d], v * (p[1] - p[2] + p[3] * x),
                   m * (fabs(p[1]) + fabs(p[2]) + fabs(p[3]) * mx));
            na_add(dp, v * x, m * mx), na_add(dp + D, v * y, m * my);
            na_add(dp + 2 * D, v * (x - y), m * (mx + my)), na_add(dp + 3 * D, v * x * y, m * mx * my);
            break;
        }
        case HEED_SCORE_ADDITIVE: {
            double p = na_theta(c, h, d), z = tanh(x + y), both = m * fabs(p) * (1 + mx + my);
            na_add(&gq[d], v * p * (1 - z * z), both), na_add(&gk[d], v * p * (1 - z * z), both);
            na_add(&dtheta[h * c->theta + d], v * z, m * (mx + my));
            break;
        }
        default:
            na_add(&gq[d], v * y, m * my), na_add(&gk[d], v * x, m * mx);
        }
    }
    na_turn(c, gq, t + s->S - s->T, -1), na_turn(c, gk, j, -1);
    for (int64_t d = 0; d < D; d++) {
        na_add(&dq[d], gq[d].value, gq[d].mass);
        na_add(&dk[d], gk[d].value, gk[d].mass);
    }
}

static inline struct na_value na_score(const struct na_call *c, const struct na_sequence *s,
                                       int64_t h, int64_t t, int64_t j)
{
    const heed_attention_arrays *a = &c->a;
    struct na_value x = na_similarity(c, s, h, t, j);
    x.value *= na_scale(c), x.mass *= na_scale(c);
    int64_t entry = c->biased ? na_position_entry(c, s, t, j) : -1;
    double bias = entry >= 0 ? na_get(c, a->position, h * a->P + entry) : 0;
    double late = c->timed ? na_get(c, a->time, h * a->W + na_time_entry(c, s, t, j)) : 0;
    double slope = c->opts.alibi ? c->opts.alibi[h] : 0, mask = na_mask(c, s, h, t, j);
    double far = slope * fabs((double)(t + s->S - s->T - j));
    x.value += bias + late + mask - far + c->opts.shift;
    x.mass += fabs(bias) + fabs(late) + fabs(mask) + fabs(far) + fabs(c->opts.shift);
    return x;
}

/* The weights of a row and, with slope, what their gradient is multiplied with (not for softmax). */
static inline void na_row(const struct na_call *c, const struct na_sequence *s, int64_t h, int64_t t,
                          struct na_value *w, double *slope)
{
    double top = -(double)INFINITY, sum = 0;
    int64_t n = 0;
    for (int64_t j = 0; j < s->S; j++) {
        w[j] = (struct na_value){-(double)INFINITY, 0};
        if (!na_sees(c, s, h, t, j))
            continue;
        w[j] = na_score(c, s, h, t, j);
        top = w[j].value > top ? w[j].value : top;
        n++;
    }
    for (int64_t j = 0; j < s->S; j++) {
        double x = w[j].value, mass = 1 + w[j].mass, f = 1 / (1 + exp(-x));
        bool seen = na_sees(c, s, h, t, j);
        if (c->opts.weight == HEED_WEIGHT_SILU) {
            w[j].value = seen ? x * f / (double)n : 0;
            w[j].mass = seen ? 1.1 * mass / (double)n : 0;
            slope[j] = seen ? f * (1 + x * (1 - f)) / (double)n : 0;
        } else if (c->opts.weight == HEED_WEIGHT_SIGMOID) {
            w[j].value = seen ? f : 0;
            w[j].mass = f * mass;
            slope[j] = seen ? f * (1 - f) : 0;
        } else {
            w[j].value = seen ? exp(x - top) : 0;
            sum += w[j].value;
        }
        if (!seen)
            w[j].mass = 0;
    }
    if (c->opts.weight == HEED_WEIGHT_SOFTMAX)
        for (int64_t j = 0; j < s->S; j++) {
            w[j].value = sum > 0 ? w[j].value / sum : 0;
            w[j].mass = w[j].value * (1 + w[j].mass);
        }
}

/* out row t of head h, E values. */
static inline void na_out(const struct na_call *c, const struct na_sequence *s, int64_t h,
                          const struct na_value *w, struct na_value *out)
{
    const heed_attention_arrays *a = &c->a;
    memset(out, 0, (size_t)a->E * sizeof *out);
    for (int64_t j = 0; j < s->S; j++) {
        int64_t v = na_at(c, a->v_stride, s->b, s->k_row, j, h / c->group);
        for (int64_t e = 0; e < a->E && w[j].mass > 0; e++) {
            out[e].value += w[j].value * na_get(c, a->v, v + e);
            out[e].mass += w[j].mass * fabs(na_get(c, a->v, v + e));
        }
    }
}

/* Gradients of one head of one sequence: dq (T, D); and what it adds to dk (S, D), dv (S, E) and the
 * tables'. */
struct na_gradients {
    struct na_value *dq, *dk, *dv, *dposition, *dtime, *dtheta;
};

static inline void na_backward(const struct na_call *c, const struct na_sequence *s, int64_t h,
                               const struct na_gradients *g)
{
    const heed_attention_arrays *a = &c->a;
    bool softmax = c->opts.weight == HEED_WEIGHT_SOFTMAX;
    struct na_value *w = calloc((size_t)s->S + 1, sizeof *w);
    struct na_value *dp = calloc((size_t)s->S + 1, sizeof *dp);
    double *slope = calloc((size_t)s->S + 1, sizeof *slope);

    for (int64_t t = 0; t < s->T; t++) {
        int64_t o = na_at(c, a->out_stride, s->b, s->q_row, t, h);
        struct na_value delta = {0, 0};
        na_row(c, s, h, t, w, slope);
        for (int64_t j = 0; j < s->S; j++) {
            int64_t v = na_at(c, a->v_stride, s->b, s->k_row, j, h / c->group);
            dp[j] = (struct na_value){0, 0};
            for (int64_t e = 0; e < a->E; e++) {
                double y = na_get(c, a->dout, o + e) * na_get(c, a->v, v + e);
                na_add(&dp[j], y, fabs(y));
                if (w[j].mass > 0)
                    na_add(&g->dv[j * a->E + e], w[j].value * na_get(c, a->dout, o + e),
                           w[j].mass * fabs(na_get(c, a->dout, o + e)));
            }
            na_add(&delta, w[j].value * dp[j].value, w[j].mass * dp[j].mass);
        }
        for (int64_t j = 0; j < s->S; j++) {
            if (!na_sees(c, s, h, t, j))
                continue;
            double ds = softmax ? w[j].value * (dp[j].value - delta.value)
                                : slope[j] * dp[j].value;
            double mass = w[j].mass * (dp[j].mass + (softmax ? delta.mass : 0));
            na_similarity_back(c, s, h, t, j,
                               (struct na_value){ds * na_scale(c), mass * na_scale(c)},
                               g->dq + t * a->D, g->dk + j * a->D, g->dtheta);
            int64_t entry = c->biased ? na_position_entry(c, s, t, j) : -1;
            if (entry >= 0)
                na_add(&g->dposition[h * a->P + entry], ds, mass);
            if (c->timed)
                na_add(&g->dtime[h * a->W + na_time_entry(c, s, t, j)], ds, mass);
        }
    }
    free(w), free(dp), free(slope);
}

/* |got - want| within the rounding of n additions, each relative to the mass. */
static inline bool na_within(const struct na_call *c, double got, struct na_value want, int64_t n,
                             double more)
{
    double u = c->a.dtype == HEED_F32 ? (double)FLT_EPSILON / 2 : DBL_EPSILON / 2;
    double tiny = c->a.dtype == HEED_F32 ? (double)FLT_MIN : DBL_MIN;
    double bound = 2 * (double)(n + 24) * u * want.mass + (double)(n + 1) * tiny;
    return fabs(got - want.value) <= bound + more;
}

static inline bool na_near(const struct na_call *c, double got, struct na_value want, int64_t n)
{
    return na_within(c, got, want, n, c->slack * want.mass);
}

/* The shape, so that a failure can be read. */
static inline void na_print(const struct na_call *c)
{
    const heed_attention_arrays *a = &c->a;
    static const char *const weight[] = {"softmax", "silu", "sigmoid"};
    static const char *const score[] = {"dot", "cosine", "euclid", "bilinear", "additive", "features"};
    fprintf(stderr, "%s %s %s rotary %d of %" PRId64 " B=%" PRId64 " T=%" PRId64 " S=%" PRId64
            " H=%" PRId64 " (%" PRId64 " of keys) D=%" PRId64 " E=%" PRId64 " P=%" PRId64
            " W=%" PRId64 " window=%" PRId64 " globals=%" PRId64 "%s%s%s%s%s%s%s%s\n",
            a->dtype == HEED_F32 ? "float32" : "float64", weight[c->opts.weight],
            score[c->opts.score], (int)c->opts.rotary, c->opts.rotary_dims, a->B, a->T, a->S,
            a->H, c->key_heads, a->D, a->E, a->P, a->W, c->opts.window, c->opts.globals,
            c->opts.causal ? " causal" : "", c->padded ? " padded" : "",
            c->opts.offsets ? " ragged" : "", c->opts.keep ? " keep" : "",
            c->opts.mask ? " mask" : "", c->opts.dilation ? " dilation" : "",
            c->opts.alibi ? " alibi" : "", c->opts.shift != 0 ? " shift" : "");
}

#endif

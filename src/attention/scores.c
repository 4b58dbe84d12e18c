/* SPDX-License-Identifier: Apache-2.0
 *
 * Every score but the additive is an inner product of rows that depend on q alone and on k alone:
 *
 *     score      q'                                   k'                 s = factor <q', k'>
 *     cosine     q / |q|                              k / |k|
 *     euclid     [q, -|q|^2 / 2, -1]                  [k, 1, |k|^2 / 2]  2 <q', k'> = -|q - k|^2
 *     bilinear   q theta                              k
 *     features   [theta4 * q + theta2 - theta3,       [k, 1]
 *                 (theta1 + theta3) . q]
 *
 * so the tiles know products alone, and all that masks, weights and biases do, they do for each of
 * them. theta belongs to a query's head and therefore goes into q' whole: heads that share their keys
 * may differ in it. */
#include "attention/scores.h"
#include "attention/layout.h"

#include <float.h>
#include <math.h>

static char *at(const struct hd_score_rows *r, const void *base, int64_t index)
{
    return hd_place(base, r->k->item_bytes, index);
}

static double get(const struct hd_score_rows *r, const void *row, int64_t i)
{
    return hd_number(row, r->k->item_bytes, i);
}

static void put(const struct hd_score_rows *r, void *row, int64_t i, double x)
{
    hd_set_number(row, r->k->item_bytes, i, x);
}

/* ---- cosine */

/* |x|, without overflow or underflow on the way: where the plain sum of squares is near either, the
 * row is measured in units of its largest element. */
static double length_of(const struct hd_score_rows *r, const void *x)
{
    double least = r->k->item_bytes == sizeof(float) ? (double)FLT_MIN : DBL_MIN, most = 0.25 / least;
    double squares = r->k->dot(x, x, (size_t)r->D), unit = 0;
    if (squares >= least / DBL_EPSILON && squares <= most)
        return sqrt(squares);
    for (int64_t d = 0; d < r->D; d++) {
        double size = fabs(get(r, x, d));
        unit = size > unit || isnan(size) ? size : unit;
    }
    if (unit == 0 || !isfinite(unit))
        return unit * 0; /* nothing, or NaN: what is infinite points nowhere */
    squares = 0;
    for (int64_t d = 0; d < r->D; d++) {
        double part = get(r, x, d) / unit;
        squares += part * part;
    }
    return unit * sqrt(squares);
}

/* 1 / |x|; 0 for a row of zeros and for what is shorter than the smallest normal number, whose inverse
 * does not exist. */
static double inverse_length(const struct hd_score_rows *r, const void *x)
{
    double length = length_of(r, x);
    double least = r->k->item_bytes == sizeof(float) ? (double)FLT_MIN : DBL_MIN;
    return length < least ? 0 : 1 / length;
}

static void cosine(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *x = at(r, r->x, i * r->x_row);
        char *y = at(r, r->y, i * r->y_row);
        double inverse = inverse_length(r, x);
        if (inverse == 0)
            r->k->fill(y, 0, (size_t)r->D);
        else
            r->k->scale(y, inverse, x, (size_t)r->D);
    }
}

/* y = x / |x|:  dx += (dy - y (y . dy)) / |x| */
static void cosine_back(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *y = at(r, r->y, i * r->y_row), *dy = at(r, r->dy, i * r->y_row);
        char *dx = at(r, r->dx, i * r->dx_row);
        double inverse = inverse_length(r, at(r, r->x, i * r->x_row));
        if (inverse == 0)
            continue;
        r->k->axpy(dx, inverse, dy, (size_t)r->D);
        r->k->axpy(dx, -inverse * r->k->dot(y, dy, (size_t)r->D), y, (size_t)r->D);
    }
}

/* ---- negative squared distance */

static void euclid_query(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *x = at(r, r->x, i * r->x_row);
        char *y = at(r, r->y, i * r->y_row);
        r->k->scale(y, 1, x, (size_t)r->D);
        put(r, y, r->D, -0.5 * r->k->dot(x, x, (size_t)r->D));
        put(r, y, r->D + 1, -1);
    }
}

static void euclid_key(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *x = at(r, r->x, i * r->x_row);
        char *y = at(r, r->y, i * r->y_row);
        r->k->scale(y, 1, x, (size_t)r->D);
        put(r, y, r->D, 1);
        put(r, y, r->D + 1, 0.5 * r->k->dot(x, x, (size_t)r->D));
    }
}

/* dx += dy, less its own column's times x */
static void euclid_query_back(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *dy = at(r, r->dy, i * r->y_row);
        char *dx = at(r, r->dx, i * r->dx_row);
        r->k->add(dx, dx, dy, (size_t)r->D);
        r->k->axpy(dx, -get(r, dy, r->D), at(r, r->x, i * r->x_row), (size_t)r->D);
    }
}

static void euclid_key_back(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const char *dy = at(r, r->dy, i * r->y_row);
        char *dx = at(r, r->dx, i * r->dx_row);
        r->k->add(dx, dx, dy, (size_t)r->D);
        r->k->axpy(dx, get(r, dy, r->D + 1), at(r, r->x, i * r->x_row), (size_t)r->D);
    }
}

/* ---- bilinear */

static void bilinear(const struct hd_score_rows *r)
{
    r->tile->product(&(struct hd_product){.M = r->rows, .N = r->D, .K = r->D, .a = r->x,
                                          .a_row = r->x_row, .a_col = 1, .b = r->theta,
                                          .b_row = r->D, .c = r->y, .c_row = r->y_row, .alpha = 1});
}

/* dx += dy theta',  dtheta += x' dy */
static void bilinear_back(const struct hd_score_rows *r)
{
    struct hd_product m = {.M = r->rows, .N = r->D, .K = r->D, .a = r->dy, .a_row = r->y_row,
                           .a_col = 1, .b = r->theta_turned, .b_row = r->D, .c = r->dx,
                           .c_row = r->dx_row, .alpha = 1, .accumulate = true};
    r->tile->product(&m);
    if (!r->dtheta)
        return;
    m = (struct hd_product){.M = r->D, .N = r->D, .K = r->rows, .a = r->x, .a_row = 1,
                            .a_col = r->x_row, .b = r->dy, .b_row = r->y_row, .c = r->dtheta,
                            .c_row = r->D, .alpha = 1, .accumulate = true};
    r->tile->product(&m);
}

/* ---- theta1 . q + theta2 . k + theta3 . (q - k) + theta4 . (q * k) */

static void features_query(const struct hd_score_rows *r)
{
    size_t D = (size_t)r->D;
    const char *t1 = r->theta, *t2 = at(r, t1, r->D), *t3 = at(r, t2, r->D), *t4 = at(r, t3, r->D);
    for (int64_t i = 0; i < r->rows; i++) {
        const char *x = at(r, r->x, i * r->x_row);
        char *y = at(r, r->y, i * r->y_row);
        r->k->mul(y, t4, x, D);
        r->k->add(y, y, t2, D);
        r->k->axpy(y, -1, t3, D);
        put(r, y, r->D, r->k->dot(t1, x, D) + r->k->dot(t3, x, D));
    }
}

static void features_key(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        char *y = at(r, r->y, i * r->y_row);
        r->k->scale(y, 1, at(r, r->x, i * r->x_row), (size_t)r->D);
        put(r, y, r->D, 1);
    }
}

/* What a query's row adds to theta's gradient; own as below. */
static void features_theta_back(const struct hd_score_rows *r, double own, const char *x,
                                const char *dy)
{
    size_t D = (size_t)r->D;
    char *d1 = r->dtheta, *d2 = at(r, d1, r->D), *d3 = at(r, d2, r->D), *d4 = at(r, d3, r->D);
    r->k->axpy(d1, own, x, D);
    r->k->add(d2, d2, dy, D);
    r->k->axpy(d3, own, x, D);
    r->k->axpy(d3, -1, dy, D);
    r->k->muladd(d4, x, dy, D);
}

static void features_query_back(const struct hd_score_rows *r)
{
    size_t D = (size_t)r->D;
    const char *t1 = r->theta, *t3 = at(r, t1, 2 * r->D), *t4 = at(r, t3, r->D);
    for (int64_t i = 0; i < r->rows; i++) {
        const char *x = at(r, r->x, i * r->x_row), *dy = at(r, r->dy, i * r->y_row);
        char *dx = at(r, r->dx, i * r->dx_row);
        double own = get(r, dy, r->D); /* gradient of what is the query's alone */
        r->k->muladd(dx, t4, dy, D);
        r->k->axpy(dx, own, t1, D);
        r->k->axpy(dx, own, t3, D);
        if (r->dtheta)
            features_theta_back(r, own, x, dy);
    }
}

static void features_key_back(const struct hd_score_rows *r)
{
    for (int64_t i = 0; i < r->rows; i++) {
        char *dx = at(r, r->dx, i * r->dx_row);
        r->k->add(dx, dx, at(r, r->dy, i * r->y_row), (size_t)r->D);
    }
}

/* ---- which is which */

static const struct hd_score_rule rules[] = {
    [HEED_SCORE_DOT] = {.name = "dot", .factor = 1},
    [HEED_SCORE_COSINE] = {.name = "cosine", .factor = 1, .query = cosine, .key = cosine,
                           .query_back = cosine_back, .key_back = cosine_back},
    [HEED_SCORE_EUCLID] = {.name = "euclid", .columns = 2, .factor = 2, .query = euclid_query,
                           .key = euclid_key, .query_back = euclid_query_back,
                           .key_back = euclid_key_back},
    [HEED_SCORE_BILINEAR] = {.name = "bilinear", .factor = 1, .query = bilinear,
                             .query_back = bilinear_back, .turns_theta = true},
    [HEED_SCORE_ADDITIVE] = {.name = "additive", .factor = 1},
    [HEED_SCORE_FEATURES] = {.name = "features", .columns = 1, .factor = 1,
                             .query = features_query, .key = features_key,
                             .query_back = features_query_back, .key_back = features_key_back},
};

const struct hd_score_rule *hd_score_rule(heed_attention_score score)
{
    return &rules[score];
}

int64_t hd_score_theta(heed_attention_score score, int64_t D)
{
    return score == HEED_SCORE_BILINEAR   ? D * D
           : score == HEED_SCORE_FEATURES ? 4 * D
           : score == HEED_SCORE_ADDITIVE ? D
                                          : 0;
}

double hd_score_scale(const heed_attention_opts *opts, int64_t D)
{
    bool product = opts->score == HEED_SCORE_DOT || opts->score == HEED_SCORE_BILINEAR;
    if (opts->scale != 0)
        return opts->scale;
    return product && opts->weight == HEED_WEIGHT_SOFTMAX && D ? 1 / sqrt((double)D) : 1;
}

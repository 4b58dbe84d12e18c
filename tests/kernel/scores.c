/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels that scores and positions are made with, against their definitions in double. */
#include "check.h"
#include "kernel/attention.h"

#include <inttypes.h>

#define ROUNDS 1500

static int64_t below(int64_t n)
{
    return (int64_t)(kc_rand() % (uint64_t)n);
}

/* Element i of a row, turned, with the mass of what is added. */
static double turned(const struct hd_rotation *r, size_t item, int64_t row, int64_t i, double *mass)
{
    const char *x = (const char *)r->x + (size_t)(row * r->x_row) * item;
    const char *turn = (const char *)r->turn + (size_t)(row * 2 * r->turned) * item;
    double own = kc_get(x, item, (size_t)i);
    *mass = fabs(own);
    if (i >= r->turned)
        return own;
    int64_t half = r->turned / 2, partner = r->pairs ? i ^ 1 : i < half ? i + half : i - half;
    double a = own * kc_get(turn, item, (size_t)i);
    double b = kc_get(x, item, (size_t)partner) * kc_get(turn, item, (size_t)(r->turned + i));
    *mass = fabs(a) + fabs(b);
    return r->back ? a - b : a + b;
}

static bool check_rotate(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        struct hd_rotation r = {.rows = (int64_t)kc_length(12), .n = (int64_t)kc_length(140),
                                .pairs = below(2), .back = below(2), .add = below(2)};
        r.turned = r.n / 2 ? 2 * below(r.n / 2 + 1) : 0;
        r.x_row = r.n + below(5), r.out_row = r.n + below(5);
        size_t x_span = (size_t)(r.rows ? (r.rows - 1) * r.x_row + r.n : 0);
        size_t out_span = (size_t)(r.rows ? (r.rows - 1) * r.out_row + r.n : 0);
        void *x = kc_row(x_span, item), *out = kc_row(out_span, item);
        void *old = kc_copy(out, out_span, item);
        if (below(4) == 0)
            kc_poison(x, x_span, item);
        r.x = x, r.out = out, r.turn = kc_row((size_t)(2 * r.rows * r.turned), item);
        k->rotate(&r);
        for (int64_t row = 0; row < r.rows; row++)
            for (int64_t i = 0; i < r.out_row && (i < r.n || row + 1 < r.rows); i++) {
                double was = kc_get(old, item, (size_t)(row * r.out_row + i)), mass = 0;
                double got = kc_get(out, item, (size_t)(row * r.out_row + i)), want = was;
                if (i < r.n) {
                    want = turned(&r, item, row, i, &mass) + (r.add ? was : 0);
                    mass += r.add ? fabs(was) : 0;
                }
                if (!(isfinite(want) ? kc_near(got, want, kc_gamma(3, item) * mass + kc_tiny(item))
                                     : kc_same_kind(got, want)))
                    return kc_fail("rotate %s n=%" PRId64 " turned=%" PRId64 " [%" PRId64
                                   "][%" PRId64 "]: got %.9g, want %.9g", k->name, r.n, r.turned,
                                   row, i, got, want);
            }
        if (!kc_rows_intact())
            return kc_fail("rotate %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

static void put(void *x, size_t item, int64_t i, double value)
{
    if (item == sizeof(float))
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static int64_t seen_by(const struct hd_tile *t, int64_t i)
{
    int64_t n = t->seen + i * t->step;
    return n < 0 ? 0 : n < t->columns ? n : t->columns;
}

/* A random call, its arrays as short as they may be; what is not seen holds NaN. */
static struct hd_additive additive_new(size_t item, struct hd_tile *t)
{
    struct hd_additive a = {.tile = t, .D = (int64_t)kc_length(40), .scale = kc_unit(),
                            .fresh_q = below(2), .fresh_k = below(2)};
    *t = (struct hd_tile){.rows = 1 + below(20), .columns = below(HD_ADDITIVE_COLUMNS + 1),
                          .step = below(2)};
    t->seen = t->step ? below(100) - 20 : t->columns;
    t->s_row = (t->columns + HD_TILE_PAD - 1) / HD_TILE_PAD * HD_TILE_PAD;
    t->s = kc_row((size_t)(t->rows * t->s_row), item);
    a.q_row = a.D + below(4), a.kt_row = t->columns + below(4);
    a.dq_row = a.D + below(4), a.dk_row = a.D + below(4);
    a.q = kc_row((size_t)((t->rows - 1) * a.q_row + a.D), item);
    a.kt = kc_row((size_t)(a.D ? (a.D - 1) * a.kt_row + t->columns : 0), item);
    a.theta = kc_row((size_t)a.D, item);
    a.dq = kc_row((size_t)((t->rows - 1) * a.dq_row + a.D), item);
    a.dk = kc_row((size_t)(t->columns ? (t->columns - 1) * a.dk_row + a.D : 0), item);
    a.dtheta = kc_row((size_t)a.D, item);
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = seen_by(t, i); j < t->s_row; j++)
            put(t->s, item, i * t->s_row + j, (double)NAN);
    return a;
}

/* y = tanh(q[i][d] + k[j][d]), and |q| + |k|. */
static double additive_at(const struct hd_additive *a, size_t item, int64_t i, int64_t j, int64_t d,
                          double *mass)
{
    double q = kc_get(a->q, item, (size_t)(i * a->q_row + d));
    double k = kc_get(a->kt, item, (size_t)(d * a->kt_row + j));
    *mass = fabs(q) + fabs(k);
    return tanh(q + k);
}

/* tanh is right to 2 units, its argument to one, and 1 - y^2 to that and one more. */
static bool check_additive(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        struct hd_tile t;
        struct hd_additive a = additive_new(item, &t);
        double bound = kc_gamma((size_t)a.D + 8, item);
        k->additive(&a);
        for (int64_t i = 0; i < t.rows; i++)
            for (int64_t j = 0; j < seen_by(&t, i); j++) {
                double want = 0, mass = 0, both;
                for (int64_t d = 0; d < a.D; d++) {
                    double theta = a.scale * kc_get(a.theta, item, (size_t)d);
                    want += theta * additive_at(&a, item, i, j, d, &both);
                    mass += fabs(theta) * both;
                }
                double got = kc_get(t.s, item, (size_t)(i * t.s_row + j));
                if (!kc_near(got, want, bound * mass + kc_tiny(item)))
                    return kc_fail("additive %s D=%" PRId64 " [%" PRId64 "][%" PRId64
                                   "]: got %.9g, want %.9g", k->name, a.D, i, j, got, want);
            }
        if (!kc_rows_intact())
            return kc_fail("additive %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

/* The sums of dimension d: to query i (j < 0), to key j (i < 0), or to theta (both). */
static bool back_is(const struct hd_attention_kernels *k, const struct hd_additive *a, int64_t one_i,
                    int64_t one_j, int64_t d, double was, double got)
{
    const struct hd_tile *t = a->tile;
    size_t item = k->item_bytes, terms = (size_t)(t->rows * t->columns) + 12;
    double theta = kc_get(a->theta, item, (size_t)d), want = was, mass = fabs(was), both;
    bool whole = one_i < 0 && one_j < 0;
    for (int64_t i = one_i < 0 ? 0 : one_i; i < (one_i < 0 ? t->rows : one_i + 1); i++)
        for (int64_t j = one_j < 0 ? 0 : one_j; j < (one_j < 0 ? seen_by(t, i) : one_j + 1); j++) {
            if (j >= seen_by(t, i))
                continue;
            double ds = a->scale * kc_get(t->s, item, (size_t)(i * t->s_row + j));
            double y = additive_at(a, item, i, j, d, &both);
            want += whole ? ds * y : ds * theta * (1 - y * y);
            mass += fabs(ds) * (whole ? both : fabs(theta) * (1 + both));
        }
    if (!kc_near(got, want, 2 * kc_gamma(terms, item) * mass + kc_tiny(item)))
        return kc_fail("additive_back %s D=%" PRId64 " of query %" PRId64 ", key %" PRId64
                       ": got %.9g, want %.9g", k->name, a->D, one_i, one_j, got, want);
    return true;
}

static bool check_additive_back(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS / 4; round++) {
        struct hd_tile t;
        struct hd_additive a = additive_new(item, &t);
        size_t q_span = (size_t)((t.rows - 1) * a.dq_row + a.D);
        size_t k_span = (size_t)(t.columns ? (t.columns - 1) * a.dk_row + a.D : 0);
        void *dq = kc_copy(a.dq, q_span, item), *dk = kc_copy(a.dk, k_span, item);
        void *dtheta = kc_copy(a.dtheta, (size_t)a.D, item);
        k->additive_back(&a);
        for (int64_t d = 0; d < a.D; d++) {
            for (int64_t i = 0; i < t.rows; i++) {
                size_t at = (size_t)(i * a.dq_row + d);
                if (!back_is(k, &a, i, -1, d, a.fresh_q ? 0 : kc_get(dq, item, at),
                             kc_get(a.dq, item, at)))
                    return false;
            }
            for (int64_t j = 0; j < t.columns; j++) {
                size_t at = (size_t)(j * a.dk_row + d);
                if (!back_is(k, &a, -1, j, d, a.fresh_k ? 0 : kc_get(dk, item, at),
                             kc_get(a.dk, item, at)))
                    return false;
            }
            if (!back_is(k, &a, -1, -1, d, kc_get(dtheta, item, (size_t)d),
                         kc_get(a.dtheta, item, (size_t)d)))
                return false;
        }
        if (!kc_rows_intact())
            return kc_fail("additive_back %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

bool check_scores(const struct hd_attention_kernels *k)
{
    return check_rotate(k) && check_additive(k) && check_additive_back(k);
}

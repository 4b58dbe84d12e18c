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

bool check_scores(const struct hd_attention_kernels *k)
{
    return check_rotate(k);
}

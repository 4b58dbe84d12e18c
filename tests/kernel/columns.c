/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that treat columns: activations with a slope for each (PReLU, Dice), the moments of a block of
 * rows, and softmax down its columns; against their definitions in double. u is the unit roundoff. */
#include "check.h"

enum { ROUNDS = 1500 };

/* What Dice is made of at one number, and how far each part may be off. */
struct dice {
    double xhat, p, slope, g; /* g: of dy 1 */
    double xhat_off, p_off, g_off;
};

/* sigmoid: 10 roundings and the error of its argument (rows.c's test has the same); a slope of 1/4. */
static struct dice dice_ref(double x, double alpha, double mean, double rstd, double u)
{
    struct dice d;
    double b = 1 - alpha, bend;
    d.xhat = (x - mean) * rstd;
    d.xhat_off = 2 * u * fabs(d.xhat) + u * rstd * fabs(x - mean);
    d.p = 1 / (1 + exp(-d.xhat));
    d.p_off = 0.25 * d.xhat_off + (10 + fabs(d.xhat)) * u * d.p;
    d.slope = alpha + b * d.p;
    bend = d.p * (1 - d.p);
    d.g = x * b * bend;
    d.g_off = fabs(x * b) * (d.p_off + 8 * u * bend + 2 * u * d.p);
    return d;
}

struct slopes {
    size_t n;
    bool wild, with_sums;
    void *x, *dy, *alpha, *mean, *rstd, *sum, *product; /* inputs */
    void *y, *dx, *dalpha, *total, *products;           /* outputs, the last three added to */
};

static void run_slopes(const struct hd_kernels *k, const struct slopes *s, bool dice)
{
    if (!dice) {
        k->prelu(s->y, s->x, s->alpha, s->n);
        k->prelu_back(s->dx, s->dalpha, s->dx, s->x, s->alpha, s->n);
        return;
    }
    k->dice(s->y, s->x, s->alpha, s->mean, s->rstd, s->n);
    k->dice_sums(s->y, s->dalpha, s->total, s->products, s->dx, s->x, s->alpha, s->mean, s->rstd, s->n);
    k->dice_back(s->dx, s->dx, s->x, s->alpha, s->mean, s->rstd, s->with_sums ? s->sum : NULL,
                 s->with_sums ? s->product : NULL, s->n);
}

static bool check_slope(const struct hd_kernels *k, const struct slopes *s, const struct slopes *first,
                        bool dice, size_t i)
{
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item), tiny = 64 * kc_tiny(item);
    double x = kc_get(s->x, item, i), dy = kc_get(s->dy, item, i), alpha = kc_get(s->alpha, item, i);
    double rstd = kc_get(s->rstd, item, i), total = kc_get(first->total, item, i);
    double products = kc_get(first->products, item, i), dalpha = kc_get(first->dalpha, item, i);
    struct dice d = dice_ref(x, alpha, kc_get(s->mean, item, i), rstd, u);
    double moved = s->with_sums ? kc_get(s->sum, item, i) + d.xhat * kc_get(s->product, item, i) : 0;
    double moved_mass = s->with_sums ? fabs(kc_get(s->sum, item, i)) +
                                           fabs(d.xhat * kc_get(s->product, item, i))
                                     : 0;
    double slope_mass = fabs(alpha) + fabs(1 - alpha) * d.p, bent = dy * x * (1 - d.p);
    double want[] = {x * d.slope, dy * d.slope + rstd * (dy * d.g - moved), dalpha + bent,
                     total + dy * d.g, products + dy * d.g * d.xhat};
    double bound[] = {
        fabs(x) * (fabs(1 - alpha) * d.p_off + 4 * u * slope_mass),
        fabs(dy) * (fabs(1 - alpha) * d.p_off + 6 * u * slope_mass) +
            rstd * (fabs(dy) * d.g_off + 8 * u * (fabs(dy * d.g) + moved_mass) +
                    (s->with_sums ? fabs(kc_get(s->product, item, i)) * d.xhat_off : 0)),
        fabs(dy * x) * (d.p_off + 6 * u) + 4 * u * fabs(dalpha),
        fabs(dy) * d.g_off + 6 * u * (fabs(total) + fabs(dy * d.g)),
        fabs(dy) * (d.g_off * fabs(d.xhat) + fabs(d.g) * d.xhat_off) +
            8 * u * (fabs(products) + fabs(dy * d.g * d.xhat))};
    double got[] = {kc_get(s->y, item, i), kc_get(s->dx, item, i), kc_get(s->dalpha, item, i),
                    kc_get(s->total, item, i), kc_get(s->products, item, i)};
    if (!dice) {
        double slope = x > 0 ? 1 : alpha;
        want[0] = x * slope, want[1] = dy * slope, want[2] = dalpha + (x > 0 ? 0 : dy * x);
        bound[0] = 2 * u * fabs(want[0]), bound[1] = 2 * u * fabs(want[1]);
        bound[2] = 4 * u * (fabs(dalpha) + fabs(dy * x));
    }
    for (int f = 0; f < (dice ? 5 : 3); f++)
        if (!kc_near(got[f], want[f], bound[f] + (1 + fabs(dy * x)) * tiny))
            return kc_fail("%s %s n=%zu i=%zu: output %d is %.9g, want %.9g within %.3g",
                           dice ? "dice" : "prelu", k->name, s->n, i, f, got[f], want[f], bound[f]);
    return true;
}

static void copy_outputs(struct slopes *s, const struct slopes *first, size_t item)
{
    *s = *first;
    s->y = kc_copy(first->y, s->n, item);
    s->dx = kc_copy(first->dy, s->n, item); /* in place */
    s->dalpha = kc_copy(first->dalpha, s->n, item);
    s->total = kc_copy(first->total, s->n, item);
    s->products = kc_copy(first->products, s->n, item);
}

bool check_slopes(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        bool dice = kc_rand() % 3 > 0;
        struct slopes first = {.n = kc_length(200), .wild = kc_rand() % 4 == 0,
                               .with_sums = kc_rand() % 2};
        struct slopes s, p;
        void **rows[] = {&first.x, &first.dy, &first.alpha, &first.mean, &first.rstd, &first.sum,
                         &first.product, &first.y, &first.dalpha, &first.total, &first.products};
        kc_rows_release();
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            *rows[i] = kc_row(first.n, item);
        k->mul(first.rstd, first.rstd, first.rstd, first.n);
        if (first.wild)
            kc_poison(first.x, first.n, item);
        copy_outputs(&s, &first, item);
        copy_outputs(&p, &first, item);
        run_slopes(k, &s, dice);
        run_slopes(portable, &p, dice);
        for (size_t i = 0; i < first.n; i++) {
            if (first.wild) {
                if (!kc_same_kind(kc_get(s.y, item, i), kc_get(p.y, item, i)) ||
                    !kc_same_kind(kc_get(s.dx, item, i), kc_get(p.dx, item, i)))
                    return kc_fail("%s %s n=%zu i=%zu: x %.9g gives %.9g and %.9g",
                                   dice ? "dice" : "prelu", k->name, first.n, i,
                                   kc_get(s.x, item, i), kc_get(s.y, item, i), kc_get(s.dx, item, i));
            } else if (!check_slope(k, &s, &first, dice, i)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- blocks of rows. The rows lie `row` apart; between them and behind them nothing is touched. */

static bool check_moments(const struct hd_kernels *k)
{
    size_t item = k->item_bytes, n = kc_length(100), rows = 1 + kc_rand() % 60, row = n + kc_rand() % 9;
    double u = kc_unit_roundoff(item);
    kc_rows_release();
    void *x = kc_row((rows - 1) * row + n, item), *mean = kc_row(n, item), *squares = kc_row(n, item);
    void *sums = kc_row(n, item), *first = kc_copy(sums, n, item);
    k->column_sums(sums, x, (int64_t)row, (int64_t)rows, n);
    k->column_moments(mean, squares, x, (int64_t)row, (int64_t)rows, n);
    for (size_t j = 0; j < n; j++) {
        double sum = 0, mass = 0, square = 0, off;
        for (size_t r = 0; r < rows; r++)
            sum += kc_get(x, item, r * row + j), mass += fabs(kc_get(x, item, r * row + j));
        double before = kc_get(first, item, j);
        if (!kc_near(kc_get(sums, item, j), before + sum, kc_gamma(rows + 1, item) * (mass + fabs(before))))
            return kc_fail("column_sums %s rows=%zu n=%zu j=%zu: got %.9g, want %.9g", k->name, rows, n, j,
                           kc_get(sums, item, j), before + sum);
        sum /= (double)rows, off = kc_gamma(rows + 2, item) * mass / (double)rows;
        for (size_t r = 0; r < rows; r++)
            square += pow(kc_get(x, item, r * row + j) - sum, 2);
        /* a mean that is off by d adds rows d^2; and each distance rounds */
        double bound = kc_gamma(rows + 4, item) * square + (double)rows * off * off +
                       2 * sqrt((double)rows * square) * off + u * mass * sqrt(square);
        if (!kc_near(kc_get(mean, item, j), sum, off + kc_tiny(item)) ||
            !kc_near(kc_get(squares, item, j), square, bound + kc_tiny(item)))
            return kc_fail("column_moments %s rows=%zu n=%zu j=%zu: got %.9g %.9g, want %.9g %.9g",
                           k->name, rows, n, j, kc_get(mean, item, j), kc_get(squares, item, j), sum,
                           square);
    }
    return true;
}

static bool check_softmax_columns(const struct hd_kernels *k)
{
    size_t item = k->item_bytes, n = kc_length(100), rows = kc_rand() % 8, row = n + kc_rand() % 9;
    size_t last = rows ? (rows - 1) * row + n : 0;
    double u = kc_unit_roundoff(item);
    kc_rows_release();
    void *x = kc_row(last, item), *out;
    if (kc_rand() % 3 == 0 && n > 0) /* one column of nothing */
        for (size_t r = 0; r < rows; r++)
            k->fill((char *)x + (r * row + n / 2) * item, -(double)INFINITY, 1);
    out = kc_rand() % 2 ? kc_copy(x, last, item) : kc_row(last, item);
    void *before = kc_copy(out, last, item);
    k->softmax_columns(out, x, (int64_t)row, (int64_t)rows, n);
    for (size_t j = 0; j < n; j++) {
        double top = -(double)INFINITY, sum = 0;
        for (size_t r = 0; r < rows; r++)
            top = fmax(top, kc_get(x, item, r * row + j));
        for (size_t r = 0; r < rows; r++)
            sum += exp(kc_get(x, item, r * row + j) - top);
        for (size_t r = 0; r < rows; r++) {
            double v = kc_get(x, item, r * row + j), got = kc_get(out, item, r * row + j);
            double want = isinf(top) ? 0 : exp(v - top) / sum;
            double bound = (double)(rows + 8) * u * want + 2 * u * fabs(top - v) * want;
            if (!kc_near(got, want, (isinf(top) ? 0 : bound) + kc_tiny(item)))
                return kc_fail("softmax_columns %s rows=%zu n=%zu r=%zu j=%zu: got %.9g, want %.9g",
                               k->name, rows, n, r, j, got, want);
        }
    }
    for (size_t i = 0; i < last; i++)
        if (i % row >= n && kc_get(out, item, i) != kc_get(before, item, i))
            return kc_fail("softmax_columns %s rows=%zu n=%zu wrote between rows", k->name, rows, n);
    return true;
}

bool check_columns(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    (void)portable;
    for (int round = 0; round < ROUNDS; round++)
        if (!check_moments(k) || !check_softmax_columns(k))
            return false;
    return true;
}

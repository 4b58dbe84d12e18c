/* SPDX-License-Identifier: Apache-2.0
 *
 * The row kernels against their definitions in double. u is the unit roundoff. A bound counts the
 * roundings that a straightforward evaluation may make; where a variant may fuse a product with a
 * sum, the bound is that of the unfused one. */
#include "check.h"

#include <string.h>

enum { ROUNDS = 1500 };

/* ---- elementwise */

enum op { FILL, ADD, MUL, MULADD, SCALE, AXPY, OPS };
static const char *const op_names[] = {"fill", "add", "mul", "muladd", "scale", "axpy"};

static void run_op(const struct hd_kernels *k, enum op op, void *out, double a, const void *x,
                   const void *y, size_t n)
{
    switch (op) {
    case FILL: k->fill(out, a, n); break;
    case ADD: k->add(out, x, y, n); break;
    case MUL: k->mul(out, x, y, n); break;
    case MULADD: k->muladd(out, x, y, n); break;
    case SCALE: k->scale(out, a, x, n); break;
    default: k->axpy(out, a, x, n);
    }
}

/* The value, and the sum of the sizes of its terms. */
static double op_ref(enum op op, double out, double a, double x, double y, double *mass)
{
    static const double none = 0;
    double terms[OPS][2] = {{a, none}, {x, y}, {x * y, none}, {out, x * y}, {a * x, none}, {out, a * x}};
    *mass = fabs(terms[op][0]) + fabs(terms[op][1]);
    return terms[op][0] + terms[op][1];
}

bool check_elementwise(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item);
    for (int round = 0; round < ROUNDS; round++) {
        enum op op = (enum op)(kc_rand() % OPS);
        size_t n = kc_length(300);
        bool wild = kc_rand() % 4 == 0, in_place = kc_rand() % 4 == 0;
        kc_rows_release();
        double a = (double)(float)(3 * kc_unit());
        void *x = kc_row(n, item), *y = kc_row(n, item);
        if (wild)
            kc_poison(x, n, item), kc_poison(y, n, item);
        void *first = kc_row(n, item), *copy = kc_copy(in_place ? x : first, n, item);
        void *want = kc_copy(copy, n, item), *out = kc_copy(copy, n, item);
        run_op(k, op, out, a, in_place ? out : x, y, n);
        run_op(portable, op, want, a, in_place ? want : x, y, n);
        for (size_t i = 0; i < n; i++) {
            double mass, got = kc_get(out, item, i);
            double ref = op_ref(op, kc_get(copy, item, i), a, kc_get(x, item, i), kc_get(y, item, i),
                                &mass);
            if (wild ? !kc_same_kind(got, kc_get(want, item, i))
                     : !kc_near(got, ref, 2 * u * mass + kc_tiny(item)))
                return kc_fail("%s %s n=%zu i=%zu: got %.9g, want %.9g", op_names[op], k->name, n, i,
                               got, ref);
        }
    }
    return true;
}

/* ---- activations */

static double act_ref(enum hd_activation f, double x)
{
    switch (f) {
    case HD_RELU: return x > 0 ? x : 0;
    case HD_GELU: return x * 0.5 * erfc(-x * 0.70710678118654752440);
    case HD_SILU: return x / (1 + exp(-x));
    case HD_SIGMOID: return 1 / (1 + exp(-x));
    default: return tanh(x);
    }
}

static double act_back_ref(enum hd_activation f, double x)
{
    double s = 1 / (1 + exp(-x)), t = tanh(x);
    switch (f) {
    case HD_RELU: return x > 0;
    case HD_GELU:
        return 0.5 * erfc(-x * 0.70710678118654752440) + x * 0.39894228040143267794 * exp(-x * x / 2);
    case HD_SILU: return s * (1 + x * (1 - s));
    case HD_SIGMOID: return s * (1 - s);
    default: return 1 - t * t;
    }
}

/* Errors: exp 2 ulp and |x| u from its argument; sigmoid and what is made of it 4 roundings more.
 * What underflows in a sigmoid (below 1.19e-38 in float, see sigmoid_v()) is lost times x in SiLU. float GELU stands on an erfc of relative error 1.2e-7 = 2 u, its exponent's x^2 / 2 rounds too; float
 * tanh is within 4 u. Near where 1 - s or 1 - t^2 cancel the error is absolute: hence "+ 1". */
static double act_bound(enum hd_activation f, double x, double value, double u)
{
    double size = fabs(value), ax = fabs(x) < 90 ? fabs(x) : 90;
    switch (f) {
    case HD_RELU: return 0;
    case HD_GELU: return (12 + 1.5 * ax * ax) * u * size;
    case HD_SILU:
    case HD_SIGMOID: return (10 + ax) * u * size;
    default: return 8 * u * size;
    }
}

bool check_activations(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    static const double scales[] = {1e-3, 0.25, 1, 3, 25};
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item);
    for (int round = 0; round < ROUNDS; round++) {
        enum hd_activation f = (enum hd_activation)(kc_rand() % HD_ACTIVATIONS);
        size_t n = kc_length(300);
        bool wild = kc_rand() % 4 == 0;
        kc_rows_release();
        void *x = kc_row(n, item), *dy = kc_row(n, item);
        k->scale(x, scales[kc_rand() % 5], x, n);
        if (wild)
            kc_poison(x, n, item);
        void *out = kc_row(n, item), *out_p = kc_row(n, item);
        /* One in place, one not. */
        void *back = kc_copy(dy, n, item), *back_p = kc_row(n, item);
        k->act[f](out, x, n);
        portable->act[f](out_p, x, n);
        k->act_back[f](back, back, x, n);
        portable->act_back[f](back_p, dy, x, n);
        for (size_t i = 0; i < n; i++) {
            double v = kc_get(x, item, i), got = kc_get(out, item, i), g = kc_get(back, item, i);
            double want = act_ref(f, v), d = act_back_ref(f, v);
            double back_want = kc_get(dy, item, i) * d;
            double slack = 2 * u * fabs(back_want) + kc_tiny(item) +
                           fabs(kc_get(dy, item, i)) * (24 + fabs(v)) * u * (f == HD_RELU ? 0 : 1);
            bool good = wild ? kc_same_kind(got, kc_get(out_p, item, i)) &&
                                   kc_same_kind(g, kc_get(back_p, item, i))
                             : kc_near(got, want, act_bound(f, v, want, u) + (1 + fabs(v)) * 1.02 * kc_tiny(item)) &&
                                   kc_near(g, back_want, slack);
            if (!good)
                return kc_fail("activation %d %s n=%zu x=%.9g: got %.9g and %.9g, want %.9g and %.9g",
                               (int)f, k->name, n, v, got, g, want, back_want);
        }
    }
    return true;
}

/* ---- dropout: the mask is part of the contract, so the twin is exact. */

static bool keep_ref(double p, uint64_t key, uint64_t c)
{
    uint64_t pair = c >> 1, h = key + (pair >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ (h >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94D049BB133111EB);
    h ^= h >> 31;
    uint32_t x = (uint32_t)pair * 0x9E3779B9u + (uint32_t)h;
    x = (x ^ (x >> 16)) * 0x7FEB352Du + (uint32_t)(h >> 32);
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    x ^= x >> 16;
    return (x >> 16 * (c & 1) & 0xFFFF) >= (uint32_t)(p * 65536 + 0.5);
}

bool check_dropout(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    static const double ps[] = {0, 0.1, 0.2, 0.5, 0.9};
    static const uint64_t firsts[] = {0, 1, 2, 31, 12345, 0x1FFFFFFF0, 0x1FFFFFFFF, 0xFFFFFFFFFFF1};
    size_t item = k->item_bytes;
    (void)portable;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = kc_length(300);
        double p = ps[kc_rand() % 5];
        uint64_t key = kc_rand(), first = firsts[kc_rand() % 8] + kc_rand() % 3;
        kc_rows_release();
        void *x = kc_row(n, item), *before = kc_row(n, item), *out = kc_copy(before, n, item);
        bool sum = kc_rand() % 2;
        (sum ? k->dropout_add : k->dropout)(out, x, n, p, key, first);
        for (size_t i = 0; i < n; i++) {
            double got = kc_get(out, item, i), was = kc_get(before, item, i), v = kc_get(x, item, i);
            double y = keep_ref(p, key, first + i) ? v / (1 - p) : 0, want = sum ? was + y : y;
            double bound = y == 0 ? 0 : 3 * kc_unit_roundoff(item) * (fabs(y) + fabs(want));
            if (!kc_near(got, want, bound))
                return kc_fail("dropout %s n=%zu p=%g first=%llu i=%zu: got %.9g, want %.9g", k->name,
                               n, p, (unsigned long long)first, i, got, want);
        }
    }
    /* The share that is kept, and that neighbours do not move together: six deviations. */
    enum { N = 1 << 16 };
    double kept = 0, both = 0, p = 0.3;
    kc_rows_release();
    void *x = kc_row(N, item), *out = kc_row(N, item);
    k->fill(x, 1, N);
    k->dropout(out, x, N, p, kc_rand(), kc_rand());
    for (size_t i = 0; i < N; i++) {
        kept += kc_get(out, item, i) > 0;
        both += i > 0 && kc_get(out, item, i) > 0 && kc_get(out, item, i - 1) > 0;
    }
    if (fabs(kept / N - 0.7) > 6 * sqrt(0.3 * 0.7 / N) || fabs(both / N - 0.49) > 6 * sqrt(0.7 / N))
        return kc_fail("dropout %s: keeps %g of 0.7, pairs %g of 0.49", k->name, kept / N, both / N);
    return true;
}

/* ---- rows to numbers */

bool check_reductions(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = kc_length(400);
        bool wild = kc_rand() % 4 == 0;
        kc_rows_release();
        void *x = kc_row(n, item), *y = kc_row(n, item);
        if (wild)
            kc_poison(x, n, item);
        double dot = 0, dot_mass = 0, sum = 0, mass = 0, max = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            double a = kc_get(x, item, i), b = kc_get(y, item, i);
            dot += a * b, dot_mass += fabs(a * b), sum += a, mass += fabs(a);
            max = a > max ? a : max;
        }
        double got[] = {k->dot(x, y, n), k->sum(x, n), k->max(x, n)}, want[] = {dot, sum, max};
        double bound[] = {kc_gamma(n, item) * dot_mass + (double)n * kc_tiny(item),
                          kc_gamma(n, item) * mass, 0};
        double like[] = {portable->dot(x, y, n), portable->sum(x, n), portable->max(x, n)};
        for (int f = 0; f < 3; f++)
            if (wild ? !kc_same_kind(got[f], like[f]) : !kc_near(got[f], want[f], bound[f]))
                return kc_fail("%s %s n=%zu: got %.9g, want %.9g",
                               f == 0 ? "dot" : f == 1 ? "sum" : "max", k->name, n, got[f],
                               wild ? like[f] : want[f]);
    }
    return true;
}

/* ---- softmax: each weight has the error of its exponent, |x - max| u, of exp, and of the sum. */

static bool check_softmax_whole(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes, n = kc_length(400);
    double u = kc_unit_roundoff(item), max = -INFINITY, total = 0;
    bool wild = kc_rand() % 4 == 0;
    kc_rows_release();
    void *x = kc_row(n, item), *out = kc_row(n, item), *like = kc_row(n, item);
    k->scale(x, kc_rand() % 2 ? 1 : 12, x, n);
    if (wild)
        kc_poison(x, n, item);
    double got = k->softmax(out, x, n), got_p = portable->softmax(like, x, n);
    for (size_t i = 0; i < n; i++)
        max = fmax(max, kc_get(x, item, i));
    for (size_t i = 0; i < n; i++)
        total += exp(kc_get(x, item, i) - max);
    double want = n ? max + log(total) : -(double)INFINITY;
    if (wild ? !kc_same_kind(got, got_p)
             : !kc_near(got, want, kc_gamma(n + 100, item) + 2 * u * fabs(want)))
        return kc_fail("softmax %s n=%zu: log sum %.9g, want %.9g", k->name, n, got,
                       wild ? got_p : want);
    for (size_t i = 0; i < n; i++) {
        double p = kc_get(out, item, i), d = max - kc_get(x, item, i), w = exp(-d) / total;
        double bound = (kc_gamma(n + 10, item) + (d + 6) * u) * w + kc_tiny(item);
        if (wild ? !kc_same_kind(p, kc_get(like, item, i)) : !kc_near(p, w, bound))
            return kc_fail("softmax %s n=%zu i=%zu: got %.9g, want %.9g", k->name, n, i, p, w);
    }
    return true;
}

/* A row in pieces, brought to the last ref, is the softmax of the whole. */
static bool check_softmax_steps(const struct hd_kernels *k)
{
    enum { PIECES = 4 };
    size_t item = k->item_bytes, n[PIECES], all = 0;
    double u = kc_unit_roundoff(item), ref = -INFINITY, sum = 0, factor[PIECES], total = 0;
    void *x[PIECES], *p[PIECES];
    kc_rows_release();
    for (int q = 0; q < PIECES; q++) {
        n[q] = kc_length(100), all += n[q];
        x[q] = kc_row(n[q], item);
        k->scale(x[q], kc_rand() % 2 ? 1 : 20, x[q], n[q]);
        if (kc_rand() % 4 == 0)
            k->fill(x[q], -INFINITY, n[q]);
        else if (n[q] > 0 && kc_rand() % 4 == 0)
            k->fill(x[q], -INFINITY, n[q] / 2);
        p[q] = kc_copy(x[q], n[q], item);
        factor[q] = k->softmax_step(p[q], n[q], &ref, &sum);
    }
    double max = -INFINITY;
    for (int q = 0; q < PIECES; q++)
        for (size_t i = 0; i < n[q]; i++)
            max = fmax(max, kc_get(x[q], item, i));
    if (max == -(double)INFINITY)
        return ref == max && sum == 0 ? true : kc_fail("softmax_step %s: nothing gives %g", k->name, sum);
    for (int q = 0; q < PIECES; q++)
        for (size_t i = 0; i < n[q]; i++)
            total += exp(kc_get(x[q], item, i) - ref);
    if (!(max <= ref + 16 && ref <= max) || !kc_near(sum, total, (kc_gamma(all + 10, item) + 100 * u) * total))
        return kc_fail("softmax_step %s: ref %.9g of max %.9g, sum %.9g, want %.9g", k->name, ref, max,
                       sum, total);
    for (int q = 0; q < PIECES; q++)
        for (size_t i = 0; i < n[q]; i++) {
            double got = kc_get(p[q], item, i), d = kc_get(x[q], item, i) - ref, w = exp(d);
            for (int r = q + 1; r < PIECES; r++)
                got *= factor[r];
            if (!kc_near(got, w, (250 + fabs(d)) * u * w + kc_tiny(item)))
                return kc_fail("softmax_step %s piece %d i=%zu: got %.9g, want %.9g", k->name, q, i,
                               got, w);
        }
    return true;
}

bool check_softmax(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    for (int round = 0; round < ROUNDS; round++)
        if (!check_softmax_whole(k, portable) || !check_softmax_steps(k))
            return false;
    return true;
}

/* ---- norms */

/* mean: gamma(n) mean |x|. The deviations then are off by that much, which var sees squared, and
 * everything else relatively. */
static bool check_layer_norm(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    static const double offsets[] = {0, 0, 3, -40};
    size_t item = k->item_bytes, n = kc_length(300);
    double u = kc_unit_roundoff(item), eps = kc_rand() % 2 ? 1e-5 : 1e-12, mean, rstd, m2, r2;
    bool wild = kc_rand() % 4 == 0, with_gain = kc_rand() % 2, with_bias = kc_rand() % 2;
    kc_rows_release();
    void *x = kc_row(n, item), *shift = kc_row(n, item), *gain = kc_row(n, item),
         *bias = kc_row(n, item);
    k->fill(shift, offsets[kc_rand() % 4], n);
    k->add(x, x, shift, n);
    if (wild)
        kc_poison(x, n, item);
    void *out = kc_row(n, item), *like = kc_row(n, item);
    k->layer_norm(out, x, with_gain ? gain : NULL, with_bias ? bias : NULL, n, eps, &mean, &rstd);
    portable->layer_norm(like, x, with_gain ? gain : NULL, with_bias ? bias : NULL, n, eps, &m2, &r2);
    double mu = 0, mass = 0, var = 0;
    for (size_t i = 0; i < n; i++)
        mu += kc_get(x, item, i) / (double)n, mass += fabs(kc_get(x, item, i)) / (double)n;
    for (size_t i = 0; i < n; i++)
        var += (kc_get(x, item, i) - mu) * (kc_get(x, item, i) - mu) / (double)n;
    double want_r = 1 / sqrt(var + eps), off = (kc_gamma(n, item) + 2 * u) * mass;
    double off_r = kc_gamma(n + 8, item) + (off * off + 4 * u * mass * sqrt(var)) / (var + eps);
    if (wild ? !kc_same_kind(mean, m2) || !kc_same_kind(rstd, r2)
             : !kc_near(mean, mu, off) || !kc_near(rstd, want_r, off_r * want_r))
        return kc_fail("layer_norm %s n=%zu: mean %.9g rstd %.9g, want %.9g %.9g", k->name, n, mean,
                       rstd, mu, want_r);
    for (size_t i = 0; i < n; i++) {
        double g = with_gain ? kc_get(gain, item, i) : 1, b = with_bias ? kc_get(bias, item, i) : 0;
        double xhat = (kc_get(x, item, i) - mu) * want_r, want = g * xhat + b;
        double got = kc_get(out, item, i);
        double bound = fabs(g) * (fabs(xhat) * (off_r + 6 * u) + want_r * off * (1 + off_r)) +
                       2 * u * (fabs(b) + fabs(want)) + kc_tiny(item);
        if (wild ? !kc_same_kind(got, kc_get(like, item, i)) : !kc_near(got, want, bound))
            return kc_fail("layer_norm %s n=%zu i=%zu: got %.9g, want %.9g", k->name, n, i, got, want);
    }
    return true;
}

/* rms 0: layer_norm_back; 1: rms_norm_back, which is the same with mean 0 and no mean(g). */
static bool check_norm_back(const struct hd_kernels *k, bool rms)
{
    size_t item = k->item_bytes, n = kc_length(300);
    double u = kc_unit_roundoff(item), mean = rms ? 0 : 0.3, rstd = 0.6, s = 0, t = 0, sm = 0, tm = 0;
    bool with_gain = kc_rand() % 2, with_dx = kc_rand() % 4, with_params = kc_rand() % 4;
    kc_rows_release();
    void *x = kc_row(n, item), *dy = kc_row(n, item), *gain = kc_row(n, item);
    void *dx0 = kc_row(n, item), *dg0 = kc_row(n, item), *db0 = kc_row(n, item);
    void *dx = kc_copy(dx0, n, item), *dg = kc_copy(dg0, n, item), *db = kc_copy(db0, n, item);
    if (rms)
        k->rms_norm_back(with_dx ? dx : NULL, with_params ? dg : NULL, dy, x, with_gain ? gain : NULL,
                         n, rstd);
    else
        k->layer_norm_back(with_dx ? dx : NULL, with_params ? dg : NULL, with_params ? db : NULL, dy,
                           x, with_gain ? gain : NULL, n, mean, rstd);
    for (size_t i = 0; i < n; i++) {
        double g = kc_get(dy, item, i) * (with_gain ? kc_get(gain, item, i) : 1);
        double xhat = (kc_get(x, item, i) - mean) * rstd;
        s += g / (double)n, sm += fabs(g) / (double)n;
        t += g * xhat / (double)n, tm += fabs(g) * (fabs(xhat) + 0.3) / (double)n;
    }
    if (rms)
        s = sm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = kc_get(dy, item, i), g = d * (with_gain ? kc_get(gain, item, i) : 1);
        double xhat = (kc_get(x, item, i) - mean) * rstd, size = fabs(xhat) + 0.3;
        double add = with_dx ? rstd * (g - s - xhat * t) : 0;
        double want[] = {kc_get(dx0, item, i) + add, kc_get(dg0, item, i) + (with_params ? d * xhat : 0),
                         kc_get(db0, item, i) + (with_params && !rms ? d : 0)};
        double got[] = {kc_get(dx, item, i), kc_get(dg, item, i), kc_get(db, item, i)};
        double bound[] = {kc_gamma(n + 16, item) * (rstd * (fabs(g) + sm + size * tm)) +
                              2 * u * fabs(want[0]),
                          8 * u * (fabs(d) * size + fabs(want[1])), 2 * u * fabs(want[2])};
        for (int f = 0; f < 3; f++)
            if (!kc_near(got[f], want[f], bound[f] + kc_tiny(item)))
                return kc_fail("%s_norm_back %s n=%zu i=%zu: output %d is %.9g, want %.9g",
                               rms ? "rms" : "layer", k->name, n, i, f, got[f], want[f]);
    }
    return true;
}

static bool check_rms_norm(const struct hd_kernels *k)
{
    size_t item = k->item_bytes, n = kc_length(300);
    double u = kc_unit_roundoff(item), squares = 0, rrms;
    bool with_gain = kc_rand() % 2;
    kc_rows_release();
    void *x = kc_row(n, item), *gain = kc_row(n, item), *out = kc_row(n, item);
    k->rms_norm(out, x, with_gain ? gain : NULL, n, 1e-6, &rrms);
    for (size_t i = 0; i < n; i++)
        squares += kc_get(x, item, i) * kc_get(x, item, i) / (double)n;
    double want_r = 1 / sqrt(squares + 1e-6);
    for (size_t i = 0; i < n; i++) {
        double want = (with_gain ? kc_get(gain, item, i) : 1) * kc_get(x, item, i) * want_r;
        double got = kc_get(out, item, i);
        if (!kc_near(got, want, kc_gamma(n + 6, item) * fabs(want) + kc_tiny(item)))
            return kc_fail("rms_norm %s n=%zu i=%zu: got %.9g, want %.9g", k->name, n, i, got, want);
    }
    return kc_near(rrms, want_r, (kc_gamma(n, item) + u) * want_r)
               ? true
               : kc_fail("rms_norm %s n=%zu: rrms %.9g, want %.9g", k->name, n, rrms, want_r);
}

bool check_norms(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    for (int round = 0; round < ROUNDS; round++)
        if (!check_layer_norm(k, portable) || !check_norm_back(k, false) || !check_norm_back(k, true) ||
            !check_rms_norm(k))
            return false;
    return true;
}

/* ---- optimiser */

bool check_adam(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item), b1 = 0.9, b2 = 0.98, rate = 1e-3, eps = 1e-8, decay = 1e-2;
    (void)portable;
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = kc_length(300);
        kc_rows_release();
        void *w0 = kc_row(n, item), *m0 = kc_row(n, item), *v0 = kc_row(n, item), *g = kc_row(n, item);
        k->mul(v0, v0, v0, n);
        if (kc_rand() % 4 == 0)
            k->fill(v0, 0, n), k->fill(g, 0, n);
        void *w = kc_copy(w0, n, item), *m = kc_copy(m0, n, item), *v = kc_copy(v0, n, item);
        k->adam(w, m, v, g, n, rate, b1, b2, eps, decay);
        for (size_t i = 0; i < n; i++) {
            double d = kc_get(g, item, i), m1 = b1 * kc_get(m0, item, i) + (1 - b1) * d;
            double v1 = b2 * kc_get(v0, item, i) + (1 - b2) * d * d;
            double got_m = kc_get(m, item, i), got_v = kc_get(v, item, i), got = kc_get(w, item, i);
            double mass = fabs(kc_get(m0, item, i)) + fabs(d);
            /* the step is held to the moments that were stored, so that errors do not multiply */
            double step = rate * got_m / (sqrt(got_v) + eps);
            double want = kc_get(w0, item, i) * (1 - decay) - step;
            if (!kc_near(got_m, m1, 4 * u * mass) || !kc_near(got_v, v1, 6 * u * v1 + kc_tiny(item)) ||
                !kc_near(got, want, 4 * u * fabs(kc_get(w0, item, i)) + 8 * u * fabs(step)))
                return kc_fail("adam %s n=%zu i=%zu: got %.9g %.9g %.9g, want %.9g %.9g %.9g", k->name,
                               n, i, got, got_m, got_v, want, m1, v1);
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention's kernels against their definitions in double. What a row does not see holds NaN here, so
 * that a kernel which multiplies it by zero instead of leaving it out is found. */
#include "check.h"
#include "heed/attention.h"
#include "kernel/attention.h"

#include <inttypes.h>
#include <string.h>

#define ROUNDS 1500

static void put(void *x, size_t item, int64_t i, double value)
{
    if (item == sizeof(float))
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static double get(const void *x, size_t item, int64_t i)
{
    return kc_get(x, item, (ptrdiff_t)i);
}

static int64_t below(int64_t n)
{
    return (int64_t)(kc_rand() % (uint64_t)n);
}

/* Does element (i, k) of the left matrix count? */
static bool counts(const struct hd_product *p, int64_t i, int64_t k)
{
    if (p->shape == HD_PRODUCT_LOWER)
        return k < p->seen + i;
    if (p->shape == HD_PRODUCT_UPPER)
        return i < p->seen + k;
    return true;
}

static bool check_product(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        struct hd_product p = {.M = (int64_t)kc_length(70), .N = (int64_t)kc_length(140),
                               .K = (int64_t)kc_length(70), .alpha = kc_unit(),
                               .accumulate = below(2), .shape = (enum hd_product_shape)below(4)};
        bool turned = below(2);
        p.a_row = turned ? 1 : p.K + below(5), p.a_col = turned ? p.M + below(5) : 1;
        p.b_row = p.N + below(5), p.c_row = p.N + below(5);
        p.seen = below(120) - 40;
        int64_t a_span = p.M && p.K ? (p.M - 1) * p.a_row + (p.K - 1) * p.a_col + 1 : 0;
        int64_t b_span = p.N && p.K ? (p.K - 1) * p.b_row + p.N : 0;
        int64_t c_span = p.M && p.N ? (p.M - 1) * p.c_row + p.N : 0;
        void *a = kc_row((size_t)a_span, item), *b = kc_row((size_t)b_span, item);
        void *c = kc_row((size_t)c_span, item), *old = kc_copy(c, (size_t)c_span, item);
        for (int64_t i = 0; i < p.M; i++)
            for (int64_t l = 0; l < p.K; l++)
                if (!counts(&p, i, l))
                    put(a, item, i * p.a_row + l * p.a_col, (double)NAN);
        p.a = a, p.b = b, p.c = c;
        k->product(&p);
        for (int64_t i = 0; i < p.M; i++)
            for (int64_t j = 0; j < p.N; j++) {
                double sum = 0, mass = 0, was = get(old, item, i * p.c_row + j);
                if (p.shape == HD_PRODUCT_COLUMNS && j >= p.seen + i)
                    continue;
                for (int64_t l = 0; l < p.K; l++) {
                    if (!counts(&p, i, l))
                        continue;
                    double x = p.alpha * get(a, item, i * p.a_row + l * p.a_col) *
                               get(b, item, l * p.b_row + j);
                    sum += x, mass += fabs(x);
                }
                sum += p.accumulate ? was : 0, mass += p.accumulate ? fabs(was) : 0;
                double got = get(c, item, i * p.c_row + j);
                if (!kc_near(got, sum, kc_gamma((size_t)p.K + 4, item) * mass + kc_tiny(item)))
                    return kc_fail("product %s M=%" PRId64 " N=%" PRId64 " K=%" PRId64
                                   " shape=%d seen=%" PRId64 " [%" PRId64 "][%" PRId64
                                   "]: got %.9g, want %.9g", k->name, p.M, p.N, p.K, (int)p.shape,
                                   p.seen, i, j, got, sum);
            }
        for (int64_t i = 0; i + 1 < p.M && p.N; i++) /* nothing between the rows */
            for (int64_t j = p.N; j < p.c_row; j++)
                if (get(c, item, i * p.c_row + j) != get(old, item, i * p.c_row + j))
                    return kc_fail("product %s wrote past a row", k->name);
        if (!kc_rows_intact())
            return kc_fail("product %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

static bool check_transpose(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rows = (int64_t)kc_length(100), columns = (int64_t)kc_length(100);
        int64_t x_row = columns + below(5), out_row = rows + below(5);
        void *x = kc_row((size_t)(rows && columns ? (rows - 1) * x_row + columns : 0), item);
        void *out = kc_row((size_t)(rows && columns ? (columns - 1) * out_row + rows : 0), item);
        k->transpose(out, out_row, x, x_row, rows, columns);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                if (get(out, item, c * out_row + r) != get(x, item, r * x_row + c))
                    return kc_fail("transpose %s %" PRId64 " x %" PRId64, k->name, rows, columns);
        if (!kc_rows_intact())
            return kc_fail("transpose %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

/* A random tile: scores in [-4, 4), some -infinity; NaN in what is not seen. */
static struct hd_tile tile_new(size_t item, void **memory)
{
    struct hd_tile t = {.rows = 1 + below(40), .columns = (int64_t)kc_length(140),
                        .step = below(2), .key = kc_rand(), .row = kc_rand() % 1000,
                        .column = kc_rand() % 1000};
    t.seen = t.step ? below(180) - 30 : below(t.columns + 1);
    t.s_row = (t.columns + HD_TILE_PAD - 1) / HD_TILE_PAD * HD_TILE_PAD + HD_TILE_PAD * below(2);
    t.s_row = t.s_row ? t.s_row : HD_TILE_PAD;
    if (below(2)) {
        t.threshold = (uint32_t)(kc_rand() >> 32);
        t.keep_scale = 1 / (1 - (double)t.threshold * 0x1p-32);
    }
    *memory = kc_row((size_t)(t.rows * t.s_row + 2 * HD_TILE_PAD), item);
    t.s = (char *)*memory + HD_TILE_PAD * item;
    return t;
}

static int64_t seen_by(const struct hd_tile *t, int64_t i)
{
    int64_t n = t->seen + i * t->step;
    return n < 0 ? 0 : n < t->columns ? n : t->columns;
}

static void hide(const struct hd_tile *t, void *s, size_t item)
{
    for (int64_t i = 0; i < t->rows; i++)
        for (int64_t j = seen_by(t, i); j < t->s_row; j++)
            put(s, item, i * t->s_row + j, (double)NAN);
}

static double keep(const struct hd_tile *t, int64_t i, int64_t j)
{
    uint64_t row = hd_attention_row_key(t->key, t->row + (uint64_t)i);
    if (!t->threshold)
        return 1;
    return hd_attention_keep(row, t->column + (uint64_t)j, t->threshold) ? t->keep_scale : 0;
}

/* Are the columns past what row i sees zero, up to whole vectors? */
static bool is_cut(const struct hd_tile *t, const void *s, size_t item, int64_t i)
{
    for (int64_t j = seen_by(t, i); j < t->columns; j++)
        if (get(s, item, i * t->s_row + j) != 0)
            return false;
    return true;
}

#define EXP_ULPS 8 /* of exp, of its argument's difference, and of the product with keep_scale */

/* Two blocks of keys, one after the other, are one row of both. */
static bool check_softmax_blocks(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item);
    for (int round = 0; round < ROUNDS; round++) {
        void *memory, *memory2;
        struct hd_tile t = tile_new(item, &memory), t2 = tile_new(item, &memory2);
        int64_t E = (int64_t)kc_length(40);
        t2.rows = t.rows = t.rows < t2.rows ? t.rows : t2.rows;
        for (int n = 0; n < 3; n++)
            put(t.s, item, below(t.rows * t.s_row), -(double)INFINITY);
        hide(&t, t.s, item), hide(&t2, t2.s, item);
        void *s = kc_copy(t.s, (size_t)(t.rows * t.s_row), item);
        void *s2 = kc_copy(t2.s, (size_t)(t2.rows * t2.s_row), item);
        void *max = kc_row((size_t)t.rows, item), *sum = kc_row((size_t)t.rows, item);
        void *out = kc_row((size_t)(t.rows * E), item), *lse = kc_row((size_t)t.rows, item);
        void *was = kc_copy(out, (size_t)(t.rows * E), item);
        k->softmax(&t, max, sum, out, E, E, true);
        if (memcmp(out, was, (size_t)(t.rows * E) * item))
            return kc_fail("softmax %s touched out before there was any", k->name);
        k->softmax(&t2, max, sum, out, E, E, false);
        void *faded = kc_copy(out, (size_t)(t.rows * E), item);
        k->finish(t.rows, max, sum, lse, out, E, E);
        for (int64_t i = 0; i < t.rows; i++) {
            int64_t n = seen_by(&t, i), n2 = seen_by(&t2, i);
            double top = -(double)INFINITY, total = 0, first = -(double)INFINITY;
            for (int64_t j = 0; j < n; j++)
                first = fmax(first, get(s, item, i * t.s_row + j));
            top = first;
            for (int64_t j = 0; j < n2; j++)
                top = fmax(top, get(s2, item, i * t2.s_row + j));
            for (int64_t j = 0; j < n; j++)
                total += exp(get(s, item, i * t.s_row + j) - top);
            for (int64_t j = 0; j < n2; j++)
                total += exp(get(s2, item, i * t2.s_row + j) - top);
            double fade = isinf(first) || first == top ? 1 : exp(first - top);
            double want = isinf(top) ? (double)INFINITY : top + log(total);
            if (!isinf(top) &&
                !kc_near(get(sum, item, i), total, (double)(n + n2 + EXP_ULPS) * u * total))
                return kc_fail("softmax %s: sum %.9g, not %.9g", k->name, get(sum, item, i), total);
            if (!kc_near(get(lse, item, i), want, (double)(n + n2 + 2 * EXP_ULPS) * u * (1 + fabs(want))))
                return kc_fail("softmax %s: lse %.9g, not %.9g", k->name, get(lse, item, i), want);
            for (int64_t j = 0; j < n; j++) {
                double p = isinf(first) ? 0 : exp(get(s, item, i * t.s_row + j) - first);
                double got = get(t.s, item, i * t.s_row + j), x = p * keep(&t, i, j);
                if (!kc_near(got, x, EXP_ULPS * u * x + kc_tiny(item)))
                    return kc_fail("softmax %s: weight %.9g, not %.9g", k->name, got, x);
            }
            if (!is_cut(&t, t.s, item, i) || !is_cut(&t2, t2.s, item, i))
                return kc_fail("softmax %s: row %" PRId64 " weighs what it does not see", k->name, i);
            for (int64_t e = 0; e < E; e++) {
                double x = get(was, item, i * E + e) * fade, y = get(faded, item, i * E + e);
                double end = isinf(top) ? 0 : y / get(sum, item, i), got = get(out, item, i * E + e);
                if (!kc_near(y, x, EXP_ULPS * u * fabs(x) + kc_tiny(item)) ||
                    !kc_near(got, end, 4 * u * fabs(end) + kc_tiny(item)))
                    return kc_fail("softmax %s: out %.9g faded to %.9g, ended %.9g", k->name,
                                   get(was, item, i * E + e), y, got);
            }
        }
        if (!kc_rows_intact())
            return kc_fail("softmax %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

/* NaN in a seen score makes the row's sum NaN, and no other row's. */
static bool check_nan(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        void *memory;
        struct hd_tile t = tile_new(item, &memory);
        int64_t bad = below(t.rows), n = seen_by(&t, bad);
        void *max = kc_row((size_t)t.rows, item), *sum = kc_row((size_t)t.rows, item);
        hide(&t, t.s, item);
        if (n > 0)
            put(t.s, item, bad * t.s_row + below(n), below(2) ? (double)NAN : (double)INFINITY);
        k->softmax(&t, max, sum, NULL, 0, 0, true);
        for (int64_t i = 0; i < t.rows; i++)
            if (isnan(get(sum, item, i)) != (i == bad && n > 0))
                return kc_fail("softmax %s: row %" PRId64 " has sum %g, NaN was in %" PRId64,
                               k->name, i, get(sum, item, i), bad);
        kc_rows_release();
    }
    return true;
}

/* A weight of one score alone, and its slope; l is 1 / n for SiLU, lse for softmax. */
static double weight_of(heed_attention_weight weight, double x, double l, double *slope)
{
    double f = 1 / (1 + exp(-x));
    if (weight == HEED_WEIGHT_SOFTMAX)
        return *slope = exp(x - l);
    *slope = weight == HEED_WEIGHT_SILU ? l * f * (1 + x * (1 - f)) : f * (1 - f);
    return weight == HEED_WEIGHT_SILU ? x * f * l : f;
}

static bool check_back(const struct hd_attention_kernels *k, heed_attention_weight weight)
{
    static const char *const names[] = {"softmax", "silu", "sigmoid"};
    const char *name = names[weight];
    bool softmax = weight == HEED_WEIGHT_SOFTMAX, silu = weight == HEED_WEIGHT_SILU;
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item);
    for (int round = 0; round < ROUNDS; round++) {
        void *memory;
        struct hd_tile t = tile_new(item, &memory);
        size_t room = (size_t)(t.rows * t.s_row);
        void *dp = kc_row(room, item), *lse = kc_row((size_t)t.rows, item);
        void *delta = kc_row((size_t)t.rows, item);
        hide(&t, t.s, item), hide(&t, dp, item);
        void *s = kc_copy(t.s, room, item), *g = kc_copy(dp, room, item);
        void *ahead = kc_copy(t.s, room, item);
        struct hd_tile plain = t;
        plain.s = ahead; /* the forward's: the same weights */
        if (silu) {
            k->silu(&plain, lse);
            k->silu_back(&t, dp, t.s_row, lse);
        } else if (!softmax) {
            k->sigmoid(&plain);
            k->sigmoid_back(&t, dp, t.s_row);
        } else {
            plain.threshold = 0;
            k->weights(&plain, lse);
            k->softmax_back(&t, dp, t.s_row, lse, delta);
        }
        for (int64_t i = 0; i < t.rows; i++) {
            double l = get(lse, item, i), d = get(delta, item, i);
            for (int64_t j = 0; j < seen_by(&t, i); j++) {
                int64_t at = i * t.s_row + j;
                double x = get(s, item, at), y = get(g, item, at), kept = keep(&t, i, j);
                double slope, p = weight_of(weight, x, l, &slope);
                double ds = softmax ? p * (y * kept - d) : y * kept * slope;
                double mass = softmax ? p * (fabs(y * kept) + fabs(d))
                              : silu  ? fabs(y * kept * l) * (1 + fabs(x))
                                      : fabs(y * kept * p) * (1 + fabs(x));
                double first = get(ahead, item, at);
                if (!kc_near(get(t.s, item, at), p * kept, EXP_ULPS * u * fabs(p * kept) + kc_tiny(item)) ||
                    !kc_near(get(dp, item, at), ds, 2 * EXP_ULPS * u * mass + kc_tiny(item)) ||
                    !kc_near(first, softmax ? p : p * kept, EXP_ULPS * u * fabs(p * kept + p) + kc_tiny(item)))
                    return kc_fail("%s_back %s: weight %.9g (%.9g), not %.9g; ds %.9g, not %.9g",
                                   name, k->name, get(t.s, item, at), first, p * kept,
                                   get(dp, item, at), ds);
            }
            if (!is_cut(&t, t.s, item, i) || !is_cut(&t, dp, item, i) || !is_cut(&plain, ahead, item, i))
                return kc_fail("%s_back %s: row %" PRId64 " weighs what it does not see", name,
                               k->name, i);
        }
        if (!kc_rows_intact())
            return kc_fail("backward %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

static bool check_tables(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        void *memory;
        struct hd_tile t = tile_new(item, &memory);
        int64_t diagonals = t.rows + t.columns, buckets = 1 + below(30), row = t.columns + below(3);
        void *position = kc_row((size_t)diagonals, item), *time = kc_row((size_t)buckets, item);
        void *dposition = kc_copy(position, (size_t)diagonals, item);
        void *dtime = kc_row((size_t)(buckets * HD_TILE_PAD), item); /* in lanes */
        void *was_time = kc_copy(dtime, (size_t)(buckets * HD_TILE_PAD), item);
        int32_t *bucket = kc_row((size_t)(t.rows * row) + 1, sizeof(float));
        double want[200] = {0}, mass[200] = {0}, late[40] = {0}, late_mass[40] = {0};
        for (int64_t i = 0; i < t.rows * row; i++)
            bucket[i] = (int32_t)below(buckets);
        hide(&t, t.s, item);
        void *s = kc_copy(t.s, (size_t)(t.rows * t.s_row), item);
        k->add_position(&t, (char *)position + (size_t)(t.rows - 1) * item);
        k->add_bucket(&t, bucket, row, time);
        for (int64_t i = 0; i < t.rows; i++)
            for (int64_t j = 0; j < seen_by(&t, i); j++) {
                double x = get(s, item, i * t.s_row + j), got = get(t.s, item, i * t.s_row + j);
                double p = get(position, item, t.rows - 1 + j - i), w = get(time, item, bucket[i * row + j]);
                if (!kc_near(got, x + p + w, kc_gamma(2, item) * (fabs(x) + fabs(p) + fabs(w))))
                    return kc_fail("biases %s: got %.9g, want %.9g", k->name, got, x + p + w);
                want[t.rows - 1 + j - i] += got, mass[t.rows - 1 + j - i] += fabs(got);
                late[bucket[i * row + j]] += got, late_mass[bucket[i * row + j]] += fabs(got);
            }
        k->sum_position(&t, (char *)dposition + (size_t)(t.rows - 1) * item);
        k->sum_bucket(&t, bucket, row, dtime);
        size_t terms = (size_t)(t.rows * t.columns) + 2;
        for (int64_t d = 0; d < t.rows + t.columns - 1; d++) {
            double was = get(position, item, d), got = get(dposition, item, d);
            if (!kc_near(got, want[d] + was, kc_gamma((size_t)t.rows + 2, item) * (mass[d] + fabs(was))))
                return kc_fail("sum_position %s: got %.9g, want %.9g", k->name, got, want[d] + was);
        }
        for (int64_t b = 0; b < buckets; b++) {
            double sum = late[b], all = late_mass[b], got = 0;
            for (int64_t l = 0; l < HD_TILE_PAD; l++) {
                double was = get(was_time, item, b * HD_TILE_PAD + l);
                sum += was, all += fabs(was), got += get(dtime, item, b * HD_TILE_PAD + l);
            }
            if (!kc_near(got, sum, kc_gamma(terms, item) * all))
                return kc_fail("sum_bucket %s: got %.9g, want %.9g", k->name, got, sum);
        }
        if (!kc_rows_intact())
            return kc_fail("biases %s wrote before their rows", k->name);
        kc_rows_release();
    }
    return true;
}

/* A score of -infinity weighs 0 and takes no gradient, for every kind of weight. */
static bool check_hidden_weigh_nothing(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    double s[HD_TILE_PAD * 3], dp[HD_TILE_PAD * 3], one[1], zero[1];
    for (int weight = 0; weight < 3; weight++) {
        struct hd_tile t = {.s = (char *)s + HD_TILE_PAD * item, .s_row = HD_TILE_PAD, .rows = 1,
                            .columns = HD_TILE_PAD, .seen = HD_TILE_PAD};
        put(one, item, 0, 1), put(zero, item, 0, 0);
        for (int64_t j = 0; j < HD_TILE_PAD; j++) {
            put(t.s, item, j, j % 3 ? -(double)INFINITY : 0.5);
            put(dp, item, j, 2);
        }
        if (weight == HEED_WEIGHT_SOFTMAX)
            k->softmax_back(&t, dp, HD_TILE_PAD, one, zero);
        else if (weight == HEED_WEIGHT_SILU)
            k->silu_back(&t, dp, HD_TILE_PAD, one);
        else
            k->sigmoid_back(&t, dp, HD_TILE_PAD);
        for (int64_t j = 0; j < HD_TILE_PAD; j++)
            if ((get(t.s, item, j) == 0) != (j % 3 != 0) || (get(dp, item, j) == 0) != (j % 3 != 0))
                return kc_fail("weight %d %s: a hidden score weighs %g, gradient %g", weight, k->name,
                               get(t.s, item, j), get(dp, item, j));
    }
    return true;
}

/* Masks of any stride, tables of diagonals among them, replace what they hide, which may be NaN, and
 * touch nothing that is not seen. */
static bool check_masks(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        void *memory;
        struct hd_tile t = tile_new(item, &memory);
        int64_t col = below(3), row = below(2) ? below(2) * (t.columns * col + below(3)) : -1;
        int64_t back = row < 0 ? t.rows - 1 : 0; /* elements before the first row's start */
        size_t span = (size_t)(back + (row > 0 ? (t.rows - 1) * row : 0) +
                               (t.columns > 0 ? (t.columns - 1) * col + 1 : 0));
        char *mask = kc_row(span, item);
        uint8_t *keep = kc_row(span, 1);
        for (size_t i = 0; i < span; i++) {
            keep[i] = (uint8_t)(below(2) * (1 + below(255)));
            if (below(3) == 0)
                put(mask, item, (int64_t)i, -(double)INFINITY);
        }
        for (int n = 0; n < 5; n++)
            put(t.s, item, below(t.rows * t.s_row), (double)NAN);
        size_t room = (size_t)(t.rows * t.s_row + 2 * HD_TILE_PAD);
        void *first = kc_copy(memory, room, item);
        k->mask(&t, mask + (size_t)back * item, row, col);
        void *second = kc_copy(memory, room, item);
        k->keep(&t, keep + back, row, col);
        for (int64_t i = -HD_TILE_PAD; i < t.rows * t.s_row + HD_TILE_PAD; i++) {
            int64_t r = i < 0 || i >= t.rows * t.s_row ? 0 : i / t.s_row, c = i - r * t.s_row;
            bool seen = c >= 0 && c < seen_by(&t, r);
            int64_t at = back + r * row + c * col;
            double was = get(first, item, HD_TILE_PAD + i), m = seen ? get(mask, item, at) : 0;
            double masked = get(second, item, HD_TILE_PAD + i), got = get(t.s, item, i);
            double want = isinf(m) ? m : item == 4 ? (double)((float)was + (float)m) : was + m;
            double end = seen && !keep[at] ? -(double)INFINITY : masked;
            if (!(masked == want || (isnan(masked) && isnan(want))))
                return kc_fail("mask %s: %g of %g and %g", k->name, masked, was, m);
            if (!(got == end || (isnan(got) && isnan(end))))
                return kc_fail("keep %s: %g of %g", k->name, got, masked);
        }
        if (!kc_rows_intact())
            return kc_fail("masks %s wrote before their rows", k->name);
        kc_rows_release();
    }
    return true;
}

static bool check_row_dots(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rows = (int64_t)kc_length(20), n = (int64_t)kc_length(70);
        int64_t x_row = n + below(4), y_row = n + below(4);
        void *x = kc_row((size_t)(rows ? (rows - 1) * x_row + n : 0), item);
        void *y = kc_row((size_t)(rows ? (rows - 1) * y_row + n : 0), item);
        void *out = kc_row((size_t)rows, item);
        k->row_dots(rows, n, x, x_row, y, y_row, out);
        for (int64_t i = 0; i < rows; i++) {
            double sum = 0, mass = 0;
            for (int64_t j = 0; j < n; j++) {
                double z = get(x, item, i * x_row + j) * get(y, item, i * y_row + j);
                sum += z, mass += fabs(z);
            }
            if (!kc_near(get(out, item, i), sum, kc_gamma((size_t)n, item) * mass + kc_tiny(item)))
                return kc_fail("row_dots %s n=%" PRId64, k->name, n);
        }
        if (!kc_rows_intact())
            return kc_fail("row_dots %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

static bool check_elu_one(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    double u = kc_unit_roundoff(item);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rows = 1 + below(8), n = (int64_t)kc_length(70), x_row = n + below(4), y_row = n + below(4);
        size_t x_span = (size_t)((rows - 1) * x_row + n), y_span = (size_t)((rows - 1) * y_row + n);
        void *x = kc_row(x_span, item), *y = kc_row(y_span, item), *dy = kc_row(x_span, item);
        void *dx = kc_row(y_span, item), *was = kc_copy(dx, y_span, item);
        bool accumulate = below(2);
        if (n > 0)
            put(x, item, 0, below(2) ? (double)NAN : -(double)INFINITY);
        k->elu_one(y, y_row, x, x_row, rows, n);
        k->elu_one_back(dx, y_row, dy, x_row, y, y_row, rows, n, accumulate);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n; j++) {
                double a = get(x, item, i * x_row + j), got = get(y, item, i * y_row + j);
                double want = a > 0 ? a + 1 : exp(a), old = get(was, item, i * y_row + j);
                double slope = get(dy, item, i * x_row + j) * (a > 0 ? 1 : want);
                double back = get(dx, item, i * y_row + j), sum = slope + (accumulate ? old : 0);
                if (!kc_same_kind(got, want) || !kc_same_kind(back, sum))
                    return kc_fail("elu_one %s: of %g: %g, back %g", k->name, a, got, back);
                if (!isnan(a) && (!kc_near(got, want, 6 * u * want) ||
                                  !kc_near(back, sum, 8 * u * (fabs(slope) + fabs(old)))))
                    return kc_fail("elu_one %s: got %.9g, want %.9g; back %.9g, want %.9g", k->name,
                                   got, want, back, sum);
            }
        if (!kc_rows_intact())
            return kc_fail("elu_one %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

static bool check_hide_range(const struct hd_attention_kernels *k)
{
    size_t item = k->item_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        void *memory;
        struct hd_tile t = tile_new(item, &memory);
        size_t room = (size_t)(t.rows * t.s_row);
        int32_t *code = kc_row((size_t)t.columns, sizeof(float)), from[40], to[40];
        void *was = kc_copy(t.s, room, item);
        for (int64_t j = 0; j < t.columns; j++)
            code[j] = (int32_t)below(50);
        for (int64_t i = 0; i < t.rows; i++)
            from[i] = (int32_t)below(50), to[i] = (int32_t)below(50);
        k->hide_range(&t, code, from, to);
        for (int64_t i = 0; i < t.rows; i++)
            for (int64_t j = 0; j < t.columns; j++) {
                bool hidden = j < seen_by(&t, i) && code[j] >= from[i] && code[j] < to[i];
                double want = hidden ? -(double)INFINITY : get(was, item, i * t.s_row + j);
                if (get(t.s, item, i * t.s_row + j) != want)
                    return kc_fail("hide_range %s: row %" PRId64 ", column %" PRId64, k->name, i, j);
            }
        if (!kc_rows_intact())
            return kc_fail("hide_range %s wrote before its rows", k->name);
        kc_rows_release();
    }
    return true;
}

bool check_attention(const struct hd_attention_kernels *k)
{
    return check_product(k) && check_transpose(k) && check_softmax_blocks(k) && check_nan(k) &&
           check_back(k, HEED_WEIGHT_SOFTMAX) && check_back(k, HEED_WEIGHT_SILU) &&
           check_back(k, HEED_WEIGHT_SIGMOID) && check_hidden_weigh_nothing(k) && check_masks(k) &&
           check_tables(k) && check_row_dots(k) && check_elu_one(k) && check_hide_range(k);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of scores and positions: what each does not look at, and what it is another form of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "heed/attention.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { L = 70, H = 2, D = 12, E = 5, N = L * H * D };

struct world {
    float q[N], k[N], v[L * H * E], out[L * H * E], weights[H * L * L], theta[H * D * D], lse[H * L];
    heed_attention_opts o;
    heed_attention_arrays a;
};

static uint64_t seed(void)
{
    const char *text = getenv("HEED_SEED");
    return text ? strtoull(text, NULL, 0) : 20261120;
}

static struct world *world_new(uint64_t stream)
{
    struct world *w = calloc(1, sizeof *w);
    heed_rng rng = hd_rng(seed(), stream);
    for (int i = 0; i < N; i++)
        w->q[i] = (float)hd_random_normal(&rng), w->k[i] = (float)hd_random_normal(&rng);
    for (int i = 0; i < L * H * E; i++)
        w->v[i] = (float)hd_random_normal(&rng);
    for (int i = 0; i < H * D * D; i++)
        w->theta[i] = 0.3f * (float)hd_random_normal(&rng);
    w->a = (heed_attention_arrays){.B = 1, .T = L, .S = L, .H = H, .D = D, .E = E, .q = w->q,
                                   .k = w->k, .v = w->v, .out = w->out, .weights = w->weights,
                                   .lse = w->lse};
    return w;
}

static void run(struct world *w)
{
    assert_int_equal(heed_attention_forward(NULL, &w->o, &w->a), HEED_OK);
}

/* |weights - other| with a bound for each score: d exp(s) = exp(s) ds, and a row's sum moves too. */
static void assert_close(const struct world *w, const float *other, double score_bound)
{
    double share = expm1(2 * score_bound) + 1e-6;
    for (int i = 0; i < H * L * L; i++)
        assert_true(fabs((double)w->weights[i] - (double)other[i]) <=
                    share * (double)fmaxf(w->weights[i], other[i]) + 1e-30);
}

static const heed_rotary ways[] = {HEED_ROTARY_PAIRS, HEED_ROTARY_HALVES};

/* Turned, only the distance counts: with the same query and key everywhere, a row's scores are those of
 * the row before, one step along. Scores are read off weights: log w(s) - log w(1). */
static void test_rotary_knows_distance(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct world *w = world_new(1);
        w->o.rotary = ways[way];
        for (int i = H * D; i < N; i++)
            w->q[i] = w->q[i % (H * D)], w->k[i] = w->k[i % (H * D)];
        run(w);
        for (int h = 0; h < H; h++)
            for (int t = 1; t < L; t++)
                for (int s = 1; s < L; s++) {
                    const float *row = w->weights + (h * L + t) * L, *before = row - L;
                    double step = log((double)row[s]) - log((double)row[1]);
                    double same = log((double)before[s - 1]) - log((double)before[0]);
                    assert_true(fabs(step - same) <= 2e-5);
                }
        free(w);
    }
}

/* Angles are right to the last bit of a float at any position: a query that stands at 65,536 and a key
 * there meet as if they were not turned. And, turned by hand in double, at any distance. */
static void test_rotary_far_away(void **state)
{
    (void)state;
    enum { S = 65537, W = 8 };
    float *k = calloc((size_t)S * W, sizeof *k), *w = calloc(S, sizeof *w);
    float *v = calloc(S, sizeof *v), q[W], out[1];
    heed_rng rng = hd_rng(seed(), 2);
    for (int i = 0; i < S * W; i++)
        k[i] = (float)hd_random_normal(&rng);
    for (int i = 0; i < W; i++)
        q[i] = (float)hd_random_normal(&rng);
    for (int way = 0; way < 2; way++) {
        heed_attention_opts o = {.rotary = ways[way], .weight = HEED_WEIGHT_SILU};
        heed_attention_arrays a = {.B = 1, .T = 1, .S = S, .H = 1, .D = W, .E = 1, .q = q, .k = k,
                                   .v = v, .out = out, .weights = w};
        assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
        for (int s = 0; s < S; s += s < S - 70 ? 977 : 1) {
            double score = 0, mass = 0;
            for (int i = 0; i < W / 2; i++) {
                int x = way ? i : 2 * i, y = way ? i + W / 2 : x + 1;
                double angle = (double)(S - 1 - s) * pow(10000, -2.0 * i / W);
                const float *key = k + s * W;
                double qx = (double)q[x], qy = (double)q[y];
                double kx = (double)key[x], ky = (double)key[y];
                score += (qx * kx + qy * ky) * cos(angle) + (qx * ky - qy * kx) * sin(angle);
                mass += (fabs(qx) + fabs(qy)) * (fabs(kx) + fabs(ky));
            }
            double want = score / (1 + exp(-score)) / S;
            assert_true(fabs((double)w[s] - want) <= 40 * (double)FLT_EPSILON * (1 + mass) / S);
        }
    }
    free(k), free(w), free(v);
}

/* Rows of any length: only the direction counts. By powers of two to the bit, and far beyond what a
 * square can hold. */
static void test_cosine_knows_direction(void **state)
{
    (void)state;
    static const float sizes[] = {0x1p-40f, 0x1p60f, 0x1p90f, 0x1p-90f};
    struct world *w = world_new(3);
    float *first = malloc(sizeof w->weights);
    w->o = (heed_attention_opts){.score = HEED_SCORE_COSINE, .scale = 5};
    run(w);
    memcpy(first, w->weights, sizeof w->weights);
    for (int i = 0; i < N; i++)
        w->q[i] *= sizes[i / D % 4], w->k[i] *= sizes[(i / D + 2) % 4];
    run(w);
    assert_close(w, first, 5e-6);
    free(first), free(w);
}

/* A row of zeros is like nothing: even weights, and no gradient into it. */
static void test_cosine_of_zeros(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    float *dq = calloc(N, sizeof *dq), *dk = calloc(N, sizeof *dk), *dv = calloc(L * H * E, sizeof *dv);
    w->o = (heed_attention_opts){.score = HEED_SCORE_COSINE, .rotary = HEED_ROTARY_PAIRS};
    for (int h = 0; h < H * D; h++)
        w->q[3 * H * D + h] = 0, w->k[5 * H * D + h] = 0;
    run(w);
    w->a.dout = w->v, w->a.dq = dq, w->a.dk = dk, w->a.dv = dv;
    assert_int_equal(heed_attention_backward(NULL, &w->o, &w->a), HEED_OK);
    for (int h = 0; h < H; h++)
        for (int s = 0; s < L; s++)
            assert_true(fabs((double)w->weights[(h * L + 3) * L + s] - 1.0 / L) < 1e-7);
    for (int i = 0; i < N; i++) {
        assert_true(i / (H * D) == 3 ? dq[i] == 0 : isfinite(dq[i]) && dq[i] != 0);
        assert_true(i / (H * D) == 5 ? dk[i] == 0 : isfinite(dk[i]) && dk[i] != 0);
    }
    free(w), free(dq), free(dk), free(dv);
}

static double square(const float *x)
{
    double sum = 0;
    for (int d = 0; d < D; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

/* The score of a distance is off by at most 3 (D + 3) units of the squared lengths; moving q and k
 * together changes no more than that, of both places. */
static void test_euclid_knows_difference(void **state)
{
    (void)state;
    struct world *w = world_new(5);
    float *first = malloc(sizeof w->weights);
    double largest = 0;
    w->o = (heed_attention_opts){.score = HEED_SCORE_EUCLID, .scale = 0.25};
    run(w);
    memcpy(first, w->weights, sizeof w->weights);
    for (int i = 0; i < N; i++) /* by what both can hold without rounding */
        w->q[i] = rintf(w->q[i] * 1024) / 1024, w->k[i] = rintf(w->k[i] * 1024) / 1024;
    run(w);
    memcpy(first, w->weights, sizeof w->weights);
    for (int i = 0; i < N; i++)
        w->q[i] += 3 - (float)(i % D), w->k[i] += 3 - (float)(i % D);
    run(w);
    for (int i = 0; i < L * H; i++)
        largest = fmax(largest, fmax(square(w->q + i * D), square(w->k + i * D)));
    assert_close(w, first, 0.25 * 2 * 3 * (D + 3) * (double)FLT_EPSILON / 2 * 2 * largest);
    free(first), free(w);
}

/* Softmax takes what is the same for a whole row away: of -|q - k|^2 there remains 2 q.k - |k|^2, here
 * as a dot product of rows one wider. */
static void test_euclid_is_its_expansion(void **state)
{
    (void)state;
    struct world *w = world_new(6);
    float *first = malloc(sizeof w->weights);
    float *q = malloc(L * H * (D + 1) * sizeof *q), *k = malloc(L * H * (D + 1) * sizeof *k);
    double largest = 0;
    w->o = (heed_attention_opts){.score = HEED_SCORE_EUCLID};
    run(w);
    memcpy(first, w->weights, sizeof w->weights);
    for (int i = 0; i < L * H; i++) {
        memcpy(q + i * (D + 1), w->q + i * D, D * sizeof *q);
        memcpy(k + i * (D + 1), w->k + i * D, D * sizeof *k);
        q[i * (D + 1) + D] = -1, k[i * (D + 1) + D] = (float)(square(w->k + i * D) / 2);
        largest = fmax(largest, fmax(square(w->q + i * D), square(w->k + i * D)));
    }
    w->o = (heed_attention_opts){.scale = 2};
    w->a.D = D + 1, w->a.q = q, w->a.k = k;
    run(w);
    assert_close(w, first, 2 * 3 * (D + 3) * (double)FLT_EPSILON / 2 * 2 * largest);
    free(first), free(w), free(q), free(k);
}

/* The bilinear score of the identity is the dot product, to the bit; features of theta4 = 1 alone too. */
static void test_scores_contain_the_dot(void **state)
{
    (void)state;
    struct world *w = world_new(7);
    float *first = malloc(sizeof w->weights), ones[H * 4 * D] = {0};
    w->o = (heed_attention_opts){.scale = 0.5, .causal = true, .rotary = HEED_ROTARY_HALVES};
    run(w);
    memcpy(first, w->weights, sizeof w->weights);
    for (int i = 0; i < H * D * D; i++)
        w->theta[i] = i / D % D == i % D;
    w->o.score = HEED_SCORE_BILINEAR, w->a.theta = w->theta;
    run(w);
    assert_memory_equal(w->weights, first, sizeof w->weights);
    for (int h = 0; h < H; h++)
        for (int d = 3 * D; d < 4 * D; d++)
            ones[h * 4 * D + d] = 1;
    w->o.score = HEED_SCORE_FEATURES, w->a.theta = ones;
    run(w);
    assert_memory_equal(w->weights, first, sizeof w->weights);
    free(first), free(w);
}

static const heed_attention_score every[] = {HEED_SCORE_DOT, HEED_SCORE_COSINE, HEED_SCORE_EUCLID,
                                             HEED_SCORE_BILINEAR, HEED_SCORE_FEATURES,
                                             HEED_SCORE_ADDITIVE};
#define SCORES 6

/* A query that is NaN or infinite spoils its own row of out, no other; a key what sees it. */
static void test_bad_rows_stay_alone(void **state)
{
    (void)state;
    for (int i = 0; i < SCORES * 3; i++) {
        struct world *w = world_new(8);
        float first[L * H * E];
        bool infinite = every[i % SCORES] != HEED_SCORE_ADDITIVE; /* which takes it: tanh is then 1 */
        w->o = (heed_attention_opts){.score = every[i % SCORES], .causal = true,
                                     .rotary = (heed_rotary)(i / SCORES)};
        if (every[i % SCORES] >= HEED_SCORE_BILINEAR)
            w->a.theta = w->theta;
        run(w);
        memcpy(first, w->out, sizeof first);
        w->q[11 * H * D + 1] = NAN, w->q[20 * H * D + 2] = INFINITY, w->k[40 * H * D] = NAN;
        run(w);
        for (int at = 0; at < L * H * E; at++) {
            int t = at / (H * E), h = at / E % H;
            if (h == 0 && (t == 11 || (t == 20 && infinite) || t >= 40))
                assert_true(isnan(w->out[at]));
            else if (h == 0 && t == 20)
                assert_true(isfinite(w->out[at]));
            else
                assert_true(memcmp(&w->out[at], &first[at], sizeof first[at]) == 0);
        }
        free(w);
    }
}

/* Beyond span and ramp nothing is seen, within the span all of it, and sums stay one. */
static void test_soft_span_hides(void **state)
{
    (void)state;
    double spans[H] = {4.25, 30}, ramp = 3.5;
    struct world *w = world_new(9);
    heed_tape *tape;
    heed_tensor *span, *table;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    float z[H] = {(float)spans[0], (float)spans[1]};
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, z, (int64_t[]){H}, 1, true, &span), HEED_OK);
    assert_int_equal(heed_soft_span(tape, span, ramp, L, &table), HEED_OK);
    for (int h = 0; h < H; h++)
        for (int x = 0; x < L; x++) {
            double m = (ramp + spans[h] - x) / ramp, got = (double)((float *)table->data)[h * L + L - 1 - x];
            assert_true(m <= 0   ? isinf(got)
                        : m >= 1 ? got == 0
                                 : fabs(exp(got) - m) < 1e-6);
        }
    w->o.causal = true;
    w->a.position = table->data, w->a.P = L;
    run(w);
    for (int h = 0; h < H; h++)
        for (int t = 0; t < L; t++) {
            double sum = 0;
            for (int s = 0; s < L; s++) {
                float x = w->weights[(h * L + t) * L + s];
                sum += (double)x;
                if (t - s >= spans[h] + ramp)
                    assert_true(x == 0);
                else if (s <= t)
                    assert_true(x > 0);
            }
            assert_true(fabs(sum - 1) < 1e-5);
        }
    heed_tape_free(tape);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotary_knows_distance), cmocka_unit_test(test_rotary_far_away),
        cmocka_unit_test(test_cosine_knows_direction), cmocka_unit_test(test_cosine_of_zeros),
        cmocka_unit_test(test_euclid_knows_difference), cmocka_unit_test(test_euclid_is_its_expansion),
        cmocka_unit_test(test_scores_contain_the_dot), cmocka_unit_test(test_bad_rows_stay_alone),
        cmocka_unit_test(test_soft_span_hides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

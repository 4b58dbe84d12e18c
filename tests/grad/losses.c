/* SPDX-License-Identifier: Apache-2.0
 *
 * Every loss's value against its formula written out, and its backward against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"

#include <string.h>

enum { V = 9 };

static const int32_t labels[] = {3, -1, 0, 8, 3, 5, 1}, negatives[] = {1, 3, 7, 3, 2, 6};
static const int32_t excluded[] = {7, 4, 7};
enum { N = sizeof labels / sizeof *labels, K = sizeof negatives / sizeof *negatives };

static const struct row {
    const char *name;
    double gbce_t; /* below 0: sampled softmax */
    heed_loss_opts opts;
} rows[] = {
    {"sampled softmax", -1, {0}},
    {"sampled softmax, scaled and weighed", -1, {.logit_scale = 3, .weight = 0.7}},
    {"sampled softmax, an item excluded", -1, {.excluded = excluded, .excluded_count = 3}},
    {"gBCE, t 0: plain binary cross-entropy", 0, {0}},
    {"gBCE, t 0.75", 0.75, {.logit_scale = 2}},
    {"gBCE, t 1", 1, {.weight = 2, .excluded = excluded, .excluded_count = 3}},
};

static bool is_excluded(const heed_loss_opts *o, int32_t id)
{
    for (int64_t e = 0; e < o->excluded_count; e++)
        if (o->excluded[e] == id)
            return true;
    return false;
}

/* The formulas of RANKING, one term after the other, in long double. */
static double sampled_ref(const struct row *r, const double *x, const double *table, int64_t C,
                          int items)
{
    long double loss = 0, weight = r->opts.weight != 0 ? (long double)r->opts.weight : 1.0L / N;
    double scale = r->opts.logit_scale != 0 ? r->opts.logit_scale : 1;

    for (int i = 0; i < N; i++) {
        long double plus = 0, sum = 0;
        if (labels[i] < 0)
            continue;
        for (int64_t c = 0; c < C; c++)
            plus += (long double)(scale * x[i * C + c] * table[labels[i] * C + c]);
        for (int j = 0; j < K; j++) {
            long double s = 0;
            for (int64_t c = 0; c < C; c++)
                s += (long double)(scale * x[i * C + c] * table[negatives[j] * C + c]);
            if (negatives[j] != labels[i] && !is_excluded(&r->opts, negatives[j]))
                sum += r->gbce_t < 0 ? expl(s) : logl(1 - 1 / (1 + expl(-s)));
        }
        if (r->gbce_t < 0) {
            loss -= weight * logl(expl(plus) / (expl(plus) + sum));
        } else {
            long double alpha = (long double)K / (items - 1), t = (long double)r->gbce_t;
            long double beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha);
            loss -= weight / (K + 1) * (logl(powl(1 / (1 + expl(-plus)), beta)) + sum);
        }
    }
    return (double)loss;
}

static heed_status sampled(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct row *r = arg;
    heed_tensor *x;

    HD_TRY(heed_slice(tape, in[0], 1, 1, in[1]->dim[1], &x)); /* rows with gaps */
    if (r->gbce_t < 0)
        return heed_sampled_softmax(tape, x, in[1], labels, negatives, K, &r->opts, out);
    return heed_gbce(tape, x, in[1], labels, negatives, K, r->gbce_t, 40, &r->opts, out);
}

static void test_sampled(void **state)
{
    static const int64_t widths[] = {1, 4, 17};

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        for (int w = 0; w < 3; w++) {
            int64_t C = widths[w];
            struct gc_case gc = {
                r->name, sampled, (void *)(uintptr_t)r, 2, {{2, {N, C + 3}}, {2, {V, C}}}};
            assert_true(gc_check(&gc));

            double x[N * 17], table[V * 17];
            heed_rng rng = hd_rng(gc_seed(), 7);
            heed_tensor *tx, *tt, *loss;
            heed_tape *tape;
            for (int i = 0; i < N * C; i++)
                x[i] = hd_random_normal(&rng);
            for (int i = 0; i < V * C; i++)
                table[i] = hd_random_normal(&rng);
            assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F64, x, (int64_t[]){N, C}, 2, false, &tx),
                             HEED_OK);
            assert_int_equal(
                heed_tensor_wrap(tape, HEED_F64, table, (int64_t[]){V, C}, 2, false, &tt), HEED_OK);
            if (r->gbce_t < 0)
                assert_int_equal(
                    heed_sampled_softmax(tape, tx, tt, labels, negatives, K, &r->opts, &loss),
                    HEED_OK);
            else
                assert_int_equal(
                    heed_gbce(tape, tx, tt, labels, negatives, K, r->gbce_t, 40, &r->opts, &loss),
                    HEED_OK);
            double got = *(double *)loss->data, want = sampled_ref(r, x, table, C, 40);
            if (!(fabs(got - want) <= 1e-11 * fmax(1, fabs(want))))
                fail_msg("%s, C %d: %.15g, want %.15g", r->name, (int)C, got, want);
            heed_tape_free(tape);
        }
}

/* Logits of any size give a finite loss and slopes. */
static void test_extremes(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        for (int turn = 0; turn < 2; turn++) {
            float x[N], table[V];
            heed_tensor *tx, *tt, *loss;
            heed_tape *tape;
            for (int i = 0; i < N; i++)
                x[i] = turn ? 300 : -300;
            for (int i = 0; i < V; i++)
                table[i] = (float)(i - 4);
            assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){N, 1}, 2, true, &tx),
                             HEED_OK);
            assert_int_equal(
                heed_tensor_wrap(tape, HEED_F32, table, (int64_t[]){V, 1}, 2, true, &tt), HEED_OK);
            assert_int_equal(
                r->gbce_t < 0
                    ? heed_sampled_softmax(tape, tx, tt, labels, negatives, K, &r->opts, &loss)
                    : heed_gbce(tape, tx, tt, labels, negatives, K, r->gbce_t, 40, &r->opts, &loss),
                HEED_OK);
            assert_true(isfinite(*(float *)loss->data));
            assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
            for (int i = 0; i < N; i++)
                assert_true(isfinite(((float *)tx->grad)[i]));
            for (int i = 0; i < V; i++)
                assert_true(isfinite(((float *)tt->grad)[i]));
            heed_tape_free(tape);
        }
}

/* ---- the classifier's loss */

static const heed_loss_opts class_opts[] = {
    {0},
    {.logit_scale = 1.5, .weight = 0.3},
    {.label_smoothing = 0.2},
    {.label_smoothing = 0.1, .excluded = excluded, .excluded_count = 3, .logit_scale = 2},
    {.excluded = excluded, .excluded_count = 3},
};

static heed_status classifier(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(heed_slice(tape, in[0], 1, 0, V, &x));
    return heed_softmax_loss(tape, x, labels, arg, out);
}

static double class_ref(const heed_loss_opts *o, const double *x)
{
    long double loss = 0, weight = o->weight != 0 ? (long double)o->weight : 1.0L / N;
    double scale = o->logit_scale != 0 ? o->logit_scale : 1;
    int classes = 0;

    for (int v = 0; v < V; v++)
        classes += !is_excluded(o, v);
    for (int i = 0; i < N; i++) {
        long double sum = 0, target = 0;
        for (int v = 0; v < V && labels[i] >= 0; v++) {
            double l = scale * x[i * V + v];
            if (is_excluded(o, v))
                continue;
            sum += expl((long double)l);
            target += (long double)(l * ((v == labels[i] ? 1 - o->label_smoothing : 0) +
                                         o->label_smoothing / classes));
        }
        loss += labels[i] >= 0 ? weight * (logl(sum) - target) : 0;
    }
    return (double)loss;
}

static void test_classifier(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof class_opts / sizeof *class_opts; i++) {
        struct gc_case gc = {
            "softmax_loss", classifier, (void *)(uintptr_t)&class_opts[i], 1, {{2, {N, V + 2}}}};
        double x[N * V];
        heed_rng rng = hd_rng(gc_seed(), i);
        heed_tensor *tx, *loss;
        heed_tape *tape;

        assert_true(gc_check(&gc));
        for (int j = 0; j < N * V; j++)
            x[j] = 3 * hd_random_normal(&rng);
        assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, x, (int64_t[]){N, V}, 2, false, &tx),
                         HEED_OK);
        assert_int_equal(heed_softmax_loss(tape, tx, labels, &class_opts[i], &loss), HEED_OK);
        double got = *(double *)loss->data, want = class_ref(&class_opts[i], x);
        assert_true(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)));
        heed_tape_free(tape);
    }
}

static void test_refusals(void **state)
{
    static const int32_t high[] = {9, 0, 0, 0, 0, 0, 0}, shut[] = {4, 0, 0, 0, 0, 0, 0};
    double x[N * V] = {0};
    heed_tensor *tx, *tt, *loss = NULL;
    heed_loss_opts smooth = {.label_smoothing = 0.1};
    heed_tape *tape;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, x, (int64_t[]){N, V}, 2, false, &tx),
                     HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, x, (int64_t[]){V, 3}, 2, false, &tt),
                     HEED_OK);
    assert_int_equal(heed_sampled_softmax(tape, tx, tt, labels, negatives, K, NULL, &loss),
                     HEED_E_SHAPE);
    assert_string_equal(heed_error_message(),
                        "sampled_softmax: x is (7, 9) and the table (9, 3), not (N, C) and (V, C)");
    assert_int_equal(heed_sampled_softmax(tape, tt, tt, labels, negatives, K, &smooth, &loss),
                     HEED_E_ARG);
    assert_int_equal(heed_softmax_loss(tape, tx, high, NULL, &loss), HEED_E_RANGE);
    assert_string_equal(heed_error_message(), "softmax_loss: label 0 is 9, not -1 to 8");
    assert_int_equal(heed_softmax_loss(tape, tx, shut, &class_opts[4], &loss), HEED_E_ARG);
    assert_string_equal(heed_error_message(), "softmax_loss: label 0 is 4, an excluded class");
    assert_int_equal(heed_gbce(tape, tt, tt, labels, negatives, K, 1.5, 40, NULL, &loss),
                     HEED_E_ARG);
    assert_int_equal(heed_gbce(tape, tt, tt, labels, negatives, K, 0.5, K, NULL, &loss),
                     HEED_E_ARG);
    assert_string_equal(heed_error_message(), "gbce: 6 negatives of 6 items");
    assert_null(loss);
    heed_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampled),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

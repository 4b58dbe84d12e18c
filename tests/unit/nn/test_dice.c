/* SPDX-License-Identifier: Apache-2.0
 *
 * Dice's two faces, with the batch's moments and with running averages, against the definition; how the
 * averages move; and what it and PReLU refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "heed/nn.h"
#include "tensor/tape.h"

#include <math.h>
#include <string.h>

#define ROWS_MAX 700
#define COLS_MAX 90

static double x[ROWS_MAX * COLS_MAX], want[ROWS_MAX * COLS_MAX], alpha[COLS_MAX];
static double center[COLS_MAX], spread[COLS_MAX];

/* y of the definition with these moments, into want. */
static void define(int64_t N, int64_t C, const double *mean, const double *var, double eps)
{
    for (int64_t i = 0; i < N * C; i++) {
        double p = 1 / (1 + exp(-(x[i] - mean[i % C]) / sqrt(var[i % C] + eps)));
        want[i] = p * x[i] + (1 - p) * alpha[i % C] * x[i];
    }
}

static void moments(int64_t N, int64_t C)
{
    memset(center, 0, sizeof center), memset(spread, 0, sizeof spread);
    for (int64_t i = 0; i < N * C; i++)
        center[i % C] += x[i] / (double)N;
    for (int64_t i = 0; i < N * C; i++)
        spread[i % C] += (x[i] - center[i % C]) * (x[i] - center[i % C]) / (double)N;
}

static bool near(const double *got, const double *expected, int64_t n, double bound)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= bound * (1 + fabs(expected[i]))))
            return false;
    return true;
}

static void test_definition(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(20261120, 5);
    heed_params *params;
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 100; round++) {
        int64_t N = (int64_t)hd_random_below(&rng, ROWS_MAX), C = 1 + (int64_t)hd_random_below(&rng, COLS_MAX);
        heed_dice_opts o = {.eps = round % 2 ? 0 : 0.01, .momentum = round % 3 ? 0 : 0.3};
        double move = round % 3 ? 0.1 : 0.3, eps = round % 2 ? 1e-8 : 0.01;
        heed_tensor *tx, *ta, *mean, *var, *y;
        for (int64_t i = 0; i < N * C; i++)
            x[i] = 100 + 3 * hd_random_normal(&rng); /* far from 0: no square may cancel */
        for (int64_t c = 0; c < C; c++)
            alpha[c] = hd_random_normal(&rng);
        heed_tape_reset(tape);
        heed_tape_record(tape, true);
        assert_int_equal(heed_params_new(HEED_F64, 1, &params), HEED_OK);
        assert_int_equal(heed_params_add(params, "mean", &C, 1, HEED_INIT_ZEROS, 0, &mean), HEED_OK);
        assert_int_equal(heed_params_add(params, "var", &C, 1, HEED_INIT_ONES, 0, &var), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, x, (int64_t[]){N, C}, 2, true, &tx), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, alpha, &C, 1, true, &ta), HEED_OK);
        assert_int_equal(heed_dice(tape, tx, ta, mean, var, &o, &y), HEED_OK);
        moments(N, C);
        define(N, C, center, spread, eps);
        assert_true(N < 2 || near(y->data, want, N * C, 1e-9));
        for (int64_t c = 0; c < C; c++) {
            double m = ((double *)mean->data)[c], v = ((double *)var->data)[c];
            assert_true(fabs(m - (N ? move * center[c] : 0)) < 1e-10 * (1 + fabs(m)));
            assert_true(fabs(v - (N ? 1 + move * (spread[c] - 1) : 1)) < 1e-9 * (1 + v));
        }
        assert_null(mean->grad);
        /* Not recording, or frozen: the running averages, which stay. */
        double kept[COLS_MAX];
        memcpy(kept, mean->data, (size_t)C * sizeof *kept);
        define(N, C, mean->data, var->data, eps);
        heed_tape_record(tape, round % 2);
        heed_params_freeze(params, round % 2);
        assert_int_equal(heed_dice(tape, tx, ta, mean, var, &o, &y), HEED_OK);
        assert_true(near(y->data, want, N * C, 1e-12));
        assert_memory_equal(kept, mean->data, (size_t)C * sizeof *kept);
        heed_params_free(params);
    }
    heed_tape_free(tape);
}

static void test_refusals(void **state)
{
    (void)state;
    static float data[24];
    heed_tape *tape;
    heed_tensor *tx, *three, *four, *other, *y = NULL;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, data, (int64_t[]){5, 3}, 2, true, &tx), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, data, (int64_t[]){3}, 1, true, &three), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, data, (int64_t[]){4}, 1, true, &four), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, data, (int64_t[]){3}, 1, true, &other), HEED_OK);
    heed_dice_opts bad[] = {{.eps = -1}, {.eps = (double)INFINITY}, {.momentum = 1.5}, {.momentum = (double)NAN},
                            {.reserved = {0, 1}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(heed_dice(tape, tx, three, NULL, NULL, &bad[i], &y), HEED_E_ARG);
    assert_int_equal(heed_dice(tape, tx, four, NULL, NULL, NULL, &y), HEED_E_SHAPE);
    assert_int_equal(heed_dice(tape, tx, other, NULL, NULL, NULL, &y), HEED_E_SHAPE);
    assert_int_equal(heed_dice(tape, tx, three, three, NULL, NULL, &y), HEED_E_ARG);
    assert_int_equal(heed_dice(tape, tx, three, three, four, NULL, &y), HEED_E_SHAPE);
    assert_int_equal(heed_dice(tape, tx, NULL, NULL, NULL, NULL, &y), HEED_E_ARG);
    assert_int_equal(heed_prelu(tape, tx, four, &y), HEED_E_SHAPE);
    assert_int_equal(heed_prelu(tape, tx, NULL, &y), HEED_E_ARG);
    heed_tape_record(tape, false);
    assert_int_equal(heed_dice(tape, tx, three, NULL, NULL, NULL, &y), HEED_E_ARG);
    assert_null(y);
    heed_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

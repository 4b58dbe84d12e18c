/* SPDX-License-Identifier: Apache-2.0
 *
 * Sinusoidal positions, soft spans and temperatures: their numbers, and what they and theta on a tape
 * say to shapes that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heed/attention.h"

#include <float.h>
#include <math.h>
#include <string.h>

static heed_tape *tape;

static heed_tensor *wrap(heed_dtype dtype, void *data, int rank, int64_t a, int64_t b, int64_t c)
{
    heed_tensor *x;
    assert_int_equal(heed_tensor_wrap(tape, dtype, data, (int64_t[]){a, b, c}, rank, true, &x),
                     HEED_OK);
    return x;
}

static void test_sinusoidal(void **state)
{
    (void)state;
    static const int64_t widths[] = {0, 1, 2, 7, 64};
    static float single[300 * 64 + 1];
    static double twice[300 * 64];
    for (int i = 0; i < 5; i++) {
        int64_t C = widths[i], first = i % 2 ? 65400 : 0;
        single[300 * C] = 77;
        assert_int_equal(heed_sinusoidal(HEED_F64, first, 300, C, twice), HEED_OK);
        assert_int_equal(heed_sinusoidal(HEED_F32, first, 300, C, single), HEED_OK);
        assert_true(single[300 * C] == 77);
        for (int64_t t = 0; t < 300; t++)
            for (int64_t c = 0; c < C; c++) {
                double angle = (double)(first + t) / pow(10000, (double)(c / 2 * 2) / (double)C);
                double want = c % 2 ? cos(angle) : sin(angle);
                assert_true(fabs(twice[t * C + c] - want) <= 4 * DBL_EPSILON * (1 + angle));
                assert_true(single[t * C + c] == (float)twice[t * C + c]);
            }
    }
    assert_int_equal(heed_sinusoidal(HEED_F32, 0, 0, 0, NULL), HEED_OK);
    assert_int_equal(heed_sinusoidal(HEED_F32, 0, 3, 4, NULL), HEED_E_ARG);
    assert_int_equal(heed_sinusoidal((heed_dtype)7, 0, 3, 4, single), HEED_E_ARG);
    assert_int_equal(heed_sinusoidal(HEED_F32, 0, -1, 4, single), HEED_E_SHAPE);
    assert_int_equal(heed_sinusoidal(HEED_F32, 0, 1, INT64_MAX, single), HEED_E_SHAPE);
}

static void test_soft_span(void **state)
{
    (void)state;
    float z[] = {2, -3, NAN};
    heed_tensor *table, *span = wrap(HEED_F32, z, 1, 3, 0, 0), *square = wrap(HEED_F32, z, 2, 1, 1, 0);
    assert_int_equal(heed_soft_span(tape, span, 2, 5, &table), HEED_OK);
    /* distances 4 .. 0: (2 + 2 - x) / 2 = 0, 1/2, 1, 1, 1; a span below -ramp hides everything */
    const float want[] = {-INFINITY, -0.69314718f, 0, 0, 0};
    for (int i = 0; i < 5; i++) {
        assert_true(((float *)table->data)[i] == want[i]);
        assert_true(((float *)table->data)[5 + i] == -INFINITY);
        assert_true(isnan(((float *)table->data)[10 + i]));
    }
    assert_int_equal(heed_soft_span(tape, square, 2, 5, &table), HEED_E_SHAPE);
    assert_int_equal(heed_soft_span(tape, span, 2, 0, &table), HEED_E_SHAPE);
    assert_int_equal(heed_soft_span(tape, span, 0, 5, &table), HEED_E_ARG);
    assert_int_equal(heed_soft_span(tape, span, (double)NAN, 5, &table), HEED_E_ARG);
    assert_int_equal(heed_soft_span(tape, span, (double)INFINITY, 5, &table), HEED_E_ARG);
    assert_int_equal(strncmp(heed_error_message(), "soft_span: ", 11), 0);
}

/* With no weights the temperature is softplus(b), and b = log(e - 1) leaves queries as they are. */
static void test_temper(void **state)
{
    (void)state;
    double q[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, w[6] = {0}, b[] = {log(M_E - 1), -800};
    double hot[] = {900, 0, 0, 0, 0, 0};
    heed_tensor *x = wrap(HEED_F64, q, 3, 2, 2, 3), *weight = wrap(HEED_F64, w, 2, 2, 3, 0), *y;
    heed_tensor *bias = wrap(HEED_F64, b, 1, 2, 0, 0), *large = wrap(HEED_F64, hot, 2, 2, 3, 0);
    assert_int_equal(heed_temper(tape, x, weight, bias, &y), HEED_OK);
    for (int i = 0; i < 12; i++)
        assert_true(i / 3 % 2 ? ((double *)y->data)[i] == 0
                              : fabs(((double *)y->data)[i] - q[i]) < 1e-14 * q[i]);
    assert_int_equal(heed_temper(tape, x, large, bias, &y), HEED_OK);
    assert_true(fabs(((double *)y->data)[0] - (900 + b[0])) < 1e-12 * 900);
    assert_int_equal(heed_temper(tape, weight, weight, bias, &y), HEED_E_SHAPE);
    assert_int_equal(heed_temper(tape, x, bias, bias, &y), HEED_E_SHAPE);
    assert_int_equal(heed_temper(tape, x, weight, weight, &y), HEED_E_SHAPE);
    assert_int_equal(heed_temper(tape, x, wrap(HEED_F64, w, 2, 3, 2, 0), bias, &y), HEED_E_SHAPE);
    assert_int_equal(heed_temper(tape, x, weight, wrap(HEED_F32, b, 1, 2, 0, 0), &y), HEED_E_ARG);
    assert_int_equal(strncmp(heed_error_message(), "temper: ", 8), 0);
}

/* theta comes as (H, D, D), (H, 4 D) or (H, D), like q, and only where the score has use for it. */
static void test_theta_shapes(void **state)
{
    (void)state;
    static double numbers[64];
    static const struct {
        heed_attention_score score;
        int rank;
        int64_t dim[3];
        heed_status status;
    } rows[] = {
        {HEED_SCORE_BILINEAR, 3, {2, 3, 3}, HEED_OK},
        {HEED_SCORE_BILINEAR, 3, {1, 3, 3}, HEED_E_SHAPE},
        {HEED_SCORE_BILINEAR, 3, {2, 3, 4}, HEED_E_SHAPE},
        {HEED_SCORE_BILINEAR, 2, {2, 9, 0}, HEED_E_SHAPE},
        {HEED_SCORE_FEATURES, 2, {2, 12, 0}, HEED_OK},
        {HEED_SCORE_FEATURES, 2, {2, 3, 0}, HEED_E_SHAPE},
        {HEED_SCORE_FEATURES, 3, {2, 4, 3}, HEED_E_SHAPE},
        {HEED_SCORE_ADDITIVE, 2, {2, 3, 0}, HEED_OK},
        {HEED_SCORE_ADDITIVE, 2, {2, 12, 0}, HEED_E_SHAPE},
        {HEED_SCORE_ADDITIVE, 1, {6, 0, 0}, HEED_E_SHAPE},
        {HEED_SCORE_DOT, 2, {2, 3, 0}, HEED_E_ARG},
        {HEED_SCORE_EUCLID, 2, {2, 3, 0}, HEED_E_ARG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heed_attention_opts o = {.score = rows[i].score};
        heed_tensor *q, *out;
        heed_attention_learned learned = {
            .theta = wrap(HEED_F64, numbers, rows[i].rank, rows[i].dim[0], rows[i].dim[1],
                          rows[i].dim[2])};
        assert_int_equal(heed_tensor_wrap(tape, HEED_F64, numbers, (int64_t[]){1, 4, 2, 3}, 4, true,
                                          &q), HEED_OK);
        heed_status status = heed_attention(tape, q, q, q, &learned, &o, &out, NULL);
        if (status != rows[i].status)
            print_message("# row %zu: %s\n", i, heed_error_message());
        assert_int_equal(status, rows[i].status);
        learned.theta = wrap(HEED_F32, numbers, rows[i].rank, rows[i].dim[0], rows[i].dim[1],
                             rows[i].dim[2]);
        assert_int_not_equal(heed_attention(tape, q, q, q, &learned, &o, &out, NULL), HEED_OK);
    }
}

static int make_tape(void **state)
{
    (void)state;
    return heed_tape_new(NULL, 1, &tape) == HEED_OK ? 0 : -1;
}

static int free_tape(void **state)
{
    (void)state;
    heed_tape_free(tape);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sinusoidal), cmocka_unit_test(test_soft_span),
        cmocka_unit_test(test_temper), cmocka_unit_test(test_theta_shapes),
    };
    return cmocka_run_group_tests(tests, make_tape, free_tape);
}

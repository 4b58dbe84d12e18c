/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention against its definition over random shapes, on arrays and on tapes, and what it says
 * to calls that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "target_call.h"

#define ROUNDS 400

static heed_pool *pool;

static void plain(heed_dtype dtype)
{
    heed_rng rng = hd_rng(na_seed(), 40 + (uint64_t)dtype);
    for (int round = 0; round < ROUNDS; round++) {
        struct tc_call c = tc_random(&rng, dtype);
        tc_settle(&c);
        heed_pool *lent = round % 2 ? pool : NULL;
        if (round % 3 == 0) { /* scratch that is just enough is enough, wherever it starts */
            c.a.scratch_bytes = heed_target_scratch_bytes(lent, &c.weights, &c.opts, &c.a);
            c.a.scratch = na_memory(&c.memory, (size_t)c.a.scratch_bytes);
        }
        assert_int_equal(heed_target_forward(lent, &c.weights, &c.opts, &c.a), HEED_OK);
        assert_true(tc_check(&c, c.a.out, c.a.weights, false));
        tc_free(&c);
    }
}

static void test_plain_float32(void **state)
{
    (void)state;
    plain(HEED_F32);
}

static void test_plain_float64(void **state)
{
    (void)state;
    plain(HEED_F64);
}

/* A tape that does not record gives the plain call's bits; one that does, Dice with the batch's
 * moments, towards which the running ones move. */
static void on_tape(heed_dtype dtype)
{
    heed_rng rng = hd_rng(na_seed(), 42 + (uint64_t)dtype);
    heed_tape *tape;
    assert_int_equal(heed_tape_new(pool, 1, &tape), HEED_OK);
    for (int round = 0; round < ROUNDS; round++) {
        struct tc_call c = tc_random(&rng, dtype);
        tc_settle(&c);
        size_t item = dtype == HEED_F32 ? 4 : 8, units = (size_t)(c.a.B * c.a.K * c.a.C);
        bool rank_2 = c.a.K == 1 && round % 2;
        heed_tensor *out, *weights;
        assert_int_equal(heed_target_forward(NULL, &c.weights, &c.opts, &c.a), HEED_OK);
        heed_tape_reset(tape);
        heed_tape_record(tape, false);
        assert_int_equal(tc_tape(&c, tape, rank_2, &out, &weights), HEED_OK);
        assert_memory_equal(out->data, c.a.out, units * item);
        assert_memory_equal(weights->data, c.a.weights, (size_t)(c.a.K * c.rows) * item);
        heed_tape_reset(tape);
        heed_tape_record(tape, true);
        assert_int_equal(tc_tape(&c, tape, rank_2, &out, &weights), HEED_OK);
        assert_int_equal(out->rank, rank_2 ? 2 : 3);
        assert_true(tc_check(&c, out->data, weights->data, true));
        heed_tape_reset(tape);
        if (c.opts.activation == HEED_TARGET_DICE) { /* frozen averages are read, and stay */
            heed_tensor *mean = c.weights.layer[0].mean;
            double before = na_get(&c.memory, mean->data, 0);
            heed_params_freeze(c.params, true);
            assert_int_equal(tc_tape(&c, tape, rank_2, &out, &weights), HEED_OK);
            assert_true(tc_check(&c, out->data, weights->data, false));
            assert_true(na_get(&c.memory, mean->data, 0) == before);
        }
        tc_free(&c);
    }
    heed_tape_free(tape);
}

static void test_tape_float32(void **state)
{
    (void)state;
    on_tape(HEED_F32);
}

static void test_tape_float64(void **state)
{
    (void)state;
    on_tape(HEED_F64);
}

/* Past a tile of pairs, and past a task of units. */
static void test_long(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 700}, {2, 3, 300}, {1, 900, 7}, {600, 1, 3}};
    heed_rng rng = hd_rng(na_seed(), 45);
    for (int i = 0; i < 4; i++) {
        struct tc_call c = {.a = {.B = shapes[i][0], .K = shapes[i][1], .S = shapes[i][2], .C = 8},
                            .opts = {.softmax = i % 2}};
        c.rows = c.a.B * c.a.S;
        tc_weights(&c, &rng);
        c.a.a = na_numbers(&c.memory, &rng, c.a.B * c.a.K * 8, 1);
        c.a.e = na_numbers(&c.memory, &rng, c.rows * 8, 1);
        c.a.out = na_numbers(&c.memory, &rng, c.a.B * c.a.K * 8, 1);
        c.a.weights = na_numbers(&c.memory, &rng, c.a.K * c.rows, 1);
        assert_int_equal(heed_target_forward(pool, &c.weights, &c.opts, &c.a), HEED_OK);
        assert_true(tc_check(&c, c.a.out, c.a.weights, false));
        tc_free(&c);
    }
}

/* Each line breaks one thing of a call that is good. */
static void test_refusals(void **state)
{
    (void)state;
    float x[256] = {0};
    static const int64_t falling[] = {0, 3, 2}, late[] = {1, 4}, longer[] = {5}, even[] = {0, 4};
    heed_params *params;
    heed_target_weights good_weights;
    assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
    assert_int_equal(heed_target_init(params, "t", 3, (int64_t[]){5, 2}, 2, HEED_TARGET_DICE,
                                     &good_weights), HEED_OK);
    heed_target_arrays good = {.B = 1, .K = 2, .S = 4, .C = 3, .a = x, .e = x, .out = x + 128};
#define REFUSED(wanted, ...)                                                                       \
    do {                                                                                           \
        heed_target_arrays a = good;                                                               \
        heed_target_opts o = {0};                                                                  \
        heed_target_weights w = good_weights;                                                      \
        __VA_ARGS__;                                                                               \
        heed_status got = heed_target_forward(NULL, &w, &o, &a);                                   \
        if (got != (wanted))                                                                       \
            print_message("# " #__VA_ARGS__ ": %s\n", heed_status_name(got));                      \
        assert_int_equal(got, wanted);                                                             \
        assert_int_equal(strncmp(heed_error_message(), "target: ", 8), 0);                         \
    } while (0)
    REFUSED(HEED_E_ARG, a.dtype = 2);
    REFUSED(HEED_E_SHAPE, a.dtype = HEED_F64);
    REFUSED(HEED_E_SHAPE, a.B = -1);
    REFUSED(HEED_E_SHAPE, a.K = -1);
    REFUSED(HEED_E_SHAPE, a.S = INT64_MAX);
    REFUSED(HEED_E_SHAPE, a.C = 0);
    REFUSED(HEED_E_SHAPE, a.C = 4);
    REFUSED(HEED_E_RANGE, a.B = a.K = a.S = INT32_MAX);
    REFUSED(HEED_E_ARG, a.a = NULL);
    REFUSED(HEED_E_ARG, a.e = NULL);
    REFUSED(HEED_E_ARG, a.out = NULL);
    REFUSED(HEED_E_ARG, a.a_row = 2);
    REFUSED(HEED_E_ARG, a.reserved[1] = 1);
    REFUSED(HEED_E_ARG, a.scratch = x; a.scratch_bytes = 8);
    REFUSED(HEED_E_ARG, o.reserved[7] = 1);
    REFUSED(HEED_E_ARG, o.scale = (double)NAN);
    REFUSED(HEED_E_ARG, o.activation = (heed_target_activation)3);
    REFUSED(HEED_E_ARG, o.dice.eps = -1);
    REFUSED(HEED_E_ARG, o.dice.eps = (double)INFINITY);
    REFUSED(HEED_E_ARG, o.dice.momentum = 2);
    REFUSED(HEED_E_ARG, o.dice.reserved[0] = 2);
    REFUSED(HEED_E_ARG, o.lengths = longer);
    REFUSED(HEED_E_ARG, o.offsets = falling; o.sequences = a.B = 2);
    REFUSED(HEED_E_ARG, o.offsets = late; o.sequences = 1);
    REFUSED(HEED_E_ARG, o.offsets = even; o.sequences = 1; o.lengths = even);
    REFUSED(HEED_E_SHAPE, o.offsets = even; o.sequences = 2);
    REFUSED(HEED_E_ARG, w.hidden = 0);
    REFUSED(HEED_E_ARG, w.hidden = HEED_TARGET_HIDDEN_MAX + 1);
    REFUSED(HEED_E_ARG, w.hidden = 3);
    REFUSED(HEED_E_ARG, w.layer[1].w = NULL);
    REFUSED(HEED_E_ARG, w.layer[0].b = NULL);
    REFUSED(HEED_E_ARG, w.layer[0].alpha = NULL);
    REFUSED(HEED_E_ARG, w.layer[0].var = NULL);
    REFUSED(HEED_E_ARG, w.layer[0].var = w.layer[0].mean = NULL);
    REFUSED(HEED_E_ARG, w.b = NULL);
    REFUSED(HEED_E_SHAPE, w.w = w.layer[1].w);
    REFUSED(HEED_E_SHAPE, w.layer[0].w = w.layer[1].w);
    REFUSED(HEED_E_ARG, o.activation = HEED_TARGET_PRELU);
    REFUSED(HEED_E_ARG, o.activation = HEED_TARGET_SIGMOID);
#undef REFUSED
    assert_int_equal(heed_target_forward(NULL, &good_weights, NULL, &good), HEED_E_ARG);
    assert_int_equal(heed_target_forward(NULL, &good_weights, &(heed_target_opts){0}, NULL),
                     HEED_E_ARG);
    assert_int_equal(heed_target_forward(NULL, NULL, &(heed_target_opts){0}, &good), HEED_E_ARG);
    static const int64_t unit = 5;
    static const struct {
        int64_t C, hidden;
        const int64_t *units;
        heed_target_activation activation;
        heed_status wanted;
    } bad[] = {
        {3, 0, &unit, HEED_TARGET_DICE, HEED_E_ARG},
        {3, HEED_TARGET_HIDDEN_MAX + 1, &unit, HEED_TARGET_DICE, HEED_E_ARG},
        {3, 1, NULL, HEED_TARGET_DICE, HEED_E_ARG},
        {3, 1, &unit, (heed_target_activation)-1, HEED_E_ARG},
        {3, 1, &unit, (heed_target_activation)3, HEED_E_ARG},
        {0, 1, &unit, HEED_TARGET_PRELU, HEED_E_SHAPE},
        {INT32_MAX / 4 + 1, 1, &unit, HEED_TARGET_SIGMOID, HEED_E_SHAPE},
        {INT64_MAX, 1, &unit, HEED_TARGET_SIGMOID, HEED_E_SHAPE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(heed_target_init(params, "u", bad[i].C, bad[i].units, bad[i].hidden,
                                          bad[i].activation, &good_weights), bad[i].wanted);
        assert_int_equal(strncmp(heed_error_message(), "target: u: ", 11), 0);
    }
    heed_params_free(params);
}

static void test_refused_shapes(void **state)
{
    (void)state;
    static float x[256];
    static const int64_t even[] = {0, 4};
    heed_params *params;
    heed_target_weights w;
    heed_tape *tape;
    heed_tensor *a, *e, *out = NULL;
    assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
    assert_int_equal(heed_target_init(params, "t", 3, (int64_t[]){5}, 1, HEED_TARGET_DICE, &w), HEED_OK);
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    static const struct {
        int64_t a[3], e[3];
        int a_rank, e_rank;
        bool ragged;
    } rows[] = {
        {{2, 3}, {1, 4, 3}, 2, 3, false}, {{1, 4}, {1, 4, 3}, 2, 3, false},
        {{1, 3}, {4, 3}, 2, 2, false},    {{1, 3}, {1, 4, 3}, 2, 3, true},
        {{1, 3}, {5, 3}, 2, 2, true},     {{3}, {1, 4, 3}, 1, 3, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heed_target_opts o = {0};
        if (rows[i].ragged)
            o.offsets = even, o.sequences = 1;
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, rows[i].a, rows[i].a_rank, true, &a), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, rows[i].e, rows[i].e_rank, true, &e), HEED_OK);
        assert_int_equal(heed_target(tape, a, e, &w, &o, &out, NULL), HEED_E_SHAPE);
        assert_null(out);
    }
    heed_tape_free(tape);
    heed_params_free(params);
}

static int start(void **state)
{
    (void)state;
    return heed_pool_new(3, &pool) != HEED_OK;
}

static int stop(void **state)
{
    (void)state;
    heed_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_float32), cmocka_unit_test(test_plain_float64),
        cmocka_unit_test(test_tape_float32),  cmocka_unit_test(test_tape_float64),
        cmocka_unit_test(test_long),          cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_shapes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward of the layers over sequences, ragged and padded, with sequences of none, one and more
 * rows than a block has sequences: the LSTM in both directions, the pools; and of what stands
 * between layers: softmax, rows times a number, tensors side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gradcheck.h"

static const int64_t offsets[] = {0, 4, 4, 5, 11}, lengths[] = {3, 0, 4};
static const heed_sequences ragged = {.offsets = offsets, .count = 4},
                            padded = {.lengths = lengths};

struct how {
    const heed_sequences *by; /* NULL: nothing is padding */
    bool reverse, biased, sliced;
};

/* x: (11, C) or (3, 4, C), two columns wider where sliced. */
static void set_rows(struct gc_case *gc, int input, const struct how *how, int64_t C)
{
    C += 2 * how->sliced;
    gc->input[input].rank = how->by == &ragged ? 2 : 3;
    memcpy(gc->input[input].dim, how->by == &ragged ? (int64_t[]){11, C, 0} : (int64_t[]){3, 4, C},
           3 * sizeof(int64_t));
}

static heed_status operand(heed_tape *tape, heed_tensor *in, const struct how *how,
                           heed_tensor **out)
{
    *out = in;
    return how->sliced ? heed_slice(tape, in, in->rank - 1, 1, in->dim[in->rank - 1] - 2, out)
                       : HEED_OK;
}

static const heed_sequences *const batches[] = {&ragged, &padded, NULL};

/* ---- LSTM: x, W, U, b */

static heed_status build_lstm(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_lstm_weights w = {in[1], in[2], how->biased ? in[3] : NULL};
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], how, &x));
    return heed_lstm(tape, x, &w, how->by, how->reverse, out);
}

static void test_lstm(void **state)
{
    static const int64_t widths[][2] = {{1, 1}, {3, 2}, {2, 5}}; /* C, H */

    (void)state;
    for (int i = 0; i < 72; i++) {
        struct how how = {batches[i % 3], i / 3 % 2, i / 6 % 2, i / 12 % 2};
        int64_t C = widths[i / 24][0], H = widths[i / 24][1];
        struct gc_case gc = {
            "lstm", build_lstm, &how, 4, {{0}, {2, {4 * H, C}}, {2, {4 * H, H}}, {1, {4 * H}}}};
        set_rows(&gc, 0, &how, C);
        assert_true(gc_check(&gc));
    }
}

/* More sequences than a block holds, in an order that is not that of their lengths. */
static void test_lstm_many(void **state)
{
    int64_t many[21] = {0};
    heed_sequences by = {.offsets = many, .count = 20};

    (void)state;
    for (int b = 0; b < 20; b++)
        many[b + 1] = many[b] + b * 7 % 5;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct how how = {.by = &by, .reverse = reverse, .biased = true};
        struct gc_case gc = {"lstm of 20 sequences",
                             build_lstm,
                             &how,
                             4,
                             {{2, {many[20], 2}}, {2, {12, 2}}, {2, {12, 3}}, {1, {12}}}};
        assert_true(gc_check(&gc));
    }
}

/* Two directions, each with weights of its own, side by side. */
static heed_status build_both(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_lstm_weights ahead = {in[1], in[2], NULL}, back = {in[3], in[4], NULL};
    heed_tensor *y[2];

    HD_TRY(heed_lstm(tape, in[0], &ahead, arg, false, &y[0]));
    HD_TRY(heed_lstm(tape, in[0], &back, arg, true, &y[1]));
    return heed_concat(tape, y, 2, out);
}

static void test_lstm_both_ways(void **state)
{
    struct gc_case gc = {"two directions",
                         build_both,
                         (void *)&ragged,
                         5,
                         {{2, {11, 2}}, {2, {12, 2}}, {2, {12, 3}}, {2, {8, 2}}, {2, {8, 2}}}};

    (void)state;
    assert_true(gc_check(&gc));
}

/* The state's weights alone are learned: the tape's own tensor between has to carry the slopes. */
static void test_lstm_hidden_alone(void **state)
{
    heed_tape *tape;
    double x[15], w[24], u[16], want[16], *grads[3] = {x, w, u};
    int64_t dims[3][2] = {{5, 3}, {8, 3}, {8, 2}}, one[] = {0, 5};
    heed_sequences by = {.offsets = one, .count = 1};
    heed_rng rng = hd_rng(gc_seed(), 5);

    (void)state;
    for (int i = 0; i < 24; i++)
        x[i % 15] = hd_random_normal(&rng), w[i] = hd_random_normal(&rng),
              u[i % 16] = hd_random_normal(&rng);
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int alone = 0; alone < 2; alone++) {
        heed_tensor *t[3], *out, *loss;
        double mass = 0;
        heed_rng r = hd_rng(1, 1);
        heed_tape_reset(tape);
        for (int i = 0; i < 3; i++)
            assert_int_equal(
                heed_tensor_wrap(tape, HEED_F64, grads[i], dims[i], 2, i == 2 || !alone, &t[i]),
                HEED_OK);
        assert_int_equal(
            heed_lstm(tape, t[0], &(heed_lstm_weights){t[1], t[2], NULL}, &by, false, &out),
            HEED_OK);
        assert_int_equal(gc_project(tape, out, &r, &loss, &mass), HEED_OK);
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        if (!alone)
            memcpy(want, t[2]->grad, sizeof want);
        else
            assert_memory_equal(want, t[2]->grad, sizeof want);
    }
    heed_tape_free(tape);
}

/* ---- pools: x, scores */

static heed_status build_mean(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], how, &x));
    return heed_mean_pool(tape, x, how->by, out);
}

static heed_status build_softmax_pool(heed_tape *tape, heed_tensor **in, void *arg,
                                      heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *x, *weights;

    HD_TRY(operand(tape, in[0], how, &x));
    return heed_softmax_pool(tape, x, in[1], how->by, out, &weights);
}

static void test_pools(void **state)
{
    (void)state;
    for (int i = 0; i < 18; i++) {
        struct how how = {.by = batches[i % 3], .sliced = i / 3 % 2};
        struct gc_case gc = {"mean_pool", build_mean, &how, 1, {{0}}};
        set_rows(&gc, 0, &how, i / 6 * 2 + 1);
        assert_true(gc_check(&gc));
        gc.name = "softmax_pool", gc.build = build_softmax_pool, gc.inputs = 2;
        gc.input[1].rank = 1, gc.input[1].dim[0] = how.by == &ragged ? 11 : 12;
        assert_true(gc_check(&gc));
    }
}

/* ---- rows */

static heed_status build_softmax(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_softmax(tape, x, out);
}

static heed_status build_scale_rows(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_scale_rows(tape, x, in[1], out);
}

/* x beside itself and another: its gradient comes from two places. */
static heed_status build_concat(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_concat(tape, (heed_tensor *[]){x, in[1], x}, 3, out);
}

static void test_rows(void **state)
{
    static const int64_t rows[] = {1, 5, 17}, cols[] = {1, 3, 19};

    (void)state;
    for (int i = 0; i < 18; i++) {
        struct how how = {.sliced = i / 9};
        int64_t N = rows[i % 3], C = cols[i / 3 % 3];
        struct gc_case gc = {"softmax", build_softmax, &how, 1, {{2, {N, C + 2 * how.sliced}}}};
        assert_true(gc_check(&gc));
        gc.name = "scale_rows", gc.build = build_scale_rows, gc.inputs = 2;
        gc.input[1].rank = 2, gc.input[1].dim[0] = N, gc.input[1].dim[1] = 1;
        assert_true(gc_check(&gc));
        gc.name = "concat", gc.build = build_concat, gc.input[1].dim[1] = 4;
        assert_true(gc_check(&gc));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lstm),           cmocka_unit_test(test_lstm_many),
        cmocka_unit_test(test_lstm_both_ways), cmocka_unit_test(test_lstm_hidden_alone),
        cmocka_unit_test(test_pools),          cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

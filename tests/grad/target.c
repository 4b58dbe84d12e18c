/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention's backward: candidates, histories and every weight, for each activation, with Dice's
 * moments those of the batch (so that every pair depends on every other) and constants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"
#include "heed/attention.h"

struct how {
    heed_target_opts opts;
    int64_t hidden;
    bool running; /* Dice's averages are constants */
    bool sliced;  /* a and e are columns of something wider */
};

static double mean[] = {0.1, -0.2, 0.3, 0, 0.2, -0.1}, var[] = {0.5, 1, 0.8, 1.2, 2, 0.3};

/* Inputs: a, e, then w, b, alpha of each hidden layer (without alpha for a sigmoid), w, b. */
static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_target_weights w = {.hidden = how->hidden};
    heed_tensor *a = in[0], *e = in[1];
    int next = 2;
    for (int64_t l = 0; l < how->hidden; l++) {
        heed_target_layer *layer = &w.layer[l];
        layer->w = in[next++], layer->b = in[next++];
        if (how->opts.activation != HEED_TARGET_SIGMOID)
            layer->alpha = in[next++];
        if (!how->running)
            continue;
        HD_TRY(heed_tensor_wrap(tape, HEED_F64, mean, layer->b->dim, 1, false, &layer->mean));
        HD_TRY(heed_tensor_wrap(tape, HEED_F64, var, layer->b->dim, 1, false, &layer->var));
    }
    w.w = in[next++], w.b = in[next++];
    if (how->sliced) {
        HD_TRY(heed_slice(tape, a, a->rank - 1, 1, a->dim[a->rank - 1] - 2, &a));
        HD_TRY(heed_slice(tape, e, e->rank - 1, 2, e->dim[e->rank - 1] - 2, &e));
    }
    return heed_target(tape, a, e, &w, &how->opts, out, NULL);
}

static const int64_t offsets[] = {0, 3, 3, 4, 9}, lengths[] = {2, 0, 5, 3};

static bool check(struct how how, int64_t K, int64_t C)
{
    const int64_t wide = how.sliced ? 2 : 0, units[] = {5, 3};
    struct gc_case gc = {.name = "target", .build = build, .arg = &how};
    int next = 0;
    int64_t width = 4 * C;
    if (K == 0) /* one candidate, of rank 2 */
        gc.input[next].rank = 2, gc.input[next].dim[0] = 4, gc.input[next++].dim[1] = C + wide;
    else
        gc.input[next].rank = 3, gc.input[next].dim[0] = 4, gc.input[next].dim[1] = K,
        gc.input[next++].dim[2] = C + wide;
    if (how.opts.offsets)
        gc.input[next].rank = 2, gc.input[next].dim[0] = 9, gc.input[next++].dim[1] = C + wide;
    else
        gc.input[next].rank = 3, gc.input[next].dim[0] = 4, gc.input[next].dim[1] = 5,
        gc.input[next++].dim[2] = C + wide;
    for (int64_t l = 0; l < how.hidden; width = units[l++]) {
        gc.input[next].rank = 2, gc.input[next].dim[0] = units[l], gc.input[next].dim[1] = width;
        gc.input[next++].scale = 0.5;
        gc.input[next].rank = 1, gc.input[next++].dim[0] = units[l];
        if (how.opts.activation != HEED_TARGET_SIGMOID)
            gc.input[next].rank = 1, gc.input[next++].dim[0] = units[l];
    }
    gc.input[next].rank = 2, gc.input[next].dim[0] = 1, gc.input[next++].dim[1] = width;
    gc.input[next].rank = 1, gc.input[next++].dim[0] = 1;
    gc.inputs = next;
    return gc_check(&gc);
}

static void test_all(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * 3 * 3 * 2; i++) {
        int activation = i / 2 % 4; /* the fourth: Dice with constants */
        struct how how = {.opts = {.activation = (heed_target_activation)(activation % 3),
                                   .softmax = i % 2, .scale = i / 5 % 2 ? 0.7 : 0,
                                   .dice = {.eps = 1e-3}},
                          .hidden = 1 + i / 8 % 2,
                          .running = activation == 3,
                          .sliced = i / 3 % 2};
        int layout = i / 8 % 3;
        if (layout == 1)
            how.opts.lengths = lengths;
        if (layout == 2)
            how.opts.offsets = offsets, how.opts.sequences = 4;
        assert_true(check(how, i / 24, i % 3 + 1));
    }
}

/* Histories past a tile, and tiles past a task: partial sums of several. */
static heed_status build_long(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    enum { B = 30, S = 90, C = 2 };
    static double a[B * C], e[B * S * C];
    static int64_t long_offsets[B + 1];
    heed_rng rng = hd_rng(7, 7);
    heed_target_opts o = {.dice = {.eps = 1e-2}, .offsets = long_offsets, .sequences = B};
    heed_target_weights w = {1, {{in[0], in[1], in[2], NULL, NULL}}, in[3], in[4]};
    heed_tensor *ta, *te;
    (void)arg;
    for (int i = 0; i < B * C; i++)
        a[i] = hd_random_normal(&rng);
    for (int i = 0; i < B * S * C; i++)
        e[i] = hd_random_normal(&rng);
    for (int b = 0; b < B; b++)
        long_offsets[b + 1] = b == B - 1 ? B * S : long_offsets[b] + (b * 31) % (2 * S - 2);
    HD_TRY(heed_tensor_wrap(tape, HEED_F64, a, (int64_t[]){B, C}, 2, true, &ta));
    HD_TRY(heed_tensor_wrap(tape, HEED_F64, e, (int64_t[]){B * S, C}, 2, true, &te));
    return heed_target(tape, ta, te, &w, &o, out, NULL);
}

static void test_long(void **state)
{
    (void)state;
    struct gc_case gc = {"long target", build_long, NULL, 5,
                         {{2, {3, 8}, 0.5}, {1, {3}}, {1, {3}}, {2, {1, 3}}, {1, {1}}}};
    assert_true(gc_check(&gc));
}

/* A step of the same size takes nothing more from the heap. */
static void test_memory(void **state)
{
    (void)state;
    enum { B = 4, K = 2, S = 50, C = 16 };
    static float x[B * S * C], ones[B * K * C];
    heed_params *params;
    heed_target_weights w;
    heed_tape *tape;
    size_t warm = 0;
    assert_int_equal(heed_params_new(HEED_F32, 3, &params), HEED_OK);
    assert_int_equal(heed_target_init(params, "t", C, (int64_t[]){20, 10}, 2, HEED_TARGET_DICE, &w),
                     HEED_OK);
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int i = 0; i < B * S * C; i++)
        x[i] = (float)(i % 7) - 3;
    for (int step = 0; step < 5; step++) {
        heed_tensor *a, *e, *out, *flat, *r, *loss;
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){B, K, C}, 3, true, &a), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){B, S, C}, 3, false, &e), HEED_OK);
        assert_int_equal(heed_target(tape, a, e, &w, NULL, &out, NULL), HEED_OK);
        assert_int_equal(heed_reshape(tape, out, (int64_t[]){1, B * K * C}, 2, &flat), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, ones, flat->dim, 2, false, &r), HEED_OK);
        assert_int_equal(heed_linear(tape, flat, r, NULL, &loss), HEED_OK);
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        assert_null(e->grad);
        if (step == 1)
            warm = heed_tape_bytes(tape);
        if (step > 1)
            assert_int_equal(heed_tape_bytes(tape), warm);
    }
    heed_tape_free(tape);
    heed_params_free(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

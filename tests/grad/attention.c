/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention's backward on the tape: queries, keys, values and both tables of biases, for every kind of
 * weight, mask and batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "gradcheck.h"
#include "heed/attention.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

struct how {
    heed_attention_opts opts;
    bool position, time, sliced;
};

/* Inputs: q, k, v, then the tables that there are. */
static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_attention_learned bias = {0};
    int next = 3;

    if (how->position)
        bias.position = in[next++];
    if (how->time)
        bias.time = in[next++];
    return heed_attention(tape, in[0], in[1], in[2], &bias, &how->opts, out, NULL);
}

/* One product's columns hold q, k and v, as in a model: (N, 3 H D). */
static heed_status build_sliced(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *part[3];
    int64_t N = in[0]->dim[0], width = in[0]->dim[1] / 3, H = 2;

    for (int i = 0; i < 3; i++) {
        HD_TRY(heed_slice(tape, in[0], 1, i * width, width, &part[i]));
        HD_TRY(heed_reshape(tape, part[i], (int64_t[]){N, H, width / H}, 3, &part[i]));
    }
    return heed_attention(tape, part[0], part[1], part[2], NULL, &how->opts, out, NULL);
}

/* As in a layer: one product is split into q, k and v, whose heads attend, and their product is the
 * result. Inputs: x (N, C), W (3 H D, C) or twice as many rows, W_o (C, H D). */
static heed_status build_layer(heed_tape *tape, heed_tensor **in, heed_tensor *part[3],
                               const struct how *how, heed_tensor **out)
{
    int64_t N = in[0]->dim[0], width = in[2]->dim[1], H = 2;
    heed_tensor *heads;

    for (int i = 0; i < 3; i++)
        HD_TRY(heed_reshape(tape, part[i], (int64_t[]){N, H, width / H}, 3, &part[i]));
    HD_TRY(heed_attention(tape, part[0], part[1], part[2], NULL, &how->opts, &heads, NULL));
    HD_TRY(heed_reshape(tape, heads, (int64_t[]){N, width}, 2, &heads));
    return heed_linear(tape, heads, in[2], NULL, out);
}

static heed_status build_split(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *product, *part[3];

    HD_TRY(heed_linear(tape, in[0], in[1], NULL, &product));
    HD_TRY(heed_split(tape, product, 3, part));
    return build_layer(tape, in, part, arg, out);
}

/* Parts of parts, some of which nobody looks at. */
static heed_status build_split_twice(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *product, *half[2], *part[2][3];

    HD_TRY(heed_linear(tape, in[0], in[1], NULL, &product));
    HD_TRY(heed_split(tape, product, 2, half));
    for (int i = 0; i < 2; i++)
        HD_TRY(heed_split(tape, half[i], 3, part[i]));
    return build_layer(tape, in, (heed_tensor *[]){part[0][1], part[0][0], part[1][2]}, arg, out);
}

static const int64_t key_times[] = {0, 1500, 9000, 400000, 400001, 86400000, 86500000,
                                    0, 10,   20,   5000000, 70000000};
static const int64_t query_times[] = {1500, 9000, 400000, 400001, 86400000, 86500000, 86500001,
                                      10,   20,   5000000, 70000000, 70000000};
static const int64_t offsets[] = {0, 7, 7, 8, 12};
static const int64_t lengths[] = {3, 6};

static void test_ragged(void **state)
{
    (void)state;
    for (int i = 0; i < 48; i++) {
        struct how how = {.opts = {.weight = i % 2 ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                   .causal = i / 2 % 2, .offsets = offsets, .sequences = 4,
                                   .key_times = key_times, .query_times = query_times,
                                   .dropout = i / 16 == 1 ? 0.3 : 0},
                          .position = i / 4 % 2, .time = i / 8 % 2};
        int64_t D = i / 16 == 2 ? 5 : 2, E = i / 16 == 2 ? 3 : 2;
        struct gc_case gc = {"ragged attention", build, &how, 3 + how.position + how.time,
                             {{3, {12, 2, D}}, {3, {12, 2, D}}, {3, {12, 2, E}}, {2, {2, 4}},
                              {2, {2, 20}}}};
        if (!how.position) {
            gc.input[3].dim[0] = 2, gc.input[3].dim[1] = 20;
        }
        assert_true(gc_check(&gc));
    }
}

static void test_padded(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{6, 6}, {4, 6}, {7, 6}, {1, 6}}; /* T, S */
    for (int i = 0; i < 32; i++) {
        int64_t T = shapes[i / 8][0], S = shapes[i / 8][1];
        struct how how = {.opts = {.weight = i % 2 ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                   .causal = i / 2 % 2, .scale = i % 2 ? 0.7 : 0,
                                   .lengths = i / 4 % 2 ? lengths : NULL},
                          .position = true};
        struct gc_case gc = {"padded attention", build, &how, 4,
                             {{4, {2, T, 2, 3}}, {4, {2, S, 2, 3}}, {4, {2, S, 2, 3}}, {2, {2, 3}}}};
        assert_true(gc_check(&gc));
    }
}

/* What hides pairs and what depends on their distance, with shared keys, alone and together, for
 * every kind of weight. */
static void test_forms(void **state)
{
    (void)state;
    static const int64_t dilation[] = {1, 2, 1, 3};
    static const double slopes[] = {0.5, 0.25, -0.1, 0.125};
    static const int64_t shapes[][2] = {{6, 6}, {4, 6}, {7, 6}, {1, 6}}; /* T, S */
    enum { B = 2, H = 4, T_MAX = 7, S_MAX = 6 };
    uint8_t keep[H * T_MAX * S_MAX];
    double mask[T_MAX * S_MAX];
    heed_rng rng = hd_rng(gc_seed(), 40);

    for (int i = 0; i < COUNT(keep); i++)
        keep[i] = (uint8_t)(hd_random_below(&rng, 4) > 0);
    for (int i = 0; i < S_MAX; i++)
        keep[i] = 0; /* the first row of the first head sees nothing */
    for (int i = 0; i < COUNT(mask); i++)
        mask[i] = hd_random_below(&rng, 4) ? hd_random_normal(&rng) : -(double)INFINITY;
    for (int i = 0; i < 96; i++) {
        int form = i / 3 % 8; /* of these, 7: all */
        int64_t T = shapes[i / 24][0], S = shapes[i / 24][1];
        struct how how = {.opts = {.weight = (heed_attention_weight)(i % 3), .causal = i / 24 % 2,
                                   .lengths = i % 2 ? lengths : NULL,
                                   .dropout = i % 5 == 0 ? 0.3 : 0},
                          .position = i % 4 == 0};
        if (form == 1 || form == 7)
            how.opts.keep = keep, memcpy(how.opts.keep_stride, (int64_t[]){0, T * S, S, 1},
                                         sizeof how.opts.keep_stride);
        if (form == 2 || form == 7)
            how.opts.mask = mask, memcpy(how.opts.mask_stride, (int64_t[]){0, 0, S, 1},
                                         sizeof how.opts.mask_stride);
        if (form == 3 || form == 4 || form == 7)
            how.opts.window = 1;
        if (form == 4 || form == 7)
            how.opts.globals = 1, how.opts.dilation = dilation;
        if (form == 5 || form == 7)
            how.opts.alibi = slopes;
        if (form == 6 || form == 7)
            how.opts.shift = -0.7;
        int64_t heads = i % 7 < 3 ? H : i % 7 < 5 ? 2 : 1;
        struct gc_case gc = {"attention's forms", build, &how, 3 + how.position,
                             {{4, {B, T, H, 3}}, {4, {B, S, heads, 3}}, {4, {B, S, heads, 2}},
                              {2, {H, 3}}}};
        assert_true(gc_check(&gc));
    }
}

/* Past one block of keys with a window, whose tiles start anywhere. */
static void test_long_window(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct how how = {.opts = {.weight = (heed_attention_weight)(i % 3), .causal = i / 3,
                                   .window = 20, .globals = i % 2 * 3},
                          .position = true};
        struct gc_case gc = {"long window", build, &how, 4,
                             {{4, {1, 100, 2, 2}}, {4, {1, 100, 1, 2}}, {4, {1, 100, 1, 1}},
                              {2, {2, 5}}}};
        assert_true(gc_check(&gc));
    }
}

/* Shapes that do not go together, and options, each with a status and a sentence. */
static void test_refusals(void **state)
{
    (void)state;
    heed_tape *tape;
    static float x[2 * 6 * 4 * 3];
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    static const int64_t heads[][3] = {{4, 3, 3}, {4, 2, 4}, {2, 4, 4}, {4, 4, 4}}; /* of q, k, v */
    for (int i = 0; i < COUNT(heads); i++) {
        heed_tensor *in[3], *out = NULL;
        heed_attention_opts o = {.globals = i == 3};
        for (int n = 0; n < 3; n++)
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){2, 6, heads[i][n], 3}, 4,
                                              false, &in[n]), HEED_OK);
        assert_int_equal(heed_attention(tape, in[0], in[1], in[2], NULL, &o, &out, NULL),
                         i == 3 ? HEED_E_ARG : HEED_E_SHAPE);
        assert_int_equal(strncmp(heed_error_message(), "attention: ", 11), 0);
        assert_null(out);
    }
    heed_tape_free(tape);
}

static void test_columns_of_one_product(void **state)
{
    (void)state;
    struct how how = {.opts = {.causal = true, .offsets = offsets, .sequences = 4}};
    struct gc_case gc = {"sliced attention", build_sliced, &how, 1, {{2, {12, 18}}}};
    assert_true(gc_check(&gc));
}

static void test_split(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct how how = {.opts = {.weight = i % 2 ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                   .causal = i / 2 % 2, .offsets = offsets, .sequences = 4}};
        struct gc_case gc = {"split product", i / 4 ? build_split_twice : build_split, &how, 3,
                             {{2, {12, 5}}, {2, {i / 4 ? 24 : 12, 5}, 0.5}, {2, {5, 4}, 0.5}}};
        assert_true(gc_check(&gc));
    }
}

/* Nothing to compute is no reason to let a bad option pass. */
static void test_empty_refusals(void **state)
{
    (void)state;
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int i = 0; i < 3; i++) {
        heed_tensor *x, *out = NULL;
        heed_attention_opts o = {.dropout = i == 1 ? 2 : 0, .globals = i == 2};
        assert_int_equal(heed_tensor_new_in(tape, HEED_F32, (int64_t[]){2, 0, 1, 4}, 4, &x), HEED_OK);
        x->wants_grad = true;
        assert_int_equal(heed_attention(tape, x, x, x, NULL, &o, &out, NULL),
                         i ? HEED_E_ARG : HEED_OK);
        assert_int_equal(out != NULL, i == 0);
    }
    heed_tape_free(tape);
}

/* Past one block of keys: the running maximum and what is recomputed from it. */
static void test_long(void **state)
{
    (void)state;
    static const int64_t two[] = {0, 67, 140};
    for (int i = 0; i < 4; i++) {
        struct how how = {.opts = {.weight = i % 2 ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                   .causal = i / 2 % 2, .offsets = two, .sequences = 2},
                          .position = true};
        struct gc_case gc = {"long attention", build, &how, 4,
                             {{3, {140, 1, 2}}, {3, {140, 1, 2}}, {3, {140, 1, 1}}, {2, {1, 70}}}};
        assert_true(gc_check(&gc));
    }
}

/* Once warm, a step takes nothing from the heap. Gradients that nobody wants are not kept. */
static void test_memory(void **state)
{
    (void)state;
    heed_tape *tape;
    static float x[140 * 24];
    size_t warm = 0;

    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int step = 0; step < 5; step++) {
        heed_tensor *q, *k, *v, *out, *flat, *loss, *w, *ones;
        static const int64_t two[] = {0, 67, 140};
        heed_attention_opts o = {.causal = true, .offsets = two, .sequences = 2, .dropout = 0.1};
        heed_tape_reset(tape);
        const int64_t dim[] = {140, 2, 12};
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, dim, 3, true, &q), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, dim, 3, false, &k), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, dim, 3, false, &v), HEED_OK);
        assert_int_equal(heed_attention(tape, q, k, v, NULL, &o, &out, NULL), HEED_OK);
        const int64_t line[] = {1, 140 * 24};
        assert_int_equal(heed_reshape(tape, out, line, 2, &flat), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, line, 2, false, &ones), HEED_OK);
        assert_int_equal(heed_linear(tape, flat, ones, NULL, &w), HEED_OK);
        assert_int_equal(heed_reshape(tape, w, NULL, 0, &loss), HEED_OK);
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        if (step == 1)
            warm = heed_tape_bytes(tape);
        if (step > 1)
            assert_int_equal(heed_tape_bytes(tape), warm);
    }
    heed_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ragged), cmocka_unit_test(test_padded),
        cmocka_unit_test(test_columns_of_one_product), cmocka_unit_test(test_long),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_long_window), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_split), cmocka_unit_test(test_empty_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward of attention's layers: every weight, every bias and every input, self and cross, ragged
 * and padded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gradcheck.h"
#include "heed/attention.h"

static const int64_t offsets[] = {0, 3, 3, 4, 7}, lengths[] = {2, 4};

enum { H = 2, C = 3, X = 2, D = 2, E = 3 }; /* heads; widths of x, context, head and value */

struct how {
    heed_attention_opts opts;
    bool cross, biased, position, merged;
    int64_t kv_heads;
};

/* Inputs: x, context, q, k, v, o, four biases, position. Absent ones are there and not looked at.
 */
static heed_status build_multihead(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_multihead_weights w = {.heads = H, .q = in[2], .k = in[3], .v = in[4]};

    if (how->merged)
        w.o = in[5];
    if (how->biased)
        w.q_bias = in[6], w.k_bias = in[7], w.v_bias = in[8], w.o_bias = how->merged ? in[9] : NULL;
    if (how->position)
        w.learned.position = in[10];
    return heed_multihead(tape, in[0], how->cross ? in[1] : NULL, &w, &how->opts, out, NULL);
}

static void check_multihead(struct how how)
{
    int64_t S = how.cross ? X : C, G = how.kv_heads;
    struct gc_case gc = {"multihead",
                         build_multihead,
                         &how,
                         11,
                         {{3, {2, 4, C}},
                          {3, {2, 4, X}},
                          {2, {H * D, C}},
                          {2, {G * D, S}},
                          {2, {G * E, S}},
                          {2, {5, H * E}},
                          {1, {H * D}},
                          {1, {G * D}},
                          {1, {G * E}},
                          {1, {5}},
                          {2, {H, 3}}}};
    if (how.opts.offsets)
        for (int i = 0; i < 2; i++)
            gc.input[i].rank = 2, gc.input[i].dim[0] = 7, gc.input[i].dim[1] = i ? X : C;
    assert_true(gc_check(&gc));
}

static void test_multihead(void **state)
{
    (void)state;
    for (int i = 0; i < 128; i++)
        check_multihead((struct how){.opts = {.causal = i % 2,
                                              .offsets = i / 2 % 2 ? offsets : NULL,
                                              .sequences = i / 2 % 2 ? 4 : 0,
                                              .lengths = i / 2 % 2 ? NULL : lengths},
                                     .cross = i / 4 % 2,
                                     .biased = i / 8 % 2,
                                     .position = i / 16 % 2,
                                     .merged = i / 32 % 2,
                                     .kv_heads = i / 64 ? 1 : H});
}

/* ---- additive pool: x, w, b, v */

static heed_status build_additive(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_additive_weights w = {in[1], in[2], in[3]};

    return heed_additive_pool(tape, in[0], &w, arg, out, NULL);
}

static void test_additive(void **state)
{
    heed_sequences ragged = {.offsets = offsets, .count = 4}, padded = {.lengths = lengths};
    struct gc_case gc = {"additive_pool",
                         build_additive,
                         &ragged,
                         4,
                         {{2, {7, 3}}, {2, {4, 3}}, {1, {4}}, {1, {4}}}};

    (void)state;
    assert_true(gc_check(&gc));
    gc.arg = &padded, gc.input[0].rank = 3;
    memcpy(gc.input[0].dim, (int64_t[]){2, 4, 3}, 3 * sizeof(int64_t));
    assert_true(gc_check(&gc));
    gc.arg = NULL;
    assert_true(gc_check(&gc));
}

/* ---- gates */

static heed_status build_gate(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    bool self = *(bool *)arg;

    return heed_gate(tape, in[0], self ? in[0] : in[1], in[2], in[3], out);
}

static void test_gate(void **state)
{
    bool self = false;
    struct gc_case gc = {
        "gate", build_gate, &self, 4, {{2, {5, 3}}, {2, {5, 4}}, {1, {4}}, {1, {1}}}};

    (void)state;
    assert_true(gc_check(&gc));
    self = true, gc.input[2].dim[0] = 3;
    assert_true(gc_check(&gc));
}

/* Inputs: x, other, q, k, v, o, o's bias, gate, gate's bias. */
static heed_status build_cross_modal(heed_tape *tape, heed_tensor **in, void *arg,
                                     heed_tensor **out)
{
    heed_cross_modal_weights w = {
        .attention = {.heads = H, .q = in[2], .k = in[3], .v = in[4], .o = in[5], .o_bias = in[6]},
        .gate = in[7],
        .gate_bias = in[8]};

    return heed_cross_modal(tape, in[0], in[1], &w, arg, out, NULL);
}

static void test_cross_modal(void **state)
{
    heed_attention_opts opts = {.lengths = lengths};
    struct gc_case gc = {"cross_modal",
                         build_cross_modal,
                         &opts,
                         9,
                         {{3, {2, 3, C}},
                          {3, {2, 5, X}},
                          {2, {H * D, C}},
                          {2, {H * D, X}},
                          {2, {H * E, X}},
                          {2, {C, H * E}},
                          {1, {C}},
                          {2, {C, 2 * C}},
                          {1, {C}}}};

    (void)state;
    assert_true(gc_check(&gc));
}

/* ---- a whole block: x, two norms' gains and biases, q, k, v, o, up, down, up's bias */

static heed_status build_block(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_transformer_weights w = {
        .norm_gain = in[1],
        .norm_bias = in[2],
        .wide_norm_gain = in[3],
        .wide_norm_bias = in[4],
        .attention = {.heads = H, .q = in[5], .k = in[6], .v = in[7], .o = in[8]},
        .up = in[9],
        .down = in[10],
        .up_bias = in[11]};

    return heed_transformer_block(tape, in[0], &w, arg, 0.2, out, NULL);
}

static void test_block(void **state)
{
    heed_attention_opts opts = {.offsets = offsets, .sequences = 4, .dropout = 0.2};
    enum { W = 4 };
    struct gc_case gc = {"transformer block",
                         build_block,
                         &opts,
                         12,
                         {{2, {7, W}},
                          {1, {W}},
                          {1, {W}},
                          {1, {W}},
                          {1, {W}},
                          {2, {W, W}},
                          {2, {W, W}},
                          {2, {W, W}},
                          {2, {W, W}},
                          {2, {6, W}},
                          {2, {W, 6}},
                          {1, {6}}}};

    (void)state;
    assert_true(gc_check(&gc));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multihead), cmocka_unit_test(test_additive),
        cmocka_unit_test(test_gate),      cmocka_unit_test(test_cross_modal),
        cmocka_unit_test(test_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

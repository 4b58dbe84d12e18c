/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward of every score, of rotary, and of what a position or a query may learn: queries, keys,
 * values and each one's own parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"
#include "heed/attention.h"

static const int64_t offsets[] = {0, 7, 7, 8, 12};
static const int64_t lengths[] = {3, 6};

static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const heed_attention_opts *opts = arg;
    heed_attention_learned learned = {0};
    if (opts->score >= HEED_SCORE_BILINEAR)
        learned.theta = in[3];
    return heed_attention(tape, in[0], in[1], in[2], &learned, opts, out, NULL);
}

static const heed_attention_score scores[] = {HEED_SCORE_DOT, HEED_SCORE_COSINE, HEED_SCORE_EUCLID,
                                              HEED_SCORE_BILINEAR, HEED_SCORE_FEATURES,
                                              HEED_SCORE_ADDITIVE};
#define SCORES 6

/* The fourth input is theta, for two heads. */
static void check_score(heed_attention_score score, heed_attention_opts opts, struct gc_case gc)
{
    int64_t D = gc.input[0].dim[gc.input[0].rank - 1];
    opts.score = score;
    gc.build = build, gc.arg = &opts, gc.inputs = 3;
    if (score >= HEED_SCORE_BILINEAR) {
        gc.inputs = 4;
        gc.input[3].rank = score == HEED_SCORE_BILINEAR ? 3 : 2;
        gc.input[3].dim[0] = 2;
        gc.input[3].dim[1] = score == HEED_SCORE_FEATURES ? 4 * D : D;
        gc.input[3].dim[2] = D;
    }
    assert_true(gc_check(&gc));
}

static void test_ragged(void **state)
{
    (void)state;
    for (int i = 0; i < SCORES * 12; i++) {
        int64_t D = i / SCORES % 2 ? 4 : 5;
        heed_attention_opts o = {.weight = i / (2 * SCORES) % 2 ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                 .causal = i / (4 * SCORES), .offsets = offsets, .sequences = 4,
                                 .rotary = (heed_rotary)(i / (4 * SCORES)), .scale = i % 2 ? 0 : 0.6};
        if (o.rotary)
            o.rotary_base = 30, o.rotary_dims = D == 5 ? 4 : 0;
        check_score(scores[i % SCORES], o, (struct gc_case){"ragged score", .input =
            {{3, {12, 2, D}}, {3, {12, 2, D}}, {3, {12, 2, 3}}}});
    }
}

static void test_padded(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{6, 6}, {4, 6}, {7, 6}, {1, 6}}; /* T, S */
    for (int i = 0; i < SCORES * 8; i++) {
        int64_t T = shapes[i / SCORES % 4][0], S = shapes[i / SCORES % 4][1];
        heed_attention_opts o = {.weight = i / (4 * SCORES) ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
                                 .causal = i % 2, .lengths = i % 3 ? lengths : NULL,
                                 .rotary = (heed_rotary)(i / SCORES % 3)};
        if (o.rotary)
            o.rotary_dims = 2;
        check_score(scores[i % SCORES], o, (struct gc_case){"padded score", .input =
            {{4, {2, T, 2, 3}}, {4, {2, S, 2, 3}}, {4, {2, S, 2, 3}}}});
    }
}

/* More rows than one unit of the transforms, and than one part of theta's sums. */
static void test_long(void **state)
{
    (void)state;
    static const int64_t two[] = {0, 67, 140};
    for (int i = 0; i < SCORES; i++) {
        heed_attention_opts o = {.causal = true, .offsets = two, .sequences = 2,
                                 .rotary = HEED_ROTARY_PAIRS};
        check_score(scores[i], o, (struct gc_case){"long score", .input =
            {{3, {140, 2, 2}}, {3, {140, 2, 2}}, {3, {140, 2, 1}}}});
    }
}

/* A unit row of one number is its sign: no gradient. */
static void test_width_one(void **state)
{
    (void)state;
    for (int i = 0; i < SCORES; i++)
        check_score(scores[i], (heed_attention_opts){.causal = true}, (struct gc_case){"width 1",
            .input = {{4, {1, 5, 2, 1}}, {4, {1, 5, 2, 1}}, {4, {1, 5, 2, 1}}}});
}

/* q, k, v, span (H) */
static heed_status build_span(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const double *ramp = arg;
    heed_attention_learned learned = {0};
    heed_attention_opts o = {.causal = true};
    HD_TRY(heed_soft_span(tape, in[3], *ramp, 9, &learned.position));
    return heed_attention(tape, in[0], in[1], in[2], &learned, &o, out, NULL);
}

static void test_soft_span(void **state)
{
    (void)state;
    double ramps[] = {0.7, 2.5, 40};
    for (int i = 0; i < 3; i++) {
        struct gc_case gc = {"soft span", build_span, &ramps[i], 4,
                             {{4, {2, 8, 3, 2}}, {4, {2, 8, 3, 2}}, {4, {2, 8, 3, 2}},
                              {1, {3}, .scale = 3.3}}};
        assert_true(gc_check(&gc));
        assert_true(gc_check_seed(&gc, 17));
    }
}

static heed_status build_temper(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    (void)arg;
    return heed_temper(tape, in[0], in[1], in[2], out);
}

/* Heads of one product's columns: (N, 3 H D), the second H D of them. */
static heed_status build_temper_sliced(heed_tape *tape, heed_tensor **in, void *arg,
                                       heed_tensor **out)
{
    heed_tensor *q;
    (void)arg;
    HD_TRY(heed_slice(tape, in[0], 1, 6, 6, &q));
    HD_TRY(heed_reshape(tape, q, (int64_t[]){in[0]->dim[0], 2, 3}, 3, &q));
    return heed_temper(tape, q, in[1], in[2], out);
}

static void test_temper(void **state)
{
    (void)state;
    struct gc_case rows = {"temper", build_temper, NULL, 3, {{3, {7, 2, 3}}, {2, {2, 3}}, {1, {2}}}};
    struct gc_case batch = {"temper of a batch", build_temper, NULL, 3,
                            {{4, {2, 3, 3, 1}}, {2, {3, 1}}, {1, {3}}}};
    struct gc_case sliced = {"temper of columns", build_temper_sliced, NULL, 3,
                             {{2, {5, 18}}, {2, {2, 3}}, {1, {2}}}};
    assert_true(gc_check(&rows) && gc_check(&batch) && gc_check(&sliced));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ragged),    cmocka_unit_test(test_padded),
        cmocka_unit_test(test_long),      cmocka_unit_test(test_width_one),
        cmocka_unit_test(test_soft_span), cmocka_unit_test(test_temper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

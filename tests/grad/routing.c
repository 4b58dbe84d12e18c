/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing's backward. Published routing stops the gradient before its last pass, so central differences
 * of all passes are no witness; those of one pass from the logarithms of the last pass' weights are:
 * softmax gives back exactly these, and they hold still. First that one pass against differences, then
 * all passes against that one pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"
#include "heed/attention.h"

#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum { S = 6, K = 3, O = 4, C = 3 };

struct how {
    heed_routing_opts opts;
    bool sliced;
};

static const int64_t offsets[] = {0, 3, 3, 9, 10}, lengths[] = {2, 0, 6, 5};
static double logits[K * S];

/* Inputs: e, map. */
static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *e = in[0];
    if (how->sliced)
        HD_TRY(heed_slice(tape, e, e->rank - 1, 1, C, &e));
    return heed_routing(tape, e, in[1], &how->opts, out, NULL);
}

/* Maps of rank 2 to 4. */
static struct gc_case routing_case(struct how *how, int rank)
{
    const int64_t maps[3][4] = {{O, C}, {K, O, C}, {S + 1, K, O, C}};
    struct gc_case gc = {.name = "routing", .build = build, .arg = how, .inputs = 2};
    int64_t wide = how->sliced ? C + 2 : C;
    if (how->opts.offsets)
        gc.input[0].rank = 2, gc.input[0].dim[0] = 10, gc.input[0].dim[1] = wide;
    else
        gc.input[0].rank = 3, gc.input[0].dim[0] = 4, gc.input[0].dim[1] = S, gc.input[0].dim[2] = wide;
    gc.input[1].rank = rank;
    for (int i = 0; i < rank; i++)
        gc.input[1].dim[i] = maps[rank - 2][i];
    return gc;
}

static void test_last_pass(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(gc_seed(), 3);
    for (int i = 0; i < K * S; i++)
        logits[i] = hd_random_normal(&rng);
    for (int i = 0; i < 36; i++) {
        struct how how = {.opts = {.interests = K, .iterations = 1, .adaptive = i / 3 % 2,
                                   .logits = logits, .positions = S},
                          .sliced = i / 6 % 2};
        if (i / 12 == 1)
            how.opts.lengths = lengths;
        if (i / 12 == 2)
            how.opts.offsets = offsets, how.opts.sequences = 4;
        struct gc_case gc = routing_case(&how, 2 + i % 3);
        assert_true(gc_check(&gc));
    }
}

/* More histories than one group, more positions than one tile of them. */
static heed_status build_many(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    enum { B = 70 };
    static double e[B * S * C];
    heed_tensor *te;
    (void)arg;
    for (int i = 0; i < B * S * C; i++)
        e[i] = sin(1.7 * i);
    HD_TRY(heed_tensor_wrap(tape, HEED_F64, e, (int64_t[]){B, S, C}, 3, true, &te));
    heed_routing_opts o = {.interests = K, .iterations = 1, .deviation = 1};
    return heed_routing(tape, te, in[0], &o, out, NULL);
}

static void test_many(void **state)
{
    (void)state;
    struct gc_case gc[] = {{"routing", build_many, NULL, 1, {{2, {O, C}}}},
                           {"routing", build_many, NULL, 1, {{3, {K, O, C}}}},
                           {"routing", build_many, NULL, 1, {{4, {S, K, O, C}}}}};
    for (int i = 0; i < COUNT(gc); i++)
        assert_true(gc_check(&gc[i]));
}

/* Gradients of sum(r * out) with respect to e and map, of one history. */
static void gradients(heed_tape *tape, double *e, double *map, int rank, const heed_routing_opts *opts,
                      const double *r, double *grads, double *weights)
{
    const int64_t maps[3][4] = {{O, C}, {K, O, C}, {S, K, O, C}};
    heed_tensor *te, *tm, *out, *w, *tr, *loss;
    heed_tape_reset(tape);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, e, (int64_t[]){1, S, C}, 3, true, &te), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, map, maps[rank - 2], rank, true, &tm), HEED_OK);
    assert_int_equal(heed_routing(tape, te, tm, opts, &out, &w), HEED_OK);
    assert_int_equal(heed_reshape(tape, out, (int64_t[]){1, K * O}, 2, &out), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, (void *)r, (int64_t[]){1, K * O}, 2, false, &tr), HEED_OK);
    assert_int_equal(heed_linear(tape, out, tr, NULL, &loss), HEED_OK);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
    memcpy(grads, te->grad, S * C * sizeof *grads);
    memcpy(grads + S * C, tm->grad, (size_t)hd_count(tm) * sizeof *grads);
    memcpy(weights, w->data, K * S * sizeof *weights);
}

static void test_all_passes(void **state)
{
    (void)state;
    enum { NUMBERS = S * C + S * K * O * C };
    heed_rng rng = hd_rng(gc_seed(), 5);
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 60; round++) {
        double e[S * C], map[S * K * O * C], r[K * O], three[NUMBERS] = {0}, one[NUMBERS] = {0};
        double weights[K * S], same[K * S], start[K * S];
        for (int i = 0; i < COUNT(e); i++)
            e[i] = hd_random_normal(&rng);
        for (int i = 0; i < COUNT(map); i++)
            map[i] = hd_random_normal(&rng);
        for (int i = 0; i < COUNT(r); i++)
            r[i] = hd_random_normal(&rng);
        heed_routing_opts o = {.interests = K, .iterations = 2 + round % 4, .deviation = 0.5};
        gradients(tape, e, map, 2 + round % 3, &o, r, three, weights);
        for (int i = 0; i < COUNT(start); i++)
            start[i] = log(weights[i]);
        o = (heed_routing_opts){.interests = K, .iterations = 1, .logits = start, .positions = S};
        gradients(tape, e, map, 2 + round % 3, &o, r, one, same);
        for (int i = 0; i < COUNT(start); i++)
            assert_true(fabs(weights[i] - same[i]) < 1e-14);
        for (int i = 0; i < NUMBERS; i++)
            assert_true(fabs(three[i] - one[i]) < 1e-11);
    }
    heed_tape_free(tape);
}

/* ---- label-aware attention */

struct label {
    double power;
    const int64_t *counts;
};

static heed_status build_label(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct label *label = arg;
    return heed_label_attention(tape, in[0], in[1], label->power, label->counts, out, NULL);
}

static void test_label(void **state)
{
    (void)state;
    static const int64_t counts[] = {2, 0, 4};
    static const double powers[] = {1, 1.5, 2, 3, (double)INFINITY};
    for (int i = 0; i < 10; i++) {
        struct label label = {powers[i / 2], i % 2 ? counts : NULL};
        struct gc_case gc = {"label attention", build_label, &label, 2, {{3, {3, 4, 5}}, {2, {3, 5}}}};
        assert_true(gc_check(&gc));
    }
}

/* A step of the same size takes nothing more from the heap. */
static void test_memory(void **state)
{
    (void)state;
    static float e[20 * 30 * 8], map[30 * 4 * 8 * 8], ones[20 * 4 * 8];
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int rank = 2; rank <= 4; rank++) {
        const int64_t maps[3][4] = {{8, 8}, {4, 8, 8}, {30, 4, 8, 8}};
        size_t warm = 0;
        for (int step = 0; step < 5; step++) {
            heed_tensor *te, *tm, *out, *r, *loss;
            heed_routing_opts o = {.interests = 4};
            heed_tape_reset(tape);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, e, (int64_t[]){20, 30, 8}, 3, true, &te), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, map, maps[rank - 2], rank, true, &tm), HEED_OK);
            assert_int_equal(heed_routing(tape, te, tm, &o, &out, NULL), HEED_OK);
            assert_int_equal(heed_reshape(tape, out, (int64_t[]){1, 20 * 4 * 8}, 2, &out), HEED_OK);
            assert_int_equal(heed_tensor_wrap(tape, HEED_F32, ones, out->dim, 2, false, &r), HEED_OK);
            assert_int_equal(heed_linear(tape, out, r, NULL, &loss), HEED_OK);
            assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
            if (step == 1)
                warm = heed_tape_bytes(tape);
            if (step > 1)
                assert_int_equal(heed_tape_bytes(tape), warm);
        }
    }
    heed_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_pass), cmocka_unit_test(test_many), cmocka_unit_test(test_all_passes),
        cmocka_unit_test(test_label),     cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Maps of random projections: weights of attention as they must be, the same for the same seed, and
 * the same word's the same wherever it stands, but for its position. */
#include "models/untrained.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

enum { N = 7, LAYERS = 3, HEADS = 2, COUNT = LAYERS * HEADS * N * N };

static const uint64_t keys[N] = {11, 12, 13, 11, 14, 15, 16};
static const struct hd_untrained_opts ordinary = {
    .layers = LAYERS, .heads = HEADS, .head_dim = 16, .seed = 5};

static void test_weights(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        struct hd_untrained_opts opts = ordinary;
        float maps[COUNT], again[COUNT], other[COUNT];
        opts.attention.causal = causal;
        assert_int_equal(hd_untrained_maps(&opts, keys, N, maps), HEED_OK);
        assert_int_equal(hd_untrained_maps(&opts, keys, N, again), HEED_OK);
        assert_memory_equal(maps, again, sizeof maps);
        for (int row = 0; row < COUNT / N; row++) {
            double sum = 0;
            for (int s = 0; s < N; s++) {
                sum += (double)maps[row * N + s];
                assert_true(maps[row * N + s] >= 0);
                assert_true(!causal || s <= row % N || maps[row * N + s] == 0);
            }
            assert_true(fabs(sum - 1) < 1e-5);
        }
        opts.seed++;
        assert_int_equal(hd_untrained_maps(&opts, keys, N, other), HEED_OK);
        assert_memory_not_equal(maps, other, sizeof maps);
    }
}

/* What comes later changes nothing before it, where attention is causal. */
static void test_future(void **state)
{
    (void)state;
    struct hd_untrained_opts opts = ordinary;
    uint64_t changed[N];
    float maps[COUNT], after[COUNT];

    opts.attention.causal = true;
    memcpy(changed, keys, sizeof keys);
    changed[N - 1] = 99;
    assert_int_equal(hd_untrained_maps(&opts, keys, N, maps), HEED_OK);
    assert_int_equal(hd_untrained_maps(&opts, changed, N, after), HEED_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true(i / N % N == N - 1 || maps[i] == after[i]);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        int64_t layers, heads, head_dim, n;
    } rows[] = {
        {"no words", 1, 1, 16, 0},
        {"no layers", 0, 1, 16, 1},
        {"too many layers", HD_UNTRAINED_LAYERS_MAX + 1, 1, 16, 1},
        {"no heads", 1, 0, 16, 1},
        {"too many heads", 1, HD_UNTRAINED_HEADS_MAX + 1, 16, 1},
        {"an odd width", 1, 1, 15, 1},
        {"no width", 1, 1, 0, 1},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_untrained_opts opts = {
            .layers = r->layers, .heads = r->heads, .head_dim = r->head_dim};
        float weight;
        print_message("# %s\n", r->name);
        assert_int_equal(hd_untrained_maps(&opts, keys, r->n, &weight), HEED_E_ARG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_future),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

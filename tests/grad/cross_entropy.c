/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy's gradients, which are made forward and only multiplied in backward: with each
 * option, past the edges of its blocks of rows and chunks of items, on slices of columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"

struct how {
    heed_loss_opts opts;
    bool sliced; /* x is the middle columns of its input */
    bool gaps;   /* every third row has no label */
};

static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *x = in[0];
    int32_t labels[200];
    int64_t V = in[1]->dim[0];

    if (how->sliced)
        HD_TRY(heed_slice(tape, in[0], 1, 1, in[0]->dim[1] - 2, &x));
    for (int64_t n = 0; n < x->dim[0]; n++) /* never item 0, which may be excluded */
        labels[n] = how->gaps && n % 3 == 0 ? -1 : (int32_t)(1 + n * 7 % (V - 1));
    return heed_cross_entropy(tape, x, in[1], labels, &how->opts, out);
}

static void test_cross_entropy(void **state)
{
    static const int32_t padding[] = {0}, several[] = {0, 482, 0, 481};
    static const struct row {
        const char *name;
        int64_t N, V, C;
        struct how how;
    } rows[] = {
        {"one row, two items, one column", 1, 2, 1, {{0}, false, false}},
        {"all defaults", 5, 7, 3, {{0}, false, false}},
        {"past a vector", 17, 33, 9, {{0}, false, false}},
        {"weight, scale", 5, 7, 3, {{.weight = 0.7, .logit_scale = 2.5}, false, false}},
        {"smoothing", 6, 9, 4, {{.label_smoothing = 0.2}, false, false}},
        {"an excluded item", 6, 9, 4, {{.excluded = padding, .excluded_count = 1}, false, false}},
        {"rows without a label", 8, 5, 3, {{0}, false, true}},
        {"a slice of columns, rows without a label", 8, 5, 3, {{.weight = 1}, true, true}},
        {"past a chunk of items, two excluded, smoothing",
         3,
         485,
         2,
         {{.label_smoothing = 0.1, .excluded = several, .excluded_count = 4}, false, false}},
        {"past a block of rows", 150, 4, 2, {{.logit_scale = 0.5}, false, true}},
    };
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct how how = r->how;
        struct gc_case c = {r->name,
                            build,
                            &how,
                            2,
                            {{2, {r->N, r->C + (how.sliced ? 2 : 0)}, 0}, {2, {r->V, r->C}, 0}}};
        print_message("# %s\n", r->name);
        assert_true(gc_check(&c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cross_entropy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Every layer's backward, over rows and columns that are 1, odd, and past a vector's width, on
 * tensors and on slices of columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gradcheck.h"

static const int64_t rows[] = {1, 2, 5, 17}, cols[] = {1, 3, 8, 19};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

typedef heed_status (*unary_fn)(heed_tape *, heed_tensor *, heed_tensor **);
typedef heed_status (*binary_fn)(heed_tape *, heed_tensor *, heed_tensor *, heed_tensor **);

struct how {
    unary_fn unary;
    binary_fn binary;
    bool sliced; /* the operands are the middle columns of the inputs */
    bool same;   /* both operands are the first input */
};

static heed_status operand(heed_tape *tape, heed_tensor *in, const struct how *how,
                           heed_tensor **out)
{
    *out = in;
    return how->sliced ? heed_slice(tape, in, 1, 1, in->dim[1] - 2, out) : HEED_OK;
}

static heed_status build(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *x, *y;

    HD_TRY(operand(tape, in[0], how, &x));
    if (how->unary)
        return how->unary(tape, x, out);
    HD_TRY(operand(tape, how->same ? in[0] : in[1], how, &y));
    return how->binary(tape, x, y, out);
}

static heed_status scale(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_scale(tape, x, -1.75, out);
}
static heed_status dropout(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_dropout(tape, x, 0.4, out);
}
static heed_status dropout_add(heed_tape *tape, heed_tensor *x, heed_tensor *y, heed_tensor **out)
{
    return heed_dropout_add(tape, x, y, 0.3, out);
}
static heed_status residual(heed_tape *tape, heed_tensor *x, heed_tensor *y, heed_tensor **out)
{
    return heed_dropout_add(tape, x, y, 0, out);
}
static heed_status normalize(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_l2_normalize(tape, x, 1e-6, out);
}
static heed_status normalize_short(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_l2_normalize(tape, x, 100, out);
}
static heed_status layer_norm_plain(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_layer_norm(tape, x, NULL, NULL, 0.01, out);
}
static heed_status rms_norm_plain(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    return heed_rms_norm(tape, x, NULL, 0.01, out);
}

static void test_elementwise(void **state)
{
    static const struct {
        const char *name;
        unary_fn unary;
        binary_fn binary;
    } ops[] = {
        {"scale", scale, NULL},
        {"relu", heed_relu, NULL},
        {"gelu", heed_gelu, NULL},
        {"silu", heed_silu, NULL},
        {"sigmoid", heed_sigmoid, NULL},
        {"tanh", heed_tanh, NULL},
        {"dropout", dropout, NULL},
        {"l2_normalize", normalize, NULL},
        {"l2_normalize below eps", normalize_short, NULL},
        {"layer_norm without gain", layer_norm_plain, NULL},
        {"rms_norm without gain", rms_norm_plain, NULL},
        {"add", NULL, heed_add},
        {"mul", NULL, heed_mul},
        {"swiglu", NULL, heed_swiglu},
        {"dropout_add", NULL, dropout_add},
        {"dropout_add, p 0", NULL, residual},
    };

    (void)state;
    for (int o = 0; o < COUNT(ops); o++)
        for (int r = 0; r < COUNT(rows); r++)
            for (int c = 0; c < COUNT(cols); c++)
                for (int sliced = 0; sliced < 2; sliced++)
                    for (int same = 0; same < (ops[o].binary ? 2 : 1); same++) {
                        struct how how = {ops[o].unary, ops[o].binary, sliced, same};
                        int64_t wide = cols[c] + 2 * sliced;
                        struct gc_case gc = {ops[o].name,
                                             build,
                                             &how,
                                             2,
                                             {{2, {rows[r], wide}}, {2, {rows[r], wide}}}};
                        assert_true(gc_check(&gc));
                    }
}

static heed_status linear(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    const struct how *how = arg;
    heed_tensor *x, *w;

    HD_TRY(operand(tape, in[0], how, &x));
    HD_TRY(operand(tape, in[1], how, &w));
    heed_tensor *b = how->same ? NULL : in[2];
    return how->binary ? heed_linear_add(tape, x, w, b, in[3], out)
                       : heed_linear(tape, x, w, b, out);
}

static void test_linear(void **state)
{
    (void)state;
    for (int r = 0; r < COUNT(rows); r++)
        for (int c = 0; c < COUNT(cols); c++)
            for (int o = 0; o < COUNT(cols); o++)
                for (int sliced = 0; sliced < 2; sliced++) {
                    struct how how = {.sliced = sliced, .same = (r + c + o) % 3 == 0};
                    int64_t wide = cols[c] + 2 * sliced;
                    struct gc_case gc = {"linear",
                                         linear,
                                         &how,
                                         3,
                                         {{2, {rows[r], wide}},
                                          {2, {cols[o], wide}},
                                          {1, {cols[o]}},
                                          {2, {rows[r], cols[o]}}}};
                    assert_true(gc_check(&gc));
                    gc.name = "linear_add", gc.inputs = 4, how.binary = heed_add;
                    assert_true(gc_check(&gc));
                }
}

static heed_status layer_norm(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_layer_norm(tape, x, in[1], in[2], 1e-3, out);
}

static heed_status rms_norm(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_rms_norm(tape, x, in[1], 1e-3, out);
}

static void test_norms(void **state)
{
    (void)state;
    for (int r = 0; r < COUNT(rows); r++)
        for (int c = 0; c < COUNT(cols); c++)
            for (int sliced = 0; sliced < 2; sliced++) {
                struct how how = {.sliced = sliced};
                struct gc_case gc = {
                    "layer_norm",
                    layer_norm,
                    &how,
                    3,
                    {{2, {rows[r], cols[c] + 2 * sliced}}, {1, {cols[c]}}, {1, {cols[c]}}}};
                assert_true(gc_check(&gc));
                gc.name = "rms_norm", gc.build = rms_norm, gc.inputs = 2;
                assert_true(gc_check(&gc));
            }
}

static heed_status prelu(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x;

    HD_TRY(operand(tape, in[0], arg, &x));
    return heed_prelu(tape, x, in[1], out);
}

/* same: the running averages, as constants; else the moments of the rows at hand. */
static heed_status dice(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    static double middle[19], spread[19];
    const struct how *how = arg;
    heed_dice_opts opts = {.eps = 1e-2};
    heed_tensor *x, *mean = NULL, *var = NULL;

    HD_TRY(operand(tape, in[0], how, &x));
    for (int i = 0; i < COUNT(middle); i++)
        middle[i] = 0.1 * (i % 5) - 0.2, spread[i] = 0.5 + 0.2 * (i % 4);
    if (how->same) {
        HD_TRY(heed_tensor_wrap(tape, HEED_F64, middle, in[1]->dim, 1, false, &mean));
        HD_TRY(heed_tensor_wrap(tape, HEED_F64, spread, in[1]->dim, 1, false, &var));
    }
    return heed_dice(tape, x, in[1], mean, var, &opts, out);
}

static void test_slopes(void **state)
{
    (void)state;
    for (int r = 0; r < COUNT(rows); r++)
        for (int c = 0; c < COUNT(cols); c++)
            for (int i = 0; i < 4; i++) {
                struct how how = {.sliced = i % 2, .same = i / 2};
                struct gc_case gc = {
                    "prelu", prelu, &how, 2, {{2, {rows[r], cols[c] + 2 * (i % 2)}}, {1, {cols[c]}}}};
                assert_true(gc_check(&gc));
                gc.name = "dice", gc.build = dice;
                assert_true(gc_check(&gc));
            }
}

/* More blocks of rows than one: their sums are added. */
static heed_status long_dice(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    enum { N = 40000 };
    static double numbers[N];
    heed_tensor *x;

    (void)arg;
    for (int i = 0; i < N; i++)
        numbers[i] = i % 11 - 4.0 + 1e-4 * i;
    HD_TRY(heed_tensor_wrap(tape, HEED_F64, numbers, (int64_t[]){N, 1}, 2, false, &x));
    HD_TRY(heed_linear(tape, x, in[0], NULL, &x));
    return heed_dice(tape, x, in[1], NULL, NULL, NULL, out);
}

static void test_long_dice(void **state)
{
    struct gc_case gc = {"long dice", long_dice, NULL, 2, {{2, {1, 1}}, {1, {1}}}};

    (void)state;
    assert_true(gc_check(&gc));
}

static heed_status embedding(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    static const int32_t ids[] = {3, 0, 3, -1, 4, 3};

    (void)arg;
    return heed_embedding(tape, in[0], ids, COUNT(ids), 1.5, out);
}

static void test_embedding(void **state)
{
    (void)state;
    for (int c = 0; c < COUNT(cols); c++) {
        struct gc_case gc = {"embedding", embedding, NULL, 1, {{2, {5, cols[c]}}}};
        assert_true(gc_check(&gc));
    }
}

/* A block as models have them: columns of one product, a gate, a norm and a residual sum. */
static heed_status block(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    heed_tensor *x, *p, *heads, *u, *v, *y;
    int64_t N = in[0]->dim[0], C = in[0]->dim[1];

    (void)arg;
    HD_TRY(heed_layer_norm(tape, in[0], NULL, NULL, 1e-6, &x));
    HD_TRY(heed_linear(tape, x, in[1], NULL, &p));
    HD_TRY(heed_silu(tape, p, &p));
    HD_TRY(heed_slice(tape, p, 1, 0, C, &u));
    HD_TRY(heed_slice(tape, p, 1, C, C, &v));
    HD_TRY(heed_reshape(tape, v, (int64_t[]){N, 2, C / 2}, 3, &heads)); /* a view of a view */
    HD_TRY(heed_slice(tape, heads, 1, 1, 1, &heads));
    HD_TRY(heed_reshape(tape, heads, (int64_t[]){N, C / 2}, 2, &heads));
    HD_TRY(heed_tanh(tape, heads, &heads));
    HD_TRY(heed_linear(tape, heads, in[2], NULL, &heads));
    HD_TRY(heed_mul(tape, u, v, &y));
    HD_TRY(heed_add(tape, y, heads, &y));
    return heed_dropout_add(tape, in[0], y, 0.2, out);
}

static void test_block(void **state)
{
    struct gc_case gc = {"block", block, NULL, 3, {{2, {5, 6}}, {2, {12, 6}}, {2, {6, 3}}}};

    (void)state;
    assert_true(gc_check(&gc));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_norms),       cmocka_unit_test(test_slopes),
        cmocka_unit_test(test_long_dice),   cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

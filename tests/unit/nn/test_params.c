/* SPDX-License-Identifier: Apache-2.0
 *
 * Named parameters: what they are drawn from, how replicas' gradients are summed, and which rows a
 * step touched. */
#include "heed/nn.h"
#include "nn/params.h"
#include "tensor/tape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

static heed_tensor *add(heed_params *p, const char *name, int64_t rows, int64_t cols,
                        heed_init init, double scale)
{
    heed_tensor *t;

    assert_int_equal(heed_params_add(p, name, (int64_t[]){rows, cols}, 2, init, scale, &t),
                     HEED_OK);
    return t;
}

static heed_params *params_new(heed_dtype dtype, uint64_t seed)
{
    heed_params *p;

    assert_int_equal(heed_params_new(dtype, seed, &p), HEED_OK);
    return p;
}

/* Moments of each draw against the law it is named after. */
static void test_draws(void **state)
{
    static const struct row {
        const char *name;
        heed_init init;
        double scale, mean, deviation, limit; /* limit: none lies beyond; 0: no such */
    } rows[] = {
        {"zeros", HEED_INIT_ZEROS, 5, 0, 0, 1e-30},
        {"ones", HEED_INIT_ONES, 5, 1, 0, 1.0001},
        {"normal", HEED_INIT_NORMAL, 0.02, 0, 0.02, 0},
        /* variance of a normal cut at 2: 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737 */
        {"truncated normal", HEED_INIT_TRUNCATED_NORMAL, 0.5, 0, 0.5 * 0.87962566, 1.0001},
        {"uniform", HEED_INIT_UNIFORM, 3, 0, 1.7320508, 3.0001},
        {"Xavier's uniform", HEED_INIT_XAVIER_UNIFORM, 2, 0, 2 * 0.0816497, 0.2829},
    };

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        heed_params *p = params_new(HEED_F32, 42);
        const float *x = add(p, "x", 200, 100, r->init, r->scale)->data;
        double sum = 0, squares = 0, n = 200 * 100;
        print_message("# %s\n", r->name);
        for (int i = 0; i < 200 * 100; i++) {
            sum += (double)x[i], squares += (double)x[i] * (double)x[i];
            assert_true(r->limit == 0 || fabs((double)x[i]) <= r->limit);
        }
        double mean = sum / n, variance = squares / n - mean * mean;
        assert_true(fabs(mean - r->mean) <= 5 * r->deviation / sqrt(n)); /* five sigma */
        assert_true(fabs(sqrt(fmax(variance, 0)) - r->deviation) <= 0.02 * r->deviation + 1e-9);
        heed_params_free(p);
    }
}

static void test_streams(void **state)
{
    heed_params *a = params_new(HEED_F32, 1), *b = params_new(HEED_F32, 1),
                *c = params_new(HEED_F32, 2), *d = params_new(HEED_F64, 1);
    heed_tensor *x = add(a, "x", 5, 7, HEED_INIT_NORMAL, 1);

    (void)state;
    add(b, "y", 9, 9, HEED_INIT_NORMAL, 1); /* what was added before makes no difference */
    heed_tensor *same = add(b, "x", 5, 7, HEED_INIT_NORMAL, 1);
    heed_tensor *other_name = add(a, "z", 5, 7, HEED_INIT_NORMAL, 1);
    heed_tensor *other_seed = add(c, "x", 5, 7, HEED_INIT_NORMAL, 1);
    heed_tensor *wide = add(d, "x", 5, 7, HEED_INIT_NORMAL, 1);
    assert_memory_equal(x->data, same->data, 35 * sizeof(float));
    assert_memory_not_equal(x->data, other_name->data, 35 * sizeof(float));
    assert_memory_not_equal(x->data, other_seed->data, 35 * sizeof(float));
    for (int i = 0; i < 35; i++)
        assert_true(((float *)x->data)[i] == (float)((double *)wide->data)[i]);
    assert_int_equal((uintptr_t)x->data % 64, 0);
    heed_params_free(a), heed_params_free(b), heed_params_free(c), heed_params_free(d);
}

static void test_names(void **state)
{
    heed_params *p = params_new(HEED_F32, 1), *replica;
    heed_tensor *x = add(p, "x", 3, 4, HEED_INIT_ZEROS, 0), *none = NULL;
    const char *name;

    (void)state;
    assert_int_equal(heed_params_add(p, "x", (int64_t[]){1}, 1, HEED_INIT_ZEROS, 0, &none),
                     HEED_E_EXISTS);
    assert_string_equal(heed_error_message(), "params: there is a x already");
    assert_int_equal(heed_params_add(p, "", (int64_t[]){1}, 1, HEED_INIT_ZEROS, 0, &none),
                     HEED_E_ARG);
    assert_int_equal(
        heed_params_add(p, "y", (int64_t[]){1}, 1, HEED_INIT_NORMAL, (double)NAN, &none),
        HEED_E_ARG);
    assert_int_equal(heed_params_add(p, "y", (int64_t[]){4}, 1, HEED_INIT_XAVIER_UNIFORM, 1, &none),
                     HEED_E_SHAPE);
    assert_int_equal(heed_params_add(p, "y", (int64_t[]){-4}, 1, HEED_INIT_ZEROS, 1, &none),
                     HEED_E_RANGE);
    assert_int_equal(heed_params_new((heed_dtype)9, 0, &replica), HEED_E_ARG);
    assert_ptr_equal(heed_params_find(p, "x"), x);
    assert_null(heed_params_find(p, "y"));
    assert_int_equal(heed_params_count(p), 1);
    assert_int_equal(heed_params_elements(p), 12);
    assert_ptr_equal(heed_params_at(p, 0, &name), x);
    assert_string_equal(name, "x");
    assert_null(heed_params_at(p, 1, NULL));

    assert_int_equal(heed_params_replica(p, &replica), HEED_OK);
    assert_ptr_equal(heed_params_find(replica, "x")->data, x->data);
    assert_int_equal(heed_params_add(replica, "y", (int64_t[]){1}, 1, HEED_INIT_ZEROS, 0, &none),
                     HEED_E_STATE);
    add(p, "later", 1, 1, HEED_INIT_ZEROS, 0);
    assert_int_equal(heed_params_reduce(p, &replica, 1, NULL), HEED_E_STATE);
    heed_params *stranger = params_new(HEED_F32, 1);
    assert_int_equal(heed_params_reduce(stranger, &replica, 1, NULL), HEED_E_ARG);
    heed_params_free(stranger);
    heed_params_free(replica);
    heed_params_free(p);
}

/* ---- replicas */

enum { LANES = 4, TABLE = 400, COLS = 96 };

/* A lane's share of a step: some rows of the table through a weight, summed. */
static void lane_step(heed_params *lane, int32_t first, heed_tape *tape)
{
    heed_tensor *table = heed_params_find(lane, "table"), *w = heed_params_find(lane, "w"),
                *b = heed_params_find(lane, "b"), *x, *y, *loss;
    int32_t ids[] = {first, first + 7, first, 399 - first}, labels[] = {0, 1, 2, 3};

    heed_tape_reset(tape);
    assert_int_equal(heed_embedding(tape, table, ids, 4, 1, &x), HEED_OK);
    assert_int_equal(heed_linear(tape, x, w, b, &y), HEED_OK);
    assert_int_equal(heed_softmax_loss(tape, y, labels, NULL, &loss), HEED_OK);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
}

static heed_params *lanes_new(heed_params **lane)
{
    heed_params *p = params_new(HEED_F32, 3);
    heed_tensor *b;

    add(p, "table", TABLE, COLS, HEED_INIT_NORMAL, 1);
    add(p, "w", 8, COLS, HEED_INIT_NORMAL, 0.3);
    add(p, "unused", 500, COLS, HEED_INIT_NORMAL, 0.3);
    assert_int_equal(heed_params_add(p, "b", (int64_t[]){8}, 1, HEED_INIT_ZEROS, 0, &b), HEED_OK);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(heed_params_replica(p, &lane[i]), HEED_OK);
    return p;
}

static void test_reduce(void **state)
{
    heed_params *lane[2][LANES], *origin[2];
    heed_pool *pool;
    heed_tape *tape;
    static double want[TABLE * COLS];

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
    for (int o = 0; o < 2; o++)
        origin[o] = lanes_new(lane[o]);
    for (int step = 0; step < 3; step++) {
        memset(want, 0, sizeof want);
        bool named[TABLE] = {0};
        for (int o = 0; o < 2; o++) {
            heed_params_zero_grad(origin[o]);
            for (int i = 0; i < LANES; i++)
                lane_step(lane[o][i], step * 20 + i * 5, tape);
        }
        for (int i = 0; i < LANES; i++) { /* the definition: the sum over lanes */
            heed_tensor *t = heed_params_find(lane[0][i], "table");
            for (int j = 0; j < TABLE * COLS; j++)
                want[j] += (double)((float *)t->grad)[j];
            for (int r = 0; r < TABLE; r++)
                named[r] |= t->touched[r];
        }
        for (int o = 0; o < 2; o++)
            assert_int_equal(heed_params_reduce(origin[o], lane[o], LANES, o ? pool : NULL),
                             HEED_OK);

        heed_tensor *t = heed_params_find(origin[0], "table");
        for (int j = 0; j < TABLE * COLS; j++) {
            assert_true(fabs((double)((float *)t->grad)[j] - want[j]) <= 1e-6);
            assert_true(named[j / COLS] || ((float *)t->grad)[j] == 0.0F);
        }
        for (int r = 0; r < TABLE; r++)
            assert_int_equal(t->touched[r], named[r]);
        assert_null(heed_params_find(origin[0], "unused")->grad);
        for (int64_t i = 0; i < heed_params_count(origin[0]); i++) {
            heed_tensor *a = heed_params_at(origin[0], i, NULL),
                        *b = heed_params_at(origin[1], i, NULL);
            if (a->grad)
                assert_memory_equal(a->grad, b->grad, (size_t)hd_count(a) * sizeof(float));
        }
        for (int i = 0; i < LANES; i++) { /* and the lanes start from nothing again */
            t = heed_params_find(lane[0][i], "table");
            for (int j = 0; j < TABLE * COLS; j++)
                assert_true(((float *)t->grad)[j] == 0.0F);
            for (int r = 0; r < TABLE; r++)
                assert_int_equal(t->touched[r], 0);
        }
    }
    for (int o = 0; o < 2; o++) {
        for (int i = 0; i < LANES; i++)
            heed_params_free(lane[o][i]);
        heed_params_free(origin[o]);
    }
    heed_tape_free(tape);
    heed_pool_free(pool);
}

/* Pieces cover every row of every parameter once, in order, whatever the shapes. */
static void test_pieces(void **state)
{
    static const int64_t shapes[][2] = {{0, 5}, {3, 0}, {1, 1}, {700, 64}, {2, 40000}, {20000, 1}};
    heed_params *p = params_new(HEED_F32, 1);
    int64_t covered[6] = {0}, last = -1;

    (void)state;
    for (int i = 0; i < 6; i++)
        add(p, (char[]){(char)('a' + i), 0}, shapes[i][0], shapes[i][1], HEED_INIT_ZEROS, 0);
    for (int64_t i = 0; i < p->pieces; i++) {
        struct hd_piece piece = hd_params_piece(p, i);
        assert_true(piece.param >= last);
        last = piece.param;
        assert_int_equal(piece.from, covered[piece.param]);
        assert_true(piece.to > piece.from);
        covered[piece.param] = piece.to;
    }
    for (int i = 0; i < 6; i++)
        assert_int_equal(covered[i], shapes[i][0]);
    heed_params_free(p);
}

static void test_freeze(void **state)
{
    heed_params *p = params_new(HEED_F32, 1);
    heed_tensor *w = add(p, "w", 4, 6, HEED_INIT_NORMAL, 1), *x, *y, *loss;
    int32_t labels[] = {1};
    heed_tape *tape;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 0, &tape), HEED_OK);
    heed_params_freeze(p, true);
    for (int frozen = 1; frozen >= 0; frozen--) {
        heed_params_freeze(p, frozen);
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_new_in(tape, HEED_F32, (int64_t[]){1, 6}, 2, &x), HEED_OK);
        x->wants_grad = true; /* the gradient of the input alone */
        assert_int_equal(heed_linear(tape, x, w, NULL, &y), HEED_OK);
        assert_int_equal(heed_softmax_loss(tape, y, labels, NULL, &loss), HEED_OK);
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        assert_non_null(x->grad);
        assert_true((w->grad == NULL) == frozen);
    }
    heed_tape_free(tape);
    heed_params_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws),  cmocka_unit_test(test_streams),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_freeze),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The optimiser against the paper's update written out in double, its cut, its average, its rows
 * that no gradient touched, and the schedules. */
#include "base/random.h"
#include "heed/nn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 40, COLS = 700, VECTOR = 37, COUNT = ROWS * COLS + VECTOR };

struct world {
    heed_params *params;
    heed_tape *tape;
    heed_tensor *table, *vector;
};

static struct world world_new(heed_dtype dtype)
{
    struct world w = {0};

    assert_int_equal(heed_params_new(dtype, 7, &w.params), HEED_OK);
    assert_int_equal(heed_params_add(w.params, "table", (int64_t[]){ROWS, COLS}, 2,
                                     HEED_INIT_NORMAL, 0.1, &w.table),
                     HEED_OK);
    assert_int_equal(
        heed_params_add(w.params, "vector", (int64_t[]){VECTOR}, 1, HEED_INIT_ONES, 1, &w.vector),
        HEED_OK);
    assert_int_equal(heed_tape_new(NULL, 1, &w.tape), HEED_OK);
    return w;
}

static void world_free(struct world *w)
{
    heed_tape_free(w->tape);
    heed_params_free(w->params);
}

static double number(const heed_tensor *x, const void *data, int64_t i)
{
    return x->dtype == HEED_F32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

/* Gradients of step t, through a layer: rows of the table by an embedding, the vector by a sum. */
static void gradients(struct world *w, int t, const int32_t *ids, int64_t count, double size)
{
    heed_rng rng = hd_rng(99, (uint64_t)t);
    heed_tensor *e, *r, *flat, *dot, *row, *weights, *dot2, *loss;
    int64_t n = count * COLS;

    heed_params_zero_grad(w->params);
    heed_tape_reset(w->tape);
    assert_int_equal(heed_embedding(w->tape, w->table, ids, count, 1, &e), HEED_OK);
    assert_int_equal(heed_reshape(w->tape, e, (int64_t[]){1, n}, 2, &flat), HEED_OK);
    assert_int_equal(heed_tensor_new_in(w->tape, w->table->dtype, (int64_t[]){1, n}, 2, &r),
                     HEED_OK);
    assert_int_equal(
        heed_tensor_new_in(w->tape, w->table->dtype, (int64_t[]){1, VECTOR}, 2, &weights), HEED_OK);
    for (int64_t i = 0; i < n + VECTOR; i++) {
        heed_tensor *to = i < n ? r : weights;
        int64_t at = i < n ? i : i - n;
        double g = size * hd_random_normal(&rng);
        if (to->dtype == HEED_F32)
            ((float *)to->data)[at] = (float)g;
        else
            ((double *)to->data)[at] = g;
    }
    assert_int_equal(heed_linear(w->tape, flat, r, NULL, &dot), HEED_OK);
    assert_int_equal(heed_reshape(w->tape, w->vector, (int64_t[]){1, VECTOR}, 2, &row), HEED_OK);
    assert_int_equal(heed_linear(w->tape, row, weights, NULL, &dot2), HEED_OK);
    assert_int_equal(heed_add(w->tape, dot, dot2, &loss), HEED_OK);
    assert_int_equal(heed_tape_backward(w->tape, loss), HEED_OK);
}

/* ---- the paper, in double */
struct paper {
    double w[COUNT], m[COUNT], v[COUNT], average[COUNT];
};

static double paper_step(struct paper *p, struct world *world, const heed_adam_opts *o, int t,
                         double rate)
{
    static double g[COUNT];
    static bool moved[COUNT];
    double norm = 0, keep = fmin(o->ema_decay, (1.0 + t) / (10.0 + t));

    for (int i = 0; i < COUNT; i++) {
        bool in_table = i < ROWS * COLS;
        heed_tensor *x = in_table ? world->table : world->vector;
        g[i] = number(x, x->grad, in_table ? i : i - ROWS * COLS);
        moved[i] = !in_table || x->touched[i / COLS];
        norm += g[i] * g[i];
    }
    norm = sqrt(norm);
    double cut = o->clip_norm > 0 && norm > o->clip_norm ? o->clip_norm / norm : 1;
    for (int i = 0; i < COUNT; i++) {
        double decay = i < ROWS * COLS ? rate * o->weight_decay : 0;
        if (moved[i]) {
            p->m[i] = o->beta1 * p->m[i] + (1 - o->beta1) * cut * g[i];
            p->v[i] = o->beta2 * p->v[i] + (1 - o->beta2) * cut * cut * g[i] * g[i];
            double m = p->m[i] / (1 - pow(o->beta1, t)), v = p->v[i] / (1 - pow(o->beta2, t));
            p->w[i] -= decay * p->w[i] + rate * m / (sqrt(v) + o->eps);
        }
        p->average[i] = keep * p->average[i] + (1 - keep) * p->w[i];
    }
    return norm;
}

static void test_against_paper(void **state)
{
    static const struct row {
        const char *name;
        heed_dtype dtype;
        heed_adam_opts opts;
    } rows[] = {
        {"Adam in float64", HEED_F64, {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8}},
        {"Adam in float32", HEED_F32, {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}},
        {"AdamW, cut and averaged, in float64",
         HEED_F64,
         {0.9, 0.999, 1e-6, .weight_decay = 0.1, .clip_norm = 2, .ema_decay = 0.9}},
        {"AdamW, cut and averaged, in float32",
         HEED_F32,
         {0.9, 0.999, 1e-6, .weight_decay = 0.1, .clip_norm = 2, .ema_decay = 0.9}},
    };
    static struct paper paper;

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct world w = world_new(r->dtype);
        heed_adam *adam;
        double bound = r->dtype == HEED_F64 ? 1e-12 : 2e-6;

        print_message("# %s\n", r->name);
        memset(&paper, 0, sizeof paper);
        for (int i = 0; i < COUNT; i++)
            paper.w[i] = paper.average[i] = i < ROWS * COLS
                                                ? number(w.table, w.table->data, i)
                                                : number(w.vector, w.vector->data, i - ROWS * COLS);
        assert_int_equal(heed_adam_new(w.params, &r->opts, &adam), HEED_OK);
        for (int t = 1; t <= 12; t++) {
            int32_t ids[] = {t, 3, t, 30 - t}; /* some rows only now and then, one twice */
            double got, want;
            gradients(&w, t, ids, 4, t % 3 == 0 ? 0.001 : 0.1);
            want = paper_step(&paper, &w, &r->opts, t, 0.01);
            assert_int_equal(heed_adam_step(adam, 0.01, NULL, &got), HEED_OK);
            assert_true(fabs(got - want) <= 1e-5 * want);
        }
        assert_int_equal(heed_adam_steps(adam), 12);
        for (int turn = 0; turn < 3; turn++) { /* weights, average, weights */
            const double *want = turn == 1 ? paper.average : paper.w;
            for (int i = 0; i < COUNT; i++) {
                heed_tensor *x = i < ROWS * COLS ? w.table : w.vector;
                double got = number(x, x->data, i < ROWS * COLS ? i : i - ROWS * COLS);
                assert_true(fabs(got - want[i]) <= bound);
            }
            if (r->opts.ema_decay == 0)
                break;
            heed_adam_swap_average(adam);
            if (turn == 0) /* half way the weights are not what a step may change */
                assert_int_equal(heed_adam_step(adam, 0.01, NULL, NULL), HEED_E_STATE);
        }
        heed_adam_free(adam);
        world_free(&w);
    }
}

static void test_untouched_rows_stay(void **state)
{
    struct world w = world_new(HEED_F32);
    static float before[ROWS * COLS];
    heed_adam *adam;

    (void)state;
    memcpy(before, w.table->data, sizeof before);
    assert_int_equal(heed_adam_new(w.params, &(heed_adam_opts){.weight_decay = 0.5}, &adam),
                     HEED_OK);
    for (int t = 1; t < 4; t++) {
        gradients(&w, t, (int32_t[]){5, 9, 5}, 3, 0.1);
        assert_int_equal(heed_adam_step(adam, 0.01, NULL, NULL), HEED_OK);
    }
    for (int r = 0; r < ROWS; r++) {
        bool same = memcmp(before + r * COLS, (float *)w.table->data + r * COLS,
                           COLS * sizeof *before) == 0;
        assert_int_equal(same, r != 5 && r != 9);
    }
    heed_adam_free(adam);
    world_free(&w);
}

static void test_same_bits_with_threads(void **state)
{
    struct world w[2] = {world_new(HEED_F32), world_new(HEED_F32)};
    heed_adam_opts opts = {.weight_decay = 0.1, .clip_norm = 1, .ema_decay = 0.99};
    heed_adam *adam[2];
    heed_pool *pool;
    double norm[2];

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(heed_adam_new(w[i].params, &opts, &adam[i]), HEED_OK);
    for (int t = 1; t < 6; t++) {
        for (int i = 0; i < 2; i++) {
            gradients(&w[i], t, (int32_t[]){0, t, 9, 39, 38}, 5, 0.1);
            assert_int_equal(heed_adam_step(adam[i], 0.01, i ? pool : NULL, &norm[i]), HEED_OK);
        }
        assert_memory_equal(&norm[0], &norm[1], sizeof norm[0]);
    }
    for (int turn = 0; turn < 2; turn++) {
        assert_memory_equal(w[0].table->data, w[1].table->data, ROWS * COLS * sizeof(float));
        assert_memory_equal(w[0].vector->data, w[1].vector->data, VECTOR * sizeof(float));
        for (int i = 0; i < 2; i++)
            heed_adam_swap_average(adam[i]);
    }
    for (int i = 0; i < 2; i++) {
        heed_adam_free(adam[i]);
        world_free(&w[i]);
    }
    heed_pool_free(pool);
}

static void test_refusals(void **state)
{
    struct world w = world_new(HEED_F32);
    heed_params *replica;
    heed_adam *adam;
    heed_tensor *more;

    (void)state;
    assert_int_equal(heed_adam_new(w.params, &(heed_adam_opts){.beta1 = 1}, &adam), HEED_E_ARG);
    assert_string_equal(heed_error_message(),
                        "adam: betas 1 and 0.999, ema_decay 0 are not all in [0, 1)");
    assert_int_equal(heed_adam_new(w.params, &(heed_adam_opts){.reserved = {1}}, &adam),
                     HEED_E_ARG);
    assert_int_equal(heed_params_replica(w.params, &replica), HEED_OK);
    assert_int_equal(heed_adam_new(replica, NULL, &adam), HEED_E_ARG);
    heed_params_free(replica);

    assert_int_equal(heed_adam_new(w.params, &(heed_adam_opts){.clip_norm = 1}, &adam), HEED_OK);
    assert_int_equal(heed_adam_step(adam, (double)NAN, NULL, NULL), HEED_E_ARG);
    static float before[ROWS * COLS];
    gradients(&w, 1, (int32_t[]){1}, 1, (double)INFINITY);
    memcpy(before, w.table->data, sizeof before);
    assert_int_equal(heed_adam_step(adam, 0.1, NULL, NULL), HEED_E_RANGE);
    assert_string_equal(heed_error_message(), "adam: the gradient of step 1 is not finite");
    assert_memory_equal(before, w.table->data, sizeof before);
    assert_int_equal(heed_adam_steps(adam), 0);
    assert_int_equal(
        heed_params_add(w.params, "more", (int64_t[]){3}, 1, HEED_INIT_ZEROS, 0, &more), HEED_OK);
    assert_int_equal(heed_adam_step(adam, 0.1, NULL, NULL), HEED_E_STATE);
    heed_adam_free(adam);
    world_free(&w);
}

static void test_schedule(void **state)
{
    static const struct row {
        const char *name;
        heed_schedule schedule;
        int64_t step, warmup, total;
        double floor, want;
    } rows[] = {
        {"no warm-up starts at 1", HEED_CONSTANT, 0, 0, 0, 0, 1},
        {"the first step of a warm-up moves", HEED_CONSTANT, 0, 4, 100, 0, 0.25},
        {"the warm-up ends at 1", HEED_COSINE, 3, 4, 100, 0, 1},
        {"the cosine starts at 1", HEED_COSINE, 4, 4, 104, 0.1, 1},
        {"half way down the cosine", HEED_COSINE, 54, 4, 104, 0.1, 0.55},
        {"the cosine ends at the floor", HEED_COSINE, 104, 4, 104, 0.1, 0.1},
        {"past the end it stays there", HEED_COSINE, 1000, 4, 104, 0.1, 0.1},
        {"a quarter down the line", HEED_LINEAR, 25, 0, 100, 0.2, 0.8},
        {"constant past the end", HEED_CONSTANT, 1000, 4, 100, 0.1, 1},
    };

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        print_message("# %s\n", r->name);
        double got = heed_schedule_factor(r->schedule, r->step, r->warmup, r->total, r->floor);
        assert_true(fabs(got - r->want) < 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_paper),
        cmocka_unit_test(test_untouched_rows_stay),
        cmocka_unit_test(test_same_bits_with_threads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_schedule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

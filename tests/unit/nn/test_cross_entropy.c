/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy against its definition in double, in float32 and in bfloat16, at sizes past its
 * blocks, chunks and parts; the same bits with any pool; what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "heed/nn.h"
#include "nn/cross_entropy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct problem {
    int64_t N, V, C;
    double scale, smoothing, weight;
    int excluded_count;
    const int32_t *excluded;
    float *x, *table;
    int32_t *labels;
};

static void *zeros(int64_t count, size_t size)
{
    void *p = calloc((size_t)count + 1, size);
    assert_non_null(p);
    return p;
}

/* Logits of deviation about 2, as a trained model's are. */
static void make(struct problem *p, uint64_t seed)
{
    heed_rng rng = hd_rng(seed, 0);
    p->x = zeros(p->N * p->C, 4), p->table = zeros(p->V * p->C, 4), p->labels = zeros(p->N, 4);
    for (int64_t i = 0; i < p->N * p->C; i++)
        p->x[i] = (float)hd_random_normal(&rng);
    for (int64_t i = 0; i < p->V * p->C; i++)
        p->table[i] = (float)(2 * hd_random_normal(&rng) / sqrt((double)p->C));
    for (int64_t n = 0; n < p->N; n++)
        p->labels[n] = (int32_t)(1 + hd_random_below(&rng, (uint64_t)p->V - 1));
}

static void drop(struct problem *p)
{
    free(p->x), free(p->table), free(p->labels);
}

/* The definition. */
static double reference(const struct problem *p, double *dx, double *dtable)
{
    double loss = 0, *l = zeros(p->V, sizeof *l), items = (double)(p->V - p->excluded_count);
    for (int64_t n = 0; n < p->N; n++) {
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < p->V; v++) {
            l[v] = 0;
            for (int64_t c = 0; c < p->C; c++)
                l[v] += p->scale * (double)p->x[n * p->C + c] * (double)p->table[v * p->C + c];
            for (int e = 0; e < p->excluded_count; e++)
                l[v] = p->excluded[e] == v ? -(double)INFINITY : l[v];
            max = fmax(max, l[v]);
        }
        for (int64_t v = 0; v < p->V; v++)
            sum += exp(l[v] - max);
        for (int64_t v = 0; v < p->V; v++) {
            if (l[v] == -(double)INFINITY)
                continue;
            double q = (v == p->labels[n] ? 1 - p->smoothing : 0) + p->smoothing / items;
            double log_p = l[v] - max - log(sum), g = p->weight * p->scale * (exp(log_p) - q);
            loss -= p->weight * q * log_p;
            for (int64_t c = 0; c < p->C; c++) {
                dx[n * p->C + c] += g * (double)p->table[v * p->C + c];
                dtable[v * p->C + c] += g * (double)p->x[n * p->C + c];
            }
        }
    }
    free(l);
    return loss;
}

/* |got - want| / |want| as vectors */
static double distance(const float *got, const double *want, int64_t count)
{
    double off = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(off / size);
}

static struct hd_cross_entropy call_of(const struct problem *p, const struct hd_kernels *k,
                                       const struct hd_kernels_bf16 *bf16, float *dx, float *dtable)
{
    return (struct hd_cross_entropy){.k = k, .bf16 = bf16, .N = p->N, .V = p->V, .C = p->C, .x = p->x,
                                     .x_row = p->C, .table = p->table, .table_row = p->C,
                                     .labels = p->labels, .excluded = p->excluded,
                                     .excluded_count = p->excluded_count, .scale = p->scale,
                                     .smoothing = p->smoothing, .weight = p->weight, .dx = dx,
                                     .dtable = dtable};
}

/* float32: sums of V and N terms whose roundings are independent, far under 1e-5. bfloat16: operands
 * are off by up to 2^-9 (half of 2^-8), logits of size 2 sqrt(C) terms by as many independent errors:
 * the gradient as a whole by under 2^-7, the loss, where errors of both signs meet, by under 1e-3. */
static void test_definition(void **state)
{
    static const int32_t padding[] = {0};
    static const struct problem rows[] = {
        {1, 2, 1, 1, 0, 1, 0, NULL},           {3, 5, 7, 1, 0, 0.3, 1, padding},
        {40, 481, 33, 1, 0.1, 0.02, 1, padding}, {145, 960, 64, 0.7, 0, 0.01, 0, NULL},
        {289, 1000, 65, 1, 0.1, 0.01, 1, padding}, {1100, 77, 16, 2, 0, 1e-3, 0, NULL},
    };
    struct hd_kernels k[2];
    struct hd_kernels_bf16 bf16[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        hd_kernels_init(&k[i], i ? hd_cpu() : 0);
        hd_kernels_bf16_init(&bf16[i], i ? hd_cpu() : 0);
    }
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct problem p = rows[r];
        make(&p, r);
        double *dx = zeros(p.N * p.C, 8), *dtable = zeros(p.V * p.C, 8), got;
        double want = reference(&p, dx, dtable);
        float *gx = zeros(p.N * p.C, 4), *gt = zeros(p.V * p.C, 4);
        hd_arena *arena = hd_arena_new(0);
        for (int how = 0; how < 4; how++) {
            bool exact = how < 2;
            struct hd_cross_entropy ce = call_of(&p, &k[how % 2], exact ? NULL : &bf16[how % 2], gx, gt);
            assert_int_equal(hd_cross_entropy(&ce, arena, NULL, &got), HEED_OK);
            print_message("# %ld x %ld x %ld %s %s: loss off %.1e, dx %.1e, dtable %.1e\n", (long)p.N,
                          (long)p.V, (long)p.C, ce.k->name, exact ? "f32" : ce.bf16->name,
                          fabs(got - want) / want, distance(gx, dx, p.N * p.C),
                          distance(gt, dtable, p.V * p.C));
            assert_true(fabs(got - want) <= (exact ? 1e-6 : 1e-3 + 4e-3 / sqrt((double)p.N)) * want);
            assert_true(distance(gx, dx, p.N * p.C) <= (exact ? 1e-5 : 0x1p-7));
            assert_true(distance(gt, dtable, p.V * p.C) <= (exact ? 1e-5 : 0x1p-7));
        }
        hd_arena_free(arena);
        free(dx), free(dtable), free(gx), free(gt);
        drop(&p);
    }
}

/* 2,100 rows are three parts, each with a gradient of the table of its own on a pool. */
static void test_same_bits(void **state)
{
    struct problem p = {2100, 500, 17, 1, 0.1, 1e-3, 0, NULL};
    (void)state;
    make(&p, 7);
    for (int exact = 0; exact < 2; exact++) {
        float *gx[2], *gt[2];
        double loss[2];
        for (int i = 0; i < 2; i++) {
            heed_pool *pool = NULL;
            hd_arena *arena = hd_arena_new(0);
            gx[i] = zeros(p.N * p.C, 4), gt[i] = zeros(p.V * p.C, 4);
            struct hd_cross_entropy ce =
                call_of(&p, hd_kernels(), exact ? NULL : hd_kernels_bf16(), gx[i], gt[i]);
            if (i)
                assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
            assert_int_equal(hd_cross_entropy(&ce, arena, pool, &loss[i]), HEED_OK);
            heed_pool_free(pool);
            hd_arena_free(arena);
        }
        assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
        assert_memory_equal(gx[0], gx[1], (size_t)(p.N * p.C) * 4);
        assert_memory_equal(gt[0], gt[1], (size_t)(p.V * p.C) * 4);
        for (int i = 0; i < 2; i++)
            free(gx[i]), free(gt[i]);
    }
    drop(&p);
}

static void test_refusals(void **state)
{
    static const int32_t first[] = {0}, wrong[] = {9}, all[] = {2, 1, 0};
    static const struct row {
        const char *name;
        int32_t label;
        heed_loss_opts opts;
        heed_status status;
    } rows[] = {
        {"fine", 2, {0}, HEED_OK},
        {"no label at all", -1, {0}, HEED_OK},
        {"a label past the table", 3, {0}, HEED_E_ARG},
        {"a label of -2", -2, {0}, HEED_E_ARG},
        {"a label that is excluded", 0, {.excluded = first, .excluded_count = 1}, HEED_E_ARG},
        {"an excluded item past the table", 1, {.excluded = wrong, .excluded_count = 1}, HEED_E_ARG},
        {"nothing left", -1, {.excluded = all, .excluded_count = 3}, HEED_E_ARG},
        {"smoothing of 1", 1, {.label_smoothing = 1}, HEED_E_ARG},
        {"a weight that is not a number", 1, {.weight = NAN}, HEED_E_ARG},
        {"a reserved field", 1, {.reserved = {0, 1}}, HEED_E_ARG},
    };
    float x[2] = {0.5, -1}, table[6] = {1, 2, 3, 4, 5, 6};
    heed_tape *tape;
    heed_tensor *tx, *tt, *loss;
    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        print_message("# %s\n", r->name);
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){1, 2}, 2, true, &tx), HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, table, (int64_t[]){3, 2}, 2, true, &tt),
                         HEED_OK);
        assert_int_equal(heed_cross_entropy(tape, tx, tt, &r->label, &r->opts, &loss), r->status);
        if (r->status != HEED_OK)
            continue;
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        if (r->label == -1) {
            assert_true(*(float *)loss->data == 0);
            for (int i = 0; i < 2; i++)
                assert_true(!tx->grad || ((float *)tx->grad)[i] == 0);
        }
    }
    /* columns that do not agree */
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, table, (int64_t[]){2, 3}, 2, true, &tt), HEED_OK);
    assert_int_equal(heed_cross_entropy(tape, tx, tt, &rows[0].label, NULL, &loss), HEED_E_SHAPE);
    heed_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_definition),
                                       cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

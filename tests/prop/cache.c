/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of the cache of keys and values: over segments of any sizes it gives the bits of the whole
 * history while that is kept, and of what is kept when more has come; on a tape gradients end at it;
 * and once warm a step takes nothing from the heap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/attention/naive.h"

/* A history of L positions and what attends to it, (B, L, H, D) contiguous, float or double. */
struct history {
    struct na_call c;
    int64_t L;
};

static struct history history_new(heed_rng *rng, int64_t L, heed_dtype dtype)
{
    struct history x = {.L = L};
    heed_attention_arrays *a = &x.c.a;
    a->dtype = dtype;
    a->B = 1 + (int64_t)hd_random_below(rng, 2), a->H = 1 + (int64_t)hd_random_below(rng, 2);
    a->D = na_length(rng, 40), a->E = na_length(rng, 40), a->T = a->S = L;
    a->q = na_numbers(&x.c, rng, a->B * L * a->H * a->D, 1);
    a->k = na_numbers(&x.c, rng, a->B * L * a->H * a->D, 1);
    a->v = na_numbers(&x.c, rng, a->B * L * a->H * a->E, 1);
    a->out = na_numbers(&x.c, rng, a->B * L * a->H * a->E, 1);
    a->lse = na_numbers(&x.c, rng, a->H * a->B * L, 1);
    x.c.opts.causal = true;
    x.c.opts.weight = hd_random_below(rng, 2) ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX;
    if (hd_random_below(rng, 2)) {
        a->P = 1 + (int64_t)hd_random_below(rng, 300);
        a->position = na_numbers(&x.c, rng, a->H * a->P, 1);
    }
    if (hd_random_below(rng, 3) == 0)
        x.c.opts.method = HEED_METHOD_LINEAR, x.c.opts.weight = HEED_WEIGHT_SOFTMAX, a->position = NULL;
    return x;
}

static void *at(const struct history *x, const void *array, int64_t position, int64_t width)
{
    return (char *)array + (int64_t)na_item(&x->c) * position * x->c.a.H * width;
}

/* Appends positions [from, from + n), as slices of the arrays. */
static void append(heed_attention_cache *cache, const struct history *x, int64_t from, int64_t n)
{
    const heed_attention_arrays *a = &x->c.a;
    int64_t ks[3] = {x->L * a->H * a->D, a->H * a->D, a->D};
    int64_t vs[3] = {x->L * a->H * a->E, a->H * a->E, a->E};
    assert_int_equal(heed_attention_cache_append(cache, n, at(x, a->k, from, a->D), ks,
                                                 at(x, a->v, from, a->E), vs), HEED_OK);
}

/* The last n queries before `end`, into out. */
static void attend(heed_attention_cache *cache, heed_pool *pool, const struct history *x, int64_t end,
                   int64_t n, void *out)
{
    const heed_attention_arrays *a = &x->c.a;
    heed_attention_arrays now = *a;
    now.T = n, now.S = 0, now.k = now.v = NULL, now.lse = NULL;
    now.q = at(x, a->q, end - n, a->D);
    now.q_stride[0] = x->L * a->H * a->D, now.q_stride[1] = a->H * a->D, now.q_stride[2] = a->D;
    now.out = out;
    heed_status status = heed_attention_cache_attend(cache, pool, &x->c.opts, &now);
    if (status != HEED_OK)
        print_message("# %s\n", heed_error_message());
    assert_int_equal(status, HEED_OK);
}

static heed_attention_cache *cache_new(const struct history *x, int64_t capacity, int64_t drop)
{
    const heed_attention_arrays *a = &x->c.a;
    heed_attention_cache_opts o = {.dtype = a->dtype, .B = a->B, .H = a->H, .D = a->D, .E = a->E,
                                   .capacity = capacity, .drop = drop};
    heed_attention_cache *cache;
    assert_int_equal(heed_attention_cache_new(&o, &cache), HEED_OK);
    return cache;
}

/* Rows [from, from + n) of the whole history's result against those of a step. */
static void same_rows(const struct history *x, const void *whole, int64_t rows_in_all, int64_t from,
                      int64_t n, const void *step)
{
    const heed_attention_arrays *a = &x->c.a;
    size_t row = (size_t)(a->H * a->E) * na_item(&x->c);
    for (int64_t b = 0; b < a->B; b++)
        assert_memory_equal((const char *)whole + (size_t)(b * rows_in_all + from) * row,
                            (const char *)step + (size_t)(b * n) * row, (size_t)n * row);
}

/* While nothing leaves, each segment's rows are those of one call over everything. */
static void test_incremental_is_full(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 40);
    heed_pool *pool;
    assert_int_equal(heed_pool_new(2, &pool), HEED_OK);
    for (int round = 0; round < 120; round++) {
        int64_t L = 1 + (int64_t)hd_random_below(&rng, 700);
        struct history x = history_new(&rng, L, round % 4 ? HEED_F32 : HEED_F64);
        const heed_attention_arrays *a = &x.c.a;
        heed_attention_cache *cache = cache_new(&x, L + (int64_t)hd_random_below(&rng, 3), 0);
        char *step = malloc((size_t)(a->B * L * a->H * a->E) * 8 + 1);
        assert_int_equal(heed_attention_forward(NULL, &x.c.opts, a), HEED_OK);
        for (int64_t done = 0, n; done < L; done += n) {
            n = hd_random_below(&rng, 2) ? 1 : 1 + (int64_t)hd_random_below(&rng, 200);
            n = n < L - done ? n : L - done;
            append(cache, &x, done, n);
            attend(cache, round % 2 ? pool : NULL, &x, done + n, n, step);
            /* A linear state is summed by chunks from the first key on: all queries meet the same. */
            same_rows(&x, a->out, L, done, n, step);
            assert_int_equal(heed_attention_cache_length(cache), done + n);
        }
        assert_int_equal(heed_attention_cache_first(cache), 0);
        heed_attention_cache_free(cache);
        free(step);
        na_free(&x.c);
    }
    heed_pool_free(pool);
}

/* When the oldest leave, a step is the plain call over the rows that are kept, however often the memory
 * has come round. */
static void test_what_is_kept(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 41);
    for (int round = 0; round < 120; round++) {
        int64_t L = 300 + (int64_t)hd_random_below(&rng, 400);
        struct history x = history_new(&rng, L, round % 4 ? HEED_F32 : HEED_F64);
        const heed_attention_arrays *a = &x.c.a;
        int64_t capacity = 1 + (int64_t)hd_random_below(&rng, round % 2 ? 20 : 300);
        int64_t drop = 1 + (int64_t)hd_random_below(&rng, (uint64_t)(round % 3 ? 1 : capacity));
        heed_attention_cache *cache = cache_new(&x, capacity, drop);
        char *step = malloc((size_t)(a->B * L * a->H * a->E) * 8 + 1);
        char *plain = malloc((size_t)(a->B * L * a->H * a->E) * 8 + 1);
        for (int64_t done = 0, n; done < L; done += n) {
            n = 1 + (int64_t)hd_random_below(&rng, hd_random_below(&rng, 4) ? 3 : 2 * (uint64_t)capacity);
            n = n < L - done ? n : L - done;
            append(cache, &x, done, n);
            int64_t kept = heed_attention_cache_length(cache), first = heed_attention_cache_first(cache);
            assert_int_equal(first + kept, done + n);
            assert_int_equal(first % drop, 0);
            assert_true(kept <= capacity && (first == 0 || kept > capacity - drop));
            int64_t T = n < kept ? n : kept;
            attend(cache, NULL, &x, done + n, T, step);
            heed_attention_arrays now = *a;
            now.T = T, now.S = kept, now.out = plain, now.lse = NULL;
            now.q = at(&x, a->q, done + n - T, a->D);
            now.k = at(&x, a->k, first, a->D), now.v = at(&x, a->v, first, a->E);
            now.q_stride[0] = L * a->H * a->D, now.q_stride[1] = a->H * a->D, now.q_stride[2] = a->D;
            memcpy(now.k_stride, now.q_stride, sizeof now.k_stride);
            now.v_stride[0] = L * a->H * a->E, now.v_stride[1] = a->H * a->E, now.v_stride[2] = a->E;
            assert_int_equal(heed_attention_forward(NULL, &x.c.opts, &now), HEED_OK);
            same_rows(&x, plain, T, 0, T, step);
        }
        heed_attention_cache_free(cache);
        free(step), free(plain);
        na_free(&x.c);
    }
}

/* With a window that lies in what is kept, and blocks that leave whole, a step has the bits of the whole
 * windowed history, however much of it is gone. */
static void test_window_is_full(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 44);
    int64_t gone = 0;
    for (int round = 0; round < 60; round++) {
        int64_t L = 300 + (int64_t)hd_random_below(&rng, 1200);
        int64_t window = (int64_t)hd_random_below(&rng, 300);
        struct history x = history_new(&rng, L, round % 4 ? HEED_F32 : HEED_F64);
        const heed_attention_arrays *a = &x.c.a;
        if (x.c.opts.method != HEED_METHOD_EXACT) {
            na_free(&x.c);
            continue;
        }
        x.c.opts.window = window + 1; /* 0: none */
        int64_t most = 1 + (int64_t)hd_random_below(&rng, 60);
        heed_attention_cache *cache = cache_new(&x, x.c.opts.window + most + HEED_CACHE_BLOCK,
                                                HEED_CACHE_BLOCK);
        char *step = malloc((size_t)(a->B * L * a->H * a->E) * 8 + 1);
        assert_int_equal(heed_attention_forward(NULL, &x.c.opts, a), HEED_OK);
        for (int64_t done = 0, n; done < L; done += n) {
            n = 1 + (int64_t)hd_random_below(&rng, (uint64_t)most);
            n = n < L - done ? n : L - done;
            append(cache, &x, done, n);
            attend(cache, NULL, &x, done + n, n, step);
            same_rows(&x, a->out, L, done, n, step);
        }
        gone += heed_attention_cache_first(cache);
        heed_attention_cache_free(cache);
        free(step);
        na_free(&x.c);
    }
    assert_true(gone > 0);
}

/* What is taken back was never there; after a reset all begins anew. */
static void test_truncate_and_reset(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 42);
    struct history x = history_new(&rng, 90, HEED_F32);
    const heed_attention_arrays *a = &x.c.a;
    heed_attention_cache *cache = cache_new(&x, 90, 0);
    char *step = malloc((size_t)(a->B * 90 * a->H * a->E) * 4 + 1);
    assert_int_equal(heed_attention_forward(NULL, &x.c.opts, a), HEED_OK);
    for (int time = 0; time < 2; time++) {
        append(cache, &x, 0, 40);
        append(cache, &x, 60, 30);
        assert_int_equal(heed_attention_cache_truncate(cache, 71), HEED_E_ARG);
        assert_int_equal(heed_attention_cache_truncate(cache, -1), HEED_E_ARG);
        assert_int_equal(heed_attention_cache_truncate(cache, 40), HEED_OK);
        append(cache, &x, 40, 50);
        attend(cache, NULL, &x, 90, 90, step);
        same_rows(&x, a->out, 90, 0, 90, step);
        heed_attention_cache_reset(cache);
        assert_int_equal(heed_attention_cache_length(cache), 0);
    }
    heed_attention_cache_free(cache);
    free(step);
    na_free(&x.c);
}

static int heap_calls;

static void *counting(void *context, void *pointer, size_t bytes)
{
    (void)context;
    heap_calls += bytes > 0;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, bytes);
}

/* One position after another, past the capacity: nothing from the heap but at first. */
static void test_no_heap_once_warm(void **state)
{
    (void)state;
    enum { L = 120 };
    static float x[L * 8], out[8];
    heed_set_allocator(&(heed_allocator){counting, NULL});
    heed_attention_cache_opts o = {.B = 1, .H = 1, .D = 8, .E = 8, .capacity = 50};
    heed_attention_cache *cache;
    heed_attention_opts causal = {.causal = true};
    heed_attention_arrays a = {.B = 1, .T = 1, .H = 1, .D = 8, .E = 8, .q = x, .out = out,
                               .position = x, .P = 40};
    assert_int_equal(heed_attention_cache_new(&o, &cache), HEED_OK);
    int warm = 0;
    for (int t = 0; t < L; t++) {
        assert_int_equal(heed_attention_cache_append(cache, 1, x + 8 * t, NULL, x + 8 * t, NULL), HEED_OK);
        assert_int_equal(heed_attention_cache_attend(cache, NULL, &causal, &a), HEED_OK);
        if (t == 0)
            warm = heap_calls;
    }
    assert_int_equal(heap_calls, warm);
    heed_attention_cache_free(cache);
    heed_set_allocator(NULL);
}

/* bfloat16 is kept as it is. */
static void test_bfloat16(void **state)
{
    (void)state;
    enum { L = 300, D = 8 };
    static uint16_t x[L * D], out[L * D];
    uint16_t step[D];
    heed_rng rng = hd_rng(na_seed(), 45);
    for (int i = 0; i < L * D; i++) /* the upper half of a float */
        x[i] = (uint16_t)(0x3F00 + hd_random_below(&rng, 0x100) + (hd_random_below(&rng, 2) << 15));
    heed_attention_opts causal = {.causal = true};
    heed_attention_arrays a = {.dtype = HEED_BF16, .B = 1, .T = L, .S = L, .H = 1, .D = D, .E = D, .q = x,
                               .k = x, .v = x, .out = out};
    assert_int_equal(heed_attention_forward(NULL, &causal, &a), HEED_OK);
    heed_attention_cache_opts o = {.dtype = HEED_BF16, .B = 1, .H = 1, .D = D, .E = D, .capacity = L};
    heed_attention_cache *cache;
    assert_int_equal(heed_attention_cache_new(&o, &cache), HEED_OK);
    a.T = 1, a.k = a.v = NULL, a.out = step;
    for (int t = 0; t < L; t++) {
        a.q = x + t * D;
        assert_int_equal(heed_attention_cache_append(cache, 1, a.q, NULL, a.q, NULL), HEED_OK);
        assert_int_equal(heed_attention_cache_attend(cache, NULL, &causal, &a), HEED_OK);
        assert_memory_equal(step, out + t * D, sizeof step);
    }
    heed_attention_cache_free(cache);
}

/* Segments on a tape: values are those of the whole, the cached rows get no gradient, the new ones
 * that of attention over [cached, new]. */
static void test_segments(void **state)
{
    (void)state;
    enum { N = 5, H = 2, D = 3, L = 3 * N };
    heed_rng rng = hd_rng(na_seed(), 43);
    double q[L * H * D], k[L * H * D], v[L * H * D], whole[L * H * D];
    for (int i = 0; i < L * H * D; i++)
        q[i] = hd_random_normal(&rng), k[i] = hd_random_normal(&rng), v[i] = hd_random_normal(&rng);
    heed_attention_opts o = {.causal = true};
    heed_attention_arrays a = {.dtype = HEED_F64, .B = 1, .T = L, .S = L, .H = H, .D = D, .E = D,
                               .q = q, .k = k, .v = v, .out = whole};
    assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
    heed_attention_cache_opts how = {.dtype = HEED_F64, .B = 1, .H = H, .D = D, .E = D, .capacity = L};
    heed_attention_cache *cache;
    heed_tape *tape;
    assert_int_equal(heed_attention_cache_new(&how, &cache), HEED_OK);
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    const int64_t dim[] = {1, N, H, D}, wrong[] = {1, N, D, H};
    for (int part = 0; part < L / N; part++) {
        heed_tensor *in[3], *all[2], *out;
        double *from[3] = {q, k, v};
        heed_tape_reset(tape);
        for (int i = 0; i < 3; i++)
            assert_int_equal(heed_tensor_wrap(tape, HEED_F64, from[i] + part * N * H * D, dim, 4, true,
                                              &in[i]), HEED_OK);
        assert_int_equal(heed_attention_cache_extend(tape, cache, in[1], in[2], &all[0], &all[1]), HEED_OK);
        assert_int_equal(all[0]->dim[1], (part + 1) * N);
        assert_int_equal(heed_attention(tape, in[0], all[0], all[1], NULL, &o, &out, NULL), HEED_OK);
        assert_memory_equal(out->data, whole + part * N * H * D, sizeof(double) * N * H * D);
    }
    heed_tensor *bad, *good, *unused[2];
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, k, wrong, 4, true, &bad), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, k, dim, 4, true, &good), HEED_OK);
    assert_int_equal(heed_attention_cache_extend(tape, cache, bad, good, &unused[0], &unused[1]),
                     HEED_E_SHAPE);
    assert_int_equal(heed_attention_cache_extend(tape, cache, good, bad, &unused[0], &unused[1]),
                     HEED_E_SHAPE);
    assert_int_equal(heed_attention_cache_length(cache), L);
    heed_tape_free(tape);
    heed_attention_cache_free(cache);
}

static void test_refusals(void **state)
{
    (void)state;
    float x[64] = {0}, out[64];
    int64_t offsets[] = {0, 1};
    heed_attention_cache_opts good = {.B = 1, .H = 2, .D = 4, .E = 4, .capacity = 8};
    heed_attention_cache *cache = NULL;
#define REFUSED(wanted, ...)                                                                       \
    do {                                                                                           \
        heed_attention_cache_opts o = good;                                                        \
        __VA_ARGS__;                                                                               \
        assert_int_equal(heed_attention_cache_new(&o, &cache), wanted);                            \
        assert_int_equal(strncmp(heed_error_message(), "attention cache: ", 17), 0);               \
    } while (0)
    REFUSED(HEED_E_ARG, o.dtype = 9);
    REFUSED(HEED_E_SHAPE, o.B = -1);
    REFUSED(HEED_E_SHAPE, o.H = INT64_MAX);
    REFUSED(HEED_E_SHAPE, o.capacity = 0);
    REFUSED(HEED_E_ARG, o.drop = 9);
    REFUSED(HEED_E_ARG, o.drop = -1);
    REFUSED(HEED_E_ARG, o.reserved[1] = 1);
    REFUSED(HEED_E_NOMEM, o.D = o.E = o.capacity = INT32_MAX / 2; o.B = o.H = INT32_MAX / 2);
#undef REFUSED
    heed_attention_cache_free(NULL);
    assert_int_equal(heed_attention_cache_new(&good, &cache), HEED_OK);
    assert_int_equal(heed_attention_cache_append(cache, -1, x, NULL, x, NULL), HEED_E_SHAPE);
    assert_int_equal(heed_attention_cache_append(cache, 1, NULL, NULL, x, NULL), HEED_E_ARG);
    assert_int_equal(heed_attention_cache_append(cache, 1, x, NULL, NULL, NULL), HEED_E_ARG);
    assert_int_equal(heed_attention_cache_append(cache, 1, x, NULL, x, NULL), HEED_OK);
    heed_attention_opts o = {.causal = true}, ragged = {.offsets = offsets, .sequences = 1};
    heed_attention_arrays a = {.B = 1, .T = 1, .H = 2, .D = 4, .E = 4, .q = x, .out = out}, wide = a;
    assert_int_equal(heed_attention_cache_attend(cache, NULL, &o, &a), HEED_OK);
    assert_int_equal(heed_attention_cache_attend(cache, NULL, &ragged, &a), HEED_E_ARG);
    assert_int_equal(heed_attention_cache_attend(cache, NULL, NULL, &a), HEED_E_ARG);
    wide.D = 5;
    assert_int_equal(heed_attention_cache_attend(cache, NULL, &o, &wide), HEED_E_SHAPE);
    o.method = HEED_METHOD_LSH;
    assert_int_equal(heed_attention_cache_attend(cache, NULL, &o, &a), HEED_E_ARG);
    o.method = HEED_METHOD_EXACT, a.H = 3;
    assert_int_equal(heed_attention_cache_attend(cache, NULL, &o, &a), HEED_E_SHAPE);
    heed_attention_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incremental_is_full), cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_window_is_full),
        cmocka_unit_test(test_truncate_and_reset),  cmocka_unit_test(test_no_heap_once_warm),
        cmocka_unit_test(test_segments),            cmocka_unit_test(test_bfloat16),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of attention on bfloat16 arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/attention_bf16.h"
#include "../unit/attention/narrow.h"

static struct na_kind kind_of(int round)
{
    return (struct na_kind){HEED_F32, round % 10 ? 150 : 600, 70, round % 2};
}

static void run(heed_pool *pool, const struct na_call *c, const heed_attention_arrays *a, bool backward)
{
    heed_status status = backward ? heed_attention_backward(pool, &c->opts, a)
                                  : heed_attention_forward(pool, &c->opts, a);
    if (status != HEED_OK)
        na_print(c);
    assert_int_equal(status, HEED_OK);
}

/* The same bits on any number of threads, whatever scratch holds. */
static void test_threads_change_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 60);
    heed_pool *pool;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (int round = 0; round < 100; round++) {
        struct na_call c = na_random(&rng, kind_of(round));
        c.opts.dropout = round % 3 ? 0 : 0.2, c.a.dropout_key = (uint64_t)round;
        heed_attention_arrays a = na_narrow(&c);
        const void *results[] = {a.out, a.dq, a.dk, a.dv, a.lse, a.dposition, a.dtime};
        enum { RESULTS = sizeof results / sizeof *results };
        void *first[RESULTS];
        for (int i = 0; i < RESULTS; i++) {
            int64_t bytes = na_room(&c, results[i], 1);
            first[i] = malloc((size_t)bytes + 1);
            if (i > 4 && bytes > 0)
                memset((void *)results[i], 0, (size_t)bytes);
        }
        run(NULL, &c, &a, false), run(NULL, &c, &a, true);
        for (int i = 0; i < RESULTS; i++) {
            size_t bytes = (size_t)na_room(&c, results[i], 1);
            if (bytes == 0)
                continue; /* an array that is not there */
            memcpy(first[i], results[i], bytes);
            if (i > 4)
                memset((void *)results[i], 0, bytes);
        }
        a.scratch_bytes = heed_attention_scratch_bytes(pool, &c.opts, &a, true);
        a.scratch = na_memory(&c, (size_t)a.scratch_bytes);
        memset(a.scratch, 0xFF, (size_t)a.scratch_bytes); /* NaN */
        run(pool, &c, &a, false), run(pool, &c, &a, true);
        for (int i = 0; i < RESULTS; i++) {
            size_t bytes = (size_t)na_room(&c, results[i], 1);
            if (bytes > 0 && memcmp(first[i], results[i], bytes)) {
                na_print(&c);
                fail_msg("round %d: result %d differs on three threads", round, i);
            }
            free(first[i]);
        }
        na_free(&c);
    }
    heed_pool_free(pool);
}

/* NaN and infinity in later keys and values change no bit of what came before them: not the odd key
 * that shares a pair with one that is seen. */
static void test_future_changes_no_past(void **state)
{
    (void)state;
    static const uint16_t ugly[] = {0x7FC0, 0x7F80, 0xFF80, 0x7149, 0, 0xC040};
    heed_rng rng = hd_rng(na_seed(), 61);
    for (int round = 0; round < 200; round++) {
        struct na_call c = na_random(&rng, kind_of(round));
        c.opts.causal = true;
        c.opts.dropout = round % 3 ? 0 : 0.3;
        if (!c.opts.offsets && c.a.T != c.a.S) {
            na_free(&c);
            continue;
        }
        heed_attention_arrays a = na_narrow(&c);
        run(NULL, &c, &a, false);
        na_widen(&c, (void *)c.a.dout, a.out); /* kept there */
        int64_t now[4] = {0};
        for (int64_t b = 0; b < a.B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            now[b] = (int64_t)hd_random_below(&rng, (uint64_t)s.T + 1);
            for (int64_t i = now[b]; i < s.T; i++)
                for (int64_t h = 0; h < c.key_heads; h++) {
                    uint16_t *k = (uint16_t *)a.k + na_at(&c, a.k_stride, b, s.k_row, i, h);
                    uint16_t *v = (uint16_t *)a.v + na_at(&c, a.v_stride, b, s.k_row, i, h);
                    for (int64_t d = 0; d < a.D; d++)
                        k[d] = ugly[(i + d) % 6];
                    for (int64_t e = 0; e < a.E; e++)
                        v[e] = ugly[(i + e) % 6];
                }
        }
        run(NULL, &c, &a, false);
        na_widen(&c, c.a.out, a.out);
        for (int64_t b = 0; b < a.B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t t = 0; t < now[b]; t++)
                for (int64_t h = 0; h < a.H; h++) {
                    int64_t o = na_at(&c, a.out_stride, b, s.q_row, t, h);
                    if (memcmp((float *)c.a.out + o, (const float *)c.a.dout + o, (size_t)a.E * 4)) {
                        na_print(&c);
                        fail_msg("round %d: position %" PRId64 " changed before %" PRId64, round, t,
                                 now[b]);
                    }
                }
        }
        na_free(&c);
    }
}

/* Dropout leaves out what it leaves out in float32: on |v| that call gives sum w |v|, in which the bound
 * is 2 u + 2 e (see test_attention.c). */
static void test_dropout_is_that_of_float32(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 62);
    for (int round = 0; round < 100; round++) {
        struct na_call c = na_random(&rng, kind_of(round));
        c.opts.dropout = 0.4, c.a.dropout_key = (uint64_t)round;
        heed_attention_arrays a = na_narrow(&c);
        int64_t n = na_room(&c, c.a.out, sizeof(float));
        float *v = (float *)c.a.v, *want = malloc((size_t)n * sizeof(float) + 1);
        run(NULL, &c, &a, false), run(NULL, &c, &c.a, false);
        if (n)
            memcpy(want, c.a.out, (size_t)n * sizeof(float));
        na_widen(&c, (void *)c.a.dout, a.out);
        for (int64_t i = 0; i < na_room(&c, v, sizeof(float)); i++)
            v[i] = fabsf(v[i]);
        run(NULL, &c, &c.a, false);
        for (int64_t i = 0; i < n; i++) {
            double got = (double)((const float *)c.a.dout)[i], mass = fabs((double)((float *)c.a.out)[i]);
            if (c.opts.weight == HEED_WEIGHT_SILU)
                continue; /* its weights have either sign */
            /* and where a weight is subnormal, all of it, times |v| < 8 */
            double tiny = (double)(a.S + 1) * 8 * (double)FLT_MIN;
            assert_true(fabs(got - (double)want[i]) <= 0x1.1p-7 * mass + tiny);
        }
        free(want);
        na_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_future_changes_no_past),
        cmocka_unit_test(test_dropout_is_that_of_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

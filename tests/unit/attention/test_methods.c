/* SPDX-License-Identifier: Apache-2.0
 *
 * The linear and the hashed method against their definitions, over random shapes and layouts; and what
 * they say to options that make no sense for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods.h"

#define ROUNDS 100

static heed_pool *pool;

/* ---- comparisons */

static bool near(const struct na_call *c, const char *name, double got, struct na_value want, int64_t n,
                 int64_t b, int64_t h, int64_t i, int64_t d)
{
    if (na_near(c, got, want, n))
        return true;
    fprintf(stderr, "%s[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]: got %.9g, want %.9g, mass "
            "%.3g\n", name, b, i, h, d, got, want.value, want.mass);
    return false;
}

static bool check_forward(const struct me_head *m)
{
    const heed_attention_arrays *a = &m->c->a;
    struct na_value *out = calloc((size_t)a->E + 1, sizeof *out);
    int64_t n = a->D + m->s.S;
    bool good = true;
    for (int64_t t = 0; t < m->s.T && good; t++) {
        me_out(m, t, out);
        for (int64_t e = 0; e < a->E && good; e++)
            good = near(m->c, "out",
                        na_get(m->c, a->out, na_at(m->c, a->out_stride, m->s.b, m->s.q_row, t, m->h) + e),
                        out[e], n, m->s.b, m->h, t, e);
        for (int64_t j = 0; j < m->s.S && a->weights && good; j++)
            good = near(m->c, "weights",
                        na_get(m->c, a->weights, ((m->s.b * a->H + m->h) * m->s.T + t) * m->s.S + j),
                        m->w[t * m->s.S + j], n, m->s.b, m->h, t, j);
    }
    free(out);
    return good;
}

static bool check_rows(const struct me_head *m, const char *name, const void *array, const void *base,
                       const int64_t stride[3], int64_t row, int64_t rows, int64_t head,
                       int64_t width, const struct na_value *want)
{
    const heed_attention_arrays *a = &m->c->a;
    int64_t n = (a->D + a->E + m->s.S + m->s.T) * (a->H / me_kv_heads(m->c));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < width; d++) {
            int64_t at = na_at(m->c, stride, m->s.b, row, i, head) + d;
            double old = a->accumulate ? na_get(m->c, base, at) : 0;
            struct na_value x = want[i * width + d];
            na_add(&x, old, fabs(old));
            if (!near(m->c, name, na_get(m->c, array, at), x, n, m->s.b, head, i, d))
                return false;
        }
    return true;
}

/* What the arrays of gradients held before: dq, dk, dv. */
struct base {
    void *array[3];
};

/* One head of keys with the heads of queries that share it. */
static bool check_group(const struct na_call *c, int64_t b, int64_t kv, const struct base *base,
                        bool *clear)
{
    const heed_attention_arrays *a = &c->a;
    struct na_sequence s = na_sequence(c, b);
    int64_t group = a->H / me_kv_heads(c);
    struct na_value *dk = calloc((size_t)(s.S * a->D) + 1, sizeof *dk);
    struct na_value *dv = calloc((size_t)(s.S * a->E) + 1, sizeof *dv);
    bool lsh = c->opts.method == HEED_METHOD_LSH, good = true;
    for (int64_t h = kv * group; h < (kv + 1) * group && good && *clear; h++) {
        struct me_head m = me_head(c, b, h);
        struct na_value *dp = calloc((size_t)(s.T * s.S) + 1, sizeof *dp);
        struct na_value *dq = calloc((size_t)(s.T * a->D) + 1, sizeof *dq);
        if (lsh) {
            *clear = me_lsh_pairs(&m);
            me_lsh_weights(&m);
        } else {
            me_linear(&m);
        }
        me_send(&m, dv, dp);
        if (lsh)
            me_lsh_back(&m, dp, dq);
        else
            me_linear_back(&m, dp, dq, dk);
        good = !*clear || (check_forward(&m) &&
                           check_rows(&m, "dq", a->dq, base->array[0], a->q_stride, s.q_row, s.T, h,
                                      a->D, dq));
        if (good && *clear && h == (kv + 1) * group - 1)
            good = (lsh || check_rows(&m, "dk", a->dk, base->array[1], a->k_stride, s.k_row, s.S, kv,
                                      a->D, dk)) &&
                   check_rows(&m, "dv", a->dv, base->array[2], a->v_stride, s.k_row, s.S, kv, a->E, dv);
        free(dp), free(dq);
        me_head_free(&m);
    }
    free(dk), free(dv);
    return good;
}

static bool check_call(const struct na_call *c, const struct base *base, bool *clear)
{
    bool good = true;
    for (int64_t b = 0; b < c->a.B && good; b++)
        for (int64_t kv = 0; kv < me_kv_heads(c) && good && *clear; kv++)
            good = check_group(c, b, kv, base, clear);
    return good;
}

/* A copy of an array that is as long as its page allows. */
static void *copy_of(const struct na_call *c, const void *array)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; array && i < c->maps; i++) {
        const char *map = c->map[i], *end = map + c->map_bytes[i] - page;
        if ((const char *)array >= map && (const char *)array <= end) {
            size_t bytes = (size_t)(end - (const char *)array);
            return memcpy(malloc(bytes + 1), array, bytes);
        }
    }
    return NULL;
}

static void against_definition(heed_attention_method method, struct na_kind kind, bool scratch)
{
    heed_rng rng = hd_rng(na_seed(), 100 + (uint64_t)method * 10 + kind.dtype * 2 + kind.ragged);
    int unclear = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct na_call c = me_random(&rng, kind, method);
        struct base base = {{copy_of(&c, c.a.dq), copy_of(&c, c.a.dk), copy_of(&c, c.a.dv)}};
        heed_pool *lent = hd_random_below(&rng, 2) ? pool : NULL;
        bool clear = true;
        c.a.accumulate = (int64_t)hd_random_below(&rng, 2);
        if (scratch) {
            c.a.scratch_bytes = heed_attention_scratch_bytes(lent, &c.opts, &c.a, true);
            assert_true(c.a.scratch_bytes > 0);
            c.a.scratch = na_memory(&c, c.a.scratch_bytes);
        }
        bool good = heed_attention_forward(lent, &c.opts, &c.a) == HEED_OK &&
                    heed_attention_backward(lent, &c.opts, &c.a) == HEED_OK &&
                    check_call(&c, &base, &clear);
        if (!good) {
            me_print(&c);
            fprintf(stderr, "round %d, seed %" PRIu64 ", %s\n", round, na_seed(),
                    heed_error_message());
        }
        unclear += !clear;
        for (int i = 0; i < 3; i++)
            free(base.array[i]);
        na_free(&c);
        assert_true(good);
    }
    assert_true(unclear * 20 <= ROUNDS);
}

static void test_linear(void **state)
{
    (void)state;
    against_definition(HEED_METHOD_LINEAR, (struct na_kind){HEED_F32, 150, 40, false}, false);
    against_definition(HEED_METHOD_LINEAR, (struct na_kind){HEED_F32, 150, 40, true}, true);
    against_definition(HEED_METHOD_LINEAR, (struct na_kind){HEED_F64, 150, 20, false}, true);
    against_definition(HEED_METHOD_LINEAR, (struct na_kind){HEED_F64, 150, 20, true}, false);
}

static void test_lsh(void **state)
{
    (void)state;
    against_definition(HEED_METHOD_LSH, (struct na_kind){HEED_F32, 150, 30, false}, false);
    against_definition(HEED_METHOD_LSH, (struct na_kind){HEED_F32, 150, 30, true}, true);
    against_definition(HEED_METHOD_LSH, (struct na_kind){HEED_F64, 150, 15, false}, true);
    against_definition(HEED_METHOD_LSH, (struct na_kind){HEED_F64, 150, 15, true}, false);
}

/* One sequence of four, all dense: each row breaks one thing, whose name is in the sentence. */
static void test_refusals(void **state)
{
    (void)state;
    float x[64] = {0}, y[64] = {0};
    double slopes[] = {1};
    int64_t ones[] = {1};
    uint8_t keep[16] = {0};
    heed_attention_arrays good = {.B = 1, .T = 4, .S = 4, .H = 1, .D = 4, .E = 4, .q = x, .k = x,
                                  .v = x, .out = x, .lse = x, .dout = x, .dq = x, .dk = x, .dv = x};
#define REFUSED(wanted, named, which, backward, ...)                                               \
    do {                                                                                           \
        heed_attention_arrays a = good;                                                            \
        heed_attention_opts o = {.method = which};                                                 \
        __VA_ARGS__;                                                                               \
        heed_status got = (backward) ? heed_attention_backward(NULL, &o, &a)                       \
                                     : heed_attention_forward(NULL, &o, &a);                       \
        if (got != (wanted) || !strstr(heed_error_message(), named))                               \
            print_message("# " #__VA_ARGS__ ": %s\n", heed_error_message());                       \
        assert_int_equal(got, wanted);                                                             \
        assert_non_null(strstr(heed_error_message(), named));                                      \
        if (!a.scratch)                                                                            \
            assert_int_equal(heed_attention_scratch_bytes(NULL, &o, &a, backward), 0);             \
    } while (0)
    for (int which = HEED_METHOD_LINEAR; which <= HEED_METHOD_LSH; which++) {
        heed_attention_method m = (heed_attention_method)which;
        REFUSED(HEED_E_ARG, "score", m, false, o.score = HEED_SCORE_COSINE);
        REFUSED(HEED_E_ARG, "softmax", m, false, o.weight = HEED_WEIGHT_SILU);
        REFUSED(HEED_E_ARG, "shift", m, false, o.shift = 1);
        REFUSED(HEED_E_ARG, "keep", m, false, o.keep = keep);
        REFUSED(HEED_E_ARG, "mask", m, false, o.mask = x);
        REFUSED(HEED_E_ARG, "window", m, false, o.window = 2);
        REFUSED(HEED_E_ARG, "globals", m, false, o.globals = 2);
        REFUSED(HEED_E_ARG, "dilation", m, false, o.dilation = ones);
        REFUSED(HEED_E_ARG, "alibi", m, false, o.alibi = slopes);
        REFUSED(HEED_E_ARG, "rotary", m, false, o.rotary = HEED_ROTARY_PAIRS);
        REFUSED(HEED_E_ARG, "dropout", m, false, o.dropout = 0.1);
        REFUSED(HEED_E_ARG, "position", m, false, a.position = x; a.P = 2);
        REFUSED(HEED_E_ARG, "time", m, false, a.time = x; a.W = 2);
        REFUSED(HEED_E_ARG, "element type", m, false, a.dtype = 2);
        REFUSED(HEED_E_ARG, "theta", m, false, a.theta = x);
        REFUSED(HEED_E_ARG, "lse", m, true, a.lse = NULL);
        REFUSED(HEED_E_ARG, "scratch", m, false, a.scratch = x; a.scratch_bytes = sizeof x);
    }
    REFUSED(HEED_E_ARG, "scale", HEED_METHOD_LINEAR, false, o.scale = 2);
    REFUSED(HEED_E_SHAPE, "heads", HEED_METHOD_LINEAR, false, a.kv_heads = 2);
    REFUSED(HEED_E_SHAPE, "heads", HEED_METHOD_LINEAR, false, a.kv_heads = -1);
    REFUSED(HEED_E_ARG, "dk", HEED_METHOD_LINEAR, true, a.dk = NULL);
    REFUSED(HEED_E_ARG, "k must be", HEED_METHOD_LSH, false, a.k = y);
    REFUSED(HEED_E_ARG, "k must be", HEED_METHOD_LSH, false, a.k_stride[1] = 4);
    REFUSED(HEED_E_SHAPE, "keys", HEED_METHOD_LSH, false, a.S = 3);
    REFUSED(HEED_E_SHAPE, "heads", HEED_METHOD_LSH, false, a.H = 2; a.kv_heads = 1);
    REFUSED(HEED_E_ARG, "lsh_rounds", HEED_METHOD_LSH, false, o.lsh_rounds = -1);
    REFUSED(HEED_E_ARG, "lsh_rounds", HEED_METHOD_LSH, false, o.lsh_rounds = 65);
    REFUSED(HEED_E_ARG, "lsh_chunk", HEED_METHOD_LSH, false, o.lsh_chunk = -1);
    REFUSED(HEED_E_ARG, "lsh_buckets", HEED_METHOD_LSH, false, o.lsh_buckets = 3);
    REFUSED(HEED_E_ARG, "lsh_buckets", HEED_METHOD_LSH, false, o.lsh_buckets = (1 << 20) + 2);
    REFUSED(HEED_E_ARG, "lsh_buckets", HEED_METHOD_LSH, false, o.lsh_buckets = -2);
#undef REFUSED
    heed_attention_opts most = {.method = HEED_METHOD_LSH, .lsh_rounds = 64, .lsh_buckets = 1 << 20};
    heed_attention_arrays a = good;
    a.out = y;
    assert_int_equal(heed_attention_forward(NULL, &most, &a), HEED_OK);
}

/* On a tape the keys of LSH are the same tensor. */
static void test_tape_refusal(void **state)
{
    (void)state;
    heed_tape *tape;
    heed_tensor *q, *k, *out;
    float x[32] = {0};
    heed_attention_opts o = {.method = HEED_METHOD_LSH};
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    const int64_t dim[] = {1, 4, 2, 4};
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, dim, 4, true, &q), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, dim, 4, true, &k), HEED_OK);
    assert_int_equal(heed_attention(tape, q, k, k, NULL, &o, &out, NULL), HEED_E_ARG);
    assert_non_null(strstr(heed_error_message(), "same tensor"));
    assert_int_equal(heed_attention(tape, q, q, k, NULL, &o, &out, NULL), HEED_OK);
    heed_tape_free(tape);
}

static int make_pool(void **state)
{
    (void)state;
    return heed_pool_new(2, &pool) == HEED_OK ? 0 : -1;
}

static int free_pool(void **state)
{
    (void)state;
    heed_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear), cmocka_unit_test(test_lsh), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tape_refusal),
    };
    return cmocka_run_group_tests(tests, make_pool, free_pool);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain calls against the definition, over random shapes and layouts, and what they say to options
 * that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/attention_bf16.h"
#include "narrow.h"

#define ROUNDS 300

static heed_pool *pool;

/* bfloat16. The definition is on the same numbers, so what they lost is no error. With u = 2^-8, the unit
 * roundoff, and e = 2^-13, the error of exp, a weight is off by u + e, the sum of weights by e, and
 * the result is rounded: out by 2 u + 2 e of sum w |v|, beside what float32 has. The weights for the
 * caller, in float32, have the sum's e alone. In the backward delta, made of that out, is off by as much
 * of sum w |dO| |v|, a weight by lse's e, and each gradient is rounded: together under 4 u of the
 * mass. */
#define BF16_OUT (2 * 0x1p-8 + 2 * HD_BF16_EXP_ERROR + 0x1p-15)
#define BF16_WEIGHT (1.1 * HD_BF16_EXP_ERROR)
#define BF16_BACK (4 * 0x1p-8)

/* sum w |v|: the mass of out in which an error of weights alone counts. */
static double mass_of_out(const struct na_call *c, const struct na_sequence *s, int64_t h,
                          const struct na_value *w, int64_t e)
{
    double mass = 0;
    for (int64_t j = 0; j < s->S; j++)
        if (w[j].mass > 0)
            mass += fabs(w[j].value * na_get(c, c->a.v, na_at(c, c->a.v_stride, s->b, s->k_row, j,
                                                              h / c->group) + e));
    return mass;
}

static bool check_forward(const struct na_call *c)
{
    const heed_attention_arrays *a = &c->a;
    struct na_value *out = calloc((size_t)a->E + 1, sizeof *out);
    bool good = true;
    for (int64_t b = 0; b < a->B && good; b++) {
        struct na_sequence s = na_sequence(c, b);
        struct na_value *w = calloc((size_t)s.S + 1, sizeof *w);
        double *slope = calloc((size_t)s.S + 1, sizeof *slope);
        for (int64_t h = 0; h < a->H && good; h++) {
            for (int64_t t = 0; t < s.T && good; t++) {
                int64_t o = na_at(c, a->out_stride, b, s.q_row, t, h);
                na_row(c, &s, h, t, w, slope);
                na_out(c, &s, h, w, out);
                for (int64_t e = 0; e < a->E && good; e++) {
                    double got = na_get(c, a->out, o + e);
                    double more = c->slack > 0 ? c->slack * mass_of_out(c, &s, h, w, e) : 0;
                    good = na_within(c, got, out[e], a->D + s.S, more);
                    if (!good)
                        fprintf(stderr, "out[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                                "]: got %.9g, want %.9g\n", b, t, h, e, got, out[e].value);
                }
                for (int64_t j = 0; j < s.S && a->weights && good; j++) {
                    double got = na_get(c, a->weights, ((b * a->H + h) * s.T + t) * s.S + j);
                    double more = c->slack > 0 ? BF16_WEIGHT * fabs(w[j].value) : 0;
                    good = na_within(c, got, w[j], a->D + s.S, more);
                    if (!good)
                        fprintf(stderr, "weights[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                                "]: got %.9g, want %.9g\n", b, h, t, j, got, w[j].value);
                }
            }
        }
        free(w), free(slope);
    }
    free(out);
    return good;
}

/* `base` is what stood in the array before, where gradients are added. */
static bool check_rows(const struct na_call *c, const char *name, const void *array, const void *base,
                       const int64_t stride[3], const struct na_sequence *s, int64_t row, int64_t rows,
                       int64_t h, int64_t width, const struct na_value *want)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < width; d++) {
            int64_t at = na_at(c, stride, s->b, row, i, h) + d;
            double old = c->a.accumulate ? na_get(c, base, at) : 0, got = na_get(c, array, at);
            struct na_value x = want[i * width + d];
            x.value += old, x.mass += fabs(old);
            if (!na_near(c, got, x, c->a.D + c->a.E + s->S + s->T * c->group)) {
                fprintf(stderr, "%s[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                        "]: got %.9g, want %.9g\n", name, s->b, i, h, d, got, x.value);
                return false;
            }
        }
    return true;
}

static bool check_table(const struct na_call *c, const char *name, const void *table, int64_t n,
                        const struct na_value *want, int64_t terms)
{
    for (int64_t i = 0; i < n; i++)
        if (!na_near(c, na_get(c, table, i), want[i], terms)) {
            fprintf(stderr, "%s[%" PRId64 "]: got %.9g, want %.9g\n", name, i, na_get(c, table, i),
                    want[i].value);
            return false;
        }
    return true;
}

static bool check_backward(const struct na_call *c, const void *const base[3])
{
    const heed_attention_arrays *a = &c->a;
    struct na_gradients g = {
        .dposition = calloc((size_t)(a->H * a->P) + 1, sizeof(struct na_value)),
        .dtime = calloc((size_t)(a->H * a->W) + 1, sizeof(struct na_value)),
        .dtheta = calloc((size_t)(a->H * c->theta) + 1, sizeof(struct na_value))};
    bool good = true;
    int64_t terms = a->D + a->E;
    for (int64_t b = 0; b < a->B && good; b++) {
        struct na_sequence s = na_sequence(c, b);
        terms += s.T * s.S;
        for (int64_t key_head = 0; key_head < c->key_heads && good; key_head++) {
            g.dk = calloc((size_t)(s.S * a->D) + 1, sizeof *g.dk);
            g.dv = calloc((size_t)(s.S * a->E) + 1, sizeof *g.dv);
            for (int64_t i = 0; i < c->group && good; i++) {
                int64_t h = key_head * c->group + i;
                g.dq = calloc((size_t)(s.T * a->D) + 1, sizeof *g.dq);
                na_backward(c, &s, h, &g);
                good = check_rows(c, "dq", a->dq, base[0], a->q_stride, &s, s.q_row, s.T, h, a->D,
                                  g.dq);
                free(g.dq);
            }
            good = good &&
                   check_rows(c, "dk", a->dk, base[1], a->k_stride, &s, s.k_row, s.S, key_head, a->D,
                              g.dk) &&
                   check_rows(c, "dv", a->dv, base[2], a->v_stride, &s, s.k_row, s.S, key_head, a->E,
                              g.dv);
            free(g.dk), free(g.dv);
        }
    }
    good = good && check_table(c, "dposition", a->dposition, a->H * a->P, g.dposition, terms) &&
           check_table(c, "dtime", a->dtime, a->H * a->W, g.dtime, terms) &&
           check_table(c, "dtheta", a->dtheta, a->H * c->theta, g.dtheta, terms);
    free(g.dposition), free(g.dtime), free(g.dtheta);
    return good;
}

/* A copy of an array that starts where the original does and is as long as its page allows. */
static void *copy_of(const struct na_call *c, const void *array)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < c->maps; i++) {
        const char *map = c->map[i], *end = map + c->map_bytes[i] - page;
        if ((const char *)array >= map && (const char *)array <= end) {
            size_t bytes = (size_t)(end - (const char *)array);
            void *copy = malloc(bytes + 1);
            return memcpy(copy, array, bytes);
        }
    }
    return NULL;
}

static void against_definition(struct na_kind kind)
{
    heed_rng rng = hd_rng(na_seed(), (uint64_t)kind.dtype * 2 + kind.ragged);
    for (int round = 0; round < ROUNDS; round++) {
        struct na_call c = na_random(&rng, kind);
        void *base[3] = {copy_of(&c, c.a.dq), copy_of(&c, c.a.dk), copy_of(&c, c.a.dv)};
        heed_pool *lent = hd_random_below(&rng, 2) ? pool : NULL;
        c.a.accumulate = (int64_t)hd_random_below(&rng, 2);
        bool good = heed_attention_forward(lent, &c.opts, &c.a) == HEED_OK && check_forward(&c) &&
                    heed_attention_backward(lent, &c.opts, &c.a) == HEED_OK &&
                    check_backward(&c, (const void *const *)base);
        if (!good) {
            na_print(&c);
            fprintf(stderr, "round %d, seed %" PRIu64 ", %s\n", round, na_seed(),
                    heed_error_message());
        }
        for (int i = 0; i < 3; i++)
            free(base[i]);
        na_free(&c);
        assert_true(good);
    }
}

static void test_float32(void **state)
{
    (void)state;
    against_definition((struct na_kind){HEED_F32, 90, 70, false});
}

static void test_float32_ragged(void **state)
{
    (void)state;
    against_definition((struct na_kind){HEED_F32, 90, 70, true});
}

static void test_float64(void **state)
{
    (void)state;
    against_definition((struct na_kind){HEED_F64, 70, 40, false});
}

static void test_float64_ragged(void **state)
{
    (void)state;
    against_definition((struct na_kind){HEED_F64, 70, 40, true});
}

/* Past one block of keys and one chunk of queries. */
static void test_long(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 9);
    for (int round = 0; round < 12; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 600, 20, round % 2});
        const void *base[3] = {c.a.dq, c.a.dk, c.a.dv};
        bool good = heed_attention_forward(pool, &c.opts, &c.a) == HEED_OK && check_forward(&c) &&
                    heed_attention_backward(pool, &c.opts, &c.a) == HEED_OK &&
                    check_backward(&c, base);
        if (!good)
            na_print(&c);
        na_free(&c);
        assert_true(good);
    }
}

/* Windows of every width over several blocks, so that tiles end on each side of the band's edges; and
 * queries that stand before the first key. */
static void test_windows(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 13);
    for (int round = 0; round < 160; round++) {
        struct na_call c = {.key_heads = 1, .group = 1};
        heed_attention_arrays *a = &c.a;
        const void *base[3] = {NULL};
        a->dtype = HEED_F32, a->B = a->H = a->D = a->E = 1, a->S = 200;
        a->T = round % 4 == 3 ? 230 : 200;
        c.q_rows = a->T, c.k_rows = a->S;
        c.opts.window = 1 + round / 2, c.opts.causal = round % 2 == 0;
        c.opts.globals = round % 4 > 1 ? 3 : 0;
        a->q = na_numbers(&c, &rng, a->T, 1), a->dq = na_numbers(&c, &rng, a->T, 1);
        a->k = na_numbers(&c, &rng, a->S, 1), a->dk = na_numbers(&c, &rng, a->S, 1);
        a->v = na_numbers(&c, &rng, a->S, 1), a->dv = na_numbers(&c, &rng, a->S, 1);
        a->out = na_numbers(&c, &rng, a->T, 1), a->dout = na_numbers(&c, &rng, a->T, 1);
        a->lse = na_numbers(&c, &rng, a->T, 1);
        for (int i = 0; i < 2; i++)
            a->q_stride[1 + i] = a->k_stride[1 + i] = a->v_stride[1 + i] = a->out_stride[1 + i] = 1;
        bool good = heed_attention_forward(pool, &c.opts, a) == HEED_OK && check_forward(&c) &&
                    heed_attention_backward(pool, &c.opts, a) == HEED_OK && check_backward(&c, base);
        if (!good)
            na_print(&c);
        na_free(&c);
        assert_true(good);
    }
}

/* ---- bfloat16 */

/* The call in bfloat16, its results brought to the arrays of c, where they are looked at. */
static bool check_bf16(struct na_call *c, heed_pool *lent)
{
    heed_attention_arrays *a = &c->a, n = na_narrow(c);
    void *base[3] = {copy_of(c, a->dq), copy_of(c, a->dk), copy_of(c, a->dv)};
    bool good = heed_attention_forward(lent, &c->opts, &n) == HEED_OK;
    na_widen(c, a->out, n.out);
    c->slack = BF16_OUT;
    good = good && check_forward(c) && heed_attention_backward(lent, &c->opts, &n) == HEED_OK;
    na_widen(c, a->dq, n.dq), na_widen(c, a->dk, n.dk), na_widen(c, a->dv, n.dv);
    c->slack = BF16_BACK;
    good = good && check_backward(c, (const void *const *)base);
    for (int i = 0; i < 3; i++)
        free(base[i]);
    return good;
}

static void against_bf16(uint64_t stream, struct na_kind kind, int rounds)
{
    heed_rng rng = hd_rng(na_seed(), stream);
    for (int round = 0; round < rounds; round++) {
        struct na_call c = na_random(&rng, kind);
        c.a.accumulate = (int64_t)hd_random_below(&rng, 2);
        bool good = check_bf16(&c, hd_random_below(&rng, 2) ? pool : NULL);
        if (!good) {
            na_print(&c);
            fprintf(stderr, "bfloat16, round %d, seed %" PRIu64 ", %s\n", round, na_seed(),
                    heed_error_message());
        }
        na_free(&c);
        assert_true(good);
    }
}

static void test_bf16(void **state)
{
    (void)state;
    against_bf16(20, (struct na_kind){HEED_F32, 90, 70, false}, ROUNDS);
}

static void test_bf16_ragged(void **state)
{
    (void)state;
    against_bf16(21, (struct na_kind){HEED_F32, 90, 70, true}, ROUNDS);
}

static void test_bf16_long(void **state)
{
    (void)state;
    against_bf16(22, (struct na_kind){HEED_F32, 600, 20, false}, 12);
}

/* One sequence of four, all dense: each row breaks one thing. */
static void test_refusals(void **state)
{
    (void)state;
    float x[64] = {0};
    int64_t falling[] = {0, 3, 2}, late[] = {1, 4}, longer[] = {5}, even[] = {0, 4};
    int64_t two[] = {0, 2, 4}, one = 1, none = 0, huge = INT64_MAX;
    double bad = (double)NAN;
    uint8_t byte = 1;
    heed_attention_arrays good = {.B = 1, .T = 4, .S = 4, .H = 1, .D = 4, .E = 4, .q = x, .k = x,
                                  .v = x, .out = x, .lse = x, .dout = x, .dq = x, .dk = x, .dv = x};
#define REFUSED(wanted, backward, ...)                                                             \
    do {                                                                                           \
        heed_attention_arrays a = good;                                                            \
        heed_attention_opts o = {0};                                                               \
        __VA_ARGS__;                                                                               \
        heed_status got = (backward) ? heed_attention_backward(NULL, &o, &a)                       \
                                     : heed_attention_forward(NULL, &o, &a);                       \
        if (got != (wanted))                                                                       \
            print_message("# " #__VA_ARGS__ ": %s\n", heed_status_name(got));                      \
        assert_int_equal(got, wanted);                                                             \
        assert_int_equal(strncmp(heed_error_message(), "attention: ", 11), 0);                     \
        assert_int_equal(heed_attention_scratch_bytes(NULL, &o, &a, backward) == 0,                \
                         a.scratch == NULL);                                                       \
    } while (0)
    REFUSED(HEED_E_ARG, false, o.scale = (double)NAN);
    REFUSED(HEED_E_ARG, false, o.scale = (double)INFINITY);
    REFUSED(HEED_E_ARG, false, o.dropout = 1);
    REFUSED(HEED_E_ARG, false, o.dropout = -0.1);
    REFUSED(HEED_E_ARG, false, o.dropout = (double)NAN);
    REFUSED(HEED_E_ARG, false, o.weight = (heed_attention_weight)7);
    REFUSED(HEED_E_ARG, false, o.reserved[2] = 1);
    REFUSED(HEED_E_ARG, false, a.reserved[3] = 1);
    REFUSED(HEED_E_ARG, false, a.dtype = 3);
    REFUSED(HEED_E_SHAPE, false, a.T = -1);
    REFUSED(HEED_E_SHAPE, false, a.D = INT64_MAX);
    REFUSED(HEED_E_ARG, false, a.k = NULL);
    REFUSED(HEED_E_ARG, false, a.out = NULL);
    REFUSED(HEED_E_ARG, true, a.dk = NULL);
    REFUSED(HEED_E_ARG, true, a.lse = NULL);
    REFUSED(HEED_E_ARG, false, o.lengths = longer);
    REFUSED(HEED_E_ARG, false, o.offsets = falling; o.sequences = a.B = 2);
    REFUSED(HEED_E_ARG, false, o.offsets = late; o.sequences = 1);
    REFUSED(HEED_E_SHAPE, false, o.offsets = even; o.sequences = 2);
    REFUSED(HEED_E_ARG, false, o.offsets = even; o.sequences = 1; o.lengths = even);
    REFUSED(HEED_E_SHAPE, false, a.position = x);
    REFUSED(HEED_E_SHAPE, false, a.time = x);
    REFUSED(HEED_E_ARG, false, a.time = x; a.W = 3);
    REFUSED(HEED_E_ARG, false, a.scratch = x; a.scratch_bytes = sizeof x);
    REFUSED(HEED_E_ARG, false, o.shift = (double)NAN);
    REFUSED(HEED_E_ARG, false, o.shift = -(double)INFINITY);
    REFUSED(HEED_E_SHAPE, false, a.kv_heads = 2);
    REFUSED(HEED_E_SHAPE, false, a.kv_heads = -1);
    REFUSED(HEED_E_SHAPE, true, a.H = 3; a.kv_heads = 2);
    REFUSED(HEED_E_SHAPE, false, a.H = 0; a.kv_heads = 2);
    REFUSED(HEED_E_ARG, false, o.window = -1);
    REFUSED(HEED_E_ARG, false, o.window = INT64_MAX);
    REFUSED(HEED_E_ARG, false, o.window = 1; o.globals = -1);
    REFUSED(HEED_E_ARG, false, o.window = 1; o.globals = INT64_MAX);
    REFUSED(HEED_E_ARG, false, o.globals = 1);
    REFUSED(HEED_E_ARG, false, o.dilation = &one);
    REFUSED(HEED_E_ARG, false, o.window = 1; o.dilation = &none);
    REFUSED(HEED_E_ARG, false, o.window = 1; o.dilation = &huge);
    REFUSED(HEED_E_ARG, false, o.alibi = &bad);
    REFUSED(HEED_E_SHAPE, false, o.offsets = two; o.sequences = a.B = 2; o.keep = &byte);
    REFUSED(HEED_E_SHAPE, true, o.offsets = two; o.sequences = a.B = 2; o.mask = x);
    REFUSED(HEED_E_ARG, false, o.method = (heed_attention_method)7);
    REFUSED(HEED_E_ARG, false, o.score = (heed_attention_score)-1);
    REFUSED(HEED_E_ARG, false, o.score = HEED_SCORE_FEATURES + 1);
    REFUSED(HEED_E_ARG, false, o.score = HEED_SCORE_BILINEAR);
    REFUSED(HEED_E_ARG, false, o.score = HEED_SCORE_FEATURES);
    REFUSED(HEED_E_ARG, true, o.score = HEED_SCORE_ADDITIVE);
    REFUSED(HEED_E_ARG, false, a.theta = x);
    REFUSED(HEED_E_ARG, true, a.dtheta = x);
    REFUSED(HEED_E_ARG, false, o.score = HEED_SCORE_COSINE; a.theta = x);
    REFUSED(HEED_E_ARG, false, o.score = HEED_SCORE_EUCLID; a.scratch = x; a.scratch_bytes = 99);
    REFUSED(HEED_E_ARG, false, o.rotary = (heed_rotary)3);
    REFUSED(HEED_E_ARG, false, o.rotary = HEED_ROTARY_PAIRS; a.D = 3);
    REFUSED(HEED_E_ARG, false, o.rotary = HEED_ROTARY_PAIRS; o.rotary_dims = 1);
    REFUSED(HEED_E_ARG, false, o.rotary = HEED_ROTARY_HALVES; o.rotary_dims = 6);
    REFUSED(HEED_E_ARG, false, o.rotary_dims = -2);
    REFUSED(HEED_E_ARG, false, o.rotary = HEED_ROTARY_HALVES; o.rotary_base = -1);
    REFUSED(HEED_E_ARG, false, o.rotary = HEED_ROTARY_HALVES; o.rotary_base = (double)NAN);
    REFUSED(HEED_E_ARG, false, o.rotary_base = (double)INFINITY);
    REFUSED(HEED_E_ARG, false, o.rotary_base = 500);
    REFUSED(HEED_E_ARG, true, o.rotary_dims = 2);
    REFUSED(HEED_E_ARG, false, o.lsh_rounds = 2);
    REFUSED(HEED_E_ARG, false, o.lsh_chunk = 16);
    REFUSED(HEED_E_ARG, true, o.lsh_buckets = 4);
    REFUSED(HEED_E_ARG, false, o.lsh_seed = 1);
    REFUSED(HEED_E_ARG, false, o.method = HEED_METHOD_LINEAR; o.lsh_seed = 1);
    REFUSED(HEED_E_RANGE, false, a.B = a.T = a.S = INT32_MAX; a.H = 4);
    REFUSED(HEED_E_RANGE, true, a.B = a.T = a.S = a.D = a.E = INT32_MAX);
    REFUSED(HEED_E_RANGE, false, a.B = a.T = a.S = INT32_MAX; a.D = a.E = 0; a.weights = x);
#undef REFUSED
    assert_int_equal(heed_attention_forward(NULL, NULL, &good), HEED_E_ARG);
}

/* Of either sign, and of either element type. */
static void assert_zeros(const void *x, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i++)
        assert_int_equal(((const uint8_t *)x)[i] & 0x7F, 0);
}

/* One sequence of T queries and S keys, two heads, all zeros; an array without numbers is NULL. */
static void call_empty(heed_attention_opts o, int64_t dtype, int64_t T, int64_t S, int64_t D)
{
    const int64_t row = 2 * (dtype == HEED_BF16 ? 2 : 4);
    float x[16] = {0}, lse[16], out[16], dq[16], dk[16], dv[16];
    bool q = T > 0, k = S > 0;
    heed_attention_arrays a = {.dtype = dtype, .B = 1, .T = T, .S = S, .H = 2, .D = D, .E = 2,
                               .q = q ? x : NULL, .k = k ? x : NULL, .v = k ? x : NULL,
                               .out = q ? out : NULL, .lse = q ? lse : NULL, .dout = q ? x : NULL,
                               .dq = q ? dq : NULL, .dk = k ? dk : NULL, .dv = k ? dv : NULL};
    for (int causal = 0; causal < 2; causal++) {
        o.causal = causal;
        memset(out, 1, sizeof out), memset(dq, 1, sizeof dq);
        memset(dk, 1, sizeof dk), memset(dv, 1, sizeof dv);
        assert_int_equal(heed_attention_forward(pool, &o, &a), HEED_OK);
        assert_zeros(out, T * 2 * row);
        assert_int_equal(heed_attention_backward(pool, &o, &a), HEED_OK);
        assert_zeros(dq, T * D * row), assert_zeros(dk, S * D * row), assert_zeros(dv, S * 2 * row);
    }
}

/* No queries, no keys, neither, or rows of no width. */
static void test_empty(void **state)
{
    static const int64_t sizes[][2] = {{0, 0}, {0, 3}, {3, 0}};
    const heed_attention_opts with[] = {{0}, {.method = HEED_METHOD_LINEAR},
                                        {.score = HEED_SCORE_COSINE},
                                        {.rotary = HEED_ROTARY_HALVES}};
    (void)state;
    for (int i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizeof with / sizeof *with; j++)
            call_empty(with[j], HEED_F32, sizes[i][0], sizes[i][1], 2);
        call_empty(with[0], HEED_BF16, sizes[i][0], sizes[i][1], 2);
    }
    call_empty((heed_attention_opts){.method = HEED_METHOD_LSH}, HEED_F32, 0, 0, 2);
    for (heed_attention_score score = HEED_SCORE_DOT; score <= HEED_SCORE_FEATURES; score++)
        call_empty((heed_attention_opts){.score = score, .scale = 1}, HEED_F32, 2, 2, 0);
}

/* Scratch that is just enough is enough, wherever it starts. */
static void test_scratch(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 10);
    for (int round = 0; round < 40; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 90, 70, round % 2});
        const void *base[3] = {c.a.dq, c.a.dk, c.a.dv};
        uint64_t bytes = heed_attention_scratch_bytes(pool, &c.opts, &c.a, true);
        assert_true(bytes > 0);
        c.a.scratch = na_memory(&c, (size_t)bytes), c.a.scratch_bytes = bytes;
        bool good = heed_attention_forward(pool, &c.opts, &c.a) == HEED_OK && check_forward(&c) &&
                    heed_attention_backward(pool, &c.opts, &c.a) == HEED_OK &&
                    check_backward(&c, base);
        if (!good)
            na_print(&c);
        na_free(&c);
        assert_true(good);
    }
}

/* The published ones, of 8 heads and of 12. */
static void test_alibi_slopes(void **state)
{
    (void)state;
    double slopes[12];
    heed_alibi_slopes(0, slopes);
    heed_alibi_slopes(1, slopes);
    assert_true(slopes[0] == 0x1p-8);
    heed_alibi_slopes(8, slopes);
    for (int h = 0; h < 8; h++)
        assert_true(slopes[h] == ldexp(1, -1 - h));
    heed_alibi_slopes(12, slopes);
    for (int h = 0; h < 8; h++)
        assert_true(slopes[h] == ldexp(1, -1 - h));
    for (int h = 8; h < 12; h++)
        assert_true(fabs(slopes[h] - exp2(-0.5 - (h - 8))) <= DBL_EPSILON);
}

static void test_buckets(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 11);
    assert_int_equal(heed_time_bucket_log(0), 0);
    assert_int_equal(heed_time_bucket_log(1351), 0);
    assert_int_equal(heed_time_bucket_log(1352), 1); /* exp(0.301) = 1.35121 */
    assert_int_equal(heed_time_bucket_log(-86400000), heed_time_bucket_log(86400000));
    assert_int_equal(heed_time_bucket_log(86400000), 37); /* ln 86400 = 11.367 */
    assert_int_equal(heed_time_bucket_log(INT64_MAX), 122);
    assert_int_equal(heed_time_bucket_log(INT64_MIN), 122);
    for (int i = 0; i < 200000; i++) {
        int64_t span = (int64_t)(hd_random_u64(&rng) >> (1 + hd_random_below(&rng, 62)));
        double seconds = (double)(float)span / 1000;
        int want = seconds > 1 ? (int)floor(log(seconds) / 0.301) : 0;
        assert_int_equal(heed_time_bucket_log(span), want < 128 ? want : 128);
    }
}

/* A row of them at once says the same, or that it does not know. */
static void test_buckets_by_rows(void **state)
{
    (void)state;
    enum { N = 100 };
    const struct hd_attention_kernels *k = hd_attention_kernels();
    heed_rng rng = hd_rng(na_seed(), 12);
    int64_t doubts = 0, pairs = 0;
    if (!k->log_buckets)
        return;
    for (int round = 0; round < 4000; round++) {
        int64_t n = (int64_t)hd_random_below(&rng, N + 1), query = (int64_t)hd_random_u64(&rng) >> 8;
        int32_t got[N + 1], most = (int32_t)hd_random_below(&rng, 129);
        int64_t keys[N];
        unsigned shift = (unsigned)hd_random_below(&rng, 62);
        for (int64_t j = 0; j < n; j++)
            keys[j] = (int64_t)((uint64_t)query - ((hd_random_u64(&rng) >> (1 + shift)) - 500) *
                                                      (round % 2 && shift > 20 ? 1000 : 1));
        got[n] = 77;
        doubts += k->log_buckets(got, query, keys, n, most);
        pairs += n;
        for (int64_t j = 0; j < n; j++) {
            int want = heed_time_bucket_log((int64_t)((uint64_t)query - (uint64_t)keys[j]));
            if (got[j] >= 0)
                assert_int_equal(got[j], want < most ? want : most);
        }
        assert_int_equal(got[n], 77);
    }
    assert_true(doubts * 200 < pairs);
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
        cmocka_unit_test(test_float32),  cmocka_unit_test(test_float32_ragged),
        cmocka_unit_test(test_float64),  cmocka_unit_test(test_float64_ragged),
        cmocka_unit_test(test_long),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bf16),     cmocka_unit_test(test_bf16_ragged),
        cmocka_unit_test(test_bf16_long),
        cmocka_unit_test(test_scratch),  cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_buckets_by_rows), cmocka_unit_test(test_alibi_slopes),
        cmocka_unit_test(test_windows),  cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, make_pool, free_pool);
}

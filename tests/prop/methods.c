/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of the linear and the hashed method: what must hold whatever the numbers are, and how near the
 * hashed one comes to the exact one as its rounds grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/attention/methods.h"

#define RUN(call)                                                                                  \
    do {                                                                                           \
        heed_status status_ = (call);                                                              \
        if (status_ != HEED_OK)                                                                    \
            print_message("# %s\n", heed_error_message());                                         \
        assert_int_equal(status_, HEED_OK);                                                        \
    } while (0)

/* What a call leaves, in the order of its rows: out, dq, dk, dv. */
struct results {
    float *part[4];
    size_t bytes[4];
};

static float *rows_of(const struct na_call *c, const void *array, const int64_t stride[3], bool keys,
                      int64_t width, size_t *bytes)
{
    int64_t heads = keys ? me_kv_heads(c) : c->a.H, n = 0;
    float *out = calloc((size_t)((keys ? c->k_rows : c->q_rows) * heads * width) + 1, sizeof *out);
    for (int64_t b = 0; b < c->a.B; b++) {
        struct na_sequence s = na_sequence(c, b);
        for (int64_t i = 0; i < (keys ? s.S : s.T); i++)
            for (int64_t h = 0; h < heads; h++)
                for (int64_t d = 0; d < width; d++)
                    out[n++] = ((const float *)array)[na_at(c, stride, b, keys ? s.k_row : s.q_row, i, h) + d];
    }
    *bytes = (size_t)n * sizeof *out;
    return out;
}

static struct results run(heed_pool *pool, const struct na_call *c)
{
    const heed_attention_arrays *a = &c->a;
    struct results r = {{0}, {0}};
    RUN(heed_attention_forward(pool, &c->opts, a));
    RUN(heed_attention_backward(pool, &c->opts, a));
    r.part[0] = rows_of(c, a->out, a->out_stride, false, a->E, &r.bytes[0]);
    r.part[1] = rows_of(c, a->dq, a->q_stride, false, a->D, &r.bytes[1]);
    if (a->dk)
        r.part[2] = rows_of(c, a->dk, a->k_stride, true, a->D, &r.bytes[2]);
    r.part[3] = rows_of(c, a->dv, a->v_stride, true, a->E, &r.bytes[3]);
    return r;
}

static void free_results(struct results *r)
{
    for (int i = 0; i < 4; i++)
        free(r->part[i]);
}

static const heed_attention_method both[] = {HEED_METHOD_LINEAR, HEED_METHOD_LSH};

/* The same bits on any number of threads. */
static void test_threads_change_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 60);
    heed_pool *pools[2];
    RUN(heed_pool_new(2, &pools[0]));
    RUN(heed_pool_new(3, &pools[1]));
    for (int round = 0; round < 120; round++) {
        struct na_kind kind = {HEED_F32, 400, 40, round / 2 % 2};
        struct na_call c = me_random(&rng, kind, both[round % 2]);
        struct results first = run(NULL, &c);
        for (int p = 0; p < 2; p++) {
            struct results now = run(pools[p], &c);
            for (int i = 0; i < 4; i++)
                if (first.bytes[i] && memcmp(first.part[i], now.part[i], first.bytes[i])) {
                    me_print(&c);
                    fail_msg("round %d: part %d on %d threads", round, i, p + 2);
                }
            free_results(&now);
        }
        free_results(&first);
        na_free(&c);
    }
    heed_pool_free(pools[0]);
    heed_pool_free(pools[1]);
}

/* A ragged batch gives what each of its sequences gives alone. */
static void test_ragged_is_each_alone(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 61);
    for (int round = 0; round < 120; round++) {
        struct na_call c = me_random(&rng, (struct na_kind){HEED_F32, 200, 40, true}, both[round % 2]);
        heed_attention_arrays *a = &c.a;
        a->weights = NULL;
        struct results all = run(NULL, &c);
        int64_t row = 0, heads[4] = {a->H, a->H, me_kv_heads(&c), me_kv_heads(&c)};
        int64_t width[4] = {a->E, a->D, a->D, a->E};
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            struct na_call one = c;
            heed_attention_arrays *x = &one.a;
            one.opts.offsets = NULL, one.opts.sequences = 0;
            x->B = 1, x->T = x->S = s.T, one.q_rows = one.k_rows = s.T;
#define FROM(field, stride) x->field = (float *)a->field + s.q_row * a->stride[1]
            FROM(q, q_stride), FROM(dq, q_stride), FROM(k, k_stride), FROM(v, v_stride);
            FROM(dv, v_stride), FROM(out, out_stride), FROM(dout, out_stride);
            if (a->dk)
                FROM(dk, k_stride);
#undef FROM
            struct results alone = run(NULL, &one);
            for (int i = 0; i < 4; i++) {
                int64_t n = heads[i] * width[i];
                if (alone.bytes[i] && memcmp(all.part[i] + row * n, alone.part[i], alone.bytes[i])) {
                    me_print(&c);
                    fail_msg("round %d: part %d of sequence %" PRId64, round, i, b);
                }
            }
            free_results(&alone);
            row += s.T;
        }
        free_results(&all);
        na_free(&c);
    }
}

/* What stands in padding changes no bit of what is seen. */
static void test_padding_weighs_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 62);
    for (int round = 0; round < 120; round++) {
        struct na_call c = me_random(&rng, (struct na_kind){HEED_F32, 200, 40, false}, both[round % 2]);
        heed_attention_arrays *a = &c.a;
        bool lsh = c.opts.method == HEED_METHOD_LSH;
        if (!c.padded) {
            na_free(&c);
            continue;
        }
        struct results before = run(NULL, &c), after;
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t i = s.visible; i < s.S; i++)
                for (int64_t h = 0; h < me_kv_heads(&c); h++) {
                    for (int64_t d = 0; d < a->D; d++)
                        ((float *)a->k)[na_at(&c, a->k_stride, b, s.k_row, i, h) + d] = NAN;
                    for (int64_t e = 0; e < a->E; e++)
                        ((float *)a->v)[na_at(&c, a->v_stride, b, s.k_row, i, h) + e] = INFINITY;
                }
        }
        after = run(NULL, &c);
        for (int i = 0; i < 4; i++)
            if (before.bytes[i] && memcmp(before.part[i], after.part[i], before.bytes[i])) {
                me_print(&c);
                fail_msg("round %d: part %d", round, i);
            }
        for (int64_t b = 0; b < a->B && lsh; b++) { /* there padded rows ask nothing either */
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t i = s.visible; i < s.T; i++)
                for (int64_t e = 0; e < a->E; e++)
                    assert_true(((float *)a->out)[na_at(&c, a->out_stride, b, s.q_row, i, 0) + e] == 0);
        }
        free_results(&before), free_results(&after);
        na_free(&c);
    }
}

/* Linear, causal: a future position, NaN and infinity among them, changes no past output and no past
 * query's gradient. (Not so LSH: see heed/attention.h.) */
static void test_future_changes_no_past(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 63);
    static const float ugly[] = {NAN, INFINITY, -INFINITY, 1e30f, 0, -3};
    for (int round = 0; round < 200; round++) {
        struct na_call c = me_random(&rng, (struct na_kind){HEED_F32, 300, 40, round % 2}, HEED_METHOD_LINEAR);
        heed_attention_arrays *a = &c.a;
        c.opts.causal = true;
        if (!c.opts.offsets && a->T != a->S) {
            na_free(&c);
            continue;
        }
        struct results before = run(NULL, &c), after;
        int64_t now[4] = {0}, n = 0;
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            now[b] = (int64_t)hd_random_below(&rng, (uint64_t)s.T + 1);
            for (int64_t i = now[b]; i < s.T; i++) {
                for (int64_t h = 0; h < a->H; h++)
                    for (int64_t d = 0; d < a->D; d++)
                        ((float *)a->q)[na_at(&c, a->q_stride, b, s.q_row, i, h) + d] = ugly[(i + d) % 6];
                for (int64_t h = 0; h < me_kv_heads(&c); h++) {
                    for (int64_t d = 0; d < a->D; d++)
                        ((float *)a->k)[na_at(&c, a->k_stride, b, s.k_row, i, h) + d] = ugly[(i + d) % 6];
                    for (int64_t e = 0; e < a->E; e++)
                        ((float *)a->v)[na_at(&c, a->v_stride, b, s.k_row, i, h) + e] = ugly[(i + e) % 6];
                }
            }
        }
        after = run(NULL, &c);
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            int64_t out = n * a->H * a->E, dq = n * a->H * a->D;
            size_t past = (size_t)(now[b] * a->H) * sizeof(float);
            if (memcmp(before.part[0] + out, after.part[0] + out, past * (size_t)a->E) ||
                memcmp(before.part[1] + dq, after.part[1] + dq, past * (size_t)a->D)) {
                me_print(&c);
                fail_msg("round %d: sequence %" PRId64 " changed before %" PRId64, round, b, now[b]);
            }
            n += s.T;
        }
        free_results(&before), free_results(&after);
        na_free(&c);
    }
}

/* One bucket and a chunk that holds everything: dense attention over the unit rows, each sees all but
 * itself; the first of a causal sequence, or one that is alone, sees itself. */
static void test_one_chunk_is_dense(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 64);
    for (int round = 0; round < 60; round++) {
        struct na_call c = me_random(&rng, (struct na_kind){HEED_F32, 200, 40, round % 2}, HEED_METHOD_LSH);
        const heed_attention_arrays *a = &c.a;
        c.opts.lsh_buckets = 1, c.opts.lsh_chunk = 200 + (int64_t)hd_random_below(&rng, 100);
        RUN(heed_attention_forward(NULL, &c.opts, a));
        struct na_value *out = calloc((size_t)a->E + 1, sizeof *out);
        for (int64_t b = 0; b < a->B; b++)
            for (int64_t h = 0; h < a->H; h++) {
                struct me_head m = me_head(&c, b, h);
                for (int64_t i = 0; i < m.s.visible; i++)
                    for (int64_t j = 0; j < m.s.visible; j++)
                        m.pair[i * m.s.S + j] =
                            c.opts.causal ? j < i || (i == 0 && j == 0) : j != i || m.s.visible == 1;
                me_lsh_weights(&m);
                for (int64_t t = 0; t < m.s.T; t++) {
                    me_out(&m, t, out);
                    for (int64_t e = 0; e < a->E; e++) {
                        double got = na_get(&c, a->out, na_at(&c, a->out_stride, b, m.s.q_row, t, h) + e);
                        if (!na_near(&c, got, out[e], a->D + m.s.S))
                            fail_msg("round %d: out[%" PRId64 ",%" PRId64 "]: got %.9g, want %.9g", round,
                                     t, e, got, out[e].value);
                    }
                }
                me_head_free(&m);
            }
        free(out);
        na_free(&c);
    }
}

/* ---- how near LSH comes */

enum { NEAR_L = 1024, NEAR_D = 32, CLUSTERS = 64, TOP = 8 };

/* Rows about the centres of clusters, at random places: those of one cluster attend to each other. */
static void clustered(heed_rng *rng, float *q, float *v)
{
    static double centre[CLUSTERS][NEAR_D];
    for (int i = 0; i < CLUSTERS; i++)
        for (int d = 0; d < NEAR_D; d++)
            centre[i][d] = hd_random_normal(rng);
    for (int i = 0; i < NEAR_L; i++) {
        int at = (int)hd_random_below(rng, CLUSTERS);
        for (int d = 0; d < NEAR_D; d++) {
            q[i * NEAR_D + d] = (float)(3 * (centre[at][d] + 0.5 * hd_random_normal(rng)));
            v[i * NEAR_D + d] = (float)(centre[at][d] + hd_random_normal(rng));
        }
    }
}

/* Recall of the eight keys that weigh most among all, and the relative error of out. */
static void measure(const struct na_call *c, const float *exact, const float *weights, double *recall,
                    double *error)
{
    double found = 0, off = 0, size = 0;
    float *seen = (float *)c->a.weights, *out = c->a.out;
    for (int i = 0; i < NEAR_L; i++) {
        for (int n = 0; n < TOP; n++) {
            int best = -1;
            for (int j = 0; j < NEAR_L; j++)
                if (seen[i * NEAR_L + j] > -1 && (best < 0 || weights[i * NEAR_L + j] > weights[i * NEAR_L + best]))
                    best = j;
            found += seen[i * NEAR_L + best] > 0;
            seen[i * NEAR_L + best] = -2; /* taken */
        }
        for (int d = 0; d < NEAR_D; d++) {
            double x = (double)exact[i * NEAR_D + d], y = (double)out[i * NEAR_D + d];
            off += (x - y) * (x - y), size += x * x;
        }
    }
    *recall = found / (NEAR_L * TOP), *error = sqrt(off / size);
}

static void test_rounds_come_nearer(void **state)
{
    (void)state;
    static float q[NEAR_L * NEAR_D], v[NEAR_L * NEAR_D], out[NEAR_L * NEAR_D], exact[NEAR_L * NEAR_D];
    float *seen = malloc(sizeof(float) * NEAR_L * NEAR_L), *all = malloc(sizeof(float) * NEAR_L * NEAR_L);
    heed_rng rng = hd_rng(na_seed(), 65);
    double last_recall = 0, last_error = 2;
    clustered(&rng, q, v);
    struct na_call c = {.opts = {.method = HEED_METHOD_LSH, .scale = 1, .lsh_buckets = 1, .lsh_chunk = NEAR_L},
                        .a = {.B = 1, .T = NEAR_L, .S = NEAR_L, .H = 1, .D = NEAR_D, .E = NEAR_D, .q = q,
                              .k = q, .v = v, .out = exact, .weights = all}};
    RUN(heed_attention_forward(NULL, &c.opts, &c.a));
    c.a.out = out, c.a.weights = seen;
    c.opts.lsh_buckets = 0, c.opts.lsh_chunk = 64;
    for (int64_t rounds = 1; rounds <= 8; rounds *= 2) {
        double recall = 0, error = 0, r, e;
        for (uint64_t seed = 0; seed < 4; seed++) {
            c.opts.lsh_rounds = rounds, c.opts.lsh_seed = seed;
            RUN(heed_attention_forward(NULL, &c.opts, &c.a));
            measure(&c, exact, all, &r, &e);
            recall += r / 4, error += e / 4;
        }
        print_message("# %" PRId64 " rounds: recall of the %d nearest %.3f, error of out %.3f\n", rounds, TOP,
                      recall, error);
        assert_true(recall > last_recall + 0.02);
        assert_true(error < 0.9 * last_error);
        last_recall = recall, last_error = error;
    }
    assert_true(last_recall > 0.9 && last_error < 0.2);
    free(seen), free(all);
}

/* 65,536 positions of 64 numbers: arrays, their gradients and scratch are under 200 MiB for every
 * method, and with scratch given nothing else is taken. */
static void *no_memory(void *context, void *pointer, size_t bytes)
{
    (void)context, (void)pointer, (void)bytes;
    return NULL;
}

static void test_memory(void **state)
{
    (void)state;
    enum { L = 65536, D = 64 };
    const heed_attention_method methods[] = {HEED_METHOD_EXACT, HEED_METHOD_LINEAR, HEED_METHOD_LSH};
    const size_t array = sizeof(float) * L * D;
    float *x = calloc(8, array), *lse = calloc(L, sizeof(float));
    heed_rng rng = hd_rng(na_seed(), 66);
    for (int i = 0; i < L * D; i++)
        x[i] = (float)(2 * hd_random_unit(&rng) - 1);
    for (int m = 0; m < 3; m++) {
        float *part[8];
        for (int i = 0; i < 8; i++)
            part[i] = x + (size_t)i * L * D;
        heed_attention_opts o = {.method = methods[m], .causal = true};
        heed_attention_arrays a = {.B = 1, .T = L, .S = L, .H = 1, .D = D, .E = D, .q = x, .k = x, .v = part[1],
                                   .out = part[2], .dout = part[1], .dq = part[3], .dk = part[4],
                                   .dv = part[5], .lse = lse};
        uint64_t bytes = heed_attention_scratch_bytes(NULL, &o, &a, true);
        double mib = (double)(8 * array + L * sizeof(float) + bytes) / 1048576;
        print_message("# method %d: %.1f MiB of scratch, %.1f MiB with all arrays\n", m,
                      (double)bytes / 1048576, mib);
        assert_true(mib < 200);
        if (methods[m] == HEED_METHOD_EXACT)
            continue; /* a minute and more */
        a.scratch = malloc(bytes), a.scratch_bytes = bytes;
        heed_set_allocator(&(heed_allocator){no_memory, NULL});
        RUN(heed_attention_forward(NULL, &o, &a));
        RUN(heed_attention_backward(NULL, &o, &a));
        heed_set_allocator(NULL);
        free(a.scratch);
    }
    free(x), free(lse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_change_nothing), cmocka_unit_test(test_ragged_is_each_alone),
        cmocka_unit_test(test_padding_weighs_nothing), cmocka_unit_test(test_future_changes_no_past),
        cmocka_unit_test(test_one_chunk_is_dense),     cmocka_unit_test(test_rounds_come_nearer),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

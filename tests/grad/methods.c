/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward of the linear and the hashed method on the tape, and of segments with a cache. Buckets of
 * LSH are constants of its backward: each step of the differences looks whether they still are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "attention/lsh.h"
#include "gradcheck.h"
#include "heed/attention.h"

#include <string.h>

static const int64_t offsets[] = {0, 7, 7, 8, 12};
static const int64_t lengths[] = {3, 6};

static heed_status build_linear(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    return heed_attention(tape, in[0], in[1], in[2], NULL, arg, out, NULL);
}

static void test_linear(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{6, 6}, {4, 6}, {7, 6}, {1, 6}}; /* T, S */
    for (int i = 0; i < 16; i++) {
        int64_t T = shapes[i / 4][0], S = shapes[i / 4][1];
        heed_attention_opts o = {.method = HEED_METHOD_LINEAR, .causal = i % 2,
                                 .lengths = i / 2 % 2 ? lengths : NULL};
        struct gc_case gc = {"linear attention", build_linear, &o, 3,
                             {{4, {2, T, 2, 3}}, {4, {2, S, 2, 3}}, {4, {2, S, 2, 2}}}};
        assert_true(gc_check(&gc));
    }
    for (int i = 0; i < 2; i++) {
        heed_attention_opts o = {.method = HEED_METHOD_LINEAR, .causal = i, .offsets = offsets,
                                 .sequences = 4};
        struct gc_case gc = {"ragged linear attention", build_linear, &o, 3,
                             {{3, {12, 2, 3}}, {3, {12, 2, 3}}, {3, {12, 2, 2}}}};
        assert_true(gc_check(&gc));
        /* Past a chunk: the running state, both ways. */
        heed_attention_opts past = {.method = HEED_METHOD_LINEAR, .causal = i};
        struct gc_case far = {"long linear attention", build_linear, &past, 3,
                              {{4, {1, 140, 1, 2}}, {4, {1, 150, 1, 2}}, {4, {1, 150, 1, 1}}}};
        assert_true(gc_check(&far));
    }
}

enum { BUCKETS_MAX = 2048 };

struct hashed {
    heed_attention_opts opts;
    int32_t bucket[BUCKETS_MAX]; /* of the first call */
    int count;                   /* 0: not yet called */
    bool changed;
};

/* The buckets of all rows, sequence by sequence, of the first head. */
static int buckets_of(const struct hashed *how, const heed_tensor *q, int32_t *out)
{
    const struct hd_attention_kernels *kernel = hd_attention_kernels_f64();
    const heed_attention_opts *o = &how->opts;
    int64_t S = q->dim[q->rank - 3], D = q->dim[q->rank - 1], H = q->dim[q->rank - 2];
    heed_attention_arrays a = {.dtype = HEED_F64, .T = S, .S = S, .D = D};
    a.B = o->offsets ? o->sequences : q->dim[0];
    struct hd_lsh l;
    hd_lsh_init(&l, o, &a, kernel);
    void *rotations = malloc(hd_lsh_rotation_bytes(&l) + 1), *tile = malloc(hd_lsh_tile_bytes(&l) + 1);
    hd_lsh_draw(&l, rotations);
    int count = 0;
    for (int64_t b = 0; b < a.B; b++) {
        int64_t from = o->offsets ? o->offsets[b] : b * S;
        int64_t n = o->offsets ? o->offsets[b + 1] - from : o->lengths ? o->lengths[b] : S;
        struct hd_lsh_sorted s = {.n = n, .buckets = hd_lsh_buckets(&l, n)};
        size_t room = (size_t)(l.rounds * n) + 1;
        s.bucket = calloc(room, sizeof *s.bucket), s.order = calloc(room, sizeof *s.order);
        s.rank = calloc(room, sizeof *s.rank);
        s.ends = calloc((size_t)(l.rounds * s.buckets), sizeof *s.ends);
        hd_lsh_sort(&l, &s, (double *)q->data + from * H * D, H * D, tile);
        assert_true(count + l.rounds * n <= BUCKETS_MAX);
        memcpy(out + count, s.bucket, (size_t)(s.rounds * n) * sizeof *out);
        count += (int)(s.rounds * n);
        free(s.bucket), free(s.order), free(s.rank), free(s.ends);
    }
    free(rotations), free(tile);
    return count;
}

static heed_status build_lsh(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    struct hashed *how = arg;
    int32_t now[BUCKETS_MAX];
    int count = buckets_of(how, in[0], now);
    if (how->count == 0) {
        memcpy(how->bucket, now, (size_t)count * sizeof *now);
        how->count = count;
    }
    how->changed |= memcmp(how->bucket, now, (size_t)count * sizeof *now) != 0;
    return heed_attention(tape, in[0], in[0], in[1], NULL, &how->opts, out, NULL);
}

static void check_lsh(struct hashed *how, struct gc_case gc)
{
    gc.build = build_lsh, gc.arg = how, gc.inputs = 2;
    bool good = gc_check(&gc);
    if (how->changed)
        fail_msg("a row changed its bucket: not a fault, take another lsh_seed (HEED_SEED=%" PRIu64 ")",
                 gc_seed());
    assert_true(good);
}

static void test_lsh(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        struct hashed how = {.opts = {.method = HEED_METHOD_LSH, .causal = i % 2,
                                      .lengths = i / 2 % 2 ? lengths : NULL, .lsh_rounds = 1 + i % 3,
                                      .lsh_chunk = i / 4 % 2 ? 2 : 4, .lsh_buckets = i / 8 ? 2 : 4,
                                      .lsh_seed = 7}};
        check_lsh(&how, (struct gc_case){.name = "hashed attention",
                                         .input = {{4, {2, 9, 1, 3}}, {4, {2, 9, 1, 2}}}});
        struct hashed ragged = {.opts = {.method = HEED_METHOD_LSH, .causal = i % 2, .offsets = offsets,
                                         .sequences = 4, .lsh_rounds = 2, .lsh_chunk = 3, .scale = 0.7,
                                         .lsh_buckets = i / 2 % 2 ? 130 : 0, .lsh_seed = 7}};
        check_lsh(&ragged, (struct gc_case){.name = "ragged hashed attention",
                                            .input = {{3, {12, 1, 3}}, {3, {12, 1, 2}}}});
    }
    for (int i = 0; i < 2; i++) { /* past a tile */
        struct hashed how = {.opts = {.method = HEED_METHOD_LSH, .causal = i, .lsh_rounds = 2,
                                      .lsh_chunk = 100, .lsh_buckets = 2, .lsh_seed = 7}};
        check_lsh(&how, (struct gc_case){.name = "long hashed attention",
                                         .input = {{4, {1, 230, 1, 2}}, {4, {1, 230, 1, 1}}}});
    }
}

struct segment {
    heed_attention_cache *cache;
    double past[2 * 4 * 2 * 3]; /* (B, 4, H, D) that is cached */
};

/* A segment of three after one of four; the same each time it is called. */
static heed_status build_segment(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out)
{
    struct segment *s = arg;
    const heed_attention_opts o = {.causal = true};
    heed_tensor *k, *v;
    heed_attention_cache_reset(s->cache);
    HD_TRY(heed_attention_cache_append(s->cache, 4, s->past, NULL, s->past, NULL));
    HD_TRY(heed_attention_cache_extend(tape, s->cache, in[1], in[2], &k, &v));
    return heed_attention(tape, in[0], k, v, NULL, &o, out, NULL);
}

static void test_segment(void **state)
{
    (void)state;
    struct segment s;
    heed_attention_cache_opts o = {.dtype = HEED_F64, .B = 2, .H = 2, .D = 3, .E = 3, .capacity = 5};
    for (size_t i = 0; i < sizeof s.past / sizeof *s.past; i++)
        s.past[i] = 0.3 * (double)(i % 7) - 1;
    assert_int_equal(heed_attention_cache_new(&o, &s.cache), HEED_OK);
    struct gc_case gc = {"segment", build_segment, &s, 3,
                         {{4, {2, 3, 2, 3}}, {4, {2, 3, 2, 3}}, {4, {2, 3, 2, 3}}}};
    assert_true(gc_check(&gc));
    heed_attention_cache_free(s.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear), cmocka_unit_test(test_lsh),
                                       cmocka_unit_test(test_segment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

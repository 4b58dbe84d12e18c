/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of attention, over random calls: what must hold whatever the numbers are, most of it bit for
 * bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/attention/naive.h"

static const struct na_kind dense = {HEED_F32, 150, 70, false}, ragged = {HEED_F32, 150, 70, true};

static void forward(heed_pool *pool, const struct na_call *c)
{
    heed_status status = heed_attention_forward(pool, &c->opts, &c->a);
    if (status != HEED_OK)
        na_print(c);
    assert_int_equal(status, HEED_OK);
}

static void backward(heed_pool *pool, const struct na_call *c)
{
    heed_status status = heed_attention_backward(pool, &c->opts, &c->a);
    if (status != HEED_OK)
        na_print(c);
    assert_int_equal(status, HEED_OK);
}

/* The rows of an array in the order of batch, row, head: what is compared, whatever the layout. */
static float *rows_of(const struct na_call *c, const void *array, const int64_t stride[3], bool keys,
                      int64_t width)
{
    int64_t rows = keys ? c->k_rows : c->q_rows, heads = keys ? c->key_heads : c->a.H, n = 0;
    float *out = calloc((size_t)(rows * heads * width) + 1, sizeof *out);
    for (int64_t b = 0; b < c->a.B; b++) {
        struct na_sequence s = na_sequence(c, b);
        for (int64_t i = 0; i < (keys ? s.S : s.T); i++)
            for (int64_t h = 0; h < heads; h++)
                for (int64_t d = 0; d < width; d++)
                    out[n++] = ((const float *)array)[na_at(c, stride, b, keys ? s.k_row : s.q_row,
                                                            i, h) + d];
    }
    return out;
}

static void spoil(const struct na_call *c, void *array, const int64_t stride[3], int64_t heads,
                  const struct na_sequence *s, int64_t row, int64_t i, int64_t width)
{
    static const float ugly[] = {NAN, INFINITY, -INFINITY, 1e30f, 0, -3};
    for (int64_t h = 0; h < heads; h++)
        for (int64_t d = 0; d < width; d++)
            ((float *)array)[na_at(c, stride, s->b, row, i, h) + d] = ugly[(i + d) % 6];
}

/* Keys and values after a position, NaN and infinity among them, and later queries, change nothing of
 * what came before it, nor of those queries' gradients. */
static void test_future_changes_no_past(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 20);
    for (int round = 0; round < 300; round++) {
        struct na_call c = na_random(&rng, round % 2 ? ragged : dense);
        heed_attention_arrays *a = &c.a;
        c.opts.causal = true;
        c.opts.dropout = round % 3 ? 0 : 0.3;
        if (!c.opts.offsets && a->T != a->S) {
            na_free(&c);
            continue;
        }
        forward(NULL, &c);
        backward(NULL, &c);
        float *out = rows_of(&c, a->out, a->out_stride, false, a->E);
        float *dq = rows_of(&c, a->dq, a->q_stride, false, a->D);
        int64_t *now = calloc((size_t)a->B + 1, sizeof *now), n = 0, m = 0;
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            now[b] = (int64_t)hd_random_below(&rng, (uint64_t)s.T + 1);
            for (int64_t i = now[b]; i < s.T; i++) {
                spoil(&c, (void *)a->q, a->q_stride, a->H, &s, s.q_row, i, a->D);
                spoil(&c, (void *)a->k, a->k_stride, c.key_heads, &s, s.k_row, i, a->D);
                spoil(&c, (void *)a->v, a->v_stride, c.key_heads, &s, s.k_row, i, a->E);
            }
        }
        forward(NULL, &c);
        backward(NULL, &c);
        float *out2 = rows_of(&c, a->out, a->out_stride, false, a->E);
        float *dq2 = rows_of(&c, a->dq, a->q_stride, false, a->D);
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            size_t past = (size_t)(now[b] * a->H) * sizeof(float);
            if (memcmp(out + n, out2 + n, past * (size_t)a->E) ||
                memcmp(dq + m, dq2 + m, past * (size_t)a->D)) {
                na_print(&c);
                fail_msg("round %d: sequence %" PRId64 " changed before %" PRId64, round, b, now[b]);
            }
            n += s.T * a->H * a->E, m += s.T * a->H * a->D;
        }
        free(out), free(out2), free(dq), free(dq2), free(now);
        na_free(&c);
    }
}

/* What is hidden gets no weight, padding whatever stands there; softmax's weights of a row sum to one; a
 * row that sees nothing gives zeros, and sends none back. */
static void test_hidden_weighs_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 21);
    for (int round = 0; round < 300; round++) {
        struct na_call c = na_random(&rng, dense);
        heed_attention_arrays *a = &c.a;
        for (int64_t b = 0; b < a->B && c.padded; b++) {
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t i = s.visible; i < s.S; i++) {
                spoil(&c, (void *)a->k, a->k_stride, c.key_heads, &s, s.k_row, i, a->D);
                spoil(&c, (void *)a->v, a->v_stride, c.key_heads, &s, s.k_row, i, a->E);
            }
        }
        forward(NULL, &c);
        backward(NULL, &c);
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t h = 0; h < a->H; h++) {
                for (int64_t t = 0; t < s.T; t++) {
                    const float *w = (const float *)a->weights + ((b * a->H + h) * s.T + t) * s.S;
                    const float *out =
                        (const float *)a->out + na_at(&c, a->out_stride, b, s.q_row, t, h);
                    const float *dq = (const float *)a->dq + na_at(&c, a->q_stride, b, s.q_row, t, h);
                    double sum = 0;
                    bool any = false;
                    for (int64_t j = 0; j < s.S; j++) {
                        sum += (double)w[j];
                        any |= na_sees(&c, &s, h, t, j);
                        if (!na_sees(&c, &s, h, t, j))
                            assert_true(w[j] == 0);
                    }
                    if (c.opts.weight == HEED_WEIGHT_SOFTMAX)
                        assert_true(fabs(sum - any) <= 1e-5);
                    for (int64_t e = 0; e < a->E; e++)
                        assert_true(any ? isfinite(out[e]) : out[e] == 0);
                    for (int64_t d = 0; d < a->D && !any; d++)
                        assert_true(dq[d] == 0);
                }
                for (int64_t j = s.visible; j < s.S && h < c.key_heads; j++) {
                    const float *dk = (const float *)a->dk + na_at(&c, a->k_stride, b, s.k_row, j, h);
                    const float *dv = (const float *)a->dv + na_at(&c, a->v_stride, b, s.k_row, j, h);
                    for (int64_t d = 0; d < a->D; d++)
                        assert_true(dk[d] == 0);
                    for (int64_t e = 0; e < a->E; e++)
                        assert_true(dv[e] == 0);
                }
            }
        }
        na_free(&c);
    }
}

/* A ragged batch gives what each of its sequences gives alone. */
static void test_ragged_is_each_alone(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 22);
    for (int round = 0; round < 150; round++) {
        struct na_call c = na_random(&rng, ragged);
        heed_attention_arrays *a = &c.a;
        forward(NULL, &c);
        backward(NULL, &c);
        float *out = rows_of(&c, a->out, a->out_stride, false, a->E);
        float *dq = rows_of(&c, a->dq, a->q_stride, false, a->D);
        float *dk = rows_of(&c, a->dk, a->k_stride, true, a->D);
        float *dv = rows_of(&c, a->dv, a->v_stride, true, a->E);
        int64_t row = 0;
        a->weights = NULL;
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            struct na_call one = c;
            heed_attention_arrays *x = &one.a;
            one.opts.offsets = NULL, one.opts.sequences = 0;
            if (c.timed)
                one.opts.key_times += s.k_row, one.opts.query_times += s.q_row;
            x->B = 1, x->T = x->S = s.T, one.q_rows = one.k_rows = s.T;
#define FROM(field, stride) x->field = (float *)a->field + s.q_row * a->stride[1]
            FROM(q, q_stride), FROM(dq, q_stride), FROM(k, k_stride), FROM(dk, k_stride);
            FROM(v, v_stride), FROM(dv, v_stride), FROM(out, out_stride), FROM(dout, out_stride);
#undef FROM
            forward(NULL, &one);
            backward(NULL, &one);
            struct {
                float *all;
                void *array;
                int64_t *stride, width;
                bool keys;
            } parts[] = {{out, x->out, x->out_stride, a->E, false},
                         {dq, x->dq, x->q_stride, a->D, false},
                         {dk, x->dk, x->k_stride, a->D, true},
                         {dv, x->dv, x->v_stride, a->E, true}};
            for (int i = 0; i < 4; i++) {
                float *alone = rows_of(&one, parts[i].array, parts[i].stride, parts[i].keys,
                                       parts[i].width);
                int64_t n = (parts[i].keys ? c.key_heads : a->H) * parts[i].width;
                if (memcmp(parts[i].all + row * n, alone, (size_t)(s.T * n) * sizeof *alone)) {
                    na_print(&c);
                    fail_msg("round %d: part %d of sequence %" PRId64, round, i, b);
                }
                free(alone);
            }
            row += s.T;
        }
        free(out), free(dq), free(dk), free(dv);
        na_free(&c);
    }
}

/* Padding behind a sequence changes no bit of its outputs. */
static void test_padded_is_cut(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 23);
    for (int round = 0; round < 150; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 600, 30, false});
        heed_attention_arrays *a = &c.a;
        if (a->T != a->S || a->B == 0 || a->T == 0) {
            na_free(&c);
            continue;
        }
        int64_t n = (int64_t)hd_random_below(&rng, (uint64_t)a->T) + 1, T = a->T;
        int64_t lengths[4] = {n, n, n, n};
        c.opts.lengths = lengths;
        a->weights = NULL;
        forward(NULL, &c);
        float *padded = rows_of(&c, a->out, a->out_stride, false, a->E);
        struct na_call cut = c;
        cut.opts.lengths = NULL;
        cut.a.T = cut.a.S = n;
        cut.a.B = 1, cut.q_rows = cut.k_rows = n;
        forward(NULL, &cut);
        float *alone = rows_of(&cut, a->out, a->out_stride, false, a->E);
        if (memcmp(padded, alone, (size_t)(n * a->H * a->E) * sizeof *alone)) {
            na_print(&c);
            fail_msg("round %d: %" PRId64 " of %" PRId64, round, n, T);
        }
        free(padded), free(alone);
        na_free(&c);
    }
}

/* The same bits on any number of threads. */
static void test_threads_change_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 24);
    heed_pool *pools[2];
    assert_int_equal(heed_pool_new(2, &pools[0]), HEED_OK);
    assert_int_equal(heed_pool_new(3, &pools[1]), HEED_OK);
    for (int round = 0; round < 100; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 600, 40, round % 2});
        heed_attention_arrays *a = &c.a;
        float *first[6] = {0};
        c.opts.dropout = round % 3 ? 0 : 0.2, a->dropout_key = (uint64_t)round;
        for (int i = 0; i < 3; i++) {
            memset(a->dposition ? a->dposition : a->dq, 0,
                   a->dposition ? (size_t)(a->H * a->P) * 4 : 0);
            memset(a->dtime ? a->dtime : a->dq, 0, a->dtime ? (size_t)(a->H * a->W) * 4 : 0);
            forward(i ? pools[i - 1] : NULL, &c);
            backward(i ? pools[i - 1] : NULL, &c);
            float *now[6] = {rows_of(&c, a->out, a->out_stride, false, a->E),
                             rows_of(&c, a->dq, a->q_stride, false, a->D),
                             rows_of(&c, a->dk, a->k_stride, true, a->D),
                             rows_of(&c, a->dv, a->v_stride, true, a->E)};
            size_t bytes[6] = {(size_t)(c.q_rows * a->H * a->E) * 4,
                               (size_t)(c.q_rows * a->H * a->D) * 4,
                               (size_t)(c.k_rows * c.key_heads * a->D) * 4,
                               (size_t)(c.k_rows * c.key_heads * a->E) * 4, (size_t)(a->H * a->P) * 4,
                               (size_t)(a->H * a->W) * 4};
            const void *tables[2] = {a->dposition, a->dtime};
            for (int p = 4; p < 6; p++) {
                now[p] = malloc(bytes[p] + 1);
                if (bytes[p])
                    memcpy(now[p], tables[p - 4], bytes[p]);
            }
            for (int p = 0; p < 6; p++) {
                if (i && memcmp(first[p], now[p], bytes[p])) {
                    na_print(&c);
                    fail_msg("round %d: part %d on %d threads", round, p, i + 1);
                }
                if (i == 0)
                    first[p] = now[p];
                else
                    free(now[p]);
            }
        }
        for (int p = 0; p < 6; p++)
            free(first[p]);
        na_free(&c);
    }
    heed_pool_free(pools[0]);
    heed_pool_free(pools[1]);
}

/* A window is the same bits as a mask that hides the same pairs, though it skips what it hides. */
static void test_window_is_its_mask(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 26);
    int checked = 0;
    for (int round = 0; round < 200; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 400, 20, false});
        heed_attention_arrays *a = &c.a;
        if (c.opts.window && !c.opts.keep) {
            forward(NULL, &c);
            float *out = rows_of(&c, a->out, a->out_stride, false, a->E);
            size_t pairs = (size_t)(a->B * a->H * a->T * a->S), at = 0;
            float *weights = malloc(pairs * sizeof *weights + 1);
            uint8_t *keep = malloc(pairs + 1);
            memcpy(weights, a->weights, pairs * sizeof *weights);
            for (int64_t b = 0; b < a->B; b++) {
                struct na_sequence s = na_sequence(&c, b);
                for (int64_t h = 0; h < a->H; h++)
                    for (int64_t t = 0; t < a->T; t++)
                        for (int64_t j = 0; j < a->S; j++)
                            keep[at++] = na_sees(&c, &s, h, t, j);
            }
            struct na_call masked = c;
            masked.opts.window = masked.opts.globals = 0, masked.opts.dilation = NULL;
            masked.opts.keep = keep;
            memcpy(masked.opts.keep_stride,
                   (int64_t[]){a->H * a->T * a->S, a->T * a->S, a->S, 1}, 4 * sizeof(int64_t));
            forward(NULL, &masked);
            float *want = rows_of(&masked, a->out, a->out_stride, false, a->E);
            if (memcmp(out, want, (size_t)(c.q_rows * a->H * a->E) * sizeof *out) ||
                memcmp(weights, a->weights, pairs * sizeof *weights)) {
                na_print(&c);
                fail_msg("round %d: a window is not its mask", round);
            }
            free(out), free(want), free(weights), free(keep);
            checked++;
        }
        na_free(&c);
    }
    assert_true(checked > 25);
}

/* Rows of one query at the end of the keys so far are those of all queries at once, bit for bit. */
static void test_incremental_is_full(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 27);
    int checked = 0;
    for (int round = 0; round < 300; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 600, 30, false});
        heed_attention_arrays *a = &c.a;
        if (a->B > 0 && a->T == a->S && a->T > 0) {
            c.opts.causal = true, a->B = 1, c.q_rows = c.k_rows = a->T, a->weights = NULL;
            forward(NULL, &c);
            for (int n = 0; n < 3; n++) {
                struct na_call one = c;
                int64_t t = (int64_t)hd_random_below(&rng, (uint64_t)a->T), length;
                float *row = calloc((size_t)(a->H * a->E) + 1, sizeof *row);
                one.a.T = 1, one.a.S = t + 1, one.q_rows = 1, one.a.lse = NULL;
                one.a.q = (const float *)a->q + t * a->q_stride[1];
                one.a.out = row;
                memcpy(one.a.out_stride, (int64_t[]){a->H * a->E, a->H * a->E, a->E}, 3 * sizeof(int64_t));
                if (c.opts.lengths) {
                    length = c.opts.lengths[0] < t + 1 ? c.opts.lengths[0] : t + 1;
                    one.opts.lengths = &length;
                }
                if (c.timed)
                    one.opts.query_times += t;
                if (c.opts.keep)
                    one.opts.keep += t * c.opts.keep_stride[2];
                if (c.opts.mask)
                    one.opts.mask = (const float *)c.opts.mask + t * c.opts.mask_stride[2];
                forward(NULL, &one);
                for (int64_t h = 0; h < a->H; h++)
                    if (memcmp(row + h * a->E,
                               (float *)a->out + t * a->out_stride[1] + h * a->out_stride[2],
                               (size_t)a->E * sizeof *row)) {
                        na_print(&c);
                        fail_msg("round %d: row %" PRId64 " of head %" PRId64, round, t, h);
                    }
                free(row);
                checked++;
            }
        }
        na_free(&c);
    }
    assert_true(checked > 100);
}

/* Keys and values that several heads share are those repeated for each. */
static void test_grouped_is_repeated(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 28);
    for (int round = 0; round < 300; round++) {
        struct na_call c = na_random(&rng, round % 2 ? ragged : dense);
        heed_attention_arrays *a = &c.a;
        if (c.group > 1) {
            forward(NULL, &c);
            backward(NULL, &c);
            float *out = rows_of(&c, a->out, a->out_stride, false, a->E);
            float *dq = rows_of(&c, a->dq, a->q_stride, false, a->D);
            struct na_call all = c;
            heed_attention_arrays *x = &all.a;
            x->kv_heads = 0, all.key_heads = a->H, all.group = 1;
            float *parts[4];
            int64_t *strides[] = {x->k_stride, x->v_stride}, widths[] = {a->D, a->E};
            for (int i = 0; i < 4; i++)
                parts[i] = calloc((size_t)(c.k_rows * a->H * widths[i % 2]) + 1, sizeof(float));
            x->k = parts[0], x->v = parts[1], x->dk = parts[2], x->dv = parts[3];
            for (int i = 0; i < 2; i++) {
                float *once = rows_of(&c, i ? a->v : a->k, i ? a->v_stride : a->k_stride, true,
                                      widths[i]);
                for (int64_t r = 0; r < c.k_rows; r++)
                    for (int64_t h = 0; h < a->H; h++)
                        memcpy(parts[i] + (r * a->H + h) * widths[i],
                               once + (r * c.key_heads + h / c.group) * widths[i],
                               (size_t)widths[i] * sizeof *once);
                memset(strides[i], 0, 3 * sizeof *strides[i]); /* contiguous */
                free(once);
            }
            forward(NULL, &all);
            backward(NULL, &all);
            float *out2 = rows_of(&all, a->out, a->out_stride, false, a->E);
            float *dq2 = rows_of(&all, a->dq, a->q_stride, false, a->D);
            if (memcmp(out, out2, (size_t)(c.q_rows * a->H * a->E) * sizeof *out) ||
                memcmp(dq, dq2, (size_t)(c.q_rows * a->H * a->D) * sizeof *dq)) {
                na_print(&c);
                fail_msg("round %d", round);
            }
            for (int i = 0; i < 4; i++)
                free(parts[i]);
            free(out), free(out2), free(dq), free(dq2);
        }
        na_free(&c);
    }
}

/* A key changes nothing for a row that does not see it, whatever hides it and whatever it is. */
static void test_hidden_keys_touch_nothing(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(na_seed(), 29);
    for (int round = 0; round < 300; round++) {
        struct na_call c = na_random(&rng, (struct na_kind){HEED_F32, 300, 30, round % 2});
        heed_attention_arrays *a = &c.a;
        forward(NULL, &c);
        float *out = rows_of(&c, a->out, a->out_stride, false, a->E), *before = out;
        int64_t *bad = calloc((size_t)a->B + 1, sizeof *bad);
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            bad[b] = s.S ? (int64_t)hd_random_below(&rng, (uint64_t)s.S) : 0;
            if (s.S)
                spoil(&c, (void *)a->k, a->k_stride, c.key_heads, &s, s.k_row, bad[b], a->D);
        }
        forward(NULL, &c);
        for (int64_t b = 0; b < a->B; b++) {
            struct na_sequence s = na_sequence(&c, b);
            for (int64_t t = 0; t < s.T; t++)
                for (int64_t h = 0; h < a->H; h++, before += a->E)
                    if ((s.S == 0 || !na_sees(&c, &s, h, t, bad[b])) &&
                        memcmp(before,
                               (float *)a->out + na_at(&c, a->out_stride, b, s.q_row, t, h),
                               (size_t)a->E * sizeof *out)) {
                        na_print(&c);
                        fail_msg("round %d: key %" PRId64 " touched row %" PRId64, round, bad[b], t);
                    }
        }
        free(out), free(bad);
        na_free(&c);
    }
}

/* Dropout: a key is a choice; the choices' mean is the undropped result. With values all one and
 * softmax, out is the sum of the kept weights over 1 - p. */
static void test_dropout_keeps_the_mean(void **state)
{
    (void)state;
    enum { L = 64, KEYS = 500 };
    static float q[L], k[L], v[L], out[L], again[L];
    heed_rng rng = hd_rng(na_seed(), 25);
    double sum = 0, squares = 0;
    for (int i = 0; i < L; i++)
        q[i] = (float)hd_random_normal(&rng), k[i] = (float)hd_random_normal(&rng), v[i] = 1;
    heed_attention_opts o = {.dropout = 0.25};
    heed_attention_arrays a = {.B = 1, .T = L, .S = L, .H = 1, .D = 1, .E = 1, .q = q, .k = k,
                               .v = v, .out = out};
    for (uint64_t key = 0; key < KEYS; key++) {
        a.dropout_key = key, a.out = out;
        assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
        a.out = again;
        assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
        assert_memory_equal(out, again, sizeof out);
        a.dropout_key = key + KEYS;
        assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
        assert_int_not_equal(memcmp(out, again, sizeof out), 0);
        for (int i = 0; i < L; i++)
            sum += (double)out[i], squares += (double)out[i] * (double)out[i];
    }
    double n = KEYS * L, mean = sum / n, deviation = sqrt((squares / n - mean * mean) / n);
    assert_true(fabs(mean - 1) < 5 * deviation);
    assert_true(deviation * sqrt(n) > 0.01);
}

/* Scores of any size keep their weights finite: the largest is taken off first. */
static void test_large_scores(void **state)
{
    (void)state;
    enum { L = 40 };
    float q[L], k[L], v[L], out[L];
    for (int i = 0; i < L; i++)
        q[i] = 1e4f, k[i] = i == 7 ? 1e4f : -1e4f, v[i] = (float)i;
    heed_attention_opts o = {0};
    heed_attention_arrays a = {.B = 1, .T = L, .S = L, .H = 1, .D = 1, .E = 1, .q = q, .k = k,
                               .v = v, .out = out};
    assert_int_equal(heed_attention_forward(NULL, &o, &a), HEED_OK);
    for (int i = 0; i < L; i++)
        assert_true(out[i] == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_future_changes_no_past), cmocka_unit_test(test_hidden_weighs_nothing),
        cmocka_unit_test(test_ragged_is_each_alone),   cmocka_unit_test(test_padded_is_cut),
        cmocka_unit_test(test_threads_change_nothing), cmocka_unit_test(test_dropout_keeps_the_mean),
        cmocka_unit_test(test_large_scores),           cmocka_unit_test(test_window_is_its_mask),
        cmocka_unit_test(test_incremental_is_full),    cmocka_unit_test(test_grouped_is_repeated),
        cmocka_unit_test(test_hidden_keys_touch_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

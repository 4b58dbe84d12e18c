/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention's layers against their definitions in double, within bounds of running error analysis;
 * their weights in a heed_params; what they refuse, and in which words; and that they leave the
 * heap alone. */
#include "../nn/tensors.h"
#include "heed/attention.h"

static const heed_dtype dtypes[] = {HEED_F32, HEED_F64};

/* ---- multi-head attention */

enum { WIDTH_MAX = 32, KEYS_MAX = 12 };

/* One random call: B sequences of T queries and S keys, or ragged ones of their own lengths. */
struct call {
    heed_multihead_weights w;
    heed_attention_opts opts;
    heed_tensor *x, *context, *out, *weights;
    int64_t C, X, D, E, G, T, S;
};

static heed_tensor *maybe(heed_tape *tape, heed_dtype dtype, heed_rng *rng, int64_t n)
{
    return tt_below(rng, 2) ? TT_NEW(tape, dtype, rng, 0.5, n) : NULL;
}

static void call_weights(struct call *c, heed_tape *tape, heed_dtype dtype, heed_rng *rng)
{
    heed_multihead_weights *w = &c->w;
    static const int64_t heads[][2] = {{1, 1}, {2, 2}, {2, 1}, {3, 3}, {3, 1}, {4, 2}};
    const int64_t *pair = heads[tt_below(rng, 6)]; /* of queries, of keys */
    int64_t H = w->heads = pair[0];

    c->D = 1 + tt_below(rng, 8), c->E = 1 + tt_below(rng, 8), c->G = pair[1];
    w->q = TT_NEW(tape, dtype, rng, 0.5, H * c->D, c->C);
    w->k = TT_NEW(tape, dtype, rng, 0.5, c->G * c->D, c->X);
    w->v = TT_NEW(tape, dtype, rng, 0.5, c->G * c->E, c->X);
    w->q_bias = maybe(tape, dtype, rng, H * c->D);
    w->k_bias = maybe(tape, dtype, rng, c->G * c->D);
    w->v_bias = maybe(tape, dtype, rng, c->G * c->E);
    if (tt_below(rng, 4)) {
        w->o = TT_NEW(tape, dtype, rng, 0.5, c->C, H * c->E);
        w->o_bias = maybe(tape, dtype, rng, c->C);
    }
}

/* The row of x as exact numbers. */
static void row_of(struct tt_near *to, const heed_tensor *x, int64_t row)
{
    int64_t C = x->dim[x->rank - 1];

    for (int64_t c = 0; c < C; c++)
        to[c] = tt_exact(x, row * C + c);
}

/* One head of one query: shares of the n keys it may see, and the sum of their values. */
static void head_by_definition(const struct call *c, const struct tt_near *q,
                               struct tt_near (*k)[WIDTH_MAX], struct tt_near (*v)[WIDTH_MAX],
                               int64_t h, int64_t n, struct tt_near *share, struct tt_near *out)
{
    double unit = tt_unit(c->x->dtype), scale = 1 / sqrt((double)c->D);
    int64_t g = h / (c->w.heads / c->G);
    struct tt_near score[KEYS_MAX];

    for (int64_t s = 0; s < n; s++) {
        double mass = 0;
        score[s] = (struct tt_near){0, 0};
        for (int64_t d = 0; d < c->D; d++) {
            struct tt_near a = tt_product(q[h * c->D + d], k[s][g * c->D + d], unit);
            score[s].value += scale * a.value, score[s].error += scale * a.error;
            mass += scale * fabs(a.value);
        }
        score[s].error += tt_gamma(c->D + 4, c->x->dtype) * mass;
    }
    tt_softmax(share, score, n, c->x->dtype);
    for (int64_t e = 0; e < c->E; e++) {
        double mass = 0;
        struct tt_near sum = {0, 0};
        for (int64_t s = 0; s < n; s++) {
            struct tt_near a = tt_product(share[s], v[s][g * c->E + e], unit);
            sum.value += a.value, sum.error += a.error, mass += fabs(a.value);
        }
        out[h * c->E + e] =
            (struct tt_near){sum.value, sum.error + tt_gamma(n + 4, c->x->dtype) * mass};
    }
}

/* Queries [q_row, q_row + T) over keys [k_row, k_row + S), of which the first `seen` are no
 * padding. */
static void check_sequence(const struct call *c, int64_t q_row, int64_t T, int64_t k_row, int64_t S,
                           int64_t seen, int64_t b)
{
    const heed_tensor *context = c->context ? c->context : c->x;
    struct tt_near row[WIDTH_MAX], q[WIDTH_MAX], k[KEYS_MAX][WIDTH_MAX], v[KEYS_MAX][WIDTH_MAX],
        share[KEYS_MAX], heads[WIDTH_MAX], out[WIDTH_MAX];
    int64_t H = c->w.heads, width = c->out->dim[c->out->rank - 1];

    for (int64_t s = 0; s < S; s++) {
        row_of(row, context, k_row + s);
        tt_linear(k[s], row, c->w.k, c->w.k_bias);
        tt_linear(v[s], row, c->w.v, c->w.v_bias);
    }
    for (int64_t t = 0; t < T; t++) {
        int64_t n = c->opts.causal && t + S - T + 1 < seen ? t + S - T + 1 : seen;
        n = n < 0 ? 0 : n;
        row_of(row, c->x, q_row + t);
        tt_linear(q, row, c->w.q, c->w.q_bias);
        for (int64_t h = 0; h < H; h++) {
            head_by_definition(c, q, k, v, h, n, share, heads);
            for (int64_t s = 0; c->weights && s < S; s++)
                tt_assert_near(tt_get(c->weights, ((b * H + h) * T + t) * S + s),
                               s < n ? share[s] : (struct tt_near){0, 0});
        }
        if (c->w.o)
            tt_linear(out, heads, c->w.o, c->w.o_bias);
        for (int64_t i = 0; i < width; i++)
            tt_assert_near(tt_get(c->out, (q_row + t) * width + i), c->w.o ? out[i] : heads[i]);
    }
}

static void check_ragged(struct call *c, heed_tape *tape, heed_dtype dtype, heed_rng *rng)
{
    int64_t offsets[4] = {0};
    bool cross = tt_below(rng, 2);

    for (int b = 0; b < 3; b++)
        offsets[b + 1] = offsets[b] + tt_below(rng, KEYS_MAX + 1);
    c->opts.offsets = offsets, c->opts.sequences = 3;
    c->X = cross ? c->X : c->C;
    call_weights(c, tape, dtype, rng);
    c->x = TT_NEW(tape, dtype, rng, 1, offsets[3], c->C);
    c->context = cross ? TT_NEW(tape, dtype, rng, 1, offsets[3], c->X) : NULL;
    assert_int_equal(heed_multihead(tape, c->x, c->context, &c->w, &c->opts, &c->out, NULL),
                     HEED_OK);
    for (int64_t b = 0; b < 3; b++) {
        int64_t n = offsets[b + 1] - offsets[b];
        check_sequence(c, offsets[b], n, offsets[b], n, n, b);
    }
}

static void check_padded(struct call *c, heed_tape *tape, heed_dtype dtype, heed_rng *rng)
{
    int64_t lengths[3], B = tt_below(rng, 4);
    bool cross = tt_below(rng, 2);

    c->T = tt_below(rng, KEYS_MAX + 1);
    c->S = cross ? tt_below(rng, KEYS_MAX + 1) : c->T;
    for (int b = 0; b < 3; b++)
        lengths[b] = tt_below(rng, c->S + 1);
    c->opts.lengths = tt_below(rng, 2) ? lengths : NULL;
    c->X = cross ? c->X : c->C;
    call_weights(c, tape, dtype, rng);
    c->x = TT_NEW(tape, dtype, rng, 1, B, c->T, c->C);
    c->context = cross ? TT_NEW(tape, dtype, rng, 1, B, c->S, c->X) : NULL;
    assert_int_equal(heed_multihead(tape, c->x, c->context, &c->w, &c->opts, &c->out, &c->weights),
                     HEED_OK);
    for (int64_t b = 0; b < B; b++)
        check_sequence(c, b * c->T, c->T, b * c->S, c->S, c->opts.lengths ? lengths[b] : c->S, b);
}

static void test_multihead(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 20);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 300; round++) {
        struct call c = {.opts = {.causal = round / 4 % 2}};
        heed_tape_reset(tape);
        c.C = 1 + tt_below(&rng, WIDTH_MAX), c.X = 1 + tt_below(&rng, WIDTH_MAX);
        (round / 2 % 2 ? check_ragged : check_padded)(&c, tape, dtypes[round % 2], &rng);
    }
    heed_tape_free(tape);
}

/* What the layer passes on to attention is what attention itself makes of it: tables and options.
 */
static void test_multihead_passes_on(void **state)
{
    static const int64_t offsets[] = {0, 5, 9};
    static const int64_t times[9] = {0, 1000, 5000, 100000, 100001, 5, 6, 70, 800000};
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 21);
    heed_attention_opts opts = {.causal = true,
                                .offsets = offsets,
                                .sequences = 2,
                                .scale = 0.3,
                                .weight = HEED_WEIGHT_SILU,
                                .key_times = times,
                                .query_times = times};
    heed_tensor *q[3], *want, *got;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 9, 6);
    heed_multihead_weights w = {.heads = 2,
                                .q = TT_NEW(tape, HEED_F32, &rng, 1, 8, 6),
                                .k = TT_NEW(tape, HEED_F32, &rng, 1, 8, 6),
                                .v = TT_NEW(tape, HEED_F32, &rng, 1, 8, 6),
                                .learned = {.position = TT_NEW(tape, HEED_F32, &rng, 1, 2, 4),
                                            .time = TT_NEW(tape, HEED_F32, &rng, 1, 2, 30)}};
    heed_tensor *weight[] = {w.q, w.k, w.v};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(heed_linear(tape, x, weight[i], NULL, &q[i]), HEED_OK);
        assert_int_equal(heed_reshape(tape, q[i], (int64_t[]){9, 2, 4}, 3, &q[i]), HEED_OK);
    }
    assert_int_equal(heed_attention(tape, q[0], q[1], q[2], &w.learned, &opts, &want, NULL),
                     HEED_OK);
    assert_int_equal(heed_multihead(tape, x, NULL, &w, &opts, &got, NULL), HEED_OK);
    assert_memory_equal(want->data, got->data, 9 * 8 * sizeof(float));
    heed_tape_free(tape);
}

static void test_multihead_init(void **state)
{
    heed_params *params;
    heed_multihead_weights w;
    const struct {
        heed_multihead_shape shape;
        const char *words;
    } bad[] = {
        {{.width = 8}, "0 heads of a width of 8"},
        {{.width = 8, .heads = 3}, "3 heads of a width of 8"},
        {{.width = 0, .heads = 3}, "width 0"},
        {{.width = 8, .heads = 4, .kv_heads = 3}, "3 heads of keys for 4 of queries"},
        {{.width = 8, .heads = 4, .kv_heads = -2}, "-2 heads of keys"},
        {{.width = 8, .heads = 4, .context_width = -1}, "context's -1"},
        {{.width = 8, .heads = 4, .head_width = INT64_MAX}, "head's 9223372036854775807"},
        {{.width = INT64_MAX, .heads = 1}, "width 9223372036854775807"},
        {{.width = 8, .heads = 4, .reserved = {0, 0, 1}}, "reserved"},
    };

    (void)state;
    assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        TT_REFUSED(heed_multihead_init(params, "p", &bad[i].shape, &w), HEED_E_ARG, bad[i].words);
    assert_int_equal(heed_params_count(params), 0);
    const heed_multihead_shape shape = {.width = 8, .context_width = 5, .heads = 4, .kv_heads = 2};
    assert_int_equal(heed_multihead_init(params, "layer0.attention", &shape, &w), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "layer0.attention.k"), w.k);
    assert_ptr_equal(heed_params_find(params, "layer0.attention.o_bias"), w.o_bias);
    assert_int_equal(w.k->dim[0], 4);
    assert_int_equal(w.k->dim[1], 5);
    assert_int_equal(w.q->dim[0], 8);
    const heed_multihead_shape plain = {.width = 8, .heads = 2, .head_width = 3, .no_bias = true};
    assert_int_equal(heed_multihead_init(params, "layer1", &plain, &w), HEED_OK);
    assert_null(w.q_bias);
    assert_int_equal(w.o->dim[1], 6);
    assert_int_equal(heed_params_count(params), 12);
    heed_params_free(params);
}

/* ---- additive pooling and gates */

static void test_additive_pool(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 22);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 80; round++) {
        heed_dtype dtype = dtypes[round % 2];
        double unit = tt_unit(dtype);
        struct tt_batch s;
        heed_tensor *out, *weights;
        heed_tape_reset(tape);
        tt_batch_new(&s, &rng, round / 2 % 2, KEYS_MAX);
        int64_t C = 1 + tt_below(&rng, WIDTH_MAX), A = 1 + tt_below(&rng, WIDTH_MAX);
        heed_tensor *x = tt_batch_rows(tape, dtype, &rng, 1, &s, C);
        heed_additive_weights w = {TT_NEW(tape, dtype, &rng, 0.5, A, C),
                                   maybe(tape, dtype, &rng, A), TT_NEW(tape, dtype, &rng, 1, A)};
        assert_int_equal(heed_additive_pool(tape, x, &w, &s.by, &out, &weights), HEED_OK);
        for (int64_t b = 0; b < s.B; b++) {
            struct tt_near row[WIDTH_MAX], hidden[WIDTH_MAX], score[KEYS_MAX], share[KEYS_MAX];
            int64_t n = s.lengths[b];
            for (int64_t i = 0; i < n; i++) {
                double mass = 0;
                row_of(row, x, s.first[b] + i);
                tt_linear(hidden, row, w.w, w.b);
                score[i] = (struct tt_near){0, 0};
                for (int64_t a = 0; a < A; a++) {
                    struct tt_near p =
                        tt_product(tt_exact(w.v, a), tt_squash(hidden[a], true, unit), unit);
                    score[i].value += p.value, score[i].error += p.error, mass += fabs(p.value);
                }
                score[i].error += tt_gamma(A + 1, dtype) * mass;
            }
            tt_softmax(share, score, n, dtype);
            for (int64_t i = 0; i < n; i++)
                tt_assert_near(tt_get(weights, s.first[b] + i), share[i]);
            for (int64_t c = 0; c < C; c++) {
                struct tt_near sum = {0, 0};
                double mass = 0;
                for (int64_t i = 0; i < n; i++) {
                    struct tt_near p =
                        tt_product(share[i], tt_exact(x, (s.first[b] + i) * C + c), unit);
                    sum.value += p.value, sum.error += p.error, mass += fabs(p.value);
                }
                sum.error += tt_gamma(n + 1, dtype) * mass;
                tt_assert_near(tt_get(out, b * C + c), sum);
            }
        }
    }
    heed_tape_free(tape);
}

static void test_gate(void **state)
{
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 23);

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 40; round++) {
        heed_dtype dtype = dtypes[round % 2];
        int64_t N = tt_below(&rng, 9), C = 1 + tt_below(&rng, 9), F = 1 + tt_below(&rng, WIDTH_MAX);
        heed_tensor *out;
        heed_tape_reset(tape);
        heed_tensor *x = TT_NEW(tape, dtype, &rng, 1, N, C),
                    *phi = TT_NEW(tape, dtype, &rng, 1, N, F),
                    *theta = TT_NEW(tape, dtype, &rng, 1, F), *bias = maybe(tape, dtype, &rng, 1);
        assert_int_equal(heed_gate(tape, x, phi, theta, bias, &out), HEED_OK);
        for (int64_t i = 0; i < N; i++) {
            double sum = bias ? tt_get(bias, 0) : 0, mass = fabs(sum);
            for (int64_t f = 0; f < F; f++) {
                double a = tt_get(theta, f) * tt_get(phi, i * F + f);
                sum += a, mass += fabs(a);
            }
            struct tt_near open = {sum, tt_gamma(F + 2, dtype) * mass};
            open = tt_squash(open, false, tt_unit(dtype));
            for (int64_t c = 0; c < C; c++)
                tt_assert_near(tt_get(out, i * C + c),
                               tt_product(open, tt_exact(x, i * C + c), tt_unit(dtype)));
        }
    }
    heed_tape_free(tape);
}

/* The attention is tested above; here what is made of it. */
static void test_cross_modal(void **state)
{
    heed_tape *tape;
    heed_params *params;
    heed_cross_modal_weights w;
    heed_rng rng = hd_rng(tt_seed(), 24);
    enum { B = 2, T = 5, S = 7, C = 12, X = 20 };
    const heed_multihead_shape shape = {.width = C, .context_width = X, .heads = 3};
    heed_tensor *a, *out, *weights[2];

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    assert_int_equal(heed_params_new(HEED_F32, 5, &params), HEED_OK);
    assert_int_equal(heed_cross_modal_init(params, "fuse", &shape, &w), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "fuse.attention.k"), w.attention.k);
    assert_ptr_equal(heed_params_find(params, "fuse.gate_bias"), w.gate_bias);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, B, T, C),
                *other = TT_NEW(tape, HEED_F32, &rng, 1, B, S, X);
    assert_int_equal(heed_multihead(tape, x, other, &w.attention, NULL, &a, &weights[0]), HEED_OK);
    assert_int_equal(heed_cross_modal(tape, x, other, &w, NULL, &out, &weights[1]), HEED_OK);
    assert_memory_equal(weights[0]->data, weights[1]->data, B * 3 * T * S * sizeof(float));
    for (int64_t i = 0; i < B * T; i++) {
        struct tt_near both[2 * C], open[C];
        row_of(both, x, i), row_of(both + C, a, i);
        tt_linear(open, both, w.gate, w.gate_bias);
        for (int64_t c = 0; c < C; c++) {
            struct tt_near taken = tt_product(tt_squash(open[c], false, tt_unit(HEED_F32)),
                                              both[C + c], tt_unit(HEED_F32));
            double sum = both[c].value + taken.value;
            tt_assert_near(tt_get(out, i * C + c),
                           (struct tt_near){sum, taken.error + tt_unit(HEED_F32) * fabs(sum)});
        }
    }
    heed_params_free(params);
    heed_tape_free(tape);
}

/* The block is its layers, called one after the other. */
static void test_transformer_block(void **state)
{
    heed_tape *tape;
    heed_params *params;
    heed_transformer_weights w;
    heed_rng rng = hd_rng(tt_seed(), 25);
    const heed_multihead_shape shape = {.width = 8, .heads = 2};
    const heed_attention_opts opts = {.causal = true};
    heed_tensor *y, *z, *out;

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    assert_int_equal(heed_params_new(HEED_F32, 5, &params), HEED_OK);
    assert_int_equal(heed_transformer_init(params, "block", &shape, 24, &w), HEED_OK);
    const char *names[] = {"block.norm.gain", "block.attention.q", "block.wide_norm.bias",
                           "block.up.weight", "block.down.bias"};
    for (int i = 0; i < 5; i++)
        assert_non_null(heed_params_find(params, names[i]));
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 3, 6, 8);
    assert_int_equal(heed_layer_norm(tape, x, w.norm_gain, w.norm_bias, 1e-5, &y), HEED_OK);
    assert_int_equal(heed_multihead(tape, y, NULL, &w.attention, &opts, &y, NULL), HEED_OK);
    assert_int_equal(heed_add(tape, x, y, &y), HEED_OK);
    assert_int_equal(heed_layer_norm(tape, y, w.wide_norm_gain, w.wide_norm_bias, 1e-5, &z),
                     HEED_OK);
    assert_int_equal(heed_linear(tape, z, w.up, w.up_bias, &z), HEED_OK);
    assert_int_equal(heed_gelu(tape, z, &z), HEED_OK);
    assert_int_equal(heed_linear(tape, z, w.down, w.down_bias, &z), HEED_OK);
    assert_int_equal(heed_add(tape, y, z, &y), HEED_OK);
    assert_int_equal(heed_transformer_block(tape, x, &w, &opts, 0, &out, NULL), HEED_OK);
    assert_memory_equal(out->data, y->data, 3 * 6 * 8 * sizeof(float));
    heed_params_free(params);
    heed_tape_free(tape);
}

/* ---- what is refused, and the heap */

static void test_bad_input(void **state)
{
    static const int64_t offsets[] = {0, 4};
    heed_tape *tape;
    heed_rng rng = hd_rng(tt_seed(), 26);
    heed_tensor *out;
    const heed_attention_opts ragged = {.offsets = offsets, .sequences = 1};

    (void)state;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 2, 3, 6),
                *w = TT_NEW(tape, HEED_F32, &rng, 1, 6, 6),
                *nine = TT_NEW(tape, HEED_F32, &rng, 1, 9, 6),
                *v = TT_NEW(tape, HEED_F32, &rng, 1, 6),
                *y = TT_NEW(tape, HEED_F32, &rng, 1, 2, 3, 5);
    const struct {
        heed_multihead_weights w;
        heed_tensor *context;
        const heed_attention_opts *opts;
        heed_status status;
        const char *words;
    } rows[] = {
        {{2, NULL, w, w, w}, NULL, NULL, HEED_E_ARG, "multihead: q is missing"},
        {{2, w, w, NULL, w}, NULL, NULL, HEED_E_ARG, "multihead: v is missing"},
        {{2, w, v, w, w}, NULL, NULL, HEED_E_SHAPE, "multihead: k is (6), not of rank 2"},
        {{0, w, w, w, w}, NULL, NULL, HEED_E_ARG, "0 heads of a q of (6, 6)"},
        {{4, w, w, w, w}, NULL, NULL, HEED_E_ARG, "4 heads of a q of (6, 6)"},
        {{2, w, nine, w, w}, NULL, NULL, HEED_E_SHAPE, "k is (9, 6), which is no 3 rows"},
        {{2, w, w, nine, w}, NULL, NULL, HEED_E_SHAPE, "v is (9, 6), but k has 2 heads"},
        {{2, w, w, w, nine, .q_bias = x}, NULL, NULL, HEED_E_SHAPE, "q: linear: b is (2, 3, 6)"},
        {{2, w, w, w, w}, y, NULL, HEED_E_SHAPE, "k: linear: x is (2, 3, 5), not (N, 6)"},
        {{2, w, w, w, w}, v, NULL, HEED_E_SHAPE, "the context (6), not of rank 3"},
        {{2, w, w, w, w}, NULL, &ragged, HEED_E_SHAPE, "not of rank 2, as with offsets"},
        {{2, w, w, w, w, .learned = {.position = v}}, NULL, NULL, HEED_E_SHAPE, "position"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        TT_REFUSED(heed_multihead(tape, x, rows[i].context, &rows[i].w, rows[i].opts, &out, NULL),
                   rows[i].status, rows[i].words);

    TT_REFUSED(
        heed_additive_pool(tape, x, &(heed_additive_weights){NULL, NULL, v}, NULL, &out, NULL),
        HEED_E_ARG, "additive_pool: w is missing");
    TT_REFUSED(
        heed_additive_pool(tape, x, &(heed_additive_weights){w, NULL, NULL}, NULL, &out, NULL),
        HEED_E_ARG, "additive_pool: v is missing");
    TT_REFUSED(heed_additive_pool(tape, x, &(heed_additive_weights){w, NULL, w}, NULL, &out, NULL),
               HEED_E_SHAPE, "additive_pool: v is (6, 6), not (A)");
    TT_REFUSED(heed_additive_pool(tape, y, &(heed_additive_weights){w, NULL, v}, NULL, &out, NULL),
               HEED_E_SHAPE, "additive_pool: linear: x is (2, 3, 5)");
    TT_REFUSED(heed_gate(tape, x, x, w, NULL, &out), HEED_E_SHAPE,
               "gate: theta is (6, 6), not (F)");
    TT_REFUSED(heed_gate(tape, x, y, v, NULL, &out), HEED_E_SHAPE, "gate: linear: x is (2, 3, 5)");
    heed_cross_modal_weights fuse = {.attention = {2, w, w, w, w}};
    TT_REFUSED(heed_cross_modal(tape, x, x, &fuse, NULL, &out, NULL), HEED_E_ARG,
               "the gate's weights are missing");
    fuse.gate = w;
    TT_REFUSED(heed_cross_modal(tape, x, NULL, &fuse, NULL, &out, NULL), HEED_E_ARG,
               "the other modality is missing");
    TT_REFUSED(heed_cross_modal(tape, x, x, &fuse, NULL, &out, NULL), HEED_E_SHAPE,
               "cross_modal: linear: x is (2, 3, 12), not (N, 6)");
    heed_transformer_weights block = {.attention = {2, w, w, w, w}, .up = w};
    TT_REFUSED(heed_transformer_block(tape, x, &block, NULL, 0, &out, NULL), HEED_E_ARG,
               "transformer: down is missing");
    block.down = w;
    TT_REFUSED(heed_transformer_block(tape, x, &block, NULL, 1, &out, NULL), HEED_E_ARG,
               "transformer: dropout_add: the share 1");
    heed_tape_free(tape);
}

static void test_bad_inits(void **state)
{
    heed_params *params;
    heed_additive_weights pool;
    heed_transformer_weights block;
    heed_cross_modal_weights fuse;
    heed_multihead_shape shape = {.width = 8, .heads = 2};

    (void)state;
    assert_int_equal(heed_params_new(HEED_F32, 1, &params), HEED_OK);
    TT_REFUSED(heed_additive_init(params, "p", 3, 0, &pool), HEED_E_ARG, "0 numbers of 3");
    TT_REFUSED(heed_transformer_init(params, "p", &shape, 0, &block), HEED_E_ARG,
               "wide layers of 0");
    shape.heads = 3;
    TT_REFUSED(heed_cross_modal_init(params, "p", &shape, &fuse), HEED_E_ARG, "3 heads");
    assert_int_equal(heed_additive_init(params, "p", 3, 4, &pool), HEED_OK);
    assert_ptr_equal(heed_params_find(params, "p.v"), pool.v);
    heed_params_free(params);
}

static void step_of_layers(heed_tape *tape)
{
    static const int64_t offsets[] = {0, 40, 41, 80};
    const heed_attention_opts opts = {.offsets = offsets, .sequences = 3, .causal = true};
    const heed_sequences by = {.offsets = offsets, .count = 3};
    heed_rng rng = hd_rng(1, 1);
    heed_tensor *x = TT_NEW(tape, HEED_F32, &rng, 1, 80, 16),
                *w = TT_NEW(tape, HEED_F32, &rng, 0.3, 16, 16);
    heed_transformer_weights block = {.attention = {4, w, w, w, w}, .up = w, .down = w};
    heed_cross_modal_weights fuse = {block.attention, TT_NEW(tape, HEED_F32, &rng, 0.3, 16, 32),
                                     NULL};

    assert_int_equal(heed_transformer_block(tape, x, &block, &opts, 0.1, &x, NULL), HEED_OK);
    assert_int_equal(heed_cross_modal(tape, x, x, &fuse, &opts, &x, NULL), HEED_OK);
    assert_int_equal(heed_gate(tape, x, x, TT_NEW(tape, HEED_F32, &rng, 1, 16), NULL, &x), HEED_OK);
    heed_additive_weights pool = {w, NULL, TT_NEW(tape, HEED_F32, &rng, 1, 16)};
    assert_int_equal(heed_additive_pool(tape, x, &pool, &by, &x, NULL), HEED_OK);
    tt_backward(tape, x, &rng);
}

static void test_heap(void **state)
{
    (void)state;
    tt_check_heap(step_of_layers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multihead),
        cmocka_unit_test(test_multihead_passes_on),
        cmocka_unit_test(test_multihead_init),
        cmocka_unit_test(test_additive_pool),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_cross_modal),
        cmocka_unit_test(test_transformer_block),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_bad_inits),
        cmocka_unit_test(test_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

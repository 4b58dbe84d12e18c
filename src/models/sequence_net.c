/* SPDX-License-Identifier: Apache-2.0
 *
 * Two recipes for "what comes next", on the layers of heed/nn.h.
 *
 * SASRec+    x = Drop(E[item] sqrt(C) + P[position])
 *   a block  q = LN(x);  h = LN(q + MHA(q, x, x));  x = h + Drop(W2 Drop(relu(W1 h)))
 *   the end  s = LN(x);  logits s E^T
 *   Kang, McAuley 2018, "Self-attentive sequential recommendation"; full softmax and tied tables:
 *   Klenitskiy, Vasilev 2023, "Turning dross into gold loss".
 *
 * HSTU       x = Drop(E[item] sqrt(C))
 *   a block  u, v, q, k = split(SiLU(LN(x) W));  a = SiLU(q k^T + p[i - j] + w[bucket(t_i - t_j)]) / n
 *            x = x + Drop(u * LN(a v)) W_o + b_o
 *   the end  cosines of state and items, over a temperature
 *   Zhai et al. 2024, "Actions speak louder than words", section 3.
 */
#include "models/sequence_net.h"

#include <math.h>
#include <stdio.h>

#define NORM_EPS 1e-8
#define UNIT_EPS 1e-6
#define HSTU_TEMPERATURE 0.05

static bool is_hstu(const struct hd_sequence_config *c)
{
    return c->recipe == HEED_RECIPE_HSTU;
}

heed_status hd_sequence_config_complete(struct hd_sequence_config *c)
{
    if (c->recipe == HEED_RECIPE_DEFAULT)
        c->recipe = HEED_RECIPE_HSTU;
    if (c->recipe != HEED_RECIPE_SASREC && c->recipe != HEED_RECIPE_HSTU)
        return hd_fail(HEED_E_ARG, "sequence: recipe %d is none of sasrec, hstu", (int)c->recipe);
    c->dim = c->dim ? c->dim : 64;
    c->layers = c->layers ? c->layers : is_hstu(c) ? 4 : 2;
    c->heads = c->heads ? c->heads : is_hstu(c) ? 2 : 1;
    c->length = c->length ? c->length : 200;
    c->timed = c->timed && is_hstu(c);
    if (c->items < 1)
        return hd_fail(HEED_E_ARG, "sequence: a catalogue of %lld items", (long long)c->items);
    if (c->dim < 1 || c->dim > HD_SEQUENCE_DIM_MAX)
        return hd_fail(HEED_E_ARG, "sequence: dim %lld is not 1 to %d", (long long)c->dim,
                       HD_SEQUENCE_DIM_MAX);
    if (c->layers < 1 || c->layers > HD_SEQUENCE_LAYERS_MAX)
        return hd_fail(HEED_E_ARG, "sequence: layers %lld is not 1 to %d", (long long)c->layers,
                       HD_SEQUENCE_LAYERS_MAX);
    if (c->heads < 1 || c->heads > HD_SEQUENCE_HEADS_MAX || c->dim % c->heads != 0)
        return hd_fail(HEED_E_ARG, "sequence: %lld heads do not divide dim %lld",
                       (long long)c->heads, (long long)c->dim);
    if (c->length < 1 || c->length > HD_SEQUENCE_LENGTH_MAX)
        return hd_fail(HEED_E_ARG, "sequence: length %lld is not 1 to %d", (long long)c->length,
                       HD_SEQUENCE_LENGTH_MAX);
    return HEED_OK;
}

/* Finds or makes one parameter; layer < 0: its name stands alone. */
struct binder {
    heed_params *params;
    bool create;
    int layer;
};

static heed_status bind(const struct binder *b, const char *name, int64_t rows, int64_t cols,
                        heed_init init, double scale, heed_tensor **out)
{
    int rank = cols ? 2 : 1;
    char full[64];

    if (b->layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "block.%d.%s", b->layer, name);
    if (b->create)
        return heed_params_add(b->params, full, (int64_t[]){rows, cols}, rank, init, scale, out);
    heed_tensor *t = heed_params_find(b->params, full);
    if (!t)
        return hd_fail(HEED_E_FORMAT, "sequence: no tensor %s", full);
    if (t->rank != rank || t->dim[0] != rows || (rank == 2 && t->dim[1] != cols))
        return hd_fail(HEED_E_SHAPE, "sequence: %s has %lld rows, not %lld", full,
                       (long long)t->dim[0], (long long)rows);
    *out = t;
    return HEED_OK;
}

#define WEIGHT(name, rows, cols, field)                                                            \
    HD_TRY(bind(&b, name, rows, cols, HEED_INIT_NORMAL, 0.02, &(field)))
#define NORM(name, gain, offset)                                                                   \
    HD_TRY(bind(&b, name ".gain", C, 0, HEED_INIT_ONES, 1, &(gain)));                              \
    HD_TRY(bind(&b, name ".bias", C, 0, HEED_INIT_ZEROS, 0, &(offset)))
#define BIAS(name, field) HD_TRY(bind(&b, name, C, 0, HEED_INIT_ZEROS, 0, &(field)))

heed_status hd_sequence_net_bind(struct hd_sequence_net *net,
                                 const struct hd_sequence_config *config, heed_params *params,
                                 bool create)
{
    struct binder b = {params, create, -1};
    int64_t C = config->dim, H = config->heads;

    *net = (struct hd_sequence_net){.config = *config};
    WEIGHT("item", config->items, C, net->item);
    if (!is_hstu(config))
        WEIGHT("position", config->length, C, net->position);
    for (int l = 0; l < config->layers; l++) {
        struct hd_sequence_block *block = &net->block[l];
        b.layer = l;
        NORM("norm", block->norm_gain, block->norm_bias);
        if (is_hstu(config)) {
            WEIGHT("uvqk", 4 * C, C, block->uvqk);
            WEIGHT("position_bias", H, config->length, block->position_bias);
            if (config->timed)
                WEIGHT("time_bias", H, HD_TIME_BUCKETS, block->time_bias);
            NORM("out_norm", block->out_gain, block->out_bias);
            HD_TRY(bind(&b, "o", C, C, HEED_INIT_XAVIER_UNIFORM, 1, &block->o));
            BIAS("o.bias", block->o_bias);
        } else {
            WEIGHT("q", C, C, block->q);
            WEIGHT("k", C, C, block->k);
            WEIGHT("v", C, C, block->v);
            WEIGHT("o", C, C, block->o);
            BIAS("o.bias", block->o_bias);
            NORM("ff_norm", block->ff_gain, block->ff_bias);
            WEIGHT("ff1", C, C, block->ff1);
            BIAS("ff1.bias", block->ff1_bias);
            WEIGHT("ff2", C, C, block->ff2);
            BIAS("ff2.bias", block->ff2_bias);
        }
    }
    b.layer = -1;
    NORM("final", net->final_gain, net->final_bias);
    return HEED_OK;
}

/* (N, C) as (N, H, D): the heads lie side by side in a row. */
static heed_status split_heads(heed_tape *tape, heed_tensor *x, int64_t H, heed_tensor **out)
{
    return heed_reshape(tape, x, (int64_t[]){x->dim[0], H, x->dim[1] / H}, 3, out);
}

static heed_status attend(heed_tape *tape, heed_tensor *q, heed_tensor *k, heed_tensor *v,
                          const struct hd_sequence_net *net, const struct hd_sequence_block *block,
                          const struct hd_sequence_batch *batch, double dropout,
                          heed_tensor **out, heed_tensor **weights)
{
    int64_t N = q->dim[0], C = q->dim[1], H = net->config.heads;
    heed_attention_bias bias = {block->position_bias, block->time_bias};
    heed_attention_opts opts = {
        .weight = is_hstu(&net->config) ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
        .causal = true,
        .offsets = batch->offset,
        .sequences = batch->sequences,
        .key_times = block->time_bias ? batch->time : NULL,
        .query_times = block->time_bias ? batch->query : NULL,
        .dropout = is_hstu(&net->config) ? 0 : dropout,
    };

    HD_TRY(split_heads(tape, q, H, &q));
    HD_TRY(split_heads(tape, k, H, &k));
    HD_TRY(split_heads(tape, v, H, &v));
    HD_TRY(heed_attention(tape, q, k, v, &bias, &opts, out, weights));
    return heed_reshape(tape, *out, (int64_t[]){N, C}, 2, out);
}

static heed_status sasrec_block(heed_tape *tape, const struct hd_sequence_net *net, int l,
                                const struct hd_sequence_batch *batch, double dropout,
                                heed_tensor **x, struct hd_sequence_trace *trace)
{
    const struct hd_sequence_block *w = &net->block[l];
    heed_tensor *xq, *q, *k, *v, *a, *h, *f;

    HD_TRY(heed_layer_norm(tape, *x, w->norm_gain, w->norm_bias, NORM_EPS, &xq));
    HD_TRY(heed_linear(tape, xq, w->q, NULL, &q));
    HD_TRY(heed_linear(tape, *x, w->k, NULL, &k));
    HD_TRY(heed_linear(tape, *x, w->v, NULL, &v));
    HD_TRY(attend(tape, q, k, v, net, w, batch, dropout, &a,
                  trace ? &trace->layer[l].weights : NULL));
    if (trace)
        trace->layer[l].v = v, trace->layer[l].out = a;
    HD_TRY(heed_linear(tape, a, w->o, w->o_bias, &h));
    HD_TRY(heed_add(tape, xq, h, &h));
    HD_TRY(heed_layer_norm(tape, h, w->ff_gain, w->ff_bias, NORM_EPS, &h));
    HD_TRY(heed_linear(tape, h, w->ff1, w->ff1_bias, &f));
    HD_TRY(heed_relu(tape, f, &f));
    HD_TRY(heed_dropout(tape, f, dropout, &f));
    HD_TRY(heed_linear(tape, f, w->ff2, w->ff2_bias, &f));
    return heed_dropout_add(tape, h, f, dropout, x);
}

static heed_status hstu_block(heed_tape *tape, const struct hd_sequence_net *net, int l,
                              const struct hd_sequence_batch *batch, double dropout,
                              heed_tensor **x, struct hd_sequence_trace *trace)
{
    const struct hd_sequence_block *w = &net->block[l];
    int64_t C = net->config.dim;
    heed_tensor *h, *u, *v, *q, *k, *a;

    HD_TRY(heed_layer_norm(tape, *x, w->norm_gain, w->norm_bias, NORM_EPS, &h));
    HD_TRY(heed_linear(tape, h, w->uvqk, NULL, &h));
    HD_TRY(heed_silu(tape, h, &h));
    HD_TRY(heed_slice(tape, h, 1, 0, C, &u));
    HD_TRY(heed_slice(tape, h, 1, C, C, &v));
    HD_TRY(heed_slice(tape, h, 1, 2 * C, C, &q));
    HD_TRY(heed_slice(tape, h, 1, 3 * C, C, &k));
    HD_TRY(attend(tape, q, k, v, net, w, batch, dropout, &a,
                  trace ? &trace->layer[l].weights : NULL));
    if (trace)
        trace->layer[l].v = v, trace->layer[l].out = a;
    HD_TRY(heed_layer_norm(tape, a, w->out_gain, w->out_bias, NORM_EPS, &a));
    HD_TRY(heed_mul(tape, u, a, &a));
    HD_TRY(heed_dropout(tape, a, dropout, &a));
    HD_TRY(heed_linear(tape, a, w->o, w->o_bias, &a));
    return heed_add(tape, *x, a, x);
}

/* x + 0, where the zeros want a gradient: a served model's weights are frozen and ask for none, so
 * what is traced has to ask for its own. */
static heed_status add_probe(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    heed_tensor *zeros, *probe;

    HD_TRY(heed_tensor_new_in(tape, x->dtype, x->dim, x->rank, &zeros));
    HD_TRY(heed_tensor_wrap(tape, x->dtype, zeros->data, x->dim, x->rank, true, &probe));
    return heed_add(tape, x, probe, out);
}

heed_status hd_sequence_forward(heed_tape *tape, const struct hd_sequence_net *net,
                                const struct hd_sequence_batch *batch, double dropout,
                                heed_tensor **state, struct hd_sequence_trace *trace)
{
    const struct hd_sequence_config *config = &net->config;
    int64_t N = batch->offset[batch->sequences];
    heed_tensor *x, *p;

    HD_TRY(heed_embedding(tape, net->item, batch->item, N, sqrt((double)config->dim), &x));
    if (net->position) {
        HD_TRY(heed_embedding(tape, net->position, batch->position, N, 1, &p));
        HD_TRY(heed_add(tape, x, p, &x));
    }
    if (trace) {
        HD_TRY(add_probe(tape, x, &x));
        trace->input = x;
    }
    HD_TRY(heed_dropout(tape, x, dropout, &x));
    for (int l = 0; l < config->layers; l++)
        HD_TRY(is_hstu(config) ? hstu_block(tape, net, l, batch, dropout, &x, trace)
                               : sasrec_block(tape, net, l, batch, dropout, &x, trace));
    HD_TRY(heed_layer_norm(tape, x, net->final_gain, net->final_bias, NORM_EPS, &x));
    if (is_hstu(config))
        HD_TRY(heed_l2_normalize(tape, x, UNIT_EPS, &x));
    *state = x;
    return HEED_OK;
}

heed_status hd_sequence_output(heed_tape *tape, const struct hd_sequence_net *net,
                               heed_tensor **table, double *scale)
{
    *table = net->item;
    *scale = 1;
    if (!is_hstu(&net->config))
        return HEED_OK;
    *scale = 1 / HSTU_TEMPERATURE;
    return heed_l2_normalize(tape, net->item, UNIT_EPS, table);
}

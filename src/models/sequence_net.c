/* SPDX-License-Identifier: Apache-2.0
 *
 * Three recipes for "what comes next", on the layers of heed/nn.h.
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
 *
 * LiGR       x = Drop(E[item] sqrt(C) + P[position])
 *   a block  a = softmax(q k^T / sqrt(D) + p[i - j] + w[bucket(t_i - t_j)]) v,  q, k, v of LN(x)
 *            x = x + Drop(sigmoid(W_1 x) * (a W_o + b_o))
 *            x = x + Drop(sigmoid(W_2 x) * (W_d (SiLU(W_g LN(x)) * W_u LN(x)) + b_d))
 *   the end  s = LN(x);  logits s E^T
 *   Borisyuk et al. 2025, "From features to transformers" (gated residuals); Shazeer 2020 (SwiGLU);
 *   the position and time bias are HSTU's.
 */
#include "models/sequence_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-8
#define UNIT_EPS 1e-6
#define HSTU_TEMPERATURE 0.05

static bool is_hstu(const struct hd_sequence_config *c)
{
    return c->recipe == HEED_RECIPE_HSTU;
}

static const char *const recipe_names[HEED_RECIPES] = {
    [HEED_RECIPE_DEFAULT] = "ligr",
    [HEED_RECIPE_SASREC] = "sasrec",
    [HEED_RECIPE_HSTU] = "hstu",
    [HEED_RECIPE_LIGR] = "ligr",
};

const char *heed_recipe_name(heed_recipe recipe)
{
    return recipe >= 0 && recipe < HEED_RECIPES ? recipe_names[recipe] : NULL;
}

heed_status heed_recipe_find(const char *name, heed_recipe *recipe)
{
    for (int i = HEED_RECIPE_SASREC; i < HEED_RECIPES; i++)
        if (strcmp(name, recipe_names[i]) == 0) {
            *recipe = (heed_recipe)i;
            return HEED_OK;
        }
    return hd_fail(HEED_E_ARG, "recipe: \"%.40s\" is none of sasrec, hstu, ligr", name);
}

heed_status hd_sequence_config_complete(struct hd_sequence_config *c)
{
    if (c->recipe == HEED_RECIPE_DEFAULT)
        c->recipe = HEED_RECIPE_LIGR;
    if (!heed_recipe_name(c->recipe))
        return hd_fail(HEED_E_ARG, "sequence: there is no recipe %d", (int)c->recipe);
    c->dim = c->dim ? c->dim : 64;
    c->layers = c->layers ? c->layers : is_hstu(c) ? 4 : 2;
    c->heads = c->heads ? c->heads : c->recipe == HEED_RECIPE_SASREC ? 1 : 2;
    c->length = c->length ? c->length : 200;
    c->timed = c->timed && c->recipe != HEED_RECIPE_SASREC;
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
    HD_TRY(bind(b, name, rows, cols, HEED_INIT_NORMAL, 0.02, &(field)))
#define NORM(name, gain, offset)                                                                   \
    HD_TRY(bind(b, name ".gain", C, 0, HEED_INIT_ONES, 1, &(gain)));                               \
    HD_TRY(bind(b, name ".bias", C, 0, HEED_INIT_ZEROS, 0, &(offset)))
#define BIAS(name, field) HD_TRY(bind(b, name, C, 0, HEED_INIT_ZEROS, 0, &(field)))

static heed_status bind_biases(const struct binder *b, const struct hd_sequence_config *config,
                               struct hd_sequence_block *w)
{
    WEIGHT("position_bias", config->heads, config->length, w->position_bias);
    if (config->timed)
        WEIGHT("time_bias", config->heads, HD_TIME_BUCKETS, w->time_bias);
    return HEED_OK;
}

static heed_status bind_sasrec(const struct binder *b, int64_t C, struct hd_sequence_block *w)
{
    WEIGHT("q", C, C, w->q);
    WEIGHT("k", C, C, w->k);
    WEIGHT("v", C, C, w->v);
    WEIGHT("o", C, C, w->o);
    BIAS("o.bias", w->o_bias);
    NORM("ff_norm", w->ff_gain, w->ff_bias);
    WEIGHT("up", C, C, w->up);
    BIAS("up.bias", w->up_bias);
    WEIGHT("down", C, C, w->down);
    BIAS("down.bias", w->down_bias);
    return HEED_OK;
}

static heed_status bind_hstu(const struct binder *b, int64_t C, struct hd_sequence_block *w)
{
    WEIGHT("uvqk", 4 * C, C, w->uvqk);
    NORM("out_norm", w->out_gain, w->out_bias);
    HD_TRY(bind(b, "o", C, C, HEED_INIT_XAVIER_UNIFORM, 1, &w->o));
    BIAS("o.bias", w->o_bias);
    return HEED_OK;
}

static heed_status bind_ligr(const struct binder *b, int64_t C, struct hd_sequence_block *w)
{
    WEIGHT("qkv", 3 * C, C, w->qkv);
    WEIGHT("o", C, C, w->o);
    BIAS("o.bias", w->o_bias);
    WEIGHT("attention_gate", C, C, w->attention_gate);
    NORM("ff_norm", w->ff_gain, w->ff_bias);
    WEIGHT("up", C, C, w->up);
    WEIGHT("gate", C, C, w->gate);
    WEIGHT("down", C, C, w->down);
    BIAS("down.bias", w->down_bias);
    WEIGHT("ff_gate", C, C, w->ff_gate);
    return HEED_OK;
}

heed_status hd_sequence_net_bind(struct hd_sequence_net *net,
                                 const struct hd_sequence_config *config, heed_params *params,
                                 bool create)
{
    struct binder binder = {params, create, -1}, *b = &binder;
    int64_t C = config->dim;

    *net = (struct hd_sequence_net){.config = *config};
    WEIGHT("item", config->items, C, net->item);
    if (!is_hstu(config))
        WEIGHT("position", config->length, C, net->position);
    for (b->layer = 0; b->layer < config->layers; b->layer++) {
        struct hd_sequence_block *w = &net->block[b->layer];
        NORM("norm", w->norm_gain, w->norm_bias);
        if (config->recipe != HEED_RECIPE_SASREC)
            HD_TRY(bind_biases(b, config, w));
        if (config->recipe == HEED_RECIPE_SASREC)
            HD_TRY(bind_sasrec(b, C, w));
        else if (is_hstu(config))
            HD_TRY(bind_hstu(b, C, w));
        else
            HD_TRY(bind_ligr(b, C, w));
    }
    b->layer = -1;
    NORM("final", net->final_gain, net->final_bias);
    return HEED_OK;
}

/* (N, C) as (N, H, D): the heads lie side by side in a row. */
static heed_status split_heads(heed_tape *tape, heed_tensor *x, int64_t H, heed_tensor **out)
{
    return heed_reshape(tape, x, (int64_t[]){x->dim[0], H, x->dim[1] / H}, 3, out);
}

/* What the parts of a pass share. */
struct pass {
    heed_tape *tape;
    const struct hd_sequence_net *net;
    const struct hd_sequence_batch *batch;
    double dropout;
    struct hd_sequence_trace *trace; /* or NULL */
};

/* In the last block of an answer all rows are keys, but only the last one asks and goes on. */
static bool asks_last(const struct pass *p, int l)
{
    return p->batch->last && l == p->net->config.layers - 1;
}

static heed_status last_row(const struct pass *p, heed_tensor *x, heed_tensor **out)
{
    return heed_slice(p->tape, x, 0, x->dim[0] - 1, 1, out);
}

/* `count` of the outputs of a layer that makes several things at once: those rows of its weight. */
static heed_status linear_part(const struct pass *p, heed_tensor *x, heed_tensor *w, int64_t from,
                               int64_t count, heed_tensor **out)
{
    heed_tensor *rows;

    HD_TRY(heed_slice(p->tape, w, 0, from, count, &rows));
    return heed_linear(p->tape, x, rows, NULL, out);
}

/* Rows of one sequence, those of earlier passes before x: x goes where they end. rows: (room, C). */
static heed_status join_kept(const struct pass *p, float *rows, heed_tensor **x)
{
    int64_t kept = p->batch->kept->rows, n = (*x)->dim[0], C = (*x)->dim[1];
    const float *from = (*x)->data;

    for (int64_t i = 0; i < n; i++)
        memcpy(rows + (kept + i) * C, from + i * (*x)->stride[0], (size_t)C * sizeof *rows);
    return heed_tensor_wrap(p->tape, HEED_F32, rows, (int64_t[]){kept + n, C}, 2, false, x);
}

/* Attention of layer l, (N, C) in and out; q is (1, C) where only the last row asks. */
static heed_status attend(const struct pass *p, int l, heed_tensor *q, heed_tensor *k,
                          heed_tensor *v, heed_tensor **out)
{
    const struct hd_sequence_block *w = &p->net->block[l];
    const struct hd_sequence_kept *kept = p->batch->kept;
    if (kept) {
        HD_TRY(join_kept(p, kept->key[l], &k));
        HD_TRY(join_kept(p, kept->value[l], &v));
    }
    int64_t T = q->dim[0], S = k->dim[0], C = q->dim[1], H = p->net->config.heads, D = C / H;
    bool hstu = is_hstu(&p->net->config);
    heed_attention_learned bias = {w->position_bias, w->time_bias};
    heed_attention_opts opts = {
        .weight = hstu ? HEED_WEIGHT_SILU : HEED_WEIGHT_SOFTMAX,
        .causal = true,
        .offsets = p->batch->offset,
        .sequences = p->batch->sequences,
        .key_times = w->time_bias ? p->batch->time : NULL,
        .query_times = w->time_bias ? p->batch->query : NULL,
        .dropout = hstu ? 0 : p->dropout,
    };
    heed_tensor *qh, *kh, *vh;

    if (kept || asks_last(p, l)) { /* one sequence: the query's place counts from the keys' end */
        opts.offsets = NULL, opts.sequences = 0;
        opts.query_times = opts.query_times ? opts.query_times + S - T : NULL;
        HD_TRY(heed_reshape(p->tape, q, (int64_t[]){1, T, H, D}, 4, &qh));
        HD_TRY(heed_reshape(p->tape, k, (int64_t[]){1, S, H, D}, 4, &kh));
        HD_TRY(heed_reshape(p->tape, v, (int64_t[]){1, S, H, D}, 4, &vh));
    } else {
        HD_TRY(split_heads(p->tape, q, H, &qh));
        HD_TRY(split_heads(p->tape, k, H, &kh));
        HD_TRY(split_heads(p->tape, v, H, &vh));
    }
    HD_TRY(heed_attention(p->tape, qh, kh, vh, &bias, &opts, out,
                          p->trace ? &p->trace->layer[l].weights : NULL));
    (*out)->keeps_grad = p->trace != NULL;
    HD_TRY(heed_reshape(p->tape, *out, (int64_t[]){T, C}, 2, out));
    if (p->trace)
        p->trace->layer[l].v = v, p->trace->layer[l].out = *out;
    return HEED_OK;
}

static heed_status sasrec_block(const struct pass *p, int l, heed_tensor **x)
{
    const struct hd_sequence_block *w = &p->net->block[l];
    heed_tape *tape = p->tape;
    heed_tensor *asking = *x, *xq, *q, *k, *v, *a, *h, *f;

    if (asks_last(p, l))
        HD_TRY(last_row(p, *x, &asking));
    HD_TRY(heed_layer_norm(tape, asking, w->norm_gain, w->norm_bias, NORM_EPS, &xq));
    HD_TRY(heed_linear(tape, xq, w->q, NULL, &q));
    HD_TRY(heed_linear(tape, *x, w->k, NULL, &k));
    HD_TRY(heed_linear(tape, *x, w->v, NULL, &v));
    HD_TRY(attend(p, l, q, k, v, &a));
    HD_TRY(heed_linear(tape, a, w->o, w->o_bias, &h));
    HD_TRY(heed_add(tape, xq, h, &h));
    HD_TRY(heed_layer_norm(tape, h, w->ff_gain, w->ff_bias, NORM_EPS, &h));
    HD_TRY(heed_linear(tape, h, w->up, w->up_bias, &f));
    HD_TRY(heed_relu(tape, f, &f));
    HD_TRY(heed_dropout(tape, f, p->dropout, &f));
    HD_TRY(heed_linear(tape, f, w->down, w->down_bias, &f));
    return heed_dropout_add(tape, h, f, p->dropout, x);
}

/* u, v, q, k = split(SiLU(h W)) */
static heed_status hstu_split(const struct pass *p, int l, heed_tensor *h, heed_tensor *out[4])
{
    heed_tensor *w = p->net->block[l].uvqk, *row;
    int64_t C = p->net->config.dim;

    if (!asks_last(p, l)) {
        HD_TRY(heed_linear(p->tape, h, w, NULL, &h));
        HD_TRY(heed_silu(p->tape, h, &h));
        return heed_split(p->tape, h, 4, out);
    }
    HD_TRY(last_row(p, h, &row));
    for (int i = 0; i < 4; i++) { /* v and k are everybody's */
        HD_TRY(linear_part(p, i % 2 ? h : row, w, i * C, C, &out[i]));
        HD_TRY(heed_silu(p->tape, out[i], &out[i]));
    }
    return HEED_OK;
}

static heed_status hstu_block(const struct pass *p, int l, heed_tensor **x)
{
    const struct hd_sequence_block *w = &p->net->block[l];
    heed_tape *tape = p->tape;
    heed_tensor *h, *uvqk[4], *a;

    HD_TRY(heed_layer_norm(tape, *x, w->norm_gain, w->norm_bias, NORM_EPS, &h));
    HD_TRY(hstu_split(p, l, h, uvqk));
    if (asks_last(p, l))
        HD_TRY(last_row(p, *x, x));
    HD_TRY(attend(p, l, uvqk[2], uvqk[3], uvqk[1], &a));
    HD_TRY(heed_layer_norm(tape, a, w->out_gain, w->out_bias, NORM_EPS, &a));
    HD_TRY(heed_mul(tape, uvqk[0], a, &a));
    HD_TRY(heed_dropout(tape, a, p->dropout, &a));
    return heed_linear_add(tape, a, w->o, w->o_bias, *x, x);
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

/* sigmoid(W x) * y */
static heed_status gated(heed_tape *tape, heed_tensor *x, heed_tensor *w, heed_tensor *y,
                         heed_tensor **out)
{
    heed_tensor *g;

    HD_TRY(heed_linear(tape, x, w, NULL, &g));
    HD_TRY(heed_sigmoid(tape, g, &g));
    return heed_mul(tape, g, y, out);
}

static heed_status ligr_block(const struct pass *p, int l, heed_tensor **x)
{
    const struct hd_sequence_block *w = &p->net->block[l];
    int64_t C = p->net->config.dim;
    heed_tape *tape = p->tape;
    heed_tensor *h, *qkv[3], *a, *g, *f;

    HD_TRY(heed_layer_norm(tape, *x, w->norm_gain, w->norm_bias, NORM_EPS, &h));
    if (asks_last(p, l)) {
        HD_TRY(last_row(p, h, &qkv[0]));
        HD_TRY(linear_part(p, qkv[0], w->qkv, 0, C, &qkv[0]));
        HD_TRY(linear_part(p, h, w->qkv, C, 2 * C, &h)); /* k and v are everybody's */
        HD_TRY(heed_split(tape, h, 2, qkv + 1));
        HD_TRY(last_row(p, *x, x));
    } else {
        HD_TRY(heed_linear(tape, h, w->qkv, NULL, &h));
        HD_TRY(heed_split(tape, h, 3, qkv));
    }
    HD_TRY(attend(p, l, qkv[0], qkv[1], qkv[2], &a));
    HD_TRY(heed_linear(tape, a, w->o, w->o_bias, &a));
    HD_TRY(gated(tape, *x, w->attention_gate, a, &a));
    HD_TRY(heed_dropout_add(tape, *x, a, p->dropout, x));

    HD_TRY(heed_layer_norm(tape, *x, w->ff_gain, w->ff_bias, NORM_EPS, &h));
    HD_TRY(heed_linear(tape, h, w->up, NULL, &f));
    HD_TRY(heed_linear(tape, h, w->gate, NULL, &g));
    HD_TRY(heed_swiglu(tape, g, f, &f));
    HD_TRY(heed_linear(tape, f, w->down, w->down_bias, &f));
    HD_TRY(gated(tape, *x, w->ff_gate, f, &f));
    return heed_dropout_add(tape, *x, f, p->dropout, x);
}

static heed_status (*const blocks[HEED_RECIPES])(const struct pass *p, int l, heed_tensor **x) = {
    [HEED_RECIPE_SASREC] = sasrec_block,
    [HEED_RECIPE_HSTU] = hstu_block,
    [HEED_RECIPE_LIGR] = ligr_block,
};

heed_status hd_sequence_forward(heed_tape *tape, const struct hd_sequence_net *net,
                                const struct hd_sequence_batch *batch, double dropout,
                                heed_tensor **state, struct hd_sequence_trace *trace)
{
    const struct hd_sequence_config *config = &net->config;
    int64_t first = batch->kept ? batch->kept->rows : 0;
    int64_t N = batch->offset[batch->sequences] - first;
    const struct pass pass = {tape, net, batch, dropout, trace};
    heed_tensor *x, *where;

    HD_TRY(heed_embedding(tape, net->item, batch->item + first, N, sqrt((double)config->dim), &x));
    if (net->position) {
        HD_TRY(heed_embedding(tape, net->position, batch->position + first, N, 1, &where));
        HD_TRY(heed_add(tape, x, where, &x));
    }
    if (trace) {
        HD_TRY(add_probe(tape, x, &x));
        trace->input = x;
    }
    HD_TRY(heed_dropout(tape, x, dropout, &x));
    for (int l = 0; l < config->layers; l++)
        HD_TRY(blocks[config->recipe](&pass, l, &x));
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Embedding with sinusoidal positions, then layers of x + attention(norm(x)) W_o (Vaswani et al.
 * 2017, with the norm before, Xiong et al. 2020). There is no feed-forward part: it would change
 * what is looked at no more than another random matrix does. */
#include "models/untrained.h"
#include "base/random.h"
#include "base/status.h"
#include "heed/nn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Scores of unit deviation make weights that are hardly to be told from each other; twice that is
 * about what trained heads have. Each of two projections gives its root. */
#define SHARPNESS 1.45

struct net {
    const struct hd_untrained_opts *opts;
    heed_params *params;
    heed_tape *tape;
    int64_t n, width;
};

static heed_status embed(struct net *net, const uint64_t *keys, heed_tensor **x)
{
    HD_TRY(heed_tensor_new_in(net->tape, HEED_F32, (int64_t[]){net->n, net->width}, 2, x));
    HD_TRY(heed_sinusoidal(HEED_F32, 0, net->n, net->width, (*x)->data));
    for (int64_t t = 0; t < net->n; t++) {
        float *row = (float *)(*x)->data + t * net->width;
        heed_rng rng = hd_rng(net->opts->seed, keys[t]);
        for (int64_t i = 0; i < net->width; i++)
            row[i] += (float)hd_random_normal(&rng);
    }
    return HEED_OK;
}

/* A random matrix, or what a score's theta is. */
static heed_status draw(struct net *net, int64_t layer, const char *name, const int64_t *dim,
                        int rank, double deviation, heed_tensor **w)
{
    char full[32];

    snprintf(full, sizeof full, "%d.%s", (int)layer, name);
    return heed_params_add(net->params, full, dim, rank, HEED_INIT_NORMAL, deviation, w);
}

/* (n, width) times a random matrix, as (1, n, heads, head_dim). */
static heed_status project(struct net *net, int64_t layer, const char *name, double sharpness,
                           heed_tensor *x, heed_tensor **out)
{
    const int64_t head[4] = {1, net->n, net->opts->heads, net->opts->head_dim};
    heed_tensor *w;

    HD_TRY(draw(net, layer, name, (int64_t[]){net->width, net->width}, 2,
                sharpness / sqrt((double)net->width), &w));
    HD_TRY(heed_linear(net->tape, x, w, NULL, out));
    return heed_reshape(net->tape, *out, head, 4, out);
}

/* What the score has of its own. */
static heed_status draw_theta(struct net *net, int64_t layer, heed_tensor **theta)
{
    int64_t H = net->opts->heads, D = net->opts->head_dim;

    *theta = NULL;
    switch (net->opts->attention.score) {
    case HEED_SCORE_BILINEAR:
        return draw(net, layer, "theta", (int64_t[]){H, D, D}, 3, 1 / sqrt((double)D), theta);
    case HEED_SCORE_ADDITIVE:
        return draw(net, layer, "theta", (int64_t[]){H, D}, 2, 2 / sqrt((double)D), theta);
    case HEED_SCORE_FEATURES:
        return draw(net, layer, "theta", (int64_t[]){H, 4 * D}, 2, 0.5 / sqrt((double)D), theta);
    default:
        return HEED_OK;
    }
}

/* One layer: *x becomes x + attention(norm(x)) W_o. */
static heed_status run_layer(struct net *net, int64_t layer, heed_tensor **x, float *maps)
{
    const int64_t flat[2] = {net->n, net->width};
    heed_attention_learned learned = {0};
    heed_tensor *y, *q, *k, *v, *out, *weights, *w;

    HD_TRY(heed_layer_norm(net->tape, *x, NULL, NULL, 1e-6, &y));
    HD_TRY(project(net, layer, "q", SHARPNESS, y, &q));
    HD_TRY(project(net, layer, "k", SHARPNESS, y, &k));
    if (net->opts->attention.method == HEED_METHOD_LSH)
        k = q; /* shared by definition */
    HD_TRY(project(net, layer, "v", 1, y, &v));
    HD_TRY(draw_theta(net, layer, &learned.theta));
    HD_TRY(heed_attention(net->tape, q, k, v, &learned, &net->opts->attention, &out, &weights));
    memcpy(maps, weights->data, (size_t)(net->opts->heads * net->n * net->n) * sizeof *maps);
    HD_TRY(heed_reshape(net->tape, out, flat, 2, &out));
    HD_TRY(draw(net, layer, "o", (int64_t[]){net->width, net->width}, 2,
                1 / sqrt((double)net->width), &w));
    HD_TRY(heed_linear(net->tape, out, w, NULL, &out));
    return heed_add(net->tape, *x, out, x);
}

static heed_status run(struct net *net, const uint64_t *keys, float *maps)
{
    heed_tensor *x;

    heed_tape_record(net->tape, false);
    HD_TRY(embed(net, keys, &x));
    for (int64_t layer = 0; layer < net->opts->layers; layer++)
        HD_TRY(run_layer(net, layer, &x, maps + layer * net->opts->heads * net->n * net->n));
    return HEED_OK;
}

heed_status hd_untrained_maps(const struct hd_untrained_opts *opts, const uint64_t *keys, int64_t n,
                              float *maps)
{
    struct net net = {.opts = opts, .n = n, .width = opts->heads * opts->head_dim};

    if (n < 1)
        return hd_fail(HEED_E_ARG, "untrained: there are no words");
    if (opts->layers < 1 || opts->layers > HD_UNTRAINED_LAYERS_MAX || opts->heads < 1 ||
        opts->heads > HD_UNTRAINED_HEADS_MAX || opts->head_dim < 2 || opts->head_dim % 2)
        return hd_fail(HEED_E_ARG, "untrained: %lld layers of %lld heads of %lld",
                       (long long)opts->layers, (long long)opts->heads,
                       (long long)opts->head_dim);
    HD_TRY(heed_params_new(HEED_F32, opts->seed, &net.params));
    heed_status status = heed_tape_new(NULL, opts->seed, &net.tape);
    if (status == HEED_OK)
        status = run(&net, keys, maps);
    heed_tape_free(net.tape);
    heed_params_free(net.params);
    return status;
}

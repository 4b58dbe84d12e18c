/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole sequence network, every recipe, with and without a time bias: the gradient of every
 * number of every parameter against central differences in float64, through the loss that trains
 * it. Steps are cbrt(eps); the bound is 1e-6 of the largest gradient of the tensor, since a
 * difference of losses carries the error of the whole loss.
 *
 * And the answer's way through the network, which makes the last row's state alone: it is the last
 * row of all states. */
#include "base/random.h"
#include "models/sequence_net.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(expr)                                          \
    do {                                                     \
        if ((expr) != HEED_OK) {                             \
            printf("%s: %s\n", #expr, heed_error_message()); \
            exit(1);                                         \
        }                                                    \
    } while (0)

enum { ITEMS = 7, ROWS = 11 };

static const int64_t offset[] = {0, 5, 6, ROWS};
static const int32_t item[ROWS] = {1, 4, 2, 6, 0, 3, 5, 5, 1, 2, 3};
static const int32_t position[ROWS] = {0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4};
static const int32_t label[ROWS] = {4, 2, 6, 0, 3, 1, 5, -1, 2, 3, 0};
static int64_t when[ROWS], asked[ROWS];

static double loss_of(heed_tape *tape, const struct hd_sequence_net *net, bool back)
{
    struct hd_sequence_batch batch = {3, offset, item, position, when, asked};
    heed_loss_opts opts = {.label_smoothing = 0.1};
    heed_tensor *state, *table, *loss;

    heed_tape_reset(tape);
    heed_tape_seed(tape, 3, 1); /* the same dropout each time */
    CHECK(hd_sequence_forward(tape, net, &batch, 0.3, &state, NULL));
    CHECK(hd_sequence_output(tape, net, &table, &opts.logit_scale));
    CHECK(heed_cross_entropy(tape, state, table, label, &opts, &loss));
    if (back)
        CHECK(heed_tape_backward(tape, loss));
    return *(double *)loss->data;
}

/* For the history's first 1, 2 ... events: numbers that differ by more than rounding. */
static int check_last(heed_tape *tape, const struct hd_sequence_net *net)
{
    int bad = 0;

    heed_tape_record(tape, false);
    for (int64_t n = 1; n <= offset[1]; n++) {
        const int64_t one[] = {0, n};
        struct hd_sequence_batch batch = {1, one, item, position, when, asked};
        heed_tensor *all, *last;

        heed_tape_reset(tape);
        CHECK(hd_sequence_forward(tape, net, &batch, 0, &all, NULL));
        batch.last = true;
        CHECK(hd_sequence_forward(tape, net, &batch, 0, &last, NULL));
        bad += last->rank != 2 || last->dim[0] != 1 || last->dim[1] != all->dim[1];
        const double *want = (const double *)all->data + (n - 1) * all->stride[0];
        for (int64_t c = 0; !bad && c < all->dim[1]; c++) {
            double got = ((const double *)last->data)[c];
            if (!(fabs(got - want[c]) <= 1e-12 * fmax(1, fabs(want[c])))) {
                printf("last of %lld, %lld: %.12g, not %.12g\n", (long long)n, (long long)c, got,
                       want[c]);
                bad++;
            }
        }
    }
    heed_tape_record(tape, true);
    return bad;
}

static int check(heed_recipe recipe, bool timed)
{
    struct hd_sequence_config config = {.recipe = recipe,
                                        .items = ITEMS,
                                        .dim = 4,
                                        .layers = 2,
                                        .heads = 2,
                                        .length = 5,
                                        .timed = timed};
    struct hd_sequence_net net;
    heed_params *params;
    heed_tape *tape;
    heed_rng rng = hd_rng(11, 0);
    int bad = 0, tensors = 0;

    CHECK(hd_sequence_config_complete(&config));
    CHECK(heed_params_new(HEED_F64, 5, &params));
    CHECK(hd_sequence_net_bind(&net, &config, params, true));
    CHECK(heed_tape_new(NULL, 3, &tape));
    /* Weights of a size at which every term shows: 0.02 leaves most of them near nothing. */
    for (int64_t i = 0; i < heed_params_count(params); i++) {
        heed_tensor *x = heed_params_at(params, i, NULL);
        int64_t n = x->dim[0] * (x->rank == 2 ? x->dim[1] : 1);
        for (int64_t j = 0; j < n; j++)
            ((double *)x->data)[j] += 0.3 * hd_random_normal(&rng);
    }
    loss_of(tape, &net, true);
    for (int64_t i = 0; i < heed_params_count(params); i++) {
        const char *name;
        heed_tensor *x = heed_params_at(params, i, &name);
        int64_t n = x->dim[0] * (x->rank == 2 ? x->dim[1] : 1);
        double *w = x->data, *g = x->grad, largest = 0;
        for (int64_t j = 0; j < n; j++)
            largest = fmax(largest, fabs(g[j]));
        for (int64_t j = 0; j < n; j++) {
            double kept = w[j], h = cbrt(DBL_EPSILON) * fmax(1, fabs(kept));
            w[j] = kept + h;
            double up = loss_of(tape, &net, false);
            w[j] = kept - h;
            double down = loss_of(tape, &net, false);
            w[j] = kept;
            double want = (up - down) / (2 * h);
            if (!(fabs(g[j] - want) <= 1e-6 * fmax(largest, 1e-3))) {
                if (bad++ < 10)
                    printf("%s[%lld]: backward %.12g, differences %.12g\n", name, (long long)j,
                           g[j], want);
            }
        }
        tensors += largest > 0;
    }
    bad += check_last(tape, &net);
    printf("# recipe %d timed %d: %d tensors with a gradient, %d numbers off\n", (int)recipe, timed,
           tensors, bad);
    heed_tape_free(tape);
    heed_params_free(params);
    return bad > 0 || tensors < 10;
}

int main(void)
{
    for (int i = 0; i < ROWS; i++) {
        when[i] = 1000 * (int64_t[]){0, 3, 60, 4000, 90000}[position[i]];
        asked[i] = when[i] + 5000;
    }
    return check(HEED_RECIPE_SASREC, false) | check(HEED_RECIPE_HSTU, false) |
           check(HEED_RECIPE_HSTU, true) | check(HEED_RECIPE_LIGR, false) |
           check(HEED_RECIPE_LIGR, true);
}

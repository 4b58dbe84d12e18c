/* SPDX-License-Identifier: Apache-2.0
 *
 * What network.py compares with PyTorch: for each recipe of the sequence model a file of random
 * weights, RECIPE.safetensors, and the logits it gives to two made-up histories, RECIPE.logits, a
 * number a line. Takes the folder to write to. */
#include "base/random.h"
#include "models/sequence_impl.h"
#include "tensor/tape.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if ((expr) != HEED_OK) {                                                                   \
            fprintf(stderr, "%s: %s\n", #expr, heed_error_message());                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { ITEMS = 30, DIM = 16, LENGTH = 12, ROWS = 19 };

static void write_logits(const char *path, const struct hd_sequence_net *net)
{
    const int64_t offset[] = {0, LENGTH, ROWS};
    int32_t item[ROWS], position[ROWS];
    struct hd_sequence_batch batch = {
        .sequences = 2, .offset = offset, .item = item, .position = position};
    heed_tensor *state, *table;
    heed_tape *tape;
    double scale;
    FILE *f = fopen(path, "w");

    if (!f)
        exit(1);
    for (int i = 0; i < ROWS; i++)
        item[i] = (i * 7 + 3) % ITEMS, position[i] = i < LENGTH ? i : i - LENGTH;
    CHECK(heed_tape_new(NULL, 1, &tape));
    heed_tape_record(tape, false);
    CHECK(hd_sequence_forward(tape, net, &batch, 0, &state, NULL));
    CHECK(hd_sequence_output(tape, net, &table, &scale));
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t v = 0; v < ITEMS; v++)
            fprintf(f, "%.9g\n",
                    scale * hd_kernels()->dot((float *)state->data + i * DIM,
                                              (float *)table->data + v * DIM, DIM));
    fclose(f);
    heed_tape_free(tape);
}

int main(int count, char **arg)
{
    static const heed_recipe recipes[] = {HEED_RECIPE_SASREC, HEED_RECIPE_HSTU, HEED_RECIPE_LIGR};

    if (count != 2)
        return 2;
    for (int r = 0; r < 3; r++) {
        struct hd_sequence_config config = {.recipe = recipes[r], .items = ITEMS, .dim = DIM,
                                            .layers = 3, .heads = 2, .length = LENGTH};
        heed_rng rng = hd_rng(4, (uint64_t)r);
        hd_sequence *model;
        char path[4096];

        CHECK(hd_sequence_new(&config, 3, &model));
        /* Weights of a size at which every term shows, gains and biases among them. */
        for (int64_t i = 0; i < heed_params_count(model->params); i++) {
            heed_tensor *x = heed_params_at(model->params, i, NULL);
            for (int64_t j = 0; j < hd_count(x); j++)
                ((float *)x->data)[j] += (float)(0.2 * hd_random_normal(&rng));
        }
        snprintf(path, sizeof path, "%s/%s.safetensors", arg[1], heed_recipe_name(recipes[r]));
        CHECK(heed_params_save(model->params, NULL, path, NULL, NULL, 0));
        snprintf(path, sizeof path, "%s/%s.logits", arg[1], heed_recipe_name(recipes[r]));
        write_logits(path, &model->net);
        hd_sequence_free(model);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A small transformer encoder: embeddings of words and of positions, two blocks of attention and
 * GELU with the norms before them (Xiong et al. 2020), dense softmax at every position.
 *
 *     cc transformer_encoder.c $(pkg-config --cflags --libs heed)
 */
#include <heed/attention.h>

#include <stdio.h>

enum { WORDS = 10, LENGTH = 12, WIDTH = 32, BATCH = 32, STEPS = 500, TESTS = 8 };
enum { ROWS = BATCH * LENGTH };

/* The task: write the words down from the last to the first. */
static void compose(int32_t *words, int32_t *place, int32_t *reversed)
{
    static uint32_t random = 1;

    for (int i = 0; i < ROWS; i++) {
        words[i] = (int32_t)((random = random * 1664525 + 1013904223) >> 16) % WORDS;
        place[i] = i % LENGTH;
        reversed[i - place[i] + LENGTH - 1 - place[i]] = words[i];
    }
}

static heed_status train(heed_params *params, heed_tape *tape, heed_adam **adam)
{
    static const char *const name[] = {"block.0", "block.1"};
    heed_multihead_shape shape = {.width = WIDTH, .heads = 4};
    heed_transformer_weights block[2];
    heed_tensor *table, *where, *gain, *shift, *out, *bias, *places, *x, *loss;
    int32_t words[ROWS], place[ROWS], reversed[ROWS];
    int64_t right = 0;

    HEED_TRY(heed_embedding_init(params, "words", WORDS, WIDTH, &table));
    HEED_TRY(heed_embedding_init(params, "places", LENGTH, WIDTH, &where));
    for (int i = 0; i < 2; i++)
        HEED_TRY(heed_transformer_init(params, name[i], &shape, 4 * WIDTH, &block[i]));
    HEED_TRY(heed_norm_init(params, "norm", WIDTH, &gain, &shift));
    HEED_TRY(heed_linear_init(params, "out", WORDS, WIDTH, &out, &bias));
    HEED_TRY(heed_adam_new(params, NULL, adam));
    for (int step = 0; step < STEPS + TESTS; step++, heed_tape_reset(tape)) {
        compose(words, place, reversed);
        HEED_TRY(heed_embedding(tape, table, words, ROWS, 1, &x));
        HEED_TRY(heed_embedding(tape, where, place, ROWS, 1, &places));
        HEED_TRY(heed_add(tape, x, places, &x));
        HEED_TRY(heed_reshape(tape, x, (int64_t[]){BATCH, LENGTH, WIDTH}, 3, &x));
        for (int i = 0; i < 2; i++)
            HEED_TRY(heed_transformer_block(tape, x, &block[i], NULL, 0, &x, NULL));
        HEED_TRY(heed_layer_norm(tape, x, gain, shift, 1e-5, &x));
        HEED_TRY(heed_linear(tape, x, out, bias, &x));
        if (step < STEPS) {
            HEED_TRY(heed_softmax_loss(tape, x, reversed, NULL, &loss));
            HEED_TRY(heed_adam_learn(*adam, tape, loss, 0.003));
        } else { /* lines that it has not learned from */
            right += heed_logits_right(x, reversed);
        }
    }
    printf("accuracy %.4f\n", (double)right / (ROWS * TESTS));
    return HEED_OK;
}

int main(void)
{
    heed_params *params = NULL;
    heed_tape *tape = NULL;
    heed_adam *adam = NULL;
    heed_status status = heed_params_new(HEED_F32, 1, &params);

    if (status == HEED_OK)
        status = heed_tape_new(NULL, 1, &tape);
    if (status == HEED_OK)
        status = train(params, tape, &adam);
    if (status != HEED_OK)
        fprintf(stderr, "%s\n", heed_error_message());
    heed_adam_free(adam);
    heed_tape_free(tape);
    heed_params_free(params);
    return heed_status_exit_code(status);
}

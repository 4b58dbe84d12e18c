/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest classifier with attention: embedding, attention with W_q W_k W_v W_o, the mean over
 * positions, dense softmax.
 *
 *     cc attention_classifier.c $(pkg-config --cflags --libs heed)
 */
#include <heed/attention.h>

#include <stdio.h>

enum { CARDS = 64, SUITS = 4, HAND = 8, WIDTH = 32, BATCH = 64, STEPS = 1500, TESTS = 32 };

/* The task: eight cards out of sixty-four; of which suit is the highest? One card of eight decides,
 * so all positions have to look at it. */
static void deal(int32_t *cards, int32_t *suits)
{
    static uint32_t random = 1;

    for (int i = 0, highest = 0; i < BATCH * HAND; i++) {
        cards[i] = (int32_t)((random = random * 1664525 + 1013904223) >> 16) % CARDS;
        highest = i % HAND == 0 || cards[i] > highest ? cards[i] : highest;
        suits[i / HAND] = highest % SUITS;
    }
}

static heed_status train(heed_params *params, heed_tape *tape, heed_adam **adam)
{
    heed_tensor *table, *out, *bias, *x, *loss;
    heed_multihead_shape shape = {.width = WIDTH, .heads = 2};
    heed_multihead_weights attention;
    int32_t cards[BATCH * HAND], suits[BATCH];
    int64_t right = 0;

    HEED_TRY(heed_embedding_init(params, "cards", CARDS, WIDTH, &table));
    HEED_TRY(heed_multihead_init(params, "attention", &shape, &attention));
    HEED_TRY(heed_linear_init(params, "out", SUITS, WIDTH, &out, &bias));
    HEED_TRY(heed_adam_new(params, NULL, adam));
    for (int step = 0; step < STEPS + TESTS; step++, heed_tape_reset(tape)) {
        deal(cards, suits);
        HEED_TRY(heed_embedding(tape, table, cards, BATCH * HAND, 1, &x));
        HEED_TRY(heed_reshape(tape, x, (int64_t[]){BATCH, HAND, WIDTH}, 3, &x));
        HEED_TRY(heed_multihead(tape, x, NULL, &attention, NULL, &x, NULL));
        HEED_TRY(heed_mean_pool(tape, x, NULL, &x));
        HEED_TRY(heed_linear(tape, x, out, bias, &x));
        if (step < STEPS) {
            HEED_TRY(heed_softmax_loss(tape, x, suits, NULL, &loss));
            HEED_TRY(heed_adam_learn(*adam, tape, loss, 0.003));
        } else { /* hands that it has not learned from */
            right += heed_logits_right(x, suits);
        }
    }
    printf("accuracy %.4f\n", (double)right / (BATCH * TESTS));
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

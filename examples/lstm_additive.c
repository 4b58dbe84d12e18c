/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic reader of sentences (Yang et al. 2016): embedding, bidirectional LSTM, additive
 * attention, dense softmax. Sentences of different lengths follow each other without padding.
 *
 *     cc lstm_additive.c $(pkg-config --cflags --libs heed)
 */
#include <heed/attention.h>

#include <stdio.h>

enum { A, B, WORDS = 20, WIDTH = 16, LONGEST = 12, BATCH = 32, STEPS = 400, TESTS = 32 };

static int32_t below(int32_t n)
{
    static uint32_t random = 1;

    return (int32_t)((random = random * 1664525 + 1013904223) >> 16) % n;
}

/* The task: among words of noise stand one A and one B; which comes first? */
static void compose(int32_t *words, int64_t *offsets, int32_t *first)
{
    for (int b = 0; b < BATCH; b++) {
        int32_t length = 2 + below(LONGEST - 1), at = below(length), *sentence = words + offsets[b];
        for (int i = 0; i < length; i++)
            sentence[i] = 2 + below(WORDS - 2);
        int32_t other = (at + 1 + below(length - 1)) % length;
        sentence[at] = A, sentence[other] = B;
        first[b] = at < other ? A : B;
        offsets[b + 1] = offsets[b] + length;
    }
}

static heed_status train(heed_params *params, heed_tape *tape, heed_adam **adam)
{
    heed_tensor *table, *out, *bias, *state[2], *x, *loss;
    heed_lstm_weights ahead, back;
    heed_additive_weights attention;
    int32_t words[BATCH * LONGEST], first[BATCH];
    int64_t offsets[BATCH + 1] = {0};
    heed_sequences sentences = {.offsets = offsets, .count = BATCH};
    int64_t right = 0;

    HEED_TRY(heed_embedding_init(params, "words", WORDS, WIDTH, &table));
    HEED_TRY(heed_lstm_init(params, "ahead", WIDTH, WIDTH, &ahead));
    HEED_TRY(heed_lstm_init(params, "back", WIDTH, WIDTH, &back));
    HEED_TRY(heed_additive_init(params, "attention", 2 * WIDTH, WIDTH, &attention));
    HEED_TRY(heed_linear_init(params, "out", 2, 2 * WIDTH, &out, &bias));
    HEED_TRY(heed_adam_new(params, NULL, adam));
    for (int step = 0; step < STEPS + TESTS; step++, heed_tape_reset(tape)) {
        compose(words, offsets, first);
        HEED_TRY(heed_embedding(tape, table, words, offsets[BATCH], 1, &x));
        HEED_TRY(heed_lstm(tape, x, &ahead, &sentences, false, &state[0]));
        HEED_TRY(heed_lstm(tape, x, &back, &sentences, true, &state[1]));
        HEED_TRY(heed_concat(tape, state, 2, &x));
        HEED_TRY(heed_additive_pool(tape, x, &attention, &sentences, &x, NULL));
        HEED_TRY(heed_linear(tape, x, out, bias, &x));
        if (step < STEPS) {
            HEED_TRY(heed_softmax_loss(tape, x, first, NULL, &loss));
            HEED_TRY(heed_adam_learn(*adam, tape, loss, 0.003));
        } else { /* sentences that it has not learned from */
            right += heed_logits_right(x, first);
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

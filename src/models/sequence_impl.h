/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the sequence model share: the handle's inside. */
#ifndef HD_SEQUENCE_IMPL_H
#define HD_SEQUENCE_IMPL_H

#include "models/sequence_batch.h"
#include "models/sequence_net.h"
#include "models/transitions.h"

struct hd_sequence {
    struct hd_sequence_config config;
    heed_params *params;
    struct hd_sequence_net net;
    float *output; /* (V, C): what a state is multiplied with; made by hd_sequence_ready() */
    struct hd_transitions memory;
    double memory_share; /* of the memory in what is answered; the network has the rest */
};

HEED_CHECKED heed_status hd_sequence_new(const struct hd_sequence_config *config, uint64_t seed,
                                         hd_sequence **model);

/* Brings `output` up to the weights: normalised and scaled, so that a score is one dot product. */
HEED_CHECKED heed_status hd_sequence_ready(hd_sequence *model);

struct hd_asked; /* what retrieval keeps of the last request, in retrieve.c */
void hd_asked_free(struct hd_asked *asked);

struct hd_sequence_reader {
    const hd_sequence *model;
    heed_tape *tape;
    struct hd_sequence_rows rows;
    struct hd_asked *asked; /* NULL until the first request */
};

/* HEED_E_ARG, HEED_E_RANGE: a history of no events, or with items that the model does not know. */
HEED_CHECKED heed_status hd_sequence_check_history(const hd_sequence *model, const int32_t *items,
                                                   int64_t count);

/* The network's answer before it meets the items: *state (dim) is multiplied with the rows of
 * `output`. It lives on the tape until the next call; *seen events counted. */
HEED_CHECKED heed_status hd_sequence_answer(const hd_sequence *model, heed_tape *tape,
                                            struct hd_sequence_rows *rows, const int32_t *items,
                                            const heed_time *times, const int32_t *places,
                                            int64_t count, heed_time now, const float **state,
                                            int64_t *seen);
/* The batch of that: the last `length` events as one sequence. count >= 1; returns how many rows. */
int64_t hd_sequence_window(const hd_sequence *model, struct hd_sequence_rows *rows,
                           const int32_t *items, const heed_time *times, const int32_t *places,
                           int64_t count, heed_time now);

/* The two parts of an answer, each a distribution over the items (the memory's sums to less than
 * one): what is likely next by the network, and by the memory. count >= 1. */
HEED_CHECKED heed_status hd_sequence_parts(const hd_sequence *model, heed_tape *tape,
                                           struct hd_sequence_rows *rows, const int32_t *items,
                                           const heed_time *times, const int32_t *places,
                                           int64_t count, heed_time now, float *network,
                                           float *memory);

/* `recipe`, `dim` ... as pairs of strings for a file's metadata. */
#define HD_SEQUENCE_PAIRS 9
struct hd_sequence_pairs {
    const char *key[HD_SEQUENCE_PAIRS], *value[HD_SEQUENCE_PAIRS];
    char text[HD_SEQUENCE_PAIRS][32];
    int64_t count;
};
void hd_sequence_describe(const hd_sequence *model, struct hd_sequence_pairs *out);

#endif

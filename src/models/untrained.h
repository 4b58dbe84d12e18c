/* SPDX-License-Identifier: Apache-2.0
 *
 * What attention would do to some words before anything was learned: a transformer encoder whose
 * weights are random. It shows how attention is computed, not what words mean; who shows it says so.
 *
 * A word's vector is drawn from its key alone, so the same word has the same vector in every text,
 * and no vocabulary is needed. */
#ifndef HD_UNTRAINED_H
#define HD_UNTRAINED_H

#include "heed/attention.h"

#define HD_UNTRAINED_LAYERS_MAX 16
#define HD_UNTRAINED_HEADS_MAX 16

struct hd_untrained_opts {
    int64_t layers, heads, head_dim; /* head_dim even */
    uint64_t seed;
    heed_attention_opts attention; /* of each layer; theta is drawn where the score needs one */
};

/* maps: (layers, heads, n, n). keys: n of them, one a word.
 * Errors   HEED_E_ARG    no words, or sizes out of their range
 *          HEED_E_NOMEM  */
HEED_CHECKED heed_status hd_untrained_maps(const struct hd_untrained_opts *opts,
                                           const uint64_t *keys, int64_t n, float *maps);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention, exact and tiled: the score matrix is never in memory unless weights are asked for.
 *
 * Two levels: heed_attention_forward() on the caller's arrays, for inference; heed_attention() on a
 * tape, for training. One options struct for both. */
#ifndef HEED_ATTENTION_H
#define HEED_ATTENTION_H

#include "heed/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a score becomes before it meets its value. */
typedef enum heed_attention_weight {
    HEED_WEIGHT_SOFTMAX, /* exp(s) / sum exp(s); a row that may see nothing gives zeros */
    HEED_WEIGHT_SILU,    /* s sigmoid(s) / n, n the keys this row may see (HSTU) */
} heed_attention_weight;

/* All zero is the ordinary case: softmax, scale 1 / sqrt(D), every query sees every key. */
typedef struct heed_attention_opts {
    heed_attention_weight weight;
    double scale; /* 0: 1 / sqrt(D) for softmax, 1 for SiLU */
    bool causal;  /* the query at position t sees keys s <= t + (S - T) */
    /* Ragged batches without padding: B + 1 row numbers; sequence b is rows
     * [offsets[b], offsets[b + 1]) of q, k, v and out, whose first dimension is then all rows.
     * NULL: every sequence has T queries and S keys. */
    const int64_t *offsets;
    int64_t sequences; /* B, with offsets */
    /* With padding instead: keys at or after lengths[b] are not seen; NULL: none is padding. */
    const int64_t *lengths;
    /* For the time bias: when each key happened and when each query asks, one per row of k and q,
     * in ms (HSTU asks at the time of the event that follows). */
    const int64_t *key_times, *query_times;
    int (*time_bucket)(int64_t span_ms); /* NULL: heed_time_bucket_log */
    double dropout;                      /* on the weights; tape only */
    uint64_t reserved[4];
} heed_attention_opts;

/* Biases that are learned and added to the scores; either may be NULL.
 * position (H, P): score(t, s) += position[h][P - 1 - min(t' - s, P - 1)] where t' = t + S - T counts
 *   from the keys' start: the last entry is the same position, the one before it one step back; what
 *   is farther than P - 1 steps takes entry 0. Keys ahead of the query take no bias.
 * time (H, W): score(t, s) += time[h][bucket(query_time(t) - times[s])], buckets 0 .. W - 1. */
typedef struct heed_attention_bias {
    heed_tensor *position, *time;
} heed_attention_bias;

/**
 * Attention on a tape, all heads and sequences of a batch.
 *
 * Shapes   q (N, H, D) k (N, H, D) v (N, H, E) with opts->offsets, else q (B, T, H, D)
 *          k (B, S, H, D) v (B, S, H, E); out like q with E for D. Row strides are free, so q, k, v
 *          may be column slices of one product.
 *          weights NULL, or receives (B, H, T, S) (with offsets: sequences must be 1)
 */
HEED_API HEED_CHECKED heed_status heed_attention(heed_tape *tape, heed_tensor *q, heed_tensor *k,
                                                 heed_tensor *v, const heed_attention_bias *bias,
                                                 const heed_attention_opts *opts, heed_tensor **out,
                                                 heed_tensor **weights);

/** floor(ln(max(1, seconds)) / 0.301), at most 128: HSTU's buckets of a span of time. */
HEED_API int heed_time_bucket_log(int64_t span_ms);

#ifdef __cplusplus
}
#endif
#endif

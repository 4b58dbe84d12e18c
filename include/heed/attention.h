/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention, exact and tiled: the score matrix is never in memory unless weights are asked for.
 *
 * Two levels: heed_attention_forward() and heed_attention_backward() on the caller's arrays, for
 * inference and for other programs; heed_attention() on a tape, for training. One options struct for
 * all. */
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
    double dropout;                      /* share of the weights left out, 0 <= p < 1; on a tape
                                          * only while it records */
    uint64_t reserved[4];
} heed_attention_opts;

/* Biases that are learned and added to the scores; either may be NULL.
 * position (H, P): score(t, s) += position[h][P - 1 - min(t' - s, P - 1)] where t' = t + S - T counts
 *   from the keys' start: the last entry is the same position, the one before it one step back; what
 *   is farther than P - 1 steps takes entry 0. Keys ahead of the query take no bias.
 * time (H, W): score(t, s) += time[h][bucket(query_time(t) - key_time(s))], buckets 0 .. W - 1; what
 *   time_bucket() returns is cut to that range. */
typedef struct heed_attention_bias {
    heed_tensor *position, *time;
} heed_attention_bias;

/**
 * Attention on a tape, all heads and sequences of a batch.
 *
 *     out[b,t,h,:] = sum_s  w(scale <q[b,t,h], k[b,s,h]> + biases)  v[b,s,h,:]
 *
 * Shapes   q (N, H, D) k (N, H, D) v (N, H, E) with opts->offsets, else q (B, T, H, D)
 *          k (B, S, H, D) v (B, S, H, E); out like q with E for D. Row strides are free, so q, k, v
 *          may be column slices of one product.
 *          weights NULL, or receives (B, H, T, S) (with offsets: sequences must be 1). They are a
 *          picture: before dropout, and no gradient flows back through them.
 * Memory   results live in the tape's arena until heed_tape_reset(); what opts points to is borrowed
 *          so long. For the backward one number per row and head is kept; scores are made again.
 * Errors   HEED_E_SHAPE  the shapes above do not agree; the message gives both
 *          HEED_E_ARG    an option is out of its range, or a reserved field is set
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined. Tasks are pairs of a sequence and a head (blocks of 256 queries in the
 *          forward), so results are the same bits for any pool.
 * Cost     O(B H T S (D + E)) time, half of it where causal.
 * Source   Vaswani et al. 2017, "Attention Is All You Need", eq. 1; Dao et al. 2022,
 *          "FlashAttention", algorithms 1 and 4; Zhai et al. 2024, "Actions Speak Louder than Words",
 *          eq. 2 (SiLU weights and both biases).
 */
HEED_API HEED_CHECKED heed_status heed_attention(heed_tape *tape, heed_tensor *q, heed_tensor *k,
                                                 heed_tensor *v, const heed_attention_bias *bias,
                                                 const heed_attention_opts *opts, heed_tensor **out,
                                                 heed_tensor **weights);

/** floor(ln(max(1, seconds)) / 0.301), at most 128: HSTU's buckets of a span of time, of either sign.
 * The span is rounded to float first, so that whole blocks of them are looked up alike. */
HEED_API int heed_time_bucket_log(int64_t span_ms);

/* ---- plain arrays */

/* Everything a plain call reads and writes. Only 64-bit fields and pointers, so that a binding fills
 * it without knowing the compiler's padding; all zero but shapes and pointers is the ordinary case.
 * Strides are in elements, of batch, row and head; where all three are 0 the array is contiguous:
 * (B, T, H, D). PyTorch's (B, H, L, D) is {H L D, D, L D}. With opts->offsets the batch stride is not
 * read, B is opts->sequences and rows are counted by offsets: T and S are not read either. */
typedef struct heed_attention_arrays {
    int64_t dtype; /* heed_dtype */
    int64_t B, T, S, H, D, E;
    const void *q, *k, *v;
    void *out;
    int64_t q_stride[3], k_stride[3], v_stride[3], out_stride[3];
    void *lse;                     /* (H, rows of q): logarithm of each row's sum of exp(score), for
                                    * the backward of softmax; NULL in the forward: not wanted */
    void *weights;                 /* (B, H, T, S), or NULL; with offsets B must be 1 */
    const void *position, *time;   /* (H, P) and (H, W) as heed_attention_bias, or NULL */
    int64_t P, W;
    uint64_t dropout_key;          /* another key, other weights dropped; the backward's must be the
                                    * forward's */
    /* backward: gradients have the strides of what they belong to; dout those of out */
    const void *dout;
    void *dq, *dk, *dv;
    void *dposition, *dtime;       /* always added to; NULL: not wanted */
    int64_t accumulate;            /* 0: dq, dk and dv are overwritten; 1: added to */
    void *scratch;                 /* heed_attention_scratch_bytes() of memory, or NULL: the call
                                    * takes it from the heap and gives it back */
    uint64_t scratch_bytes;
    uint64_t reserved[4];
} heed_attention_arrays;

/** Scratch that a forward needs with this pool; backward: that both passes need. 0 where options or
 * arrays are not valid for that pass (heed_error_message() says what is wrong). */
HEED_API uint64_t heed_attention_scratch_bytes(const heed_pool *pool,
                                               const heed_attention_opts *opts,
                                               const heed_attention_arrays *arrays, bool backward);

/**
 * Attention on the caller's arrays: what heed_attention() computes, without a tape.
 * Errors   as heed_attention(); HEED_E_ARG also where scratch is given but too small
 * Threads  safe beside any other call on other results. pool: NULL, or lent for the call.
 */
HEED_API HEED_CHECKED heed_status heed_attention_forward(heed_pool *pool,
                                                         const heed_attention_opts *opts,
                                                         const heed_attention_arrays *arrays);

/**
 * Gradients from dout, with out and lse as the forward left them (lse is not read for SiLU).
 * All of dq, dk, dv are needed.
 */
HEED_API HEED_CHECKED heed_status heed_attention_backward(heed_pool *pool,
                                                          const heed_attention_opts *opts,
                                                          const heed_attention_arrays *arrays);

#ifdef __cplusplus
}
#endif
#endif

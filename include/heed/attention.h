/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention, exact and tiled: the score matrix is never in memory unless weights are asked for.
 *
 * Two levels: heed_attention_forward() and heed_attention_backward() on the caller's arrays, for
 * inference and for other programs; heed_attention() on a tape, for training. One options struct for
 * all. */
#ifndef HEED_ATTENTION_H
#define HEED_ATTENTION_H

#include "heed/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How alike a query and a key are; theta is learned, one block per head. */
typedef enum heed_attention_score {
    HEED_SCORE_DOT,      /* <q, k> (Vaswani 2017) */
    HEED_SCORE_COSINE,   /* <q, k> / (|q| |k|), a row of zeros is like nothing; scale is one over a
                          * temperature (Graves 2014, eq. 6) */
    HEED_SCORE_EUCLID,   /* -|q - k|^2, off by at most 3 (D + 3) u (|q|^2 + |k|^2), u the unit roundoff */
    HEED_SCORE_BILINEAR, /* q' theta k, theta (H, D, D) (Luong 2015, "general") */
    HEED_SCORE_ADDITIVE, /* theta' tanh(q + k), theta (H, D); q and k come projected, a bias in
                          * either (Bahdanau 2015) */
    HEED_SCORE_FEATURES, /* theta' [q, k, q - k, q * k], theta (H, 4 D): with sigmoid weights the
                          * relevance of one item of a history to a candidate */
} heed_attention_score;

/* What a score becomes before it meets its value. */
typedef enum heed_attention_weight {
    HEED_WEIGHT_SOFTMAX, /* exp(s) / sum exp(s); a row that may see nothing gives zeros */
    HEED_WEIGHT_SILU,    /* s sigmoid(s) / n, n the keys this row may see (HSTU, Zhai 2024) */
    HEED_WEIGHT_SIGMOID, /* sigmoid(s), not normalised across keys (Ramapuram 2024): a gate per key;
                          * shift = -log(S) starts it near the mean */
} heed_attention_weight;

/* How the sum over keys is made. */
typedef enum heed_attention_method {
    HEED_METHOD_EXACT,  /* every pair that is seen, by tiles (Dao 2022) */
    HEED_METHOD_LINEAR, /* phi(q) (phi(k)' v) / phi(q) sum phi(k), phi = elu + 1 (Katharopoulos
                         * 2020): O(L D E); of masks it knows causal, lengths and offsets, heads may
                         * be shared, scale is 1. lse is the logarithm of the denominator; where that
                         * is 0, out is */
    HEED_METHOD_LSH,    /* keys are the queries, made unit rows; each sees its hash bucket's chunk
                         * and the one before, over several rounds (Reformer, Kitaev 2020); itself
                         * only where it sees nothing else. See lsh_rounds below */
} heed_attention_method;

typedef enum heed_rotary {
    HEED_ROTARY_NONE,
    HEED_ROTARY_PAIRS,  /* dimensions 2 i and 2 i + 1 turn together (Su 2021) */
    HEED_ROTARY_HALVES, /* i and i + rotary_dims / 2 (GPT-NeoX, Llama) */
} heed_rotary;

/* All zero is the ordinary case: softmax of the scaled dot product, every query sees every key.
 * t' = t + S - T is where the query at position t stands among the keys. */
typedef struct heed_attention_opts {
    heed_attention_score score;
    heed_attention_weight weight;
    heed_attention_method method;
    double scale; /* of the score; 0: 1 / sqrt(D) for softmax of a dot or bilinear score, else 1 */
    double shift; /* added to every score */

    /* ---- who sees whom: a pair is seen where all of these allow it. What is not seen weighs exactly
     * 0, whatever its key holds. Beyond that, what causal, lengths and offsets hide is never used: it
     * may be NaN in keys and values. What the others hide is multiplied by that 0, so its values have
     * to be finite, and its keys for the backward. */
    bool causal; /* keys s <= t' */
    /* Ragged batches without padding: B + 1 row numbers; sequence b is rows
     * [offsets[b], offsets[b + 1]) of q, k, v and out, whose first dimension is then all rows.
     * NULL: every sequence has T queries and S keys. */
    const int64_t *offsets;
    int64_t sequences; /* B, with offsets */
    /* With padding instead: keys at or after lengths[b] are not seen; NULL: none is padding. */
    const int64_t *lengths;
    /* (B, H, T, S), strides in elements, 0 where one entry serves all: {0, 0, S, 1} is one matrix for
     * every sequence and head. With offsets B must be 1. keep: 0 is not seen. mask: added to the
     * scores, of q's element type (float32 beside bfloat16); -INFINITY is not seen. No gradient
     * flows into it. Hidden blocks are not skipped: that is the window's. */
    const uint8_t *keep;
    int64_t keep_stride[4];
    const void *mask;
    int64_t mask_stride[4];
    /* Sliding window (Beltagy 2020): keys with |t' - s| <= window dilation[h], and of those every
     * dilation[h]-th, counted from t'; and where s or t' is one of the first `globals` positions. 0: no
     * window, nor globals or dilation. dilation (H), or NULL: 1. Time is O(T (window + globals)), times
     * the dilation. */
    int64_t window, globals;
    const int64_t *dilation;

    /* ---- where and when */
    const double *alibi; /* (H): score -= alibi[h] |t' - s| (Press 2022), see heed_alibi_slopes();
                          * NULL: none */
    heed_rotary rotary;  /* queries turn by t', keys by s, before the score */
    double rotary_base;  /* 0: 10,000; like the next, with rotary alone */
    int64_t rotary_dims; /* how many of the first dimensions, even; 0: all D */
    /* For the time bias: when each key happened and when each query asks, one per row of k and q,
     * in ms (HSTU asks at the time of the event that follows). */
    const int64_t *key_times, *query_times;
    int (*time_bucket)(int64_t span_ms); /* NULL: heed_time_bucket_log */

    /* ---- LSH, and refused with other methods: q and k are one array with the same strides (on a tape one tensor), T is S. The
     * gradient of both arrives in dq; dk is not looked at. Of masks it knows causal, lengths (padded
     * rows take no part, and give zeros) and offsets. A pair that meets in several rounds counts once.
     * Causal, a row never sees a later one; but since all rows are sorted together, which of the
     * earlier ones it sees may depend on what comes after it. */
    int64_t lsh_rounds;  /* 0: 4 */
    int64_t lsh_chunk;   /* positions of a chunk; 0: 64 */
    int64_t lsh_buckets; /* even, or 1: no hashing; 0: 2 S / lsh_chunk, 1 where all fit a chunk. Above
                          * 64 a hash is two, of about the square root each, and buckets are
                          * rounded up to their product */
    uint64_t lsh_seed;   /* of the random rotations */

    double dropout; /* share of the weights left out, 0 <= p < 1; on a tape only while it records */
    uint64_t reserved[8];
} heed_attention_opts;

/* What is learned beside queries, keys and values; each may be NULL.
 * position (H, P): score(t, s) += position[h][P - 1 - min(t' - s, P - 1)]: the last entry is the same
 *   position, the one before it one step back; what is farther than P - 1 steps takes entry 0. Keys
 *   ahead of the query take no bias. An entry of -INFINITY hides its keys.
 * time (H, W): score(t, s) += time[h][bucket(query_time(t) - key_time(s))], buckets 0 .. W - 1; what
 *   time_bucket() returns is cut to that range.
 * theta: what the score needs, see heed_attention_score. */
typedef struct heed_attention_learned {
    heed_tensor *position, *time, *theta;
} heed_attention_learned;

/**
 * Attention on a tape, all heads and sequences of a batch.
 *
 *     out[b,t,h,:] = sum_s  w(scale <q[b,t,h], k[b,s,h]> + biases + shift)  v[b,s,h,:]
 *
 * Shapes   q (N, H, D) k (N, H, D) v (N, H, E) with opts->offsets, else q (B, T, H, D)
 *          k (B, S, H, D) v (B, S, H, E); out like q with E for D. k and v may have fewer heads that
 *          divide H: each serves H / heads of q that follow each other. Row strides are free, so q, k, v
 *          may be column slices of one product.
 *          weights NULL, or receives (B, H, T, S) (with offsets: sequences must be 1). They are a
 *          picture: before dropout, and no gradient flows back through them.
 * Memory   results live in the tape's arena until heed_tape_reset(); what opts points to is borrowed
 *          so long. For the backward one number per row and head is kept; scores are made again.
 * Errors   HEED_E_SHAPE  the shapes above do not agree; the message gives both
 *          HEED_E_ARG    an option is out of its range or without a use, or a reserved field is set
 *          HEED_E_RANGE  arrays of those shapes are larger than memory can be
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined. Tasks are pairs of a sequence and a head (blocks of 256 queries in the
 *          forward, a head of keys in the backward), so results are the same bits for any pool.
 * Cost     O(B H T S (D + E)) time, half of it where causal; with a window what that covers; with
 *          HEED_METHOD_LINEAR O(B H T D E); with HEED_METHOD_LSH at most O(B H T rounds 2 chunk (D + E))
 *          beside hashing and sorting.
 * Source   Vaswani et al. 2017, "Attention Is All You Need", eq. 1; Dao et al. 2022,
 *          "FlashAttention", algorithms 1 and 4; Zhai et al. 2024, "Actions Speak Louder than Words",
 *          eq. 2 (SiLU weights and both biases); Ainslie et al. 2023, "GQA", section 2.2; Beltagy et
 *          al. 2020, "Longformer", section 3.1; Press et al. 2022, "Train Short, Test Long", section
 *          3; Ramapuram et al. 2024, "Theory, Analysis, and Best Practices for Sigmoid
 *          Self-Attention", eq. 3.
 */
HEED_API HEED_CHECKED heed_status heed_attention(heed_tape *tape, heed_tensor *q, heed_tensor *k,
                                                 heed_tensor *v, const heed_attention_learned *learned,
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
    /* heed_dtype: of q, k, v, out and, in the backward, dout, dq, dk, dv; of the other arrays too,
     * but where it is HEED_BF16 those are float32: lse, weights, position, time, theta, the gradients
     * of the last three, and opts->mask. */
    int64_t dtype;
    int64_t B, T, S, H, D, E;
    int64_t kv_heads; /* heads of k and v, which divide H: each serves H / kv_heads queries' heads that
                       * follow each other (Ainslie 2023); 0: H */
    const void *q, *k, *v;
    void *out;
    int64_t q_stride[3], k_stride[3], v_stride[3], out_stride[3];
    void *lse;                     /* (H, rows of q): logarithm of each row's sum of exp(score), for
                                    * the backward of softmax; NULL in the forward: not wanted */
    void *weights;                 /* (B, H, T, S), or NULL; with offsets B must be 1 */
    const void *position, *time;   /* (H, P) and (H, W) as heed_attention_learned, or NULL */
    const void *theta;             /* what the score needs, or NULL */
    int64_t P, W;
    uint64_t dropout_key;          /* another key, other weights dropped; the backward's must be the
                                    * forward's */
    /* backward: gradients have the strides of what they belong to; dout those of out */
    const void *dout;
    void *dq, *dk, *dv;
    void *dposition, *dtime, *dtheta; /* always added to; NULL: not wanted */
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
 * Values   HEED_BF16: sums are float32. Where the processor multiplies bfloat16 (AVX-512 BF16) weights
 *          are rounded to it before they meet values, exp() is within 2^-13, and the result is
 *          rounded: with the 2^-8 of either rounding, out is within 2^-7 + 2^-12 of sum w |v|, beside
 *          what float32 has; lse within 2^-13. Elsewhere the tiles are float32. Scores other than the
 *          dot product and rotary go by way of float32 copies; methods other than the exact one refuse
 *          bfloat16.
 * Errors   as heed_attention(); HEED_E_ARG also where scratch is given but too small
 * Threads  safe beside any other call on other results. pool: NULL, or lent for the call.
 */
HEED_API HEED_CHECKED heed_status heed_attention_forward(heed_pool *pool,
                                                         const heed_attention_opts *opts,
                                                         const heed_attention_arrays *arrays);

/**
 * Gradients from dout, with out and lse as the forward left them (both are read for softmax alone).
 * All of dq, dk, dv are needed. HEED_BF16 goes by way of float32 copies, O(rows (D + E)) of scratch; each
 * gradient is rounded once.
 */
HEED_API HEED_CHECKED heed_status heed_attention_backward(heed_pool *pool,
                                                          const heed_attention_opts *opts,
                                                          const heed_attention_arrays *arrays);

/* ---- positions and temperatures: what any form can take */

/**
 * The slopes that opts->alibi was published with: H numbers, 2^(-8 i / H) for i = 1 .. H where H is a
 * power of two; else those of the power of two below, then every other one of the power above.
 * Source   Press, Smith, Lewis 2022, "Train Short, Test Long", section 3 and its code's get_slopes().
 */
HEED_API void heed_alibi_slopes(int64_t H, double *slopes);

/**
 * Sinusoidal positions, to be added to inputs:
 *
 *     table[t, 2 i] = sin(p / 10000^(2 i / C))   table[t, 2 i + 1] = cos(the same)   p = first + t
 *
 * Shapes   table (T, C), contiguous, the caller's: an array, a parameter, or what a tensor's data
 *          points to. C may be odd; the last column is then a sine.
 * Errors   HEED_E_ARG    there is no such element type, or table is missing
 *          HEED_E_SHAPE  T or C is negative or beyond 2^31
 * Cost     O(T C), each a sine in double before it is rounded.
 * Source   Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
 */
HEED_API HEED_CHECKED heed_status heed_sinusoidal(heed_dtype dtype, int64_t first, int64_t T,
                                                  int64_t C, void *table);

/**
 * A learned span per head, as a position bias: a key that is x steps back keeps the share
 *
 *     m(x) = clamp((ramp + span[h] - x) / ramp, 0, 1)
 *
 * of its weight, which softmax takes as log m(x) added to its score: so
 * table[h, P - 1 - x] = log m(x), -INFINITY beyond the ramp, for heed_attention_learned.position.
 * With a loss that adds up the spans, a head learns to look no farther back than it has to.
 *
 * Shapes   span (H), in steps; *table (H, P). P > span + ramp hides all that is beyond; with a smaller
 *          P what is farther back than P - 1 keeps the share of P - 1.
 * Values   ramp > 0. A span of -ramp or less hides the query's own position too. The gradient flows
 *          into span where 0 < m < 1, and is 0 elsewhere.
 * Memory   *table lives in the tape's arena until heed_tape_reset().
 * Errors   HEED_E_SHAPE  span is not of rank 1, or P is not positive
 *          HEED_E_ARG    ramp is not a positive number
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined.
 * Source   Sukhbaatar et al. 2019, "Adaptive Attention Span in Transformers", section 3.2.
 */
HEED_API HEED_CHECKED heed_status heed_soft_span(heed_tape *tape, heed_tensor *span, double ramp,
                                                 int64_t P, heed_tensor **table);

/**
 * A temperature per query and head, learned from the query itself:
 *
 *     out[.., h, :] = q[.., h, :] softplus(w[h] . q[.., h, :] + b[h]),   softplus(x) = log(1 + exp(x))
 *
 * so that a query's weights sharpen or spread with what it asks. b = log(e - 1) = 0.5413 and w = 0
 * start it at the plain product.
 *
 * Shapes   q (N, H, D) or (B, T, H, D), any strides but the last; w (H, D); b (H); out like q.
 * Memory   *out lives in the tape's arena until heed_tape_reset().
 * Errors   HEED_E_SHAPE  the shapes above do not agree; the message gives them
 *          HEED_E_ARG    element types differ
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined. Blocks of rows of a fixed size, sums in their order: the same bits for any
 *          pool.
 * Source   the inverse temperature of Graves et al. 2014, "Neural Turing Machines", eq. 5 (there the
 *          key strength, likewise a softplus of what the controller emits).
 */
HEED_API HEED_CHECKED heed_status heed_temper(heed_tape *tape, heed_tensor *q, heed_tensor *w,
                                              heed_tensor *b, heed_tensor **out);

/* ---- a cache of keys and values */

/* Keys and values of the positions so far, of sequences that grow together: a new position then costs
 * its own row alone. confined: one thread at a time. */
typedef struct heed_attention_cache heed_attention_cache;

/* Only 64-bit fields, as in heed_attention_arrays. */
typedef struct heed_attention_cache_opts {
    int64_t dtype;    /* heed_dtype; on a tape not HEED_BF16 */
    int64_t B, H;     /* sequences; heads of keys and values, which divide those of the queries */
    int64_t D, E;     /* width of a key and of a value */
    int64_t capacity; /* positions kept at most, 1 or more: the oldest leave when more come */
    int64_t drop;     /* they leave in multiples of it; 0: 1. The exact method walks keys in blocks of
                       * HEED_CACHE_BLOCK from the first: with that as drop, and a window that lies
                       * in capacity - HEED_CACHE_BLOCK, results are those of the whole history, bit
                       * for bit; else within rounding */
    uint64_t reserved[4];
} heed_attention_cache_opts;

#define HEED_CACHE_BLOCK 256

/**
 * Memory   one and a half times the capacity: B H capacity (D + E) 1.5 numbers, taken here at once; and
 *          scratch of the first heed_attention_cache_attend() for each larger T or other options.
 *          heed_attention_cache_free(NULL) is fine.
 * Errors   HEED_E_SHAPE  a size is out of its range
 *          HEED_E_ARG    drop is larger than the capacity, or a reserved field is set
 *          HEED_E_NOMEM  no memory of that size
 */
HEED_API HEED_CHECKED heed_status heed_attention_cache_new(const heed_attention_cache_opts *opts,
                                                           heed_attention_cache **cache);
HEED_API void heed_attention_cache_free(heed_attention_cache *cache);

/**
 * Appends n positions to each sequence: k (B, n, H, D), v (B, n, H, E). Strides of batch, row and head
 * in elements, as in heed_attention_arrays; NULL: contiguous.
 * Cost     a copy of n rows, and up to two kept rows moved for each.
 */
HEED_API HEED_CHECKED heed_status heed_attention_cache_append(heed_attention_cache *cache, int64_t n,
                                                              const void *k,
                                                              const int64_t k_stride[3],
                                                              const void *v,
                                                              const int64_t v_stride[3]);

/**
 * heed_attention_forward() of T queries over what is kept: with opts->causal they are its last T
 * positions, so append first, then attend. S, kv_heads, k, v and their strides are filled in; dtype,
 * B, D and E must be the cache's. Whatever opts can say holds, with keys counted from the oldest kept;
 * opts->key_times has B times heed_attention_cache_length() numbers. No offsets, and not
 * HEED_METHOD_LSH, whose keys are the queries.
 *
 * Values   the same bits as heed_attention_forward() over the same rows; so while nothing has left,
 *          the same bits as the last T rows over the whole history (exact method, causal)
 * Memory   without arrays->scratch the cache's own, which then stays; none is taken once warm
 */
HEED_API HEED_CHECKED heed_status heed_attention_cache_attend(heed_attention_cache *cache,
                                                              heed_pool *pool,
                                                              const heed_attention_opts *opts,
                                                              const heed_attention_arrays *arrays);

/**
 * Segment recurrence, for training: k_all (B, S + n, H, D) and v_all are what is kept, followed by the
 * new rows k (B, n, H, D) and v (B, n, H, E), as tensors for heed_attention(). Gradients flow into the
 * new rows and end at what was cached. Then the new rows are appended.
 * Memory   k_all and v_all live in the tape's arena; k and v are copied.
 * Source   Dai et al. 2019, "Transformer-XL: Attentive Language Models beyond a Fixed-Length Context",
 *          section 3.2; what is kept here are keys and values, made with the weights of their time.
 */
HEED_API HEED_CHECKED heed_status heed_attention_cache_extend(heed_tape *tape,
                                                              heed_attention_cache *cache,
                                                              heed_tensor *k, heed_tensor *v,
                                                              heed_tensor **k_all,
                                                              heed_tensor **v_all);

/** Positions that are kept; the number of the oldest of them, counted since the last reset. */
HEED_API int64_t heed_attention_cache_length(const heed_attention_cache *cache);
HEED_API int64_t heed_attention_cache_first(const heed_attention_cache *cache);

/** Keeps the oldest `length` positions, takes back the rest. HEED_E_ARG where there are not as many. */
HEED_API HEED_CHECKED heed_status heed_attention_cache_truncate(heed_attention_cache *cache,
                                                                int64_t length);
/** Forgets all positions, keeps the memory. */
HEED_API void heed_attention_cache_reset(heed_attention_cache *cache);

/* ---- layers: what has weights of its own. Weights are borrowed until heed_tape_reset(); an _init
 * draws them into a heed_params under `prefix.`, which owns them. */

/* Projections around attention: H heads of width D for queries and keys, E for values, and G heads of
 * keys and values, as many as queries' or fewer (Ainslie 2023). D and G follow from the shapes:
 * D = rows of q / heads, G = rows of k / D, E = rows of v / G. */
typedef struct heed_multihead_weights {
    int64_t heads;                              /* H */
    heed_tensor *q, *k, *v;                     /* (H D, C)  (G D, S's C)  (G E, S's C) */
    heed_tensor *o;                             /* (C, H E), or NULL: the heads side by side */
    heed_tensor *q_bias, *k_bias, *v_bias, *o_bias; /* (rows of its matrix), each may be NULL */
    heed_attention_learned learned;             /* position, time and score, as heed_attention() */
} heed_multihead_weights;

typedef struct heed_multihead_shape {
    int64_t width;         /* C, of x and of the result */
    int64_t context_width; /* of what keys and values are made of; 0: width */
    int64_t heads;
    int64_t kv_heads;   /* divides heads; 0: heads */
    int64_t head_width; /* D and E; 0: width / heads */
    bool no_bias;
    uint64_t reserved[4];
} heed_multihead_shape;

/** `prefix.q`, `.k`, `.v`, `.o` by Xavier's rule, and `prefix.q_bias` and so on, zeros. Nothing is
 * learned beside them (weights->learned is all NULL): that is the caller's to add.
 * Errors   HEED_E_ARG  heads do not divide the width, or kv_heads the heads */
HEED_API HEED_CHECKED heed_status heed_multihead_init(heed_params *params, const char *prefix,
                                                      const heed_multihead_shape *shape,
                                                      heed_multihead_weights *weights);

/**
 * Multi-head attention, self (context NULL) or cross.
 *
 *     out = [head_1 .. head_H] W_o^T + b_o      head_h = attention(x W_q^T + b_q, y W_k^T + b_k,
 *                                               y W_v^T + b_v) of head h, y the context or x
 *
 * Shapes   x (N, C), and context (N, its C), with opts->offsets; else x (B, T, C) and context
 *          (B, S, its C). out like x, with the rows of o for C.
 *          attention_weights NULL, or receives (B, H, T, S), as heed_attention() has them
 * Memory, Errors, Threads  as heed_attention(); HEED_E_ARG also where q, k or v is missing, heads do
 *          not divide their rows, or the method is HEED_METHOD_LSH, whose keys are the queries
 * Cost     four products, O(rows C H D), and attention's
 * Source   Vaswani et al. 2017, section 3.2.2; Ainslie et al. 2023, "GQA", section 2.2.
 */
HEED_API HEED_CHECKED heed_status heed_multihead(heed_tape *tape, heed_tensor *x,
                                                 heed_tensor *context,
                                                 const heed_multihead_weights *weights,
                                                 const heed_attention_opts *opts, heed_tensor **out,
                                                 heed_tensor **attention_weights);

/* Of a block: a norm before attention, one before the two wide layers. Biases and gains may be NULL. */
typedef struct heed_transformer_weights {
    heed_tensor *norm_gain, *norm_bias; /* (C) */
    heed_multihead_weights attention;
    heed_tensor *wide_norm_gain, *wide_norm_bias; /* (C) */
    heed_tensor *up, *up_bias;                    /* (wide, C), (wide) */
    heed_tensor *down, *down_bias;                /* (C, wide), (C) */
} heed_transformer_weights;

/** `prefix.norm.gain`, `prefix.attention.q`, `prefix.wide_norm.gain`, `prefix.up.weight`,
 * `prefix.down.weight` and so on. wide: as a rule 4 times the width. */
HEED_API HEED_CHECKED heed_status heed_transformer_init(heed_params *params, const char *prefix,
                                                        const heed_multihead_shape *shape,
                                                        int64_t wide,
                                                        heed_transformer_weights *weights);

/**
 * A block of the transformer, norms first: an encoder's, or with opts->causal a decoder's.
 *
 *     y = x + dropout(multihead(norm(x)))      out = y + dropout(W_down gelu(W_up norm(y)))
 *
 * Shapes   x and attention_weights as heed_multihead() has them; out like x
 * Values   dropout: the share that is left out, 0 <= p < 1; opts->dropout is that of the attention
 * Memory, Errors, Threads  as heed_multihead(), which refuses HEED_METHOD_LSH
 * Source   Vaswani et al. 2017, section 3.1; the norms' place is Xiong et al. 2020, "On Layer
 *          Normalization in the Transformer Architecture", figure 1b.
 */
HEED_API HEED_CHECKED heed_status heed_transformer_block(heed_tape *tape, heed_tensor *x,
                                                         const heed_transformer_weights *weights,
                                                         const heed_attention_opts *opts,
                                                         double dropout, heed_tensor **out,
                                                         heed_tensor **attention_weights);

/* Of additive pooling: A numbers of each position, and the context vector that rates them. */
typedef struct heed_additive_weights {
    heed_tensor *w, *b; /* (A, C); (A) or NULL */
    heed_tensor *v;     /* (A) */
} heed_additive_weights;

/** `prefix.w` and `prefix.v` by Xavier's rule, `prefix.b` zeros. */
HEED_API HEED_CHECKED heed_status heed_additive_init(heed_params *params, const char *prefix,
                                                     int64_t C, int64_t A,
                                                     heed_additive_weights *weights);

/**
 * Additive attention as pooling: one row for each sequence.
 *
 *     score_s = v' tanh(W x_s + b)      out_b = sum_s softmax_s(score_s) x_s      s in sequence b
 *
 * Shapes   x (N, C) with offsets, else (B, T, C)   out (B, C)
 *          attention_weights NULL, or receives each row's, (N) or (B, T); 0 at padding
 * Values   an empty sequence gives zeros
 * Errors   HEED_E_SHAPE, HEED_E_ARG  weights, offsets or lengths do not agree; the message says which
 * Cost     O(rows A C)
 * Source   Bahdanau, Cho, Bengio 2015, eq. 5 and 6; Yang et al. 2016, "Hierarchical Attention
 *          Networks", eq. 5 to 7.
 */
HEED_API HEED_CHECKED heed_status heed_additive_pool(heed_tape *tape, heed_tensor *x,
                                                     const heed_additive_weights *weights,
                                                     const heed_sequences *sequences,
                                                     heed_tensor **out,
                                                     heed_tensor **attention_weights);

/**
 * A gate of one number per row, as for an item of a history: out_i = sigmoid(theta' phi_i + bias) x_i.
 * Shapes   x (N, C)   phi (N, F): what the gate looks at, x itself or features of the pair
 *          theta (F)   bias (1), or NULL   out like x
 */
HEED_API HEED_CHECKED heed_status heed_gate(heed_tape *tape, heed_tensor *x, heed_tensor *phi,
                                            heed_tensor *theta, heed_tensor *bias,
                                            heed_tensor **out);

/* Of cross-modal attention: the attention, whose result must be as wide as x, and the gate. */
typedef struct heed_cross_modal_weights {
    heed_multihead_weights attention;
    heed_tensor *gate, *gate_bias; /* (C, 2 C); (C) or NULL */
} heed_cross_modal_weights;

/** The attention under `prefix.attention`, shape->context_width being the other modality's, and
 * `prefix.gate` by Xavier's rule, `prefix.gate_bias` zeros: half open. */
HEED_API HEED_CHECKED heed_status heed_cross_modal_init(heed_params *params, const char *prefix,
                                                        const heed_multihead_shape *shape,
                                                        heed_cross_modal_weights *weights);

/**
 * One modality looks at another, and a gate decides, number by number, how much of it to take:
 *
 *     a = multihead(x, other)      out = x + sigmoid(W_g [x, a] + b_g) a
 *
 * Shapes   x (B, T, C), other (B, S, its C): words and picture regions, say; out like x.
 *          attention_weights NULL, or receives (B, H, T, S)
 * Memory, Errors, Threads  as heed_multihead(), which refuses HEED_METHOD_LSH
 * Source   Lu et al. 2019, "ViLBERT", section 3.1 (co-attention: queries of one modality, keys and
 *          values of the other); the gate is Arevalo et al. 2017, "Gated Multimodal Units", eq. 4.
 */
HEED_API HEED_CHECKED heed_status heed_cross_modal(heed_tape *tape, heed_tensor *x,
                                                   heed_tensor *other,
                                                   const heed_cross_modal_weights *weights,
                                                   const heed_attention_opts *opts,
                                                   heed_tensor **out,
                                                   heed_tensor **attention_weights);

/* ---- target attention: a candidate looks at a history */

/* Of the hidden layers of the network that scores a pair. */
typedef enum heed_target_activation {
    HEED_TARGET_DICE,    /* heed_dice(): as published */
    HEED_TARGET_PRELU,   /* heed_prelu(): the paper's base */
    HEED_TARGET_SIGMOID, /* the authors' code */
} heed_target_activation;

#define HEED_TARGET_HIDDEN_MAX 4

/* One hidden layer: I numbers in, O out. Of the first I is 4 C: its columns meet a, e, a - e, a * e. */
typedef struct heed_target_layer {
    heed_tensor *w, *b;      /* (O, I), (O) */
    heed_tensor *alpha;      /* (O): Dice's and PReLU's; else NULL */
    heed_tensor *mean, *var; /* (O): Dice's running averages, see there; else NULL */
} heed_target_layer;

typedef struct heed_target_weights {
    int64_t hidden; /* layers, 1 .. HEED_TARGET_HIDDEN_MAX */
    heed_target_layer layer[HEED_TARGET_HIDDEN_MAX];
    heed_tensor *w, *b; /* (1, I), (1): of the score */
} heed_target_weights;

/* All zero is the ordinary case: the published form with Dice. */
typedef struct heed_target_opts {
    heed_target_activation activation;
    bool softmax; /* a history's weights sum to one; else each keeps its size, so that more interest
                   * is a longer vector (Zhou 2018, section 4.3) */
    double scale; /* of the scores; 0: 1, with softmax 1 / sqrt(C) (the authors' code) */
    heed_dice_opts dice;
    /* Histories without padding: B + 1 row numbers; NULL: every one has S events. */
    const int64_t *offsets;
    int64_t sequences; /* B, with offsets */
    /* With padding instead: the first lengths[b] events count; NULL: all do. */
    const int64_t *lengths;
    uint64_t reserved[8];
} heed_target_opts;

/** The weights of a network with these hidden layers (80 and 40 units in the paper): `prefix.0.w` by
 * Xavier's rule, `.b` zeros, `.alpha` zeros for Dice and 1 / 4 for PReLU, `.mean` zeros and `.var`
 * ones; `prefix.1.w`, ...; `prefix.w` and `prefix.b` of the score.
 * Errors   HEED_E_ARG    hidden or activation is out of its range, or units are missing
 *          HEED_E_SHAPE  C is not 1 .. 2^29 - 1, or a layer has no units */
HEED_API HEED_CHECKED heed_status heed_target_init(heed_params *params, const char *prefix,
                                                   int64_t C, const int64_t *units, int64_t hidden,
                                                   heed_target_activation activation,
                                                   heed_target_weights *weights);

/**
 * Target attention on a tape: what of a history matters to a candidate.
 *
 *     score_s = MLP[a, e_s, a - e_s, a * e_s],   w_s = scale score_s  (or its softmax over s),
 *     out = sum_s w_s e_s
 *
 * Shapes   e (B, S, C), with opts->offsets (N, C)
 *          a (B, C), one candidate for each history, or (B, K, C); out like a
 *          weights NULL, or receives (B, K, S), (B, S) for a of rank 2; with offsets (K N): those of
 *          candidate k of history b are the n = offsets[b + 1] - offsets[b] numbers from
 *          K offsets[b] + k n on. Of padding: 0. No gradient flows back through them.
 *          Rows of a and e may have one stride between them (columns of something wider).
 * Values   an empty history gives zeros. What stands in padding is not read.
 * Memory   results live in the tape's arena until heed_tape_reset(); what opts points to is borrowed
 *          so long, and so are the tensors in weights. While recording every hidden layer of every pair
 *          is kept: sum of O numbers per pair.
 * Errors   HEED_E_SHAPE  the shapes above do not agree; the message gives both
 *          HEED_E_ARG    an option or a weight is out of place, or a reserved field is set
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined; Dice's running averages as in heed_dice(), over all pairs of an event and
 *          a candidate. Same bits for any pool.
 * Cost     the first layer over 4 C numbers is split: a's part once per candidate, e's once per event,
 *          and C numbers, a * e, per pair.
 * Source   Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction", eq. 2 and 3.
 */
HEED_API HEED_CHECKED heed_status heed_target(heed_tape *tape, heed_tensor *a, heed_tensor *e,
                                              const heed_target_weights *weights,
                                              const heed_target_opts *opts, heed_tensor **out,
                                              heed_tensor **weights_out);

/* What a plain call reads and writes, contiguous but for the rows' strides. */
typedef struct heed_target_arrays {
    int64_t dtype;         /* heed_dtype, of the weights too */
    int64_t B, K, S, C;    /* with opts->offsets S is not read and B is opts->sequences */
    const void *a, *e;     /* (B, K, C), and (B, S, C) or (N, C) */
    int64_t a_row, e_row;  /* elements from one row to the next; 0: C */
    void *out;             /* (B, K, C) */
    void *weights;         /* as heed_target() lays them out, or NULL */
    void *scratch;         /* heed_target_scratch_bytes() of memory, or NULL: the call takes it from
                            * the heap and gives it back */
    uint64_t scratch_bytes;
    uint64_t reserved[4];
} heed_target_arrays;

/** Scratch that a forward needs with this pool; 0 where anything is not valid. */
HEED_API uint64_t heed_target_scratch_bytes(const heed_pool *pool,
                                            const heed_target_weights *weights,
                                            const heed_target_opts *opts,
                                            const heed_target_arrays *arrays);
/**
 * The same without a tape, to serve: many candidates against a history, with Dice's running averages.
 * The bits are those of a tape that does not record.
 * Threads  safe beside any other call that only reads the weights. pool: NULL, or lent for the call.
 */
HEED_API HEED_CHECKED heed_status heed_target_forward(heed_pool *pool,
                                                      const heed_target_weights *weights,
                                                      const heed_target_opts *opts,
                                                      const heed_target_arrays *arrays);

/* ---- routing by agreement: the interests in a history */

/* All zero, with the number of interests where one map serves all, is the ordinary case. */
typedef struct heed_routing_opts {
    int64_t interests;  /* K; 0: as many as the map has */
    int64_t iterations; /* passes; 0: 3 */
    bool adaptive;      /* a history of n events has heed_routing_interests(n, K) of them */
    /* Where the routing starts: logits (K, P) of e's element type, P at least the longest history, row
     * k for interest k and column s for the event at position s, the same for all histories; learned by
     * nobody. NULL: normal numbers with this deviation from the seed; 0: 1 where one map serves
     * all (MIND: interests would else never part), else the logits start at zero (ComiRec). */
    const void *logits;
    int64_t positions; /* P */
    double deviation;
    uint64_t seed;
    /* Histories without padding: B + 1 row numbers; NULL: every one has S events. */
    const int64_t *offsets;
    int64_t sequences; /* B, with offsets */
    /* With padding instead: the first lengths[b] events count; NULL: all do. */
    const int64_t *lengths;
    uint64_t reserved[8];
} heed_routing_opts;

/**
 * Routing by agreement: K interests out of a history. Each event's capsule for interest k is
 * u_sk = map e_s, and from logits b, pass by pass,
 *
 *     c_ks = softmax over k of b_ks,   z_k = sum_s c_ks u_sk,   v_k = squash(z_k),   b_ks += <v_k, u_sk>
 *     squash(z) = |z|^2 / (1 + |z|^2)  z / sqrt(|z|^2 + 1e-9)
 *
 * The gradient flows through the last pass alone, with its c as constants: what came before is
 * stopped, as published.
 *
 * Shapes   e (B, S, C), with opts->offsets (N, C)
 *          map (O, C): one for all (MIND); (K, O, C): one for each interest; (P, K, O, C): one for each
 *          position and interest (ComiRec-DR), P at least the longest history
 *          out (B, K, O)
 *          weights NULL, or receives c of the last pass: (B, K, S); with offsets (K N): those of
 *          interest k of history b are the n = offsets[b + 1] - offsets[b] numbers from
 *          K offsets[b] + k n on. Of padding, and of interests past a history's own: 0. No gradient
 *          flows back through them.
 *          Rows of e may have one stride between them.
 * Values   |v_k| < 1. An empty history gives zeros. What stands in padding is not read.
 * Memory   results live in the tape's arena until heed_tape_reset(); what opts points to is borrowed
 *          for the call, offsets and lengths until then.
 * Errors   HEED_E_SHAPE  the shapes above do not agree; the message gives both
 *          HEED_E_ARG    an option is out of its range, or a reserved field is set
 *          HEED_E_NOMEM  the arena cannot grow
 * Threads  tape: confined. Same bits for any pool; a history's do not depend on its batch.
 * Cost     per pass O(K (n C + O C)) for a history of n events: capsules are never made, since sums
 *          and agreements go through the map as well. O(n K O C) once where each position has its own.
 * Source   Sabour et al. 2017, "Dynamic Routing Between Capsules", eq. 1 to 3 and procedure 1; Li et
 *          al. 2019, "Multi-Interest Network with Dynamic Routing" (MIND), section 3.3; Cen et al.
 *          2020, "Controllable Multi-Interest Framework" (ComiRec), section 3.2, and its code.
 */
HEED_API HEED_CHECKED heed_status heed_routing(heed_tape *tape, heed_tensor *e, heed_tensor *map,
                                               const heed_routing_opts *opts, heed_tensor **out,
                                               heed_tensor **weights);

/** max(1, min(interests, floor(log2(events)))): how many a history of that length has (MIND, eq. 9). */
HEED_API int64_t heed_routing_interests(int64_t events, int64_t interests);

/**
 * Label-aware attention: of a reader's interests those that a target asks for; for training, where
 * the target is known.
 *
 *     w = softmax over k of pow(<v_k, e>, power),   out = sum_k w_k v_k
 *
 * pow keeps the sign of what it raises, so that dislike never counts as liking. INFINITY, or a largest
 * product whose power is beyond a double: the interest with that product alone, the first of several.
 * Shapes   v (B, K, C)   e (B, C)   out (B, C); weights NULL, or receives (B, K)
 *          counts B numbers, or NULL: of history b the first counts[b] interests take part, 0 .. K
 * Values   power 1 or more
 * Errors   HEED_E_SHAPE, HEED_E_ARG, HEED_E_NOMEM as heed_routing()
 * Source   Li et al. 2019 (MIND), section 3.4.
 */
HEED_API HEED_CHECKED heed_status heed_label_attention(heed_tape *tape, heed_tensor *v,
                                                       heed_tensor *e, double power,
                                                       const int64_t *counts, heed_tensor **out,
                                                       heed_tensor **weights);

#ifdef __cplusplus
}
#endif
#endif

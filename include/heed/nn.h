/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers, losses, optimisers and checkpoints: what a model is built from. Every layer is a function
 * on a tape: heed_linear(tape, x, w, b, &y). Weights live in a heed_params. */
#ifndef HEED_NN_H
#define HEED_NN_H

#include "heed/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- parameters: named tensors that outlive a step. confined while written, else immutable. */
typedef struct heed_params heed_params;

typedef enum heed_init {
    HEED_INIT_ZEROS,
    HEED_INIT_ONES,
    HEED_INIT_NORMAL,           /* N(0, scale^2) */
    HEED_INIT_TRUNCATED_NORMAL, /* the same, drawn again beyond two deviations */
    HEED_INIT_UNIFORM,          /* [-scale, scale) */
    HEED_INIT_XAVIER_UNIFORM,   /* Glorot, Bengio 2010: +-scale sqrt(6 / (rows + columns)) */
} heed_init;

HEED_API HEED_CHECKED heed_status heed_params_new(heed_dtype dtype, uint64_t seed,
                                                  heed_params **params);
HEED_API void heed_params_free(heed_params *params);
/** Adds a tensor, drawn from a stream that depends on the seed and the name alone. */
HEED_API HEED_CHECKED heed_status heed_params_add(heed_params *params, const char *name,
                                                  const int64_t *dim, int rank, heed_init init,
                                                  double scale, heed_tensor **tensor);
/** NULL where there is none. */
HEED_API heed_tensor *heed_params_find(heed_params *params, const char *name);
HEED_API int64_t heed_params_count(const heed_params *params);     /* tensors */
HEED_API int64_t heed_params_elements(const heed_params *params);  /* numbers */
HEED_API heed_tensor *heed_params_at(heed_params *params, int64_t i, const char **name);
HEED_API void heed_params_zero_grad(heed_params *params);
/** frozen: no gradient is asked of them, so that tapes on other threads may record over the same
 * parameters, for the gradients of their inputs alone. */
HEED_API void heed_params_freeze(heed_params *params, bool frozen);
/** The same data with gradients of its own: one for each tape that works beside others. Dies before
 * its origin, which must not be added to any more. */
HEED_API HEED_CHECKED heed_status heed_params_replica(heed_params *origin, heed_params **replica);
/** Adds the gradients of replicas 0 .. count - 1, in that order, to the origin's, and zeroes theirs. */
HEED_API HEED_CHECKED heed_status heed_params_reduce(heed_params *origin, heed_params **replica,
                                                     int count, heed_pool *pool);

/** The weights of layers under a prefix: of an embedding `prefix.table` (V, C), drawn from N(0, 1); of
 * a linear layer `prefix.weight` by Xavier's rule and `prefix.bias`, zeros; of a norm `prefix.gain`,
 * ones, and `prefix.bias`, zeros. b and bias NULL: without. */
HEED_API HEED_CHECKED heed_status heed_embedding_init(heed_params *params, const char *prefix,
                                                      int64_t V, int64_t C, heed_tensor **table);
HEED_API HEED_CHECKED heed_status heed_linear_init(heed_params *params, const char *prefix,
                                                   int64_t outputs, int64_t inputs,
                                                   heed_tensor **w, heed_tensor **b);
HEED_API HEED_CHECKED heed_status heed_norm_init(heed_params *params, const char *prefix,
                                                 int64_t width, heed_tensor **gain,
                                                 heed_tensor **bias);

/* ---- layers. x (N, C), N rows of any meaning; results are new tensors on the tape. */
/** out[i] = scale table[ids[i]]; an id of -1 gives a row of zeros. The ids are copied. */
HEED_API HEED_CHECKED heed_status heed_embedding(heed_tape *tape, heed_tensor *table,
                                                 const int32_t *ids, int64_t count, double scale,
                                                 heed_tensor **out);
/** y = x W^T + b; W (O, C), b (O) or NULL. */
HEED_API HEED_CHECKED heed_status heed_linear(heed_tape *tape, heed_tensor *x, heed_tensor *w,
                                              heed_tensor *b, heed_tensor **out);
/** residual + x W^T + b in one pass; residual (N, O). */
HEED_API HEED_CHECKED heed_status heed_linear_add(heed_tape *tape, heed_tensor *x, heed_tensor *w,
                                                  heed_tensor *b, heed_tensor *residual,
                                                  heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_add(heed_tape *tape, heed_tensor *x, heed_tensor *y,
                                           heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_mul(heed_tape *tape, heed_tensor *x, heed_tensor *y,
                                           heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_scale(heed_tape *tape, heed_tensor *x, double a,
                                             heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_relu(heed_tape *tape, heed_tensor *x, heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_gelu(heed_tape *tape, heed_tensor *x, heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_silu(heed_tape *tape, heed_tensor *x, heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_sigmoid(heed_tape *tape, heed_tensor *x, heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_tanh(heed_tape *tape, heed_tensor *x, heed_tensor **out);
/** x where x > 0, else alpha x, alpha (C) (He 2015). */
HEED_API HEED_CHECKED heed_status heed_prelu(heed_tape *tape, heed_tensor *x, heed_tensor *alpha,
                                             heed_tensor **out);

/* All zero is the ordinary case. */
typedef struct heed_dice_opts {
    double eps;      /* beside the variance; 0: 1e-8 */
    double momentum; /* share of the new batch in the running averages; 0: 0.1 */
    uint64_t reserved[4];
} heed_dice_opts;

/**
 * Dice, the data-adaptive activation:
 *
 *     y = p x + (1 - p) alpha x,    p = sigmoid((x - mean) / sqrt(var + eps)),   column by column
 *
 * While the tape records, mean and variance are those of the rows at hand (the gradient flows through
 * them), and the running averages move towards them: tensors that live in a heed_params beside the
 * weights, from zeros and ones, are saved with them and passed over by Adam. Where the tape does not
 * record, or they are frozen (heed_params_freeze), the running averages are used, and not written.
 *
 * Shapes   x (N, C)   alpha (C)   mean (C) and var (C), or both NULL: no averages are kept
 * Errors   HEED_E_ARG  also where there are no averages and the tape does not record
 * Threads  running averages that are not frozen are written: one tape at a time.
 * Source   Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction", eq. 3.
 */
HEED_API HEED_CHECKED heed_status heed_dice(heed_tape *tape, heed_tensor *x, heed_tensor *alpha,
                                            heed_tensor *mean, heed_tensor *var,
                                            const heed_dice_opts *opts, heed_tensor **out);
/** SiLU(gate) * up (Shazeer 2020). */
HEED_API HEED_CHECKED heed_status heed_swiglu(heed_tape *tape, heed_tensor *gate, heed_tensor *up,
                                              heed_tensor **out);
/** gain (C) and bias (C), or NULL. */
HEED_API HEED_CHECKED heed_status heed_layer_norm(heed_tape *tape, heed_tensor *x,
                                                  heed_tensor *gain, heed_tensor *bias, double eps,
                                                  heed_tensor **out);
HEED_API HEED_CHECKED heed_status heed_rms_norm(heed_tape *tape, heed_tensor *x, heed_tensor *gain,
                                                double eps, heed_tensor **out);
/** Each row divided by its Euclidean length (by eps where it is shorter). */
HEED_API HEED_CHECKED heed_status heed_l2_normalize(heed_tape *tape, heed_tensor *x, double eps,
                                                    heed_tensor **out);
/** Passes through where the tape does not record or p is 0. */
HEED_API HEED_CHECKED heed_status heed_dropout(heed_tape *tape, heed_tensor *x, double p,
                                               heed_tensor **out);
/** x + dropout(y): a residual sum in one pass. */
HEED_API HEED_CHECKED heed_status heed_dropout_add(heed_tape *tape, heed_tensor *x, heed_tensor *y,
                                                   double p, heed_tensor **out);

/** Probabilities: each row exp(x) / sum exp(x). */
HEED_API HEED_CHECKED heed_status heed_softmax(heed_tape *tape, heed_tensor *x, heed_tensor **out);
/** Side by side along the last axis: x[i] (N, C_i) to (N, sum C_i). The list is copied. */
HEED_API HEED_CHECKED heed_status heed_concat(heed_tape *tape, heed_tensor *const *x, int count,
                                              heed_tensor **out);
/** out[i] = a[i] x[i]: each row times a number of its own; a has as many elements as x rows. */
HEED_API HEED_CHECKED heed_status heed_scale_rows(heed_tape *tape, heed_tensor *x, heed_tensor *a,
                                                  heed_tensor **out);

/* ---- layers over sequences. */
/* Which rows of x belong together, in their order. NULL: x is (B, T, C), nothing of it is padding.
 * Borrowed until heed_tape_reset(). */
typedef struct heed_sequences {
    /* Ragged, without padding: x is (N, C), sequence b its rows [offsets[b], offsets[b + 1]);
     * offsets[0] is 0 and offsets[count] is N. */
    const int64_t *offsets;
    int64_t count;
    /* Padded: x is (B, T, C), sequence b the first lengths[b] of its T rows. */
    const int64_t *lengths;
    uint64_t reserved[2];
} heed_sequences;

/** out (B, C): the mean of each sequence's rows; of an empty one zeros. */
HEED_API HEED_CHECKED heed_status heed_mean_pool(heed_tape *tape, heed_tensor *x,
                                                 const heed_sequences *sequences,
                                                 heed_tensor **out);
/**
 * The rows of each sequence summed by a softmax over their scores:
 *
 *     w_s = exp(scores_s) / sum_r exp(scores_r)      out_b = sum_s w_s x_s      s, r in sequence b
 *
 * Shapes   x as `sequences` says   scores: a number for each row of x   out (B, C)
 *          weights NULL, or receives w, x's shape without C; 0 at padding. A picture: no gradient
 *          flows back through it.
 * Values   an empty sequence, or one whose scores are all -INFINITY, gives zeros
 * Errors   HEED_E_SHAPE, HEED_E_ARG  shapes, offsets or lengths do not agree; the message says which
 * Cost     O(rows C)
 */
HEED_API HEED_CHECKED heed_status heed_softmax_pool(heed_tape *tape, heed_tensor *x,
                                                    heed_tensor *scores,
                                                    const heed_sequences *sequences,
                                                    heed_tensor **out, heed_tensor **weights);

/* Gates in the order i, f, g, o, H rows of each: PyTorch's weight_ih, weight_hh, and the sum of its
 * two biases. */
typedef struct heed_lstm_weights {
    heed_tensor *input;  /* (4 H, C) */
    heed_tensor *hidden; /* (4 H, H) */
    heed_tensor *bias;   /* (4 H), or NULL */
} heed_lstm_weights;

/** `prefix.input` and `prefix.hidden`, uniform within 1 / sqrt(H), and `prefix.bias`: zeros, but ones
 * at the forget gate, so that cells remember at first (Jozefowicz 2015). */
HEED_API HEED_CHECKED heed_status heed_lstm_init(heed_params *params, const char *prefix, int64_t C,
                                                 int64_t H, heed_lstm_weights *weights);

/**
 * Long short-term memory in one direction, each sequence from a state of zeros.
 *
 *     i, f, o = sigmoid(W x_t + U h_(t-1) + b)      c_t = f c_(t-1) + i g
 *     g = tanh(W x_t + U h_(t-1) + b)               h_t = o tanh(c_t)
 *
 * Shapes   x (N, C) with offsets, else (B, T, C); out like x with H for C: h_t. Zeros at padding.
 *          reverse: from each sequence's last row to its first. Two of them beside each other,
 *          heed_concat() of one and a reverse one, are a BiLSTM. The state after each sequence is the
 *          row heed_embedding() picks from out (N, H) by number: offsets[b + 1] - 1, or offsets[b]
 *          where reverse.
 * Memory   the gates and the cells of all rows are kept for the backward, 5 H numbers a row
 * Errors   HEED_E_SHAPE, HEED_E_ARG  weights, offsets or lengths do not agree; the message says which
 * Threads  tape: confined. Tasks are blocks of 16 sequences, so the bits do not depend on the pool.
 * Cost     O(rows H (C + H)); the input's part is one product over all rows, the state's one product
 *          per step over the sequences that still run
 * Source   Hochreiter, Schmidhuber 1997, "Long Short-Term Memory"; Gers, Schmidhuber, Cummins 2000,
 *          "Learning to Forget", eq. 2 to 6 without peepholes.
 */
HEED_API HEED_CHECKED heed_status heed_lstm(heed_tape *tape, heed_tensor *x,
                                            const heed_lstm_weights *weights,
                                            const heed_sequences *sequences, bool reverse,
                                            heed_tensor **out);

/* ---- losses: a single number, sum over rows times weight (1 / rows of the whole batch, say). */
typedef struct heed_loss_opts {
    double weight;          /* of each row; 0: 1 / N */
    double logit_scale;     /* logits are this times x . e; 0: 1. With unit rows: 1 / temperature */
    double label_smoothing; /* share of the target spread over the whole catalogue */
    bool exact;             /* float32 products also where bfloat16 ones are faster */
    const int32_t *excluded; /* table rows that are no item (padding), or NULL */
    int64_t excluded_count;
    uint64_t reserved[4];
} heed_loss_opts;

/**
 * Full-softmax cross-entropy fused with the output product: logits (N, V) = scale x E^T are made a
 * block of rows at a time and never stored.
 * Shapes   x (N, C)   table (V, C)   labels N, each 0 .. V - 1 or -1: the row does not count
 */
HEED_API HEED_CHECKED heed_status heed_cross_entropy(heed_tape *tape, heed_tensor *x,
                                                     heed_tensor *table, const int32_t *labels,
                                                     const heed_loss_opts *opts,
                                                     heed_tensor **loss);
/** Softmax over the label and `count` shared negatives; a negative equal to the label is left out. */
HEED_API HEED_CHECKED heed_status heed_sampled_softmax(heed_tape *tape, heed_tensor *x,
                                                       heed_tensor *table, const int32_t *labels,
                                                       const int32_t *negatives, int64_t count,
                                                       const heed_loss_opts *opts,
                                                       heed_tensor **loss);
/** gBCE (Petrov, Macdonald 2023): t is the calibration, 0 .. 1; items the size of the catalogue. A
 * negative equal to the label is left out here too. */
HEED_API HEED_CHECKED heed_status heed_gbce(heed_tape *tape, heed_tensor *x, heed_tensor *table,
                                            const int32_t *labels, const int32_t *negatives,
                                            int64_t count, double t, int64_t items,
                                            const heed_loss_opts *opts, heed_tensor **loss);
/** Logits in, labels out of V classes: the plain classifier's loss. logits (N, V). */
HEED_API HEED_CHECKED heed_status heed_softmax_loss(heed_tape *tape, heed_tensor *logits,
                                                    const int32_t *labels,
                                                    const heed_loss_opts *opts,
                                                    heed_tensor **loss);

/** How many rows have their largest logit at their label; a label of -1 is never right. */
HEED_API int64_t heed_logits_right(const heed_tensor *logits, const int32_t *labels);

/* ---- optimiser: Adam and AdamW, clipping, weight averaging. */
typedef struct heed_adam_opts {
    double beta1, beta2; /* 0: 0.9, 0.999 */
    double eps;          /* 0: 1e-8 */
    double weight_decay; /* decoupled (AdamW); tensors of rank 1 are left out of it */
    double clip_norm;    /* 0: none; else gradients longer than this are cut to it */
    double ema_decay;    /* 0: none; else an average of the weights is kept beside them */
    uint64_t reserved[4];
} heed_adam_opts;

typedef struct heed_adam heed_adam;
HEED_API HEED_CHECKED heed_status heed_adam_new(heed_params *params, const heed_adam_opts *opts,
                                                heed_adam **adam);
HEED_API void heed_adam_free(heed_adam *adam);
/**
 * One step with the gradients in params; grad_norm (may be NULL) is their length before the cut.
 * Rows of a table that no gradient touched keep their weights and moments, decay included; the
 * average, which spans fewer steps early on, min(ema_decay, (1 + t) / (10 + t)), follows all.
 * Errors   HEED_E_RANGE  the gradient is not finite (seen where clip_norm or grad_norm asks for its
 *                        length); nothing was changed
 *          HEED_E_STATE  parameters were added since, or the weights are swapped with their average
 * Threads  params and adam: confined. The bits do not depend on the pool.
 */
HEED_API HEED_CHECKED heed_status heed_adam_step(heed_adam *adam, double rate, heed_pool *pool,
                                                 double *grad_norm);
/**
 * What most training loops do with a loss: heed_tape_backward(), heed_adam_step() on the tape's pool,
 * heed_params_zero_grad(). Gradients are zeroed also where it fails.
 * Errors   those of the two; no weight was changed
 */
HEED_API HEED_CHECKED heed_status heed_adam_learn(heed_adam *adam, heed_tape *tape,
                                                  heed_tensor *loss, double rate);
/** Swaps the weights and their average; twice is the identity. */
HEED_API void heed_adam_swap_average(heed_adam *adam);
HEED_API int64_t heed_adam_steps(const heed_adam *adam);

/** Linear warm-up, then constant, cosine to floor, or linear to floor: the factor at a step. */
typedef enum heed_schedule { HEED_CONSTANT, HEED_COSINE, HEED_LINEAR } heed_schedule;
HEED_API double heed_schedule_factor(heed_schedule schedule, int64_t step, int64_t warmup_steps,
                                     int64_t total_steps, double floor);

/* ---- files: safetensors, so that other programs read them. */
/**
 * Writes weights, and the optimiser's state where adam is given, under names of its own, with a JSON
 * object of strings in the metadata. Written beside, synced, and renamed: the old file or the new.
 */
HEED_API HEED_CHECKED heed_status heed_params_save(heed_params *params, const heed_adam *adam,
                                                   const char *path, const char *const *keys,
                                                   const char *const *values, int64_t pairs);
/**
 * Reads into params (all its tensors must be there, with the same shapes) and adam (likewise). F16,
 * BF16, F32 and F64 are taken, whatever the element type of params; other tensors are passed over.
 * Errors   HEED_E_FORMAT (with the byte or the tensor), HEED_E_RANGE, HEED_E_SHAPE: nothing was read
 *          HEED_E_IO  cannot be opened; or a read failed half way, and the numbers are not to be used
 */
HEED_API HEED_CHECKED heed_status heed_params_load(heed_params *params, heed_adam *adam,
                                                   const char *path);

#ifdef __cplusplus
}
#endif
#endif

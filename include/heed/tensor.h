/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes, views, and the tape that records operations and replays them backwards.
 *
 * A tensor is a shape over memory that somebody else owns: a tape's arena (activations), a
 * heed_params (weights, see nn.h), or the caller. The last dimension is contiguous; the others have
 * strides, so that a slice of columns is a view. An operation takes a tape first and its result last;
 * results live until heed_tape_reset(). */
#ifndef HEED_TENSOR_H
#define HEED_TENSOR_H

#include "heed/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum heed_dtype {
    HEED_F32,
    HEED_F64,
    HEED_BF16, /* arrays of heed_attention_forward() and _backward() alone; no tensor has it */
} heed_dtype;

#define HEED_RANK_MAX 4

/* Open, to be read; made by the functions below. */
typedef struct heed_tensor {
    heed_dtype dtype;
    int rank;                      /* 0: one number */
    int64_t dim[HEED_RANK_MAX];    /* unused ones are 1 */
    int64_t stride[HEED_RANK_MAX]; /* in elements; the last used one is 1 */
    void *data;
    /* Same layout as data; NULL: none has arrived. A view's is inside its base's. A result's may be
     * gone after backward, its memory handed on, unless keeps_grad was set before. */
    void *grad;
    bool wants_grad, keeps_grad;
    struct heed_tensor *base; /* what this is a view of, or NULL: the owner of the gradient */
    int64_t offset;           /* of a view's first element in its base, in elements */
    /* Of a parameter of rank 2 that has a gradient: a byte per row; 0: the row's gradient is zero, so
     * that a step costs what it touched, not what the table holds. Else NULL. */
    uint8_t *touched;
    struct hd_parts *split; /* of a part that heed_split() made, or NULL */
    struct hd_arena *home; /* of a parameter: where its gradient is made; NULL: in the tape's arena */
} heed_tensor;

/* confined: one thread at a time. Several tapes may read the same parameters. */
typedef struct heed_tape heed_tape;

/**
 * pool may be NULL: the operations then run on the calling thread.
 * seed starts the stream from which dropout draws.
 */
HEED_API HEED_CHECKED heed_status heed_tape_new(heed_pool *pool, uint64_t seed, heed_tape **tape);
HEED_API void heed_tape_free(heed_tape *tape);

/** Forgets all records and results at once; keeps the memory for the next step. */
HEED_API void heed_tape_reset(heed_tape *tape);

/** off: operations compute but record nothing, dropout passes through: for inference. On at first. */
HEED_API void heed_tape_record(heed_tape *tape, bool on);

/**
 * on: matrix products of float32 layers may round their factors to bfloat16 (8 bits of mantissa; sums
 * stay float32), forward and backward, where the machine multiplies those faster: about twice. Off at
 * first. The same bits for any pool, not on every kind of machine.
 */
HEED_API void heed_tape_bf16(heed_tape *tape, bool on);

/** Sets the stream of dropout's random numbers, for steps that must be repeatable one by one. */
HEED_API void heed_tape_seed(heed_tape *tape, uint64_t seed, uint64_t stream);

/** Bytes of heap behind the tape: stops growing once a step of the largest size has run. */
HEED_API size_t heed_tape_bytes(const heed_tape *tape);

/** A zeroed tensor in the tape's arena. rank 0 to HEED_RANK_MAX. */
HEED_API HEED_CHECKED heed_status heed_tensor_new_in(heed_tape *tape, heed_dtype dtype,
                                                     const int64_t *dim, int rank,
                                                     heed_tensor **out);

/** The caller's contiguous memory as a tensor; wants_grad asks backward for its gradient. */
HEED_API HEED_CHECKED heed_status heed_tensor_wrap(heed_tape *tape, heed_dtype dtype, void *data,
                                                   const int64_t *dim, int rank, bool wants_grad,
                                                   heed_tensor **out);

/**
 * A view with another shape of as many elements. Columns may be split also where x is a slice:
 * (N, H D) with gaps between its rows becomes (N, H, D).
 * Errors   HEED_E_SHAPE  other count of elements, or x has gaps where the new shape can have none
 */
HEED_API HEED_CHECKED heed_status heed_reshape(heed_tape *tape, heed_tensor *x, const int64_t *dim,
                                               int rank, heed_tensor **out);

/** A view of x[..., start : start + count, ...] along axis. */
HEED_API HEED_CHECKED heed_status heed_slice(heed_tape *tape, heed_tensor *x, int axis,
                                             int64_t start, int64_t count, heed_tensor **out);

/**
 * x (..., n C) as n parts (..., C) of its last axis, which share its memory. As slices, but gradients
 * of parts are written where those of slices have to be added to zeros: what a product of several
 * layers at once is taken apart with.
 * Errors   HEED_E_SHAPE  n does not divide the last dimension
 */
HEED_API HEED_CHECKED heed_status heed_split(heed_tape *tape, heed_tensor *x, int n,
                                             heed_tensor **parts);

/**
 * Replays the tape backwards from a single number: gradients are added to every tensor that wants
 * one. Parameters keep theirs until heed_params_zero_grad().
 * Errors   HEED_E_SHAPE  loss is not a single number
 *          HEED_E_STATE  nothing was recorded, or backward has run already
 */
HEED_API HEED_CHECKED heed_status heed_tape_backward(heed_tape *tape, heed_tensor *loss);

#ifdef __cplusplus
}
#endif
#endif

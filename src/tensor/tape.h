/* SPDX-License-Identifier: Apache-2.0
 *
 * The tape's inner side, for operations. An operation checks its shapes, makes its result with
 * heed_tensor_new_in(), computes, and, where the tape records and any input wants a gradient,
 * pushes a record whose backward adds to the gradients of its inputs.
 *
 * In a backward: dy = hd_grad_got(y) is what has arrived, NULL where nothing has; hd_grad(x) is
 * where to ADD dx. Every input is asked for its gradient once it can be written, one after the
 * other, since x and y of an operation may be the same tensor. */
#ifndef HD_TAPE_H
#define HD_TAPE_H

#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "heed/tensor.h"
#include "kernel/kernel.h"

typedef heed_status (*hd_backward_fn)(heed_tape *tape, void *record);

/* Copies bytes of record into the arena. Nothing where the tape does not record. */
HEED_CHECKED heed_status hd_tape_push(heed_tape *tape, hd_backward_fn backward, const void *record,
                                      size_t bytes);
bool hd_tape_recording(const heed_tape *tape);
bool hd_tape_bf16(const heed_tape *tape); /* may products round their factors? */
hd_arena *hd_tape_arena(heed_tape *tape);   /* for what must live until the reset */
hd_arena *hd_tape_scratch(heed_tape *tape); /* for a call: mark, allocate, release */
heed_pool *hd_tape_pool(heed_tape *tape);
/* A key of its own for each call since the last heed_tape_seed(): dropout's. */
uint64_t hd_tape_random_key(heed_tape *tape);

/* Does a gradient have to flow into x? False where the tape does not record. */
bool hd_wants_grad(const heed_tape *tape, const heed_tensor *x);
/* Where to add x's gradient, same strides as x->data; allocated and zeroed on first use (in the
 * tape's arena where x is an activation); NULL where x wants none. */
HEED_CHECKED heed_status hd_grad(heed_tape *tape, heed_tensor *x, void **grad);
/* The same without zeroing what is made now: *fresh tells that every element must be WRITTEN. */
HEED_CHECKED heed_status hd_grad_first(heed_tape *tape, heed_tensor *x, void **grad, bool *fresh);
/* The same for the last use of dy, x of y's shape: where x has no gradient yet and y's is not to be
 * kept, *grad is dy's own memory, to be changed in place, and y's gradient is gone. */
HEED_CHECKED heed_status hd_grad_take(heed_tape *tape, heed_tensor *y, heed_tensor *x, void **grad,
                                      bool *fresh);
/* The same for a table of which few rows are meant: *touched (may be NULL) is where to set a byte
 * for each row that is added to. hd_grad() marks all rows. */
HEED_CHECKED heed_status hd_grad_rows(heed_tape *tape, heed_tensor *x, void **grad,
                                      uint8_t **touched);
/* What has arrived at y, or NULL. */
void *hd_grad_got(const heed_tensor *y);
/* dx += dy, x of y's shape; where x has no gradient yet it takes over y's memory, and y's is gone.
 * So it comes last in a backward that needs dy for more. */
HEED_CHECKED heed_status hd_grad_hand(heed_tape *tape, heed_tensor *y, heed_tensor *x);

/* The parts of x, and the block of x's shape in which their gradients lie; NULL: none has come yet. */
struct hd_parts {
    heed_tensor *x;
    void *grad;
    int n;
    heed_tensor **part;
};

/* y's gradient is spent: the operation that made y has read it. Its memory is for the next gradient
 * of that size, which then is still in a near cache. Nothing where it is to be kept. */
void hd_grad_spent(heed_tape *tape, heed_tensor *y);
/* Memory for a gradient, spent or new, not zeroed; NULL where there is none. */
void *hd_tape_grad_memory(heed_tape *tape, size_t bytes);
void hd_tape_grad_spare(heed_tape *tape, void *memory, size_t bytes);

/* A view of all of x, to be changed. */
HEED_CHECKED heed_status hd_view(heed_tape *tape, heed_tensor *x, heed_tensor **out);
/* Zeroes what x's gradient holds; it is there, and x is no view. */
void hd_grad_clear(heed_tensor *x);
/* A result: as heed_tensor_new_in(), not zeroed. */
HEED_CHECKED heed_status hd_tensor_new(heed_tape *tape, heed_dtype dtype, const int64_t *dim,
                                       int rank, heed_tensor **out);
HEED_CHECKED heed_status hd_tensor_like(heed_tape *tape, const heed_tensor *x, heed_tensor **out);
/* The shape alone, checked; everything else is zero. */
HEED_CHECKED heed_status hd_tensor_init(heed_tensor *x, heed_dtype dtype, const int64_t *dim,
                                        int rank);

/* The table for x's element type. */
const struct hd_kernels *hd_kernels_of(const heed_tensor *x);
/* Elements; rows (all dimensions but the last) and columns. */
int64_t hd_count(const heed_tensor *x);
int64_t hd_rows(const heed_tensor *x);
int64_t hd_cols(const heed_tensor *x);
bool hd_is_contiguous(const heed_tensor *x);
bool hd_same_shape(const heed_tensor *x, const heed_tensor *y);
/* Rank 2, or rows with one stride between them: what row-wise operations take. */
bool hd_is_rows(const heed_tensor *x);
/* Distance between rows, in elements. */
int64_t hd_row_stride(const heed_tensor *x);
static inline void *hd_at(const void *base, size_t item_bytes, int64_t index)
{
    return (char *)base + (int64_t)item_bytes * index;
}
/* One number, for what is done once for a row or a weight. */
static inline double hd_get(const struct hd_kernels *k, const void *x, int64_t i)
{
    return hd_number(x, k->item_bytes, i);
}
static inline void hd_put(const struct hd_kernels *k, void *x, int64_t i, double value)
{
    hd_set_number(x, k->item_bytes, i, value);
}
/* "(8, 63)", in a buffer of the thread's own; up to four live at a time. */
const char *hd_shape_text(const heed_tensor *x);

/* C (M, N) = or += A B, plus bias, with B packed here (scratch), in row blocks of a fixed size over
 * the tape's pool; where M and N are small and K is long the sum over K is cut at a fixed grain and
 * the parts are added in order, so that the bits do not depend on the pool. */
struct hd_matmul {
    int64_t M, N, K;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row, b_col;
    void *c;
    int64_t c_row;
    bool accumulate;
    const void *bias; /* (N), added to every row, or NULL */
    const void *add;  /* (M, N), rows add_row apart, added, or NULL; not with accumulate */
    int64_t add_row;
};
HEED_CHECKED heed_status hd_matmul(heed_tape *tape, const struct hd_kernels *k,
                                   const struct hd_matmul *m);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes, views and where gradients live.
 *
 * A tensor made here or wrapped is a root: contiguous, owner of its gradient. A view keeps its root
 * in `base` (never another view) and its first element's place in `offset`; its gradient is the
 * same place in the root's. So views need no records: what is added to a view's gradient is in the
 * root's already. The parts of heed_split() are roots too, though their rows have gaps: their
 * gradients lie in a block that all of them share. */
#include "base/limits.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t item_bytes(const heed_tensor *x)
{
    return x->dtype == HEED_F32 ? sizeof(float) : sizeof(double);
}

const struct hd_kernels *hd_kernels_of(const heed_tensor *x)
{
    return x->dtype == HEED_F32 ? hd_kernels() : hd_kernels_f64();
}

int64_t hd_count(const heed_tensor *x)
{
    int64_t count = 1;

    for (int i = 0; i < x->rank; i++)
        count *= x->dim[i];
    return count;
}

int64_t hd_cols(const heed_tensor *x)
{
    return x->rank > 0 ? x->dim[x->rank - 1] : 1;
}

int64_t hd_rows(const heed_tensor *x)
{
    int64_t rows = 1;

    for (int i = 0; i + 1 < x->rank; i++)
        rows *= x->dim[i];
    return rows;
}

/* The stride of a dimension of size 1 is never walked, so it may be anything. */
bool hd_is_contiguous(const heed_tensor *x)
{
    int64_t expect = 1;

    for (int i = x->rank - 1; i >= 0; i--) {
        if (x->dim[i] != 1 && x->stride[i] != expect)
            return false;
        expect *= x->dim[i];
    }
    return true;
}

bool hd_is_rows(const heed_tensor *x)
{
    int64_t expect = -1; /* of the next outer dimension; -1: free */

    for (int i = x->rank - 2; i >= 0; i--) {
        if (x->dim[i] == 1)
            continue;
        if (expect >= 0 && x->stride[i] != expect)
            return false;
        expect = x->stride[i] * x->dim[i];
    }
    return true;
}

int64_t hd_row_stride(const heed_tensor *x)
{
    for (int i = x->rank - 2; i >= 0; i--)
        if (x->dim[i] != 1)
            return x->stride[i];
    return hd_cols(x);
}

bool hd_same_shape(const heed_tensor *x, const heed_tensor *y)
{
    if (x->rank != y->rank)
        return false;
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] != y->dim[i])
            return false;
    return true;
}

const char *hd_shape_text(const heed_tensor *x)
{
    static _Thread_local char ring[4][96];
    static _Thread_local unsigned turn;
    char *text = ring[turn++ % 4];
    size_t used = 1;

    text[0] = '(';
    for (int i = 0; i < x->rank; i++)
        used += (size_t)snprintf(text + used, sizeof ring[0] - used, i ? ", %" PRId64 : "%" PRId64,
                                 x->dim[i]);
    snprintf(text + used, sizeof ring[0] - used, ")");
    return text;
}

/* Fills in a contiguous shape; *bytes is what it takes. */
static heed_status shape_set(heed_tensor *x, heed_dtype dtype, const int64_t *dim, int rank,
                             size_t *bytes)
{
    size_t size = dtype == HEED_F32 ? sizeof(float) : sizeof(double);

    if (dtype == HEED_BF16)
        return hd_fail(HEED_E_ARG, "tensor: bfloat16 is for the plain calls of attention alone");
    if (dtype != HEED_F32 && dtype != HEED_F64)
        return hd_fail(HEED_E_ARG, "tensor: %d is no element type", (int)dtype);
    if (rank < 0 || rank > HEED_RANK_MAX)
        return hd_fail(HEED_E_ARG, "tensor: rank %d, not 0 to %d", rank, HEED_RANK_MAX);
    x->dtype = dtype;
    x->rank = rank;
    for (int i = 0; i < HEED_RANK_MAX; i++)
        x->dim[i] = x->stride[i] = 1;
    for (int i = rank - 1; i >= 0; i--) {
        if (dim[i] < 0 || dim[i] > HD_DIM_MAX)
            return hd_fail(HEED_E_RANGE, "tensor: dimension %d is %" PRId64 ", not 0 to %" PRId64,
                           i, dim[i], (int64_t)HD_DIM_MAX);
        x->dim[i] = dim[i];
        x->stride[i] = i == rank - 1 ? 1 : x->stride[i + 1] * x->dim[i + 1];
        if (__builtin_mul_overflow(size, (size_t)dim[i], &size) || size > PTRDIFF_MAX)
            return hd_fail(HEED_E_RANGE, "tensor: more elements than memory can hold");
    }
    *bytes = size;
    return HEED_OK;
}

heed_status hd_tensor_init(heed_tensor *x, heed_dtype dtype, const int64_t *dim, int rank)
{
    size_t bytes;

    *x = (heed_tensor){0};
    return shape_set(x, dtype, dim, rank, &bytes);
}

/* The tensor, and with own_data its numbers, not zeroed. */
static heed_status tensor_make(heed_tape *tape, heed_dtype dtype, const int64_t *dim, int rank,
                               bool own_data, heed_tensor **out)
{
    hd_arena *arena = hd_tape_arena(tape);
    struct hd_arena_mark mark = hd_arena_mark(arena);
    heed_tensor *x = hd_arena_zalloc(arena, 1, sizeof *x);
    heed_status status;
    size_t bytes;

    if (!x)
        return hd_fail(HEED_E_NOMEM, "tensor: the arena cannot grow");
    status = shape_set(x, dtype, dim, rank, &bytes);
    if (status == HEED_OK && own_data && !(x->data = hd_arena_alloc(arena, bytes, 1)))
        status = hd_fail(HEED_E_NOMEM, "tensor: the arena cannot grow by %zu bytes", bytes);
    if (status != HEED_OK) {
        hd_arena_release(arena, mark);
        return status;
    }
    *out = x;
    return HEED_OK;
}

heed_status hd_tensor_new(heed_tape *tape, heed_dtype dtype, const int64_t *dim, int rank,
                          heed_tensor **out)
{
    return tensor_make(tape, dtype, dim, rank, true, out);
}

heed_status hd_tensor_like(heed_tape *tape, const heed_tensor *x, heed_tensor **out)
{
    return tensor_make(tape, x->dtype, x->dim, x->rank, true, out);
}

heed_status heed_tensor_new_in(heed_tape *tape, heed_dtype dtype, const int64_t *dim, int rank,
                               heed_tensor **out)
{
    HD_TRY(tensor_make(tape, dtype, dim, rank, true, out));
    memset((*out)->data, 0, (size_t)hd_count(*out) * item_bytes(*out));
    return HEED_OK;
}

heed_status heed_tensor_wrap(heed_tape *tape, heed_dtype dtype, void *data, const int64_t *dim,
                             int rank, bool wants_grad, heed_tensor **out)
{
    HD_TRY(tensor_make(tape, dtype, dim, rank, false, out));
    (*out)->data = data;
    (*out)->wants_grad = wants_grad;
    return HEED_OK;
}

heed_status hd_view(heed_tape *tape, heed_tensor *x, heed_tensor **out)
{
    heed_tensor *view = hd_arena_alloc(hd_tape_arena(tape), 1, sizeof *view);

    if (!view)
        return hd_fail(HEED_E_NOMEM, "view: the arena cannot grow");
    *view = *x;
    view->base = x->base ? x->base : x;
    view->grad = NULL;
    view->touched = NULL;
    view->split = NULL;
    *out = view;
    return HEED_OK;
}

/* Strides under which the elements of x, in their order, have the new shape; false where no strides
 * do. Runs of old dimensions and of new ones that cover as many elements are matched, outermost
 * first; an old run must be walkable with one stride. Dimensions of size 1 do not count. */
static bool strides_for(const heed_tensor *x, const int64_t *dim, int rank, int64_t *stride)
{
    int64_t old_dim[HEED_RANK_MAX], old_stride[HEED_RANK_MAX];
    int old_rank = 0, o = 0, n = 0;

    for (int i = 0; i < x->rank; i++) {
        if (x->dim[i] == 1)
            continue;
        old_dim[old_rank] = x->dim[i];
        old_stride[old_rank++] = x->stride[i];
    }
    for (int i = 0; i < rank; i++)
        stride[i] = 1;
    while (n < rank && o < old_rank) {
        int new_from = n, old_from = o;
        int64_t new_size = dim[n++], old_size = old_dim[o++];
        while (new_size != old_size) {
            if (new_size < old_size)
                new_size *= dim[n++];
            else
                old_size *= old_dim[o++];
        }
        for (int i = old_from; i + 1 < o; i++)
            if (old_stride[i] != old_dim[i + 1] * old_stride[i + 1])
                return false;
        stride[n - 1] = old_stride[o - 1];
        for (int i = n - 2; i >= new_from; i--)
            stride[i] = stride[i + 1] * dim[i + 1];
    }
    /* Operations count on a last dimension without gaps; one of size 1 has none. */
    if (rank > 0 && dim[rank - 1] == 1)
        stride[rank - 1] = 1;
    return rank == 0 || stride[rank - 1] == 1;
}

heed_status heed_reshape(heed_tape *tape, heed_tensor *x, const int64_t *dim, int rank,
                         heed_tensor **out)
{
    heed_tensor shape;
    int64_t stride[HEED_RANK_MAX];
    size_t bytes;

    HD_TRY(shape_set(&shape, x->dtype, dim, rank, &bytes));
    if (hd_count(&shape) != hd_count(x))
        return hd_fail(HEED_E_SHAPE, "reshape: %s has not as many elements as %s",
                       hd_shape_text(&shape), hd_shape_text(x));
    if (bytes == 0)
        memcpy(stride, shape.stride, sizeof stride); /* no elements: any strides do */
    else if (!strides_for(x, dim, rank, stride))
        return hd_fail(HEED_E_SHAPE, "reshape: %s has gaps, so it is not a view of shape %s",
                       hd_shape_text(x), hd_shape_text(&shape));
    HD_TRY(hd_view(tape, x, out));
    (*out)->rank = rank;
    memcpy((*out)->dim, shape.dim, sizeof shape.dim);
    for (int i = 0; i < HEED_RANK_MAX; i++)
        (*out)->stride[i] = i < rank ? stride[i] : 1;
    return HEED_OK;
}

heed_status heed_slice(heed_tape *tape, heed_tensor *x, int axis, int64_t start, int64_t count,
                       heed_tensor **out)
{
    if (axis < 0 || axis >= x->rank)
        return hd_fail(HEED_E_ARG, "slice: axis %d of %s", axis, hd_shape_text(x));
    if (start < 0 || count < 0 || start > x->dim[axis] || count > x->dim[axis] - start)
        return hd_fail(HEED_E_RANGE, "slice: %" PRId64 " from %" PRId64 " on along axis %d of %s",
                       count, start, axis, hd_shape_text(x));
    HD_TRY(hd_view(tape, x, out));
    (*out)->dim[axis] = count;
    (*out)->offset += start * x->stride[axis];
    (*out)->data = hd_at(x->data, item_bytes(x), start * x->stride[axis]);
    return HEED_OK;
}

bool hd_wants_grad(const heed_tape *tape, const heed_tensor *x)
{
    return x && x->wants_grad && hd_tape_recording(tape);
}

void hd_grad_clear(heed_tensor *x)
{
    int64_t rows = hd_rows(x), cols = hd_cols(x);

    if (hd_is_contiguous(x))
        cols *= rows, rows = 1;
    for (int64_t i = 0; i < rows; i++)
        memset(hd_at(x->grad, item_bytes(x), i * hd_row_stride(x)), 0,
               (size_t)cols * item_bytes(x));
}

/* The gradient of a part: its place in the block of all of them. */
static heed_status part_grad(heed_tape *tape, heed_tensor *part, bool *fresh)
{
    struct hd_parts *split = part->split;

    if (!split->grad)
        split->grad = hd_tape_grad_memory(tape, (size_t)hd_count(split->x) * item_bytes(part));
    if (!split->grad)
        return hd_fail(HEED_E_NOMEM, "gradient: the arena cannot grow");
    part->grad = (char *)split->grad + ((char *)part->data - (char *)split->x->data);
    *fresh = true;
    return HEED_OK;
}

/* The gradient of a root. *fresh: it was made just now and is not zeroed. */
static heed_status root_grad(heed_tape *tape, heed_tensor *root, bool *fresh)
{
    size_t bytes = (size_t)hd_count(root) * item_bytes(root);

    *fresh = false;
    if (root->grad)
        return HEED_OK;
    if (root->split)
        return part_grad(tape, root, fresh);
    void *grad = root->home ? hd_arena_alloc(root->home, bytes, 1) : hd_tape_grad_memory(tape, bytes);
    if (!grad)
        return hd_fail(HEED_E_NOMEM, "gradient: the arena cannot grow");
    if (root->home) { /* a parameter's outlives the step and is only ever added to */
        uint8_t *touched = NULL;
        if (root->rank == 2 && !(touched = hd_arena_zalloc(root->home, (size_t)root->dim[0], 1)))
            return hd_fail(HEED_E_NOMEM, "gradient: the arena cannot grow");
        memset(grad, 0, bytes);
        root->touched = touched;
    } else {
        *fresh = true;
    }
    root->grad = grad;
    return HEED_OK;
}

heed_status hd_grad_rows(heed_tape *tape, heed_tensor *x, void **grad, uint8_t **touched)
{
    heed_tensor *root = x->base ? x->base : x;
    bool fresh;

    *grad = NULL;
    *touched = NULL;
    if (!hd_wants_grad(tape, x))
        return HEED_OK;
    HD_TRY(root_grad(tape, root, &fresh));
    if (fresh)
        hd_grad_clear(root);
    *grad = hd_at(root->grad, item_bytes(root), x->offset);
    if (!root->touched)
        return HEED_OK;
    /* Only where x is the table itself do its rows stand for the marks. */
    if (x == root)
        *touched = root->touched;
    else
        memset(root->touched, 1, (size_t)root->dim[0]);
    return HEED_OK;
}

heed_status hd_grad(heed_tape *tape, heed_tensor *x, void **grad)
{
    uint8_t *touched;

    HD_TRY(hd_grad_rows(tape, x, grad, &touched));
    if (touched)
        memset(touched, 1, (size_t)x->dim[0]);
    return HEED_OK;
}

heed_status hd_grad_first(heed_tape *tape, heed_tensor *x, void **grad, bool *fresh)
{
    heed_tensor *root = x->base ? x->base : x;

    *fresh = false;
    if (root->home || hd_count(x) != hd_count(root) || !hd_wants_grad(tape, x))
        return hd_grad(tape, x, grad);
    HD_TRY(root_grad(tape, root, fresh));
    *grad = root->grad; /* a view of all of it, in other words */
    return HEED_OK;
}

void *hd_grad_got(const heed_tensor *y)
{
    const heed_tensor *root = y->base ? y->base : y;

    return root->grad ? hd_at(root->grad, item_bytes(root), y->offset) : NULL;
}

void hd_grad_spent(heed_tape *tape, heed_tensor *y)
{
    if (!y->grad || y->base || y->home || y->split || y->keeps_grad)
        return;
    hd_tape_grad_spare(tape, y->grad, (size_t)hd_count(y) * item_bytes(y));
    y->grad = NULL;
}

/* May x take over the memory of y's gradient? */
static bool can_take(const heed_tensor *y, const heed_tensor *x)
{
    return !x->base && !x->home && !x->split && !x->grad && !y->base && !y->home && !y->split &&
           !y->keeps_grad;
}

heed_status hd_grad_take(heed_tape *tape, heed_tensor *y, heed_tensor *x, void **grad, bool *fresh)
{
    if (!hd_wants_grad(tape, x) || !y->grad || !can_take(y, x))
        return hd_grad_first(tape, x, grad, fresh);
    *grad = x->grad = y->grad;
    y->grad = NULL;
    *fresh = true;
    return HEED_OK;
}

heed_status hd_grad_hand(heed_tape *tape, heed_tensor *y, heed_tensor *x)
{
    const struct hd_kernels *k = hd_kernels_of(x);
    void *dy = hd_grad_got(y), *dx;
    bool fresh;

    if (!dy || !hd_wants_grad(tape, x))
        return HEED_OK;
    if (can_take(y, x)) {
        x->grad = y->grad;
        y->grad = NULL;
        return HEED_OK;
    }
    HD_TRY(hd_grad_first(tape, x, &dx, &fresh));
    int64_t rows = hd_rows(x), cols = hd_cols(x), x_row = hd_row_stride(x),
            y_row = hd_row_stride(y);
    if (hd_is_contiguous(x) && hd_is_contiguous(y))
        cols *= rows, rows = 1;
    for (int64_t i = 0; i < rows; i++) {
        void *to = hd_at(dx, k->item_bytes, i * x_row);
        const void *from = hd_at(dy, k->item_bytes, i * y_row);
        if (fresh)
            memcpy(to, from, (size_t)cols * k->item_bytes);
        else
            k->add(to, to, from, (size_t)cols);
    }
    return HEED_OK;
}

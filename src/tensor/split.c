/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a tensor apart. A slice's gradient is a piece of its base's, which nobody knows to be written
 * in full, so it starts from zeros. Parts are known to cover their tensor once: each is written by the
 * first who has something for it, and what nobody wrote is zeroed in the end. */
#include "tensor/tape.h"

/* The parts' gradients become x's. */
static heed_status split_backward(heed_tape *tape, void *record)
{
    struct hd_parts *s = *(struct hd_parts **)record;
    const struct hd_kernels *k = hd_kernels_of(s->x);
    size_t count = (size_t)hd_count(s->x);
    void *dx;
    bool fresh;

    if (!s->grad)
        return HEED_OK;
    for (int i = 0; i < s->n; i++) {
        s->x->keeps_grad |= s->part[i]->keeps_grad; /* its memory is x's from here on */
        if (s->part[i]->grad)
            continue;
        s->part[i]->grad =
            (char *)s->grad + ((char *)s->part[i]->data - (char *)s->x->data);
        hd_grad_clear(s->part[i]);
    }
    if (!s->x->grad && !s->x->split) {
        s->x->grad = s->grad;
        return HEED_OK;
    }
    HD_TRY(hd_grad_first(tape, s->x, &dx, &fresh));
    if (fresh)
        k->scale(dx, 1, s->grad, count);
    else
        k->add(dx, dx, s->grad, count);
    return HEED_OK;
}

heed_status heed_split(heed_tape *tape, heed_tensor *x, int n, heed_tensor **parts)
{
    int64_t cols = hd_cols(x);
    int last = x->rank - 1;
    struct hd_parts *s;

    if (x->rank < 1 || n < 1 || cols % n != 0)
        return hd_fail(HEED_E_SHAPE, "split: the last dimension of %s is not %d times anything",
                       hd_shape_text(x), n);
    for (int i = 0; i < n; i++)
        HD_TRY(heed_slice(tape, x, last, i * (cols / n), cols / n, &parts[i]));
    /* Views and parameters stay slices: their gradients are where others add too. */
    if (!hd_wants_grad(tape, x) || x->base || x->home || !hd_is_contiguous(x))
        return HEED_OK;
    s = hd_arena_alloc(hd_tape_arena(tape), 1, sizeof *s);
    heed_tensor **kept = hd_arena_alloc(hd_tape_arena(tape), (size_t)n, sizeof *kept);
    if (!s || !kept)
        return hd_fail(HEED_E_NOMEM, "split: the arena cannot grow");
    *s = (struct hd_parts){.x = x, .n = n, .part = kept};
    HD_TRY(hd_tape_push(tape, split_backward, &s, sizeof s)); /* first: failing leaves plain slices */
    for (int i = 0; i < n; i++) {
        kept[i] = parts[i];
        parts[i]->base = NULL, parts[i]->offset = 0, parts[i]->split = s;
    }
    return HEED_OK;
}

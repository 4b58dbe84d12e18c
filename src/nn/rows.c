/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of rows as tasks, and the checks that row-wise layers share. */
#include "nn/rows.h"

#include <inttypes.h>

struct job {
    hd_rows_fn fn;
    void *arg;
    int64_t rows, grain;
};

static int64_t rows_grain(int64_t cols)
{
    int64_t grain = cols > 0 ? HD_BLOCK_ITEMS / cols : HD_ROWS_MAX;

    return grain < 1 ? 1 : grain > HD_ROWS_MAX ? HD_ROWS_MAX : grain;
}

int64_t hd_rows_blocks(int64_t rows, int64_t cols)
{
    int64_t grain = rows_grain(cols);

    return (rows + grain - 1) / grain;
}

static heed_status rows_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    int64_t from = task * job->grain, to = from + job->grain;

    (void)worker;
    return job->fn(job->arg, from, to < job->rows ? to : job->rows, task);
}

heed_status hd_rows_run(heed_tape *tape, int64_t rows, int64_t cols, hd_rows_fn fn, void *arg)
{
    struct job job = {fn, arg, rows, rows_grain(cols)};

    return hd_pool_run(hd_tape_pool(tape), hd_rows_blocks(rows, cols), rows_task, &job);
}

heed_status hd_check_rows(const char *layer, const char *name, const heed_tensor *x)
{
    if (!hd_is_rows(x))
        return hd_fail(HEED_E_SHAPE, "%s: %s is %s with gaps, not rows one stride apart", layer,
                       name, hd_shape_text(x));
    return HEED_OK;
}

heed_status hd_check_vector(const char *layer, const char *name, const heed_tensor *vector,
                            const heed_tensor *x, int64_t length)
{
    if (!vector)
        return HEED_OK;
    if (vector->rank != 1 || vector->dim[0] != length)
        return hd_fail(HEED_E_SHAPE, "%s: %s is %s, not (%" PRId64 ")", layer, name,
                       hd_shape_text(vector), length);
    if (vector->dtype != x->dtype)
        return hd_fail(HEED_E_ARG, "%s: %s and x have different element types", layer, name);
    return HEED_OK;
}

heed_status hd_check_same(const char *layer, const heed_tensor *x, const heed_tensor *y)
{
    if (!hd_same_shape(x, y))
        return hd_fail(HEED_E_SHAPE, "%s: %s and %s are not the same shape", layer,
                       hd_shape_text(x), hd_shape_text(y));
    if (x->dtype != y->dtype)
        return hd_fail(HEED_E_ARG, "%s: the element types differ", layer);
    return HEED_OK;
}

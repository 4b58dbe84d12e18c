/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain calls: options are checked here, once, the method is chosen, and what scores and positions
 * make of queries and keys is put around it. */
#include "attention/dense.h"
#include "attention/layout.h"
#include "attention/linear.h"
#include "attention/lsh.h"
#include "attention/transform.h"
#include "attention/widen.h"

/* One row per heed_attention_method. */
static const struct {
    uint64_t (*scratch_bytes)(const heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays, bool backward);
    heed_status (*forward)(heed_pool *pool, const heed_attention_opts *opts,
                           const heed_attention_arrays *arrays);
    heed_status (*backward)(heed_pool *pool, const heed_attention_opts *opts,
                            const heed_attention_arrays *arrays);
} methods[] = {
    [HEED_METHOD_EXACT] = {hd_dense_scratch_bytes, hd_dense_forward, hd_dense_backward},
    [HEED_METHOD_LINEAR] = {hd_linear_scratch_bytes, hd_linear_forward, hd_linear_backward},
    [HEED_METHOD_LSH] = {hd_lsh_scratch_bytes, hd_lsh_forward, hd_lsh_backward},
};

static heed_status check(const heed_attention_opts *opts, const heed_attention_arrays *arrays,
                         bool backward)
{
    if (!opts || !arrays)
        return hd_fail(HEED_E_ARG, "attention: options or arrays are missing");
    return hd_attention_check(opts, arrays, backward);
}

/* ---- the method, which knows inner products and takes options and arrays as right */

static uint64_t method_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                             const heed_attention_arrays *arrays, bool backward)
{
    return methods[opts->method].scratch_bytes(pool, opts, arrays, backward);
}

static heed_status method_run(heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays, bool backward)
{
    return backward ? methods[opts->method].backward(pool, opts, arrays)
                    : methods[opts->method].forward(pool, opts, arrays);
}

/* ---- around it, what scores and positions make of queries and keys */

/* The transform's memory, and behind it the method's, of the caller's scratch or of one block of the
 * heap. */
static heed_status take_memory(struct hd_transform *t, const heed_pool *pool, void **heap)
{
    heed_attention_arrays *a = &t->arrays;
    int threads = heed_pool_threads(pool);
    size_t own = hd_transform_memory(t, threads, NULL);
    uint64_t method = method_bytes(pool, &t->opts, a, t->backward);
    char *memory;
    HD_TRY(hd_scratch_take(a, own + (size_t)method, &memory, heap));
    hd_transform_memory(t, threads, memory);
    a->scratch = memory + own, a->scratch_bytes = method;
    return HEED_OK;
}

static heed_status run(heed_pool *pool, const heed_attention_opts *opts,
                       const heed_attention_arrays *arrays, bool backward)
{
    struct hd_transform t;
    void *heap;
    HD_TRY(check(opts, arrays, backward));
    if (hd_is_widened(opts, arrays, backward))
        return hd_widened_run(pool, opts, arrays, backward);
    if (!hd_transform_init(&t, opts, arrays, backward))
        return method_run(pool, opts, arrays, backward);
    HD_TRY(take_memory(&t, pool, &heap));
    heed_status status = hd_transform_forward(&t, pool);
    if (status == HEED_OK)
        status = method_run(pool, &t.opts, &t.arrays, backward);
    if (status == HEED_OK && backward)
        status = hd_transform_backward(&t, pool);
    hd_free(heap);
    return status;
}

uint64_t heed_attention_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                      const heed_attention_arrays *arrays, bool backward)
{
    struct hd_transform t;
    if (check(opts, arrays, backward) != HEED_OK)
        return 0;
    if (hd_is_widened(opts, arrays, backward))
        return hd_widened_scratch_bytes(pool, opts, arrays, backward);
    if (!hd_transform_init(&t, opts, arrays, backward))
        return method_bytes(pool, opts, arrays, backward);
    uint64_t own = hd_transform_memory(&t, heed_pool_threads(pool), NULL);
    return HD_ARENA_ALIGN + own + method_bytes(pool, &t.opts, &t.arrays, backward);
}

heed_status heed_attention_forward(heed_pool *pool, const heed_attention_opts *opts,
                                   const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, false);
}

heed_status heed_attention_backward(heed_pool *pool, const heed_attention_opts *opts,
                                    const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, true);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact method's forward: a task is a block of queries of one head (see dense.c). */
#include "attention/dense_tile.h"
#include "base/memory.h"
#include "base/pool.h"

#include <string.h>

/* The scores become weights that do not depend on other keys. */
static void gate(const struct hd_job *j, const struct hd_tile *tile, const char *inverse)
{
    if (j->opts->weight == HEED_WEIGHT_SILU)
        j->kernel->silu(tile, inverse);
    else
        j->kernel->sigmoid(tile);
}

/* What is done with one tile: queries t .. t + rows - 1 of a chunk, and keys. */
typedef void tile_fn(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                     int64_t t, int64_t rows, struct hd_span keys);

/* Every tile of a chunk of which anything may be seen, keys by keys. */
static void walk(const struct hd_job *j, const struct hd_pair *p, struct hd_scratch *w,
                 int64_t begin, int64_t end, tile_fn *each)
{
    int64_t last = hd_keys_seen(j, p, begin, end, 0, p->S).to;
    for (int64_t key = hd_next_keys(j, p, begin, end, 0); key < last;
         key = hd_next_keys(j, p, begin, end, key + p->key_block)) {
        struct hd_span block = hd_keys_seen(j, p, begin, end, key, key + p->key_block);
        if (block.from >= block.to)
            continue;
        hd_turn(j, p, w, block);
        for (int64_t t = begin, rows; t < end; t += rows) {
            rows = hd_rows_at(j, p, t, end);
            struct hd_span seen = hd_keys_seen(j, p, t, t + rows, key, key + p->key_block);
            if (seen.from < seen.to)
                each(j, p, w, t, rows, seen);
        }
    }
}

/* A tile's part of out. */
static void add_tile(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                     int64_t t, int64_t rows, struct hd_span keys)
{
    struct hd_tile tile = hd_tile_of(j, p, w->s, t, rows, keys);
    char *max = hd_item(j, w->max, t % HD_CHUNK), *sum = hd_item(j, w->sum, t % HD_CHUNK);
    char *out = hd_item(j, hd_rows_of(j, p, j->arrays->out, j->out, p->h), t * j->out.row);
    bool first = keys.from == hd_keys_seen(j, p, t, t + rows, 0, p->S).from;

    hd_scores(j, p, w, &tile, t);
    if (j->softmax)
        j->kernel->softmax(&tile, max, sum, out, j->out.row, j->E, first);
    else
        gate(j, &tile, max);
    struct hd_product pv = {.M = rows, .N = j->E, .K = tile.columns, .a = w->s, .a_row = p->tile_row,
                            .a_col = 1, .b = hd_item(j, p->v, keys.from * j->v.row),
                            .b_row = j->v.row, .c = out, .c_row = j->out.row, .alpha = 1,
                            .accumulate = !first, .seen = tile.seen,
                            .shape = j->opts->causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->kernel->product(&pv);
}

/* A tile's part of the weights that the caller wants. Those of softmax are known again from lse, which
 * lies in max by now. */
static void write_tile(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                       int64_t t, int64_t rows, struct hd_span keys)
{
    int64_t row = ((p->b * j->H + p->h) * p->T + t) * p->S;
    char *lse = hd_item(j, w->max, t % HD_CHUNK);
    struct hd_tile tile = hd_tile_of(j, p, w->s, t, rows, keys);

    tile.threshold = 0;
    hd_scores(j, p, w, &tile, t);
    if (j->softmax)
        j->kernel->weights(&tile, lse);
    else
        gate(j, &tile, lse);
    for (int64_t i = 0; i < rows; i++)
        memcpy(hd_item(j, j->arrays->weights, row + i * p->S + keys.from),
               hd_item(j, w->s, i * p->tile_row), (size_t)tile.columns * j->item);
}

/* Rows that are shown no key get zeros, and sums that say so. */
static void clear_blind(const struct hd_job *j, const struct hd_scratch *w, int64_t t, int64_t rows,
                        char *out)
{
    for (int64_t i = 0; i < rows; i++)
        memset(hd_item(j, out, i * j->out.row), 0, (size_t)j->E * j->item);
    if (j->softmax) {
        memset(hd_item(j, w->max, t % HD_CHUNK), 0, (size_t)rows * j->item);
        memset(hd_item(j, w->sum, t % HD_CHUNK), 0, (size_t)rows * j->item);
    }
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    const struct hd_job *j = arg;
    int64_t head = task / j->chunks, begin = task % j->chunks * HD_CHUNK;
    struct hd_pair p = hd_pair_of(j, head / j->H, head % j->H, false);
    int64_t end = begin + HD_CHUNK < p.T ? begin + HD_CHUNK : p.T;
    if (begin >= end)
        return HEED_OK;
    struct hd_scratch w = hd_worker_scratch(j, false, worker);
    char *out = hd_rows_of(j, &p, j->arrays->out, j->out, p.h);

    if (j->opts->weight == HEED_WEIGHT_SILU)
        hd_inverses(j, &p, begin, end, w.max);
    for (int64_t t = begin, rows; t < end; t += rows) {
        rows = hd_rows_at(j, &p, t, end);
        struct hd_span seen = hd_keys_seen(j, &p, t, t + rows, 0, p.S);
        if (seen.from >= seen.to)
            clear_blind(j, &w, t, rows, hd_item(j, out, t * j->out.row));
    }
    walk(j, &p, &w, begin, end, add_tile);
    if (j->softmax)
        j->kernel->finish(end - begin, w.max, w.sum, w.max, hd_item(j, out, begin * j->out.row),
                          j->out.row, j->E);
    if (j->softmax && j->arrays->lse)
        memcpy(hd_item(j, j->arrays->lse, p.h * j->rows + p.row + begin), w.max,
               (size_t)(end - begin) * j->item);
    if (j->arrays->weights) {
        memset(hd_item(j, j->arrays->weights, (head * p.T + begin) * p.S), 0,
               (size_t)((end - begin) * p.S) * j->item);
        walk(j, &p, &w, begin, end, write_tile);
    }
    return HEED_OK;
}

heed_status hd_dense_forward(heed_pool *pool, const heed_attention_opts *opts,
                             const heed_attention_arrays *arrays)
{
    struct hd_job j;
    void *heap;
    hd_job_init(&j, opts, arrays, false);
    HD_TRY(hd_job_scratch(&j, pool, false, &heap));
    heed_status status = hd_pool_run(pool, j.B * j.H * j.chunks, forward_task, &j);
    hd_free(heap);
    return status;
}

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
    int64_t last = hd_keys_seen(j, p, begin, end, 0, p->seq.S).to;
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

/* Rows of numbers, so many apart. */
struct rows {
    char *start;
    int64_t row;
};

/* Where results are made, from query t on: in out, or beside it where that is narrower than sums are. */
static struct rows results_at(const struct hd_job *j, const struct hd_pair *p,
                              const struct hd_scratch *w, int64_t t)
{
    int64_t row = j->bf16 ? hd_padded(j->E) : j->out.row;
    char *start = j->bf16 ? w->out : hd_rows_of(j, p, j->arrays->out, j->out, p->h);
    return (struct rows){hd_item(j, start, (j->bf16 ? t % HD_CHUNK : t) * row), row};
}

/* Values from a key of the block on. */
static struct rows values_at(const struct hd_job *j, const struct hd_pair *p,
                             const struct hd_scratch *w, int64_t key)
{
    if (!j->bf16)
        return (struct rows){hd_item(j, p->v, key * j->v.row), j->v.row};
    int64_t row = hd_padded(j->E), line = (key - w->key) / (j->bf16->pairs ? 2 : 1);
    return (struct rows){hd_item(j, w->vt, line * row), row};
}

/* The scores of a tile become weights, ready for their product with values. */
static void weigh(const struct hd_job *j, const struct hd_scratch *w, const struct hd_tile *tile,
                  int64_t t, struct rows out, bool first)
{
    char *max = hd_item(j, w->max, t % HD_CHUNK), *sum = hd_item(j, w->sum, t % HD_CHUNK);
    if (j->softmax && j->bf16 && !tile->threshold) {
        j->bf16->softmax(tile, max, sum, out.start, out.row, j->E, first);
        return;
    }
    if (j->softmax)
        j->kernel->softmax(tile, max, sum, out.start, out.row, j->E, first);
    else
        gate(j, tile, max);
    if (j->bf16)
        j->bf16->settle(tile);
}

/* A tile's part of out. */
static void add_tile(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                     int64_t t, int64_t rows, struct hd_span keys)
{
    struct hd_tile tile = hd_tile_of(j, p, w->s, t, rows, keys);
    struct rows out = results_at(j, p, w, t), v = values_at(j, p, w, keys.from);
    bool first = keys.from == hd_keys_seen(j, p, t, t + rows, 0, p->seq.S).from;

    hd_scores(j, p, w, &tile, t);
    weigh(j, w, &tile, t, out, first);
    struct hd_product pv = {.M = rows, .N = j->E, .K = tile.columns, .a = w->s, .a_row = p->tile_row,
                            .a_col = 1, .b = v.start, .b_row = v.row, .c = out.start,
                            .c_row = out.row, .alpha = 1, .accumulate = !first, .seen = tile.seen,
                            .shape = j->opts->causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->product(&pv);
}

/* A tile's part of the weights that the caller wants. Those of softmax are known again from lse, which
 * lies in max by now. */
static void write_tile(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                       int64_t t, int64_t rows, struct hd_span keys)
{
    int64_t row = ((p->seq.b * j->H + p->h) * p->seq.T + t) * p->seq.S;
    char *lse = hd_item(j, w->max, t % HD_CHUNK);
    struct hd_tile tile = hd_tile_of(j, p, w->s, t, rows, keys);

    tile.threshold = 0;
    hd_scores(j, p, w, &tile, t);
    if (j->softmax)
        j->kernel->weights(&tile, lse);
    else
        gate(j, &tile, lse);
    for (int64_t i = 0; i < rows; i++)
        memcpy(hd_item(j, j->arrays->weights, row + i * p->seq.S + keys.from),
               hd_item(j, w->s, i * p->tile_row), (size_t)tile.columns * j->item);
}

/* Rows that are shown no key get zeros, and sums that say so. */
static void clear_blind(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                        int64_t t, int64_t rows)
{
    struct rows out = results_at(j, p, w, t);
    hd_clear_rows(out.start, j->item, out.row, rows, j->E);
    if (j->softmax) {
        memset(hd_item(j, w->max, t % HD_CHUNK), 0, (size_t)rows * j->item);
        memset(hd_item(j, w->sum, t % HD_CHUNK), 0, (size_t)rows * j->item);
    }
}

/* Sums become results: softmax divides by the sum of weights and leaves in max the lse. */
static void finish(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                   int64_t begin, int64_t end)
{
    struct rows out = results_at(j, p, w, begin);
    int64_t E = j->E;
    if (j->bf16) {
        void *to = hd_input(j, hd_rows_of(j, p, j->arrays->out, j->out, p->h), begin * j->out.row);
        j->bf16->results(to, j->out.row, (const void *)out.start, out.row,
                         j->softmax ? (const void *)w->sum : NULL, end - begin, E);
        E = 0; /* nothing left to divide */
    }
    if (j->softmax)
        j->kernel->finish(end - begin, w->max, w->sum, w->max, out.start, out.row, E);
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    const struct hd_job *j = arg;
    int64_t head = task / j->chunks, begin = task % j->chunks * HD_CHUNK;
    struct hd_pair p = hd_pair_of(j, head / j->H, head % j->H, false);
    int64_t end = begin + HD_CHUNK < p.seq.T ? begin + HD_CHUNK : p.seq.T;
    if (begin >= end)
        return HEED_OK;
    struct hd_scratch w = hd_worker_scratch(j, false, worker);

    if (j->bf16)
        j->bf16->queries(w.q, j->D, (const void *)hd_input(j, p.q, begin * j->q.row), j->q.row,
                         end - begin, j->D);
    if (j->opts->weight == HEED_WEIGHT_SILU)
        hd_inverses(j, &p, begin, end, w.max);
    for (int64_t t = begin, rows; t < end; t += rows) {
        rows = hd_rows_at(j, &p, t, end);
        struct hd_span seen = hd_keys_seen(j, &p, t, t + rows, 0, p.seq.S);
        if (seen.from >= seen.to)
            clear_blind(j, &p, &w, t, rows);
    }
    walk(j, &p, &w, begin, end, add_tile);
    finish(j, &p, &w, begin, end);
    if (j->softmax && j->arrays->lse)
        memcpy(hd_item(j, j->arrays->lse, p.h * j->rows + p.seq.row + begin), w.max,
               (size_t)(end - begin) * j->item);
    if (j->arrays->weights) {
        memset(hd_item(j, j->arrays->weights, (head * p.seq.T + begin) * p.seq.S), 0,
               (size_t)((end - begin) * p.seq.S) * j->item);
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

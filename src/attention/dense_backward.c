/* SPDX-License-Identifier: Apache-2.0
 *
 * The exact method's backward: a task is a key's head of one sequence, with all queries' heads that it
 * serves (see dense.c). */
#include "attention/dense_tile.h"
#include "base/memory.h"
#include "base/pool.h"

#include <string.h>

/* dk and dv of keys that the first tile of their block does not write. */
static void clear_keys(const struct hd_job *j, const struct hd_pair *p, int64_t from, int64_t to)
{
    char *dk = hd_rows_of(j, p, j->arrays->dk, j->k, p->key_head);
    char *dv = hd_rows_of(j, p, j->arrays->dv, j->v, p->key_head);
    hd_clear_rows(hd_item(j, dk, from * j->k.row), j->item, j->k.row, to - from, j->D);
    hd_clear_rows(hd_item(j, dv, from * j->v.row), j->item, j->v.row, to - from, j->E);
}

/* ---- gradients of the tables */

/* What one head of a sequence adds to the tables. */
static char *pair_tables(const struct hd_job *j, const struct hd_pair *p)
{
    return hd_item(j, j->partials, (p->seq.b * j->H + p->h) * j->tables);
}

static void clear_tables(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w)
{
    if (j->tables)
        memset(pair_tables(j, p), 0, (size_t)j->tables * j->item);
    if (j->wants_dposition)
        memset(w->diagonals, 0, (size_t)j->plain.width * j->item);
    if (j->wants_dtime)
        memset(w->lanes, 0, (size_t)j->arrays->W * HD_TILE_PAD * j->item);
}

static void fold_position(const struct hd_job *j, const struct hd_pair *p, const char *diagonals)
{
    char *table = pair_tables(j, p);
    int64_t P = j->arrays->P;
    double far = 0;
    for (int64_t back = p->seq.S - 1; back >= 0; back--) { /* the farthest first, as the tables read */
        double x = hd_number(diagonals, j->item, hd_diagonal(&j->plain, 0, back, 0));
        if (back >= P - 1)
            far += x;
        else
            hd_set_number(table, j->item, P - 1 - back, x);
    }
    hd_set_number(table, j->item, 0, far);
}

static void fold_time(const struct hd_job *j, const struct hd_pair *p, const char *lanes)
{
    char *table = hd_item(j, pair_tables(j, p), j->wants_dposition ? j->arrays->P : 0);
    for (int64_t b = 0; b < j->arrays->W; b++) {
        double sum = 0;
        for (int64_t l = 0; l < HD_TILE_PAD; l++)
            sum += hd_number(lanes, j->item, b * HD_TILE_PAD + l);
        hd_set_number(table, j->item, b, sum);
    }
}

/* Adds n numbers of a head's part, which starts with them, to the head's row of a table. */
static const char *reduce(const struct hd_job *j, void *table, int64_t h, int64_t n, const char *part)
{
    for (int64_t i = 0; i < n; i++)
        hd_set_number(table, j->item, h * n + i,
                      hd_number(table, j->item, h * n + i) + hd_number(part, j->item, i));
    return hd_item(j, part, n);
}

/* The tables' gradients, head by head in order. */
static void reduce_tables(const struct hd_job *j)
{
    const heed_attention_arrays *a = j->arrays;
    for (int64_t pair = 0; j->tables && pair < j->B * j->H; pair++) {
        const char *part = hd_item(j, j->partials, pair * j->tables);
        part = reduce(j, a->dposition, pair % j->H, j->wants_dposition ? a->P : 0, part);
        part = reduce(j, a->dtime, pair % j->H, j->wants_dtime ? a->W : 0, part);
        reduce(j, a->dtheta, pair % j->H, j->wants_dtheta ? a->D : 0, part);
    }
}

/* ---- tiles */

/* s holds scores and dp gradients of the weights; they become the weights and gradients of the scores. */
static void weights_back(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                         const struct hd_tile *tile, int64_t t)
{
    char *rows = hd_item(j, w->max, t); /* delta, or the inverses */
    if (j->softmax)
        j->kernel->softmax_back(tile, w->dp, p->tile_row,
                                hd_item(j, j->arrays->lse, p->h * j->rows + p->seq.row + t), rows);
    else if (j->opts->weight == HEED_WEIGHT_SILU)
        j->kernel->silu_back(tile, w->dp, p->tile_row, rows);
    else
        j->kernel->sigmoid_back(tile, w->dp, p->tile_row);
}

/* A tile that is worked on: its first query, and whether its rows of dq, and its keys' of dk and dv, are
 * written rather than added to. */
struct place {
    struct hd_tile tile;
    int64_t t;
    bool fresh_q, fresh_k;
};

/* dK += scale dS^T Q, dQ += scale dS K: ds in dp. */
static void product_back(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                         const struct place *at, char *dq, char *dk)
{
    const struct hd_tile *tile = &at->tile;
    bool causal = j->opts->causal;
    struct hd_product m = {.M = tile->columns, .N = j->D, .K = tile->rows, .a = w->dp, .a_row = 1,
                           .a_col = p->tile_row, .b = hd_item(j, p->q, at->t * j->q.row),
                           .b_row = j->q.row, .c = dk, .c_row = j->k.row, .alpha = j->scale,
                           .accumulate = !at->fresh_k, .seen = tile->seen,
                           .shape = causal ? HD_PRODUCT_UPPER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    m = (struct hd_product){.M = tile->rows, .N = j->D, .K = tile->columns, .a = w->dp,
                            .a_row = p->tile_row, .a_col = 1,
                            .b = hd_item(j, p->k, (int64_t)tile->column * j->k.row),
                            .b_row = j->k.row, .c = dq, .c_row = j->q.row, .alpha = j->scale,
                            .accumulate = !at->fresh_q, .seen = tile->seen,
                            .shape = causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
}

_Static_assert(HD_BACKWARD_KEYS <= HD_ADDITIVE_COLUMNS, "a tile is too wide for its kernel");

static void additive_back(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                          const struct place *at, char *dq, char *dk)
{
    struct hd_tile ds = at->tile;
    struct hd_additive add = hd_additive_of(j, p, w, &ds, at->t);
    ds.s = w->dp;
    add.dq = dq, add.dq_row = j->q.row, add.fresh_q = at->fresh_q;
    add.dk = dk, add.dk_row = j->k.row, add.fresh_k = at->fresh_k;
    if (j->wants_dtheta)
        add.dtheta = hd_item(j, pair_tables(j, p), j->tables - j->D);
    j->kernel->additive_back(&add);
}

/* The five products of one tile. */
static void backward_tile(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
                          const struct place *at)
{
    const heed_attention_arrays *a = j->arrays;
    const struct hd_tile *tile = &at->tile;
    int64_t t = at->t, rows = tile->rows, columns = tile->columns, key = (int64_t)tile->column;
    const char *dout = hd_item(j, hd_rows_of(j, p, a->dout, j->out, p->h), t * j->out.row);
    char *dq = hd_item(j, hd_rows_of(j, p, a->dq, j->q, p->h), t * j->q.row);
    char *dk = hd_item(j, hd_rows_of(j, p, a->dk, j->k, p->key_head), key * j->k.row);
    char *dv = hd_item(j, hd_rows_of(j, p, a->dv, j->v, p->key_head), key * j->v.row);
    bool causal = j->opts->causal;
    struct hd_tile ds = *tile;
    ds.s = w->dp;

    hd_scores(j, p, w, tile, t);
    struct hd_product m = {.M = rows, .N = columns, .K = j->E, .a = dout, .a_row = j->out.row,
                           .a_col = 1, .b = hd_item(j, w->vt, key - w->key), .b_row = p->tile_row,
                           .c = w->dp, .c_row = p->tile_row, .alpha = 1, .seen = tile->seen,
                           .shape = causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    weights_back(j, p, w, tile, t);
    if (j->wants_dposition)
        j->kernel->sum_position(
            &ds, hd_item(j, w->diagonals, hd_diagonal(&j->plain, 0, t + p->seq.shift, key)));
    if (j->wants_dtime)
        j->kernel->sum_bucket(&ds, w->bucket, p->tile_row, w->lanes);

    /* dV += P^T dO: keys are the rows now. */
    m = (struct hd_product){.M = columns, .N = j->E, .K = rows, .a = w->s, .a_row = 1,
                            .a_col = p->tile_row, .b = dout, .b_row = j->out.row, .c = dv,
                            .c_row = j->v.row, .alpha = 1, .accumulate = !at->fresh_k,
                            .seen = tile->seen,
                            .shape = causal ? HD_PRODUCT_UPPER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    if (j->opts->score == HEED_SCORE_ADDITIVE)
        additive_back(j, p, w, at, dq, dk);
    else
        product_back(j, p, w, at, dq, dk);
}

/* One block of keys with all queries that see any of it. fresh_k: nothing has been written to their dk
 * and dv yet, all of which is then. */
static void backward_keys(const struct hd_job *j, const struct hd_pair *p, struct hd_scratch *w,
                          int64_t key, bool fresh_q, bool fresh_k)
{
    int64_t end = key + p->key_block < p->seq.S ? key + p->key_block : p->seq.S;
    int64_t t = hd_next_query(j, p, 0, key, end), rows;
    if (t < p->seq.T)
        hd_turn(j, p, w, (struct hd_span){key, end < p->seq.visible ? end : p->seq.visible});
    for (; t < p->seq.T; t = hd_next_query(j, p, t + rows, key, end)) {
        rows = hd_rows_at(j, p, t, p->seq.T);
        struct hd_span seen = hd_keys_seen(j, p, t, t + rows, key, end);
        if (seen.from >= seen.to)
            continue;
        if (fresh_k) { /* what only later queries see is a sum from the start */
            clear_keys(j, p, key, seen.from);
            clear_keys(j, p, seen.to, end);
        }
        struct place at = {hd_tile_of(j, p, w->s, t, rows, seen), t, fresh_q, fresh_k};
        backward_tile(j, p, w, &at);
        fresh_k = false;
    }
    if (fresh_k)
        clear_keys(j, p, key, end);
}

/* One head of the queries. Without a window every tile of the first keys writes its rows of dq, and
 * those that see none are cleared; a window's tiles start where its band does, so all rows are. */
static void backward_head(const struct hd_job *j, const struct hd_pair *p, struct hd_scratch *w,
                          bool fresh_k)
{
    const heed_attention_arrays *a = j->arrays;
    bool window = j->opts->window > 0;
    int64_t blind = window ? p->seq.T : hd_next_query(j, p, 0, 0, p->key_block);

    clear_tables(j, p, w);
    if (!a->accumulate)
        hd_clear_rows(hd_rows_of(j, p, a->dq, j->q, p->h), j->item, j->q.row, blind, j->D);
    if (j->softmax)
        j->kernel->row_dots(p->seq.T, j->E, hd_rows_of(j, p, a->dout, j->out, p->h), j->out.row,
                            hd_rows_of(j, p, a->out, j->out, p->h), j->out.row, w->max);
    else if (j->opts->weight == HEED_WEIGHT_SILU)
        hd_inverses(j, p, 0, p->seq.T, w->max);
    for (int64_t key = 0; key < p->seq.S; key += p->key_block)
        backward_keys(j, p, w, key, !a->accumulate && !window && key == 0, fresh_k);
    if (j->wants_dposition)
        fold_position(j, p, w->diagonals);
    if (j->wants_dtime)
        fold_time(j, p, w->lanes);
}

static heed_status backward_task(void *arg, int64_t task, int worker)
{
    const struct hd_job *j = arg;
    struct hd_scratch w = hd_worker_scratch(j, true, worker);
    int64_t group = j->H / j->key_heads, first = task % j->key_heads * group;
    for (int64_t h = first; h < first + group; h++) {
        struct hd_pair p = hd_pair_of(j, task / j->key_heads, h, true);
        backward_head(j, &p, &w, !j->arrays->accumulate && h == first);
    }
    return HEED_OK;
}

heed_status hd_dense_backward(heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays)
{
    struct hd_job j;
    void *heap;
    hd_job_init(&j, opts, arrays, true);
    HD_TRY(hd_job_scratch(&j, pool, true, &heap));
    heed_status status = hd_pool_run(pool, j.B * j.key_heads, backward_task, &j);
    if (status == HEED_OK)
        reduce_tables(&j);
    hd_free(heap);
    return status;
}

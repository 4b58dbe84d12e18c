/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact attention on strided arrays, forward and backward, by tiles (Dao et al. 2022). Per head of a
 * sequence:
 *
 *     forward, per block of 256 queries        backward
 *     for each block of keys                   for each block of keys
 *         turn K                                   turn K and V
 *         for each tile of queries                 for each tile of queries that sees them
 *             S = scale Q K^T + biases                 S = scale Q K^T + biases, dP = dO V^T
 *             P = running softmax, or SiLU             P again from the kept lse; dS = P (dP - delta)
 *             O = faded O + P V                        dV += P^T dO   dK += dS^T Q   dQ += dS K
 *     O /= sum, lse = max + log sum
 *
 * with delta = dO . O per row. Memory is a tile, a block of keys and a few numbers per row, whatever
 * the length. Tasks never share what they write: each query block owns its rows of out; in the
 * backward a key's head owns its rows of dk and dv, walks the queries' heads that it serves in order,
 * and owns their dq. What tasks do share, the gradients of the bias tables, every head keeps apart and
 * they are added in the order of heads. So results are the same bits on any number of threads.
 *
 * Here a call is prepared: what it needs of scratch, how heads are cut into tiles, a tile's scores. */
#include "attention/bucket.h"
#include "attention/dense_tile.h"
#include "attention/scores.h"
#include "base/limits.h"
#include "base/pool.h"

#include <math.h>

/* Blocks of at most `block` out of n, as equal as can be in whole `grain`s. */
static int64_t equal_blocks(int64_t n, int64_t block, int64_t grain)
{
    int64_t grains = (n + grain - 1) / grain, most = block / grain;
    int64_t count = (grains + most - 1) / most;
    return count ? (grains + count - 1) / count * grain : grain;
}

/* ---- a job */

void hd_job_init(struct hd_job *j, const heed_attention_opts *o, const heed_attention_arrays *a,
                 bool backward)
{
    *j = (struct hd_job){.opts = o, .arrays = a, .B = a->B, .H = a->H, .D = a->D, .E = a->E,
                         .S_max = hd_keys_most(o, a), .rows = hd_rows_in_all(o, a)};
    j->T_max = o->offsets ? j->S_max : a->T;
    j->kernel = a->dtype == HEED_F64 ? hd_attention_kernels_f64() : hd_attention_kernels();
    j->bf16 = a->dtype == HEED_BF16 ? hd_attention_bf16() : NULL;
    j->product = j->bf16 ? j->bf16->product : j->kernel->product;
    j->item = j->kernel->item_bytes;
    j->input = j->bf16 ? sizeof(uint16_t) : j->item;
    j->key_heads = a->kv_heads ? a->kv_heads : a->H;
    j->chunks = (j->T_max + HD_CHUNK - 1) / HD_CHUNK;
    j->q = hd_strides_of(a->q_stride, a->T, a->H, a->D);
    j->k = hd_strides_of(a->k_stride, a->S, j->key_heads, a->D);
    j->v = hd_strides_of(a->v_stride, a->S, j->key_heads, a->E);
    j->out = hd_strides_of(a->out_stride, a->T, a->H, a->E);
    j->softmax = o->weight == HEED_WEIGHT_SOFTMAX;
    j->scale = hd_score_scale(o, a->D);
    j->threshold = (uint32_t)fmin(o->dropout * 0x1p32, 0xFFFFFFFFp0);
    j->keep_scale = 1 / (1 - o->dropout);
    j->wants_dposition = backward && a->position && a->dposition;
    j->wants_dtime = backward && a->time && a->dtime;
    j->wants_dtheta = backward && a->theta && a->dtheta;
    j->tables = (j->wants_dposition ? a->P : 0) + (j->wants_dtime ? a->W : 0) +
                (j->wants_dtheta ? a->D : 0);
    hd_diagonals_init(j);
}

/* ---- scratch */

/* Cuts a worker's scratch from `at` (NULL: only counts) and returns the bytes taken. */
static size_t cut_worker(const struct hd_job *j, bool backward, char *at, struct hd_scratch *out)
{
    size_t keys = HD_TILE_PAD + (backward ? HD_BACKWARD_KEYS : HD_FORWARD_KEYS); /* a row of anything */
    size_t tile = backward ? HD_BACKWARD_ROWS * keys : HD_FORWARD_TILE;
    size_t item = j->item, edge = HD_TILE_PAD * item, used = 0;
    size_t queries = backward ? (size_t)j->T_max : HD_CHUNK;
    size_t narrow = j->bf16 ? item : 0, width = (size_t)hd_padded(j->E);
    struct hd_scratch s = {0};
#define CUT(field, bytes) (s.field = at ? (void *)(at + used) : NULL, used += hd_arena_lines(bytes))
    CUT(kt, (size_t)j->D * keys * item);
    CUT(vt, backward ? (size_t)j->E * keys * item : width * HD_FORWARD_KEYS * narrow);
    CUT(q, (size_t)j->D * HD_CHUNK * narrow);
    CUT(out, width * HD_CHUNK * narrow);
    CUT(s, tile * item + 2 * edge);
    CUT(dp, backward ? tile * item + 2 * edge : 0);
    CUT(bucket, j->arrays->time ? tile * sizeof(int32_t) : 0);
    CUT(max, queries * item);
    CUT(sum, backward ? 0 : queries * item);
    CUT(diagonals, j->wants_dposition ? (size_t)j->plain.width * item + 2 * edge : 0);
    CUT(lanes, j->wants_dtime ? (size_t)j->arrays->W * HD_TILE_PAD * item : 0);
#undef CUT
    if (out) {
        *out = s;
        out->s += edge, out->dp += edge;
        if (!backward && !j->bf16)
            out->vt = NULL;
    }
    return used;
}

/* The same for what all workers share; it sets the job's pointers. */
static size_t cut_shared(struct hd_job *j, char *at)
{
    size_t edge = HD_TILE_PAD * j->item, used = 0;
    struct hd_diagonals *diagonals[] = {&j->plain, &j->banded};
    for (int i = 0; i < 2; i++) {
        if (!diagonals[i]->wanted)
            continue;
        diagonals[i]->table = at ? at + used + edge : NULL;
        used += hd_arena_lines((size_t)(j->H * diagonals[i]->width) * j->item + 2 * edge);
    }
    j->partials = at ? at + used : NULL;
    return used + hd_arena_lines((size_t)(j->B * j->H * j->tables) * j->item);
}

static size_t scratch_need(struct hd_job *j, int threads, bool backward)
{
    return cut_shared(j, NULL) + (size_t)threads * cut_worker(j, backward, NULL, NULL);
}

uint64_t hd_dense_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                const heed_attention_arrays *arrays, bool backward)
{
    struct hd_job j;
    uint64_t bytes = 0;
    for (int pass = 0; pass <= (int)backward; pass++) {
        hd_job_init(&j, opts, arrays, pass);
        uint64_t need = scratch_need(&j, heed_pool_threads(pool), pass);
        bytes = need > bytes ? need : bytes;
    }
    return HD_ARENA_ALIGN + bytes;
}

heed_status hd_job_scratch(struct hd_job *j, heed_pool *pool, bool backward, void **heap)
{
    char *memory;
    HD_TRY(hd_scratch_take(j->arrays, scratch_need(j, heed_pool_threads(pool), backward), &memory,
                           heap));
    j->workers = memory + cut_shared(j, memory);
    j->worker_bytes = cut_worker(j, backward, NULL, NULL);
    hd_diagonals_fill(j);
    return HEED_OK;
}

struct hd_scratch hd_worker_scratch(const struct hd_job *j, bool backward, int worker)
{
    struct hd_scratch w;
    cut_worker(j, backward, j->workers + (size_t)worker * j->worker_bytes, &w);
    return w;
}

/* ---- one head */

struct hd_pair hd_pair_of(const struct hd_job *j, int64_t b, int64_t h, bool backward)
{
    const heed_attention_opts *o = j->opts;
    const heed_attention_arrays *a = j->arrays;
    struct hd_pair p = {.seq = hd_sequence_of(o, a, b), .h = h,
                        .key_head = h / (j->H / j->key_heads)};
    int64_t key_row = o->offsets ? p.seq.row : b * a->S;

    p.q = hd_rows_of(j, &p, a->q, j->q, h);
    p.k = hd_rows_of(j, &p, a->k, j->k, p.key_head);
    p.v = hd_rows_of(j, &p, a->v, j->v, p.key_head);
    p.dilation = o->dilation ? o->dilation[h] : 1;
    p.reach = o->window * p.dilation;
    if (o->mask)
        p.mask = hd_item(j, o->mask, b * o->mask_stride[0] + h * o->mask_stride[1]);
    if (o->keep)
        p.keep = o->keep + b * o->keep_stride[0] + h * o->keep_stride[1];
    p.query_times = o->query_times ? o->query_times + p.seq.row : NULL;
    p.key_times = o->key_times ? o->key_times + key_row : NULL;
    /* The forward's key blocks lie on a fixed grid, whatever S: so padding, or more keys to come,
     * change no bit of what a query gets. */
    int64_t most = p.seq.S < HD_FORWARD_KEYS ? hd_padded(p.seq.S) : HD_FORWARD_KEYS;
    p.key_block = backward ? equal_blocks(p.seq.S, HD_BACKWARD_KEYS, HD_TILE_PAD) : HD_FORWARD_KEYS;
    p.tile_row = HD_TILE_PAD + (backward ? p.key_block : most);
    int64_t tall = HD_FORWARD_TILE / p.tile_row < HD_FORWARD_ROWS ? HD_FORWARD_TILE / p.tile_row
                                                                  : HD_FORWARD_ROWS;
    p.query_block = backward ? equal_blocks(p.seq.T, HD_BACKWARD_ROWS, 1)
                             : equal_blocks(p.seq.T < HD_CHUNK ? p.seq.T : HD_CHUNK, tall, 1);
    return p;
}

/* ---- one tile */

void hd_turn(const struct hd_job *j, const struct hd_pair *p, struct hd_scratch *w,
             struct hd_span keys)
{
    int64_t count = keys.to - keys.from;
    const void *k = hd_input(j, p->k, keys.from * j->k.row);
    const void *v = hd_input(j, p->v, keys.from * j->v.row);
    w->key = keys.from;
    if (j->bf16) {
        j->bf16->keys(w->kt, p->tile_row, k, j->k.row, count, j->D);
        j->bf16->values(w->vt, hd_padded(j->E), v, j->v.row, count, j->E);
        return;
    }
    j->kernel->transpose(w->kt, p->tile_row, k, j->k.row, count, j->D);
    if (w->vt)
        j->kernel->transpose(w->vt, p->tile_row, v, j->v.row, count, j->E);
}

struct hd_tile hd_tile_of(const struct hd_job *j, const struct hd_pair *p, void *s, int64_t t,
                          int64_t rows, struct hd_span keys)
{
    bool causal = j->opts->causal;
    int64_t columns = keys.to - keys.from;
    return (struct hd_tile){.s = s, .s_row = p->tile_row, .rows = rows, .columns = columns,
                            .seen = causal ? t + p->seq.shift + 1 - keys.from : columns,
                            .step = causal, .key = j->arrays->dropout_key,
                            .row = (uint64_t)((p->seq.b * j->H + p->h) * j->T_max + t),
                            .column = (uint64_t)keys.from, .threshold = j->threshold,
                            .keep_scale = j->keep_scale};
}

struct hd_additive hd_additive_of(const struct hd_job *j, const struct hd_pair *p,
                                  const struct hd_scratch *w, const struct hd_tile *tile, int64_t t)
{
    return (struct hd_additive){.tile = tile, .D = j->D, .q = hd_item(j, p->q, t * j->q.row),
                                .q_row = j->q.row,
                                .kt = hd_item(j, w->kt, (int64_t)tile->column - w->key),
                                .kt_row = p->tile_row,
                                .theta = hd_item(j, j->arrays->theta, p->h * j->D),
                                .scale = j->scale};
}

/* S = scale Q K^T of a tile, or the score that is none. */
static void similarities(const struct hd_job *j, const struct hd_pair *p,
                         const struct hd_scratch *w, const struct hd_tile *tile, int64_t t)
{
    if (j->opts->score == HEED_SCORE_ADDITIVE) {
        struct hd_additive add = hd_additive_of(j, p, w, tile, t);
        j->kernel->additive(&add);
        return;
    }
    int64_t q_row = j->bf16 ? j->D : j->q.row;
    const char *q = j->bf16 ? hd_item(j, w->q, t % HD_CHUNK * q_row) : hd_item(j, p->q, t * q_row);
    struct hd_product qk = {.M = tile->rows, .N = tile->columns, .K = j->D, .a = q,
                            .a_row = q_row, .a_col = 1,
                            .b = hd_item(j, w->kt, (int64_t)tile->column - w->key),
                            .b_row = p->tile_row, .c = tile->s, .c_row = tile->s_row,
                            .alpha = j->scale, .seen = tile->seen,
                            .shape = j->opts->causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->product(&qk);
}

void hd_scores(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
               const struct hd_tile *tile, int64_t t)
{
    const heed_attention_arrays *a = j->arrays;
    int64_t key = (int64_t)tile->column;
    similarities(j, p, w, tile, t);
    hd_add_diagonals(j, p, tile, t);
    if (a->time) {
        hd_time_buckets(j->kernel, w->bucket, p->tile_row, tile, p->query_times + t,
                        p->key_times + key, j->opts->time_bucket, a->W);
        j->kernel->add_bucket(tile, w->bucket, p->tile_row, hd_item(j, a->time, p->h * a->W));
    }
    hd_add_masks(j, p, tile, t);
}

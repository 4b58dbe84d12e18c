/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact attention on strided arrays, forward and backward, by tiles (Dao et al. 2022). Per pair of a
 * sequence and a head:
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
 * the length. Tasks never share what they write: each query block owns its rows of out, each pair its
 * rows of dq, dk, dv; what they do share, the gradients of the bias tables, every pair keeps apart and
 * they are added in the order of pairs. So results are the same bits on any number of threads. */
#include "attention/dense.h"
#include "attention/bucket.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/pool.h"
#include "kernel/attention.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define CHUNK 256 /* queries of one forward task */
/* Tiles are at most so large; blocks of queries and keys are cut as equal as can be below that. The
 * forward's tile and the keys it meets lie in the first cache, the backward's two tiles and its
 * four blocks of rows in the second. */
#define FORWARD_TILE 8192
#define FORWARD_KEYS 256
#define FORWARD_ROWS 64
#define BACKWARD_ROWS 64
#define BACKWARD_KEYS 64
#define CACHE_LINE 64

struct strides {
    int64_t batch, row, head;
};

struct job {
    const struct hd_attention_kernels *kernel;
    size_t item;
    const heed_attention_opts *opts;
    const heed_attention_arrays *arrays;
    int64_t B, H, D, E, T_max, S_max;
    int64_t rows;   /* of q, in all sequences */
    int64_t chunks; /* forward tasks per pair */
    struct strides q, k, v, out;
    double scale;
    uint32_t threshold;
    double keep_scale;
    bool softmax, wants_dposition, wants_dtime;
    /* scratch */
    char *workers; /* worker_bytes for each thread */
    size_t worker_bytes;
    char *diagonals; /* (H, T_max + S_max): position bias by diagonal, see diagonal_of() */
    char *partials;  /* (B H, P + W) gradients of the tables, pair by pair */
};

/* One sequence and head. */
struct pair {
    int64_t b, h, T, S;
    int64_t shift;   /* S - T: query t stands at key position t + shift */
    int64_t visible; /* keys that are not padding */
    int64_t row;     /* of its first query among all rows */
    const char *q, *k, *v;
    const int64_t *query_times, *key_times;
    int64_t query_block, key_block, tile_row; /* how it is cut into tiles */
};

static size_t lines(size_t bytes)
{
    return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

/* Blocks of at most `block` out of n, as equal as can be in whole `grain`s. */
static int64_t equal_blocks(int64_t n, int64_t block, int64_t grain)
{
    int64_t grains = (n + grain - 1) / grain, most = block / grain;
    int64_t count = (grains + most - 1) / most;
    return count ? (grains + count - 1) / count * grain : grain;
}

/* ---- a job */

static struct strides strides_of(const int64_t stride[3], int64_t rows, int64_t H, int64_t width)
{
    if (stride[0] || stride[1] || stride[2])
        return (struct strides){stride[0], stride[1], stride[2]};
    return (struct strides){rows * H * width, H * width, width};
}

static void job_init(struct job *j, const heed_attention_opts *o, const heed_attention_arrays *a,
                     bool backward)
{
    *j = (struct job){.opts = o, .arrays = a, .B = a->B, .H = a->H, .D = a->D, .E = a->E,
                      .T_max = a->T, .S_max = a->S, .rows = a->B * a->T};
    j->kernel = a->dtype == HEED_F32 ? hd_attention_kernels() : hd_attention_kernels_f64();
    j->item = j->kernel->item_bytes;
    if (o->offsets) {
        j->T_max = 0;
        for (int64_t b = 0; b < a->B; b++)
            if (o->offsets[b + 1] - o->offsets[b] > j->T_max)
                j->T_max = o->offsets[b + 1] - o->offsets[b];
        j->S_max = j->T_max;
        j->rows = o->offsets[a->B];
    }
    j->chunks = (j->T_max + CHUNK - 1) / CHUNK;
    j->q = strides_of(a->q_stride, a->T, a->H, a->D);
    j->k = strides_of(a->k_stride, a->S, a->H, a->D);
    j->v = strides_of(a->v_stride, a->S, a->H, a->E);
    j->out = strides_of(a->out_stride, a->T, a->H, a->E);
    j->softmax = o->weight == HEED_WEIGHT_SOFTMAX;
    j->scale = o->scale != 0 ? o->scale : j->softmax && a->D ? 1 / sqrt((double)a->D) : 1;
    j->threshold = (uint32_t)fmin(o->dropout * 0x1p32, 0xFFFFFFFFp0);
    j->keep_scale = 1 / (1 - o->dropout);
    j->wants_dposition = backward && a->position && a->dposition;
    j->wants_dtime = backward && a->time && a->dtime;
}

/* Parts of a worker's scratch. */
struct scratch {
    char *kt, *vt;  /* a block of keys and values, turned */
    char *s, *dp;   /* tiles */
    int32_t *bucket;
    char *max, *sum; /* per query: of a chunk, or delta of all */
    char *inverse;
    char *diagonals; /* gradient of the position bias by diagonal */
    char *lanes;     /* gradient of the time bias, (W, HD_TILE_PAD): to be added up along lanes */
};

/* Cuts scratch from `at` (NULL: only counts) and returns the bytes taken. */
static size_t scratch_cut(const struct job *j, bool backward, char *at, struct scratch *out)
{
    size_t keys = HD_TILE_PAD + (backward ? BACKWARD_KEYS : FORWARD_KEYS); /* a row of anything */
    size_t rows = backward ? BACKWARD_ROWS : FORWARD_ROWS;
    size_t tile = backward ? rows * keys : FORWARD_TILE;
    size_t item = j->item, edge = HD_TILE_PAD * item, used = 0;
    size_t queries = backward ? (size_t)j->T_max : CHUNK;
    struct scratch s;
#define CUT(field, bytes) (s.field = at ? (void *)(at + used) : NULL, used += lines(bytes))
    CUT(kt, (size_t)j->D * keys * item);
    CUT(vt, backward ? (size_t)j->E * keys * item : 0);
    CUT(s, tile * item + 2 * edge);
    CUT(dp, backward ? tile * item + 2 * edge : 0);
    CUT(bucket, j->arrays->time ? tile * sizeof(int32_t) : 0);
    CUT(max, queries * item);
    CUT(sum, backward ? 0 : queries * item);
    CUT(inverse, j->softmax ? 0 : rows * item);
    CUT(diagonals, j->wants_dposition ? (size_t)(j->T_max + j->S_max) * item + 2 * edge : 0);
    CUT(lanes, j->wants_dtime ? (size_t)j->arrays->W * HD_TILE_PAD * item : 0);
#undef CUT
    if (out) {
        *out = s;
        out->s += edge, out->dp += edge;
    }
    return used;
}

static size_t shared_bytes(const struct job *j)
{
    const heed_attention_arrays *a = j->arrays;
    size_t tables = (j->wants_dposition ? (size_t)a->P : 0) + (j->wants_dtime ? (size_t)a->W : 0);
    size_t diagonals = a->position ? (size_t)j->H * (size_t)(j->T_max + j->S_max) * j->item : 0;
    return lines(diagonals + 2 * HD_TILE_PAD * j->item) +
           lines((size_t)(j->B * j->H) * tables * j->item);
}

static size_t scratch_need(const struct job *j, int threads, bool backward)
{
    return CACHE_LINE + shared_bytes(j) +
           (size_t)threads * scratch_cut(j, backward, NULL, NULL);
}

uint64_t hd_dense_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    uint64_t bytes = 0;
    for (int pass = 0; pass <= (int)backward; pass++) {
        job_init(&j, opts, arrays, pass);
        uint64_t need = scratch_need(&j, heed_pool_threads(pool), pass);
        bytes = need > bytes ? need : bytes;
    }
    return bytes;
}

static double get_at(const struct job *j, const void *array, int64_t i)
{
    return j->item == 4 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void put_at(const struct job *j, void *array, int64_t i, double x)
{
    if (j->item == 4)
        ((float *)array)[i] = (float)x;
    else
        ((double *)array)[i] = x;
}

static char *at(const struct job *j, const void *base, int64_t index)
{
    return (char *)base + (int64_t)j->item * index;
}

/* A table of diagonals has T_max + S_max - 1 entries; the one where the key is s and the query stands
 * at position t is S_max - 1 - (t - s). */
static int64_t diagonal_of(const struct job *j, int64_t t, int64_t s)
{
    return j->S_max - 1 - (t - s);
}

/* The position bias spread over diagonals, so that a tile adds it by rows. */
static void spread_position(const struct job *j)
{
    const heed_attention_arrays *a = j->arrays;
    int64_t width = j->T_max + j->S_max;
    for (int64_t h = 0; a->position && h < j->H; h++) {
        char *row = at(j, j->diagonals, h * width);
        for (int64_t d = 0; d < width; d++) {
            int64_t back = j->S_max - 1 - d;
            int64_t entry = a->P - 1 - (back < a->P - 1 ? back : a->P - 1);
            put_at(j, row, d, back < 0 ? 0 : get_at(j, a->position, h * a->P + entry));
        }
    }
}

/* Takes scratch from the caller or the heap; *heap is what has to be freed. */
static heed_status job_scratch(struct job *j, heed_pool *pool, bool backward, void **heap)
{
    const heed_attention_arrays *a = j->arrays;
    size_t need = scratch_need(j, heed_pool_threads(pool), backward);
    j->worker_bytes = scratch_cut(j, backward, NULL, NULL);
    char *memory = a->scratch;
    *heap = NULL;
    if (memory && a->scratch_bytes < need)
        return hd_fail(HEED_E_ARG, "attention: %" PRIu64 " bytes of scratch, %zu are needed",
                       a->scratch_bytes, need);
    if (!memory) {
        memory = *heap = hd_resize(NULL, need, 1);
        if (!memory)
            return hd_fail(HEED_E_NOMEM, "attention: no memory for %zu bytes of scratch", need);
    }
    memory += (CACHE_LINE - (uintptr_t)memory % CACHE_LINE) % CACHE_LINE;
    j->diagonals = memory + HD_TILE_PAD * j->item;
    size_t diagonals = a->position ? (size_t)j->H * (size_t)(j->T_max + j->S_max) * j->item : 0;
    j->partials = memory + lines(diagonals + 2 * HD_TILE_PAD * j->item);
    j->workers = memory + shared_bytes(j);
    spread_position(j);
    return HEED_OK;
}

static struct pair pair_of(const struct job *j, int64_t index, bool backward)
{
    const heed_attention_opts *o = j->opts;
    const heed_attention_arrays *a = j->arrays;
    struct pair p = {.b = index / j->H, .h = index % j->H, .T = a->T, .S = a->S};
    int64_t q = p.b * j->q.batch, k = p.b * j->k.batch, v = p.b * j->v.batch, key_row = p.b * a->S;

    p.row = p.b * a->T;
    p.visible = o->lengths ? o->lengths[p.b] : a->S;
    if (o->offsets) {
        p.row = key_row = o->offsets[p.b];
        p.T = p.S = p.visible = o->offsets[p.b + 1] - p.row;
        q = p.row * j->q.row, k = p.row * j->k.row, v = p.row * j->v.row;
    }
    p.shift = p.S - p.T;
    p.q = at(j, a->q, q + p.h * j->q.head);
    p.k = at(j, a->k, k + p.h * j->k.head);
    p.v = at(j, a->v, v + p.h * j->v.head);
    p.query_times = o->query_times ? o->query_times + p.row : NULL;
    p.key_times = o->key_times ? o->key_times + key_row : NULL;
    /* The forward's key blocks lie on a fixed grid, whatever S: so padding, or more keys to come,
     * change no bit of what a query gets. */
    int64_t most = p.S < FORWARD_KEYS ? (p.S + HD_TILE_PAD - 1) / HD_TILE_PAD * HD_TILE_PAD
                                      : FORWARD_KEYS;
    p.key_block = backward ? equal_blocks(p.S, BACKWARD_KEYS, HD_TILE_PAD) : FORWARD_KEYS;
    p.tile_row = HD_TILE_PAD + (backward ? p.key_block : most);
    int64_t tall = FORWARD_TILE / p.tile_row < FORWARD_ROWS ? FORWARD_TILE / p.tile_row
                                                            : FORWARD_ROWS;
    p.query_block = backward ? equal_blocks(p.T, BACKWARD_ROWS, 1)
                             : equal_blocks(p.T < CHUNK ? p.T : CHUNK, tall, 1);
    return p;
}

/* The pair's rows in an array like out, or like one of the inputs. */
static char *rows_of(const struct job *j, const struct pair *p, const void *array, struct strides s)
{
    int64_t start = j->opts->offsets ? p->row * s.row : p->b * s.batch;
    return at(j, array, start + p->h * s.head);
}

static struct hd_tile tile_of(const struct job *j, const struct pair *p, void *s, int64_t s_row,
                              int64_t t, int64_t rows, int64_t key, int64_t columns)
{
    bool causal = j->opts->causal;
    return (struct hd_tile){.s = s, .s_row = s_row, .rows = rows, .columns = columns,
                            .seen = causal ? t + p->shift + 1 - key : columns, .step = causal,
                            .key = j->arrays->dropout_key,
                            .row = (uint64_t)((p->b * j->H + p->h) * j->T_max + t),
                            .column = (uint64_t)key, .threshold = j->threshold,
                            .keep_scale = j->keep_scale};
}

/* Keys of a block that the last of these queries sees. */
static int64_t columns_seen(const struct job *j, const struct pair *p, int64_t t_end, int64_t key,
                            int64_t keys)
{
    int64_t end = key + keys < p->visible ? key + keys : p->visible;
    if (j->opts->causal && t_end + p->shift < end)
        end = t_end + p->shift;
    return end > key ? end - key : 0;
}

/* S = scale Q K^T + biases of one tile; the buckets stay for the backward. */
static void scores(const struct job *j, const struct pair *p, const struct scratch *w,
                   const struct hd_tile *tile, int64_t t, int64_t key)
{
    const heed_attention_arrays *a = j->arrays;
    struct hd_product qk = {.M = tile->rows, .N = tile->columns, .K = j->D,
                            .a = at(j, p->q, t * j->q.row), .a_row = j->q.row, .a_col = 1,
                            .b = w->kt, .b_row = p->tile_row, .c = tile->s, .c_row = tile->s_row,
                            .alpha = j->scale, .seen = tile->seen,
                            .shape = j->opts->causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->kernel->product(&qk);
    if (a->position)
        j->kernel->add_position(tile, at(j, j->diagonals, p->h * (j->T_max + j->S_max) +
                                                              diagonal_of(j, t + p->shift, key)));
    if (a->time) {
        hd_time_buckets(j->kernel, w->bucket, p->tile_row, tile, p->query_times + t,
                        p->key_times + key, j->opts->time_bucket, a->W);
        j->kernel->add_bucket(tile, w->bucket, p->tile_row, at(j, a->time, p->h * a->W));
    }
}

static void inverses(const struct job *j, const struct pair *p, char *inverse, int64_t t,
                     int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        int64_t n = columns_seen(j, p, t + i + 1, 0, p->S);
        put_at(j, inverse, i, n ? 1 / (double)n : 0);
    }
}

/* ---- forward */

/* Weights of one block of queries, which are known again from lse. */
static void write_weights(const struct job *j, const struct pair *p, const struct scratch *w,
                          int64_t begin, int64_t end, const char *lse)
{
    char *out = at(j, j->arrays->weights, ((p->b * j->H + p->h) * p->T) * p->S);
    memset(at(j, out, begin * p->S), 0, (size_t)((end - begin) * p->S) * j->item);
    for (int64_t key = 0; key < p->visible; key += p->key_block) {
        int64_t keys = p->S - key < p->key_block ? p->S - key : p->key_block;
        j->kernel->transpose(w->kt, p->tile_row, at(j, p->k, key * j->k.row), j->k.row, keys,
                             j->D);
        for (int64_t t = begin; t < end; t += p->query_block) {
            int64_t rows = end - t < p->query_block ? end - t : p->query_block;
            int64_t columns = columns_seen(j, p, t + rows, key, keys);
            if (columns == 0)
                continue;
            struct hd_tile tile = tile_of(j, p, w->s, p->tile_row, t, rows, key, columns);
            tile.threshold = 0;
            scores(j, p, w, &tile, t, key);
            if (j->softmax) {
                j->kernel->weights(&tile, at(j, lse, t - begin));
            } else {
                inverses(j, p, w->inverse, t, rows);
                j->kernel->silu(&tile, w->inverse);
            }
            for (int64_t i = 0; i < rows; i++)
                memcpy(at(j, out, (t + i) * p->S + key), at(j, w->s, i * p->tile_row),
                       (size_t)columns * j->item);
        }
    }
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct pair p = pair_of(j, task / j->chunks, false);
    int64_t begin = task % j->chunks * CHUNK, end = begin + CHUNK < p.T ? begin + CHUNK : p.T;
    struct scratch w;
    if (begin >= end)
        return HEED_OK;
    scratch_cut(j, false, j->workers + (size_t)worker * j->worker_bytes, &w);
    char *out = rows_of(j, &p, j->arrays->out, j->out);
    int64_t last = columns_seen(j, &p, end, 0, p.S);

    for (int64_t key = 0; key < last; key += p.key_block) {
        int64_t keys = last - key < p.key_block ? last - key : p.key_block;
        j->kernel->transpose(w.kt, p.tile_row, at(j, p.k, key * j->k.row), j->k.row, keys, j->D);
        for (int64_t t = begin; t < end; t += p.query_block) {
            int64_t rows = end - t < p.query_block ? end - t : p.query_block;
            int64_t columns = columns_seen(j, &p, t + rows, key, keys);
            if (columns == 0 && key > 0)
                continue;
            struct hd_tile tile = tile_of(j, &p, w.s, p.tile_row, t, rows, key, columns);
            char *o = at(j, out, t * j->out.row);
            scores(j, &p, &w, &tile, t, key);
            if (j->softmax) {
                j->kernel->softmax(&tile, at(j, w.max, t - begin), at(j, w.sum, t - begin), o,
                                   j->out.row, j->E, key == 0);
            } else {
                inverses(j, &p, w.inverse, t, rows);
                j->kernel->silu(&tile, w.inverse);
            }
            struct hd_product pv = {.M = rows, .N = j->E, .K = columns, .a = w.s,
                                    .a_row = p.tile_row, .a_col = 1,
                                    .b = at(j, p.v, key * j->v.row), .b_row = j->v.row, .c = o,
                                    .c_row = j->out.row, .alpha = 1, .accumulate = key > 0,
                                    .seen = tile.seen,
                                    .shape = j->opts->causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
            j->kernel->product(&pv);
        }
    }
    if (last == 0) { /* nobody sees anything */
        memset(w.max, 0, (size_t)(end - begin) * j->item);
        memset(w.sum, 0, (size_t)(end - begin) * j->item);
        for (int64_t t = begin; t < end; t++)
            memset(at(j, out, t * j->out.row), 0, (size_t)j->E * j->item);
    }
    if (j->softmax)
        j->kernel->finish(end - begin, w.max, w.sum, w.max, at(j, out, begin * j->out.row),
                          j->out.row, j->E);
    if (j->softmax && j->arrays->lse)
        memcpy(at(j, j->arrays->lse, p.h * j->rows + p.row + begin), w.max,
               (size_t)(end - begin) * j->item);
    if (j->arrays->weights)
        write_weights(j, &p, &w, begin, end, w.max);
    return HEED_OK;
}

heed_status hd_dense_forward(heed_pool *pool, const heed_attention_opts *opts,
                          const heed_attention_arrays *arrays)
{
    struct job j;
    void *heap;
    job_init(&j, opts, arrays, false);
    HD_TRY(job_scratch(&j, pool, false, &heap));
    heed_status status = hd_pool_run(pool, j.B * j.H * j.chunks, forward_task, &j);
    hd_free(heap);
    return status;
}

/* ---- backward */

static void clear_rows(const struct job *j, char *rows, int64_t row, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++)
        memset(at(j, rows, i * row), 0, (size_t)width * j->item);
}

/* What one pair adds to the tables, from the gradients by diagonal. */
static char *pair_tables(const struct job *j, const struct pair *p)
{
    int64_t P = j->wants_dposition ? j->arrays->P : 0, W = j->wants_dtime ? j->arrays->W : 0;
    return at(j, j->partials, (p->b * j->H + p->h) * (P + W));
}

static void fold_position(const struct job *j, const struct pair *p, const char *diagonals)
{
    char *table = pair_tables(j, p);
    int64_t P = j->arrays->P;
    double far = 0;
    for (int64_t back = p->S - 1; back >= 0; back--) { /* the farthest first, as the tables read */
        double x = get_at(j, diagonals, j->S_max - 1 - back);
        if (back >= P - 1)
            far += x;
        else
            put_at(j, table, P - 1 - back, x);
    }
    put_at(j, table, 0, far);
}

static void fold_time(const struct job *j, const struct pair *p, const char *lanes)
{
    char *table = at(j, pair_tables(j, p), j->wants_dposition ? j->arrays->P : 0);
    for (int64_t b = 0; b < j->arrays->W; b++) {
        double sum = 0;
        for (int64_t l = 0; l < HD_TILE_PAD; l++)
            sum += get_at(j, lanes, b * HD_TILE_PAD + l);
        put_at(j, table, b, sum);
    }
}

/* The five products of one tile: queries t .. t + rows, keys key .. key + columns. */
static void backward_tile(const struct job *j, const struct pair *p, const struct scratch *w,
                          int64_t t, int64_t rows, int64_t key, int64_t columns, bool first)
{
    const heed_attention_arrays *a = j->arrays;
    struct hd_tile tile = tile_of(j, p, w->s, p->tile_row, t, rows, key, columns), ds = tile;
    const char *dout = rows_of(j, p, a->dout, j->out), *q = at(j, p->q, t * j->q.row);
    char *dq = rows_of(j, p, a->dq, j->q), *dk = rows_of(j, p, a->dk, j->k);
    char *dv = rows_of(j, p, a->dv, j->v);
    bool causal = j->opts->causal;
    dout = at(j, dout, t * j->out.row);
    ds.s = w->dp;

    scores(j, p, w, &tile, t, key);
    struct hd_product m = {.M = rows, .N = columns, .K = j->E, .a = dout, .a_row = j->out.row,
                           .a_col = 1, .b = w->vt, .b_row = p->tile_row, .c = w->dp,
                           .c_row = p->tile_row, .alpha = 1, .seen = tile.seen,
                           .shape = causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    if (j->softmax) {
        j->kernel->softmax_back(&tile, w->dp, p->tile_row,
                                at(j, a->lse, p->h * j->rows + p->row + t), at(j, w->max, t));
    } else {
        inverses(j, p, w->inverse, t, rows);
        j->kernel->silu_back(&tile, w->dp, p->tile_row, w->inverse);
    }
    if (j->wants_dposition)
        j->kernel->sum_position(&ds, at(j, w->diagonals, diagonal_of(j, t + p->shift, key)));
    if (j->wants_dtime)
        j->kernel->sum_bucket(&ds, w->bucket, p->tile_row, w->lanes);

    /* dV += P^T dO, dK += scale dS^T Q: keys are the rows now. */
    m = (struct hd_product){.M = columns, .N = j->E, .K = rows, .a = w->s, .a_row = 1,
                            .a_col = p->tile_row, .b = dout, .b_row = j->out.row,
                            .c = at(j, dv, key * j->v.row), .c_row = j->v.row, .alpha = 1,
                            .accumulate = a->accumulate || !first, .seen = tile.seen,
                            .shape = causal ? HD_PRODUCT_UPPER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    m.N = j->D, m.a = w->dp, m.b = q, m.b_row = j->q.row, m.alpha = j->scale;
    m.c = at(j, dk, key * j->k.row), m.c_row = j->k.row;
    j->kernel->product(&m);
    /* dQ += scale dS K */
    m = (struct hd_product){.M = rows, .N = j->D, .K = columns, .a = w->dp, .a_row = p->tile_row,
                            .a_col = 1, .b = at(j, p->k, key * j->k.row), .b_row = j->k.row,
                            .c = at(j, dq, t * j->q.row), .c_row = j->q.row, .alpha = j->scale,
                            .accumulate = a->accumulate || key > 0, .seen = tile.seen,
                            .shape = causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
}

static heed_status backward_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    const heed_attention_arrays *a = j->arrays;
    struct pair p = pair_of(j, task, true);
    struct scratch w;
    scratch_cut(j, true, j->workers + (size_t)worker * j->worker_bytes, &w);
    int64_t tables = (j->wants_dposition ? a->P : 0) + (j->wants_dtime ? a->W : 0);
    int64_t last = p.T ? columns_seen(j, &p, p.T, 0, p.S) : 0;
    /* The first query that sees anything. */
    int64_t begin = last == 0 ? p.T : j->opts->causal && p.shift < 0 ? -p.shift : 0;

    if (tables)
        memset(pair_tables(j, &p), 0, (size_t)tables * j->item);
    if (j->wants_dtime)
        memset(w.lanes, 0, (size_t)a->W * HD_TILE_PAD * j->item);
    if (j->wants_dposition)
        memset(w.diagonals, 0, (size_t)(j->T_max + j->S_max) * j->item);
    if (!a->accumulate) {
        clear_rows(j, rows_of(j, &p, a->dq, j->q), j->q.row, begin, j->D);
        clear_rows(j, at(j, rows_of(j, &p, a->dk, j->k), last * j->k.row), j->k.row, p.S - last,
                   j->D);
        clear_rows(j, at(j, rows_of(j, &p, a->dv, j->v), last * j->v.row), j->v.row, p.S - last,
                   j->E);
    }
    if (j->softmax)
        j->kernel->row_dots(p.T, j->E, rows_of(j, &p, a->dout, j->out), j->out.row,
                            rows_of(j, &p, a->out, j->out), j->out.row, w.max);
    for (int64_t key = 0; key < last; key += p.key_block) {
        int64_t keys = last - key < p.key_block ? last - key : p.key_block;
        int64_t t = j->opts->causal && key - p.shift > 0 ? key - p.shift : 0;
        bool first = true;
        j->kernel->transpose(w.kt, p.tile_row, at(j, p.k, key * j->k.row), j->k.row, keys, j->D);
        j->kernel->transpose(w.vt, p.tile_row, at(j, p.v, key * j->v.row), j->v.row, keys, j->E);
        for (t = t > begin ? t : begin; t < p.T; t += p.query_block, first = false) {
            int64_t rows = p.T - t < p.query_block ? p.T - t : p.query_block;
            int64_t columns = columns_seen(j, &p, t + rows, key, keys);
            if (first && columns < keys && !a->accumulate) {
                /* Keys that only later queries see: theirs are sums from the start. */
                clear_rows(j, at(j, rows_of(j, &p, a->dk, j->k), (key + columns) * j->k.row),
                           j->k.row, keys - columns, j->D);
                clear_rows(j, at(j, rows_of(j, &p, a->dv, j->v), (key + columns) * j->v.row),
                           j->v.row, keys - columns, j->E);
            }
            backward_tile(j, &p, &w, t, rows, key, columns, first);
        }
    }
    if (j->wants_dposition)
        fold_position(j, &p, w.diagonals);
    if (j->wants_dtime)
        fold_time(j, &p, w.lanes);
    return HEED_OK;
}

/* The tables' gradients, pair by pair in order. */
static void reduce_tables(const struct job *j)
{
    const heed_attention_arrays *a = j->arrays;
    int64_t P = j->wants_dposition ? a->P : 0, W = j->wants_dtime ? a->W : 0;
    for (int64_t pair = 0; P + W && pair < j->B * j->H; pair++) {
        const char *part = at(j, j->partials, pair * (P + W));
        int64_t h = pair % j->H;
        for (int64_t i = 0; i < P; i++)
            put_at(j, a->dposition, h * P + i,
                   get_at(j, a->dposition, h * P + i) + get_at(j, part, i));
        for (int64_t i = 0; i < W; i++)
            put_at(j, a->dtime, h * W + i, get_at(j, a->dtime, h * W + i) + get_at(j, part, P + i));
    }
}

heed_status hd_dense_backward(heed_pool *pool, const heed_attention_opts *opts,
                           const heed_attention_arrays *arrays)
{
    struct job j;
    void *heap;
    job_init(&j, opts, arrays, true);
    HD_TRY(job_scratch(&j, pool, true, &heap));
    heed_status status = hd_pool_run(pool, j.B * j.H, backward_task, &j);
    if (status == HEED_OK)
        reduce_tables(&j);
    hd_free(heap);
    return status;
}

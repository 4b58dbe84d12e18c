/* SPDX-License-Identifier: Apache-2.0
 *
 * LSH attention (Kitaev, Kaiser, Levskaya 2020, "Reformer"), forward and backward. Keys are the query
 * rows, made unit rows. In each round rows are hashed and sorted by (bucket, position), and cut into
 * chunks; a row sees those of its bucket that lie in its chunk or the one before, less itself. Over
 * all rounds
 *
 *     out_i = sum over j in P_i of exp(s_ij - z_i) v_j,   P_i = union of the rounds',   z_i = lse of s_ij
 *
 * which is the paper's combination of rounds: there a pair that meets in N rounds takes exp(s) / N in
 * each (eq. 7 and appendix A); here it counts in the first of them and is hidden in the others, so
 * that one running softmax goes through all rounds. A row whose P_i is empty sees itself.
 *
 * Sorted, what a row sees is a range of ranks, the same for all rows of its bucket in its chunk, and
 * where causal it ends before the row itself, since positions keep their order. So the work is tiles
 * of [rows of one bucket and chunk] x [range], with the same triangle as the exact method's, and no
 * mask but for pairs of an earlier round.
 *
 * A task is a sequence and a head. Memory per thread is a few numbers per position and round, and
 * backward a row of D. Where rounds and chunks lie depends on all positions: a causal row never sees
 * what comes after it, but what it sees of the past may depend on what does. */
#include "attention/lsh.h"
#include "attention/layout.h"
#include "base/pool.h"
#include "kernel/kernel.h"

#include <math.h>

#define ROWS 64
#define KEYS 128 /* the default: a chunk and the one before */

struct job {
    const struct hd_attention_kernels *kernel;
    const struct hd_kernels *rows;
    size_t item;
    const heed_attention_opts *opts;
    const heed_attention_arrays *arrays;
    struct hd_lsh hash;
    int64_t H, D, E, n_most, row_count;
    int64_t buckets_most; /* of any sequence */
    double scale;
    struct hd_strides q, v, out;
    char *workers;
    size_t worker_bytes;
};

/* One task. */
struct pair {
    struct hd_sequence seq;
    struct hd_lsh_sorted sorted;
    int64_t h, n; /* n: rows that take part; the rest is padding */
    const char *q, *v;
};

/* Parts of a worker's scratch. */
struct scratch {
    int32_t *bucket, *order, *rank, *ends, *code, *from, *to;
    char *hash;                /* a tile of rotated rows */
    char *inverse, *max, *sum; /* per position: 1 / |q|; running softmax, or lse and delta */
    char *queries, *keys, *turned, *values, *values_turned; /* of a tile */
    char *s, *dp;
    char *row_max, *row_sum, *rows; /* of a tile's queries, and their rows of out or dout */
    char *drows, *dkeys;            /* gradients of a tile's queries, of its keys or values */
    char *dk;                       /* (n, D): of all unit rows */
};

/* Queries of ranks [row, row + count) and keys of ranks [key, key + keys) in a round. */
struct block {
    int64_t round, row, count, key, keys;
};

/* The most buckets of a sequence of up to n rows: lengths make no difference above it. */
static int64_t buckets_most(const struct job *j)
{
    int64_t most = 1;
    for (int64_t b = 0; b < j->arrays->B; b++) {
        int64_t here = hd_lsh_buckets(&j->hash, hd_sequence_of(j->opts, j->arrays, b).visible);
        most = here > most ? here : most;
    }
    return most;
}

static void job_init(struct job *j, const heed_attention_opts *o, const heed_attention_arrays *a)
{
    *j = (struct job){.opts = o, .arrays = a, .H = a->H, .D = a->D, .E = a->E};
    j->kernel = a->dtype == HEED_F32 ? hd_attention_kernels() : hd_attention_kernels_f64();
    j->rows = a->dtype == HEED_F32 ? hd_kernels() : hd_kernels_f64();
    j->item = j->kernel->item_bytes;
    j->n_most = hd_keys_most(o, a);
    j->row_count = hd_rows_in_all(o, a);
    j->scale = o->scale != 0 ? o->scale : a->D ? 1 / sqrt((double)a->D) : 1;
    j->q = hd_strides_of(a->q_stride, a->T, a->H, a->D);
    j->v = hd_strides_of(a->v_stride, a->S, a->H, a->E);
    j->out = hd_strides_of(a->out_stride, a->T, a->H, a->E);
    hd_lsh_init(&j->hash, o, a, j->kernel);
    j->buckets_most = buckets_most(j);
}

/* Cuts scratch from `at` (NULL: only counts) and returns the bytes taken. */
static size_t scratch_cut(const struct job *j, bool backward, char *at, struct scratch *s)
{
    size_t used = 0, n = (size_t)j->n_most, rounds = (size_t)j->hash.rounds, D = (size_t)j->D;
    size_t E = (size_t)j->E, edge = HD_TILE_PAD, tile = ROWS * KEYS + 2 * edge;
#define CUT(field, bytes) (s->field = at ? (void *)(at + used) : NULL, used += hd_arena_lines(bytes))
    CUT(bucket, rounds * n * sizeof(int32_t));
    CUT(order, rounds * n * sizeof(int32_t));
    CUT(rank, rounds * n * sizeof(int32_t));
    CUT(ends, rounds * (size_t)j->buckets_most * sizeof(int32_t));
    CUT(code, KEYS * sizeof(int32_t));
    CUT(from, ROWS * sizeof(int32_t));
    CUT(to, ROWS * sizeof(int32_t));
    CUT(hash, hd_lsh_tile_bytes(&j->hash));
    CUT(inverse, n * j->item);
    CUT(max, n * j->item);
    CUT(sum, n * j->item);
    CUT(queries, ROWS * D * j->item);
    CUT(keys, KEYS * D * j->item);
    CUT(turned, KEYS * D * j->item);
    CUT(values, KEYS * E * j->item);
    CUT(values_turned, backward ? KEYS * E * j->item : 0);
    CUT(s, tile * j->item);
    CUT(dp, backward ? tile * j->item : 0);
    CUT(row_max, ROWS * j->item);
    CUT(row_sum, ROWS * j->item);
    CUT(rows, ROWS * E * j->item);
    CUT(drows, backward ? ROWS * D * j->item : 0);
    CUT(dkeys, backward ? KEYS * (D > E ? D : E) * j->item : 0);
    CUT(dk, backward ? n * D * j->item : 0);
#undef CUT
    if (at) {
        s->s += edge * j->item;
        s->dp += edge * j->item;
    }
    return used;
}

static size_t scratch_need(const struct job *j, const heed_pool *pool, bool backward)
{
    struct scratch s;
    return hd_arena_lines(hd_lsh_rotation_bytes(&j->hash)) +
           (size_t)heed_pool_threads(pool) * scratch_cut(j, backward, NULL, &s);
}

uint64_t hd_lsh_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    job_init(&j, opts, arrays);
    return HD_ARENA_ALIGN + scratch_need(&j, pool, backward); /* the backward's is the larger */
}

static char *at(const struct job *j, const void *base, int64_t index)
{
    return hd_place(base, j->item, index);
}

static char *rows_of(const struct job *j, const struct pair *p, const void *array,
                     struct hd_strides stride)
{
    return hd_head_rows(j->opts, &p->seq, array, j->item, stride, p->h);
}

/* ---- a pair */

/* No rows, and maybe no arrays. */
static bool is_empty(const struct job *j, int64_t task)
{
    return hd_sequence_of(j->opts, j->arrays, task / j->H).T == 0;
}

/* Hashes and sorts the rows of a sequence and head, and finds their lengths. */
static struct pair pair_of(const struct job *j, int64_t task, const struct scratch *w)
{
    struct pair p = {.seq = hd_sequence_of(j->opts, j->arrays, task / j->H), .h = task % j->H};
    p.n = p.seq.visible;
    p.q = rows_of(j, &p, j->arrays->q, j->q);
    p.v = rows_of(j, &p, j->arrays->v, j->v);
    p.sorted = (struct hd_lsh_sorted){.n = p.n, .buckets = hd_lsh_buckets(&j->hash, p.n),
                                      .bucket = w->bucket, .order = w->order, .rank = w->rank,
                                      .ends = w->ends};
    hd_lsh_sort(&j->hash, &p.sorted, p.q, j->q.row, w->hash);
    j->kernel->row_dots(p.n, j->D, p.q, j->q.row, p.q, j->q.row, w->inverse);
    for (int64_t i = 0; i < p.n; i++) {
        double square = hd_number(w->inverse, j->item, i);
        hd_set_number(w->inverse, j->item, i, square == 0 ? 0 : 1 / sqrt(square));
    }
    return p;
}

/* Does a row see nothing but itself? */
static bool is_alone(const struct job *j, const struct pair *p, int64_t position)
{
    for (int64_t r = 0; r < p->sorted.rounds; r++) {
        struct hd_lsh_range range = hd_lsh_range(&p->sorted, r, position);
        int32_t rank = p->sorted.rank[r * p->n + position];
        if (j->opts->causal ? rank > range.from : range.to - range.from > 1)
            return false;
    }
    return true;
}

static const int32_t *positions(const struct pair *p, int64_t round, int64_t rank)
{
    return p->sorted.order + round * p->n + rank;
}

/* ---- rows of a block, from where they lie and back */

static void gather(const struct job *j, char *out, const char *x, int64_t x_row, const int32_t *order,
                   int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(at(j, out, i * width), at(j, x, order[i] * x_row), (size_t)width * j->item);
}

static void scatter(const struct job *j, char *x, int64_t x_row, const char *from,
                    const int32_t *order, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(at(j, x, order[i] * x_row), at(j, from, i * width), (size_t)width * j->item);
}

static void scatter_add(const struct job *j, char *x, int64_t x_row, const char *from,
                        const int32_t *order, int64_t count, int64_t width)
{
    for (int64_t i = 0; i < count; i++) {
        char *row = at(j, x, order[i] * x_row);
        j->rows->add(row, row, at(j, from, i * width), (size_t)width);
    }
}

static void load_keys(const struct job *j, const struct pair *p, const struct scratch *w,
                      const struct block *b)
{
    const int32_t *order = positions(p, b->round, b->key);
    for (int64_t c = 0; c < b->keys; c++)
        j->rows->scale(at(j, w->keys, c * j->D), hd_number(w->inverse, j->item, order[c]),
                       at(j, p->q, order[c] * j->q.row), (size_t)j->D);
    j->kernel->transpose(w->turned, KEYS, w->keys, j->D, b->keys, j->D);
}

static void load_values(const struct job *j, const struct pair *p, const struct scratch *w,
                        const struct block *b)
{
    gather(j, w->values, p->v, j->v.row, positions(p, b->round, b->key), b->keys, j->E);
}

/* ---- scores */

static struct hd_tile tile_of(const struct job *j, const struct block *b, char *s)
{
    bool causal = j->opts->causal;
    return (struct hd_tile){.s = s, .s_row = KEYS, .rows = b->count, .columns = b->keys,
                            .seen = causal ? b->row - b->key : b->keys, .step = causal,
                            .keep_scale = 1};
}

/* The pairs that met in an earlier round, and not causal the row itself. */
static void hide(const struct job *j, const struct pair *p, const struct scratch *w,
                 const struct block *b, const struct hd_tile *tile)
{
    const int32_t *rows = positions(p, b->round, b->row), *keys = positions(p, b->round, b->key);
    for (int64_t i = 0; !j->opts->causal && i < b->count; i++) {
        int64_t self = b->row + i - b->key;
        if (self >= 0 && self < b->keys)
            hd_set_number(tile->s, j->item, i * KEYS + self, -(double)INFINITY);
    }
    for (int64_t r = 0; r < b->round; r++) {
        for (int64_t c = 0; c < b->keys; c++)
            w->code[c] = p->sorted.rank[r * p->n + keys[c]];
        for (int64_t i = 0; i < b->count; i++) {
            struct hd_lsh_range range = hd_lsh_range(&p->sorted, r, rows[i]);
            w->from[i] = range.from, w->to[i] = range.to;
        }
        j->kernel->hide_range(tile, w->code, w->from, w->to);
    }
}

static struct hd_tile scores(const struct job *j, const struct pair *p, const struct scratch *w,
                             const struct block *b)
{
    struct hd_tile tile = tile_of(j, b, w->s);
    struct hd_product m = {.M = b->count, .N = b->keys, .K = j->D, .a = w->queries, .a_row = j->D,
                           .a_col = 1, .b = w->turned, .b_row = KEYS, .c = w->s, .c_row = KEYS,
                           .alpha = j->scale, .seen = tile.seen,
                           .shape = j->opts->causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    hide(j, p, w, b, &tile);
    return tile;
}

/* ---- the walk: every block of every round, with its queries and keys loaded */

struct visitor {
    void (*begin)(const struct job *j, const struct pair *p, const struct scratch *w,
                  const struct block *b); /* a block of rows */
    void (*tile)(const struct job *j, const struct pair *p, const struct scratch *w,
                 const struct block *b);
    void (*end)(const struct job *j, const struct pair *p, const struct scratch *w,
                const struct block *b);
};

static void visit_rows(const struct job *j, const struct pair *p, const struct scratch *w,
                       struct block *b, struct hd_lsh_range range, const struct visitor *visitor)
{
    int64_t to = j->opts->causal ? b->row + b->count - 1 : range.to;
    if (to <= range.from || range.to - range.from == 1)
        return;
    gather(j, w->queries, p->q, j->q.row, positions(p, b->round, b->row), b->count, j->D);
    visitor->begin(j, p, w, b);
    for (b->key = range.from; b->key < to; b->key += KEYS) {
        b->keys = to - b->key < KEYS ? to - b->key : KEYS;
        load_keys(j, p, w, b);
        visitor->tile(j, p, w, b);
    }
    visitor->end(j, p, w, b);
}

static void walk(const struct job *j, const struct pair *p, const struct scratch *w,
                 const struct visitor *visitor)
{
    for (int64_t r = 0; r < p->sorted.rounds; r++)
        for (int64_t row = 0, end; row < p->n; row = end) {
            int64_t first = *positions(p, r, row), chunk = p->sorted.chunk;
            int64_t ends = p->sorted.ends[r * p->sorted.buckets + p->sorted.bucket[r * p->n + first]];
            end = (row / chunk + 1) * chunk < ends ? (row / chunk + 1) * chunk : ends;
            struct hd_lsh_range range = hd_lsh_range(&p->sorted, r, first);
            for (int64_t part = row; part < end; part += ROWS) {
                struct block b = {.round = r, .row = part,
                                  .count = end - part < ROWS ? end - part : ROWS};
                visit_rows(j, p, w, &b, range, visitor);
            }
        }
}

/* ---- forward */

static void forward_begin(const struct job *j, const struct pair *p, const struct scratch *w,
                          const struct block *b)
{
    const int32_t *order = positions(p, b->round, b->row);
    gather(j, w->rows, rows_of(j, p, j->arrays->out, j->out), j->out.row, order, b->count, j->E);
    gather(j, w->row_max, w->max, 1, order, b->count, 1);
    gather(j, w->row_sum, w->sum, 1, order, b->count, 1);
}

static void forward_tile(const struct job *j, const struct pair *p, const struct scratch *w,
                         const struct block *b)
{
    struct hd_tile tile = scores(j, p, w, b);
    load_values(j, p, w, b);
    j->kernel->softmax(&tile, w->row_max, w->row_sum, w->rows, j->E, j->E, false);
    struct hd_product m = {.M = b->count, .N = j->E, .K = b->keys, .a = w->s, .a_row = KEYS,
                           .a_col = 1, .b = w->values, .b_row = j->E, .c = w->rows, .c_row = j->E,
                           .alpha = 1, .accumulate = true, .seen = tile.seen,
                           .shape = j->opts->causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
}

static void forward_end(const struct job *j, const struct pair *p, const struct scratch *w,
                        const struct block *b)
{
    const int32_t *order = positions(p, b->round, b->row);
    scatter(j, rows_of(j, p, j->arrays->out, j->out), j->out.row, w->rows, order, b->count, j->E);
    scatter(j, w->max, 1, w->row_max, order, b->count, 1);
    scatter(j, w->sum, 1, w->row_sum, order, b->count, 1);
}

/* Divides by the sums and makes lse of max; rows that saw nothing are given themselves, whose score is
 * scale |q|. */
static void finish(const struct job *j, const struct pair *p, const struct scratch *w)
{
    char *out = rows_of(j, p, j->arrays->out, j->out);
    j->kernel->finish(p->n, w->max, w->sum, w->max, out, j->out.row, j->E);
    for (int64_t i = 0; i < p->n; i++)
        if (is_alone(j, p, i)) {
            double inverse = hd_number(w->inverse, j->item, i);
            memcpy(at(j, out, i * j->out.row), at(j, p->v, i * j->v.row), (size_t)j->E * j->item);
            hd_set_number(w->max, j->item, i, inverse == 0 ? 0 : j->scale / inverse);
        }
    if (!j->arrays->lse)
        return;
    char *lse = at(j, j->arrays->lse, p->h * j->row_count + p->seq.row);
    memcpy(lse, w->max, (size_t)p->n * j->item);
    for (int64_t i = p->n; i < p->seq.T; i++)
        hd_set_number(lse, j->item, i, (double)INFINITY);
}

/* ---- weights, when lse is known */

static char *weights_of(const struct job *j, const struct pair *p)
{
    int64_t T = p->seq.T;
    return at(j, j->arrays->weights, (p->seq.b * j->H + p->h) * T * T);
}

static void weights_begin(const struct job *j, const struct pair *p, const struct scratch *w,
                          const struct block *b)
{
    gather(j, w->row_max, w->max, 1, positions(p, b->round, b->row), b->count, 1);
}

/* A pair that met before is hidden here, and its weight is there. */
static void weights_tile(const struct job *j, const struct pair *p, const struct scratch *w,
                         const struct block *b)
{
    struct hd_tile tile = scores(j, p, w, b);
    const int32_t *rows = positions(p, b->round, b->row), *keys = positions(p, b->round, b->key);
    char *weights = weights_of(j, p);
    j->kernel->weights(&tile, w->row_max);
    for (int64_t i = 0; i < b->count; i++)
        for (int64_t c = 0; c < b->keys; c++) {
            double x = hd_number(w->s, j->item, i * KEYS + c);
            if (x != 0)
                hd_set_number(weights, j->item, rows[i] * p->seq.T + keys[c], x);
        }
}

static void weights_end(const struct job *j, const struct pair *p, const struct scratch *w,
                        const struct block *b)
{
    (void)j, (void)p, (void)w, (void)b;
}

static void write_weights(const struct job *j, const struct pair *p, const struct scratch *w)
{
    static const struct visitor visitor = {weights_begin, weights_tile, weights_end};
    int64_t T = p->seq.T;
    memset(weights_of(j, p), 0, (size_t)(T * T) * j->item);
    walk(j, p, w, &visitor);
    for (int64_t i = 0; i < p->n; i++)
        if (is_alone(j, p, i))
            hd_set_number(weights_of(j, p), j->item, i * T + i, 1);
}

static struct scratch worker_scratch(const struct job *j, bool backward, int worker)
{
    struct scratch w;
    scratch_cut(j, backward, j->workers + (size_t)worker * j->worker_bytes, &w);
    return w;
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    static const struct visitor visitor = {forward_begin, forward_tile, forward_end};
    const struct job *j = arg;
    struct scratch w = worker_scratch(j, false, worker);
    if (is_empty(j, task))
        return HEED_OK;
    struct pair p = pair_of(j, task, &w);
    for (int64_t i = 0; i < p.n; i++) {
        hd_set_number(w.max, j->item, i, -(double)INFINITY);
        hd_set_number(w.sum, j->item, i, 0);
    }
    hd_clear_rows(rows_of(j, &p, j->arrays->out, j->out), j->item, j->out.row, p.seq.T, j->E);
    walk(j, &p, &w, &visitor);
    finish(j, &p, &w);
    if (j->arrays->weights)
        write_weights(j, &p, &w);
    return HEED_OK;
}

/* ---- backward: max holds lse, sum delta = dout . out */

static void backward_begin(const struct job *j, const struct pair *p, const struct scratch *w,
                           const struct block *b)
{
    const int32_t *order = positions(p, b->round, b->row);
    gather(j, w->rows, rows_of(j, p, j->arrays->dout, j->out), j->out.row, order, b->count, j->E);
    gather(j, w->row_max, w->max, 1, order, b->count, 1);
    gather(j, w->row_sum, w->sum, 1, order, b->count, 1);
    memset(w->drows, 0, (size_t)(b->count * j->D) * j->item);
}

static void backward_tile(const struct job *j, const struct pair *p, const struct scratch *w,
                          const struct block *b)
{
    const int32_t *order = positions(p, b->round, b->key);
    struct hd_tile tile = scores(j, p, w, b);
    bool causal = j->opts->causal;
    load_values(j, p, w, b);
    j->kernel->transpose(w->values_turned, KEYS, w->values, j->E, b->keys, j->E);
    /* dP = dO V' */
    struct hd_product m = {.M = b->count, .N = b->keys, .K = j->E, .a = w->rows, .a_row = j->E,
                           .a_col = 1, .b = w->values_turned, .b_row = KEYS, .c = w->dp,
                           .c_row = KEYS, .alpha = 1, .seen = tile.seen,
                           .shape = causal ? HD_PRODUCT_COLUMNS : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    j->kernel->softmax_back(&tile, w->dp, KEYS, w->row_max, w->row_sum);
    /* dV += P' dO */
    m = (struct hd_product){.M = b->keys, .N = j->E, .K = b->count, .a = w->s, .a_row = 1,
                            .a_col = KEYS, .b = w->rows, .b_row = j->E, .c = w->dkeys,
                            .c_row = j->E, .alpha = 1, .seen = tile.seen,
                            .shape = causal ? HD_PRODUCT_UPPER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
    scatter_add(j, rows_of(j, p, j->arrays->dv, j->v), j->v.row, w->dkeys, order, b->keys, j->E);
    /* dK += scale dS' Q */
    m.N = j->D, m.a = w->dp, m.b = w->queries, m.b_row = j->D, m.c_row = j->D, m.alpha = j->scale;
    j->kernel->product(&m);
    scatter_add(j, w->dk, j->D, w->dkeys, order, b->keys, j->D);
    /* dQ += scale dS K */
    m = (struct hd_product){.M = b->count, .N = j->D, .K = b->keys, .a = w->dp, .a_row = KEYS,
                            .a_col = 1, .b = w->keys, .b_row = j->D, .c = w->drows, .c_row = j->D,
                            .alpha = j->scale, .accumulate = true, .seen = tile.seen,
                            .shape = causal ? HD_PRODUCT_LOWER : HD_PRODUCT_FULL};
    j->kernel->product(&m);
}

static void backward_end(const struct job *j, const struct pair *p, const struct scratch *w,
                         const struct block *b)
{
    scatter_add(j, rows_of(j, p, j->arrays->dq, j->q), j->q.row, w->drows,
                positions(p, b->round, b->row), b->count, j->D);
}

/* Keys are k = q / |q|: dq += (dk - k (k . dk)) / |q|. And a row that saw but itself has its weight in
 * its own value alone. */
static void send_through_keys(const struct job *j, const struct pair *p, const struct scratch *w)
{
    const heed_attention_arrays *a = j->arrays;
    char *dq = rows_of(j, p, a->dq, j->q), *dv = rows_of(j, p, a->dv, j->v);
    const char *dout = rows_of(j, p, a->dout, j->out);
    for (int64_t i = 0; i < p->n; i++) {
        double inverse = hd_number(w->inverse, j->item, i);
        const char *q = at(j, p->q, i * j->q.row), *dk = at(j, w->dk, i * j->D);
        char *row = at(j, dq, i * j->q.row);
        if (inverse != 0) {
            double along = inverse * inverse * j->rows->dot(q, dk, (size_t)j->D);
            j->rows->axpy(row, inverse, dk, (size_t)j->D);
            j->rows->axpy(row, -inverse * along, q, (size_t)j->D);
        }
        if (is_alone(j, p, i))
            j->rows->add(at(j, dv, i * j->v.row), at(j, dv, i * j->v.row),
                         at(j, dout, i * j->out.row), (size_t)j->E);
    }
}

static heed_status backward_task(void *arg, int64_t task, int worker)
{
    static const struct visitor visitor = {backward_begin, backward_tile, backward_end};
    const struct job *j = arg;
    const heed_attention_arrays *a = j->arrays;
    struct scratch w = worker_scratch(j, true, worker);
    if (is_empty(j, task))
        return HEED_OK;
    struct pair p = pair_of(j, task, &w);
    if (!a->accumulate) {
        hd_clear_rows(rows_of(j, &p, a->dq, j->q), j->item, j->q.row, p.seq.T, j->D);
        hd_clear_rows(rows_of(j, &p, a->dv, j->v), j->item, j->v.row, p.seq.S, j->E);
    }
    memset(w.dk, 0, (size_t)(p.n * j->D) * j->item);
    j->kernel->row_dots(p.n, j->E, rows_of(j, &p, a->dout, j->out), j->out.row,
                        rows_of(j, &p, a->out, j->out), j->out.row, w.sum);
    memcpy(w.max, at(j, a->lse, p.h * j->row_count + p.seq.row), (size_t)p.n * j->item);
    walk(j, &p, &w, &visitor);
    send_through_keys(j, &p, &w);
    return HEED_OK;
}

static heed_status run(heed_pool *pool, const heed_attention_opts *opts,
                       const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    struct scratch w;
    char *memory;
    void *heap;
    job_init(&j, opts, arrays);
    j.worker_bytes = scratch_cut(&j, backward, NULL, &w);
    HD_TRY(hd_scratch_take(arrays, scratch_need(&j, pool, backward), &memory, &heap));
    hd_lsh_draw(&j.hash, memory);
    j.workers = memory + hd_arena_lines(hd_lsh_rotation_bytes(&j.hash));
    heed_status status = hd_pool_run(pool, arrays->B * j.H, backward ? backward_task : forward_task,
                                     &j);
    hd_free(heap);
    return status;
}

heed_status hd_lsh_forward(heed_pool *pool, const heed_attention_opts *opts,
                           const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, false);
}

heed_status hd_lsh_backward(heed_pool *pool, const heed_attention_opts *opts,
                            const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, true);
}

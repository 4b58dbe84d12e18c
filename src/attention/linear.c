/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear attention (Katharopoulos et al. 2020, "Transformers are RNNs"), forward and backward:
 *
 *     out_t = N_t / d_t,   N_t = f_t A_t,   d_t = f_t . z_t,   f = phi(q), g = phi(k), phi = elu + 1
 *     A_t = sum g_s v_s',  z_t = sum g_s    over the keys that t sees (eqs. 5 and 9)
 *
 * With u_s = [v_s, 1] both sums are one matrix, the state (D, E + 1), and the denominator is the last
 * column of f_t [A, z]. Not causal there is one state. Causal, chunks of keys follow each other: the
 * queries that stand in a chunk take the state of all chunks before it and, of their own, the triangle
 * of a tile, as the exact method does:
 *
 *     [N, d] = F state + lower(F G^T) U        then        state += G^T U
 *
 * Backward, with w_t = [dout_t, -dout_t . out_t] / d_t, the gradient of [N_t, d_t]:
 *
 *     df_t = w_t state_t',   dg_s = u_s back_s,   dv_s = g_s back_s'   (less its last column)
 *     state' (E + 1, D) = sum u_s' g_s over what came before,  back (E + 1, D) = sum w_t' f_t over what
 *     comes after; so one sweep goes up for dq, and one down for dk and dv.
 *
 * A task is a sequence and a head of keys with the heads of queries that share it; nothing is shared
 * between tasks. Memory is a few chunks and a state, whatever the length. */
#include "attention/linear.h"
#include "attention/layout.h"
#include "base/pool.h"
#include "kernel/attention.h"
#include "kernel/kernel.h"

#include <math.h>

/* Keys of a chunk. Per key a chunk costs CHUNK (D + E) / 2 operations in its triangle, and its state's
 * turns D E / CHUNK; between 32 and 128 it makes no difference of more than a tenth. */
#define CHUNK 64

struct job {
    const struct hd_attention_kernels *kernel;
    const struct hd_kernels *rows;
    size_t item;
    const heed_attention_opts *opts;
    const heed_attention_arrays *arrays;
    int64_t H, D, E, kv_heads, group, row_count;
    int64_t deep, wide; /* rows of D and of E + 1 in scratch: whole vectors apart */
    struct hd_strides q, k, v, out;
    char *workers;
    size_t worker_bytes;
};

/* Parts of a worker's scratch; *t is turned. Rows of columns are CHUNK apart. */
struct scratch {
    char *f, *g, *gt;   /* (CHUNK, deep), (D, CHUNK) */
    char *u, *ut;       /* (CHUNK, wide), (E + 1, CHUNK) */
    char *w;            /* (CHUNK, wide): [N, d] forward, its gradient backward */
    char *tile, *tile2; /* (CHUNK, CHUNK) */
    char *df;           /* (CHUNK, deep): gradients of f or of g */
    char *state;        /* (D, wide) forward, (E + 1, deep) backward */
    char *back, *backt; /* (E + 1, deep), (D, wide) */
};

/* A chunk: keys [key, key + keys), and the queries [t, t + rows) that stand in it, of which the first
 * sees `seen` of them. */
struct chunk {
    int64_t key, keys, t, rows, seen;
};

/* One task. */
struct pair {
    struct hd_sequence seq;
    int64_t g; /* head of keys */
    const char *k, *v;
};

static void job_init(struct job *j, const heed_attention_opts *o, const heed_attention_arrays *a)
{
    *j = (struct job){.opts = o, .arrays = a, .H = a->H, .D = a->D, .E = a->E};
    j->kernel = a->dtype == HEED_F32 ? hd_attention_kernels() : hd_attention_kernels_f64();
    j->rows = a->dtype == HEED_F32 ? hd_kernels() : hd_kernels_f64();
    j->item = j->kernel->item_bytes;
    j->kv_heads = a->kv_heads ? a->kv_heads : a->H;
    j->group = j->kv_heads ? a->H / j->kv_heads : 0;
    j->row_count = hd_rows_in_all(o, a);
    j->deep = hd_padded(a->D), j->wide = hd_padded(a->E + 1);
    j->q = hd_strides_of(a->q_stride, a->T, a->H, a->D);
    j->k = hd_strides_of(a->k_stride, a->S, j->kv_heads, a->D);
    j->v = hd_strides_of(a->v_stride, a->S, j->kv_heads, a->E);
    j->out = hd_strides_of(a->out_stride, a->T, a->H, a->E);
}

/* Cuts scratch from `at` (NULL: only counts) and returns the bytes taken. */
static size_t scratch_cut(const struct job *j, bool backward, char *at, struct scratch *s)
{
    size_t used = 0, deep = CHUNK * (size_t)j->deep, wide = CHUNK * (size_t)j->wide;
    size_t state = backward ? (size_t)((j->E + 1) * j->deep) : (size_t)(j->D * j->wide);
#define CUT(field, count)                                                                          \
    (s->field = at ? at + used : NULL, used += hd_arena_lines((size_t)(count) * j->item))
    CUT(f, deep);
    CUT(g, deep);
    CUT(gt, j->D * CHUNK);
    CUT(u, wide);
    CUT(w, wide);
    CUT(tile, CHUNK * CHUNK);
    CUT(state, state);
    CUT(ut, backward ? (j->E + 1) * CHUNK : 0);
    CUT(tile2, backward ? CHUNK * CHUNK : 0);
    CUT(df, backward ? deep : 0);
    CUT(back, backward ? state : 0);
    CUT(backt, backward ? j->D * j->wide : 0);
#undef CUT
    if (!backward)
        s->ut = NULL; /* which says that U need not be turned */
    return used;
}

static size_t scratch_need(const struct job *j, const heed_pool *pool, bool backward)
{
    struct scratch s;
    return (size_t)heed_pool_threads(pool) * scratch_cut(j, backward, NULL, &s);
}

uint64_t hd_linear_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                 const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    job_init(&j, opts, arrays);
    size_t forward = scratch_need(&j, pool, false);
    size_t both = backward ? scratch_need(&j, pool, true) : 0;
    return HD_ARENA_ALIGN + (both > forward ? both : forward);
}

static char *at(const struct job *j, const void *base, int64_t index)
{
    return hd_place(base, j->item, index);
}

static char *rows_of(const struct job *j, const struct pair *p, const void *array,
                     struct hd_strides stride, int64_t head)
{
    return hd_head_rows(j->opts, &p->seq, array, j->item, stride, head);
}

static struct pair pair_of(const struct job *j, int64_t task)
{
    struct pair p = {.seq = hd_sequence_of(j->opts, j->arrays, task / j->kv_heads),
                     .g = task % j->kv_heads};
    p.k = rows_of(j, &p, j->arrays->k, j->k, p.g);
    p.v = rows_of(j, &p, j->arrays->v, j->v, p.g);
    return p;
}

/* The chunk that starts at a key position. Not causal its queries are found elsewhere. */
static struct chunk chunk_at(const struct pair *p, int64_t key)
{
    const struct hd_sequence *s = &p->seq;
    int64_t end = key + CHUNK < s->S ? key + CHUNK : s->S, from = key > s->shift ? key : s->shift;
    int64_t keys = (end < s->visible ? end : s->visible) - key;
    return (struct chunk){.key = key, .keys = keys > 0 ? keys : 0, .t = from - s->shift,
                          .rows = end > from ? end - from : 0, .seen = from + 1 - key};
}

/* Queries that stand before the first key see nothing where causal. */
static int64_t blind(const struct job *j, const struct pair *p)
{
    return j->opts->causal && p->seq.shift < 0 ? -p->seq.shift : 0;
}

/* ---- loads */

/* G and U, and what is turned of them where a tile follows. */
static void load_keys(const struct job *j, const struct pair *p, const struct scratch *s,
                      const struct chunk *c)
{
    j->kernel->elu_one(s->g, j->deep, at(j, p->k, c->key * j->k.row), j->k.row, c->keys, j->D);
    for (int64_t i = 0; i < c->keys; i++) {
        memcpy(at(j, s->u, i * j->wide), at(j, p->v, (c->key + i) * j->v.row),
               (size_t)j->E * j->item);
        hd_set_number(s->u, j->item, i * j->wide + j->E, 1);
    }
}

static void turn_keys(const struct job *j, const struct scratch *s, const struct chunk *c)
{
    j->kernel->transpose(s->gt, CHUNK, s->g, j->deep, c->keys, j->D);
    if (s->ut)
        j->kernel->transpose(s->ut, CHUNK, s->u, j->wide, c->keys, j->E + 1);
}

static void load_queries(const struct job *j, const struct pair *p, const struct scratch *s,
                         const struct chunk *c, int64_t h)
{
    const char *q = rows_of(j, p, j->arrays->q, j->q, h);
    j->kernel->elu_one(s->f, j->deep, at(j, q, c->t * j->q.row), j->q.row, c->rows, j->D);
}

/* w: the gradient of [N, d]. A row that saw nothing, lse infinite, has none. */
static void load_gradients(const struct job *j, const struct pair *p, const struct scratch *s,
                           const struct chunk *c, int64_t h)
{
    const heed_attention_arrays *a = j->arrays;
    const char *dout = rows_of(j, p, a->dout, j->out, h), *out = rows_of(j, p, a->out, j->out, h);
    for (int64_t i = 0; i < c->rows; i++) {
        int64_t t = c->t + i;
        const char *dy = at(j, dout, t * j->out.row), *y = at(j, out, t * j->out.row);
        char *w = at(j, s->w, i * j->wide);
        double share = exp(-hd_number(a->lse, j->item, h * j->row_count + p->seq.row + t));
        if (share == 0) {
            memset(w, 0, (size_t)(j->E + 1) * j->item);
            continue;
        }
        j->rows->scale(w, share, dy, (size_t)j->E);
        hd_set_number(w, j->item, j->E, -share * j->rows->dot(dy, y, (size_t)j->E));
    }
}

/* ---- products: C (M, N) = or += A B */

struct factor {
    const char *data;
    int64_t row, column; /* strides; of the right one column is 1 */
};

static void multiply(const struct job *j, struct factor a, struct factor b, char *c, int64_t c_row,
                     int64_t M, int64_t N, int64_t K, bool accumulate)
{
    struct hd_product m = {.M = M, .N = N, .K = K, .a = a.data, .a_row = a.row, .a_col = a.column,
                           .b = b.data, .b_row = b.row, .c = c, .c_row = c_row, .alpha = 1,
                           .accumulate = accumulate, .shape = HD_PRODUCT_FULL};
    j->kernel->product(&m);
}

/* The same with a tile: the pairs of a chunk that see each other. */
static void multiply_tile(const struct job *j, const struct chunk *c, enum hd_product_shape shape,
                          struct factor a, struct factor b, char *out, int64_t out_row, int64_t N)
{
    bool upper = shape == HD_PRODUCT_UPPER, columns = shape == HD_PRODUCT_COLUMNS;
    struct hd_product m = {.M = upper ? c->keys : c->rows, .N = columns ? c->keys : N,
                           .K = columns ? N : upper ? c->rows : c->keys, .a = a.data,
                           .a_row = a.row, .a_col = a.column, .b = b.data, .b_row = b.row, .c = out,
                           .c_row = out_row, .alpha = 1, .accumulate = !columns, .shape = shape,
                           .seen = c->seen};
    j->kernel->product(&m);
}

/* ---- forward */

/* state (D, E + 1) += G^T U */
static void absorb(const struct job *j, const struct scratch *s, const struct chunk *c)
{
    multiply(j, (struct factor){s->g, 1, j->deep}, (struct factor){s->u, j->wide, 1}, s->state,
             j->wide, j->D, j->E + 1, c->keys, true);
}

/* out and lse of a chunk's queries. tile: G is turned, and they see the triangle of it. */
static void answer(const struct job *j, const struct pair *p, const struct scratch *s,
                   const struct chunk *c, int64_t h, bool tile)
{
    const heed_attention_arrays *a = j->arrays;
    char *out = rows_of(j, p, a->out, j->out, h);
    load_queries(j, p, s, c, h);
    multiply(j, (struct factor){s->f, j->deep, 1}, (struct factor){s->state, j->wide, 1}, s->w,
             j->wide, c->rows, j->E + 1, j->D, false);
    if (tile) {
        multiply_tile(j, c, HD_PRODUCT_COLUMNS, (struct factor){s->f, j->deep, 1},
                      (struct factor){s->gt, CHUNK, 1}, s->tile, CHUNK, j->D);
        multiply_tile(j, c, HD_PRODUCT_LOWER, (struct factor){s->tile, CHUNK, 1},
                      (struct factor){s->u, j->wide, 1}, s->w, j->wide, j->E + 1);
    }
    for (int64_t i = 0; i < c->rows; i++) {
        char *y = at(j, out, (c->t + i) * j->out.row);
        double d = hd_number(s->w, j->item, i * j->wide + j->E);
        if (d == 0)
            memset(y, 0, (size_t)j->E * j->item);
        else
            j->rows->scale(y, 1 / d, at(j, s->w, i * j->wide), (size_t)j->E);
        if (a->lse)
            hd_set_number(a->lse, j->item, h * j->row_count + p->seq.row + c->t + i,
                          d == 0 ? (double)INFINITY : log(d));
    }
}

/* Rows that see nothing. */
static void answer_blind(const struct job *j, const struct pair *p, int64_t h)
{
    const heed_attention_arrays *a = j->arrays;
    int64_t n = blind(j, p);
    hd_clear_rows(rows_of(j, p, a->out, j->out, h), j->item, j->out.row, n, j->E);
    for (int64_t t = 0; a->lse && t < n; t++)
        hd_set_number(a->lse, j->item, h * j->row_count + p->seq.row + t, (double)INFINITY);
}

/* What a query's weights are: f_t . g_s, over its sum. */
static void write_weights(const struct job *j, const struct pair *p, const struct scratch *s,
                          int64_t h)
{
    const struct hd_sequence *q = &p->seq;
    char *weights = at(j, j->arrays->weights, (q->b * j->H + h) * q->T * q->S);
    for (int64_t t = 0; t < q->T; t += CHUNK) {
        struct chunk rows = {.t = t, .rows = q->T - t < CHUNK ? q->T - t : CHUNK};
        load_queries(j, p, s, &rows, h);
        for (int64_t key = 0; key < q->visible; key += CHUNK) {
            struct chunk c = chunk_at(p, key);
            load_keys(j, p, s, &c);
            turn_keys(j, s, &c);
            multiply(j, (struct factor){s->f, j->deep, 1}, (struct factor){s->gt, CHUNK, 1},
                     at(j, weights, t * q->S + key), q->S, rows.rows, c.keys, j->D, false);
        }
        for (int64_t i = 0; i < rows.rows; i++) {
            char *row = at(j, weights, (t + i) * q->S);
            int64_t ends = t + i + 1 + q->shift, seen = q->visible;
            if (j->opts->causal && ends < seen)
                seen = ends > 0 ? ends : 0;
            double d = j->rows->sum(row, (size_t)seen);
            j->rows->scale(row, d == 0 ? 0 : 1 / d, row, (size_t)seen);
            memset(at(j, row, seen), 0, (size_t)(q->S - seen) * j->item);
        }
    }
}

/* Queries of a chunk are those of each head that shares the keys. */
#define EACH_HEAD(h) for (int64_t h = p->g * j->group; h < (p->g + 1) * j->group; h++)

static void forward_causal(const struct job *j, const struct pair *p, const struct scratch *s)
{
    EACH_HEAD(h)
        answer_blind(j, p, h);
    for (int64_t key = 0; key < p->seq.S; key += CHUNK) {
        struct chunk c = chunk_at(p, key);
        load_keys(j, p, s, &c);
        turn_keys(j, s, &c);
        EACH_HEAD(h)
            answer(j, p, s, &c, h, true);
        absorb(j, s, &c);
    }
}

static struct chunk queries_at(const struct pair *p, int64_t t)
{
    return (struct chunk){.t = t, .rows = p->seq.T - t < CHUNK ? p->seq.T - t : CHUNK};
}

static void forward_full(const struct job *j, const struct pair *p, const struct scratch *s)
{
    for (int64_t key = 0; key < p->seq.visible; key += CHUNK) {
        struct chunk c = chunk_at(p, key);
        load_keys(j, p, s, &c);
        absorb(j, s, &c);
    }
    for (int64_t t = 0; t < p->seq.T; t += CHUNK) {
        struct chunk c = queries_at(p, t);
        EACH_HEAD(h)
            answer(j, p, s, &c, h, false);
    }
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct pair pair = pair_of(j, task), *p = &pair;
    struct scratch s;
    if (p->seq.T == 0)
        return HEED_OK;
    scratch_cut(j, false, j->workers + (size_t)worker * j->worker_bytes, &s);
    memset(s.state, 0, (size_t)(j->D * j->wide) * j->item);
    if (j->opts->causal)
        forward_causal(j, p, &s);
    else
        forward_full(j, p, &s);
    if (j->arrays->weights)
        EACH_HEAD(h)
            write_weights(j, p, &s, h);
    return HEED_OK;
}

/* ---- backward */

/* state' (E + 1, D) += U^T G */
static void absorb_turned(const struct job *j, const struct scratch *s, const struct chunk *c)
{
    multiply(j, (struct factor){s->u, 1, j->wide}, (struct factor){s->g, j->deep, 1}, s->state,
             j->deep, j->E + 1, j->D, c->keys, true);
}

/* dq of a chunk's queries: df = w state', and of their own chunk lower(w U^T) G. F and w stay. */
static void send_to_queries(const struct job *j, const struct pair *p, const struct scratch *s,
                            const struct chunk *c, int64_t h, bool tile)
{
    char *dq = at(j, rows_of(j, p, j->arrays->dq, j->q, h), c->t * j->q.row);
    load_queries(j, p, s, c, h);
    load_gradients(j, p, s, c, h);
    multiply(j, (struct factor){s->w, j->wide, 1}, (struct factor){s->state, j->deep, 1}, s->df,
             j->deep, c->rows, j->D, j->E + 1, false);
    if (tile) {
        multiply_tile(j, c, HD_PRODUCT_COLUMNS, (struct factor){s->w, j->wide, 1},
                      (struct factor){s->ut, CHUNK, 1}, s->tile, CHUNK, j->E + 1);
        multiply_tile(j, c, HD_PRODUCT_LOWER, (struct factor){s->tile, CHUNK, 1},
                      (struct factor){s->g, j->deep, 1}, s->df, j->deep, j->D);
    }
    j->kernel->elu_one_back(dq, j->q.row, s->df, j->deep, s->f, j->deep, c->rows, j->D,
                            j->arrays->accumulate);
}

/* back (E + 1, D) += w^T F */
static void gather_back(const struct job *j, const struct scratch *s, const struct chunk *c)
{
    multiply(j, (struct factor){s->w, 1, j->wide}, (struct factor){s->f, j->deep, 1}, s->back,
             j->deep, j->E + 1, j->D, c->rows, true);
}

/* dg = U back and dv = G back', from the queries after the chunk. */
static void send_to_keys(const struct job *j, const struct scratch *s, const struct chunk *c,
                         char *dv)
{
    j->kernel->transpose(s->backt, j->wide, s->back, j->deep, j->E, j->D);
    multiply(j, (struct factor){s->u, j->wide, 1}, (struct factor){s->back, j->deep, 1}, s->df,
             j->deep, c->keys, j->D, j->E + 1, false);
    multiply(j, (struct factor){s->g, j->deep, 1}, (struct factor){s->backt, j->wide, 1}, dv,
             j->v.row, c->keys, j->E, j->D, j->arrays->accumulate);
}

/* The same from one head's queries in the chunk: dv += upper(F G^T)^T dN, dg += upper(w U^T)^T F. */
static void send_to_own_keys(const struct job *j, const struct pair *p, const struct scratch *s,
                             const struct chunk *c, int64_t h, char *dv)
{
    load_queries(j, p, s, c, h);
    load_gradients(j, p, s, c, h);
    multiply_tile(j, c, HD_PRODUCT_COLUMNS, (struct factor){s->f, j->deep, 1},
                  (struct factor){s->gt, CHUNK, 1}, s->tile, CHUNK, j->D);
    multiply_tile(j, c, HD_PRODUCT_COLUMNS, (struct factor){s->w, j->wide, 1},
                  (struct factor){s->ut, CHUNK, 1}, s->tile2, CHUNK, j->E + 1);
    multiply_tile(j, c, HD_PRODUCT_UPPER, (struct factor){s->tile, 1, CHUNK},
                  (struct factor){s->w, j->wide, 1}, dv, j->v.row, j->E);
    multiply_tile(j, c, HD_PRODUCT_UPPER, (struct factor){s->tile2, 1, CHUNK},
                  (struct factor){s->f, j->deep, 1}, s->df, j->deep, j->D);
}

static void finish_keys(const struct job *j, const struct pair *p, const struct scratch *s,
                        const struct chunk *c)
{
    char *dk = at(j, rows_of(j, p, j->arrays->dk, j->k, p->g), c->key * j->k.row);
    j->kernel->elu_one_back(dk, j->k.row, s->df, j->deep, s->g, j->deep, c->keys, j->D,
                            j->arrays->accumulate);
}

static void backward_causal(const struct job *j, const struct pair *p, const struct scratch *s)
{
    char *dv = rows_of(j, p, j->arrays->dv, j->v, p->g);
    for (int64_t key = 0; key < p->seq.S; key += CHUNK) {
        struct chunk c = chunk_at(p, key);
        load_keys(j, p, s, &c);
        turn_keys(j, s, &c);
        EACH_HEAD(h)
            send_to_queries(j, p, s, &c, h, true);
        absorb_turned(j, s, &c);
    }
    for (int64_t key = (p->seq.S + CHUNK - 1) / CHUNK * CHUNK - CHUNK; key >= 0; key -= CHUNK) {
        struct chunk c = chunk_at(p, key);
        char *dv_here = at(j, dv, key * j->v.row);
        load_keys(j, p, s, &c);
        turn_keys(j, s, &c);
        send_to_keys(j, s, &c, dv_here);
        EACH_HEAD(h) {
            send_to_own_keys(j, p, s, &c, h, dv_here);
            gather_back(j, s, &c);
        }
        finish_keys(j, p, s, &c);
    }
}

static void backward_full(const struct job *j, const struct pair *p, const struct scratch *s)
{
    char *dv = rows_of(j, p, j->arrays->dv, j->v, p->g);
    for (int64_t key = 0; key < p->seq.visible; key += CHUNK) {
        struct chunk c = chunk_at(p, key);
        load_keys(j, p, s, &c);
        absorb_turned(j, s, &c);
    }
    for (int64_t t = 0; t < p->seq.T; t += CHUNK) {
        struct chunk c = queries_at(p, t);
        EACH_HEAD(h) {
            send_to_queries(j, p, s, &c, h, false);
            gather_back(j, s, &c);
        }
    }
    for (int64_t key = 0; key < p->seq.visible; key += CHUNK) {
        struct chunk c = chunk_at(p, key);
        load_keys(j, p, s, &c);
        send_to_keys(j, s, &c, at(j, dv, key * j->v.row));
        finish_keys(j, p, s, &c);
    }
}

static heed_status backward_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    const heed_attention_arrays *a = j->arrays;
    struct pair pair = pair_of(j, task), *p = &pair;
    const struct hd_sequence *q = &p->seq;
    struct scratch s;
    scratch_cut(j, true, j->workers + (size_t)worker * j->worker_bytes, &s);
    memset(s.state, 0, (size_t)((j->E + 1) * j->deep) * j->item);
    memset(s.back, 0, (size_t)((j->E + 1) * j->deep) * j->item);
    /* Keys that are seen by nobody, and queries that see nothing. */
    int64_t seen = q->T ? q->visible : 0;
    if (!a->accumulate) {
        hd_clear_rows(at(j, rows_of(j, p, a->dk, j->k, p->g), seen * j->k.row), j->item, j->k.row,
                      q->S - seen, j->D);
        hd_clear_rows(at(j, rows_of(j, p, a->dv, j->v, p->g), seen * j->v.row), j->item, j->v.row,
                      q->S - seen, j->E);
        EACH_HEAD(h)
            hd_clear_rows(rows_of(j, p, a->dq, j->q, h), j->item, j->q.row, blind(j, p), j->D);
    }
    if (q->T == 0)
        return HEED_OK;
    if (j->opts->causal)
        backward_causal(j, p, &s);
    else
        backward_full(j, p, &s);
    return HEED_OK;
}

static heed_status run(heed_pool *pool, const heed_attention_opts *opts,
                       const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    struct scratch s;
    void *heap;
    job_init(&j, opts, arrays);
    j.worker_bytes = scratch_cut(&j, backward, NULL, &s);
    HD_TRY(hd_scratch_take(arrays, scratch_need(&j, pool, backward), &j.workers, &heap));
    heed_status status = hd_pool_run(pool, arrays->B * j.kv_heads,
                                     backward ? backward_task : forward_task, &j);
    hd_free(heap);
    return status;
}

heed_status hd_linear_forward(heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, false);
}

heed_status hd_linear_backward(heed_pool *pool, const heed_attention_opts *opts,
                               const heed_attention_arrays *arrays)
{
    return run(pool, opts, arrays, true);
}

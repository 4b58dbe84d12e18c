/* SPDX-License-Identifier: Apache-2.0
 *
 * Full-softmax cross-entropy fused with the output product: the dearest operation of training a
 * sequence recommender, three products of rows x catalogue x width.
 *
 * Loss and gradients are made in one pass, forward, because the gradient of a loss is one number that
 * backward only has to multiply in. Rows are taken in blocks, the catalogue in chunks:
 *
 *      for each block of rows
 *          for each chunk of items
 *              L  = X E^T                     a block of logits that stays in the second cache
 *              P  = exp(L - ref)              ref follows the rows' maxima (softmax_step)
 *              dX = factor dX + P E
 *          for each chunk of items
 *              dE += P^T (X / sum, brought to the chunk's ref)
 *
 * so the N x V logits are never stored, only one block's P. The parts of the gradient that have the
 * form of a single item or of a constant, the label's -1 and the smoothing's -eps / V, are added in
 * the element type, apart from the products: these then see positive numbers only, which is what
 * makes bfloat16 good enough for them.
 *
 * Source  online softmax: Milakov, Gimelshein 2018, "Online normalizer calculation for softmax";
 *         never storing the logits: Wijmans et al. 2024, "Cut your losses in large-vocabulary language
 *         models"; label smoothing: Szegedy et al. 2016, section 7. */
#include "nn/cross_entropy.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    BLOCK = 144,     /* rows: a multiple of the tiles' 12; see bench/kernel for the alternatives */
    CHUNK = 480,     /* items: a multiple of 12 and of 32 */
    PAD = 16,        /* elements after a row of CHUNK, so that rows do not fall on the same cache set */
    PART_ROWS = 2016, /* rows whose dE is summed by one task: a pass of training is one */
    PARTS_MAX = 8,
};

static const double LN2 = 0.69314718055994530942;

/* What is made once for a call and shared by all blocks. */
struct shared {
    const struct hd_cross_entropy *ce;
    int64_t chunks;
    char *packed_t, *packed; /* E^T and E, chunk by chunk, packed_t_bytes and packed_bytes apart */
    size_t packed_t_bytes, packed_bytes;
    void *mean_item; /* (C): the sum of the items that are not excluded, / items */
    double items;
    int64_t parts, part_rows;
    struct part *part;
};

/* One task: some rows, their share of the loss and of dE, and the scratch of a block. */
struct part {
    int64_t row, rows;
    double loss;
    void *dtable;
    void *x;                   /* (BLOCK, C): scale x */
    uint16_t *x16;             /* the same, (BLOCK, 2 pairs(C)) */
    void *dx;                  /* (BLOCK, C) */
    void *xs, *xs_packed;      /* x brought to a chunk's ref and divided by the sum */
    void *p;                   /* (BLOCK, V): P, exact; or (BLOCK, CHUNK + PAD): a chunk of logits */
    uint32_t *along, *across;  /* P in bfloat16: of a chunk, of all chunks */
    double *ref, *sum, *label; /* BLOCK each; in bfloat16 ref and sum are the float rows below */
    float *ref32, *sum32, *factor;
    double *chunk_ref;  /* (chunks, BLOCK) */
    bool *chunk_moved;  /* chunks: some ref differs from the chunk before */
    void *x_sum;        /* (C): sum of the rows of x, for smoothing */
};

static inline char *at(const void *base, size_t item, int64_t index)
{
    return (char *)base + (int64_t)item * index;
}

static inline double number(const void *base, size_t item, int64_t i)
{
    return item == sizeof(float) ? (double)((const float *)base)[i] : ((const double *)base)[i];
}

static inline void set_number(void *base, size_t item, int64_t i, double value)
{
    if (item == sizeof(float))
        ((float *)base)[i] = (float)value;
    else
        ((double *)base)[i] = value;
}

static int64_t chunk_items(const struct shared *sh, int64_t q)
{
    int64_t left = sh->ce->V - q * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

static void *p_chunk(const struct shared *sh, const struct part *pt, int64_t q, int64_t *stride)
{
    if (sh->ce->bf16) {
        *stride = CHUNK + PAD;
        return pt->p;
    }
    *stride = sh->ce->V + PAD;
    return at(pt->p, sh->ce->k->item_bytes, q * CHUNK);
}

static uint32_t *across_chunk(const struct part *pt, int64_t q)
{
    return pt->across + q * (BLOCK / 2) * (CHUNK + PAD);
}

/* Rows of x, scaled, into the block. */
static void gather(const struct shared *sh, struct part *pt, int64_t row, int64_t M)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes, C = (size_t)ce->C, pairs = (C + 1) / 2;
    for (int64_t i = 0; i < M; i++) {
        int64_t source = ce->rows ? ce->rows[row + i] : row + i;
        void *to = at(pt->x, item, i * ce->C);
        ce->k->scale(to, ce->scale, at(ce->x, item, source * ce->x_row), C);
        if (ce->bf16) {
            uint16_t *to16 = pt->x16 + 2 * pairs * (size_t)i;
            to16[2 * pairs - 1] = 0;
            ce->bf16->from_f32(to16, to, C);
        }
        pt->ref[i] = -(double)INFINITY, pt->sum[i] = 0;
        pt->ref32[i] = -INFINITY, pt->sum32[i] = 0;
    }
}

static void logits(const struct shared *sh, struct part *pt, int64_t row, int64_t M, int64_t q)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes;
    int64_t n = chunk_items(sh, q), stride, pairs = (ce->C + 1) / 2, first = q * CHUNK;
    void *l = p_chunk(sh, pt, q, &stride);
    const void *packed = sh->packed_t + (size_t)q * sh->packed_t_bytes;

    if (ce->bf16)
        ce->bf16->gemm(&(struct hd_gemm_bf16){M, n, ce->C, (const uint32_t *)(void *)pt->x16, pairs,
                                              1, packed, l, stride, false});
    else
        ce->k->gemm(&(struct hd_gemm){M, n, ce->C, pt->x, ce->C, 1, packed, l, stride, false});
    for (int64_t i = 0; i < M; i++) {
        int64_t j = ce->labels[row + i] - first;
        if (j >= 0 && j < n)
            pt->label[i] = number(l, item, i * stride + j);
    }
    for (int64_t e = 0; e < ce->excluded_count; e++) {
        int64_t j = ce->excluded[e] - first;
        for (int64_t i = 0; j >= 0 && j < n && i < M; i++)
            set_number(l, item, i * stride + j, -(double)INFINITY);
    }
}

/* L to P, and dX brought to the refs of this chunk. */
static void softmax(const struct shared *sh, struct part *pt, int64_t M, int64_t q)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes;
    int64_t n = chunk_items(sh, q), stride;
    void *l = p_chunk(sh, pt, q, &stride);
    double *chunk_ref = pt->chunk_ref + q * BLOCK;

    pt->chunk_moved[q] = false;
    if (ce->bf16)
        ce->bf16->softmax_block(&(struct hd_softmax_block){
            M, n, l, stride, pt->ref32, pt->sum32, pt->factor, ce->dx ? pt->along : NULL,
            ce->dtable ? across_chunk(pt, q) : NULL, (CHUNK + PAD) / 2, CHUNK + PAD});
    for (int64_t i = 0; i < M; i++) {
        double factor = ce->bf16 ? (double)pt->factor[i]
                                 : ce->k->softmax_step(at(l, item, i * stride), (size_t)n,
                                                       &pt->ref[i], &pt->sum[i]);
        chunk_ref[i] = ce->bf16 ? (double)pt->ref32[i] : pt->ref[i];
        if (factor == 1)
            continue;
        pt->chunk_moved[q] = true;
        if (ce->dx && q > 0)
            ce->k->scale(at(pt->dx, item, i * ce->C), factor, at(pt->dx, item, i * ce->C),
                         (size_t)ce->C);
    }
}

/* dX (M, C) = or += P (M, n) E (n, C) */
static void add_dx(const struct shared *sh, struct part *pt, int64_t M, int64_t q)
{
    const struct hd_cross_entropy *ce = sh->ce;
    int64_t n = chunk_items(sh, q), stride;
    const void *packed = sh->packed + (size_t)q * sh->packed_bytes;

    if (ce->bf16) {
        ce->bf16->gemm(&(struct hd_gemm_bf16){M, ce->C, n, pt->along, (CHUNK + PAD) / 2, 1, packed,
                                              pt->dx, ce->C, q > 0});
    } else {
        const void *p = p_chunk(sh, pt, q, &stride);
        ce->k->gemm(&(struct hd_gemm){M, ce->C, n, p, stride, 1, packed, pt->dx, ce->C, q > 0});
    }
}

/* dE (n, C) += P^T (n, M) X (M, C), X's row i times weight exp(chunk's ref - ref) / sum. */
static void add_dtable(const struct shared *sh, struct part *pt, int64_t M, bool more)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes;

    for (int64_t q = sh->chunks - 1; q >= 0; q--) {
        int64_t n = chunk_items(sh, q), stride;
        void *c = at(pt->dtable, item, q * CHUNK * ce->C);
        if (q == sh->chunks - 1 || pt->chunk_moved[q + 1]) {
            for (int64_t i = 0; i < M; i++) {
                double behind = pt->chunk_ref[q * BLOCK + i] - pt->ref[i];
                double a = ce->weight / pt->sum[i] * (ce->bf16 ? exp2(behind) : exp(behind));
                ce->k->scale(at(pt->xs, item, i * ce->C), a, at(pt->x, item, i * ce->C),
                             (size_t)ce->C);
            }
            if (ce->bf16)
                ce->bf16->pack(pt->xs_packed, pt->xs, ce->C, 1, M, ce->C);
            else
                ce->k->gemm_pack(pt->xs_packed, pt->xs, ce->C, 1, M, ce->C);
        }
        if (ce->bf16) {
            ce->bf16->gemm(&(struct hd_gemm_bf16){n, ce->C, M, across_chunk(pt, q), 1, CHUNK + PAD,
                                                  pt->xs_packed, c, ce->C, more});
        } else {
            const void *p = p_chunk(sh, pt, q, &stride);
            ce->k->gemm(&(struct hd_gemm){n, ce->C, M, p, 1, stride, pt->xs_packed, c, ce->C, more});
        }
    }
}

/* The block's loss, the division of dX by the sums, and the label's and the smoothing's parts. */
static void finish_rows(const struct shared *sh, struct part *pt, int64_t row, int64_t M)
{
    const struct hd_cross_entropy *ce = sh->ce;
    const struct hd_kernels *k = ce->k;
    size_t item = k->item_bytes, C = (size_t)ce->C;
    double hit = 1 - ce->smoothing;

    for (int64_t i = 0; i < M; i++) {
        const void *x = at(pt->x, item, i * ce->C);
        int64_t label = ce->labels[row + i];
        double miss = ce->smoothing > 0 ? ce->smoothing * k->dot(x, sh->mean_item, C) : 0;
        double log_sum = pt->ref[i] * (ce->bf16 ? LN2 : 1) + log(pt->sum[i]);
        pt->loss += ce->weight * (log_sum - hit * pt->label[i] - miss);
        if (ce->dx) {
            void *dx = at(ce->dx, item, (row + i) * ce->C);
            double a = ce->weight * ce->scale;
            k->scale(dx, a / pt->sum[i], at(pt->dx, item, i * ce->C), C);
            k->axpy(dx, -a * hit, at(ce->table, item, label * ce->table_row), C);
            if (ce->smoothing > 0)
                k->axpy(dx, -a * ce->smoothing, sh->mean_item, C);
        }
        if (ce->dtable)
            k->axpy(at(pt->dtable, item, label * ce->C), -ce->weight * hit, x, C);
        if (ce->dtable && ce->smoothing > 0)
            k->axpy(pt->x_sum, ce->weight, x, C);
    }
}

static void spread_smoothing(const struct shared *sh, struct part *pt)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes;
    for (int64_t v = 0, e = 0; v < ce->V; v++) {
        if (e < ce->excluded_count && ce->excluded[e] == v)
            e++;
        else
            ce->k->axpy(at(pt->dtable, item, v * ce->C), -ce->smoothing / sh->items, pt->x_sum,
                        (size_t)ce->C);
    }
}

static heed_status run_part(void *arg, int64_t task, int worker)
{
    const struct shared *sh = arg;
    const struct hd_cross_entropy *ce = sh->ce;
    struct part *pt = sh->part + task;
    (void)worker;

    pt->loss = 0;
    if (ce->dtable && ce->smoothing > 0)
        ce->k->fill(pt->x_sum, 0, (size_t)ce->C);
    for (int64_t r = 0; r < pt->rows; r += BLOCK) {
        int64_t row = pt->row + r, M = pt->rows - r < BLOCK ? pt->rows - r : BLOCK;
        gather(sh, pt, row, M);
        for (int64_t q = 0; q < sh->chunks; q++) {
            logits(sh, pt, row, M, q);
            softmax(sh, pt, M, q);
            if (ce->dx)
                add_dx(sh, pt, M, q);
        }
        for (int64_t i = 0; ce->bf16 && i < M; i++)
            pt->ref[i] = (double)pt->ref32[i], pt->sum[i] = (double)pt->sum32[i];
        if (ce->dtable)
            add_dtable(sh, pt, M, r > 0);
        finish_rows(sh, pt, row, M);
    }
    if (ce->dtable && ce->smoothing > 0)
        spread_smoothing(sh, pt);
    return HEED_OK;
}

/* The table, packed for both products, and the mean item. */
static heed_status pack_table(struct shared *sh, hd_arena *scratch)
{
    const struct hd_cross_entropy *ce = sh->ce;
    const struct hd_kernels *k = ce->k;
    const struct hd_kernels_bf16 *bf = ce->bf16;
    size_t item = k->item_bytes;

    sh->packed_t_bytes = bf ? bf->pack_bytes(ce->C, CHUNK) : k->gemm_pack_bytes(ce->C, CHUNK);
    sh->packed_bytes = bf ? bf->pack_bytes(CHUNK, ce->C) : k->gemm_pack_bytes(CHUNK, ce->C);
    sh->packed_t_bytes = (sh->packed_t_bytes + 63) / 64 * 64;
    sh->packed_bytes = (sh->packed_bytes + 63) / 64 * 64;
    sh->packed_t = hd_arena_alloc(scratch, (size_t)sh->chunks, sh->packed_t_bytes);
    sh->packed = hd_arena_alloc(scratch, ce->dx ? (size_t)sh->chunks : 0, sh->packed_bytes);
    sh->mean_item = hd_arena_zalloc(scratch, (size_t)ce->C, item);
    if (!sh->packed_t || !sh->packed || !sh->mean_item)
        return hd_fail(HEED_E_NOMEM, "cross entropy: no room for a table of %lld rows",
                       (long long)ce->V);
    for (int64_t q = 0; q < sh->chunks; q++) {
        const void *e = at(ce->table, item, q * CHUNK * ce->table_row);
        void *t = sh->packed_t + (size_t)q * sh->packed_t_bytes;
        void *p = sh->packed + (size_t)q * sh->packed_bytes;
        int64_t n = chunk_items(sh, q);
        if (bf)
            bf->pack(t, e, 1, ce->table_row, ce->C, n);
        else
            k->gemm_pack(t, e, 1, ce->table_row, ce->C, n);
        if (ce->dx && bf)
            bf->pack(p, e, ce->table_row, 1, n, ce->C);
        else if (ce->dx)
            k->gemm_pack(p, e, ce->table_row, 1, n, ce->C);
    }
    sh->items = (double)(ce->V - ce->excluded_count);
    for (int64_t v = 0, e = 0; ce->smoothing > 0 && v < ce->V; v++) {
        if (e < ce->excluded_count && ce->excluded[e] == v)
            e++;
        else
            k->axpy(sh->mean_item, 1 / sh->items, at(ce->table, item, v * ce->table_row),
                    (size_t)ce->C);
    }
    return HEED_OK;
}

static heed_status new_scratch(const struct shared *sh, hd_arena *scratch, struct part *pt)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes, C = (size_t)ce->C, chunks = (size_t)sh->chunks;
    size_t p_cols = ce->bf16 ? CHUNK + PAD : (size_t)ce->V + PAD;
    size_t packed = ce->bf16 ? ce->bf16->pack_bytes(BLOCK, ce->C)
                             : ce->k->gemm_pack_bytes(BLOCK, ce->C);
#define TAKE(field, count, size)                                                                   \
    do {                                                                                           \
        if (!(pt->field = hd_arena_alloc(scratch, count, size)))                                   \
            return hd_fail(HEED_E_NOMEM, "cross entropy: no room for a block of %d rows", BLOCK);  \
    } while (0)
    TAKE(x, BLOCK * C, item);
    TAKE(x16, ce->bf16 ? BLOCK * (C + 1) : 0, 2);
    TAKE(dx, BLOCK * C, item);
    TAKE(xs, BLOCK * C, item);
    TAKE(xs_packed, packed, 1);
    TAKE(p, BLOCK * p_cols, item);
    TAKE(along, ce->bf16 ? BLOCK * (CHUNK + PAD) / 2 : 0, 4);
    TAKE(across, ce->bf16 && ce->dtable ? chunks * (BLOCK / 2) * (CHUNK + PAD) : 0, 4);
    TAKE(ref, BLOCK, sizeof(double));
    TAKE(sum, BLOCK, sizeof(double));
    TAKE(label, BLOCK, sizeof(double));
    TAKE(ref32, BLOCK, sizeof(float));
    TAKE(sum32, BLOCK, sizeof(float));
    TAKE(factor, BLOCK, sizeof(float));
    TAKE(chunk_ref, chunks * BLOCK, sizeof(double));
    TAKE(chunk_moved, chunks, sizeof(bool));
    TAKE(x_sum, C, item);
#undef TAKE
    return HEED_OK;
}

/* Parts of PART_ROWS rows, more where there would be too many; each has a dE of its own but the
 * first, and they are added in order. On one thread they take turns with one scratch and two dE. */
static heed_status run_parts(struct shared *sh, hd_arena *scratch, heed_pool *pool, double *loss)
{
    const struct hd_cross_entropy *ce = sh->ce;
    size_t item = ce->k->item_bytes, elements = (size_t)(ce->V * ce->C);
    bool turns = heed_pool_threads(pool) == 1;
    void *other = NULL;

    for (int64_t p = 0; p < sh->parts; p++) {
        struct part *pt = sh->part + p;
        if (p > 0 && turns)
            *pt = sh->part[0];
        else
            HD_TRY(new_scratch(sh, scratch, pt));
        pt->row = p * sh->part_rows;
        pt->rows = ce->N - pt->row < sh->part_rows ? ce->N - pt->row : sh->part_rows;
        if (ce->dtable && p > 0 && (p == 1 || !turns))
            if (!(other = hd_arena_alloc(scratch, elements, item)))
                return hd_fail(HEED_E_NOMEM, "cross entropy: no room for a gradient of (%lld, %lld)",
                               (long long)ce->V, (long long)ce->C);
        pt->dtable = p > 0 ? other : ce->dtable;
    }
    if (!turns)
        HD_TRY(hd_pool_run(pool, sh->parts, run_part, sh));
    *loss = 0;
    for (int64_t p = 0; p < sh->parts; p++) {
        if (turns)
            HD_TRY(run_part(sh, p, 0));
        if (ce->dtable && p > 0)
            ce->k->add(ce->dtable, ce->dtable, sh->part[p].dtable, elements);
        *loss += sh->part[p].loss;
    }
    return HEED_OK;
}

heed_status hd_cross_entropy(const struct hd_cross_entropy *ce, hd_arena *scratch, heed_pool *pool,
                             double *loss)
{
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    struct shared sh = {.ce = ce, .chunks = (ce->V + CHUNK - 1) / CHUNK};
    heed_status status;

    assert(!ce->bf16 || ce->k->item_bytes == sizeof(float));
    *loss = 0;
    if (ce->N == 0) {
        if (ce->dtable)
            ce->k->fill(ce->dtable, 0, (size_t)(ce->V * ce->C));
        return HEED_OK;
    }
    sh.parts = (ce->N + PART_ROWS - 1) / PART_ROWS;
    if (sh.parts > PARTS_MAX)
        sh.parts = PARTS_MAX;
    sh.part_rows = ((ce->N + sh.parts - 1) / sh.parts + BLOCK - 1) / BLOCK * BLOCK;
    sh.parts = (ce->N + sh.part_rows - 1) / sh.part_rows;
    sh.part = hd_arena_alloc(scratch, (size_t)sh.parts, sizeof *sh.part);
    if (!sh.part)
        status = hd_fail(HEED_E_NOMEM, "cross entropy: no room for its parts");
    else if ((status = pack_table(&sh, scratch)) == HEED_OK)
        status = run_parts(&sh, scratch, pool, loss);
    hd_arena_release(scratch, mark);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products over the pool. How a product is cut depends on its shape alone:
 *
 *     rows   blocks of ROWS_GRAIN rows of C, each a task, all against one packed B;
 *     sums   a K above SUM_GRAIN is cut into slices whose products are made apart and added in
 *            order: the gradient of a weight sums over all rows of a batch, but C itself is small;
 *            Where both factors lie along that K, in rows of few columns, B is read as it lies;
 *     dots   up to DOT_ROWS rows of A: packing B would cost more than the product.
 *
 * Where the tape allows bfloat16 the first two are made of factors rounded to it, block by block in a
 * worker's scratch: rows of A in pairs along them, or, for sums, pairs of rows woven together.
 */
#include "tensor/tape.h"

#include <string.h>

#define ROWS_GRAIN INT64_C(192)  /* a block of A and of C stays in a core's second cache */
#define SUM_GRAIN INT64_C(4096)  /* so that a micro-batch of training is one slice */
#define DIRECT_COLS INT64_C(256) /* beyond, rows of B are too far apart to be read as they lie */
#define DOT_ROWS INT64_C(2)
#define DOT_GRAIN INT64_C(1024) /* columns of C a task makes of dots */
#define PAIR_GRAIN INT64_C(192)  /* rows woven and packed at a time: both lie in the second cache */
#define BF16_LEAST INT64_C(16)   /* below, in any direction, rounding costs more than it saves */

struct job {
    const struct hd_kernels *k;
    struct hd_matmul m;
    void *packed; /* of slice s at s * packed_bytes; NULL: B is read as it lies */
    size_t packed_bytes;
    char *parts; /* C of slice s, rows of N, or NULL: there is one slice */
    int64_t blocks, slices;
    const struct hd_kernels_bf16 *bf16; /* NULL: exact */
    char *workers;                      /* scratch, worker_bytes for each */
    size_t worker_bytes;
};

/* What of C, and of the sums, a task makes. */
struct share {
    int64_t i, rows, slice, k, sums;
    void *c;
    int64_t c_row;
    bool accumulate;
    const void *bias, *add;
};

static struct share share_of(const struct job *job, int64_t task)
{
    const struct hd_matmul *m = &job->m;
    size_t item = job->k->item_bytes;
    struct share s = {.slice = task / job->blocks, .i = task % job->blocks * ROWS_GRAIN};

    s.k = s.slice * SUM_GRAIN;
    s.rows = m->M - s.i < ROWS_GRAIN ? m->M - s.i : ROWS_GRAIN;
    s.sums = job->slices == 1 || m->K - s.k < SUM_GRAIN ? m->K - s.k : SUM_GRAIN;
    if (job->parts) {
        s.c = hd_at(job->parts, item, (s.slice * m->M + s.i) * m->N);
        s.c_row = m->N;
    } else {
        s.c = hd_at(m->c, item, s.i * m->c_row);
        s.c_row = m->c_row;
        s.accumulate = m->accumulate;
        s.bias = m->bias;
        s.add = m->add ? hd_at(m->add, item, s.i * m->add_row) : NULL;
    }
    return s;
}

/* What is added to the product is where its sums start. Returns whether the product has to be added
 * to that. */
static bool start_sums(const struct job *job, const struct share *s)
{
    const struct hd_kernels *k = job->k;
    size_t N = (size_t)job->m.N;

    for (int64_t i = 0; (s->bias || s->add) && i < s->rows; i++) {
        void *row = hd_at(s->c, k->item_bytes, i * s->c_row);
        bool own = s->accumulate || !s->add;
        const void *add = own ? row : hd_at(s->add, k->item_bytes, i * job->m.add_row);
        if (!s->bias)
            k->scale(row, 1, add, N);
        else if (s->accumulate || s->add)
            k->add(row, add, s->bias, N);
        else
            k->scale(row, 1, s->bias, N);
    }
    return s->accumulate || s->bias || s->add;
}

/* One block of rows of one slice. */
static heed_status block_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    size_t item = job->k->item_bytes;
    struct share s = share_of(job, task);
    struct hd_gemm g = {.M = s.rows,
                        .N = m->N,
                        .K = s.sums,
                        .a = hd_at(m->a, item, s.i * m->a_row + s.k * m->a_col),
                        .a_row = m->a_row,
                        .a_col = m->a_col,
                        .c = s.c,
                        .c_row = s.c_row,
                        .accumulate = s.accumulate,
                        .bias = s.bias};
    (void)worker;
    if (s.add)
        g.accumulate = start_sums(job, &s), g.bias = NULL;
    if (job->packed) {
        g.b = (char *)job->packed + (size_t)s.slice * job->packed_bytes;
    } else {
        g.b = hd_at(m->b, item, s.k * m->b_row);
        g.b_row = m->b_row;
    }
    job->k->gemm(&g);
    return HEED_OK;
}

/* ---- bfloat16 */

/* One block of rows of A, which lie along K. */
static heed_status bf16_rows_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    const struct hd_kernels_bf16 *bf = job->bf16;
    struct share s = share_of(job, task);
    int64_t pairs = (m->K + 1) / 2;
    uint16_t *a = (void *)(job->workers + (size_t)worker * job->worker_bytes);

    for (int64_t i = 0; i < s.rows; i++) {
        uint16_t *row = a + i * 2 * pairs;
        row[2 * pairs - 1] = 0;
        bf->from_f32(row, hd_at(m->a, sizeof(float), (s.i + i) * m->a_row), (size_t)m->K);
    }
    bf->gemm(&(struct hd_gemm_bf16){s.rows, m->N, m->K, (uint32_t *)(void *)a, pairs, 1, job->packed,
                                    s.c, s.c_row, start_sums(job, &s)});
    return HEED_OK;
}

/* One block of rows of one slice, where A lies across K: two factors, PAIR_GRAIN rows at a time. */
static heed_status bf16_sums_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    const struct hd_kernels_bf16 *bf = job->bf16;
    struct share s = share_of(job, task);
    char *scratch = job->workers + (size_t)worker * job->worker_bytes;
    uint32_t *a = (void *)(scratch + job->packed_bytes);
    bool accumulate = start_sums(job, &s);

    for (int64_t k = 0; k < s.sums; k += PAIR_GRAIN, accumulate = true) {
        int64_t depth = s.sums - k < PAIR_GRAIN ? s.sums - k : PAIR_GRAIN;
        for (int64_t i = 0; i < depth; i += 2) {
            const float *row = hd_at(m->a, sizeof(float), s.i + (s.k + k + i) * m->a_col);
            bf->weave(a + i / 2 * s.rows, row, i + 1 < depth ? row + m->a_col : NULL,
                      (size_t)s.rows);
        }
        bf->pack(scratch, hd_at(m->b, sizeof(float), (s.k + k) * m->b_row), m->b_row, m->b_col,
                 depth, m->N);
        bf->gemm(&(struct hd_gemm_bf16){s.rows, m->N, depth, a, 1, s.rows, scratch, s.c, s.c_row,
                                        accumulate});
    }
    return HEED_OK;
}

static bool suits_bf16(heed_tape *tape, const struct hd_kernels *k, const struct hd_matmul *m)
{
    return hd_tape_bf16(tape) && hd_kernels_bf16()->fast && k->item_bytes == sizeof(float) &&
           m->M >= BF16_LEAST && m->N >= BF16_LEAST && m->K >= BF16_LEAST &&
           (m->a_col == 1 || m->a_row == 1);
}

static size_t lines(size_t bytes)
{
    return (bytes + HD_ARENA_ALIGN - 1) & ~(size_t)(HD_ARENA_ALIGN - 1);
}

static heed_status matmul_bf16(heed_tape *tape, struct job *job)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    heed_pool *pool = hd_tape_pool(tape);
    const struct hd_matmul *m = &job->m;
    const struct hd_kernels_bf16 *bf = job->bf16;
    bool along = m->a_col == 1;
    int64_t block = m->M < ROWS_GRAIN ? m->M : ROWS_GRAIN;
    int64_t depth = along ? m->K : m->K < PAIR_GRAIN ? m->K : PAIR_GRAIN;

    job->slices = along ? 1 : (m->K + SUM_GRAIN - 1) / SUM_GRAIN;
    job->packed_bytes = lines(bf->pack_bytes(depth, m->N));
    job->worker_bytes = lines((size_t)((depth + 1) / 2 * block) * sizeof(uint32_t)) +
                        (along ? 0 : job->packed_bytes);
    job->workers = hd_arena_alloc(scratch, (size_t)heed_pool_threads(pool), job->worker_bytes);
    job->packed = hd_arena_alloc(scratch, along, job->packed_bytes);
    if (job->slices > 1)
        job->parts = hd_arena_alloc(scratch, (size_t)(job->slices * m->M),
                                    (size_t)m->N * sizeof(float));
    if (!job->workers || !job->packed || (job->slices > 1 && !job->parts))
        return hd_fail(HEED_E_NOMEM, "matmul: no memory for packing");
    if (along)
        bf->pack(job->packed, m->b, m->b_row, m->b_col, m->K, m->N);
    return hd_pool_run(pool, job->blocks * job->slices, along ? bf16_rows_task : bf16_sums_task,
                       job);
}

/* ---- exact */

static heed_status pack_task(void *arg, int64_t slice, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    int64_t k = slice * SUM_GRAIN, sums = m->K - k < SUM_GRAIN ? m->K - k : SUM_GRAIN;

    (void)worker;
    job->k->gemm_pack((char *)job->packed + (size_t)slice * job->packed_bytes,
                      hd_at(m->b, job->k->item_bytes, k * m->b_row), m->b_row, m->b_col, sums,
                      m->N);
    return HEED_OK;
}

static heed_status dots_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    const struct hd_kernels *k = job->k;
    int64_t from = task * DOT_GRAIN, to = from + DOT_GRAIN < m->N ? from + DOT_GRAIN : m->N;

    (void)worker;
    for (int64_t i = 0; i < m->M; i++) {
        const void *a = hd_at(m->a, k->item_bytes, i * m->a_row);
        const void *add = m->add ? hd_at(m->add, k->item_bytes, i * m->add_row) : NULL;
        void *c = hd_at(m->c, k->item_bytes, i * m->c_row);
        for (int64_t j = from; j < to; j++) {
            double sum = k->dot(a, hd_at(m->b, k->item_bytes, j * m->b_col), (size_t)m->K);
            if (k->item_bytes == sizeof(float)) {
                float bias = m->bias ? ((const float *)m->bias)[j] : 0.0F;
                bias += add ? ((const float *)add)[j] : 0.0F;
                ((float *)c)[j] = (m->accumulate ? ((float *)c)[j] : 0.0F) + ((float)sum + bias);
            } else {
                double bias = m->bias ? ((const double *)m->bias)[j] : 0.0;
                bias += add ? ((const double *)add)[j] : 0.0;
                ((double *)c)[j] = (m->accumulate ? ((double *)c)[j] : 0.0) + (sum + bias);
            }
        }
    }
    return HEED_OK;
}

/* C = or += the sum of the slices' products, first to last. */
static void add_parts(const struct job *job)
{
    const struct hd_matmul *m = &job->m;
    size_t item = job->k->item_bytes, row_bytes = (size_t)m->N * item;

    for (int64_t i = 0; i < m->M; i++) {
        void *c = hd_at(m->c, item, i * m->c_row);
        for (int64_t s = 0; s < job->slices; s++) {
            const void *part = hd_at(job->parts, item, (s * m->M + i) * m->N);
            if (s == 0 && !m->accumulate)
                memcpy(c, part, row_bytes);
            else
                job->k->add(c, c, part, (size_t)m->N);
        }
        if (m->bias)
            job->k->add(c, c, m->bias, (size_t)m->N);
        if (m->add)
            job->k->add(c, c, hd_at(m->add, item, i * m->add_row), (size_t)m->N);
    }
}

static bool is_direct(const struct hd_kernels *k, const struct hd_matmul *m)
{
    return m->a_row == 1 && m->b_col == 1 && m->N <= DIRECT_COLS && m->M <= DIRECT_COLS &&
           m->N % k->gemm_columns == 0 && m->b_row > 0;
}

static heed_status matmul_exact(heed_tape *tape, struct job *job)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    heed_pool *pool = hd_tape_pool(tape);
    const struct hd_kernels *k = job->k;
    const struct hd_matmul *m = &job->m;
    bool direct = is_direct(k, m);

    job->slices = m->K > SUM_GRAIN ? (m->K + SUM_GRAIN - 1) / SUM_GRAIN : 1;
    job->packed_bytes = lines(k->gemm_pack_bytes(m->K < SUM_GRAIN ? m->K : SUM_GRAIN, m->N));
    if (!direct)
        job->packed = hd_arena_alloc(scratch, (size_t)job->slices, job->packed_bytes);
    if (job->slices > 1)
        job->parts =
            hd_arena_alloc(scratch, (size_t)(job->slices * m->M), (size_t)m->N * k->item_bytes);
    if ((!direct && !job->packed) || (job->slices > 1 && !job->parts))
        return hd_fail(HEED_E_NOMEM, "matmul: no memory for packing");
    if (!direct)
        HD_TRY(hd_pool_run(pool, job->slices, pack_task, job));
    return hd_pool_run(pool, job->blocks * job->slices, block_task, job);
}

heed_status hd_matmul(heed_tape *tape, const struct hd_kernels *k, const struct hd_matmul *m)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    struct job job = {.k = k, .m = *m, .blocks = (m->M + ROWS_GRAIN - 1) / ROWS_GRAIN};

    if (m->M == 0 || m->N == 0)
        return HEED_OK;
    if (m->M <= DOT_ROWS && m->b_row == 1 && m->a_col == 1 && m->K > 0)
        return hd_pool_run(hd_tape_pool(tape), (m->N + DOT_GRAIN - 1) / DOT_GRAIN, dots_task, &job);

    struct hd_arena_mark mark = hd_arena_mark(scratch);
    job.bf16 = suits_bf16(tape, k, m) ? hd_kernels_bf16() : NULL;
    heed_status status = job.bf16 ? matmul_bf16(tape, &job) : matmul_exact(tape, &job);
    if (status == HEED_OK && job.parts)
        add_parts(&job);
    hd_arena_release(scratch, mark);
    return status;
}

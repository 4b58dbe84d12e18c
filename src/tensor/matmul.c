/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products over the pool. How a product is cut depends on its shape alone:
 *
 *     rows   blocks of ROWS_GRAIN rows of C, each a task, all against one packed B;
 *     sums   a K above SUM_GRAIN is cut into slices whose products are made apart and added in
 *            order: the gradient of a weight sums over all rows of a batch, but C itself is small;
 *            Where both factors lie along that K, in rows of few columns, B is read as it lies;
 *     dots   up to DOT_ROWS rows of A: packing B would cost more than the product.
 */
#include "tensor/tape.h"

#include <string.h>

#define ROWS_GRAIN INT64_C(192)  /* a block of A and of C stays in a core's second cache */
#define SUM_GRAIN INT64_C(4096)  /* so that a micro-batch of training is one slice */
#define DIRECT_COLS INT64_C(256) /* beyond, rows of B are too far apart to be read as they lie */
#define DOT_ROWS INT64_C(2)
#define DOT_GRAIN INT64_C(1024) /* columns of C a task makes of dots */

struct job {
    const struct hd_kernels *k;
    struct hd_matmul m;
    void *packed; /* of slice s at s * packed_bytes; NULL: B is read as it lies */
    size_t packed_bytes;
    char *parts; /* C of slice s, rows of N, or NULL: there is one slice */
    int64_t blocks, slices;
};

/* One block of rows of one slice. */
static heed_status block_task(void *arg, int64_t task, int worker)
{
    const struct job *job = arg;
    const struct hd_matmul *m = &job->m;
    size_t item = job->k->item_bytes;
    int64_t slice = task / job->blocks, block = task % job->blocks;
    int64_t i = block * ROWS_GRAIN, k = slice * SUM_GRAIN;
    int64_t rows = m->M - i < ROWS_GRAIN ? m->M - i : ROWS_GRAIN;
    int64_t sums = m->K - k < SUM_GRAIN ? m->K - k : SUM_GRAIN;
    struct hd_gemm g = {.M = rows,
                        .N = m->N,
                        .K = sums,
                        .a = hd_at(m->a, item, i * m->a_row + k * m->a_col),
                        .a_row = m->a_row,
                        .a_col = m->a_col};
    (void)worker;
    if (job->packed) {
        g.b = (char *)job->packed + (size_t)slice * job->packed_bytes;
    } else {
        g.b = hd_at(m->b, item, k * m->b_row);
        g.b_row = m->b_row;
    }
    if (job->parts) {
        g.c = hd_at(job->parts, item, (slice * m->M + i) * m->N);
        g.c_row = m->N;
    } else {
        g.c = hd_at(m->c, item, i * m->c_row);
        g.c_row = m->c_row;
        g.accumulate = m->accumulate;
        g.bias = m->bias;
    }
    job->k->gemm(&g);
    return HEED_OK;
}

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
        void *c = hd_at(m->c, k->item_bytes, i * m->c_row);
        for (int64_t j = from; j < to; j++) {
            double sum = k->dot(a, hd_at(m->b, k->item_bytes, j * m->b_col), (size_t)m->K);
            if (k->item_bytes == sizeof(float)) {
                float bias = m->bias ? ((const float *)m->bias)[j] : 0.0F;
                ((float *)c)[j] = (m->accumulate ? ((float *)c)[j] : 0.0F) + ((float)sum + bias);
            } else {
                double bias = m->bias ? ((const double *)m->bias)[j] : 0.0;
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
    }
}

static bool is_direct(const struct hd_kernels *k, const struct hd_matmul *m)
{
    return m->a_row == 1 && m->b_col == 1 && m->N <= DIRECT_COLS && m->M <= DIRECT_COLS &&
           m->N % k->gemm_columns == 0 && m->b_row > 0;
}

heed_status hd_matmul(heed_tape *tape, const struct hd_kernels *k, const struct hd_matmul *m)
{
    hd_arena *scratch = hd_tape_scratch(tape);
    heed_pool *pool = hd_tape_pool(tape);
    struct job job = {.k = k, .m = *m};

    if (m->M == 0 || m->N == 0)
        return HEED_OK;
    if (m->M <= DOT_ROWS && m->b_row == 1 && m->a_col == 1 && m->K > 0)
        return hd_pool_run(pool, (m->N + DOT_GRAIN - 1) / DOT_GRAIN, dots_task, &job);

    job.blocks = (m->M + ROWS_GRAIN - 1) / ROWS_GRAIN;
    job.slices = m->K > SUM_GRAIN ? (m->K + SUM_GRAIN - 1) / SUM_GRAIN : 1;
    job.packed_bytes = k->gemm_pack_bytes(m->K < SUM_GRAIN ? m->K : SUM_GRAIN, m->N);
    job.packed_bytes = (job.packed_bytes + HD_ARENA_ALIGN - 1) & ~(size_t)(HD_ARENA_ALIGN - 1);

    struct hd_arena_mark mark = hd_arena_mark(scratch);
    heed_status status = HEED_OK;
    bool direct = is_direct(k, m);
    if (!direct)
        job.packed = hd_arena_alloc(scratch, (size_t)job.slices, job.packed_bytes);
    if (job.slices > 1)
        job.parts =
            hd_arena_alloc(scratch, (size_t)(job.slices * m->M), (size_t)m->N * k->item_bytes);
    if ((!direct && !job.packed) || (job.slices > 1 && !job.parts))
        status = hd_fail(HEED_E_NOMEM, "matmul: no memory for packing");
    if (status == HEED_OK && !direct)
        status = hd_pool_run(pool, job.slices, pack_task, &job);
    if (status == HEED_OK)
        status = hd_pool_run(pool, job.blocks * job.slices, block_task, &job);
    if (status == HEED_OK && job.parts)
        add_parts(&job);
    hd_arena_release(scratch, mark);
    return status;
}

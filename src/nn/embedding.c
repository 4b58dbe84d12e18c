/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a table by their numbers. The backward adds to the rows that were looked up and to no
 * others, and marks them, so that a step over a large catalogue costs what it touched. */
#include "heed/nn.h"
#include "nn/rows.h"

#include <inttypes.h>
#include <string.h>

struct embedding_record {
    heed_tensor *table, *y;
    const int32_t *ids; /* a copy in the tape's arena */
    int64_t count;
    double scale;
};

static heed_status embedding_rows(void *arg, int64_t from, int64_t to, int64_t block)
{
    const struct embedding_record *rec = arg;
    const struct hd_kernels *k = hd_kernels_of(rec->table);
    int64_t C = rec->table->dim[1], stride = hd_row_stride(rec->table);

    (void)block;
    for (int64_t i = from; i < to; i++) {
        void *row = hd_at(rec->y->data, k->item_bytes, i * C);
        if (rec->ids[i] < 0)
            k->fill(row, 0, (size_t)C);
        else
            k->scale(row, rec->scale, hd_at(rec->table->data, k->item_bytes, rec->ids[i] * stride),
                     (size_t)C);
    }
    return HEED_OK;
}

/* dtable[ids[i]] += scale dy[i], on one thread: two places may name the same row. */
static heed_status embedding_backward(heed_tape *tape, void *record)
{
    const struct embedding_record *rec = record;
    const struct hd_kernels *k = hd_kernels_of(rec->table);
    int64_t C = rec->table->dim[1], stride = hd_row_stride(rec->table);
    const void *dy = hd_grad_got(rec->y);
    uint8_t *touched;
    void *grad;

    if (!dy)
        return HEED_OK;
    HD_TRY(hd_grad_rows(tape, rec->table, &grad, &touched));
    for (int64_t i = 0; grad && i < rec->count; i++) {
        int32_t id = rec->ids[i];
        if (id < 0)
            continue;
        k->axpy(hd_at(grad, k->item_bytes, id * stride), rec->scale,
                hd_at(dy, k->item_bytes, i * C), (size_t)C);
        if (touched)
            touched[id] = 1;
    }
    return HEED_OK;
}

/* out[i] = scale table[ids[i]]      table (V, C)   out (count, C) */
heed_status heed_embedding(heed_tape *tape, heed_tensor *table, const int32_t *ids, int64_t count,
                           double scale, heed_tensor **out)
{
    struct embedding_record rec = {.table = table, .count = count, .scale = scale};
    int32_t *copy;

    if (table->rank != 2)
        return hd_fail(HEED_E_SHAPE, "embedding: the table is %s, not (V, C)",
                       hd_shape_text(table));
    if (count < 0)
        return hd_fail(HEED_E_ARG, "embedding: %" PRId64 " ids", count);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < -1 || ids[i] >= table->dim[0])
            return hd_fail(HEED_E_RANGE,
                           "embedding: id %" PRId32 " at %" PRId64 " of a table of %" PRId64
                           " rows",
                           ids[i], i, table->dim[0]);
    HD_TRY(hd_tensor_new(tape, table->dtype, (int64_t[]){count, table->dim[1]}, 2, &rec.y));
    rec.ids = ids;
    HD_TRY(hd_rows_run(tape, count, table->dim[1], embedding_rows, &rec));
    if (hd_wants_grad(tape, table)) {
        copy = hd_arena_alloc(hd_tape_arena(tape), (size_t)count, sizeof *copy);
        if (!copy)
            return hd_fail(HEED_E_NOMEM, "embedding: no memory for %" PRId64 " ids", count);
        if (count > 0)
            memcpy(copy, ids, (size_t)count * sizeof *copy);
        rec.ids = copy;
        rec.y->wants_grad = true;
        HD_TRY(hd_tape_push(tape, embedding_backward, &rec, sizeof rec));
    }
    *out = rec.y;
    return HEED_OK;
}

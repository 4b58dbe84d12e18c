/* SPDX-License-Identifier: Apache-2.0
 *
 * Ragged batches: windows laid end to end in buffers that are filled anew for each pass. */
#include "models/sequence_batch.h"
#include "base/memory.h"

heed_status hd_sequence_rows_init(struct hd_sequence_rows *r, int64_t length)
{
    size_t n = (size_t)(HD_BATCH_ROWS + length);

    *r = (struct hd_sequence_rows){.rows_max = (int64_t)n};
    r->offset = hd_alloc(n + 1, sizeof *r->offset);
    r->item = hd_alloc(n, sizeof *r->item);
    r->position = hd_alloc(n, sizeof *r->position);
    r->label = hd_alloc(n, sizeof *r->label);
    r->time = hd_alloc(n, sizeof *r->time);
    r->query = hd_alloc(n, sizeof *r->query);
    if (r->offset && r->item && r->position && r->label && r->time && r->query)
        return HEED_OK;
    hd_sequence_rows_clear(r);
    return hd_fail(HEED_E_NOMEM, "sequence: no memory for a batch of %zu rows", n);
}

void hd_sequence_rows_clear(struct hd_sequence_rows *r)
{
    hd_free(r->offset);
    hd_free(r->item);
    hd_free(r->position);
    hd_free(r->label);
    hd_free(r->time);
    hd_free(r->query);
    *r = (struct hd_sequence_rows){0};
}

void hd_sequence_rows_reset(struct hd_sequence_rows *r)
{
    r->rows = r->sequences = 0;
    r->offset[0] = 0;
}

void hd_sequence_rows_add(struct hd_sequence_rows *r, const int32_t *item, const heed_time *time,
                          int64_t count, int64_t context, int32_t label, heed_time now)
{
    int64_t first = r->rows;

    for (int64_t i = 0; i < count; i++) {
        bool last = i == count - 1;
        r->item[first + i] = item[i];
        r->position[first + i] = (int32_t)i;
        r->label[first + i] = i < context ? -1 : last ? label : item[i + 1];
        r->time[first + i] = time ? time[i] : 0;
        r->query[first + i] = !time ? 0 : last ? now : time[i + 1];
    }
    r->rows += count;
    r->offset[++r->sequences] = r->rows;
}

struct hd_sequence_batch hd_sequence_rows_batch(const struct hd_sequence_rows *r)
{
    return (struct hd_sequence_batch){
        .sequences = r->sequences,
        .offset = r->offset,
        .item = r->item,
        .position = r->position,
        .time = r->time,
        .query = r->query,
    };
}

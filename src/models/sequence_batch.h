/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds ragged batches for hd_sequence_forward() from windows on histories. The buffers are made
 * once for the largest batch and filled again and again. */
#ifndef HD_SEQUENCE_BATCH_H
#define HD_SEQUENCE_BATCH_H

#include "models/sequence_net.h"

/* Rows a pass is meant to hold at most: its activations stay in the caches nearest the processor. It
 * may be more by less than a window, since windows are not cut. */
#define HD_BATCH_ROWS 2048

struct hd_sequence_rows {
    int64_t rows, sequences, rows_max;
    int64_t *offset;
    int32_t *item, *position, *label;
    int64_t *time, *query;
};

/* Room for HD_BATCH_ROWS and a window of `length`. */
HEED_CHECKED heed_status hd_sequence_rows_init(struct hd_sequence_rows *r, int64_t length);
void hd_sequence_rows_clear(struct hd_sequence_rows *r);
void hd_sequence_rows_reset(struct hd_sequence_rows *r);

/* Adds a window of `count` events. Row i's label is item[i + 1], and its state is asked at the time
 * of that event; the last row's label is `label` (-1: none), asked at `now`. The first `context`
 * rows get no label: they only give context. */
void hd_sequence_rows_add(struct hd_sequence_rows *r, const int32_t *item, const heed_time *time,
                          int64_t count, int64_t context, int32_t label, heed_time now);
struct hd_sequence_batch hd_sequence_rows_batch(const struct hd_sequence_rows *r);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch of histories: rows of events that follow each other (offsets), or S rows for each of B
 * sequences of which the first lengths[b] count. For the forms that look at a history from outside.
 *
 * Events are counted in two ways: by their row, padding included, and by their place among those that
 * count, which is the same but for lengths. */
#ifndef HD_HISTORY_H
#define HD_HISTORY_H

#include "heed/base.h"

struct hd_histories {
    int64_t B, S; /* S: without offsets */
    const int64_t *offsets, *lengths;
};

/* Raises `form: ...` where offsets or lengths make no sense. */
HEED_CHECKED heed_status hd_histories_check(const char *form, const struct hd_histories *h);

static inline int64_t hd_history_row(const struct hd_histories *h, int64_t b)
{
    return h->offsets ? h->offsets[b] : b * h->S;
}

static inline int64_t hd_history_length(const struct hd_histories *h, int64_t b)
{
    return h->offsets ? h->offsets[b + 1] - h->offsets[b] : h->lengths ? h->lengths[b] : h->S;
}

/* Rows from one sequence to the next. */
static inline int64_t hd_history_span(const struct hd_histories *h, int64_t b)
{
    return h->offsets ? h->offsets[b + 1] - h->offsets[b] : h->S;
}

static inline int64_t hd_histories_rows(const struct hd_histories *h)
{
    return h->offsets ? h->offsets[h->B] : h->B * h->S;
}

/* B + 1 places: of the first event of each sequence among those that count, and how many do. */
void hd_histories_places(const struct hd_histories *h, int64_t *place);

#endif

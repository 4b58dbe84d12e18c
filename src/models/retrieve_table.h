/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a retrieval table: rows in both widths, with what the narrow ones lose. */
#ifndef HD_RETRIEVE_TABLE_H
#define HD_RETRIEVE_TABLE_H

#include "base/memory.h"
#include "models/retrieve.h"
#include "models/sequence_impl.h"

#include <stdatomic.h>

/* Rows as they are scanned (in panels, kernel/scan.h) beside those they were rounded from. */
struct hd_table_rows {
    int64_t count;
    const uint32_t *panels;
    const float *exact;    /* (count, C) */
    const int32_t *item;   /* of each row, rising; NULL: row v is item v */
    double norm_most;      /* of a row, in either width */
    double lost_most;      /* the norm of a row's rounding error */
};

/* What is of the model alone. immutable, counted. */
struct hd_table_shelf {
    atomic_int uses;
    hd_arena *arena;
    const hd_sequence *model;
    int64_t pairs; /* of a row's numbers, a zero behind an odd one */
    struct hd_table_rows known;
    const uint8_t *unseen; /* known.count: items that nobody had looked at, see find_quiet() */
    const uint8_t *quiet;  /* known.count: of these, rows that content stands in for */
    int64_t quiet_count;
    const float *mean; /* (C) */
    int64_t topics;
    const float *topic; /* (topics, C): r(t) */
    struct hd_table_rows spread; /* rows of known items less the rows of their content: d(v) */
};

struct hd_retrieval {
    struct hd_table_shelf *shelf;
    hd_arena *arena;
    int64_t items;
    struct hd_table_rows cold; /* quiet items, then those that came after the model */
};

/* Where the row of a cold item stands in r->cold; the item is one. */
int64_t hd_retrieval_cold_row(const hd_retrieval *r, int32_t item);

#endif

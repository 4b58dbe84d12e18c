/* SPDX-License-Identifier: Apache-2.0
 *
 * A town of readers whose truth is known: what each of them cares about and how that drifts, what
 * each article is about, and how likely each look was. It makes the demo's data, the tests' data
 * and the ground that ranking and prices are tried on. It is not a model of any real population: it
 * has the structure that real logs show (interests that persist and interleave, series, hours of
 * the day, fatigue), so that a method which cannot use that structure is seen to fail here too. */
#ifndef HEED_SIMULATE_H
#define HEED_SIMULATE_H

#include "heed/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All zero but the first three is the ordinary case; `reserved` must stay zero. */
typedef struct heed_simulate_opts {
    int64_t users, items, events; /* 0: 300, 200, 20,000. Events are counted with impressions */
    uint64_t seed;
    heed_time start; /* 0: Monday, 2026-03-02T00:00:00Z */
    int64_t days;    /* about how long the events take; 0: 30 */
    heed_progress progress;
    uint64_t reserved[8];
} heed_simulate_opts;

typedef struct heed_simulate_report {
    int64_t users, items, events;
    int64_t readers; /* users with at least one view */
    int64_t impressions, views, clicks, likes, dislikes, shares, saves, hides;
    heed_time first, last; /* of the events */
} heed_simulate_report;

/**
 * Writes items.ndjson and events.ndjson, as `heed import items` and `heed import events` read them,
 * truth.ndjson, and README.txt that says what stands in each, into `folder`, which is made where it
 * is not there. Files of these names are replaced when all are complete; a run that fails or is
 * cancelled leaves the old ones.
 *
 * Values   users 1 .. 1,000,000   items 1 .. 1,000,000   events 1 .. 2^40   days 1 .. 36,500
 *          progress counts events
 * Errors   HEED_E_ARG        a number is out of its range, or a reserved field is set
 *          HEED_E_IO         the folder or a file in it cannot be written; the message says which
 *          HEED_E_CANCELLED  progress said so
 * Threads  any; it uses its caller's alone.
 * Cost     O(events) time, O(users + items + pairs that met) memory.
 * Same seed and sizes, same bytes, on every machine: no function of the C library whose last bit is
 * its own business, and no locale, has a part in a number.
 */
HEED_API HEED_CHECKED heed_status heed_simulate(const heed_simulate_opts *opts, const char *folder,
                                                heed_simulate_report *report);

#ifdef __cplusplus
}
#endif
#endif

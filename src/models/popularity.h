/* SPDX-License-Identifier: Apache-2.0
 *
 * How often each item was attended to: the feed for readers nobody knows yet, and the floor that a
 * model has to stand above. */
#ifndef HD_POPULARITY_H
#define HD_POPULARITY_H

#include "base/status.h"
#include "models/evaluate.h"
#include "models/histories.h"

/* All zero counts what a model may learn from, each event alike: the baseline of an evaluation. */
struct hd_popularity_opts {
    bool all; /* the held-out events too: to serve, not to evaluate */
    heed_span
        half_life; /* an event this much older than `now` counts half; 0, or no times: no decay */
    heed_time now;
};

/* weight: histories.items numbers, each the sum of its events' weights. Events after `now` weigh 1.
 */
void hd_popularity(const struct hd_histories *histories, const struct hd_popularity_opts *opts,
                   float *weight);

/* The scorer of the baseline: the same order for everybody. weight and items are borrowed. */
struct hd_popularity_baseline {
    const float *weight;
    int64_t items;
};
heed_status hd_popularity_score(void *baseline, int worker, const struct hd_question *question,
                                float *scores);

#endif

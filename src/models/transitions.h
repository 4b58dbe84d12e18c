/* SPDX-License-Identifier: Apache-2.0
 *
 * What followed what: for each item, the items that came within a few steps after it, weighted by
 * how near. It is the sequence model's memory for pairs. Attention generalises from a narrow vector
 * per item and forgets rare pairs; counts do not generalise and forget nothing but each row's tail.
 *
 * Memory   at most HD_TRANSITION_KEEP pairs of 8 bytes an item.
 * Cost     building looks at HD_TRANSITION_LAGS pairs for each event.
 * Threads  immutable once built: share it freely. */
#ifndef HD_TRANSITIONS_H
#define HD_TRANSITIONS_H

#include "base/status.h"
#include "models/histories.h"

#define HD_TRANSITION_LAGS 12    /* steps that are looked ahead and back */
#define HD_TRANSITION_KEEP 128   /* followers kept for an item: the strongest */
#define HD_TRANSITION_PRIOR 20.0 /* sightings that a row's share is damped by */

/* Row a: items b with share[b] = sum_k n_k(a, b) / k over (that sum over all b, plus the prior);
 * n_k(a, b) counts b at k steps after a. immutable once built. */
struct hd_transitions {
    int64_t items;
    int64_t *offset; /* items + 1 */
    int32_t *item;   /* rising within a row */
    float *share;
};

/* Counts over the first hd_split_train_count() events of each user. */
HEED_CHECKED heed_status hd_transitions_build(const struct hd_histories *histories,
                                              struct hd_transitions *out);
void hd_transitions_clear(struct hd_transitions *t);

/* Adds weight * P(v | history) to out[v] for every item v, with
 *     P(v | history) = sum_k (1 / k) share(history[-k], v) / sum_k (1 / k),   k = 1 .. lags.
 * The sums over v stay below 1: what is missing is mass for items that were never seen to follow. */
void hd_transitions_add(const struct hd_transitions *t, const int32_t *items, int64_t count,
                        double weight, float *out);

/* The same into an out that is zero, and the items that are no longer zero in it, each once, in no
 * order. followers: NULL to learn at most how many there are, or room for so many. */
int64_t hd_transitions_list(const struct hd_transitions *t, const int32_t *items, int64_t count,
                            float *out, int32_t *followers);

/* The part of P(v | history) that an event on `from`, `back` steps from the end (1: the last), gives.
 * The parts of a history's events add up to what hd_transitions_add() adds for v. */
double hd_transitions_part(const struct hd_transitions *t, int32_t from, int64_t back, int32_t v);

#endif

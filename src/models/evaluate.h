/* SPDX-License-Identifier: Apache-2.0
 *
 * Leave one out: each user's last event is the test, the second last the validation, what is before
 * both is what a model may learn from. Users with fewer than three events are learned from only.
 *
 * The protocol, so that a number can be compared with another:
 * - the whole catalogue is ranked, never a sample of it;
 * - items that the user had before the target are out of the ranking. A target that the user had
 *   before can therefore not be ranked; such users are left out and counted (`repeats`);
 * - ties are broken against the model: rank = 1 + the items that score as high or higher. A scorer
 *   that gives every item the same number is thus last, not lucky. The share of users whose target
 *   ties is reported beside the quality;
 * - a score that is no number counts as above the target, and a target without a number is last.
 *
 * A scorer is a callback, so that the sequence model, popularity and Markov stand on the same
 * split. */
#ifndef HD_EVALUATE_H
#define HD_EVALUATE_H

#include "base/sha256.h"
#include "base/status.h"
#include "heed/engine.h"
#include "models/histories.h"

/* What a user had at the moment of asking. */
struct hd_question {
    int64_t user;
    const int32_t *items;   /* oldest first */
    const heed_time *times; /* as many, or NULL */
    int64_t count;
    heed_time now; /* 0 where times is NULL */
};

/* score fills histories.items numbers; it is called by several workers at once, never by two with
 * the same `worker` (0 .. pool's threads - 1). */
struct hd_scorer {
    void *context;
    heed_status (*score)(void *context, int worker, const struct hd_question *question,
                         float *scores);
};

enum hd_split { HD_SPLIT_TEST = 1, HD_SPLIT_VALID = 2 }; /* how far the target is from the end */

/* Whether the user's last two events are held out: there are three or more. */
static inline bool hd_split_holds_out(const struct hd_histories *h, int64_t user)
{
    return h->offset[user + 1] - h->offset[user] >= 3;
}

/* How many of a user's events a model may learn from. */
static inline int64_t hd_split_train_count(const struct hd_histories *h, int64_t user)
{
    int64_t count = h->offset[user + 1] - h->offset[user];
    return hd_split_holds_out(h, user) ? count - 2 : count;
}

#define HD_TOP_COUNT 10 /* the list whose spread over the catalogue is reported */

/* Ranks of the users that could be ranked, in user order. */
struct hd_ranks {
    int64_t count, repeats, tied; /* tied: of the ranked, those whose target ties */
    int64_t items;                /* of the catalogue */
    int64_t *user;                /* count */
    int64_t *rank;                /* count, from 1 */
    int32_t *top; /* count x HD_TOP_COUNT, best first; -1 where the list is shorter */
};

/* Ranks each user's target of the split. The result does not depend on the number of threads. */
HEED_CHECKED heed_status hd_rank_targets(const struct hd_histories *histories, enum hd_split split,
                                         const struct hd_scorer *scorer, heed_pool *pool,
                                         const heed_progress *progress, struct hd_ranks *ranks);
void hd_ranks_clear(struct hd_ranks *ranks);

/* NDCG, HR and MRR of plain ranks: what a trainer needs on its validation. With one relevant item
 * NDCG@k is the mean of 1 / log2(rank + 1) over ranks up to k (0 beyond), HR@k the share of ranks
 * up to k, MRR the mean of 1 / rank. All zero for no ranks; coverage and gini stay 0. */
void hd_ranks_to_quality(const int64_t *ranks, int64_t count, heed_ranking_quality *quality);

/* The same with coverage and Gini index of the top lists. The Gini index is that of how often each
 * item of the catalogue occurs: sum (2 i - V - 1) x_i / (V sum x_i), x rising, i from 1. */
HEED_CHECKED heed_status hd_ranks_quality(const struct hd_ranks *ranks,
                                          heed_ranking_quality *quality);

/* 95 % intervals of NDCG@10 and HR@10 by the percentile bootstrap over users (Efron 1979), 1,000
 * samples. */
HEED_CHECKED heed_status hd_ranks_bootstrap(const int64_t *ranks, int64_t count, uint64_t seed,
                                            heed_pool *pool, double ndcg10[2], double hr10[2]);

/* The split's fingerprint: SHA-256 of a text that anybody can make again from the events. For each
 * user with three events or more, users in the byte order of their ids, two lines:
 *     user, space, the validation's item, newline
 *     user, space, the test's item, newline
 * user_id and item_id hold an id for each number. */
HEED_CHECKED heed_status hd_split_sha256(const struct hd_histories *histories,
                                         const char *const *user_id, const char *const *item_id,
                                         char hex[HD_SHA256_HEX_BYTES]);

/* Share of events that have their user's time in common with another event of that user: where it
 * is high, the order of events, and so the split, rests on the order of the file. 0 without times.
 */
double hd_time_tie_rate(const struct hd_histories *histories);

#endif

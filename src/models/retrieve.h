/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates for a feed: the items of the whole catalogue that a model finds most likely to come next,
 * exactly. No index is kept: at a hundred thousand items reading all rows is as fast as walking a
 * graph of neighbours, misses nothing, and a new item is there at once.
 *
 * A model's output table is scanned as bfloat16 rows, half the bytes of its float32 ones, and what
 * comes near the k best is scored again in float32. What the first pass may have got wrong is bounded,
 * and everything within the bound is looked at again, so the answer is that of scoring every item in
 * float32 (the derivation is in retrieve.c).
 *
 * Items that the model does not know, since they came after it, or knew before anybody had looked at
 * them, get a row made of content. With r(v) the row of an item and m the mean of all rows,
 *     topic t of n items:   r(t) = m + n / (n + HD_CONTENT_PRIOR) (mean of r(v) over its items - m)
 *     item:                 r(v) = mean of r(t) over its topics; without topics: m
 * A logit is linear in the row, so what such a row gives is a mean of logits, and e to it a geometric
 * mean of probabilities: lower than what to expect of an item of those topics, since the few that are far
 * more likely than their topics say make up most of the sum. By how much is taken from known items, for
 * each question anew: with d(v) the logit of a known item less that of the row its content would
 * have,
 *     score of a cold item = its logit + log mean exp d(v) - log sum exp of the known items' logits
 * the mean over HD_CONTENT_SAMPLE of the known items. The memory does not know the item either; its share
 * is not taken off, as if the memory saw in the item what the network sees. So a cold item stands about
 * where an item of its topics stands on average. The probabilities of known items are not changed by
 * cold ones: those stand beside the distribution, not in it. */
#ifndef HD_RETRIEVE_H
#define HD_RETRIEVE_H

#include "models/sequence_state.h"

#define HD_CONTENT_PRIOR 5.0 /* items that a topic's mean is damped by */
#define HD_CONTENT_SAMPLE 1024

/* What items are about, as numbers of topics (tags, authors), each once in an item: item v's are
 * topic[v][0 .. topic_count[v] - 1]. As in struct hd_catalogue. */
struct hd_content {
    int64_t items;
    const int32_t *const *topic; /* items */
    const int32_t *topic_count;  /* items */
};

/* The table of a model and of the items beside it. immutable; borrows the model. */
typedef struct hd_retrieval hd_retrieval;

/* content: of the model's items and of those that came after; they are items 0 .. content.items - 1
 * of the table. It is only read.
 * Memory   2 bytes a number of the model's output table, 4 for each topic's, 6 for each cold item's
 * Cost     one pass over the table
 * Errors   HEED_E_ARG     content has fewer items than the model
 *          HEED_E_FORMAT  a row of the model is not finite */
HEED_CHECKED heed_status hd_retrieval_new(const hd_sequence *model, const struct hd_content *content,
                                          hd_retrieval **out);
/* The same for content that has grown or been edited since: only the rows of cold items are made anew,
 * the rest is shared with `from`, which stays as it is; either may be freed first. Numbers of topics
 * mean what they meant. */
HEED_CHECKED heed_status hd_retrieval_extend(const hd_retrieval *from,
                                             const struct hd_content *content, hd_retrieval **out);
void hd_retrieval_free(hd_retrieval *r);
int64_t hd_retrieval_items(const hd_retrieval *r);
/* How many of them have a row made of content. */
int64_t hd_retrieval_cold(const hd_retrieval *r);
/* Whether this one has; it is one of the table's. */
bool hd_retrieval_is_cold(const hd_retrieval *r, int32_t item);
/* Whether somebody had looked at it when the model was trained, so that something was learned of it; as far
 * as the model remembers (where it has no memory, of all that it knows). */
bool hd_retrieval_has_learned(const hd_retrieval *r, int32_t item);
uint64_t hd_retrieval_bytes(const hd_retrieval *r);

/* What a feed asks with: as in hd_sequence_score(). */
struct hd_ask {
    const int32_t *items;
    const heed_time *times; /* or NULL */
    int64_t count;
    heed_time now;
    hd_sequence_state *state; /* what is kept of this reader, brought up to the history; or NULL */
};

struct hd_scored {
    int32_t item;
    float score; /* as from hd_sequence_score(), but not cut off below */
};

/* The best k of the items below items_count that are not out, the highest score first, ties by number.
 * picks: room for k; *found of them are written. An item that the table does not have is not found.
 *
 * The order is that of scoring each item in float32. Scores of the model's items (not its cold ones)
 * are those of hd_sequence_score() but for the sum over all items in the softmax, which is taken from
 * the first pass: they differ by less than hd_retrieve_bound(), all by the same where the memory has
 * no part in them.
 * Errors   HEED_E_ARG     an empty history, k < 0, or a table of another model
 *          HEED_E_RANGE   the history has an item that the model does not know
 *          HEED_E_FORMAT  the model's state is not finite
 *          HEED_E_NOMEM   the reader's scratch cannot grow; once warm it does not */
HEED_CHECKED heed_status hd_retrieve(hd_sequence_reader *reader, const hd_retrieval *r,
                                     const struct hd_ask *question, const uint8_t *out,
                                     int64_t items_count, int64_t k, struct hd_scored *picks,
                                     int64_t *found);

/* The scores of given items for the question of the reader's last hd_retrieve(), for candidates from
 * elsewhere. The reader may have explained scores meanwhile.
 * Errors   HEED_E_ARG    nothing has been asked yet, or a table of another model
 *          HEED_E_RANGE  an item that the table does not have */
HEED_CHECKED heed_status hd_retrieve_score(hd_sequence_reader *reader, const hd_retrieval *r,
                                           const int32_t *item, int64_t n, float *score);

/* What the probabilities of the model's items add up to for that question: less than 1 by what the memory
 * has not seen follow. */
double hd_retrieve_mass(const hd_sequence_reader *reader);

/* By how much the scores of the last hd_retrieve() may differ from hd_sequence_score()'s. */
double hd_retrieve_bound(const hd_sequence_reader *reader);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps between scores and a page, each a plain function, in the order of a request:
 *
 *     scores ─▶ filter ─▶ select ─▶ diversify ─▶ (auction ─▶ blend, when they come) ─▶ page
 *
 * `out` is one byte an item: not 0 where the item may not be shown. Filters only ever add to it. */
#ifndef HD_FEED_H
#define HD_FEED_H

#include "allocate/catalogue.h"

/* Hidden, expired and not yet created items are out at the moment `at`. */
void hd_filter_catalogue(const struct hd_catalogue *catalogue, heed_time at, uint8_t *out);
/* These items are out: seen, turned away, excluded. Numbers outside 0 .. items - 1 are passed over.
 */
void hd_filter_items(const int32_t *item, int64_t count, int64_t items, uint8_t *out);

/* How an item came to be a candidate. */
enum hd_source {
    HD_SOURCE_MODEL,
    HD_SOURCE_POPULAR,
    HD_SOURCE_TRENDING,
    HD_SOURCE_FRESH,
    HD_SOURCE_FOLLOWED,
    HD_SOURCE_SIMILAR,
    HD_SOURCE_EXPLORE,
    HD_SOURCES
};
const char *hd_source_name(enum hd_source source);

struct hd_pick {
    int32_t item;
    float score;
    enum hd_source source; /* 0 from what selects */
};

/* The best `count` items that are not out (NULL: none is), best first, ties by number; a score that is no number
 * stands with -INFINITY. Returns how many there were. Cost: items + picks log(count). */
int64_t hd_select_top(const float *scores, const uint8_t *out, int64_t items, int64_t count,
                      struct hd_pick *picks);
/* The newest `count` items that are not out: latest created first, then the highest number, which
 * is the latest to come into the store. The score is created, in days since 1970. */
int64_t hd_select_fresh(const struct hd_catalogue *catalogue, const uint8_t *out, int64_t count,
                        struct hd_pick *picks);

/* Whether the item is about any of these topics, which rise. */
bool hd_topics_meet(const struct hd_catalogue *catalogue, int32_t item, const int32_t *topic,
                    int64_t count);
/* Items about any of these topics are out. */
void hd_filter_topics(const struct hd_catalogue *catalogue, const int32_t *topic, int64_t count,
                      uint8_t *out);

/* Best first, ties by number. */
void hd_sort_picks(struct hd_pick *picks, int64_t count);

/* Gives, with probability `rate`, one place of the lower half of the first n picks to one of the
 * picks behind them, all with equal chance; what was there moves behind. propensity: n numbers, the
 * probability with which each item stood in its place. u: two numbers of [0, 1) that nobody can
 * foretell. Returns the place, or -1. Nothing is done where there is nothing behind, or no lower half. */
int64_t hd_explore(struct hd_pick *picks, int64_t count, int64_t n, double rate, const double u[2],
                   double *propensity);

/* How much two items are about the same: shared topics over all topics of both (Jaccard). 0 where
 * either has none. */
double hd_topic_similarity(const struct hd_catalogue *catalogue, int32_t a, int32_t b);

/* Puts `n` of the `count` picks (best first) in front so that neighbours are not all about the
 * same: again and again the pick with the highest
 *
 *     (1 - strength) relevance - strength (highest similarity to one already chosen)
 *
 * where relevance is the score's place between the lowest and the highest of the picks, 0 to 1.
 * The first pick stays first. strength 0 changes nothing. Returns min(n, count).
 *
 * Source  Carbonell, Goldstein 1998, "The use of MMR, diversity-based reranking". */
int64_t hd_diversify(const struct hd_catalogue *catalogue, double strength, struct hd_pick *picks,
                     int64_t count, int64_t n);

#endif

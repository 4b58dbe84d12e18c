/* SPDX-License-Identifier: Apache-2.0
 *
 * What the town's paper prints: items with headlines, topics, authors, series and the moment each
 * appears. Made once, from the seed; read only after that. */
#ifndef HD_CATALOGUE_H
#define HD_CATALOGUE_H

#include "base/memory.h"
#include "simulate/town.h"

struct hd_catalogue {
    hd_arena *arena;
    struct hd_town_item *items; /* (count), oldest first */
    int64_t count;
    int32_t *by_topic; /* (count): item numbers, topic by topic, oldest first */
    int64_t topic_from[HD_TOWN_TOPICS + 1];
    float popular[HD_TOWN_TOPICS]; /* how much the town as a whole likes a topic, as a logit */
};

/* The first of two halves is there when the readers come, the other appears over `days`. */
HEED_CHECKED heed_status hd_catalogue_init(struct hd_catalogue *catalogue, uint64_t seed,
                                           int64_t count, heed_time start, int64_t days);
void hd_catalogue_clear(struct hd_catalogue *catalogue);
/* Items created at `when` or before. */
int64_t hd_catalogue_published(const struct hd_catalogue *catalogue, heed_time when);
/* The same within one topic. */
int64_t hd_catalogue_topic_published(const struct hd_catalogue *catalogue, int topic,
                                     heed_time when);

#endif

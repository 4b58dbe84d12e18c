/* SPDX-License-Identifier: Apache-2.0
 *
 * A reader of the town: what is cared about, and how reading, waiting and the hour change it. Knows
 * items by what is written on them; knows no page, no other reader and no event. A reader has
 *
 *   - long-term interests: a logit for each topic that drifts (Ornstein and Uhlenbeck) over weeks;
 *   - threads: a few things followed now, each a topic, the item read last in it, and a heat that
 *     reading feeds and neglect cools. Threads interleave within a session, outlive it, and are
 *     replaced by others, more often than not of a topic near the hottest;
 *   - hours: when in the day they come;
 *   - fatigue: rises with each look, halves in three hours. */
#ifndef HD_READER_H
#define HD_READER_H

#include "base/random.h"
#include "simulate/catalogue.h"

#define HD_READER_THREADS 3

struct hd_thread {
    int32_t topic, item; /* item read last in it; -1: none yet */
    float heat;
};

struct hd_reader {
    heed_rng rng, house;  /* the reader's own throws; those of the paper for this reader */
    heed_time next, last; /* next visit; the end of the last one */
    float longterm[HD_TOWN_TOPICS];
    float hours[24]; /* chance that a wish to come is followed, 0 .. 1 */
    float rate;      /* wishes a day */
    float fatigue;
    float phone;
    struct hd_thread threads[HD_READER_THREADS];
    int32_t page;
    bool on_phone;
};

/* The number-th reader, who will come so often that opts->events are made in about opts->days. */
void hd_reader_init(struct hd_reader *reader, const heed_simulate_opts *opts, int64_t number,
                    const struct hd_catalogue *catalogue);
/* Sets when the next session begins, after `last`. */
void hd_reader_plan(struct hd_reader *reader);
/* Fatigue fades and interests drift over the wait; now and then a thread gives way to another. */
void hd_reader_begin(struct hd_reader *reader, const struct hd_catalogue *catalogue);
/* (HD_TOWN_TOPICS), sums to 1. */
void hd_reader_interests(const struct hd_reader *reader, double *interests);
/* How near the item is to them: 1 for one that is all of the topic cared about most. */
double hd_reader_aligned(const struct hd_reader *reader, const struct hd_town_item *item);
/* The item is the next part of a series that is being followed. */
bool hd_reader_goes_on(const struct hd_reader *reader, int32_t item,
                       const struct hd_catalogue *catalogue);
/* Milliseconds looked, 1,000 to 180,000. */
int32_t hd_reader_dwell(struct hd_reader *reader, const struct hd_town_item *item, double aligned);
/* Having read `share` of the item. */
void hd_reader_follow(struct hd_reader *reader, const struct hd_town_item *it, int32_t item,
                      double share);

/* How much a topic is read at this hour, 1 on average. */
double hd_topic_rhythm(int topic, heed_time when);
/* An index with the chances of the weights; count at least 1, some weight above 0. */
int hd_draw_weighted(heed_rng *rng, const double *weights, int count);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The town's language: what a headline of each topic is made of. Every subject is singular, so that
 * every predicate agrees with it; every tail can follow every predicate. */
#ifndef HD_WORDS_H
#define HD_WORDS_H

#define HD_TOWN_SUBJECTS 8
#define HD_TOWN_PREDICATES 8
#define HD_TOWN_SERIALS 4
#define HD_TOWN_TAILS 12
#define HD_TOWN_PLACES 24
#define HD_TOWN_NAMES 24

struct hd_town_words {
    const char *topic;
    const char *subjects[HD_TOWN_SUBJECTS];     /* "River market" */
    const char *tags[HD_TOWN_SUBJECTS];         /* one word for the subject */
    const char *predicates[HD_TOWN_PREDICATES]; /* "opens late" */
    const char *serials[HD_TOWN_SERIALS];       /* "The lamp keeper's diary", comes in parts */
    int near[2];                                /* topics that a reader of this one turns to */
    const char *hours; /* how much it is read in each hour, '0' to '9', from midnight UTC */
};

extern const struct hd_town_words hd_town_words[];
extern const char *const hd_town_tails[HD_TOWN_TAILS]; /* the first is empty */
extern const char *const hd_town_places[HD_TOWN_PLACES];
extern const char *const hd_town_first_names[HD_TOWN_NAMES];
extern const char *const hd_town_last_names[HD_TOWN_NAMES];

#endif

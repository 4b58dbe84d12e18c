/* SPDX-License-Identifier: Apache-2.0
 *
 * The town itself, one page at a time, for whoever wants to be its newspaper: the file writer
 * (heed_simulate), or a live engine whose feeds the readers are then shown.
 *
 *     hd_town_visit   who opens a page next, and when
 *     hd_town_pick    what the town's own paper would put on it ...
 *     hd_town_show    ... or anybody else: the reader looks, clicks, tires, learns to care
 *     hd_town_next    the events that came of it, in the order of time
 *
 * A reader's random numbers are the reader's own stream: what one is shown changes nothing for
 * another, so two newspapers can be compared reader by reader. (The town's own paper prints what
 * others look at, so its pages do depend on them.) */
#ifndef HD_TOWN_H
#define HD_TOWN_H

#include "base/status.h"
#include "heed/simulate.h"

#define HD_TOWN_TOPICS 12
#define HD_TOWN_PAGE_MAX 64 /* items on one page */

enum hd_town_kind {
    HD_TOWN_IMPRESSION,
    HD_TOWN_VIEW,
    HD_TOWN_CLICK,
    HD_TOWN_LIKE,
    HD_TOWN_DISLIKE,
    HD_TOWN_SHARE,
    HD_TOWN_SAVE,
    HD_TOWN_HIDE,
    HD_TOWN_KINDS
};
extern const char *const hd_town_kind_names[HD_TOWN_KINDS];
extern const char *const hd_town_topic_names[HD_TOWN_TOPICS];

/* What an item is. Items are numbered in the order of their creation. */
struct hd_town_item {
    heed_time created;
    const char *title;            /* the town's */
    float topics[HD_TOWN_TOPICS]; /* what it is about; sums to 1 */
    float quality;                /* 0 .. 1, the same for everyone */
    int32_t topic;                /* the largest of topics */
    int32_t subject;              /* within the topic */
    int32_t author, length_s;     /* seconds that a full read takes */
    int32_t series, part, next;   /* series from 1, part from 1, the item that goes on; 0, 0, -1 */
};

/* Reader `reader` opens a page at `when`. page counts the pages of this session, from 0. */
struct hd_town_visit {
    int32_t reader;
    int32_t page;
    heed_time when;
};

/* One thing that happened. */
struct hd_town_event {
    heed_time when;
    uint64_t order; /* of making; breaks ties in time */
    int64_t decision;
    int32_t reader, item;
    int32_t position; /* on the page, from 1 */
    int32_t dwell_ms; /* of views; 0 elsewhere */
    enum hd_town_kind kind;
    float attention; /* of impressions: the true probability that it is looked at */
    float aligned;   /* of impressions: how near the item is to what the reader cares about now */
    bool phone;
};

/* confined */
typedef struct hd_town hd_town;

/* opts->events and opts->days set how often readers come; the town itself never ends. */
HEED_CHECKED heed_status hd_town_new(const heed_simulate_opts *opts, hd_town **town);
void hd_town_free(hd_town *town);

int64_t hd_town_readers(const hd_town *town);
int64_t hd_town_items(const hd_town *town);
const struct hd_town_item *hd_town_item(const hd_town *town, int64_t item);
#define HD_TOWN_TEXT_BYTES 512
/* Two sentences on it; text: HD_TOWN_TEXT_BYTES. */
void hd_town_text(const hd_town *town, int64_t item, char *text);
#define HD_TOWN_AUTHOR_BYTES 64
void hd_town_author(int32_t author, char *name);
/* The word for its subject, as in tags. */
const char *hd_town_subject(const hd_town *town, int64_t item);

/* The next visit; it must be shown a page before the next one is asked for. */
struct hd_town_visit hd_town_visit(hd_town *town);
/* The town's own page for it: n items at most, none twice. Returns how many. */
int hd_town_pick(hd_town *town, const struct hd_town_visit *visit, int n, int32_t *items);
/* The reader meets these items, best place first. Errors: HEED_E_ARG, HEED_E_NOMEM. */
HEED_CHECKED heed_status hd_town_show(hd_town *town, const struct hd_town_visit *visit,
                                      const int32_t *items, int n, int64_t decision);
/* The next event before which nothing can happen any more; false: ask for the next visit. */
bool hd_town_next(hd_town *town, struct hd_town_event *event);

/* What the reader cares about now: (HD_TOWN_TOPICS), sums to 1. */
void hd_town_interests(const hd_town *town, int32_t reader, double *interests);
/* The true probability that the reader would look at the item, in this place of a page opened at
 * `when`, being as tired as they are now. */
double hd_town_attention(const hd_town *town, int32_t reader, int32_t item, int32_t position,
                         heed_time when);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * One feed in the making: what its steps (feed.c) hand to one another. */
#ifndef HD_FEEDING_H
#define HD_FEEDING_H

#include "engine/asking.h"
#include "engine/decision.h"
#include "models/retrieve.h"

struct hd_feeding {
    heed_engine *engine;
    const heed_feed_request *request;
    int n;
    heed_time made;
    char decision[HD_DECISION_ID_BYTES];
    hd_arena *desk;  /* scratch */
    hd_arena *arena; /* the answer's */
    heed_feed *feed;

    struct hd_asking asking; /* history */
    uint8_t *out;            /* filter: (items), not 0 where the item may not be shown */

    /* candidates */
    const char *policy, *why;
    double diversity;
    int32_t like;          /* similar: to which item; else -1 */
    struct hd_pick *picks; /* pool, best first */
    int64_t pool;
    struct hd_ask visits; /* what the model was asked with */
    float log_mass;       /* of all probabilities it gave: scores are after it */
    struct hd_seat *seat; /* NULL: the model was not asked */
    struct hd_table *table;
    struct hd_kept *kept; /* what is kept of this reader, while it is asked with; or NULL */
    struct hd_popular *popular;

    int64_t count;      /* diversify: the first of the picks that make the page */
    double *propensity; /* explore: (count) */
};

/* Which policy answers, and its candidates. */
HEED_CHECKED heed_status hd_feed_candidates(struct hd_feeding *f);
void hd_feed_candidates_clear(struct hd_feeding *f);

/* Why the pick stands in the page: the item's sentence and reasons. */
HEED_CHECKED heed_status hd_feed_why(struct hd_feeding *f, struct hd_pick pick,
                                     heed_feed_item *item);

#endif

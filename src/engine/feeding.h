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
    struct hd_pick *picks; /* pool, best first */
    int64_t pool;
    struct hd_ask visits; /* what the model was asked with; count 0: it was not asked */
    float log_mass;       /* of all probabilities it gave: scores are after it */
    struct hd_seat *seat;
    struct hd_table *table;
    struct hd_kept *kept; /* what is kept of this reader, while it is asked with; or NULL */
    struct hd_popular *popular;

    int64_t count;      /* diversify: the first of the picks that make the page */
    double *propensity; /* explore: (count) */
};

/* Which policy answers, and its candidates. */
HEED_CHECKED heed_status hd_feed_candidates(struct hd_feeding *f);
void hd_feed_candidates_clear(struct hd_feeding *f);

#endif

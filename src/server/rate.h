/* SPDX-License-Identifier: Apache-2.0
 *
 * How often somebody may ask: a token bucket of one second's worth, and a quota of a day (UTC). Whoever
 * holds it keeps what was used of a quota (hd_keys_save()); a bucket is full again after a second. */
#ifndef HD_RATE_H
#define HD_RATE_H

#include "base/status.h"

/* All zero has asked for nothing yet. */
struct hd_rate {
    double tokens;
    int64_t at_ns; /* when they were counted; 0: never */
    int64_t day, used; /* requests of that day */
};

/* Takes one request's worth. per_second 0: no limit, per_day 0: no quota. Where it is refused nothing
 * is taken and *wait_s is when to try again, at least 1. */
bool hd_rate_take(struct hd_rate *rate, int64_t per_second, int64_t per_day, int64_t now_ns,
                  heed_time now, int *wait_s);

#endif

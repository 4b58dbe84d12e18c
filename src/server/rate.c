/* SPDX-License-Identifier: Apache-2.0
 *
 * Rates: a bucket fills with per_second tokens a second up to one second's worth; a request takes one. */
#include "server/rate.h"

#include <math.h>

#define DAY_MS INT64_C(86400000)

bool hd_rate_take(struct hd_rate *rate, int64_t per_second, int64_t per_day, int64_t now_ns,
                  heed_time now, int *wait_s)
{
    int64_t day = now / DAY_MS;

    if (rate->day != day)
        rate->day = day, rate->used = 0;
    if (per_day > 0 && rate->used >= per_day) {
        *wait_s = (int)((DAY_MS - now % DAY_MS + 999) / 1000);
        return false;
    }
    if (per_second > 0) {
        double full = (double)per_second;
        double filled = rate->at_ns ? rate->tokens + (double)(now_ns - rate->at_ns) * 1e-9 * full
                                    : full;
        rate->tokens = fmin(filled, full);
        rate->at_ns = now_ns;
        if (rate->tokens < 1) {
            *wait_s = 1; /* the next token is less than a second away */
            return false;
        }
        rate->tokens -= 1;
    }
    rate->used++;
    return true;
}

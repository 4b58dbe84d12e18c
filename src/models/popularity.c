/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of 1 or of 2^(-age / half_life). float holds counts exactly to 16,777,216; an item beyond
 * that is popular whatever its last digits say. Sums of decayed weights run in the order of the
 * events, which is the same every time. */
#include "models/popularity.h"

#include <math.h>
#include <string.h>

void hd_popularity(const struct hd_histories *h, const struct hd_popularity_opts *opts,
                   float *weight)
{
    bool decays = h->time && opts->half_life > 0;

    memset(weight, 0, (size_t)h->items * sizeof *weight);
    for (int64_t u = 0; u < h->users; u++) {
        int64_t first = h->offset[u];
        int64_t end = opts->all ? h->offset[u + 1] : first + hd_split_train_count(h, u);
        for (int64_t e = first; e < end; e++) {
            double age = decays ? (double)opts->now - (double)h->time[e] : 0;
            double w = age > 0 ? exp2(-age / (double)opts->half_life) : 1;
            weight[h->item[e]] += (float)w;
        }
    }
}

heed_status hd_popularity_score(void *baseline, int worker, const struct hd_question *question,
                                float *scores)
{
    const struct hd_popularity_baseline *b = baseline;

    (void)worker;
    (void)question;
    memcpy(scores, b->weight, (size_t)b->items * sizeof *scores);
    return HEED_OK;
}

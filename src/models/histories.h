/* SPDX-License-Identifier: Apache-2.0
 *
 * What models learn from: each user's events, oldest first, as item numbers. Plain arrays; whoever
 * fills them (the engine, a test, the simulator) owns them. */
#ifndef HD_HISTORIES_H
#define HD_HISTORIES_H

#include "heed/base.h"

/* Event e of user u is item[offset[u] + e]; items are 0 .. items - 1. immutable. */
struct hd_histories {
    int64_t users, items;
    const int64_t *offset;  /* users + 1 */
    const int32_t *item;    /* offset[users] */
    const heed_time *time;  /* as many, rising within a user; NULL: only the order is known */
};

#endif

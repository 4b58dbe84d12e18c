/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be shown, as whoever allocates sees it: plain arrays by item number, filled by the
 * engine, a test or the simulator. */
#ifndef HD_CATALOGUE_H
#define HD_CATALOGUE_H

#include "base/status.h"

/* immutable. */
struct hd_catalogue {
    int64_t items;
    const char *const *id;     /* items */
    const char *const *title;  /* items; NULL where there is none */
    const char *const *author; /* likewise */
    const char *const *url;    /* likewise */
    const heed_time *created;  /* items; 0: not known */
    const heed_time *expires;  /* items; 0: never */
    const bool *hidden;        /* items */
    /* No item was created after the one, none expires before the other (0: none does). Between them,
     * which is where most moments of asking lie, only `hidden` decides. */
    heed_time created_last, expires_first;
    /* What an item is about: its tags and its author, as numbers, rising and each once. */
    const int32_t *const *topic; /* items */
    const int32_t *topic_count;  /* items */
};

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Events and items as they arrive: what a line of NDJSON says (DESIGN.md 5), checked, as a plain
 * struct. No store, no clock. Everything outside what is listed here is refused by name. */
#ifndef HD_EVENT_H
#define HD_EVENT_H

#include "base/memory.h"
#include "base/status.h"

/* The numbers are in the store: appended, never renumbered. */
enum hd_event_kind {
    HD_EVENT_IMPRESSION,
    HD_EVENT_VIEW,
    HD_EVENT_CLICK,
    HD_EVENT_LIKE,
    HD_EVENT_DISLIKE,
    HD_EVENT_SHARE,
    HD_EVENT_SAVE,
    HD_EVENT_HIDE,
    HD_EVENT_REPORT,
    HD_EVENT_CONVERT,
    HD_EVENT_KINDS
};

#define HD_KIND(kind) (UINT32_C(1) << (kind))
/* The kinds that are attention freely given: what a history is made of. An impression is not yet
 * attention; dislike, hide and report say that there should be no more of it. */
#define HD_KINDS_ATTENTION                                                       \
    (HD_KIND(HD_EVENT_VIEW) | HD_KIND(HD_EVENT_CLICK) | HD_KIND(HD_EVENT_LIKE) | \
     HD_KIND(HD_EVENT_SHARE) | HD_KIND(HD_EVENT_SAVE) | HD_KIND(HD_EVENT_CONVERT))

const char *hd_event_kind_name(enum hd_event_kind kind);
/* -1 where there is no such kind. */
int hd_event_kind_find(const char *name, size_t bytes);

#endif

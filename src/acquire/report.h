/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention counted by group, and what of it may be told. No store, no clock: whoever counts brings the
 * events, those of one user next to each other.
 *
 * No line that is told stands for fewer than k readers. Hiding the small groups alone would not do:
 * whoever knows a sum subtracts what is shown and has what is hidden. So
 *
 *   - what is too small goes into one line, `other`, and no sum stands beside it: shares are of what is
 *     shown;
 *   - where `other` has fewer than k readers itself, the group next in order joins it. That one has k
 *     readers, so `other` has; where there is none, nothing is shown at all;
 *   - groups stand in the order of their readers, and what is shown is always a beginning of that order
 *     and `other` the rest of it. Asking again with another k or another n moves the place of the cut
 *     and nothing else, so subtracting one report from another gives groups that some report shows
 *     alone, and never what is behind the last place where a cut may be;
 *   - an event on an item with three tags counts in each, in `other` as well, so that sums over lines
 *     do not tell how groups overlap.
 *
 *     readers   |  900  310  44  12 |  7  3  1     k = 10
 *                  shown     n ^    ^ `other` begins here at the latest; one earlier where {7, 3, 1}
 *                                     are fewer than ten people
 *
 * What this does not do. It counts who stands behind a line and not how evenly: a line of ten readers
 * of whom one has nearly all events tells of that one. Readers of `other` are people, each once, so two
 * cuts tell how many of a group's readers are in none after it: a number, with nothing to it. And reports that cut the same events another
 * way (by author beside by item, all kinds beside one, a range that is a minute longer) are not
 * held against each other: their differences can be smaller than k. Against both only noise helps
 * (Dwork et al. 2006), which an operator, who may list the events anyway, is not served with.
 * Whoever hands reports on should hand on one cut, over ranges that do not overlap. */
#ifndef HD_REPORT_H
#define HD_REPORT_H

#include "base/status.h"

struct hd_report_sum {
    int64_t readers; /* whose attention was counted: impressions make nobody a reader */
    int64_t events, impressions, dwell_ms;
};

struct hd_report_group {
    struct hd_report_sum sum;
    int32_t last_user; /* + 1; 0: none yet */
};

/* All zero is empty. Group g is group[g]; many may be empty. confined. */
struct hd_report {
    struct hd_report_group *group;
    int64_t groups, room;
};
void hd_report_clear(struct hd_report *report);
/* An event of attention, or an impression (events 0, impressions 1): `what` has no readers. */
HEED_CHECKED heed_status hd_report_add(struct hd_report *report, int32_t user, int32_t group,
                                       const struct hd_report_sum *what);

/* What is shown: shown groups, by themselves, in their order; then the rest, as one line or not at all. */
struct hd_report_cut {
    int32_t *order; /* groups with an event, most readers first; on the heap */
    int32_t *place; /* of a group in it, by number; -1: it has none */
    int64_t count, shown;
    int64_t visible; /* groups of k readers or more */
    int64_t k;
    bool needs_readers; /* the rest's have to be counted, in a second walk over the same events */
    struct hd_report_group core, wide; /* the rest; the rest with the last of the shown */
    bool has_other;
    struct hd_report_sum other;
};
/* After the walk. Free it with hd_report_cut_clear(), also when it fails. */
HEED_CHECKED heed_status hd_report_cut(const struct hd_report *report, int64_t k, int64_t n,
                                       struct hd_report_cut *cut);
/* An event of attention in the second walk: whose it is. */
void hd_report_cut_see(struct hd_report_cut *cut, int32_t user, int32_t group);
/* After the second walk, where one was needed. */
void hd_report_cut_end(const struct hd_report *report, struct hd_report_cut *cut);
void hd_report_cut_clear(struct hd_report_cut *cut);

#endif

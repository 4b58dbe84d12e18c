/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting readers takes one number a group: events come by user, so whoever was seen last in a group
 * is the only one who could be counted twice. */
#include "acquire/report.h"
#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_LEAST 256

void hd_report_clear(struct hd_report *report)
{
    hd_free(report->group);
    *report = (struct hd_report){0};
}

static heed_status make_room(struct hd_report *r, int64_t groups)
{
    if (groups > r->room) {
        int64_t room = groups + groups / 2 + ROOM_LEAST;
        struct hd_report_group *more = hd_resize(r->group, (size_t)room, sizeof *more);
        if (!more)
            return hd_fail(HEED_E_NOMEM, "report: no memory for %" PRId64 " groups", room);
        memset(more + r->room, 0, (size_t)(room - r->room) * sizeof *more);
        r->group = more;
        r->room = room;
    }
    if (groups > r->groups)
        r->groups = groups;
    return HEED_OK;
}

static void see(struct hd_report_group *g, int32_t user)
{
    g->sum.readers += g->last_user != user + 1;
    g->last_user = user + 1;
}

static void add_sum(struct hd_report_sum *to, const struct hd_report_sum *what)
{
    to->events += what->events;
    to->impressions += what->impressions;
    to->dwell_ms += what->dwell_ms;
}

heed_status hd_report_add(struct hd_report *report, int32_t user, int32_t group,
                          const struct hd_report_sum *what)
{
    assert(group >= 0);
    HD_TRY(make_room(report, (int64_t)group + 1));
    struct hd_report_group *g = &report->group[group];
    add_sum(&g->sum, what);
    if (what->events > 0)
        see(g, user);
    return HEED_OK;
}

/* ---- the cut */

struct ranked {
    int64_t readers, events;
    int32_t group;
};

/* Most readers first. What decides between equals must not depend on k or n. */
static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->readers != y->readers)
        return x->readers < y->readers ? 1 : -1;
    if (x->events != y->events)
        return x->events < y->events ? 1 : -1;
    return (x->group > y->group) - (x->group < y->group);
}

static heed_status put_in_order(const struct hd_report *r, struct hd_report_cut *cut)
{
    struct ranked *ranked = hd_alloc((size_t)r->groups + 1, sizeof *ranked);

    cut->order = hd_alloc((size_t)r->groups + 1, sizeof *cut->order);
    cut->place = hd_alloc((size_t)r->groups + 1, sizeof *cut->place);
    if (!ranked || !cut->order || !cut->place) {
        hd_free(ranked);
        return hd_fail(HEED_E_NOMEM, "report: no memory for %" PRId64 " groups", r->groups);
    }
    for (int64_t g = 0; g < r->groups; g++) {
        const struct hd_report_sum *s = &r->group[g].sum;
        cut->place[g] = -1;
        if (s->events > 0) /* what was only shown has taken no attention */
            ranked[cut->count++] = (struct ranked){s->readers, s->events, (int32_t)g};
    }
    qsort(ranked, (size_t)cut->count, sizeof *ranked, compare_ranked);
    for (int64_t i = 0; i < cut->count; i++) {
        cut->order[i] = ranked[i].group;
        cut->place[ranked[i].group] = (int32_t)i;
    }
    hd_free(ranked);
    return HEED_OK;
}

heed_status hd_report_cut(const struct hd_report *report, int64_t k, int64_t n,
                          struct hd_report_cut *cut)
{
    *cut = (struct hd_report_cut){.k = k};
    HD_TRY(put_in_order(report, cut));
    while (cut->visible < cut->count &&
           report->group[cut->order[cut->visible]].sum.readers >= k)
        cut->visible++;
    cut->shown = cut->visible < n ? cut->visible : n;
    cut->needs_readers = cut->shown < cut->count;
    return HEED_OK;
}

void hd_report_cut_see(struct hd_report_cut *cut, int32_t user, int32_t group)
{
    int64_t place = cut->place[group];

    if (place >= cut->shown)
        see(&cut->core, user);
    if (place >= cut->shown - 1)
        see(&cut->wide, user);
}

void hd_report_cut_end(const struct hd_report *report, struct hd_report_cut *cut)
{
    int64_t readers = cut->core.sum.readers;

    if (readers < cut->k && cut->shown > 0) {
        cut->shown--;
        readers = cut->wide.sum.readers;
    }
    cut->has_other = readers >= cut->k;
    if (!cut->has_other)
        return;
    cut->other = (struct hd_report_sum){.readers = readers};
    for (int64_t i = cut->shown; i < cut->count; i++)
        add_sum(&cut->other, &report->group[cut->order[i]].sum);
}

void hd_report_cut_clear(struct hd_report_cut *cut)
{
    hd_free(cut->order);
    hd_free(cut->place);
    *cut = (struct hd_report_cut){0};
}

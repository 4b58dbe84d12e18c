/* SPDX-License-Identifier: Apache-2.0
 *
 * What all readers look at: popular and trending, without a walk over the events at each question.
 *
 * An event of age a counts 2^(-a / half-life). Ages grow for all events at the same pace, so sums are
 * kept as of a fixed moment, `base`, where a new event counts 2^((ts - base) / half-life), and one
 * factor for all turns them into sums as of any other moment. Ages are counted from the latest event,
 * not from now: the order is the same, and a store that has been quiet for years does not fade to
 * nothing.
 *
 *     S = sum over events with a time of 2^(-age / 14 days),  F = sum of 2^(-age / 1 day),  E = S / 14
 *     N = number of events without a time,  a = age of the first event with one, 8 weeks at the most
 *
 *     popular   S + N 2^(-a / 14 days)
 *     trending  (F - E) / sqrt(E + 1)
 *
 * E is what F would be if the last day were like the two weeks before it, and sqrt(E) what chance
 * alone would move it by (Poisson), so trending is a number of standard deviations. Of an event without a
 * time only is known that it stands before those with one (store.h), so it counts as if it were of the first of
 * them: all alike as long as there is none, and fading from then on; down to a sixteenth, so that one event of
 * 1970 does not make nothing of all that was imported without times. When it was, and so whether it moves
 * anything today, is not known, and trending leaves it out. All of this depends on the events alone, in
 * whatever order they came in and whenever they were counted. */
#include "acquire/event.h"
#include "allocate/feed.h"
#include "base/time.h"
#include "engine/state.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define DAY_MS 86400000.0
#define SLOW_MS (14 * DAY_MS)
#define FAST_MS DAY_MS
#define UNTIMED_MS_MAX (4 * SLOW_MS)
#define BASE_HALF_LIVES 256 /* of FAST_MS, after which the base moves: 2^256 is far from overflow */
#define RECOUNT_EVENTS_FEW 50000 /* ten milliseconds */
#define SUMMARY_SLOW "popular"
#define SUMMARY_FAST "trending"
#define SUMMARY_UNTIMED "untimed"

static heed_status tally_room(struct hd_tally *t, int64_t items)
{
    if (items > t->room) {
        int64_t room = items + items / 4 + 1024;
        double *slow = hd_resize(t->slow, (size_t)room, sizeof *slow);
        t->slow = slow ? slow : t->slow;
        double *fast = slow ? hd_resize(t->fast, (size_t)room, sizeof *fast) : NULL;
        t->fast = fast ? fast : t->fast;
        double *untimed = fast ? hd_resize(t->untimed, (size_t)room, sizeof *untimed) : NULL;
        t->untimed = untimed ? untimed : t->untimed;
        if (!untimed)
            return hd_fail(HEED_E_NOMEM, "popular: no memory for %" PRId64 " items", room);
        t->room = room;
    }
    for (; t->items < items; t->items++)
        t->slow[t->items] = t->fast[t->items] = t->untimed[t->items] = 0;
    return HEED_OK;
}

static void move_base(struct hd_tally *t, heed_time base)
{
    double passed = (double)(t->base - base);

    for (int64_t i = 0; i < t->items; i++) {
        t->slow[i] *= exp2(passed / SLOW_MS);
        t->fast[i] *= exp2(passed / FAST_MS);
    }
    t->base = base;
}

heed_status hd_tally_add(struct hd_tally *t, int32_t item, heed_time ts)
{
    if (ts > t->horizon)
        ts = t->horizon; /* a clock that is years ahead would make all others' events old */
    HD_TRY(tally_room(t, (int64_t)item + 1));
    t->events++;
    if (ts == 0) {
        t->untimed[item]++;
        return HEED_OK;
    }
    if (t->base == 0)
        t->base = t->first = t->latest = ts;
    if ((double)(ts - t->base) > BASE_HALF_LIVES * FAST_MS)
        move_base(t, ts);
    t->slow[item] += exp2((double)(ts - t->base) / SLOW_MS);
    t->fast[item] += exp2((double)(ts - t->base) / FAST_MS);
    t->first = ts < t->first ? ts : t->first;
    t->latest = ts > t->latest ? ts : t->latest;
    return HEED_OK;
}

/* ---- to and from the store. Three summaries, each: a number, a time, then a number an item. */
#define SUMMARIES 3
#define SUMMARY_HEAD 2

struct summary {
    const char *name;
    double count; /* of events; 0 in the others */
    heed_time time;
    double *value; /* items */
};

static void describe(const struct hd_tally *t, struct summary out[SUMMARIES])
{
    out[0] = (struct summary){SUMMARY_SLOW, (double)t->events, t->latest, t->slow};
    out[1] = (struct summary){SUMMARY_FAST, (double)t->events, t->latest, t->fast};
    out[2] = (struct summary){SUMMARY_UNTIMED, 0, t->first, t->untimed};
}

/* All of one moment, and that is now. Where one is missing an older heed has put the others aside. */
static bool is_whole(const struct hd_summary_row row[SUMMARIES], int64_t seq)
{
    for (int i = 0; i < SUMMARIES; i++)
        if (row[i].count < SUMMARY_HEAD || row[i].count != row[0].count || row[i].seq != seq ||
            row[i].at != row[0].at)
            return false;
    return true;
}

static heed_status read_summaries(hd_store *store, hd_arena *arena, bool stale, struct hd_tally *t)
{
    struct hd_summary_row row[SUMMARIES] = {{0}};
    struct summary summary[SUMMARIES];
    struct hd_store_changes changes;

    HD_TRY(hd_store_changes(store, &changes));
    t->seq = changes.seq;
    describe(t, summary);
    for (int i = 0; i < SUMMARIES; i++)
        HD_TRY(hd_store_get_summary(store, summary[i].name, arena, &row[i]));
    if (!is_whole(row, stale ? row[0].seq : changes.seq))
        return HEED_OK;
    HD_TRY(tally_room(t, row[0].count - SUMMARY_HEAD));
    describe(t, summary);
    for (int i = 0; i < SUMMARIES && t->items > 0; i++)
        memcpy(summary[i].value, row[i].value + SUMMARY_HEAD, (size_t)t->items * sizeof(double));
    t->events = (int64_t)row[0].value[0];
    t->latest = (heed_time)row[0].value[1];
    t->first = (heed_time)row[2].value[1];
    t->base = row[0].at;
    t->seq = t->saved_seq = row[0].seq;
    t->counted = INT32_MAX;
    return HEED_OK;
}

static heed_status count_in(void *context, int32_t user, int32_t item, heed_time ts)
{
    (void)user;
    return hd_tally_add(context, item, ts);
}

heed_status hd_tally_begin(hd_store *store, heed_time now, bool stale, struct hd_tally *out)
{
    struct hd_tally t = {.loaded = true, .saved_seq = -1, .horizon = now + HD_TALLY_AHEAD_MS};
    hd_arena *arena = hd_arena_new(0);
    heed_status status =
        arena ? read_summaries(store, arena, stale, &t) : hd_fail(HEED_E_NOMEM, "popular: no memory");

    hd_arena_free(arena);
    if (status != HEED_OK) {
        hd_tally_clear(&t);
        return status;
    }
    *out = t;
    return HEED_OK;
}

heed_status hd_tally_count(hd_store *store, int64_t events, struct hd_tally *t, bool *whole)
{
    bool first = t->counted == 0;
    int64_t seq;

    *whole = true;
    if (t->counted == INT32_MAX)
        return HEED_OK;
    HD_TRY(hd_store_walk_events(store, HD_KINDS_ATTENTION, events, &t->counted, count_in, t, &seq));
    *whole = first || seq == t->seq;
    t->seq = seq;
    return HEED_OK;
}

heed_status hd_tally_load(hd_store *store, heed_time now, struct hd_tally *out)
{
    struct hd_tally t;

    HD_TRY(hd_tally_begin(store, now, false, &t));
    bool whole; /* it is, of one piece */
    heed_status status = hd_tally_count(store, INT64_MAX, &t, &whole);
    if (status != HEED_OK) {
        hd_tally_clear(&t);
        return status;
    }
    *out = t;
    return HEED_OK;
}

void hd_tally_clear(struct hd_tally *t)
{
    hd_free(t->slow);
    hd_free(t->fast);
    hd_free(t->untimed);
    *t = (struct hd_tally){0};
}

static heed_status put_summaries(hd_store *store, const struct hd_tally *t, double *value)
{
    struct summary summary[SUMMARIES];

    describe(t, summary);
    for (int i = 0; i < SUMMARIES; i++) {
        value[0] = summary[i].count;
        value[1] = (double)summary[i].time;
        if (t->items > 0)
            memcpy(value + SUMMARY_HEAD, summary[i].value, (size_t)t->items * sizeof *value);
        struct hd_summary_row row = {.name = summary[i].name,
                                     .seq = t->seq,
                                     .at = t->base,
                                     .value = value,
                                     .count = t->items + SUMMARY_HEAD};
        HD_TRY(hd_store_put_summary(store, &row));
    }
    return HEED_OK;
}

heed_status hd_tally_save(hd_store *store, struct hd_tally *t)
{
    double *value = hd_alloc((size_t)t->items + SUMMARY_HEAD, sizeof *value);

    if (!value)
        return hd_fail(HEED_E_NOMEM, "popular: no memory for %" PRId64 " items", t->items);
    heed_status status = hd_store_begin(store);
    if (status == HEED_OK)
        status = put_summaries(store, t, value);
    if (status == HEED_OK)
        status = hd_store_commit(store);
    hd_store_rollback(store);
    hd_free(value);
    if (status == HEED_OK)
        t->saved_seq = t->seq;
    return status;
}

/* ---- as of the latest event */

static heed_status popular_new(const struct hd_tally *t, struct hd_popular **out)
{
    double since = (double)(t->base - t->latest);
    double slow = exp2(since / SLOW_MS), fast = exp2(since / FAST_MS);
    double untimed = exp2(-fmin((double)(t->latest - t->first), UNTIMED_MS_MAX) / SLOW_MS);
    struct hd_popular *p = hd_alloc(1, sizeof *p);

    if (!p)
        return hd_fail(HEED_E_NOMEM, "popular: no memory");
    atomic_init(&p->uses, 1);
    p->items = t->items;
    p->events = t->events;
    p->latest = t->latest;
    p->popular = hd_alloc((size_t)t->items + 1, sizeof *p->popular);
    p->trending = hd_alloc((size_t)t->items + 1, sizeof *p->trending);
    if (!p->popular || !p->trending) {
        hd_popular_drop(p);
        return hd_fail(HEED_E_NOMEM, "popular: no memory for %" PRId64 " items", t->items);
    }
    for (int64_t i = 0; i < t->items; i++) {
        double now = t->fast[i] * fast, usual = t->slow[i] * slow;
        p->popular[i] = (float)(usual + t->untimed[i] * untimed);
        usual *= FAST_MS / SLOW_MS;
        p->trending[i] = (float)((now - usual) / sqrt(usual + 1));
    }
    p->chart_count = hd_select_top(p->trending, NULL, t->items, HD_CHART_ITEMS, p->chart);
    *out = p;
    return HEED_OK;
}

static bool still_good(const heed_engine *engine, int64_t age_ns)
{
    const struct hd_tally *t = &engine->tally;

    if (!engine->popular)
        return false;
    if (engine->popular_seq == t->seq && engine->popular->items == t->items)
        return true;
    return hd_monotonic_ns() - engine->popular_ns < age_ns;
}

heed_status hd_popular_take(heed_engine *engine, int64_t age_ns, struct hd_popular **out)
{
    struct hd_store_changes changes;
    struct hd_popular *fresh = NULL;

    HD_TRY(hd_store_changes(engine->store, &changes));
    /* Few events are counted anew at once, and all where nothing is known; many by whoever refreshes. */
    bool here = !engine->kept_fresh || !engine->tally.loaded || changes.seq < RECOUNT_EVENTS_FEW;
    if (here && (!engine->tally.loaded || engine->tally.seq != changes.seq)) {
        struct hd_tally tally;
        HD_TRY(hd_tally_load(engine->store, hd_clock_now(&engine->clock), &tally));
        hd_tally_clear(&engine->tally);
        engine->tally = tally;
    }
    if (!still_good(engine, age_ns)) {
        HD_TRY(popular_new(&engine->tally, &fresh));
        hd_popular_drop(engine->popular);
        engine->popular = fresh;
        engine->popular_seq = engine->tally.seq;
        engine->popular_ns = hd_monotonic_ns();
    }
    atomic_fetch_add(&engine->popular->uses, 1);
    *out = engine->popular;
    return HEED_OK;
}

void hd_popular_drop(struct hd_popular *p)
{
    if (!p || atomic_fetch_sub(&p->uses, 1) > 1)
        return;
    hd_free(p->popular);
    hd_free(p->trending);
    hd_free(p);
}

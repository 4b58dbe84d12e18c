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
 *     popular   P = sum over events of 2^(-age / 14 days)
 *     trending  (F - E) / sqrt(E + 1),  F = sum of 2^(-age / 1 day),  E = P / 14
 *
 * E is what F would be if the last day were like the two weeks before it, and sqrt(E) what chance
 * alone would move it by (Poisson), so trending is a number of standard deviations. */
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
#define BASE_HALF_LIVES 256 /* of FAST_MS, after which the base moves: 2^256 is far from overflow */
#define RECOUNT_FEW 50000 /* events and silent users: ten milliseconds */
#define SUMMARY_SLOW "popular"
#define SUMMARY_FAST "trending"

static heed_status tally_room(struct hd_tally *t, int64_t items)
{
    if (items > t->room) {
        int64_t room = items + items / 4 + 1024;
        double *slow = hd_resize(t->slow, (size_t)room, sizeof *slow);
        t->slow = slow ? slow : t->slow;
        double *fast = slow ? hd_resize(t->fast, (size_t)room, sizeof *fast) : NULL;
        t->fast = fast ? fast : t->fast;
        if (!fast)
            return hd_fail(HEED_E_NOMEM, "popular: no memory for %" PRId64 " items", room);
        t->room = room;
    }
    for (; t->items < items; t->items++)
        t->slow[t->items] = t->fast[t->items] = 0;
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
    if (ts != 0 && t->base == 0)
        t->base = ts;
    if ((double)(ts - t->base) > BASE_HALF_LIVES * FAST_MS)
        move_base(t, ts);
    double since = ts != 0 ? (double)(ts - t->base) : 0;
    t->slow[item] += exp2(since / SLOW_MS);
    t->fast[item] += exp2(since / FAST_MS);
    t->latest = ts > t->latest ? ts : t->latest;
    t->events++;
    return HEED_OK;
}

/* ---- to and from the store. A summary is: events, latest, then a number an item. */
#define SUMMARY_HEAD 2

static heed_status read_summaries(hd_store *store, hd_arena *arena, struct hd_tally *t, bool *fresh)
{
    struct hd_summary_row slow = {0}, fast = {0};
    struct hd_store_changes changes;

    *fresh = false;
    HD_TRY(hd_store_changes(store, &changes));
    HD_TRY(hd_store_get_summary(store, SUMMARY_SLOW, arena, &slow));
    HD_TRY(hd_store_get_summary(store, SUMMARY_FAST, arena, &fast));
    if (slow.count < SUMMARY_HEAD || slow.count != fast.count || slow.seq != fast.seq ||
        slow.seq != changes.seq || slow.at != fast.at)
        return HEED_OK;
    HD_TRY(tally_room(t, slow.count - SUMMARY_HEAD));
    if (t->items > 0) {
        memcpy(t->slow, slow.value + SUMMARY_HEAD, (size_t)t->items * sizeof *t->slow);
        memcpy(t->fast, fast.value + SUMMARY_HEAD, (size_t)t->items * sizeof *t->fast);
    }
    t->events = (int64_t)slow.value[0];
    t->latest = (heed_time)slow.value[1];
    t->base = slow.at;
    t->seq = t->saved_seq = slow.seq;
    *fresh = true;
    return HEED_OK;
}

static heed_status count_in(void *context, int32_t user, int32_t item, heed_time ts)
{
    (void)user;
    return hd_tally_add(context, item, ts);
}

heed_status hd_tally_load(hd_store *store, heed_time now, struct hd_tally *out)
{
    struct hd_tally t = {.loaded = true, .saved_seq = -1, .horizon = now + HD_TALLY_AHEAD_MS};
    hd_arena *arena = hd_arena_new(0);
    bool fresh = false;
    heed_status status =
        arena ? read_summaries(store, arena, &t, &fresh) : hd_fail(HEED_E_NOMEM, "popular: no memory");

    hd_arena_free(arena);
    if (status == HEED_OK && !fresh)
        status = hd_store_walk_events(store, HD_KINDS_ATTENTION, count_in, &t, &t.seq);
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
    *t = (struct hd_tally){0};
}

heed_status hd_tally_save(hd_store *store, struct hd_tally *t)
{
    size_t n = (size_t)t->items + SUMMARY_HEAD;
    double *value = hd_alloc(n, sizeof *value);

    if (!value)
        return hd_fail(HEED_E_NOMEM, "popular: no memory for %" PRId64 " items", t->items);
    value[0] = (double)t->events;
    value[1] = (double)t->latest;
    struct hd_summary_row row = {
        .name = SUMMARY_SLOW, .seq = t->seq, .at = t->base, .value = value, .count = (int64_t)n};
    heed_status status = hd_store_begin(store);
    if (status == HEED_OK) {
        if (t->items > 0)
            memcpy(value + SUMMARY_HEAD, t->slow, (size_t)t->items * sizeof *value);
        status = hd_store_put_summary(store, &row);
    }
    if (status == HEED_OK) {
        row.name = SUMMARY_FAST;
        if (t->items > 0)
            memcpy(value + SUMMARY_HEAD, t->fast, (size_t)t->items * sizeof *value);
        status = hd_store_put_summary(store, &row);
    }
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
    double slow = t->latest ? exp2(since / SLOW_MS) : 1, fast = t->latest ? exp2(since / FAST_MS) : 1;
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
        p->popular[i] = (float)usual;
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
    /* Few events, and few whose events do not count, are counted anew at once; many by whoever refreshes. */
    bool here = !engine->kept_fresh || changes.seq + engine->silents < RECOUNT_FEW;
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

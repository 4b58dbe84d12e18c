/* SPDX-License-Identifier: Apache-2.0
 *
 * All histories in memory: what training, evaluation and the popular feed look at. */
#include "acquire/event.h"
#include "engine/state.h"
#include "models/popularity.h"

#include <inttypes.h>

#define POPULAR_HALF_LIFE_MS (INT64_C(14) * 86400000)

int64_t hd_fold_visits(int32_t *item, heed_time *time, uint8_t *kind, int64_t count)
{
    int64_t kept = 0;

    for (int64_t e = 0; e < count; e++) {
        if (kept > 0 && item[e] == item[kept - 1])
            continue;
        item[kept] = item[e];
        if (time)
            time[kept] = time[e];
        if (kind)
            kind[kept] = kind[e];
        kept++;
    }
    return kept;
}

/* Folds each user's events and closes the gaps that this leaves. */
static void fold_all(struct hd_store_histories *raw)
{
    int64_t kept = 0;

    for (int64_t u = 0; u < raw->users; u++) {
        int64_t first = raw->offset[u], count = raw->offset[u + 1] - first;
        count = hd_fold_visits(raw->item + first, raw->time + first, NULL, count);
        raw->offset[u] = kept;
        for (int64_t e = 0; e < count; e++, kept++) {
            raw->item[kept] = raw->item[first + e];
            raw->time[kept] = raw->time[first + e];
        }
    }
    raw->offset[raw->users] = kept;
}

static heed_status past_load(hd_store *store, struct hd_past **out)
{
    struct hd_past *past = hd_alloc(1, sizeof *past);

    if (!past)
        return hd_fail(HEED_E_NOMEM, "histories: no memory");
    atomic_init(&past->uses, 1);
    heed_status status = hd_store_load_histories(store, HD_KINDS_ATTENTION, &past->raw);
    if (status != HEED_OK) {
        hd_free(past);
        return status;
    }
    fold_all(&past->raw);
    past->histories = (struct hd_histories){.users = past->raw.users,
                                            .items = past->raw.items,
                                            .offset = past->raw.offset,
                                            .item = past->raw.item,
                                            .time = past->raw.has_times ? past->raw.time : NULL};
    past->popular = hd_alloc((size_t)past->raw.items + 1, sizeof *past->popular);
    if (!past->popular) {
        status =
            hd_fail(HEED_E_NOMEM, "histories: no memory for %" PRId64 " items", past->raw.items);
        hd_past_drop(past);
        return status;
    }
    /* Ages are counted from the latest event, not from now: the order is the same, and a store that
     * has been quiet for years does not fade to nothing. */
    for (int64_t e = 0; past->histories.time && e < past->raw.offset[past->raw.users]; e++)
        if (past->raw.time[e] > past->latest)
            past->latest = past->raw.time[e];
    struct hd_popularity_opts opts = {
        .all = true, .half_life = POPULAR_HALF_LIFE_MS, .now = past->latest};
    hd_popularity(&past->histories, &opts, past->popular);
    *out = past;
    return HEED_OK;
}

heed_status hd_past_take(heed_engine *engine, struct hd_past **out)
{
    struct hd_past *fresh = NULL;
    uint64_t version;

    HD_TRY(hd_store_version(engine->store, &version));
    if (!engine->past || engine->past_version != version) {
        HD_TRY(past_load(engine->store, &fresh));
        hd_past_drop(engine->past);
        engine->past = fresh;
        engine->past_version = version;
    }
    atomic_fetch_add(&engine->past->uses, 1);
    *out = engine->past;
    return HEED_OK;
}

void hd_past_drop(struct hd_past *past)
{
    if (!past || atomic_fetch_sub(&past->uses, 1) > 1)
        return;
    hd_store_histories_clear(&past->raw);
    hd_free(past->popular);
    hd_free(past);
}

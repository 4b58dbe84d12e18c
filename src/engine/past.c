/* SPDX-License-Identifier: Apache-2.0
 *
 * All histories in memory: what training and evaluation look at. */
#include "acquire/event.h"
#include "engine/state.h"

#include <inttypes.h>

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

void hd_fill_times(heed_time *time, int64_t count, heed_time end)
{
    for (int64_t e = count - 1; e >= 0; e--)
        end = time[e] = time[e] != 0 ? time[e] : end;
}

/* Folds each user's events and closes the gaps that this leaves. */
static void fold_all(struct hd_store_histories *raw)
{
    int64_t kept = 0;

    for (int64_t u = 0; u < raw->users; u++) {
        int64_t first = raw->offset[u], count = raw->offset[u + 1] - first;
        count = hd_fold_visits(raw->item + first, raw->time + first, NULL, count);
        hd_fill_times(raw->time + first, count, 0);
        raw->offset[u] = kept;
        for (int64_t e = 0; e < count; e++, kept++) {
            raw->item[kept] = raw->item[first + e];
            raw->time[kept] = raw->time[first + e];
        }
    }
    raw->offset[raw->users] = kept;
}

heed_status hd_past_load(hd_store *store, struct hd_past *out)
{
    struct hd_past past = {0};

    HD_TRY(hd_store_load_histories(store, HD_KINDS_ATTENTION, &past.raw));
    fold_all(&past.raw);
    past.histories = (struct hd_histories){.users = past.raw.users,
                                           .items = past.raw.items,
                                           .offset = past.raw.offset,
                                           .item = past.raw.item,
                                           .time = past.raw.has_times ? past.raw.time : NULL};
    for (int64_t e = 0; past.histories.time && e < past.raw.offset[past.raw.users]; e++)
        if (past.raw.time[e] > past.latest)
            past.latest = past.raw.time[e];
    *out = past;
    return HEED_OK;
}

heed_status hd_past_read(heed_engine *engine, struct hd_past *past)
{
    hd_store *store;

    HD_TRY(hd_store_open(engine->folder, &(struct hd_store_opts){.must_exist = true}, &store));
    heed_status status = hd_past_load(store, past);
    hd_store_close(store);
    return status;
}

void hd_past_clear(struct hd_past *past)
{
    hd_store_histories_clear(&past->raw);
    *past = (struct hd_past){0};
}

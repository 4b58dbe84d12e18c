/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows into the store. Each of these runs inside a transaction of the caller's. */
#include "store/inside.h"

#include <math.h>
#include <string.h>

static heed_status insert_event(hd_store *store, const struct hd_event_row *row, int32_t nth,
                                bool *fresh)
{
    bool whole = row->id || row->decision || row->position >= 0 || row->context || row->ext;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, whole ? STORE_PUT_EVENT_WHOLE : STORE_PUT_EVENT, &s));
    sqlite3_bind_int64(s, 1, row->user);
    sqlite3_bind_int64(s, 2, row->ts);
    sqlite3_bind_int64(s, 3, nth);
    sqlite3_bind_int64(s, 4, row->item);
    sqlite3_bind_int64(s, 5, row->kind);
    sqlite3_bind_int64(s, 6, row->seq ? row->seq : store->seq);
    if (row->dwell_ms >= 0)
        sqlite3_bind_int64(s, 7, row->dwell_ms);
    else
        sqlite3_bind_null(s, 7);
    if (isnan(row->value))
        sqlite3_bind_null(s, 8);
    else
        sqlite3_bind_double(s, 8, row->value);
    if (whole) {
        hd_store_bind_text(s, 9, row->id);
        hd_store_bind_text(s, 10, row->decision);
        if (row->position >= 0)
            sqlite3_bind_int64(s, 11, row->position);
        else
            sqlite3_bind_null(s, 11);
        hd_store_bind_text(s, 12, row->context);
        hd_store_bind_text(s, 13, row->ext);
    }
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    *fresh = sqlite3_changes(store->db) > 0;
    return HEED_OK;
}

heed_status hd_store_one_number(hd_store *store, sqlite3_stmt *s, int64_t none, int64_t *out)
{
    heed_status status = HEED_OK;
    int code = sqlite3_step(s);

    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    else if (code == SQLITE_DONE)
        *out = none;
    else
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

/* Where the id is new and yet something stood in the way, it was an event that is alike in all
 * else: two impressions in one millisecond. They are told apart by `nth`. */
static heed_status insert_beside(hd_store *store, const struct hd_event_row *row, bool *fresh)
{
    int64_t known = 0, last = -1;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_FIND_EVENT_ID, &s));
    hd_store_bind_text(s, 1, row->id);
    HD_TRY(hd_store_one_number(store, s, 0, &known));
    if (known)
        return HEED_OK;
    HD_TRY(hd_store_statement(store, STORE_LAST_NTH, &s));
    sqlite3_bind_int64(s, 1, row->user);
    sqlite3_bind_int64(s, 2, row->ts);
    sqlite3_bind_int64(s, 3, row->item);
    sqlite3_bind_int64(s, 4, row->kind);
    HD_TRY(hd_store_one_number(store, s, -1, &last));
    return insert_event(store, row, (int32_t)last + 1, fresh);
}

heed_status hd_store_take_seqs(hd_store *store, int64_t count, int64_t *seq)
{
    HD_TRY(hd_store_need_transaction(store));
    if (store->seq == 0)
        store->seq = 1; /* 0 is `none given` */
    *seq = store->seq;
    store->seq += count;
    store->total_changed = true;
    return HEED_OK;
}

heed_status hd_store_put_event(hd_store *store, const struct hd_event_row *row, bool *fresh)
{
    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(insert_event(store, row, row->nth, fresh));
    if (!*fresh && row->id)
        HD_TRY(insert_beside(store, row, fresh));
    if (*fresh) {
        store->seq += row->seq == 0;
        store->events++;
        store->timed += row->ts != 0;
        store->total_changed = true;
    }
    return HEED_OK;
}

/* ---- items */

void hd_store_touch_items(hd_store *store)
{
    store->changes.items++;
    store->total_changed = true;
}

/* Whether the store has exactly these, in order of their names. */
static heed_status same_features(hd_store *store, int32_t item,
                                 const struct hd_feature_row *features, int64_t count, bool *same)
{
    heed_status status = HEED_OK;
    int64_t found = 0;
    sqlite3_stmt *s = NULL;
    int code;

    HD_TRY(hd_store_statement(store, STORE_READ_FEATURES, &s));
    sqlite3_bind_int64(s, 1, item);
    *same = true;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        const void *vector = sqlite3_column_blob(s, 1);
        size_t bytes = (size_t)sqlite3_column_bytes(s, 1);
        bool known = false;
        for (int64_t i = 0; name && vector && i < count && !known; i++)
            known = strcmp(features[i].name, name) == 0 &&
                    bytes == (size_t)features[i].count * sizeof(float) &&
                    memcmp(vector, features[i].value, bytes) == 0;
        *same = *same && known;
        found++;
    }
    if (code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    *same = *same && found == count;
    sqlite3_reset(s);
    return status;
}

static heed_status put_features(hd_store *store, int32_t item,
                                const struct hd_feature_row *features, int64_t count, bool *changed)
{
    sqlite3_stmt *s = NULL;
    bool same;

    HD_TRY(same_features(store, item, features, count, &same));
    if (same)
        return HEED_OK;
    *changed = true;
    HD_TRY(hd_store_statement(store, STORE_DROP_FEATURES, &s));
    sqlite3_bind_int64(s, 1, item);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    for (int64_t i = 0; i < count; i++) {
        HD_TRY(hd_store_statement(store, STORE_PUT_FEATURE, &s));
        sqlite3_bind_int64(s, 1, item);
        hd_store_bind_text(s, 2, features[i].name);
        sqlite3_bind_blob64(s, 3, features[i].value, (uint64_t)features[i].count * sizeof(float),
                            SQLITE_STATIC);
        HD_TRY(hd_store_run(store, s, "cannot be written"));
    }
    return HEED_OK;
}

heed_status hd_store_put_item(hd_store *store, int32_t item, const struct hd_item_row *row,
                              const struct hd_feature_row *features, bool *changed)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(hd_store_statement(store, STORE_PUT_ITEM, &s));
    sqlite3_bind_int64(s, 1, item);
    hd_store_bind_text(s, 2, row->title);
    hd_store_bind_text(s, 3, row->text);
    hd_store_bind_text(s, 4, row->tags);
    hd_store_bind_text(s, 5, row->author);
    hd_store_bind_text(s, 6, row->url);
    sqlite3_bind_int64(s, 7, row->created);
    sqlite3_bind_int64(s, 8, row->expires);
    sqlite3_bind_int64(s, 9, row->hidden);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    *changed = sqlite3_changes(store->db) > 0;
    HD_TRY(put_features(store, item, features, row->features, changed));
    if (*changed)
        hd_store_touch_items(store);
    return HEED_OK;
}

/* ---- models */

heed_status hd_store_put_model(hd_store *store, const struct hd_model_row *row)
{
    bool own = !store->writing;
    sqlite3_stmt *s = NULL;

    if (own)
        HD_TRY(hd_store_begin(store));
    heed_status status = hd_store_statement(store, STORE_PUT_MODEL, &s);
    if (status == HEED_OK) {
        hd_store_bind_text(s, 1, row->name);
        hd_store_bind_text(s, 2, row->file);
        hd_store_bind_text(s, 3, row->description);
        sqlite3_bind_int64(s, 4, row->made);
        status = hd_store_run(store, s, "cannot be written");
    }
    if (own && status == HEED_OK)
        return hd_store_commit(store);
    if (own)
        hd_store_rollback(store);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What was computed from the events and is put aside, and the walk over events that computes it. */
#include "store/inside.h"

#include <inttypes.h>
#include <string.h>

heed_status hd_store_get_summary(hd_store *store, const char *name, hd_arena *arena,
                                 struct hd_summary_row *row)
{
    heed_status status = HEED_OK;
    struct hd_summary_row found = {.name = name, .seq = -1};
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_GET_SUMMARY, &s));
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        size_t bytes = (size_t)sqlite3_column_bytes(s, 2) / sizeof(double) * sizeof(double);
        double *value = hd_arena_alloc(arena, bytes, 1);
        if (!value)
            status = hd_fail(HEED_E_NOMEM, "store: no memory for a summary");
        else if (bytes > 0)
            memcpy(value, sqlite3_column_blob(s, 2), bytes);
        found.seq = sqlite3_column_int64(s, 0);
        found.at = sqlite3_column_int64(s, 1);
        found.value = value;
        found.count = (int64_t)(bytes / sizeof *value);
    } else if (code != SQLITE_DONE) {
        status = hd_store_fail(store, "cannot be read");
    }
    sqlite3_reset(s);
    if (status == HEED_OK)
        *row = found;
    return status;
}

heed_status hd_store_put_summary(hd_store *store, const struct hd_summary_row *row)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(hd_store_statement(store, STORE_PUT_SUMMARY, &s));
    sqlite3_bind_text(s, 1, row->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, row->seq);
    sqlite3_bind_int64(s, 3, row->at);
    sqlite3_bind_blob64(s, 4, row->value, (uint64_t)row->count * sizeof *row->value, SQLITE_STATIC);
    return hd_store_run(store, s, "cannot be written");
}

/* Whole users, until there were so many events. *next: who follows; behind all where none does. */
static heed_status walk_users(hd_store *store, uint32_t kinds, int64_t events, int32_t *next,
                              hd_event_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int64_t count = 0;
    int code = SQLITE_DONE;
    int32_t user = *next, last = *next;

    HD_TRY(hd_store_statement(store, STORE_WALK_EVENTS, &s));
    sqlite3_bind_int64(s, 1, kinds);
    sqlite3_bind_int64(s, 2, *next);
    *next = INT32_MAX;
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        user = sqlite3_column_int(s, 0);
        if (user != last && count >= events) {
            *next = user;
            break;
        }
        last = user;
        count++;
        status = fn(context, user, sqlite3_column_int(s, 1), sqlite3_column_int64(s, 2));
    }
    if (status == HEED_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_walk_events(hd_store *store, uint32_t kinds, int64_t events, int32_t *next,
                                 hd_event_fn fn, void *context, int64_t *seq)
{
    struct hd_store_changes changes;
    bool own;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = hd_store_changes(store, &changes);
    if (status == HEED_OK)
        status = walk_users(store, kinds, events, next, fn, context);
    hd_store_end_reading(store, own);
    /* The pages of a whole walk are not asked for again soon. */
    sqlite3_db_release_memory(store->db);
    if (status == HEED_OK)
        *seq = changes.seq;
    return status;
}

heed_status hd_store_walk_by_user(hd_store *store, uint32_t kinds, heed_time from, heed_time to,
                                  hd_look_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_WALK_BY_USER, &s));
    sqlite3_bind_int64(s, 1, kinds);
    sqlite3_bind_int64(s, 2, from);
    sqlite3_bind_int64(s, 3, to);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        status = fn(context, &(struct hd_event_look){.user = sqlite3_column_int(s, 0),
                                                     .item = sqlite3_column_int(s, 1),
                                                     .kind = (uint8_t)sqlite3_column_int(s, 2),
                                                     .ts = sqlite3_column_int64(s, 3),
                                                     .dwell_ms = sqlite3_column_int64(s, 4)});
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

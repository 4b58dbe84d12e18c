/* SPDX-License-Identifier: Apache-2.0
 *
 * Records one by one. */
#include "store/records.h"
#include "store/inside.h"

#include <math.h>
#include <string.h>

static heed_status look_up(hd_store *store, enum hd_statement which, const char *id,
                           int32_t *number)
{
    int64_t found = -1;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, which, &s));
    hd_store_bind_text(s, 1, id);
    HD_TRY(hd_store_one_number(store, s, -1, &found));
    *number = (int32_t)found;
    return HEED_OK;
}

heed_status hd_store_look_up_user(hd_store *store, const char *id, int32_t *number)
{
    *number = -1;
    return *id == HD_ERASED_MARK ? HEED_OK : look_up(store, STORE_FIND_USER, id, number);
}

heed_status hd_store_look_up_item(hd_store *store, const char *id, int32_t *number)
{
    return look_up(store, STORE_FIND_ITEM, id, number);
}

/* ---- events */

static bool is_null(sqlite3_stmt *s, int column)
{
    return sqlite3_column_type(s, column) == SQLITE_NULL;
}

static heed_status read_event(hd_store *store, sqlite3_stmt *s, struct hd_event_record *out)
{
    struct hd_event_record e = {
        .row = {.user = sqlite3_column_int(s, 0),
                .ts = sqlite3_column_int64(s, 1),
                .nth = sqlite3_column_int(s, 2),
                .item = sqlite3_column_int(s, 3),
                .kind = (uint8_t)sqlite3_column_int(s, 4),
                .dwell_ms = is_null(s, 6) ? -1 : sqlite3_column_int64(s, 6),
                .value = is_null(s, 7) ? (double)NAN : sqlite3_column_double(s, 7),
                .id = hd_store_column_text(s, 8),
                .decision = hd_store_column_text(s, 9),
                .position = is_null(s, 10) ? -1 : sqlite3_column_int(s, 10),
                .context = hd_store_column_text(s, 11),
                .ext = hd_store_column_text(s, 12)},
        .seq = sqlite3_column_int64(s, 5),
        .user = hd_store_column_text(s, 13),
        .item = hd_store_column_text(s, 14),
    };

    if (!e.user || !e.item)
        return hd_store_fail(store, "cannot be read");
    *out = e;
    return HEED_OK;
}

static heed_status each_event(hd_store *store, sqlite3_stmt *s, hd_record_fn fn, void *context,
                              int64_t *count)
{
    struct hd_event_record event;
    heed_status status = HEED_OK;
    int code = SQLITE_DONE;

    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        status = read_event(store, s, &event);
        if (status == HEED_OK)
            status = fn(context, &event);
        ++*count;
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

static struct hd_event_key begin_of(const struct hd_event_range *range)
{
    if (range->after)
        return *range->after;
    return (struct hd_event_key){.user = range->user >= 0 ? range->user : 0, .seq = -1};
}

static struct hd_event_key end_of(const struct hd_event_range *range)
{
    if (range->until)
        return *range->until;
    return (struct hd_event_key){range->user >= 0 ? range->user : INT32_MAX, INT64_MAX, INT64_MAX};
}

heed_status hd_store_further_event(hd_store *store, const struct hd_event_range *range, int64_t count,
                                   struct hd_event_key *place, bool *there)
{
    struct hd_event_key begin = begin_of(range);
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_FURTHER_EVENT, &s));
    sqlite3_bind_int64(s, 1, begin.user);
    sqlite3_bind_int64(s, 2, begin.ts);
    sqlite3_bind_int64(s, 3, count);
    int code = sqlite3_step(s);
    *there = code == SQLITE_ROW;
    if (*there)
        *place = (struct hd_event_key){sqlite3_column_int(s, 0), sqlite3_column_int64(s, 1), INT64_MAX};
    else if (code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_list_events(hd_store *store, const struct hd_event_range *range,
                                 hd_record_fn fn, void *context)
{
    struct hd_event_key after = begin_of(range), until = end_of(range);
    int64_t count = 0;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_LIST_EVENTS, &s));
    sqlite3_bind_int64(s, 1, after.user);
    sqlite3_bind_int64(s, 2, after.ts);
    sqlite3_bind_int64(s, 3, after.seq);
    sqlite3_bind_int64(s, 4, until.user);
    sqlite3_bind_int64(s, 5, range->item);
    sqlite3_bind_int64(s, 6, range->kind);
    sqlite3_bind_int64(s, 7, until.ts);
    return each_event(store, s, fn, context, &count);
}

static heed_status no_event(const hd_store *store, const char *id)
{
    return hd_fail(HEED_E_NOTFOUND, "%s: there is no event \"%.80s\"", store->folder, id);
}

heed_status hd_store_get_event(hd_store *store, const char *id, hd_record_fn fn, void *context)
{
    int64_t count = 0;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_GET_EVENT, &s));
    hd_store_bind_text(s, 1, id);
    HD_TRY(each_event(store, s, fn, context, &count));
    return count > 0 ? HEED_OK : no_event(store, id);
}

heed_status hd_store_remove_event(hd_store *store, const char *id)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(hd_store_statement(store, STORE_REMOVE_EVENT, &s));
    hd_store_bind_text(s, 1, id);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        hd_store_uncount(store, 1, sqlite3_column_int64(s, 0) != 0);
        code = sqlite3_step(s); /* the row is gone when the statement is done */
        if (code != SQLITE_DONE)
            status = hd_store_fail(store, "cannot be written");
    } else {
        status = code == SQLITE_DONE ? no_event(store, id)
                                     : hd_store_fail(store, "cannot be written");
    }
    sqlite3_reset(s);
    return status;
}

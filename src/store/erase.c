/* SPDX-License-Identifier: Apache-2.0
 *
 * Forgetting: a user whole, or events that are old.
 *
 * SQLite leaves what was deleted in its free pages and in the log until something is written over
 * it. With secure_delete it writes zeros; what the log still holds goes when the log does
 * (hd_store_flush_log). A user who was erased keeps the number, under an id that begins with a
 * character which no id that comes in can have: numbers stay dense, and the id is free for somebody
 * new. */
#include "store/inside.h"
#include "store/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BATCH_USERS 1024 /* whose old events are looked for at once, without the writers' lock */
#define BATCH_EVENTS 5000 /* removed in one transaction: some tens of milliseconds */

/* Readers that hold the log back are waited for this long, a part of what a writer waits. */
#define FLUSH_MS 500

void hd_store_miscount(hd_store *store)
{
    store->seq++;
    store->total_changed = true;
}

void hd_store_uncount(hd_store *store, int64_t events, int64_t timed)
{
    if (events == 0)
        return;
    store->events -= events;
    store->timed -= timed;
    hd_store_miscount(store);
    hd_store_touch_users(store);
}

heed_status hd_store_overwrite_freed(hd_store *store)
{
    return hd_store_sql(store, "PRAGMA secure_delete = on", "cannot be written");
}

/* Runs a statement on one user; *rows: how many it changed. */
static heed_status remove_of(hd_store *store, enum hd_statement which, int32_t user, int64_t *rows)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, which, &s));
    sqlite3_bind_int64(s, 1, user);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    *rows = sqlite3_changes(store->db);
    return HEED_OK;
}

heed_status hd_store_erase_user(hd_store *store, int32_t user, struct hd_store_trace *removed)
{
    struct hd_store_trace gone = {.known = true};
    int64_t timed = 0;
    char id[32];
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(hd_store_statement(store, STORE_COUNT_TIMED, &s));
    sqlite3_bind_int64(s, 1, user);
    HD_TRY(hd_store_one_number(store, s, 0, &timed));
    HD_TRY(remove_of(store, STORE_ERASE_EVENTS, user, &gone.events));
    HD_TRY(remove_of(store, STORE_DROP_MARKS, user, &gone.marks));
    snprintf(id, sizeof id, "%cerased:%" PRId32, HD_ERASED_MARK, user);
    HD_TRY(hd_store_statement(store, STORE_ERASE_USER, &s));
    sqlite3_bind_int64(s, 1, user);
    hd_store_bind_text(s, 2, id);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    HD_TRY(hd_names_rename_user(store, user, id));
    hd_store_uncount(store, gone.events, timed);
    hd_store_touch_users(store);
    *removed = gone;
    return HEED_OK;
}

static heed_status count_of(hd_store *store, enum hd_statement which, const char *id, int64_t *out)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, which, &s));
    hd_store_bind_text(s, 1, id);
    return hd_store_one_number(store, s, 0, out);
}

heed_status hd_store_trace_user(hd_store *store, const char *id, struct hd_store_trace *found)
{
    struct hd_store_trace trace = {0};
    int32_t number = -1;
    bool own;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = hd_store_look_up_user(store, id, &number);
    if (status == HEED_OK)
        status = count_of(store, STORE_TRACE_EVENTS, id, &trace.events);
    if (status == HEED_OK)
        status = count_of(store, STORE_TRACE_MARKS, id, &trace.marks);
    hd_store_end_reading(store, own);
    trace.known = number >= 0;
    if (status == HEED_OK)
        *found = trace;
    return status;
}

heed_status hd_store_flush_log(hd_store *store)
{
    int wait = store->busy_ms < FLUSH_MS ? store->busy_ms : FLUSH_MS;

    sqlite3_busy_timeout(store->db, wait);
    int code = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    heed_status status =
        code == SQLITE_OK ? HEED_OK : hd_store_fail(store, "its log cannot be emptied");
    sqlite3_busy_timeout(store->db, store->busy_ms);
    return status;
}

/* ---- retention */

/* Users with old events, from number `from` on. */
static heed_status old_users(hd_store *store, int32_t from, uint32_t kinds, heed_time before,
                             int32_t user[BATCH_USERS], int *count)
{
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE, n = 0;

    HD_TRY(hd_store_statement(store, STORE_OLD_USERS, &s));
    sqlite3_bind_int64(s, 1, from);
    sqlite3_bind_int64(s, 2, before);
    sqlite3_bind_int64(s, 3, kinds);
    sqlite3_bind_int64(s, 4, BATCH_USERS);
    while (n < BATCH_USERS && (code = sqlite3_step(s)) == SQLITE_ROW)
        user[n++] = sqlite3_column_int(s, 0);
    heed_status status = code == SQLITE_DONE || code == SQLITE_ROW
                             ? HEED_OK
                             : hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    *count = n;
    return status;
}

/* One transaction: users from *next on, until enough is removed. */
static heed_status remove_batch(hd_store *store, const int32_t *user, int count, int *next,
                                uint32_t kinds, heed_time before, int64_t *removed)
{
    int64_t gone = 0;

    HD_TRY(hd_store_begin(store));
    while (*next < count && gone < BATCH_EVENTS) {
        sqlite3_stmt *s = NULL;
        heed_status status = hd_store_statement(store, STORE_REMOVE_OLD, &s);
        if (status == HEED_OK) {
            sqlite3_bind_int64(s, 1, user[*next]);
            sqlite3_bind_int64(s, 2, before);
            sqlite3_bind_int64(s, 3, kinds);
            status = hd_store_run(store, s, "cannot be written");
        }
        if (status != HEED_OK) {
            hd_store_rollback(store);
            return status;
        }
        gone += sqlite3_changes(store->db);
        ++*next;
    }
    hd_store_uncount(store, gone, gone);
    HD_TRY(hd_store_commit(store));
    *removed += gone;
    return HEED_OK;
}

heed_status hd_store_retain(hd_store *store, uint32_t kinds, heed_time before, int64_t *removed)
{
    int32_t user[BATCH_USERS], from = 0;
    int count = 0;

    *removed = 0;
    HD_TRY(hd_store_overwrite_freed(store));
    do {
        HD_TRY(old_users(store, from, kinds, before, user, &count));
        for (int next = 0; next < count;) {
            HD_TRY(remove_batch(store, user, count, &next, kinds, before, removed));
            usleep(2 * STORE_LOCK_POLL_US); /* the lock is not fair: others get it now, or never */
        }
        if (count > 0)
            from = user[count - 1] + 1;
    } while (count == BATCH_USERS);
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether what the store holds is what its writers promise each other. */
#include "base/limits.h"
#include "store/backup.h"
#include "store/inside.h"

#include <inttypes.h>
#include <stdio.h>

#define DAMAGES_MAX 20 /* of pages: where there are more, all of it is damaged */
#define ERASED "id >= char(1) AND id < char(2)"
#define TEXT_OF(limit) TEXT_OF_(limit)
#define TEXT_OF_(limit) #limit

/* Each counts what breaks it: 0 is well. ?1 is the number of kinds, ?2 the latest time there is. */
static const struct invariant {
    const char *sql, *broken;
} invariants[] = {
    {"SELECT count(*) FROM pragma_foreign_key_check",
     "rows that name a user or an item which is not there"},
    {"SELECT coalesce(max(number), -1) + 1 - count(*) FROM user",
     "users: numbers that are missing"},
    {"SELECT coalesce(max(number), -1) + 1 - count(*) FROM item",
     "items: numbers that are missing"},
    {"SELECT count(*) FROM total WHERE events <> (SELECT count(*) FROM event)",
     "events: their count is not how many there are"},
    {"SELECT count(*) FROM total WHERE timed <> (SELECT count(*) FROM event WHERE ts_ms <> 0)",
     "events: the count of those with a time is not how many there are"},
    {"SELECT count(*) FROM event WHERE seq < 0 OR seq >= (SELECT seq FROM total)",
     "events: with an arrival that is still to come"},
    {"SELECT count(*) FROM (SELECT 1 FROM event GROUP BY user, ts_ms, seq HAVING count(*) > 1)",
     "events: two of a user and a time that arrived at once"},
    {"SELECT count(*) FROM event WHERE kind >= ?1", "events: of no known kind"},
    {"SELECT count(*) FROM event WHERE ts_ms < 0 OR ts_ms > ?2",
     "events: with a time that is none"},
    {"SELECT count(*) FROM event WHERE dwell_ms NOT BETWEEN 0 AND 86400000",
     "events: with a dwell_ms that is none"},
    {"SELECT count(*) FROM event WHERE position NOT BETWEEN 0 AND " TEXT_OF(HD_POSITION_MAX),
     "events: with a position that is none"},
    {"SELECT count(*) FROM user WHERE NOT (" ERASED ") "
     "AND length(CAST(id AS BLOB)) NOT BETWEEN 1 AND " TEXT_OF(HD_ID_BYTES_MAX),
     "users: with an id that is none"},
    {"SELECT count(*) FROM item WHERE length(CAST(id AS BLOB)) NOT BETWEEN 1 AND " TEXT_OF(
         HD_ID_BYTES_MAX),
     "items: with an id that is none"},
    {"SELECT count(*) FROM user WHERE consent NOT BETWEEN 0 AND 7",
     "users: with a consent that is none"},
    {"SELECT count(*) FROM user WHERE " ERASED " AND (id <> char(1) || 'erased:' || number OR "
     "attributes IS NOT NULL OR consent <> 0)",
     "users: erased, and something of them is left"},
    {"SELECT count(*) FROM event WHERE user IN (SELECT number FROM user WHERE " ERASED ")",
     "events: of users who were erased"},
    {"SELECT count(*) FROM user_mark WHERE user IN (SELECT number FROM user WHERE " ERASED ")",
     "marks: of users who were erased"},
    {"SELECT count(*) FROM user WHERE attributes IS NOT NULL AND NOT json_valid(attributes)",
     "users: with attributes that are no JSON"},
    {"SELECT count(*) FROM item WHERE tags IS NOT NULL AND NOT json_valid(tags)",
     "items: with tags that are no JSON"},
    {"SELECT count(*) FROM event WHERE (context IS NOT NULL AND NOT json_valid(context)) OR "
     "(ext IS NOT NULL AND NOT json_valid(ext))",
     "events: with a context or ext that is no JSON"},
    {"SELECT count(*) FROM item_feature WHERE length(vector) % 4 <> 0 OR "
     "length(vector) / 4 NOT BETWEEN 1 AND " TEXT_OF(HD_FEATURE_COUNT_MAX),
     "items: vectors of a length that is none"},
    {"SELECT count(*) FROM summary WHERE length(vector) % 8 <> 0 OR "
     "length(vector) / 8 - 2 > (SELECT count(*) FROM item) OR seq > (SELECT seq FROM total)",
     "summaries: that do not fit the items and events"},
    {"SELECT count(*) FROM total WHERE item_changes < 0 OR user_changes < 0",
     "counters of changes that are below 0"},
};

static void tell(struct hd_store_check *check, const char *what)
{
    check->findings++;
    if (check->found)
        check->found(check->context, what);
}

static heed_status check_invariant(hd_store *store, const struct invariant *invariant,
                                   struct hd_store_check *check)
{
    char text[256];
    int64_t broken = 0;
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(store->db, invariant->sql, -1, &s, NULL) != SQLITE_OK)
        return hd_store_fail(store, "cannot be checked");
    if (sqlite3_bind_parameter_count(s) > 0) { /* those that it does not have are passed over */
        sqlite3_bind_int64(s, 1, check->kinds);
        sqlite3_bind_int64(s, 2, HD_TIME_MS_MAX);
    }
    heed_status status = hd_store_one_number(store, s, 0, &broken);
    sqlite3_finalize(s);
    HD_TRY(status);
    check->checked++;
    if (broken != 0) {
        snprintf(text, sizeof text, "%s (%" PRId64 ")", invariant->broken, broken);
        tell(check, text);
    }
    return HEED_OK;
}

/* Pages, trees, indexes, NOT NULL, CHECK and UNIQUE: SQLite's own look at all of it. */
static heed_status check_pages(hd_store *store, struct hd_store_check *check)
{
    char text[256];
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    snprintf(text, sizeof text, "PRAGMA integrity_check(%d)", DAMAGES_MAX);
    if (sqlite3_prepare_v2(store->db, text, -1, &s, NULL) != SQLITE_OK)
        return hd_store_fail(store, "cannot be checked");
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        const char *what = hd_store_column_text(s, 0);
        if (!what || (what[0] == 'o' && what[1] == 'k' && !what[2]))
            continue;
        snprintf(text, sizeof text, "database: %.200s", what);
        tell(check, text);
    }
    if (code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be checked");
    sqlite3_finalize(s);
    check->checked++;
    return status;
}

heed_status hd_store_check(hd_store *store, struct hd_store_check *check)
{
    bool own = false;

    check->checked = check->findings = 0;
    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = check_pages(store, check);
    for (size_t i = 0; status == HEED_OK && i < sizeof invariants / sizeof *invariants; i++)
        status = check_invariant(store, &invariants[i], check);
    hd_store_end_reading(store, own);
    return status;
}

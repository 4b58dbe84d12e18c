/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the store share: the handle, its prepared statements, and the way from a code
 * of SQLite to a status. Nobody else includes it. */
#ifndef HD_STORE_INSIDE_H
#define HD_STORE_INSIDE_H

#include "base/map.h"
#include "store/records.h"
#include "store/store.h"

#include <sqlite3.h>

#define STORE_APPLICATION_ID 1214603588 /* "HeeD": what file(1) and we know a heed.db by */
#define STORE_LOCK_POLL_US 10000 /* how often whoever waits for the lock asks for it */
#define HD_ERASED_MARK '\x01' /* what the id of an erased user begins with: no id that comes in can */

/* An event with the ids that it names. The event comes first whatever the planner thinks: it alone
 * gives the order. */
#define STORE_EVENT_WHOLE                                                                       \
    "SELECT e.user, e.ts_ms, e.nth, e.item, e.kind, e.seq, e.dwell_ms, e.value, e.id, "          \
    "e.decision, e.position, e.context, e.ext, u.id, i.id FROM event e "                         \
    "CROSS JOIN user u ON u.number = e.user CROSS JOIN item i ON i.number = e.item "

/* Prepared when they are first needed, kept until the store is closed. */
#define STORE_STATEMENTS(X)                                                                      \
    X(ADD_USER, "INSERT INTO user (number, id) VALUES (?1, ?2)")                                 \
    X(ADD_ITEM, "INSERT INTO item (number, id) VALUES (?1, ?2)")                                 \
    X(READ_USERS, "SELECT id FROM user WHERE number >= ?1 ORDER BY number")                      \
    X(READ_ITEMS, "SELECT id FROM item WHERE number >= ?1 ORDER BY number")                      \
    X(DATA_VERSION, "PRAGMA data_version")                                                       \
    X(READ_ERASED, "SELECT number, id FROM user WHERE id < char(2)")                             \
    X(COUNT_ERASED, "SELECT count(*) FROM user WHERE id < char(2)")                              \
    X(READ_TOTAL, "SELECT events, timed, seq, item_changes, user_changes FROM total")            \
    X(WRITE_TOTAL, "UPDATE total SET events = ?1, timed = ?2, seq = ?3, item_changes = ?4, "     \
                   "user_changes = ?5")                                                          \
    X(COUNT_USERS, "SELECT coalesce(max(number) + 1, 0) FROM user")                              \
    X(COUNT_ITEMS, "SELECT coalesce(max(number) + 1, 0) FROM item")                              \
    X(PUT_EVENT, "INSERT INTO event (user, ts_ms, nth, item, kind, seq, dwell_ms, value) "       \
                 "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING")               \
    X(PUT_EVENT_WHOLE,                                                                           \
      "INSERT INTO event (user, ts_ms, nth, item, kind, seq, dwell_ms, value, "                  \
      "id, decision, position, context, ext) "                                                   \
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING")  \
    X(FIND_EVENT_ID, "SELECT 1 FROM event WHERE id = ?1")                                        \
    X(LAST_NTH, "SELECT coalesce(max(nth), -1) FROM event "                                      \
                "WHERE user = ?1 AND ts_ms = ?2 AND item = ?3 AND kind = ?4")                    \
    X(PUT_ITEM, "UPDATE item SET title = ?2, text = ?3, tags = ?4, author = ?5, url = ?6, "      \
                "created_ms = ?7, expires_ms = ?8, hidden = ?9 WHERE number = ?1 AND NOT ("      \
                "title IS ?2 AND text IS ?3 AND tags IS ?4 AND author IS ?5 AND url IS ?6 "      \
                "AND created_ms = ?7 AND expires_ms = ?8 AND hidden = ?9)")                      \
    X(READ_FEATURES, "SELECT name, vector FROM item_feature WHERE item = ?1 ORDER BY name")      \
    X(DROP_FEATURES, "DELETE FROM item_feature WHERE item = ?1")                                 \
    X(PUT_FEATURE, "INSERT INTO item_feature (item, name, vector) VALUES (?1, ?2, ?3)")          \
    X(GET_ITEM, "SELECT number, id, title, text, tags, author, url, created_ms, expires_ms, "    \
                "hidden, (SELECT count(*) FROM item_feature f WHERE f.item = number) "           \
                "FROM item WHERE number = ?1")                                                   \
    X(EACH_ITEM, "SELECT number, id, title, text, tags, author, url, created_ms, expires_ms, "   \
                 "hidden, (SELECT count(*) FROM item_feature f WHERE f.item = number) "          \
                 "FROM item WHERE number >= ?1 ORDER BY number")                                 \
    X(PUT_USER, "UPDATE user SET attributes = ?2, consent = ?3 WHERE number = ?1 "               \
                "AND NOT (attributes IS ?2 AND consent = ?3)")                                   \
    X(GET_USER, "SELECT number, id, attributes, consent FROM user WHERE number = ?1")            \
    X(EACH_USER, "SELECT number, id, attributes, consent FROM user "                             \
                 "WHERE number >= ?1 AND id >= char(2) ORDER BY number")                         \
    X(READ_MARKS, "SELECT mark, what, name FROM user_mark WHERE user = ?1 "                      \
                  "ORDER BY mark, what, name")                                                   \
    X(DROP_MARKS, "DELETE FROM user_mark WHERE user = ?1")                                       \
    X(PUT_MARK, "INSERT INTO user_mark (user, mark, what, name) VALUES (?1, ?2, ?3, ?4) "        \
                "ON CONFLICT DO NOTHING")                                                        \
    X(EACH_EVENT, "SELECT user, ts_ms, item, kind, seq FROM event WHERE user NOT IN "            \
                  "(SELECT number FROM user WHERE consent & 1 = 0) ORDER BY user, ts_ms")        \
    X(WALK_EVENTS, "SELECT e.user, e.item, e.ts_ms FROM user u CROSS JOIN event e "             \
                   "ON e.user = u.number WHERE u.number >= ?2 AND u.consent & 1 "               \
                   "AND (?1 >> e.kind) & 1 ORDER BY u.number")                                  \
    X(WALK_BY_USER, "SELECT user, item, kind, ts_ms, dwell_ms FROM event "                       \
                    "WHERE (?1 >> kind) & 1 AND ts_ms >= ?2 AND ts_ms < ?3 AND user NOT IN "     \
                    "(SELECT number FROM user WHERE consent & 1 = 0) ORDER BY user")             \
    X(FIND_USER, "SELECT number FROM user WHERE id = ?1")                                        \
    X(FIND_ITEM, "SELECT number FROM item WHERE id = ?1")                                        \
    X(GET_SUMMARY, "SELECT seq, at_ms, vector FROM summary WHERE name = ?1")                     \
    X(PUT_SUMMARY, "INSERT INTO summary (name, seq, at_ms, vector) VALUES (?1, ?2, ?3, ?4) "     \
                   "ON CONFLICT (name) DO UPDATE SET seq = ?2, at_ms = ?3, vector = ?4")         \
    X(LIST_EVENTS, STORE_EVENT_WHOLE                                                            \
      "WHERE (e.user, e.ts_ms) >= (?1, ?2) AND (e.user, e.ts_ms) <= (?4, ?7) "                   \
      "AND NOT (e.user = ?1 AND e.ts_ms = ?2 AND e.seq <= ?3) "                                  \
      "AND (?5 < 0 OR e.item = ?5) AND (?6 < 0 OR e.kind = ?6) "                                 \
      "ORDER BY e.user, e.ts_ms, e.seq")                                                         \
    X(FURTHER_EVENT, "SELECT user, ts_ms FROM event WHERE (user, ts_ms) >= (?1, ?2) "            \
                     "ORDER BY user, ts_ms LIMIT 1 OFFSET ?3")                                   \
    X(GET_EVENT, STORE_EVENT_WHOLE "WHERE e.id = ?1")                                           \
    X(REMOVE_EVENT, "DELETE FROM event WHERE id = ?1 RETURNING ts_ms")                           \
    X(OLD_USERS, "SELECT number FROM user u WHERE number >= ?1 AND EXISTS ("                     \
                 "SELECT 1 FROM event e WHERE e.user = u.number AND e.ts_ms > 0 "                \
                 "AND e.ts_ms < ?2 AND (?3 >> e.kind) & 1) ORDER BY number LIMIT ?4")            \
    X(REMOVE_OLD, "DELETE FROM event WHERE user = ?1 AND ts_ms > 0 AND ts_ms < ?2 "              \
                  "AND (?3 >> kind) & 1")                                                        \
    X(HAS_EVENTS, "SELECT EXISTS (SELECT 1 FROM event WHERE user = ?1)")                         \
    X(COUNT_TIMED, "SELECT count(*) FROM event WHERE user = ?1 AND ts_ms <> 0")                  \
    X(ERASE_EVENTS, "DELETE FROM event WHERE user = ?1")                                         \
    X(ERASE_USER, "UPDATE user SET id = ?2, attributes = NULL, consent = 0 WHERE number = ?1")   \
    X(TRACE_EVENTS, "SELECT count(*) FROM event WHERE user IN "                                  \
                    "(SELECT number FROM user WHERE id = ?1 OR id < char(2))")                   \
    X(TRACE_MARKS, "SELECT count(*) FROM user_mark WHERE user IN "                               \
                   "(SELECT number FROM user WHERE id = ?1 OR id < char(2))")                    \
    X(USER_EVENTS, "SELECT item, ts_ms, kind FROM event WHERE user = ?1 AND (?2 >> kind) & 1 "   \
                   "ORDER BY ts_ms DESC, seq DESC LIMIT ?3")                                     \
    X(PUT_MODEL, "INSERT INTO model (name, file, description, made_ms) VALUES (?1, ?2, ?3, ?4) " \
                 "ON CONFLICT (name) DO UPDATE SET file = ?2, description = ?3, made_ms = ?4")   \
    X(GET_MODEL, "SELECT name, file, description, made_ms FROM model WHERE name = ?1")           \
    X(EACH_MODEL, "SELECT name, file, description, made_ms FROM model ORDER BY name")            \
    X(PUT_KEY, "INSERT INTO api_key (name, role, account, hash, per_second, per_day, made_ms) "  \
               "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING")                     \
    X(REVOKE_KEY, "UPDATE api_key SET revoked_ms = ?2 WHERE name = ?1 AND revoked_ms = 0")       \
    X(EACH_KEY, "SELECT number, name, role, account, hash, per_second, per_day, made_ms, "       \
                "revoked_ms FROM api_key ORDER BY number")                                       \
    X(PUT_AUDIT, "INSERT INTO audit (at_ms, who, action, subject) VALUES (?1, ?2, ?3, ?4)")      \
    X(EACH_AUDIT, "SELECT at_ms, who, action, subject FROM audit ORDER BY number DESC LIMIT ?1")

enum hd_statement {
#define STORE_NAME(name, sql) STORE_##name,
    STORE_STATEMENTS(STORE_NAME)
#undef STORE_NAME
        STORE_STATEMENT_COUNT
};

/* Users or items: their ids in the order of their numbers. */
struct hd_names {
    hd_map *map;
    int32_t committed; /* how many were there when the transaction began */
    bool loaded;       /* holds what the table holds, as of `seen` */
    bool checked;      /* this transaction has looked whether that is still so */
    int64_t seen;      /* SQLite's data version then */
    int64_t erasures;  /* users: `user_changes` then */
    int64_t erased;    /* users: how many were erased, as of `erasures`; -1: not known */
};

struct hd_store {
    sqlite3 *db;
    char *folder;
    int busy_ms;
    int lock_file, lock_depth;
    bool writing;     /* a transaction is open */
    uint64_t commits; /* our own */
    struct hd_names users, items;
    int64_t events, timed, seq; /* the row of `total`, while writing */
    struct hd_store_changes changes; /* of the same row */
    bool total_changed, user_renamed;
    sqlite3_stmt *statement[STORE_STATEMENT_COUNT];
};

/* The last failure of the database as a status and a message: FOLDER: `what`: why. */
heed_status hd_store_fail(hd_store *store, const char *what);
/* Ready to be bound. */
HEED_CHECKED heed_status hd_store_statement(hd_store *store, enum hd_statement which,
                                            sqlite3_stmt **out);
/* Steps a statement that returns no row, and resets it. */
HEED_CHECKED heed_status hd_store_run(hd_store *store, sqlite3_stmt *statement, const char *what);
HEED_CHECKED heed_status hd_store_sql(hd_store *store, const char *sql, const char *what);
/* One number of a pragma or a count. */
HEED_CHECKED heed_status hd_store_number(hd_store *store, const char *sql, int64_t *out);
/* The first number of a statement's first row, `none` where it has no row; resets it. */
HEED_CHECKED heed_status hd_store_one_number(hd_store *store, sqlite3_stmt *statement, int64_t none,
                                             int64_t *out);
HEED_CHECKED heed_status hd_store_data_version(hd_store *store, int64_t *version);

HEED_CHECKED heed_status hd_store_need_transaction(const hd_store *store);
/* In a transaction: what was counted up to some arrival is true no more. A number of arrival is left
 * out, so that whoever counted up to the last one sees that there is another. */
void hd_store_miscount(hd_store *store);
/* In a transaction: so many events are gone, of which so many had a time. */
void hd_store_uncount(hd_store *store, int64_t events, int64_t timed);
/* NULL becomes SQL's NULL. The text must live until the statement has run. */
void hd_store_bind_text(sqlite3_stmt *statement, int place, const char *text);
/* A copy in the arena. NULL stays NULL; *status is set where there is no memory. */
const char *hd_store_keep_text(hd_arena *arena, const char *text, heed_status *status);
const char *hd_store_column_text(sqlite3_stmt *statement, int column);

HEED_CHECKED heed_status hd_names_new(struct hd_names *names);
/* In a transaction: the user is called this from now on. */
HEED_CHECKED heed_status hd_names_rename_user(hd_store *store, int32_t user, const char *id);
/* What is in the tables was rolled back: forget what came since the transaction began. */
void hd_names_rollback(struct hd_names *names);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing a data folder, migrations, the lock, transactions.
 *
 * The lock is flock() on heed.lock and not SQLite's own, because a job of many transactions wants
 * to keep others out between them too, and because the file can say who holds it. The kernel lets
 * go of it when a process dies, however it dies.
 *
 * synchronous=FULL: each commit is on disk when it returns. With commits of ten thousand rows that
 * costs nothing that could be measured beside NORMAL. Foreign keys are written in the tables for
 * their reader and not checked by SQLite: rows are only made from numbers this file has handed out.
 */
#include "store/store.h"
#include "base/limits.h"
#include "base/time.h"
#include "store/inside.h"
#include "store/migrations.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS_DEFAULT 5000

heed_status hd_store_fail(hd_store *store, const char *what)
{
    const char *folder = store->folder;
    int code = sqlite3_errcode(store->db), error = sqlite3_system_errno(store->db);

    switch (code & 0xFF) {
    case SQLITE_FULL:
        return hd_fail(HEED_E_IO, "%s: %s: the disk is full", folder, what);
    case SQLITE_READONLY:
        return hd_fail(HEED_E_IO, "%s: %s: it is read-only", folder, what);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_IOERR:
        /* Readers write too: the log's index lies beside the database. */
        if (access(folder, W_OK) != 0)
            return hd_fail_errno(HEED_E_IO, "%s: the folder cannot be written", folder);
        return hd_fail(HEED_E_IO, "%s: %s: %s", folder, what,
                       error ? strerror(error) : sqlite3_errmsg(store->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return hd_fail(HEED_E_BUSY, "%s: %s: another program is writing to heed.db", folder, what);
    case SQLITE_NOMEM:
        return hd_fail(HEED_E_NOMEM, "%s: %s: no memory", folder, what);
    case SQLITE_NOTADB:
        return hd_fail(HEED_E_FORMAT, "%s: heed.db is not a store of heed", folder);
    case SQLITE_CORRUPT:
        return hd_fail(HEED_E_FORMAT, "%s: heed.db is damaged", folder);
    case SQLITE_TOOBIG:
        return hd_fail(HEED_E_RANGE, "%s: %s: a value is too long", folder, what);
    default:
        return hd_fail(HEED_E_IO, "%s: %s: %s", folder, what, sqlite3_errmsg(store->db));
    }
}

heed_status hd_store_statement(hd_store *store, enum hd_statement which, sqlite3_stmt **out)
{
    static const char *const sql[] = {
#define STORE_SQL(name, text) text,
        STORE_STATEMENTS(STORE_SQL)
#undef STORE_SQL
    };
    sqlite3_stmt **slot = &store->statement[which];

    if (!*slot && sqlite3_prepare_v3(store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, slot,
                                     NULL) != SQLITE_OK)
        return hd_store_fail(store, "cannot read the tables");
    *out = *slot;
    return HEED_OK;
}

void hd_store_bind_text(sqlite3_stmt *s, int place, const char *text)
{
    if (text)
        sqlite3_bind_text(s, place, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, place);
}

heed_status hd_store_run(hd_store *store, sqlite3_stmt *statement, const char *what)
{
    int code = sqlite3_step(statement);
    heed_status status =
        code == SQLITE_DONE || code == SQLITE_ROW ? HEED_OK : hd_store_fail(store, what);
    sqlite3_reset(statement);
    return status;
}

heed_status hd_store_sql(hd_store *store, const char *sql, const char *what)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return hd_store_fail(store, what);
    return HEED_OK;
}

heed_status hd_store_number(hd_store *store, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    heed_status status = HEED_OK;

    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        status = hd_store_fail(store, "cannot be read");
    else
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

heed_status hd_store_data_version(hd_store *store, int64_t *version)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_DATA_VERSION, &s));
    if (sqlite3_step(s) == SQLITE_ROW)
        *version = sqlite3_column_int64(s, 0);
    else
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_version(hd_store *store, uint64_t *version)
{
    int64_t others;

    HD_TRY(hd_store_data_version(store, &others));
    *version = store->commits + (uint64_t)others;
    return HEED_OK;
}

heed_status hd_store_changes(hd_store *store, struct hd_store_changes *out)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    if (store->writing) {
        *out = store->changes;
        out->seq = store->seq;
        return HEED_OK;
    }
    HD_TRY(hd_store_statement(store, STORE_READ_TOTAL, &s));
    if (sqlite3_step(s) == SQLITE_ROW)
        *out = (struct hd_store_changes){.items = sqlite3_column_int64(s, 3),
                                         .users = sqlite3_column_int64(s, 4),
                                         .seq = sqlite3_column_int64(s, 2)};
    else
        status = hd_store_fail(store, "cannot read its counts");
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_need_transaction(const hd_store *store)
{
    if (!store->writing)
        return hd_fail(HEED_E_STATE, "%s: no transaction is open", store->folder);
    return HEED_OK;
}

/* ---- the lock */

static long lock_holder(int file)
{
    char text[24] = "";
    ssize_t bytes = pread(file, text, sizeof text - 1, 0);

    return bytes > 0 ? strtol(text, NULL, 10) : 0;
}

/* Who holds it: only words in somebody else's message, so a failure to write them is no failure. */
static void name_holder(int file)
{
    char text[24];
    int bytes = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    if (ftruncate(file, 0) == 0 && pwrite(file, text, (size_t)bytes, 0) != bytes)
        return;
}

heed_status hd_store_lock(hd_store *store)
{
    char path[4096];
    int64_t until = hd_monotonic_ns() + (int64_t)store->busy_ms * 1000000;

    if (store->lock_depth > 0) {
        store->lock_depth++;
        return HEED_OK;
    }
    if (store->lock_file < 0) {
        snprintf(path, sizeof path, "%s/heed.lock", store->folder);
        store->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (store->lock_file < 0)
            return hd_fail_errno(HEED_E_IO, "%s: cannot be written", store->folder);
    }
    while (flock(store->lock_file, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return hd_fail_errno(HEED_E_IO, "%s: cannot be locked", store->folder);
        if (hd_monotonic_ns() >= until)
            return hd_fail(HEED_E_BUSY, "%s: process %ld is writing to it", store->folder,
                           lock_holder(store->lock_file));
        usleep(STORE_LOCK_POLL_US);
    }
    name_holder(store->lock_file);
    store->lock_depth = 1;
    return HEED_OK;
}

void hd_store_unlock(hd_store *store)
{
    if (store->lock_depth > 0 && --store->lock_depth == 0)
        flock(store->lock_file, LOCK_UN);
}

/* ---- transactions */

static heed_status read_total(hd_store *store)
{
    sqlite3_stmt *s = NULL;
    heed_status status = HEED_OK;

    HD_TRY(hd_store_statement(store, STORE_READ_TOTAL, &s));
    if (sqlite3_step(s) == SQLITE_ROW) {
        store->events = sqlite3_column_int64(s, 0);
        store->timed = sqlite3_column_int64(s, 1);
        store->seq = sqlite3_column_int64(s, 2);
        store->changes.items = sqlite3_column_int64(s, 3);
        store->changes.users = sqlite3_column_int64(s, 4);
    } else {
        status = hd_store_fail(store, "cannot read its counts");
    }
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_begin(hd_store *store)
{
    if (store->writing)
        return hd_fail(HEED_E_STATE, "%s: a transaction is open", store->folder);
    HD_TRY(hd_store_lock(store));
    heed_status status = hd_store_sql(store, "BEGIN IMMEDIATE", "cannot be written");
    if (status != HEED_OK) {
        hd_store_unlock(store);
        return status;
    }
    store->writing = true;
    store->total_changed = store->user_renamed = false;
    status = read_total(store);
    if (status != HEED_OK) {
        hd_store_rollback(store);
        return status;
    }
    store->users.committed = hd_map_count(store->users.map);
    store->items.committed = hd_map_count(store->items.map);
    store->users.checked = store->items.checked = false;
    return HEED_OK;
}

heed_status hd_store_commit(hd_store *store)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    if (!store->writing)
        return hd_fail(HEED_E_STATE, "%s: no transaction is open", store->folder);
    if (store->total_changed) {
        status = hd_store_statement(store, STORE_WRITE_TOTAL, &s);
        if (status == HEED_OK) {
            sqlite3_bind_int64(s, 1, store->events);
            sqlite3_bind_int64(s, 2, store->timed);
            sqlite3_bind_int64(s, 3, store->seq);
            sqlite3_bind_int64(s, 4, store->changes.items);
            sqlite3_bind_int64(s, 5, store->changes.users);
            status = hd_store_run(store, s, "cannot be written");
        }
    }
    if (status == HEED_OK)
        status = hd_store_sql(store, "COMMIT", "cannot be written");
    if (status != HEED_OK) {
        hd_store_rollback(store);
        return status;
    }
    store->writing = false;
    if (store->users.checked)
        store->users.erasures = store->changes.users;
    store->commits++;
    hd_store_unlock(store);
    return HEED_OK;
}

void hd_store_rollback(hd_store *store)
{
    if (!store->writing)
        return;
    /* SQLite has rolled back by itself after a full disk or an I/O error; a second time says so and
     * changes nothing. */
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    store->writing = false;
    if (store->user_renamed)
        store->users.committed = 0; /* which name was whose is read again */
    hd_names_rollback(&store->users);
    hd_names_rollback(&store->items);
    hd_store_unlock(store);
}

/* ---- opening */

static heed_status make_folder(const char *folder, bool must_exist)
{
    char path[4096];
    struct stat st;

    if (strlen(folder) + 32 > sizeof path)
        return hd_fail(HEED_E_RANGE, "data folder: a path of %zu bytes is too long",
                       strlen(folder));
    snprintf(path, sizeof path, "%s/heed.db", folder);
    if (stat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
        return hd_fail(HEED_E_IO, "%s: is a file, not a data folder", folder);
    if (must_exist && stat(path, &st) != 0) {
        if (errno == ENOENT)
            return hd_fail(HEED_E_NOTFOUND, "%s: no such data folder, or nothing in it", folder);
        return hd_fail_errno(HEED_E_IO, "%s: cannot be opened", folder);
    }
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be made", folder);
    return HEED_OK;
}

/* Which version the tables are, after a look at whether they are ours. */
static heed_status read_schema(hd_store *store, int64_t *version)
{
    int64_t application, objects;

    HD_TRY(hd_store_number(store, "PRAGMA application_id", &application));
    HD_TRY(hd_store_number(store, "PRAGMA user_version", version));
    HD_TRY(hd_store_number(store, "SELECT count(*) FROM sqlite_schema", &objects));
    if (application != STORE_APPLICATION_ID && (objects > 0 || application != 0 || *version != 0))
        return hd_fail(HEED_E_FORMAT, "%s: heed.db is not a store of heed", store->folder);
    if (*version > hd_migration_count)
        return hd_fail(HEED_E_VERSION,
                       "%s: made by a newer heed: its tables are version %" PRId64
                       ", this heed knows up to %d",
                       store->folder, *version, hd_migration_count);
    return HEED_OK;
}

static heed_status migrate(hd_store *store)
{
    char sql[96];
    int64_t version;

    HD_TRY(hd_store_sql(store, "BEGIN IMMEDIATE", "cannot be written"));
    heed_status status = read_schema(store, &version); /* another process may have been faster */
    for (int64_t i = version; status == HEED_OK && i < hd_migration_count; i++)
        status = hd_store_sql(store, hd_migrations[i].sql, hd_migrations[i].name);
    if (status == HEED_OK) {
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 STORE_APPLICATION_ID, hd_migration_count);
        status = hd_store_sql(store, sql, "cannot be migrated");
    }
    if (status == HEED_OK)
        status = hd_store_sql(store, "COMMIT", "cannot be migrated");
    if (status != HEED_OK && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static heed_status open_database(hd_store *store)
{
    char path[4096];
    int64_t version;

    snprintf(path, sizeof path, "%s/heed.db", store->folder);
    if (sqlite3_open_v2(path, &store->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        if (!store->db)
            return hd_fail(HEED_E_NOMEM, "%s: no memory", store->folder);
        return hd_store_fail(store, "heed.db cannot be opened");
    }
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, store->busy_ms);
    HD_TRY(read_schema(store, &version));
    /* The page size counts only before the first table is made; cache in KiB. */
    HD_TRY(hd_store_sql(store,
                        "PRAGMA page_size = 8192; PRAGMA cache_size = -65536; "
                        "PRAGMA temp_store = memory; PRAGMA trusted_schema = off",
                        "cannot be opened"));
    if (version < hd_migration_count) {
        HD_TRY(hd_store_lock(store));
        heed_status status = hd_store_sql(store, "PRAGMA journal_mode = wal", "cannot be written");
        if (status == HEED_OK)
            status = migrate(store);
        hd_store_unlock(store);
        HD_TRY(status);
    }
    /* A checkpoint each 128 MiB of log: pages that an import touches again and again are moved once.
     */
    return hd_store_sql(store, "PRAGMA synchronous = full; PRAGMA wal_autocheckpoint = 16384",
                        "cannot be opened");
}

heed_status hd_store_open(const char *folder, const struct hd_store_opts *opts, hd_store **out)
{
    struct hd_store_opts o = opts ? *opts : (struct hd_store_opts){0};

    HD_TRY(make_folder(folder, o.must_exist));
    hd_store *store = hd_alloc(1, sizeof *store);
    if (!store)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", folder);
    store->lock_file = -1;
    store->busy_ms = o.busy_ms > 0 ? o.busy_ms : BUSY_MS_DEFAULT;
    store->folder = hd_strdup(folder);
    heed_status status = store->folder ? HEED_OK : hd_fail(HEED_E_NOMEM, "%s: no memory", folder);
    if (status == HEED_OK)
        status = hd_names_new(&store->users);
    if (status == HEED_OK)
        status = hd_names_new(&store->items);
    if (status == HEED_OK)
        status = open_database(store);
    if (status != HEED_OK) {
        hd_store_close(store);
        return status;
    }
    *out = store;
    return HEED_OK;
}

void hd_store_close(hd_store *store)
{
    if (!store)
        return;
    if (store->db)
        hd_store_rollback(store);
    for (int i = 0; i < STORE_STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statement[i]);
    sqlite3_close(store->db);
    if (store->lock_file >= 0)
        close(store->lock_file);
    hd_map_free(store->users.map);
    hd_map_free(store->items.map);
    hd_free(store->folder);
    hd_free(store);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of the database, and making it smaller. */
#include "store/backup.h"
#include "store/inside.h"
#include "store/migrations.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define STEP_PAGES 1024 /* 8 MiB between two looks at whether to go on */

/* ---- a copy */

static heed_status copy_failed(const char *path, sqlite3 *db)
{
    int code = db ? sqlite3_errcode(db) & 0xFF : SQLITE_NOMEM;

    if (code == SQLITE_NOMEM)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", path);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return hd_fail(HEED_E_FORMAT, "%s: %s", path, sqlite3_errmsg(db));
    return hd_fail(HEED_E_IO, "%s: %s", path,
                   sqlite3_system_errno(db) ? strerror(sqlite3_system_errno(db))
                                            : sqlite3_errmsg(db));
}

static heed_status copy_open(const char *path, int flags, sqlite3 **db)
{
    if (sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        return HEED_OK;
    heed_status status = copy_failed(path, *db);
    sqlite3_close(*db);
    *db = NULL;
    return status;
}

static heed_status copy_sql(const char *path, sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? HEED_OK : copy_failed(path, db);
}

static heed_status copy_pages(hd_store *store, const char *path, sqlite3 *to,
                              const heed_progress *progress)
{
    heed_status status = HEED_OK;
    sqlite3_backup *copy = sqlite3_backup_init(to, "main", store->db, "main");
    int code = SQLITE_OK;

    if (!copy)
        return copy_failed(path, to);
    while (status == HEED_OK && (code = sqlite3_backup_step(copy, STEP_PAGES)) == SQLITE_OK) {
        int64_t total = sqlite3_backup_pagecount(copy);
        if (progress && progress->report &&
            !progress->report(progress->context, "pages copied",
                              total - sqlite3_backup_remaining(copy), total))
            status = hd_fail(HEED_E_CANCELLED, "%s: stopped", path);
    }
    int finished = sqlite3_backup_finish(copy);
    if (status == HEED_OK && (code != SQLITE_DONE || finished != SQLITE_OK))
        status = copy_failed(path, to);
    return status;
}

heed_status hd_store_copy(hd_store *store, const char *path, const heed_progress *progress)
{
    sqlite3 *to = NULL;
    int64_t ignored;
    bool own = false;

    HD_TRY(copy_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &to));
    /* What a transaction reads stays as it is, so the copy is of one state and never begins anew
     * because somebody has written. It begins with the first read. */
    heed_status status = hd_store_begin_reading(store, &own);
    if (status == HEED_OK)
        status = hd_store_number(store, "SELECT seq FROM total", &ignored);
    if (status == HEED_OK)
        status = copy_pages(store, path, to, progress);
    hd_store_end_reading(store, own);
    /* One file that needs nothing beside it, and that can be read where nothing can be written. */
    if (status == HEED_OK)
        status = copy_sql(path, to, "PRAGMA synchronous = full; PRAGMA journal_mode = delete");
    sqlite3_close(to);
    return status;
}

static heed_status copy_number(const char *path, sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *s = NULL;
    heed_status status = HEED_OK;

    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
        status = copy_failed(path, db);
    else
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return status;
}

static heed_status copy_is_whole(const char *path, sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    heed_status status = HEED_OK;

    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        status = copy_failed(path, db);
    else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        status = hd_fail(HEED_E_FORMAT, "%s: damaged: %.200s", path, sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return status;
}

static heed_status copy_examine(const char *path, sqlite3 *db)
{
    int64_t application = 0, version = 0;

    HD_TRY(copy_number(path, db, "PRAGMA application_id", &application));
    HD_TRY(copy_number(path, db, "PRAGMA user_version", &version));
    if (application != STORE_APPLICATION_ID || version < 1)
        return hd_fail(HEED_E_FORMAT, "%s: is not a store of heed", path);
    if (version > hd_migration_count)
        return hd_fail(HEED_E_VERSION,
                       "%s: made by a newer heed: its tables are version %" PRId64
                       ", this heed knows up to %d",
                       path, version, hd_migration_count);
    return copy_is_whole(path, db);
}

heed_status hd_store_copy_check(const char *path)
{
    struct stat st;
    sqlite3 *db = NULL;

    if (stat(path, &st) != 0)
        return hd_fail_errno(errno == ENOENT ? HEED_E_NOTFOUND : HEED_E_IO, "%s: cannot be opened",
                             path);
    HD_TRY(copy_open(path, SQLITE_OPEN_READONLY, &db));
    heed_status status = copy_examine(path, db);
    sqlite3_close(db);
    return status;
}

heed_status hd_store_copy_adopt(const char *path)
{
    sqlite3 *db = NULL;

    HD_TRY(copy_open(path, SQLITE_OPEN_READWRITE, &db));
    heed_status status =
        copy_sql(path, db, "PRAGMA synchronous = full; PRAGMA journal_mode = wal");
    if (sqlite3_close(db) != SQLITE_OK && status == HEED_OK)
        status = hd_fail(HEED_E_IO, "%s: cannot be closed", path);
    return status;
}

/* ---- less of it */

static heed_status bytes_on_disk(const hd_store *store, int64_t *bytes)
{
    static const char *const name[] = {"heed.db", "heed.db-wal"};
    char path[4096];
    struct stat st;

    *bytes = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        snprintf(path, sizeof path, "%s/%s", store->folder, name[i]);
        if (stat(path, &st) == 0)
            *bytes += st.st_size;
        else if (errno != ENOENT)
            return hd_fail_errno(HEED_E_IO, "%s: cannot be looked at", path);
    }
    return HEED_OK;
}

heed_status hd_store_compact(hd_store *store, int64_t *before, int64_t *after)
{
    int64_t was = 0, is = 0;

    HD_TRY(bytes_on_disk(store, &was));
    HD_TRY(hd_store_lock(store));
    /* The copy that SQLite makes is as large as the database: not in memory. */
    heed_status status = hd_store_sql(store, "PRAGMA temp_store = file", "cannot be compacted");
    if (status == HEED_OK)
        status = hd_store_sql(store, "VACUUM", "cannot be compacted");
    /* Readers of the old pages keep the log for now; the next checkpoint empties it. */
    if (status == HEED_OK && hd_store_flush_log(store) == HEED_E_NOMEM)
        status = HEED_E_NOMEM;
    hd_store_unlock(store);
    HD_TRY(status);
    HD_TRY(bytes_on_disk(store, &is));
    *before = was;
    *after = is;
    return HEED_OK;
}

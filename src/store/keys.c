/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys, the audit log and the list of models. */
#include "store/keys.h"
#include "store/inside.h"

/* ---- keys */

heed_status hd_store_put_key(hd_store *store, const struct hd_key_row *row)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_PUT_KEY, &s));
    hd_store_bind_text(s, 1, row->name);
    hd_store_bind_text(s, 2, row->role);
    hd_store_bind_text(s, 3, row->account);
    sqlite3_bind_blob(s, 4, row->hash, 32, SQLITE_STATIC);
    sqlite3_bind_int64(s, 5, row->per_second);
    sqlite3_bind_int64(s, 6, row->per_day);
    sqlite3_bind_int64(s, 7, row->made);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    if (sqlite3_changes(store->db) == 0)
        return hd_fail(HEED_E_EXISTS, "key: there is one named \"%.64s\" already", row->name);
    return HEED_OK;
}

heed_status hd_store_revoke_key(hd_store *store, const char *name, heed_time at, bool *found)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_REVOKE_KEY, &s));
    hd_store_bind_text(s, 1, name);
    sqlite3_bind_int64(s, 2, at);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    *found = sqlite3_changes(store->db) > 0;
    return HEED_OK;
}

heed_status hd_store_each_key(hd_store *store, hd_key_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_KEY, &s));
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hd_key_row row = {
            .number = sqlite3_column_int64(s, 0),
            .name = hd_store_column_text(s, 1),
            .role = hd_store_column_text(s, 2),
            .account = hd_store_column_text(s, 3),
            .hash = sqlite3_column_blob(s, 4), /* 32 bytes: the table checks it */
            .per_second = sqlite3_column_int64(s, 5),
            .per_day = sqlite3_column_int64(s, 6),
            .made = sqlite3_column_int64(s, 7),
            .revoked = sqlite3_column_int64(s, 8),
        };
        status = row.name && row.role && row.hash ? fn(context, &row)
                                                  : hd_store_fail(store, "cannot be read");
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

/* ---- the audit log */

heed_status hd_store_put_audit(hd_store *store, const struct hd_audit_row *row)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_PUT_AUDIT, &s));
    sqlite3_bind_int64(s, 1, row->at);
    hd_store_bind_text(s, 2, row->who);
    hd_store_bind_text(s, 3, row->action);
    hd_store_bind_text(s, 4, row->subject);
    return hd_store_run(store, s, "cannot be written");
}

heed_status hd_store_each_audit(hd_store *store, int64_t n, hd_audit_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_AUDIT, &s));
    sqlite3_bind_int64(s, 1, n);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hd_audit_row row = {sqlite3_column_int64(s, 0), hd_store_column_text(s, 1),
                                   hd_store_column_text(s, 2), hd_store_column_text(s, 3)};
        status = fn(context, &row);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

/* ---- models */

heed_status hd_store_each_model(hd_store *store, hd_model_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_MODEL, &s));
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hd_model_row row = {hd_store_column_text(s, 0), hd_store_column_text(s, 1),
                                   hd_store_column_text(s, 2), sqlite3_column_int64(s, 3)};
        status = fn(context, &row);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

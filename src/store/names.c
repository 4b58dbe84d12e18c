/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids to numbers and back, through a map in memory that holds the whole table once something
 * was written. An import asks a million times; a query each time would be most of its work. What other processes
 * have added since is read in when SQLite's data version says that there is something. */
#include "base/limits.h"
#include "base/time.h"
#include "store/inside.h"

#include <inttypes.h>
#include <string.h>

heed_status hd_names_new(struct hd_names *names)
{
    /* Ids come from strangers: a seed they do not know keeps them from choosing ids that collide.
     */
    uint64_t seed = (uint64_t)hd_monotonic_ns() ^ (uint64_t)(uintptr_t)names;

    *names = (struct hd_names){.map = hd_map_new(seed)};
    return names->map ? HEED_OK : hd_fail(HEED_E_NOMEM, "store: no memory");
}

void hd_names_rollback(struct hd_names *names)
{
    hd_map_cut(names->map, names->committed);
    names->loaded = false;
    names->erased = -1;
}

static bool is_users(const hd_store *store, const struct hd_names *names)
{
    return names == &store->users;
}

static heed_status count_rows_erased(hd_store *store, int64_t *count)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_COUNT_ERASED, &s));
    return hd_store_one_number(store, s, 0, count);
}

/* What they were called is not theirs any more. */
static heed_status rename_erased(hd_store *store, struct hd_names *names)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_READ_ERASED, &s));
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(s, 0);
        const char *id = (const char *)sqlite3_column_text(s, 1);
        if (number < hd_map_count(names->map) &&
            !hd_store_is_erased_id(hd_map_text(names->map, (int32_t)number, NULL)))
            status = id ? hd_map_rename(names->map, (int32_t)number, id, strlen(id))
                        : hd_store_fail(store, "cannot be read");
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

/* Something has changed about users. Mostly it was a consent, and nobody who was erased comes back: as long
 * as there are as many of them as before, they are the same. */
static heed_status forget_erased(hd_store *store, struct hd_names *names)
{
    struct hd_store_changes changes = {0};
    int64_t count = 0;

    HD_TRY(hd_store_changes(store, &changes));
    if (names->erasures == changes.users)
        return HEED_OK;
    HD_TRY(count_rows_erased(store, &count));
    if (count != names->erased)
        HD_TRY(rename_erased(store, names));
    names->erased = count;
    names->erasures = changes.users;
    return HEED_OK;
}

/* Those past what the map has. */
static heed_status read_names(hd_store *store, struct hd_names *names)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code;

    HD_TRY(hd_store_statement(store, is_users(store, names) ? STORE_READ_USERS : STORE_READ_ITEMS,
                              &s));
    sqlite3_bind_int64(s, 1, hd_map_count(names->map));
    while (status == HEED_OK && (code = sqlite3_step(s)) != SQLITE_DONE) {
        if (code != SQLITE_ROW) {
            status = hd_store_fail(store, "cannot be read");
            break;
        }
        const char *id = (const char *)sqlite3_column_text(s, 0);
        int32_t number;
        status = id ? hd_map_add(names->map, id, (size_t)sqlite3_column_bytes(s, 0), &number, NULL)
                    : hd_store_fail(store, "cannot be read");
    }
    sqlite3_reset(s);
    return status;
}

/* Reads in what the table has more than the map. Who was erased and who came are of one state of the
 * store: an id that is erased and comes again in between would be known under its old number, and all
 * that came after it under wrong ones. */
static heed_status catch_up(hd_store *store, struct hd_names *names)
{
    int64_t version = 0;
    bool own = false;

    if (store->writing && names->checked)
        return HEED_OK; /* nobody else writes now */
    HD_TRY(hd_store_data_version(store, &version));
    if (names->loaded && names->seen == version) {
        names->checked = store->writing;
        return HEED_OK;
    }
    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = is_users(store, names) ? forget_erased(store, names) : HEED_OK;
    if (status == HEED_OK)
        status = read_names(store, names);
    hd_store_end_reading(store, own);
    HD_TRY(status);
    if (store->writing)
        names->committed = hd_map_count(names->map);
    names->loaded = true;
    names->checked = store->writing;
    names->seen = version;
    return HEED_OK;
}

static heed_status find(hd_store *store, struct hd_names *names, const char *id, size_t bytes,
                        int32_t *number)
{
    *number = -1;
    if (bytes > 0 && hd_store_is_erased_id(id)) /* nobody is called what the erased are kept as */
        return HEED_OK;
    HD_TRY(catch_up(store, names));
    *number = hd_map_find(names->map, id, bytes);
    return HEED_OK;
}

static heed_status intern(hd_store *store, struct hd_names *names, const char *id, size_t bytes,
                          int32_t *number, bool *fresh)
{
    int64_t max = is_users(store, names) ? HD_USERS_MAX : HD_ITEMS_MAX;
    int32_t count;
    sqlite3_stmt *s = NULL;
    bool added;

    if (!store->writing)
        return hd_fail(HEED_E_STATE, "%s: no transaction is open", store->folder);
    HD_TRY(catch_up(store, names));
    count = hd_map_count(names->map);
    if (count >= max && hd_map_find(names->map, id, bytes) < 0)
        return hd_fail(HEED_E_RANGE, "%s: more than %" PRId64 " %s", store->folder, max,
                       is_users(store, names) ? "users" : "items");
    HD_TRY(hd_map_add(names->map, id, bytes, number, &added));
    if (fresh)
        *fresh = added;
    if (!added)
        return HEED_OK;
    heed_status status =
        hd_store_statement(store, is_users(store, names) ? STORE_ADD_USER : STORE_ADD_ITEM, &s);
    if (status == HEED_OK) {
        sqlite3_bind_int64(s, 1, *number);
        sqlite3_bind_text(s, 2, id, (int)bytes, SQLITE_STATIC);
        status = hd_store_run(store, s, "cannot be written");
    }
    if (status != HEED_OK)
        hd_map_cut(names->map, count);
    else if (!is_users(store, names))
        hd_store_touch_items(store);
    return status;
}

static heed_status id_of(hd_store *store, struct hd_names *names, int32_t number, const char **id)
{
    if (number < 0 || number >= hd_map_count(names->map))
        HD_TRY(catch_up(store, names));
    if (number < 0 || number >= hd_map_count(names->map))
        return hd_fail(HEED_E_NOTFOUND, "%s: there is no %s number %" PRId32, store->folder,
                       is_users(store, names) ? "user" : "item", number);
    *id = hd_map_text(names->map, number, NULL);
    return HEED_OK;
}

bool hd_store_is_erased_id(const char *id)
{
    return *id == HD_ERASED_MARK;
}

heed_status hd_store_count_erased(hd_store *store, int64_t *erased)
{
    struct hd_store_changes changes = {0};

    HD_TRY(hd_store_changes(store, &changes));
    if (store->users.erased < 0 || store->users.erasures != changes.users)
        return count_rows_erased(store, erased);
    *erased = store->users.erased;
    return HEED_OK;
}

heed_status hd_store_count_living(hd_store *store, int64_t *users)
{
    struct hd_store_counts counts = {0};
    int64_t erased = 0;
    bool own = false;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = hd_store_count(store, &counts);
    if (status == HEED_OK)
        status = hd_store_count_erased(store, &erased);
    hd_store_end_reading(store, own);
    if (status == HEED_OK)
        *users = counts.users - erased;
    return status;
}

heed_status hd_names_rename_user(hd_store *store, int32_t user, const char *id)
{
    if (store->users.erased >= 0)
        store->users.erased++;
    if (user >= hd_map_count(store->users.map))
        return HEED_OK; /* the map reads the new name with the others */
    HD_TRY(hd_map_rename(store->users.map, user, id, strlen(id)));
    store->user_renamed = true;
    return HEED_OK;
}

heed_status hd_store_find_user(hd_store *store, const char *id, size_t id_bytes, int32_t *number)
{
    return find(store, &store->users, id, id_bytes, number);
}

heed_status hd_store_find_item(hd_store *store, const char *id, size_t id_bytes, int32_t *number)
{
    return find(store, &store->items, id, id_bytes, number);
}

heed_status hd_store_intern_user(hd_store *store, const char *id, size_t id_bytes, int32_t *number,
                                 bool *fresh)
{
    return intern(store, &store->users, id, id_bytes, number, fresh);
}

heed_status hd_store_intern_item(hd_store *store, const char *id, size_t id_bytes, int32_t *number,
                                 bool *fresh)
{
    return intern(store, &store->items, id, id_bytes, number, fresh);
}

heed_status hd_store_user_id(hd_store *store, int32_t number, const char **id)
{
    return id_of(store, &store->users, number, id);
}

heed_status hd_store_item_id(hd_store *store, int32_t number, const char **id)
{
    return id_of(store, &store->items, number, id);
}

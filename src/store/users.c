/* SPDX-License-Identifier: Apache-2.0
 *
 * Users' rows: what they say of themselves, whom they follow, what they never want to see. */
#include "store/inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CONSENT_LEARN 1U /* as the statements that leave events out have it */

void hd_store_touch_users(hd_store *store)
{
    store->changes.users++;
    store->total_changed = true;
}

static struct hd_user_row user_row(sqlite3_stmt *s)
{
    return (struct hd_user_row){.attributes = hd_store_column_text(s, 2),
                                .consent = (unsigned)sqlite3_column_int(s, 3)};
}

/* The caller resets it. */
static heed_status find_row(hd_store *store, int32_t user, sqlite3_stmt **s)
{
    HD_TRY(hd_store_statement(store, STORE_GET_USER, s));
    sqlite3_bind_int64(*s, 1, user);
    int code = sqlite3_step(*s);
    if (code == SQLITE_ROW)
        return HEED_OK;
    heed_status status =
        code == SQLITE_DONE
            ? hd_fail(HEED_E_NOTFOUND, "%s: there is no user number %" PRId32, store->folder, user)
            : hd_store_fail(store, "cannot be read");
    sqlite3_reset(*s);
    return status;
}

heed_status hd_store_get_user(hd_store *store, int32_t user, hd_arena *arena,
                              struct hd_user_row *row)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(find_row(store, user, &s));
    struct hd_user_row found = user_row(s);
    found.attributes = hd_store_keep_text(arena, found.attributes, &status);
    sqlite3_reset(s);
    if (status == HEED_OK)
        *row = found;
    return status;
}

heed_status hd_store_get_consent(hd_store *store, int32_t user, unsigned *consent)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(find_row(store, user, &s));
    *consent = user_row(s).consent;
    sqlite3_reset(s);
    return HEED_OK;
}

heed_status hd_store_user_erased(hd_store *store, int32_t user, bool *erased)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(find_row(store, user, &s));
    const char *id = hd_store_column_text(s, 1);
    *erased = id && hd_store_is_erased_id(id);
    sqlite3_reset(s);
    return HEED_OK;
}

/* Events were counted, or left out, by what the user said before. */
static heed_status count_again(hd_store *store, int32_t user)
{
    int64_t has_events = 0;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_HAS_EVENTS, &s));
    sqlite3_bind_int64(s, 1, user);
    HD_TRY(hd_store_one_number(store, s, 0, &has_events));
    if (has_events)
        hd_store_miscount(store);
    return HEED_OK;
}

heed_status hd_store_put_user(hd_store *store, int32_t user, const struct hd_user_row *row,
                              bool *changed)
{
    unsigned before = 0;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    HD_TRY(hd_store_get_consent(store, user, &before));
    HD_TRY(hd_store_statement(store, STORE_PUT_USER, &s));
    sqlite3_bind_int64(s, 1, user);
    hd_store_bind_text(s, 2, row->attributes);
    sqlite3_bind_int64(s, 3, row->consent);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    *changed = sqlite3_changes(store->db) > 0;
    if (before != row->consent)
        hd_store_touch_users(store);
    return (before ^ row->consent) & CONSENT_LEARN ? count_again(store, user) : HEED_OK;
}

heed_status hd_store_each_user(hd_store *store, int32_t from, hd_user_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_USER, &s));
    sqlite3_bind_int64(s, 1, from);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hd_user_row row = user_row(s);
        const char *id = hd_store_column_text(s, 1);
        status = id ? fn(context, sqlite3_column_int(s, 0), id, &row)
                    : hd_store_fail(store, "cannot be read");
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

/* ---- marks */

/* The order of the table: bytes of mark, what, name. */
static int compare_marks(const void *a, const void *b)
{
    const struct hd_mark_row *x = a, *y = b;
    int order = strcmp(x->mark, y->mark);

    if (order == 0)
        order = strcmp(x->what, y->what);
    return order ? order : strcmp(x->name, y->name);
}

/* Whether the store has exactly these, which are in order. */
static heed_status same_marks(hd_store *store, int32_t user, const struct hd_mark_row *marks,
                              int64_t count, bool *same)
{
    heed_status status = HEED_OK;
    int64_t i = 0;
    sqlite3_stmt *s = NULL;
    int code;

    HD_TRY(hd_store_statement(store, STORE_READ_MARKS, &s));
    sqlite3_bind_int64(s, 1, user);
    *same = true;
    while ((code = sqlite3_step(s)) == SQLITE_ROW && *same) {
        struct hd_mark_row found = {hd_store_column_text(s, 0), hd_store_column_text(s, 1),
                                    hd_store_column_text(s, 2)};
        *same = found.mark && found.what && found.name && i < count &&
                compare_marks(&found, &marks[i]) == 0;
        i++;
        while (*same && i < count && compare_marks(&marks[i], &marks[i - 1]) == 0)
            i++; /* twins */
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        status = hd_store_fail(store, "cannot be read");
    *same = *same && i == count;
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_put_marks(hd_store *store, int32_t user, struct hd_mark_row *marks,
                               int64_t count, bool *changed)
{
    bool same = false;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_need_transaction(store));
    if (count > 1)
        qsort(marks, (size_t)count, sizeof *marks, compare_marks);
    HD_TRY(same_marks(store, user, marks, count, &same));
    *changed = !same;
    if (same)
        return HEED_OK;
    HD_TRY(hd_store_statement(store, STORE_DROP_MARKS, &s));
    sqlite3_bind_int64(s, 1, user);
    HD_TRY(hd_store_run(store, s, "cannot be written"));
    for (int64_t i = 0; i < count; i++) {
        HD_TRY(hd_store_statement(store, STORE_PUT_MARK, &s));
        sqlite3_bind_int64(s, 1, user);
        hd_store_bind_text(s, 2, marks[i].mark);
        hd_store_bind_text(s, 3, marks[i].what);
        hd_store_bind_text(s, 4, marks[i].name);
        HD_TRY(hd_store_run(store, s, "cannot be written"));
    }
    return HEED_OK;
}

/* Room for one more in the arena. */
static heed_status grow_marks(hd_arena *arena, struct hd_mark_row **marks, int64_t count,
                              int64_t *room)
{
    if (count < *room)
        return HEED_OK;
    *room = *room ? *room * 2 : 16;
    struct hd_mark_row *more = hd_arena_alloc(arena, (size_t)*room, sizeof *more);
    if (!more)
        return hd_fail(HEED_E_NOMEM, "store: no memory for marks");
    if (count > 0)
        memcpy(more, *marks, (size_t)count * sizeof *more);
    *marks = more;
    return HEED_OK;
}

heed_status hd_store_get_marks(hd_store *store, int32_t user, hd_arena *arena,
                               struct hd_mark_row **marks, int64_t *count)
{
    struct hd_mark_row *found = NULL;
    heed_status status = HEED_OK;
    int64_t n = 0, room = 0;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_READ_MARKS, &s));
    sqlite3_bind_int64(s, 1, user);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        status = grow_marks(arena, &found, n, &room);
        if (status != HEED_OK)
            break;
        found[n].mark = hd_store_keep_text(arena, hd_store_column_text(s, 0), &status);
        found[n].what = hd_store_keep_text(arena, hd_store_column_text(s, 1), &status);
        found[n++].name = hd_store_keep_text(arena, hd_store_column_text(s, 2), &status);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    if (status == HEED_OK) {
        *marks = found;
        *count = n;
    }
    return status;
}

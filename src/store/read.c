/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows out of the store. The tree of events lies in the order (user, time), so histories are one
 * scan; only events of equal time are put in the order of their arrival here. */
#include "store/inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

heed_status hd_store_begin_reading(hd_store *store, bool *own)
{
    *own = sqlite3_get_autocommit(store->db) != 0;
    return *own ? hd_store_sql(store, "BEGIN", "cannot be read") : HEED_OK;
}

void hd_store_end_reading(hd_store *store, bool own)
{
    if (own && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

static heed_status count_rows(hd_store *store, enum hd_statement which, int64_t *out)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, which, &s));
    if (sqlite3_step(s) == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    else
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

static heed_status count_all(hd_store *store, struct hd_store_counts *out)
{
    sqlite3_stmt *s = NULL;

    HD_TRY(count_rows(store, STORE_COUNT_USERS, &out->users));
    HD_TRY(count_rows(store, STORE_COUNT_ITEMS, &out->items));
    if (store->writing) {
        out->events = store->events;
        out->timed = store->timed;
        return HEED_OK;
    }
    heed_status status = HEED_OK;
    HD_TRY(hd_store_statement(store, STORE_READ_TOTAL, &s));
    if (sqlite3_step(s) == SQLITE_ROW) {
        out->events = sqlite3_column_int64(s, 0);
        out->timed = sqlite3_column_int64(s, 1);
    } else {
        status = hd_store_fail(store, "cannot be read");
    }
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_count(hd_store *store, struct hd_store_counts *out)
{
    struct hd_store_counts counts = {0};
    bool own;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = count_all(store, &counts);
    hd_store_end_reading(store, own);
    if (status == HEED_OK)
        *out = counts;
    return status;
}

/* ---- items */

const char *hd_store_column_text(sqlite3_stmt *s, int column)
{
    return (const char *)sqlite3_column_text(s, column);
}

static struct hd_item_row item_row(sqlite3_stmt *s)
{
    return (struct hd_item_row){
        .id = hd_store_column_text(s, 1),
        .title = hd_store_column_text(s, 2),
        .text = hd_store_column_text(s, 3),
        .tags = hd_store_column_text(s, 4),
        .author = hd_store_column_text(s, 5),
        .url = hd_store_column_text(s, 6),
        .created = sqlite3_column_int64(s, 7),
        .expires = sqlite3_column_int64(s, 8),
        .hidden = sqlite3_column_int(s, 9) != 0,
        .features = sqlite3_column_int64(s, 10),
    };
}

const char *hd_store_keep_text(hd_arena *arena, const char *text, heed_status *status)
{
    const char *copy = text ? hd_arena_strdup(arena, text) : NULL;

    if (text && !copy)
        *status = hd_fail(HEED_E_NOMEM, "store: no memory for a text");
    return copy;
}

heed_status hd_store_get_item(hd_store *store, int32_t item, hd_arena *arena,
                              struct hd_item_row *row)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_GET_ITEM, &s));
    sqlite3_bind_int64(s, 1, item);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        struct hd_item_row found = item_row(s);
        found.id = hd_store_keep_text(arena, found.id, &status);
        found.title = hd_store_keep_text(arena, found.title, &status);
        found.text = hd_store_keep_text(arena, found.text, &status);
        found.tags = hd_store_keep_text(arena, found.tags, &status);
        found.author = hd_store_keep_text(arena, found.author, &status);
        found.url = hd_store_keep_text(arena, found.url, &status);
        if (status == HEED_OK)
            *row = found;
    } else if (code == SQLITE_DONE) {
        status =
            hd_fail(HEED_E_NOTFOUND, "%s: there is no item number %" PRId32, store->folder, item);
    } else {
        status = hd_store_fail(store, "cannot be read");
    }
    sqlite3_reset(s);
    return status;
}

heed_status hd_store_each_item(hd_store *store, hd_item_fn fn, void *context)
{
    return hd_store_each_item_from(store, 0, fn, context);
}

heed_status hd_store_each_item_from(hd_store *store, int32_t from, hd_item_fn fn, void *context)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_ITEM, &s));
    sqlite3_bind_int64(s, 1, from);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hd_item_row row = item_row(s);
        status = fn(context, sqlite3_column_int(s, 0), hd_store_column_text(s, 1), &row);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    return status;
}

static heed_status read_feature(sqlite3_stmt *s, hd_arena *arena, struct hd_feature_row *out)
{
    heed_status status = HEED_OK;
    size_t bytes = (size_t)sqlite3_column_bytes(s, 1);
    float *value = hd_arena_alloc(arena, bytes, 1);

    out->name = hd_store_keep_text(arena, hd_store_column_text(s, 0), &status);
    if (!value)
        return hd_fail(HEED_E_NOMEM, "store: no memory for a vector");
    if (bytes > 0)
        memcpy(value, sqlite3_column_blob(s, 1), bytes);
    out->value = value;
    out->count = (int64_t)(bytes / sizeof *value);
    return status;
}

heed_status hd_store_get_features(hd_store *store, int32_t item, hd_arena *arena,
                                  struct hd_feature_row **features, int64_t *count)
{
    struct hd_feature_row *found = NULL;
    heed_status status = HEED_OK;
    int64_t n = 0, room = 0;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_READ_FEATURES, &s));
    sqlite3_bind_int64(s, 1, item);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        if (n == room) {
            room = room ? room * 2 : 4;
            struct hd_feature_row *more = hd_arena_alloc(arena, (size_t)room, sizeof *more);
            if (!more) {
                status = hd_fail(HEED_E_NOMEM, "store: no memory for features");
                break;
            }
            if (n > 0)
                memcpy(more, found, (size_t)n * sizeof *more);
            found = more;
        }
        status = read_feature(s, arena, &found[n++]);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    if (status == HEED_OK) {
        *features = found;
        *count = n;
    }
    return status;
}

/* ---- histories */

struct arrival {
    int64_t seq;
    int32_t item;
    uint8_t kind;
};

/* Events of one user and one time, until they are put in the order of their arrival. */
struct tie {
    struct arrival *at;
    int64_t count, room;
    bool sorted;
};

static int compare_arrivals(const void *a, const void *b)
{
    int64_t x = ((const struct arrival *)a)->seq, y = ((const struct arrival *)b)->seq;

    return (x > y) - (x < y);
}

static heed_status tie_add(struct tie *tie, struct arrival arrival)
{
    if (tie->count == tie->room) {
        int64_t room = tie->room ? tie->room * 2 : 256;
        struct arrival *at = hd_resize(tie->at, (size_t)room, sizeof *at);
        if (!at)
            return hd_fail(HEED_E_NOMEM, "histories: no memory");
        tie->at = at;
        tie->room = room;
    }
    if (tie->count == 0)
        tie->sorted = true;
    else if (arrival.seq < tie->at[tie->count - 1].seq)
        tie->sorted = false;
    tie->at[tie->count++] = arrival;
    return HEED_OK;
}

static void tie_flush(struct tie *tie, struct hd_store_histories *h, int64_t *filled,
                      heed_time time)
{
    if (tie->count > 1 && !tie->sorted)
        qsort(tie->at, (size_t)tie->count, sizeof *tie->at, compare_arrivals);
    for (int64_t i = 0; i < tie->count; i++, ++*filled) {
        h->item[*filled] = tie->at[i].item;
        h->kind[*filled] = tie->at[i].kind;
        h->time[*filled] = time;
    }
    tie->count = 0;
}

static heed_status scan_events(hd_store *store, uint32_t kinds, int64_t events,
                               struct hd_store_histories *h, struct tie *tie)
{
    heed_status status = HEED_OK;
    int64_t filled = 0, user = 0, taken = 0;
    heed_time time = 0;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_EACH_EVENT, &s));
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t its_user = sqlite3_column_int64(s, 0), its_item = sqlite3_column_int64(s, 2);
        heed_time its_time = sqlite3_column_int64(s, 1);
        int kind = sqlite3_column_int(s, 3);
        if (!(kinds >> (kind & 31) & 1))
            continue;
        if (++taken > events || its_user < user || its_user >= h->users || its_item < 0 ||
            its_item >= h->items) {
            status = hd_fail(HEED_E_FORMAT,
                             "%s: heed.db is damaged: its events do not fit its "
                             "users, items and counts",
                             store->folder);
            break;
        }
        if (its_user != user || its_time != time)
            tie_flush(tie, h, &filled, time);
        for (; user < its_user; user++)
            h->offset[user + 1] = filled;
        time = its_time;
        h->has_times = h->has_times || time != 0;
        status = tie_add(
            tie, (struct arrival){sqlite3_column_int64(s, 4), (int32_t)its_item, (uint8_t)kind});
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    tie_flush(tie, h, &filled, time);
    for (; user < h->users; user++)
        h->offset[user + 1] = filled;
    return status;
}

heed_status hd_store_load_histories(hd_store *store, uint32_t kinds, struct hd_store_histories *out)
{
    struct hd_store_histories h = {0};
    struct hd_store_counts counts = {0};
    struct tie tie = {0};
    bool own;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = count_all(store, &counts);
    if (status == HEED_OK) {
        h.users = counts.users;
        h.items = counts.items;
        h.offset = hd_alloc((size_t)counts.users + 1, sizeof *h.offset);
        h.item = hd_alloc((size_t)counts.events, sizeof *h.item);
        h.time = hd_alloc((size_t)counts.events, sizeof *h.time);
        h.kind = hd_alloc((size_t)counts.events, sizeof *h.kind);
        status = h.offset && h.item && h.time && h.kind
                     ? scan_events(store, kinds, counts.events, &h, &tie)
                     : hd_fail(HEED_E_NOMEM, "histories: no memory for %" PRId64 " events",
                               counts.events);
    }
    hd_store_end_reading(store, own);
    hd_free(tie.at);
    /* The pages of a whole scan are not asked for again soon; a training wants the memory. */
    sqlite3_db_release_memory(store->db);
    if (status == HEED_OK)
        *out = h;
    else
        hd_store_histories_clear(&h);
    return status;
}

void hd_store_histories_clear(struct hd_store_histories *histories)
{
    hd_free(histories->offset);
    hd_free(histories->item);
    hd_free(histories->time);
    hd_free(histories->kind);
    *histories = (struct hd_store_histories){0};
}

/* The latest come first out of the store; turned round at the end. */
static void turn_round(struct hd_store_history *h)
{
    for (int64_t i = 0, j = h->count - 1; i < j; i++, j--) {
        int32_t item = h->item[i];
        heed_time time = h->time[i];
        uint8_t kind = h->kind[i];
        h->item[i] = h->item[j];
        h->time[i] = h->time[j];
        h->kind[i] = h->kind[j];
        h->item[j] = item;
        h->time[j] = time;
        h->kind[j] = kind;
    }
}

static heed_status history_grow(struct hd_store_history *h, int64_t *room, hd_arena *arena)
{
    int64_t more = *room ? *room * 2 : 64;
    struct hd_store_history grown = {
        .count = h->count,
        .item = hd_arena_alloc(arena, (size_t)more, sizeof *h->item),
        .time = hd_arena_alloc(arena, (size_t)more, sizeof *h->time),
        .kind = hd_arena_alloc(arena, (size_t)more, sizeof *h->kind),
    };

    if (!grown.item || !grown.time || !grown.kind)
        return hd_fail(HEED_E_NOMEM, "history: no memory");
    if (h->count > 0) {
        memcpy(grown.item, h->item, (size_t)h->count * sizeof *h->item);
        memcpy(grown.time, h->time, (size_t)h->count * sizeof *h->time);
        memcpy(grown.kind, h->kind, (size_t)h->count * sizeof *h->kind);
    }
    *h = grown;
    *room = more;
    return HEED_OK;
}

heed_status hd_store_load_history(hd_store *store, int32_t user, uint32_t kinds, int64_t limit,
                                  hd_arena *arena, struct hd_store_history *out)
{
    struct hd_store_history h = {0};
    heed_status status = HEED_OK;
    int64_t room = 0;
    sqlite3_stmt *s = NULL;
    int code = SQLITE_DONE;

    HD_TRY(hd_store_statement(store, STORE_USER_EVENTS, &s));
    sqlite3_bind_int64(s, 1, user);
    sqlite3_bind_int64(s, 2, kinds);
    sqlite3_bind_int64(s, 3, limit > 0 ? limit : -1);
    while (status == HEED_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        if (h.count == room)
            status = history_grow(&h, &room, arena);
        if (status != HEED_OK)
            break;
        h.item[h.count] = sqlite3_column_int(s, 0);
        h.time[h.count] = sqlite3_column_int64(s, 1);
        h.kind[h.count++] = (uint8_t)sqlite3_column_int(s, 2);
    }
    if (status == HEED_OK && code != SQLITE_DONE)
        status = hd_store_fail(store, "cannot be read");
    sqlite3_reset(s);
    if (status != HEED_OK)
        return status;
    turn_round(&h);
    *out = h;
    return HEED_OK;
}

/* ---- models */

heed_status hd_store_get_model(hd_store *store, const char *name, hd_arena *arena,
                               struct hd_model_row *row)
{
    heed_status status = HEED_OK;
    sqlite3_stmt *s = NULL;

    HD_TRY(hd_store_statement(store, STORE_GET_MODEL, &s));
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        struct hd_model_row found = {.made = sqlite3_column_int64(s, 3)};
        found.name = hd_store_keep_text(arena, hd_store_column_text(s, 0), &status);
        found.file = hd_store_keep_text(arena, hd_store_column_text(s, 1), &status);
        found.description = hd_store_keep_text(arena, hd_store_column_text(s, 2), &status);
        if (status == HEED_OK)
            *row = found;
    } else if (code == SQLITE_DONE) {
        status = hd_fail(HEED_E_NOTFOUND, "%s: no model named %s", store->folder, name);
    } else {
        status = hd_store_fail(store, "cannot be read");
    }
    sqlite3_reset(s);
    return status;
}

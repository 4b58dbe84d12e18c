/* SPDX-License-Identifier: Apache-2.0
 *
 * Records out of the engine, one, a page, or all of them; and one by one away. What takes long reads
 * through a store handle of its own, so that no feed waits for it. */
#include "acquire/event.h"
#include "base/limits.h"
#include "engine/keep.h"
#include "engine/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static heed_status check_record(heed_record what)
{
    if ((unsigned)what >= HEED_RECORDS)
        return hd_fail(HEED_E_ARG, "records: there is no kind of record %d", (int)what);
    return HEED_OK;
}

static heed_status not_found(heed_record what, const char *id)
{
    static const char *const name[HEED_RECORDS] = {"event", "item", "user"};

    return hd_fail(HEED_E_NOTFOUND, "%s: there is no \"%.80s\"", name[what], id);
}

/* ---- handles */

heed_status hd_open_beside(const heed_engine *engine, hd_store **store)
{
    return hd_store_open(engine->folder, &(struct hd_store_opts){.must_exist = true}, store);
}

/* ---- one */

struct reading {
    hd_store *store;
    hd_arena *arena;
    struct hd_json_writer json;
};

static heed_status write_event(void *context, const struct hd_event_record *event)
{
    hd_put_event_json(context, NULL, event);
    return HEED_OK;
}

static heed_status read_record(struct reading *r, heed_record what, const char *id)
{
    struct hd_item_row item;
    struct hd_user_row user;
    int32_t number = -1;

    if (what == HEED_RECORD_EVENT) {
        heed_status status = hd_store_get_event(r->store, id, write_event, &r->json);
        return status == HEED_E_NOTFOUND ? not_found(what, id) : status;
    }
    HD_TRY(what == HEED_RECORD_ITEM ? hd_store_look_up_item(r->store, id, &number)
                                    : hd_store_look_up_user(r->store, id, &number));
    if (number < 0)
        return not_found(what, id);
    if (what == HEED_RECORD_ITEM) {
        HD_TRY(hd_store_get_item(r->store, number, r->arena, &item));
        return hd_put_item_json(&r->json, NULL, r->store, r->arena, number, id, &item);
    }
    HD_TRY(hd_store_get_user(r->store, number, r->arena, &user));
    return hd_put_user_json(&r->json, NULL, r->store, r->arena, number, id, &user);
}

heed_status heed_engine_read(heed_engine *engine, heed_record what, const char *id,
                             heed_text **out)
{
    struct reading r = {0};
    bool own = false;

    HD_TRY(check_record(what));
    if (!id)
        return hd_fail(HEED_E_ARG, "records: no id was given");
    HD_TRY(hd_desk_take(engine, &r.arena));
    pthread_mutex_lock(&engine->lock);
    r.store = engine->store;
    heed_status status = hd_store_begin_reading(r.store, &own);
    if (status == HEED_OK)
        status = read_record(&r, what, id);
    hd_store_end_reading(r.store, own);
    pthread_mutex_unlock(&engine->lock);
    hd_desk_return(engine, r.arena);
    if (status == HEED_OK)
        return hd_text_take(&r.json, out);
    hd_json_clear(&r.json);
    return status;
}

/* ---- a page */

/* Ends a walk that has what it came for; never leaves this file. */
#define ENOUGH HEED_E_CANCELLED

struct listing {
    struct reading r;
    int room;  /* records that still fit the page */
    bool more; /* there is one after them */
    int32_t number;
    struct hd_event_key key; /* of the last that was written */
};

static bool page_is_full(struct listing *l)
{
    l->more = l->room == 0;
    l->room -= !l->more;
    return l->more;
}

static heed_status list_event(void *context, const struct hd_event_record *event)
{
    struct listing *l = context;

    if (page_is_full(l))
        return ENOUGH;
    l->key = (struct hd_event_key){event->row.user, event->row.ts, event->seq};
    hd_put_event_json(&l->r.json, NULL, event);
    return HEED_OK;
}

static heed_status list_item(void *context, int32_t item, const char *id,
                             const struct hd_item_row *row)
{
    struct listing *l = context;

    if (page_is_full(l))
        return ENOUGH;
    l->number = item;
    hd_arena_reset(l->r.arena);
    return hd_put_item_json(&l->r.json, NULL, l->r.store, l->r.arena, item, id, row);
}

static heed_status list_user(void *context, int32_t user, const char *id,
                             const struct hd_user_row *row)
{
    struct listing *l = context;

    if (page_is_full(l))
        return ENOUGH;
    l->number = user;
    hd_arena_reset(l->r.arena);
    return hd_put_user_json(&l->r.json, NULL, l->r.store, l->r.arena, user, id, row);
}

static heed_status find_range(hd_store *store, const heed_list_opts *opts,
                              struct hd_event_range *range)
{
    if (opts->user) {
        HD_TRY(hd_store_look_up_user(store, opts->user, &range->user));
        if (range->user < 0)
            return not_found(HEED_RECORD_USER, opts->user);
    }
    if (opts->item) {
        HD_TRY(hd_store_look_up_item(store, opts->item, &range->item));
        if (range->item < 0)
            return not_found(HEED_RECORD_ITEM, opts->item);
    }
    return HEED_OK;
}

/* Nothing is sorted by item or kind: so that a page of something rare does not read the whole store, it
 * ends where enough was looked at, however little was found. */
static heed_status list_events(struct listing *l, struct hd_event_range *range)
{
    struct hd_event_key stop;
    bool stops = false;

    if (range->user < 0 && (range->item >= 0 || range->kind >= 0))
        HD_TRY(hd_store_further_event(l->r.store, range, HD_LIST_LOOK_MAX, &stop, &stops));
    if (stops)
        range->until = &stop;
    /* The walk may move l->key on: it reads its place before it begins. */
    HD_TRY(hd_store_list_events(l->r.store, range, list_event, l));
    if (stops) {
        l->key = stop;
        l->more = true;
    }
    return HEED_OK;
}

static heed_status list_records(struct listing *l, heed_record what, const heed_list_opts *opts)
{
    struct hd_event_range range = {.user = -1, .item = -1, .kind = -1};
    int32_t from = 0;

    if (opts->cursor) {
        HD_TRY(hd_cursor_read(what, opts->cursor, &l->number, &l->key));
        range.after = &l->key;
        from = l->number < INT32_MAX ? l->number + 1 : INT32_MAX;
    }
    if (what == HEED_RECORD_ITEM)
        return hd_store_each_item_from(l->r.store, from, list_item, l);
    if (what == HEED_RECORD_USER)
        return hd_store_each_user(l->r.store, from, list_user, l);
    if (opts->kind)
        range.kind = hd_event_kind_find(opts->kind, strlen(opts->kind));
    HD_TRY(find_range(l->r.store, opts, &range));
    if (range.after && range.user >= 0 && range.after->user != range.user)
        return hd_fail(HEED_E_ARG, "cursor: it is of another user's list");
    return list_events(l, &range);
}

static heed_status check_list(heed_record what, const heed_list_opts *opts)
{
    bool events = what == HEED_RECORD_EVENT;

    HD_TRY(check_record(what));
    if (opts->n < 0 || opts->n > HD_LIST_MAX)
        return hd_fail(HEED_E_ARG, "n: %d is not 1 to %d", opts->n, HD_LIST_MAX);
    if (!events && (opts->user || opts->item || opts->kind))
        return hd_fail(HEED_E_ARG, "list: user, item and kind are for events");
    if (opts->kind && hd_event_kind_find(opts->kind, strlen(opts->kind)) < 0)
        return hd_fail(HEED_E_ARG, "kind: there is no \"%.40s\"", opts->kind);
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i])
            return hd_fail(HEED_E_ARG, "list: a reserved option is set");
    return HEED_OK;
}

heed_status heed_engine_list(heed_engine *engine, heed_record what, const heed_list_opts *opts,
                             heed_text **out)
{
    static const heed_list_opts ordinary;
    static const char *const plural[HEED_RECORDS] = {"events", "items", "users"};
    struct listing l = {0};
    char cursor[HD_CURSOR_BYTES];
    bool own = false;

    if (!opts)
        opts = &ordinary;
    HD_TRY(check_list(what, opts));
    HD_TRY(hd_open_beside(engine, &l.r.store));
    heed_status status = hd_desk_take(engine, &l.r.arena);
    l.room = opts->n ? opts->n : HD_LIST_DEFAULT;
    hd_json_begin_object(&l.r.json, NULL);
    hd_json_begin_array(&l.r.json, plural[what]);
    if (status == HEED_OK)
        status = hd_store_begin_reading(l.r.store, &own);
    if (status == HEED_OK)
        status = list_records(&l, what, opts);
    hd_store_end_reading(l.r.store, own);
    if (status == ENOUGH && l.more)
        status = HEED_OK;
    hd_json_end(&l.r.json);
    if (l.more)
        hd_cursor_write(what, l.number, &l.key, cursor);
    hd_json_put_text(&l.r.json, "cursor", l.more ? cursor : NULL);
    hd_json_end(&l.r.json);
    if (status == HEED_OK)
        status = hd_text_take(&l.r.json, out);
    hd_json_clear(&l.r.json);
    hd_desk_return(engine, l.r.arena);
    hd_store_close(l.r.store);
    return status;
}

/* ---- all */

struct exporting {
    struct reading r;
    const heed_sink *sink;
};

static heed_status send_line(struct exporting *e)
{
    const char *text;
    size_t bytes;

    HD_TRY(hd_json_finish(&e->r.json, &text, &bytes));
    e->r.json.text[bytes] = '\n'; /* in the place of the NUL */
    bool go_on = e->sink->write(e->sink->context, text, bytes + 1);
    hd_json_restart(&e->r.json);
    return go_on ? HEED_OK : hd_fail(HEED_E_CANCELLED, "export: stopped by whoever reads it");
}

static heed_status export_event(void *context, const struct hd_event_record *event)
{
    struct exporting *e = context;

    hd_put_event_json(&e->r.json, NULL, event);
    return send_line(e);
}

static heed_status export_item(void *context, int32_t item, const char *id,
                               const struct hd_item_row *row)
{
    struct exporting *e = context;

    hd_arena_reset(e->r.arena);
    HD_TRY(hd_put_item_json(&e->r.json, NULL, e->r.store, e->r.arena, item, id, row));
    return send_line(e);
}

static heed_status export_user(void *context, int32_t user, const char *id,
                               const struct hd_user_row *row)
{
    struct exporting *e = context;

    hd_arena_reset(e->r.arena);
    HD_TRY(hd_put_user_json(&e->r.json, NULL, e->r.store, e->r.arena, user, id, row));
    return send_line(e);
}

static heed_status export_records(struct exporting *e, heed_record what)
{
    struct hd_event_range all = {.user = -1, .item = -1, .kind = -1};

    if (what == HEED_RECORD_ITEM)
        return hd_store_each_item_from(e->r.store, 0, export_item, e);
    if (what == HEED_RECORD_USER)
        return hd_store_each_user(e->r.store, 0, export_user, e);
    return hd_store_list_events(e->r.store, &all, export_event, e);
}

heed_status heed_engine_export(heed_engine *engine, heed_record what, const heed_sink *sink)
{
    struct exporting e = {.sink = sink};
    bool own = false;

    HD_TRY(check_record(what));
    if (!sink || !sink->write)
        return hd_fail(HEED_E_ARG, "export: nowhere to write to");
    HD_TRY(hd_open_beside(engine, &e.r.store));
    heed_status status = hd_desk_take(engine, &e.r.arena);
    if (status == HEED_OK)
        status = hd_store_begin_reading(e.r.store, &own);
    if (status == HEED_OK)
        status = export_records(&e, what);
    hd_store_end_reading(e.r.store, own);
    hd_json_clear(&e.r.json);
    hd_desk_return(engine, e.r.arena);
    hd_store_close(e.r.store);
    return status;
}

/* ---- away */

/* An item that says nothing but that it is hidden, taken in as any other: so what is kept in memory
 * follows. */
static heed_status forget_item(heed_engine *engine, const char *id)
{
    struct hd_json_writer json = {0};
    heed_ingest piece = {.what = HEED_RECORD_ITEM, .document = true};
    int32_t number = -1;

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_store_look_up_item(engine->store, id, &number);
    pthread_mutex_unlock(&engine->lock);
    HD_TRY(status);
    if (number < 0)
        return not_found(HEED_RECORD_ITEM, id);
    hd_json_begin_object(&json, NULL);
    hd_json_put_text(&json, "id", id);
    hd_json_put_bool(&json, "hidden", true);
    hd_json_end(&json);
    status = hd_json_finish(&json, &piece.text, &piece.bytes);
    if (status == HEED_OK)
        status = heed_engine_ingest(engine, &piece, 1);
    hd_json_clear(&json);
    return status;
}

static heed_status forget_event(heed_engine *engine, const char *id)
{
    hd_store *store = NULL;

    HD_TRY(hd_write_begin(engine, &store));
    heed_status status = hd_store_overwrite_freed(store);
    if (status == HEED_OK)
        status = hd_store_remove_event(store, id);
    status = hd_write_end(engine, store, status);
    return status == HEED_E_NOTFOUND ? not_found(HEED_RECORD_EVENT, id) : status;
}

heed_status heed_engine_remove(heed_engine *engine, heed_record what, const char *id)
{
    HD_TRY(check_record(what));
    if (!id)
        return hd_fail(HEED_E_ARG, "records: no id was given");
    if (what == HEED_RECORD_USER)
        return hd_fail(HEED_E_ARG, "user: a user is erased, not removed");
    return what == HEED_RECORD_ITEM ? forget_item(engine, id) : forget_event(engine, id);
}

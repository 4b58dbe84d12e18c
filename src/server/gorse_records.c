/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's users and items: put in by the intake, read from the engine's own JSON. What feedback
 * needs of that too is shared in gorse.h. */
#include "server/gorse.h"
#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- what they look like */

static const struct hd_field item_fields[] = {
    {"ItemId", HD_IS_ID, HD_NEEDED},
    {"IsHidden", HD_IS_BOOL, HD_OR_NULL},
    {"Categories", HD_IS_TEXT, HD_MANY | HD_OR_NULL, .help = "tags"},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL, .help = "created"},
    {"Labels", HD_IS_ANYTHING, HD_OR_NULL, .help = "texts are tags, lists of numbers are features"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "title"},
    {0},
};
static const struct hd_shape item_shape = {"GorseItem", item_fields, 0, NULL};
static const struct hd_field item_patch_fields[] = {
    {"IsHidden", HD_IS_BOOL, HD_OR_NULL},  {"Categories", HD_IS_TEXT, HD_MANY | HD_OR_NULL},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL}, {"Labels", HD_IS_ANYTHING, HD_OR_NULL},
    {"Comment", HD_IS_TEXT, HD_OR_NULL},   {0},
};
static const struct hd_shape item_patch_shape = {"GorseItemPatch", item_patch_fields, 0, NULL};
static const struct hd_field user_fields[] = {
    {"UserId", HD_IS_ID, HD_NEEDED},
    {"Labels", HD_IS_ANYTHING, HD_OR_NULL, .help = "any JSON; an attribute"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "an attribute"},
    {0},
};
static const struct hd_shape user_shape = {"GorseUser", user_fields, 0, NULL};
static const struct hd_field user_patch_fields[] = {
    {"Labels", HD_IS_ANYTHING, HD_OR_NULL},
    {"Comment", HD_IS_TEXT, HD_OR_NULL},
    {0},
};
static const struct hd_shape user_patch_shape = {"GorseUserPatch", user_patch_fields, 0, NULL};
static const struct hd_field affected_fields[] = {{"RowAffected", HD_IS_INT, HD_NEEDED}, {0}};
const struct hd_shape hd_shape_gorse_affected = {"GorseSuccess", affected_fields, 0, NULL};

HD_GORSE_PAGE(item, "GorseItemPage", "Items");
HD_GORSE_PAGE(user, "GorseUserPage", "Users");

/* ---- answers */

heed_status hd_gorse_answer_affected(hd_exchange *x, int64_t rows)
{
    struct hd_json_writer w = {0};

    hd_json_begin_object(&w, NULL);
    hd_json_put_int(&w, "RowAffected", rows);
    hd_json_end(&w);
    return hd_reply_json(x, 200, &w);
}

static void answer_taken(struct hd_delivery *d, void *context)
{
    (void)context;
    if (hd_gorse_failed(d))
        return;
    if (hd_gorse_answer_affected(d->x, d->piece.accepted + d->piece.duplicate) != HEED_OK)
        hd_reply_problem(d->x, HEED_E_NOMEM, heed_error_message(), NULL);
}

/* ---- putting in */

static heed_status put_whole_item(struct hd_request *r, struct hd_json_writer *w,
                                  const hd_json *json)
{
    return hd_gorse_put_native_item(w, json, NULL, hd_exchange_arena(r->x));
}

static heed_status put_whole_user(struct hd_request *r, struct hd_json_writer *w,
                                  const hd_json *json)
{
    return hd_gorse_put_native_user(w, json, NULL, hd_exchange_arena(r->x));
}

/* The body as a list of `count`; one record is a list of one. */
static const hd_json *record_at(const hd_json *root, size_t i)
{
    return hd_json_kind(root) == HD_JSON_ARRAY ? hd_json_at(root, i) : root;
}

static heed_status read_all(struct hd_request *r, struct hd_json_writer *w, const hd_json *root,
                            size_t count, hd_gorse_put put)
{
    hd_json_begin_array(w, NULL);
    for (size_t i = 0; i < count; i++) {
        heed_status status = hd_gorse_fail(r, put(r, w, record_at(root, i)));
        if (status != HEED_OK && count > 1)
            return hd_fail_prefix(status, "record %zu: ", i + 1);
        HD_TRY(status);
    }
    hd_json_end(w);
    return HEED_OK;
}

/* All records are read before any is put in. */
heed_status hd_gorse_post(struct hd_request *r, heed_record what, hd_gorse_put put,
                          heed_status (*before)(struct hd_request *, const hd_json *))
{
    struct hd_json_writer w = {0};
    heed_status status = HEED_OK;
    hd_json *root;

    HD_TRY(hd_request_json(r, &root));
    size_t count = hd_json_kind(root) == HD_JSON_ARRAY ? hd_json_length(root) : 1;
    if (count == 0)
        return hd_gorse_answer_affected(r->x, 0);
    status = read_all(r, &w, root, count, put);
    for (size_t i = 0; status == HEED_OK && before && i < count; i++)
        status = before(r, record_at(root, i));
    if (status == HEED_OK)
        return hd_gorse_put_in(r, what, &w, answer_taken, NULL);
    hd_json_clear(&w);
    return status;
}

static heed_status post_items(struct hd_request *r)
{
    return hd_gorse_post(r, HEED_RECORD_ITEM, put_whole_item, NULL);
}

static heed_status post_users(struct hd_request *r)
{
    return hd_gorse_post(r, HEED_RECORD_USER, put_whole_user, NULL);
}

/* ---- changing */

/* The record as the engine has it, in a reader of its own, as the request's may hold the body. */
static heed_status read_old(struct hd_request *r, heed_record what, hd_json_reader **reader,
                            hd_json **old)
{
    heed_text *text = NULL;

    HD_TRY(heed_engine_read(r->server->engine, what, r->parameter[0], &text));
    heed_status status = hd_json_reader_new(reader);
    if (status == HEED_OK)
        status = hd_json_read(*reader, text->text, text->bytes, old);
    heed_text_free(text);
    return status;
}

static heed_status patch(struct hd_request *r, heed_record what,
                         heed_status (*put)(struct hd_json_writer *, const hd_json *,
                                            const hd_json *, hd_arena *))
{
    struct hd_json_writer w = {0};
    hd_json_reader *reader = NULL;
    hd_json *root, *old;

    heed_status status = read_old(r, what, &reader, &old);
    if (status == HEED_OK)
        status = hd_request_json(r, &root);
    if (status == HEED_OK)
        status = hd_gorse_fail(r, put(&w, root, old, hd_exchange_arena(r->x)));
    hd_json_reader_free(reader);
    if (status == HEED_OK)
        return hd_gorse_put_in(r, what, &w, answer_taken, NULL);
    hd_json_clear(&w);
    return status;
}

static heed_status patch_item(struct hd_request *r)
{
    return patch(r, HEED_RECORD_ITEM, hd_gorse_put_native_item);
}

static heed_status patch_user(struct hd_request *r)
{
    return patch(r, HEED_RECORD_USER, hd_gorse_put_native_user);
}

/* The item's tags, with or without the category of the path. */
static heed_status change_category(struct hd_request *r, bool with)
{
    struct hd_json_writer w = {0};
    hd_json_reader *reader = NULL;
    hd_json *old;

    heed_status status = read_old(r, HEED_RECORD_ITEM, &reader, &old);
    if (status == HEED_OK) {
        const hd_json *tags = hd_json_get(old, "tags");
        hd_json_begin_object(&w, NULL);
        hd_json_put_text(&w, "id", r->parameter[0]);
        hd_json_begin_array(&w, "tags");
        for (size_t i = 0; i < hd_json_length(tags); i++) {
            const char *tag = hd_json_text(hd_json_at(tags, i), NULL);
            if (strcmp(tag, r->parameter[1]) != 0)
                hd_json_put_text(&w, NULL, tag);
        }
        if (with)
            hd_json_put_text(&w, NULL, r->parameter[1]);
        hd_json_end(&w);
        hd_json_end(&w);
    }
    hd_json_reader_free(reader);
    return status == HEED_OK ? hd_gorse_put_in(r, HEED_RECORD_ITEM, &w, answer_taken, NULL)
                             : status;
}

static heed_status put_category(struct hd_request *r)
{
    return change_category(r, true);
}

static heed_status delete_category(struct hd_request *r)
{
    return change_category(r, false);
}

/* ---- one, and away */

static heed_status get_user(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    heed_text *text = NULL;
    hd_json *user;

    HD_TRY(heed_engine_read(r->server->engine, HEED_RECORD_USER, r->parameter[0], &text));
    HD_TRY(hd_gorse_read(r, text, &user));
    hd_gorse_put_user(&w, user);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status get_item(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    heed_text *text = NULL;
    hd_json *item;

    HD_TRY(heed_engine_read(r->server->engine, HEED_RECORD_ITEM, r->parameter[0], &text));
    HD_TRY(hd_gorse_read(r, text, &item));
    if (hd_gorse_item_is_removed(item))
        return hd_fail(HEED_E_NOTFOUND, "item: there is no \"%.80s\"", r->parameter[0]);
    hd_gorse_put_item(&w, item);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status delete_user(struct hd_request *r)
{
    heed_erasure report = {0};

    HD_TRY(heed_engine_erase(r->server->engine, r->parameter[0], &report));
    /* To whom it was done would be a trace. */
    hd_request_audit(r, "erase user", report.known ? "one who was known" : "one who was not known");
    return hd_gorse_answer_affected(r->x, report.known);
}

static heed_status delete_item(struct hd_request *r)
{
    heed_status status = heed_engine_remove(r->server->engine, HEED_RECORD_ITEM, r->parameter[0]);

    if (status == HEED_E_NOTFOUND)
        return hd_gorse_answer_affected(r->x, 0);
    HD_TRY(status);
    hd_request_audit(r, "remove item", r->parameter[0]);
    return hd_gorse_answer_affected(r->x, 1);
}

/* ---- pages */

heed_status hd_gorse_read_page(struct hd_request *r, heed_record what, const heed_list_opts *opts,
                               hd_json **page)
{
    heed_text *text = NULL;
    heed_status status = heed_engine_list(r->server->engine, what, opts, &text);

    *page = NULL;
    if (status == HEED_E_NOTFOUND)
        return HEED_OK;
    HD_TRY(status);
    return hd_gorse_read(r, text, page);
}

static void put_items(struct hd_json_writer *w, const hd_json *page, const char *type)
{
    const hd_json *items = hd_json_get(page, "items");

    (void)type;
    for (size_t i = 0; i < hd_json_length(items); i++)
        if (!hd_gorse_item_is_removed(hd_json_at(items, i)))
            hd_gorse_put_item(w, hd_json_at(items, i));
}

static void put_users(struct hd_json_writer *w, const hd_json *page, const char *type)
{
    const hd_json *users = hd_json_get(page, "users");

    (void)type;
    for (size_t i = 0; i < hd_json_length(users); i++)
        hd_gorse_put_user(w, hd_json_at(users, i));
}

heed_status hd_gorse_list(struct hd_request *r, heed_record what, const char *type,
                          hd_gorse_put_page put)
{
    static const char *const name[HEED_RECORDS] = {"Feedback", "Items", "Users"};
    struct hd_gorse_query query;
    struct hd_json_writer w = {0};
    hd_json *page;

    HD_TRY(hd_gorse_query(r, &query));
    heed_list_opts opts = {.cursor = query.cursor && *query.cursor ? query.cursor : NULL,
                           .n = (int)query.n,
                           .kind = type ? hd_gorse_kind(type) : NULL};
    HD_TRY(hd_gorse_read_page(r, what, &opts, &page));
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "Cursor", hd_json_text(hd_json_get(page, "cursor"), NULL));
    hd_json_begin_array(&w, name[what]);
    put(&w, page, type);
    hd_json_end(&w);
    hd_json_end(&w);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status list_users(struct hd_request *r)
{
    return hd_gorse_list(r, HEED_RECORD_USER, NULL, put_users);
}

/* The newest items whose title holds the text. */
static heed_status search_items(struct hd_request *r, const struct hd_gorse_query *query)
{
    struct hd_json_writer w = {0};
    heed_feed *feed = NULL;
    const char *filter;

    HD_TRY(hd_gorse_filter(hd_exchange_arena(r->x), "title contains", &query->search, 1, &filter));
    HD_TRY(heed_engine_feed(
        r->server->engine,
        &(heed_feed_request){
            .kind = HEED_FEED_FRESH, .n = (int)query->n, .filter = filter, .unrecorded = true},
        &feed));
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "Cursor", "");
    hd_json_begin_array(&w, "Items");
    heed_status status = HEED_OK;
    for (int i = 0; i < feed->count && status == HEED_OK; i++) {
        heed_text *text = NULL;
        hd_json *item;
        status = heed_engine_read(r->server->engine, HEED_RECORD_ITEM, feed->items[i].item, &text);
        if (status == HEED_OK)
            status = hd_gorse_read(r, text, &item);
        if (status == HEED_OK)
            hd_gorse_put_item(&w, item);
    }
    heed_feed_free(feed);
    hd_json_end(&w);
    hd_json_end(&w);
    if (status == HEED_OK)
        return hd_reply_json(r->x, 200, &w);
    hd_json_clear(&w);
    return status;
}

static heed_status list_items(struct hd_request *r)
{
    struct hd_gorse_query query;

    HD_TRY(hd_gorse_query(r, &query));
    if (query.search && *query.search)
        return search_items(r, &query);
    return hd_gorse_list(r, HEED_RECORD_ITEM, NULL, put_items);
}

/* ---- the table */

const struct hd_field hd_gorse_page_query[] = {HD_GORSE_N, HD_GORSE_CURSOR, {0}};
static const struct hd_field items_query[] = {
    HD_GORSE_N,
    HD_GORSE_CURSOR,
    {"q", HD_IS_TEXT, HD_GORSE_AT(search), .most = 1024,
     .help = "the newest with this in their title"},
    {0},
};

static const struct hd_route routes[] = {
    {HD_POST, "/api/user", HD_BY_INGEST, post_users, "gorsePostUser", "describe a user",
     HD_GORSE_TAKES_ONE(user_shape), HD_GORSE_AFFECTED},
    {HD_POST, "/api/users", HD_BY_INGEST, post_users, "gorsePostUsers", "describe users",
     HD_GORSE_TAKES(user_shape), HD_GORSE_AFFECTED},
    {HD_GET, "/api/users", 0, list_users, "gorseListUsers", "users", .query = hd_gorse_page_query,
     HD_GORSE_GIVES(user_page_shape)},
    {HD_GET, "/api/user/{id}", HD_BY_INGEST, get_user, "gorseGetUser", "one user",
     HD_GORSE_GIVES(user_shape)},
    {HD_PATCH, "/api/user/{id}", HD_BY_INGEST, patch_user, "gorsePatchUser", "change a user",
     HD_GORSE_TAKES_ONE(user_patch_shape), HD_GORSE_AFFECTED},
    {HD_DELETE, "/api/user/{id}", 0, delete_user, "gorseDeleteUser", "remove every trace of a user",
     HD_GORSE_AFFECTED},

    {HD_POST, "/api/item", HD_BY_INGEST, post_items, "gorsePostItem", "describe an item",
     HD_GORSE_TAKES_ONE(item_shape), HD_GORSE_AFFECTED},
    {HD_POST, "/api/items", HD_BY_INGEST, post_items, "gorsePostItems", "describe items",
     HD_GORSE_TAKES(item_shape), HD_GORSE_AFFECTED},
    {HD_GET, "/api/items", HD_BY_INGEST | HD_BY_SERVE, list_items, "gorseListItems", "items",
     .query = items_query, HD_GORSE_GIVES(item_page_shape)},
    {HD_GET, "/api/item/{id}", HD_BY_INGEST | HD_BY_SERVE, get_item, "gorseGetItem", "one item",
     HD_GORSE_GIVES(item_shape)},
    {HD_PATCH, "/api/item/{id}", HD_BY_INGEST, patch_item, "gorsePatchItem", "change an item",
     HD_GORSE_TAKES_ONE(item_patch_shape), HD_GORSE_AFFECTED},
    {HD_DELETE, "/api/item/{id}", HD_BY_INGEST, delete_item, "gorseDeleteItem",
     "show an item to nobody any more", HD_GORSE_AFFECTED},
    {HD_PUT, "/api/item/{id}/category/{category}", HD_BY_INGEST, put_category, "gorsePutCategory",
     "add a category", HD_GORSE_AFFECTED},
    {HD_DELETE, "/api/item/{id}/category/{category}", HD_BY_INGEST, delete_category,
     "gorseDeleteCategory", "take a category away", HD_GORSE_AFFECTED},
};

const struct hd_route_table hd_routes_gorse_records = {"gorse", routes,
                                                       sizeof routes / sizeof *routes};

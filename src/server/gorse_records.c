/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's users, items and feedback: put in by the intake, read from the engine's own JSON. */
#include "server/gorse.h"
#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- what they look like */

static const struct hd_field feedback_fields[] = {
    {"FeedbackType", HD_IS_ID, HD_NEEDED, .help = "docs/GORSE.md has the kinds of event"},
    {"UserId", HD_IS_ID, HD_NEEDED},
    {"ItemId", HD_IS_ID, HD_NEEDED},
    {"Value", HD_IS_NUMBER, HD_OR_NULL},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL, .help = "a date in one of many forms; now where empty"},
    {"Labels", HD_IS_MAP, HD_OR_NULL, .help = "any JSON; kept"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "kept"},
    {0},
};
static const struct hd_shape feedback_shape = {"GorseFeedback", feedback_fields, 0, NULL};
static const struct hd_field item_fields[] = {
    {"ItemId", HD_IS_ID, HD_NEEDED},
    {"IsHidden", HD_IS_BOOL, HD_OR_NULL},
    {"Categories", HD_IS_TEXT, HD_MANY | HD_OR_NULL, .help = "tags"},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL, .help = "created"},
    {"Labels", HD_IS_MAP, HD_OR_NULL, .help = "texts are tags, lists of numbers are features"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "title"},
    {0},
};
static const struct hd_shape item_shape = {"GorseItem", item_fields, 0, NULL};
static const struct hd_field item_patch_fields[] = {
    {"IsHidden", HD_IS_BOOL, HD_OR_NULL},
    {"Categories", HD_IS_TEXT, HD_MANY | HD_OR_NULL},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL},
    {"Labels", HD_IS_MAP, HD_OR_NULL},
    {"Comment", HD_IS_TEXT, HD_OR_NULL},
    {0},
};
static const struct hd_shape item_patch_shape = {"GorseItemPatch", item_patch_fields, 0, NULL};
static const struct hd_field user_fields[] = {
    {"UserId", HD_IS_ID, HD_NEEDED},
    {"Labels", HD_IS_MAP, HD_OR_NULL, .help = "any JSON; an attribute"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "an attribute"},
    {0},
};
static const struct hd_shape user_shape = {"GorseUser", user_fields, 0, NULL};
static const struct hd_field user_patch_fields[] = {
    {"Labels", HD_IS_MAP, HD_OR_NULL},
    {"Comment", HD_IS_TEXT, HD_OR_NULL},
    {0},
};
static const struct hd_shape user_patch_shape = {"GorseUserPatch", user_patch_fields, 0, NULL};
static const struct hd_field affected_fields[] = {{"RowAffected", HD_IS_INT, HD_NEEDED}, {0}};
static const struct hd_shape affected_shape = {"GorseSuccess", affected_fields, 0, NULL};

#define PAGE_SHAPE(of, title, what)                                                         \
    static const struct hd_field of##_page_fields[] = {                                     \
        {"Cursor", HD_IS_TEXT, HD_NEEDED, .help = "asks for the next page; empty on the last"}, \
        {what, HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &of##_shape},                     \
        {0},                                                                                \
    };                                                                                      \
    static const struct hd_shape of##_page_shape = {title, of##_page_fields, 0, NULL}
PAGE_SHAPE(feedback, "GorseFeedbackPage", "Feedback");
PAGE_SHAPE(item, "GorseItemPage", "Items");
PAGE_SHAPE(user, "GorseUserPage", "Users");

/* ---- answers */

static heed_status answer_affected(hd_exchange *x, int64_t rows)
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
    if (answer_affected(d->x, d->piece.accepted + d->piece.duplicate) != HEED_OK)
        hd_reply_problem(d->x, HEED_E_NOMEM, heed_error_message(), NULL);
}

/* ---- putting in */

typedef heed_status (*put_one)(struct hd_request *r, struct hd_json_writer *w, const hd_json *json);

static heed_status put_feedback(struct hd_request *r, struct hd_json_writer *w, const hd_json *json)
{
    struct hd_gorse_feedback feedback;

    HD_TRY(hd_gorse_read_feedback(json, hd_exchange_arena(r->x), &feedback));
    hd_gorse_put_event(w, &feedback);
    return HEED_OK;
}

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
                            size_t count, put_one put)
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

/* Events that are there already make room for those to come. */
static heed_status make_room(struct hd_request *r, const hd_json *root, size_t count)
{
    struct hd_gorse_feedback feedback;
    char id[HD_GORSE_ID_BYTES];

    for (size_t i = 0; i < count; i++) {
        HD_TRY(hd_gorse_read_feedback(record_at(root, i), hd_exchange_arena(r->x), &feedback));
        hd_gorse_id(&feedback, id);
        heed_status status = heed_engine_remove(r->server->engine, HEED_RECORD_EVENT, id);
        if (status != HEED_OK && status != HEED_E_NOTFOUND)
            return status;
    }
    return HEED_OK;
}

/* All records are read before any is put in. */
static heed_status post_all(struct hd_request *r, heed_record what, put_one put, bool replace)
{
    struct hd_json_writer w = {0};
    hd_json *root;

    HD_TRY(hd_request_json(r, &root));
    size_t count = hd_json_kind(root) == HD_JSON_ARRAY ? hd_json_length(root) : 1;
    if (count == 0)
        return answer_affected(r->x, 0);
    heed_status status = read_all(r, &w, root, count, put);
    if (status == HEED_OK && replace)
        status = make_room(r, root, count);
    if (status == HEED_OK)
        return hd_gorse_put_in(r, what, &w, answer_taken, NULL);
    hd_json_clear(&w);
    return status;
}

static heed_status post_feedback(struct hd_request *r)
{
    return post_all(r, HEED_RECORD_EVENT, put_feedback, false);
}

static heed_status put_feedback_again(struct hd_request *r)
{
    return post_all(r, HEED_RECORD_EVENT, put_feedback, true);
}

static heed_status post_items(struct hd_request *r)
{
    return post_all(r, HEED_RECORD_ITEM, put_whole_item, false);
}

static heed_status post_users(struct hd_request *r)
{
    return post_all(r, HEED_RECORD_USER, put_whole_user, false);
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
    return status == HEED_OK ? hd_gorse_put_in(r, HEED_RECORD_ITEM, &w, answer_taken, NULL) : status;
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
    return answer_affected(r->x, report.known);
}

static heed_status delete_item(struct hd_request *r)
{
    heed_status status = heed_engine_remove(r->server->engine, HEED_RECORD_ITEM, r->parameter[0]);

    if (status == HEED_E_NOTFOUND)
        return answer_affected(r->x, 0);
    HD_TRY(status);
    hd_request_audit(r, "remove item", r->parameter[0]);
    return answer_affected(r->x, 1);
}

/* ---- pages */

static const char *const plural[HEED_RECORDS] = {"events", "items", "users"};

/* A page of the engine's. Of an unknown user or item there is an empty one, as Gorse has it. */
static heed_status read_page(struct hd_request *r, heed_record what, const heed_list_opts *opts,
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

/* The events of a page, only those of a type where one is given. */
static int put_page_feedback(struct hd_json_writer *w, const hd_json *page, const char *type)
{
    const hd_json *events = hd_json_get(page, "events");
    int count = 0;

    for (size_t i = 0; i < hd_json_length(events); i++) {
        const hd_json *event = hd_json_at(events, i);
        if (type && strcmp(type, hd_gorse_type_of(event)) != 0)
            continue;
        hd_gorse_put_feedback(w, event);
        count++;
    }
    return count;
}

static void put_page_records(struct hd_json_writer *w, heed_record what, const hd_json *page)
{
    const hd_json *records = hd_json_get(page, plural[what]);

    for (size_t i = 0; i < hd_json_length(records); i++) {
        const hd_json *record = hd_json_at(records, i);
        if (what == HEED_RECORD_USER)
            hd_gorse_put_user(w, record);
        else if (!hd_gorse_item_is_removed(record))
            hd_gorse_put_item(w, record);
    }
}

static heed_status list_page(struct hd_request *r, heed_record what, const char *type)
{
    static const char *const name[HEED_RECORDS] = {"Feedback", "Items", "Users"};
    struct hd_gorse_query query;
    struct hd_json_writer w = {0};
    hd_json *page;

    HD_TRY(hd_gorse_query(r, &query));
    HD_TRY(read_page(r, what,
                     &(heed_list_opts){.cursor = query.cursor && *query.cursor ? query.cursor : NULL,
                                       .n = (int)query.n,
                                       .kind = type ? hd_gorse_kind(type) : NULL},
                     &page));
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "Cursor", hd_json_text(hd_json_get(page, "cursor"), NULL));
    hd_json_begin_array(&w, name[what]);
    if (what == HEED_RECORD_EVENT)
        put_page_feedback(&w, page, type);
    else
        put_page_records(&w, what, page);
    hd_json_end(&w);
    hd_json_end(&w);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status list_feedback(struct hd_request *r)
{
    return list_page(r, HEED_RECORD_EVENT, r->parameter[0]);
}

static heed_status list_users(struct hd_request *r)
{
    return list_page(r, HEED_RECORD_USER, NULL);
}

/* The newest items whose title holds the text. */
static heed_status search_items(struct hd_request *r, const struct hd_gorse_query *query)
{
    struct hd_json_writer w = {0};
    heed_feed *feed = NULL;
    const char *filter;

    HD_TRY(hd_gorse_filter(hd_exchange_arena(r->x), "title contains", &query->search, 1, &filter));
    HD_TRY(heed_engine_feed(r->server->engine,
                            &(heed_feed_request){.kind = HEED_FEED_FRESH,
                                                 .n = (int)query->n,
                                                 .filter = filter,
                                                 .unrecorded = true},
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
    return list_page(r, HEED_RECORD_ITEM, NULL);
}

/* ---- feedback of a user, of an item, of both */

struct whose {
    const char *user, *item, *type; /* NULL: any */
};

/* Calls with each page, up to HD_GORSE_FEEDBACK_MAX events in all. */
static heed_status each_page(struct hd_request *r, const struct whose *whose,
                             void (*page_of)(void *context, const hd_json *page), void *context)
{
    heed_list_opts opts = {.user = whose->user,
                           .item = whose->item,
                           .kind = whose->type ? hd_gorse_kind(whose->type) : NULL,
                           .n = 1000};
    hd_json *page;

    for (int seen = 0; seen < HD_GORSE_FEEDBACK_MAX; seen += opts.n) {
        HD_TRY(read_page(r, HEED_RECORD_EVENT, &opts, &page));
        page_of(context, page);
        const char *cursor = hd_json_text(hd_json_get(page, "cursor"), NULL);
        if (!*cursor)
            break;
        if (!(opts.cursor = hd_arena_strdup(hd_exchange_arena(r->x), cursor)))
            return hd_fail(HEED_E_NOMEM, "feedback: no memory");
    }
    return HEED_OK;
}

struct collecting {
    struct hd_json_writer w;
    const char *type;
    int count;
};

static void collect(void *context, const hd_json *page)
{
    struct collecting *c = context;

    c->count += put_page_feedback(&c->w, page, c->type);
}

static heed_status answer_feedback(struct hd_request *r, const struct whose *whose)
{
    struct collecting c = {.type = whose->type};

    hd_json_begin_array(&c.w, NULL);
    heed_status status = each_page(r, whose, collect, &c);
    hd_json_end(&c.w);
    if (status == HEED_OK)
        return hd_reply_json(r->x, 200, &c.w);
    hd_json_clear(&c.w);
    return status;
}

static heed_status user_feedback(struct hd_request *r)
{
    return answer_feedback(r, &(struct whose){.user = r->parameter[0], .type = r->parameter[1]});
}

static heed_status item_feedback(struct hd_request *r)
{
    return answer_feedback(r, &(struct whose){.item = r->parameter[0], .type = r->parameter[1]});
}

static heed_status pair_feedback(struct hd_request *r)
{
    return answer_feedback(r, &(struct whose){.user = r->parameter[0], .item = r->parameter[1]});
}

/* The one of that type, or 404. */
static heed_status one_feedback(struct hd_request *r)
{
    struct whose whose = {r->parameter[1], r->parameter[2], r->parameter[0]};
    struct hd_json_writer w = {0};
    hd_json *page;

    HD_TRY(read_page(r, HEED_RECORD_EVENT,
                     &(heed_list_opts){.user = whose.user, .item = whose.item,
                                       .kind = hd_gorse_kind(whose.type), .n = 1000}, &page));
    const hd_json *events = hd_json_get(page, "events");
    for (size_t i = 0; i < hd_json_length(events); i++) {
        const hd_json *event = hd_json_at(events, i);
        if (strcmp(hd_gorse_type_of(event), whose.type) == 0) {
            hd_gorse_put_feedback(&w, event);
            return hd_reply_json(r->x, 200, &w);
        }
    }
    return hd_fail(HEED_E_NOTFOUND, "feedback: there is none of this type, user and item");
}

struct removing {
    hd_arena *arena;
    const char *type;
    const char *id[1000];
    int count;
};

static void note_ids(void *context, const hd_json *page)
{
    struct removing *m = context;
    const hd_json *events = hd_json_get(page, "events");

    for (size_t i = 0; i < hd_json_length(events); i++) {
        const hd_json *event = hd_json_at(events, i);
        const char *id = hd_json_text(hd_json_get(event, "id"), NULL);
        if (*id && m->count < 1000 && (!m->type || strcmp(m->type, hd_gorse_type_of(event)) == 0))
            m->id[m->count++] = hd_arena_strdup(m->arena, id);
    }
}

static heed_status remove_feedback(struct hd_request *r, const struct whose *whose)
{
    struct removing *m = hd_arena_zalloc(hd_exchange_arena(r->x), 1, sizeof *m);
    int64_t removed = 0;

    if (!m)
        return hd_fail(HEED_E_NOMEM, "feedback: no memory");
    m->arena = hd_exchange_arena(r->x);
    m->type = whose->type;
    HD_TRY(each_page(r, whose, note_ids, m));
    for (int i = 0; i < m->count; i++) {
        if (!m->id[i])
            return hd_fail(HEED_E_NOMEM, "feedback: no memory");
        heed_status status = heed_engine_remove(r->server->engine, HEED_RECORD_EVENT, m->id[i]);
        if (status != HEED_OK && status != HEED_E_NOTFOUND)
            return status;
        removed += status == HEED_OK;
    }
    return answer_affected(r->x, removed);
}

static heed_status delete_pair(struct hd_request *r)
{
    return remove_feedback(r, &(struct whose){.user = r->parameter[0], .item = r->parameter[1]});
}

static heed_status delete_one(struct hd_request *r)
{
    return remove_feedback(r, &(struct whose){r->parameter[1], r->parameter[2], r->parameter[0]});
}

/* ---- the table */

static const struct hd_field page_query[] = {
    HD_GORSE_N,
    {"cursor", HD_IS_TEXT, HD_GORSE_AT(cursor), .most = 2048, .help = "of the page before"},
    {0},
};
static const struct hd_field items_query[] = {
    HD_GORSE_N,
    {"cursor", HD_IS_TEXT, HD_GORSE_AT(cursor), .most = 2048, .help = "of the page before"},
    {"q", HD_IS_TEXT, HD_GORSE_AT(search), .most = 1024, .help = "the newest with this in their title"},
    {0},
};

#define TAKES(shape_) .body_kind = HD_BODY_RECORDS, .body = &shape_
#define TAKES_ONE(shape_) .body_kind = HD_BODY_JSON, .body = &shape_
#define GIVES(shape_) .answers = {{.status = 200, .shape = &shape_, .help = "as Gorse has it"}}
#define GIVES_MANY(shape_) \
    .answers = {{.status = 200, .shape = &shape_, .help = "as Gorse has it", .array = true}}
#define AFFECTED GIVES(affected_shape)

static const struct hd_route routes[] = {
    {HD_POST, "/api/feedback", HD_BY_INGEST | HD_BY_SERVE, post_feedback, "gorsePostFeedback",
     "put feedback in; what is there stays", TAKES(feedback_shape), AFFECTED},
    {HD_PUT, "/api/feedback", HD_BY_INGEST | HD_BY_SERVE, put_feedback_again, "gorsePutFeedback",
     "put feedback in; what is there is replaced", TAKES(feedback_shape), AFFECTED},
    {HD_GET, "/api/feedback", 0, list_feedback, "gorseListFeedback", "feedback by user",
     .query = page_query, GIVES(feedback_page_shape)},
    {HD_GET, "/api/feedback/{type}", 0, list_feedback, "gorseListFeedbackOfType",
     "feedback of a type, by user", .query = page_query, GIVES(feedback_page_shape)},
    {HD_GET, "/api/feedback/{user}/{item}", 0, pair_feedback, "gorseGetPairFeedback",
     "what a user did with an item", GIVES_MANY(feedback_shape)},
    {HD_DELETE, "/api/feedback/{user}/{item}", HD_BY_INGEST, delete_pair, "gorseDeletePairFeedback",
     "forget it", AFFECTED},
    {HD_GET, "/api/feedback/{type}/{user}/{item}", 0, one_feedback, "gorseGetFeedback",
     "one feedback", GIVES(feedback_shape)},
    {HD_DELETE, "/api/feedback/{type}/{user}/{item}", HD_BY_INGEST, delete_one,
     "gorseDeleteFeedback", "forget it", AFFECTED},

    {HD_POST, "/api/user", HD_BY_INGEST, post_users, "gorsePostUser", "describe a user",
     TAKES_ONE(user_shape), AFFECTED},
    {HD_POST, "/api/users", HD_BY_INGEST, post_users, "gorsePostUsers", "describe users",
     TAKES(user_shape), AFFECTED},
    {HD_GET, "/api/users", 0, list_users, "gorseListUsers", "users", .query = page_query,
     GIVES(user_page_shape)},
    {HD_GET, "/api/user/{id}", HD_BY_INGEST, get_user, "gorseGetUser", "one user", GIVES(user_shape)},
    {HD_PATCH, "/api/user/{id}", HD_BY_INGEST, patch_user, "gorsePatchUser", "change a user",
     TAKES_ONE(user_patch_shape), AFFECTED},
    {HD_DELETE, "/api/user/{id}", 0, delete_user, "gorseDeleteUser", "remove every trace of a user",
     AFFECTED},
    {HD_GET, "/api/user/{id}/feedback", 0, user_feedback, "gorseUserFeedback",
     "what a user did", GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/user/{id}/feedback/{type}", 0, user_feedback, "gorseUserFeedbackOfType",
     "what a user did, of a type", GIVES_MANY(feedback_shape)},

    {HD_POST, "/api/item", HD_BY_INGEST, post_items, "gorsePostItem", "describe an item",
     TAKES_ONE(item_shape), AFFECTED},
    {HD_POST, "/api/items", HD_BY_INGEST, post_items, "gorsePostItems", "describe items",
     TAKES(item_shape), AFFECTED},
    {HD_GET, "/api/items", HD_BY_INGEST | HD_BY_SERVE, list_items, "gorseListItems", "items",
     .query = items_query, GIVES(item_page_shape)},
    {HD_GET, "/api/item/{id}", HD_BY_INGEST | HD_BY_SERVE, get_item, "gorseGetItem", "one item",
     GIVES(item_shape)},
    {HD_PATCH, "/api/item/{id}", HD_BY_INGEST, patch_item, "gorsePatchItem", "change an item",
     TAKES_ONE(item_patch_shape), AFFECTED},
    {HD_DELETE, "/api/item/{id}", HD_BY_INGEST, delete_item, "gorseDeleteItem",
     "show an item to nobody any more", AFFECTED},
    {HD_PUT, "/api/item/{id}/category/{category}", HD_BY_INGEST, put_category, "gorsePutCategory",
     "add a category", AFFECTED},
    {HD_DELETE, "/api/item/{id}/category/{category}", HD_BY_INGEST, delete_category,
     "gorseDeleteCategory", "take a category away", AFFECTED},
    {HD_GET, "/api/item/{id}/feedback/", 0, item_feedback, "gorseItemFeedback",
     "what was done with an item", GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/item/{id}/feedback", 0, item_feedback, "gorseItemFeedbackBare",
     "the same", GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/item/{id}/feedback/{type}", 0, item_feedback, "gorseItemFeedbackOfType",
     "what was done with an item, of a type", GIVES_MANY(feedback_shape)},
};

const struct hd_route_table hd_routes_gorse_records = {"gorse", routes,
                                                       sizeof routes / sizeof *routes};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's feedback. Its identity is type, user and item: put in again it is there already, and PUT
 * replaces it. Events that came another way are feedback too, of their kind. */
#include "server/gorse.h"
#include "base/limits.h"

#include <string.h>

static const struct hd_field feedback_fields[] = {
    {"FeedbackType", HD_IS_ID, HD_NEEDED, .help = "docs/GORSE.md has the kinds of event"},
    {"UserId", HD_IS_ID, HD_NEEDED},
    {"ItemId", HD_IS_ID, HD_NEEDED},
    {"Value", HD_IS_NUMBER, HD_OR_NULL},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL, .help = "a date in one of many forms; now where empty"},
    {"Labels", HD_IS_ANYTHING, HD_OR_NULL, .help = "any JSON; kept"},
    {"Comment", HD_IS_TEXT, HD_OR_NULL, .help = "kept"},
    {0},
};
static const struct hd_shape feedback_shape = {"GorseFeedback", feedback_fields, 0, NULL};
HD_GORSE_PAGE(feedback, "GorseFeedbackPage", "Feedback");

/* ---- putting in */

static heed_status put_feedback(struct hd_request *r, struct hd_json_writer *w, const hd_json *json)
{
    struct hd_gorse_feedback feedback;

    HD_TRY(hd_gorse_read_feedback(json, hd_exchange_arena(r->x), &feedback));
    hd_gorse_put_event(w, &feedback);
    return HEED_OK;
}

/* The event that is there makes room for the one to come. */
static heed_status make_room(struct hd_request *r, const hd_json *json)
{
    struct hd_gorse_feedback feedback;
    char id[HD_GORSE_ID_BYTES];

    HD_TRY(hd_gorse_read_feedback(json, hd_exchange_arena(r->x), &feedback));
    hd_gorse_id(&feedback, id);
    heed_status status = heed_engine_remove(r->server->engine, HEED_RECORD_EVENT, id);
    return status == HEED_E_NOTFOUND ? HEED_OK : status;
}

static heed_status post_feedback(struct hd_request *r)
{
    return hd_gorse_post(r, HEED_RECORD_EVENT, put_feedback, NULL);
}

static heed_status put_feedback_again(struct hd_request *r)
{
    return hd_gorse_post(r, HEED_RECORD_EVENT, put_feedback, make_room);
}

/* ---- pages */

static void put_events(struct hd_json_writer *w, const hd_json *page, const char *type)
{
    const hd_json *events = hd_json_get(page, "events");

    for (size_t i = 0; i < hd_json_length(events); i++) {
        const hd_json *event = hd_json_at(events, i);
        if (!type || strcmp(type, hd_gorse_type_of(event)) == 0)
            hd_gorse_put_feedback(w, event);
    }
}

static heed_status list_feedback(struct hd_request *r)
{
    return hd_gorse_list(r, HEED_RECORD_EVENT, r->parameter[0], put_events);
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
        HD_TRY(hd_gorse_read_page(r, HEED_RECORD_EVENT, &opts, &page));
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
};

static void collect(void *context, const hd_json *page)
{
    struct collecting *c = context;

    put_events(&c->w, page, c->type);
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

    HD_TRY(hd_gorse_read_page(
        r, HEED_RECORD_EVENT,
        &(heed_list_opts){
            .user = whose.user, .item = whose.item, .kind = hd_gorse_kind(whose.type), .n = 1000},
        &page));
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
    return hd_gorse_answer_affected(r->x, removed);
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

static const struct hd_route routes[] = {
    {HD_POST, "/api/feedback", HD_BY_INGEST | HD_BY_SERVE, post_feedback, "gorsePostFeedback",
     "put feedback in; what is there stays", HD_GORSE_TAKES(feedback_shape), HD_GORSE_AFFECTED},
    {HD_PUT, "/api/feedback", HD_BY_INGEST | HD_BY_SERVE, put_feedback_again, "gorsePutFeedback",
     "put feedback in; what is there is replaced", HD_GORSE_TAKES(feedback_shape),
     HD_GORSE_AFFECTED},
    {HD_GET, "/api/feedback", 0, list_feedback, "gorseListFeedback", "feedback by user",
     .query = hd_gorse_page_query, HD_GORSE_GIVES(feedback_page_shape)},
    {HD_GET, "/api/feedback/{type}", 0, list_feedback, "gorseListFeedbackOfType",
     "feedback of a type, by user", .query = hd_gorse_page_query,
     HD_GORSE_GIVES(feedback_page_shape)},
    {HD_GET, "/api/feedback/{user}/{item}", 0, pair_feedback, "gorseGetPairFeedback",
     "what a user did with an item", HD_GORSE_GIVES_MANY(feedback_shape)},
    {HD_DELETE, "/api/feedback/{user}/{item}", HD_BY_INGEST, delete_pair, "gorseDeletePairFeedback",
     "forget it", HD_GORSE_AFFECTED},
    {HD_GET, "/api/feedback/{type}/{user}/{item}", 0, one_feedback, "gorseGetFeedback",
     "one feedback", HD_GORSE_GIVES(feedback_shape)},
    {HD_DELETE, "/api/feedback/{type}/{user}/{item}", HD_BY_INGEST, delete_one,
     "gorseDeleteFeedback", "forget it", HD_GORSE_AFFECTED},
    {HD_GET, "/api/user/{id}/feedback", 0, user_feedback, "gorseUserFeedback", "what a user did",
     HD_GORSE_GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/user/{id}/feedback/{type}", 0, user_feedback, "gorseUserFeedbackOfType",
     "what a user did, of a type", HD_GORSE_GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/item/{id}/feedback/", 0, item_feedback, "gorseItemFeedback",
     "what was done with an item", HD_GORSE_GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/item/{id}/feedback", 0, item_feedback, "gorseItemFeedbackBare", "the same",
     HD_GORSE_GIVES_MANY(feedback_shape)},
    {HD_GET, "/api/item/{id}/feedback/{type}", 0, item_feedback, "gorseItemFeedbackOfType",
     "what was done with an item, of a type", HD_GORSE_GIVES_MANY(feedback_shape)},
};

const struct hd_route_table hd_routes_gorse_feedback = {"gorse", routes,
                                                        sizeof routes / sizeof *routes};

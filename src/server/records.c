/* SPDX-License-Identifier: Apache-2.0
 *
 * Events, items and users: in by the intake, out one by one, by page or as NDJSON. */
#include "server/stream.h"
#include "acquire/event.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

/* ---- what they look like */

static const struct hd_field event_fields[] = {
    {"id", HD_IS_ID, HD_OR_NULL, .help = "makes it idempotent: the same id twice is one event"},
    {"ts", HD_IS_TIME, HD_OR_NULL, .help = "when; now where not given; null in answers: unknown"},
    {"user", HD_IS_ID, HD_NEEDED, .help = "whose attention"},
    {"item", HD_IS_ID, HD_NEEDED, .help = "to what"},
    {"kind", HD_IS_CHOICE, HD_NEEDED, .words = HD_EVENT_KIND_WORDS},
    {"dwell_ms", HD_IS_NUMBER, HD_OR_NULL, .most = HD_DWELL_MS_MAX, .help = "how long it lasted"},
    {"value", HD_IS_NUMBER, HD_OR_NULL, .help = "what it is worth, in the caller's own unit"},
    {"decision", HD_IS_ID, HD_OR_NULL, .help = "of which feed it is an outcome"},
    {"position", HD_IS_INT, HD_OR_NULL, .most = HD_POSITION_MAX, .help = "where in the page"},
    {"context", HD_IS_MAP, HD_OR_NULL, .help = "the caller's own"},
    {"ext", HD_IS_MAP, HD_OR_NULL, .help = "the caller's own"},
    {0},
};
static const struct hd_shape event_shape = {"Event", event_fields, 0,
                                            "one fact: a user's attention to an item"};

#define ITEM_SAID                                                                               \
    {"title", HD_IS_TEXT, HD_OR_NULL},                                                          \
    {"text", HD_IS_TEXT, HD_OR_NULL},                                                           \
    {"tags", HD_IS_TEXT, HD_MANY | HD_OR_NULL, .most_count = HD_TAGS_MAX},                      \
    {"author", HD_IS_ID, HD_OR_NULL},                                                           \
    {"url", HD_IS_TEXT, HD_OR_NULL},                                                            \
    {"created", HD_IS_TIME, HD_OR_NULL},                                                        \
    {"expires", HD_IS_TIME, HD_OR_NULL, .help = "shown to nobody from then on"},                \
    {"hidden", HD_IS_BOOL, HD_OR_NULL, .help = "shown to nobody"},                              \
    {"features", HD_IS_VECTORS, HD_OR_NULL, .help = "named vectors: of its image, its sound"}
/* Where the id is in the path, the body may leave it out. */
#define ID_OF_PATH {"id", HD_IS_ID, 0, .help = "that of the path"}
static const struct hd_field item_fields[] = {{"id", HD_IS_ID, HD_NEEDED}, ITEM_SAID, {0}};
static const struct hd_shape item_shape = {"Item", item_fields, 0, "what can be shown"};
static const struct hd_field item_body_fields[] = {ID_OF_PATH, ITEM_SAID, {0}};
static const struct hd_shape item_body_shape = {"ItemBody", item_body_fields, 0, NULL};

static const struct hd_field consent_fields[] = {
    {"learn", HD_IS_BOOL, HD_OR_NULL, .help = "from this user's events; true where not said"},
    {"personalise", HD_IS_BOOL, HD_OR_NULL, .help = "what this user is shown; true where not said"},
    {"sell", HD_IS_BOOL, HD_OR_NULL, .help = "this user's attention; false where not said"},
    {0},
};
static const struct hd_shape consent_shape = {"Consent", consent_fields, 0, NULL};
static const struct hd_field block_fields[] = {
    {"items", HD_IS_ID, HD_MANY | HD_OR_NULL},
    {"authors", HD_IS_ID, HD_MANY | HD_OR_NULL},
    {"tags", HD_IS_ID, HD_MANY | HD_OR_NULL},
    {0},
};
static const struct hd_shape block_shape = {"Block", block_fields, 0, "never shown to this user"};
static const struct hd_field follow_fields[] = {
    {"authors", HD_IS_ID, HD_MANY | HD_OR_NULL},
    {"tags", HD_IS_ID, HD_MANY | HD_OR_NULL},
    {0},
};
static const struct hd_shape follow_shape = {"Follow", follow_fields, 0, NULL};
#define USER_SAID                                                                               \
    {"attributes", HD_IS_MAP, HD_OR_NULL, .help = "the caller's own"},                          \
    {"consent", HD_IS_SHAPE, HD_OR_NULL, .shape = &consent_shape},                              \
    {"block", HD_IS_SHAPE, HD_OR_NULL, .shape = &block_shape},                                  \
    {"follow", HD_IS_SHAPE, HD_OR_NULL, .shape = &follow_shape}
static const struct hd_field user_fields[] = {{"id", HD_IS_ID, HD_NEEDED}, USER_SAID, {0}};
static const struct hd_shape user_shape = {"User", user_fields, 0, "who is shown something"};
static const struct hd_field user_body_fields[] = {ID_OF_PATH, USER_SAID, {0}};
static const struct hd_shape user_body_shape = {"UserBody", user_body_fields, 0, NULL};

static const struct hd_field taken_fields[] = {
    {"accepted", HD_IS_INT, HD_NEEDED, .help = "on disk, and known to the next feed"},
    {"duplicate", HD_IS_INT, HD_NEEDED, .help = "there already"},
    {"rejected", HD_IS_INT, HD_NEEDED, .help = "turned away"},
    {"errors", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &hd_shape_bad_record,
     .most_count = HD_ERRORS_LISTED_MAX, .help = "the first of those turned away"},
    {0},
};
static const struct hd_shape taken_shape = {"Taken", taken_fields, 0, "what became of records"};

#define PAGE_SHAPE(of, title, what)                                             \
    static const struct hd_field of##_page_fields[] = {                         \
        {what, HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &of##_shape},         \
        {"cursor", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL,                          \
         .help = "asks for the next page; null on the last one"},               \
        {0},                                                                    \
    };                                                                          \
    static const struct hd_shape of##_page_shape = {title, of##_page_fields, 0, NULL}
PAGE_SHAPE(event, "Events", "events");
PAGE_SHAPE(item, "Items", "items");
PAGE_SHAPE(user, "Users", "users");

static const struct hd_field erased_fields[] = {
    {"user", HD_IS_TEXT, HD_NEEDED},
    {"known", HD_IS_BOOL, HD_NEEDED, .help = "the user was there"},
    {"events", HD_IS_INT, HD_NEEDED, .help = "removed"},
    {"marks", HD_IS_INT, HD_NEEDED, .help = "removed: blocked and followed"},
    {"decisions", HD_IS_INT, HD_NEEDED, .help = "removed: feeds that were given"},
    {0},
};
static const struct hd_shape erased_shape = {"Erased", erased_fields, 0, NULL};

/* ---- in */

/* NDJSON, or one JSON document? By the type where it says so; else by the looks: an array is one, and
 * so is an object whose first line does not end it. */
static bool looks_like_document(const hd_exchange *x, const char *body, size_t bytes)
{
    if (hd_exchange_content_is(x, "application/json"))
        return true;
    if (hd_exchange_header(x, "Content-Type") &&
        !hd_exchange_content_is(x, "application/x-www-form-urlencoded"))
        return false;
    size_t at = 0;
    while (at < bytes && strchr(" \t\r\n", body[at]))
        at++;
    if (at == bytes || body[at] == '[')
        return at < bytes;
    const char *end = memchr(body + at, '\n', bytes - at);
    size_t line = end ? (size_t)(end - body) : bytes;
    while (line > at && strchr(" \t\r", body[line - 1]))
        line--;
    return body[line - 1] != '}';
}

static void answer_taken(struct hd_delivery *d, void *context)
{
    const heed_ingest *p = &d->piece;
    struct hd_json_writer w = {0};

    (void)context;
    if (d->status != HEED_OK) {
        hd_reply_problem(d->x, d->status, d->message, NULL);
        return;
    }
    if (p->rejected > 0 && p->accepted + p->duplicate == 0) {
        hd_problem_answer(d->x, &(struct hd_problem){
                                    .status = 400,
                                    .type = "records",
                                    .title = "no record could be taken in",
                                    .detail = d->error_count ? d->errors[0].reason : NULL,
                                    .line = d->error_count ? d->errors[0].line : 0,
                                    .counted = true,
                                    .rejected = p->rejected,
                                    .errors = d->errors,
                                    .error_count = d->error_count,
                                });
        return;
    }
    hd_json_begin_object(&w, NULL);
    hd_json_put_int(&w, "accepted", p->accepted);
    hd_json_put_int(&w, "duplicate", p->duplicate);
    hd_json_put_int(&w, "rejected", p->rejected);
    hd_put_bad_records(&w, d->errors, d->error_count);
    hd_json_end(&w);
    if (hd_reply_json(d->x, 200, &w) != HEED_OK)
        hd_reply_problem(d->x, HEED_E_NOMEM, heed_error_message(), NULL);
}

static heed_status new_delivery(struct hd_request *r, heed_record what, struct hd_delivery **out)
{
    struct hd_delivery *d = hd_arena_alloc(hd_exchange_arena(r->x), 1, sizeof *d);

    if (!d)
        return hd_fail(HEED_E_NOMEM, "records: no memory");
    d->piece = (heed_ingest){.what = what};
    d->status = HEED_OK;
    d->error_count = 0;
    d->x = r->x;
    d->context = r->server;
    *out = d;
    return HEED_OK;
}

static heed_status put_in(struct hd_request *r, struct hd_delivery *d)
{
    if (hd_intake_put(r->server->intake, d) != HEED_OK)
        hd_reply_busy(r->x, "more records are coming in than the disk takes; try again");
    return HEED_OK;
}

struct bulk_query {
    bool merge;
};
static const struct hd_field bulk_query_fields[] = {
    {"merge", HD_IS_BOOL, .at = offsetof(struct bulk_query, merge),
     .help = "what is not given stays, instead of being forgotten"},
    {0},
};

static heed_status post_records(struct hd_request *r, heed_record what)
{
    struct bulk_query query = {0};
    struct hd_delivery *d;
    size_t bytes;
    const char *body = hd_exchange_body(r->x, &bytes);

    HD_TRY(hd_request_query(r, &query));
    HD_TRY(new_delivery(r, what, &d));
    d->piece.text = body;
    d->piece.bytes = bytes;
    d->piece.document = looks_like_document(r->x, body, bytes);
    d->piece.merge = query.merge;
    d->done = answer_taken;
    return put_in(r, d);
}

static heed_status post_events(struct hd_request *r)
{
    return post_records(r, HEED_RECORD_EVENT);
}

static heed_status post_items(struct hd_request *r)
{
    return post_records(r, HEED_RECORD_ITEM);
}

static heed_status post_users(struct hd_request *r)
{
    return post_records(r, HEED_RECORD_USER);
}

/* ---- one by its path */

/* The body with the path's id in it, in the arena. */
static heed_status body_with_id(struct hd_request *r, const char **out, size_t *bytes)
{
    struct hd_json_writer w = {0};
    hd_json *root;
    const char *text, *given;
    size_t given_bytes;

    HD_TRY(hd_request_json(r, &root));
    if (hd_json_kind(root) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "body: %s, not an object",
                       hd_json_kind_name(hd_json_kind(root)));
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "id", r->parameter[0]);
    for (struct hd_json_member m = hd_json_first(root); m.key; m = hd_json_next(m)) {
        if (strcmp(m.key, "id") != 0) {
            hd_json_put_raw(&w, m.key, hd_json_compact(m.value));
            continue;
        }
        given = hd_json_kind(m.value) == HD_JSON_TEXT ? hd_json_text(m.value, &given_bytes)
                                                      : hd_json_compact(m.value);
        if (!given || strcmp(given, r->parameter[0]) != 0) {
            hd_json_clear(&w);
            r->field = "id";
            return hd_fail(HEED_E_FORMAT, "id: is not that of the path");
        }
    }
    hd_json_end(&w);
    heed_status status = hd_json_finish(&w, &text, bytes);
    if (status == HEED_OK) {
        *out = hd_arena_strdup(hd_exchange_arena(r->x), text);
        status = *out ? HEED_OK : hd_fail(HEED_E_NOMEM, "body: no memory");
    }
    hd_json_clear(&w);
    return status;
}

/* The record as it is now. */
static void answer_record(struct hd_delivery *d, void *context)
{
    struct hd_server *server = context;
    const struct hd_request *r = hd_exchange_get(d->x);
    heed_text *text = NULL;

    if (d->status == HEED_OK && d->piece.rejected > 0) {
        d->status = HEED_E_FORMAT;
        snprintf(d->message, sizeof d->message, "%s", d->error_count ? d->errors[0].reason : "");
    }
    if (d->status == HEED_OK) {
        d->status = heed_engine_read(server->engine, d->piece.what, r->parameter[0], &text);
        snprintf(d->message, sizeof d->message, "%s", heed_error_message());
    }
    if (d->status != HEED_OK || hd_reply_text(d->x, text) != HEED_OK)
        hd_reply_problem(d->x, d->status, d->message, NULL);
}

static heed_status put_record(struct hd_request *r, heed_record what, bool merge)
{
    struct hd_delivery *d;
    heed_text *there = NULL;

    if (merge) { /* what is not there cannot be changed in part */
        HD_TRY(heed_engine_read(r->server->engine, what, r->parameter[0], &there));
        heed_text_free(there);
    }
    HD_TRY(new_delivery(r, what, &d));
    HD_TRY(body_with_id(r, &d->piece.text, &d->piece.bytes));
    d->piece.document = true;
    d->piece.merge = merge;
    d->done = answer_record;
    return put_in(r, d);
}

static heed_status put_item(struct hd_request *r)
{
    return put_record(r, HEED_RECORD_ITEM, false);
}

static heed_status patch_item(struct hd_request *r)
{
    return put_record(r, HEED_RECORD_ITEM, true);
}

static heed_status put_user(struct hd_request *r)
{
    return put_record(r, HEED_RECORD_USER, false);
}

static heed_status patch_user(struct hd_request *r)
{
    return put_record(r, HEED_RECORD_USER, true);
}

static heed_status get_record(struct hd_request *r, heed_record what)
{
    heed_text *text = NULL;

    HD_TRY(heed_engine_read(r->server->engine, what, r->parameter[0], &text));
    return hd_reply_text(r->x, text);
}

static heed_status get_item(struct hd_request *r)
{
    return get_record(r, HEED_RECORD_ITEM);
}

static heed_status get_user(struct hd_request *r)
{
    return get_record(r, HEED_RECORD_USER);
}

static heed_status get_event(struct hd_request *r)
{
    return get_record(r, HEED_RECORD_EVENT);
}

static heed_status delete_record(struct hd_request *r, heed_record what, const char *action)
{
    HD_TRY(heed_engine_remove(r->server->engine, what, r->parameter[0]));
    hd_request_audit(r, action, r->parameter[0]);
    hd_exchange_answer(r->x, 204, NULL, NULL, 0);
    return HEED_OK;
}

static heed_status delete_item(struct hd_request *r)
{
    return delete_record(r, HEED_RECORD_ITEM, "remove item");
}

static heed_status delete_event(struct hd_request *r)
{
    return delete_record(r, HEED_RECORD_EVENT, "remove event");
}

static heed_status delete_user(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    heed_erasure report = {0};

    HD_TRY(heed_engine_erase(r->server->engine, r->parameter[0], &report));
    /* The log of what operators did says that it was done and not to whom: that would be a trace. */
    hd_request_audit(r, "erase user", report.known ? "one who was known" : "one who was not known");
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "user", r->parameter[0]);
    hd_json_put_bool(&w, "known", report.known);
    hd_json_put_int(&w, "events", report.events);
    hd_json_put_int(&w, "marks", report.marks);
    hd_json_put_int(&w, "decisions", report.decisions);
    hd_json_end(&w);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status export_user(struct hd_request *r)
{
    heed_text *text = NULL;

    HD_TRY(heed_engine_export_user(r->server->engine, r->parameter[0], &text));
    hd_request_audit(r, "export user", "one user"); /* as above */
    return hd_reply_text(r->x, text);
}

/* ---- pages */

struct list_query {
    const char *cursor, *user, *item, *kind, *format;
    int64_t n;
};
#define AT(field) .at = offsetof(struct list_query, field)
#define CURSOR {"cursor", HD_IS_TEXT, AT(cursor), .most = 2048, .help = "of the page before"}
#define COUNT {"n", HD_IS_INT, AT(n), .least = 1, .most = HD_LIST_MAX, .help = "records of a page; 100"}
static const struct hd_field list_query_fields[] = {CURSOR, COUNT, {0}};
static const struct hd_field events_query_fields[] = {
    CURSOR,
    COUNT,
    {"user", HD_IS_ID, AT(user), .help = "of this user alone"},
    {"item", HD_IS_ID, AT(item), .help = "of this item alone"},
    {"kind", HD_IS_CHOICE, AT(kind), .help = "of this kind alone",
     .words = HD_EVENT_KIND_WORDS},
    {"format", HD_IS_CHOICE, AT(format), .words = "json|ndjson",
     .help = "ndjson: all of them, one a line, as Accept: application/x-ndjson asks too"},
    {0},
};

static heed_status list_records(struct hd_request *r, heed_record what,
                                const struct list_query *query)
{
    heed_list_opts opts = {.cursor = query->cursor,
                           .n = (int)query->n,
                           .user = query->user,
                           .item = query->item,
                           .kind = query->kind};
    heed_text *text = NULL;

    HD_TRY(heed_engine_list(r->server->engine, what, &opts, &text));
    return hd_reply_text(r->x, text);
}

static heed_status list_items(struct hd_request *r)
{
    struct list_query query = {0};

    HD_TRY(hd_request_query(r, &query));
    return list_records(r, HEED_RECORD_ITEM, &query);
}

static heed_status list_users(struct hd_request *r)
{
    struct list_query query = {0};

    HD_TRY(hd_request_query(r, &query));
    return list_records(r, HEED_RECORD_USER, &query);
}

static heed_status list_events(struct hd_request *r)
{
    struct list_query query = {0};
    const char *accept = hd_exchange_header(r->x, "Accept");

    HD_TRY(hd_request_query(r, &query));
    if (query.format ? strcmp(query.format, "ndjson") == 0
                     : accept && strcmp(accept, "application/x-ndjson") == 0)
        return hd_stream_events(r, &(heed_list_opts){.cursor = query.cursor,
                                                     .n = HD_LIST_MAX,
                                                     .user = query.user,
                                                     .item = query.item,
                                                     .kind = query.kind});
    return list_records(r, HEED_RECORD_EVENT, &query);
}

/* ---- the table */

#define TAKES(shape_) .body_kind = HD_BODY_RECORDS, .body = &shape_

static const struct hd_route routes[] = {
    {HD_POST, "/v1/events", HD_BY_INGEST | HD_BY_SERVE, post_events, "postEvents",
     "take events in; on disk before the answer", TAKES(event_shape),
     HD_GIVES(200, taken_shape, "some were accepted, or there were none")},
    {HD_GET, "/v1/events", 0, list_events, "listEvents", "events by user, oldest first",
     .query = events_query_fields,
     .answers = {{200, .shape = &event_page_shape, .also = "application/x-ndjson",
                  .help = "a page, or with format=ndjson an event a line"}}},
    {HD_GET, "/v1/events/{id}", 0, get_event, "getEvent", "one event, by its own id",
     HD_GIVES(200, event_shape, "the event")},
    {HD_DELETE, "/v1/events/{id}", 0, delete_event, "deleteEvent", "forget one event",
     .answers = {{204, .help = "forgotten"}}},
    {HD_POST, "/v1/items", HD_BY_INGEST, post_items, "postItems", "describe items",
     .query = bulk_query_fields, TAKES(item_shape),
     HD_GIVES(200, taken_shape, "some were accepted, or there were none")},
    {HD_GET, "/v1/items", HD_BY_INGEST | HD_BY_SERVE, list_items, "listItems",
     "items in the order in which they were first named", .query = list_query_fields,
     HD_GIVES(200, item_page_shape, "a page")},
    {HD_GET, "/v1/items/{id}", HD_BY_INGEST | HD_BY_SERVE, get_item, "getItem", "one item",
     HD_GIVES(200, item_shape, "the item")},
    {HD_PUT, "/v1/items/{id}", HD_BY_INGEST, put_item, "putItem",
     "describe an item; what is not given is forgotten", .body_kind = HD_BODY_JSON,
     .body = &item_body_shape, HD_GIVES(200, item_shape, "the item as it is now")},
    {HD_PATCH, "/v1/items/{id}", HD_BY_INGEST, patch_item, "patchItem",
     "change an item; what is not given stays", .body_kind = HD_BODY_JSON, .body = &item_body_shape,
     HD_GIVES(200, item_shape, "the item as it is now")},
    {HD_DELETE, "/v1/items/{id}", HD_BY_INGEST, delete_item, "deleteItem",
     "show an item to nobody any more", .answers = {{204, .help = "removed"}}},
    {HD_POST, "/v1/users", HD_BY_INGEST, post_users, "postUsers", "describe users",
     .query = bulk_query_fields, TAKES(user_shape),
     HD_GIVES(200, taken_shape, "some were accepted, or there were none")},
    {HD_GET, "/v1/users", 0, list_users, "listUsers",
     "users in the order in which they were first named", .query = list_query_fields,
     HD_GIVES(200, user_page_shape, "a page")},
    {HD_GET, "/v1/users/{id}", HD_BY_INGEST, get_user, "getUser", "one user",
     HD_GIVES(200, user_shape, "the user")},
    {HD_PUT, "/v1/users/{id}", HD_BY_INGEST, put_user, "putUser",
     "describe a user; what is not given is forgotten", .body_kind = HD_BODY_JSON,
     .body = &user_body_shape, HD_GIVES(200, user_shape, "the user as it is now")},
    {HD_PATCH, "/v1/users/{id}", HD_BY_INGEST, patch_user, "patchUser",
     "change a user; what is not given stays", .body_kind = HD_BODY_JSON, .body = &user_body_shape,
     HD_GIVES(200, user_shape, "the user as it is now")},
    {HD_DELETE, "/v1/users/{id}", 0, delete_user, "eraseUser", "remove every trace of a user",
     HD_GIVES(200, erased_shape, "nothing of the user is left")},
    {HD_GET, "/v1/users/{id}/export", 0, export_user, "exportUser",
     "everything that is held about a user",
     .answers = {{200, .media_type = "application/json", .help = "one object"}}},
};

const struct hd_route_table hd_routes_records = {"records", routes, sizeof routes / sizeof *routes};

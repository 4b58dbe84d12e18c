/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's recommendations and its health, out of heed's feeds. A category is a tag; a write-back is
 * an event of each item that was given. */
#include "server/gorse.h"
#include "base/limits.h"
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- shared with gorse_records.c */

heed_status hd_gorse_fail(struct hd_request *r, heed_status status)
{
    static const char *const fields[] = {"FeedbackType", "UserId",     "ItemId",
                                         "Value",        "Timestamp",  "Comment",
                                         "IsHidden",     "Categories", "Labels"};
    const char *message = heed_error_message();

    for (size_t i = 0; status != HEED_OK && i < sizeof fields / sizeof *fields; i++) {
        size_t bytes = strlen(fields[i]);
        if (strncmp(message, fields[i], bytes) == 0 && message[bytes] == ':')
            r->field = fields[i];
    }
    return status;
}

heed_status hd_gorse_read(struct hd_request *r, heed_text *text, hd_json **root)
{
    heed_status status = r->reader ? HEED_OK : hd_json_reader_new(&r->reader);

    if (status == HEED_OK)
        status = hd_json_read(r->reader, text->text, text->bytes, root);
    heed_text_free(text);
    return status;
}

/* What the writer holds, in the arena; the writer is cleared. */
static heed_status keep_text(hd_arena *arena, struct hd_json_writer *w, const char **text,
                             size_t *bytes)
{
    const char *written;
    heed_status status = hd_json_finish(w, &written, bytes);

    if (status == HEED_OK && !(*text = hd_arena_strdup(arena, written)))
        status = hd_fail(HEED_E_NOMEM, "body: no memory");
    hd_json_clear(w);
    return status;
}

heed_status hd_gorse_put_in(struct hd_request *r, heed_record what, struct hd_json_writer *w,
                            void (*done)(struct hd_delivery *, void *), void *context)
{
    hd_arena *arena = hd_exchange_arena(r->x);
    struct hd_delivery *d = hd_arena_zalloc(arena, 1, sizeof *d);
    const char *text;
    size_t bytes;

    HD_TRY(keep_text(arena, w, &text, &bytes));
    if (!d)
        return hd_fail(HEED_E_NOMEM, "records: no memory");
    /* merge: what Gorse has no words for (consent, blocks, an author) stays. */
    d->piece =
        (heed_ingest){.what = what, .text = text, .bytes = bytes, .document = true, .merge = true};
    d->x = r->x;
    d->done = done;
    d->context = context;
    if (hd_intake_put(r->server->intake, d) != HEED_OK)
        hd_reply_busy(r->x, "more records are coming in than the disk takes; try again");
    return HEED_OK;
}

bool hd_gorse_failed(struct hd_delivery *d)
{
    bool refused = d->status == HEED_OK && d->piece.rejected > 0;

    if (refused)
        hd_problem_answer(d->x, &(struct hd_problem){
                                    .status = 400,
                                    .type = "records",
                                    .detail = d->error_count ? d->errors[0].reason : NULL,
                                    .line = d->error_count ? d->errors[0].line : 0,
                                    .counted = true,
                                    .accepted = d->piece.accepted,
                                    .duplicate = d->piece.duplicate,
                                    .rejected = d->piece.rejected,
                                    .errors = d->errors,
                                    .error_count = d->error_count,
                                });
    else if (d->status != HEED_OK)
        hd_reply_problem(d->x, d->status, d->message, NULL);
    return refused || d->status != HEED_OK;
}

heed_status hd_gorse_query(struct hd_request *r, struct hd_gorse_query *query)
{
    *query = (struct hd_gorse_query){0};
    HD_TRY(hd_request_query(r, query));
    if (query->n == 0)
        query->n = 10;
    if (query->n > HD_FEED_ITEMS_MAX)
        query->n = HD_FEED_ITEMS_MAX;
    return HEED_OK;
}

heed_status hd_gorse_filter(hd_arena *arena, const char *what, const char *const *text, int count,
                            const char **filter)
{
    size_t room = 1;
    char *at;

    *filter = NULL;
    if (count == 0)
        return HEED_OK;
    for (int i = 0; i < count; i++)
        room += 2 * strlen(text[i]) + strlen(what) + 16;
    if (!(at = hd_arena_alloc(arena, room, 1)))
        return hd_fail(HEED_E_NOMEM, "filter: no memory");
    *filter = at;
    for (int i = 0; i < count; i++) {
        at += sprintf(at, "%s%s \"", i ? " and " : "", what);
        for (const char *c = text[i]; *c; *at++ = *c++)
            if (*c == '"' || *c == '\\')
                *at++ = '\\';
        *at++ = '"';
    }
    *at = 0;
    return HEED_OK;
}

/* ---- write-back */

/* Go's spans: 10m, 0h10m0s, 1.5s is not among them. */
static heed_status parse_delay(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    const char *at = text;

    *ms = 0;
    while (*at) {
        int64_t count = 0, unit = 0;
        size_t digits = strspn(at, "0123456789");
        for (size_t i = 0; i < digits && count <= HD_GORSE_DELAY_MS_MAX; i++)
            count = 10 * count + (at[i] - '0');
        at += digits;
        for (size_t u = 0; u < sizeof units / sizeof *units && !unit; u++)
            if (strncmp(at, units[u].unit, strlen(units[u].unit)) == 0) {
                unit = units[u].ms;
                at += strlen(units[u].unit);
            }
        if (digits == 0 || unit == 0)
            return hd_fail(HEED_E_FORMAT, "write-back-delay: \"%.40s\" is not a span like 0h10m0s",
                           text);
        if (count > HD_GORSE_DELAY_MS_MAX / unit || (*ms += count * unit) > HD_GORSE_DELAY_MS_MAX)
            return hd_fail(HEED_E_RANGE, "write-back-delay: more than a year");
    }
    return HEED_OK;
}

struct written_back {
    const char *answer;
    size_t bytes;
};

static void answer_written_back(struct hd_delivery *d, void *context)
{
    const struct written_back *back = context;

    if (!hd_gorse_failed(d))
        hd_exchange_answer(d->x, 200, "application/json", back->answer, back->bytes);
}

/* Each item given becomes feedback of that type; the answer waits until it is on disk. */
static heed_status write_back(struct hd_request *r, const struct hd_gorse_query *query,
                              int64_t delay_ms, const heed_feed *feed,
                              struct hd_json_writer *answer)
{
    hd_arena *arena = hd_exchange_arena(r->x);
    struct written_back *back = hd_arena_alloc(arena, 1, sizeof *back);
    struct hd_json_writer w = {0};

    if (!back)
        return hd_fail(HEED_E_NOMEM, "recommend: no memory");
    HD_TRY(keep_text(arena, answer, &back->answer, &back->bytes));
    hd_json_begin_array(&w, NULL);
    for (int i = (int)query->offset; i < feed->count; i++) {
        struct hd_gorse_feedback feedback = {.type = query->write_back_type,
                                             .user = r->parameter[0],
                                             .item = feed->items[i].item,
                                             .ts = hd_clock_now(NULL) + delay_ms};
        hd_gorse_put_event(&w, &feedback);
    }
    hd_json_end(&w);
    return hd_gorse_put_in(r, HEED_RECORD_EVENT, &w, answer_written_back, back);
}

/* ---- lists of items */

static void put_items(struct hd_json_writer *w, const heed_feed *feed, int64_t offset, bool scores)
{
    hd_json_begin_array(w, NULL);
    for (int i = (int)offset; i < feed->count; i++) {
        if (!scores) {
            hd_json_put_text(w, NULL, feed->items[i].item);
            continue;
        }
        hd_json_begin_object(w, NULL);
        hd_json_put_text(w, "Id", feed->items[i].item);
        hd_json_put_number(w, "Score", feed->items[i].score);
        hd_json_end(w);
    }
    hd_json_end(w);
}

/* The feed behind a list: n after the first `offset`, of all its categories. `path` is one more. */
static heed_status ask(struct hd_request *r, struct hd_gorse_query *query, const char *path,
                       heed_feed_request *request, heed_feed **feed)
{
    const char *category[HD_GORSE_CATEGORIES_MAX + 1];
    const char *const *given = query->category.at;
    int count = 0;

    for (; count < query->category.count; count++)
        category[count] = given[count];
    if (path && *path)
        category[count++] = path;
    HD_TRY(hd_gorse_filter(hd_exchange_arena(r->x), "tag =", category, count, &request->filter));
    if (query->offset > HD_FEED_ITEMS_MAX)
        query->offset = HD_FEED_ITEMS_MAX;
    request->n = (int)(query->n + query->offset);
    if (request->n > HD_FEED_ITEMS_MAX)
        request->n = HD_FEED_ITEMS_MAX;
    HD_TRY(heed_engine_feed(r->server->engine, request, feed));
    hd_metrics_feed(r->server->metrics, *feed);
    return HEED_OK;
}

static heed_status recommend(struct hd_request *r)
{
    const char *version = hd_exchange_header(r->x, "X-API-Version");
    struct hd_gorse_query query;
    struct hd_json_writer w = {0};
    heed_feed *feed = NULL;
    int64_t delay_ms = 0;

    HD_TRY(hd_gorse_query(r, &query));
    if (query.write_back_delay)
        HD_TRY(parse_delay(query.write_back_delay, &delay_ms));
    HD_TRY(ask(r, &query, r->parameter[1],
               &(heed_feed_request){.user = r->parameter[0], .explore = r->server->explore},
               &feed));
    put_items(&w, feed, query.offset, version && strcmp(version, "2") == 0);
    heed_status status = HEED_OK;
    if (query.write_back_type && *query.write_back_type && feed->count > query.offset)
        status = write_back(r, &query, delay_ms, feed, &w);
    else
        status = hd_reply_json(r->x, 200, &w);
    hd_json_clear(&w);
    heed_feed_free(feed);
    return status;
}

/* A list with scores, for nobody or for `user-id`. */
static heed_status answer_list(struct hd_request *r, const char *path, heed_feed_request *request)
{
    struct hd_gorse_query query;
    struct hd_json_writer w = {0};
    heed_feed *feed = NULL;

    HD_TRY(hd_gorse_query(r, &query));
    if (query.user && *query.user)
        request->user = query.user;
    HD_TRY(ask(r, &query, path, request, &feed));
    put_items(&w, feed, query.offset, true);
    heed_feed_free(feed);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status latest(struct hd_request *r)
{
    return answer_list(r, r->parameter[0], &(heed_feed_request){.kind = HEED_FEED_FRESH});
}

/* Names are the operator's own in Gorse; here they say which of heed's lists is meant. */
static heed_status non_personalized(struct hd_request *r)
{
    const char *name = r->parameter[0];

    return answer_list(r, r->parameter[1],
                       &(heed_feed_request){.kind = strstr(name, "latest") ? HEED_FEED_FRESH
                                                    : strstr(name, "trending")
                                                        ? HEED_FEED_TRENDING
                                                        : HEED_FEED_POPULAR});
}

static heed_status item_to_item(struct hd_request *r)
{
    return answer_list(r, NULL,
                       &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = r->parameter[1]});
}

static heed_status neighbors(struct hd_request *r)
{
    return answer_list(r, r->parameter[1],
                       &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = r->parameter[0]});
}

static heed_status collaborative(struct hd_request *r)
{
    return answer_list(r, NULL, &(heed_feed_request){.user = r->parameter[0]});
}

/* The body is what somebody without a name did, in any order. */
static heed_status read_session(struct hd_request *r, heed_feed_request *request)
{
    hd_arena *arena = hd_exchange_arena(r->x);
    struct hd_gorse_feedback feedback;
    hd_json *root;

    HD_TRY(hd_request_json(r, &root));
    if (hd_json_kind(root) != HD_JSON_ARRAY)
        return hd_fail(HEED_E_FORMAT, "body: %s, not a list of feedback",
                       hd_json_kind_name(hd_json_kind(root)));
    size_t count = hd_json_length(root);
    if (count == 0 || count > HD_SESSION_MAX)
        return hd_fail(HEED_E_RANGE, "body: %zu feedback, not 1 to %d", count, HD_SESSION_MAX);
    heed_feed_visit *visit = hd_arena_alloc(arena, count, sizeof *visit);
    if (!visit)
        return hd_fail(HEED_E_NOMEM, "body: no memory");
    for (size_t i = 0; i < count; i++) {
        heed_status status = hd_gorse_read_visit(hd_json_at(root, i), arena, &feedback);
        if (hd_gorse_fail(r, status) != HEED_OK)
            return hd_fail_prefix(status, "record %zu: ", i + 1);
        /* Oldest first; those without a time stay where they stand. */
        size_t at = i;
        for (; at > 0 && feedback.ts && visit[at - 1].ts > feedback.ts; at--)
            visit[at] = visit[at - 1];
        visit[at] = (heed_feed_visit){feedback.item, feedback.ts};
    }
    request->session = visit;
    request->session_count = (int)count;
    return HEED_OK;
}

static heed_status session_recommend(struct hd_request *r)
{
    heed_feed_request request = {.explore = r->server->explore};

    HD_TRY(read_session(r, &request));
    return answer_list(r, r->parameter[0], &request);
}

/* ---- health */

static heed_status answer_health(struct hd_request *r)
{
    heed_engine_counts counts;
    struct hd_json_writer w = {0};
    bool well = heed_engine_count(r->server->engine, &counts) == HEED_OK;

    hd_json_begin_object(&w, NULL);
    hd_json_put_bool(&w, "Ready", well);
    hd_json_put_text(&w, "DataStoreError", well ? NULL : "the store cannot be read");
    hd_json_put_null(&w, "CacheStoreError");
    hd_json_put_bool(&w, "DataStoreConnected", well);
    hd_json_put_bool(&w, "CacheStoreConnected", true);
    hd_json_end(&w);
    return hd_reply_json(r->x, well ? 200 : 503, &w);
}

/* ---- the table */

static const struct hd_field score_fields[] = {
    {"Id", HD_IS_ID, HD_NEEDED},
    {"Score", HD_IS_NUMBER, HD_NEEDED, .help = "the higher, the better; of one answer"},
    {0},
};
static const struct hd_shape score_shape = {"GorseScore", score_fields, 0, NULL};
static const struct hd_field visit_fields[] = {
    {"ItemId", HD_IS_ID, HD_NEEDED},       {"FeedbackType", HD_IS_ID, HD_OR_NULL},
    {"UserId", HD_IS_TEXT, HD_OR_NULL},    {"Value", HD_IS_NUMBER, HD_OR_NULL},
    {"Timestamp", HD_IS_TEXT, HD_OR_NULL}, {"Labels", HD_IS_ANYTHING, HD_OR_NULL},
    {"Comment", HD_IS_TEXT, HD_OR_NULL},   {0},
};
static const struct hd_shape visit_shape = {"GorseVisit", visit_fields, 0, NULL};
static const struct hd_field health_fields[] = {
    {"Ready", HD_IS_BOOL, HD_NEEDED},
    {"DataStoreError", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"CacheStoreError", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"DataStoreConnected", HD_IS_BOOL, HD_NEEDED},
    {"CacheStoreConnected", HD_IS_BOOL, HD_NEEDED},
    {0},
};
static const struct hd_shape health_shape = {"GorseHealth", health_fields, 0, NULL};

#define OFFSET                                                                    \
    {                                                                             \
        "offset", HD_IS_INT, HD_GORSE_AT(offset), .most = INT32_MAX,              \
                                                  .help = "how many to pass over" \
    }
#define CATEGORY                                                            \
    {                                                                       \
        "category", HD_IS_TEXT, HD_MANY, HD_GORSE_AT(category),             \
            .most = HD_ID_BYTES_MAX, .most_count = HD_GORSE_CATEGORIES_MAX, \
            .help = "a tag; all of them are wanted"                         \
    }
static const struct hd_field recommend_query[] = {
    HD_GORSE_N,
    OFFSET,
    CATEGORY,
    {"write-back-type", HD_IS_ID, HD_GORSE_AT(write_back_type),
     .help = "what is given becomes feedback of this type"},
    {"write-back-delay", HD_IS_TEXT, HD_GORSE_AT(write_back_delay), .most = 64,
     .help = "so long after now: 0h10m0s"},
    {0},
};
static const struct hd_field list_query[] = {
    HD_GORSE_N,
    OFFSET,
    CATEGORY,
    {"user-id", HD_IS_TEXT, HD_GORSE_AT(user), .most = HD_ID_BYTES_MAX,
     .help = "without what this user has seen"},
    {0},
};

#define SCORES           \
    .query = list_query, \
    .answers = {{200, .shape = &score_shape, .help = "best first", .many = true}}
#define IDS                                                           \
    .query = recommend_query,                                         \
    .answers = {{200, .media_type = "application/json", .many = true, \
                 .help = "ids, best first; with X-API-Version: 2 a GorseScore of each"}}
#define HEALTH .answers = {{200, .shape = &health_shape, .help = "it is well"}}

static const struct hd_route routes[] = {
    {HD_GET, "/api/recommend/{user}", HD_BY_SERVE, recommend, "gorseRecommend",
     "what this user is best shown", IDS},
    {HD_GET, "/api/recommend/{user}/", HD_BY_SERVE, recommend, "gorseRecommendBare", "the same",
     IDS},
    {HD_GET, "/api/recommend/{user}/{category}", HD_BY_SERVE, recommend, "gorseRecommendCategory",
     "of one category", IDS},
    {HD_POST, "/api/session/recommend", HD_BY_SERVE, session_recommend, "gorseSession",
     "what somebody without a name is best shown", .body_kind = HD_BODY_RECORDS,
     .body = &visit_shape, SCORES},
    {HD_POST, "/api/session/recommend/{category}", HD_BY_SERVE, session_recommend,
     "gorseSessionCategory", "of one category", .body_kind = HD_BODY_RECORDS, .body = &visit_shape,
     SCORES},
    {HD_GET, "/api/latest", HD_BY_SERVE, latest, "gorseLatest", "the newest items", SCORES},
    {HD_GET, "/api/latest/{category}", HD_BY_SERVE, latest, "gorseLatestCategory",
     "the newest items of one category", SCORES},
    {HD_GET, "/api/non-personalized/{name}", HD_BY_SERVE, non_personalized, "gorseNonPersonalized",
     "what is popular; in names with `trending`, `latest` those", SCORES},
    {HD_GET, "/api/non-personalized/{name}/{category}", HD_BY_SERVE, non_personalized,
     "gorseNonPersonalizedCategory", "of one category", SCORES},
    {HD_GET, "/api/item-to-item/{name}/{item}", HD_BY_SERVE, item_to_item, "gorseItemToItem",
     "items like this one, whatever the name", SCORES},
    {HD_GET, "/api/item/{id}/neighbors", HD_BY_SERVE, neighbors, "gorseNeighbors",
     "items like this one", SCORES},
    {HD_GET, "/api/item/{id}/neighbors/", HD_BY_SERVE, neighbors, "gorseNeighborsBare", "the same",
     SCORES},
    {HD_GET, "/api/item/{id}/neighbors/{category}", HD_BY_SERVE, neighbors,
     "gorseNeighborsCategory", "of one category", SCORES},
    {HD_GET, "/api/collaborative-filtering/{user}", HD_BY_SERVE, collaborative,
     "gorseCollaborative", "what this user is best shown, with scores", SCORES},
    {HD_GET, "/api/health/live", HD_ANYBODY, answer_health, "gorseLive", "is it there", HEALTH},
    {HD_GET, "/api/health/ready", HD_ANYBODY, answer_health, "gorseReady", "can it be asked",
     HEALTH},
};

const struct hd_route_table hd_routes_gorse = {"gorse", routes, sizeof routes / sizeof *routes};

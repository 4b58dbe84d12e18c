/* SPDX-License-Identifier: Apache-2.0
 *
 * Feeds, lists and explanations. */
#include "server/request.h"
#include "base/limits.h"
#include "engine/answers.h"

/* ---- what is asked for */

struct visit {
    const char *item;
    heed_time ts;
};
static const struct hd_field visit_fields[] = {
    {"item", HD_IS_ID, HD_NEEDED, offsetof(struct visit, item)},
    {"ts", HD_IS_TIME, 0, offsetof(struct visit, ts), .help = "where not given only the order counts"},
    {0},
};
static const struct hd_shape visit_shape = {"Visit", visit_fields, sizeof(struct visit),
                                            "an event of a reader who has no name"};

struct asked {
    const char *user, *filter, *placement, *kind, *item;
    int64_t n;
    heed_time at;
    bool explain;
    double explore;
    struct hd_list exclude, session;
};
#define AT(field) .at = offsetof(struct asked, field)
#define USER {"user", HD_IS_ID, AT(user), .help = "for whom; or `session`, or both"}
#define COUNT {"n", HD_IS_INT, AT(n), .least = 1, .most = HD_FEED_ITEMS_MAX, .help = "items; 10"}
#define EXCLUDE \
    {"exclude", HD_IS_ID, HD_MANY, AT(exclude), .most_count = HD_EXCLUDE_MAX, \
     .help = "items that are not to be shown"}
#define FILTER                                             \
    {"filter", HD_IS_TEXT, AT(filter), .most = HD_FILTER_BYTES_MAX, \
     .help = "which items may be shown: docs/FILTERS.md"}
#define EXPLAIN {"explain", HD_IS_BOOL, AT(explain), .help = "with why each item is there, and reasons"}
#define PLACEMENT {"placement", HD_IS_ID, AT(placement), .help = "where it will be shown"}
#define KIND {"kind", HD_IS_CHOICE, AT(kind), .words = HD_FEED_KIND_WORDS, .help = "of list; best"}
#define ITEM {"item", HD_IS_ID, AT(item), .help = "of kind similar: like which"}
#define TIME \
    {"at", HD_IS_TIME, AT(at), .help = "as it would have been then; not for popular and trending"}
#define EXPLORE                                                          \
    {"explore", HD_IS_NUMBER, AT(explore), .least = 0, .most = 1, \
     .help = "the probability that a place of the lower half goes to chance"}

static const struct hd_field ask_fields[] = {
    USER, COUNT, EXCLUDE, FILTER, EXPLAIN, PLACEMENT, KIND, ITEM, TIME, EXPLORE,
    {"session", HD_IS_SHAPE, HD_MANY, AT(session), .most_count = HD_SESSION_MAX,
     .shape = &visit_shape, .help = "what an anonymous reader looked at, oldest first"},
    {"context", HD_IS_MAP, .help = "the caller's own; not used yet, and kept nowhere"},
    {0},
};
static const struct hd_shape ask_shape = {"FeedRequest", ask_fields, sizeof(struct asked), NULL};
static const struct hd_field ask_query_fields[] = {USER,      COUNT, EXCLUDE, FILTER, EXPLAIN,
                                                   PLACEMENT, KIND,  ITEM,    TIME,   EXPLORE, {0}};
static const struct hd_field list_query_fields[] = {USER, COUNT, EXCLUDE, FILTER, {0}};

struct why {
    const char *user, *item;
    bool exact;
    heed_time at;
};
static const struct hd_field why_fields[] = {
    {"user", HD_IS_ID, HD_NEEDED, offsetof(struct why, user), .help = "for whom"},
    {"item", HD_IS_ID, HD_NEEDED, offsetof(struct why, item), .help = "why this item"},
    {"exact", HD_IS_BOOL, 0, offsetof(struct why, exact),
     .help = "leave each event out and score again, instead of gradient x attention"},
    {"at", HD_IS_TIME, 0, offsetof(struct why, at), .help = "as it would have been then"},
    {0},
};
static const struct hd_shape why_shape = {"ExplainRequest", why_fields, sizeof(struct why), NULL};

/* ---- what is answered */

static const struct hd_field reason_fields[] = {
    {"item", HD_IS_TEXT, HD_NEEDED},
    {"title", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"contribution", HD_IS_NUMBER, HD_NEEDED, .help = "what this event did to the score, signed"},
    {"ts", HD_IS_INT, 0, .help = "of the event, in milliseconds since 1970"},
    {0},
};
static const struct hd_shape reason_shape = {"Reason", reason_fields, 0, NULL};
static const struct hd_field feed_item_fields[] = {
    {"rank", HD_IS_INT, HD_NEEDED, .help = "from 1"},
    {"item", HD_IS_TEXT, HD_NEEDED},
    {"title", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"kind", HD_IS_CHOICE, HD_NEEDED, .words = "organic|sponsored"},
    {"score", HD_IS_NUMBER, HD_NEEDED | HD_OR_NULL, .help = "what the policy ordered by"},
    {"source", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL, .help = "how it came to be a candidate"},
    {"propensity", HD_IS_NUMBER, HD_NEEDED,
     .help = "the probability with which it was shown in this place"},
    {"why", HD_IS_TEXT, 0, .help = "with explain: how it came to stand here, a sentence"},
    {"reasons", HD_IS_SHAPE, HD_MANY, .shape = &reason_shape,
     .help = "with explain: the reader's events that spoke for it, strongest first"},
    {0},
};
static const struct hd_shape feed_item_shape = {"FeedItem", feed_item_fields, 0, NULL};
static const struct hd_field feed_fields[] = {
    {"decision", HD_IS_TEXT, HD_NEEDED, .help = "goes with the events that come of it"},
    {"user", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"policy", HD_IS_TEXT, HD_NEEDED, .help = "which one answered"},
    {"why_policy", HD_IS_TEXT, HD_NEEDED, .help = "why this policy and not the model"},
    {"took_us", HD_IS_INT, HD_NEEDED},
    {"steps_us", HD_IS_NUMBERS, HD_NEEDED, .help = "each step of the pipeline"},
    {"items", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &feed_item_shape, .help = "best first"},
    {0},
};
static const struct hd_shape feed_shape = {"Feed", feed_fields, 0, NULL};

static const struct hd_field random_fields[] = {
    {"comprehensiveness", HD_IS_NUMBER, HD_NEEDED | HD_OR_NULL},
    {"sufficiency", HD_IS_NUMBER, HD_NEEDED | HD_OR_NULL},
    {0},
};
static const struct hd_shape random_shape = {"Faithfulness", random_fields, 0,
                                             "the same for a random order: DeYoung et al. 2020"};
static const struct hd_field explanation_fields[] = {
    {"user", HD_IS_TEXT, HD_NEEDED},
    {"item", HD_IS_TEXT, HD_NEEDED},
    {"title", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"method", HD_IS_CHOICE, HD_NEEDED, .words = "gradient-attention|leave-one-out"},
    {"score", HD_IS_NUMBER, HD_NEEDED},
    {"probability", HD_IS_NUMBER, HD_NEEDED},
    {"rank", HD_IS_INT, HD_NEEDED},
    {"counterfactual_rank", HD_IS_INT, HD_NEEDED, .help = "without the strongest reason"},
    {"counterfactual_item", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"reasons", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &reason_shape},
    {"comprehensiveness", HD_IS_NUMBER, HD_NEEDED | HD_OR_NULL, .help = "higher is better"},
    {"sufficiency", HD_IS_NUMBER, HD_NEEDED | HD_OR_NULL, .help = "lower is better"},
    {"random", HD_IS_SHAPE, HD_NEEDED, .shape = &random_shape},
    {0},
};
static const struct hd_shape explanation_shape = {"Explanation", explanation_fields, 0, NULL};

/* ---- feeds */

static heed_status copy_session(struct hd_request *r, const struct asked *asked,
                                heed_feed_request *request)
{
    const struct visit *visit = asked->session.at;
    int count = asked->session.count;
    heed_feed_visit *session =
        hd_arena_alloc(hd_exchange_arena(r->x), (size_t)count + 1, sizeof *session);

    if (!session)
        return hd_fail(HEED_E_NOMEM, "session: no memory");
    for (int i = 0; i < count; i++)
        session[i] = (heed_feed_visit){visit[i].item, visit[i].ts};
    request->session = session;
    request->session_count = count;
    return HEED_OK;
}

static heed_status answer_feed(struct hd_request *r, const struct asked *asked, heed_feed_kind kind)
{
    heed_feed_request request = {
        .user = asked->user,
        .n = (int)asked->n,
        .at = asked->at,
        .explain = asked->explain,
        .exclude = asked->exclude.at,
        .exclude_count = asked->exclude.count,
        .kind = kind,
        .item = asked->item,
        .filter = asked->filter,
        .placement = asked->placement,
        .explore = asked->explore,
    };
    struct hd_json_writer w = {0};
    heed_feed *feed = NULL;

    HD_TRY(copy_session(r, asked, &request));
    HD_TRY(heed_engine_feed(r->server->engine, &request, &feed));
    hd_metrics_feed(r->server->metrics, feed);
    hd_put_feed(&w, feed, asked->explain);
    heed_feed_free(feed);
    return hd_reply_json(r->x, 200, &w);
}

/* What was not asked for is as the server was started. */
static struct asked ordinary(const struct hd_request *r)
{
    return (struct asked){.kind = "best", .explore = r->server->explore};
}

static heed_status feed(struct hd_request *r, const struct asked *asked)
{
    heed_feed_kind kind = hd_feed_kind(asked->kind);

    if (kind == HEED_FEED_SIMILAR && !asked->item) {
        r->field = "item";
        return hd_fail(HEED_E_FORMAT, "item: missing: similar to which?");
    }
    if (asked->at != 0 && (kind == HEED_FEED_POPULAR || kind == HEED_FEED_TRENDING)) {
        r->field = "at";
        return hd_fail(HEED_E_FORMAT, "at: what was popular or trending at another moment is not kept");
    }
    if (kind == HEED_FEED_BEST && !asked->user && asked->session.count == 0) {
        r->field = "user";
        return hd_fail(HEED_E_FORMAT, "user: missing, and there is no session either");
    }
    return answer_feed(r, asked, kind);
}

static heed_status post_feed(struct hd_request *r)
{
    struct asked asked = ordinary(r);

    HD_TRY(hd_request_body(r, &asked));
    return feed(r, &asked);
}

static heed_status get_feed(struct hd_request *r)
{
    struct asked asked = ordinary(r);

    HD_TRY(hd_request_query(r, &asked));
    return feed(r, &asked);
}

static heed_status get_list(struct hd_request *r, heed_feed_kind kind)
{
    struct asked asked = {0};

    HD_TRY(hd_request_query(r, &asked));
    asked.item = r->parameter[0];
    return answer_feed(r, &asked, kind);
}

static heed_status get_similar(struct hd_request *r)
{
    return get_list(r, HEED_FEED_SIMILAR);
}

static heed_status get_trending(struct hd_request *r)
{
    return get_list(r, HEED_FEED_TRENDING);
}

static heed_status get_popular(struct hd_request *r)
{
    return get_list(r, HEED_FEED_POPULAR);
}

static heed_status get_fresh(struct hd_request *r)
{
    return get_list(r, HEED_FEED_FRESH);
}

/* ---- explanations */

static heed_status post_explain(struct hd_request *r)
{
    struct why why = {0};
    struct hd_json_writer w = {0};
    heed_explanation *e = NULL;

    HD_TRY(hd_request_body(r, &why));
    HD_TRY(heed_engine_explain(r->server->engine, why.user, why.item,
                               &(heed_explain_opts){.exact = why.exact, .at = why.at}, &e));
    hd_put_explanation(&w, e);
    heed_explanation_free(e);
    return hd_reply_json(r->x, 200, &w);
}

/* ---- the table */

#define GIVES(shape_) HD_GIVES(200, shape_, "the answer")

static const struct hd_route routes[] = {
    {HD_POST, "/v1/feed", HD_BY_SERVE, post_feed, "postFeed", "what this reader is best shown now",
     .body_kind = HD_BODY_JSON, .body = &ask_shape, GIVES(feed_shape)},
    {HD_GET, "/v1/feed", HD_BY_SERVE, get_feed, "getFeed", "the same, asked by a query",
     .query = ask_query_fields, GIVES(feed_shape)},
    {HD_GET, "/v1/items/{id}/similar", HD_BY_SERVE, get_similar, "similarItems",
     "items like this one", .query = list_query_fields, GIVES(feed_shape)},
    {HD_GET, "/v1/trending", HD_BY_SERVE, get_trending, "trendingItems",
     "what all look at now more than they used to", .query = list_query_fields, GIVES(feed_shape)},
    {HD_GET, "/v1/popular", HD_BY_SERVE, get_popular, "popularItems",
     "what all look at, recent events counting more", .query = list_query_fields, GIVES(feed_shape)},
    {HD_GET, "/v1/fresh", HD_BY_SERVE, get_fresh, "freshItems", "the newest items",
     .query = list_query_fields, GIVES(feed_shape)},
    {HD_POST, "/v1/explain", HD_BY_SERVE, post_explain, "explain",
     "why an item stands where it does for a user", .body_kind = HD_BODY_JSON, .body = &why_shape,
     GIVES(explanation_shape)},
};

const struct hd_route_table hd_routes_feeds = {"feeds", routes, sizeof routes / sizeof *routes};

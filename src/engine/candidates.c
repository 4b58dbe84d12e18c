/* SPDX-License-Identifier: Apache-2.0
 *
 * Which policy answers a feed, and the candidates it puts up. What is asked for and what is there decide:
 *
 *     a reader with visits, and a model ─▶ sequence      no events, but items ─▶ fresh
 *     events, but no such reader or model ─▶ popular     nothing ─▶ empty
 *     the same, as of another moment ─▶ fresh
 *
 * A trained model looks at every item (models/retrieve.h). Beside its best stand a few that it may
 * underrate, for what a model of the past cannot know: that the reader follows the author or the topic,
 * that the item is new, that everybody looks at it today. They are scored by the same model and get a
 * stated allowance on the logarithm of the probability, so that one that does not suit the reader
 * stays below. */
#include "acquire/user.h"
#include "allocate/feed.h"
#include "base/time.h"
#include "engine/feeding.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Diversity chooses among three pages and some: enough to find something else, not so much that it
 * digs up what nobody wants. A trained order is moved only where scores are near; popularity, which
 * knows nothing of the reader, is spread wider. */
#define POOL_PICKS(n) (3 * (n) + 20)
#define DIVERSITY_SEQUENCE 0.05
#define DIVERSITY_POPULAR 0.3

#define BESIDE_MAX 20 /* of each kind, beside the model's own */
/* Allowances: e^1 = 2.7 times as likely for what is followed; e^0.5 = 1.6 times for what is new, half of
 * it after two days; e^0.25 = 1.3 times for what is trending. */
#define ALLOW_FOLLOWED 1.0
#define ALLOW_FRESH 0.5
#define ALLOW_FRESH_MS (2 * 86400000.0)
#define ALLOW_TRENDING 0.25
#define TRENDING_QUIET_MS (INT64_C(7) * 86400000) /* a chart that old is history */
#define TRENDING_AGE_NS INT64_C(1000000000)

static heed_status say(struct hd_feeding *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static heed_status say(struct hd_feeding *f, const char *fmt, ...)
{
    char text[HD_ERROR_BYTES_MAX + 256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    f->why = hd_arena_strdup(f->arena, text);
    return f->why ? HEED_OK : hd_fail(HEED_E_NOMEM, "feed: no memory");
}

static heed_status take_popular(struct hd_feeding *f, int64_t age_ns)
{
    pthread_mutex_lock(&f->engine->lock);
    heed_status status = hd_popular_take(f->engine, age_ns, &f->popular);
    pthread_mutex_unlock(&f->engine->lock);
    return status;
}

static void mark_source(struct hd_feeding *f, enum hd_source source)
{
    for (int64_t i = 0; i < f->pool; i++)
        f->picks[i].source = source;
}

/* ---- beside the model */

static double allowance(const struct hd_feeding *f, int32_t item)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_catalogue *c = &a->items->catalogue;
    double more = 0, age = (double)(a->now - c->created[item]);

    if (a->follows > 0 && hd_topics_meet(c, item, a->follow, a->follows))
        more += ALLOW_FOLLOWED;
    if (c->created[item] > 0 && age >= 0)
        more += ALLOW_FRESH * exp2(-age / ALLOW_FRESH_MS);
    return more;
}

static bool among(const struct hd_pick *picks, int64_t count, int32_t item)
{
    for (int64_t i = 0; i < count; i++)
        if (picks[i].item == item)
            return true;
    return false;
}

static void add(struct hd_feeding *f, int32_t item, enum hd_source source)
{
    if (!f->out[item] && !among(f->picks, f->pool, item))
        f->picks[f->pool++] = (struct hd_pick){.item = item, .source = source};
}

/* The newest that are about what the reader follows. */
static heed_status add_followed(struct hd_feeding *f)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_catalogue *c = &a->items->catalogue;
    struct hd_pick newest[BESIDE_MAX];

    if (a->follows == 0)
        return HEED_OK;
    uint8_t *other = hd_arena_alloc(f->desk, (size_t)c->items, 1);
    if (!other)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", c->items);
    for (int64_t i = 0; i < c->items; i++)
        other[i] = f->out[i] || !hd_topics_meet(c, (int32_t)i, a->follow, a->follows);
    int64_t count = hd_select_fresh(c, other, BESIDE_MAX, newest);
    for (int64_t i = 0; i < count; i++)
        add(f, newest[i].item, HD_SOURCE_FOLLOWED);
    return HEED_OK;
}

/* The latest to come into the store, which the model has not met. */
static void add_fresh(struct hd_feeding *f)
{
    int64_t known = f->asking.model->config->items, added = 0;

    for (int64_t i = f->asking.items->catalogue.items - 1; i >= known && added < BESIDE_MAX; i--)
        if (!f->out[i]) {
            add(f, (int32_t)i, HD_SOURCE_FRESH);
            added++;
        }
}

/* Only while served: a chart for one question would cost a walk over all events. */
static heed_status add_trending(struct hd_feeding *f)
{
    if (!f->engine->kept_fresh || f->request->at != 0)
        return HEED_OK;
    HD_TRY(take_popular(f, TRENDING_AGE_NS));
    if (f->asking.now - f->popular->latest > TRENDING_QUIET_MS)
        return HEED_OK;
    for (int64_t i = 0; i < f->popular->chart_count && i < BESIDE_MAX; i++)
        if (f->popular->chart[i].item < f->asking.items->catalogue.items)
            add(f, f->popular->chart[i].item, HD_SOURCE_TRENDING);
    return HEED_OK;
}

static heed_status score_added(struct hd_feeding *f, int64_t first)
{
    int64_t n = f->pool - first;
    int32_t *item = hd_arena_alloc(f->desk, (size_t)n, sizeof *item);
    float *score = hd_arena_alloc(f->desk, (size_t)n, sizeof *score);

    if (!item || !score)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    for (int64_t i = 0; i < n; i++)
        item[i] = f->picks[first + i].item;
    HD_TRY(hd_retrieve_score(f->seat->reader, f->table->retrieval, item, n, score));
    for (int64_t i = 0; i < n; i++)
        f->picks[first + i].score =
            score[i] - f->log_mass + (float)(f->picks[first + i].source == HD_SOURCE_TRENDING ? ALLOW_TRENDING : 0);
    return HEED_OK;
}

/* ---- policies */

/* The table, and what is kept of this reader where the answer is made of their own visits. */
static heed_status take_table(struct hd_feeding *f, bool keeps)
{
    const struct hd_asking *a = &f->asking;

    pthread_mutex_lock(&f->engine->lock);
    heed_status status = hd_table_take(f->engine, a->model, a->items, &f->table);
    if (status == HEED_OK && keeps)
        f->kept = hd_kept_take(&f->engine->kept, a->model, a->user, a->as_of);
    pthread_mutex_unlock(&f->engine->lock);
    return status;
}

/* The model's best for f->visits. */
static heed_status retrieve(struct hd_feeding *f, int64_t want)
{
    const struct hd_asking *a = &f->asking;
    struct hd_scored *best = hd_arena_alloc(f->desk, (size_t)want, sizeof *best);
    int64_t found;

    if (!best)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", want);
    bool keeps = a->user >= 0 && f->request->at == 0 && f->request->session_count == 0 &&
                 f->visits.items == a->item;
    if (!f->table)
        HD_TRY(take_table(f, keeps));
    if (keeps && !f->kept)
        HD_TRY(hd_kept_new(a->model, a->user, a->as_of, &f->kept));
    f->visits.state = f->kept ? f->kept->state : NULL;
    HD_TRY(hd_seat_take(a->model, &f->seat));
    HD_TRY(hd_retrieve(f->seat->reader, f->table->retrieval, &f->visits, f->out,
                       a->items->catalogue.items, want, best, &found));
    f->log_mass = (float)log(hd_retrieve_mass(f->seat->reader));
    for (int64_t i = 0; i < found; i++)
        f->picks[i] = (struct hd_pick){.item = best[i].item, .score = best[i].score - f->log_mass};
    f->pool = found;
    return HEED_OK;
}

static heed_status by_model(struct hd_feeding *f, int64_t want)
{
    const struct hd_asking *a = &f->asking;
    int64_t length = a->model->config->length;

    f->policy = "sequence";
    f->diversity = DIVERSITY_SEQUENCE;
    f->visits = (struct hd_ask){a->item, a->time, a->count, a->model_now, NULL};
    HD_TRY(retrieve(f, want));
    int64_t own = f->pool;
    HD_TRY(add_followed(f));
    add_fresh(f);
    HD_TRY(add_trending(f));
    if (f->pool > own)
        HD_TRY(score_added(f, own));
    for (int64_t i = 0; i < f->pool; i++)
        f->picks[i].score += (float)allowance(f, f->picks[i].item);
    hd_sort_picks(f->picks, f->pool);
    f->pool = f->pool < want ? f->pool : want;
    return say(f, "the model was asked with this reader's latest %" PRId64 " visits",
               a->count < length ? a->count : length);
}

static const char *why_not_the_model(const struct hd_feeding *f)
{
    const struct hd_asking *a = &f->asking;

    if (!(a->consent & HD_CONSENT_PERSONALISE))
        return "this reader does not want a personal feed";
    if (a->user < 0 && f->request->session_count == 0)
        return "no reader of this name is known";
    return a->model ? "this reader has no visits that the model knows" : a->trouble;
}

static heed_status by_popularity(struct hd_feeding *f, int64_t want)
{
    int64_t items = f->asking.items->catalogue.items;
    const struct hd_popular *popular = f->popular;
    bool asked = f->request->kind == HEED_FEED_TRENDING, trending = asked && popular->latest != 0;
    float *score = hd_arena_alloc(f->desk, (size_t)items, sizeof *score);
    static const char instead[] = "what all readers look at, recent events counting more";

    if (!score)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", items);
    for (int64_t i = 0; i < items; i++)
        score[i] = i >= popular->items ? 0 : trending ? popular->trending[i] : popular->popular[i];
    f->pool = hd_select_top(score, f->out, items, want, f->picks);
    mark_source(f, trending ? HD_SOURCE_TRENDING : HD_SOURCE_POPULAR);
    f->policy = trending ? "trending" : "popular";
    f->diversity = DIVERSITY_POPULAR;
    if (trending)
        return say(f, "what is looked at in the last day more than in the two weeks before it");
    if (asked)
        return say(f, "no event has a time, so nothing is known to be trending: %s", instead);
    if (f->request->kind == HEED_FEED_POPULAR)
        return say(f, "%s", instead);
    return say(f, "%s: %s", why_not_the_model(f), instead);
}

static heed_status by_freshness(struct hd_feeding *f, int64_t want)
{
    const struct hd_asking *a = &f->asking;

    f->pool = hd_select_fresh(&a->items->catalogue, f->out, want, f->picks);
    mark_source(f, HD_SOURCE_FRESH);
    f->policy = "fresh";
    if (f->request->kind == HEED_FEED_FRESH)
        return say(f, "the newest items");
    if (f->request->at != 0)
        return say(f, "%s, and what was popular at another moment is not kept: the newest items",
                   why_not_the_model(f));
    return say(f, "there are no events yet: the newest items");
}

/* What shares tags or the author with the item; what shares nothing is not like it, however few there are. */
static heed_status by_topics(struct hd_feeding *f, int32_t item, int64_t want)
{
    const struct hd_catalogue *c = &f->asking.items->catalogue;
    float *score = hd_arena_alloc(f->desk, (size_t)c->items, sizeof *score);

    if (!score)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", c->items);
    for (int64_t i = 0; i < c->items; i++)
        score[i] = (float)hd_topic_similarity(c, item, (int32_t)i);
    f->pool = hd_select_top(score, f->out, c->items, want, f->picks);
    while (f->pool > 0 && !(f->picks[f->pool - 1].score > 0))
        f->pool--;
    mark_source(f, HD_SOURCE_SIMILAR);
    if (c->topic_count[item] == 0)
        return say(f, "nothing was learned of this item, and it has neither tags nor an author");
    return say(f, "what shares the item's tags and author, most of them first");
}

static heed_status find_like(struct hd_feeding *f, int32_t *item)
{
    const char *id = f->request->item;

    *item = -1;
    pthread_mutex_lock(&f->engine->lock);
    heed_status status = hd_store_find_item(f->engine->store, id, strlen(id), item);
    pthread_mutex_unlock(&f->engine->lock);
    HD_TRY(status);
    if (*item < 0 || *item >= f->asking.items->catalogue.items)
        return hd_fail(HEED_E_NOTFOUND, "feed: there is no such item to be similar to");
    return HEED_OK;
}

/* What comes next for somebody who has looked at nothing but this item; of an item that the model does
 * not know, or has never seen looked at, what is about the same. */
static heed_status by_likeness(struct hd_feeding *f, int64_t want)
{
    const struct hd_asking *a = &f->asking;
    int32_t *item = hd_arena_alloc(f->desk, 1, sizeof *item);

    if (!item)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    HD_TRY(find_like(f, item));
    f->like = *item;
    f->out[*item] = 1;
    f->policy = "similar";
    f->diversity = DIVERSITY_SEQUENCE;
    if (a->model)
        HD_TRY(take_table(f, false));
    if (!a->model || !hd_retrieval_has_learned(f->table->retrieval, *item))
        return by_topics(f, *item, want);
    f->visits = (struct hd_ask){item, NULL, 1, a->model_now, NULL};
    HD_TRY(retrieve(f, want));
    mark_source(f, HD_SOURCE_SIMILAR);
    return say(f, "the model was asked with this item alone");
}

heed_status hd_feed_candidates(struct hd_feeding *f)
{
    const struct hd_asking *a = &f->asking;
    int64_t want = POOL_PICKS((int64_t)f->n);

    if (a->items->catalogue.items == 0 && f->request->kind != HEED_FEED_SIMILAR) {
        f->policy = "empty";
        return say(f, "there are no items yet");
    }
    f->picks = hd_arena_zalloc(f->desk, (size_t)want + 3 * BESIDE_MAX, sizeof *f->picks);
    if (!f->picks)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", want);
    if (f->request->kind == HEED_FEED_SIMILAR)
        return by_likeness(f, want);
    if (f->request->kind == HEED_FEED_BEST && a->model && a->count > 0)
        return by_model(f, want);
    /* A chart of another moment would be a walk over all events, a second for each million. */
    if (f->request->kind == HEED_FEED_FRESH || f->request->at != 0)
        return by_freshness(f, want);
    HD_TRY(take_popular(f, 0));
    if (f->popular->events > 0)
        return by_popularity(f, want);
    return by_freshness(f, want);
}

void hd_feed_candidates_clear(struct hd_feeding *f)
{
    struct hd_kept *out = NULL;

    if (f->kept) {
        pthread_mutex_lock(&f->engine->lock);
        out = hd_kept_put(&f->engine->kept, f->kept);
        pthread_mutex_unlock(&f->engine->lock);
    }
    hd_kept_free(out);
    if (f->seat)
        hd_seat_return(f->asking.model, f->seat);
    hd_table_drop(f->table);
    hd_popular_drop(f->popular);
}

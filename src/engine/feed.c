/* SPDX-License-Identifier: Apache-2.0
 *
 * One feed answer, as a list of steps that are timed one by one:
 *
 *     history ─▶ filter ─▶ candidates ─▶ diversify ─▶ explore ─▶ page ─▶ record
 *
 * (engagement stands between candidates and diversify, auction and blend before page, when they come.)
 * There is always an answer; candidates.c says which policy gives it. */
#include "engine/feeding.h"
#include "allocate/filter.h"
#include "base/time.h"
#include "engine/decision.h"
#include "store/records.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* What the caller gets: the public part first, and the arena that holds it. */
struct feed_answer {
    heed_feed feed;
    hd_arena *arena;
};

static heed_status check_request(const heed_feed_request *r)
{
    if (!r || (r->user && !*r->user) || (!r->user && r->session_count == 0 &&
                                         r->kind == HEED_FEED_BEST))
        return hd_fail(HEED_E_ARG, "feed: no user was given");
    if ((unsigned)r->kind >= HEED_FEED_KINDS)
        return hd_fail(HEED_E_ARG, "feed: there is no kind %d", (int)r->kind);
    if (r->at != 0 && (r->kind == HEED_FEED_POPULAR || r->kind == HEED_FEED_TRENDING))
        return hd_fail(HEED_E_ARG, "feed: at: what was popular or trending at another moment is not kept");
    if (r->kind == HEED_FEED_SIMILAR && (!r->item || !*r->item))
        return hd_fail(HEED_E_ARG, "feed: similar to which item?");
    if (r->n < 0 || r->n > HD_FEED_ITEMS_MAX)
        return hd_fail(HEED_E_ARG, "feed: n is %d, not 1 to %d", r->n, HD_FEED_ITEMS_MAX);
    if (!(r->explore >= 0 && r->explore <= 1))
        return hd_fail(HEED_E_ARG, "feed: explore is %g, not 0 to 1", r->explore);
    if (r->exclude_count < 0 || r->exclude_count > HD_EXCLUDE_MAX ||
        (r->exclude_count > 0 && !r->exclude))
        return hd_fail(HEED_E_ARG, "feed: %d items to exclude, not 0 to %d", r->exclude_count,
                       HD_EXCLUDE_MAX);
    for (int i = 0; i < r->exclude_count; i++)
        if (!r->exclude[i])
            return hd_fail(HEED_E_ARG, "feed: exclude %d is no text", i);
    if (r->session_count < 0 || r->session_count > HD_SESSION_MAX ||
        (r->session_count > 0 && !r->session))
        return hd_fail(HEED_E_ARG, "feed: %d visits in the session, not 0 to %d", r->session_count,
                       HD_SESSION_MAX);
    for (int i = 0; i < r->session_count; i++)
        if (!r->session[i].item)
            return hd_fail(HEED_E_ARG, "feed: visit %d of the session names no item", i);
    return HEED_OK;
}

/* ---- the steps */

static heed_status read_history(struct hd_feeding *f)
{
    const heed_feed_request *r = f->request;
    struct hd_asking_opts opts = {.at = r->at,
                                  .exclude = r->exclude,
                                  .exclude_count = r->exclude_count,
                                  .session = r->session,
                                  .session_count = r->session_count};

    return hd_asking_init(&f->asking, f->engine, r->user, &opts, f->desk);
}

/* What a filter calls a tag, an author or an item, as this catalogue's number. */
static heed_status find_name(void *context, enum hd_filter_field field, const char *name,
                             size_t bytes, int32_t *number)
{
    struct hd_feeding *f = context;
    heed_status status = HEED_OK;

    pthread_mutex_lock(&f->engine->lock);
    if (field == HD_FILTER_ID)
        status = hd_store_find_item(f->engine->store, name, bytes, number);
    else
        *number = hd_items_topic(f->asking.items, field == HD_FILTER_AUTHOR ? 'a' : 't', name);
    pthread_mutex_unlock(&f->engine->lock);
    return status;
}

static heed_status apply_filter(struct hd_feeding *f)
{
    const struct hd_catalogue *c = &f->asking.items->catalogue;
    const char *text = f->request->filter;
    struct hd_filter_view view = {.items = c->items,
                                  .id = c->id,
                                  .title = c->title,
                                  .author = c->author,
                                  .url = c->url,
                                  .created = c->created,
                                  .topic = c->topic,
                                  .topic_count = c->topic_count};
    hd_filter *filter;

    HD_TRY(hd_filter_parse(f->desk, text, strlen(text), &filter));
    HD_TRY(hd_filter_bind(filter, find_name, f));
    hd_filter_apply(filter, &view, f->asking.now, f->out);
    return HEED_OK;
}

static heed_status filter(struct hd_feeding *f)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_catalogue *c = &a->items->catalogue;

    f->out = hd_arena_zalloc(f->desk, (size_t)c->items, 1);
    if (!f->out)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", c->items);
    hd_filter_catalogue(c, a->now, f->out);
    hd_filter_items(a->away, a->away_count, c->items, f->out);
    hd_filter_topics(c, a->block, a->blocks, f->out);
    return f->request->filter ? apply_filter(f) : HEED_OK;
}

static heed_status diversify(struct hd_feeding *f)
{
    f->count = hd_diversify(&f->asking.items->catalogue, f->diversity, f->picks, f->pool, f->n);
    return HEED_OK;
}

/* The numbers that decide come from the decision's own id, which nobody can foretell, and which is
 * kept: the draw can be made again. */
static heed_status explore(struct hd_feeding *f)
{
    double u[2];

    f->propensity = hd_arena_alloc(f->desk, (size_t)f->count, sizeof *f->propensity);
    if (!f->propensity)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    hd_decision_draw(f->decision, u);
    hd_explore(f->picks, f->pool, f->count, f->request->explore, u, f->propensity);
    return HEED_OK;
}

static heed_status write_page(struct hd_feeding *f)
{
    const struct hd_catalogue *c = &f->asking.items->catalogue;
    hd_arena *arena = f->arena;
    heed_feed_item *page = hd_arena_zalloc(arena, (size_t)f->count, sizeof *page);
    double last = 0;

    if (!page)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", f->count);
    for (int64_t i = 0; i < f->count; i++) {
        struct hd_pick pick = f->picks[i];
        heed_feed_item *item = &page[i];
        /* What nobody scored is no better than what stands before it. */
        double own = isfinite((double)pick.score) ? (double)pick.score : last;
        last = own;
        *item = (heed_feed_item){
            .rank = (int)i + 1,
            .item = hd_arena_strdup(arena, c->id[pick.item]),
            .score = own,
            .source = hd_source_name(pick.source),
            .propensity = f->propensity[i]};
        if (c->title[pick.item])
            item->title = hd_arena_strdup(arena, c->title[pick.item]);
        if (!item->item || (c->title[pick.item] && !item->title))
            return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", f->count);
        if (f->request->explain)
            HD_TRY(hd_feed_why(f, pick, item));
    }
    f->feed->items = page;
    f->feed->count = (int)f->count;
    return HEED_OK;
}

/* Whether somebody was forgotten since the history was read, and it was this reader: then what was
 * decided is not kept, or it would outlive the erasure. */
static bool forgotten(struct hd_feeding *f)
{
    const struct hd_asking *a = &f->asking;
    int32_t user = a->user;

    if (a->user < 0)
        return false;
    pthread_mutex_lock(&f->engine->lock);
    if (f->engine->kept.forgotten != a->as_of &&
        hd_store_look_up_user(f->engine->store, f->request->user, &user) != HEED_OK)
        user = -1;
    pthread_mutex_unlock(&f->engine->lock);
    return user != a->user;
}

static heed_status record(struct hd_feeding *f)
{
    heed_feed *feed = f->feed;

    feed->decision = hd_arena_strdup(f->arena, f->decision);
    feed->user = hd_arena_strdup(f->arena, f->request->user ? f->request->user : "");
    if (!feed->decision || !feed->user)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    feed->policy = f->policy;
    feed->why_policy = f->why;
    if (!f->request->unrecorded && !forgotten(f))
        hd_decision_keep(f->engine, feed, f->request, f->made, f->asking.now);
    return HEED_OK;
}

static const struct step {
    const char *name;
    heed_status (*run)(struct hd_feeding *f);
} steps[] = {
    {"history", read_history}, {"filter", filter},   {"candidates", hd_feed_candidates},
    {"diversify", diversify},  {"explore", explore}, {"page", write_page},
    {"record", record},
};
#define STEPS (sizeof steps / sizeof *steps)

static heed_status run_steps(struct hd_feeding *f, int64_t began_ns)
{
    heed_feed_step *took = hd_arena_alloc(f->arena, STEPS, sizeof *took);
    int64_t before = began_ns;

    if (!took)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    f->n = f->request->n ? f->request->n : 10;
    f->made = hd_clock_now(&f->engine->clock);
    hd_decision_id(f->engine, f->made, f->decision);
    for (size_t i = 0; i < STEPS; i++) {
        HD_TRY(steps[i].run(f));
        int64_t now = hd_monotonic_ns();
        took[i] = (heed_feed_step){steps[i].name, (double)(now - before) * 1e-3};
        before = now;
    }
    f->feed->steps = took;
    f->feed->step_count = STEPS;
    f->feed->took_us = (before - began_ns) / 1000;
    return HEED_OK;
}

heed_status heed_engine_feed(heed_engine *engine, const heed_feed_request *request, heed_feed **out)
{
    int64_t began_ns = hd_monotonic_ns();
    struct hd_feeding f = {.engine = engine, .request = request, .like = -1};
    struct feed_answer *answer;

    HD_TRY(check_request(request));
    answer = hd_alloc(1, sizeof *answer);
    if (!answer || !(answer->arena = hd_arena_new(8192))) {
        hd_free(answer);
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    }
    f.feed = &answer->feed;
    f.arena = answer->arena;
    heed_status status = hd_desk_take(engine, &f.desk);
    if (status == HEED_OK)
        status = run_steps(&f, began_ns);
    hd_feed_candidates_clear(&f);
    hd_asking_clear(&f.asking);
    hd_desk_return(engine, f.desk);
    if (status != HEED_OK) {
        heed_feed_free(&answer->feed);
        return status;
    }
    *out = &answer->feed;
    return HEED_OK;
}

void heed_feed_free(heed_feed *feed)
{
    struct feed_answer *answer = (struct feed_answer *)(void *)feed;

    if (!answer)
        return;
    hd_arena_free(answer->arena);
    hd_free(answer);
}

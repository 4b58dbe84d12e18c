/* SPDX-License-Identifier: Apache-2.0
 *
 * One feed answer: read what is known, let the policy score, then filter, select and diversify
 * (allocate/feed.h), and say why. There is always an answer; which policy gave it depends on what
 * is there:
 *
 *     a reader with visits, and a model ─▶ sequence      no events, but items ─▶ fresh
 *     events, but no such reader or model ─▶ popular     nothing ─▶ empty
 */
#include "allocate/feed.h"
#include "base/time.h"
#include "engine/asking.h"
#include "engine/decision.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REASONS_MAX 5 /* of one item: what a reader can take in */
#define STEPS_MAX 8
/* Diversity chooses among three pages and some: enough to find something else, not so much that it
 * digs up what nobody wants. A trained order is moved only where scores are near; popularity, which
 * knows nothing of the reader, is spread wider. */
#define POOL_PICKS(n) (3 * (n) + 20)
#define DIVERSITY_SEQUENCE 0.05
#define DIVERSITY_POPULAR 0.3

/* What the caller gets: the public part first, and the arena that holds it. */
struct feed_answer {
    heed_feed feed;
    hd_arena *arena;
};

struct feeding {
    heed_engine *engine;
    const heed_feed_request *request;
    int n;
    struct hd_asking asking;
    hd_arena *desk; /* scratch */
    struct feed_answer *answer;
    struct hd_past *past;
    struct hd_seat *seat;
    const char *policy, *why;
    double diversity, score_shift; /* shift: added to a pick's score to make the reported one */
    float *scores;                 /* items; -INFINITY: nobody scored it */
    uint8_t *out;                  /* items */
    struct hd_pick *picks;
    int64_t count;
    heed_feed_step step[STEPS_MAX];
    int steps;
    int64_t mark_ns;
};

/* Ends a step: what passed since the last one ended. */
static void step_done(struct feeding *f, const char *name)
{
    int64_t now = hd_monotonic_ns();

    f->step[f->steps++] = (heed_feed_step){name, (double)(now - f->mark_ns) * 1e-3};
    f->mark_ns = now;
}

static heed_status check_request(const heed_feed_request *r)
{
    if (!r || !r->user || !*r->user)
        return hd_fail(HEED_E_ARG, "feed: no user was given");
    if (r->n < 0 || r->n > HD_FEED_ITEMS_MAX)
        return hd_fail(HEED_E_ARG, "feed: n is %d, not 1 to %d", r->n, HD_FEED_ITEMS_MAX);
    if (r->exclude_count < 0 || r->exclude_count > HD_EXCLUDE_MAX ||
        (r->exclude_count > 0 && !r->exclude))
        return hd_fail(HEED_E_ARG, "feed: %d items to exclude, not 0 to %d", r->exclude_count,
                       HD_EXCLUDE_MAX);
    for (int i = 0; i < r->exclude_count; i++)
        if (!r->exclude[i])
            return hd_fail(HEED_E_ARG, "feed: exclude %d is no text", i);
    return HEED_OK;
}

/* ---- policies */

static heed_status say(struct feeding *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static heed_status say(struct feeding *f, const char *fmt, ...)
{
    char text[HD_ERROR_BYTES_MAX + 256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    f->why = hd_arena_strdup(f->answer->arena, text);
    return f->why ? HEED_OK : hd_fail(HEED_E_NOMEM, "feed: no memory");
}

/* Items that came after the model was trained are scored by nobody and stand behind the others. */
static heed_status score_by_model(struct feeding *f)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_sequence_config *config = a->model->config;
    int64_t seen = a->count < config->length ? a->count : config->length;

    HD_TRY(hd_seat_take(a->model, &f->seat));
    HD_TRY(hd_sequence_score(f->seat->reader, a->item, a->time, NULL, a->count, a->model_now,
                             f->scores));
    for (int64_t i = config->items; i < a->items->catalogue.items; i++)
        f->scores[i] = -INFINITY;
    f->score_shift = -hd_log_sum_exp(f->scores, config->items);
    f->diversity = DIVERSITY_SEQUENCE;
    f->policy = "sequence";
    return say(f, "the model was asked with this reader's latest %" PRId64 " visits", seen);
}

static heed_status score_by_popularity(struct feeding *f)
{
    const struct hd_asking *a = &f->asking;
    int64_t items = a->items->catalogue.items, counted = f->past->histories.items;
    static const char instead[] = "what all readers look at, recent events counting more";

    for (int64_t i = 0; i < items; i++)
        f->scores[i] = i < counted ? f->past->popular[i] : 0;
    f->diversity = DIVERSITY_POPULAR;
    f->policy = "popular";
    if (a->user < 0)
        return say(f, "no reader of this name is known: %s", instead);
    if (!a->model)
        return say(f, "%s: %s", a->trouble, instead);
    return say(f, "this reader has no visits that the model knows: %s", instead);
}

static heed_status score(struct feeding *f)
{
    const struct hd_asking *a = &f->asking;
    int64_t items = a->items->catalogue.items;

    if (items == 0) {
        f->policy = "empty";
        return say(f, "there are no items yet");
    }
    f->scores = hd_arena_alloc(f->desk, (size_t)items, sizeof *f->scores);
    if (!f->scores)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", items);
    if (a->model && a->count > 0)
        return score_by_model(f);
    pthread_mutex_lock(&f->engine->lock);
    heed_status status = hd_past_take(f->engine, &f->past);
    pthread_mutex_unlock(&f->engine->lock);
    if (status != HEED_OK)
        return status;
    if (f->past->histories.offset[f->past->histories.users] > 0)
        return score_by_popularity(f);
    f->scores = NULL;
    f->policy = "fresh";
    return say(f, "there are no events yet: the newest items");
}

/* ---- the page */

static heed_status choose(struct feeding *f)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_catalogue *c = &a->items->catalogue;
    int64_t pool = POOL_PICKS((int64_t)f->n);

    f->out = hd_arena_zalloc(f->desk, (size_t)c->items, 1);
    f->picks = hd_arena_alloc(f->desk, (size_t)pool, sizeof *f->picks);
    if (!f->out || !f->picks)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", c->items);
    hd_filter_catalogue(c, a->now, f->out);
    hd_filter_items(a->away, a->away_count, c->items, f->out);
    step_done(f, "filter");
    f->count = f->scores ? hd_select_top(f->scores, f->out, c->items, pool, f->picks)
                         : hd_select_fresh(c, f->out, pool, f->picks);
    step_done(f, "select");
    f->count = hd_diversify(c, f->diversity, f->picks, f->count, f->n);
    step_done(f, "diversify");
    return HEED_OK;
}

/* The strongest events that spoke for the item. What spoke against it is no reason to show it;
 * heed_engine_explain() tells of both. */
static heed_status give_reasons(struct feeding *f, heed_feed_item *item, int32_t target)
{
    const struct hd_asking *a = &f->asking;
    const struct hd_catalogue *c = &a->items->catalogue;
    double *contribution = hd_arena_alloc(f->desk, (size_t)a->count, sizeof *contribution);
    heed_reason *reason = hd_arena_zalloc(f->answer->arena, REASONS_MAX, sizeof *reason);
    int count = 0;

    if (!contribution || !reason)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for reasons");
    HD_TRY(hd_sequence_attribute(f->seat->reader, a->item, a->time, a->count, a->model_now, target,
                                 contribution, NULL));
    for (int64_t e = a->count - 1; e >= 0; e--) {
        double own = contribution[e];
        if (!(own > 0) || (count == REASONS_MAX && own <= reason[count - 1].contribution))
            continue;
        int at = count < REASONS_MAX ? count++ : count - 1;
        for (; at > 0 && own > reason[at - 1].contribution; at--)
            reason[at] = reason[at - 1];
        reason[at] = (heed_reason){.item = c->id[a->item[e]],
                                   .title = c->title[a->item[e]],
                                   .contribution = own,
                                   .when = a->time ? a->time[e] : 0};
    }
    /* The catalogue may be gone before the answer is. */
    for (int i = 0; i < count; i++) {
        reason[i].item = hd_arena_strdup(f->answer->arena, reason[i].item);
        if (reason[i].title)
            reason[i].title = hd_arena_strdup(f->answer->arena, reason[i].title);
        if (!reason[i].item)
            return hd_fail(HEED_E_NOMEM, "feed: no memory for reasons");
    }
    item->reasons = reason;
    item->reason_count = count;
    return HEED_OK;
}

static heed_status write_page(struct feeding *f)
{
    const struct hd_catalogue *c = &f->asking.items->catalogue;
    hd_arena *arena = f->answer->arena;
    heed_feed_item *page = hd_arena_zalloc(arena, (size_t)f->count, sizeof *page);
    double last = 0;

    if (!page)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", f->count);
    for (int64_t i = 0; i < f->count; i++) {
        struct hd_pick pick = f->picks[i];
        heed_feed_item *item = &page[i];
        /* What nobody scored is no better than what stands before it. */
        double own = isfinite((double)pick.score) ? (double)pick.score + f->score_shift : last;
        last = own;
        *item = (heed_feed_item){
            .rank = (int)i + 1, .item = hd_arena_strdup(arena, c->id[pick.item]), .score = own};
        if (c->title[pick.item])
            item->title = hd_arena_strdup(arena, c->title[pick.item]);
        if (!item->item || (c->title[pick.item] && !item->title))
            return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " items", f->count);
        if (f->request->explain && f->seat && pick.item < f->asking.model->config->items)
            HD_TRY(give_reasons(f, item, pick.item));
    }
    f->answer->feed.items = page;
    f->answer->feed.count = (int)f->count;
    step_done(f, "page");
    return HEED_OK;
}

static heed_status feed_run(struct feeding *f)
{
    const heed_feed_request *r = f->request;
    struct hd_asking_opts opts = {
        .at = r->at, .exclude = r->exclude, .exclude_count = r->exclude_count};
    hd_arena *arena = f->answer->arena;
    heed_feed *feed = &f->answer->feed;

    f->n = r->n ? r->n : 10;
    HD_TRY(hd_asking_init(&f->asking, f->engine, r->user, &opts, f->desk));
    step_done(f, "history");
    HD_TRY(score(f));
    step_done(f, "scores");
    HD_TRY(choose(f));
    HD_TRY(write_page(f));

    heed_time now = hd_clock_now(&f->engine->clock);
    char *decision = hd_arena_alloc(arena, HD_DECISION_ID_BYTES, 1);
    heed_feed_step *steps = hd_arena_alloc(arena, STEPS_MAX, sizeof *steps);
    feed->user = hd_arena_strdup(arena, r->user);
    if (!decision || !steps || !feed->user)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    hd_decision_id(f->engine, now, decision);
    feed->decision = decision;
    feed->policy = f->policy;
    feed->why_policy = f->why;
    if (!r->unrecorded)
        hd_decision_keep(f->engine, feed, now, f->asking.now);
    step_done(f, "record");
    memcpy(steps, f->step, (size_t)f->steps * sizeof *steps);
    feed->steps = steps;
    feed->step_count = f->steps;
    return HEED_OK;
}

heed_status heed_engine_feed(heed_engine *engine, const heed_feed_request *request, heed_feed **out)
{
    int64_t began_ns = hd_monotonic_ns();
    struct feeding f = {.engine = engine, .request = request, .mark_ns = began_ns};

    HD_TRY(check_request(request));
    f.answer = hd_alloc(1, sizeof *f.answer);
    if (!f.answer || !(f.answer->arena = hd_arena_new(8192))) {
        hd_free(f.answer);
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    }
    heed_status status = hd_desk_take(engine, &f.desk);
    if (status == HEED_OK)
        status = feed_run(&f);
    if (f.seat)
        hd_seat_return(f.asking.model, f.seat);
    hd_past_drop(f.past);
    hd_asking_clear(&f.asking);
    hd_desk_return(engine, f.desk);
    if (status != HEED_OK) {
        heed_feed_free(&f.answer->feed);
        return status;
    }
    f.answer->feed.took_us = (hd_monotonic_ns() - began_ns) / 1000;
    *out = &f.answer->feed;
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what a request needs, and standing: the place of one item among scores. */
#include "engine/asking.h"
#include "base/order.h"
#include "acquire/user.h"
#include "base/time.h"
#include "store/records.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The kinds after which an item does not come back: it was attended to, or turned away. */
#define KINDS_AWAY                                                             \
    (HD_KINDS_ATTENTION | HD_KIND(HD_EVENT_DISLIKE) | HD_KIND(HD_EVENT_HIDE) | \
     HD_KIND(HD_EVENT_REPORT))

/* Of these alone where a user's history is not to be used: they are the user's explicit word. */
#define KINDS_TURNED_AWAY \
    (HD_KIND(HD_EVENT_DISLIKE) | HD_KIND(HD_EVENT_HIDE) | HD_KIND(HD_EVENT_REPORT))

struct reading {
    struct hd_asking *asking;
    heed_engine *engine;
    const struct hd_asking_opts *opts;
    hd_arena *arena;
    struct hd_store_history events;
    struct hd_mark_row *mark;
    int64_t marks;
};

static heed_status find_item(const struct reading *r, const char *id, int32_t *item)
{
    return hd_store_find_item(r->engine->store, id, strlen(id), item);
}

static bool is_attention(uint8_t kind)
{
    return (HD_KINDS_ATTENTION >> kind & 1) != 0;
}

static void add_visit(struct reading *r, int32_t item, heed_time time)
{
    struct hd_asking *a = r->asking;

    if (item < 0 || (a->model && item >= a->model->config->items))
        return;
    a->item[a->count] = item;
    a->when[a->count++] = time;
}

/* The visits that the model is asked with: the user's own, then the session's. */
static heed_status keep_visits(struct reading *r)
{
    struct hd_asking *a = r->asking;
    const struct hd_store_history *h = &r->events;
    size_t room = (size_t)h->count + (size_t)r->opts->session_count;

    a->item = hd_arena_alloc(r->arena, room, sizeof *a->item);
    a->when = hd_arena_alloc(r->arena, room, sizeof *a->when);
    a->time = hd_arena_alloc(r->arena, room, sizeof *a->time);
    if (!a->item || !a->when || !a->time)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %zu events", room);
    for (int64_t e = 0; e < h->count; e++)
        if (is_attention(h->kind[e]) && (r->opts->at == 0 || h->time[e] <= r->opts->at))
            add_visit(r, h->item[e], h->time[e]);
    for (int i = 0; i < r->opts->session_count; i++) {
        const heed_feed_visit *visit = &r->opts->session[i];
        int32_t item;
        HD_TRY(find_item(r, visit->item, &item));
        add_visit(r, item, visit->ts);
    }
    a->count = hd_fold_visits(a->item, a->when, NULL, a->count);
    return HEED_OK;
}

static heed_status keep_away(struct reading *r)
{
    struct hd_asking *a = r->asking;
    size_t room = (size_t)(r->events.count + r->marks) + (size_t)r->opts->exclude_count +
                  (size_t)r->opts->session_count;

    a->away = hd_arena_alloc(r->arena, room, sizeof *a->away);
    if (!a->away)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %zu events", room);
    if (r->events.count > 0)
        memcpy(a->away, r->events.item, (size_t)r->events.count * sizeof *a->away);
    a->away_count = r->events.count;
    for (int64_t i = 0; i < r->marks; i++)
        if (r->mark[i].mark[0] == 'b' && r->mark[i].what[0] == 'i')
            HD_TRY(find_item(r, r->mark[i].name, &a->away[a->away_count++]));
    for (int i = 0; i < r->opts->exclude_count; i++)
        HD_TRY(find_item(r, r->opts->exclude[i], &a->away[a->away_count++]));
    for (int i = 0; i < r->opts->session_count; i++)
        HD_TRY(find_item(r, r->opts->session[i].item, &a->away[a->away_count++]));
    return HEED_OK;
}

/* The user's own items do not come back to the user, so their author is among the blocks. */
static heed_status keep_topics(struct reading *r, const char *user)
{
    struct hd_asking *a = r->asking;

    a->block = hd_arena_alloc(r->arena, (size_t)r->marks + 1, sizeof *a->block);
    a->follow = hd_arena_alloc(r->arena, (size_t)r->marks + 1, sizeof *a->follow);
    if (!a->block || !a->follow)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " marks", r->marks);
    int32_t own = hd_items_topic(a->items, 'a', user);
    if (own >= 0)
        a->block[a->blocks++] = own;
    for (int64_t i = 0; i < r->marks; i++) {
        const struct hd_mark_row *m = &r->mark[i];
        int32_t topic = m->what[0] != 'i' ? hd_items_topic(a->items, m->what[0], m->name) : -1;
        if (topic >= 0 && m->mark[0] == 'b')
            a->block[a->blocks++] = topic;
        else if (topic >= 0)
            a->follow[a->follows++] = topic;
    }
    qsort(a->block, (size_t)a->blocks, sizeof *a->block, hd_order_i32);
    qsort(a->follow, (size_t)a->follows, sizeof *a->follow, hd_order_i32);
    return HEED_OK;
}

static heed_status read_user(struct hd_asking *a, heed_engine *engine, const char *user,
                             const struct hd_asking_opts *opts, hd_arena *arena)
{
    struct reading r = {.asking = a, .engine = engine, .opts = opts, .arena = arena};
    hd_store *store = engine->store;

    a->consent = HD_CONSENT_DEFAULT;
    if (user)
        HD_TRY(hd_store_look_up_user(store, user, &a->user));
    if (a->user >= 0) {
        struct hd_user_row row;
        HD_TRY(hd_store_get_user(store, a->user, arena, &row));
        a->consent = row.consent;
        uint32_t kinds = a->consent & HD_CONSENT_PERSONALISE ? KINDS_AWAY : KINDS_TURNED_AWAY;
        HD_TRY(hd_store_load_history(store, a->user, kinds, 0, arena, &r.events));
        HD_TRY(hd_store_get_marks(store, a->user, arena, &r.mark, &r.marks));
    }
    HD_TRY(keep_visits(&r));
    HD_TRY(keep_away(&r));
    return user ? keep_topics(&r, user) : HEED_OK;
}

/* A model has learned what a pause of a day does, not one of ten years. Where all of its data is
 * old (an archive, a demo, a store that was left alone), now is so far from every event that the
 * time bias speaks of spans it never met. So for the model the clock stops a week after the latest
 * event that it learned from, or at the reader's own latest. Where events keep coming in this
 * changes nothing. */
#define QUIET_MS_MAX (INT64_C(7) * 86400000)

static heed_time clock_of_model(const struct hd_asking *a, heed_time until, heed_time latest)
{
    heed_time stop = until + QUIET_MS_MAX;

    if (!a->model || until == 0 || latest == 0)
        return a->now;
    if (stop < latest)
        stop = latest;
    return a->now < stop ? a->now : stop;
}

/* The times that the model sees. Between a visit whose time is not known and one of now lie no fifty
 * years: where a time is not known, no time is said to have passed (hd_fill_times). */
static void settle_times(struct hd_asking *a, heed_time until)
{
    heed_time latest = 0;

    for (int64_t e = 0; e < a->count; e++)
        latest = a->when[e] != 0 ? a->when[e] : latest;
    a->model_now = clock_of_model(a, until, latest);
    if (latest == 0) {
        a->time = NULL;
        return;
    }
    memcpy(a->time, a->when, (size_t)a->count * sizeof *a->time);
    hd_fill_times(a->time, a->count, a->model_now);
}

heed_status hd_asking_init(struct hd_asking *asking, heed_engine *engine, const char *user,
                           const struct hd_asking_opts *opts, hd_arena *arena)
{
    struct hd_asking a = {.user = -1, .trouble = ""};
    struct hd_kept *gone = NULL;

    a.now = opts->at ? opts->at : hd_clock_now(&engine->clock);
    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_items_take(engine, &a.items);
    if (status == HEED_OK)
        status = hd_model_take(engine, &a.model);
    if (status == HEED_OK)
        status = hd_model_fits(a.model, a.items->catalogue.items);
    if (status == HEED_OK && !a.model) {
        a.trouble = hd_arena_strdup(arena, engine->model_trouble);
        if (!a.trouble)
            status = hd_fail(HEED_E_NOMEM, "feed: no memory");
    }
    if (status == HEED_OK)
        status = read_user(&a, engine, user, opts, arena);
    if (status == HEED_OK && !engine->kept_fresh)
        status = hd_engine_forget_erased(engine, &gone);
    a.as_of = engine->kept.forgotten;
    settle_times(&a, engine->model_until);
    hd_engine_unlock(engine);
    hd_kept_free(gone);
    *asking = a;
    return status;
}

void hd_asking_clear(struct hd_asking *asking)
{
    hd_model_drop(asking->model);
    hd_items_drop(asking->items);
    *asking = (struct hd_asking){0};
}

double hd_log_sum_exp(const float *scores, int64_t items)
{
    double highest = -HUGE_VAL, sum = 0;

    for (int64_t i = 0; i < items; i++)
        if ((double)scores[i] > highest)
            highest = (double)scores[i];
    for (int64_t i = 0; i < items; i++)
        sum += exp((double)scores[i] - highest);
    return highest + log(sum);
}

void hd_stand(const float *scores, int64_t items, const uint8_t *out, int32_t target,
              struct hd_standing *standing)
{
    float own = scores[target];
    int64_t rank = 1;

    for (int64_t i = 0; i < items; i++)
        rank += !out[i] && !(scores[i] < own) && i != target;
    standing->rank = rank;
    standing->log_probability = (double)own - hd_log_sum_exp(scores, items);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what a request needs, and standing: the place of one item among scores. */
#include "engine/asking.h"
#include "acquire/event.h"
#include "base/time.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The kinds after which an item does not come back: it was attended to, or turned away. */
#define KINDS_AWAY                                                             \
    (HD_KINDS_ATTENTION | HD_KIND(HD_EVENT_DISLIKE) | HD_KIND(HD_EVENT_HIDE) | \
     HD_KIND(HD_EVENT_REPORT))

static bool is_attention(uint8_t kind)
{
    return (HD_KINDS_ATTENTION >> kind & 1) != 0;
}

/* From events of all the kinds above, the visits that the model is asked with. */
static heed_status keep_visits(struct hd_asking *a, const struct hd_store_history *events,
                               const struct hd_asking_opts *opts, hd_arena *arena)
{
    int64_t known = a->model ? a->model->config->items : INT64_MAX, count = 0;
    bool timed = false;

    a->item = hd_arena_alloc(arena, (size_t)events->count, sizeof *a->item);
    a->time = hd_arena_alloc(arena, (size_t)events->count, sizeof *a->time);
    if (!a->item || !a->time)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " events", events->count);
    for (int64_t e = 0; e < events->count; e++) {
        if (!is_attention(events->kind[e]) || events->item[e] >= known ||
            (opts->at != 0 && events->time[e] > opts->at))
            continue;
        a->item[count] = events->item[e];
        a->time[count++] = events->time[e];
        timed = timed || events->time[e] != 0;
    }
    a->count = hd_fold_visits(a->item, a->time, NULL, count);
    if (!timed)
        a->time = NULL;
    return HEED_OK;
}

static heed_status read_user(struct hd_asking *a, heed_engine *engine, const char *user,
                             const struct hd_asking_opts *opts, hd_arena *arena)
{
    struct hd_store_history events = {0};

    HD_TRY(hd_store_find_user(engine->store, user, strlen(user), &a->user));
    if (a->user >= 0)
        HD_TRY(hd_store_load_history(engine->store, a->user, KINDS_AWAY, 0, arena, &events));
    HD_TRY(keep_visits(a, &events, opts, arena));

    a->away = hd_arena_alloc(arena, (size_t)(events.count + opts->exclude_count), sizeof *a->away);
    if (!a->away)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for %" PRId64 " events", events.count);
    if (events.count > 0)
        memcpy(a->away, events.item, (size_t)events.count * sizeof *a->away);
    a->away_count = events.count;
    for (int i = 0; i < opts->exclude_count; i++) {
        const char *id = opts->exclude[i];
        int32_t item;
        HD_TRY(hd_store_find_item(engine->store, id, strlen(id), &item));
        if (item >= 0)
            a->away[a->away_count++] = item;
    }
    return HEED_OK;
}

/* A model has learned what a pause of a day does, not one of ten years. Where all of its data is
 * old (an archive, a demo, a store that was left alone), now is so far from every event that the
 * time bias speaks of spans it never met. So for the model the clock stops a week after the latest
 * event that it learned from, or at the reader's own latest. Where events keep coming in this
 * changes nothing. */
#define QUIET_MS_MAX (INT64_C(7) * 86400000)

static heed_time clock_of_model(const struct hd_asking *a, heed_time until)
{
    heed_time stop;

    if (!a->model || until == 0 || !a->time || a->count == 0)
        return a->now;
    stop = until + QUIET_MS_MAX;
    if (stop < a->time[a->count - 1])
        stop = a->time[a->count - 1];
    return a->now < stop ? a->now : stop;
}

heed_status hd_asking_init(struct hd_asking *asking, heed_engine *engine, const char *user,
                           const struct hd_asking_opts *opts, hd_arena *arena)
{
    struct hd_asking a = {.user = -1, .trouble = ""};

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
    a.model_now = clock_of_model(&a, engine->model_until);
    hd_engine_unlock(engine);
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

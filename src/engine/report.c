/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention taken, by group: the walks over the events, and the report as JSON. What of it may be told
 * is decided in acquire/report.h. Both walks see one state of the store, so that the second one counts
 * the readers of exactly the events that the first one has summed. */
#include "acquire/event.h"
#include "acquire/report.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/time.h"
#include "engine/answers.h"
#include "engine/keep.h"
#include "engine/text.h"
#include "heed/operate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_EVENTS 65536 /* between two looks at the caller: some ten milliseconds */
#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define WEEK_HOURS (7 * 24)
#define EPOCH_HOUR (3 * 24) /* of the week, from Monday: 1970 began on a Thursday */

enum by { BY_TAG, BY_AUTHOR, BY_ITEM, BY_KIND, BY_DAY, BY_HOUR, BYS };
static const char *const by_names[BYS] = {"tag", "author", "item", "kind", "day", "hour"};

struct reporting {
    heed_engine *engine;
    hd_store *store;
    const heed_report_opts *opts;
    enum by by;
    uint32_t counted, looked_at; /* kinds: the events; these, and impressions beside them */
    heed_time from, to;          /* of the walk */
    struct hd_items *items;      /* by tag and author, as below */
    bool *is_group;              /* of a topic */
    int32_t topics;              /* and the group of items that have none */
    hd_map *days;                /* numbers of days since 1970, as int64_t, to groups */
    struct hd_report report;
    struct hd_report_cut cut;
    bool again; /* the second walk */
    int64_t walked;
};

/* ---- what is asked for */

static heed_status check_by(const heed_report_opts *opts, enum by *by)
{
    for (int i = 0; opts->by && i < BYS; i++)
        if (strcmp(opts->by, by_names[i]) == 0) {
            *by = (enum by)i;
            return HEED_OK;
        }
    return hd_fail(HEED_E_ARG, "by: \"%.40s\" is not tag, author, item, kind, day or hour",
                   opts->by ? opts->by : "");
}

static heed_status check_opts(const heed_report_opts *opts)
{
    if (opts->k != 0 && (opts->k < HD_REPORT_READERS_LEAST || opts->k > HD_REPORT_READERS_MAX))
        return hd_fail(HEED_E_ARG, "k: %" PRId64 " is not %d to %d", opts->k,
                       HD_REPORT_READERS_LEAST, HD_REPORT_READERS_MAX);
    if (opts->n < 0 || opts->n > HD_REPORT_GROUPS_MAX)
        return hd_fail(HEED_E_ARG, "n: %d is not 1 to %d", opts->n, HD_REPORT_GROUPS_MAX);
    if (opts->to != 0 && opts->to <= opts->from)
        return hd_fail(HEED_E_ARG, "to: is not after from");
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i])
            return hd_fail(HEED_E_ARG, "report: a reserved option is set");
    return HEED_OK;
}

static heed_status understand(struct reporting *r)
{
    const heed_report_opts *o = r->opts;
    int kind = o->kind ? hd_event_kind_find(o->kind, strlen(o->kind)) : 0;

    HD_TRY(check_by(o, &r->by));
    HD_TRY(check_opts(o));
    if (kind < 0)
        return hd_fail(HEED_E_ARG, "kind: there is no \"%.40s\"", o->kind);
    r->counted = o->kind ? HD_KIND(kind) : HD_KINDS_ATTENTION;
    /* By kind, impressions would be a group of their own beside the others' column. */
    r->looked_at = r->by == BY_KIND ? r->counted : r->counted | HD_KIND(HD_EVENT_IMPRESSION);
    bool timed = o->from != 0 || o->to != 0 || r->by == BY_DAY || r->by == BY_HOUR;
    r->from = o->from > 1 ? o->from : timed;
    r->to = o->to != 0 ? o->to : INT64_MAX;
    return HEED_OK;
}

/* ---- groups */

/* Topics are tags and authors in one row of numbers, which grows under the engine's lock. */
static heed_status take_topics(struct reporting *r)
{
    heed_engine *engine = r->engine;
    char wanted = r->by == BY_TAG ? 't' : 'a', mark;

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_items_take(engine, &r->items);
    if (status == HEED_OK) {
        r->topics = hd_items_topics(r->items);
        r->is_group = hd_alloc((size_t)r->topics + 1, sizeof *r->is_group);
        if (!r->is_group)
            status = hd_fail(HEED_E_NOMEM, "report: no memory for %" PRId32 " topics", r->topics);
    }
    for (int32_t t = 0; status == HEED_OK && t < r->topics; t++) {
        hd_items_topic_name(r->items, t, &mark);
        r->is_group[t] = mark == wanted;
    }
    pthread_mutex_unlock(&engine->lock);
    return status;
}

static heed_status count_in(struct reporting *r, const struct hd_event_look *look, int32_t group)
{
    if (r->again) {
        hd_report_cut_see(&r->cut, look->user, group);
        return HEED_OK;
    }
    bool counts = r->counted & HD_KIND(look->kind);
    struct hd_report_sum one = {.events = counts,
                                .impressions = look->kind == HD_EVENT_IMPRESSION,
                                .dwell_ms = counts ? look->dwell_ms : 0};
    return hd_report_add(&r->report, look->user, group, &one);
}

/* An item that came after the items were taken counts among those of which nothing is said. */
static heed_status count_topics(struct reporting *r, const struct hd_event_look *look)
{
    const struct hd_catalogue *c = &r->items->catalogue;
    bool has_one = false;

    for (int32_t i = 0; look->item < c->items && i < c->topic_count[look->item]; i++) {
        int32_t topic = c->topic[look->item][i];
        if (!r->is_group[topic])
            continue;
        has_one = true;
        HD_TRY(count_in(r, look, topic));
    }
    return has_one ? HEED_OK : count_in(r, look, r->topics);
}

static heed_status count_day(struct reporting *r, const struct hd_event_look *look)
{
    int64_t day = look->ts / DAY_MS;
    int32_t group;

    HD_TRY(hd_map_add(r->days, (const char *)&day, sizeof day, &group, NULL));
    return count_in(r, look, group);
}

static heed_status tell(struct reporting *r)
{
    const heed_progress *p = &r->opts->progress;

    if (++r->walked % PROGRESS_EVENTS == 0 && p->report &&
        !p->report(p->context, r->again ? "readers of events" : "events", r->walked, 0))
        return hd_fail(HEED_E_CANCELLED, "report: stopped");
    return HEED_OK;
}

static heed_status on_event(void *context, const struct hd_event_look *look)
{
    struct reporting *r = context;

    HD_TRY(tell(r));
    switch (r->by) {
    case BY_TAG:
    case BY_AUTHOR:
        return count_topics(r, look);
    case BY_ITEM:
        return count_in(r, look, look->item);
    case BY_KIND:
        return count_in(r, look, look->kind);
    case BY_DAY:
        return count_day(r, look);
    default:
        return count_in(r, look, (int32_t)((look->ts / HOUR_MS + EPOCH_HOUR) % WEEK_HOURS));
    }
}

static heed_status count_all(struct reporting *r)
{
    const heed_report_opts *o = r->opts;

    HD_TRY(hd_store_walk_by_user(r->store, r->looked_at, r->from, r->to, on_event, r));
    HD_TRY(hd_report_cut(&r->report, o->k ? o->k : HD_REPORT_READERS_LEAST,
                         o->n ? o->n : HD_REPORT_GROUPS_DEFAULT, &r->cut));
    if (!r->cut.needs_readers)
        return HEED_OK;
    r->again = true;
    r->walked = 0;
    HD_TRY(hd_store_walk_by_user(r->store, r->counted, r->from, r->to, on_event, r));
    hd_report_cut_end(&r->report, &r->cut);
    return HEED_OK;
}

/* ---- lines */

static int64_t day_of(const struct reporting *r, int32_t group)
{
    int64_t day;

    memcpy(&day, hd_map_text(r->days, group, NULL), sizeof day);
    return day;
}

static heed_status put_name(struct reporting *r, struct hd_json_writer *w, hd_arena *arena,
                            int32_t group)
{
    char text[HD_TIME_TEXT_BYTES], mark;
    struct hd_item_row item;

    switch (r->by) {
    case BY_TAG:
    case BY_AUTHOR:
        pthread_mutex_lock(&r->engine->lock);
        hd_json_put_text(w, "group", group < r->topics
                                         ? hd_items_topic_name(r->items, group, &mark)
                                         : NULL);
        pthread_mutex_unlock(&r->engine->lock);
        return HEED_OK;
    case BY_ITEM:
        hd_arena_reset(arena);
        HD_TRY(hd_store_get_item(r->store, group, arena, &item));
        hd_json_put_text(w, "group", item.id);
        return HEED_OK;
    case BY_KIND:
        hd_json_put_text(w, "group", hd_event_kind_name((enum hd_event_kind)group));
        return HEED_OK;
    case BY_DAY:
        hd_time_format(day_of(r, group) * DAY_MS, text);
        hd_json_put_text_bytes(w, "group", text, strlen("2026-11-26"));
        return HEED_OK;
    default:
        snprintf(text, sizeof text, "%" PRId32, group);
        hd_json_put_text(w, "group", text);
        return HEED_OK;
    }
}

static void put_sum(struct hd_json_writer *w, const struct hd_report_sum *s, int64_t events)
{
    hd_json_put_int(w, "readers", s->readers);
    hd_json_put_int(w, "events", s->events);
    hd_json_put_int(w, "impressions", s->impressions);
    hd_json_put_int(w, "dwell_ms", s->dwell_ms);
    hd_put_rounded(w, "share", events > 0 ? (double)s->events / (double)events : 0, 6);
}

static void put_time(struct hd_json_writer *w, const char *key, heed_time time)
{
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(time, text);
    hd_json_put_text(w, key, time ? text : NULL);
}

struct moment {
    int64_t when;
    int32_t group;
};

static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    return (x->when > y->when) - (x->when < y->when);
}

/* What is shown was chosen by readers; days and hours are read in the order of time. */
static void sort_by_time(struct reporting *r)
{
    struct moment moment[HD_REPORT_GROUPS_MAX];

    for (int64_t i = 0; i < r->cut.shown; i++) {
        int32_t group = r->cut.order[i];
        moment[i] = (struct moment){r->by == BY_DAY ? day_of(r, group) : group, group};
    }
    qsort(moment, (size_t)r->cut.shown, sizeof *moment, compare_moments);
    for (int64_t i = 0; i < r->cut.shown; i++)
        r->cut.order[i] = moment[i].group;
}

static heed_status put_lines(struct reporting *r, struct hd_json_writer *w, hd_arena *arena)
{
    const struct hd_report_cut *c = &r->cut;
    int64_t events = c->has_other ? c->other.events : 0;

    for (int64_t i = 0; i < c->shown; i++)
        events += r->report.group[c->order[i]].sum.events;
    hd_json_begin_array(w, "groups");
    for (int64_t i = 0; i < c->shown; i++) {
        hd_json_begin_object(w, NULL);
        HD_TRY(put_name(r, w, arena, c->order[i]));
        put_sum(w, &r->report.group[c->order[i]].sum, events);
        hd_json_end(w);
    }
    hd_json_end(w);
    if (c->has_other) {
        hd_json_begin_object(w, "other");
        put_sum(w, &c->other, events);
        hd_json_end(w);
    }
    return HEED_OK;
}

static heed_status put_report(struct reporting *r, struct hd_json_writer *w, hd_arena *arena)
{
    if (r->by == BY_DAY || r->by == BY_HOUR)
        sort_by_time(r);
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "by", by_names[r->by]);
    put_time(w, "from", r->opts->from);
    put_time(w, "to", r->opts->to);
    hd_json_put_text(w, "kind", r->opts->kind);
    hd_json_put_int(w, "k", r->cut.k);
    HD_TRY(put_lines(r, w, arena));
    hd_json_put_bool(w, "withheld", r->cut.visible < r->cut.count);
    hd_json_end(w);
    return HEED_OK;
}

/* ---- the call */

static heed_status prepare(struct reporting *r)
{
    if (r->by == BY_TAG || r->by == BY_AUTHOR)
        HD_TRY(take_topics(r));
    if (r->by == BY_DAY && !(r->days = hd_map_new(0)))
        return hd_fail(HEED_E_NOMEM, "report: no memory");
    return hd_open_beside(r->engine, &r->store);
}

static heed_status make_report(struct reporting *r, struct hd_json_writer *w)
{
    hd_arena *arena = NULL;
    bool own = false;

    HD_TRY(prepare(r));
    HD_TRY(hd_desk_take(r->engine, &arena));
    heed_status status = hd_store_begin_reading(r->store, &own);
    if (status == HEED_OK)
        status = count_all(r);
    if (status == HEED_OK)
        status = put_report(r, w, arena);
    hd_store_end_reading(r->store, own);
    hd_desk_return(r->engine, arena);
    return status;
}

heed_status heed_engine_report(heed_engine *engine, const heed_report_opts *opts, heed_text **out)
{
    static const heed_report_opts none;
    struct reporting r = {.engine = engine, .opts = opts ? opts : &none};
    struct hd_json_writer w = {0};

    HD_TRY(understand(&r));
    heed_status status = make_report(&r, &w);
    if (status == HEED_OK)
        status = hd_text_take(&w, out);
    hd_json_clear(&w);
    hd_report_cut_clear(&r.cut);
    hd_report_clear(&r.report);
    hd_store_close(r.store);
    hd_map_free(r.days);
    hd_free(r.is_group);
    hd_items_drop(r.items);
    return status;
}

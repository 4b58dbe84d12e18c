/* SPDX-License-Identifier: Apache-2.0
 *
 * Why an item stands in a page, for whoever asks to have it explained: a sentence for each, made of what
 * decided and of nothing else, and, where the model has learned something of the item and placed it, the
 * events of the reader's that spoke for it. Only those are called reasons. */
#include "base/time.h"
#include "engine/feeding.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define REASONS_MAX 5 /* of one item: what a reader can take in */
#define NAMES_MAX 3   /* of tags and authors in one sentence */
#define WHY_BYTES_MAX (NAMES_MAX * (HD_ID_BYTES_MAX + 16) + 512)

struct sentence {
    char text[WHY_BYTES_MAX];
    size_t used;
};

static void add(struct sentence *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct sentence *s, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int bytes = vsnprintf(s->text + s->used, sizeof s->text - s->used, fmt, args);
    va_end(args);
    assert(bytes >= 0 && (size_t)bytes < sizeof s->text - s->used);
    s->used += (size_t)bytes;
}

/* The topics of the item that are among these, which rise. */
static void add_names(const struct hd_feeding *f, struct sentence *s, int32_t item,
                      const int32_t *topic, int64_t count)
{
    const struct hd_items *items = f->asking.items;
    const int32_t *own = items->catalogue.topic[item];
    int64_t owns = items->catalogue.topic_count[item], met = 0;

    pthread_mutex_lock(&f->engine->lock);
    for (int64_t i = 0, j = 0; i < owns && j < count;) {
        int32_t a = own[i], b = topic[j];
        i += a <= b;
        j += b <= a;
        if (a != b || ++met > NAMES_MAX)
            continue;
        char mark;
        const char *name = hd_items_topic_name(items, a, &mark);
        add(s, "%s%s \"%s\"", met > 1 ? ", " : "", mark == 'a' ? "author" : "tag", name);
    }
    pthread_mutex_unlock(&f->engine->lock);
    if (met > NAMES_MAX)
        add(s, " and %" PRId64 " more", met - NAMES_MAX);
}

/* ---- by policy */

static void say_content(const struct hd_feeding *f, struct sentence *s, int32_t item)
{
    if (f->asking.items->catalogue.topic_count[item] > 0)
        add(s, "the model has learned nothing of it yet and placed it where items of its tags and author stand");
    else
        add(s, "the model has learned nothing of it yet, and without tags or an author it stands where an "
               "unknown item would");
}

/* What the allowances of candidates.c are for. */
static void say_allowances(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick)
{
    const struct hd_asking *a = &f->asking;

    if (a->follows > 0 && hd_topics_meet(&a->items->catalogue, pick.item, a->follow, a->follows)) {
        add(s, "; this reader follows its ");
        add_names(f, s, pick.item, a->follow, a->follows);
    }
    if (pick.source == HD_SOURCE_FRESH)
        add(s, "; it is among the latest to have come in");
    if (pick.source == HD_SOURCE_TRENDING)
        add(s, "; it is looked at in the last day more than in the two weeks before");
}

static void say_sequence(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick,
                         const heed_feed_item *item)
{
    int64_t length = f->asking.model->config->length, count = f->visits.count;

    if (hd_retrieval_is_cold(f->table->retrieval, pick.item))
        say_content(f, s, pick.item);
    else
        add(s, "the model placed it by this reader's latest %" PRId64 " visits%s",
            count < length ? count : length, item->reason_count > 0 ? "" : ", none of which spoke for it");
    say_allowances(f, s, pick);
}

static void say_similar(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick)
{
    const struct hd_catalogue *c = &f->asking.items->catalogue;

    if (f->seat && hd_retrieval_is_cold(f->table->retrieval, pick.item)) {
        say_content(f, s, pick.item);
    } else if (f->seat) {
        add(s, "the model placed it by the item asked for alone");
    } else {
        add(s, "it shares with the item asked for: ");
        add_names(f, s, pick.item, c->topic[f->like], c->topic_count[f->like]);
    }
}

static void say_charts(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick)
{
    bool counted = pick.item < f->popular->items && f->popular->popular[pick.item] > 0;

    if (!counted)
        add(s, "nothing that still counts was done with it; it fills the page");
    else if (pick.source == HD_SOURCE_POPULAR)
        add(s, "what all readers did with it, recent events counting more, adds up to %.3g events",
            (double)pick.score);
    else if (pick.score > 0)
        add(s, "it is looked at in the last day more than in the two weeks before, by %.3g standard deviations",
            (double)pick.score);
    else
        add(s, "it is not looked at more than in the two weeks before; it fills the page");
}

static void say_fresh(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick)
{
    heed_time created = f->asking.items->catalogue.created[pick.item];
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(created, text);
    if (created != 0)
        add(s, "it was created at %s", text);
    else
        add(s, "when it was created is not known; it stands behind those of which it is, the latest to come in first");
}

static void say_why(const struct hd_feeding *f, struct sentence *s, struct hd_pick pick,
                    const heed_feed_item *item)
{
    if (pick.source == HD_SOURCE_EXPLORE)
        add(s, "it was drawn by chance from what stood behind the page, so that what was never tried is");
    else if (f->like >= 0)
        say_similar(f, s, pick);
    else if (f->seat)
        say_sequence(f, s, pick, item);
    else if (pick.source == HD_SOURCE_FRESH)
        say_fresh(f, s, pick);
    else
        say_charts(f, s, pick);
}

/* ---- reasons */

/* Those that the row by which it was scored knows of. What chance has put there none of them brought. */
static bool has_reasons(const struct hd_feeding *f, struct hd_pick pick)
{
    return f->seat && f->like < 0 && pick.source != HD_SOURCE_EXPLORE &&
           !hd_retrieval_is_cold(f->table->retrieval, pick.item);
}

/* The catalogue may be gone before the answer is. */
static heed_status keep_names(struct hd_feeding *f, heed_reason *reason, int count)
{
    for (int i = 0; i < count; i++) {
        const char *title = reason[i].title;
        reason[i].item = hd_arena_strdup(f->arena, reason[i].item);
        reason[i].title = title ? hd_arena_strdup(f->arena, title) : NULL;
        if (!reason[i].item || (title && !reason[i].title))
            return hd_fail(HEED_E_NOMEM, "feed: no memory for reasons");
    }
    return HEED_OK;
}

/* The strongest events that spoke for the item. What spoke against it is no reason to show it;
 * heed_engine_explain() tells of both. */
static heed_status give_reasons(struct hd_feeding *f, heed_feed_item *item, int32_t target)
{
    const struct hd_ask *a = &f->visits;
    const struct hd_catalogue *c = &f->asking.items->catalogue;
    double *contribution = hd_arena_alloc(f->desk, (size_t)a->count, sizeof *contribution);
    heed_reason *reason = hd_arena_zalloc(f->arena, REASONS_MAX, sizeof *reason);
    int count = 0;

    if (!contribution || !reason)
        return hd_fail(HEED_E_NOMEM, "feed: no memory for reasons");
    HD_TRY(hd_sequence_attribute(f->seat->reader, a->items, a->times, a->count, a->now, target,
                                 contribution, NULL));
    for (int64_t e = a->count - 1; e >= 0; e--) {
        double own = contribution[e];
        if (!(own > 0) || (count == REASONS_MAX && own <= reason[count - 1].contribution))
            continue;
        int at = count < REASONS_MAX ? count++ : count - 1;
        for (; at > 0 && own > reason[at - 1].contribution; at--)
            reason[at] = reason[at - 1];
        reason[at] = (heed_reason){.item = c->id[a->items[e]],
                                   .title = c->title[a->items[e]],
                                   .contribution = own,
                                   .when = f->asking.when[e]};
    }
    HD_TRY(keep_names(f, reason, count));
    item->reasons = reason;
    item->reason_count = count;
    return HEED_OK;
}

heed_status hd_feed_why(struct hd_feeding *f, struct hd_pick pick, heed_feed_item *item)
{
    struct sentence s = {.used = 0};

    if (has_reasons(f, pick))
        HD_TRY(give_reasons(f, item, pick.item));
    say_why(f, &s, pick, item);
    item->why = hd_arena_strdup(f->arena, s.text);
    return item->why ? HEED_OK : hd_fail(HEED_E_NOMEM, "feed: no memory for reasons");
}

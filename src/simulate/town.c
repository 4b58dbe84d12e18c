/* SPDX-License-Identifier: Apache-2.0
 *
 * The town as it goes on (see town.h): who comes next, what the paper prints, what is looked at.
 * Readers' inner life is reader.h's; here is where readers and items meet.
 *
 * Whether an item is looked at is one throw with probability
 *
 *     sigmoid(-1.9 + 4.4 aligned + 0.9 (hour - 1) + 1.2 goes-on + 0.8 (quality - 0.6)
 *             - 0.12 (position - 1) - fatigue - 0.5 met - 3 read)
 *
 * aligned: the item's topics against the interests, 1 for the topic cared about most; hour: how
 * much its topic is read at this hour, 1 on average; goes-on: the next part of a series being
 * followed; met: how often it was shown before, unread. So what comes next depends on the last item
 * of each thread, not only on the very last item, and on the hour and the wait: a first-order chain
 * sees the part of it that happens not to be interleaved, popularity sees next to nothing. */
#include "simulate/town.h"
#include "simulate/exact.h"
#include "simulate/pairs.h"
#include "simulate/reader.h"
#include "simulate/words.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define START_MS INT64_C(1772409600000) /* 2026-03-02T00:00:00Z, a Monday */
#define RECENT 4096 /* views from which the town's own paper takes what is popular */
#define MET_MAX 15
#define READ_BIT 0x80

struct hd_town {
    heed_simulate_opts opts;
    struct hd_catalogue catalogue;
    struct hd_reader *readers;    /* (users) */
    int32_t *visits;              /* (users): heap, the next to come on top */
    struct hd_town_event *events; /* heap, the earliest on top */
    int64_t event_count, event_room;
    uint64_t made; /* events */
    struct hd_pairs met;
    int32_t *recent; /* (RECENT): items viewed last, a ring */
    int64_t viewed;
    int32_t guest; /* whose visit was given out and not shown yet; -1: nobody's */
};

/* ---- heaps */
static bool visit_before(const hd_town *town, int32_t a, int32_t b)
{
    heed_time x = town->readers[a].next, y = town->readers[b].next;

    return x != y ? x < y : a < b;
}

/* Puts visits[i] where it belongs below it. */
static void sift_visit(hd_town *town, int64_t i)
{
    int64_t n = town->opts.users;
    int32_t reader = town->visits[i];

    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && visit_before(town, town->visits[child + 1], town->visits[child]))
            child++;
        if (!visit_before(town, town->visits[child], reader))
            break;
        town->visits[i] = town->visits[child];
    }
    town->visits[i] = reader;
}

static bool event_before(const struct hd_town_event *a, const struct hd_town_event *b)
{
    return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static void push_event(hd_town *town, struct hd_town_event event)
{
    int64_t i = town->event_count++;

    assert(town->event_count <= town->event_room);
    event.order = town->made++;
    for (int64_t parent; i > 0 && event_before(&event, &town->events[parent = (i - 1) / 2]);
         i = parent)
        town->events[i] = town->events[parent];
    town->events[i] = event;
}

static struct hd_town_event pop_event(hd_town *town)
{
    struct hd_town_event top = town->events[0], last = town->events[--town->event_count];
    int64_t i = 0, n = town->event_count;

    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && event_before(&town->events[child + 1], &town->events[child]))
            child++;
        if (!event_before(&town->events[child], &last))
            break;
        town->events[i] = town->events[child];
    }
    town->events[i] = last;
    return top;
}

/* ---- a town */
heed_status hd_town_new(const heed_simulate_opts *opts, hd_town **out)
{
    heed_simulate_opts o = *opts;
    hd_town *town;
    heed_status status;

    o.users = o.users ? o.users : 300, o.items = o.items ? o.items : 200;
    o.events = o.events ? o.events : 20000, o.days = o.days ? o.days : 30;
    o.start = o.start ? o.start : START_MS;
    if (o.users < 1 || o.users > 1000000)
        return hd_fail(HEED_E_ARG, "simulate: users is %lld, not 1 to 1000000", (long long)o.users);
    if (o.items < 1 || o.items > 1000000)
        return hd_fail(HEED_E_ARG, "simulate: items is %lld, not 1 to 1000000", (long long)o.items);
    if (o.events < 1 || o.events > INT64_C(1) << 40)
        return hd_fail(HEED_E_ARG, "simulate: events is %lld, not 1 to 2^40", (long long)o.events);
    if (o.days < 1 || o.days > 36500)
        return hd_fail(HEED_E_ARG, "simulate: days is %lld, not 1 to 36500", (long long)o.days);
    if (o.start < 0 || o.start > INT64_C(1) << 47)
        return hd_fail(HEED_E_ARG, "simulate: start is %lld ms, not in 1970 to 6429",
                       (long long)o.start);
    for (size_t i = 0; i < sizeof o.reserved / sizeof *o.reserved; i++)
        if (o.reserved[i])
            return hd_fail(HEED_E_ARG, "simulate: reserved field %zu is set", i);

    if (!(town = hd_alloc(1, sizeof *town)))
        return hd_fail(HEED_E_NOMEM, "simulate: no memory for a town");
    town->opts = o, town->guest = -1;
    status = hd_catalogue_init(&town->catalogue, o.seed, o.items, o.start, o.days);
    if (status != HEED_OK)
        goto failed;
    town->readers = hd_alloc((size_t)o.users, sizeof *town->readers);
    town->visits = hd_alloc((size_t)o.users, sizeof *town->visits);
    town->recent = hd_alloc(RECENT, sizeof *town->recent);
    if (!town->readers || !town->visits || !town->recent) {
        status = hd_fail(HEED_E_NOMEM, "simulate: no memory for %lld readers", (long long)o.users);
        goto failed;
    }
    for (int64_t i = 0; i < o.users; i++) {
        hd_reader_init(&town->readers[i], &o, i, &town->catalogue);
        hd_reader_plan(&town->readers[i]);
        town->visits[i] = (int32_t)i;
    }
    for (int64_t i = o.users / 2; i-- > 0;)
        sift_visit(town, i);
    *out = town;
    return HEED_OK;
failed:
    hd_town_free(town);
    return status;
}

void hd_town_free(hd_town *town)
{
    if (!town)
        return;
    hd_catalogue_clear(&town->catalogue);
    hd_pairs_clear(&town->met);
    hd_free(town->readers), hd_free(town->visits);
    hd_free(town->events), hd_free(town->recent);
    hd_free(town);
}

int64_t hd_town_readers(const hd_town *town)
{
    return town->opts.users;
}

int64_t hd_town_items(const hd_town *town)
{
    return town->opts.items;
}

const struct hd_town_item *hd_town_item(const hd_town *town, int64_t item)
{
    assert(item >= 0 && item < town->opts.items);
    return &town->catalogue.items[item];
}

const char *hd_town_subject(const hd_town *town, int64_t item)
{
    const struct hd_town_item *it = hd_town_item(town, item);

    return hd_town_words[it->topic].tags[it->subject];
}

void hd_town_author(int32_t author, char *name)
{
    uint64_t hash = hd_mix64((uint64_t)author);
    uint64_t first = ((uint64_t)author + hash) % HD_TOWN_NAMES;

    snprintf(name, HD_TOWN_AUTHOR_BYTES, "%s %s", hd_town_first_names[first],
             hd_town_last_names[(uint64_t)author / 2 % HD_TOWN_NAMES]);
}

void hd_town_text(const hd_town *town, int64_t item, char *text)
{
    const struct hd_town_item *it = hd_town_item(town, item);
    const struct hd_town_words *words = &hd_town_words[it->topic];
    int near = words->near[item & 1];
    char author[HD_TOWN_AUTHOR_BYTES];

    hd_town_author(it->author, author);
    snprintf(text, HD_TOWN_TEXT_BYTES,
             "%s writes on %s, %s and %s, with a word on the %s near %s. %s", author,
             words->tags[it->subject], words->tags[(it->subject + 3) % HD_TOWN_SUBJECTS],
             hd_town_words[near].tags[item % HD_TOWN_SUBJECTS], words->topic,
             hd_town_places[hd_mix64((uint64_t)item) % HD_TOWN_PLACES],
             it->next >= 0  ? "To be continued."
             : it->part > 1 ? "The last part."
                            : "A story of one evening.");
}

void hd_town_interests(const hd_town *town, int32_t reader, double *interests)
{
    hd_reader_interests(&town->readers[reader], interests);
}

/* ---- what the paper prints */
static uint64_t pair_of(int32_t reader, int32_t item)
{
    return ((uint64_t)reader << 32 | (uint32_t)item) + 1;
}

static bool is_read(const hd_town *town, int32_t reader, int32_t item)
{
    return hd_pairs_get(&town->met, pair_of(reader, item)) & READ_BIT;
}

static bool on_page(const int32_t *items, int n, int32_t item)
{
    for (int i = 0; i < n; i++)
        if (items[i] == item)
            return true;
    return false;
}

/* What the reader would go looking for in a thread: the next part, or something of its topic,
 * rather new than old and rather of the same subject. -1: nothing that is new to the reader. */
static int32_t follow(const hd_town *town, struct hd_reader *reader, int32_t number,
                      const struct hd_thread *thread, heed_time when, const int32_t *items, int n)
{
    const struct hd_catalogue *c = &town->catalogue;
    int64_t count = hd_catalogue_topic_published(c, thread->topic, when);
    int32_t next = thread->item >= 0 ? c->items[thread->item].next : -1;

    if (next >= 0 && c->items[next].created <= when && !is_read(town, number, next) &&
        !on_page(items, n, next) && hd_random_unit(&reader->house) < 0.75)
        return next;
    for (int attempt = 0; count && attempt < 24; attempt++) {
        double u = hd_random_unit(&reader->house);
        int64_t back = (int64_t)(u * (0.3 + 0.7 * u) * (double)count);
        int32_t item = c->by_topic[c->topic_from[thread->topic] + count - 1 - back];
        const struct hd_town_item *it = &c->items[item];
        bool akin = thread->item >= 0 && c->items[thread->item].subject == it->subject;
        double chance = (double)it->quality * (akin ? 1.0 : 0.4);

        /* Nobody begins a series in the middle. */
        if (it->part > 1)
            chance *= 0.15;
        if (hd_random_unit(&reader->house) < chance && !is_read(town, number, item) &&
            !on_page(items, n, item))
            return item;
    }
    return -1;
}

/* What others look at, or what has just come out, or anything. */
static int32_t editors_choice(const hd_town *town, struct hd_reader *reader, int64_t published)
{
    double what = hd_random_unit(&reader->house);
    int64_t recent = town->viewed < RECENT ? town->viewed : RECENT;

    if (what < 0.5 && recent)
        return town->recent[hd_random_below(&reader->house, (uint64_t)recent)];
    if (what < 0.9) {
        int64_t fresh = published / 20 > 10 ? published / 20 : published < 10 ? published : 10;
        return (int32_t)(published - 1 - (int64_t)hd_random_below(&reader->house, (uint64_t)fresh));
    }
    return (int32_t)hd_random_below(&reader->house, (uint64_t)published);
}

int hd_town_pick(hd_town *town, const struct hd_town_visit *visit, int n, int32_t *items)
{
    struct hd_reader *reader = &town->readers[visit->reader];
    struct hd_thread threads[HD_READER_THREADS];
    int64_t published = hd_catalogue_published(&town->catalogue, visit->when);
    int count = 0;

    memcpy(threads, reader->threads, sizeof threads);
    n = n < HD_TOWN_PAGE_MAX ? n : HD_TOWN_PAGE_MAX;
    if (!published)
        return 0;
    for (int place = 0; place < n; place++) {
        int32_t item = -1;

        if (hd_random_unit(&reader->house) < 0.8) {
            double weights[HD_READER_THREADS];
            for (int j = 0; j < HD_READER_THREADS; j++)
                weights[j] = (double)threads[j].heat *
                             (0.1 + hd_topic_rhythm(threads[j].topic, visit->when));
            struct hd_thread *thread =
                &threads[hd_draw_weighted(&reader->house, weights, HD_READER_THREADS)];
            item = follow(town, reader, visit->reader, thread, visit->when, items, count);
            if (item >= 0)
                thread->item = item, thread->heat *= 0.4f; /* the others get their turn */
        }
        for (int attempt = 0; item < 0 && attempt < 8; attempt++) {
            item = editors_choice(town, reader, published);
            if (on_page(items, count, item) || (attempt < 6 && is_read(town, visit->reader, item)))
                item = -1;
        }
        if (item >= 0)
            items[count++] = item;
    }
    return count;
}

/* ---- what the reader does with it */
static double attention_of(const hd_town *town, int32_t number, int32_t item, int32_t position,
                           heed_time when, double aligned)
{
    const struct hd_reader *reader = &town->readers[number];
    const struct hd_town_item *it = &town->catalogue.items[item];
    uint8_t met = hd_pairs_get(&town->met, pair_of(number, item));
    double x = -1.9 + 4.4 * aligned + 0.9 * (hd_topic_rhythm(it->topic, when) - 1.0);

    x += hd_reader_goes_on(reader, item, &town->catalogue) ? 1.2 : 0.0;
    x += 0.8 * ((double)it->quality - 0.6) - 0.12 * (position - 1) - (double)reader->fatigue;
    x -= 0.5 * (met & MET_MAX) + (met & READ_BIT ? 3.0 : 0.0);
    return hd_exact_sigmoid(x);
}

double hd_town_attention(const hd_town *town, int32_t reader, int32_t item, int32_t position,
                         heed_time when)
{
    double aligned = hd_reader_aligned(&town->readers[reader], &town->catalogue.items[item]);

    return attention_of(town, reader, item, position, when, aligned);
}

/* What follows a look. event is the view; returns when the reader turns to the next item. */
static heed_time respond(hd_town *town, struct hd_reader *reader, struct hd_town_event event,
                         double aligned)
{
    const struct hd_town_item *it = &town->catalogue.items[event.item];
    double share = (double)event.dwell_ms / (1000.0 * it->length_s), u;
    heed_time begin = event.when, end = event.when + event.dwell_ms;

    share = share < 1.0 ? share : 1.0;
    push_event(town, event);
    event.dwell_ms = 0;
    if (hd_random_unit(&reader->rng) < 0.15 + 0.55 * share) {
        event.kind = HD_TOWN_CLICK;
        event.when = begin + 200 + (end - begin) / 10;
        push_event(town, event);
    }
    u = hd_random_unit(&reader->rng);
    event.when = end + 300;
    event.kind = HD_TOWN_KINDS;
    if (u < 0.12 * aligned * share)
        event.kind = HD_TOWN_LIKE;
    else if (u < 0.16 * aligned * share)
        event.kind = HD_TOWN_SAVE;
    else if (u < 0.19 * aligned * share)
        event.kind = HD_TOWN_SHARE;
    else if (u > 1.0 - 0.02 * (1.0 - aligned))
        event.kind = HD_TOWN_DISLIKE;
    if (event.kind != HD_TOWN_KINDS)
        push_event(town, event);
    town->recent[town->viewed++ % RECENT] = event.item;
    hd_reader_follow(reader, it, event.item, share);
    reader->fatigue += 0.09f;
    return end + (event.kind == HD_TOWN_KINDS ? 0 : 800);
}

struct hd_town_visit hd_town_visit(hd_town *town)
{
    int32_t number;
    struct hd_reader *reader;

    if (town->guest >= 0) { /* a page that nobody filled: the reader leaves */
        reader = &town->readers[town->guest];
        reader->last = reader->next;
        hd_reader_plan(reader);
        sift_visit(town, 0);
    }
    number = town->guest = town->visits[0];
    reader = &town->readers[number];
    if (!reader->page)
        hd_reader_begin(reader, &town->catalogue);
    return (struct hd_town_visit){number, reader->page, reader->next};
}

heed_status hd_town_show(hd_town *town, const struct hd_town_visit *visit, const int32_t *items,
                         int n, int64_t decision)
{
    struct hd_reader *reader = &town->readers[visit->reader];
    heed_time now = visit->when + 400;
    int64_t need = town->event_count + 4 * (int64_t)n;

    if (town->guest != visit->reader)
        return hd_fail(HEED_E_ARG, "town: reader %d is not waiting for a page", visit->reader);
    if (n < 0 || n > HD_TOWN_PAGE_MAX)
        return hd_fail(HEED_E_ARG, "town: a page of %d items, not 0 to %d", n, HD_TOWN_PAGE_MAX);
    for (int i = 0; i < n; i++)
        if (items[i] < 0 || items[i] >= town->opts.items)
            return hd_fail(HEED_E_ARG, "town: item %d is not 0 to %lld", items[i],
                           (long long)town->opts.items - 1);
    if (need > town->event_room) {
        int64_t room = 2 * need;
        void *grown = hd_resize(town->events, (size_t)room, sizeof *town->events);
        if (!grown)
            return hd_fail(HEED_E_NOMEM, "town: no memory for %lld events", (long long)room);
        town->events = grown, town->event_room = room;
    }
    if (!hd_pairs_reserve(&town->met, (size_t)n))
        return hd_fail(HEED_E_NOMEM, "town: no memory for what readers met");

    for (int i = 0; i < n; i++) {
        const struct hd_town_item *it = &town->catalogue.items[items[i]];
        double aligned = hd_reader_aligned(reader, it);
        double p = attention_of(town, visit->reader, items[i], i + 1, now, aligned);
        uint8_t *met = hd_pairs_at(&town->met, pair_of(visit->reader, items[i]));
        struct hd_town_event event = {.when = now,
                                      .decision = decision,
                                      .reader = visit->reader,
                                      .item = items[i],
                                      .position = i + 1,
                                      .kind = HD_TOWN_IMPRESSION,
                                      .attention = (float)p,
                                      .aligned = (float)aligned,
                                      .phone = reader->on_phone};

        push_event(town, event);
        now += 250 + (heed_time)hd_random_below(&reader->rng, 500);
        if (hd_random_unit(&reader->rng) < p) {
            event.when = now, event.kind = HD_TOWN_VIEW;
            event.dwell_ms = hd_reader_dwell(reader, it, aligned);
            *met |= READ_BIT;
            now = respond(town, reader, event, aligned) + 300;
        } else {
            if ((*met & MET_MAX) < MET_MAX)
                (*met)++;
            if (hd_random_unit(&reader->rng) < 0.015 * (1.0 - aligned)) {
                event.when = now, event.kind = HD_TOWN_HIDE;
                push_event(town, event);
            }
        }
        /* Some scroll no further. */
        if (hd_random_unit(&reader->rng) < 0.04 + 0.02 * (double)reader->fatigue)
            break;
    }

    reader->last = now;
    double stay = 0.72 / (1.0 + 0.25 * (double)reader->fatigue);
    if (n > 0 && hd_random_unit(&reader->rng) < stay) {
        reader->next = now + 1500 + (heed_time)hd_random_below(&reader->rng, 6000);
        reader->page++;
    } else {
        hd_reader_plan(reader);
    }
    town->guest = -1;
    sift_visit(town, 0);
    return HEED_OK;
}

bool hd_town_next(hd_town *town, struct hd_town_event *event)
{
    if (!town->event_count || town->events[0].when > town->readers[town->visits[0]].next ||
        town->guest >= 0)
        return false;
    *event = pop_event(town);
    return true;
}

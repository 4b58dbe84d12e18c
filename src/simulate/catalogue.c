/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue (see catalogue.h). Stories are drafted one by one, single or as series in parts,
 * then sorted by the moment they appear and numbered; a series' parts appear in order, so a part's
 * number is below the next one's. Each story draws from a stream of its own. */
#include "simulate/catalogue.h"
#include "simulate/exact.h"
#include "simulate/pairs.h"
#include "simulate/words.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define TITLE_BYTES 160
#define PARTS_MIN 3
#define PARTS_MAX 6

enum { STREAM_STORY = 1 << 8, STREAM_POPULAR = 1, STREAM_ORDER = 32 };

struct draft {
    struct hd_town_item item;
    int64_t number, next; /* as drafted; next -1: none */
};

/* FNV-1a, never 0: two titles of one hash only make one of them be drawn again. */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

/* Takes the title if nobody has it. */
static bool take_title(struct hd_pairs *titles, const char *title)
{
    uint8_t *taken = hd_pairs_at(titles, hash_text(title));

    if (*taken)
        return false;
    *taken = 1;
    return true;
}

/* "Wild garlic survives the frost despite the rain"; the town's streets come in when that is used
 * up, and a number when the streets are. */
static void write_headline(heed_rng *rng, struct hd_pairs *titles,
                           const struct hd_town_words *words, int subject, char *title)
{
    for (int attempt = 0; attempt < 24; attempt++) {
        const char *what = words->predicates[hd_random_below(rng, HD_TOWN_PREDICATES)];
        uint64_t tail = hd_random_below(rng, 2 * HD_TOWN_TAILS); /* half of them have none */
        const char *how = hd_town_tails[tail < HD_TOWN_TAILS ? tail : 0];
        const char *where = hd_town_places[hd_random_below(rng, HD_TOWN_PLACES)];

        if (attempt < 8)
            snprintf(title, TITLE_BYTES, "%s %s%s%s", words->subjects[subject], what,
                     *how ? " " : "", how);
        else
            snprintf(title, TITLE_BYTES, "%s: %s %s%s%s", where, words->subjects[subject], what,
                     *how ? " " : "", how);
        if (take_title(titles, title))
            return;
    }
    size_t length = strlen(title);
    for (int again = 2;; again++) {
        snprintf(title + length, TITLE_BYTES - length, " (%d)", again);
        if (take_title(titles, title))
            return;
    }
}

/* The name of a series, which its parts' titles are made of: "The lamp keeper's diary". */
static void write_series(heed_rng *rng, struct hd_pairs *titles, const struct hd_town_words *words,
                         char *name)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        const char *serial = words->serials[hd_random_below(rng, HD_TOWN_SERIALS)];
        const char *where = hd_town_places[hd_random_below(rng, HD_TOWN_PLACES)];

        if (attempt < 6)
            snprintf(name, TITLE_BYTES, "%s", serial);
        else
            snprintf(name, TITLE_BYTES, "%s, %s", serial, where);
        if (take_title(titles, name))
            return;
    }
    size_t length = strlen(name);
    for (int again = 2;; again++) {
        snprintf(name + length, TITLE_BYTES - length, ", book %d", again);
        if (take_title(titles, name))
            return;
    }
}

/* Mostly its topic, some of a topic nearby, a trace of another. */
static void mix_topics(heed_rng *rng, struct hd_town_item *item)
{
    const struct hd_town_words *words = &hd_town_words[item->topic];
    double main = 0.60 + 0.35 * hd_random_unit(rng);
    double near = (1.0 - main) * (0.5 + 0.5 * hd_random_unit(rng));

    item->topics[item->topic] = (float)main;
    item->topics[words->near[hd_random_below(rng, 2)]] += (float)near;
    item->topics[hd_random_below(rng, HD_TOWN_TOPICS)] += (float)(1.0 - main - near);
}

/* One story: a single article, or the parts of a series. Returns how many drafts it made. */
static int64_t draft_story(const struct hd_catalogue *catalogue, uint64_t seed, int64_t number,
                           int64_t room, heed_time start, int64_t days, int32_t *series_count,
                           struct hd_pairs *titles, struct draft *drafts, heed_status *status)
{
    heed_rng rng = hd_rng(seed, STREAM_STORY + (uint64_t)number);
    int64_t parts = 1;
    int32_t topic = (int32_t)hd_random_below(&rng, HD_TOWN_TOPICS), series = 0;
    int32_t subject = (int32_t)hd_random_below(&rng, HD_TOWN_SUBJECTS);
    /* An author writes on one topic: there are as many as one to eight items wants, by topic. */
    int32_t author = (int32_t)hd_random_below(&rng, (uint64_t)(1 + catalogue->count / 96));
    bool archived = !number || hd_random_unit(&rng) < 0.6;
    double at = hd_random_unit(&rng);
    heed_time created = archived ? start - DAY_MS - (heed_time)(at * 90.0 * (double)DAY_MS)
                                 : start + (heed_time)(at * (double)(days * DAY_MS));
    char name[TITLE_BYTES] = "", title[TITLE_BYTES + 16];

    if (hd_random_unit(&rng) < 0.18 && room >= PARTS_MIN) {
        parts = PARTS_MIN + (int64_t)hd_random_below(&rng, PARTS_MAX - PARTS_MIN + 1);
        parts = parts < room ? parts : room;
        series = ++*series_count;
        write_series(&rng, titles, &hd_town_words[topic], name);
    }
    for (int64_t part = 0; part < parts; part++) {
        struct draft *draft = &drafts[part];
        struct hd_town_item *item = &draft->item;

        *draft = (struct draft){.number = part, .next = part + 1 < parts ? part + 1 : -1};
        item->created = created;
        item->topic = topic, item->subject = subject;
        item->author = author * HD_TOWN_TOPICS + topic;
        item->length_s = 20 + (int32_t)hd_random_below(&rng, 100);
        item->quality = (float)(0.2 + 0.8 * hd_random_unit(&rng));
        item->series = series, item->part = series ? (int32_t)part + 1 : 0;
        mix_topics(&rng, item);
        if (series)
            snprintf(title, sizeof title, "%s, part %d", name, item->part);
        else
            write_headline(&rng, titles, &hd_town_words[topic], subject, title);
        if (!(item->title = hd_arena_strdup(catalogue->arena, title)))
            *status = hd_fail(HEED_E_NOMEM, "simulate: no memory for %lld items",
                              (long long)catalogue->count);
        /* The next part follows half a day to two days later in a town of a month. */
        created += (heed_time)((0.5 + 1.5 * hd_random_unit(&rng)) * (double)(days * DAY_MS) / 30.0);
    }
    return parts;
}

static int compare_drafts(const void *left, const void *right)
{
    const struct draft *a = left, *b = right;

    if (a->item.created != b->item.created)
        return a->item.created < b->item.created ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* Sorts the drafts by time and writes them down as items, with `next` in the new numbers. */
static void number_items(struct hd_catalogue *catalogue, struct draft *drafts, int32_t *place)
{
    int64_t fill[HD_TOWN_TOPICS];

    qsort(drafts, (size_t)catalogue->count, sizeof *drafts, compare_drafts);
    for (int64_t i = 0; i < catalogue->count; i++)
        place[drafts[i].number] = (int32_t)i;
    for (int64_t i = 0; i < catalogue->count; i++) {
        catalogue->items[i] = drafts[i].item;
        catalogue->items[i].next = drafts[i].next < 0 ? -1 : place[drafts[i].next];
        catalogue->topic_from[drafts[i].item.topic + 1]++;
    }
    for (int k = 0; k < HD_TOWN_TOPICS; k++) {
        catalogue->topic_from[k + 1] += catalogue->topic_from[k];
        fill[k] = catalogue->topic_from[k];
    }
    for (int64_t i = 0; i < catalogue->count; i++)
        catalogue->by_topic[fill[catalogue->items[i].topic]++] = (int32_t)i;
}

heed_status hd_catalogue_init(struct hd_catalogue *out, uint64_t seed, int64_t count,
                              heed_time start, int64_t days)
{
    struct hd_catalogue made = {.count = count, .arena = hd_arena_new(0)};
    struct hd_pairs titles = {0};
    heed_status status = HEED_OK;
    struct draft *drafts = hd_alloc((size_t)count, sizeof *drafts);
    int32_t *place = hd_alloc((size_t)count, sizeof *place), series = 0;
    heed_rng rng = hd_rng(seed, STREAM_POPULAR);

    assert(count >= 1 && days >= 1);
    if (made.arena) {
        made.items = hd_arena_zalloc(made.arena, (size_t)count, sizeof *made.items);
        made.by_topic = hd_arena_zalloc(made.arena, (size_t)count, sizeof *made.by_topic);
    }
    if (!drafts || !place || !made.items || !made.by_topic) {
        status = hd_fail(HEED_E_NOMEM, "simulate: no memory for %lld items", (long long)count);
        goto done;
    }
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        made.popular[k] = (float)(0.5 * hd_exact_normal(&rng));
    for (int64_t story = 0, at = 0; at < count; story++) {
        if (!hd_pairs_reserve(&titles, 1)) { /* a story takes one name or headline */
            status = hd_fail(HEED_E_NOMEM, "simulate: no memory for the titles");
            goto done;
        }
        int64_t parts = draft_story(&made, seed, story, count - at, start, days, &series, &titles,
                                    drafts + at, &status);
        if (status != HEED_OK)
            goto done;
        for (int64_t i = at; i < at + parts; i++) {
            drafts[i].number += at;
            drafts[i].next += drafts[i].next < 0 ? 0 : at;
        }
        at += parts;
    }
    number_items(&made, drafts, place);
    *out = made, made.arena = NULL;
done:
    hd_free(drafts), hd_free(place);
    hd_pairs_clear(&titles);
    hd_arena_free(made.arena);
    return status;
}

void hd_catalogue_clear(struct hd_catalogue *catalogue)
{
    hd_arena_free(catalogue->arena);
    *catalogue = (struct hd_catalogue){0};
}

int64_t hd_catalogue_published(const struct hd_catalogue *catalogue, heed_time when)
{
    int64_t low = 0, high = catalogue->count;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (catalogue->items[middle].created <= when)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t hd_catalogue_topic_published(const struct hd_catalogue *catalogue, int topic,
                                     heed_time when)
{
    int64_t low = catalogue->topic_from[topic], high = catalogue->topic_from[topic + 1];

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (catalogue->items[catalogue->by_topic[middle]].created <= when)
            low = middle + 1;
        else
            high = middle;
    }
    return low - catalogue->topic_from[topic];
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters are one byte an item, selection is one pass over the scores with a small heap whose root
 * is the worst of the best so far: nearly every item is turned away by one comparison. */
#include "allocate/feed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hd_filter_catalogue(const struct hd_catalogue *c, heed_time at, uint8_t *out)
{
    if (at >= c->created_last && (c->expires_first == 0 || at < c->expires_first)) {
        for (int64_t i = 0; i < c->items; i++)
            out[i] |= c->hidden[i];
        return;
    }
    for (int64_t i = 0; i < c->items; i++)
        out[i] |= c->hidden[i] || (c->expires[i] != 0 && c->expires[i] <= at) || c->created[i] > at;
}

void hd_filter_items(const int32_t *item, int64_t count, int64_t items, uint8_t *out)
{
    for (int64_t i = 0; i < count; i++)
        if (item[i] >= 0 && item[i] < items)
            out[item[i]] = 1;
}

/* ---- selection: heap[0] is the pick that would leave first. */

static bool ranks_before(struct hd_pick a, struct hd_pick b)
{
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

static void sift_down(struct hd_pick *heap, int64_t count, int64_t at)
{
    struct hd_pick moved = heap[at];

    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && ranks_before(heap[child], heap[child + 1]))
            child++;
        if (!ranks_before(moved, heap[child]))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Turns the heap into a list, best first: the worst goes to the end, again and again. */
static void sort_heap(struct hd_pick *heap, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        struct hd_pick worst = heap[0];
        heap[0] = heap[i];
        heap[i] = worst;
        sift_down(heap, i, 0);
    }
}

int64_t hd_select_top(const float *scores, const uint8_t *out, int64_t items, int64_t count,
                      struct hd_pick *picks)
{
    int64_t held = 0, i = 0;

    for (; i < items && held < count; i++)
        if (!out || !out[i])
            picks[held++] =
                (struct hd_pick){.item = (int32_t)i,
                                 .score = isnan(scores[i]) ? -INFINITY : scores[i]};
    for (int64_t at = held / 2 - 1; at >= 0; at--)
        sift_down(picks, held, at);
    for (; i < items && held > 0; i++) {
        /* An equal score has the higher number here, so it stays out; so does what is no number. */
        if (!(scores[i] > picks[0].score) || (out && out[i]))
            continue;
        picks[0] = (struct hd_pick){.item = (int32_t)i, .score = scores[i]};
        sift_down(picks, held, 0);
    }
    sort_heap(picks, held);
    return held;
}

static int compare_picks(const void *a, const void *b)
{
    const struct hd_pick *x = a, *y = b;

    return ranks_before(*x, *y) ? -1 : ranks_before(*y, *x);
}

void hd_sort_picks(struct hd_pick *picks, int64_t count)
{
    if (count > 1)
        qsort(picks, (size_t)count, sizeof *picks, compare_picks);
}

/* Created as a number of days is exact enough to show, not to order: 2^24 milliseconds are hours.
 * So the order is kept by the times themselves, in an insertion, which is short: n is a page. */
int64_t hd_select_fresh(const struct hd_catalogue *c, const uint8_t *out, int64_t count,
                        struct hd_pick *picks)
{
    int64_t held = 0;

    for (int64_t i = c->items - 1; i >= 0 && count > 0; i--) {
        if (out[i] || (held == count && c->created[i] <= c->created[picks[held - 1].item]))
            continue;
        int64_t at = held < count ? held++ : held - 1;
        for (; at > 0 && c->created[picks[at - 1].item] < c->created[i]; at--)
            picks[at] = picks[at - 1];
        picks[at] = (struct hd_pick){.item = (int32_t)i,
                                     .score = (float)((double)c->created[i] / 86400e3)};
    }
    return held;
}

/* ---- topics */

const char *hd_source_name(enum hd_source source)
{
    static const char *const name[HD_SOURCES] = {
        [HD_SOURCE_MODEL] = "model",       [HD_SOURCE_POPULAR] = "popular",
        [HD_SOURCE_TRENDING] = "trending", [HD_SOURCE_FRESH] = "fresh",
        [HD_SOURCE_FOLLOWED] = "followed", [HD_SOURCE_SIMILAR] = "similar",
        [HD_SOURCE_EXPLORE] = "explore",
    };

    return (unsigned)source < HD_SOURCES ? name[source] : "?";
}

bool hd_topics_meet(const struct hd_catalogue *c, int32_t item, const int32_t *topic, int64_t count)
{
    const int32_t *own = c->topic[item];

    for (int64_t i = 0, j = 0; i < count && j < c->topic_count[item];) {
        if (own[j] == topic[i])
            return true;
        if (own[j] < topic[i])
            j++;
        else
            i++;
    }
    return false;
}

void hd_filter_topics(const struct hd_catalogue *c, const int32_t *topic, int64_t count,
                      uint8_t *out)
{
    for (int64_t i = 0; count > 0 && i < c->items; i++)
        out[i] |= hd_topics_meet(c, (int32_t)i, topic, count);
}

/* ---- diversity */

double hd_topic_similarity(const struct hd_catalogue *c, int32_t a, int32_t b)
{
    const int32_t *x = c->topic[a], *y = c->topic[b];
    int64_t xs = c->topic_count[a], ys = c->topic_count[b], shared = 0;

    for (int64_t i = 0, j = 0; i < xs && j < ys;) {
        int32_t head = x[i], other = y[j];
        shared += head == other;
        i += head <= other;
        j += other <= head;
    }
    return shared > 0 ? (double)shared / (double)(xs + ys - shared) : 0;
}

/* What nobody scored (-INFINITY) never overtakes what was scored. */
static double relevance(const struct hd_pick *pick, double low, double high)
{
    double score = (double)pick->score;

    if (score < low)
        return -HUGE_VAL;
    if (score > high)
        return 1;
    return high > low ? (score - low) / (high - low) : 0;
}

int64_t hd_diversify(const struct hd_catalogue *c, double strength, struct hd_pick *picks,
                     int64_t count, int64_t n)
{
    double low = HUGE_VAL, high = -HUGE_VAL;

    if (n > count)
        n = count;
    if (strength <= 0)
        return n;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite((double)picks[i].score))
            continue;
        low = fmin(low, (double)picks[i].score);
        high = fmax(high, (double)picks[i].score);
    }
    for (int64_t place = 1; place < n; place++) {
        double best = -HUGE_VAL;
        int64_t chosen = place;
        for (int64_t i = place; i < count; i++) {
            double r = (1 - strength) * relevance(&picks[i], low, high), nearest = 0;
            if (r <= best) /* similarity only takes away */
                continue;
            for (int64_t j = 0; j < place && nearest < 1; j++)
                nearest = fmax(nearest, hd_topic_similarity(c, picks[i].item, picks[j].item));
            if (r - strength * nearest > best) {
                best = r - strength * nearest;
                chosen = i;
            }
        }
        struct hd_pick pick = picks[chosen];
        memmove(picks + place + 1, picks + place, (size_t)(chosen - place) * sizeof *picks);
        picks[place] = pick;
    }
    return n;
}

/* ---- exploration */

int64_t hd_explore(struct hd_pick *picks, int64_t count, int64_t n, double rate, const double u[2],
                   double *propensity)
{
    int64_t first = (n + 1) / 2, places = n - first, behind = count - n;
    bool possible = rate > 0 && places > 0 && behind > 0;

    for (int64_t i = 0; i < n; i++)
        propensity[i] = possible && i >= first ? 1 - rate / (double)places : 1;
    /* One number decides whether and where: below the rate, its place in 0 .. rate is uniform. */
    if (!possible || u[0] >= rate)
        return -1;
    int64_t place = first + (int64_t)(u[0] / rate * (double)places);
    int64_t from = n + (int64_t)(u[1] * (double)behind);
    struct hd_pick pick = picks[from];
    picks[from] = picks[place];
    picks[place] = pick;
    picks[place].source = HD_SOURCE_EXPLORE;
    propensity[place] = rate / ((double)places * (double)behind);
    return place;
}

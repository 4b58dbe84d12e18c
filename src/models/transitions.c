/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting what followed what. For one item at a time, all places where it occurs are visited and
 * what came after is added up in a row as wide as the catalogue, so that memory stays at one such
 * row whatever the number of pairs. */
#include "models/transitions.h"
#include "base/memory.h"
#include "models/evaluate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct follower {
    int32_t item;
    float weight;
};

/* Where each item occurs among the training events: place[first[v] .. first[v + 1]) are positions
 * in histories.item; end[e] is where the training events of e's user end. */
struct places {
    int64_t *first, *place, *end;
};

static void places_clear(struct places *p)
{
    hd_free(p->first);
    hd_free(p->place);
    hd_free(p->end);
}

static heed_status places_init(const struct hd_histories *h, struct places *p)
{
    size_t events = (size_t)h->offset[h->users];

    p->first = hd_alloc((size_t)h->items + 2, sizeof *p->first);
    p->place = hd_alloc(events, sizeof *p->place);
    p->end = hd_alloc(events, sizeof *p->end);
    if (!p->first || !p->place || !p->end)
        return hd_fail(HEED_E_NOMEM, "transitions: no memory for %zu events", events);
    /* A counting sort: totals, then starts, then each event into its row, which moves the starts */
    for (int64_t u = 0; u < h->users; u++) {
        int64_t end = h->offset[u] + hd_split_train_count(h, u);
        for (int64_t e = h->offset[u]; e < end; e++)
            p->first[h->item[e] + 2]++;
    }
    for (int64_t v = 0; v < h->items; v++)
        p->first[v + 2] += p->first[v + 1];
    for (int64_t u = 0; u < h->users; u++) {
        int64_t end = h->offset[u] + hd_split_train_count(h, u);
        for (int64_t e = h->offset[u]; e < end; e++) {
            p->place[p->first[h->item[e] + 1]++] = e;
            p->end[e] = end;
        }
    }
    return HEED_OK;
}

static int heavier_first(const void *a, const void *b)
{
    const struct follower *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int lower_item_first(const void *a, const void *b)
{
    const struct follower *x = a, *y = b;

    return (x->item > y->item) - (x->item < y->item);
}

/* Collects what follows item v. sum (V) is zero before and after. Returns how many there are. */
static int64_t follow(const struct hd_histories *h, const struct places *p, int64_t v, float *sum,
                      struct follower *row, double *total)
{
    int64_t count = 0;

    *total = 0;
    for (int64_t i = p->first[v]; i < p->first[v + 1]; i++) {
        int64_t e = p->place[i];
        for (int64_t k = 1; k <= HD_TRANSITION_LAGS && e + k < p->end[e]; k++) {
            int32_t b = h->item[e + k];
            if (sum[b] == 0)
                row[count++].item = b;
            sum[b] += 1.0F / (float)k;
            *total += 1.0 / (double)k;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        row[i].weight = sum[row[i].item];
        sum[row[i].item] = 0;
    }
    return count;
}

heed_status hd_transitions_build(const struct hd_histories *h, struct hd_transitions *out)
{
    struct hd_transitions t = {.items = h->items};
    struct places places = {0};
    struct follower *row = hd_alloc((size_t)h->items, sizeof *row);
    float *sum = hd_alloc((size_t)h->items, sizeof *sum);
    int64_t room = 0;
    heed_status status = places_init(h, &places);

    t.offset = hd_alloc((size_t)h->items + 1, sizeof *t.offset);
    if (status == HEED_OK && (!row || !sum || !t.offset))
        status = hd_fail(HEED_E_NOMEM, "transitions: no memory for %" PRId64 " items", h->items);
    for (int64_t v = 0; status == HEED_OK && v < h->items; v++) {
        double total;
        int64_t at = t.offset[v], count = follow(h, &places, v, sum, row, &total);

        qsort(row, (size_t)count, sizeof *row, heavier_first);
        if (count > HD_TRANSITION_KEEP)
            count = HD_TRANSITION_KEEP;
        qsort(row, (size_t)count, sizeof *row, lower_item_first);
        if (at + count > room) {
            room = 2 * (at + count);
            int32_t *item = hd_resize(t.item, (size_t)room, sizeof *item);
            float *share = item ? hd_resize(t.share, (size_t)room, sizeof *share) : NULL;
            t.item = item ? item : t.item;
            t.share = share ? share : t.share;
            if (!share) {
                status =
                    hd_fail(HEED_E_NOMEM, "transitions: no memory for %" PRId64 " pairs", room);
                break;
            }
        }
        for (int64_t i = 0; i < count; i++) {
            t.item[at + i] = row[i].item;
            t.share[at + i] = (float)((double)row[i].weight / (total + HD_TRANSITION_PRIOR));
        }
        t.offset[v + 1] = at + count;
    }
    hd_free(row);
    hd_free(sum);
    places_clear(&places);
    if (status != HEED_OK) {
        hd_transitions_clear(&t);
        return status;
    }
    *out = t;
    return HEED_OK;
}

void hd_transitions_clear(struct hd_transitions *t)
{
    hd_free(t->offset);
    hd_free(t->item);
    hd_free(t->share);
    *t = (struct hd_transitions){0};
}

/* (1 / back) over the sum of 1 / k for k = 1 .. lags; back is 1 .. lags. */
static double lag_weight(int64_t back)
{
    double sum = 0;

    for (int64_t k = 1; k <= HD_TRANSITION_LAGS; k++)
        sum += 1.0 / (double)k;
    return 1.0 / ((double)back * sum);
}

void hd_transitions_add(const struct hd_transitions *t, const int32_t *items, int64_t count,
                        double weight, float *out)
{
    for (int64_t k = 1; k <= HD_TRANSITION_LAGS && k <= count; k++) {
        int32_t from = items[count - k];
        float w = (float)(weight * lag_weight(k));
        for (int64_t i = t->offset[from]; i < t->offset[from + 1]; i++)
            out[t->item[i]] += w * t->share[i];
    }
}

int64_t hd_transitions_list(const struct hd_transitions *t, const int32_t *items, int64_t count,
                            float *out, int32_t *followers)
{
    int64_t n = 0;

    for (int64_t k = 1; k <= HD_TRANSITION_LAGS && k <= count; k++) {
        int32_t from = items[count - k];
        float w = (float)lag_weight(k);
        if (!followers) {
            n += t->offset[from + 1] - t->offset[from];
            continue;
        }
        for (int64_t i = t->offset[from]; i < t->offset[from + 1]; i++) {
            float part = w * t->share[i];
            if (out[t->item[i]] == 0 && part > 0)
                followers[n++] = t->item[i];
            out[t->item[i]] += part;
        }
    }
    return n;
}

double hd_transitions_part(const struct hd_transitions *t, int32_t from, int64_t back, int32_t v)
{
    if (back > HD_TRANSITION_LAGS)
        return 0;
    for (int64_t i = t->offset[from]; i < t->offset[from + 1]; i++)
        if (t->item[i] == v)
            return lag_weight(back) * (double)t->share[i];
    return 0;
}

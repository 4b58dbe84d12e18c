/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting transitions without a table of items by items. Pairs are put beside their source by a
 * counting sort, then each source's pairs are summed in one dense row that is cleaned up after use:
 *
 *     events ─▶ (source, target, distance) grouped by source ─▶ row ─▶ (follower, weight)
 */
#include "models/markov.h"
#include "base/order.h"
#include "base/memory.h"
#include "models/popularity.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    int32_t target;
    int32_t distance; /* from 0 */
};

/* For each source: begin[source] .. begin[source + 1] in `pairs`. */
struct pairs {
    int64_t *begin; /* items + 1 */
    struct pair *pair;
};

static void pairs_clear(struct pairs *p)
{
    hd_free(p->pair);
    hd_free(p->begin);
}

static heed_status pairs_init(struct pairs *out, const struct hd_histories *h, int window)
{
    struct pairs p = {0};
    int64_t *next = NULL, total = 0;

    p.begin = hd_alloc((size_t)h->items + 1, sizeof *p.begin);
    next = hd_alloc((size_t)h->items + 1, sizeof *next);
    if (!p.begin || !next)
        goto no_memory;
    for (int64_t u = 0; u < h->users; u++) {
        const int32_t *item = h->item + h->offset[u];
        int64_t count = hd_split_train_count(h, u);
        for (int64_t e = 0; e + 1 < count; e++)
            next[item[e]] += count - 1 - e < window ? count - 1 - e : window;
    }
    for (int64_t i = 0; i < h->items; i++) {
        int64_t row = next[i];
        p.begin[i] = next[i] = total;
        total += row;
    }
    p.begin[h->items] = total;
    p.pair = hd_alloc((size_t)(total > 0 ? total : 1), sizeof *p.pair);
    if (!p.pair)
        goto no_memory;
    for (int64_t u = 0; u < h->users; u++) {
        const int32_t *item = h->item + h->offset[u];
        int64_t count = hd_split_train_count(h, u);
        for (int64_t e = 0; e < count; e++)
            for (int32_t d = 0; d < window && e + 1 + d < count; d++)
                p.pair[next[item[e]]++] = (struct pair){item[e + 1 + d], d};
    }
    hd_free(next);
    *out = p;
    return HEED_OK;
no_memory:
    hd_free(next);
    pairs_clear(&p);
    return hd_fail(HEED_E_NOMEM, "markov: no memory for %" PRId64 " transitions", total);
}

/* Sums the pairs of each source; the rows take no more room than the pairs did. */
static heed_status sum_rows(struct hd_markov *m, const struct pairs *p)
{
    int64_t pairs = p->begin[m->items], used = 0;
    double *row = hd_alloc((size_t)m->items + 1, sizeof *row);
    double distance_weight[HD_MARKOV_WINDOW_MAX];

    m->follower = hd_alloc((size_t)(pairs > 0 ? pairs : 1), sizeof *m->follower);
    m->weight = hd_alloc((size_t)(pairs > 0 ? pairs : 1), sizeof *m->weight);
    if (!row || !m->follower || !m->weight) {
        hd_free(row);
        return hd_fail(HEED_E_NOMEM, "markov: no memory for %" PRId64 " transitions", pairs);
    }
    for (int d = 0; d < m->opts.window; d++)
        distance_weight[d] = pow(m->opts.window_decay, d);
    for (int64_t a = 0; a < m->items; a++) {
        int64_t first = used;
        m->offset[a] = first;
        for (int64_t i = p->begin[a]; i < p->begin[a + 1]; i++) {
            int32_t b = p->pair[i].target;
            if (row[b] == 0) /* weights are positive, so this is its first time */
                m->follower[used++] = b;
            row[b] += distance_weight[p->pair[i].distance];
        }
        qsort(m->follower + first, (size_t)(used - first), sizeof *m->follower, hd_order_i32);
        for (int64_t i = first; i < used; i++) {
            int32_t b = m->follower[i];
            m->weight[i] = (float)row[b];
            m->total[a] += row[b];
            row[b] = 0;
        }
    }
    m->offset[m->items] = used;
    hd_free(row);
    return HEED_OK;
}

heed_status hd_markov_init(struct hd_markov *markov, const struct hd_histories *h,
                           const struct hd_markov_opts *opts)
{
    struct hd_markov m = {.items = h->items, .opts = *opts};
    struct pairs pairs = {0};
    heed_status status;
    double events = 0;

    m.opts.window = opts->window ? opts->window : 1;
    m.opts.last = opts->last ? opts->last : 1;
    m.opts.window_decay = opts->window_decay > 0 ? opts->window_decay : 1;
    m.opts.last_decay = opts->last_decay > 0 ? opts->last_decay : 1;
    m.opts.smoothing = opts->smoothing > 0 ? opts->smoothing : 1;
    if (m.opts.window < 0 || m.opts.window > HD_MARKOV_WINDOW_MAX || m.opts.last < 0)
        return hd_fail(HEED_E_ARG, "markov: a window of %d and the last %d, not 1 to %d and 1 up",
                       opts->window, opts->last, HD_MARKOV_WINDOW_MAX);
    m.offset = hd_alloc((size_t)h->items + 1, sizeof *m.offset);
    m.total = hd_alloc((size_t)h->items + 1, sizeof *m.total);
    m.popularity = hd_alloc((size_t)h->items + 1, sizeof *m.popularity);
    if (!m.offset || !m.total || !m.popularity) {
        status = hd_fail(HEED_E_NOMEM, "markov: no memory for %" PRId64 " items", h->items);
        goto done;
    }
    hd_popularity(h, &(struct hd_popularity_opts){0}, m.popularity);
    for (int64_t i = 0; i < h->items; i++)
        events += (double)m.popularity[i];
    for (int64_t i = 0; i < h->items && events > 0; i++)
        m.popularity[i] = (float)((double)m.popularity[i] / events);
    status = pairs_init(&pairs, h, m.opts.window);
    if (status == HEED_OK)
        status = sum_rows(&m, &pairs);
done:
    pairs_clear(&pairs);
    if (status == HEED_OK)
        *markov = m;
    else
        hd_markov_clear(&m);
    return status;
}

void hd_markov_clear(struct hd_markov *m)
{
    hd_free(m->popularity);
    hd_free(m->total);
    hd_free(m->weight);
    hd_free(m->follower);
    hd_free(m->offset);
    *m = (struct hd_markov){0};
}

heed_status hd_markov_score(void *context, int worker, const struct hd_question *question,
                            float *scores)
{
    const struct hd_markov *m = context;
    int64_t last = question->count < m->opts.last ? question->count : m->opts.last;
    const int32_t *latest = question->items + question->count;
    double popularity_weight = 0, decay = 1;

    (void)worker;
    for (int64_t k = 0; k < last; k++, decay *= m->opts.last_decay)
        popularity_weight +=
            decay * m->opts.smoothing / (m->total[latest[-1 - k]] + m->opts.smoothing);
    if (last == 0) /* nothing is known of the reader */
        popularity_weight = 1;
    for (int64_t i = 0; i < m->items; i++)
        scores[i] = (float)popularity_weight * m->popularity[i];
    decay = 1;
    for (int64_t k = 0; k < last; k++, decay *= m->opts.last_decay) {
        int32_t a = latest[-1 - k];
        float w = (float)(decay / (m->total[a] + m->opts.smoothing));
        for (int64_t i = m->offset[a]; i < m->offset[a + 1]; i++)
            scores[m->follower[i]] += w * m->weight[i];
    }
    return HEED_OK;
}

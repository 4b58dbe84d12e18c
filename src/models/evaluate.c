/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks by counting, quality from ranks, and how sure one may be of it.
 *
 * A target's rank needs no sorting: one pass counts who scores as high or higher, over the whole
 * catalogue without branches, and the few items that are out are taken off the count afterwards.
 * Users are independent, so they are cut into grains of a fixed size for the pool; sums run over
 * users in their order, after all ranks are there. */
#include "models/evaluate.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define USERS_PER_TASK 16
#define BOOTSTRAP_SAMPLES 1000

/* ---- ranking */

/* One thread's memory. An item is out for the user in hand where out[item] is that user's number.
 */
struct scratch {
    float *scores;
    int64_t *out;
};

struct ranking {
    const struct hd_histories *histories;
    enum hd_split split;
    const struct hd_scorer *scorer;
    const heed_progress *progress;
    int threads;
    struct scratch *scratch; /* threads */
    int64_t users;           /* to be ranked: with three events or more */
    int64_t *user;           /* users */
    int64_t *rank;           /* users; 0: a repeat, not ranked */
    bool *tied;              /* users */
    int32_t *top;            /* users x HD_TOP_COUNT */
    atomic_llong done;
};

/* Whether item a stands before item b in a list: by score, then by number; no-numbers last. */
static bool stands_before(const float *scores, int32_t a, int32_t b)
{
    float x = scores[a], y = scores[b];

    if (x > y || (y != y && x == x))
        return true;
    return a < b && (x == y || (x != x && y != y));
}

/* The best HD_TOP_COUNT items that are not out, best first: an insertion into a short list, which
 * is entered for a handful of items once the list is full. */
static void top_items(const struct scratch *s, int64_t items, int64_t mark, int32_t *top)
{
    int count = 0;

    for (int32_t i = 0; i < items; i++) {
        if (count == HD_TOP_COUNT && !stands_before(s->scores, i, top[count - 1]))
            continue;
        if (s->out[i] == mark)
            continue;
        int at = count < HD_TOP_COUNT ? count++ : count - 1;
        for (; at > 0 && stands_before(s->scores, i, top[at - 1]); at--)
            top[at] = top[at - 1];
        top[at] = i;
    }
    for (; count < HD_TOP_COUNT; count++)
        top[count] = -1;
}

/* Items with a score as high as the target's or higher, the target itself and no-numbers included.
 */
static int64_t count_not_below(const float *scores, int64_t items, float target)
{
    int64_t total = 0;

    for (int64_t i = 0; i < items; i += 4096) { /* short sums in 32 bits are what vectors do well */
        int64_t end = i + 4096 < items ? i + 4096 : items;
        int32_t sum = 0;
        for (int64_t j = i; j < end; j++)
            sum += !(scores[j] < target);
        total += sum;
    }
    return total;
}

static int64_t count_equal(const float *scores, int64_t items, float target)
{
    int64_t total = 0;

    for (int64_t i = 0; i < items; i++)
        total += scores[i] == target;
    return total;
}

static heed_status rank_user(struct ranking *r, int64_t index, int worker)
{
    const struct hd_histories *h = r->histories;
    struct scratch *s = &r->scratch[worker];
    int64_t user = r->user[index], first = h->offset[user];
    int64_t at = h->offset[user + 1] - (int64_t)r->split; /* the target's place */
    int32_t target = h->item[at];
    struct hd_question question = {.user = user,
                                   .items = h->item + first,
                                   .times = h->time ? h->time + first : NULL,
                                   .count = at - first,
                                   .now = h->time ? h->time[at] : 0};
    int32_t *top = r->top + index * HD_TOP_COUNT;

    for (int64_t e = first; e < at; e++)
        s->out[h->item[e]] = user;
    if (s->out[target] == user) {
        r->rank[index] = 0;
        return HEED_OK;
    }
    HD_TRY(r->scorer->score(r->scorer->context, worker, &question, s->scores));

    float score = s->scores[target];
    int64_t rank = count_not_below(s->scores, h->items, score);
    int64_t equal = count_equal(s->scores, h->items, score) - (score == score); /* but itself */
    for (int64_t e = first; e < at; e++) {
        int32_t item = h->item[e];
        if (s->out[item] != user) /* met before in this loop */
            continue;
        rank -= !(s->scores[item] < score);
        equal -= s->scores[item] == score;
        s->out[item] = -1;
    }
    for (int64_t e = first; e < at; e++)
        s->out[h->item[e]] = user;
    r->rank[index] = rank;
    r->tied[index] = equal > 0;
    top_items(s, h->items, user, top);
    return HEED_OK;
}

static heed_status rank_task(void *arg, int64_t task, int worker)
{
    struct ranking *r = arg;
    int64_t begin = task * USERS_PER_TASK;
    int64_t end = begin + USERS_PER_TASK < r->users ? begin + USERS_PER_TASK : r->users;

    for (int64_t i = begin; i < end; i++)
        HD_TRY(rank_user(r, i, worker));
    int64_t done = atomic_fetch_add(&r->done, end - begin) + end - begin;
    /* One voice only: the caller's thread is worker 0. */
    if (worker == 0 && r->progress && r->progress->report &&
        !r->progress->report(r->progress->context, "users", done, r->users))
        return hd_fail(HEED_E_CANCELLED, "evaluate: stopped after %" PRId64 " of %" PRId64 " users",
                       done, r->users);
    return HEED_OK;
}

static heed_status ranking_init(struct ranking *r, heed_pool *pool)
{
    const struct hd_histories *h = r->histories;
    size_t items = (size_t)(h->items > 0 ? h->items : 1);

    for (int64_t u = 0; u < h->users; u++)
        r->users += hd_split_holds_out(h, u);
    size_t users = (size_t)(r->users > 0 ? r->users : 1);
    r->threads = heed_pool_threads(pool);
    r->user = hd_alloc(users, sizeof *r->user);
    r->rank = hd_alloc(users, sizeof *r->rank);
    r->tied = hd_alloc(users, sizeof *r->tied);
    r->top = hd_alloc(users, HD_TOP_COUNT * sizeof *r->top);
    r->scratch = hd_alloc((size_t)r->threads, sizeof *r->scratch);
    if (!r->user || !r->rank || !r->tied || !r->top || !r->scratch)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory for %" PRId64 " users", r->users);
    for (int t = 0; t < r->threads; t++) {
        struct scratch *s = &r->scratch[t];
        s->scores = hd_alloc(items, sizeof *s->scores);
        s->out = hd_alloc(items, sizeof *s->out);
        if (!s->scores || !s->out)
            return hd_fail(HEED_E_NOMEM, "evaluate: no memory for %" PRId64 " items", h->items);
        for (size_t i = 0; i < items; i++)
            s->out[i] = -1;
    }
    int64_t next = 0;
    for (int64_t u = 0; u < h->users; u++)
        if (hd_split_holds_out(h, u))
            r->user[next++] = u;
    return HEED_OK;
}

/* Keeps what was ranked, in user order, and hands the arrays over. */
static void ranking_take(struct ranking *r, struct hd_ranks *out)
{
    struct hd_ranks ranks = {.items = r->histories->items};

    for (int64_t i = 0; i < r->users; i++) {
        if (r->rank[i] == 0) {
            ranks.repeats++;
            continue;
        }
        int64_t to = ranks.count++;
        r->user[to] = r->user[i];
        r->rank[to] = r->rank[i];
        memmove(r->top + to * HD_TOP_COUNT, r->top + i * HD_TOP_COUNT,
                HD_TOP_COUNT * sizeof *r->top);
        ranks.tied += r->tied[i];
    }
    ranks.user = r->user, r->user = NULL;
    ranks.rank = r->rank, r->rank = NULL;
    ranks.top = r->top, r->top = NULL;
    *out = ranks;
}

heed_status hd_rank_targets(const struct hd_histories *histories, enum hd_split split,
                            const struct hd_scorer *scorer, heed_pool *pool,
                            const heed_progress *progress, struct hd_ranks *ranks)
{
    struct ranking r = {
        .histories = histories, .split = split, .scorer = scorer, .progress = progress};
    heed_status status = ranking_init(&r, pool);

    if (status == HEED_OK)
        status = hd_pool_run(pool, (r.users + USERS_PER_TASK - 1) / USERS_PER_TASK, rank_task, &r);
    if (status == HEED_OK)
        ranking_take(&r, ranks);
    for (int t = 0; r.scratch && t < r.threads; t++) {
        hd_free(r.scratch[t].scores);
        hd_free(r.scratch[t].out);
    }
    hd_free(r.scratch);
    hd_free(r.top);
    hd_free(r.tied);
    hd_free(r.rank);
    hd_free(r.user);
    return status;
}

void hd_ranks_clear(struct hd_ranks *ranks)
{
    hd_free(ranks->top);
    hd_free(ranks->rank);
    hd_free(ranks->user);
    *ranks = (struct hd_ranks){0};
}

/* ---- quality */

static double gain(int64_t rank)
{
    return 1 / log2((double)rank + 1);
}

void hd_ranks_to_quality(const int64_t *ranks, int64_t count, heed_ranking_quality *quality)
{
    heed_ranking_quality q = {0};

    for (int64_t i = 0; i < count; i++) {
        int64_t rank = ranks[i];
        q.mrr += 1 / (double)rank;
        q.ndcg5 += rank <= 5 ? gain(rank) : 0;
        q.hr5 += rank <= 5;
        q.ndcg10 += rank <= 10 ? gain(rank) : 0;
        q.hr10 += rank <= 10;
        q.ndcg20 += rank <= 20 ? gain(rank) : 0;
        q.hr20 += rank <= 20;
    }
    double n = count > 0 ? (double)count : 1;
    *quality = (heed_ranking_quality){.ndcg10 = q.ndcg10 / n,
                                      .hr10 = q.hr10 / n,
                                      .mrr = q.mrr / n,
                                      .ndcg5 = q.ndcg5 / n,
                                      .hr5 = q.hr5 / n,
                                      .ndcg20 = q.ndcg20 / n,
                                      .hr20 = q.hr20 / n};
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

heed_status hd_ranks_quality(const struct hd_ranks *ranks, heed_ranking_quality *quality)
{
    int64_t V = ranks->items, shown = 0, different = 0;
    double weighted = 0;
    int64_t *times = hd_alloc((size_t)(V > 0 ? V : 1), sizeof *times);

    if (!times)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory for %" PRId64 " items", V);
    for (int64_t i = 0; i < ranks->count * HD_TOP_COUNT; i++) {
        if (ranks->top[i] < 0)
            continue;
        shown++;
        different += times[ranks->top[i]]++ == 0;
    }
    qsort(times, (size_t)V, sizeof *times, compare_i64);
    for (int64_t i = 0; i < V; i++)
        weighted += (double)(2 * (i + 1) - V - 1) * (double)times[i];
    hd_free(times);

    hd_ranks_to_quality(ranks->rank, ranks->count, quality);
    quality->coverage = V > 0 ? (double)different / (double)V : 0;
    quality->gini = shown > 0 ? weighted / ((double)V * (double)shown) : 0;
    return HEED_OK;
}

/* ---- the bootstrap: NDCG@10 and HR@10 know eleven kinds of users, rank 1 to 10 and the rest. */

struct bootstrap {
    const uint8_t *kind; /* count: rank, or 0 */
    int64_t count;
    uint64_t seed;
    double *ndcg10, *hr10; /* BOOTSTRAP_SAMPLES each */
};

static heed_status bootstrap_task(void *arg, int64_t sample, int worker)
{
    struct bootstrap *b = arg;
    heed_rng rng = hd_rng(b->seed, (uint64_t)sample);
    int64_t drawn[11] = {0};
    double ndcg = 0;

    (void)worker;
    for (int64_t i = 0; i < b->count; i++)
        drawn[b->kind[hd_random_below(&rng, (uint64_t)b->count)]]++;
    for (int rank = 1; rank <= 10; rank++)
        ndcg += (double)drawn[rank] * gain(rank);
    b->ndcg10[sample] = ndcg / (double)b->count;
    b->hr10[sample] = (double)(b->count - drawn[0]) / (double)b->count;
    return HEED_OK;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void interval(double *samples, double out[2])
{
    qsort(samples, BOOTSTRAP_SAMPLES, sizeof *samples, compare_double);
    out[0] = samples[BOOTSTRAP_SAMPLES * 25 / 1000];
    out[1] = samples[BOOTSTRAP_SAMPLES * 975 / 1000 - 1];
}

heed_status hd_ranks_bootstrap(const int64_t *ranks, int64_t count, uint64_t seed, heed_pool *pool,
                               double ndcg10[2], double hr10[2])
{
    struct bootstrap b = {.count = count, .seed = seed};
    heed_status status = HEED_OK;
    uint8_t *kind = NULL;

    if (count == 0) {
        ndcg10[0] = ndcg10[1] = hr10[0] = hr10[1] = 0;
        return HEED_OK;
    }
    kind = hd_alloc((size_t)count, 1);
    b.kind = kind;
    b.ndcg10 = hd_alloc(BOOTSTRAP_SAMPLES, sizeof *b.ndcg10);
    b.hr10 = hd_alloc(BOOTSTRAP_SAMPLES, sizeof *b.hr10);
    if (!kind || !b.ndcg10 || !b.hr10) {
        status = hd_fail(HEED_E_NOMEM, "evaluate: no memory for the bootstrap");
        goto done;
    }
    for (int64_t i = 0; i < count; i++)
        kind[i] = (uint8_t)(ranks[i] <= 10 ? ranks[i] : 0);
    status = hd_pool_run(pool, BOOTSTRAP_SAMPLES, bootstrap_task, &b);
    if (status != HEED_OK)
        goto done;
    interval(b.ndcg10, ndcg10);
    interval(b.hr10, hr10);
done:
    hd_free(b.hr10);
    hd_free(b.ndcg10);
    hd_free(kind);
    return status;
}

/* ---- the split */

struct named_user {
    const char *id;
    int64_t user;
};

static int compare_named(const void *a, const void *b)
{
    const struct named_user *x = a, *y = b;
    return strcmp(x->id, y->id);
}

static void hash_line(struct hd_sha256 *sha, const char *user, const char *item)
{
    hd_sha256_update(sha, user, strlen(user));
    hd_sha256_update(sha, " ", 1);
    hd_sha256_update(sha, item, strlen(item));
    hd_sha256_update(sha, "\n", 1);
}

heed_status hd_split_sha256(const struct hd_histories *h, const char *const *user_id,
                            const char *const *item_id, char hex[HD_SHA256_HEX_BYTES])
{
    struct named_user *named = hd_alloc((size_t)(h->users > 0 ? h->users : 1), sizeof *named);
    struct hd_sha256 sha;
    int64_t count = 0;

    if (!named)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory for %" PRId64 " users", h->users);
    for (int64_t u = 0; u < h->users; u++)
        if (hd_split_holds_out(h, u))
            named[count++] = (struct named_user){user_id[u], u};
    qsort(named, (size_t)count, sizeof *named, compare_named);
    hd_sha256_init(&sha);
    for (int64_t i = 0; i < count; i++) {
        int64_t end = h->offset[named[i].user + 1];
        hash_line(&sha, named[i].id, item_id[h->item[end - HD_SPLIT_VALID]]);
        hash_line(&sha, named[i].id, item_id[h->item[end - HD_SPLIT_TEST]]);
    }
    hd_sha256_final_hex(&sha, hex);
    hd_free(named);
    return HEED_OK;
}

double hd_time_tie_rate(const struct hd_histories *h)
{
    int64_t events = h->offset[h->users], ties = 0;

    if (!h->time || events == 0)
        return 0;
    for (int64_t u = 0; u < h->users; u++) {
        int64_t first = h->offset[u], end = h->offset[u + 1];
        for (int64_t e = first; e < end; e++)
            ties += (e > first && h->time[e] == h->time[e - 1]) ||
                    (e + 1 < end && h->time[e] == h->time[e + 1]);
    }
    return (double)ties / (double)events;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The current model, popularity and the first-order Markov chain on one split (models/evaluate.h
 * says by which rules), and the fingerprint of that split. */
#include "base/pool.h"
#include "base/time.h"
#include "engine/state.h"
#include "models/evaluate.h"
#include "models/markov.h"
#include "models/popularity.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define BOOTSTRAP_SEED 95 /* fixed: the same ranks give the same interval */

/* ---- the sequence model as a scorer: a seat for each worker */

struct sequence_scorer {
    struct hd_model *model;
    int64_t items; /* of the catalogue: the model's own, or more */
    struct hd_seat **seat;
    int32_t **kept_item; /* each worker's copy of a history without what the model does not know */
    heed_time **kept_time;
};

static heed_status score_sequence(void *context, int worker, const struct hd_question *q,
                                  float *scores)
{
    struct sequence_scorer *s = context;
    int64_t known = s->model->config->items, count = 0;
    int32_t *item = s->kept_item[worker];
    heed_time *time = s->kept_time[worker];

    for (int64_t e = 0; e < q->count; e++) {
        if (q->items[e] >= known)
            continue;
        item[count] = q->items[e];
        time[count++] = q->times ? q->times[e] : 0;
    }
    for (int64_t i = 0; i < s->items; i++)
        scores[i] = i < known ? 0 : -INFINITY;
    if (count == 0)
        return HEED_OK;
    return hd_sequence_score(s->seat[worker]->reader, item, q->times ? time : NULL, NULL, count,
                             q->now, scores);
}

static void sequence_scorer_clear(struct sequence_scorer *s, int threads)
{
    for (int t = 0; t < threads; t++) {
        if (s->seat)
            hd_seat_return(s->model, s->seat[t]);
        if (s->kept_item)
            hd_free(s->kept_item[t]);
        if (s->kept_time)
            hd_free(s->kept_time[t]);
    }
    hd_free(s->kept_time);
    hd_free(s->kept_item);
    hd_free(s->seat);
}

static heed_status sequence_scorer_init(struct sequence_scorer *s, struct hd_model *model,
                                        const struct hd_histories *h, int threads)
{
    size_t longest = 1, n = (size_t)threads;

    for (int64_t u = 0; u < h->users; u++)
        if (h->offset[u + 1] - h->offset[u] > (int64_t)longest)
            longest = (size_t)(h->offset[u + 1] - h->offset[u]);
    *s = (struct sequence_scorer){.model = model, .items = h->items};
    s->seat = hd_alloc(n, sizeof(struct hd_seat *));
    s->kept_item = hd_alloc(n, sizeof(int32_t *));
    s->kept_time = hd_alloc(n, sizeof(heed_time *));
    if (!s->seat || !s->kept_item || !s->kept_time)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory");
    for (int t = 0; t < threads; t++) {
        s->kept_item[t] = hd_alloc(longest, sizeof(int32_t));
        s->kept_time[t] = hd_alloc(longest, sizeof(heed_time));
        if (!s->kept_item[t] || !s->kept_time[t])
            return hd_fail(HEED_E_NOMEM, "evaluate: no memory");
        HD_TRY(hd_seat_take(model, &s->seat[t]));
    }
    return HEED_OK;
}

/* ---- the three on one split */

struct evaluating {
    const struct hd_histories *h;
    heed_pool *pool;
    const heed_progress *progress;
    heed_evaluation result;
};

static heed_status rank_by_model(struct hd_model *model, const struct hd_histories *h,
                                 enum hd_split split, heed_pool *pool,
                                 const heed_progress *progress, struct hd_ranks *ranks)
{
    struct sequence_scorer sequence = {0};
    struct hd_scorer scorer = {&sequence, score_sequence};
    int threads = heed_pool_threads(pool);
    heed_status status = sequence_scorer_init(&sequence, model, h, threads);

    if (status == HEED_OK)
        status = hd_rank_targets(h, split, &scorer, pool, progress, ranks);
    sequence_scorer_clear(&sequence, threads);
    return status;
}

heed_status hd_model_validate(struct hd_model *model, const struct hd_histories *h, heed_pool *pool,
                              heed_ranking_quality *quality)
{
    struct hd_ranks ranks = {0};
    heed_status status = rank_by_model(model, h, HD_SPLIT_VALID, pool, NULL, &ranks);

    if (status == HEED_OK)
        hd_ranks_to_quality(ranks.rank, ranks.count, quality);
    hd_ranks_clear(&ranks);
    return status;
}

static heed_status evaluate_model(struct evaluating *e, struct hd_model *model)
{
    struct hd_ranks ranks = {0};
    heed_evaluation *r = &e->result;
    heed_status status =
        rank_by_model(model, e->h, HD_SPLIT_TEST, e->pool, e->progress, &ranks);

    if (status == HEED_OK)
        status = hd_ranks_quality(&ranks, &r->test);
    if (status == HEED_OK)
        status = hd_ranks_bootstrap(ranks.rank, ranks.count, BOOTSTRAP_SEED, e->pool,
                                    r->ci95_ndcg10, r->ci95_hr10);
    if (status == HEED_OK) {
        r->users = ranks.count;
        r->repeats = ranks.repeats;
        r->tie_rate = ranks.count > 0 ? (double)ranks.tied / (double)ranks.count : 0;
    }
    hd_ranks_clear(&ranks);
    return status;
}

static heed_status evaluate_scorer(struct evaluating *e, const struct hd_scorer *scorer,
                                   heed_ranking_quality *quality)
{
    struct hd_ranks ranks = {0};
    heed_status status = hd_rank_targets(e->h, HD_SPLIT_TEST, scorer, e->pool, NULL, &ranks);

    if (status == HEED_OK)
        status = hd_ranks_quality(&ranks, quality);
    hd_ranks_clear(&ranks);
    return status;
}

static heed_status evaluate_popularity(struct evaluating *e)
{
    float *weight = hd_alloc((size_t)e->h->items + 1, sizeof *weight);
    struct hd_popularity_baseline baseline = {weight, e->h->items};
    struct hd_scorer scorer = {&baseline, hd_popularity_score};

    if (!weight)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory");
    hd_popularity(e->h, &(struct hd_popularity_opts){0}, weight);
    heed_status status = evaluate_scorer(e, &scorer, &e->result.popularity);
    hd_free(weight);
    return status;
}

static heed_status evaluate_markov(struct evaluating *e)
{
    struct hd_markov markov;
    struct hd_scorer scorer = {&markov, hd_markov_score};

    HD_TRY(hd_markov_init(&markov, e->h, &(struct hd_markov_opts){0}));
    heed_status status = evaluate_scorer(e, &scorer, &e->result.markov);
    hd_markov_clear(&markov);
    return status;
}

/* Ids by number; they point into the store. */
static heed_status split_sha256(hd_store *store, const struct hd_items *items,
                                const struct hd_histories *h, char hex[HD_SHA256_HEX_BYTES])
{
    const char **user_id = hd_alloc((size_t)h->users + 1, sizeof *user_id);
    heed_status status = HEED_OK;

    if (!user_id)
        return hd_fail(HEED_E_NOMEM, "evaluate: no memory");
    for (int64_t u = 0; u < h->users && status == HEED_OK; u++)
        status = hd_store_user_id(store, (int32_t)u, &user_id[u]);
    if (status == HEED_OK)
        status = hd_split_sha256(h, user_id, items->catalogue.id, hex);
    hd_free(user_id);
    return status;
}

/* Histories first, through a store of the evaluation's own, so that feeds are answered meanwhile;
 * then the items and the model that are current. */
static heed_status take_all(heed_engine *engine, hd_store *store, struct hd_items **items,
                            struct hd_past *past, struct hd_model **model)
{
    HD_TRY(hd_past_load(store, past));
    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_items_take(engine, items);
    if (status == HEED_OK)
        status = hd_model_take(engine, model);
    if (status == HEED_OK && past->histories.offset[past->histories.users] == 0)
        status =
            hd_fail(HEED_E_STATE, "evaluate: nothing to evaluate on: the store holds no events");
    else if (status == HEED_OK && !*model)
        status = hd_fail(HEED_E_STATE, "evaluate: %s", engine->model_trouble);
    else if (status == HEED_OK && (*items)->catalogue.items < past->histories.items)
        status = hd_fail(HEED_E_BUSY, "evaluate: items are coming in; try again");
    else if (status == HEED_OK)
        status = hd_model_fits(*model, past->histories.items);
    hd_engine_unlock(engine);
    return status;
}

heed_status heed_engine_evaluate(heed_engine *engine, const heed_progress *progress,
                                 heed_evaluation *out)
{
    struct hd_items *items = NULL;
    struct hd_past past = {0};
    struct hd_model *model = NULL;
    hd_store *store = NULL;
    struct evaluating e = {.progress = progress};
    int64_t began_ns = hd_monotonic_ns();
    heed_status status = hd_store_open(
        engine->folder, &(struct hd_store_opts){.must_exist = true}, &store);

    if (status == HEED_OK)
        status = take_all(engine, store, &items, &past, &model);
    if (status != HEED_OK)
        goto done;
    e.h = &past.histories;
    e.result.items = e.h->items;
    e.result.time_tie_rate = hd_time_tie_rate(e.h);
    status = heed_pool_new(engine->threads, &e.pool);
    if (status == HEED_OK)
        status = split_sha256(store, items, e.h, e.result.split_sha256);
    if (status == HEED_OK)
        status = evaluate_popularity(&e);
    if (status == HEED_OK)
        status = evaluate_markov(&e);
    if (status == HEED_OK)
        status = evaluate_model(&e, model);
    if (status == HEED_OK && e.result.users == 0)
        status = hd_fail(HEED_E_STATE, "evaluate: nothing to evaluate on: no user has three events "
                                       "of which the last is on an item new to them");
    if (status != HEED_OK)
        goto done;
    e.result.seconds = (double)(hd_monotonic_ns() - began_ns) * 1e-9;
    *out = e.result;
done:
    heed_pool_free(e.pool);
    hd_model_drop(model);
    hd_past_clear(&past);
    hd_items_drop(items);
    hd_store_close(store);
    return status;
}

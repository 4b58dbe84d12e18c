/* SPDX-License-Identifier: Apache-2.0
 *
 * Why an item stands where it does: the reader's visits as the model saw them, what each did to the
 * score, and how far that can be trusted. Leaving events out is done by explain/explain.h; here
 * stands what it asks for, the model's answer to a history from which some events are deleted. */
#include "explain/explain.h"
#include "allocate/feed.h"
#include "base/pool.h"
#include "engine/asking.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define RANDOM_ORDERS_SEED 1 /* fixed: the same question has the same answer */

struct explanation_answer {
    heed_explanation explanation; /* first: what the caller holds */
    hd_arena *arena;
};

/* One worker's seat and its shortened history. */
struct bench {
    struct hd_seat *seat;
    int32_t *item;
    heed_time *time;
};

struct explaining {
    heed_engine *engine;
    const heed_explain_opts *opts;
    struct hd_asking asking;
    hd_arena *desk, *arena; /* scratch, and the answer's own */
    heed_pool *pool;
    struct bench *bench; /* threads */
    int threads;
    int32_t target;
    uint8_t *out;     /* items */
    int64_t count;    /* events that the model sees: the latest */
    int32_t *item;    /* count */
    heed_time *time;  /* count, or NULL */
    const heed_time *when; /* count: as they were given */
    double *gradient; /* count, or NULL */
    float *maps;      /* (layers, heads, count, count), or NULL */
    struct hd_explain_answer answer;
};

/* ---- scoring what is left of a history */

struct scoring {
    struct explaining *x;
    const struct hd_subset *subsets;
    struct hd_outcome *outcomes;
};

static heed_status score_subset(void *arg, int64_t task, int worker)
{
    const struct scoring *s = arg;
    const struct explaining *x = s->x;
    const struct hd_subset *subset = &s->subsets[task];
    const struct bench *b = &x->bench[worker];
    struct hd_standing standing;

    for (int64_t i = 0; i < subset->count; i++) {
        b->item[i] = x->item[subset->kept[i]];
        if (x->time)
            b->time[i] = x->time[subset->kept[i]];
    }
    HD_TRY(hd_sequence_score(b->seat->reader, b->item, x->time ? b->time : NULL, subset->kept,
                             subset->count, x->asking.model_now, b->seat->scores));
    hd_stand(b->seat->scores, x->asking.model->config->items, x->out, x->target, &standing);
    s->outcomes[task] = (struct hd_outcome){.score = standing.log_probability,
                                            .probability = exp(standing.log_probability),
                                            .rank = standing.rank};
    return HEED_OK;
}

static heed_status score_subsets(void *context, const struct hd_subset *subsets, int64_t count,
                                 struct hd_outcome *outcomes)
{
    struct explaining *x = context;
    struct scoring scoring = {x, subsets, outcomes};

    return hd_pool_run(x->pool, count, score_subset, &scoring);
}

/* ---- the parts of an explanation */

static heed_status find_target(struct explaining *x, const char *user, const char *item)
{
    const struct hd_asking *a = &x->asking;

    if (a->user < 0)
        return hd_fail_no_user(x->engine, "explain", user);
    pthread_mutex_lock(&x->engine->lock);
    heed_status status = hd_store_find_item(x->engine->store, item, strlen(item), &x->target);
    pthread_mutex_unlock(&x->engine->lock);
    if (status != HEED_OK)
        return status;
    if (x->target < 0 || x->target >= a->items->catalogue.items)
        return hd_fail_no_item(&a->items->catalogue, "explain", item);
    if (!a->model)
        return hd_fail(HEED_E_STATE, "explain: %s", a->trouble);
    if (x->target >= a->model->config->items)
        return hd_fail(HEED_E_STATE,
                       "explain: item \"%.80s\" came after the model was trained; train it again",
                       item);
    if (a->count == 0)
        return hd_fail(HEED_E_STATE, "explain: user \"%.80s\" has no visits that the model knows",
                       user);
    return HEED_OK;
}

/* The window the model sees, and who stands in the ranking. */
static heed_status prepare(struct explaining *x)
{
    const struct hd_asking *a = &x->asking;
    const struct hd_sequence_config *config = a->model->config;
    int64_t items = a->items->catalogue.items;

    x->count = a->count < config->length ? a->count : config->length;
    x->item = a->item + a->count - x->count;
    x->time = a->time ? a->time + a->count - x->count : NULL;
    x->when = a->when + a->count - x->count;
    x->out = hd_arena_zalloc(x->desk, (size_t)items, 1);
    if (!x->out)
        return hd_fail(HEED_E_NOMEM, "explain: no memory for %" PRId64 " items", items);
    hd_filter_catalogue(&a->items->catalogue, a->now, x->out);
    hd_filter_items(a->away, a->away_count, items, x->out);

    HD_TRY(heed_pool_new(x->engine->threads, &x->pool));
    x->threads = heed_pool_threads(x->pool);
    x->bench = hd_arena_zalloc(x->desk, (size_t)x->threads, sizeof *x->bench);
    if (!x->bench)
        return hd_fail(HEED_E_NOMEM, "explain: no memory");
    for (int t = 0; t < x->threads; t++) {
        x->bench[t].item = hd_arena_alloc(x->desk, (size_t)x->count, sizeof(int32_t));
        x->bench[t].time = hd_arena_alloc(x->desk, (size_t)x->count, sizeof(heed_time));
        if (!x->bench[t].item || !x->bench[t].time)
            return hd_fail(HEED_E_NOMEM, "explain: no memory");
        HD_TRY(hd_seat_take(a->model, &x->bench[t].seat));
    }
    return HEED_OK;
}

/* Contributions from gradients where no exact ones are wanted, and the maps, which come with them.
 */
static heed_status attribute(struct explaining *x)
{
    const struct hd_sequence_config *config = x->asking.model->config;
    size_t layers = (size_t)config->layers, heads = (size_t)config->heads, n = (size_t)x->count;
    double *gradient;

    if (x->opts->exact && !x->opts->maps)
        return HEED_OK;
    gradient = hd_arena_alloc(x->desk, n, sizeof *gradient);
    if (x->opts->maps)
        x->maps = hd_arena_zalloc(x->arena, layers * heads * n, n * sizeof *x->maps);
    if (!gradient || (x->opts->maps && !x->maps))
        return hd_fail(HEED_E_NOMEM, "explain: no memory for maps of %zu events", n);
    HD_TRY(hd_sequence_attribute(x->bench[0].seat->reader, x->item, x->time, x->count,
                                 x->asking.model_now, x->target, gradient, x->maps));
    x->gradient = x->opts->exact ? NULL : gradient;
    return HEED_OK;
}

static heed_status ask(struct explaining *x)
{
    int64_t items = x->asking.model->config->items, left = 1;

    for (int64_t i = 0; i < items; i++)
        left += !x->out[i] && i != x->target;
    struct hd_explain_question question = {
        .history = x->count,
        .score = score_subsets,
        .context = x,
        /* A reader of whom nothing is known: every item alike, and ties count against the target.
         */
        .empty = {.score = -log((double)items), .probability = 1 / (double)items, .rank = left},
        .contributions = x->gradient,
        .seed = RANDOM_ORDERS_SEED};
    return hd_explain(&question, &x->answer);
}

/* ---- writing it down */

static heed_status name_event(const struct explaining *x, int64_t e, heed_reason *reason)
{
    const struct hd_catalogue *c = &x->asking.items->catalogue;
    int32_t item = x->item[e];

    *reason =
        (heed_reason){.item = hd_arena_strdup(x->arena, c->id[item]),
                      .title = c->title[item] ? hd_arena_strdup(x->arena, c->title[item]) : NULL,
                      .contribution = x->answer.contributions[e],
                      .when = x->when[e]};
    if (!reason->item || (c->title[item] && !reason->title))
        return hd_fail(HEED_E_NOMEM, "explain: no memory for %" PRId64 " events", x->count);
    return HEED_OK;
}

static heed_status write_down(const struct explaining *x, const char *user, heed_explanation *out)
{
    const struct hd_explain_answer *answer = &x->answer;
    const struct hd_catalogue *c = &x->asking.items->catalogue;
    heed_reason *history = hd_arena_zalloc(x->arena, (size_t)x->count, sizeof *history);
    heed_reason *reasons = hd_arena_zalloc(x->arena, (size_t)x->count, sizeof *reasons);
    const char *title = c->title[x->target];

    if (!history || !reasons)
        return hd_fail(HEED_E_NOMEM, "explain: no memory for %" PRId64 " events", x->count);
    for (int64_t e = 0; e < x->count; e++)
        HD_TRY(name_event(x, e, &history[e]));
    for (int64_t i = 0; i < x->count; i++)
        reasons[i] = history[answer->order[i]];
    *out = (heed_explanation){.user = hd_arena_strdup(x->arena, user),
                              .item = hd_arena_strdup(x->arena, c->id[x->target]),
                              .title = title ? hd_arena_strdup(x->arena, title) : NULL,
                              .method = x->opts->exact ? "leave-one-out" : "gradient-attention",
                              .score = answer->whole.score,
                              .probability = answer->whole.probability,
                              .rank = answer->whole.rank,
                              .counterfactual_rank = answer->counterfactual.rank,
                              .counterfactual_item = reasons[0].item,
                              .reasons = reasons,
                              .reason_count = (int)x->count,
                              .comprehensiveness = answer->own.comprehensiveness,
                              .sufficiency = answer->own.sufficiency,
                              .random_comprehensiveness = answer->random.comprehensiveness,
                              .random_sufficiency = answer->random.sufficiency,
                              .history = history,
                              .history_count = (int)x->count,
                              .layers = (int)x->asking.model->config->layers,
                              .heads = (int)x->asking.model->config->heads,
                              .maps = x->maps};
    if (!out->user || !out->item || (title && !out->title))
        return hd_fail(HEED_E_NOMEM, "explain: no memory");
    return HEED_OK;
}

static heed_status explain_run(struct explaining *x, const char *user, const char *item,
                               heed_explanation *out)
{
    HD_TRY(hd_asking_init(&x->asking, x->engine, user, &(struct hd_asking_opts){.at = x->opts->at},
                          x->desk));
    HD_TRY(find_target(x, user, item));
    HD_TRY(prepare(x));
    HD_TRY(attribute(x));
    HD_TRY(ask(x));
    return write_down(x, user, out);
}

heed_status heed_engine_explain(heed_engine *engine, const char *user, const char *item,
                                const heed_explain_opts *opts, heed_explanation **out)
{
    static const heed_explain_opts ordinary;
    struct explaining x = {.engine = engine, .opts = opts ? opts : &ordinary};
    struct explanation_answer *answer;

    if (!user || !*user || !item || !*item)
        return hd_fail(HEED_E_ARG, "explain: no %s was given", user && *user ? "item" : "user");
    answer = hd_alloc(1, sizeof *answer);
    if (!answer || !(answer->arena = hd_arena_new(0))) {
        hd_free(answer);
        return hd_fail(HEED_E_NOMEM, "explain: no memory");
    }
    x.arena = answer->arena;
    heed_status status = hd_desk_take(engine, &x.desk);
    if (status == HEED_OK)
        status = explain_run(&x, user, item, &answer->explanation);
    hd_explain_answer_clear(&x.answer);
    for (int t = 0; x.bench && t < x.threads; t++)
        hd_seat_return(x.asking.model, x.bench[t].seat);
    heed_pool_free(x.pool);
    hd_asking_clear(&x.asking);
    hd_desk_return(engine, x.desk);
    if (status != HEED_OK) {
        heed_explanation_free(&answer->explanation);
        return status;
    }
    *out = &answer->explanation;
    return HEED_OK;
}

void heed_explanation_free(heed_explanation *explanation)
{
    struct explanation_answer *answer = (struct explanation_answer *)(void *)explanation;

    if (!answer)
        return;
    hd_arena_free(answer->arena);
    hd_free(answer);
}

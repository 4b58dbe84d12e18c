/* SPDX-License-Identifier: Apache-2.0
 *
 * How the model attends to a reader's history: its weights, with the names of what was read. */
#include "engine/asking.h"

#include <stdio.h>
#include <string.h>

struct maps_answer {
    heed_maps maps; /* first: what the caller holds */
    hd_arena *arena;
};

static heed_status check(const struct hd_asking *a, heed_engine *engine, const char *user)
{
    if (a->user < 0)
        return hd_fail_no_user(engine, "maps", user);
    if (!a->model)
        return hd_fail(HEED_E_STATE, "maps: %s", a->trouble);
    if (a->count == 0)
        return hd_fail(HEED_E_STATE, "maps: user \"%.80s\" has no visits that the model knows",
                       user);
    return HEED_OK;
}

/* Weights do not depend on what is asked about, so that may be any item. */
static heed_status fill_weights(const struct hd_asking *a, const int32_t *item,
                                const heed_time *time, int64_t n, hd_arena *desk, float *weights)
{
    double *unused = hd_arena_alloc(desk, (size_t)n, sizeof *unused);
    struct hd_seat *seat;

    if (!unused)
        return hd_fail(HEED_E_NOMEM, "maps: no memory");
    HD_TRY(hd_seat_take(a->model, &seat));
    heed_status status = hd_sequence_attribute(seat->reader, item, time, n, a->model_now, item[0],
                                               unused, weights);
    hd_seat_return(a->model, seat);
    return status;
}

static const char *title_of(const struct hd_catalogue *c, int32_t item)
{
    return c->title[item] && *c->title[item] ? c->title[item] : c->id[item];
}

static heed_status fill_names(const struct hd_catalogue *c, const int32_t *item, int64_t n,
                              hd_arena *arena, const char **names)
{
    for (int64_t i = 0; i < n; i++)
        if (!(names[i] = hd_arena_strdup(arena, title_of(c, item[i]))))
            return hd_fail(HEED_E_NOMEM, "maps: no memory for %lld names", (long long)n);
    return HEED_OK;
}

static heed_status fill(const struct hd_asking *a, const char *user, hd_arena *desk,
                        struct maps_answer *answer)
{
    const struct hd_sequence_config *config = a->model->config;
    int64_t n = a->count < config->length ? a->count : config->length, from = a->count - n;
    size_t count = (size_t)(config->layers * config->heads * n);
    float *weights = hd_arena_zalloc(answer->arena, count, (size_t)n * sizeof *weights);
    const char **names = hd_arena_alloc(answer->arena, (size_t)n, sizeof *names);
    char title[128], note[256];

    if (!weights || !names)
        return hd_fail(HEED_E_NOMEM, "maps: no memory for maps of %lld events", (long long)n);
    HD_TRY(fill_weights(a, a->item + from, a->time ? a->time + from : NULL, n, desk, weights));
    HD_TRY(fill_names(&a->items->catalogue, a->item + from, n, answer->arena, names));
    snprintf(title, sizeof title, "What %.80s read", user);
    snprintf(note, sizeof note,
             "The weights of the trained sequence model (%s) over the latest %lld of %lld visits.",
             heed_recipe_name(config->recipe), (long long)n, (long long)a->count);
    answer->maps = (heed_maps){.title = hd_arena_strdup(answer->arena, title),
                               .note = hd_arena_strdup(answer->arena, note),
                               .layers = (int)config->layers,
                               .heads = (int)config->heads,
                               .rows = (int)n,
                               .columns = (int)n,
                               .row_names = names,
                               .weights = weights,
                               .causal = true};
    return answer->maps.title && answer->maps.note ? HEED_OK
                                                   : hd_fail(HEED_E_NOMEM, "maps: no memory");
}

heed_status heed_engine_maps(heed_engine *engine, const char *user, heed_time at, heed_maps **maps)
{
    struct hd_asking asking = {0};
    struct maps_answer *answer;
    hd_arena *desk = NULL;

    if (!user || !*user)
        return hd_fail(HEED_E_ARG, "maps: no user was given");
    answer = hd_alloc(1, sizeof *answer);
    if (!answer || !(answer->arena = hd_arena_new(0))) {
        hd_free(answer);
        return hd_fail(HEED_E_NOMEM, "maps: no memory");
    }
    heed_status status = hd_desk_take(engine, &desk);
    if (status == HEED_OK)
        status = hd_asking_init(&asking, engine, user, &(struct hd_asking_opts){.at = at}, desk);
    if (status == HEED_OK)
        status = check(&asking, engine, user);
    if (status == HEED_OK)
        status = fill(&asking, user, desk, answer);
    hd_asking_clear(&asking);
    hd_desk_return(engine, desk);
    if (status != HEED_OK) {
        heed_maps_free(&answer->maps);
        return status;
    }
    *maps = &answer->maps;
    return HEED_OK;
}

void heed_maps_free(heed_maps *maps)
{
    struct maps_answer *answer = (struct maps_answer *)(void *)maps;

    if (!answer)
        return;
    hd_arena_free(answer->arena);
    hd_free(answer);
}

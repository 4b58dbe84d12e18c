/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters and the optimiser's state, in and out of model files. The state of parameter NAME is
 * in the tensors adam.m.NAME, adam.v.NAME and adam.average.NAME; the count of steps is the
 * metadata's adam.steps. */
#include "nn/adam.h"
#include "nn/safetensors.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STEPS_KEY "adam.steps"

static const char *const state_names[] = {"adam.m.", "adam.v.", "adam.average."};

/* The state's tensors of one kind, or NULL where none is kept. */
static void **state_of(const heed_adam *adam, int kind)
{
    return kind == 0 ? adam->m : kind == 1 ? adam->v : adam->average;
}

static heed_status check_pair(const heed_params *params, const heed_adam *adam)
{
    if (!adam)
        return HEED_OK;
    if (adam->params != params || adam->count != params->count)
        return hd_fail(HEED_E_ARG, "checkpoint: the optimiser is not of these parameters");
    if (adam->swapped)
        return hd_fail(HEED_E_STATE, "checkpoint: the weights are swapped with their average");
    return HEED_OK;
}

/* prefix + name, in the arena; NULL where there is no memory. */
static const char *joined(hd_arena *arena, const char *prefix, const char *name)
{
    size_t bytes = strlen(prefix) + strlen(name) + 1;
    char *text = hd_arena_alloc(arena, bytes, 1);

    if (text)
        snprintf(text, bytes, "%s%s", prefix, name);
    return text;
}

/* Calls `each` for every tensor that a file of these holds: the parameter, its name in the file,
 * its numbers in memory. */
typedef heed_status (*each_fn)(void *arg, const struct hd_param *p, const char *name, void *data);

static heed_status for_each(heed_params *params, const heed_adam *adam, hd_arena *arena,
                            each_fn each, void *arg)
{
    for (int64_t i = 0; i < params->count; i++)
        HD_TRY(each(arg, params->param[i], params->param[i]->name, params->param[i]->tensor.data));
    for (int kind = 0; adam && kind < 3; kind++) {
        void **state = state_of(adam, kind);
        for (int64_t i = 0; state && i < params->count; i++) {
            const char *name = joined(arena, state_names[kind], params->param[i]->name);
            if (!name)
                return hd_fail(HEED_E_NOMEM, "checkpoint: no memory for names");
            HD_TRY(each(arg, params->param[i], name, state[i]));
        }
    }
    return HEED_OK;
}

/* ---- saving */

struct listing {
    struct hd_stored *list;
    int64_t count;
};

static heed_status list_one(void *arg, const struct hd_param *p, const char *name, void *data)
{
    struct listing *listing = arg;
    struct hd_stored *t = &listing->list[listing->count++];

    *t = (struct hd_stored){.name = name,
                            .type = p->tensor.dtype == HEED_F32 ? HD_STORED_F32 : HD_STORED_F64,
                            .rank = p->tensor.rank,
                            .data = data};
    for (int d = 0; d < t->rank; d++)
        t->dim[d] = p->tensor.dim[d];
    return HEED_OK;
}

static heed_status save(heed_params *params, const heed_adam *adam, hd_arena *arena,
                        const char *path, const char *const *keys, const char *const *values,
                        int64_t pairs)
{
    struct listing listing = {0};
    const char **all_keys, **all_values;
    char steps[24];

    if (pairs < 0)
        return hd_fail(HEED_E_ARG, "checkpoint: %" PRId64 " pairs of metadata", pairs);
    listing.list = hd_arena_alloc(arena, (size_t)(4 * params->count), sizeof *listing.list);
    all_keys = hd_arena_alloc(arena, (size_t)pairs + 1, sizeof *all_keys);
    all_values = hd_arena_alloc(arena, (size_t)pairs + 1, sizeof *all_values);
    if (!listing.list || !all_keys || !all_values)
        return hd_fail(HEED_E_NOMEM, "checkpoint: no memory for the header");
    for (int64_t i = 0; i < pairs; i++)
        all_keys[i] = keys[i], all_values[i] = values[i];
    if (adam) {
        snprintf(steps, sizeof steps, "%" PRId64, adam->steps);
        all_keys[pairs] = STEPS_KEY, all_values[pairs++] = steps;
    }
    HD_TRY(for_each(params, adam, arena, list_one, &listing));
    return hd_safetensors_save(path, listing.list, listing.count, all_keys, all_values, pairs);
}

heed_status heed_params_save(heed_params *params, const heed_adam *adam, const char *path,
                             const char *const *keys, const char *const *values, int64_t pairs)
{
    HD_TRY(check_pair(params, adam));
    hd_arena *arena = hd_arena_new(0);
    if (!arena)
        return hd_fail(HEED_E_NOMEM, "checkpoint: no memory");
    heed_status status = save(params, adam, arena, path, keys, values, pairs);
    hd_arena_free(arena);
    return status;
}

/* ---- loading: everything is checked before the first number is read */

static heed_status check_one(void *arg, const struct hd_param *p, const char *name, void *data)
{
    const hd_safetensors *file = arg;
    const struct hd_stored *t = hd_safetensors_find(file, name);
    bool same;

    (void)data;
    if (!t)
        return hd_fail(HEED_E_FORMAT, "%s: there is no tensor %s", hd_safetensors_path(file), name);
    if (t->type > HD_STORED_BF16)
        return hd_fail(HEED_E_FORMAT, "%s: %s holds no floating-point numbers",
                       hd_safetensors_path(file), name);
    same = t->rank == p->tensor.rank;
    for (int d = 0; same && d < t->rank; d++)
        same = t->dim[d] == p->tensor.dim[d];
    if (!same)
        return hd_fail(HEED_E_SHAPE, "%s: %s is %s, not %s", hd_safetensors_path(file), name,
                       hd_stored_shape_text(t), hd_shape_text(&p->tensor));
    return HEED_OK;
}

static heed_status read_one(void *arg, const struct hd_param *p, const char *name, void *data)
{
    const hd_safetensors *file = arg;

    return hd_safetensors_read_as(file, hd_safetensors_find(file, name), p->tensor.dtype, data);
}

heed_status hd_params_read(heed_params *params, heed_adam *adam, hd_safetensors *file)
{
    int64_t steps = 0;

    HD_TRY(check_pair(params, adam));
    hd_arena *arena = hd_arena_new(0);
    if (!arena)
        return hd_fail(HEED_E_NOMEM, "checkpoint: no memory");
    heed_status status =
        adam ? hd_safetensors_number(file, STEPS_KEY, 0, INT64_MAX, &steps) : HEED_OK;
    if (status == HEED_OK)
        status = for_each(params, adam, arena, check_one, file);
    if (status == HEED_OK)
        status = for_each(params, adam, arena, read_one, file);
    if (status == HEED_OK && adam)
        adam->steps = steps;
    hd_arena_free(arena);
    return status;
}

heed_status heed_params_load(heed_params *params, heed_adam *adam, const char *path)
{
    hd_safetensors *file;

    HD_TRY(hd_safetensors_open(path, &file));
    heed_status status = hd_params_read(params, adam, file);
    hd_safetensors_close(file);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence model's handle: made, saved, loaded, asked. Training is in sequence_train.c, the
 * formulas in sequence_net.c. */
#include "models/sequence.h"
#include "base/memory.h"
#include "models/sequence_impl.h"
#include "nn/safetensors.h"
#include "tensor/tape.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

heed_status hd_sequence_new(const struct hd_sequence_config *config, uint64_t seed,
                            hd_sequence **out)
{
    struct hd_sequence_config complete = *config;
    heed_status status;

    HD_TRY(hd_sequence_config_complete(&complete));
    hd_sequence *model = hd_alloc(1, sizeof *model);
    if (!model)
        return hd_fail(HEED_E_NOMEM, "sequence: no memory");
    model->config = complete;
    status = heed_params_new(HEED_F32, seed, &model->params);
    if (status == HEED_OK)
        status = hd_sequence_net_bind(&model->net, &complete, model->params, true);
    if (status != HEED_OK) {
        hd_sequence_free(model);
        return status;
    }
    *out = model;
    return HEED_OK;
}

void hd_sequence_free(hd_sequence *model)
{
    if (!model)
        return;
    heed_params_free(model->params);
    hd_free(model->output);
    hd_free(model);
}

const struct hd_sequence_config *hd_sequence_config(const hd_sequence *model)
{
    return &model->config;
}

heed_status hd_sequence_ready(hd_sequence *model)
{
    int64_t V = model->config.items, C = model->config.dim;
    const struct hd_kernels *k = hd_kernels();
    heed_tape *tape = NULL;
    heed_tensor *table;
    double scale;

    if (!model->output)
        model->output = hd_resize(NULL, (size_t)(V * C), sizeof *model->output);
    if (!model->output)
        return hd_fail(HEED_E_NOMEM, "sequence: no memory for %" PRId64 " items", V);
    HD_TRY(heed_tape_new(NULL, 0, &tape));
    heed_tape_record(tape, false);
    heed_status status = hd_sequence_output(tape, &model->net, &table, &scale);
    if (status == HEED_OK)
        k->scale(model->output, scale, table->data, (size_t)(V * C));
    heed_tape_free(tape);
    return status;
}

/* ---- files */
static const char *const recipe_names[] = {"", "sasrec", "hstu"};

void hd_sequence_describe(const struct hd_sequence_config *c, struct hd_sequence_pairs *out)
{
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"items", c->items},   {"dim", c->dim},       {"layers", c->layers},
                {"heads", c->heads},   {"length", c->length}, {"timed", c->timed}};
    int64_t n = 0;

    out->key[n] = "model", out->value[n++] = "heed.sequence.1";
    out->key[n] = "recipe", out->value[n++] = recipe_names[c->recipe];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, n++) {
        snprintf(out->text[n], sizeof out->text[n], "%" PRId64, rows[i].value);
        out->key[n] = rows[i].key, out->value[n] = out->text[n];
    }
    out->count = n;
}

heed_status hd_sequence_save(hd_sequence *model, const char *path)
{
    struct hd_sequence_pairs pairs;

    hd_sequence_describe(&model->config, &pairs);
    return heed_params_save(model->params, NULL, path, pairs.key, pairs.value, pairs.count);
}

static heed_status meta_number(const hd_safetensors *file, const char *path, const char *key,
                               int64_t low, int64_t high, int64_t *out)
{
    const char *text = hd_safetensors_text(file, key);
    char *end;

    if (!text)
        return hd_fail(HEED_E_FORMAT, "%s: no %s in the metadata", path, key);
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        return hd_fail(HEED_E_FORMAT, "%s: %s is \"%.40s\", not %" PRId64 " to %" PRId64, path, key,
                       text, low, high);
    *out = value;
    return HEED_OK;
}

static heed_status read_config(const char *path, struct hd_sequence_config *c)
{
    hd_safetensors *file = NULL;
    int64_t timed = 0;
    heed_status status = hd_safetensors_open(path, &file);

    if (status != HEED_OK)
        return status;
    const char *model = hd_safetensors_text(file, "model");
    const char *recipe = hd_safetensors_text(file, "recipe");
    if (!model || strcmp(model, "heed.sequence.1") != 0)
        status = hd_fail(HEED_E_FORMAT, "%s: not a sequence model of this version", path);
    else if (recipe && strcmp(recipe, "sasrec") == 0)
        c->recipe = HEED_RECIPE_SASREC;
    else if (recipe && strcmp(recipe, "hstu") == 0)
        c->recipe = HEED_RECIPE_HSTU;
    else
        status = hd_fail(HEED_E_FORMAT, "%s: unknown recipe", path);
    if (status == HEED_OK)
        status = meta_number(file, path, "items", 1, INT32_MAX, &c->items);
    if (status == HEED_OK)
        status = meta_number(file, path, "dim", 1, HD_SEQUENCE_DIM_MAX, &c->dim);
    if (status == HEED_OK)
        status = meta_number(file, path, "layers", 1, HD_SEQUENCE_LAYERS_MAX, &c->layers);
    if (status == HEED_OK)
        status = meta_number(file, path, "heads", 1, HD_SEQUENCE_HEADS_MAX, &c->heads);
    if (status == HEED_OK)
        status = meta_number(file, path, "length", 1, HD_SEQUENCE_LENGTH_MAX, &c->length);
    if (status == HEED_OK)
        status = meta_number(file, path, "timed", 0, 1, &timed);
    c->timed = timed != 0;
    /* The table must be in the file before its claimed size sizes anything. */
    const struct hd_stored *item = hd_safetensors_find(file, "item");
    if (status == HEED_OK &&
        (!item || item->rank != 2 || item->dim[0] != c->items || item->dim[1] != c->dim))
        status = hd_fail(HEED_E_FORMAT, "%s: tensor item is not (%" PRId64 ", %" PRId64 ")", path,
                         c->items, c->dim);
    hd_safetensors_close(file);
    return status;
}

heed_status hd_sequence_load(const char *path, hd_sequence **out)
{
    struct hd_sequence_config config = {0};
    hd_sequence *model = NULL;

    HD_TRY(read_config(path, &config));
    HD_TRY(hd_sequence_new(&config, 0, &model));
    heed_status status = heed_params_load(model->params, NULL, path);
    if (status == HEED_OK)
        status = hd_sequence_ready(model);
    if (status != HEED_OK) {
        hd_sequence_free(model);
        return status;
    }
    *out = model;
    return HEED_OK;
}

/* ---- asking */
struct hd_sequence_reader {
    const hd_sequence *model;
    heed_tape *tape;
    struct hd_sequence_rows rows;
};

heed_status hd_sequence_reader_new(const hd_sequence *model, hd_sequence_reader **out)
{
    hd_sequence_reader *reader = hd_alloc(1, sizeof *reader);

    if (!reader)
        return hd_fail(HEED_E_NOMEM, "sequence: no memory");
    reader->model = model;
    heed_status status = heed_tape_new(NULL, 0, &reader->tape);
    if (status == HEED_OK)
        status = hd_sequence_rows_init(&reader->rows, model->config.length);
    if (status != HEED_OK) {
        hd_sequence_reader_free(reader);
        return status;
    }
    *out = reader;
    return HEED_OK;
}

void hd_sequence_reader_free(hd_sequence_reader *reader)
{
    if (!reader)
        return;
    heed_tape_free(reader->tape);
    hd_sequence_rows_clear(&reader->rows);
    hd_free(reader);
}

static heed_status check_history(const hd_sequence *model, const int32_t *items, int64_t count)
{
    if (count < 1)
        return hd_fail(HEED_E_ARG, "sequence: an empty history");
    for (int64_t i = 0; i < count; i++)
        if (items[i] < 0 || items[i] >= model->config.items)
            return hd_fail(HEED_E_RANGE, "sequence: item %d of the history is not below %" PRId64,
                           items[i], model->config.items);
    return HEED_OK;
}

/* The last `length` events as a batch of one. Returns how many there are. */
static int64_t fill_window(const hd_sequence *model, struct hd_sequence_rows *rows,
                           const int32_t *items, const heed_time *times, int64_t count,
                           heed_time now)
{
    int64_t n = count < model->config.length ? count : model->config.length;

    hd_sequence_rows_reset(rows);
    hd_sequence_rows_add(rows, items + count - n, times ? times + count - n : NULL, n, 0, -1, now);
    return n;
}

heed_status hd_sequence_score_with(const hd_sequence *model, heed_tape *tape,
                                   struct hd_sequence_rows *rows, const int32_t *items,
                                   const heed_time *times, int64_t count, heed_time now,
                                   float *scores)
{
    int64_t V = model->config.items, C = model->config.dim;
    const struct hd_kernels *k = hd_kernels();
    heed_tensor *state;

    HD_TRY(check_history(model, items, count));
    int64_t n = fill_window(model, rows, items, times, count, now);
    struct hd_sequence_batch batch = hd_sequence_rows_batch(rows);
    heed_tape_reset(tape);
    heed_tape_record(tape, false);
    HD_TRY(hd_sequence_forward(tape, &model->net, &batch, 0, &state, NULL));
    const float *last = (const float *)state->data + (n - 1) * state->stride[0];
    for (int64_t v = 0; v < V; v++)
        scores[v] = (float)k->dot(last, model->output + v * C, (size_t)C);
    return HEED_OK;
}

heed_status hd_sequence_score(hd_sequence_reader *reader, const int32_t *items,
                              const heed_time *times, int64_t count, heed_time now, float *scores)
{
    return hd_sequence_score_with(reader->model, reader->tape, &reader->rows, items, times, count,
                                  now, scores);
}

/* What position j gave to the target's score as a key of layer l, over heads and queries:
 *     sum_i,h A_ij <dS/do_ih, v_jh>
 * which is attention times its gradient, dS/dA_ij = <dS/do_ih, v_jh>, and keeps its sign. */
static heed_status add_layer(heed_tape *tape, const struct hd_sequence_config *c,
                             const struct hd_sequence_trace *trace, int64_t l, int64_t n,
                             double *contributions)
{
    heed_tensor *v = trace->layer[l].v, *out = trace->layer[l].out;
    const float *a = trace->layer[l].weights->data;
    int64_t D = c->dim / c->heads;
    const struct hd_kernels *k = hd_kernels();
    void *dout;

    HD_TRY(hd_grad(tape, out, &dout));
    for (int64_t h = 0; h < c->heads; h++)
        for (int64_t i = 0; i < n; i++) {
            const float *d = (const float *)dout + i * out->stride[0] + h * D;
            for (int64_t j = 0; j <= i; j++)
                contributions[j] +=
                    (double)a[(h * n + i) * n + j] *
                    k->dot(d, (const float *)v->data + j * v->stride[0] + h * D, (size_t)D);
        }
    return HEED_OK;
}

heed_status hd_sequence_attribute(hd_sequence_reader *reader, const int32_t *items,
                                  const heed_time *times, int64_t count, heed_time now,
                                  int32_t target, double *contributions, float *maps)
{
    const hd_sequence *model = reader->model;
    const struct hd_sequence_config *c = &model->config;
    struct hd_sequence_trace trace = {0};
    heed_tape *tape = reader->tape;
    heed_tensor *state, *row, *score;

    HD_TRY(check_history(model, items, count));
    if (target < 0 || target >= c->items)
        return hd_fail(HEED_E_RANGE, "sequence: item %d is not below %" PRId64, target, c->items);
    int64_t n = fill_window(model, &reader->rows, items, times, count, now);
    struct hd_sequence_batch batch = hd_sequence_rows_batch(&reader->rows);

    heed_tape_reset(tape);
    heed_tape_record(tape, true);
    HD_TRY(hd_sequence_forward(tape, &model->net, &batch, 0, &state, &trace));
    HD_TRY(heed_slice(tape, state, 0, n - 1, 1, &state));
    HD_TRY(heed_tensor_wrap(tape, HEED_F32, model->output + target * c->dim,
                            (int64_t[]){1, c->dim}, 2, false, &row));
    HD_TRY(heed_linear(tape, state, row, NULL, &score));
    HD_TRY(heed_tape_backward(tape, score));

    memset(contributions, 0, (size_t)count * sizeof *contributions);
    for (int64_t l = 0; l < c->layers; l++) {
        HD_TRY(add_layer(tape, c, &trace, l, n, contributions + count - n));
        if (!maps)
            continue;
        /* (H, n, n) into the lower right of (H, count, count) */
        for (int64_t h = 0; h < c->heads; h++)
            for (int64_t i = 0; i < n; i++)
                memcpy(maps + ((l * c->heads + h) * count + count - n + i) * count + count - n,
                       (const float *)trace.layer[l].weights->data + (h * n + i) * n,
                       (size_t)n * sizeof *maps);
    }
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence model's handle: made, saved, loaded, asked. Training is in sequence_train.c, the
 * formulas in sequence_net.c. */
#include "models/sequence.h"
#include "base/memory.h"
#include "models/sequence_impl.h"
#include "nn/params.h"
#include "nn/safetensors.h"
#include "tensor/tape.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_SLACK 1e-4 /* a row's shares are floats: their sum may pass 1 by this much */

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
    hd_transitions_clear(&model->memory);
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
void hd_sequence_describe(const hd_sequence *model, struct hd_sequence_pairs *out)
{
    const struct hd_sequence_config *c = &model->config;
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"items", c->items}, {"dim", c->dim},       {"layers", c->layers},
                {"heads", c->heads}, {"length", c->length}, {"timed", c->timed}};
    int64_t n = 0;

    out->key[n] = "model", out->value[n++] = "heed.sequence.1";
    out->key[n] = "recipe", out->value[n++] = heed_recipe_name(c->recipe);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, n++) {
        snprintf(out->text[n], sizeof out->text[n], "%" PRId64, rows[i].value);
        out->key[n] = rows[i].key, out->value[n] = out->text[n];
    }
    snprintf(out->text[n], sizeof out->text[n], "%.17g", model->memory_share);
    out->key[n] = "memory_share", out->value[n] = out->text[n];
    out->count = ++n;
}

/* The file: the parameters under their names, the memory as a sparse matrix in three tensors. */
heed_status hd_sequence_save(hd_sequence *model, const char *path)
{
    int64_t params = heed_params_count(model->params), count = params;
    const struct hd_transitions *t = &model->memory;
    struct hd_sequence_pairs pairs;
    struct hd_stored *tensor = hd_alloc((size_t)params + 3, sizeof *tensor);

    if (!tensor)
        return hd_fail(HEED_E_NOMEM, "sequence: no memory for %" PRId64 " tensors", params + 3);
    for (int64_t i = 0; i < params; i++) {
        const heed_tensor *x = heed_params_at(model->params, i, &tensor[i].name);
        tensor[i].type = HD_STORED_F32;
        tensor[i].rank = x->rank;
        memcpy(tensor[i].dim, x->dim, (size_t)x->rank * sizeof *x->dim);
        tensor[i].bytes = hd_count(x) * (int64_t)sizeof(float);
        tensor[i].data = x->data;
    }
    if (t->offset) {
        int64_t pair_count = t->offset[t->items];
        tensor[count++] = (struct hd_stored){
            "memory.offset", HD_STORED_I64, 1, {t->items + 1}, (t->items + 1) * 8, 0, t->offset};
        tensor[count++] = (struct hd_stored){
            "memory.item", HD_STORED_I32, 1, {pair_count}, pair_count * 4, 0, t->item};
        tensor[count++] = (struct hd_stored){
            "memory.share", HD_STORED_F32, 1, {pair_count}, pair_count * 4, 0, t->share};
    }
    hd_sequence_describe(model, &pairs);
    heed_status status =
        hd_safetensors_save(path, tensor, count, pairs.key, pairs.value, pairs.count);
    hd_free(tensor);
    return status;
}

/* The memory's rows must lie in order, name known items in rising order, and hold shares of which a
 * row's add up to 1 at most (but for their rounding), as a distribution's part does. */
static heed_status check_memory(const char *path, const struct hd_transitions *t, int64_t pairs)
{
    if (t->offset[0] != 0 || t->offset[t->items] != pairs)
        return hd_fail(HEED_E_FORMAT, "%s: memory.offset does not span memory.item", path);
    for (int64_t v = 0; v < t->items; v++)
        if (t->offset[v + 1] < t->offset[v] || t->offset[v + 1] > pairs)
            return hd_fail(HEED_E_FORMAT, "%s: memory.offset falls at %" PRId64, path, v);
    for (int64_t v = 0; v < t->items; v++) {
        double sum = 0;
        for (int64_t i = t->offset[v]; i < t->offset[v + 1]; i++) {
            int32_t least = i > t->offset[v] ? t->item[i - 1] + 1 : 0;
            if (t->item[i] < least || t->item[i] >= t->items || !(t->share[i] >= 0))
                return hd_fail(HEED_E_FORMAT, "%s: pair %" PRId64 " of the memory is (%d, %g)",
                               path, i, t->item[i], (double)t->share[i]);
            sum += (double)t->share[i];
        }
        if (!(sum <= 1 + MEMORY_SLACK))
            return hd_fail(HEED_E_FORMAT, "%s: the memory's row %" PRId64 " sums to %g", path, v,
                           sum);
    }
    return HEED_OK;
}

static heed_status load_memory(const hd_safetensors *file, hd_sequence *model)
{
    const char *path = hd_safetensors_path(file), *text = hd_safetensors_text(file, "memory_share");
    const struct hd_stored *offset = hd_safetensors_find(file, "memory.offset"),
                           *item = hd_safetensors_find(file, "memory.item"),
                           *share = hd_safetensors_find(file, "memory.share");
    struct hd_transitions *t = &model->memory;
    char *end;

    if (!offset && !item && !share)
        return HEED_OK;
    model->memory_share = text ? strtod(text, &end) : -1;
    if (!text || end == text || *end || !(model->memory_share >= 0 && model->memory_share <= 1))
        return hd_fail(HEED_E_FORMAT, "%s: memory_share is not 0 to 1", path);
    if (!offset || !item || !share || offset->type != HD_STORED_I64 || offset->rank != 1 ||
        offset->dim[0] != model->config.items + 1 || item->type != HD_STORED_I32 ||
        item->rank != 1 || share->type != HD_STORED_F32 || share->rank != 1 ||
        share->dim[0] != item->dim[0])
        return hd_fail(HEED_E_FORMAT, "%s: the memory's tensors do not fit the model", path);
    t->items = model->config.items;
    t->offset = hd_alloc((size_t)t->items + 1, sizeof *t->offset);
    t->item = hd_alloc((size_t)item->dim[0], sizeof *t->item);
    t->share = hd_alloc((size_t)item->dim[0], sizeof *t->share);
    if (!t->offset || !t->item || !t->share)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for %" PRId64 " pairs", path, item->dim[0]);
    HD_TRY(hd_safetensors_read(file, offset, t->offset));
    HD_TRY(hd_safetensors_read(file, item, t->item));
    HD_TRY(hd_safetensors_read(file, share, t->share));
    return check_memory(path, t, item->dim[0]);
}

static heed_status read_config(const hd_safetensors *file, struct hd_sequence_config *c)
{
    const char *path = hd_safetensors_path(file);
    const char *model = hd_safetensors_text(file, "model");
    const char *recipe = hd_safetensors_text(file, "recipe");
    int64_t timed;

    if (!model || strcmp(model, "heed.sequence.1") != 0)
        return hd_fail(HEED_E_FORMAT, "%s: not a sequence model of this version", path);
    if (!recipe || heed_recipe_find(recipe, &c->recipe) != HEED_OK)
        return hd_fail(HEED_E_FORMAT, "%s: unknown recipe", path);
    HD_TRY(hd_safetensors_number(file, "items", 1, INT32_MAX, &c->items));
    HD_TRY(hd_safetensors_number(file, "dim", 1, HD_SEQUENCE_DIM_MAX, &c->dim));
    HD_TRY(hd_safetensors_number(file, "layers", 1, HD_SEQUENCE_LAYERS_MAX, &c->layers));
    HD_TRY(hd_safetensors_number(file, "heads", 1, HD_SEQUENCE_HEADS_MAX, &c->heads));
    HD_TRY(hd_safetensors_number(file, "length", 1, HD_SEQUENCE_LENGTH_MAX, &c->length));
    HD_TRY(hd_safetensors_number(file, "timed", 0, 1, &timed));
    c->timed = timed != 0;
    /* The table must be in the file before its claimed size sizes anything. */
    const struct hd_stored *item = hd_safetensors_find(file, "item");
    if (!item || item->rank != 2 || item->dim[0] != c->items || item->dim[1] != c->dim)
        return hd_fail(HEED_E_FORMAT, "%s: tensor item is not (%" PRId64 ", %" PRId64 ")", path,
                       c->items, c->dim);
    return HEED_OK;
}

/* All from one open file: whoever replaces it meanwhile renames another into its place. */
heed_status hd_sequence_load(const char *path, hd_sequence **out)
{
    struct hd_sequence_config config = {0};
    hd_sequence *model = NULL;
    hd_safetensors *file;

    HD_TRY(hd_safetensors_open(path, &file));
    heed_status status = read_config(file, &config);
    if (status == HEED_OK)
        status = hd_sequence_new(&config, 0, &model);
    if (status == HEED_OK)
        status = load_memory(file, model);
    if (status == HEED_OK)
        status = hd_params_read(model->params, NULL, file);
    hd_safetensors_close(file);
    if (status == HEED_OK)
        status = hd_sequence_ready(model);
    if (status != HEED_OK) {
        hd_sequence_free(model);
        return status;
    }
    heed_params_freeze(model->params, true); /* readers on many threads record over them */
    *out = model;
    return HEED_OK;
}

/* ---- asking */
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
    hd_asked_free(reader->asked);
    hd_free(reader);
}

heed_status hd_sequence_check_history(const hd_sequence *model, const int32_t *items,
                                      int64_t count)
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
int64_t hd_sequence_window(const hd_sequence *model, struct hd_sequence_rows *rows,
                           const int32_t *items, const heed_time *times, const int32_t *places,
                           int64_t count, heed_time now)
{
    int64_t n = count < model->config.length ? count : model->config.length;

    hd_sequence_rows_reset(rows);
    hd_sequence_rows_add(rows, items + count - n, times ? times + count - n : NULL, n, 0, -1, now);
    for (int64_t i = 0; places && i < n; i++) {
        int64_t place = places[count - n + i], most = model->config.length - 1;
        rows->position[i] = (int32_t)(place < 0 ? 0 : place > most ? most : place);
    }
    return n;
}

heed_status hd_sequence_answer(const hd_sequence *model, heed_tape *tape,
                              struct hd_sequence_rows *rows, const int32_t *items,
                              const heed_time *times, const int32_t *places, int64_t count,
                              heed_time now, const float **state, int64_t *seen)
{
    heed_tensor *last;

    HD_TRY(hd_sequence_check_history(model, items, count));
    *seen = hd_sequence_window(model, rows, items, times, places, count, now);
    struct hd_sequence_batch batch = hd_sequence_rows_batch(rows);
    batch.last = true;
    heed_tape_reset(tape);
    heed_tape_record(tape, false);
    HD_TRY(hd_sequence_forward(tape, &model->net, &batch, 0, &last, NULL));
    *state = last->data;
    return HEED_OK;
}

heed_status hd_sequence_parts(const hd_sequence *model, heed_tape *tape,
                              struct hd_sequence_rows *rows, const int32_t *items,
                              const heed_time *times, const int32_t *places, int64_t count,
                              heed_time now, float *network, float *memory)
{
    int64_t V = model->config.items, C = model->config.dim, n;
    const struct hd_kernels *k = hd_kernels();
    const float *last;

    HD_TRY(hd_sequence_answer(model, tape, rows, items, times, places, count, now, &last, &n));
    for (int64_t v = 0; v < V; v++)
        network[v] = (float)k->dot(last, model->output + v * C, (size_t)C);
    k->softmax(network, network, (size_t)V);
    memset(memory, 0, (size_t)V * sizeof *memory);
    if (model->memory.offset)
        hd_transitions_add(&model->memory, items + count - n, n, 1, memory);
    return HEED_OK;
}

heed_status hd_sequence_score(hd_sequence_reader *reader, const int32_t *items,
                              const heed_time *times, const int32_t *places, int64_t count,
                              heed_time now, float *scores)
{
    const hd_sequence *model = reader->model;
    int64_t V = model->config.items;
    float share = (float)model->memory_share;
    hd_arena *scratch = hd_tape_scratch(reader->tape);
    struct hd_arena_mark mark = hd_arena_mark(scratch);
    float *memory = hd_arena_alloc(scratch, (size_t)V, sizeof *memory);

    if (!memory)
        return hd_fail(HEED_E_NOMEM, "sequence: no memory for %" PRId64 " scores", V);
    heed_status status = hd_sequence_parts(model, reader->tape, &reader->rows, items, times, places,
                                           count, now, scores, memory);
    for (int64_t v = 0; status == HEED_OK && v < V; v++)
        scores[v] = logf(fmaxf((1 - share) * scores[v] + share * memory[v], FLT_MIN));
    hd_arena_release(scratch, mark);
    return status;
}

/* What position j gave to the target's score S as a key of layer l, over heads and queries:
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

/* (H, n, n) into the lower right of (H, count, count). */
static void copy_map(const struct hd_sequence_config *c, const heed_tensor *weights, int64_t l,
                     int64_t n, int64_t count, float *maps)
{
    for (int64_t h = 0; h < c->heads; h++)
        for (int64_t i = 0; i < n; i++)
            memcpy(maps + ((l * c->heads + h) * count + count - n + i) * count + count - n,
                   (const float *)weights->data + (h * n + i) * n, (size_t)n * sizeof *maps);
}

/* With S = log(a q + b m), q and m the target's probabilities by network and memory and a + b = 1,
 * dS = (a q / (a q + b m)) d log q + (b / (a q + b m)) dm: the network's part by attention and
 * gradient, the memory's by its sum's terms. */
heed_status hd_sequence_attribute(hd_sequence_reader *reader, const int32_t *items,
                                  const heed_time *times, int64_t count, heed_time now,
                                  int32_t target, double *contributions, float *maps)
{
    const hd_sequence *model = reader->model;
    const struct hd_sequence_config *c = &model->config;
    struct hd_sequence_trace trace = {0};
    heed_tape *tape = reader->tape;
    heed_tensor *state, *table, *logits, *loss;

    HD_TRY(hd_sequence_check_history(model, items, count));
    if (target < 0 || target >= c->items)
        return hd_fail(HEED_E_RANGE, "sequence: item %d is not below %" PRId64, target, c->items);
    int64_t n = hd_sequence_window(model, &reader->rows, items, times, NULL, count, now);
    struct hd_sequence_batch batch = hd_sequence_rows_batch(&reader->rows);

    heed_tape_reset(tape);
    heed_tape_record(tape, true);
    HD_TRY(hd_sequence_forward(tape, &model->net, &batch, 0, &state, &trace));
    HD_TRY(heed_slice(tape, state, 0, n - 1, 1, &state));
    HD_TRY(heed_tensor_wrap(tape, HEED_F32, model->output, (int64_t[]){c->items, c->dim}, 2, false,
                            &table));
    HD_TRY(heed_linear(tape, state, table, NULL, &logits));
    HD_TRY(heed_softmax_loss(tape, logits, &target, NULL, &loss));
    HD_TRY(heed_tape_backward(tape, loss));

    memset(contributions, 0, (size_t)count * sizeof *contributions);
    for (int64_t l = 0; l < c->layers; l++) {
        HD_TRY(add_layer(tape, c, &trace, l, n, contributions + count - n));
        if (maps)
            copy_map(c, trace.layer[l].weights, l, n, count, maps);
    }
    double share = model->memory_share, q = exp(-(double)*(float *)loss->data), m = 0;
    for (int64_t j = count - n; model->memory.offset && j < count; j++)
        m += hd_transitions_part(&model->memory, items[j], count - j, target);
    double p = (1 - share) * q + share * m;
    for (int64_t j = count - n; j < count; j++) {
        contributions[j] *= p > 0 ? -(1 - share) * q / p : 0; /* the loss is -log q */
        if (model->memory.offset && p > 0)
            contributions[j] +=
                share * hd_transitions_part(&model->memory, items[j], count - j, target) / p;
    }
    return HEED_OK;
}

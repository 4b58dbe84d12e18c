/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention forward. Where nothing is learned from the batch, a tile goes through all layers
 * while it lies in the caches; where a layer's moments are the batch's, every pair's values are needed
 * before the next layer, so there is a pass for each layer and the values are kept. */
#include "attention/target.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

#define SERVE_ROWS INT64_C(1024) /* pairs of a task, about */
#define LEARN_ROWS INT64_C(2048) /* with partial sums of its own */
#define LEARN_TASKS INT64_C(64)

void *hd_room_take(struct hd_room *room, int64_t count, size_t item_bytes)
{
    size_t at = room->used, bytes = (size_t)count * item_bytes;
    room->used += (bytes + HD_ARENA_ALIGN - 1) & ~(size_t)(HD_ARENA_ALIGN - 1);
    return room->base ? room->base + at : NULL;
}

static int64_t pairs_of(const struct hd_target *t)
{
    int64_t events = 0;
    for (int64_t b = 0; b < t->h.B; b++)
        events += hd_history_length(&t->h, b);
    return events * t->K;
}

/* Units of a task, so many that their pairs are `rows` on average. */
static int64_t unit_grain(const struct hd_target *t, bool keep)
{
    int64_t rows = keep ? t->pairs / LEARN_TASKS : SERVE_ROWS, units;
    if (keep && rows < LEARN_ROWS)
        rows = LEARN_ROWS;
    units = t->pairs > 0 ? (int64_t)((double)rows * (double)t->units / (double)t->pairs) : t->units;
    units = units < 1 ? 1 : units;
    return keep && t->K > 0 ? (units + t->K - 1) / t->K * t->K : units;
}

void hd_target_init(struct hd_target *t, const heed_target_weights *weights,
                    const heed_target_opts *opts, bool keep)
{
    t->from = weights;
    t->activation = opts->activation;
    t->softmax = opts->softmax;
    t->scale = opts->scale != 0 ? opts->scale : opts->softmax ? 1 / sqrt((double)t->C) : 1;
    t->hidden = weights->hidden;
    t->units = t->h.B * t->K;
    t->pairs = pairs_of(t);
    t->unit_grain = unit_grain(t, keep);
    for (int64_t l = 0; l < t->hidden; l++) {
        const heed_target_layer *from = &weights->layer[l];
        t->layer[l].in = l > 0 ? t->layer[l - 1].out : t->C;
        t->layer[l].out = from->w->dim[0];
        t->layer[l].w = from->w->data, t->layer[l].b = from->b->data;
        t->layer[l].alpha = from->alpha ? from->alpha->data : NULL;
        if (t->layer[l].out > t->width_max)
            t->width_max = t->layer[l].out;
    }
    t->w = weights->w->data;
    t->shift = hd_get(t->k, weights->b->data, 0);
}

/* In the order of struct hd_tile; returns the bytes. */
static size_t cut_tile(const struct hd_target *t, char *memory, struct hd_tile *tile)
{
    const struct hd_kernels *k = t->k;
    struct hd_room room = {memory, 0};
    int64_t O = t->layer[0].out;
    *tile = (struct hd_tile){0};
    tile->segment = hd_room_take(&room, HD_TILE_ROWS, sizeof(struct hd_segment));
    tile->m = hd_room_take(&room, t->C * O, k->item_bytes);
    tile->packed = hd_room_take(&room, (int64_t)k->gemm_pack_bytes(t->C, O), 1);
    tile->value = hd_room_take(&room, HD_TILE_ROWS * t->width_max, k->item_bytes);
    tile->act = hd_room_take(&room, HD_TILE_ROWS * t->width_max, k->item_bytes);
    return room.used;
}

size_t hd_target_tile_bytes(const struct hd_target *t)
{
    struct hd_tile tile;
    return cut_tile(t, NULL, &tile);
}

void hd_target_tile(const struct hd_target *t, char *memory, struct hd_tile *tile)
{
    cut_tile(t, memory, tile);
}

void hd_target_layout(struct hd_target *t, struct hd_room *kept, struct hd_room *scratch, bool keep,
                      bool weights)
{
    size_t item = t->k->item_bytes;
    int64_t O = t->layer[0].out, rows = hd_histories_rows(&t->h);
    t->place = hd_room_take(kept, t->h.B + 1, sizeof *t->place);
    t->u_a = hd_room_take(kept, O * t->C, item);
    t->m_e = hd_room_take(kept, t->C * O, item);
    t->m_p = hd_room_take(kept, t->C * O, item);
    for (int64_t l = 0; l < t->hidden; l++) {
        struct hd_target_layer *layer = &t->layer[l];
        layer->center = hd_room_take(kept, layer->out, item);
        layer->rstd = hd_room_take(kept, layer->out, item);
        layer->kept = keep ? hd_room_take(kept, t->pairs * layer->out, item) : NULL;
        layer->packed =
            hd_room_take(scratch, (int64_t)t->k->gemm_pack_bytes(layer->in, layer->out), 1);
    }
    if (!weights)
        t->weights = hd_room_take(kept, t->K * rows, item);
    t->by_unit = hd_room_take(scratch, t->units * O, item);
    t->tile_bytes = hd_target_tile_bytes(t);
    t->tiles = hd_room_take(scratch, heed_pool_threads(t->pool), t->tile_bytes);
}

void hd_target_count(struct hd_target *t)
{
    hd_histories_places(&t->h, t->place);
}

/* ---- tiles */

int64_t hd_target_tasks(const struct hd_target *t)
{
    return (t->units + t->unit_grain - 1) / t->unit_grain;
}

struct hd_walk hd_target_walk(const struct hd_target *t, int64_t task)
{
    int64_t unit = task * t->unit_grain, end = unit + t->unit_grain;
    return (struct hd_walk){unit, end < t->units ? end : t->units, 0};
}

/* The number of a unit's first pair. */
static int64_t first_pair(const struct hd_target *t, int64_t unit)
{
    int64_t b = unit / t->K;
    return t->K * t->place[b] + unit % t->K * hd_history_length(&t->h, b);
}

bool hd_target_next(const struct hd_target *t, struct hd_walk *walk, struct hd_tile *tile)
{
    tile->segments = tile->rows = 0;
    while (walk->unit < walk->end && tile->rows < HD_TILE_ROWS) {
        int64_t b = walk->unit / t->K, length = hd_history_length(&t->h, b);
        int64_t left = length - walk->at, room = HD_TILE_ROWS - tile->rows;
        int64_t count = left < room ? left : room;
        if (count > 0) {
            if (tile->rows == 0)
                tile->first = first_pair(t, walk->unit) + walk->at;
            tile->segment[tile->segments++] = (struct hd_segment){
                walk->unit, hd_history_row(&t->h, b) + walk->at, count, tile->rows};
            tile->rows += count;
            walk->at += count;
        }
        if (walk->at == length)
            walk->unit++, walk->at = 0;
    }
    return tile->rows > 0;
}

void *hd_target_weights(const struct hd_target *t, int64_t unit)
{
    int64_t b = unit / t->K, span = hd_history_span(&t->h, b);
    return hd_at(t->weights, t->k->item_bytes,
                 t->K * hd_history_row(&t->h, b) + unit % t->K * span);
}

void hd_target_unit(const struct hd_target *t, const struct hd_tile *tile, int64_t unit)
{
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out;
    memcpy(tile->m, t->m_e, (size_t)(t->C * O) * k->item_bytes);
    for (int64_t c = 0; c < t->C; c++)
        k->axpy(hd_at(tile->m, k->item_bytes, c * O), hd_get(k, t->a, unit * t->a_row + c),
                hd_at(t->m_p, k->item_bytes, c * O), (size_t)O);
}

/* ---- layers */

static void first_layer(const struct hd_target *t, const struct hd_tile *tile, void *value)
{
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out;
    size_t item = k->item_bytes;
    for (const struct hd_segment *s = tile->segment; s < tile->segment + tile->segments; s++) {
        struct hd_gemm g = {.M = s->count, .N = O, .K = t->C,
                            .a = hd_at(t->e, item, s->row * t->e_row), .a_row = t->e_row,
                            .a_col = 1, .b = tile->m, .b_row = O, .c = hd_at(value, item, s->at * O),
                            .c_row = O, .bias = hd_at(t->by_unit, item, s->unit * O)};
        hd_target_unit(t, tile, s->unit);
        if (O % k->gemm_columns) {
            k->gemm_pack(tile->packed, tile->m, O, 1, t->C, O);
            g.b = tile->packed, g.b_row = 0;
        }
        k->gemm(&g);
    }
}

static void activate(const struct hd_target *t, const struct hd_target_layer *layer,
                     const struct hd_tile *tile, const void *value)
{
    const struct hd_kernels *k = t->k;
    size_t O = (size_t)layer->out;
    for (int64_t i = 0; i < tile->rows; i++) {
        const void *x = hd_at(value, k->item_bytes, i * layer->out);
        void *y = hd_at(tile->act, k->item_bytes, i * layer->out);
        if (t->activation == HEED_TARGET_DICE)
            k->dice(y, x, layer->alpha, layer->center, layer->rstd, O);
        else if (t->activation == HEED_TARGET_PRELU)
            k->prelu(y, x, layer->alpha, O);
        else
            k->act[HD_SIGMOID](y, x, O);
    }
}

/* The scores of a tile's pairs, times scale, where the weights will stand. */
static void scores(const struct hd_target *t, const struct hd_tile *tile)
{
    const struct hd_kernels *k = t->k;
    int64_t in = t->layer[t->hidden - 1].out;
    for (const struct hd_segment *s = tile->segment; s < tile->segment + tile->segments; s++) {
        int64_t b = s->unit / t->K;
        void *to = hd_at(hd_target_weights(t, s->unit), k->item_bytes,
                         s->row - hd_history_row(&t->h, b));
        for (int64_t i = 0; i < s->count; i++) {
            const void *act = hd_at(tile->act, k->item_bytes, (s->at + i) * in);
            hd_put(k, to, i, t->scale * (k->dot(act, t->w, (size_t)in) + t->shift));
        }
    }
}

/* out = W e for `count` units from `unit` on, which share a history. */
static void weigh(const struct hd_target *t, int64_t unit, int64_t count)
{
    const struct hd_kernels *k = t->k;
    int64_t b = unit / t->K, n = hd_history_length(&t->h, b), C = t->C;
    void *out = hd_at(t->out, k->item_bytes, unit * C);
    const void *e = hd_at(t->e, k->item_bytes, hd_history_row(&t->h, b) * t->e_row);
    if (C > 0 && C % k->gemm_columns == 0) {
        struct hd_gemm g = {.M = count, .N = C, .K = n, .a = hd_target_weights(t, unit),
                            .a_row = hd_history_span(&t->h, b), .a_col = 1, .b = e,
                            .b_row = t->e_row, .c = out, .c_row = C};
        k->gemm(&g);
        return;
    }
    k->fill(out, 0, (size_t)(count * C));
    for (int64_t u = 0; u < count; u++) {
        const void *w = hd_target_weights(t, unit + u);
        for (int64_t i = 0; i < n; i++)
            k->axpy(hd_at(out, k->item_bytes, u * C), hd_get(k, w, i),
                    hd_at(e, k->item_bytes, i * t->e_row), (size_t)C);
    }
}

static void finish_units(const struct hd_target *t, struct hd_walk walk)
{
    const struct hd_kernels *k = t->k;
    for (int64_t u = walk.unit; u < walk.end; u++) {
        void *w = hd_target_weights(t, u);
        int64_t b = u / t->K, n = hd_history_length(&t->h, b);
        if (t->softmax)
            k->softmax(w, w, (size_t)n);
        k->fill(hd_at(w, k->item_bytes, n), 0, (size_t)(hd_history_span(&t->h, b) - n));
    }
    for (int64_t u = walk.unit, next; u < walk.end; u = next) {
        next = (u / t->K + 1) * t->K;
        next = next < walk.end ? next : walk.end;
        weigh(t, u, next - u);
    }
}

/* ---- passes */

/* Layers [from, to], the score counted as the last; moments of layer `to`, or NULL. */
struct pass {
    const struct hd_target *t;
    int64_t from, to;
    struct hd_moments *moments; /* one for each task */
    double *scratch;            /* and its HD_MOMENTS_SCRATCH of the width */
};

static void *values(const struct hd_target *t, int64_t l, const struct hd_tile *tile)
{
    const struct hd_target_layer *layer = &t->layer[l];
    return layer->kept ? hd_at(layer->kept, t->k->item_bytes, tile->first * layer->out)
                       : tile->value;
}

static void tile_layer(const struct hd_target *t, const struct hd_tile *tile, int64_t l)
{
    if (l == 0) {
        first_layer(t, tile, values(t, 0, tile));
        return;
    }
    activate(t, &t->layer[l - 1], tile, values(t, l - 1, tile));
    if (l == t->hidden) {
        scores(t, tile);
        return;
    }
    const struct hd_target_layer *layer = &t->layer[l];
    hd_target_multiply(t->k, tile->rows, layer->out, layer->in, tile->act, layer->in, layer->packed,
                       values(t, l, tile), layer->b);
}

static heed_status pass_task(void *arg, int64_t task, int worker)
{
    const struct pass *pass = arg;
    const struct hd_target *t = pass->t;
    struct hd_walk walk = hd_target_walk(t, task), start = walk;
    struct hd_tile tile;
    hd_target_tile(t, t->tiles + (size_t)worker * t->tile_bytes, &tile);
    while (hd_target_next(t, &walk, &tile)) {
        for (int64_t l = pass->from; l <= pass->to; l++)
            tile_layer(t, &tile, l);
        if (pass->moments) {
            int64_t O = t->layer[pass->to].out;
            hd_moments_add(t->k, &pass->moments[task], values(t, pass->to, &tile), O, tile.rows, O,
                           pass->scratch + task * HD_MOMENTS_SCRATCH(O));
        }
    }
    if (pass->to == t->hidden)
        finish_units(t, start);
    return HEED_OK;
}

int64_t hd_target_moments(const struct hd_target *t)
{
    int64_t each = t->width_max * (2 + HD_MOMENTS_SCRATCH(1)) +
                   (int64_t)(sizeof(struct hd_moments) / sizeof(double));
    for (int64_t l = 0; l < t->hidden; l++)
        if (t->layer[l].batch)
            return (hd_target_tasks(t) + 1) * each;
    return 0;
}

/* The pass that ends in a layer whose moments are the batch's. */
static heed_status pass_with_moments(struct hd_target *t, const heed_dice_opts *dice, int64_t from,
                                     int64_t l, double *memory)
{
    int64_t tasks = hd_target_tasks(t), O = t->layer[l].out;
    struct hd_target_layer *layer = &t->layer[l];
    const heed_target_layer *weights = &t->from->layer[l];
    struct pass pass = {t, from, l, (struct hd_moments *)(void *)memory, NULL};
    double *numbers = memory + (size_t)(tasks + 1) * sizeof(struct hd_moments) / sizeof(double);
    struct hd_moments *all = &pass.moments[tasks];
    memset(numbers, 0, (size_t)(2 * (tasks + 1) * O) * sizeof *numbers);
    for (int64_t i = 0; i <= tasks; i++)
        pass.moments[i] = (struct hd_moments){0, numbers + 2 * i * O, numbers + (2 * i + 1) * O};
    pass.scratch = numbers + 2 * (tasks + 1) * O;
    HD_TRY(hd_pool_run(t->pool, tasks, pass_task, &pass));
    for (int64_t i = 0; i < tasks; i++)
        hd_moments_merge(all, &pass.moments[i], O);
    hd_dice_from_batch(t->k, all, dice, weights->mean, weights->var, layer->center, layer->rstd, O);
    return HEED_OK;
}

/* ---- what is made once */

/* u_a = w_a + w_d, m_e' = w_e - w_d, m_p' = w_p. */
static void split_first(struct hd_target *t)
{
    const struct hd_kernels *k = t->k;
    const void *w = t->from->layer[0].w->data;
    int64_t C = t->C, O = t->layer[0].out;
    for (int64_t o = 0; o < O; o++) {
        const void *row = hd_at(w, k->item_bytes, o * 4 * C);
        k->add(hd_at(t->u_a, k->item_bytes, o * C), row, hd_at(row, k->item_bytes, 2 * C),
               (size_t)C);
        for (int64_t c = 0; c < C; c++) {
            hd_put(k, t->m_e, c * O + o, hd_get(k, row, C + c) - hd_get(k, row, 2 * C + c));
            hd_put(k, t->m_p, c * O + o, hd_get(k, row, 3 * C + c));
        }
    }
}

/* a's part of the first layer, and its bias, for a block of units. */
static heed_status unit_task(void *arg, int64_t task, int worker)
{
    const struct hd_target *t = arg;
    const struct hd_target_layer *layer = &t->layer[0];
    int64_t from = task * HD_TILE_ROWS, left = t->units - from;
    (void)worker;
    hd_target_multiply(t->k, left < HD_TILE_ROWS ? left : HD_TILE_ROWS, layer->out, t->C,
                       hd_at(t->a, t->k->item_bytes, from * t->a_row), t->a_row, layer->packed,
                       hd_at(t->by_unit, t->k->item_bytes, from * layer->out), layer->b);
    return HEED_OK;
}

heed_status hd_target_forward(struct hd_target *t, const heed_dice_opts *dice, double *moments)
{
    const struct hd_kernels *k = t->k;
    int64_t from = 0;
    split_first(t);
    for (int64_t l = 0; l < t->hidden; l++) {
        struct hd_target_layer *layer = &t->layer[l];
        const heed_target_layer *weights = &t->from->layer[l];
        k->gemm_pack(layer->packed, l > 0 ? layer->w : t->u_a, 1, layer->in, layer->in, layer->out);
        if (t->activation == HEED_TARGET_DICE && !layer->batch)
            hd_dice_from_running(k, dice, weights->mean, weights->var, layer->center, layer->rstd,
                                 layer->out);
    }
    HD_TRY(hd_pool_run(t->pool, (t->units + HD_TILE_ROWS - 1) / HD_TILE_ROWS, unit_task, t));
    for (int64_t l = 0; l < t->hidden; l++)
        if (t->layer[l].batch) {
            HD_TRY(pass_with_moments(t, dice, from, l, moments));
            from = l + 1;
        }
    struct pass last = {t, from, t->hidden, NULL, NULL};
    return hd_pool_run(t->pool, hd_target_tasks(t), pass_task, &last);
}

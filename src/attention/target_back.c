/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention backwards: a pass for each layer, from the score down to the first, since Dice needs
 * sums over all pairs before it knows one pair's gradient. Pass l turns the gradient behind layer l's
 * activation into the one before it, multiplies it through the layer, and gathers the sums that the
 * activation below will need. Activations are made again from the values that were kept.
 *
 * Tasks are whole histories, so that each row of a and e belongs to one of them; gradients of weights
 * are summed by each task apart and added in the order of tasks. */
#include "attention/target_back.h"
#include "base/pool.h"

#include <string.h>

/* Partial sums of a pass over layer l, in items from the start of a task's part. */
struct part {
    int64_t dw, db, dalpha, sums; /* sums: two rows */
    int64_t du_a, du_e;           /* of the first layer */
    int64_t items;
};

static struct part part_of(const struct hd_target *t, int64_t l)
{
    struct part p = {0};
    int64_t in = l > 0 ? t->layer[l - 1].out : t->layer[0].in;
    int64_t out = l < t->hidden ? t->layer[l].out : 1;
    p.db = out * in;
    p.items = p.db + out;
    if (l > 0) {
        p.dalpha = p.items, p.sums = p.dalpha + in;
        p.items = p.sums + 2 * in;
    } else {
        p.du_a = p.items, p.du_e = p.du_a + out * t->C;
        p.items = p.du_e + out * t->C;
    }
    return p;
}

static int64_t widest_input(const struct hd_target *t)
{
    return t->width_max > t->layer[0].in ? t->width_max : t->layer[0].in;
}

/* A worker's memory: a tile, the gradient of the first layer's input, a row, and a packed factor. */
static void *tile_extra(const struct hd_target *t, char *memory, void **row, void **packed)
{
    struct hd_room room = {memory, hd_target_tile_bytes(t)};
    void *dx = hd_room_take(&room, HD_TILE_ROWS * t->layer[0].in, t->k->item_bytes);
    *row = hd_room_take(&room, t->width_max, t->k->item_bytes);
    *packed = hd_room_take(&room, 0, 1);
    return dx;
}

void hd_target_back_layout(struct hd_target_back *back, struct hd_room *scratch)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    size_t item = k->item_bytes;
    int64_t O = t->layer[0].out;
    back->dscore = hd_room_take(scratch, t->pairs, item);
    for (int64_t l = 0; l < t->hidden; l++) {
        const struct hd_target_layer *layer = &t->layer[l];
        back->dvalue[l] = hd_room_take(scratch, t->pairs * layer->out, item);
        back->sums[l] = hd_room_take(scratch, 2 * layer->out, item);
        back->packed[l] =
            hd_room_take(scratch, (int64_t)k->gemm_pack_bytes(layer->out, layer->in), 1);
    }
    back->packed_a = hd_room_take(scratch, (int64_t)k->gemm_pack_bytes(O, t->C), 1);
    back->packed_e = hd_room_take(scratch, (int64_t)k->gemm_pack_bytes(O, t->C), 1);
    back->by_unit = hd_room_take(scratch, t->units * O, item);
    back->by_event = hd_room_take(scratch, t->K > 1 ? t->pairs / t->K * O : 0, item);
    for (int64_t l = 0; l <= t->hidden; l++)
        if (part_of(t, l).items > back->part_items)
            back->part_items = part_of(t, l).items;
    back->partial = hd_room_take(scratch, (hd_target_tasks(t) + 1) * back->part_items, item);
    struct hd_room tile = {NULL, hd_target_tile_bytes(t)};
    hd_room_take(&tile, HD_TILE_ROWS * t->layer[0].in, item);
    hd_room_take(&tile, t->width_max, item);
    hd_room_take(&tile, (int64_t)k->gemm_pack_bytes(HD_TILE_ROWS, widest_input(t)), 1);
    back->tile_bytes = tile.used;
    back->tiles = hd_room_take(scratch, heed_pool_threads(t->pool), back->tile_bytes);
}

/* ---- sums over rows */

/* dw (O, I) += dy' x over rows <= HD_TILE_ROWS. */
static void add_outer(const struct hd_kernels *k, void *dw, const void *dy, int64_t O, const void *x,
                      int64_t x_row, int64_t I, int64_t rows, void *packed)
{
    struct hd_gemm g = {.M = O, .N = I, .K = rows, .a = dy, .a_row = 1, .a_col = O, .c = dw,
                        .c_row = I, .accumulate = true};
    if (rows == 0)
        return;
    if (I % k->gemm_columns == 0) {
        g.b = x, g.b_row = x_row;
    } else {
        k->gemm_pack(packed, x, x_row, 1, rows, I);
        g.b = packed;
    }
    k->gemm(&g);
}

/* The same over any number of rows. */
static void add_outers(const struct hd_kernels *k, void *dw, const void *dy, int64_t O,
                       const void *x, int64_t x_row, int64_t I, int64_t rows, void *packed)
{
    for (int64_t i = 0; i < rows; i += HD_TILE_ROWS) {
        int64_t some = rows - i < HD_TILE_ROWS ? rows - i : HD_TILE_ROWS;
        add_outer(k, dw, hd_at(dy, k->item_bytes, i * O), O, hd_at(x, k->item_bytes, i * x_row),
                  x_row, I, some, packed);
    }
}

static void add_rows(const struct hd_kernels *k, void *sum, const void *x, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++)
        k->add(sum, sum, hd_at(x, k->item_bytes, i * cols), (size_t)cols);
}

/* dx (rows, N) += dy (rows, O) w, rows x_row apart. */
static void add_product(const struct hd_kernels *k, void *dx, int64_t x_row, int64_t rows, int64_t N,
                        const void *dy, int64_t O, const void *packed)
{
    struct hd_gemm g = {.M = rows, .N = N, .K = O, .a = dy, .a_row = O, .a_col = 1, .b = packed,
                        .c = dx, .c_row = x_row, .accumulate = true};
    k->gemm(&g);
}

/* ---- the score */

/* dscore of a unit's pairs from dout, and what dout does to e directly. */
static void unit_score(const struct hd_target_back *back, int64_t unit, void *dscore)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    size_t item = k->item_bytes, C = (size_t)t->C;
    int64_t b = unit / t->K, n = hd_history_length(&t->h, b), row = hd_history_row(&t->h, b);
    const void *dout = hd_at(back->dout, item, unit * t->C), *w = hd_target_weights(t, unit);
    for (int64_t i = 0; i < n; i++) {
        double dw = k->dot(dout, hd_at(t->e, item, (row + i) * t->e_row), C);
        k->fill(hd_at(dscore, item, i), dw, 1);
        if (back->de)
            k->axpy(hd_at(back->de, item, (row + i) * t->e_row), k->sum(hd_at(w, item, i), 1), dout,
                    C);
    }
    if (!t->softmax) {
        k->scale(dscore, t->scale, dscore, (size_t)n);
        return;
    }
    double mean = k->dot(dscore, w, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        void *ds = hd_at(dscore, item, i);
        k->fill(ds, t->scale * (k->sum(ds, 1) - mean) * k->sum(hd_at(w, item, i), 1), 1);
    }
}

/* ---- one tile */

struct pass {
    const struct hd_target_back *back;
    int64_t l;
    struct part part;
};

/* A worker's place in a pass. */
struct place {
    struct hd_tile tile;
    void *dx, *row, *packed; /* of the worker */
    void *part;              /* of the task */
};

static void *part_at(const struct pass *pass, const struct place *at, int64_t items)
{
    return hd_at(at->part, pass->back->t->k->item_bytes, items);
}

/* Behind layer l's activation to before it, where the batch's moments do not stand between; and the
 * activation again, into the tile's act. */
static void below(const struct pass *pass, const struct place *at, int64_t l, void *dy)
{
    const struct hd_target *t = pass->back->t;
    const struct hd_target_layer *layer = &t->layer[l];
    const struct hd_kernels *k = t->k;
    int64_t O = layer->out;
    size_t n = (size_t)O;
    void *dalpha = part_at(pass, at, pass->part.dalpha), *sum = part_at(pass, at, pass->part.sums);
    void *product = hd_at(sum, k->item_bytes, O);
    for (int64_t i = 0; i < at->tile.rows; i++) {
        const void *x = hd_at(layer->kept, k->item_bytes, (at->tile.first + i) * O);
        void *y = hd_at(at->tile.act, k->item_bytes, i * O), *d = hd_at(dy, k->item_bytes, i * O);
        if (t->activation == HEED_TARGET_DICE) {
            k->dice_sums(y, dalpha, sum, product, d, x, layer->alpha, layer->center, layer->rstd, n);
            if (!layer->batch)
                k->dice_back(d, d, x, layer->alpha, layer->center, layer->rstd, NULL, NULL, n);
        } else if (t->activation == HEED_TARGET_PRELU) {
            k->prelu(y, x, layer->alpha, n);
            k->prelu_back(d, dalpha, d, x, layer->alpha, n);
        } else {
            k->act[HD_SIGMOID](y, x, n);
            k->fill(at->row, 0, n);
            k->act_back[HD_SIGMOID](at->row, d, x, n);
            memcpy(d, at->row, n * k->item_bytes);
        }
    }
}

/* dy of layer l's values, which pass l + 1 left behind the activation where moments are the batch's. */
static void *tile_gradient(const struct pass *pass, const struct place *at, int64_t l)
{
    const struct hd_target *t = pass->back->t;
    const struct hd_target_layer *layer = &t->layer[l];
    size_t item = t->k->item_bytes;
    void *dy = hd_at(pass->back->dvalue[l], item, at->tile.first * layer->out);
    const void *sum = pass->back->sums[l], *product = hd_at(sum, item, layer->out);
    for (int64_t i = 0; layer->batch && i < at->tile.rows; i++) {
        void *d = hd_at(dy, item, i * layer->out);
        const void *x = hd_at(layer->kept, item, (at->tile.first + i) * layer->out);
        t->k->dice_back(d, d, x, layer->alpha, layer->center, layer->rstd, sum, product,
                        (size_t)layer->out);
    }
    return dy;
}

/* Layer l > 0, or the score, which is a layer of one column. */
static void upper_tile(const struct pass *pass, const struct place *at)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t l = pass->l, in = t->layer[l - 1].out, out = l < t->hidden ? t->layer[l].out : 1;
    int64_t rows = at->tile.rows;
    void *dbelow = hd_at(back->dvalue[l - 1], k->item_bytes, at->tile.first * in), *dy;
    if (l == t->hidden) {
        dy = hd_at(back->dscore, k->item_bytes, at->tile.first);
        for (int64_t i = 0; i < rows; i++)
            k->scale(hd_at(dbelow, k->item_bytes, i * in), k->sum(hd_at(dy, k->item_bytes, i), 1),
                     t->w, (size_t)in);
    } else {
        dy = tile_gradient(pass, at, l);
        hd_target_multiply(k, rows, in, out, dy, out, back->packed[l], dbelow, false, NULL);
    }
    add_rows(k, part_at(pass, at, pass->part.db), dy, rows, out);
    below(pass, at, l - 1, dbelow);
    add_outer(k, part_at(pass, at, pass->part.dw), dy, out, at->tile.act, in, in, rows, at->packed);
}

/* What the first layer's input does to a and e. */
static void input_rows(const struct hd_target_back *back, const struct place *at,
                       const struct hd_segment *s)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t depth = t->layer[0].in;
    size_t item = k->item_bytes, C = (size_t)t->C;
    const void *a = hd_at(t->a, item, s->unit * t->a_row);
    void *da = back->da ? hd_at(back->da, item, s->unit * t->a_row) : NULL;
    for (int64_t i = 0; i < s->count; i++) {
        const void *dx = hd_at(at->dx, item, (s->at + i) * depth);
        const void *product = hd_at(dx, item, depth - t->C);
        if (da)
            k->muladd(da, hd_at(t->e, item, (s->row + i) * t->e_row), product, C);
        if (!back->de)
            continue;
        void *de = hd_at(back->de, item, (s->row + i) * t->e_row);
        k->muladd(de, a, product, C);
        if (depth > t->C)
            k->add(de, de, dx, C);
    }
}

static void first_tile(const struct pass *pass, const struct place *at)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out, depth = t->layer[0].in;
    void *dy = tile_gradient(pass, at, 0);
    hd_target_features(t, &at->tile);
    add_outer(k, part_at(pass, at, pass->part.dw), dy, O, at->tile.x, depth, depth, at->tile.rows,
              at->packed);
    hd_target_multiply(k, at->tile.rows, depth, O, dy, O, back->packed[0], at->dx, false, NULL);
    for (const struct hd_segment *s = at->tile.segment; s < at->tile.segment + at->tile.segments;
         s++) {
        const void *rows = hd_at(dy, k->item_bytes, s->at * O);
        int64_t b = s->unit / t->K, event = t->place[b] + s->row - hd_history_row(&t->h, b);
        add_rows(k, hd_at(back->by_unit, k->item_bytes, s->unit * O), rows, s->count, O);
        if (t->K > 1) {
            void *sum = hd_at(back->by_event, k->item_bytes, event * O);
            k->add(sum, sum, rows, (size_t)(s->count * O));
        }
        input_rows(back, at, s);
    }
}

/* ---- one task */

/* What a task's units and histories add once their tiles are through. */
static void finish_first(const struct pass *pass, const struct place *at, struct hd_walk walk)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out, C = t->C, units = walk.end - walk.unit;
    size_t item = k->item_bytes;
    const void *by_unit = hd_at(back->by_unit, item, walk.unit * O);
    add_rows(k, part_at(pass, at, pass->part.db), by_unit, units, O);
    add_outers(k, part_at(pass, at, pass->part.du_a), by_unit, O,
               hd_at(t->a, item, walk.unit * t->a_row), t->a_row, C, units, at->packed);
    if (back->da)
        add_product(k, hd_at(back->da, item, walk.unit * t->a_row), t->a_row, units, C, by_unit, O,
                    back->packed_a);
    for (int64_t b = walk.unit / t->K; t->K > 1 && b < walk.end / t->K; b++) {
        int64_t n = hd_history_length(&t->h, b), row = hd_history_row(&t->h, b);
        const void *by_event = hd_at(back->by_event, item, t->place[b] * O);
        add_outers(k, part_at(pass, at, pass->part.du_e), by_event, O,
                   hd_at(t->e, item, row * t->e_row), t->e_row, C, n, at->packed);
        if (back->de)
            add_product(k, hd_at(back->de, item, row * t->e_row), t->e_row, n, C, by_event, O,
                        back->packed_e);
    }
}

static void start_first(const struct hd_target_back *back, struct hd_walk walk)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out, from = walk.unit / t->K, to = walk.end / t->K;
    k->fill(hd_at(back->by_unit, k->item_bytes, walk.unit * O), 0,
            (size_t)((walk.end - walk.unit) * O));
    if (t->K > 1)
        k->fill(hd_at(back->by_event, k->item_bytes, t->place[from] * O), 0,
                (size_t)((t->place[to] - t->place[from]) * O));
}

static heed_status pass_task(void *arg, int64_t task, int worker)
{
    const struct pass *pass = arg;
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    struct hd_walk walk = hd_target_walk(t, task), start = walk;
    char *memory = back->tiles + (size_t)worker * back->tile_bytes;
    struct place at = {.part = hd_at(back->partial, k->item_bytes, task * pass->part.items)};
    hd_target_tile(t, memory, &at.tile);
    at.dx = tile_extra(t, memory, &at.row, &at.packed);
    k->fill(at.part, 0, (size_t)pass->part.items);
    if (pass->l == 0)
        start_first(back, start);
    for (int64_t u = walk.unit; pass->l == t->hidden && u < walk.end; u++) {
        int64_t b = u / t->K, pair = t->K * t->place[b] + u % t->K * hd_history_length(&t->h, b);
        unit_score(back, u, hd_at(back->dscore, k->item_bytes, pair));
    }
    while (hd_target_next(t, &walk, &at.tile))
        (pass->l > 0 ? upper_tile : first_tile)(pass, &at);
    if (pass->l == 0)
        finish_first(pass, &at, start);
    return HEED_OK;
}

/* ---- one pass */

static void add_grad(const struct hd_kernels *k, void *grad, const void *sum, int64_t n)
{
    if (grad)
        k->add(grad, grad, sum, (size_t)n);
}

/* The first layer's weight from those of its parts: w_a and w_d share u_a, w_e and -w_d share u_e. */
static void add_first_weight(const struct hd_target_back *back, const struct part *p)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t C = t->C, depth = t->layer[0].in;
    size_t item = k->item_bytes, n = (size_t)C;
    for (int64_t o = 0; back->layer[0].dw && o < t->layer[0].out; o++) {
        void *dw = hd_at(back->layer[0].dw, item, o * 4 * C), *dw_e = hd_at(dw, item, C);
        void *dw_d = hd_at(dw, item, 2 * C), *dw_p = hd_at(dw, item, 3 * C);
        const void *own = hd_at(back->partial, item, p->dw + o * depth);
        const void *du_a = hd_at(back->partial, item, p->du_a + o * C);
        const void *du_e = depth > C ? own : hd_at(back->partial, item, p->du_e + o * C);
        k->add(dw, dw, du_a, n);
        k->add(dw_d, dw_d, du_a, n);
        k->add(dw_e, dw_e, du_e, n);
        k->axpy(dw_d, -1, du_e, n);
        k->add(dw_p, dw_p, hd_at(own, item, depth - C), n);
    }
}

static heed_status run_pass(struct hd_target_back *back, int64_t l)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    struct pass pass = {back, l, part_of(t, l)};
    const struct part *p = &pass.part;
    int64_t tasks = hd_target_tasks(t), out = l < t->hidden ? t->layer[l].out : 1;
    size_t item = k->item_bytes;
    HD_TRY(hd_pool_run(t->pool, tasks, pass_task, &pass));
    for (int64_t i = 1; i < tasks; i++)
        k->add(back->partial, back->partial, hd_at(back->partial, item, i * p->items),
               (size_t)p->items);
    add_grad(k, back->layer[l].db, hd_at(back->partial, item, p->db), out);
    if (l == 0) {
        add_first_weight(back, p);
        return HEED_OK;
    }
    int64_t in = t->layer[l - 1].out;
    add_grad(k, back->layer[l].dw, hd_at(back->partial, item, p->dw), out * in);
    if (t->layer[l - 1].alpha)
        add_grad(k, back->layer[l - 1].dalpha, hd_at(back->partial, item, p->dalpha), in);
    k->scale(back->sums[l - 1], 1.0 / (double)t->pairs, hd_at(back->partial, item, p->sums),
             (size_t)(2 * in));
    return HEED_OK;
}

heed_status hd_target_backward(struct hd_target_back *back)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out;
    if (t->pairs == 0)
        return HEED_OK;
    for (int64_t l = 0; l < t->hidden; l++)
        k->gemm_pack(back->packed[l], t->layer[l].w, t->layer[l].in, 1, t->layer[l].out,
                     t->layer[l].in);
    k->gemm_pack(back->packed_a, t->u_a, t->C, 1, O, t->C);
    k->gemm_pack(back->packed_e, t->u_e, t->C, 1, O, t->C);
    for (int64_t l = t->hidden; l >= 0; l--)
        HD_TRY(run_pass(back, l));
    return HEED_OK;
}

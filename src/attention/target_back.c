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

/* Partial sums of a pass over layer l, in items from the start of a task's part. */
struct part {
    int64_t dw, db, dalpha, sums; /* sums: two rows */
    int64_t dm_e, dm_p;           /* of the first layer, (C, O) each; its dw is u_a's, (O, C) */
    int64_t items;
};

static struct part part_of(const struct hd_target *t, int64_t l)
{
    struct part p = {0};
    int64_t in = l > 0 ? t->layer[l - 1].out : t->C;
    int64_t out = l < t->hidden ? t->layer[l].out : 1;
    p.db = out * in; /* behind dw, or du_a */
    if (l > 0) {
        p.dalpha = p.db + out, p.sums = p.dalpha + in;
        p.items = p.sums + 2 * in;
    } else {
        p.dm_e = p.db + out, p.dm_p = p.dm_e + out * in;
        p.items = p.dm_p + out * in;
    }
    return p;
}

/* A worker's memory: a tile, the gradient of a unit's m', and a packed factor. */
static size_t cut_worker(const struct hd_target *t, char *memory, void **dm, void **packed)
{
    int64_t widest = t->width_max > t->C ? t->width_max : t->C;
    size_t deep = t->k->gemm_pack_bytes(HD_TILE_ROWS, widest);
    size_t turned = t->k->gemm_pack_bytes(t->layer[0].out, t->C);
    struct hd_room room = {memory, hd_target_tile_bytes(t)};
    *dm = hd_room_take(&room, t->layer[0].out * t->C, t->k->item_bytes);
    *packed = hd_room_take(&room, (int64_t)(deep > turned ? deep : turned), 1);
    return room.used;
}

void hd_target_back_layout(struct hd_target_back *back, struct hd_room *scratch)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    size_t item = k->item_bytes;
    void *unused;
    back->dscore = hd_room_take(scratch, t->pairs, item);
    for (int64_t l = 0; l < t->hidden; l++) {
        const struct hd_target_layer *layer = &t->layer[l];
        back->dvalue[l] = hd_room_take(scratch, t->pairs * layer->out, item);
        back->sums[l] = hd_room_take(scratch, 2 * layer->out, item);
        back->packed[l] =
            hd_room_take(scratch, (int64_t)k->gemm_pack_bytes(layer->out, layer->in), 1);
    }
    back->packed[t->hidden] =
        hd_room_take(scratch, (int64_t)k->gemm_pack_bytes(1, t->layer[t->hidden - 1].out), 1);
    back->by_unit = hd_room_take(scratch, t->units * t->layer[0].out, item);
    for (int64_t l = 0; l <= t->hidden; l++)
        if (part_of(t, l).items > back->part_items)
            back->part_items = part_of(t, l).items;
    back->partial = hd_room_take(scratch, (hd_target_tasks(t) + 1) * back->part_items, item);
    back->tile_bytes = cut_worker(t, NULL, &unused, &unused);
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
        hd_put(k, dscore, i, k->dot(dout, hd_at(t->e, item, (row + i) * t->e_row), C));
        if (back->de)
            k->axpy(hd_at(back->de, item, (row + i) * t->e_row), hd_get(k, w, i), dout, C);
    }
    if (!t->softmax) {
        k->scale(dscore, t->scale, dscore, (size_t)n);
        return;
    }
    double mean = k->dot(dscore, w, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        hd_put(k, dscore, i, t->scale * (hd_get(k, dscore, i) - mean) * hd_get(k, w, i));
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
    void *dm, *packed; /* of the worker */
    void *part;        /* of the task */
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
            k->act_back[HD_SIGMOID](d, d, x, n);
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
    void *dbelow = hd_at(back->dvalue[l - 1], k->item_bytes, at->tile.first * in);
    const void *dy = l == t->hidden ? hd_at(back->dscore, k->item_bytes, at->tile.first)
                                    : tile_gradient(pass, at, l);
    hd_target_multiply(k, rows, in, out, dy, out, back->packed[l], dbelow, NULL);
    k->column_sums(part_at(pass, at, pass->part.db), dy, out, rows, (size_t)out);
    below(pass, at, l - 1, dbelow);
    add_outer(k, part_at(pass, at, pass->part.dw), dy, out, at->tile.act, in, in, rows, at->packed);
}

/* dm' = e' dy of a segment: of the shared part as it is; of w_p' times a, row by row, and the other way
 * round a's. */
static void segment_weights(const struct pass *pass, const struct place *at,
                            const struct hd_segment *s, const void *dy)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out, C = t->C;
    size_t item = k->item_bytes;
    void *dm_e = part_at(pass, at, pass->part.dm_e), *dm_p = part_at(pass, at, pass->part.dm_p);
    struct hd_gemm g = {.M = C, .N = O, .K = s->count, .a = hd_at(t->e, item, s->row * t->e_row),
                        .a_row = 1, .a_col = t->e_row, .b = dy, .b_row = O, .c = at->dm, .c_row = O};
    if (O % k->gemm_columns) {
        k->gemm_pack(at->packed, dy, O, 1, s->count, O);
        g.b = at->packed, g.b_row = 0;
    }
    k->gemm(&g);
    k->add(dm_e, dm_e, at->dm, (size_t)(C * O));
    for (int64_t c = 0; c < C; c++) {
        const void *dm = hd_at(at->dm, item, c * O);
        int64_t a = s->unit * t->a_row + c;
        k->axpy(hd_at(dm_p, item, c * O), hd_get(k, t->a, a), dm, (size_t)O);
        if (back->da)
            hd_put(k, back->da, a,
                   hd_get(k, back->da, a) + k->dot(dm, hd_at(t->m_p, item, c * O), (size_t)O));
    }
}

static void first_tile(const struct pass *pass, const struct place *at)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out;
    const void *dy = tile_gradient(pass, at, 0);
    for (const struct hd_segment *s = at->tile.segment; s < at->tile.segment + at->tile.segments;
         s++) {
        const void *rows = hd_at(dy, k->item_bytes, s->at * O);
        k->column_sums(hd_at(back->by_unit, k->item_bytes, s->unit * O), rows, O, s->count, (size_t)O);
        segment_weights(pass, at, s, rows);
        if (!back->de)
            continue;
        hd_target_unit(t, &at->tile, s->unit);
        k->gemm_pack(at->packed, at->tile.m, 1, O, O, t->C);
        add_product(k, hd_at(back->de, k->item_bytes, s->row * t->e_row), t->e_row, s->count, t->C,
                    rows, O, at->packed);
    }
}

/* ---- one task */

/* What a task's units add once their tiles are through. */
static void finish_first(const struct pass *pass, const struct place *at, struct hd_walk walk)
{
    const struct hd_target_back *back = pass->back;
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t O = t->layer[0].out, C = t->C, units = walk.end - walk.unit;
    const void *by_unit = hd_at(back->by_unit, k->item_bytes, walk.unit * O);
    const void *a = hd_at(t->a, k->item_bytes, walk.unit * t->a_row);
    k->column_sums(part_at(pass, at, pass->part.db), by_unit, O, units, (size_t)O);
    add_outers(k, part_at(pass, at, pass->part.dw), by_unit, O, a, t->a_row, C, units, at->packed);
    if (back->da)
        add_product(k, hd_at(back->da, k->item_bytes, walk.unit * t->a_row), t->a_row, units, C,
                    by_unit, O, back->packed[0]);
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
    cut_worker(t, memory, &at.dm, &at.packed);
    k->fill(at.part, 0, (size_t)pass->part.items);
    if (pass->l == 0)
        k->fill(hd_at(back->by_unit, k->item_bytes, walk.unit * t->layer[0].out), 0,
                (size_t)((walk.end - walk.unit) * t->layer[0].out));
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

/* The first layer's weight from its parts: w_a and w_d share u_a, w_e and -w_d share m_e'. */
static void add_first_weight(const struct hd_target_back *back, const struct part *p)
{
    const struct hd_target *t = back->t;
    const struct hd_kernels *k = t->k;
    int64_t C = t->C, O = t->layer[0].out;
    for (int64_t i = 0; back->layer[0].dw && i < O * C; i++) {
        int64_t o = i / C, c = i % C;
        double du_a = hd_get(k, back->partial, p->dw + i);
        double dm_e = hd_get(k, back->partial, p->dm_e + c * O + o);
        double part[] = {du_a, dm_e, du_a - dm_e, hd_get(k, back->partial, p->dm_p + c * O + o)};
        for (int64_t j = 0; j < 4; j++) {
            int64_t at = (4 * o + j) * C + c;
            hd_put(k, back->layer[0].dw, at, hd_get(k, back->layer[0].dw, at) + part[j]);
        }
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
    if (t->pairs == 0)
        return HEED_OK;
    for (int64_t l = 0; l < t->hidden; l++)
        k->gemm_pack(back->packed[l], l > 0 ? t->layer[l].w : t->u_a, t->layer[l].in, 1,
                     t->layer[l].out, t->layer[l].in);
    k->gemm_pack(back->packed[t->hidden], t->w, 1, 1, 1, t->layer[t->hidden - 1].out);
    for (int64_t l = t->hidden; l >= 0; l--)
        HD_TRY(run_pass(back, l));
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries and keys on their way to the core and back: turned by their positions (Su 2021), then made
 * what the score needs (scores.c).
 *
 * Rows are walked in units of 64 positions of one sequence and head, as contiguous q' and k' by head:
 *
 *     x (any strides) --rotate--> tile --score--> y (heads, rows, width)
 *     dx <--rotate back-- tile <--score back-- dy
 *
 * Tasks are parts of a head, each so many units, by the shape alone; a part keeps its own sum of
 * theta's gradient, and sums are added in the order of parts: the same bits on any number of threads.
 * Memory is O(L D), and of theta's gradients at most PARTS_MAX. */
#include "attention/transform.h"
#include "attention/layout.h"
#include "base/memory.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

#define ROWS INT64_C(64) /* of a unit: two tiles of them stay in the first caches */
#define PART_UNITS INT64_C(4)
#define PARTS_MAX INT64_C(16)
#define ANCHOR INT64_C(64) /* positions from one exact angle to the next */

static char *at(const struct hd_transform *t, const void *base, int64_t index)
{
    return hd_place(base, t->item, index);
}

/* ---- what is to be done */

static void side_init(struct hd_transform_side *s, const struct hd_transform *t, int64_t L,
                      int64_t heads, const int64_t stride[3])
{
    const heed_attention_opts *o = t->from_opts;
    int64_t D = t->from->D, B = t->from->B;
    s->made = t->turned || s->score;
    s->heads = heads, s->L = s->L_max = L, s->rows = B * L;
    memcpy(s->stride, stride, sizeof s->stride);
    if (!stride[0] && !stride[1] && !stride[2])
        s->stride[0] = L * heads * D, s->stride[1] = heads * D, s->stride[2] = D;
    if (o->offsets) {
        s->L_max = 0, s->rows = o->offsets[B];
        for (int64_t b = 0; b < B; b++)
            if (o->offsets[b + 1] - o->offsets[b] > s->L_max)
                s->L_max = o->offsets[b + 1] - o->offsets[b];
    }
    s->chunks = (s->L_max + ROWS - 1) / ROWS;
    int64_t parts = (B * s->chunks + PART_UNITS - 1) / PART_UNITS;
    s->parts = parts < PARTS_MAX ? parts : PARTS_MAX;
}

/* The core's arrays and options: a plain product of other rows. */
static void core_init(struct hd_transform *t)
{
    heed_attention_arrays *a = &t->arrays;
    t->opts.scale = t->rule->factor * hd_score_scale(t->from_opts, t->from->D);
    t->opts.rotary = HEED_ROTARY_NONE;
    a->D = t->width;
    if (t->opts.score == HEED_SCORE_ADDITIVE)
        return;
    t->opts.score = HEED_SCORE_DOT;
    a->theta = NULL, a->dtheta = NULL;
}

bool hd_transform_init(struct hd_transform *t, const heed_attention_opts *o,
                       const heed_attention_arrays *a, bool backward)
{
    *t = (struct hd_transform){.opts = *o, .arrays = *a, .from_opts = o, .from = a,
                               .rule = hd_score_rule(o->score), .backward = backward};
    if (o->rotary)
        t->turned = o->rotary_dims ? o->rotary_dims : a->D;
    t->q = (struct hd_transform_side){.score = t->rule->query, .score_back = t->rule->query_back,
                                      .x = a->q, .dx = a->dq};
    t->k_side = (struct hd_transform_side){.score = t->rule->key, .score_back = t->rule->key_back,
                                           .x = a->k, .dx = a->dk};
    if (!t->turned && !t->q.score && !t->k_side.score)
        return false;
    t->k = a->dtype == HEED_F32 ? hd_kernels() : hd_kernels_f64();
    t->tile = a->dtype == HEED_F32 ? hd_attention_kernels() : hd_attention_kernels_f64();
    t->item = t->k->item_bytes;
    t->width = a->D + t->rule->columns;
    t->theta = hd_score_theta(o->score, a->D);
    side_init(&t->q, t, a->T, a->H, a->q_stride);
    side_init(&t->k_side, t, a->S, a->kv_heads ? a->kv_heads : a->H, a->k_stride);
    t->q.shift = o->offsets ? 0 : a->S - a->T;
    t->first = t->q.shift < 0 ? t->q.shift : 0;
    t->span = t->q.L_max > t->k_side.L_max ? t->q.L_max : t->k_side.L_max;
    core_init(t);
    return true;
}

/* ---- memory */

static size_t worker_bytes(const struct hd_transform *t)
{
    size_t tile = hd_arena_lines((size_t)(ROWS * t->from->D) * t->item);
    return t->turned && t->rule->query ? (t->backward ? 2 : 1) * tile : 0;
}

/* Where the core finds a side's rows, by head. */
static void side_place(const struct hd_transform *t, const struct hd_transform_side *s,
                       const void **x, void **dx, int64_t stride[3])
{
    if (!s->made)
        return;
    *x = s->y, *dx = s->dy;
    stride[0] = s->L * t->width, stride[1] = t->width, stride[2] = s->rows * t->width;
}

size_t hd_transform_memory(struct hd_transform *t, int threads, void *memory)
{
    struct hd_transform_side *q = &t->q, *k = &t->k_side;
    size_t row = (size_t)t->width * t->item, used = 0;
    size_t q_bytes = q->made ? (size_t)(q->rows * q->heads) * row : 0;
    size_t k_bytes = k->made ? (size_t)(k->rows * k->heads) * row : 0;
    bool learns = t->rule->query_back && t->backward && t->theta && t->from->dtheta;
#define CUT(field, bytes)                                                                          \
    ((field) = memory ? (void *)((char *)memory + used) : NULL, used += hd_arena_lines(bytes))
    CUT(q->y, q_bytes);
    CUT(k->y, k_bytes);
    CUT(q->dy, t->backward ? q_bytes : 0);
    CUT(k->dy, t->backward ? k_bytes : 0);
    CUT(t->rates, (size_t)(3 * t->turned / 2) * sizeof(double));
    CUT(t->turns, (size_t)(t->turned ? 2 * t->span * t->turned : 0) * t->item);
    CUT(t->theta_turned, t->rule->turns_theta && t->backward
                             ? (size_t)(t->from->H * t->theta) * t->item : 0);
    CUT(t->partials, learns ? (size_t)(t->from->H * q->parts * t->theta) * t->item : 0);
    CUT(t->workers, (size_t)threads * worker_bytes(t));
#undef CUT
    if (!learns)
        t->partials = NULL;
    side_place(t, q, &t->arrays.q, &t->arrays.dq, t->arrays.q_stride);
    side_place(t, k, &t->arrays.k, &t->arrays.dk, t->arrays.k_stride);
    return used;
}

/* ---- angles
 *
 * Dimension pair i at position p stands at p base^(-2 i / turned). Angles are taken in double at every
 * 64th position and walked from there by the sum formulas, 64 steps of a few units of 2^-53 each: so
 * factors are right to their last bit in float32 at any position a float32 model can have, and within
 * 2e-14 + 2^-53 of the angle in float64. */

static void make_rates(const struct hd_transform *t)
{
    double base = t->from_opts->rotary_base > 0 ? t->from_opts->rotary_base : 10000;
    for (int64_t i = 0; i < t->turned / 2; i++) {
        double rate = pow(base, -2.0 * (double)i / (double)t->turned);
        t->rates[3 * i] = rate, t->rates[3 * i + 1] = cos(rate), t->rates[3 * i + 2] = sin(rate);
    }
}

/* The positions from one anchor to the next. */
static heed_status turns_task(void *arg, int64_t task, int worker)
{
    const struct hd_transform *t = arg;
    bool pairs = t->from_opts->rotary == HEED_ROTARY_PAIRS;
    int64_t from = task * ANCHOR, to = from + ANCHOR < t->span ? from + ANCHOR : t->span;
    (void)worker;
    for (int64_t i = 0; i < t->turned / 2; i++) {
        const double *rate = t->rates + 3 * i;
        double angle = (double)(t->first + from) * rate[0], c = cos(angle), s = sin(angle);
        int64_t a = pairs ? 2 * i : i, b = pairs ? a + 1 : i + t->turned / 2;
        for (int64_t p = from; p < to; p++) {
            char *own = at(t, t->turns, 2 * p * t->turned), *other = at(t, own, t->turned);
            hd_set_number(own, t->item, a, c), hd_set_number(own, t->item, b, c);
            hd_set_number(other, t->item, a, -s), hd_set_number(other, t->item, b, s);
            double next = c * rate[1] - s * rate[2];
            s = s * rate[1] + c * rate[2], c = next;
        }
    }
    return HEED_OK;
}

/* ---- rows */

/* Some positions of one sequence and head. */
struct unit {
    struct hd_score_rows rows;
    int64_t padding; /* rows behind those, which are not read, as in the core */
    int64_t position;
};

static int64_t clamp(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x < most ? x : most;
}

/* Unit number `index` of a head. */
static struct unit unit_of(const struct hd_transform *t, const struct hd_transform_side *s,
                           int64_t h, int64_t index)
{
    const heed_attention_opts *o = t->from_opts;
    int64_t b = index / s->chunks, from = index % s->chunks * ROWS, L = s->L, row = b * L;
    int64_t x = b * s->stride[0], visible = L;
    if (o->offsets) {
        row = o->offsets[b], L = visible = o->offsets[b + 1] - row;
        x = row * s->stride[1];
    } else if (s == &t->k_side && o->lengths) {
        visible = o->lengths[b];
    }
    x += from * s->stride[1] + h * s->stride[2];
    int64_t y = (h * s->rows + row + from) * t->width;
    struct unit u = {.position = from + s->shift - t->first,
                     .rows = {.k = t->k, .tile = t->tile, .D = t->from->D,
                              .rows = clamp(visible - from, ROWS), .x = at(t, s->x, x),
                              .x_row = s->stride[1], .y = at(t, s->y, y), .y_row = t->width}};
    u.padding = clamp(L - from, ROWS) - u.rows.rows;
    if (t->backward) {
        u.rows.dy = at(t, s->dy, y);
        u.rows.dx = at(t, s->dx, x), u.rows.dx_row = s->stride[1];
    }
    if (t->theta)
        u.rows.theta = at(t, t->from->theta, h * t->theta);
    if (t->theta && t->theta_turned)
        u.rows.theta_turned = at(t, t->theta_turned, h * t->theta);
    return u;
}

static struct hd_rotation rotation_of(const struct hd_transform *t, const struct unit *u)
{
    return (struct hd_rotation){.rows = u->rows.rows, .n = t->from->D, .turned = t->turned,
                                .turn = at(t, t->turns, 2 * u->position * t->turned),
                                .pairs = t->from_opts->rotary == HEED_ROTARY_PAIRS};
}

/* x turned, into out. */
static void turn(const struct hd_transform *t, const struct unit *u, char *out, int64_t out_row)
{
    struct hd_rotation r = rotation_of(t, u);
    r.x = u->rows.x, r.x_row = u->rows.x_row, r.out = out, r.out_row = out_row;
    t->tile->rotate(&r);
}

static void clear(const struct hd_transform *t, char *rows, int64_t row, int64_t count, int64_t n)
{
    for (int64_t i = 0; i < count; i++)
        memset(at(t, rows, i * row), 0, (size_t)n * t->item);
}

/* x as the score sees it: where it is turned first, in the worker's tile. */
static void enter(const struct hd_transform *t, struct unit *u, char *tile)
{
    if (!t->turned)
        return;
    turn(t, u, tile, t->from->D);
    u->rows.x = tile, u->rows.x_row = t->from->D;
}

static void make_unit(const struct hd_transform *t, const struct hd_transform_side *s,
                      struct unit *u, char *tile)
{
    if (s->score) {
        enter(t, u, tile);
        s->score(&u->rows);
    } else {
        turn(t, u, u->rows.y, u->rows.y_row);
    }
    if (t->backward && t->from->accumulate) /* then the core adds: to nothing yet */
        memset(u->rows.dy, 0, (size_t)(u->rows.rows * t->width) * t->item);
}

static void return_unit(const struct hd_transform *t, const struct hd_transform_side *s,
                        struct unit *u, char *tile)
{
    struct hd_rotation back = rotation_of(t, u);
    if (!t->from->accumulate)
        clear(t, at(t, u->rows.dx, u->rows.rows * u->rows.dx_row), u->rows.dx_row, u->padding,
              t->from->D);
    back.x = u->rows.dy, back.x_row = u->rows.y_row, back.back = true;
    back.out = u->rows.dx, back.out_row = u->rows.dx_row, back.add = t->from->accumulate;
    if (s->score) {
        enter(t, u, tile);
        if (t->turned) {
            u->rows.dx = tile + hd_arena_lines((size_t)(ROWS * t->from->D) * t->item);
            u->rows.dx_row = t->from->D;
            back.x = u->rows.dx, back.x_row = u->rows.dx_row;
        }
        if (t->turned || !t->from->accumulate)
            clear(t, u->rows.dx, u->rows.dx_row, u->rows.rows, t->from->D);
        s->score_back(&u->rows);
    }
    if (t->turned)
        t->tile->rotate(&back);
}

/* ---- tasks: parts of a head */

struct pass {
    const struct hd_transform *t;
    const struct hd_transform_side *side;
    bool back;
};

static heed_status part_task(void *arg, int64_t task, int worker)
{
    const struct pass *pass = arg;
    const struct hd_transform *t = pass->t;
    const struct hd_transform_side *s = pass->side;
    int64_t h = task / s->parts, part = task % s->parts, units = t->from->B * s->chunks;
    char *tile = t->workers + (size_t)worker * worker_bytes(t), *dtheta = NULL;
    if (pass->back && s == &t->q && t->partials) {
        dtheta = at(t, t->partials, task * t->theta);
        memset(dtheta, 0, (size_t)t->theta * t->item);
    }
    for (int64_t i = units * part / s->parts; i < units * (part + 1) / s->parts; i++) {
        struct unit u = unit_of(t, s, h, i);
        u.rows.dtheta = dtheta;
        if (pass->back)
            return_unit(t, s, &u, tile);
        else
            make_unit(t, s, &u, tile);
    }
    return HEED_OK;
}

static heed_status run_side(const struct hd_transform *t, const struct hd_transform_side *s,
                            heed_pool *pool, bool back)
{
    struct pass pass = {t, s, back};
    return s->made ? hd_pool_run(pool, s->heads * s->parts, part_task, &pass) : HEED_OK;
}

heed_status hd_transform_forward(struct hd_transform *t, heed_pool *pool)
{
    if (t->turned) {
        make_rates(t);
        HD_TRY(hd_pool_run(pool, (t->span + ANCHOR - 1) / ANCHOR, turns_task, t));
    }
    HD_TRY(run_side(t, &t->q, pool, false));
    return run_side(t, &t->k_side, pool, false);
}

static heed_status turn_theta_task(void *arg, int64_t h, int worker)
{
    const struct hd_transform *t = arg;
    int64_t D = t->from->D;
    (void)worker;
    t->tile->transpose(at(t, t->theta_turned, h * t->theta), D,
                       at(t, t->from->theta, h * t->theta), D, D, D);
    return HEED_OK;
}

heed_status hd_transform_backward(struct hd_transform *t, heed_pool *pool)
{
    if (t->rule->turns_theta)
        HD_TRY(hd_pool_run(pool, t->from->H, turn_theta_task, t));
    HD_TRY(run_side(t, &t->q, pool, true));
    HD_TRY(run_side(t, &t->k_side, pool, true));
    for (int64_t i = 0; t->partials && i < t->from->H * t->q.parts; i++) {
        void *sum = at(t, t->from->dtheta, i / t->q.parts * t->theta);
        t->k->add(sum, sum, at(t, t->partials, i * t->theta), (size_t)t->theta);
    }
    return HEED_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing by agreement over groups of histories, forward and back. A task is a run of whole groups, cut
 * by the number of histories alone. */
#include "attention/routing.h"
#include "base/pool.h"

#include <math.h>

#define SQUASH_EPS 1e-9          /* ComiRec's: a capsule of zeros has no direction */
#define LEARN_TASKS INT64_C(64) /* each with a gradient of the map */

static size_t whole_lines(size_t bytes)
{
    return (bytes + HD_ARENA_ALIGN - 1) & ~(size_t)(HD_ARENA_ALIGN - 1);
}

int64_t hd_routing_interests(const struct hd_routing *r, int64_t b)
{
    return r->adaptive ? heed_routing_interests(hd_history_length(&r->h, b), r->K) : r->K;
}

/* ---- memory */

static void *take(char *base, size_t *used, int64_t count, size_t item_bytes)
{
    void *at = base ? base + *used : NULL;
    *used += whole_lines((size_t)count * item_bytes);
    return at;
}

/* The largest factor that a worker packs: events, either way round, or rows of one position. */
static size_t factor_bytes(const struct hd_routing *r)
{
    const struct hd_kernels *k = r->k;
    size_t most = k->gemm_pack_bytes(r->longest, r->C), other = k->gemm_pack_bytes(r->C, r->longest);
    const int64_t shapes[][2] = {{r->C, r->K * r->O}, {r->K * r->O, r->C},
                                 {HD_ROUTING_TILE, r->C}, {HD_ROUTING_GROUP * r->K, r->C}};
    most = other > most ? other : most;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        other = k->gemm_pack_bytes(shapes[i][0], shapes[i][1]);
        most = other > most ? other : most;
    }
    return most;
}

static size_t cut_worker(const struct hd_routing *r, char *base, struct hd_routing_worker *w)
{
    size_t item = r->k->item_bytes, used = 0;
    int64_t group = HD_ROUTING_GROUP * r->K, tile = r->maps ? 0 : HD_ROUTING_TILE;
    w->sums = take(base, &used, group * r->C, item);
    w->back = take(base, &used, group * r->C, item);
    w->dz = take(base, &used, group * r->O, item);
    w->rows = take(base, &used, tile * r->C, item);
    w->products = take(base, &used, tile * r->K * r->O, item);
    w->dproducts = take(base, &used, tile * r->C, item);
    w->packed = take(base, &used, (int64_t)factor_bytes(r), 1);
    return used;
}

void hd_routing_worker(const struct hd_routing *r, int worker, struct hd_routing_worker *w)
{
    cut_worker(r, r->workers + (size_t)worker * r->worker_bytes, w);
}

static int64_t groups_of(const struct hd_routing *r)
{
    return (r->h.B + HD_ROUTING_GROUP - 1) / HD_ROUTING_GROUP;
}

/* Groups of a task of the backward. */
static int64_t group_grain(const struct hd_routing *r)
{
    return groups_of(r) / LEARN_TASKS + 1;
}

static int64_t back_tasks(const struct hd_routing *r)
{
    return (groups_of(r) + group_grain(r) - 1) / group_grain(r);
}

size_t hd_routing_layout(struct hd_routing *r, char *base, bool backward)
{
    const struct hd_kernels *k = r->k;
    struct hd_routing_worker unused;
    int64_t events = hd_histories_rows(&r->h), by_position = r->maps == 0;
    size_t item = k->item_bytes, used = 0;
    r->packed_bytes = whole_lines(k->gemm_pack_bytes(r->C, r->O));
    r->packed_back_bytes = whole_lines(k->gemm_pack_bytes(r->O, r->C));
    r->packed = take(base, &used, backward ? 0 : r->maps, r->packed_bytes);
    r->packed_back = take(base, &used, r->maps, r->packed_back_bytes);
    r->place = take(base, &used, by_position ? r->h.B + 1 : 0, sizeof *r->place);
    if (backward) {
        r->partial = take(base, &used, r->maps * back_tasks(r) * r->O * r->C, item);
        r->u = take(base, &used, by_position * r->h.B * r->K * r->O, item);
    } else {
        r->logits = take(base, &used, r->K * events, item);
        r->drawn = take(base, &used, r->initial ? 0 : r->K * r->longest, item);
        r->u = take(base, &used, by_position * events * r->K * r->O, item);
    }
    r->worker_bytes = cut_worker(r, NULL, &unused);
    r->workers = take(base, &used, heed_pool_threads(r->pool), r->worker_bytes);
    return used;
}

static void pack_maps(const struct hd_routing *r, bool backward)
{
    for (int64_t i = 0; i < r->maps; i++) {
        const void *map = hd_at(r->map, r->k->item_bytes, i * r->O * r->C);
        if (!backward)
            r->k->gemm_pack((char *)r->packed + (size_t)i * r->packed_bytes, map, 1, r->C, r->C, r->O);
        r->k->gemm_pack((char *)r->packed_back + (size_t)i * r->packed_back_bytes, map, r->C, 1, r->O,
                        r->C);
    }
}

/* ---- squash */

/* v = f z, f = q / ((1 + q) sqrt(q + eps)), q = |z|^2. */
static void squash(const struct hd_kernels *k, void *v, const void *z, int64_t n)
{
    double q = k->dot(z, z, (size_t)n);
    k->scale(v, q / ((1 + q) * sqrt(q + SQUASH_EPS)), z, (size_t)n);
}

/* dz = f dv + 2 f'(q) <z, dv> z */
void hd_unsquash(const struct hd_kernels *k, void *dz, const void *dv, const void *z, int64_t n)
{
    double q = k->dot(z, z, (size_t)n), one = 1 / ((1 + q) * sqrt(q + SQUASH_EPS));
    double slope = one * (1 - q / (1 + q) - 0.5 * q / (q + SQUASH_EPS));
    k->scale(dz, q * one, dv, (size_t)n);
    k->axpy(dz, 2 * slope * k->dot(z, dv, (size_t)n), z, (size_t)n);
}

/* ---- through the maps: `count` histories, K rows of each */

static void through_maps(const struct hd_routing *r, int64_t count, const void *from, int64_t width,
                         const void *packed, size_t packed_bytes, void *to, int64_t to_width)
{
    size_t item = r->k->item_bytes;
    int64_t apart = r->maps == 1 ? 1 : r->K; /* rows that share a map are so far from each other */
    for (int64_t i = 0; i < r->maps; i++) {
        struct hd_gemm g = {.M = count * r->K / apart, .N = to_width, .K = width,
                            .a = hd_at(from, item, i * width), .a_row = apart * width, .a_col = 1,
                            .b = (const char *)packed + (size_t)i * packed_bytes,
                            .c = hd_at(to, item, i * to_width), .c_row = apart * to_width};
        r->k->gemm(&g);
    }
}

/* ---- one history */

static void start_history(const struct hd_routing *r, int64_t b)
{
    const struct hd_kernels *k = r->k;
    int64_t n = hd_history_length(&r->h, b), span = hd_history_span(&r->h, b);
    for (int64_t i = 0; i < r->K; i++) {
        void *logits = hd_at(r->logits, k->item_bytes, hd_routing_at(r, b) + i * span);
        if (r->initial)
            k->scale(logits, 1, hd_at(r->initial, k->item_bytes, i * r->initial_row), (size_t)n);
        else
            k->fill(logits, 0, (size_t)n);
    }
    k->fill(hd_at(r->weights, k->item_bytes, hd_routing_at(r, b)), 0, (size_t)(r->K * span));
}

/* sums (K, C) = c e */
static void sum_events(const struct hd_routing *r, int64_t b, const struct hd_routing_worker *w,
                       void *sums)
{
    const struct hd_kernels *k = r->k;
    int64_t n = hd_history_length(&r->h, b);
    const void *e = hd_at(r->e, k->item_bytes, hd_history_row(&r->h, b) * r->e_row);
    struct hd_gemm g = {.M = r->K, .N = r->C, .K = n,
                        .a = hd_at(r->weights, k->item_bytes, hd_routing_at(r, b)),
                        .a_row = hd_history_span(&r->h, b), .a_col = 1, .b = e, .b_row = r->e_row,
                        .c = sums, .c_row = r->C};
    if (r->C % k->gemm_columns) {
        k->gemm_pack(w->packed, e, r->e_row, 1, n, r->C);
        g.b = w->packed, g.b_row = 0;
    }
    k->gemm(&g);
}

/* logits (K, n) += back e' */
static void agree(const struct hd_routing *r, int64_t b, const struct hd_routing_worker *w,
                  const void *back)
{
    const struct hd_kernels *k = r->k;
    int64_t n = hd_history_length(&r->h, b);
    struct hd_gemm g = {.M = hd_routing_interests(r, b), .N = n, .K = r->C, .a = back, .a_row = r->C,
                        .a_col = 1, .b = w->packed,
                        .c = hd_at(r->logits, k->item_bytes, hd_routing_at(r, b)),
                        .c_row = hd_history_span(&r->h, b), .accumulate = true};
    k->gemm_pack(w->packed, hd_at(r->e, k->item_bytes, hd_history_row(&r->h, b) * r->e_row), 1,
                 r->e_row, r->C, n);
    k->gemm(&g);
}

/* ---- forward, a group */

struct group {
    int64_t from, count;
};

static struct group group_of(const struct hd_routing *r, int64_t i)
{
    int64_t from = i * HD_ROUTING_GROUP, left = r->h.B - from;
    return (struct group){from, left < HD_ROUTING_GROUP ? left : HD_ROUTING_GROUP};
}

static void route(const struct hd_routing *r, struct group g, const struct hd_routing_worker *w)
{
    const struct hd_kernels *k = r->k;
    void *z = hd_at(r->capsules, k->item_bytes, g.from * r->K * r->O);
    for (int64_t i = 0; i < g.count; i++) {
        int64_t b = g.from + i, at = hd_routing_at(r, b);
        k->softmax_columns(hd_at(r->weights, k->item_bytes, at), hd_at(r->logits, k->item_bytes, at),
                           hd_history_span(&r->h, b), hd_routing_interests(r, b),
                           (size_t)hd_history_length(&r->h, b));
        if (r->maps)
            sum_events(r, b, w, hd_at(w->sums, k->item_bytes, i * r->K * r->C));
        else
            hd_routing_position_sums(r, b, hd_at(z, k->item_bytes, i * r->K * r->O));
    }
    through_maps(r, g.count, w->sums, r->C, r->packed, r->packed_bytes, z, r->O);
    for (int64_t i = 0; i < g.count * r->K; i++)
        squash(k, hd_at(r->out, k->item_bytes, (g.from * r->K + i) * r->O),
               hd_at(z, k->item_bytes, i * r->O), r->O);
}

static void look_back(const struct hd_routing *r, struct group g, const struct hd_routing_worker *w)
{
    const struct hd_kernels *k = r->k;
    const void *v = hd_at(r->out, k->item_bytes, g.from * r->K * r->O);
    through_maps(r, g.count, v, r->O, r->packed_back, r->packed_back_bytes, w->back, r->C);
    for (int64_t i = 0; i < g.count; i++) {
        if (r->maps)
            agree(r, g.from + i, w, hd_at(w->back, k->item_bytes, i * r->K * r->C));
        else
            hd_routing_position_agree(r, g.from + i);
    }
}

static heed_status forward_task(void *arg, int64_t task, int worker)
{
    const struct hd_routing *r = arg;
    struct group g = group_of(r, task);
    struct hd_routing_worker w;
    hd_routing_worker(r, worker, &w);
    for (int64_t b = g.from; b < g.from + g.count; b++)
        start_history(r, b);
    for (int64_t i = 0; i < r->iterations; i++) {
        route(r, g, &w);
        if (i + 1 < r->iterations)
            look_back(r, g, &w);
    }
    return HEED_OK;
}

heed_status hd_routing_forward(struct hd_routing *r)
{
    pack_maps(r, false);
    if (r->maps == 0)
        HD_TRY(hd_routing_capsules(r));
    return hd_pool_run(r->pool, groups_of(r), forward_task, r);
}

/* ---- backward */

struct back {
    struct hd_routing *r;
    const void *dout;
    void *de, *dmap;
};

static void unsquash_group(const struct back *back, struct group g, void *dz)
{
    const struct hd_routing *r = back->r;
    size_t item = r->k->item_bytes;
    for (int64_t i = 0; i < g.count * r->K; i++) {
        int64_t at = (g.from * r->K + i) * r->O;
        hd_unsquash(r->k, hd_at(dz, item, i * r->O), hd_at(back->dout, item, at),
                    hd_at(r->capsules, item, at), r->O);
    }
}

/* dmap += dz' sums */
static void map_gradient(const struct hd_routing *r, struct group g, const struct hd_routing_worker *w,
                         void *dmap)
{
    const struct hd_kernels *k = r->k;
    size_t item = k->item_bytes;
    int64_t apart = r->maps == 1 ? 1 : r->K, rows = g.count * r->K / apart;
    for (int64_t i = 0; i < g.count; i++)
        sum_events(r, g.from + i, w, hd_at(w->sums, item, i * r->K * r->C));
    for (int64_t i = 0; i < r->maps; i++) {
        struct hd_gemm p = {.M = r->O, .N = r->C, .K = rows, .a = hd_at(w->dz, item, i * r->O),
                            .a_row = 1, .a_col = apart * r->O, .b = w->packed,
                            .c = hd_at(dmap, item, i * r->O * r->C), .c_row = r->C,
                            .accumulate = true};
        k->gemm_pack(w->packed, hd_at(w->sums, item, i * r->C), apart * r->C, 1, rows, r->C);
        k->gemm(&p);
    }
}

/* de += c' (W' dz) */
static void event_gradient(const struct back *back, struct group g, const struct hd_routing_worker *w)
{
    const struct hd_routing *r = back->r;
    const struct hd_kernels *k = r->k;
    size_t item = k->item_bytes;
    through_maps(r, g.count, w->dz, r->O, r->packed_back, r->packed_back_bytes, w->back, r->C);
    for (int64_t i = 0; i < g.count; i++) {
        int64_t b = g.from + i;
        struct hd_gemm p = {.M = hd_history_length(&r->h, b), .N = r->C, .K = r->K,
                            .a = hd_at(r->weights, item, hd_routing_at(r, b)), .a_row = 1,
                            .a_col = hd_history_span(&r->h, b), .b = w->packed,
                            .c = hd_at(back->de, item, hd_history_row(&r->h, b) * r->e_row),
                            .c_row = r->e_row, .accumulate = true};
        k->gemm_pack(w->packed, hd_at(w->back, item, i * r->K * r->C), r->C, 1, r->K, r->C);
        k->gemm(&p);
    }
}

static heed_status back_task(void *arg, int64_t task, int worker)
{
    const struct back *back = arg;
    const struct hd_routing *r = back->r;
    int64_t from = task * group_grain(r), to = from + group_grain(r), size = r->maps * r->O * r->C;
    void *partial = hd_at(r->partial, r->k->item_bytes, task * size);
    struct hd_routing_worker w;
    hd_routing_worker(r, worker, &w);
    r->k->fill(partial, 0, (size_t)size);
    for (int64_t i = from; i < to && i < groups_of(r); i++) {
        struct group g = group_of(r, i);
        if (r->maps == 0) { /* all positions wait for all of dz */
            unsquash_group(back, g, hd_at(r->u, r->k->item_bytes, g.from * r->K * r->O));
            continue;
        }
        unsquash_group(back, g, w.dz);
        if (back->dmap)
            map_gradient(r, g, &w, partial);
        if (back->de)
            event_gradient(back, g, &w);
    }
    return HEED_OK;
}

heed_status hd_routing_backward(struct hd_routing *r, const void *dout, void *de, void *dmap)
{
    struct back back = {r, dout, de, dmap};
    size_t size = (size_t)(r->maps * r->O * r->C);
    pack_maps(r, true);
    HD_TRY(hd_pool_run(r->pool, back_tasks(r), back_task, &back));
    if (r->maps == 0)
        return hd_routing_position_backward(r, r->u, de, dmap);
    for (int64_t i = 0; dmap && i < back_tasks(r); i++)
        r->k->add(dmap, dmap, hd_at(r->partial, r->k->item_bytes, i * (int64_t)size), size);
    return HEED_OK;
}

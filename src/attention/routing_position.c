/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing where each position has maps of its own. What is at one position of all histories goes through
 * one product, a tile of histories at a time; a position is a task, so each map's gradient, and each
 * event's, belongs to one task. */
#include "attention/routing.h"
#include "base/pool.h"

/* Up to HD_ROUTING_TILE histories, from *b on, that reach position s: their rows of e. */
struct tile {
    int64_t count, history[HD_ROUTING_TILE];
};

static struct tile next_tile(const struct hd_routing *r, int64_t s, int64_t *b, void *rows)
{
    struct tile tile = {0};
    size_t item = r->k->item_bytes;
    for (; *b < r->h.B && tile.count < HD_ROUTING_TILE; ++*b) {
        if (hd_history_length(&r->h, *b) <= s)
            continue;
        r->k->scale(hd_at(rows, item, tile.count * r->C), 1,
                    hd_at(r->e, item, (hd_history_row(&r->h, *b) + s) * r->e_row), (size_t)r->C);
        tile.history[tile.count++] = *b;
    }
    return tile;
}

/* The capsules of event s of history b, (K, O). */
static void *capsules_at(const struct hd_routing *r, int64_t b, int64_t s)
{
    return hd_at(r->u, r->k->item_bytes, (r->place[b] + s) * r->K * r->O);
}

static heed_status capsule_task(void *arg, int64_t s, int worker)
{
    const struct hd_routing *r = arg;
    const struct hd_kernels *k = r->k;
    struct hd_routing_worker w;
    struct tile tile;
    int64_t KO = r->K * r->O, b = 0;
    hd_routing_worker(r, worker, &w);
    k->gemm_pack(w.packed, hd_at(r->map, k->item_bytes, s * KO * r->C), 1, r->C, r->C, KO);
    while ((tile = next_tile(r, s, &b, w.rows)).count > 0) {
        struct hd_gemm g = {.M = tile.count, .N = KO, .K = r->C, .a = w.rows, .a_row = r->C,
                            .a_col = 1, .b = w.packed, .c = w.products, .c_row = KO};
        k->gemm(&g);
        for (int64_t i = 0; i < tile.count; i++)
            k->scale(capsules_at(r, tile.history[i], s), 1, hd_at(w.products, k->item_bytes, i * KO),
                     (size_t)KO);
    }
    return HEED_OK;
}

heed_status hd_routing_capsules(struct hd_routing *r)
{
    hd_histories_places(&r->h, r->place);
    return hd_pool_run(r->pool, r->longest, capsule_task, r);
}

void hd_routing_position_sums(const struct hd_routing *r, int64_t b, void *z)
{
    const struct hd_kernels *k = r->k;
    size_t item = k->item_bytes;
    int64_t span = hd_history_span(&r->h, b);
    k->fill(z, 0, (size_t)(r->K * r->O));
    for (int64_t s = 0; s < hd_history_length(&r->h, b); s++)
        for (int64_t i = 0; i < r->K; i++)
            k->axpy(hd_at(z, item, i * r->O),
                    hd_get(k, r->weights, hd_routing_at(r, b) + i * span + s),
                    hd_at(capsules_at(r, b, s), item, i * r->O), (size_t)r->O);
}

void hd_routing_position_agree(const struct hd_routing *r, int64_t b)
{
    const struct hd_kernels *k = r->k;
    size_t item = k->item_bytes;
    int64_t span = hd_history_span(&r->h, b);
    for (int64_t s = 0; s < hd_history_length(&r->h, b); s++)
        for (int64_t i = 0; i < hd_routing_interests(r, b); i++) {
            int64_t at = hd_routing_at(r, b) + i * span + s;
            double product = k->dot(hd_at(r->out, item, (b * r->K + i) * r->O),
                                    hd_at(capsules_at(r, b, s), item, i * r->O), (size_t)r->O);
            hd_put(k, r->logits, at, hd_get(k, r->logits, at) + product);
        }
}

/* ---- backward: du_sk = c_ks dz_k, dmap_sk = du_sk e_s', de_s = sum_k map_sk' du_sk */

struct back {
    const struct hd_routing *r;
    const void *dz;
    void *de, *dmap;
};

static void capsule_gradients(const struct back *back, int64_t s, const struct tile *tile, void *du)
{
    const struct hd_routing *r = back->r;
    const struct hd_kernels *k = r->k;
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t j = 0; j < r->K; j++) {
            int64_t b = tile->history[i], span = hd_history_span(&r->h, b);
            k->scale(hd_at(du, k->item_bytes, (i * r->K + j) * r->O),
                     hd_get(k, r->weights, hd_routing_at(r, b) + j * span + s),
                     hd_at(back->dz, k->item_bytes, (b * r->K + j) * r->O), (size_t)r->O);
        }
}

static void add_map(const struct back *back, int64_t s, const struct tile *tile,
                    const struct hd_routing_worker *w)
{
    const struct hd_routing *r = back->r;
    const struct hd_kernels *k = r->k;
    int64_t KO = r->K * r->O;
    struct hd_gemm g = {.M = KO, .N = r->C, .K = tile->count, .a = w->products, .a_row = 1,
                        .a_col = KO, .b = w->packed, .c = hd_at(back->dmap, k->item_bytes, s * KO * r->C),
                        .c_row = r->C, .accumulate = true};
    k->gemm_pack(w->packed, w->rows, r->C, 1, tile->count, r->C);
    k->gemm(&g);
}

static void add_events(const struct back *back, int64_t s, const struct tile *tile,
                       const struct hd_routing_worker *w)
{
    const struct hd_routing *r = back->r;
    const struct hd_kernels *k = r->k;
    int64_t KO = r->K * r->O;
    struct hd_gemm g = {.M = tile->count, .N = r->C, .K = KO, .a = w->products, .a_row = KO,
                        .a_col = 1, .b = w->packed, .c = w->dproducts, .c_row = r->C};
    k->gemm_pack(w->packed, hd_at(r->map, k->item_bytes, s * KO * r->C), r->C, 1, KO, r->C);
    k->gemm(&g);
    for (int64_t i = 0; i < tile->count; i++) {
        int64_t row = hd_history_row(&r->h, tile->history[i]) + s;
        void *de = hd_at(back->de, k->item_bytes, row * r->e_row);
        k->add(de, de, hd_at(w->dproducts, k->item_bytes, i * r->C), (size_t)r->C);
    }
}

static heed_status back_task(void *arg, int64_t s, int worker)
{
    const struct back *back = arg;
    struct hd_routing_worker w;
    struct tile tile;
    int64_t b = 0;
    hd_routing_worker(back->r, worker, &w);
    while ((tile = next_tile(back->r, s, &b, w.rows)).count > 0) {
        capsule_gradients(back, s, &tile, w.products);
        if (back->dmap)
            add_map(back, s, &tile, &w);
        if (back->de)
            add_events(back, s, &tile, &w);
    }
    return HEED_OK;
}

heed_status hd_routing_position_backward(struct hd_routing *r, const void *dz, void *de, void *dmap)
{
    struct back back = {r, dz, de, dmap};
    return hd_pool_run(r->pool, r->longest, back_task, &back);
}

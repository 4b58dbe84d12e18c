/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of routing by agreement: one call, laid out, and the ways over it.
 *
 * With one map, or one for each interest, u_sk = W_k e_s is never made:
 *
 *     z_k = sum_s c_ks W_k e_s = W_k (sum_s c_ks e_s),     <v_k, W_k e_s> = <W_k' v_k, e_s>
 *
 * so a pass sums events, maps K sums, and looks back with K mapped vectors. Histories are taken in groups,
 * whose sums are mapped by one product. With a map for each position capsules cannot be avoided; they
 * are made position by position, where all histories share the map. */
#ifndef HD_ROUTING_H
#define HD_ROUTING_H

#include "attention/history.h"
#include "heed/attention.h"
#include "tensor/tape.h"

#define HD_ROUTING_GROUP INT64_C(16) /* histories of a group */
#define HD_ROUTING_TILE INT64_C(64)  /* histories that a product of one position takes at a time */

struct hd_routing {
    const struct hd_kernels *k;
    heed_pool *pool;
    struct hd_histories h;
    int64_t K, C, O, iterations, longest;
    int64_t maps; /* 1, K, or 0: one for each position and interest */
    bool adaptive;
    const void *e;
    int64_t e_row;
    const void *map;
    const void *initial; /* (K, initial_row) logits */
    int64_t initial_row;
    void *out, *capsules; /* (B, K, O): v and z */
    void *weights;        /* (K, rows of e) as heed_routing() says */
    /* scratch */
    void *logits;         /* as weights */
    void *drawn;          /* (K, longest), where initial is drawn */
    void *packed, *packed_back; /* each map's W' and W */
    size_t packed_bytes, packed_back_bytes;
    int64_t *place;       /* (B + 1): with maps by position */
    void *u;              /* (events, K, O): likewise */
    void *partial;        /* backward: the map's gradient, of each task */
    char *workers;
    size_t worker_bytes;
};

/* What a worker has. */
struct hd_routing_worker {
    void *sums, *back; /* (HD_ROUTING_GROUP, K, C): sum_s c_ks e_s; W_k' of something */
    void *dz;          /* (HD_ROUTING_GROUP, K, O) */
    void *rows, *products, *dproducts; /* by position: a tile of (C), (K, O), (C) */
    void *packed;      /* a factor, or a position's map */
};

/* The interests of history b, and where its logits and weights start. */
int64_t hd_routing_interests(const struct hd_routing *r, int64_t b);
static inline int64_t hd_routing_at(const struct hd_routing *r, int64_t b)
{
    return r->K * hd_history_row(&r->h, b);
}

/* Memory from `base` on, NULL: only counted; returns the bytes. */
size_t hd_routing_layout(struct hd_routing *r, char *base, bool backward);
void hd_routing_worker(const struct hd_routing *r, int worker, struct hd_routing_worker *w);

HEED_CHECKED heed_status hd_routing_forward(struct hd_routing *r);
/* de with e's stride, dmap; each may be NULL. Added to. */
HEED_CHECKED heed_status hd_routing_backward(struct hd_routing *r, const void *dout, void *de,
                                             void *dmap);

/* With maps by position. u of all events; z of a group's histories; logits += <v, u>; and backward with
 * dz (B, K, O), over all positions. */
HEED_CHECKED heed_status hd_routing_capsules(struct hd_routing *r);
void hd_routing_position_sums(const struct hd_routing *r, int64_t b, void *z);
void hd_routing_position_agree(const struct hd_routing *r, int64_t b);
HEED_CHECKED heed_status hd_routing_position_backward(struct hd_routing *r, const void *dz, void *de,
                                                      void *dmap);

/* dz from dv = dout at one interest. */
void hd_unsquash(const struct hd_kernels *k, void *dz, const void *dv, const void *z, int64_t n);

#endif

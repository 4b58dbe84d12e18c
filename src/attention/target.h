/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of target attention: one call, checked and laid out, and the passes over it.
 *
 * A unit is one candidate against its history; a pair is one event of a unit. Units are numbered b K + k
 * and pairs follow them, without padding: a tile is up to HD_TILE_ROWS pairs that follow each other,
 * made of segments of one unit each, so that short histories share a matrix product and long ones
 * are cut.
 *
 *      units      | b0 k0  | b0 k1  |b1 k0|b1 k1|   ...
 *      tiles      |       .      |     .     |
 *
 * The first layer's product with [a, e, a - e, a * e] is that of w_a + w_d with a, made once per unit,
 * and that of a matrix of the unit's own with e: m = (w_e - w_d) + w_p diag(a). So a pair costs C
 * products per column instead of 4 C, and neither a - e nor a * e is ever made. A shared part
 * (w_e - w_d) e made once per event would still leave w_p (a * e), as deep as m e, to each pair. */
#ifndef HD_TARGET_H
#define HD_TARGET_H

#include "attention/history.h"
#include "heed/attention.h"
#include "nn/dice.h"

#define HD_TILE_ROWS INT64_C(192)

struct hd_target_layer {
    int64_t in, out;
    const void *w, *b, *alpha;
    void *center, *rstd;       /* Dice's, of this call */
    bool batch;                /* they are those of the batch */
    void *packed;              /* w'; of the first layer the candidates' part */
    void *kept;                /* (pairs, out): before the activation; NULL: not kept */
};

struct hd_target {
    const struct hd_kernels *k;
    heed_pool *pool;
    struct hd_histories h;
    int64_t *place; /* (B + 1): of each history's first event, padding not counted */
    int64_t K, C, units, pairs, unit_grain;
    const void *a, *e;
    int64_t a_row, e_row;
    const heed_target_weights *from;
    heed_target_activation activation;
    bool softmax;
    double scale, shift; /* shift: the last layer's bias */
    int64_t hidden, width_max;
    struct hd_target_layer layer[HEED_TARGET_HIDDEN_MAX];
    const void *w;  /* (1, in) of the score */
    void *out;      /* (units, C) */
    void *weights;  /* (K, rows of e) as heed_target() says: scores, then weights */
    void *u_a;         /* (O, C): w_a + w_d */
    void *m_e, *m_p;   /* (C, O): (w_e - w_d)', w_p' */
    void *by_unit;     /* scratch: (units, O), a's part of the first layer */
    char *tiles;
    size_t tile_bytes;
};

struct hd_segment {
    int64_t unit, row, count, at; /* row: of e; at: its first row in the tile */
};

struct hd_tile {
    struct hd_segment *segment; /* HD_TILE_ROWS of them at most */
    int64_t segments, rows, first; /* first: number of the first pair */
    void *m;                       /* (C, O): a unit's own m' */
    void *packed;                  /* the same, where it cannot be read as it lies */
    void *value, *act;             /* (rows, width_max): before an activation, and behind it */
};

/* Where tiles of a run of units begin anew. */
struct hd_walk {
    int64_t unit, end, at;
};

/* Memory handed out in order; base NULL: only counted. */
struct hd_room {
    char *base;
    size_t used;
};
void *hd_room_take(struct hd_room *room, int64_t count, size_t item_bytes);

/* Fills in what follows from weights, options and shapes, which have been checked; keep: a backward
 * will come, so tasks are whole histories and few. */
void hd_target_init(struct hd_target *t, const heed_target_weights *weights,
                    const heed_target_opts *opts, bool keep);
/* Cuts what must live as long as the call's results from `kept`, and scratch from `scratch`. */
void hd_target_layout(struct hd_target *t, struct hd_room *kept, struct hd_room *scratch,
                      bool keep, bool weights);
void hd_target_tile(const struct hd_target *t, char *memory, struct hd_tile *tile);
size_t hd_target_tile_bytes(const struct hd_target *t);

/* What t->place needs: after the layout. */
void hd_target_count(struct hd_target *t);
/* Moments where a layer's are the batch's; (tasks of them) of scratch. */
HEED_CHECKED heed_status hd_target_forward(struct hd_target *t, const heed_dice_opts *dice,
                                           double *moments);
/* Doubles that the moments of the widest layer take; 0 where none are the batch's. */
int64_t hd_target_moments(const struct hd_target *t);
int64_t hd_target_tasks(const struct hd_target *t);
struct hd_walk hd_target_walk(const struct hd_target *t, int64_t task);
bool hd_target_next(const struct hd_target *t, struct hd_walk *walk, struct hd_tile *tile);
/* m' of a unit, into the tile's. */
void hd_target_unit(const struct hd_target *t, const struct hd_tile *tile, int64_t unit);
/* The weights of a unit. */
void *hd_target_weights(const struct hd_target *t, int64_t unit);

/* C (M, N) = A B + bias, B packed. */
static inline void hd_target_multiply(const struct hd_kernels *k, int64_t M, int64_t N, int64_t K,
                                      const void *a, int64_t a_row, const void *packed, void *c,
                                      const void *bias)
{
    struct hd_gemm g = {.M = M, .N = N, .K = K, .a = a, .a_row = a_row, .a_col = 1, .b = packed,
                        .c = c, .c_row = N, .bias = bias};
    k->gemm(&g);
}

#endif

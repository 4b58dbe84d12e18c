/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores and positions as transforms around a method that knows inner products alone:
 *
 *     out = core(q', k', v)         q', k' made of q, k, theta and positions, in scratch
 *     dq, dk, dtheta = the transforms' transposed derivatives of the core's dq', dk'
 *
 * A caller inits one, gives it memory, and puts the core between forward and backward. */
#ifndef HD_TRANSFORM_H
#define HD_TRANSFORM_H

#include "attention/scores.h"
#include "base/status.h"

/* One of q and k. */
struct hd_transform_side {
    bool made; /* else the core reads the caller's rows */
    hd_score_fn *score, *score_back; /* of it; NULL: rows are only turned */
    const char *x;
    char *dx, *y, *dy;
    int64_t stride[3]; /* of x and dx */
    int64_t heads, L, L_max, rows; /* positions of a sequence, of the longest, of all */
    int64_t shift; /* of a position, to where it stands among the keys; 0 with offsets */
    int64_t chunks, parts; /* of rows: see transform.c */
};

struct hd_transform {
    heed_attention_opts opts;     /* what the core is to see */
    heed_attention_arrays arrays;
    const heed_attention_opts *from_opts;
    const heed_attention_arrays *from;
    const struct hd_kernels *k;
    const struct hd_attention_kernels *tile;
    const struct hd_score_rule *rule;
    size_t item;
    bool backward;
    int64_t width, theta; /* of a row of q' and k'; numbers of theta for one head */
    int64_t turned, first, span; /* rotary: dimensions; positions first .. first + span */
    struct hd_transform_side q, k_side;
    double *rates; /* (turned / 2, 3): angle of one step, its cosine and sine */
    char *turns;   /* (span, 2, turned): see struct hd_rotation */
    char *theta_turned, *partials, *workers;
};

/* False where the core can have what the caller gave. */
bool hd_transform_init(struct hd_transform *t, const heed_attention_opts *opts,
                       const heed_attention_arrays *arrays, bool backward);
/* Scratch for so many threads; memory NULL: only counted. From its start on, on HD_ARENA_ALIGN. */
size_t hd_transform_memory(struct hd_transform *t, int threads, void *memory);
/* Makes q' and k'. */
HEED_CHECKED heed_status hd_transform_forward(struct hd_transform *t, heed_pool *pool);
/* From dq' and dk' to dq, dk and dtheta. */
HEED_CHECKED heed_status hd_transform_backward(struct hd_transform *t, heed_pool *pool);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Target attention backwards: where the gradients go. */
#ifndef HD_TARGET_BACK_H
#define HD_TARGET_BACK_H

#include "attention/target.h"

/* Of one layer's parameters; each may be NULL: not wanted. */
struct hd_target_grads {
    void *dw, *db, *dalpha;
};

struct hd_target_back {
    const struct hd_target *t;
    const void *dout; /* (units, C) */
    void *da, *de;    /* with the strides of a and e, or NULL */
    struct hd_target_grads layer[HEED_TARGET_HIDDEN_MAX + 1]; /* the last: of the score */
    /* scratch */
    void *dvalue[HEED_TARGET_HIDDEN_MAX]; /* (pairs, O): behind a layer's activation, then before it */
    void *dscore;                         /* (pairs) */
    void *sums[HEED_TARGET_HIDDEN_MAX];   /* two rows of O: what dice_back takes */
    void *by_unit;                        /* (units, O) */
    void *packed[HEED_TARGET_HIDDEN_MAX + 1]; /* w; of the first layer u_a */
    void *partial;                        /* of each task, part_items each */
    int64_t part_items;
    char *tiles;
    size_t tile_bytes;
};

void hd_target_back_layout(struct hd_target_back *back, struct hd_room *scratch);
/* Adds to all gradients. */
HEED_CHECKED heed_status hd_target_backward(struct hd_target_back *back);

#endif

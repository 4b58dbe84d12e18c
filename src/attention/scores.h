/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores that are inner products of other rows: what each makes of a query and of a key, and the
 * derivative the other way. */
#ifndef HD_SCORES_H
#define HD_SCORES_H

#include "heed/attention.h"
#include "kernel/attention.h"
#include "kernel/kernel.h"

/* Some rows of one head, of q or of k: x (rows, D) becomes y (rows, width), columns beyond D included.
 * Backwards dy, which has y's stride, adds to dx and to the head's dtheta. */
struct hd_score_rows {
    const struct hd_kernels *k;
    const struct hd_attention_kernels *tile;
    int64_t rows, D;
    const char *x;
    int64_t x_row;
    char *y;
    int64_t y_row;
    char *dy;
    char *dx;
    int64_t dx_row;
    const char *theta, *theta_turned; /* this head's; turned only backwards */
    char *dtheta;                     /* NULL: not wanted */
};

typedef void hd_score_fn(const struct hd_score_rows *r);

/* What a score makes of its rows: NULL where they stay as they are. */
struct hd_score_rule {
    const char *name;
    int64_t columns; /* that are added to the D */
    double factor;   /* the score is so many times <q', k'> */
    hd_score_fn *query, *key, *query_back, *key_back;
    bool turns_theta; /* query_back reads theta_turned */
};

const struct hd_score_rule *hd_score_rule(heed_attention_score score);

/* Numbers of theta for one head; 0 where the score learns nothing. */
int64_t hd_score_theta(heed_attention_score score, int64_t D);

/* opts->scale, or what stands for 0. */
double hd_score_scale(const heed_attention_opts *opts, int64_t D);

#endif

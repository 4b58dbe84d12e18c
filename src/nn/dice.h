/* SPDX-License-Identifier: Apache-2.0
 *
 * What Dice knows of its columns: moments summed up from blocks of rows, in the order of the blocks,
 * and the running averages that take their place where nothing is being learned. For the layer, and
 * for the network inside target attention. */
#ifndef HD_DICE_H
#define HD_DICE_H

#include "heed/nn.h"
#include "tensor/tape.h"

/* The moments of some rows; both arrays have an entry per column. */
struct hd_moments {
    int64_t rows;
    double *mean, *squares; /* squares: of the distances from the mean, summed */
};

/* Numbers of double that hd_moments_add() needs beside: two rows of columns. */
#define HD_MOMENTS_SCRATCH(cols) (2 * (cols))

/* Adds a block of rows (rows, cols), x_row apart. */
void hd_moments_add(const struct hd_kernels *k, struct hd_moments *m, const void *x, int64_t x_row,
                    int64_t rows, int64_t cols, double *scratch);
/* to = the moments of both. */
void hd_moments_merge(struct hd_moments *to, const struct hd_moments *from, int64_t cols);

/* Checks of one Dice or, with mean and var NULL, one PReLU over `cols` columns of `dtype`. */
HEED_CHECKED heed_status hd_dice_check(const char *layer, const heed_dice_opts *opts,
                                       const heed_tensor *alpha, const heed_tensor *mean,
                                       const heed_tensor *var, heed_dtype dtype, int64_t cols);
/* Are the moments those of the batch? Else the running ones are constants. */
bool hd_dice_is_batch(const heed_tape *tape, const heed_tensor *mean);
double hd_dice_eps(const heed_dice_opts *opts);

/* center and rstd (cols, of k's element type) from moments, and the running averages (or NULL) moved
 * towards them; no rows: they stay, and center is 0. */
void hd_dice_from_batch(const struct hd_kernels *k, const struct hd_moments *m,
                        const heed_dice_opts *opts, heed_tensor *mean, heed_tensor *var,
                        void *center, void *rstd, int64_t cols);
/* The same from the running averages. */
void hd_dice_from_running(const struct hd_kernels *k, const heed_dice_opts *opts,
                          const heed_tensor *mean, const heed_tensor *var, void *center, void *rstd,
                          int64_t cols);

#endif

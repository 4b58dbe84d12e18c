/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner side of a heed_params: its tensors, and their cut into pieces of a fixed size, which
 * are the tasks of everything that goes over all parameters (reduce, Adam). */
#ifndef HD_PARAMS_H
#define HD_PARAMS_H

#include "base/limits.h"
#include "base/memory.h"
#include "heed/nn.h"

struct hd_param {
    heed_tensor tensor; /* first: heed_params_add() gives this out */
    const char *name;
    int64_t rows, cols;  /* cols: what one mark in `touched` stands for, or all in one row */
    int64_t row_grain;   /* rows of a piece */
    int64_t first_piece; /* number of its first piece among all */
};

struct heed_params {
    heed_dtype dtype;
    uint64_t seed;
    hd_arena *arena; /* of the tensors, their names, numbers and gradients */
    struct hd_param **param;
    int64_t count, room, pieces;
    heed_params *origin; /* of a replica */
};

/* A piece: rows [from, to) of one parameter. */
struct hd_piece {
    int64_t param, from, to;
};
struct hd_piece hd_params_piece(const heed_params *params, int64_t piece);

/* `prefix.name`, for a layer within a layer. */
HEED_CHECKED heed_status hd_params_prefix(char full[HD_NAME_BYTES_MAX + 1], const char *prefix,
                                          const char *name);
/* heed_params_add() of `prefix.name`: what layers with several tensors are made of. */
HEED_CHECKED heed_status hd_params_add_under(heed_params *params, const char *prefix,
                                             const char *name, const int64_t *dim, int rank,
                                             heed_init init, double scale, heed_tensor **tensor);

/* heed_params_load() from a file that is open already, for who reads its metadata first. */
struct hd_safetensors;
HEED_CHECKED heed_status hd_params_read(heed_params *params, heed_adam *adam,
                                        struct hd_safetensors *file);

#endif

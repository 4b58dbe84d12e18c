/* SPDX-License-Identifier: Apache-2.0
 *
 * HEED_METHOD_LSH; trusts the checks of check.c and method.c. And what it stands on: the rows of one
 * sequence and head, hashed and sorted, once per round. */
#ifndef HD_LSH_H
#define HD_LSH_H

#include "base/status.h"
#include "heed/attention.h"
#include "kernel/attention.h"

uint64_t hd_lsh_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                              const heed_attention_arrays *arrays, bool backward);
HEED_CHECKED heed_status hd_lsh_forward(heed_pool *pool, const heed_attention_opts *opts,
                                        const heed_attention_arrays *arrays);
HEED_CHECKED heed_status hd_lsh_backward(heed_pool *pool, const heed_attention_opts *opts,
                                         const heed_attention_arrays *arrays);

/* ---- hashing: how, for a whole call */

/* A hash is one or two numbers, factors[0] and factors[1] values each (the second 1 where there is but
 * one); a factor of f values is argmax [x R, -x R] with R (D, f / 2) of random normal numbers. */
struct hd_lsh {
    const struct hd_attention_kernels *kernel;
    int64_t D, rounds, chunk;
    int64_t buckets;    /* as asked for; 0: by a sequence's length */
    int64_t columns[2]; /* of R, the most that any sequence needs of each factor */
    uint64_t seed;
    char *rotations; /* (rounds, D, columns[0] + columns[1]) */
};

#define HD_LSH_ROWS 64 /* rows hashed at once */

void hd_lsh_init(struct hd_lsh *l, const heed_attention_opts *opts,
                 const heed_attention_arrays *arrays, const struct hd_attention_kernels *kernel);
size_t hd_lsh_rotation_bytes(const struct hd_lsh *l);
/* Draws the rotations into memory of that size. */
void hd_lsh_draw(struct hd_lsh *l, void *memory);
/* Bytes of hd_lsh_sort()'s tile. */
size_t hd_lsh_tile_bytes(const struct hd_lsh *l);

/* ---- one sequence and head, sorted in each round by (bucket, position). What a row's hash lets it
 * see is a range of ranks: its bucket, cut to its own chunk of ranks and the one before. */
struct hd_lsh_sorted {
    int64_t n, chunk, buckets;
    int64_t rounds; /* 1 where there is but one bucket: the others would be the same */
    int32_t *bucket, *order, *rank; /* (rounds, n): of a position; position of a rank; its inverse */
    int32_t *ends;                  /* (rounds, buckets): the first rank after each bucket */
};

struct hd_lsh_range {
    int32_t from, to;
};

/* Buckets of a sequence of n rows. */
int64_t hd_lsh_buckets(const struct hd_lsh *l, int64_t n);
void hd_lsh_sort(const struct hd_lsh *l, struct hd_lsh_sorted *s, const void *q, int64_t q_row,
                 void *tile);
struct hd_lsh_range hd_lsh_range(const struct hd_lsh_sorted *s, int64_t round, int64_t position);

#endif

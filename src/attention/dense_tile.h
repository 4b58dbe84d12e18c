/* SPDX-License-Identifier: Apache-2.0
 *
 * What the exact method's files share: a call prepared (dense.c), one head of one sequence and how it is
 * cut into tiles, and who sees whom in it (dense_sight.c). dense_forward.c and dense_backward.c walk
 * the tiles; both get a tile's scores from hd_scores(). */
#ifndef HD_DENSE_TILE_H
#define HD_DENSE_TILE_H

#include "attention/dense.h"
#include "attention/layout.h"
#include "kernel/attention.h"
#include "kernel/attention_bf16.h"

#define HD_CHUNK 256 /* queries of one forward task */
/* Tiles are at most so large; blocks of queries and keys are cut as equal as can be below that. The
 * forward's tile and the keys it meets lie in the first cache, the backward's two tiles and its
 * four blocks of rows in the second. */
#define HD_FORWARD_TILE 8192
#define HD_FORWARD_KEYS 256
#define HD_FORWARD_ROWS 64
#define HD_BACKWARD_ROWS 64
#define HD_BACKWARD_KEYS 64

/* What a score gets for how far its key lies behind its query, t' - s: entry back - (t' - s) of the
 * head's row. A tile reads it along its diagonals. */
struct hd_diagonals {
    bool wanted; /* there is anything to add */
    char *table; /* (H, width) */
    int64_t back, width;
};

struct hd_job {
    const struct hd_attention_kernels *kernel;
    const struct hd_attention_bf16 *bf16; /* or NULL: q, k, v and out are used as they lie */
    void (*product)(const struct hd_product *p);
    size_t item, input; /* bytes of a number, and of one in q, k, v and out */
    const heed_attention_opts *opts;
    const heed_attention_arrays *arrays;
    int64_t B, H, key_heads, D, E, T_max, S_max;
    int64_t rows;   /* of q, in all sequences */
    int64_t chunks; /* forward tasks per head of a sequence */
    struct hd_strides q, k, v, out;
    double scale;
    uint32_t threshold;
    double keep_scale;
    bool softmax, wants_dposition, wants_dtime, wants_dtheta;
    int64_t tables; /* numbers of their gradients for one head of a sequence */
    /* scratch */
    char *workers; /* worker_bytes for each thread */
    size_t worker_bytes;
    struct hd_diagonals plain;  /* position, alibi and shift; its shape is also that of gradients */
    struct hd_diagonals banded; /* the same, -infinity outside the window */
    char *partials;             /* (B H, tables): position, time, theta */
};

/* One head of one sequence. */
struct hd_pair {
    struct hd_sequence seq;
    int64_t h, key_head;
    int64_t reach, dilation; /* of the window: keys up to so far away, and every how many-th */
    const char *q, *k, *v;
    const char *mask;
    const uint8_t *keep;
    const int64_t *query_times, *key_times;
    int64_t query_block, key_block, tile_row; /* how it is cut into tiles */
};

/* Keys [from, to); none where from >= to. */
struct hd_span {
    int64_t from, to;
};

/* Parts of a worker's scratch. */
struct hd_scratch {
    char *kt, *vt; /* a block of keys and values, turned; of bfloat16, what its kernels make of them */
    int64_t key;   /* the first of the block */
    char *q, *out; /* of bfloat16: what they make of a chunk of queries, and its results in float32 */
    char *s, *dp;  /* tiles */
    int32_t *bucket;
    char *max, *sum; /* per query of a chunk; backward: max holds delta of all. Where weights are not
                      * normalised, max holds what they are divided by, inverted */
    char *diagonals; /* gradient of the position bias by diagonal */
    char *lanes;     /* gradient of the time bias, (W, HD_TILE_PAD): to be added up along lanes */
};

static inline char *hd_item(const struct hd_job *j, const void *base, int64_t index)
{
    return hd_place(base, j->item, index);
}

/* The same in q, k, v, out and their gradients. */
static inline char *hd_input(const struct hd_job *j, const void *base, int64_t index)
{
    return hd_place(base, j->input, index);
}

/* The pair's rows in an array like out or one of the inputs; h of a key's head where it is of keys. */
static inline char *hd_rows_of(const struct hd_job *j, const struct hd_pair *p, const void *array,
                               struct hd_strides s, int64_t h)
{
    return hd_head_rows(j->opts, &p->seq, array, j->input, s, h);
}

/* ---- dense.c */

void hd_job_init(struct hd_job *j, const heed_attention_opts *opts,
                 const heed_attention_arrays *arrays, bool backward);
/* Takes scratch from the caller or the heap; *heap is what has to be freed. */
HEED_CHECKED heed_status hd_job_scratch(struct hd_job *j, heed_pool *pool, bool backward,
                                        void **heap);
struct hd_scratch hd_worker_scratch(const struct hd_job *j, bool backward, int worker);
struct hd_pair hd_pair_of(const struct hd_job *j, int64_t b, int64_t h, bool backward);
/* Turns keys for the tiles to come, with values where there is room for them; of bfloat16 both become
 * factors. */
void hd_turn(const struct hd_job *j, const struct hd_pair *p, struct hd_scratch *w,
             struct hd_span keys);
struct hd_tile hd_tile_of(const struct hd_job *j, const struct hd_pair *p, void *s, int64_t t,
                          int64_t rows, struct hd_span keys);
/* S = scale Q K^T, or the additive score, + biases of one tile, -infinity where a mask hides; its buckets stay for the
 * backward. */
void hd_scores(const struct hd_job *j, const struct hd_pair *p, const struct hd_scratch *w,
               const struct hd_tile *tile, int64_t t);

/* The additive score of a tile, as its kernels want it. */
struct hd_additive hd_additive_of(const struct hd_job *j, const struct hd_pair *p,
                                  const struct hd_scratch *w, const struct hd_tile *tile, int64_t t);

/* ---- dense_sight.c */

/* Shapes of the tables of diagonals, and what they are filled with once there is memory. */
void hd_diagonals_init(struct hd_job *j);
void hd_diagonals_fill(const struct hd_job *j);
/* Where a query at position t' (0: the first key's) and a key s meet in a head's row. */
static inline int64_t hd_diagonal(const struct hd_diagonals *d, int64_t h, int64_t position,
                                  int64_t key)
{
    return h * d->width + d->back - (position - key);
}
void hd_add_diagonals(const struct hd_job *j, const struct hd_pair *p, const struct hd_tile *tile,
                      int64_t t);
void hd_add_masks(const struct hd_job *j, const struct hd_pair *p, const struct hd_tile *tile,
                  int64_t t);

/* Keys of block [key, end) that queries t .. t_end - 1 may see, as far as causal, lengths and the
 * window tell. Where it does not start with the block it starts a multiple of HD_TILE_PAD later, so
 * that a key lies in the same lane whichever rows look at it. */
struct hd_span hd_keys_seen(const struct hd_job *j, const struct hd_pair *p, int64_t t,
                            int64_t t_end, int64_t key, int64_t end);
/* The first block at `key` or after it, a multiple of key_block, of which these queries may see any. */
int64_t hd_next_keys(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end,
                     int64_t key);
/* The first query at t or after it that may see any key of block [key, end), or T. */
int64_t hd_next_query(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t key,
                      int64_t end);
/* Rows of the tile that starts with query t: all within the globals, or all outside. */
int64_t hd_rows_at(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end);
/* out[i] = 1 / keys that query t + i may see; 0 where it sees none. */
void hd_inverses(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end,
                 char *out);

#endif

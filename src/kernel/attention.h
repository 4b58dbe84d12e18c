/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic of exact attention on tiles that fit the first caches: contracts, and the tables that
 * hold the best variant of each for a machine. A tile is a block of scores, rows of queries by columns
 * of keys; the floor above walks them and never has more than one at a time.
 *
 *     S = scale Q K^T        product, K transposed beforehand
 *     S += biases            add_position, add_bucket; mask and keep hide
 *     P = weights of S       softmax, silu, sigmoid    in place
 *     O += P V               product, lower
 *     ... and backwards with softmax_back, silu_back, sigmoid_back and five products
 *
 * What lies past the end of what a row sees is cut away, never multiplied by zero: a key that is NaN or
 * infinity touches no query before it. What a mask hides among the rest has a score of -infinity,
 * which weighs 0. There is a table per element type, with rows of `void *`, as in
 * kernel.h. */
#ifndef HD_KERNEL_ATTENTION_H
#define HD_KERNEL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of a score tile are this many elements apart or a multiple: whole vectors everywhere. */
#define HD_TILE_PAD 16

/* n rounded up to whole vectors. */
static inline int64_t hd_padded(int64_t n)
{
    return (n + HD_TILE_PAD - 1) / HD_TILE_PAD * HD_TILE_PAD;
}

/* Which elements of a product exist. Row i of the left matrix, counted from the tile's first. */
enum hd_product_shape {
    HD_PRODUCT_FULL,
    HD_PRODUCT_COLUMNS, /* row i needs columns j < seen + i of the result; others may hold anything */
    HD_PRODUCT_LOWER,   /* row i of the left matrix ends before its element k = seen + i */
    HD_PRODUCT_UPPER,   /* the same turned over: its element (i, k) exists where i < seen + k */
};

/* C (M, N) = or += alpha A B, of small matrices that stay in cache. A's element (i, k) is
 * a[i * a_row + k * a_col]; B's rows and C's are contiguous. Each element of C is one sum in the order
 * of k, whatever M and N: so a row's bits do not depend on its neighbours. */
struct hd_product {
    int64_t M, N, K;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row;
    void *c;
    int64_t c_row;
    double alpha;
    bool accumulate;
    enum hd_product_shape shape;
    int64_t seen;
};

/* A tile of scores and what its rows see: row i the first seen + i * step columns, cut to 0 .. columns.
 * Dropout keeps weight (i, j) where hd_attention_keep(key, row + i, column + j, threshold). */
struct hd_tile {
    void *s;
    int64_t s_row; /* a multiple of HD_TILE_PAD; each row has room for columns rounded up to it, and
                    * HD_TILE_PAD elements before the first row and after the last may be read */
    int64_t rows, columns;
    int64_t seen, step;
    uint64_t key, row, column;
    uint32_t threshold; /* 0: no dropout */
    double keep_scale;  /* 1 / (1 - p) */
};

/* Rows of n columns, of which the first `turned`, an even number, turn in twos. `turn` has 2 `turned`
 * factors for each row: of an element itself, then of its partner, which is its neighbour (pairs) or
 * stands turned / 2 away. out is not x. */
struct hd_rotation {
    int64_t rows, n, turned;
    const void *x;
    int64_t x_row;
    void *out;
    int64_t out_row;
    const void *turn;
    bool pairs;
    bool back; /* the other way: the partner's factor with its sign turned */
    bool add;  /* to what stands in out */
};

/* The additive score of a tile, over what is seen:
 *     s[i][j] = scale sum_d theta[d] tanh(q[i][d] + kt[d][j])
 * and backwards, where the tile holds ds, what that sends to q, k and theta: dq and dk are written where
 * they are fresh, else added to. */
#define HD_ADDITIVE_COLUMNS 64 /* of a tile backwards, at most */
struct hd_additive {
    const struct hd_tile *tile;
    int64_t D;
    const void *q;
    int64_t q_row;
    const void *kt; /* keys, turned */
    int64_t kt_row;
    const void *theta;
    double scale;
    void *dq, *dk, *dtheta; /* dtheta may be NULL */
    int64_t dq_row, dk_row;
    bool fresh_q, fresh_k;
};

struct hd_attention_kernels {
    const char *name;
    size_t item_bytes;

    void (*product)(const struct hd_product *p);
    /* out[c * out_row + r] = x[r * x_row + c]: rows x columns of x, turned. */
    void (*transpose)(void *out, int64_t out_row, const void *x, int64_t x_row, int64_t rows,
                      int64_t columns);

    /* s[i][j] += table[j - i]: a relative position's bias, one diagonal one value. */
    void (*add_position)(const struct hd_tile *t, const void *table);
    /* table[j - i] += s[i][j] over what is seen. */
    void (*sum_position)(const struct hd_tile *t, void *table);
    /* s[i][j] += table[bucket[i * bucket_row + j]] over what is seen. And the sum back, in lanes that
     * the caller adds up in the end: table[HD_TILE_PAD * bucket + j % HD_TILE_PAD] += s[i][j]. */
    void (*add_bucket)(const struct hd_tile *t, const int32_t *bucket, int64_t bucket_row,
                       const void *table);
    void (*sum_bucket)(const struct hd_tile *t, const int32_t *bucket, int64_t bucket_row,
                       void *table);

    /* Over what is seen, and nothing beside it: s[i][j] = -infinity, whatever it was, where
     * keep[i * keep_row + j * keep_col] is 0. And s[i][j] += mask[i * mask_row + j * mask_col], but
     * -infinity, whatever it was, where that is. A table of diagonals is a mask whose row is -1. */
    void (*keep)(const struct hd_tile *t, const uint8_t *keep, int64_t keep_row, int64_t keep_col);
    void (*mask)(const struct hd_tile *t, const void *mask, int64_t mask_row, int64_t mask_col);

    /* out[j] = floor(ln(max(1, seconds)) / 0.301), cut to 0 .. most, seconds the float nearest to
     * |query - key[j]|, over 1000; where an approximation cannot tell, out[j] = -1. Returns how many
     * such there are. NULL: no fast way here. */
    int64_t (*log_buckets)(int32_t *out, int64_t query, const int64_t *key, int64_t n, int32_t most);

    /* One block of keys of a running softmax (Milakov, Gimelshein 2018): s becomes
     * exp(s - m), m the largest score so far; max and sum are carried along, one of each per row; rows
     * of out (E each), which hold the sum of earlier blocks, are scaled to the new maximum. first: no
     * earlier block; max, sum and out are not read. What is not seen becomes 0. */
    void (*softmax)(const struct hd_tile *t, void *max, void *sum, void *out, int64_t out_row,
                    int64_t E, bool first);
    /* out row i /= sum[i], 0 where sum is 0; lse[i] = max + log(sum), +infinity where the row saw
     * nothing, so that exp(s - lse) is 0. lse may be max. */
    void (*finish)(int64_t rows, const void *max, const void *sum, void *lse, void *out,
                   int64_t out_row, int64_t E);
    /* s becomes exp(s - lse), with no dropout: weights for the caller. */
    void (*weights)(const struct hd_tile *t, const void *lse);
    /* s holds scores and dp gradients of the (dropped out) weights; s becomes the dropped out weights,
     * dp the gradients of the scores: p (dropout(dp) - delta). */
    void (*softmax_back)(const struct hd_tile *t, void *dp, int64_t dp_row, const void *lse,
                         const void *delta);

    /* s becomes silu(s) inverse[i]; and backwards, as above. */
    void (*silu)(const struct hd_tile *t, const void *inverse);
    void (*silu_back)(const struct hd_tile *t, void *dp, int64_t dp_row, const void *inverse);

    /* s becomes 1 / (1 + exp(-s)); and backwards. */
    void (*sigmoid)(const struct hd_tile *t);
    void (*sigmoid_back)(const struct hd_tile *t, void *dp, int64_t dp_row);

    void (*rotate)(const struct hd_rotation *r);
    void (*additive)(const struct hd_additive *a);
    void (*additive_back)(const struct hd_additive *a);

    /* out[i] = x row i . y row i */
    void (*row_dots)(int64_t rows, int64_t n, const void *x, int64_t x_row, const void *y,
                     int64_t y_row, void *out);

    /* Linear attention's feature map and its gradient, rows x n: y = elu(x) + 1, which is x + 1 above
     * 0 and exp(x) below; dx = dy min(y, 1), or += where accumulate. dx may be dy. */
    void (*elu_one)(void *y, int64_t y_row, const void *x, int64_t x_row, int64_t rows, int64_t n);
    void (*elu_one_back)(void *dx, int64_t dx_row, const void *dy, int64_t dy_row, const void *y,
                         int64_t y_row, int64_t rows, int64_t n, bool accumulate);
    /* s[i][j] = -infinity where from[i] <= code[j] < to[i], of what is seen: pairs that another round
     * of hashing has brought together. */
    void (*hide_range)(const struct hd_tile *t, const int32_t *code, const int32_t *from,
                       const int32_t *to);
};

/* Is weight (row, column) kept? threshold is p 2^32. Row and column are hashed by halves: 64 bits once
 * per row (splitmix64), 32 bits per weight (the "lowbias32" mixer of Wellons 2018). */
static inline uint64_t hd_attention_row_key(uint64_t key, uint64_t row)
{
    uint64_t x = key + row * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static inline bool hd_attention_keep(uint64_t row_key, uint64_t column, uint32_t threshold)
{
    uint32_t x = (uint32_t)column * UINT32_C(0x9E3779B1) + (uint32_t)row_key;
    x = (x ^ (x >> 16)) * UINT32_C(0x7FEB352D);
    x = (x ^ (x >> 15) ^ (uint32_t)(row_key >> 32)) * UINT32_C(0x846CA68B);
    x ^= x >> 16;
    return x >= threshold;
}

/* Fills a table for any feature set (HD_CPU_ of kernel.h), falling back to portable code. */
void hd_attention_kernels_init(struct hd_attention_kernels *k, unsigned cpu);
const struct hd_attention_kernels *hd_attention_kernels(void);     /* float32, this machine's best */
const struct hd_attention_kernels *hd_attention_kernels_f64(void); /* float64, portable */

#endif

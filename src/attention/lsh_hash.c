/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashing and sorting for LSH attention: angular hashes of random rotations (Andoni et al. 2015, as
 * Kitaev et al. 2020, section 2 use them), and a counting sort that keeps positions in order.
 *
 * Rotations are a hash of (seed, round, factor, column, row), drawn anew for every call: the backward
 * finds the forward's buckets, and so does any thread. All heads and sequences share them. */
#include "attention/layout.h"
#include "attention/lsh.h"
#include "base/limits.h"
#include "base/random.h"

#include <math.h>

/* One hash of up to so many values; more are two numbers of about the square root each, so that
 * hashing costs O(sqrt(buckets)) a row and not O(buckets), as in the authors' program. */
#define ONE_FACTOR 64

/* Buckets as two factors, the second 1 up to ONE_FACTOR; else both even, their product at least that. */
static void factors_of(int64_t buckets, int64_t factor[2])
{
    factor[0] = buckets, factor[1] = 1;
    if (buckets <= ONE_FACTOR)
        return;
    factor[0] = 2 * (int64_t)ceil(sqrt((double)buckets) / 2);
    factor[1] = 2 * ((buckets + 2 * factor[0] - 1) / (2 * factor[0]));
}

/* About two chunks of rows a bucket pair: a bucket fills half a chunk (Kitaev 2020, section 3). What
 * fits into one chunk needs no hash. */
static int64_t asked(const struct hd_lsh *l, int64_t n)
{
    if (l->buckets)
        return l->buckets;
    int64_t buckets = n <= l->chunk ? 1 : 2 * (n / l->chunk);
    return buckets < HD_LSH_BUCKETS_MAX ? buckets : HD_LSH_BUCKETS_MAX;
}

int64_t hd_lsh_buckets(const struct hd_lsh *l, int64_t n)
{
    int64_t factor[2];
    factors_of(asked(l, n), factor);
    return factor[0] * factor[1];
}

static int64_t rows_of_sequence(const heed_attention_opts *o, const heed_attention_arrays *a,
                                int64_t b)
{
    return hd_sequence_of(o, a, b).visible;
}

void hd_lsh_init(struct hd_lsh *l, const heed_attention_opts *opts,
                 const heed_attention_arrays *arrays, const struct hd_attention_kernels *kernel)
{
    *l = (struct hd_lsh){.kernel = kernel, .D = arrays->D, .buckets = opts->lsh_buckets,
                         .rounds = opts->lsh_rounds ? opts->lsh_rounds : 4,
                         .chunk = opts->lsh_chunk ? opts->lsh_chunk : 64, .seed = opts->lsh_seed};
    for (int64_t b = 0; b < arrays->B; b++) {
        int64_t factor[2];
        factors_of(asked(l, rows_of_sequence(opts, arrays, b)), factor);
        for (int f = 0; f < 2; f++)
            if (factor[f] / 2 > l->columns[f])
                l->columns[f] = factor[f] / 2;
    }
}

size_t hd_lsh_rotation_bytes(const struct hd_lsh *l)
{
    return (size_t)(l->rounds * l->D * (l->columns[0] + l->columns[1])) * l->kernel->item_bytes;
}

size_t hd_lsh_tile_bytes(const struct hd_lsh *l)
{
    int64_t columns = l->columns[0] > l->columns[1] ? l->columns[0] : l->columns[1];
    return (size_t)(HD_LSH_ROWS * columns) * l->kernel->item_bytes;
}

void hd_lsh_draw(struct hd_lsh *l, void *memory)
{
    int64_t width = l->columns[0] + l->columns[1];
    l->rotations = memory;
    for (int64_t r = 0; r < l->rounds; r++)
        for (int64_t c = 0; c < width; c++) {
            bool second = c >= l->columns[0];
            uint64_t column = (uint64_t)(second ? c - l->columns[0] : c);
            heed_rng rng = hd_rng(l->seed, (uint64_t)r << 32 | (uint64_t)second << 31 | column);
            for (int64_t d = 0; d < l->D; d++)
                hd_set_number(memory, l->kernel->item_bytes, (r * l->D + d) * width + c,
                              hd_random_normal(&rng));
        }
}

/* argmax [y, -y], the first of equals. */
#define ARGMAX(REAL)                                                                               \
    static int32_t argmax_##REAL(const REAL *y, int64_t n)                                         \
    {                                                                                              \
        int64_t top = 0, low = 0;                                                                  \
        for (int64_t i = 1; i < n; i++) {                                                          \
            top = y[i] > y[top] ? i : top;                                                         \
            low = y[i] < y[low] ? i : low;                                                         \
        }                                                                                          \
        return (int32_t)(n && -y[low] > y[top] ? n + low : top);                                   \
    }
ARGMAX(float)
ARGMAX(double)

/* bucket += of * one factor's hash, of `rows` rows. */
static void hash_factor(const struct hd_lsh *l, int64_t round, int64_t factor, int64_t columns,
                        int64_t of, const void *q, int64_t q_row, int64_t rows, void *tile,
                        int32_t *bucket)
{
    size_t item = l->kernel->item_bytes;
    int64_t width = l->columns[0] + l->columns[1];
    struct hd_product m = {.M = rows, .N = columns, .K = l->D, .a = q, .a_row = q_row, .a_col = 1,
                           .b = l->rotations + (int64_t)item * (round * l->D * width +
                                                                (factor ? l->columns[0] : 0)),
                           .b_row = width, .c = tile, .c_row = columns, .alpha = 1,
                           .shape = HD_PRODUCT_FULL};
    l->kernel->product(&m);
    for (int64_t i = 0; i < rows; i++) {
        const char *y = (const char *)tile + (int64_t)item * i * columns;
        bucket[i] += (int32_t)of * (item == 4 ? argmax_float((const void *)y, columns)
                                              : argmax_double((const void *)y, columns));
    }
}

static void hash_round(const struct hd_lsh *l, const struct hd_lsh_sorted *s, int64_t round,
                       const char *q, int64_t q_row, void *tile)
{
    int32_t *bucket = s->bucket + round * s->n;
    int64_t factor[2];
    factors_of(asked(l, s->n), factor);
    memset(bucket, 0, (size_t)s->n * sizeof *bucket);
    for (int64_t i = 0; i < s->n; i += HD_LSH_ROWS) {
        int64_t rows = s->n - i < HD_LSH_ROWS ? s->n - i : HD_LSH_ROWS;
        for (int f = 0; f < 2; f++)
            if (factor[f] > 1)
                hash_factor(l, round, f, factor[f] / 2, f ? factor[0] : 1,
                            q + (int64_t)l->kernel->item_bytes * i * q_row, q_row, rows, tile,
                            bucket + i);
    }
}

/* Positions stay in order inside a bucket. */
static void sort_round(const struct hd_lsh_sorted *s, int64_t round)
{
    const int32_t *bucket = s->bucket + round * s->n;
    int32_t *order = s->order + round * s->n, *rank = s->rank + round * s->n;
    int32_t *next = s->ends + round * s->buckets, sum = 0;
    memset(next, 0, (size_t)s->buckets * sizeof *next);
    for (int64_t i = 0; i < s->n; i++)
        next[bucket[i]]++;
    for (int64_t b = 0; b < s->buckets; b++) {
        int32_t count = next[b];
        next[b] = sum, sum += count;
    }
    for (int64_t i = 0; i < s->n; i++) {
        rank[i] = next[bucket[i]]++;
        order[rank[i]] = (int32_t)i;
    }
}

void hd_lsh_sort(const struct hd_lsh *l, struct hd_lsh_sorted *s, const void *q, int64_t q_row,
                 void *tile)
{
    s->chunk = l->chunk;
    s->rounds = s->buckets > 1 ? l->rounds : 1;
    for (int64_t r = 0; r < s->rounds; r++) {
        hash_round(l, s, r, q, q_row, tile);
        sort_round(s, r);
    }
}

struct hd_lsh_range hd_lsh_range(const struct hd_lsh_sorted *s, int64_t round, int64_t position)
{
    int64_t at = round * s->n + position, b = s->bucket[at], chunk = s->rank[at] / s->chunk;
    const int32_t *ends = s->ends + round * s->buckets;
    int64_t from = b ? ends[b - 1] : 0, to = ends[b];
    int64_t low = (chunk - 1) * s->chunk, high = (chunk + 1) * s->chunk;
    return (struct hd_lsh_range){(int32_t)(low > from ? low : from), (int32_t)(high < to ? high : to)};
}

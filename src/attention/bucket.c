/* SPDX-License-Identifier: Apache-2.0
 *
 * HSTU's logarithmic buckets without a logarithm per pair. A float's exponent and first two bits of
 * mantissa cut the line into cells of a ratio of at most 1.25; buckets are a ratio of exp(0.301) = 1.35
 * apart, so a cell holds one border at most: bucket = base of the cell + (beyond its border). The
 * table is made with the logarithm, so both agree at every float. */
#include "attention/bucket.h"
#include "heed/attention.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS_MAX 128
#define CELL_SHIFT 21 /* 23 bits of mantissa less two */
#define CELLS (1 << (32 - CELL_SHIFT - 1))

static int8_t cell_base[CELLS]; /* 0 .. 127: the last border makes 128 */
static float cell_border[CELLS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_logarithm(float span_ms)
{
    double seconds = (double)span_ms / 1000;
    double bucket = seconds > 1 ? floor(log(seconds) / 0.301) : 0;
    return bucket < BUCKETS_MAX ? (int)bucket : BUCKETS_MAX;
}

static void make_cells(void)
{
    for (uint32_t cell = 0; cell < CELLS; cell++) {
        uint32_t lo = cell << CELL_SHIFT, hi = lo + (1u << CELL_SHIFT) - 1;
        float first, last;
        memcpy(&first, &lo, sizeof first);
        memcpy(&last, &hi, sizeof last);
        cell_border[cell] = INFINITY;
        if (!isfinite(last)) {
            cell_base[cell] = BUCKETS_MAX - 1, cell_border[cell] = 0;
            continue;
        }
        int base = by_logarithm(first);
        if (base == BUCKETS_MAX) {
            cell_base[cell] = BUCKETS_MAX - 1, cell_border[cell] = 0;
            continue;
        }
        cell_base[cell] = (int8_t)base;
        if (by_logarithm(last) == base)
            continue;
        while (hi - lo > 1) { /* base at lo, more at hi */
            uint32_t mid = lo + (hi - lo) / 2;
            float x;
            memcpy(&x, &mid, sizeof x);
            if (by_logarithm(x) == base)
                lo = mid;
            else
                hi = mid;
        }
        memcpy(&cell_border[cell], &hi, sizeof hi);
    }
}

static inline int bucket_of(int64_t span_ms)
{
    float x = fabsf((float)span_ms);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t cell = bits >> CELL_SHIFT;
    return cell_base[cell] + (x >= cell_border[cell]);
}

int heed_time_bucket_log(int64_t span_ms)
{
    pthread_once(&once, make_cells);
    return bucket_of(span_ms);
}

static int32_t bucket_at(int64_t query, int64_t key, int (*bucket)(int64_t span_ms), int64_t W)
{
    /* Unsigned, so that times from the two ends of the range wrap instead of trapping. */
    int64_t span = (int64_t)((uint64_t)query - (uint64_t)key);
    int64_t b = bucket ? bucket(span) : bucket_of(span);
    return (int32_t)(b < 0 ? 0 : b < W ? b : W - 1);
}

void hd_time_buckets(const struct hd_attention_kernels *kernel, int32_t *out, int64_t out_row,
                     const struct hd_tile *tile, const int64_t *query, const int64_t *key,
                     int (*bucket)(int64_t span_ms), int64_t W)
{
    int32_t most = W <= BUCKETS_MAX ? (int32_t)W - 1 : BUCKETS_MAX;
    pthread_once(&once, make_cells);
    for (int64_t i = 0; i < tile->rows; i++, out += out_row) {
        int64_t n = tile->seen + i * tile->step;
        n = n < tile->columns ? n : tile->columns;
        if (kernel->log_buckets && !bucket) {
            int64_t doubts = n > 0 ? kernel->log_buckets(out, query[i], key, n, most) : 0;
            for (int64_t j = 0; doubts; j++)
                if (out[j] < 0)
                    out[j] = bucket_at(query[i], key[j], NULL, W), doubts--;
        } else {
            for (int64_t j = 0; j < n; j++)
                out[j] = bucket_at(query[i], key[j], bucket, W);
        }
    }
}

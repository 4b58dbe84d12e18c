/* SPDX-License-Identifier: Apache-2.0
 *
 * Selecting and sorting of keys by their bytes (a radix sort: Knuth, volume 3, section 5.2.5). */
#include "models/best.h"

#include <assert.h>

#define DIGITS 8
#define VALUES 256
#define BUCKETS 1024

/* Scores lie close together, so that their upper bytes are all the same: buckets are cut from the range
 * that the keys do have. Each round leaves one bucket, so there are at most seven. */
uint64_t hd_best_nth(const uint64_t *key, uint64_t *scratch, int64_t count, int64_t k)
{
    assert(k >= 1 && k <= count);
    for (;;) {
        uint64_t low = key[0], high = key[0];
        int64_t among[BUCKETS] = {0}, kept = 0;
        uint64_t bucket = BUCKETS - 1;
        int shift = 0;

        for (int64_t i = 1; i < count; i++) {
            low = key[i] < low ? key[i] : low;
            high = key[i] > high ? key[i] : high;
        }
        if (low == high)
            return low;
        while ((high - low) >> shift >= BUCKETS)
            shift++;
        for (int64_t i = 0; i < count; i++)
            among[(key[i] - low) >> shift]++;
        for (; k > among[bucket]; bucket--)
            k -= among[bucket];
        for (int64_t i = 0; i < count; i++) { /* in place from the second round on */
            uint64_t x = key[i];
            scratch[kept] = x;
            kept += (x - low) >> shift == bucket;
        }
        key = scratch;
        count = kept;
    }
}

int64_t hd_best_keep(uint64_t *key, int64_t count, uint64_t least)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < count; i++) {
        uint64_t x = key[i];
        key[kept] = x;
        kept += x >= least;
    }
    return kept;
}

/* One digit from `from` to `to`, stable; false where all keys have the same and nothing was moved. */
static int sort_digit(const uint64_t *from, uint64_t *to, int64_t count, int digit)
{
    int64_t at[VALUES] = {0}, next = 0;

    for (int64_t i = 0; i < count; i++)
        at[from[i] >> 8 * digit & 0xFF]++;
    if (count == 0 || at[from[0] >> 8 * digit & 0xFF] == count)
        return 0;
    for (int value = VALUES - 1; value >= 0; value--) {
        int64_t n = at[value];
        at[value] = next;
        next += n;
    }
    for (int64_t i = 0; i < count; i++)
        to[at[from[i] >> 8 * digit & 0xFF]++] = from[i];
    return 1;
}

void hd_best_sort(uint64_t *key, uint64_t *scratch, int64_t count)
{
    uint64_t *from = key, *to = scratch;

    for (int digit = 0; digit < DIGITS; digit++)
        if (sort_digit(from, to, count, digit)) {
            uint64_t *hold = from;
            from = to, to = hold;
        }
    if (from != key)
        memcpy(key, from, (size_t)count * sizeof *key);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The best few of many: items with their scores as whole numbers, so that one comparison orders them
 * (a higher score first, then the lower item), and selecting and sorting go digit by digit, in time
 * that no order of the input makes quadratic. */
#ifndef HD_BEST_H
#define HD_BEST_H

#include <stdint.h>
#include <string.h>

/* Larger is better. The score is no NaN; -0 counts as 0. item >= 0. */
static inline uint64_t hd_best_key(float score, int32_t item)
{
    uint32_t u;

    score += 0.0F;
    memcpy(&u, &score, sizeof u);
    u ^= u >> 31 ? UINT32_MAX : UINT32_C(1) << 31;
    return (uint64_t)u << 32 | (uint32_t)~item;
}

static inline float hd_best_score(uint64_t key)
{
    uint32_t u = (uint32_t)(key >> 32);
    float score;

    u ^= u >> 31 ? UINT32_C(1) << 31 : UINT32_MAX;
    memcpy(&score, &u, sizeof score);
    return score;
}

static inline int32_t hd_best_item(uint64_t key)
{
    return (int32_t)~(uint32_t)key;
}

/* The k-th largest of `count` keys; 1 <= k <= count. scratch: as many. */
uint64_t hd_best_nth(const uint64_t *key, uint64_t *scratch, int64_t count, int64_t k);
/* Moves the keys that are at least `least` to the front, in their order; returns how many. */
int64_t hd_best_keep(uint64_t *key, int64_t count, uint64_t least);
/* Sorts, the largest first. scratch: as many. */
void hd_best_sort(uint64_t *key, uint64_t *scratch, int64_t count);

#endif

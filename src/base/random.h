/* SPDX-License-Identifier: Apache-2.0
 *
 * Counter-based random numbers: the n-th number of a stream is a hash of (key, n), so any part of a
 * stream can be made by any thread at any time and is the same. State is three integers, saved with a
 * checkpoint as they are.
 *
 * Source  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; the mixer is splitmix64,
 *         Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators". */
#ifndef HD_RANDOM_H
#define HD_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct heed_rng {
    uint64_t key, counter;
} heed_rng;

static inline uint64_t hd_mix64(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* A stream of its own for each (seed, stream). */
static inline heed_rng hd_rng(uint64_t seed, uint64_t stream)
{
    return (heed_rng){hd_mix64(seed ^ hd_mix64(stream + UINT64_C(0x632BE59BD9B4E019))), 0};
}

static inline uint64_t hd_random_u64(heed_rng *rng)
{
    return hd_mix64(rng->key + UINT64_C(0x9E3779B97F4A7C15) * rng->counter++);
}

/* Uniform in [0, 1), 53 bits. */
static inline double hd_random_unit(heed_rng *rng)
{
    return (double)(hd_random_u64(rng) >> 11) * 0x1p-53;
}

/* Uniform in 0 .. n - 1; n > 0. Bias below 2^-64 n (Lemire 2019, without the rejection). */
static inline uint64_t hd_random_below(heed_rng *rng, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)hd_random_u64(rng) * n) >> 64);
}

/* Standard normal (Box and Muller 1958); takes two numbers of the stream. */
static inline double hd_random_normal(heed_rng *rng)
{
    double u = 1.0 - hd_random_unit(rng), v = hd_random_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

#endif

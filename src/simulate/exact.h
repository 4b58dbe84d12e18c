/* SPDX-License-Identifier: Apache-2.0
 *
 * exp, log and a bell curve made of nothing but IEEE additions, multiplications and divisions, so
 * that the same seed is the same town on every machine: the C library's own differ in the last bit
 * between versions and processors, and one bit is enough to turn a throw of the dice.
 *
 * Relative error below 1e-15 over the ranges used here; tests/unit/simulate holds them to libm. */
#ifndef HD_EXACT_H
#define HD_EXACT_H

#include "base/random.h"

#include <math.h>

/* e^x = 2^k e^r, |r| <= ln 2 / 2, e^r by its series: 14 terms leave 2e-18. x: -700 .. 700. */
static inline double hd_exact_exp(double x)
{
    double k = floor(x * 1.4426950408889634 + 0.5);
    /* ln 2 in two parts: k times the first is exact. */
    double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    double sum = 1.0;

    for (int i = 14; i >= 1; i--)
        sum = 1.0 + sum * r / i;
    return ldexp(sum, (int)k);
}

/* ln x = k ln 2 + 2 artanh((m - 1) / (m + 1)), sqrt(1/2) <= m < sqrt 2. x above 0. */
static inline double hd_exact_log(double x)
{
    int k;
    double m = frexp(x, &k);

    if (m < 0.70710678118654752)
        m *= 2.0, k--;
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    for (int i = 23; i >= 1; i -= 2)
        sum = sum * s2 + 1.0 / i;
    return k * 0.69314718055994531 + 2.0 * s * sum;
}

static inline double hd_exact_sigmoid(double x)
{
    return 1.0 / (1.0 + hd_exact_exp(-x));
}

/* About standard normal, within -6 .. 6: the sum of twelve uniforms of 16 bits, three draws. */
static inline double hd_exact_normal(heed_rng *rng)
{
    uint64_t sum = 0;

    for (int i = 0; i < 3; i++) {
        uint64_t bits = hd_random_u64(rng);
        sum += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
    }
    return ((double)sum + 6.0) / 65536.0 - 6.0; /* half a step for each of the twelve */
}

#endif

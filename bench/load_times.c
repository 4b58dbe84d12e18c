/* SPDX-License-Identifier: Apache-2.0
 *
 * Latencies: a counter for each microsecond, so that percentiles are exact and adding is one step. */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t load_clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void load_times_new(struct load_times *times)
{
    *times = (struct load_times){.count = calloc(LOAD_LATENCY_US_MAX + 1, sizeof *times->count)};
    if (!times->count) {
        fprintf(stderr, "load: no memory\n");
        exit(1);
    }
}

void load_times_add(struct load_times *times, int64_t us)
{
    us = us < 0 ? 0 : us < LOAD_LATENCY_US_MAX ? us : LOAD_LATENCY_US_MAX;
    times->count[us]++;
    times->total++;
    times->max_us = us > times->max_us ? us : times->max_us;
}

/* The least latency that a share of all were not above. */
static double percentile_ms(const struct load_times *times, double share)
{
    double wanted = share * (double)times->total;
    int64_t seen = 0, us = 0;

    for (; us < times->max_us; us++) {
        seen += times->count[us];
        if ((double)seen >= wanted)
            break;
    }
    return (double)us / 1000;
}

void load_times_print(const struct load_times *times, const char *name)
{
    printf("\"%s\": {\"count\": %" PRId64
           ", \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p99_9\": %.3f, \"max\": %.3f}",
           name, times->total, percentile_ms(times, 0.5), percentile_ms(times, 0.9),
           percentile_ms(times, 0.99), percentile_ms(times, 0.999), (double)times->max_us / 1000);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the benchmarks share: timing, the machine they ran on, and its peak, which every speed is a
 * share of. */
#ifndef HD_BENCH_H
#define HD_BENCH_H

#include "cli/answer.h"
#include "cli/terminal.h"

/* Milliseconds of wall time a run. */
struct hd_timing {
    double ms, ms_min, ms_max; /* ms: the median */
    int runs;
};

typedef heed_status (*hd_bench_fn)(void *arg);

/* One run to warm up, then as many as fill `seconds`: 10 at least, 1,000 at most. Stops with
 * HEED_E_CANCELLED between two runs when the program is interrupted. */
HEED_CHECKED heed_status hd_bench_runs(hd_bench_fn run, void *arg, double seconds,
                                       struct hd_timing *out);
/* The same with as many runs as that at least: for what takes seconds a run. */
HEED_CHECKED heed_status hd_bench_few_runs(hd_bench_fn run, void *arg, double seconds, int least,
                                           struct hd_timing *out);
/* Median, least and most of times in ms, which it sorts. */
struct hd_timing hd_bench_summary(double *ms, int runs);
/* The p-th part of sorted times, nearest rank. */
double hd_bench_quantile(const double *sorted, int count, double p);

/* Multiplications and additions a second at best, of float32 with all threads of the pool: measured
 * by a loop in registers. */
HEED_CHECKED heed_status hd_bench_peak(heed_pool *pool, double *gflops);

/* Times what it is about and gives a row for each: into the open array "rows" of json, or, for
 * people, printed. */
typedef heed_status (*hd_bench_rows_fn)(const struct hd_cli *cli, struct hd_json_writer *json,
                                        heed_pool *pool, double peak_gflops, const void *options);
/* A whole benchmark: a pool of `threads` (0: all processors), the machine and its peak, the rows.
 */
HEED_CHECKED heed_status hd_bench_answer(const struct hd_cli *cli, int64_t threads,
                                         hd_bench_rows_fn rows, const void *options);

/* "machine": processor, threads, instruction set, compiler, commit, load and peak. */
void hd_put_machine(struct hd_json_writer *json, int threads, double peak_gflops);
/* The same in a line, for people. */
void hd_print_machine(const struct hd_cli *cli, int threads, double peak_gflops);
void hd_put_timing(struct hd_json_writer *json, const struct hd_timing *timing);
/* "gflops" and "peak_share" of so many operations in timing->ms. */
void hd_put_speed(struct hd_json_writer *json, double operations, const struct hd_timing *timing,
                  double peak_gflops);

#endif

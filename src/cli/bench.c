/* SPDX-License-Identifier: Apache-2.0
 *
 * Timing and the machine, for the benchmarks. A speed without the machine it was measured on, or
 * without the machine's own peak in the same run, tells little: both are in every answer. */
#include "cli/bench.h"
#include "base/memory.h"
#include "base/pool.h"
#include "build.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MIN 10
#define RUNS_MAX 1000
#define PEAK_SECONDS 0.02 /* a try; the best of several is taken */
#define PEAK_TRIES 7

/* bench/kernel/peak.c, compiled once for each instruction set. */
double hd_peak_f32(int64_t loops);
#if defined(__x86_64__)
double hd_peak_avx2(int64_t loops);
double hd_peak_avx512(int64_t loops);
#endif

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double hd_bench_quantile(const double *sorted, int count, double p)
{
    int i = (int)ceil(p * count) - 1;
    return sorted[i < 0 ? 0 : i >= count ? count - 1 : i];
}

struct hd_timing hd_bench_summary(double *ms, int runs)
{
    qsort(ms, (size_t)runs, sizeof *ms, by_size);
    return (struct hd_timing){hd_bench_quantile(ms, runs, 0.5), ms[0], ms[runs - 1], runs};
}

heed_status hd_bench_runs(hd_bench_fn run, void *arg, double seconds, struct hd_timing *out)
{
    return hd_bench_few_runs(run, arg, seconds, RUNS_MIN, out);
}

heed_status hd_bench_few_runs(hd_bench_fn run, void *arg, double seconds, int least,
                              struct hd_timing *out)
{
    double ms[RUNS_MAX], end;
    int runs = 0;

    HD_TRY(run(arg));
    end = hd_seconds() + seconds;
    while (runs < least || (runs < RUNS_MAX && hd_seconds() < end)) {
        double start = hd_seconds();
        HD_TRY(run(arg));
        ms[runs++] = (hd_seconds() - start) * 1e3;
        if (hd_interrupted())
            return hd_fail(HEED_E_CANCELLED, "the benchmark is not complete");
    }
    *out = hd_bench_summary(ms, runs);
    return HEED_OK;
}

/* ---- the peak */

static double (*peak_loop(void))(int64_t)
{
#if defined(__x86_64__)
    if (hd_cpu() & HD_CPU_AVX512)
        return hd_peak_avx512;
    if (hd_cpu() & HD_CPU_AVX2)
        return hd_peak_avx2;
#endif
    return hd_peak_f32;
}

struct peak_job {
    double (*loop)(int64_t);
    int64_t loops;
    double operations; /* of one task: the same for all */
};

static heed_status peak_task(void *arg, int64_t task, int worker)
{
    struct peak_job *job = arg;
    double operations = job->loop(job->loops);

    (void)worker;
    if (task == 0)
        job->operations = operations;
    return HEED_OK;
}

heed_status hd_bench_peak(heed_pool *pool, double *gflops)
{
    struct peak_job job = {.loop = peak_loop(), .loops = 1 << 14};
    int threads = heed_pool_threads(pool);
    double seconds = 0, best = 0;

    while (seconds < PEAK_SECONDS) { /* as many rounds as take long enough */
        double start = hd_seconds();
        HD_TRY(hd_pool_run(pool, threads, peak_task, &job));
        seconds = hd_seconds() - start;
        job.loops *= 2;
    }
    for (int i = 0; i < PEAK_TRIES; i++) {
        double start = hd_seconds();
        HD_TRY(hd_pool_run(pool, threads, peak_task, &job));
        seconds = hd_seconds() - start;
        best = fmax(best, job.operations * threads / seconds * 1e-9);
    }
    *gflops = best;
    return HEED_OK;
}

/* ---- the machine */

/* The processor's name as the system gives it. */
static void processor(char *out, size_t bytes)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[512];

    snprintf(out, bytes, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon[strcspn(colon, "\n")] = '\0';
            snprintf(out, bytes, "%s", colon + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

static double load_average(void)
{
    double load[1];
    return getloadavg(load, 1) == 1 ? load[0] : (double)NAN;
}

void hd_put_machine(struct hd_json_writer *json, int threads, double peak_gflops)
{
    char cpu[256];

    processor(cpu, sizeof cpu);
    hd_json_begin_object(json, "machine");
    hd_json_put_text(json, "cpu", cpu);
    hd_json_put_int(json, "threads", threads);
    hd_json_put_text(json, "instructions", hd_kernels()->name);
    hd_put_rounded(json, "peak_gflops", peak_gflops, 1);
    hd_put_rounded(json, "load", load_average(), 2);
    hd_json_put_text(json, "compiler", HD_BUILD_COMPILER);
    hd_json_put_text(json, "build", HD_BUILD_TYPE);
    hd_json_put_text(json, "version", heed_version());
    hd_json_put_text(json, "commit", HD_BUILD_COMMIT);
    hd_json_end(json);
}

void hd_print_machine(const struct hd_cli *cli, int threads, double peak_gflops)
{
    char cpu[256];

    processor(cpu, sizeof cpu);
    printf("%s%s, %d %s, %s, %.0f GF/s at best, load %.1f, heed %s (%s)%s\n\n",
           hd_style(cli, HD_FAINT), cpu, threads, threads == 1 ? "thread" : "threads",
           hd_kernels()->name, peak_gflops, load_average(), heed_version(), HD_BUILD_COMMIT,
           hd_style(cli, HD_PLAIN));
}

void hd_put_timing(struct hd_json_writer *json, const struct hd_timing *timing)
{
    hd_put_rounded(json, "ms", timing->ms, 5);
    hd_put_rounded(json, "ms_min", timing->ms_min, 5);
    hd_put_rounded(json, "ms_max", timing->ms_max, 5);
    hd_json_put_int(json, "runs", timing->runs);
}

void hd_put_speed(struct hd_json_writer *json, double operations, const struct hd_timing *timing,
                  double peak_gflops)
{
    double gflops = operations / timing->ms * 1e-6;

    hd_put_rounded(json, "gflops", gflops, 2);
    hd_put_rounded(json, "peak_share", gflops / peak_gflops, 4);
}

heed_status hd_bench_answer(const struct hd_cli *cli, int64_t threads, hd_bench_rows_fn rows,
                            const void *options)
{
    struct hd_json_writer json = {0};
    heed_pool *pool = NULL;
    double peak = 0;
    heed_status status = heed_pool_new((int)threads, &pool);

    if (status == HEED_OK)
        status = hd_bench_peak(pool, &peak);
    if (status != HEED_OK)
        goto done;
    if (!cli->json)
        hd_print_machine(cli, heed_pool_threads(pool), peak);
    hd_json_begin_object(&json, NULL);
    hd_put_machine(&json, heed_pool_threads(pool), peak);
    hd_json_begin_array(&json, "rows");
    status = rows(cli, &json, pool, peak, options);
    hd_json_end(&json);
    hd_json_end(&json);
    if (status == HEED_OK && cli->json)
        status = hd_print_json(&json);
done:
    hd_json_clear(&json);
    heed_pool_free(pool);
    return status;
}

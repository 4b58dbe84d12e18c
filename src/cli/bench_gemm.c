/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed bench gemm`: matrix products of the shapes that a sequence model lives on, as the library
 * makes them, packing counted. */
#include "cli/bench.h"
#include "cli/commands.h"
#include "base/limits.h"
#include "heed/tensor.h"
#include "tensor/tape.h"

struct gemm_options {
    int64_t threads;
    double seconds;
};
#define AT(field) offsetof(struct gemm_options, field)

static const struct hd_flag gemm_flags[] = {
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N", "processors to use; all where not given",
     .least = 1, .most = HD_THREADS_MAX},
    {"seconds", 0, HD_FLAG_NUMBER, AT(seconds), "S", "to spend on each shape", .fallback = "0.2"},
    {0},
};

/* NN: rows of A by columns of B as stored; NT: B is stored transposed; TN: A is. */
enum layout { NN, NT, TN };
static const char *const layout_names[] = {"NN", "NT", "TN"};

/* 25,600 rows are 128 histories of 200 events; 3,416 the items of MovieLens-1M. */
static const struct shape {
    const char *use;
    enum layout layout;
    int64_t M, N, K;
} shapes[] = {
    {"projection", NT, 25600, 64, 64},
    {"fused projections", NT, 25600, 256, 64},
    {"narrowing", NT, 25600, 64, 256},
    {"weight gradient", TN, 64, 64, 25600},
    {"wide projection", NT, 25600, 256, 256},
    {"logits", NT, 2048, 3416, 64},
    {"gradient of states", NN, 2048, 64, 3416},
    {"gradient of items", TN, 3416, 64, 2048},
    {"one feed", NT, 1, 3416, 64},
    {"scores of a head", NT, 200, 200, 64},
    {"values of a head", NN, 200, 64, 200},
    {"square", NN, 1024, 1024, 1024},
};

struct job {
    heed_tape *tape;
    const struct hd_kernels *kernels;
    struct hd_matmul product;
};

static heed_status run(void *arg)
{
    struct job *job = arg;
    heed_status status = hd_matmul(job->tape, job->kernels, &job->product);

    heed_tape_reset(job->tape);
    return status;
}

/* Numbers between -1 and 1, the same each time. */
static float *numbers(int64_t count, uint64_t stream)
{
    float *x = hd_alloc((size_t)count, sizeof *x);
    heed_rng rng = hd_rng(1, stream);

    for (int64_t i = 0; x && i < count; i++)
        x[i] = (float)(2 * hd_random_unit(&rng) - 1);
    return x;
}

static heed_status time_shape(heed_tape *tape, const struct shape *s, double seconds,
                              struct hd_timing *timing)
{
    float *a = numbers(s->M * s->K, 1), *b = numbers(s->K * s->N, 2);
    float *c = hd_alloc((size_t)(s->M * s->N), sizeof *c);
    bool ta = s->layout == TN, tb = s->layout == NT;
    struct job job = {
        .tape = tape,
        .kernels = hd_kernels(),
        .product = {.M = s->M,
                    .N = s->N,
                    .K = s->K,
                    .a = a,
                    .a_row = ta ? 1 : s->K,
                    .a_col = ta ? s->M : 1,
                    .b = b,
                    .b_row = tb ? 1 : s->N,
                    .b_col = tb ? s->K : 1,
                    .c = c,
                    .c_row = s->N},
    };
    heed_status status = a && b && c ? hd_bench_runs(run, &job, seconds, timing)
                                     : hd_fail(HEED_E_NOMEM, "bench: no memory for a product");
    hd_free(a);
    hd_free(b);
    hd_free(c);
    return status;
}

static void report(const struct hd_cli *cli, struct hd_json_writer *json, const struct shape *s,
                   const struct hd_timing *timing, double peak)
{
    double operations = 2.0 * (double)s->M * (double)s->N * (double)s->K;

    if (!cli->json) {
        printf("%-20s %s %6lld x %5lld x %5lld  %9.4f ms  %7.1f GF/s  %3.0f %% of peak\n", s->use,
               layout_names[s->layout], (long long)s->M, (long long)s->N, (long long)s->K,
               timing->ms, operations / timing->ms * 1e-6,
               100 * operations / timing->ms * 1e-6 / peak);
        return;
    }
    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "use", s->use);
    hd_json_put_text(json, "layout", layout_names[s->layout]);
    hd_json_put_text(json, "dtype", "float32");
    hd_json_put_int(json, "M", s->M);
    hd_json_put_int(json, "N", s->N);
    hd_json_put_int(json, "K", s->K);
    hd_put_timing(json, timing);
    hd_put_speed(json, operations, timing, peak);
    hd_json_end(json);
}

static heed_status time_shapes(const struct hd_cli *cli, struct hd_json_writer *json,
                               heed_pool *pool, double peak, const void *given)
{
    const struct gemm_options *options = given;
    heed_tape *tape;
    heed_status status = heed_tape_new(pool, 1, &tape);

    if (status != HEED_OK)
        return status;
    for (size_t i = 0; status == HEED_OK && i < sizeof shapes / sizeof *shapes; i++) {
        struct hd_timing timing;
        status = time_shape(tape, &shapes[i], options->seconds, &timing);
        if (status == HEED_OK)
            report(cli, json, &shapes[i], &timing, peak);
    }
    heed_tape_free(tape);
    return status;
}

static heed_status gemm_run(struct hd_cli *cli, const void *given)
{
    const struct gemm_options *options = given;
    return hd_bench_answer(cli, options->threads, time_shapes, options);
}

const struct hd_command hd_command_bench_gemm = {
    .name = "bench gemm",
    .summary = "matrix products of a sequence model's shapes",
    .example = "heed bench gemm --threads 1",
    .flags = gemm_flags,
    .options_bytes = sizeof(struct gemm_options),
    .uses = HD_USES_JSON,
    .run = gemm_run,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed bench attention`: the attention kernels on plain arrays, forward, and forward with
 * backward; on bfloat16 arrays forward, as a share of the same float32 peak. Operations are counted
 * as the formula needs them: two products forward, five more backward, half of each where causal. */
#include "cli/bench.h"
#include "cli/commands.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/random.h"
#include "heed/attention.h"
#include "kernel/kernel.h"

struct attention_options {
    int64_t threads;
    double seconds;
};
#define AT(field) offsetof(struct attention_options, field)

static const struct hd_flag attention_flags[] = {
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N", "processors to use; all where not given",
     .least = 1, .most = HD_THREADS_MAX},
    {"seconds", 0, HD_FLAG_NUMBER, AT(seconds), "S", "to spend on each row", .fallback = "0.3"},
    {0},
};

static const struct shape {
    int64_t B, H, L, D;
} shapes[] = {{128, 2, 200, 32}, {128, 1, 200, 64}, {64, 4, 50, 32},
              {32, 8, 512, 64},  {8, 8, 2048, 64},  {1, 8, 8192, 64}};

struct job {
    heed_pool *pool;
    heed_attention_opts opts;
    heed_attention_arrays arrays;
    bool backward;
};

static heed_status run(void *arg)
{
    struct job *job = arg;

    HD_TRY(heed_attention_forward(job->pool, &job->opts, &job->arrays));
    return job->backward ? heed_attention_backward(job->pool, &job->opts, &job->arrays) : HEED_OK;
}

static heed_status fill(struct job *job, const struct shape *s, hd_arena *arena)
{
    size_t count = (size_t)(s->B * s->L * s->H * s->D);
    float *x[8];

    for (int i = 0; i < 8; i++) {
        heed_rng rng = hd_rng(1, (uint64_t)i);
        x[i] = hd_arena_alloc(arena, count, sizeof(float));
        if (!x[i])
            return hd_fail(HEED_E_NOMEM, "bench: no memory for attention");
        for (size_t j = 0; j < count; j++)
            x[i][j] = (float)(2 * hd_random_unit(&rng) - 1);
    }
    heed_attention_arrays *a = &job->arrays;
    *a = (heed_attention_arrays){.dtype = HEED_F32,
                                 .B = s->B,
                                 .T = s->L,
                                 .S = s->L,
                                 .H = s->H,
                                 .D = s->D,
                                 .E = s->D,
                                 .q = x[0],
                                 .k = x[1],
                                 .v = x[2],
                                 .out = x[3],
                                 .dout = x[4],
                                 .dq = x[5],
                                 .dk = x[6],
                                 .dv = x[7]};
    a->lse = hd_arena_alloc(arena, (size_t)(s->B * s->L * s->H), sizeof(float));
    if (!a->lse)
        return hd_fail(HEED_E_NOMEM, "bench: no memory for attention");
    return HEED_OK;
}

/* The same arrays in bfloat16. */
static heed_status narrow(struct job *job, const struct shape *s, hd_arena *arena)
{
    size_t count = (size_t)(s->B * s->L * s->H * s->D);
    const void **inputs[] = {&job->arrays.q, &job->arrays.k, &job->arrays.v};

    for (int i = 0; i < 3; i++) {
        uint16_t *x = hd_arena_alloc(arena, count, sizeof *x);
        if (!x)
            return hd_fail(HEED_E_NOMEM, "bench: no memory for attention");
        hd_kernels_bf16()->from_f32(x, *inputs[i], count);
        *inputs[i] = x;
    }
    job->arrays.dtype = HEED_BF16; /* out has room for twice as much */
    return HEED_OK;
}

/* Scratch of one's own, as somebody has who calls often. */
static heed_status add_scratch(struct job *job, hd_arena *arena)
{
    heed_attention_arrays *a = &job->arrays;

    a->scratch_bytes = heed_attention_scratch_bytes(job->pool, &job->opts, a, false);
    uint64_t backward = heed_attention_scratch_bytes(job->pool, &job->opts, a, true);
    if (job->backward && backward > a->scratch_bytes)
        a->scratch_bytes = backward;
    a->scratch = hd_arena_alloc(arena, a->scratch_bytes, 1);
    return a->scratch ? HEED_OK : hd_fail(HEED_E_NOMEM, "bench: no memory for attention");
}

static void report(const struct hd_cli *cli, struct hd_json_writer *json, const struct shape *s,
                   const struct job *job, const struct hd_timing *timing, double peak)
{
    double pairs = job->opts.causal ? (double)(s->L * (s->L + 1) / 2) : (double)(s->L * s->L);
    double operations =
        (job->backward ? 3.5 : 1) * 4 * (double)(s->B * s->H) * pairs * (double)s->D;
    const char *pass = job->backward ? "forward_backward" : "forward";
    const char *dtype = job->arrays.dtype == HEED_BF16 ? "bfloat16" : "float32";

    if (!cli->json) {
        printf(
            "%-8s %-8s (%3lld, %lld, %4lld, %2lld) %-6s %-16s  %9.3f ms  %6.1f GF/s  %3.0f %% of "
            "peak\n",
            "dense", dtype, (long long)s->B, (long long)s->H, (long long)s->L, (long long)s->D,
            job->opts.causal ? "causal" : "", pass, timing->ms, operations / timing->ms * 1e-6,
            100 * operations / timing->ms * 1e-6 / peak);
        return;
    }
    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "form", "dense");
    hd_json_put_text(json, "dtype", dtype);
    hd_json_put_int(json, "B", s->B);
    hd_json_put_int(json, "H", s->H);
    hd_json_put_int(json, "L", s->L);
    hd_json_put_int(json, "D", s->D);
    hd_json_put_bool(json, "causal", job->opts.causal);
    hd_json_put_text(json, "pass", pass);
    hd_put_timing(json, timing);
    hd_put_speed(json, operations, timing, peak);
    hd_json_end(json);
}

/* All six rows of one shape: forward, both passes, forward in bfloat16. */
static heed_status time_shape(const struct hd_cli *cli, struct hd_json_writer *json,
                              const struct shape *s, heed_pool *pool, double seconds, double peak)
{
    struct job job = {.pool = pool};
    hd_arena *arena = hd_arena_new(0);
    heed_status status =
        arena ? fill(&job, s, arena) : hd_fail(HEED_E_NOMEM, "bench: no memory for attention");

    for (int i = 0; status == HEED_OK && i < 6; i++) {
        struct hd_timing timing;
        job.opts.causal = i & 1;
        job.backward = i / 2 == 1;
        if (i == 4)
            status = narrow(&job, s, arena);
        if (status == HEED_OK)
            status = add_scratch(&job, arena);
        if (status == HEED_OK)
            status = hd_bench_runs(run, &job, seconds, &timing);
        if (status == HEED_OK)
            report(cli, json, s, &job, &timing, peak);
    }
    hd_arena_free(arena);
    return status;
}

static heed_status time_shapes(const struct hd_cli *cli, struct hd_json_writer *json,
                               heed_pool *pool, double peak, const void *given)
{
    const struct attention_options *options = given;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        HD_TRY(time_shape(cli, json, &shapes[i], pool, options->seconds, peak));
    return HEED_OK;
}

static heed_status attention_run(struct hd_cli *cli, const void *given)
{
    const struct attention_options *options = given;
    return hd_bench_answer(cli, options->threads, time_shapes, options);
}

const struct hd_command hd_command_bench_attention = {
    .name = "bench attention",
    .summary = "the attention kernels, forward and backward, by shape",
    .example = "heed bench attention --seconds 0.05",
    .flags = attention_flags,
    .options_bytes = sizeof(struct attention_options),
    .uses = HD_USES_JSON,
    .run = attention_run,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The forms, in a table. Inputs are numbers between -1 and 1, the same each time. */
#include "cli/bench_forms.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

#define WINDOW 128 /* to each side */
#define GLOBALS 2

/* ---- arrays */

static heed_status no_memory(const struct hd_form_job *job)
{
    return hd_fail(HEED_E_NOMEM, "bench: no memory for %s attention of %lld positions",
                   job->form->name, (long long)job->shape.L);
}

float *hd_form_numbers(struct hd_form_job *job, int64_t count, uint64_t stream)
{
    float *x = hd_arena_alloc(job->arena, (size_t)count, sizeof *x);
    heed_rng rng = hd_rng(1, stream);

    for (int64_t i = 0; x && i < count; i++)
        x[i] = (float)(2 * hd_random_unit(&rng) - 1);
    job->bytes += (uint64_t)count * sizeof *x;
    return x;
}

/* The same numbers in the job's element type: bfloat16 is the upper half of a float32. */
static void *elements(struct hd_form_job *job, int64_t count, uint64_t stream)
{
    if (job->dtype != HEED_BF16)
        return hd_form_numbers(job, count, stream);
    uint16_t *x = hd_arena_alloc(job->arena, (size_t)count, sizeof *x);
    heed_rng rng = hd_rng(1, stream);

    for (int64_t i = 0; x && i < count; i++) {
        float number = (float)(2 * hd_random_unit(&rng) - 1);
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        x[i] = (uint16_t)(bits >> 16);
    }
    job->bytes += (uint64_t)count * sizeof *x;
    return x;
}

static heed_status fill_arrays(struct hd_form_job *job)
{
    const struct hd_form_shape *s = &job->shape;
    int64_t queries = s->B * s->L * s->H * s->D, keys = s->B * s->S * s->H * s->D;
    heed_attention_arrays *a = &job->arrays;

    *a = (heed_attention_arrays){.dtype = job->dtype,
                                 .B = s->B,
                                 .T = s->L,
                                 .S = s->S,
                                 .H = s->H,
                                 .D = s->D,
                                 .E = s->D,
                                 .q = elements(job, queries, 0),
                                 .k = elements(job, keys, 1),
                                 .v = elements(job, keys, 2),
                                 .out = elements(job, queries, 3)};
    if (!a->q || !a->k || !a->v || !a->out)
        return no_memory(job);
    if (!job->backward)
        return HEED_OK;
    a->lse = hd_form_numbers(job, s->B * s->L * s->H, 4);
    a->dout = elements(job, queries, 5);
    a->dq = elements(job, queries, 6);
    a->dk = elements(job, keys, 7);
    a->dv = elements(job, keys, 8);
    return a->lse && a->dout && a->dq && a->dk && a->dv ? HEED_OK : no_memory(job);
}

/* Scratch of one's own, as somebody has who calls often. */
static heed_status add_scratch(struct hd_form_job *job)
{
    heed_attention_arrays *a = &job->arrays;

    a->scratch_bytes = heed_attention_scratch_bytes(job->pool, &job->opts, a, job->backward);
    a->scratch = hd_arena_alloc(job->arena, a->scratch_bytes, 1);
    job->bytes += a->scratch_bytes;
    return a->scratch ? HEED_OK : no_memory(job);
}

/* ---- options */

static heed_status set_nothing(struct hd_form_job *job)
{
    (void)job;
    return HEED_OK;
}

static heed_status set_window(struct hd_form_job *job)
{
    job->opts.window = WINDOW, job->opts.globals = GLOBALS;
    return HEED_OK;
}

static heed_status set_linear(struct hd_form_job *job)
{
    job->opts.method = HEED_METHOD_LINEAR;
    return HEED_OK;
}

static heed_status set_lsh(struct hd_form_job *job)
{
    job->opts.method = HEED_METHOD_LSH;
    job->arrays.k = job->arrays.q; /* shared by definition */
    return HEED_OK;
}

static heed_status set_sigmoid(struct hd_form_job *job)
{
    job->opts.weight = HEED_WEIGHT_SIGMOID;
    job->opts.shift = -log((double)job->shape.S);
    return HEED_OK;
}

static heed_status set_silu(struct hd_form_job *job)
{
    job->opts.weight = HEED_WEIGHT_SILU;
    return HEED_OK;
}

static heed_status set_cosine(struct hd_form_job *job)
{
    job->opts.score = HEED_SCORE_COSINE, job->opts.scale = 10;
    return HEED_OK;
}

static heed_status set_euclid(struct hd_form_job *job)
{
    job->opts.score = HEED_SCORE_EUCLID;
    return HEED_OK;
}

static heed_status add_theta(struct hd_form_job *job, int64_t count)
{
    job->arrays.theta = hd_form_numbers(job, job->shape.H * count, 9);
    if (job->backward)
        job->arrays.dtheta = hd_form_numbers(job, job->shape.H * count, 10);
    return job->arrays.theta ? HEED_OK : no_memory(job);
}

static heed_status set_bilinear(struct hd_form_job *job)
{
    job->opts.score = HEED_SCORE_BILINEAR;
    return add_theta(job, job->shape.D * job->shape.D);
}

static heed_status set_additive(struct hd_form_job *job)
{
    job->opts.score = HEED_SCORE_ADDITIVE;
    return add_theta(job, job->shape.D);
}

static heed_status set_features(struct hd_form_job *job)
{
    job->opts.score = HEED_SCORE_FEATURES, job->opts.weight = HEED_WEIGHT_SIGMOID;
    return add_theta(job, 4 * job->shape.D);
}

/* ---- operations: two products of D for each pair that is seen, and what a form adds */

static double rows_of(const struct hd_form_job *job)
{
    return (double)(job->shape.B * job->shape.H * job->shape.L);
}

static double pairs_of(const struct hd_form_job *job)
{
    double S = (double)job->shape.S;
    return rows_of(job) * (job->causal ? (S + 1) / 2 : S);
}

static double count_pairs(const struct hd_form_job *job)
{
    return 4 * (double)job->shape.D * pairs_of(job);
}

static double count_window(const struct hd_form_job *job)
{
    double wide = 2 * WINDOW + 1 + GLOBALS, L = (double)job->shape.L;
    double each = fmin(job->causal ? wide / 2 : wide, job->causal ? (L + 1) / 2 : L);
    return 4 * (double)job->shape.D * rows_of(job) * each;
}

/* What the running sums need: a product of k and v, one of q with it, and the denominator. */
static double count_linear(const struct hd_form_job *job)
{
    double D = (double)job->shape.D;
    return rows_of(job) * (4 * D * D + 4 * D);
}

/* Chunks of 64 see themselves and the one before, in four rounds; hashing is left out. */
static double count_lsh(const struct hd_form_job *job)
{
    double seen = fmin(4 * 128, (double)job->shape.L);
    return 4 * (double)job->shape.D * rows_of(job) * (job->causal ? seen / 2 : seen);
}

static double count_bilinear(const struct hd_form_job *job)
{
    double D = (double)job->shape.D;
    return count_pairs(job) + 2 * D * D * rows_of(job);
}

/* A sum, a tanh, a product and a sum for each of D; then the values. */
static double count_additive(const struct hd_form_job *job)
{
    return 6 * (double)job->shape.D * pairs_of(job);
}

/* ---- one new position after L - 1 that are cached */

static heed_status set_cached(struct hd_form_job *job)
{
    const struct hd_form_shape *s = &job->shape;
    heed_attention_cache_opts opts = {
        .dtype = job->dtype, .B = s->B, .H = s->H, .D = s->D, .E = s->D, .capacity = s->L};
    heed_attention_cache *cache;

    HD_TRY(fill_arrays(job));
    HD_TRY(heed_attention_cache_new(&opts, &cache));
    job->own = cache;
    job->bytes = (uint64_t)(s->B * s->H * s->L * 2 * s->D) * 3 / 2 * sizeof(float);
    job->arrays.T = 1;
    return heed_attention_cache_append(cache, s->L - 1, job->arrays.k, NULL, job->arrays.v, NULL);
}

static heed_status run_cached(struct hd_form_job *job)
{
    heed_attention_cache *cache = job->own;

    HD_TRY(heed_attention_cache_truncate(cache, job->shape.L - 1));
    HD_TRY(heed_attention_cache_append(cache, 1, job->arrays.k, NULL, job->arrays.v, NULL));
    return heed_attention_cache_attend(cache, job->pool, &job->opts, &job->arrays);
}

static void clear_cached(struct hd_form_job *job)
{
    heed_attention_cache_free(job->own);
}

static double count_cached(const struct hd_form_job *job)
{
    return 4 * (double)job->shape.D * (double)(job->shape.B * job->shape.H * job->shape.L);
}

/* Histories of 512 events, or where a form is for longer ones 4,096. */
#define SHORT {8, 8, 512, 64, 0}
#define LONG {1, 8, 4096, 64, 0}

const struct hd_form hd_forms[] = {
    {"dense", HD_FORM_BACKWARD | HD_FORM_CAUSAL | HD_FORM_BFLOAT16, {0}, set_nothing, count_pairs},
    {"window", HD_FORM_BACKWARD, LONG, set_window, count_window},
    {"lsh", HD_FORM_BACKWARD, LONG, set_lsh, count_lsh},
    {"linear", HD_FORM_BACKWARD, LONG, set_linear, count_linear},
    {"cached", 0, LONG, set_cached, count_cached, run_cached, clear_cached},
    {"sigmoid", HD_FORM_BACKWARD, SHORT, set_sigmoid, count_pairs},
    {"silu", HD_FORM_BACKWARD, SHORT, set_silu, count_pairs},
    {"cross", HD_FORM_BACKWARD, {8, 8, 512, 64, 128}, set_nothing, count_pairs},
    {"cosine", HD_FORM_BACKWARD, SHORT, set_cosine, count_pairs},
    {"euclid", HD_FORM_BACKWARD, SHORT, set_euclid, count_pairs},
    {"bilinear", HD_FORM_BACKWARD, SHORT, set_bilinear, count_bilinear},
    {"features", HD_FORM_BACKWARD, SHORT, set_features, count_pairs},
    {"additive", HD_FORM_BACKWARD, {8, 2, 200, 64, 0}, set_additive, count_additive},
    {"target", HD_FORM_BACKWARD, {128, 1, 200, 64, 0}, hd_bench_target_set, hd_bench_target_count,
     hd_bench_target_run, hd_bench_tape_clear},
    {"routing", HD_FORM_BACKWARD, {128, 4, 200, 64, 0}, hd_bench_routing_set,
     hd_bench_routing_count, hd_bench_routing_run, hd_bench_tape_clear},
    {0},
};

const struct hd_form *hd_form_find(const char *name)
{
    for (const struct hd_form *f = hd_forms; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* ---- a job */

heed_status hd_form_prepare(struct hd_form_job *job)
{
    if (!job->shape.S)
        job->shape.S = job->shape.L;
    job->opts.causal = job->causal;
    job->arena = hd_arena_new(0);
    if (!job->arena)
        return no_memory(job);
    if (job->form->run)
        return job->form->set(job);
    HD_TRY(fill_arrays(job));
    HD_TRY(job->form->set(job));
    return add_scratch(job);
}

heed_status hd_form_run(void *arg)
{
    struct hd_form_job *job = arg;

    if (job->form->run)
        return job->form->run(job);
    HD_TRY(heed_attention_forward(job->pool, &job->opts, &job->arrays));
    return job->backward ? heed_attention_backward(job->pool, &job->opts, &job->arrays) : HEED_OK;
}

double hd_form_operations(const struct hd_form_job *job)
{
    /* Pairs: two products forward, five more backward, scores again and a gradient for each factor.
     * What keeps its layers makes two for one. */
    double both = job->form->run ? 3 : 3.5;
    return job->form->operations(job) * (job->backward ? both : 1);
}

void hd_form_clear(struct hd_form_job *job)
{
    if (job->form->clear && job->own)
        job->form->clear(job);
    hd_arena_free(job->arena);
    job->arena = NULL;
}

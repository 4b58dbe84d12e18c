/* SPDX-License-Identifier: Apache-2.0
 *
 * Times what is beside the exact walk, one thread, float32, and prints JSON lines:
 *
 *   methods  dense, linear and LSH on one head of 64 numbers, lengths 64 to 65,536: where they cross
 *   cached   one new position into a history of 200, two layers of 64 numbers: in each q, k, v and o
 *            projections (heed_linear on a tape that does not record), an append and an attend
 *
 * Times are the thread's own processor time; figures come from the fastest round, the median and the
 * spread (p90 - p10) / median tell how quiet the machine was. */
#include "base/random.h"
#include "heed/attention.h"
#include "heed/nn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 31, D = 64, LENGTH_MAX = 65536 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void must(heed_status status)
{
    if (status == HEED_OK)
        return;
    fprintf(stderr, "bench: %s\n", heed_error_message());
    exit(1);
}

/* Runs at least a millisecond a round; long runs once in three rounds. */
static void report(const char *labels, void (*run)(void *), void *arg)
{
    double t[ROUNDS], start = seconds();
    int times = 1, rounds = ROUNDS;
    run(arg);
    double first = seconds() - start;
    for (double once = first; once < 1e-3; times *= 2) {
        start = seconds();
        for (int i = 0; i < times; i++)
            run(arg);
        once = seconds() - start;
    }
    if (first > 0.05)
        rounds = 3;
    for (int r = 0; r < rounds; r++) {
        start = seconds();
        for (int i = 0; i < times; i++)
            run(arg);
        t[r] = (seconds() - start) / times;
    }
    qsort(t, (size_t)rounds, sizeof t[0], by_size);
    printf("{%s, \"us\": %.3f, \"median_us\": %.3f, \"spread\": %.3f}\n", labels, 1e6 * t[0],
           1e6 * t[rounds / 2], (t[rounds * 9 / 10] - t[rounds / 10]) / t[rounds / 2]);
    fflush(stdout);
}

static float *numbers(int64_t n, uint64_t stream)
{
    float *x = malloc((size_t)n * sizeof *x);
    heed_rng rng = hd_rng(1, stream);
    if (!x)
        exit(1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(2 * hd_random_unit(&rng) - 1);
    return x;
}

/* ---- methods */

struct call {
    heed_attention_opts opts;
    heed_attention_arrays arrays;
    bool backward;
};

static void run_call(void *arg)
{
    const struct call *c = arg;
    must(heed_attention_forward(NULL, &c->opts, &c->arrays));
    if (c->backward)
        must(heed_attention_backward(NULL, &c->opts, &c->arrays));
}

static void time_methods(int64_t length_max)
{
    static const char *const names[] = {"dense", "linear", "lsh"};
    float *x[9];
    for (int i = 0; i < 9; i++)
        x[i] = numbers((int64_t)LENGTH_MAX * D, (uint64_t)i);
    for (int64_t L = 64; L <= length_max; L *= 2)
        for (int form = 0; form < 12; form++) {
            struct call c = {.opts = {.method = (heed_attention_method)(form % 3), .causal = form / 3 % 2},
                             .backward = form / 6,
                             .arrays = {.B = 1, .T = L, .S = L, .H = 1, .D = D, .E = D, .q = x[0],
                                        .k = form % 3 == HEED_METHOD_LSH ? x[0] : x[1], .v = x[2],
                                        .out = x[3], .dout = x[4], .dq = x[5], .dk = x[6], .dv = x[7],
                                        .lse = x[8]}};
            c.arrays.scratch_bytes = heed_attention_scratch_bytes(NULL, &c.opts, &c.arrays, c.backward);
            c.arrays.scratch = malloc(c.arrays.scratch_bytes);
            char labels[200];
            snprintf(labels, sizeof labels,
                     "\"bench\": \"methods\", \"form\": \"%s\", \"L\": %" PRId64
                     ", \"D\": %d, \"causal\": %s, \"pass\": \"%s\", \"scratch_bytes\": %" PRIu64,
                     names[form % 3], L, D, c.opts.causal ? "true" : "false",
                     c.backward ? "forward_backward" : "forward", c.arrays.scratch_bytes);
            if (!(form % 3 == 0 && L > 16384)) /* seconds, and four times as many each time */
                report(labels, run_call, &c);
            free(c.arrays.scratch);
        }
    for (int i = 0; i < 9; i++)
        free(x[i]);
}

/* ---- cached */

enum { LAYERS = 2, HISTORY = 200 };

struct model {
    heed_tape *tape;
    heed_attention_cache *cache[LAYERS];
    float *weight[LAYERS][4], *position, *x;
    int64_t H;
    bool projections;
};

static void project(struct model *m, int layer, int which, heed_tensor *x, heed_tensor **out)
{
    heed_tensor *w;
    must(heed_tensor_wrap(m->tape, HEED_F32, m->weight[layer][which], (int64_t[]){D, D}, 2, false, &w));
    must(heed_linear(m->tape, x, w, NULL, out));
}

/* One position through all layers. */
static void step(void *arg)
{
    struct model *m = arg;
    heed_tensor *x, *part[3];
    float out[D];
    heed_attention_opts causal = {.causal = true};
    heed_tape_reset(m->tape);
    must(heed_tensor_wrap(m->tape, HEED_F32, m->x, (int64_t[]){1, D}, 2, false, &x));
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int i = 0; i < 3; i++)
            if (m->projections)
                project(m, layer, i, x, &part[i]);
            else
                part[i] = x;
        heed_attention_arrays a = {.B = 1, .T = 1, .H = m->H, .D = D / m->H, .E = D / m->H,
                                   .q = part[0]->data, .out = out, .position = m->position,
                                   .P = HISTORY};
        must(heed_attention_cache_append(m->cache[layer], 1, part[1]->data, NULL, part[2]->data, NULL));
        must(heed_attention_cache_attend(m->cache[layer], NULL, &causal, &a));
        must(heed_tensor_wrap(m->tape, HEED_F32, out, (int64_t[]){1, D}, 2, false, &x));
        if (m->projections)
            project(m, layer, 3, x, &x);
    }
}

static void time_cached(int64_t H, bool biased, bool projections)
{
    struct model m = {.H = H, .projections = projections, .x = numbers(D, 100)};
    float *position = numbers(H * HISTORY, 101);
    must(heed_tape_new(NULL, 1, &m.tape));
    heed_tape_record(m.tape, false);
    m.position = biased ? position : NULL;
    for (int layer = 0; layer < LAYERS; layer++) {
        heed_attention_cache_opts o = {.B = 1, .H = H, .D = D / H, .E = D / H, .capacity = HISTORY};
        must(heed_attention_cache_new(&o, &m.cache[layer]));
        for (int i = 0; i < 4; i++)
            m.weight[layer][i] = numbers(D * D, (uint64_t)(200 + 4 * layer + i));
    }
    for (int i = 0; i < HISTORY; i++)
        step(&m);
    char labels[200];
    snprintf(labels, sizeof labels,
             "\"bench\": \"cached\", \"history\": %d, \"layers\": %d, \"width\": %d, \"heads\": %" PRId64
             ", \"position_bias\": %s, \"projections\": %s", HISTORY, LAYERS, D, H,
             biased ? "true" : "false", projections ? "true" : "false");
    report(labels, step, &m);
    for (int layer = 0; layer < LAYERS; layer++) {
        heed_attention_cache_free(m.cache[layer]);
        for (int i = 0; i < 4; i++)
            free(m.weight[layer][i]);
    }
    heed_tape_free(m.tape);
    free(m.x), free(position);
}

/* The longest length may be given: 4096 is done in seconds. */
int main(int count, char **arg)
{
    int64_t most = count > 1 ? strtoll(arg[1], NULL, 10) : LENGTH_MAX;
    for (int i = 0; i < 8; i++)
        time_cached(i % 2 ? 2 : 1, i / 2 % 2, i / 4 == 0);
    time_methods(most < LENGTH_MAX ? most : LENGTH_MAX);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Times the kernels of every instruction set this machine has, one thread: matrix products by shape
 * with their share of the measured peak, rows in elements a second, scans by size of table. Prints
 * JSON lines. Times are the thread's own processor time in rounds of about half a millisecond. Figures come from the fastest
 * round, because a neighbour on the same core halves the clockwork for seconds at a time and a share
 * of the peak means something only where neither was disturbed; the median and the spread,
 * (p90 - p10) / median, tell how quiet the machine was. */
#include "kernel/kernel.h"
#include "kernel/scan.h"
#include "nn/cross_entropy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double hd_peak_f32(int64_t loops);
double hd_peak_bf16_avx512(int64_t loops);
#if defined(__x86_64__)
double hd_peak_avx2(int64_t loops);
double hd_peak_avx512(int64_t loops);
#endif

enum { ROUNDS = 41 };

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

struct figure {
    double best, median, spread;
};

/* Seconds of one run(arg). */
static struct figure timed(void (*run)(void *), void *arg)
{
    double t[ROUNDS], start = seconds();
    int times = 1;
    run(arg);
    for (double once; (once = seconds() - start) < 5e-4; times *= 2) {
        start = seconds();
        for (int i = 0; i < times; i++)
            run(arg);
    }
    for (int r = 0; r < ROUNDS; r++) {
        start = seconds();
        for (int i = 0; i < times; i++)
            run(arg);
        t[r] = (seconds() - start) / times;
    }
    qsort(t, ROUNDS, sizeof t[0], by_size);
    return (struct figure){t[0], t[ROUNDS / 2],
                           (t[ROUNDS * 9 / 10] - t[ROUNDS / 10]) / t[ROUNDS / 2]};
}

/* ---- products */

enum layout { NN, NT, TN };
static const struct shape {
    const char *use;
    enum layout layout;
    int64_t M, N, K;
} shapes[] = {
    {"projection", NN, 1024, 64, 64},     {"projection, 128", NN, 1024, 128, 128},
    {"fused QKV", NN, 1024, 192, 64},     {"FFN up", NN, 1024, 256, 64},
    {"FFN down", NN, 1024, 64, 256},      {"256 wide", NN, 1024, 256, 256},
    {"weight gradient", TN, 64, 64, 1024}, {"weight gradient", TN, 256, 64, 2048},
    {"QK'", NT, 200, 200, 64},            {"QK', head 32", NT, 200, 200, 32},
    {"PV", NN, 200, 64, 200},             {"QK', short", NT, 50, 50, 32},
    {"PV, short", NN, 50, 32, 50},        {"logits", NT, 128, 3416, 64},
    {"dX of logits", NN, 128, 64, 3416},  {"dE of logits", TN, 3416, 64, 128},
    {"square", NN, 512, 512, 512},
};

struct product {
    const struct hd_kernels *k;
    const struct hd_kernels_bf16 *bf;
    struct hd_gemm g;
    struct hd_gemm_bf16 h;
    const float *b;
    int64_t b_row, b_col;
    void *packed;
};

static void run_gemm(void *arg)
{
    const struct product *p = arg;
    p->k->gemm(&p->g);
}

static void run_pack_gemm(void *arg)
{
    const struct product *p = arg;
    p->k->gemm_pack(p->packed, p->b, p->b_row, p->b_col, p->g.K, p->g.N);
    p->k->gemm(&p->g);
}

static void run_bf16(void *arg)
{
    const struct product *p = arg;
    p->bf->gemm(&p->h);
}

static void run_pack_bf16(void *arg)
{
    const struct product *p = arg;
    p->bf->pack(p->packed, p->b, p->b_row, p->b_col, p->h.K, p->h.N);
    p->bf->gemm(&p->h);
}

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
    if (!x)
        exit(1);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(rand() % 2001 - 1000) * 1e-3f;
    return x;
}

static void report(const char *kernel, const char *isa, const struct shape *s, struct figure only,
                   struct figure both, double peak)
{
    double flops = 2.0 * (double)s->M * (double)s->N * (double)s->K;
    printf("{\"bench\": \"%s\", \"isa\": \"%s\", \"use\": \"%s\", \"layout\": \"%s\", \"M\": %ld, "
           "\"N\": %ld, \"K\": %ld, \"gflops\": %.1f, \"share\": %.3f, \"gflops_with_pack\": %.1f, "
           "\"share_with_pack\": %.3f, \"median_gflops\": %.1f, \"spread\": %.3f}\n",
           kernel, isa, s->use, s->layout == NN ? "NN" : s->layout == NT ? "NT" : "TN", (long)s->M,
           (long)s->N, (long)s->K, flops / only.best * 1e-9, flops / only.best / peak,
           flops / both.best * 1e-9, flops / both.best / peak,
           flops / only.median * 1e-9, only.spread);
    fflush(stdout);
}

static void bench_gemm(const struct hd_kernels *k, const struct hd_kernels_bf16 *bf, double peak)
{
    for (const struct shape *s = shapes; s < shapes + sizeof shapes / sizeof *shapes; s++) {
        bool ta = s->layout == TN, tb = s->layout == NT;
        float *a = numbers((size_t)(s->M * s->K)), *b = numbers((size_t)(s->K * s->N));
        float *c = numbers((size_t)(s->M * s->N));
        size_t bytes = bf ? bf->pack_bytes(s->K, s->N) : k->gemm_pack_bytes(s->K, s->N);
        struct product p = {.k = k, .bf = bf, .b = b};
        p.packed = numbers(bytes / 4);
        p.b_row = tb ? 1 : s->N, p.b_col = tb ? s->K : 1;
        p.g = (struct hd_gemm){s->M, s->N, s->K, a, ta ? 1 : s->K, ta ? s->M : 1,
                               p.packed, c, s->N, false};
        p.h = (struct hd_gemm_bf16){s->M, s->N, s->K, (const uint32_t *)(const void *)a,
                                    ta ? 1 : s->K / 2, ta ? s->M : 1, p.packed, c, s->N, false};
        if (bf) {
            memset(a, 0x3E, (size_t)(s->M * s->K) * 4);
            bf->pack(p.packed, b, p.b_row, p.b_col, s->K, s->N);
            struct figure only = timed(run_bf16, &p), both = timed(run_pack_bf16, &p);
            report("gemm_bf16", bf->name, s, only, both, peak);
        } else {
            k->gemm_pack(p.packed, b, p.b_row, p.b_col, s->K, s->N);
            struct figure only = timed(run_gemm, &p), both = timed(run_pack_gemm, &p);
            report("gemm", k->name, s, only, both, peak);
        }
        free(a), free(b), free(c), free(p.packed);
    }
}

/* ---- peaks */

struct peak {
    double (*run)(int64_t);
    double flops;
};

static void run_peak(void *arg)
{
    struct peak *p = arg;
    p->flops = p->run(20000);
}

static double peak_of(double (*run)(int64_t))
{
    struct peak p = {run, 0};
    struct figure f = timed(run_peak, &p);
    return p.flops / f.best;
}

/* ---- rows */

struct rows {
    const struct hd_kernels *k;
    float *x, *y, *out, *m, *v, *gain;
    size_t n, count;
};

#define EACH_ROW(call)                                                                             \
    do {                                                                                           \
        const struct rows *r = arg;                                                                \
        for (size_t i = 0; i < r->count; i++) {                                                    \
            size_t at = i * r->n;                                                                  \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

static void row_add(void *arg)
{
    EACH_ROW(r->k->add(r->out + at, r->x + at, r->y + at, r->n));
}

static void row_axpy(void *arg)
{
    EACH_ROW(r->k->axpy(r->out + at, 0.5, r->x + at, r->n));
}

static void row_silu(void *arg)
{
    EACH_ROW(r->k->act[HD_SILU](r->out + at, r->x + at, r->n));
}

static void row_silu_back(void *arg)
{
    EACH_ROW(r->k->act_back[HD_SILU](r->out + at, r->y + at, r->x + at, r->n));
}

static void row_gelu(void *arg)
{
    EACH_ROW(r->k->act[HD_GELU](r->out + at, r->x + at, r->n));
}

static void row_dropout(void *arg)
{
    EACH_ROW(r->k->dropout(r->out + at, r->x + at, r->n, 0.1, 7, at));
}

static void row_softmax(void *arg)
{
    EACH_ROW(r->k->softmax(r->out + at, r->x + at, r->n));
}

static void row_layer_norm(void *arg)
{
    double mean, rstd;
    EACH_ROW(r->k->layer_norm(r->out + at, r->x + at, r->gain, r->gain, r->n, 1e-5, &mean, &rstd));
}

static void row_layer_norm_back(void *arg)
{
    EACH_ROW(r->k->layer_norm_back(r->out + at, r->m, r->v, r->y + at, r->x + at, r->gain, r->n, 0.1,
                                   0.9));
}

static void row_dot(void *arg)
{
    EACH_ROW(r->out[i] = (float)r->k->dot(r->x + at, r->y + at, r->n));
}

static void row_adam(void *arg)
{
    EACH_ROW(r->k->adam(r->out + at, r->m + at, r->v + at, r->y + at, r->n, 1e-9, 0.9, 0.999, 1e-8,
                        0));
}

static const struct {
    const char *name;
    void (*run)(void *);
} row_kernels[] = {
    {"add", row_add}, {"axpy", row_axpy}, {"silu", row_silu}, {"silu_back", row_silu_back},
    {"gelu", row_gelu}, {"dropout", row_dropout}, {"softmax", row_softmax},
    {"layer_norm", row_layer_norm}, {"layer_norm_back", row_layer_norm_back}, {"dot", row_dot},
    {"adam", row_adam},
};

static void bench_rows(const struct hd_kernels *k)
{
    static const size_t widths[] = {64, 200, 1024};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        size_t n = widths[w], count = 4096 / n + 1, total = n * count;
        struct rows r = {k, numbers(total), numbers(total), numbers(total), numbers(total),
                         numbers(total), numbers(n), n, count};
        for (size_t i = 0; i < total; i++)
            r.v[i] *= r.v[i];
        for (size_t i = 0; i < sizeof row_kernels / sizeof *row_kernels; i++) {
            struct figure f = timed(row_kernels[i].run, &r);
            printf("{\"bench\": \"row\", \"isa\": \"%s\", \"kernel\": \"%s\", \"n\": %zu, "
                   "\"gelem_per_s\": %.2f, \"ns_per_row\": %.1f, \"spread\": %.3f}\n",
                   k->name, row_kernels[i].name, n, (double)total / f.best * 1e-9,
                   f.best / (double)count * 1e9, f.spread);
        }
        fflush(stdout);
        free(r.x), free(r.y), free(r.out), free(r.m), free(r.v), free(r.gain);
    }
}

/* ---- scans: tables that fit a cache near the processor, one far from it, and none */

struct scan {
    const struct hd_scan_kernels *k;
    const float *q;
    uint32_t *panels;
    float *out;
    uint8_t *hidden;
    int32_t *index;
    int64_t n, pairs;
};

static void run_scan(void *arg)
{
    enum { BLOCK = 2048 };
    const struct scan *s = arg;
    for (int64_t i = 0; i < s->n; i += BLOCK) {
        int64_t n = s->n - i < BLOCK ? s->n - i : BLOCK;
        s->k->dot_rows(s->out, s->q, s->panels + i * s->pairs, n, s->pairs);
        s->k->at_least(s->index, s->out, s->hidden, n, 1e9F);
    }
}

static void bench_scan(unsigned set)
{
    static const int64_t sizes[] = {10000, 100000, 1000000};
    struct hd_scan_kernels k;
    hd_scan_kernels_init(&k, set);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t n = sizes[i], pairs = 32;
        size_t words = (size_t)hd_scan_words(n, pairs);
        struct scan s = {&k, numbers(64), aligned_alloc(64, words * 4), numbers(2048),
                         calloc(2048, 1), calloc(2048, sizeof(int32_t)), n, pairs};
        if (!s.panels || !s.hidden || !s.index)
            exit(1);
        for (size_t w = 0; w < words; w++)
            s.panels[w] = ((uint32_t)rand() & 0x00FF00FFu) | 0x3F003F00u;
        struct figure f = timed(run_scan, &s);
        printf("{\"bench\": \"scan\", \"isa\": \"%s\", \"rows\": %ld, \"columns\": %ld, \"ms\": %.4f, "
               "\"gb_per_s\": %.1f, \"median_ms\": %.4f, \"spread\": %.3f}\n",
               k.name, (long)n, (long)(2 * pairs), f.best * 1e3, (double)words * 4e-9 / f.best,
               f.median * 1e3, f.spread);
        fflush(stdout);
        free((void *)(uintptr_t)s.q), free(s.panels), free(s.out), free(s.hidden), free(s.index);
    }
}

/* ---- cross-entropy: loss and both gradients */

struct loss {
    struct hd_cross_entropy ce;
    hd_arena *arena;
};

static void run_loss(void *arg)
{
    struct loss *l = arg;
    double loss;
    if (hd_cross_entropy(&l->ce, l->arena, NULL, &loss) != HEED_OK)
        exit(1);
}

static void bench_loss(const struct hd_kernels *k, const struct hd_kernels_bf16 *bf, double peak)
{
    static const int64_t sizes[][3] = {{2048, 3416, 64}, {256, 3416, 64}, {1024, 3416, 128},
                                       {1024, 3416, 256}, {256, 27000, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t N = sizes[i][0], V = sizes[i][1], C = sizes[i][2];
        float *x = numbers((size_t)(N * C)), *e = numbers((size_t)(V * C));
        float *dx = numbers((size_t)(N * C)), *de = numbers((size_t)(V * C));
        int32_t *labels = malloc((size_t)N * sizeof *labels);
        if (!labels)
            exit(1);
        for (int64_t n = 0; n < N; n++)
            labels[n] = (int32_t)(n * 7919 % V);
        struct loss l = {{.k = k, .bf16 = bf, .N = N, .V = V, .C = C, .x = x, .x_row = C, .table = e,
                          .table_row = C, .labels = labels, .scale = 0.3, .weight = 1.0 / (double)N,
                          .dx = dx, .dtable = de},
                         hd_arena_new(0)};
        struct figure f = timed(run_loss, &l);
        double flops = 6.0 * (double)N * (double)V * (double)C;
        printf("{\"bench\": \"cross_entropy\", \"isa\": \"%s\", \"N\": %ld, \"V\": %ld, \"C\": %ld, "
               "\"ms\": %.3f, \"gflops\": %.1f, \"share\": %.3f, \"median_ms\": %.3f, \"spread\": "
               "%.3f}\n",
               bf ? bf->name : k->name, (long)N, (long)V, (long)C, f.best * 1e3,
               flops / f.best * 1e-9, flops / f.best / peak, f.median * 1e3, f.spread);
        fflush(stdout);
        hd_arena_free(l.arena);
        free(x), free(e), free(dx), free(de), free(labels);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "all", *isa = argc > 2 ? argv[2] : "";
    bool every = strcmp(what, "all") == 0, gemm = every || strcmp(what, "gemm") == 0;
    bool rows = every || strcmp(what, "rows") == 0, loss = every || strcmp(what, "loss") == 0;
    bool scan = every || strcmp(what, "scan") == 0;
    static const unsigned sets[] = {0, HD_CPU_AVX2, HD_CPU_AVX2 | HD_CPU_AVX512};
    unsigned cpu = hd_cpu();
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct hd_kernels k;
        double (*run)(int64_t) = hd_peak_f32;
        if ((cpu & sets[i]) != sets[i])
            continue;
        hd_kernels_init(&k, sets[i]);
        if (*isa && strcmp(isa, k.name) != 0)
            continue;
#if defined(__x86_64__)
        run = i == 2 ? hd_peak_avx512 : i == 1 ? hd_peak_avx2 : run;
#endif
        double peak = peak_of(run);
        printf("{\"bench\": \"peak\", \"isa\": \"%s\", \"gflops\": %.1f}\n", k.name, peak * 1e-9);
        if (gemm)
            bench_gemm(&k, NULL, peak);
        if (rows)
            bench_rows(&k);
        if (scan)
            bench_scan(sets[i]);
        if (loss)
            bench_loss(&k, NULL, peak);
    }
#if defined(__x86_64__)
    if ((cpu & HD_CPU_BF16) && (!*isa || strcmp(isa, "bf16") == 0)) {
        struct hd_kernels_bf16 bf;
        double peak = peak_of(hd_peak_bf16_avx512);
        hd_kernels_bf16_init(&bf, cpu);
        printf("{\"bench\": \"peak\", \"isa\": \"%s\", \"gflops\": %.1f}\n", bf.name, peak * 1e-9);
        if (gemm)
            bench_gemm(NULL, &bf, peak);
        if (loss)
            bench_loss(hd_kernels(), &bf, peak);
    }
#endif
    return 0;
}

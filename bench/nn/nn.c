/* SPDX-License-Identifier: Apache-2.0
 *
 * Times the layers on a tape, one thread, at the shapes of a training micro-batch: forward, and
 * forward with backward, beside a floor. The floor of a product is its multiplications and
 * additions at the best rate that the kernel alone reaches; the floor of a row-wise
 * layer is the bytes it cannot but read and write (operands, result, and their gradients, each
 * once) at the rate of a copy of arrays of that size. Prints JSON lines. Times are the thread's own
 * processor time; figures come from the fastest round (see bench/kernel/kernel.c), the median and
 * the spread (p90 - p10) / median tell how quiet the machine was. */
#include "heed/nn.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 31 };

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

static struct figure timed(void (*run)(void *), void *arg)
{
    double t[ROUNDS], start = seconds();
    int times = 1;

    run(arg);
    for (double once; (once = seconds() - start) < 1e-3; times *= 2) {
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

/* ---- what is timed */

struct bench {
    heed_tape *tape;
    int64_t N, C;
    void *x, *y, *dy; /* dy: as large as the largest result */
    heed_tensor *w, *wide, *b, *gain, *bias, *table;
    int32_t *ids, *labels, *negatives;
    bool backward;
    void (*layer)(struct bench *, heed_tensor *x, heed_tensor *y, heed_tensor **out);
};

static void must(heed_status status)
{
    if (status == HEED_OK)
        return;
    fprintf(stderr, "bench: %s\n", heed_error_message());
    exit(1);
}

struct seed_record {
    heed_tensor *y;
    void *dy;
};

/* Lends the result a gradient that is there already: no pass over memory is charged to the layer.
 */
static heed_status seed_backward(heed_tape *tape, void *record)
{
    const struct seed_record *rec = record;

    (void)tape;
    rec->y->grad = rec->dy;
    return HEED_OK;
}

static void run_layer(void *arg)
{
    struct bench *b = arg;
    heed_tensor *x, *y, *out, *loss;

    heed_tape_reset(b->tape);
    must(heed_tensor_wrap(b->tape, HEED_F32, b->x, (int64_t[]){b->N, b->C}, 2, true, &x));
    must(heed_tensor_wrap(b->tape, HEED_F32, b->y, (int64_t[]){b->N, b->C}, 2, true, &y));
    b->layer(b, x, y, &out);
    if (!b->backward)
        return;
    if (out->rank == 0) {
        must(heed_tape_backward(b->tape, out));
        return;
    }
    must(hd_tensor_new(b->tape, HEED_F32, NULL, 0, &loss));
    loss->wants_grad = true;
    struct seed_record rec = {out, b->dy};
    must(hd_tape_push(b->tape, seed_backward, &rec, sizeof rec));
    must(heed_tape_backward(b->tape, loss));
}

#define LAYER(name, call)                                                                \
    static void name(struct bench *b, heed_tensor *x, heed_tensor *y, heed_tensor **out) \
    {                                                                                    \
        (void)b, (void)x, (void)y;                                                       \
        must(call);                                                                      \
    }
LAYER(linear, heed_linear(b->tape, x, b->w, b->b, out))
LAYER(linear_wide, heed_linear(b->tape, x, b->wide, NULL, out))
LAYER(add, heed_add(b->tape, x, y, out))
LAYER(mul, heed_mul(b->tape, x, y, out))
LAYER(silu, heed_silu(b->tape, x, out))
LAYER(gelu, heed_gelu(b->tape, x, out))
LAYER(relu, heed_relu(b->tape, x, out))
LAYER(swiglu, heed_swiglu(b->tape, x, y, out))
LAYER(layer_norm, heed_layer_norm(b->tape, x, b->gain, b->bias, 1e-6, out))
LAYER(rms_norm, heed_rms_norm(b->tape, x, b->gain, 1e-6, out))
LAYER(l2_normalize, heed_l2_normalize(b->tape, x, 1e-6, out))
LAYER(dropout, heed_dropout(b->tape, x, 0.2, out))
LAYER(dropout_add, heed_dropout_add(b->tape, x, y, 0.2, out))
LAYER(embedding, heed_embedding(b->tape, b->table, b->ids, b->N, 8, out))
LAYER(sampled_softmax,
      heed_sampled_softmax(b->tape, x, b->table, b->labels, b->negatives, 256, NULL, out))
LAYER(gbce, heed_gbce(b->tape, x, b->table, b->labels, b->negatives, 256, 0.75, 4000, NULL, out))

static const struct layer_row {
    const char *name;
    void (*layer)(struct bench *, heed_tensor *, heed_tensor *, heed_tensor **);
    /* Products of N C x by so many columns (in C, or in numbers), forward; thrice with backward.
     * Or passes over (N, C) that cannot be spared, forward and backward. */
    int product_widths, product_cols, passes, passes_back;
} rows[] = {
    {"linear", linear, 1, 0, 0, 0},
    {"linear to 4 C", linear_wide, 4, 0, 0, 0},
    {"add", add, 0, 0, 3, 2}, /* one gradient takes over dy's memory, the other is a copy */
    {"mul", mul, 0, 0, 3, 5},
    {"relu", relu, 0, 0, 2, 3},
    {"silu", silu, 0, 0, 2, 3},
    {"gelu", gelu, 0, 0, 2, 3},
    {"swiglu", swiglu, 0, 0, 3, 5},
    {"layer_norm", layer_norm, 0, 0, 2, 3},
    {"rms_norm", rms_norm, 0, 0, 2, 3},
    {"l2_normalize", l2_normalize, 0, 0, 2, 3},
    {"dropout", dropout, 0, 0, 2, 2},
    {"dropout_add", dropout_add, 0, 0, 3, 2},
    {"embedding", embedding, 0, 0, 2, 3},
    {"sampled_softmax, 256 negatives", sampled_softmax, 0, 256, 0, 0},
    {"gbce, 256 negatives", gbce, 0, 256, 0, 0},
};

/* ---- floors */

struct copy {
    char *from, *to;
    size_t bytes;
};

static void run_copy(void *arg)
{
    const struct copy *c = arg;
    memcpy(c->to, c->from, c->bytes);
}

static void run_gemm(void *arg)
{
    hd_kernels()->gemm(arg);
}

/* The best of a few shapes, B packed before. */
static double gemm_rate(void)
{
    static const int64_t shapes[][3] = {{192, 64, 64}, {192, 256, 256}, {1536, 256, 64}};
    const struct hd_kernels *k = hd_kernels();
    double best = 0;

    for (int i = 0; i < 3; i++) {
        int64_t M = shapes[i][0], N = shapes[i][1], K = shapes[i][2];
        float *a = calloc((size_t)(M * K), sizeof *a), *b = calloc((size_t)(K * N), sizeof *b);
        float *c = calloc((size_t)(M * N), sizeof *c);
        void *packed = aligned_alloc(64, (k->gemm_pack_bytes(K, N) + 63) / 64 * 64);
        k->gemm_pack(packed, b, N, 1, K, N);
        struct hd_gemm g = {.M = M,
                            .N = N,
                            .K = K,
                            .a = a,
                            .a_row = K,
                            .a_col = 1,
                            .b = packed,
                            .c = c,
                            .c_row = N};
        double rate = 2.0 * (double)(M * N * K) / timed(run_gemm, &g).best;
        best = rate > best ? rate : best;
        free(a), free(b), free(c), free(packed);
    }
    return best;
}

static void *numbers(int64_t count)
{
    float *x = aligned_alloc(64, ((size_t)count * sizeof *x + 63) / 64 * 64);
    heed_rng rng = hd_rng(1, (uint64_t)count);

    for (int64_t i = 0; i < count; i++)
        x[i] = (float)hd_random_normal(&rng);
    return x;
}

static heed_tensor *param(heed_params *params, const char *name, int64_t rows_, int64_t cols)
{
    heed_tensor *t;
    int64_t dim[] = {rows_, cols};

    must(heed_params_add(params, name, rows_ ? dim : dim + 1, rows_ ? 2 : 1, HEED_INIT_NORMAL, 0.1,
                         &t));
    return t;
}

int main(void)
{
    static const int64_t widths[] = {64, 256};
    double gemm = gemm_rate();

    printf("{\"bench\":\"nn\",\"kernels\":\"%s\",\"compiler\":\"%s\",\"gemm_gflops\":%.1f}\n",
           hd_kernels()->name, __VERSION__, gemm * 1e-9);
    for (int w = 0; w < 2; w++) {
        struct bench b = {.N = 1536, .C = widths[w]};
        int64_t count = b.N * b.C;
        heed_params *params;
        must(heed_params_new(HEED_F32, 1, &params));
        must(heed_tape_new(NULL, 1, &b.tape));
        b.x = numbers(count), b.y = numbers(count), b.dy = numbers(4 * count);
        b.w = param(params, "w", b.C, b.C), b.wide = param(params, "wide", 4 * b.C, b.C);
        b.b = param(params, "b", 0, b.C), b.gain = param(params, "gain", 0, b.C);
        b.bias = param(params, "bias", 0, b.C), b.table = param(params, "table", 3416, b.C);
        b.ids = calloc((size_t)b.N, 4), b.labels = calloc((size_t)b.N, 4);
        b.negatives = calloc(256, 4);
        for (int64_t i = 0; i < b.N; i++)
            b.ids[i] = (int32_t)(i * 37 % 3416), b.labels[i] = (int32_t)(i * 101 % 3416);
        for (int i = 0; i < 256; i++)
            b.negatives[i] = i * 13;
        struct copy copy = {b.x, b.dy, (size_t)count * sizeof(float)};
        double copy_rate = 2.0 * (double)copy.bytes / timed(run_copy, &copy).best;

        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (int back = 0; back < 2; back++) {
                b.layer = rows[r].layer, b.backward = back;
                struct figure f = timed(run_layer, &b);
                int64_t cols = rows[r].product_widths * b.C + rows[r].product_cols;
                double flops = 2.0 * (double)(count * cols) * (back ? 3 : 1);
                double bytes =
                    4.0 * (double)count * (rows[r].passes + (back ? rows[r].passes_back : 0));
                double floor = cols ? flops / gemm : bytes / copy_rate;
                printf("{\"layer\":\"%s\",\"N\":%" PRId64 ",\"C\":%" PRId64 ",\"backward\":%s,"
                       "\"us\":%.1f,\"%s\":%.1f,\"floor_us\":%.1f,\"times_floor\":%.2f,"
                       "\"median_us\":%.1f,\"spread\":%.2f}\n",
                       rows[r].name, b.N, b.C, back ? "true" : "false", f.best * 1e6,
                       cols ? "gflops" : "gbytes", (cols ? flops : bytes) / f.best * 1e-9,
                       floor * 1e6, f.best / floor, f.median * 1e6, f.spread);
                fflush(stdout);
            }
        free(b.x), free(b.y), free(b.dy), free(b.ids), free(b.labels), free(b.negatives);
        heed_tape_free(b.tape);
        heed_params_free(params);
    }
    return 0;
}

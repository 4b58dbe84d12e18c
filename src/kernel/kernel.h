/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on raw rows, one thread, no memory of its own: contracts, and the tables that hold the
 * best variant of each for a machine. Kernels know pointers and lengths, nothing else.
 *
 * There is a table per element type. Its rows are `void *` so that the floors above are written once
 * and run in float32 (every variant) or float64 (portable code only: what gradients are checked in).
 * Rows may have any alignment and any length, 0 included; none is read or written past its end.
 * `out` may be the same row as an input, unless said otherwise. NaN and infinity go the way of the
 * portable code. A variant gives the same bits for the same input whenever it is called. */
#ifndef HD_KERNEL_H
#define HD_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a processor can do; a set of these chooses the variants. */
enum {
    HD_CPU_AVX2 = 1 << 0,    /* AVX2, FMA, F16C */
    HD_CPU_AVX512 = 1 << 1,  /* AVX-512 F, BW, DQ, VL */
    HD_CPU_BF16 = 1 << 2,    /* AVX-512 BF16: VDPBF16PS */
};

enum hd_activation { HD_RELU, HD_GELU, HD_SILU, HD_SIGMOID, HD_TANH, HD_ACTIVATIONS };

/* One matrix product, C (M, N) = A (M, K) B (K, N) or, where accumulate, C += A B.
 * A's element (i, k) is a[i * a_row + k * a_col]: strides in elements, so any transpose. B has been
 * packed by gemm_pack (b_row 0), or is read as it lies: rows of N, b_row apart, N a multiple of
 * gemm_columns. That is for few columns and a long K, the gradient of a weight, where packing costs
 * as much as a tenth of the product. C's rows are contiguous, c_row apart. C overlaps neither A nor
 * B. bias (N), or NULL, is added to every row. */
struct hd_gemm {
    int64_t M, N, K;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    void *c;
    int64_t c_row;
    bool accumulate;
    int64_t b_row; /* 0: B is packed */
    const void *bias;
};

struct hd_kernels {
    const char *name;  /* "portable", "avx2", "avx512", "avx512+bf16" */
    size_t item_bytes; /* 4 or 8 */

    /* ---- elementwise over n elements */
    void (*fill)(void *out, double a, size_t n);
    void (*add)(void *out, const void *x, const void *y, size_t n);   /* out = x + y */
    void (*mul)(void *out, const void *x, const void *y, size_t n);   /* out = x y */
    void (*muladd)(void *out, const void *x, const void *y, size_t n); /* out += x y */
    void (*scale)(void *out, double a, const void *x, size_t n);      /* out = a x */
    void (*axpy)(void *out, double a, const void *x, size_t n);       /* out += a x */
    /* out = f(x); and dx = dy f'(x). GELU is the exact one, x Phi(x). */
    void (*act[HD_ACTIVATIONS])(void *out, const void *x, size_t n);
    void (*act_back[HD_ACTIVATIONS])(void *dx, const void *dy, const void *x, size_t n);
    /* Activations with a slope of each column's own below (He 2015; Dice: Zhou 2018, eq. 3):
     *   prelu  y = x (x > 0 ? 1 : alpha)
     *   dice   y = x (p + (1 - p) alpha), p = sigmoid(xhat), xhat = (x - mean) rstd
     * and their gradients: of alpha, added; of x, written, dx may be dy. Where dice's mean and rstd were
     * made from N rows the gradient flows through them too. It needs two sums over those rows, with
     * g = dy x (1 - alpha) p (1 - p): dice_sums adds one row to sum g and sum g xhat (and to dalpha, and
     * makes y again, where they are not NULL); dice_back takes them divided by N, NULL: constants. */
    void (*prelu)(void *y, const void *x, const void *alpha, size_t n);
    void (*prelu_back)(void *dx, void *dalpha, const void *dy, const void *x, const void *alpha,
                       size_t n);
    void (*dice)(void *y, const void *x, const void *alpha, const void *mean, const void *rstd,
                 size_t n);
    void (*dice_sums)(void *y, void *dalpha, void *sum, void *product, const void *dy,
                      const void *x, const void *alpha, const void *mean, const void *rstd,
                      size_t n);
    void (*dice_back)(void *dx, const void *dy, const void *x, const void *alpha, const void *mean,
                      const void *rstd, const void *sum, const void *product, size_t n);
    /* Of each of n columns of a block of rows, x_row apart: the sum, added; and (of at least one row) the
     * mean, and the sum of squared distances from it. */
    void (*column_sums)(void *sum, const void *x, int64_t x_row, int64_t rows, size_t n);
    void (*column_moments)(void *mean, void *squares, const void *x, int64_t x_row, int64_t rows,
                           size_t n);
    /* out[i] = keep(key, first + i) ? x[i] / (1 - p) : 0, keep a hash of its arguments alone. */
    void (*dropout)(void *out, const void *x, size_t n, double p, uint64_t key, uint64_t first);
    /* the same, added: out[i] += ... ; so that a residual sum, or a backward, is one pass */
    void (*dropout_add)(void *out, const void *x, size_t n, double p, uint64_t key, uint64_t first);

    /* ---- rows to numbers */
    double (*dot)(const void *x, const void *y, size_t n);
    double (*sum)(const void *x, size_t n);
    double (*max)(const void *x, size_t n); /* -infinity for n 0 */

    /* ---- rows */
    /* out = exp(x - log sum exp x); returns log sum exp x. n 0: -infinity. All -infinity: zeros. */
    double (*softmax)(void *out, const void *x, size_t n);
    /* The same down the columns of a block of rows, `row` apart in out and x: out[r][j] is
     * exp(x[r][j]) / sum over r of it. A column of -infinity gives zeros. */
    void (*softmax_columns)(void *out, const void *x, int64_t row, int64_t rows, size_t n);
    /* One step of a softmax over a row that comes in pieces. `row` holds n more of its scores and is
     * left with exp(score - ref); sum counts them all. ref follows the maximum loosely: it moves only
     * where a score passes it by 16, and the returned factor, exp(old ref - new ref), is by how much
     * what was made with the old one has to shrink (sum has been). Starts from ref -infinity, sum 0,
     * where the factor is 0; a score of -infinity gives 0. */
    double (*softmax_step)(void *row, size_t n, double *ref, double *sum);
    /* out = gain (x - mean) rstd + bias, rstd = 1 / sqrt(var + eps); gain, bias may be NULL. */
    void (*layer_norm)(void *out, const void *x, const void *gain, const void *bias, size_t n,
                       double eps, double *mean, double *rstd);
    /* dx += ..., dgain += dy xhat, dbias += dy; each of dx, dgain, dbias and gain may be NULL. */
    void (*layer_norm_back)(void *dx, void *dgain, void *dbias, const void *dy, const void *x,
                            const void *gain, size_t n, double mean, double rstd);
    /* out = gain x rrms, rrms = 1 / sqrt(mean(x^2) + eps). */
    void (*rms_norm)(void *out, const void *x, const void *gain, size_t n, double eps,
                     double *rrms);
    void (*rms_norm_back)(void *dx, void *dgain, const void *dy, const void *x, const void *gain,
                          size_t n, double rrms);

    /* ---- matrix products */
    int64_t gemm_columns;
    size_t (*gemm_pack_bytes)(int64_t K, int64_t N);
    /* B's element (k, j) is b[k * b_row + j * b_col]. `packed` starts on 64 bytes. */
    void (*gemm_pack)(void *packed, const void *b, int64_t b_row, int64_t b_col, int64_t K,
                      int64_t N);
    void (*gemm)(const struct hd_gemm *g);

    /* ---- optimiser: one step of Adam (Kingma, Ba 2015) with decoupled weight decay (Loshchilov,
     * Hutter 2019) over n parameters; rate already holds the bias corrections' quotient:
     *   m = b1 m + (1 - b1) g    v = b2 v + (1 - b2) g^2
     *   w = w - decay w - rate m / (sqrt(v) + eps) */
    void (*adam)(void *w, void *m, void *v, const void *g, size_t n, double rate, double b1,
                 double b2, double eps, double decay);
};

/* C (M, N) = A B or += A B of bfloat16 pairs: two numbers, neighbours along K, in 32 bits, the first
 * in the lower half. A's pair (i, k / 2) is a[i * a_row + k / 2 * a_col]: strides in pairs. Where K is
 * odd the last pair's upper half is zero in A. B has been packed by pack; C is float32. */
struct hd_gemm_bf16 {
    int64_t M, N, K; /* K counts numbers, not pairs */
    const uint32_t *a;
    int64_t a_row, a_col;
    const void *b; /* packed */
    float *c;
    int64_t c_row;
    bool accumulate;
};

/* A block (M, n) of scores, l_row apart, and the state of its M rows: ref in units of ln 2 (exp(score)
 * is 2^(score / ln 2)), sum, and the factor of this step. See softmax_step. The results,
 * 2^(score / ln 2 - ref) in bfloat16, are written twice, each may be NULL:
 *   along[i * along_row + j / 2]   = (p[i][j], p[i][j + 1])    pairs along a row
 *   across[i / 2 * across_row + j] = (p[i][j], p[i + 1][j])    pairs of two rows
 * with zeros where n or M is odd. along_row and across_row count pairs. */
struct hd_softmax_block {
    int64_t M, n;
    const float *l;
    int64_t l_row;
    float *ref, *sum, *factor;
    uint32_t *along, *across;
    int64_t along_row, across_row;
};

/* Products of bfloat16 rows with float32 sums; for the output layer, whose inputs bear rounding. The
 * portable code gives the same sums up to the order of additions. float32 only. */
struct hd_kernels_bf16 {
    const char *name;
    bool fast; /* the machine multiplies bfloat16 faster than float32 */
    void (*from_f32)(uint16_t *out, const float *x, size_t n); /* to nearest even */
    void (*to_f32)(float *out, const uint16_t *x, size_t n);
    size_t (*pack_bytes)(int64_t K, int64_t N);
    /* As gemm_pack: element (k, j) is b[k * b_row + j * b_col], float32; rounded and paired here. */
    void (*pack)(void *packed, const float *b, int64_t b_row, int64_t b_col, int64_t K, int64_t N);
    /* Pairs of two rows: out[i] = (lower[i], upper[i]), zero where upper is NULL. */
    void (*weave)(uint32_t *out, const float *lower, const float *upper, size_t n);
    void (*gemm)(const struct hd_gemm_bf16 *g);
    /* softmax_step over a block of rows, with the results as the factors of two products. */
    void (*softmax_block)(const struct hd_softmax_block *s);
};

/* One number of float32 or float64, for what is done once for a row or a weight. */
static inline double hd_number(const void *array, size_t item_bytes, int64_t i)
{
    return item_bytes == sizeof(float) ? (double)((const float *)array)[i]
                                       : ((const double *)array)[i];
}
static inline void hd_set_number(void *array, size_t item_bytes, int64_t i, double x)
{
    if (item_bytes == sizeof(float))
        ((float *)array)[i] = (float)x;
    else
        ((double *)array)[i] = x;
}

/* Fills a table for any feature set, so that tests reach every variant this machine has. Sets that
 * are not in the build fall back to the portable code. */
void hd_kernels_init(struct hd_kernels *k, unsigned cpu);
void hd_kernels_bf16_init(struct hd_kernels_bf16 *k, unsigned cpu);

/* What this machine can do, limited to what the build holds. */
unsigned hd_cpu(void);
/* The tables for this machine, chosen once; f64 is portable. immutable. */
const struct hd_kernels *hd_kernels(void);
const struct hd_kernels *hd_kernels_f64(void);
const struct hd_kernels_bf16 *hd_kernels_bf16(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel tests share: numbers that lean to the edges, rows that end at an unreadable page,
 * and the bound gamma(n) of a sum of n terms (Higham 2002, section 3.1). */
#ifndef HD_KERNEL_CHECK_H
#define HD_KERNEL_CHECK_H

#include "kernel/attention_bf16.h"
#include "kernel/kernel.h"
#include "kernel/scan.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* The stream starts at HEED_SEED, or at a seed of its own; failures print it. */
void kc_begin(void);
uint64_t kc_rand(void);
/* Uniform in [-1, 1), 24 bits: what a float holds exactly. */
double kc_unit(void);
/* A length: 0, 1, each side of the vector widths, or anything under `most`. */
size_t kc_length(size_t most);

/* A row of n elements of `item` bytes that ends where reading or writing faults, so its alignment is
 * what n makes it; before it lies a pattern that kc_rows_intact() looks at. Filled with kc_unit()
 * times 4. Lives until kc_rows_release(). */
void *kc_row(size_t n, size_t item);
/* Likewise, a copy of n elements. */
void *kc_copy(const void *row, size_t n, size_t item);
bool kc_rows_intact(void);
void kc_rows_release(void);
/* Some elements become NaN, infinite, large (but no product of two overflows, for then it
 * would matter whether a variant fuses), subnormal, or minus zero. */
void kc_poison(void *row, size_t n, size_t item);

/* i may lie before the row where a test has put something there. */
static inline double kc_get(const void *row, size_t item, ptrdiff_t i)
{
    return item == sizeof(float) ? (double)((const float *)row)[i] : ((const double *)row)[i];
}

/* The unit roundoff of an element type. */
static inline double kc_unit_roundoff(size_t item)
{
    return item == sizeof(float) ? (double)FLT_EPSILON / 2 : DBL_EPSILON / 2;
}

/* The smallest normal number: what may be lost to underflow. */
static inline double kc_tiny(size_t item)
{
    return item == sizeof(float) ? (double)FLT_MIN : DBL_MIN;
}

static inline double kc_gamma(size_t n, size_t item)
{
    double u = kc_unit_roundoff(item);
    return (double)n * u / (1 - (double)n * u);
}

/* Says what is wrong, with the seed; false. */
bool kc_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* |got - want| <= bound, and NaN fails too. */
static inline bool kc_near(double got, double want, double bound)
{
    return fabs(got - want) <= bound || got == want;
}
/* NaN where that is NaN, the same infinity where that is infinite. */
static inline bool kc_same_kind(double got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    return isinf(want) || isinf(got) ? got == want : true;
}

/* Each checks one table against its double twin and, where numbers are not finite, against what the
 * portable code makes of them. */
bool check_elementwise(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_activations(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_slopes(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_columns(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_dropout(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_reductions(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_softmax(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_norms(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_adam(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_gemm(const struct hd_kernels *k, const struct hd_kernels *portable);
bool check_attention(const struct hd_attention_kernels *k);
bool check_scores(const struct hd_attention_kernels *k);
bool check_attention_bf16(const struct hd_attention_bf16 *k);
bool check_bf16_rows(const struct hd_kernels_bf16 *k);
bool check_bf16_weave(const struct hd_kernels_bf16 *k);
bool check_bf16_gemm(const struct hd_kernels_bf16 *k);
bool check_bf16_softmax(const struct hd_kernels_bf16 *k);
bool check_scan(const struct hd_scan_kernels *k);

#endif

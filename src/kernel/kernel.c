/* SPDX-License-Identifier: Apache-2.0
 *
 * Which variants this machine can run, and the tables made of them. */
#include "kernel/kernel.h"

#include <pthread.h>

void hd_fill_rows_f32(struct hd_kernels *k);
void hd_fill_gemm_f32(struct hd_kernels *k);
void hd_fill_rows_f64(struct hd_kernels *k);
void hd_fill_gemm_f64(struct hd_kernels *k);
void hd_fill_bf16_portable(struct hd_kernels_bf16 *k);
#if HD_HAVE_X86
void hd_fill_rows_avx2(struct hd_kernels *k);
void hd_fill_gemm_avx2(struct hd_kernels *k);
void hd_fill_rows_avx512(struct hd_kernels *k);
void hd_fill_gemm_avx512(struct hd_kernels *k);
#endif
#if HD_HAVE_BF16
void hd_fill_bf16_avx512(struct hd_kernels_bf16 *k);
#endif

#if HD_HAVE_X86
#include <cpuid.h>

/* The registers that the operating system saves on a switch: without that, the widest instructions
 * would fault or lose their state whatever the processor says. */
static uint64_t saved_registers(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

unsigned hd_cpu(void)
{
    enum { YMM = 0x6, ZMM = 0xE6 };
    unsigned a, b, c, d, cpu = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    uint64_t saved = saved_registers();
    bool fma = (c & bit_FMA) && (c & bit_F16C) && (c & bit_AVX);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !fma || (saved & YMM) != YMM)
        return 0;
    if (b & bit_AVX2)
        cpu |= HD_CPU_AVX2;
    if ((b & bit_AVX512F) && (b & bit_AVX512BW) && (b & bit_AVX512DQ) && (b & bit_AVX512VL) &&
        (saved & ZMM) == ZMM) {
        cpu |= HD_CPU_AVX512;
        if (HD_HAVE_BF16 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5))
            cpu |= HD_CPU_BF16;
    }
    return cpu;
}
#else
unsigned hd_cpu(void)
{
    return 0;
}
#endif

/* Later lines win, so the list reads from the slowest machine to the fastest. */
void hd_kernels_init(struct hd_kernels *k, unsigned cpu)
{
    (void)cpu;
    hd_fill_rows_f32(k);
    hd_fill_gemm_f32(k);
    k->name = "portable";
#if HD_HAVE_X86
    if (cpu & HD_CPU_AVX2) {
        hd_fill_rows_avx2(k);
        hd_fill_gemm_avx2(k);
        k->name = "avx2";
    }
    if (cpu & HD_CPU_AVX512) {
        hd_fill_rows_avx512(k);
        hd_fill_gemm_avx512(k);
        k->name = "avx512";
    }
#endif
}

void hd_kernels_bf16_init(struct hd_kernels_bf16 *k, unsigned cpu)
{
    (void)cpu;
    hd_fill_bf16_portable(k);
#if HD_HAVE_BF16
    if ((cpu & HD_CPU_AVX512) && (cpu & HD_CPU_BF16))
        hd_fill_bf16_avx512(k);
#endif
}

static struct hd_kernels f32, f64;
static struct hd_kernels_bf16 bf16;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    unsigned cpu = hd_cpu();
    hd_kernels_init(&f32, cpu);
    hd_kernels_bf16_init(&bf16, cpu);
    hd_fill_rows_f64(&f64);
    hd_fill_gemm_f64(&f64);
    f64.name = "portable";
}

const struct hd_kernels *hd_kernels(void)
{
    pthread_once(&once, choose);
    return &f32;
}

const struct hd_kernels *hd_kernels_f64(void)
{
    pthread_once(&once, choose);
    return &f64;
}

const struct hd_kernels_bf16 *hd_kernels_bf16(void)
{
    pthread_once(&once, choose);
    return &bf16;
}

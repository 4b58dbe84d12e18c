/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of attention's kernels: which variants this machine can run. */
#include "kernel/attention.h"
#include "kernel/kernel.h"

#include <pthread.h>

void hd_fill_attention_f32(struct hd_attention_kernels *k);
void hd_fill_attention_f64(struct hd_attention_kernels *k);
#if HD_HAVE_X86
void hd_fill_attention_avx2(struct hd_attention_kernels *k);
void hd_fill_attention_avx512(struct hd_attention_kernels *k);
#endif

/* Later lines win, so the list reads from the slowest machine to the fastest. */
void hd_attention_kernels_init(struct hd_attention_kernels *k, unsigned cpu)
{
    (void)cpu;
    hd_fill_attention_f32(k);
    k->name = "portable";
#if HD_HAVE_X86
    if (cpu & HD_CPU_AVX2) {
        hd_fill_attention_avx2(k);
        k->name = "avx2";
    }
    if (cpu & HD_CPU_AVX512) {
        hd_fill_attention_avx512(k);
        k->name = "avx512";
    }
#endif
}

static struct hd_attention_kernels f32, f64;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    hd_attention_kernels_init(&f32, hd_cpu());
    hd_fill_attention_f64(&f64);
    f64.name = "portable";
}

const struct hd_attention_kernels *hd_attention_kernels(void)
{
    pthread_once(&once, choose);
    return &f32;
}

const struct hd_attention_kernels *hd_attention_kernels_f64(void)
{
    pthread_once(&once, choose);
    return &f64;
}

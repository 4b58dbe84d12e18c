/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of the scan kernels: which variants this machine can run. */
#include "kernel/kernel.h"
#include "kernel/scan.h"

#include <pthread.h>

void hd_fill_scan_f32(struct hd_scan_kernels *k);
#if HD_HAVE_X86
void hd_fill_scan_avx2(struct hd_scan_kernels *k);
void hd_fill_scan_avx512(struct hd_scan_kernels *k);
#endif

/* Later lines win, so the list reads from the slowest machine to the fastest. */
void hd_scan_kernels_init(struct hd_scan_kernels *k, unsigned cpu)
{
    (void)cpu;
    hd_fill_scan_f32(k);
    k->name = "portable";
#if HD_HAVE_X86
    if (cpu & HD_CPU_AVX2) {
        hd_fill_scan_avx2(k);
        k->name = "avx2";
    }
    if (cpu & HD_CPU_AVX512) {
        hd_fill_scan_avx512(k);
        k->name = "avx512";
    }
#endif
}

static struct hd_scan_kernels best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    hd_scan_kernels_init(&best, hd_cpu());
}

const struct hd_scan_kernels *hd_scan_kernels(void)
{
    pthread_once(&once, choose);
    return &best;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel tests' numbers and rows, and main(): every check on every table this machine can run. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROWS_MAX = 24, ROW_BYTES = 1 << 20, PATTERN = 0x5A, PATTERN_BYTES = 64 };

static uint64_t seed, state;
static struct {
    char *start, *end; /* [start, end) can be read and written, end cannot */
    char *row;
} regions[ROWS_MAX];
static int taken;

void kc_begin(void)
{
    const char *text = getenv("HEED_SEED");
    seed = text ? strtoull(text, NULL, 0) : 20261120;
    state = seed;
}

uint64_t kc_rand(void) /* splitmix64 */
{
    uint64_t x = state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

double kc_unit(void)
{
    return (double)(kc_rand() >> 40) / (1 << 23) - 1;
}

size_t kc_length(size_t most)
{
    static const size_t edges[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128};
    size_t n = kc_rand() % 3 ? edges[kc_rand() % (sizeof edges / sizeof *edges)] : kc_rand() % most;
    return n < most ? n : most - 1;
}

bool kc_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (HEED_SEED=%llu)\n", (unsigned long long)seed);
    return false;
}

static void *region_row(size_t bytes)
{
    if (taken == ROWS_MAX || bytes + PATTERN_BYTES > ROW_BYTES) {
        fprintf(stderr, "kernel test: a row of %zu bytes, the %dth\n", bytes, taken);
        exit(2);
    }
    if (!regions[taken].start) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *p = mmap(NULL, ROW_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
        if (p == MAP_FAILED || mprotect(p + ROW_BYTES, page, PROT_NONE) != 0) {
            perror("kernel test: mmap");
            exit(2);
        }
        regions[taken].start = p;
        regions[taken].end = p + ROW_BYTES;
    }
    char *row = regions[taken].end - bytes;
    memset(row - PATTERN_BYTES, PATTERN, PATTERN_BYTES);
    regions[taken++].row = row;
    return row;
}

void *kc_row(size_t n, size_t item)
{
    void *row = region_row(n * item);
    for (size_t i = 0; i < n; i++) {
        if (item == sizeof(float))
            ((float *)row)[i] = (float)(4 * kc_unit());
        else if (item == sizeof(double))
            ((double *)row)[i] = 4 * kc_unit();
        else
            memset((char *)row + i * item, (int)(kc_rand() & 0xFF), item);
    }
    return row;
}

void *kc_copy(const void *from, size_t n, size_t item)
{
    void *row = region_row(n * item);
    if (n > 0)
        memcpy(row, from, n * item);
    return row;
}

bool kc_rows_intact(void)
{
    for (int r = 0; r < taken; r++)
        for (int i = 1; i <= PATTERN_BYTES; i++)
            if (regions[r].row[-i] != PATTERN)
                return kc_fail("byte %d before row %d was written", i, r);
    return true;
}

void kc_rows_release(void)
{
    taken = 0;
}

void kc_poison(void *row, size_t n, size_t item)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1e18, -1e18,
                                 1e-42, -0.0, 88.8, -104.5};
    for (size_t times = n > 0 ? 1 + kc_rand() % 3 : 0; times > 0; times--) {
        double value = bad[kc_rand() % (sizeof bad / sizeof *bad)];
        size_t i = kc_rand() % n;
        if (item == sizeof(float))
            ((float *)row)[i] = (float)value;
        else
            ((double *)row)[i] = value;
    }
}

static const struct {
    const char *name;
    bool (*run)(const struct hd_kernels *k, const struct hd_kernels *portable);
} checks[] = {
    {"elementwise", check_elementwise}, {"activations", check_activations},
    {"slopes", check_slopes},           {"columns", check_columns},
    {"dropout", check_dropout},         {"reductions", check_reductions},
    {"softmax", check_softmax},         {"norms", check_norms},
    {"adam", check_adam},               {"gemm", check_gemm},
};

static bool check_table(const struct hd_kernels *k, const struct hd_kernels *portable)
{
    bool good = true;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        bool passed = checks[i].run(k, portable) && kc_rows_intact();
        printf("%s %s f%zu %s\n", passed ? "ok  " : "FAIL", k->name, 8 * k->item_bytes,
               checks[i].name);
        kc_rows_release();
        good &= passed;
    }
    return good;
}

static bool check_bf16(const struct hd_kernels_bf16 *k)
{
    bool good = check_bf16_rows(k) && check_bf16_weave(k) && check_bf16_gemm(k) && check_bf16_softmax(k) && kc_rows_intact();
    printf("%s bf16 %s\n", good ? "ok  " : "FAIL", k->name);
    kc_rows_release();
    return good;
}

int main(void)
{
    static const unsigned sets[] = {0, HD_CPU_AVX2, HD_CPU_AVX2 | HD_CPU_AVX512};
    struct hd_kernels portable, k;
    struct hd_attention_kernels attention;
    struct hd_attention_bf16 narrow;
    struct hd_scan_kernels scan;
    struct hd_kernels_bf16 bf16;
    unsigned cpu = hd_cpu();
    bool good = true;

    kc_begin();
    hd_kernels_init(&portable, 0);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if ((cpu & sets[i]) != sets[i]) {
            printf("skip: this machine lacks set %#x\n", sets[i]);
            continue;
        }
        hd_kernels_init(&k, sets[i]);
        good &= check_table(&k, &portable);
        hd_attention_kernels_init(&attention, sets[i]);
        good &= check_attention(&attention) && check_scores(&attention);
        hd_attention_bf16_init(&narrow, sets[i]);
        good &= check_attention_bf16(&narrow);
        hd_scan_kernels_init(&scan, sets[i]);
        good &= check_scan(&scan);
    }
    good &= check_table(hd_kernels_f64(), hd_kernels_f64());
    good &= check_attention(hd_attention_kernels_f64()) && check_scores(hd_attention_kernels_f64());
    hd_kernels_bf16_init(&bf16, 0);
    good &= check_bf16(&bf16);
    if (cpu & HD_CPU_BF16) {
        hd_kernels_bf16_init(&bf16, cpu);
        good &= check_bf16(&bf16);
        hd_attention_bf16_init(&narrow, cpu);
        good &= check_attention_bf16(&narrow);
    }
    return good ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan kernels against their definitions in double: dot products with panels of bfloat16 rows, and
 * the places of the numbers that are large enough. */
#include "check.h"

#include <stdio.h>
#include <string.h>

static double column(const uint32_t *panels, int64_t row, int64_t c, int64_t pairs)
{
    uint32_t word = panels[hd_scan_word(row, c / 2, pairs)], u = c % 2 ? word & 0xFFFF0000u : word << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return (double)x;
}

/* Numbers of ordinary size; and, where wild, some that are none or that lie at an edge. (No product
 * overflows, for then it would matter whether a variant fuses.) */
static uint16_t any_half(bool wild)
{
    static const uint16_t bad[] = {0x7FC0, 0x7F80, 0xFF80, 0x5D5E, 0xDD5E, 0x0001, 0x8000};

    return wild && kc_rand() % 128 == 0 ? bad[kc_rand() % (sizeof bad / sizeof *bad)]
                                        : (uint16_t)((kc_rand() & 0x81FF) + 0x3E00);
}

static void fill_words(uint32_t *words, size_t n, bool wild)
{
    for (size_t i = 0; i < n; i++)
        words[i] = any_half(wild) | (uint32_t)any_half(wild) << 16;
}

static bool check_dots(const struct hd_scan_kernels *k, const struct hd_scan_kernels *portable)
{
    for (int round = 0; round < 1500; round++) {
        bool wild = round % 4 == 0;
        int64_t n = (int64_t)kc_length(150), pairs = (int64_t)(kc_rand() % 70);
        kc_rows_release();
        size_t columns = (size_t)(2 * pairs), words = (size_t)hd_scan_words(n, pairs);
        float *q = kc_row(columns, 4), *out = kc_row((size_t)n, 4), *want = kc_row((size_t)n, 4);
        uint32_t *panels = kc_row(words, 4);
        fill_words(panels, words, wild);
        if (wild)
            kc_poison(q, columns, 4);
        k->dot_rows(out, q, panels, n, pairs);
        portable->dot_rows(want, q, panels, n, pairs);
        for (int64_t i = 0; i < n; i++) {
            double sum = 0, mass = 0;
            for (int64_t c = 0; c < 2 * pairs; c++) {
                double term = (double)q[c] * column(panels, i, c, pairs);
                sum += term, mass += fabs(term);
            }
            if (wild ? !kc_same_kind((double)out[i], (double)want[i])
                     : !kc_near((double)out[i], sum, kc_gamma(columns, 4) * mass + kc_tiny(4)))
                return kc_fail("dot_rows %s n=%ld pairs=%ld i=%ld: got %.9g, want %.9g", k->name, (long)n,
                               (long)pairs, (long)i, (double)out[i], wild ? (double)want[i] : sum);
        }
        /* A row's bits do not depend on how many there are. */
        int64_t fewer = n > 0 ? (int64_t)(kc_rand() % (uint64_t)n) : 0;
        k->dot_rows(want, q, panels, fewer, pairs);
        if (!wild && fewer > 0 && memcmp(want, out, (size_t)fewer * sizeof *out) != 0)
            return kc_fail("dot_rows %s n=%ld pairs=%ld: the first %ld alone differ", k->name, (long)n,
                           (long)pairs, (long)fewer);
    }
    return true;
}

static bool check_at_least(const struct hd_scan_kernels *k)
{
    for (int round = 0; round < 1500; round++) {
        size_t n = kc_length(300), count = 0;
        kc_rows_release();
        float *x = kc_row(n, 4), least = (float)(round % 3 ? 4 * kc_unit() : round % 2 ? 9 : -9);
        uint8_t *hidden = kc_row(n, 1);
        int32_t *index = kc_row(n, 4);
        for (size_t i = 0; i < n; i++) {
            hidden[i] = (uint8_t)(hidden[i] % 3);
            if (kc_rand() % 8 == 0)
                x[i] = least;
        }
        kc_poison(x, n, 4);
        int64_t got = k->at_least(index, x, hidden, (int64_t)n, least);
        for (size_t i = 0; i < n; i++)
            if (!hidden[i] && x[i] >= least &&
                ((int64_t)count >= got || index[count++] != (int32_t)i))
                return kc_fail("at_least %s n=%zu least=%.9g: %zu is missing", k->name, n, (double)least, i);
        if (got != (int64_t)count)
            return kc_fail("at_least %s n=%zu: %ld places, not %zu", k->name, n, (long)got, count);
    }
    return true;
}

bool check_scan(const struct hd_scan_kernels *k)
{
    struct hd_scan_kernels portable;
    hd_scan_kernels_init(&portable, 0);
    bool good = check_dots(k, &portable) && check_at_least(k) && kc_rows_intact();
    printf("%s %s scan\n", good ? "ok  " : "FAIL", k->name);
    kc_rows_release();
    return good;
}

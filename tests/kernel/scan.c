/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan kernels against their definitions in double: dot products with woven bfloat16 rows, and the
 * places of the numbers that are large enough. */
#include "check.h"

#include <stdio.h>
#include <string.h>

/* Column c of a woven row. */
static double column(const uint32_t *row, int64_t c)
{
    uint32_t word = row[c / 32 * 16 + c % 16], u = c % 32 < 16 ? word << 16 : word & 0xFFFF0000u;
    float x;
    memcpy(&x, &u, sizeof x);
    return (double)x;
}

/* Any bits that are a number of ordinary size, or any bits at all. */
static void fill_words(uint32_t *words, size_t n, bool wild)
{
    for (size_t i = 0; i < n; i++)
        words[i] = wild && kc_rand() % 64 == 0 ? (uint32_t)kc_rand()
                                               : ((uint32_t)kc_rand() & 0x81FF81FFu) + 0x3E003E00u;
}

static bool check_dots(const struct hd_scan_kernels *k, const struct hd_scan_kernels *portable)
{
    for (int round = 0; round < 1500; round++) {
        bool wild = round % 4 == 0;
        int64_t n = (int64_t)kc_length(90), dim = HD_SCAN_COLUMNS * (int64_t)(kc_rand() % 6);
        int64_t row = dim / 2 + (int64_t)(kc_rand() % 3);
        kc_rows_release();
        /* The last row ends where dim ends, not where a next one would begin. */
        size_t words_count = n > 0 ? (size_t)((n - 1) * row + dim / 2) : 0;
        float *q = kc_row((size_t)dim, 4), *out = kc_row((size_t)n, 4), *want = kc_row((size_t)n, 4);
        uint32_t *rows = kc_row(words_count, 4);
        fill_words(rows, words_count, wild);
        if (wild)
            kc_poison(q, (size_t)dim, 4);
        k->dot_rows(out, q, rows, row, n, dim);
        portable->dot_rows(want, q, rows, row, n, dim);
        for (int64_t i = 0; i < n; i++) {
            double sum = 0, mass = 0;
            for (int64_t c = 0; c < dim; c++) {
                double term = (double)q[c] * column(rows + i * row, c);
                sum += term, mass += fabs(term);
            }
            if (wild ? !kc_same_kind((double)out[i], (double)want[i])
                     : !kc_near((double)out[i], sum, kc_gamma((size_t)dim, 4) * mass + kc_tiny(4)))
                return kc_fail("dot_rows %s n=%ld dim=%ld i=%ld: got %.9g, want %.9g", k->name, (long)n,
                               (long)dim, (long)i, (double)out[i], wild ? (double)want[i] : sum);
        }
        /* A row's bits do not depend on where it stands. */
        if (n > 1 && !wild) {
            int64_t i = (int64_t)(kc_rand() % (uint64_t)n);
            float alone;
            k->dot_rows(&alone, q, rows + i * row, row, 1, dim);
            if (memcmp(&alone, out + i, sizeof alone) != 0)
                return kc_fail("dot_rows %s n=%ld dim=%ld: row %ld alone is %.9g, not %.9g", k->name,
                               (long)n, (long)dim, (long)i, (double)alone, (double)out[i]);
        }
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

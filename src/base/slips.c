/* SPDX-License-Identifier: Apache-2.0
 *
 * Levenshtein's distance, a row at a time; it stops where no end below the limit can be reached. */
#include "base/slips.h"

#include <string.h>

#define WORD_BYTES_MAX 64 /* longer words are compared by their beginnings */

int hd_slips(const char *a, const char *b)
{
    size_t a_bytes = strnlen(a, WORD_BYTES_MAX), b_bytes = strnlen(b, WORD_BYTES_MAX);
    int row[WORD_BYTES_MAX + 1];

    if (a_bytes + HD_SLIPS_MAX < b_bytes || b_bytes + HD_SLIPS_MAX < a_bytes)
        return HD_SLIPS_MAX + 1;
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        int corner = row[0], best;
        best = row[0] = (int)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            int same = corner + (hd_lower(a[i - 1]) != hd_lower(b[j - 1]));
            corner = row[j];
            int step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = same < step ? same : step;
            best = row[j] < best ? row[j] : best;
        }
        if (best > HD_SLIPS_MAX)
            return best;
    }
    return a_bytes > 2 || row[b_bytes] == 0 ? row[b_bytes] : HD_SLIPS_MAX + 1;
}

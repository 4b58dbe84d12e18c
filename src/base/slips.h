/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a word is from the one that may have been meant. */
#ifndef HD_SLIPS_H
#define HD_SLIPS_H

#define HD_SLIPS_MAX 2 /* further apart they are different words */

/* Levenshtein's distance of two short texts, capital letters of ASCII aside; anything above
 * HD_SLIPS_MAX means far. A first word of one or two letters is a slip away from too much, so there
 * nothing is near but itself. */
int hd_slips(const char *a, const char *b);

/* ASCII alone: it is for comparing, not for writing. */
static inline unsigned char hd_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

#endif

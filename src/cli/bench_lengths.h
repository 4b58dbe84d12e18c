/* SPDX-License-Identifier: Apache-2.0
 *
 * Time and memory of forms of attention against length, from 64 to 65,536: the numbers, where they
 * cross, and a chart of them. */
#ifndef HD_BENCH_LENGTHS_H
#define HD_BENCH_LENGTHS_H

#include "cli/bench_forms.h"

enum { HD_LENGTHS = 11, HD_LENGTH_FORMS = 5 };

struct hd_lengths {
    int64_t L[HD_LENGTHS];
    const struct hd_form *form[HD_LENGTH_FORMS]; /* the first is what the others are held against */
    struct hd_timing timing[HD_LENGTH_FORMS][HD_LENGTHS];
    double mib[HD_LENGTH_FORMS][HD_LENGTHS]; /* inputs, results and scratch */
};

/* One sequence, one head of 64, causal, float32, one thread. */
enum { HD_LENGTHS_D = 64 };
HEED_CHECKED heed_status hd_lengths_measure(double seconds, struct hd_lengths *lengths);

/* From which length on form f is faster than the first, between the measured ones on a line through
 * their logarithms; 0: from the shortest on; -1: nowhere up to the longest. */
double hd_lengths_crossing(const struct hd_lengths *lengths, int f);
/* The same in a sentence. */
void hd_lengths_sentence(const struct hd_lengths *lengths, int f, char *out, size_t bytes);

HEED_CHECKED heed_status hd_lengths_chart(const struct hd_lengths *lengths, const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring along lengths, and saying where forms cross. No claim is made beyond what was measured. */
#include "cli/bench_lengths.h"

#include <inttypes.h>
#include <math.h>

#define SHORTEST 64
#define MIB (1.0 / (1 << 20))

static const char *const names[HD_LENGTH_FORMS] = {"dense", "window", "lsh", "linear", "cached"};

static heed_status measure_one(const struct hd_form *form, int64_t L, double seconds,
                               struct hd_timing *timing, double *mib)
{
    struct hd_form_job job = {.form = form,
                              .shape = {.B = 1, .H = 1, .L = L, .D = HD_LENGTHS_D},
                              .dtype = HEED_F32,
                              .causal = true};
    heed_status status = hd_form_prepare(&job);

    if (status == HEED_OK)
        status = hd_bench_few_runs(hd_form_run, &job, seconds, 1, timing);
    *mib = (double)job.bytes * MIB;
    hd_form_clear(&job);
    return status;
}

heed_status hd_lengths_measure(double seconds, struct hd_lengths *lengths)
{
    for (int i = 0; i < HD_LENGTHS; i++)
        lengths->L[i] = (int64_t)SHORTEST << i;
    for (int f = 0; f < HD_LENGTH_FORMS; f++) {
        lengths->form[f] = hd_form_find(names[f]);
        for (int i = 0; i < HD_LENGTHS; i++)
            HD_TRY(measure_one(lengths->form[f], lengths->L[i], seconds, &lengths->timing[f][i],
                               &lengths->mib[f][i]));
    }
    return HEED_OK;
}

double hd_lengths_crossing(const struct hd_lengths *lengths, int f)
{
    double gain[HD_LENGTHS]; /* logarithm of how many times as fast as the first */
    int i = HD_LENGTHS;

    for (int j = 0; j < HD_LENGTHS; j++)
        gain[j] = log(lengths->timing[0][j].ms / lengths->timing[f][j].ms);
    while (i > 0 && gain[i - 1] > 0)
        i--;
    if (i == 0 || i == HD_LENGTHS)
        return i ? -1 : 0;
    double part = gain[i - 1] / (gain[i - 1] - gain[i]);
    return (double)lengths->L[i - 1] * pow((double)lengths->L[i] / (double)lengths->L[i - 1], part);
}

void hd_lengths_sentence(const struct hd_lengths *lengths, int f, char *out, size_t bytes)
{
    const char *name = lengths->form[f]->name, *first = lengths->form[0]->name;
    double crossing = hd_lengths_crossing(lengths, f);
    double times = lengths->timing[0][HD_LENGTHS - 1].ms / lengths->timing[f][HD_LENGTHS - 1].ms;
    const char *longest = hd_thousands(lengths->L[HD_LENGTHS - 1]);

    if (crossing < 0)
        snprintf(out, bytes, "%s is not faster than %s up to %s positions.", name, first, longest);
    else if (crossing == 0)
        snprintf(out, bytes, "%s is faster than %s from %d positions on, %.3g times at %s.", name,
                 first, SHORTEST, times, longest);
    else
        snprintf(out, bytes, "%s is faster than %s from about %s positions on, %.3g times at %s.",
                 name, first, hd_thousands((int64_t)(crossing / 10 + 0.5) * 10), times, longest);
}

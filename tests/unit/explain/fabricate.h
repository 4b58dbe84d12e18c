/* SPDX-License-Identifier: Apache-2.0
 *
 * An explanation that no model gave, for the tests of the page and the picture: titles of a town,
 * contributions that fade with age, attention that looks back at what is alike. */
#ifndef FABRICATE_H
#define FABRICATE_H

#include "base/random.h"
#include "heed/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FABRICATED_MAX 256

struct fabricated {
    heed_explanation e;
    heed_reason history[FABRICATED_MAX], reasons[FABRICATED_MAX];
    char ids[FABRICATED_MAX][8];
    float *maps;
};

static int compare_reasons(const void *left, const void *right)
{
    const heed_reason *a = left, *b = right;
    return (a->contribution < b->contribution) - (a->contribution > b->contribution);
}

static inline void fabricate(struct fabricated *f, int events, int layers, int heads, bool times)
{
    static const char *const titles[] = {"The lamp keeper's diary, part 1",
                                         "Night train runs again",
                                         "Salt road gives up a secret",
                                         "River market opens late",
                                         "The lamp keeper's diary, part 2",
                                         "Sourdough loaf starts the night before",
                                         "Northern light surprises the amateurs",
                                         "Village choir learns a new song this spring",
                                         "Harbour tram gets a new timetable after the flood",
                                         "Lighthouse gets its name back",
                                         "Islands by ferry, part 1",
                                         "Climbing rose wants less water",
                                         "The lamp keeper's diary, part 3",
                                         "Old observatory fits in a rucksack",
                                         "Ferry to the islands is late and loved",
                                         "Meteor shower needs only patience"};
    heed_rng rng = hd_rng(12, (uint64_t)events);

    *f = (struct fabricated){0};
    for (int i = 0; i < events; i++) {
        int title = (int)hd_random_below(&rng, 16), age = events - i;
        double close = title % 4 == 0 ? 0.9 : title % 4 == 2 ? 0.35 : -0.08;
        snprintf(f->ids[i], sizeof f->ids[i], "i%d", i + 1);
        f->history[i] = (heed_reason){
            .item = f->ids[i],
            .title = titles[title],
            .when = times ? INT64_C(1773500000000) + i * INT64_C(17000000) : 0,
            .contribution = (close + 0.15 * hd_random_normal(&rng)) * exp(-age / 14.0)};
        f->reasons[i] = f->history[i];
    }
    qsort(f->reasons, (size_t)events, sizeof *f->reasons, compare_reasons);
    f->maps = calloc((size_t)layers * heads * events * events + 1, sizeof *f->maps);
    for (int m = 0; f->maps && m < layers * heads; m++) {
        for (int t = 0; t < events; t++) {
            float *row = f->maps + ((size_t)m * events + t) * events, sum = 0;
            for (int s = 0; s <= t; s++) {
                double alike = f->history[t].title[0] == f->history[s].title[0] ? 1.8 : 0;
                row[s] = (float)exp(alike * (m % 2) - (t - s) * 0.25 / (m + 1) +
                                    0.5 * hd_random_normal(&rng));
                sum += row[s];
            }
            for (int s = 0; s <= t; s++)
                row[s] /= sum;
        }
    }
    f->e = (heed_explanation){.user = "u17",
                              .item = "i188",
                              .title = "The lamp keeper's diary, part 4",
                              .method = "leave-one-out",
                              .score = -1.872,
                              .probability = 0.1538,
                              .rank = 2,
                              .counterfactual_rank = 14,
                              .counterfactual_item = f->reasons[0].item,
                              .reasons = f->reasons,
                              .reason_count = events,
                              .comprehensiveness = 0.0931,
                              .sufficiency = 0.0214,
                              .random_comprehensiveness = 0.0127,
                              .random_sufficiency = 0.0988,
                              .history = f->history,
                              .history_count = events,
                              .layers = layers,
                              .heads = heads,
                              .maps = f->maps};
}

#endif

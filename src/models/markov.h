/* SPDX-License-Identifier: Apache-2.0
 *
 * What followed what: a Markov chain over items, the second floor that a model has to stand above.
 *
 *     score(b) = sum_k  last_decay^k  (C(a_k, b) + smoothing p(b)) / (N(a_k) + smoothing)
 *
 * a_0 is the latest item of a history, a_1 the one before it, and so on for `last` items; C(a, b)
 * is how often b came after a among what a model may learn from, a distance of d + 1 events
 * counting window_decay^d up to `window`; N(a) is the row's sum; p is popularity, so that items
 * which never followed a_k are in the order of their counts instead of tied.
 *
 * The first-order chain (all options zero) is the published baseline. A window of ten and the last
 * ten items, both with decay 0.8, is much stronger and costs as little (ml-1m: NDCG@10 0.158
 * against 0.126), so it is worth a look beside any trained model.
 *
 * Source  the first-order chain: Rendle et al. 2010, "Factorizing personalized Markov chains", 3;
 *         windows: Ludewig, Jannach 2018, "Evaluation of session-based recommendation algorithms",
 *         sequential rules. */
#ifndef HD_MARKOV_H
#define HD_MARKOV_H

#include "base/status.h"
#include "models/evaluate.h"
#include "models/histories.h"

struct hd_markov_opts {
    int window;          /* 0: 1 */
    int last;            /* 0: 1 */
    double window_decay; /* 0: 1 */
    double last_decay;   /* 0: 1 */
    double smoothing;    /* 0: 1 event */
};

#define HD_MARKOV_WINDOW_MAX 64 /* memory during the count grows with it */

/* Rows of followers, sparse. immutable once made. */
struct hd_markov {
    int64_t items;
    struct hd_markov_opts opts; /* as used */
    int64_t *offset;            /* items + 1 */
    int32_t *follower;          /* offset[items], rising within a row */
    float *weight;              /* as many: C */
    double *total;              /* items: N */
    float *popularity;          /* items: p, sums to 1 (all zero without events) */
};

HEED_CHECKED heed_status hd_markov_init(struct hd_markov *markov,
                                        const struct hd_histories *histories,
                                        const struct hd_markov_opts *opts);
void hd_markov_clear(struct hd_markov *markov);

/* A scorer (evaluate.h); context is a struct hd_markov. */
heed_status hd_markov_score(void *markov, int worker, const struct hd_question *question,
                            float *scores);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Why this item: what each event of a history did to the score of one target, and how far that
 * account can be trusted. Plain functions over a scoring callback; no model, store or clock.
 *
 * Only contributions are called reasons. A contribution comes either from the model (gradient x
 * attention, given by the caller) or from leaving the event out and scoring again, which is the
 * definition of the truth here (DeYoung et al. 2020; Liu et al. 2022). An event is left out by
 * deleting it, its neighbours keep their times and places; the shortened history is one the model may never
 * have met, so every number is printed beside the same number for a random order. */
#ifndef HD_EXPLAIN_H
#define HD_EXPLAIN_H

#include "base/status.h"

/* How the target stands for some history. */
struct hd_outcome {
    double score;       /* what contributions are differences of; see hd_score_fn */
    double probability; /* softmax over the catalogue: what the metrics are made of */
    int64_t rank;       /* from 1 */
};

/* Some events of the history: rising indices, 0 .. history - 1. */
struct hd_subset {
    const int32_t *kept;
    int64_t count; /* at least 1 */
};

/* Scores the target for each subset; called with all subsets of one phase, so that it may share
 * them out over threads. `score` is best the logarithm of the probability: a logit that rises with
 * all other logits has changed nothing. */
typedef heed_status (*hd_score_fn)(void *context, const struct hd_subset *subsets, int64_t count,
                                   struct hd_outcome *outcomes);

struct hd_explain_question {
    int64_t history; /* events the model saw; 1 .. 4,096 */
    hd_score_fn score;
    void *context;
    struct hd_outcome empty;     /* how the target stands with no history at all: the callback is
                                    never asked for that; probability 1 / items if nothing better */
    const double *contributions; /* (history), from the model; NULL: exact, by leaving one out */
    bool compare;  /* also leave one out, to hold the given contributions against it */
    int draws;     /* random orders to average over; 0: 10 */
    int curve;     /* steps of the deletion curve; 0: none */
    uint64_t seed; /* of the random orders */
};

/* Shares of the history, in percent, over which comprehensiveness and sufficiency are averaged. */
#define HD_AOPC_SHARES 5
extern const int hd_aopc_percent[HD_AOPC_SHARES]; /* 1, 5, 10, 20, 50 */

/* comprehensiveness: mean over the shares of p(all) - p(all but the strongest); higher is better.
 * sufficiency: mean of p(all) - p(the strongest alone); lower is better. */
struct hd_faithfulness {
    double comprehensiveness, sufficiency;
    double deletion_auc; /* area under p against the share removed; lower is better; 0: no curve */
};

struct hd_explain_answer {
    int64_t history;
    struct hd_outcome whole;
    double *contributions; /* (history): the given ones, or the exact ones */
    double *exact;         /* (history), or NULL where nothing was left out */
    int32_t *order;        /* (history): the most positive contribution first; ties: latest first */
    struct hd_outcome counterfactual; /* without order[0] */
    struct hd_faithfulness own, random;
    double *curve, *random_curve; /* (curve + 1): p after 0, 1, .. steps; NULL: none */
    double violation_ratio;       /* share of events whose sign is wrong; -1: not compared */
    double kendall_tau; /* of the given order with the exact one, tau-b; 0 where undefined */
};

/* Cost  history (exact or compare) + 10 (1 + draws) + curve (1 + draws) scorings.
 * Undone by hd_explain_answer_clear(); on failure *answer is all zero. */
HEED_CHECKED heed_status hd_explain(const struct hd_explain_question *question,
                                    struct hd_explain_answer *answer);
void hd_explain_answer_clear(struct hd_explain_answer *answer);

/* tau-b (Kendall 1945): 1 the same order, -1 reversed; ties count for neither side. 0 where one
 * side is all ties. O(n^2): n is a history. */
double hd_kendall_tau(const double *a, const double *b, int64_t n);
/* Share of the events whose effect is not nothing (|exact| > slack) and whose given sign is the
 * wrong one; a given 0 counts as wrong. 0 where no event has an effect. Liu et al. 2022. */
double hd_violation_ratio(const double *given, const double *exact, int64_t n, double slack);

#endif

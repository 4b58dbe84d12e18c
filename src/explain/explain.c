/* SPDX-License-Identifier: Apache-2.0
 *
 * Contributions, what would be without them, and how far they can be trusted (see explain.h). All
 * subsets of one phase are made first and scored in one call, so that the callback may share them
 * out; the sums run in index order, so the answer does not depend on how it does. */
#include "explain/explain.h"
#include "base/memory.h"
#include "base/random.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAWS 10 /* random orders, where the caller does not say */
#define DRAWS_MAX 1000
#define CURVE_MAX 1000
#define HISTORY_MAX 4096 /* events; leaving one out makes a square of them: 64 MiB */

const int hd_aopc_percent[HD_AOPC_SHARES] = {1, 5, 10, 20, 50};

/* ---- sets of subsets: filled, then scored at once */
struct batch {
    struct hd_subset *subsets; /* (room) */
    struct hd_outcome *outcomes;
    int32_t *kept; /* (kept_room) */
    int64_t count, room, kept_used, kept_room;
};

static heed_status batch_init(struct batch *batch, int64_t subsets, int64_t kept)
{
    *batch = (struct batch){.room = subsets, .kept_room = kept};
    batch->subsets = hd_alloc((size_t)subsets, sizeof *batch->subsets);
    batch->outcomes = hd_alloc((size_t)subsets, sizeof *batch->outcomes);
    batch->kept = hd_alloc((size_t)kept, sizeof *batch->kept);
    if (!batch->subsets || !batch->outcomes || !batch->kept)
        return hd_fail(HEED_E_NOMEM, "explain: no memory for %lld histories", (long long)subsets);
    return HEED_OK;
}

static void batch_clear(struct batch *batch)
{
    hd_free(batch->subsets), hd_free(batch->outcomes), hd_free(batch->kept);
    *batch = (struct batch){0};
}

/* The events whose `in` is what is wanted, in their order. */
static void batch_add(struct batch *batch, const bool *in, bool wanted, int64_t history)
{
    struct hd_subset *subset = &batch->subsets[batch->count++];
    int32_t *kept = batch->kept + batch->kept_used;

    assert(batch->count <= batch->room);
    *subset = (struct hd_subset){kept, 0};
    for (int64_t i = 0; i < history; i++)
        if (in[i] == wanted)
            kept[subset->count++] = (int32_t)i;
    batch->kept_used += subset->count;
    assert(batch->kept_used <= batch->kept_room);
}

static bool sane(const struct hd_outcome *outcome)
{
    return isfinite(outcome->score) && outcome->probability >= 0.0 &&
           outcome->probability <= 1.0 + 1e-6 && outcome->rank >= 1;
}

/* Scores the subsets that hold something; the empty one is the question's to know. They go to the
 * front in one run, as the callback takes an array, and their outcomes come back to their places.
 */
static heed_status batch_score(struct batch *batch, const struct hd_explain_question *q)
{
    int64_t asked = 0;
    struct hd_subset *ask = hd_alloc((size_t)batch->count + 1, sizeof *ask);
    struct hd_outcome *got = hd_alloc((size_t)batch->count + 1, sizeof *got);
    heed_status status = HEED_OK;

    if (!ask || !got) {
        status =
            hd_fail(HEED_E_NOMEM, "explain: no memory for %lld histories", (long long)batch->count);
        goto done;
    }
    for (int64_t i = 0; i < batch->count; i++)
        if (batch->subsets[i].count)
            ask[asked++] = batch->subsets[i];
    if (asked && (status = q->score(q->context, ask, asked, got)) != HEED_OK)
        goto done;
    asked = 0;
    for (int64_t i = 0; i < batch->count; i++) {
        batch->outcomes[i] = batch->subsets[i].count ? got[asked++] : q->empty;
        if (!sane(&batch->outcomes[i])) {
            status = hd_fail(HEED_E_INVARIANT,
                             "explain: the score is %g, the probability %g, the rank %lld",
                             batch->outcomes[i].score, batch->outcomes[i].probability,
                             (long long)batch->outcomes[i].rank);
            break;
        }
    }
done:
    hd_free(ask), hd_free(got);
    return status;
}

/* ---- orders */
struct ranked {
    double contribution;
    int32_t event;
};

/* The most positive first; of equal ones the latest event. */
static int compare_ranked(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;

    if (a->contribution != b->contribution)
        return a->contribution > b->contribution ? -1 : 1;
    return (a->event < b->event) - (a->event > b->event);
}

static heed_status order_by(const double *contributions, int64_t n, int32_t *order)
{
    struct ranked *ranked = hd_alloc((size_t)n, sizeof *ranked);

    if (!ranked)
        return hd_fail(HEED_E_NOMEM, "explain: no memory for %lld events", (long long)n);
    for (int64_t i = 0; i < n; i++)
        ranked[i] = (struct ranked){contributions[i], (int32_t)i};
    qsort(ranked, (size_t)n, sizeof *ranked, compare_ranked);
    for (int64_t i = 0; i < n; i++)
        order[i] = ranked[i].event;
    hd_free(ranked);
    return HEED_OK;
}

/* Fisher and Yates. */
static void shuffle(heed_rng *rng, int32_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)hd_random_below(rng, (uint64_t)i + 1);
        int32_t other = order[j];
        order[j] = order[i], order[i] = other;
    }
}

/* How many events the share of them is, at least one: ceil(n percent / 100). */
static int64_t share_of(int64_t n, int64_t part, int64_t whole)
{
    return (n * part + whole - 1) / whole;
}

/* ---- leaving one out */
static heed_status leave_one_out(const struct hd_explain_question *q, double whole, double *exact)
{
    int64_t n = q->history;
    struct batch batch = {0};
    bool *in = hd_alloc((size_t)n, sizeof *in);
    heed_status status =
        in ? batch_init(&batch, n, n * n)
           : hd_fail(HEED_E_NOMEM, "explain: no memory for %lld events", (long long)n);

    for (int64_t i = 0; status == HEED_OK && i < n; i++) {
        memset(in, 1, (size_t)n * sizeof *in);
        in[i] = false;
        batch_add(&batch, in, true, n);
    }
    if (status == HEED_OK)
        status = batch_score(&batch, q);
    for (int64_t i = 0; status == HEED_OK && i < n; i++)
        exact[i] = whole - batch.outcomes[i].score;
    hd_free(in);
    batch_clear(&batch);
    return status;
}

/* ---- faithfulness of one order */
struct judged {
    struct hd_faithfulness faith;
    double *curve; /* (curve + 1), or NULL */
};

/* One order: for each share the history without its first events, and those alone; then the steps
 * of the deletion curve, 1 .. curve. */
static heed_status judge(const struct hd_explain_question *q, const int32_t *order, double whole,
                         bool *in, struct judged *out)
{
    int64_t n = q->history, at = 0;
    struct batch batch;
    heed_status status =
        batch_init(&batch, 2 * HD_AOPC_SHARES + q->curve, n * (HD_AOPC_SHARES + q->curve));

    if (status != HEED_OK)
        goto done;
    for (int s = 0; s < HD_AOPC_SHARES + q->curve; s++) {
        bool curve = s >= HD_AOPC_SHARES;
        int64_t gone = curve ? share_of(n, s - HD_AOPC_SHARES + 1, q->curve)
                             : share_of(n, hd_aopc_percent[s], 100);
        memset(in, 0, (size_t)n * sizeof *in);
        for (int64_t i = 0; i < gone; i++)
            in[order[i]] = true;
        batch_add(&batch, in, false, n);
        if (!curve)
            batch_add(&batch, in, true, n);
    }
    if ((status = batch_score(&batch, q)) != HEED_OK)
        goto done;
    for (int s = 0; s < HD_AOPC_SHARES; s++, at += 2) {
        out->faith.comprehensiveness += (whole - batch.outcomes[at].probability) / HD_AOPC_SHARES;
        out->faith.sufficiency += (whole - batch.outcomes[at + 1].probability) / HD_AOPC_SHARES;
    }
    if (q->curve) {
        double last = whole;
        out->curve[0] += whole;
        for (int s = 1; s <= q->curve; s++) {
            double p = batch.outcomes[at + s - 1].probability;
            out->faith.deletion_auc += 0.5 * (last + p) / q->curve;
            out->curve[s] += last = p;
        }
    }
done:
    batch_clear(&batch);
    return status;
}

static heed_status judge_random(const struct hd_explain_question *q, int draws, double whole,
                                int32_t *order, bool *in, struct judged *out)
{
    for (int draw = 0; draw < draws; draw++) {
        heed_rng rng = hd_rng(q->seed, (uint64_t)draw);
        shuffle(&rng, order, q->history);
        HD_TRY(judge(q, order, whole, in, out));
    }
    out->faith.comprehensiveness /= draws;
    out->faith.sufficiency /= draws;
    out->faith.deletion_auc /= draws;
    for (int s = 0; out->curve && s <= q->curve; s++)
        out->curve[s] /= draws;
    return HEED_OK;
}

/* ---- the whole answer */
static heed_status check(const struct hd_explain_question *q)
{
    if (!q->score)
        return hd_fail(HEED_E_ARG, "explain: no scoring callback");
    if (q->history < 1 || q->history > HISTORY_MAX)
        return hd_fail(HEED_E_ARG, "explain: a history of %lld events, not 1 to %d",
                       (long long)q->history, HISTORY_MAX);
    if (q->draws < 0 || q->draws > DRAWS_MAX)
        return hd_fail(HEED_E_ARG, "explain: draws is %d, not 0 to %d", q->draws, DRAWS_MAX);
    if (q->curve < 0 || q->curve > CURVE_MAX)
        return hd_fail(HEED_E_ARG, "explain: curve is %d, not 0 to %d", q->curve, CURVE_MAX);
    if (!sane(&q->empty))
        return hd_fail(HEED_E_ARG, "explain: the outcome of no history is not one");
    for (int64_t i = 0; q->contributions && i < q->history; i++)
        if (!isfinite(q->contributions[i]))
            return hd_fail(HEED_E_ARG, "explain: contribution %lld is not finite", (long long)i);
    return HEED_OK;
}

/* The target with the whole history and, where an order is given, without its first event. */
static heed_status score_two(const struct hd_explain_question *q, bool *in, const int32_t *order,
                             struct hd_outcome *outcome)
{
    struct batch batch;
    heed_status status = batch_init(&batch, 1, q->history);

    memset(in, 1, (size_t)q->history * sizeof *in);
    if (order)
        in[order[0]] = false;
    if (status == HEED_OK) {
        batch_add(&batch, in, true, q->history);
        status = batch_score(&batch, q);
    }
    if (status == HEED_OK)
        *outcome = batch.outcomes[0];
    batch_clear(&batch);
    return status;
}

heed_status hd_explain(const struct hd_explain_question *q, struct hd_explain_answer *out)
{
    struct hd_explain_answer a = {.history = q->history, .violation_ratio = -1.0};
    size_t n = (size_t)q->history;
    bool exact = !q->contributions || q->compare, *in = NULL;
    int32_t *random_order = NULL;
    heed_status status;

    *out = (struct hd_explain_answer){0};
    HD_TRY(check(q));
    in = hd_alloc(n, sizeof *in);
    random_order = hd_alloc(n, sizeof *random_order);
    a.contributions = hd_alloc(n, sizeof *a.contributions);
    a.order = hd_alloc(n, sizeof *a.order);
    a.exact = exact ? hd_alloc(n, sizeof *a.exact) : NULL;
    a.curve = q->curve ? hd_alloc((size_t)q->curve + 1, sizeof *a.curve) : NULL;
    a.random_curve = q->curve ? hd_alloc((size_t)q->curve + 1, sizeof *a.curve) : NULL;
    if (!in || !random_order || !a.contributions || !a.order || (exact && !a.exact) ||
        (q->curve && (!a.curve || !a.random_curve))) {
        status = hd_fail(HEED_E_NOMEM, "explain: no memory for %zu events", n);
        goto done;
    }
    if ((status = score_two(q, in, NULL, &a.whole)) != HEED_OK)
        goto done;
    if (exact && (status = leave_one_out(q, a.whole.score, a.exact)) != HEED_OK)
        goto done;
    memcpy(a.contributions, q->contributions ? q->contributions : a.exact,
           n * sizeof *a.contributions);
    if ((status = order_by(a.contributions, q->history, a.order)) != HEED_OK ||
        (status = score_two(q, in, a.order, &a.counterfactual)) != HEED_OK)
        goto done;

    struct judged own = {.curve = a.curve}, random = {.curve = a.random_curve};
    if ((status = judge(q, a.order, a.whole.probability, in, &own)) != HEED_OK ||
        (status = judge_random(q, q->draws ? q->draws : DRAWS, a.whole.probability, random_order,
                               in, &random)) != HEED_OK)
        goto done;
    a.own = own.faith, a.random = random.faith;
    if (a.exact) {
        /* A change in the last bits of a float score has no sign worth speaking of. */
        a.violation_ratio = hd_violation_ratio(a.contributions, a.exact, q->history,
                                               1e-5 * (1.0 + fabs(a.whole.score)));
        a.kendall_tau = hd_kendall_tau(a.contributions, a.exact, q->history);
    }
    *out = a, a = (struct hd_explain_answer){0};
done:
    hd_free(in), hd_free(random_order);
    hd_explain_answer_clear(&a);
    return status;
}

void hd_explain_answer_clear(struct hd_explain_answer *answer)
{
    hd_free(answer->contributions), hd_free(answer->exact), hd_free(answer->order);
    hd_free(answer->curve), hd_free(answer->random_curve);
    *answer = (struct hd_explain_answer){0};
}

/* tau-b = (concordant - discordant) / sqrt(pairs not tied in a x pairs not tied in b) */
double hd_kendall_tau(const double *a, const double *b, int64_t n)
{
    int64_t agree = 0, a_pairs = 0, b_pairs = 0;

    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i + 1; j < n; j++) {
            int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
            agree += x * y;
            a_pairs += x != 0, b_pairs += y != 0;
        }
    }
    return a_pairs && b_pairs ? (double)agree / sqrt((double)a_pairs * (double)b_pairs) : 0.0;
}

double hd_violation_ratio(const double *given, const double *exact, int64_t n, double slack)
{
    int64_t wrong = 0, counted = 0;

    for (int64_t i = 0; i < n; i++) {
        if (!(fabs(exact[i]) > slack))
            continue;
        counted++;
        wrong += exact[i] > 0 ? !(given[i] > 0) : !(given[i] < 0);
    }
    return counted ? (double)wrong / (double)counted : 0.0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reasons against models whose reasons are known: an additive one, where leaving an event out takes
 * exactly its weight; one of two events that only count together; and callbacks that fail. */
#include "base/random.h"
#include "explain/explain.h"
#include "explain/page.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

#define N 40

/* score = bias + the sum of the weights kept; the probability rises with it, the rank falls. */
struct additive {
    double bias, weights[N];
    int64_t asked, calls, fail_at;
    bool nan;
};

static struct hd_outcome outcome_of(double score)
{
    double p = 1.0 / (1.0 + exp(-score));
    return (struct hd_outcome){score, p, isnan(p) ? 1 : 1 + (int64_t)(1000.0 * (1.0 - p))};
}

static heed_status add_up(void *context, const struct hd_subset *subsets, int64_t count,
                          struct hd_outcome *outcomes)
{
    struct additive *m = context;

    m->calls++;
    for (int64_t s = 0; s < count; s++) {
        double score = m->bias;
        assert_true(subsets[s].count >= 1 && subsets[s].count <= N);
        for (int64_t i = 0; i < subsets[s].count; i++) {
            assert_true(!i || subsets[s].kept[i] > subsets[s].kept[i - 1]); /* in their order */
            score += m->weights[subsets[s].kept[i]];
        }
        outcomes[s] = outcome_of(m->nan ? (double)NAN : score);
        if (++m->asked == m->fail_at)
            return hd_fail(HEED_E_CANCELLED, "the model went away");
    }
    return HEED_OK;
}

static struct hd_explain_question ask(struct additive *m, int64_t history)
{
    return (struct hd_explain_question){
        .history = history, .score = add_up, .context = m, .empty = outcome_of(m->bias), .seed = 4};
}

static void fill(struct additive *m, uint64_t seed)
{
    heed_rng rng = hd_rng(seed, 0);

    *m = (struct additive){.bias = -2.0};
    for (int i = 0; i < N; i++)
        m->weights[i] = 0.4 * hd_random_normal(&rng);
}

static void test_additive(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct additive m;
        struct hd_explain_answer a;
        fill(&m, seed);
        struct hd_explain_question q = ask(&m, N);
        q.curve = 20;
        assert_int_equal(hd_explain(&q, &a), HEED_OK);
        for (int i = 0; i < N; i++)
            assert_true(fabs(a.contributions[i] - m.weights[i]) < 1e-12);
        for (int i = 1; i < N; i++)
            assert_true(a.contributions[a.order[i]] <= a.contributions[a.order[i - 1]]);
        assert_true(fabs(a.counterfactual.score - (a.whole.score - m.weights[a.order[0]])) < 1e-12);
        assert_true(a.counterfactual.rank >= a.whole.rank);
        /* The true order takes more, and keeps more, than chance does. */
        assert_true(a.own.comprehensiveness > a.random.comprehensiveness);
        assert_true(a.own.sufficiency < a.random.sufficiency);
        assert_true(a.own.deletion_auc < a.random.deletion_auc);
        assert_true(a.violation_ratio == 0.0 && a.kendall_tau == 1.0);
        assert_true(a.curve[0] == a.whole.probability);
        assert_true(fabs(a.curve[20] - q.empty.probability) < 1e-12);
        assert_true(fabs(a.random_curve[20] - q.empty.probability) < 1e-12);
        hd_explain_answer_clear(&a);
        assert_null(a.order);
    }
}

/* The same numbers by hand, for two events: shares of 1 to 50 % are one event each time. */
static void test_by_hand(void **state)
{
    (void)state;
    struct additive m = {.bias = 0, .weights = {1.0, -0.5}};
    struct hd_explain_question q = ask(&m, 2);
    struct hd_explain_answer a;

    assert_int_equal(hd_explain(&q, &a), HEED_OK);
    double whole = outcome_of(0.5).probability;
    assert_true(fabs(a.own.comprehensiveness - (whole - outcome_of(-0.5).probability)) < 1e-12);
    assert_true(fabs(a.own.sufficiency - (whole - outcome_of(1.0).probability)) < 1e-12);
    assert_true(a.own.deletion_auc == 0.0 && !a.curve);
    assert_int_equal(a.order[0], 0);
    assert_int_equal(a.order[1], 1);
    hd_explain_answer_clear(&a);
}

/* Given contributions are used as they are, and held against the exact ones on request. */
static void test_given(void **state)
{
    (void)state;
    struct additive m;
    struct hd_explain_answer good, bad, plain;
    double given[N], reversed[N];

    fill(&m, 77);
    for (int i = 0; i < N; i++)
        given[i] = 3.0 * m.weights[i], reversed[i] = -m.weights[i];
    struct hd_explain_question q = ask(&m, N);
    q.contributions = given, q.compare = true;
    assert_int_equal(hd_explain(&q, &good), HEED_OK);
    q.contributions = reversed;
    assert_int_equal(hd_explain(&q, &bad), HEED_OK);
    assert_true(good.violation_ratio == 0.0 && good.kendall_tau == 1.0);
    assert_true(bad.violation_ratio == 1.0 && bad.kendall_tau == -1.0);
    assert_true(good.own.comprehensiveness > bad.own.comprehensiveness);
    assert_true(good.contributions[3] == given[3]);
    /* The control is the same, whatever it is held against. */
    assert_true(good.random.comprehensiveness == bad.random.comprehensiveness);

    int64_t before = m.asked;
    q.compare = false, q.draws = 2;
    assert_int_equal(hd_explain(&q, &plain), HEED_OK);
    assert_true(plain.violation_ratio == -1.0 && !plain.exact);
    assert_int_equal(m.asked - before, 2 + 10 * 3); /* whole, counterfactual, 10 an order */
    hd_explain_answer_clear(&good), hd_explain_answer_clear(&bad);
    hd_explain_answer_clear(&plain);
}

/* One event: without it there is nothing, and the callback is never asked for that. */
static void test_one_event(void **state)
{
    (void)state;
    struct additive m = {.bias = -1, .weights = {2.0}};
    struct hd_explain_question q = ask(&m, 1);
    struct hd_explain_answer a;

    q.curve = 3;
    assert_int_equal(hd_explain(&q, &a), HEED_OK);
    assert_true(fabs(a.contributions[0] - 2.0) < 1e-12);
    assert_true(a.counterfactual.rank == q.empty.rank);
    assert_true(fabs(a.own.comprehensiveness - (a.whole.probability - q.empty.probability)) <
                1e-12);
    assert_true(fabs(a.own.sufficiency) < 1e-12);
    hd_explain_answer_clear(&a);
}

/* Each scoring fails once; a NaN is not passed on; nothing is left in the answer. */
static void test_failures(void **state)
{
    (void)state;
    struct hd_explain_answer a;
    int64_t last = 0;

    for (int64_t at = 1;; at++) {
        struct additive m;
        fill(&m, 5);
        m.fail_at = at;
        struct hd_explain_question q = ask(&m, 6);
        q.draws = 2;
        if (hd_explain(&q, &a) == HEED_OK)
            break;
        assert_string_equal(heed_error_message(), "the model went away");
        assert_null(a.contributions);
        last = at;
    }
    assert_int_equal(last, 1 + 6 + 1 + 30);
    hd_explain_answer_clear(&a);

    struct additive m = {.nan = true};
    struct hd_explain_question q = ask(&m, 6);
    assert_int_equal(hd_explain(&q, &a), HEED_E_INVARIANT);
}

static void test_arguments(void **state)
{
    (void)state;
    struct additive m = {0};
    const double not_finite[2] = {1.0, (double)INFINITY};
    static const struct row {
        const char *name;
        int64_t history;
        int draws, curve;
        bool no_score, no_empty, infinite;
    } rows[] = {
        {"no history", 0, 0, 0, false, false, false},
        {"too long a history", 4097, 0, 0, false, false, false},
        {"fewer than no draws", 2, -1, 0, false, false, false},
        {"too many draws", 2, 1001, 0, false, false, false},
        {"too fine a curve", 2, 0, 1001, false, false, false},
        {"no callback", 2, 0, 0, true, false, false},
        {"nothing known of no history", 2, 0, 0, false, true, false},
        {"a contribution that is no number", 2, 0, 0, false, false, true},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_explain_question q = ask(&m, r->history);
        struct hd_explain_answer a;
        print_message("# %s\n", r->name);
        q.draws = r->draws, q.curve = r->curve;
        if (r->no_score)
            q.score = NULL;
        if (r->no_empty)
            q.empty = (struct hd_outcome){0};
        if (r->infinite)
            q.contributions = not_finite;
        assert_int_equal(hd_explain(&q, &a), HEED_E_ARG);
        assert_int_equal(m.calls, 0);
    }
}

static void test_measures(void **state)
{
    (void)state;
    static const double a[] = {1, 2, 3, 4}, b[] = {1, 3, 2, 4}, tied[] = {1, 1, 2, 2},
                        flat[] = {5, 5, 5, 5}, signs[] = {1, -1, 0, 1}, exact[] = {2, 3, 1, 1e-9};

    assert_true(fabs(hd_kendall_tau(a, b, 4) - 4.0 / 6.0) < 1e-15); /* one pair of six turned */
    assert_true(fabs(hd_kendall_tau(a, tied, 4) - 4.0 / sqrt(24.0)) < 1e-15);
    assert_true(hd_kendall_tau(a, flat, 4) == 0.0 && hd_kendall_tau(a, b, 1) == 0.0);
    /* right; wrong; nothing said where something was; too small to count */
    assert_true(fabs(hd_violation_ratio(signs, exact, 4, 1e-6) - 2.0 / 3.0) < 1e-15);
    assert_true(hd_violation_ratio(signs, flat, 0, 0) == 0.0);
}

/* The n-th allocation fails, for every n until an explanation and its page go well. */
static struct {
    int64_t left, held;
} heap;

static void *failing_resize(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (!bytes) {
        heap.held -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (heap.left-- <= 0)
        return NULL;
    heap.held += pointer == NULL;
    return realloc(pointer, bytes);
}

static heed_status explain_once(struct hd_page *page)
{
    struct additive m;
    struct hd_explain_answer a;

    fill(&m, 6);
    struct hd_explain_question q = ask(&m, 12);
    q.curve = 4, q.draws = 2;
    HD_TRY(hd_explain(&q, &a));
    for (int i = 0; i < 4000; i++)
        hd_page_add(page, "<p>%s %+.3f</p>", "why", a.contributions[a.order[0]]);
    hd_explain_answer_clear(&a);
    return hd_page_write(page, "/dev/null/never"); /* out of memory is found before the path */
}

static void test_memory(void **state)
{
    (void)state;
    heed_allocator failing = {failing_resize, NULL};
    int64_t n = 0;

    heed_set_allocator(&failing);
    for (;; n++) {
        struct hd_page page = {0};
        heap.left = n, heap.held = 0;
        heed_status status = explain_once(&page);
        hd_page_clear(&page);
        assert_int_equal(heap.held, 0);
        if (status == HEED_E_IO) /* got as far as the path */
            break;
        assert_int_equal(status, HEED_E_NOMEM);
    }
    heed_set_allocator(NULL);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_additive), cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_given),    cmocka_unit_test(test_one_event),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_measures), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of reports, on an engine that takes its time and exchanges that are none: one at a time, in
 * their order, up to the limit; one too many is sent away; at the end those that wait are told. */
#include "server/reports.h"
#include "base/limits.h"
#include "base/memory.h"
#include "server/request.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define ORDERS (HD_REPORTS_WAITING_MAX + 3)

/* ---- the engine and the exchange that it is tested on */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: the engine waits */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static int calls, later, made, busy, wrong;
static bool endless; /* a report is only ended from outside */
static int64_t order_of[ORDERS + 1]; /* by call: the n of its order */
static struct hd_report_order orders[ORDERS];

static void count(int *what)
{
    pthread_mutex_lock(&lock);
    ++*what;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static void wait_for(const int *what, int least)
{
    pthread_mutex_lock(&lock);
    while (*what < least)
        pthread_cond_wait(&news, &lock);
    pthread_mutex_unlock(&lock);
}

heed_status heed_engine_report(heed_engine *engine, const heed_report_opts *opts, heed_text **out)
{
    (void)engine;
    order_of[calls] = opts->n;
    count(&calls);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    *out = NULL;
    while (endless && opts->progress.report(opts->progress.context, "events", 0, 0))
        sched_yield();
    if (!opts->progress.report(opts->progress.context, "events", 0, 0))
        return hd_fail(HEED_E_CANCELLED, "report: stopped");
    return opts->n < ORDERS ? HEED_OK : hd_fail(HEED_E_ARG, "by: there is no such group");
}

void hd_exchange_later(hd_exchange *x)
{
    (void)x;
    later++;
}

hd_arena *hd_exchange_arena(hd_exchange *x)
{
    (void)x;
    return NULL;
}

heed_status hd_request_query(struct hd_request *r, void *out)
{
    (void)r, (void)out;
    return HEED_OK;
}

heed_status hd_reply_text(hd_exchange *x, heed_text *text)
{
    (void)x, (void)text;
    count(&made);
    return HEED_OK;
}

void hd_reply_busy(hd_exchange *x, const char *detail)
{
    (void)x, (void)detail;
    count(&busy);
}

void hd_reply_problem(hd_exchange *x, heed_status status, const char *detail, const char *field)
{
    (void)x, (void)field;
    wrong += status == HEED_E_ARG && strcmp(detail, "by: there is no such group") == 0;
    count(&made);
}

static int begin(void **state)
{
    calls = later = made = busy = wrong = 0;
    endless = false;
    for (int i = 0; i < ORDERS; i++)
        orders[i] = (struct hd_report_order){.opts.n = i};
    *state = NULL;
    return hd_reports_new(NULL, (hd_reports **)state);
}

static int end(void **state)
{
    hd_reports_free(*state);
    return 0;
}

/* One is made, and as many wait as may. */
static void fill(hd_reports *reports)
{
    pthread_mutex_lock(&gate);
    assert_int_equal(hd_reports_put(reports, &orders[0]), HEED_OK);
    wait_for(&calls, 1);
    for (int i = 1; i <= HD_REPORTS_WAITING_MAX; i++)
        assert_int_equal(hd_reports_put(reports, &orders[i]), HEED_OK);
}

/* ---- the tests */

static void test_limit(void **state)
{
    int last = HD_REPORTS_WAITING_MAX + 1;

    fill(*state);
    assert_int_equal(hd_reports_put(*state, &orders[last]), HEED_E_BUSY);
    assert_string_equal(heed_error_message(), "reports: 16 wait already; try again");
    assert_int_equal(later, HD_REPORTS_WAITING_MAX + 1); /* it is the caller's to answer */
    pthread_mutex_unlock(&gate);
    wait_for(&made, HD_REPORTS_WAITING_MAX + 1);
    for (int i = 0; i <= HD_REPORTS_WAITING_MAX; i++)
        assert_int_equal(order_of[i], i);
    /* There is room again. */
    assert_int_equal(hd_reports_put(*state, &orders[last]), HEED_OK);
    wait_for(&made, HD_REPORTS_WAITING_MAX + 2);
    assert_int_equal(busy + wrong, 0);
}

static void test_failure(void **state)
{
    orders[0].opts.n = ORDERS;
    assert_int_equal(hd_reports_put(*state, &orders[0]), HEED_OK);
    assert_int_equal(hd_reports_put(*state, &orders[1]), HEED_OK);
    wait_for(&made, 2);
    assert_int_equal(wrong, 1);
}

/* The one that is made is stopped, and nobody is left without an answer. */
static void test_end(void **state)
{
    endless = true;
    fill(*state);
    pthread_mutex_unlock(&gate);
    hd_reports_free(*state);
    *state = NULL;
    assert_int_equal(busy, HD_REPORTS_WAITING_MAX + 1);
    assert_int_equal(made, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_failure, begin, end),
        cmocka_unit_test_setup_teardown(test_end, begin, end),
    };
    return cmocka_run_group_tests_name("server reports", tests, NULL, NULL);
}

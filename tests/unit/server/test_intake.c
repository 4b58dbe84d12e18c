/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue before the disk, on an engine that takes its time and an exchange that is none: what waits
 * goes in together, up to its limits; what fails fails for each; what is one too many is sent away. */
#include "server/intake.h"
#include "base/memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* ---- the engine and the exchange that it is tested on */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: the engine waits */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static int calls, sizes[64], answered, failed, later;
static heed_status result;
static hd_arena *arena;

heed_status heed_engine_ingest(heed_engine *engine, heed_ingest *pieces, int count)
{
    (void)engine;
    pthread_mutex_lock(&lock);
    sizes[calls++] = count;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < count; i++) {
        for (pieces[i].rejected = 0; pieces[i].rejected < (int64_t)pieces[i].bytes % 1000;)
            pieces[i].reject(pieces[i].reject_context,
                             &(heed_reject){.line = ++pieces[i].rejected, .reason = "no"});
        pieces[i].accepted = result == HEED_OK;
    }
    return result == HEED_OK ? HEED_OK : hd_fail(result, "the disk is full");
}

hd_arena *hd_exchange_arena(hd_exchange *x)
{
    (void)x;
    return arena;
}

void hd_exchange_later(hd_exchange *x)
{
    (void)x;
    later++;
}

static void done(struct hd_delivery *delivery, void *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    answered++;
    if (delivery->status != HEED_OK)
        failed += strcmp(delivery->message, "the disk is full") == 0;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
}

static struct hd_delivery *delivery_of(size_t bytes)
{
    struct hd_delivery *d = hd_arena_zalloc(arena, 1, sizeof *d);

    assert_non_null(d);
    d->piece = (heed_ingest){.what = HEED_RECORD_EVENT, .text = "", .bytes = bytes};
    d->done = done;
    return d;
}

static void wait_for(const int *count, int least)
{
    pthread_mutex_lock(&lock);
    while (*count < least)
        pthread_cond_wait(&news, &lock);
    pthread_mutex_unlock(&lock);
}

static int begin(void **state)
{
    calls = answered = failed = later = 0;
    result = HEED_OK;
    arena = hd_arena_new(0);
    *state = NULL;
    return hd_intake_new(NULL, NULL, (hd_intake **)state);
}

static int end(void **state)
{
    hd_intake_free(*state);
    hd_arena_free(arena);
    return 0;
}

/* ---- the tests */

static void test_groups(void **state)
{
    hd_intake *intake = *state;

    pthread_mutex_lock(&gate);
    assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_OK);
    wait_for(&calls, 1); /* it is alone: nobody waits for company */
    for (int i = 0; i < HD_INTAKE_GROUP_MAX + 1; i++)
        assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_OK);
    assert_int_equal(hd_intake_waiting(intake), HD_INTAKE_GROUP_MAX + 1);
    pthread_mutex_unlock(&gate);
    wait_for(&answered, HD_INTAKE_GROUP_MAX + 2);
    assert_int_equal(calls, 3);
    assert_int_equal(sizes[0], 1);
    assert_int_equal(sizes[1], HD_INTAKE_GROUP_MAX);
    assert_int_equal(sizes[2], 1);
    assert_int_equal(later, HD_INTAKE_GROUP_MAX + 2);
}

/* While the engine has a group, a long one is read already; short ones wait for company. */
static void occupy(hd_intake *intake)
{
    int before = calls;

    assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_OK);
    wait_for(&calls, before + 1);
    assert_int_equal(hd_intake_put(intake, delivery_of(HD_INTAKE_AHEAD_BYTES - 1)), HEED_OK);
    assert_int_equal(hd_intake_waiting(intake), 1);
    assert_int_equal(hd_intake_put(intake, delivery_of(1)), HEED_OK);
    wait_for(&calls, before + 2);
    assert_int_equal(hd_intake_waiting(intake), 0);
    assert_int_equal(sizes[before], 1);
    assert_int_equal(sizes[before + 1], 2);
}

static void test_ahead(void **state)
{
    pthread_mutex_lock(&gate);
    occupy(*state);
    pthread_mutex_unlock(&gate);
    wait_for(&answered, 3);
}

/* A body that is larger than a group may be goes alone. */
static void test_bytes(void **state)
{
    hd_intake *intake = *state;
    size_t half = HD_INTAKE_GROUP_BYTES / 2 / 1000 * 1000; /* thousands: see the engine above */
    size_t bytes[] = {half, half, 3000, HD_INTAKE_GROUP_BYTES / 1000 * 1000 + 2000, 0};
    int alone = 0, pairs = 0;

    assert_true(2 * half + 3000 > HD_INTAKE_GROUP_BYTES);
    pthread_mutex_lock(&gate);
    occupy(intake);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(hd_intake_put(intake, delivery_of(bytes[i])), HEED_OK);
    pthread_mutex_unlock(&gate);
    wait_for(&answered, 3 + 5);
    for (int i = 2; i < calls; i++) { /* two threads: in which order they say so is not known */
        alone += sizes[i] == 1;
        pairs += sizes[i] == 2;
    }
    assert_int_equal(calls, 2 + 4);
    assert_int_equal(pairs, 1);
    assert_int_equal(alone, 3);
}

static void test_full(void **state)
{
    hd_intake *intake = *state;

    pthread_mutex_lock(&gate);
    assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_OK);
    wait_for(&calls, 1);
    for (int i = 0; i < HD_INTAKE_WAITING_MAX; i++)
        assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_OK);
    assert_int_equal(hd_intake_put(intake, delivery_of(0)), HEED_E_BUSY);
    assert_int_equal(later, HD_INTAKE_WAITING_MAX + 1); /* not that of the one sent away */
    pthread_mutex_unlock(&gate);
    wait_for(&answered, HD_INTAKE_WAITING_MAX + 1);
    assert_int_equal(hd_intake_waiting(intake), 0);
    /* The bytes that wait are bounded too, but for a body that finds nobody waiting. */
    pthread_mutex_lock(&gate);
    occupy(intake);
    assert_int_equal(hd_intake_put(intake, delivery_of(HD_INTAKE_BYTES_MAX / 1000 * 1000)), HEED_OK);
    assert_int_equal(hd_intake_put(intake, delivery_of(1000)), HEED_E_BUSY);
    pthread_mutex_unlock(&gate);
}

static void test_rejects(void **state)
{
    struct hd_delivery *d = delivery_of(HD_ERRORS_LISTED_MAX + 5);

    assert_int_equal(hd_intake_put(*state, d), HEED_OK);
    wait_for(&answered, 1);
    assert_int_equal(d->piece.rejected, HD_ERRORS_LISTED_MAX + 5);
    assert_int_equal(d->error_count, HD_ERRORS_LISTED_MAX);
    assert_int_equal(d->errors[HD_ERRORS_LISTED_MAX - 1].line, HD_ERRORS_LISTED_MAX);
    assert_string_equal(d->errors[0].reason, "no");
}

static void test_failure(void **state)
{
    pthread_mutex_lock(&gate);
    result = HEED_E_IO;
    for (int i = 0; i < 10; i++)
        assert_int_equal(hd_intake_put(*state, delivery_of((size_t)i % 2)), HEED_OK);
    pthread_mutex_unlock(&gate);
    wait_for(&answered, 10);
    assert_int_equal(failed, 10); /* also those of which some records made no sense */
}

/* What waits when the end comes is taken in and answered. */
static void test_end(void **state)
{
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 300; i++)
        assert_int_equal(hd_intake_put(*state, delivery_of(0)), HEED_OK);
    pthread_mutex_unlock(&gate);
    hd_intake_free(*state);
    *state = NULL;
    assert_int_equal(answered, 300);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {CASE(test_groups),  CASE(test_ahead),
                                       CASE(test_bytes),   CASE(test_full),
                                       CASE(test_rejects), CASE(test_failure),
                                       CASE(test_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

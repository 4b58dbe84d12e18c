/* SPDX-License-Identifier: Apache-2.0
 *
 * What a feed asks with, and what it says of itself: times that are not known, lists that must not claim more
 * than they know. */
#include "world.h"

#include "engine/asking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 INT64_C(1700000000000)

/* ---- times that are not known */

struct times_row {
    const char *words;
    const char *user;
    heed_feed_visit session[3];
    int session_count;
    heed_time at;
    int64_t count;
    bool timed;
    heed_time when[5], time[5];
};

/* "old" has two events without a time, "late" has one of T0, "both" has two without and one of T0. */
static const struct times_row times_rows[] = {
    {"no time at all", "old", {{0}}, 0, T0 + 9, 2, false, {0, 0}, {0}},
    {"a session without times, alone", NULL, {{"a", 0}, {"b", 0}}, 2, T0 + 9, 2, false, {0, 0}, {0}},
    {"a session without times after a history without", "old", {{"c", 0}}, 1, T0 + 9, 3, false,
     {0, 0, 0}, {0}},
    {"a session without times after a history with", "late", {{"c", 0}, {"d", 0}}, 2, T0 + 9, 3, true,
     {T0, 0, 0}, {T0, T0 + 9, T0 + 9}},
    {"a session with a time after a history without", "old", {{"c", T0 + 5}}, 1, T0 + 9, 3, true,
     {0, 0, T0 + 5}, {T0 + 5, T0 + 5, T0 + 5}},
    {"a gap in a session", NULL, {{"a", 0}, {"b", T0 + 5}, {"c", 0}}, 3, T0 + 9, 3, true,
     {0, T0 + 5, 0}, {T0 + 5, T0 + 5, T0 + 9}},
    {"a history of both", "both", {{0}}, 0, T0 + 9, 3, true, {0, 0, T0}, {T0, T0, T0}},
};

static void test_times(void **state)
{
    struct world *w = *state;

    world_import(w, HEED_IMPORT_INTERACTIONS, "old a\nold b\nboth a\nboth b\n");
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1700000000000,\"user\":\"late\",\"item\":\"a\",\"kind\":\"view\"}\n"
                 "{\"ts\":1700000000000,\"user\":\"both\",\"item\":\"c\",\"kind\":\"view\"}\n"
                 "{\"ts\":1700000000000,\"user\":\"x\",\"item\":\"d\",\"kind\":\"view\"}\n");
    for (size_t i = 0; i < sizeof times_rows / sizeof *times_rows; i++) {
        const struct times_row *row = &times_rows[i];
        struct hd_asking_opts opts = {
            .at = row->at, .session = row->session, .session_count = row->session_count};
        struct hd_asking asking;
        hd_arena *arena = hd_arena_new(0);
        assert_non_null(arena);
        assert_status(hd_asking_init(&asking, w->engine, row->user, &opts, arena), HEED_OK);
        if (asking.count != row->count || (asking.time != NULL) != row->timed)
            fail_msg("%s: %d visits, %s times", row->words, (int)asking.count,
                     asking.time ? "with" : "without");
        for (int64_t e = 0; e < row->count; e++)
            if (asking.when[e] != row->when[e] || (row->timed && asking.time[e] != row->time[e]))
                fail_msg("%s: visit %d is of %lld", row->words, (int)e,
                         (long long)(asking.time ? asking.time[e] : asking.when[e]));
        assert_true(asking.model_now == row->at);
        hd_asking_clear(&asking);
        hd_arena_free(arena);
    }
}

/* A training is told the same of them as a question. */
static void test_times_learned(void **state)
{
    struct world *w = *state;
    struct hd_past past;

    world_import(w, HEED_IMPORT_INTERACTIONS, "old a\nold b\nboth a\nboth b\n");
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1700000000000,\"user\":\"both\",\"item\":\"c\",\"kind\":\"view\"}\n");
    assert_status(hd_past_read(w->engine, &past), HEED_OK);
    const struct hd_histories *h = &past.histories;
    assert_int_equal(h->offset[h->users], 5);
    for (int64_t u = 0; u < h->users; u++) {
        bool both = h->offset[u + 1] - h->offset[u] == 3;
        for (int64_t e = h->offset[u]; e < h->offset[u + 1]; e++)
            assert_true(h->time[e] == (both ? T0 : 0));
    }
    hd_past_clear(&past);
}

/* ---- sessions */

/* One limit, whichever way a session comes in. */
static void test_session_limit(void **state)
{
    struct world *w = *state;
    heed_feed_visit *visit = calloc(HD_SESSION_MAX + 1, sizeof *visit);
    heed_feed_request request = {.session = visit, .session_count = HD_SESSION_MAX};
    heed_feed *feed = NULL;

    assert_non_null(visit);
    for (int i = 0; i <= HD_SESSION_MAX; i++)
        visit[i].item = i % 2 ? "i1" : "i2";
    world_fill(w);
    world_train(w);
    assert_status(heed_engine_feed(w->engine, &request, &feed), HEED_OK);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
    request.session_count++;
    assert_status(heed_engine_feed(w->engine, &request, &feed), HEED_E_ARG);
    assert_says("10001 visits");
    free(visit);
}

/* ---- similar */

static void put(struct world *w, heed_record what, const char *text)
{
    heed_ingest piece = {.what = what, .text = text, .bytes = strlen(text)};

    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_int_equal(piece.rejected, 0);
}

static heed_feed *ask(struct world *w, const heed_feed_request *request)
{
    heed_feed *feed = NULL;

    assert_status(heed_engine_feed(w->engine, request, &feed), HEED_OK);
    return feed;
}

static heed_feed *ask_similar(struct world *w, const char *item)
{
    return ask(w, &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = item, .n = 10});
}

/* Who shares nothing is not similar, however much room is left; without a model, and for an item that the
 * model does not know, or knows and has never seen looked at. */
static void test_similar_shares(void **state)
{
    struct world *w = *state;

    world_fill(w);
    put(w, HEED_RECORD_ITEM, "{\"id\":\"rare\",\"tags\":[\"r\",\"t0\"],\"author\":\"ann\"}\n"
                             "{\"id\":\"rare2\",\"tags\":[\"r\"],\"author\":\"ann\"}\n"
                             "{\"id\":\"rare3\",\"author\":\"ann\"}\n"
                             "{\"id\":\"bare\"}");
    for (int trained = 0; trained < 2; trained++) {
        heed_feed *feed = ask_similar(w, "rare2");
        assert_int_equal(feed->count, 2);
        assert_string_equal(feed->policy, "similar");
        assert_string_equal(feed->items[0].item, "rare");
        assert_string_equal(feed->items[1].item, "rare3");
        assert_true(feed->items[1].score > 0);
        heed_feed_free(feed);
        feed = ask_similar(w, "bare");
        assert_int_equal(feed->count, 0);
        assert_non_null(strstr(feed->why_policy, "neither tags nor an author"));
        heed_feed_free(feed);
        if (!trained)
            world_train(w);
    }
    put(w, HEED_RECORD_ITEM, "{\"id\":\"later\",\"tags\":[\"r\"]}");
    heed_feed *feed = ask_similar(w, "later");
    assert_int_equal(feed->count, 2);
    heed_feed_free(feed);
    feed = ask_similar(w, "i4"); /* one that the model knows */
    assert_int_equal(feed->count, 10);
    assert_non_null(strstr(feed->why_policy, "the model was asked"));
    heed_feed_free(feed);
}

/* ---- as of another moment */

/* What all readers look at is known as of the latest event alone, so nothing of it is told of another one. */
static void test_at_charts(void **state)
{
    struct world *w = *state;
    heed_feed *feed = NULL;
    heed_feed_request request = {.user = "stranger", .n = 30, .at = 1009};

    world_fill(w); /* i0 is of 1000, i1 of 1001 ... */
    for (int kind = HEED_FEED_POPULAR; kind <= HEED_FEED_TRENDING; kind++) {
        heed_feed_request chart = {.kind = (heed_feed_kind)kind, .at = T0};
        assert_status(heed_engine_feed(w->engine, &chart, &feed), HEED_E_ARG);
        assert_says("at: ");
        chart.at = 0;
        feed = ask(w, &chart);
        assert_string_equal(feed->policy, kind == HEED_FEED_POPULAR ? "popular" : "trending");
        heed_feed_free(feed);
    }
    for (int trained = 0; trained < 2; trained++) {
        feed = ask(w, &request);
        assert_string_equal(feed->policy, "fresh");
        assert_non_null(strstr(feed->why_policy, "not kept"));
        assert_int_equal(feed->count, 10);
        assert_string_equal(feed->items[0].item, "i9");
        heed_feed_free(feed);
        if (!trained)
            world_train(w);
    }
    request.user = "r4", request.at = T0;
    feed = ask(w, &request);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
}

int main(void)
{
#define FEED(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        FEED(test_times),
        FEED(test_times_learned),
        FEED(test_session_limit),
        FEED(test_similar_shares),
        FEED(test_at_charts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a feed asks with, and what it says of itself: times that are not known, lists that must not claim more
 * than they know. */
#include "world.h"

#include "base/time.h"
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

/* A store that somebody else wrote into may hold names longer than any that comes in. */
static void test_long_names(void **state)
{
    struct world *w = *state;
    char name[5000], tags[5010];
    struct hd_item_row row = {.tags = tags, .author = name};
    hd_store *store;
    bool changed;
    int32_t number;

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    snprintf(tags, sizeof tags, "[\"%s\"]", name);
    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_store_begin(store), HEED_OK);
    for (int i = 0; i < 2; i++) {
        assert_status(hd_store_intern_item(store, i ? "one" : "two", 3, &number, NULL), HEED_OK);
        assert_status(hd_store_put_item(store, number, &row, NULL, &changed), HEED_OK);
    }
    assert_status(hd_store_commit(store), HEED_OK);
    hd_store_close(store);
    heed_feed *feed =
        ask(w, &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = "one", .explain = true});
    assert_int_equal(feed->count, 1);
    assert_non_null(strstr(feed->items[0].why, "it shares with the item asked for: "));
    assert_true(strlen(feed->items[0].why) < 1000);
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

/* ---- why */

static const heed_feed_item *find(const heed_feed *feed, const char *item)
{
    for (int i = 0; i < feed->count; i++)
        if (strcmp(feed->items[i].item, item) == 0)
            return &feed->items[i];
    fail_msg("%s is not in the page", item);
    return NULL;
}

static void assert_why(const heed_feed *feed, const char *item, const char *words)
{
    const char *why = find(feed, item)->why;

    if (!why || !strstr(why, words))
        fail_msg("%s: \"%s\" does not hold \"%s\"", item, why ? why : "", words);
}

/* Every item has a sentence; reasons are given only where the model has learned something of the item and
 * chance did not put it there. */
static void assert_all_why(const heed_feed *feed, const char *policy)
{
    assert_string_equal(feed->policy, policy);
    assert_true(feed->count > 0);
    for (int i = 0; i < feed->count; i++) {
        const heed_feed_item *item = &feed->items[i];
        assert_non_null(item->why);
        assert_true(strlen(item->why) > 10);
        bool none = strcmp(policy, "sequence") != 0 || strcmp(item->source, "explore") == 0 ||
                    strstr(item->why, "learned nothing") || strstr(item->why, "none of which");
        assert_true(none == (item->reason_count == 0));
        assert_true((strcmp(item->source, "explore") == 0) == (strstr(item->why, "by chance") != NULL));
    }
}

#define NEW_ITEMS                                                                            \
    "{\"id\":\"late\",\"tags\":[\"t1\",\"a\",\"b\",\"c\",\"d\"],\"author\":\"ann\"}\n" \
    "{\"id\":\"late2\",\"tags\":[\"a\",\"b\",\"c\",\"d\"],\"author\":\"ann\"}\n"      \
    "{\"id\":\"bare\",\"created\":1600000000000}"

static void test_why_model(void **state)
{
    struct world *w = *state;
    heed_feed_request request = {.user = "r4", .n = 30, .explain = true};

    world_fill(w);
    put(w, HEED_RECORD_ITEM, "{\"id\":\"quiet\",\"tags\":[\"t2\"]}");
    world_train(w);
    put(w, HEED_RECORD_ITEM, NEW_ITEMS);
    put(w, HEED_RECORD_USER, "{\"id\":\"r4\",\"follow\":{\"tags\":[\"t1\"],\"authors\":[\"ann\"]}}");
    heed_feed *feed = ask(w, &request);
    assert_all_why(feed, "sequence");
    assert_why(feed, "late", "learned nothing of it yet and placed it where items of its tags");
    assert_why(feed, "late", "follows its tag \"t1\", author \"ann\"");
    assert_why(feed, "late2", "follows its author \"ann\"");
    assert_why(feed, "bare", "without tags or an author");
    assert_why(feed, "quiet", "learned nothing"); /* a row, but nobody ever looked */
    assert_why(feed, "i25", "by this reader's latest 12 visits");
    assert_why(feed, "i25", "follows its tag \"t1\"");
    assert_null(strstr(find(feed, "i26")->why, "follows"));
    heed_feed_free(feed);
    request.explore = 1, request.n = 10;
    feed = ask(w, &request);
    assert_all_why(feed, "sequence");
    int drawn = 0;
    for (int i = 0; i < feed->count; i++)
        drawn += strcmp(feed->items[i].source, "explore") == 0;
    assert_int_equal(drawn, 1);
    heed_feed_free(feed);
    request.explore = 0, request.n = 30, request.kind = HEED_FEED_SIMILAR, request.item = "i4";
    feed = ask(w, &request);
    assert_all_why(feed, "similar");
    assert_why(feed, "i7", "by the item asked for alone");
    assert_why(feed, "late", "learned nothing");
    heed_feed_free(feed);
    request.item = "late";
    feed = ask(w, &request);
    assert_all_why(feed, "similar");
    assert_why(feed, "late2", "shares with the item asked for: author \"ann\", tag \"a\", tag \"b\" and 2 more");
    assert_why(feed, "i25", "shares with the item asked for: tag \"t1\"");
    heed_feed_free(feed);
    request = (heed_feed_request){.user = "r4", .n = 30}; /* not asked for */
    feed = ask(w, &request);
    assert_null(feed->items[0].why);
    heed_feed_free(feed);
}

/* What stands beside the model's own says what brought it. A hundred items that the model has learned
 * nothing of are alike to it, so it puts up only the first of them; one of the others is the latest to come in and
 * one is looked at today. */
static void test_why_beside(void **state)
{
    struct world *w = *state;
    char text[160];
    bool trending = false, fresh = false;

    world_fill(w);
    world_train(w);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "{\"id\":\"c%d\",\"tags\":[\"t1\"],\"created\":%lld}", i,
                 i == 99 ? (long long)hd_clock_now(NULL) : 5000);
        put(w, HEED_RECORD_ITEM, text);
    }
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, "{\"user\":\"z%d\",\"item\":\"c75\",\"kind\":\"view\"}", i);
        put(w, HEED_RECORD_EVENT, text);
    }
    assert_status(heed_engine_refresh(w->engine), HEED_OK);
    heed_feed_request request = {.user = "r4", .n = 18, .explain = true, .filter = "tag = \"t1\""};
    heed_feed *feed = ask(w, &request);
    assert_all_why(feed, "sequence");
    for (int i = 0; i < feed->count; i++) {
        const heed_feed_item *item = &feed->items[i];
        if (strcmp(item->source, "trending") == 0)
            trending = strcmp(item->item, "c75") == 0 && strstr(item->why, "in the last day more");
        if (strcmp(item->source, "fresh") == 0)
            fresh = fresh || (strcmp(item->item, "c99") == 0 && strstr(item->why, "the latest to have come in"));
    }
    assert_true(trending && fresh);
    heed_feed_free(feed);
}

static void test_why_lists(void **state)
{
    struct world *w = *state;
    heed_feed_request request = {.kind = HEED_FEED_POPULAR, .n = 40, .explain = true};
    char words[64];

    world_fill(w);
    put(w, HEED_RECORD_ITEM, NEW_ITEMS);
    for (int i = 0; i < 20; i++) {
        char text[120];
        snprintf(text, sizeof text, "{\"ts\":%lld,\"user\":\"z%d\",\"item\":\"i7\",\"kind\":\"view\"}",
                 (long long)T0 + 86400000LL * 9 + i, i);
        put(w, HEED_RECORD_EVENT, text);
    }
    heed_feed *feed = ask(w, &request);
    assert_all_why(feed, "popular");
    assert_why(feed, "late", "nothing that still counts");
    snprintf(words, sizeof words, "adds up to %.3g events", find(feed, "i7")->score);
    assert_why(feed, "i7", words);
    heed_feed_free(feed);
    request.kind = HEED_FEED_TRENDING;
    feed = ask(w, &request);
    assert_all_why(feed, "trending");
    snprintf(words, sizeof words, "by %.3g standard deviations", find(feed, "i7")->score);
    assert_why(feed, "i7", words);
    assert_why(feed, "i8", "not looked at more");
    assert_why(feed, "late", "nothing that still counts");
    heed_feed_free(feed);
    request.kind = HEED_FEED_FRESH;
    feed = ask(w, &request);
    assert_all_why(feed, "fresh");
    assert_why(feed, "bare", "created at 2020-09-13T12:26:40Z");
    assert_why(feed, "late", "is not known");
    heed_feed_free(feed);
    request = (heed_feed_request){.user = "stranger", .n = 30, .explain = true};
    feed = ask(w, &request); /* without a model */
    assert_all_why(feed, "popular");
    heed_feed_free(feed);
}

int main(void)
{
#define FEED(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        FEED(test_times),
        FEED(test_times_learned),
        FEED(test_session_limit),
        FEED(test_similar_shares), FEED(test_long_names),
        FEED(test_at_charts),
        FEED(test_why_model),
        FEED(test_why_beside),
        FEED(test_why_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * An engine that is served from: what comes in is in the next answer, whoever brought it, and what
 * a user has said holds at once. */
#include "world.h"

#include "base/random.h"
#include "base/time.h"
#include "engine/state.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- taking in */

struct told {
    int64_t line[8];
    char reason[8][160];
    int count;
};

static void tell(void *context, const heed_reject *reject)
{
    struct told *told = context;

    assert_null(reject->file);
    if (told->count < 8) {
        told->line[told->count] = reject->line;
        snprintf(told->reason[told->count++], 160, "%s", reject->reason);
    }
}

static heed_ingest piece_of(heed_record what, const char *text)
{
    return (heed_ingest){.what = what, .text = text, .bytes = strlen(text)};
}

static void put(struct world *w, heed_record what, const char *text)
{
    heed_ingest piece = piece_of(what, text);

    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_int_equal(piece.rejected, 0);
}

static void test_ingest(void **state)
{
    struct world *w = *state;
    struct told told = {0};
    heed_ingest piece[] = {
        piece_of(HEED_RECORD_EVENT,
                 "{\"id\":\"e1\",\"ts\":1700000000000,\"user\":\"u\",\"item\":\"a\",\"kind\":\"view\"}\n"
                 "\n"
                 "not json\n"
                 "{\"ts\":1700000000000,\"user\":\"u\",\"item\":\"a\",\"kind\":\"sneeze\"}\r\n"
                 "{\"id\":\"e1\",\"ts\":1700000000000,\"user\":\"u\",\"item\":\"a\",\"kind\":\"view\"}"),
        piece_of(HEED_RECORD_ITEM, "[{\"id\":\"a\",\"title\":\"A\"},{\"id\":\"b\",\"tags\":7}]"),
        piece_of(HEED_RECORD_USER, "{\"id\":\"u\",\"consent\":{\"sell\":true}}"),
        piece_of(HEED_RECORD_EVENT, ""),
        piece_of(HEED_RECORD_EVENT, "{\"user\":\"u\",\"item\":\"b\",\"kind\":\"click\"}\n"),
    };
    heed_engine_counts counts;

    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++)
        piece[i].reject = tell, piece[i].reject_context = &told;
    piece[1].document = true;
    assert_status(heed_engine_ingest(w->engine, piece, 5), HEED_OK);
    const int64_t want[5][3] = {{1, 1, 2}, {1, 0, 1}, {1, 0, 0}, {0, 0, 0}, {1, 0, 0}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(piece[i].accepted, want[i][0]);
        assert_int_equal(piece[i].duplicate, want[i][1]);
        assert_int_equal(piece[i].rejected, want[i][2]);
    }
    assert_int_equal(told.count, 3);
    assert_int_equal(told.line[0], 3);
    assert_int_equal(told.line[1], 4);
    assert_non_null(strstr(told.reason[1], "sneeze"));
    assert_int_equal(told.line[2], 2); /* the second of the array */
    assert_non_null(strstr(told.reason[2], "tags"));
    world_reopen(w); /* all of it is on disk */
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_int_equal(counts.events, 2);
    assert_int_equal(counts.items, 2);
    assert_int_equal(counts.users, 1);
}

/* An event that comes again under its id names an item all the same: it has a number, so a snapshot
 * that left it out would have a hole before the next one. */
static void test_ingest_names_no_hole(void **state)
{
    struct world *w = *state;
    heed_feed *feed;

    put(w, HEED_RECORD_EVENT, "{\"id\":\"e1\",\"user\":\"u\",\"item\":\"a\",\"kind\":\"view\"}");
    feed = world_feed(w, "v", 5); /* now there is a snapshot that follows */
    assert_int_equal(feed->count, 1);
    heed_feed_free(feed);
    put(w, HEED_RECORD_EVENT, "{\"id\":\"e1\",\"user\":\"u\",\"item\":\"b\",\"kind\":\"view\"}");
    put(w, HEED_RECORD_ITEM, "{\"id\":\"c\",\"title\":\"C\"}");
    feed = world_feed(w, "v", 5);
    assert_int_equal(feed->count, 3);
    for (int i = 0; i < 3; i++)
        assert_non_null(strchr("abc", feed->items[i].item[0]));
    heed_feed_free(feed);
}

static void test_ingest_refuses(void **state)
{
    struct world *w = *state;
    heed_ingest none = {.what = HEED_RECORDS, .text = "", .bytes = 0}, empty = {.bytes = 3};

    assert_status(heed_engine_ingest(w->engine, &none, 1), HEED_E_ARG);
    assert_says("kind of record");
    assert_status(heed_engine_ingest(w->engine, &empty, 1), HEED_E_ARG);
    assert_says("no text");
    assert_status(heed_engine_ingest(w->engine, NULL, 0), HEED_OK);
}

static void test_merge(void **state)
{
    struct world *w = *state;
    heed_ingest piece;
    heed_text *text;

    put(w, HEED_RECORD_ITEM, "{\"id\":\"a\",\"title\":\"A\",\"tags\":[\"x\"],\"features\":{\"v\":[1,2]}}");
    piece = piece_of(HEED_RECORD_ITEM, "{\"id\":\"a\",\"url\":\"https://a\"}");
    piece.merge = true;
    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_status(heed_engine_read(w->engine, HEED_RECORD_ITEM, "a", &text), HEED_OK);
    assert_non_null(strstr(text->text, "\"title\":\"A\""));
    assert_non_null(strstr(text->text, "\"url\":\"https://a\""));
    assert_non_null(strstr(text->text, "\"x\""));
    assert_non_null(strstr(text->text, "\"v\":[1,2]"));
    heed_text_free(text);
    put(w, HEED_RECORD_ITEM, "{\"id\":\"a\",\"url\":\"https://a\"}"); /* all else is forgotten */
    assert_status(heed_engine_read(w->engine, HEED_RECORD_ITEM, "a", &text), HEED_OK);
    assert_null(strstr(text->text, "title"));
    heed_text_free(text);
}

/* ---- the next answer */

static bool has(const heed_feed *feed, const char *item)
{
    for (int i = 0; i < feed->count; i++)
        if (strcmp(feed->items[i].item, item) == 0)
            return true;
    return false;
}

static bool shows(struct world *w, const char *user, const char *item)
{
    heed_feed *feed = world_feed(w, user, 100);
    bool there = has(feed, item);

    heed_feed_free(feed);
    return there;
}

/* Whether the engine reads what has changed by itself or has been told that somebody does. */
static void say_kept_fresh(struct world *w, bool kept)
{
    if (kept)
        assert_status(heed_engine_refresh(w->engine), HEED_OK);
}

static void next_answer(struct world *w, bool kept)
{
    heed_feed *feed;

    world_fill(w);
    world_train(w);
    say_kept_fresh(w, kept);
    feed = world_feed(w, "r4", 1);
    char item[32], text[200];
    snprintf(item, sizeof item, "%s", feed->items[0].item);
    heed_feed_free(feed);
    snprintf(text, sizeof text, "{\"user\":\"r4\",\"item\":\"%s\",\"kind\":\"view\"}", item);
    put(w, HEED_RECORD_EVENT, text);
    assert_false(shows(w, "r4", item)); /* seen */
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"hidden\":true}", item);
    assert_true(shows(w, "nobody", item));
    put(w, HEED_RECORD_ITEM, text);
    assert_false(shows(w, "nobody", item)); /* hidden */
    put(w, HEED_RECORD_ITEM, "{\"id\":\"new\",\"title\":\"New\",\"tags\":[\"t1\"]}");
    assert_true(shows(w, "r4", "new"));
    put(w, HEED_RECORD_EVENT, "{\"user\":\"r4\",\"item\":\"named\",\"kind\":\"impression\"}");
    assert_true(shows(w, "r4", "named")); /* named by an event alone, shown but not attended to */
    put(w, HEED_RECORD_EVENT, "{\"user\":\"r4\",\"item\":\"new\",\"kind\":\"hide\"}");
    assert_false(shows(w, "r4", "new"));
    assert_true(shows(w, "nobody", "new"));
}

static void test_next_answer(void **state)
{
    next_answer(*state, false);
}

static void test_next_answer_kept_fresh(void **state)
{
    next_answer(*state, true);
}

static void test_other_process(void **state)
{
    struct world *w = *state;
    heed_engine *other;
    heed_ingest piece = piece_of(HEED_RECORD_ITEM, "{\"id\":\"theirs\"}");

    put(w, HEED_RECORD_ITEM, "{\"id\":\"ours\"}");
    assert_true(shows(w, "u", "ours"));
    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    assert_status(heed_engine_ingest(other, &piece, 1), HEED_OK);
    assert_true(shows(w, "u", "theirs")); /* seen without being told */
    assert_status(heed_engine_refresh(w->engine), HEED_OK);
    piece = piece_of(HEED_RECORD_ITEM, "{\"id\":\"later\"}");
    assert_status(heed_engine_ingest(other, &piece, 1), HEED_OK);
    for (int i = 0; i < 100 && !shows(w, "u", "later"); i++) {
        usleep(20000); /* it rests after each reading */
        assert_status(heed_engine_refresh(w->engine), HEED_OK);
    }
    assert_true(shows(w, "u", "later"));
    heed_engine_close(other);
}

/* ---- what a user has said */

static void test_consent(void **state)
{
    struct world *w = *state;
    heed_feed *feed;
    heed_feed_request request = {.user = "r4", .n = 30, .explain = true};

    world_fill(w);
    world_train(w);
    feed = world_feed(w, "r4", 5);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
    put(w, HEED_RECORD_EVENT, "{\"user\":\"r4\",\"item\":\"i0\",\"kind\":\"dislike\"}");
    put(w, HEED_RECORD_USER, "{\"id\":\"r4\",\"consent\":{\"personalise\":false}}");
    assert_status(heed_engine_feed(w->engine, &request, &feed), HEED_OK);
    assert_string_equal(feed->policy, "popular");
    for (int i = 0; i < feed->count; i++)
        assert_int_equal(feed->items[i].reason_count, 0);
    assert_false(has(feed, "i0")); /* what was said, other than what was done, holds */
    assert_int_equal(feed->count, 29);
    heed_feed_free(feed);
    put(w, HEED_RECORD_USER, "{\"id\":\"r4\"}");
    feed = world_feed(w, "r4", 5);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
}

/* Events of somebody who does not want to be learned from move no chart, and teach no model. */
static void test_silent(void **state)
{
    struct world *w = *state;
    heed_feed *feed;

    put(w, HEED_RECORD_USER, "{\"id\":\"silent\",\"consent\":{\"learn\":false}}");
    for (int again = 0; again < 2; again++) {
        put(w, HEED_RECORD_EVENT, "{\"ts\":1700000000000,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
                                  "{\"ts\":1700000000001,\"user\":\"silent\",\"item\":\"y\",\"kind\":\"view\"}\n"
                                  "{\"ts\":1700000000002,\"user\":\"silent\",\"item\":\"y\",\"kind\":\"view\"}\n");
        feed = world_feed(w, "b", 5);
        assert_string_equal(feed->policy, "popular");
        assert_string_equal(feed->items[0].item, "x");
        assert_true(feed->items[1].score == 0);
        heed_feed_free(feed);
        world_reopen(w); /* counted anew, and the same */
    }
    heed_train_report report;
    assert_status(heed_engine_train(w->engine, &(heed_train_opts){.epochs = 1}, &report), HEED_E_STATE);
    assert_says("no user has two events"); /* the silent one has four */
}

static double score_of(struct world *w, const char *item)
{
    heed_feed *feed = world_feed(w, "b", 50);
    double score = -1;

    for (int i = 0; i < feed->count; i++)
        if (strcmp(feed->items[i].item, item) == 0)
            score = feed->items[i].score;
    heed_feed_free(feed);
    return score;
}

/* Who withdraws the consent to be learned from is taken out of the charts, also of those that were put
 * aside, and comes back with it. */
static void test_silent_later(void **state)
{
    struct world *w = *state;

    put(w, HEED_RECORD_EVENT, "{\"ts\":1700000000000,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
                              "{\"ts\":1700000000000,\"user\":\"c\",\"item\":\"y\",\"kind\":\"view\"}\n");
    for (int kept = 0; kept < 2; kept++) {
        assert_true(score_of(w, "y") > 0.99);
        world_reopen(w);
        assert_true(score_of(w, "y") > 0.99);
        if (kept)
            assert_status(heed_engine_refresh(w->engine), HEED_OK);
        put(w, HEED_RECORD_USER, "{\"id\":\"c\",\"consent\":{\"learn\":false}}");
        for (int i = 0; kept && i < 100 && score_of(w, "y") > 0; i++) {
            usleep(20000); /* it rests after each reading */
            assert_status(heed_engine_refresh(w->engine), HEED_OK);
        }
        assert_true(score_of(w, "x") > 0.99 && score_of(w, "y") == 0);
        world_reopen(w);
        assert_true(score_of(w, "x") > 0.99 && score_of(w, "y") == 0);
        put(w, HEED_RECORD_USER, "{\"id\":\"c\",\"consent\":{\"learn\":true}}");
    }
}

/* What counts is what the user has said by then, also within one call. */
static void test_silent_at_once(void **state)
{
    struct world *w = *state;
    heed_engine *e = w->engine;

    put(w, HEED_RECORD_USER, "{\"id\":\"s0\",\"consent\":{\"learn\":false}}\n{\"id\":\"a\"}");
    assert_status(heed_engine_refresh(e), HEED_OK);
    heed_ingest piece[] = {
        piece_of(HEED_RECORD_USER, "{\"id\":\"s1\",\"consent\":{\"learn\":false}}\n"
                                   "{\"id\":\"s0\",\"consent\":{\"learn\":true}}"),
        piece_of(HEED_RECORD_EVENT,
                 "{\"ts\":1700000000000,\"user\":\"s1\",\"item\":\"x\",\"kind\":\"view\"}\n"
                 "{\"ts\":1700000000000,\"user\":\"a\",\"item\":\"y\",\"kind\":\"view\"}\n"
                 "{\"ts\":1700000000001,\"user\":\"s1\",\"item\":\"x\",\"kind\":\"view\"}\n"
                 "{\"ts\":1700000000000,\"user\":\"s0\",\"item\":\"z\",\"kind\":\"view\"}\n")};
    assert_status(heed_engine_ingest(e, piece, 2), HEED_OK);
    assert_true(e->tally.loaded && e->tally.events == 2);
    heed_feed *feed = world_feed(w, "b", 5);
    assert_true(feed->count == 3 && feed->items[2].score == 0);
    assert_string_equal(feed->items[2].item, "x");
    heed_feed_free(feed);
}

static void test_marks(void **state)
{
    struct world *w = *state;

    put(w, HEED_RECORD_ITEM, "{\"id\":\"a\",\"author\":\"ann\",\"tags\":[\"x\"]}\n"
                             "{\"id\":\"b\",\"author\":\"bob\",\"tags\":[\"x\",\"y\"]}\n"
                             "{\"id\":\"c\",\"author\":\"cid\"}\n"
                             "{\"id\":\"d\",\"author\":\"me\"}");
    put(w, HEED_RECORD_USER, "{\"id\":\"me\",\"block\":{\"authors\":[\"ann\"]}}");
    assert_false(shows(w, "me", "a"));
    assert_true(shows(w, "me", "b"));
    assert_false(shows(w, "me", "d")); /* one's own */
    assert_true(shows(w, "you", "d"));
    put(w, HEED_RECORD_USER, "{\"id\":\"me\",\"block\":{\"tags\":[\"y\"],\"items\":[\"c\"]}}");
    assert_true(shows(w, "me", "a"));
    assert_false(shows(w, "me", "b"));
    assert_false(shows(w, "me", "c"));
}

/* ---- kinds of feeds */

static heed_feed *ask(struct world *w, const heed_feed_request *request)
{
    heed_feed *feed = NULL;

    assert_status(heed_engine_feed(w->engine, request, &feed), HEED_OK);
    return feed;
}

static void test_kinds(void **state)
{
    struct world *w = *state;
    heed_feed *feed;

    world_fill(w);
    feed = ask(w, &(heed_feed_request){.kind = HEED_FEED_FRESH, .n = 3});
    assert_string_equal(feed->policy, "fresh");
    assert_string_equal(feed->items[0].item, "i29");
    assert_string_equal(feed->items[0].source, "fresh");
    heed_feed_free(feed);
    /* Two days of nothing but i7: it is not the most popular, but it is what moves. */
    for (int i = 0; i < 30; i++) {
        char text[120];
        snprintf(text, sizeof text, "{\"ts\":%lld,\"user\":\"z%d\",\"item\":\"i7\",\"kind\":\"view\"}",
                 1700000000000LL + 86400000LL * 9 + i, i);
        put(w, HEED_RECORD_EVENT, text);
    }
    feed = ask(w, &(heed_feed_request){.kind = HEED_FEED_TRENDING, .n = 3});
    assert_string_equal(feed->policy, "trending");
    assert_string_equal(feed->items[0].item, "i7");
    assert_true(feed->items[0].score > 3 && feed->items[1].score < 1);
    heed_feed_free(feed);
    feed = ask(w, &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = "i4", .n = 3});
    assert_string_equal(feed->policy, "similar");
    for (int i = 0; i < 3; i++) /* by tags: t1 is on i1, i4, i7 ... */
        assert_int_equal(atoi(feed->items[i].item + 1) % 3, 1);
    heed_feed_free(feed);
    world_train(w);
    feed = ask(w, &(heed_feed_request){.kind = HEED_FEED_SIMILAR, .item = "i4", .n = 3});
    assert_non_null(strstr(feed->why_policy, "model"));
    assert_false(has(feed, "i4"));
    heed_feed_free(feed);
    heed_feed *none;
    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.kind = HEED_FEED_SIMILAR,
                                                                   .item = "nothing"}, &none),
                  HEED_E_NOTFOUND);
    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.kind = HEED_FEED_KINDS}, &none),
                  HEED_E_ARG);
    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.n = 1}, &none), HEED_E_ARG);
}

/* A session is asked with as a history would be, and leaves nothing behind. */
static void test_session(void **state)
{
    struct world *w = *state;
    heed_feed_visit visit[12];
    char id[12][8];
    heed_engine_counts counts;

    world_fill(w);
    world_train(w);
    for (int e = 0; e < 12; e++) { /* what r4 did */
        snprintf(id[e], sizeof id[e], "i%d", (12 + e) % WORLD_ITEMS);
        visit[e] = (heed_feed_visit){id[e], 1700000000000LL + 3600000LL * e};
    }
    heed_feed *known = world_feed(w, "r4", 10);
    heed_feed *feed = ask(w, &(heed_feed_request){.session = visit, .session_count = 12});
    assert_string_equal(feed->policy, "sequence");
    assert_int_equal(feed->count, known->count);
    for (int i = 0; i < feed->count; i++)
        assert_string_equal(feed->items[i].item, known->items[i].item);
    heed_feed_free(known);
    heed_feed_free(feed);
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_int_equal(counts.users, WORLD_USERS);
    visit[3].item = NULL;
    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.session = visit,
                                                                   .session_count = 12}, &feed),
                  HEED_E_ARG);
    assert_says("visit 3");
}

static void test_filter(void **state)
{
    struct world *w = *state;

    world_fill(w);
    heed_feed *feed = ask(w, &(heed_feed_request){.user = "r4", .n = 30, .filter = "tag = \"t1\""});
    assert_true(feed->count > 0);
    for (int i = 0; i < feed->count; i++)
        assert_int_equal(atoi(feed->items[i].item + 1) % 3, 1);
    heed_feed_free(feed);
    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.user = "r4", .filter = "tag ="},
                                   &feed), HEED_E_ARG);
    assert_says("byte");
}

/* ---- what is kept of readers */

/* Events and questions of many readers in any order, within a budget for a few of them: each answer is
 * that of an engine that keeps nothing. */
static void test_kept(void **state)
{
    struct world *w = *state;
    heed_engine *forgetful, *tight;
    heed_rng rng = {1, 0};

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_open(w->data, &(heed_engine_opts){.memory_bytes = 1}, &forgetful), HEED_OK);
    assert_status(heed_engine_open(w->data, &(heed_engine_opts){.memory_bytes = 12000}, &tight), HEED_OK);
    for (int round = 0; round < 150; round++) {
        char user[8], text[120];
        snprintf(user, sizeof user, "r%d", (int)(hd_random_u64(&rng) % 12));
        if (round % 3 == 0) {
            snprintf(text, sizeof text, "{\"ts\":%lld,\"user\":\"%s\",\"item\":\"i%d\",\"kind\":\"view\"}",
                     1700100000000LL + (long long)(hd_random_u64(&rng) % 1000000), user,
                     (int)(hd_random_u64(&rng) % WORLD_ITEMS));
            put(w, HEED_RECORD_EVENT, text);
        }
        heed_engine *engine[] = {forgetful, w->engine, tight};
        heed_feed *feed[3];
        for (int i = 0; i < 3; i++)
            assert_status(heed_engine_feed(engine[i], &(heed_feed_request){.user = user, .n = 8,
                                                      .at = 0, .unrecorded = true}, &feed[i]), HEED_OK);
        for (int i = 1; i < 3; i++)
            for (int j = 0; j < feed[0]->count; j++) {
                assert_string_equal(feed[i]->items[j].item, feed[0]->items[j].item);
                assert_true(fabs(feed[i]->items[j].score - feed[0]->items[j].score) < 1e-4);
            }
        for (int i = 0; i < 3; i++)
            heed_feed_free(feed[i]);
        assert_true(tight->kept.bytes <= tight->kept.most);
    }
    assert_int_equal(forgetful->kept.count, 0);
    assert_true(w->engine->kept.count == 12 && w->engine->kept.found > 100);
    assert_true(tight->kept.count > 0 && tight->kept.count < 12 && tight->kept.found > 0);
    heed_engine_close(tight);
    heed_engine_close(forgetful);
}

/* One clock that is years ahead makes nobody else's events old. */
static void test_far_future(void **state)
{
    struct world *w = *state;

    put(w, HEED_RECORD_EVENT, "{\"ts\":1700000000000,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
                              "{\"user\":\"b\",\"item\":\"y\",\"kind\":\"view\"}\n"
                              "{\"user\":\"c\",\"item\":\"y\",\"kind\":\"view\"}\n"
                              "{\"ts\":2900000000000,\"user\":\"d\",\"item\":\"z\",\"kind\":\"view\"}");
    for (int again = 0; again < 2; again++) {
        heed_feed *feed = world_feed(w, "e", 5);
        assert_string_equal(feed->items[0].item, "y");
        assert_true(feed->items[0].score > 1.8);
        heed_feed_free(feed);
        world_reopen(w);
    }
}

static void same_as_counted(struct world *w)
{
    struct hd_tally counted;
    hd_store *store;

    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_tally_load(store, hd_clock_now(&(heed_clock){0}), &counted), HEED_OK);
    const struct hd_tally *kept = &w->engine->tally;
    assert_true(kept->loaded);
    assert_int_equal(kept->seq, counted.seq);
    assert_int_equal(kept->events, counted.events);
    assert_int_equal(kept->latest, counted.latest);
    for (int64_t i = 0; i < counted.items; i++) {
        double since = (double)(kept->base - counted.base) / (14 * 86400000.0);
        assert_true(fabs(kept->slow[i] * exp2(since) - counted.slow[i]) <= 1e-9 * counted.slow[i]);
    }
    hd_tally_clear(&counted);
    hd_store_close(store);
}

/* The tally that followed each event is the one that is counted anew. */
static void test_tally(void **state)
{
    struct world *w = *state;

    world_fill(w);
    assert_status(heed_engine_refresh(w->engine), HEED_OK);
    for (int i = 0; i < 400; i++) { /* up to three years apart, some late */
        char text[120];
        snprintf(text, sizeof text, "{\"ts\":%lld,\"user\":\"s%d\",\"item\":\"i%d\",\"kind\":\"view\"}",
                 1700000000000LL + 86400000LL * ((i * 37) % 1100), i, (i * i) % WORLD_ITEMS);
        put(w, HEED_RECORD_EVENT, text);
    }
    same_as_counted(w);
}

#define OLD_EVENTS 450000 /* three pieces of a count */

static void *refresh(void *context)
{
    struct world *w = context;

    return heed_engine_refresh(w->engine) == HEED_OK ? NULL : w;
}

/* A count of all events lets others write between its pieces, and misses nothing of theirs. */
static void test_count_beside(void **state)
{
    struct world *w = *state;
    heed_ingest piece = {.what = HEED_RECORD_EVENT};
    char *text = test_malloc(OLD_EVENTS * 64), one[120];
    pthread_t thread;
    void *failed;
    hd_store *other;
    struct hd_event_row row = {.ts = 5000000, .kind = 1, .position = -1, .dwell_ms = -1, .value = (double)NAN};
    bool fresh;

    for (int e = 0; e < OLD_EVENTS; e++)
        piece.bytes += (size_t)sprintf(text + piece.bytes,
                                       "{\"user\":\"%d\",\"item\":\"i%d\",\"kind\":\"view\",\"ts\":%d}\n",
                                       e / 1000, e % 7, 1000000 + e);
    piece.text = text;
    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_int_equal(piece.accepted, OLD_EVENTS);
    test_free(text);
    world_reopen(w);
    /* Another process has written, so what was put aside is old. */
    assert_status(hd_store_open(w->data, NULL, &other), HEED_OK);
    assert_status(hd_store_begin(other), HEED_OK);
    assert_status(hd_store_put_event(other, &row, &fresh), HEED_OK);
    assert_status(hd_store_commit(other), HEED_OK);
    hd_store_close(other);
    assert_int_equal(pthread_create(&thread, NULL, refresh, w), 0);
    for (int i = 0; i < 300; i++) { /* of users that were counted, and of some that were not */
        snprintf(one, sizeof one, "{\"ts\":%d,\"user\":\"%d\",\"item\":\"i%d\",\"kind\":\"view\"}",
                 6000000 + i, i * 37 % 460, i % 9);
        put(w, HEED_RECORD_EVENT, one);
    }
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    same_as_counted(w);
}

static void put_timed(struct world *w, heed_time ts, const char *user, const char *item)
{
    char text[160];

    snprintf(text, sizeof text, "{\"ts\":%lld,\"user\":\"%s\",\"item\":\"%s\",\"kind\":\"view\"}",
             (long long)ts, user, item);
    put(w, HEED_RECORD_EVENT, text);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * b;
}

/* What an event without a time weighs is told by the events, not by which of them came first or who counted
 * them: as the first with a time, and never less than a sixteenth. */
static void test_tally_untimed(void **state)
{
    struct world *w = *state;
    const heed_time day = 86400000, first = 1700000000000LL;

    for (int order = 0; order < 3; order++) {
        char item[3][8], imported[64];
        for (int i = 0; i < 3; i++) /* other items for each order; all of one tally */
            snprintf(item[i], sizeof item[i], "%c%d", 'x' + i, order);
        snprintf(imported, sizeof imported, "a%d %s\nb%d %s\n", order, item[0], order, item[0]);
        if (order == 0) {
            world_import(w, HEED_IMPORT_INTERACTIONS, imported);
            assert_true(near(score_of(w, item[0]), 2)); /* none has a time */
            heed_feed *feed = ask(w, &(heed_feed_request){.kind = HEED_FEED_TRENDING});
            assert_string_equal(feed->policy, "popular");
            assert_non_null(strstr(feed->why_policy, "no event has a time"));
            heed_feed_free(feed);
        }
        put_timed(w, first + (order == 1 ? 28 : 14) * day, "u", item[1]);
        if (order == 1)
            world_import(w, HEED_IMPORT_INTERACTIONS, imported);
        put_timed(w, first + (order == 1 ? 14 : 28) * day, "v", item[2]);
        put_timed(w, first, "w", item[1]);
        if (order == 2)
            world_import(w, HEED_IMPORT_INTERACTIONS, imported);
        for (int again = 0; again < 3; again++) { /* followed; put aside; counted anew */
            double x = score_of(w, item[0]), y = score_of(w, item[1]), z = score_of(w, item[2]);
            if (!near(x, 0.5) || !near(y + z, 1.75))
                fail_msg("order %d, %d: %g, %g, %g", order, again, x, y, z);
            if (again < 2)
                world_reopen(w);
        }
    }
    put_timed(w, 5, "old", "x0"); /* of 1970 */
    assert_true(near(score_of(w, "x0"), 0.125));
    world_reopen(w);
    assert_true(near(score_of(w, "x0"), 0.125));
}

/* ---- many at once */

struct crowd {
    struct world *w;
    atomic_bool stop;
    atomic_int feeds, next;
};

static void *ask_on(void *arg)
{
    struct crowd *c = arg;
    heed_rng rng = {(uint64_t)(uintptr_t)&rng, 0};

    while (!atomic_load(&c->stop)) {
        char user[8];
        heed_feed *feed = NULL;
        snprintf(user, sizeof user, "r%d", (int)(hd_random_u64(&rng) % 8));
        heed_feed_request request = {.user = user, .n = 5, .explain = true, .explore = 0.5,
                                     .filter = "not tag = \"t2\""};
        if (heed_engine_feed(c->w->engine, &request, &feed) != HEED_OK)
            break; /* seen by the count */
        atomic_fetch_add(&c->feeds, 1);
        heed_feed_free(feed);
    }
    return NULL;
}

static void *put_on(void *arg)
{
    struct crowd *c = arg;

    while (!atomic_load(&c->stop)) {
        char text[400];
        int n = atomic_fetch_add(&c->next, 1);
        snprintf(text, sizeof text,
                 "{\"id\":\"c%d\",\"user\":\"r%d\",\"item\":\"i%d\",\"kind\":\"view\"}\n"
                 "{\"id\":\"d%d\",\"user\":\"r%d\",\"item\":\"n%d\",\"kind\":\"click\"}\n",
                 n, n % 8, n % 30, n, n % 7, n % 50);
        heed_ingest piece[] = {piece_of(HEED_RECORD_EVENT, text),
                               piece_of(HEED_RECORD_ITEM, "{\"id\":\"i3\",\"title\":\"new\"}"),
                               piece_of(HEED_RECORD_USER, n % 2 ? "{\"id\":\"r1\"}"
                                                                : "{\"id\":\"r1\",\"consent\":{\"learn\":false}}")};
        if (heed_engine_ingest(c->w->engine, piece, 3) != HEED_OK || piece[0].accepted != 2)
            break;
    }
    return NULL;
}

static void *refresh_on(void *arg)
{
    struct crowd *c = arg;

    while (!atomic_load(&c->stop) && heed_engine_refresh(c->w->engine) == HEED_OK)
        usleep(2000);
    return NULL;
}

/* Feeds, events, new items, consents and refreshes at once, and a training that is swapped in: nobody
 * fails, and all that was taken in is there. */
static void test_crowd(void **state)
{
    struct world *w = *state;
    struct crowd c = {.w = w};
    void *(*const work[])(void *) = {ask_on, ask_on, put_on, put_on, refresh_on};
    pthread_t thread[5];
    heed_engine_counts counts;

    world_fill(w);
    world_train(w);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work[i], &c), 0);
    world_train(w);
    usleep(300000);
    assert_false(atomic_load(&c.stop));
    atomic_store(&c.stop, true);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_true(atomic_load(&c.feeds) > 10);
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_int_equal(counts.events, WORLD_EVENTS + 2 * atomic_load(&c.next));
    heed_feed *feed = world_feed(w, "r4", 5);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_ingest),       LIVE(test_ingest_refuses),        LIVE(test_merge),
        LIVE(test_ingest_names_no_hole), LIVE(test_silent_later), LIVE(test_silent_at_once),
        LIVE(test_next_answer),  LIVE(test_next_answer_kept_fresh), LIVE(test_other_process),
        LIVE(test_consent),      LIVE(test_silent),                LIVE(test_marks),
        LIVE(test_kinds),        LIVE(test_session),               LIVE(test_filter),
        LIVE(test_kept),         LIVE(test_tally), LIVE(test_count_beside),                LIVE(test_crowd),
        LIVE(test_far_future),   LIVE(test_tally_untimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

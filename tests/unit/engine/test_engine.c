/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine from the outside: what it answers with nothing, with items, with events, with a model,
 * and that its numbers are those of the parts it is made of. */
#include "world.h"

#include "base/sha256.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool holds(const heed_feed *feed, const char *item)
{
    for (int i = 0; i < feed->count; i++)
        if (strcmp(feed->items[i].item, item) == 0)
            return true;
    return false;
}

static void assert_page(const heed_feed *feed, const char *policy, int count)
{
    assert_string_equal(feed->policy, policy);
    assert_int_equal(feed->count, count);
    assert_true(strlen(feed->why_policy) > 10);
    assert_int_equal(strlen(feed->decision), 32);
    for (int i = 0; i < count; i++) {
        assert_int_equal(feed->items[i].rank, i + 1);
        assert_false(feed->items[i].sponsored);
        assert_true(isfinite(feed->items[i].score));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(feed->items[i].item, feed->items[j].item);
    }
}

/* ---- policies */

static void test_empty(void **state)
{
    heed_feed *feed = world_feed(*state, "anyone", 5);

    assert_page(feed, "empty", 0);
    assert_string_equal(feed->user, "anyone");
    heed_feed_free(feed);
}

static void test_fresh(void **state)
{
    struct world *w = *state;

    world_import(w, HEED_IMPORT_ITEMS,
                 "{\"id\":\"old\",\"created\":1000}\n{\"id\":\"new\",\"created\":3000}\n"
                 "{\"id\":\"hidden\",\"created\":4000,\"hidden\":true}\n"
                 "{\"id\":\"mid\",\"created\":2000}\n");
    heed_feed *feed = world_feed(w, "anyone", 0);
    assert_page(feed, "fresh", 3);
    assert_string_equal(feed->items[0].item, "new");
    assert_string_equal(feed->items[1].item, "mid");
    assert_string_equal(feed->items[2].item, "old");
    assert_null(feed->items[0].title);
    heed_feed_free(feed);
}

/* b is popular, a less, c was popular eight weeks ago: sixteen times less. */
static void test_popular(void **state)
{
    struct world *w = *state;
    char text[4096];
    size_t used = 0;
    const struct {
        const char *item;
        int users, day;
    } looks[] = {{"b", 6, 60}, {"a", 4, 60}, {"c", 10, 4}};

    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        for (int u = 0; u < looks[i].users; u++)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "{\"ts\":%lld,\"user\":\"r%d\",\"item\":\"%s\","
                                     "\"kind\":\"view\"}\n",
                                     1700000000000LL + 86400000LL * looks[i].day, u, looks[i].item);
    world_import(w, HEED_IMPORT_EVENTS, text);

    heed_feed *feed = world_feed(w, "stranger", 3);
    assert_page(feed, "popular", 3);
    assert_non_null(strstr(feed->why_policy, "no reader"));
    assert_string_equal(feed->items[0].item, "b");
    assert_string_equal(feed->items[1].item, "a");
    assert_string_equal(feed->items[2].item, "c");
    heed_feed_free(feed);

    feed = world_feed(w, "r5", 3); /* has seen b and c */
    assert_page(feed, "popular", 1);
    assert_non_null(strstr(feed->why_policy, "no model"));
    assert_string_equal(feed->items[0].item, "a");
    heed_feed_free(feed);
}

/* What was turned away does not come back, and is no attention: r is not asked about its hides. */
static void test_turned_away(void **state)
{
    struct world *w = *state;

    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1000,\"user\":\"q\",\"item\":\"a\",\"kind\":\"view\"}\n"
                 "{\"ts\":1000,\"user\":\"q\",\"item\":\"b\",\"kind\":\"view\"}\n"
                 "{\"ts\":1000,\"user\":\"q\",\"item\":\"c\",\"kind\":\"view\"}\n"
                 "{\"ts\":1000,\"user\":\"q\",\"item\":\"d\",\"kind\":\"view\"}\n"
                 "{\"ts\":1000,\"user\":\"r\",\"item\":\"a\",\"kind\":\"hide\"}\n"
                 "{\"ts\":1000,\"user\":\"r\",\"item\":\"b\",\"kind\":\"impression\"}\n"
                 "{\"ts\":1000,\"user\":\"r\",\"item\":\"c\",\"kind\":\"dislike\"}\n");
    heed_feed *feed = world_feed(w, "r", 10);
    assert_page(feed, "popular", 2);
    assert_true(holds(feed, "b") && holds(feed, "d"));
    heed_feed_free(feed);
}

static void test_sequence(void **state)
{
    struct world *w = *state;

    world_fill(w);
    world_train(w);
    heed_feed *feed = world_feed(w, "r4", 10); /* r4 walked i12 .. i23 */
    assert_page(feed, "sequence", 10);
    for (int i = 12; i < 24; i++) {
        char item[16];
        snprintf(item, sizeof item, "i%d", i);
        assert_false(holds(feed, item));
    }
    assert_non_null(feed->items[0].title);
    assert_true(feed->items[0].score < 0); /* the logarithm of a probability */
    assert_null(feed->items[0].reasons);
    assert_int_equal(feed->step_count, 7);
    heed_feed_free(feed);

    /* More than is left: 30 items less 12 seen. */
    feed = world_feed(w, "r4", 1000);
    assert_page(feed, "sequence", 18);
    double sum = 0;
    for (int i = 0; i < 18; i++)
        sum += exp(feed->items[i].score);
    assert_true(sum > 0 && sum <= 1); /* the seen items have the rest */
    heed_feed_free(feed);

    feed = world_feed(w, "r39", 5); /* one event is a history too */
    assert_page(feed, "sequence", 5);
    heed_feed_free(feed);

    feed = world_feed(w, "stranger", 5);
    assert_page(feed, "popular", 5);
    heed_feed_free(feed);
}

static void test_exclude_and_reasons(void **state)
{
    struct world *w = *state;
    const char *exclude[] = {"i0", "no such item", "i1", "i2"};
    heed_feed_request request = {
        .user = "r4", .n = 30, .explain = true, .exclude = exclude, .exclude_count = 4};
    heed_feed *feed;

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_feed(w->engine, &request, &feed), HEED_OK);
    assert_page(feed, "sequence", 15);
    for (int i = 0; i < 3; i++)
        assert_false(holds(feed, exclude[i == 1 ? 2 : i]));
    for (int i = 0; i < feed->count; i++) {
        const heed_feed_item *item = &feed->items[i];
        assert_true(item->reason_count <= 5);
        for (int r = 0; r < item->reason_count; r++) {
            assert_true(item->reasons[r].contribution > 0);
            assert_true(r == 0 ||
                        item->reasons[r].contribution <= item->reasons[r - 1].contribution);
            assert_true(item->reasons[r].when >= 1700000000000LL);
            assert_non_null(item->reasons[r].title);
        }
    }
    heed_feed_free(feed);
}

/* The past of a request ends at its moment; what was seen later is still seen. */
static void test_at(void **state)
{
    struct world *w = *state;
    heed_feed_request request = {.user = "r4", .n = 30, .at = 1700000000000LL + 3600000LL * 2};
    heed_feed *feed;

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_feed(w->engine, &request, &feed), HEED_OK);
    assert_page(feed, "sequence", 18);
    assert_non_null(strstr(feed->why_policy, " 3 visits"));
    heed_feed_free(feed);
}

/* ---- a model and what comes after it */

static void test_items_after_training(void **state)
{
    struct world *w = *state;
    heed_evaluation evaluation;

    world_fill(w);
    world_train(w);
    world_import(w, HEED_IMPORT_ITEMS, "{\"id\":\"late\",\"title\":\"Late\",\"created\":5000}\n");
    heed_feed *feed = world_feed(w, "r4", 30);
    assert_page(feed, "sequence", 19);
    bool there = false; /* what the model does not know stands among what it does, as an ordinary one */
    for (int i = 0; i < feed->count; i++)
        there = there || strcmp(feed->items[i].item, "late") == 0;
    assert_true(there);
    heed_feed_free(feed);
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1800000000000,\"user\":\"r4\",\"item\":\"late\",\"kind\":\"view\"}\n"
                 "{\"ts\":1800000000000,\"user\":\"one\",\"item\":\"late\",\"kind\":\"view\"}\n");
    feed = world_feed(w, "r4", 30);
    assert_page(feed, "sequence", 18);
    heed_feed_free(feed);
    feed = world_feed(w, "one", 5); /* all that is known of this reader the model does not know */
    assert_page(feed, "popular", 5);
    heed_feed_free(feed);
    assert_status(heed_engine_evaluate(w->engine, NULL, &evaluation), HEED_OK);
    assert_int_equal(evaluation.items, 31);

    heed_explanation *explanation;
    assert_status(heed_engine_explain(w->engine, "r5", "late", NULL, &explanation), HEED_E_STATE);
    assert_says("after the model was trained");
}

/* The model is found again by the next process, and a training by one engine is seen by another. */
static void test_reopen(void **state)
{
    struct world *w = *state;
    heed_engine *other;
    heed_engine_counts counts;

    world_fill(w);
    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    heed_feed *feed = NULL;
    heed_feed_request request = {.user = "r4"};
    assert_status(heed_engine_feed(other, &request, &feed), HEED_OK);
    assert_page(feed, "popular", 10);
    heed_feed_free(feed);
    world_train(w);
    assert_status(heed_engine_feed(other, &request, &feed), HEED_OK);
    assert_page(feed, "sequence", 10);
    heed_engine_close(other);

    world_reopen(w);
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_true(counts.has_model && counts.has_times);
    assert_int_equal(counts.users, WORLD_USERS);
    assert_int_equal(counts.items, WORLD_ITEMS);
    assert_int_equal(counts.events, WORLD_EVENTS);
    heed_feed *again = world_feed(w, "r4", 10);
    assert_int_equal(again->count, feed->count);
    for (int i = 0; i < feed->count; i++) {
        assert_string_equal(again->items[i].item, feed->items[i].item);
        assert_true(again->items[i].score == feed->items[i].score);
    }
    assert_string_not_equal(again->decision, feed->decision);
    heed_feed_free(again);
    heed_feed_free(feed);
}

/* ---- evaluation */

static void test_evaluate(void **state)
{
    struct world *w = *state;
    heed_evaluation two, one;
    struct hd_sha256 sha;
    char want[HD_SHA256_HEX_BYTES], line[64];

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_evaluate(w->engine, NULL, &two), HEED_OK);
    assert_int_equal(two.users, 39); /* r39 has one event */
    assert_int_equal(two.items, 30);
    assert_int_equal(two.repeats, 0);
    assert_true(two.time_tie_rate == 0);
    assert_true(two.ci95_ndcg10[0] <= two.test.ndcg10 && two.test.ndcg10 <= two.ci95_ndcg10[1]);
    /* Readers walk in steps of one or two, so what followed an item is one of two items. */
    assert_true(two.markov.hr5 == 1);
    assert_true(two.markov.mrr > 0.5 && two.popularity.mrr < 0.4);

    /* The split's text, in the byte order of "r0", "r1", "r10", ... */
    hd_sha256_init(&sha);
    for (int ten = 0; ten < 10; ten++)
        for (int last = -1; last < 10; last++) {
            int u = last < 0 ? ten : ten * 10 + last;
            if ((last >= 0 && ten == 0) || u >= WORLD_USERS - 1)
                continue;
            for (int e = 10; e < 12; e++) {
                int bytes = snprintf(line, sizeof line, "r%d i%d\n", u,
                                     (u * 3 + e * (1 + u % 2)) % WORLD_ITEMS);
                hd_sha256_update(&sha, line, (size_t)bytes);
            }
        }
    hd_sha256_final_hex(&sha, want);
    assert_string_equal(two.split_sha256, want);

    heed_engine_close(w->engine);
    assert_status(heed_engine_open(w->data, &(heed_engine_opts){.threads = 1}, &w->engine),
                  HEED_OK);
    assert_status(heed_engine_evaluate(w->engine, NULL, &one), HEED_OK);
    one.seconds = two.seconds;
    assert_memory_equal(&one, &two, sizeof one);
}

/* ---- explanations */

static void test_explain(void **state)
{
    struct world *w = *state;
    heed_explanation *exact, *quick, *less;
    heed_explain_opts opts = {.exact = true, .maps = true};

    world_fill(w);
    world_train(w);
    heed_feed *feed = world_feed(w, "r4", 1);
    assert_status(heed_engine_explain(w->engine, "r4", feed->items[0].item, &opts, &exact),
                  HEED_OK);
    assert_string_equal(exact->method, "leave-one-out");
    assert_int_equal(exact->rank, 1);
    assert_true(fabs(exact->score - feed->items[0].score) < 1e-3); /* bfloat16 in the softmax's sum */
    assert_true(fabs(exp(exact->score) - exact->probability) < 1e-9);
    assert_int_equal(exact->reason_count, 12);
    assert_int_equal(exact->history_count, 12);
    assert_string_equal(exact->history[0].item, "i12");
    assert_string_equal(exact->history[11].item, "i23");
    assert_string_equal(exact->counterfactual_item, exact->reasons[0].item);
    assert_true(exact->counterfactual_rank >= 1 && exact->counterfactual_rank <= 18);
    for (int i = 1; i < 12; i++)
        assert_true(exact->reasons[i].contribution <= exact->reasons[i - 1].contribution);
    assert_non_null(exact->maps);

    /* The last event's contribution is by definition the score less the score before that event. */
    opts = (heed_explain_opts){.exact = true, .at = 1700000000000LL + 3600000LL * 10};
    assert_status(heed_engine_explain(w->engine, "r4", feed->items[0].item, &opts, &less), HEED_OK);
    assert_int_equal(less->history_count, 11);
    assert_true(fabs(exact->score - less->score - exact->history[11].contribution) < 1e-5);

    assert_status(heed_engine_explain(w->engine, "r4", feed->items[0].item, NULL, &quick), HEED_OK);
    assert_string_equal(quick->method, "gradient-attention");
    assert_true(quick->score == exact->score && quick->rank == exact->rank);
    assert_null(quick->maps);
    heed_explanation_free(less);
    heed_explanation_free(quick);
    heed_explanation_free(exact);
    heed_feed_free(feed);
}

/* A history of one event: what is left of it without that event is nothing at all. */
static void test_explain_one_event(void **state)
{
    struct world *w = *state;
    heed_explanation *explanation;

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_explain(w->engine, "r39", "i0", &(heed_explain_opts){.exact = true},
                                      &explanation),
                  HEED_OK);
    assert_int_equal(explanation->reason_count, 1);
    assert_int_equal(explanation->counterfactual_rank, 29); /* all alike, ties against it */
    assert_true(fabs(explanation->reasons[0].contribution - explanation->score - log(30)) < 1e-5);
    heed_explanation_free(explanation);
}

/* The maps of a history are those of an explanation, with the titles of what was read. */
static void test_maps(void **state)
{
    struct world *w = *state;
    heed_explain_opts opts = {.maps = true};
    heed_explanation *why;
    heed_maps *maps = NULL;

    world_fill(w);
    assert_status(heed_engine_maps(w->engine, "r4", 0, &maps), HEED_E_STATE);
    assert_says("no model");
    world_train(w);
    assert_status(heed_engine_maps(w->engine, "r4", 0, &maps), HEED_OK);
    assert_status(heed_engine_explain(w->engine, "r4", "i0", &opts, &why), HEED_OK);
    assert_int_equal(maps->rows, 12);
    assert_int_equal(maps->columns, 12);
    assert_int_equal(maps->layers, why->layers);
    assert_int_equal(maps->heads, why->heads);
    assert_true(maps->causal);
    assert_string_equal(maps->title, "What r4 read");
    assert_non_null(strstr(maps->note, "the latest 12 of 12 visits"));
    for (int i = 0; i < 12; i++)
        assert_string_equal(maps->row_names[i], why->history[i].title);
    assert_memory_equal(maps->weights, why->maps,
                        (size_t)maps->layers * maps->heads * 144 * sizeof(float));
    heed_explanation_free(why);
    heed_maps_free(maps);

    assert_status(heed_engine_maps(w->engine, "r4", 1700000000000LL + 3600000LL * 10, &maps),
                  HEED_OK);
    assert_int_equal(maps->rows, 11);
    heed_maps_free(maps);
    heed_maps_free(NULL);
    assert_status(heed_engine_maps(w->engine, "r4x", 0, &maps), HEED_E_NOTFOUND);
    assert_says("r4");
    assert_status(heed_engine_maps(w->engine, "", 0, &maps), HEED_E_ARG);
    assert_status(heed_engine_maps(w->engine, "r4", 1, &maps), HEED_E_STATE);
    assert_says("no visits");
}

/* Asked years after the last event, a model with a time bias answers as it does a week after it. */
static void test_old_data(void **state)
{
    struct world *w = *state;
    const heed_time last = 1700000000000LL + 3600000LL * 11, week = 7 * 86400000LL;
    const heed_time at[] = {last + week, last + week + 1, last + 20 * 365 * 86400000LL, last + 1};
    heed_train_opts opts = {.recipe = HEED_RECIPE_HSTU, .dim = 16, .layers = 1, .epochs = 2};
    heed_train_report report;
    heed_feed *feed[4];

    world_fill(w);
    assert_status(heed_engine_train(w->engine, &opts, &report), HEED_OK);
    for (int i = 0; i < 4; i++) {
        heed_feed_request request = {.user = "r4", .n = 18, .at = at[i]};
        assert_status(heed_engine_feed(w->engine, &request, &feed[i]), HEED_OK);
        assert_string_equal(feed[i]->policy, "sequence");
    }
    bool differs = false; /* time does matter before that */
    for (int k = 0; k < 18; k++) {
        assert_true(feed[1]->items[k].score == feed[0]->items[k].score);
        assert_true(feed[2]->items[k].score == feed[0]->items[k].score);
        differs = differs || feed[3]->items[k].score != feed[0]->items[k].score;
    }
    assert_true(differs);
    for (int i = 0; i < 4; i++)
        heed_feed_free(feed[i]);
}

/* ---- training that was stopped goes on to the same bytes */

struct stop {
    int calls, after;
};

static bool stop_after(void *context, const char *what, int64_t done, int64_t total)
{
    struct stop *stop = context;

    (void)what;
    (void)done;
    (void)total;
    return ++stop->calls <= stop->after;
}

/* The digest of the model's file. */
static void model_digest(struct world *w, char hex[HD_SHA256_HEX_BYTES])
{
    char path[128], block[4096];
    struct hd_sha256 sha;
    size_t got;

    snprintf(path, sizeof path, "%s/exported", w->folder);
    assert_status(heed_engine_export_model(w->engine, "sequence", path), HEED_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    hd_sha256_init(&sha);
    while ((got = fread(block, 1, sizeof block, f)) > 0)
        hd_sha256_update(&sha, block, got);
    fclose(f);
    hd_sha256_final_hex(&sha, hex);
}

static void test_resume(void **state)
{
    struct world *w = *state;
    struct stop stop = {0, INT32_MAX};
    heed_train_opts opts = {.recipe = HEED_RECIPE_SASREC,
                            .dim = 16,
                            .layers = 1,
                            .length = 16,
                            .epochs = 6,
                            .batch = 8,
                            .seed = 3,
                            .progress = {stop_after, &stop}};
    heed_train_report report;
    char whole[HD_SHA256_HEX_BYTES], now[HD_SHA256_HEX_BYTES];
    int resumes = 0, stops = 0;

    world_fill(w);
    assert_status(heed_engine_train(w->engine, &opts, &report), HEED_OK);
    assert_false(report.resumed);
    model_digest(w, whole);
    const int calls = stop.calls;
    assert_true(calls >= 6);
    for (int after = 0; after < calls; after += 1 + calls / 8, stops++) {
        stop = (struct stop){0, after};
        opts.resume = false;
        assert_status(heed_engine_train(w->engine, &opts, &report), HEED_E_CANCELLED);
        model_digest(w, now); /* the old model is still there */
        assert_string_equal(now, whole);
        stop = (struct stop){0, INT32_MAX};
        opts.resume = true;
        opts.threads = 1 + after % 2;
        assert_status(heed_engine_train(w->engine, &opts, &report), HEED_OK);
        resumes += report.resumed;
        model_digest(w, now);
        assert_string_equal(now, whole);
    }
    assert_true(resumes >= stops / 2); /* the earliest stops left nothing to resume */
    assert_status(heed_engine_train(w->engine, &opts, &report), HEED_OK);
    assert_false(report.resumed); /* the last run had ended: there is nothing left to resume */
}

/* ---- decisions are kept, one line each, and a look that nobody is shown is not */

static void test_decisions(void **state)
{
    struct world *w = *state;
    char path[128], line[8192];
    int lines = 0;

    world_fill(w);
    heed_feed *first = world_feed(w, "r1", 2), *second = world_feed(w, "r1", 2), *third;
    assert_true(strcmp(first->decision, second->decision) != 0);
    assert_status(
        heed_engine_feed(w->engine, &(heed_feed_request){.user = "r1", .unrecorded = true}, &third),
        HEED_OK);
    snprintf(path, sizeof path, "%s/decisions.ndjson", w->data);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        heed_feed *feed = lines++ == 0 ? first : second;
        assert_non_null(strstr(line, feed->decision));
        assert_non_null(strstr(line, feed->items[1].item));
        assert_true(line[0] == '{' && strcmp(line + strlen(line) - 2, "}\n") == 0);
    }
    assert_int_equal(lines, 2);
    fclose(f);
    heed_feed_free(first);
    heed_feed_free(second);
    heed_feed_free(third);
}

/* ---- feeds from several threads while events come in and a model is replaced */

static void *feed_often(void *arg)
{
    struct world *w = arg;

    for (int i = 0; i < 100; i++) {
        char user[16];
        heed_feed *feed = NULL;
        snprintf(user, sizeof user, "r%d", i % WORLD_USERS);
        heed_feed_request request = {.user = user, .n = 5, .explain = i % 10 == 0};
        if (heed_engine_feed(w->engine, &request, &feed) != HEED_OK || feed->count == 0)
            return (void *)1;
        heed_feed_free(feed);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct world *w = *state;
    pthread_t thread[3];
    void *failed;

    world_fill(w);
    world_train(w);
    for (int t = 0; t < 3; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, feed_often, w), 0);
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1800000000000,\"user\":\"r4\",\"item\":\"i1\",\"kind\":\"view\"}\n");
    world_train(w);
    for (int t = 0; t < 3; t++) {
        pthread_join(thread[t], &failed);
        assert_null(failed);
    }
}

int main(void)
{
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_empty),     WORLD_TEST(test_fresh),
        WORLD_TEST(test_popular),   WORLD_TEST(test_turned_away),
        WORLD_TEST(test_sequence),  WORLD_TEST(test_exclude_and_reasons),
        WORLD_TEST(test_at),        WORLD_TEST(test_items_after_training),
        WORLD_TEST(test_reopen),    WORLD_TEST(test_evaluate),
        WORLD_TEST(test_explain),   WORLD_TEST(test_explain_one_event),
        WORLD_TEST(test_maps),
        WORLD_TEST(test_old_data),  WORLD_TEST(test_resume),
        WORLD_TEST(test_decisions), WORLD_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

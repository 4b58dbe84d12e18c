/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine refuses, with which words, and what it goes on doing all the same. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_nothing_there(void **state)
{
    struct world *w = *state;
    heed_train_report report;
    heed_evaluation evaluation;
    heed_explanation *explanation;
    char path[128];

    assert_status(heed_engine_train(w->engine, NULL, &report), HEED_E_STATE);
    assert_says("no events");
    assert_status(heed_engine_evaluate(w->engine, NULL, &evaluation), HEED_E_STATE);
    assert_says("no events");
    assert_status(heed_engine_explain(w->engine, "x", "y", NULL, &explanation), HEED_E_NOTFOUND);
    assert_says("no user \"x\"");
    snprintf(path, sizeof path, "%s/model", w->folder);
    assert_status(heed_engine_export_model(w->engine, "sequence", path), HEED_E_STATE);
    assert_says("no model");
    assert_status(heed_engine_export_model(w->engine, "frobnicate", path), HEED_E_NOTFOUND);
}

static void test_must_exist(void **state)
{
    struct world *w = *state;
    heed_engine *engine = NULL;
    char path[128];

    snprintf(path, sizeof path, "%s/elsewhere", w->folder);
    assert_status(heed_engine_open(path, &(heed_engine_opts){.must_exist = true}, &engine),
                  HEED_E_NOTFOUND);
    assert_null(engine);
    assert_status(heed_engine_open("", NULL, &engine), HEED_E_ARG);
    assert_status(heed_engine_open(path, &(heed_engine_opts){.threads = -1}, &engine), HEED_E_ARG);
    assert_int_not_equal(access(path, F_OK), 0); /* and nothing was made */
}

static void test_names_nobody_knows(void **state)
{
    struct world *w = *state;
    heed_explanation *explanation;

    world_fill(w);
    world_train(w);
    assert_status(heed_engine_explain(w->engine, "r3x", "i0", NULL, &explanation), HEED_E_NOTFOUND);
    assert_says("near it: \"r3\"");
    assert_status(heed_engine_explain(w->engine, "r3", "itm0", NULL, &explanation),
                  HEED_E_NOTFOUND);
    assert_says("no item \"itm0\"");
    assert_says("\"i0\" (Title 0)");
    assert_status(heed_engine_explain(w->engine, "r3", "title 17", NULL, &explanation),
                  HEED_E_NOTFOUND);
    assert_says("near it: \"i17\" (Title 17)");
    assert_status(heed_engine_explain(w->engine, NULL, "i0", NULL, &explanation), HEED_E_ARG);
    assert_status(heed_engine_explain(w->engine, "r3", "", NULL, &explanation), HEED_E_ARG);
}

static void test_requests(void **state)
{
    struct world *w = *state;
    const char *exclude[] = {"a", NULL};
    const heed_feed_request wrong[] = {
        {0},
        {.user = ""},
        {.user = "a", .n = -1},
        {.user = "a", .n = 1001},
        {.user = "a", .exclude_count = -1},
        {.user = "a", .exclude_count = 1},
        {.user = "a", .exclude = exclude, .exclude_count = 2},
    };
    heed_feed *feed = NULL;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_status(heed_engine_feed(w->engine, &wrong[i], &feed), HEED_E_ARG);
    assert_null(feed);
    feed = world_feed(w, "a", 1000);
    heed_feed_free(feed);
    heed_feed_free(NULL);
    heed_explanation_free(NULL);
    heed_engine_close(NULL);
}

static void test_train_options(void **state)
{
    struct world *w = *state;
    const heed_train_opts wrong[] = {
        {.dim = -1},         {.layers = 257}, {.epochs = -1},
        {.rate = -0.1},      {.dropout = 1},  {.recipe = (heed_recipe)7},
        {.length = 1 << 20},
    };
    heed_train_report report;

    world_fill(w);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_status(heed_engine_train(w->engine, &wrong[i], &report), HEED_E_ARG);
}

/* A feed is answered beside whatever lies where the model should; a new training puts it right. */
static void test_broken_models(void **state)
{
    struct world *w = *state;
    const char *broken[] = {"", "\x08", "\xff\xff\xff\xff\xff\xff\xff\x7f{}",
                            "\x02\0\0\0\0\0\0\0{}", "not a model, and longer than eight bytes"};
    const size_t bytes[] = {0, 1, 10, 10, 40};
    heed_engine_counts counts;
    heed_explanation *explanation;
    heed_evaluation evaluation;
    char path[128];

    world_fill(w);
    world_train(w);
    snprintf(path, sizeof path, "%s/models/sequence.safetensors", w->data);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(broken[i], 1, bytes[i], f), bytes[i]);
        fclose(f);
        heed_feed *feed = world_feed(w, "r4", 5);
        assert_string_equal(feed->policy, "popular");
        assert_non_null(strstr(feed->why_policy, "the model cannot be used"));
        assert_int_equal(feed->count, 5);
        heed_feed_free(feed);
        assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
        assert_false(counts.has_model);
        assert_status(heed_engine_explain(w->engine, "r4", "i0", NULL, &explanation), HEED_E_STATE);
        assert_says("the model cannot be used");
        assert_status(heed_engine_evaluate(w->engine, NULL, &evaluation), HEED_E_STATE);
    }
    assert_int_equal(unlink(path), 0);
    heed_feed *feed = world_feed(w, "r4", 5);
    assert_non_null(strstr(feed->why_policy, "no model has been trained yet"));
    heed_feed_free(feed);
    world_train(w);
    feed = world_feed(w, "r4", 5);
    assert_string_equal(feed->policy, "sequence");
    heed_feed_free(feed);
}

/* The model of a bigger catalogue in the folder of a smaller one. */
static void test_foreign_model(void **state)
{
    struct world *w = *state;
    void *other_state;

    world_fill(w);
    world_train(w);
    assert_int_equal(world_setup(&other_state), 0);
    struct world *other = other_state;
    world_import(other, HEED_IMPORT_INTERACTIONS, "a x\na y\na z\nb x\n");
    char path[128];
    snprintf(path, sizeof path, "%s/models", other->data);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/models/sequence.safetensors", other->data);
    assert_status(heed_engine_export_model(w->engine, "sequence", path), HEED_OK);
    heed_feed *feed = world_feed(other, "b", 5);
    assert_string_equal(feed->policy, "popular");
    assert_non_null(strstr(feed->why_policy, "belongs to other data"));
    heed_feed_free(feed);
    world_teardown(&other_state);
}

static void test_small_worlds(void **state)
{
    struct world *w = *state;
    heed_train_opts opts = {.recipe = HEED_RECIPE_SASREC, .dim = 8, .layers = 1, .epochs = 1};
    heed_train_report report;
    heed_evaluation evaluation;

    /* One item, one user, one event: a model can be trained, nothing can be measured. */
    world_import(w, HEED_IMPORT_INTERACTIONS, "a only\n");
    heed_feed *feed = world_feed(w, "a", 5);
    assert_int_equal(feed->count, 0); /* the only item has been seen */
    heed_feed_free(feed);
    feed = world_feed(w, "b", 5);
    assert_int_equal(feed->count, 1);
    heed_feed_free(feed);
    heed_status status = heed_engine_train(w->engine, &opts, &report);
    assert_true(status == HEED_OK || status == HEED_E_STATE);
    assert_status(heed_engine_evaluate(w->engine, NULL, &evaluation), HEED_E_STATE);
    feed = world_feed(w, "a", 5);
    assert_int_equal(feed->count, 0);
    heed_feed_free(feed);
}

static void test_export(void **state)
{
    struct world *w = *state;
    char path[128];
    struct stat a, b;

    world_fill(w);
    world_train(w);
    snprintf(path, sizeof path, "%s/model.safetensors", w->folder);
    assert_status(heed_engine_export_model(w->engine, "sequence", path), HEED_OK);
    assert_int_equal(stat(path, &a), 0);
    snprintf(path, sizeof path, "%s/models/sequence.safetensors", w->data);
    assert_int_equal(stat(path, &b), 0);
    assert_int_equal(a.st_size, b.st_size);
    snprintf(path, sizeof path, "%s/no/such/folder", w->folder);
    assert_status(heed_engine_export_model(w->engine, "sequence", path), HEED_E_IO);
    assert_says("cannot write");
}

/* A log that asks the engine back, as a callback may: with the engine's lock held it would wait for
 * itself for ever. */
struct curious {
    heed_engine *engine;
    int lines;
};

static void ask_back(void *context, heed_log_level level, const char *text)
{
    struct curious *c = context;
    heed_engine_counts counts;

    assert_int_equal(level, HEED_LOG_ERROR);
    assert_non_null(strstr(text, "the model cannot be used"));
    c->lines++;
    assert_status(heed_engine_count(c->engine, &counts), HEED_OK);
}

static void test_log_may_call_back(void **state)
{
    struct world *w = *state;
    struct curious c = {0};
    heed_engine_opts opts = {.log = {ask_back, &c}};
    heed_feed_request request = {.user = "r4"};
    heed_feed *feed;
    char path[128];

    world_fill(w);
    world_train(w);
    snprintf(path, sizeof path, "%s/models/sequence.safetensors", w->data);
    assert_int_equal(truncate(path, 100), 0);
    assert_status(heed_engine_open(w->data, &opts, &c.engine), HEED_OK);
    for (int i = 0; i < 3; i++) {
        assert_status(heed_engine_feed(c.engine, &request, &feed), HEED_OK);
        heed_feed_free(feed);
    }
    assert_int_equal(c.lines, 1); /* told once, not with each answer */
    heed_engine_close(c.engine);
}

int main(void)
{
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_nothing_there),      WORLD_TEST(test_must_exist),
        WORLD_TEST(test_names_nobody_knows), WORLD_TEST(test_requests),
        WORLD_TEST(test_train_options),      WORLD_TEST(test_broken_models),
        WORLD_TEST(test_log_may_call_back),  WORLD_TEST(test_foreign_model),
        WORLD_TEST(test_small_worlds),       WORLD_TEST(test_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The sequence model as a whole: it learns what there is to learn, the same bits come out whatever
 * the thread count and whether or not the run was interrupted, and files keep every bit. */
#include "base/memory.h"
#include "base/random.h"
#include "models/sequence.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define USERS 120
#define ITEMS 40
#define EVENTS_MAX 60

/* Readers who walk a ring of items, three steps at a time: the next item is certain. */
struct ring {
    struct hd_histories h;
    int64_t offset[USERS + 1];
    int32_t item[USERS * EVENTS_MAX];
    heed_time time[USERS * EVENTS_MAX];
};

static void ring_init(struct ring *r, bool timed)
{
    heed_rng rng = hd_rng(5, 0);

    r->offset[0] = 0;
    for (int64_t u = 0; u < USERS; u++) {
        int64_t n = u % 10 == 0 ? u / 10 % 4 : 8 + (int64_t)hd_random_below(&rng, EVENTS_MAX - 8);
        int32_t at = (int32_t)hd_random_below(&rng, ITEMS);
        heed_time when = 1000000;
        for (int64_t e = 0; e < n; e++) {
            r->item[r->offset[u] + e] = at;
            r->time[r->offset[u] + e] = when;
            at = (at + 3) % ITEMS;
            when += 1000 + (heed_time)hd_random_below(&rng, 100000);
        }
        r->offset[u + 1] = r->offset[u] + n;
    }
    r->h = (struct hd_histories){USERS, ITEMS, r->offset, r->item, timed ? r->time : NULL};
}

static struct hd_sequence_train_opts small(heed_recipe recipe)
{
    return (struct hd_sequence_train_opts){
        .config = {.recipe = recipe, .dim = 16, .layers = 2, .heads = 2, .length = 12},
        .hyper = {.epochs = 12, .batch = 16, .rate = 1e-2},
        .seed = 7,
    };
}

static const heed_recipe recipes[] = {HEED_RECIPE_SASREC, HEED_RECIPE_HSTU, HEED_RECIPE_LIGR};

static char folder[] = "/tmp/heed-sequence-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static char *slurp(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes + 1);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t na, nb;
    char *x = slurp(a, &na), *y = slurp(b, &nb);

    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x);
    free(y);
}

static void assert_ok(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("%s: %s", heed_status_name(status), heed_error_message());
}

static void test_learns_the_ring(void **state)
{
    (void)state;
    static struct ring ring;
    for (int i = 0; i < 6; i++) {
        bool timed = i >= 3;
        struct hd_sequence_train_opts opts = small(recipes[i % 3]);
        heed_train_report report;
        hd_sequence *model;
        hd_sequence_reader *reader;
        float scores[ITEMS];
        int32_t past[EVENTS_MAX];
        int32_t best = 0;

        ring_init(&ring, timed);
        assert_ok(hd_sequence_train(&ring.h, &opts, &model, &report));
        print_message("# %s timed %d: valid ndcg@10 %.4f\n", report.recipe, timed,
                      report.valid_ndcg10);
        assert_true(report.valid_ndcg10 > 0.97);
        /* Ask it: a past that ends at item 10 goes on with 13. */
        for (int e = 0; e < 30; e++)
            past[e] = (int32_t)((10 + 3 * (e - 29) + 3 * ITEMS) % ITEMS);
        assert_ok(hd_sequence_reader_new(model, &reader));
        assert_ok(hd_sequence_score(reader, past, timed ? ring.time : NULL, NULL, 30, ring.time[30],
                                    scores));
        for (int32_t v = 0; v < ITEMS; v++)
            best = scores[v] > scores[best] ? v : best;
        assert_int_equal(best, 13);
        hd_sequence_reader_free(reader);
        hd_sequence_free(model);
    }
}

static void train_to(struct hd_sequence_train_opts *opts, int threads, const char *path)
{
    static struct ring ring;
    heed_train_report report;
    hd_sequence *model;

    ring_init(&ring, true);
    assert_ok(heed_pool_new(threads, &opts->pool));
    assert_ok(hd_sequence_train(&ring.h, opts, &model, &report));
    assert_ok(hd_sequence_save(model, path));
    hd_sequence_free(model);
    heed_pool_free(opts->pool);
    opts->pool = NULL;
}

static void test_threads_do_not_change_the_bits(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct hd_sequence_train_opts opts = small(recipes[i]);
        opts.hyper.epochs = 3;
        opts.hyper.ema_decay = 0.9;
        train_to(&opts, 1, in_folder("one"));
        train_to(&opts, 2, in_folder("two"));
        train_to(&opts, 3, in_folder("three"));
        assert_same_file(in_folder("one"), in_folder("two"));
        assert_same_file(in_folder("one"), in_folder("three"));
    }
}

/* Says stop at the n-th report. */
static bool stop_at(void *context, const char *what, int64_t done, int64_t total)
{
    (void)what, (void)done, (void)total;
    return --*(int *)context > 0;
}

static void test_resume_is_exact(void **state)
{
    (void)state;
    static struct ring ring;
    struct hd_sequence_train_opts opts = small(HEED_RECIPE_LIGR);

    opts.hyper.epochs = 5;
    opts.hyper.ema_decay = 0.95;
    train_to(&opts, 1, in_folder("whole"));
    char run[256];
    snprintf(run, sizeof run, "%s", in_folder("run")); /* in_folder's buffers come round again */
    opts.checkpoint = run;
    ring_init(&ring, true);
    for (int stop = 1; stop <= 40; stop += 3) {
        heed_train_report report;
        hd_sequence *model = NULL;
        int left = stop;

        unlink(opts.checkpoint);
        opts.resume = false;
        opts.progress = (heed_progress){stop_at, &left};
        heed_status status = hd_sequence_train(&ring.h, &opts, &model, &report);
        if (status == HEED_OK) { /* it was through before */
            hd_sequence_free(model);
            break;
        }
        assert_int_equal(status, HEED_E_CANCELLED);
        opts.resume = true;
        opts.progress = (heed_progress){0};
        assert_ok(hd_sequence_train(&ring.h, &opts, &model, &report));
        assert_ok(hd_sequence_save(model, in_folder("resumed")));
        hd_sequence_free(model);
        assert_same_file(in_folder("whole"), in_folder("resumed"));
    }

    /* A checkpoint of other options is not taken up in silence. */
    heed_train_report report;
    hd_sequence *model;
    opts.seed++;
    assert_int_equal(hd_sequence_train(&ring.h, &opts, &model, &report), HEED_E_STATE);
    assert_non_null(strstr(heed_error_message(), "other options"));
}

static void test_file_keeps_the_model(void **state)
{
    (void)state;
    struct hd_sequence_train_opts opts = small(HEED_RECIPE_SASREC);
    hd_sequence *model;
    hd_sequence_reader *reader;
    const int32_t past[] = {1, 4, 7, 10}, strange[] = {1, ITEMS};
    float scores[ITEMS];

    opts.hyper.epochs = 1;
    train_to(&opts, 1, in_folder("kept"));
    assert_ok(hd_sequence_load(in_folder("kept"), &model));
    assert_ok(hd_sequence_save(model, in_folder("again")));
    assert_same_file(in_folder("kept"), in_folder("again"));
    assert_int_equal(hd_sequence_config(model)->length, 12);

    assert_ok(hd_sequence_reader_new(model, &reader));
    assert_ok(hd_sequence_score(reader, past, NULL, NULL, 4, 0, scores));
    assert_int_equal(hd_sequence_score(reader, strange, NULL, NULL, 2, 0, scores), HEED_E_RANGE);
    assert_int_equal(hd_sequence_score(reader, past, NULL, NULL, 0, 0, scores), HEED_E_ARG);
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);

    /* Cut short at every length, the file is refused and nothing leaks or falls over. */
    size_t bytes;
    char *data = slurp(in_folder("kept"), &bytes);
    for (size_t n = 0; n < bytes; n += n < 2000 ? 97 : 1511) {
        FILE *f = fopen(in_folder("cut"), "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, n, f), n);
        fclose(f);
        assert_int_not_equal(hd_sequence_load(in_folder("cut"), &model), HEED_OK);
    }
    free(data);
}

static void test_attribution(void **state)
{
    (void)state;
    static struct ring ring;
    struct hd_sequence_train_opts opts = small(HEED_RECIPE_SASREC);
    heed_train_report report;
    hd_sequence *model;
    hd_sequence_reader *reader;
    enum { N = 20, L = 12, H = 2, LAYERS = 2 };
    static float maps[LAYERS * H * N * N];
    double contributions[N];
    int32_t past[N];

    ring_init(&ring, false);
    assert_ok(hd_sequence_train(&ring.h, &opts, &model, &report));
    assert_ok(hd_sequence_reader_new(model, &reader));
    for (int e = 0; e < N; e++)
        past[e] = (int32_t)(3 * e % ITEMS);
    assert_ok(hd_sequence_attribute(reader, past, NULL, N, 0, 3 * N % ITEMS, contributions, maps));
    double mass = 0;
    for (int j = 0; j < N; j++) {
        assert_true(isfinite(contributions[j]));
        if (j < N - L)
            assert_true(contributions[j] == 0); /* before the window: not seen */
        mass += fabs(contributions[j]);
    }
    assert_true(mass > 0);
    for (int m = 0; m < LAYERS * H; m++)
        for (int i = N - L; i < N; i++) {
            double sum = 0;
            for (int j = 0; j < N; j++) {
                sum += (double)maps[(m * N + i) * N + j];
                assert_true(j <= i || maps[(m * N + i) * N + j] == 0);
            }
            assert_true(fabs(sum - 1) < 1e-5); /* softmax */
        }
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
}

/* Only the window counts, for the network and for the memory, and what a training kept beside its
 * model goes when it is told to. */
static void test_window_is_all_there_is(void **state)
{
    (void)state;
    static struct ring ring;
    struct hd_sequence_train_opts opts = small(HEED_RECIPE_LIGR);
    const int32_t past[] = {30, 21, 5, 1, 4, 7, 10};
    float whole[ITEMS], window[ITEMS];
    double parts[7];
    heed_train_report report;
    hd_sequence_reader *reader;
    hd_sequence *model;
    char run[256], best[270];

    snprintf(run, sizeof run, "%s", in_folder("window"));
    snprintf(best, sizeof best, "%s.best", run);
    ring_init(&ring, false);
    opts.config.length = 4; /* fewer than the memory looks back */
    opts.hyper.epochs = 2;
    opts.checkpoint = run;
    assert_ok(hd_sequence_train(&ring.h, &opts, &model, &report));
    assert_int_equal(access(run, F_OK) | access(best, F_OK), 0);
    hd_sequence_checkpoint_remove(run);
    assert_int_not_equal(access(run, F_OK), 0);
    assert_int_not_equal(access(best, F_OK), 0);

    assert_ok(hd_sequence_reader_new(model, &reader));
    assert_ok(hd_sequence_score(reader, past, NULL, NULL, 7, 0, whole));
    assert_ok(hd_sequence_score(reader, past + 3, NULL, NULL, 4, 0, window));
    assert_memory_equal(whole, window, sizeof whole);
    assert_ok(hd_sequence_attribute(reader, past, NULL, 7, 0, 13, parts, NULL));
    for (int e = 0; e < 7; e++)
        assert_true(e < 3 ? parts[e] == 0 : isfinite(parts[e]));
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
}

static const struct bad {
    const char *name, *word;
    struct hd_sequence_config config;
    struct hd_sequence_hyper hyper;
} bads[] = {
    {"heads that do not divide", "heads", {.dim = 16, .heads = 3}, {0}},
    {"no dim", "dim", {.dim = -1}, {0}},
    {"too many layers", "layers", {.layers = 1000}, {0}},
    {"a length beyond the limit", "length", {.length = 1 << 20}, {0}},
    {"a rate of ten", "rate", {0}, {.rate = 10}},
    {"epochs below one", "epochs", {0}, {.epochs = -3}},
    {"a dropout of one", "dropout", {0}, {.dropout = 1}},
    {"a dropout that is no number", "dropout", {0}, {.dropout = NAN}},
};

static void test_bad_options_are_named(void **state)
{
    (void)state;
    static struct ring ring;

    ring_init(&ring, false);
    for (const struct bad *b = bads; b < bads + sizeof bads / sizeof *bads; b++) {
        struct hd_sequence_train_opts opts = {.config = b->config, .hyper = b->hyper};
        heed_train_report report;
        hd_sequence *model;
        print_message("# %s\n", b->name);
        assert_int_equal(hd_sequence_train(&ring.h, &opts, &model, &report), HEED_E_ARG);
        assert_non_null(strstr(heed_error_message(), b->word));
    }
    /* Nothing to learn from is a state, not a crash: single events, and nobody at all. */
    struct hd_sequence_train_opts opts = small(HEED_RECIPE_SASREC);
    int64_t offset[] = {0, 1, 2};
    struct hd_histories lone = {2, ITEMS, offset, ring.item, NULL},
                        none = {0, ITEMS, offset, ring.item, NULL};
    heed_train_report report;
    hd_sequence *model;
    assert_int_equal(hd_sequence_train(&lone, &opts, &model, &report), HEED_E_STATE);
    assert_int_equal(hd_sequence_train(&none, &opts, &model, &report), HEED_E_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_the_ring),
        cmocka_unit_test(test_threads_do_not_change_the_bits),
        cmocka_unit_test(test_resume_is_exact),
        cmocka_unit_test(test_file_keeps_the_model),
        cmocka_unit_test(test_attribution),
        cmocka_unit_test(test_window_is_all_there_is),
        cmocka_unit_test(test_bad_options_are_named),
    };
    if (!mkdtemp(folder))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

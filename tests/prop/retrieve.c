/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of retrieval over random models, histories and masks: what comes back is what scoring every item
 * would have chosen, to the last place and the last bit, with the portable kernels and with this
 * machine's; scores are those of hd_sequence_score() within the bound that is given; and items without
 * events stand where their topics put them. */
#include "base/memory.h"
#include "base/random.h"
#include "kernel/kernel.h"
#include "kernel/scan.h"
#include "models/retrieve.h"
#include "models/sequence_impl.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROUNDING 1e-4 /* of hd_sequence_score(): sums and logarithms in float32 */
#define TOPICS 12
#define EVENTS_MAX 60
#define USERS 40

static uint64_t seed(void)
{
    const char *text = getenv("HEED_SEED");
    return text ? strtoull(text, NULL, 0) : 20261126;
}

static void assert_ok(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("%s: %s (HEED_SEED=%llu)", heed_status_name(status), heed_error_message(),
                 (unsigned long long)seed());
}

static int64_t below(heed_rng *rng, int64_t n)
{
    return (int64_t)hd_random_below(rng, (uint64_t)n);
}

/* A model of random weights with a memory of random walks, what its items are about, and a question. */
struct world {
    hd_sequence *model;
    hd_sequence_reader *reader;
    int64_t known, items;
    const int32_t **topic_row;
    int32_t *topic_count;
    int32_t *topic;
    struct hd_content content;
    int32_t history[EVENTS_MAX];
    heed_time time[EVENTS_MAX];
    struct hd_ask question;
    hd_sequence_state *kept;
    uint8_t *out;
};

static int32_t any_event(heed_rng *rng, int64_t items)
{
    return (int32_t)(below(rng, 2) ? below(rng, items) : below(rng, items < 40 ? items : 40));
}

static void give_memory(struct world *w, heed_rng *rng)
{
    static const double shares[] = {0, 0.3, 0.9, 1};
    int64_t offset[USERS + 1] = {0};
    int32_t item[USERS * EVENTS_MAX];

    for (int u = 0; u < USERS; u++) {
        int64_t n = below(rng, EVENTS_MAX);
        for (int64_t e = 0; e < n; e++)
            item[offset[u] + e] = any_event(rng, w->known);
        offset[u + 1] = offset[u] + n;
    }
    struct hd_histories h = {USERS, w->known, offset, item, NULL};
    assert_ok(hd_transitions_build(&h, &w->model->memory));
    w->model->memory_share = shares[below(rng, 4)];
}

/* Logits from none to large; some rows are others' doubles, so that scores tie. */
static void give_rows(struct world *w, heed_rng *rng)
{
    static const double sizes[] = {0, 1, 15, 60, 400};
    double size = sizes[below(rng, 5)];
    int64_t C = w->model->config.dim;
    float *item = w->model->net.item->data;

    for (int64_t i = 0; i < w->known * C; i++)
        item[i] *= (float)size;
    for (int64_t n = below(rng, 2) ? w->known / 2 : 0; n > 0; n--)
        memcpy(item + below(rng, w->known) * C, item + below(rng, w->known) * C,
               (size_t)C * sizeof *item);
}

static void give_topics(struct world *w, heed_rng *rng)
{
    w->topic_row = calloc((size_t)w->items + 1, sizeof *w->topic_row);
    w->topic_count = calloc((size_t)w->items + 1, sizeof *w->topic_count);
    w->topic = calloc((size_t)w->items * TOPICS + 1, sizeof *w->topic);
    int64_t odds = 1 + below(rng, 12);
    for (int64_t v = 0; v < w->items; v++) {
        int32_t *row = w->topic + v * TOPICS;
        w->topic_row[v] = row;
        for (int32_t t = 0; t < TOPICS; t++)
            if (below(rng, odds) == 0)
                row[w->topic_count[v]++] =
                    t + (v >= w->known && below(rng, 9) == 0 ? TOPICS : 0);
    }
    w->content = (struct hd_content){w->items, w->topic_row, w->topic_count};
}

static void give_question(struct world *w, heed_rng *rng)
{
    int64_t n = 1 + below(rng, EVENTS_MAX), odds = below(rng, 5);

    for (int64_t e = 0; e < n; e++) {
        w->history[e] = any_event(rng, w->known);
        w->time[e] = 1000 * (e + below(rng, 100));
    }
    w->question = (struct hd_ask){w->history, below(rng, 2) ? w->time : NULL, n, 200000,
                                       below(rng, 2) ? w->kept : NULL};
    for (int64_t v = 0; v < w->items; v++)
        w->out[v] = (uint8_t)(odds == 4 ? 1 : odds > 0 && below(rng, 4) < odds);
}

static void world_init(struct world *w, heed_rng *rng)
{
    static const heed_recipe recipe[] = {HEED_RECIPE_SASREC, HEED_RECIPE_HSTU, HEED_RECIPE_LIGR};
    static const int64_t dims[] = {2, 8, 32, 34, 64}, sizes[] = {1, 2, 40, 300, 5000};

    *w = (struct world){.known = 1 + below(rng, sizes[below(rng, 5)])};
    w->items = w->known + (below(rng, 3) ? below(rng, 60) : 0);
    struct hd_sequence_config config = {.recipe = recipe[below(rng, 3)], .items = w->known,
                                        .dim = dims[below(rng, 5)], .layers = 1 + below(rng, 2),
                                        .heads = 2, .length = 1 + below(rng, 30),
                                        .timed = below(rng, 2)};
    assert_ok(hd_sequence_new(&config, hd_random_u64(rng), &w->model));
    give_rows(w, rng);
    if (below(rng, 4))
        give_memory(w, rng);
    assert_ok(hd_sequence_ready(w->model));
    heed_params_freeze(w->model->params, true);
    assert_ok(hd_sequence_reader_new(w->model, &w->reader));
    assert_ok(hd_sequence_state_new(w->model, &w->kept));
    give_topics(w, rng);
    w->out = calloc((size_t)w->items, 1);
    give_question(w, rng);
}

static void world_clear(struct world *w)
{
    hd_sequence_state_free(w->kept);
    hd_sequence_reader_free(w->reader);
    hd_sequence_free(w->model);
    free(w->topic_row);
    free(w->topic_count);
    free(w->topic);
    free(w->out);
}

static int better_first(const void *a, const void *b)
{
    const struct hd_scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Every item scored, those that may be picked sorted. */
static int64_t brute_force(struct world *w, const hd_retrieval *r, int64_t items,
                           struct hd_scored *list)
{
    int64_t n = 0;

    for (int64_t v = 0; v < items; v++) {
        struct hd_scored x = {(int32_t)v, 0};
        assert_ok(hd_retrieve_score(w->reader, r, &x.item, 1, &x.score));
        assert_true(isfinite((double)x.score));
        if (!w->out[v])
            list[n++] = x;
    }
    qsort(list, (size_t)n, sizeof *list, better_first);
    return n;
}

/* items: what the caller knows of, which may be fewer than the table holds. */
static void check_picks(struct world *w, const hd_retrieval *r, int64_t items, int64_t k)
{
    struct hd_scored *picks = malloc((size_t)(k + 1) * sizeof *picks);
    struct hd_scored *list = malloc((size_t)(items + 1) * sizeof *list);
    int64_t found = -1;

    assert_ok(hd_retrieve(w->reader, r, &w->question, w->out, items, k, picks, &found));
    int64_t n = brute_force(w, r, items, list);
    assert_int_equal(found, n < k ? n : k);
    for (int64_t i = 0; i < found; i++)
        if (picks[i].item != list[i].item || picks[i].score != list[i].score)
            fail_msg("place %d of %d of %d: item %d, %.9g, not %d, %.9g (HEED_SEED=%llu)", (int)i, (int)k,
                     (int)items, picks[i].item, (double)picks[i].score, list[i].item,
                     (double)list[i].score, (unsigned long long)seed());
    free(picks);
    free(list);
}

/* Of an item of the model, unless content stands in for it. */
static void check_scores(struct world *w, const hd_retrieval *r)
{
    const struct hd_ask *q = &w->question;
    float *scores = malloc((size_t)w->known * sizeof *scores), score;
    const struct hd_transitions *t = &w->model->memory;
    uint8_t *met = calloc((size_t)w->known, 1);
    int64_t cold = w->items - w->known;

    for (int64_t i = 0; t->offset && i < t->offset[w->known]; i++)
        met[t->item[i]] = 1;
    assert_ok(hd_sequence_score(w->reader, q->items, q->times, NULL, q->count, q->now, scores));
    for (int32_t v = 0; v < w->known; v++) {
        bool quiet = t->offset && t->offset[w->known] > 0 && !met[v] &&
                     t->offset[v] == t->offset[v + 1] && w->topic_count[v] > 0;
        cold += quiet;
        assert_ok(hd_retrieve_score(w->reader, r, &v, 1, &score));
        if (!quiet && !(fabs(fmax((double)score, log((double)FLT_MIN)) - (double)scores[v]) <=
                        hd_retrieve_bound(w->reader) + ROUNDING))
            fail_msg("item %d: %.9g, by the model %.9g, within %.3g (HEED_SEED=%llu)", v, (double)score,
                     (double)scores[v], hd_retrieve_bound(w->reader), (unsigned long long)seed());
    }
    assert_int_equal(hd_retrieval_cold(r), cold);
    free(scores);
    free(met);
}

static void laws(uint64_t stream, int rounds)
{
    heed_rng rng = hd_rng(seed(), stream);

    for (int round = 0; round < rounds; round++) {
        struct world w;
        hd_retrieval *r;

        world_init(&w, &rng);
        assert_ok(hd_retrieval_new(w.model, &w.content, &r));
        assert_int_equal(hd_retrieval_items(r), w.items);
        const int64_t few[] = {0, 1, 10, 100, w.items, w.items + 5};
        for (int i = 0; i < 3; i++) {
            check_picks(&w, r, i ? w.items : below(&rng, w.items + 1), few[below(&rng, 6)]);
            check_scores(&w, r);
            give_question(&w, &rng);
        }
        hd_retrieval_free(r);
        world_clear(&w);
    }
}

static void test_equal_to_scoring_all(void **state)
{
    (void)state;
    laws(1, 150);
}

/* The tables are chosen once and lie in memory that may be written: here they become others. */
static void test_equal_with_every_kernel(void **state)
{
    (void)state;
    static const unsigned sets[] = {0, HD_CPU_AVX2, HD_CPU_AVX2 | HD_CPU_AVX512};
    struct hd_scan_kernels *k = (struct hd_scan_kernels *)(uintptr_t)hd_scan_kernels(), own = *k;
    struct hd_kernels_bf16 *b = (struct hd_kernels_bf16 *)(uintptr_t)hd_kernels_bf16(), own_bf16 = *b;

    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if ((hd_cpu() & sets[i]) != sets[i])
            continue;
        hd_scan_kernels_init(k, sets[i]);
        hd_kernels_bf16_init(b, 0);
        laws(2 + i, 40);
    }
    *k = own;
    *b = own_bf16;
}

/* A table that has grown with the items gives what one made anew gives, and each outlives the other. */
static void test_growing_is_making_anew(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(seed(), 9);
    for (int round = 0; round < 60; round++) {
        struct world w;
        hd_retrieval *r, *more, *anew;

        world_init(&w, &rng);
        struct hd_content first = w.content;
        first.items = w.known + below(&rng, w.items - w.known + 1);
        assert_ok(hd_retrieval_new(w.model, &first, &r));
        assert_ok(hd_retrieval_extend(r, &w.content, &more));
        assert_ok(hd_retrieval_new(w.model, &w.content, &anew));
        assert_int_equal(hd_retrieval_items(r), first.items);
        check_picks(&w, r, first.items, 20);
        hd_retrieval_free(r);
        check_picks(&w, more, w.items, 20);
        assert_int_equal(hd_retrieval_items(more), w.items);
        assert_int_equal(hd_retrieval_cold(more), hd_retrieval_cold(anew));
        for (int32_t v = 0; v < w.items; v++) {
            float a, b;
            assert_ok(hd_retrieve_score(w.reader, more, &v, 1, &a));
            assert_ok(hd_retrieve_score(w.reader, anew, &v, 1, &b));
            assert_true(a == b);
        }
        hd_retrieval_free(anew);
        hd_retrieval_free(more);
        world_clear(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_to_scoring_all),
        cmocka_unit_test(test_equal_with_every_kernel),
        cmocka_unit_test(test_growing_is_making_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

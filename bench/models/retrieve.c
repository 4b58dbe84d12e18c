/* SPDX-License-Identifier: Apache-2.0
 *
 * What a feed waits for of the model, one thread: the vector of a reader from its whole history and
 * from what was kept of it, and the best items of catalogues of several sizes. Untrained weights, drawn
 * to the size that trained ones have; histories in which some items are met more often, so that the
 * memory has about as many followers as it can. Prints JSON lines. Times are the thread's own
 * processor time: the median, and the fastest of all, since a neighbour on the same core or the same
 * memory halves the clockwork for seconds at a time. */
#include "base/random.h"
#include "models/retrieve.h"
#include "models/sequence_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 101, EVENTS = 199, USERS = 2000 };

static void must(heed_status status)
{
    if (status == HEED_OK)
        return;
    fprintf(stderr, "bench: %s\n", heed_error_message());
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *t)
{
    qsort(t, ROUNDS, sizeof *t, by_size);
    return t[ROUNDS / 2];
}

static hd_sequence *model_new(heed_recipe recipe, int64_t items)
{
    struct hd_sequence_config config = {.recipe = recipe, .items = items, .timed = true};
    hd_sequence *model;

    must(hd_sequence_new(&config, 1, &model));
    for (int64_t i = 0; i < items * model->config.dim; i++)
        ((float *)model->net.item->data)[i] *= 10;
    return model;
}

static void ready(hd_sequence *model)
{
    must(hd_sequence_ready(model));
    heed_params_freeze(model->params, true);
}

/* ---- the vector */

static void bench_vector(heed_recipe recipe)
{
    hd_sequence *model = model_new(recipe, 10000);
    heed_rng rng = hd_rng(2, 0);
    hd_sequence_reader *reader;
    hd_sequence_state *kept;
    int32_t item[EVENTS + 1];
    heed_time time[EVENTS + 1];
    double whole[ROUNDS], again[ROUNDS], event[ROUNDS], t;
    const float *vector;
    int64_t seen;

    ready(model);
    must(hd_sequence_reader_new(model, &reader));
    must(hd_sequence_state_new(model, &kept));
    for (int e = 0; e <= EVENTS; e++) {
        item[e] = (int32_t)hd_random_below(&rng, 10000);
        time[e] = INT64_C(60000) * e;
    }
    for (int i = 0; i < ROUNDS; i++) {
        heed_time now = time[EVENTS - 1] + 100 * i;
        t = now_ms();
        must(hd_sequence_answer(model, reader->tape, &reader->rows, item, time, NULL, EVENTS, now,
                                &vector, &seen));
        whole[i] = now_ms() - t;
        must(hd_sequence_state_ask(reader, kept, item, time, EVENTS, now, &vector, &seen, NULL));
        t = now_ms();
        must(hd_sequence_state_ask(reader, kept, item, time, EVENTS, now + 1, &vector, &seen, NULL));
        again[i] = now_ms() - t;
        t = now_ms();
        must(hd_sequence_state_ask(reader, kept, item, time, EVENTS + 1, now + 60000, &vector, &seen,
                                   NULL));
        event[i] = now_ms() - t;
    }
    printf("{\"bench\": \"vector\", \"recipe\": \"%s\", \"events\": %d, \"whole_ms\": %.4f, "
           "\"asked_again_ms\": %.4f, \"event_more_ms\": %.4f, \"kept_bytes\": %lu}\n",
           heed_recipe_name(recipe), EVENTS, median(whole), median(again), median(event),
           (unsigned long)hd_sequence_state_bytes(kept));
    fflush(stdout);
    hd_sequence_state_free(kept);
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
}

/* ---- the items */

/* Item v is met with a density that falls as v^(-2/3). */
static void histories_init(struct hd_histories *h, int64_t items)
{
    heed_rng rng = hd_rng(3, 0);
    int64_t *offset = calloc(USERS + 1, sizeof *offset);
    int32_t *item = calloc((size_t)USERS * EVENTS, sizeof *item);

    if (!offset || !item)
        exit(1);
    for (int64_t i = 0; i < (int64_t)USERS * EVENTS; i++)
        item[i] = (int32_t)(pow(hd_random_unit(&rng), 3) * (double)items);
    for (int64_t u = 0; u <= USERS; u++)
        offset[u] = u * EVENTS;
    *h = (struct hd_histories){USERS, items, offset, item, NULL};
}

/* Nothing has topics here, so nothing is cold. */
static void bench_retrieve(int64_t items, int64_t k)
{
    hd_sequence *model = model_new(HEED_RECIPE_LIGR, items);
    const int32_t **topic = calloc((size_t)items, sizeof *topic);
    int32_t *topic_count = calloc((size_t)items, sizeof *topic_count);
    int64_t found;
    uint8_t *out = calloc((size_t)items, 1);
    struct hd_scored *picks = calloc((size_t)k, sizeof *picks);
    struct hd_content content = {items, topic, topic_count};
    float *scores = calloc((size_t)items, sizeof *scores);
    struct hd_histories h;
    hd_sequence_reader *reader;
    hd_sequence_state *kept;
    hd_retrieval *r;
    double t, made, spent[ROUNDS], all[ROUNDS];

    if (!topic || !topic_count || !out || !picks || !scores)
        exit(1);
    histories_init(&h, items);
    must(hd_transitions_build(&h, &model->memory));
    model->memory_share = 0.3;
    ready(model);
    must(hd_sequence_reader_new(model, &reader));
    must(hd_sequence_state_new(model, &kept));
    t = now_ms();
    must(hd_retrieval_new(model, &content, &r));
    made = now_ms() - t;
    for (int i = 0; i < ROUNDS; i++) {
        struct hd_ask q = {h.item + (int64_t)i * EVENTS, NULL, EVENTS, 0, kept};
        const float *vector;
        int64_t seen;
        /* The vector is kept from here: what is timed is one row of it, and the items. */
        must(hd_sequence_state_ask(reader, kept, q.items, NULL, EVENTS, 0, &vector, &seen, NULL));
        t = now_ms();
        must(hd_retrieve(reader, r, &q, out, items, k, picks, &found));
        spent[i] = now_ms() - t;
        t = now_ms();
        must(hd_sequence_score(reader, q.items, NULL, NULL, EVENTS, 0, scores));
        all[i] = now_ms() - t;
    }
    double middle = median(spent), score = median(all);
    printf("{\"bench\": \"retrieve\", \"items\": %ld, \"k\": %ld, \"ms\": %.4f, \"best_ms\": %.4f, "
           "\"score_all_ms\": %.4f, \"table_ms\": %.1f, \"table_bytes\": %lu}\n",
           (long)items, (long)k, middle, spent[0], score, made,
           (unsigned long)hd_retrieval_bytes(r));
    fflush(stdout);
    hd_retrieval_free(r);
    hd_sequence_state_free(kept);
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
    free((void *)(uintptr_t)h.offset), free((void *)(uintptr_t)h.item);
    free(topic), free(topic_count), free(out), free(picks), free(scores);
}

int main(void)
{
    bench_vector(HEED_RECIPE_SASREC);
    bench_vector(HEED_RECIPE_HSTU);
    bench_vector(HEED_RECIPE_LIGR);
    bench_retrieve(10000, 100);
    bench_retrieve(10000, 1000);
    bench_retrieve(100000, 100);
    bench_retrieve(100000, 1000);
    bench_retrieve(1000000, 100);
    return 0;
}

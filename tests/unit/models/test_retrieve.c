/* SPDX-License-Identifier: Apache-2.0
 *
 * Retrieval's errors, memory, and the rows that content makes, worked out by hand. That it misses
 * nothing is in tests/prop/retrieve.c. */
#include "base/memory.h"
#include "models/retrieve.h"
#include "models/sequence_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define KNOWN 6
#define ITEMS 10
#define DIM 4

static void assert_ok(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("%s: %s", heed_status_name(status), heed_error_message());
}

/* Items 0 to 4 were looked at, item 5 never was. Topics 0 and 1; 6 to 9 came after the model. */
static const int64_t history_offset[] = {0, 5, 9};
static const int32_t history_item[] = {0, 1, 2, 3, 4, 4, 3, 2, 1};
static const int32_t numbers[] = {0, 1, 7};
static const int32_t *const topic[ITEMS] = {numbers, numbers, numbers, numbers, NULL, numbers + 1,
                                            numbers, numbers, NULL,    numbers + 2};
static const int32_t topic_count[ITEMS] = {1, 1, 1, 2, 0, 1, 1, 2, 0, 1};
static const struct hd_content content = {ITEMS, topic, topic_count};

static hd_sequence *model_new(int64_t items)
{
    struct hd_sequence_config config = {.items = items, .dim = DIM, .layers = 1, .length = 8};
    const struct hd_histories h = {2, items, history_offset, history_item, NULL};
    hd_sequence *model;

    assert_ok(hd_sequence_new(&config, 3, &model));
    for (int64_t i = 0; i < items * DIM; i++)
        ((float *)model->net.item->data)[i] *= 50;
    assert_ok(hd_transitions_build(&h, &model->memory));
    model->memory_share = 0.25;
    assert_ok(hd_sequence_ready(model));
    heed_params_freeze(model->params, true);
    return model;
}

static const struct hd_ask question = {history_item, NULL, 3, 0, NULL};

static void test_rows_of_content(void **state)
{
    (void)state;
    hd_sequence *model = model_new(KNOWN);
    hd_sequence_reader *reader;
    hd_retrieval *r;
    static const uint8_t out[ITEMS];
    static const int32_t all[ITEMS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct hd_scored picks[ITEMS];
    float score[ITEMS];
    int64_t found;

    assert_ok(hd_sequence_reader_new(model, &reader));
    assert_ok(hd_retrieval_new(model, &content, &r));
    assert_int_equal(hd_retrieval_items(r), ITEMS);
    assert_int_equal(hd_retrieval_cold(r), ITEMS - KNOWN + 1);
    assert_ok(hd_retrieve(reader, r, &question, out, ITEMS, ITEMS, picks, &found));
    assert_int_equal(found, ITEMS);
    assert_ok(hd_retrieve_score(reader, r, all, ITEMS, score));
    for (int i = 0; i < ITEMS; i++)
        assert_true(picks[i].score == score[picks[i].item]);
    /* The network's log probabilities of the items that were seen, which a row of content averages. */
    float network[KNOWN], memory[KNOWN];
    double log_p[KNOWN], mean = 0, first = 0, lift = 0;
    assert_ok(hd_sequence_parts(model, reader->tape, &reader->rows, question.items, NULL, NULL,
                                question.count, 0, network, memory));
    for (int v = 0; v < KNOWN; v++)
        log_p[v] = log((double)network[v]);
    for (int v = 0; v < 5; v++)
        mean += log_p[v] / 5;
    for (int v = 0; v < 4; v++)
        first += log_p[v] / 4;
    double topic_0 = mean + 4 / (4 + HD_CONTENT_PRIOR) * (first - mean);
    double topic_1 = mean + 1 / (1 + HD_CONTENT_PRIOR) * (log_p[3] - mean), both = (topic_0 + topic_1) / 2;
    /* What content says of each item, and a topic that no known item has. */
    double want[ITEMS] = {topic_0, topic_0, topic_0, both, mean, topic_1, topic_0, both, mean, mean};
    for (int v = 0; v < 5; v++)
        lift += exp(log_p[v] - want[v]) / 5;
    for (int v = 5; v < ITEMS; v++)
        if (!(fabs((double)score[v] - want[v] - log(lift)) < hd_retrieve_bound(reader) + 1e-5))
            fail_msg("item %d: %.9g, not %.9g", v, (double)score[v], want[v] + log(lift));
    hd_retrieval_free(r);
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
}

static void test_refusals(void **state)
{
    (void)state;
    hd_sequence *model = model_new(KNOWN), *other = model_new(KNOWN);
    hd_sequence_reader *reader, *stranger;
    hd_retrieval *r, *none;
    static const uint8_t out[ITEMS];
    static const int32_t unknown[] = {KNOWN, -1, ITEMS};
    struct hd_scored pick;
    struct hd_content few = content;
    struct hd_ask q = question;
    float score;
    int64_t found;

    few.items = KNOWN - 1;
    assert_int_equal(hd_retrieval_new(model, &few, &none), HEED_E_ARG);
    assert_ok(hd_sequence_reader_new(model, &reader));
    assert_ok(hd_sequence_reader_new(other, &stranger));
    assert_ok(hd_retrieval_new(model, &content, &r));
    assert_int_equal(hd_retrieval_extend(r, &few, &none), HEED_E_ARG);
    assert_int_equal(hd_retrieve_score(reader, r, unknown, 0, &score), HEED_E_ARG);
    assert_int_equal(hd_retrieve(stranger, r, &q, out, ITEMS, 1, &pick, &found), HEED_E_ARG);
    assert_int_equal(hd_retrieve(reader, r, &q, out, ITEMS, -1, &pick, &found), HEED_E_ARG);
    q.count = 0;
    assert_int_equal(hd_retrieve(reader, r, &q, out, ITEMS, 1, &pick, &found), HEED_E_ARG);
    q = (struct hd_ask){unknown, NULL, 1, 0, NULL};
    assert_int_equal(hd_retrieve(reader, r, &q, out, ITEMS, 1, &pick, &found), HEED_E_RANGE);
    assert_int_equal(hd_retrieve_score(reader, r, unknown, 1, &score), HEED_E_ARG);
    assert_ok(hd_retrieve(reader, r, &question, out, ITEMS, 0, NULL, &found));
    assert_int_equal(found, 0);
    assert_ok(hd_retrieve_score(reader, r, unknown, 1, &score));
    assert_int_equal(hd_retrieve_score(reader, r, unknown + 1, 1, &score), HEED_E_RANGE);
    assert_int_equal(hd_retrieve_score(reader, r, unknown + 2, 1, &score), HEED_E_RANGE);
    assert_int_equal(hd_retrieve_score(stranger, r, unknown, 1, &score), HEED_E_ARG);
    other->output[2 * DIM + 1] = NAN;
    assert_int_equal(hd_retrieval_new(other, &content, &none), HEED_E_FORMAT);
    assert_non_null(strstr(heed_error_message(), "row 2 "));
    other->output[2 * DIM + 1] = 3.4e38F; /* finite, but not in bfloat16 */
    assert_int_equal(hd_retrieval_new(other, &content, &none), HEED_E_FORMAT);
    ((float *)model->net.final_gain->data)[0] = INFINITY; /* after the table was made */
    assert_int_equal(hd_retrieve(reader, r, &question, out, ITEMS, 1, &pick, &found), HEED_E_FORMAT);
    hd_retrieval_free(r);
    hd_retrieval_free(NULL);
    hd_sequence_reader_free(reader);
    hd_sequence_reader_free(stranger);
    hd_sequence_free(model);
    hd_sequence_free(other);
}

/* ---- memory */

static int64_t calls, fails_at; /* 0: never */

static void *counting(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return ++calls == fails_at ? NULL : realloc(pointer, bytes);
}

static heed_status all_of_it(hd_sequence *model, int times)
{
    static const uint8_t out[ITEMS];
    hd_sequence_reader *reader = NULL;
    hd_retrieval *r = NULL, *more = NULL;
    struct hd_scored picks[ITEMS];
    int64_t found, warm = 0;
    heed_status status = hd_sequence_reader_new(model, &reader);

    if (status == HEED_OK)
        status = hd_retrieval_new(model, &content, &r);
    if (status == HEED_OK)
        status = hd_retrieval_extend(r, &content, &more);
    for (int i = 0; status == HEED_OK && i < times; i++) {
        status = hd_retrieve(reader, more, &question, out, ITEMS, 4, picks, &found);
        warm = i == 1 ? calls : warm;
    }
    if (status == HEED_OK && times > 2)
        assert_int_equal(calls, warm);
    hd_retrieval_free(r);
    hd_retrieval_free(more);
    hd_sequence_reader_free(reader);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    hd_sequence *model = model_new(KNOWN);

    heed_set_allocator(&(heed_allocator){counting, NULL});
    assert_ok(all_of_it(model, 9)); /* and nothing from the heap once it is warm */
    for (fails_at = 1;; fails_at++) {
        calls = 0;
        heed_status status = all_of_it(model, 1);
        if (status == HEED_OK && calls < fails_at)
            break;
        assert_int_equal(status, HEED_E_NOMEM);
    }
    assert_true(fails_at > 10);
    fails_at = 0;
    heed_set_allocator(NULL);
    hd_sequence_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_content),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

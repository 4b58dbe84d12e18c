/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of a reader gives what the whole pass gives, however the history changes between two
 * questions: events appended, taken back, edited in the middle, a window that moves on, another clock;
 * in every recipe, and it passes no more rows than it must. */
#include "base/memory.h"
#include "base/random.h"
#include "models/sequence_impl.h"
#include "models/sequence_state.h"
#include "tensor/tape.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ITEMS 50
#define EVENTS_MAX 90
/* Of a vector's norm: sums in another order, through up to three blocks of large weights. The most that
 * was seen is a tenth of it. */
#define BOUND 1e-4

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

static hd_sequence *model_new(heed_rng *rng, heed_recipe recipe)
{
    static const int64_t dims[] = {2, 16, 34, 64};
    struct hd_sequence_config config = {.recipe = recipe, .items = ITEMS, .dim = dims[below(rng, 4)],
                                        .layers = 1 + below(rng, 3), .heads = 2,
                                        .length = 1 + below(rng, below(rng, 2) ? 6 : 60),
                                        .timed = below(rng, 2)};
    hd_sequence *model;

    assert_ok(hd_sequence_new(&config, hd_random_u64(rng), &model));
    /* Weights that matter: what is drawn for training hardly moves a state. */
    for (int64_t i = 0; i < heed_params_count(model->params); i++) {
        const char *name;
        heed_tensor *x = heed_params_at(model->params, i, &name);
        for (int64_t j = 0; j < hd_count(x); j++)
            ((float *)x->data)[j] *= x->rank == 2 ? 6 : 1;
    }
    assert_ok(hd_sequence_ready(model));
    heed_params_freeze(model->params, true);
    return model;
}

struct past {
    int32_t item[EVENTS_MAX];
    heed_time time[EVENTS_MAX], now;
    int64_t count;
};

static void append(struct past *p, heed_rng *rng, int64_t n)
{
    for (; n > 0 && p->count < EVENTS_MAX; n--) {
        p->time[p->count] = p->now += below(rng, below(rng, 3) ? 5000 : 90000000);
        p->item[p->count++] = (int32_t)below(rng, ITEMS);
    }
}

static void change(struct past *p, heed_rng *rng)
{
    switch (below(rng, 6)) {
    case 0: /* the clock alone */
        p->now += below(rng, 1000000);
        break;
    case 1: /* taken back */
        p->count -= below(rng, p->count);
        break;
    case 2: { /* one that came in late */
        int64_t at = below(rng, p->count);
        p->item[at] = (int32_t)below(rng, ITEMS);
        p->time[at] -= below(rng, 2000);
        break;
    }
    case 3:
        append(p, rng, below(rng, 20));
        break;
    default:
        append(p, rng, 1);
    }
}

/* Rows of the window whose inputs are not what they were: the least that must be passed. */
static int64_t rows_changed(const struct past *was, const struct past *is, int64_t length, bool timed)
{
    int64_t n = is->count < length ? is->count : length, m = was->count < length ? was->count : length;
    const int32_t *a = was->item + was->count - m, *b = is->item + is->count - n;
    const heed_time *s = was->time + was->count - m, *t = is->time + is->count - n;
    int64_t same = 0;

    for (; same < n - 1 && same < m && a[same] == b[same]; same++)
        if (timed && (s[same] != t[same] ||
                      (same + 1 < m ? s[same + 1] : was->now) != t[same + 1]))
            break;
    return n - same;
}

static void test_equal_to_the_whole_pass(void **state)
{
    (void)state;
    static const heed_recipe recipe[] = {HEED_RECIPE_SASREC, HEED_RECIPE_HSTU, HEED_RECIPE_LIGR};
    heed_rng rng = hd_rng(seed(), 70);
    double worst = 0;

    for (int round = 0; round < 90; round++) {
        hd_sequence *model = model_new(&rng, recipe[round % 3]);
        int64_t C = model->config.dim, length = model->config.length;
        hd_sequence_reader *reader;
        hd_sequence_state *kept;
        struct past is = {.now = 1000000}, was = {0};
        bool timed = below(&rng, 2);
        float whole[64];

        assert_ok(hd_sequence_reader_new(model, &reader));
        assert_ok(hd_sequence_state_new(model, &kept));
        append(&is, &rng, 1 + below(&rng, 10));
        for (int step = 0; step < 40; step++) {
            const heed_time *times = timed ? is.time : NULL;
            const float *vector;
            int64_t seen, all, fresh;
            double off = 0, size = 0;

            assert_ok(hd_sequence_answer(model, reader->tape, &reader->rows, is.item, times, NULL,
                                         is.count, is.now, &vector, &all));
            memcpy(whole, vector, (size_t)C * sizeof *whole);
            assert_ok(hd_sequence_state_ask(reader, kept, is.item, times, is.count, is.now, &vector,
                                            &seen, &fresh));
            assert_int_equal(seen, all);
            assert_int_equal(fresh, rows_changed(&was, &is, length, timed));
            for (int64_t c = 0; c < C; c++) {
                off += pow((double)vector[c] - (double)whole[c], 2);
                size += pow((double)whole[c], 2);
            }
            worst = fmax(worst, sqrt(off / size));
            if (!(sqrt(off) <= BOUND * sqrt(size)))
                fail_msg("round %d step %d: off by %.3g of %.3g (HEED_SEED=%llu)", round, step, sqrt(off),
                         sqrt(size), (unsigned long long)seed());
            was = is;
            change(&is, &rng);
        }
        assert_true(hd_sequence_state_bytes(kept) <=
                    2048 + (uint64_t)length * (uint64_t)(model->config.layers * C * 8 + 20));
        hd_sequence_state_free(kept);
        hd_sequence_reader_free(reader);
        hd_sequence_free(model);
    }
    print_message("# off by %.3g of a vector's norm at most\n", worst);
}

static void test_refusals(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(seed(), 71);
    hd_sequence *model = model_new(&rng, HEED_RECIPE_LIGR), *other = model_new(&rng, HEED_RECIPE_HSTU);
    hd_sequence_reader *reader;
    hd_sequence_state *kept, *strange;
    const int32_t item[] = {1, 2, ITEMS};
    const float *vector;
    int64_t seen;

    assert_ok(hd_sequence_reader_new(model, &reader));
    assert_ok(hd_sequence_state_new(model, &kept));
    assert_ok(hd_sequence_state_new(other, &strange));
    assert_int_equal(hd_sequence_state_ask(reader, strange, item, NULL, 2, 0, &vector, &seen, NULL),
                     HEED_E_ARG);
    assert_int_equal(hd_sequence_state_ask(reader, kept, item, NULL, 0, 0, &vector, &seen, NULL),
                     HEED_E_ARG);
    assert_int_equal(hd_sequence_state_ask(reader, kept, item, NULL, 3, 0, &vector, &seen, NULL),
                     HEED_E_RANGE);
    assert_ok(hd_sequence_state_ask(reader, kept, item, NULL, 2, 0, &vector, &seen, NULL));
    hd_sequence_state_free(kept);
    hd_sequence_state_free(strange);
    hd_sequence_state_free(NULL);
    hd_sequence_reader_free(reader);
    hd_sequence_free(model);
    hd_sequence_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_to_the_whole_pass),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing by agreement against its definition over random shapes and kinds of maps, label-aware
 * attention likewise, and what both say to calls that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "routing_call.h"

#define ROUNDS 300

static heed_pool *pool;

static void against_definition(heed_dtype dtype)
{
    heed_rng rng = hd_rng(na_seed(), 60 + (uint64_t)dtype);
    heed_tape *tape;
    assert_int_equal(heed_tape_new(pool, 1, &tape), HEED_OK);
    for (int round = 0; round < ROUNDS; round++) {
        struct rc_call c = rc_random(&rng, dtype, 0);
        heed_tensor *out, *weights;
        rc_settle(&c);
        heed_tape_reset(tape);
        heed_tape_record(tape, round % 2);
        heed_status status = rc_tape(&c, tape, true, NULL, &out, &weights);
        if (status != HEED_OK)
            print_message("%s\n", heed_error_message());
        assert_int_equal(status, HEED_OK);
        assert_true(rc_check(&c, out, weights));
        rc_free(&c);
    }
    heed_tape_free(tape);
}

static void test_float32(void **state)
{
    (void)state;
    against_definition(HEED_F32);
}

static void test_float64(void **state)
{
    (void)state;
    against_definition(HEED_F64);
}

/* Drawn logits are the same for every history and every call with the seed, and start apart; given by
 * none and without a deviation they are zeros where maps differ. */
static void test_starts(void **state)
{
    (void)state;
    enum { B = 3, S = 6, C = 4, K = 3 };
    static double e[B * S * C], map[K * C * C];
    heed_rng rng = hd_rng(na_seed(), 63);
    heed_tape *tape;
    heed_tensor *te, *tm, *w[4];
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int i = 0; i < S * C; i++)
        for (int b = 0; b < B; b++)
            e[b * S * C + i] = b ? e[i] : hd_random_normal(&rng);
    for (int i = 0; i < K * C * C; i++)
        map[i] = hd_random_normal(&rng);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, e, (int64_t[]){B, S, C}, 3, false, &te), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, map, (int64_t[]){C, C}, 2, false, &tm), HEED_OK);
    for (int i = 0; i < 3; i++) {
        heed_tensor *out;
        heed_routing_opts o = {.interests = K, .iterations = 1, .seed = i == 2};
        assert_int_equal(heed_routing(tape, te, tm, &o, &out, &w[i]), HEED_OK);
        for (int b = 1; b < B; b++)
            assert_memory_equal(w[i]->data, (double *)w[i]->data + b * K * S, K * S * sizeof(double));
    }
    assert_memory_equal(w[0]->data, w[1]->data, K * S * sizeof(double));
    assert_memory_not_equal(w[0]->data, w[2]->data, K * S * sizeof(double));
    assert_int_equal(heed_tensor_wrap(tape, HEED_F64, map, (int64_t[]){K, C, C}, 3, false, &tm), HEED_OK);
    heed_tensor *out;
    assert_int_equal(heed_routing(tape, te, tm, &(heed_routing_opts){.iterations = 1}, &out, &w[3]), HEED_OK);
    for (int i = 0; i < B * K * S; i++)
        assert_true(fabs(((double *)w[3]->data)[i] - 1.0 / K) < 1e-15);
    heed_tape_free(tape);
}

static void test_interests(void **state)
{
    (void)state;
    static const int64_t rows[][3] = {{0, 4, 1}, {1, 4, 1}, {2, 4, 1}, {3, 4, 1}, {4, 4, 2}, {7, 4, 2},
                                      {8, 4, 3}, {15, 4, 3}, {16, 4, 4}, {1000, 4, 4}, {1000, 20, 9},
                                      {INT64_MAX, 100, 62}, {5, 0, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(heed_routing_interests(rows[i][0], rows[i][1]), rows[i][2]);
}

static void test_refusals(void **state)
{
    (void)state;
    static float x[512];
    static const int64_t falling[] = {0, 3, 2}, longer[] = {5}, even[] = {0, 4};
    heed_tape *tape;
    heed_tensor *out = NULL;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
#define REFUSED(wanted, ...)                                                                       \
    do {                                                                                           \
        heed_routing_opts o = {0};                                                                 \
        int64_t e[] = {1, 4, 3}, m[] = {2, 3, 3, 3};                                               \
        int e_rank = 3, m_rank = 3;                                                                \
        heed_dtype m_type = HEED_F32;                                                              \
        heed_tensor *te, *tm;                                                                      \
        __VA_ARGS__;                                                                               \
        heed_tape_reset(tape);                                                                     \
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, e, e_rank, true, &te), HEED_OK);      \
        assert_int_equal(heed_tensor_wrap(tape, m_type, x, m, m_rank, true, &tm), HEED_OK);        \
        heed_status got = heed_routing(tape, te, tm, &o, &out, NULL);                              \
        if (got != (wanted))                                                                       \
            print_message("# " #__VA_ARGS__ ": %s\n", heed_status_name(got));                      \
        assert_int_equal(got, wanted);                                                             \
        assert_null(out);                                                                          \
        assert_int_equal(strncmp(heed_error_message(), "routing: ", 9), 0);                        \
    } while (0)
    REFUSED(HEED_E_ARG, o.interests = -1);
    REFUSED(HEED_E_ARG, o.interests = 5);
    REFUSED(HEED_E_ARG, o.iterations = -1);
    REFUSED(HEED_E_ARG, o.deviation = -1);
    REFUSED(HEED_E_ARG, o.deviation = (double)NAN);
    REFUSED(HEED_E_ARG, o.deviation = (double)INFINITY);
    REFUSED(HEED_E_ARG, o.positions = 3);
    REFUSED(HEED_E_SHAPE, o.logits = x; o.positions = 3);
    REFUSED(HEED_E_ARG, o.reserved[0] = 1);
    REFUSED(HEED_E_ARG, o.lengths = longer);
    REFUSED(HEED_E_ARG, o.offsets = falling; o.sequences = 2; e_rank = 2; e[0] = 2);
    REFUSED(HEED_E_ARG, o.offsets = even; o.sequences = 1; o.lengths = even; e_rank = 2);
    REFUSED(HEED_E_SHAPE, o.offsets = even; o.sequences = 1);
    REFUSED(HEED_E_SHAPE, o.offsets = even; o.sequences = 1; e_rank = 2; e[0] = 5; e[1] = 3);
    REFUSED(HEED_E_SHAPE, o.offsets = even; o.sequences = -1; e_rank = 2; e[0] = 4; e[1] = 3);
    REFUSED(HEED_E_SHAPE, e_rank = 2);
    REFUSED(HEED_E_SHAPE, m[2] = 4);
    REFUSED(HEED_E_SHAPE, m_rank = 1);
    REFUSED(HEED_E_SHAPE, m[1] = 0);
    REFUSED(HEED_E_SHAPE, m_type = HEED_F64);
    REFUSED(HEED_E_SHAPE, m_rank = 4);
    REFUSED(HEED_E_ARG, m_rank = 2; m[0] = 3);
#undef REFUSED
    heed_tape_free(tape);
}

/* ---- label-aware attention */

static void test_label(void **state)
{
    (void)state;
    static const double powers[] = {1, 1.5, 2, 4, (double)INFINITY};
    heed_rng rng = hd_rng(na_seed(), 66);
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int round = 0; round < 300; round++) {
        int64_t B = (int64_t)hd_random_below(&rng, 4), K = (int64_t)hd_random_below(&rng, 6);
        int64_t C = (int64_t)hd_random_below(&rng, 20), counts[4];
        double power = powers[round % 5], w[6];
        heed_tensor *v, *e, *out, *weights;
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_new_in(tape, HEED_F64, (int64_t[]){B, K, C}, 3, &v), HEED_OK);
        assert_int_equal(heed_tensor_new_in(tape, HEED_F64, (int64_t[]){B, C}, 2, &e), HEED_OK);
        double *x = v->data, *y = e->data;
        for (int64_t i = 0; i < B * K * C; i++)
            x[i] = 0.5 * hd_random_normal(&rng);
        for (int64_t i = 0; i < B * C; i++)
            y[i] = 0.5 * hd_random_normal(&rng);
        for (int64_t b = 0; b < B; b++)
            counts[b] = round % 2 ? K : (int64_t)hd_random_below(&rng, (uint64_t)K + 1);
        assert_int_equal(heed_label_attention(tape, v, e, power, round % 2 ? NULL : counts, &out, &weights),
                         HEED_OK);
        for (int64_t b = 0; b < B; b++) {
            double sum = 0, top = -(double)INFINITY;
            for (int64_t k = 0; k < counts[b]; k++) {
                double s = 0;
                for (int64_t i = 0; i < C; i++)
                    s += x[(b * K + k) * C + i] * y[b * C + i];
                top = fmax(top, s);
                w[k] = isinf(power) ? s : exp(copysign(pow(fabs(s), power), s));
                sum += w[k];
            }
            for (int64_t k = 0; k < counts[b]; k++)
                w[k] = isinf(power) ? w[k] == top : w[k] / sum;
            if (isinf(power) && C == 0) /* all alike: the first */
                for (int64_t k = 1; k < counts[b]; k++)
                    w[k] = 0;
            for (int64_t k = 0; k < K; k++)
                assert_true(fabs(((double *)weights->data)[b * K + k] - (k < counts[b] ? w[k] : 0)) < 1e-12);
            for (int64_t i = 0; i < C; i++) {
                double want = 0;
                for (int64_t k = 0; k < counts[b]; k++)
                    want += w[k] * x[(b * K + k) * C + i];
                assert_true(fabs(((double *)out->data)[b * C + i] - want) < 1e-12);
            }
        }
    }
    heed_tape_free(tape);
}

/* Powers beyond the element type, and beyond a double: finite weights that sum to one, finite
 * gradients, and the largest product takes all. */
static void test_label_overflow(void **state)
{
    (void)state;
    static const double powers[] = {40, 400};
    heed_tape *tape;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    for (int i = 0; i < 2; i++) {
        float scores[] = {10, 9, -10}, one = 1;
        heed_tensor *v, *e, *out, *weights, *loss;
        heed_tape_reset(tape);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, scores, (int64_t[]){1, 3, 1}, 3, true, &v),
                         HEED_OK);
        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, &one, (int64_t[]){1, 1}, 2, true, &e), HEED_OK);
        assert_int_equal(heed_label_attention(tape, v, e, powers[i], NULL, &out, &weights), HEED_OK);
        assert_true(((float *)weights->data)[0] == 1 && *(float *)out->data == 10);
        assert_true(((float *)weights->data)[1] == 0 && ((float *)weights->data)[2] == 0);
        assert_int_equal(heed_reshape(tape, out, NULL, 0, &loss), HEED_OK);
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        assert_true(((float *)v->grad)[0] == 1 && *(float *)e->grad == 0);
        assert_true(((float *)v->grad)[1] == 0 && ((float *)v->grad)[2] == 0);
    }
    heed_tape_free(tape);
}

static void test_label_refusals(void **state)
{
    (void)state;
    static float x[64];
    static const int64_t many[] = {1, 4}, few[] = {-1, 2};
    heed_tape *tape;
    heed_tensor *v, *e, *wide, *out = NULL;
    assert_int_equal(heed_tape_new(NULL, 1, &tape), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){2, 3, 4}, 3, true, &v), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){2, 4}, 2, true, &e), HEED_OK);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, x, (int64_t[]){2, 5}, 2, true, &wide), HEED_OK);
    assert_int_equal(heed_label_attention(tape, v, e, 0.5, NULL, &out, NULL), HEED_E_ARG);
    assert_int_equal(heed_label_attention(tape, v, e, (double)NAN, NULL, &out, NULL), HEED_E_ARG);
    assert_int_equal(heed_label_attention(tape, v, e, 1, many, &out, NULL), HEED_E_ARG);
    assert_int_equal(heed_label_attention(tape, v, e, 1, few, &out, NULL), HEED_E_ARG);
    assert_int_equal(heed_label_attention(tape, v, wide, 1, NULL, &out, NULL), HEED_E_SHAPE);
    assert_int_equal(heed_label_attention(tape, e, e, 1, NULL, &out, NULL), HEED_E_SHAPE);
    assert_null(out);
    heed_tape_free(tape);
}

static int start(void **state)
{
    (void)state;
    return heed_pool_new(3, &pool) != HEED_OK;
}

static int stop(void **state)
{
    (void)state;
    heed_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float32),   cmocka_unit_test(test_float64),
        cmocka_unit_test(test_starts),    cmocka_unit_test(test_interests),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_label),
        cmocka_unit_test(test_label_overflow), cmocka_unit_test(test_label_refusals),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

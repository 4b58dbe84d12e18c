/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes and views, what gradients do on the tape, and that a warm step takes nothing from the
 * heap, with any allocation failing leaves the tape usable. */
#include "base/memory.h"
#include "base/random.h"
#include "heed/nn.h"
#include "tensor/tape.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static heed_tape *tape_new(void)
{
    heed_tape *tape;

    assert_int_equal(heed_tape_new(NULL, 3, &tape), HEED_OK);
    return tape;
}

static heed_tensor *counting(heed_tape *tape, const int64_t *dim, int rank)
{
    heed_tensor *x;

    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, dim, rank, &x), HEED_OK);
    for (int64_t i = 0; i < hd_count(x); i++)
        ((float *)x->data)[i] = (float)i;
    return x;
}

/* ---- views */

/* Each row: the columns [from, from + 4) of (3, 12), seen in another shape. */
static const struct reshape_row {
    const char *name;
    int64_t from, count, dim[4];
    int rank;
    heed_status status;
} reshapes[] = {
    {"the whole, flat", 0, 12, {36}, 1, HEED_OK},
    {"the whole, cut elsewhere", 0, 12, {2, 9, 2}, 3, HEED_OK},
    {"the whole, with ones", 0, 12, {1, 36, 1}, 3, HEED_OK},
    {"columns split", 4, 4, {3, 2, 2}, 3, HEED_OK},
    {"columns split, with ones", 4, 4, {3, 1, 4, 1}, 4, HEED_OK},
    {"one column", 5, 1, {3, 1}, 2, HEED_OK},
    {"one column as (3) has gaps in the last dimension", 5, 1, {3}, 1, HEED_E_SHAPE},
    {"rows with gaps cannot be one row", 4, 4, {12}, 1, HEED_E_SHAPE},
    {"nor be cut across", 4, 4, {4, 3}, 2, HEED_E_SHAPE},
    {"more elements", 4, 4, {13}, 1, HEED_E_SHAPE},
    {"fewer elements", 4, 4, {3, 3}, 2, HEED_E_SHAPE},
};

static void test_reshape(void **state)
{
    heed_tape *tape = tape_new();

    (void)state;
    for (const struct reshape_row *r = reshapes; r < reshapes + sizeof reshapes / sizeof *reshapes;
         r++) {
        heed_tensor *x = counting(tape, (int64_t[]){3, 12}, 2), *cut, *view = NULL;
        print_message("# %s\n", r->name);
        assert_int_equal(heed_slice(tape, x, 1, r->from, r->count, &cut), HEED_OK);
        assert_int_equal(heed_reshape(tape, cut, r->dim, r->rank, &view), r->status);
        if (r->status != HEED_OK)
            continue;
        /* Walked in order, it is the slice's elements in order. */
        int64_t at[4] = {0};
        for (int64_t i = 0; i < hd_count(view); i++) {
            int64_t place = 0;
            for (int d = 0; d < view->rank; d++)
                place += at[d] * view->stride[d];
            double want = (double)(i / r->count * 12 + r->from + i % r->count);
            assert_true((double)((float *)view->data)[place] == want);
            for (int d = view->rank - 1; d >= 0 && ++at[d] == view->dim[d]; d--)
                at[d] = 0;
        }
        assert_ptr_equal(view->base, x);
    }
    heed_tape_free(tape);
}

static void test_shapes(void **state)
{
    heed_tape *tape = tape_new();
    heed_tensor *x, *y, *none = NULL;

    (void)state;
    x = counting(tape, (int64_t[]){4, 3, 6}, 3);
    assert_int_equal(hd_rows(x), 12);
    assert_int_equal(hd_cols(x), 6);
    assert_string_equal(hd_shape_text(x), "(4, 3, 6)");
    assert_int_equal(heed_slice(tape, x, 2, 1, 2, &y), HEED_OK);
    assert_true(hd_is_rows(y) && !hd_is_contiguous(y));
    assert_int_equal(hd_row_stride(y), 6);
    assert_int_equal(heed_slice(tape, x, 1, 0, 2, &y), HEED_OK);
    assert_false(hd_is_rows(y)); /* the rows have two distances */
    assert_int_equal(heed_slice(tape, x, 1, 1, 1, &y), HEED_OK);
    assert_true(hd_is_rows(y)); /* one row of each: one distance again */
    assert_int_equal(hd_row_stride(y), 18);
    assert_int_equal(heed_slice(tape, y, 0, 1, 2, &y), HEED_OK);
    assert_true(((float *)y->data)[0] == 24.0F);
    assert_int_equal(y->offset, 24);

    assert_int_equal(heed_slice(tape, x, 3, 0, 1, &none), HEED_E_ARG);
    assert_int_equal(heed_slice(tape, x, 2, 5, 2, &none), HEED_E_RANGE);
    assert_string_equal(heed_error_message(), "slice: 2 from 5 on along axis 2 of (4, 3, 6)");
    assert_int_equal(heed_slice(tape, x, 2, INT64_MAX, 2, &none), HEED_E_RANGE);
    assert_int_equal(heed_slice(tape, x, 2, 1, INT64_MAX, &none), HEED_E_RANGE);
    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, (int64_t[]){-1}, 1, &none), HEED_E_RANGE);
    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, x->dim, 5, &none), HEED_E_ARG);
    assert_int_equal(heed_tensor_new_in(tape, HEED_F64, (int64_t[]){1 << 30, 1 << 30, 4}, 3, &none),
                     HEED_E_RANGE);
    assert_int_equal(heed_tensor_new_in(tape, (heed_dtype)7, (int64_t[]){1}, 1, &none), HEED_E_ARG);
    assert_int_equal(heed_tensor_new_in(tape, HEED_BF16, (int64_t[]){1}, 1, &none), HEED_E_ARG);
    assert_string_equal(heed_error_message(),
                        "tensor: bfloat16 is for the plain calls of attention alone");
    assert_null(none);

    heed_tensor *empty;
    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, (int64_t[]){0, 5}, 2, &empty), HEED_OK);
    assert_int_equal(heed_reshape(tape, empty, (int64_t[]){3, 0}, 2, &y), HEED_OK);
    assert_int_equal(heed_relu(tape, empty, &y), HEED_OK);
    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, NULL, 0, &y), HEED_OK);
    assert_string_equal(hd_shape_text(y), "()");
    heed_tape_free(tape);
}

static void expect(heed_status got, heed_status want, const char *message)
{
    assert_string_equal(heed_error_message(), message);
    assert_int_equal(got, want);
}

static void test_refusals(void **state)
{
    heed_tape *tape = tape_new();
    heed_tensor *x = counting(tape, (int64_t[]){8, 63}, 2),
                *w = counting(tape, (int64_t[]){5, 64}, 2), *b = counting(tape, (int64_t[]){6}, 1),
                *deep = counting(tape, (int64_t[]){4, 3, 6}, 3), *gaps, *wide, *out = NULL;

    (void)state;
    assert_int_equal(heed_tensor_new_in(tape, HEED_F64, (int64_t[]){8, 63}, 2, &wide), HEED_OK);
    assert_int_equal(heed_slice(tape, deep, 1, 0, 2, &gaps), HEED_OK);
    expect(heed_linear(tape, x, w, NULL, &out), HEED_E_SHAPE, "linear: x is (8, 63), not (N, 64)");
    expect(heed_linear(tape, x, b, NULL, &out), HEED_E_SHAPE, "linear: W is (6), not (O, C)");
    expect(heed_linear(tape, w, w, b, &out), HEED_E_SHAPE, "linear: b is (6), not (5)");
    expect(heed_linear(tape, wide, x, NULL, &out), HEED_E_ARG,
           "linear: W and x have different element types");
    expect(heed_add(tape, x, w, &out), HEED_E_SHAPE,
           "add: (8, 63) and (5, 64) are not the same shape");
    expect(heed_mul(tape, x, wide, &out), HEED_E_ARG, "mul: the element types differ");
    expect(heed_relu(tape, gaps, &out), HEED_E_SHAPE,
           "relu: x is (4, 2, 6) with gaps, not rows one stride apart");
    expect(heed_layer_norm(tape, x, b, NULL, 0, &out), HEED_E_SHAPE,
           "layer_norm: gain is (6), not (63)");
    expect(heed_rms_norm(tape, x, NULL, -1, &out), HEED_E_ARG, "rms_norm: eps is -1");
    expect(heed_dropout(tape, x, 1, &out), HEED_E_ARG,
           "dropout: the share 1 to drop is not in [0, 1)");
    expect(heed_embedding(tape, x, (int32_t[]){0, 8}, 2, 1, &out), HEED_E_RANGE,
           "embedding: id 8 at 1 of a table of 8 rows");
    expect(heed_embedding(tape, x, (int32_t[]){-2}, 1, 1, &out), HEED_E_RANGE,
           "embedding: id -2 at 0 of a table of 8 rows");
    expect(heed_tape_backward(tape, x), HEED_E_SHAPE,
           "backward: the loss is (8, 63), not a single number");
    assert_null(out);
    heed_tape_free(tape);
}

/* ---- gradients */

/* sum of the elements, as a tensor */
static heed_tensor *total(heed_tape *tape, heed_tensor *x)
{
    int64_t n = hd_count(x);
    heed_tensor *flat, *ones, *sum;

    assert_int_equal(heed_reshape(tape, x, (int64_t[]){1, n}, 2, &flat), HEED_OK);
    assert_int_equal(heed_tensor_new_in(tape, HEED_F32, (int64_t[]){1, n}, 2, &ones), HEED_OK);
    for (int64_t i = 0; i < n; i++)
        ((float *)ones->data)[i] = 1;
    assert_int_equal(heed_linear(tape, flat, ones, NULL, &sum), HEED_OK);
    return sum;
}

static void test_backward_once(void **state)
{
    heed_tape *tape = tape_new();
    float one[4] = {1, 2, 3, 4};
    heed_tensor *x, *y, *loss;

    (void)state;
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, one, (int64_t[]){1, 4}, 2, true, &x),
                     HEED_OK);
    loss = total(tape, x);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
    assert_true(((float *)x->grad)[3] == 1.0F);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_E_STATE);
    heed_tape_reset(tape);

    heed_tape_record(tape, false);
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, one, (int64_t[]){1, 4}, 2, true, &x),
                     HEED_OK);
    assert_int_equal(heed_dropout(tape, x, 0.9, &y), HEED_OK);
    assert_ptr_equal(y, x); /* passes through */
    loss = total(tape, y);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_E_STATE);
    assert_string_equal(heed_error_message(),
                        "backward: nothing was recorded that leads to this loss");
    heed_tape_free(tape);
}

/* x feeds two sums, a slice and itself: everything adds up, also where a result whose memory could
 * be handed on was asked to keep its gradient. */
static void test_gradients_add(void **state)
{
    heed_tape *tape = tape_new();
    float data[6] = {1, 2, 3, 4, 5, 6};
    heed_tensor *x, *y, *z, *cut, *loss;

    (void)state;
    assert_int_equal(heed_tensor_wrap(tape, HEED_F32, data, (int64_t[]){2, 3}, 2, true, &x),
                     HEED_OK);
    assert_int_equal(heed_add(tape, x, x, &y), HEED_OK);           /* 2 x */
    assert_int_equal(heed_add(tape, y, x, &z), HEED_OK);           /* 3 x */
    assert_int_equal(heed_slice(tape, z, 1, 1, 2, &cut), HEED_OK); /* its last two columns */
    assert_int_equal(heed_scale(tape, cut, 10, &cut), HEED_OK);
    assert_int_equal(heed_add(tape, total(tape, z), total(tape, cut), &loss), HEED_OK);
    z->keeps_grad = true;
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
    for (int i = 0; i < 6; i++) {
        float want = i % 3 == 0 ? 1 : 11;
        assert_true(((float *)z->grad)[i] == want);
        assert_true(((float *)x->grad)[i] == 3 * want);
    }
    heed_tape_free(tape);
}

/* The parts of y = 2 x: one is used twice, one never, one within a view; y itself is used too, and
 * asked to keep its gradient. */
static void test_split(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        heed_tape *tape = tape_new();
        float data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        heed_tensor *x, *y, *part[3], *twice, *row, *loss;

        assert_int_equal(heed_tensor_wrap(tape, HEED_F32, data, (int64_t[]){2, 6}, 2, true, &x),
                         HEED_OK);
        assert_int_equal(heed_scale(tape, x, 2, &y), HEED_OK);
        assert_int_equal(heed_split(tape, y, 4, part), HEED_E_SHAPE);
        assert_int_equal(heed_split(tape, y, 3, part), HEED_OK);
        assert_true(((float *)part[2]->data)[0] == 10);
        assert_int_equal(heed_mul(tape, part[0], part[0], &twice), HEED_OK);
        assert_int_equal(heed_slice(tape, part[2], 0, 1, 1, &row), HEED_OK);
        assert_int_equal(heed_scale(tape, row, 5, &row), HEED_OK);
        assert_int_equal(heed_add(tape, total(tape, twice), total(tape, row), &loss), HEED_OK);
        if (keep) {
            assert_int_equal(heed_add(tape, loss, total(tape, y), &loss), HEED_OK);
            y->keeps_grad = part[0]->keeps_grad = true;
        }
        assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
        for (int i = 0; i < 12; i++) {
            int col = i % 6;
            float dy = (float)keep + (col < 2 ? 4 * data[i] : col >= 4 && i >= 6 ? 5.0f : 0.0f);
            assert_true(((float *)x->grad)[i] == 2 * dy);
            if (keep)
                assert_true(((float *)y->grad)[i] == dy);
        }
        heed_tape_free(tape);
    }
}

/* A layer whose products may round: forward and all gradients are those of the rounded factors, each
 * sum within its bound, and the same bits with any pool. */
static float rounded(float x)
{
    uint16_t half;
    hd_kernels_bf16()->from_f32(&half, &x, 1);
    hd_kernels_bf16()->to_f32(&x, &half, 1);
    return x;
}

static bool near_sum(float got, double want, double mass, int64_t n)
{
    return fabs((double)got - want) <= 2 * (double)n * (double)FLT_EPSILON * mass + (double)FLT_MIN;
}

static void check_bf16_linear(heed_pool *pool, int64_t N, int64_t C, int64_t O, float *kept)
{
    int64_t sizes[] = {N * C, O * C, O, N * O, N * O};
    heed_tensor *in[5], *y, *loss;
    float *v[5], *g[5];
    heed_tape *tape;
    heed_rng rng = hd_rng(5, (uint64_t)(N * C * O));

    assert_int_equal(heed_tape_new(pool, 1, &tape), HEED_OK);
    heed_tape_bf16(tape, true);
    for (int i = 0; i < 5; i++) {
        int64_t dim[5][2] = {{N, C}, {O, C}, {O}, {N, O}, {N, O}};
        assert_int_equal(heed_tensor_new_in(tape, HEED_F32, dim[i], i == 2 ? 1 : 2, &in[i]), HEED_OK);
        for (int64_t e = 0; e < sizes[i]; e++)
            ((float *)in[i]->data)[e] = (float)hd_random_normal(&rng);
        in[i]->wants_grad = i < 4;
        v[i] = in[i]->data;
    }
    assert_int_equal(heed_linear_add(tape, in[0], in[1], in[2], in[3], &y), HEED_OK);
    heed_tensor *weighted;
    assert_int_equal(heed_mul(tape, y, in[4], &weighted), HEED_OK); /* so that dy is in[4] */
    loss = total(tape, weighted);
    assert_int_equal(heed_tape_backward(tape, loss), HEED_OK);
    for (int i = 0; i < 4; i++)
        g[i] = in[i]->grad;
    bool round = hd_kernels_bf16()->fast && N >= 16 && C >= 16 && O >= 16;
#define F(x) (round ? (double)rounded(x) : (double)(x))
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++) {
            double want = (double)v[2][o] + (double)v[3][n * O + o], mass = fabs(want) + 4;
            for (int64_t c = 0; c < C; c++) {
                double t = F(v[0][n * C + c]) * F(v[1][o * C + c]);
                want += t, mass += fabs(t);
            }
            assert_true(near_sum(((float *)y->data)[n * O + o], want, mass, C + 2));
            assert_true(g[3][n * O + o] == v[4][n * O + o]);
        }
    for (int64_t c = 0; c < C; c++) {
        for (int64_t n = 0; n < N; n++) {
            double want = 0, mass = 0;
            for (int64_t o = 0; o < O; o++) {
                double t = F(v[4][n * O + o]) * F(v[1][o * C + c]);
                want += t, mass += fabs(t);
            }
            assert_true(near_sum(g[0][n * C + c], want, mass, O));
        }
        for (int64_t o = 0; o < O; o++) {
            double want = 0, mass = 0;
            for (int64_t n = 0; n < N; n++) {
                double t = F(v[4][n * O + o]) * F(v[0][n * C + c]);
                want += t, mass += fabs(t);
            }
            assert_true(near_sum(g[1][o * C + c], want, mass, N));
        }
    }
#undef F
    size_t bytes = (size_t)(O * C) * sizeof(float);
    if (pool)
        assert_memory_equal(kept, g[1], bytes);
    else
        memcpy(kept, g[1], bytes);
    heed_tape_free(tape);
}

static void test_bf16_linear(void **state)
{
    static const int64_t shape[][3] = {{1, 16, 16},   {16, 16, 16}, {17, 33, 19},
                                       {200, 64, 48}, {385, 20, 200}, {4500, 17, 21}};
    heed_pool *pool;

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        float *kept = malloc((size_t)(shape[i][1] * shape[i][2]) * sizeof *kept);
        assert_non_null(kept);
        check_bf16_linear(NULL, shape[i][0], shape[i][1], shape[i][2], kept);
        check_bf16_linear(pool, shape[i][0], shape[i][1], shape[i][2], kept);
        free(kept);
    }
    heed_pool_free(pool);
}

static void test_dropout_stream(void **state)
{
    heed_tape *tape = tape_new();
    float first[256], second[256];

    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        heed_tensor *x, *y;
        heed_tape_reset(tape);
        if (turn == 3)
            heed_tape_seed(tape, 3, 0);
        x = counting(tape, (int64_t[]){1, 256}, 2);
        assert_int_equal(heed_dropout(tape, x, 0.5, &y), HEED_OK);
        if (turn == 0)
            memcpy(first, y->data, sizeof first);
        if (turn == 1)
            memcpy(second, y->data, sizeof second);
        if (turn == 3) /* the same seed, the same masks; each call has another, also over resets */
            assert_memory_equal(first, y->data, sizeof first);
    }
    assert_memory_not_equal(first, second, sizeof first);
    heed_tape_free(tape);
}

/* ---- memory */

struct counter {
    int64_t calls, fail_at; /* fail_at: number of the call that fails from 1; 0: none */
};

static void *counted(void *context, void *pointer, size_t bytes)
{
    struct counter *c = context;

    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return ++c->calls == c->fail_at ? NULL : realloc(pointer, bytes);
}

struct model {
    heed_params *params;
    heed_adam *adam;
    heed_tape *tape;
    heed_tensor *table, *w1, *b1, *w2, *gain, *bias;
};

static void model_clear(struct model *m)
{
    heed_adam_free(m->adam);
    heed_tape_free(m->tape);
    heed_params_free(m->params);
    *m = (struct model){0};
}

static heed_status model_fill(struct model *m, heed_pool *pool)
{
    heed_params *p;

    HD_TRY(heed_params_new(HEED_F32, 5, &m->params));
    p = m->params;
    HD_TRY(heed_params_add(p, "table", (int64_t[]){90, 24}, 2, HEED_INIT_NORMAL, 0.2, &m->table));
    HD_TRY(heed_params_add(p, "w1", (int64_t[]){48, 24}, 2, HEED_INIT_XAVIER_UNIFORM, 1, &m->w1));
    HD_TRY(heed_params_add(p, "b1", (int64_t[]){48}, 1, HEED_INIT_ZEROS, 0, &m->b1));
    HD_TRY(heed_params_add(p, "w2", (int64_t[]){24, 24}, 2, HEED_INIT_XAVIER_UNIFORM, 1, &m->w2));
    HD_TRY(heed_params_add(p, "gain", (int64_t[]){24}, 1, HEED_INIT_ONES, 1, &m->gain));
    HD_TRY(heed_params_add(p, "bias", (int64_t[]){24}, 1, HEED_INIT_ZEROS, 0, &m->bias));
    HD_TRY(heed_adam_new(p, &(heed_adam_opts){.clip_norm = 1, .ema_decay = 0.9}, &m->adam));
    return heed_tape_new(pool, 6, &m->tape);
}

/* One step through every layer and a loss, on `rows` rows. */
static heed_status model_step(struct model *m, int64_t rows, double *value)
{
    int32_t ids[512], labels[512], negatives[16];
    heed_tape *t = m->tape;
    heed_tensor *x, *y, *gate, *up, *loss;

    for (int64_t i = 0; i < rows; i++)
        ids[i] = (int32_t)(i * 7 % 90), labels[i] = (int32_t)(i * 11 % 90);
    for (int i = 0; i < 16; i++)
        negatives[i] = i * 5;
    heed_tape_reset(t);
    heed_params_zero_grad(m->params);
    HD_TRY(heed_embedding(t, m->table, ids, rows, 4.9, &x));
    HD_TRY(heed_dropout(t, x, 0.1, &x));
    HD_TRY(heed_layer_norm(t, x, m->gain, m->bias, 1e-6, &y));
    HD_TRY(heed_linear(t, y, m->w1, m->b1, &y));
    HD_TRY(heed_slice(t, y, 1, 0, 24, &gate));
    HD_TRY(heed_slice(t, y, 1, 24, 24, &up));
    HD_TRY(heed_swiglu(t, gate, up, &y));
    HD_TRY(heed_rms_norm(t, y, m->gain, 1e-6, &y));
    HD_TRY(heed_linear(t, y, m->w2, NULL, &y));
    HD_TRY(heed_dropout_add(t, x, y, 0.2, &x));
    HD_TRY(heed_gelu(t, x, &y));
    HD_TRY(heed_mul(t, x, y, &x));
    HD_TRY(heed_l2_normalize(t, x, 1e-6, &x));
    HD_TRY(heed_sampled_softmax(t, x, m->table, labels, negatives, 16,
                                &(heed_loss_opts){.logit_scale = 10}, &loss));
    *value = (double)*(float *)loss->data;
    HD_TRY(heed_tape_backward(t, loss));
    return heed_adam_step(m->adam, 0.01, NULL, NULL);
}

static void test_warm_step_takes_nothing(void **state)
{
    struct counter counter = {0};
    heed_allocator allocator = {counted, &counter};
    struct model m = {0};
    double first, value = 0;

    (void)state;
    heed_set_allocator(&allocator);
    assert_int_equal(model_fill(&m, NULL), HEED_OK);
    assert_int_equal(model_step(&m, 512, &first), HEED_OK);
    size_t bytes = heed_tape_bytes(m.tape);
    int64_t calls = counter.calls;
    for (int i = 0; i < 30; i++)
        assert_int_equal(model_step(&m, i % 3 == 0 ? 512 : 100 + 13 * i, &value), HEED_OK);
    assert_int_equal(model_step(&m, 512, &value), HEED_OK);
    assert_int_equal(counter.calls, calls);
    assert_int_equal(heed_tape_bytes(m.tape), bytes);
    assert_true(value < 0.8 * first); /* and it learns */
    model_clear(&m);
    heed_set_allocator(NULL);
}

/* The n-th allocation fails, for every n until all goes well: a status, no leak, and the same tape
 * then makes the step it could not. */
static void test_every_allocation_fails_once(void **state)
{
    double want = 0, value = 0;
    struct model m = {0};

    (void)state;
    assert_int_equal(model_fill(&m, NULL), HEED_OK);
    assert_int_equal(model_step(&m, 512, &want), HEED_OK);
    model_clear(&m);
    for (int64_t n = 1, done = 0; !done; n++) {
        struct counter counter = {0, n};
        heed_allocator allocator = {counted, &counter};
        heed_set_allocator(&allocator);
        heed_status status = model_fill(&m, NULL);
        bool whole = status == HEED_OK;
        if (whole)
            status = model_step(&m, 512, &value);
        done = counter.calls < n;
        if (!done) {
            assert_int_equal(status, HEED_E_NOMEM);
            assert_true(strlen(heed_error_message()) > 0);
            if (whole && heed_adam_steps(m.adam) == 0) {
                heed_tape_seed(m.tape, 6, 0);
                assert_int_equal(model_step(&m, 512, &value), HEED_OK);
            }
        }
        if (whole)
            assert_true(value == want);
        model_clear(&m);
        heed_set_allocator(NULL);
        assert_true(n < 10000);
    }
}

/* ---- sameness */

static void test_same_bits_with_threads(void **state)
{
    struct model m[2] = {{0}};
    heed_pool *pool;
    double value[2];

    (void)state;
    assert_int_equal(heed_pool_new(3, &pool), HEED_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(model_fill(&m[i], i ? pool : NULL), HEED_OK);
    for (int step = 0; step < 5; step++) {
        for (int i = 0; i < 2; i++)
            assert_int_equal(model_step(&m[i], 512, &value[i]), HEED_OK);
        assert_true(value[0] == value[1]);
    }
    for (int64_t i = 0; i < heed_params_count(m[0].params); i++) {
        heed_tensor *a = heed_params_at(m[0].params, i, NULL),
                    *b = heed_params_at(m[1].params, i, NULL);
        assert_memory_equal(a->data, b->data, (size_t)hd_count(a) * sizeof(float));
    }
    for (int i = 0; i < 2; i++)
        model_clear(&m[i]);
    heed_pool_free(pool);
}

/* Products whose sums are cut into slices, with a pool and without, against long double. */
static void test_matmul(void **state)
{
    static const struct {
        int64_t M, N, K;
        bool b_flat, accumulate, bias;
    } rows[] = {
        {1, 5, 7, true, false, true},     {2, 1500, 33, true, true, true},
        {1, 1, 1, false, false, false},   {3, 4, 0, false, false, true},
        {3, 4, 0, false, true, false},    {2, 3, 9000, false, true, true},
        {5, 7, 4096, false, false, true}, {5, 7, 4097, true, true, false},
        {500, 9, 20, false, true, true},  {0, 9, 20, false, false, true},
    };
    heed_pool *pool;

    (void)state;
    assert_int_equal(heed_pool_new(2, &pool), HEED_OK);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int64_t M = rows[r].M, N = rows[r].N, K = rows[r].K, wide = N + 3;
        heed_rng rng = hd_rng(11, r);
        heed_tape *tape[2];
        heed_tensor *a, *b, *c[2], *bias;
        for (int i = 0; i < 2; i++)
            assert_int_equal(heed_tape_new(i ? pool : NULL, 0, &tape[i]), HEED_OK);
        a = counting(tape[0], (int64_t[]){M, K}, 2);
        b = counting(tape[0], (int64_t[]){N, K}, 2);
        bias = counting(tape[0], (int64_t[]){N}, 1);
        c[0] = counting(tape[0], (int64_t[]){M, wide}, 2);
        c[1] = counting(tape[1], (int64_t[]){M, wide}, 2);
        for (int64_t i = 0; i < M * K; i++)
            ((float *)a->data)[i] = (float)hd_random_normal(&rng);
        for (int64_t i = 0; i < N * K; i++)
            ((float *)b->data)[i] = (float)hd_random_normal(&rng);
        for (int i = 0; i < 2; i++) {
            struct hd_matmul m = {.M = M,
                                  .N = N,
                                  .K = K,
                                  .a = a->data,
                                  .a_row = K,
                                  .a_col = 1,
                                  .b = b->data,
                                  .b_row = rows[r].b_flat ? 1 : N,
                                  .b_col = rows[r].b_flat ? K : 1,
                                  .c = c[i]->data,
                                  .c_row = wide,
                                  .accumulate = rows[r].accumulate,
                                  .bias = rows[r].bias ? bias->data : NULL};
            assert_int_equal(hd_matmul(tape[i], hd_kernels(), &m), HEED_OK);
        }
        assert_memory_equal(c[0]->data, c[1]->data, (size_t)(M * wide) * sizeof(float));
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < wide; j++) {
                double was = (double)(i * wide + j), mass = was;
                double want = j >= N || rows[r].accumulate ? was : 0;
                for (int64_t k = 0; k < K && j < N; k++) {
                    double term =
                        (double)((float *)a->data)[i * K + k] *
                        (double)((float *)b->data)[rows[r].b_flat ? j * K + k : k * N + j];
                    want += term, mass += fabs(term);
                }
                if (rows[r].bias && j < N)
                    want += (double)j, mass += (double)j;
                double got = (double)((float *)c[0]->data)[i * wide + j];
                assert_true(fabs(got - want) <= 6e-8 * (double)(K + 3) * mass);
            }
        for (int i = 0; i < 2; i++)
            heed_tape_free(tape[i]);
    }
    heed_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_backward_once),
        cmocka_unit_test(test_gradients_add),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_bf16_linear),
        cmocka_unit_test(test_dropout_stream),
        cmocka_unit_test(test_warm_step_takes_nothing),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_same_bits_with_threads),
        cmocka_unit_test(test_matmul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
